"""Pictures as SVG: charts, grids, diagrams. Pure: the same arguments give the same bytes; odd ones raise nothing.

Every picture is light and dark (its own style follows the reader's scheme), holds no script, no id and nothing from
elsewhere, says its title and description to those who cannot see it, and never lets a colour speak alone: a word or a
number stands beside it. Long text is cut, whole in the mark's own title. Too many rows are counted in words.

`static/holdfast/studio/drawing.js` has the same functions, which draw the same; a test holds both together.
A tone is one of TONES.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from .layout import Link, Rect, Size, Spot, lay_out

Tone = Literal["plain", "sea", "brass", "coral", "quiet"]
TONES = ("plain", "sea", "brass", "coral", "quiet")
Scale = Literal["amount", "risk", "both"]


@dataclass(frozen=True, slots=True)
class Bar:
    """A value under its name. `note` stands behind the value in words. A value that is None is said to be missing."""

    label: str
    value: float | None
    tone: Tone = "sea"
    note: str = ""


@dataclass(frozen=True, slots=True)
class Stack:
    """A bar of several parts, in the order of the parts' names."""

    label: str
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Series:
    """A line through one value for each label of the x axis; None leaves a gap."""

    label: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Point:
    """A dot of a scatter."""

    x: float
    y: float
    label: str = ""
    tone: Tone = "sea"


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` to `end` on a timeline; without an end it is a moment."""

    label: str
    start: float
    end: float | None = None
    tone: Tone = "sea"
    note: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A box of a diagram. `kind` is the small word above its label, `lines` what stands below (a table's columns)."""

    id: str
    label: str
    kind: str = ""
    shape: Literal["box", "square", "pill", "store", "table"] = "box"
    tone: Tone = "plain"
    lines: Sequence[str] = ()
    zone: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow from node to node, by their ids."""

    source: str
    target: str
    label: str = ""
    tone: Tone = "plain"
    is_dashed: bool = False


@dataclass(frozen=True, slots=True)
class Zone:
    """A frame around the nodes that name it, and around the zones that are inside it."""

    id: str
    label: str
    inside: str = ""
    tone: Tone = "quiet"


# Paper and ink

FONT = '"Inter Variable",Inter,system-ui,-apple-system,"Segoe UI",sans-serif'
PALETTE = {
    "card": ("#fffdf8", "#132128"),
    "raised": ("#ffffff", "#182a32"),
    "sunk": ("#f3f0e8", "#0f1b21"),
    "line": ("#e2ddd0", "#22353e"),
    "line-strong": ("#cfc8b6", "#33505c"),
    "ink": ("#14232b", "#edf2f0"),
    "ink-2": ("#4a5a62", "#b2c0c4"),
    "ink-3": ("#5c6a72", "#8f9fa5"),
    "sea": ("#0c6a66", "#3fb8ae"),
    "sea-2": ("#94bbb7", "#28706c"),
    "sea-ink": ("#ffffff", "#06201e"),
    "sea-soft": ("#dcebe8", "#143a39"),
    "sea-text": ("#0a5a57", "#76d6cd"),
    "brass": ("#e0a43a", "#d39a38"),
    "brass-2": ("#ecc583", "#8f6a2b"),
    "brass-ink": ("#14232b", "#14232b"),
    "brass-soft": ("#f7e8cb", "#3a2d14"),
    "brass-text": ("#7a4a06", "#f0c477"),
    "coral": ("#b3372b", "#ee7f70"),
    "coral-ink": ("#ffffff", "#2a0d09"),
    "coral-soft": ("#f8dfda", "#42201c"),
    "coral-text": ("#96291f", "#f6a69b"),
}
STRONG = {"plain": "ink-2", "sea": "sea", "brass": "brass", "coral": "coral", "quiet": "ink-3"}
SOFT = {"plain": "raised", "sea": "sea-soft", "brass": "brass-soft", "coral": "coral-soft", "quiet": "sunk"}
EDGED = {"plain": "line-strong", "sea": "sea", "brass": "brass", "coral": "coral", "quiet": "line-strong"}
WORDS = {"plain": "ink-2", "sea": "sea-text", "brass": "brass-text", "coral": "coral-text", "quiet": "ink-3"}
# One after another for parts and lines: the fill, and the ink that is read on it.
ROUND = (
    ("sea", "sea-ink"),
    ("brass", "brass-ink"),
    ("coral", "coral-ink"),
    ("sea-2", "ink"),
    ("ink-3", "card"),
    ("brass-2", "ink"),
    ("coral-soft", "coral-text"),
    ("line-strong", "ink"),
)
DASHES = ("", "7 4", "2 4", "10 3 2 3", "14 4", "4 2", "1 3", "12 3 3 3")
LEVELS: dict[str, tuple[tuple[str, str], ...]] = {
    "amount": (("sunk", "ink"), ("sea-soft", "ink"), ("sea-2", "ink"), ("sea", "sea-ink")),
    "risk": (("sea-soft", "ink"), ("brass-soft", "ink"), ("brass", "brass-ink"), ("coral", "coral-ink")),
    "both": (
        ("coral", "coral-ink"),
        ("coral-soft", "ink"),
        ("sunk", "ink"),
        ("sea-soft", "ink"),
        ("sea", "sea-ink"),
    ),
}
ROWS_MAX = 60
POINTS_MAX = 2000
NODES_MAX = 120
EDGES_MAX = 400
WIDTH = 640.0
BOLD = 1.08  # how much wider letters of weight 600 are
EMPTY = "There is nothing to draw yet."


class Part(NamedTuple):
    """An element of a picture."""

    name: str
    attributes: dict[str, str | float]
    inside: tuple[Part | str, ...]


Paint = dict[str, str | float]


def _part(name: str, attributes: Mapping[str, str | float], *inside: Part | str) -> Part:
    return Part(name, dict(attributes), inside)


def _paint(fill: str = "", stroke: str = "", width: float = 1) -> dict[str, str | float]:
    """Colours by name: as attributes for the light scheme, as classes for the dark one."""
    names = [f"f-{fill}"] if fill else []
    names += [f"s-{stroke}"] if stroke else []
    painted: dict[str, str | float] = {"class": " ".join(names), "fill": PALETTE[fill][0] if fill else "none"}
    if stroke:
        painted |= {"stroke": PALETTE[stroke][0], "stroke-width": width}
    return painted


def _say(
    x: float,
    y: float,
    text: str,
    *,
    size: float = 13,
    ink: str = "ink",
    anchor: str = "start",
    weight: int = 400,
    turned: bool = False,
    is_clear: bool = False,  # stands out from the lines behind it
) -> Part:
    attributes: dict[str, str | float] = {"x": x, "y": y, "font-size": size}
    if weight != 400:
        attributes["font-weight"] = weight
    if anchor != "start":
        attributes["text-anchor"] = anchor
    if turned:
        attributes["transform"] = f"rotate(-90 {_figure(x)} {_figure(y)})"
    if is_clear:
        return _part("text", attributes | _paint(ink, "card", 4) | {"paint-order": "stroke"}, text)
    return _part("text", attributes | _paint(ink), text)


def _box(x: float, y: float, width: float, height: float, paint: Paint, round_by: float = 0) -> Part:
    attributes: dict[str, str | float] = {"x": x, "y": y, "width": max(width, 0), "height": max(height, 0)}
    if round_by:
        attributes["rx"] = round_by
    return _part("rect", attributes | paint)


def _rule(x1: float, y1: float, x2: float, y2: float, ink: str = "line", width: float = 1, dash: str = "") -> Part:
    attributes: dict[str, str | float] = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    attributes |= _paint("", ink, width)
    if dash:
        attributes["stroke-dasharray"] = dash
    return _part("line", attributes)


def _group(kind: str, title: str, *inside: Part) -> Part:
    """A mark: what stands for one thing of the data, with its whole text for pointer and reader."""
    return _part("g", {"class": kind}, _part("title", {}, title), *inside)


def _sheet(title: str, described: str, width: float, height: float, *inside: Part) -> bytes:
    paper = _box(0, 0, width, height, _paint("card"), 8)
    root = _part(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "class": "drawing",
            "viewBox": f"0 0 {_figure(width)} {_figure(height)}",
            "width": width,
            "height": height,
            "role": "img",
            "aria-label": title,
            "font-family": FONT,
        },
        _part("title", {}, title),
        _part("desc", {}, described or title),
        paper,
        *inside,
    )
    return _written(root, _style(root)).encode()


def _empty(title: str, described: str, said: str = EMPTY) -> bytes:
    return _sheet(title, described or said, WIDTH, 96, _say(WIDTH / 2, 53, said, ink="ink-2", anchor="middle"))


def _style(root: Part) -> str:
    """What is used of the palette, for readers with a dark scheme."""
    used: set[str] = set()
    waiting = [root]
    while waiting:
        one = waiting.pop()
        used.update(str(one.attributes.get("class", "")).split())
        waiting += [inner for inner in one.inside if isinstance(inner, Part)]
    rules = [f".f-{name}{{fill:{dark}}}" for name, (_, dark) in PALETTE.items() if f"f-{name}" in used]
    rules += [f".s-{name}{{stroke:{dark}}}" for name, (_, dark) in PALETTE.items() if f"s-{name}" in used]
    return f"@media(prefers-color-scheme:dark){{{''.join(rules)}}}"


def _written(one: Part | str, style: str = "") -> str:
    if isinstance(one, str):
        return _escaped(one)
    attributes = "".join(
        f' {name}="{_escaped(value) if isinstance(value, str) else _figure(value)}"'
        for name, value in one.attributes.items()
    )
    inside = "".join(_written(inner) for inner in one.inside)
    if style:
        inside = f"<style>{style}</style>{inside}"
    return f"<{one.name}{attributes}>{inside}</{one.name}>" if inside else f"<{one.name}{attributes}/>"


def _escaped(text: str) -> str:
    text = re.sub(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]", "�", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def _figure(value: float) -> str:
    """A length with at most one decimal."""
    tenths = math.floor(value * 10 + 0.5)
    return str(tenths // 10) if tenths % 10 == 0 else str(tenths / 10)


def number(value: float | None, unit: str = "") -> str:
    """A figure as people read it: 1,234.5 with as many decimals as its size deserves; "–" where there is none."""
    value = _finite(value)
    if value is None:
        return "–"
    size = abs(value)
    behind = ""
    for least, word in ((1e15, ""), (1e12, " tn"), (1e9, " bn")):
        if size >= least:
            if not word:
                power = _power(size)
                behind = f" × 10^{_zeros(power)}"
                size = size / power
            else:
                size, behind = size / least, word
            break
    decimals = 0 if size >= 1000 else 1 if size >= 100 else 2
    if 0 < size < 1:
        decimals = min(8, 2 + _zeros(1 / _power(size)))
    is_money = unit in ("£", "$", "€")
    has_pence = is_money and not behind and 0.01 <= size < 10_000
    if has_pence:
        decimals = 2
    factor = 10**decimals
    units = math.floor(size * factor + 0.5)
    whole, rest = str(units // factor), str(units % factor).rjust(decimals, "0")[:decimals]
    rest = "" if not rest.strip("0") else rest if has_pence else rest.rstrip("0")
    grouped = re.sub(r"(?<=\d)(?=(\d{3})+$)", ",", whole)
    sign = "−" if value < 0 and units else ""
    said = f"{sign}{grouped}{'.' + rest if rest else ''}{behind}"
    if is_money:
        return f"{sign}{unit}{said[len(sign) :]}"
    return f"{said}{'' if unit in ('', '%') else ' '}{unit}"


def _power(size: float) -> float:
    """The largest power of ten that is not above."""
    power = 1.0
    while power * 10 <= size and power < 1e300:
        power *= 10
    while power > size and power > 1e-300:
        power /= 10
    return power


def _zeros(power: float) -> int:
    count = 0
    while power >= 9.5:
        power /= 10
        count += 1
    return count


def _breadth(text: str, size: float) -> float:
    """About how wide a text is; rather more than less, since nobody's font is known."""
    total = 0.0
    for letter in text:
        point = ord(letter)
        if point >= 0x1100:
            total += 1.05
        elif letter in "iIjltf.,:;|!'()[]{} /\\-":
            total += 0.36
        elif letter in "mwMW@%&—…":
            total += 0.92
        elif 65 <= point <= 90:
            total += 0.7
        else:
            total += 0.6
    return total * size


def _cut(text: str, breadth: float, size: float) -> str:
    """The text, as much of it as fits."""
    text = " ".join(text.split())
    if _breadth(text, size) <= breadth + 0.01:  # sums of fractions are a hair off
        return text
    kept = ""
    for letter in text:
        if _breadth(kept + letter + "…", size) > breadth:
            break
        kept += letter
    return kept.rstrip() + "…"


def _folded(text: str, breadth: float, size: float, most: int) -> list[str]:
    """The text in at most so many lines."""
    lines: list[str] = []
    line = ""
    words = text.split()
    for index, word in enumerate(words):
        longer = f"{line} {word}" if line else word
        if not line or _breadth(longer, size) <= breadth:
            line = longer
        elif len(lines) + 1 == most:
            line = " ".join([line, *words[index:]])
            break
        else:
            lines.append(line)
            line = word
    return [_cut(one, breadth, size) for one in [*lines, line]]


def _finite(value: float | None) -> float | None:
    if value is None or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e300 else None


def _ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round figures from at most `low` to at least `high`."""
    if high <= low:
        high = low + 1
    rough = (high - low) / count
    power = _power(rough)
    step = power * next((times for times in (1, 2, 2.5, 5, 10) if power * times >= rough), 10)
    first, last = math.floor(low / step), math.ceil(high / step)
    if last - first > 40:  # beyond what a float can tell apart
        return [low, high]
    return [place * step for place in range(first, last + 1)]


def _more(count: int, noun: str) -> str:
    return f"and {count:,} more {noun} not drawn" if count > 0 else ""


def _legend(names: Sequence[str], top: float, mark: Callable[[int, float, float], Part]) -> tuple[list[Part], float]:
    """Names in rows below each other, each behind its mark; and where they end."""
    parts: list[Part] = []
    x, y = 16.0, top
    for index, name in enumerate(names):
        said = _cut(name, 180, 13)
        wide = 30 + _breadth(said, 13) + 14
        if x > 16 and x + wide > WIDTH - 16:
            x, y = 16.0, y + 22
        parts.append(_group("key", name, mark(index, x, y), _say(x + 28, y + 4.5, said, ink="ink-2")))
        x += wide
    return parts, y + 18


# Charts


def bars(
    title: str,
    rows: Sequence[Bar],
    *,
    unit: str = "",
    limit: float | None = None,
    limit_label: str = "Limit",
    described: str = "",
) -> bytes:
    """Horizontal bars, each with its name and value. `limit` draws a line across that the bars are held against."""
    drawn = list(rows[:ROWS_MAX])
    if not drawn:
        return _empty(title, described)
    values = [_finite(row.value) for row in drawn]
    bound = _finite(limit)
    known = [value for value in values if value is not None] + ([bound] if bound is not None else [])
    low, high = min([0.0, *known]), max([0.0, *known])
    if high == low:
        high = low + 1
    said = [
        (number(value, unit) if value is not None else "no value") + (f" · {row.note}" if row.note else "")
        for row, value in zip(drawn, values, strict=True)
    ]
    left = 16 + min(200.0, max(_breadth(row.label, 13) for row in drawn)) + 12
    right = min(200.0, max(_breadth(one, 13) * BOLD for one in said)) + 26
    wide = WIDTH - left - right
    top = 34.0 if bound is not None else 12.0
    at = _scale(low, high, left, left + wide)
    parts: list[Part] = []
    for index, (row, value, words) in enumerate(zip(drawn, values, said, strict=True)):
        y = top + index * 28
        start, end = at(min(value or 0.0, 0.0)), at(max(value or 0.0, 0.0))
        parts.append(
            _group(
                "bar",
                f"{row.label}: {words}",
                _say(left - 12, y + 18, _cut(row.label, left - 28, 13), anchor="end"),
                _box(left, y + 4, wide, 20, _paint("sunk"), 4),
                _box(start, y + 4, max(end - start, 2 if value else 0), 20, _paint(STRONG.get(row.tone, "sea")), 4),
                _say(left + wide + 10, y + 18, _cut(words, (right - 24) / BOLD, 13), weight=600),
            )
        )
    bottom = top + len(drawn) * 28
    if low < 0:
        parts.append(_rule(at(0), top, at(0), bottom, "ink-3"))
    if bound is not None:
        words = f"{limit_label}: {number(bound, unit)}"
        parts += _limit_mark(at(bound), top, bottom, words)
    if len(rows) > ROWS_MAX:
        parts.append(_say(left, bottom + 18, _more(len(rows) - ROWS_MAX, "rows"), ink="ink-2"))
        bottom += 24
    told = described or "; ".join(f"{row.label}: {words}" for row, words in zip(drawn, said, strict=True))
    return _sheet(title, told, WIDTH, bottom + 12, *parts)


def _limit_mark(x: float, top: float, bottom: float, words: str) -> list[Part]:
    breadth = _breadth(words, 12)
    anchor, said_at = ("start", x) if x + breadth < WIDTH - 12 else ("end", x)
    return [
        _rule(x, top - 4, x, bottom, "ink", 1.5, "4 3"),
        _say(said_at, top - 12, words, size=12, ink="ink-2", anchor=anchor),
    ]


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    def at(value: float) -> float:
        return start + (value - low) / (high - low) * (end - start)

    return at


def stacked(title: str, parts: Sequence[str], rows: Sequence[Stack], *, unit: str = "", described: str = "") -> bytes:
    """Horizontal bars of several parts: what a whole is made of, row by row. Parts below nothing count as nothing."""
    drawn, names = list(rows[:ROWS_MAX]), list(parts[: len(ROUND)])
    if not drawn or not names:
        return _empty(title, described)
    kept = [[max(_finite(value) or 0.0, 0.0) for value in list(row.values)[: len(names)]] for row in drawn]
    totals = [sum(values) for values in kept]
    high = max(totals) or 1.0
    said = [number(total, unit) for total in totals]
    left = 16 + min(200.0, max(_breadth(row.label, 13) for row in drawn)) + 12
    right = min(160.0, max(_breadth(one, 13) * BOLD for one in said)) + 26
    wide = WIDTH - left - right
    marks, top = _legend(
        [f"{index + 1} {name}" for index, name in enumerate(names)],
        20,
        lambda index, x, y: _box(x, y - 7, 20, 14, _paint(ROUND[index][0]), 3),
    )
    for index, (row, values) in enumerate(zip(drawn, kept, strict=True)):
        y, x = top + index * 30, left
        inside: list[Part] = [_say(left - 12, y + 19, _cut(row.label, left - 28, 13), anchor="end")]
        for place, value in enumerate(values):
            share = value / high * wide
            if share <= 0:
                continue
            paint = _paint(ROUND[place][0], "card")
            told = f"{row.label}, {names[place]}: {number(value, unit)}"
            piece = [_box(x, y + 4, share, 22, paint)]
            if share >= 16:
                piece.append(_say(x + share / 2, y + 19, str(place + 1), size=11, ink=ROUND[place][1], anchor="middle"))
            inside.append(_group("piece", told, *piece))
            x += share
        inside.append(_say(left + wide + 10, y + 19, _cut(said[index], (right - 24) / BOLD, 13), weight=600))
        marks.append(_group("bar", f"{row.label}: {said[index]}", *inside))
    bottom = top + len(drawn) * 30
    left_out = "; ".join(
        one for one in (_more(len(rows) - ROWS_MAX, "rows"), _more(len(parts) - len(names), "parts")) if one
    )
    if left_out:
        marks.append(_say(left, bottom + 18, left_out, ink="ink-2"))
        bottom += 24
    told = described or "; ".join(f"{row.label}: {one}" for row, one in zip(drawn, said, strict=True))
    return _sheet(title, told, WIDTH, bottom + 10, *marks)


def donut(title: str, rows: Sequence[Bar], *, unit: str = "", described: str = "") -> bytes:
    """Shares of a whole as a ring, with every share in words beside it. The eighth and later ones become one."""
    known = [(row.label, max(_finite(row.value) or 0.0, 0.0)) for row in rows]
    known = [one for one in known if one[1] > 0]
    if not known:
        return _empty(title, described)
    if len(known) > len(ROUND):
        rest = known[len(ROUND) - 1 :]
        known = [*known[: len(ROUND) - 1], (f"{len(rest)} others", sum(value for _, value in rest))]
    total = sum(value for _, value in known)
    height = max(240.0, 40 + len(known) * 28)
    cx, cy, outer, inner = 130.0, height / 2, 104.0, 64.0
    parts: list[Part] = []
    angle = 0.0
    for index, (label, value) in enumerate(known):
        turn = value / total
        shape = _ring(cx, cy, outer, inner, angle, angle + turn)
        percent = number(math.floor(turn * 1000 + 0.5) / 10, "%")
        said = f"{number(value, unit)}, {percent}"
        y = height / 2 - len(known) * 14 + index * 28 + 18
        middle = (angle + turn / 2) * 2 * math.pi
        radius = (outer + inner) / 2
        inside = [_part("path", {"d": shape} | _paint(ROUND[index][0], "card", 2))]
        if turn >= 0.04:
            x, at = cx + radius * math.sin(middle), cy - radius * math.cos(middle) + 4
            inside.append(_say(x, at, str(index + 1), size=12, ink=ROUND[index][1], anchor="middle", weight=600))
        parts.append(_group("slice", f"{label}: {said}", *inside))
        name = _cut(f"{index + 1} {label}", WIDTH - 304 - 20 - _breadth(said, 13), 13)
        parts.append(
            _group(
                "key",
                label,
                _box(268, y - 11, 20, 14, _paint(ROUND[index][0]), 3),
                _say(298, y, name),
                _say(WIDTH - 20, y, said, anchor="end", ink="ink-2"),
            )
        )
        angle += turn
    parts.append(_say(cx, cy - 2, _cut(number(total, unit), 112, 18), size=18, anchor="middle", weight=600))
    parts.append(_say(cx, cy + 17, "in all", size=12, ink="ink-2", anchor="middle"))
    told = described or "; ".join(f"{label}: {number(value, unit)}" for label, value in known)
    return _sheet(title, told, WIDTH, height, *parts)


def _ring(cx: float, cy: float, outer: float, inner: float, start: float, end: float) -> str:
    """The path of a piece of a ring, from and to in turns."""
    if end - start > 0.9999:  # an arc cannot end where it began
        half = start + (end - start) / 2
        return f"{_ring(cx, cy, outer, inner, start, half)} {_ring(cx, cy, outer, inner, half, end - 0.00001)}"
    one, two = start * 2 * math.pi, end * 2 * math.pi
    is_large = 1 if end - start > 0.5 else 0
    spots = [
        f"{_figure(cx + radius * math.sin(angle))} {_figure(cy - radius * math.cos(angle))}"
        for radius, angle in ((outer, one), (outer, two), (inner, two), (inner, one))
    ]
    out, back = f"{_figure(outer)} {_figure(outer)}", f"{_figure(inner)} {_figure(inner)}"
    return f"M{spots[0]}A{out} 0 {is_large} 1 {spots[1]}L{spots[2]}A{back} 0 {is_large} 0 {spots[3]}Z"


class _Plane(NamedTuple):
    """Where a chart with two axes lies, and what is drawn of it."""

    left: float
    right: float
    top: float
    bottom: float
    at: Callable[[float], float]
    parts: list[Part]


def _plane(values: Iterable[float], unit: str, top: float, from_nothing: bool) -> _Plane:
    """The lines and figures of a y axis that holds the values."""
    known = list(values) or [0.0]
    low, high = min(known), max(known)
    if from_nothing or (low > 0 and low < high * 0.6):
        low, high = min(low, 0.0), max(high, 0.0)
    ticks = _ticks(low, high)
    said = [number(one, unit) for one in ticks]
    left = 16 + max(_breadth(one, 12) for one in said) + 8
    bottom = top + 220
    at = _scale(ticks[0], ticks[-1], bottom, top)
    parts: list[Part] = []
    for one, words in zip(ticks, said, strict=True):
        parts.append(_rule(left, at(one), WIDTH - 16, at(one), "ink-3" if one == 0 else "line"))
        parts.append(_say(left - 8, at(one) + 4, words, size=12, ink="ink-2", anchor="end"))
    return _Plane(left, WIDTH - 16, top, bottom, at, parts)


def _named(labels: Sequence[str], places: Sequence[float], room: float, bottom: float) -> list[Part]:
    """Names below an axis: every one, or every so many that they do not touch."""
    widest = min(110.0, max((_breadth(label, 12) for label in labels), default=0.0)) + 10
    each = max(1, math.ceil(widest / max(room, 0.1)))
    parts = []
    for index in range(0, len(labels), each):
        said = _cut(labels[index], widest, 12)
        half = _breadth(said, 12) / 2
        x = min(max(places[index], 8 + half), WIDTH - 8 - half)
        parts.append(_say(x, bottom + 18, said, size=12, ink="ink-2", anchor="middle"))
    return parts


def columns(title: str, rows: Sequence[Bar], *, unit: str = "", described: str = "") -> bytes:
    """Upright bars in their order: months, classes of a histogram."""
    drawn = list(rows[:ROWS_MAX])
    if not drawn:
        return _empty(title, described)
    values = [_finite(row.value) for row in drawn]
    plane = _plane([value for value in values if value is not None], unit, 24, True)
    room = (plane.right - plane.left) / len(drawn)
    wide = min(56.0, room * 0.72)
    parts = list(plane.parts)
    places = [plane.left + room * (index + 0.5) for index in range(len(drawn))]
    for row, value, x in zip(drawn, values, places, strict=True):
        said = number(value, unit) if value is not None else "no value"
        start, end = plane.at(max(value or 0.0, 0.0)), plane.at(min(value or 0.0, 0.0))
        paint = _paint(STRONG.get(row.tone, "sea"))
        inside = [_box(x - wide / 2, start, wide, max(end - start, 1 if value else 0), paint, 3)]
        if _breadth(said, 11) <= room:
            inside.append(_say(x, start - 5, said, size=11, ink="ink-2", anchor="middle"))
        note = f" · {row.note}" if row.note else ""
        parts.append(_group("bar", f"{row.label}: {said}{note}", *inside))
    parts += _named([row.label for row in drawn], places, room, plane.bottom)
    height = plane.bottom + 34
    if len(rows) > ROWS_MAX:
        parts.append(_say(plane.left, height + 6, _more(len(rows) - ROWS_MAX, "columns"), ink="ink-2"))
        height += 20
    told = described or "; ".join(f"{row.label}: {number(row.value, unit)}" for row in drawn)
    return _sheet(title, told, WIDTH, height, *parts)


def lines(
    title: str,
    labels: Sequence[str],
    series: Sequence[Series],
    *,
    unit: str = "",
    limit: float | None = None,
    limit_label: str = "Limit",
    described: str = "",
) -> bytes:
    """Lines over the labels of the x axis, one a series, told apart by dash, mark and colour. At most eight."""
    drawn = list(series[: len(ROUND)])
    names = list(labels[:POINTS_MAX])
    kept = [[_finite(value) for value in list(one.values)[: len(names)]] for one in drawn]
    known = [value for values in kept for value in values if value is not None]
    if not known:
        return _empty(title, described)
    bound = _finite(limit)
    bound_said: list[Part] = []
    marks, top = _legend(
        [one.label for one in drawn],
        20,
        lambda index, x, y: _part(
            "g",
            {},
            _rule(x, y, x + 22, y, _line_ink(index), 2.5, DASHES[index]),
            _dot(x + 11, y, index),
        ),
    )
    if len(series) > len(drawn):
        marks.append(_say(16, top + 4, _more(len(series) - len(drawn), "lines"), ink="ink-2"))
        top += 20
    plane = _plane([*known, *([bound] if bound is not None else [])], unit, top + 14, False)
    room = (plane.right - plane.left) / max(len(names), 1)
    places = [plane.left + room * (index + 0.5) for index in range(len(names))]
    parts = marks + plane.parts
    if bound is not None:
        y = plane.at(bound)
        said = f"{limit_label}: {number(bound, unit)}"
        parts.append(_rule(plane.left, y, plane.right, y, "ink", 1.5, "4 3"))
        bound_said = [_say(plane.right, y - 6, said, size=12, ink="ink-2", anchor="end", is_clear=True)]
    for index, (one, values) in enumerate(zip(drawn, kept, strict=True)):
        path, is_down, dots = "", False, []
        for value, x in zip(values, places, strict=False):
            if value is None:
                is_down = False
                continue
            path += f"{'L' if is_down else 'M'}{_figure(x)} {_figure(plane.at(value))}"
            is_down = True
            if len(names) <= 40:
                dots.append(_dot(x, plane.at(value), index))
        stroke = _paint("", _line_ink(index), 2.5) | {"stroke-linejoin": "round"}
        if DASHES[index]:
            stroke["stroke-dasharray"] = DASHES[index]
        first = next((value for value in values if value is not None), None)
        last = next((value for value in reversed(values) if value is not None), None)
        told = f"{one.label}: from {number(first, unit)} to {number(last, unit)}"
        parts.append(_group("series", told, _part("path", {"d": path or "M0 0"} | stroke), *dots))
    parts += bound_said
    parts += _named(names, places, room, plane.bottom)
    told = described or "; ".join(
        f"{one.label}: {', '.join(number(value, unit) for value in values[:24])}"
        for one, values in zip(drawn, kept, strict=True)
    )
    return _sheet(title, told, WIDTH, plane.bottom + 34, *parts)


def _line_ink(index: int) -> str:
    return ("sea", "brass", "coral", "ink-2", "sea-2", "brass-text", "coral-text", "line-strong")[index]


def _dot(x: float, y: float, index: int) -> Part:
    """A mark of a line: round, square, turned square or triangle."""
    paint = _paint("card", _line_ink(index), 2)
    if index % 4 == 0:
        return _part("circle", {"cx": x, "cy": y, "r": 3.5} | paint)
    if index % 4 == 1:
        return _box(x - 3, y - 3, 6, 6, paint)
    shape = ((0, -4.5), (4.5, 0), (0, 4.5), (-4.5, 0)) if index % 4 == 2 else ((0, -4.5), (4, 3), (-4, 3))
    path = "M" + "L".join(f"{_figure(x + dx)} {_figure(y + dy)}" for dx, dy in shape) + "Z"
    return _part("path", {"d": path} | paint)


def scatter(
    title: str,
    points: Sequence[Point],
    *,
    x_title: str = "",
    y_title: str = "",
    described: str = "",
) -> bytes:
    """Dots by two figures. The first 2,000 are drawn."""
    known = [one for one in points[:POINTS_MAX] if _finite(one.x) is not None and _finite(one.y) is not None]
    if not known:
        return _empty(title, described)
    plane = _plane([float(one.y) for one in known], "", 40, False)
    ticks = _ticks(min(float(one.x) for one in known), max(float(one.x) for one in known))
    at = _scale(ticks[0], ticks[-1], plane.left + 8, plane.right - 24)
    parts = list(plane.parts)
    if y_title:
        parts.append(_say(16, 24, _cut(y_title, WIDTH - 32, 12), size=12, ink="ink-2", weight=600))
    for one in known:
        said = f"{one.label + ': ' if one.label else ''}{number(one.x)}, {number(one.y)}"
        spot = {"cx": at(float(one.x)), "cy": plane.at(float(one.y)), "r": 4} | _paint(STRONG.get(one.tone, "sea"))
        parts.append(_group("point", said, _part("circle", spot | {"fill-opacity": "0.75"})))
    room = (plane.right - plane.left) / len(ticks)
    parts += _named([number(one) for one in ticks], [at(one) for one in ticks], room, plane.bottom)
    height = plane.bottom + 34
    left_out = _more(len(points) - POINTS_MAX, "points")
    if x_title or left_out:
        below = _cut(" · ".join(one for one in (x_title, left_out) if one), WIDTH - 32, 12)
        parts.append(_say(plane.right, height + 4, below, size=12, ink="ink-2", anchor="end", weight=600))
        height += 18
    told = described or f"{len(known):,} points of {x_title or 'x'} and {y_title or 'y'}."
    return _sheet(title, told, WIDTH, height, *parts)


def heat_map(
    title: str,
    columns: Sequence[str],
    rows: Sequence[str],
    values: Sequence[Sequence[float | None]],
    *,
    words: Sequence[Sequence[str]] | None = None,
    scale: Scale = "amount",
    least: float | None = None,
    most: float | None = None,
    x_title: str = "",
    y_title: str = "",
    unit: str = "",
    described: str = "",
) -> bytes:
    """A grid of values by row and column, darker for more; each cell says its value, or its own `words`.

    `scale`: "amount" from nothing to much, "risk" from low to severe, "both" from negative over nothing to positive.
    `least` and `most` are the ends of the scale; without them they are the values' own.
    """
    across, down = list(columns[:40]), list(rows[:40])
    if not across or not down:
        return _empty(title, described)
    grid = [
        [_finite(values[r][c]) if r < len(values) and c < len(values[r]) else None for c in range(len(across))]
        for r in range(len(down))
    ]
    known = [value for line in grid for value in line if value is not None] or [0.0]
    low, high = (min(known) if least is None else least), (max(known) if most is None else most)
    if scale == "both":
        high = max(abs(low), abs(high))
        low = -high
    left = 16 + min(170.0, max(_breadth(one, 13) for one in down)) + 12 + (20 if y_title else 0)
    wide = max(46.0, min(120.0, (WIDTH - left - 16) / len(across)))
    is_turned = any(_breadth(one, 12) > wide - 4 for one in across) and len(across) > 4
    head = min(110.0, max(_breadth(one, 12) for one in across)) + 10 if is_turned else 26.0
    top = 10 + head + (20 if x_title else 0)
    tall = 36.0
    parts: list[Part] = []
    if x_title:
        said = _cut(x_title, wide * len(across), 12)
        parts.append(_say(left, 22, said, size=12, ink="ink-2", weight=600))
    if y_title:
        said, middle = _cut(y_title, tall * len(down), 12), top + tall * len(down) / 2
        parts.append(_say(22, middle, said, size=12, ink="ink-2", anchor="middle", weight=600, turned=True))
    for index, one in enumerate(across):
        x = left + wide * (index + 0.5)
        if is_turned:
            parts.append(_say(x + 4, top - 8, _cut(one, head - 8, 12), size=12, ink="ink-2", turned=True))
        else:
            parts.append(_say(x, top - 9, _cut(one, wide - 4, 12), size=12, ink="ink-2", anchor="middle"))
    for r, name in enumerate(down):
        y = top + tall * r
        room = left - 28 - (20 if y_title else 0)
        parts.append(_say(left - 12, y + 22, _cut(name, room, 13), anchor="end"))
        for c, other in enumerate(across):
            value = grid[r][c]
            own = words[r][c] if words and r < len(words) and c < len(words[r]) else ""
            said = own or number(value, unit)
            fill, ink = _level(value, low, high, LEVELS.get(scale, LEVELS["amount"]))
            x = left + wide * c
            parts.append(
                _group(
                    "cell",
                    f"{name}, {other}: {said}",
                    _box(x + 1, y + 1, wide - 2, tall - 2, _paint(fill), 4),
                    _say(x + wide / 2, y + 22, _cut(said, wide - 6, 12), size=12, ink=ink, anchor="middle"),
                )
            )
    bottom = top + tall * len(down)
    left_out = "; ".join(
        one for one in (_more(len(rows) - len(down), "rows"), _more(len(columns) - len(across), "columns")) if one
    )
    if left_out:
        parts.append(_say(left, bottom + 18, left_out, ink="ink-2"))
        bottom += 22
    told = described or f"{len(down)} rows by {len(across)} columns, from {number(low, unit)} to {number(high, unit)}."
    return _sheet(title, told, max(WIDTH, left + wide * len(across) + 16), bottom + 14, *parts)


def _level(value: float | None, low: float, high: float, levels: Sequence[tuple[str, str]]) -> tuple[str, str]:
    if value is None:
        return "card", "ink-3"
    share = (value - low) / (high - low) if high > low else 0.5
    return levels[min(len(levels) - 1, max(0, math.floor(share * len(levels))))]


def timeline(
    title: str,
    rows: Sequence[Span],
    *,
    unit: str = "",
    ticks: Sequence[tuple[float, str]] | None = None,
    described: str = "",
) -> bytes:
    """Spans and moments along an axis, in the order given: phases of a plan, a waterfall. `ticks` name the axis."""
    known = [one for one in rows if _finite(one.start) is not None]
    drawn = known[:ROWS_MAX]
    if not drawn:
        return _empty(title, described)
    ends = [max(float(one.start), float(one.start) if (end := _finite(one.end)) is None else end) for one in drawn]
    low, high = min(float(one.start) for one in drawn), max(ends)
    named = [(at, label) for at, label in ticks or () if _finite(at) is not None]
    if not named:
        named = [(one, number(one, unit)) for one in _ticks(low, high)]
        low, high = min(low, named[0][0]), max(high, named[-1][0])
    low, high = min([low, *(at for at, _ in named)]), max([high, *(at for at, _ in named)])
    if high == low:
        high = low + 1
    left = 16 + min(200.0, max(_breadth(one.label, 13) for one in drawn)) + 12
    at = _scale(low, high, left, WIDTH - 24)
    top, bottom = 34.0, 34.0 + len(drawn) * 28
    parts = [_rule(at(place), top - 6, at(place), bottom, "line") for place, _ in named]
    room = (WIDTH - 24 - left) / max(len(named) - 1, 1)
    parts += _named([label for _, label in named], [at(place) for place, _ in named], room, 4)
    for index, (one, end) in enumerate(zip(drawn, ends, strict=True)):
        y, x = top + index * 28, at(float(one.start))
        wide = at(end) - x
        note = one.note or (number(end - float(one.start), unit) if end > one.start else "")
        paint = _paint(SOFT.get(one.tone, "sea-soft"), EDGED.get(one.tone, "sea"))
        if one.end is None:
            spots = ((0, -8), (8, 0), (0, 8), (-8, 0))
            path = "M" + "L".join(f"{_figure(x + dx)} {_figure(y + 14 + dy)}" for dx, dy in spots) + "Z"
            inside = [_part("path", {"d": path} | paint)]
            after = x + 12
        else:
            inside = [_box(x, y + 4, max(wide, 2), 20, paint, 4)]
            after = x + max(wide, 2) + 6
        said = _cut(note, 200, 12)
        breadth = _breadth(said, 12)
        if said and breadth + 12 <= wide:
            inside.append(_say(x + 6, y + 18, said, size=12))
        elif said and after + breadth < WIDTH - 8:
            inside.append(_say(after, y + 18, said, size=12, ink="ink-2"))
        elif said and x - breadth - 8 > left:
            inside.append(_say(x - 8, y + 18, said, size=12, ink="ink-2", anchor="end"))
        inside.insert(0, _say(left - 12, y + 18, _cut(one.label, left - 28, 13), anchor="end"))
        parts.append(_group("span", f"{one.label}{': ' + note if note else ''}", *inside))
    if len(known) > ROWS_MAX:
        parts.append(_say(left, bottom + 16, _more(len(known) - ROWS_MAX, "rows"), ink="ink-2"))
        bottom += 20
    told = described or "; ".join(
        f"{one.label} from {number(float(one.start), unit)} to {number(end, unit)}"
        for one, end in zip(drawn, ends, strict=True)
    )
    return _sheet(title, told, WIDTH, bottom + 14, *parts)


@dataclass(slots=True)
class _Frame:
    name: str
    weight: float = 0.0
    below: dict[str, _Frame] = field(default_factory=dict)


def flame(title: str, stacks: Sequence[tuple[Sequence[str], float]], *, unit: str = "", described: str = "") -> bytes:
    """A flame graph from call stacks (outermost first) and their weights, the root on top, wider for more.

    Frames narrower than a pixel and deeper than 60 are counted, not drawn.
    """
    root = _Frame("all")
    for names, weight in stacks:
        share = _finite(weight)
        if share is None or share <= 0:
            continue
        root.weight += share
        at = root
        for name in names:
            at = at.below.setdefault(name, _Frame(name))
            at.weight += share
    if root.weight <= 0:
        return _empty(title, described)
    wide, tall = 960.0, 22.0
    parts: list[Part] = []
    left_out = 0
    deepest = 0
    waiting: list[tuple[_Frame, float, int]] = [(root, 0.0, 0)]
    while waiting:
        one, start, depth = waiting.pop()
        breadth = one.weight / root.weight * (wide - 32)
        if breadth < 1 or depth > 60:
            left_out += 1
            continue
        deepest = max(deepest, depth)
        percent = number(math.floor(one.weight / root.weight * 1000 + 0.5) / 10, "%")
        fill = ("sunk", "sea-soft", "brass-soft", "coral-soft")[0 if depth == 0 else 1 + sum(map(ord, one.name)) % 3]
        x, y = 16 + start, 14 + depth * tall
        inside = [_box(x, y, breadth, tall - 1, _paint(fill, "card"), 2)]
        if breadth > 30:
            inside.append(_say(x + 5, y + 15, _cut(one.name, breadth - 8, 12), size=12))
        parts.append(_group("frame", f"{one.name}: {number(one.weight, unit)}, {percent}", *inside))
        inner = start
        for child in one.below.values():
            waiting.append((child, inner, depth + 1))
            inner += child.weight / root.weight * (wide - 32)
    bottom = 14 + (deepest + 1) * tall
    if left_out:
        parts.append(_say(16, bottom + 18, _more(left_out, "narrow or deep frames"), ink="ink-2"))
        bottom += 24
    told = described or f"{number(root.weight, unit)} in all, {deepest} calls deep at most."
    return _sheet(title, told, wide, bottom + 12, *parts)


# Diagrams


def diagram(
    title: str,
    nodes: Sequence[Node],
    edges: Sequence[Edge],
    zones: Sequence[Zone] = (),
    *,
    direction: Literal["right", "down"] = "right",
    described: str = "",
) -> bytes:
    """Boxes joined by arrows, in frames: the arrows run to the right, or down, wherever they make no circle.

    Of nodes or zones with one id the first counts; an arrow from or to an unknown node is left out. At most 120 nodes
    and 400 arrows are drawn, the rest is counted. Nothing overlaps: see `layout`.
    """
    known: dict[str, Node] = {}
    for node in nodes:
        known.setdefault(node.id, node)
    drawn = {one: known[one] for one in list(known)[:NODES_MAX]}
    frames = _frames(zones)
    if not drawn and not frames:
        return _empty(title, described)
    joined = [edge for edge in edges if edge.source in drawn and edge.target in drawn]
    arrows = [edge for edge in joined if edge.source != edge.target][:EDGES_MAX]
    own = [edge for edge in joined if edge.source == edge.target][:EDGES_MAX]
    is_down = direction == "down"
    loops: dict[str, list[str]] = {}
    for edge in own:
        loops.setdefault(edge.source, []).append(f"↻ {edge.label or 'to itself'}")
    faces = {one: _face(node, loops.get(one, [])) for one, node in drawn.items()}
    words = [_cut(edge.label, 150, 12) for edge in arrows]

    def turned(along: float, across: float) -> Size:
        return Size(across, along) if is_down else Size(along, across)

    laid = lay_out(
        {one: turned(face.width, face.height) for one, face in faces.items()},
        {one: node.zone if node.zone in frames else "" for one, node in drawn.items()},
        {one: zone.inside for one, zone in frames.items()},
        [
            Link(edge.source, edge.target, turned(_breadth(said, 12) + 10, 20) if said else Size(0, 0))
            for edge, said in zip(arrows, words, strict=True)
        ],
        turned(0, 20),
    )
    width, height = (laid.size.across, laid.size.along) if is_down else laid.size
    parts: list[Part] = []
    for one, zone in _outermost_first(frames):
        x, y, wide, tall = _upright(laid.frames[one], is_down)
        frame = _paint(SOFT.get(zone.tone, "sunk"), EDGED.get(zone.tone, "line-strong"), 1.5)
        frame |= {"stroke-dasharray": "6 4", "fill-opacity": "0.45"}
        said = _cut(zone.label, wide - 24, 12)
        name = _say(x + 12, y + 21, said, size=12, ink=WORDS.get(zone.tone, "ink-2"), weight=600)
        parts.append(_group("zone", zone.label, _box(x, y, wide, tall, frame, 10), name))
    for edge, route in zip(arrows, laid.routes, strict=True):
        said = f"{drawn[edge.source].label} → {drawn[edge.target].label}{': ' + edge.label if edge.label else ''}"
        parts.append(_group("edge", said, *_arrow(edge, [_flat(spot, is_down) for spot in route], is_down)))
    for edge in own:
        parts.append(_group("edge", f"{drawn[edge.source].label} → itself{': ' + edge.label if edge.label else ''}"))
    for edge, said, label in zip(arrows, words, laid.labels, strict=True):
        if label is None:
            continue
        x, y = _flat(label, is_down)
        breadth = _breadth(said, 12) + 6
        back = _box(x - breadth / 2, y - 9, breadth, 18, _paint("card"), 4)
        text = _say(x, y + 4, said, size=12, ink=WORDS.get(edge.tone, "ink-2"), anchor="middle")
        parts.append(_group("label", edge.label, back, text))
    for one, node in drawn.items():
        x, y, _, _ = _upright(laid.boxes[one], is_down)
        parts.append(_drawn(node, faces[one], x, y))
    left_out = "; ".join(
        said
        for said in (
            _more(len(known) - len(drawn), "boxes"),
            _more(len(joined) - len(arrows) - len(own), "arrows"),
        )
        if said
    )
    if left_out:
        parts.append(_say(16, height + 8, left_out, ink="ink-2"))
        height += 24
    told = described or f"{len(drawn)} boxes and {len(joined)} arrows: " + "; ".join(
        f"{drawn[edge.source].label} to {drawn[edge.target].label}{' (' + edge.label + ')' if edge.label else ''}"
        for edge in joined[:60]
    )
    return _sheet(title, told, max(width, 240), height, *parts)


TURN = 10.0


class _Face(NamedTuple):
    """What is written on a node, and the room it takes."""

    kind: str
    names: list[str]
    lines: list[str]
    width: float
    height: float


def _face(node: Node, loops: Sequence[str]) -> _Face:
    is_table = node.shape == "table"
    most = 300.0 if is_table else 190.0
    kind = _cut(node.kind, most, 11)
    names = _folded(node.label or node.id, most, 14, 1 if is_table else 2)
    given = [*node.lines, *loops]
    lines_max = 40 if is_table else 8
    lines = [_cut(line, most, 12) for line in given[:lines_max]]
    if len(given) > lines_max:
        lines.append(f"and {len(given) - lines_max} more")
    wide = max(
        [_breadth(kind, 11), *(_breadth(name, 14) * BOLD for name in names), *(_breadth(line, 12) for line in lines)]
    )
    tall = 20 + (14 if kind else 0) + 18 * len(names) + 16 * len(lines) + (8 if is_table and lines else 0)
    return _Face(kind, names, lines, max(wide + 28, 72), tall + (8 if node.shape == "store" else 0))


def _drawn(node: Node, face: _Face, x: float, y: float) -> Part:
    tone = node.tone
    paint = _paint(SOFT.get(tone, "raised"), EDGED.get(tone, "line-strong"), 1.5)
    width, height = face.width, face.height
    inside: list[Part] = []
    at = y + 10
    if node.shape == "store":
        ends = f"{_figure(width / 2)} 5 0 0 0"
        left, right, over, under = _figure(x), _figure(x + width), _figure(y + 5), _figure(y + height - 5)
        side = f"M{left} {over}V{under}A{ends} {right} {under}V{over}A{ends} {left} {over}Z"
        inside.append(_part("path", {"d": side} | paint))
        lid = f"M{left} {over}A{ends} {right} {over}"
        inside.append(_part("path", {"d": lid} | _paint("", EDGED.get(tone, "line-strong"), 1.5)))
        at += 6
    else:
        rounding = {"square": 0.0, "pill": min(height / 2, 28), "table": 6.0}.get(node.shape, 8.0)
        inside.append(_box(x, y, width, height, paint, rounding))
    if node.shape == "square":
        inside.append(_box(x + 3, y + 3, width - 6, height - 6, _paint("", EDGED.get(tone, "line-strong"))))
    is_table = node.shape == "table"
    anchor, middle = ("start", x + 14) if is_table else ("middle", x + width / 2)
    if face.kind:
        kind = _say(middle, at + 9, face.kind, size=11, ink=WORDS.get(tone, "ink-3"), anchor=anchor)
        inside.append(kind)
        at += 14
    for name in face.names:
        inside.append(_say(middle, at + 13, name, size=14, anchor=anchor, weight=600))
        at += 18
    if is_table and face.lines:
        inside.append(_rule(x, at + 5, x + width, at + 5, EDGED.get(tone, "line-strong")))
        at += 8
    for line in face.lines:
        inside.append(_say(middle, at + 12, line, size=12, ink="ink-2", anchor=anchor))
        at += 16
    whole = ": ".join(one for one in (node.kind, node.label or node.id) if one)
    said = "; ".join([whole, *node.lines])
    return _group("node", said, *inside)


def _frames(zones: Sequence[Zone]) -> dict[str, Zone]:
    """The zones by their ids, each inside one that is known and not, however far, inside itself."""
    frames: dict[str, Zone] = {}
    for zone in zones:
        if zone.id:
            frames.setdefault(zone.id, zone)
    for one, zone in list(frames.items()):
        around, seen = zone.inside, {one}
        while around in frames and around not in seen:
            seen.add(around)
            around = frames[around].inside
        if zone.inside not in frames or around in seen:
            frames[one] = Zone(zone.id, zone.label, "", zone.tone)
    return frames


def _outermost_first(frames: Mapping[str, Zone]) -> list[tuple[str, Zone]]:
    def depth(one: str) -> int:
        return 1 + depth(frames[one].inside) if frames[one].inside else 0

    return sorted(frames.items(), key=lambda pair: depth(pair[0]))


def _flat(spot: Spot, is_down: bool) -> tuple[float, float]:
    return (spot.across, spot.along) if is_down else (spot.along, spot.across)


def _upright(rect: Rect, is_down: bool) -> tuple[float, float, float, float]:
    if is_down:
        return rect.across, rect.along, rect.wide, rect.long
    return rect.along, rect.across, rect.long, rect.wide


def _arrow(edge: Edge, route: Sequence[tuple[float, float]], is_down: bool) -> list[Part]:
    """A line through the bends, smooth where it changes its course, with its head."""
    ink = "ink-3" if edge.tone in ("plain", "quiet") else EDGED.get(edge.tone, "ink-3")
    path = f"M{_figure(route[0][0])} {_figure(route[0][1])}"
    for (x, y), (right, low) in itertools.pairwise(route):
        if abs(x - right) + abs(y - low) < 0.05:
            continue
        if abs(y - low) < 0.05 or abs(x - right) < 0.05:
            path += f"L{_figure(right)} {_figure(low)}"
        elif is_down:
            half = (y + low) / 2
            path += f"C{_figure(x)} {_figure(half)} {_figure(right)} {_figure(half)} {_figure(right)} {_figure(low)}"
        else:
            half = (x + right) / 2
            path += f"C{_figure(half)} {_figure(y)} {_figure(half)} {_figure(low)} {_figure(right)} {_figure(low)}"
    stroke = {"d": path} | _paint("", ink, 1.5)
    if edge.is_dashed:
        stroke["stroke-dasharray"] = "5 4"
    x, y = route[-1]
    before = next((spot for spot in reversed(route) if abs(spot[0] - x) + abs(spot[1] - y) > 0.5), route[0])
    if is_down:
        back = -TURN if before[1] <= y else TURN
        corners = ((x - 4.5, y + back), (x + 4.5, y + back))
    else:
        back = -TURN if before[0] <= x else TURN
        corners = ((x + back, y - 4.5), (x + back, y + 4.5))
    head = f"M{_figure(x)} {_figure(y)}" + "".join(f"L{_figure(a)} {_figure(b)}" for a, b in corners) + "Z"
    return [_part("path", stroke), _part("path", {"d": head} | _paint(ink))]
