"""Rows to columns to SQL: many rows of one table as one piece of a statement, whatever their number.

A table is data: its columns with their types, named as the rows' attributes are. A row's list (a hold's receipt, a
line's lot moves) travels in one flat column and is cut out again by its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from .columns import Column, Ints

_KEYS_TO_ROWS = frozenset({"account", "user", "hold", "refunds", "payment", "entry"})


def _column_name(attribute: str) -> str:
    return f"{attribute}_id" if attribute in _KEYS_TO_ROWS else attribute


@dataclass(frozen=True)
class Table:
    """A piece of SQL over `columns`; `lists` are attributes of equal length in each row that hold lists."""

    name: str
    columns: Mapping[str, type[Column]]
    lists: Mapping[str, type[Column]] = field(default_factory=dict)
    # Tells the pieces of one table apart within a statement.
    part: str = ""

    def insert(self, on_conflict: str = "") -> Piece:
        names = [_column_name(name) for name in self.columns]
        values = [f"row.{name}" for name in names]
        names += list(self.lists)
        values += [f"(%({self._prefix}_{name})s)[row.list_start:row.list_end]" for name in self.lists]
        sql = f"INSERT INTO {self.name} AS it ({', '.join(names)}) SELECT {', '.join(values)} FROM {self._rows}"
        return Piece(self, f"{sql} {on_conflict}".rstrip())

    def update(self, *keys: str) -> Piece:
        names = [_column_name(name) for name in self.columns]
        changes = ", ".join(f"{name} = row.{name}" for name in names if name not in keys)
        same = " AND ".join(f"it.{name} = row.{name}" for name in keys)
        return Piece(self, f"UPDATE {self.name} AS it SET {changes} FROM {self._rows} WHERE {same}")

    def add(self, *amounts: str, keys: Sequence[str], maybe_null: str) -> Piece:
        """Adds the rows' `amounts` to the rows that `keys` and `maybe_null` name; all of them stand already."""
        changes = ", ".join(f"{name} = it.{name} + row.{name}" for name in amounts)
        same = " AND ".join(f"it.{name} = row.{name}" for name in keys)
        same += f" AND it.{maybe_null} IS NOT DISTINCT FROM row.{maybe_null}"
        return Piece(self, f"UPDATE {self.name} AS it SET {changes} FROM {self._rows} WHERE {same}")

    @property
    def _prefix(self) -> str:
        return f"{self.name}{self.part}"

    @property
    def _rows(self) -> str:
        names = [_column_name(name) for name in self.columns]
        parameters = [f"%({self._prefix}_{name})s" for name in self.columns]
        if self.lists:
            names += ["list_start", "list_end"]
            parameters += [f"%({self._prefix}_list_start)s", f"%({self._prefix}_list_end)s"]
        return f"unnest({', '.join(parameters)}) AS row ({', '.join(names)})"


class Piece:
    """One data-changing part of a statement."""

    def __init__(self, table: Table, sql: str) -> None:
        self.sql = sql
        self._prefix = table._prefix
        self._columns = tuple(table.columns.items())
        self._lists = tuple(table.lists.items())
        self._get = attrgetter(*table.columns)

    def parameters(self, rows: Sequence[Any]) -> dict[str, Column]:
        """The rows as this piece's parameters."""
        values = zip(*map(self._get, rows), strict=True)
        named: dict[str, Column] = {
            f"{self._prefix}_{name}": column(of_rows)
            for (name, column), of_rows in zip(self._columns, values, strict=True)
        }
        if not self._lists:
            return named
        for name, column in self._lists:
            get = attrgetter(name)
            named[f"{self._prefix}_{name}"] = column([element for row in rows for element in get(row)])
        starts, ends, at = Ints(), Ints(), 0
        length = attrgetter(self._lists[0][0])
        for row in rows:
            starts.append(at + 1)
            at += len(length(row))
            ends.append(at)
        return named | {f"{self._prefix}_list_start": starts, f"{self._prefix}_list_end": ends}
