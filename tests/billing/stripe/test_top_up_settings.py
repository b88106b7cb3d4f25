"""Who may set auto top-up, over the API, on the page and in the admin; what they are told, and who is refused."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest
from django.urls import reverse

from billing import ledger, packs, top_ups
from billing.models import Audit, AutoTopUp, Customer, Notice, Pack, Purchase
from tests.billing.admin.colleague import Colleague, messages_of, said
from tests.billing.pages.test_pages import text_of
from tests.conftest import Clock
from tests.people import Person, member, owner, stranger

from .told import MICRO

__all__ = ["member", "owner", "stranger"]
# Stripe is not asked within a transaction, so these are not run in one.
pytestmark = pytest.mark.django_db(transaction=True)
LIMITS, PAGE = "/api/credits/limits", "/account/settings/credits"
TERMS = {"is_on": True, "below": "50", "pack": "starter", "monthly_max_minor": 5000}
FIELDS = {"act": "auto_top_up", "below": "50", "pack": "starter", "monthly_max_minor": "50", "is_on": "on"}


@pytest.fixture(autouse=True)
def shelf(transactional_db: None, stripe_settings: Any, clock: Clock) -> None:
    """The three packs that are shipped, and a Stripe."""
    packs.install()


def set_up(person: Person, **terms: Any) -> Any:
    return person.calls().put(LIMITS, {"auto_top_up": TERMS | terms})


def keep_a_card(person: Person) -> None:
    Customer.objects.create(account_id=person.account, stripe_customer=f"cus_{uuid4().hex}", payment_method="pm_1")


# Over the API


def test_an_owner_sets_it_and_reads_it(owner: Person) -> None:
    shown = owner.calls("read").get(LIMITS)["auto_top_up"]
    assert (shown["state"], shown["is_on"], shown["below"], shown["pack"]) == ("never_set", False, None, None)
    answer = set_up(owner)
    assert (answer.status, answer["per_run"]) == (200, None)
    shown = answer["auto_top_up"]
    assert {name: shown[name] for name in TERMS} == TERMS
    assert (shown["state"], shown["has_card"], shown["price"]) == ("no_card", False, "£10.00")
    assert (shown["monthly_max"], shown["used"], shown["used_minor"]) == ("£50.00", "£0.00", 0)
    assert re.fullmatch(r"\d{4}-\d\d-01T00:00:00Z", shown["resets_at"])
    assert "Buy a pack once and keep the card" in shown["words"]
    keep_a_card(owner)
    assert owner.calls().get(LIMITS)["auto_top_up"]["state"] == "on"
    deed = Audit.objects.get(act="set_auto_top_up")
    assert deed.facts == {
        "is_on": True, "below": "50", "pack": "starter", "price": "£10.00", "monthly_max": "£50.00"
    }  # fmt: skip
    assert not Audit.objects.filter(act="set_limits").exists()


def test_what_is_left_out_stays_and_limits_go_with_it(owner: Person) -> None:
    set_up(owner)
    answer = owner.calls().put(LIMITS, {"per_day": "9", "auto_top_up": {"below": "60"}})
    shown = answer["auto_top_up"]
    assert (answer["per_day"], shown["below"], shown["is_on"], shown["monthly_max_minor"]) == ("9", "60", True, 5000)
    answer = owner.calls().put(LIMITS, {"per_run": "1", "auto_top_up": {"below": "501"}})
    assert (answer.status, list(answer["fields"])) == (422, ["below"])
    assert owner.calls().get(LIMITS)["per_run"] is None, "all of it or nothing"
    answer = owner.calls().put(LIMITS, {"auto_top_up": {"is_on": False}})
    assert (answer["auto_top_up"]["state"], AutoTopUp.objects.get().off_because) == ("off", "person")


@pytest.mark.parametrize(
    "wrong",
    [
        {"below": "0"},
        {"below": "-1"},
        {"below": None},
        {"below": "500.000001"},
        {"pack": "none"},
        {"pack": 7},
        {"monthly_max_minor": 999},
        {"monthly_max_minor": "5000"},
        {"monthly_max_minor": 10**12},
        {"is_on": "yes"},
        {"currency": "usd"},
        {"price_minor": 1},
        {"account": str(uuid4())},
    ],
)
def test_wrong_terms_are_refused_and_set_nothing(owner: Person, wrong: dict[str, Any]) -> None:
    answer = set_up(owner, **wrong)
    assert (answer.status, answer.code) == (422, "invalid_fields")
    assert not AutoTopUp.objects.exists()


def test_the_first_time_all_terms_are_said(owner: Person) -> None:
    answer = owner.calls().put(LIMITS, {"auto_top_up": {"is_on": True}})
    assert (answer.status, sorted(answer["fields"])) == (422, ["below", "monthly_max_minor", "pack"])


def test_a_member_reads_it_and_sets_nothing_and_a_stranger_sees_his_own(
    owner: Person, member: Person, stranger: Person
) -> None:
    set_up(owner)
    assert member.calls().get(LIMITS)["auto_top_up"]["pack"] == "starter"
    for terms in (TERMS, {"is_on": False}):
        answer = member.calls().put(LIMITS, {"auto_top_up": terms})
        assert (answer.status, answer.code) == (403, "owners_only")
    assert owner.calls("read").put(LIMITS, {"auto_top_up": TERMS}).status == 403
    assert owner.calls("service").put(LIMITS, {"auto_top_up": TERMS}).status == 403
    assert stranger.calls().get(LIMITS)["auto_top_up"]["state"] == "never_set"
    set_up(stranger, pack="studio")
    assert AutoTopUp.objects.get(account=owner.account).pack.slug == "starter"
    assert AutoTopUp.objects.get(account=owner.account).is_on


def test_where_nothing_is_sold_there_is_nothing_to_set(owner: Person, settings: Any) -> None:
    settings.STRIPE_IS_SET_UP = False
    assert owner.calls().get(LIMITS)["auto_top_up"] is None
    answer = set_up(owner)
    assert (answer.status, answer.code) == (409, "top_up_not_possible")
    assert "Auto top-up" not in text_of(owner.browser().get(PAGE)).replace("Limits and top-up", "")
    assert owner.calls().put(LIMITS, {"per_day": "3"})["per_day"] == "3"


def test_a_frozen_account_does_not_turn_it_on(owner: Person) -> None:
    ledger.set_account_frozen(owner.account, True, "looked at")
    answer = set_up(owner)
    assert (answer.status, answer.code) == (403, "account_frozen")
    assert set_up(owner, is_on=False).status == 200


def test_a_purchase_over_the_api_can_keep_the_card(owner: Person) -> None:
    caller = owner.calls()
    answer = caller.post("/api/payments/buy-credits", {"pack": "starter", "keep_card": True})
    assert (answer.status, answer["purchase"]["keeps_card"], answer["purchase"]["is_top_up"]) == (200, True, False)
    assert caller.post("/api/payments/buy-credits", {"pack": "starter"})["purchase"]["keeps_card"] is False
    assert caller.post("/api/payments/buy-credits", {"pack": "starter", "keep_card": "on"}).status == 422
    assert [deed.facts.get("keeps_card") for deed in Audit.objects.filter(act="buy_credits").order_by("id")] == [
        True,
        None,
    ]


def test_a_member_buys_and_puts_no_card_in_the_owners_place(owner: Person, member: Person) -> None:
    caller = member.calls()
    answer = caller.post("/api/payments/buy-credits", {"pack": "starter", "keep_card": True})
    assert (answer.status, answer.code) == (403, "owners_only")
    browser = member.browser()
    browser.post("/account/choose", {"account": str(owner.account)})
    said = browser.post("/account/credits/buy", {"pack": "starter", "key": "k", "keep_card": "on"}, follow=True)
    assert "Only an owner of the account may do this." in text_of(said)
    assert not Purchase.objects.exists()
    assert caller.post("/api/payments/buy-credits", {"pack": "starter"}).status == 200


# On the page


def test_the_page_says_what_to_do_where_no_card_is_kept(owner: Person) -> None:
    browser = owner.browser()
    page = browser.get(PAGE)
    text = text_of(page)
    assert "No card is kept yet." in text
    assert "charges it for the auto top-ups that you set" in text
    key = re.search(
        r'name="pack" value="standard"><input type="hidden" name="key" value="([^"]+)"', page.content.decode()
    )
    assert key
    answer = browser.post("/account/credits/buy", {"pack": "standard", "key": key[1], "keep_card": "on"})
    assert answer.status_code == 303
    assert Purchase.objects.get().keeps_card
    keep_a_card_here(owner)
    assert "No card is kept yet." not in text_of(browser.get(PAGE))


def keep_a_card_here(person: Person) -> None:
    Customer.objects.filter(account=person.account).update(payment_method="pm_1")


def test_an_owner_sets_it_on_the_page(owner: Person, member: Person) -> None:
    keep_a_card(owner)
    browser = owner.browser()
    answer = browser.post(PAGE, FIELDS, follow=True)
    text = text_of(answer)
    assert "Auto top-up is on." in text
    assert "When fewer than 50 credits are available it buys 500 credits for £10.00." in text
    assert "£0.00 of at most £50.00 is spent by auto top-up this month" in text
    assert 'value="50"' in answer.content.decode()
    browser.post(PAGE, {name: value for name, value in FIELDS.items() if name != "is_on"})
    assert not AutoTopUp.objects.get().is_on

    browser.post(PAGE, FIELDS)
    assert "Turn it off" in text_of(browser.get(PAGE))
    Pack.objects.filter(slug="starter").update(credits=MICRO, is_offered=False)
    assert "Auto top-up is off." in text_of(browser.post(PAGE, {"act": "turn_off"}, follow=True))
    assert not AutoTopUp.objects.get().is_on

    assert browser.post(PAGE, {"act": "anything"}).status_code == 404

    other = member.browser()
    session = other.session
    session["account"] = str(owner.account)
    session.save()
    assert "Only an owner of the account may change this." in text_of(other.get(PAGE))
    AutoTopUp.objects.update(is_on=True, off_because="")
    assert other.post(PAGE, FIELDS).status_code == 422
    assert other.post(PAGE, {"act": "turn_off"}).status_code == 422
    assert AutoTopUp.objects.get().is_on


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"below": ""}, "This field is required."),
        ({"below": "501"}, "This pack brings 500 credits"),
        ({"monthly_max_minor": "9.99"}, "One such pack costs £10.00"),
        ({"monthly_max_minor": "1e3"}, "Write an amount like"),
        ({"monthly_max_minor": "-5"}, "Write an amount like"),
        ({"pack": "none"}, "Select a valid choice."),
    ],
)
def test_the_page_says_what_is_wrong_beside_its_field(owner: Person, wrong: dict[str, str], sentence: str) -> None:
    answer = owner.browser().post(PAGE, FIELDS | wrong)
    assert (answer.status_code, AutoTopUp.objects.count()) == (422, 0)
    assert sentence in text_of(answer)
    assert "Keep these limits" in text_of(answer)


def test_the_page_of_credits_says_what_is_under_way_and_what_was_declined(owner: Person, clock: Clock) -> None:
    keep_a_card(owner)
    set_up(owner, below="200")
    purchase = top_ups.begin(owner.account)
    assert purchase is not None
    browser = owner.browser()
    assert "A top-up is under way: 500 credits for £10.00." in text_of(browser.get("/account/credits"))
    page = f"/account/credits/purchases/{purchase.id}"
    assert "A top-up is on its way" in text_of(browser.get(page))
    intent = {"id": "pi_1", "status": "requires_payment_method", "last_payment_error": {"message": "No funds."}}
    assert top_ups.told_of_decline(purchase, intent) == "failed"
    text = text_of(browser.get("/account/credits"))
    assert "A top-up did not go through" in text
    assert "The last top-up" not in text, "its notice stands above"
    Notice.objects.update(seen_at=purchase.created_at)
    text = text_of(browser.get("/account/credits"))
    assert "The last top-up of £10.00 did not go through. Nothing was paid." in text
    assert "No funds." in text_of(browser.get(page))
    assert "The last payment did not go through." in text_of(browser.get(PAGE))
    set_up(owner)
    assert "The last top-up" not in text_of(browser.get("/account/credits")), "looked at and agreed anew"


def test_a_stranger_does_not_see_the_top_up(owner: Person, stranger: Person) -> None:
    keep_a_card(owner)
    set_up(owner, below="200")
    purchase = top_ups.begin(owner.account)
    assert purchase is not None
    assert stranger.browser().get(f"/account/credits/purchases/{purchase.id}").status_code == 404
    assert stranger.calls().get(f"/api/purchases/{purchase.id}").status == 404
    assert owner.calls().get(f"/api/purchases/{purchase.id}")["is_top_up"] is True


# Staff


def test_staff_see_it_and_switch_it_off_and_the_owner_is_told(owner: Person) -> None:
    keep_a_card(owner)
    set_up(owner)
    staff, reader = Colleague("stella", "*"), Colleague("rudi", "view_autotopup")
    row = f"/admin/billing/autotopup/{owner.account}/"
    assert "it buys below 50.00" in said(reader.get(f"{row}change/"))
    assert reader.does_at(f"{row}stop_top_up/").status_code == 403
    assert AutoTopUp.objects.get().is_on
    assert said(staff.get("/admin/billing/autotopup/")).count("£50.00") == 1
    answer = staff.does_at(f"{row}stop_top_up/", reason="The card was reported.")
    assert messages_of(answer) == ["It is off."]
    assert (AutoTopUp.objects.get().is_on, AutoTopUp.objects.get().off_because) == (False, "staff")
    assert Notice.objects.get(account=owner.account).title == "Auto top-up was switched off"
    assert "switched it off. You can turn it on again." in text_of(owner.browser().get(PAGE))
    assert staff.does_at(f"{row}stop_top_up/").status_code == 409
    assert Audit.objects.filter(act="stop_top_up", is_refusal=False).count() == 1
    assert reverse("admin:billing_autotopup_stop_top_up", args=[owner.account]) == f"{row}stop_top_up/"


def test_staff_see_which_purchases_are_top_ups(owner: Person) -> None:
    keep_a_card(owner)
    set_up(owner, below="200")
    purchase = top_ups.begin(owner.account)
    assert purchase is not None
    staff = Colleague("stella", "*")
    assert "by auto top-up" in said(staff.get(f"/admin/billing/purchase/{purchase.id}/change/"))
    assert said(staff.get("/admin/billing/purchase/?is_top_up__exact=1")).count("Starter: 500.00") == 1
    assert "Starter: 500.00" not in said(staff.get("/admin/billing/purchase/?is_top_up__exact=0"))
