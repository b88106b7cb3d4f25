"""Plans, for programs and browsers: what there are, a page at Stripe to pay for one on, and the portal.

A view validates, calls one verb, answers, as in api.py.
"""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.response import Response

from . import audit, checkout, idempotency, money, people, plans, subscriptions
from .models import Enrollment, Plan, new_id
from .rest import AmountField, Strict, TextField, View, read
from .schema import describe

Answer = serializers.Serializer[Any]

# Plans


class OnePlanAnswer(Answer):
    slug = serializers.CharField()
    title = serializers.CharField()
    price = serializers.CharField(help_text="A month, as people read it")
    amount_minor = serializers.IntegerField(help_text="The price in the currency's smallest unit; 0 costs nothing")
    currency = serializers.CharField()
    monthly_credits = AmountField()
    per_day = AmountField(allow_null=True, help_text="What of plan and promotional credits may be spent on a day")
    trial_days = serializers.IntegerField()
    features = serializers.ListField(child=serializers.CharField())


class PlansAnswer(Answer):
    results = OnePlanAnswer(many=True)


_PLAN = {
    "slug": "supporter",
    "title": "Supporter",
    "price": "£45.00",
    "amount_minor": 4500,
    "currency": "gbp",
    "monthly_credits": "3000",
    "per_day": "300",
    "trial_days": 0,
    "features": ["3,000 credits each month"],
}


class Plans(View):
    """The plans. Open to all."""

    is_open = True

    @describe(
        PlansAnswer,
        operation_id="plans_list",
        gives={"results": [_PLAN]},
        summary="The plans; those with a price only where buying is set up",
    )
    def get(self, request: Any) -> Response:
        return Response({"results": [show_plan(plan) for plan in plans.offered()]})


def show_plan(plan: Plan) -> Any:
    """A plan as the API answers it."""
    price = money.words(plan.price_minor, plan.currency)
    fields = ("slug", "title", "currency", "monthly_credits", "per_day", "trial_days", "features")
    told = {name: getattr(plan, name) for name in fields}
    return OnePlanAnswer(told | {"price": price, "amount_minor": plan.price_minor}).data


# Subscribing


class NewSubscription(Strict):
    plan = TextField(max_length=50, help_text="A plan's slug, of those with a price")
    success_url = TextField(
        max_length=2000, required=False, default="", allow_blank=True, help_text="On this site; where to come back to"
    )
    cancel_url = TextField(
        max_length=2000, required=False, default="", allow_blank=True, help_text="On this site; for who does not pay"
    )


class SubscriptionAnswer(Answer):
    checkout_url = serializers.CharField(help_text="Send the person there to pay")
    enrollment = serializers.UUIDField(source="id")
    plan = serializers.CharField(source="plan.slug")
    state = serializers.ChoiceField(choices=[state.value for state in Enrollment.State])


class Subscribe(View):
    """A plan that is to be paid for, and the page of Stripe's to pay it on."""

    act = "subscribe"

    @describe(
        SubscriptionAnswer,
        body=NewSubscription,
        is_keyed=True,
        refuses=(
            subscriptions.PlanNotOffered,
            subscriptions.AlreadySubscribed,
            checkout.BuyingFrozen,
            checkout.TooManyPurchases,
            checkout.NotSetUp,
            checkout.StripeUnavailable,
        ),
        takes={"plan": "supporter"},
        gives={
            "checkout_url": "https://checkout.stripe.com/c/pay/cs_test_1",
            "enrollment": "0197a0f2-5c1e-7c6e-9a41-2f0e6d1b7c11",
            "plan": "supporter",
            "state": "pending",
        },
        summary="Begins to subscribe to a plan: the answer says where it is paid. Each paid month brings its credits",
    )
    def post(self, request: Any) -> Response:
        wanted = read(NewSubscription, request.data)
        row, repeat = subscriptions.subscribe(
            self.account,
            wanted["plan"],
            user=request.user,
            site=request.build_absolute_uri("/"),
            success_url=wanted["success_url"],
            cancel_url=wanted["cancel_url"],
            key=idempotency.key_of(request, status=200, made=new_id()),
        )
        if repeat is None:
            record_subscribing(request, row)
        return idempotency.answer_once(request, repeat, 200, SubscriptionAnswer(row).data)


def record_subscribing(request: Any, row: Enrollment) -> None:
    """The audit trail has who began to subscribe to what."""
    audit.record(
        Subscribe.act,
        account=row.account_id,
        actor=people.actor_of(request),
        subject=f"enrollment:{row.id}",
        facts={"plan": row.plan.slug, "price": money.words(row.plan.price_minor, row.plan.currency)},
        request_id=getattr(request, "request_id", ""),
    )
