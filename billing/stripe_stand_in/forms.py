"""Reads form-encoded parameters with nested brackets, and takes only those that an endpoint names."""

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from .refusals import wrong

Check = Callable[[Any, str], Any]
Fields = Mapping[str, Check]
NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
CURRENCIES = {"gbp", "usd", "eur"}


def read(text: str) -> dict[str, Any]:
    """The parameters as a tree: `a[b][0]=c` is {"a": {"b": ["c"]}}."""
    root: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=2000):
        found = NAME.fullmatch(name)
        if not found:
            raise wrong(f"Invalid parameter name: {name}", param=name)
        keys = [found[1], *re.findall(r"\[([^\[\]]*)\]", found[2])]
        here = root
        for key in keys[:-1]:
            here = here.setdefault(key or str(len(here)), {})
            if not isinstance(here, dict):
                raise wrong(f"Invalid parameter: {name} is given in two shapes.", param=name)
        last = keys[-1] or str(len(here))
        if last in here:
            raise wrong(f"The parameter {name} is given twice.", param=name)
        here[last] = value
    return {name: _lists(value) for name, value in root.items()}


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and sorted(value) == sorted(str(n) for n in range(len(value))):
        return [_lists(value[str(n)]) for n in range(len(value))]
    return {name: _lists(inner) for name, inner in value.items()}


def take(fields: Fields, given: Any, where: str = "") -> dict[str, Any]:
    """The parameters, read as the fields say. Refuses what is unknown, missing, or of another shape."""
    if not isinstance(given, dict):
        raise wrong(f"Invalid object: {where}", param=where)

    def named(name: str) -> str:
        return f"{where}[{name}]" if where else name

    unknown = [named(name) for name in given if name not in fields]
    if unknown:
        ending = "parameter" if len(unknown) == 1 else "parameters"
        raise wrong(f"Received unknown {ending}: {', '.join(unknown)}", unknown[0], "parameter_unknown")
    taken = {}
    for name, check in fields.items():
        if name in given:
            taken[name] = check(given[name], named(name))
        elif getattr(check, "is_required", False):
            raise wrong(f"Missing required param: {named(name)}.", named(name), "parameter_missing")
    return taken


def required(check: Check) -> Check:
    """The field has to be there, and not be empty."""

    def checked(value: Any, where: str) -> Any:
        if value == "":
            raise wrong(f"You passed an empty string for '{where}'.", where, "parameter_invalid_empty")
        return check(value, where)

    checked.is_required = True  # type: ignore[attr-defined]
    return checked


def text(value: Any, where: str) -> str | None:
    if not isinstance(value, str):
        raise wrong(f"Invalid string: {where}", where)
    if len(value) > 5000:
        raise wrong(f"Invalid string: {where} is longer than 5000 characters.", where)
    return value or None


def address(value: Any, where: str) -> str | None:
    if value and not re.match(r"https?://[^\s/]+", str(value)):
        raise wrong("Not a valid URL", where, "url_invalid")
    return text(value, where)


def whole(value: Any, where: str) -> int | None:
    if value == "":
        return None
    if not isinstance(value, str) or not re.fullmatch(r"-?[0-9]{1,15}", value):
        raise wrong(f"Invalid integer: {value}", where, "parameter_invalid_integer")
    return int(value)


def count(value: Any, where: str) -> int:
    """A whole number above nothing."""
    number = whole(value, where)
    if number is None or number < 1:
        raise wrong("This value must be greater than or equal to 1.", where, "parameter_invalid_integer")
    return number


def amount(value: Any, where: str) -> int:
    """A sum in the currency's smallest unit, nothing or more."""
    number = whole(value, where)
    if number is None or number < 0:
        raise wrong("Invalid non-negative integer", where, "parameter_invalid_integer")
    if number > 99_999_999:
        raise wrong("Amount must be no more than 999,999.99", where, "amount_too_large")
    return number


def flag(value: Any, where: str) -> bool:
    if value not in ("true", "false"):
        raise wrong(f"Invalid boolean: {value}", where)
    return bool(value == "true")


def currency(value: Any, where: str) -> str:
    if str(value).lower() not in CURRENCIES:
        raise wrong(f"Invalid currency: {value}.", where)
    return str(value).lower()


def one_of(*words: str) -> Check:
    def check(value: Any, where: str) -> str | None:
        if value == "":
            return None
        if value not in words:
            raise wrong(f"Invalid {where}: must be one of {', '.join(words)}", where)
        return str(value)

    return check


def metadata(value: Any, where: str) -> dict[str, str]:
    """Names and texts; an empty text takes the name away."""
    if value == "":
        return {}
    if not isinstance(value, dict) or any(not isinstance(one, str) for one in value.values()):
        raise wrong("Invalid metadata: names and texts only", where)
    if len(value) > 50 or any(len(name) > 40 or len(one) > 500 for name, one in value.items()):
        raise wrong("Metadata: at most 50 names of 40 characters, with texts of 500.", where)
    return dict(value)


def group(**fields: Check) -> Check:
    """Named fields inside a field."""
    return lambda value, where: None if value == "" else take(fields, value, where)


def several(check: Check) -> Check:
    """A list."""

    def checked(value: Any, where: str) -> list[Any]:
        if value == "":
            return []
        if not isinstance(value, list):
            raise wrong("Invalid array", where)
        return [check(one, f"{where}[{n}]") for n, one in enumerate(value)]

    return checked


def either(first: Check, second: Check) -> Check:
    """A group where the value is a tree, the second where it is a text."""
    return lambda value, where: first(value, where) if isinstance(value, dict) else second(value, where)


def between(value: Any, where: str) -> dict[str, int]:
    """A moment, or bounds of moments."""
    if isinstance(value, str):
        moment = whole(value, where) or 0
        return {"gte": moment, "lte": moment}
    return take(dict.fromkeys(("gt", "gte", "lt", "lte"), whole), value, where)


def fits(bounds: Mapping[str, int], moment: int) -> bool:
    """Whether a moment lies within the bounds."""
    return (
        moment > bounds.get("gt", -1)
        and moment >= bounds.get("gte", 0)
        and moment < bounds.get("lt", 2**62)
        and moment <= bounds.get("lte", 2**62)
    )
