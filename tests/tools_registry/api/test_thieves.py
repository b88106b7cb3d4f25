"""What a thief would try over HTTP: two doors at once, other credentials, prices of nothing, credits that leave."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection

from billing import clock as ledger_clock
from billing import credits, ledger
from billing.models import Entry, Payment
from billing.reconcile import reconcile
from config import gunicorn
from tests.billing.api.test_amounts import is_in_shape
from tests.people import Answer, Caller, Person
from tests.tools_registry.api.conftest import RUN, written
from tests.tools_registry.test_runs import PROBE, RATES
from tools_registry import runner, runs, tasks
from tools_registry.models import ToolCost, ToolRun

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("probe")]
PAGE = f"/studio/{PROBE.slug}"


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """The act happens while a run is on."""
    run = runner.run

    def acted(*arguments: Any) -> Any:
        ran = run(*arguments)
        act()
        return ran

    monkeypatch.setattr(runner, "run", acted)


def test_a_browser_and_a_program_of_one_person_run_one_at_a_time(owner: Person) -> None:
    token, browser = owner.token(), owner.browser()
    answers: list[Answer] = []

    def first() -> None:
        answers.append(Caller(token).post(RUN, {"how": "sleep"}))
        connection.close()

    thread = threading.Thread(target=first)
    thread.start()
    while not ToolRun.objects.filter(state="running").exists():
        thread.join(0.02)
        assert thread.is_alive()
    page = browser.post(PAGE, {"inputs": "{}", "key": "a"}, headers={"X-Part": "outcome"})
    assert page.status_code == 409
    assert ToolRun.objects.count() == 1
    thread.join(120)
    assert owner.values == ("100", "0", "0")


@pytest.mark.parametrize("scope", ["read", "service"])
def test_tokens_for_other_things_run_nothing(owner: Person, scope: str) -> None:
    caller, before = owner.calls(scope), written()
    answer = caller.post(RUN, {})
    assert answer.status == 403, answer
    assert is_in_shape(answer)
    assert written() == before


@pytest.mark.parametrize("rates", [{"base": "0", "minimum": "0"}, {"maximum": "0", "minimum": "0", "base": "0"}])
def test_a_price_of_nothing_is_a_price_or_a_refusal(owner: Person, clock: Any, rates: dict[str, str]) -> None:
    clock.advance(seconds=1)
    at = ledger_clock.now()
    ToolCost.objects.create(tool=PROBE.slug, valid_from=at, model="measured", rates=RATES | rates)
    answer = owner.calls().post(RUN, {})
    assert answer.status in (200, 403), answer
    assert is_in_shape(answer) or answer.status == 200
    assert not ToolRun.objects.filter(state="running").exists()
    assert owner.values[1] == "0"
    assert reconcile().is_clean


def test_an_account_that_is_frozen_meanwhile_pays_for_what_runs(owner: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    meanwhile(monkeypatch, lambda: ledger.set_account_frozen(owner.account, True, "looked at"))
    answer = owner.calls().post(RUN, {})
    assert (answer.status, answer["credits"]["charged"]) == (200, "3")
    assert owner.calls().post(RUN, {}).code == "account_frozen"
    assert reconcile().is_clean


def test_credits_that_go_meanwhile_leave_what_is_held(owner: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    meanwhile(
        monkeypatch,
        lambda: ledger.adjust(
            owner.account, amount=credits.parse("96.426258") * -1, reason="taken back", actor="user:1"
        ),
    )
    answer = owner.calls().post(RUN, {})
    assert (answer.status, answer["credits"]["charged"]) == (200, "3")
    assert owner.values == ("0.573742", "0", "0")
    assert owner.calls().post(RUN, {}).code == "insufficient_credits"
    assert reconcile().is_clean


def test_a_run_that_is_given_back_meanwhile_has_no_result(
    owner: Person, monkeypatch: pytest.MonkeyPatch, clock: Any
) -> None:
    def swept() -> None:
        clock.advance(days=1)
        runs.sweep()

    meanwhile(monkeypatch, swept)
    answer = owner.calls().post(RUN, {}, idempotency_key="k")
    assert (answer.status, answer.code) == (500, "tool_failed")
    assert owner.values == ("100", "0", "0")
    again = owner.calls().post(RUN, {}, idempotency_key="k")
    assert "result" not in again.json
    assert reconcile().is_clean


def test_what_the_kernel_did_not_count_costs_the_least(owner: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    run = runner.run
    monkeypatch.setattr(
        runner,
        "run",
        lambda *of: replace(run(*of), cpu_seconds=run(*of).cpu_seconds * 0, peak_memory_bytes=0),
    )
    assert owner.calls().post(RUN, {})["credits"]["charged"] == "3"


def test_a_free_estimate_runs_nothing(owner: Person) -> None:
    before = written()
    answer = owner.calls().post("/api/billing/estimate", {"operation": PROBE.slug, "inputs": {"how": "refuse"}})
    assert answer.status == 200, answer
    assert "result" not in answer.json
    assert written() == before


@pytest.mark.usefixtures("one_minute")
def test_a_page_takes_so_many_runs_a_minute(owner: Person, settings: Any) -> None:
    settings.API_WRITES_PER_MINUTE = 2
    browser = owner.browser()
    answers = [
        browser.post(PAGE, {"inputs": '{"how": "refuse"}', "key": f"{n}"}, headers={"X-Part": "outcome"})
        for n in range(4)
    ]
    assert [one.status_code for one in answers] == [422, 422, 429, 429]
    assert "Too many requests" in answers[-1].content.decode()
    assert ToolRun.objects.count() == 2
    assert Entry.objects.filter(account_id=owner.account).count() == 1 + 2 * 2


def test_inputs_that_come_twice_are_refused(owner: Person) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="inputs"; filename="a.json"\r\n\r\n{"how": "refuse"}\r\n'
        b'--b\r\nContent-Disposition: form-data; name="inputs"\r\n\r\n{"how": "well"}\r\n--b--\r\n'
    )
    answer = owner.calls().send("POST", RUN, body, "multipart/form-data; boundary=b")
    assert (answer.status, answer["fields"]) == (422, {"inputs": ["Give this once."]})


@pytest.mark.parametrize("accept", ["text/csv", "image/svg+xml", "*/*", "text/html,application/xhtml+xml"])
def test_a_file_comes_whatever_kind_is_asked_for(owner: Person, accept: str) -> None:
    caller = owner.calls()
    url = caller.post(RUN, {})["files"][0]["url"]
    response = caller.client.get(url, headers=caller.headers | {"Accept": accept})
    assert (response.status_code, response.content) == (200, b"how\nwell\n")


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_a_run_is_only_posted(owner: Person, method: str) -> None:
    before = written()
    answer = owner.calls().send(method, RUN, {})
    assert answer.status in ((200, 405) if method == "OPTIONS" else (405,)), answer
    assert written() == before


def test_an_answer_in_another_kind_is_refused_before_the_run(owner: Person) -> None:
    before = written()
    assert owner.calls().post(RUN, {}, accept="text/html").status == 406
    assert written() == before


def owes(person: Person) -> None:
    """The bank takes back what the account was paid with and has spent."""
    ledger.charge(person.account, amount=person.purse.available)
    payment = Payment.objects.get(account=person.account)
    ledger.claw_back(person.account, payment=payment.id, id=payment.id, amount=payment.granted)


def test_what_a_run_made_while_a_payment_was_taken_back_is_handed_out_when_nothing_is_owed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    person = Person("dora@people.test")
    person.grant("50", payment="pi_1")
    caller, browser = person.calls(), person.browser()
    with monkeypatch.context() as patch:
        meanwhile(patch, lambda: owes(person))
        answer = caller.post(RUN, {"how": "well"})
    assert answer.status == 200, answer
    assert (answer["state"], answer["result"], answer["files"]) == ("succeeded", None, [])
    assert (answer["error"]["code"], answer["purchase_url"]) == ("account_in_debt", "/account/credits")
    assert "handed out by itself" in answer["error"]["message"]
    run = ToolRun.objects.get()
    of_run, file, page = f"/api/tool-runs/{run.id}", f"/api/tool-runs/{run.id}/files/said.csv", f"/studio/runs/{run.id}"
    assert caller.get(of_run)["result"] is None
    assert caller.get(file).status == 404
    assert caller.get("/api/tool-runs")["results"][0]["files"] == []
    shown = browser.get(page).content.decode()
    assert "Made, and kept back" in shown
    assert 'href="/account/credits">Settle what is owed' in shown
    assert "said.csv" not in shown

    person.grant(credits.format(person.purse.debt))
    tasks.sweep()
    assert caller.get(of_run)["result"] == {"how": "well", "bytes": 0}
    assert (caller.get(of_run)["error"], caller.get(of_run)["purchase_url"]) == (None, None)
    assert caller.get(file).response.content == b"how\nwell\n"
    assert "said.csv" in browser.get(page).content.decode()
    assert reconcile().is_clean


# Who takes long keeps nobody waiting who does not


def test_a_studio_that_is_full_says_so_and_everything_else_is_answered(
    owner: Person, stranger: Person, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.LONG_REQUESTS_AT_ONCE = 1
    stranger.grant("50")
    second, page = stranger.calls(), stranger.browser()
    answers: list[Any] = []

    def others() -> None:
        answers.append(second.post(RUN, {"how": "well"}))
        answers.append(page.post(PAGE, {"inputs": "{}", "key": "a"}, headers={"X-Part": "outcome"}))
        answers.append(second.get("/api/credits/balance"))
        answers.append(second.post("/webhooks/stripe", {}))

    with monkeypatch.context() as patch:
        meanwhile(patch, others)
        assert owner.calls().post(RUN, {"how": "well"}).status == 200
    full, shown, balance, webhook = answers
    assert (full.status, full.code, full.headers["Retry-After"]) == (503, "studio_busy", "5"), full
    assert is_in_shape(full)
    assert (shown.status_code, "The studio is busy" in shown.content.decode()) == (503, True)
    assert (balance.status, balance["held"], webhook.status) == (200, "0", 400)
    assert ToolRun.objects.count() == 1
    assert second.post(RUN, {"how": "well"}).status == 200, "the seat is free again"
    assert reconcile().is_clean


def test_a_seat_is_free_again_however_a_run_ends(owner: Person, settings: Any) -> None:
    settings.LONG_REQUESTS_AT_ONCE = 1
    caller = owner.calls()
    for how, status in (("refuse", 422), ("break", 500), ("badly", 422), ("well", 200)):
        assert caller.post(RUN, {"how": how}).status == status


def test_what_takes_long_leaves_threads_for_what_does_not(settings: Any) -> None:
    assert 0 < settings.LONG_REQUESTS_AT_ONCE <= gunicorn.threads - 4
