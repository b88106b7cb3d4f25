"""A client's key: one request, once, for ever; another body is refused; who asks again pays nothing."""

from typing import Any

import pytest

from billing.models import Audit, Entry, Hold, IdempotencyKey
from tests.people import Person

HOLD = {"amount": "10", "reference": "job-1"}


def test_a_repeat_moves_nothing_and_answers_the_thing_as_it_is_now(owner: Person) -> None:
    caller = owner.calls()
    first = caller.post("/api/holds", HOLD, idempotency_key="k")
    assert (first.status, "Idempotent-Replayed" in first.headers) == (201, False)
    caller.post(f"/api/holds/{first['id']}/capture", {"amount": "4"})
    again = caller.post("/api/holds", {"reference": "job-1", "amount": "10"}, idempotency_key="k")
    assert (again.status, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert (again["id"], again["state"], again["captured"]) == (first["id"], "captured", "4")
    assert owner.values == ("96", "0", "0")
    assert Hold.objects.count() == 1
    assert Audit.objects.filter(act="hold").count() == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [("capture", {"amount": "4"}), ("capture", None), ("release", {"reason": "x"}), ("renew", None)],
)
def test_moving_a_hold_can_be_repeated(owner: Person, path: str, body: Any) -> None:
    caller = owner.calls()
    hold = caller.post("/api/holds", HOLD)["id"]
    first = caller.post(f"/api/holds/{hold}/{path}", body, idempotency_key="k")
    lines, values = Entry.objects.count(), owner.values
    again = caller.post(f"/api/holds/{hold}/{path}", body, idempotency_key="k")
    assert (first.status, again.status, again.headers["Idempotent-Replayed"]) == (200, 200, "true")
    assert again["state"] == first["state"]
    assert (Entry.objects.count(), owner.values) == (lines, values)


def test_a_key_with_another_body_is_a_conflict(owner: Person) -> None:
    caller = owner.calls()
    assert caller.post("/api/holds", HOLD, idempotency_key="k").status == 201
    answer = caller.post("/api/holds", HOLD | {"amount": "11"}, idempotency_key="k")
    assert (answer.status, answer.code) == (409, "idempotency_conflict")
    assert owner.values == ("100", "10", "0")


def test_a_key_belongs_to_a_person_an_account_and_a_path(owner: Person, member: Person, stranger: Person) -> None:
    hold = owner.calls().post("/api/holds", HOLD, idempotency_key="k")["id"]
    assert owner.calls().post("/api/holds", HOLD, idempotency_key="k").headers["Idempotent-Replayed"] == "true"
    for other in (member, stranger):
        answer = other.calls().post("/api/holds", HOLD, idempotency_key="k")
        assert (answer.status, "Idempotent-Replayed" in answer.headers) == (201, False)
    assert owner.calls().post(f"/api/holds/{hold}/release", None, idempotency_key="k").status == 200


def test_a_refusal_keeps_no_key_so_it_may_be_tried_again(owner: Person) -> None:
    caller = owner.calls()
    assert caller.post("/api/holds", {"amount": "150"}, idempotency_key="k").status == 402
    assert not IdempotencyKey.objects.exists()
    owner.grant("100")
    assert caller.post("/api/holds", {"amount": "150"}, idempotency_key="k").status == 201


def test_a_repeat_is_answered_when_the_day_of_a_service_is_used_up(owner: Person) -> None:
    service = owner.calls("service", amount_max=10_000_000, day_max=10_000_000)
    first = service.post("/api/holds", HOLD, idempotency_key="k")
    assert (first.status, service.post("/api/holds", HOLD).status) == (201, 403)
    assert service.post("/api/holds", HOLD, idempotency_key="k").headers["Idempotent-Replayed"] == "true"


# Throttles


@pytest.mark.usefixtures("one_minute")
def test_a_repeat_costs_nothing_even_at_the_limit(owner: Person, settings: Any) -> None:
    settings.API_WRITES_PER_MINUTE = 2
    caller = owner.calls()
    assert [caller.post("/api/holds", HOLD, idempotency_key="k").status for _ in range(5)] == [201] * 5
    assert caller.post("/api/holds", HOLD).status == 201
    refused = caller.post("/api/holds", HOLD)
    assert (refused.status, refused.code) == (429, "too_many_requests")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert caller.post("/api/holds", HOLD, idempotency_key="k").status == 201
    assert caller.post("/api/holds", HOLD, idempotency_key="new").status == 429
    assert owner.values == ("100", "20", "0")


@pytest.mark.usefixtures("one_minute")
def test_reads_have_their_own_bucket(owner: Person, settings: Any) -> None:
    settings.API_WRITES_PER_MINUTE, settings.API_READS_PER_MINUTE = 0, 2
    caller = owner.calls()
    assert caller.post("/api/holds", HOLD).status == 429
    assert [caller.get("/api/credits/balance").status for _ in range(3)] == [200, 200, 429]


def test_one_programs_requests_are_not_anothers(owner: Person, settings: Any) -> None:
    settings.API_READS_PER_MINUTE = 1
    assert [owner.calls().get("/api/credits/balance").status for _ in range(3)] == [200] * 3
