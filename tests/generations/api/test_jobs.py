"""Watching, listing and cancelling jobs: what owner, member and stranger see, and how each state is told."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing.models import Audit
from generations import lifecycle
from generations.models import Generation
from tests.generations.api.conftest import GENERATE
from tests.people import Caller, Person


def start(person: Person, prompt: str = "A lighthouse") -> str:
    answer = person.calls().post(GENERATE, {"operation": "ai/video", "inputs": {"prompt": prompt}})
    assert answer.status == 202
    return str(answer["id"])


def paths(job: Any) -> list[str]:
    return [f"/api/status/{job}", f"/api/generations/{job}"]


def test_owner_and_member_see_a_job_and_a_stranger_does_not(
    owner: Person, member: Person, stranger: Person, nobody: Caller
) -> None:
    job = start(member)
    for path in paths(job):
        for person in (owner, member):
            for scope in ("read", "spend"):
                assert person.calls(scope).get(path)["id"] == job
        assert (stranger.calls().get(path).status, stranger.calls().get(path).code) == (404, "not_found")
        assert nobody.get(path).status == 401
    assert stranger.calls().post(f"/api/generations/{job}/cancel").status == 404
    assert stranger.calls().get("/api/generations")["results"] == []
    assert [one["id"] for one in owner.calls().get("/api/generations")["results"]] == [job]


@pytest.mark.parametrize("id", [uuid4(), "not-an-id", "00000000-0000-0000-0000-000000000000"])
def test_what_is_not_there_is_404(owner: Person, id: Any) -> None:
    for path in paths(id):
        answer = owner.calls().get(path)
        assert (answer.status, answer.code) == (404, "not_found")
    assert owner.calls().post(f"/api/generations/{id}/cancel").status == 404


def test_the_list_is_newest_first_in_pages(owner: Person) -> None:
    jobs = [start(owner, f"film {n}") for n in range(5)][::-1]
    caller = owner.calls()
    first = caller.get("/api/generations?limit=2")
    assert [one["id"] for one in first["results"]] == jobs[:2]
    second = caller.get(first["next"])
    third = caller.get(second["next"])
    assert [one["id"] for one in second["results"] + third["results"]] == jobs[2:]
    assert third["next"] is None


def test_the_list_can_be_asked_for_one_state(owner: Person) -> None:
    kept, cancelled = start(owner), start(owner)
    caller = owner.calls()
    caller.post(f"/api/generations/{cancelled}/cancel")
    assert [one["id"] for one in caller.get("/api/generations?state=cancelled")["results"]] == [cancelled]
    assert [one["id"] for one in caller.get("/api/generations?state=queued")["results"]] == [kept]
    for query in ("state=lost", "states=queued", "state=queued&state=queued", "limit=0", "limit=201", "cursor=x"):
        assert caller.get(f"/api/generations?{query}").code == "invalid_fields"


def test_a_page_of_the_list_costs_the_same_however_many_jobs_are_on_it(owner: Person) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            caller.get("/api/generations")
        return len(queries)

    caller = owner.calls()
    start(owner)
    caller.get("/api/generations")
    one = cost()
    for _ in range(4):
        start(owner)
    assert cost() == one


# Cancel


def test_a_job_that_has_not_been_submitted_is_cancelled(owner: Person) -> None:
    job = start(owner)
    answer = owner.calls().post(f"/api/generations/{job}/cancel")
    assert answer.status == 200
    assert (answer["state"], answer["status"], answer["credits"]["outcome"]) == ("cancelled", "FAILURE", "refunded")
    assert (answer["credits"]["held"], answer["credits"]["charged"]) == ("0", "0")
    assert answer["credits"]["message"] == "Your 2.00 credits are back."
    assert answer["error"] == {"code": "cancelled", "message": "It was cancelled before it was started."}
    assert answer["is_cancellable"] is False
    assert owner.values == ("100", "0", "0")
    act = Audit.objects.get(act="cancel_generation")
    assert (act.subject, act.is_refusal) == (f"generation:{job}", False)

    again = owner.calls().post(f"/api/generations/{job}/cancel")
    assert (again.status, again.code, again["state"]) == (409, "not_cancellable", "cancelled")
    assert Audit.objects.filter(act="cancel_generation").count() == 1


def test_who_may_cancel(owner: Person, member: Person) -> None:
    job = start(owner)
    path = f"/api/generations/{job}/cancel"
    assert owner.calls("read").post(path).code == "scope_too_small"
    unverified = Person("una@people.test", account=owner.account, role="member", is_verified=False)
    assert unverified.calls().post(path).code == "email_unverified"
    assert member.calls().post(path, {"reason": "x"}).code == "invalid_fields"
    assert owner.values == ("100", "2", "0")
    assert member.calls().post(path, {}).status == 200


# How each state is told


@pytest.mark.django_db(transaction=True)
class TestStates:
    """Over the rehearsal provider, with real endings."""

    @pytest.fixture
    def person(self, trip: Any) -> Any:
        from billing import tokens
        from billing.models import Account

        _, text = tokens.make(trip.person, Account(id=trip.purse.id), name="test", scope="spend")
        return Caller(text)

    def test_a_delivered_job_has_its_output_behind_a_signed_link(self, trip: Any, person: Caller) -> None:
        job = trip.start().ended()
        answer = person.get(f"/api/status/{job.id}")
        assert (answer["state"], answer["status"], answer["progress"]) == ("succeeded", "SUCCESS", 100)
        assert answer["credits"] == {
            "held": "0",
            "charged": "0.5",
            "outcome": "charged",
            "message": "0.50 credits were charged.",
        }
        (output,) = answer["output"]
        assert (output["content_type"], output["seconds"], output["width"]) == ("video/mp4", 4.0, 640)
        assert output["bytes"] == job.output.bytes
        assert answer["error"] is None
        film = person.client.get(output["url"], headers=person.headers)
        assert film.status_code == 200
        assert len(b"".join(film.streaming_content)) == output["bytes"]
        assert Caller().client.get(output["url"]).status_code == 404
        with_other = Person("sam@people.test").calls()
        assert with_other.client.get(output["url"], headers=with_other.headers).status_code == 404

    def test_a_failure_is_refunded_when_it_is_seen(self, trip: Any, person: Caller) -> None:
        job = trip.start("[moderation_blocked]").ended()
        answer = person.get(f"/api/status/{job.id}")
        assert (answer["state"], answer["status"]) == ("failed", "FAILURE")
        assert answer["error"] == {
            "code": "moderation_blocked",
            "message": "Blocked by the provider’s moderation. The content was blocked by moderation.",
        }
        assert answer["credits"]["message"] == "Your 0.50 credits are back."
        assert person.get("/api/credits/balance")["available"] == "10"

    def test_a_withheld_output_is_not_linked(self, trip: Any, person: Caller) -> None:
        job = trip.running("[late 70m]")
        assert person.get(f"/api/status/{job.id}")["status"] == "STARTED"
        trip.advance(hours=1.1)
        trip.sweep()
        answer = person.get(f"/api/status/{job.id}")
        assert (answer["state"], answer["credits"]["outcome"]) == ("awaiting_settlement", "expired")
        trip.purse.charge(trip.purse.available)
        trip.advance(minutes=10)
        trip.sweep(2)
        answer = person.get(f"/api/status/{job.id}")
        assert (answer["state"], answer["status"]) == ("awaiting_settlement", "STARTED")
        assert (answer["credits"]["outcome"], answer["output"]) == ("withheld", [])
        trip.purse.grant(10**6)
        trip.sweep()
        answer = person.get(f"/api/status/{job.id}")
        assert (answer["credits"]["outcome"], answer["credits"]["charged"]) == ("charged", "0.5")
        assert len(answer["output"]) == 1

    def test_a_running_job_is_cancelled_through_its_provider(self, trip: Any, person: Caller) -> None:
        job = trip.running("[slow 1h]")
        answer = person.post(f"/api/generations/{job.id}/cancel")
        assert (answer.status, answer["state"]) == (200, "running")
        trip.sweep()
        assert person.get(f"/api/status/{job.id}")["state"] == "cancelled"

    def test_each_line_of_a_job_explains_the_whole_trip(self, trip: Any, person: Caller) -> None:
        job = trip.start().ended()
        lines = person.get("/api/credits/entries")["results"][:2]
        assert [line["kind"] for line in lines] == ["capture", "hold"]
        for line in lines:
            explained = person.get(f"/api/credits/entries/{line['id']}")
            titles = [step["title"] for step in explained["trail"]]
            label = "Video · “A lighthouse at dawn”"
            assert titles == [
                "Estimated",
                f"Held for {label}",
                "Accepted",
                "Provider said",
                f"Charged for {label}",
                "What it changed",
            ]
            said = explained["trail"][3]["detail"]
            assert "completed" in said
            assert "Completed work is charged (rule completed · any, version 1)." in said
            assert explained["link"] == f"/generations/{job.id}"
            assert explained["reason"] == ""

    def test_a_line_without_a_job_has_no_jobs_story(self, trip: Any, person: Caller) -> None:
        grant = person.get("/api/credits/entries")["results"][-1]
        titles = [step["title"] for step in person.get(f"/api/credits/entries/{grant['id']}")["trail"]]
        assert titles == ["Credits added", "What it changed"]
        with pytest.raises(lifecycle.JobNotFound):
            lifecycle.cancel(trip.purse.id, uuid4())
        assert Generation.objects.count() == 0
