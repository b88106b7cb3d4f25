"""What a studio tool is: its declaration, the limits it runs under, and what its function gives back. Pure.

A tool is a module below `studios` with a `TOOL`. Its function is pure, from inputs and files to a Result; it runs in a
limited child process (`runner`) and never in ours, so this file and the tools' modules load neither Django nor the
tools' libraries (`lazily`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar, Literal, NoReturn

from . import fields
from .fields import Declared, Document, InvalidInputs, WrongParts

STUDIOS = {"dev-studio": "Development", "cyber-studio": "Security", "data-studio": "Data"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the operating system lets one run use."""

    cpu_seconds: int
    seconds: int
    memory_mb: int = 512
    output_bytes: int = 1024 * 1024


class BadInput(Exception):
    """What only the function can see is wrong with its inputs: sentences by the field's name, for example
    {"spec": ["Line 3: a path begins with a slash."]}. The run ends with 422 and is not charged.
    """

    def __init__(self, named: Mapping[str, str | Sequence[str]]) -> None:
        self.fields = {name: [said] if isinstance(said, str) else list(said) for name, said in named.items()}
        super().__init__("; ".join(one for said in self.fields.values() for one in said))


@dataclass(frozen=True, slots=True)
class File:
    """A file that a run made. `name` is plain: letters, digits, dots, dashes, underscores; no folders."""

    name: str
    content_type: str
    content: bytes


# The parts of a result as people see them. The page draws them as data: nothing in them is markup.

Severity = Literal["critical", "high", "medium", "low", "info", "good"]
Block = Mapping[str, Any]


def facts(title: str, pairs: Sequence[tuple[str, Any]]) -> Block:
    """Names and values in two columns: the figures of a result at a glance."""
    return {"kind": "facts", "title": title, "pairs": [[name, value] for name, value in pairs]}


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, note: str = "") -> Block:
    """Rows under columns; numbers are set to the right."""
    return {
        "kind": "table",
        "title": title,
        "columns": list(columns),
        "rows": [list(row) for row in rows],
        "note": note,
    }


def findings(title: str, rows: Sequence[Mapping[str, Any]], *, none: str = "Nothing was found.") -> Block:
    """What was found, each {"severity", "title", "where", "text", "fix", "link"}; only the first two are needed."""
    return {"kind": "findings", "title": title, "rows": [dict(row) for row in rows], "none": none}


def text(title: str, paragraphs: str | Sequence[str]) -> Block:
    """Paragraphs."""
    said = [paragraphs] if isinstance(paragraphs, str) else list(paragraphs)
    return {"kind": "text", "title": title, "paragraphs": said}


def code(title: str, source: str, *, language: str = "", file: str = "") -> Block:
    """Source text; `file` names the File that has it whole."""
    return {"kind": "code", "title": title, "source": source, "language": language, "file": file}


def picture(title: str, file: str, *, described: str) -> Block:
    """One of the run's files shown as a picture (SVG or PNG), in words for who cannot see it."""
    return {"kind": "picture", "title": title, "file": file, "described": described}


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to: `result` is the API's answer, `view` the page's, `files` what can be downloaded."""

    result: Mapping[str, Any]
    view: Sequence[Block] = ()
    files: Sequence[File] = ()


Function = Callable[[dict[str, Any], dict[str, bytes]], Result]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool(Declared):
    """A studio tool. `slug` is studio/tool; `icon` a name in icons.svg."""

    mode: Literal["client", "hybrid", "server"]
    risk: Literal["low", "medium", "high"] = "low"
    # Most credits for a run; the price at the limits is capped at it.
    credits_max: int = 0
    limits: Limits | None = None
    # None where it runs in the browser alone.
    function: Function | None = None
    icon: str = "studio"
    # Files for the example, by their fields.
    example_files: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)

    MODES: ClassVar = {"client": "In your browser", "hybrid": "Browser and server", "server": "On the server"}

    def __post_init__(self) -> None:
        studio, _, name = self.slug.partition("/")
        assert studio in STUDIOS, self.slug
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", name), self.slug
        assert (self.function is None) == (self.limits is None) == (self.mode == "client"), self.slug
        assert (self.credits_max > 0) == (self.mode != "client"), self.slug

    @property
    def studio(self) -> str:
        return self.slug.partition("/")[0]

    @property
    def name(self) -> str:
        return self.slug.partition("/")[2]

    @property
    def path(self) -> str:
        """Where the runner finds the function: module:name."""
        assert self.function is not None
        return f"{self.function.__module__}:{self.function.__qualname__}"

    @property
    def bounds(self) -> dict[str, int]:
        """The hard limits of a run, by the names that its price is made of."""
        assert self.limits is not None
        return {one: getattr(self.limits, one) for one in ("cpu_seconds", "seconds", "memory_mb")}

    @property
    def script(self) -> str:
        """Where the static files may have its half in the browser."""
        return f"holdfast/studio/{self.studio.removesuffix('-studio')}/{self.name.replace('-', '_')}.js"

    @property
    def documents(self) -> list[Document]:
        return [of for of in self.fields if isinstance(of, Document)]

    def clean_with_files(
        self, inputs: Any, sent: Mapping[str, tuple[str, bytes]], under: str = ""
    ) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The inputs, and the bytes of each document by its field; raises InvalidInputs naming each wrong one.

        `sent`: uploaded files, as (file name, bytes) by their fields.
        """
        if not isinstance(inputs, Mapping):
            raise InvalidInputs(fields={"inputs": ["Send an object with the inputs."]})
        plain = [of for of in self.fields if not isinstance(of, Document)]
        documents = {of.name: of for of in self.documents}
        wrong: dict[str, list[str]] = {}
        cleaned: dict[str, Any] = {}
        files: dict[str, bytes] = {}
        try:
            cleaned = fields.read(plain, {name: value for name, value in inputs.items() if name not in documents})
        except WrongParts as error:
            wrong |= error.parts
        for name, of in documents.items():
            try:
                if name in sent:
                    cleaned[name], files[name] = _file_name(sent[name][0], of), of.clean_file(sent[name][1])
                elif name in inputs:
                    cleaned[name], files[name] = of.file_name, of.clean(inputs[name])
                elif of.is_required:
                    raise ValueError("This is needed.")
                else:
                    cleaned[name] = None
            except ValueError as error:
                wrong[name] = [str(error)]
        wrong |= {name: ["There is no such file."] for name in sent if name not in documents}
        if wrong:
            raise InvalidInputs(fields={f"{under}{name}": said for name, said in wrong.items()})
        return cleaned, files


def _file_name(name: str, of: Document) -> str:
    """The name of an uploaded file without folders; raises ValueError for an ending that is not understood."""
    plain = re.sub(r"[^\w.\- ]", "_", name.replace("\\", "/").rpartition("/")[2])[-100:]
    if of.accepts and not plain.lower().endswith(of.accepts):
        raise ValueError(f"Send a file that ends in {', '.join(of.accepts)}.")
    return plain or of.file_name


# A result on its way from the child: JSON with the files' sizes, then their bytes. Never pickle: who writes it may have
# been taken over by what it read.


def encode(result: Result) -> bytes:
    """The result as bytes; raises ValueError for what is no JSON."""
    head = {
        "result": result.result,
        "view": list(result.view),
        "files": [[one.name, one.content_type, len(one.content)] for one in result.files],
    }
    written = json.dumps(head, default=_plain, allow_nan=False, ensure_ascii=False).encode("utf-8", "replace")
    return len(written).to_bytes(4) + written + b"".join(one.content for one in result.files)


def decode(encoded: bytes) -> Result:
    """The result that was encoded; raises ValueError for anything else."""
    length = int.from_bytes(encoded[:4])
    if len(encoded) < 4 + length:
        raise ValueError("The answer was cut off.")
    head = _storable(json.loads(encoded[4 : 4 + length], parse_constant=_no_number, parse_float=_finite))
    if not isinstance(head, dict) or set(head) != {"result", "view", "files"} or not isinstance(head["result"], dict):
        raise ValueError("The answer is no result.")
    view = head["view"]
    if not isinstance(view, list) or any(not isinstance(one, dict) or "kind" not in one for one in view):
        raise ValueError("The answer’s view is none.")
    if len(view) > BLOCKS_MAX or len(head["files"]) > FILES_MAX:
        raise ValueError("The answer has too many parts.")
    files, at = [], 4 + length
    for name, content_type, size in head["files"]:
        is_plain = isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}", name)
        if not is_plain or content_type not in CONTENT_TYPES or type(size) is not int or size < 0:
            raise ValueError("The answer has a file that cannot be kept.")
        files.append(File(name, content_type, encoded[at : at + size]))
        at += size
    if at != len(encoded) or len({one.name for one in files}) != len(files):
        raise ValueError("The answer’s files do not add up.")
    return Result(head["result"], view, files)


CONTENT_TYPES = frozenset(
    {
        "application/json",
        "application/pdf",
        "application/vnd.apache.parquet",
        "application/yaml",
        "application/zip",
        "image/png",
        "image/svg+xml",
        "text/csv",
        "text/html",
        "text/markdown",
        "text/plain",
    }
)
"""What a run may make. All but the two kinds of picture are only ever downloaded."""


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset | tuple):
        return sorted(value) if isinstance(value, set | frozenset) else list(value)
    raise ValueError(f"{type(value).__name__} is no JSON.")


def _storable(value: Any, depth: int = 0) -> Any:
    """The same, with no text that PostgreSQL could not keep: no NUL, no half of a character. Raises ValueError for what
    is nested so deeply that a page could not be drawn of it.
    """
    if depth > DEPTH_MAX:
        raise ValueError("The answer is nested too deeply.")
    if isinstance(value, str):
        return _UNSTORABLE.sub("�", value)
    if isinstance(value, dict):
        return {_storable(name): _storable(one, depth + 1) for name, one in value.items()}
    return [_storable(one, depth + 1) for one in value] if isinstance(value, list) else value


DEPTH_MAX = 100
# Each file is a row, and each block a part of a page; no tool has a tenth of them.
FILES_MAX, BLOCKS_MAX = 200, 500
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number.")


def _finite(written: str) -> float:
    number = float(written)
    return number if math.isfinite(number) else _no_number(written)


def size_bucket(inputs: Mapping[str, Any], files: Mapping[str, bytes]) -> int:
    """How large a run's inputs are, as `bucket_of` says it."""
    return bucket_of(len(json.dumps(inputs, default=str)) + sum(map(len, files.values())))


def bucket_of(size: int) -> int:
    """The power of four of so many bytes, from 0 (up to 1) to 15."""
    return min(15, math.ceil(math.log(max(size, 1), 4)))
