"""The law of the ledger as a small pure model, written from the law and not from the code it judges.

Nothing is kept that can be worked out: a lot's remaining, what is held of it, the account's values and the day rows are
sums over what happened. Slow and plain on purpose. Times are datetimes, amounts microcredits; lots are numbered in the
order they were granted.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from billing import steps

GRACE = timedelta(days=7)
AMOUNT_MAX = 10**15
BALANCE_MAX = 10**17
SPENDING = ("capture", "draw", "late_capture", "charge")


class Refused(Exception):
    """By the law of that name."""

    def __init__(self, law: str) -> None:
        self.law = law
        super().__init__(law)


@dataclass
class Lot:
    number: int
    source: str
    is_promotional: bool
    priority: int
    amount: int
    granted_at: datetime
    expires_at: datetime | None
    until: datetime | None
    payment: str | None
    is_frozen: bool = False
    spent: int = 0
    expired: int = 0
    taken: int = 0
    repaid: int = 0

    @property
    def remaining(self) -> int:
        return self.amount - self.spent - self.expired - self.taken - self.repaid

    @property
    def is_capped(self) -> bool:
        return self.is_promotional or self.source == "plan"


@dataclass
class Share:
    amount: int
    state: str = "open"
    drawn: int | None = None


@dataclass
class Hold:
    id: UUID
    owner: str
    user: int | None
    amount: int
    receipt: list[tuple[int, int]]
    day: date
    expires_at: datetime
    is_envelope: bool
    shares: dict[str, Share]
    captured: int = 0
    late: int | None = None
    state: str = "open"

    def part(self, start: int, end: int) -> list[tuple[int, int]]:
        """Microcredits `start` to `end` of the receipt, one by one if need be."""
        units = [number for number, amount in self.receipt for _ in range(amount)][start:end]
        return [(number, units.count(number)) for number in dict.fromkeys(units)]

    @property
    def left(self) -> int:
        return self.amount - self.captured


@dataclass
class Line:
    kind: str
    amount: int
    deltas: tuple[int, int, int, int]
    user: int | None
    day: date
    spent: list[tuple[int, int]] = field(default_factory=list)
    refunded: int = 0
    hold: UUID | None = None
    made: Any = None  # what the ledger named it, once it has


@dataclass
class ClawBack:
    payment: str
    amount: int
    taken: int
    expired: int
    debt: int
    is_restored: bool = False


@dataclass
class Limit:
    source: str
    user: int | None
    per_run: int | None
    per_day: int | None
    per_month: int | None


@dataclass
class Account:
    now: datetime
    lots: list[Lot] = field(default_factory=list)
    holds: dict[UUID, Hold] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    payments: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    claw_backs: dict[UUID, ClawBack] = field(default_factory=dict)
    limits: list[Limit] = field(default_factory=list)
    debt: int = 0
    is_frozen: bool = False
    last: datetime | None = None
    open_holds_max: int = 50

    # What can be worked out

    def held_of(self, lot: Lot) -> int:
        return sum(
            amount
            for hold in self.holds.values()
            if hold.state == "open"
            for number, amount in hold.part(hold.captured, hold.amount)
            if number == lot.number
        )

    def free(self, lot: Lot) -> int:
        return lot.remaining - self.held_of(lot)

    @property
    def values(self) -> tuple[int, int, int, int]:
        return (
            sum(lot.remaining for lot in self.lots),
            sum(hold.left for hold in self.holds.values() if hold.state == "open"),
            sum(self.free(lot) for lot in self.lots if lot.is_frozen),
            self.debt,
        )

    @property
    def available(self) -> int:
        balance, held, frozen, _ = self.values
        return balance - held - frozen

    def order(self, lot: Lot) -> tuple[Any, ...]:
        """Burn order: priority, soonest end (none last), promotional before paid, oldest, id."""
        end = (lot.until is None, lot.until or self.now)
        return (lot.priority, end, not lot.is_promotional, lot.granted_at, lot.number)

    def burning(self) -> list[Lot]:
        return sorted((lot for lot in self.lots if not lot.is_frozen and self.free(lot) > 0), key=self.order)

    def spent_by(self) -> dict[tuple[int | None, date], tuple[int, int]]:
        """Committed spend by member and day: holds placed that day (open: amount; ended: captured) + charges + late
        captures of those holds − refunds of either; all of it, and the part from plan and promotional lots."""
        days: dict[tuple[int | None, date], list[int]] = {}

        def add(user: int | None, day: date, parts: list[tuple[int, int]], sign: int = 1) -> None:
            row = days.setdefault((user, day), [0, 0])
            for number, amount in parts:
                row[0] += sign * amount
                row[1] += sign * amount if self.lots[number].is_capped else 0

        for hold in self.holds.values():
            add(hold.user, hold.day, hold.part(0, hold.amount if hold.state == "open" else hold.captured))
        for line in self.lines:
            if line.kind in ("charge", "late_capture"):
                add(line.user, line.day, line.spent)
            if line.kind == "refund":
                add(line.user, line.day, line.spent, -1)
        return {key: (all_, capped) for key, (all_, capped) in days.items() if all_ or capped}

    # Groups

    def group(self, of_group: list[steps.Step], clock: datetime) -> list[Any]:
        """Each step's result; on a refusal nothing has happened."""
        before = pickle.dumps(self.__dict__)
        self.now = max(clock, self.last) if self.last else clock
        results = []
        try:
            for step in of_group:
                self.expire_due()
                results.append(getattr(self, type(step).__name__)(step))
                self.repay()
        except Refused:
            self.__dict__ = pickle.loads(before)
            raise
        return results

    def line(self, kind: str, amount: int, before: tuple[int, int, int, int], **terms: Any) -> Line:
        deltas = tuple(b - a for a, b in zip(before, self.values, strict=True))
        terms = {"user": None, "day": self.now.date()} | terms
        self.lines.append(Line(kind, amount, deltas, **terms))  # type: ignore[arg-type]
        self.last = self.now
        return self.lines[-1]

    def expire_due(self) -> None:
        due = [lot for lot in self.burning() if lot.until is not None and lot.until <= self.now]
        for lot in due:
            before, free = self.values, self.free(lot)
            lot.expired += free
            self.line("lot_expired", free, before)

    def repay(self) -> None:
        owed = min(self.debt, self.available)
        if owed:
            before = self.values
            for lot, part in self.take(owed):
                lot.repaid += part
            self.debt -= owed
            self.line("repay", owed, before)

    def take(self, amount: int, capped_max: int | None = None) -> list[tuple[Lot, int]]:
        parts = []
        for lot in self.burning():
            part = min(amount, self.free(lot))
            if lot.is_capped and capped_max is not None:
                part = min(part, capped_max)
                capped_max -= part
            amount -= part
            if part:
                parts.append((lot, part))
        assert amount == 0
        return parts

    def spend(self, amount: int, capped_max: int | None = None) -> list[tuple[int, int]]:
        parts = self.take(amount, capped_max)
        for lot, part in parts:
            lot.spent += part
        return [(lot.number, part) for lot, part in parts]

    def new_lot(self, amount: int, source: str, **terms: Any) -> Lot:
        terms = {"is_promotional": False, "priority": 50, "expires_at": None, "until": None, "payment": None} | terms
        lot = Lot(len(self.lots), source, amount=amount, granted_at=self.now, **terms)
        self.lots.append(lot)
        return lot

    # Verbs

    def Grant(self, step: steps.Grant) -> Any:
        if step.payment is not None and step.payment in self.payments:
            return ("granted before", step.payment)
        self.refuse_amount(step.amount)
        before = self.values
        if step.payment is not None:
            self.payments[step.payment] = step.amount
        self.new_lot(
            step.amount,
            step.source,
            is_promotional=step.is_promotional,
            priority=step.priority,
            expires_at=step.expires_at,
            until=step.expires_at,
            payment=step.payment,
        )
        return self.line("grant", step.amount, before)

    def refuse_amount(self, amount: int) -> None:
        if amount <= 0 or amount > AMOUNT_MAX:
            raise Refused("InvalidInstruction")
        if self.values[0] + amount > BALANCE_MAX:
            raise Refused("BalanceTooLarge")

    def may_spend(self, step: Any, amount: int, is_hold: bool) -> int | None:
        """Refused, or how much may come from plan and promotional lots (None: any)."""
        if self.is_frozen:
            raise Refused("AccountFrozen")
        if self.debt:
            raise Refused("AccountInDebt")
        if is_hold and sum(hold.state == "open" for hold in self.holds.values()) >= self.open_holds_max:
            raise Refused("TooManyOpenHolds")
        bought = sum(self.free(lot) for lot in self.burning() if not lot.is_capped)
        days, today = self.spent_by(), self.now.date()
        is_staffed = any(limit.source == "staff" for limit in self.limits)
        capped_max: int | None = None
        for limit in self.limits:
            if limit.source == "member" and limit.user != step.user:
                continue
            if limit.source == "plan" and is_staffed:
                continue
            of = [
                (day, use[limit.source == "plan"])
                for (user, day), use in days.items()
                if limit.source != "member" or user == limit.user
            ]
            for most, used in (
                (limit.per_run, 0),
                (limit.per_day, sum(use for day, use in of if day == today)),
                (limit.per_month, sum(use for day, use in of if (day.year, day.month) == (today.year, today.month))),
            ):
                if most is None:
                    continue
                left = max(0, most - used)
                if (max(0, amount - bought) if limit.source == "plan" else amount) > left:
                    raise Refused("SpendLimitReached")
                if limit.source == "plan":
                    capped_max = left if capped_max is None else min(capped_max, left)
        if amount > self.available:
            raise Refused("InsufficientCredits")
        return capped_max

    def PlaceHold(self, step: steps.PlaceHold) -> Any:
        if step.amount <= 0 or step.amount > AMOUNT_MAX:
            raise Refused("InvalidInstruction")
        amounts = [amount for _, amount in step.shares]
        if any(amount <= 0 for amount in amounts) or sum(amounts) > step.amount:
            raise Refused("SharesExceedHold")
        if len({reference for reference, _ in step.shares}) < len(amounts):
            raise Refused("ShareNotOpen")
        capped_max = self.may_spend(step, step.amount, True)
        before = self.values
        receipt = [(lot.number, part) for lot, part in self.take(step.amount, capped_max)]
        assert step.id is not None
        self.holds[step.id] = Hold(
            step.id,
            step.owner,
            step.user,
            step.amount,
            receipt,
            self.now.date(),
            self.now + timedelta(seconds=step.expires_in_seconds),
            step.is_envelope or bool(step.shares),
            {reference: Share(amount) for reference, amount in step.shares},
        )
        return self.line("hold", step.amount, before, hold=step.id)

    def hold(self, step: Any) -> Hold:
        hold = self.holds.get(step.hold)
        if hold is None:
            raise Refused("HoldNotFound")
        if step.owner not in (None, hold.owner):
            raise Refused("NotYourHold")
        return hold

    def open_hold(self, step: Any) -> Hold:
        hold = self.hold(step)
        if hold.state != "open":
            raise Refused("HoldAlready" + hold.state.capitalize())
        return hold

    def OpenShare(self, step: steps.OpenShare) -> Any:
        hold = self.open_hold(step)
        promised = sum(share.amount for share in hold.shares.values() if share.state == "open")
        if not hold.is_envelope or step.amount <= 0 or promised + hold.captured + step.amount > hold.amount:
            raise Refused("SharesExceedHold")
        if step.reference in hold.shares:
            raise Refused("ShareNotOpen")
        hold.shares[step.reference] = Share(step.amount)

    def open_share(self, hold: Hold, reference: str) -> Share:
        share = hold.shares.get(reference)
        if share is None:
            raise Refused("ShareNotFound")
        if share.state != "open":
            raise Refused("ShareNotOpen")
        return share

    def CloseShare(self, step: steps.CloseShare) -> Any:
        self.open_share(self.open_hold(step), step.reference).state = "closed"

    def take_receipt(self, hold: Hold, amount: int) -> list[tuple[int, int]]:
        parts = hold.part(hold.captured, hold.captured + amount)
        for number, part in parts:
            self.lots[number].spent += part
        hold.captured += amount
        return parts

    def end(self, hold: Hold, state: str) -> None:
        for number, _ in hold.part(hold.captured, hold.amount):
            lot = self.lots[number]
            if lot.expires_at is not None and lot.until is not None and lot.expires_at <= self.now:
                lot.until = max(lot.until, lot.expires_at + GRACE)
        hold.state = state

    def Draw(self, step: steps.Draw) -> Any:
        hold = self.open_hold(step)
        share = self.open_share(hold, step.reference)
        if not 0 <= step.amount <= share.amount:
            raise Refused("CaptureExceedsHold")
        before = self.values
        share.state, share.drawn = "drawn", step.amount
        spent = self.take_receipt(hold, step.amount)
        return self.line("draw", step.amount, before, user=hold.user, day=hold.day, spent=spent, hold=hold.id)

    def Capture(self, step: steps.Capture) -> Any:
        hold = self.open_hold(step)
        amount = hold.left if step.amount is None else step.amount
        if not 0 <= amount <= hold.left:
            raise Refused("CaptureExceedsHold")
        if any(share.state == "open" for share in hold.shares.values()):
            raise Refused("SharesStillOpen")
        before = self.values
        spent = self.take_receipt(hold, amount)
        self.end(hold, "captured")
        return self.line("capture", amount, before, user=hold.user, day=hold.day, spent=spent, hold=hold.id)

    def Release(self, step: steps.Release) -> Any:
        hold = self.open_hold(step)
        if any(share.state == "open" for share in hold.shares.values()):
            raise Refused("SharesStillOpen")
        before = self.values
        self.end(hold, "released")
        return self.line("release", hold.left, before, hold=hold.id)

    def ExpireHold(self, step: steps.ExpireHold) -> Any:
        hold = self.open_hold(step)
        if hold.expires_at > self.now:
            raise Refused("HoldNotDue")
        before = self.values
        for share in hold.shares.values():
            share.state = "closed" if share.state == "open" else share.state
        self.end(hold, "expired")
        return self.line("hold_expired", hold.left, before, hold=hold.id)

    def Renew(self, step: steps.Renew) -> Any:
        hold = self.open_hold(step)
        hold.expires_at = max(hold.expires_at, self.now + timedelta(seconds=step.expires_in_seconds))

    def CaptureLate(self, step: steps.CaptureLate) -> Any:
        hold = self.hold(step)
        if hold.state != "expired":
            raise Refused("HoldNotExpired")
        if hold.late is not None:
            raise Refused("HoldCapturedLate")
        amount = hold.left if step.amount is None else step.amount
        if not 0 <= amount <= hold.left:
            raise Refused("CaptureExceedsHold")
        if self.is_frozen:
            raise Refused("AccountFrozen")
        if amount > self.available:
            raise Refused("AccountInDebt" if self.debt else "InsufficientCredits")
        before = self.values
        hold.late = amount
        spent = self.spend(amount)
        return self.line("late_capture", amount, before, user=hold.user, day=hold.day, spent=spent, hold=hold.id)

    def Charge(self, step: steps.Charge) -> Any:
        if not 0 <= step.amount <= AMOUNT_MAX:
            raise Refused("InvalidInstruction")
        capped_max = self.may_spend(step, step.amount, False)
        before = self.values
        return self.line("charge", step.amount, before, user=step.user, spent=self.spend(step.amount, capped_max))

    def Refund(self, step: steps.Refund) -> Any:
        line = next((line for line in self.lines if line.made == step.entry), None)
        if line is None:
            raise Refused("EntryNotFound")
        if line.kind not in SPENDING:
            raise Refused("NothingToRefund")
        left = line.amount - line.refunded
        amount = left if step.amount is None else step.amount
        if amount > left or left == 0:
            raise Refused("RefundExceedsSpent")
        self.refuse_amount(amount)
        before = self.values
        units = [number for number, part in line.spent for _ in range(part)][::-1]
        back = units[line.refunded : line.refunded + amount]
        for number in back:
            self.lots[number].spent -= 1
        for number in set(back):
            lot = self.lots[number]
            lot.until = max(lot.until, self.now + GRACE) if lot.until else None
        line.refunded += amount
        parts = [(number, back.count(number)) for number in dict.fromkeys(back)]
        return self.line("refund", amount, before, user=line.user, day=line.day, spent=parts)

    def ExpireLots(self, step: steps.ExpireLots) -> Any:
        return None

    def lots_of(self, payment: Any) -> list[Lot]:
        if payment not in self.payments:
            raise Refused("PaymentNotFound")
        return [lot for lot in self.lots if lot.payment == payment]

    def lost(self, payment: str) -> int:
        """What of a payment's credits expired, less what was kept of it and what claw-backs that stand count of it."""
        standing = [b for b in self.claw_backs.values() if b.payment == payment and not b.is_restored]
        expired = sum(lot.expired for lot in self.lots if lot.payment == payment)
        return expired - self.kept.get(payment, 0) - sum(b.expired for b in standing)

    def Keep(self, step: Any) -> Any:
        """What expired is there again, as one more lot of its payment; of a payment that is disputed nothing."""
        of = self.lots_of(step.payment)
        most = 0 if any(lot.is_frozen for lot in of) else self.lost(step.payment)
        if not 0 < step.amount <= most:
            raise Refused("KeepsMoreThanExpired")
        self.refuse_amount(step.amount)
        before = self.values
        self.kept[step.payment] = self.kept.get(step.payment, 0) + step.amount
        self.new_lot(
            step.amount,
            of[0].source,
            is_promotional=of[0].is_promotional,
            priority=of[0].priority,
            expires_at=step.expires_at,
            until=step.expires_at,
            payment=step.payment,
        )
        return self.line("grant", step.amount, before)

    def Freeze(self, step: Any) -> Any:
        lots = [lot for lot in self.lots_of(step.payment) if not lot.is_frozen]
        if not lots:
            raise Refused("NothingToFreeze")
        before = self.values
        for lot in lots:
            lot.is_frozen = True
        return self.line("freeze", sum(self.free(lot) for lot in lots), before)

    def Thaw(self, step: Any) -> Any:
        lots = [lot for lot in self.lots_of(step.payment) if lot.is_frozen]
        if not lots:
            raise Refused("NothingToFreeze")
        before = self.values
        for lot in lots:
            lot.is_frozen = False
            lot.until = max(lot.until, self.now + GRACE) if lot.until else None
        return self.line("thaw", sum(self.free(lot) for lot in lots), before)

    def ClawBack(self, step: Any) -> Any:
        if step.payment not in self.payments:
            raise Refused("PaymentNotFound")
        if step.id in self.claw_backs:
            raise Refused("ClawBackAlreadyMade")
        standing = [b for b in self.claw_backs.values() if b.payment == step.payment and not b.is_restored]
        if step.amount <= 0 or step.amount > self.payments[step.payment] - sum(b.amount for b in standing):
            raise Refused("ClawBackExceedsGrant")
        before = self.values
        wanted = step.amount
        of = self.lots_of(step.payment)
        for lot in sorted(of, key=self.order):
            part = min(wanted, self.free(lot))
            lot.taken += part
            wanted -= part
        expired = min(wanted, self.lost(step.payment))
        debt = wanted - expired
        self.debt += debt
        self.claw_backs[step.id] = ClawBack(step.payment, step.amount, step.amount - wanted, expired, debt)
        return self.line("claw_back", step.amount, before)

    def Restore(self, step: steps.Restore) -> Any:
        back = self.claw_backs.get(step.claw_back)
        if back is None:
            raise Refused("ClawBackNotFound")
        if back.is_restored:
            raise Refused("AlreadyRestored")
        amount = back.taken + back.debt
        if self.values[0] + amount > BALANCE_MAX:
            raise Refused("BalanceTooLarge")
        before = self.values
        back.is_restored = True
        if amount:
            of = self.lots_of(back.payment)
            ends = [lot.expires_at for lot in of if lot.expires_at]
            last = max(ends) if len(ends) == len(of) else None  # of what was kept, the end that is latest
            lot = self.new_lot(
                amount,
                of[0].source,
                is_promotional=of[0].is_promotional,
                priority=of[0].priority,
                expires_at=last,
                until=max(last, self.now + GRACE) if last else None,
                payment=back.payment,
            )
            lot.is_frozen = any(lot.is_frozen for lot in self.lots_of(back.payment))
        return self.line("restore", amount, before)

    def Adjust(self, step: steps.Adjust) -> Any:
        if not step.reason.strip():
            raise Refused("ReasonMissing")
        if step.amount == 0 or abs(step.amount) > AMOUNT_MAX:
            raise Refused("InvalidInstruction")
        before = self.values
        if step.amount > 0:
            self.refuse_amount(step.amount)
            self.new_lot(step.amount, "staff")
        else:
            if -step.amount > self.available:
                raise Refused("AdjustmentExceedsAvailable")
            for lot, part in self.take(-step.amount):
                lot.taken += part
        return self.line("adjust", abs(step.amount), before)

    def Forgive(self, step: steps.Forgive) -> Any:
        if not step.reason.strip():
            raise Refused("ReasonMissing")
        if step.amount <= 0 or step.amount > self.debt:
            raise Refused("ForgiveExceedsDebt")
        before = self.values
        self.debt -= step.amount
        return self.line("forgive", step.amount, before)
