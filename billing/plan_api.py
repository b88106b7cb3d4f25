"""Plans, for programs and browsers: what there are, a page at Stripe to pay for one on, every change, and the portal.

A view validates, calls one verb, answers, as in api.py.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from rest_framework import serializers
from rest_framework.response import Response

from . import (
    audit,
    checkout,
    clock,
    idempotency,
    ledger,
    money,
    people,
    plan_words,
    plans,
    refusals,
    subscriptions,
)
from .models import Enrollment, Plan, PlanChange, new_id
from .rest import AmountField, MomentField, Strict, TextField, View, read, read_query
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
    jobs_at_once_max = serializers.IntegerField(allow_null=True, help_text="How many jobs may be under way together")
    open_holds_max = serializers.IntegerField(allow_null=True, help_text="How many holds may be open together")
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
    "jobs_at_once_max": 15,
    "open_holds_max": 30,
    "features": ["Up to 300 of them a day", "Bought credits have no daily cap", "Up to 15 jobs at once"],
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


AT_ONCE = ("jobs_at_once_max", "open_holds_max")


def show_plan(plan: Plan) -> Any:
    """A plan as the API answers it."""
    price = money.words(plan.price_minor, plan.currency)
    fields = ("slug", "title", "currency", "monthly_credits", "per_day", "trial_days", *AT_ONCE)
    told = {name: getattr(plan, name) for name in fields} | {"features": plans.features(plan)}
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
    checkout_url = serializers.CharField(help_text="Send the person there to pay; empty once that is over")
    enrollment = serializers.UUIDField(source="id")
    plan = serializers.CharField(source="plan.slug")
    state = serializers.ChoiceField(choices=[state.value for state in Enrollment.State])


class OfOwners(View):
    """What binds the account to pay is its owners' to do."""

    def allow(self, request: Any) -> None:
        super().allow(request)
        if people.role_in(request.user, self.account) != "owner":
            raise refusals.OwnersOnly


class Subscribe(OfOwners):
    """A plan that is to be paid for, and the page of Stripe's to pay it on."""

    act = "subscribe"

    @describe(
        SubscriptionAnswer,
        body=NewSubscription,
        is_keyed=True,
        refuses=(
            subscriptions.PlanNotOffered,
            subscriptions.AlreadySubscribed,
            subscriptions.PlanChangeInProgress,
            refusals.OwnersOnly,
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


# The account's plan


class NextAnswer(Answer):
    at = MomentField()
    amount = AmountField()


class MyPlanAnswer(Answer):
    plan = serializers.CharField(allow_null=True, help_text="Its slug; null where the account is on none")
    title = serializers.CharField(allow_null=True)
    state = serializers.ChoiceField(
        choices=["trial", "active", "grace", "paused"],
        allow_null=True,
        help_text="grace: a payment failed, and the plan stays until `grace_until`",
    )
    price = serializers.CharField(allow_null=True, help_text="A month, as people read it")
    amount_minor = serializers.IntegerField(allow_null=True)
    currency = serializers.CharField(allow_null=True)
    monthly_credits = AmountField(allow_null=True)
    period_start = MomentField(allow_null=True)
    period_end = MomentField(allow_null=True)
    grace_until = MomentField(allow_null=True)
    ends_with_period = serializers.BooleanField()
    next_plan = serializers.CharField(allow_null=True, help_text="The smaller plan that it becomes with the period")
    next_allocation = NextAnswer(allow_null=True)
    awaits = serializers.ChoiceField(
        choices=[act.value for act in PlanChange.Act],
        allow_null=True,
        help_text="What Stripe was asked for and has not confirmed yet; nothing else can be changed meanwhile",
    )
    can = serializers.ListField(
        child=serializers.ChoiceField(choices=["subscribe", "change", "cancel", "keep", "resume", "settle"]),
        help_text="What can be done about it now, by an owner",
    )


_MINE: dict[str, Any] = {
    "plan": "supporter",
    "title": "Supporter",
    "state": "active",
    "price": "£45.00",
    "amount_minor": 4500,
    "currency": "gbp",
    "monthly_credits": "3000",
    "period_start": "2026-05-01T12:00:00Z",
    "period_end": "2026-06-01T12:00:00Z",
    "grace_until": None,
    "ends_with_period": False,
    "next_plan": None,
    "next_allocation": {"at": "2026-06-01T12:00:00Z", "amount": "3000"},
    "awaits": None,
    "can": ["change", "cancel"],
}


def show_mine(account: Any) -> Any:
    """The account's plan as the API answers it."""
    row = plans.in_force(account)
    awaited, coming = plans.awaited(row), plans.next_allocation(row)
    told: dict[str, Any] = dict.fromkeys(_MINE) | {
        "ends_with_period": False,
        "can": plan_words.names_of_acts(row) if awaited is None else [],
        "awaits": awaited.act if awaited is not None else None,
        "next_allocation": {"at": coming[0], "amount": coming[1]} if coming is not None else None,
    }
    if row is not None:
        for name in ("title", "amount_minor", "currency", "monthly_credits"):
            told[name] = getattr(row.plan, "price_minor" if name == "amount_minor" else name)
        for name in ("state", "period_start", "period_end", "grace_until", "ends_with_period"):
            told[name] = getattr(row, name)
        told["plan"] = row.plan.slug
        told["price"] = money.words(row.plan.price_minor, row.plan.currency)
        told["next_plan"] = row.next_plan.slug if row.next_plan is not None else None
    return MyPlanAnswer(told).data


class MyPlan(View):
    """The plan that the account is on."""

    @describe(MyPlanAnswer, gives=_MINE, summary="The account's plan, what comes next, and what can be done about it")
    def get(self, request: Any) -> Response:
        return Response(show_mine(self.account))


# Before a change


class PreviewQuery(Strict):
    plan = TextField(max_length=50, help_text="The plan that is thought of")


class PreviewAnswer(Answer):
    plan = serializers.CharField(source="plan.slug")
    act = serializers.ChoiceField(choices=["subscribe", "upgrade", "downgrade", "switch_trial"])
    begins_at = MomentField(help_text="When the account would be on it")
    credits_now = AmountField(help_text="What would come as soon as the payment is confirmed")
    amount_minor = serializers.IntegerField(help_text="What would be paid now: about, as Stripe rounds each part")
    price_now = serializers.CharField(help_text="The same, as people read it")
    currency = serializers.CharField(source="plan.currency")
    days_left = serializers.IntegerField(allow_null=True, help_text="Of an upgrade: the days that are paid for")
    days = serializers.IntegerField(allow_null=True, help_text="Of how many days of the month")
    words = serializers.CharField(help_text="All of it in a sentence, as the page says it")


class PreviewPlan(View):
    """What choosing a plan would do now. Nothing is asked of Stripe, and nothing is done."""

    @describe(
        PreviewAnswer,
        query=PreviewQuery,
        refuses=(
            subscriptions.PlanNotOffered,
            subscriptions.PlanCannotChange,
            subscriptions.PlanUnpaid,
            subscriptions.PlanPaused,
            subscriptions.PlanChangePlanned,
            subscriptions.PlanChangeInProgress,
            checkout.NotSetUp,
        ),
        gives={
            "plan": "pro",
            "act": "upgrade",
            "begins_at": "2026-05-16T12:00:00Z",
            "credits_now": "4500",
            "amount_minor": 5750,
            "price_now": "£57.50",
            "currency": "gbp",
            "days_left": 15,
            "days": 30,
            "words": "You pay about £57.50 now, the difference for 15 of 30 days, and 4,500 credits come at once, "
            "to be spent until 31 May 2026.",
        },
        summary="What a change to a plan would cost, give, and when",
    )
    def get(self, request: Any) -> Response:
        wanted = read_query(PreviewQuery, request)["plan"]
        if not settings.STRIPE_IS_SET_UP:
            raise checkout.NotSetUp
        plan = Plan.objects.filter(slug=wanted).first()
        if plan is None:
            raise subscriptions.PlanNotOffered(fields={"plan": ["This plan is not offered."]})
        row, may_try = plans.in_force(self.account), not plans.has_had_one(self.account)
        if plans.awaited(row) is not None:
            raise subscriptions.PlanChangeInProgress
        seen = plan_words.preview(row, plan, clock.now(), may_try=may_try)
        seen_price = money.words(seen.amount_minor, plan.currency)
        told = {name: getattr(seen, name) for name in seen.__slots__} | {"price_now": seen_price}
        return Response(PreviewAnswer(told).data)


# Changing it


class ChangedAnswer(Answer):
    said = serializers.CharField(help_text="What was done, and what it means for credits and money")
    plan = MyPlanAnswer(help_text="As it is now: an upgrade shows once its payment is confirmed")


class NewPlan(Strict):
    plan = TextField(max_length=50, help_text="A plan's slug, of those with a price")


_CHANGES = (
    subscriptions.NoPaidPlan,
    subscriptions.PlanCannotChange,
    subscriptions.PlanUnpaid,
    subscriptions.PlanPaused,
    subscriptions.PlanChangePlanned,
    subscriptions.PlanChangeInProgress,
    subscriptions.UpgradeNotPaid,
    refusals.OwnersOnly,
    checkout.NotSetUp,
    checkout.StripeUnavailable,
)
_NO_BODY = (refusals.Malformed, refusals.BodyTooLarge, refusals.UnsupportedMediaType, refusals.InvalidFields)


class PlanAct(OfOwners):
    """Something done to the plan that the account pays for."""

    def answer(self, request: Any, made: subscriptions.Changed) -> Response:
        change, repeat = made
        if repeat is None:
            record_change(request, self.act.removeprefix("plan_"), change)
        shown = {"said": change.said, "plan": show_mine(self.account)}
        return idempotency.answer_once(request, repeat, 200, shown)

    def key(self, request: Any) -> ledger.Key | None:
        return idempotency.key_of(request, status=200, made=new_id())


class ChangePlan(PlanAct):
    """The account's plan is another one: a larger one now, a smaller one with the next month, on trial at once."""

    act = "plan_change"

    @describe(
        ChangedAnswer,
        body=NewPlan,
        is_keyed=True,
        refuses=(subscriptions.PlanNotOffered, *_CHANGES),
        takes={"plan": "pro"},
        gives={
            "said": "Pro is being paid for: 15 of 30 days. 4,500 credits come as soon as the payment is confirmed.",
            "plan": _MINE | {"awaits": "upgrade", "can": []},
        },
        summary="Changes the plan: up now, for the difference of the days left; down with the next month",
    )
    def post(self, request: Any) -> Response:
        wanted = read(NewPlan, request.data)["plan"]
        return self.answer(
            request, subscriptions.change(self.account, wanted, user=request.user, key=self.key(request))
        )


class CancelPlan(PlanAct):
    """The plan ends with its month, or at once where nothing is paid for."""

    act = "plan_cancel"

    @describe(
        ChangedAnswer,
        is_keyed=True,
        refuses=(*_CHANGES, *_NO_BODY),
        gives={
            "said": "Supporter ends on 1 Jun 2026. Until then everything stays as it is.",
            "plan": _MINE | {"ends_with_period": True, "can": ["keep"]},
        },
        summary="Ends the plan with its month; a plan that is unpaid or paused ends now",
    )
    def post(self, request: Any) -> Response:
        read(Strict, request.data)
        return self.answer(request, subscriptions.cancel(self.account, user=request.user, key=self.key(request)))


class KeepPlan(PlanAct):
    """What was planned for the month's end is undone."""

    act = "plan_keep"

    @describe(
        ChangedAnswer,
        is_keyed=True,
        refuses=(*_CHANGES, *_NO_BODY),
        gives={"said": "Supporter goes on.", "plan": _MINE},
        summary="Undoes an end, or a change to a smaller plan, that was planned for the month's end",
    )
    def post(self, request: Any) -> Response:
        read(Strict, request.data)
        return self.answer(request, subscriptions.keep(self.account, user=request.user, key=self.key(request)))


class ResumePlan(PlanAct):
    """A paused plan begins a new month."""

    act = "plan_resume"

    @describe(
        ChangedAnswer,
        is_keyed=True,
        refuses=(*_CHANGES, *_NO_BODY),
        gives={
            "said": "Supporter goes on as soon as the payment is confirmed.",
            "plan": _MINE | {"state": "paused", "next_allocation": None, "awaits": "resume", "can": []},
        },
        summary="Goes on with a paused plan: a new month begins and is paid for now",
    )
    def post(self, request: Any) -> Response:
        read(Strict, request.data)
        return self.answer(request, subscriptions.go_on(self.account, user=request.user, key=self.key(request)))


class SettlePlan(PlanAct):
    """The payment that failed is tried again."""

    act = "plan_settle"

    @describe(
        ChangedAnswer,
        is_keyed=True,
        refuses=(*_CHANGES, *_NO_BODY),
        gives={
            "said": "The payment went through. Your plan goes on, and its credits come as soon as that is confirmed.",
            "plan": _MINE
            | {
                "state": "grace",
                "grace_until": "2026-06-08T12:00:00Z",
                "next_allocation": None,
                "awaits": "settle",
                "can": [],
            },
        },
        summary="Pays the invoice that is open, with the card that Stripe has",
    )
    def post(self, request: Any) -> Response:
        read(Strict, request.data)
        return self.answer(request, subscriptions.settle(self.account, user=request.user, key=self.key(request)))


def record_change(request: Any, act: str, change: PlanChange) -> None:
    """The audit trail has who changed what."""
    audit.record(
        f"plan_{act}",
        account=change.account_id,
        actor=people.actor_of(request),
        subject=f"plan_change:{change.id}",
        facts={"plan": change.plan.slug if change.plan is not None else "", "said": change.said},
        request_id=getattr(request, "request_id", ""),
    )


# The portal


class NewPortal(Strict):
    return_url = TextField(
        max_length=2000,
        required=False,
        default="",
        allow_blank=True,
        help_text="On this site; where its way back leads. Left out: the page of the plan",
    )


class PortalAnswer(Answer):
    portal_url = serializers.CharField(help_text="Send the person there; it can be used for a few minutes")


class Portal(OfOwners):
    """Stripe's pages of the account: its card, its invoices, and the end of its plan."""

    act = "portal"

    @describe(
        PortalAnswer,
        body=NewPortal,
        refuses=(checkout.NoCustomer, refusals.OwnersOnly, checkout.NotSetUp, checkout.StripeUnavailable),
        takes={"return_url": "https://holdfast.example/account/plan"},
        gives={"portal_url": "https://billing.stripe.com/p/session/test_1"},
        summary="A way to Stripe's pages of cards and invoices, for an owner of an account that has bought something",
    )
    def post(self, request: Any) -> Response:
        wanted = read(NewPortal, request.data)["return_url"]
        site = (settings.PUBLIC_URL or request.build_absolute_uri("/")).rstrip("/")
        url = checkout.portal(self.account, wanted or f"{site}{plans.PAGE}")
        audit.record(
            self.act,
            account=self.account,
            actor=people.actor_of(request),
            request_id=getattr(request, "request_id", ""),
        )
        return Response({"portal_url": url})
