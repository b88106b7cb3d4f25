"""Expressions that people write, read by sqlglot into a list of what is allowed, and written again for DuckDB.

What is not on the list is refused: subqueries, tables, files, settings, casts to odd types, functions that make large
values out of small ones. Only ever loaded lazily: it loads sqlglot.
"""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

VALUES = (
    exp.Column,
    exp.Identifier,
    exp.Literal,
    exp.Boolean,
    exp.Null,
    exp.Paren,
    exp.Var,
    exp.DataType,
    exp.Interval,
)
OPERATORS = (
    exp.Add,
    exp.Sub,
    exp.Mul,
    exp.Div,
    exp.IntDiv,
    exp.Mod,
    exp.Neg,
    exp.DPipe,
    exp.And,
    exp.Or,
    exp.Not,
    exp.EQ,
    exp.NEQ,
    exp.GT,
    exp.GTE,
    exp.LT,
    exp.LTE,
    exp.Is,
    exp.In,
    exp.Between,
    exp.Like,
    exp.ILike,
    exp.Case,
    exp.If,
    exp.Cast,
    exp.TryCast,
)
FUNCTIONS = (
    exp.Abs,
    exp.Ceil,
    exp.Coalesce,
    exp.Concat,
    exp.Contains,
    exp.DateDiff,
    exp.Day,
    exp.EndsWith,
    exp.Extract,
    exp.Floor,
    exp.Greatest,
    exp.Least,
    exp.Left,
    exp.Length,
    exp.Ln,
    exp.Lower,
    exp.Month,
    exp.Nullif,
    exp.Pow,
    exp.Quarter,
    exp.Replace,
    exp.Right,
    exp.Round,
    exp.Sign,
    exp.SplitPart,
    exp.Sqrt,
    exp.StartsWith,
    exp.StrPosition,
    exp.Substring,
    exp.TimestampTrunc,
    exp.DateTrunc,
    exp.Trim,
    exp.Upper,
    exp.Year,
)
AGGREGATES = (
    exp.Sum,
    exp.Count,
    exp.Avg,
    exp.Min,
    exp.Max,
    exp.Median,
    exp.Stddev,
    exp.StddevSamp,
    exp.Star,
    exp.Distinct,
)
TYPES = {
    "integer": "BIGINT",
    "decimal": "DOUBLE",
    "text": "VARCHAR",
    "date": "DATE",
    "datetime": "TIMESTAMP",
    "boolean": "BOOLEAN",
}
TYPES_ALLOWED = frozenset({"INT", "INTEGER", "FLOAT", "DECIMAL", "TEXT", *TYPES.values()})


def checked(written: str, columns: Collection[str], *, is_aggregate: bool = False) -> str:
    """The expression as DuckDB takes it; raises ValueError with a sentence for the person."""
    try:
        found = sqlglot.parse_one(written, read="duckdb")
    except SqlglotError:
        raise ValueError(f"This is no expression: {written[:80]}") from None
    except RecursionError:
        raise ValueError("The expression is nested too deeply.") from None
    by_name = {one.casefold(): one for one in columns}
    has_aggregate = False
    allowed = VALUES + OPERATORS + FUNCTIONS + (AGGREGATES if is_aggregate else ())
    for node in found.walk():
        if not isinstance(node, allowed):
            raise ValueError(f"{_called(node)} cannot be used here.")
        has_aggregate = has_aggregate or isinstance(node, exp.AggFunc)
        if isinstance(node, exp.Column):
            _name_column(node, by_name)
        if isinstance(node, exp.DataType) and node.this.name not in TYPES_ALLOWED:
            raise ValueError(f"Cast to one of: {', '.join(TYPES)}.")
        if isinstance(node, exp.Var) and not node.name.isalpha():
            raise ValueError(f"{node.name[:40]} is not known here.")
        if isinstance(node, exp.In) and node.args.get("query") is not None:
            raise ValueError("IN takes a list of values here.")
    if is_aggregate and not has_aggregate:
        raise ValueError("Write an aggregate: sum(…), count(*), avg(…), min(…), max(…), median(…).")
    return found.sql(dialect="duckdb", comments=False)


def _name_column(node: exp.Column, by_name: dict[str, str]) -> None:
    if len(node.parts) > 1:
        raise ValueError(f"Write the column alone: {node.name}.")
    if isinstance(node.this, exp.Star):
        return
    name = by_name.get(node.name.casefold())
    if name is None:
        close = get_close_matches(node.name.casefold(), by_name, n=1)
        hint = f" Did you mean {by_name[close[0]]}?" if close else ""
        raise ValueError(f"There is no column {node.name[:80]} here.{hint}")
    node.set("this", exp.to_identifier(name, quoted=True))


def _called(node: exp.Expr) -> str:
    if isinstance(node, exp.Anonymous):
        return f"The function {node.name[:40]}"
    return node.key.upper() if isinstance(node, exp.Func) else f"“{node.sql()[:40]}”"
