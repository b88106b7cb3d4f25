"""Auto top-ups as staff see them: what each account agreed to, how it stands, what it bought; and switching one off."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from unfold.decorators import display

from billing import alerts, approvals, credits, top_up_words, top_ups
from billing import money as prices
from billing.clock import now
from billing.errors import BillingError
from billing.models import AutoTopUp, Purchase

from .acts import StaffAct, WithActs
from .parts import Figure, Section, link, money, tag, text, when
from .sales import purchase_tag
from .tables import OfAccount, person

SHOWN = 50


class AlreadyOff(BillingError):
    code = "already_off"
    sentence = "This account's auto top-up is off already."
    reason = "Its owner, a colleague or a rule switched it off before."
    action = "Nothing is left to do."


class StopTopUp(StaffAct):
    name, title, icon = "stop_top_up", "Switch it off", "block"
    sentence = (
        "Nothing more is bought by itself. A payment that is under way at Stripe goes on. The account's owner is told, "
        "and can turn it on again: freeze the account where that must not be."
    )
    permission = "billing.stop_top_up"
    is_dangerous = True
    done = "It is off."

    def is_offered(self, row: Any) -> bool:
        return bool(row.is_on)

    def account(self, row: Any) -> UUID:
        return row.account_id

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        return {"account": str(row.account_id), "reason": cleaned["reason"]}

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        is_on = AutoTopUp.objects.get(account=instruction["account"]).is_on
        return [("Auto top-up", "on" if is_on else "off", "off")]


@approvals.act(StopTopUp.name)
def _stop(instruction: dict[str, Any], asked_by: Any, approved_by: Any) -> str:
    account = UUID(instruction["account"])
    if not top_ups.stop(account, AutoTopUp.Off.STAFF):
        raise AlreadyOff
    alerts.notify(
        account,
        f"top-up:staff:{now().isoformat()}",
        "Auto top-up was switched off",
        body=f"The people who run this desk switched it off: {instruction['reason']} You can turn it on again.",
        link=top_ups.PAGE,
        level="warning",
    )
    return f"autotopup:{account}"


@admin.register(AutoTopUp)
class AutoTopUpAdmin(WithActs, OfAccount):
    """What accounts buy by themselves."""

    acts = (StopTopUp(),)
    list_display = (
        "state_shown",
        "account_shown",
        "below_shown",
        "pack_shown",
        "month_shown",
        "person_shown",
        "agreed",
    )
    list_filter = ("is_on", "waits_because", "off_because")
    list_select_related = ("account", "pack", "agreed_by")
    ordering = ("-agreed_at",)
    id_fields = ("account_id",)
    search_help_text = "An account’s id"
    fields = (
        "account_shown",
        "state_shown",
        "below_shown",
        "pack_shown",
        "price_shown",
        "month_shown",
        "waits_shown",
        "person_shown",
        "agreed",
    )

    def heading(self, row: Any) -> str:
        return f"Auto top-up of {row.account}"

    def figures(self, row: Any) -> list[Figure]:
        used = top_ups.used_in_month(row.account_id, now())
        return [
            Figure("Available", money(row.account.available), f"it buys below {credits.display(row.below)}"),
            Figure("Spent this month", prices.words(used, row.currency), "what waits to be paid included"),
            Figure("At most a month", prices.words(row.month_max_minor, row.currency)),
        ]

    def warnings(self, row: Any) -> list[str]:
        standing = top_up_words.standing(row.account_id)
        return [standing["words"]] if standing is not None and standing["state"] not in ("on", "buying") else []

    @display(description="State")
    def state_shown(self, row: AutoTopUp) -> Any:
        if not row.is_on:
            return tag(f"off: {row.off_because}", "bad" if row.off_because == AutoTopUp.Off.DECLINED else "")
        waits = row.waits_until is not None and row.waits_until > now()
        return tag(f"waits: {row.waits_because}", "wait") if waits else tag("on", "ok")

    @display(description="Buys below")
    def below_shown(self, row: AutoTopUp) -> Any:
        return money(row.below)

    @display(description="Pack")
    def pack_shown(self, row: AutoTopUp) -> Any:
        return link(row.pack, words=str(row.pack))

    @display(description="Agreed to")
    def price_shown(self, row: AutoTopUp) -> str:
        return f"{credits.display(row.credits)} credits for {prices.words(row.price_minor, row.currency)}"

    @display(description="At most a month")
    def month_shown(self, row: AutoTopUp) -> Any:
        return format_html('<span class="n">{}</span>', prices.words(row.month_max_minor, row.currency))

    @display(description="Waits until")
    def waits_shown(self, row: AutoTopUp) -> Any:
        return when(row.waits_until)

    @display(description="Agreed by")
    def person_shown(self, row: AutoTopUp) -> Any:
        return person(row.agreed_by)

    @display(description="Agreed at")
    def agreed(self, row: AutoTopUp) -> Any:
        return when(row.agreed_at)

    def sections(self, request: HttpRequest, row: Any) -> list[Section]:
        bought = Purchase.objects.filter(account=row.account_id, is_top_up=True).select_related("pack").order_by("-id")
        return [
            Section(
                "What it bought, or tried to",
                ("Purchase", "Money", "Credits", "State", "What was said", "When"),
                [
                    [
                        link(one, words=str(one.pack)),
                        prices.words(one.amount_minor, one.currency),
                        money(one.credits),
                        purchase_tag(one),
                        text(one.error),
                        when(one.created_at),
                    ]
                    for one in bought[:SHOWN]
                ],
                empty="Nothing yet.",
                numbers=frozenset({1, 2}),
                of=Purchase,
            )
        ]
