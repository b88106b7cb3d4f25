"""The price list as staff see it. A price is never edited: a new version is added with its date, by two people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from itertools import product
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import BooleanField, ExpressionWrapper, OuterRef, Q, Subquery
from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils.html import format_html
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextareaWidget

from billing import approvals, clock, credits, errors
from billing.admin.acts import ActForm, StaffAct, WithActs, choice, moment, tick, words
from billing.admin.parts import (
    Figure,
    ReadOnly,
    Section,
    code,
    document,
    money,
    moved,
    tag,
    text,
    waiting_words,
    when,
    yes_or_no,
)
from billing.models import Approval
from tools_registry import fields, pricing, registry, rehearse_price
from tools_registry.catalogue import SHIPPED_COSTS
from tools_registry.models import ToolCost
from tools_registry.studio import Tool

Priced = registry.Operation | Tool


class PriceTaken(errors.BillingError):
    code = "price_taken"
    sentence = "There is a price of that tool from that very moment already."
    reason = "A price is never edited."
    action = "Choose another date."


class RatesRefused(errors.BillingError):
    code = "invalid_rates"
    status = 422
    sentence = "These rates do not price everything that can be asked for."
    reason = "Whatever can be chosen needs its rate."
    action = "Complete the rates and ask again."


def check(slug: str, model: str, rates: Any) -> None:
    """Raises RatesRefused, naming the rate, unless everything that can be asked for has a price that can be held."""
    priced = registry.priced()[slug]
    try:
        if not isinstance(rates, dict):
            raise pricing.InvalidRates("Write the rates as a JSON object.")
        pricing.check(model, rates, _takes(priced))
        for inputs in _every_choice(priced, model):
            if pricing.estimate(model, rates, {**inputs, **_largest(priced)}).max > credits.AMOUNT_MAX:
                raise pricing.InvalidRates("One run could cost more than 1,000,000,000 credits.")
    except pricing.InvalidRates as error:
        raise RatesRefused(str(error)) from error


def _takes(priced: Priced) -> dict[str, list[str]]:
    """What a price can be made of: an operation's inputs, a tool's hard limits."""
    return {key: [] for key in priced.bounds} if isinstance(priced, Tool) else priced.takes


def _every_choice(operation: Priced, *models: str) -> Iterator[dict[str, Any]]:
    """The operation's example with every combination of those choices that one of the models makes the price of; a
    tool's hard limits.
    """
    if isinstance(operation, Tool):
        yield dict(operation.bounds)
        return
    reads = frozenset().union(*(pricing.MODELS[model].reads for model in models))
    chosen = {name: values for name, values in operation.takes.items() if values and name in reads}
    for values in product(*chosen.values()):
        yield {**operation.example, **dict(zip(chosen, values, strict=True))}


def _largest(operation: Priced) -> dict[str, Any]:
    """The operation's numbers and texts at their largest."""
    if isinstance(operation, Tool):
        return {}
    largest: dict[str, Any] = {of.name: of.max for of in operation.fields if isinstance(of, fields.Whole)}
    texts = {of.name: "\U0001f600" * of.length_max for of in operation.fields if isinstance(of, fields.Text)}
    return largest | texts


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(names) != len(set(names)):
        raise ValueError("a name stands there twice")
    return dict(pairs)


def _terms(tool: str) -> dict[str, Any]:
    """The price that the tool has now, or else the one that Holdfast ships: what a new one begins with."""
    now = ToolCost.objects.in_force(tool, clock.now())
    if now is not None:
        return {"tool": tool, "model": now.model, "rates": now.rates, "takes_free_credits": now.takes_free_credits}
    return {"tool": tool, **_shipped(tool)}


def _shipped(tool: str) -> dict[str, Any]:
    terms = ("model", "rates", "takes_free_credits")
    return next({name: one[name] for name in terms} for one in SHIPPED_COSTS if one["tool"] == tool)


class PriceForm(ActForm):
    tool = choice("Tool", [])
    model = choice("How it is priced", [(name, model.title) for name, model in pricing.MODELS.items()])
    rates = forms.CharField(
        label="Rates",
        max_length=20_000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 18, "class": "code-field", "spellcheck": "false"}),
        help_text='JSON. Credits are decimal strings, for example "0.5".',
    )
    takes_free_credits = tick(
        "Free credits pay it before a first payment",
        help_text="Plan and promotional credits, also where it costs us money. What costs us nothing they pay anyway.",
    )
    valid_from = moment(
        "Counts from",
        required=False,
        help_text="UTC. Empty, or past by the time a second person approves it: from that approval on.",
    )
    note = words("Note", required=False, max_length=300, help_text="Stands beside the price in the list.")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        of_tool: Any = self.fields["tool"]
        of_tool.choices = [(slug, f"{of.title} ({slug})") for slug, of in registry.priced().items()]
        model = pricing.MODELS.get(str(self["model"].value()))
        if model is not None:
            self.fields["rates"].help_text += f" {model.help}"
        lines = str(self["rates"].value() or "").count("\n") + 3
        self.fields["rates"].widget.attrs["rows"] = min(max(lines, 8), 24)

    def clean_valid_from(self) -> datetime | None:
        valid_from: datetime | None = self.cleaned_data["valid_from"]
        if valid_from is not None and valid_from < clock.now():
            raise forms.ValidationError("A price cannot count from the past. Choose a time that is still to come.")
        return valid_from

    def clean_rates(self) -> Any:
        try:
            return json.loads(self.cleaned_data["rates"], object_pairs_hook=_no_repeats)
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(f"This is not readable as JSON: {error}") from error

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if {"tool", "model", "rates"} <= cleaned.keys():
            try:
                check(cleaned["tool"], cleaned["model"], cleaned["rates"])
            except RatesRefused as refusal:
                shipped = _shipped(cleaned["tool"])
                self.add_error("rates", refusal.message)
                self.add_error(
                    "rates",
                    f"What Holdfast ships for it is “{pricing.MODELS[shipped['model']].title}” with "
                    f"{json.dumps(shipped['rates'])}",
                )
        valid_from = cleaned.get("valid_from")
        if valid_from and ToolCost.objects.filter(tool=cleaned.get("tool"), valid_from=valid_from).exists():
            self.add_error("valid_from", PriceTaken.sentence)
        return cleaned


def _as_written(terms: dict[str, Any]) -> dict[str, Any]:
    return {**terms, "rates": json.dumps(terms["rates"], indent=2)}


class NewPrice(StaffAct):
    name, title, icon = "price", "New price", "sell"
    sentence = (
        "A price is never edited: this adds a version that counts from its date on. What is under way keeps the price "
        "it was started with."
    )
    permission = "tools_registry.add_toolcost"
    form = PriceForm
    is_for_everyone = True

    def back(self, row: Any) -> str:
        return super().back(row) if row is not None else reverse("admin:tools_registry_toolcost_changelist")

    def initial(self, row: Any) -> dict[str, Any]:
        if row is not None:
            terms = {name: getattr(row, name) for name in ("tool", "model", "rates", "takes_free_credits")}
            return _as_written(terms)
        return _as_written(_terms(next(iter(registry.OPERATIONS))))

    def prefilled(self, query: QueryDict) -> dict[str, Any]:
        tool = query.get("tool")
        return _as_written(_terms(tool)) if tool in registry.priced() else {}

    def now(self, row: Any) -> list[Figure]:
        """Every tool's price, each a link that begins with its rates."""
        if row is not None:
            return []
        return [
            Figure(slug, format_html('<a class="row-link" href="?tool={}">Begin with its rates</a>', slug))
            for slug in registry.priced()
        ]

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        valid_from = cleaned["valid_from"]
        return {
            "tool": cleaned["tool"],
            "model": cleaned["model"],
            "rates": cleaned["rates"],
            "takes_free_credits": cleaned["takes_free_credits"],
            "valid_from": valid_from.isoformat() if valid_from else None,
            "note": cleaned["note"],
        }

    def foresee(self, instruction: dict[str, Any]) -> list[Section]:
        """What the last 30 days would have cost under it (N12)."""
        found = rehearse_price.of_last_month(
            instruction["tool"], instruction["model"], instruction["rates"], clock.now()
        )
        rows = [
            ["Charges of the last 30 days", f"{found.charges:,}", ""],
            ["They came to", money(found.before), "what was charged"],
            ["Under this price", money(found.after), f"{found.dearer:,} dearer, {found.cheaper:,} cheaper"],
            ["Difference", moved(found.after - found.before), f"the largest rise is {credits.display(found.rise_max)}"],
        ]
        if found.unpriceable:
            rows.append(["Cannot be priced so", f"{found.unpriceable:,}", "left out of the sums"])
        return [
            Section(
                "The last 30 days under this price",
                ("", "", ""),
                rows if found.charges else [],
                empty="Nothing was charged for it in the last 30 days.",
                numbers=frozenset({1}),
            )
        ]

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        """What the operation's example costs, for every choice that its price is made of."""
        operation = registry.priced()[instruction["tool"]]
        valid_from = instruction["valid_from"]
        model, rates = instruction["model"], instruction["rates"]
        now = ToolCost.objects.in_force(instruction["tool"], clock.now())
        rows: list[tuple[str, Any, Any]] = [
            (
                "Counts from",
                when(now.valid_from) if now else "–",
                when(datetime.fromisoformat(valid_from)) if valid_from else "its approval",
            ),
            (
                "Free credits pay it before a first payment",
                "–" if now is None else yes_or_no(now.takes_free_credits),
                yes_or_no(instruction.get("takes_free_credits", False)),
            ),
        ]
        models = {model, now.model} if now else {model}
        for inputs in _every_choice(operation, *models):
            named = _named(operation, inputs, models)
            usual_before, most_before = _usual_and_most(now.model, now.rates, inputs) if now else (None, None)
            usual, most = _usual_and_most(model, rates, inputs)
            if (usual_before, usual) != (most_before, most):
                rows.append((f"{named}, usually", money(usual_before), money(usual)))
                named = f"{named}, at most"
            rows.append((named, money(most_before), money(most)))
        return rows


def _named(operation: Priced, inputs: dict[str, Any], models: set[str]) -> str:
    """The inputs that the price is made of, in a few words: “4 s, standard, 1280x720”."""
    if isinstance(operation, Tool):
        return "One run"
    reads = frozenset().union(*(pricing.MODELS[model].reads for model in models))
    numbers = [
        f"{inputs[of.name]:,} {of.unit}".strip()
        for of in operation.fields
        if isinstance(of, fields.Whole) and of.name in reads
    ]
    chosen = [inputs[name] for name, values in operation.takes.items() if values and name in reads]
    return ", ".join([*numbers, *reversed(chosen)])


def _usual_and_most(model: str, rates: Any, inputs: dict[str, Any]) -> tuple[int | None, int | None]:
    try:
        estimate = pricing.estimate(model, rates, inputs)
    except (pricing.InvalidRates, KeyError):  # an older price, from when it took other inputs
        return None, None
    return estimate.typical, estimate.max


@approvals.act("price")
def add_price(instruction: dict[str, Any], asked_by: Any, approved_by: Any) -> str:
    """The price counts from its date, or from now where that has passed while it waited."""
    check(instruction["tool"], instruction["model"], instruction["rates"])
    now = clock.now()
    valid_from = instruction["valid_from"]
    counts_from = max(datetime.fromisoformat(valid_from), now) if valid_from else now
    cost, is_new = ToolCost.objects.get_or_create(
        tool=instruction["tool"],
        valid_from=counts_from,
        defaults={
            "model": instruction["model"],
            "rates": instruction["rates"],
            # What was asked for before prices said so says nothing of it.
            "takes_free_credits": instruction.get("takes_free_credits", False),
            "note": instruction["note"],
            "made_by": asked_by,
        },
    )
    if not is_new:
        raise PriceTaken
    return f"toolcost:{cost.id}"


class OfTool(admin.SimpleListFilter):
    title = "tool"
    parameter_name = "tool"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(tool, tool) for tool in ToolCost.objects.order_by("tool").values_list("tool", flat=True).distinct()]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(tool=self.value()) if self.value() else queryset


@admin.register(ToolCost)
class ToolCostAdmin(WithActs, ReadOnly):
    """What each tool costs: now, before, and from a date to come."""

    acts = (NewPrice(),)
    list_acts = acts
    list_before_template = "admin/_acts.html"
    list_display = ("tool", "state_shown", "from_shown", "model_shown", "note_shown", "made_by")
    list_filter = (OfTool,)
    list_select_related = ("made_by",)
    ordering = ("tool", "-valid_from")
    word_fields = ("tool",)
    search_help_text = "A tool’s whole name, or an id"
    fields = (
        "id_shown",
        "tool",
        "state_shown",
        "from_shown",
        "model_shown",
        "rates_shown",
        "free_shown",
        "note_shown",
        "made_by",
        "made",
    )

    def get_queryset(self, request: HttpRequest) -> Any:
        now = clock.now()
        latest = ToolCost.objects.filter(tool=OuterRef("tool"), valid_from__lte=now).order_by("-valid_from")
        to_come = ExpressionWrapper(Q(valid_from__gt=now), output_field=BooleanField())
        return super().get_queryset(request).annotate(in_force=Subquery(latest.values("id")[:1]), is_to_come=to_come)

    @display(description="Id")
    def id_shown(self, row: Any) -> Any:
        return code(row.id)

    @display(description="State")
    def state_shown(self, row: Any) -> Any:
        if row.in_force == row.id:
            return tag("in force", "ok")
        return tag("to come", "wait") if row.is_to_come else tag("before")

    @display(description="Counts from")
    def from_shown(self, row: Any) -> Any:
        return when(row.valid_from)

    @display(description="How it is priced")
    def model_shown(self, row: Any) -> str:
        return pricing.MODELS[row.model].title if row.model in pricing.MODELS else row.model

    @display(description="Rates")
    def rates_shown(self, row: Any) -> Any:
        return document(row.rates)

    @display(description="Free credits pay it before a first payment")
    def free_shown(self, row: Any) -> Any:
        return yes_or_no(row.takes_free_credits)

    @display(description="Note")
    def note_shown(self, row: Any) -> Any:
        return text(row.note)

    @display(description="Added")
    def made(self, row: Any) -> Any:
        return when(row.created_at)

    def warnings(self, row: Any) -> list[str]:
        waiting = Approval.objects.filter(act="price", state="waiting", instruction__tool=row.tool).count()
        return waiting_words(waiting, "new price of this tool", "new prices of this tool")
