"""What one account may cost us at a real provider without paying for it: two counts and a ceiling, each with an end.

Providers bill what their moderation stopped, and what they finished after its hold had ended. Neither is charged to the
customer, so neither may go on without end. A payment with a stolen card is taken back weeks later: until an account's
first one has settled, its runs there have a ceiling. Local work and the rehearsal cost nobody anything and are not
asked about.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Case, Sum, When
from django.db.models.functions import Coalesce

from billing import clock, credits, errors, limits, trust
from billing.models import SpendLimit

from . import providers
from .models import Generation
from .monitoring import MODERATION_CODES

SPAN = timedelta(hours=24)


class TooManyBlocked(errors.BillingError):
    code = "too_many_blocked"
    status = 403
    sentence = "Too much of what was asked for was blocked lately. Nothing was started and nothing was charged."
    reason = "The provider’s moderation blocked many runs of this account within a day, and each of them costs us."
    action = "Each of them counts for 24 hours: wait, and then ask for something else, or choose another provider now."
    can_retry = True


class TooManyUnpaid(errors.BillingError):
    code = "too_many_unpaid"
    status = 402
    sentence = "Too many finished runs wait to be paid for. Nothing was started and nothing was charged."
    reason = "They were finished after their reservation had ended, and there were too few credits then."
    action = "Add credits: they are paid and delivered by themselves, the oldest first. Then try again."
    can_retry = True


class NotSettled(errors.BillingError):
    code = "payment_not_settled"
    status = 403
    sentence = (
        "This goes over what runs at outside providers may cost for now. Nothing was started and nothing was charged."
    )
    reason = "Until an account’s first payment has stood for a while, there is a ceiling on runs that cost us money."
    action = "Choose something smaller or a provider that runs here, or write to the people who run this desk."
    can_retry = True


def refuse_blocked(provider: str, blocked_at: Sequence[datetime], most: int) -> None:
    """Refuses where `most` runs were blocked within SPAN; `blocked_at`: the newest of them, newest first. Pure."""
    if len(blocked_at) >= most:
        raise TooManyBlocked(provider=provider, blocked_max=most, resets_at=blocked_at[most - 1] + SPAN)


def refuse_unpaid(unpaid: int, most: int) -> None:
    """Refuses where `most` finished runs are unpaid. Pure."""
    if unpaid >= most:
        raise TooManyUnpaid(unpaid=unpaid, unpaid_max=most)


def refuse_costly(account: UUID, provider: str) -> None:
    """Refuses another run at a real provider beyond either bound. Two questions, each of an index of the account's own.

    Called with the account's lock taken, when everything else has been judged: so many that set out together count.
    """
    since = clock.now() - SPAN
    of_account = Generation.objects.filter(account_id=account)
    refused = of_account.filter(outcome=Generation.Outcome.REFUNDED, verdict_at__gt=since)
    blocked = refused.filter(verdict_code__in=MODERATION_CODES, provider=provider)
    times = blocked.order_by("-verdict_at").values_list("verdict_at", flat=True)[: settings.BLOCKED_A_DAY_MAX]
    refuse_blocked(provider, [at for at in times if at is not None], settings.BLOCKED_A_DAY_MAX)
    withheld = of_account.filter(credits_charged=None, outcome=Generation.Outcome.WITHHELD)
    refuse_unpaid(withheld.count(), settings.UNPAID_MAX)


def refuse_above_ceiling(amount: int, used: int, settles_at: datetime | None, today: datetime) -> None:
    """Refuses a run of so much, beside what was `used` today, above the ceilings before a settled payment. Pure."""
    ceilings = (("run", settings.UNSETTLED_RUN_CREDITS, 0), ("day", settings.UNSETTLED_DAY_CREDITS, used))
    for span, most, before in ceilings:
        if before + amount > credits.parse(most):
            raise NotSettled(
                f"Runs at outside providers come to at most {credits.display(credits.parse(most))} credits "
                f"{'each' if span == 'run' else 'a day'} {_until(settles_at)}. "
                "Nothing was started and nothing was charged.",
                limit=most,
                used=credits.format(before),
                span=span,
                source="payment",
                resets_at=limits.day_resets_at(today.date()) if span == "day" else None,
                settles_at=settles_at,
            )


def _until(settles_at: datetime | None) -> str:
    if settles_at is None:
        return f"until {settings.SETTLED_DAYS} days after your first payment"
    return f"until your first payment has settled, on {settles_at.day} {settles_at:%B}"


def refuse_unsettled(account: UUID, amount: int) -> None:
    """Refuses a run of so much at a real provider above the ceiling of an account of which no payment has settled.

    Staff lift it by limits of theirs that say so. Called as `refuse_costly` is. One question where a payment has
    settled, three where none has.
    """
    now = clock.now()
    payments = trust.of(account)
    if payments.has_settled(now) or SpendLimit.objects.filter(account=account, lifts_ceiling=True).exists():
        return
    today = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    started = Generation.objects.filter(account_id=account, created_at__gte=today, provider__in=providers.costing())
    # What is settled counts with its charge; what is not, with what it may cost.
    counted = Case(When(credits_charged=None, then="estimate_max"), default=Coalesce("charged_amount", 0))
    used = started.aggregate(sum=Coalesce(Sum(counted), 0))["sum"]
    refuse_above_ceiling(amount, used, payments.settles_at, today)
