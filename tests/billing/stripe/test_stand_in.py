"""The small Stripe keeps Stripe's own rules: asked by the official SDK, signatures checked by the official SDK."""

from typing import Any

import httpx
import pytest
import stripe

from .conftest import KEY, SECRET, Sink, StandIn, new_client

HOME = "http://testserver/account/credits"


def new_customer(client: stripe.StripeClient, **given: Any) -> stripe.Customer:
    return client.v1.customers.create({"email": "ada@example.test", "metadata": {"account": "a1"}} | given)  # type: ignore[arg-type]


def pack_session(client: stripe.StripeClient, key: str | None = None, **given: Any) -> stripe.checkout.Session:
    """A session for a pack of 25 pounds, as Holdfast asks for one."""
    asked = {
        "mode": "payment",
        "customer": given.pop("customer", None) or new_customer(client).id,
        "client_reference_id": "purchase-1",
        "metadata": {"purchase": "purchase-1"},
        "payment_intent_data": {"metadata": {"purchase": "purchase-1"}},
        "line_items": [
            {
                "price_data": {"currency": "gbp", "unit_amount": 2500, "product_data": {"name": "1,400 credits"}},
                "quantity": 1,
            }
        ],
        "invoice_creation": {"enabled": True},
        "success_url": f"{HOME}/purchases/1?session={{CHECKOUT_SESSION_ID}}",
        "cancel_url": HOME,
    } | given
    return client.v1.checkout.sessions.create(asked, {"idempotency_key": key} if key else {})  # type: ignore[arg-type]


# Checkout ------------------------------------------------------------------------------------------------------------


def test_a_session_that_is_paid_tells_of_it_in_signed_events(
    stripe_client: stripe.StripeClient, stand_in: StandIn, sink: Sink
) -> None:
    session = pack_session(stripe_client)
    assert session.id.startswith("cs_test_") and session.url == f"{stand_in.url}/checkout/{session.id}"
    assert (session.status, session.payment_status, session.amount_total) == ("open", "unpaid", 2500)
    answer = stand_in.press(session.url)
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"{HOME}/purchases/1?session={session.id}"
    stand_in.flush()
    assert sink.types() == [
        "customer.created", "product.created", "payment_intent.created", "charge.succeeded", "payment_intent.succeeded",
        "invoice.created", "invoice.finalized", "invoice.paid", "invoice.payment_succeeded", "invoice_payment.paid",
        "checkout.session.completed",
    ]  # fmt: skip
    for body, signature in sink.caught:
        event = stripe.Webhook.construct_event(body, signature, SECRET)
        assert event.livemode is False and event.api_version == stripe_client._requestor._options.stripe_version
    told = sink.events("checkout.session.completed")[0]["data"]["object"]
    assert (told["payment_status"], told["client_reference_id"], told["metadata"]) == (
        "paid", "purchase-1", {"purchase": "purchase-1"},
    )  # fmt: skip
    assert not [name for name in told if name.startswith("_")]
    intent = stripe_client.v1.payment_intents.retrieve(told["payment_intent"], {"expand": ["latest_charge"]})
    assert (intent.status, intent.amount_received, intent.metadata["purchase"]) == ("succeeded", 2500, "purchase-1")
    assert intent.latest_charge.paid and "invoice" not in intent and "invoice" not in intent.latest_charge
    invoice = stripe_client.v1.invoices.retrieve(told["invoice"], {"expand": ["payments"]})
    assert (invoice.status, invoice.amount_paid, invoice.parent) == ("paid", 2500, None)
    assert "payment_intent" not in invoice and "subscription" not in invoice
    assert invoice.payments.data[0].payment.payment_intent == intent.id
    assert "Receipt" in httpx.get(invoice.hosted_invoice_url).text


def test_a_declined_card_leaves_the_session_open(
    stripe_client: stripe.StripeClient, stand_in: StandIn, sink: Sink
) -> None:
    session = pack_session(stripe_client)
    answer = stand_in.press(session.url, "decline")
    assert answer.status_code == 402 and "declined" in answer.text
    stand_in.flush()
    failed = sink.events("payment_intent.payment_failed")[0]["data"]["object"]
    assert failed["last_payment_error"]["code"] == "card_declined" and failed["metadata"] == {"purchase": "purchase-1"}
    assert stripe_client.v1.checkout.sessions.retrieve(session.id).status == "open"
    assert stand_in.press(session.url).status_code == 303
    stand_in.flush()
    assert sink.events("payment_intent.succeeded")[0]["data"]["object"]["id"] == failed["id"]


def test_the_page_says_that_no_money_moves(stripe_client: stripe.StripeClient, stand_in: StandIn) -> None:
    session = pack_session(stripe_client, client_reference_id="<script>")
    page = httpx.get(session.url)
    assert page.status_code == 200 and "Rehearsal checkout: no money moves" in page.text
    assert "£25.00" in page.text and "1,400 credits" in page.text and "<script" not in page.text
    assert "script-src" not in page.headers["Content-Security-Policy"]
    cancelled = stand_in.press(session.url, "cancel")
    assert (cancelled.status_code, cancelled.headers["Location"]) == (303, HOME)
    assert stripe_client.v1.checkout.sessions.retrieve(session.id).status == "open"
    assert httpx.get(f"{stand_in.url}/checkout/cs_test_unknown").status_code == 404


def test_what_is_paid_by_debit_arrives_later(stripe_client: stripe.StripeClient, stand_in: StandIn, sink: Sink) -> None:
    sessions = [pack_session(stripe_client) for _ in range(2)]
    for session, is_paid in zip(sessions, (True, False), strict=True):
        assert stand_in.pay(session.id, "slow")["outcome"] == "complete"
        now = stripe_client.v1.checkout.sessions.retrieve(session.id)
        assert (now.status, now.payment_status) == ("complete", "unpaid")
        stand_in.post(f"conclude/{now.payment_intent}", paid=is_paid)
    stand_in.flush()
    paid = sink.events("checkout.session.async_payment_succeeded")[0]["data"]["object"]
    assert (paid["id"], paid["payment_status"]) == (sessions[0].id, "paid") and paid["invoice"]
    failed = sink.events("checkout.session.async_payment_failed")[0]["data"]["object"]
    assert (failed["id"], failed["payment_status"]) == (sessions[1].id, "unpaid")


def test_a_session_expires(stripe_client: stripe.StripeClient, stand_in: StandIn, sink: Sink) -> None:
    first, second = (pack_session(stripe_client) for _ in range(2))
    stripe_client.v1.checkout.sessions.expire(first.id)
    with pytest.raises(stripe.InvalidRequestError):
        stripe_client.v1.checkout.sessions.expire(first.id)
    stand_in.advance(hours=25)
    stand_in.flush()
    expired = [event["data"]["object"]["id"] for event in sink.events("checkout.session.expired")]
    assert expired[0] == first.id and expired.count(second.id) == 1
    assert "expired" in httpx.get(f"{stand_in.url}/checkout/{second.id}").text


# What is asked, and what is refused ----------------------------------------------------------------------------------


def test_a_key_gives_the_same_answer_again_and_no_other(stripe_client: stripe.StripeClient, stand_in: StandIn) -> None:
    customer = new_customer(stripe_client).id
    first = pack_session(stripe_client, "purchase-77", customer=customer)
    made = len(stand_in.events())
    again = pack_session(stripe_client, "purchase-77", customer=customer)
    assert again.id == first.id and again.last_response.headers["Idempotent-Replayed"] == "true"
    assert len(stand_in.events()) == made
    with pytest.raises(stripe.IdempotencyError):
        pack_session(stripe_client, "purchase-77", customer=customer, cancel_url=HOME + "/else")


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"colour": "red"}, "parameter_unknown"),
        ({"payment_intent_data": {"metadata": {"a": "1"}, "amount": 5}}, "parameter_unknown"),
        ({"line_items": [{"price_data": {"currency": "gbp", "unit_amount": 5}, "quantity": 1, "x": 1}]}, "parameter_unknown"),
        ({"success_url": None}, "parameter_missing"),
        ({"success_url": "javascript:alert(1)"}, "url_invalid"),
        ({"customer": "cus_nobody"}, "resource_missing"),
        ({"line_items": [{"price": "price_none", "quantity": 1}]}, "resource_missing"),
        ({"line_items": []}, "parameter_missing"),
        ({"mode": "gift"}, None),
        ({"subscription_data": {"metadata": {"a": "1"}}}, None),
    ],
)  # fmt: skip
def test_what_stripe_would_not_take_is_refused(
    stripe_client: stripe.StripeClient, given: dict[str, Any], code: str | None
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        pack_session(stripe_client, **given)
    assert refused.value.http_status == 400 and refused.value.code == code


def test_strangers_old_versions_and_unknown_paths_are_refused(stand_in: StandIn) -> None:
    with pytest.raises(stripe.AuthenticationError):
        new_customer(new_client(stand_in.url, key="sk_test_other"))
    with pytest.raises(stripe.InvalidRequestError, match="API version"):
        new_customer(new_client(stand_in.url, version="2020-08-27"))
    assert httpx.post(f"{stand_in.url}/v1/customers").status_code == 401
    assert httpx.post(f"{stand_in.url}/_control/advance", json={"seconds": 1}).status_code == 401
    with pytest.raises(stripe.InvalidRequestError, match="Unrecognized request URL"):
        new_client(stand_in.url).v1.coupons.create({"percent_off": 5})
    elsewhere = httpx.get(f"{stand_in.url}/checkout/cs_test_1", headers={"Host": "evil.example:80"})
    assert elsewhere.status_code == 421


def test_lists_come_in_pages_newest_first(stripe_client: stripe.StripeClient) -> None:
    email = "pages@example.test"
    made = [new_customer(stripe_client, email=email).id for _ in range(5)]
    first = stripe_client.v1.customers.list({"email": email, "limit": 2})
    assert [one.id for one in first] == made[:2:-1] and first.has_more
    second = stripe_client.v1.customers.list({"email": email, "limit": 2, "starting_after": first.data[-1].id})
    assert [one.id for one in second] == made[2:0:-1]
    assert [one.id for one in first.auto_paging_iter()] == made[::-1]
    back = stripe_client.v1.customers.list({"email": email, "limit": 2, "ending_before": made[1]})
    assert [one.id for one in back] == [made[3], made[2]]
    with pytest.raises(stripe.InvalidRequestError):
        stripe_client.v1.customers.list({"limit": 101})


def test_events_are_listed_by_time_and_type(stripe_client: stripe.StripeClient, stand_in: StandIn) -> None:
    new_customer(stripe_client)
    since = stand_in.advance(hours=2)
    customer = new_customer(stripe_client)
    stripe_client.v1.customers.update(customer.id, {"name": "Ada"})
    listed = stripe_client.v1.events.list(
        {"created": {"gte": since}, "types": ["customer.created", "customer.updated"]}
    )
    assert [event.type for event in listed] == ["customer.updated", "customer.created"]
    assert listed.data[0].data.previous_attributes.to_dict() == {"name": None}
    assert listed.data[0].data.object.id == customer.id
    assert stripe_client.v1.events.retrieve(listed.data[0].id).type == "customer.updated"


def test_customers_products_and_prices(stripe_client: stripe.StripeClient) -> None:
    client = stripe_client
    customer = new_customer(client, name="Ada")
    client.v1.customers.update(customer.id, {"metadata": {"plan": "free", "account": ""}})
    assert client.v1.customers.retrieve(customer.id).metadata.to_dict() == {"plan": "free"}
    client.v1.customers.delete(customer.id)
    assert client.v1.customers.retrieve(customer.id).deleted
    product = client.v1.products.create({"name": "Supporter"})
    price = client.v1.prices.create(
        {"product": product.id, "currency": "gbp", "unit_amount": 4500, "recurring": {"interval": "month"}}
    )
    assert (price.type, price.unit_amount, price.recurring.interval) == ("recurring", 4500, "month")
    assert client.v1.prices.retrieve(price.id, {"expand": ["product"]}).product.name == "Supporter"
    assert [one.id for one in client.v1.prices.list({"product": product.id})] == [price.id]


# Payments without the person -----------------------------------------------------------------------------------------


def test_a_saved_card_pays_when_nobody_is_there(stripe_client: stripe.StripeClient, stand_in: StandIn) -> None:
    client = stripe_client
    customer = new_customer(client)
    session = pack_session(
        client, customer=customer.id, payment_intent_data={"metadata": {}, "setup_future_usage": "off_session"}
    )
    stand_in.pay(session.id)
    card = client.v1.customers.payment_methods.list(customer.id, {"type": "card"}).data[0]

    def top_up(method: str, key: str) -> stripe.PaymentIntent:
        return client.v1.payment_intents.create(
            {
                "amount": 1000, "currency": "gbp", "customer": customer.id, "payment_method": method, "confirm": True,
                "off_session": True, "metadata": {"purchase": key},
            },
            {"idempotency_key": key},
        )  # fmt: skip

    assert top_up(card.id, "top-up-1").status == "succeeded"
    for _ in range(2):  # a decline is the answer to that key, again
        with pytest.raises(stripe.CardError) as declined:
            top_up("pm_card_chargeDeclinedInsufficientFunds", "top-up-2")
        assert declined.value.code == "card_declined" and declined.value.error.decline_code == "insufficient_funds"
    with pytest.raises(stripe.CardError) as absent:
        top_up("pm_card_authenticationRequired", "top-up-3")
    assert absent.value.code == "authentication_required"
    slow = top_up("pm_bacsDebit_success", "top-up-4")
    assert slow.status == "processing"
    stand_in.post(f"conclude/{slow.id}", paid=True)
    assert client.v1.payment_intents.retrieve(slow.id).status == "succeeded"
    kinds = [
        event["type"]
        for event in stand_in.events()
        if event["data"]["object"].get("metadata") == {"purchase": "top-up-2"}
    ]
    assert kinds == ["payment_intent.created", "charge.failed", "payment_intent.payment_failed"]


# Trouble -------------------------------------------------------------------------------------------------------------


def test_what_the_webhook_refused_is_sent_again(
    stripe_client: stripe.StripeClient, stand_in: StandIn, sink: Sink
) -> None:
    sink.status = 500
    customer = new_customer(stripe_client)
    assert stand_in.post("flush", seconds=0.5) == {"waiting": 1}
    sink.status = 200
    stand_in.flush()
    assert len(sink.caught) >= 2 and {event["data"]["object"]["id"] for event in sink.events()} == {customer.id}


def test_every_nth_event_is_forgotten_and_still_listed(
    stripe_client: stripe.StripeClient, stand_in: StandIn, sink: Sink
) -> None:
    stand_in.settings(forget_every=3)
    names = {new_customer(stripe_client).id for _ in range(9)}
    stand_in.flush()
    listed = {event.data.object.id for event in stripe_client.v1.events.list({"limit": 9})}
    assert listed == names and len({event["id"] for event in sink.events()}) == 6


def test_events_can_come_several_times_at_once_and_in_another_order(
    stripe_client: stripe.StripeClient, stand_in: StandIn, sink: Sink
) -> None:
    stand_in.settings(deliver=False, copies=3, reorder=True)
    made = [new_customer(stripe_client).id for _ in range(3)]
    assert sink.caught == []
    stand_in.settings(deliver=True)
    stand_in.flush()
    assert [event["data"]["object"]["id"] for event in sink.events()] == [name for name in made[::-1] for _ in range(3)]
    stand_in.settings(reorder=False, at_once=2, copies=1)
    stand_in.post(f"redeliver/{sink.events()[0]['id']}", copies=4)
    stand_in.flush()
    assert len(sink.caught) == 13


def test_it_can_be_down_and_it_can_hang(stripe_client: stripe.StripeClient, stand_in: StandIn) -> None:
    stand_in.settings(down=True)
    with pytest.raises(stripe.APIError):
        new_customer(stripe_client)
    stand_in.settings(down=False, hang_seconds=5)
    with pytest.raises(httpx.ReadTimeout):
        headers = {"Authorization": f"Bearer {KEY}"}
        httpx.get(f"{stand_in.url}/v1/customers", headers=headers, timeout=0.3)


def test_a_killed_server_forgets_nothing(stripe_client: stripe.StripeClient, stand_in: StandIn, sink: Sink) -> None:
    sink.status = 503
    session = pack_session(stripe_client, "kept", customer=new_customer(stripe_client).id)
    stand_in.kill()
    stand_in.start()
    sink.status = 200
    assert stripe_client.v1.checkout.sessions.retrieve(session.id).url == session.url
    assert stand_in.press(session.url or "").status_code == 303
    stand_in.flush()
    assert "checkout.session.completed" in sink.types() and "customer.created" in sink.types()


# Refunds and disputes ------------------------------------------------------------------------------------------------


@pytest.fixture
def intent(stripe_client: stripe.StripeClient, stand_in: StandIn, sink: Sink) -> str:
    """A paid pack of 25 pounds."""
    session = pack_session(stripe_client)
    stand_in.pay(session.id)
    stand_in.flush()
    sink.clear()
    return str(stripe_client.v1.checkout.sessions.retrieve(session.id).payment_intent)


def test_refunds_add_up_and_never_exceed_the_charge(
    stripe_client: stripe.StripeClient, stand_in: StandIn, sink: Sink, intent: str
) -> None:
    refunds = stripe_client.v1.refunds
    first = refunds.create({"payment_intent": intent, "amount": 700, "metadata": {"refunding": "r1"}})
    assert (first.id[:3], first.status, first.amount, first.metadata["refunding"]) == ("re_", "succeeded", 700, "r1")
    stand_in.post("refund", payment_intent=intent, amount=800)
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded"):
        refunds.create({"payment_intent": intent, "amount": 1001})
    assert refunds.create({"payment_intent": intent}).amount == 1000
    with pytest.raises(stripe.InvalidRequestError) as over:
        refunds.create({"payment_intent": intent, "amount": 1})
    assert over.value.code == "charge_already_refunded"
    stand_in.flush()
    assert sink.types() == ["refund.created", "charge.refunded"] * 3
    charges = [event["data"]["object"] for event in sink.events("charge.refunded")]
    assert [(one["amount_refunded"], one["refunded"]) for one in charges] == [(700, False), (1500, False), (2500, True)]
    assert sink.events("refund.created")[1]["request"]["id"] is None
    assert [one.amount for one in refunds.list({"payment_intent": intent})] == [1000, 800, 700]
    charge = stripe_client.v1.charges.retrieve(charges[0]["id"], {"expand": ["refunds"]})
    assert len(charge.refunds.data) == 3


def test_a_refund_can_fail_afterwards(
    stripe_client: stripe.StripeClient, stand_in: StandIn, sink: Sink, intent: str
) -> None:
    stand_in.settings(refunds_become="pending")
    refund = stripe_client.v1.refunds.create({"payment_intent": intent})
    assert refund.status == "pending"
    stand_in.post(f"refunds/{refund.id}", status="failed")
    stand_in.flush()
    assert sink.types()[2:] == ["refund.updated", "charge.refund.updated", "refund.failed"]
    assert stripe_client.v1.refunds.retrieve(refund.id).failure_reason
    assert stripe_client.v1.charges.retrieve(str(refund.charge)).amount_refunded == 0


@pytest.mark.parametrize("status", ["won", "lost"])
def test_a_dispute_is_opened_and_ends(
    stripe_client: stripe.StripeClient, stand_in: StandIn, sink: Sink, intent: str, status: str
) -> None:
    opened = stand_in.post(f"dispute/{intent}")
    assert (opened["status"], opened["amount"], opened["payment_intent"]) == ("needs_response", 2500, intent)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        stripe_client.v1.refunds.create({"payment_intent": intent})
    assert refused.value.code == "charge_disputed"
    stand_in.post(f"disputes/{opened['id']}", status=status)
    stand_in.flush()
    last = ["charge.dispute.funds_reinstated"] if status == "won" else []
    assert sink.types() == [
        "charge.dispute.created", "charge.dispute.funds_withdrawn", "charge.dispute.closed", *last
    ]  # fmt: skip
    dispute = stripe_client.v1.disputes.list({"payment_intent": intent}).data[0]
    assert (dispute.status, sum(one.amount for one in dispute.balance_transactions)) == (
        status, 0 if status == "won" else -2500,
    )  # fmt: skip
