"""A lot or hold moves only by a line that names it; refunds, claw-backs and payments stay within what is behind them.

Before, a lot could point at any line of its account. The keys to a line become deferred triggers that also look for the
lot or hold in it; they cost less, because a key locks the line it finds, and a line is never deleted.
"""

from django.db import migrations

NAMED = """
ALTER TABLE billing_lot DROP CONSTRAINT lot_moved_by_a_line;
ALTER TABLE billing_hold DROP CONSTRAINT hold_moved_by_a_line;

CREATE FUNCTION billing_lot_is_named() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM FROM billing_entry
    WHERE account_id = NEW.account_id AND sequence = NEW.moved_by AND NEW.id = ANY (lots);
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'lot_moved_by_a_line', TABLE = 'billing_lot',
      MESSAGE = format('line %s does not move lot %s', NEW.moved_by, NEW.id);
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER lot_made_by_a_line AFTER INSERT ON billing_lot
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing_lot_is_named();
CREATE CONSTRAINT TRIGGER lot_moved_by_a_line AFTER UPDATE ON billing_lot
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.moved_by <> NEW.moved_by)
  EXECUTE FUNCTION billing_lot_is_named();

CREATE FUNCTION billing_hold_is_named() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM FROM billing_entry
    WHERE account_id = NEW.account_id AND sequence = NEW.moved_by AND hold_id = NEW.id;
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'hold_moved_by_a_line', TABLE = 'billing_hold',
      MESSAGE = format('line %s does not move hold %s', NEW.moved_by, NEW.id);
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER hold_made_by_a_line AFTER INSERT ON billing_hold
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing_hold_is_named();
CREATE CONSTRAINT TRIGGER hold_moved_by_a_line AFTER UPDATE ON billing_hold
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.moved_by <> NEW.moved_by)
  EXECUTE FUNCTION billing_hold_is_named();
"""

NOT_NAMED = """
DROP TRIGGER hold_moved_by_a_line ON billing_hold;
DROP TRIGGER hold_made_by_a_line ON billing_hold;
DROP FUNCTION billing_hold_is_named();
DROP TRIGGER lot_moved_by_a_line ON billing_lot;
DROP TRIGGER lot_made_by_a_line ON billing_lot;
DROP FUNCTION billing_lot_is_named();
ALTER TABLE billing_lot ADD CONSTRAINT lot_moved_by_a_line
  FOREIGN KEY (account_id, moved_by) REFERENCES billing_entry (account_id, sequence) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE billing_hold ADD CONSTRAINT hold_moved_by_a_line
  FOREIGN KEY (account_id, moved_by) REFERENCES billing_entry (account_id, sequence) DEFERRABLE INITIALLY DEFERRED;
"""

WITHIN = """
CREATE FUNCTION billing_refund_fits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM FROM billing_entry spent
    WHERE spent.account_id = NEW.account_id AND spent.id = NEW.refunds_id
      AND spent.kind IN ('capture', 'draw', 'late_capture', 'charge')
      AND -spent.balance_delta >= (SELECT sum(amount) FROM billing_entry WHERE refunds_id = NEW.refunds_id);
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'refunds_within_what_was_spent',
      TABLE = 'billing_entry', MESSAGE = format('more is refunded than line %s spent', NEW.refunds_id);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER refunds_within_what_was_spent AFTER INSERT ON billing_entry FOR EACH ROW
  WHEN (NEW.kind = 'refund') EXECUTE FUNCTION billing_refund_fits();

CREATE FUNCTION billing_claw_back_fits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT sum(amount) FROM billing_clawback
       WHERE account_id = NEW.account_id AND payment_id = NEW.payment_id AND restored_by IS NULL)
     > (SELECT granted FROM billing_payment WHERE account_id = NEW.account_id AND id = NEW.payment_id) THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'claw_backs_within_their_grant',
      TABLE = 'billing_clawback', MESSAGE = format('more is clawed back than payment %s granted', NEW.payment_id);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER claw_backs_within_their_grant AFTER INSERT ON billing_clawback FOR EACH ROW
  EXECUTE FUNCTION billing_claw_back_fits();

CREATE FUNCTION billing_payment_is_granted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM FROM billing_entry WHERE account_id = NEW.account_id AND sequence = NEW.sequence
    AND kind = 'grant' AND amount = NEW.granted;
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'payment_granted_by_its_line',
      TABLE = 'billing_payment', MESSAGE = format('line %s did not grant payment %s', NEW.sequence, NEW.reference);
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER payment_granted_by_its_line AFTER INSERT ON billing_payment
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing_payment_is_granted();

ALTER TABLE billing_payment ADD CONSTRAINT payment_line_once UNIQUE (account_id, sequence);
ALTER TABLE billing_clawback ADD CONSTRAINT claw_back_line_once UNIQUE (account_id, sequence);

ALTER TABLE billing_lot ADD CONSTRAINT lot_amount_within_range CHECK (amount <= 1000000000000000);
ALTER TABLE billing_hold ADD CONSTRAINT hold_amount_within_range CHECK (amount <= 1000000000000000);
"""

NOT_WITHIN = """
ALTER TABLE billing_hold DROP CONSTRAINT hold_amount_within_range;
ALTER TABLE billing_lot DROP CONSTRAINT lot_amount_within_range;
ALTER TABLE billing_clawback DROP CONSTRAINT claw_back_line_once;
ALTER TABLE billing_payment DROP CONSTRAINT payment_line_once;
DROP TRIGGER payment_granted_by_its_line ON billing_payment;
DROP FUNCTION billing_payment_is_granted();
DROP TRIGGER claw_backs_within_their_grant ON billing_clawback;
DROP FUNCTION billing_claw_back_fits();
DROP TRIGGER refunds_within_what_was_spent ON billing_entry;
DROP FUNCTION billing_refund_fits();
"""

# Also who, for what and in which form: a hold's member is whose day it counts toward, its reference whose work it is.
TERMS = """
DROP TRIGGER hold_keeps_its_terms ON billing_hold;
CREATE TRIGGER hold_keeps_its_terms BEFORE UPDATE ON billing_hold FOR EACH ROW
  WHEN ((OLD.id, OLD.account_id, OLD.user_id, OLD.owner, OLD.reference, OLD.amount, OLD.is_envelope, OLD.price_version,
         OLD.receipt_lots, OLD.receipt_amounts, OLD.placed_at, OLD.placed_on)
        IS DISTINCT FROM (NEW.id, NEW.account_id, NEW.user_id, NEW.owner, NEW.reference, NEW.amount, NEW.is_envelope,
         NEW.price_version, NEW.receipt_lots, NEW.receipt_amounts, NEW.placed_at, NEW.placed_on))
  EXECUTE FUNCTION billing_refuse('hold_keeps_its_terms');

DROP TRIGGER share_ends_once ON billing_share;
CREATE TRIGGER share_ends_once BEFORE UPDATE ON billing_share FOR EACH ROW
  WHEN (OLD.state <> 'open' OR (OLD.id, OLD.account_id, OLD.hold_id, OLD.reference, OLD.amount)
        IS DISTINCT FROM (NEW.id, NEW.account_id, NEW.hold_id, NEW.reference, NEW.amount))
  EXECUTE FUNCTION billing_refuse('share_ends_once');

DROP TRIGGER entry_text_only_erased ON billing_entrytext;
CREATE TRIGGER entry_text_only_erased BEFORE UPDATE ON billing_entrytext FOR EACH ROW
  WHEN (NOT (NEW.entry_id = OLD.entry_id AND NEW.account_id = OLD.account_id AND NEW.salt = OLD.salt
             AND NEW.description = '' AND NEW.reason = ''))
  EXECUTE FUNCTION billing_refuse('entry_text_only_erased');
"""

OLD_TERMS = """
DROP TRIGGER entry_text_only_erased ON billing_entrytext;
CREATE TRIGGER entry_text_only_erased BEFORE UPDATE ON billing_entrytext FOR EACH ROW
  WHEN (NOT (NEW.entry_id = OLD.entry_id AND NEW.account_id = OLD.account_id AND NEW.salt = OLD.salt
             AND NEW.description IN ('', OLD.description) AND NEW.reason IN ('', OLD.reason)))
  EXECUTE FUNCTION billing_refuse('entry_text_only_erased');

DROP TRIGGER share_ends_once ON billing_share;
CREATE TRIGGER share_ends_once BEFORE UPDATE ON billing_share FOR EACH ROW
  WHEN (OLD.state <> 'open' OR (OLD.hold_id, OLD.reference, OLD.amount)
        IS DISTINCT FROM (NEW.hold_id, NEW.reference, NEW.amount))
  EXECUTE FUNCTION billing_refuse('share_ends_once');

DROP TRIGGER hold_keeps_its_terms ON billing_hold;
CREATE TRIGGER hold_keeps_its_terms BEFORE UPDATE ON billing_hold FOR EACH ROW
  WHEN ((OLD.id, OLD.account_id, OLD.owner, OLD.amount, OLD.receipt_lots, OLD.receipt_amounts, OLD.placed_at,
         OLD.placed_on)
        IS DISTINCT FROM (NEW.id, NEW.account_id, NEW.owner, NEW.amount, NEW.receipt_lots, NEW.receipt_amounts,
         NEW.placed_at, NEW.placed_on))
  EXECUTE FUNCTION billing_refuse('hold_keeps_its_terms');
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0005_approvals_of_prices_and_rules")]

    operations = [
        migrations.RunSQL(NAMED, NOT_NAMED),
        migrations.RunSQL(WITHIN, NOT_WITHIN),
        migrations.RunSQL(TERMS, OLD_TERMS),
    ]
