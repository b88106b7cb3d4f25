"""Where outputs are kept: files under the data folder, or objects at an S3-compatible service. Private in both.

Nobody is ever given an address of the storage itself: what is handed out is read from here, a part at a time
(delivery.py). A storage that cannot be reached raises Unreachable, which says nothing that was in its settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple, Protocol, cast

from django.core.files.storage import default_storage

CHUNK_BYTES = 64 * 1024


class Unreachable(OSError):
    """The storage did not answer, or not as it should. Asking again later may help."""


class Stored(NamedTuple):
    """A file that is there, whatever our rows say of it."""

    name: str
    stored_at: datetime


class Readable(Protocol):
    def read(self, count: int, /) -> bytes: ...

    def close(self) -> object: ...


class Part:
    """So many bytes from where the source stands, a chunk at a time; closing it lets go of the source."""

    def __init__(self, source: Readable, count: int) -> None:
        self.source, self.left = source, count

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        data = self.source.read(min(CHUNK_BYTES, self.left)) if self.left else b""
        if not data:
            raise StopIteration
        self.left -= len(data)
        return data

    def close(self) -> None:
        self.source.close()


class OutputStorage(Protocol):
    """What both kinds can do. Every method may raise Unreachable."""

    def save(self, name: str, content: Any) -> str: ...

    def exists(self, name: str) -> bool: ...

    def delete(self, name: str) -> None: ...

    def part(self, name: str, first: int, count: int) -> Part:
        """`count` bytes from `first` on, never all of them in memory. Raises FileNotFoundError."""

    def listed(self, folder: str, after: str = "") -> Iterator[Stored]:
        """Everything under the folder whose name comes after `after`, in the order of the names."""

    def ping(self) -> None:
        """It is there and would take a file, as far as asking quickly can tell; raises Unreachable where not."""


def output_storage() -> OutputStorage:
    """The one that the settings name."""
    return cast(OutputStorage, default_storage)
