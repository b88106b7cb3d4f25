"""What changed between two versions of an API, and which of it breaks those who call it.

What a caller sends may grow looser, what a caller gets may grow stricter; the other way round breaks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .openapi_checks import operations, parameters
from .openapi_text import Pointer, Written, mapping, resolve, said

CHANGES_MAX = 500
DEPTH_MAX = 24
# change: whether it breaks callers, how it is called
KINDS = {
    "path_removed": (True, "A path is gone"),
    "operation_removed": (True, "An operation is gone"),
    "parameter_removed": (True, "A parameter is gone"),
    "parameter_required": (True, "A parameter is needed now"),
    "body_required": (True, "A body is needed now"),
    "body_added": (True, "A body is needed that was not there"),
    "body_removed": (True, "A body is not taken any more"),
    "media_removed": (True, "A kind of content is gone"),
    "property_required": (True, "A property is needed now"),
    "property_removed": (True, "A property is gone"),
    "property_optional": (True, "An answer may lack a property now"),
    "type_changed": (True, "Another type"),
    "enum_narrowed": (True, "Fewer values are taken"),
    "enum_widened": (True, "An answer may have new values"),
    "bound_tightened": (True, "A narrower bound"),
    "null_added": (True, "An answer may be null now"),
    "null_removed": (True, "null is not taken any more"),
    "alternatives": (True, "Other alternatives"),
    "closed": (True, "Further properties are not taken any more"),
    "response_removed": (True, "An answer is gone"),
    "auth_added": (True, "Proof of who asks is needed now"),
    "auth_changed": (True, "Another proof of who asks"),
    "scheme_changed": (True, "A security scheme works otherwise"),
    "server_removed": (True, "A server is gone"),
    "path_added": (False, "A new path"),
    "operation_added": (False, "A new operation"),
    "parameter_added": (False, "A new parameter that may be left out"),
    "parameter_optional": (False, "A parameter may be left out now"),
    "property_added": (False, "A new property"),
    "response_added": (False, "A new answer"),
    "media_added": (False, "A further kind of content"),
    "auth_removed": (False, "No proof of who asks any more"),
    "deprecated": (False, "It is to go"),
    "version": (False, "Another version"),
}


@dataclass(frozen=True, slots=True)
class Change:
    """A change and its place: in the newer file, or in the older one for what is gone."""

    kind: str
    text: str
    pointer: Pointer
    line: int
    is_of_older: bool

    @property
    def is_breaking(self) -> bool:
        return KINDS[self.kind][0]

    def told(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "is_breaking": self.is_breaking,
            "title": KINDS[self.kind][1],
            "text": self.text,
            "pointer": said(self.pointer),
            "line": self.line,
            "file": "older" if self.is_of_older else "newer",
        }


class _Comparison:
    def __init__(self, older: Written, newer: Written) -> None:
        self.older, self.newer = older, newer
        self.found: dict[tuple[str, Pointer, str], Change] = {}
        self.steps = 0

    def note(self, kind: str, text: str, pointer: Pointer, *, is_of_older: bool = False) -> None:
        written = self.older if is_of_older else self.newer
        key = (kind, pointer, "" if len(pointer) > 2 and pointer[0] == "components" else text)
        if key not in self.found and len(self.found) < CHANGES_MAX:
            self.found[key] = Change(kind, text, pointer, written.line(pointer), is_of_older)


def compare(older: Written, newer: Written) -> list[Change]:
    """Every change, those that break first, in the order of their places."""
    made = _Comparison(older, newer)
    old, new = older.value, newer.value
    versions = [
        str((one.get("info") or {}).get("version")) if isinstance(one.get("info"), dict) else "" for one in (old, new)
    ]
    if versions[0] != versions[1]:
        made.note("version", f"{versions[0][:40]} → {versions[1][:40]}", ("info", "version"))
    _servers(made)
    _schemes(made)
    before = {(_plain(path), method): (path, operation, item) for path, method, operation, item in operations(old)}
    after = {(_plain(path), method): (path, operation, item) for path, method, operation, item in operations(new)}
    paths_before, paths_after = {path for path, _ in before}, {path for path, _ in after}
    for (plain, method), (path, _, _) in before.items():
        if plain not in paths_after:
            made.note("path_removed", path[:160], ("paths", path), is_of_older=True)
        elif (plain, method) not in after:
            made.note("operation_removed", f"{method.upper()} {path[:160]}", ("paths", path, method), is_of_older=True)
    for (plain, method), (path, operation, item) in after.items():
        if plain not in paths_before:
            made.note("path_added", path[:160], ("paths", path))
        elif (plain, method) not in before:
            made.note("operation_added", f"{method.upper()} {path[:160]}", ("paths", path, method))
        else:
            was = before[plain, method]
            _operation(made, method, was, (path, operation, item))
    return sorted(made.found.values(), key=lambda one: (not one.is_breaking, one.line, one.kind, one.text))


def _plain(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path)


def _servers(made: _Comparison) -> None:
    def urls(value: Mapping[str, Any]) -> list[str]:
        rows = value.get("servers")
        return [str(one.get("url")) for one in (rows if isinstance(rows, list) else []) if isinstance(one, dict)]

    new = urls(made.newer.value)
    for number, url in enumerate(urls(made.older.value)):
        if new and url not in new:
            made.note("server_removed", url[:160], ("servers", str(number)), is_of_older=True)


def _schemes(made: _Comparison) -> None:
    def schemes(value: Mapping[str, Any]) -> dict[str, Any]:
        components = value.get("components")
        found = components.get("securitySchemes") if isinstance(components, dict) else None
        return {name: resolve(value, one, ())[0] for name, one in found.items()} if isinstance(found, dict) else {}

    new = schemes(made.newer.value)
    for name, was in schemes(made.older.value).items():
        now = new.get(name)
        if isinstance(was, dict) and isinstance(now, dict):
            changed = [
                key for key in ("type", "scheme", "in", "name", "openIdConnectUrl") if was.get(key) != now.get(key)
            ]
            if changed:
                said_by = ", ".join(f"{key}: {was.get(key)} → {now.get(key)}" for key in changed)
                made.note("scheme_changed", f"{name}: {said_by}"[:240], ("components", "securitySchemes", name))


def _operation(made: _Comparison, method: str, was: tuple[str, Any, Any], now: tuple[str, Any, Any]) -> None:
    old, new = made.older.value, made.newer.value
    (old_path, before, old_item), (path, after, item) = was, now
    where, name = ("paths", path, method), f"{method.upper()} {path}"
    if after.get("deprecated") is True and before.get("deprecated") is not True:
        made.note("deprecated", name, (*where, "deprecated"))
    _auth(made, name, where, before.get("security", old.get("security")), after.get("security", new.get("security")))
    order = {name: place for place, name in enumerate(re.findall(r"\{([^}]*)\}", old_path))}
    new_order = {name: place for place, name in enumerate(re.findall(r"\{([^}]*)\}", path))}

    def key(one: Mapping[str, Any], places: Mapping[str, int]) -> tuple[str, str]:
        is_in = str(one.get("in"))
        plain = str(one.get("name"))
        return (
            is_in,
            str(places.get(plain, plain)) if is_in == "path" else plain.lower() if is_in == "header" else plain,
        )

    old_rows = {key(one, order): (one, place) for one, place in parameters(old, old_path, method, old_item, before)}
    new_rows = {key(one, new_order): (one, place) for one, place in parameters(new, path, method, item, after)}
    for one_key, (one, place) in old_rows.items():
        if one_key not in new_rows:
            made.note(
                "parameter_removed", f"{name}: {one.get('name')} ({one.get('in')})"[:240], place, is_of_older=True
            )
    for one_key, (one, place) in new_rows.items():
        label = f"{name}: {one.get('name')} ({one.get('in')})"[:240]
        if one_key not in old_rows:
            made.note("parameter_required" if one.get("required") is True else "parameter_added", label, place)
            continue
        earlier, old_place = old_rows[one_key]
        if one.get("required") is True and earlier.get("required") is not True:
            made.note("parameter_required", label, place)
        if earlier.get("required") is True and one.get("required") is not True:
            made.note("parameter_optional", label, place)
        _schema(
            made,
            label,
            earlier.get("schema", {}),
            one.get("schema", {}),
            (*old_place, "schema"),
            (*place, "schema"),
            True,
            0,
        )
    _body(made, name, where, ("paths", old_path, method), before.get("requestBody"), after.get("requestBody"))
    _responses(made, name, where, ("paths", old_path, method), before.get("responses"), after.get("responses"))


def _auth(made: _Comparison, name: str, where: Pointer, was: Any, now: Any) -> None:
    def ways(rows: Any) -> set[frozenset[tuple[str, str]]]:
        """Each way to prove who asks: schemes with their scopes. No proof is an empty one."""
        return {
            frozenset((scheme, scope) for scheme, scopes in row.items() for scope in ["", *map(str, scopes or [])])
            for row in (rows if isinstance(rows, list) else [])
            if isinstance(row, dict) and all(isinstance(one, list | None) for one in row.values())
        } or {frozenset()}

    before, after = ways(was), ways(now)
    if before == after:
        return
    place = (*where, "security")

    def told(some: set[frozenset[tuple[str, str]]]) -> str:
        return " or ".join(sorted(" + ".join(sorted(f"{a} {b}".strip() for a, b in one)) or "none" for one in some))

    text = f"{name}: {told(before)} → {told(after)}"[:240]
    if frozenset() in after:
        made.note("auth_removed", text, place)
    elif frozenset() in before:
        made.note("auth_added", text, place)
    elif not all(any(new <= old for new in after) for old in before):  # somebody who could call cannot any more
        made.note("auth_changed", text, place)


def _body(made: _Comparison, name: str, where: Pointer, old_where: Pointer, was: Any, now: Any) -> None:
    before, old_place = resolve(made.older.value, was, (*old_where, "requestBody"))
    after, place = resolve(made.newer.value, now, (*where, "requestBody"))
    if not isinstance(before, dict) or was is None:
        if isinstance(after, dict) and now is not None and after.get("required") is True:
            made.note("body_added", name, place)
        return
    if not isinstance(after, dict) or now is None:
        made.note("body_removed", name, old_place, is_of_older=True)
        return
    if after.get("required") is True and before.get("required") is not True:
        made.note("body_required", name, place)
    _contents(made, name, before, after, old_place, place, is_request=True)


def _responses(made: _Comparison, name: str, where: Pointer, old_where: Pointer, was: Any, now: Any) -> None:
    before, after = was if isinstance(was, dict) else {}, now if isinstance(now, dict) else {}
    for code, one in before.items():
        if code not in after:
            if str(code)[:1] in "23":
                made.note("response_removed", f"{name}: {code}", (*old_where, "responses", code), is_of_older=True)
            continue
        old_one, old_place = resolve(made.older.value, one, (*old_where, "responses", code))
        new_one, place = resolve(made.newer.value, after[code], (*where, "responses", code))
        if isinstance(old_one, dict) and isinstance(new_one, dict):
            _contents(made, f"{name}: {code}", old_one, new_one, old_place, place, is_request=False)
    for code in after:
        if code not in before:
            made.note("response_added", f"{name}: {code}", (*where, "responses", code))


def _contents(
    made: _Comparison, name: str, was: Any, now: Any, old_where: Pointer, where: Pointer, *, is_request: bool
) -> None:
    before, after = mapping(was.get("content")), mapping(now.get("content"))
    for kind, one in before.items():
        if kind not in after:
            made.note("media_removed", f"{name}: {kind}"[:240], (*old_where, "content", kind), is_of_older=True)
        elif isinstance(one, dict) and isinstance(after[kind], dict):
            old_place, place = (*old_where, "content", kind, "schema"), (*where, "content", kind, "schema")
            _schema(made, name, one.get("schema", {}), after[kind].get("schema", {}), old_place, place, is_request, 0)
    for kind in after:
        if kind not in before and before:
            made.note("media_added", f"{name}: {kind}"[:240], (*where, "content", kind))


def _types(schema: Mapping[str, Any]) -> set[str]:
    given = schema.get("type")
    found = (
        {given}
        if isinstance(given, str)
        else {one for one in given if isinstance(one, str)}
        if isinstance(given, list)
        else set()
    )
    if schema.get("nullable") is True and found:
        found.add("null")
    return found


# bound: whether a larger figure takes more
BOUNDS = {
    "maxLength": True,
    "maximum": True,
    "maxItems": True,
    "exclusiveMaximum": True,
    "minLength": False,
    "minimum": False,
    "minItems": False,
    "exclusiveMinimum": False,
}


def _schema(
    made: _Comparison,
    name: str,
    was: Any,
    now: Any,
    old_where: Pointer,
    where: Pointer,
    is_request: bool,
    depth: int,
    seen: frozenset[tuple[Pointer, Pointer]] = frozenset(),
) -> None:
    before, old_place = resolve(made.older.value, was, old_where)
    after, place = resolve(made.newer.value, now, where)
    made.steps += 1
    if depth > DEPTH_MAX or made.steps > 40_000 or (old_place, place) in seen:
        return
    if not isinstance(before, dict) or not isinstance(after, dict) or before == after == {}:
        return
    seen = seen | {(old_place, place)}
    before, after = _joined(made.older.value, before), _joined(made.newer.value, after)
    old_types, new_types = _types(before), _types(after)
    _typed(made, name, old_types, new_types, place, is_request)
    old_enum, new_enum = before.get("enum"), after.get("enum")
    if isinstance(new_enum, list) and is_request:
        gone = [one for one in old_enum if one not in new_enum] if isinstance(old_enum, list) else ["anything else"]
        if gone:
            made.note("enum_narrowed", f"{name}: {_some(gone)} no more", (*place, "enum"))
    if isinstance(old_enum, list) and not is_request:
        more = [one for one in new_enum if one not in old_enum] if isinstance(new_enum, list) else ["anything"]
        if more:
            made.note("enum_widened", f"{name}: {_some(more)} as well", (*place, "enum") if new_enum else place)
    for bound, is_upper in BOUNDS.items():
        first: Any = before.get(bound)
        second: Any = after.get(bound)
        if not _is_figure(second) or not is_request:
            continue
        if not _is_figure(first) or (second < first if is_upper else second > first):
            earlier = first if _is_figure(first) else "none"
            made.note("bound_tightened", f"{name}: {bound} {earlier} → {second}", (*place, bound))
    if is_request and isinstance(after.get("pattern"), str) and before.get("pattern") != after["pattern"]:
        made.note(
            "bound_tightened",
            f"{name}: pattern {str(before.get('pattern'))[:60]} → {after['pattern'][:60]}",
            (*place, "pattern"),
        )
    if is_request and after.get("additionalProperties") is False and before.get("additionalProperties") is not False:
        made.note("closed", name, (*place, "additionalProperties"))
    for word in ("oneOf", "anyOf"):
        if before.get(word) != after.get(word) and (word in before or word in after):
            made.note("alternatives", f"{name}: {word}", (*place, word) if word in after else place)
    _properties(made, name, before, after, old_place, place, is_request, depth, seen)
    if isinstance(before.get("items"), dict) and isinstance(after.get("items"), dict):
        old_items, items = (*old_place, "items"), (*place, "items")
        _schema(made, f"{name}[]", before["items"], after["items"], old_items, items, is_request, depth + 1, seen)


def _typed(made: _Comparison, name: str, old: set[str], new: set[str], place: Pointer, is_request: bool) -> None:
    if old == new:
        return
    plain_old, plain_new = old - {"null"}, new - {"null"}

    def wide(types: set[str]) -> set[str]:
        return types | ({"integer"} if "number" in types else set())

    takes, gets = (plain_old, plain_new) if is_request else (plain_new, plain_old)
    # What is sent before must be taken now; what is got now must have been expected before
    is_broken = bool(gets) and (not takes or not takes <= wide(gets))
    if is_broken:
        text = f"{name}: {' or '.join(sorted(old)) or 'any'} → {' or '.join(sorted(new)) or 'any'}"
        made.note("type_changed", text[:240], (*place, "type"))
    if is_request and "null" in old and "null" not in new and new:
        made.note("null_removed", name, (*place, "type"))
    if not is_request and "null" in new and "null" not in old and old:
        made.note("null_added", name, (*place, "type"))


def _properties(
    made: _Comparison,
    name: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    old_place: Pointer,
    place: Pointer,
    is_request: bool,
    depth: int,
    seen: frozenset[tuple[Pointer, Pointer]],
) -> None:
    old_properties, properties = mapping(before.get("properties")), mapping(after.get("properties"))
    old_needed, needed = _names(before.get("required")), _names(after.get("required"))
    for one, schema in old_properties.items():
        if one not in properties:
            made.note("property_removed", f"{name}: {one}"[:240], (*old_place, "properties", one), is_of_older=True)
        else:
            old_inner, inner = (*old_place, "properties", one), (*place, "properties", one)
            _schema(
                made, f"{name}: {one}"[:200], schema, properties[one], old_inner, inner, is_request, depth + 1, seen
            )
    for one in properties:
        if one not in old_properties and not (is_request and one in needed):
            made.note("property_added", f"{name}: {one}"[:240], (*place, "properties", one))
    if is_request:
        for one in sorted(needed - old_needed):
            made.note(
                "property_required", f"{name}: {one}"[:240], (*place, "properties", one) if one in properties else place
            )
    else:
        for one in sorted((old_needed - needed) & set(properties)):
            made.note("property_optional", f"{name}: {one}"[:240], (*place, "properties", one))


def _joined(whole: Any, schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with the properties and needs of its allOf."""
    parts = schema.get("allOf")
    if not isinstance(parts, list):
        return schema
    made = {key: value for key, value in schema.items() if key != "allOf"}
    properties = dict(mapping(made.get("properties")))
    needed = _names(made.get("required"))
    for part in parts[:50]:
        one, _ = resolve(whole, part, ())
        if isinstance(one, dict):
            properties |= mapping(one.get("properties"))
            needed |= _names(one.get("required"))
            made = {key: value for key, value in one.items() if key not in ("properties", "required", "allOf")} | made
    return made | {"properties": properties, "required": sorted(needed)}


def _names(value: Any) -> set[str]:
    return {one for one in value if isinstance(one, str)} if isinstance(value, list) else set()


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _some(values: list[Any]) -> str:
    return ", ".join(str(one)[:40] for one in values[:5]) + ("…" if len(values) > 5 else "")
