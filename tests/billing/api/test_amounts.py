"""What is no amount is refused in the contract's shape, whatever way it is written, and nothing is written down."""

import json
from typing import Any

import pytest

from billing.models import Audit, Entry, Hold, IdempotencyKey
from tests.people import Answer, Person

SHAPE = {"error", "code", "reason", "action", "request_id"}


def is_in_shape(answer: Answer) -> bool:
    return (
        answer.headers["Content-Type"].startswith("application/json")
        and set(answer.json) >= SHAPE
        and all(isinstance(answer.json[name], str) and answer.json[name] for name in SHAPE)
        and answer.json["request_id"] == answer.headers["X-Request-ID"]
    )


def body(amount: str) -> bytes:
    return b'{"amount": ' + amount.encode() + b', "reference": "r"}'


@pytest.mark.parametrize(
    ("written", "status", "code"),
    [
        ("-1", 422, "invalid_fields"),
        ('"-1"', 422, "invalid_fields"),
        ("0", 422, "invalid_fields"),
        ('"0"', 422, "invalid_fields"),
        ("-0", 422, "invalid_fields"),
        ("1e-7", 422, "invalid_fields"),
        ('"1e-7"', 422, "invalid_fields"),
        ("0.0000001", 422, "invalid_fields"),
        ("1e2", 422, "invalid_fields"),
        ("1e-999999999", 422, "invalid_fields"),
        ("1e999999999", 422, "invalid_fields"),
        ("NaN", 400, "malformed"),
        ("Infinity", 400, "malformed"),
        ('"NaN"', 422, "invalid_fields"),
        ('"Infinity"', 422, "invalid_fields"),
        (str(2**63), 422, "invalid_fields"),
        (f'"{2**63}"', 422, "invalid_fields"),
        ("9" * 4000, 422, "invalid_fields"),
        ("9" * 5000, 400, "malformed"),
        ('"٧"', 422, "invalid_fields"),
        ("٧", 400, "malformed"),
        ("true", 422, "invalid_fields"),
        ("null", 422, "invalid_fields"),
        ('"1_000"', 422, "invalid_fields"),
        ("1_000", 400, "malformed"),
        ('"1,000"', 422, "invalid_fields"),
        ('" 1"', 422, "invalid_fields"),
        ('"+1"', 422, "invalid_fields"),
        ('"01"', 422, "invalid_fields"),
        ('"1."', 422, "invalid_fields"),
        ('".5"', 422, "invalid_fields"),
        ('""', 422, "invalid_fields"),
        ("[]", 422, "invalid_fields"),
        ("{}", 422, "invalid_fields"),
        ('["1"]', 422, "invalid_fields"),
        ('"1\\u0000"', 422, "invalid_fields"),
        ('"\\ud800"', 400, "malformed"),
        ('"1", "amount": "2"', 400, "malformed"),
        ("[" * 500 + "]" * 500, 400, "malformed"),
        ("1000000000.000001", 422, "invalid_fields"),
    ],
)
def test_what_is_no_amount_is_refused(owner: Person, written: str, status: int, code: str) -> None:
    before = owner.values, Entry.objects.count(), Audit.objects.count()
    answer = owner.calls().send("POST", "/api/holds", body(written), idempotency_key="k")
    assert (answer.status, answer.code) == (status, code), answer
    assert is_in_shape(answer)
    if status == 422:
        assert list(answer["fields"]) == ["amount"]
    assert (owner.values, Entry.objects.count(), Audit.objects.count()) == before
    assert not Hold.objects.exists()
    assert not IdempotencyKey.objects.exists()


@pytest.mark.parametrize(
    ("written", "held"),
    [('"12.5"', "12.5"), ("12.5", "12.5"), ("7", "7"), ('"0.000001"', "0.000001"), ("0.000001", "0.000001")],
)
def test_strings_and_numbers_are_amounts_to_the_last_decimal(owner: Person, written: str, held: str) -> None:
    answer = owner.calls().send("POST", "/api/holds", body(written))
    assert (answer.status, answer["amount"]) == (201, held)
    assert owner.values == ("100", held, "0")


@pytest.mark.parametrize(
    ("data", "content_type", "status", "code"),
    [
        (b"", "application/json", 422, "invalid_fields"),
        (b"{", "application/json", 400, "malformed"),
        (b'{"amount": "1"}x', "application/json", 400, "malformed"),
        (b'\xef\xbb\xbf{"amount": "1"}', "application/json", 400, "malformed"),
        ('{"amount": "1"}'.encode("utf-16"), "application/json", 400, "malformed"),
        (b'{"amount": "1", "reference": "\xff"}', "application/json", 400, "malformed"),
        (b'{"amount": "1"}', "application/json; charset=latin-1", 400, "malformed"),
        (b"[]", "application/json", 422, "invalid_fields"),
        (b"null", "application/json", 422, "invalid_fields"),
        (b'"x"', "application/json", 422, "invalid_fields"),
        (b"amount=1", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b"<a/>", "text/xml", 415, "unsupported_media_type"),
        (b'{"amount": "1", "price": "0"}', "application/json", 422, "invalid_fields"),
        (b'{"amount": "1", "reference": 7}', "application/json", 422, "invalid_fields"),
        (b'{"amount": "1", "reference": "a\\u0000b"}', "application/json", 422, "invalid_fields"),
        (b'{"amount": "1", "a\\u0000b": 1}', "application/json", 422, "invalid_fields"),
        (b'{"amount": "1", "reference": "' + b"a" * 201 + b'"}', "application/json", 422, "invalid_fields"),
        (b'{"amount": "1", "expires_in_seconds": 0}', "application/json", 422, "invalid_fields"),
        (b'{"amount": "1", "expires_in_seconds": "60"}', "application/json", 422, "invalid_fields"),
        (b'{"amount": "1", "expires_in_seconds": true}', "application/json", 422, "invalid_fields"),
        (b'{"amount": "1", "expires_in_seconds": 60.5}', "application/json", 422, "invalid_fields"),
        (b'{"amount": "1", "expires_in_seconds": 21601}', "application/json", 422, "invalid_fields"),
        (b'{"amount": "1", "account": 7}', "application/json", 422, "invalid_fields"),
    ],
)
def test_bodies_that_are_refused(owner: Person, data: bytes, content_type: str, status: int, code: str) -> None:
    answer = owner.calls().send("POST", "/api/holds", data, content_type)
    assert (answer.status, answer.code) == (status, code), answer
    assert is_in_shape(answer)
    assert owner.values == ("100", "0", "0")


def test_a_body_of_ten_megabytes_is_refused_unread(owner: Person) -> None:
    big = json.dumps({"amount": "1", "reference": "a" * 10 * 1024 * 1024}).encode()
    answer = owner.calls().send("POST", "/api/holds", big)
    assert (answer.status, answer.code) == (413, "body_too_large")
    assert is_in_shape(answer)
    assert owner.values == ("100", "0", "0")


@pytest.mark.parametrize("key", ["", " " * 256, "é", "a\tb"])
def test_a_key_is_printable_ascii(owner: Person, key: str) -> None:
    answer = owner.calls().post("/api/holds", {"amount": "1"}, idempotency_key=key)
    assert (answer.status, list(answer["fields"])) == (422, ["Idempotency-Key"])


@pytest.mark.parametrize(
    ("path", "method", "status", "code"),
    [
        ("/api/holds", "GET", 405, "method_not_allowed"),
        ("/api/holds", "DELETE", 405, "method_not_allowed"),
        ("/api/holds", "OPTIONS", 405, "method_not_allowed"),
        ("/api/holds/not-an-id", "GET", 404, "not_found"),
        ("/api/nothing", "GET", 404, "not_found"),
        ("/api/holds/", "POST", 404, "not_found"),
        ("/api/credits/balance?at=yesterday", "GET", 422, "invalid_fields"),
        ("/api/credits/balance?at=2020-01-01", "GET", 422, "invalid_fields"),
        ("/api/credits/balance?at=2020-01-01T00:00:00", "GET", 422, "invalid_fields"),
        ("/api/credits/balance?at=0001-01-01T00:00:00%2B23:59", "GET", 422, "invalid_fields"),
        ("/api/credits/balance?at=2999-01-01T00:00:00Z", "GET", 422, "invalid_fields"),
        ("/api/credits/balance?att=2020-01-01T00:00:00Z", "GET", 422, "invalid_fields"),
        ("/api/credits/entries?cursor=zzz", "GET", 422, "invalid_fields"),
        ("/api/credits/entries?limit=0", "GET", 422, "invalid_fields"),
        ("/api/credits/entries?limit=10&limit=20", "GET", 422, "invalid_fields"),
        ("/api/credits/entries?limit=٧", "GET", 422, "invalid_fields"),
        ("/api/credits/entries?cursor=%00", "GET", 422, "invalid_fields"),
        ("/api/credits/entries?format=xml", "GET", 422, "invalid_fields"),
    ],
)
def test_every_error_has_the_one_shape(owner: Person, path: str, method: str, status: int, code: str) -> None:
    answer = owner.calls().send(method, path, None)
    assert (answer.status, answer.code) == (status, code), answer
    assert is_in_shape(answer)
    if status == 405:
        assert "POST" in answer.headers["Allow"]


def test_what_nobody_can_read_is_not_acceptable(owner: Person) -> None:
    answer = owner.calls().get("/api/credits/balance", accept="image/png")
    assert (answer.status, answer.code) == (406, "not_acceptable")
    assert is_in_shape(answer)


def test_a_bug_is_a_500_without_a_trace(owner: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("billing.statement.values_now", broken)
    answer = owner.calls().get("/api/credits/balance")
    assert (answer.status, answer.code) == (500, "server_error")
    assert is_in_shape(answer)
    assert "secret" not in json.dumps(answer.json)
