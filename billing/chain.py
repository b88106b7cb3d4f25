"""The hash chain over an account's statement: how a line becomes bytes, and how the bytes become a digest.

digest = SHA-256(previous digest ‖ version byte ‖ the line in the fixed encoding below). Numbers are 8 bytes, signed,
big-endian; ids 16 bytes; times whole microseconds since 1970-01-01 UTC; words are UTF-8 behind their length in 4
bytes; what may be missing stands behind one byte, 1 for there and 0 for missing. The texts of a line are not in it:
their salted hash is, so that a person can be erased and the chain still verified.
"""

from __future__ import annotations

import hashlib
import struct
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import UUID

VERSION = b"\x01"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NUMBER = struct.Struct("!q")
_AMOUNTS = struct.Struct("!9q")
_LENGTH = struct.Struct("!i")
_MOVE = struct.Struct("!16sqq")
_TIMES = struct.Struct("!qq")


def microseconds(moment: datetime) -> int:
    """Whole microseconds since 1970-01-01 UTC."""
    return (moment - EPOCH) // _MICROSECOND


def _maybe(value: bytes | None) -> bytes:
    return b"\x00" if value is None else b"\x01" + value


def _word(text: str) -> bytes:
    encoded = text.encode()
    return _LENGTH.pack(len(encoded)) + encoded


class Line(Protocol):
    """What a line must carry to be encoded: a decided one has it, and a stored one (see `reconcile`)."""

    @property
    def account(self) -> UUID: ...
    @property
    def id(self) -> UUID: ...
    @property
    def sequence(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def amount(self) -> int: ...
    @property
    def balance_delta(self) -> int: ...
    @property
    def held_delta(self) -> int: ...
    @property
    def frozen_delta(self) -> int: ...
    @property
    def debt_delta(self) -> int: ...
    @property
    def balance_after(self) -> int: ...
    @property
    def held_after(self) -> int: ...
    @property
    def frozen_after(self) -> int: ...
    @property
    def debt_after(self) -> int: ...
    @property
    def lots(self) -> list[UUID]: ...
    @property
    def remaining_deltas(self) -> list[int]: ...
    @property
    def held_deltas(self) -> list[int]: ...
    @property
    def hold(self) -> UUID | None: ...
    @property
    def refunds(self) -> UUID | None: ...
    @property
    def user(self) -> int | None: ...
    @property
    def actor(self) -> str: ...
    @property
    def occurred_at(self) -> datetime: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def text_hash(self) -> bytes | None: ...


def encode(line: Line) -> bytes:
    """The line in its fixed encoding."""
    moves = [
        _MOVE.pack(lot.bytes, remaining, held)
        for lot, remaining, held in zip(line.lots, line.remaining_deltas, line.held_deltas, strict=True)
    ]
    return b"".join(
        (
            line.account.bytes,
            line.id.bytes,
            _NUMBER.pack(line.sequence),
            _word(line.kind),
            _AMOUNTS.pack(
                line.amount,
                line.balance_delta,
                line.held_delta,
                line.frozen_delta,
                line.debt_delta,
                line.balance_after,
                line.held_after,
                line.frozen_after,
                line.debt_after,
            ),
            _LENGTH.pack(len(moves)),
            *moves,
            _maybe(line.hold.bytes if line.hold else None),
            _maybe(line.refunds.bytes if line.refunds else None),
            _maybe(_NUMBER.pack(line.user) if line.user is not None else None),
            _word(line.actor),
            _TIMES.pack(microseconds(line.occurred_at), microseconds(line.created_at)),
            _maybe(line.text_hash),
        )
    )


def digest(previous: bytes, line: bytes) -> bytes:
    """The digest of a line encoded by `encode`, after the line whose digest is `previous` (32 zero bytes at first)."""
    return hashlib.sha256(previous + VERSION + line).digest()


def hash_text(salt: bytes, description: str, reason: str) -> bytes:
    """The salted hash that stands for a line's texts."""
    return hashlib.sha256(salt + _word(description) + _word(reason)).digest()
