"""Strict JSON in. What cannot be read is 400, what is too large 413; a character no text may hold is 422.

Numbers with a fraction or an exponent are Decimal, so that no amount is ever a float.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import jiter
from rest_framework.parsers import BaseParser

from . import refusals

BYTES_MAX = 1024 * 1024
EXPONENT_MAX = 100
# What only a look at every value can judge: a NUL, and an exponent that would fill the memory when written out.
_NEEDS_A_LOOK = re.compile(rb"\\u0000|[eE][+-]?[0-9]{3}")


class StrictJSONParser(BaseParser):
    """One JSON value in UTF-8: no NaN, no key twice, no lone surrogate, no depth over 200, at most 1 MiB."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        meta = stream.META if hasattr(stream, "META") else parser_context["request"].META
        if int(meta.get("CONTENT_LENGTH") or 0) > BYTES_MAX:
            raise refusals.BodyTooLarge
        charset = re.search(r"charset\s*=\s*\"?([^\s;\"]+)", media_type or "", re.IGNORECASE)
        if charset and charset[1].lower() not in ("utf-8", "utf8", "us-ascii"):
            raise refusals.Malformed(reason="JSON is written in UTF-8.")
        data = stream.read(BYTES_MAX + 1)
        if len(data) > BYTES_MAX:
            raise refusals.BodyTooLarge
        return read(data)


def read(data: bytes) -> Any:
    """The value that `data` stands for. Raises Malformed, or InvalidFields naming the place."""
    try:
        value = jiter.from_json(data, allow_inf_nan=False, catch_duplicate_keys=True, float_mode="decimal")
    except ValueError as error:
        raise refusals.Malformed(reason=f"It is not strict JSON: {error}.") from error
    if _NEEDS_A_LOOK.search(data):
        wrong = dict(_wrong(value, ""))
        if wrong:
            raise refusals.InvalidFields(fields=wrong)
    return value


def _wrong(value: Any, place: str) -> Iterator[tuple[str, list[str]]]:
    if isinstance(value, str) and "\0" in value:
        yield place, ["Null characters are not allowed."]
    elif isinstance(value, Decimal) and abs(int(value.as_tuple().exponent)) > EXPONENT_MAX:
        yield place, ["That number is out of range."]
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from _wrong(item, f"{place}.{at}" if place else str(at))
    elif isinstance(value, dict):
        for key, item in value.items():
            if "\0" in key:
                yield place, ["Null characters are not allowed in a name."]
            else:
                yield from _wrong(item, f"{place}.{key}" if place else key)
