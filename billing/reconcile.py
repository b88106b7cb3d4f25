"""Does every number agree with every other? Read on a live system, changing nothing.

The accounts are taken a chunk at a time, each chunk on one REPEATABLE READ snapshot, so that verbs may go on beside it
and memory stays flat. A law is a query that finds the rows which break it; only the digests, which the database cannot
recompute, are verified in Python, line by line as they stream past. Upper apps append their own laws to `checks`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from django.db import connection

from . import chain, sale_laws
from .snapshot import snapshot

ACCOUNTS_PER_SNAPSHOT = 1000
ENTRIES_PER_SNAPSHOT = 100_000
FINDINGS_PER_LAW = 100
"""Of one law in one snapshot; a broken law is named and located, not listed to the end."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A law that is broken: on which account, by which rows ("entry:…", "lot:…"), in a sentence."""

    law: str
    account: UUID | None
    rows: tuple[str, ...]
    sentence: str


@dataclass(slots=True)
class Report:
    accounts: int = 0
    entries: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not self.findings


Check = Callable[[Sequence[UUID]], Iterable[Finding]]
checks: list[Check] = []
"""Checks from above: each is called inside the snapshot with the ids of its accounts, and only reads."""


def reconcile(accounts: Iterable[UUID] | None = None) -> Report:
    """Every account, or `accounts`, checked against every law of the ledger; all of them also against those of no one.

    Inside a caller's transaction it reads what that transaction sees.
    """
    report = Report()
    for chunk in _chunks(accounts):
        with snapshot():
            report.accounts += len(chunk)
            for law in _LAWS:
                report.findings += find(law, chunk)
            for finding in _verify_lines(chunk, report):
                report.findings.append(finding)
            for check in checks:
                report.findings += check(chunk)
    if accounts is None:
        with snapshot():
            for law in sale_laws.OF_ALL:
                report.findings += find(law, [])
    return report


def find(sql: str, accounts: Sequence[UUID]) -> list[Finding]:
    """What a query found: it takes `%(accounts)s` and answers law, account, row ids and a sentence."""
    with connection.cursor() as cursor:
        cursor.execute(f"{sql} LIMIT {FINDINGS_PER_LAW}", {"accounts": list(accounts)})
        return [Finding(law, account, tuple(rows), sentence) for law, account, rows, sentence in cursor.fetchall()]


def _chunks(accounts: Iterable[UUID] | None) -> Iterator[list[UUID]]:
    if accounts is not None:
        ids = list(accounts)
        for start in range(0, len(ids), ACCOUNTS_PER_SNAPSHOT):
            yield ids[start : start + ACCOUNTS_PER_SNAPSHOT]
        return
    after = UUID(int=0)
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT id, entry_count FROM billing_account WHERE id > %s ORDER BY id LIMIT %s",
                [after, ACCOUNTS_PER_SNAPSHOT],
            )
            rows = cursor.fetchall()
        if not rows:
            return
        chunk: list[UUID] = []
        entries = 0
        for account, entry_count in rows:
            if chunk and entries + entry_count > ENTRIES_PER_SNAPSHOT:
                break
            chunk.append(account)
            entries += entry_count
        yield chunk
        after = chunk[-1]


# The laws. Each finds what breaks it; none finds anything on sound books.

_ACCOUNTS = """
SELECT 'entries_add_up_to_the_account', account.id, ARRAY['account:' || account.id],
       format('The lines add up to balance %%s, held %%s, frozen %%s, debt %%s (%%s lines); the account says '
              '%%s, %%s, %%s, %%s (%%s lines).', lines.balance, lines.held, lines.frozen, lines.debt, lines.count,
              account.balance, account.held, account.frozen, account.debt, account.entry_count)
  FROM billing_account account
  LEFT JOIN (
    SELECT account_id, sum(balance_delta) AS balance, sum(held_delta) AS held, sum(frozen_delta) AS frozen,
           sum(debt_delta) AS debt, count(*) AS count
      FROM billing_entry WHERE account_id = ANY(%(accounts)s)
     GROUP BY account_id) lines ON lines.account_id = account.id
 WHERE account.id = ANY(%(accounts)s)
   AND (account.balance, account.held, account.frozen, account.debt, account.entry_count)
       <> (coalesce(lines.balance, 0), coalesce(lines.held, 0), coalesce(lines.frozen, 0), coalesce(lines.debt, 0),
           coalesce(lines.count, 0))
"""

_DEBT = """
SELECT 'debt_repaid_by_what_is_free', id, ARRAY['account:' || id],
       format('Debt %%s stands beside %%s available.', debt, balance - held - frozen)
  FROM billing_account
 WHERE id = ANY(%(accounts)s)
   AND (least(balance, held, frozen, debt, balance - held - frozen) < 0 OR (debt > 0 AND balance > held + frozen))
"""

_LINES = """
SELECT CASE WHEN sequence <> coalesce(sequence_before, 0) + 1 THEN 'entry_sequence_without_gaps'
            WHEN created_at < created_before THEN 'entry_created_in_order'
            ELSE 'entry_continues_the_line_before' END,
       account_id, ARRAY['entry:' || id],
       format('Line %%s (%%s) does not follow from line %%s.', sequence, kind, coalesce(sequence_before, 0))
  FROM (
    SELECT entry.*, lag(sequence) OVER line AS sequence_before, lag(created_at) OVER line AS created_before,
           lag(balance_after) OVER line AS balance_before, lag(held_after) OVER line AS held_before,
           lag(frozen_after) OVER line AS frozen_before, lag(debt_after) OVER line AS debt_before
      FROM billing_entry entry WHERE account_id = ANY(%(accounts)s)
    WINDOW line AS (PARTITION BY account_id ORDER BY sequence)) line
 WHERE sequence <> coalesce(sequence_before, 0) + 1
    OR created_at < created_before
    OR (balance_after, held_after, frozen_after, debt_after)
       <> (coalesce(balance_before, 0) + balance_delta, coalesce(held_before, 0) + held_delta,
           coalesce(frozen_before, 0) + frozen_delta, coalesce(debt_before, 0) + debt_delta)
"""

_HEADS = """
SELECT 'account_stands_at_its_last_line', account.id, ARRAY['account:' || account.id, 'entry:' || line.id],
       format('The account does not carry the time and digest of its last line %%s.', line.sequence)
  FROM billing_account account
  JOIN billing_entry line ON line.account_id = account.id AND line.sequence = account.entry_count
 WHERE account.id = ANY(%(accounts)s)
   AND (account.digest <> line.digest OR account.moved_at IS DISTINCT FROM line.created_at)
"""

_MOVES = """
SELECT 'entry_lot_moves_add_up', account_id, ARRAY['entry:' || id],
       format('The lot moves of line %%s (%%s) do not add up to its deltas.', sequence, kind)
  FROM billing_entry
 WHERE account_id = ANY(%(accounts)s)
   AND (cardinality(lots) <> cardinality(remaining_deltas) OR cardinality(lots) <> cardinality(held_deltas)
        OR billing_sum(remaining_deltas) <> balance_delta OR billing_sum(held_deltas) <> held_delta)
"""

# What every line says of a lot, summed by what it means for the lot's parts.
_LOTS = """
SELECT 'lot_moves_add_up_to_the_lot', coalesce(lot.account_id, moved.account_id),
       ARRAY['lot:' || coalesce(lot.id, moved.lot)],
       CASE WHEN lot.id IS NULL THEN 'A line moves a lot that is not there.' ELSE
         format('The lines leave remaining %%s, held %%s of %%s (spent %%s, expired %%s, taken %%s, repaid %%s; last '
                'line %%s); the lot says %%s, %%s of %%s (%%s, %%s, %%s, %%s; %%s).',
                moved.remaining, moved.held, moved.amount, moved.spent, moved.expired, moved.taken, moved.repaid,
                moved.last, lot.remaining, lot.held, lot.amount, lot.spent, lot.expired, lot.taken, lot.repaid,
                lot.moved_by) END
  FROM (SELECT * FROM billing_lot WHERE account_id = ANY(%(accounts)s)) lot
  FULL JOIN (
    SELECT entry.account_id, move.lot, sum(move.remaining) AS remaining, sum(move.held) AS held,
           coalesce(sum(move.remaining) FILTER (WHERE kind IN ('grant', 'restore')
                                                   OR (kind = 'adjust' AND move.remaining > 0)), 0) AS amount,
           -coalesce(sum(move.remaining)
             FILTER (WHERE kind IN ('draw', 'capture', 'late_capture', 'charge', 'refund')), 0) AS spent,
           -coalesce(sum(move.remaining) FILTER (WHERE kind = 'lot_expired'), 0) AS expired,
           -coalesce(sum(move.remaining) FILTER (WHERE kind = 'claw_back'
                                                    OR (kind = 'adjust' AND move.remaining < 0)), 0) AS taken,
           -coalesce(sum(move.remaining) FILTER (WHERE kind = 'repay'), 0) AS repaid,
           max(entry.sequence) AS last,
           (array_agg(kind IN ('freeze', 'restore') ORDER BY sequence DESC)
             FILTER (WHERE kind IN ('freeze', 'thaw') OR (kind = 'restore' AND frozen_delta > 0)))[1] AS is_frozen
      FROM billing_entry entry
     CROSS JOIN LATERAL unnest(entry.lots, entry.remaining_deltas, entry.held_deltas) AS move (lot, remaining, held)
     WHERE entry.account_id = ANY(%(accounts)s)
     GROUP BY entry.account_id, move.lot) moved ON moved.account_id = lot.account_id AND moved.lot = lot.id
 WHERE lot.id IS NULL OR moved.lot IS NULL
    OR (lot.amount, lot.remaining, lot.held, lot.spent, lot.expired, lot.taken, lot.repaid, lot.moved_by,
        lot.is_frozen)
       <> (moved.amount, moved.remaining, moved.held, moved.spent, moved.expired, moved.taken, moved.repaid,
           moved.last, coalesce(moved.is_frozen, false))
    OR lot.amount <> lot.remaining + lot.spent + lot.expired + lot.taken + lot.repaid
"""

_LOT_SUMS = """
SELECT 'lots_add_up_to_the_account', account.id, ARRAY['account:' || account.id],
       format('The lots hold balance %%s, held %%s, frozen %%s; the account says %%s, %%s, %%s.',
              coalesce(lots.remaining, 0), coalesce(lots.held, 0), coalesce(lots.frozen, 0),
              account.balance, account.held, account.frozen)
  FROM billing_account account
  LEFT JOIN (
    SELECT account_id, sum(remaining) AS remaining, sum(held) AS held,
           coalesce(sum(remaining - held) FILTER (WHERE is_frozen), 0) AS frozen
      FROM billing_lot WHERE account_id = ANY(%(accounts)s) GROUP BY account_id) lots ON lots.account_id = account.id
 WHERE account.id = ANY(%(accounts)s)
   AND (account.balance, account.held, account.frozen)
       <> (coalesce(lots.remaining, 0), coalesce(lots.held, 0), coalesce(lots.frozen, 0))
"""

_HELD = """
SELECT 'open_holds_add_up_to_held', account.id, ARRAY['account:' || account.id],
       format('The open holds have %%s left; the account says held %%s.', coalesce(holds.held, 0), account.held)
  FROM billing_account account
  LEFT JOIN (
    SELECT account_id, sum(amount - captured) AS held
      FROM billing_hold WHERE account_id = ANY(%(accounts)s) AND ended_at IS NULL
     GROUP BY account_id) holds ON holds.account_id = account.id
 WHERE account.id = ANY(%(accounts)s) AND account.held <> coalesce(holds.held, 0)
"""

# A receipt's parts: `upto` is where each ends, read in its order.
_RECEIPTS = """
  SELECT hold.account_id, hold.id, hold.user_id, hold.placed_on, hold.state, hold.amount AS whole, hold.captured,
         part.lot, part.amount,
         sum(part.amount) OVER (PARTITION BY hold.account_id, hold.id ORDER BY part.at) AS upto
    FROM billing_hold hold
   CROSS JOIN LATERAL unnest(hold.receipt_lots, hold.receipt_amounts) WITH ORDINALITY AS part (lot, amount, at)
   WHERE hold.account_id = ANY(%(accounts)s)
"""

_RECEIPTS_HOLD = f"""
SELECT 'lot_held_by_open_receipts', lot.account_id, ARRAY['lot:' || lot.id],
       format('Open holds have %%s of this lot; the lot says held %%s.', coalesce(promised.held, 0), lot.held)
  FROM billing_lot lot
  LEFT JOIN (
    SELECT account_id, lot, sum(greatest(0, least(amount, upto - captured))) AS held
      FROM ({_RECEIPTS}) receipt WHERE state = 'open'
     GROUP BY account_id, lot) promised ON promised.account_id = lot.account_id AND promised.lot = lot.id
 WHERE lot.account_id = ANY(%(accounts)s) AND lot.held <> coalesce(promised.held, 0)
"""  # noqa: S608

_HOLDS = """
SELECT CASE WHEN placed.id IS NULL OR NOT placed.is_first THEN 'hold_has_the_line_that_placed_it'
            WHEN placed.lots <> hold.receipt_lots OR placed.held_deltas <> hold.receipt_amounts
              OR billing_sum(hold.receipt_amounts) <> hold.amount OR placed.amount <> hold.amount
              THEN 'receipt_agrees_with_its_line'
            ELSE 'hold_agrees_with_its_lines' END,
       hold.account_id, ARRAY['hold:' || hold.id],
       format('The hold of %%s is %%s with %%s captured and %%s late; its lines capture %%s (%%s late) and end it %%s '
              'times.', hold.amount, hold.state, hold.captured, coalesce(hold.captured_late, 0),
              coalesce(lines.captured, 0), coalesce(lines.late, 0), coalesce(lines.ends, 0))
  FROM billing_hold hold
  LEFT JOIN (
    SELECT account_id, hold_id,
           coalesce(sum(amount) FILTER (WHERE kind IN ('draw', 'capture')), 0) AS captured,
           sum(amount) FILTER (WHERE kind = 'late_capture') AS late,
           count(*) FILTER (WHERE kind = 'late_capture') AS late_count,
           count(*) FILTER (WHERE kind = 'hold') AS placed_count,
           count(*) FILTER (WHERE kind IN ('capture', 'release', 'hold_expired')) AS ends,
           min(CASE kind WHEN 'capture' THEN 'captured' WHEN 'release' THEN 'released'
                         WHEN 'hold_expired' THEN 'expired' END) AS state,
           min(created_at) FILTER (WHERE kind IN ('capture', 'release', 'hold_expired')) AS ended_at,
           max(sequence) AS last
      FROM billing_entry WHERE account_id = ANY(%(accounts)s) AND hold_id IS NOT NULL
     GROUP BY account_id, hold_id) lines ON lines.account_id = hold.account_id AND lines.hold_id = hold.id
  LEFT JOIN LATERAL (
    SELECT entry.id, entry.lots, entry.held_deltas, entry.amount, lines.placed_count = 1 AS is_first
      FROM billing_entry entry
     WHERE entry.hold_id = hold.id AND entry.account_id = hold.account_id AND entry.kind = 'hold'
     LIMIT 1) placed ON true
 WHERE hold.account_id = ANY(%(accounts)s)
   AND (placed.id IS NULL OR NOT placed.is_first
        OR placed.lots <> hold.receipt_lots OR placed.held_deltas <> hold.receipt_amounts
        OR billing_sum(hold.receipt_amounts) <> hold.amount OR placed.amount <> hold.amount
        OR hold.captured <> lines.captured OR hold.captured_late IS DISTINCT FROM lines.late OR lines.late_count > 1
        OR hold.state <> coalesce(lines.state, 'open') OR lines.ends > 1
        OR hold.ended_at IS DISTINCT FROM lines.ended_at OR hold.moved_by <> lines.last)
"""

_SHARES = """
SELECT CASE WHEN hold.id IS NULL OR NOT hold.is_envelope THEN 'share_stands_on_an_envelope'
            WHEN shares.promised > hold.amount THEN 'shares_fit_their_hold'
            WHEN shares.open > 0 AND hold.state <> 'open' THEN 'share_open_only_while_its_hold_is'
            ELSE 'draws_agree_with_shares' END,
       coalesce(hold.account_id, shares.account_id), ARRAY['hold:' || coalesce(hold.id, shares.hold_id)],
       format('Shares of %%s: %%s promised, %%s drawn in %%s shares, %%s open; lines drew %%s in %%s.', hold.amount,
              coalesce(shares.promised, 0), coalesce(shares.drawn, 0), coalesce(shares.count, 0),
              coalesce(shares.open, 0), coalesce(draws.drawn, 0), coalesce(draws.count, 0))
  FROM (
    SELECT account_id, hold_id, sum(CASE state WHEN 'open' THEN amount WHEN 'drawn' THEN drawn ELSE 0 END) AS promised,
           coalesce(sum(drawn), 0) AS drawn, count(*) FILTER (WHERE state = 'drawn') AS count,
           count(*) FILTER (WHERE state = 'open') AS open
      FROM billing_share WHERE account_id = ANY(%(accounts)s) GROUP BY account_id, hold_id) shares
  FULL JOIN (
    SELECT account_id, hold_id, sum(amount) AS drawn, count(*) AS count
      FROM billing_entry WHERE account_id = ANY(%(accounts)s) AND kind = 'draw' GROUP BY account_id, hold_id) draws
    ON draws.account_id = shares.account_id AND draws.hold_id = shares.hold_id
  LEFT JOIN billing_hold hold ON hold.account_id = coalesce(shares.account_id, draws.account_id)
                             AND hold.id = coalesce(shares.hold_id, draws.hold_id)
 WHERE hold.id IS NULL OR NOT hold.is_envelope OR shares.promised > hold.amount
    OR (shares.open > 0 AND hold.state <> 'open')
    OR coalesce(shares.drawn, 0) <> coalesce(draws.drawn, 0) OR coalesce(shares.count, 0) <> coalesce(draws.count, 0)
"""

_REFUNDS = """
SELECT CASE WHEN spending.id IS NULL OR spending.kind NOT IN ('draw', 'capture', 'late_capture', 'charge')
              THEN 'refund_names_a_spending_line' ELSE 'refunds_within_what_was_spent' END,
       refunded.account_id, ARRAY['entry:' || refunded.refunds_id],
       format('%%s of the lot was given back; the line spent %%s of it.', refunded.remaining,
              coalesce(spent.remaining, 0))
  FROM (
    SELECT refund.account_id, refund.refunds_id, move.lot, sum(move.remaining) AS remaining
      FROM billing_entry refund
     CROSS JOIN LATERAL unnest(refund.lots, refund.remaining_deltas) AS move (lot, remaining)
     WHERE refund.account_id = ANY(%(accounts)s) AND refund.kind = 'refund'
     GROUP BY refund.account_id, refund.refunds_id, move.lot) refunded
  LEFT JOIN billing_entry spending ON spending.account_id = refunded.account_id AND spending.id = refunded.refunds_id
  LEFT JOIN LATERAL (
    SELECT -sum(move.remaining) AS remaining
      FROM unnest(spending.lots, spending.remaining_deltas) AS move (lot, remaining)
     WHERE move.lot = refunded.lot) spent ON true
 WHERE spending.id IS NULL OR spending.kind NOT IN ('draw', 'capture', 'late_capture', 'charge')
    OR refunded.remaining > coalesce(spent.remaining, 0)
"""

# Committed spend of a day: holds placed that day (open: amount; ended: captured), charges, late captures of those
# holds, less refunds of either; and the part of each that came from plan and promotional lots.
_SPEND_DAYS = f"""
SELECT 'spend_day_recomputed', coalesce(kept.account_id, spend.account_id),
       ARRAY['spend_day:' || coalesce(kept.id::text, spend.day::text)],
       format('On %%s the lines of member %%s come to %%s (%%s from plan and promotional lots); the row: %%s (%%s).',
              coalesce(kept.day, spend.day), coalesce(kept.user_id, spend.user_id), coalesce(spend.spent, 0),
              coalesce(spend.capped, 0), coalesce(kept.spent, 0), coalesce(kept.spent_capped, 0))
  FROM (SELECT id, account_id, user_id, day, spent, spent_capped, coalesce(user_id, -1) AS member
          FROM billing_spendday WHERE account_id = ANY(%(accounts)s)) kept
  FULL JOIN (
    SELECT part.account_id, part.user_id, part.day, coalesce(part.user_id, -1) AS member, sum(part.amount) AS spent,
           coalesce(sum(part.amount) FILTER (WHERE lot.is_promotional OR lot.source = 'plan'), 0) AS capped
      FROM (
        SELECT account_id, user_id, placed_on AS day, lot,
               greatest(0, least(amount, CASE state WHEN 'open' THEN whole ELSE captured END - (upto - amount)))
                 AS amount
          FROM ({_RECEIPTS}) receipt
        UNION ALL
        SELECT line.account_id, CASE WHEN hold.id IS NULL THEN spent.user_id ELSE hold.user_id END,
               coalesce(hold.placed_on, (spent.created_at AT TIME ZONE 'UTC')::date), move.lot, -move.remaining
          FROM billing_entry line
          JOIN billing_entry spent
            ON spent.account_id = line.account_id AND spent.id = coalesce(line.refunds_id, line.id)
          LEFT JOIN billing_hold hold ON hold.account_id = spent.account_id AND hold.id = spent.hold_id
         CROSS JOIN LATERAL unnest(line.lots, line.remaining_deltas) AS move (lot, remaining)
         WHERE line.account_id = ANY(%(accounts)s) AND line.kind IN ('charge', 'late_capture', 'refund')) part
      LEFT JOIN billing_lot lot ON lot.account_id = part.account_id AND lot.id = part.lot
     GROUP BY part.account_id, part.user_id, part.day) spend
    ON spend.account_id = kept.account_id AND spend.day = kept.day AND spend.member = kept.member
 WHERE coalesce(kept.spent, 0) <> coalesce(spend.spent, 0)
    OR coalesce(kept.spent_capped, 0) <> coalesce(spend.capped, 0)
"""  # noqa: S608

_PAYMENTS = """
SELECT CASE WHEN line.id IS NULL OR line.kind <> 'grant' OR line.amount <> payment.granted
              OR lots.by_this_line <> 1 OR lots.granted <> 1 OR lots.kept > lots.expired THEN 'payment_granted_once'
            ELSE 'claw_backs_within_their_grant' END,
       payment.account_id, ARRAY['payment:' || payment.id],
       format('Payment of %%s: %%s lots granted, %%s clawed back and not restored; of %%s that expired %%s are kept, '
              'and %%s counted as expired.',
              payment.granted, lots.granted, coalesce(backs.amount, 0), lots.expired, lots.kept,
              coalesce(backs.expired, 0))
  FROM billing_payment payment
  LEFT JOIN billing_entry line ON line.account_id = payment.account_id AND line.sequence = payment.sequence
 CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE lot.id = ANY(line.lots)) AS by_this_line,
           count(*) FILTER (WHERE NOT EXISTS (
             SELECT FROM billing_clawback back JOIN billing_entry made
               ON made.account_id = back.account_id AND made.sequence = back.restored_by
              WHERE back.account_id = payment.account_id AND back.payment_id = payment.id
                AND lot.id = ANY(made.lots)) AND NOT (
             lot.id <> ALL(line.lots) AND EXISTS (
               SELECT FROM billing_entry made
                WHERE made.account_id = payment.account_id AND made.sequence > payment.sequence
                  AND made.kind = 'grant' AND lot.id = ANY(made.lots)))) AS granted,
           coalesce(sum(lot.expired), 0) AS expired, sum(lot.amount) - payment.granted - (
             SELECT coalesce(sum(back.taken + back.debt), 0) FROM billing_clawback back
              WHERE back.account_id = payment.account_id AND back.payment_id = payment.id
                AND back.restored_by IS NOT NULL) AS kept
      FROM billing_lot lot WHERE lot.account_id = payment.account_id AND lot.payment_id = payment.id) lots
  LEFT JOIN LATERAL (
    SELECT sum(back.amount) AS amount, sum(back.expired) AS expired
      FROM billing_clawback back
     WHERE back.account_id = payment.account_id AND back.payment_id = payment.id AND back.restored_by IS NULL) backs
    ON true
 WHERE payment.account_id = ANY(%(accounts)s)
   AND (line.id IS NULL OR line.kind <> 'grant' OR line.amount <> payment.granted
        OR lots.by_this_line <> 1 OR lots.granted <> 1
        OR backs.amount > payment.granted OR coalesce(backs.expired, 0) + lots.kept > lots.expired)
"""

_CLAW_BACKS = """
SELECT 'claw_back_agrees_with_its_lines', back.account_id, ARRAY['claw_back:' || back.id],
       format('%%s taken back (%%s taken, %%s expired, %%s debt) is not what its lines say.', back.amount, back.taken,
              back.expired, back.debt)
  FROM billing_clawback back
  LEFT JOIN billing_entry line ON line.account_id = back.account_id AND line.sequence = back.sequence
  LEFT JOIN billing_entry restored ON restored.account_id = back.account_id AND restored.sequence = back.restored_by
 WHERE back.account_id = ANY(%(accounts)s)
   AND ((line.kind, line.amount, -line.balance_delta, line.debt_delta)
          IS DISTINCT FROM ('claw_back', back.amount, back.taken, back.debt)
        OR (back.restored_by IS NOT NULL
            AND (restored.kind, restored.amount) IS DISTINCT FROM ('restore', back.taken + back.debt)))
"""

_CLAW_BACK_LINES = """
SELECT 'claw_back_line_has_its_row', line.account_id, ARRAY['entry:' || line.id],
       format('Line %%s (%%s) belongs to no claw-back.', line.sequence, line.kind)
  FROM billing_entry line
 WHERE line.account_id = ANY(%(accounts)s) AND line.kind IN ('claw_back', 'restore')
   AND NOT EXISTS (SELECT FROM billing_clawback back WHERE back.account_id = line.account_id
                      AND line.sequence = CASE line.kind WHEN 'restore' THEN back.restored_by ELSE back.sequence END)
"""

_KEYS = """
SELECT 'idempotency_key_once', account_id, array_agg('idempotency_key:' || id),
       'An idempotency key stands for more than one request, or for one that was not done.'
  FROM billing_idempotencykey WHERE account_id = ANY(%(accounts)s)
 GROUP BY account_id, actor, scope, key
HAVING count(*) > 1 OR min(status) < 200 OR max(status) > 299 OR min(octet_length(fingerprint)) <> 32
    OR max(octet_length(fingerprint)) <> 32
"""

_IMPORTS = """
SELECT 'import_stands_on_its_own_line', imported.account_id, ARRAY['imported_account:' || imported.external_id],
       'What was taken over does not stand on a grant of the same account.'
  FROM billing_importedaccount imported
  JOIN billing_entry line ON line.id = imported.entry_id
 WHERE imported.account_id = ANY(%(accounts)s)
   AND (line.account_id <> imported.account_id OR line.kind NOT IN ('grant', 'adjust'))
"""

_LAWS = (
    _ACCOUNTS,
    _DEBT,
    _LINES,
    _HEADS,
    _MOVES,
    _LOTS,
    _LOT_SUMS,
    _HELD,
    _RECEIPTS_HOLD,
    _HOLDS,
    _SHARES,
    _REFUNDS,
    _SPEND_DAYS,
    _PAYMENTS,
    _CLAW_BACKS,
    _CLAW_BACK_LINES,
    _KEYS,
    _IMPORTS,
    *sale_laws.LAWS,
)


# The chain


class _StoredLine(NamedTuple):
    """A line as it stands in the table, with its texts; what `chain.encode` reads, and more."""

    account: UUID
    id: UUID
    sequence: int
    kind: str
    amount: int
    balance_delta: int
    held_delta: int
    frozen_delta: int
    debt_delta: int
    balance_after: int
    held_after: int
    frozen_after: int
    debt_after: int
    lots: list[UUID]
    remaining_deltas: list[int]
    held_deltas: list[int]
    hold: UUID | None
    refunds: UUID | None
    user: int | None
    actor: str
    occurred_at: datetime
    created_at: datetime
    text_hash: bytes | None
    digest: bytes
    salt: bytes | None
    description: str | None
    reason: str | None


_STORED_LINES = """
SELECT entry.account_id, entry.id, sequence, kind, amount, balance_delta, held_delta, frozen_delta, debt_delta,
       balance_after, held_after, frozen_after, debt_after, lots, remaining_deltas, held_deltas, hold_id, refunds_id,
       user_id, actor, occurred_at, created_at, text_hash, digest, words.salt, words.description, words.reason
  FROM billing_entry entry
  LEFT JOIN billing_entrytext words ON words.entry_id = entry.id
 WHERE entry.account_id = ANY(%(accounts)s)
 ORDER BY entry.account_id, entry.sequence
"""


def _stream(sql: str, parameters: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    connection.ensure_connection()
    with psycopg.ServerCursor(connection.connection, "holdfast_reconcile") as cursor:
        cursor.itersize = 2000
        cursor.execute(sql, parameters, binary=True)
        yield from cursor


def _verify_lines(accounts: Sequence[UUID], report: Report) -> Iterator[Finding]:
    """What is wrong with the digests and the texts' hashes. After a broken digest the chain is followed from there."""
    account: UUID | None = None
    digest = b""
    for row in _stream(_STORED_LINES, {"accounts": list(accounts)}):
        line = _StoredLine._make(row)
        report.entries += 1
        if line.account != account:
            account, digest = line.account, bytes(32)
        if chain.digest(digest, chain.encode(line)) != line.digest:
            sentence = f"Line {line.sequence} is not as it was written."
            yield Finding("entry_digest_verifies", account, (f"entry:{line.id}",), sentence)
        digest = line.digest
        if not _text_verifies(line):
            sentence = f"The words of line {line.sequence} are not those that were written."
            yield Finding("entry_text_verifies", account, (f"entry:{line.id}",), sentence)


def _text_verifies(line: _StoredLine) -> bool:
    """The texts are those hashed with the line, or were erased (both are empty), or the line never had any."""
    if line.text_hash is None or line.salt is None:
        return line.text_hash is None and line.salt is None
    description, reason = line.description or "", line.reason or ""
    is_erased = not description and not reason
    return is_erased or chain.hash_text(line.salt, description, reason) == line.text_hash
