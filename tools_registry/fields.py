"""What a run takes: its inputs, declared once. They validate, document the API, and draw the form. Pure.

A field's `clean` gives the value to use, or raises ValueError with a sentence for the person; WrongParts where a part
of it is wrong, so that each part can be named.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import Any

from billing.errors import BillingError

DOCUMENT_BYTES_MAX = 8 * 1024 * 1024
# So many wrong parts are named, and names of strangers' making are said in so many letters.
WRONG_MAX, NAME_LETTERS_MAX = 100, 100


class InvalidInputs(BillingError):
    """Readable inputs with wrong fields; `facts["fields"]` has each field's sentences."""

    code = "invalid_fields"
    status = 422
    sentence = "Some fields need another value. Nothing was started and nothing was charged."
    reason = "The inputs do not fit what this operation takes."
    action = "Correct the fields that are named and send it again."


class WrongParts(ValueError):
    """Parts of a value are wrong: their sentences by their names, for example {"2.title": ["Write something."]}."""

    def __init__(self, parts: Mapping[str, list[str]]) -> None:
        self.parts = parts
        super().__init__("Some parts need another value.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One input."""

    name: str
    title: str
    help: str = ""
    default: Any = None
    is_required: bool = False

    def clean(self, value: Any) -> Any:
        raise NotImplementedError

    def schema(self) -> dict[str, Any]:
        """The field as JSON Schema."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Field):
    length_max: int
    is_short: bool = False  # a line, not a paragraph
    is_code: bool = False  # written in letters of one width: SQL, YAML, source

    def clean(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError("Write text here.")
        if "\x00" in value or any(0xD800 <= ord(letter) <= 0xDFFF for letter in value):
            raise ValueError("The text has a character that cannot be stored.")
        if not self.is_code or not value.strip():  # code keeps its indents, and its lines their numbers
            value = value.strip()
        if not value and isinstance(self.default, str):
            return self.default
        if not value:
            raise ValueError("Write something here.")
        if len(value) > self.length_max:
            raise ValueError(f"At most {self.length_max:,} characters; this has {len(value):,}.")
        return value

    def schema(self) -> dict[str, Any]:
        least = 0 if isinstance(self.default, str) else 1
        return {"type": "string", "minLength": least, "maxLength": self.length_max}


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole(Field):
    min: int
    max: int
    unit: str = ""

    def clean(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"Write a whole number from {self.min} to {self.max}.")
        if not self.min <= value <= self.max:
            raise ValueError(f"From {self.min} to {self.max}.")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.min, "maximum": self.max}


@dataclass(frozen=True, slots=True, kw_only=True)
class Number(Field):
    """A number with decimals, as a float: for measures and rates that are no money of ours."""

    min: float
    max: float
    unit: str = ""

    def clean(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not math.isfinite(value):
            raise ValueError(f"Write a number from {self.min:g} to {self.max:g}.")
        if not self.min <= value <= self.max:
            raise ValueError(f"From {self.min:g} to {self.max:g}.")
        return float(value)

    def schema(self) -> dict[str, Any]:
        return {"type": "number", "minimum": self.min, "maximum": self.max}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag(Field):
    """Yes or no."""

    default: Any = False

    def clean(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError("Write true or false.")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(Field):
    choices: Mapping[str, str]

    def clean(self, value: Any) -> str:
        if not isinstance(value, str) or value not in self.choices:
            raise ValueError(f"Choose one of: {', '.join(self.choices)}.")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.choices)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices(Field):
    """Several of a list, each once, in the list's order."""

    choices: Mapping[str, str]
    default: Any = ()
    count_min: int = 0

    def clean(self, value: Any) -> list[str]:
        if not isinstance(value, list) or any(not isinstance(one, str) or one not in self.choices for one in value):
            raise ValueError(f"Choose some of: {', '.join(self.choices)}.")
        if len(set(value)) != len(value):
            raise ValueError("Choose each only once.")
        if len(value) < self.count_min:
            raise ValueError(f"Choose at least {self.count_min}.")
        return [one for one in self.choices if one in value]

    def schema(self) -> dict[str, Any]:
        of_one = {"type": "string", "enum": list(self.choices)}
        return {"type": "array", "items": of_one, "uniqueItems": True, "minItems": self.count_min}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines(Field):
    """A list of short texts; on the form a text with one of them a line."""

    default: Any = ()
    count_min: int = 0
    count_max: int = 100
    length_max: int = 200

    def clean(self, value: Any) -> list[str]:
        if not isinstance(value, list):
            raise ValueError("Send a list of texts.")
        _refuse_too_many(value, self.count_max)
        one = Text(name=self.name, title=self.title, length_max=self.length_max)
        wrong: dict[str, list[str]] = {}
        cleaned = []
        for number, text in enumerate(value):
            try:
                cleaned.append(one.clean(text))
            except ValueError as error:
                wrong[str(number)] = [str(error)]
            if len(wrong) >= WRONG_MAX:
                break
        if wrong:
            raise WrongParts(wrong)
        _refuse_too_few(cleaned, self.count_min)
        return cleaned

    def schema(self) -> dict[str, Any]:
        of_one = {"type": "string", "minLength": 1, "maxLength": self.length_max}
        return {"type": "array", "items": of_one, "minItems": self.count_min, "maxItems": self.count_max}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows(Field):
    """A list of objects with the same fields: a table that people fill in."""

    fields: tuple[Field, ...]
    default: Any = ()
    count_min: int = 0
    count_max: int = 100
    noun: str = "row"  # what one of them is called: "risk", "component"

    def clean(self, value: Any) -> list[dict[str, Any]]:
        if not isinstance(value, list):
            raise ValueError("Send a list of objects.")
        _refuse_too_many(value, self.count_max)
        wrong: dict[str, list[str]] = {}
        cleaned = []
        for number, row in enumerate(value):
            try:
                cleaned.append(read(self.fields, row))
            except WrongParts as error:
                wrong |= {f"{number}.{name}": said for name, said in error.parts.items()}
            except ValueError as error:
                wrong[str(number)] = [str(error)]
            if len(wrong) >= WRONG_MAX:
                break
        if wrong:
            raise WrongParts(wrong)
        _refuse_too_few(cleaned, self.count_min)
        return cleaned

    def schema(self) -> dict[str, Any]:
        of_one = object_schema(self.fields)
        return {"type": "array", "items": of_one, "minItems": self.count_min, "maxItems": self.count_max}


@dataclass(frozen=True, slots=True, kw_only=True)
class Document(Field):
    """A text that is pasted, or a file: named in the inputs, its bytes beside them.

    In JSON it is the text itself. In a multipart request it is a file of the field's name, which is also the only way
    in for what is no text. Cleaned, it is the file's name; the tool finds the bytes under the field's name.
    """

    file_name: str  # what pasted text is called: "requirements.txt"
    accepts: tuple[str, ...] = ()  # the endings of file names that are understood, for example ".csv"
    bytes_max: int = DOCUMENT_BYTES_MAX
    is_text: bool = True  # it can be pasted

    def clean(self, value: Any) -> bytes:
        """The bytes of a pasted text."""
        if not self.is_text:
            raise ValueError("Send it as a file.")
        if not isinstance(value, str):
            raise ValueError("Paste the text, or send a file of this name.")
        if "\x00" in value or any(0xD800 <= ord(letter) <= 0xDFFF for letter in value):
            raise ValueError("The text has a character that cannot be stored.")
        return self.clean_file(value.encode())

    def clean_file(self, content: bytes) -> bytes:
        if not content.strip():
            raise ValueError("There is nothing in it.")
        if len(content) > self.bytes_max:
            raise ValueError(f"At most {self.bytes_max // 1024:,} KiB; this has {len(content) // 1024:,}.")
        return content

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1, "maxLength": self.bytes_max}


def _refuse_too_few(rows: Sequence[Any], least: int) -> None:
    if len(rows) < least:
        raise ValueError(f"At least {least} of them; there {'is' if len(rows) == 1 else 'are'} {len(rows)}.")


def _refuse_too_many(rows: Sequence[Any], most: int) -> None:
    """Before a look at each: a small body can hold very many."""
    if len(rows) > most:
        raise ValueError(f"At most {most:,} of them; there are {len(rows):,}.")


def read(fields: Sequence[Field], given: Any) -> dict[str, Any]:
    """Every field with its value or default; raises WrongParts naming each wrong or unknown one."""
    if not isinstance(given, Mapping):
        raise ValueError("Send an object with these fields.")
    wrong: dict[str, list[str]] = {}
    cleaned: dict[str, Any] = {}
    for of in fields:
        if of.name not in given:
            if of.is_required:
                wrong[of.name] = ["This is needed."]
            else:
                cleaned[of.name] = list(of.default) if isinstance(of.default, tuple) else of.default
            continue
        try:
            cleaned[of.name] = of.clean(given[of.name])
        except WrongParts as error:
            wrong |= {f"{of.name}.{name}": said for name, said in error.parts.items()}
        except ValueError as error:
            wrong[of.name] = [str(error)]
    known = {of.name for of in fields}
    unknown = islice((name for name in map(str, given) if name not in known), WRONG_MAX)
    wrong |= {name[:NAME_LETTERS_MAX]: ["There is no such input."] for name in unknown}
    if wrong:
        raise WrongParts(wrong)
    return cleaned


def object_schema(fields: Sequence[Field]) -> dict[str, Any]:
    """The fields as the JSON Schema of one object."""
    properties = {}
    for of in fields:
        properties[of.name] = of.schema() | {"title": of.title}
        if of.help:
            properties[of.name]["description"] = of.help
        if of.default is not None:
            properties[of.name]["default"] = list(of.default) if isinstance(of.default, tuple) else of.default
    required = [of.name for of in fields if of.is_required]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """Something that can be run: its names, its inputs, and an example of them that works."""

    slug: str
    title: str
    noun: str
    summary: str
    fields: tuple[Field, ...]
    # A name in static/holdfast/icons.svg.
    icon: str = "film"
    example: Mapping[str, Any] = field(default_factory=dict)

    @property
    def takes(self) -> dict[str, list[str]]:
        """Every input by its name, with the values it can be chosen from; none where it is not chosen from a list."""
        return {of.name: list(of.choices) if isinstance(of, Choice) else [] for of in self.fields}

    def clean(self, inputs: Any, under: str = "inputs.") -> dict[str, Any]:
        """Every input with its value or default; raises InvalidInputs naming each wrong or unknown field."""
        try:
            return read(self.fields, inputs)
        except WrongParts as error:
            wrong = {f"{under}{name}": said for name, said in error.parts.items()}
        except ValueError:
            wrong = {"inputs": ["Send an object with the inputs."]}
        raise InvalidInputs(fields=wrong)

    def schema(self) -> dict[str, Any]:
        """The inputs as JSON Schema, for the API's documentation."""
        return object_schema(self.fields)
