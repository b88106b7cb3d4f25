"""A result's parts as the page draws them: every value a text, every link one that can be followed. Pure.

What a tool gives back has passed through a process that read a stranger's files, so nothing about its shape is taken
for granted: what cannot be drawn is left out, and so is more than anybody reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

ROWS_MAX = 200
COLUMNS_MAX = 500
PAIRS_MAX = 1000
CELLS_MAX = 100_000  # of a page, after which no block more is begun
LETTERS_MAX = 100_000
# A longer description is for whoever does not see the picture: it stands in its `alt` alone.
CAPTION_MAX = 160
# A cell with more letters than these is read as a sentence.
SENTENCE = 60
SEVERITIES = {
    "critical": ("Critical", "bad"),
    "high": ("High", "bad"),
    "medium": ("Medium", "wait"),
    "low": ("Low", ""),
    "info": ("Note", ""),
    "good": ("Good", "ok"),
}


def drawn(view: Any, files: Mapping[str, str]) -> list[dict[str, Any]]:
    """The blocks for the template. `files`: the addresses of the run's files by their names."""
    found: list[dict[str, Any]] = []
    cells = 0
    for block in view if isinstance(view, list) else ():
        if cells > CELLS_MAX:
            break
        draw = _DRAW.get(str(block.get("kind"))) if isinstance(block, Mapping) else None
        if draw is not None:
            parts = draw(block, files)
            cells += len(parts.get("rows", ())) * (len(parts.get("columns", ())) or 8)
            cells += len(parts.get("pairs", ())) + len(parts.get("paragraphs", ()))
            found.append({"kind": block["kind"], "title": _text(block.get("title")), **parts})
    return found


def say(value: Any) -> str:
    """A value for people: numbers with separators and no more decimals than matter."""
    match value:
        case None:
            return "–"
        case bool():
            return "Yes" if value else "No"
        case int():
            return f"{value:,}".replace("-", "−") if abs(value) >= 10_000 else str(value).replace("-", "−")
        case float():
            is_small = 0 < abs(value) < 0.001
            shown = f"{Decimal(f'{value:.3g}'):f}" if is_small else f"{value:,.4f}".rstrip("0").rstrip(".")
            return shown.replace("-", "−", 1)
        case list():
            return ", ".join(map(say, value))
    return _text(value)


def _text(value: Any) -> str:
    return "" if value is None else str(value)[:LETTERS_MAX]


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _facts(block: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    pairs = [pair for pair in _list(block.get("pairs")) if isinstance(pair, list) and len(pair) == 2]
    return {"pairs": [{"name": _text(name), "value": say(value)} for name, value in pairs[:PAIRS_MAX]]}


def _table(block: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    columns = [_text(one) for one in _list(block.get("columns"))[:COLUMNS_MAX]]
    rows = [row for row in _list(block.get("rows")) if isinstance(row, list)]
    first = rows[:ROWS_MAX]
    numeric = [_is_numeric(row[at] for row in first if at < len(row)) for at in range(len(columns))]
    places = [_places(row[at] for row in first if at < len(row)) for at in range(len(columns))]
    shown = [
        [
            {"text": text, "column": column, "kind": "r n" if is_number else _shape(text), "is_number": is_number}
            for text, column, is_number in zip(
                (_padded(cell, count) for cell, count in zip(row, places, strict=False)), columns, numeric, strict=False
            )
        ]
        for row in first
    ]
    return {
        "columns": [
            {"title": title, "is_number": is_number} for title, is_number in zip(columns, numeric, strict=True)
        ],
        "rows": shown,
        "more": len(rows) - len(shown),
        "note": _text(block.get("note")),
    }


# A word or two, a name, a version, a date: broken over two lines they could not be read.
KEPT_WHOLE = re.compile(r".{1,14}|\S{1,24}|[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}\S{0,8}")
# What is smaller than its column can show keeps its own decimals.
DECIMALS = re.compile(r"−?[0-9][0-9,]*(?:\.([0-9]{1,4}))?")


def _places(cells: Iterable[Any]) -> int:
    """The most decimals that a number of this column is shown with."""
    found = [DECIMALS.fullmatch(say(cell)) for cell in cells if _is_number(cell)]
    return max((len(one[1] or "") for one in found if one), default=0)


def _padded(cell: Any, places: int) -> str:
    """The cell as `say` says it, with so many decimals, so that the points of a column stand under each other."""
    text = say(cell)
    one = DECIMALS.fullmatch(text) if places and _is_number(cell) else None
    if one is None:
        return text
    decimals = one[1] or ""
    return f"{text}{'' if decimals else '.'}{'0' * (places - len(decimals))}"


def _shape(text: str) -> str:
    """What the page keeps on one line, and what it gives room for a sentence."""
    return "whole" if KEPT_WHOLE.fullmatch(text) else "long" if len(text) > SENTENCE else ""


def _is_number(cell: Any) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _is_numeric(cells: Iterable[Any]) -> bool:
    kept = [cell for cell in cells if cell is not None]
    return any(cell != "" for cell in kept) and all(map(_is_figure, kept))


# A number that is written with its currency or per cent. Empty cells beside figures are none.
FIGURE = re.compile(r"([−+-]?[£$€][0-9][0-9,]*(\.[0-9]+)?|[−+-]?[0-9][0-9,]*(\.[0-9]+)? ?%)?")


def _is_figure(cell: Any) -> bool:
    if isinstance(cell, str):
        return FIGURE.fullmatch(cell) is not None
    return _is_number(cell)


def _findings(block: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    rows = [row for row in _list(block.get("rows")) if isinstance(row, Mapping)]
    shown = []
    for row in rows[:ROWS_MAX]:
        word, kind = SEVERITIES.get(str(row.get("severity")), SEVERITIES["info"])
        link = _text(row.get("link"))
        shown.append(
            {name: _text(row.get(name)) for name in ("title", "where", "text", "fix")}
            | {"word": word, "kind": kind, "link": link if link.startswith("https://") else ""}
        )
    return {"rows": shown, "more": len(rows) - len(shown), "none": _text(block.get("none")) or "Nothing was found."}


def _texts(block: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    return {"paragraphs": [_text(one) for one in _list(block.get("paragraphs"))[:PAIRS_MAX]]}


def _code(block: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    file = _text(block.get("file"))
    source = block.get("source")
    whole = source if isinstance(source, str) else ""
    return {
        "source": whole[:LETTERS_MAX],
        "is_cut": len(whole) > LETTERS_MAX,
        "language": _text(block.get("language")),
        "file": file,
        "url": files.get(file, ""),
    }


def _picture(block: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    file = _text(block.get("file"))
    described = _text(block.get("described"))
    return {
        "file": file,
        "url": files.get(file, ""),
        "described": described,
        "has_caption": 0 < len(described) <= CAPTION_MAX,
    }


_DRAW = {
    "facts": _facts,
    "table": _table,
    "findings": _findings,
    "text": _texts,
    "code": _code,
    "picture": _picture,
}
