"""The only writer of money. Every verb takes the same way: lock the accounts in order, find their rows, decide in
memory (`book.py`), write everything that changed in one statement.

A batch is a list of groups; a group is one or more steps on one account, done whole or not at all, each seeing the
ones before it. Every group has its own result or refusal, and a refusal undoes no other. The single verbs below are
batches of one.

Lock order: what the caller locks above (an inbox row, a purchase, a generation), then accounts by id, here.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID

import psycopg
import structlog
from django.conf import settings
from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction

from . import alerts, book, errors, limits, steps, trust
from .columns import BigInts, Blobs, Bools, Column, Days, Ints, Moments, SmallInts, Texts, Uuids
from .models import Account, new_id
from .tables import Piece, Table, statement

log = structlog.get_logger("holdfast.ledger")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A client's idempotency key: by account, actor, method and path. `made` and `status` answer a repeat."""

    actor: str
    scope: str
    key: str
    fingerprint: bytes
    status: int
    made: UUID


@dataclass(frozen=True, slots=True)
class Repeat:
    """The request was answered before: with this status, about this thing."""

    status: int
    made: UUID


@dataclass(slots=True)
class Group:
    account: UUID
    steps: Sequence[steps.Step]
    key: Key | None = None


@dataclass(slots=True)
class Outcome:
    """What became of a group: `results`, one a step; or `repeat`; or `refusal`."""

    group: Group
    results: list[book.Result] = field(default_factory=list)
    repeat: Repeat | None = None
    refusal: errors.BillingError | None = None

    @property
    def line(self) -> book.Line:
        """The line of the last step."""
        line = self.results[-1]
        assert isinstance(line, book.Line)
        return line

    def unwrap(self) -> Outcome:
        """Itself; raises the refusal where there is one."""
        if self.refusal is not None:
            raise self.refusal
        return self


Keys = dict[tuple[UUID, str, str, str], tuple[bytes, int, UUID]]
"""By account, actor, scope and key: the fingerprint, the status and what was made."""

Also = Callable[[list[Outcome]], None]
"""What a caller writes with the groups that were done: it shares their fate."""


# The way every verb takes


def post(groups: Sequence[Group], also: Also | None = None) -> list[Outcome]:
    """Every group done or refused, in the order given; what was done is written, with what `also` writes beside it.

    Takes the account locks (FOR NO KEY UPDATE, in order of id) until the caller's transaction ends,
    `LEDGER_ACCOUNTS_PER_STATEMENT` accounts a statement. Two round trips for a batch of any size; while the database
    writes one chunk of accounts the next is decided. Whatever fails but the
    database itself is halved until one group fails alone: that one is quarantined and staff are alerted; a refusal
    that `also` raised is that group's. The only group of a batch raises what it met.
    """
    outcomes = [Outcome(group) for group in groups]
    with transaction.atomic(savepoint=False):
        _claim_keys(outcomes)
        going = [outcome for outcome in outcomes if outcome.refusal is None]
        if going and len(outcomes) == 1:
            _post(going, also)
        elif going:
            _post_or_halve(sorted(going, key=lambda outcome: outcome.group.account.int), also)
    return outcomes


def _chunks(ordered: list[Outcome]) -> Iterator[list[Outcome]]:
    """Groups in order of their accounts, a statement's worth of accounts at a time, no account in two chunks."""
    accounts_max = settings.LEDGER_ACCOUNTS_PER_STATEMENT
    chunk: list[Outcome] = []
    accounts = 0
    previous: UUID | None = None
    for outcome in ordered:
        if outcome.group.account != previous:
            if accounts == accounts_max:
                yield chunk
                chunk, accounts = [], 0
            accounts += 1
            previous = outcome.group.account
        chunk.append(outcome)
    if chunk:
        yield chunk


def _post_or_halve(outcomes: list[Outcome], also: Also | None) -> None:
    if len(outcomes) == 1:
        _post_alone(outcomes[0], also)
        return
    try:
        with transaction.atomic(), _collecting_nothing():
            _post(outcomes, also)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        log.warning("batch_halved", groups=len(outcomes), error=str(error))
        middle = len(outcomes) // 2
        _post_or_halve(outcomes[:middle], also)
        _post_or_halve(outcomes[middle:], also)


@contextmanager
def _collecting_nothing() -> Iterator[None]:
    """The garbage collector pauses: a batch's rows hold no cycles, and looking for some took half of our time."""
    is_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_on:
            gc.enable()


def _post_alone(outcome: Outcome, also: Also | None) -> None:
    """One group out of a batch whose writing failed: done, or refused by name, or quarantined."""
    try:
        with transaction.atomic():
            _post([outcome], also)
    except (OperationalError, InterfaceError):
        raise
    except errors.BillingError as refusal:
        outcome.results, outcome.refusal = [], refusal
    except Exception as error:
        outcome.results, outcome.refusal = [], _refusal_named_by(error)
        if outcome.refusal is not None:
            return
        log.error("group_quarantined", account=str(outcome.group.account), exc_info=error)
        outcome.refusal = errors.Quarantined(account=str(outcome.group.account))
        alerts.open_alert(
            "group_quarantined",
            key=str(outcome.group.account),
            sentence="A group of a batch could not be written and was set aside.",
            facts={"account": str(outcome.group.account), "error": str(error)[:500]},
        )


def _post(outcomes: list[Outcome], also: Also | None) -> None:
    """The groups, in order of their accounts, are done or refused, and what was done is written."""
    for outcome in outcomes:
        outcome.results, outcome.repeat, outcome.refusal = [], None, None
    done: list[Outcome] = []
    with _without_waiting():
        for asked in [_lock_and_ask(chunk) for chunk in _chunks(outcomes)]:
            books, keys = _open_books(asked)
            done_here = [outcome for outcome in asked.outcomes if _decide(outcome, books, keys)]
            _write(books, done_here)
            done += done_here
    if also is not None and done:
        also(done)


def _decide(outcome: Outcome, books: Mapping[UUID, book.Book], keys: Keys) -> bool:
    """Says whether the group was done in its account's books; otherwise it has its refusal or is a repeat."""
    group = outcome.group
    try:
        if group.account not in books:
            raise errors.AccountNotFound
        if group.key is not None and _repeats(group, outcome, keys):
            return False
        outcome.results = books[group.account].run(group.steps)
    except errors.BillingError as refusal:
        outcome.refusal = refusal
        return False
    if group.key is not None:
        keys[_key_of(group)] = (group.key.fingerprint, group.key.status, group.key.made)
    return True


# The clock is read for each account after its lock is held.
_LOCK = b"""
SELECT head.*, holdfast_now()
  FROM (SELECT id, balance, held, frozen, debt, entry_count, digest, moved_at, is_frozen
          FROM billing_account WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE) head
"""


def lock(accounts: Iterable[UUID]) -> dict[UUID, book.Head]:
    """The accounts' own values, locked in order of id until the transaction ends. Unknown ids are left out."""
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("a lock ends with its transaction: there is none")
    return {row[0]: book.Head(*row[:-1]) for row in _query(_LOCK, Uuids(set(accounts)))}


# Keys

_CLAIM = b"SELECT pg_try_advisory_xact_lock(number) FROM unnest($1) WITH ORDINALITY AS k (number, at) ORDER BY at"


def _key_of(group: Group) -> tuple[UUID, str, str, str]:
    assert group.key is not None
    return (group.account, group.key.actor, group.key.scope, group.key.key)


def _claim_keys(outcomes: list[Outcome]) -> None:
    """One request a key at a time: who comes while the first is going is told so instead of waiting for the lock."""
    keyed = [outcome for outcome in outcomes if outcome.group.key is not None]
    if not keyed:
        return
    numbers = [
        int.from_bytes(hashlib.sha256(repr(_key_of(outcome.group)).encode()).digest()[:8], signed=True)
        for outcome in keyed
    ]
    rows = _query(_CLAIM, BigInts(numbers))
    for outcome, (is_mine,) in zip(keyed, rows, strict=True):
        if not is_mine:
            outcome.refusal = errors.RequestInProgress()


def _repeats(group: Group, outcome: Outcome, keys: Keys) -> bool:
    known = keys.get(_key_of(group))
    if known is None:
        return False
    fingerprint, status, made = known
    assert group.key is not None
    if bytes(fingerprint) != group.key.fingerprint:
        raise errors.IdempotencyConflict
    outcome.repeat = Repeat(status, made)
    return True


# Find: everything the groups need, in a few queries whatever their number

_CONTEXT = b"""
SELECT 'limit', account_id, user_id, source, NULL::date, per_run, per_day, per_month, open_holds_max, jobs_at_once_max
  FROM billing_spendlimit WHERE account_id = ANY($1)
UNION ALL
SELECT 'day', account_id, user_id, NULL, day, spent, spent_capped, 0, 0, 0
  FROM billing_spendday spend
 WHERE account_id = ANY($1) AND day >= date_trunc('month', holdfast_now() AT TIME ZONE 'UTC')::date
   AND EXISTS (SELECT FROM billing_spendlimit bound WHERE bound.account_id = spend.account_id)
UNION ALL
SELECT 'open', account_id, NULL, NULL, NULL, count(*), coalesce(sum(jobs), 0)::bigint, 0, 0, 0
  FROM (SELECT account_id, CASE WHEN owner <> 'job' THEN 0 WHEN NOT is_envelope THEN 1
                                ELSE (SELECT count(*) FROM billing_share part
                                       WHERE part.account_id = hold.account_id AND part.hold_id = hold.id
                                         AND part.state = 'open') END AS jobs
          FROM billing_hold hold WHERE account_id = ANY($1) AND ended_at IS NULL) open
 GROUP BY account_id
"""
_LOT_COLUMNS = b"""
SELECT account_id, id, source, is_promotional, amount, remaining, held, spent, expired, taken, repaid, priority,
       granted_at, expires_at, spendable_until, is_frozen, payment_id, moved_by
  FROM billing_lot
"""
_LOTS = _LOT_COLUMNS + b" WHERE account_id = ANY($1) AND remaining > 0"
_MORE_LOTS = _LOT_COLUMNS + b" WHERE account_id = ANY($1) AND (id = ANY($2) OR payment_id = ANY($3))"
_HOLDS = b"""
SELECT account_id, id, user_id, owner, reference, label, link, amount, captured, captured_late, state, is_envelope,
       takes_free_credits, price_version, receipt_lots, receipt_amounts, placed_at, placed_on, expires_at, ended_at,
       moved_by
  FROM billing_hold WHERE account_id = ANY($1) AND id = ANY($2)
"""
_SHARES = b"""
SELECT account_id, id, hold_id, reference, amount, drawn, state
  FROM billing_share WHERE account_id = ANY($1) AND hold_id = ANY($2)
"""
_SPENDINGS = b"""
SELECT entry.account_id, entry.id, entry.kind, CASE WHEN hold.id IS NULL THEN entry.user_id ELSE hold.user_id END,
       coalesce(hold.placed_on, (entry.created_at AT TIME ZONE 'UTC')::date), entry.lots, entry.remaining_deltas,
       (SELECT coalesce(sum(refund.amount), 0)::bigint FROM billing_entry refund WHERE refund.refunds_id = entry.id)
  FROM billing_entry entry
  LEFT JOIN billing_hold hold ON hold.account_id = entry.account_id AND hold.id = entry.hold_id
 WHERE entry.account_id = ANY($1) AND entry.id = ANY($2)
"""
_PAYMENTS = b"""
SELECT payment.account_id, payment.id, payment.reference, payment.granted, payment.sequence, entry.id,
       payment.created_at
  FROM billing_payment payment
  JOIN billing_entry entry ON entry.account_id = payment.account_id AND entry.sequence = payment.sequence
 WHERE payment.reference = ANY($2) OR (payment.account_id = ANY($1) AND payment.id = ANY($3))
"""
_CLAW_BACKS = b"""
SELECT account_id, id, payment_id, amount, taken, expired, debt, sequence, restored_by, created_at
  FROM billing_clawback
 WHERE (account_id = ANY($1) AND payment_id = ANY($2)) OR id = ANY($3)
"""
_KEYS = b"""
SELECT found.account_id, found.actor, found.scope, found.key, found.fingerprint, found.status, found.made
  FROM unnest($1, $2, $3, $4) AS asked (account_id, actor, scope, key)
  JOIN billing_idempotencykey found USING (account_id, actor, scope, key)
"""


@dataclass(slots=True)
class _Asked:
    """A chunk of groups and what was asked for them; the answers may be under way still."""

    outcomes: list[Outcome]
    steps: list[tuple[UUID, steps.Step]]
    accounts: Uuids
    locked: Any
    lots: Any
    context: Any
    paid: Any
    holds: Any
    keys: Any


def _lock_and_ask(outcomes: list[Outcome]) -> _Asked:
    every = [(outcome.group.account, step) for outcome in outcomes for step in outcome.group.steps]
    accounts = Uuids({outcome.group.account for outcome in outcomes})
    spending = [(account, step) for account, step in every if isinstance(step, steps.Spend)]
    spenders = Uuids({account for account, _ in spending})
    wary = Uuids({account for account, step in every if _may_be_wary(step)})
    holds = Uuids({step.hold for _, step in every if isinstance(step, steps.OfHold)})
    return _Asked(
        outcomes,
        every,
        accounts,
        _ask(_LOCK, accounts),
        _ask(_LOTS, accounts),
        _ask(_CONTEXT, spenders) if spenders else None,
        _ask(trust.HAVE_PAID, wary) if wary else None,
        _ask(_HOLDS, accounts, holds) if holds else None,
        _ask_keys(outcomes),
    )


def _may_be_wary(step: steps.Step) -> bool:
    """Whether free credits may not pay it; a late capture's hold, which says so, is not read yet."""
    return isinstance(step, steps.CaptureLate) or (isinstance(step, steps.Spend) and not step.takes_free_credits)


def _open_books(asked: _Asked) -> tuple[dict[UUID, book.Book], Keys]:
    """The books of the accounts, locked, with every row that the groups need; and the keys answered before."""
    heads = asked.locked.fetchall()
    open_holds_max = settings.OPEN_HOLDS_MAX
    books = {row[0]: book.Book(row[0], book.Head(*row[:-1]), heads[-1][-1], open_holds_max) for row in heads}
    for row in asked.lots.fetchall():
        books[row[0]].lots[row[1]] = book.Lot(*row)
    for what, account, user, source, day, a, b, c, d, e in asked.context.fetchall() if asked.context else ():
        if what == "limit":
            books[account].bound.append(limits.Limit(source, user, a, b, c, d, e))
        elif what == "day":
            books[account].used[user, day] = limits.Use(a, b)
        else:
            books[account].head.open_holds, books[account].head.open_jobs = a, b
    for (account,) in asked.paid.fetchall() if asked.paid else ():
        books[account].has_paid = True
    envelopes = Uuids()
    for row in asked.holds.fetchall() if asked.holds else ():
        hold = book.Hold(*row)
        books[row[0]].holds[hold.id] = hold
        if hold.is_envelope:
            envelopes.append(hold.id)
    for row in _query(_SHARES, asked.accounts, envelopes) if envelopes else ():
        share = book.Share(*row)
        books[row[0]].shares[share.hold, share.reference] = share
    _find_spendings(books, asked.steps, asked.accounts)
    _find_payments(books, asked.steps, asked.accounts)
    return books, {row[:4]: row[4:] for row in asked.keys.fetchall()} if asked.keys else {}


def have_paid(accounts: Iterable[UUID]) -> set[UUID]:
    """Those of the accounts whose free credits pay for everything: they have paid for something. One query."""
    return {account for (account,) in _query(trust.HAVE_PAID, Uuids(accounts))}


def _ask_keys(outcomes: list[Outcome]) -> Any:
    asked = [_key_of(outcome.group) for outcome in outcomes if outcome.group.key is not None]
    if not asked:
        return None
    accounts, actors, scopes, keys = zip(*asked, strict=True)
    return _ask(_KEYS, Uuids(accounts), Texts(actors), Texts(scopes), Texts(keys))


def _find_spendings(books: dict[UUID, book.Book], every: list[tuple[UUID, steps.Step]], accounts: Uuids) -> None:
    entries = {step.entry for _, step in every if isinstance(step, steps.Refund)}
    if not entries:
        return
    lots: set[UUID] = set()
    for row in _query(_SPENDINGS, accounts, Uuids(entries)):
        spending = book.Spending(*row)
        books[row[0]].spendings[spending.id] = spending
        lots.update(spending.lots)
    _find_lots(books, accounts, lots, set())


def _find_payments(books: dict[UUID, book.Book], every: list[tuple[UUID, steps.Step]], accounts: Uuids) -> None:
    references = {step.payment for _, step in every if isinstance(step, steps.Grant) and step.payment is not None}
    payments = {step.payment for _, step in every if isinstance(step, steps.OfPayment)}
    claw_backs = {step.claw_back for _, step in every if isinstance(step, steps.Restore)}
    claw_backs |= {step.id for _, step in every if isinstance(step, steps.ClawBack)}
    if not references and not payments and not claw_backs:
        return
    for row in _query(_CLAW_BACKS, accounts, Uuids(payments), Uuids(claw_backs)):
        taken = book.TakenBack(*row)
        for other, books_of in books.items():
            if other != taken.account:
                books_of.taken_elsewhere.add(taken.id)
        if taken.account in books:
            books[taken.account].claw_backs[taken.id] = taken
            payments.add(taken.payment)
    for row in _query(_PAYMENTS, accounts, Texts(references), Uuids(payments)):
        payment = book.Payment(*row)
        account = payment.account
        for other, books_of in books.items():
            books_of.granted[payment.reference] = payment if other == account else None
        if account in books:
            books[account].payments[payment.id] = payment
    _find_lots(books, accounts, set(), payments)


def _find_lots(books: dict[UUID, book.Book], accounts: Uuids, lots: set[UUID], payments: set[UUID]) -> None:
    if not lots and not payments:
        return
    for row in _query(_MORE_LOTS, accounts, Uuids(lots), Uuids(payments)):
        books[row[0]].lots.setdefault(row[1], book.Lot(*row))


# Write: everything that changed, as the pieces of one statement

_ENTRY = Table(
    "billing_entry",
    {
        "id": Uuids,
        "account": Uuids,
        "sequence": BigInts,
        "kind": Texts,
        "amount": BigInts,
        "balance_delta": BigInts,
        "held_delta": BigInts,
        "frozen_delta": BigInts,
        "debt_delta": BigInts,
        "balance_after": BigInts,
        "held_after": BigInts,
        "frozen_after": BigInts,
        "debt_after": BigInts,
        "hold": Uuids,
        "refunds": Uuids,
        "user": Ints,
        "actor": Texts,
        "occurred_at": Moments,
        "created_at": Moments,
        "text_hash": Blobs,
        "digest": Blobs,
    },
    lists={"lots": Uuids, "remaining_deltas": BigInts, "held_deltas": BigInts},
).insert()
_ENTRY_TEXT = Table(
    "billing_entrytext",
    {"entry": Uuids, "account": Uuids, "salt": Blobs, "description": Texts, "reason": Texts},
).insert()
_ACCOUNT = Table(
    "billing_account",
    {
        "id": Uuids,
        "balance": BigInts,
        "held": BigInts,
        "frozen": BigInts,
        "debt": BigInts,
        "entry_count": BigInts,
        "digest": Blobs,
        "moved_at": Moments,
    },
).update("id")
_NEW_LOT = Table(
    "billing_lot",
    {
        "id": Uuids,
        "account": Uuids,
        "source": Texts,
        "is_promotional": Bools,
        "amount": BigInts,
        "remaining": BigInts,
        "held": BigInts,
        "spent": BigInts,
        "expired": BigInts,
        "taken": BigInts,
        "repaid": BigInts,
        "priority": SmallInts,
        "granted_at": Moments,
        "expires_at": Moments,
        "spendable_until": Moments,
        "is_frozen": Bools,
        "payment": Uuids,
        "moved_by": BigInts,
    },
).insert()
_LOT = Table(
    "billing_lot",
    {
        "account": Uuids,
        "id": Uuids,
        "remaining": BigInts,
        "held": BigInts,
        "spent": BigInts,
        "expired": BigInts,
        "taken": BigInts,
        "repaid": BigInts,
        "spendable_until": Moments,
        "is_frozen": Bools,
        "moved_by": BigInts,
    },
).update("account_id", "id")
_NEW_HOLD = Table(
    "billing_hold",
    {
        "id": Uuids,
        "account": Uuids,
        "user": Ints,
        "owner": Texts,
        "reference": Texts,
        "label": Texts,
        "link": Texts,
        "amount": BigInts,
        "captured": BigInts,
        "captured_late": BigInts,
        "state": Texts,
        "is_envelope": Bools,
        "takes_free_credits": Bools,
        "price_version": Uuids,
        "placed_at": Moments,
        "placed_on": Days,
        "expires_at": Moments,
        "ended_at": Moments,
        "moved_by": BigInts,
    },
    lists={"receipt_lots": Uuids, "receipt_amounts": BigInts},
).insert()
_HOLD = Table(
    "billing_hold",
    {
        "account": Uuids,
        "id": Uuids,
        "captured": BigInts,
        "captured_late": BigInts,
        "state": Texts,
        "expires_at": Moments,
        "ended_at": Moments,
        "moved_by": BigInts,
    },
).update("account_id", "id")
_NEW_SHARE = Table(
    "billing_share",
    {
        "id": Uuids,
        "account": Uuids,
        "hold": Uuids,
        "reference": Texts,
        "amount": BigInts,
        "drawn": BigInts,
        "state": Texts,
    },
).insert()
_SHARE = Table("billing_share", {"account": Uuids, "id": Uuids, "drawn": BigInts, "state": Texts}).update(
    "account_id", "id"
)
_PAYMENT = Table(
    "billing_payment",
    {
        "id": Uuids,
        "account": Uuids,
        "reference": Texts,
        "granted": BigInts,
        "sequence": BigInts,
        "created_at": Moments,
    },
).insert()
_NEW_CLAW_BACK = Table(
    "billing_clawback",
    {
        "id": Uuids,
        "account": Uuids,
        "payment": Uuids,
        "amount": BigInts,
        "taken": BigInts,
        "expired": BigInts,
        "debt": BigInts,
        "sequence": BigInts,
        "restored_by": BigInts,
        "created_at": Moments,
    },
).insert()
_CLAW_BACK = Table("billing_clawback", {"account": Uuids, "id": Uuids, "restored_by": BigInts}).update(
    "account_id", "id"
)
_DAY_COLUMNS: dict[str, type[Column]] = {
    "id": Uuids,
    "account": Uuids,
    "user": Ints,
    "day": Days,
    "spent": BigInts,
    "spent_capped": BigInts,
}
_MORE_SPENT = Table("billing_spendday", _DAY_COLUMNS).insert(
    "ON CONFLICT (account_id, day, user_id) DO UPDATE"
    " SET spent = it.spent + excluded.spent, spent_capped = it.spent_capped + excluded.spent_capped"
)
# What takes away, of all or only of the part that no plan binds, stands on a row that was added to before; as an
# insert it would break the row's own law.
_LESS_SPENT = Table("billing_spendday", _DAY_COLUMNS).add(
    "spent", "spent_capped", keys=("account_id", "day"), maybe_null="user_id"
)
_KEY = Table(
    "billing_idempotencykey",
    {
        "id": Uuids,
        "account": Uuids,
        "actor": Texts,
        "scope": Texts,
        "key": Texts,
        "fingerprint": Blobs,
        "status": SmallInts,
        "made": Uuids,
        "created_at": Moments,
    },
).insert()

# A row's piece when it is new, and when it was changed.
_PIECES: dict[type[book.Row], tuple[Piece, Piece | None]] = {
    book.Payment: (_PAYMENT, None),
    book.Lot: (_NEW_LOT, _LOT),
    book.Hold: (_NEW_HOLD, _HOLD),
    book.Share: (_NEW_SHARE, _SHARE),
    book.TakenBack: (_NEW_CLAW_BACK, _CLAW_BACK),
}


@dataclass(slots=True)
class _SpendDay:
    id: UUID
    account: UUID
    user: int | None
    day: date
    spent: int
    spent_capped: int


@dataclass(slots=True)
class _KeyRow:
    id: UUID
    account: UUID
    actor: str
    scope: str
    key: str
    fingerprint: bytes
    status: int
    made: UUID
    created_at: datetime


@dataclass(slots=True)
class _Text:
    entry: UUID
    account: UUID
    salt: bytes
    description: str
    reason: str


def _write(books: dict[UUID, book.Book], done: list[Outcome]) -> None:
    """Writes every line with all that it moved; one statement, so that the database sees it whole or not at all."""
    changed: dict[Piece, list[Any]] = {}
    for books_of in books.values():
        if books_of.lines:
            changed.setdefault(_ACCOUNT, []).append(books_of.head)
            changed.setdefault(_ENTRY, []).extend(books_of.lines)
        for row in books_of.dirty.values():
            new_and_old = _PIECES.get(type(row))
            piece = new_and_old and (new_and_old[0] if row.is_new else new_and_old[1])
            if piece:
                changed.setdefault(piece, []).append(row)
        for line in books_of.lines:
            if line.salt is not None:
                text = _Text(line.id, line.account, line.salt, line.description, line.reason)
                changed.setdefault(_ENTRY_TEXT, []).append(text)
        for (user, day), use in books_of.days.items():
            if use.spent or use.spent_capped:
                is_a_day = 0 <= use.spent_capped <= use.spent
                changed.setdefault(_MORE_SPENT if is_a_day else _LESS_SPENT, []).append(
                    _SpendDay(new_id(), books_of.account, user, day, use.spent, use.spent_capped)
                )
    for outcome in done:
        group, key = outcome.group, outcome.group.key
        if key is not None:
            now = books[group.account].now
            changed.setdefault(_KEY, []).append(
                _KeyRow(
                    new_id(), group.account, key.actor, key.scope, key.key, key.fingerprint, key.status, key.made, now
                )
            )
    if not changed:
        return
    parameters: list[Column] = []
    for piece, rows in changed.items():
        parameters += piece.parameters(rows)
    _ask(statement(tuple((piece, len(rows) == 1) for piece, rows in changed.items())), *parameters)


# The database, spoken to without the ORM: prepared statements, binary parameters, binary answers


class _Cursor(psycopg.RawCursor[Any]):
    """Prepares at first use: a statement counted first and prepared later is lost to psycopg where a pipeline fails."""

    def execute(self, query: Any, params: Any = None, **_: Any) -> _Cursor:
        return super().execute(query, params, prepare=True, binary=True)


def _ask(sql: bytes, *parameters: Column) -> Any:
    """A cursor for the answer, through Django's connection and its error classes, query log and wrappers."""
    connection.ensure_connection()
    raw: Any = _Cursor(connection.connection)
    cursor: Any = connection.make_debug_cursor(raw) if connection.queries_logged else connection.make_cursor(raw)
    cursor.execute(sql, parameters)
    return cursor


def _query(sql: bytes, *parameters: Column) -> list[tuple[Any, ...]]:
    """The rows of one statement."""
    with _ask(sql, *parameters) as cursor:
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


@contextmanager
def _without_waiting() -> Iterator[None]:
    """What is asked inside is sent at once, in order, and waited for where an answer is read, or at the end.

    Each statement still sees what was committed before it began; when one fails those after it do not run.
    """
    connection.ensure_connection()
    with connection.wrap_database_errors, connection.connection.pipeline():
        yield


# The verbs one by one: batches of one. Words and units are those of `steps.py`; each returns its line or raises its
# refusal, takes the account's lock until the caller's transaction ends, and costs four to six statements.


def post_one(account: UUID, *of_group: steps.Step, key: Key | None = None, also: Also | None = None) -> Outcome:
    """One group done and written, or its refusal raised. Where `key` was answered before, `repeat` says so."""
    try:
        (outcome,) = post([Group(account, of_group, key)], also)
    except IntegrityError as error:
        raise _refusal_named_by(error) or error from error
    return outcome.unwrap()


def _line(account: UUID, step: steps.Step) -> book.Line:
    return post_one(account, step).line


def grant(account: UUID, **terms: Any) -> UUID:
    """There is a new lot; returns its line's id, the earlier line's where the payment was granted before."""
    result = post_one(account, steps.Grant(**terms)).results[0]
    if isinstance(result, book.Line):
        return result.id
    assert isinstance(result, UUID)
    return result


def place_hold(account: UUID, **terms: Any) -> book.Line:
    """The credits are promised and cannot be spent twice; the hold is the line's `of_hold`."""
    return _line(account, steps.PlaceHold(**terms))


def draw(account: UUID, **terms: Any) -> book.Line:
    """The share is drawn; what it did not need is the envelope's again."""
    return _line(account, steps.Draw(**terms))


def capture(account: UUID, **terms: Any) -> book.Line:
    """The hold is captured, in part or whole, and the rest given back."""
    return _line(account, steps.Capture(**terms))


def release(account: UUID, **terms: Any) -> book.Line:
    """The hold is released and its credits given back."""
    return _line(account, steps.Release(**terms))


def expire_hold(account: UUID, **terms: Any) -> book.Line:
    """The hold, past its end, has expired and its credits are given back; open shares are closed."""
    return _line(account, steps.ExpireHold(**terms))


def renew(account: UUID, **terms: Any) -> book.Hold:
    """The hold ends no earlier than `expires_in_seconds` from now."""
    result = post_one(account, steps.Renew(**terms)).results[0]
    assert isinstance(result, book.Hold)
    return result


def capture_late(account: UUID, **terms: Any) -> book.Line:
    """The expired hold is paid after all, from what is available now."""
    return _line(account, steps.CaptureLate(**terms))


def charge(account: UUID, **terms: Any) -> book.Line:
    """The credits are spent at once, without a hold."""
    return _line(account, steps.Charge(**terms))


def refund(account: UUID, **terms: Any) -> book.Line:
    """Credits that a line spent are back in their lots, in reverse order."""
    return _line(account, steps.Refund(**terms))


def expire_lots(account: UUID) -> None:
    """What is due has expired."""
    post_one(account, steps.ExpireLots(actor="clock"))


def freeze(account: UUID, **terms: Any) -> book.Line:
    """The payment's lots cannot be spent and do not expire."""
    return _line(account, steps.Freeze(**terms))


def thaw(account: UUID, **terms: Any) -> book.Line:
    """The payment's lots can be spent again, for seven days at least."""
    return _line(account, steps.Thaw(**terms))


def claw_back(account: UUID, **terms: Any) -> book.Line:
    """The payment's credits are taken back; what was spent of them is debt."""
    return _line(account, steps.ClawBack(**terms))


def restore(account: UUID, **terms: Any) -> book.Line:
    """The claw-back is undone: what it took, and the debt it made, is a new lot of that payment."""
    return _line(account, steps.Restore(**terms))


def adjust(account: UUID, **terms: Any) -> book.Line:
    """Staff's correction is on the statement, with its reason."""
    return _line(account, steps.Adjust(**terms))


def forgive(account: UUID, **terms: Any) -> book.Line:
    """So much less is owed."""
    return _line(account, steps.Forgive(**terms))


def set_account_frozen(account: UUID, is_frozen: bool, reason: str) -> None:
    """The account starts nothing and pays nothing late while frozen; what already runs is settled. Moves no money."""
    with transaction.atomic():
        if not lock([account]):
            raise errors.AccountNotFound
        Account.objects.filter(id=account).update(is_frozen=is_frozen, frozen_reason=reason if is_frozen else "")


_REFUSED_BY = {
    "billing_payment_reference_key": errors.PaymentAlreadyGranted,
    "billing_clawback_pkey": errors.ClawBackAlreadyMade,
}


def _refusal_named_by(error: BaseException) -> errors.BillingError | None:
    """The refusal that stands for the constraint which two accounts can race for; None for any other."""
    cause = error.__cause__
    name = cause.diag.constraint_name if isinstance(cause, psycopg.Error) else None
    return _REFUSED_BY[name]() if name in _REFUSED_BY else None
