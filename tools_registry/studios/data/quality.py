"""Data quality: finds by itself what is wrong in a table, with row numbers, and says how good it is as a score.

The dimensions are those of ISO/IEC 25012 and of DAMA UK's paper of 2013, as far as a table can show them by itself. The
score is 100 × Σ weight × (1 − affected ÷ looked at); WEIGHTS has the weights, the result every count.
Outliers: outside the quartiles by three times their distance (Tukey's outer fences); where more than one in fifty is,
and none is negative, the same on the logarithms of 1 + the number. Whole numbers of a few steps are left out.
"""

from __future__ import annotations

import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from math import inf, log10
from typing import Any

from tools_registry import studio
from tools_registry.fields import Choice, Document, Flag, Lines, Rows, Text
from tools_registry.studio import BadInput, File, Limits, Result, Tool
from tools_registry.studios.drawing import heat_map
from tools_registry.studios.sheets import csv_file

from . import kinds
from .kinds import Profile
from .reading import ENDINGS, Sheet, read

WEIGHTS = {
    "completeness": 0.25,
    "validity": 0.25,
    "uniqueness": 0.20,
    "consistency": 0.15,
    "structure": 0.10,
    "plausibility": 0.05,
}
MEANINGS = {
    "completeness": "cells that have a value",
    "validity": "values of the kind their column has, and that keep your rules",
    "uniqueness": "rows that stand there once, under a key of their own",
    "consistency": "values written the way the others of their column are",
    "structure": "rows with as many cells as the heading",
    "plausibility": "numbers near the others, ids that lead somewhere",
}
# check: its dimension, how serious one is, what to do
CHECKS: dict[str, tuple[str, studio.Severity, str]] = {
    "ragged_row": ("structure", "high", "Put quotes around cells that have the delimiter in them, or fill the row up."),
    "quoting": ("structure", "high", "Close each quote, and write a quote inside a cell twice."),
    "heading": ("structure", "medium", "Give each column a name of its own, without spaces around it."),
    "encoding": ("validity", "medium", "Export again as UTF-8, and read it as UTF-8 everywhere."),
    "wrong_type": ("validity", "high", "Correct the value, or leave the cell empty if it is not known."),
    "impossible_date": ("validity", "high", "Look the date up; no calendar has this one."),
    "unlikely_date": ("validity", "medium", "Check whether it stands for “unknown”; if so, leave the cell empty."),
    "expectation": ("validity", "high", "Correct the rows, or the rule if it asks too much."),
    "missing": ("completeness", "medium", "Fill the cells, or note why they may be empty."),
    "empty_column": ("completeness", "medium", "Fill the column, or drop it."),
    "duplicate_row": ("uniqueness", "high", "Keep one of the rows."),
    "duplicate_key": ("uniqueness", "high", "Find out which row is right; a key belongs to one row."),
    "mixed_format": ("consistency", "medium", "Write all values of the column the same way."),
    "letter_case": ("consistency", "low", "Choose one spelling; counts by this column are split otherwise."),
    "whitespace": ("consistency", "low", "Cut the spaces; values that look the same do not match otherwise."),
    "constant_column": ("plausibility", "info", "Drop the column if it says nothing, or check the export."),
    "outlier": ("plausibility", "medium", "Check the value: a slipped decimal point, another unit, or true and rare."),
    "broken_reference": ("plausibility", "high", "Correct the id, or add the row that it refers to."),
}
TITLES = {
    "ragged_row": "Rows with another number of cells than the heading",
    "quoting": "Quotes that do not close",
    "heading": "Headings that name nothing, or two columns",
    "encoding": "Letters that were read in the wrong encoding",
    "wrong_type": "Values of another type than their column",
    "impossible_date": "Dates that no calendar has",
    "unlikely_date": "Dates that are hardly meant",
    "expectation": "Your rule is broken",
    "missing": "Cells without a value",
    "empty_column": "A column with nothing in it",
    "duplicate_row": "Rows that stand there more than once",
    "duplicate_key": "One key for several rows",
    "mixed_format": "Values written in several ways",
    "letter_case": "The same word in several spellings",
    "whitespace": "Spaces where none belong",
    "constant_column": "A column with one value only",
    "outlier": "Numbers far from the others",
    "broken_reference": "Ids that lead nowhere",
}
RULES = {
    "not_missing": "has a value",
    "unique": "stands there once",
    "type": "is of the type",
    "one_of": "is one of (parted by |)",
    "matches": "matches the regular expression",
    "min": "is at least",
    "max": "is at most",
    "length_max": "has at most so many letters",
    "not_before": "is no earlier than the date (YYYY-MM-DD)",
    "not_after": "is no later than the date (YYYY-MM-DD)",
    "not_above_column": "is no greater than the column",
}
TYPES = ("integer", "decimal", "date", "datetime", "boolean", "email", "url", "uuid", "text")
ROWS_SHOWN = 20
BLOCKS_MAX = 10  # stretches of rows in the picture of what is missing
FINDINGS_MAX = 500
LISTED_MAX = 4_000  # lines of the CSV of findings
VALUE_LETTERS = 80
KEY_NAME = re.compile(
    r"(^|[_\s.-])(id|key|uuid|guid|code|no|nr|number|ref|reference|sku|isbn|email)$|[a-z](Id|ID)$", re.I
)
ID_NAME = re.compile(r"(^|[_\s.-])(id|key|ref)$|[a-z](Id|ID)$", re.I)
OWN_TABLE = re.compile(
    r"^(parent|manager|supervisor|boss|reports_to|referred_by|referrer|reply_to|replaces|replaced_by|previous|original)",
    re.I,
)
PAST = re.compile(r"birth|born|dob|created|ordered|order_date|signed|registered|joined|hired|paid", re.I)
BROKEN_LETTERS = re.compile(
    "\ufffd|Ã[\u0080-\u00bf‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|Â[\u0080-\u00bf]|â€[\u0080-\u00bf™œ\u009d“”˜¢¦]|ï»¿"
    "|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u0080-\u009f]"
)
ODD_SPACE = re.compile(r"^\s|\s$|  |[\u00a0\u200b\u200c\u200d\ufeff\t]")


@dataclass(slots=True)
class Finding:
    """One kind of defect in one column (or in the rows as such)."""

    check: str
    column: str
    text: str
    rows: list[int] = field(default_factory=list)
    values: list[str | None] = field(default_factory=list)  # of those rows
    count: int = 0
    of: int = 0

    @property
    def affected(self) -> int:
        return self.count or len(self.rows)


class Checked:
    """A table with what its columns are, and what was found so far."""

    def __init__(self, sheet: Sheet) -> None:
        self.sheet = sheet
        self.profiles: dict[str, Profile] = {name: kinds.profile(cells) for name, cells in sheet.columns.items()}
        self.found: list[Finding] = []
        self.bad: dict[str, set[tuple[int, str]]] = defaultdict(set)  # by dimension: cells, each counted once

    def add(self, check: str, column: str, text: str, rows: Sequence[int], of: int, *, count: int = 0) -> None:
        """Notes a defect in these rows, if there are any."""
        if not rows and not count:
            return
        cells = self.sheet.columns.get(column)
        values = [cells[row - 1] if cells is not None else None for row in rows]
        self.found.append(Finding(check, column, text, list(rows), values, count, of))
        self.bad[CHECKS[check][0]].update((row, column) for row in rows)

    def rows_of(self, column: str, is_wrong: Callable[[str], bool] | set[str]) -> list[int]:
        """The rows, from 1, whose value (without spaces around) is wrong."""
        values = self.profiles[column].values
        wrong = is_wrong if isinstance(is_wrong, set) else {value for value in values if is_wrong(value)}
        if not wrong:
            return []
        return [row for row, cell in enumerate(self.sheet.columns[column], 1) if cell and cell.strip() in wrong]


def run(inputs: dict[str, Any], files: dict[str, bytes]) -> Result:
    """{rows, columns, score, dimensions, findings, column_profiles, missing}: what was found, the gravest 500.

    A row's number counts from 1 below the heading; `lines` are the file's. At most 20 rows a finding; the CSV has more.
    """
    today = _day(inputs["today"], "today")
    sheet = read(files["table"], "table", has_heading=inputs["has_heading"])
    other = read(files["other"], "other") if "other" in files else None
    checked = Checked(sheet)
    keys = _keys(checked, inputs["keys"])
    _structure(checked)
    _missing(checked)
    for name in sheet.names:
        if checked.profiles[name].values:
            _types(checked, name)
            _dates(checked, name, today)
            _formats(checked, name)
            _spellings(checked, name)
            _spaces(checked, name)
            _letters(checked, name)
            if not any(name in key for key in keys) and not ID_NAME.search(name):
                _outliers(checked, name)
    _duplicates(checked, keys)
    _references(checked, keys, other)
    kept = _expectations(checked, inputs["expectations"])
    dimensions = _dimensions(checked)
    return _answer(checked, keys, dimensions, kept)


# What is wrong with the file


def _structure(checked: Checked) -> None:
    sheet = checked.sheet
    rows, width = sheet.row_count, len(sheet.columns)
    if sheet.ragged:
        widths = ", ".join(map(str, sorted(set(sheet.ragged.values()))[:5]))
        said = f"The heading has {width} cells; these rows have {widths}."
        checked.add("ragged_row", "", said, list(sheet.ragged), rows)
    for said in sheet.heading:
        checked.add("heading", "", said, (), width, count=1)
    if sheet.quoting:
        checked.add("quoting", "", sheet.quoting, (), rows, count=1)
    if sheet.undecodable:
        at = set(sheet.undecodable)
        ends = [*sheet.lines[1:], inf] if sheet.lines else []
        broken = [
            row
            for row, (begin, end) in enumerate(zip(sheet.lines, ends, strict=True), 1)
            if begin in at or (end - begin > 1 and any(begin <= line < end for line in at))
        ]
        said = f"The file is no UTF-8; it was read as {sheet.encoding}."
        checked.add("encoding", "", said, broken, rows, count=0 if broken else 1)


def _letters(checked: Checked, name: str) -> None:
    wrong = {value for value in checked.profiles[name].values if BROKEN_LETTERS.search(value)}
    said = f"{name} has letters that come from another encoding, or that cannot be printed."
    checked.add("encoding", name, said, checked.rows_of(name, wrong), checked.profiles[name].values.total())


# Missing


def _missing(checked: Checked) -> None:
    rows = checked.sheet.row_count
    for name, cells in checked.sheet.columns.items():
        seen = checked.profiles[name]
        if not rows or not seen.missing:
            continue
        nothing = seen.nothing
        where = [row for row, cell in enumerate(cells, 1) if not cell or not cell.strip() or cell.strip() in nothing]
        if seen.missing == rows:
            checked.add("empty_column", name, f"{name} has no value in any row.", where, rows)
            continue
        words = f"; of these {nothing.total():,} say {_some(nothing)}" if nothing else ""
        said = f"{name}: {len(where):,} of {rows:,} have no value ({_share(len(where), rows)}){words}."
        checked.add("missing", name, said, where, rows)


# Values


def _types(checked: Checked, name: str) -> None:
    seen = checked.profiles[name]
    if seen.kind == "text":
        return
    wrong = {value for value in seen.values if seen.kind_of(value) != seen.kind}
    said = f"{name} is mostly {_a(seen.kind)}; these are not: {_some(wrong)}."
    checked.add("wrong_type", name, said, checked.rows_of(name, wrong), seen.values.total())


def _dates(checked: Checked, name: str, today: date | None) -> None:
    seen = checked.profiles[name]
    if seen.kind not in ("date", "datetime"):
        return
    impossible, swapped, unlikely, future = set(), set(), set(), set()
    for value in seen.values:
        way = seen.ways[value]
        if kinds.KINDS[way] not in ("date", "datetime"):
            continue
        day = kinds.date_of(value, way, is_day_first=seen.is_day_first)
        if day is None and way[0] == "D" and kinds.date_of(value, way, is_day_first=not seen.is_day_first):
            swapped.add(value)
        elif day is None:
            impossible.add(value)
        elif not 1900 <= day.year <= 2100 or (day.month, day.day, day.year) == (1, 1, 1900):
            unlikely.add(value)
        elif today and day > today and PAST.search(name):
            future.add(value)
    of, order = seen.values.total(), "day" if seen.is_day_first else "month"
    said = f"{name} has dates that do not exist: {_some(impossible)}."
    checked.add("impossible_date", name, said, checked.rows_of(name, impossible), of)
    said = f"{name} is written with the {order} first; these are the other way round: {_some(swapped)}."
    checked.add("mixed_format", name, said, checked.rows_of(name, swapped), of)
    said = f"{name} has dates before 1901 or after 2100: {_some(unlikely)}."
    checked.add("unlikely_date", name, said, checked.rows_of(name, unlikely), of)
    said = f"{name} has dates after {today}: {_some(future)}."
    checked.add("unlikely_date", name, said, checked.rows_of(name, future), of)


def _formats(checked: Checked, name: str) -> None:
    seen = checked.profiles[name]
    if seen.kind in ("integer", "decimal", "date", "datetime"):
        written: Counter[str] = Counter()
        by_value = {}
        for value, count in seen.values.items():
            if seen.kind_of(value) == seen.kind:
                by_value[value] = _words_of(seen.ways[value])
                written[by_value[value]] += count
        _fit_together(seen, by_value, written)
    else:
        if seen.kind == "boolean":
            pairs = {"yes": "yes or no", "no": "yes or no", "true": "true or false", "false": "true or false"}
            by_value = {value: pairs.get(value.casefold(), "1 or 0") for value in seen.values}
            if len(set(by_value.values())) > 1:
                written = Counter()
                for value, way in by_value.items():
                    written[way] += seen.values[value]
                _say_ways(checked, name, by_value, written)
            return
        if seen.kind != "text" or len(seen.values) < 3:
            return
        by_value = {value: _shape(value) for value in seen.values if len(value) <= 40}
        written = Counter()
        for value, shape in by_value.items():
            written[shape] += seen.values[value]
        if not written or len(by_value) < len(seen.values):
            return
        (shape, count), *_ = written.most_common(1)
        is_code = "9" in shape or ("a" not in shape and "A" in shape and len(shape) <= 4)
        if not is_code or " " in shape or count < 0.8 * written.total():
            return
    _say_ways(checked, name, by_value, written)


def _fit_together(seen: Profile, by_value: dict[str, str], written: Counter[str]) -> None:
    """999 beside 1,234 and 2 beside 1,5 are written the same way: they have nothing to part."""
    for way, plain in (("grouped", ("whole", "point")), ("comma", ("whole",))):
        words = _words_of(way)
        if not written[words]:
            continue
        for value, of in seen.ways.items():
            if value in by_value and of in plain and (way == "comma" or abs(float(value)) < 1000):
                written[by_value[value]] -= seen.values[value]
                written[words] += seen.values[value]
                by_value[value] = words
    for way in [way for way, count in written.items() if count <= 0]:
        del written[way]


def _say_ways(checked: Checked, name: str, by_value: Mapping[str, str], written: Counter[str]) -> None:
    seen = checked.profiles[name]
    if len(written) < 2:
        return
    usual = max(written, key=lambda way: written[way])
    others = {value for value, way in by_value.items() if way != usual}
    ways = ", ".join(f"{way} ({count:,})" for way, count in written.most_common(5))
    said = f"{name} is written in {len(written)} ways: {ways}. Fewer than the rest: {_some(others)}."
    checked.add("mixed_format", name, said, checked.rows_of(name, others), seen.values.total())


def _words_of(way: str) -> str:
    return {
        "whole": "plain digits",
        "point": "plain digits",
        "grouped": "commas between thousands",
        "comma": "a decimal comma",
        "money": "a currency sign",
        "percent": "a percent sign",
        "padded": "leading zeros",
    }.get(way, way)


def _shape(value: str) -> str:
    """AB-1204 → AA-9999."""
    return "".join("9" if one.isdigit() else "A" if one.isupper() else "a" if one.isalpha() else one for one in value)


def _spellings(checked: Checked, name: str) -> None:
    seen = checked.profiles[name]
    if seen.kind not in ("text", "boolean"):
        return
    groups: dict[str, list[str]] = defaultdict(list)
    for value in seen.values:
        groups[" ".join(value.casefold().split())].append(value)
    if len(groups) > 0.9 * seen.values.total() and len(groups) > 50 and KEY_NAME.search(name):
        return
    others: set[str] = set()
    told = []
    for spellings in groups.values():
        if len(spellings) > 1:
            usual = max(spellings, key=lambda one: (seen.values[one], one))
            others.update(one for one in spellings if one != usual)
            told.append(" / ".join(_cut(one, 30) for one in sorted(spellings)))
    said = f"{name} has words in several spellings: {'; '.join(told[:5])}{' …' if len(told) > 5 else ''}."
    checked.add("letter_case", name, said, checked.rows_of(name, others), seen.values.total())


def _spaces(checked: Checked, name: str) -> None:
    cells = checked.sheet.columns[name]
    odd = {cell for cell in set(cells) if cell and len(cell) <= 200 and cell.strip() and ODD_SPACE.search(cell)}
    if odd:
        rows = [row for row, cell in enumerate(cells, 1) if cell in odd]
        said = f"{name} has spaces around or twice inside, or spaces that cannot be seen: {_some(odd)}."
        checked.add("whitespace", name, said, rows, checked.profiles[name].values.total())


def _outliers(checked: Checked, name: str) -> None:
    seen = checked.profiles[name]
    if seen.kind not in ("integer", "decimal"):
        return
    numbers = _numbers(seen)
    spread = [number for value, number in numbers.items() for _ in range(seen.values[value])]
    if len(spread) < 8 or len(numbers) < 4:
        return
    if seen.kind == "integer" and len(numbers) <= 12 and len(spread) >= 100:
        return  # a few steps, such as passengers or stars: the rare ones are no slips
    low, high = _fences(spread)
    far = {value for value, number in numbers.items() if not low <= number <= high}
    is_by_size = False
    if sum(seen.values[value] for value in far) > 0.02 * len(spread) and len(spread) >= 50 and min(spread) >= 0:
        low, high = (10**one - 1 for one in _fences([log10(1 + one) for one in spread]))
        far, is_by_size = {value for value, number in numbers.items() if not low <= number <= high}, True
    if low == high:
        return
    scale = ", on a logarithmic scale" if is_by_size else ""
    said = f"{name} is mostly between {low:,.6g} and {high:,.6g}{scale}; these are far outside: {_some(far)}."
    checked.add("outlier", name, said, checked.rows_of(name, far), len(spread))


def _numbers(seen: Profile) -> dict[str, float]:
    found = {
        value: kinds.number_of(value, seen.ways[value])
        for value in seen.values
        if kinds.KINDS[seen.ways[value]] in ("integer", "decimal") or seen.ways[value] == "padded"
    }
    return {value: number for value, number in found.items() if abs(number) < inf}


def _fences(numbers: Sequence[float]) -> tuple[float, float]:
    low, _, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return low - 3 * (high - low), high + 3 * (high - low)


# Rows


def _keys(checked: Checked, named: Sequence[str]) -> list[tuple[str, ...]]:
    """What identifies a row: the columns that were named, or each column that nearly does and is called like a key."""
    if named:
        for number, name in enumerate(named):
            if name not in checked.sheet.columns:
                raise BadInput({f"keys.{number}": f"There is no column {name}."})
        return [tuple(dict.fromkeys(named))]
    found: list[tuple[str, ...]] = []
    for number, (name, seen) in enumerate(checked.profiles.items()):
        total = seen.values.total()
        if total < 3 or not KEY_NAME.search(name) or seen.kind in ("decimal", "date", "datetime", "boolean"):
            continue
        is_own = number == 0 or name.casefold() in ("id", "key", "uuid")
        if len(seen.values) >= total * (0.75 if is_own else 0.95) and (is_own or not OWN_TABLE.search(name)):
            found.append((name,))
    return found


def _duplicates(checked: Checked, keys: list[tuple[str, ...]]) -> None:
    sheet = checked.sheet
    first: dict[int, int] = {}
    again: list[int] = []
    nearly: list[int] = []
    # By their hash: the rows themselves would lie in memory twice. Sixty-four bits do not meet by chance.
    whole: dict[int, int] = {}
    cells = list(sheet.columns.values())
    for number, row in enumerate(sheet.rows(), 1):
        before = whole.setdefault(hash(tuple(cell and cell.strip().casefold() for cell in row)), number)
        if before != number:
            first[number] = before
            (again if row == tuple(column[before - 1] for column in cells) else nearly).append(number)
    del whole
    if len(sheet.columns) > 1:
        for rows, but in ((again, ""), (nearly, ", but for spaces and capital letters")):
            pairs = ", ".join(f"{row} is {first[row]} again" for row in rows[:5])
            checked.add("duplicate_row", "", f"Rows that are another one{but}: {pairs}.", rows, sheet.row_count)
    for key in keys:
        at: dict[tuple[str | None, ...], list[int]] = defaultdict(list)
        for number, values in enumerate(zip(*(sheet.columns[name] for name in key), strict=True), 1):
            if all(values) and (number not in first or len(sheet.columns) == 1):
                at[tuple(one and one.strip() for one in values)].append(number)
        shared = {values: rows for values, rows in at.items() if len(rows) > 1}
        rows = sorted(row for rows in shared.values() for row in rows[1:])
        told = _some(" / ".join(map(str, values)) for values in shared)
        said = f"{' + '.join(key)} looks like a key, yet several rows have the same: {told}."
        checked.add("duplicate_key", key[0] if len(key) == 1 else "", said, rows, sheet.row_count)
    if sheet.row_count > 2:
        for name, seen in checked.profiles.items():
            if len(seen.values) == 1 and not seen.missing:
                said = f"{name} says {_cut(next(iter(seen.values)), 40)} in every row."
                checked.add("constant_column", name, said, (), sheet.row_count, count=1)


def _references(checked: Checked, keys: list[tuple[str, ...]], other: Sheet | None) -> None:
    single = [key[0] for key in keys if len(key) == 1]
    for name, seen in checked.profiles.items():
        total = seen.values.total()
        if total and name not in single[:1] and single and OWN_TABLE.search(name):
            known = checked.profiles[single[0]].values
            lost = {value for value in seen.values if value not in known}
            if len(lost) < 0.5 * len(seen.values) or total - len(lost) >= 2:
                said = f"{name} refers to {single[0]} of the same table, which has no {_some(lost)}."
                checked.add("broken_reference", name, said, checked.rows_of(name, lost), total)
        if total and ID_NAME.search(name) and seen.kind == "integer":
            lowest = 0 if name in single else 1  # keys may count from 0; what refers to 0 as a rule refers to nothing
            below = {value for value, number in _numbers(seen).items() if number < lowest}
            if 0 < sum(seen.values[value] for value in below) <= max(1, 0.2 * total):
                said = (
                    f"{name} is an id, yet {'zero or below' if lowest else 'below zero'} in some rows: {_some(below)}."
                )
                checked.add("broken_reference", name, said, checked.rows_of(name, below), total)
    if other is None:
        return
    matched = False
    for name, target in _led_to(checked.sheet, other):
        matched = True
        known_there = {cell.strip() for cell in other.columns[target] if cell}
        lost = {value for value in checked.profiles[name].values if value not in known_there}
        said = f"{name} refers to {target} of the other table, which has no {_some(lost)}."
        checked.add("broken_reference", name, said, checked.rows_of(name, lost), checked.profiles[name].values.total())
    if not matched:
        raise BadInput({"other": "None of its columns has the name of an id in the table, for example customer_id."})


def _led_to(sheet: Sheet, other: Sheet) -> Iterable[tuple[str, str]]:
    """Columns that lead to a column of the other table: the same name, or customer_id to id."""
    there = {name.casefold(): name for name in other.names}
    unique = {name for name in other.names if _is_unique(other.columns[name])}
    for name in sheet.names:
        plain = name.casefold()
        if plain in there and there[plain] in unique and KEY_NAME.search(name):
            yield name, there[plain]
        elif "id" in there and there["id"] in unique and ID_NAME.search(name) and plain not in ("id", *there):
            yield name, there["id"]


def _is_unique(cells: list[str | None]) -> bool:
    there = [cell for cell in cells if cell]
    return bool(there) and len(set(there)) == len(there)


# Rules of the person's own


def _expectations(checked: Checked, rules: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    kept = []
    for number, rule in enumerate(rules):
        name, told, argument = rule["column"], rule["rule"], rule["argument"].strip()
        if name not in checked.sheet.columns:
            raise BadInput({f"expectations.{number}.column": f"There is no column {name}."})
        seen = checked.profiles[name]
        rows = _broken(checked, name, told, argument, f"expectations.{number}.argument")
        sentence = f"{name} {RULES[told]}{f' {argument}' if argument else ''}"
        of = checked.sheet.row_count if told == "not_missing" else seen.values.total()
        checked.add("expectation", name, f"“{sentence}” is not true of {len(rows):,} of {of:,}.", rows, of)
        kept.append(
            {
                "column": name,
                "rule": told,
                "argument": argument,
                "checked": of,
                "broken": len(rows),
                "is_kept": not rows,
            }
        )
    return kept


def _broken(checked: Checked, name: str, rule: str, argument: str, where: str) -> list[int]:
    """The rows in which the rule does not hold. Cells without a value break only `not_missing`."""
    seen, cells = checked.profiles[name], checked.sheet.columns[name]
    if rule == "not_missing":
        return [
            row for row, cell in enumerate(cells, 1) if not cell or not cell.strip() or cell.strip() in seen.nothing
        ]
    if rule == "unique":
        shared = {value for value, count in seen.values.items() if count > 1}
        return checked.rows_of(name, shared)
    if not argument:
        raise BadInput({where: "Write what to compare with."})
    if rule == "not_above_column":
        return _above(checked, name, argument, where)
    return checked.rows_of(name, _test(seen, rule, argument, where))


def _test(seen: Profile, rule: str, argument: str, where: str) -> Callable[[str], bool]:
    """What is wrong by this rule."""
    if rule == "type":
        if argument not in TYPES:
            raise BadInput({where: f"Write one of: {', '.join(TYPES)}."})
        also = {"decimal": ("integer",), "datetime": ("date",)}.get(argument, ())
        return lambda value: argument != "text" and kinds.kind_of(value) not in (argument, *also)
    if rule == "one_of":
        allowed = {one.strip() for one in argument.split("|")}
        return lambda value: value not in allowed
    if rule == "matches":
        try:
            pattern = re.compile(argument)
        except (re.error, OverflowError, RecursionError) as error:
            raise BadInput({where: f"This is no regular expression: {error}."}) from None
        return lambda value: not pattern.fullmatch(value)
    if rule in ("not_before", "not_after"):
        edge = _day(argument, where)
        assert edge is not None
        return lambda value: _is_beyond(seen, value, edge, is_before=rule == "not_before")
    way = kinds.way_of(argument)
    if way not in ("whole", "point"):
        raise BadInput({where: "Write a number, such as 0 or 12.5."})
    bound = float(argument)
    if rule == "length_max":
        return lambda value: len(value) > bound
    numbers = _numbers(seen)
    if rule == "min":
        return lambda value: value not in numbers or numbers[value] < bound
    return lambda value: value not in numbers or numbers[value] > bound


def _is_beyond(seen: Profile, value: str, edge: date, *, is_before: bool) -> bool:
    day = kinds.date_of(value, seen.ways[value], is_day_first=seen.is_day_first)
    return day is None or (day < edge if is_before else day > edge)


def _above(checked: Checked, name: str, other: str, where: str) -> list[int]:
    if other not in checked.sheet.columns:
        raise BadInput({where: f"There is no column {other}."})
    worth = []
    for column in (name, other):
        seen = checked.profiles[column]
        days = seen.kind in ("date", "datetime")
        known: dict[str, Any] = (
            {one: kinds.date_of(one, seen.ways[one], is_day_first=seen.is_day_first) for one in seen.values}
            if days
            else _numbers(seen)
        )
        worth.append((days, known))
    (left_days, left), (right_days, right) = worth
    if left_days != right_days:
        raise BadInput({where: f"{name} and {other} cannot be compared: one holds dates, the other does not."})
    rows = []
    for row, (one, two) in enumerate(zip(checked.sheet.columns[name], checked.sheet.columns[other], strict=True), 1):
        a, b = left.get((one or "").strip()), right.get((two or "").strip())
        if a is not None and b is not None and a > b:
            rows.append(row)
    return rows


def _day(written: str, where: str) -> date | None:
    if not written:
        return None
    try:
        return date.fromisoformat(written)
    except ValueError:
        raise BadInput({where: "Write a date as YYYY-MM-DD."}) from None


# The score


def _dimensions(checked: Checked) -> list[dict[str, Any]]:
    """Each dimension with what was looked at, what was affected, and its share of the score."""
    sheet = checked.sheet
    rows, cells = sheet.row_count, sheet.row_count * len(sheet.columns)
    values = sum(seen.values.total() for seen in checked.profiles.values())
    looked = {
        "completeness": cells,
        "validity": values,
        "uniqueness": rows,
        "consistency": values,
        "structure": rows,
        "plausibility": values,
    }
    found = []
    for name, weight in WEIGHTS.items():
        bad = checked.bad[name]
        affected = len({row for row, _ in bad}) if name in ("uniqueness", "structure") else len(bad)
        if name == "structure":
            affected += sum(one.count for one in checked.found if one.check in ("heading", "quoting"))
        of = looked[name]
        affected = min(affected, of)
        score = 100 * (1 - affected / of) if of else 100.0
        found.append({"name": name, "weight": weight, "looked_at": of, "affected": affected, "score": round(score, 4)})
    return found


# The answer


def _answer(
    checked: Checked, keys: list[tuple[str, ...]], dimensions: list[dict[str, Any]], kept: list[dict[str, Any]]
) -> Result:
    sheet = checked.sheet
    score = round(sum(one["weight"] * one["score"] for one in dimensions), 2)
    order = ["critical", "high", "medium", "low", "info"]
    found = sorted(checked.found, key=lambda one: (order.index(CHECKS[one.check][1]), -one.affected, one.column))
    profiles = [
        {
            "column": name,
            "type": seen.kind,
            "missing": seen.missing,
            "distinct": len(seen.values),
            "findings": sum(one.column == name for one in found),
        }
        for name, seen in checked.profiles.items()
    ]
    blocks = _missing_by_block(checked)
    rows_with = {row for one in found if CHECKS[one.check][1] not in ("info", "low") for row in one.rows}
    result = {
        "rows": sheet.row_count,
        "columns": len(sheet.columns),
        "read_as": sheet.told,
        "keys": [list(key) for key in keys],
        "score": score,
        "formula": "score = " + " + ".join(f"{one['weight']:g} × {one['name']}" for one in dimensions),
        "dimensions": dimensions,
        "findings": [_told(sheet, one) for one in found[:FINDINGS_MAX]],
        "findings_total": len(found),
        "expectations": kept,
        "column_profiles": profiles,
        "missing": blocks,
        "rows_listed_max": ROWS_SHOWN,
    }
    files = [_listed(sheet, found)]
    if blocks["columns"]:
        files.append(_missing_picture(blocks))
    return Result(result, _view(result, found, len(rows_with), files), files)


def _told(sheet: Sheet, one: Finding) -> dict[str, Any]:
    dimension, severity, fix = CHECKS[one.check]
    shown = one.rows[:ROWS_SHOWN]
    return {
        "check": one.check,
        "dimension": dimension,
        "severity": severity,
        "column": one.column or None,
        "count": one.affected,
        "looked_at": one.of,
        "rows": shown,
        "lines": [sheet.line(row) for row in shown] if sheet.lines else [],
        "values": [value if value is None else _cut(value, VALUE_LETTERS) for value in one.values[:5]],
        "text": one.text,
        "fix": fix,
    }


def _missing_by_block(checked: Checked) -> dict[str, Any]:
    """The share of missing cells by column and stretch of rows: at most 30 columns, those with most missing."""
    sheet = checked.sheet
    rows = sheet.row_count
    names = sorted((name for name in sheet.names if checked.profiles[name].missing), key=sheet.names.index)
    if len(names) > 30:
        most = sorted(names, key=lambda name: -checked.profiles[name].missing)[:30]
        names = [name for name in names if name in most]
    steps = min(BLOCKS_MAX, rows)
    edges = [round(rows * step / steps) for step in range(steps + 1)] if rows else [0]
    shares = []
    for name in names:
        nothing = checked.profiles[name].nothing
        cells = sheet.columns[name]
        shares.append(
            [
                round(sum(1 for one in cells[a:b] if not one or one.strip() in nothing or not one.strip()) / (b - a), 4)
                for a, b in pairwise(edges)
            ]
        )
    return {"columns": names, "row_ranges": [[a + 1, b] for a, b in pairwise(edges)], "shares": shares}


def _missing_picture(blocks: Mapping[str, Any]) -> File:
    ranges = [f"{first:,}–{last:,}" if first < last else f"{first:,}" for first, last in blocks["row_ranges"]]
    drawn = heat_map(
        "What is missing, and where",
        ranges,
        blocks["columns"],
        [[round(100 * share) for share in shares] for shares in blocks["shares"]],
        least=0,
        most=100,
        unit="%",
        x_title="Rows",
        described="For each column with empty cells: how many per cent of them are empty, from first rows to last.",
    )
    return File("missing.svg", "image/svg+xml", drawn)


def _listed(sheet: Sheet, found: Sequence[Finding]) -> File:
    rows: list[Sequence[Any]] = []
    room = max(20, LISTED_MAX // max(len(found), 1))
    for one in found:
        _, severity, fix = CHECKS[one.check]
        pairs: list[tuple[int | None, str | None]] = [*zip(one.rows, one.values, strict=True)] or [(None, None)]
        for row, value in pairs[:room]:
            line = sheet.line(row) if row and sheet.lines else None
            value = None if value is None else _cut(value, VALUE_LETTERS)
            rows.append((severity, one.check, one.column, row, line, value, _cut(TITLES[one.check], 100), fix))
    return csv_file("findings.csv", ("severity", "check", "column", "row", "line", "value", "meaning", "fix"), rows)


def _view(result: Mapping[str, Any], found: Sequence[Finding], rows_with: int, files: list[File]) -> list[studio.Block]:
    rows = result["rows"]
    shown = [
        {
            "severity": CHECKS[one.check][1],
            "title": TITLES[one.check] + (f": {one.column}" if one.column else ""),
            "where": _where(one.rows) or (f"{one.affected:,} of {one.of:,}" if one.of else ""),
            "text": one.text,
            "fix": CHECKS[one.check][2],
        }
        for one in found[:200]
    ]
    dimensions = [
        (
            one["name"].capitalize(),
            MEANINGS[one["name"]],
            one["looked_at"],
            one["affected"],
            one["score"],
            one["weight"],
        )
        for one in result["dimensions"]
    ]
    view = [
        studio.facts(
            "At a glance",
            (
                ("Score", f"{result['score']:.2f} of 100"),
                ("Rows", rows),
                ("Columns", result["columns"]),
                ("Findings", len(found)),
                ("Rows to look at", f"{rows_with:,} ({_share(rows_with, rows)})"),
                ("Keys", ", ".join(" + ".join(key) for key in result["keys"]) or "none found"),
                ("Read as", result["read_as"]),
            ),
        ),
        studio.findings("What was found", shown, none="Nothing is wrong that a table shows by itself."),
        studio.table(
            "How the score comes about",
            ("Dimension", "Counts", "Looked at", "Affected", "Score", "Weight"),
            dimensions,
            note=f"Each: 100 × (1 − affected ÷ looked at). {result['formula']} = {result['score']:.2f}.",
        ),
    ]
    if result["expectations"]:
        view.append(
            studio.table(
                "Your rules",
                ("Column", "Rule", "Checked", "Broken", "Kept"),
                [
                    (
                        one["column"],
                        f"{RULES[one['rule']]} {one['argument']}".strip(),
                        one["checked"],
                        one["broken"],
                        "yes" if one["is_kept"] else "no",
                    )
                    for one in result["expectations"]
                ],
            )
        )
    if any(one.name == "missing.svg" for one in files):
        emptiest = max(result["column_profiles"], key=lambda one: one["missing"])
        said = f"Most is missing in {emptiest['column']}: {emptiest['missing']:,} of {rows:,} cells."
        view.append(studio.picture("What is missing, and where", "missing.svg", described=said))
    view.append(
        studio.table(
            "Columns",
            ("Column", "Type", "Missing", "Missing %", "Different values", "Findings"),
            [
                (
                    one["column"],
                    one["type"],
                    one["missing"],
                    round(100 * one["missing"] / rows, 1) if rows else 0,
                    one["distinct"],
                    one["findings"],
                )
                for one in result["column_profiles"]
            ],
        )
    )
    return view


def _where(rows: Sequence[int]) -> str:
    if not rows:
        return ""
    more = f" and {len(rows) - 8:,} more" if len(rows) > 8 else ""
    return f"{'Row' if len(rows) == 1 else 'Rows'} {', '.join(f'{row:,}' for row in rows[:8])}{more}"


def _some(values: Iterable[str]) -> str:
    """Up to five of them, in an order of their own."""
    ordered = sorted(values)
    return ", ".join(f"“{_cut(one, 40)}”" for one in ordered[:5]) + (" …" if len(ordered) > 5 else "")


def _cut(value: str, letters: int) -> str:
    plain = " ".join(value.split(" ")) if len(value) <= letters else f"{value[: letters - 1]}…"
    return plain.replace("\n", "⏎").replace("\r", "")


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "0.0 %"


def _a(kind: str) -> str:
    return {
        "integer": "whole numbers",
        "decimal": "numbers",
        "date": "dates",
        "datetime": "dates with times",
        "boolean": "yes or no",
        "email": "e-mail addresses",
        "url": "links",
        "uuid": "UUIDs",
    }[kind]


EXAMPLE = b"""order_id,customer_id,country,ordered,amount,currency,email
1001,C-0412,GB,2026-01-05,19.90,GBP,ada@example.com
1002,C-0413,GB,2026-01-06,24.50,GBP,ben@example.com
1003,C-0414,gb,2026-01-07,18.00,GBP,cleo@example.com
1004,C-0415,FR,2026-02-30,22.10,GBP,dan@example
1005,C-0416,FR,2026-01-09,,GBP,eve@example.com
1006,0417,DE,09/01/2026,21.00,GBP,fay@example.com
1006,C-0418,DE,2026-01-11,20.75,GBP,gil@example.com
1008,C-0419,DE ,2026-01-12,2150.00,GBP,hal@example.com
1009,C-0420,GB,2026-01-13,about 20,GBP,ida@example.com
1010,C-0421,GB,2026-01-14,23.30,GBP,jon@example.com
1010,C-0421,GB,2026-01-14,23.30,GBP,jon@example.com
1012,C-0423,GB,2026-01-16,17.45,GBP
"""

TOOL = Tool(
    slug="data-studio/quality",
    title="Data quality",
    noun="check",
    summary="Finds what is wrong in a table, row by row, and scores it.",
    mode="server",
    risk="medium",
    credits_max=25,
    # 500 columns, 500 findings with their values, and 4,000 rows to look at in a file.
    limits=Limits(cpu_seconds=10, seconds=15, output_bytes=4 * 1024 * 1024),
    icon="list",
    fields=(
        Document(
            name="table",
            title="Table",
            help="CSV, JSON, JSON lines or Parquet; up to 200,000 rows, 500 columns, 8 MB. Any delimiter and encoding.",
            file_name="table.csv",
            accepts=ENDINGS,
            is_required=True,
        ),
        Flag(name="has_heading", title="The first line names the columns", default=True),
        Lines(
            name="keys",
            title="Columns that identify a row",
            help="Together; one a line. Left empty, they are found by their names and values.",
            count_max=10,
        ),
        Rows(
            name="expectations",
            title="Rules of your own",
            help="What must be true of each value. Cells without a value break only “has a value”.",
            noun="rule",
            fields=(
                Text(name="column", title="Column", length_max=200, is_short=True, is_required=True),
                Choice(name="rule", title="Rule", choices=RULES, default="not_missing", is_required=True),
                Text(name="argument", title="What", length_max=500, is_short=True, default=""),
            ),
        ),
        Document(
            name="other",
            title="Table that ids refer to",
            help="For example the customers, if the table has a customer_id. Ids that are not in it are reported.",
            file_name="other.csv",
            accepts=ENDINGS,
        ),
        Text(
            name="today",
            title="Day of the export",
            help="YYYY-MM-DD. Births, orders and the like after it are reported.",
            length_max=10,
            is_short=True,
            default="",
        ),
    ),
    function=run,
    example={
        "has_heading": True,
        "keys": [],
        "expectations": [
            {"column": "amount", "rule": "min", "argument": "0"},
            {"column": "currency", "rule": "one_of", "argument": "GBP|EUR"},
        ],
        "today": "2026-03-01",
    },
    example_files={"table": ("orders.csv", EXAMPLE)},
)
