"""Pages for buying: the price list that is open to all, a purchase as it goes, its receipt, and all of them.

Paying happens at Stripe. What these pages show is what our books say: nothing here grants anything,
whatever an address says.
"""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from . import (
    checkout,
    clock,
    credits,
    idempotency,
    money,
    packs,
    people,
    plan_words,
    plans,
    purchases,
    statement,
    throttles,
)
from .errors import BillingError, IdempotencyConflict
from .models import Lot, Purchase
from .pages import for_people, record_refusal, say_day, see, since_of, window
from .shop_api import record_buying

State = Purchase.State
PURCHASES_A_PAGE = 30
# A card is usually told of within a few seconds. After so many the page says that it need not be watched.
SLOW_SECONDS = 30
LIVE_SECONDS, LIVE_SECONDS_SLOW = 2, 10


# Prices


@never_cache
@require_safe
def pricing(request: Any) -> HttpResponse:
    """What can be bought, for everybody."""
    account = people.account_of(request) if request.user.is_authenticated else None
    mine = plans.in_force(account) if account is not None else None
    is_owner = account is not None and people.role_in(request.user, account) == "owner"
    may_try = account is not None and not plans.has_had_one(account)
    may_act = is_owner and plans.awaited(mine) is None
    context = {
        "plans": plan_words.shelf(mine, clock.now(), may_act=may_act, may_try=may_try),
        "shelf": packs.on_shelf(),
        "is_rehearsal": settings.STRIPE_REHEARSAL,
    }
    return render(request, "billing/pricing.html", context)


# Buying


class BuyForm(forms.Form):
    """A pack, and the key that makes a second press harmless."""

    pack = forms.SlugField(max_length=50)
    key = forms.RegexField(r"^[\x20-\x7e]{1,100}$")
    keep_card = forms.BooleanField(required=False)


@for_people
@require_POST
def buy(request: Any) -> HttpResponse:
    """The person is on the way to Stripe's page, or back on ours with the reason why not."""
    form = BuyForm(request.POST)
    if not form.is_valid():
        raise Http404
    account = people.account_of(request)
    wanted, keeps_card = form.cleaned_data["pack"], form.cleaned_data["keep_card"]
    meant = [wanted, "keeps the card"] if keeps_card else wanted
    key = idempotency.key_of_form(request, "/account/credits/buy", form.cleaned_data["key"], meant)
    try:
        throttles.count_write(request)
        purchase, repeat = checkout.buy(
            account,
            wanted,
            user=request.user,
            site=request.build_absolute_uri("/"),
            keeps_card=keeps_card,
            key=key,
        )
    except IdempotencyConflict:
        return redirect("account_credits")
    except BillingError as refusal:
        record_refusal(request, "buy_credits", refusal)
        messages.error(request, f"{refusal.message} {ACTIONS.get(refusal.code, refusal.action)}")
        return redirect("account_credits")
    if repeat is None:
        record_buying(request, purchase)
    response = HttpResponseRedirect(purchases.way_to_pay(purchase) or purchases.page_of(purchase.id))
    response.status_code = 303
    return response


# What an action says to programs, and what people do instead.
ACTIONS = {
    "payments_unavailable": "Try again in a moment.",
    "invalid_fields": "Choose one of those below.",
    "too_many_requests": "Wait a minute, then try again.",
    "too_many_purchases": "Pay one of those that are open, or wait an hour.",
}


# Purchases


@for_people
@require_safe
def all_purchases(request: Any) -> HttpResponse:
    """Everything the account bought or began to buy, newest first."""
    rows = Purchase.objects.filter(account=people.account_of(request)).select_related("pack")
    found = window(request, rows, "id", UUID, PURCHASES_A_PAGE)
    context = {
        "purchases": purchases.in_list(found.rows),
        "newer_url": found.newer_url,
        "older_url": found.older_url,
    }
    return render(request, "billing/purchases.html", context)


@for_people
@require_safe
def purchase(request: Any, id: UUID) -> HttpResponse:
    """One purchase: whether it is paid, as our books say, and what can be done now."""
    return render(request, "billing/purchase.html", _one(request, _found(request, id)))


@for_people
@require_safe
def purchase_live(request: Any, id: UUID) -> HttpResponse:
    """The same while it is waited for; nothing where nothing has changed since the page last looked."""
    row = _found(request, id)
    context = _one(request, row)
    if request.GET.get("seen") == context["purchase"]["seen"]:
        return HttpResponse(status=204)
    response = render(request, "billing/_purchase.html", context)
    response.headers["HX-Trigger"] = "purse"
    return response


def _found(request: Any, id: UUID) -> Purchase:
    row = Purchase.objects.filter(account=people.account_of(request), id=id).select_related("pack", "payment").first()
    if row is None:
        raise Http404
    return row


def _one(request: Any, row: Purchase) -> dict[str, Any]:
    """Everything that the page shows of a purchase; its news has then been read."""
    see(row.account_id, link=purchases.page_of(row.id))
    back = request.GET.get("back", "")
    since = since_of(request)
    is_waiting = row.state in (State.CREATED, State.OPEN)
    is_slow = is_waiting and not purchases.is_on_its_way(row) and time.time() - since > SLOW_SECONDS
    said = purchases.told([row])[row.id]
    word, kind = purchases.state_words(row, said)
    marks = [
        row.state,
        "slow" if is_slow else "",
        "on" if purchases.is_on_its_way(row) else "",
        "no" if row.error else "",
        "link" if row.is_top_up and purchases.way_to_pay(row) else "",
    ]
    seen = "-".join(marks)
    # Whoever has been sent away without having paid may still pay in another tab; nobody waits for that.
    is_watched = back == "paid" and not is_slow and not purchases.is_on_its_way(row)
    seconds = LIVE_SECONDS if is_watched else LIVE_SECONDS_SLOW
    live = reverse("purchase_live", args=[row.id])
    shown = {
        "id": row.id,
        "credits": credits.short(row.credits),
        "title": row.pack.title,
        "price": money.words(row.amount_minor, row.currency),
        "word": word,
        "kind": kind,
        "state": row.state,
        "is_waiting": is_waiting,
        "is_back": back if back in ("paid", "cancelled") else "",
        "is_slow": is_slow,
        "seen": seen,
        "live_url": f"{live}?back={'paid' if back == 'paid' else 'cancelled' if back == 'cancelled' else ''}"
        f"&since={since}&seen={seen}",
        "live_seconds": seconds,
        "checkout_url": purchases.way_to_pay(row),
        "is_on_its_way": purchases.is_on_its_way(row),
        "is_top_up": row.is_top_up,
        "error": row.error,
        "receipt_url": purchases.receipt_of(row),
        "own_receipt_url": reverse("purchase_receipt", args=[row.id]) if row.state == State.PAID else "",
        "created_at": row.created_at,
        "paid_at": row.paid_at,
        "until": _until(row),
        "repaid": _repaid(row),
        "trail": _trail(row, said),
    }
    values, _, _ = statement.values_now(row.account_id)
    return {
        "purchase": shown,
        "available": credits.display(values.available),
        "debt": credits.display(values.debt) if values.debt else "",
        "is_rehearsal": settings.STRIPE_REHEARSAL,
    }


def _lots(row: Purchase) -> Any:
    return Lot.objects.filter(account=row.account_id, payment=row.payment_id) if row.payment_id else Lot.objects.none()


def _until(row: Purchase) -> str:
    ends = [lot.expires_at for lot in _lots(row) if lot.expires_at is not None]
    return say_day(max(ends)) if ends else ""


def _repaid(row: Purchase) -> str:
    repaid = sum(lot.repaid for lot in _lots(row))
    return credits.display(repaid) if repaid else ""


def _trail(row: Purchase, said: purchases.Told) -> list[dict[str, Any]]:
    """What happened to the purchase, oldest first, in words."""
    steps: list[dict[str, Any]] = [
        {
            "at": row.created_at,
            "what": "Begun",
            "kind": "",
            "more": f"{row.pack.title} pack" + (", by auto top-up" if row.is_top_up else ""),
        }
    ]
    if row.paid_at is not None:
        words = f"{credits.short(row.credits)} credits added"
        steps.append({"at": row.paid_at, "what": "Paid", "kind": "", "more": words})
    if row.declined_at is not None:
        steps.append({"at": row.declined_at, "what": "Did not go through", "kind": "bad", "more": row.error})
    for step in purchases.afterwards(row, said):
        # The trail shows the time of day; what came on a later day says which.
        is_later = step["at"].date() != row.created_at.date()
        step["more"] = ": ".join(filter(None, [say_day(step["at"]) if is_later else "", step["more"]]))
        steps.append(step)
    return sorted(steps, key=lambda step: step["at"])


# The receipt


@for_people
@require_safe
def purchase_receipt(request: Any, id: UUID) -> HttpResponse:
    """A receipt to print, for what was paid."""
    row = _found(request, id)
    if row.state != State.PAID:
        raise Http404
    context = {
        "receipt": purchases.receipt(row, purchases.told([row])[row.id]),
        "is_rehearsal": settings.STRIPE_REHEARSAL,
    }
    return render(request, "billing/receipt.html", context)
