"""What is particular to ComfyUI: several servers, the queue and the history, graphs, and what their ends mean."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from generations import outputs
from generations.providers import calls, comfyui, graphs
from generations.providers.base import (
    Accepted,
    Answer,
    Job,
    NotCancellable,
    NotOffered,
    OutputUnavailable,
    Refused,
    TryLater,
    Unknown,
)
from generations.providers.comfyui import ComfyUI, Server
from tests.generations.providers.benches import NOWHERE, ComfyUIStandIn
from tests.generations.providers.conftest import Asked, ended, until
from tests.generations.providers.meddler import Meddler, Spoil

JOB_ID = "019e0000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ComfyUIStandIn, ComfyUIStandIn]]:
    one, other = (
        ComfyUIStandIn(tmp_path_factory.mktemp(name), "--seconds", "0.2", "--timeout-accept-seconds", "5")
        for name in ("one", "other")
    )
    yield one, other
    one.kill()
    other.kill()


@pytest.fixture
def servers(both: tuple[ComfyUIStandIn, ComfyUIStandIn], settings: Any) -> tuple[ComfyUIStandIn, ComfyUIStandIn]:
    """Two servers that have nothing to do, and are the ones that the settings name."""
    for server in both:
        server.post("forget")
    settings.COMFYUI_URLS = [server.url for server in both]
    settings.PROVIDER_TIMEOUT_SECONDS = 2.5
    return both


@pytest.fixture
def provider(servers: tuple[ComfyUIStandIn, ComfyUIStandIn]) -> Asked:
    return Asked(ComfyUI(queue_fresh_seconds=0.0))


def only(server: ComfyUIStandIn) -> Asked:
    return Asked(ComfyUI([server.url], queue_fresh_seconds=0.0))


def new_job(prompt: str = "A lighthouse", operation: str = "ai/image", **more: Any) -> Job:
    inputs: dict[str, Any] = {"prompt": prompt, "size": "1024x1024", "quality": "draft"}
    if operation == "ai/video":
        inputs |= {"seconds": 1, "size": "640x360"}
    return Job(str(uuid7()), operation, inputs, **more)


def submitted(provider: Asked, prompt: str = "A lighthouse", operation: str = "ai/image", **more: Any) -> Job:
    job = new_job(prompt, operation, **more)
    return replace(job, provider_job_id=provider.submit(job).provider_job_id)


def requests_of(server: ComfyUIStandIn) -> list[str]:
    found: list[str] = server.get("state")["requests"]
    return found


# What is offered -----------------------------------------------------------------------------------------------------


def test_without_a_server_it_is_not_offered(settings: Any) -> None:
    settings.COMFYUI_URLS = []
    with pytest.raises(NotOffered):
        ComfyUI()


@pytest.mark.parametrize(
    "url", ["gpu:8188", "ftp://gpu", "http://", "http://gpu:port", "http://gpu/?token=1", "http://[::1"]
)
def test_an_address_that_is_none_is_told_by_its_place_and_not_repeated(url: str) -> None:
    with pytest.raises(NotOffered, match="Address 2") as raised:
        ComfyUI(["http://localhost:8188", url])
    assert url not in str(raised.value).replace("http://host:port", "")


@pytest.mark.parametrize(
    ("urls", "is_real"),
    [
        (["http://127.0.0.1:8188"], False), (["http://localhost", "http://[::1]:8188/"], False),
        (["http://127.0.0.1:8188", "https://gpu.example/comfy"], True), (["http://10.0.0.7:8188"], True),
    ],
)  # fmt: skip
def test_it_is_real_where_a_server_is_elsewhere(urls: list[str], is_real: bool) -> None:
    assert ComfyUI(urls).is_real is is_real


def test_a_server_is_known_by_a_key_that_tells_nothing_and_outlasts_its_password() -> None:
    keys = [
        Server.of(url).key
        for url in ("http://gpu:8188", "http://gpu:8188/", "http://me:secret@gpu:8188", "http://gpu:8189")
    ]
    assert keys[0] == keys[1] == keys[2] != keys[3]
    assert "gpu" not in f"{Server.of('http://me:secret@gpu:8188')}"
    assert "secret" not in Server.of("http://me:secret@gpu:8188").url


# Several servers ------------------------------------------------------------------------------------------------------


def test_the_least_busy_server_is_given_the_job(
    provider: Asked, servers: tuple[ComfyUIStandIn, ComfyUIStandIn]
) -> None:
    one, other = servers
    for _ in range(3):
        submitted(only(one), "[slow 60s]")
    submitted(only(other), "[slow 60s]")
    jobs = [submitted(provider, "[slow 60s]") for _ in range(3)]
    keys = [(job.provider_job_id or "").partition(".")[0] for job in jobs]
    assert keys == [Server.of(other.url).key, Server.of(other.url).key, Server.of(one.url).key]


def test_jobs_that_come_at_once_are_spread(provider: Asked, servers: tuple[ComfyUIStandIn, ComfyUIStandIn]) -> None:
    async def all_at_once() -> list[Accepted]:
        return await asyncio.gather(*(provider.provider.submit(new_job("[slow 60s]")) for _ in range(12)))

    calls.run(all_at_once(), 30)
    counts = [len(server.get("state")["jobs"]) for server in servers]
    assert sum(counts) == 12
    assert min(counts) >= 3, counts


def test_a_server_that_is_down_is_passed_over(servers: tuple[ComfyUIStandIn, ComfyUIStandIn]) -> None:
    provider = Asked(ComfyUI([NOWHERE, servers[1].url]))
    job = submitted(provider)
    assert ended(provider, job).status == "completed"


def test_with_no_server_nothing_is_sent(settings: Any) -> None:
    provider = Asked(ComfyUI([NOWHERE, "http://127.0.0.1:2"]))
    with pytest.raises(TryLater) as raised:
        provider.submit(new_job())
    assert (raised.value.status, raised.value.code) == ("network", "not_connected")
    assert "127.0.0.1" not in f"{raised.value} {raised.value.evidence}"


def test_a_server_that_answers_nonsense_is_passed_over(servers: tuple[ComfyUIStandIn, ComfyUIStandIn]) -> None:
    meddler = Meddler(servers[0].url)
    try:
        for status, body in ((503, b"{}"), (200, b"[]"), (200, b"<html>"), (200, b'{"exec_info": {}}')):
            meddler.clear()
            meddler.spoil("GET", "^/prompt$", Spoil(status=status, body=body))
            provider = Asked(ComfyUI([meddler.url, servers[1].url]))
            assert submitted(provider).provider_job_id.startswith(Server.of(servers[1].url).key)  # type: ignore[union-attr]
            with pytest.raises(TryLater):
                Asked(ComfyUI([meddler.url])).submit(new_job())
    finally:
        meddler.close()


def test_a_server_too_old_to_know_our_ids_is_not_used(tmp_path: Any) -> None:
    old = ComfyUIStandIn(tmp_path, "--version", "0.3.56")
    try:
        with pytest.raises(TryLater) as raised:
            only(old).submit(new_job())
        assert raised.value.code == "too_old"
        assert old.get("state")["submits"] == {}
        old.post("settings", version="v0.3.57-2-gabcdef")
        assert ended(only(old), submitted(only(old))).status == "completed"
    finally:
        old.kill()


def test_the_order_of_the_servers_is_of_no_account_and_a_removed_one_is_a_doubt(
    provider: Asked, servers: tuple[ComfyUIStandIn, ComfyUIStandIn]
) -> None:
    one, other = servers
    job = submitted(only(one), "[slow 60s]")
    assert Asked(ComfyUI([other.url, one.url])).poll(job).status == "in_progress"
    for ask in ("poll", "cancel"):
        with pytest.raises(Unknown) as raised:
            getattr(only(other), ask)(job)
        assert (raised.value.status, raised.value.code) == ("404", "server_removed")


# A submission in doubt ------------------------------------------------------------------------------------------------


def test_a_time_out_after_it_was_accepted_is_found_again_and_not_sent_again(
    provider: Asked, servers: tuple[ComfyUIStandIn, ComfyUIStandIn]
) -> None:
    submitted(only(servers[0]), "[slow 60s]")
    job = new_job("[timeout_after_accept]")
    with pytest.raises(Unknown) as raised:
        provider.submit(job)
    assert raised.value.status == "timeout"
    found = provider.look_up(job)
    assert isinstance(found, Accepted)
    assert found.provider_job_id == f"{Server.of(servers[1].url).key}.{job.id}"
    assert provider.submit(job).provider_job_id == found.provider_job_id
    assert servers[1].submits(job.id) == {"received": 1, "accepted": 1}
    assert servers[0].submits(job.id)["received"] == 0


@pytest.mark.parametrize("word", ["cut_json", "html", "reset"])
def test_a_broken_answer_is_a_doubt_that_the_look_up_ends(
    provider: Asked, servers: tuple[ComfyUIStandIn, ComfyUIStandIn], word: str
) -> None:
    job = new_job(f"[{word}]")
    with pytest.raises(Unknown):
        provider.submit(job)
    found = until(lambda: provider.look_up(job))
    assert ended(provider, replace(job, provider_job_id=found.provider_job_id)).status == "completed"
    assert sum(server.submits(job.id)["received"] for server in servers) == 1


def test_a_job_that_no_server_knows_did_not_arrive_only_where_all_have_said_so(
    servers: tuple[ComfyUIStandIn, ComfyUIStandIn],
) -> None:
    one, other = servers
    job = new_job()
    assert Asked(ComfyUI([one.url, other.url])).look_up(job) is None
    with pytest.raises(Unknown) as raised:
        Asked(ComfyUI([one.url, NOWHERE])).look_up(job)
    assert raised.value.status == "network"
    sent = only(one).submit(job)
    found = Asked(ComfyUI([NOWHERE, one.url])).look_up(job)
    assert found.provider_job_id == sent.provider_job_id


def test_an_id_of_the_servers_own_is_found_by_ours(servers: tuple[ComfyUIStandIn, ComfyUIStandIn]) -> None:
    """As of a proxy that names the jobs itself."""
    meddler = Meddler(servers[0].url)
    theirs = "01234567-89ab-4def-8123-456789abcdef"
    try:
        job = new_job()
        listed = {"queue_running": [[0, theirs, {}, {"holdfast_job": job.id}, []]], "queue_pending": []}
        meddler.spoil("GET", "^/queue$", Spoil(status=200, body=json.dumps(listed).encode()))
        found = Asked(ComfyUI([meddler.url])).look_up(job)
        assert found.provider_job_id == f"{Server.of(meddler.url).key}.{theirs}"
    finally:
        meddler.close()


# Questions ------------------------------------------------------------------------------------------------------------


def test_a_waiting_job_says_how_many_are_before_it(servers: tuple[ComfyUIStandIn, ComfyUIStandIn]) -> None:
    provider = only(servers[0])
    first, *rest = [submitted(provider, "[slow 60s]") for _ in range(3)]
    assert provider.poll(first).status == "in_progress"
    answers = [provider.poll(job) for job in rest]
    assert [(answer.status, answer.progress, answer.evidence["jobs_before"]) for answer in answers] == [
        ("queued", 0, 1),
        ("queued", 0, 2),
    ]


def test_many_questions_about_one_server_are_one_look_at_its_queue(
    servers: tuple[ComfyUIStandIn, ComfyUIStandIn],
) -> None:
    provider = ComfyUI([servers[0].url], queue_fresh_seconds=5.0)
    jobs = [submitted(Asked(provider), "[slow 60s]") for _ in range(20)]
    calls.keep("comfyui-queues", dict).clear()
    before = requests_of(servers[0]).count("GET /queue")

    async def all_at_once() -> list[Answer]:
        return await asyncio.gather(*(provider.poll(job) for job in jobs))

    assert [answer.status for answer in calls.run(all_at_once(), 30)] == ["in_progress"] + ["queued"] * 19
    assert requests_of(servers[0]).count("GET /queue") == before + 1


def test_a_job_that_came_after_the_last_look_at_the_queue_is_not_lost(
    servers: tuple[ComfyUIStandIn, ComfyUIStandIn],
) -> None:
    provider = Asked(ComfyUI([servers[0].url], queue_fresh_seconds=60.0))
    provider.poll(submitted(provider, "[slow 60s]"))
    assert provider.poll(submitted(provider, "[slow 60s]")).status == "queued"


@pytest.mark.parametrize("prompt", ["[silent]", "[slow 60s]"])
def test_what_the_server_has_forgotten_is_a_doubt(servers: tuple[ComfyUIStandIn, ComfyUIStandIn], prompt: str) -> None:
    provider = only(servers[0])
    job = submitted(provider, prompt)
    if prompt != "[silent]":
        servers[0].post("forget")  # as after a restart
    for _ in range(2):
        with pytest.raises(Unknown) as raised:
            provider.poll(job)
        assert (raised.value.status, raised.value.code) == ("404", "not_there")


def test_late_silence_and_its_end(servers: tuple[ComfyUIStandIn, ComfyUIStandIn]) -> None:
    provider = only(servers[0])
    job = submitted(provider, "[late 70m]")
    with pytest.raises(Unknown) as raised:
        provider.poll(job)
    assert raised.value.status == "network"
    servers[0].post("advance", seconds=4201)
    assert provider.poll(job).status == "completed"


def test_a_queue_too_long_to_be_read_is_a_doubt(servers: tuple[ComfyUIStandIn, ComfyUIStandIn]) -> None:
    meddler = Meddler(servers[0].url)
    try:
        provider = Asked(ComfyUI([meddler.url], queue_fresh_seconds=0.0))
        job = submitted(provider)
        meddler.spoil("GET", "^/queue$", Spoil(body=b" " * (comfyui.JSON_BYTES_MAX + 1)))
        with pytest.raises(Unknown) as raised:
            provider.poll(job)
        assert (raised.value.status, raised.value.code) == ("garbage", "too_long")
    finally:
        meddler.close()


# Stopping -------------------------------------------------------------------------------------------------------------


def test_a_running_job_is_interrupted_and_the_next_one_runs(servers: tuple[ComfyUIStandIn, ComfyUIStandIn]) -> None:
    provider = only(servers[0])
    first, second = submitted(provider, "[slow 60s]"), submitted(provider)
    provider.cancel(first)
    answer = provider.poll(first)
    assert (answer.status, answer.message) == ("cancelled", "Stopped while it ran.")
    assert ended(provider, second).status == "completed"
    assert "POST /queue" not in requests_of(servers[0])[-6:]


def test_a_waiting_job_is_taken_out_and_said_to_be_cancelled_because_it_was_asked(
    servers: tuple[ComfyUIStandIn, ComfyUIStandIn],
) -> None:
    provider = only(servers[0])
    running, waiting = submitted(provider, "[slow 60s]"), submitted(provider)
    provider.cancel(waiting)
    assert provider.poll(running).status == "in_progress"
    assert provider.poll(replace(waiting, is_cancel_asked=True)).status == "cancelled"
    with pytest.raises(Unknown):  # to whom nobody said that it was asked, it is as lost as any other
        provider.poll(waiting)
    provider.cancel(waiting)  # nothing is left to stop


def test_an_ended_job_is_not_cancelled_and_its_word_stands(servers: tuple[ComfyUIStandIn, ComfyUIStandIn]) -> None:
    provider = only(servers[0])
    job = submitted(provider)
    assert ended(provider, job).status == "completed"
    with pytest.raises(NotCancellable):
        provider.cancel(job)
    assert provider.poll(replace(job, is_cancel_asked=True)).status == "completed"


def test_a_job_that_begins_while_it_is_asked_about_is_interrupted(
    servers: tuple[ComfyUIStandIn, ComfyUIStandIn],
) -> None:
    """The queue that was seen says that it waits, but it runs by now: the second look sees it."""
    meddler = Meddler(servers[0].url)
    try:
        provider = Asked(ComfyUI([meddler.url], queue_fresh_seconds=0.0))
        job = submitted(provider, "[slow 60s]")
        looks = []

        def swapped(body: bytes, _: dict[str, str]) -> bytes:
            looks.append(1)
            said = json.loads(body)
            if len(looks) == 1:
                said["queue_pending"], said["queue_running"] = said["queue_running"], []
            return json.dumps(said).encode()

        meddler.spoil("GET", "^/queue$", Spoil(body=swapped))
        provider.cancel(job)
        assert len(looks) == 2
        assert provider.poll(job).status == "cancelled"
    finally:
        meddler.close()


# Refusals and failures ------------------------------------------------------------------------------------------------


def test_a_node_error_is_told_by_its_node_and_input(provider: Asked) -> None:
    graph = graphs.shipped("ai/image")
    graph["5"]["inputs"]["steps"] = 0
    with pytest.raises(Refused) as raised:
        provider.submit(new_job(graph=graph))
    assert (raised.value.status, raised.value.code) == ("400", "invalid_request")
    assert raised.value.message == "KSampler (node 5): The value 0 is below 1: steps."


def test_a_model_that_the_server_does_not_have_is_told_without_naming_those_that_it_has(provider: Asked) -> None:
    graph = graphs.shipped("ai/image")
    graph["1"]["inputs"]["ckpt_name"] = "/srv/models/private/mine.safetensors"
    with pytest.raises(Refused) as raised:
        provider.submit(new_job(graph=graph))
    assert raised.value.message == "CheckpointLoaderSimple (node 1): The value is not in the list: ckpt_name."


def test_a_node_that_is_not_installed_is_told(provider: Asked) -> None:
    graph = graphs.shipped("ai/image")
    graph["6"]["class_type"] = "TheirDecoder"
    with pytest.raises(Refused, match="TheirDecoder") as raised:
        provider.submit(new_job(graph=graph))
    assert raised.value.code == "invalid_request"


def test_a_graph_that_cannot_be_filled_is_not_sent(
    provider: Asked, servers: tuple[ComfyUIStandIn, ComfyUIStandIn]
) -> None:
    graph = graphs.shipped("ai/image")
    graph["5"]["inputs"]["seed"] = "{{sead}}"
    job = new_job(graph=graph)
    with pytest.raises(Refused, match="sead") as raised:
        provider.submit(job)
    assert (raised.value.status, raised.value.code) == ("422", "invalid_graph")
    assert all(server.submits(job.id)["received"] == 0 for server in servers)


def entry_of(*messages: Any, status: str = "success", outputs: Any = None) -> dict[str, Any]:
    return {
        "prompt": [0, JOB_ID, {"2": {}, "7": {}}, {}, ["7"]],
        "outputs": outputs or {},
        "status": {"status_str": status, "completed": status == "success", "messages": list(messages)},
    }


def raised_in(kind: str, message: str) -> list[Any]:
    about = {"node_id": "5", "node_type": "KSampler", "exception_type": kind, "exception_message": message}
    return ["execution_error", about]


@pytest.mark.parametrize(
    ("kind", "message", "code", "said"),
    [
        (
            "torch.OutOfMemoryError",
            "Allocation on device 0\n",
            "out_of_memory",
            "ran out of memory in KSampler (node 5)",
        ),
        ("torch.cuda.OutOfMemoryError", "CUDA out of memory.", "out_of_memory", "ran out of memory"),
        ("RuntimeError", "CUDA error: out of memory", "out_of_memory", "ran out of memory"),
        (
            "RuntimeError",
            "mat1 and mat2 differ\nmore",
            "RuntimeError",
            "KSampler (node 5) failed: mat1 and mat2 differ",
        ),
        ("builtins.FileNotFoundError", "No such file: /srv/models/x/y.pt", "FileNotFoundError", "No such file: …"),
        ("", "", "execution_error", "KSampler (node 5) failed: execution_error"),
        ("their.nodes.ModerationBlocked", "Not this.", "ModerationBlocked", "failed: Not this."),
    ],
)
def test_an_exception_becomes_a_code_and_a_sentence(kind: str, message: str, code: str, said: str) -> None:
    answer = comfyui._end(entry_of(raised_in(kind, message), status="error"), "ai/image")
    assert (answer.status, answer.code) == ("failed", code)
    assert said in (answer.message or "")
    assert "/srv" not in (answer.message or "")
    assert answer.evidence["node_type"] == "KSampler"


@pytest.mark.parametrize(
    ("entry", "status"),
    [
        (entry_of(["execution_success", {}]), "completed"),
        (entry_of(), "completed"),
        (entry_of(status="error"), "failed"),
        (entry_of(["execution_interrupted", {}], status="error"), "cancelled"),
        # The status word is carried over from the job before, where a job ran no node of its own …
        (entry_of(["execution_success", {}], status="error"), "completed"),
        # … and says success where the nodes take from each other in a circle.
        (entry_of(raised_in("DependencyCycleError", "in a circle"), status="success"), "failed"),
        (entry_of(["execution_start", {}], ["odd"], "odd", ["execution_cached", []], status="error"), "failed"),
        (entry_of(status="transmogrified"), "transmogrified"),
    ],
)
def test_the_end_of_a_job_is_read_from_its_own_record(entry: dict[str, Any], status: str) -> None:
    assert comfyui._end(entry, "ai/image").status == status


@pytest.mark.parametrize("status", [None, {}, "success", {"status_str": None}, {"status_str": 7}])
def test_a_history_without_an_end_is_a_doubt(status: Any) -> None:
    with pytest.raises(Unknown):
        comfyui._end(entry_of() | {"status": status}, "ai/image")


def test_what_the_server_says_of_a_failure_is_what_the_job_is_told(
    servers: tuple[ComfyUIStandIn, ComfyUIStandIn],
) -> None:
    provider = only(servers[0])
    assert ended(provider, submitted(provider, "[out_of_memory]")).code == "out_of_memory"
    assert ended(provider, submitted(provider, "[failed their.Trouble]")).code == "Trouble"


# Outputs --------------------------------------------------------------------------------------------------------------


def saved(name: str = "a.png", folder: Any = "", kind: str = "output") -> dict[str, Any]:
    return {"filename": name, "subfolder": folder, "type": kind}


@pytest.mark.parametrize(
    ("operation", "outputs_said", "name"),
    [
        ("ai/image", {"7": {"images": [saved()]}}, "a.png"),
        ("ai/image", {"7": {"images": [saved("t.png", kind="temp"), saved("b.webp")]}}, "b.webp"),
        ("ai/image", {"9": {"images": [saved("z.png")]}, "7": {"images": [saved("b.png")]}}, "b.png"),
        ("ai/image", {"7": {"images": [saved("b.png")]}, "2": {"images": [saved("first.jpg")]}}, "first.jpg"),
        ("ai/video", {"7": {"images": [saved("a.mp4")], "animated": [True]}}, "a.mp4"),
        ("ai/video", {"7": {"gifs": [saved("a.webm") | {"format": "video/webm", "fullpath": "/x"}]}}, "a.webm"),
        ("ai/video", {"7": {"videos": [saved("A.MP4")]}}, "A.MP4"),
        ("ai/video", {"7": {"images": [saved("poster.png"), saved("a.mp4")]}}, "a.mp4"),
        ("ai/video", {"7": {"images": [saved("a.png")]}}, None),
        ("ai/video", {"7": {"images": [saved("a.mp4", kind="input")]}}, None),
        ("ai/video", {"7": {"images": [saved("a.svg"), saved("a.html"), saved("a.gif")]}}, None),
        ("ai/image", {"7": {"images": [saved("x" * 300 + ".png")]}}, None),
        (
            "ai/image",
            {"7": {"images": [saved(folder=7), saved("\ud800.png"), "a.png", None, {"type": "output"}]}},
            None,
        ),
        ("ai/image", {"7": {"images": "a.png", "text": ["a.png"]}, "8": None}, None),
        ("ai/image", [], None),
    ],
)
def test_the_first_file_that_the_operation_delivers_is_taken(
    operation: str, outputs_said: Any, name: str | None
) -> None:
    found = comfyui._output_in(entry_of(outputs=outputs_said), operation)
    assert (found["filename"] if found else None) == name


def fetched(provider: Asked, job: Job, answer: Answer) -> tuple[bytes, str]:
    into = io.BytesIO()
    return into.getvalue(), provider.fetch(job, answer, into, 10_000_000, 10.0)


def test_the_output_is_fetched_after_a_restart_too(
    servers: tuple[ComfyUIStandIn, ComfyUIStandIn], tmp_path: Any
) -> None:
    provider = only(servers[0])
    job = submitted(provider, operation="ai/video")
    answer = ended(provider, job)
    servers[0].post("forget")
    with (tmp_path / "output").open("wb") as into:
        assert provider.fetch(job, answer, into, 10_000_000, 10.0) == "video/mp4"
    assert outputs.probe(tmp_path / "output").seconds == 1.0
    with pytest.raises(OutputUnavailable):  # without the record of its end there is nothing left to go by
        fetched(provider, job, Answer("completed"))


@pytest.mark.parametrize("name", ["../../etc/passwd.png", "/etc/passwd.png", "a b&type=temp#.png", "nothing.png"])
def test_a_name_that_plays_tricks_stays_a_name(servers: tuple[ComfyUIStandIn, ComfyUIStandIn], name: str) -> None:
    meddler = Meddler(servers[0].url)
    try:
        provider = Asked(ComfyUI([meddler.url], queue_fresh_seconds=0.0))
        job = submitted(provider)
        ended(provider, job)
        told = {job.id: entry_of(outputs={"7": {"images": [saved(name)]}})}
        meddler.spoil("GET", "^/history/", Spoil(body=json.dumps(told).encode()))
        answer = provider.poll(job)
        assert answer.evidence["output"]["filename"] == name
        with pytest.raises(OutputUnavailable) as raised:
            fetched(provider, job, answer)
        assert raised.value.code == "output_missing"
        assert meddler.seen[-1][1].startswith("/view?filename=")
        assert meddler.seen[-1][1].count("&") == 2
    finally:
        meddler.close()


def test_a_page_of_html_is_no_output(servers: tuple[ComfyUIStandIn, ComfyUIStandIn]) -> None:
    meddler = Meddler(servers[0].url)
    try:
        provider = Asked(ComfyUI([meddler.url], queue_fresh_seconds=0.0))
        job = submitted(provider)
        answer = ended(provider, job)
        meddler.spoil("GET", "^/view$", Spoil(headers={"Content-Type": "text/html"}, body=b"<html>Sign in"))
        with pytest.raises(Unknown) as raised:
            fetched(provider, job, answer)
        assert raised.value.status == "garbage"
    finally:
        meddler.close()


def test_a_graph_of_the_staffs_own_is_run(provider: Asked, tmp_path: Any) -> None:
    graph = graphs.shipped("ai/video")
    saver = {"images": ["11", 0], "filename_prefix": "{{file_name}}", "codec": "vp9", "fps": 24.0, "crf": 32.0}
    graph["13"] = {"class_type": "SaveWEBM", "inputs": saver}
    job = submitted(provider, operation="ai/video", graph=graph)
    with (tmp_path / "output").open("wb") as into:
        assert provider.fetch(job, ended(provider, job), into, 10_000_000, 10.0) == "video/webm"
    assert outputs.probe(tmp_path / "output").content_type == "video/webm"


def test_a_graph_that_saves_nothing_to_deliver_ends_without_an_output(provider: Asked) -> None:
    graph = graphs.shipped("ai/image")
    graph["7"] = {"class_type": "PreviewImage", "inputs": {"images": ["6", 0]}}
    job = submitted(provider, graph=graph)
    answer = ended(provider, job)
    assert answer.status == "completed"
    with pytest.raises(OutputUnavailable):
        fetched(provider, job, answer)


@pytest.mark.parametrize(
    ("inputs", "size"),
    [
        ({"size": "1024x1536", "quality": "draft"}, (1024, 1536)),
        ({"size": "1536x1024", "quality": "standard"}, (1536, 1024)),
    ],
)
def test_a_picture_has_the_size_that_was_asked_for(
    provider: Asked, tmp_path: Any, inputs: dict[str, Any], size: tuple[int, int]
) -> None:
    job = new_job()
    job = replace(job, inputs=job.inputs | inputs)
    job = replace(job, provider_job_id=provider.submit(job).provider_job_id)
    with (tmp_path / "output").open("wb") as into:
        provider.fetch(job, ended(provider, job), into, 10_000_000, 10.0)
    probe = outputs.probe(tmp_path / "output")
    assert (probe.width, probe.height) == size


@pytest.mark.parametrize("seconds", [1, 3])
@pytest.mark.parametrize("size", ["854x480", "720x1280"])
def test_a_film_has_exactly_the_length_and_size_that_were_asked_for(
    provider: Asked, tmp_path: Any, seconds: int, size: str
) -> None:
    job = new_job(operation="ai/video")
    job = replace(job, inputs=job.inputs | {"seconds": seconds, "size": size})
    job = replace(job, provider_job_id=provider.submit(job).provider_job_id)
    with (tmp_path / "output").open("wb") as into:
        provider.fetch(job, ended(provider, job), into, 10_000_000, 10.0)
    probe = outputs.probe(tmp_path / "output")
    assert (probe.seconds, f"{probe.width}x{probe.height}") == (float(seconds), size)


def test_no_address_of_a_server_is_told_anywhere(
    servers: tuple[ComfyUIStandIn, ComfyUIStandIn], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    provider = only(servers[0])
    job = submitted(provider)
    answer = ended(provider, job)
    told = f"{job} {answer} {provider.look_up(job)} {caplog.text}"
    assert servers[0].url not in told
    assert str(servers[0].port) not in told
