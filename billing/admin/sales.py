"""What was sold, packs and periods of plans, and what became of the money: refunds that staff make, refunds that
Stripe told of, disputes.

A refund is one act in three steps, each safe to repeat. Its row is stored (ASKED), with whatever a second person had to
say; then, outside any transaction, Stripe is asked by that row's id; then what Stripe answers takes the credits back,
as its events do, whichever comes first. A row that stays ASKED is one of which Stripe may not know: “Send again” first
looks there for it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from unfold.decorators import display

from billing import approvals, credits, giving_back, sales
from billing import money as prices
from billing.clock import now
from billing.models import Account, Allocation, ClawBack, Dispute, Lot, Pack, Payment, Plan, Purchase, Refunding

from .acts import ActForm, PriceField, ReasonField, StaffAct, WithActs
from .parts import (
    NOTHING,
    Figure,
    Section,
    code,
    link,
    money,
    tag,
    text,
    when,
    yes_or_no,
)
from .stripe_pages import at_stripe
from .tables import OfAccount, lot_words, person, until

PURCHASE_TAGS = {"paid": "ok", "open": "wait", "created": "wait", "failed": "bad"}
REFUND_TAGS = {"asked": "wait", "pending": "wait", "succeeded": "ok", "failed": "bad"}
DISPUTE_TAGS = {"open": "bad", "won": "ok", "lost": "bad"}


def sale_of(row: Purchase | Allocation) -> sales.Sale:
    return sales.of_purchase(row) if isinstance(row, Purchase) else sales.of_allocation(row)


# Giving a sale's money back


class RefundForm(ActForm):
    amount_minor = PriceField(label="Money to give back")
    reason = ReasonField(max_length=300)

    def __init__(self, *arguments: Any, row: Any, **options: Any) -> None:
        super().__init__(*arguments, row=row, **options)
        self.fields["amount_minor"].currency = row.currency  # type: ignore[attr-defined]
        self.fields["amount_minor"].label = f"Money to give back ({row.currency.upper()})"


class Refund(StaffAct):
    """Money of what was sold goes back, and its share of the credits with it."""

    title, icon = "Refund", "undo"
    permission = "billing.refund_purchase"
    form = RefundForm
    is_dangerous = True
    done = "Stripe has the refund, and its credits are taken back."

    def is_offered(self, row: Any) -> bool:
        return giving_back.left_minor(sale_of(row)) > 0

    def account(self, row: Any) -> UUID:
        return row.account_id

    def initial(self, row: Any) -> dict[str, Any]:
        left = giving_back.left_minor(sale_of(row))
        return {"amount_minor": prices.plain(left, row.currency)} if left > 0 else {}

    def now(self, row: Any) -> list[Figure]:
        left = giving_back.left_minor(sale_of(row))
        return [
            Figure("Paid", prices.words(row.amount_minor, row.currency)),
            Figure("Left to refund", prices.words(left, row.currency)),
            Figure("Available", money(row.account.available)),
            Figure("Owed", money(row.account.debt)),
        ]

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        return {
            "account": str(row.account_id),
            row._meta.model_name: str(row.id),
            # The form's own id: so the refund's row, and Stripe's key of it, are one for one form.
            "refunding": str(cleaned["once"]),
            "amount_minor": cleaned["amount_minor"],
            "reason": cleaned["reason"],
        }

    def amount(self, row: Any, cleaned: dict[str, Any]) -> int:
        return giving_back.share(sale_of(row), cleaned["amount_minor"])

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        sale = giving_back.sold(instruction)
        left = giving_back.refuse(sale, instruction["amount_minor"])
        share = giving_back.share(sale, instruction["amount_minor"])
        debt = Account.objects.get(id=sale.account).debt
        free, lost = giving_back.stands(sale)
        taken = min(share, free)
        owed = max(0, share - taken - lost)
        after = left - instruction["amount_minor"]
        return [
            ("Left to refund", prices.words(left, sale.currency), prices.words(after, sale.currency)),
            ("Credits taken back", "–", money(share)),
            ("Of these, still there", money(free), money(free - taken)),
            ("Owed, at most", money(debt), money(debt + owed)),
        ]

    def carry_out(self, request: HttpRequest, row: Any, cleaned: dict[str, Any]) -> str | HttpResponse:
        """The row is stored in the act's transaction and sent after it; what became of it is read from the row."""
        if not Refunding.objects.filter(id=cleaned["once"]).exists():
            # Before it would wait for a second person, who could only decline it.
            giving_back.refuse(sale_of(row), cleaned["amount_minor"])
        said = str(super().carry_out(request, row, cleaned))
        made = Refunding.objects.filter(id=cleaned["once"]).first()
        return said if made is None else _became(made, self.done)


class RefundPurchase(Refund):
    name = "refund_purchase"
    sentence = (
        "The money goes back to the card by Stripe, and its share of the credits is taken back. What of them was spent "
        "already is owed."
    )


class RefundPeriod(Refund):
    name = "refund_period"
    sentence = (
        "The money goes back to the card by Stripe, and its share of the credits that this invoice granted is taken "
        "back. What of them was spent already is owed. The plan itself goes on: its person ends it on the page of the "
        "plan, or staff at Stripe."
    )


def _became(row: Refunding, done: str) -> str:
    if row.state == Refunding.State.ASKED:
        return "The refund is stored, and Stripe could not be reached. Open it and send it again in a while."
    if row.state == Refunding.State.FAILED:
        return "Stripe refuses the refund, so nothing was given back and no credits were taken. An alert says why."
    if sales.of_row(row).payment is None:
        return "Stripe has the refund. Nothing was granted for that money, so nothing is taken back."
    return done if row.is_clawed_back else "Stripe has the refund. Its credits are taken back when its event comes."


@approvals.act("refund_purchase", first=giving_back.lock)
@approvals.act("refund_period", first=giving_back.lock)
def refund(instruction: dict[str, Any], asked_by: Any, approved_by: Any) -> str:
    row = giving_back.ask(instruction, asked_by)
    return f"refunding:{row.id}"


class SendAgain(StaffAct):
    name, title, icon = "send_again", "Send again", "send"
    sentence = (
        "Stripe is asked whether it has this refund. If so it is noted here; if not it is sent, by the same id: it "
        "is made once."
    )
    permission = "billing.refund_purchase"
    done = "Stripe has the refund, and its credits are taken back."

    def is_offered(self, row: Any) -> bool:
        return row.state == Refunding.State.ASKED

    def account(self, row: Any) -> UUID:
        return row.account_id

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        return {"account": str(row.account_id), "refunding": str(row.id), "reason": cleaned["reason"]}

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        row = Refunding.objects.get(account=instruction["account"], id=instruction["refunding"])
        return [("Refund", row.state, "as Stripe says")]

    def carry_out(self, request: HttpRequest, row: Any, cleaned: dict[str, Any]) -> str | HttpResponse:
        said = str(super().carry_out(request, row, cleaned))
        row.refresh_from_db()
        return said if row.state == Refunding.State.ASKED and said != self.done else _became(row, self.done)


@approvals.act("send_again")
def send_again(instruction: dict[str, Any], asked_by: Any, approved_by: Any) -> str:
    """Nothing moves here: Stripe is asked once this transaction has ended."""
    row = Refunding.objects.get(account=instruction["account"], id=instruction["refunding"])
    giving_back.send_after_commit(row)
    return f"refunding:{row.id}"


# Rows


def purchase_tag(row: Purchase) -> Any:
    """How a purchase stands."""
    return tag(row.state, PURCHASE_TAGS.get(row.state, ""))


def sale_link(row: Any) -> Any:
    """What a refund or a dispute is about."""
    if row.purchase_id is not None:
        return link(Purchase, row.purchase_id, str(row.purchase))
    return link(Allocation, row.allocation_id, str(row.allocation))


def refund_cells(row: Refunding, currency: str) -> list[Any]:
    back = ClawBack.objects.filter(account=row.account_id, id=row.id).first()
    return [
        link(row, words=row.stripe_refund or "not sent yet"),
        prices.words(row.amount_minor, currency),
        tag(row.state, REFUND_TAGS[row.state]),
        money(back.amount if back else None),
        money(back.debt if back else None),
        "yes" if row.is_restored else "no",
        when(row.created_at),
    ]


def step(what: str, at: datetime | None, rest: str = "", **more: str) -> dict[str, Any]:
    """A step of a story: amount, code, more (a second line), kind, as _trail.html reads them; with its day in words."""
    said = ", ".join(filter(None, (rest, f"{at:%-d %B %Y}" if at else "")))
    return {"what": what, "at": at, "rest": said} | more


def story_of(row: Purchase | Allocation) -> list[dict[str, Any]]:
    """How it came to be sold."""
    return story_of_purchase(row) if isinstance(row, Purchase) else story_of_period(row)


def story_of_purchase(row: Purchase) -> list[dict[str, Any]]:
    """How the purchase came to be paid, or did not."""
    who = row.user.email if row.user_id else "the account"
    steps = [step("Asked for", row.created_at, f"by {who}" + (", by auto top-up" if row.is_top_up else ""))]
    if row.stripe_session or row.stripe_intent:
        steps.append(step("Open at Stripe", None, code=str(row.stripe_session or row.stripe_intent)))
    if row.paid_at:
        paid = prices.words(row.amount_minor, row.currency)
        steps.append(
            step("Paid", row.paid_at, "and granted", amount=paid, more=f"{credits.display(row.credits)} credits")
        )
    elif row.state in (Purchase.State.FAILED, Purchase.State.EXPIRED):
        steps.append(step(row.state.capitalize(), None, more=row.error, kind="bad"))
    return steps


def story_of_period(row: Allocation) -> list[dict[str, Any]]:
    """How the period was granted: by an invoice, or for nothing."""
    more = f"{credits.display(row.credits)} credits for {row}"
    if not row.amount_minor:
        return [step("Granted", row.created_at, more=more)]
    paid = prices.words(row.amount_minor, row.currency)
    return [step("Paid", row.created_at, "and granted", amount=paid, code=row.stripe_invoice, more=more)]


def story_after(sale: sales.Sale) -> list[dict[str, Any]]:
    """What became of the sale's money, oldest first: each refund and each dispute, and what it did."""
    events: list[tuple[Any, Any]] = []
    for one in Refunding.objects.filter(**sale.columns):
        back = ClawBack.objects.filter(account=sale.account, id=one.id).first()
        more = f"{credits.display(back.amount)} credits taken back, {credits.display(back.debt)} owed" if back else ""
        amount = prices.words(one.amount_minor, sale.currency)
        kind = "bad" if one.state == "failed" else "wait" if one.state in ("asked", "pending") else ""
        events.append((one.created_at, step("Refund", one.created_at, one.state, amount=amount, more=more, kind=kind)))
    for dispute in Dispute.objects.filter(**sale.columns):
        events += [(one["at"], one) for one in story_of_dispute(dispute, sale.currency)]
    return [one for _, one in sorted(events, key=lambda pair: pair[0])]


def story_of_dispute(row: Dispute, currency: str) -> list[dict[str, Any]]:
    """Opened, then won or lost, and what that did to the credits."""
    amount, why = prices.words(row.amount_minor, currency), row.reason.replace("_", " ")
    steps = [step("Disputed", row.created_at, why, amount=amount, more="Its credits were frozen.", kind="bad")]
    if row.ended_at:
        back = ClawBack.objects.filter(account=row.account_id, id=row.id).first()
        more = "Its credits are free again."
        if row.state == Dispute.State.LOST:
            taken, owed = (credits.display(back.amount), credits.display(back.debt)) if back else ("0.00", "0.00")
            more = f"{taken} credits taken back, {owed} owed"
        steps.append(step(f"Dispute {row.state}", row.ended_at, more=more, kind="" if row.state == "won" else "bad"))
    return steps


# Purchases and periods


class Sold(WithActs, OfAccount):
    """A row that money was paid for: what it granted, and what became of that."""

    def figures(self, row: Any) -> list[Figure]:
        lots = self.lots(row)
        left, frozen = sum(lot.remaining for lot in lots), any(lot.is_frozen for lot in lots)
        backs = ClawBack.objects.filter(account=row.account_id, payment=row.payment_id, restored_by=None)
        taken = sum(backs.values_list("amount", flat=True)) if row.payment_id else 0
        left_to_refund = prices.words(giving_back.left_minor(sale_of(row)), row.currency)
        return [
            Figure("Sold for", self.price_words(row), f"{credits.display(row.credits)} credits"),
            Figure("Left of its credits", credits.display(left), "frozen by a dispute" if frozen else ""),
            Figure("Taken back", credits.display(taken), "for money that went back"),
            *([Figure("Left to refund", left_to_refund)] if row.amount_minor else []),
        ]

    def lots(self, row: Any) -> list[Lot]:
        if not row.payment_id:
            return []
        return list(Lot.objects.filter(account=row.account_id, payment=row.payment_id).order_by("id"))

    def price_words(self, row: Any) -> str:
        return prices.words(row.amount_minor, row.currency) if row.amount_minor else "nothing"

    def warnings(self, row: Any) -> list[str]:
        said, of = [], sale_of(row).columns
        if Dispute.objects.filter(**of, state="open").exists():
            said.append("This payment is disputed: what is left of its credits is frozen.")
        if Refunding.objects.filter(**of, state="asked").exists():
            said.append("A refund of it is stored, and Stripe may not know of it. Open it and send it again.")
        return said

    @display(description="Sold for")
    def price_shown(self, row: Any) -> Any:
        return format_html('<span class="n">{}</span>', self.price_words(row))

    @display(description="Credits")
    def credits_shown(self, row: Any) -> Any:
        return money(row.credits)

    @display(description="Payment at Stripe")
    def intent_shown(self, row: Any) -> Any:
        return at_stripe("payments", row.stripe_intent)

    @display(description="Grant")
    def grant_shown(self, row: Any) -> Any:
        return link(Payment, row.payment_id) if row.payment_id else NOTHING

    def page_at(self, url: str, words: str) -> Any:
        """A link to a page of Stripe's that we were told of."""
        if not url.startswith(("https://", "http://")):
            return NOTHING
        return format_html('<a class="row-link" rel="noreferrer" href="{}">{}</a>', url, words)

    def sections(self, request: HttpRequest, row: Any) -> list[Section]:
        of = sale_of(row).columns
        refunds, disputes = Refunding.objects.filter(**of), Dispute.objects.filter(**of)
        return [
            Section("Its story", trail=[*story_of(row), *story_after(sale_of(row))]),
            Section(
                "Its credits",
                ("Lot", "From", "Granted", "Spent", "Expired", "Taken back", "Remaining", "Spendable until"),
                [
                    [
                        link(one),
                        lot_words(one),
                        money(one.amount),
                        money(one.spent + one.repaid),
                        money(one.expired),
                        money(one.taken),
                        money(one.remaining),
                        until(one),
                    ]
                    for one in self.lots(row)
                ],
                empty="Nothing was granted for it.",
                numbers=frozenset({2, 3, 4, 5, 6}),
                of=Lot,
            ),
            Section(
                "Refunds",
                ("Refund", "Money", "State", "Credits taken back", "Of these owed", "Given again", "When"),
                [refund_cells(one, row.currency) for one in refunds.order_by("-id")],
                empty="Nothing was given back.",
                numbers=frozenset({1, 3, 4}),
                of=Refunding,
            ),
            Section(
                "Disputes",
                ("Dispute", "Money", "State", "Reason", "Evidence due", "Opened"),
                [
                    [
                        link(one, words=one.stripe_dispute),
                        prices.words(one.amount_minor, row.currency),
                        tag(one.state, DISPUTE_TAGS[one.state]),
                        text(one.reason),
                        when(one.evidence_due_at),
                        when(one.created_at),
                    ]
                    for one in disputes.order_by("-id")
                ],
                empty="Nobody has disputed it.",
                numbers=frozenset({1}),
                of=Dispute,
            ),
        ]


@admin.register(Purchase)
class PurchaseAdmin(Sold):
    """What was bought, and what became of it."""

    acts = (RefundPurchase(),)
    list_display = ("purchase_shown", "account_shown", "person_shown", "price_shown", "state_shown", "made", "paid")
    list_filter = ("state", "is_top_up", "pack")
    list_select_related = ("account", "user", "pack")
    word_fields = ("stripe_session", "stripe_intent", "user__email__iexact")
    search_help_text = "An e-mail address, an id of ours, or Stripe’s of the session or payment"
    fields = (
        "id_shown",
        "account_shown",
        "person_shown",
        "pack_shown",
        "price_shown",
        "credits_shown",
        "keep_shown",
        "state_shown",
        "error_shown",
        "session_shown",
        "intent_shown",
        "grant_shown",
        "receipt_shown",
        "made",
        "paid",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("account", "user", "pack")

    def heading(self, row: Any) -> str:
        return f"{row.pack}, {prices.words(row.amount_minor, row.currency)}"

    @display(description="Purchase")
    def purchase_shown(self, row: Purchase) -> str:
        return f"{row.pack}: {credits.display(row.credits)}"

    @display(description="Bought by")
    def person_shown(self, row: Purchase) -> Any:
        return "auto top-up" if row.is_top_up and row.user_id is None else person(row.user)

    @display(description="Pack")
    def pack_shown(self, row: Purchase) -> Any:
        return link(Pack, row.pack_id, str(row.pack))

    @display(description="Kept")
    def keep_shown(self, row: Purchase) -> str:
        return f"{row.keep_months} months from its payment"

    @display(description="State")
    def state_shown(self, row: Purchase) -> Any:
        return purchase_tag(row)

    @display(description="Error")
    def error_shown(self, row: Purchase) -> Any:
        return text(row.error)

    @display(description="Session")
    def session_shown(self, row: Purchase) -> Any:
        return code(row.stripe_session)

    @display(description="Receipt")
    def receipt_shown(self, row: Purchase) -> Any:
        return self.page_at(row.receipt_url, "The receipt")

    @display(description="Asked for")
    def made(self, row: Purchase) -> Any:
        return when(row.created_at)

    @display(description="Paid")
    def paid(self, row: Purchase) -> Any:
        return when(row.paid_at)


@admin.register(Allocation)
class AllocationAdmin(Sold):
    """What the periods of plans were granted, once each: free months, trials, paid months, upgrades."""

    acts = (RefundPeriod(),)
    list_display = ("period_shown", "account_shown", "price_shown", "credits_shown", "invoice_shown", "made")
    list_filter = ("plan",)
    list_select_related = ("account", "plan")
    id_fields = ("id", "account_id", "enrollment_id")
    word_fields = ("stripe_invoice", "stripe_intent", "enrollment__stripe_subscription")
    search_help_text = "An id of ours, or Stripe’s of the invoice, the payment or the subscription"
    fields = (
        "id_shown",
        "account_shown",
        "plan_shown",
        "kind_shown",
        "from_shown",
        "to_shown",
        "price_shown",
        "credits_shown",
        "subscription_shown",
        "invoice_shown",
        "intent_shown",
        "grant_shown",
        "receipt_shown",
        "made",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("account", "plan", "enrollment")

    def heading(self, row: Any) -> str:
        return str(row)

    @display(description="Period")
    def period_shown(self, row: Allocation) -> str:
        return str(row)

    @display(description="Plan")
    def plan_shown(self, row: Allocation) -> Any:
        return link(Plan, row.plan_id, str(row.plan))

    @display(description="Named")
    def kind_shown(self, row: Allocation) -> Any:
        return code(row.period)

    @display(description="From")
    def from_shown(self, row: Allocation) -> Any:
        return when(row.starts_at)

    @display(description="To")
    def to_shown(self, row: Allocation) -> Any:
        return when(row.ends_at)

    @display(description="Subscription at Stripe")
    def subscription_shown(self, row: Allocation) -> Any:
        return at_stripe("subscriptions", row.enrollment.stripe_subscription)

    @display(description="Invoice at Stripe")
    def invoice_shown(self, row: Allocation) -> Any:
        return at_stripe("invoices", row.stripe_invoice)

    @display(description="Receipt")
    def receipt_shown(self, row: Allocation) -> Any:
        return self.page_at(row.invoice_url, "The invoice")

    @display(description="Granted")
    def made(self, row: Allocation) -> Any:
        return when(row.created_at)


def due_words(row: Dispute) -> tuple[str, str]:
    """When the evidence is due, and how long that is from now."""
    if row.evidence_due_at is None:
        return "–", "Stripe did not say when"
    left = row.evidence_due_at - now()
    days = "within a day" if not left.days else f"in {left.days} day{'' if left.days == 1 else 's'}"
    return f"{row.evidence_due_at:%-d %B}", "over" if left < timedelta(0) else f"{days}, given at Stripe"


class OfSale(OfAccount):
    """A row about a purchase or a plan's period."""

    list_select_related = ("account", "purchase__pack", "allocation__plan")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("account", "purchase__pack", "allocation__plan")

    def currency(self, row: Any) -> str:
        return str((row.purchase or row.allocation).currency)

    @display(description="Of")
    def sale_shown(self, row: Any) -> Any:
        return sale_link(row)

    @display(description="Money")
    def amount_shown(self, row: Any) -> Any:
        return format_html('<span class="n">{}</span>', prices.words(row.amount_minor, self.currency(row)))

    @display(description="Reason")
    def reason_shown(self, row: Any) -> Any:
        return text(row.reason)

    @display(description="Credits taken back")
    def taken_shown(self, row: Any) -> Any:
        back = ClawBack.objects.filter(account=row.account_id, id=row.id).first()
        return money(back.amount) if back else NOTHING

    @display(description="Of these owed")
    def owed_shown(self, row: Any) -> Any:
        back = ClawBack.objects.filter(account=row.account_id, id=row.id).first()
        return money(back.debt) if back else NOTHING


@admin.register(Refunding)
class RefundingAdmin(WithActs, OfSale):
    """Money given back, by staff or at Stripe."""

    acts = (SendAgain(),)
    list_display = ("refund_shown", "account_shown", "sale_shown", "amount_shown", "state_shown", "by_shown", "made")
    list_filter = ("state",)
    list_select_related = (*OfSale.list_select_related, "made_by")
    word_fields = ("stripe_refund",)
    id_fields = ("id", "account_id", "purchase_id", "allocation_id")
    search_help_text = "An id: its own, its purchase’s or period’s, its account’s, or Stripe’s"
    fields = (
        "id_shown",
        "stripe_shown",
        "account_shown",
        "sale_shown",
        "amount_shown",
        "state_shown",
        "reason_shown",
        "by_shown",
        "taken_shown",
        "owed_shown",
        "restored_shown",
        "made",
    )

    def heading(self, row: Any) -> str:
        return f"Refund of {prices.words(row.amount_minor, self.currency(row))} ({row.state})"

    def warnings(self, row: Any) -> list[str]:
        if row.state != Refunding.State.ASKED:
            return []
        return ["Stored here, and Stripe may not know of it. Send it again: it is made once, whatever happened before."]

    @display(description="Refund")
    def refund_shown(self, row: Refunding) -> Any:
        return row.stripe_refund or "not sent yet"

    @display(description="At Stripe")
    def stripe_shown(self, row: Refunding) -> Any:
        return at_stripe("refunds", row.stripe_refund)

    @display(description="State")
    def state_shown(self, row: Refunding) -> Any:
        return tag(row.state, REFUND_TAGS[row.state])

    @display(description="Made by")
    def by_shown(self, row: Refunding) -> Any:
        return person(row.made_by) if row.made_by_id else "at Stripe"

    @display(description="Given again")
    def restored_shown(self, row: Refunding) -> Any:
        return yes_or_no(row.is_restored)

    @display(description="Asked for")
    def made(self, row: Refunding) -> Any:
        return when(row.created_at)


@admin.register(Dispute)
class DisputeAdmin(OfSale):
    """Payments that a cardholder's bank has questioned."""

    list_display = ("stripe_dispute", "account_shown", "sale_shown", "amount_shown", "state_shown", "due_shown", "made")
    list_filter = ("state",)
    word_fields = ("stripe_dispute",)
    id_fields = ("id", "account_id", "purchase_id", "allocation_id")
    search_help_text = "An id: its own, its purchase’s or period’s, its account’s, or Stripe’s"
    fields = (
        "id_shown",
        "stripe_shown",
        "payment_shown",
        "account_shown",
        "sale_shown",
        "amount_shown",
        "reason_shown",
        "state_shown",
        "due_shown",
        "taken_shown",
        "owed_shown",
        "made",
        "ended",
    )

    def _lots(self, row: Any) -> list[Lot]:
        payment = (row.purchase or row.allocation).payment_id
        return list(Lot.objects.filter(account=row.account_id, payment=payment)) if payment else []

    def heading(self, row: Any) -> str:
        return f"Dispute over {prices.words(row.amount_minor, self.currency(row))} ({row.state})"

    def figures(self, row: Any) -> list[Figure]:
        lots, is_open = self._lots(row), row.state == Dispute.State.OPEN
        frozen = sum(lot.remaining - lot.held for lot in lots if lot.is_frozen)
        held, spent = sum(lot.held for lot in lots), sum(lot.spent + lot.repaid for lot in lots)
        due = [Figure("Evidence due", *due_words(row), "alert")] if is_open else []
        return [
            *due,
            Figure("Frozen", credits.display(frozen), "cannot be spent until it ends"),
            Figure("Held of them", credits.display(held), "by work under way", "held" if held else ""),
            Figure("Spent before", credits.display(spent), "owed if it is lost" if is_open else ""),
        ]

    def warnings(self, row: Any) -> list[str]:
        if row.state != Dispute.State.OPEN:
            return []
        return [
            "Answer it at Stripe, with the evidence, or accept it there: nothing is decided here. Won, its credits are "
            "free again; lost, they are taken back, and what of them was spent is owed."
        ]

    def sections(self, request: HttpRequest, row: Any) -> list[Section]:
        return [
            Section("Its story", trail=story_of_dispute(row, self.currency(row))),
            Section(
                "The credits that were bought with it",
                ("Lot", "From", "Granted", "Spent", "Remaining", "Held", "Spendable until"),
                [
                    [
                        link(one),
                        lot_words(one),
                        money(one.amount),
                        money(one.spent + one.repaid),
                        money(one.remaining),
                        money(one.held),
                        until(one),
                    ]
                    for one in self._lots(row)
                ],
                empty="Nothing was granted for it.",
                numbers=frozenset({2, 3, 4, 5}),
                of=Lot,
            ),
        ]

    @display(description="Payment at Stripe")
    def payment_shown(self, row: Dispute) -> Any:
        return at_stripe("payments", (row.purchase or row.allocation).stripe_intent)

    @display(description="At Stripe")
    def stripe_shown(self, row: Dispute) -> Any:
        return at_stripe("disputes", row.stripe_dispute)

    @display(description="State")
    def state_shown(self, row: Dispute) -> Any:
        return tag(row.state, DISPUTE_TAGS[row.state])

    @display(description="Evidence due")
    def due_shown(self, row: Dispute) -> Any:
        return when(row.evidence_due_at) if row.state == Dispute.State.OPEN else NOTHING

    @display(description="Opened")
    def made(self, row: Dispute) -> Any:
        return when(row.created_at)

    @display(description="Ended")
    def ended(self, row: Dispute) -> Any:
        return when(row.ended_at)
