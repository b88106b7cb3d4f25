"""Where the boxes of a diagram stand and where its arrows run: in layers, frames within frames. Pure and deterministic.

The method is Sugiyama's (K. Sugiyama, S. Tagawa, M. Toda, "Methods for visual understanding of hierarchical system
structures", 1981): cycles are opened, boxes ranked, long arrows given a place in every layer they pass, layers ordered
by barycentres, places settled by least squares. A frame is laid out by itself, with a port at its edge for each arrow
that leaves it, and is then one box of what holds it; so no two boxes, labels or foreign frames ever overlap, and an
arrow passes between boxes.

Boxes lie "along" the arrows and "across" them; who draws decides which is left to right.
`static/holdfast/studio/drawing.js` says the same in JavaScript; a test holds both together.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

OUTSIDE = ""
PAD = 16.0
GAP, GAP_LABEL, GAP_BEND = 22.0, 8.0, 12.0
STEP = 26.0
SWEEPS = 12


class Size(NamedTuple):
    along: float
    across: float


class Rect(NamedTuple):
    along: float
    across: float
    long: float
    wide: float


class Spot(NamedTuple):
    along: float
    across: float


@dataclass(slots=True)
class Link:
    """An arrow between two boxes, by their ids; `size` is its label's, nothing without one."""

    tail: str
    head: str
    size: Size
    # Whether it runs against the layers; then its tail and head are exchanged until it is drawn.
    is_turned: bool = False


class Laid(NamedTuple):
    """The boxes and frames by their ids, and each link's bends from tail to head with the middle of its label."""

    boxes: dict[str, Rect]
    frames: dict[str, Rect]
    routes: list[list[Spot]]
    labels: list[Spot | None]
    size: Size


@dataclass(slots=True, eq=False)
class _Vertex:
    """Something that has a place in a layer: a box or frame (`item`), or a place of a link."""

    layer: int
    size: Size
    item: str = ""
    link: int = -1
    is_label: bool = False
    place: int = 0
    middle: float = 0.0
    before: list[tuple[_Vertex, int]] = field(default_factory=list)
    after: list[tuple[_Vertex, int]] = field(default_factory=list)


class _Inside(NamedTuple):
    """What a frame looks like from within, from its own corner."""

    size: Size
    items: dict[str, Spot]
    # For each link that passes through: its bends, from its left end to its right.
    routes: dict[int, list[Spot]]
    labels: dict[int, Spot]


def lay_out(
    boxes: Mapping[str, Size], inside: Mapping[str, str], frames: Mapping[str, str], links: Sequence[Link], head: Size
) -> Laid:
    """Everything placed. `inside` names the frame of a box, `frames` the frame of a frame, "" for none.

    `head` is the room that a frame's own name takes along and across. A link ends at two different boxes.
    """
    return _Layout(boxes, inside, frames, links, head).laid()


class _Layout:
    def __init__(
        self,
        boxes: Mapping[str, Size],
        inside: Mapping[str, str],
        frames: Mapping[str, str],
        links: Sequence[Link],
        head: Size,
    ) -> None:
        self.boxes, self.links, self.head = boxes, links, head
        self.held = {f"z{one}": f"z{other}" if other else "" for one, other in frames.items()}
        self.held |= {f"n{one}": f"z{other}" if other else "" for one, other in inside.items()}
        self.items: dict[str, list[str]] = {OUTSIDE: [], **{f"z{one}": [] for one in frames}}
        for one in [*(f"n{box}" for box in boxes), *(f"z{frame}" for frame in frames)]:
            self._enter(one)
        self.paths = [(self._path(f"n{link.tail}"), self._path(f"n{link.head}")) for link in links]
        # Where each link is told which way it runs: the innermost frame that holds both its ends.
        self.shared = [next(one for one in tail[1:] if one in head[1:]) for tail, head in self.paths]
        self.made: dict[str, _Inside] = {}

    def _enter(self, item: str) -> None:
        """The item and the frames around it are held by theirs, in the order of their first box."""
        holder = self.held[item]
        if item not in self.items[holder]:
            self.items[holder].append(item)
            if holder != OUTSIDE:
                self._enter(holder)

    def _path(self, item: str) -> list[str]:
        """The item, the frame that holds it, the frame that holds that, and so on to the outside."""
        path = [item]
        while path[-1] != OUTSIDE:
            path.append(self.held[path[-1]])
        return path

    def laid(self) -> Laid:
        self._arrange(OUTSIDE)
        boxes: dict[str, Rect] = {}
        frames: dict[str, Rect] = {}
        corners = {OUTSIDE: Spot(0.0, 0.0)}
        waiting = [OUTSIDE]
        while waiting:
            holder = waiting.pop()
            corner, made = corners[holder], self.made[holder]
            for item in self.items[holder]:
                spot = made.items[item]
                at = Spot(corner.along + spot.along, corner.across + spot.across)
                size = self._size(item)
                rect = Rect(at.along, at.across, size.along, size.across)
                if item[0] == "n":
                    boxes[item[1:]] = rect
                else:
                    frames[item[1:]] = rect
                    corners[item] = at
                    waiting.append(item)
        routes: list[list[Spot]] = []
        labels: list[Spot | None] = []
        for index, link in enumerate(self.links):
            tail, head = self.paths[index] if not link.is_turned else self.paths[index][::-1]
            shared = self.shared[index]
            out = tail[1 : tail.index(shared)]
            back = head[1 : head.index(shared)][::-1]
            route = [
                Spot(corners[holder].along + bend.along, corners[holder].across + bend.across)
                for holder in [*out, shared, *back]
                for bend in self.made[holder].routes[index]
            ]
            routes.append(route[::-1] if link.is_turned else route)
            label = self.made[shared].labels.get(index)
            corner = corners[shared]
            labels.append(Spot(corner.along + label.along, corner.across + label.across) if label else None)
        return Laid(boxes, frames, routes, labels, self.made[OUTSIDE].size)

    def _size(self, item: str) -> Size:
        return self.boxes[item[1:]] if item[0] == "n" else self.made[item].size

    def _within(self, holder: str, path: Sequence[str]) -> str | None:
        """What of the holder's items has the path's end in it; None where it is elsewhere."""
        return path[path.index(holder) - 1] if holder in path[1:] else None

    def _arrange(self, holder: str) -> None:
        """The holder's items have places, those of the frames in it first."""
        items = self.items[holder]
        ends: list[tuple[int, str | None, str | None]] = []
        for index, (tail, head) in enumerate(self.paths):
            one, other = self._within(holder, tail), self._within(holder, head)
            if (one is not None or other is not None) and one != other:
                ends.append((index, one, other))
        self._turn(items, [(index, one, other) for index, one, other in ends if one is not None and other is not None])
        ends = [
            (index, other, one) if self.links[index].is_turned else (index, one, other) for index, one, other in ends
        ]
        layers = _ranked(items, [(one, other) for _, one, other in ends if one is not None and other is not None])
        for item in items:
            if item[0] == "z":
                self._arrange(item)
        linked = {one for _, *pair in ends for one in pair if one is not None}
        rows = self._rows(items, ends, layers, linked)
        _order(rows)
        _settle(rows, self._offset)
        self.made[holder] = self._placed(holder, rows, [one for one in items if one not in linked])

    def _turn(self, items: Sequence[str], ends: Sequence[tuple[int, str, str]]) -> None:
        """Links that close a cycle are turned, so that the rest has none."""
        out: dict[str, list[tuple[int, str]]] = {item: [] for item in items}
        for index, one, other in ends:
            out[one].append((index, other))
        targets = {other for _, _, other in ends}
        state: dict[str, int] = {}
        for first in [*(item for item in items if item not in targets), *items]:
            if first in state:
                continue
            state[first] = 1
            trail: list[tuple[str, int]] = [(first, 0)]
            while trail:
                item, done = trail.pop()
                if done == len(out[item]):
                    state[item] = 2
                    continue
                trail.append((item, done + 1))
                index, other = out[item][done]
                if state.get(other) == 1:
                    self.links[index].is_turned = True
                elif other not in state:
                    state[other] = 1
                    trail.append((other, 0))

    def _rows(
        self,
        items: Sequence[str],
        ends: Sequence[tuple[int, str | None, str | None]],
        layers: Mapping[str, int],
        linked: set[str],
    ) -> list[list[_Vertex]]:
        """The layers, first to last: ports, then boxes and what passes in turns, then ports."""
        last = 2 * max((layers[item] for item in linked), default=0)
        rows: list[list[_Vertex]] = [[] for _ in range(last + 3)]
        of: dict[str, _Vertex] = {}
        for item in items:
            if item in linked:
                of[item] = _Vertex(2 * layers[item] + 1, self._size(item), item)
                rows[of[item].layer].append(of[item])
        for index, one, other in ends:
            size = self.links[index].size
            start = of[one].layer if one is not None else -1
            end = of[other].layer if other is not None else last + 3
            middle = -1
            if one is not None and other is not None and size.along > 0:
                middle = (start + end) // 2
                middle -= middle % 2  # labels stand in the layers between boxes
            at = of[one] if one is not None else None
            for layer in range(start + 1, end):
                is_label = layer == middle
                bend = _Vertex(layer, size if is_label else Size(0.0, 0.0), link=index, is_label=is_label)
                rows[layer].append(bend)
                if at is not None:
                    at.after.append((bend, index))
                    bend.before.append((at, index))
                at = bend
            if other is not None and at is not None:
                at.after.append((of[other], index))
                of[other].before.append((at, index))
        return rows

    def _offset(self, vertex: _Vertex, link: int) -> float:
        """How far from a vertex' middle a link meets it, while places are still sought."""
        if vertex.item[:1] != "z":
            return 0.0
        inside = self.made[vertex.item]
        bends = inside.routes[link]
        tail, head = self.paths[link]
        bend = bends[-1] if vertex.item in (head if self.links[link].is_turned else tail) else bends[0]
        return bend.across - inside.size.across / 2

    def _placed(self, holder: str, rows: Sequence[Sequence[_Vertex]], alone: Sequence[str]) -> _Inside:
        """Everything in the holder with its place from the holder's corner."""
        framed = holder != OUTSIDE
        start = Spot(PAD + self.head.along, PAD + self.head.across) if framed else Spot(PAD, PAD)
        filled = [vertex for row in rows for vertex in row]
        low = min((vertex.middle - vertex.size.across / 2 for vertex in filled), default=0.0)
        high = max((vertex.middle + vertex.size.across / 2 for vertex in filled), default=0.0)
        shift = start.across - low
        begins: list[float] = []
        longs: list[float] = []
        at = start.along
        for number, row in enumerate(rows):
            long = max((vertex.size.along for vertex in row), default=0.0)
            is_edge = number in (0, len(rows) - 1)
            if number > 1 and not is_edge:
                at += STEP
            elif (number == 1 and rows[0]) or (is_edge and number and row):
                at += PAD
            begins.append(at)
            longs.append(long)
            at += long
        end = at if filled else start.along
        items: dict[str, Spot] = {}
        for row in rows:
            for vertex in row:
                if vertex.item:
                    along = begins[vertex.layer] + (longs[vertex.layer] - vertex.size.along) / 2
                    items[vertex.item] = Spot(along, vertex.middle - vertex.size.across / 2 + shift)
        below = start.across + (high - low if filled else 0.0)
        packed = _packed([(one, self._size(one)) for one in alone], end - start.along)
        gap = GAP if packed and filled else 0.0
        for one, spot in packed.items():
            items[one] = Spot(start.along + spot.along, below + gap + spot.across)
        far = max([end, *(items[one].along + self._size(one).along for one in packed)])
        deep = max([below, *(items[one].across + self._size(one).across for one in packed)])
        least = 120.0 if framed else 0.0
        size = Size(max(far + PAD, least), max(deep + PAD, start.across + PAD))
        routes: dict[int, list[Spot]] = {}
        labels: dict[int, Spot] = {}
        bends: dict[int, list[_Vertex]] = {}
        for row in rows:
            for vertex in row:
                if vertex.link >= 0:
                    bends.setdefault(vertex.link, []).append(vertex)
        for link, vertices in bends.items():
            route: list[Spot] = []
            first, last = vertices[0], vertices[-1]
            if first.before:
                route += self._met(first.before[0][0], link, True, items, begins, longs, first.middle + shift)
            else:
                route.append(Spot(0.0, first.middle + shift))
            for vertex in vertices:
                route.append(Spot(begins[vertex.layer], vertex.middle + shift))
                route.append(Spot(begins[vertex.layer] + longs[vertex.layer], vertex.middle + shift))
                if vertex.is_label:
                    labels[link] = Spot(begins[vertex.layer] + longs[vertex.layer] / 2, vertex.middle + shift)
            if last.after:
                route += self._met(last.after[0][0], link, False, items, begins, longs, last.middle + shift)
            else:
                route.append(Spot(size.along, last.middle + shift))
            routes[link] = route
        return _Inside(size, items, routes, labels)

    def _met(
        self,
        vertex: _Vertex,
        link: int,
        leaves: bool,
        items: Mapping[str, Spot],
        begins: Sequence[float],
        longs: Sequence[float],
        towards: float,
    ) -> list[Spot]:
        """Where a link leaves or reaches an item: on its edge, and at the edge of its layer. Links share it evenly."""
        spot, size = items[vertex.item], vertex.size
        if vertex.item[0] == "z":
            across = spot.across + size.across / 2 + self._offset(vertex, link)
        else:
            side = vertex.after if leaves else vertex.before
            places = sorted(range(len(side)), key=lambda place: (side[place][0].middle, place))
            share = next(number for number, place in enumerate(places) if side[place][1] == link)
            across = spot.across + size.across * (share + 1) / (len(side) + 1)
            if len(side) == 1 and spot.across + 10 < towards < spot.across + size.across - 10:
                across = towards  # a straight line
        if leaves:
            edge = begins[vertex.layer] + longs[vertex.layer]
            return [Spot(spot.along + size.along, across), Spot(edge, across)]
        return [Spot(begins[vertex.layer], across), Spot(spot.along, across)]


def _ranked(items: Sequence[str], ends: Sequence[tuple[str, str]]) -> dict[str, int]:
    """A layer for each item: behind everything that points to it, and sources close to what they point to."""
    out: dict[str, list[str]] = {item: [] for item in items}
    count = dict.fromkeys(items, 0)
    for one, other in ends:
        out[one].append(other)
        count[other] += 1
    sources = {item for item in items if count[item] == 0}
    layers = dict.fromkeys(items, 0)
    order = [item for item in items if count[item] == 0]
    for item in order:  # grows while it is read
        for other in out[item]:
            layers[other] = max(layers[other], layers[item] + 1)
            count[other] -= 1
            if count[other] == 0:
                order.append(other)
    for item in reversed(order):
        if item in sources and out[item]:
            layers[item] = min(layers[other] for other in out[item]) - 1
    return layers


def _order(rows: Sequence[list[_Vertex]]) -> None:
    """The layers' orders cross few links: the best of a fixed number of sweeps."""
    for row in rows:
        for place, vertex in enumerate(row):
            vertex.place = place
    best, least = [list(row) for row in rows], _crossings(rows)
    for sweep in range(SWEEPS):
        if least == 0:
            break
        forward = sweep % 2 == 0
        for row in rows if forward else reversed(rows):
            keys: dict[int, float] = {}
            for vertex in row:
                near = vertex.before if forward else vertex.after
                keys[id(vertex)] = sum(one.place for one, _ in near) / len(near) if near else float(vertex.place)
            row.sort(key=lambda vertex: (keys[id(vertex)], vertex.place))
            for place, vertex in enumerate(row):
                vertex.place = place
        now = _crossings(rows)
        if now < least:
            best, least = [list(row) for row in rows], now
    for row, kept in zip(rows, best, strict=True):
        row[:] = kept
        for place, vertex in enumerate(row):
            vertex.place = place


def _crossings(rows: Sequence[Sequence[_Vertex]]) -> int:
    total = 0
    for row in rows:
        seen: list[int] = []
        for vertex in row:
            targets = sorted(other.place for other, _ in vertex.after)
            for target in targets:
                total += len(seen) - bisect_right(seen, target)
            for target in targets:
                seen.insert(bisect_right(seen, target), target)
    return total


def _settle(rows: Sequence[Sequence[_Vertex]], offset: Callable[[_Vertex, int], float]) -> None:
    """Every vertex has its middle: near what it is linked to, in its order, and clear of its neighbours."""
    for row in rows:
        at = 0.0
        for place, vertex in enumerate(row):
            if place:
                at += _apart(row[place - 1], vertex)
            vertex.middle = at
    for sweep in range(SWEEPS):
        side = ("before", "after", "both")[sweep % 3]
        for row in reversed(rows) if side == "after" else rows:
            wished = []
            for vertex in row:
                near = (vertex.before if side != "after" else []) + (vertex.after if side != "before" else [])
                total = 0.0
                for other, link in near:
                    total += other.middle + offset(other, link) - offset(vertex, link)
                wished.append(total / len(near) if near else vertex.middle)
            _nearest(row, wished)


def _nearest(row: Sequence[_Vertex], wished: Sequence[float]) -> None:
    """The middles nearest to the wished ones that keep the order and the distances (pool adjacent violators)."""
    shifts: list[float] = []
    pools: list[tuple[float, float, int]] = []
    shift = 0.0
    for place, vertex in enumerate(row):
        if place:
            shift += _apart(row[place - 1], vertex)
        shifts.append(shift)
        weight = 1.0 if vertex.item else 4.0 if vertex.before and vertex.after else 2.0
        total, heavy, count = (wished[place] - shift) * weight, weight, 1
        while pools and pools[-1][0] / pools[-1][1] > total / heavy:
            one, other, more = pools.pop()
            total, heavy, count = one + total, other + heavy, more + count
        pools.append((total, heavy, count))
    place = 0
    for total, heavy, count in pools:
        for _ in range(count):
            row[place].middle = total / heavy + shifts[place]
            place += 1


def _apart(one: _Vertex, other: _Vertex) -> float:
    """The least distance of two neighbours' middles."""
    gap = GAP if one.item and other.item else GAP_LABEL if one.is_label and other.is_label else GAP_BEND
    return (one.size.across + other.size.across) / 2 + gap


def _packed(sizes: Sequence[tuple[str, Size]], long: float) -> dict[str, Spot]:
    """Boxes side by side in rows of about that length, or of a length that makes the whole pleasantly wide."""
    area = sum((size.along + GAP) * (size.across + GAP) for _, size in sizes)
    most = max([long, math.sqrt(area) * 1.3, *(size.along for _, size in sizes)])
    spots: dict[str, Spot] = {}
    along, across, deep = 0.0, 0.0, 0.0
    for one, size in sizes:
        if along and along + size.along > most:
            along, across, deep = 0.0, across + deep + GAP, 0.0
        spots[one] = Spot(along, across)
        along += size.along + GAP
        deep = max(deep, size.across)
    return spots
