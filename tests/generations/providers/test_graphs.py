"""The shipped graphs, what a job may change in one (values alone), and what staff are told of a wrong one."""

import json
from typing import Any

import pytest

from generations.providers import graphs
from generations.providers.stand_ins import comfyui as stand_in
from tests.generations.providers.test_contract import EVIL

JOB = "019e0000-0000-7000-8000-000000000001"
VIDEO = {"prompt": "A lighthouse", "seconds": 3, "size": "854x480", "quality": "draft"}
IMAGE = {"prompt": "A lighthouse", "size": "1536x1024", "quality": "high"}


def values_of(graph: dict[str, Any]) -> list[Any]:
    return [value for node in graph.values() for value in node["inputs"].values()]


@pytest.mark.parametrize(("operation", "inputs"), [("ai/video", VIDEO), ("ai/image", IMAGE)])
def test_a_shipped_graph_is_complete_and_made_of_nodes_that_there_are(operation: str, inputs: dict[str, Any]) -> None:
    graph = graphs.shipped(operation)
    assert graphs.check_graph(operation, graph) == []
    filled = graphs.fill(graph, inputs, JOB)
    good, errors = stand_in.validate(filled)
    assert (len(good), errors) == (1, {})
    assert not any("{{" in value for value in values_of(filled) if isinstance(value, str))


@pytest.mark.parametrize("prompt", [*EVIL, '", "8": {"class_type": "Evil"}, "x": "', "{{seed}}", "{{prompt}}", "]]}}"])
def test_no_prompt_changes_more_than_its_own_value(prompt: str) -> None:
    graph = graphs.shipped("ai/video")
    usual, evil = (
        json.loads(json.dumps(graphs.fill(graph, VIDEO | {"prompt": text}, JOB))) for text in ("A lighthouse", prompt)
    )
    sent = evil["5"]["inputs"].pop("text")
    assert usual["5"]["inputs"].pop("text") == "A lighthouse"
    assert evil == usual
    assert sent == prompt.replace("\x00", "\ufffd").replace("\ud800", "\ufffd")
    assert graph == graphs.shipped("ai/video")


@pytest.mark.parametrize(
    ("placeholder", "value"),
    [
        ("prompt", "A lighthouse"), ("width", 854), ("height", 480), ("width_32", 864), ("height_32", 480),
        ("steps", 12), ("seconds", 3), ("frames_24", 72), ("frames_24_and_1", 73), ("frames_16_and_1", 49),
        ("frames_8", 24), ("file_name", f"holdfast/{JOB}"),
    ],
)  # fmt: skip
def test_each_placeholder_has_its_value_and_numbers_stay_numbers(placeholder: str, value: str | int) -> None:
    graph = {"1": {"class_type": "X", "inputs": {"a": f"{{{{{placeholder}}}}}", "b": ["1", 0], "c": 1.5}}}
    filled = graphs.fill(graph, VIDEO, JOB)["1"]["inputs"]
    assert filled == {"a": value, "b": ["1", 0], "c": 1.5}
    assert type(filled["a"]) is type(value)


def test_the_seed_belongs_to_the_job() -> None:
    graph = {"1": {"class_type": "X", "inputs": {"seed": "{{seed}}"}}}
    seeds = [graphs.fill(graph, VIDEO, job)["1"]["inputs"]["seed"] for job in (JOB, JOB, JOB[:-1] + "2")]
    assert seeds[0] == seeds[1] != seeds[2]
    assert all(0 <= seed < 2**53 for seed in seeds)


@pytest.mark.parametrize(
    ("placeholder", "inputs"),
    [("colour", VIDEO), ("seconds", IMAGE), ("frames_999", VIDEO), ("width", {}), ("steps", {"quality": "best"})],
)
def test_a_placeholder_without_a_value_is_refused_by_name(placeholder: str, inputs: dict[str, Any]) -> None:
    graph = {"1": {"class_type": "X", "inputs": {"a": f"{{{{{placeholder}}}}}"}}}
    with pytest.raises(ValueError, match=placeholder):
        graphs.fill(graph, inputs, JOB)


def edited(operation: str = "ai/video", **inputs: Any) -> dict[str, Any]:
    """The shipped graph with other inputs of its text node, or `node__input` of another."""
    graph = graphs.shipped(operation)
    for name, value in inputs.items():
        node, _, one = name.removeprefix("n").partition("__")
        graph[node]["inputs"][one] = value
    return graph


@pytest.mark.parametrize(
    ("operation", "graph", "said"),
    [
        ("ai/video", None, "A graph is an object of nodes"),
        ("ai/video", [], "A graph is an object of nodes"),
        ("ai/video", {}, "A graph is an object of nodes"),
        ("ai/video", {"nodes": [], "links": []}, "Export (API)"),
        ("ai/video", {"1": {"inputs": {}}}, "Node 1 needs a “class_type”"),
        ("ai/video", {"1": {"class_type": "X"}}, "Node 1 needs a “class_type”"),
        ("ai/video", {str(n): {"class_type": "X", "inputs": {}} for n in range(501)}, "at most 500 nodes"),
        ("ai/video", edited(n6__text="x" * 300_000), "at most 262144 bytes"),
        ("ai/video", edited(n8__cfg=float("nan")), "cannot be written as JSON"),
        ("ai/video", edited(n8__model=["99", 0]), "from node 99, which is not there"),
        ("ai/video", edited(n8__seed="{{sead}}"), "{{sead}}, which does not exist"),
        ("ai/video", edited(n5__text="A film: {{prompt}}"), "{{prompt}} within a longer text"),
        ("ai/video", edited(n5__text="A film: {{prompt}}"), "No node takes {{prompt}}"),
        ("ai/video", edited(n5__text="A film"), "No node takes {{prompt}}"),
        ("ai/image", edited("ai/image", n5__steps="{{frames_24}}"), "which only a video has"),
        ("ai/video", graphs.shipped("ai/image"), "No node saves a video, only SaveImage (node 7)"),
        ("ai/image", {"1": {"class_type": "X", "inputs": {"text": "{{prompt}}"}}}, "No node saves a file"),
    ],
)
def test_what_is_wrong_with_a_graph_is_said_in_a_sentence(operation: str, graph: Any, said: str) -> None:
    sentences = graphs.check_graph(operation, graph)
    assert any(said in sentence for sentence in sentences), sentences
    assert all(sentence.endswith(".") for sentence in sentences)


def test_nodes_of_other_people_are_not_judged() -> None:
    graph = graphs.shipped("ai/video") | {
        "13": {"class_type": "TheirSaver", "inputs": {"images": ["9", 0], "filename_prefix": "{{file_name}}"}}
    }
    assert graphs.check_graph("ai/video", graph) == []
