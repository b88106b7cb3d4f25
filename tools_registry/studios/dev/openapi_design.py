"""An OpenAPI 3.1 document from resources: the browser's half (api_designer.js) makes the same, and a test says so."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

KINDS: dict[str, dict[str, Any]] = {
    "string": {"type": "string", "maxLength": 255},
    "text": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
    "uuid": {"type": "string", "format": "uuid"},
    "email": {"type": "string", "format": "email"},
    "url": {"type": "string", "format": "uri"},
}
EXAMPLES: dict[str, Any] = {
    "string": "text",
    "text": "text",
    "integer": 1,
    "number": 1.5,
    "boolean": True,
    "date": "2026-03-02",
    "datetime": "2026-03-02T09:00:00Z",
    "uuid": "0b2f5c1e-7a53-4a8e-9d5b-0a6f3f1c2d3e",
    "email": "ada@example.com",
    "url": "https://example.com",
}
FIELD = re.compile(
    r"([A-Za-z_][A-Za-z0-9_]{0,59})\s*:\s*([A-Za-z]\w{0,59}|enum\(([^()]{1,400})\))(\[\])?((?:\s+(?:required|read-only))*)"
    r"(?:\s*#\s*(.{0,300}))?"
)
OPERATIONS = {
    "list": "List",
    "create": "Create",
    "read": "Read one",
    "replace": "Replace one",
    "update": "Change one",
    "delete": "Delete one",
}
AUTH = {"bearer": "Bearer token", "api_key": "Key in a header", "oauth2": "OAuth 2, client credentials", "none": "None"}
PAGINATION = {"cursor": "By cursor", "page": "By page number", "none": "None"}
ERRORS = {"problem": "Problem details (RFC 9457)", "simple": "A code and a message"}
STATUS = {
    "400": "The request cannot be understood",
    "401": "It is not known who asks",
    "403": "Whoever asks may not do this",
    "404": "There is no such thing",
    "422": "Some fields need another value",
}


class Unclear(ValueError):
    """Sentences by the name of the part of a resource, for example {"fields": "Line 2: …"}."""

    def __init__(self, named: Mapping[str, str]) -> None:
        self.named = dict(named)
        super().__init__("; ".join(named.values()))


def pascal(name: str) -> str:
    """order-lines → OrderLine, the singular as far as English is regular."""
    words = re.split(r"[-_]", name)
    last = words[-1]
    if last.endswith("ies") and len(last) > 4:
        last = f"{last[:-3]}y"
    elif last.endswith(("sses", "xes", "ches", "shes")):
        last = last[:-2]
    elif last.endswith("s") and not last.endswith(("ss", "us", "is")):
        last = last[:-1]
    return "".join(word[:1].upper() + word[1:] for word in [*words[:-1], last])


def plural(name: str) -> str:
    """order-lines → OrderLines."""
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[-_]", name))


def fields_of(text: str, known: Sequence[str]) -> list[dict[str, Any]]:
    """[{name, kind, values, is_list, is_required, is_read_only, description}]; raises Unclear with the line."""
    found: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if not line:
            continue
        match = FIELD.fullmatch(line)
        if not match:
            raise Unclear({"fields": f"Line {number}: write “name: type”, then required or read-only: {line[:60]}"})
        name, kind, values, is_list, marks, description = match.groups()
        if any(one["name"] == name for one in found):
            raise Unclear({"fields": f"Line {number}: {name} is there already."})
        choices = list(dict.fromkeys(one.strip() for one in (values or "").split(",") if one.strip()))
        if values is not None and not choices:
            raise Unclear({"fields": f"Line {number}: name at least one value."})
        if values is None and kind not in KINDS and kind not in known:
            types = ", ".join(KINDS)
            raise Unclear(
                {"fields": f"Line {number}: {kind} is no type. Use {types}, enum(a, b) or a resource: Order."}
            )
        found.append(
            {
                "name": name,
                "kind": "enum" if values is not None else kind,
                "values": choices,
                "is_list": is_list is not None,
                "is_required": "required" in marks,
                "is_read_only": "read-only" in marks,
                "description": (description or "").strip(),
            }
        )
    return found


def _property(of: Mapping[str, Any]) -> dict[str, Any]:
    if of["kind"] == "enum":
        made: dict[str, Any] = {"type": "string", "enum": of["values"]}
    elif of["kind"] in KINDS:
        made = dict(KINDS[of["kind"]])
    else:
        made = {"$ref": f"#/components/schemas/{of['kind']}"}
    if of["is_list"]:
        made = {"type": "array", "items": made}
    if of["is_read_only"]:
        made["readOnly"] = True
    if of["description"]:
        made["description"] = of["description"]
    return made


def _example(fields: Sequence[Mapping[str, Any]], *, with_read_only: bool) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for of in fields:
        if (of["is_read_only"] and not with_read_only) or (of["kind"] not in KINDS and of["kind"] != "enum"):
            continue
        one = of["values"][0] if of["kind"] == "enum" else EXAMPLES[of["kind"]]
        made[of["name"]] = [one] if of["is_list"] else one
    return made


def design(
    inputs: Mapping[str, Any], resources: Sequence[tuple[Mapping[str, Any], list[dict[str, Any]]]]
) -> dict[str, Any]:
    """The document. `resources`: each row with its fields, which have an id."""
    info: dict[str, Any] = {"title": inputs["title"], "version": inputs["version"]}
    if inputs["description"]:
        info["description"] = inputs["description"]
    document: dict[str, Any] = {"openapi": "3.1.0", "info": info}
    if inputs["server"]:
        document["servers"] = [{"url": inputs["server"]}]
    document["tags"] = [
        {"name": row["name"]} | ({"description": row["description"]} if row["description"] else {})
        for row, _ in resources
    ]
    if inputs["auth"] != "none":
        document["security"] = [{inputs["auth"]: ["read", "write"] if inputs["auth"] == "oauth2" else []}]
    document["paths"] = {}
    schemas: dict[str, Any] = {}
    used = set()
    for row, fields in resources:
        paths, statuses = _paths(inputs, row, fields)
        document["paths"] |= paths
        used |= statuses
        schemas[pascal(row["name"])] = _schema(fields, row["description"])
        if row["pagination"] != "none" and "list" in row["operations"]:
            schemas[f"{pascal(row['name'])}Page"] = _page(row)
    schemas["Error"] = _error(inputs["errors"])
    kind = "application/problem+json" if inputs["errors"] == "problem" else "application/json"
    components: dict[str, Any] = {
        "schemas": schemas,
        "responses": {
            f"Error{code}": {
                "description": STATUS[code],
                "content": {kind: {"schema": {"$ref": "#/components/schemas/Error"}}},
            }
            for code in sorted(used)
        },
    }
    if inputs["auth"] != "none":
        components["securitySchemes"] = {inputs["auth"]: _scheme(inputs["auth"])}
    document["components"] = components
    return document


def _schema(fields: Sequence[Mapping[str, Any]], description: str) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "object"}
    if description:
        made["description"] = description
    made["properties"] = {of["name"]: _property(of) for of in fields}
    required = [of["name"] for of in fields if of["is_required"] or of["name"] == "id"]
    if required:
        made["required"] = required
    return made


def _changes(fields: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a merge patch (RFC 7396) may send: any of what can be written; null takes away what need not be there."""
    properties: dict[str, Any] = {}
    for of in fields:
        if of["is_read_only"] or of["name"] == "id":
            continue
        made = _property(of)
        if not of["is_required"]:
            if "$ref" in made:
                made = {"anyOf": [{"$ref": made.pop("$ref")}, {"type": "null"}], **made}
            elif "type" in made:
                made["type"] = [made["type"], "null"]
                if "enum" in made:
                    made["enum"] = [*made["enum"], None]
        properties[of["name"]] = made
    return {"type": "object", "minProperties": 1, "properties": properties} if properties else {"type": "object"}


def _page(row: Mapping[str, Any]) -> dict[str, Any]:
    items = {"type": "array", "items": {"$ref": f"#/components/schemas/{pascal(row['name'])}"}}
    if row["pagination"] == "cursor":
        following = {"type": ["string", "null"], "description": "Send it as cursor to get what follows."}
        return {"type": "object", "properties": {"items": items, "next": following}, "required": ["items", "next"]}
    count = {"type": "integer", "minimum": 0}
    properties = {"items": items, "page": {"type": "integer", "minimum": 1}, "pages": count, "total": count}
    return {"type": "object", "properties": properties, "required": ["items", "page", "pages", "total"]}


def _error(kind: str) -> dict[str, Any]:
    if kind == "simple":
        properties: dict[str, Any] = {"code": {"type": "string"}, "message": {"type": "string"}}
        return {"type": "object", "properties": properties, "required": ["code", "message"]}
    return {
        "type": "object",
        "description": "Problem details, RFC 9457.",
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "instance": {"type": "string", "format": "uri-reference"},
        },
        "required": ["title", "status"],
    }


def _scheme(auth: str) -> dict[str, Any]:
    if auth == "bearer":
        return {"type": "http", "scheme": "bearer"}
    if auth == "api_key":
        return {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    scopes = {"read": "Read", "write": "Change"}
    return {"type": "oauth2", "flows": {"clientCredentials": {"tokenUrl": "/oauth/token", "scopes": scopes}}}


def _paths(
    inputs: Mapping[str, Any], row: Mapping[str, Any], fields: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Any], set[str]]:
    name, one = row["name"], pascal(row["name"])
    reference = {"$ref": f"#/components/schemas/{one}"}
    is_open = row["is_public"] or inputs["auth"] == "none"
    used: set[str] = set()

    def errors(*codes: str) -> dict[str, Any]:
        named = [code for code in codes if not (is_open and code in ("401", "403"))]
        used.update(named)
        return {code: {"$ref": f"#/components/responses/Error{code}"} for code in named}

    def operation(
        verb: str, what: str, summary: str, scope: str, responses: dict[str, Any], **more: Any
    ) -> dict[str, Any]:
        made: dict[str, Any] = {"operationId": f"{verb}{what}", "summary": summary, "tags": [name]}
        made |= more
        if row["is_public"] and inputs["auth"] != "none":
            made["security"] = []
        elif inputs["auth"] == "oauth2":
            made["security"] = [{"oauth2": [scope]}]
        made["responses"] = responses
        return made

    content = {"application/json": {"schema": reference}}
    whole = _example(fields, with_read_only=True)
    if len(whole) == len(fields):
        content = {"application/json": {"schema": reference, "example": whole}}
    body = {"required": True, "content": {"application/json": {"schema": reference}}}
    answered = {"description": "It", "content": content}
    many: dict[str, Any] = {}
    single: dict[str, Any] = {}
    words = name.replace("-", " ").replace("_", " ")
    singular = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", one).lower()
    operations = row["operations"]
    if "list" in operations:
        is_paged = row["pagination"] != "none"
        listed = {"$ref": f"#/components/schemas/{one}Page"} if is_paged else {"type": "array", "items": reference}
        more = {"parameters": _parameters(row["pagination"])} if is_paged else {}
        responses = {"200": {"description": f"The {words}", "content": {"application/json": {"schema": listed}}}}
        responses |= errors("400", "401", "403")
        many["get"] = operation("list", plural(name), f"List {words}", "read", responses, **more)
    if "create" in operations:
        made = {"201": answered | {"description": "What was created"}} | errors("400", "401", "403", "422")
        many["post"] = operation("create", one, f"Create one of the {words}", "write", made, requestBody=body)
    if "read" in operations:
        responses = {"200": answered | {"description": f"The {singular}"}} | errors("401", "403", "404")
        single["get"] = operation("get", one, f"Read one of the {words}", "read", responses)
    for key, method, verb, summary in (
        ("replace", "put", "replace", "Replace"),
        ("update", "patch", "update", "Change"),
    ):
        if key in operations:
            responses = {"200": answered | {"description": f"The {singular} as it is now"}}
            responses |= errors("400", "401", "403", "404", "422")
            given = body
            if method == "patch":
                given = {"required": True, "content": {"application/merge-patch+json": {"schema": _changes(fields)}}}
            single[method] = operation(
                verb, one, f"{summary} one of the {words}", "write", responses, requestBody=given
            )
    if "delete" in operations:
        responses = {"204": {"description": "It is gone"}} | errors("401", "403", "404")
        single["delete"] = operation("delete", one, f"Delete one of the {words}", "write", responses)
    paths: dict[str, Any] = {}
    if many:
        paths[f"/{name}"] = many
    if single:
        id_schema = next((_property(of) for of in fields if of["name"] == "id"), {"type": "string"})
        id_schema.pop("readOnly", None)
        id_schema.pop("description", None)
        parameter = {"name": "id", "in": "path", "required": True, "schema": id_schema}
        paths[f"/{name}/{{id}}"] = {"parameters": [parameter]} | single
    return paths, used


def _parameters(pagination: str) -> list[dict[str, Any]]:
    limit = {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}}
    if pagination == "cursor":
        return [{"name": "cursor", "in": "query", "schema": {"type": "string"}}, limit]
    return [{"name": "page", "in": "query", "schema": {"type": "integer", "minimum": 1, "default": 1}}, limit]
