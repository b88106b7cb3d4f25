"""Text that a provider wrote, in parts that a page can show: headings, paragraphs, lists. Never as HTML.

Only what makes a text readable is understood of Markdown: `#` headings, `-` and `1.` lists, `**bold**` and `*slanted*`
words, a line across.
Links, pictures and HTML stay the letters that they are; escaping is the template's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

HEADING = re.compile(r"(#{1,6})\s+(\S.*)")
ACROSS = re.compile(r"([-*_])(?:\s*\1){2,}")
BULLET = re.compile(r"[-*+•]\s+(\S.*)")
NUMBERED = re.compile(r"([0-9]{1,4})[.)]\s+(\S.*)")
# **bold** or *slanted*: the stars touch the words within, and no word without.
MARKED = re.compile(r"(?<![*\w])(\*{1,2})(?![\s*])([^*]+)(?<!\s)\1(?![*\w])")


@dataclass(frozen=True, slots=True)
class Run:
    """Letters that stand together."""

    text: str
    is_bold: bool = False
    is_slanted: bool = False


@dataclass(slots=True)
class Block:
    """One part of the text. `kind`: heading, paragraph, bullets, numbers or across; a list has a line for each item."""

    kind: str
    lines: list[list[Run]] = field(default_factory=list)
    level: int = 0
    start: int = 1


def blocks(text: str) -> list[Block]:
    """The text's parts in their order; every letter but the marks themselves is kept."""
    found: list[Block] = []
    is_apart = True
    for line in text.splitlines():
        line = line.strip()
        if not line:
            is_apart = True
            continue
        one = _read(line)
        last = found[-1] if found else None
        joins = last is not None and last.kind == one.kind and one.kind not in ("heading", "across")
        # A list goes on over an empty line, a paragraph does not.
        if last is not None and joins and not (is_apart and one.kind == "paragraph"):
            last.lines += one.lines
        else:
            found.append(one)
        is_apart = False
    return found


def _read(line: str) -> Block:
    if ACROSS.fullmatch(line):
        return Block("across")
    if heading := HEADING.fullmatch(line):
        return Block("heading", [runs(heading[2].rstrip("#").rstrip())], level=len(heading[1]))
    if bullet := BULLET.fullmatch(line):
        return Block("bullets", [runs(bullet[1])])
    if numbered := NUMBERED.fullmatch(line):
        return Block("numbers", [runs(numbered[2])], start=int(numbered[1]))
    return Block("paragraph", [runs(line)])


def runs(line: str) -> list[Run]:
    """The line's letters in runs that look alike."""
    return [run for run in _split(line) if run.text]


def _split(line: str) -> Iterator[Run]:
    end = 0
    for marked in MARKED.finditer(line):
        yield Run(line[end : marked.start()])
        yield Run(marked[2], is_bold=marked[1] == "**", is_slanted=marked[1] == "*")
        end = marked.end()
    yield Run(line[end:])
