"""What every provider keeps to, run against each with its real server behind it (benches.py).

The failures are made by a server in between (meddler.py), as they come over a real network. A test runs on every bench
on which its case can occur; why another cannot, that bench says (Bench.cannot).
"""

import io
import json
import logging
import re
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from generations.providers.base import (
    Accepted,
    Answer,
    Job,
    NotCancellable,
    OutputUnavailable,
    ProviderError,
    Refused,
    TryLater,
    Unknown,
)
from tests.generations.providers.benches import (
    BENCHES,
    CASES,
    LATE_SECONDS,
    TIMEOUT_SECONDS,
    Bench,
    flags_of,
)
from tests.generations.providers.conftest import ended, until
from tests.generations.providers.meddler import CUT_OFF, GARBAGE, RESET, Spoil, refusal

# OpenAI itself ended its videos; its SDK says so at each call.
pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")

LATE = Spoil(late_seconds=LATE_SECONDS)
DRIP = Spoil(drip_seconds=0.3)
PATIENCE_SECONDS = 10.0  # what is late or drips takes longer, if it is waited for


@pytest.fixture(scope="session")
def running() -> Iterator[dict[str, Bench]]:
    """The benches that have been started: each once, in whatever order the tests come."""
    found: dict[str, Bench] = {}
    yield found
    for bench in found.values():
        bench.stop()


@pytest.fixture
def started(
    request: pytest.FixtureRequest, running: dict[str, Bench], tmp_path_factory: pytest.TempPathFactory
) -> Bench:
    name = request.param
    if name not in running:
        running[name] = BENCHES[name]()
        running[name].start(tmp_path_factory.mktemp(name.replace(" ", "-")))
    return running[name]


@pytest.fixture
def bench(started: Bench, settings: Any) -> Bench:
    settings.PROVIDER_TIMEOUT_SECONDS = 10
    started.use(settings)
    return started


@contextmanager
def in_a_hurry(bench: Bench, settings: Any) -> Iterator[None]:
    """Inside, the bench's provider does not wait for long. Nothing is spoilt before or afterwards."""
    patient = settings.PROVIDER_TIMEOUT_SECONDS
    settings.PROVIDER_TIMEOUT_SECONDS = TIMEOUT_SECONDS
    bench.use(settings)
    try:
        yield
    finally:
        settings.PROVIDER_TIMEOUT_SECONDS = patient
        bench.use(settings)


def needs(*cases: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The test is for the benches on which all these cases can occur; why one cannot, its bench says."""
    assert CASES.issuperset(cases)

    def marked(test: Callable[..., None]) -> Callable[..., None]:
        test.needs = cases  # type: ignore[attr-defined]
        return test

    return marked


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "started" in metafunc.fixturenames:
        cases = set(getattr(metafunc.function, "needs", ()))
        names = [name for name, bench in BENCHES.items() if not cases & bench.cannot.keys()]
        metafunc.parametrize("started", names, indirect=True)


def raised_by(call: Callable[[], object], kind: type[ProviderError]) -> ProviderError:
    """The error that the call raised: of this kind, foreseen, and telling nothing that must not be told."""
    with pytest.raises(kind) as raised:
        call()
    assert raised.value.status != "broken", raised.value
    return raised.value


def test_what_cannot_occur_is_said_with_its_reason() -> None:
    for bench in BENCHES.values():
        assert bench.cannot.keys() <= CASES
        assert all(reason.endswith(".") for reason in bench.cannot.values())
        assert bench.bad_inputs or "bad_inputs" in bench.cannot
        assert bench.secret or "secret" in bench.cannot


# The trip of a job


def test_a_job_goes_from_accepted_to_its_output(bench: Bench, tmp_path: Any) -> None:
    job, answer, output, content_type = bench.carried_out(bench.job())
    assert (answer.code, answer.is_terminal, answer.is_known) == (None, True, True)
    path = tmp_path / "output"
    path.write_bytes(output)
    assert bench.is_output(path, content_type)
    assert bench.accepted(job) == 1
    json.dumps(answer.evidence)


def test_the_flags_say_what_the_methods_do(bench: Bench) -> None:
    provider = bench.provider
    assert provider.name in bench.name
    assert provider.title
    assert bench.operation in provider.operations
    assert not provider.is_real  # all servers here are on this machine
    assert (provider.has_lookup, provider.has_cancel, provider.has_callbacks) == flags_of(provider)


@needs("poll", "progress")
def test_progress_only_grows_until_the_end(bench: Bench) -> None:
    job = bench.submitted()
    seen: list[Answer] = []

    def look() -> bool:
        seen.append(bench.provider.poll(job))
        return seen[-1].is_terminal

    until(look)
    progress = [answer.progress or 0 for answer in seen]
    assert progress == sorted(progress)
    assert {answer.status for answer in seen} <= {"queued", "in_progress", "completed"}


@needs("look_up")
def test_the_look_up_finds_what_was_submitted_and_nothing_else(bench: Bench) -> None:
    job = bench.job()
    assert bench.provider.look_up(job) is None
    first = bench.provider.submit(job)
    found = bench.provider.look_up(job)
    assert isinstance(found, Accepted)
    assert found.provider_job_id == first.provider_job_id


def test_who_cannot_be_asked_by_our_id_says_so(bench: Bench) -> None:
    assert bench.provider.has_lookup == ("look_up" not in bench.cannot)
    if bench.provider.has_lookup:
        return
    assert raised_by(lambda: bench.provider.look_up(bench.job()), Unknown).status == "unsupported"


@needs("poll", "cancel")
def test_a_running_job_is_cancelled_and_an_ended_one_is_not(bench: Bench) -> None:
    job = bench.submitted("slow")
    bench.provider.cancel(job)
    bench.provider.cancel(job)
    assert ended(bench.provider, job).status == "cancelled"
    raised_by(lambda: bench.fetched(job, Answer("completed")), OutputUnavailable)
    done = bench.submitted()
    assert ended(bench.provider, done).status == "completed"
    raised_by(lambda: bench.provider.cancel(done), NotCancellable)


def test_who_cannot_cancel_says_so(bench: Bench) -> None:
    if "cancel" not in bench.cannot:
        return
    job = bench.submitted()
    for _ in range(2):
        raised_by(lambda: bench.provider.cancel(job), NotCancellable)


def test_every_method_may_be_called_twice(bench: Bench) -> None:
    job, answer, output, content_type = bench.carried_out(bench.job())
    if "poll" not in bench.cannot:
        assert [bench.provider.poll(job).status for _ in range(2)] == ["completed", "completed"]
        assert bench.fetched(job, answer) == bench.fetched(job, answer) == (output, content_type)
    again = bench.provider.submit(job)
    assert (again.provider_job_id == job.provider_job_id) <= (bench.accepted(job) == 1)
    if bench.provider.has_idempotent_submit:
        assert again.provider_job_id == job.provider_job_id
        assert bench.accepted(job) == 1


@needs("bad_inputs")
def test_inputs_that_cannot_be_carried_out_are_refused(bench: Bench) -> None:
    for inputs in bench.bad_inputs:
        job = bench.job(**inputs)
        refused = raised_by(lambda job=job: bench.provider.submit(job), Refused)
        assert refused.status in ("400", "422")
        assert refused.message
        assert bench.accepted(job) == 0


EVIL = [
    "nul \x00 and bell \x07",
    "lone surrogate \ud800 here",
    "emoji 😀👩‍👩‍👧‍👦 and flags 🇪🇺",
    "مرحبا بالعالم שלום עולם",
    "日本語のプロンプト",
    "%{pts} %{expr:1} $(reboot) `id` ; rm -rf / \\N '\"",
    "two\nlines\r\nand\ttabs\u2028\u2029",
    "W" * 2000,
    "word " * 400,
    "\u202e\u200b\u0301" * 100,
    " ",
    "é" * 1000 + "\u0301" * 1000,
]


@pytest.mark.parametrize("prompt", EVIL)
def test_any_prompt_is_carried_out(bench: Bench, prompt: str, tmp_path: Any) -> None:
    _, _, output, content_type = bench.carried_out(bench.job(prompt=prompt))
    (tmp_path / "output").write_bytes(output)
    assert bench.is_output(tmp_path / "output", content_type)


# Submission: what was surely not accepted, and what is in doubt


@needs("http")
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422])
def test_a_refusing_status_means_not_accepted(bench: Bench, status: int) -> None:
    bench.spoil("submit", refusal(status, bench.problem(status)))
    job = bench.job()
    for _ in range(2):
        refused = raised_by(lambda: bench.provider.submit(job), Refused)
        assert refused.status == str(status)
        assert refused.code
        assert refused.message
    assert bench.accepted(job) == 0


@needs("http")
@pytest.mark.parametrize("body", ["html", "nothing"])
def test_a_refusing_status_needs_no_readable_body(bench: Bench, body: str) -> None:
    bench.spoil("submit", replace(GARBAGE[body], is_passed_on=False, status=403))
    assert raised_by(lambda: bench.provider.submit(bench.job()), Refused).status == "403"


@needs("http")
@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), (None, None), ("soon", None), ("99999999", 3600.0)])
def test_429_means_later_and_when(bench: Bench, header: str | None, seconds: float | None) -> None:
    named = {"Retry_After": header} if header else {}
    bench.spoil("submit", refusal(429, bench.problem(429), **named))
    job = bench.job()
    later = raised_by(lambda: bench.provider.submit(job), TryLater)
    assert (later.status, later.retry_after_seconds) == ("429", seconds)
    assert bench.accepted(job) == 0
    bench.meddler.clear()
    assert bench.provider.submit(job).provider_job_id
    assert bench.accepted(job) == 1


@needs("http")
@pytest.mark.parametrize("status", [302, 405, 408, 409, 418, 451, 500, 501, 502, 503, 504, 520, 599])
def test_any_other_status_is_a_doubt(bench: Bench, status: int) -> None:
    bench.spoil("submit", refusal(status, bench.problem(status), Location=bench.meddler.url + "/elsewhere"))
    assert raised_by(lambda: bench.provider.submit(bench.job()), Unknown).status == str(status)
    assert not any("elsewhere" in path for _, path in bench.meddler.seen)


@needs("http")
@pytest.mark.parametrize("body", list(GARBAGE))
def test_an_unreadable_answer_to_a_submission_is_a_doubt(bench: Bench, body: str) -> None:
    bench.spoil("submit", GARBAGE[body])
    job = bench.job()
    assert raised_by(lambda: bench.provider.submit(job), Unknown).status == "garbage"
    assert bench.accepted(job) == 1


@needs("http")
@pytest.mark.parametrize("how", [RESET, CUT_OFF], ids=["reset", "cut_off"])
def test_a_connection_that_breaks_after_the_submission_is_a_doubt(bench: Bench, how: Spoil) -> None:
    bench.spoil("submit", how)
    job = bench.job()
    assert raised_by(lambda: bench.provider.submit(job), Unknown).status == "network"
    assert bench.accepted(job) == 1
    assert len([1 for method, _ in bench.meddler.seen if method == bench.places["submit"][0]]) == 1


@needs("http")
@pytest.mark.parametrize("how", [LATE, DRIP], ids=["late", "drip"])
def test_a_time_out_after_the_provider_accepted_is_a_doubt_and_nothing_is_sent_twice(
    bench: Bench, settings: Any, how: Spoil
) -> None:
    job = bench.job()
    with in_a_hurry(bench, settings):
        bench.spoil("submit", how)
        began = time.monotonic()
        assert raised_by(lambda: bench.provider.submit(job), Unknown).status == "timeout"
        longest = bench.provider.submit_seconds_max or TIMEOUT_SECONDS
        assert time.monotonic() - began < longest + PATIENCE_SECONDS
        until(lambda: bench.accepted(job) == 1)
    if bench.provider.has_lookup:
        found = bench.provider.look_up(job)
        assert isinstance(found, Accepted)
        assert ended(bench.provider, bench.follow(job, found)).status == "completed"
    assert bench.accepted(job) == 1


@needs("http")
def test_not_reachable_is_surely_not_accepted_and_later_a_doubt(bench: Bench, settings: Any) -> None:
    job = bench.job()
    provider = bench.unreachable(settings)
    assert raised_by(lambda: provider.submit(job), TryLater).status == "network"
    if "poll" in bench.cannot:
        return
    known = replace(job, provider_job_id=bench.unknown_ids[0])
    asks: list[Callable[[], object]] = [
        lambda: provider.poll(known),
        lambda: provider.fetch(known, Answer("completed"), io.BytesIO(), 1000, 1.0),
    ]
    if "cancel" not in bench.cannot:
        asks.append(lambda: provider.cancel(known))
    if provider.has_lookup:
        asks.append(lambda: provider.look_up(job))
    for ask in asks:
        assert raised_by(ask, Unknown).status == "network"


# Questions: nothing but an answer is one


@needs("http", "poll")
@pytest.mark.parametrize("status", [302, 400, 401, 402, 403, 404, 409, 410, 422, 500, 502, 503, 504])
def test_no_status_is_an_answer_to_a_question(bench: Bench, status: int) -> None:
    job = bench.submitted()
    bench.spoil("poll", refusal(status, bench.problem(status)))
    assert raised_by(lambda: bench.provider.poll(job), Unknown).status == str(status)
    bench.meddler.clear()
    assert ended(bench.provider, job).status == "completed"


@needs("http", "poll")
def test_429_to_a_question_means_later_and_when(bench: Bench) -> None:
    job = bench.submitted()
    bench.spoil("poll", refusal(429, bench.problem(429), Retry_After="9"))
    later = raised_by(lambda: bench.provider.poll(job), TryLater)
    assert (later.status, later.retry_after_seconds) == ("429", 9.0)


@needs("http", "poll")
@pytest.mark.parametrize("body", list(GARBAGE))
def test_an_unreadable_answer_to_a_question_is_a_doubt(bench: Bench, body: str) -> None:
    job = bench.submitted()
    bench.spoil("poll", GARBAGE[body])
    assert raised_by(lambda: bench.provider.poll(job), Unknown).status == "garbage"
    bench.meddler.clear()
    assert ended(bench.provider, job).status == "completed"


@needs("http", "poll")
@pytest.mark.parametrize("how", [RESET, CUT_OFF], ids=["reset", "cut_off"])
def test_a_connection_that_breaks_is_no_answer(bench: Bench, how: Spoil) -> None:
    job = bench.submitted()
    bench.spoil("poll", how)
    assert raised_by(lambda: bench.provider.poll(job), Unknown).status == "network"


@needs("http", "poll")
@pytest.mark.parametrize("how", [LATE, DRIP], ids=["late", "drip"])
def test_silence_is_no_answer(bench: Bench, settings: Any, how: Spoil) -> None:
    job = bench.submitted()
    with in_a_hurry(bench, settings):
        bench.spoil("poll", how)
        began = time.monotonic()
        assert raised_by(lambda: bench.provider.poll(job), Unknown).status == "timeout"
        assert time.monotonic() - began < TIMEOUT_SECONDS + PATIENCE_SECONDS


@needs("poll", "unknown_word")
def test_an_unknown_word_is_passed_on_as_one(bench: Bench) -> None:
    job = bench.submitted("unknown_word")
    answers: list[Answer] = []

    def has_begun() -> bool:
        """Servers that do one thing after another may have the job of the case before in hand."""
        answers.append(bench.provider.poll(job))
        return answers[-1].status not in ("queued", "in_progress")

    until(has_begun)
    assert not answers[-1].is_known
    assert not answers[-1].is_terminal


TRICKS = (
    "../../etc",
    "..",
    ".",
    "a/b",
    "a%2fb",
    "x?y=1#z",
    "x\r\nHost: y",
    "ü",
    " ",
    "",
    "x" * 300,
    "http://127.0.0.1:1/",
)


@pytest.mark.parametrize("provider_job_id", TRICKS)
def test_an_id_that_plays_tricks_reaches_no_address(bench: Bench, provider_job_id: str) -> None:
    job = replace(bench.job(), provider_job_id=provider_job_id)
    assert raised_by(lambda: bench.provider.poll(job), Unknown).status == "404"
    raised_by(lambda: bench.provider.cancel(job), ProviderError)
    raised_by(lambda: bench.fetched(job, Answer("completed")), ProviderError)
    if "http" not in bench.cannot:
        places = [(method, re.compile(path)) for method, path in bench.places.values()]
        for method, path in bench.meddler.seen:
            assert any(method == one and place.search(path.partition("?")[0]) for one, place in places), path


@needs("poll")
def test_a_job_that_the_provider_does_not_know_is_a_doubt(bench: Bench) -> None:
    for provider_job_id in bench.unknown_ids:
        job = replace(bench.job(), provider_job_id=provider_job_id)
        assert raised_by(lambda job=job: bench.provider.poll(job), Unknown).status == "404"
        raised_by(lambda job=job: bench.provider.cancel(job), ProviderError)
        raised_by(lambda job=job: bench.fetched(job, Answer("completed")), ProviderError)


# How it ends


@needs("moderation")
def test_what_moderation_stops_has_our_code_and_the_providers_words(bench: Bench) -> None:
    fails_so(bench, "moderation", "moderation_blocked")


@needs("invalid_request")
def test_what_cannot_be_done_has_our_code_and_the_providers_words(bench: Bench) -> None:
    fails_so(bench, "invalid_request", "invalid_request")


def fails_so(bench: Bench, case: str, code: str) -> None:
    job = bench.job(case)
    if case in bench.refused_at_once:
        refused = raised_by(lambda: bench.provider.submit(job), Refused)
        assert refused.code == code
        assert refused.message
        assert bench.accepted(job) == 0
        return
    accepted = bench.provider.submit(job)
    answer = accepted.answer or ended(bench.provider, bench.follow(job, accepted))
    assert (answer.status, answer.code) == ("failed", code)
    assert answer.message
    assert answer.evidence


@needs("poll", "flip")
def test_a_word_that_is_taken_back_is_told_as_it_is_now(bench: Bench) -> None:
    job = bench.submitted("flip")
    assert ended(bench.provider, job).status == "completed"
    assert [bench.provider.poll(job).status for _ in range(2)] == ["failed", "failed"]


# The output


@needs("no_output")
def test_an_output_that_is_not_there_is_known_to_be_missing(bench: Bench) -> None:
    if "poll" in bench.cannot:
        job = bench.job("no_output")
        first = bench.provider.submit(job)
        assert first.content is None
        job, answer = bench.follow(job, first), first.answer or Answer("completed")
    else:
        job = bench.submitted("no_output")
        answer = ended(bench.provider, job)
    assert answer.status == "completed"
    raised_by(lambda: bench.fetched(job, answer), OutputUnavailable)


@needs("poll")
def test_an_output_above_the_limit_is_not_taken(bench: Bench) -> None:
    job, answer, output, _ = bench.carried_out(bench.job())
    error = raised_by(lambda: bench.fetched(job, answer, bytes_max=len(output) - 1), OutputUnavailable)
    assert error.code == "output_too_large"
    if "output_http" in bench.cannot:
        return
    bench.spoil("output", Spoil(is_unsized=True))
    error = raised_by(lambda: bench.fetched(job, answer, bytes_max=len(output) - 1), OutputUnavailable)
    assert error.code == "output_too_large"
    assert bench.fetched(job, answer, bytes_max=len(output))[0] == output


@needs("poll", "output_http")
@pytest.mark.parametrize("how", [LATE, DRIP], ids=["late", "drip"])
def test_an_output_that_is_too_slow_is_given_up_in_time(bench: Bench, how: Spoil) -> None:
    job, answer, _, _ = bench.carried_out(bench.job())
    bench.spoil("output", how)
    began = time.monotonic()
    assert raised_by(lambda: bench.fetched(job, answer, seconds=0.6), Unknown).status == "timeout"
    assert time.monotonic() - began < 0.6 + PATIENCE_SECONDS


@needs("poll", "output_http")
@pytest.mark.parametrize(
    ("how", "kind", "status"),
    [
        (RESET, Unknown, "network"), (CUT_OFF, Unknown, "network"), (refusal(500), Unknown, "500"),
        (refusal(503), Unknown, "503"), (refusal(401), Unknown, "401"),
        (refusal(429, Retry_After="3"), TryLater, "429"),
    ],
    ids=["reset", "cut_off", "500", "503", "401", "429"],
)  # fmt: skip
def test_an_output_that_cannot_be_had_now_may_be_had_later(
    bench: Bench, how: Spoil, kind: type[ProviderError], status: str
) -> None:
    job, answer, output, _ = bench.carried_out(bench.job())
    bench.spoil("output", how)
    assert raised_by(lambda: bench.fetched(job, answer), kind).status == status
    bench.meddler.clear()
    assert bench.fetched(job, answer)[0] == output


# Secrets


@needs("http", "secret")
@pytest.mark.parametrize("status", [200, 400, 401, 429, 500])
def test_our_key_is_in_no_evidence_no_error_and_no_log(
    bench: Bench, status: int, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """The server sends back whatever it was sent, in the places where such things are found."""
    caplog.set_level(logging.DEBUG)

    def echo(body: bytes, headers: dict[str, str]) -> bytes:
        said = f"{headers} {bench.secret} Bearer {bench.secret}"
        error = {"code": bench.secret, "message": said, "type": said, "param": said, "headers": headers}
        return json.dumps({"id": bench.secret, "status": bench.secret, "error": error, "said": headers}).encode()

    told: list[object] = []

    def ask(call: Callable[[], object]) -> None:
        try:
            told.append(call())
        except ProviderError as error:
            told.extend([error.code, error.message, error.evidence, "".join(traceback.format_exception(error))])

    job: Job = bench.submitted() if "poll" not in bench.cannot else bench.job()
    for place in bench.places:
        bench.spoil(place, Spoil(status=status, body=echo, headers={"x-request-id": bench.secret}))
    ask(lambda: bench.provider.submit(bench.job()))
    if "poll" not in bench.cannot:
        ask(lambda: bench.provider.poll(job))
        ask(lambda: bench.provider.cancel(job))
        ask(lambda: bench.fetched(job, Answer("completed"))[1])
    assert told
    out, err = capfd.readouterr()
    assert bench.secret not in f"{told} {caplog.text} {out} {err}"
