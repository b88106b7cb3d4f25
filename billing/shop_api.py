"""Buying, for programs and browsers: what is sold, a page at Stripe to pay on, and what was bought.

A view validates, calls one verb, answers, as in api.py.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import Http404
from rest_framework import serializers
from rest_framework.response import Response

from . import audit, checkout, idempotency, money, packs, people, purchases, refusals
from .models import Pack, Purchase, new_id
from .rest import AmountField, FlagField, MomentField, PageQuery, Strict, TextField, View, page, read, read_query
from .schema import describe

Answer = serializers.Serializer[Any]

# Packs


class PackAnswer(Answer):
    slug = serializers.CharField()
    title = serializers.CharField()
    credits = AmountField()
    price = serializers.CharField(help_text="As people read it")
    amount_minor = serializers.IntegerField(help_text="The price in the currency's smallest unit: 2500 is £25.00")
    currency = serializers.CharField()
    keep_months = serializers.IntegerField(help_text="How long its credits can be spent")


class PacksAnswer(Answer):
    results = PackAnswer(many=True)


_PACK = {
    "slug": "standard",
    "title": "Standard",
    "credits": "1400",
    "price": "£25.00",
    "amount_minor": 2500,
    "currency": "gbp",
    "keep_months": 12,
}


class Packs(View):
    """The packs of credits. Open to all."""

    is_open = True

    @describe(
        PacksAnswer,
        operation_id="packs_list",
        gives={"results": [_PACK]},
        summary="The packs that can be bought; none where buying is not set up",
    )
    def get(self, request: Any) -> Response:
        return Response({"results": [show_pack(pack) for pack in packs.offered()]})


def show_pack(pack: Pack) -> Any:
    """A pack as the API answers it."""
    return PackAnswer(
        {
            "slug": pack.slug,
            "title": pack.title,
            "credits": pack.credits,
            "price": money.words(pack.price_minor, pack.currency),
            "amount_minor": pack.price_minor,
            "currency": pack.currency,
            "keep_months": pack.keep_months,
        }
    ).data


# Purchases


class PurchaseAnswer(Answer):
    id = serializers.UUIDField()
    state = serializers.ChoiceField(choices=[state.value for state in Purchase.State])
    pack = serializers.CharField(source="pack.slug")
    title = serializers.CharField(source="pack.title")
    credits = AmountField()
    price = serializers.CharField(help_text="What it was sold for, as people read it")
    amount_minor = serializers.IntegerField()
    currency = serializers.CharField()
    refunded_minor = serializers.IntegerField(help_text="What of it was given back, or is on its way")
    is_disputed = serializers.BooleanField(help_text="The cardholder's bank questions it: its credits are set aside")
    is_top_up = serializers.BooleanField(help_text="Bought by auto top-up")
    keeps_card = serializers.BooleanField(help_text="Its card is kept for auto top-up, once it is paid")
    checkout_url = serializers.CharField(allow_null=True, help_text="Where it is paid, as long as that is possible")
    receipt_url = serializers.CharField(allow_null=True, help_text="Once it is paid")
    error = serializers.CharField(help_text="What the bank said, where a payment did not go through; may be empty")
    created_at = MomentField()
    paid_at = MomentField(allow_null=True)


class PurchasesAnswer(Answer):
    results = PurchaseAnswer(many=True)
    next = serializers.URLField(allow_null=True, help_text="The next page, older ones; null at the end")


_PURCHASE = {
    "id": "0197a0f2-5c1e-7c6e-9a41-2f0e6d1b7c11",
    "state": "open",
    "pack": "standard",
    "title": "Standard",
    "credits": "1400",
    "price": "£25.00",
    "amount_minor": 2500,
    "currency": "gbp",
    "refunded_minor": 0,
    "is_disputed": False,
    "is_top_up": False,
    "keeps_card": False,
    "checkout_url": "https://checkout.stripe.com/c/pay/cs_test_1",
    "receipt_url": None,
    "error": "",
    "created_at": "2026-05-01T12:00:00Z",
    "paid_at": None,
}


def show_purchases(request: Any, rows: list[Purchase]) -> list[Any]:
    """Purchases as the API answers them. Two queries beside the rows."""
    said = purchases.told(rows)
    shown = []
    for row in rows:
        told = said[row.id]
        row.price = money.words(row.amount_minor, row.currency)  # type: ignore[attr-defined]
        row.refunded_minor = told.refunded_minor  # type: ignore[attr-defined]
        row.is_disputed = told.is_disputed  # type: ignore[attr-defined]
        path = purchases.receipt_of(row)
        receipt = f"{settings.PUBLIC_URL}{path}" if settings.PUBLIC_URL else request.build_absolute_uri(path)
        shown.append(
            PurchaseAnswer(row).data
            | {
                "checkout_url": purchases.way_to_pay(row) or None,
                "receipt_url": (receipt if path.startswith("/") else path) or None,
            }
        )
    return shown


class Purchases(View):
    """What the account bought, or began to buy."""

    @describe(
        PurchasesAnswer,
        query=PageQuery,
        operation_id="purchases_list",
        summary="What was bought, newest first, with receipts",
    )
    def get(self, request: Any) -> Response:
        rows = Purchase.objects.filter(account=self.account).select_related("pack")
        asked = read_query(PageQuery, request)
        return Response(page(request, rows, asked, lambda found: show_purchases(request, found)))


class OnePurchase(View):
    """One of them."""

    def find(self, request: Any, id: UUID, **kwargs: Any) -> Purchase:
        row = Purchase.objects.filter(account=self.account, id=id).select_related("pack").first()
        if row is None:
            raise Http404
        return row

    @describe(PurchaseAnswer, gives=_PURCHASE, summary="One purchase: what became of it, and its receipt")
    def get(self, request: Any, id: UUID) -> Response:
        return Response(show_purchases(request, [self.found])[0])


# Buying


class NewPurchase(Strict):
    pack = TextField(max_length=50, required=False, help_text="A pack's slug")
    credit_package = TextField(max_length=50, required=False, help_text="The same, as older frontends call it")
    success_url = TextField(
        max_length=2000, required=False, default="", allow_blank=True, help_text="On this site; where to come back to"
    )
    cancel_url = TextField(
        max_length=2000, required=False, default="", allow_blank=True, help_text="On this site; for who does not pay"
    )
    keep_card = FlagField(
        required=False,
        default=False,
        help_text=f"The person, an owner, has read and agreed to this: {checkout.KEEPS_CARD}",
    )

    def validate(self, fields: Any) -> Any:
        if ("pack" in fields) == ("credit_package" in fields):
            raise serializers.ValidationError({"pack": ["Name the pack, either here or as credit_package."]})
        fields["pack"] = fields.pop("credit_package", None) or fields["pack"]
        return fields


class CheckoutAnswer(Answer):
    checkout_url = serializers.CharField(help_text="Send the person there to pay")
    purchase = PurchaseAnswer()


class BuyCredits(View):
    """A purchase of a pack, and the page of Stripe's to pay it on."""

    act = "buy_credits"

    @describe(
        CheckoutAnswer,
        body=NewPurchase,
        is_keyed=True,
        refuses=(
            checkout.PackNotOffered,
            refusals.OwnersOnly,
            checkout.BuyingFrozen,
            checkout.TooManyPurchases,
            checkout.NotSetUp,
            checkout.StripeUnavailable,
        ),
        takes_one_of={"Sent": {"pack": "standard"}, "An older frontend's": {"credit_package": "standard"}},
        gives={"checkout_url": _PURCHASE["checkout_url"], "purchase": _PURCHASE},
        summary="Begins to buy a pack: the answer says where it is paid. Credits arrive once, when it is",
    )
    def post(self, request: Any) -> Response:
        wanted = read(NewPurchase, request.data)
        key = idempotency.key_of(request, status=200, made=new_id())
        purchase, repeat = checkout.buy(
            self.account,
            wanted["pack"],
            user=request.user,
            site=request.build_absolute_uri("/"),
            success_url=wanted["success_url"],
            cancel_url=wanted["cancel_url"],
            keeps_card=wanted["keep_card"],
            key=key,
        )
        if repeat is None:
            record_buying(request, purchase)
        shown = {"checkout_url": purchase.checkout_url, "purchase": show_purchases(request, [purchase])[0]}
        return idempotency.answer_once(request, repeat, 200, shown)


def record_buying(request: Any, purchase: Purchase) -> None:
    """The audit trail has who began to buy what."""
    audit.record(
        BuyCredits.act,
        account=purchase.account_id,
        actor=people.actor_of(request),
        subject=f"purchase:{purchase.id}",
        facts={"pack": purchase.pack.slug, "price": money.words(purchase.amount_minor, purchase.currency)}
        | ({"keeps_card": True} if purchase.keeps_card else {}),
        request_id=getattr(request, "request_id", ""),
    )
