"""What can be run: the operations, declared once here, and the studio tools, each declared in a module of its own."""

from __future__ import annotations

import importlib
import pkgutil
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import structlog

from billing.errors import BillingError

from . import studios
from .fields import Choice, Declared, Text, Whole
from .studio import STUDIOS, Tool

log = structlog.get_logger("holdfast.tools")


class UnknownOperation(BillingError):
    code = "invalid_fields"
    status = 422
    sentence = "There is no such operation."
    reason = "The operation is not in the catalogue."
    action = "Choose one of the catalogue's operations."


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Declared):
    """A job for a provider."""

    # What its output may be; anything else is no output of it, and is not charged.
    delivers: frozenset[str]

    @property
    def is_text(self) -> bool:
        """Whether what it makes is read on the page instead of watched."""
        return all(content_type.startswith("text/") for content_type in self.delivers)


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


# The studio tools: every module below `studios` that declares a TOOL


def find(root: ModuleType) -> tuple[dict[str, Tool], dict[str, str]]:
    """The tools of the modules two floors below `root`, by slug in order; and why a module has none to give.

    A module that cannot be loaded is left out, loudly: one broken tool keeps no page and no payment from its people.
    """
    found: list[Tool] = []
    broken: dict[str, str] = {}
    of_slug: dict[str, str] = {}
    for name in _modules(root, broken):
        try:
            tool = getattr(importlib.import_module(name), "TOOL", None)
        except (Exception, SystemExit) as error:
            broken[name] = _why(error)
            continue
        if not isinstance(tool, Tool):
            continue
        if tool.slug in of_slug:
            broken[name] = f"It declares {tool.slug}, as {of_slug[tool.slug]} does."
            continue
        of_slug[tool.slug] = name
        found.append(tool)
    for name, why in broken.items():
        log.error("tool_left_out", module=name, why=why)
    studio_order = list(STUDIOS)
    found.sort(key=lambda one: (studio_order.index(one.studio), one.title))
    return {one.slug: one for one in found}, broken


def _modules(root: ModuleType, broken: dict[str, str]) -> Iterator[str]:
    for package in pkgutil.iter_modules(root.__path__, f"{root.__name__}."):
        if not package.ispkg:
            continue
        try:
            path = importlib.import_module(package.name).__path__
        except (Exception, SystemExit) as error:
            broken[package.name] = _why(error)
            continue
        yield from (module.name for module in pkgutil.iter_modules(path, f"{package.name}."))


def _why(error: BaseException) -> str:
    """What broke, and where, in a line."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{said[:200]} ({last.filename.rpartition('/')[2]}, line {last.lineno})"


TOOLS, BROKEN = find(studios)
"""The tools by slug; and the modules that could not be loaded, with why: the staff's page and the checks say so."""


class UnknownTool(BillingError):
    code = "not_found"
    status = 404
    sentence = "There is no such tool."
    reason = "No tool of the studio has that name."
    action = "Choose one of those at /studio."


def tool(slug: str) -> Tool:
    """The tool of that slug, studio/tool; raises UnknownTool."""
    if slug not in TOOLS:
        raise UnknownTool
    return TOOLS[slug]


def priced() -> dict[str, Operation | Tool]:
    """Everything that has a price, by slug: the operations, and the tools that run here."""
    return OPERATIONS | {slug: one for slug, one in TOOLS.items() if one.function is not None}
