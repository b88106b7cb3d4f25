"""The laws that more than one row must keep: the clock, keys within an account, triggers. See billing/models.py."""

from django.db import migrations

CLOCK = """
CREATE FUNCTION holdfast_now() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE
AS $$ SELECT clock_timestamp() $$;
COMMENT ON FUNCTION holdfast_now() IS 'The ledger''s clock: real time, also after waiting for a lock.';
"""

NO_CLOCK = "DROP FUNCTION holdfast_now();"

# A sum for CHECK constraints: a loop is several times cheaper than a query over unnest.
SUMS = """
CREATE FUNCTION billing_sum(numbers bigint[]) RETURNS bigint LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE total bigint := 0; number bigint;
BEGIN
  FOREACH number IN ARRAY numbers LOOP total := total + number; END LOOP;
  RETURN total;
END $$;

ALTER TABLE billing_entry ADD CONSTRAINT entry_lot_moves_add_up CHECK (
  cardinality(lots) = cardinality(remaining_deltas) AND cardinality(lots) = cardinality(held_deltas)
  AND billing_sum(remaining_deltas) = balance_delta AND billing_sum(held_deltas) = held_delta);

ALTER TABLE billing_hold ADD CONSTRAINT hold_receipt_adds_up CHECK (
  cardinality(receipt_lots) = cardinality(receipt_amounts) AND billing_sum(receipt_amounts) = amount);

ALTER TABLE billing_entry ADD CONSTRAINT entry_deltas_follow_its_kind CHECK (CASE kind
  WHEN 'grant'        THEN balance_delta > 0 AND held_delta = 0 AND frozen_delta = 0 AND debt_delta = 0
                           AND amount = balance_delta
  WHEN 'hold'         THEN balance_delta = 0 AND held_delta > 0 AND frozen_delta = 0 AND debt_delta = 0
                           AND amount = held_delta
  WHEN 'draw'         THEN balance_delta = held_delta AND balance_delta <= 0 AND frozen_delta = 0 AND debt_delta = 0
                           AND amount = -balance_delta
  WHEN 'capture'      THEN balance_delta <= 0 AND held_delta <= balance_delta AND debt_delta = 0
                           AND frozen_delta BETWEEN 0 AND balance_delta - held_delta AND amount = -balance_delta
  WHEN 'release'      THEN balance_delta = 0 AND held_delta <= 0 AND debt_delta = 0
                           AND frozen_delta BETWEEN 0 AND -held_delta AND amount = -held_delta
  WHEN 'hold_expired' THEN balance_delta = 0 AND held_delta <= 0 AND debt_delta = 0
                           AND frozen_delta BETWEEN 0 AND -held_delta AND amount = -held_delta
  WHEN 'late_capture' THEN balance_delta <= 0 AND held_delta = 0 AND frozen_delta = 0 AND debt_delta = 0
                           AND amount = -balance_delta
  WHEN 'charge'       THEN balance_delta <= 0 AND held_delta = 0 AND frozen_delta = 0 AND debt_delta = 0
                           AND amount = -balance_delta
  WHEN 'refund'       THEN balance_delta > 0 AND held_delta = 0 AND frozen_delta BETWEEN 0 AND balance_delta
                           AND debt_delta = 0 AND amount = balance_delta
  WHEN 'lot_expired'  THEN balance_delta < 0 AND held_delta = 0 AND frozen_delta = 0 AND debt_delta = 0
                           AND amount = -balance_delta
  WHEN 'freeze'       THEN balance_delta = 0 AND held_delta = 0 AND frozen_delta >= 0 AND debt_delta = 0
                           AND amount = frozen_delta
  WHEN 'thaw'         THEN balance_delta = 0 AND held_delta = 0 AND frozen_delta <= 0 AND debt_delta = 0
                           AND amount = -frozen_delta
  WHEN 'claw_back'    THEN balance_delta <= 0 AND held_delta = 0 AND frozen_delta BETWEEN balance_delta AND 0
                           AND debt_delta >= 0 AND amount >= debt_delta - balance_delta AND amount > 0
  WHEN 'restore'      THEN balance_delta >= 0 AND held_delta = 0 AND frozen_delta BETWEEN 0 AND balance_delta
                           AND debt_delta = 0 AND amount = balance_delta
  WHEN 'adjust'       THEN balance_delta <> 0 AND held_delta = 0 AND frozen_delta = 0 AND debt_delta = 0
                           AND amount = abs(balance_delta)
  WHEN 'forgive'      THEN balance_delta = 0 AND held_delta = 0 AND frozen_delta = 0 AND debt_delta < 0
                           AND amount = -debt_delta
  WHEN 'repay'        THEN balance_delta < 0 AND held_delta = 0 AND frozen_delta = 0 AND debt_delta = balance_delta
                           AND amount = -balance_delta
  ELSE false END);

ALTER TABLE billing_entry ADD CONSTRAINT entry_spending_names_its_hold CHECK (
  (kind IN ('hold', 'draw', 'capture', 'release', 'hold_expired', 'late_capture')) = (hold_id IS NOT NULL));
ALTER TABLE billing_entry ADD CONSTRAINT entry_refund_names_its_line CHECK (
  (kind = 'refund') = (refunds_id IS NOT NULL));
ALTER TABLE billing_entry ADD CONSTRAINT entry_digest_is_sha256 CHECK (octet_length(digest) = 32);
"""

NO_SUMS = """
ALTER TABLE billing_entry DROP CONSTRAINT entry_digest_is_sha256;
ALTER TABLE billing_entry DROP CONSTRAINT entry_refund_names_its_line;
ALTER TABLE billing_entry DROP CONSTRAINT entry_spending_names_its_hold;
ALTER TABLE billing_entry DROP CONSTRAINT entry_deltas_follow_its_kind;
ALTER TABLE billing_hold DROP CONSTRAINT hold_receipt_adds_up;
ALTER TABLE billing_entry DROP CONSTRAINT entry_lot_moves_add_up;
DROP FUNCTION billing_sum(bigint[]);
"""

# (account, x) → (account, id): no row can point into another account. Keys to a line are deferred, because a line
# and what it moves name each other; they are the proof that nothing moves without a line.
KEYS = """
ALTER TABLE billing_lot ADD CONSTRAINT lot_payment_in_account
  FOREIGN KEY (account_id, payment_id) REFERENCES billing_payment (account_id, id);
ALTER TABLE billing_share ADD CONSTRAINT share_hold_in_account
  FOREIGN KEY (account_id, hold_id) REFERENCES billing_hold (account_id, id);
ALTER TABLE billing_entry ADD CONSTRAINT entry_hold_in_account
  FOREIGN KEY (account_id, hold_id) REFERENCES billing_hold (account_id, id);
ALTER TABLE billing_entry ADD CONSTRAINT entry_refunds_in_account
  FOREIGN KEY (account_id, refunds_id) REFERENCES billing_entry (account_id, id);
ALTER TABLE billing_entrytext ADD CONSTRAINT entry_text_in_account
  FOREIGN KEY (account_id, entry_id) REFERENCES billing_entry (account_id, id);
ALTER TABLE billing_clawback ADD CONSTRAINT claw_back_payment_in_account
  FOREIGN KEY (account_id, payment_id) REFERENCES billing_payment (account_id, id);

ALTER TABLE billing_lot ADD CONSTRAINT lot_moved_by_a_line
  FOREIGN KEY (account_id, moved_by) REFERENCES billing_entry (account_id, sequence) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE billing_hold ADD CONSTRAINT hold_moved_by_a_line
  FOREIGN KEY (account_id, moved_by) REFERENCES billing_entry (account_id, sequence) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE billing_payment ADD CONSTRAINT payment_granted_by_a_line
  FOREIGN KEY (account_id, sequence) REFERENCES billing_entry (account_id, sequence) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE billing_clawback ADD CONSTRAINT claw_back_made_by_a_line
  FOREIGN KEY (account_id, sequence) REFERENCES billing_entry (account_id, sequence) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE billing_clawback ADD CONSTRAINT claw_back_restored_by_a_line
  FOREIGN KEY (account_id, restored_by) REFERENCES billing_entry (account_id, sequence) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE billing_account ADD COLUMN head bigint GENERATED ALWAYS AS (nullif(entry_count, 0)) STORED;
ALTER TABLE billing_account ADD CONSTRAINT account_moved_by_a_line
  FOREIGN KEY (id, head) REFERENCES billing_entry (account_id, sequence) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE billing_account ADD CONSTRAINT account_without_lines_is_empty CHECK (
  entry_count > 0 OR (balance = 0 AND held = 0 AND frozen = 0 AND debt = 0));
"""

NO_KEYS = """
ALTER TABLE billing_account DROP CONSTRAINT account_without_lines_is_empty;
ALTER TABLE billing_account DROP CONSTRAINT account_moved_by_a_line;
ALTER TABLE billing_account DROP COLUMN head;
ALTER TABLE billing_clawback DROP CONSTRAINT claw_back_restored_by_a_line;
ALTER TABLE billing_clawback DROP CONSTRAINT claw_back_made_by_a_line;
ALTER TABLE billing_payment DROP CONSTRAINT payment_granted_by_a_line;
ALTER TABLE billing_hold DROP CONSTRAINT hold_moved_by_a_line;
ALTER TABLE billing_lot DROP CONSTRAINT lot_moved_by_a_line;
ALTER TABLE billing_clawback DROP CONSTRAINT claw_back_payment_in_account;
ALTER TABLE billing_entrytext DROP CONSTRAINT entry_text_in_account;
ALTER TABLE billing_entry DROP CONSTRAINT entry_refunds_in_account;
ALTER TABLE billing_entry DROP CONSTRAINT entry_hold_in_account;
ALTER TABLE billing_share DROP CONSTRAINT share_hold_in_account;
ALTER TABLE billing_lot DROP CONSTRAINT lot_payment_in_account;
"""

# The trigger's WHEN decides, so that a lawful change costs no function call.
REFUSALS = """
CREATE FUNCTION billing_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = TG_ARGV[0], TABLE = TG_TABLE_NAME,
    MESSAGE = format('%s on %s breaks the law %s', TG_OP, TG_TABLE_NAME, TG_ARGV[0]);
END $$;

CREATE TRIGGER account_moves_by_a_line BEFORE UPDATE ON billing_account FOR EACH ROW
  WHEN ((OLD.balance, OLD.held, OLD.frozen, OLD.debt, OLD.entry_count, OLD.digest)
        IS DISTINCT FROM (NEW.balance, NEW.held, NEW.frozen, NEW.debt, NEW.entry_count, NEW.digest)
        AND NEW.entry_count <= OLD.entry_count)
  EXECUTE FUNCTION billing_refuse('account_moves_by_a_line');

CREATE TRIGGER lot_moves_by_a_line BEFORE UPDATE ON billing_lot FOR EACH ROW
  WHEN ((OLD.remaining, OLD.held, OLD.spent, OLD.expired, OLD.taken, OLD.repaid, OLD.is_frozen, OLD.spendable_until,
         OLD.moved_by)
        IS DISTINCT FROM (NEW.remaining, NEW.held, NEW.spent, NEW.expired, NEW.taken, NEW.repaid, NEW.is_frozen,
         NEW.spendable_until, NEW.moved_by)
        AND NEW.moved_by <= OLD.moved_by)
  EXECUTE FUNCTION billing_refuse('lot_moves_by_a_line');

CREATE TRIGGER lot_keeps_its_terms BEFORE UPDATE ON billing_lot FOR EACH ROW
  WHEN ((OLD.id, OLD.account_id, OLD.source, OLD.is_promotional, OLD.amount, OLD.priority, OLD.granted_at,
         OLD.expires_at, OLD.payment_id)
        IS DISTINCT FROM (NEW.id, NEW.account_id, NEW.source, NEW.is_promotional, NEW.amount, NEW.priority,
         NEW.granted_at, NEW.expires_at, NEW.payment_id))
  EXECUTE FUNCTION billing_refuse('lot_keeps_its_terms');

CREATE TRIGGER hold_moves_by_a_line BEFORE UPDATE ON billing_hold FOR EACH ROW
  WHEN ((OLD.captured, OLD.captured_late, OLD.state, OLD.ended_at, OLD.moved_by)
        IS DISTINCT FROM (NEW.captured, NEW.captured_late, NEW.state, NEW.ended_at, NEW.moved_by)
        AND NEW.moved_by <= OLD.moved_by)
  EXECUTE FUNCTION billing_refuse('hold_moves_by_a_line');

CREATE TRIGGER hold_keeps_its_terms BEFORE UPDATE ON billing_hold FOR EACH ROW
  WHEN ((OLD.id, OLD.account_id, OLD.owner, OLD.amount, OLD.receipt_lots, OLD.receipt_amounts, OLD.placed_at,
         OLD.placed_on)
        IS DISTINCT FROM (NEW.id, NEW.account_id, NEW.owner, NEW.amount, NEW.receipt_lots, NEW.receipt_amounts,
         NEW.placed_at, NEW.placed_on))
  EXECUTE FUNCTION billing_refuse('hold_keeps_its_terms');

CREATE TRIGGER hold_ends_once BEFORE UPDATE ON billing_hold FOR EACH ROW
  WHEN (OLD.state <> 'open' AND (
          (OLD.state, OLD.captured, OLD.ended_at, OLD.expires_at)
            IS DISTINCT FROM (NEW.state, NEW.captured, NEW.ended_at, NEW.expires_at)
          OR (OLD.captured_late IS NOT NULL AND NEW.captured_late IS DISTINCT FROM OLD.captured_late)))
  EXECUTE FUNCTION billing_refuse('hold_ends_once');

CREATE TRIGGER share_ends_once BEFORE UPDATE ON billing_share FOR EACH ROW
  WHEN (OLD.state <> 'open' OR (OLD.hold_id, OLD.reference, OLD.amount)
        IS DISTINCT FROM (NEW.hold_id, NEW.reference, NEW.amount))
  EXECUTE FUNCTION billing_refuse('share_ends_once');

CREATE TRIGGER entry_never_edited BEFORE UPDATE ON billing_entry FOR EACH ROW
  EXECUTE FUNCTION billing_refuse('entry_never_edited');

CREATE TRIGGER entry_text_only_erased BEFORE UPDATE ON billing_entrytext FOR EACH ROW
  WHEN (NOT (NEW.entry_id = OLD.entry_id AND NEW.account_id = OLD.account_id AND NEW.salt = OLD.salt
             AND NEW.description IN ('', OLD.description) AND NEW.reason IN ('', OLD.reason)))
  EXECUTE FUNCTION billing_refuse('entry_text_only_erased');

CREATE TRIGGER payment_written_once BEFORE UPDATE ON billing_payment FOR EACH ROW
  EXECUTE FUNCTION billing_refuse('payment_written_once');

CREATE TRIGGER claw_back_restored_once BEFORE UPDATE ON billing_clawback FOR EACH ROW
  WHEN (OLD.restored_by IS NOT NULL OR (OLD.id, OLD.account_id, OLD.payment_id, OLD.amount, OLD.taken, OLD.expired,
         OLD.debt, OLD.sequence) IS DISTINCT FROM (NEW.id, NEW.account_id, NEW.payment_id, NEW.amount, NEW.taken,
         NEW.expired, NEW.debt, NEW.sequence))
  EXECUTE FUNCTION billing_refuse('claw_back_restored_once');

CREATE TRIGGER idempotency_key_written_once BEFORE UPDATE ON billing_idempotencykey FOR EACH ROW
  EXECUTE FUNCTION billing_refuse('idempotency_key_written_once');

CREATE TRIGGER audit_never_edited BEFORE UPDATE ON billing_audit FOR EACH ROW
  EXECUTE FUNCTION billing_refuse('audit_never_edited');
"""

KEPT = {
    "account": "account_never_deleted",
    "lot": "lot_never_deleted",
    "hold": "hold_never_deleted",
    "share": "share_never_deleted",
    "entry": "entry_never_deleted",
    "entrytext": "entry_text_never_deleted",
    "payment": "payment_never_deleted",
    "clawback": "claw_back_never_deleted",
    "idempotencykey": "idempotency_key_never_deleted",
    "audit": "audit_never_deleted",
}

# A row trigger does not see TRUNCATE: a statement trigger does.
KEEPING = "\n".join(
    f"""
CREATE TRIGGER {law} BEFORE DELETE ON billing_{table} FOR EACH ROW EXECUTE FUNCTION billing_refuse('{law}');
CREATE TRIGGER {table}_never_truncated BEFORE TRUNCATE ON billing_{table} FOR EACH STATEMENT
  EXECUTE FUNCTION billing_refuse('{table}_never_truncated');
"""
    for table, law in KEPT.items()
)

NO_REFUSALS = (
    "\n".join(
        f"DROP TRIGGER {law} ON billing_{table}; DROP TRIGGER {table}_never_truncated ON billing_{table};"
        for table, law in KEPT.items()
    )
    + """
DROP TRIGGER audit_never_edited ON billing_audit;
DROP TRIGGER idempotency_key_written_once ON billing_idempotencykey;
DROP TRIGGER claw_back_restored_once ON billing_clawback;
DROP TRIGGER payment_written_once ON billing_payment;
DROP TRIGGER entry_text_only_erased ON billing_entrytext;
DROP TRIGGER entry_never_edited ON billing_entry;
DROP TRIGGER share_ends_once ON billing_share;
DROP TRIGGER hold_ends_once ON billing_hold;
DROP TRIGGER hold_keeps_its_terms ON billing_hold;
DROP TRIGGER hold_moves_by_a_line ON billing_hold;
DROP TRIGGER lot_keeps_its_terms ON billing_lot;
DROP TRIGGER lot_moves_by_a_line ON billing_lot;
DROP TRIGGER account_moves_by_a_line ON billing_account;
DROP FUNCTION billing_refuse();
"""
)

# Once a statement, for all its new lines together: a batch of a thousand pays for one check.
AGREEMENT = """
CREATE FUNCTION billing_lines_agree() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE wrong uuid; law text;
BEGIN
  SELECT line.account_id INTO wrong
    FROM new_lines line
    LEFT JOIN billing_entry before ON before.account_id = line.account_id AND before.sequence = line.sequence - 1
   WHERE (line.sequence > 1 AND before.sequence IS NULL)
      OR line.balance_after <> coalesce(before.balance_after, 0) + line.balance_delta
      OR line.held_after <> coalesce(before.held_after, 0) + line.held_delta
      OR line.frozen_after <> coalesce(before.frozen_after, 0) + line.frozen_delta
      OR line.debt_after <> coalesce(before.debt_after, 0) + line.debt_delta
      OR line.created_at < before.created_at
   LIMIT 1;
  IF FOUND THEN law := 'entry_continues_the_line_before'; END IF;

  IF law IS NULL THEN
    SELECT head.account_id,
           CASE WHEN account.id IS NULL OR account.entry_count <> head.sequence OR account.digest <> line.digest
                  OR (account.balance, account.held, account.frozen, account.debt)
                     <> (line.balance_after, line.held_after, line.frozen_after, line.debt_after)
                THEN 'entry_agrees_with_account'
                WHEN (lots.remaining, lots.held, lots.frozen)
                     <> (line.balance_after, line.held_after, line.frozen_after)
                THEN 'entry_agrees_with_lots'
                WHEN holds.held <> line.held_after THEN 'entry_agrees_with_holds' END
      INTO wrong, law
      FROM (SELECT account_id, max(sequence) AS sequence FROM new_lines GROUP BY account_id) head
      JOIN billing_entry line ON line.account_id = head.account_id AND line.sequence = head.sequence
      LEFT JOIN billing_account account ON account.id = head.account_id
      CROSS JOIN LATERAL (
        SELECT coalesce(sum(lot.remaining), 0)::bigint AS remaining, coalesce(sum(lot.held), 0)::bigint AS held,
               coalesce(sum(lot.remaining - lot.held) FILTER (WHERE lot.is_frozen), 0)::bigint AS frozen
          FROM billing_lot lot WHERE lot.account_id = head.account_id AND lot.remaining > 0) lots
      CROSS JOIN LATERAL (
        SELECT coalesce(sum(hold.amount - hold.captured), 0)::bigint AS held
          FROM billing_hold hold WHERE hold.account_id = head.account_id AND hold.state = 'open') holds
     WHERE account.id IS NULL OR account.entry_count <> head.sequence OR account.digest <> line.digest
        OR (account.balance, account.held, account.frozen, account.debt)
           <> (line.balance_after, line.held_after, line.frozen_after, line.debt_after)
        OR (lots.remaining, lots.held, lots.frozen) <> (line.balance_after, line.held_after, line.frozen_after)
        OR holds.held <> line.held_after
     LIMIT 1;
  END IF;

  IF law IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = law, TABLE = 'billing_entry',
      MESSAGE = format('a line of account %s breaks the law %s', wrong, law);
  END IF;
  RETURN NULL;
END $$;

CREATE TRIGGER entry_agrees AFTER INSERT ON billing_entry REFERENCING NEW TABLE AS new_lines
  FOR EACH STATEMENT EXECUTE FUNCTION billing_lines_agree();

CREATE FUNCTION billing_shares_fit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT coalesce(sum(CASE state WHEN 'open' THEN amount WHEN 'drawn' THEN drawn ELSE 0 END), 0)
        FROM billing_share WHERE account_id = NEW.account_id AND hold_id = NEW.hold_id)
     > (SELECT amount FROM billing_hold WHERE account_id = NEW.account_id AND id = NEW.hold_id) THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'shares_fit_their_hold', TABLE = 'billing_share',
      MESSAGE = format('the shares of hold %s add up to more than the hold', NEW.hold_id);
  END IF;
  RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER shares_fit_their_hold AFTER INSERT OR UPDATE ON billing_share
  DEFERRABLE INITIALLY IMMEDIATE FOR EACH ROW EXECUTE FUNCTION billing_shares_fit();
"""

NO_AGREEMENT = """
DROP TRIGGER shares_fit_their_hold ON billing_share;
DROP FUNCTION billing_shares_fit();
DROP TRIGGER entry_agrees ON billing_entry;
DROP FUNCTION billing_lines_agree();
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_vault")]

    operations = [
        migrations.RunSQL(CLOCK, NO_CLOCK),
        migrations.RunSQL(SUMS, NO_SUMS),
        migrations.RunSQL(KEYS, NO_KEYS),
        migrations.RunSQL(REFUSALS + KEEPING, NO_REFUSALS),
        migrations.RunSQL(AGREEMENT, NO_AGREEMENT),
    ]
