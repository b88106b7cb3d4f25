"""The stand-in by itself, driven as ComfyUI's own examples drive a ComfyUI: a prompt posted, its history, its files."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from generations import outputs
from generations.providers import graphs
from tests.generations.providers.benches import ComfyUIStandIn
from tests.generations.providers.conftest import until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyUIStandIn]:
    running = ComfyUIStandIn(tmp_path_factory.mktemp("comfyui"), "--seconds", "0.2")
    yield running
    running.kill()


@pytest.fixture
def http(server: ComfyUIStandIn) -> Iterator[httpx.Client]:
    server.post("forget")
    with httpx.Client(base_url=server.url) as client:
        yield client


def image(prompt: str = "A lighthouse") -> dict[str, Any]:
    inputs = {"prompt": prompt, "size": "1024x1024", "quality": "draft"}
    return graphs.fill(graphs.shipped("ai/image"), inputs, str(uuid.uuid4()))


def posted(http: httpx.Client, graph: dict[str, Any], **more: Any) -> str:
    answered = http.post("/prompt", json={"prompt": graph, "client_id": "somebody"} | more)
    assert answered.status_code == 200, answered.text
    assert answered.json().keys() == {"prompt_id", "number", "node_errors"}
    found: str = answered.json()["prompt_id"]
    return found


def ended(http: httpx.Client, prompt_id: str) -> dict[str, Any]:
    """The job's entry in the history, once it is there."""
    found: dict[str, Any] = until(lambda: http.get(f"/history/{prompt_id}").json().get(prompt_id))
    return found


def test_a_prompt_is_queued_runs_and_leaves_its_file(http: httpx.Client, tmp_path: Path) -> None:
    prompt_id = posted(http, image())
    assert http.get(f"/history/{prompt_id}").json() == {}
    entry = ended(http, prompt_id)
    assert entry.keys() == {"prompt", "outputs", "status", "meta"}
    assert entry["status"]["status_str"] == "success"
    assert entry["status"]["completed"] is True
    events = [name for name, _ in entry["status"]["messages"]]
    assert events == ["execution_start", "execution_cached", "execution_success"]
    assert entry["prompt"][1] == prompt_id
    (shown,) = entry["outputs"]["7"]["images"]
    assert shown.keys() == {"filename", "subfolder", "type"}
    file = http.get("/view", params=shown)
    assert (file.status_code, file.headers["Content-Type"]) == (200, "image/png")
    (tmp_path / "file").write_bytes(file.content)
    probe = outputs.probe(tmp_path / "file")
    assert (probe.content_type, probe.width, probe.height) == ("image/png", 1024, 1024)


@pytest.mark.parametrize(("ending", "kind"), [("mp4", "video/mp4"), ("webm", "video/webm")])
def test_a_film_is_shown_among_the_images_and_said_to_be_animated(
    http: httpx.Client, tmp_path: Path, ending: str, kind: str
) -> None:
    inputs = {"prompt": "A lighthouse", "seconds": 2, "size": "640x360", "quality": "draft"}
    graph = graphs.fill(graphs.shipped("ai/video"), inputs, str(uuid.uuid4()))
    if ending == "webm":
        saver = {"images": ["11", 0], "filename_prefix": "a/b", "codec": "vp9", "fps": 24.0, "crf": 32.0}
        graph["13"] = {"class_type": "SaveWEBM", "inputs": saver}
    found = ended(http, posted(http, graph))["outputs"]["13"]
    assert found["animated"] == [True]
    assert found["images"][0]["filename"].endswith(f"_00001_.{ending}")
    (tmp_path / "file").write_bytes(http.get("/view", params=found["images"][0]).content)
    probe = outputs.probe(tmp_path / "file")
    assert (probe.content_type, probe.width, probe.height) == (kind, 640, 360)
    assert probe.seconds == pytest.approx(2.0, abs=0.01)


def test_the_queue_lists_number_id_graph_extra_data_and_outputs(http: httpx.Client) -> None:
    first = posted(http, image("[slow 60s]"), extra_data={"mine": "yes"})
    second = posted(http, image())
    said = http.get("/queue").json()
    assert said.keys() == {"queue_running", "queue_pending"}
    ((number, prompt_id, graph, extra, saves),) = said["queue_running"]
    assert (number, prompt_id, saves) == (0.0, first, ["7"])
    assert graph["7"]["class_type"] == "SaveImage"
    assert extra["mine"] == "yes"
    assert extra["client_id"] == "somebody"
    assert isinstance(extra["create_time"], int)
    assert [item[1] for item in said["queue_pending"]] == [second]
    assert http.get("/prompt").json() == {"exec_info": {"queue_remaining": 2}}
    assert http.get("/api/queue").json() == said


def test_a_client_names_its_job_and_a_second_one_of_that_name_is_not_refused(
    http: httpx.Client, server: ComfyUIStandIn
) -> None:
    mine = str(uuid.uuid4())
    assert posted(http, image(), prompt_id=mine) == mine
    assert posted(http, image(), prompt_id=mine) == mine
    assert server.submits(mine) == {"received": 2, "accepted": 2}


@pytest.mark.parametrize(
    "prompt_id", ["x", "0D57E318-5952-450B-AAA9-2F64353ACB4F", "0d57e3185952450baaa92f64353acb4f", 7, ["a"]]
)
def test_a_name_that_is_no_canonical_uuid_is_refused(http: httpx.Client, prompt_id: Any) -> None:
    answered = http.post("/prompt", json={"prompt": image(), "prompt_id": prompt_id})
    assert (answered.status_code, answered.json()["error"]["type"]) == (400, "invalid_prompt_id")
    assert answered.json()["node_errors"] == {}


@pytest.mark.parametrize(
    ("graph", "kind"),
    [
        ({}, "prompt_no_outputs"),
        ({"1": {"inputs": {}}}, "missing_node_type"),
        ({"1": {"class_type": "NotInstalled", "inputs": {}}}, "missing_node_type"),
        ({"1": {"class_type": "VAELoader", "inputs": {"vae_name": "wan2.2_vae.safetensors"}}}, "prompt_no_outputs"),
    ],
)
def test_a_graph_that_is_none_is_refused_as_a_whole(http: httpx.Client, graph: dict[str, Any], kind: str) -> None:
    answered = http.post("/prompt", json={"prompt": graph})
    assert answered.status_code == 400
    assert answered.json()["error"].keys() == {"type", "message", "details", "extra_info"}
    assert (answered.json()["error"]["type"], answered.json()["node_errors"]) == (kind, {})


@pytest.mark.parametrize(
    ("node", "inputs", "kind"),
    [
        ("5", {"steps": 0}, "value_smaller_than_min"),
        ("5", {"cfg": 101}, "value_bigger_than_max"),
        ("5", {"seed": "x"}, "invalid_input_type"),
        ("5", {"sampler_name": "magic"}, "value_not_in_list"),
        ("1", {"ckpt_name": "elsewhere.safetensors"}, "value_not_in_list"),
        ("5", {"model": ["4", 0]}, "return_type_mismatch"),
        ("5", {"model": ["4"]}, "bad_linked_input"),
        ("5", {"model": ["99", 0]}, "exception_during_validation"),
        ("5", {"stepps": 3}, "unknown_input"),
        ("6", {"samples": ["2", 0]}, "return_type_mismatch"),
    ],
)
def test_what_is_wrong_with_a_node_is_said_of_that_node(
    http: httpx.Client, node: str, inputs: dict[str, Any], kind: str
) -> None:
    graph = image()
    graph[node]["inputs"] |= inputs
    answered = http.post("/prompt", json={"prompt": graph})
    said = answered.json()
    assert (answered.status_code, said["error"]["type"]) == (400, "prompt_outputs_failed_validation")
    about = said["node_errors"][node]
    assert about.keys() == {"errors", "dependent_outputs", "class_type"}
    assert about["dependent_outputs"] == ["7"]
    assert [one["type"] for one in about["errors"]] == [kind]
    assert about["errors"][0].keys() == {"type", "message", "details", "extra_info"}
    assert about["errors"][0]["extra_info"]["input_name"] == next(iter(inputs))


def test_nodes_in_a_circle_are_refused(http: httpx.Client) -> None:
    graph = image() | {"8": {"class_type": "ImageFromBatch", "inputs": {"batch_index": 0, "length": 1}}}
    scale = {"image": ["8", 0], "upscale_method": "area", "width": 64, "height": 64, "crop": "center"}
    graph["9"] = {"class_type": "ImageScale", "inputs": scale}
    graph["8"]["inputs"]["image"] = ["9", 0]
    graph["7"]["inputs"]["images"] = ["8", 0]
    said = http.post("/prompt", json={"prompt": graph}).json()
    assert "dependency_cycle" in [one["type"] for about in said["node_errors"].values() for one in about["errors"]]


def test_a_missing_input_is_named(http: httpx.Client) -> None:
    graph = image()
    del graph["5"]["inputs"]["steps"]
    (wrong,) = http.post("/prompt", json={"prompt": graph}).json()["node_errors"]["5"]["errors"]
    assert (wrong["type"], wrong["details"]) == ("required_input_missing", "steps")


def test_an_output_that_cannot_be_made_is_left_out_where_another_can(http: httpx.Client) -> None:
    graph = image() | {"8": {"class_type": "SaveImage", "inputs": {"images": ["6", 3], "filename_prefix": "x"}}}
    answered = http.post("/prompt", json={"prompt": graph})
    assert answered.status_code == 200
    assert answered.json()["node_errors"].keys() == {"8"}
    assert ended(http, answered.json()["prompt_id"])["outputs"].keys() == {"7"}


def test_unknown_fields_and_a_missing_header_are_refused(http: httpx.Client) -> None:
    answered = http.post("/prompt", json={"prompt": image(), "colour": "red"})
    assert (answered.status_code, answered.json()["error"]["type"]) == (400, "unknown_field")
    assert http.post("/prompt", content=json.dumps({"prompt": image()})).status_code == 415
    assert http.post("/prompt", json={"client_id": "x"}).json()["error"]["type"] == "no_prompt"
    assert http.post("/prompt", json=[]).status_code == 500
    assert http.post("/prompt", content=b"{", headers={"Content-Type": "application/json"}).status_code == 500
    assert http.get("/nothing").status_code == 404


def test_only_the_job_that_is_named_is_interrupted(http: httpx.Client) -> None:
    running, waiting = posted(http, image("[slow 60s]")), posted(http, image())
    assert http.post("/interrupt", json={"prompt_id": waiting}).status_code == 200
    assert [item[1] for item in http.get("/queue").json()["queue_running"]] == [running]
    assert http.post("/interrupt", json={"prompt_id": running}).status_code == 200
    entry = ended(http, running)
    assert entry["status"]["status_str"] == "error"
    assert entry["status"]["completed"] is False
    name, about = entry["status"]["messages"][-1]
    assert name == "execution_interrupted"
    assert {"prompt_id", "node_id", "node_type", "executed", "timestamp"} <= about.keys()
    assert entry["outputs"] == {}
    assert ended(http, waiting)["status"]["status_str"] == "success"


def test_an_interrupt_without_a_name_stops_whatever_runs(http: httpx.Client) -> None:
    running = posted(http, image("[slow 60s]"))
    http.get("/queue")
    http.post("/interrupt", json={})
    assert ended(http, running)["status"]["messages"][-1][0] == "execution_interrupted"


def test_what_is_taken_out_of_the_queue_leaves_no_trace(http: httpx.Client) -> None:
    running, waiting = posted(http, image("[slow 60s]")), posted(http, image())
    assert http.post("/queue", json={"delete": [waiting, running]}).status_code == 200
    said = http.get("/queue").json()
    assert [item[1] for item in said["queue_running"]] == [running]
    assert said["queue_pending"] == []
    assert http.get(f"/history/{waiting}").json() == {}


def test_an_exception_is_told_with_its_kind_and_its_node(http: httpx.Client) -> None:
    entry = ended(http, posted(http, image("[out_of_memory]")))
    assert (entry["status"]["status_str"], entry["status"]["completed"]) == ("error", False)
    name, about = entry["status"]["messages"][-1]
    assert (name, about["exception_type"], about["node_type"]) == (
        "execution_error",
        "torch.OutOfMemoryError",
        "SaveImage",
    )
    assert {"exception_message", "traceback", "current_inputs", "current_outputs", "node_id"} <= about.keys()


def test_a_restart_forgets_the_jobs_and_keeps_the_files(http: httpx.Client, server: ComfyUIStandIn) -> None:
    prompt_id = posted(http, image())
    (shown,) = ended(http, prompt_id)["outputs"]["7"]["images"]
    posted(http, image("[slow 60s]"))
    server.post("forget")
    assert http.get("/queue").json() == {"queue_running": [], "queue_pending": []}
    assert http.get("/history").json() == {}
    assert http.get("/view", params=shown).status_code == 200


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({}, 404), ({"filename": ""}, 400), ({"filename": "nothing.png"}, 404),
        ({"filename": "/etc/passwd"}, 400), ({"filename": "../../etc/passwd"}, 400),
        ({"filename": "passwd", "subfolder": "../../../etc"}, 403),
        ({"filename": "passwd", "subfolder": "/etc"}, 404), ({"filename": "a.png", "type": "elsewhere"}, 400),
    ],
)  # fmt: skip
def test_a_view_shows_saved_files_and_no_others(http: httpx.Client, params: dict[str, str], status: int) -> None:
    assert http.get("/view", params=params).status_code == status


def test_the_stats_name_the_version(http: httpx.Client) -> None:
    said = http.get("/system_stats").json()
    assert said.keys() == {"system", "devices"}
    assert said["system"]["comfyui_version"].count(".") == 2


@pytest.mark.parametrize("word", ["cut_json", "html", "reset"])
def test_a_broken_answer_to_a_submission_comes_after_it_was_accepted(
    http: httpx.Client, server: ComfyUIStandIn, word: str
) -> None:
    mine = str(uuid.uuid4())
    body = {"prompt": image(f"[{word}]"), "prompt_id": mine}
    if word == "reset":
        with pytest.raises(httpx.TransportError):
            http.post("/prompt", json=body)
    else:
        answered = http.post("/prompt", json=body)
        assert answered.status_code == 200
        with pytest.raises(json.JSONDecodeError):
            answered.json()
    assert server.submits(mine) == {"received": 1, "accepted": 1}
    assert ended(http, mine)["status"]["status_str"] == "success"
