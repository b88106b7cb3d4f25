"""The settings of an account's credits: the limits that its owner sets for it, and its auto top-up."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from . import api, checkout, clock, credits, ledger, money, packs, people, statement, top_up_words
from .errors import BillingError
from .models import AutoTopUp, Pack, SpendLimit
from .pages import WHOSE, for_people, meters, record_act, record_refusal

FIELDS = {"per_run": "Credits for one run", "per_day": "Credits a day", "per_month": "Credits a month"}


class AmountField(forms.CharField):
    """Credits as people write them; None where nothing is written."""

    def __init__(self, label: str, **options: Any) -> None:
        widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})
        super().__init__(label=label, max_length=30, widget=widget, **{"required": False, **options})

    def clean(self, value: Any) -> Any:
        text = super().clean(value).replace(",", "")
        if not text:
            return None
        try:
            return credits.parse(text)
        except credits.InvalidAmount as error:
            raise forms.ValidationError(str(error)) from error


class LimitsForm(forms.Form):
    per_run = AmountField(FIELDS["per_run"])
    per_day = AmountField(FIELDS["per_day"])
    per_month = AmountField(FIELDS["per_month"])


class TopUpForm(forms.Form):
    """What is bought, when, and how much of it at most. The API's names, so that its refusals find their fields."""

    below = AmountField("When fewer credits than this are available", required=True)
    pack = forms.ChoiceField(label="Buy this pack")
    monthly_max_minor = forms.CharField(
        max_length=30, widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})
    )
    is_on = forms.BooleanField(
        label="On: the card that is kept may be charged for this without me being there", required=False
    )

    def __init__(self, *given: Any, offered: list[Pack], **options: Any) -> None:
        super().__init__(*given, **options)
        self.currency = offered[0].currency if offered else "gbp"
        self.fields["pack"].choices = [  # type: ignore[attr-defined]
            (one.slug, f"{credits.short(one.credits)} credits for {money.short(one.price_minor, one.currency)}")
            for one in offered
        ]
        sign = money.SIGNS.get(self.currency, self.currency.upper())
        self.fields["monthly_max_minor"].label = f"At most so much money a month ({sign})"
        self.fields["monthly_max_minor"].help_text = "A month begins on its first day at 00:00 UTC."

    def clean_monthly_max_minor(self) -> int:
        try:
            return money.parse(self.cleaned_data["monthly_max_minor"], self.currency)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error


@for_people
@require_http_methods(["GET", "HEAD", "POST"])
def settings_credits(request: Any) -> HttpResponse:
    """The limits that the account's owner sets for it, what others set, the use so far, and auto top-up."""
    account = people.account_of(request)
    rows = statement.limits_of(account, request.user.pk)
    own = next((row for row in rows if row.source == SpendLimit.Source.PERSON), SpendLimit())
    is_owner = people.role_in(request.user, account) == "owner"
    written = {name: "" if (most := getattr(own, name)) is None else credits.format(most) for name in FIELDS}
    act = request.POST.get("act", "limits") if request.method == "POST" else ""
    form = LimitsForm(request.POST if act in ("limits", "turn_off") else None, initial=written)
    top_up = _top_up_form(request if act == "auto_top_up" else None, account)
    wanted = top_up if act == "auto_top_up" else form
    if act:
        if wanted is None or act not in ("limits", "auto_top_up", "turn_off"):
            raise Http404
        if not is_owner:
            wanted.add_error(None, "Only an owner of the account may change this.")
        elif act == "turn_off":
            return _turn_off(request, account)
        elif wanted.is_valid() and _set(request, account, wanted):
            return redirect(f"{request.path}#auto-top-up" if wanted is top_up else request.path)
    others = [sentence for row in rows if row.source != SpendLimit.Source.PERSON for sentence in _limit_words(row)]
    context = {"form": form, "is_owner": is_owner, "others": others, "top_up_form": top_up}
    context["top_up"] = standing = top_up_words.standing(account)
    if standing is not None and is_owner and not standing["has_card"]:
        chosen = standing["pack"] or "standard"
        context["keep"] = next((one for one in packs.on_shelf() if one["slug"] == chosen), None)
        context["keeps_card"] = checkout.KEEPS_CARD
    context["meters"] = meters(account, request.user.pk, clock.now())
    is_wrong = bool(form.errors or (top_up is not None and top_up.errors))
    return render(request, "billing/settings_credits.html", context, status=422 if is_wrong else 200)


def _set(request: Any, account: UUID, form: forms.Form) -> bool:
    """What the form says is so from now on; False where it was refused, which the form then says."""
    if not isinstance(form, TopUpForm):
        _set_limits(request, account, form.cleaned_data)
        messages.success(request, "These limits hold from now on.")
        return True
    try:
        with transaction.atomic():
            row = api.set_top_up(request, account, form.cleaned_data)
    except BillingError as refusal:
        record_refusal(request, api.SET_AUTO_TOP_UP, refusal)
        fields = refusal.facts.get("fields") or {None: [f"{refusal.message} {refusal.action}"]}
        for name, said in fields.items():
            form.add_error(name, said)
        return False
    messages.success(request, "Auto top-up is on." if row.is_on else "Auto top-up is off.")
    return True


# Limits


def _set_limits(request: Any, account: UUID, wanted: dict[str, int | None]) -> None:
    with transaction.atomic():
        ledger.lock([account])
        SpendLimit.objects.update_or_create(
            account_id=account, source=SpendLimit.Source.PERSON, user=None, defaults=wanted
        )
        facts = {name: None if micro is None else credits.format(micro) for name, micro in wanted.items()}
        record_act(request, "set_limits", facts=facts)


def _limit_words(row: SpendLimit) -> list[str]:
    spans = ((row.per_run, "for one run"), (row.per_day, "for a day"), (row.per_month, "for a month"))
    whose = WHOSE[row.source]
    return [
        f"{whose[0].upper()}{whose[1:]} limit is {credits.display(most)} credits {span}."
        for most, span in spans
        if most is not None
    ]


# Auto top-up


def _turn_off(request: Any, account: UUID) -> HttpResponse:
    """Off, whatever else the form says."""
    if AutoTopUp.objects.filter(account=account).exists():
        with transaction.atomic():
            api.set_top_up(request, account, {"is_on": False})
        messages.success(request, "Auto top-up is off.")
    return redirect(f"{request.path}#auto-top-up")


def _top_up_form(sent: Any, account: UUID) -> TopUpForm | None:
    """What is set now, or what was sent; None where nothing is sold."""
    offered = packs.offered()
    if not offered:
        return None
    row = AutoTopUp.objects.select_related("pack").filter(account=account).first()
    written: dict[str, Any] = {"pack": "standard"}
    if row is not None:
        written = {
            "below": credits.format(row.below),
            "pack": row.pack.slug,
            "monthly_max_minor": money.plain(row.month_max_minor, row.currency).removesuffix(".00"),
            "is_on": row.is_on,
        }
    return TopUpForm(sent.POST if sent is not None else None, offered=offered, initial=written)
