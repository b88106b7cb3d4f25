"""The first page of the admin, which needs both the vault and the workshop: what stands today, and what waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.cache import cache
from django.db.models import Count, F, Min, Q, Sum
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
    money,
    tag,
    when,
)
from billing.models import Account, Alert, Approval, Entry, Hold, Lot
from generations.models import Generation

SUMS_KEPT_SECONDS = 30


def first_id_of(moment: datetime) -> UUID:
    """The smallest id that can have been made at a moment: ids begin with their time, so they are an index of it."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def _outstanding() -> dict[bool, int]:
    """Credits that are out, promotional or not; summed over every lot, so kept for a while."""
    sums = cache.get("admin-outstanding")
    if sums is None:
        rows = Lot.objects.filter(remaining__gt=0).values_list("is_promotional").annotate(sum=Sum("remaining"))
        sums = {is_promotional: int(total) for is_promotional, total in rows.order_by("is_promotional")}
        cache.set("admin-outstanding", sums, SUMS_KEPT_SECONDS)
    return sums


def charged_since(moment: datetime) -> int:
    """Credits that were charged since then, less what of today's was refunded today, in microcredits."""
    lines = Entry.objects.filter(id__gte=first_id_of(moment - timedelta(minutes=5)), created_at__gte=moment)
    sums = lines.aggregate(
        charged=Sum("amount", filter=Q(kind__in=["capture", "draw", "late_capture", "charge"])),
        refunded=Sum("amount", filter=Q(kind="refund")),
    )
    return int(sums["charged"] or 0) - int(sums["refunded"] or 0)


def failures_since(moment: datetime) -> list[tuple[str, int]]:
    """Jobs that ended without a charge since then, by code, most first."""
    ended = Generation.objects.filter(
        id__gte=first_id_of(moment - timedelta(days=40)), ended_at__gte=moment, credits_charged=False
    ).exclude(state__in=["succeeded", "cancelled"])
    rows = ended.values_list("error_code").annotate(count=Count("id")).order_by("-count", "error_code")
    return [(error_code or "unknown", count) for error_code, count in rows[:12]]


def first_page(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What stands today: the sums, and what waits for staff."""
    now = clock.now()
    midnight = datetime.combine(now.astimezone(UTC).date(), datetime.min.time(), UTC)
    out = _outstanding()
    open_holds = Hold.objects.filter(state="open").aggregate(
        sum=Sum(F("amount") - F("captured")), count=Count("id"), oldest=Min("placed_at")
    )
    oldest = Hold.objects.filter(state="open").order_by("placed_at", "id").first() if open_holds["count"] else None
    unsettled = Generation.objects.filter(credits_charged=None)
    review = Generation.objects.exclude(review="").count()
    alerts = Alert.objects.filter(cleared_at=None).order_by("-opened_at")
    waiting = Approval.objects.filter(state="waiting").select_related("account", "asked_by").order_by("-id")
    failures = failures_since(now - timedelta(days=1))
    context |= {
        "title": "Today",
        "figures": [
            Figure(
                "Credits outstanding",
                credits.display(sum(out.values())),
                f"{credits.display(out.get(False, 0))} paid, {credits.display(out.get(True, 0))} promotional",
            ),
            Figure(
                "Held",
                credits.display(int(open_holds["sum"] or 0)),
                f"in {open_holds['count']} open hold{'s' * (open_holds['count'] != 1)}",
                "held",
            ),
            Figure("Charged today", credits.display(charged_since(midnight)), "less refunds, since midnight UTC"),
            Figure("Jobs not settled", unsettled.count(), link_words(Generation, "see them", staff="unsettled")),
            Figure(
                "Oldest open hold",
                ago(now - oldest.placed_at) if oldest else "none",
                link(oldest, words=oldest.label or oldest.reference) if oldest else "nothing is held",
            ),
            Figure(
                "Jobs that need a look",
                review,
                link_words(Generation, "see them", staff="review") if review else "none",
                "alert" if review else "",
            ),
        ],
        "sections": [
            Section(
                "Open alerts",
                ("What", "Kind", "Opened"),
                [
                    [link(one, words=one.sentence), tag(one.name, "bad"), when(one.opened_at)]
                    for one in alerts[:ROWS_SHOWN]
                ],
                listing(Alert, state="open"),
                "Nothing needs you.",
            ),
            Section(
                "Waiting for a second person",
                ("What", "Account", "Credits", "Asked by", "When"),
                [approval_cells(one) for one in waiting[:ROWS_SHOWN]],
                listing(Approval, state__exact="waiting"),
                "Nothing waits.",
                frozenset({2}),
            ),
            Section(
                "Failures by code, in the last 24 hours",
                ("Code", "Jobs"),
                [[code(error_code), count] for error_code, count in failures],
                listing(Generation, state__exact="failed"),
                "No job has failed.",
                frozenset({1}),
            ),
        ],
    }
    return context


def approval_cells(approval: Any) -> list[Any]:
    act = STAFF_ACTS.get(approval.act)
    return [
        link(approval, words=act.title if act else approval.act),
        link(Account, approval.account_id, str(approval.account)) if approval.account_id else "every account",
        money(approval.amount or None),
        str(approval.asked_by),
        when(approval.asked_at),
    ]


def link_words(of: Any, words_shown: str, **filters: Any) -> Any:
    return format_html('<a class="row-link" href="{}">{}</a>', listing(of, **filters), words_shown)


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
