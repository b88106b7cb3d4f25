"""What is wrong with an OpenAPI 3.0 or 3.1 file, each with its place.

First our own checks, which say where and what to do; then the specification's own schema; and where neither found an
error, openapi-spec-validator has the last word.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from referencing import Registry
from referencing.jsonschema import DRAFT4, DRAFT202012

from tools_registry.lazily import beforehand, lazy

from .openapi_text import MISSING, Pointer, Unreadable, Written, at, parsed, resolve, said, walk

if TYPE_CHECKING:
    import jsonschema
    import openapi_schema_validator
    import openapi_spec_validator
else:
    jsonschema = lazy("jsonschema")
    openapi_schema_validator = lazy("openapi_schema_validator")
    openapi_spec_validator = lazy("openapi_spec_validator")

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
FOUND_MAX = 300
# check: severity, title, what to do
CHECKS = {
    "duplicate_key": ("high", "A key stands there twice", "Keep one of them; readers drop the other."),
    "reference": ("high", "A reference leads nowhere", "Add what it names, or correct the name."),
    "operation_id": ("high", "Two operations have one operationId", "Give each its own."),
    "path_parameter": ("high", "A parameter of the path is not declared", "Declare it: in: path, required: true."),
    "path_parameter_unused": ("high", "A declared path parameter is not in the path", "Put it in, or remove it."),
    "parameter_repeated": ("high", "A parameter is declared twice", "Keep one; name and place must be unique."),
    "path_repeated": ("high", "Two paths are the same but for a name", "Join them; nobody can tell them apart."),
    "path_slash": ("high", "A path does not begin with a slash", "Write a slash before it."),
    "responses": ("high", "An operation says nothing of its answers", "Describe at least one answer."),
    "security": ("high", "A security scheme is used and not declared", "Declare it below components/securitySchemes."),
    "example": ("high", "An example does not fit its schema", "Correct the example, or the schema."),
    "default": ("high", "A default does not fit its schema", "Correct the default, or the schema."),
    "structure": ("high", "It is not as the specification has it", "Look the object up in the OpenAPI specification."),
    "validator": ("high", "openapi-spec-validator refuses it", "Look the object up in the OpenAPI specification."),
    "no_operation_id": ("low", "An operation has no operationId", "Name it; generated code is called after it."),
    "no_success": ("medium", "No answer for success", "Describe the 2xx answer."),
    "no_failure": ("low", "No answer for failure", "Describe the 4xx answers, or default."),
    "open_write": ("medium", "It changes something and asks for no proof of who", "Say which security it needs."),
    "plain_server": ("medium", "A server without TLS", "Use https."),
    "key_in_query": ("medium", "A key in the address", "Send it as a header; addresses are written into logs."),
    "body_on_get": ("medium", "A body where none belongs", "Use parameters, or POST."),
    "path_name": ("low", "A path is not named as most are", "Use small letters and dashes, and no slash at the end."),
    "id_style": ("low", "operationIds are named in different ways", "Choose camelCase or snake_case for all."),
    "required_unknown": ("medium", "A required property is not described", "Describe it, or take it off the list."),
    "unused": ("info", "A component that nothing uses", "Use it, or remove it."),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """A defect and its place."""

    check: str
    text: str
    pointer: Pointer
    line: int

    @property
    def severity(self) -> str:
        return CHECKS[self.check][0]

    def told(self) -> dict[str, Any]:
        severity, title, fix = CHECKS[self.check]
        return {
            "check": self.check,
            "severity": severity,
            "title": title,
            "text": self.text,
            "fix": fix,
            "pointer": said(self.pointer),
            "line": self.line,
        }


def version_of(written: Written) -> str:
    """3.0 or 3.1; raises Unreadable for anything else."""
    value = written.value
    if not isinstance(value, dict):
        raise Unreadable("It is no OpenAPI file: an object with openapi, info and paths is needed.")
    version = value.get("openapi")
    if isinstance(version, str) and (found := re.fullmatch(r"(3\.[01])\.\d{1,3}(?:-[\w.]{1,20})?", version)):
        return found[1]
    if "swagger" in value:
        raise Unreadable(f"Line {written.line(('swagger',))}: Swagger 2.0 is not read; convert it to OpenAPI 3 first.")
    line = written.line(("openapi",))
    if isinstance(version, str) and re.fullmatch(r"\d{1,3}\.\d{1,3}(?:\.\d{1,3})?", version):
        raise Unreadable(f"Line {line}: openapi must be of 3.0 or 3.1; {version} is not read here.")
    raise Unreadable(f"Line {line}: openapi must be a text such as “3.1.0” or “3.0.3”.")


def refuse_foreign(written: Written) -> None:
    """Raises Unreadable where a reference leads out of the file: nothing is fetched."""
    for pointer, value in walk(written.value):
        if pointer and pointer[-1] == "$ref" and isinstance(value, str) and not value.startswith("#"):
            if "example" in pointer or "properties" in pointer[-2:-1]:
                continue
            line = written.line(pointer)
            raise Unreadable(f"Line {line}: $ref leads to {value[:120]}. Nothing is fetched; bring it into this file.")


def operations(value: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Each operation: path, method, itself, and the path's own object."""
    paths = value.get("paths")
    for path, item in paths.items() if isinstance(paths, dict) else ():
        item, _ = resolve(value, item, ())
        for method in METHODS if isinstance(item, dict) else ():
            operation = item.get(method)
            if isinstance(operation, dict):
                yield path, method, operation, item


def parameters(
    value: Any, path: str, method: str, item: Mapping[str, Any], operation: Mapping[str, Any]
) -> list[tuple[dict[str, Any], Pointer]]:
    """The path's and the operation's parameters, each with its place as it was written."""
    found = []
    for where, owner in ((("paths", path), item), (("paths", path, method), operation)):
        rows = owner.get("parameters")
        for number, row in enumerate(rows if isinstance(rows, list) else []):
            one, _ = resolve(value, row, ())
            if isinstance(one, dict):
                found.append((one, (*where, "parameters", str(number))))
    return found


def check(written: Written) -> list[Found]:
    """Everything that was found, errors first, in the order of the lines. Call `refuse_foreign` before."""
    value, version = written.value, version_of(written)
    found: list[Found] = []

    def note(name: str, text: str, *pointer: str) -> None:
        if len(found) < FOUND_MAX:
            found.append(Found(name, text, pointer, written.line(pointer)))

    for pointer, line in written.repeated:
        found.append(Found("duplicate_key", f"{pointer[-1]} is written a second time in line {line}.", pointer, line))
    used = _references(value, note)
    _paths(value, note)
    _security(value, note)
    _style(value, note)
    _components(value, used, note)
    _values(value, version, note)
    _structure(value, version, found, note)
    if not any(one.severity == "high" for one in found):
        _last_word(value, version, note)
    order = {"high": 0, "medium": 1, "low": 2, "info": 3}
    return sorted(found, key=lambda one: (order[one.severity], one.line, one.check, one.text))


def _references(value: Any, note: Any) -> set[str]:
    """The local references that are used; those that lead nowhere are noted."""
    used = set()
    for pointer, one in walk(value):
        if pointer and pointer[-1] == "$ref" and isinstance(one, str) and "example" not in pointer:
            used.add(one)
            if at(value, parsed(one)) is MISSING:
                note("reference", f"{one[:160]} is not in the file.", *pointer)
    return used


def _paths(value: dict[str, Any], note: Any) -> None:
    ids: dict[str, str] = {}
    shapes: dict[str, str] = {}
    paths = value.get("paths")
    for path in paths if isinstance(paths, dict) else ():
        if not path.startswith("/") and not path.startswith("x-"):
            note("path_slash", f"{path[:120]} does not begin with a slash.", "paths", path)
        plain = re.sub(r"\{[^}]*\}", "{}", path)
        if plain in shapes:
            note("path_repeated", f"{path} and {shapes[plain]} differ in a parameter's name only.", "paths", path)
        shapes.setdefault(plain, path)
    for path, method, operation, item in operations(value):
        where, name = ("paths", path, method), f"{method.upper()} {path}"
        own = operation.get("operationId")
        if isinstance(own, str):
            if own in ids:
                note("operation_id", f"{name} is called {own[:80]}, as {ids[own]} is.", *where, "operationId")
            ids.setdefault(own, name)
        else:
            note("no_operation_id", f"{name} has none.", *where)
        wanted = set(re.findall(r"\{([^}]+)\}", path))
        seen: set[tuple[Any, Any, bool]] = set()
        declared = set()
        for one, place in parameters(value, path, method, item, operation):
            key = (str(one.get("name")), str(one.get("in")), place[:3] == where)
            if key in seen:
                note("parameter_repeated", f"{name} has {key[0]} ({key[1]}) twice.", *place)
            seen.add(key)
            if one.get("in") == "path":
                declared.add(key[0])
                if key[0] not in wanted and key[2]:
                    note("path_parameter_unused", f"{key[0]} is not in {path}.", *place)
        for missing in sorted(wanted - declared):
            note("path_parameter", f"{name} does not declare {{{missing}}}.", *where)
        answers = operation.get("responses")
        codes = [str(code) for code in answers] if isinstance(answers, dict) else []
        codes = [code for code in codes if not code.startswith("x-")]
        if not codes:
            note("responses", f"{name} describes no answer.", *where)
            continue
        if not any(code[0] in "23" or code == "default" for code in codes):
            note("no_success", f"{name} describes {', '.join(codes[:5])} only.", *where, "responses")
        if not any(code[0] in "45" or code == "default" for code in codes):
            note("no_failure", f"{name} describes {', '.join(codes[:5])} only.", *where, "responses")
        if method in ("get", "head") and "requestBody" in operation:
            note("body_on_get", f"{name} takes a body.", *where, "requestBody")


def _security(value: dict[str, Any], note: Any) -> None:
    components = value.get("components")
    schemes = components.get("securitySchemes") if isinstance(components, dict) else None
    schemes = schemes if isinstance(schemes, dict) else {}

    def named(rows: Any, *where: str) -> None:
        for number, row in enumerate(rows if isinstance(rows, list) else []):
            for name in row if isinstance(row, dict) else ():
                if name not in schemes:
                    note("security", f"{name[:80]} is not among the declared ones.", *where, str(number), name)

    named(value.get("security"), "security")
    for path, method, operation, _ in operations(value):
        named(operation.get("security"), "paths", path, method, "security")
        asked = operation.get("security", value.get("security"))
        if method in ("put", "post", "patch", "delete") and not asked:
            note("open_write", f"{method.upper()} {path} is open to everybody.", "paths", path, method)
    for name, scheme in schemes.items():
        if isinstance(scheme, dict) and scheme.get("type") == "apiKey" and scheme.get("in") == "query":
            note("key_in_query", f"{name} is sent in the address.", "components", "securitySchemes", name)
    servers = value.get("servers")
    for number, server in enumerate(servers if isinstance(servers, list) else []):
        url = server.get("url") if isinstance(server, dict) else None
        if isinstance(url, str) and re.match(r"http://(?!localhost|127\.0\.0\.1)", url):
            note("plain_server", f"{url[:120]} is not encrypted.", "servers", str(number))


def _style(value: dict[str, Any], note: Any) -> None:
    paths = value.get("paths")
    for path in paths if isinstance(paths, dict) else ():
        plain = re.sub(r"\{[^}]*\}", "x", path)
        if re.search(r"[A-Z_ ]|//", plain) or (len(path) > 1 and path.endswith("/")):
            said = f"{path[:120]} has capitals, underscores, spaces, two slashes together or one at its end."
            note("path_name", said, "paths", path)
    styles: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for path, method, operation, _ in operations(value):
        own = operation.get("operationId")
        if isinstance(own, str):
            style = (
                "snake_case"
                if "_" in own
                else "kebab-case"
                if "-" in own
                else "camelCase"
                if re.search("[A-Z]", own)
                else ""
            )
            if style:
                styles[style].append((path, method, own))
    if len(styles) > 1:
        usual = max(styles, key=lambda one: (len(styles[one]), one))
        for style, some in styles.items():
            for path, method, own in some if style != usual else ():
                note("id_style", f"{own[:80]} is {style}; most are {usual}.", "paths", path, method, "operationId")


def _components(value: dict[str, Any], used: set[str], note: Any) -> None:
    components = value.get("components")
    for kind, named in components.items() if isinstance(components, dict) else ():
        if kind in ("securitySchemes",) or kind.startswith("x-"):
            continue
        for name in named if isinstance(named, dict) else ():
            place = said(("components", kind, name))
            is_named = kind == "schemas" and any(one.endswith(f"/{name}") for one in used)
            if f"#{place}" not in used and not is_named and not any(one.startswith(f"#{place}/") for one in used):
                note("unused", f"{name} ({kind}) is used nowhere.", "components", kind, name)
    for pointer, one in walk(value):
        if not isinstance(one, dict) or not isinstance(one.get("properties"), dict) or "example" in pointer:
            continue
        if not isinstance(one.get("required"), list) or "allOf" in one or (pointer and pointer[-1] == "properties"):
            continue
        for name in one["required"]:
            if isinstance(name, str) and name not in one["properties"]:
                note("required_unknown", f"{name[:80]} is required and not among the properties.", *pointer, "required")


def _values(value: dict[str, Any], version: str, note: Any) -> None:
    """Examples and defaults against their schemas. References are looked up in the file alone."""
    registry: Registry[Any] = Registry().with_resource("urn:spec", DRAFT202012.create_resource(value))
    kind = openapi_schema_validator.OAS30Validator if version == "3.0" else openapi_schema_validator.OAS31Validator

    def fits(check_name: str, given: Any, schema: Pointer, *where: str) -> None:
        try:
            wrong = next(
                iter(kind({"$ref": f"urn:spec#{_encoded(schema)}"}, registry=registry).iter_errors(given)), None
            )
        except Exception as error:  # a schema that is none: the other checks name it
            if isinstance(error, MemoryError):
                raise
            return
        if wrong is not None:
            place = f" at {said(tuple(map(str, wrong.absolute_path)))}" if wrong.absolute_path else ""
            note(check_name, f"{wrong.message[:200]}{place}.", *where)

    for pointer, one in walk(value):
        if not isinstance(one, dict) or "example" in pointer or "examples" in pointer or "default" in pointer:
            continue
        if isinstance(one.get("schema"), dict):
            schema = (*pointer, "schema")
            if "example" in one:
                fits("example", one["example"], schema, *pointer, "example")
            several = one.get("examples")
            for name, example in several.items() if isinstance(several, dict) else ():
                example, _ = resolve(value, example, ())
                if isinstance(example, dict) and "value" in example:
                    fits("example", example["value"], schema, *pointer, "examples", name)
        elif _is_schema(pointer, one):
            for name in ("example", "default"):
                if name in one:
                    fits(name, one[name], pointer, *pointer, name)
            for number, example in enumerate(one["examples"] if isinstance(one.get("examples"), list) else []):
                fits("example", example, pointer, *pointer, "examples", str(number))


def _is_schema(pointer: Pointer, one: Mapping[str, Any]) -> bool:
    if len(pointer) < 2 or not ({"type", "$ref", "enum", "properties", "items"} & set(one)):
        return False
    return pointer[-1] in ("schema", "items", "additionalProperties", "not") or pointer[-2] in (
        "schemas", "properties", "allOf", "oneOf", "anyOf", "prefixItems",
    )  # fmt: skip


def _encoded(pointer: Pointer) -> str:
    return "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "-._~/") else "".join(f"%{byte:02X}" for byte in letter.encode("utf-8", "replace"))  # noqa: E501
        for letter in said(pointer)
    )  # fmt: skip


@beforehand
@cache
def _specifications() -> dict[str, Any]:
    """Validators of the specification's own schemas, by version.

    The schemas lie in files that a run cannot open, so they are read before it; their anchors are found once.
    """
    of = openapi_spec_validator
    empty = {"info": {"title": "a", "version": "1"}, "paths": {}, "components": {"schemas": {"A": {"type": "string"}}}}
    for kind, version in ((of.OpenAPIV30SpecValidator, "3.0.0"), (of.OpenAPIV31SpecValidator, "3.1.0")):
        list(kind(empty | {"openapi": version}).iter_errors())
    made = {}
    for version, schema, dialect, validator in (
        ("3.0", dict(of.schemas.schema_v30), DRAFT4, jsonschema.Draft4Validator),
        ("3.1", dict(of.schemas.schema_v31), DRAFT202012, jsonschema.Draft202012Validator),
    ):
        registry: Registry[Any] = Registry().with_resource("urn:openapi", dialect.create_resource(schema)).crawl()
        made[version] = validator({"$ref": "urn:openapi"}, registry=registry)
    return made


def _structure(value: dict[str, Any], version: str, found: Sequence[Found], note: Any) -> None:
    known = {one.pointer for one in found if one.severity == "high"}
    places: Counter[Pointer] = Counter()
    try:
        for error in _specifications()[version].iter_errors(value):
            best = jsonschema.exceptions.best_match([error]) or error
            pointer = tuple(map(str, best.absolute_path))
            if places[pointer] or any(pointer[: len(one)] == one or one[: len(pointer)] == pointer for one in known):
                continue
            places[pointer] += 1
            note("structure", f"{best.message[:240]}.", *pointer)
            if len(places) >= 50:
                break
    except RecursionError:
        note("structure", "It is nested too deeply to be held against the specification.")


def _last_word(value: dict[str, Any], version: str, note: Any) -> None:
    of = openapi_spec_validator
    kind = of.OpenAPIV30SpecValidator if version == "3.0" else of.OpenAPIV31SpecValidator
    try:
        made = kind(value)
        error = next(iter(made.root_validator(made.schema_path)), None)  # the schema itself was seen to
    except Exception as failed:  # what it cannot read it says by many kinds of exception
        if isinstance(failed, MemoryError):
            raise
        note("validator", f"It could not be read through ({type(failed).__name__}).")
        return
    if error is not None:
        path = tuple(map(str, getattr(error, "absolute_path", ())))
        note("validator", f"{str(getattr(error, 'message', error))[:240]}.", *path)
