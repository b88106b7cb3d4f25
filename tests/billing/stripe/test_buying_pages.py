"""Buying on the pages: packs, one press to Stripe, a page that only shows what the books say, receipts, debts."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from billing import credits, ledger, packs, payments, refunds, stripe_inbox
from billing.models import Audit, Entry, Notice, Payment, Purchase
from billing.reconcile import reconcile
from tests.billing.pages.test_pages import text_of
from tests.billing.stripe.desk import hear
from tests.people import Person, member, owner, stranger

__all__ = ["member", "owner", "stranger"]
# Stripe is not asked within a transaction, so these are not run in one.
pytestmark = pytest.mark.django_db(transaction=True)
CREDITS = "/account/credits"


@pytest.fixture(autouse=True)
def shelf(transactional_db: None) -> Any:
    """The three packs that are shipped; afterwards the books are in order."""
    packs.install()
    yield
    assert reconcile().findings == []


def key_in(page: Any, pack: str) -> str:
    """The one-time key of the pack's form."""
    found = re.search(rf'name="pack" value="{pack}"><input type="hidden" name="key" value="([^"]+)"', page)
    assert found, pack
    return found[1]


def begin(person: Person, pack: str = "standard") -> Purchase:
    """The person pressed a pack's button and is at Stripe's page."""
    answer = person.browser().post(f"{CREDITS}/buy", {"pack": pack, "key": uuid4().hex})
    assert answer.status_code == 303
    return Purchase.objects.select_related("pack").get(checkout_url=answer["Location"])


def paid(row: Purchase, **said: Any) -> Purchase:
    assert payments.paid(row.id, intent=f"pi_{uuid4().hex}", **said)
    row.refresh_from_db()
    return row


def page_of(row: Purchase, rest: str = "") -> str:
    return f"{CREDITS}/purchases/{row.id}{rest}"


# The shelf


def test_prices_are_open_to_all_and_lead_to_signing_in(stripe_settings: Any) -> None:
    answer = Client().get("/pricing")
    said = text_of(answer)
    for words in ("500 credits", "£10 · 2.0p a credit", "1,400 credits", "£25 · 1.8p", "3,000 credits", "£50 · 1.7p"):
        assert words in said
    assert "/accounts/login/?next=/pricing" in answer.content.decode()
    assert "account/credits/buy" not in answer.content.decode()
    assert 'href="/pricing"' in answer.content.decode()


def test_where_no_stripe_is_set_up_nothing_speaks_of_buying(owner: Person, settings: Any) -> None:
    settings.STRIPE_IS_SET_UP = False
    client = owner.browser()
    for path in (CREDITS, "/", "/pricing", f"{CREDITS}/purchases"):
        answer = client.get(path)
        assert "Buy" not in text_of(answer), path
        assert "account/credits/buy" not in answer.content.decode()
        assert "form-action 'self';" in answer["Content-Security-Policy"]
    assert "Nothing is sold here" in text_of(client.get("/pricing"))
    answer = client.post(f"{CREDITS}/buy", {"pack": "standard", "key": "k"}, follow=True)
    assert "Nothing can be bought here at the moment." in text_of(answer)
    assert not Purchase.objects.exists()


@pytest.mark.parametrize(
    ("base", "origins"),
    [
        ("", "'self' https://checkout.stripe.com https://billing.stripe.com"),
        ("http://127.0.0.1:4242/v1", "'self' http://127.0.0.1:4242"),
    ],
)
def test_forms_may_lead_to_stripe_and_nowhere_else(
    owner: Person, stripe_settings: Any, base: str, origins: str
) -> None:
    stripe_settings.STRIPE_API_BASE = base
    for path in (CREDITS, "/pricing"):
        assert f"form-action {origins};" in owner.browser().get(path)["Content-Security-Policy"]
    assert "form-action 'self';" in owner.browser().get("/admin/")["Content-Security-Policy"]


# Buying


def test_one_form_buys_once_however_often_it_is_sent(owner: Person, stripe_settings: Any) -> None:
    client = owner.browser()
    page = client.get(CREDITS).content.decode()
    form = {"pack": "standard", "key": key_in(page, "standard")}
    first = client.post(f"{CREDITS}/buy", form)
    again = client.post(f"{CREDITS}/buy", form)
    assert (first.status_code, again.status_code) == (303, 303)
    row = Purchase.objects.get(account=owner.account)
    assert first["Location"] == again["Location"] == row.checkout_url
    assert row.checkout_url.startswith(stripe_settings.STRIPE_API_BASE)
    assert Audit.objects.filter(act="buy_credits", is_refusal=False).count() == 1
    assert owner.values == ("100", "0", "0")
    paid(row)
    late = client.post(f"{CREDITS}/buy", form)
    assert (late.status_code, late["Location"]) == (303, page_of(row))
    client.post(f"{CREDITS}/buy", form | {"key": key_in(page, "starter")})
    assert Purchase.objects.count() == 2


def test_a_form_that_is_not_ours_buys_nothing(owner: Person, stripe_settings: Any) -> None:
    strict = owner.browser(enforce_csrf_checks=True)
    assert strict.post(f"{CREDITS}/buy", {"pack": "standard", "key": "k"}).status_code == 403
    client = owner.browser()
    assert client.get(f"{CREDITS}/buy").status_code == 405
    assert client.post(f"{CREDITS}/buy", {"pack": "standard"}).status_code == 404
    assert client.post(f"{CREDITS}/buy", {"pack": "../x", "key": "k"}).status_code == 404
    answer = client.post(f"{CREDITS}/buy", {"pack": "none-such", "key": "k"}, follow=True)
    assert "That pack is not offered. Choose one of those below." in text_of(answer)
    assert Client().post(f"{CREDITS}/buy", {"pack": "standard", "key": "k"}).status_code == 302
    assert not Purchase.objects.exists()


def test_when_stripe_does_not_answer_the_page_says_so(owner: Person, stripe_settings: Any, stand_in: Any) -> None:
    stand_in.settings(down=True)
    answer = owner.browser().post(f"{CREDITS}/buy", {"pack": "standard", "key": "k"}, follow=True)
    assert "could not be opened. Nothing was bought and nothing was paid. Try again in a moment." in text_of(answer)


# The purchase as it goes


def test_coming_back_grants_nothing(owner: Person, stripe_settings: Any) -> None:
    row = begin(owner)
    client = owner.browser()
    for query in ("", "?back=paid", "?back=cancelled", "?back=%3Cscript%3E", "?back=paid&since=1&seen=x"):
        answer = client.get(page_of(row, query))
        assert answer.status_code == 200
        assert "<script>alert" not in answer.content.decode()
    assert client.get(page_of(row, "/live?back=paid")).status_code == 200
    row.refresh_from_db()
    assert (row.state, owner.values) == ("open", ("100", "0", "0"))


def test_the_page_follows_until_the_credits_are_there(owner: Person, stripe_settings: Any) -> None:
    row = begin(owner)
    client = owner.browser()
    first = client.get(page_of(row, "?back=paid"))
    said = text_of(first)
    assert "1,400 credits for £25.00 Waits to be paid" in said
    assert "Waiting for Stripe’s word" in said
    live = re.search(r'hx-get="([^"]+)" hx-trigger="every 2s"', first.content.decode())
    assert live
    url = live[1].replace("&amp;", "&")
    assert client.get(url, headers={"HX-Request": "true"}).status_code == 204
    paid(row, receipt_url="https://invoice.stripe.com/i/1")
    answer = client.get(url, headers={"HX-Request": "true"})
    assert (answer.status_code, answer["HX-Trigger"]) == (200, "purse")
    said = text_of(answer)
    assert "1,400 credits are here You have 1,500.00 available now. These can be spent until" in said
    assert 'href="https://invoice.stripe.com/i/1"' in answer.content.decode()
    assert "hx-get" not in answer.content.decode()


def test_when_it_takes_longer_the_page_says_what_that_means(owner: Person, stripe_settings: Any) -> None:
    row = begin(owner)
    answer = owner.browser().get(page_of(row, "/live?back=paid&since=1"))
    assert "you need not pay again" in text_of(answer)
    assert 'hx-trigger="every 10s"' in answer.content.decode()


def test_a_debit_that_takes_days_is_on_its_way_and_is_not_paid_twice(
    owner: Person, stripe_settings: Any, stand_in: Any
) -> None:
    row = begin(owner)
    stand_in.settings(deliver=False)
    assert stand_in.press(row.checkout_url, "slow").status_code == 303
    (told,) = [
        event
        for event in stand_in.events("checkout.session.completed")
        if event["data"]["object"]["id"] == row.stripe_session
    ]
    assert hear(told) == 200
    stripe_inbox.apply_due()
    row.refresh_from_db()
    assert (row.state, owner.values) == ("open", ("100", "0", "0"))
    client = owner.browser()
    answer = client.get(page_of(row, "?back=paid"))
    assert "On its way The payment is on its way You have done your part, and need not pay again." in text_of(answer)
    for path in (page_of(row, "?back=paid"), f"{CREDITS}/purchases", CREDITS):
        assert row.checkout_url not in client.get(path).content.decode()
    assert owner.calls().get(f"/api/purchases/{row.id}")["checkout_url"] is None


def test_a_frozen_account_is_offered_nothing(owner: Person, stripe_settings: Any) -> None:
    ledger.set_account_frozen(owner.account, True, "A question about a card")
    client = owner.browser()
    assert "account/credits/buy" not in client.get(CREDITS).content.decode()
    answer = client.post(f"{CREDITS}/buy", {"pack": "standard", "key": "k"}, follow=True)
    assert "This account is frozen. Nothing was bought and nothing was paid." in text_of(answer)


def test_who_came_back_without_paying_may_go_on(owner: Person, stripe_settings: Any) -> None:
    row = begin(owner)
    answer = owner.browser().get(page_of(row, "?back=cancelled"))
    assert "Nothing was paid You came back without paying, and nothing was bought. Pay £25.00 after all" in text_of(
        answer
    )
    assert row.checkout_url in answer.content.decode()


@pytest.mark.parametrize(
    ("state", "error", "words"),
    [
        (
            "failed",
            "Your card <was> declined.",
            "Nothing was bought, and no credits were added. What was said: “Your card &lt;was&gt; declined.”",
        ),
        ("expired", "", "Nothing was paid The page to pay on was open for too long"),
    ],
)
def test_an_end_without_credits_is_said(
    owner: Person, stripe_settings: Any, state: str, error: str, words: str
) -> None:
    row = begin(owner)
    Purchase.objects.filter(id=row.id).update(state=state, error=error)
    answer = owner.browser().get(page_of(row, "?back=paid"))
    assert words in text_of(answer)
    assert 'hx-get="/account/credits/purchases' not in answer.content.decode()


def test_nobody_sees_a_strangers_purchase(
    owner: Person, stranger: Person, member: Person, stripe_settings: Any
) -> None:
    row = paid(begin(owner))
    for rest in ("", "/live", "/receipt"):
        assert stranger.browser().get(page_of(row, rest)).status_code == 404
        assert Client().get(page_of(row, rest)).status_code == 302
    assert "1,400" not in text_of(stranger.browser().get(f"{CREDITS}/purchases"))
    client = member.browser()
    client.post("/account/choose", {"account": str(owner.account)})
    assert client.get(page_of(row)).status_code == 200


def test_the_rehearsal_is_marked_wherever_something_is_bought(owner: Person, stripe_settings: Any) -> None:
    row = paid(begin(owner))
    client = owner.browser()
    pages = (CREDITS, "/pricing", page_of(row), page_of(row, "/receipt"))
    stripe_settings.STRIPE_REHEARSAL = True
    for path in pages:
        assert "Rehearsal: no money moves." in text_of(client.get(path)), path
    stripe_settings.STRIPE_REHEARSAL = False
    for path in pages:
        assert "no money moves" not in text_of(client.get(path)), path


# Afterwards


def test_the_news_is_told_once_and_not_on_its_own_page(owner: Person, stripe_settings: Any) -> None:
    row = paid(begin(owner))
    notice = Notice.objects.get(account=owner.account, key=f"purchase:{row.id}")
    assert (notice.title, notice.level, notice.link) == ("1,400 credits are here", "good", page_of(row))
    assert notice.body.startswith("£25.00 for Standard. They can be spent until ")
    client = owner.browser()
    assert "1,400 credits are here £25.00 for Standard." in text_of(client.get("/generations"))
    assert text_of(client.get(page_of(row))).count("1,400 credits are here") == 1
    assert "1,400 credits are here" not in text_of(client.get("/generations"))


def test_purchases_are_listed_with_state_price_and_receipt(owner: Person, stripe_settings: Any) -> None:
    first, second, third = paid(begin(owner)), begin(owner, "starter"), paid(begin(owner, "studio"))
    thing = {"currency": "gbp", "payment_intent": first.stripe_intent, "metadata": {}}
    refunds.told_of_refund(thing | {"id": "re_1", "status": "succeeded", "amount": 1000})
    client = owner.browser()
    for path in (CREDITS, f"{CREDITS}/purchases"):
        answer = client.get(path)
        said = text_of(answer)
        assert "3,000 credits Paid" in said
        assert "500 credits Waits to be paid" in said
        assert "1,400 credits Refunded in part" in said
        assert "£10.00 given back" in said
        body = answer.content.decode()
        assert page_of(third, "/receipt") in body
        assert second.checkout_url in body
    assert "Nothing bought yet" in text_of(Person("new@people.test").browser().get(f"{CREDITS}/purchases"))


def test_our_own_receipt_names_what_was_paid_and_given_back(owner: Person, stripe_settings: Any) -> None:
    row = begin(owner)
    assert owner.browser().get(page_of(row, "/receipt")).status_code == 404
    paid(row)
    thing = {"currency": "gbp", "payment_intent": row.stripe_intent, "metadata": {}}
    refunds.told_of_refund(thing | {"id": "re_1", "status": "succeeded", "amount": 1000})
    refunds.told_of_refund(thing | {"id": "re_2", "status": "failed", "amount": 500})
    said = text_of(owner.browser().get(page_of(row, "/receipt")))
    assert "For olga@people.test" in said
    assert "1,400 credits, Standard £25.00 Given back on" in said
    assert "−£10.00 Total paid £15.00" in said


def statement_of(person: Person, kind: str) -> str:
    line = Entry.objects.filter(account=person.account, kind=kind).latest("sequence")
    answer = person.browser().get(f"{CREDITS}/statement/{line.id}")
    assert answer.status_code == 200
    assert "See the purchase" in text_of(answer)
    return text_of(answer)


def test_refunds_and_disputes_are_explained_and_lead_to_the_purchase(owner: Person, stripe_settings: Any) -> None:
    row = paid(begin(owner))
    assert "Standard for £25.00." in statement_of(owner, "grant")
    thing = {"currency": "gbp", "payment_intent": row.stripe_intent, "metadata": {}}
    refunds.told_of_dispute(thing | {"id": "dp_1", "status": "needs_response", "amount": 2500})
    said = statement_of(owner, "freeze")
    assert "A bank questions the payment: its 1,400.00 credits cannot be spent until that is decided." in said
    assert "£25.00 for 1,400 credits, Standard." in said
    page = text_of(owner.browser().get(page_of(row)))
    assert "Disputed This payment is disputed" in page.replace("  ", " ")
    refunds.told_of_dispute(thing | {"id": "dp_1", "status": "won", "amount": 2500})
    assert "The dispute is over: its 1,400.00 credits can be spent again." in statement_of(owner, "thaw")
    refunds.told_of_refund(thing | {"id": "re_1", "status": "pending", "amount": 1000})
    said = statement_of(owner, "claw_back")
    assert "A payment was taken back, so its 560.00 credits were taken back as well." in said
    assert "Refund on its way: £10.00" in said
    refunds.told_of_refund(thing | {"id": "re_1", "status": "failed", "amount": 1000})
    assert "560.00 credits that were taken back have been returned." in statement_of(owner, "restore")
    assert owner.values == ("1500", "0", "0")


def test_a_debt_says_why_and_how_it_is_settled(owner: Person, stripe_settings: Any) -> None:
    row = paid(begin(owner, "starter"))
    ledger.charge(owner.account, amount=credits.parse("590"), user=owner.user.pk)
    thing = {"currency": "gbp", "payment_intent": row.stripe_intent, "metadata": {}}
    refunds.told_of_refund(thing | {"id": "re_1", "status": "succeeded", "amount": 1000})
    assert owner.values == ("0", "0", "490")
    client = owner.browser()
    answer = client.get(CREDITS)
    said = text_of(answer)
    assert "490.00 credits are owed." in said
    assert "Credits that you buy settle it first, and the rest is yours to spend. Buy credits" in said
    line = Entry.objects.filter(kind="claw_back").latest("sequence")
    assert f"{CREDITS}/statement/{line.id}" in answer.content.decode()
    assert "500 credits Buy 500 credits for £10 Starter · 2.0p a credit · enough for what is missing" in said
    assert "500.00 of them had been spent already, and are owed." in statement_of(owner, "claw_back")
    assert "500.00 of them had been spent and are owed" in text_of(client.get(page_of(row)))

    second = paid(begin(owner))
    assert owner.values == ("910", "0", "0")
    assert "490.00 of them settled what was owed. You have 910.00 available now." in text_of(
        client.get(page_of(second))
    )
    notice = Notice.objects.get(key=f"purchase:{second.id}")
    assert notice.body.endswith("490.00 of them settled what was owed.")


def test_a_debt_without_buying_says_that_credits_settle_it(owner: Person, settings: Any) -> None:
    settings.STRIPE_IS_SET_UP = False
    owner.grant("5", payment="import:old")
    ledger.charge(owner.account, amount=credits.parse("105"), user=owner.user.pk)
    payment = Payment.objects.get(reference="import:old").id
    ledger.claw_back(owner.account, payment=payment, id=uuid4(), amount=credits.parse("5"))
    said = text_of(owner.browser().get(CREDITS))
    assert "5.00 credits are owed." in said
    assert "Whatever credits come to this account settle it first." in said


def test_the_pack_that_led_here_is_pointed_at(owner: Person, stripe_settings: Any) -> None:
    body = owner.browser().get(f"{CREDITS}?pack=studio").content.decode()
    assert body.count("enough for what is missing") == 1
    assert '<div class="pack best"><b class="n">3,000 credits</b>' in body
