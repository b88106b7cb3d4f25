"""What an output really is, found by looking at it. Whoever made it is not believed, and a hostile file breaks nothing.

Pure but for reading the file and running ffmpeg on it, with limits on time, memory and what is read of its answer. Only
the container that the first bytes show is tried, and only local files can be opened, so no output makes us fetch
anything.
"""

import json
import re
import resource
import subprocess
import sys
import threading
import unicodedata
import warnings
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image

UNKNOWN = "application/octet-stream"
# The only content types that are delivered, each with the ending of its file's name.
ALLOWED = {
    "video/mp4": "mp4",
    "video/webm": "webm",
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "text/plain": "txt",
    "application/json": "json",
}
INLINE = frozenset(name for name in ALLOWED if name.startswith(("video/", "image/")))  # the others go as attachments

BYTES_MAX = 200 * 1024 * 1024
SECONDS_MAX = 20.0  # for one run of ffmpeg
PIXELS_MAX = 50_000_000
TEXT_BYTES_MAX = 4 * 1024 * 1024
MEMORY_BYTES_MAX = 1024 * 1024 * 1024
ANSWER_BYTES_MAX = 16 * 1024 * 1024
CONTAINERS = {"video/mp4": "mov", "video/webm": "matroska"}  # our name → ffmpeg's reader
IMAGES = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}


@dataclass(frozen=True)
class Probe:
    """What was found. `seconds` is the length of what can be played, not what the header claims."""

    content_type: str
    bytes: int
    seconds: float | None = None
    width: int | None = None
    height: int | None = None

    @property
    def is_deliverable(self) -> bool:
        return self.content_type in ALLOWED


def probe(path: Path | str, bytes_max: int = BYTES_MAX, seconds_max: float = SECONDS_MAX) -> Probe:
    """What the file is; UNKNOWN where it is empty, too large, broken, or none of the types we deliver.

    Takes about 0.2 s for a video; at most twice `seconds_max`. Raises OSError when the file cannot be read at all.
    """
    path = Path(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(64)
    if not 0 < size <= bytes_max:
        return Probe(UNKNOWN, size)
    kind = sniff(head)
    if kind in CONTAINERS:
        return _probe_video(path, kind, size, seconds_max)
    if kind in IMAGES:
        return _probe_image(path, kind, size)
    return Probe(_text_type(path, size), size)


def sniff(head: bytes) -> str:
    """The content type that a file's first bytes promise; UNKNOWN where they promise none that we know."""
    if head[4:8] == b"ftyp" and head[8:12] not in (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis"):
        return "video/mp4"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "video/webm"
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return "image/png"
    if head[:3] == b"\xff\xd8\xff":
        return "image/jpeg"
    return "image/webp" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else UNKNOWN


def safe_name(title: str, content_type: str, length_max: int = 60) -> str:
    """A file name that is safe in a header and on any disk: ASCII letters, digits and dashes, with the right ending."""
    plain = unicodedata.normalize("NFKD", title[:500]).encode("ascii", "ignore").decode()
    words = re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-").lower()[:length_max].strip("-")
    return f"{words or 'output'}.{ALLOWED.get(content_type, 'bin')}"


def _probe_video(path: Path, kind: str, size: int, seconds_max: float) -> Probe:
    """Length from the packets that are there, width and height from a frame that could really be decoded."""
    picture = _ffmpeg(path, kind, ["-frames:v", "1", "-f", "framecrc", "pipe:1"], seconds_max)
    packets = _ffmpeg(path, kind, ["-c:v", "copy", "-f", "framecrc", "pipe:1"], seconds_max)
    sides = re.search(rb"^#dimensions 0: (\d{1,5})x(\d{1,5})$", picture or b"", re.MULTILINE)
    unit = re.search(rb"^#tb 0: (\d{1,9})/(\d{1,9})$", packets or b"", re.MULTILINE)
    if not sides or not unit or int(unit[2]) == 0 or not re.search(rb"^0,", picture or b"", re.MULTILINE):
        return Probe(UNKNOWN, size)
    times = [  # stream, decoding time, presentation time, duration, size, checksum
        (int(at), int(lasts))
        for at, lasts in re.findall(rb"^0, *-?\d+, *(-?\d{1,18}), *(\d{1,18}),", packets or b"", re.MULTILINE)
    ]
    if not times:
        return Probe(UNKNOWN, size)
    ticks = max(at + lasts for at, lasts in times) - min(at for at, _ in times)
    length = ticks * Fraction(int(unit[1]), int(unit[2]))
    return Probe(kind, size, round(float(length), 3), int(sides[1]), int(sides[2]))


def _ffmpeg(path: Path, kind: str, what: list[str], seconds_max: float) -> bytes | None:
    """What ffmpeg says of the first video stream; None where it failed, took too long or said too much."""
    command = [
        get_ffmpeg_exe(), "-hide_banner", "-nostdin", "-loglevel", "quiet", "-threads", "1",
        "-protocol_whitelist", "file",
        "-max_alloc", str(MEMORY_BYTES_MAX // 4), "-max_pixels", str(PIXELS_MAX), "-f", CONTAINERS[kind],
        "-i", f"file:{path.absolute()}", "-map", "0:v:0", "-max_muxing_queue_size", "64", *what,
    ]  # fmt: skip
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={}
    ) as child:
        assert child.stdout
        timer = threading.Timer(seconds_max, child.kill)
        timer.start()
        try:
            _limit(child.pid, seconds_max)
            said = child.stdout.read(ANSWER_BYTES_MAX + 1)
            if len(said) > ANSWER_BYTES_MAX:
                child.kill()
            return said if child.wait() == 0 else None
        finally:
            timer.cancel()


def _limit(pid: int, seconds_max: float) -> None:
    """The child may use so much memory and processor time, and write no file (Linux)."""
    if sys.platform != "linux":
        return
    try:
        resource.prlimit(pid, resource.RLIMIT_DATA, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
        resource.prlimit(pid, resource.RLIMIT_CPU, (int(seconds_max) + 1, int(seconds_max) + 1))
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, 0))
    except (ProcessLookupError, PermissionError):
        pass  # it has already ended; the time limit holds in any case


def _probe_image(path: Path, kind: str, size: int) -> Probe:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=[IMAGES[kind]]) as picture:
                width, height = picture.size
                if not 0 < width * height <= PIXELS_MAX:
                    return Probe(UNKNOWN, size)
                picture.load()
    # Pillow's readers raise almost anything on files made to break them.
    except Exception:
        return Probe(UNKNOWN, size)
    return Probe(kind, size, None, width, height)


def _text_type(path: Path, size: int) -> str:
    if size > TEXT_BYTES_MAX:
        return UNKNOWN
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return UNKNOWN
    if re.search("[\x00-\x08\x0e-\x1f\x7f]", text):
        return UNKNOWN
    try:
        return "application/json" if isinstance(json.loads(text), dict | list) else "text/plain"
    except (ValueError, RecursionError):
        return "text/plain"
