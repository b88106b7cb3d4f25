"""A ComfyUI server without a model: `python -m generations.providers.stand_ins.comfyui --port N [--state FOLDER]`.

It speaks what ComfyUI's own server does (its server.py and execution.py, version 0.38), over real HTTP on loopback: one
job at a time, a queue and a history in memory that a restart forgets, output files in a folder that it does not. A
second job with the same id is accepted, as there. It is stricter in what it takes: unknown fields, unknown inputs of a
node and a missing Content-Type are refused. Bracketed words in any text of the graph choose the outcome: those of
rehearsal_words.py, which here mean
    [failed CODE], [moderation_blocked]  a node raises an exception of that name
    [invalid_request]                    the submission is answered 400 with node_errors
    [silent]                             the job is accepted, and is then in neither queue nor history
    [poll N], [garbage], [late T]        said of /history/{id}; until it is over the job is not in the queue's lists
and these, of its own:
    [out_of_memory]                      a node raises torch.OutOfMemoryError
    [cut_json], [html], [reset]          accepted, but the answer to the first submission is broken so
Without Django.

What a client uses: GET and POST /prompt, GET and POST /queue, GET /history and /history/{id}, GET /view,
POST /interrupt, GET /system_stats. What a test uses: GET /_control/state, POST /_control/advance, /_control/forget,
/_control/settings, /_control/jobs/{id}.
"""

import argparse
import contextlib
import hashlib
import io
import json
import mimetypes
import re
import shutil
import subprocess
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image, ImageOps

from generations.providers.child import die_with_parent
from generations.providers.rehearsal_words import SPOILED_POLLS, parse
from generations.providers.stand_ins.rehearsal import SILENCE, SUBMIT_429_TIMES, Answered, serve

BODY_BYTES_MAX = 8 * 1024 * 1024
HISTORY_MAX = 10_000
VERSION = "0.38.1"
FIELDS = frozenset({"prompt", "prompt_id", "client_id", "extra_data", "number", "front", "partial_execution_targets"})
OWN_WORDS = re.compile(r"\[\s*(out_of_memory|cut_json|html|reset)\s*\]", re.IGNORECASE)
SIDE_MAX = 16_384

# The nodes it knows, as ComfyUI's nodes.py and comfy_extras define them: the inputs with what they take, whether they
# are required, what comes out, and whether it is an output node. What they take is another node's output ("MODEL"), a
# number ("INT", least, most), a text ("STRING"), or one of a list.
INT, FLOAT, STRING = "INT", "FLOAT", "STRING"
SAMPLERS = [
    "euler",
    "euler_ancestral",
    "heun",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "dpmpp_sde",
    "ddim",
    "uni_pc",
    "res_multistep",
]
SCHEDULERS = ["simple", "sgm_uniform", "karras", "exponential", "ddim_uniform", "beta", "normal", "linear_quadratic"]
VIDEO_CODECS = ["auto", "h264", "av1"]
SIDE, BATCH = (INT, 16, SIDE_MAX), (INT, 1, 4096)


@dataclass(frozen=True)
class Node:
    required: dict[str, Any]
    gives: tuple[str, ...] = ()
    is_output: bool = False
    optional: dict[str, Any] = field(default_factory=dict)


NODES = {
    "CheckpointLoaderSimple": Node(
        {"ckpt_name": ["sd_xl_base_1.0.safetensors", "v1-5-pruned-emaonly.safetensors"]}, ("MODEL", "CLIP", "VAE")
    ),
    "UNETLoader": Node(
        {
            "unet_name": ["wan2.2_ti2v_5B_fp16.safetensors"],
            "weight_dtype": ["default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2"],
        },
        ("MODEL",),
    ),
    "CLIPLoader": Node(
        {"clip_name": ["umt5_xxl_fp8_e4m3fn_scaled.safetensors"], "type": ["stable_diffusion", "sd3", "ltxv", "wan"]},
        ("CLIP",),
        optional={"device": ["default", "cpu"]},
    ),
    "VAELoader": Node({"vae_name": ["wan2.2_vae.safetensors"]}, ("VAE",)),
    "ModelSamplingSD3": Node({"model": "MODEL", "shift": (FLOAT, 0, 100)}, ("MODEL",)),
    "CLIPTextEncode": Node({"text": (STRING,), "clip": "CLIP"}, ("CONDITIONING",)),
    "EmptyLatentImage": Node({"width": SIDE, "height": SIDE, "batch_size": BATCH}, ("LATENT",)),
    "Wan22ImageToVideoLatent": Node(
        {
            "vae": "VAE",
            "width": (INT, 32, SIDE_MAX),
            "height": (INT, 32, SIDE_MAX),
            "length": (INT, 1, SIDE_MAX),
            "batch_size": BATCH,
        },
        ("LATENT",),
        optional={"start_image": "IMAGE"},
    ),
    "KSampler": Node(
        {
            "model": "MODEL",
            "seed": (INT, 0, 2**64 - 1),
            "steps": (INT, 1, 10_000),
            "cfg": (FLOAT, 0, 100),
            "sampler_name": SAMPLERS,
            "scheduler": SCHEDULERS,
            "positive": "CONDITIONING",
            "negative": "CONDITIONING",
            "latent_image": "LATENT",
            "denoise": (FLOAT, 0, 1),
        },
        ("LATENT",),
    ),
    "VAEDecode": Node({"samples": "LATENT", "vae": "VAE"}, ("IMAGE",)),
    "ImageFromBatch": Node({"image": "IMAGE", "batch_index": (INT, 0, 4095), "length": BATCH}, ("IMAGE",)),
    "ImageScale": Node(
        {
            "image": "IMAGE",
            "upscale_method": ["nearest-exact", "bilinear", "area", "bicubic", "lanczos"],
            "width": (INT, 0, SIDE_MAX),
            "height": (INT, 0, SIDE_MAX),
            "crop": ["disabled", "center"],
        },
        ("IMAGE",),
    ),
    "CreateVideo": Node({"images": "IMAGE", "fps": (FLOAT, 1, 120)}, ("VIDEO",), optional={"audio": "AUDIO"}),
    "SaveImage": Node({"images": "IMAGE", "filename_prefix": (STRING,)}, (), is_output=True),
    "PreviewImage": Node({"images": "IMAGE"}, (), is_output=True),
    "SaveVideo": Node(
        {"video": "VIDEO", "filename_prefix": (STRING,), "format": ["auto", "mp4", "mkv", "webm"]},
        ("VIDEO",),
        is_output=True,
        optional={"codec": VIDEO_CODECS, "format.codec": VIDEO_CODECS},
    ),
    "SaveWEBM": Node(
        {
            "images": "IMAGE",
            "filename_prefix": (STRING,),
            "codec": ["vp9", "av1"],
            "fps": (FLOAT, 0.01, 1000),
            "crf": (FLOAT, 0, 63),
        },
        ("IMAGE",),
        is_output=True,
    ),
}


# Whether a graph can be carried out --------------------------------------------------------------------------------


class Invalid(Exception):
    """What ComfyUI answers, with 400, to a submission that it does not take."""

    def __init__(self, kind: str, message: str, details: str = "", nodes: dict[str, Any] | None = None) -> None:
        self.error = {"type": kind, "message": message, "details": details, "extra_info": {}}
        self.nodes = nodes or {}


def wrong(kind: str, message: str, name: str, details: str | None = None, **more: Any) -> dict[str, Any]:
    return {"type": kind, "message": message, "details": details or name, "extra_info": {"input_name": name, **more}}


def validate(graph: Any, targets: list[str] | None = None) -> tuple[list[str], dict[str, Any]]:
    """The output nodes that can be carried out, and the errors of those that cannot. Raises Invalid without one."""
    if not isinstance(graph, dict):
        raise Invalid("invalid_prompt", "The prompt is not an object of nodes.")
    outputs = []
    for node_id, node in graph.items():
        kind = node.get("class_type") if isinstance(node, dict) else None
        if kind not in NODES:
            said = f"The node {kind} is not installed" if kind else f"Node {node_id} has no class_type"
            raise Invalid("missing_node_type", said, f"#{node_id}")
        if NODES[kind].is_output and (targets is None or node_id in targets):
            outputs.append(node_id)
    if not outputs:
        raise Invalid("prompt_no_outputs", "No node of the prompt is an output node")
    seen: dict[str, list[dict[str, Any]]] = {}
    good: list[str] = []
    errors: dict[str, Any] = {}
    for output in outputs:
        reached = dict.fromkeys(_walk(graph, output, seen, ()))
        bad = [node_id for node_id in reached if seen[node_id]]
        if not bad:
            good.append(output)
        for node_id in bad:
            about = errors.setdefault(
                node_id,
                {"errors": seen[node_id], "dependent_outputs": [], "class_type": graph[node_id]["class_type"]},
            )
            about["dependent_outputs"].append(output)
    if not good:
        details = "\n".join(
            f"{one['message']}: {one['details']}" for about in errors.values() for one in about["errors"]
        )
        raise Invalid("prompt_outputs_failed_validation", "No output of the prompt can be made", details, errors)
    return good, errors


def _walk(
    graph: dict[str, Any], node_id: str, seen: dict[str, list[dict[str, Any]]], above: tuple[str, ...]
) -> list[str]:
    """The node and all that it takes from; what is wrong with each is in `seen` afterwards."""
    kind, given = NODES[graph[node_id]["class_type"]], graph[node_id].get("inputs") or {}
    known, reached = kind.required | kind.optional, [node_id]
    if node_id not in seen:
        seen[node_id] = [
            wrong("unknown_input", "The node has no such input", name) for name in given if name not in known
        ]
        seen[node_id] += [
            wrong("required_input_missing", "A required input is missing", name)
            for name in kind.required
            if name not in given
        ]
        for name, value in given.items():
            if name in known and (one := _wrong_value(graph, name, value, known[name])):
                seen[node_id].append(one)
    for name, value in given.items():
        if name in known and isinstance(value, list) and len(value) == 2 and value[0] in graph:
            if value[0] in (*above, node_id):
                seen[node_id].append(wrong("dependency_cycle", "The nodes take from each other in a circle", name))
            else:
                reached += _walk(graph, value[0], seen, (*above, node_id))
    return reached


def _wrong_value(graph: dict[str, Any], name: str, value: Any, takes: Any) -> dict[str, Any] | None:
    if isinstance(value, list):
        return _wrong_link(graph, name, value, takes)
    if isinstance(takes, str):
        return wrong("bad_linked_input", "A link is a list of a node and a slot", name)
    if isinstance(takes, list):
        if value not in takes:
            said = f"{name}: '{value}' not in {takes}"
            return wrong("value_not_in_list", "The value is not in the list", name, said, received_value=value)
        return None
    if takes[0] == STRING:
        return None
    try:
        number = {INT: int, FLOAT: float}[takes[0]](value)
    except (TypeError, ValueError) as broken:
        said = f"{name}, {value}, {broken}"
        message = f"The value is not one of the type {takes[0]}"
        return wrong("invalid_input_type", message, name, said, received_value=value)
    if number < takes[1]:
        message = f"The value {number} is below {takes[1]}"
        return wrong("value_smaller_than_min", message, name, received_value=number)
    if number > takes[2]:
        return wrong("value_bigger_than_max", f"The value {number} is above {takes[2]}", name, received_value=number)
    return None


def _wrong_link(graph: dict[str, Any], name: str, value: list[Any], takes: Any) -> dict[str, Any] | None:
    if len(value) != 2 or type(value[1]) is not int:
        return wrong("bad_linked_input", "A link is a list of a node and a slot", name)
    if value[0] not in graph:
        return wrong("exception_during_validation", "The node could not be looked at", name, repr(value[0]))
    gives = NODES[graph[value[0]]["class_type"]].gives
    received = gives[value[1]] if 0 <= value[1] < len(gives) else None
    wanted = takes if isinstance(takes, str) else takes[0] if isinstance(takes, tuple) else "COMBO"
    if received != wanted:
        said = f"{name} takes {wanted}, not {received}"
        return wrong("return_type_mismatch", "The linked node gives another type", name, said, linked_node=value)
    return None


def texts_of(graph: dict[str, Any]) -> str:
    values = (value for node in graph.values() for value in (node.get("inputs") or {}).values())
    return "\n".join(value for value in values if isinstance(value, str))


def words_of(text: str) -> dict[str, Any]:
    return parse(text) | {found.lower(): 1 for found in OWN_WORDS.findall(text)}


# What comes out ------------------------------------------------------------------------------------------------------


def settings_of(graph: dict[str, Any], node_id: str) -> dict[str, Any]:
    """Size, length and seed of what a node makes, from it and the nodes it takes from; the nearest counts."""
    found: dict[str, Any] = {}
    level = [node_id]
    while level:
        above: list[str] = []
        for one in level:
            given = graph[one].get("inputs") or {}
            for name in ("width", "height", "length", "fps", "seed"):
                if isinstance(given.get(name), int | float) and given[name]:
                    found.setdefault(name, given[name])
            above += [value[0] for value in given.values() if isinstance(value, list) and value[0] in graph]
        level = above
    return found


SHADES = 4  # so many films of each size and length differ; the rest are the same again, and need not be made
CODECS = {
    ".mp4": "-c:v libx264 -preset ultrafast -crf 32 -movflags +faststart -f mp4",
    ".webm": "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -crf 45 -b:v 0 -f webm",
}


def film(into: Path, size: tuple[int, int], frames: int, fps: float, shade: int) -> None:
    """A real MP4 or WebM: slowly turning colours, drawn small and enlarged."""
    colours = [hashlib.sha256(f"{shade}-{n}".encode()).hexdigest()[:6] for n in range(3)]
    slope = f"gradients=s=160x90:r={fps:g}:n=3:c0=0x{colours[0]}:c1=0x{colours[1]}:c2=0x{colours[2]}:speed=0.03:seed=11"
    subprocess.run(
        [get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-f", "lavfi",
         "-i", f"{slope},scale={size[0]}:{size[1]}:flags=neighbor", "-frames:v", str(frames),
         "-pix_fmt", "yuv420p", "-threads", "1", *CODECS[into.suffix].split(), str(into)],
        check=True, timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def picture(size: tuple[int, int], seed: int) -> bytes:
    """A real PNG: a slope between two colours."""
    shade = hashlib.sha256(str(seed).encode()).hexdigest()
    slope = Image.linear_gradient("L").resize(size)
    file = io.BytesIO()
    ImageOps.colorize(slope, f"#{shade[:6]}", f"#{shade[6:12]}").save(file, "PNG", compress_level=1)
    return file.getvalue()


# The queue and the history -------------------------------------------------------------------------------------------


@dataclass
class Queued:
    number: float
    id: str
    graph: dict[str, Any]
    extra: dict[str, Any]
    outputs: list[str]
    words: dict[str, Any]
    accepted_at: float
    ends_at: float = 0.0
    asked: int = 0  # how often its history was asked for
    told: dict[str, Any] | None = None

    @property
    def item(self) -> list[Any]:
        return [self.number, self.id, self.graph, self.extra, self.outputs]

    def is_spoilt(self, now: float) -> bool:
        """Whether questions about it are not answered truly yet."""
        if self.told:
            return False
        spoils = ("poll" in self.words or "garbage" in self.words) and self.asked < SPOILED_POLLS
        return spoils or now < self.accepted_at + self.words.get("late", 0)


class State:
    """One server: what is queued, running and remembered. Time passes when somebody asks."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder, self.settings, self.lock = folder, settings, threading.RLock()
        self.drawing = threading.Lock()
        self.offset_seconds = 0.0
        self.submits: dict[str, list[int]] = {}  # our reference → the status of each submission
        self.asked: list[str] = []
        self.forget()

    def forget(self) -> None:
        """As after a restart."""
        self.queue: list[Queued] = []
        self.running: Queued | None = None
        self.ended: dict[str, Queued] = {}
        self.history: dict[str, dict[str, Any]] = {}
        self.known: dict[str, Queued] = {}
        self.free_at, self.next_number = 0.0, 0.0

    def now(self) -> float:
        return time.time() + self.offset_seconds

    def pass_time(self) -> None:
        """Jobs begin and end as far as it is due."""
        while True:
            if self.running is None:
                if not self.queue:
                    return
                self.queue.sort(key=lambda job: (job.number, job.id))
                job = self.running = self.queue.pop(0)
                begins_at = max(self.free_at, job.accepted_at)
                seconds = 0 if "unknown_word" in job.words else self.settings["seconds"]
                job.ends_at = begins_at + float(job.words.get("slow", seconds))
            if self.running.ends_at > self.now():
                return
            self.end(self.running, self.running.ends_at)

    def end(self, job: Queued, at: float, told: dict[str, Any] | None = None) -> None:
        """The job is in the history, with what came of it."""
        if self.running is job:
            self.running, self.free_at = None, at
        elif job in self.queue:
            self.queue.remove(job)
        job.told = told or job.told
        self.ended[job.id] = job
        status, code, message = self.outcome(job)
        self.remember(job, at, status, code, message)
        while len(self.history) > HISTORY_MAX:
            del self.history[next(iter(self.history))]

    def outcome(self, job: Queued, is_flipped: bool = False) -> tuple[str, str | None, str | None]:
        words = job.words
        if job.told:
            return job.told["status"], job.told.get("code"), job.told.get("message")
        if "unknown_word" in words:
            return "transmogrified", None, None
        if is_flipped:
            return "failed", "flipped", "The job failed after it had completed."
        if "flip" in words:
            return "completed", None, None
        if "out_of_memory" in words:
            return "failed", "torch.OutOfMemoryError", "Allocation on device"
        if code := words.get("failed") or ("moderation_blocked" if "moderation_blocked" in words else None):
            return "failed", str(code), f"Rehearsed failure “{code}”."
        return "completed", None, None

    def remember(self, job: Queued, at: float, status: str, code: str | None, message: str | None) -> None:
        about = {"prompt_id": job.id, "timestamp": int(at * 1000)}
        node = job.outputs[0]
        where = about | {"node_id": node, "node_type": job.graph[node]["class_type"], "executed": []}
        messages: list[Any] = [["execution_start", about], ["execution_cached", about | {"nodes": []}]]
        if status == "completed":
            messages.append(["execution_success", about])
        elif status == "cancelled":
            messages.append(["execution_interrupted", where])
        elif status == "failed":
            raised = {
                "exception_message": f"{message or code}\n",
                "exception_type": code or "RuntimeError",
                "traceback": ['  File "/opt/ComfyUI/execution.py", line 510, in execute\n'],
                "current_inputs": {},
                "current_outputs": [],
            }
            messages.append(["execution_error", where | raised])
        word = {"completed": "success", "failed": "error", "cancelled": "error"}.get(status, status)
        has_outputs = status == "completed" and "no_output" not in job.words
        outputs = {output: self.save(job, output) for output in job.outputs} if has_outputs else {}
        self.history[job.id] = {
            "prompt": job.item,
            "outputs": outputs,
            "status": {"status_str": word, "completed": status == "completed", "messages": messages},
            "meta": {output: {"node_id": output, "display_node": output} for output in outputs},
        }

    def save(self, job: Queued, node_id: str) -> dict[str, Any]:
        """What an output node shows; its file is written down, to be made when it is asked for."""
        node = job.graph[node_id]
        kind, given = node["class_type"], node["inputs"]
        ending = {"SaveVideo": given.get("format", ""), "SaveWEBM": "webm"}.get(kind, "png")
        ending = "mp4" if ending == "auto" else ending
        place = "temp" if kind == "PreviewImage" else "output"
        prefix = re.sub(r"[^\w/.-]", "_", str(given.get("filename_prefix", "ComfyUI"))).replace("..", "_")
        folder, _, name = prefix.strip("/").rpartition("/")
        path = self.folder / place / folder
        path.mkdir(parents=True, exist_ok=True)
        number = 1 + len(list(path.glob(f"{name}_*_.{ending}.json")))
        file = f"{name}_{number:05}_.{ending}"
        (path / f"{file}.json").write_text(json.dumps(settings_of(job.graph, node_id)))
        shown: dict[str, Any] = {"images": [{"filename": file, "subfolder": folder, "type": place}]}
        return shown | {"animated": [True]} if ending in ("mp4", "webm") else shown

    def file(self, place: str, folder: str, name: str) -> bytes | None:
        """A file that was saved; None without one."""
        base = (self.folder / place).resolve()
        path = (base / folder / name).resolve()
        about = path.with_name(f"{path.name}.json")
        if not path.is_relative_to(base) or not about.is_file():
            return None
        with self.drawing:
            if not path.exists():
                self.draw(path, json.loads(about.read_text()))
            return path.read_bytes()

    def draw(self, path: Path, told: dict[str, Any]) -> None:
        """The file is there, as its node's settings say."""
        size, seed = (int(told.get("width", 512)), int(told.get("height", 512))), int(told.get("seed", 0))
        fresh = path.with_name(f"unfinished-{path.name}")
        if path.suffix == ".png":
            fresh.write_bytes(picture(size, seed))
        else:
            fps = float(told.get("fps", 24))
            frames = int(told.get("length", fps))
            kept = self.folder / "films" / f"{size[0]}x{size[1]}-{frames}-{fps:g}-{seed % SHADES}{path.suffix}"
            if not kept.exists():
                kept.parent.mkdir(exist_ok=True)
                unfinished = kept.with_name(f"unfinished-{kept.name}")
                film(unfinished, size, frames, fps, seed % SHADES)
                unfinished.replace(kept)
            shutil.copyfile(kept, fresh)
        fresh.replace(path)

    # What is asked of it ------------------------------------------------------------------------------------------

    def submit(self, body: dict[str, Any]) -> tuple[Answered, float]:
        """What to answer to a submission, and how many seconds to keep that answer back."""
        if unknown := body.keys() - FIELDS:
            raise Invalid("unknown_field", f"There is no field {', '.join(sorted(unknown))}")
        if "prompt" not in body:
            raise Invalid("no_prompt", "There is no prompt")
        prompt_id = body.get("prompt_id") or str(uuid.uuid4())
        with contextlib.suppress(ValueError, AttributeError, TypeError):
            if str(uuid.UUID(prompt_id)) == prompt_id:
                return self._accept(body, prompt_id)
        raise Invalid("invalid_prompt_id", "prompt_id must be a UUID", "in lower case, with its hyphens")

    def _accept(self, body: dict[str, Any], prompt_id: str) -> tuple[Answered, float]:
        graph, extra = body["prompt"], dict(body.get("extra_data") or {})
        reference = str(extra.get("holdfast_job") or prompt_id)
        before = self.submits.setdefault(reference, [])
        is_first = 200 not in before
        before.append(400)
        outputs, node_errors = validate(graph, body.get("partial_execution_targets"))
        words = words_of(texts_of(graph))
        if "invalid_request" in words:
            node = next(iter(graph))
            found = wrong("custom_validation_failed", "The node refuses this input", "text", "text - as rehearsed")
            about = {"errors": [found], "dependent_outputs": outputs, "class_type": graph[node]["class_type"]}
            raise Invalid("prompt_outputs_failed_validation", "No output of the prompt can be made", "", {node: about})
        if (status := words.get("submit")) and (status != 429 or before.count(429) < SUBMIT_429_TIMES):
            before[-1] = status
            retry = {"Retry-After": "1"} if status == 429 else {}
            return Answered(status, {"error": f"Rehearsed answer {status} to a submission."}, retry), 0.0
        before[-1] = 200
        if "client_id" in body:
            extra["client_id"] = body["client_id"]
        extra["create_time"] = int(self.now() * 1000)
        number = float(body["number"]) if "number" in body else self.next_number * (-1 if body.get("front") else 1)
        self.next_number += 1
        job = Queued(number, prompt_id, graph, extra, outputs, words, self.now())
        self.known[prompt_id] = job
        if "silent" not in words:
            self.queue.append(job)
        said = {"prompt_id": prompt_id, "number": number, "node_errors": node_errors}
        if is_first and "reset" in words:
            return SILENCE, 0.0
        if is_first and "html" in words:
            return Answered(200, b"<!doctype html><title>Bad gateway</title>", {"Content-Type": "text/html"}), 0.0
        if is_first and "cut_json" in words:
            return Answered(200, json.dumps(said).encode()[:40]), 0.0
        is_late = is_first and "timeout_after_accept" in words
        return Answered(200, said), float(self.settings["timeout_accept_seconds"]) if is_late else 0.0

    def queued(self) -> dict[str, Any]:
        now = self.now()
        running = [self.running] if self.running else []
        return {
            "queue_running": [job.item for job in running if not job.is_spoilt(now)],
            "queue_pending": [job.item for job in self.queue if not job.is_spoilt(now)],
        }

    def remembered(self, prompt_id: str) -> Answered:
        job = self.known.get(prompt_id)
        if job and job.is_spoilt(self.now()):
            job.asked += 1
            if self.now() < job.accepted_at + job.words.get("late", 0):
                return SILENCE
            if status := job.words.get("poll"):
                retry = {"Retry-After": "1"} if status == 429 else {}
                return Answered(status, {"error": "Rehearsed answer to a question."}, retry)
            return (
                Answered(200, b'{"' + prompt_id.encode() + b'": {"prompt": [0, "'),
                Answered(200, b"<!doctype html><title>Bad gateway</title>", {"Content-Type": "text/html"}),
                Answered(200, b'[["status", "completed"]]'),
            )[job.asked - 1]
        entry = self.history.get(prompt_id)
        said = Answered(200, {prompt_id: entry} if entry else {})
        if job and entry and "flip" in job.words and not job.told:
            said = Answered(200, json.loads(json.dumps(said.body)))
            self.remember(job, self.now(), *self.outcome(job, is_flipped=True))
        return said

    def interrupt(self, prompt_id: str | None) -> None:
        if self.running and prompt_id in (None, "", self.running.id):
            self.end(self.running, self.now(), {"status": "cancelled"})

    def delete(self, prompt_ids: list[str]) -> None:
        self.queue = [job for job in self.queue if job.id not in prompt_ids]

    def tell(self, prompt_id: str, told: dict[str, Any]) -> None:
        """From now on this has come of the job."""
        if prompt_id not in self.known:
            raise Answered(404, {"error": "There is no such job."})
        self.end(self.known[prompt_id], self.now(), told)

    def summary(self) -> dict[str, Any]:
        submits = {
            reference: {"received": len(statuses), "accepted": statuses.count(200)}
            for reference, statuses in self.submits.items()
        }
        running = [self.running.id] if self.running else []
        return {
            "now": self.now(),
            "settings": self.settings,
            "submits": submits,
            "jobs": [{"id": job.id, "asked": job.asked} for job in self.known.values()],
            "running": running,
            "pending": [job.id for job in self.queue],
            "requests": self.asked[-500:],
        }


# HTTP ----------------------------------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    state: ClassVar[State]
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "comfyui-stand-in", ""
    timeout = 30

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what was asked is in /_control/state."""

    def do_GET(self) -> None:
        self.answer("GET")

    def do_POST(self) -> None:
        self.answer("POST")

    def answer(self, method: str) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        path, delay = unquote(url.path), 0.0
        try:
            body = self.read_json() if method == "POST" else {}
            with self.state.lock:
                self.state.pass_time()
                if path.startswith("/_control/"):
                    answered = self.control(method, path.removeprefix("/_control/"), body)
                elif path != "/view":
                    self.state.asked.append(f"{method} {path}")
                    answered, delay = self.route(method, path, query, body)
            if path == "/view":
                answered = self.view(query)
        except Answered as raised:
            answered = raised
        except Invalid as invalid:
            answered = Answered(400, {"error": invalid.error, "node_errors": invalid.nodes})
        except (subprocess.SubprocessError, OSError, LookupError, TypeError, ValueError) as broken:
            answered = Answered(500, f"500 Internal Server Error\n{type(broken).__name__}: {broken}".encode())
        if delay:
            time.sleep(delay)  # the documented [timeout_after_accept]: accepted, and said too late
        with contextlib.suppress(OSError):
            self.send(answered)

    def send(self, answered: Answered) -> None:
        if answered.status == 0:
            self.close_connection = True
            self.connection.shutdown(2)
            return
        raw = answered.body if isinstance(answered.body, bytes) else json.dumps(answered.body).encode()
        self.send_response(answered.status)
        for name, value in ({"Content-Type": "application/json; charset=utf-8"} | answered.headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def read_json(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or int(length) > BODY_BYTES_MAX:
            self.close_connection = True
            raise Answered(413, b"Maximum request body size exceeded", {"Content-Type": "text/plain"})
        raw = self.rfile.read(int(length))
        if raw and (self.headers.get("Content-Type") or "").partition(";")[0].strip() != "application/json":
            raise Answered(415, b"Content-Type must be application/json", {"Content-Type": "text/plain"})
        body = json.loads(raw or b"{}")
        if not isinstance(body, dict):
            raise TypeError("the body is not an object")
        return body

    def route(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> tuple[Answered, float]:
        state = self.state
        # ComfyUI answers each path with /api before it, too.
        match method, path.removeprefix("/api").strip("/").split("/"):
            case "POST", ["prompt"]:
                return state.submit(body)
            case "GET", ["prompt"]:
                remaining = len(state.queue) + bool(state.running)
                return Answered(200, {"exec_info": {"queue_remaining": remaining}}), 0.0
            case "GET", ["queue"]:
                return Answered(200, state.queued()), 0.0
            case "POST", ["queue"]:
                if body.get("clear"):
                    state.queue = []
                state.delete(body.get("delete") or [])
                return Answered(200, b"", {"Content-Type": "application/octet-stream"}), 0.0
            case "GET", ["history"]:
                most = int(query.get("max_items", HISTORY_MAX))
                return Answered(200, dict(list(state.history.items())[-most:] if most else [])), 0.0
            case "POST", ["history"]:
                for prompt_id in [*state.history] if body.get("clear") else body.get("delete") or []:
                    state.history.pop(prompt_id, None)
                return Answered(200, b"", {"Content-Type": "application/octet-stream"}), 0.0
            case "GET", ["history", prompt_id]:
                return state.remembered(prompt_id), 0.0
            case "POST", ["interrupt"]:
                state.interrupt(body.get("prompt_id"))
                return Answered(200, b"", {"Content-Type": "application/octet-stream"}), 0.0
            case "GET", ["system_stats"]:
                return Answered(200, self.stats()), 0.0
        raise Answered(404, b"404: Not Found", {"Content-Type": "text/plain; charset=utf-8"})

    def stats(self) -> dict[str, Any]:
        memory = 8 * 1024**3
        system = {
            "os": "linux",
            "ram_total": memory,
            "ram_free": memory,
            "comfyui_version": self.state.settings["version"],
            "python_version": "3.12.0",
            "pytorch_version": "none",
            "embedded_python": False,
            "argv": ["main.py"],
        }
        device = {"name": "cpu", "type": "cpu", "index": None, "vram_total": memory, "vram_free": memory}
        return {"system": system, "devices": [device | {"torch_vram_total": memory, "torch_vram_free": memory}]}

    def view(self, query: dict[str, str]) -> Answered:
        name = query.get("filename", "")
        if "filename" not in query:
            return Answered(404, b"")
        if not name or name.startswith("/") or ".." in name or query.get("type", "output") not in ("output", "temp"):
            return Answered(400, b"")
        if ".." in query.get("subfolder", "").split("/"):
            return Answered(403, b"")
        found = self.state.file(query.get("type", "output"), query.get("subfolder", ""), Path(name).name)
        if found is None:
            return Answered(404, b"")
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return Answered(200, found, {"Content-Type": kind, "Content-Disposition": f'filename="{Path(name).name}"'})

    def control(self, method: str, path: str, body: dict[str, Any]) -> Answered:
        state = self.state
        match method, path.split("/"):
            case "GET", ["state"]:
                return Answered(200, state.summary())
            case "POST", ["advance"]:
                state.offset_seconds += float(body["seconds"])
                state.pass_time()
                return Answered(200, {"now": state.now()})
            case "POST", ["forget"]:
                state.forget()
                return Answered(200, {})
            case "POST", ["settings"]:
                if unknown := body.keys() - state.settings.keys():
                    raise Answered(422, {"error": f"unknown settings: {', '.join(sorted(unknown))}"})
                state.settings.update(body)
                return Answered(200, {"settings": state.settings})
            case "POST", ["jobs", prompt_id]:
                state.tell(prompt_id, {name: body.get(name) for name in ("status", "code", "message")})
                return Answered(200, {})
        raise Answered(404, {"error": "There is nothing here."})


def main() -> None:
    parser = argparse.ArgumentParser(prog="comfyui", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, required=True, help="0 chooses a free one")
    parser.add_argument("--state", type=Path, help="the folder of the output files; without it, one that is removed")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long a job takes without words")
    parser.add_argument(
        "--timeout-accept-seconds", type=float, default=15.0, help="how late [timeout_after_accept] answers"
    )
    parser.add_argument("--version", default=VERSION, help="the version that it says it is")
    options = parser.parse_args()
    die_with_parent()
    with contextlib.ExitStack() as kept:
        folder = options.state or Path(kept.enter_context(tempfile.TemporaryDirectory(prefix="comfyui-")))
        folder.mkdir(parents=True, exist_ok=True)
        named = ("seconds", "timeout_accept_seconds", "version")
        Handler.state = State(folder, {name: getattr(options, name) for name in named})
        serve(Handler, options.port)


if __name__ == "__main__":
    main()
