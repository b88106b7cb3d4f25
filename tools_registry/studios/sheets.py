"""A CSV that a spreadsheet opens safely: its cells are shown, never worked out as formulas."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

from tools_registry.studio import File

NUMBER = re.compile(r"[+-]?\d[\d.,]*(?:[eE][+-]?\d+)?")


def defused(cell: Any) -> Any:
    """The cell with an apostrophe before what a spreadsheet would work out. Numbers stay as they are."""
    if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") and not NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


def csv_file(name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> File:
    """The rows as a file, UTF-8, lines ended as RFC 4180 has them."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow([defused(one) for one in columns])
    writer.writerows([defused(one) for one in row] for row in rows)
    return File(name, "text/csv", out.getvalue().encode("utf-8", "replace"))


def markdown_cell(cell: Any) -> str:
    """The cell as Markdown shows it in a table: one line, no marks that would start something else."""
    said = " ".join(str("" if cell is None else cell).split())
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", said)


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """The rows as a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    written = [
        [str(one) for one in line] if number == 1 else [markdown_cell(one) for one in line]
        for number, line in enumerate(lines)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in written)
