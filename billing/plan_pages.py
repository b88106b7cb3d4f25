"""Pages of the plan: what the account is on, what its month gave and when the next comes, and every change of it.

Each button says what happens to the credits and the money, and when. Paying happens at Stripe; nothing here grants
anything, whatever an address says.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from . import checkout, clock, idempotency, ledger, people, plan_words, plans, purchases, subscriptions, throttles
from .errors import BillingError, IdempotencyConflict
from .models import Allocation
from .pages import for_people, record_refusal, see, since_of
from .plan_api import record_change, record_subscribing
from .plans import State

# Whoever comes back from paying, or has changed the plan, sees it follow by itself: often at first, later seldom, and
# for so long at all.
LIVE_SECONDS, LIVE_SECONDS_SLOW, SLOW_SECONDS, WATCHED_SECONDS = 2, 10, 30, 900


@for_people
@require_safe
def account_plan(request: Any) -> HttpResponse:
    """The account's plan, and what can be done about it now."""
    paid = purchases.periods_in_list(people.account_of(request))
    return render(request, "billing/plan.html", _standing(request) | {"paid": paid})


@for_people
@require_safe
def plan_receipt(request: Any, id: UUID) -> HttpResponse:
    """A receipt to print, for what was paid for a plan."""
    of_account = Allocation.objects.filter(account=people.account_of(request), amount_minor__gt=0)
    row = of_account.select_related("plan", "account", "enrollment__user").filter(id=id).first()
    if row is None:
        raise Http404
    context = {
        "receipt": purchases.receipt(row, purchases.told([row])[row.id]),
        "is_rehearsal": settings.STRIPE_REHEARSAL,
    }
    return render(request, "billing/receipt.html", context)


@for_people
@require_safe
def plan_live(request: Any) -> HttpResponse:
    """The same while something is waited for; nothing where nothing has changed since the page last looked."""
    context = _standing(request)
    if request.GET.get("seen") == context["seen"]:
        return HttpResponse(status=204)
    response = render(request, "billing/_plan_now.html", context)
    response.headers["HX-Trigger"] = "purse"
    return response


def _standing(request: Any) -> dict[str, Any]:
    """Everything that the page shows, as our books have it, whatever the address says."""
    account = people.account_of(request)
    see(account, link=plans.PAGE)
    row, now = plans.in_force(account), clock.now()
    is_owner = people.role_in(request.user, account) == "owner"
    back, since = request.GET.get("back", ""), since_of(request)
    plan, awaited = plan_words.standing(row), plans.awaited(row)
    is_expected = back == "paid" and (row is None or not row.plan.price_minor)
    is_coming = is_expected or awaited is not None or (plan is not None and plan["is_coming"])
    age = int(time.time()) - since
    # Whoever has just paid is not asked to pay once more.
    may_act = is_owner and awaited is None and not (is_expected and age <= SLOW_SECONDS)
    shown_back = "coming" if is_expected else back if back == "cancelled" else ""
    marks = [row.id, *plans.standing(row)] if row is not None else []
    seen = hashlib.sha256(
        repr([*marks, plan, shown_back, awaited is not None, is_coming, age > SLOW_SECONDS]).encode()
    ).hexdigest()[:16]
    live = f"{reverse('plan_live')}?back={'paid' if back == 'paid' else ''}&since={since}&seen={seen}"
    return {
        "plan": plan,
        "shelf": plan_words.shelf(row, now, may_act=may_act, may_try=not plans.has_had_one(account)),
        "acts": plan_words.acts(row) if awaited is None else [],
        "is_owner": is_owner,
        "back": shown_back,
        "awaited": awaited.said if awaited is not None else "",
        "is_slow": age > SLOW_SECONDS,
        "has_portal": settings.STRIPE_IS_SET_UP and checkout.has_customer(account),
        "is_rehearsal": settings.STRIPE_REHEARSAL,
        "seen": seen,
        "live_url": live if is_coming and age < WATCHED_SECONDS else "",
        "live_seconds": LIVE_SECONDS_SLOW if age > SLOW_SECONDS else LIVE_SECONDS,
    }


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
    if people.role_in(request.user, account) != "owner":
        messages.error(request, "Only an owner of the account may choose its plan. Nothing was changed.")
        return redirect("account_plan")
    wanted = form.cleaned_data["plan"]
    key = idempotency.key_of_form(request, "/account/plan/subscribe", form.cleaned_data["key"], wanted)
    try:
        throttles.count_write(request)
        row, repeat = subscriptions.subscribe(
            account, wanted, user=request.user, site=request.build_absolute_uri("/"), key=key
        )
    except IdempotencyConflict:
        return redirect("account_plan")
    except BillingError as refusal:
        return _refused(request, "subscribe", refusal)
    if repeat is None:
        record_subscribing(request, row)
    return _see_other(row.checkout_url if row.state == State.PENDING and row.checkout_url else plans.PAGE)


def _change(request: Any, **about: Any) -> subscriptions.Changed:
    wanted = request.POST.get("plan", "")
    if not re.fullmatch(r"[-A-Za-z0-9_]{1,50}", wanted):
        raise Http404
    return subscriptions.change(people.account_of(request), wanted, **about)


ACTS: dict[str, Callable[..., subscriptions.Changed]] = {
    "change": _change,
    "cancel": lambda request, **about: subscriptions.cancel(people.account_of(request), **about),
    "keep": lambda request, **about: subscriptions.keep(people.account_of(request), **about),
    "resume": lambda request, **about: subscriptions.go_on(people.account_of(request), **about),
    "settle": lambda request, **about: subscriptions.settle(people.account_of(request), **about),
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
        throttles.count_write(request)
        made, repeat = ACTS[act](request, user=request.user, key=_key(request, act))
    except IdempotencyConflict:
        return redirect("account_plan")
    except BillingError as refusal:
        return _refused(request, f"plan_{act}", refusal)
    if repeat is None:
        record_change(request, act, made)
    if plans.awaited(plans.in_force(account)) is None:  # else the page says it as long as it is waited for
        messages.success(request, made.said)
    return redirect("account_plan")


def _key(request: Any, act: str) -> ledger.Key | None:
    """The key of the form that was pressed: a second press of it does nothing more."""
    key = request.POST.get("key", "")
    if not re.fullmatch(r"[\x20-\x7e]{1,100}", key):
        return None
    return idempotency.key_of_form(request, f"/account/plan/{act}", key, request.POST.get("plan", ""))


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
        throttles.count_write(request)
        return _see_other(checkout.portal(account, back))
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
    "no_paid_plan": "Choose one below.",
    "plan_unpaid": "Pay it above, after a change of the card if need be.",
    "plan_paused": "Go on with it above first.",
    "plan_change_planned": "Undo that above first.",
    "payment_declined": "Change the card under “Card and invoices”, then try again.",
    "no_customer": "Choose a plan or a pack first.",
    "too_many_requests": "Wait a minute, then try again.",
    "too_many_purchases": "Pay one of those that are open, or wait an hour.",
}


def _see_other(url: str) -> HttpResponse:
    response = HttpResponseRedirect(url)
    response.status_code = 303
    return response
