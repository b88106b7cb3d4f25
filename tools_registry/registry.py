"""What can be run: operations declared once, with the inputs that validate, document and draw their form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from billing.errors import BillingError


class InvalidInputs(BillingError):
    """Readable inputs with wrong fields; `facts["fields"]` has each field's sentences."""

    code = "invalid_fields"
    status = 422
    sentence = "Some fields need another value. Nothing was started and nothing was charged."
    reason = "The inputs do not fit what this operation takes."
    action = "Correct the fields that are named and send it again."


class UnknownOperation(BillingError):
    code = "invalid_fields"
    status = 422
    sentence = "There is no such operation."
    reason = "The operation is not in the catalogue."
    action = "Choose one of the catalogue's operations."


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One input. `clean` gives the value to use or raises ValueError with a sentence for the person."""

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

    def clean(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError("Write text here.")
        if "\x00" in value or any(0xD800 <= ord(letter) <= 0xDFFF for letter in value):
            raise ValueError("The text has a character that cannot be stored.")
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
class Choice(Field):
    choices: Mapping[str, str]

    def clean(self, value: Any) -> str:
        if not isinstance(value, str) or value not in self.choices:
            raise ValueError(f"Choose one of: {', '.join(self.choices)}.")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.choices)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    slug: str
    title: str
    noun: str
    summary: str
    fields: tuple[Field, ...]
    # What its output may be; anything else is no output of it, and is not charged.
    delivers: frozenset[str]
    # A name in static/holdfast/icons.svg.
    icon: str = "film"
    example: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_text(self) -> bool:
        """Whether what it makes is read on the page instead of watched."""
        return all(content_type.startswith("text/") for content_type in self.delivers)

    @property
    def takes(self) -> dict[str, list[str]]:
        """Every input by its name, with the values it can be chosen from; none where it is not chosen from a list."""
        return {of.name: list(of.choices) if isinstance(of, Choice) else [] for of in self.fields}

    def clean(self, inputs: Any) -> dict[str, Any]:
        """Every input with its value or default; raises InvalidInputs naming each wrong or unknown field."""
        if not isinstance(inputs, Mapping):
            raise InvalidInputs(fields={"inputs": ["Send an object with the inputs."]})
        wrong: dict[str, list[str]] = {}
        cleaned: dict[str, Any] = {}
        for of in self.fields:
            if of.name not in inputs:
                if of.is_required:
                    wrong[f"inputs.{of.name}"] = ["This is needed."]
                else:
                    cleaned[of.name] = of.default
                continue
            try:
                cleaned[of.name] = of.clean(inputs[of.name])
            except ValueError as error:
                wrong[f"inputs.{of.name}"] = [str(error)]
        known = {of.name for of in self.fields}
        wrong |= {f"inputs.{name}": ["There is no such input."] for name in map(str, inputs) if name not in known}
        if wrong:
            raise InvalidInputs(fields=wrong)
        return cleaned

    def schema(self) -> dict[str, Any]:
        """The inputs as JSON Schema, for the API's documentation."""
        properties = {}
        for of in self.fields:
            properties[of.name] = of.schema() | {"title": of.title}
            if of.help:
                properties[of.name]["description"] = of.help
            if of.default is not None:
                properties[of.name]["default"] = of.default
        required = [of.name for of in self.fields if of.is_required]
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


VIDEO = Operation(
    slug="ai/video",
    title="Video",
    noun="video",
    summary="A short video from a description, paid by the second.",
    delivers=frozenset({"video/mp4", "video/webm"}),
    fields=(
        Text(
            name="prompt",
            title="What should it show?",
            help="Describe the scene in your own words.",
            is_required=True,
            length_max=2000,
        ),
        Whole(name="seconds", title="Length", unit="s", min=1, max=20, default=4),
        Choice(
            name="size",
            title="Size",
            default="1280x720",
            choices={
                "1280x720": "1280 × 720, landscape",
                "720x1280": "720 × 1280, portrait",
                "854x480": "854 × 480, small landscape",
                "640x360": "640 × 360, smallest",
                "1920x1080": "1920 × 1080, full HD",
            },
        ),
        Choice(
            name="quality",
            title="Quality",
            default="standard",
            choices={"draft": "Draft", "standard": "Standard", "high": "High"},
        ),
    ),
    example={"prompt": "A lighthouse at dawn", "seconds": 4, "size": "1280x720", "quality": "standard"},
)

IMAGE = Operation(
    slug="ai/image",
    title="Picture",
    noun="picture",
    summary="A picture from a description, at one price each.",
    delivers=frozenset({"image/png", "image/jpeg", "image/webp"}),
    icon="image",
    fields=(
        Text(
            name="prompt",
            title="What should it show?",
            help="Describe the picture in your own words.",
            is_required=True,
            length_max=2000,
        ),
        Choice(
            name="size",
            title="Size",
            default="1024x1024",
            choices={
                "1024x1024": "1024 × 1024, square",
                "1536x1024": "1536 × 1024, landscape",
                "1024x1536": "1024 × 1536, portrait",
            },
        ),
        Choice(
            name="quality",
            title="Quality",
            default="standard",
            choices={"draft": "Draft", "standard": "Standard", "high": "High"},
        ),
    ),
    example={"prompt": "A lighthouse at dawn", "size": "1024x1024", "quality": "standard"},
)

TONES = {
    "warm": "Warm, like a friend",
    "plain": "Plain and clear",
    "funny": "Light and funny",
    "serious": "Serious and calm",
}
LENGTH_HELP = (
    "In tokens: a token is a word or a piece of one, and 100 of them are about 75 English words. Writing stops there. "
    "You pay only for what is written."
)

SCRIPT = Operation(
    slug="ai/script",
    title="Script",
    noun="script",
    summary="A script for a short film, scene by scene. You pay for the words it takes.",
    delivers=frozenset({"text/plain"}),
    icon="text",
    fields=(
        Text(
            name="prompt",
            title="What is it about?",
            help="The product or the story, and whatever must be said of it.",
            is_required=True,
            length_max=4000,
        ),
        Choice(
            name="kind",
            title="Kind",
            default="advert",
            choices={"advert": "Advert", "explainer": "Explainer", "story": "Story", "trailer": "Trailer"},
        ),
        Choice(name="tone", title="Tone", default="plain", choices=TONES),
        Whole(
            name="seconds",
            title="Length of the film",
            help="How long the finished piece will play.",
            unit="s",
            min=10,
            max=180,
            default=30,
        ),
        Whole(
            name="length_max",
            title="Longest text",
            help=LENGTH_HELP,
            unit="tokens",
            min=100,
            max=4000,
            default=800,
        ),
    ),
    example={
        "prompt": "A lighthouse that anyone can rent for a night",
        "kind": "advert",
        "tone": "plain",
        "seconds": 30,
        "length_max": 800,
    },
)

THREADS = Operation(
    slug="ai/threads",
    title="Thread",
    noun="thread",
    summary="The concept of a thread for social media, post by post. You pay for the words it takes.",
    delivers=frozenset({"text/plain"}),
    icon="thread",
    fields=(
        Text(
            name="prompt",
            title="What is the thread about?",
            help="What you want to say, and why it matters.",
            is_required=True,
            length_max=4000,
        ),
        Text(
            name="audience",
            title="Who is it for?",
            help="The people who should stop and read it.",
            default="everyone",
            length_max=200,
            is_short=True,
        ),
        Choice(name="tone", title="Tone", default="plain", choices=TONES),
        Whole(name="posts", title="How many posts", unit="posts", min=3, max=20, default=6),
        Whole(
            name="length_max",
            title="Longest text",
            help=LENGTH_HELP,
            unit="tokens",
            min=100,
            max=4000,
            default=1000,
        ),
    ),
    example={
        "prompt": "Why we keep an old lighthouse lit",
        "audience": "people who love the sea",
        "tone": "plain",
        "posts": 6,
        "length_max": 1000,
    },
)

OPERATIONS: dict[str, Operation] = {operation.slug: operation for operation in (VIDEO, IMAGE, SCRIPT, THREADS)}


def operation(slug: Any) -> Operation:
    """The operation of that slug; raises UnknownOperation, which names the ones there are."""
    if not isinstance(slug, str) or slug not in OPERATIONS:
        raise UnknownOperation(fields={"operation": [f"Choose one of: {', '.join(OPERATIONS)}."]})
    return OPERATIONS[slug]
