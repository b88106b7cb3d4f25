"""The studio's tools as staff see them: how each does, and the switches that decide who may run it.

A switch is no price: one person turns it, and the audit trail says who and why. It counts for new runs.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from unfold.decorators import display

from billing import audit, clock, errors
from billing.admin.acts import ActForm, StaffAct, WithActs, choice
from billing.admin.money import by
from billing.admin.parts import (
    NOTHING,
    Figure,
    ReadOnly,
    Section,
    code,
    in_time,
    lines,
    link,
    listing,
    money,
    tag,
    text,
    when,
)
from billing.models import Plan
from tools_registry import coverage, figures, registry, usual
from tools_registry.figures import Fared
from tools_registry.models import ToolCost, ToolRun, ToolSwitch, Usual
from tools_registry.studio import STUDIOS, Tool
from tools_registry.usual import Drift

DRIFTED_PERCENT = 20  # from here on a drift is shown as a warning


class NothingToChange(errors.BillingError):
    code = "nothing_to_change"
    sentence = "It is so already."
    reason = "Somebody did it before."
    action = "Nothing is left to do."


def tool_of(row: Any) -> Tool | None:
    """The switch's tool; None where there is no such tool any more."""
    return registry.TOOLS.get(row.pk)


class OnSwitch(StaffAct):
    """An act on a tool's switch, decided again with its row locked."""

    permission = "tools_registry.change_toolswitch"

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        return {"tool": row.pk}

    @abstractmethod
    def change(self, row: ToolSwitch, instruction: dict[str, Any]) -> None:
        """The row as it will be; nothing is saved. Raises NothingToChange."""

    def now(self, row: Any) -> list[Figure]:
        return [Figure("Tool", row.pk), Figure("Who may run it", who(row))]

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        row = ToolSwitch.objects.get(pk=instruction["tool"])
        before = who(row)
        self.change(row, instruction)
        return [("Who may run it", before, who(row))]

    def carry_out(self, request: HttpRequest, row: Any, cleaned: dict[str, Any]) -> str:
        instruction = self.instruction(row, cleaned)
        with transaction.atomic():
            switch = ToolSwitch.objects.select_for_update(no_key=True).get(pk=row.pk)
            before = who(switch)
            self.change(switch, instruction)
            switch.reason, switch.changed_by, switch.changed_at = cleaned["reason"][:300], request.user, clock.now()
            switch.save()
            facts = {"reason": cleaned["reason"], "tool": row.pk, "before": before, "after": who(switch)}
            audit.record(self.name, actor=by(request.user), subject=f"tool:{row.pk}", facts=facts)
        return self.done


class SwitchOff(OnSwitch):
    name, title, icon = "switch_off", "Switch off", "toggle_off"
    sentence = "Nobody starts this tool any more. What runs ends as it would; what was made can still be seen."
    done = "It is switched off."
    is_dangerous = True
    is_on = False

    def is_offered(self, row: Any) -> bool:
        return row.is_enabled is not self.is_on

    def change(self, row: ToolSwitch, instruction: dict[str, Any]) -> None:
        if row.is_enabled is self.is_on:
            raise NothingToChange
        row.is_enabled = self.is_on


class SwitchOn(SwitchOff):
    name, title, icon = "switch_on", "Switch on", "toggle_on"
    sentence = "The tool can be run again, by those whom its other switches let."
    done = "It is switched on."
    is_dangerous = False
    is_on = True


class BeginBeta(OnSwitch):
    name, title, icon = "begin_beta", "Only for its testers", "science"
    sentence = "Only people with the permission “Can use tools that are in beta” may run it."
    done = "It is in beta."
    is_beta = True

    def is_offered(self, row: Any) -> bool:
        return row.is_beta is not self.is_beta

    def change(self, row: ToolSwitch, instruction: dict[str, Any]) -> None:
        if row.is_beta is self.is_beta:
            raise NothingToChange
        row.is_beta = self.is_beta


class EndBeta(BeginBeta):
    name, title, icon = "end_beta", "For everybody", "group"
    sentence = "Its beta ends: everybody whom its other switches let may run it."
    done = "It is for everybody."
    is_beta = False


class PlanForm(ActForm):
    plan = choice("The least plan that it comes with", [])

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        plans = Plan.objects.order_by("price_minor", "position")
        field: Any = self.fields["plan"]
        field.required = False
        field.choices = [("", "Every plan, and none"), *((plan.slug, plan.title) for plan in plans)]
        field.help_text = "A plan that costs as much or more includes it too."


class ChoosePlan(OnSwitch):
    name, title, icon = "choose_plan", "Choose its least plan", "event_repeat"
    sentence = "Accounts on a smaller plan, or on none, are told which plan includes it."
    done = "Its plan was changed."
    form = PlanForm

    def initial(self, row: Any) -> dict[str, Any]:
        return {"plan": row.plan_least}

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        return {"tool": row.pk, "plan": cleaned["plan"]}

    def change(self, row: ToolSwitch, instruction: dict[str, Any]) -> None:
        if row.plan_least == instruction["plan"]:
            raise NothingToChange
        row.plan_least = instruction["plan"]


def who(row: Any) -> str:
    """Who may run the tool, in words."""
    if not row.is_enabled:
        return "nobody: it is switched off"
    people = "people who test what is in beta" if row.is_beta else "everybody"
    return f"{people} with the plan {row.plan_least} or a larger one" if row.plan_least else people


# The page

TOO_MANY = (
    "There are too many runs to count all of it in a page. Call manage.py coverage, where nothing is cut off; what is "
    "missing here was not counted."
)


def _lately() -> tuple[dict[str, Fared] | None, dict[str, Drift] | None]:
    """How each tool fared and how its cost drifts; None for what could not be counted in time."""
    now = clock.now()
    return in_time(partial(figures.by_tool, now), "tools"), in_time(partial(usual.drifts, now), "drifts")


def _percent(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:.{digits}f} %"


def drift_cell(drift: Drift | None) -> Any:
    """By how much the median charge of the last week differs from before."""
    percent = drift.percent if drift is not None else None
    if percent is None:
        return NOTHING
    words = f"{percent:+.0f} %".replace("-", "−")
    return tag(words, "wait") if abs(percent) >= DRIFTED_PERCENT else format_html('<span class="n">{}</span>', words)


@admin.register(ToolSwitch)
class ToolSwitchAdmin(WithActs, ReadOnly):
    """Every tool by its studio: who may run it, what it earned, how often it failed, and how its cost drifts."""

    acts = (SwitchOff(), SwitchOn(), BeginBeta(), EndBeta(), ChoosePlan())
    list_display = ("tool", "who_shown")
    ordering = ("tool",)
    id_fields = ()
    word_fields = ("tool",)
    fields = ("tool", "who_shown", "mode_shown", "limits_shown", "price_shown", "reason_shown", "changed_by", "changed")

    def heading(self, row: Any) -> str:
        tool = tool_of(row)
        return tool.title if tool is not None else f"{row.pk}, which is not there any more"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The studios with their tools, and how far the catalogue is covered, on one page."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        fared, drifts = _lately()
        rows, covered = ToolSwitch.objects.in_bulk(), in_time(coverage.look, "coverage")
        context = {
            **self.admin_site.each_context(request),
            "title": "Tools",
            "warnings": [] if covered is not None and fared is not None and drifts is not None else [TOO_MANY],
            "figures": _sums(fared) if fared is not None else [],
            "sections": [
                *_left_out(),
                *(_studio(slug, title, rows, fared or {}, drifts or {}) for slug, title in STUDIOS.items()),
                *([_coverage(covered)] if covered is not None else []),
            ],
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/tools.html", context)

    def figures(self, row: Any) -> list[Figure]:
        fared, drifts = _lately()
        if fared is None or drifts is None:
            return []
        of = fared.get(row.pk, Fared())
        return [
            Figure("Runs in 30 days", f"{of.runs:,}", f"{of.people:,} people" if of.people else "nobody yet"),
            Figure("Charged in 30 days", money(of.charged)),
            Figure("Failed", _percent(of.failed_percent, 1), "stopped by a limit or a fault"),
            Figure("Half end within", "–" if of.median_seconds is None else f"{of.median_seconds:.2f} s"),
            Figure("Drift", drift_cell(drifts.get(row.pk)), "the last week’s median beside before"),
        ]

    def warnings(self, row: Any) -> list[str]:
        tool = tool_of(row)
        if tool is None:
            return ["No module declares this tool any more. What was run of it stays on its accounts’ statements."]
        return []

    def sections(self, request: HttpRequest, row: Any) -> list[Section]:
        learned = Usual.objects.filter(tool=row.pk).order_by("bucket")
        newest = ToolRun.objects.filter(tool=row.pk).defer("result", "view").order_by("-id")[:10]
        return [
            Section(
                "What it usually costs, by the size of its inputs",
                ("Inputs up to", "Runs", "One in ten below", "Half below", "95 in 100 below", "Counted"),
                [
                    [
                        _bytes(4**one.bucket),
                        f"{one.runs:,}",
                        *(money(cost) for cost in (one.p10, one.p50, one.p95)),
                        when(one.counted_at),
                    ]
                    for one in learned
                ],
                empty="Nothing was learned yet: it is counted every hour from the runs of the last 90 days.",
                numbers=frozenset({0, 1, 2, 3, 4}),
            ),
            Section(
                "Its last runs",
                ("Run", "State", "Charged", "Ended"),
                [[link(run), run_tag(run), money(run.charged_amount), when(run.ended_at)] for run in newest],
                all_url=listing(ToolRun, tool=row.pk),
                empty="It was never run.",
                numbers=frozenset({2}),
            ),
        ]

    @display(description="Who may run it")
    def who_shown(self, row: Any) -> Any:
        return tag(who(row), "" if not row.is_enabled else "wait" if row.is_beta else "ok")

    @display(description="Mode")
    def mode_shown(self, row: Any) -> Any:
        tool = tool_of(row)
        return f"{Tool.MODES[tool.mode]}, {tool.risk} risk" if tool is not None else NOTHING

    @display(description="Hard limits")
    def limits_shown(self, row: Any) -> Any:
        tool = tool_of(row)
        if tool is None or tool.limits is None:
            return NOTHING
        of = tool.limits
        return lines(
            (
                f"{of.cpu_seconds} s of processor time, {of.seconds} s in all",
                f"{of.memory_mb:,} MB of memory, a result of {of.output_bytes // 1024:,} KiB",
            )
        )

    @display(description="Price")
    def price_shown(self, row: Any) -> Any:
        cost = ToolCost.objects.in_force(row.pk, clock.now())
        if cost is None:
            return NOTHING
        page = f"{reverse('admin:tools_registry_toolcost_price')}?{urlencode({'tool': row.pk})}"
        return format_html(
            '{} · <a class="row-link" href="{}">New price</a>', link(cost, words=cost.note or "in force"), page
        )

    @display(description="Why")
    def reason_shown(self, row: Any) -> str:
        return text(row.reason)

    @display(description="Changed")
    def changed(self, row: Any) -> Any:
        return when(row.changed_at)


def run_tag(run: ToolRun) -> Any:
    """How a run ended."""
    if run.stopped_by:
        return tag(f"stopped: {run.get_stopped_by_display()}", "bad")
    if run.is_kept_back:
        return tag("kept back: credits are owed", "wait")
    return tag(run.state, {"succeeded": "ok", "running": "wait"}.get(run.state, ""))


def _bytes(size: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:,} {unit}"
        size //= 1024
    return f"{size:,} GiB"


def _sums(fared: dict[str, Fared]) -> list[Figure]:
    ended = sum(of.succeeded + of.stopped for of in fared.values())
    stopped = sum(of.stopped for of in fared.values())
    return [
        Figure("Runs in 30 days", f"{sum(of.runs for of in fared.values()):,}"),
        Figure("Charged in 30 days", money(sum(of.charged for of in fared.values()))),
        Figure("Failed", _percent(stopped * 100 / ended if ended else None, 1), "stopped by a limit or a fault"),
    ]


def _studio(
    slug: str, title: str, rows: dict[Any, ToolSwitch], fared: dict[str, Fared], drifts: dict[str, Drift]
) -> Section:
    cells = []
    for tool in registry.TOOLS.values():
        if tool.studio != slug:
            continue
        row, of = rows.get(tool.slug), fared.get(tool.slug, Fared())
        cells.append(
            [
                link(row, words=tool.title) if row is not None else tool.title,
                lines((Tool.MODES[tool.mode], f"at most {tool.credits_max} credits" if tool.credits_max else "free")),
                tag("everybody", "ok") if row is None else who_tag(row),
                f"{of.runs:,}",
                money(of.charged) if of.charged else NOTHING,
                _percent(of.failed_percent, 1),
                drift_cell(drifts.get(tool.slug)),
            ]
        )
    return Section(
        title,
        ("Tool", "Where", "Who", "Runs in 30 days", "Charged", "Failed", "Drift"),
        cells,
        empty="No tool of this studio is installed.",
        numbers=frozenset({3, 4, 5, 6}),
    )


def _left_out() -> list[Section]:
    """The modules that could not be loaded, and why; no section where every one could."""
    rows = [[code(module), text(why)] for module, why in registry.BROKEN.items()]
    return [Section("Tools that could not be loaded", ("Module", "Why"), rows)] if rows else []


def who_tag(row: ToolSwitch) -> Any:
    """Who may run it, in a few words."""
    if not row.is_enabled:
        return tag("switched off", "bad")
    if row.is_beta:
        return tag("testers", "wait")
    return tag(f"from {row.plan_least}", "wait") if row.plan_least else tag("everybody", "ok")


def _coverage(found: coverage.Coverage) -> Section:
    def names(slugs: list[str]) -> Any:
        return lines(code(slug) for slug in slugs) if slugs else NOTHING

    return Section(
        "Coverage: does everything that can be run earn its credits?",
        ("", "How many", "Which"),
        [
            ["In the catalogue and never charged", len(found.never_charged), names(found.never_charged)],
            ["Runs without their charge", found.without_charge, NOTHING],
            ["Runs without their hold", found.without_hold, NOTHING],
            ["Prices without a tool", len(found.prices_without_tool), names(found.prices_without_tool)],
            ["Tools without a price", len(found.tools_without_price), names(found.tools_without_price)],
        ],
        numbers=frozenset({1}),
    )
