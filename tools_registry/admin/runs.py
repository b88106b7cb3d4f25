"""The runs of studio tools as staff see them: what each used, what it cost, and how it ended. Never what was made."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from billing import credits
from billing.admin.parts import NOTHING, Figure, ReadOnly, code, document, link, money, text, when
from billing.models import Account, Entry, Hold
from tools_registry import explain, registry
from tools_registry.models import ToolRun

from .tools import run_tag


@admin.register(ToolRun)
class ToolRunAdmin(ReadOnly):
    """Newest first. Results and inputs are their owner's, so they are not shown."""

    list_display = ("tool_shown", "state_shown", "charged_shown", "used_shown", "account_shown", "created")
    list_filter = ("state", "stopped_by")
    ordering = ("-id",)
    word_fields = ("tool", "owner")
    search_help_text = "A tool’s whole name, an id, or whom it was run for (user:7)"
    fields = (
        "id_shown",
        "tool_shown",
        "state_shown",
        "account_shown",
        "user",
        "actor",
        "hold_shown",
        "entry_shown",
        "estimate_shown",
        "charged_shown",
        "used_shown",
        "wrong_shown",
        "created",
        "ended",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("account").defer("result", "view", "inputs")

    def heading(self, row: Any) -> str:
        tool = registry.TOOLS.get(row.tool)
        return f"A run of {tool.title if tool is not None else row.tool}"

    def figures(self, row: Any) -> list[Figure]:
        return [
            Figure("Held", money(row.estimate_max), "the price at its hard limits"),
            Figure("Charged", money(row.charged_amount)),
            Figure("Processor time", "–" if row.cpu_seconds is None else f"{row.cpu_seconds:.2f} s"),
            Figure("Memory", "–" if row.peak_memory_bytes is None else explain.size(row.peak_memory_bytes)),
        ]

    @display(description="Id")
    def id_shown(self, row: Any) -> Any:
        return code(row.id)

    @display(description="Tool")
    def tool_shown(self, row: Any) -> str:
        return text(row.tool)

    @display(description="State")
    def state_shown(self, row: Any) -> Any:
        return run_tag(row)

    @display(description="Account")
    def account_shown(self, row: Any) -> Any:
        return link(Account, row.account_id, str(row.account))

    @display(description="Hold")
    def hold_shown(self, row: Any) -> Any:
        return link(Hold, row.hold_id)

    @display(description="Line")
    def entry_shown(self, row: Any) -> Any:
        return link(Entry, row.entry_id) if row.entry_id else NOTHING

    @display(description="Estimate")
    def estimate_shown(self, row: Any) -> Any:
        least, most, usual = map(credits.display, (row.estimate_min, row.estimate_max, row.estimate_typical))
        return f"{least} to {most}, usually {usual}"

    @display(description="Charged")
    def charged_shown(self, row: Any) -> Any:
        return money(row.charged_amount)

    @display(description="Used")
    def used_shown(self, row: Any) -> Any:
        if row.cpu_seconds is None:
            return NOTHING
        memory = explain.size(row.peak_memory_bytes)
        return f"{row.cpu_seconds:.2f} s CPU, {memory}, {row.wall_seconds:.2f} s in all"

    @display(description="Wrong inputs")
    def wrong_shown(self, row: Any) -> Any:
        return document(row.wrong) if row.wrong else NOTHING

    @display(description="Started")
    def created(self, row: Any) -> Any:
        return when(row.created_at)

    @display(description="Ended")
    def ended(self, row: Any) -> Any:
        return when(row.ended_at)
