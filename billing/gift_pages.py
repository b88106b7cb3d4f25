"""Using a gift code from the credits page."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from . import credits, gift_api
from .errors import BillingError
from .pages import for_people, record_refusal, say_day
from .periods import months_after


@for_people
@require_POST
def redeem(request: HttpRequest) -> HttpResponse:
    """Back on the credits page, with what the code gave or why it gave nothing."""
    try:
        use, _ = gift_api.redeem(request, request.POST.get("code", "")[:200])
    except BillingError as refusal:
        record_refusal(request, gift_api.Redeem.act, refusal)
        messages.error(request, f"{refusal.message} {refusal.reason} {refusal.action}")
    else:
        until = say_day(months_after(use.created_at, use.code.keep_months))
        given = credits.short(use.code.credits)
        messages.success(request, f"{given} credits are here. They can be spent until {until}.")
    return redirect("account_credits")
