"""An API described for people: Markdown, and a page of HTML that needs nothing beside it. Everything is escaped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from tools_registry.studios.sheets import markdown_cell, markdown_table

from .openapi_checks import operations, parameters
from .openapi_text import mapping, resolve

OPERATIONS_MAX = 500
SCHEMAS_MAX = 300
STYLE = """:root{color-scheme:light dark;--ink:#14232b;--soft:#5c6a72;--paper:#fffdf8;--line:#e2ddd0;--sea:#0c6a66}
@media(prefers-color-scheme:dark){:root{--ink:#edf2f0;--soft:#8f9fa5;--paper:#132128;--line:#22353e;--sea:#76d6cd}}
body{margin:0 auto;padding:32px 20px;max-width:60rem;background:var(--paper);color:var(--ink)}
body{font:16px/1.5 system-ui,sans-serif}
code{font:14px/1.5 ui-monospace,monospace}
section{border-top:1px solid var(--line);padding-top:8px;margin-top:24px}
h3 b,a{color:var(--sea)}
.across{overflow-x:auto}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:6px 12px 6px 0;border-bottom:1px solid var(--line);vertical-align:top}
.soft,small{color:var(--soft)}
h1,h3,td,p,li{overflow-wrap:anywhere}"""


def typed(schema: Any) -> str:
    """A schema in a few words: "string (uuid)", "list of Order", "open | paid"."""
    if not isinstance(schema, dict):
        return "anything"
    if isinstance(schema.get("$ref"), str):
        return str(schema["$ref"].rpartition("/")[2])[:80]
    if isinstance(schema.get("enum"), list):
        return " | ".join(str(one)[:40] for one in schema["enum"][:12])
    for word, said in (("oneOf", " or "), ("anyOf", " or "), ("allOf", " and ")):
        if isinstance(schema.get(word), list):
            return said.join(typed_plain(one) for one in schema[word][:6])
    kind = schema.get("type")
    if kind == "array":
        return f"list of {typed_plain(schema.get('items'))}"
    said_type = " or ".join(map(str, kind)) if isinstance(kind, list) else str(kind or "anything")
    return f"{said_type} ({schema['format']})" if isinstance(schema.get("format"), str) else said_type


def typed_plain(schema: Any) -> str:
    """As `typed`, without looking further inside."""
    if isinstance(schema, dict) and isinstance(schema.get("$ref"), str):
        return str(schema["$ref"].rpartition("/")[2])[:80]
    return str(schema.get("type") or "anything")[:80] if isinstance(schema, dict) else "anything"


def described(value: Mapping[str, Any]) -> dict[str, Any]:
    """The API as plain rows: {title, version, description, servers, security, operations, schemas}."""
    info = mapping(value.get("info"))
    components = mapping(value.get("components"))
    rows = []
    for path, method, operation, item in list(operations(value))[:OPERATIONS_MAX]:
        taken = [
            (
                str(one.get("name")),
                str(one.get("in")),
                typed(one.get("schema")),
                "yes" if one.get("required") is True else "",
                _text(one.get("description")),
            )
            for one, _ in parameters(value, path, method, item, operation)
        ]
        body, _ = resolve(value, operation.get("requestBody"), ())
        answers = operation.get("responses")
        told = []
        for code, answer in answers.items() if isinstance(answers, dict) else ():
            one, _ = resolve(value, answer, ())
            if isinstance(one, dict):
                told.append((str(code), _text(one.get("description")), ", ".join(_contents(one))))
        asked = operation.get("security", value.get("security"))
        rows.append(
            {
                "method": method.upper(),
                "path": path,
                "id": str(operation.get("operationId") or ""),
                "summary": _text(operation.get("summary")),
                "description": _text(operation.get("description")),
                "is_deprecated": operation.get("deprecated") is True,
                "security": _security(asked),
                "parameters": taken,
                "body": ", ".join(_contents(body)) if isinstance(body, dict) else "",
                "answers": told,
            }
        )
    schemas = components.get("schemas")
    return {
        "title": _text(info.get("title")) or "API",
        "version": _text(info.get("version")),
        "description": _text(info.get("description")),
        "servers": [str(one.get("url"))[:200] for one in _list(value.get("servers")) if isinstance(one, dict)],
        "operations": rows,
        "schemas": [
            {
                "name": name,
                "description": _text(one.get("description")),
                "type": typed(one),
                "properties": _properties(one),
            }
            for name, one in list(schemas.items() if isinstance(schemas, dict) else ())[:SCHEMAS_MAX]
            if isinstance(one, dict)
        ],
    }


def _properties(schema: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    properties = schema.get("properties")
    needed = _list(schema.get("required"))
    return [
        (
            name,
            typed(one),
            "yes" if name in needed else "",
            _text(one.get("description")) if isinstance(one, dict) else "",
        )
        for name, one in (properties.items() if isinstance(properties, dict) else ())
    ]


def _contents(holder: Mapping[str, Any]) -> list[str]:
    content = holder.get("content")
    return [
        f"{typed(one.get('schema'))} as {kind}"[:200]
        for kind, one in (content.items() if isinstance(content, dict) else ())
        if isinstance(one, dict)
    ]


def _security(rows: Any) -> str:
    ways = [" and ".join(map(str, row)) for row in _list(rows) if isinstance(row, dict)]
    return " or ".join(one or "none" for one in ways) or "none"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value[:4000] if isinstance(value, str) else ""


PARAMETERS = ("Name", "In", "Type", "Needed", "Meaning")
ANSWERS = ("Status", "Meaning", "Content")
PROPERTIES = ("Property", "Type", "Needed", "Meaning")


def markdown(api: Mapping[str, Any]) -> str:
    """The API as Markdown."""
    parts = [f"# {markdown_cell(api['title'])} {markdown_cell(api['version'])}"]
    if api["description"]:
        parts.append(markdown_cell(api["description"]))
    if api["servers"]:
        parts.append("Servers: " + ", ".join(markdown_cell(one) for one in api["servers"]))
    parts.append("## Operations")
    for one in api["operations"]:
        mark = " (to go)" if one["is_deprecated"] else ""
        parts.append(f"### {one['method']} {markdown_cell(one['path'])}{mark}")
        said = " ".join(filter(None, (one["summary"], one["description"])))
        if said:
            parts.append(markdown_cell(said))
        named = f"operationId: {markdown_cell(one['id'])}. " if one["id"] else ""
        parts.append(f"{named}Security: {markdown_cell(one['security'])}.")
        if one["parameters"]:
            parts.append(markdown_table(PARAMETERS, one["parameters"]))
        if one["body"]:
            parts.append(f"Body: {markdown_cell(one['body'])}")
        if one["answers"]:
            parts.append(markdown_table(ANSWERS, one["answers"]))
    parts.append("## Schemas")
    for one in api["schemas"]:
        parts.append(f"### {markdown_cell(one['name'])}")
        parts.append(markdown_cell(one["description"] or one["type"]))
        if one["properties"]:
            parts.append(markdown_table(PROPERTIES, one["properties"]))
    return "\n\n".join(parts) + "\n"


def html(api: Mapping[str, Any]) -> str:
    """The API as one page without scripts, pictures or anything from elsewhere."""

    def grid(heading: tuple[str, ...], rows: Any) -> str:
        if not rows:
            return ""
        head = "".join(f"<th>{escape(one)}</th>" for one in heading)
        body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
        return f'<div class="across"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'

    def paragraph(said: str, kind: str = "") -> str:
        return f"<p{f' class={kind}' if kind else ''}>{escape(said)}</p>" if said else ""

    parts = [
        f"<h1>{escape(api['title'])} <small>{escape(api['version'])}</small></h1>",
        paragraph(api["description"]),
        paragraph(", ".join(api["servers"]), "soft"),
        "<h2>Operations</h2>",
        f"<ul>{''.join(_entry(number, one) for number, one in enumerate(api['operations'], 1))}</ul>",
    ]
    for number, one in enumerate(api["operations"], 1):
        mark = " (to go)" if one["is_deprecated"] else ""
        parts += [
            f'<section id="o{number}"><h3><b>{escape(one["method"])}</b> <code>{escape(one["path"])}</code>{mark}</h3>',
            paragraph(one["summary"]),
            paragraph(one["description"]),
            paragraph(f"{one['id']} · security: {one['security']}".removeprefix(" · "), "soft"),
            grid(PARAMETERS, one["parameters"]),
            paragraph(f"Body: {one['body']}" if one["body"] else ""),
            grid(ANSWERS, one["answers"]),
            "</section>",
        ]
    parts.append("<h2>Schemas</h2>")
    for one in api["schemas"]:
        parts += [
            f"<section><h3>{escape(one['name'])}</h3>",
            paragraph(one["description"] or one["type"]),
            grid(PROPERTIES, one["properties"]),
            "</section>",
        ]
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    title = escape(api["title"])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width"><title>{title}</title><style>{STYLE}</style></head>'
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _entry(number: int, one: Mapping[str, Any]) -> str:
    name = f"<code>{escape(one['method'])} {escape(one['path'])}</code>"
    return f'<li><a href="#o{number}">{name}</a> {escape(one["summary"])}</li>'


def as_json(value: Any) -> str:
    """The document as JSON, as people indent it."""
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"
