"""Gift codes: made by staff, one or many at once, shown on the page that made them and nowhere else; and revoked.

All that the codes can give counts toward what one member of staff may give away in a day. Above it the codes are shown
at once to who asked, and work once a second person has approved them.
"""

from __future__ import annotations

import csv
from datetime import datetime
from io import StringIO
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.decorators import display

from billing import approvals, clock, credits, errors, gifts
from billing.models import Approval, Entry, GiftCode, GiftUse

from .acts import ActForm, CreditsField, ReasonField, StaffAct, Whole, WithActs, choice, moment
from .parts import ReadOnly, Section, address, code, link, listing, money, tag, text, when
from .tables import OfAccount, account_link, person

CODES_MAX = 1000
USES_MAX = 100_000


# Making


class GiftCodesForm(ActForm):
    count = Whole(label="How many codes", min_value=1, max_value=CODES_MAX)
    credits = CreditsField(label="Credits for each account that uses one")
    uses_max = Whole(
        label="Accounts that may use the same code", min_value=1, max_value=USES_MAX, help_text="Each of them once."
    )
    keep_months = Whole(label="Months in which its credits can be spent", min_value=1, max_value=120)
    expires_at = moment("Can be used until (UTC)", required=False, help_text="Empty: until it is used up or revoked.")
    shown_as = choice("Show them", [("page", "On a page"), ("csv", "As a CSV file")])
    reason = ReasonField(help_text="What they are for. It stands beside them and in the audit trail for ever.")

    def clean_expires_at(self) -> datetime | None:
        end: datetime | None = self.cleaned_data["expires_at"]
        if end is not None and end <= timezone.now():
            self.add_error("expires_at", "Write a time to come.")
        return end

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if {"count", "credits", "uses_max"} <= cleaned.keys() and given_at_most(cleaned) > credits.AMOUNT_MAX:
            most = credits.display(credits.AMOUNT_MAX)
            self.add_error("credits", f"All together they could give more than {most} credits.")
        return cleaned


def given_at_most(terms: dict[str, Any]) -> int:
    """Microcredits that the codes can give all together."""
    return int(terms["count"] * terms["credits"] * terms["uses_max"])


class MakeGiftCodes(StaffAct):
    name, title, icon = "make_gift_codes", "Make gift codes", "redeem"
    sentence = (
        "Whoever has a code may have its credits, as promotional ones, once for an account. The codes are shown once, "
        "after the last step, and kept nowhere."
    )
    permission = "billing.make_gift_code"
    form = GiftCodesForm
    is_at_large = True

    def initial(self, row: Any) -> dict[str, Any]:
        return {"count": 1, "uses_max": 1, "keep_months": 12, "shown_as": "page"}

    def amount(self, row: Any, cleaned: dict[str, Any]) -> int:
        return given_at_most(cleaned)

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        end = cleaned["expires_at"]
        return {
            "batch": str(cleaned["once"]),
            "count": cleaned["count"],
            "credits": cleaned["credits"],
            "uses_max": cleaned["uses_max"],
            "keep_months": cleaned["keep_months"],
            "expires_at": end.isoformat() if end is not None else None,
            "note": cleaned["reason"],
        }

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        if GiftCode.objects.filter(batch=instruction["batch"]).exists():
            raise gifts.CodesMadeBefore
        end = instruction["expires_at"]
        return [
            ("Codes", "–", instruction["count"]),
            ("Credits for each use", "–", money(instruction["credits"])),
            ("Uses of each code", "–", instruction["uses_max"]),
            ("Credits all together, at most", "–", money(given_at_most(instruction))),
            ("Can be used until", "–", when(datetime.fromisoformat(end)) if end else "no end"),
        ]

    def carry_out(self, request: HttpRequest, row: Any, cleaned: dict[str, Any]) -> HttpResponse:
        """The codes are there, or wait for a second person; the answer shows them, this once."""
        codes = [gifts.new_code() for _ in range(cleaned["count"])]
        kept = [[gifts.hash_of(one).hex(), gifts.hint_of(one)] for one in codes]
        instruction = self.instruction(row, cleaned) | {"kept": kept}
        amount, once = self.amount(row, cleaned), cleaned["once"]
        waiting = ""
        try:
            approvals.ask_or_do_at_large(self.name, request.user, amount, instruction, cleaned["reason"], once=once)
        except errors.ApprovalNeeded as needed:
            if not needed.facts["is_new"]:
                raise gifts.CodesMadeBefore from needed
            waiting = address(Approval, needed.facts["approval"])
        return _shown(request, self, codes, cleaned, waiting)

    def back(self, row: Any) -> str:
        return reverse("admin:billing_giftcode_changelist")


def _shown(
    request: HttpRequest, act: MakeGiftCodes, codes: list[str], cleaned: dict[str, Any], waiting: str
) -> HttpResponse:
    """The codes, once; nothing keeps the answer."""
    response: HttpResponse
    if cleaned["shown_as"] == "csv":
        file = StringIO()
        rows = csv.writer(file)
        rows.writerow(["code", "credits", "uses", "until"])
        end = cleaned["expires_at"]
        until = end.isoformat() if end is not None else ""
        rows.writerows([one, credits.format(cleaned["credits"]), cleaned["uses_max"], until] for one in codes)
        response = HttpResponse(file.getvalue(), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = 'attachment; filename="gift-codes.csv"'
        if waiting:
            link = format_html('<a class="row-link" href="{}">See what waits</a>', waiting)
            messages.warning(request, format_html("The codes work once a second person has approved them. {}.", link))
    else:
        context = {
            **admin.site.each_context(request),
            "title": "Gift codes",
            "codes": codes,
            "credits": credits.display(cleaned["credits"]),
            "waiting": waiting,
            "back": act.back(None),
        }
        response = TemplateResponse(request, "admin/gift_codes.html", context)
    response["Cache-Control"] = "no-store"
    return response


@approvals.act(MakeGiftCodes.name)
def _make(instruction: dict[str, Any], asked_by: Any, approved_by: Any) -> str:
    end = instruction["expires_at"]
    terms = gifts.Terms(
        credits=instruction["credits"],
        uses_max=instruction["uses_max"],
        keep_months=instruction["keep_months"],
        expires_at=datetime.fromisoformat(end) if end else None,
        note=instruction["note"],
    )
    kept = [(bytes.fromhex(hash), hint) for hash, hint in instruction["kept"]]
    batch = UUID(instruction["batch"])
    gifts.make(terms, kept, batch=batch, made_by=asked_by, approved_by=approved_by, at=clock.now())
    return f"giftbatch:{batch}"


# Revoking


class RevokeGiftCode(StaffAct):
    name, title, icon = "revoke_gift_code", "Revoke", "block"
    sentence = "Nobody can use the code any more. The credits that it gave stay where they are."
    permission = "billing.revoke_gift_code"
    is_dangerous = True
    is_at_large = True
    done = "It is revoked."

    def is_offered(self, row: Any) -> bool:
        return row.revoked_at is None and row.uses < row.uses_max

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        return {"code": str(row.id)}


@approvals.act(RevokeGiftCode.name)
def _revoke(instruction: dict[str, Any], asked_by: Any, approved_by: Any) -> str:
    gifts.revoke(UUID(instruction["code"]), clock.now())
    return f"giftcode:{instruction['code']}"


# The list and the rows


@admin.register(GiftCode)
class GiftCodeAdmin(WithActs, ReadOnly):
    """Gift codes. Their text was shown once and is nowhere; their hash is not shown."""

    acts = (RevokeGiftCode(),)
    list_acts = (MakeGiftCodes(),)
    list_before_template = "admin/_acts.html"
    list_display = ("hint_shown", "credits_shown", "uses_shown", "until_shown", "state_shown", "note_short", "made")
    list_select_related = ("made_by",)
    id_fields = ("id", "batch")
    word_fields = ("hint",)
    search_help_text = "A code’s last four characters, its id, or its batch’s"
    fields = (
        "id_shown",
        "batch_shown",
        "hint_shown",
        "credits_shown",
        "uses_shown",
        "keep_shown",
        "until_shown",
        "state_shown",
        "note",
        "made_by_shown",
        "approved_by_shown",
        "made",
        "revoked",
    )

    @display(description="Id")
    def id_shown(self, row: GiftCode) -> Any:
        return code(row.pk)

    @display(description="Made together with")
    def batch_shown(self, row: GiftCode) -> Any:
        page = listing(GiftCode, q=row.batch)
        return format_html('<a class="row-link" href="{}">the codes of its batch</a>', page)

    @display(description="Code")
    def hint_shown(self, row: GiftCode) -> Any:
        return format_html("ends in <code>{}</code>", row.hint)

    @display(description="Credits")
    def credits_shown(self, row: GiftCode) -> Any:
        return money(row.credits)

    @display(description="Uses")
    def uses_shown(self, row: GiftCode) -> str:
        return f"{row.uses:,} of {row.uses_max:,}"

    @display(description="Credits kept")
    def keep_shown(self, row: GiftCode) -> str:
        return f"{row.keep_months} months"

    @display(description="Can be used until")
    def until_shown(self, row: GiftCode) -> Any:
        return when(row.expires_at) if row.expires_at else "no end"

    @display(description="State")
    def state_shown(self, row: GiftCode) -> Any:
        if row.revoked_at is not None:
            return tag("revoked", "bad")
        if row.uses >= row.uses_max:
            return tag("used up")
        if row.expires_at is not None and row.expires_at <= timezone.now():
            return tag("expired")
        return tag("can be used", "ok")

    @display(description="For")
    def note_short(self, row: GiftCode) -> str:
        return text(row.note if len(row.note) <= 60 else row.note[:59] + "…")

    @display(description="Made by")
    def made_by_shown(self, row: GiftCode) -> Any:
        return person(row.made_by)

    @display(description="Approved by")
    def approved_by_shown(self, row: GiftCode) -> Any:
        return person(row.approved_by)

    @display(description="Made")
    def made(self, row: GiftCode) -> Any:
        return when(row.made_at)

    @display(description="Revoked")
    def revoked(self, row: GiftCode) -> Any:
        return when(row.revoked_at)

    def sections(self, request: HttpRequest, row: Any) -> list[Section]:
        used = GiftUse.objects.filter(code=row).select_related("account", "user").order_by("-id")
        return [
            Section(
                "Who used it",
                ("Account", "Person", "When", "Line"),
                [
                    [account_link(one), person(one.user), when(one.created_at), link(Entry, one.entry_id)]
                    for one in used[:10]
                ],
                listing(GiftUse, code__id__exact=row.id),
                "Nobody has used it yet.",
                of=GiftUse,
            )
        ]


@admin.register(GiftUse)
class GiftUseAdmin(OfAccount):
    """Who used which gift code, and the line that granted its credits."""

    list_display = ("account_shown", "person_shown", "code_shown", "line_shown", "at")
    list_select_related = ("account", "user", "code")
    list_filter = ()
    id_fields = ("id", "account_id", "code_id")
    fields = ("id_shown", "account_shown", "person_shown", "code_shown", "line_shown", "at")

    def lookup_allowed(self, lookup: str, value: str, request: Any = None) -> bool:
        return lookup == "code__id__exact" or super().lookup_allowed(lookup, value, request)

    @display(description="Person")
    def person_shown(self, row: GiftUse) -> Any:
        return person(row.user)

    @display(description="Code")
    def code_shown(self, row: GiftUse) -> Any:
        return link(GiftCode, row.code_id, str(row.code))

    @display(description="Line")
    def line_shown(self, row: GiftUse) -> Any:
        return link(Entry, row.entry_id)

    @display(description="When")
    def at(self, row: GiftUse) -> Any:
        return when(row.created_at)
