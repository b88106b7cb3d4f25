"""Holds for other backends: placed, charged, given back, renewed; only by who placed them, each once."""

from typing import Any

import pytest

from billing import credits, ledger
from billing.models import Audit, Hold
from tests.conftest import Clock
from tests.people import Caller, Person

HOLD = {"amount": "10", "reference": "job-1", "expires_in_seconds": 3600}
KEYS = {
    "id",
    "account",
    "state",
    "amount",
    "captured",
    "released",
    "reference",
    "description",
    "placed_at",
    "expires_at",
    "ended_at",
}


def place(caller: Caller, **terms: Any) -> str:
    answer = caller.post("/api/holds", HOLD | terms)
    assert answer.status == 201, answer
    return str(answer["id"])


def test_a_hold_sets_credits_aside(owner: Person) -> None:
    answer = owner.calls().post("/api/holds", HOLD)
    assert answer.status == 201
    assert set(answer.json) == KEYS
    assert (answer["state"], answer["amount"], answer["captured"], answer["released"]) == ("open", "10", "0", "0")
    assert answer["reference"] == "job-1"
    assert owner.values == ("100", "10", "0")
    row = Hold.objects.get(id=answer["id"])
    assert (row.owner, row.user_id) == (f"user:{owner.user.pk}", owner.user.pk)
    assert Audit.objects.get(act="hold").subject == f"hold:{row.id}"


def test_a_capture_charges_and_gives_back_the_rest(owner: Person) -> None:
    caller = owner.calls()
    answer = caller.post(f"/api/holds/{place(caller)}/capture", {"amount": "8"})
    assert answer.status == 200
    assert (answer["state"], answer["captured"], answer["released"]) == ("captured", "8", "2")
    assert owner.values == ("92", "0", "0")


def test_a_capture_without_an_amount_charges_all(owner: Person) -> None:
    caller = owner.calls()
    answer = caller.send("POST", f"/api/holds/{place(caller)}/capture", None)
    assert (answer.status, answer["captured"], owner.values) == (200, "10", ("90", "0", "0"))


def test_a_capture_of_nothing_is_a_capture(owner: Person) -> None:
    caller = owner.calls()
    answer = caller.post(f"/api/holds/{place(caller)}/capture", {"amount": 0})
    assert (answer["state"], answer["captured"], answer["released"]) == ("captured", "0", "10")
    assert owner.values == ("100", "0", "0")


def test_a_release_gives_all_back(owner: Person) -> None:
    caller = owner.calls()
    answer = caller.post(f"/api/holds/{place(caller)}/release", {"reason": "The job failed"})
    assert (answer.status, answer["state"], answer["released"]) == (200, "released", "10")
    assert owner.values == ("100", "0", "0")


@pytest.mark.parametrize("first", ["capture", "release"])
@pytest.mark.parametrize("second", ["capture", "release", "renew"])
def test_who_comes_second_is_told_which_won(owner: Person, first: str, second: str) -> None:
    caller = owner.calls()
    hold = place(caller)
    assert caller.post(f"/api/holds/{hold}/{first}").status == 200
    answer = caller.post(f"/api/holds/{hold}/{second}")
    assert answer.status == 409
    assert answer.code == {"capture": "hold_already_captured", "release": "hold_already_released"}[first]


def test_an_expired_hold_is_paid_late_once(owner: Person, clock: Clock) -> None:
    caller = owner.calls()
    hold = place(caller)
    clock.advance(hours=2)
    ledger.expire_hold(owner.account, hold=Hold.objects.get(id=hold).id)
    assert owner.values == ("100", "0", "0")
    assert caller.post(f"/api/holds/{hold}/capture", {"amount": "8"}).code == "hold_already_expired"
    answer = caller.post(f"/api/holds/{hold}/capture", {"amount": "8", "late": True})
    assert (answer.status, answer["state"], answer["captured"], answer["released"]) == (200, "expired", "8", "2")
    assert owner.values == ("92", "0", "0")
    assert caller.post(f"/api/holds/{hold}/capture", {"late": True}).code == "hold_already_captured_late"


def test_a_renewal_moves_the_end_and_no_further_than_the_bound(owner: Person, clock: Clock, settings: Any) -> None:
    caller = owner.calls()
    hold = place(caller, expires_in_seconds=60)
    before = Hold.objects.get(id=hold)
    assert caller.post(f"/api/holds/{hold}/renew", {"expires_in_seconds": 3600}).status == 200
    after = Hold.objects.get(id=hold)
    assert 3500 < (after.expires_at - before.placed_at).total_seconds() < 3700
    clock.advance(hours=5)
    assert caller.post(f"/api/holds/{hold}/renew", {"expires_in_seconds": settings.HOLD_SECONDS_MAX}).status == 200
    bound = (Hold.objects.get(id=hold).expires_at - before.placed_at).total_seconds()
    assert settings.HOLD_SECONDS_MAX - 5 < bound <= settings.HOLD_SECONDS_MAX


@pytest.mark.parametrize("path", ["", "/capture", "/release", "/renew"])
def test_a_strangers_hold_is_not_there(owner: Person, member: Person, stranger: Person, path: str) -> None:
    hold = place(owner.calls())
    for other in (stranger.calls(), member.calls(), owner.calls("service"), stranger.calls("service")):
        answer = other.get(f"/api/holds/{hold}") if not path else other.post(f"/api/holds/{hold}{path}", {})
        assert (answer.status, answer.code) == (404, "not_found")
    assert owner.values == ("100", "10", "0")


def test_a_jobs_hold_is_not_the_clients_to_move(owner: Person) -> None:
    line = ledger.place_hold(
        owner.account, amount=credits.MICRO, reference="r", owner="job", expires_in_seconds=60, user=owner.user.pk
    )
    assert owner.calls().post(f"/api/holds/{line.hold}/release").status == 404
    assert owner.calls().get(f"/api/holds/{line.hold}").status == 404


def test_a_persons_other_token_sees_the_same_holds(owner: Person) -> None:
    hold = place(owner.calls())
    assert owner.calls("read").get(f"/api/holds/{hold}").status == 200
    assert owner.calls().post(f"/api/holds/{hold}/release").status == 200


# Services


def test_a_service_names_another_account_and_sees_only_its_own_holds(owner: Person, stranger: Person) -> None:
    service = stranger.calls("service")
    answer = service.post("/api/holds", HOLD | {"account": str(owner.account)})
    assert (answer.status, answer["account"]) == (201, str(owner.account))
    assert (owner.values, stranger.values) == (("100", "10", "0"), ("100", "0", "0"))
    assert Hold.objects.get(id=answer["id"]).owner == "service:renders"
    assert owner.calls().get(f"/api/holds/{answer['id']}").status == 404
    assert service.post(f"/api/holds/{answer['id']}/capture", {"amount": "4"}).status == 200
    assert owner.values == ("96", "0", "0")
    assert service.post("/api/holds", HOLD | {"account": str(new_id())}).status == 404


def new_id() -> str:
    return "0197a0f2-5c1e-7c6e-9a41-2f0e6d1b7c11"


def test_only_a_service_names_another_account(owner: Person, stranger: Person) -> None:
    answer = stranger.calls().post("/api/holds", HOLD | {"account": str(owner.account)})
    assert (answer.status, answer.code) == (403, "scope_too_small")
    assert stranger.calls().post("/api/holds", HOLD | {"account": str(stranger.account)}).status == 201


def test_a_service_is_bound_by_hold_and_by_day(owner: Person, stranger: Person) -> None:
    micro = credits.MICRO
    service = stranger.calls("service", amount_max=20 * micro, day_max=30 * micro)
    named = {"account": str(owner.account)}
    answer = service.post("/api/holds", HOLD | named | {"amount": "20.000001"})
    assert (answer.status, answer.code, answer["source"], answer["span"]) == (
        403,
        "spend_limit_reached",
        "service",
        "run",
    )
    first = service.post("/api/holds", HOLD | named | {"amount": "20"})
    assert first.status == 201
    answer = service.post("/api/holds", HOLD | {"account": str(stranger.account), "amount": "10.5"})
    assert (answer.status, answer["limit"], answer["used"], answer["span"]) == (403, "30", "20", "day")
    assert owner.values == ("100", "20", "0")
    assert stranger.values == ("100", "0", "0")
    # What a capture did not take is free again.
    assert service.post(f"/api/holds/{first['id']}/capture", {"amount": "5"}).status == 200
    assert service.post("/api/holds", HOLD | named | {"amount": "20"}).status == 201


def test_a_service_without_the_operation_places_nothing(owner: Person) -> None:
    answer = owner.calls("service", operations=[]).post("/api/holds", HOLD)
    assert (answer.status, answer.code) == (403, "operation_not_allowed")


def test_a_services_token_is_for_holds_alone(owner: Person) -> None:
    service = owner.calls("service")
    assert service.post("/api/tokens", {"name": "x"}).code == "scope_too_small"
    assert service.put("/api/credits/limits", {}).code == "scope_too_small"


# Query counts


def test_a_hold_costs_few_queries(owner: Person, django_assert_max_num_queries: Any) -> None:
    caller = owner.calls()
    place(caller)
    with django_assert_max_num_queries(9):  # token, count, begin and end, lock, three reads, one write, the trail
        place(caller)


def test_a_balance_costs_few_queries(owner: Person, django_assert_max_num_queries: Any) -> None:
    caller = owner.calls("read")
    caller.get("/api/credits/balance")
    with django_assert_max_num_queries(8):
        caller.get("/api/credits/balance")
