"""One account's books in memory: every verb decided here, purely, over rows that were read under the lock.

`ledger.py` reads the rows, lets this file decide, and writes what changed. A step refuses before it changes anything;
a group that is refused is undone to where it began. Nothing here knows the database, the settings or the clock.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from operator import attrgetter
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from . import chain, credits, errors, limits, steps

GRACE = timedelta(days=7)
FAR = datetime.max.replace(tzinfo=UTC)
JOB = "job"
"""The owner of holds for work that runs here."""
SPENDING = frozenset({"capture", "draw", "late_capture", "charge"})

OPEN, CAPTURED, RELEASED, EXPIRED = "open", "captured", "released", "expired"
ENDED_AS = {
    CAPTURED: errors.HoldAlreadyCaptured,
    RELEASED: errors.HoldAlreadyReleased,
    EXPIRED: errors.HoldAlreadyExpired,
}

Moves = list[tuple["Lot", int, int]]
"""Lots with what a line changes of their remaining and held."""


class Row:
    """A row in memory that can be put back as it was."""

    __slots__: tuple[str, ...] = ()
    is_new: bool

    def snapshot(self) -> tuple[Any, ...]:
        return _values_of(self.__slots__)(self)

    def put_back(self, state: tuple[Any, ...]) -> None:
        for name, value in zip(self.__slots__, state, strict=True):
            setattr(self, name, value)


@cache
def _values_of(names: tuple[str, ...]) -> Callable[[Row], tuple[Any, ...]]:
    return attrgetter(*names)


@dataclass(slots=True, eq=False)
class Lot(Row):
    account: UUID
    id: UUID
    source: str
    is_promotional: bool
    amount: int
    remaining: int
    held: int
    spent: int
    expired: int
    taken: int
    repaid: int
    priority: int
    granted_at: datetime
    expires_at: datetime | None
    spendable_until: datetime | None
    is_frozen: bool
    payment: UUID | None
    moved_by: int
    is_new: bool = False

    @property
    def free(self) -> int:
        return self.remaining - self.held

    @property
    def is_capped(self) -> bool:
        """A plan's spend limit binds what comes from here."""
        return self.is_promotional or self.source == "plan"

    @property
    def burns(self) -> tuple[Any, ...]:
        """The burn order: priority, soonest end, promotional before paid, oldest, id."""
        return (self.priority, self.spendable_until or FAR, not self.is_promotional, self.granted_at, self.id.int)


@dataclass(slots=True, eq=False)
class Hold(Row):
    account: UUID
    id: UUID
    user: int | None
    owner: str
    reference: str
    label: str
    link: str
    amount: int
    captured: int
    captured_late: int | None
    state: str
    is_envelope: bool
    takes_free_credits: bool
    price_version: UUID | None
    receipt_lots: list[UUID]
    receipt_amounts: list[int]
    placed_at: datetime
    placed_on: date
    expires_at: datetime
    ended_at: datetime | None
    moved_by: int
    is_new: bool = False

    @property
    def left(self) -> int:
        """What no capture or draw has taken yet."""
        return self.amount - self.captured


@dataclass(slots=True, eq=False)
class Share(Row):
    account: UUID
    id: UUID
    hold: UUID
    reference: str
    amount: int
    drawn: int | None
    state: str
    is_new: bool = False


@dataclass(slots=True, eq=False)
class Spending(Row):
    """A line that spent credits, as far as refunding it needs; `day` is the one whose spend it counts toward."""

    account: UUID
    id: UUID
    kind: str
    user: int | None
    day: date
    lots: Sequence[UUID]
    remaining_deltas: Sequence[int]
    refunded: int


@dataclass(slots=True, eq=False)
class Payment(Row):
    account: UUID
    id: UUID
    reference: str
    granted: int
    sequence: int
    grant: UUID | None
    created_at: datetime
    is_new: bool = False


@dataclass(slots=True, eq=False)
class TakenBack(Row):
    """A claw-back."""

    account: UUID
    id: UUID
    payment: UUID
    amount: int
    taken: int
    expired: int
    debt: int
    sequence: int
    restored_by: int | None
    created_at: datetime
    is_new: bool = False


@dataclass(slots=True, eq=False)
class Head(Row):
    """The account's own values."""

    id: UUID
    balance: int
    held: int
    frozen: int
    debt: int
    entry_count: int
    digest: bytes
    moved_at: datetime | None
    is_frozen: bool
    open_holds: int = 0
    open_jobs: int = 0

    @property
    def available(self) -> int:
        return self.balance - self.held - self.frozen


@dataclass(slots=True, eq=False)
class Line:
    """A line of the statement, decided and not yet, or just now, written."""

    id: UUID
    account: UUID
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
    of_hold: Hold | None = None
    description: str = ""
    reason: str = ""
    salt: bytes | None = None


Result = Line | Hold | Share | UUID | None
"""What a step made: its line; a hold or share where no line is written; a grant's line id where it was made before."""


class Book:
    """An account's rows under its lock, and what the steps so far have made of them.

    `rows` that changed since `begin` are remembered as they were; `undo` puts them back. After the last group,
    `dirty` holds every changed or new row, `lines` the new lines in order, `days` what to add to the spend days.
    """

    def __init__(
        self,
        account: UUID,
        head: Head,
        now: datetime,
        open_holds_max: int,
    ) -> None:
        self.account = account
        self.head = head
        # Never before the line above, even when the machine's clock was set back.
        self.now = max(now, head.moved_at) if head.moved_at else now
        self.open_holds_max = open_holds_max
        # Whether it has paid for anything; known where a step asks for it.
        self.has_paid = False
        self.bound: list[limits.Limit] = []
        self.used: dict[tuple[int | None, date], limits.Use] = {}
        self.lots: dict[UUID, Lot] = {}
        self.holds: dict[UUID, Hold] = {}
        self.shares: dict[tuple[UUID, str], Share] = {}
        self.spendings: dict[UUID, Spending] = {}
        self.payments: dict[UUID, Payment] = {}
        self.claw_backs: dict[UUID, TakenBack] = {}
        # What is once in the world: payment references granted before, None where to another account; and the ids
        # of claw-backs made on other accounts.
        self.granted: dict[str, Payment | None] = {}
        self.taken_elsewhere: set[UUID] = set()
        self.lines: list[Line] = []
        self.days: dict[tuple[int | None, date], limits.Use] = {}
        self.dirty: dict[int, Row] = {}
        self._before: dict[int, tuple[Row, tuple[Any, ...]]] = {}
        self._made: list[tuple[dict[Any, Any], Any]] = []
        self._lines_before = 0
        self._days_before: dict[tuple[int | None, date], limits.Use] = {}
        self._used_before: dict[tuple[int | None, date], limits.Use] = {}

    # Groups: done whole or not at all

    def run(self, group: Iterable[steps.Step]) -> list[Result]:
        """Each step's result, in order; a refusal (BillingError) leaves the books as they were before the group."""
        self._begin()
        try:
            results = []
            for step in group:
                self._expire_due_lots()
                results.append(_VERBS[type(step)](self, step))
                self._repay()
        except errors.BillingError:
            self._undo()
            raise
        self._keep()
        return results

    def _begin(self) -> None:
        self._before.clear()
        self._made.clear()
        self._lines_before = len(self.lines)
        self._days_before = dict(self.days)
        self._used_before = dict(self.used)
        self._touch(self.head)

    def _undo(self) -> None:
        for row, state in self._before.values():
            row.put_back(state)
        for table, key in reversed(self._made):
            table.pop(key, None)
        del self.lines[self._lines_before :]
        self.days = self._days_before
        self.used = self._used_before

    def _keep(self) -> None:
        for key, (row, _) in self._before.items():
            self.dirty[key] = row
        for table, key in self._made:
            row = table[key]
            self.dirty[id(row)] = row

    def _touch(self, row: Row) -> None:
        if id(row) not in self._before:
            self._before[id(row)] = (row, row.snapshot())

    def _add(self, table: dict[Any, Any], key: Any, row: Row) -> None:
        table[key] = row
        self._made.append((table, key))

    # Lines

    def _line(
        self,
        step: steps.Step,
        kind: str,
        amount: int,
        moves: Moves,
        *,
        frozen: int = 0,
        debt: int = 0,
        hold: Hold | None = None,
        refunds: UUID | None = None,
        actor: str | None = None,
    ) -> Line:
        """Moves the lots and the account, and writes the line that says so."""
        head = self.head
        self._touch(head)
        sequence = head.entry_count + 1
        lots: list[UUID] = []
        remaining_deltas: list[int] = []
        held_deltas: list[int] = []
        balance_delta = held_delta = 0
        for lot, remaining, held in moves:
            lot.remaining += remaining
            lot.held += held
            lot.moved_by = sequence
            lots.append(lot.id)
            remaining_deltas.append(remaining)
            held_deltas.append(held)
            balance_delta += remaining
            held_delta += held
        head.balance += balance_delta
        head.held += held_delta
        head.frozen += frozen
        head.debt += debt
        head.entry_count = sequence
        head.moved_at = self.now
        is_own = actor is None
        salt = text_hash = None
        if is_own and (step.description or step.reason):
            salt = os.urandom(16)
            text_hash = chain.hash_text(salt, step.description, step.reason)
        line = Line(
            id=uuid7(),
            account=self.account,
            sequence=sequence,
            kind=kind,
            amount=amount,
            balance_delta=balance_delta,
            held_delta=held_delta,
            frozen_delta=frozen,
            debt_delta=debt,
            balance_after=head.balance,
            held_after=head.held,
            frozen_after=head.frozen,
            debt_after=head.debt,
            lots=lots,
            remaining_deltas=remaining_deltas,
            held_deltas=held_deltas,
            hold=hold.id if hold is not None else None,
            refunds=refunds,
            user=step.user,
            actor=step.actor if actor is None else actor,
            occurred_at=step.occurred_at or self.now,
            created_at=self.now,
            text_hash=text_hash,
            digest=b"",
            of_hold=hold,
            description=step.description if is_own else "",
            reason=step.reason if is_own else "",
            salt=salt,
        )
        line.digest = head.digest = chain.digest(head.digest, chain.encode(line))
        if hold is not None:
            hold.moved_by = sequence
        self.lines.append(line)
        return line

    def _spend(self, user: int | None, day: date, spent: int, capped: int) -> None:
        if not spent and not capped:
            return
        for table in (self.days, self.used):
            row = table.get((user, day), limits.Use())
            table[user, day] = limits.Use(row.spent + spent, row.spent_capped + capped)

    # Lots

    def _burning(self) -> list[Lot]:
        """The lots with free credits, in burn order."""
        free = [lot for lot in self.lots.values() if not lot.is_frozen and lot.remaining > lot.held]
        if len(free) > 1:
            free.sort(key=lambda lot: lot.burns)
        return free

    def _take(self, amount: int, capped_max: int | None = None) -> list[tuple[Lot, int]]:
        """`amount` from free lots in burn order, at most `capped_max` of it from lots that a plan's limit binds."""
        parts: list[tuple[Lot, int]] = []
        for lot in self._burning():
            if not amount:
                break
            part = min(amount, lot.free)
            if capped_max is not None and lot.is_capped:
                part = min(part, capped_max)
                capped_max -= part
            if part:
                parts.append((lot, part))
                amount -= part
        assert amount == 0, "taking more than is free was not refused"
        return parts

    def _expire_due_lots(self) -> None:
        due = [
            lot
            for lot in self.lots.values()
            if lot.spendable_until is not None
            and lot.spendable_until <= self.now
            and not lot.is_frozen
            and lot.remaining > lot.held
        ]
        for lot in sorted(due, key=lambda lot: lot.burns):
            self._touch(lot)
            free = lot.free
            lot.expired += free
            self._line(_CLOCK, "lot_expired", free, [(lot, -free, 0)], actor="clock")

    def _repay(self) -> None:
        owed = min(self.head.debt, self.head.available)
        if not owed:
            return
        moves: Moves = []
        for lot, part in self._take(owed):
            self._touch(lot)
            lot.repaid += part
            moves.append((lot, -part, 0))
        self._line(_CLOCK, "repay", owed, moves, debt=-owed, actor="ledger")

    def _new_lot(self, step: steps.Step, amount: int, **terms: Any) -> Lot:
        expires_at = terms.get("expires_at")
        lot = Lot(
            account=self.account,
            id=uuid7(),
            source=terms["source"],
            is_promotional=terms.get("is_promotional", False),
            amount=amount,
            remaining=0,
            held=0,
            spent=0,
            expired=0,
            taken=0,
            repaid=0,
            priority=terms.get("priority", 50),
            granted_at=self.now,
            expires_at=expires_at,
            spendable_until=terms.get("spendable_until", expires_at),
            is_frozen=terms.get("is_frozen", False),
            payment=terms.get("payment"),
            moved_by=0,
            is_new=True,
        )
        self._add(self.lots, lot.id, lot)
        return lot

    # Refusals that several verbs share

    def _refuse_spending(self, step: steps.Spend) -> int | None:
        """Refuses in the order of the contract; else the most that may come from plan and promotional lots."""
        head, amount = self.head, step.amount
        if head.is_frozen:
            raise errors.AccountFrozen
        if head.debt:
            raise errors.AccountInDebt(debt=credits.format(head.debt))
        if isinstance(step, steps.PlaceHold):
            jobs = _jobs(step)
            limits.refuse_too_many(self.bound, head.open_holds, self.open_holds_max, head.open_jobs, jobs)
        uncapped = self._uncapped()
        takes_free = step.takes_free_credits or self.has_paid
        # Where nothing comes from the lots that a plan's limits bind, these limits bind nothing.
        bound = self.bound if takes_free else [limit for limit in self.bound if limit.source != "plan"]
        allowed = limits.allowance(bound, self.used, self.now.date(), step.user, amount, uncapped)
        self._refuse_too_little(amount, takes_free)
        return allowed if takes_free else 0

    def _refuse_too_little(self, amount: int, takes_free: bool) -> None:
        available = self.head.available
        uncapped = available if takes_free else self._uncapped()
        if uncapped < amount and uncapped < available:
            raise not_accepted(amount, uncapped, available)
        if amount > available:
            raise insufficient(amount, available)

    def _uncapped(self) -> int:
        """What is free of neither plan nor promotional credits."""
        return sum(lot.free for lot in self._burning() if not lot.is_capped)

    def _refuse_balance(self, amount: int) -> None:
        if amount <= 0 or amount > credits.AMOUNT_MAX:
            raise errors.InvalidInstruction(amount=credits.format(amount))
        if self.head.balance + amount > credits.BALANCE_MAX:
            raise errors.BalanceTooLarge

    def _hold(self, step: steps.OfHold) -> Hold:
        hold = self.holds.get(step.hold)
        if hold is None:
            raise errors.HoldNotFound(hold=str(step.hold))
        if step.owner is not None and step.owner != hold.owner:
            raise errors.NotYourHold(hold=str(step.hold))
        return hold

    def _open_hold(self, step: steps.OfHold) -> Hold:
        hold = self._hold(step)
        if hold.state != OPEN:
            raise ENDED_AS[hold.state](hold=str(hold.id), state=hold.state)
        return hold

    def _shares_of(self, hold: Hold, state: str | None = None) -> list[Share]:
        if not hold.is_envelope:
            return []
        return [s for s in self.shares.values() if s.hold == hold.id and (state is None or s.state == state)]

    # The verbs, in the order of the law's table

    def grant(self, step: steps.Grant) -> Result:
        known = self.granted.get(step.payment) if step.payment is not None else None
        if step.payment is not None and step.payment in self.granted:
            if known is None or known.grant is None:
                raise errors.PaymentAlreadyGranted(payment=step.payment)
            return known.grant
        self._refuse_balance(step.amount)
        # refusing ends

        payment = None
        if step.payment is not None:
            payment = Payment(
                self.account, uuid7(), step.payment, step.amount, self.head.entry_count + 1, None, self.now, is_new=True
            )
            self._add(self.payments, payment.id, payment)
            self._add(self.granted, step.payment, payment)
        lot = self._new_lot(
            step,
            step.amount,
            source=step.source,
            is_promotional=step.is_promotional,
            priority=step.priority,
            expires_at=step.expires_at,
            payment=payment.id if payment else None,
        )
        line = self._line(step, "grant", step.amount, [(lot, step.amount, 0)])
        if payment:
            payment.grant = line.id
        return line

    def place_hold(self, step: steps.PlaceHold) -> Line:
        amount = step.amount
        if amount <= 0 or amount > credits.AMOUNT_MAX:
            raise errors.InvalidInstruction(amount=credits.format(amount))
        if any(part <= 0 for _, part in step.shares) or sum(part for _, part in step.shares) > amount:
            raise errors.SharesExceedHold
        references = [reference for reference, _ in step.shares]
        if len(set(references)) < len(references):
            raise errors.ShareNotOpen(share=max(references, key=references.count))
        allowed = self._refuse_spending(step)
        # refusing ends

        parts = self._take(amount, allowed)
        today = self.now.date()
        hold = Hold(
            account=self.account,
            id=step.id or uuid7(),
            user=step.user,
            owner=step.owner,
            reference=step.reference,
            label=step.label,
            link=step.link,
            amount=amount,
            captured=0,
            captured_late=None,
            state=OPEN,
            is_envelope=step.is_envelope or bool(step.shares),
            takes_free_credits=step.takes_free_credits,
            price_version=step.price_version,
            receipt_lots=[lot.id for lot, _ in parts],
            receipt_amounts=[part for _, part in parts],
            placed_at=self.now,
            placed_on=today,
            expires_at=self.now + timedelta(seconds=step.expires_in_seconds),
            ended_at=None,
            moved_by=0,
            is_new=True,
        )
        self._add(self.holds, hold.id, hold)
        for reference, part in step.shares:
            self._add(self.shares, (hold.id, reference), self._share(hold, reference, part))
        moves: Moves = []
        for lot, part in parts:
            self._touch(lot)
            moves.append((lot, 0, part))
        self._spend(step.user, today, amount, sum(part for lot, part in parts if lot.is_capped))
        self._touch(self.head)
        self.head.open_holds += 1
        self.head.open_jobs += _jobs(step)
        return self._line(step, "hold", amount, moves, hold=hold)

    def open_share(self, step: steps.OpenShare) -> Share:
        hold = self._open_hold(step)
        promised = sum(share.amount for share in self._shares_of(hold, OPEN))
        if not hold.is_envelope or step.amount <= 0 or step.amount > hold.left - promised:
            raise errors.SharesExceedHold(left=credits.format(hold.left - promised))
        if (hold.id, step.reference) in self.shares:
            raise errors.ShareNotOpen(share=step.reference)
        # refusing ends

        share = self._share(hold, step.reference, step.amount)
        self._add(self.shares, (hold.id, step.reference), share)
        return share

    def _share(self, hold: Hold, reference: str, amount: int) -> Share:
        return Share(self.account, uuid7(), hold.id, reference, amount, None, OPEN, is_new=True)

    def _open_share(self, hold: Hold, reference: str) -> Share:
        share = self.shares.get((hold.id, reference))
        if share is None:
            raise errors.ShareNotFound(share=reference)
        if share.state != OPEN:
            raise errors.ShareNotOpen(share=reference, state=share.state)
        return share

    def close_share(self, step: steps.CloseShare) -> Share:
        share = self._open_share(self._open_hold(step), step.reference)
        # refusing ends

        self._touch(share)
        share.state = "closed"
        return share

    def draw(self, step: steps.Draw) -> Line:
        hold = self._open_hold(step)
        share = self._open_share(hold, step.reference)
        if step.amount < 0 or step.amount > share.amount:
            raise errors.CaptureExceedsHold(left=credits.format(share.amount))
        # refusing ends

        self._touch(share)
        share.state = "drawn"
        share.drawn = step.amount
        moves = self._spend_receipt(hold, step.amount)
        return self._line(step, "draw", step.amount, moves, hold=hold)

    def capture(self, step: steps.Capture) -> Line:
        hold = self._open_hold(step)
        amount = hold.left if step.amount is None else step.amount
        if amount < 0 or amount > hold.left:
            raise errors.CaptureExceedsHold(left=credits.format(hold.left))
        if self._shares_of(hold, OPEN):
            raise errors.SharesStillOpen
        # refusing ends

        moves = self._spend_receipt(hold, amount)
        back, frozen = self._end_hold(hold, CAPTURED)
        return self._line(step, "capture", amount, _merged(moves + back), frozen=frozen, hold=hold)

    def release(self, step: steps.Release) -> Line:
        hold = self._open_hold(step)
        if self._shares_of(hold, OPEN):
            raise errors.SharesStillOpen
        # refusing ends

        left = hold.left
        back, frozen = self._end_hold(hold, RELEASED)
        return self._line(step, "release", left, back, frozen=frozen, hold=hold)

    def expire_hold(self, step: steps.ExpireHold) -> Line:
        hold = self._open_hold(step)
        if hold.expires_at > self.now:
            raise errors.HoldNotDue(expires_at=hold.expires_at)
        # refusing ends

        for share in self._shares_of(hold, OPEN):
            self._touch(share)
            share.state = "closed"
        left = hold.left
        back, frozen = self._end_hold(hold, EXPIRED)
        return self._line(step, "hold_expired", left, back, frozen=frozen, hold=hold)

    def renew(self, step: steps.Renew) -> Hold:
        hold = self._open_hold(step)
        # refusing ends

        self._touch(hold)
        hold.expires_at = max(hold.expires_at, self.now + timedelta(seconds=step.expires_in_seconds))
        return hold

    def capture_late(self, step: steps.CaptureLate) -> Line:
        hold = self._hold(step)
        if hold.state != EXPIRED:
            raise errors.HoldNotExpired(hold=str(hold.id), state=hold.state)
        if hold.captured_late is not None:
            raise errors.HoldCapturedLate(hold=str(hold.id))
        amount = hold.left if step.amount is None else step.amount
        if amount < 0 or amount > hold.left:
            raise errors.CaptureExceedsHold(left=credits.format(hold.left))
        if self.head.is_frozen:
            raise errors.AccountFrozen
        if amount > self.head.available and self.head.debt:
            raise errors.AccountInDebt(debt=credits.format(self.head.debt))
        takes_free = hold.takes_free_credits or self.has_paid
        self._refuse_too_little(amount, takes_free)
        # refusing ends

        self._touch(hold)
        hold.captured_late = amount
        moves, capped = self._spend_free(amount, None if takes_free else 0)
        self._spend(hold.user, hold.placed_on, amount, capped)
        return self._line(step, "late_capture", amount, moves, hold=hold)

    def charge(self, step: steps.Charge) -> Line:
        if step.amount < 0 or step.amount > credits.AMOUNT_MAX:
            raise errors.InvalidInstruction(amount=credits.format(step.amount))
        allowed = self._refuse_spending(step)
        # refusing ends

        moves, capped = self._spend_free(step.amount, allowed)
        self._spend(step.user, self.now.date(), step.amount, capped)
        return self._line(step, "charge", step.amount, moves)

    def refund(self, step: steps.Refund) -> Line:
        spending = self.spendings.get(step.entry)
        if spending is None:
            raise errors.EntryNotFound(entry=str(step.entry))
        if spending.kind not in SPENDING:
            raise errors.NothingToRefund(entry=str(step.entry), kind=spending.kind)
        left = -sum(spending.remaining_deltas) - spending.refunded
        amount = left if step.amount is None else step.amount
        if amount > left or left == 0:
            raise errors.RefundExceedsSpent(left=credits.format(left))
        self._refuse_balance(amount)
        # refusing ends

        moves: Moves = []
        frozen = capped = 0
        skip, wanted = spending.refunded, amount
        for lot_id, delta in zip(reversed(spending.lots), reversed(spending.remaining_deltas), strict=True):
            spent = -delta
            passed = min(skip, spent)
            skip -= passed
            part = min(spent - passed, wanted)
            if part <= 0:
                continue
            wanted -= part
            lot = self.lots[lot_id]
            self._touch(lot)
            lot.spent -= part
            self._lengthen(lot, self.now + GRACE)
            frozen += part if lot.is_frozen else 0
            capped += part if lot.is_capped else 0
            moves.append((lot, part, 0))
        self._touch(spending)
        spending.refunded += amount
        self._spend(spending.user, spending.day, -amount, -capped)
        return self._line(step, "refund", amount, _merged(moves), frozen=frozen, refunds=spending.id)

    def expire_lots(self, step: steps.ExpireLots) -> None:
        return None

    def keep(self, step: steps.Keep) -> Line:
        lots = self._lots_of(step.payment)
        lost = 0 if any(lot.is_frozen for lot in lots) else self._lost(self.payments[step.payment], lots)
        if step.amount <= 0 or step.amount > lost:
            raise errors.KeepsMoreThanExpired(left=credits.format(lost))
        self._refuse_balance(step.amount)
        # refusing ends

        model = lots[0]
        lot = self._new_lot(
            step,
            step.amount,
            source=model.source,
            is_promotional=model.is_promotional,
            priority=model.priority,
            expires_at=step.expires_at,
            payment=step.payment,
        )
        return self._line(step, "grant", step.amount, [(lot, step.amount, 0)])

    def freeze(self, step: steps.Freeze) -> Line:
        lots = [lot for lot in self._lots_of(step.payment) if not lot.is_frozen]
        if not lots:
            raise errors.NothingToFreeze
        # refusing ends

        return self._set_frozen(step, "freeze", lots, True)

    def thaw(self, step: steps.Thaw) -> Line:
        lots = [lot for lot in self._lots_of(step.payment) if lot.is_frozen]
        if not lots:
            raise errors.NothingToFreeze
        # refusing ends

        for lot in lots:
            self._touch(lot)
            self._lengthen(lot, self.now + GRACE)
        return self._set_frozen(step, "thaw", lots, False)

    def _set_frozen(self, step: steps.Step, kind: str, lots: list[Lot], is_frozen: bool) -> Line:
        free = 0
        for lot in lots:
            self._touch(lot)
            lot.is_frozen = is_frozen
            free += lot.free
        return self._line(step, kind, free, [(lot, 0, 0) for lot in lots], frozen=free if is_frozen else -free)

    def claw_back(self, step: steps.ClawBack) -> Line:
        payment = self.payments.get(step.payment)
        if payment is None:
            raise errors.PaymentNotFound
        if step.id in self.claw_backs or step.id in self.taken_elsewhere:
            raise errors.ClawBackAlreadyMade
        before = [row for row in self.claw_backs.values() if row.payment == payment.id and row.restored_by is None]
        left = payment.granted - sum(row.amount for row in before)
        if step.amount <= 0 or step.amount > left:
            raise errors.ClawBackExceedsGrant(left=credits.format(left))
        # refusing ends

        lots = sorted(self._lots_of(payment.id), key=lambda lot: lot.burns)
        wanted = step.amount
        moves: Moves = []
        frozen = 0
        for lot in lots:
            part = min(wanted, lot.free)
            if part:
                self._touch(lot)
                lot.taken += part
                wanted -= part
                frozen += part if lot.is_frozen else 0
                moves.append((lot, -part, 0))
        taken = step.amount - wanted
        expired = min(wanted, self._lost(payment, lots))
        debt = wanted - expired
        row = TakenBack(
            account=self.account,
            id=step.id,
            payment=payment.id,
            amount=step.amount,
            taken=taken,
            expired=expired,
            debt=debt,
            sequence=self.head.entry_count + 1,
            restored_by=None,
            created_at=self.now,
            is_new=True,
        )
        self._add(self.claw_backs, step.id, row)
        return self._line(step, "claw_back", step.amount, moves, frozen=-frozen, debt=debt)

    def restore(self, step: steps.Restore) -> Line:
        row = self.claw_backs.get(step.claw_back)
        if row is None:
            raise errors.ClawBackNotFound
        if row.restored_by is not None:
            raise errors.AlreadyRestored
        amount = row.taken + row.debt
        if self.head.balance + amount > credits.BALANCE_MAX:
            raise errors.BalanceTooLarge
        # refusing ends

        self._touch(row)
        row.restored_by = self.head.entry_count + 1
        if not amount:
            return self._line(step, "restore", 0, [])
        lots = self._lots_of(row.payment)
        model = max(lots, key=lambda lot: lot.expires_at or FAR)  # what was kept of them ends last
        expires_at = model.expires_at
        lot = self._new_lot(
            step,
            amount,
            source=model.source,
            is_promotional=model.is_promotional,
            priority=model.priority,
            expires_at=expires_at,
            spendable_until=max(expires_at, self.now + GRACE) if expires_at else None,
            is_frozen=any(lot.is_frozen for lot in lots),
            payment=row.payment,
        )
        return self._line(step, "restore", amount, [(lot, amount, 0)], frozen=amount if lot.is_frozen else 0)

    def adjust(self, step: steps.Adjust) -> Line:
        if not step.reason.strip():
            raise errors.ReasonMissing
        if step.amount > 0:
            self._refuse_balance(step.amount)
        elif step.amount == 0 or step.amount < -credits.AMOUNT_MAX:
            raise errors.InvalidInstruction(amount=credits.format(step.amount))
        elif -step.amount > self.head.available:
            raise errors.AdjustmentExceedsAvailable(available=credits.format(self.head.available))
        # refusing ends

        if step.amount > 0:
            lot = self._new_lot(step, step.amount, source="staff")
            return self._line(step, "adjust", step.amount, [(lot, step.amount, 0)])
        moves: Moves = []
        for lot, part in self._take(-step.amount):
            self._touch(lot)
            lot.taken += part
            moves.append((lot, -part, 0))
        return self._line(step, "adjust", -step.amount, moves)

    def forgive(self, step: steps.Forgive) -> Line:
        if not step.reason.strip():
            raise errors.ReasonMissing
        if step.amount <= 0 or step.amount > self.head.debt:
            raise errors.ForgiveExceedsDebt(debt=credits.format(self.head.debt))
        # refusing ends

        return self._line(step, "forgive", step.amount, [], debt=-step.amount)

    # Parts of the verbs

    def _lots_of(self, payment: UUID) -> list[Lot]:
        if payment not in self.payments:
            raise errors.PaymentNotFound
        return [lot for lot in self.lots.values() if lot.payment == payment]

    def _lost(self, payment: Payment, lots: Sequence[Lot]) -> int:
        return lost(payment.granted, lots, [row for row in self.claw_backs.values() if row.payment == payment.id])

    def _lengthen(self, lot: Lot, until: datetime) -> None:
        if lot.spendable_until is not None:
            lot.spendable_until = max(lot.spendable_until, until)

    def _receipt(self, hold: Hold, start: int, end: int) -> list[tuple[Lot, int]]:
        """Microcredits `start` to `end` of the receipt, read in its order."""
        parts = []
        at = 0
        for lot_id, amount in zip(hold.receipt_lots, hold.receipt_amounts, strict=True):
            part = min(end, at + amount) - max(start, at)
            if part > 0:
                parts.append((self.lots[lot_id], part))
            at += amount
        return parts

    def _spend_receipt(self, hold: Hold, amount: int) -> Moves:
        """Spends the next `amount` of the receipt."""
        self._touch(hold)
        moves: Moves = []
        for lot, part in self._receipt(hold, hold.captured, hold.captured + amount):
            self._touch(lot)
            lot.spent += part
            moves.append((lot, -part, -part))
        hold.captured += amount
        return moves

    def _end_hold(self, hold: Hold, state: str) -> tuple[Moves, int]:
        """Gives the rest of the receipt back and ends the hold: the moves, and what fell on frozen lots."""
        self._touch(hold)
        self._touch(self.head)
        moves: Moves = []
        frozen = capped = 0
        for lot, part in self._receipt(hold, hold.captured, hold.amount):
            self._touch(lot)
            if lot.expires_at is not None and lot.expires_at <= self.now:
                self._lengthen(lot, lot.expires_at + GRACE)
            frozen += part if lot.is_frozen else 0
            capped += part if lot.is_capped else 0
            moves.append((lot, 0, -part))
        self._spend(hold.user, hold.placed_on, -hold.left, -capped)
        hold.state = state
        hold.ended_at = self.now
        self.head.open_holds -= 1
        self.head.open_jobs -= hold.owner == JOB and not hold.is_envelope
        return moves, frozen

    def _spend_free(self, amount: int, capped_max: int | None = None) -> tuple[Moves, int]:
        """Spends free credits in burn order: the moves, and what of it a plan's limit binds."""
        moves: Moves = []
        capped = 0
        for lot, part in self._take(amount, capped_max):
            self._touch(lot)
            lot.spent += part
            capped += part if lot.is_capped else 0
            moves.append((lot, -part, 0))
        return moves, capped


def lost(granted: int, lots: Iterable[Any], backs: Iterable[Any]) -> int:
    """What of a payment's credits expired for good: neither kept, nor counted in a claw-back. Of all of its rows."""
    kept, gone = -granted, 0
    for lot in lots:
        kept += lot.amount
        gone += lot.expired
    for row in backs:
        if row.restored_by is None:
            gone -= row.expired
        else:
            kept -= row.taken + row.debt  # its new lot
    return gone - kept


def insufficient(amount: int, available: int) -> errors.InsufficientCredits:
    """The refusal with what is missing."""
    return errors.InsufficientCredits(
        required=credits.format(amount),
        available=credits.format(available),
        shortfall=credits.format(amount - available),
    )


def not_accepted(amount: int, accepted: int, available: int) -> errors.FreeCreditsNotAccepted:
    """The refusal of free credits, with those that can pay. What is missing is what even all together lack."""
    facts = {"shortfall": credits.format(amount - available)} if amount > available else {}
    return errors.FreeCreditsNotAccepted(
        required=credits.format(amount),
        available=credits.format(accepted),
        free=credits.format(available - accepted),
        **facts,
    )


def _jobs(step: steps.PlaceHold) -> int:
    """How many jobs begin with the hold: one, or one for each share."""
    return max(1, len(step.shares)) if step.owner == JOB else 0


def _merged(moves: Moves) -> Moves:
    """One move a lot, in the order of first mention."""
    if len(moves) < 2:
        return moves
    merged: dict[UUID, tuple[Lot, int, int]] = {}
    for lot, remaining, held in moves:
        _, r, h = merged.get(lot.id, (lot, 0, 0))
        merged[lot.id] = (lot, r + remaining, h + held)
    return list(merged.values())


_CLOCK = steps.Step()

_VERBS: dict[type[steps.Step], Callable[[Book, Any], Result]] = {
    steps.Grant: Book.grant,
    steps.PlaceHold: Book.place_hold,
    steps.OpenShare: Book.open_share,
    steps.CloseShare: Book.close_share,
    steps.Draw: Book.draw,
    steps.Capture: Book.capture,
    steps.Release: Book.release,
    steps.ExpireHold: Book.expire_hold,
    steps.Renew: Book.renew,
    steps.CaptureLate: Book.capture_late,
    steps.Charge: Book.charge,
    steps.Refund: Book.refund,
    steps.ExpireLots: Book.expire_lots,
    steps.Keep: Book.keep,
    steps.Freeze: Book.freeze,
    steps.Thaw: Book.thaw,
    steps.ClawBack: Book.claw_back,
    steps.Restore: Book.restore,
    steps.Adjust: Book.adjust,
    steps.Forgive: Book.forgive,
}
