"""Packs and plans: what is sold, on which terms. Never edited: two people change it, and what was sold keeps its terms.

A pack's purchases carry the price and the credits that they were sold for. A plan's new terms count from each account's
next period; a period that was granted stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.validators import validate_slug
from django.db.models import Count
from django.http import HttpRequest
from django.urls import reverse
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextareaWidget

from billing import approvals, credits, errors
from billing import money as prices
from billing.models import Approval, Enrollment, Pack, Plan, Purchase

from .acts import ActForm, CreditsField, PriceField, StaffAct, Whole, WithActs, choice, tick, words
from .parts import NOTHING, Figure, ReadOnly, Section, code, lines, link, listing, money, tag, waiting_words, when
from .sales import purchase_tag
from .stripe_pages import at_stripe
from .tables import account_link

CURRENCIES = [("gbp", "Pounds (£)"), ("eur", "Euros (€)"), ("usd", "Dollars ($)")]


class TermsChanged(errors.BillingError):
    code = "terms_changed"
    sentence = "Its terms are not what they were when this was asked for."
    reason = "Another change came first."
    action = "Decline this one and ask anew from the terms as they are."


class SlugTaken(errors.BillingError):
    code = "slug_taken"
    sentence = "There is one of that name already."
    reason = "A name in addresses belongs to one pack, and to one plan, for ever."
    action = "Choose another name, or change the one that is there."


# Fields


class FeaturesField(forms.CharField):
    """What the plan offers besides its credits, a line each; the cleaned value is a list."""

    widget = UnfoldAdminTextareaWidget(attrs={"rows": 4})

    def clean(self, value: Any) -> Any:
        found = [line.strip() for line in str(super().clean(value)).splitlines() if line.strip()]
        if len(found) > 12 or any(len(line) > 200 or "\x00" in line for line in found):
            raise forms.ValidationError("At most 12 lines, and 200 characters a line.")
        return found


PACK_TERMS = ("title", "price_minor", "credits", "keep_months", "position", "is_offered")
PLAN_TERMS = (
    "title",
    "price_minor",
    "monthly_credits",
    "per_day",
    "rollover_max",
    "trial_days",
    "trial_credits",
    "open_holds_max",
    "jobs_at_once_max",
    "features",
    "position",
    "is_offered",
)


class TermsForm(ActForm):
    """What a pack and a plan are both sold with."""

    title = words("Title", max_length=100)
    price_minor: ClassVar[PriceField]
    position = Whole(label="Place in the list", min_value=1, max_value=999, help_text="Lowest first.")
    is_offered = tick("Offered")

    def __init__(self, *arguments: Any, row: Any, **options: Any) -> None:
        super().__init__(*arguments, row=row, **options)
        if row is not None:
            self.fields["price_minor"].currency = row.currency  # type: ignore[attr-defined]


class PackForm(TermsForm):
    """The pack's terms."""

    price_minor = PriceField(label="Price")
    credits = CreditsField(label="Credits")
    keep_months = Whole(label="Months in which its credits can be spent", min_value=1, max_value=120)
    field_order = PACK_TERMS


class PlanForm(TermsForm):
    """The plan's terms."""

    price_minor = PriceField(label="Price a month", may_be_zero=True, help_text="0: allocated here, without Stripe.")
    monthly_credits = CreditsField(label="Credits a month", may_be_zero=True)
    per_day = CreditsField(
        label="Most a day",
        may_be_zero=True,
        required=False,
        help_text="Of plan and promotional credits. Empty: no limit.",
    )
    rollover_max = CreditsField(
        label="Kept at a period’s end, up to",
        may_be_zero=True,
        required=False,
        help_text="Empty: what is left expires.",
    )
    trial_days = Whole(label="Days of trial", min_value=0, max_value=365)
    trial_credits = CreditsField(label="Credits of the trial", may_be_zero=True, help_text="Promotional.")
    open_holds_max = Whole(
        label="Open holds at once, at most",
        min_value=1,
        max_value=10_000,
        required=False,
        help_text="Jobs and holds of the API together. Empty: only the installation’s own limit.",
    )
    jobs_at_once_max = Whole(
        label="Jobs at once, at most", min_value=1, max_value=10_000, required=False, help_text="Empty: no limit."
    )
    features = FeaturesField(label="What else it offers", required=False, help_text="A line each.")
    field_order = PLAN_TERMS

    def __init__(self, *arguments: Any, row: Any, **options: Any) -> None:
        super().__init__(*arguments, row=row, **options)
        self.was_free = None if row is None else row.price_minor == 0

    def clean_price_minor(self) -> int:
        """Law plan_stays_free_or_paid: whoever is on it would have no month of it, or two, and could not end it."""
        price: int = self.cleaned_data["price_minor"]
        if self.was_free is not None and self.was_free != (price == 0):
            kind = "costs nothing" if self.was_free else "has a price"
            raise forms.ValidationError(f"A plan that {kind} stays so. Make a new one, and stop offering this one.")
        return price


class Named(forms.Form):
    """What is asked of a new one alone, and never changes."""

    slug = words("Name in addresses", max_length=50, validators=[validate_slug], help_text="Like “starter” or “pro”.")
    currency = choice("Currency", CURRENCIES)


class NewPackForm(Named, PackForm):
    field_order = ("slug", "title", "currency", *PACK_TERMS[1:])


class NewPlanForm(Named, PlanForm):
    field_order = ("slug", "title", "currency", *PLAN_TERMS[1:])


# Terms

IN_CREDITS = {"credits", "monthly_credits", "per_day", "rollover_max", "trial_credits"}
TITLES: dict[type[Pack] | type[Plan], dict[str, str]] = {
    Pack: {name: str(PackForm.base_fields[name].label) for name in PACK_TERMS},
    Plan: {name: str(PlanForm.base_fields[name].label) for name in PLAN_TERMS},
}


def _terms(row: Pack | Plan) -> dict[str, Any]:
    return {name: getattr(row, name) for name in TITLES[type(row)]}


def _said(name: str, value: Any, currency: str) -> Any:
    """A term as people read it."""
    if name in IN_CREDITS:
        return money(value) if value is not None else "no limit" if name == "per_day" else "nothing"
    if name == "price_minor":
        return prices.words(value, currency)
    if name == "features":
        return lines(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "no limit" if value is None else value


# Acts


class Change(StaffAct):
    """New terms for what is there. The instruction keeps the terms it was asked from: others in between refuse it."""

    icon = "edit_document"
    is_for_everyone = True
    of: ClassVar[type[Pack] | type[Plan]]

    def initial(self, row: Any) -> dict[str, Any]:
        terms: dict[str, Any] = _terms(row)
        for name in IN_CREDITS & terms.keys():
            terms[name] = credits.format(terms[name]) if terms[name] is not None else ""
        if "features" in terms:
            terms["features"] = "\n".join(terms["features"])
        return terms | {"price_minor": prices.plain(row.price_minor, row.currency)}

    def terms(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        return {name: cleaned[name] for name in TITLES[self.of]}

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        return {"row": str(row.id), "was": _terms(row), "terms": self.terms(row, cleaned)}

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        row = self.of._default_manager.get(id=instruction["row"])
        was = _terms(row)
        if was != instruction["was"]:
            raise TermsChanged
        return [
            (title, _said(name, was[name], row.currency), _said(name, instruction["terms"][name], row.currency))
            for name, title in TITLES[self.of].items()
        ]


def _change(of: type[Pack] | type[Plan]) -> Callable[[dict[str, Any], Any, Any], str]:
    """Carries new terms out. Locks the row. A price at Stripe of its own goes with the price it stood for."""

    def carry_out(instruction: dict[str, Any], asked_by: Any, approved_by: Any) -> str:
        row = of._default_manager.select_for_update().get(id=instruction["row"])
        if _terms(row) != instruction["was"]:
            raise TermsChanged
        terms = dict(instruction["terms"])
        if terms["price_minor"] != row.price_minor:
            terms["stripe_price"] = ""
        for name, value in terms.items():
            setattr(row, name, value)
        row.save(update_fields=list(terms))
        return f"{of._meta.model_name}:{row.id}"

    return carry_out


class ChangePack(Change):
    name, title = "change_pack", "Change the pack"
    sentence = "The pack is sold on these terms from then on. What was sold, or is about to be paid, keeps its own."
    permission = "billing.change_pack"
    form = PackForm
    of = Pack


class ChangePlan(Change):
    name, title = "change_plan", "Change the plan"
    sentence = (
        "These terms count from each account’s next period on. What an account pays at Stripe stays as it is until it "
        "takes the plan anew; a period that was granted keeps its credits."
    )
    permission = "billing.change_plan"
    form = PlanForm
    of = Plan


approvals.act("change_pack")(_change(Pack))
approvals.act("change_plan")(_change(Plan))


class StopOffering(Change):
    icon = "visibility_off"
    is_dangerous = True
    form = ActForm

    def is_offered(self, row: Any) -> bool:
        return bool(row.is_offered)

    def initial(self, row: Any) -> dict[str, Any]:
        return {}

    def terms(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        return _terms(row) | {"is_offered": False}

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        return [row for row in super().effect(instruction) if row[0] == "Offered"]


class StopPack(StopOffering):
    name, title = "stop_pack", "Stop offering"
    sentence = "Nobody can buy it any more. What was bought stays, and a payment that is under way is still taken."
    permission = "billing.change_pack"
    of = Pack


class StopPlan(StopOffering):
    name, title = "stop_plan", "Stop offering"
    sentence = "Nobody can take it any more. Accounts that have it keep it, and it renews for them."
    permission = "billing.change_plan"
    of = Plan


approvals.act("stop_pack")(_change(Pack))
approvals.act("stop_plan")(_change(Plan))


class New(StaffAct):
    icon = "add_circle"
    is_for_everyone = True
    of: ClassVar[type[Pack] | type[Plan]]

    def back(self, row: Any) -> str:
        return reverse(f"admin:billing_{self.of._meta.model_name}_changelist")

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        return {name: cleaned[name] for name in ("slug", "currency", *TITLES[self.of])}

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        if self.of._default_manager.filter(slug=instruction["slug"]).exists():
            raise SlugTaken
        currency = instruction["currency"]
        return [(title, "–", _said(name, instruction[name], currency)) for name, title in TITLES[self.of].items()]


def _new(of: type[Pack] | type[Plan]) -> Callable[[dict[str, Any], Any, Any], str]:
    def carry_out(instruction: dict[str, Any], asked_by: Any, approved_by: Any) -> str:
        terms = {name: value for name, value in instruction.items() if name != "slug"}
        row, is_new = of._default_manager.get_or_create(slug=instruction["slug"], defaults=terms)
        if not is_new:
            raise SlugTaken
        return f"{of._meta.model_name}:{row.pk}"

    return carry_out


class NewPack(New):
    name, title = "new_pack", "New pack"
    sentence = "Credits that can be bought at once, for a price of their own."
    permission = "billing.add_pack"
    form = NewPackForm
    of = Pack

    def initial(self, row: Any) -> dict[str, Any]:
        return {"keep_months": 12, "position": 100, "is_offered": True, "currency": "gbp"}


class NewPlan(New):
    name, title = "new_plan", "New plan"
    sentence = "Credits every month, with the limits that come with them."
    permission = "billing.add_plan"
    form = NewPlanForm
    of = Plan

    def initial(self, row: Any) -> dict[str, Any]:
        return {"trial_days": 0, "trial_credits": "0", "position": 100, "is_offered": True, "currency": "gbp"}


approvals.act("new_pack")(_new(Pack))
approvals.act("new_plan")(_new(Plan))


# Lists and rows

IN_FORCE = ("trial", "active", "grace", "paused")


def columns_with(*own: str) -> tuple[str, ...]:
    """What the list shows, and what of these kinds alone."""
    return ("title", "slug", "price_shown", "credits_shown", *own, "offered_shown")


def fields_with(*own: str) -> tuple[str, ...]:
    """What the row's page shows, in its order, and what of these kinds alone."""
    first = ("id_shown", "slug", "title", "price_shown", "credits_shown")
    return (*first, *own, "offered_shown", "position", "made")


class OnSale(WithActs, ReadOnly):
    ordering = ("position", "price_minor", "slug")
    list_before_template = "admin/_acts.html"
    list_filter = ("is_offered",)
    word_fields = ("slug",)
    search_help_text = "A whole name in addresses, or an id"

    def warnings(self, row: Any) -> list[str]:
        names = [act.name for act in self.acts]
        asked = Approval.objects.filter(act__in=names, state="waiting", instruction__row=str(row.id))
        return waiting_words(asked.count(), "change of it", "changes of it")

    @display(description="Id")
    def id_shown(self, row: Any) -> Any:
        return code(row.pk)

    @display(description="Price")
    def price_shown(self, row: Any) -> Any:
        return prices.words(row.price_minor, row.currency)

    @display(description="Price at Stripe")
    def stripe_shown(self, row: Any) -> Any:
        return at_stripe("prices", row.stripe_price)

    @display(description="State")
    def offered_shown(self, row: Any) -> Any:
        return tag("offered", "ok") if row.is_offered else tag("not offered")

    @display(description="Made")
    def made(self, row: Any) -> Any:
        return when(row.created_at)


@admin.register(Pack)
class PackAdmin(OnSale):
    """Packs of credits, in the order in which they are offered."""

    acts = (ChangePack(), StopPack())
    list_acts = (NewPack(),)
    list_display = columns_with("keep_shown")
    fields = fields_with("keep_shown", "stripe_shown")

    @display(description="Credits")
    def credits_shown(self, row: Pack) -> Any:
        return money(row.credits)

    @display(description="Kept")
    def keep_shown(self, row: Pack) -> str:
        return f"{row.keep_months} months"

    def sections(self, request: HttpRequest, row: Any) -> list[Section]:
        sold = Purchase.objects.filter(pack=row).select_related("account", "user").order_by("-id")
        return [
            Section(
                "Newest purchases of it",
                ("Purchase", "Account", "Sold for", "Credits", "State", "When"),
                [
                    [
                        link(one),
                        account_link(one),
                        prices.words(one.amount_minor, one.currency),
                        money(one.credits),
                        purchase_tag(one),
                        when(one.created_at),
                    ]
                    for one in sold[:10]
                ],
                listing(Purchase, pack__id__exact=row.id),
                "Nobody has bought it yet.",
                frozenset({2, 3}),
                of=Purchase,
            )
        ]


@admin.register(Plan)
class PlanAdmin(OnSale):
    """Plans: credits every month, and the limits that come with them."""

    acts = (ChangePlan(), StopPlan())
    list_acts = (NewPlan(),)
    list_display = columns_with("day_shown")
    fields = fields_with(
        "day_shown", "rollover_shown", "trial_shown", "holds_shown", "jobs_shown", "features_shown", "stripe_shown"
    )  # fmt: skip

    def figures(self, row: Any) -> list[Figure]:
        states = dict(Enrollment.objects.filter(plan=row).values_list("state").annotate(count=Count("id")).order_by())
        return [
            Figure("Accounts that have it", sum(states.get(state, 0) for state in IN_FORCE)),
            Figure("Of these, in a trial", states.get("trial", 0)),
            Figure("Of these, payment overdue", states.get("grace", 0)),
        ]

    @display(description="A month")
    def price_shown(self, row: Any) -> Any:
        return "free" if not row.price_minor else prices.words(row.price_minor, row.currency)

    @display(description="Credits a month")
    def credits_shown(self, row: Plan) -> Any:
        return money(row.monthly_credits)

    @display(description="Most a day")
    def day_shown(self, row: Plan) -> Any:
        return "no limit" if row.per_day is None else money(row.per_day)

    @display(description="Kept at a period’s end")
    def rollover_shown(self, row: Plan) -> Any:
        return "nothing" if row.rollover_max is None else money(row.rollover_max)

    @display(description="Trial")
    def trial_shown(self, row: Plan) -> Any:
        return f"{row.trial_days} days, {credits.display(row.trial_credits)} credits" if row.trial_days else NOTHING

    @display(description="Open holds at once")
    def holds_shown(self, row: Plan) -> Any:
        return "no limit" if row.open_holds_max is None else row.open_holds_max

    @display(description="Jobs at once")
    def jobs_shown(self, row: Plan) -> Any:
        return "no limit" if row.jobs_at_once_max is None else row.jobs_at_once_max

    @display(description="What else it offers")
    def features_shown(self, row: Plan) -> Any:
        return lines(row.features)
