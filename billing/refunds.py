"""Money given back, and money questioned: what that does to the credits which its payment bought (N11).

What Stripe says of a refund or a dispute becomes a row; then the ledger is made to agree with all rows of that sale:
what is missing is taken back, what came back is restored, lots under an open dispute are frozen. So every word may
come twice, late, or before the payment's own, and the end is the same.

Lock order: the purchase or the allocation, then the account (ledger).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.db import transaction

from . import alerts, book, credits, ledger, money, sales, steps
from .clock import now
from .models import ClawBack, Dispute, Lot, Notice, Payment, Purchase, Refunding, new_id
from .sales import Mismatch, NotKnownYet, Sale

STATEMENT = "/account/credits/statement"

# In the order that a refund goes: a state is never left for an earlier one. Failed is last, Stripe's too.
_REFUND_ORDER = ["asked", "pending", "succeeded", "failed"]
_REFUND_STATES = {
    "succeeded": Refunding.State.SUCCEEDED,
    "failed": Refunding.State.FAILED,
    "canceled": Refunding.State.FAILED,
}
# A lost dispute is sometimes won later; that is the only way back, so what is told in any order ends the same.
_DISPUTE_ORDER = ["open", "lost", "won"]
_DISPUTE_STATES = {
    "won": Dispute.State.WON,
    "warning_closed": Dispute.State.WON,
    "prevented": Dispute.State.WON,
    "lost": Dispute.State.LOST,
}


# Refunds


def told_of_refund(refund: Mapping[str, Any], hint: Sale | None = None) -> str:
    """The refund, as Stripe describes it, is on the books. Returns what that came to, in words.

    Ours is found by the id in its metadata; one made at Stripe gets a row of its own. `hint` is the sale where a
    look-up found it. Raises NotKnownYet where the payment is not on the books, Mismatch where its money is other.
    """
    name, amount = _named(refund), _amount(refund)
    asked = _asked_for(refund)
    sale = _sale_of_refund(refund, asked) or hint
    if sale is None:
        raise NotKnownYet("the refunded payment is not known here", sales.name_of(refund.get("payment_intent")))
    state = _REFUND_STATES.get(str(refund.get("status")), Refunding.State.PENDING)
    with transaction.atomic():
        sale = sales.locked(sale)
        _compare(sale, refund, amount)
        row = _row_of_refund(sale, name, asked)
        was = row.state if row is not None else None
        if row is None:
            row = Refunding.objects.create(
                **sale.columns,
                stripe_refund=name,
                amount_minor=amount,
                state=state,
                reason=str(refund.get("reason") or "")[:300],
                created_at=now(),
            )
        elif row.amount_minor != amount:
            raise Mismatch(
                f"refund {name} is over {money.words(amount, sale.currency)}, ours over "
                f"{money.words(row.amount_minor, sale.currency)}",
                sale.key,
            )
        else:
            row.stripe_refund = name
            row.state = _further(_REFUND_ORDER, row.state, state)
            row.save(update_fields=["stripe_refund", "state"])
        if row.state == Refunding.State.FAILED != was:
            alerts.open_alert(
                "refund_failed",
                key=str(row.id),
                sentence=f"Stripe could not refund {money.words(amount, sale.currency)} for {sale.title}.",
                facts={"account": str(sale.account), "refund": name, "why": refund.get("failure_reason")},
            )
        return _settle(sale) or f"refund {row.state}"


def _asked_for(refund: Mapping[str, Any]) -> Refunding | None:
    """Our own row that this refund was made for, where Stripe's refund is not another's already."""
    id = sales.uuid_in(refund.get("metadata"), "refunding")
    row = Refunding.objects.filter(id=id).first() if id else None
    return row if row is not None and row.stripe_refund in (None, refund["id"]) else None


def _sale_of_refund(refund: Mapping[str, Any], asked: Refunding | None) -> Sale | None:
    known = asked or Refunding.objects.filter(stripe_refund=refund["id"]).first()
    if known is not None:
        return sales.of_row(known)
    return sales.paid_by(sales.name_of(refund.get("payment_intent"))) or sales.named_in(refund.get("metadata"))


def _row_of_refund(sale: Sale, name: str, asked: Refunding | None) -> Refunding | None:
    """The refund's row, read under the sale's lock."""
    rows = Refunding.objects.filter(account=sale.account)
    return rows.filter(stripe_refund=name).first() or (rows.filter(id=asked.id).first() if asked is not None else None)


# Disputes


def told_of_dispute(dispute: Mapping[str, Any], hint: Sale | None = None) -> str:
    """The dispute, as Stripe describes it, is on the books: open, its lots frozen; or won, or lost. As told_of_refund.

    A bank's mere question (Stripe's "warning") freezes them as well: it may still become a dispute.
    """
    name, amount = _named(dispute), _amount(dispute)
    known = Dispute.objects.filter(stripe_dispute=name).first()
    intent = sales.name_of(dispute.get("payment_intent"))
    sale = sales.of_row(known) if known is not None else sales.paid_by(intent) or hint
    if sale is None:
        raise NotKnownYet("the disputed payment is not known here", intent)
    state = _DISPUTE_STATES.get(str(dispute.get("status")), Dispute.State.OPEN)
    details = dispute.get("evidence_details")
    due = details.get("due_by") if isinstance(details, Mapping) else None
    with transaction.atomic():
        sale = sales.locked(sale)
        _compare(sale, dispute, amount)
        moment = now()
        row = Dispute.objects.filter(account=sale.account, stripe_dispute=name).first()
        was = row.state if row is not None else ""
        if row is None:
            row = Dispute(**sale.columns, id=new_id(), stripe_dispute=name, created_at=moment)
        row.state = _further(_DISPUTE_ORDER, row.state, state)
        row.amount_minor = amount
        row.reason = str(dispute.get("reason") or "")[:100]
        row.evidence_due_at = datetime.fromtimestamp(due, UTC) if isinstance(due, int) else row.evidence_due_at
        row.ended_at = None if row.state == Dispute.State.OPEN else row.ended_at or moment
        row.save()
        _tell_staff(sale, row)
        outcome = _settle(sale) or f"dispute {row.state}"
        if row.state != was:
            alerts.notify_all(_news_of_dispute(sale, row, was))
        return outcome


def _tell_staff(sale: Sale, row: Dispute) -> None:
    if row.state != Dispute.State.OPEN:
        alerts.clear_alert("dispute_open", key=str(row.id))
        return
    due = f" Evidence is due by {alerts.moment_words(row.evidence_due_at)}." if row.evidence_due_at else ""
    alerts.open_alert(
        "dispute_open",
        key=str(row.id),
        sentence=f"A payment of {money.words(row.amount_minor, sale.currency)} for {sale.title} is disputed.{due}",
        facts={
            "account": str(sale.account),
            "dispute": row.stripe_dispute,
            "reason": row.reason,
            "evidence_due_at": row.evidence_due_at.isoformat() if row.evidence_due_at else None,
        },
    )


def _news_of_dispute(sale: Sale, row: Dispute, was: str) -> list[Notice]:
    """What the account's people read when it opens and when it ends. What was taken or restored has its own notice."""
    amount = f"{money.words(row.amount_minor, sale.currency)} for {sale.title}"
    lots = Lot.objects.filter(account=sale.account, payment=sale.payment) if sale.payment else []
    free, frozen = (sum(lot.remaining - lot.held for lot in lots if lot.is_frozen == is_it) for is_it in (False, True))
    match row.state:
        case Dispute.State.OPEN:
            level, title = "warning", f"Your payment of {amount} is disputed"
            body = (
                "The bank of the card has questioned it. Until that is decided, what is left of the credits that it "
                f"bought is frozen: {credits.display(frozen)} credits, which cannot be spent and do not expire. All "
                "other credits can be used as before. If the payment was yours, tell your bank that you withdraw the "
                "dispute: then they are free again. If the bank takes the money back, they are taken back too, and "
                "what of them was spent is owed."
            )
        case Dispute.State.WON if was != Dispute.State.LOST:
            level, title = "good", f"The dispute over {amount} is over: the payment stands"
            body = f"{credits.display(free)} credits that it bought can be spent again. There is nothing to do."
            if frozen:
                body = "Another dispute over the same payment is open, so its credits stay frozen until that ends."
        case Dispute.State.LOST if not ClawBack.objects.filter(account=sale.account, id=row.id).exists():
            level, title = "info", f"Your bank took back {amount}"
            body = "No more credits were taken: those of that money had gone back before. There is nothing to do."
        case _:
            return []
    return [alerts.notice(sale.account, f"dispute-{row.state}:{row.id}", title, body=body, link=STATEMENT, level=level)]


# What both do


def apply_known(purchase: Purchase) -> str:
    """What was told of the purchase's refunds and disputes before it was granted has its effect now.

    The caller holds the purchase's lock, and has granted.
    """
    return _settle(sales.of_purchase(purchase))


def _settle(sale: Sale) -> str:
    """The ledger agrees with every refund and dispute of the sale; what that came to, empty where nothing moved.

    The sale is locked. Its money that is gone (refunds that did not fail, disputes that were lost) takes that share of
    what was granted, cumulatively and rounded down, so that parts add up to the whole and never to more.
    """
    if sale.payment is None:
        return ""
    refunds = list(_about(Refunding, sale))
    disputes = list(_about(Dispute, sale))
    granted = Payment.objects.get(account=sale.account, id=sale.payment).granted
    taken = {row.id: row for row in ClawBack.objects.filter(account=sale.account, payment=sale.payment)}
    frozen = {lot.is_frozen for lot in Lot.objects.filter(account=sale.account, payment=sale.payment)}
    is_disputed = any(row.state == Dispute.State.OPEN for row in disputes)
    lost = [row for row in disputes if row.state == Dispute.State.LOST]
    given = [row for row in refunds if row.state in (Refunding.State.PENDING, Refunding.State.SUCCEEDED)]
    gone: list[Refunding | Dispute] = sorted([*given, *lost], key=lambda row: row.id.int)

    group: list[steps.Step] = []
    if is_disputed and False in frozen:
        group.append(steps.Freeze(actor="stripe", payment=sale.payment, description=f"Dispute over {sale.title}"))
    over = [row for row in [*refunds, *disputes] if row not in gone and _is_taken(taken.get(row.id))]
    for row in over:
        group.append(steps.Restore(actor="stripe", claw_back=row.id, description=_why_restored(sale, row)))
    left = {id: row.amount for id, row in taken.items() if _is_taken(row) and id not in {one.id for one in over}}
    minor = sum(row.amount_minor for row in gone if row.id in left)
    news: list[tuple[Refunding | Dispute, int]] = []
    for row in gone:
        if row.id in left:
            continue
        minor += row.amount_minor
        share = granted * min(minor, sale.amount_minor) // sale.amount_minor - sum(left.values())
        if share > 0:
            left[row.id] = share
            news.append((row, share))
            group.append(
                steps.ClawBack(
                    actor="stripe", payment=sale.payment, id=row.id, amount=share, description=_why_taken(sale, row)
                )
            )
    if not is_disputed and True in frozen:
        group.append(steps.Thaw(actor="stripe", payment=sale.payment, description=f"Dispute over {sale.title} ended"))

    results = ledger.post_one(sale.account, *group).results if group else []
    Refunding.objects.filter(id__in=[row.id for row in given]).update(is_clawed_back=True)
    Refunding.objects.filter(id__in=[row.id for row in over]).update(is_restored=True)
    _tell_account(sale, news, over)
    return ", ".join(line.kind.replace("_", " ") for line in results if isinstance(line, book.Line))


def _is_taken(row: ClawBack | None) -> bool:
    return row is not None and row.restored_by is None


def _about(model: Any, sale: Sale) -> Any:
    """The rows about the sale, oldest first."""
    rows = model.objects.filter(account=sale.account, purchase=sale.purchase, allocation=sale.allocation)
    return rows.order_by("id")


def _why_taken(sale: Sale, row: Refunding | Dispute) -> str:
    amount = money.words(row.amount_minor, sale.currency)
    return f"Refund of {amount} for {sale.title}" if isinstance(row, Refunding) else f"Lost dispute over {amount}"


def _why_restored(sale: Sale, row: Refunding | Dispute) -> str:
    amount = money.words(row.amount_minor, sale.currency)
    return f"Refund of {amount} failed" if isinstance(row, Refunding) else f"Dispute over {amount} was won after all"


def _tell_account(sale: Sale, news: list[tuple[Refunding | Dispute, int]], over: list[Refunding | Dispute]) -> None:
    """The account's people read what was taken back and what of it they owe, and what came back."""
    owed = dict(
        ClawBack.objects.filter(account=sale.account, id__in=[row.id for row, _ in news]).values_list("id", "debt")
    )
    notices = []
    for row, share in news:
        debt = owed.get(row.id, 0)
        body = f"{credits.display(share)} credits of {sale.title} were taken back."
        if isinstance(row, Dispute):
            body = f"Your bank decided the dispute against the payment and took the money back, so {body}"
        if debt:
            body += (
                f" {credits.display(debt)} of them had been spent already and are owed: the next credits that come to"
                " this account settle that first, and until then nothing new can be started."
            )
        title = f"{_why_taken(sale, row)}: {credits.display(share)} credits taken back"
        level = "warning" if debt else "info"
        notices.append(alerts.notice(sale.account, f"taken:{row.id}", title, body=body, link=STATEMENT, level=level))
    for row in over:
        title = f"{_why_restored(sale, row)}: its credits are yours again"
        notices.append(alerts.notice(sale.account, f"restored:{row.id}", title, link=STATEMENT))
    alerts.notify_all(notices)


# What Stripe says, read with care


def _further(order: list[str], one: str, other: str) -> str:
    """Whichever state comes later."""
    return max(one, other, key=lambda state: order.index(state))


def _named(thing: Mapping[str, Any]) -> str:
    name = thing.get("id")
    if not isinstance(name, str) or not name:
        raise Mismatch("Stripe's object has no id")
    return name


def _amount(thing: Mapping[str, Any]) -> int:
    amount = thing.get("amount")
    if isinstance(amount, bool) or not isinstance(amount, int) or amount <= 0:
        raise Mismatch(f"{thing.get('id')} has no amount")
    return amount


def _compare(sale: Sale, thing: Mapping[str, Any], amount: int) -> None:
    """Its money is the sale's: that currency, and not more than was paid."""
    currency = thing.get("currency")
    if currency != sale.currency or amount > sale.amount_minor:
        raise Mismatch(
            f"{thing['id']} is over {amount} {currency}, the sale over {sale.amount_minor} {sale.currency}", sale.key
        )
    intent = sales.name_of(thing.get("payment_intent"))
    if intent and sale.intent and intent != sale.intent:
        raise Mismatch(f"{thing['id']} is about {intent}, the sale was paid by {sale.intent}", sale.key)
