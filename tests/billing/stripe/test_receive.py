"""The inbox takes what is signed for this installation, byte for byte, and nothing else; and asks nobody."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import time
from types import SimpleNamespace
from typing import Any

import pytest
import stripe
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django_q.models import OrmQ
from hypothesis import HealthCheck, given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from billing import stripe_inbox
from billing.models import InboxEvent

from .told import SECRET, event, signed

pytestmark = pytest.mark.django_db
PATH = "/webhooks/stripe"
THING = {"id": "cs_1", "object": "checkout.session", "mode": "payment", "amount_total": 2500}


@pytest.fixture(autouse=True)
def _secrets(settings: Any) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET]
    settings.STRIPE_LIVE_MODE = False


def body_of(**changes: Any) -> bytes:
    return json.dumps(event("checkout.session.completed", THING) | changes).encode()


def post(body: bytes, header: str | None = None) -> Any:
    headers = {} if header is None else {"Stripe-Signature": header}
    return Client().post(PATH, body, content_type="application/json", headers=headers)


def refused(answer: Any, status: int = 400) -> str:
    """The reason of a refusal in our shape; nothing was stored and nobody hinted at."""
    assert answer.status_code == status
    said = answer.json()
    assert {"error", "code", "reason", "action", "request_id"} <= said.keys()
    assert InboxEvent.objects.count() == 0
    assert OrmQ.objects.count() == 0
    return str(said["reason"])


def test_a_signed_event_is_stored_as_it_came_and_answered_with_one_statement_and_a_hint() -> None:
    body = body_of()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        answer = post(body, signed(body))
    assert (answer.status_code, answer.json()) == (200, {"received": True})
    assert [query["sql"].split()[0:3] for query in queries.captured_queries] == [
        ["INSERT", "INTO", "billing_inboxevent"],
        ["INSERT", "INTO", '"django_q_ormq"'],
    ]
    row = InboxEvent.objects.get()
    assert row.payload == json.loads(body)
    assert (row.state, row.tries, row.source, row.is_live) == ("received", 0, "webhook", False)


def test_a_repeat_is_answered_with_200_by_one_statement_and_stored_once() -> None:
    body = body_of()
    post(body, signed(body))
    with CaptureQueriesContext(connection) as queries:
        assert post(body, signed(body)).status_code == 200
    assert len(queries) == 1
    assert InboxEvent.objects.count() == 1


def test_nobody_outside_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: Any) -> None:
        raise AssertionError("a connection was made")

    connection.ensure_connection()
    monkeypatch.setattr(socket.socket, "connect", no_network)
    body = body_of()
    assert post(body, signed(body)).status_code == 200


def test_either_secret_is_believed_while_one_replaces_the_other(settings: Any) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_new", SECRET]
    for secret in ("whsec_new", SECRET):
        body = body_of()
        assert post(body, signed(body, secret=secret)).status_code == 200
    body = body_of()
    both = f"{signed(body, secret='whsec_elsewhere')},{signed(body).split(',')[1]}"
    assert post(body, both).status_code == 200
    assert post(body, signed(body, secret="whsec_gone")).status_code == 400


def test_without_a_secret_nothing_is_believed(settings: Any) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = []
    body = body_of()
    refused(post(body, signed(body, secret="")))


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> int:
    """The inbox's clock stands still."""
    now = int(time.time())
    monkeypatch.setattr(stripe_inbox, "time", SimpleNamespace(time=lambda: now + 0.5, monotonic=time.monotonic))
    return now


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [(-300, "It was signed too long ago."), (61, "It was signed in the future.")],
)
def test_old_and_future_signatures_are_refused(now: int, seconds: int, reason: str) -> None:
    body = body_of()
    assert refused(post(body, signed(body, at=now + seconds))) == reason


@pytest.mark.parametrize("seconds", [-299, 60])
def test_clocks_may_differ_a_little(now: int, seconds: int) -> None:
    body = body_of()
    assert post(body, signed(body, at=now + seconds)).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        *(None, "", "t=", "v1=", "t=1,v1=", "t=x,v1=00", "nonsense", ",,,", "t=1", "v1=" + "0" * 64),
        *("t=٣,v1=00", "t=-1,v1=00", "t=1e3,v1=00", "t=1,t=1,v1=00", "t=1,v1=é", "t=9" * 40),
    ],
)
def test_a_header_that_is_no_signature_is_refused(header: str | None) -> None:
    refused(post(body_of(), header))


def test_a_signature_of_another_scheme_is_none() -> None:
    body = body_of()
    refused(post(body, signed(body).replace("v1=", "v0=")))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"livemode": True}, "test events only"),
        ({"livemode": None}, "test events only"),
        ({"livemode": 0}, "test events only"),
        ({"account": "acct_1"}, "connected account"),
        ({"object": "v2.core.event"}, "snapshot"),
        ({"object": "checkout.session"}, "snapshot"),
        ({"id": ""}, "no id"),
        ({"id": 5}, "no id"),
        ({"id": "evt_" + "a" * 300}, "no id"),
        ({"type": None}, "no type"),
        ({"type": "a" * 101}, "no type"),
        ({"created": "now"}, "when it happened"),
        ({"created": True}, "when it happened"),
        ({"created": 10**30}, "when it happened"),
        ({"data": None}, "no object"),
        ({"data": {}}, "no object"),
        ({"data": {"object": []}}, "no object"),
    ],
)
def test_what_is_signed_and_not_for_us_is_refused(changes: dict[str, Any], words: str) -> None:
    body = body_of(**changes)
    assert words in refused(post(body, signed(body)))


def test_a_thin_event_is_refused_and_says_what_to_set() -> None:
    thin = {
        "id": "evt_1",
        "object": "v2.core.event",
        "type": "v1.payout.paid",
        "livemode": False,
        "created": "2026-01-01",
    }
    body = json.dumps(thin).encode()
    assert "snapshot" in refused(post(body, signed(body)))


def test_live_events_belong_to_a_live_installation(settings: Any) -> None:
    settings.STRIPE_LIVE_MODE = True
    body = body_of()
    refused(post(body, signed(body)))
    body = body_of(livemode=True)
    assert post(body, signed(body)).status_code == 200
    assert InboxEvent.objects.get().is_live


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"event"', b"[" * 60_000, b'{"object": NaN}', b'{"object": "event", "x": 1e999}'],
)
def test_a_signed_body_that_is_no_event_is_refused(body: bytes) -> None:
    refused(post(body, signed(body)))


def test_a_body_in_another_encoding_is_refused() -> None:
    body = json.dumps(event("a", THING)).encode("utf-16")
    at = int(time.time())
    digest = hmac.new(SECRET.encode(), str(at).encode() + b"." + body, hashlib.sha256).hexdigest()
    refused(post(body, f"t={at},v1={digest}"))


def test_an_event_of_256_kib_is_taken_and_a_larger_one_is_not() -> None:
    room = stripe_inbox.BYTES_MAX - len(body_of(padding=""))
    large = body_of(padding="a" * (room + 1))
    assert "256" in refused(post(large, signed(large)), 413)
    body = body_of(padding="a" * (room - 20))
    assert post(body, signed(body)).status_code == 200


def test_texts_that_the_database_cannot_hold_do_not_lose_the_event() -> None:
    body = json.dumps(event("customer.updated", {"id": "cus_1", "name": "Ada\0 \ud800"})).encode()
    assert post(body, signed(body)).status_code == 200
    assert InboxEvent.objects.get().payload["data"]["object"]["name"] == "Ada\ufffd ?"


def test_only_post_is_answered() -> None:
    answer = Client().get(PATH)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


def test_no_sign_in_and_no_csrf_token_is_asked_for() -> None:
    body = body_of()
    answer = Client(enforce_csrf_checks=True).post(
        PATH, body, content_type="application/json", headers={"Stripe-Signature": signed(body)}
    )
    assert answer.status_code == 200


# Mutations of a valid delivery


@st.composite
def mutations(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes with one to four places changed, added, taken out, doubled or swapped; or not changed at all."""
    mutated = bytearray(data)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, len(mutated) - 1)))
        act = draw(st.sampled_from(["set", "flip", "insert", "delete", "cut", "double"]))
        if act == "set" and mutated:
            mutated[at] = draw(st.integers(0, 255))
        elif act == "flip" and mutated:
            mutated[at] ^= 1 << draw(st.integers(0, 7))
        elif act == "insert":
            mutated[at:at] = draw(
                st.one_of(st.binary(min_size=1, max_size=4), st.sampled_from([b" ", b"\n", b",", b"="]))
            )
        elif act == "delete":
            del mutated[at : at + draw(st.integers(1, 8))]
        elif act == "cut":
            del mutated[at:]
        elif act == "double":
            mutated += mutated[at:]
    return bytes(mutated)


EVENT = event("checkout.session.completed", THING)
BODY = json.dumps(EVENT).encode()


def is_signed(body: bytes, header: str, now: float) -> bool:
    """By another hand: some t and some v1 of the header fit this very body, and the time is now."""
    items = [item.partition("=") for item in header.split(",")]
    for moment in [value for name, _, value in items if name == "t"]:
        signed_bytes = moment.encode("utf-8", "replace") + b"." + body
        right = hmac.new(SECRET.encode(), signed_bytes, hashlib.sha256).hexdigest()
        if any(name == "v1" and value == right for name, _, value in items):
            return moment.isdecimal() and -301 <= int(moment) - now <= 61
    return False


@bounded(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_nothing_is_stored_unless_it_is_signed_byte_for_byte(data: st.DataObject) -> None:
    InboxEvent.objects.all().delete()  # of an example that failed
    now = int(time.time())
    header = signed(BODY, at=now + data.draw(st.sampled_from([0, 0, 0, -200, -400, 30, 90])))
    body = data.draw(st.one_of(st.just(BODY), mutations(BODY)))
    sent = data.draw(st.one_of(st.just(header.encode()), mutations(header.encode()))).decode("latin-1")
    try:
        stripe_inbox.receive(body, sent)
    except stripe_inbox.EventRefused:
        assert not InboxEvent.objects.exists()
        is_plain = body == BODY and sent == header
        assert not is_plain or not is_signed(body, sent, now), "a good delivery was refused"
        return
    assert is_signed(body, sent, now)
    assert body == BODY
    assert InboxEvent.objects.get().payload == EVENT
    # Stripe's own library, which is less strict about the header but cannot read every letter, believes it too.
    assert not sent.isascii() or stripe.WebhookSignature.verify_header(body, sent, SECRET, 301)
    InboxEvent.objects.all().delete()
    OrmQ.objects.all().delete()


# What a valid signature does not make ours: each field of an event as it should be, and as it should not

FIELDS: dict[str, tuple[list[Any], list[Any]]] = {
    # name: (taken, refused)
    "livemode": ([False], [True, None, 0, "false"]),
    "account": ([None, ""], ["acct_1"]),
    "object": (["event"], ["v2.core.event", "checkout.session", None, 1]),
    "id": (["evt_1", "e" * 255], ["", None, 5, "évt", "e" * 256]),
    "type": (["a.b", "t" * 100], ["", None, [], "t" * 101]),
    "created": ([1, 2**33 - 1], [0, -1, True, 1.5, "now", None, 2**33]),
    "data": ([{"object": {}}, {"object": THING, "previous_attributes": {}}], [None, {}, [], {"object": []}, "x"]),
    "padding": (["", "a" * 1000], ["a" * stripe_inbox.BYTES_MAX]),
}


@bounded(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_good_signature_does_not_make_an_event_ours(data: st.DataObject) -> None:
    """Of another mode, of a connected account, thin, misshapen or oversized: 400 or 413, and nothing is stored."""
    wrong = data.draw(st.sets(st.sampled_from(sorted(FIELDS)), max_size=2))
    made = {
        name: data.draw(st.sampled_from(refused if name in wrong else taken))
        for name, (taken, refused) in FIELDS.items()
    }
    body = json.dumps(EVENT | made).encode()
    answer = post(body, signed(body))
    if wrong:
        refused(answer, 413 if "padding" in wrong else 400)
        return
    assert answer.status_code == 200
    assert InboxEvent.objects.get().pk == made["id"]
    InboxEvent.objects.all().delete()
    OrmQ.objects.all().delete()
