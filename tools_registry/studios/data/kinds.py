"""What kind of value a text is: number, date, yes or no, address; and what kind a column is, by most of its values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTHS = {name: number for number, name in enumerate(MONTH_NAMES, start=1)}
_MONTH = "(?:jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec)[a-z]*"
_TIME = r"(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?[ap]m)?(?: ?(?:Z|UTC|[+-]\d{2}(?::?\d{2})?))?)"

# In the order in which they are tried. Each is a way to write a kind; several ways can be one kind.
WAYS = {
    "whole": r"[+-]?(?:0|[1-9]\d*)",
    "padded": r"0\d+",
    "point": r"[+-]?\d*\.\d+(?:e[+-]?\d+)?|[+-]?\d+(?:\.\d*)?e[+-]?\d+",
    "grouped": r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?",
    "comma": r"[+-]?(?:\d+|\d{1,3}(?:\.\d{3})+),\d+|[+-]?[1-9]\d{0,2}(?:[ \u00a0\u202f]\d{3})+,\d{1,2}",
    "money": r"-?[£$€] ?-?\d[\d,.]*|-?\d[\d,.]* ?(?:[£$€]|GBP|EUR|USD)",
    "percent": r"[+-]?\d+(?:[.,]\d+)? ?%",
    "YYYY-MM-DD": r"\d{4}-\d{1,2}-\d{1,2}",
    "YYYY/MM/DD": r"\d{4}/\d{1,2}/\d{1,2}",
    "D/M/Y": r"\d{1,2}/\d{1,2}/(?:\d{4}|\d{2})",
    "D.M.Y": r"\d{1,2}\.\d{1,2}\.(?:\d{4}|\d{2})",
    "D-M-Y": r"\d{1,2}-\d{1,2}-\d{4}",
    "D Month Y": rf"\d{{1,2}}(?:st|nd|rd|th)?[ -]{_MONTH}[ -](?:\d{{4}}|\d{{2}})",
    "Month D, Y": rf"{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}",
    "YYYY-MM-DD time": rf"\d{{4}}-\d{{1,2}}-\d{{1,2}}{_TIME}",
    "YYYY/MM/DD time": rf"\d{{4}}/\d{{1,2}}/\d{{1,2}}{_TIME}",
    "D/M/Y time": rf"\d{{1,2}}/\d{{1,2}}/(?:\d{{4}}|\d{{2}}){_TIME}",
    "D.M.Y time": rf"\d{{1,2}}\.\d{{1,2}}\.(?:\d{{4}}|\d{{2}}){_TIME}",
    "word": r"true|false|yes|no",
    "address": r"[^\s@,;<>]+@[^\s@,;<>]+\.[a-z]{2,}",
    "link": r"(?:https?|ftp)://\S+",
    "uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
}
# 1.234 and 1.234.567: thousands where the column has a decimal comma
_DOTTED = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+", re.ASCII)
_GROUPS = {f"way{number}": way for number, way in enumerate(WAYS)}
_PATTERN = re.compile("|".join(f"(?P<{group}>{WAYS[way]})" for group, way in _GROUPS.items()), re.I | re.ASCII)

KINDS = {
    "whole": "integer",
    "point": "decimal",
    "grouped": "decimal",
    "comma": "decimal",
    "money": "decimal",
    "percent": "decimal",
    "padded": "text",
    "word": "boolean",
    "address": "email",
    "link": "url",
    "uuid": "uuid",
    "text": "text",
} | {way: "datetime" if way.endswith(" time") else "date" for way in WAYS if way[0] in "YDM"}

# Words that stand for nothing: always, and where the column is of numbers or dates.
NOTHING = frozenset({"null", "n/a", "#n/a", "nan", "none", "nil", "undefined", "(null)", "(blank)", "#value!", "#ref!"})
PERHAPS_NOTHING = frozenset({"na", "-", "--", "—", "?", "??", ".", "missing", "unknown", "tbd", "tbc", "x", "nd"})


def way_of(value: str) -> str:
    """How the value is written: a name of WAYS, or "text"."""
    found = _PATTERN.fullmatch(value)
    return _GROUPS[found.lastgroup] if found and found.lastgroup else "text"


def kind_of(value: str) -> str:
    """integer, decimal, date, datetime, boolean, email, url, uuid or text."""
    return KINDS[way_of(value)]


# From here on sums and squares leave what a float can hold.
NUMBER_MAX = 1e120


def number_of(value: str, way: str) -> float:
    """The number that is written that way."""
    if way in ("whole", "point", "padded"):
        return float(value)
    plain = re.sub(r"[^\d.,+-]", "", value)
    if way == "comma" or (way in ("money", "percent") and re.search(r",\d{1,2}$", plain)):
        plain = plain.replace(".", "").replace(",", ".")
    plain = plain.replace(",", "")
    try:
        return float(plain)
    except ValueError:
        return float("nan")


def date_of(value: str, way: str, *, is_day_first: bool = True) -> date | None:
    """The day that is written that way; None where no calendar has it."""
    parts = re.findall(r"\d+|[A-Za-z]{3,}", value[:40])
    try:
        if way.startswith("Y"):
            year, month, day = map(int, parts[:3])
        elif way == "D Month Y":
            words = [one for one in parts if one.isalpha()]
            numbers = [one for one in parts if one.isdigit()]
            day, month, year = int(numbers[0]), MONTHS[words[0][:3].lower()], _year(numbers[1])
        elif way == "Month D, Y":
            month, day, year = MONTHS[parts[0][:3].lower()], int(parts[1]), _year(parts[-1])
        else:
            day, month, year = int(parts[0]), int(parts[1]), _year(parts[2])
            if not is_day_first:
                day, month = month, day
        return date(year, month, day)
    except (ValueError, KeyError, IndexError):
        return None


def _year(written: str) -> int:
    """Two digits are 1930 to 2029."""
    year = int(written)
    return year if len(written) > 2 else year + (1900 if year >= 30 else 2000)


def is_day_first(values: Mapping[str, int]) -> bool:
    """Whether dates with slashes, dots or dashes have the day first: as most of those that can be read one way only."""
    day_first = month_first = 0
    for value, count in values.items():
        parts = re.findall(r"\d+", value[:10])
        if len(parts) >= 2:
            day_first += count * (12 < int(parts[0]) <= 31)
            month_first += count * (12 < int(parts[1]) <= 31)
    return day_first >= month_first


def settled(ways: dict[str, str]) -> dict[str, str]:
    """The ways of a column's values, where one says what another means: beside 12,50 the comma of 1,250 parts off what
    is less than one, and the point of 1.250 thousands. Nothing is settled where 1,250.50 or 1,250,000 says otherwise.
    static/holdfast/studio/reading.js settles the same.
    """
    has_comma = any(way == "comma" for way in ways.values())
    if not has_comma or any(way == "grouped" and ("." in value or value.count(",") > 1) for value, way in ways.items()):
        return ways
    return {
        value: "comma" if way == "grouped" or (way in ("point", "text") and _DOTTED.fullmatch(value)) else way
        for value, way in ways.items()
    }


@dataclass(slots=True)
class Profile:
    """What a column is, by its distinct values."""

    kind: str
    # Values that stand for nothing, and all others, with how often they stand there.
    nothing: Counter[str]
    values: Counter[str]
    ways: dict[str, str]  # of each value
    blank: int  # cells with nothing in them
    is_day_first: bool
    share: float  # of the values, those of the column's kind

    @property
    def missing(self) -> int:
        return self.blank + self.nothing.total()

    def kind_of(self, value: str) -> str:
        """The kind of a value as its column sees it: a whole number is a decimal too, 1 and 0 can be yes and no."""
        kind = KINDS[self.ways[value]]
        if kind == "integer" and self.kind == "decimal":
            return "decimal"
        if kind == "date" and self.kind == "datetime":
            return "datetime"
        if kind == "text" and self.ways[value] == "padded" and self.kind in ("integer", "decimal"):
            return self.kind
        if self.kind == "boolean" and value in ("0", "1"):
            return "boolean"
        return kind


MOSTLY = 0.7
"""So much of a column of one kind, and the rest is wrong; with less it is a column of texts."""


def profile(cells: list[str | None]) -> Profile:
    """The column's kind and its values, each seen once. Spaces around a value do not count."""
    counted = Counter(cells)
    blank = counted.pop(None, 0)
    values: Counter[str] = Counter()
    nothing: Counter[str] = Counter()
    for cell, count in counted.items():
        value = cell.strip() if cell else ""
        if not value:
            blank += count
        elif len(value) <= 11 and value.casefold() in NOTHING:
            nothing[value] += count
        else:
            values[value] += count
    ways = settled({value: way_of(value) if len(value) <= 400 else "text" for value in values})
    kinds: Counter[str] = Counter()
    for value, count in values.items():
        kinds[KINDS[ways[value]]] += count
    perhaps = [value for value in values if len(value) <= 7 and value.casefold() in PERHAPS_NOTHING]
    known = values.total() - sum(values[value] for value in perhaps)
    kind, share = _most(kinds, known)
    if kind == "integer" and any(way == "padded" for way in ways.values()):
        # Leading zeros are kept only in codes: 00412 is no number
        padded = sum(values[value] for value, way in ways.items() if way == "padded")
        if padded > known * 0.02:
            kind, share = "text", 1.0
    if kind != "text":
        for value in perhaps:
            if KINDS[ways[value]] != kind:
                nothing[value] += values.pop(value)
    dated = {value: count for value, count in values.items() if ways[value][0] == "D" and ways[value] != "D Month Y"}
    return Profile(kind, nothing, values, ways, blank, is_day_first(dated), share)


def _most(kinds: Counter[str], known: int) -> tuple[str, float]:
    if not known:
        return "text", 1.0
    merged = Counter(kinds)
    if merged["decimal"]:
        merged["decimal"] += merged.pop("integer", 0)
    if merged["datetime"]:
        merged["datetime"] += merged.pop("date", 0)
    merged.pop("text", None)
    for kind, count in merged.most_common(1):
        if count >= known * MOSTLY:
            return kind, min(1.0, count / known)
    return "text", 1.0
