"""What an output is, is found by looking; files made to break the looking break nothing."""

import io
import json
import random
import subprocess
import zipfile
from pathlib import Path

import pytest
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image

from generations.outputs import ALLOWED, INLINE, UNKNOWN, Probe, probe, safe_name
from tests.pace import within_cpu


def video(path: Path, *options: str, source: str = "testsrc2=s=320x180:r=10:d=3") -> Path:
    command = [
        get_ffmpeg_exe(),
        "-loglevel",
        "error",
        "-nostdin",
        "-y",
        "-f",
        "lavfi",
        "-i",
        source,
        *options,
        str(path),
    ]
    subprocess.run(command, check=True, timeout=300)
    return path


@pytest.fixture(scope="module")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "a.mp4"
    return video(
        path, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-movflags", "+faststart"
    ).read_bytes()


def written(folder: Path, content: bytes) -> Path:
    path = folder / "output"
    path.write_bytes(content)
    return path


def test_a_video_is_measured(mp4: bytes, tmp_path: Path) -> None:
    assert probe(written(tmp_path, mp4)) == Probe("video/mp4", len(mp4), 3.0, 320, 180)
    assert probe(written(tmp_path, mp4)).is_deliverable


def test_webm_is_measured(tmp_path: Path) -> None:
    path = video(tmp_path / "a.webm", "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8")
    found = probe(path)
    assert (found.content_type, found.width, found.height) == ("video/webm", 320, 180)
    assert found.seconds == pytest.approx(3.0, abs=0.11)


@pytest.mark.parametrize(
    ("kind", "content_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")]
)
def test_an_image_is_measured(kind: str, content_type: str, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "teal").save(buffer, kind)
    assert probe(written(tmp_path, buffer.getvalue())) == Probe(content_type, len(buffer.getvalue()), None, 40, 30)
    broken = buffer.getvalue()[: len(buffer.getvalue()) // 2]
    assert probe(written(tmp_path, broken)).content_type == UNKNOWN


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"words", "text/plain"),
        ("wörter\n\tund mehr".encode(), "text/plain"),
        (b'{"a": [1]}', "application/json"),
        (b"[]", "application/json"),
        (b"[" * 100_000, "text/plain"),
        (b"<script>alert(1)</script>", "text/plain"),
        (b"", UNKNOWN),
        (b"nul\x00", UNKNOWN),
        (b"\xff\xfe\xfd", UNKNOWN),
        (b"%PDF-1.7\n\x80\x81", UNKNOWN),
        (b"GIF89a\x01\x00\x01\x00", UNKNOWN),
    ],
)
def test_text_is_told_from_json_and_from_neither(content: bytes, content_type: str, tmp_path: Path) -> None:
    assert probe(written(tmp_path, content)).content_type == content_type


def test_the_header_is_not_believed_about_the_length(mp4: bytes, tmp_path: Path) -> None:
    at = mp4.index(b"mvhd")
    # version, creation, modification, time scale: then the duration, here made a hundred times longer
    duration = int.from_bytes(mp4[at + 20 : at + 24])
    liar = mp4[: at + 20] + (duration * 100).to_bytes(4) + mp4[at + 24 :]
    assert probe(written(tmp_path, liar)).seconds == 3.0


def test_a_cut_video_is_as_long_as_what_is_there(mp4: bytes, tmp_path: Path) -> None:
    found = probe(written(tmp_path, mp4[: len(mp4) * 2 // 3]))
    assert found.content_type in ("video/mp4", UNKNOWN)
    assert found.seconds is None or found.seconds < 2.5


def test_metadata_cannot_pretend_to_be_an_answer(tmp_path: Path) -> None:
    lie = "title=x\n#dimensions 0: 9999x9999\n#tb 0: 1/1\n0, 0, 0, 999999, 1, 0x0"
    path = video(tmp_path / "a.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-metadata", lie)
    assert probe(path).seconds == 3.0
    assert probe(path).width == 320


@pytest.mark.parametrize(
    "content",
    [
        b"\x00\x00\x00\x18ftypmp42" + b"\x00" * 40,
        b"\x00\x00\x00\x18ftypisom" + bytes(range(256)) * 40,
        b"\x1a\x45\xdf\xa3" + b"\xff" * 1000,
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n\x00",
        b"ffconcat version 1.0\nfile /etc/passwd\x00",
        b"\x89PNG\r\n\x1a\n" + b"\x00" * 100,
        b"\xff\xd8\xff" + b"\x00" * 100,
        b"RIFF\x00\x00\x00\x00WEBPVP8 " + b"\x00" * 50,
    ],
)
def test_a_file_that_only_begins_well_is_unknown(content: bytes, tmp_path: Path) -> None:
    assert probe(written(tmp_path, content)) == Probe(UNKNOWN, len(content))


def test_a_damaged_video_never_breaks_the_probe(mp4: bytes, tmp_path: Path) -> None:
    chance = random.Random(5)
    for _ in range(12):
        damaged = bytearray(mp4)
        for _ in range(60):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        found = probe(written(tmp_path, bytes(damaged)))
        assert found.content_type in ("video/mp4", UNKNOWN)


def test_a_picture_of_too_many_pixels_is_not_decoded(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(buffer, "PNG")
    with within_cpu(2):
        assert probe(written(tmp_path, buffer.getvalue())).content_type == UNKNOWN


def test_the_size_limit_holds_before_anything_is_read(mp4: bytes, tmp_path: Path) -> None:
    assert probe(written(tmp_path, mp4), bytes_max=len(mp4) - 1) == Probe(UNKNOWN, len(mp4))


def test_the_time_limit_ends_a_long_probe(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", "-c:v", "libx264", "-preset", "ultrafast", source="color=s=64x64:r=30:d=600")
    assert probe(path).content_type == "video/mp4"
    assert probe(path, seconds_max=0.001).content_type == UNKNOWN, "it was ended"


def test_a_zip_with_a_video_inside_is_no_video(mp4: bytes, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.mp4", mp4)
    assert probe(written(tmp_path, buffer.getvalue())).content_type == UNKNOWN


@pytest.mark.parametrize(
    ("title", "content_type", "name"),
    [
        ("A lighthouse at dawn", "video/mp4", "a-lighthouse-at-dawn.mp4"),
        ("../../etc/passwd", "text/plain", "etc-passwd.txt"),
        ('x"; filename="y.html\r\nSet-Cookie: a', "image/png", "x-filename-y-html-set-cookie-a.png"),
        ("Straße Ærø", "image/webp", "strae-r.webp"),
        ("日本語", "image/jpeg", "output.jpg"),
        ("", "application/json", "output.json"),
        ("a" * 500, "video/webm", "a" * 60 + ".webm"),
        ("program.exe", "application/x-msdownload", "program-exe.bin"),
    ],
)
def test_a_name_is_safe_in_a_header_and_on_a_disk(title: str, content_type: str, name: str) -> None:
    assert safe_name(title, content_type) == name


def test_only_what_cannot_run_script_is_shown_in_the_page() -> None:
    assert {"text/plain", "application/json"} == set(ALLOWED) - INLINE
    assert json.dumps(sorted(ALLOWED))
