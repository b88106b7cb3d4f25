"""Plans: who is on which, what its months grant, and its caps. Everything here is ours; Stripe is asked and heard in
subscriptions.py.

A plan without a price is allocated by the worker, a month at a time, counted from the account's first free month
whatever plans came between. A month of a paid plan is granted by its paid invoice, once. Whoever's paid plan ends is
on the Free plan again.

Lock order: the account's enrollments by id, then the account (ledger).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from allauth.account.models import EmailAddress
from django.conf import settings
from django.db import transaction
from django.db.models import Exists, Min, OuterRef, Q

from . import alerts, book, credits, ledger, periods, price_list, steps
from .clock import now
from .models import (
    Allocation,
    ClawBack,
    Enrollment,
    Lot,
    Membership,
    Payment,
    Plan,
    PlanChange,
    Refunding,
    SpendLimit,
    new_id,
)
from .periods import Period
from .sales import Mismatch, NotKnownYet

log = structlog.get_logger("holdfast.plans")

State = Enrollment.State
IN_FORCE = [State.TRIAL, State.ACTIVE, State.GRACE, State.PAUSED]
GRACE = timedelta(days=7)
# What is granted for a month that is over when we hear of it can be spent for so long.
SPENDABLE_AT_LEAST = timedelta(days=7)
BATCH = 100
PAGE = "/account/plan"


def install() -> int:
    """The shipped plans are there, where there was none of that name; how many were made. Staff's are left alone."""
    known = set(Plan.objects.values_list("slug", flat=True))
    new = [Plan(**plan) for plan in price_list.PLANS if plan["slug"] not in known]
    Plan.objects.bulk_create(new, ignore_conflicts=True)
    return len(new)


def in_force(account: UUID) -> Enrollment | None:
    """The account's plan as it is now; None where it is on none."""
    return Enrollment.objects.select_related("plan", "next_plan").filter(account=account, state__in=IN_FORCE).first()


def offered() -> list[Plan]:
    """What there is to choose, in its order: of the plans with a price none where no Stripe is set up. One query."""
    every = Plan.objects.filter(is_offered=True)
    return list(every if settings.STRIPE_IS_SET_UP else every.filter(price_minor=0))


# The Free plan


def free_plan() -> Plan | None:
    return Plan.objects.filter(slug=price_list.FREE, price_minor=0).first()


def begin_free(account: UUID, user: int | None = None, *, waits_until: datetime | None = None) -> bool:
    """The account is on a plan: on the one it was on, or on the Free plan from now on, with this month's credits.

    With `waits_until` the worker grants them then. False where nothing had to be done, or no Free plan is there.
    """
    plan = free_plan()
    if plan is None:
        return False
    with transaction.atomic():
        started = now().replace(microsecond=0)
        row = Enrollment(
            id=new_id(), account_id=account, user_id=user, plan=plan, state=State.ACTIVE, started_at=started
        )
        Enrollment.objects.bulk_create([row], ignore_conflicts=True)  # one in force at a time: the first one stays
        mine = Enrollment.objects.select_for_update().filter(account=account, id=row.id).first()
        if mine is None:
            return False
        mine.plan = plan
        if waits_until is not None:
            mine.period_end = waits_until
            mine.save(update_fields=["period_end"])
            _keep_limits([mine])
            return True
        for refusal in _give_free_months([mine], mine.started_at):
            raise refusal
    return True


def allocate_free(until: float | None = None) -> int:
    """Whoever is on a plan without a price has this month's credits; how many accounts that gave some or moved on.

    Months that passed while no worker ran are not made up for: their credits would have expired. Two workers share
    what is due.
    """
    due = Enrollment.objects.filter(
        Q(period_end=None) | Q(period_end__lte=now()), plan__price_minor=0, state=State.ACTIVE
    )
    tried: set[UUID] = set()
    while until is None or time.monotonic() < until:
        with transaction.atomic():
            free = due.exclude(id__in=tried).select_related("plan").order_by("account")
            rows = list(free.select_for_update(skip_locked=True, of=("self",))[:BATCH])
            if not rows:
                break
            tried |= {row.id for row in rows}
            _give_free_months(rows, now())
    return len(tried)


def enroll_earlier(until: float | None = None) -> int:
    """Whoever had a verified address before there was a Free plan here, and was on no plan ever, is on it; how many.

    Later ones are enrolled when they verify; `create_person` makes people without a plan, and they stay so. The month's
    credits come by `allocate_free`. Batches of accounts, each a transaction; two workers do no harm.
    """
    plan = free_plan()
    if plan is None:
        return 0
    verified = EmailAddress.objects.filter(verified=True, user=OuterRef("user"))
    enrolled = Enrollment.objects.filter(account=OuterRef("account"))
    missing = Membership.objects.filter(
        Exists(verified), ~Exists(enrolled), is_own=True, user__is_active=True, account__created_at__lt=plan.created_at
    )
    done = 0
    while until is None or time.monotonic() < until:
        rows = list(missing.order_by("account").values_list("account", "user")[:BATCH])
        if not rows:
            break
        with transaction.atomic():
            started = now().replace(microsecond=0)
            made = [
                Enrollment(account_id=account, user_id=user, plan=plan, state=State.ACTIVE, started_at=started)
                for account, user in rows
            ]
            Enrollment.objects.bulk_create(made, ignore_conflicts=True)
            mine = {row.account_id for row in Enrollment.objects.filter(id__in=[row.id for row in made])}
            ledger.lock(sorted(mine))
            SpendLimit.objects.bulk_create(
                [SpendLimit(account_id=id, source=SpendLimit.Source.PLAN, per_day=plan.per_day) for id in mine],
                ignore_conflicts=True,
            )
        done += len(mine)
    return done


def _give_free_months(rows: Sequence[Enrollment], moment: datetime) -> list[Exception]:
    """Each has the credits of the month that `moment` lies in, once, and knows that month; the refusals.

    Its plan's limits, as they are now, bind it. The rows are locked. A month has its name by the calendar month in
    which it begins, of which it is the only one.
    """
    accounts = [row.account_id for row in rows]
    _keep_limits(rows)
    earlier = Allocation.objects.filter(account__in=accounts, period__startswith="free ")
    anchors = {one["account"]: one["first"] for one in earlier.values("account").annotate(first=Min("starts_at"))}
    given = set(earlier.values_list("account", "period"))
    months = {row.id: periods.month_of(anchors.get(row.account_id, row.started_at), moment) for row in rows}
    due = [row for row in rows if (row.account_id, _free_month(months[row.id])) not in given]
    made = [
        _Grant(row, row.plan, _free_month(months[row.id]), months[row.id]) for row in due if row.plan.monthly_credits
    ]
    refusals = _allocate(made, moment)
    for row in rows:
        if row.id not in refusals:
            row.period_start, row.period_end = months[row.id].start, months[row.id].end
    Enrollment.objects.bulk_update([row for row in rows if row.id not in refusals], ["period_start", "period_end"])
    return list(refusals.values())


def _free_month(month: Period) -> str:
    return f"free {month.start:%Y-%m}"


# What a month grants


@dataclass(slots=True)
class _Grant:
    """Credits of a plan for a period, to be granted once under the name `name`."""

    row: Enrollment
    plan: Plan
    name: str
    period: Period
    credits: int | None = None  # None: the plan's month
    is_promotional: bool = False
    words: str = ""
    sold: Sold | None = None

    @property
    def amount(self) -> int:
        return self.plan.monthly_credits if self.credits is None else self.credits


@dataclass(frozen=True, slots=True)
class Sold:
    """The invoice that paid for it."""

    invoice: str
    amount_minor: int
    currency: str
    url: str = ""
    intent: str = ""


def _allocate(grants: Sequence[_Grant], moment: datetime) -> dict[UUID, Exception]:
    """Each is granted and on the books; what was refused, by enrollment. The enrollments are locked.

    One batch of the ledger, then the allocations beside it: both or neither.
    """
    ids = [new_id() for _ in grants]
    groups = []
    for id, one in zip(ids, grants, strict=True):
        words = one.words or f"{one.plan.title}, {_span(one.period)}"
        terms: dict[str, Any] = {
            "actor": "stripe" if one.row.stripe_subscription else "clock",
            "user": one.row.user_id,
            "source": "plan",
            "expires_at": one.period.end if one.period.end > moment else moment + SPENDABLE_AT_LEAST,
        }
        granted: list[steps.Step] = []
        if one.amount:
            granted.append(
                steps.Grant(
                    amount=one.amount,
                    is_promotional=one.is_promotional,
                    payment=f"allocation:{id}",
                    description=words,
                    **terms,
                )
            )
        granted += _kept_from_before(one, terms)
        if granted:
            groups.append((id, one, ledger.Group(one.row.account_id, granted)))
    outcomes = ledger.post([group for _, _, group in groups]) if groups else []
    refused: dict[UUID, Exception] = {
        one.row.id: outcome.refusal
        for (_, one, _), outcome in zip(groups, outcomes, strict=True)
        if outcome.refusal is not None
    }
    payments = dict(
        Payment.objects.filter(reference__in=[f"allocation:{id}" for id in ids]).values_list("reference", "id")
    )
    Allocation.objects.bulk_create(
        Allocation(
            id=id,
            account_id=one.row.account_id,
            enrollment_id=one.row.id,
            plan=one.plan,
            period=one.name,
            starts_at=one.period.start,
            ends_at=one.period.end,
            credits=one.amount,
            stripe_invoice=one.sold.invoice if one.sold else "",
            stripe_intent=one.sold.intent if one.sold else "",
            invoice_url=one.sold.url if one.sold else "",
            amount_minor=one.sold.amount_minor if one.sold else 0,
            currency=one.sold.currency if one.sold else "",
            payment_id=payments.get(f"allocation:{id}"),
            created_at=moment,
        )
        for id, one in zip(ids, grants, strict=True)
        if one.row.id not in refused
    )
    return refused


def _kept_from_before(one: _Grant, terms: dict[str, Any]) -> list[steps.Step]:
    """What expired unspent at the end of the month before, up to what the plan keeps; nothing for a part of a month.

    The newest first. Each stays a credit of the payment that it came with, whose refund or dispute reaches it. Of a
    payment that is disputed now nothing is kept.
    """
    if one.plan.rollover_max is None or one.credits is not None:
        return []
    ledger.expire_lots(one.row.account_id)
    of_plans = Lot.objects.filter(account=one.row.account_id, source="plan", payment__isnull=False)
    ended = of_plans.filter(expires_at=one.period.start, expired__gt=0).values_list("payment", flat=True)
    left, kept = one.plan.rollover_max, list[steps.Step]()
    for payment in Payment.objects.filter(account=one.row.account_id, id__in=set(ended)).order_by("-sequence"):
        lots = list(of_plans.filter(payment=payment.id))
        backs = list(ClawBack.objects.filter(account=one.row.account_id, payment=payment.id))
        just_now = sum(lot.expired for lot in lots if lot.expires_at == one.period.start)
        amount = min(left, just_now, book.lost(payment.granted, lots, backs))
        if amount > 0 and not any(lot.is_frozen for lot in lots):
            left -= amount
            kept.append(
                steps.Keep(
                    payment=payment.id,
                    amount=amount,
                    expires_at=terms["expires_at"],
                    actor=terms["actor"],
                    user=terms["user"],
                    description=f"{one.plan.title}, kept from before",
                )
            )
    return kept


def _span(period: Period) -> str:
    return f"{say_day(period.start)} to {say_day(period.end)}"


# What of a plan's terms binds its accounts at every start of something.
LIMITS = ("per_day", "open_holds_max", "jobs_at_once_max")


def _keep_limits(rows: Sequence[Enrollment]) -> None:
    """Each account is bound by its plan's limits, and by no other plan's. Locks the accounts."""
    ledger.lock(row.account_id for row in rows)
    SpendLimit.objects.bulk_create(
        [
            SpendLimit(
                account_id=row.account_id,
                source=SpendLimit.Source.PLAN,
                **{name: getattr(row.plan, name) for name in LIMITS},
            )
            for row in rows
        ],
        update_conflicts=True,
        unique_fields=["account", "source", "user"],
        update_fields=[*LIMITS, "updated_at"],
    )


# Paid plans: one enrollment at a time, its account's enrollments locked


@contextmanager
def locked(enrollment: UUID) -> Iterator[tuple[Enrollment, list[Enrollment]]]:
    """The enrollment, and the others of its account, locked until the end, in a transaction of their own."""
    account = Enrollment.objects.filter(id=enrollment).values_list("account", flat=True).first()
    if account is None:
        raise NotKnownYet(f"enrollment {enrollment} is not known here")
    with transaction.atomic():
        every = Enrollment.objects.select_related("plan", "next_plan").filter(account=account)
        rows = list(every.select_for_update(of=("self",)).order_by("id"))
        mine = next(row for row in rows if row.id == enrollment)
        yield mine, [row for row in rows if row.id != enrollment]


def note_names(enrollment: UUID, *, session: str = "", subscription: str = "") -> None:
    """The enrollment knows Stripe's names of it, which never change; Mismatch where they would."""
    with locked(enrollment) as (row, _):
        _note(row, "stripe_session", session)
        _note(row, "stripe_subscription", subscription)


def _note(row: Enrollment, field: str, name: str) -> None:
    known = getattr(row, field)
    if not name or known == name:
        return
    if known:
        raise Mismatch(f"it is {known}, and Stripe speaks of {name}", str(row.id))
    if Enrollment.objects.filter(**{field: name}).exists():
        raise Mismatch(f"{name} belongs to another enrollment", str(row.id))
    setattr(row, field, name)
    row.save(update_fields=[field])


def allocate_month(enrollment: UUID, plan: Plan, period: Period, sold: Sold, subscription: str) -> str:
    """The paid month is granted, once, and the account is on that plan; what that came to, in words.

    Raises Mismatch where it was paid in another currency.
    """
    with locked(enrollment) as (row, others):
        _note(row, "stripe_subscription", subscription)
        _compare(row, plan, sold)
        # Two can begin on one day: a plan that was renewed, paused at Stripe, and gone on with.
        name = f"month {subscription} {period.start:%Y-%m-%d %H:%M:%S}"
        months = Allocation.objects.filter(account=row.account_id, period__startswith=f"month {subscription} ")
        if months.filter(starts_at=period.start).exists():
            return "was granted before"
        if row.is_second and row.undone_at is not None:
            row.undone_at = None  # this money goes back as well
            row.save(update_fields=["undone_at"])
        moment = now()
        is_news = row.period_start is None or period.start >= row.period_start
        if row.state != State.ENDED and is_news and _takes_force(row, others, plan, State.ACTIVE, moment):
            row.period_start, row.period_end, row.grace_until = period.start, period.end, None
            if row.next_plan_id == plan.id:
                row.next_plan = None
            row.save()
        for refusal in _allocate([_Grant(row, plan, name, period, sold=sold)], moment).values():
            raise refusal
    log.info("plan_month_granted", enrollment=str(enrollment), plan=plan.slug, invoice=sold.invoice)
    return f"granted {credits.display(plan.monthly_credits)} for a month of {plan.title}"


def allocate_upgrade(enrollment: UUID, old: Plan, plan: Plan, part: Period, sold: Sold, subscription: str) -> str:
    """The account is on the larger plan, with the credits of the days that were paid for; in words.

    `part` is what was paid for of the month. Raises NotKnownYet as long as that month itself is not granted.
    """
    with locked(enrollment) as (row, others):
        _note(row, "stripe_subscription", subscription)
        _compare(row, plan, sold)
        name = f"upgrade {sold.invoice}"
        if Allocation.objects.filter(account=row.account_id, period=name).exists():
            return "was granted before"
        months = Allocation.objects.filter(enrollment=row.id, account=row.account_id, period__startswith="month ")
        month = months.filter(ends_at=part.end).first()
        if month is None:
            raise NotKnownYet("the month that was upgraded is not granted yet")
        moment = now()
        whole = Period(month.starts_at, month.ends_at)
        left, days = periods.days_left(whole, part.start), periods.days_of(whole)
        gives = periods.prorated(old.monthly_credits, plan.monthly_credits, left, days)
        is_running = row.state != State.ENDED and row.period_end == part.end
        if (
            is_running
            and plan.price_minor > row.plan.price_minor
            and _takes_force(row, others, plan, State(row.state), moment)
        ):
            row.save()
        words = f"Upgrade to {plan.title}, {left} of {days} days"
        for refusal in _allocate(
            [_Grant(row, plan, name, part, credits=gives, words=words, sold=sold)], moment
        ).values():
            raise refusal
    log.info("plan_upgrade_granted", enrollment=str(enrollment), plan=plan.slug, invoice=sold.invoice)
    return f"granted {credits.display(gives)} for {left} of {days} days of {plan.title}"


def give_trial(enrollment: UUID, period: Period, subscription: str) -> str:
    """The account tries the plan; its trial's credits are granted as promotional, once in the account's life."""
    with locked(enrollment) as (row, others):
        _note(row, "stripe_subscription", subscription)
        moment = now()
        if row.state == State.PENDING and _takes_force(row, others, row.plan, State.TRIAL, moment):
            row.period_start, row.period_end = period.start, period.end
            row.save()
        if row.state != State.TRIAL or not may_try(row.account_id, row.plan):
            return "no trial's credits"
        words = f"{row.plan.title} on trial, {_span(period)}"
        grant = _Grant(row, row.plan, "trial", period, credits=row.plan.trial_credits, is_promotional=True, words=words)
        for refusal in _allocate([grant], moment).values():
            raise refusal
    return "trial granted"


def may_try(account: UUID, plan: Plan) -> bool:
    """Says whether the account may try the plan: it has tried none, and paid for none."""
    return plan.trial_days > 0 and not has_had_one(account)


def has_had_one(account: UUID) -> bool:
    """Says whether the account has ever tried a plan, or paid for one."""
    had = Q(period="trial") | Q(period__startswith="month ")
    return Allocation.objects.filter(had, account=account).exists()


def told(
    enrollment: UUID,
    status: str,
    *,
    subscription: str,
    at: datetime,
    period: Period | None,
    is_ending: bool,
    next_plan: Plan | None,
    is_fresh: bool,
    heard: datetime | None,
) -> str:
    """The enrollment stands as Stripe says that its subscription does; in words.

    What was said before something that is known already is old news, unless it was read afresh, when the newest that
    was known was of `heard`, and nothing was heard since. Credits come by invoices alone.
    """
    with locked(enrollment) as (row, others):
        _note(row, "stripe_subscription", subscription)
        if row.state == State.ENDED:
            return "has ended"
        if not (is_fresh and row.told_at == heard) and row.told_at is not None and at < row.told_at:
            return "old news"
        moment = now()
        row.told_at = max(at, row.told_at or at)
        if status in ("canceled", "incomplete_expired"):
            _end(row, moment)
            return "ended"
        if status == "active" and row.state == State.PENDING:
            if _takes_force(row, others, row.plan, State.ACTIVE, moment) and period is not None:
                row.period_start, row.period_end = period.start, period.end
        elif status == "active" and row.state == State.PAUSED:
            row.state = State.ACTIVE
        elif status == "past_due" and row.state == State.PAUSED:
            _into_grace(row, f"{subscription} {row.told_at:%Y-%m-%d %H:%M}")  # going on was not paid for
        elif status == "paused" and row.state in (State.TRIAL, State.ACTIVE, State.GRACE):
            row.state, row.grace_until = State.PAUSED, None
        row.ends_with_period = is_ending
        if next_plan is not None and row.state == State.TRIAL:
            _try_instead(row, next_plan)
        elif next_plan is not None:
            is_smaller = next_plan.price_minor < row.plan.price_minor
            row.next_plan = next_plan if is_smaller else None
        row.save()
        return str(row.state)


def switch_trial(enrollment: UUID, plan: Plan) -> None:
    """The trial that goes on is of that plan from now on: it ends when it was to end, and gives nothing once more."""
    with locked(enrollment) as (row, _):
        if row.state == State.TRIAL:
            _try_instead(row, plan)
            row.save(update_fields=["plan", "next_plan"])


def _try_instead(row: Enrollment, plan: Plan) -> None:
    row.next_plan = None
    if row.plan_id != plan.id:
        row.plan = plan
        _keep_limits([row])


def seconds_to_undo() -> list[UUID]:
    """The second plans that Stripe may still have, or whose money was not asked back."""
    waiting = Enrollment.objects.filter(is_second=True, undone_at=None)
    return list(waiting.order_by("ended_at").values_list("id", flat=True)[:BATCH])


def ask_back(enrollment: UUID) -> list[UUID]:
    """Each payment for a second plan has its refund, asked for once; these refunds. Stripe has ended it by now.

    Locks the enrollment, then its allocations.
    """
    with locked(enrollment) as (row, _):
        if not row.is_second or row.undone_at is not None:
            return []
        paid = Allocation.objects.filter(account=row.account_id, enrollment=row.id, amount_minor__gt=0)
        asked_before = Refunding.objects.filter(account=row.account_id, allocation__isnull=False)
        rows = [
            Refunding(
                account_id=row.account_id,
                allocation_id=one.id,
                amount_minor=one.amount_minor,
                reason="Paid for a second plan",
                created_at=now(),
            )
            for one in paid.select_for_update().exclude(id__in=asked_before.values("allocation")).order_by("id")
        ]
        Refunding.objects.bulk_create(rows)
        row.undone_at = now()
        row.save(update_fields=["undone_at"])
    return [one.id for one in rows]


def asked(enrollment: UUID, *, is_ending: bool, next_plan: Plan | None) -> None:
    """Stripe took what was asked for the end of the month."""
    with locked(enrollment) as (row, _):
        if row.state == State.ENDED:
            return
        row.ends_with_period, row.next_plan = is_ending, next_plan
        row.save(update_fields=["ends_with_period", "next_plan"])


def note_intent(invoice: str, intent: str) -> bool:
    """What the invoice granted knows what paid it; False where it granted nothing yet."""
    of = Allocation.objects.filter(stripe_invoice=invoice)
    of.filter(stripe_intent="").update(stripe_intent=intent)
    return of.exists()


def payment_failed(enrollment: UUID, invoice: str, subscription: str) -> str:
    """The plan's features stay for seven days in which the payment may still succeed; in words."""
    with locked(enrollment) as (row, _):
        _note(row, "stripe_subscription", subscription)
        if Allocation.objects.filter(account=row.account_id, stripe_invoice=invoice).exists():
            return "was paid after all"
        if row.state not in (State.ACTIVE, State.TRIAL):
            return f"is {row.state}"
        _into_grace(row, invoice)
        row.save(update_fields=["state", "grace_until"])
    return "grace"


def _into_grace(row: Enrollment, about: str) -> None:
    """The plan's features stay for seven days, and the account's people know; the caller saves."""
    row.state, row.grace_until = State.GRACE, now() + GRACE
    alerts.notify_all(
        [
            alerts.notice(
                row.account_id,
                f"plan-unpaid:{about}",
                f"The payment for {row.plan.title} failed",
                body=f"Your plan stays until {say_day(row.grace_until)}, and no new monthly credits come until it "
                "is paid. After that the account is on the Free plan. Credits you have stay as they are.",
                link=PAGE,
                level="warning",
            )
        ]
    )


def end(enrollment: UUID, subscription: str = "") -> str:
    """The enrollment is over, and its account on the Free plan if it was in force. Credits stay until they expire."""
    with locked(enrollment) as (row, _):
        _note(row, "stripe_subscription", subscription)
        if row.state == State.ENDED:
            return "had ended"
        _end(row, now())
    return "ended"


def give_up(enrollment: UUID, *, unless_opened: bool = False) -> str:
    """An enrollment that was never paid for is over; one that was is left as it is.

    `unless_opened` leaves one alone as well that has its page at Stripe by now.
    """
    with locked(enrollment) as (row, _):
        if row.state == State.PENDING and not (unless_opened and row.stripe_session):
            _end(row, now())
    return str(row.state)


def _end(row: Enrollment, moment: datetime) -> None:
    was = State(row.state)
    row.state, row.ended_at, row.grace_until, row.next_plan = State.ENDED, moment, None, None
    row.save()
    if was not in IN_FORCE:
        return
    if not begin_free(row.account_id, row.user_id) and in_force(row.account_id) is None:
        ledger.lock([row.account_id])
        SpendLimit.objects.filter(account=row.account_id, source=SpendLimit.Source.PLAN).delete()
    alerts.notify_all(
        [
            alerts.notice(
                row.account_id,
                f"plan-ended:{row.id}",
                f"{row.plan.title} has ended",
                body="The account is on the Free plan. Credits you have stay until they expire.",
                link=PAGE,
            )
        ]
    )


def _takes_force(
    row: Enrollment, others: Iterable[Enrollment], plan: Plan, state: Enrollment.State, moment: datetime
) -> bool:
    """The enrollment is its account's plan now, the Free one over, and the plan's limits bind; the caller saves.

    False where the account has another paid plan already: then this one is over, and is undone at Stripe
    (subscriptions.undo_seconds). A second page was paid on, before the first was heard of.
    """
    for other in others:
        if other.state not in IN_FORCE:
            continue
        if other.plan.price_minor:
            row.state, row.ended_at, row.is_second = State.ENDED, moment, True
            row.save()
            alerts.open_alert(
                "second_plan",
                key=str(row.id),
                sentence=f"An account paid for two plans: {other.plan.title} and {row.plan.title}. The second is "
                "ended at Stripe, and its money given back.",
                facts={"account": str(row.account_id), "subscription": row.stripe_subscription},
            )
            alerts.notify_all(
                [
                    alerts.notice(
                        row.account_id,
                        f"plan-second:{row.id}",
                        "You paid for a second plan",
                        body=f"An account has one plan at a time, and yours is {other.plan.title}. {row.plan.title} "
                        "has ended, what you paid for it goes back to your card, and its credits go back with it.",
                        link=PAGE,
                        level="warning",
                    )
                ]
            )
            return False
        other.state, other.ended_at = State.ENDED, moment
        other.save(update_fields=["state", "ended_at"])
    row.plan, row.state = plan, state
    row.save(update_fields=["plan", "state"])
    _keep_limits([row])
    return True


def _compare(row: Enrollment, plan: Plan, sold: Sold) -> None:
    if sold.currency != plan.currency:
        raise Mismatch(f"{sold.invoice} was paid in {sold.currency}, the plan costs {plan.currency}", str(row.id))


def say_day(at: datetime) -> str:
    return f"{at.day} {at:%b %Y}"


def whole(micro: int) -> str:
    """Credits without decimals where there are none: "1,400"."""
    return credits.display(micro).removesuffix(".00")


# What there is to say


def features(plan: Plan) -> list[str]:
    """What the plan offers besides its credits, how much of it at once included."""
    most = plan.jobs_at_once_max
    at_once = [] if most is None else ["One job at once"] if most == 1 else [f"Up to {most} jobs at once"]
    return [*plan.features, *at_once]


def way_up(account: UUID) -> dict[str, str]:
    """The name of the plan whose limit says no, and where a larger one can be chosen, if there is any."""
    row = in_force(account)
    if row is None:
        return {}
    is_larger = any(plan.price_minor > row.plan.price_minor for plan in offered())
    return {"plan": row.plan.title} | ({"upgrade_url": PAGE} if is_larger else {})


def next_allocation(row: Enrollment | None) -> tuple[datetime, int] | None:
    """When the account's plan grants next, and how much; None where that is not known."""
    if row is None or row.period_end is None:
        return None
    if row.plan.price_minor == 0:
        return (row.period_end, row.plan.monthly_credits) if row.state == State.ACTIVE else None
    if row.state not in (State.ACTIVE, State.TRIAL):
        return None
    if row.ends_with_period:
        return _next_free(row.account_id, row.period_end)
    return row.period_end, (row.next_plan or row.plan).monthly_credits


def _next_free(account: UUID, at: datetime) -> tuple[datetime, int] | None:
    """What the Free plan grants first to an account that is on it again from `at` on."""
    plan = free_plan()
    if plan is None:
        return None
    earlier = Allocation.objects.filter(account=account, period__startswith="free ")
    anchor = earlier.aggregate(first=Min("starts_at"))["first"] or at
    month = periods.month_of(anchor, at)
    is_given = earlier.filter(period=_free_month(month)).exists()
    return (month.end if is_given else at), plan.monthly_credits


def this_month(row: Enrollment) -> tuple[int, int]:
    """What the plan granted for the month that goes on, and what of it can still be spent or is held."""
    if row.period_end is None:
        return 0, 0
    granted = Allocation.objects.filter(account=row.account_id, enrollment=row.id, ends_at=row.period_end)
    lots = Lot.objects.filter(account=row.account_id, payment__in=granted.values("payment"))
    return sum(lot.amount for lot in lots), sum(lot.remaining for lot in lots)


def upgrade_gives(row: Enrollment, plan: Plan, moment: datetime) -> tuple[int, int, int]:
    """The microcredits that an upgrade to the plan would give now, and the days left of the days of the month."""
    assert row.period_start is not None
    assert row.period_end is not None
    month = Period(row.period_start, row.period_end)
    left, days = periods.days_left(month, moment), periods.days_of(month)
    return periods.prorated(row.plan.monthly_credits, plan.monthly_credits, left, days), left, days


# So long a change that was paid for is waited for, before its page says nothing of it any more.
EXPECTED_WITHIN = timedelta(minutes=10)


def awaited(row: Enrollment | None) -> PlanChange | None:
    """The change that Stripe was asked for a moment ago and has not confirmed; None where nothing is waited for."""
    if row is None or row.stripe_subscription is None:
        return None
    mine = PlanChange.objects.filter(account=row.account_id, enrollment=row.id, created_at__gt=now() - EXPECTED_WITHIN)
    newest = mine.exclude(state=PlanChange.State.REFUSED).order_by("-created_at").first()
    if newest is None:
        return None
    is_seen = {
        PlanChange.Act.UPGRADE: row.plan_id == newest.plan_id,
        PlanChange.Act.RESUME: row.state != State.PAUSED,
        PlanChange.Act.SETTLE: row.state != State.GRACE,
    }.get(PlanChange.Act(newest.act), newest.state == PlanChange.State.DONE)
    return None if is_seen else newest


def standing(row: Enrollment) -> tuple[object, ...]:
    """What a change of the plan starts from: another one now means that something came between."""
    return row.state, row.plan_id, row.next_plan_id, row.ends_with_period, row.period_start, row.period_end
