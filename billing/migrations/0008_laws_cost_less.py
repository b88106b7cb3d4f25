"""The same laws for less: PostgreSQL reads a law's text anew for each statement, and a table's free space is its speed.

What a line's kind allows was half of all the text that a hold and its capture made it read: a function is read once a
session. What a row keeps for ever is looked at only when a statement names it. The lines of a statement are checked in
one query, row by row through the keys, whatever the planner believes about sizes. And rows that change in place leave
their indexes alone, which needs room beside them.
"""

import importlib

from django.db import migrations, models
from django.db.models import Q

LAWS = importlib.import_module("billing.migrations.0002_laws")

KIND = """
CREATE FUNCTION billing_deltas_follow(kind text, amount bigint, balance bigint, held bigint, frozen bigint, debt bigint)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
  RETURN coalesce(CASE kind
    WHEN 'grant'        THEN balance > 0 AND held = 0 AND frozen = 0 AND debt = 0 AND amount = balance
    WHEN 'hold'         THEN balance = 0 AND held > 0 AND frozen = 0 AND debt = 0 AND amount = held
    WHEN 'draw'         THEN balance <= 0 AND held = balance AND frozen = 0 AND debt = 0 AND amount = -balance
    WHEN 'capture'      THEN balance <= 0 AND held <= balance AND debt = 0
                             AND frozen BETWEEN 0 AND balance - held AND amount = -balance
    WHEN 'release'      THEN balance = 0 AND held <= 0 AND debt = 0 AND frozen BETWEEN 0 AND -held AND amount = -held
    WHEN 'hold_expired' THEN balance = 0 AND held <= 0 AND debt = 0 AND frozen BETWEEN 0 AND -held AND amount = -held
    WHEN 'late_capture' THEN balance <= 0 AND held = 0 AND frozen = 0 AND debt = 0 AND amount = -balance
    WHEN 'charge'       THEN balance <= 0 AND held = 0 AND frozen = 0 AND debt = 0 AND amount = -balance
    WHEN 'refund'       THEN balance > 0 AND held = 0 AND frozen BETWEEN 0 AND balance AND debt = 0 AND amount = balance
    WHEN 'lot_expired'  THEN balance < 0 AND held = 0 AND frozen = 0 AND debt = 0 AND amount = -balance
    WHEN 'freeze'       THEN balance = 0 AND held = 0 AND frozen >= 0 AND debt = 0 AND amount = frozen
    WHEN 'thaw'         THEN balance = 0 AND held = 0 AND frozen <= 0 AND debt = 0 AND amount = -frozen
    WHEN 'claw_back'    THEN balance <= 0 AND held = 0 AND frozen BETWEEN balance AND 0
                             AND debt >= 0 AND amount >= debt - balance AND amount > 0
    WHEN 'restore'      THEN balance >= 0 AND held = 0 AND frozen BETWEEN 0 AND balance
                             AND debt = 0 AND amount = balance
    WHEN 'adjust'       THEN balance <> 0 AND held = 0 AND frozen = 0 AND debt = 0 AND amount = abs(balance)
    WHEN 'forgive'      THEN balance = 0 AND held = 0 AND frozen = 0 AND debt < 0 AND amount = -debt
    WHEN 'repay'        THEN balance < 0 AND held = 0 AND frozen = 0 AND debt = balance AND amount = -balance
    END, false);
END $$;
ALTER TABLE billing_entry DROP CONSTRAINT entry_deltas_follow_its_kind;
ALTER TABLE billing_entry ADD CONSTRAINT entry_deltas_follow_its_kind CHECK (
  billing_deltas_follow(kind, amount, balance_delta, held_delta, frozen_delta, debt_delta));
"""

_OLD = LAWS.SUMS[LAWS.SUMS.index("ALTER TABLE billing_entry ADD CONSTRAINT entry_deltas_follow_its_kind") :]
OLD_KIND = (
    "ALTER TABLE billing_entry DROP CONSTRAINT entry_deltas_follow_its_kind;"
    + _OLD[: _OLD.index(";") + 1]
    + "DROP FUNCTION billing_deltas_follow(text, bigint, bigint, bigint, bigint, bigint);"
)

KEPT = {
    "lot": (
        "lot_keeps_its_terms",
        "id, account_id, source, is_promotional, amount, priority, granted_at, expires_at, payment_id",
    ),
    "hold": (
        "hold_keeps_its_terms",
        "id, account_id, user_id, owner, reference, amount, is_envelope, price_version, receipt_lots, receipt_amounts, "
        "placed_at, placed_on",
    ),
}


def _terms(when: bool) -> str:
    """The triggers that keep a row's terms, asked only where a statement names one of them, or always."""
    sql = ""
    for table, (law, columns) in KEPT.items():
        old, new = (", ".join(f"{row}.{name}" for name in columns.split(", ")) for row in ("OLD", "NEW"))
        sql += f"""
DROP TRIGGER {law} ON billing_{table};
CREATE TRIGGER {law} BEFORE UPDATE {f"OF {columns}" if when else ""} ON billing_{table} FOR EACH ROW
  WHEN (({old}) IS DISTINCT FROM ({new})) EXECUTE FUNCTION billing_refuse('{law}');
"""
    return sql


# Open is said as hold_open says it: through hold_due, which the planner took while few holds were open, each line of a
# batch read the open holds of every account. LIMIT 1 keeps it from joining whole tables: a plan made while they were
# small is kept while they grow.
AGREEMENT = """
CREATE OR REPLACE FUNCTION billing_lines_agree() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE wrong uuid; law text;
BEGIN
  SELECT checked.account_id, checked.law INTO wrong, law FROM (
    SELECT line.account_id, CASE
        WHEN (line.sequence > 1 AND before.balance_after IS NULL)
             OR line.balance_after <> coalesce(before.balance_after, 0) + line.balance_delta
             OR line.held_after <> coalesce(before.held_after, 0) + line.held_delta
             OR line.frozen_after <> coalesce(before.frozen_after, 0) + line.frozen_delta
             OR line.debt_after <> coalesce(before.debt_after, 0) + line.debt_delta
             OR line.created_at < before.created_at
          THEN 'entry_continues_the_line_before'
        WHEN account.entry_count IS DISTINCT FROM line.sequence THEN
          CASE WHEN NOT EXISTS (SELECT FROM billing_entry after
                                 WHERE after.account_id = line.account_id AND after.sequence = line.sequence + 1)
            THEN 'entry_agrees_with_account' END
        WHEN account.digest <> line.digest
             OR (account.balance, account.held, account.frozen, account.debt)
                <> (line.balance_after, line.held_after, line.frozen_after, line.debt_after)
          THEN 'entry_agrees_with_account'
        WHEN (lots.remaining, lots.held, lots.frozen) <> (line.balance_after, line.held_after, line.frozen_after)
          THEN 'entry_agrees_with_lots'
        WHEN holds.held <> line.held_after THEN 'entry_agrees_with_holds' END AS law
      FROM new_lines line
      LEFT JOIN LATERAL (
        SELECT balance_after, held_after, frozen_after, debt_after, created_at FROM billing_entry
         WHERE account_id = line.account_id AND sequence = line.sequence - 1 LIMIT 1) before ON true
      LEFT JOIN LATERAL (
        SELECT entry_count, digest, balance, held, frozen, debt FROM billing_account
         WHERE id = line.account_id LIMIT 1) account ON true
      CROSS JOIN LATERAL (
        SELECT coalesce(sum(lot.remaining), 0)::bigint AS remaining, coalesce(sum(lot.held), 0)::bigint AS held,
               coalesce(sum(lot.remaining - lot.held) FILTER (WHERE lot.is_frozen), 0)::bigint AS frozen
          FROM billing_lot lot
         WHERE lot.account_id = line.account_id AND lot.remaining > 0 AND account.entry_count = line.sequence) lots
      CROSS JOIN LATERAL (
        SELECT coalesce(sum(hold.amount - hold.captured), 0)::bigint AS held FROM billing_hold hold
         WHERE hold.account_id = line.account_id AND hold.ended_at IS NULL
           AND account.entry_count = line.sequence) holds
    ) checked
   WHERE checked.law IS NOT NULL LIMIT 1;

  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = law, TABLE = 'billing_entry',
      MESSAGE = format('a line of account %s breaks the law %s', wrong, law);
  END IF;
  RETURN NULL;
END $$;
"""

_OLD_FUNCTION = LAWS.AGREEMENT[: LAWS.AGREEMENT.index("CREATE TRIGGER entry_agrees")]
OLD_AGREEMENT = _OLD_FUNCTION.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")

ROOM = "".join(f"ALTER TABLE billing_{table} SET (fillfactor = 70);" for table in ("account", "lot", "spendday"))
NO_ROOM = ROOM.replace("SET (fillfactor = 70)", "RESET (fillfactor)")


class Migration(migrations.Migration):
    dependencies = [("billing", "0007_nothing_is_no_number")]

    operations = [
        migrations.RunSQL(KIND, OLD_KIND),
        migrations.RunSQL(_terms(when=True), _terms(when=False)),
        migrations.RemoveIndex("hold", "hold_open"),
        migrations.AddIndex("hold", models.Index(name="hold_open", fields=["account"], condition=Q(ended_at=None))),
        migrations.RunSQL(AGREEMENT, OLD_AGREEMENT),
        migrations.RunSQL(ROOM, NO_ROOM),
    ]
