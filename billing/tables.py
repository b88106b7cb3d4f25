"""Rows to columns to SQL: many rows of one table as one piece of a statement, whatever their number.

A table is data: its columns with their types, named as the rows' attributes are. A row's list (a hold's receipt, a
line's lot moves) travels in one flat column and is cut out again by its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import attrgetter
from typing import Any

from .columns import Column, Ints

_KEYS_TO_ROWS = frozenset({"account", "user", "hold", "refunds", "payment", "entry"})


def _column_name(attribute: str) -> str:
    return f"{attribute}_id" if attribute in _KEYS_TO_ROWS else attribute


@dataclass(frozen=True)
class Table:
    """A table's `columns`; `lists` are attributes of equal length in each row that hold lists."""

    name: str
    columns: Mapping[str, type[Column]]
    lists: Mapping[str, type[Column]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return [_column_name(name) for name in self.columns] + list(self.lists)

    def insert(self, on_conflict: str = "") -> Piece:
        sql = f"INSERT INTO {self.name} AS it ({', '.join(self.names)}) SELECT * FROM {{rows}} {on_conflict}"  # noqa: S608
        return Piece(self, sql.rstrip())

    def update(self, *keys: str) -> Piece:
        changes = ", ".join(f"{name} = row.{name}" for name in self.names if name not in keys)
        return self._update(changes, [f"it.{name} = row.{name}" for name in keys])

    def add(self, *amounts: str, keys: Sequence[str], maybe_null: str) -> Piece:
        """Adds the rows' `amounts` to the rows that `keys` and `maybe_null` name; all of them stand already."""
        changes = ", ".join(f"{name} = it.{name} + row.{name}" for name in amounts)
        same = [f"it.{name} = row.{name}" for name in keys]
        return self._update(changes, [*same, f"it.{maybe_null} IS NOT DISTINCT FROM row.{maybe_null}"])

    def _update(self, changes: str, same: list[str]) -> Piece:
        return Piece(self, f"UPDATE {self.name} AS it SET {changes} FROM {{rows}} WHERE {' AND '.join(same)}")  # noqa: S608


class Piece:
    """One data-changing part of a statement, over rows whose columns are its parameters."""

    def __init__(self, table: Table, sql: str) -> None:
        self._table = table
        self._sql = sql
        self._columns = tuple(table.columns.values())
        self._lists = tuple((attrgetter(name), column) for name, column in table.lists.items())
        self._get = attrgetter(*table.columns)

    def parameter_count(self, is_one: bool) -> int:
        return len(self._columns) + len(self._lists) + (2 if self._lists and not is_one else 0)

    def sql(self, first: int, is_one: bool) -> str:
        """The piece with its parameters numbered from `first`. One row needs no function that makes rows of columns."""
        parameters = [f"${first + at}" for at in range(self.parameter_count(is_one))]
        columns, lists = parameters[: len(self._columns)], parameters[len(self._columns) :]
        names = ", ".join(self._table.names)
        if is_one:
            values = [f"({column})[1]" for column in columns] + lists
            return self._sql.format(rows=f"(SELECT {', '.join(values)}) AS row ({names})")
        if not lists:
            return self._sql.format(rows=f"unnest({', '.join(columns)}) AS row ({names})")
        *lists, start, end = lists
        numbers = [f"c{at}" for at in range(len(columns))]
        values = numbers + [f"({flat})[list_start:list_end]" for flat in lists]
        rows = f"unnest({', '.join([*columns, start, end])}) AS c ({', '.join(numbers)}, list_start, list_end)"
        return self._sql.format(rows=f"(SELECT {', '.join(values)} FROM {rows}) AS row ({names})")  # noqa: S608

    def parameters(self, rows: Sequence[Any]) -> list[Column]:
        """The rows as this piece's parameters."""
        values = zip(*map(self._get, rows), strict=True)
        columns = [column(of_rows) for column, of_rows in zip(self._columns, values, strict=True)]
        for get, column in self._lists:
            columns.append(column([element for row in rows for element in get(row)]))
        if self._lists and len(rows) > 1:
            columns += _places(rows, self._lists[0][0])
        return columns


def _places(rows: Sequence[Any], get: Callable[[Any], Sequence[Any]]) -> list[Column]:
    """Where each row's list starts and ends in the flat column."""
    starts, ends, at = Ints(), Ints(), 0
    for row in rows:
        starts.append(at + 1)
        at += len(get(row))
        ends.append(at)
    return [starts, ends]


@lru_cache(maxsize=256)
def statement(pieces: tuple[tuple[Piece, bool], ...]) -> bytes:
    """All the pieces, each for one row or for many, as one statement; the same pieces make the same text."""
    first, parts = 1, []
    for at, (piece, is_one) in enumerate(pieces):
        parts.append(f"piece_{at} AS ({piece.sql(first, is_one)})")
        first += piece.parameter_count(is_one)
    return f"WITH {', '.join(parts)} SELECT 1".encode()
