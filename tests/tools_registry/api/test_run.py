"""Running a tool over HTTP: what it answers, what it costs, each way it can end, keys, files, and strangers."""

from __future__ import annotations

import json
import threading
from decimal import Decimal
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection

from billing.models import Audit, Entry
from billing.reconcile import reconcile
from tests.billing.api.test_amounts import is_in_shape
from tests.people import Answer, Caller, Person
from tests.tools_registry.api.conftest import RUN, multipart, written
from tools_registry import runner, runs
from tools_registry.models import ToolRun
from tools_registry.runner import client

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("probe")]

HELD = "3.573742"  # 2 + 1 s ÷ 2 + 512 MiB × 8 s ÷ 4


def test_a_run_answers_with_its_result_its_use_and_its_charge(owner: Person) -> None:
    answer = owner.calls().post(RUN, {"how": "well"})
    assert answer.status == 200, answer
    run = ToolRun.objects.get()
    assert answer["result"] == {"how": "well", "bytes": 0}
    assert answer["run"] == answer["id"] == str(run.id)
    assert answer["credits"] == {
        "held": HELD,
        "charged": "3",
        "entry": str(run.entry_id),
        "message": "3.00 of at most 3.573742 credits were charged.",
    }
    assert answer["estimate"] == {"min": "3", "typical": "3", "max": HELD}
    assert set(answer["usage"]) == {"cpu_seconds", "peak_memory_mb", "seconds"}
    assert 0 < answer["usage"]["seconds"] < 8
    assert answer["files"] == [
        {
            "name": "said.csv",
            "content_type": "text/csv",
            "bytes": 9,
            "url": f"/api/tool-runs/{run.id}/files/said.csv",
        }
    ]
    assert (answer["state"], answer["error"]) == ("succeeded", None)
    assert owner.values == ("97", "0", "0")
    act = Audit.objects.get(act="run_tool")
    assert (act.subject, act.is_refusal, act.account_id) == (f"tool_run:{run.id}", False, owner.account)
    assert reconcile().is_clean


def test_the_charge_explains_itself_to_the_microcredit(owner: Person) -> None:
    caller = owner.calls()
    entry = caller.post(RUN, {})["credits"]["entry"]
    steps = {step["title"]: step["detail"] for step in caller.get(f"/api/credits/entries/{entry}")["trail"]}
    run = ToolRun.objects.get()
    assert steps["Estimated"].startswith(f"3.00 as a rule, from 3.00 to {HELD}")
    assert f"{run.cpu_seconds:.6f}".rstrip("0") in steps["Used"]
    assert "2 (the run itself)" in steps["Used"]
    assert "a run costs at least 3" in steps["Used"]


def test_a_file_arrives_beside_the_inputs(owner: Person) -> None:
    answer = multipart(owner.calls(), RUN, {"how": "well"}, {"paper": ("notes.txt", b"a few words")})
    assert (answer.status, answer["result"]["bytes"]) == (200, 11)
    assert ToolRun.objects.get().inputs["paper"] == {"file": "notes.txt", "bytes": 11}


def test_a_document_can_be_pasted(owner: Person) -> None:
    assert owner.calls().post(RUN, {"paper": "a few words"})["result"]["bytes"] == 11


def test_multipart_without_inputs_means_the_defaults(owner: Person) -> None:
    assert multipart(owner.calls(), RUN, None, {"paper": ("a.txt", b"x")})["result"] == {"how": "well", "bytes": 1}


def test_a_browser_may_send_files_with_its_csrf_token(owner: Person) -> None:
    browser = owner.browser(enforce_csrf_checks=True)
    data = {"inputs": "{}", "paper": SimpleUploadedFile("a.txt", b"ab")}
    assert browser.post(RUN, data).json()["code"] == "csrf_failed"
    browser.cookies["csrftoken"] = "a" * 32
    data = {"inputs": "{}", "paper": SimpleUploadedFile("a.txt", b"ab")}
    response = browser.post(RUN, data, headers={"X-CSRFToken": "a" * 32, "Referer": "http://testserver/"})
    assert (response.status_code, response.json()["result"]["bytes"]) == (200, 2)


# Every other way to end


@pytest.mark.parametrize(
    ("how", "status", "code", "facts"),
    [
        ("refuse", 422, "invalid_fields", {"fields": {"how": ["Not like that."]}}),
        ("burn", 422, "tool_stopped", {"limit": "cpu_seconds", "value": 1}),
        ("sleep", 422, "tool_stopped", {"limit": "seconds", "value": 8}),
        ("swell", 422, "tool_stopped", {"limit": "memory_mb", "value": 512}),
        ("pour", 422, "tool_stopped", {"limit": "output_bytes", "value": 1048576}),
        ("break", 500, "tool_failed", {}),
        ("vanish", 500, "tool_failed", {}),
        ("lie", 500, "tool_failed", {}),
    ],
)
def test_what_does_not_end_well_says_why_and_that_nothing_was_charged(
    owner: Person, how: str, status: int, code: str, facts: dict[str, Any]
) -> None:
    caller = owner.calls()
    answer = caller.post(RUN, {"how": how}, idempotency_key="k")
    assert (answer.status, answer.code) == (status, code), answer
    assert is_in_shape(answer)
    assert "Nothing was charged." in answer["error"]
    assert {name: answer[name] for name in facts} == facts
    assert "Traceback" not in str(answer.json)
    assert "on purpose" not in str(answer.json)
    assert owner.values == ("100", "0", "0")
    again = caller.post(RUN, {"how": how}, idempotency_key="k")
    assert (again.status, again.code, again.headers["Idempotent-Replayed"]) == (status, code, "true")
    assert ToolRun.objects.count() == 1
    seen = caller.get(f"/api/tool-runs/{answer['run']}")
    assert (seen.status, seen["result"], seen["error"]["code"]) == (200, None, code)
    assert seen["credits"]["charged"] == "0"
    assert caller.post(RUN, {}).status == 200, "the next run works"


# Keys


def test_a_repeat_answers_as_the_first_did_and_costs_nothing(owner: Person) -> None:
    caller = owner.calls()
    first = caller.post(RUN, {"how": "well"}, idempotency_key="k")
    again = caller.post(RUN, {"how": "well"}, idempotency_key="k")
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json == first.json
    assert (owner.values[0], ToolRun.objects.count()) == ("97", 1)
    other = caller.post(RUN, {"how": "refuse"}, idempotency_key="k")
    assert (other.status, other.code) == (409, "idempotency_conflict")


def test_a_key_stands_for_the_files_as_well(owner: Person) -> None:
    caller = owner.calls()
    for content, status in ((b"one", 200), (b"one", 200), (b"two", 409)):
        answer = multipart(caller, RUN, {}, {"paper": ("a.txt", content)}, idempotency_key="k")
        assert answer.status == status
    assert multipart(caller, RUN, {}, {"paper": ("b.txt", b"one")}, idempotency_key="k").code == "idempotency_conflict"
    assert ToolRun.objects.count() == 1


def test_a_key_whose_run_is_still_going_is_told_so(owner: Person) -> None:
    caller = owner.calls()
    token = owner.token()
    answers: list[Answer] = []

    def first() -> None:
        answers.append(Caller(token).post(RUN, {"how": "sleep"}, idempotency_key="k"))
        connection.close()

    thread = threading.Thread(target=first)
    thread.start()
    while not ToolRun.objects.filter(state="running").exists():
        thread.join(0.02)
        assert thread.is_alive()
    again = Caller(token).post(RUN, {"how": "sleep"}, idempotency_key="k")
    second = caller.post(RUN, {"how": "well"})
    assert (again.status, again.code) == (409, "request_in_progress")
    assert (second.status, second.code) == (409, "tool_already_running")
    assert (second["tool"], "Retry-After" in again.headers) == ("dev-studio/probe", True)
    assert owner.values[1] == HELD
    thread.join(120)
    assert answers[0].code == "tool_stopped"
    assert owner.values == ("100", "0", "0")


def test_of_two_runs_at_once_of_one_person_one_is_refused(owner: Person, stranger: Person) -> None:
    tokens = [owner.token(), owner.token(), stranger.token()]
    answers: dict[str, Answer] = {}
    ready = threading.Barrier(3)

    def run(token: str) -> None:
        ready.wait(60)
        answers[token] = Caller(token).post(RUN, {"how": "burn"})
        connection.close()

    threads = [threading.Thread(target=run, args=[token]) for token in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    mine = sorted(answers[token].code or "" for token in tokens[:2])
    assert mine == ["tool_already_running", "tool_stopped"]
    assert answers[tokens[2]].code == "tool_stopped", "strangers do not wait for each other"
    assert (owner.values, stranger.values) == (("100", "0", "0"), ("100", "0", "0"))
    assert reconcile().is_clean


def test_a_member_runs_for_the_account(owner: Person, member: Person) -> None:
    answer = member.calls().post(RUN, {})
    assert answer.status == 200
    assert owner.values[0] == "97"
    assert owner.calls().get(f"/api/tool-runs/{answer['run']}").status == 200


# What is not read


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"how": "badly"}, "how"),
        ({"how": None}, "how"),
        ({"how": "well", "account": "x"}, "account"),
        ({"paper": 7}, "paper"),
        ({"paper": ""}, "paper"),
        ({"paper": "x" * 1001}, "paper"),
        ({"inputs": {"how": "well"}}, "inputs"),
        ([], "inputs"),
        ("how", "inputs"),
        (None, "inputs"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_written(owner: Person, body: Any, field: str) -> None:
    before = written()
    answer = owner.calls().send("POST", RUN, json.dumps(body).encode())
    assert (answer.status, answer.code) == (422, "invalid_fields"), answer
    assert list(answer["fields"]) == [field]
    assert "nothing was charged" in answer["error"]
    assert written() == before


@pytest.mark.parametrize(
    ("inputs", "files", "status", "code"),
    [
        ("{", {}, 400, "malformed"),
        ('{"how": NaN}', {}, 400, "malformed"),
        ('{"how": "well", "how": "well"}', {}, 400, "malformed"),
        ('{"how": "a\\u0000b"}', {}, 422, "invalid_fields"),
        ("{}", {"other": ("a.txt", b"x")}, 422, "invalid_fields"),
        ("{}", {"paper": ("a.exe", b"x")}, 422, "invalid_fields"),
        ("{}", {"paper": ("a.txt", b" ")}, 422, "invalid_fields"),
        ("{}", {"paper": ("a.txt", b"x" * 1001)}, 422, "invalid_fields"),
        ("{}", {"paper": ("a.txt", b"x" * (8 * 1024 * 1024 + 1))}, 413, "body_too_large"),
        ("{}", {f"f{number}": ("a.txt", b"x") for number in range(4)}, 400, "malformed"),
        ("[" * 500 + "]" * 500, {}, 400, "malformed"),
        ('{"paper": "' + "x" * 1024 * 1024 + '"}', {}, 413, "body_too_large"),
    ],
)
def test_a_multipart_body_that_cannot_be_read_is_refused(
    owner: Person, inputs: str, files: dict[str, tuple[str, bytes]], status: int, code: str
) -> None:
    before = written()
    answer = multipart(owner.calls(), RUN, inputs, files)
    assert (answer.status, answer.code) == (status, code), answer
    assert is_in_shape(answer)
    assert written() == before


@pytest.mark.parametrize(
    ("data", "kind", "status", "code"),
    [
        (b'{"how": NaN}', "application/json", 400, "malformed"),
        (b'{"how": "well", "how": "well"}', "application/json", 400, "malformed"),
        (b"{}" + b" " * 1024 * 1024, "application/json", 413, "body_too_large"),
        (b"how=well", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b"<a/>", "text/xml", 415, "unsupported_media_type"),
        (b"--x\r\n", "multipart/form-data", 400, "malformed"),
        (b"nonsense", "multipart/form-data; boundary=x", 200, None),
    ],
)
def test_what_is_not_strict_json_is_refused(
    owner: Person, data: bytes, kind: str, status: int, code: str | None
) -> None:
    answer = owner.calls().send("POST", RUN, data, kind)
    assert (answer.status, answer.code) == (status, code), answer


# Others


def test_a_run_and_its_files_are_their_accounts_alone(owner: Person, stranger: Person, nobody: Caller) -> None:
    answer = owner.calls().post(RUN, {})
    for path in (f"/api/tool-runs/{answer['run']}", answer["files"][0]["url"]):
        assert owner.calls("read").get(path).status == 200
        assert stranger.calls().get(path).code == "not_found"
        assert nobody.get(path).code == "sign_in_required"
    assert stranger.calls().get("/api/tool-runs")["results"] == []


def test_a_file_is_saved_and_believed_to_be_nothing_else(owner: Person) -> None:
    caller = owner.calls()
    url = caller.post(RUN, {})["files"][0]["url"]
    response = caller.client.get(url, headers=caller.headers)
    assert response.content == b"how\nwell\n"
    assert response["Content-Disposition"] == 'attachment; filename="said.csv"'
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Security-Policy"] == "sandbox; default-src 'none'; style-src 'unsafe-inline'"
    assert caller.get(url.replace("said", "other")).status == 404


def test_the_runs_are_listed_newest_first_in_pages(owner: Person) -> None:
    caller = owner.calls()
    made = [caller.post(RUN, {"how": how}).json["run"] for how in ("well", "refuse", "well")]
    page = caller.get("/api/tool-runs?limit=2").json
    assert [run["id"] for run in page["results"]] == made[:0:-1]
    assert "result" not in page["results"][0]
    rest = caller.get(page["next"].removeprefix("http://testserver")).json
    assert ([run["id"] for run in rest["results"]], rest["next"]) == ([made[0]], None)
    assert [run["id"] for run in caller.get("/api/tool-runs?state=refused")["results"]] == [made[1]]
    assert caller.get("/api/tool-runs?state=odd").code == "invalid_fields"


def test_what_is_no_longer_kept_says_so(owner: Person, clock: Any) -> None:
    caller = owner.calls()
    first = caller.post(RUN, {}).json
    clock.advance(days=31)
    assert runs.forget_old() == 1
    seen = caller.get(f"/api/tool-runs/{first['run']}")
    assert (seen["result"], seen["files"], seen["state"]) == (None, [], "succeeded")
    assert seen["credits"]["charged"] == "3"
    assert caller.get(first["files"][0]["url"]).status == 404


def test_the_price_is_within_the_estimate_whatever_it_was(owner: Person) -> None:
    answer = owner.calls().post(RUN, {})
    estimate = {name: Decimal(amount) for name, amount in answer["estimate"].items()}
    assert estimate["min"] <= Decimal(answer["credits"]["charged"]) <= estimate["max"]
    line = Entry.objects.get(id=answer["credits"]["entry"])
    assert line.kind == "capture"


def test_when_no_runner_can_be_started_nothing_is_charged(owner: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        broken = runner.Runner(also=("tests.tools_registry.nowhere",))
        patch.setattr(runner, "run", broken.run)
        patch.setattr(client.sys, "executable", "/nonexistent/python")
        answer = owner.calls().post(RUN, {})
    assert (answer.status, answer.code) == (500, "tool_failed")
    assert "Nothing was charged." in answer["error"]
    assert owner.values == ("100", "0", "0")
    assert owner.calls().post(RUN, {}).status == 200
