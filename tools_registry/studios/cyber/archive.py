"""Advisories about open source packages, shipped with this house: one compact file an ecosystem, each with its date.

They come from public archives in the OSV format (https://ossf.github.io/osv-schema/), compacted by
`manage.py update_advisories`: withdrawn ones are left out, and of the versions that an advisory lists only those are
kept that its ranges do not say already. Whether a version is affected is decided as the format's evaluation algorithm
says: it is listed, or its ranges' events in order of version leave it affected.
"""

from __future__ import annotations

import json
import lzma
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, total_ordering
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from tools_registry.lazily import beforehand

FOLDER = Path(__file__).parent / "advisories"
FORMAT = 1
SUMMARY_LETTERS = 280
ALIASES_MAX = 12
# ecosystem as OSV names it: how a package of it is called in a package URL
ECOSYSTEMS = {"PyPI": "pypi", "crates.io": "cargo", "Go": "golang", "npm": "npm"}
EVENTS = ("introduced", "fixed", "last_affected")
SEMVER = re.compile(
    r"v?(0|[1-9]\d{0,30})(?:\.(0|[1-9]\d{0,30}))?(?:\.(0|[1-9]\d{0,30}))?"
    r"(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?"
)


@total_ordering
class Semver:
    """A version as Semantic Versioning 2.0.0 orders them (its section 11)."""

    def __init__(self, written: str) -> None:
        found = SEMVER.fullmatch(written)
        if found is None:
            raise ValueError(f"{written} is no semantic version.")
        self.core = tuple(int(one or 0) for one in found.groups()[:3])
        self.before = [
            (0, int(one), "") if one.isdecimal() and len(one) < 40 else (1, 0, one)
            for one in (found[4].split(".") if found[4] else [])
        ]

    @property
    def _key(self) -> tuple[Any, ...]:
        return self.core, not self.before, self.before

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Semver) and self._key == other._key

    def __lt__(self, other: Semver) -> bool:
        return self._key < other._key

    def __hash__(self) -> int:
        return hash((self.core, tuple(self.before)))


Comparable = Version | Semver


def read_version(ecosystem: str, written: str) -> Comparable | None:
    """The version to compare by: PEP 440 for Python, semantic versions elsewhere; None for what is neither."""
    try:
        return Version(written) if ecosystem == "PyPI" else Semver(written)
    except (InvalidVersion, ValueError):
        return None


def name_of(ecosystem: str, written: str) -> str:
    """The name under which the archive has the package."""
    if ecosystem == "PyPI":
        return canonicalize_name(written)
    return written.strip()


@dataclass(frozen=True, slots=True)
class Advisory:
    """What is known of one weakness in one package."""

    id: str
    aliases: tuple[str, ...]
    summary: str
    published: str
    vectors: tuple[str, ...]  # CVSS
    rating: str  # the source's own word, where it gives one
    ranges: tuple[tuple[tuple[str, str], ...], ...]
    versions: tuple[str, ...]
    note: str  # "unmaintained", "unsound", "unreviewed", "versions uncertain"; nothing for most

    def affects(self, ecosystem: str, version: Comparable) -> bool:
        if any(read_version(ecosystem, one) == version for one in self.versions):
            return True
        return any(_is_in(ecosystem, events, version) for events in self.ranges)

    @property
    def fixed(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(version for events in self.ranges for name, version in events if name == "fixed"))


def _is_in(ecosystem: str, events: Sequence[tuple[str, str]], version: Comparable) -> bool:
    """The format's BeforeLimits and IncludedInRanges, for ranges of versions."""
    is_affected = False
    for name, at in _sorted(ecosystem, events):
        if name == "introduced" and (at is None or version >= at):
            is_affected = True
        elif at is not None and ((name == "fixed" and version >= at) or (name == "last_affected" and version > at)):
            is_affected = False
    return is_affected


def _sorted(ecosystem: str, events: Sequence[tuple[str, str]]) -> list[tuple[str, Any]]:
    """The events by version, that "0" (before all others) first; those that no rule reads are left out."""
    first = [(name, None) for name, at in events if at == "0" and name == "introduced"]
    read = [(name, read_version(ecosystem, at)) for name, at in events if at != "0" or name != "introduced"]
    known = [(name, at) for name, at in read if at is not None]
    return first + sorted(known, key=lambda one: (one[1], EVENTS.index(one[0])))


@dataclass(frozen=True, slots=True)
class Archive:
    """The advisories of one ecosystem, by package."""

    ecosystem: str
    source: str
    licence: str
    date: str  # of the source's last change
    packages: Mapping[str, Sequence[Mapping[str, Any]]]

    @property
    def count(self) -> int:
        return len({one["id"] for rows in self.packages.values() for one in rows})

    def about(self, package: str) -> list[Advisory]:
        rows = self.packages.get(name_of(self.ecosystem, package), ())
        return [
            Advisory(
                one["id"],
                tuple(one.get("aliases", ())),
                one.get("summary", ""),
                one.get("published", ""),
                tuple(one.get("cvss", ())),
                one.get("rating", ""),
                tuple(tuple((name, at) for name, at in events) for events in one.get("ranges", ())),
                tuple(one.get("versions", ())),
                one.get("note", ""),
            )
            for one in rows
        ]


def file_of(ecosystem: str, folder: Path = FOLDER) -> Path:
    return folder / f"{ECOSYSTEMS[ecosystem]}.json.xz"


@cache
def shipped(ecosystem: str) -> Archive | None:
    """The archive of the ecosystem, read once; None where none is shipped."""
    path = file_of(ecosystem)
    return opened(path.read_bytes()) if path.exists() else None


@beforehand
def all_shipped() -> list[Archive]:
    """Every archive that is shipped."""
    return [archive for archive in map(shipped, ECOSYSTEMS) if archive is not None]


def opened(packed: bytes) -> Archive:
    head = json.loads(lzma.decompress(packed))
    if head["format"] != FORMAT:
        raise ValueError(f"The archive is of format {head['format']}; this reads {FORMAT}.")
    return Archive(head["ecosystem"], head["source"], head["licence"], head["date"], head["packages"])


# Making it


def pack(archive: Archive) -> bytes:
    """The archive as its file has it: the same archive gives the same bytes."""
    head = {
        "format": FORMAT,
        "ecosystem": archive.ecosystem,
        "source": archive.source,
        "licence": archive.licence,
        "date": archive.date,
        "packages": archive.packages,
    }
    written = json.dumps(head, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return lzma.compress(written.encode(), preset=9 | lzma.PRESET_EXTREME)


def compact(documents: Iterable[Mapping[str, Any]], ecosystem: str, source: str, licence: str, date: str) -> Archive:
    """The advisories among these OSV documents that are about the ecosystem. `date` "": that of the newest of them."""
    packages: dict[str, list[dict[str, Any]]] = {}
    newest = ""
    for document in documents:
        if document.get("withdrawn"):
            continue
        for affected in document.get("affected") or ():
            package = affected.get("package") or {}
            if package.get("ecosystem") != ecosystem or not package.get("name"):
                continue
            row = _compacted(document, affected, ecosystem)
            if row is not None:
                packages.setdefault(name_of(ecosystem, package["name"]), []).append(row)
                newest = max(newest, str(document.get("modified") or document.get("published") or "")[:10])
    for name, rows in packages.items():
        packages[name] = _joined(sorted(rows, key=lambda one: (one["id"], json.dumps(one, sort_keys=True))))
    return Archive(ecosystem, source, licence, date or newest, dict(sorted(packages.items())))


def _compacted(document: Mapping[str, Any], affected: Mapping[str, Any], ecosystem: str) -> dict[str, Any] | None:
    own, here = document.get("database_specific") or {}, affected.get("database_specific") or {}
    ranges = [
        [[name, str(at)] for event in one.get("events") or () for name, at in event.items() if name in EVENTS]
        for one in affected.get("ranges") or ()
        if one.get("type") in ("ECOSYSTEM", "SEMVER")
    ]
    ranges = [events for events in ranges if events]
    listed = [str(one) for one in affected.get("versions") or ()]
    missing = []
    for written in listed:
        version = read_version(ecosystem, written)
        if version is None or not any(_is_in(ecosystem, [(a, b) for a, b in events], version) for events in ranges):
            missing.append(written)
    if not ranges and not missing:
        return None
    note = here.get("informational") or ""
    if (affected.get("ecosystem_specific") or {}).get("custom_ranges"):
        note = "versions uncertain"
    elif own.get("review_status") == "UNREVIEWED":
        note = "unreviewed"
    severities = (document.get("severity") or ()) or (affected.get("severity") or ())
    row = {
        "id": document["id"],
        "aliases": sorted(set(document.get("aliases") or ()))[:ALIASES_MAX],
        "summary": said_shortly(document.get("summary") or document.get("details") or ""),
        "published": str(document.get("published") or "")[:10].replace("0001-01-01", ""),
        "cvss": [str(one["score"]) for one in severities if str(one.get("type", "")).startswith("CVSS")],
        "rating": str(own.get("severity") or "").lower() if isinstance(own.get("severity"), str) else "",
        "ranges": ranges,
        "versions": missing,
        "note": note,
    }
    return {name: value for name, value in row.items() if value}


def _joined(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each advisory, with the ranges and versions of all its parts."""
    kept: dict[str, dict[str, Any]] = {}
    for row in rows:
        if (other := kept.get(row["id"])) is None:
            kept[row["id"]] = row
            continue
        for name in ("ranges", "versions"):
            more = [one for one in row.get(name, ()) if one not in other.get(name, ())]
            if more:
                other[name] = [*other.get(name, ()), *more]
    return list(kept.values())


def said_shortly(text: str) -> str:
    """The text in one line, without Markdown's marks, cut at a word where it is long."""
    line = re.sub(r"(?m)^\s*#+ .*$", "", text) if re.search(r"(?m)^\s*[^#\s]", text) else text
    line = re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*#]+", lambda found: found[1] or "", " ".join(line.split())).strip()
    return line if len(line) <= SUMMARY_LETTERS else line[: SUMMARY_LETTERS - 1].rpartition(" ")[0] + "…"
