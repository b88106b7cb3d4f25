"""Renders videos on this machine. A job is a folder; a supervised process of its own (local_renderer.py) does the work.

Submitting twice is submitting once, because the folder is named by our own job id and appears whole or not at all.
"""

import asyncio
import contextlib
import errno
import json
import os
import re
import shutil
import sys
import time
import uuid
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings

from generations.providers.base import (
    Accepted,
    Answer,
    Job,
    NotCancellable,
    OutputUnavailable,
    Provider,
    Refused,
    Unknown,
)
from generations.providers.local_renderer import QUALITIES, TERMINAL, read_json

SIZES = frozenset({"1280x720", "720x1280", "854x480", "640x360", "1920x1080"})
PROMPT_LENGTH_MAX = 2000
SECONDS_MAX = 20
PROJECT = Path(__file__).resolve().parent.parent.parent


def renderer_command(folder: Path | str) -> list[str]:
    """What starts the renderer for LOCAL_DIR; to be run from the project's folder, or with renderer_environment()."""
    return [sys.executable, "-m", "generations.providers.local_renderer", str(folder)]


def renderer_environment() -> dict[str, str]:
    """All that the renderer needs of the environment: no setting of ours, and so no secret."""
    kept = {
        name: os.environ[name]
        for name in ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")
        if name in os.environ
    }
    return kept | {"PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"}


def _wrong_inputs(inputs: dict[str, Any]) -> str | None:
    """What is wrong with the inputs, in words; None when they can be rendered."""
    prompt, seconds = inputs.get("prompt"), inputs.get("seconds")
    if not isinstance(prompt, str) or not 1 <= len(prompt) <= PROMPT_LENGTH_MAX:
        return f"prompt must be a text of 1 to {PROMPT_LENGTH_MAX} characters"
    if type(seconds) is not int or not 1 <= seconds <= SECONDS_MAX:
        return f"seconds must be a whole number from 1 to {SECONDS_MAX}"
    if inputs.get("size") not in SIZES:
        return f"size must be one of {', '.join(sorted(SIZES))}"
    if inputs.get("quality") not in QUALITIES:
        return f"quality must be one of {', '.join(QUALITIES)}"
    return None


class Local(Provider):
    name = "local"
    title = "This machine"
    operations = frozenset({"ai/video"})
    is_real = False
    has_idempotent_submit = True
    has_lookup = True
    has_cancel = True
    has_progress = True
    has_callbacks = False

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = Path(folder or settings.LOCAL_DIR)

    async def submit(self, job: Job) -> Accepted:
        if not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z-]{0,63}", job.id):
            raise Refused("400", "invalid_request", "The job's id cannot name a folder.")
        if job.operation not in self.operations:
            raise Refused("404", "unknown_operation", f"{job.operation} is not rendered here.")
        if wrong := _wrong_inputs(job.inputs):
            raise Refused("422", "invalid_request", f"{wrong[0].upper()}{wrong[1:]}.")
        inputs = {name: job.inputs[name] for name in ("prompt", "seconds", "size", "quality")}
        target = self.folder / "jobs" / job.id
        fresh = self.folder / "tmp" / f"{job.id}.{uuid.uuid4().hex}"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                fresh.mkdir(parents=True)
                with (fresh / "job.json").open("x") as file:
                    json.dump({"id": job.id, "inputs": inputs, "submitted_at": time.time()}, file)
                    file.flush()
                    os.fsync(file.fileno())
                _sync(fresh)
                fresh.rename(target)
                _sync(target.parent)
        except OSError as error:
            shutil.rmtree(fresh, ignore_errors=True)
            # Another process may have submitted the same job in the meantime: a folder is never renamed onto one.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not target.exists():
                raise Unknown(
                    "storage", errno.errorcode.get(error.errno or 0), "The job's folder could not be written."
                ) from error
        return Accepted(job.id, {"folder": f"jobs/{job.id}"})

    async def poll(self, job: Job) -> Answer:
        folder = self._folder_of(job)
        status = read_json(folder / "status.json")
        if status is None:
            if not (folder / "job.json").is_file():
                raise Unknown("404", "unknown_job", "There is no folder of this job.")
            status = {"status": "queued", "progress": 0}
        said = {name: value for name, value in status.items() if value is not None}
        return Answer(
            status=str(said.get("status", "")),
            code=said.get("code"),
            message=said.get("message"),
            progress=said.get("progress"),
            evidence=said,
        )

    async def look_up(self, job: Job) -> Accepted | None:
        """Accepted when the job's folder is there; None when it is not, and so was never accepted."""
        if not (self._folder_of(job) / "job.json").is_file():
            return None
        return Accepted(job.id, {"folder": f"jobs/{job.id}"})

    async def cancel(self, job: Job) -> None:
        folder = self._folder_of(job)
        if not (folder / "job.json").is_file():
            raise Unknown("404", "unknown_job", "There is no folder of this job.")
        status = (read_json(folder / "status.json") or {}).get("status")
        if status == "cancelled":
            return
        if status in TERMINAL:
            raise NotCancellable("409", "not_cancellable", f"The rendering has already {status}.")
        try:
            (folder / "cancel").touch()
        except OSError as error:
            raise Unknown("storage", None, "The job's folder could not be written.") from error

    async def fetch(self, job: Job, answer: Answer, into: BinaryIO, bytes_max: int, seconds_max: float) -> str:
        return await asyncio.to_thread(self._copy, job, into, bytes_max, seconds_max)

    def _copy(self, job: Job, into: BinaryIO, bytes_max: int, seconds_max: float) -> str:
        deadline = time.monotonic() + seconds_max
        try:
            with (self._folder_of(job) / "output.mp4").open("rb") as file:
                if os.fstat(file.fileno()).st_size > bytes_max:
                    raise OutputUnavailable("413", "output_too_large", f"The output is larger than {bytes_max} bytes.")
                while part := file.read(1024 * 1024):
                    into.write(part)
                    if time.monotonic() > deadline:
                        raise Unknown("timeout", "fetch_timeout", f"The output did not arrive within {seconds_max} s.")
        except FileNotFoundError as error:
            raise OutputUnavailable("404", "output_missing", "The rendered file is not there.") from error
        except OSError as error:
            raise Unknown(
                "storage", errno.errorcode.get(error.errno or 0), "The output could not be copied."
            ) from error
        return "video/mp4"

    def _folder_of(self, job: Job) -> Path:
        name = job.provider_job_id or job.id
        if not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z-]{0,63}", name):
            raise Unknown("404", "unknown_job", "That is not the name of a job here.")
        return self.folder / "jobs" / name


def _sync(folder: Path) -> None:
    """What was created or renamed in the folder survives a power cut, where the system can promise that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
