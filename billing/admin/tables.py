"""The vault's rows as staff see them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from unfold.decorators import display

from billing import alerts, credits
from billing.models import (
    Account,
    Alert,
    Approval,
    Audit,
    ClawBack,
    Entry,
    Hold,
    Lot,
    Membership,
    Notice,
    Payment,
    Share,
    SpendLimit,
    Token,
)

from . import money as acts
from .acts import STAFF_ACTS, WithActs
from .parts import (
    NOTHING,
    ROWS_SHOWN,
    Figure,
    ReadOnly,
    Section,
    code,
    document,
    lines,
    link,
    listing,
    money,
    moved,
    short,
    tag,
    text,
    when,
    yes_or_no,
)

HOLD_KINDS = {"open": "wait", "captured": "ok"}
KIND_TAGS = {
    "grant": "ok",
    "refund": "ok",
    "restore": "ok",
    "release": "ok",
    "hold": "wait",
    "claw_back": "bad",
    "lot_expired": "bad",
}


def account_link(row: Any) -> Any:
    """The account of a row that has one."""
    return link(Account, row.account_id, str(row.account)) if row.account_id else NOTHING


# Accounts


class HasDebt(admin.SimpleListFilter):
    title = "state"
    parameter_name = "is"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("frozen", "Frozen by staff"), ("in_debt", "In debt"), ("holding", "With credits held")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = {"frozen": Q(is_frozen=True), "in_debt": Q(debt__gt=0), "holding": Q(held__gt=0)}
        return queryset.filter(wanted[self.value()]) if self.value() in wanted else queryset  # type: ignore[index]


@admin.register(Account)
class AccountAdmin(WithActs, ReadOnly):
    """Purses: what each has, who belongs to it, and what staff may do to it."""

    acts = (
        acts.Grant(),
        acts.Adjust(),
        acts.Forgive(),
        acts.LimitAccount(),
        acts.FreezeAccount(),
        acts.LiftFreeze(),
    )
    list_display = ("name_shown", "available_shown", "held_shown", "frozen_shown", "debt_shown", "state_shown", "made")
    list_filter = (HasDebt,)
    search_help_text = "Part of an e-mail address or name, or an account’s id"
    fields = ("id_shown", "name", "made", "lines_shown", "moved_shown", "digest_shown", "frozen_reason")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Accounts with this id, or whose people or name have these letters."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(id=UUID(term)), False
        except ValueError:
            of_person = Membership.objects.filter(account=OuterRef("pk"), user__email__icontains=term)
            return queryset.filter(Q(name__icontains=term) | Exists(of_person)), False

    @display(description="Account")
    def name_shown(self, row: Account) -> Any:
        return row.name or short(row.id)

    @display(description="Available")
    def available_shown(self, row: Account) -> Any:
        return money(row.available)

    @display(description="Held")
    def held_shown(self, row: Account) -> Any:
        return money(row.held, "held" if row.held else "quiet")

    @display(description="Frozen")
    def frozen_shown(self, row: Account) -> Any:
        return money(row.frozen, "" if row.frozen else "quiet")

    @display(description="Owed")
    def debt_shown(self, row: Account) -> Any:
        return money(row.debt, "bad-text" if row.debt else "quiet")

    @display(description="State")
    def state_shown(self, row: Account) -> Any:
        return tag("frozen", "bad") if row.is_frozen else tag("in debt", "bad") if row.debt else tag("open", "ok")

    @display(description="Opened")
    def made(self, row: Account) -> Any:
        return when(row.created_at)

    @display(description="Id")
    def id_shown(self, row: Account) -> Any:
        return code(row.id)

    @display(description="Lines on the statement")
    def lines_shown(self, row: Account) -> Any:
        return format_html('<span class="n">{}</span>', row.entry_count)

    @display(description="Last moved")
    def moved_shown(self, row: Account) -> Any:
        return when(row.moved_at)

    @display(description="Head digest")
    def digest_shown(self, row: Account) -> Any:
        return code(bytes(row.digest).hex())

    def figures(self, row: Any) -> list[Figure]:
        return [
            Figure("Available", credits.display(row.available), f"of a balance of {credits.display(row.balance)}"),
            Figure("Held", credits.display(row.held), "promised to work under way", "held" if row.held else ""),
            Figure("Frozen", credits.display(row.frozen), "by a dispute over its payment"),
            Figure("Owed", credits.display(row.debt), "repaid first", "alert" if row.debt else ""),
        ]

    def warnings(self, row: Any) -> list[str]:
        return (
            [f"Staff have frozen this account: {row.frozen_reason or 'no reason was given'}"] if row.is_frozen else []
        )

    def sections(self, request: HttpRequest, row: Any) -> list[Section]:
        of = {"account__id__exact": row.id}
        members = Membership.objects.filter(account=row).select_related("user").order_by("id")
        lots = Lot.objects.filter(account=row, remaining__gt=0).order_by("priority", "spendable_until", "id")
        holds = Hold.objects.filter(account=row, ended_at=None).order_by("-id")
        entries = Entry.objects.filter(account=row).select_related("text").order_by("-sequence")
        limits = SpendLimit.objects.filter(account=row).select_related("user").order_by("source")
        asked = Approval.objects.filter(account=row, state="waiting").select_related("asked_by").order_by("-id")
        waiting = [
            Section(
                "Waiting for a second person",
                ("What", "Credits", "Asked by", "When"),
                [
                    [link(one, words=act_title(one.act)), money(one.amount), one.asked_by, when(one.asked_at)]
                    for one in asked
                ],
                numbers=frozenset({1}),
                of=Approval,
            )
        ]
        return [
            *(waiting if asked else []),
            Section(
                "People",
                ("Person", "Role", "Since"),
                [[person(one.user), one.role, when(one.created_at)] for one in members[:ROWS_SHOWN]],
                listing(Membership, **of),
                "Nobody belongs to it.",
                of=Membership,
            ),
            Section(
                "Lots with credits, in the order they are spent",
                ("Lot", "From", "Remaining", "Held", "Spendable until"),
                [
                    [link(one), lot_words(one), money(one.remaining), money(one.held), until(one)]
                    for one in lots[:ROWS_SHOWN]
                ],
                listing(Lot, **of),
                "No credits.",
                frozenset({2, 3}),
                of=Lot,
            ),
            Section(
                "Open holds",
                ("Hold", "For", "Held", "Ends"),
                [
                    [link(one), one.label or one.reference, money(one.left), when(one.expires_at)]
                    for one in holds[:ROWS_SHOWN]
                ],
                listing(Hold, **of),
                "Nothing is held.",
                frozenset({2}),
                of=Hold,
            ),
            Section(
                "Newest lines of the statement",
                ("Line", "Kind", "Balance", "Held", "Balance after", "Written"),
                [entry_cells(one) for one in entries[:ROWS_SHOWN]],
                listing(Entry, **of),
                "No line yet.",
                frozenset({2, 3, 4}),
                of=Entry,
            ),
            Section(
                "Spend limits",
                ("Whose", "A run", "A day", "A month"),
                [
                    [limit_words(one), most(one.per_run), most(one.per_day), most(one.per_month)]
                    for one in limits[:ROWS_SHOWN]
                ],
                listing(SpendLimit, **of),
                "None.",
                frozenset({1, 2, 3}),
                of=SpendLimit,
            ),
            Section(
                "Audit trail",
                ("When", "What", "By", ""),
                [audit_cells(one) for one in Audit.objects.filter(account=row).order_by("-created_at")[:ROWS_SHOWN]],
                listing(Audit, **of),
                of=Audit,
            ),
        ]


def person(user: Any) -> Any:
    return link(user, words=user.email or user.get_username()) if user is not None else NOTHING


def most(micro: int | None) -> Any:
    return "no limit" if micro is None else money(micro)


def until(lot: Lot) -> Any:
    return when(lot.spendable_until) if lot.spendable_until else "for ever"


def lot_words(lot: Lot) -> str:
    return f"{lot.source}, {'promotional' if lot.is_promotional else 'paid'}" + (", frozen" if lot.is_frozen else "")


def limit_words(limit: SpendLimit) -> str:
    return (
        f"member {limit.user}" if limit.user_id else f"the {limit.source}’s" if limit.source != "staff" else "staff’s"
    )


def entry_cells(entry: Entry) -> list[Any]:
    return [
        link(entry, words=f"Line {entry.sequence}"),
        tag(entry.kind, KIND_TAGS.get(entry.kind, "")),
        moved(entry.balance_delta),
        moved(entry.held_delta),
        money(entry.balance_after),
        when(entry.created_at),
    ]


def audit_cells(row: Audit) -> list[Any]:
    return [
        link(row, words=when(row.created_at)),
        act_title(row.act),
        row.actor,
        tag(row.code or "refused", "bad") if row.is_refusal else "",
    ]


def act_title(name: str) -> str:
    return STAFF_ACTS[name].title if name in STAFF_ACTS else name


class OfAccount(ReadOnly):
    """Rows of an account, with the link to it."""

    list_select_related: Any = ("account",)
    id_fields = ("id", "account_id")
    search_help_text = "An id: its own or its account’s"

    @display(description="Account")
    def account_shown(self, row: Any) -> Any:
        return account_link(row)

    @display(description="Id")
    def id_shown(self, row: Any) -> Any:
        return code(row.pk)


@admin.register(Membership)
class MembershipAdmin(OfAccount):
    """Who belongs to which account."""

    list_display = ("person_shown", "account_shown", "role", "own_shown", "made")
    list_filter = ("role", "is_own")
    list_select_related = ("account", "user")
    word_fields = ("user__email__icontains",)
    search_help_text = "Part of an e-mail address, or an id"
    fields = ("id_shown", "person_shown", "account_shown", "role", "own_shown", "made")

    @display(description="Person")
    def person_shown(self, row: Membership) -> Any:
        return person(row.user)

    @display(description="Opened by sign-up")
    def own_shown(self, row: Membership) -> str:
        return yes_or_no(row.is_own)

    @display(description="Since")
    def made(self, row: Membership) -> Any:
        return when(row.created_at)


# Lots, holds, lines


@admin.register(Lot)
class LotAdmin(OfAccount):
    """Credits granted together."""

    list_display = (
        "lot_shown",
        "account_shown",
        "source",
        "kind_shown",
        "amount_shown",
        "left_shown",
        "held_shown",
        "until_shown",
    )
    list_filter = ("source", "is_promotional", "is_frozen")
    id_fields = ("id", "account_id", "payment_id")
    fields = (
        "id_shown",
        "account_shown",
        "source",
        "kind_shown",
        "payment_shown",
        "granted_shown",
        "expires_shown",
        "until_shown",
        "priority",
        "moved_by",
    )

    @display(description="Lot")
    def lot_shown(self, row: Lot) -> str:
        return short(row.id)

    @display(description="Kind")
    def kind_shown(self, row: Lot) -> Any:
        return (
            tag("frozen", "bad") if row.is_frozen else tag("promotional") if row.is_promotional else tag("paid", "ok")
        )

    @display(description="Granted")
    def amount_shown(self, row: Lot) -> Any:
        return money(row.amount)

    @display(description="Remaining")
    def left_shown(self, row: Lot) -> Any:
        return money(row.remaining, "" if row.remaining else "quiet")

    @display(description="Held")
    def held_shown(self, row: Lot) -> Any:
        return money(row.held, "held" if row.held else "quiet")

    @display(description="Granted at")
    def granted_shown(self, row: Lot) -> Any:
        return when(row.granted_at)

    @display(description="Expires")
    def expires_shown(self, row: Lot) -> Any:
        return when(row.expires_at) if row.expires_at else "never"

    @display(description="Spendable until")
    def until_shown(self, row: Lot) -> Any:
        return until(row)

    @display(description="Payment")
    def payment_shown(self, row: Lot) -> Any:
        if row.payment_id is None:
            return NOTHING
        return link(Payment, row.payment_id, Payment.objects.get(id=row.payment_id).reference)

    def figures(self, row: Any) -> list[Figure]:
        return [
            Figure("Remaining", credits.display(row.remaining), f"of {credits.display(row.amount)}"),
            Figure("Held of it", credits.display(row.held), "", "held" if row.held else ""),
            Figure("Spent", credits.display(row.spent)),
            Figure("Expired", credits.display(row.expired)),
            Figure("Taken back", credits.display(row.taken)),
            Figure("Went to debt", credits.display(row.repaid)),
        ]

    def sections(self, request: HttpRequest, row: Any) -> list[Section]:
        found = Entry.objects.filter(account=row.account_id, lots__contains=[row.id]).order_by("-sequence")
        return [
            Section(
                "Newest lines that moved it",
                ("Line", "Kind", "Balance", "Held", "Balance after", "Written"),
                [entry_cells(one) for one in found[:ROWS_SHOWN]],
                numbers=frozenset({2, 3, 4}),
                of=Entry,
            )
        ]


@admin.register(Hold)
class HoldAdmin(WithActs, OfAccount):
    """Credits promised to one piece of work, with the receipt of the lots that gave them."""

    acts = (acts.ReleaseHold(), acts.ExpireHold())
    list_display = (
        "hold_shown",
        "account_shown",
        "for_shown",
        "owner",
        "state_shown",
        "amount_shown",
        "captured_shown",
        "ends",
    )
    list_filter = ("state", "is_envelope")
    word_fields = ("reference",)
    search_help_text = "An id: its own or its account’s; or a whole reference"
    fields = (
        "id_shown",
        "account_shown",
        "for_shown",
        "reference",
        "owner",
        "member_shown",
        "state_shown",
        "envelope_shown",
        "placed",
        "ends",
        "ended",
        "price_shown",
    )

    @display(description="Hold")
    def hold_shown(self, row: Hold) -> str:
        return short(row.id)

    @display(description="For")
    def for_shown(self, row: Hold) -> Any:
        return text(row.label or row.reference)

    @display(description="Member")
    def member_shown(self, row: Hold) -> Any:
        return person(row.user)

    @display(description="State")
    def state_shown(self, row: Hold) -> Any:
        return tag(row.state, HOLD_KINDS.get(row.state, ""))

    @display(description="Amount")
    def amount_shown(self, row: Hold) -> Any:
        return money(row.amount)

    @display(description="Captured")
    def captured_shown(self, row: Hold) -> Any:
        return money(row.captured + (row.captured_late or 0))

    @display(description="Envelope")
    def envelope_shown(self, row: Hold) -> str:
        return yes_or_no(row.is_envelope)

    @display(description="Placed")
    def placed(self, row: Hold) -> Any:
        return when(row.placed_at)

    @display(description="Ends")
    def ends(self, row: Hold) -> Any:
        return when(row.expires_at)

    @display(description="Ended")
    def ended(self, row: Hold) -> Any:
        return when(row.ended_at)

    @display(description="Price version")
    def price_shown(self, row: Hold) -> Any:
        return code(row.price_version)

    def figures(self, row: Any) -> list[Figure]:
        late = Figure("Captured late", credits.display(row.captured_late or 0))
        return [
            Figure(
                "Held now", credits.display(row.left), f"of {credits.display(row.amount)}", "held" if row.left else ""
            ),
            Figure("Captured", credits.display(row.captured)),
            *([late] if row.captured_late is not None else []),
        ]

    def sections(self, request: HttpRequest, row: Any) -> list[Section]:
        known = Lot.objects.in_bulk(row.receipt_lots)
        receipt = [
            [link(Lot, lot), lot_words(known[lot]) if lot in known else NOTHING, money(amount)]
            for lot, amount in zip(row.receipt_lots, row.receipt_amounts, strict=True)
        ]
        entries = Entry.objects.filter(account=row.account_id, hold=row.id).order_by("sequence")
        shares = Share.objects.filter(account=row.account_id, hold=row.id).order_by("id")
        promised = Section(
            "Shares of the envelope",
            ("Reference", "State", "Amount", "Drawn"),
            [
                [one.reference, tag(one.state, HOLD_KINDS.get(one.state, "")), money(one.amount), money(one.drawn)]
                for one in shares
            ],
            numbers=frozenset({2, 3}),
        )
        return [
            *([promised] if row.is_envelope else []),
            Section(
                "Receipt: the lots that gave it", ("Lot", "From", "Amount"), receipt, numbers=frozenset({2}), of=Lot
            ),
            Section(
                "Its lines on the statement",
                ("Line", "Kind", "Balance", "Held", "Balance after", "Written"),
                [entry_cells(one) for one in entries],
                numbers=frozenset({2, 3, 4}),
                of=Entry,
            ),
        ]


@admin.register(Entry)
class EntryAdmin(WithActs, OfAccount):
    """The statement's lines: added, never edited."""

    acts = (acts.Refund(),)
    list_display = (
        "line_shown",
        "account_shown",
        "kind_shown",
        "balance_shown",
        "held_shown",
        "after_shown",
        "words_shown",
        "written",
    )
    list_filter = ("kind",)
    list_select_related = ("account", "text")
    id_fields = ("id", "account_id", "hold_id")
    search_help_text = "An id: its own, its account’s or its hold’s"
    fields = (
        "id_shown",
        "account_shown",
        "sequence",
        "kind_shown",
        "words_shown",
        "reason_shown",
        "hold_shown",
        "refunds_shown",
        "member_shown",
        "actor",
        "occurred",
        "written",
        "digest_shown",
        "text_hash_shown",
    )

    def get_ordering(self, request: HttpRequest) -> Any:
        """Of one account the index by sequence gives the newest first."""
        return ("-sequence",) if "account__id__exact" in request.GET else ("-id",)

    def heading(self, row: Any) -> str:
        return f"Line {row.sequence}: {row.kind.replace('_', ' ')}"

    @display(description="Line")
    def line_shown(self, row: Entry) -> Any:
        return f"Line {row.sequence}"

    @display(description="Kind")
    def kind_shown(self, row: Entry) -> Any:
        return tag(row.kind, KIND_TAGS.get(row.kind, ""))

    @display(description="Balance")
    def balance_shown(self, row: Entry) -> Any:
        return moved(row.balance_delta)

    @display(description="Held")
    def held_shown(self, row: Entry) -> Any:
        return moved(row.held_delta)

    @display(description="Balance after")
    def after_shown(self, row: Entry) -> Any:
        return money(row.balance_after)

    @display(description="Words")
    def words_shown(self, row: Entry) -> Any:
        return text(row.text.description) if hasattr(row, "text") else NOTHING

    @display(description="Reason")
    def reason_shown(self, row: Entry) -> Any:
        return text(row.text.reason) if hasattr(row, "text") else NOTHING

    @display(description="Hold")
    def hold_shown(self, row: Entry) -> Any:
        return link(Hold, row.hold_id)

    @display(description="Refunds")
    def refunds_shown(self, row: Entry) -> Any:
        return link(Entry, row.refunds_id)

    @display(description="Member")
    def member_shown(self, row: Entry) -> Any:
        return person(row.user)

    @display(description="Occurred")
    def occurred(self, row: Entry) -> Any:
        return when(row.occurred_at)

    @display(description="Written")
    def written(self, row: Entry) -> Any:
        return when(row.created_at)

    @display(description="Digest")
    def digest_shown(self, row: Entry) -> Any:
        return code(bytes(row.digest).hex())

    @display(description="Hash of its texts")
    def text_hash_shown(self, row: Entry) -> Any:
        return code(bytes(row.text_hash).hex()) if row.text_hash else NOTHING

    def sections(self, request: HttpRequest, row: Any) -> list[Section]:
        effect = [
            [title, money(after - delta), moved(delta), money(after)]
            for title, delta, after in (
                ("Balance", row.balance_delta, row.balance_after),
                ("Held", row.held_delta, row.held_after),
                ("Frozen", row.frozen_delta, row.frozen_after),
                ("Owed", row.debt_delta, row.debt_after),
            )
        ]
        known = Lot.objects.in_bulk(row.lots)
        moves = [
            [link(Lot, lot), lot_words(known[lot]) if lot in known else NOTHING, moved(remaining), moved(held)]
            for lot, remaining, held in zip(row.lots, row.remaining_deltas, row.held_deltas, strict=True)
        ]
        refunds = Entry.objects.filter(account=row.account_id, refunds=row.id).order_by("sequence")
        return [
            Section("What it changed", ("", "Before", "Change", "After"), effect, numbers=frozenset({1, 2, 3})),
            Section(
                "The lots it moved",
                ("Lot", "From", "Remaining", "Held"),
                moves,
                empty="It moved no lot.",
                numbers=frozenset({2, 3}),
                of=Lot,
            ),
            *(
                [
                    Section(
                        "Refunds of it",
                        ("Line", "Kind", "Balance", "Held", "Balance after", "Written"),
                        [entry_cells(one) for one in refunds],
                        numbers=frozenset({2, 3, 4}),
                        of=Entry,
                    )
                ]
                if refunds
                else []
            ),
        ]


@admin.register(Payment)
class PaymentAdmin(OfAccount):
    """Payments whose credits were granted, each once in the world."""

    list_display = ("reference", "account_shown", "granted_shown", "made")
    word_fields = ("reference",)
    search_help_text = "A whole reference, or an id"
    fields = ("id_shown", "reference", "account_shown", "granted_shown", "sequence", "made")

    @display(description="Granted")
    def granted_shown(self, row: Payment) -> Any:
        return money(row.granted)

    @display(description="At")
    def made(self, row: Payment) -> Any:
        return when(row.created_at)

    def sections(self, request: HttpRequest, row: Any) -> list[Section]:
        lots = Lot.objects.filter(account=row.account_id, payment=row.id).order_by("id")
        taken = ClawBack.objects.filter(account=row.account_id, payment=row.id).order_by("created_at")
        return [
            Section(
                "Its lots",
                ("Lot", "From", "Remaining", "Spendable until"),
                [[link(one), lot_words(one), money(one.remaining), until(one)] for one in lots],
                numbers=frozenset({2}),
                of=Lot,
            ),
            Section(
                "Taken back",
                ("When", "Amount", "Taken", "Became debt", ""),
                [
                    [
                        when(one.created_at),
                        money(one.amount),
                        money(one.taken),
                        money(one.debt),
                        "undone" if one.restored_by else "",
                    ]
                    for one in taken
                ],
                empty="Nothing was taken back.",
                numbers=frozenset({1, 2, 3}),
            ),
        ]


@admin.register(SpendLimit)
class SpendLimitAdmin(OfAccount):
    """The most that may be committed in a run, a day, a month. Staff's are set on the account's page."""

    list_display = (
        "whose",
        "account_shown",
        "run_shown",
        "day_shown",
        "month_shown",
        "holds_shown",
        "jobs_shown",
        "ceiling_shown",
        "changed",
    )
    list_filter = ("source",)
    list_select_related = ("account", "user")
    fields = ("id_shown", *list_display)

    @display(description="Whose")
    def whose(self, row: SpendLimit) -> str:
        return limit_words(row)

    @display(description="A run")
    def run_shown(self, row: SpendLimit) -> Any:
        return most(row.per_run)

    @display(description="A day")
    def day_shown(self, row: SpendLimit) -> Any:
        return most(row.per_day)

    @display(description="A month")
    def month_shown(self, row: SpendLimit) -> Any:
        return most(row.per_month)

    @display(description="Holds at once")
    def holds_shown(self, row: SpendLimit) -> Any:
        return NOTHING if row.open_holds_max is None else row.open_holds_max

    @display(description="Jobs at once")
    def jobs_shown(self, row: SpendLimit) -> Any:
        return NOTHING if row.jobs_at_once_max is None else row.jobs_at_once_max

    @display(description="Ceiling")
    def ceiling_shown(self, row: SpendLimit) -> Any:
        return "lifted" if row.lifts_ceiling else NOTHING

    @display(description="Changed")
    def changed(self, row: SpendLimit) -> Any:
        return when(row.updated_at)


# Who did what, who may


class WasRefused(admin.SimpleListFilter):
    title = "outcome"
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("done", "Done"), ("refused", "Refused"), ("staff", "Counts toward a person’s sum")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = {"done": Q(is_refusal=False), "refused": Q(is_refusal=True), "staff": Q(amount__gt=0)}
        return queryset.filter(wanted[self.value()]) if self.value() in wanted else queryset  # type: ignore[index]


@admin.register(Audit)
class AuditAdmin(OfAccount):
    """Who did, or was refused, what."""

    list_display = ("at", "act_shown", "actor", "account_shown", "amount_shown", "outcome_shown", "subject_shown")
    list_filter = (WasRefused,)
    word_fields = ("actor", "act", "subject", "request_id")
    search_help_text = "A whole word: who (user:7), what (grant), about what (entry:…), a request; or an id"
    fields = (
        "at",
        "act_shown",
        "actor",
        "account_shown",
        "amount_shown",
        "outcome_shown",
        "subject_shown",
        "facts_shown",
        "request_id",
    )

    @display(description="When")
    def at(self, row: Audit) -> Any:
        return when(row.created_at)

    @display(description="What")
    def act_shown(self, row: Audit) -> str:
        return act_title(row.act)

    @display(description="Counts")
    def amount_shown(self, row: Audit) -> Any:
        return money(row.amount or None)

    @display(description="Outcome")
    def outcome_shown(self, row: Audit) -> Any:
        return tag(row.code or "refused", "bad") if row.is_refusal else tag("done", "ok")

    @display(description="About")
    def subject_shown(self, row: Audit) -> Any:
        kind, _, pk = row.subject.partition(":")
        shown = {"entry": Entry, "approval": Approval, "account": Account, "hold": Hold, "token": Token, "alert": Alert}
        try:
            return link(shown[kind], UUID(pk), f"{kind} {short(UUID(pk))}")
        except (KeyError, ValueError):
            return text(row.subject)

    @display(description="Facts")
    def facts_shown(self, row: Audit) -> Any:
        return document(row.facts)


@admin.register(Approval)
class ApprovalAdmin(WithActs, OfAccount):
    """What waits for a second person, and what one decided."""

    acts = (acts.Approve(), acts.Decline())
    list_display = ("act_shown", "state_shown", "account_shown", "amount_shown", "reason_short", "asked_by", "at")
    list_filter = ("state",)
    list_select_related = ("account", "asked_by")
    fields = (
        "id_shown",
        "act_shown",
        "account_shown",
        "amount_shown",
        "reason_shown",
        "instruction_shown",
        "asked_by_shown",
        "at",
        "state_shown",
        "decided_by_shown",
        "decided",
        "note_shown",
    )

    def heading(self, row: Any) -> str:
        return f"{act_title(row.act)} ({row.state})"

    def buttons(self, request: HttpRequest, row: Any) -> list[dict[str, Any]]:
        """Who asked does not decide."""
        return [] if row is not None and row.asked_by_id == request.user.pk else super().buttons(request, row)

    def warnings(self, row: Any) -> list[str]:
        if row.state != "waiting":
            return []
        return ["A second person decides this: not who asked for it, and nobody who belongs to the account."]

    @display(description="What")
    def act_shown(self, row: Approval) -> str:
        return act_title(row.act)

    @display(description="Credits")
    def amount_shown(self, row: Approval) -> Any:
        return money(row.amount or None)

    @display(description="Reason")
    def reason_short(self, row: Approval) -> str:
        return row.reason if len(row.reason) <= 60 else row.reason[:59] + "…"

    @display(description="Reason")
    def reason_shown(self, row: Approval) -> str:
        return row.reason

    @display(description="Instruction")
    def instruction_shown(self, row: Approval) -> Any:
        return document(row.instruction)

    @display(description="Asked by")
    def asked_by_shown(self, row: Approval) -> Any:
        return person(row.asked_by)

    @display(description="Asked")
    def at(self, row: Approval) -> Any:
        return when(row.asked_at)

    @display(description="State")
    def state_shown(self, row: Approval) -> Any:
        return tag(row.state, {"waiting": "wait", "approved": "ok"}.get(row.state, ""))

    @display(description="Decided by")
    def decided_by_shown(self, row: Approval) -> Any:
        return person(row.decided_by)

    @display(description="Decided")
    def decided(self, row: Approval) -> Any:
        return when(row.decided_at)

    @display(description="Note")
    def note_shown(self, row: Approval) -> Any:
        return text(row.decision_note)

    def sections(self, request: HttpRequest, row: Any) -> list[Section]:
        if row.state != "waiting":
            return []
        changes = [list(change) for change in acts.effect_of(row)]
        return [
            Section(
                "What it would change",
                ("", "Now", "Then"),
                changes,
                empty="It cannot be done any more as it was asked for.",
                numbers=frozenset({1, 2}),
            ),
            *acts.foreseen_of(row),
        ]


@admin.register(Token)
class TokenAdmin(WithActs, OfAccount):
    """Programs' credentials. Their text was shown once and is nowhere; their hash is not shown."""

    acts = (acts.RevokeToken(),)
    list_display = ("name", "account_shown", "person_shown", "scope_shown", "hint_shown", "used", "state_shown")
    list_filter = ("scope",)
    list_select_related = ("account", "user")
    word_fields = ("user__email__iexact", "name", "source")
    search_help_text = "A whole e-mail address, name or source, or an id"
    fields = (
        "id_shown",
        "name",
        "account_shown",
        "person_shown",
        "scope_shown",
        "hint_shown",
        "source",
        "operations_shown",
        "most_shown",
        "day_shown",
        "made",
        "used",
        "revoked",
        "state_shown",
    )

    @display(description="Person")
    def person_shown(self, row: Token) -> Any:
        return person(row.user)

    @display(description="May")
    def scope_shown(self, row: Token) -> Any:
        return tag(row.scope)

    @display(description="Ends in")
    def hint_shown(self, row: Token) -> Any:
        return code(f"…{row.hint}")

    @display(description="Operations")
    def operations_shown(self, row: Token) -> Any:
        return lines(row.operations)

    @display(description="Most at once")
    def most_shown(self, row: Token) -> Any:
        return money(row.amount_max)

    @display(description="Most a day")
    def day_shown(self, row: Token) -> Any:
        return money(row.day_max)

    @display(description="Made")
    def made(self, row: Token) -> Any:
        return when(row.created_at)

    @display(description="Last used")
    def used(self, row: Token) -> Any:
        return when(row.last_used_at)

    @display(description="Revoked")
    def revoked(self, row: Token) -> Any:
        return when(row.revoked_at)

    @display(description="State")
    def state_shown(self, row: Token) -> Any:
        return tag("revoked") if row.revoked_at else tag("open", "ok")


# News


@admin.register(Notice)
class NoticeAdmin(OfAccount):
    """What people of an account were told."""

    list_display = ("title", "account_shown", "level_shown", "made", "seen", "mailed")
    list_filter = ("level",)
    fields = ("id_shown", "account_shown", "title", "body", "link", "level_shown", "key", "made", "seen", "mailed")

    @display(description="Level")
    def level_shown(self, row: Notice) -> Any:
        return tag(row.level, {"good": "ok", "warning": "wait", "bad": "bad"}.get(row.level, ""))

    @display(description="Told")
    def made(self, row: Notice) -> Any:
        return when(row.created_at)

    @display(description="Seen")
    def seen(self, row: Notice) -> Any:
        return when(row.seen_at)

    @display(description="Mailed")
    def mailed(self, row: Notice) -> Any:
        return when(row.mailed_at)


class IsOpen(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "Open"), ("cleared", "Cleared")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() in ("open", "cleared"):
            return queryset.filter(cleared_at__isnull=self.value() == "open")
        return queryset


@admin.register(Alert)
class AlertAdmin(WithActs, ReadOnly):
    """What staff must look at."""

    acts = (acts.ClearAlert(),)
    list_display = ("sentence", "name_shown", "opened", "state_shown")
    list_filter = (IsOpen, "name")
    word_fields = ("name", "key")
    search_help_text = "A whole name or key, or an id"
    fields = ("sentence", "advice", "about", "facts_shown", "opened", "mailed", "cleared", "ends", "name_shown", "key")

    def heading(self, row: Any) -> str:
        return alerts.kind_of(row.name).title

    @display(description="Kind")
    def name_shown(self, row: Alert) -> Any:
        return tag(row.name)

    @display(description="What to do")
    def advice(self, row: Alert) -> str:
        return alerts.kind_of(row.name).advice

    @display(description="What it is about")
    def about(self, row: Alert) -> Any:
        page, words = alerts.page_of(row), alerts.kind_of(row.name).about
        return format_html('<a class="row-link" href="{}">{}</a>', page, words) if page else NOTHING

    @display(description="How it ends")
    def ends(self, row: Alert) -> str:
        by_staff = alerts.kind_of(row.name).is_closed_by_staff
        return "Staff close it" if by_staff else "It clears by itself when it is over"

    @display(description="Opened")
    def opened(self, row: Alert) -> Any:
        return when(row.opened_at)

    @display(description="Mailed")
    def mailed(self, row: Alert) -> Any:
        return when(row.mailed_at)

    @display(description="Cleared")
    def cleared(self, row: Alert) -> Any:
        return when(row.cleared_at)

    @display(description="State")
    def state_shown(self, row: Alert) -> Any:
        return tag("cleared") if row.cleared_at else tag("open", "bad")

    @display(description="Facts")
    def facts_shown(self, row: Alert) -> Any:
        return lines(f"{label}: {words}" for label, words in alerts.told_facts(row))
