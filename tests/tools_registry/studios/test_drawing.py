"""Pictures are whole, safe and the same each time, whatever they are drawn from."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools_registry.studios import drawing
from tools_registry.studios.drawing import Bar, Edge, Node, Zone, number
from tools_registry.studios.layout import Link, Rect, Size, lay_out

from .drawing_cases import CASES, HOSTILE, SHOP, draw, tree

SVG = "{http://www.w3.org/2000/svg}"


def drawn(name: str) -> bytes:
    function, positional, named = CASES[name]
    return draw(function, name, *positional, **named)


def marks(picture: bytes) -> Counter[str]:
    """How many marks of each kind a picture has."""
    root = ET.fromstring(picture)
    return Counter(group.get("class", "") for group in root.iter(f"{SVG}g") if group.get("class"))


@pytest.mark.parametrize("name", CASES)
def test_a_picture_is_whole_and_holds_nothing_but_shapes_and_words(name: str) -> None:
    picture = drawn(name)
    assert picture == drawn(name)
    root = ET.fromstring(picture)
    allowed = {"svg", "title", "desc", "style", "g", "rect", "text", "line", "path", "circle"}
    assert {part.tag.removeprefix(SVG) for part in root.iter()} <= allowed
    for part in root.iter():
        assert not {attribute for attribute in part.attrib if attribute.startswith("on") or attribute == "style"}
        assert "href" not in part.attrib
        assert not any("url(" in value for value in part.attrib.values())
    assert root.findtext(f"{SVG}title") == name
    assert root.findtext(f"{SVG}desc")
    assert "prefers-color-scheme:dark" in (root.findtext(f"{SVG}style") or "")


@pytest.mark.parametrize("name", CASES)
def test_nothing_lies_outside_of_a_picture(name: str) -> None:
    root = ET.fromstring(drawn(name))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for rect in root.iter(f"{SVG}rect"):
        x, y, wide, tall = (float(rect.attrib[of]) for of in ("x", "y", "width", "height"))
        assert x >= -0.1
        assert y >= -0.1
        assert x + wide <= width + 0.1
        assert y + tall <= height + 0.1
    for said in root.iter(f"{SVG}text"):
        if "transform" in said.attrib:
            continue
        breadth = drawing._breadth(said.text or "", float(said.attrib["font-size"]))
        before = {"middle": breadth / 2, "end": breadth}.get(said.get("text-anchor", ""), 0.0)
        left = float(said.attrib["x"]) - before
        assert left >= -1, said.text
        assert left + breadth <= width + 1, said.text


def test_the_marks_are_those_of_the_input() -> None:
    assert marks(drawn("bars")) == {"bar": 6}
    assert marks(drawn("stacked")) == {"key": 3, "bar": 2, "piece": 4}
    assert marks(drawn("donut")) == {"slice": 8, "key": 8}
    assert marks(drawn("columns")) == {"bar": 12}
    assert marks(drawn("lines")) == {"key": 4, "series": 4}
    assert marks(drawn("scatter")) == {"point": 60}
    assert marks(drawn("risk")) == {"cell": 25}
    assert marks(drawn("timeline")) == {"span": 4}
    assert marks(drawn("shop")) == {"node": 9, "edge": 11, "zone": 7, "label": 8}


def test_hostile_words_stay_words() -> None:
    picture = drawing.bars(HOSTILE, [Bar(HOSTILE, 1)]).decode()
    assert "<script" not in picture
    assert "\x00" not in picture
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;" in picture


def test_long_words_are_cut_and_whole_in_the_marks_title() -> None:
    root = ET.fromstring(drawing.bars("Long", [Bar("word " * 40, 1)]))
    assert (root.findtext(f"{SVG}g/{SVG}text") or "").endswith("…")
    assert (root.findtext(f"{SVG}g/{SVG}title") or "").startswith("word " * 40)


@pytest.mark.parametrize("label", ["customer_email", "is_gift", "Ordered on", "αβγ delta"])
def test_the_longest_of_short_labels_is_whole(label: str) -> None:
    root = ET.fromstring(drawing.bars("Short", [Bar(label, 1), Bar("x", 2)]))
    assert root.findtext(f"{SVG}g/{SVG}text") == label


def test_what_is_too_much_is_counted_in_words() -> None:
    assert b"and 15 more rows not drawn" in drawn("many bars")
    assert b"and 10 more boxes not drawn" in drawn("too many boxes")
    assert b"and 4 more lines not drawn" in drawn("too many lines")
    assert b"and 10 more rows not drawn; and 10 more columns not drawn" in drawn("large grid")


def test_nothing_to_draw_is_said() -> None:
    for name in (
        "no bars",
        "nothing stacked",
        "no donut",
        "no lines",
        "no grid",
        "no timeline",
        "no flame",
        "no boxes",
    ):
        assert b"There is nothing to draw yet." in drawn(name)


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0, "", "0"),
        (1234567, "", "1,234,567"),
        (1234.5, "£", "£1,234.50"),
        (12345.5, "£", "£12,346"),
        (0.0208, "$", "$0.02"),
        (0.0004, "$", "$0.0004"),
        (35.5, "$", "$35.50"),
        (75, "$", "$75"),
        (-12.345, "£", "−£12.35"),
        (123.45, "ms", "123.5 ms"),
        (12.3, "%", "12.3%"),
        (0.5, "", "0.5"),
        (0.0123, "", "0.0123"),
        (0.00001234, "s", "0.0000123 s"),
        (1.5e9, "", "1.5 bn"),
        (2.25e13, "£", "£22.5 tn"),
        (3e18, "", "3 × 10^18"),
        (None, "£", "–"),
        (float("nan"), "", "–"),
        (10**400, "", "–"),
    ],
)
def test_figures_are_written_for_people(value: float | None, unit: str, said: str) -> None:
    assert number(value, unit) == said


# Diagrams


def apart(one: Rect, other: Rect) -> bool:
    return (
        one.along + one.long <= other.along + 0.01
        or other.along + other.long <= one.along + 0.01
        or one.across + one.wide <= other.across + 0.01
        or other.across + other.wide <= one.across + 0.01
    )


def boxes_of(picture: bytes) -> list[Rect]:
    root = ET.fromstring(picture)
    found = []
    for group in root.iter(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        if group.get("class") in ("node", "label") and rect is not None:
            found.append(Rect(*(float(rect.attrib[of]) for of in ("x", "y", "width", "height"))))
    return found


@pytest.mark.parametrize("direction", ["right", "down"])
def test_sixty_boxes_and_their_labels_do_not_overlap(direction: str) -> None:
    nodes, edges = tree(60)
    picture = draw("diagram", "Sixty", nodes, edges, [], direction=direction)
    boxes = boxes_of(picture)
    assert len(boxes) == 60 + sum(1 for edge in edges if edge["label"] and edge["source"] != edge["target"])
    for one, other in itertools.combinations(boxes, 2):
        assert apart(one, other), (one, other)


def test_a_zone_holds_its_own_nodes_and_no_others() -> None:
    nodes, edges, zones = SHOP
    inside = {node["id"]: node.get("zone", "") for node in nodes}
    frames = {zone["id"]: zone.get("inside", "") if zone["id"] != "loop" else "" for zone in zones}
    links = [
        Link(edge["source"], edge["target"], Size(40, 20))
        for edge in edges
        if edge["source"] != edge["target"] and edge["target"] in inside
    ]
    laid = lay_out({one: Size(100, 50) for one in inside}, inside, frames, links, Size(0, 20))

    def around(one: str) -> set[str]:
        return {one} | around(frames[one]) if one else set()

    for node, box in laid.boxes.items():
        for zone, frame in laid.frames.items():
            is_held = zone in around(inside[node])
            held = (
                frame.along <= box.along
                and box.along + box.long <= frame.along + frame.long
                and frame.across <= box.across
                and box.across + box.wide <= frame.across + frame.wide
            )
            assert held == is_held
            assert is_held or apart(frame, box)


def test_an_arrow_ends_at_the_edges_of_its_boxes() -> None:
    boxes = {"a": Size(100, 40), "b": Size(80, 60), "c": Size(90, 40)}
    links = [Link("a", "b", Size(30, 20)), Link("b", "c", Size(0, 0)), Link("c", "a", Size(0, 0))]
    laid = lay_out(boxes, dict.fromkeys(boxes, ""), {}, links, Size(0, 20))
    for link, route in zip(links, laid.routes, strict=True):
        for name, end in ((link.tail, route[0]), (link.head, route[-1])):
            box = laid.boxes[name]
            assert end.along in (pytest.approx(box.along), pytest.approx(box.along + box.long))
            assert box.across <= end.across <= box.across + box.wide
    assert [link.is_turned for link in links] == [False, False, True]


def test_arrows_pass_between_boxes() -> None:
    nodes, edges = tree(40)
    sizes = {node["id"]: Size(120, 44) for node in nodes}
    links = [Link(edge["source"], edge["target"], Size(0, 0)) for edge in edges if edge["source"] != edge["target"]]
    laid = lay_out(sizes, dict.fromkeys(sizes, ""), {}, links, Size(0, 20))
    for link, route in zip(links, laid.routes, strict=True):
        for start, end in itertools.pairwise(route):
            if abs(start.across - end.across) > 0.01:
                continue  # between two layers, where no box stands
            for name, box in laid.boxes.items():
                if name in (link.tail, link.head):
                    continue
                crosses = box.across < start.across < box.across + box.wide
                low, high = sorted((start.along, end.along))
                assert not (crosses and low < box.along + box.long and high > box.along), (link, name)


names = st.sampled_from([f"n{one}" for one in range(8)])
zone_names = st.sampled_from(["", "z0", "z1", "z2", "z3", "gone"])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(names, st.text(max_size=30), zone_names), max_size=12),
    st.lists(st.tuples(names, names, st.text(max_size=12)), max_size=20),
    st.lists(st.tuples(zone_names, zone_names), max_size=6),
    st.sampled_from(["right", "down"]),
)
def test_any_diagram_is_drawn(nodes: list, edges: list, zones: list, direction: str) -> None:
    picture = drawing.diagram(
        "Any",
        [Node(one, label, zone=zone) for one, label, zone in nodes],
        [Edge(*edge) for edge in edges],
        [Zone(one, one, inside) for one, inside in zones],
        direction=direction,  # type: ignore[arg-type]
    )
    ET.fromstring(picture)
    for one, other in itertools.combinations(boxes_of(picture), 2):
        assert apart(one, other)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=40), st.one_of(st.none(), st.floats()), st.text(max_size=10)), max_size=12))
def test_any_rows_are_drawn(rows: list) -> None:
    given_rows = [Bar(label, value, note=note) for label, value, note in rows]
    for draw_rows in (drawing.bars, drawing.columns, drawing.donut):
        ET.fromstring(draw_rows("Any", given_rows))
