"""The process that does the local provider's work: `python -m generations.providers.local_renderer DIR`.

It makes videos, pictures and texts. It knows nothing of Django, of the database, or of any secret: a job is a folder
under DIR/jobs with job.json in it, and what it says of the job is status.json beside it, replaced whole each time. One
renderer runs per DIR (a second one waits in line); each job is done in a child process, which dies with it. After any
kill, the next renderer begins again what was not finished.

    DIR/jobs/<job id>/job.json     written by the provider, never changed: operation, inputs
                      status.json  written here: status, code, message, progress, usage, starts, crashes, …
                      cancel       an empty file put there by the provider: stop this one
                      output.mp4   (.png, .txt) there when the status is completed or incomplete
    DIR/tmp/                       what is being written
"""

import argparse
import contextlib
import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imageio_ffmpeg import get_ffmpeg_exe

from generations.providers import local_image, local_text, storyboard
from generations.providers.child import die_with_parent

Report = Callable[[int], None]  # percent

TERMINAL = frozenset({"completed", "failed", "cancelled", "incomplete"})
# What is made for each operation, and its name in the job's folder.
OUTPUTS = {
    "ai/video": "output.mp4",
    "ai/image": "output.png",
    "ai/script": "output.txt",
    "ai/threads": "output.txt",
}
QUICK = frozenset({"ai/script", "ai/threads"})  # done in a moment, so never made to wait for a video
QUICK_MAX = 4
QUALITIES = {
    # frames a second, x264 preset, constant rate factor (smaller is better)
    "draft": (12, "ultrafast", 28),
    "standard": (24, "veryfast", 22),
    "high": (30, "faster", 18),
}
LOOK_SECONDS = 0.1  # how often it looks for new jobs and for cancellations
KEEP_DAYS = 14
STARTS_MAX = 25  # a job under which the renderer itself died this often is given up
CRASHES_MAX = 2  # a job whose own child died this often is given up
BYTES_MAX = 190 * 1024 * 1024


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file; None when there is no such file, or no object in it."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def write_json(path: Path, value: dict[str, Any], is_durable: bool = False) -> None:
    """The file holds the value, whole; a reader sees the old one or the new one."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with fresh.open("w") as file:
        json.dump(value, file)
        if is_durable:
            file.flush()
            os.fsync(file.fileno())
    fresh.replace(path)


def operation_of(job: dict[str, Any]) -> str:
    """What the job is for. One from before there was more than videos does not say it."""
    return str(job.get("operation", "ai/video"))


def seconds_allowed(job: dict[str, Any]) -> float:
    """The longest the work may take, far above what it takes on a slow machine."""
    inputs = job.get("inputs")
    seconds = inputs.get("seconds") if isinstance(inputs, dict) and operation_of(job) == "ai/video" else 0
    return 120.0 + 60.0 * (seconds if type(seconds) is int else 0)


# One video ------------------------------------------------------------------------------------------------------------


def encoder_command(
    size: tuple[int, int], fps: int, preset: str, crf: int, frame_count: int, output: Path
) -> list[str]:
    """ffmpeg, reading raw frames, writing an MP4 that browsers play and can start before all of it is there."""
    return [
        get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-nostats", "-y",
        "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[0]}x{size[1]}", "-r", str(fps), "-i", "pipe:0",
        "-an", "-map_metadata", "-1", "-frames:v", str(frame_count),
        "-vf", "scale=out_color_matrix=bt709:out_range=tv", "-c:v", "libx264", "-preset", preset, "-crf", str(crf),
        "-pix_fmt", "yuv420p", "-profile:v", "high" if preset != "ultrafast" else "main", "-g", str(fps * 2),
        "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv",
        "-threads", "1", "-movflags", "+faststart", "-f", "mp4", str(output),
    ]  # fmt: skip


def render(folder: Path, inputs: dict[str, Any], report: Report) -> dict[str, Any]:
    """The video is there, exactly as long as asked. Raises ValueError, OSError or RuntimeError."""
    width, height = _size(inputs)
    seconds = int(inputs["seconds"])
    fps, preset, crf = QUALITIES[inputs["quality"]]
    frame_count = seconds * fps
    unfinished = folder / "unfinished.mp4"
    parent = os.getppid()
    with (folder / "ffmpeg.log").open("wb") as log:
        encoder = subprocess.Popen(
            encoder_command((width, height), fps, preset, crf, frame_count, unfinished),
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log,
        )  # fmt: skip
        assert encoder.stdin
        try:
            for number, picture in enumerate(storyboard.frames(inputs["prompt"], seconds, (width, height), fps), 1):
                encoder.stdin.write(picture.tobytes())
                report(number * 98 // frame_count)
                if os.getppid() != parent:
                    os._exit(1)  # where the kernel does not end us with our parent
            encoder.stdin.close()
            code = encoder.wait(timeout=60)
        except BrokenPipeError:
            code = encoder.wait(timeout=60) or -1
        finally:
            if encoder.poll() is None:
                encoder.kill()
                encoder.wait()
    if code:
        said = (folder / "ffmpeg.log").read_text("utf-8", "replace").strip().splitlines()
        raise RuntimeError(f"The encoder ended with {code}: {said[-1][:200] if said else 'no message'}")
    return _finished(unfinished)


def _size(inputs: dict[str, Any]) -> tuple[int, int]:
    width, height = (int(part) for part in inputs["size"].split("x"))
    return width, height


def _finished(unfinished: Path) -> dict[str, Any]:
    """The file is the job's output now, whole, also after a power cut."""
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    output = unfinished.replace(unfinished.with_stem("output"))
    return {"status": "completed", "progress": 100, "bytes": output.stat().st_size}


# One picture, one text


def draw(folder: Path, inputs: dict[str, Any], report: Report) -> dict[str, Any]:
    """The picture is there, as PNG."""
    picture = local_image.draw(inputs["prompt"], _size(inputs), inputs["quality"], report)
    picture.save(folder / "unfinished.png", "PNG")
    return _finished(folder / "unfinished.png")


def write(folder: Path, operation: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """The text is there, with what it counted; incomplete where it had to stop at the length that was asked for."""
    made = local_text.compose(operation, inputs)
    (folder / "unfinished.txt").write_text(made.text, "utf-8")
    done = _finished(folder / "unfinished.txt")
    usage = {"input_tokens": made.input_tokens, "output_tokens": made.output_tokens}
    if made.is_complete:
        return done | {"usage": usage}
    stopped = {
        "status": "incomplete",
        "code": "max_output_tokens",
        "message": "It stopped at the longest text asked for.",
    }
    return done | {"usage": usage} | stopped


def carry_out(folder: Path, report: Report) -> dict[str, Any]:
    """What was asked for is in the job's folder; returns what its status says then."""
    job = json.loads((folder / "job.json").read_bytes())
    match operation_of(job):
        case "ai/video":
            return render(folder, job["inputs"], report)
        case "ai/image":
            return draw(folder, job["inputs"], report)
        case operation:
            return write(folder, operation, job["inputs"])


def _work_in_child(folder: Path, status: dict[str, Any]) -> None:
    """In the child: does the job, and writes what came of it. A crash leaves the status as it was, for the parent."""
    die_with_parent()
    os.setpgid(0, 0)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    os.nice(10)
    resource.setrlimit(resource.RLIMIT_FSIZE, (BYTES_MAX, BYTES_MAX))
    last = [time.monotonic()]

    def report(percent: int) -> None:
        if time.monotonic() - last[0] >= 0.25:
            last[0] = time.monotonic()
            write_json(folder / "status.json", status | {"progress": percent})

    began = time.monotonic()
    try:
        result = carry_out(folder, report)
    except (ValueError, KeyError, TypeError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        result = {
            "status": "failed",
            "code": "render_failed",
            "message": f"{type(error).__name__}: {error}"[:300],
        }
    took = round(time.monotonic() - began, 3)
    write_json(folder / "status.json", status | result | {"finished_at": time.time(), "render_seconds": took}, True)


# The renderer ---------------------------------------------------------------------------------------------------------


class Running:
    def __init__(self, folder: Path, pid: int, deadline: float, is_quick: bool) -> None:
        self.folder, self.pid, self.deadline, self.is_quick = folder, pid, deadline, is_quick

    def kill(self) -> None:
        for target in (-self.pid, self.pid):  # its group (the encoder too); itself, if it had no time to make one
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(target, signal.SIGKILL)


class Renderer:
    """Takes jobs oldest first, at most `jobs_max` at a time and a few texts beside them, until told to stop."""

    def __init__(self, folder: Path, jobs_max: int, keep_days: float) -> None:
        self.jobs_folder, self.tmp_folder = folder / "jobs", folder / "tmp"
        self.jobs_max, self.keep_seconds = jobs_max, keep_days * 86_400
        self.running: dict[str, Running] = {}
        self.waiting: dict[str, float] = {}  # job id → when it was submitted
        self.quick: set[str] = set()  # those of the waiting that are texts
        self.finished: set[str] = set()
        self.seen_change: tuple[int, float] = (-1, 0.0)
        self.stopping = False

    def run(self) -> None:
        next_cleaning = 0.0
        while not self.stopping:
            if time.monotonic() >= next_cleaning:
                self.clean()
                next_cleaning = time.monotonic() + 600
            self.find()
            self.watch()
            self.cancel_waiting()
            self.start_next(self.quick & self.waiting.keys(), QUICK_MAX, is_quick=True)
            self.start_next(self.waiting.keys() - self.quick, self.jobs_max, is_quick=False)
            time.sleep(LOOK_SECONDS)
        for child in self.running.values():
            child.kill()
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child.pid, 0)

    def find(self) -> None:
        """Every job that is not finished is waiting or running. Looks when the folder changed, and each few seconds."""
        changed = self.jobs_folder.stat().st_mtime_ns
        if changed == self.seen_change[0] and time.monotonic() - self.seen_change[1] < 5:
            return
        self.seen_change = (changed, time.monotonic())
        names = {entry.name for entry in os.scandir(self.jobs_folder)}
        self.finished &= names
        self.quick &= names
        for name in names - self.finished - self.running.keys() - self.waiting.keys():
            folder = self.jobs_folder / name
            job = read_json(folder / "job.json")
            if job is None:
                continue
            if (read_json(folder / "status.json") or {}).get("status") in TERMINAL:
                self.finished.add(name)
            else:
                self.waiting[name] = float(job.get("submitted_at", 0.0))
                if operation_of(job) in QUICK:
                    self.quick.add(name)

    def start_next(self, names: set[str], at_once: int, *, is_quick: bool) -> None:
        """The oldest of the jobs are begun, as many as there is room for."""
        room = at_once - sum(child.is_quick == is_quick for child in self.running.values())
        for name in sorted(names, key=lambda job: (self.waiting[job], job))[: max(room, 0)]:
            self.start(name, is_quick)

    def start(self, name: str, is_quick: bool) -> None:
        del self.waiting[name]
        folder = self.jobs_folder / name
        before = read_json(folder / "status.json") or {}
        starts, crashes = int(before.get("starts", 0)), int(before.get("crashes", 0))
        if starts >= STARTS_MAX:
            self.end(name, "failed", "render_failed", "The renderer ended each time it worked on this.")
            return
        # Counted before the work, so that a job that takes the renderer down is given up in the end.
        status = {
            "status": "in_progress",
            "progress": 0,
            "starts": starts + 1,
            "crashes": crashes,
            "started_at": time.time(),
        }
        try:
            write_json(folder / "status.json", status)
            allowed = seconds_allowed(read_json(folder / "job.json") or {})
        except FileNotFoundError:
            return  # the folder has just been taken away
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            try:
                _work_in_child(folder, status)
                os._exit(0)
            finally:
                os._exit(1)
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        self.running[name] = Running(folder, pid, time.monotonic() + allowed, is_quick)

    def watch(self) -> None:
        """Ended children are noted, and cancelled or slow ones killed; what a child wrote last counts."""
        for name, child in list(self.running.items()):
            ended, _ = os.waitpid(child.pid, os.WNOHANG)
            is_cancelled, is_late = (child.folder / "cancel").exists(), time.monotonic() > child.deadline
            if not ended and not is_cancelled and not is_late:
                continue
            if not ended:
                child.kill()
                os.waitpid(child.pid, 0)
            del self.running[name]
            status = read_json(child.folder / "status.json") or {}
            if status.get("status") in TERMINAL:
                self.finished.add(name)
                print(f"local renderer: {name} {status['status']} after {status.get('render_seconds')} s", flush=True)  # noqa: T201
            elif is_cancelled:
                self.end(name, "cancelled", None, "Stopped on request.")
            elif is_late:
                self.end(name, "failed", "render_failed", "The rendering took too long.")
            elif (crashes := int(status.get("crashes", 0)) + 1) >= CRASHES_MAX:
                self.end(name, "failed", "render_failed", "The rendering ended unexpectedly.", crashes=crashes)
            elif child.folder.exists():
                write_json(
                    child.folder / "status.json", status | {"status": "queued", "progress": 0, "crashes": crashes}
                )
                self.waiting[name] = 0.0

    def cancel_waiting(self) -> None:
        for name in list(self.waiting):
            if (self.jobs_folder / name / "cancel").exists():
                del self.waiting[name]
                self.end(name, "cancelled", None, "Stopped before it began.")

    def end(self, name: str, status: str, code: str | None, message: str, **more: Any) -> None:
        folder = self.jobs_folder / name
        before = read_json(folder / "status.json") or {}
        said = {"status": status, "code": code, "message": message, "finished_at": time.time(), **more}
        with contextlib.suppress(FileNotFoundError):
            write_json(folder / "status.json", before | said, True)
            for unfinished in folder.glob("unfinished.*"):
                unfinished.unlink(missing_ok=True)
        self.finished.add(name)
        print(f"local renderer: {name} {status}: {message}", flush=True)  # noqa: T201

    def clean(self) -> None:
        """Folders of jobs that ended `keep_seconds` ago, and what an interrupted submission left, are gone."""
        oldest = time.time() - self.keep_seconds
        for folder in self.jobs_folder.iterdir():
            status = read_json(folder / "status.json") or {}
            if status.get("status") in TERMINAL and float(status.get("finished_at", 0.0)) < oldest:
                # Renamed first: a poll sees the whole job or none of it.
                grave = self.tmp_folder / f"removed-{uuid.uuid4()}"
                with contextlib.suppress(OSError):
                    folder.rename(grave)
        for folder in self.tmp_folder.iterdir():
            if folder.name.startswith("removed-") or folder.stat().st_mtime < time.time() - 3600:
                shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="local_renderer", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--jobs", type=int, default=min(2, os.cpu_count() or 1), help="how many videos and pictures at a time"
    )
    parser.add_argument("--keep-days", type=float, default=KEEP_DAYS, help="how long ended jobs stay")
    options = parser.parse_args()
    die_with_parent()
    for name in ("jobs", "tmp"):
        (options.folder / name).mkdir(parents=True, exist_ok=True)
    renderer = Renderer(options.folder, max(1, options.jobs), options.keep_days)

    def stop(*_: object) -> None:
        renderer.stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    # Children inherit this lock on purpose: the next renderer begins only when the last child of the old one is gone.
    with (options.folder / "renderer.lock").open("a") as lock:
        while not renderer.stopping:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.25)
                continue
            print(f"local renderer: ready in {options.folder}", flush=True)  # noqa: T201
            renderer.run()


if __name__ == "__main__":
    main()
