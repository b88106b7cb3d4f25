"""Only the studio takes files (tools_registry/uploads.py). One sent elsewhere is refused before any of it is kept."""

from typing import Any, NoReturn

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, SuspiciousMultipartForm
from django.core.files.uploadhandler import FileUploadHandler


class NoUploads(FileUploadHandler):
    """Both refusals answer 400. Without this, whoever is not even signed in could fill the disk: files wait there."""

    def handle_raw_input(
        self, input_data: Any, META: Any, content_length: int, boundary: Any, encoding: str | None = None
    ) -> None:
        if content_length > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise RequestDataTooBig("The body of the form is too large.")

    def new_file(self, *_: Any, **__: Any) -> NoReturn:
        raise SuspiciousMultipartForm("Nothing here takes files.")

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        return None

    def file_complete(self, file_size: int) -> None:
        return None
