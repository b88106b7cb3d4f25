"""Tables as people have them: CSV of any delimiter and encoding, JSON, JSON lines, Parquet. Read whole, within caps.

Every cell is text, or None where there is nothing. What is odd about the file itself is kept beside it, so that who
checks quality can say it.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tools_registry.lazily import lazy
from tools_registry.studio import BadInput
from tools_registry.studios.scratch import scratch_file

if TYPE_CHECKING:
    import duckdb
else:
    duckdb = lazy("duckdb")

ROWS_MAX = 200_000
COLUMNS_MAX = 500
CELLS_MAX = 3_000_000
NESTED_MAX = 100
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
ENDINGS = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet")
OTHER_FILES = {
    b"PK\x03\x04": "This is a zip or an Excel workbook. Save the sheet as CSV and send that.",
    b"\xd0\xcf\x11\xe0": "This is an old Excel workbook. Save the sheet as CSV and send that.",
    b"\x1f\x8b": "This file is compressed with gzip. Unpack it and send what is inside.",
    b"%PDF": "This is a PDF. Send the table itself, as CSV, JSON or Parquet.",
    b"SQLite format 3": "This is an SQLite database. Export the table as CSV and send that.",
}


@dataclass(slots=True)
class Sheet:
    """A table: its columns by name, all of the same length, and what was odd about the file."""

    columns: dict[str, list[str | None]]
    format: str
    encoding: str = "UTF-8"
    delimiter: str = ""
    # The line of the file each row begins at; counted from 1. Rows of JSON and Parquet have none.
    lines: Sequence[int] = ()
    # What the file says of its columns, where it says anything: "BIGINT".
    declared: dict[str, str] = field(default_factory=dict)
    # Rows with another number of cells than the heading, by number from 1, with that number of cells.
    ragged: dict[int, int] = field(default_factory=dict)
    # Sentences about the heading.
    heading: list[str] = field(default_factory=list)
    # Lines that are no UTF-8, and quotes that are not closed as they should be.
    undecodable: list[int] = field(default_factory=list)
    quoting: str = ""

    @property
    def names(self) -> list[str]:
        return list(self.columns)

    @property
    def row_count(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def rows(self) -> Iterator[tuple[str | None, ...]]:
        return zip(*self.columns.values(), strict=True)

    def line(self, row: int) -> int | None:
        """The line of a row; both from 1."""
        return self.lines[row - 1] if row <= len(self.lines) else None

    @property
    def told(self) -> str:
        """How it was read, in words."""
        if self.format != "CSV":
            return f"{self.format}, {self.encoding}" if self.encoding else self.format
        return f"CSV, {self.encoding}, cells parted by {DELIMITERS.get(self.delimiter, self.delimiter)}"


def read(content: bytes, name: str, *, has_heading: bool = True, rows_max: int = ROWS_MAX) -> Sheet:
    """The table in these bytes; raises BadInput naming the field `name`, with the line where there is one."""
    if content[:4] == b"PAR1":
        return _parquet(content, name, rows_max)
    text, encoding, undecodable = decode(content, name)
    if not text.strip():
        raise BadInput({name: "There is nothing in it."})
    if text.lstrip()[0] in "[{" and (found := _json(text, name, rows_max)) is not None:
        found.encoding = encoding
        return found
    sheet = _csv(text, name, has_heading, rows_max)
    sheet.encoding, sheet.undecodable = encoding, undecodable
    return sheet


# Bytes to text


def decode(content: bytes, name: str) -> tuple[str, str, list[int]]:
    """The text, the name of its encoding, and the lines that are no UTF-8. Raises BadInput for what is no text."""
    for magic, sentence in OTHER_FILES.items():
        if content.startswith(magic):
            raise BadInput({name: sentence})
    for mark, wide in (
        (b"\xff\xfe\x00\x00", "UTF-32"),
        (b"\x00\x00\xfe\xff", "UTF-32"),
        (b"\xff\xfe", "UTF-16"),
        (b"\xfe\xff", "UTF-16"),
    ):
        if content.startswith(mark):
            return _decoded(content, wide, name), wide, []
    start = content[:2000]
    if start.count(0) > len(start) * 0.3:
        is_big = start[0::2].count(0) > start[1::2].count(0)
        encoding = "UTF-16BE" if is_big else "UTF-16LE"
        return _decoded(content, encoding, name), encoding, []
    if b"\x00" in content:
        at = content[: content.index(b"\x00")].count(b"\n") + 1
        raise BadInput({name: f"Line {at}: there is a zero byte, so this is no text. Send CSV, JSON or Parquet."})
    try:
        text = content.decode("utf-8-sig")
        return text, "UTF-8 with a byte order mark" if content.startswith(b"\xef\xbb\xbf") else "UTF-8", []
    except UnicodeDecodeError:
        pass
    lines: list[str] = []
    wrong, good = [], 0
    each: list[bytes] = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for number, line in enumerate(each, start=1):
        try:
            lines.append(line.decode())
            good += not line.isascii()
        except UnicodeDecodeError:
            lines.append(line.decode("cp1252", "replace"))
            wrong.append(number)
    return "\n".join(lines), "UTF-8 and Windows-1252 mixed" if good else "Windows-1252", wrong


def _decoded(content: bytes, encoding: str, name: str) -> str:
    try:
        return content.decode(encoding).removeprefix("\ufeff").replace("\x00", "")
    except UnicodeDecodeError as error:
        raise BadInput({name: f"It begins like {encoding}, but byte {error.start:,} does not fit it."}) from None


# CSV


def _csv(text: str, name: str, has_heading: bool, rows_max: int) -> Sheet:
    told = re.match(r"sep=(.)\r?\n", text)
    first_line = 1
    if told:
        text, first_line = text[told.end() :], 2
    delimiter = told[1] if told else sniff(text)
    rows, lines, quoting = _csv_rows(text, delimiter, first_line, rows_max, name)
    if not rows:
        raise BadInput({name: "There is nothing in it."})
    width = max(map(len, rows[:1])) if has_heading else max(map(len, rows))
    head = rows.pop(0) if has_heading else [f"column_{number}" for number in range(1, width + 1)]
    if has_heading:
        lines.pop(0)
    if all(len(row) == width + 1 and not row[-1] for row in rows) and rows:
        rows = [row[:-1] for row in rows]  # each line ends with the delimiter
    ragged = {number: len(row) for number, row in enumerate(rows, start=1) if len(row) != width}
    names, heading = name_columns(head)
    _within(len(names), len(rows), name)
    for number in ragged:
        row = rows[number - 1]
        rows[number - 1] = (row + [""] * width)[:width]
    transposed: list[Sequence[str]] = list(zip(*rows, strict=True)) if rows else [()] * width
    columns = {
        column: [cell if cell else None for cell in cells] for column, cells in zip(names, transposed, strict=True)
    }
    return Sheet(columns, "CSV", "UTF-8", delimiter, lines, {}, ragged, heading, quoting=quoting)


def _csv_rows(
    text: str, delimiter: str, first_line: int, rows_max: int, name: str
) -> tuple[list[list[str]], list[int], str]:
    """The rows that are not blank, their lines, and what is odd about the quotes."""
    csv.field_size_limit(max(len(text), 131_072))
    quoting = ""
    for is_strict in (True, False):
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=is_strict)
        rows: list[list[str]] = []
        lines: list[int] = []
        before = 0
        try:
            for row in reader:
                if row and (len(row) > 1 or row[0].strip()):
                    rows.append(row)
                    lines.append(before + first_line)
                    if len(rows) > rows_max + 1:
                        raise BadInput({name: f"At most {rows_max:,} rows are read at a time; this has more."})
                before = reader.line_num
            return rows, lines, quoting
        except csv.Error as error:
            if not is_strict:
                raise BadInput({name: f"Line {reader.line_num + first_line - 1}: {error}."}) from None
            quoting = f"The quotes are not closed as they should be: row that begins at line {before + first_line}."
    raise AssertionError


def sniff(text: str) -> str:
    """The delimiter with which most rows have as many cells as the first; a comma where none parts anything."""
    sample = text[:65_536]
    if len(text) > len(sample) and "\n" in sample:
        sample = sample[: sample.rindex("\n") + 1]
    best, found = (0.0, 0), ","
    for delimiter in DELIMITERS:
        widths = []
        try:
            for row in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter):
                if row:
                    widths.append(len(row))
                if len(widths) >= 500:
                    break
        except csv.Error:
            continue
        if not widths or widths[0] < 2:
            continue
        # Whole rows shorter by an empty end are still this delimiter's; a row of one cell is nobody's.
        fit = sum(width == widths[0] for width in widths) + sum(0.5 for width in widths if 1 < width != widths[0])
        score = (round(fit / len(widths), 2), widths[0])
        if score > best:
            best, found = score, delimiter
    return found


def name_columns(head: Sequence[str]) -> tuple[list[str], list[str]]:
    """A name of its own for each column, and sentences about the headings that had none."""
    names: list[str] = []
    said: list[str] = []
    taken: set[str] = set()
    for number, written in enumerate(head, start=1):
        plain = " ".join(written.encode("utf-8", "replace").decode().split())[:200]
        name = plain or f"column_{number}"
        if not plain:
            said.append(f"Column {number} has no heading; it is called {name} here.")
        again = 2
        while name in taken:
            name, again = f"{plain or f'column_{number}'}_{again}", again + 1
        if plain in taken and plain:
            said.append(f"The heading “{plain}” stands more than once; column {number} is called {name} here.")
        if plain and written != plain:
            said.append(f"The heading of column {number} has spaces around or inside that are hard to see.")
        taken.add(name)
        names.append(name)
    return names, said


def _within(columns: int, rows: int, name: str) -> None:
    if columns > COLUMNS_MAX:
        raise BadInput({name: f"At most {COLUMNS_MAX} columns; this has {columns:,}."})
    if columns * rows > CELLS_MAX:
        raise BadInput({name: f"At most {CELLS_MAX:,} cells; this has {columns * rows:,}. Send fewer rows."})


# JSON


def _json(text: str, name: str, rows_max: int) -> Sheet | None:
    """The rows of a JSON list, of JSON lines, or of an object that holds one list; None for what is no JSON at all."""
    rows = json_rows(text, name)
    if rows is None:
        return None
    if len(rows) > rows_max:
        raise BadInput({name: f"At most {rows_max:,} rows are read at a time; this has {len(rows):,}."})
    names: dict[str, None] = {}
    for row in rows:
        for key in row:
            names.setdefault(key)
    if not names:
        raise BadInput({name: "The JSON holds no rows with names and values."})
    _within(len(names), len(rows), name)
    columns = {key: [_cell(row.get(key)) for row in rows] for key in names}
    plain, heading = name_columns(list(columns))
    declared = {key: "string" for key in names if all(isinstance(row.get(key), str | None) for row in rows)}
    return Sheet(
        dict(zip(plain, columns.values(), strict=True)),
        "JSON",
        declared={one: "string" for one, key in zip(plain, names, strict=True) if key in declared},
        heading=heading,
    )


def json_rows(text: str, name: str) -> list[dict[str, Any]] | None:
    try:
        found = json.loads(text)
    except RecursionError:
        raise BadInput({name: "The JSON is nested too deeply."}) from None
    except ValueError as error:
        return _json_lines(text, name, error)
    if isinstance(found, dict):
        lists = [one for one in found.values() if isinstance(one, list) and one and isinstance(one[0], dict)]
        found = lists[0] if len(lists) == 1 else [found]
    if not isinstance(found, list):
        return None
    if all(isinstance(row, list) for row in found) and found and all(isinstance(one, str) for one in found[0]):
        head, *rest = found
        return [dict(zip(head, row, strict=False)) for row in rest]
    for number, row in enumerate(found, start=1):
        if not isinstance(row, dict):
            raise BadInput({name: f"Item {number} of the JSON list is no object with names and values."})
    return found


def _json_lines(text: str, name: str, error: ValueError) -> list[dict[str, Any]] | None:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except RecursionError:
            raise BadInput({name: f"Line {number}: the JSON is nested too deeply."}) from None
        except ValueError:
            if not rows:
                if isinstance(error, json.JSONDecodeError) and re.match(r'\s*(\{\s*["}]|\[\s*[\{\["\]])', text):
                    raise BadInput({name: f"Line {error.lineno}: this is no JSON ({error.msg})."}) from None
                return None
            raise BadInput({name: f"Line {number}: this is no JSON."}) from None
        if not isinstance(row, dict):
            raise BadInput({name: f"Line {number}: write an object with names and values."})
        rows.append(row)
    return rows


def _cell(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value.replace("\x00", "�").encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else None
    if isinstance(value, int):
        return str(value) if abs(value) < 10**300 else None
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace").decode()


# Parquet


def connect() -> duckdb.DuckDBPyConnection:
    """A database in memory, of one thread, that installs and loads nothing."""
    return duckdb.connect(
        ":memory:",
        config={
            "threads": 1,
            "memory_limit": "300MB",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "max_temp_directory_size": "0KB",
        },
    )


def lock(database: duckdb.DuckDBPyConnection) -> None:
    """From now on it reaches no file, and nothing in it can change that."""
    database.execute("SET enable_external_access = false")
    database.execute("SET lock_configuration = true")


def quote(name: str) -> str:
    """The name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def first_line(error: Exception) -> str:
    """What a library says is wrong, without where it says so."""
    return re.sub(r"'/[^']*'|/\S+/", "the file", str(error).strip().split("\n")[0])[:300].rstrip(".")


def _parquet(content: bytes, name: str, rows_max: int) -> Sheet:
    """DuckDB reads Parquet from files only, so the bytes lie in the run's scratch folder for as long as that takes."""
    with scratch_file(".parquet") as file, connect() as database:
        file.write_bytes(content)
        path = str(file)
        try:
            told = database.execute("SELECT * FROM read_parquet(?) LIMIT 0", [path]).description or []
            names, declared = [one[0] for one in told], [str(one[1]) for one in told]
            ((count,),) = database.execute("SELECT count(*) FROM read_parquet(?)", [path]).fetchall()
            if count > rows_max:
                raise BadInput({name: f"At most {rows_max:,} rows are read at a time; this has {count:,}."})
            _within(len(names), count, name)
            cells = ", ".join(f"CAST({quote(one)} AS VARCHAR)" for one in names)
            rows = database.execute(f"SELECT {cells} FROM read_parquet(?)", [path]).fetchall()  # noqa: S608 - quoted
        except duckdb.Error as error:
            raise BadInput({name: f"The Parquet file cannot be read ({first_line(error)})."}) from None
    plain, heading = name_columns(names)
    transposed: list[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    columns = {one: [cell if cell else None for cell in cells] for one, cells in zip(plain, transposed, strict=True)}
    return Sheet(columns, "Parquet", "", declared=dict(zip(plain, declared, strict=True)), heading=heading)
