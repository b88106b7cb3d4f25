"""Reading the books: what an account has now and had then, what its limits leave, and each line in plain words.

Nothing here moves a credit, but that lots whose time is over are first expired by the verb for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Q

from . import clock, credits, ledger, limits, purchases
from .models import Account, Entry, Hold, Lot, SpendDay, SpendLimit

Step = dict[str, Any]
"""One step of a line's story: {"at": moment, "title": a few words, "detail": a sentence or two}."""

explainers: list[Callable[[Entry], list[Step]]] = []
"""What the apps above add to a line's story: each a function of the line, appended in its app's ready()."""


# What there is


@dataclass(frozen=True, slots=True)
class Values:
    """An account's four numbers, in microcredits."""

    balance: int
    held: int
    frozen: int
    debt: int

    @property
    def available(self) -> int:
        return self.balance - self.held - self.frozen


def values_now(account: UUID) -> tuple[Values, list[Lot], datetime]:
    """The account's values, its lots with credits in burn order, and the moment. Due lots have expired. Two queries."""
    lots, now = _lots(account)
    if any(_is_due(lot, now) for lot in lots):
        ledger.expire_lots(account)
        lots, now = _lots(account)
    row = Account.objects.values_list("balance", "held", "frozen", "debt").get(id=account)
    return Values(*row), lots, now


def payable(account: UUID, *, takes_free_credits: bool) -> tuple[Values, int]:
    """The account's values, and what of its available credits can pay: all, but plan and promotional ones where these
    are not taken and nothing was paid for yet. Two queries, or three."""
    values, lots, _ = values_now(account)
    if takes_free_credits or ledger.have_paid([account]):
        return values, values.available
    free = [lot for lot in lots if not lot.is_frozen and (lot.is_promotional or lot.source == "plan")]
    return values, values.available - sum(lot.remaining - lot.held for lot in free)


def _lots(account: UUID) -> tuple[list[Lot], datetime]:
    rows = list(Lot.objects.filter(account=account, remaining__gt=0).annotate(now=clock.Now()))
    lots: list[Lot] = sorted(rows, key=burn_order)
    return lots, rows[0].now if rows else clock.now()


def _is_due(lot: Lot, now: datetime) -> bool:
    return (
        lot.spendable_until is not None
        and lot.spendable_until <= now
        and not lot.is_frozen
        and lot.remaining > lot.held
    )


def burn_order(lot: Lot) -> tuple[Any, ...]:
    """The order in which lots are spent: priority, soonest end, promotional before paid, oldest, id."""
    end = lot.spendable_until.timestamp() if lot.spendable_until else float("inf")
    return (lot.priority, end, not lot.is_promotional, lot.granted_at, lot.id)


_LAST_LINE_AT = """
WITH RECURSIVE search (low, high) AS (
    SELECT 0::bigint, entry_count FROM billing_account WHERE id = %(account)s
  UNION ALL
    SELECT CASE WHEN line.created_at <= %(at)s THEN line.sequence ELSE low END,
           CASE WHEN line.created_at <= %(at)s THEN high ELSE line.sequence - 1 END
      FROM search JOIN billing_entry line
        ON line.account_id = %(account)s AND line.sequence = (low + high + 1) / 2
     WHERE low < high
)
SELECT line.balance_after, line.held_after, line.frozen_after, line.debt_after
  FROM search JOIN billing_entry line ON line.account_id = %(account)s AND line.sequence = search.low
 WHERE search.low = search.high
"""


def values_at(account: UUID, at: datetime) -> Values:
    """The account's values after its last line written at or before `at`. One query: lines are in order of time, so
    the line is found by halving, whatever their number."""
    with connection.cursor() as cursor:
        cursor.execute(_LAST_LINE_AT, {"account": account, "at": at})
        row = cursor.fetchone()
    return Values(*row) if row else Values(0, 0, 0, 0)


def next_expiry(lots: Iterable[Lot]) -> tuple[datetime, int] | None:
    """When the next free credits expire, and how many at that moment."""
    ending = [lot for lot in lots if lot.spendable_until and not lot.is_frozen and lot.remaining > lot.held]
    if not ending:
        return None
    first = min(lot.spendable_until for lot in ending if lot.spendable_until)
    return first, sum(lot.remaining - lot.held for lot in ending if lot.spendable_until == first)


# What the limits leave


@dataclass(frozen=True, slots=True)
class Use:
    """What is committed of a day or month, the tightest limit on it and who set that, and when it starts again."""

    used: int
    limit: int | None
    source: str | None
    resets_at: datetime


def limits_of(account: UUID, user: int | None) -> list[SpendLimit]:
    """The account's limits that bind this member: the account-wide ones and the member's own."""
    return list(SpendLimit.objects.filter(Q(user=None) | Q(user=user), account=account))


def use_of(account: UUID, user: int | None, now: datetime, rows: list[SpendLimit] | None = None) -> dict[str, Use]:
    """The use of the day and of the month. The limit shown leaves least. One query, two without rows."""
    today = now.date()
    days: dict[tuple[int | None, date], limits.Use] = {
        (day.user_id, day.day): limits.Use(day.spent, day.spent_capped)
        for day in SpendDay.objects.filter(account=account, day__gte=today.replace(day=1))
    }
    bound = limits.in_force(
        [
            limits.Limit(row.source, row.user_id, row.per_run, row.per_day, row.per_month)
            for row in (limits_of(account, user) if rows is None else rows)
        ],
        user,
    )
    return {
        "day": _use(bound, days, today, is_month=False),
        "month": _use(bound, days, today, is_month=True),
    }


def _use(
    bound: list[limits.Limit], days: dict[tuple[int | None, date], limits.Use], today: date, *, is_month: bool
) -> Use:
    resets_at = limits.month_resets_at(today) if is_month else limits.day_resets_at(today)
    tightest: Use | None = None
    for limit in bound:
        most = limit.per_month if is_month else limit.per_day
        if most is None:
            continue
        row = limits.use(days, today, user=limit.user if limit.source == "member" else None, month=is_month)
        used = row.spent_capped if limit.source == "plan" else row.spent
        if tightest is None or most - used < (tightest.limit or 0) - tightest.used:
            tightest = Use(used, most, limit.source, resets_at)
    return tightest or Use(limits.use(days, today, month=is_month).spent, None, None, resets_at)


# Lines in words

SOURCES = {
    "plan": "plan",
    "pack": "bought",
    "promotion": "promotional",
    "gift": "gift",
    "staff": "staff’s",
    "goodwill": "goodwill",
    "import": "taken-over",
}


def lines_of(account: UUID) -> Any:
    """The account's lines with their words and holds, in one query."""
    return Entry.objects.filter(account=account).select_related("text", "hold").order_by("-sequence")


def about(hold: Hold | None) -> str:
    """What a hold was for, as people read it."""
    return (hold.label or hold.reference) if hold is not None else ""


def describe(line: Entry) -> str:
    """The line in a few words: those that were written with it, else what its kind says."""
    text = getattr(line, "text", None)
    if text is not None and text.description:
        return str(text.description)
    what = about(line.hold)
    match line.kind:
        case "grant":
            return "Credits added"
        case "hold":
            return f"Held for {what}" if what else "Held"
        case "draw":
            return f"Charged for part of {what}" if what else "Charged in part"
        case "capture":
            return f"Charged for {what}" if what else "Charged"
        case "late_capture":
            return f"Charged late for {what}" if what else "Charged late"
        case "release":
            return f"Given back: {what}" if what else "Given back"
        case "hold_expired":
            return f"Given back, its time ran out: {what}" if what else "Given back, its time ran out"
        case _:
            return _PLAIN_KINDS.get(line.kind, line.kind)


_PLAIN_KINDS = {
    "charge": "Charged",
    "refund": "Refunded",
    "lot_expired": "Credits expired",
    "freeze": "Set aside while a payment is disputed",
    "thaw": "Free again after a dispute",
    "claw_back": "Credits of a payment taken back",
    "restore": "Credits of a payment returned",
    "adjust": "Corrected by staff",
    "forgive": "Debt forgiven",
    "repay": "Debt repaid",
}


def explain(line: Entry) -> list[Step]:
    """The line's story from its beginning: what was held, from which credits, what became of it, before and after.

    The apps above add what they know of the work itself; all of it in order of time. A few queries.
    """
    lines = _story(line)
    lots = {lot.id: lot for lot in Lot.objects.filter(account=line.account_id, id__in=_lots_in(lines))}
    # Of one moment, first what led to it.
    steps = [step for explainer in explainers for step in explainer(line)]
    steps += purchases.story_until(line)
    steps += [_told(one, lots) for one in lines]
    steps.sort(key=lambda step: step["at"])
    return [*steps, _before_and_after(line)]


def tell(line: Entry) -> str:
    """What the line alone says: how many credits, which, and the reason where one was given. One query."""
    return str(
        _told(line, {lot.id: lot for lot in Lot.objects.filter(account=line.account_id, id__in=line.lots)})["detail"]
    )


def _story(line: Entry) -> list[Entry]:
    """The lines that belong together: those of its hold, the one it refunds, the refunds of it."""
    of = Entry.objects.filter(account=line.account_id).select_related("text", "hold").order_by("sequence")
    first = of.get(id=line.refunds_id) if line.refunds_id else line
    ids = {line.id, first.id}
    if first.hold_id:
        ids |= set(of.filter(hold=first.hold_id).values_list("id", flat=True))
    ids |= set(of.filter(refunds__in=ids).values_list("id", flat=True))
    return list(of.filter(id__in=ids))


def _lots_in(lines: Iterable[Entry]) -> set[UUID]:
    return {lot for line in lines for lot in line.lots}


def _told(line: Entry, lots: dict[UUID, Lot]) -> Step:
    said = [_SENTENCES[line.kind].format(amount=credits.display(line.amount), rest=credits.display(_rest(line)))]
    if line.kind == "capture" and not _rest(line):
        said[0] = f"{credits.display(line.amount)} credits were charged: all that was still held."
    used = _which_credits(line, lots)
    if used:
        said.append(used)
    if line.kind == "claw_back" and line.debt_delta:
        said.append(f"{credits.display(line.debt_delta)} of them had been spent already, and are owed.")
    text = getattr(line, "text", None)
    if text is not None and text.reason:
        said.append(f"{text.reason}." if line.actor == "stripe" else f"Reason: {text.reason}")
    return {"at": line.created_at, "title": describe(line), "detail": " ".join(said)}


_SENTENCES = {
    "grant": "{amount} credits were added.",
    "hold": "{amount} credits were set aside. They stayed yours until the work ended.",
    "draw": "{amount} credits were charged for one part of it.",
    "capture": "{amount} credits were charged, and the other {rest} that were held are yours again.",
    "late_capture": "{amount} credits were charged after the hold had ended, from what was available then.",
    "release": "The {amount} credits that were held are yours again; nothing was charged for them.",
    "hold_expired": "The hold reached its end: its {amount} credits are yours again.",
    "charge": "{amount} credits were charged at once.",
    "refund": "{amount} credits came back to the lots they were taken from.",
    "lot_expired": "{amount} credits reached their end without being spent.",
    "freeze": "A bank questions the payment: its {amount} credits cannot be spent until that is decided.",
    "thaw": "The dispute is over: its {amount} credits can be spent again.",
    "claw_back": "A payment was taken back, so its {amount} credits were taken back as well.",
    "restore": "{amount} credits that were taken back have been returned.",
    "adjust": "Staff corrected the balance by {amount} credits.",
    "forgive": "{amount} credits that were owed need not be repaid.",
    "repay": "{amount} credits went to what was owed.",
}


def _rest(line: Entry) -> int:
    """What a line gave back of the held credits beside what it charged."""
    return line.balance_delta - line.held_delta if line.kind == "capture" else 0


def _which_credits(line: Entry, lots: dict[UUID, Lot]) -> str:
    """Which credits the line used, lot by lot, where it used any."""
    deltas = line.held_deltas if line.kind == "hold" else line.remaining_deltas
    parts: list[str] = []
    if line.kind == "grant":  # they are the credits that this line made
        return ""
    for lot_id, delta in zip(line.lots, deltas, strict=True):
        lot = lots.get(lot_id)
        if lot is None or not delta or line.kind in ("lot_expired", "adjust"):
            continue
        source = SOURCES.get(lot.source, lot.source)
        parts.append(f"{credits.display(abs(delta))} {source} credits of {lot.granted_at:%-d %B %Y}")
    if not parts:
        return ""
    came = "They went to" if line.kind in ("refund", "restore") else "They came from"
    return f"{came} {' and '.join([', '.join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)}."


def _before_and_after(line: Entry) -> Step:
    after = line.balance_after - line.held_after - line.frozen_after
    before = after - (line.balance_delta - line.held_delta - line.frozen_delta)
    said = f"Before this line {credits.display(before)} credits were available, after it {credits.display(after)}."
    if line.debt_after or line.debt_delta:
        owed_before = credits.display(line.debt_after - line.debt_delta)
        said += f" Owed before it {owed_before}, after it {credits.display(line.debt_after)}."
    return {"at": line.created_at, "title": "What it changed", "detail": said}
