"""The page on which staff see how the desk does: the figures, where each alert stands, and what was told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.views.decorators.http import require_safe

from billing import alerts, clock, credits
from billing.admin.parts import Figure, Section, code, link, listing, may_look_at, money, tag, text, when
from billing.models import Alert
from billing.tasks import alert_addresses
from generations import monitoring
from generations.models import Generation, SettlementFailure
from generations.monitoring import DAY, Hour, Standing

from .desk import ago

LAST_ALERTS = 30
STILL_OPEN = format_html('<span class="n">{}</span>', "still open")
BY_WHOM = {
    "provider": "by themselves, on the provider’s word",
    "emergency": "by the safety net",
    "expiry": "because their time was over",
    "staff": "by staff",
    "other": "in another way",
}


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Figures, thresholds, open alerts and the last ones. As many queries with many rows as with few."""
    if not may_look_at(request, Alert):
        raise PermissionDenied
    now = clock.now()
    of_jobs = [_failures(now), _undecided(), *_broken(now)] if may_look_at(request, Generation) else []
    sections = [_standings(now), _open(), *of_jobs, _last()]
    hours = monitoring.by_hour(now)
    context = {
        **admin.site.each_context(request),
        "title": "Watch",
        "figures": _figures(now),
        "warnings": [] if alert_addresses() else [NOBODY],
        "chart": Chart.of(hours),
        "sections": sections,
    }
    request.current_app = admin.site.name
    return TemplateResponse(request, "admin/watch.html", context)


NOBODY = (
    "Nobody gets the mail of these alerts. Give a member of staff who has an e-mail address the permission to view "
    "alerts, or set HOLDFAST_ALERT_EMAILS."
)


def _figures(now: datetime) -> list[Figure]:
    unsettled, held, ended = monitoring.unsettled(), monitoring.in_holds(), monitoring.ended_since(now - DAY)
    oldest = monitoring.oldest_hold()
    charged = monitoring.charged_since(monitoring.midnight(now))
    share = ended.refunded_by_itself_percent
    return [
        Figure(
            "Jobs not settled",
            unsettled.jobs,
            f"at most {credits.display(unsettled.credits)} credits" if unsettled.jobs else "everything has its end",
        ),
        Figure("Held", credits.display(held.credits), f"in {_count(held.holds, 'open hold')}", "held"),
        Figure(
            "Oldest open hold",
            ago(now - oldest.placed_at) if oldest else "none",
            link(oldest, words=oldest.label or oldest.reference) if oldest else "nothing is held",
        ),
        Figure("Charged today", credits.display(charged), "less refunds, since midnight UTC"),
        Figure(
            "From verdict to settlement",
            _seconds(ended.median_seconds),
            "nothing was settled in 24 hours"
            if ended.p95_seconds is None
            else f"half are faster; 95 of 100 within {_seconds(ended.p95_seconds)}",
        ),
        Figure(
            "Refunded by themselves",
            "–" if share is None else f"{share:.0f} %",
            _of_failures(ended) if ended.failures else "no job failed in 24 hours",
        ),
    ]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _seconds(seconds: float | None) -> str:
    """A span that is mostly short: "0.8 s", "12 s", "4 min"."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _of_failures(ended: monitoring.Ended) -> str:
    others = [f"{count} {BY_WHOM[by]}" for by, count in ended.failures_by.items() if count and by != "provider"]
    return f"of {_count(ended.failures, 'failure')} in 24 hours" + (f"; {', '.join(others)}" if others else "")


def _standings(now: datetime) -> Section:
    opened = alerts.count_open()
    rows = [
        [alerts.kind_of(name).title, standing.value, standing.threshold, _state(standing, opened.get(name, 0))]
        for name, standing in monitoring.standings(now).items()
    ]
    return Section("Where each alert stands", ("Alert", "Now", "Threshold", "State"), rows)


def _state(standing: Standing, opened: int) -> Any:
    if standing.is_crossed:
        return tag("open" if opened else "crossed", "bad")
    return tag("open", "wait") if opened else tag("quiet", "ok")


def _open() -> Section:
    rows = Alert.objects.filter(cleared_at=None).order_by("-opened_at", "-id")[:10]
    return Section(
        "Open alerts",
        ("What", "Kind", "Opened"),
        [[link(one, words=one.sentence), tag(one.name, "bad"), when(one.opened_at)] for one in rows],
        listing(Alert, state="open"),
        "Nothing needs you.",
    )


def _last() -> Section:
    rows = Alert.objects.order_by("-id")[:LAST_ALERTS]
    return Section(
        f"The last {LAST_ALERTS} alerts",
        ("What", "Kind", "Opened", "Over", "Mailed"),
        [
            [
                link(one, words=one.sentence),
                tag(one.name, "" if one.cleared_at else "bad"),
                when(one.opened_at),
                when(one.cleared_at) if one.cleared_at else STILL_OPEN,
                when(one.mailed_at),
            ]
            for one in rows
        ],
        listing(Alert),
        "There has never been one.",
    )


def _failures(now: datetime) -> Section:
    return Section(
        "Failures by code, in the last 24 hours",
        ("Code", "Jobs"),
        [[code(error_code), count] for error_code, count in monitoring.failures_by_code(now - DAY)],
        listing(Generation, state__exact="failed"),
        "No job has failed.",
        frozenset({1}),
    )


def _undecided() -> Section:
    unsettled = monitoring.unsettled()
    return Section(
        "Jobs not settled, by state",
        ("State", "Jobs", "At most"),
        [[tag(state, "wait"), jobs, money(micro)] for state, (jobs, micro) in unsettled.by_state.items()],
        listing(Generation, staff="unsettled"),
        "Everything has its end.",
        frozenset({1, 2}),
    )


def _broken(now: datetime) -> list[Section]:
    """The newest settlements that broke; no table where none did."""
    broken: list[SettlementFailure] = monitoring.failures_of_settlement(now - DAY)
    if not broken:
        return []
    return [
        Section(
            "Settlements that broke, in the last 24 hours",
            ("When", "Job", "Error"),
            [
                [when(one.occurred_at), link(one.generation, words=one.generation.title), text(one.error)]
                for one in broken
            ],
        )
    ]


# The last 24 hours as bars

BAR_STEP, BAR_WIDTH, CHART_HEIGHT = 20, 14, 80


@dataclass(frozen=True, slots=True)
class Bar:
    """One hour: what stands at the foot has a result, what stands on it failed."""

    x: int
    y_succeeded: float
    succeeded: float
    y_failed: float
    failed: float
    words: str


@dataclass(frozen=True, slots=True)
class Chart:
    bars: list[Bar]
    succeeded: int
    failed: int
    most: int
    first: str
    width: int
    height: int

    @classmethod
    def of(cls, hours: list[Hour]) -> Chart:
        """The bars of these hours, the highest as high as the chart."""
        most = max((hour.succeeded + hour.failed for hour in hours), default=0)
        scale = CHART_HEIGHT / (most or 1)
        bars = []
        for at, hour in enumerate(hours):
            good, bad = round(hour.succeeded * scale, 1), round(hour.failed * scale, 1)
            words = f"{hour.starts_at:%H:%M}: {hour.succeeded} with a result, {hour.failed} failed"
            y = round(CHART_HEIGHT - good, 1)
            bars.append(Bar(at * BAR_STEP + 3, y, good, round(y - bad, 1), bad, words))
        return cls(
            bars,
            sum(hour.succeeded for hour in hours),
            sum(hour.failed for hour in hours),
            most,
            f"{hours[0].starts_at:%H:%M}" if hours else "",
            BAR_STEP * len(hours),
            CHART_HEIGHT,
        )
