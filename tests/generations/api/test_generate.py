"""Starting a job: the hold of its maximum, the answer, keys, waiting, and every refusal in its order."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django_q.models import OrmQ
from uuid_utils.compat import uuid7

from billing import credits, ledger
from billing.models import Audit, Entry, Hold, IdempotencyKey, Payment, SpendLimit
from generations import api
from generations.models import Generation
from tests.billing.api.test_amounts import is_in_shape
from tests.generations.api.conftest import GENERATE, VIDEO
from tests.people import Answer, Caller, Person

DEAR = {"operation": "ai/video", "inputs": {"prompt": "x", "seconds": 20, "quality": "high", "size": "1920x1080"}}  # 40


def written() -> tuple[int, ...]:
    return tuple(model.objects.count() for model in (Entry, Hold, Generation, IdempotencyKey, OrmQ))


def test_a_job_is_started_and_its_maximum_held(owner: Person) -> None:
    answer = owner.calls().post(GENERATE, VIDEO)
    assert answer.status == 202
    job = Generation.objects.get()
    assert answer.json == {
        "id": str(job.id),
        "job_id": str(job.id),
        "operation": "ai/video",
        "inputs": {"prompt": "A lighthouse at dawn", "seconds": 4, "size": "1280x720", "quality": "standard"},
        "provider": "local",
        "state": "queued",
        "status": "PENDING",
        "progress": 0,
        "estimate": {
            "min": "0.5",
            "typical": "2",
            "max": "2",
            "explanation": "4 s × 0.50 a second, standard, 1280 × 720",
        },
        "credits": {
            "held": "2",
            "charged": "0",
            "outcome": None,
            "message": "2.00 credits are held. If it fails they come back by themselves.",
        },
        "usage": None,
        "output": [],
        "error": None,
        "is_cancellable": True,
        "created_at": answer["created_at"],
        "ended_at": None,
        "status_url": f"/api/status/{job.id}",
    }
    assert answer["created_at"].endswith("Z")
    assert owner.values == ("100", "2", "0")
    hold = Hold.objects.get()
    assert (hold.owner, hold.reference, hold.state, hold.user_id) == ("job", str(job.id), "open", owner.user.pk)
    assert (job.account_id, job.user_id, job.hold_id) == (owner.account, owner.user.pk, hold.id)
    assert OrmQ.objects.count() == 1
    act = Audit.objects.get()
    assert (act.act, act.is_refusal, act.subject, act.account_id) == (
        "generate",
        False,
        f"generation:{job.id}",
        owner.account,
    )
    assert str(hold.id) not in json.dumps(answer.json), "a job's hold is not the client's"


def test_a_jobs_hold_cannot_be_moved_by_the_client(owner: Person) -> None:
    caller = owner.calls()
    caller.post(GENERATE, VIDEO)
    hold = Hold.objects.get().id
    for path in ("capture", "release", "renew"):
        assert caller.post(f"/api/holds/{hold}/{path}").status == 404
    assert caller.get(f"/api/holds/{hold}").status == 404
    assert owner.values == ("100", "2", "0")


def test_a_member_starts_jobs_for_the_account(owner: Person, member: Person) -> None:
    answer = member.calls().post(GENERATE, VIDEO)
    assert answer.status == 202
    assert owner.values == ("100", "2", "0")
    assert Hold.objects.get().user_id == member.user.pk
    assert owner.calls().get(f"/api/status/{answer['id']}").status == 200


def test_the_provider_can_be_chosen_among_those_that_are_offered(owner: Person, settings: Any) -> None:
    settings.REHEARSAL_URL = "http://127.0.0.1:9"
    caller = owner.calls()
    assert caller.post(GENERATE, VIDEO | {"provider": "rehearsal"})["provider"] == "rehearsal"
    for name in ("openai", "", "LOCAL"):
        answer = caller.post(GENERATE, VIDEO | {"provider": name})
        assert (answer.status, answer.code, list(answer["fields"])) == (422, "invalid_fields", ["provider"])


# Refusals


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"inputs": VIDEO["inputs"]}, "operation"),
        ({"operation": "ai/video"}, "inputs"),
        (VIDEO | {"operation": "ai/poem"}, "operation"),
        (VIDEO | {"operation": 7}, "operation"),
        (VIDEO | {"operation": None}, "operation"),
        (VIDEO | {"inputs": []}, "inputs"),
        (VIDEO | {"inputs": "prompt"}, "inputs"),
        (VIDEO | {"inputs": None}, "inputs"),
        (VIDEO | {"inputs": {}}, "inputs.prompt"),
        (VIDEO | {"inputs": {"prompt": "x", "second": 4}}, "inputs.second"),
        (VIDEO | {"inputs": {"prompt": ""}}, "inputs.prompt"),
        (VIDEO | {"inputs": {"prompt": "   "}}, "inputs.prompt"),
        (VIDEO | {"inputs": {"prompt": 7}}, "inputs.prompt"),
        (VIDEO | {"inputs": {"prompt": ["x"]}}, "inputs.prompt"),
        (VIDEO | {"inputs": {"prompt": "x" * 2001}}, "inputs.prompt"),
        (VIDEO | {"inputs": {"prompt": "a\0b"}}, "inputs.prompt"),
        *((VIDEO | {"inputs": {"prompt": "x", "seconds": wrong}}, "inputs.seconds")
          for wrong in (0, -1, 21, 2**63, 4.5, "4", "٧", True, None, [4], {"a": 1})),
        (VIDEO | {"inputs": {"prompt": "x", "size": "1x1"}}, "inputs.size"),
        (VIDEO | {"inputs": {"prompt": "x", "quality": ["high"]}}, "inputs.quality"),
        (VIDEO | {"price": "0"}, "price"),
        (VIDEO | {"account": "0197a0f2-5c1e-7c6e-9a41-2f0e6d1b7c11"}, "account"),
        (VIDEO | {"state": "succeeded"}, "state"),
        (VIDEO | {"count": 2}, "count"),
        (VIDEO | {"provider": 7}, "provider"),
        (VIDEO | {"provider": None}, "provider"),
        ([], "body"),
        ("x", "body"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", [GENERATE, "/api/billing/estimate"])
def test_a_wrong_field_is_named_and_nothing_is_written(owner: Person, path: str, body: Any, field: str) -> None:
    before = written()
    answer = owner.calls().post(path, body)
    assert (answer.status, answer.code) == (422, "invalid_fields"), answer
    assert list(answer["fields"]) == [field]
    assert is_in_shape(answer)
    assert written() == before


RAW = '{"operation": "ai/video", "inputs": {"prompt": "x", "seconds": %s}}'


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        *((RAW % wrong, 422, "invalid_fields") for wrong in ("-0", "1e-7", "1e400", "4.0", "1e99999", "-1", '"1_000"')),
        *((RAW % wrong, 400, "malformed") for wrong in ("NaN", "Infinity", "1_000", "04", "+4", "٧")),
        (RAW % '4, "seconds": 5', 400, "malformed"),
        (RAW % ("[" * 500 + "]" * 500), 400, "malformed"),
        (RAW % '4, "a": "\\ud800"', 400, "malformed"),
        (RAW % '4, "a": "\\u0000"', 422, "invalid_fields"),
        (RAW % '4, "\\u0000": 4', 422, "invalid_fields"),
        (RAW[:-1] % "4", 400, "malformed"),
        ("", 422, "invalid_fields"),
        (RAW % '"' + "x" * 10 * 1024 * 1024, 413, "body_too_large"),
    ],
)
@pytest.mark.parametrize("path", [GENERATE, "/api/calculate-cost"])
def test_what_is_not_strict_json_is_refused(owner: Person, path: str, data: str, status: int, code: str) -> None:
    before = written()
    answer = owner.calls().send("POST", path, data.encode())
    assert (answer.status, answer.code) == (status, code), answer
    assert is_in_shape(answer)
    assert written() == before


@pytest.mark.parametrize("body", [b"operation=ai/video", b"<a/>"])
def test_only_json_is_read(owner: Person, body: bytes) -> None:
    answer = owner.calls().send("POST", GENERATE, body, "application/x-www-form-urlencoded")
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


# Causes in the order in which they are told. Each row of the test has its cause and all that stand below it.
ORDER = [
    ("requests", 429, "too_many_requests"),
    ("not signed in", 401, "sign_in_required"),
    ("unverified", 403, "email_unverified"),
    ("scope", 403, "scope_too_small"),
    ("field", 422, "invalid_fields"),
    ("frozen", 403, "account_frozen"),
    ("debt", 402, "account_in_debt"),
    ("open holds", 429, "too_many_open_holds"),
    ("run limit", 403, "spend_limit_reached"),
    ("day limit", 403, "spend_limit_reached"),
    ("month limit", 403, "spend_limit_reached"),
    ("credits", 402, "insufficient_credits"),
]
CAUSES = [cause for cause, _, _ in ORDER]


def set_up(person: Person, causes: list[str], settings: Any) -> None:
    """The account is such that each of these would refuse a job of 40 credits."""
    micro = credits.MICRO
    person.grant("20", payment="pi_1")
    if "open holds" in causes:
        settings.OPEN_HOLDS_MAX = 1
        ledger.place_hold(person.account, amount=micro, reference="r", owner="job", expires_in_seconds=600)
    if "debt" in causes:
        ledger.adjust(person.account, amount=-person.purse.available, reason="spent elsewhere")
        payment = Payment.objects.get(account=person.account)
        ledger.claw_back(person.account, payment=payment.id, id=uuid7(), amount=payment.granted)
    limits = {
        name: 30 * micro
        for name, cause in (("per_run", "run limit"), ("per_day", "day limit"), ("per_month", "month limit"))
        if cause in causes
    }
    if limits:
        SpendLimit.objects.create(account_id=person.account, source="staff", **limits)
    if "frozen" in causes:
        ledger.set_account_frozen(person.account, True, "looked at")
    if "unverified" in causes:
        EmailAddress.objects.filter(user=person.user).update(verified=False)
    if "requests" in causes:
        settings.API_WRITES_PER_MINUTE = settings.API_ANONYMOUS_PER_MINUTE = 0


@pytest.mark.parametrize(("cause", "status", "code"), ORDER, ids=CAUSES)
def test_which_refusal_wins(settings: Any, cause: str, status: int, code: str) -> None:
    person = Person("quinn@people.test")
    causes = CAUSES[CAUSES.index(cause) :]
    token = person.token("read" if "scope" in causes else "spend")
    set_up(person, causes, settings)
    before = written()
    caller = Caller(None if "not signed in" in causes else token)
    answer = caller.post(GENERATE, DEAR | ({"wrong": 1} if "field" in causes else {}))
    assert (answer.status, answer.code) == (status, code), answer
    assert is_in_shape(answer)
    spans = {"run limit": "run", "day limit": "day", "month limit": "month"}
    if cause in spans:
        assert (answer["span"], answer["limit"], answer["source"]) == (spans[cause], "30", "staff")
    if answer.status == 402:
        assert answer["purchase_url"] == "/account/credits"
    if cause == "credits":
        assert (answer["required"], answer["available"], answer["shortfall"]) == ("40", "20", "20")
    assert written() == before
    is_kept = cause not in ("requests", "not signed in", "field")
    assert Audit.objects.filter(act="generate", is_refusal=True, code=code).exists() == is_kept
    assert not Audit.objects.filter(is_refusal=False).exists()


@pytest.mark.parametrize("scope", ["read", "service"])
def test_a_token_that_may_not_spend_starts_nothing(owner: Person, scope: str) -> None:
    answer = owner.calls(scope).post(GENERATE, VIDEO)
    assert (answer.status, answer.code, answer["scope"]) == (403, "scope_too_small", scope)


def test_a_browser_starts_a_job_with_its_csrf_token(owner: Person) -> None:
    browser = owner.browser(enforce_csrf_checks=True)
    assert browser.post(GENERATE, VIDEO, content_type="application/json").json()["code"] == "csrf_failed"
    browser.cookies["csrftoken"] = "a" * 32
    response = browser.post(
        GENERATE,
        VIDEO,
        content_type="application/json",
        headers={"X-CSRFToken": "a" * 32, "Referer": "http://testserver/"},
    )
    assert response.status_code == 202


def test_where_nothing_has_a_price_nothing_runs(owner: Person) -> None:
    from tools_registry.models import ToolCost

    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        ToolCost.objects.all().delete()
        cursor.execute("SET LOCAL session_replication_role = origin")
    answer = owner.calls().post(GENERATE, VIDEO)
    assert (answer.status, answer.code) == (422, "invalid_fields")
    assert owner.values == ("100", "0", "0")


def test_when_the_books_cannot_be_opened_nothing_runs(owner: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import OperationalError

    def gone(*_: Any, **__: Any) -> None:
        raise OperationalError("the connection is lost")

    before = written()
    monkeypatch.setattr(ledger, "post_one", gone)
    answer = owner.calls().post(GENERATE, VIDEO)
    assert (answer.status, answer.code) == (503, "billing_unavailable")
    assert is_in_shape(answer)
    assert written() == before


# Keys


def test_the_same_key_and_body_start_one_job(owner: Person) -> None:
    caller = owner.calls()
    first = caller.post(GENERATE, VIDEO, idempotency_key="k")
    assert (first.status, "Idempotent-Replayed" in first.headers) == (202, False)
    caller.post(f"/api/generations/{first['id']}/cancel")
    again = caller.post(GENERATE, dict(reversed(VIDEO.items())), idempotency_key="k")
    assert (again.status, again.headers["Idempotent-Replayed"]) == (202, "true")
    assert (again["id"], again["state"]) == (first["id"], "cancelled"), "the thing as it is now"
    assert Generation.objects.count() == OrmQ.objects.count() == 1
    assert Audit.objects.filter(act="generate").count() == 1


def test_the_same_key_with_another_body_is_a_conflict(owner: Person) -> None:
    caller = owner.calls()
    caller.post(GENERATE, VIDEO, idempotency_key="k")
    for other in (DEAR, VIDEO | {"provider": "local"}):
        answer = caller.post(GENERATE, other, idempotency_key="k")
        assert (answer.status, answer.code) == (409, "idempotency_conflict")
    assert owner.values == ("100", "2", "0")


def test_a_key_is_one_persons(owner: Person, member: Person, stranger: Person) -> None:
    ids = {person.calls().post(GENERATE, VIDEO, idempotency_key="k")["id"] for person in (owner, member, stranger)}
    assert len(ids) == 3
    assert owner.calls().post(GENERATE, VIDEO, idempotency_key="k")["id"] in ids, "another token of the same person"


def test_a_refused_request_keeps_no_key(owner: Person) -> None:
    caller = owner.calls()
    caller.post("/api/holds", {"amount": "99"})
    assert caller.post(GENERATE, VIDEO, idempotency_key="k").status == 402
    assert not IdempotencyKey.objects.filter(key="k").exists()
    owner.grant("5")
    assert caller.post(GENERATE, VIDEO, idempotency_key="k").status == 202


@pytest.mark.usefixtures("one_minute")
def test_a_repeat_costs_nothing_at_the_limit(owner: Person, settings: Any) -> None:
    settings.API_WRITES_PER_MINUTE = 1
    caller = owner.calls()
    assert [caller.post(GENERATE, VIDEO, idempotency_key="k").status for _ in range(4)] == [202] * 4
    assert caller.post(GENERATE, VIDEO).status == 429


@pytest.mark.django_db(transaction=True)
def test_a_key_whose_first_request_is_still_going_is_told_so(
    transactional_db: None, prices: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = Person("olga@people.test")
    person.grant("100")
    token = person.token()
    inside, onward = threading.Event(), threading.Event()
    save = Generation.save

    def slow(self: Generation, *args: Any, **options: Any) -> None:
        inside.set()
        onward.wait(60)
        save(self, *args, **options)

    answers: list[Answer] = []

    def first() -> None:
        answers.append(Caller(token).post(GENERATE, VIDEO, idempotency_key="k"))
        connection.close()

    monkeypatch.setattr(Generation, "save", slow)
    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(60)
    second = Caller(token).post(GENERATE, VIDEO, idempotency_key="k")
    onward.set()
    thread.join(60)
    assert (second.status, second.code) == (409, "request_in_progress")
    assert int(second.headers["Retry-After"]) >= 1
    assert answers[0].status == 202
    assert Generation.objects.count() == 1


# Waiting


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("wait=5", 5),
        ("wait=0", 0),
        ("wait=21", 20),
        ("wait=999999", 20),
        ("respond-async, wait=3", 3),
        ('wait="7"', 7),
        ("handling=lenient; wait = 4", 4),
        ("wait=-1", 0),
        ("wait=1.5", 0),
        ("wait=x", 0),
        ("await=5", 0),
        ("", 0),
    ],
)
def test_what_prefer_asks_for(header: str, seconds: int) -> None:
    class Request:
        headers = {"Prefer": header}

    assert api._seconds_to_wait(Request()) == seconds


class Passing:
    """Time passes where somebody sleeps, and nowhere else."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_the_answer_waits_as_long_as_is_preferred(owner: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    passing = Passing()
    monkeypatch.setattr(api, "time", passing)
    answer = owner.calls().post(GENERATE, VIDEO, prefer="wait=7")
    assert 7 <= passing.now < 7 + 2 * api.WAIT_PAUSE_SECONDS
    assert (answer.status, answer["state"]) == (202, "queued")
    assert answer.headers["Preference-Applied"] == "wait=7"
    assert "Preference-Applied" not in owner.calls().post(GENERATE, VIDEO).headers


def test_nothing_waits_where_as_many_wait_already_as_may(owner: Person, settings: Any) -> None:
    settings.LONG_REQUESTS_AT_ONCE = 0
    answer = owner.calls().post(GENERATE, VIDEO, prefer="wait=20")
    assert (answer.status, answer["state"]) == (202, "queued")
    assert "Preference-Applied" not in answer.headers


@pytest.mark.django_db(transaction=True)
def test_the_wait_ends_with_the_job_and_holds_no_transaction(
    transactional_db: None, prices: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from generations import lifecycle

    person = Person("olga@people.test")
    person.grant("100")
    states: list[Any] = []

    def stop_it() -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            job = Generation.objects.first()
            if job is not None:
                with connection.cursor() as cursor:
                    cursor.execute(
                        "SELECT state FROM pg_stat_activity WHERE datname = current_database()"
                        " AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'"
                    )
                    states.extend(cursor.fetchall())
                lifecycle.cancel(person.account, job.id)
                break
            time.sleep(0.02)
        connection.close()

    thread = threading.Thread(target=stop_it)
    thread.start()
    began = time.monotonic()
    monkeypatch.setattr(api, "WAIT_SECONDS_MAX", 120)
    answer = person.calls().post(GENERATE, VIDEO, prefer="wait=120")
    thread.join(60)
    assert time.monotonic() - began < 120
    assert (answer.status, answer["state"], answer["credits"]["outcome"]) == (202, "cancelled", "refunded")
    assert states == []


# Cost


def test_how_many_queries_a_start_costs(owner: Person) -> None:
    """Token and price; lock, context, lots and the ledger's one write; job, audit, task. Beside the counting of
    requests, which is the cache's."""
    caller = owner.calls()
    caller.post(GENERATE, VIDEO)
    with CaptureQueriesContext(connection) as queries:
        assert caller.post(GENERATE, VIDEO).status == 202
    told = [str(query["sql"]) for query in queries]
    assert (
        len([sql for sql in told if "config_cached" not in sql and not sql.startswith(("SAVEPOINT", "RELEASE"))]) == 9
    )
