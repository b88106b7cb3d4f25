"""Makes videos, pictures and texts on this machine, without any key.

A job is a folder; a supervised process of its own (local_renderer.py) does the work.

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
from generations.providers.local_renderer import OUTPUTS, TERMINAL, read_json
from tools_registry import fields, registry

CONTENT_TYPES = {".mp4": "video/mp4", ".png": "image/png", ".txt": "text/plain"}
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


def _wrong_inputs(operation: str, inputs: dict[str, Any]) -> str | None:
    """What is wrong with the inputs, in words; None when they can be worked with.

    The operation's own bounds; only that any character may stand in a text, for none can do harm here.
    """
    for of in registry.OPERATIONS[operation].fields:
        value = inputs.get(of.name)
        match of:
            case fields.Text():
                if not isinstance(value, str) or not 1 <= len(value) <= of.length_max:
                    return f"{of.name} must be a text of 1 to {of.length_max} characters"
            case fields.Whole():
                if type(value) is not int or not of.min <= value <= of.max:
                    return f"{of.name} must be a whole number from {of.min} to {of.max}"
            case fields.Choice():
                if not isinstance(value, str) or value not in of.choices:
                    return f"{of.name} must be one of {', '.join(of.choices)}"
    return None


class Local(Provider):
    name = "local"
    title = "This machine"
    operations = frozenset(OUTPUTS)
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
            raise Refused("404", "unknown_operation", f"{job.operation} is not done here.")
        if wrong := _wrong_inputs(job.operation, job.inputs):
            raise Refused("422", "invalid_request", f"{wrong[0].upper()}{wrong[1:]}.")
        await asyncio.to_thread(self._put, job)
        return Accepted(job.id, {"folder": f"jobs/{job.id}"})

    def _put(self, job: Job) -> None:
        """The job's folder is there, whole, once."""
        inputs = {of.name: job.inputs[of.name] for of in registry.OPERATIONS[job.operation].fields}
        asked = {"id": job.id, "operation": job.operation, "inputs": inputs, "submitted_at": time.time()}
        target = self.folder / "jobs" / job.id
        fresh = self.folder / "tmp" / f"{job.id}.{uuid.uuid4().hex}"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                fresh.mkdir(parents=True)
                with (fresh / "job.json").open("x") as file:
                    json.dump(asked, file)
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

    async def poll(self, job: Job) -> Answer:
        folder = self._folder_of(job)
        status = read_json(folder / "status.json")
        if status is None:
            if not (folder / "job.json").is_file():
                raise Unknown("404", "unknown_job", "There is no folder of this job.")
            status = {"status": "queued", "progress": 0}
        said = {name: value for name, value in status.items() if value is not None}
        usage = said.get("usage")
        return Answer(
            status=str(said.get("status", "")),
            code=said.get("code"),
            message=said.get("message"),
            progress=said.get("progress"),
            evidence=said,
            usage=usage if isinstance(usage, dict) else {},
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
            raise NotCancellable("409", "not_cancellable", f"The work has already ended: {status}.")
        try:
            (folder / "cancel").touch()
        except OSError as error:
            raise Unknown("storage", None, "The job's folder could not be written.") from error

    async def fetch(self, job: Job, answer: Answer, into: BinaryIO, bytes_max: int, seconds_max: float) -> str:
        return await asyncio.to_thread(self._copy, job, into, bytes_max, seconds_max)

    def _copy(self, job: Job, into: BinaryIO, bytes_max: int, seconds_max: float) -> str:
        deadline = time.monotonic() + seconds_max
        output = self._folder_of(job) / OUTPUTS.get(job.operation, "output")
        try:
            with output.open("rb") as file:
                if os.fstat(file.fileno()).st_size > bytes_max:
                    raise OutputUnavailable("413", "output_too_large", f"The output is larger than {bytes_max} bytes.")
                while part := file.read(1024 * 1024):
                    into.write(part)
                    if time.monotonic() > deadline:
                        raise Unknown("timeout", "fetch_timeout", f"The output did not arrive within {seconds_max} s.")
        except FileNotFoundError as error:
            raise OutputUnavailable("404", "output_missing", "The file is not there.") from error
        except OSError as error:
            raise Unknown(
                "storage", errno.errorcode.get(error.errno or 0), "The output could not be copied."
            ) from error
        return CONTENT_TYPES[output.suffix]

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
