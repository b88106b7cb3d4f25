"""Files that are sent to a tool: read into memory, so many of them and so large; never onto the disk.

Nothing else takes files. Who has not signed in is refused before a byte of a file is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

from django.core.exceptions import TooManyFilesSent
from django.core.files.uploadedfile import InMemoryUploadedFile, UploadedFile
from django.core.files.uploadhandler import FileUploadHandler

from .fields import DOCUMENT_BYTES_MAX

# What a request may have beside its files.
BESIDE_BYTES_MAX = 2 * 1024 * 1024


class Documents(FileUploadHandler):
    """At most so many files of at most DOCUMENT_BYTES_MAX; `too_large` makes the exception for anything larger."""

    def __init__(self, count_max: int, too_large: Callable[[], Exception]) -> None:
        super().__init__()
        self.count_max = count_max
        self.too_large = too_large
        self.count = 0
        self.content = BytesIO()

    def handle_raw_input(
        self, input_data: Any, META: Any, content_length: int, boundary: Any, encoding: str | None = None
    ) -> None:
        if content_length > self.count_max * DOCUMENT_BYTES_MAX + BESIDE_BYTES_MAX:
            raise self.too_large()

    def new_file(self, *arguments: Any, **named: Any) -> None:
        super().new_file(*arguments, **named)
        self.count += 1
        if self.count > self.count_max:
            raise TooManyFilesSent
        self.content = BytesIO()

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        if self.content.tell() + len(raw_data) > DOCUMENT_BYTES_MAX:
            raise self.too_large()
        self.content.write(raw_data)

    def file_complete(self, file_size: int) -> UploadedFile:
        self.content.seek(0)
        return InMemoryUploadedFile(
            self.content, self.field_name, self.file_name or "file", self.content_type, file_size, self.charset
        )


def sent(files: Any) -> dict[str, tuple[str, bytes]]:
    """The files of a request as (name, bytes) by their fields."""
    return {field: (one.name or "", one.read()) for field, one in files.items()}


def digests(of: Mapping[str, tuple[str, bytes]]) -> dict[str, list[str]]:
    """What an idempotency key remembers of the files: each one's name and SHA-256."""
    return {field: [name, hashlib.sha256(content).hexdigest()] for field, (name, content) in of.items()}
