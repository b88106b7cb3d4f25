"""The page of revenue and liability: what is owed in credits, what lapsed, and what is earned, by month; and as CSV."""

from __future__ import annotations

import csv
from datetime import date
from functools import partial
from io import StringIO
from typing import Any

from django.contrib import admin
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.views.decorators.http import require_safe

from billing import credits, revenue
from billing import money as prices
from billing.alerts import moment_words
from billing.api import defused

from .parts import Figure, Section, in_time, money

TOO_MANY = (
    "There are too many lines to add up in a page: even one month’s could not be read in time. Call "
    "billing.revenue.figures from manage.py shell, where nothing is cut off."
)
PERMISSION = "billing.view_revenue"
KEPT_SECONDS = 300
# As many as can be read in time; a large desk's page has fewer.
MONTHS = (12, 3, 1)
COLUMNS = (
    "month",
    "currency",
    "opening_liability",
    "sold",
    "given_back",
    "recognised_revenue",
    "closing_liability",
    "expired_paid_credits",
)


def _figures() -> revenue.Figures | None:
    """The figures, not older than KEPT_SECONDS: they read every line of the months. None where that takes too long."""
    found: revenue.Figures | None = cache.get("admin-revenue")
    for months in MONTHS:
        if found is None:
            found = in_time(partial(revenue.figures, months), f"revenue of {months} months")
    if found is not None:
        cache.add("admin-revenue", found, KEPT_SECONDS)
    return found


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    found = _figures()
    context = {
        **admin.site.each_context(request),
        "title": "Revenue",
        "warnings": [] if found else [TOO_MANY],
        "figures": _standing(found) if found else [],
        "csv_url": reverse("revenue_csv") if found else "",
        "at": moment_words(found.at) if found else "",
        "sections": [*_months(found), _breakage(found)] if found else [],
    }
    request.current_app = admin.site.name
    return TemplateResponse(request, "admin/revenue.html", context, status=200 if found else 503)


@require_safe
def download(request: HttpRequest) -> HttpResponse:
    """The same months as CSV: money in the currency's own unit, credits as decimals, the breakage in each row."""
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    found, text = _figures(), StringIO(newline="")
    if found is None:
        return HttpResponse(TOO_MANY, status=503, content_type="text/plain; charset=utf-8")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for month in found.months:
        sums = (month.opening, month.sold, month.given_back, month.recognised, month.closing)
        lost = credits.format(found.breakage[month.starts_on])
        cells = [prices.plain(minor, month.currency) for minor in sums]
        writer.writerow([f"{month.starts_on:%Y-%m}", defused(month.currency), *cells, lost])
    response = HttpResponse(text.getvalue(), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="revenue-{found.at:%Y-%m-%d}.csv"'
    return response


def signed(minor: int, currency: str) -> Any:
    """Money in a table, with a minus where revenue was undone."""
    shown = f"−{prices.words(-minor, currency)}" if minor < 0 else prices.words(minor, currency)
    return format_html('<span class="n{}">{}</span>', "" if minor else " quiet", shown)


def _standing(found: revenue.Figures) -> list[Figure]:
    this_month = [month for month in found.months if month.starts_on == found.at.date().replace(day=1)]
    soon = f"in the next {revenue.EXPIRING_DAYS} days"
    return [
        *(
            Figure(f"Owed in credits, {currency.upper()}", prices.words(owed, currency), "received and not earned yet")
            for currency, owed in found.liability.items()
        ),
        *(
            Figure(
                f"Earned this month, {month.currency.upper()}",
                signed(month.recognised, month.currency),
                f"sold {prices.words(month.sold, month.currency)}",
            )
            for month in this_month
        ),
        Figure("Paid credits outstanding", credits.display(found.paid), _soon(found.expiring_paid, soon)),
        Figure(
            "Promotional and free ones", credits.display(found.promotional), _soon(found.expiring_promotional, soon)
        ),
    ]


def _soon(expiring: int, soon: str) -> str:
    return f"{credits.display(expiring)} expire {soon}" if expiring else f"none expire {soon}"


def _months(found: revenue.Figures) -> list[Section]:
    """A table for each currency; one that says so where nothing was ever sold."""
    headers = ("Month", "Owed before", "Sold", "Given back", "Earned", "Owed after")
    if not found.liability:
        return [Section("By month", headers, empty="Nothing was sold yet.")]
    return [
        Section(
            f"By month, {currency.upper()}",
            headers,
            [
                [
                    _named(month.starts_on),
                    signed(month.opening, currency),
                    signed(month.sold, currency),
                    signed(month.given_back, currency),
                    signed(month.recognised, currency),
                    signed(month.closing, currency),
                ]
                for month in _since_the_first(found, currency)
            ],
            numbers=frozenset(range(1, 6)),
        )
        for currency in found.liability
    ]


def _since_the_first(found: revenue.Figures, currency: str) -> list[revenue.Month]:
    """The currency's months, newest first, without those before anything was sold in it."""
    months = [month for month in found.months if month.currency == currency]
    while len(months) > 1 and not (months[-1].closing or months[-1].sold or months[-1].opening):
        months.pop()
    return months


def _breakage(found: revenue.Figures) -> Section:
    return Section(
        "Paid credits that expired unspent",
        ("Month", "Credits"),
        [[_named(month), money(lost)] for month, lost in found.breakage.items() if lost],
        empty="None in these months.",
        numbers=frozenset({1}),
    )


def _named(month: date) -> str:
    return f"{month:%B %Y}"
