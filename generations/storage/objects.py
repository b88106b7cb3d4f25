"""Outputs as private objects at an S3-compatible service, by django-storages.

No object gets an access rule of its own and no address is ever signed: whoever may have one has it from us.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from storages.backends.s3 import S3Storage

from . import Part, Stored, Unreachable

# Services that only resemble S3 do not know the newer checksums: they are left out where they are not demanded. Paths
# name the bucket, so that no service needs an address for each one.
CONFIG = Config(
    s3={"addressing_style": "path"},
    signature_version="s3v4",
    connect_timeout=5,
    read_timeout=20,
    retries={"mode": "standard", "total_max_attempts": 2},
    max_pool_connections=50,
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)
QUICKLY = Config(connect_timeout=2, read_timeout=2, retries={"total_max_attempts": 1})
# One request stores an output whole, or not at all: an upload in parts that was cut off would be kept, billed and
# unseen. One request may bring 5 GB.
TRANSFER = TransferConfig(multipart_threshold=2**32, use_threads=False)


@contextmanager
def _in_our_words() -> Iterator[None]:
    """Whatever the service or the way to it did is Unreachable. Its own error may repeat what is secret."""
    try:
        yield
    except ClientError as error:
        found = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        raise Unreachable(f"the storage answered {found}") from None
    except BotoCoreError as error:
        raise Unreachable(type(error).__name__) from None


class _Body:
    """The body of an answer; one that breaks off in the middle is Unreachable too."""

    def __init__(self, body: Any) -> None:
        self.body = body

    def read(self, count: int) -> bytes:
        with _in_our_words():
            return bytes(self.body.read(count))

    def close(self) -> None:
        self.body.close()


class Objects(S3Storage):
    """One client is shared by all threads: making one is slow and takes memory, and boto's clients allow it."""

    def __init__(self, *, endpoint_url: str, bucket_name: str, region_name: str, access_key: str, secret_key: str):
        self._making = threading.Lock()
        self._resource: Any = None
        super().__init__(
            endpoint_url=endpoint_url,
            bucket_name=bucket_name,
            region_name=region_name,
            access_key=access_key,
            secret_key=secret_key,
            client_config=CONFIG,
            transfer_config=TRANSFER,
            default_acl=None,
            # Not from this process's environment, where django-storages would look.
            security_token="",
            session_profile="",
        )

    @property
    def connection(self) -> Any:
        with self._making:
            if self._resource is None:
                self._resource = self._made(self.client_config)
            return self._resource

    def _made(self, config: Config) -> Any:
        return self._create_session().resource(
            "s3", region_name=self.region_name, endpoint_url=self.endpoint_url, config=config
        )

    @property
    def _client(self) -> Any:
        return self.connection.meta.client

    @cached_property
    def _quick_client(self) -> Any:
        with self._making:
            return self._made(CONFIG.merge(QUICKLY)).meta.client

    def _save(self, name: str, content: Any) -> str:
        with _in_our_words():
            return str(super()._save(name, content))

    def _open(self, name: str, mode: str = "rb") -> Any:
        with _in_our_words():
            return super()._open(name, mode)

    def exists(self, name: str) -> bool:
        with _in_our_words():
            return bool(super().exists(name))

    def delete(self, name: str) -> None:
        # Quickly or later: what is to be deleted is found again, and the worker has other things to do meanwhile.
        with _in_our_words():
            self._quick_client.delete_object(Bucket=self.bucket_name, Key=name)

    def url(self, *_: Any, **__: Any) -> str:
        raise NotImplementedError("Outputs have no address of their own; link to them with links.output_url.")

    def part(self, name: str, first: int, count: int) -> Part:
        with _in_our_words():
            try:
                found = self._client.get_object(
                    Bucket=self.bucket_name, Key=name, Range=f"bytes={first}-{first + count - 1}"
                )
            except self._client.exceptions.NoSuchKey:
                raise FileNotFoundError(name) from None
        return Part(_Body(found["Body"]), count)

    def listed(self, folder: str, after: str = "") -> Iterator[Stored]:
        asked = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket_name, Prefix=f"{folder}/", StartAfter=after
        )
        with _in_our_words():
            for page in asked:
                for one in page.get("Contents", ()):
                    yield Stored(one["Key"], one["LastModified"])

    def ping(self) -> None:
        with _in_our_words():
            self._quick_client.head_bucket(Bucket=self.bucket_name)
