"""Buying over the API: what is sold, a page to pay on, once for a key, and what was bought."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
import schemathesis
from django.db import transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as trying
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok

from billing import checkout, credits, ledger, packs, payments, refunds
from billing.models import Audit, IdempotencyKey, Pack, Payment, Purchase
from tests.billing.api.test_openapi import CONFIG, DOCUMENT, get_wsgi_application, patient
from tests.people import Person, member, nobody, owner, stranger

__all__ = ["member", "nobody", "owner", "patient", "stranger"]
# Stripe is not asked within a transaction, so these are not run in one.
pytestmark = pytest.mark.django_db(transaction=True)
BUY = "/api/payments/buy-credits"


@pytest.fixture(autouse=True)
def shelf(transactional_db: None) -> None:
    """The three packs that are shipped."""
    packs.install()


@pytest.fixture
def unset(settings: Any) -> None:
    settings.STRIPE_IS_SET_UP = False


def paid(id: str | UUID, **said: Any) -> Purchase:
    assert payments.paid(UUID(str(id)), intent=f"pi_{uuid4().hex}", **said)
    return Purchase.objects.get(id=id)


# What is sold


def test_everybody_sees_the_three_packs(nobody: Any, stripe_settings: Any) -> None:
    answer = nobody.get("/api/packs")
    assert answer.status == 200
    said = [(pack["slug"], pack["credits"], pack["price"], pack["amount_minor"]) for pack in answer["results"]]
    assert said == [
        ("starter", "500", "£10.00", 1000),
        ("standard", "1400", "£25.00", 2500),
        ("studio", "3000", "£50.00", 5000),
    ]
    assert {(pack["currency"], pack["keep_months"]) for pack in answer["results"]} == {("gbp", 12)}


def test_what_staff_took_off_the_shelf_is_not_sold(owner: Person, stripe_settings: Any) -> None:
    Pack.objects.filter(slug="studio").update(is_offered=False)
    caller = owner.calls()
    assert [pack["slug"] for pack in caller.get("/api/packs")["results"]] == ["starter", "standard"]
    answer = caller.post(BUY, {"pack": "studio"})
    assert (answer.status, answer.code, list(answer["fields"])) == (422, "invalid_fields", ["pack"])
    assert packs.install() == 0
    assert not Pack.objects.get(slug="studio").is_offered


def test_where_no_stripe_is_set_up_nothing_is_sold(owner: Person, unset: None) -> None:
    caller = owner.calls()
    assert caller.get("/api/packs").json == {"results": []}
    answer = caller.post(BUY, {"pack": "standard"})
    assert (answer.status, answer.code) == (503, "buying_not_set_up")
    assert not Purchase.objects.exists()


# Buying


@pytest.mark.parametrize("name", ["pack", "credit_package"])
def test_a_pack_is_bought_at_stripe_and_moves_nothing_yet(
    owner: Person, stripe_settings: Any, stripe_client: Any, name: str
) -> None:
    answer = owner.calls().post(BUY, {name: "standard"})
    assert answer.status == 200, answer
    row = Purchase.objects.get(account=owner.account)
    assert answer["checkout_url"] == row.checkout_url
    said = answer["purchase"]
    assert (said["id"], said["state"], said["credits"], said["price"]) == (str(row.id), "open", "1400", "£25.00")
    assert (said["checkout_url"], said["receipt_url"], said["paid_at"]) == (row.checkout_url, None, None)
    session = stripe_client.v1.checkout.sessions.retrieve(row.stripe_session)
    assert (session.amount_total, session.currency, session.client_reference_id) == (2500, "gbp", str(row.id))
    page = f"http://testserver/account/credits/purchases/{row.id}"
    assert (session.success_url, session.cancel_url) == (f"{page}?back=paid", f"{page}?back=cancelled")
    assert owner.values == ("100", "0", "0")
    trail = Audit.objects.get(account=owner.account, act="buy_credits")
    assert trail.facts == {"pack": "standard", "price": "£25.00"}


def test_a_key_stands_for_one_purchase(owner: Person, stripe_settings: Any) -> None:
    caller = owner.calls()
    first = caller.post(BUY, {"pack": "standard"}, idempotency_key="one")
    assert "Idempotent-Replayed" not in first.headers
    again = caller.post(BUY, {"pack": "standard"}, idempotency_key="one")
    assert (again.status, again.headers["Idempotent-Replayed"]) == (200, "true")
    assert (again["checkout_url"], again["purchase"]["id"]) == (first["checkout_url"], first["purchase"]["id"])
    other = caller.post(BUY, {"pack": "studio"}, idempotency_key="one")
    assert (other.status, other.code) == (409, "idempotency_conflict")
    Pack.objects.update(is_offered=False)
    assert caller.post(BUY, {"pack": "standard"}, idempotency_key="one")["checkout_url"] == first["checkout_url"]
    assert Purchase.objects.count() == 1
    Pack.objects.update(is_offered=True)
    assert caller.post(BUY, {"pack": "standard"}, idempotency_key="two")["checkout_url"] != first["checkout_url"]


def test_what_was_refused_leaves_its_key_free(owner: Person, stripe_settings: Any) -> None:
    caller = owner.calls()
    assert caller.post(BUY, {"pack": "no-such"}, idempotency_key="one").status == 422
    assert not IdempotencyKey.objects.exists()
    assert caller.post(BUY, {"pack": "standard"}, idempotency_key="one").status == 200


def test_when_stripe_does_not_answer_the_same_key_goes_on_with_the_same_purchase(
    owner: Person, stripe_settings: Any, stand_in: Any
) -> None:
    caller = owner.calls()
    stand_in.settings(down=True)
    answer = caller.post(BUY, {"pack": "standard"}, idempotency_key="one")
    assert (answer.status, answer.code) == (503, "payments_unavailable")
    row = Purchase.objects.get(account=owner.account)
    assert (row.state, row.checkout_url) == ("created", "")
    stand_in.settings(down=False)
    answer = caller.post(BUY, {"pack": "standard"}, idempotency_key="one")
    assert (answer.status, answer["purchase"]["id"], answer["purchase"]["state"]) == (200, str(row.id), "open")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"pack": "standard", "credit_package": "standard"},
        {"pack": "nothing-of-that-name"},
        {"pack": ""},
        {"pack": 5},
        {"pack": "standard", "price": 1},
        {"pack": "standard", "amount_minor": 1},
        {"pack": "standard", "account": str(uuid4())},
        {"pack": "standard", "quantity": 2},
        {"pack": "standard", "metadata": {"purchase": "x"}},
    ],
)
def test_what_is_not_understood_is_refused(owner: Person, stripe_settings: Any, body: Any) -> None:
    answer = owner.calls().post(BUY, body)
    assert (answer.status, answer.code) == (422, "invalid_fields")
    assert answer["fields"]
    assert not Purchase.objects.exists()


FOREIGN = [
    "https://evil.test/",
    "//evil.test/",
    "/account/credits",
    "javascript:alert(1)",
    "data:text/html,x",
    "https://testserver@evil.test/",
    "https://evil.test\\.localhost/",
    "https://evil.test/.localhost",
    "https://evil.test#.localhost",
    "https:\\\\evil.test/",
    "https://localhost\n.evil.test/",
    "https://testserver.evil.test/",
    "https://eviltestserver/",
    "https://evillocalhost/",
    "http://[::1",
    "http://testserver:port/",
    "ftp://testserver/",
    "https://ｔestserver/",
    "http://testserver/" + "x" * 1990,
]


def test_nobody_is_sent_to_a_foreign_address(owner: Person, stripe_settings: Any) -> None:
    caller = owner.calls()
    for address in FOREIGN:
        for name in ("success_url", "cancel_url"):
            answer = caller.post(BUY, {"pack": "standard", name: address})
            assert (answer.status, list(answer["fields"])) == (422, [name]), address
    assert not Purchase.objects.exists()


@pytest.mark.parametrize(
    "address",
    ["http://testserver/done", "https://shop.localhost:3000/a?session={CHECKOUT_SESSION_ID}#b", "http://[::1]:8000/"],
)
def test_our_own_addresses_are_taken(owner: Person, stripe_settings: Any, stripe_client: Any, address: str) -> None:
    answer = owner.calls().post(BUY, {"pack": "standard", "success_url": address, "cancel_url": address})
    assert answer.status == 200, answer
    row = Purchase.objects.get(account=owner.account)
    assert stripe_client.v1.checkout.sessions.retrieve(row.stripe_session).success_url == address


def test_only_the_public_address_is_ours_where_there_is_one(owner: Person, stripe_settings: Any) -> None:
    stripe_settings.PUBLIC_URL = "https://desk.example"
    stripe_settings.ALLOWED_HOSTS = ["*"]
    caller = owner.calls()
    assert caller.post(BUY, {"pack": "standard", "success_url": "https://desk.example/x"}).status == 200
    assert caller.post(BUY, {"pack": "standard", "success_url": "http://testserver/x"}).status == 422
    stripe_settings.PUBLIC_URL = ""
    assert caller.post(BUY, {"pack": "standard", "success_url": "https://evil.test/x"}).status == 422


# Who may


def test_who_may_not_buy(owner: Person, nobody: Any, stripe_settings: Any) -> None:
    body = {"pack": "standard"}
    answer = nobody.post(BUY, body)
    assert (answer.status, answer.code) == (401, "sign_in_required")
    assert answer["sign_in_url"]
    for path in ("/api/purchases", f"/api/purchases/{uuid4()}"):
        assert nobody.get(path).status == 401
    answer = owner.calls("read").post(BUY, body)
    assert (answer.status, answer.code) == (403, "scope_too_small")
    assert owner.calls("service").post(BUY, body).code == "scope_too_small"
    late = Person("late@people.test", is_verified=False)
    answer = late.calls().post(BUY, body)
    assert (answer.status, answer.code) == (403, "email_unverified")
    ledger.set_account_frozen(owner.account, True, "A question about a card")
    answer = owner.calls().post(BUY, body)
    assert (answer.status, answer.code) == (403, "account_frozen")
    assert "Nothing was bought" in answer["error"]
    assert not Purchase.objects.exists()


def test_a_member_buys_for_the_account(owner: Person, member: Person, stripe_settings: Any) -> None:
    answer = member.calls().post(BUY, {"pack": "starter"})
    row = Purchase.objects.get(id=answer["purchase"]["id"])
    assert (row.account_id, row.user) == (owner.account, member.user)


def test_what_is_owed_is_settled_first_and_is_no_obstacle(owner: Person, stripe_settings: Any) -> None:
    in_debt(owner, "40")
    answer = owner.calls().post(BUY, {"pack": "standard"})
    assert answer.status == 200
    paid(answer["purchase"]["id"])
    assert owner.values == ("1360", "0", "0")


def in_debt(person: Person, amount: str) -> None:
    """So many credits of a payment were spent, and then it was taken back."""
    micro = credits.parse(amount)
    everything = person.purse.balance
    ledger.adjust(person.account, amount=-everything, reason="a clean table", actor="user:1")
    person.grant(amount, payment="import:old")
    ledger.charge(person.account, amount=micro, user=person.user.pk)
    payment = Payment.objects.get(reference="import:old").id
    ledger.claw_back(person.account, payment=payment, id=uuid4(), amount=micro)
    assert person.values == ("0", "0", amount)


def test_who_tries_card_after_card_is_slowed_down(owner: Person, stripe_settings: Any) -> None:
    caller = owner.calls()
    for _ in range(checkout.UNPAID_AN_HOUR_MAX):
        answer = caller.post(BUY, {"pack": "starter"})
        assert answer.status == 200
    refused = caller.post(BUY, {"pack": "starter"})
    assert (refused.status, refused.code) == (429, "too_many_purchases")
    assert 3500 < int(refused.headers["Retry-After"]) <= 3600
    paid(answer["purchase"]["id"])
    assert caller.post(BUY, {"pack": "starter"}).status == 200


def test_a_402_leads_to_the_smallest_pack_that_is_enough(owner: Person, stripe_settings: Any) -> None:
    caller = owner.calls()
    for amount, slug in (("600", "starter"), ("600.000001", "standard"), ("1500", "standard"), ("90000", "studio")):
        answer = caller.post("/api/holds", {"amount": amount})
        assert answer.status == 402
        assert answer["purchase_url"] == f"/account/credits?pack={slug}#buy"
        assert answer["pack"]["slug"] == slug
    in_debt(owner, "700")
    answer = owner.calls().post("/api/holds", {"amount": "1"})
    assert (answer.code, answer["pack"]["slug"]) == ("account_in_debt", "standard")


def test_a_402_says_nothing_of_buying_where_nothing_is_sold(owner: Person, unset: None) -> None:
    answer = owner.calls().post("/api/holds", {"amount": "600"})
    assert (answer.status, answer["purchase_url"], "pack" in answer.json) == (402, "/account/credits", False)


# What was bought


def test_purchases_are_listed_newest_first_with_their_receipts(
    owner: Person, stranger: Person, stripe_settings: Any
) -> None:
    caller = owner.calls()
    first = caller.post(BUY, {"pack": "starter"})["purchase"]["id"]
    second = caller.post(BUY, {"pack": "standard"})["purchase"]["id"]
    third = caller.post(BUY, {"pack": "studio"})["purchase"]["id"]
    paid(first)
    paid(second, receipt_url="https://invoice.stripe.com/i/1")
    answer = caller.get("/api/purchases")
    assert [row["id"] for row in answer["results"]] == [third, second, first]
    assert [row["state"] for row in answer["results"]] == ["open", "paid", "paid"]
    own = f"http://testserver/account/credits/purchases/{first}/receipt"
    assert [row["receipt_url"] for row in answer["results"]] == [None, "https://invoice.stripe.com/i/1", own]
    assert [bool(row["checkout_url"]) for row in answer["results"]] == [True, False, False]
    page = caller.get("/api/purchases?limit=2")
    rest = caller.get(page["next"].removeprefix("http://testserver"))
    assert ([row["id"] for row in rest["results"]], rest["next"]) == ([first], None)
    one = caller.get(f"/api/purchases/{second}")
    assert one.json == answer["results"][1]
    assert stranger.calls().get(f"/api/purchases/{second}").status == 404
    assert stranger.calls().get("/api/purchases")["results"] == []


def test_a_purchase_says_what_was_given_back_and_what_is_questioned(owner: Person, stripe_settings: Any) -> None:
    caller = owner.calls()
    row = paid(caller.post(BUY, {"pack": "standard"})["purchase"]["id"])
    thing = {"amount": 1000, "currency": "gbp", "payment_intent": row.stripe_intent, "metadata": {}}
    refunds.told_of_refund(thing | {"id": "re_1", "status": "succeeded"})
    refunds.told_of_refund(thing | {"id": "re_2", "status": "failed"})
    refunds.told_of_dispute(thing | {"id": "dp_1", "status": "needs_response"})
    said = caller.get(f"/api/purchases/{row.id}")
    assert (said["state"], said["refunded_minor"], said["is_disputed"]) == ("paid", 1000, True)


def test_a_page_of_purchases_costs_few_queries(
    owner: Person, stripe_settings: Any, django_assert_max_num_queries: Any
) -> None:
    caller = owner.calls()
    for _ in range(5):
        caller.post(BUY, {"pack": "starter"})
    # The token and its use, the count of the minute (up to three), the rows, what was told of them.
    with django_assert_max_num_queries(8):
        caller.get("/api/purchases")


def test_a_stripe_call_within_a_transaction_is_refused(owner: Person, stripe_settings: Any) -> None:
    with transaction.atomic(), pytest.raises(RuntimeError):
        checkout.client()


# The document is true

api = schemathesis.openapi.from_dict(DOCUMENT, config=SchemathesisConfig.from_dict(CONFIG))
api = api.include(path_regex=r"^/api/(packs|purchases|payments/buy-credits)")
api.app = get_wsgi_application()
MODES = list(schemathesis.GenerationMode)
OPERATIONS = [found.ok() for found in api.get_all_operations() if isinstance(found, Ok)]


@pytest.fixture
def bought(owner: Person, stripe_settings: Any) -> None:
    stripe_settings.API_WRITES_PER_MINUTE = 10**6
    paid(owner.calls().post(BUY, {"pack": "starter"})["purchase"]["id"])


@pytest.mark.parametrize(
    ("operation", "mode"),
    # Of the list of packs nothing can be asked in a wrong way.
    [(one, mode) for one in OPERATIONS for mode in MODES if (one.label, mode.value) != ("GET /api/packs", "negative")],
    ids=lambda one: getattr(one, "label", None) or one.value,
)
def test_requests_are_answered_as_described(
    owner: Person, patient: None, bought: None, operation: Any, mode: schemathesis.GenerationMode
) -> None:
    headers = {"Authorization": f"Bearer {owner.token()}"}

    @trying(max_examples=15, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def answered(case: Any) -> None:
        case.call_and_validate(headers=headers)

    answered()


def test_every_operation_names_its_errors() -> None:
    assert {operation.label for operation in OPERATIONS} == {
        "GET /api/packs",
        "GET /api/purchases",
        "GET /api/purchases/{id}",
        "POST /api/payments/buy-credits",
    }
    said = DOCUMENT["paths"][BUY]["post"]["responses"]
    assert {"200", "400", "401", "403", "406", "409", "413", "415", "422", "429", "500", "503"} == set(said)
    examples = said["503"]["content"]["application/json"]["examples"].values()
    assert {"buying_not_set_up", "payments_unavailable"} <= {example["value"]["code"] for example in examples}
