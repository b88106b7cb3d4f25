"""Which provider runs which operation: its order, whether it is offered, why it cannot be, and how it fares.

A route is a switch, not a price: one person changes it, and the audit trail says who and why. It counts for new jobs;
what is under way stays where it is.
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections import Counter
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.module_loading import import_string
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextareaWidget

from billing import audit, clock, errors
from billing.admin.acts import ActForm, StaffAct, WithActs, choice
from billing.admin.money import by
from billing.admin.parts import (
    NOTHING,
    Figure,
    ReadOnly,
    Section,
    code,
    document,
    lines,
    link,
    listing,
    tag,
    yes_or_no,
)
from generations import providers, routes
from generations.models import Circuit, Generation, Route
from generations.providers import graphs
from generations.providers.base import NotOffered, Provider
from tools_registry import registry

from .desk import first_id_of
from .jobs import circuit_cell

# What a provider can do, and what that means for a job.
CAPABILITIES = (
    ("is_real", "an outside provider, whose bill is real money", "runs here, without a bill"),
    ("has_idempotent_submit", "a second submit never makes a second job", ""),
    ("has_lookup", "can be asked by our id whether it has a job", "a doubtful submission waits for its hold to end"),
    ("has_cancel", "can stop a job", "cannot stop a job"),
    ("has_progress", "tells how far it is", ""),
    ("has_callbacks", "calls us when a job ends", ""),
    ("has_graphs", "runs a graph for each operation, which you can edit", ""),
)


def provider_class(name: str) -> type[Provider] | None:
    """What a provider's file says of it, also where it is not set up; None where there is no such file any more."""
    path = providers.PROVIDERS.get(name)
    return import_string(path) if path is not None else None


def title_of(name: str) -> str:
    of = provider_class(name)
    return of.title if of is not None else name


def why_not(operation: str, name: str) -> str:
    """Why the provider cannot run the operation here; empty where it can."""
    of = provider_class(name)
    if of is None:
        return "There is no provider of that name any more."
    try:
        provider = providers.get(name)
    except NotOffered as missing:
        return f"Not set up here: {missing}"
    return "" if operation in provider.operations else f"{provider.title} does not run {operation}."


def capabilities(name: str) -> list[str]:
    """What the provider can do, in words; of one that is not set up here, what it can do wherever it is."""
    of: Any = provider_class(name)
    try:
        of = providers.get(name)
    except NotOffered:
        return [can for flag, can, _ in CAPABILITIES if getattr(of, flag, False) is True]
    return [words for flag, can, cannot in CAPABILITIES if (words := can if getattr(of, flag) else cannot)]


def is_graphed(route: Any) -> bool:
    of = provider_class(route.provider)
    return of is not None and of.has_graphs


# Acts


def _of_operation(operation: str) -> list[Route]:
    return list(Route.objects.filter(operation=operation).order_by("position", "provider"))


def _order(rows: list[Route]) -> str:
    """The providers that are offered, the default one first; those that are not set up here say so."""
    offered = [(title_of(row.provider), why_not(row.operation, row.provider)) for row in rows if row.is_offered]
    order = ", then ".join(f"{title} (not set up here)" if why else title for title, why in offered)
    return order if any(not why for _, why in offered) else f"nobody: it cannot be started. {order}".strip()


class NothingToChange(errors.BillingError):
    code = "nothing_to_change"
    sentence = "It is so already."
    reason = "Somebody did it before."
    action = "Nothing is left to do."


class OnRoute(StaffAct):
    """An act on a route. Everything is decided again with the operation's routes locked."""

    permission = "generations.change_route"

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        return {"route": str(row.pk)}

    @abstractmethod
    def change(self, route: Route, rows: list[Route], instruction: dict[str, Any]) -> None:
        """The rows of the operation as they will be; nothing is saved. Raises NothingToChange."""

    def now(self, row: Any) -> list[Figure]:
        return [
            Figure("Operation", row.operation),
            Figure("Provider", title_of(row.provider)),
            Figure("Offered", yes_or_no(row.is_offered)),
            Figure("Can run here", "no" if why_not(row.operation, row.provider) else "yes"),
        ]

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        route = Route.objects.get(id=instruction["route"])
        before = _order(_of_operation(route.operation))
        rows = _of_operation(route.operation)
        self.change(next(row for row in rows if row.pk == route.pk), rows, instruction)
        after = _order(sorted(rows, key=lambda row: (row.position, row.provider)))
        return [(f"Who runs {route.operation}", before, after)]

    def carry_out(self, request: HttpRequest, row: Any, cleaned: dict[str, Any]) -> str:
        instruction = self.instruction(row, cleaned)
        with transaction.atomic():
            rows = list(
                Route.objects.filter(operation=row.operation).order_by("position", "provider").select_for_update()
            )
            route = next(one for one in rows if one.pk == row.pk)
            before = _order(rows)
            self.change(route, rows, instruction)
            for one in rows:
                one.save(update_fields=["position", "is_offered", "graph"])
            audit.record(
                self.name,
                actor=by(request.user),
                subject=f"route:{route.pk}",
                facts={
                    "reason": cleaned["reason"],
                    "operation": route.operation,
                    "provider": route.provider,
                    "before": before,
                    "after": _order(sorted(rows, key=lambda one: (one.position, one.provider))),
                    # Each graph stands in the trail, so that an earlier one can be had back.
                    **({"graph": route.graph} if "graph" in self.name else {}),
                },
            )
        routes.forget()
        return self.done


class PutFirst(OnRoute):
    name, title, icon = "put_first", "Put first", "vertical_align_top"
    sentence = "New jobs of this operation go to this provider, unless their person chooses another."
    done = "It is the first one now."

    def is_offered(self, row: Any) -> bool:
        return bool(_of_operation(row.operation)[0].pk != row.pk)

    def change(self, route: Route, rows: list[Route], instruction: dict[str, Any]) -> None:
        if rows[0].pk == route.pk:
            raise NothingToChange
        others = [row for row in rows if row.pk != route.pk]
        for place, row in enumerate([route, *others]):
            row.position = 10 * (1 + place)


class Offer(OnRoute):
    name, title, icon = "offer", "Offer", "toggle_on"
    sentence = "People may choose this provider for this operation, as soon as it is set up here."
    done = "It is offered."
    is_on = True

    def is_offered(self, row: Any) -> bool:
        return row.is_offered is not self.is_on

    def change(self, route: Route, rows: list[Route], instruction: dict[str, Any]) -> None:
        if route.is_offered is self.is_on:
            raise NothingToChange
        route.is_offered = self.is_on


class StopOffering(Offer):
    name, title, icon = "stop_offering", "Stop offering", "toggle_off"
    sentence = "No new job of this operation goes to this provider. What is under way there goes on."
    done = "It is not offered any more."
    is_dangerous = True
    is_on = False


class RouteKnown(errors.BillingError):
    code = "route_known"
    sentence = "This provider stands under that operation already."
    reason = "A provider has one route for each operation."
    action = "Open it, and offer it or put it first there."


class RouteForm(ActForm):
    route = choice("Who, for what", [])

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        known = set(Route.objects.values_list("operation", "provider"))
        field: Any = self.fields["route"]
        field.choices = [
            (f"{slug} {name}", f"{title_of(name)} for {operation.title} ({slug})")
            for slug, operation in registry.OPERATIONS.items()
            for name in sorted(providers.PROVIDERS)
            if (slug, name) not in known and not why_not(slug, name)
        ]
        field.help_text = "Providers that are set up here, and what they can run." if field.choices else NO_MORE


NO_MORE = "Every provider that is set up here stands under everything that it can run."


class AddRoute(StaffAct):
    name, title, icon = "add_route", "Add a provider to an operation", "add_circle"
    sentence = "The provider is offered for the operation, after those that are there."
    permission = "generations.change_route"
    form = RouteForm
    done = "It is offered, as the last one."

    def back(self, row: Any) -> str:
        return reverse("admin:generations_route_changelist")

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        operation, provider = cleaned["route"].split(" ")
        return {"operation": operation, "provider": provider}

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        rows = _of_operation(instruction["operation"])
        after = _order([*rows, Route(**instruction)])
        return [(f"Who runs {instruction['operation']}", _order(rows), after)]

    def carry_out(self, request: HttpRequest, row: Any, cleaned: dict[str, Any]) -> str:
        instruction = self.instruction(row, cleaned)
        with transaction.atomic():
            rows = list(Route.objects.filter(operation=instruction["operation"]).select_for_update())
            last = max((one.position for one in rows), default=0)
            route, is_new = Route.objects.get_or_create(**instruction, defaults={"position": last + 10})
            if not is_new:
                raise RouteKnown
            facts = {"reason": cleaned["reason"], **instruction, "after": _order([*rows, route])}
            audit.record(self.name, actor=by(request.user), subject=f"route:{route.pk}", facts=facts)
        routes.forget()
        return self.done


UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def _unstorable(value: Any) -> list[str]:
    """Characters that JSON can write and the database cannot keep, in keys or in values."""
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list):
        return next((found for part in value if (found := _unstorable(part))), [])
    is_bad = isinstance(value, str) and UNSTORABLE.search(value) is not None
    return ["The graph has a character that cannot be stored."] if is_bad else []


class GraphForm(ActForm):
    graph = forms.CharField(
        label="Graph",
        max_length=graphs.BYTES_MAX,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 24, "class": "code-field", "spellcheck": "false"}),
        help_text=format_html(
            "JSON, as the provider’s own editor exports it for its API. What may stand in it, each as a whole value:{}",
            format_html_join(
                "", "<br>{{{{{}}}}} {}", ((name, sentence) for name, sentence in graphs.PLACEHOLDERS.items())
            ),
        ),
    )

    def clean_graph(self) -> dict[str, Any]:
        try:
            graph = json.loads(self.cleaned_data["graph"])
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(f"This is not readable as JSON: {error}") from error
        try:
            wrong = graphs.check_graph(self.row.operation, graph) or _unstorable(graph)
        except RecursionError:
            wrong = ["The graph is nested too deeply."]
        if wrong:
            raise forms.ValidationError(wrong)
        found: dict[str, Any] = graph
        return found


class EditGraph(OnRoute):
    name, title, icon = "edit_graph", "Edit the graph", "account_tree"
    sentence = "Whatever is submitted from now on runs this graph at this provider. Jobs that it has go on as they are."
    done = "New jobs run this graph."
    form = GraphForm

    def is_offered(self, row: Any) -> bool:
        return is_graphed(row)

    def initial(self, row: Any) -> dict[str, Any]:
        """What is in place; the shipped one to begin with."""
        graph = row.graph if row.graph is not None else _shipped(row.operation)
        return {"graph": json.dumps(graph, indent=2, ensure_ascii=False)} if graph is not None else {}

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        return super().instruction(row, cleaned) | {"graph": cleaned["graph"]}

    def change(self, route: Route, rows: list[Route], instruction: dict[str, Any]) -> None:
        if route.graph == instruction["graph"]:
            raise NothingToChange
        route.graph = instruction["graph"]

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        route = Route.objects.get(id=instruction["route"])
        self.change(Route(graph=route.graph), [], instruction)
        return [("Graph", nodes(route.graph), nodes(instruction["graph"]))]


class UseShippedGraph(EditGraph):
    name, title, icon = "shipped_graph", "Use the shipped graph", "restart_alt"
    sentence = "The graph of staff is put aside; whatever is submitted from now on runs the one that Holdfast ships."
    done = "New jobs run the shipped graph."
    form = ActForm

    def is_offered(self, row: Any) -> bool:
        return row.graph is not None

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        return {"route": str(row.pk), "graph": None}


def _shipped(operation: str) -> dict[str, Any] | None:
    try:
        return graphs.shipped(operation)
    except OSError:
        return None


def nodes(graph: Any) -> str:
    """A graph in a few words."""
    return "the shipped one" if graph is None else f"yours, {len(graph)} node{'s' * (len(graph) != 1)}"


# The page


class Traffic:
    """What is under way and what failed, by operation and provider; two queries for the whole page."""

    def __init__(self) -> None:
        day = clock.now() - timedelta(days=1)
        under_way = Generation.objects.filter(credits_charged=None)
        ended = Generation.objects.filter(
            id__gte=first_id_of(day - timedelta(days=40)), ended_at__gte=day, state="failed", credits_charged=False
        )
        self.under_way = self._counted(under_way)
        self.failures = self._counted(ended)

    @staticmethod
    def _counted(rows: Any) -> Counter[tuple[str, str]]:
        counts = rows.order_by().values_list("operation", "provider").annotate(count=Count("id"))
        return Counter({(operation, provider): count for operation, provider, count in counts})

    def at(self, counts: Counter[tuple[str, str]], provider: str) -> int:
        return sum(count for (_, name), count in counts.items() if name == provider)


def _number(count: int, **filters: Any) -> Any:
    if not count:
        return format_html('<span class="n quiet">{}</span>', 0)
    return format_html('<a class="row-link n" href="{}">{}</a>', listing(Generation, **filters), f"{count:,}")


@admin.register(Route)
class RouteAdmin(WithActs, ReadOnly):
    """Who runs what: for each operation its providers in order, whether each is offered, and how it fares."""

    acts = (PutFirst(), Offer(), StopOffering(), EditGraph(), UseShippedGraph())
    list_acts = (AddRoute(),)
    ordering = ("operation", "position", "provider")
    list_display = ("operation", "provider", "position", "is_offered")
    word_fields = ("operation", "provider")
    fields = (
        "operation",
        "provider_shown",
        "place_shown",
        "offered_shown",
        "can_shown",
        "circuit_shown",
        "graph_shown",
    )

    def heading(self, row: Any) -> str:
        return f"{title_of(row.provider)} for {row.operation}"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The operations with their routes, and the providers, on one page."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        traffic = Traffic()
        circuits = Circuit.objects.in_bulk()
        of_operation: dict[str, list[Route]] = {slug: [] for slug in registry.OPERATIONS}
        for route in Route.objects.order_by("operation", "position", "provider"):
            of_operation.setdefault(route.operation, []).append(route)
        context = {
            **self.admin_site.each_context(request),
            "title": "Providers",
            "acts": self.buttons(request, None),
            "sections": [
                *(_operation_section(slug, rows, circuits, traffic) for slug, rows in of_operation.items()),
                _providers_section(of_operation, circuits, traffic),
            ],
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/providers.html", context)

    @display(description="Provider")
    def provider_shown(self, row: Any) -> Any:
        return format_html("{} {}", title_of(row.provider), code(row.provider))

    @display(description="Place")
    def place_shown(self, row: Any) -> str:
        rows = _of_operation(row.operation)
        return f"{[one.pk for one in rows].index(row.pk) + 1} of {len(rows)}"

    @display(description="Offered")
    def offered_shown(self, row: Any) -> Any:
        return offered_cell(row)

    @display(description="What it can do")
    def can_shown(self, row: Any) -> Any:
        return lines(f"{words[0].upper()}{words[1:]}." for words in capabilities(row.provider))

    @display(description="Circuit")
    def circuit_shown(self, row: Any) -> Any:
        return circuit_cell(Circuit.objects.filter(provider=row.provider).first())

    @display(description="Graph")
    def graph_shown(self, row: Any) -> Any:
        if not is_graphed(row):
            return NOTHING
        if row.graph is not None:
            return document(row.graph)
        return lines(("The one that Holdfast ships:", document(_shipped(row.operation))))

    def figures(self, row: Any) -> list[Figure]:
        traffic, at = Traffic(), (row.operation, row.provider)
        of = {"operation": row.operation, "provider": row.provider}
        return [
            Figure("Jobs under way", _number(traffic.under_way[at], staff="unsettled", **of)),
            Figure("Failures in 24 hours", _number(traffic.failures[at], state__exact="failed", **of)),
        ]

    def warnings(self, row: Any) -> list[str]:
        why = why_not(row.operation, row.provider)
        return [why] if why else []


def offered_cell(route: Any) -> Any:
    """Whether people may choose it, and why not."""
    why = why_not(route.operation, route.provider)
    if not route.is_offered:
        return lines((tag("not offered"), why)) if why else tag("not offered")
    return lines((tag("cannot be offered", "wait"), why)) if why else tag("offered", "ok")


def _operation_section(slug: str, rows: list[Route], circuits: dict[str, Circuit], traffic: Traffic) -> Section:
    operation = registry.OPERATIONS.get(slug)
    title = f"{operation.title} ({slug})" if operation is not None else f"{slug}, which nobody can ask for any more"
    able = [row.pk for row in rows if row.is_offered and not why_not(slug, row.provider)]
    cells = [
        [
            link(row, words=title_of(row.provider)),
            tag("default", "ok") if row.pk in able[:1] else format_html('<span class="n">{}.</span>', place),
            offered_cell(row),
            circuit_cell(circuits.get(row.provider)),
            _number(traffic.under_way[slug, row.provider], staff="unsettled", operation=slug, provider=row.provider),
            _number(traffic.failures[slug, row.provider], state__exact="failed", operation=slug, provider=row.provider),
        ]
        for place, row in enumerate(rows, 1)
    ]
    return Section(
        title if able else f"{title}: nobody runs it",
        ("Provider", "Place", "Offered", "Circuit", "Under way", "Failed in 24 h"),
        cells,
        empty="No provider stands under it. Add one, or name one in DEFAULT_PROVIDERS and run `install_catalogue`.",
        numbers=frozenset({4, 5}),
    )


def _providers_section(of_operation: dict[str, list[Route]], circuits: dict[str, Circuit], traffic: Traffic) -> Section:
    routed = {row.provider for rows in of_operation.values() for row in rows}
    rows = []
    for name in sorted(routed | set(providers.PROVIDERS)):
        of = provider_class(name)
        missing = why_not("", name) if of is None else _missing(name)
        rows.append(
            [
                lines((title_of(name), code(name))),
                lines((tag("not set up", "wait"), missing)) if missing else tag("set up", "ok"),
                lines(f"{words[0].upper()}{words[1:]}." for words in capabilities(name)),
                circuit_cell(circuits.get(name)),
                _number(traffic.at(traffic.under_way, name), staff="unsettled", provider=name),
                _number(traffic.at(traffic.failures, name), state__exact="failed", provider=name),
            ]
        )
    return Section(
        "All providers",
        ("Provider", "Here", "What it can do", "Circuit", "Under way", "Failed in 24 h"),
        rows,
        numbers=frozenset({4, 5}),
    )


def _missing(name: str) -> str:
    """What a provider lacks here; empty where it is set up."""
    try:
        providers.get(name)
    except NotOffered as missing:
        return str(missing)
    return ""
