"""The plan over the API and on its pages: what it says, what each button does, and who may press it."""

from __future__ import annotations

import json
import re
import time
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from billing import plans, refunds, sales, stripe_inbox
from billing.credits import MICRO
from billing.models import Allocation, Audit, Enrollment, Entry, PlanChange
from billing.reconcile import reconcile
from tests.billing.pages.test_pages import text_of
from tests.people import Caller, Person, member, nobody, owner, stranger

from .conftest import SECRET, StandIn
from .told import signed

__all__ = ["member", "nobody", "owner", "stranger"]
# Stripe is not asked within a transaction, so these are not run in one.
pytestmark = pytest.mark.django_db(transaction=True)
PAGE = "/account/plan"
SUBSCRIBE = "/api/payments/subscribe"


@pytest.fixture(autouse=True)
def _plans(transactional_db: None) -> Any:
    """The three plans that are shipped; afterwards the books are in order."""
    plans.install()
    yield
    assert reconcile().findings == []


def hear(stand_in: StandIn, person: Person) -> None:
    """Everything that Stripe told of this person's enrollments was applied."""
    mine = [str(id) for id in Enrollment.objects.filter(account=person.account).values_list("id", flat=True)]
    for event in stand_in.events():
        body = json.dumps(event).encode()
        if any(id in body.decode() for id in mine):
            assert stripe_inbox.receive(body, signed(body, secret=SECRET)) == 200
    stripe_inbox.apply_due()


def press(person: Person, act: str, **fields: str) -> Any:
    return person.browser().post(f"{PAGE}/{act}", fields)


def said(person: Person) -> str:
    answer = person.browser().get(PAGE)
    assert answer.status_code == 200
    return text_of(answer)


def subscribed(person: Person, stand_in: StandIn, slug: str) -> None:
    answer = press(person, "subscribe", plan=slug, key=uuid4().hex)
    assert answer.status_code == 303
    stand_in.pay(answer["Location"].rpartition("/")[2])
    hear(stand_in, person)


# The API


def test_plans_are_listed_for_everybody(nobody: Caller, stripe_settings: Any) -> None:
    answer = nobody.get("/api/plans")
    assert answer.status == 200
    shown = [(plan["slug"], plan["price"], plan["monthly_credits"], plan["per_day"]) for plan in answer["results"]]
    assert shown == [
        ("free", "£0.00", "300", "30"),
        ("supporter", "£45.00", "3000", "300"),
        ("pro", "£160.00", "12000", "2000"),
    ]


def test_without_stripe_only_what_costs_nothing_is_listed(nobody: Caller, settings: Any) -> None:
    settings.STRIPE_IS_SET_UP = False
    assert [plan["slug"] for plan in nobody.get("/api/plans")["results"]] == ["free"]


def test_a_program_subscribes_and_repeats_it_harmlessly(owner: Person, stand_in: StandIn, stripe_settings: Any) -> None:
    caller = owner.calls()
    answers = [caller.post(SUBSCRIBE, {"plan": "supporter"}, idempotency_key="a") for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0]["checkout_url"] == answers[1]["checkout_url"]
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    assert Enrollment.objects.count() == 1
    stand_in.pay(answers[0]["checkout_url"].rpartition("/")[2])
    hear(stand_in, owner)
    balance = caller.get("/api/credits/balance")
    assert (balance["plan"], balance["tier"], balance["tier_credits"]) == (
        {"tier": "supporter", "monthly_credits": "3000"}, "supporter", "3000",
    )  # fmt: skip
    assert balance["available"] == "3100"
    assert balance["next_allocation"]["amount"] == "3000"
    refused = caller.post(SUBSCRIBE, {"plan": "pro"})
    assert (refused.status, refused.code) == (409, "already_subscribed")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"plan": "gold"}, 422, "invalid_fields"),
        ({"plan": "free"}, 422, "invalid_fields"),
        ({}, 422, "invalid_fields"),
        ({"plan": "pro", "success_url": "https://elsewhere.test/"}, 422, "invalid_fields"),
        ({"plan": "pro", "price": "1"}, 422, "invalid_fields"),
    ],
)
def test_what_cannot_be_subscribed_to_is_refused_and_leaves_nothing(
    body: Any, status: int, code: str, owner: Person, stripe_settings: Any
) -> None:
    answer = owner.calls().post(SUBSCRIBE, body)
    assert (answer.status, answer.code) == (status, code)
    assert not Enrollment.objects.exists()


def test_where_no_stripe_is_set_up_nobody_subscribes(owner: Person, settings: Any) -> None:
    settings.STRIPE_IS_SET_UP = False
    answer = owner.calls().post(SUBSCRIBE, {"plan": "pro"})
    assert (answer.status, answer.code) == (503, "buying_not_set_up")


def test_the_balance_of_a_free_account_says_what_comes_next(owner: Person) -> None:
    plans.begin_free(owner.account)
    balance = owner.calls("read").get("/api/credits/balance")
    assert balance["plan"] == {"tier": "free", "monthly_credits": "300"}
    assert balance["next_allocation"]["amount"] == "300"
    assert balance["usage"]["day"]["limit"] == "30"


def test_the_balance_of_an_account_without_a_plan(owner: Person) -> None:
    balance = owner.calls("read").get("/api/credits/balance")
    assert (balance["plan"], balance["tier_credits"], balance["next_allocation"]) == (
        {"tier": None, "monthly_credits": "0"}, "0", None,
    )  # fmt: skip


# The pages


def test_the_page_of_a_free_account(owner: Person, stripe_settings: Any) -> None:
    assert "This account is on no plan." in said(owner)
    plans.begin_free(owner.account)
    words = said(owner)
    assert "Free costs nothing" in words
    assert re.search(r"The next 300 credits come on \d+ \w+ \d{4}\.", words)
    assert "Up to 30 plan and promotional credits may be spent a day" in words
    assert "£45 is charged today and each month; 3,000 credits come each time." in words
    credits_page = text_of(owner.browser().get("/account/credits"))
    assert "The next 300 credits come on" in credits_page
    assert "300.00 are left" in credits_page


def test_a_plan_goes_through_its_life_by_its_buttons(owner: Person, stand_in: StandIn, stripe_settings: Any) -> None:
    plans.begin_free(owner.account)
    subscribed(owner, stand_in, "supporter")
    assert owner.purse.available == 3400 * MICRO
    words = said(owner)
    assert "Supporter £45 a month" in words
    assert re.search(
        r"You pay about £115 now, the difference for (\d+) of \1 days, and 9,000 credits come at once", words
    )

    assert press(owner, "change", plan="pro").status_code == 302
    hear(stand_in, owner)
    assert owner.purse.available == 12_400 * MICRO
    assert "Pro £160 a month" in said(owner)

    press(owner, "change", plan="supporter")
    words = said(owner)
    assert re.search(r"From \d+ \w+ \d{4} on it is Supporter, for £45 a month\.", words)
    assert "Keep Pro" in words
    assert "The next 3,000 credits come on" in words
    press(owner, "keep")
    assert "The next 12,000 credits come on" in said(owner)

    press(owner, "cancel")
    words = said(owner)
    assert "Nothing more is charged. Then the account is on the Free plan." in words
    assert "The next 300 credits come on" in words
    press(owner, "keep")
    hear(stand_in, owner)
    assert "Ends soon" not in said(owner)
    assert owner.purse.available == 12_400 * MICRO
    acts = set(Audit.objects.filter(account=owner.account).values_list("act", flat=True))
    assert {"subscribe", "plan_change", "plan_keep", "plan_cancel"} <= acts


def test_one_form_pressed_twice_is_one_enrollment(owner: Person, stripe_settings: Any) -> None:
    key = uuid4().hex
    places = {press(owner, "subscribe", plan="pro", key=key)["Location"] for _ in range(2)}
    assert len(places) == 1
    assert Enrollment.objects.count() == 1


def test_only_an_owner_changes_the_plan(
    owner: Person, member: Person, stranger: Person, stand_in: StandIn, stripe_settings: Any
) -> None:
    subscribed(owner, stand_in, "supporter")
    browser = member.browser()
    browser.post("/account/choose", {"account": str(owner.account)})
    browser.post(f"{PAGE}/cancel")
    assert "Only an owner of the account may change its plan." in text_of(browser.get(PAGE))
    press(stranger, "cancel")
    row = plans.in_force(owner.account)
    assert row is not None
    assert not row.ends_with_period
    assert Client().post(f"{PAGE}/cancel").status_code == 302  # to signing in


def test_cards_and_invoices_are_at_stripe(owner: Person, stand_in: StandIn, stripe_settings: Any) -> None:
    assert "Card and invoices" not in said(owner)
    subscribed(owner, stand_in, "supporter")
    assert "Card and invoices" in said(owner)
    answer = press(owner, "portal")
    assert answer.status_code == 303
    assert answer["Location"].startswith(stand_in.url)


def test_what_was_paid_stands_there_with_its_receipt(
    owner: Person, stranger: Person, stand_in: StandIn, stripe_settings: Any
) -> None:
    assert "What you paid for plans" not in said(owner)
    subscribed(owner, stand_in, "supporter")
    month = Allocation.objects.get(account=owner.account, amount_minor=4500)
    assert f"{month} Paid" in said(owner)
    assert "3,000 credits · Receipt" in said(owner)
    page = owner.browser().get(PAGE).content.decode()
    receipt = f"{PAGE}/paid/{month.id}"
    assert month.invoice_url
    assert f'href="{month.invoice_url}"' in page
    assert f'href="{receipt}"' in page
    refund = {"id": "re_1", "currency": "gbp", "amount": 2250, "status": "succeeded", "metadata": {}}
    refunds.told_of_refund(refund, sales.of_allocation(month))
    assert "Refunded in part" in said(owner)
    shown = text_of(owner.browser().get(receipt))
    assert f"Receipt {str(month.id).rpartition('-')[2].upper()}" in shown
    for words in (owner.user.email, str(month), "£45.00", "Given back on", "−£22.50", "Total paid £22.50"):
        assert words in shown
    assert owner.browser().get(f"{PAGE}/paid/{uuid4()}").status_code == 404
    assert stranger.browser().get(receipt).status_code == 404
    taken = Entry.objects.get(account=owner.account, kind="claw_back")
    page = text_of(owner.browser().get(f"/account/credits/statement/{taken.id}"))
    assert f"£45.00 for 3,000 credits, {month}." in page
    assert "Refunded £22.50" in page
    assert "See the receipt" in page


def test_what_cannot_be_done_now_says_so_and_changes_nothing(
    owner: Person, stand_in: StandIn, stripe_settings: Any
) -> None:
    for act in ("cancel", "keep", "resume", "settle", "change"):
        browser = owner.browser()
        answer = browser.post(f"{PAGE}/{act}", {"plan": "pro"}, follow=True)
        assert "This account has no plan that is paid for. Nothing was changed." in text_of(answer), act
    assert press(owner, "explode").status_code == 404
    assert not Enrollment.objects.exists()


def test_prices_show_the_plans_to_everybody(stripe_settings: Any) -> None:
    words = text_of(Client().get("/pricing"))
    for expected in ("300 credits a month, free", "3,000 credits a month for £45", "12,000 credits a month for £160"):
        assert expected in words


# What is waited for


def live_of(page: str) -> str:
    """Where the page looks for news; empty where it waits for nothing."""
    found = re.search(r'id="plan-now" hx-get="([^"]+)"', page)
    return found[1].replace("&amp;", "&") if found else ""


def test_the_page_waits_for_the_payment_and_follows_by_itself(
    owner: Person, stand_in: StandIn, stripe_settings: Any
) -> None:
    plans.begin_free(owner.account)
    browser = owner.browser()
    assert live_of(browser.get(PAGE).content.decode()) == ""
    answer = press(owner, "subscribe", plan="supporter", key=uuid4().hex)
    page = browser.get(f"{PAGE}?back=paid").content.decode()
    assert "Waiting for the payment to be confirmed." in page
    assert "Subscribe to" not in page
    live = live_of(page)
    assert browser.get(live, headers={"HX-Request": "true"}).status_code == 204
    assert owner.purse.available == 400 * MICRO  # looking gives nothing, whatever the address says
    stand_in.pay(answer["Location"].rpartition("/")[2])
    assert browser.get(live, headers={"HX-Request": "true"}).status_code == 204  # paid, and not told yet
    hear(stand_in, owner)
    news = browser.get(live, headers={"HX-Request": "true"})
    assert (news.status_code, news.headers["HX-Trigger"]) == (200, "purse")
    assert "Supporter" in text_of(news)
    assert "Waiting" not in text_of(news)
    assert live_of(news.content.decode()) == ""
    assert "<html" not in news.content.decode()


def test_an_upgrade_is_waited_for_and_offers_nothing_else_meanwhile(
    owner: Person, stand_in: StandIn, stripe_settings: Any
) -> None:
    subscribed(owner, stand_in, "supporter")
    press(owner, "change", plan="pro")
    browser = owner.browser()
    page = browser.get(PAGE)
    assert "Pro is being paid for" in text_of(page)
    assert "Change to Pro now" not in text_of(page)
    assert "End Supporter" not in text_of(page)
    live = live_of(page.content.decode())
    assert browser.get(live).status_code == 204
    hear(stand_in, owner)
    assert "Pro £160 a month" in text_of(browser.get(live))


def test_the_page_does_not_wait_for_ever(owner: Person, stripe_settings: Any) -> None:
    """Whoever wrote the address themselves, or closed the page to pay on."""
    browser = owner.browser()
    slow = browser.get(f"{PAGE}?back=paid&since={int(time.time()) - 60}").content.decode()
    assert "This takes longer than usual." in slow
    assert "every 10s" in slow
    assert "Subscribe to" in slow
    late = browser.get(f"{PAGE}?back=paid&since={int(time.time()) - 1000}").content.decode()
    assert live_of(late) == ""
    for since in ("-1", "x", "9" * 30, "<b>", "\u0669"):
        assert browser.get(PAGE, {"back": "paid", "since": since, "seen": "<b>"}).status_code == 200
    assert Client().get(f"{PAGE}/live").status_code == 302
    assert browser.post(f"{PAGE}/live").status_code in (404, 405)


def test_a_payment_that_failed_is_settled_by_its_button(owner: Person, stand_in: StandIn, stripe_settings: Any) -> None:
    subscribed(owner, stand_in, "supporter")
    row = plans.in_force(owner.account)
    assert row is not None
    Enrollment.objects.filter(id=row.id).update(state="grace", grace_until=row.period_end)
    words = said(owner)
    assert "Pay £45 now" in words
    assert "until then it cannot be changed" in words
    assert "Change to Pro" not in words
    answer = owner.browser().post(f"{PAGE}/settle", {"key": "k"}, follow=True)  # nothing is open there
    assert "Something about this plan is being confirmed. Nothing was changed." in text_of(answer)


def test_who_is_no_owner_sees_prices_and_chooses_nothing(
    owner: Person, member: Person, stand_in: StandIn, stripe_settings: Any
) -> None:
    browser = member.browser()
    browser.post("/account/choose", {"account": str(owner.account)})
    assert "Subscribe to Pro" not in text_of(browser.get(PAGE))
    assert "Subscribe to Pro" not in text_of(browser.get("/pricing"))
    browser.post(f"{PAGE}/subscribe", {"plan": "pro", "key": "k"})
    assert "Only an owner of the account may choose its plan." in text_of(browser.get(PAGE))
    assert not Enrollment.objects.exists()


def test_one_button_pressed_twice_changes_the_plan_once(owner: Person, stand_in: StandIn, stripe_settings: Any) -> None:
    subscribed(owner, stand_in, "supporter")
    for _ in range(2):
        press(owner, "change", plan="pro", key="k")
    words = said(owner)
    assert "Nothing was changed" not in words
    assert PlanChange.objects.count() == 1
    press(owner, "change", plan="supporter", key="k")  # the key with another plan: nothing
    assert PlanChange.objects.count() == 1
    hear(stand_in, owner)


@pytest.mark.parametrize(
    "path",
    ["/account/credits/buy", *(f"{PAGE}/{act}" for act in ("subscribe", "portal", "change", "cancel", "settle"))],
)
def test_pages_that_ask_stripe_are_no_way_around_the_limit_of_requests(
    path: str, owner: Person, stand_in: StandIn, stripe_settings: Any
) -> None:
    stripe_settings.API_WRITES_PER_MINUTE = 0
    asked = len(stand_in.get("requests")["requests"])
    fields = {"plan": "supporter", "pack": "standard", "key": "k"}
    assert "Too many requests." in text_of(owner.browser().post(path, fields, follow=True))
    assert len(stand_in.get("requests")["requests"]) == asked
    assert not Enrollment.objects.exists()


@pytest.mark.parametrize("slug", ["", "pro\0", "prö", "p" * 51])
def test_what_can_be_no_plans_name_is_not_there(slug: str, owner: Person, stripe_settings: Any) -> None:
    assert press(owner, "change", plan=slug).status_code == 404
