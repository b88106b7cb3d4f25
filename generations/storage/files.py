"""Outputs as files under the data folder, readable by nobody but the user that Holdfast runs as."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.files.storage import FileSystemStorage

from . import Part, Stored, Unreachable


class Files(FileSystemStorage):
    """A file's folder is the job's: it is gone with its last file."""

    def __init__(self, location: str | Path) -> None:
        super().__init__(location=location, file_permissions_mode=0o600, directory_permissions_mode=0o700)

    def url(self, name: str | None) -> str:
        raise NotImplementedError("Outputs have no address of their own; link to them with links.output_url.")

    def part(self, name: str, first: int, count: int) -> Part:
        file = Path(self.path(name)).open("rb")  # noqa: SIM115 — the Part closes it
        file.seek(first)
        return Part(file, count)

    def delete(self, name: str) -> None:
        super().delete(name)
        with suppress(OSError):  # another file is in it
            Path(self.path(name)).parent.rmdir()

    def listed(self, folder: str, after: str = "") -> Iterator[Stored]:
        top = Path(self.path(folder))
        for inner in sorted(_entries(top), key=lambda entry: entry.name):
            if inner.name < after.removeprefix(f"{folder}/").partition("/")[0]:
                continue
            for entry in sorted(_entries(Path(inner.path)), key=lambda entry: entry.name):
                name = f"{folder}/{inner.name}/{entry.name}"
                with suppress(FileNotFoundError):
                    if name > after and entry.is_file(follow_symlinks=False):
                        changed = entry.stat(follow_symlinks=False).st_mtime
                        yield Stored(name, datetime.fromtimestamp(changed, UTC))

    def ping(self) -> None:
        folder = Path(self.location)
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent  # it is made with the first file
        if not os.access(folder, os.W_OK | os.X_OK):
            raise Unreachable("the folder of the outputs cannot be written")


def _entries(folder: Path) -> list[os.DirEntry[Any]]:
    """What is in the folder; nothing where it is no folder, or is gone."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
