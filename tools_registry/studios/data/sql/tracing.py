"""Where the columns of SQL come from: sqlglot reads it, every column is followed through CTEs, joins, unions and stars.

Only ever loaded lazily: it loads sqlglot. Nothing of the SQL is run.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope
from sqlglot.schema import MappingSchema

Source = tuple[str, str]  # table, column; "*" where the columns of the table are not known
_Pair = tuple[str, str, exp.Expr]  # a column that is set, the table that it is written with or "", and the value
STEPS_MAX = 12


class NotSQL(ValueError):
    """With a sentence that names the line."""


@dataclass(slots=True)
class Edge:
    """A column of a target, and all it is made of."""

    statement: int
    target: str
    column: str
    sources: list[Source]
    expression: str
    kind: str  # copied, computed, aggregated, windowed, constant, unknown
    steps: list[str]  # through which CTEs and subqueries, the outermost first


@dataclass(slots=True)
class Statement:
    """What a statement does, and which columns decide which rows it sees."""

    number: int
    kind: str
    target: str
    text: str
    used: list[tuple[Source, str]] = field(default_factory=list)  # join, filter, group, order
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Traced:
    edges: list[Edge] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    # Of each table that was defined or made: its columns.
    tables: dict[str, list[str]] = field(default_factory=dict)


def parse(sql: str, dialect: str, most: int) -> list[exp.Expr]:
    """The statements; raises NotSQL."""
    try:
        found = [one for one in sqlglot.parse(sql, read=dialect or None) if one is not None]
    except ParseError as error:
        first = error.errors[0] if error.errors else {}
        near = (first.get("highlight") or "").strip()[:40]
        said = str(first.get("description") or error).split(" but got ")[0].split(". ")[0].strip(". ")[:160]
        raise NotSQL(f"Line {first.get('line', '?')}: {said}{f', near “{near}”' if near else ''}.") from None
    except SqlglotError as error:
        raise NotSQL(f"This is no SQL of that dialect: {str(error).split(chr(10))[0][:160]}.") from None
    except RecursionError:
        raise NotSQL("The SQL is nested too deeply.") from None
    if len(found) > most:
        raise NotSQL(f"At most {most} statements; there are {len(found):,}.")
    return found


def trace(statements: Iterable[exp.Expr], definitions: Iterable[exp.Expr], dialect: str) -> Traced:
    """The lineage of each statement, in order: what one makes, the next ones know."""
    tracer = _Tracer(dialect)
    for one in definitions:
        normal = _normal(one, dialect)
        if isinstance(normal, exp.Create):
            tracer.define(normal)
    for number, one in enumerate(statements, start=1):
        tracer.follow(number, one)
    return tracer.traced


def _normal(one: exp.Expr, dialect: str) -> exp.Expr:
    return normalize_identifiers(one.copy(), dialect=dialect or None)


def table_name(table: exp.Expr) -> str:
    return ".".join(part.name for part in table.parts) if isinstance(table, exp.Table) else table.name


class _Tracer:
    def __init__(self, dialect: str) -> None:
        self.dialect = dialect
        self.traced = Traced()
        self.types: dict[str, dict[str, str]] = {}

    # What is known of tables

    def known(self, name: str) -> str:
        """The table as it was named first: orders and public.orders are one, where only one of them can be meant."""
        if name in self.traced.tables:
            return name
        alike = [one for one in self.traced.tables if one.endswith(f".{name}") or name.endswith(f".{one}")]
        return alike[0] if len(alike) == 1 else name

    def define(self, create: exp.Create) -> None:
        """A CREATE TABLE with columns is known from now on."""
        listed = create.this
        like = create.find(exp.LikeProperty)
        if like is not None and isinstance(listed, exp.Table) and isinstance(like.this, exp.Table):
            columns = self.traced.tables.get(self.known(table_name(like.this)))
            if columns:
                self.traced.tables[self.known(table_name(listed))] = list(columns)
            return
        if not isinstance(listed, exp.Schema) or not isinstance(listed.this, exp.Table):
            return
        columns = [one.name for one in listed.expressions if isinstance(one, exp.ColumnDef)]
        if columns:
            self.traced.tables[self.known(table_name(listed.this))] = columns

    def flatten(self, one: exp.Expr) -> exp.Expr:
        """Tables by one name each, so that a schema of any depth fits: "sales.public.orders" AS orders."""
        for cte in list(one.find_all(exp.CTE)):
            # WITH gone AS (DELETE FROM t … RETURNING a) gives what SELECT a FROM t would.
            changed = cte.this
            returning = changed.args.get("returning")
            if isinstance(changed, exp.Delete | exp.Update | exp.Insert) and returning is not None:
                table = changed.this.this if isinstance(changed.this, exp.Schema) else changed.this
                cte.set("this", exp.Select(expressions=returning.expressions).from_(table.copy()))
        # A name of a CTE is no table, wherever in the statement it was given.
        given = {cte.alias for cte in one.find_all(exp.CTE)}
        for table in list(one.find_all(exp.Table)):
            if not isinstance(table.this, exp.Identifier) or (not table.args.get("db") and table.name in given):
                continue
            name, alias = self.known(table_name(table)), table.alias or table.name
            table.set("this", exp.to_identifier(name, quoted=True))
            table.set("db", None)
            table.set("catalog", None)
            if not isinstance(table.parent, exp.Into | exp.Insert | exp.Create | exp.Schema):
                alias_node = table.args.get("alias")
                if not alias_node or not alias_node.name:
                    table.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
        for column in one.find_all(exp.Column):
            column.set("db", None)
            column.set("catalog", None)
        return one

    # Statements

    def follow(self, number: int, original: exp.Expr) -> None:
        text = " ".join(original.sql(dialect=self.dialect or None, comments=False).split())[:300]
        said = Statement(number, original.key.upper(), "", text)
        self.traced.statements.append(said)
        one = _normal(original, self.dialect)
        if isinstance(one, exp.Create):
            self.create(said, one)
        elif isinstance(one, exp.Insert):
            self.insert(said, one)
        elif isinstance(one, exp.Update):
            self.update(said, one)
        elif isinstance(one, exp.Merge):
            self.merge(said, one)
        elif isinstance(one, exp.Delete):
            self.delete(said, one)
        elif isinstance(one, exp.Query):
            self.select(said, one)
        else:
            said.kind = one.name.upper()[:40] if isinstance(one, exp.Command) else said.kind
            said.notes.append("No columns come out of this statement.")

    def create(self, said: Statement, one: exp.Create) -> None:
        kind = str(one.args.get("kind") or "TABLE").upper()
        listed = one.this
        target = listed.this if isinstance(listed, exp.Schema) else listed
        said.target = self.known(table_name(target))
        query = one.expression
        if isinstance(query, exp.Subquery):
            query = query.unnest()
        if not isinstance(query, exp.Query):
            said.kind = f"CREATE {kind}"
            self.define(one)
            said.notes.append("Defines columns; none of them comes from another one.")
            return
        said.kind = f"CREATE {kind} AS"
        names = [column.name for column in listed.expressions] if isinstance(listed, exp.Schema) else []
        if with_ := one.args.get("with_") or one.args.get("with"):
            query.set("with_" if "with_" in exp.Select.arg_types else "with", with_)
        self.into(said, query, names, is_new=True)

    def insert(self, said: Statement, one: exp.Insert) -> None:
        listed = one.this
        target = listed.this if isinstance(listed, exp.Schema) else listed
        said.kind = "INSERT"
        said.target = self.known(table_name(target)) if isinstance(target, exp.Table) else "a folder"
        query = one.expression
        if isinstance(query, exp.Subquery):
            query = query.unnest()
        names = [column.name for column in listed.expressions] if isinstance(listed, exp.Schema) else []
        is_named = bool(names)
        names = names or self.traced.tables.get(said.target, [])
        offered = "excluded"
        if isinstance(query, exp.Values):
            offered = query.alias or offered
            is_bare = query.find(exp.Query) is None
            if is_bare and not one.args.get("conflict"):
                said.notes.append("Only written values; no column comes from another one.")
                return
            query = _rows(query, names)
        if not isinstance(query, exp.Query):
            said.notes.append("Only written values; no column comes from another one.")
            return
        for name in ("with_", "with"):
            if with_ := one.args.get(name):
                query.set(name, with_)
        if not is_named and not names:
            said.notes.append("The columns of the target are not known; they are called as the query calls them.")
        conflict = one.args.get("conflict")
        again = None
        if isinstance(conflict, exp.OnConflict) and isinstance(target, exp.Table):
            again = self.upsert(target, query, names, offered, _pairs(conflict.expressions))
            if again is not None and (where := conflict.args.get("where")):
                again = again.where(where.this.copy())
        self.into(said, query, names, is_new=False)
        if again is not None:
            self.into(said, again, [], is_new=False)

    def upsert(
        self, target: exp.Table, query: exp.Query, names: list[str], offered: str, changes: list[_Pair]
    ) -> exp.Select | None:
        """ON CONFLICT DO UPDATE SET a = t.a + excluded.b is an UPDATE of the target from the rows that are offered.

        MySQL writes VALUES(b) for excluded.b, and may name the query's own tables. None where nothing is changed.
        """
        if not changes:
            return None
        own = target.alias_or_name
        values: list[exp.Expr] = []
        for _, _, value in changes:
            written = value.copy()
            for column in list(written.find_all(exp.Column)):
                if not column.table:
                    column.set("table", exp.to_identifier(own))
            values.append(written.transform(lambda node: _offered(node, offered)))
        if isinstance(query, exp.Select) and any(
            column.table not in ("", own, offered) for value in values for column in value.find_all(exp.Column)
        ):
            _settle(query, self.traced.tables)
            again = query.copy()
            given = dict(zip(names, (each.unalias() for each in query.selects), strict=False))
            values = [value.transform(lambda node: _given(node, offered, given)) for value in values]
            again.set("expressions", [])
        else:
            inner = query.subquery(offered, copy=True)
            if names and len(names) == len(query.selects) and not any(each.is_star for each in query.selects):
                inner.args["alias"].set("columns", [exp.to_identifier(name, quoted=True) for name in names])
            again = exp.Select(expressions=[]).from_(inner)
        table = target.copy()
        again = again.join(table, join_type="cross")
        for (name, _, _), value in zip(changes, values, strict=True):
            again = again.select(exp.alias_(value, name, quoted=True))
        return again

    def select(self, said: Statement, one: exp.Query) -> None:
        into = one.args.get("into")
        if isinstance(into, exp.Into) and isinstance(into.this, exp.Table):
            said.kind, said.target = "SELECT INTO", self.known(table_name(into.this))
            one.set("into", None)
            self.into(said, one, [], is_new=True)
            return
        said.kind, said.target = "SELECT", f"result {said.number}"
        self.into(said, one, [], is_new=False)

    def update(self, said: Statement, one: exp.Update) -> None:
        """UPDATE t SET a = b FROM u is what SELECT b AS a FROM t, u would give.

        SQL Server and MySQL may name the target by its alias among what is joined, or by a CTE over it.
        """
        said.kind = "UPDATE"
        from_ = one.args.get("from_") or one.args.get("from")
        beside = [from_.this, *(each.this for each in from_.this.args.get("joins") or ())] if from_ else []
        is_joined = any(isinstance(each, exp.Table) and each.alias_or_name == one.this.name for each in beside)
        if from_ and is_joined and not one.this.args.get("db"):
            query = _from(from_.this)
        else:
            query = _from(one.this)
            if from_:
                query = query.join(_bare(from_.this), join_type="cross")
                for join in from_.this.args.get("joins") or ():
                    query.append("joins", join.copy())
        if where := one.args.get("where"):
            query = query.where(where.this.copy())
        for name in ("with_", "with"):
            if with_ := one.args.get(name):
                query.set(name, with_.copy())
        ctes = {cte.alias: cte.this.find(exp.Table) for cte in query.find_all(exp.CTE)}
        tables = {table.alias_or_name: table for table in query.find_all(exp.Table) if not table.find_ancestor(exp.CTE)}

        def target_of(alias: str) -> str:
            table = tables.get(alias, one.this)
            return self.known(table_name(ctes.get(table.name) or table))

        said.target = target_of(one.this.alias_or_name)
        by_target: dict[str, list[_Pair]] = defaultdict(list)
        for pair in _pairs(one.expressions):
            by_target[target_of(pair[1]) if pair[1] in tables else said.target].append(pair)
        for target, pairs in by_target.items():
            made = query.copy()
            for name, _, value in pairs:
                made = made.select(exp.alias_(value.copy(), name, quoted=True))
            self.into(said, made, [], is_new=False, target=target)

    def delete(self, said: Statement, one: exp.Delete) -> None:
        """No column comes out of it, but its conditions decide."""
        said.notes.append("No columns come out of this statement.")
        if not isinstance(one.this, exp.Table):
            return
        said.kind, said.target = "DELETE", self.known(table_name(one.this))
        query = _from(one.this).select(exp.Literal.number(1))
        for other in one.args.get("using") or ():
            query = query.join(other.copy(), join_type="cross")
        if where := one.args.get("where"):
            query = query.where(where.this.copy())
        for name in ("with_", "with"):
            if with_ := one.args.get(name):
                query.set(name, with_.copy())
        self.note_used(said, query)

    def merge(self, said: Statement, one: exp.Merge) -> None:
        """Each WHEN is a query over the target joined with what is merged into it."""
        said.kind, said.target = "MERGE", self.known(table_name(one.this))
        whens = one.args.get("whens")
        for when in whens.expressions if whens is not None else one.expressions:
            then = when.args.get("then")
            pairs: list[tuple[str, exp.Expr]] = []
            if isinstance(then, exp.Update) and any(isinstance(given, exp.Star) for given in then.expressions):
                pairs = self.whole(said.target, one.args["using"])
            elif isinstance(then, exp.Update):
                pairs = [(given.this.name, given.expression) for given in then.expressions if isinstance(given, exp.EQ)]
            elif isinstance(then, exp.Insert) and isinstance(then.this, exp.Star | exp.Var):
                pairs = self.whole(said.target, one.args["using"])
            elif isinstance(then, exp.Insert) and then.this is not None and then.expression is not None:
                pairs = list(zip([c.name for c in then.this.expressions], then.expression.expressions, strict=False))
            query = exp.Select(
                expressions=[
                    value if value.is_star else exp.alias_(value.copy(), name, quoted=True) for name, value in pairs
                ]
            )
            query = query.from_(one.this.copy())
            query = query.join(one.args["using"].copy(), on=one.args["on"].copy() if one.args.get("on") else None)
            if condition := when.args.get("condition"):
                query = query.where(condition.copy())
            if pairs:
                self.into(said, query, [], is_new=False)
            else:
                self.note_used(said, query.select(exp.Literal.number(1)))

    def whole(self, target: str, source: exp.Expr) -> list[tuple[str, exp.Expr]]:
        """UPDATE SET *, INSERT *, INSERT ROW: every column of the source, into the one that is called the same."""
        alias = source.alias_or_name
        given = []
        if isinstance(source, exp.Table):
            given = self.traced.tables.get(self.known(table_name(source)), [])
        elif isinstance(source, exp.Subquery) and not any(each.is_star for each in source.selects):
            given = [each.alias_or_name for each in source.selects]
        names = [name for name in given if name in self.traced.tables.get(target, given)]
        if not given:
            names = self.traced.tables.get(target, [])
        if not names:
            return [("*", exp.Column(this=exp.Star(), table=exp.to_identifier(alias, quoted=True)))]
        return [(name, exp.column(name, alias, quoted=True)) for name in names]

    # Queries

    def qualified(self, query: exp.Expr, schema: MappingSchema) -> exp.Expr:
        """The query with each column's table before it, and every star written out that can be."""
        return qualify(
            query,
            dialect=self.dialect or None,
            schema=schema,
            validate_qualify_columns=False,
            allow_partial_qualification=True,
            quote_identifiers=False,
            identify=False,
        )

    def scope_of(self, said: Statement, query: exp.Query) -> Scope | None:
        """The query's scopes, each column with its table; None, and a note, where they cannot be told."""
        flat = self.flatten(query)
        schema = MappingSchema(
            {table: dict.fromkeys(columns, "TEXT") for table, columns in self.traced.tables.items()},
            dialect=self.dialect or None,
            normalize=False,
        )
        _settle(flat, self.traced.tables)
        try:
            try:
                scope = build_scope(self.qualified(flat.copy(), schema))
            except SqlglotError:
                scope = build_scope(flat)
                said.notes.append("Columns without their table may be missing: not all of them could be told apart.")
        except (SqlglotError, RecursionError, KeyError, ValueError, AttributeError, AssertionError) as error:
            said.notes.append(f"Its columns cannot be followed: {str(error).split(chr(10))[0][:200] or 'too deep'}.")
            return None
        if scope is None:
            said.notes.append("Its columns cannot be followed.")
        return scope

    def note_used(self, said: Statement, query: exp.Query) -> None:
        scope = self.scope_of(said, query)
        if scope is not None:
            self.decided(said, _Walk(self.dialect, self.traced.tables), scope)

    @staticmethod
    def decided(said: Statement, walk: _Walk, scope: Scope) -> None:
        for source, where in walk.used(scope):
            if (source, where) not in said.used:
                said.used.append((source, where))

    def into(self, said: Statement, query: exp.Query, names: list[str], *, is_new: bool, target: str = "") -> None:
        """Edges from what the query reads to the columns of the statement's target, or of another one."""
        target = target or said.target
        scope = self.scope_of(said, query)
        if scope is None:
            return
        walk = _Walk(self.dialect, self.traced.tables)
        outputs = walk.outputs(scope)
        if names and len(names) != len(outputs) and "*" not in outputs:
            said.notes.append(f"The query gives {len(outputs)} columns for {len(names)} of the target.")
        columns = []
        for index, output in enumerate(outputs):
            column = names[index] if index < len(names) and "*" not in outputs[: index + 1] else output
            made = walk.made(scope, index)
            steps = list(dict.fromkeys(made.steps))[:STEPS_MAX]
            sources = sorted(made.sources)
            self.traced.edges.append(Edge(said.number, target, column, sources, made.expression, made.kind, steps))
            columns.append(column)
            if column == "*":
                from_ = ", ".join(sorted({table for table, _ in sources})) or "a table"
                said.notes.append(
                    f"The star stands for all columns of {from_}, which are not known. "
                    "Give its CREATE TABLE and they are told one by one."
                )
        if is_new and "*" not in columns:
            self.traced.tables[target] = columns
        self.decided(said, walk, scope)


@dataclass(slots=True)
class Made:
    """How one output column is made."""

    sources: set[Source] = field(default_factory=set)
    expression: str = ""
    kind: str = "constant"
    steps: list[str] = field(default_factory=list)


class _Walk:
    """Follows columns from scope to scope; each output once."""

    def __init__(self, dialect: str, tables: dict[str, list[str]]) -> None:
        self.dialect = dialect
        self.tables = tables
        self.done: dict[tuple[int, int], Made] = {}
        self.names: dict[int, str] = {}

    def sql(self, one: exp.Expr) -> str:
        """As people wrote it: without the quotes that our flat names need."""
        written = one.sql(dialect=self.dialect or None, comments=False)
        return " ".join(re.sub(r"""(["`])([A-Za-z_]\w*)\1""", r"\2", written).split())[:400]

    def outputs(self, scope: Scope) -> list[str]:
        """The names of what the scope gives; LATERAL (…) AS l(a, b) gives them names of its own."""
        renamed = _renamed(scope)
        inner = self.inner_outputs(_unwrapped(scope))
        return [*renamed, *inner[len(renamed) :]] if isinstance(_unwrapped(scope).expression, exp.Query) else inner

    def inner_outputs(self, scope: Scope) -> list[str]:
        one = scope.expression
        if isinstance(one, exp.SetOperation):
            return self.outputs(scope.set_operation_scopes[0])
        if isinstance(one, exp.Query):
            return [
                "*" if select.is_star else (select.alias_or_name or f"column_{number}")
                for number, select in enumerate(one.selects, start=1)
            ]
        alias = one.args.get("alias")
        return [column.name for column in alias.columns] if isinstance(alias, exp.TableAlias) else []

    def made(self, scope: Scope, index: int) -> Made:
        """What the output of that place is made of. A recursive CTE meets itself and adds nothing the second time."""
        scope = _unwrapped(scope)
        key = (id(scope), index)
        if key in self.done:
            return self.done[key]
        self.done[key] = found = Made()
        one = scope.expression
        if isinstance(one, exp.SetOperation):
            parts = [self.made(part, index) for part in scope.set_operation_scopes if index < len(self.outputs(part))]
            for part in parts:
                found.sources |= part.sources
                found.steps += part.steps[:STEPS_MAX]
            found.expression = f" {one.key.upper()} ".join(dict.fromkeys(part.expression for part in parts))[:400]
            found.kind = _strongest(part.kind for part in parts)
            return found
        if not isinstance(one, exp.Query) or index >= len(one.selects):
            self.beside(scope, found)
            return found
        select = one.selects[index]
        inner = select.unalias() if isinstance(select, exp.Alias) else select
        found.expression = self.sql(inner)
        if select.is_star:
            found.kind = "unknown"
            tables = [select.table] if isinstance(select, exp.Column) and select.table else list(scope.sources)
            for alias in tables:
                self.all_of(scope, alias, found)
            return found
        found.kind = self.kind_of(inner)
        self.collect(scope, inner, found)
        return found

    def all_of(self, scope: Scope, alias: str, found: Made) -> None:
        source = scope.sources.get(alias)
        if isinstance(source, exp.Table):
            found.sources.add((source.name, "*"))
        elif isinstance(source, Scope):
            for place in range(len(self.outputs(source))):
                found.sources |= self.made(source, place).sources

    def beside(self, scope: Scope, found: Made) -> None:
        """A table function, VALUES, UNNEST: whatever columns stand in it."""
        found.expression, found.kind = self.sql(scope.expression), "computed"
        self.collect(scope, scope.expression, found)

    def kind_of(self, one: exp.Expr) -> str:
        if isinstance(one, exp.Column):
            return "copied"
        if one.find(exp.Window):
            return "windowed"
        if one.find(exp.AggFunc):
            return "aggregated"
        return "computed" if one.find(exp.Column, exp.Query) else "constant"

    def collect(self, scope: Scope, one: exp.Expr, found: Made) -> None:
        """Adds the sources of every column in the expression, those of subqueries in it too."""
        inner = {id(sub.expression): sub for sub in scope.subquery_scopes}
        for node in one.walk(prune=lambda node: id(node) in inner):
            if id(node) in inner:
                self.subquery(inner[id(node)], found)
            elif isinstance(node, exp.Column):
                self.column(scope, node, found)
            elif isinstance(node, exp.Window) and node.args.get("alias") is not None:
                # OVER w: what the window called w goes by
                for window in scope.expression.args.get("windows") or ():
                    if window.name == node.alias:
                        self.collect(scope, window, found)

    def subquery(self, scope: Scope, found: Made) -> None:
        """What a subquery gives, and what it looks at to give it."""
        for place in range(len(self.outputs(scope))):
            made = self.made(scope, place)
            found.sources |= made.sources
            found.steps += [f"subquery: {made.expression}", *made.steps[:STEPS_MAX]]

    def column(self, scope: Scope, column: exp.Column, found: Made) -> None:
        alias, name = column.table, column.name
        for pivot in scope.expression.find_all(exp.Pivot):
            if alias and alias in (pivot.alias, pivot.parent.alias_or_name if pivot.parent else ""):
                self.pivoted(scope, pivot, name, found)
                return
        at: Scope | None = scope
        while at is not None and alias and alias not in at.sources:
            at = at.parent
        if at is None:
            if (table := _named(scope.expression, alias)) is not None:
                found.sources.add((table, name))
            return
        if not alias:
            tables = [one for one in scope.sources.values() if isinstance(one, exp.Table)]
            found.sources.add((tables[0].name if len(tables) == 1 else "?", name))
            return
        source = at.sources[alias]
        if isinstance(source, exp.Table):
            found.sources.add((source.name, name))
            return
        if not isinstance(source, Scope):
            return
        names = self.outputs(source)
        if name in names:
            place = names.index(name)
            made = self.made(source, place)
            found.steps += [f"{alias}.{name} = {made.expression}", *made.steps[:STEPS_MAX]]
            found.sources |= made.sources
            if made.kind != "copied" and found.kind == "copied":
                found.kind = made.kind
        elif "*" in names:
            made = self.made(source, names.index("*"))
            found.sources |= {(table, name if inner == "*" else inner) for table, inner in made.sources}
        elif not isinstance(source.expression, exp.Query):
            self.beside(source, found)

    def pivoted(self, scope: Scope, pivot: exp.Pivot, name: str, found: Made) -> None:
        """A column that goes through a pivot, or that it makes of those that stand in it."""
        under = scope.sources.get(pivot.parent.alias_or_name if pivot.parent else "")
        inside = {one.name for one in pivot.find_all(exp.Column)}
        names = self.outputs(under) if isinstance(under, Scope) else []
        if isinstance(under, exp.Table):
            names = self.tables.get(under.name, [])
        is_made = name in inside or (bool(names) and name not in names)
        for each in sorted(inside) if is_made else [name]:
            if isinstance(under, exp.Table):
                found.sources.add((under.name, each))
            elif isinstance(under, Scope) and each in names:
                made = self.made(under, names.index(each))
                found.sources |= made.sources
                found.steps += made.steps[:STEPS_MAX]
        if is_made:
            found.kind = "computed"

    # Which columns decide about rows

    def used(self, scope: Scope) -> Iterator[tuple[Source, str]]:
        for at in scope.traverse():
            one = at.expression
            if not isinstance(one, exp.Select):
                continue
            for where, parts in self.deciding(one).items():
                for part in parts:
                    found = Made()
                    self.collect(at, part, found)
                    for source in sorted(found.sources):
                        yield source, where

    @staticmethod
    def deciding(one: exp.Select) -> dict[str, list[exp.Expr]]:
        found: dict[str, list[exp.Expr]] = defaultdict(list)
        for join in one.args.get("joins") or ():
            if join.args.get("on") is not None:
                found["join"].append(join.args["on"])
        for name, where in (("where", "filter"), ("having", "filter"), ("qualify", "filter"), ("group", "group")):
            if one.args.get(name) is not None:
                found[where].append(one.args[name])
        if one.args.get("order") is not None and one.args.get("limit") is not None:
            found["order"].append(one.args["order"])
        return found


def _named(one: exp.Expr, alias: str) -> str | None:
    """The table of that alias in the query; nothing for the recursive CTE around it, "?" where nobody is called so.

    The scope that a recursive CTE has in its own second part knows no sources.
    """
    tables = {table.name for table in one.find_all(exp.Table) if table.alias_or_name == alias}
    around = one.find_ancestor(exp.CTE)
    while around is not None:
        if around.alias in tables:
            return None
        around = around.find_ancestor(exp.CTE)
    return min(tables, default="?")


def _unwrapped(scope: Scope) -> Scope:
    """The scope of the query itself, where there are brackets around it, or LATERAL before it."""
    while scope.subquery_scopes and (
        isinstance(scope.expression, exp.Subquery)
        or (isinstance(scope.expression, exp.Lateral) and isinstance(scope.expression.this, exp.Subquery))
    ):
        scope = scope.subquery_scopes[0]
    return scope


def _renamed(scope: Scope) -> list[str]:
    alias = scope.expression.args.get("alias") if isinstance(scope.expression, exp.Lateral) else None
    return [column.name for column in alias.columns] if isinstance(alias, exp.TableAlias) else []


# Statements as the queries that would give the same


def _bare(table: exp.Expr) -> exp.Expr:
    """A table without what is joined to it."""
    copied = table.copy()
    if isinstance(copied, exp.Table):
        copied.set("joins", None)
    return copied


def _from(table: exp.Expr) -> exp.Select:
    """A query from a table and what is joined to it."""
    query = exp.Select(expressions=[]).from_(_bare(table))
    for join in table.args.get("joins") or ():
        query.append("joins", join.copy())
    return query


def _pairs(changes: Iterable[exp.Expr]) -> list[_Pair]:
    """What SET sets: a = b, and (a, b) = (SELECT c, d …)."""
    found: list[_Pair] = []
    for each in changes:
        if not isinstance(each, exp.EQ):
            continue
        if isinstance(each.this, exp.Column):
            found.append((each.this.name, each.this.table, each.expression))
        elif isinstance(each.this, exp.Tuple):
            value = each.expression
            for place, column in enumerate(each.this.expressions):
                part = value
                if isinstance(value, exp.Subquery) and place < len(value.selects):
                    part = value.copy()
                    part.unnest().set("expressions", [value.selects[place].copy()])
                elif isinstance(value, exp.Tuple) and place < len(value.expressions):
                    part = value.expressions[place]
                found.append((column.name, "", part))
    return found


def _rows(values: exp.Values, names: list[str]) -> exp.Query:
    """VALUES as queries: the first row, and those that look something up."""
    rows = [row.expressions if isinstance(row, exp.Tuple) else [row] for row in values.expressions]
    kept = [rows[0], *[row for row in rows[1:] if any(value.find(exp.Query) for value in row)]]
    made: exp.Query | None = None
    for row in kept[:50]:
        named = [
            exp.alias_(value.copy(), names[place] if place < len(names) else f"column_{place + 1}", quoted=True)
            for place, value in enumerate(row)
        ]
        one = exp.Select(expressions=named)
        made = one if made is None else exp.union(made, one, distinct=False)
    assert made is not None
    return made


def _offered(node: exp.Expr, offered: str) -> exp.Expr:
    """MySQL's VALUES(b), in what is set on a duplicate key, as excluded.b."""
    if isinstance(node, exp.Anonymous) and node.name.upper() == "VALUES" and len(node.expressions) == 1:
        return exp.column(node.expressions[0].name, offered)
    return node


def _given(node: exp.Expr, offered: str, values: dict[str, exp.Expr]) -> exp.Expr:
    """A column of the offered row as what the query gives for it."""
    is_one = isinstance(node, exp.Column) and node.table == offered and node.name in values
    return values[node.name].copy() if is_one else node


def _settle(query: exp.Expr, known: dict[str, list[str]]) -> None:
    """In a query over one table, a column without a table is taken for that one's, where nothing says else: the nearest
    table is the first that SQL looks at.
    """
    given = {cte.alias for cte in query.find_all(exp.CTE)}
    for inner in query.find_all(exp.Select):
        if inner.args.get("joins") or inner.args.get("laterals"):
            continue
        from_ = inner.args.get("from_") or inner.args.get("from")
        table = from_.this if from_ else None
        if not isinstance(table, exp.Table) or not isinstance(table.this, exp.Identifier):
            continue
        if table.name in given or table.args.get("joins") or table.args.get("pivots"):
            continue
        columns, aliases = known.get(table.name), {each.alias for each in inner.selects if each.alias}
        for column in inner.find_all(exp.Column):
            is_ours = column.find_ancestor(exp.Select) is inner and not column.table and column.name not in aliases
            if is_ours and not column.is_star and (columns is None or column.name in columns):
                column.set("table", exp.to_identifier(table.alias_or_name, quoted=True))


def _strongest(kinds: Iterable[str]) -> str:
    order = ["constant", "copied", "computed", "aggregated", "windowed", "unknown"]
    return max(kinds, key=order.index, default="constant")
