"""The small Stripe keeps Stripe's own rules: asked by the official SDK, signatures checked by the official SDK."""

from datetime import datetime
from typing import Any

import httpx
import pytest
import stripe

from billing.stripe_stand_in.renewals import after

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
    assert session.id.startswith("cs_test_")
    assert session.url == f"{stand_in.url}/checkout/{session.id}"
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
        assert event.livemode is False
        assert event.api_version == stripe_client._requestor._options.stripe_version
    told = sink.events("checkout.session.completed")[0]["data"]["object"]
    assert (told["payment_status"], told["client_reference_id"], told["metadata"]) == (
        "paid", "purchase-1", {"purchase": "purchase-1"},
    )  # fmt: skip
    assert not [name for name in told if name.startswith("_")]
    intent = stripe_client.v1.payment_intents.retrieve(told["payment_intent"], {"expand": ["latest_charge"]})
    assert (intent.status, intent.amount_received, intent.metadata["purchase"]) == ("succeeded", 2500, "purchase-1")
    assert intent.latest_charge.paid
    assert "invoice" not in intent
    assert "invoice" not in intent.latest_charge
    invoice = stripe_client.v1.invoices.retrieve(told["invoice"], {"expand": ["payments"]})
    assert (invoice.status, invoice.amount_paid, invoice.parent) == ("paid", 2500, None)
    assert "payment_intent" not in invoice
    assert "subscription" not in invoice
    assert invoice.payments.data[0].payment.payment_intent == intent.id
    assert "Receipt" in httpx.get(invoice.hosted_invoice_url).text


def test_a_declined_card_leaves_the_session_open(
    stripe_client: stripe.StripeClient, stand_in: StandIn, sink: Sink
) -> None:
    session = pack_session(stripe_client)
    answer = stand_in.press(session.url, "decline")
    assert answer.status_code == 402
    assert "declined" in answer.text
    stand_in.flush()
    failed = sink.events("payment_intent.payment_failed")[0]["data"]["object"]
    assert failed["last_payment_error"]["code"] == "card_declined"
    assert failed["metadata"] == {"purchase": "purchase-1"}
    assert stripe_client.v1.checkout.sessions.retrieve(session.id).status == "open"
    assert stand_in.press(session.url).status_code == 303
    stand_in.flush()
    assert sink.events("payment_intent.succeeded")[0]["data"]["object"]["id"] == failed["id"]


def test_the_page_says_that_no_money_moves(stripe_client: stripe.StripeClient, stand_in: StandIn) -> None:
    session = pack_session(stripe_client, client_reference_id="<script>")
    page = httpx.get(session.url)
    assert page.status_code == 200
    assert "Rehearsal checkout: no money moves" in page.text
    assert "£25.00" in page.text
    assert "1,400 credits" in page.text
    assert "<script" not in page.text
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
        page = f"{stand_in.url}/checkout/{session.id}"
        assert "It has not been paid yet" in httpx.get(page).text
        assert stand_in.press(page, "arrives" if is_paid else "fails").status_code == 303
    stand_in.flush()
    paid = sink.events("checkout.session.async_payment_succeeded")[0]["data"]["object"]
    assert (paid["id"], paid["payment_status"]) == (sessions[0].id, "paid")
    assert paid["invoice"]
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
    assert expired[0] == first.id
    assert expired.count(second.id) == 1
    assert "expired" in httpx.get(f"{stand_in.url}/checkout/{second.id}").text


# What is asked, and what is refused ----------------------------------------------------------------------------------


def test_a_key_gives_the_same_answer_again_and_no_other(stripe_client: stripe.StripeClient, stand_in: StandIn) -> None:
    customer = new_customer(stripe_client).id
    first = pack_session(stripe_client, "purchase-77", customer=customer)
    made = len(stand_in.events())
    again = pack_session(stripe_client, "purchase-77", customer=customer)
    assert again.id == first.id
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert len(stand_in.events()) == made
    with pytest.raises(stripe.IdempotencyError):
        pack_session(stripe_client, "purchase-77", customer=customer, cancel_url=HOME + "/else")


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"colour": "red"}, "parameter_unknown"),
        ({"payment_intent_data": {"metadata": {"a": "1"}, "amount": 5}}, "parameter_unknown"),
        ({"line_items": [{"price": "price_1", "quantity": 1, "x": 1}]}, "parameter_unknown"),
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
    assert refused.value.http_status == 400
    assert refused.value.code == code


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
    assert [one.id for one in first] == made[:2:-1]
    assert first.has_more
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
        assert declined.value.code == "card_declined"
        assert declined.value.error.decline_code == "insufficient_funds"
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
    assert len(sink.caught) >= 2
    assert {event["data"]["object"]["id"] for event in sink.events()} == {customer.id}


def test_every_nth_event_is_forgotten_and_still_listed(
    stripe_client: stripe.StripeClient, stand_in: StandIn, sink: Sink
) -> None:
    stand_in.settings(forget_every=3)
    names = {new_customer(stripe_client).id for _ in range(9)}
    stand_in.flush()
    listed = {event.data.object.id for event in stripe_client.v1.events.list({"limit": 9})}
    assert listed == names
    assert len({event["id"] for event in sink.events()}) == 6


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
    headers = {"Authorization": f"Bearer {KEY}"}
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{stand_in.url}/v1/customers", headers=headers, timeout=0.3)


def test_what_was_done_and_said_too_late_is_there_for_the_same_key(
    stripe_client: stripe.StripeClient, stand_in: StandIn
) -> None:
    customer = new_customer(stripe_client).id
    stand_in.settings(late_seconds=2)
    hasty = new_client(stand_in.url, seconds=0.5)
    with pytest.raises(stripe.APIConnectionError):
        pack_session(hasty, "too-late", customer=customer)
    stand_in.settings(late_seconds=0)
    there = stripe_client.v1.checkout.sessions.list().data
    assert [one.id for one in there] == [pack_session(stripe_client, "too-late", customer=customer).id]


def test_while_a_secret_is_replaced_events_are_signed_by_both(
    stripe_client: stripe.StripeClient, stand_in: StandIn, sink: Sink
) -> None:
    stand_in.post("webhook", secrets=["whsec_new", SECRET])
    new_customer(stripe_client)
    stand_in.flush()
    stand_in.post("webhook", secrets=[SECRET])
    body, signature = sink.caught[0]
    for secret in ("whsec_new", SECRET):
        assert stripe.Webhook.construct_event(body, signature, secret)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body, signature, "whsec_other")


def test_a_killed_server_forgets_nothing(stripe_client: stripe.StripeClient, stand_in: StandIn, sink: Sink) -> None:
    sink.status = 503
    session = pack_session(stripe_client, "kept", customer=new_customer(stripe_client).id)
    stand_in.kill()
    stand_in.start()
    sink.status = 200
    assert stripe_client.v1.checkout.sessions.retrieve(session.id).url == session.url
    assert stand_in.press(session.url or "").status_code == 303
    stand_in.flush()
    assert "checkout.session.completed" in sink.types()
    assert "customer.created" in sink.types()


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


# Subscriptions -------------------------------------------------------------------------------------------------------


def plan_price(client: stripe.StripeClient, name: str = "Supporter", amount: int = 4500) -> stripe.Price:
    return client.v1.prices.create(
        {
            "product_data": {"name": name}, "currency": "gbp", "unit_amount": amount, "recurring": {"interval": "month"}
        }
    )  # fmt: skip


class Plan:
    """A subscription bought on the hosted page, and what became of it."""

    def __init__(self, client: stripe.StripeClient, stand_in: StandIn, sink: Sink, **data: Any) -> None:
        self.client, self.stand_in, self.sink = client, stand_in, sink
        self.customer = new_customer(client).id
        self.price = plan_price(client)
        session = client.v1.checkout.sessions.create(
            {
                "mode": "subscription",
                "customer": self.customer,
                "client_reference_id": "enrollment-1",
                "line_items": [{"price": self.price.id, "quantity": 1}],
                "subscription_data": {"metadata": {"enrollment": "e1", "account": "a1"}} | data,  # type: ignore[typeddict-item]
                "success_url": HOME,
                "cancel_url": HOME,
            }
        )
        assert "£45.00" in httpx.get(str(session.url)).text
        assert stand_in.press(str(session.url), "decline").status_code == 402
        assert stand_in.press(str(session.url)).status_code == 303
        self.session = client.v1.checkout.sessions.retrieve(session.id)
        self.id = str(self.session.subscription)
        self.clear()

    def clear(self) -> None:
        self.stand_in.flush()
        self.sink.clear()

    def now(self) -> stripe.Subscription:
        return self.client.v1.subscriptions.retrieve(self.id)

    @property
    def item(self) -> Any:
        return self.now()["items"].data[0]

    def told(self, *types: str) -> list[dict[str, Any]]:
        """The events since the last look."""
        self.stand_in.flush()
        found = self.sink.events(*types)
        self.sink.clear()
        return found

    def paid(self) -> list[int]:
        """What its invoices took, oldest first."""
        found = self.client.v1.invoices.list({"subscription": self.id, "limit": 100})
        return [one.amount_paid for one in found][::-1]

    def change(self, **given: Any) -> stripe.Subscription:
        return self.client.v1.subscriptions.update(self.id, given)  # type: ignore[arg-type]

    def change_price(self, price: str, **given: Any) -> stripe.Subscription:
        return self.change(items=[{"id": self.item.id, "price": price}], **given)


@pytest.fixture
def plan(stripe_client: stripe.StripeClient, stand_in: StandIn, sink: Sink) -> Plan:
    return Plan(stripe_client, stand_in, sink)


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def test_a_subscription_begins_with_a_paid_period(plan: Plan) -> None:
    now = plan.now()
    assert (now.status, now.metadata.to_dict()) == ("active", {"enrollment": "e1", "account": "a1"})
    assert "current_period_end" not in now
    assert 28 <= (plan.item.current_period_end - plan.item.current_period_start) / 86_400 <= 31
    assert (plan.session.payment_status, plan.session.payment_intent) == ("paid", None)
    invoice = plan.client.v1.invoices.retrieve(str(now.latest_invoice))
    assert (invoice.billing_reason, invoice.total, invoice.status) == ("subscription_create", 4500, "paid")
    assert invoice.parent.subscription_details.subscription == plan.id
    assert invoice.parent.subscription_details.metadata["enrollment"] == "e1"
    line = invoice.lines.data[0]
    assert (line.period.start, line.period.end) == (plan.item.current_period_start, plan.item.current_period_end)
    assert line.parent.subscription_item_details.subscription == plan.id
    assert line.pricing.price_details.price == plan.price.id
    payments = plan.client.v1.invoice_payments.list({"invoice": invoice.id})
    intent = plan.client.v1.payment_intents.retrieve(payments.data[0].payment.payment_intent)
    assert (intent.amount_received, intent.metadata.to_dict()) == (4500, {})


def test_it_renews_by_the_clock(plan: Plan) -> None:
    first_end = plan.item.current_period_end
    plan.stand_in.post("advance", to=first_end + 40 * 86_400)
    told = plan.told()
    renewal = [
        "customer.subscription.updated", "invoice.created", "invoice.finalized", "payment_intent.created",
        "charge.succeeded", "payment_intent.succeeded", "invoice.paid", "invoice.payment_succeeded",
        "invoice_payment.paid",
    ]  # fmt: skip
    assert types(told) == renewal * 2
    assert plan.paid() == [4500, 4500, 4500]
    assert told[0]["created"] == pytest.approx(first_end, abs=3)
    paid = [event["data"]["object"] for event in told if event["type"] == "invoice.paid"]
    assert [one["billing_reason"] for one in paid] == ["subscription_cycle"] * 2
    assert paid[0]["lines"]["data"][0]["period"]["start"] == first_end
    assert paid[1]["lines"]["data"][0]["period"]["start"] == paid[0]["lines"]["data"][0]["period"]["end"]


def test_a_month_ends_on_its_last_day() -> None:
    monthly = {"interval": "month", "interval_count": 1}

    def moment(text: str) -> int:
        return int(datetime.fromisoformat(f"{text}T10:00:00+00:00").timestamp())

    anchor = moment("2028-01-31")
    ends = []
    start = anchor
    for _ in range(4):
        start = after(anchor, monthly, start)
        ends.append(start)
    assert ends == [moment(day) for day in ("2028-02-29", "2028-03-31", "2028-04-30", "2028-05-31")]
    assert after(moment("2028-02-29"), {"interval": "year", "interval_count": 1}, moment("2028-02-29")) == moment(
        "2029-02-28"
    )


def test_a_renewal_that_is_declined_is_tried_again_and_then_ends_the_plan(plan: Plan) -> None:
    plan.stand_in.post(f"card/{plan.customer}", card="declines")
    plan.clear()
    plan.stand_in.post("advance", to=plan.item.current_period_end + 60)
    told = plan.told("invoice.payment_failed", "customer.subscription.updated", "invoice.updated")
    assert types(told) == [
        "customer.subscription.updated", "invoice.payment_failed", "customer.subscription.updated", "invoice.updated"
    ]  # fmt: skip
    assert plan.now().status == "past_due"
    assert told[-1]["data"]["object"]["next_payment_attempt"]
    plan.stand_in.advance(days=8)
    told = plan.told("invoice.payment_failed", "customer.subscription.deleted")
    assert types(told) == ["invoice.payment_failed"] * 3 + ["customer.subscription.deleted"]
    assert told[-1]["data"]["object"]["cancellation_details"]["reason"] == "payment_failed"
    assert plan.paid() == [4500, 0]


def test_a_renewal_that_is_paid_late_makes_it_active_again(plan: Plan) -> None:
    plan.stand_in.post(f"card/{plan.customer}", card="declines")
    plan.stand_in.post("advance", to=plan.item.current_period_end + 60)
    invoice = str(plan.now().latest_invoice)
    with pytest.raises(stripe.CardError):
        plan.client.v1.invoices.pay(invoice)
    assert plan.client.v1.invoices.retrieve(invoice).attempt_count == 2
    plan.stand_in.post(f"card/{plan.customer}", card="works")
    plan.client.v1.invoices.pay(invoice)
    assert (plan.now().status, plan.paid()) == ("active", [4500, 4500])


def test_a_trial_costs_nothing_until_it_ends(stripe_client: stripe.StripeClient, stand_in: StandIn, sink: Sink) -> None:
    plan = Plan(stripe_client, stand_in, sink, trial_period_days=14)
    assert (plan.now().status, plan.paid(), plan.session.payment_status) == ("trialing", [0], "no_payment_required")
    assert plan.item.current_period_end == plan.now().trial_end
    stand_in.advance(days=15)
    told = plan.told("customer.subscription.trial_will_end", "customer.subscription.updated", "invoice.paid")
    assert types(told) == ["customer.subscription.trial_will_end", "customer.subscription.updated", "invoice.paid"]
    assert told[1]["data"]["previous_attributes"]["status"] == "trialing"
    assert (plan.now().status, plan.paid()) == ("active", [0, 4500])


def test_an_upgrade_can_be_left_to_the_next_invoice_or_billed_at_once(plan: Plan) -> None:
    pro = plan_price(plan.client, "Pro", 16_000).id
    plan.change_price(pro, proration_behavior="none")
    told = plan.told()
    assert types(told) == ["price.created", "customer.subscription.updated"] or "invoice.created" not in types(told)
    assert (plan.paid(), plan.item.price.id) == ([4500], pro)
    plan.stand_in.post("advance", to=plan.item.current_period_end + 60)
    assert plan.paid() == [4500, 16_000]
    start, end = plan.item.current_period_start, plan.item.current_period_end
    half = (start + end) // 2
    plan.stand_in.post("advance", to=half)
    plan.clear()
    plan.change_price(plan.price.id, proration_behavior="always_invoice")
    invoice = plan.told("invoice.paid")[0]["data"]["object"]
    assert (invoice["billing_reason"], invoice["amount_due"]) == ("subscription_update", 0)
    assert invoice["total"] == pytest.approx(-(16_000 - 4500) / 2, abs=30)
    assert plan.client.v1.customers.retrieve(plan.customer).balance == invoice["total"]
    plan.change_price(pro, proration_behavior="always_invoice", proration_date=half)
    assert plan.client.v1.customers.retrieve(plan.customer).balance == pytest.approx(0, abs=30)
    assert all(line["parent"]["subscription_item_details"]["proration"] for line in invoice["lines"]["data"])


def test_an_upgrade_that_cannot_be_paid_changes_nothing_where_that_was_asked(plan: Plan) -> None:
    pro = plan_price(plan.client, "Pro", 16_000).id
    plan.stand_in.post(f"card/{plan.customer}", card="declines")
    plan.clear()
    with pytest.raises(stripe.CardError):
        plan.change_price(
            pro, proration_behavior="always_invoice", payment_behavior="error_if_incomplete", metadata={"plan": "pro"}
        )
    assert plan.told() == []
    assert (plan.item.price.id, plan.now().status, plan.paid()) == (plan.price.id, "active", [4500])
    with pytest.raises(stripe.InvalidRequestError, match="outside of the current period"):
        plan.change_price(pro, proration_date=plan.item.current_period_start - 1)
    plan.change_price(pro, proration_behavior="always_invoice", metadata={"plan": "pro"})
    updates = plan.told("customer.subscription.updated")
    assert updates[0]["data"]["previous_attributes"].keys() == {"items", "metadata"}
    assert plan.now().status == "past_due"


def test_it_is_cancelled_at_the_periods_end_or_at_once(plan: Plan) -> None:
    changed = plan.change(cancel_at_period_end=True)
    assert (changed.status, changed.cancel_at) == ("active", plan.item.current_period_end)
    assert plan.change(cancel_at_period_end=False).cancel_at is None
    plan.change(cancel_at_period_end=True)
    plan.clear()
    plan.stand_in.advance(days=32)
    assert types(plan.told()) == ["customer.subscription.deleted"]
    assert (plan.now().status, plan.paid()) == ("canceled", [4500])
    with pytest.raises(stripe.InvalidRequestError):
        plan.change(cancel_at_period_end=True)
    other = Plan(plan.client, plan.stand_in, plan.sink)
    assert plan.client.v1.subscriptions.cancel(other.id).status == "canceled"
    assert types(other.told()) == ["customer.subscription.deleted"]


def test_collection_is_paused_and_resumed(plan: Plan) -> None:
    plan.change(pause_collection={"behavior": "void"})
    plan.stand_in.post("advance", to=plan.item.current_period_end + 60)
    assert "invoice.voided" in types(plan.told())
    assert (plan.now().status, plan.paid()) == ("active", [4500, 0])
    plan.change(pause_collection="")
    assert plan.now().pause_collection is None
    plan.stand_in.post("advance", to=plan.item.current_period_end + 60)
    assert plan.paid() == [4500, 0, 4500]
    plan.stand_in.post(f"pause/{plan.id}")
    plan.client.v1.subscriptions.resume(plan.id)
    told = types(plan.told())
    assert "customer.subscription.paused" in told
    assert told[-1] == "customer.subscription.resumed"


def test_the_portal_cancels_and_changes_the_card(plan: Plan) -> None:
    features: Any = {
        "payment_method_update": {"enabled": True}, "invoice_history": {"enabled": True},
        "subscription_cancel": {"enabled": True, "mode": "at_period_end"}, "subscription_update": {"enabled": False},
    }  # fmt: skip
    arranged = plan.client.v1.billing_portal.configurations.create({"features": features})
    session = plan.client.v1.billing_portal.sessions.create(
        {"customer": plan.customer, "configuration": arranged.id, "return_url": HOME}
    )
    page = httpx.get(session.url).text
    assert "no money moves" in page
    assert "Supporter" in page
    assert "Card ending in 4242" in page
    assert plan.stand_in.press(session.url, f"cancel:{plan.id}").status_code == 303
    assert plan.now().cancel_at_period_end
    assert plan.stand_in.press(session.url, f"keep:{plan.id}").status_code == 303
    assert not plan.now().cancel_at_period_end
    plan.stand_in.press(session.url, f"later:{plan.id}")
    assert plan.paid() == [4500, 4500]
    plan.stand_in.press(session.url, "card_fails")
    assert "Card ending in 0341" in httpx.get(session.url).text
    plan.stand_in.post("advance", to=plan.item.current_period_end + 60)
    assert plan.now().status == "past_due"
    stranger = Plan(plan.client, plan.stand_in, plan.sink)
    assert plan.stand_in.press(session.url, f"cancel:{stranger.id}").status_code == 400


def test_a_card_is_saved_without_a_payment(stripe_client: stripe.StripeClient, stand_in: StandIn, sink: Sink) -> None:
    customer = new_customer(stripe_client).id
    session = stripe_client.v1.checkout.sessions.create(
        {"mode": "setup", "customer": customer, "currency": "gbp", "success_url": HOME}
    )
    assert stand_in.press(str(session.url)).status_code == 303
    stand_in.flush()
    assert "setup_intent.succeeded" in sink.types()
    assert len(stripe_client.v1.customers.payment_methods.list(customer).data) == 1
