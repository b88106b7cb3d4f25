"""`manage.py update_advisories`: OSV advisories become what the vulnerability scanner reads."""

import io
import json
import re
import zipfile
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml
from django.core.management.base import BaseCommand, CommandError

from tools_registry.studios.cyber import archive

BYTES_MAX = 1024 * 1024 * 1024
DOCUMENT_BYTES_MAX = 16 * 1024 * 1024
SOURCES = {
    "PyPI": ("PyPA Advisory Database, https://github.com/pypa/advisory-database", "CC BY 4.0"),
    "crates.io": ("RustSec Advisory Database, https://rustsec.org", "CC0 1.0, some CC BY 4.0 from GitHub"),
    "Go": ("Go Vulnerability Database, https://vuln.go.dev", "CC BY 4.0"),
    "npm": ("", ""),
}


class Command(BaseCommand):
    help = "Reads a folder, a zip or a link to a zip of OSV documents (JSON or YAML), and writes the compact archive."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("source", help="a folder, a zip file, or https://… of a zip, such as OSV's all.zip")
        parser.add_argument("--ecosystem", required=True, choices=list(archive.ECOSYSTEMS))
        parser.add_argument("--name", default="", help="what the source is called; shown in every result")
        parser.add_argument("--licence", default="", help="under which the source may be passed on")
        parser.add_argument("--date", default="", help="YYYY-MM-DD of the source; else that of its newest change")
        parser.add_argument("--into", type=Path, default=archive.FOLDER, help="the folder for the compact file")

    def handle(self, *args: Any, **options: Any) -> None:
        ecosystem, date = options["ecosystem"], options["date"]
        if date and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", date):
            raise CommandError("--date: write YYYY-MM-DD.")
        name, licence = options["name"] or SOURCES[ecosystem][0], options["licence"] or SOURCES[ecosystem][1]
        if not name or not licence:
            raise CommandError(f"Say with --name and --licence where the advisories for {ecosystem} come from.")
        made = archive.compact(_documents(options["source"]), ecosystem, name, licence, date)
        if not made.packages:
            raise CommandError(f"There is no advisory for {ecosystem} in {options['source']}; nothing was written.")
        packed = archive.pack(made)
        options["into"].mkdir(parents=True, exist_ok=True)
        path = archive.file_of(ecosystem, options["into"])
        beside = path.with_suffix(".new")
        beside.write_bytes(packed)
        beside.replace(path)
        self.stdout.write(
            f"{ecosystem}: {made.count} advisories about {len(made.packages)} packages, of {made.date}, "
            f"{len(packed) // 1024} KiB in {path.name}"
        )


def _documents(source: str) -> Iterator[dict[str, Any]]:
    """Every OSV document below the source, in the order of their names."""
    if source.startswith("https://"):
        answer = httpx.get(source, follow_redirects=True, timeout=300)
        answer.raise_for_status()
        yield from _zipped(zipfile.ZipFile(io.BytesIO(answer.content)))
    elif (path := Path(source)).is_dir():
        for file in sorted(one for one in path.rglob("*") if one.suffix in (".json", ".yaml", ".yml")):
            yield from _document(file.name, file.read_bytes())
    elif path.is_file() and zipfile.is_zipfile(path):
        yield from _zipped(zipfile.ZipFile(path))
    else:
        raise CommandError(f"{source} is neither a folder nor a zip.")


def _zipped(held: zipfile.ZipFile) -> Iterator[dict[str, Any]]:
    if sum(one.file_size for one in held.infolist()) > BYTES_MAX:
        raise CommandError("The zip unpacks to more than 1 GiB.")
    for one in sorted(held.infolist(), key=lambda member: member.filename):
        if one.filename.endswith((".json", ".yaml", ".yml")) and one.file_size <= DOCUMENT_BYTES_MAX:
            yield from _document(one.filename, held.read(one))


def _document(name: str, content: bytes) -> Iterator[dict[str, Any]]:
    try:
        read = json.loads(content) if name.endswith(".json") else yaml.load(content, Loader=_Loader)  # noqa: S506
    except (ValueError, yaml.YAMLError) as error:
        raise CommandError(f"{name}: {error}") from error
    if isinstance(read, dict) and isinstance(read.get("id"), str):
        yield read


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe, and days stay as they are written."""

    yaml_implicit_resolvers = {
        letter: [(tag, form) for tag, form in rules if tag != "tag:yaml.org,2002:timestamp"]
        for letter, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
