"""Each provider with its real server behind it, and how that server is made to misbehave, for test_contract.py.

To add one: a class below with what is particular to the provider, and its name in BENCHES. What cannot happen to it is
said in `cannot`, case by case, with the reason.
"""

from __future__ import annotations

import io
import json
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from uuid_utils.compat import uuid7

from generations import outputs
from generations.providers.base import Accepted, Answer, Job, Provider
from generations.providers.comfyui import ComfyUI, Server
from generations.providers.local import Local
from generations.providers.local_renderer import OUTPUTS
from generations.providers.openai import OpenAI
from generations.providers.rehearsal import Rehearsal
from generations.providers.stand_ins.openai import KEY
from tests.generations.providers.conftest import Asked, Renderer, StandIn, ended, until
from tests.generations.providers.meddler import Meddler, Spoil
from tests.generations.providers.openai_server import OpenAIServer

# So long the provider waits for an answer here, and what is late is later than that.
TIMEOUT_SECONDS = 0.8
LATE_SECONDS = 60.0
# Where nothing listens.
NOWHERE = "http://127.0.0.1:1"

# What may be said not to occur with a provider (Bench.cannot).
CASES = frozenset({
    "http",  # faults of a connection and of HTTP: time-outs, statuses, unreadable answers, resets
    "poll",  # a job that is asked about after its submission
    "progress", "look_up", "cancel", "moderation", "invalid_request", "unknown_word", "flip", "no_output",
    "output_http",  # faults of HTTP while the output is fetched
    "secret",  # a key of ours that the server might send back
    "bad_inputs",  # inputs that are not carried out
})  # fmt: skip


class Bench:
    """One provider on trial. A bench is started once for all its tests; `use` prepares it for one of them."""

    name: ClassVar[str]
    operation: ClassVar[str]
    content_types: ClassVar[frozenset[str]]
    # Of CASES, what cannot occur with this provider, and why.
    cannot: ClassVar[dict[str, str]] = {}
    # The requests that are a submission, a poll, …: method and a pattern of the path at the provider's server.
    places: ClassVar[dict[str, tuple[str, str]]] = {}
    # Inputs of which each alone is reason enough to refuse the job.
    bad_inputs: ClassVar[tuple[dict[str, Any], ...]] = ()
    # Ends that the provider tells at once, by refusing the submission.
    refused_at_once: ClassVar[frozenset[str]] = frozenset()
    # Ids in the shape of the provider's own, of no job.
    unknown_ids: ClassVar[tuple[str, ...]] = ()
    # A key of ours that the provider is sent and must not be found anywhere afterwards.
    secret: ClassVar[str] = ""

    provider: Asked
    meddler: Meddler  # between the provider and its server; not there where "http" cannot occur

    def start(self, folder: Path) -> None:
        """The provider's server runs."""
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def use(self, settings: Any) -> None:
        """`provider` is new, made with the settings of one test, and nothing is spoilt."""
        raise NotImplementedError

    def unreachable(self, settings: Any) -> Asked:
        """The provider, with nothing listening where its server should be."""
        raise NotImplementedError

    def accepted(self, job: Job) -> int:
        """How many jobs the provider's server has made of this one of ours."""
        raise NotImplementedError

    def inputs(self, case: str) -> dict[str, Any]:
        """Inputs of a short job whose end is: "" (it succeeds), or moderation, invalid_request, unknown_word, flip,
        no_output, or slow: it takes long enough to be cancelled."""
        raise NotImplementedError

    def problem(self, status: int) -> bytes:
        """How the provider's server words an error with this HTTP status."""
        return b'{"error": {"code": "made_up", "message": "A made up refusal."}}'

    def is_output(self, path: Path, content_type: str) -> bool:
        """Whether the file is what a successful job should deliver."""
        return content_type in self.content_types and outputs.probe(path).content_type == content_type

    # What the tests do with it

    def job(self, case: str = "", **inputs: Any) -> Job:
        return Job(str(uuid7()), self.operation, self.inputs(case) | inputs)

    def submitted(self, case: str = "", **inputs: Any) -> Job:
        """A job that the provider has accepted."""
        job = self.job(case, **inputs)
        return self.follow(job, self.provider.submit(job))

    def follow(self, job: Job, accepted: Accepted) -> Job:
        return replace(job, provider_job_id=accepted.provider_job_id)

    def carried_out(self, job: Job) -> tuple[Job, Answer, bytes, str]:
        """The job submitted and followed to its success, with its output: bytes and their type."""
        first = self.provider.submit(job)
        job = self.follow(job, first)
        answer = first.answer or ended(self.provider, job)
        assert answer.status == "completed", answer
        if first.content is not None:
            return job, answer, first.content, next(iter(self.content_types))
        return job, answer, *self.fetched(job, answer)

    def fetched(self, job: Job, answer: Answer, bytes_max: int = 50_000_000, seconds: float = 10) -> tuple[bytes, str]:
        into = io.BytesIO()
        said = self.provider.fetch(job, answer, into, bytes_max, seconds)
        return into.getvalue(), said

    def spoil(self, place: str, how: Spoil) -> None:
        self.meddler.spoil(*self.places[place], how)


class LocalVideo(Bench):
    name = "local"
    operation = "ai/video"
    content_types = frozenset({"video/mp4"})
    cannot: ClassVar[dict[str, str]] = {
        "http": "There is no HTTP: a job is a folder on this machine, and accepted when the folder is there.",
        "output_http": "The output is a file on this machine.",
        "moderation": "Nothing is moderated on one's own machine.",
        "invalid_request": "What cannot be rendered is refused before it is accepted.",
        "unknown_word": "The words are written by our own renderer, which knows no others.",
        "flip": "The renderer writes one last word and then leaves the folder alone.",
        "secret": "It has no key.",
    }
    bad_inputs = (
        {"prompt": ""}, {"prompt": "x" * 2001}, {"prompt": None}, {"seconds": 0}, {"seconds": 21}, {"seconds": "4"},
        {"seconds": True}, {"size": "1x1"}, {"size": None}, {"quality": "best"},
    )  # fmt: skip
    unknown_ids = ("019e0000-0000-7000-8000-000000000000",)

    def start(self, folder: Path) -> None:
        self.renderer = Renderer(folder)

    def stop(self) -> None:
        self.renderer.kill(signal.SIGTERM)

    def use(self, settings: Any) -> None:
        settings.LOCAL_DIR = self.renderer.folder
        self.provider = Asked(Local())

    def accepted(self, job: Job) -> int:
        return int((self.renderer.folder / "jobs" / job.id / "job.json").is_file())

    def inputs(self, case: str) -> dict[str, Any]:
        if case == "slow":
            return {"prompt": "Long", "seconds": 20, "size": "1920x1080", "quality": "high"}
        return {"prompt": "A lighthouse at dawn", "seconds": 1, "size": "640x360", "quality": "draft"}

    def submitted(self, case: str = "", **inputs: Any) -> Job:
        job = super().submitted(case, **inputs)
        if case == "no_output":
            assert ended(self.provider, job).status == "completed"
            (self.renderer.folder / "jobs" / job.id / OUTPUTS[self.operation]).unlink()
        return job


class LocalImage(LocalVideo):
    """What is done in a moment can be cancelled only while it waits: the renderer stands still until it is asked to."""

    name = "local-image"
    operation = "ai/image"
    content_types = frozenset({"image/png"})
    bad_inputs = (
        {"prompt": ""}, {"prompt": "x" * 2001}, {"prompt": None}, {"size": "1280x720"}, {"size": None},
        {"quality": "best"}, {"quality": ["high"]},
    )  # fmt: skip

    def inputs(self, case: str) -> dict[str, Any]:
        return {"prompt": "A lighthouse at dawn", "size": "1024x1024", "quality": "draft"}

    def submitted(self, case: str = "", **inputs: Any) -> Job:
        if case != "slow":
            return super().submitted(case, **inputs)
        self.renderer.process.send_signal(signal.SIGSTOP)
        job = super().submitted(case, **inputs)
        threading.Thread(target=self._go_on_once_cancelled, args=(job,)).start()
        return job

    def _go_on_once_cancelled(self, job: Job) -> None:
        try:
            until(lambda: (self.renderer.folder / "jobs" / job.id / "cancel").exists())
        finally:
            self.renderer.process.send_signal(signal.SIGCONT)


class LocalScript(LocalImage):
    name = "local-script"
    operation = "ai/script"
    content_types = frozenset({"text/plain"})
    bad_inputs = (
        {"prompt": ""}, {"prompt": "x" * 4001}, {"prompt": None}, {"kind": "poem"}, {"tone": None}, {"seconds": 9},
        {"seconds": 181}, {"seconds": "30"}, {"length_max": 99}, {"length_max": 4001}, {"length_max": True},
    )  # fmt: skip

    def inputs(self, case: str) -> dict[str, Any]:
        return {"prompt": "A lighthouse", "kind": "advert", "tone": "plain", "seconds": 30, "length_max": 4000}


class LocalThreads(LocalScript):
    name = "local-threads"
    operation = "ai/threads"
    bad_inputs = (
        {"prompt": ""}, {"prompt": "x" * 4001}, {"audience": None}, {"audience": "x" * 201}, {"tone": "rude"},
        {"posts": 2}, {"posts": 21}, {"posts": 6.0}, {"length_max": 99},
    )  # fmt: skip

    def inputs(self, case: str) -> dict[str, Any]:
        return {"prompt": "A lighthouse", "audience": "everyone", "tone": "warm", "posts": 5, "length_max": 4000}


class RehearsalVideo(Bench):
    name = "rehearsal"
    operation = "ai/video"
    content_types = frozenset({"video/mp4"})
    cannot: ClassVar[dict[str, str]] = {"secret": "Its key is a published word that opens nothing."}
    places: ClassVar[dict[str, tuple[str, str]]] = {
        "submit": ("POST", r"^/v1/videos$"),
        "poll": ("GET", r"^/v1/videos/[\w-]+$"),
        "cancel": ("POST", r"^/v1/videos/[\w-]+/cancel$"),
        "output": ("GET", r"^/v1/videos/[\w-]+/content$"),
        "look_up": ("GET", r"^/v1/videos$"),
    }
    bad_inputs = LocalVideo.bad_inputs
    unknown_ids = ("reh_unknown", "no-such-job")

    def start(self, folder: Path) -> None:
        self.stand_in = StandIn(folder / "state.sqlite3", "--seconds", "0.3")
        self.meddler = Meddler(self.stand_in.url)

    def stop(self) -> None:
        self.meddler.close()
        self.stand_in.kill()

    def use(self, settings: Any) -> None:
        settings.REHEARSAL_ENABLED, settings.REHEARSAL_URL = True, self.meddler.url
        self.meddler.clear()
        self.provider = Asked(Rehearsal())

    def unreachable(self, settings: Any) -> Asked:
        return Asked(Rehearsal(NOWHERE))

    def accepted(self, job: Job) -> int:
        return self.stand_in.submits(job.id)["accepted"]

    def inputs(self, case: str) -> dict[str, Any]:
        word = {"": "", "moderation": "[moderation_blocked]", "slow": "[slow 30s]"}.get(case, f"[{case}]")
        return {"prompt": f"A lighthouse {word}", "seconds": 1, "size": "640x360", "quality": "draft"}


class ComfyUIStandIn(StandIn):
    @staticmethod
    def command(port: int, state: Path | str) -> list[str]:
        module = "generations.providers.stand_ins.comfyui"
        return [sys.executable, "-m", module, "--port", str(port), "--state", str(state)]


class ComfyUIVideo(Bench):
    name = "comfyui-video"
    operation = "ai/video"
    content_types = frozenset({"video/mp4", "video/webm"})
    places: ClassVar[dict[str, tuple[str, str]]] = {
        "submit": ("POST", r"^/prompt$"),
        "poll": ("GET", r"^/(queue|history/[\w-]+)$"),
        "cancel": ("POST", r"^/(queue|interrupt)$"),
        "output": ("GET", r"^/view$"),
    }
    bad_inputs: ClassVar[tuple[dict[str, Any], ...]] = LocalVideo.bad_inputs
    refused_at_once = frozenset({"invalid_request"})
    # On the server that is not there: known to the provider that has only that one, to the other a server removed.
    unknown_ids = (f"{Server.of(NOWHERE).key}.019e0000-0000-7000-8000-000000000000",)
    secret = "open-sesame-4711"

    def start(self, folder: Path) -> None:
        self.server = ComfyUIStandIn(folder, "--seconds", "0.3")
        self.meddler = Meddler(self.server.url)

    def stop(self) -> None:
        self.meddler.close()
        self.server.kill()

    def use(self, settings: Any) -> None:
        settings.COMFYUI_URLS = [self.meddler.url.replace("://", f"://operator:{self.secret}@")]
        self.meddler.clear()
        # No answer of before the meddling serves a question after it.
        self.provider = Asked(ComfyUI(queue_fresh_seconds=0.0))

    def unreachable(self, settings: Any) -> Asked:
        return Asked(ComfyUI([NOWHERE]))

    def accepted(self, job: Job) -> int:
        return self.server.submits(job.id)["accepted"]

    def inputs(self, case: str) -> dict[str, Any]:
        word = {"": "", "moderation": "[moderation_blocked]", "slow": "[slow 30s]"}.get(case, f"[{case}]")
        return {"prompt": f"A lighthouse {word}", "seconds": 1, "size": "640x360", "quality": "draft"}

    def submitted(self, case: str = "", **inputs: Any) -> Job:
        job = super().submitted(case, **inputs)
        if case == "slow":  # the jobs of other tests are before it
            until(lambda: self.provider.poll(job).status == "in_progress")
        return job

    def problem(self, status: int) -> bytes:
        wrong = {"type": "value_not_in_list", "message": "Value not in list", "details": "steps", "extra_info": {}}
        nodes = {"5": {"errors": [wrong], "dependent_outputs": ["7"], "class_type": "KSampler"}}
        return json.dumps({"error": wrong, "node_errors": nodes}).encode()


class ComfyUIImage(ComfyUIVideo):
    name = "comfyui-image"
    operation = "ai/image"
    content_types = frozenset({"image/png"})
    bad_inputs = (
        {"prompt": ""}, {"prompt": "x" * 2001}, {"prompt": None}, {"size": "1x1"}, {"size": None}, {"quality": "best"},
    )  # fmt: skip

    def inputs(self, case: str) -> dict[str, Any]:
        return {"prompt": super().inputs(case)["prompt"], "size": "1024x1024", "quality": "draft"}


class OpenAIBench(Bench):
    """What the three of OpenAI have in common."""

    secret = KEY
    cannot: ClassVar[dict[str, str]] = {"look_up": "The API cannot be asked by an id of ours."}

    def start(self, folder: Path) -> None:
        self.server = OpenAIServer(folder / "state.json", "--seconds", "0.3")
        self.meddler = Meddler(self.server.url)

    def stop(self) -> None:
        self.meddler.close()
        self.server.kill()

    def use(self, settings: Any) -> None:
        settings.OPENAI_API_KEY, settings.OPENAI_BASE_URL = KEY, f"{self.meddler.url}/v1"
        settings.OPENAI_TEXT_MODEL, settings.OPENAI_IMAGE_MODEL = "gpt-6.1-terra", "gpt-image-2.6-flare"
        settings.OPENAI_VIDEO_MODEL = "sora-2"
        self.meddler.clear()
        self.provider = Asked(OpenAI())
        self.provider.submit_seconds_max = settings.PROVIDER_TIMEOUT_SECONDS

    def unreachable(self, settings: Any) -> Asked:
        settings.OPENAI_BASE_URL = f"{NOWHERE}/v1"
        return Asked(OpenAI())

    def accepted(self, job: Job) -> int:
        return self.server.submits(job.id)["accepted"]

    def problem(self, status: int) -> bytes:
        error = {"message": "A made up refusal.", "type": "invalid_request_error", "param": None, "code": "made_up"}
        return json.dumps({"error": error}).encode()

    def inputs(self, case: str) -> dict[str, Any]:
        words = {"": "", "moderation": "[moderation_blocked]", "slow": "[slow 30s]"}
        return {"prompt": f"A lighthouse {words.get(case, f'[{case}]')}"}


class OpenAIScript(OpenAIBench):
    name = "openai"
    operation = "ai/script"
    content_types = frozenset({"text/plain"})
    cannot: ClassVar[dict[str, str]] = {**OpenAIBench.cannot, "progress": "A response does not say how far it is."}
    places: ClassVar[dict[str, tuple[str, str]]] = {
        "submit": ("POST", r"^/v1/responses$"),
        "poll": ("GET", r"^/v1/responses/[\w-]+$"),
        "output": ("GET", r"^/v1/responses/[\w-]+$"),
        "cancel": ("POST", r"^/v1/responses/[\w-]+/cancel$"),
    }
    bad_inputs = (
        {"prompt": ""}, {"prompt": None}, {"kind": "poem"}, {"tone": "loud"}, {"seconds": "30"}, {"length_max": 0},
        {"length_max": 3}, {"length_max": None},
    )  # fmt: skip
    unknown_ids = ("resp_0123456789", "no-such-job")

    def inputs(self, case: str) -> dict[str, Any]:
        more = {"kind": "advert", "tone": "plain", "seconds": 30, "length_max": 800}
        return super().inputs(case) | more

    def is_output(self, path: Path, content_type: str) -> bool:
        return content_type == "text/plain" and "It was asked for" in path.read_text()


class OpenAIImage(OpenAIBench):
    name = "openai image"
    operation = "ai/image"
    content_types = frozenset({"image/png"})
    cannot: ClassVar[dict[str, str]] = {
        **OpenAIBench.cannot,
        "poll": "The image is in the answer to the submission, and nobody can be asked for it again.",
        "progress": "There is none to ask for.",
        "cancel": "It is made while one waits.",
        "unknown_word": "The answer has no status.",
        "flip": "It is answered once.",
    }
    places: ClassVar[dict[str, tuple[str, str]]] = {"submit": ("POST", r"^/v1/images/generations$")}
    bad_inputs = ({"prompt": ""}, {"prompt": None}, {"size": "1x1"}, {"quality": "best"})
    refused_at_once = frozenset({"moderation", "invalid_request"})

    def inputs(self, case: str) -> dict[str, Any]:
        return super().inputs(case) | {"size": "1024x1024", "quality": "standard"}


class OpenAIVideo(OpenAIBench):
    name = "openai video"
    operation = "ai/video"
    content_types = frozenset({"video/mp4"})
    cannot: ClassVar[dict[str, str]] = {**OpenAIBench.cannot, "cancel": "The API stops no video."}
    places: ClassVar[dict[str, tuple[str, str]]] = {
        "submit": ("POST", r"^/v1/videos$"),
        "poll": ("GET", r"^/v1/videos/[\w-]+$"),
        "output": ("GET", r"^/v1/videos/[\w-]+/content$"),
    }
    bad_inputs = ({"prompt": ""}, {"prompt": None}, {"seconds": 5}, {"size": "640x360"})
    unknown_ids = ("video_0123456789", "no-such-job")

    def inputs(self, case: str) -> dict[str, Any]:
        return super().inputs(case) | {"seconds": 4, "size": "1280x720", "quality": "standard"}


BENCHES: dict[str, type[Bench]] = {
    bench.name: bench
    for bench in (
        LocalVideo, LocalImage, LocalScript, LocalThreads, RehearsalVideo, OpenAIScript, OpenAIImage, OpenAIVideo,
        ComfyUIVideo, ComfyUIImage,
    )
}  # fmt: skip


def flags_of(provider: Asked) -> tuple[bool, bool, bool]:
    """Whether it has a look-up, a cancel and callbacks of its own."""
    own = type(provider.provider)
    return (
        own.look_up is not Provider.look_up,
        own.cancel is not Provider.cancel,
        own.verify_callback is not Provider.verify_callback,
    )
