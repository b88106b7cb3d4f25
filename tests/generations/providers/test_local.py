"""The local renderer: one job a folder, whatever is killed, and in every size."""

import io
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from generations import outputs
from generations.providers import storyboard
from generations.providers.base import Answer, OutputUnavailable, Refused, Unknown
from generations.providers.local import Local, renderer_environment
from generations.providers.local_renderer import QUALITIES, encoder_command, get_ffmpeg_exe, write_json
from tests.generations.providers.conftest import Asked, Renderer, accepted, children_of, ended, new_job, until
from tools_registry import registry

PROMPT = "A lighthouse at dawn, gulls over calm water, and one small boat that comes home."


def test_submitting_twice_is_one_job(local: Asked) -> None:
    job = new_job()
    assert local.submit(job).provider_job_id == local.submit(job).provider_job_id == job.id
    assert ended(local, accepted(local, job)).status == "completed"
    assert local.submit(job).provider_job_id == job.id
    assert local.poll(job).evidence["starts"] == 1


def test_submissions_of_one_job_at_once_are_one_job(local: Asked) -> None:
    job, results = new_job(), []
    threads = [threading.Thread(target=lambda: results.append(local.submit(job))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.provider_job_id for result in results] == [job.id] * 16
    assert ended(local, job).evidence["starts"] == 1


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "a\x00b", "-rf", "x" * 65])
def test_an_id_that_cannot_name_a_folder_is_refused(local: Asked, name: str) -> None:
    job = new_job()
    with pytest.raises(Refused):
        local.submit(type(job)(name, job.operation, job.inputs))


def test_a_folder_that_cannot_be_written_is_a_doubt(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unknown) as raised:
        Asked(Local(tmp_path / "file")).submit(new_job())
    assert raised.value.status == "storage"


def test_a_queued_job_says_so_before_any_renderer_runs(tmp_path: Path) -> None:
    local, job = Asked(Local(tmp_path)), new_job()
    local.submit(job)
    assert (local.poll(job).status, local.poll(job).progress) == ("queued", 0)
    with pytest.raises(OutputUnavailable):
        local.fetch(job, Answer("completed"), io.BytesIO(), 1000, 1)


def test_a_damaged_status_reads_as_queued_and_a_damaged_job_as_unknown(tmp_path: Path) -> None:
    local, job = Asked(Local(tmp_path)), new_job()
    local.submit(job)
    (tmp_path / "jobs" / job.id / "status.json").write_text('{"status": "comp')
    assert local.poll(job).status == "queued"
    (tmp_path / "jobs" / job.id / "job.json").unlink()
    with pytest.raises(Unknown):
        local.poll(job)


def test_a_killed_renderer_loses_nothing_and_leaves_no_process(tmp_path: Path) -> None:
    local, renderer = Asked(Local(tmp_path)), Renderer(tmp_path)
    jobs = [new_job(PROMPT, seconds=6, size="1280x720", quality="high"), new_job(PROMPT), new_job(PROMPT)]
    for job in jobs:
        local.submit(job)
    until(lambda: (local.poll(jobs[0]).progress or 0) > 5)
    family = children_of(renderer.process.pid)
    assert len(family) >= 2  # the child and its encoder
    renderer.kill(signal.SIGKILL)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family))
    assert local.poll(jobs[0]).status == "in_progress"
    renderer.start()
    for job in jobs:
        assert ended(local, job).status == "completed"
        assert outputs.probe(tmp_path / "jobs" / job.id / "output.mp4").seconds == job.inputs["seconds"]
    assert local.poll(jobs[0]).evidence["starts"] == 2
    family = children_of(renderer.process.pid)
    renderer.kill(signal.SIGTERM)
    assert renderer.process.returncode == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in family)


def test_the_renderer_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "from generations.providers.local import renderer_command\n"
        "child = subprocess.Popen(renderer_command(sys.argv[1]), stdout=subprocess.PIPE)\n"
        "child.stdout.readline(); print(child.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [os.sys.executable, "-c", code, str(tmp_path)], env=renderer_environment(), stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: not Path(f"/proc/{pid}").exists() or "State:\tZ" in Path(f"/proc/{pid}/status").read_text())


def test_a_second_renderer_waits_for_the_first(tmp_path: Path) -> None:
    first = Renderer(tmp_path)
    first.wait_until_ready()
    second = Renderer(tmp_path)
    assert second.process.stdout
    os.set_blocking(second.process.stdout.fileno(), False)
    until(lambda: (tmp_path / "renderer.lock").exists())
    assert second.process.poll() is None
    first.kill(signal.SIGKILL)
    until(lambda: "ready" in (second.process.stdout.readline() or ""))
    second.kill(signal.SIGTERM)


def _kill_encoders(renderer: Renderer) -> bool:
    killed = False
    for pid in children_of(renderer.process.pid):
        try:
            if "ffmpeg" in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGKILL)
                killed = True
        except (OSError, ProcessLookupError):
            continue
    return killed


def test_an_encoder_that_dies_is_a_failure_with_its_code(tmp_path: Path) -> None:
    local, renderer = Asked(Local(tmp_path)), Renderer(tmp_path)
    job = new_job(PROMPT, seconds=20, size="1920x1080", quality="high")
    local.submit(job)
    until(lambda: _kill_encoders(renderer))
    answer = ended(local, job)
    assert (answer.status, answer.code) == ("failed", "render_failed")
    assert not (tmp_path / "jobs" / job.id / "output.mp4").exists()
    renderer.kill(signal.SIGTERM)


def test_a_child_that_dies_is_tried_again_once(tmp_path: Path) -> None:
    local, renderer = Asked(Local(tmp_path)), Renderer(tmp_path)
    job = new_job(PROMPT, seconds=20, size="1920x1080", quality="high")
    local.submit(job)
    for starts in (1, 2):
        until(lambda starts=starts: local.poll(job).evidence.get("starts") == starts and local.poll(job).progress)
        for pid in children_of(renderer.process.pid):
            if "ffmpeg" not in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGKILL)
    answer = ended(local, job)
    assert (answer.status, answer.code, answer.evidence["crashes"]) == ("failed", "render_failed", 2)
    renderer.kill(signal.SIGTERM)


def test_old_ended_jobs_are_removed_and_others_stay(tmp_path: Path) -> None:
    local = Asked(Local(tmp_path))
    ages = {"completed": 15, "failed": 13}
    jobs = {status: new_job() for status in ages}
    for status, days in ages.items():
        local.submit(jobs[status])
        said = {"status": status, "finished_at": time.time() - days * 86_400}
        write_json(tmp_path / "jobs" / jobs[status].id / "status.json", said)
    renderer = Renderer(tmp_path)
    until(lambda: local.look_up(jobs["completed"]) is None)
    assert local.look_up(jobs["failed"])
    renderer.kill(signal.SIGTERM)


def test_the_renderer_is_given_no_setting_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "topsecret")
    monkeypatch.setenv("STRIPE_SECRET_KEY", "topsecret")
    monkeypatch.setenv("DATABASE_URL", "topsecret")
    assert "topsecret" not in json.dumps(renderer_environment())


@pytest.mark.parametrize("size", sorted(registry.VIDEO.takes["size"]))
@pytest.mark.parametrize("prompt", ["Hi", PROMPT, "W" * 300, "The tide turns slowly and the harbour wakes. " * 44])
def test_words_stand_within_the_frame(size: str, prompt: str) -> None:
    width, height = (int(part) for part in size.split("x"))
    text = storyboard.readable(prompt)
    for part in storyboard.scenes_of(text, 2):
        scene = storyboard.Scene(part, "Scene 1 of 2", (width, height), storyboard.PALETTES[0], 7, 12, 12)
        assert scene.lines
        for line in scene.lines:
            left, top, right, bottom = line.letters.getbbox()
            assert line.x + left >= 0
            assert line.x + right <= width
            assert line.y + top >= 0
            assert line.y + bottom <= height


def test_scenes_say_all_the_words_in_order() -> None:
    for count in range(1, 9):
        parts = storyboard.scenes_of(storyboard.readable(PROMPT), count)
        assert " ".join(parts) == PROMPT
        assert len(parts) <= count
        assert all(parts)


def test_the_same_prompt_is_the_same_landscape_and_it_moves() -> None:
    first, again = (list(storyboard.frames(PROMPT, 1, (640, 360), 12)) for _ in range(2))
    assert len(first) == 12
    for one, other in zip(first, again, strict=True):
        low = [picture.resize((32, 18), Image.Resampling.BOX).tobytes() for picture in (one, other)]
        assert max(abs(a - b) for a, b in zip(*low, strict=True)) <= 3  # but for the grain
    assert first[0].tobytes() != first[6].tobytes()


def test_the_video_is_made_for_browsers(local: Asked, renderer: Renderer) -> None:
    job = new_job(PROMPT)
    local.submit(job)
    ended(local, job)
    path = renderer.folder / "jobs" / job.id / "output.mp4"
    said = subprocess.run([get_ffmpeg_exe(), "-hide_banner", "-i", str(path)], capture_output=True, text=True).stderr
    assert "Video: h264" in said
    assert "yuv420p(tv, bt709" in said
    head = path.read_bytes()
    assert head.index(b"moov") < head.index(b"mdat")  # playable before all of it has arrived


def test_every_quality_has_its_own_rate_and_the_exact_number_of_frames() -> None:
    for fps, preset, crf in QUALITIES.values():
        command = encoder_command((640, 360), fps, preset, crf, fps * 3, Path("x.mp4"))
        assert command[command.index("-frames:v") + 1] == str(fps * 3)
    assert [QUALITIES[name][0] for name in ("draft", "standard", "high")] == [12, 24, 30]


def test_settings_choose_the_folder(settings: Any, tmp_path: Path) -> None:
    settings.LOCAL_DIR = tmp_path / "elsewhere"
    Asked(Local()).submit(new_job())
    assert len(list((tmp_path / "elsewhere" / "jobs").iterdir())) == 1
