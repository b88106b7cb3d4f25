"""What one account may cost us at a real provider without paying for it: two counts, each with an end.

Providers bill what their moderation stopped, and what they finished after its hold had ended. Neither is charged to the
customer, so neither may go on without end. Local work and the rehearsal cost nobody anything and are not asked about.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings

from billing import clock, errors

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
