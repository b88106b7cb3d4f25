"""The first page of the admin, which needs both the vault and the workshop: what stands today, and what waits."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.core.cache import cache
from django.db.models import Sum
from django.http import HttpRequest
from django.utils.html import format_html

from billing import clock, credits
from billing.admin.acts import STAFF_ACTS
from billing.admin.parts import (
    ROWS_SHOWN,
    Figure,
    Section,
    code,
    link,
    listing,
    may_look_at,
    money,
    tag,
    when,
)
from billing.models import Account, Alert, Approval, Lot
from generations import monitoring
from generations.models import Generation
from generations.monitoring import first_id_of as first_id_of

SUMS_KEPT_SECONDS = 30


def _outstanding() -> dict[bool, int]:
    """Credits that are out, promotional or not; summed over every lot, so kept for a while."""
    sums = cache.get("admin-outstanding")
    if sums is None:
        rows = Lot.objects.filter(remaining__gt=0).values_list("is_promotional").annotate(sum=Sum("remaining"))
        sums = {is_promotional: int(total) for is_promotional, total in rows.order_by("is_promotional")}
        cache.set("admin-outstanding", sums, SUMS_KEPT_SECONDS)
    return sums


def first_page(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What stands today: the sums, and what waits for staff; of each only what this person may look at."""
    now = clock.now()
    figures: list[Figure] = []
    if may_look_at(request, Account):
        figures += _of_credits(now)
    if may_look_at(request, Generation):
        figures += _of_jobs()
    tables = ((Alert, _open_alerts), (Approval, _waiting), (Generation, _failures))
    sections = [table(now) for of, table in tables if may_look_at(request, of)]
    return context | {"title": "Today", "figures": figures, "sections": sections}


def _of_credits(now: datetime) -> list[Figure]:
    out = _outstanding()
    held, oldest = monitoring.in_holds(), monitoring.oldest_hold()
    charged = monitoring.charged_since(monitoring.midnight(now))
    return [
        Figure(
            "Credits outstanding",
            credits.display(sum(out.values())),
            f"{credits.display(out.get(False, 0))} paid, {credits.display(out.get(True, 0))} promotional",
        ),
        Figure(
            "Held",
            credits.display(held.credits),
            f"in {held.holds} open hold{'s' * (held.holds != 1)}",
            "held",
        ),
        Figure(
            "Charged today",
            credits.display(charged),
            "less refunds, since midnight UTC",
        ),
        Figure(
            "Oldest open hold",
            ago(now - oldest.placed_at) if oldest else "none",
            link(oldest, words=oldest.label or oldest.reference) if oldest else "nothing is held",
        ),
    ]


def _of_jobs() -> list[Figure]:
    unsettled = monitoring.unsettled().jobs
    review = Generation.objects.exclude(review="").count()
    return [
        Figure("Jobs not settled", unsettled, see_them(staff="unsettled") if unsettled else "everything has its end"),
        Figure(
            "Jobs that need a look",
            review,
            see_them(staff="review") if review else "nothing is unclear",
            "alert" if review else "",
        ),
    ]


def _open_alerts(now: datetime) -> Section:
    alerts = Alert.objects.filter(cleared_at=None).order_by("-opened_at")[:ROWS_SHOWN]
    return Section(
        "Open alerts",
        ("What", "Kind", "Opened"),
        [[link(one, words=one.sentence), tag(one.name, "bad"), when(one.opened_at)] for one in alerts],
        listing(Alert, state="open"),
        "Nothing needs you.",
    )


def _waiting(now: datetime) -> Section:
    waiting = Approval.objects.filter(state="waiting").select_related("account", "asked_by").order_by("-id")
    return Section(
        "Waiting for a second person",
        ("What", "Account", "Credits", "Asked by", "When"),
        [approval_cells(one) for one in waiting[:ROWS_SHOWN]],
        listing(Approval, state__exact="waiting"),
        "Nothing waits.",
        frozenset({2}),
    )


def _failures(now: datetime) -> Section:
    return Section(
        "Failures by code, in the last 24 hours",
        ("Code", "Jobs"),
        [[code(error_code), count] for error_code, count in monitoring.failures_by_code(now - monitoring.DAY)],
        listing(Generation, state__exact="failed"),
        "No job has failed.",
        frozenset({1}),
    )


def approval_cells(approval: Any) -> list[Any]:
    act = STAFF_ACTS.get(approval.act)
    return [
        link(approval, words=act.title if act else approval.act),
        link(Account, approval.account_id, str(approval.account)) if approval.account_id else "every account",
        money(approval.amount or None),
        str(approval.asked_by),
        when(approval.asked_at),
    ]


def see_them(**filters: Any) -> Any:
    """A link to the jobs of that kind."""
    return format_html('<a class="row-link" href="{}">see them</a>', listing(Generation, **filters))


def ago(span: timedelta) -> str:
    """A span in the largest unit that says enough: "4 min", "3 h 20 min", "2 days"."""
    minutes = max(int(span.total_seconds() // 60), 0)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} days"


def open_alerts(request: HttpRequest) -> str:
    """For the sidebar: how many alerts are open."""
    return str(Alert.objects.filter(cleared_at=None).count() or "")


def waiting_approvals(request: HttpRequest) -> str:
    """For the sidebar: how many acts wait for a second person."""
    return str(Approval.objects.filter(state="waiting").count() or "")
