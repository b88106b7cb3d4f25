"""API design: an OpenAPI 3.1 document from resources, or what is wrong with one, what it says, and what it breaks.

The parts: `openapi_design` makes it, `openapi_text` reads one safely with its lines, `openapi_checks` finds what is
wrong, `openapi_changes` compares two versions, `openapi_pages` tells it to people.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from tools_registry import studio
from tools_registry.fields import Choice, Choices, Document, Flag, Rows, Text
from tools_registry.studio import BadInput, File, Limits, Result, Tool
from tools_registry.studios.sheets import csv_file, markdown_table

from . import openapi_changes, openapi_checks, openapi_design, openapi_pages, openapi_text
from .openapi_checks import Found
from .openapi_design import AUTH, ERRORS, OPERATIONS, PAGINATION, Unclear
from .openapi_text import Unreadable, Written

SPEC_BYTES_MAX = 1024 * 1024
SHOWN_MAX = 100
CODE_LETTERS = 20_000


def run(inputs: dict[str, Any], files: dict[str, bytes]) -> Result:
    """{task, openapi, title, version, counts, operations, findings, changes, breaking}.

    A finding: {check, severity, title, text, fix, pointer, line}; a change: {kind, is_breaking, title, text, pointer,
    line, file: "newer" | "older"}; both lists are empty where nothing was found or nothing was compared.
    """
    if inputs["task"] == "design":
        document = _designed(inputs)
        written = openapi_text.read(_yaml(document).encode())
    else:
        if "spec" not in files:
            raise BadInput({"spec": "Paste the API's OpenAPI file, or send it, to have it checked."})
        written = _read("spec", files["spec"])
    found = openapi_checks.check(written)
    older = _read("older", files["older"]) if "older" in files else None
    changes = openapi_changes.compare(older, written) if older else []
    return _answer(inputs["task"], written, found, changes, is_compared=older is not None)


def _read(field: str, content: bytes) -> Written:
    try:
        written = openapi_text.read(content)
        openapi_checks.version_of(written)
        openapi_checks.refuse_foreign(written)
    except Unreadable as error:
        raise BadInput({field: str(error)}) from error
    return written


def _designed(inputs: Mapping[str, Any]) -> dict[str, Any]:
    rows = inputs["resources"]
    if not rows:
        raise BadInput({"resources": "Describe at least one resource."})
    wrong: dict[str, str] = {}
    names: dict[str, int] = {}
    for number, row in enumerate(rows):
        if not re.fullmatch(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*", row["name"]):
            wrong[f"resources.{number}.name"] = "Small letters, digits and dashes, in the plural: order-lines."
        elif openapi_design.pascal(row["name"]) in (*names, "Error"):
            wrong[f"resources.{number}.name"] = "Another resource has this name, or one too like it."
        names.setdefault(openapi_design.pascal(row["name"]), number)
        if not row["operations"]:
            wrong[f"resources.{number}.operations"] = "Choose at least one."
    if inputs["server"] and not re.match(r"https?://[^\s/]+|/", inputs["server"]):
        wrong["server"] = "Begin with https:// or a slash."
    resources = []
    for number, row in enumerate(rows):
        try:
            fields = openapi_design.fields_of(row["fields"], list(names))
        except Unclear as error:
            wrong |= {f"resources.{number}.{name}": said for name, said in error.named.items()}
            continue
        if not any(of["name"] == "id" for of in fields):
            own = {"name": "id", "kind": "uuid", "values": [], "is_list": False}
            fields.insert(0, own | {"is_required": True, "is_read_only": True, "description": ""})
        resources.append((row, fields))
    if wrong:
        raise BadInput(wrong)
    return openapi_design.design(inputs, resources)


class _Plain(yaml.SafeDumper):
    """YAML as people write it: no aliases, lists indented."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _yaml(document: Mapping[str, Any]) -> str:
    return yaml.dump(dict(document), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=100)


def _answer(
    task: str, written: Written, found: Sequence[Found], changes: Sequence[openapi_changes.Change], *, is_compared: bool
) -> Result:
    value = written.value
    api = openapi_pages.described(value)
    severities = Counter(one.severity for one in found)
    breaking = sum(one.is_breaking for one in changes)
    rows = [
        {
            "method": one["method"],
            "path": one["path"],
            "operation_id": one["id"],
            "summary": one["summary"][:300],
            "security": one["security"],
        }
        for one in api["operations"]
    ]
    result = {
        "task": task,
        "openapi": value["openapi"],
        "title": api["title"],
        "version": api["version"],
        "counts": {
            "paths": len(value["paths"]) if isinstance(value.get("paths"), dict) else 0,
            "operations": sum(1 for _ in openapi_checks.operations(value)),
            "schemas": len(api["schemas"]),
            "errors": severities["high"],
            "warnings": severities["medium"] + severities["low"],
            "notes": severities["info"],
        },
        "operations": rows,
        "findings": [one.told() for one in found],
        "is_compared": is_compared,
        "breaking": breaking,
        "changes": [one.told() for one in changes],
    }
    made = [
        File("api.md", "text/markdown", openapi_pages.markdown(api).encode("utf-8", "replace")),
        File("api.html", "text/html", openapi_pages.html(api).encode("utf-8", "replace")),
        File("openapi.json", "application/json", openapi_pages.as_json(value).encode("utf-8", "replace")),
    ]
    source = ""
    if task == "design":
        source = _yaml(value)
        made.append(File("openapi.yaml", "application/yaml", source.encode("utf-8", "replace")))
    if found:
        columns = ("Severity", "Line", "Place", "What", "Told", "What to do")
        told = (
            (one["severity"], one["line"], one["pointer"], one["title"], one["text"], one["fix"])
            for one in result["findings"]
        )
        made.append(csv_file("findings.csv", columns, told))
    if is_compared:
        made.append(File("changes.md", "text/markdown", _changes(result).encode("utf-8", "replace")))
    return Result(result, _view(result, source), made)


def _changes(result: Mapping[str, Any]) -> str:
    parts = [f"# Changes\n\n{result['breaking']} break callers; {len(result['changes'])} in all."]
    for title, is_breaking in (("These break callers", True), ("These do not", False)):
        rows = [
            (one["title"], one["text"], f"{one['file']} file, line {one['line']}", one["pointer"])
            for one in result["changes"]
            if one["is_breaking"] is is_breaking
        ]
        parts += [f"## {title}", markdown_table(("What", "Where", "Line", "Place"), rows) if rows else "None."]
    return "\n\n".join(parts) + "\n"


def _view(result: Mapping[str, Any], source: str) -> list[studio.Block]:
    counts = result["counts"]
    pairs: list[tuple[str, Any]] = [
        ("API", f"{result['title']} {result['version']}"[:120]),
        ("OpenAPI", result["openapi"]),
        ("Paths", counts["paths"]),
        ("Operations", counts["operations"]),
        ("Schemas", counts["schemas"]),
        ("Errors", counts["errors"]),
        ("Warnings", counts["warnings"]),
    ]
    if result["is_compared"]:
        pairs += [("Changes", len(result["changes"])), ("Of these break callers", result["breaking"])]
    view: list[studio.Block] = [studio.facts("At a glance", pairs)]
    if result["is_compared"]:
        view.append(
            studio.findings(
                "What breaks callers",
                [
                    {
                        "severity": "high",
                        "title": one["title"],
                        "where": f"line {one['line']} of the {one['file']} file",
                        "text": f"{one['text']} ({one['pointer'] or '/'})",
                        "fix": "Keep the old way beside the new one, or give the API a new major version.",
                    }
                    for one in result["changes"]
                    if one["is_breaking"]
                ][:SHOWN_MAX],
                none="Nothing breaks those who call the older version.",
            )
        )
        rows = [
            (one["title"], one["text"], one["line"], one["pointer"])
            for one in result["changes"]
            if not one["is_breaking"]
        ]
        view.append(studio.table("Other changes", ("What", "Where", "Line", "Place"), rows[:SHOWN_MAX]))
    view.append(
        studio.findings(
            "What is wrong",
            [
                {
                    "severity": one["severity"],
                    "title": one["title"],
                    "where": f"line {one['line']}" if result["task"] == "check" else one["pointer"],
                    "text": f"{one['text']} ({one['pointer'] or '/'})" if result["task"] == "check" else one["text"],
                    "fix": one["fix"],
                }
                for one in result["findings"]
            ][:SHOWN_MAX],
            none="Nothing: it keeps to the specification, and to good custom.",
        )
    )
    view.append(
        studio.table(
            "Operations",
            ("Method", "Path", "operationId", "Summary", "Security"),
            [
                (one["method"], one["path"], one["operation_id"] or None, one["summary"][:120], one["security"])
                for one in result["operations"]
            ],
        )
    )
    if source:
        short = source if len(source) <= CODE_LETTERS else source[:CODE_LETTERS] + "…\n"
        view.append(studio.code("openapi.yaml", short, language="yaml", file="openapi.yaml"))
    return view


EXAMPLE_FIELDS = """customer_id: uuid required
state: enum(open, paid, sent) required  # Where the order stands
total: number required read-only  # In pounds
note: text
placed_at: datetime read-only"""
EXAMPLE_OLDER = """openapi: 3.1.0
info:
  title: Shop
  version: 0.9.0
paths:
  /orders:
    get:
      operationId: listOrders
      responses:
        "200":
          description: The orders
  /baskets:
    get:
      operationId: listBaskets
      responses:
        "200":
          description: The baskets
"""

TOOL = Tool(
    slug="dev-studio/api-designer",
    title="API designer",
    noun="API",
    summary="Designs an API, checks an OpenAPI file, documents it, and finds changes that break callers.",
    mode="hybrid",
    risk="low",
    credits_max=5,
    # The documentation is made twice, beside the document itself.
    limits=Limits(cpu_seconds=5, seconds=10, output_bytes=8 * 1024 * 1024),
    icon="flow",
    fields=(
        Choice(
            name="task",
            title="What to do",
            choices={"design": "Design an API from resources", "check": "Check an OpenAPI file"},
            default="design",
        ),
        Text(name="title", title="Name of the API", length_max=120, is_short=True, default="My API"),
        Text(name="version", title="Version", length_max=40, is_short=True, default="1.0.0"),
        Text(name="description", title="What it is for", length_max=2_000, default=""),
        Text(
            name="server", title="Address", help="https://api.example.com/v1", length_max=300, is_short=True, default=""
        ),
        Choice(name="auth", title="Proof of who asks", choices=AUTH, default="bearer"),
        Choice(name="errors", title="How errors are told", choices=ERRORS, default="problem"),
        Rows(
            name="resources",
            title="Resources",
            noun="resource",
            count_max=40,
            fields=(
                Text(
                    name="name",
                    title="Name",
                    help="In the plural, small letters: orders, order-lines.",
                    length_max=60,
                    is_short=True,
                    is_required=True,
                ),
                Text(name="description", title="Meaning", length_max=500, is_short=True, default=""),
                Text(
                    name="fields",
                    title="Fields",
                    help="One a line: name: type, then required or read-only, then # what it means. Types: string, "
                    "text, integer, number, boolean, date, datetime, uuid, email, url, enum(a, b), or a resource such "
                    "as Order; with [] a list.",
                    length_max=8_000,
                    is_code=True,
                    default="",
                ),
                Choices(
                    name="operations",
                    title="Operations",
                    choices=OPERATIONS,
                    default=("list", "create", "read", "update", "delete"),
                ),
                Choice(name="pagination", title="Pages of a list", choices=PAGINATION, default="cursor"),
                Flag(name="is_public", title="Open to everybody", default=False),
            ),
        ),
        Document(
            name="spec",
            title="OpenAPI file to check",
            help="3.0 or 3.1, YAML or JSON, up to 1 MiB. Nothing that it refers to is fetched.",
            file_name="openapi.yaml",
            accepts=(".yaml", ".yml", ".json"),
            bytes_max=SPEC_BYTES_MAX,
        ),
        Document(
            name="older",
            title="Older version to compare with",
            help="Shows what changed since, and what breaks callers.",
            file_name="older.yaml",
            accepts=(".yaml", ".yml", ".json"),
            bytes_max=SPEC_BYTES_MAX,
        ),
    ),
    function=run,
    example={
        "task": "design",
        "title": "Shop",
        "version": "1.0.0",
        "description": "Orders of a shop.",
        "server": "https://api.shop.example/v1",
        "auth": "bearer",
        "errors": "problem",
        "resources": [
            {
                "name": "orders",
                "description": "What a customer bought",
                "fields": EXAMPLE_FIELDS,
                "operations": ["list", "create", "read", "update"],
                "pagination": "cursor",
                "is_public": False,
            },
            {
                "name": "products",
                "description": "What is for sale",
                "fields": "id: integer required read-only\nname: string required\nprice: number required",
                "operations": ["list", "read"],
                "pagination": "page",
                "is_public": True,
            },
        ],
        "older": EXAMPLE_OLDER,
    },
)
