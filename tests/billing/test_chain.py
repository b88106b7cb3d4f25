"""The digest chain: a known answer worked out by hand, and that every single thing in a line changes it."""

import hashlib
import struct
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from billing import chain

ACCOUNT, ID, HOLD = UUID(int=1), UUID(int=2), UUID(int=9)


@dataclass
class Line:
    account: UUID = ACCOUNT
    id: UUID = ID
    sequence: int = 3
    kind: str = "capture"
    amount: int = 4
    balance_delta: int = -4
    held_delta: int = -6
    frozen_delta: int = 1
    debt_delta: int = 0
    balance_after: int = 10
    held_after: int = 5
    frozen_after: int = 2
    debt_after: int = 0
    lots: list[UUID] = field(default_factory=lambda: [UUID(int=7), UUID(int=8)])
    remaining_deltas: list[int] = field(default_factory=lambda: [-4, 0])
    held_deltas: list[int] = field(default_factory=lambda: [-4, -2])
    hold: UUID | None = HOLD
    refunds: UUID | None = None
    user: int | None = 7
    actor: str = "job ✓"
    occurred_at: datetime = datetime(2027, 1, 1, tzinfo=UTC)
    created_at: datetime = datetime(2027, 1, 1, 0, 0, 1, tzinfo=UTC)
    text_hash: bytes | None = None


def by_hand() -> bytes:
    """The default line, put together piece by piece as the encoding is described."""
    number, length = struct.Struct(">q").pack, struct.Struct(">i").pack
    at = 1_798_761_600 * 1_000_000
    return b"".join(
        [
            bytes(15) + b"\x01",
            bytes(15) + b"\x02",
            number(3),
            length(7) + b"capture",
            *[number(n) for n in (4, -4, -6, 1, 0, 10, 5, 2, 0)],
            length(2),
            bytes(15) + b"\x07" + number(-4) + number(-4),
            bytes(15) + b"\x08" + number(0) + number(-2),
            b"\x01" + bytes(15) + b"\x09",
            b"\x00",
            b"\x01" + number(7),
            length(7) + "job ✓".encode(),
            number(at) + number(at + 1_000_000),
            b"\x00",
        ]
    )


def test_a_line_is_encoded_as_described() -> None:
    assert chain.encode(Line()) == by_hand()


def test_the_digest_is_the_known_one() -> None:
    """Changing the encoding breaks every chain ever written: then there is a new version byte beside this one."""
    assert chain.digest(bytes(32), chain.encode(Line())) == hashlib.sha256(bytes(32) + b"\x01" + by_hand()).digest()
    assert chain.digest(bytes(32), chain.encode(Line())).hex() == (
        "595f2f6de5d7a0e4a22b67b2d3e31ac2daf17a3d5f32cc257f08ca9f257ebdfe"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, UUID(int=99)) for name in ("account", "id", "hold", "refunds")],
        *[(name, 99) for name in ("sequence", "amount", "balance_delta", "held_delta", "frozen_delta", "debt_delta")],
        *[(name, 99) for name in ("balance_after", "held_after", "frozen_after", "debt_after", "user")],
        *[(name, None) for name in ("hold", "user")],
        *[(name, Line().created_at + timedelta(microseconds=1)) for name in ("occurred_at", "created_at")],
        *[("kind", "charge"), ("actor", "job"), ("text_hash", bytes(32)), ("remaining_deltas", [-3, -1])],
        *[("held_deltas", [-5, -1]), ("lots", [UUID(int=8), UUID(int=7)])],
    ],
)
def test_everything_in_a_line_changes_its_digest(name: str, value: Any) -> None:
    assert chain.encode(replace(Line(), **{name: value})) != chain.encode(Line())


def test_the_line_before_changes_it_too() -> None:
    assert chain.digest(bytes(32), b"line") != chain.digest(bytes(31) + b"\x01", b"line")


def test_words_cannot_be_moved_from_one_text_to_the_other() -> None:
    assert chain.hash_text(b"salt", "ab", "c") != chain.hash_text(b"salt", "a", "bc")
    assert chain.hash_text(b"salt", "a", "b") != chain.hash_text(b"tlas", "a", "b")
