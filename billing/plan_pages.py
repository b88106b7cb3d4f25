"""Pages of the plan: what the account is on, what its month gave and when the next comes, and every change of it.

Each button says what happens to the credits and the money, and when. Paying happens at Stripe; nothing here grants
anything, whatever an address says.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from . import audit, checkout, clock, idempotency, ledger, people, plan_words, plans, subscriptions
from .errors import BillingError, IdempotencyConflict
from .models import new_id
from .pages import for_people, record_refusal, see
from .plan_api import record_subscribing
from .plans import State


@for_people
@require_safe
def account_plan(request: Any) -> HttpResponse:
    """The account's plan, and what can be done about it now."""
    account = people.account_of(request)
    see(account, link=plans.PAGE)
    row, now = plans.in_force(account), clock.now()
    back = request.GET.get("back", "")
    is_coming = back == "paid" and (row is None or not row.plan.price_minor)
    context = {
        "plan": plan_words.standing(row),
        "shelf": plan_words.shelf(row, now),
        "acts": plan_words.acts(row),
        "is_owner": people.role_in(request.user, account) == "owner",
        "back": "coming" if is_coming else back if back == "cancelled" else "",
        "has_portal": settings.STRIPE_IS_SET_UP and row is not None and bool(row.stripe_subscription),
        "is_rehearsal": settings.STRIPE_REHEARSAL,
    }
    return render(request, "billing/plan.html", context)


# Acts


class PlanForm(forms.Form):
    """A plan, and the key that makes a second press harmless."""

    plan = forms.SlugField(max_length=50)
    key = forms.RegexField(r"^[\x20-\x7e]{1,100}$")


@for_people
@require_POST
def subscribe(request: Any) -> HttpResponse:
    """The person is on the way to Stripe's page, or back on ours with the reason why not."""
    form = PlanForm(request.POST)
    if not form.is_valid():
        raise Http404
    account = people.account_of(request)
    key = ledger.Key(
        actor=people.owner_of(request),
        scope="POST /account/plan/subscribe",
        key=form.cleaned_data["key"],
        fingerprint=idempotency.fingerprint(form.cleaned_data["plan"]),
        status=200,
        made=new_id(),
    )
    try:
        row, repeat = subscriptions.subscribe(
            account, form.cleaned_data["plan"], user=request.user, site=request.build_absolute_uri("/"), key=key
        )
    except IdempotencyConflict:
        return redirect("account_plan")
    except BillingError as refusal:
        return _refused(request, "subscribe", refusal)
    if repeat is None:
        record_subscribing(request, row)
    return _see_other(row.checkout_url if row.state == State.PENDING and row.checkout_url else plans.PAGE)


ACTS = {
    "change": lambda request: subscriptions.change(people.account_of(request), request.POST.get("plan", "")),
    "cancel": lambda request: subscriptions.cancel(people.account_of(request)),
    "keep": lambda request: subscriptions.keep(people.account_of(request)),
    "go-on": lambda request: subscriptions.go_on(people.account_of(request)),
}


@for_people
@require_POST
def plan_act(request: Any, act: str) -> HttpResponse:
    """The plan is changed as its button said, and the page says what that means."""
    account = people.account_of(request)
    if act not in ACTS:
        raise Http404
    if people.role_in(request.user, account) != "owner":
        messages.error(request, "Only an owner of the account may change its plan. Nothing was changed.")
        return redirect("account_plan")
    try:
        said = ACTS[act](request)
    except BillingError as refusal:
        return _refused(request, f"plan_{act}", refusal)
    audit.record(
        f"plan_{act.replace('-', '_')}",
        account=account,
        actor=people.actor_of(request),
        facts={"plan": request.POST.get("plan", "")[:50], "said": said},
        request_id=getattr(request, "request_id", ""),
    )
    messages.success(request, said)
    return redirect("account_plan")


@for_people
@require_POST
def portal(request: Any) -> HttpResponse:
    """The person is on the way to Stripe's pages of invoices and cards."""
    account = people.account_of(request)
    if people.role_in(request.user, account) != "owner":
        messages.error(request, "Only an owner of the account may change how it pays.")
        return redirect("account_plan")
    back = f"{(settings.PUBLIC_URL or request.build_absolute_uri('/')).rstrip('/')}{plans.PAGE}"
    try:
        return _see_other(checkout.portal(account, request.user.email, back))
    except BillingError as refusal:
        return _refused(request, "portal", refusal)


def _refused(request: Any, act: str, refusal: BillingError) -> HttpResponse:
    record_refusal(request, act, refusal)
    messages.error(request, f"{refusal.message} {ACTIONS.get(refusal.code, refusal.action)}")
    return redirect("account_plan")


# What an action says to programs, and what people do instead.
ACTIONS = {
    "payments_unavailable": "Try again in a moment.",
    "invalid_fields": "Choose one of those below.",
    "already_subscribed": "Change it below.",
    "plan_cannot_change": "The page shows what can be done now.",
    "too_many_purchases": "Pay one of those that are open, or wait an hour.",
}


def _see_other(url: str) -> HttpResponse:
    response = HttpResponseRedirect(url)
    response.status_code = 303
    return response
