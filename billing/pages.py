"""Pages about credits: what there is, each line and why, tokens, and notices seen.

The page that explains a line knows the work behind it as well, so it stands in the room above.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import wraps
from typing import Any, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from allauth.account.decorators import verified_email_required
from django import forms
from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from . import audit, clock, credits, packs, people, plan_words, plans, purchases, statement, tokens, top_up_words
from .errors import BillingError
from .models import Account, Entry, Hold, Lot, Membership, Notice, Purchase, Token

Page = TypeVar("Page", bound=Callable[..., Any])

# Fewer than so many credits, and the purse says that they run low.
LOW = 5 * credits.MICRO
LINES_AT_A_GLANCE = 8
PURCHASES_AT_A_GLANCE = 4
LINES_A_PAGE = 50
NOTICES_AT_ONCE = 3


def for_people(page: Page) -> Page:
    """The page is for people who have signed in and whose address is known; nobody's cache keeps it.

    A fragment that arrives after signing out, perhaps in another tab, loads the whole page again.
    """
    checked = never_cache(verified_email_required(page))

    @wraps(page)
    def opened(request: Any, *args: Any, **named: Any) -> Any:
        if request.htmx and not request.user.is_authenticated:
            return HttpResponse(headers={"HX-Refresh": "true"})
        return checked(request, *args, **named)

    return opened  # type: ignore[return-value]


def record_refusal(request: Any, act: str, refusal: BillingError) -> None:
    """The audit trail has what was wanted of the credits in a page and not given."""
    if refusal.status in (402, 403, 429):
        audit.record(
            act,
            account=people.account_of(request),
            actor=people.actor_of(request),
            is_refusal=True,
            code=refusal.code,
            facts=refusal.facts,
            request_id=getattr(request, "request_id", ""),
        )


def since_of(request: Any) -> int:
    """When the page was opened first; now, for what no page of ours wrote."""
    text, now = request.GET.get("since", ""), int(time.time())
    return min(int(text), now) if text.isascii() and text.isdigit() and len(text) <= 11 else now


@dataclass(frozen=True, slots=True)
class Window:
    """A page of rows, newest first, and the addresses of the pages beside it; empty where there is none."""

    rows: Sequence[Any]
    newer_url: str = ""
    older_url: str = ""


def window(request: HttpRequest, rows: QuerySet[Any], key: str, read: Callable[[str], Any], size: int) -> Window:
    """The rows before or after the one that the address names, by their unique `key`. One query, two at a border."""
    before, after = _named(request, "before", read), _named(request, "after", read)
    if after is not None:
        found = list(rows.filter(**{f"{key}__gt": after}).order_by(key)[: size + 1])
        has_newer, found = len(found) > size, found[:size][::-1]
        has_older = True
    else:
        if before is not None:
            rows = rows.filter(**{f"{key}__lt": before})
        found = list(rows.order_by(f"-{key}")[: size + 1])
        has_older, found = len(found) > size, found[:size]
        has_newer = before is not None
    if not found and (before is not None or after is not None):
        raise Http404
    kept = {name: value for name, value in request.GET.items() if name not in ("before", "after")}

    def address(way: str, row: Any) -> str:
        return "?" + urlencode(kept | {way: getattr(row, key)})

    return Window(
        found,
        address("after", found[0]) if found and has_newer else "",
        address("before", found[-1]) if found and has_older else "",
    )


def _named(request: HttpRequest, name: str, read: Callable[[str], Any]) -> Any:
    text = request.GET.get(name)
    if text is None:
        return None
    try:
        return read(text)
    except ValueError as error:
        raise Http404 from error


def sequence(text: str) -> int:
    """A line's number out of an address. Raises ValueError for anything but a few ASCII digits."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise ValueError(text)
    return int(text)


# The purse


def purse_of(account: UUID) -> dict[str, str]:
    """What the header shows: the credits that can be spent, and those held."""
    values, _, _ = statement.values_now(account)
    state = "none" if values.available <= 0 else "low" if values.available < LOW else ""
    held = credits.display(values.held) if values.held else ""
    return {"available": credits.display(values.available), "held": held, "state": state}


@for_people
@require_safe
def purse(request: HttpRequest) -> HttpResponse:
    """The purse as it is now."""
    return render(request, "billing/_purse.html", {"purse": purse_of(people.account_of(request))})


# Whose account


def accounts_of(request: Any) -> list[dict[str, Any]]:
    """The accounts that the person may speak for, where there is a choice: the person's own first."""
    current = people.account_of(request)
    rows = list(Membership.objects.filter(user=request.user).select_related("account").order_by("-is_own", "id"))
    if len(rows) < 2:
        return []
    return [
        {
            "id": row.account_id,
            "name": "My own account" if row.is_own else str(row.account),
            "is_current": row.account_id == current,
        }
        for row in rows
    ]


@for_people
@require_POST
def choose_account(request: Any) -> HttpResponse:
    """From now on the session speaks for the account that was chosen."""
    try:
        is_chosen = people.choose_account(request, UUID(request.POST.get("account", "")))
    except ValueError as error:
        raise Http404 from error
    if not is_chosen:
        raise Http404
    return redirect("account_credits")


# Credits

KINDS = {"pack": "bought", "import": "bought", "plan": "monthly"}
GIFTS = {"promotion": "from a promotion", "gift": "from a gift", "staff": "given by staff", "goodwill": "of goodwill"}


@for_people
@require_safe
def account_credits(request: HttpRequest) -> HttpResponse:
    """What there is, where it is from, what is held, how much of the limits is used, and the latest lines."""
    account_id = people.account_of(request)
    values, lots, now = statement.values_now(account_id)
    account = Account.objects.get(id=account_id)
    parts = _parts(values, lots)
    holds = Hold.objects.filter(account=account_id, ended_at=None).order_by("-placed_at")
    # What was held and has ended is told by its end; the statement has both lines.
    lines = _lines(account_id).exclude(~Q(hold__state=Hold.State.OPEN), kind=Entry.Kind.HOLD)[:LINES_AT_A_GLANCE]
    bought = Purchase.objects.filter(account=account_id).select_related("pack").order_by("-id")[:PURCHASES_AT_A_GLANCE]
    context = {
        "plan": plan_words.standing(plans.in_force(account_id)),
        # What is bought for a frozen account could not be spent.
        "shelf": [] if account.is_frozen else packs.on_shelf(_best_pack(request, values)),
        "purchases": purchases.in_list(bought),
        "is_rehearsal": settings.STRIPE_REHEARSAL,
        "top_up": top_up_words.line(account_id),
        "why_url": _why_owed(account_id) if values.debt else "",
        "account": {
            "available": credits.display(values.available),
            "debt": credits.display(values.debt) if values.debt else "",
            "is_frozen": account.is_frozen,
            "frozen_reason": account.frozen_reason,
        },
        "split": _split(values, parts),
        "lots": [
            {"kind": part.kind, "amount": credits.display(part.amount), "words": part.words, "url": part.url}
            for part in parts
        ],
        "facts": _facts(values, lots),
        "holds": [
            {
                "label": statement.about(hold),
                "url": hold.link,
                "amount": credits.display(hold.left),
                "placed_at": hold.placed_at,
            }
            for hold in holds
        ],
        "meters": meters(account_id, request.user.pk, now),
        "days": by_day(lines, now),
    }
    return render(request, "billing/credits.html", context)


def _best_pack(request: HttpRequest, values: statement.Values) -> str:
    """The pack to point at: the one that led here, else for a debt the smallest that settles it; or none."""
    named = request.GET.get("pack", "")
    if named or not values.debt:
        return named
    pack = packs.enough_for(values.debt, packs.offered())
    return pack.slug if pack is not None else ""


def _why_owed(account: UUID) -> str:
    """The latest line that left something owed."""
    lines = Entry.objects.filter(account=account, kind=Entry.Kind.CLAW_BACK, debt_delta__gt=0)
    line = lines.order_by("-sequence").first()
    return f"/account/credits/statement/{line.id}" if line is not None else ""


@dataclass(frozen=True, slots=True)
class Part:
    """Credits of one kind within the balance."""

    kind: str
    amount: int
    words: str
    url: str = ""


def _parts(values: statement.Values, lots: Iterable[Lot]) -> list[Part]:
    """The balance in parts that add up to it: free credits by their kind, those set aside, those held."""
    free = [lot for lot in lots if not lot.is_frozen and lot.remaining > lot.held]
    found = []
    for kind in ("bought", "monthly", "gift"):
        of_kind = [lot for lot in free if KINDS.get(lot.source, "gift") == kind]
        if of_kind:
            amount = sum(lot.remaining - lot.held for lot in of_kind)
            found.append(Part(kind, amount, f"{_kind_words(kind, of_kind)}{_until(of_kind)}"))
    if values.frozen:
        found.append(Part("frozen", values.frozen, "set aside while a payment is disputed"))
    if values.held:
        found.append(Part("held", values.held, "held for what is running", "#held"))
    return found


def _kind_words(kind: str, lots: list[Lot]) -> str:
    if kind != "gift":
        return kind
    sources = {lot.source for lot in lots}
    return GIFTS.get(sources.pop(), "given") if len(sources) == 1 else "given"


def _until(lots: list[Lot]) -> str:
    ends = {lot.spendable_until for lot in lots}
    dated = [end for end in ends if end is not None]
    if not dated:
        return ""
    day = say_day(min(dated))
    return f", until {day}" if len(ends) == 1 else f", the first until {day}"


def _split(values: statement.Values, parts: Iterable[Part]) -> dict[str, Any]:
    """The bar's rectangles, in hundredths of a per cent of the balance, so that they meet exactly."""
    rectangles = []
    words = []
    end = 0
    for part in parts:
        start, end = end, end + part.amount
        left, right = start * 10_000 // values.balance, end * 10_000 // values.balance
        rectangles.append({"kind": part.kind, "start": _percent(left), "width": _percent(right - left)})
        words.append(f"{credits.display(part.amount)} {part.words}")
    return {"parts": rectangles, "words": f"{credits.display(values.balance)} credits: {'; '.join(words)}."}


def _percent(hundredths: int) -> str:
    return f"{hundredths // 100}.{hundredths % 100:02d}"


def _facts(values: statement.Values, lots: Iterable[Lot]) -> list[dict[str, str]]:
    facts = [{"title": "Balance", "words": credits.display(values.balance), "more": "available and held"}]
    if values.frozen:
        facts[0]["more"] = "available, held and set aside"
    ending = statement.next_expiry(lots)
    if ending is not None:
        at, amount = ending
        facts.append({"title": "Expires next", "words": credits.display(amount), "more": f"on {say_day(at)}"})
    elif values.balance:
        facts.append({"title": "Expires next", "words": "Nothing", "more": "these credits stay"})
    return facts


def say_day(moment: datetime | date) -> str:
    """A date for people: 1 Dec 2026."""
    return f"{moment.day} {moment:%b %Y}"


WHOSE = {"plan": "your plan’s", "staff": "the account’s", "person": "your own", "member": "your member’s"}


def meters(account: UUID, user: int | None, now: datetime) -> list[dict[str, str]]:
    """Use of the day and the month against the limit that leaves least of each."""
    used = statement.use_of(account, user, now)
    return [
        _meter("Today", "daily", used["day"], "at 00:00 UTC"),
        _meter(f"{now:%B}", "monthly", used["month"], f"on {say_day(used['month'].resets_at)}"),
    ]


def _meter(title: str, span: str, use: statement.Use, again: str) -> dict[str, str]:
    shown = {"title": title, "used": credits.display(use.used)}
    if use.limit is None:
        return shown | {"words": f"Charged and held. No {span} limit is set."}
    share = min(use.used * 10_000 // use.limit, 10_000) if use.limit else 10_000
    state = "full" if share >= 10_000 else "warn" if share >= 8_000 else ""
    words = f"{share // 100} % of {WHOSE[use.source or 'person']} {span} limit. It starts again {again}."
    return shown | {"limit": credits.display(use.limit), "percent": _percent(share), "state": state, "words": words}


# Statement


def _lines(account: UUID) -> QuerySet[Entry]:
    lines: QuerySet[Entry] = statement.lines_of(account).select_related("text", "hold", "refunds__hold")
    return lines


@for_people
@require_safe
def account_statement(request: HttpRequest) -> HttpResponse:
    """Every line of the account, newest first, in pages."""
    found = window(request, _lines(people.account_of(request)), "sequence", sequence, LINES_A_PAGE)
    context = {
        "days": by_day(found.rows, clock.now()),
        "newer_url": found.newer_url,
        "older_url": found.older_url,
        "csv_url": "/api/credits/entries.csv",
    }
    return render(request, "billing/statement.html", context)


def by_day(lines: Iterable[Entry], now: datetime) -> list[dict[str, Any]]:
    """The lines under their UTC days, as they come."""
    days: list[dict[str, Any]] = []
    for line in lines:
        title = _day_title(line.created_at.date(), now.date())
        if not days or days[-1]["title"] != title:
            days.append({"title": title, "lines": []})
        days[-1]["lines"].append(line_in_words(line))
    for name in ("credits", "balance"):
        _stand_under_each_other([line for day in days for line in day["lines"]], name)
    return days


def _stand_under_each_other(lines: list[dict[str, Any]], name: str) -> None:
    """How many decimals each amount has fewer than the one with the most: the page leaves that much room."""
    decimals = [len(line[name].partition(".")[2]) for line in lines]
    for line, count in zip(lines, decimals, strict=True):
        line[f"{name}_room"] = max(decimals) - count


def _day_title(day: date, today: date) -> str:
    if day == today:
        return "Today"
    return "Yesterday" if day == today - timedelta(days=1) else say_day(day)


WORDS = {
    "grant": ("Added", "ok"),
    "hold": ("Held", "wait"),
    "draw": ("Charged", "ok"),
    "capture": ("Charged", "ok"),
    "release": ("Back", ""),
    "hold_expired": ("Back", ""),
    "late_capture": ("Charged", "ok"),
    "charge": ("Charged", "ok"),
    "refund": ("Refunded", "ok"),
    "lot_expired": ("Expired", ""),
    "freeze": ("Set aside", "wait"),
    "thaw": ("Free again", "ok"),
    "claw_back": ("Taken back", "bad"),
    "restore": ("Returned", "ok"),
    "adjust": ("Corrected", ""),
    "forgive": ("Forgiven", "ok"),
    "repay": ("Repaid", ""),
}


def line_in_words(line: Entry) -> dict[str, Any]:
    """One line as the statement shows it: what it did to the balance, and the balance after it."""
    word, kind = WORDS[line.kind]
    if line.kind == Entry.Kind.HOLD and line.hold is not None and line.hold.state != Hold.State.OPEN:
        kind = ""
    of = line.refunds.hold if line.refunds is not None else line.hold
    return {
        "url": f"/account/credits/statement/{line.id}",
        "title": statement.about(of) or statement.describe(line),
        "note": _note(line),
        "at": line.created_at,
        "word": word,
        "kind": kind,
        "credits": credits.display(line.balance_delta, signed=True),
        "is_in": line.balance_delta > 0,
        "is_still": not line.balance_delta,
        "balance": credits.display(line.balance_after),
    }


def _note(line: Entry) -> str:
    """What the two numbers of a line do not say."""
    amount = credits.display(line.amount)
    reason = line.text.reason if hasattr(line, "text") else ""
    match line.kind:
        case "hold" if line.hold is not None and line.hold.state != Hold.State.OPEN:
            return f"{amount} were held"
        case "hold":
            return f"{amount} held until it ends"
        case "capture" if line.balance_delta != line.held_delta:
            return f"{credits.display(line.balance_delta - line.held_delta)} of what was held is back"
        case "release":
            back = f"{amount} back, nothing charged"
            return f"{reason[0].upper()}{reason[1:].rstrip('.')}. {back}" if reason else back
        case "hold_expired":
            return f"{amount} back, its time ran out"
        case "late_capture":
            return "finished after its time"
        case "freeze":
            return f"{amount} cannot be spent for now"
        case "thaw":
            return f"{amount} can be spent again"
        case "claw_back" | "forgive" | "repay" if line.debt_delta:
            return f"owed {credits.display(line.debt_delta, signed=True)}"
    return str(reason)


def record_act(request: Any, act: str, **more: Any) -> None:
    audit.record(
        act,
        account=people.account_of(request),
        actor=people.actor_of(request),
        request_id=getattr(request, "request_id", ""),
        **more,
    )


# Tokens

SCOPES = {Token.Scope.READ: "reads", Token.Scope.SPEND: "reads and spends", Token.Scope.SERVICE: "service"}


class TokenForm(forms.Form):
    name = forms.CharField(
        label="What is it for?", max_length=100, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    scope = forms.ChoiceField(
        label="What may it do?",
        choices=[("read", "Only read"), ("spend", "Read, and spend credits")],
        widget=forms.RadioSelect,
        initial="read",
    )


@for_people
@require_http_methods(["GET", "HEAD", "POST"])
def settings_tokens(request: Any) -> HttpResponse:
    """The person's tokens of this account; a new one is shown in the answer that makes it, and never again."""
    account = people.account_of(request)
    form = TokenForm(request.POST or None)
    fresh = ""
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            made, fresh = tokens.make(request.user, Account(id=account), **form.cleaned_data)
            record_act(request, "make_token", subject=f"token:{made.id}", facts=form.cleaned_data)
        form = TokenForm()
    mine = Token.objects.filter(account=account, user=request.user, revoked_at=None).order_by("-id")
    for token in mine:
        token.scope_words = SCOPES[Token.Scope(token.scope)]  # type: ignore[attr-defined]
    context = {"form": form, "fresh": fresh, "tokens": mine}
    return render(request, "billing/settings_tokens.html", context, status=422 if form.errors else 200)


@for_people
@require_POST
def revoke_token(request: Any, id: UUID) -> HttpResponse:
    """The token opens nothing any more."""
    token = Token.objects.filter(account=people.account_of(request), user=request.user, id=id).first()
    if token is None:
        raise Http404
    with transaction.atomic():
        if tokens.revoke(token):
            record_act(request, "revoke_token", subject=f"token:{token.id}")
    messages.success(request, f"The token “{token.name}” opens nothing any more.")
    return redirect("settings_tokens")


# Notices


def notices_of(account: UUID) -> list[Notice]:
    """What the account's people have not seen yet, newest first; a few at once."""
    return list(Notice.objects.filter(account=account, seen_at=None).order_by("-created_at")[:NOTICES_AT_ONCE])


def see(account: UUID, **which: Any) -> None:
    """These notices of the account are not shown again."""
    Notice.objects.filter(account=account, seen_at=None, **which).update(seen_at=timezone.now())


@for_people
@require_POST
def notice_seen(request: Any, id: UUID) -> HttpResponse:
    """The notice is not shown again."""
    account = people.account_of(request)
    if not Notice.objects.filter(account=account, id=id).exists():
        raise Http404
    see(account, id=id)
    if request.htmx:
        return HttpResponse()
    onward = request.POST.get("next", "")
    is_ours = onward.startswith("/") and url_has_allowed_host_and_scheme(onward, {request.get_host()})
    return redirect(onward if is_ours else "account_credits")
