"""Graphs for ComfyUI: the shipped ones (in its API format), what can be wrong with one, and how a job fills one.

A placeholder is a whole value of a node's input, such as "{{prompt}}"; within a longer text it is not one. Pure,
without Django.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

NODES_MAX = 500
BYTES_MAX = 256 * 1024
FPS_MAX = 120
STEPS = {"draft": 12, "standard": 24, "high": 36}

# What may stand in a graph, each with a sentence for the staff who write one.
PLACEHOLDERS = {
    "prompt": "What the person wrote.",
    "width": "The width asked for, in pixels.",
    "height": "The height asked for, in pixels.",
    "width_32": "The width, rounded up to a multiple of 32.",
    "height_32": "The height, rounded up to a multiple of 32.",
    "steps": f"Sampling steps by the quality asked for: {', '.join(f'{name} {n}' for name, n in STEPS.items())}.",
    "seed": "A whole number that belongs to the job.",
    "file_name": "Where the output is saved: a folder of ours and the job's id.",
    "seconds": "The length asked for, in seconds.",
    "frames_24": "So many frames as the length has at 24 frames a second; any other rate from 1 to 120 likewise.",
    "frames_24_and_1": "The same and one more, as many video models need.",
}
VIDEO_ONLY = frozenset({"seconds", "frames_24", "frames_24_and_1"})

# Nodes that save a file and are known to make one kind only. Others may make anything.
SAVES = {
    "SaveImage": "image", "SaveAnimatedPNG": "image", "SaveAnimatedWEBP": "image",
    "SaveVideo": "video", "SaveWEBM": "video", "VHS_VideoCombine": "video",
}  # fmt: skip

_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]{1,60}?)\s*\}\}")
_FRAMES = re.compile(r"frames_([1-9][0-9]{0,2})(_and_1)?", re.ASCII)
_SIZE = re.compile(r"([1-9][0-9]{1,4})x([1-9][0-9]{1,4})", re.ASCII)
_UNSENDABLE = re.compile("[\x00\ud800-\udfff]")


@cache
def _read(operation: str) -> str:
    return (Path(__file__).parent / f"{operation.replace('/', '-')}.json").read_text("utf-8")


def shipped(operation: str) -> dict[str, Any]:
    """The graph that is used for the operation where staff put no other in its place. Raises OSError without one."""
    graph: dict[str, Any] = json.loads(_read(operation))
    return graph


def fill(graph: Mapping[str, Any], inputs: Mapping[str, Any], job_id: str) -> dict[str, Any]:
    """The graph with each placeholder's value in its place; nothing else in it differs, whatever the inputs are.

    Raises ValueError, with a sentence, for a placeholder that there is no value for.
    """
    filled = {}
    for node_id, node in graph.items():
        if not isinstance(node, Mapping) or not isinstance(node.get("inputs"), Mapping):
            raise ValueError(f"Node {node_id} of the graph has no inputs.")
        given = {name: _filled(value, inputs, job_id) for name, value in node["inputs"].items()}
        filled[str(node_id)] = {**node, "inputs": given}
    return filled


def _filled(value: Any, inputs: Mapping[str, Any], job_id: str) -> Any:
    if isinstance(value, str) and (found := _PLACEHOLDER.fullmatch(value)):
        return _value(found[1], inputs, job_id)
    if isinstance(value, list):
        return [_filled(part, inputs, job_id) for part in value]
    if isinstance(value, Mapping):
        return {name: _filled(part, inputs, job_id) for name, part in value.items()}
    return value


def _value(name: str, inputs: Mapping[str, Any], job_id: str) -> str | int:
    if name == "prompt" and isinstance(inputs.get("prompt"), str):
        return _UNSENDABLE.sub("\ufffd", inputs["prompt"])
    if name == "seed":
        return int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:7]) >> 3  # below 2^53: exact in JavaScript too
    if name == "file_name":
        return f"holdfast/{job_id}"
    if name == "steps" and inputs.get("quality") in STEPS:
        return STEPS[inputs["quality"]]
    if name in ("width", "height", "width_32", "height_32") and (size := _SIZE.fullmatch(str(inputs.get("size")))):
        pixels = int(size[1] if name.startswith("width") else size[2])
        return -(-pixels // 32) * 32 if name.endswith("_32") else pixels
    seconds = inputs.get("seconds")
    if type(seconds) is int:
        if name == "seconds":
            return seconds
        if frames := _frames(name):
            return seconds * frames[0] + frames[1]
    raise ValueError(f"The graph's placeholder {{{{{name}}}}} has no value for this job.")


def _frames(name: str) -> tuple[int, int] | None:
    """Frames a second and frames more, of a placeholder that counts frames."""
    found = _FRAMES.fullmatch(name)
    return (int(found[1]), int(bool(found[2]))) if found and int(found[1]) <= FPS_MAX else None


def check_graph(operation: str, graph: object) -> list[str]:
    """What is wrong with a graph, in sentences for the staff who wrote it; empty where it can be used."""
    if not isinstance(graph, Mapping) or not graph:
        return ["A graph is an object of nodes, each with its number as its name."]
    if isinstance(graph.get("nodes"), list):
        return ["This is the editor's own format. Use “Export (API)” in ComfyUI's menu, and paste what it saves."]
    if len(graph) > NODES_MAX:
        return [f"A graph has at most {NODES_MAX} nodes; this one has {len(graph)}."]
    try:
        size = len(json.dumps(graph, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        return ["The graph cannot be written as JSON."]
    if size > BYTES_MAX:
        return [f"A graph has at most {BYTES_MAX} bytes; this one has {size}."]
    wrong = [
        f"Node {node_id} needs a “class_type”, and “inputs” as an object."
        for node_id, node in graph.items()
        if not isinstance(node, Mapping)
        or not isinstance(node.get("class_type"), str)
        or not isinstance(node.get("inputs"), Mapping)
    ]
    return wrong or [*_wrong_links(graph), *_wrong_placeholders(operation, graph), *_wrong_outputs(operation, graph)]


def _wrong_links(graph: Mapping[str, Any]) -> Iterator[str]:
    for node_id, node in graph.items():
        for name, value in node["inputs"].items():
            if not isinstance(value, list) or len(value) != 2 or not isinstance(value[0], str):
                continue
            if type(value[1]) is int and value[0] not in graph:
                yield f"Node {node_id} takes its input “{name}” from node {value[0]}, which is not there."


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)


def _wrong_placeholders(operation: str, graph: Mapping[str, Any]) -> Iterator[str]:
    has_prompt = False
    for node_id, node in graph.items():
        for text in _texts(node["inputs"]):
            whole = _PLACEHOLDER.fullmatch(text)
            for found in _PLACEHOLDER.finditer(text):
                name, frames = found[1], _frames(found[1])
                has_prompt |= bool(whole) and name == "prompt"
                if name not in PLACEHOLDERS and not frames:
                    yield f"Node {node_id} has the placeholder {{{{{name}}}}}, which does not exist."
                elif (name in VIDEO_ONLY or frames) and operation != "ai/video":
                    yield f"Node {node_id} has the placeholder {{{{{name}}}}}, which only a video has."
                elif not whole:
                    yield f"Node {node_id} has {{{{{name}}}}} within a longer text; it must be the whole value."
    if not has_prompt:
        yield "No node takes {{prompt}}: every job would come out the same."


def _wrong_outputs(operation: str, graph: Mapping[str, Any]) -> Iterator[str]:
    savers = {node_id: node["class_type"] for node_id, node in graph.items() if "filename_prefix" in node["inputs"]}
    kind = operation.removeprefix("ai/")
    if not savers:
        yield "No node saves a file: at least one needs an input “filename_prefix”, best with {{file_name}}."
    elif all(SAVES.get(name, kind) != kind for name in savers.values()):
        listed = ", ".join(f"{name} (node {node_id})" for node_id, name in savers.items())
        yield f"No node saves {'an image' if kind == 'image' else 'a video'}, only {listed}."
