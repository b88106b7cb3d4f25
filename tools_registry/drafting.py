"""A tool's form: drawn from its fields, and read back into the inputs that the tool takes. Pure.

Every control is named by its place: `risks.2.title` is the title of the third risk. The page's script reads the same
names in the same way, so that a draft is one thing with and without it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from . import fields

Drawn = dict[str, Any]
Wrong = Mapping[str, Sequence[str]]

# From so many choices on they stand in a list that opens.
RADIOS_MAX = 4
# A line that may be so long has the form's whole width.
LINE_LONG = 100
ROWS_AT_ONCE_MAX = 1000


def draw(of_all: Sequence[fields.Field], given: Mapping[str, Any], wrong: Wrong, place: str = "") -> list[Drawn]:
    """Each field as the template draws it, with what was given or its default, and the sentences about it."""
    return [_draw(of, given.get(of.name, of.default), wrong, f"{place}{of.name}") for of in of_all]


def _draw(of: fields.Field, value: Any, wrong: Wrong, path: str) -> Drawn:
    drawn: Drawn = {
        "path": path,
        "id": f"in-{path}",
        "title": of.title,
        "help": of.help,
        "is_required": of.is_required,
        "is_wide": isinstance(of, fields.Rows | fields.Document | fields.Lines | fields.Choices),
        "wrong": list(wrong.get(path, ())),
        "value": "" if value is None else value,
    }
    match of:
        case fields.Text(is_short=True):
            is_wide = of.length_max >= LINE_LONG and "." not in path
            return drawn | {"kind": "line", "length_max": of.length_max, "is_wide": is_wide}
        case fields.Text():
            return drawn | {"kind": "text", "length_max": of.length_max, "is_code": of.is_code, "is_wide": True}
        case fields.Whole() | fields.Number():
            step = "1" if isinstance(of, fields.Whole) else "any"
            bounds = {"min": of.min, "max": of.max, "step": step, "unit": of.unit}
            return drawn | bounds | {"kind": "number", "value": _number(value)}
        case fields.Flag():
            return drawn | {"kind": "flag", "value": value is True}
        case fields.Choice():
            options = [{"value": one, "title": title, "is_on": one == value} for one, title in of.choices.items()]
            is_open = of.default is None and not of.is_required
            kind = "radios" if len(of.choices) <= RADIOS_MAX and "." not in path and not is_open else "select"
            return drawn | {"kind": kind, "options": options, "has_none": is_open or of.default is None}
        case fields.Choices():
            on = value if isinstance(value, list | tuple) else ()
            options = [{"value": one, "title": title, "is_on": one in on} for one, title in of.choices.items()]
            return drawn | {"kind": "choices", "options": options}
        case fields.Lines():
            shown = "\n".join(map(str, value)) if isinstance(value, list | tuple) else str(value or "")
            said = [*drawn["wrong"], *_of_lines(wrong, path)]
            return drawn | {"kind": "lines", "value": shown, "wrong": said}
        case fields.Rows():
            return drawn | _rows(of, value, wrong, path)
        case fields.Document():
            return drawn | {
                "kind": "document",
                "is_text": of.is_text,
                "accepts": ",".join(of.accepts),
                "endings": ", ".join(of.accepts),
                "file_name": of.file_name,
                "most": f"{of.bytes_max // 1024:,} KiB" if of.bytes_max < 2**20 else f"{of.bytes_max / 2**20:g} MiB",
            }
    raise TypeError(f"There is no way to draw {type(of).__name__}.")


def _number(value: Any) -> str:
    """The number as a browser's own field reads it, without thousands separators."""
    return "" if value is None else f"{value:.15g}" if isinstance(value, float) else str(value)


def _of_lines(wrong: Wrong, path: str) -> list[str]:
    """What is wrong with single lines, each with its number."""
    found = [(name.removeprefix(f"{path}."), said) for name, said in wrong.items() if name.startswith(f"{path}.")]
    return [f"Line {int(number) + 1}: {one}" for number, said in found if number.isdecimal() for one in said]


def _rows(of: fields.Rows, value: Any, wrong: Wrong, path: str) -> Drawn:
    given = [one for one in value if isinstance(one, Mapping)] if isinstance(value, list | tuple) else []
    given += [{}] * max(0, of.count_min - len(given))
    is_long = len(given) * len(of.fields) > FOLDED_FROM
    rows = [
        {
            "place": f"{path}.{at}",
            "number": at + 1,
            "fields": draw(of.fields, row, wrong, f"{path}.{at}."),
            "wrong": list(wrong.get(f"{path}.{at}", ())),
            "summary": _summary(of, row),
            "is_open": not is_long or not row or any(_is_below(name, f"{path}.{at}") for name in wrong),
        }
        for at, row in enumerate(given)
    ]
    # What another row begins as; the marks become its number.
    blank = {
        "place": f"{path}.{MARK}",
        "number": MARK,
        "fields": draw(of.fields, {}, {}, f"{path}.{MARK}."),
        "is_open": True,
    }
    return {
        "kind": "rows",
        "rows": rows,
        "blank": blank,
        "noun": of.noun,
        "article": "an" if of.noun[:1] in "aeiou" else "a",
        "count_max": of.count_max,
    }


def _summary(of: fields.Rows, row: Mapping[str, Any]) -> str:
    """What a closed row is known by: the first of its short values."""
    words = []
    for one in of.fields:
        value = row.get(one.name)
        if value in (None, "") or not isinstance(one, fields.Text | fields.Whole | fields.Number | fields.Choice):
            continue
        words.append(str(one.choices.get(value, value)) if isinstance(one, fields.Choice) else str(value))
    return " · ".join(words[:SUMMARY_VALUES])


def _is_below(name: str, place: str) -> bool:
    return name == place or name.startswith(f"{place}.")


MARK = "__"
# Rows with more fields than these together are closed, each with a line that says what is in it.
FOLDED_FROM = 16
SUMMARY_VALUES = 3


# Read back


def inputs_of(of_all: Sequence[fields.Field], post: Any, place: str = "") -> dict[str, Any]:
    """What was written, as the tool reads it: numbers as numbers; what was left empty and may be is left out."""
    found: dict[str, Any] = {}
    for of in of_all:
        value = _read(of, post, f"{place}{of.name}")
        if value is not None:
            found[of.name] = value
    return found


def _read(of: fields.Field, post: Any, path: str) -> Any:
    # Of a document there are two controls, and an empty file counts as an empty text.
    written = next(filter(None, post.getlist(path)), "").replace("\r\n", "\n")
    match of:
        case fields.Rows():
            return [inputs_of(of.fields, post, f"{path}.{at}.") for at in _places(post, path)]
        case fields.Choices():
            return post.getlist(path)
        case fields.Lines():
            return [line.strip() for line in written.splitlines() if line.strip()]
        case fields.Flag():
            return path in post
        case fields.Whole() if re.fullmatch(r"-?[0-9]{1,15}", written.strip(), re.ASCII):
            return int(written)
        case fields.Number() if re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", written.strip(), re.ASCII):
            return float(written)
    is_left_out = not written.strip() and not (of.is_required and isinstance(of, fields.Text))
    return None if is_left_out else written


def _places(post: Any, path: str) -> list[int]:
    """The numbers of the rows that were sent, in order; every row sends at least its own name."""
    found = {match[1] for name in post if (match := re.match(rf"{re.escape(path)}\.([0-9]{{1,6}})(?:\.|$)", name))}
    return sorted(map(int, found))[:ROWS_AT_ONCE_MAX]


def changed_rows(of_all: Sequence[fields.Field], inputs: dict[str, Any], post: Any) -> dict[str, Any] | None:
    """The inputs with a row more or less, where that is what was asked for; None where it was not.

    `add` names the rows, `remove` one of them. For people whose browser runs no scripts.
    """
    if path := post.get("add"):
        rows = _named(inputs, path.split("."))
        if isinstance(rows, list):
            rows.append({})
        return inputs
    if path := post.get("remove"):
        *of_rows, number = path.split(".")
        rows = _named(inputs, of_rows)
        if isinstance(rows, list) and number.isdecimal() and int(number) < len(rows):
            del rows[int(number)]
        return inputs
    return None


def _named(inputs: Any, names: Sequence[str]) -> Any:
    for name in names:
        if isinstance(inputs, dict):
            inputs = inputs.get(name)
        elif isinstance(inputs, list) and name.isdecimal() and int(name) < len(inputs):
            inputs = inputs[int(name)]
        else:
            return None
    return inputs


# For the page's script


def spec(of_all: Sequence[fields.Field]) -> list[dict[str, Any]]:
    """What the script needs to read, fill and judge the controls."""
    return [_spec(of) for of in of_all]


def _spec(of: fields.Field) -> dict[str, Any]:
    told: dict[str, Any] = {"name": of.name, "kind": type(of).__name__.lower(), "is_required": of.is_required}
    match of:
        case fields.Rows():
            told |= {"fields": spec(of.fields), "noun": of.noun, "count_min": of.count_min, "count_max": of.count_max}
        case fields.Document():
            told |= {
                "file_name": of.file_name,
                "accepts": list(of.accepts),
                "bytes_max": of.bytes_max,
                "is_text": of.is_text,
            }
        case fields.Choice():
            told |= {"has_none": of.default is None}
    return told
