"""A tool's form: what is drawn of a draft reads back as that draft, with and without scripts."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from django.http import QueryDict
from django.template.loader import render_to_string
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tools_registry import blocks, drafting, fields, registry, shelf

FIELDS: tuple[fields.Field, ...] = (
    fields.Text(name="title", title="Title", is_required=True, length_max=50, is_short=True),
    fields.Text(name="notes", title="Notes", length_max=500),
    fields.Whole(name="days", title="Days", min=0, max=10, default=3),
    fields.Number(name="share", title="Share", min=-1, max=1, default=0.5),
    fields.Flag(name="is_open", title="Open"),
    fields.Choice(name="level", title="Level", choices={"a": "A", "b": "B"}, default="a"),
    fields.Choice(name="kind", title="Kind", choices={f"k{n}": str(n) for n in range(6)}),
    fields.Choices(name="goals", title="Goals", choices={"x": "X", "y": "Y"}),
    fields.Lines(name="owners", title="Owners"),
    fields.Rows(
        name="risks",
        title="Risks",
        fields=(
            fields.Text(name="what", title="What", is_required=True, length_max=50, is_short=True),
            fields.Flag(name="is_high", title="High"),
            fields.Rows(name="steps", title="Steps", fields=(fields.Whole(name="hours", title="Hours", min=0, max=9),)),
        ),
    ),
    fields.Document(name="table", title="Table", file_name="table.csv"),
)


class Form(HTMLParser):
    """What a browser would send of the controls that it is shown."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.sent: list[tuple[str, str]] = []
        self.hidden = 0
        self.area: str | None = None
        self.text = ""
        self.select: tuple[str, list[str], list[str]] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, found: list[tuple[str, str | None]]) -> None:
        of = dict(found)
        if tag == "template":
            self.hidden += 1
        if self.hidden:
            return
        name, value = of.get("name") or "", of.get("value") or ""
        if tag == "textarea":
            self.area, self.text = name, ""
        elif tag == "select":
            self.select = (name, [], [])
        elif tag == "option" and self.select is not None:
            self.select[1].append(value)
            if "selected" in of:
                self.select[2].append(value)
        elif tag == "input" and name and of.get("type") != "file":
            is_box = of.get("type") in ("checkbox", "radio")
            if not is_box or "checked" in of:
                self.sent.append((name, (value or "on") if is_box else value))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "template":
            self.hidden -= 1
        if self.hidden:
            return
        if tag == "textarea" and self.area is not None:
            self.sent.append((self.area, self.text.removeprefix("\n").replace("\n", "\r\n")))
            self.area = None
        if tag == "select" and self.select is not None:
            name, every, chosen = self.select
            self.sent.append((name, (chosen or every)[0]))
            self.select = None


def read_back(of_all: Any, draft: Any) -> dict[str, Any]:
    """The draft was drawn, sent by a browser without scripts, and read."""
    html = "".join(
        render_to_string("tools_registry/_control.html", {"one": one}) for one in drafting.draw(of_all, draft, {})
    )
    post = QueryDict(mutable=True)
    for name, value in Form(html).sent:
        post.appendlist(name, value)
    return drafting.inputs_of(of_all, post)


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=20)
plain = words.map(str.strip).filter(bool)
DRAFTS = st.fixed_dictionaries(
    {
        "title": plain,
        "days": st.integers(0, 10),
        "share": st.floats(-1, 1, width=16).map(lambda value: round(value, 6) + 0.0),
        "is_open": st.booleans(),
        "level": st.sampled_from("ab"),
        "goals": st.lists(st.sampled_from(["x", "y"]), unique=True).map(sorted),
        "owners": st.lists(plain, max_size=3),
        "risks": st.lists(
            st.fixed_dictionaries(
                {
                    "what": plain,
                    "is_high": st.booleans(),
                    "steps": st.lists(st.fixed_dictionaries({"hours": st.integers(0, 9)}), max_size=2),
                }
            ),
            max_size=3,
        ),
    },
    optional={"notes": plain, "kind": st.sampled_from(["k0", "k5"]), "table": plain},
)


@settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(draft=DRAFTS)
def test_any_draft_reads_back_as_it_was(draft: dict[str, Any]) -> None:
    assert read_back(FIELDS, draft) == draft


@pytest.mark.parametrize("tool", registry.TOOLS.values(), ids=lambda tool: tool.slug)
def test_the_example_of_every_tool_reads_back(tool: Any) -> None:
    example = shelf.example_of(tool)
    found = read_back(tool.fields, example)
    assert tool.clean_with_files(found, {}) == tool.clean_with_files(example, {})


def test_an_empty_form_means_the_defaults() -> None:
    found = read_back(FIELDS, {})
    assert found == {
        "title": "",
        "days": 3,
        "share": 0.5,
        "is_open": False,
        "level": "a",
        "goals": [],
        "owners": [],
        "risks": [],
    }


@pytest.mark.parametrize(("written", "read"), [("٧", "٧"), ("1e3", "1e3"), (" 4 ", 4), ("-2", -2), ("4.0", "4.0")])
def test_what_is_no_whole_number_is_left_for_the_tool_to_refuse(written: str, read: Any) -> None:
    assert drafting.inputs_of(FIELDS, QueryDict(f"days={written}"))["days"] == read


def test_a_pasted_text_is_read_although_no_file_was_chosen() -> None:
    assert drafting.inputs_of(FIELDS, QueryDict("table=a,b&table="))["table"] == "a,b"


def test_rows_are_added_and_taken_away_where_they_are_named() -> None:
    draft = {"risks": [{"what": "a", "steps": [{"hours": 1}, {"hours": 2}]}, {"what": "b", "steps": []}]}

    def asked(query: str) -> Any:
        copy = {"risks": [dict(one, steps=[dict(step) for step in one["steps"]]) for one in draft["risks"]]}  # type: ignore[arg-type]
        found = drafting.changed_rows(FIELDS, copy, QueryDict(query))
        return found and found["risks"]

    assert asked("") is None
    assert [one.get("what") for one in asked("add=risks")] == ["a", "b", None]
    assert [one["what"] for one in asked("remove=risks.0")] == ["b"]
    assert asked("remove=risks.0.steps.0")[0]["steps"] == [{"hours": 2}]
    assert len(asked("add=risks.1.steps")[1]["steps"]) == 1
    for odd in ("remove=risks.9", "remove=risks.x", "add=nothing", "remove=.", "add=risks.9.steps", "remove=risks"):
        assert asked(odd) == draft["risks"]


def test_what_is_wrong_stands_at_its_place_and_opens_its_row() -> None:
    rows = [{"what": str(number), "steps": []} for number in range(9)]
    wrong = {"risks.7.what": ["Say more."], "owners.1": ["Too long."], "risks": ["Too many."]}
    drawn = {one["path"]: one for one in drafting.draw(FIELDS, {"risks": rows}, wrong)}
    assert drawn["owners"]["wrong"] == ["Line 2: Too long."]
    assert drawn["risks"]["wrong"] == ["Too many."]
    assert [row["is_open"] for row in drawn["risks"]["rows"]] == [number == 7 for number in range(9)]
    assert drawn["risks"]["rows"][7]["fields"][0]["wrong"] == ["Say more."]
    assert drawn["risks"]["rows"][3]["summary"] == "3"


# A result as the page draws it

anything: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KINDS = st.sampled_from(["facts", "table", "findings", "text", "code", "picture", "other"])
NAMES = ("pairs", "columns", "rows", "paragraphs", "source", "file", "title", "described", "note", "none", "language")


@settings(max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(view=st.lists(st.fixed_dictionaries({"kind": KINDS}, optional=dict.fromkeys(NAMES, anything)), max_size=3))
def test_no_result_breaks_the_page_and_none_of_it_is_markup(view: Any) -> None:
    shown = blocks.drawn([*view, {"kind": "text", "paragraphs": ["<script>alert(1)</script>"]}], {})
    html = render_to_string("tools_registry/_blocks.html", {"blocks": shown, "run": {"id": "r"}})
    assert "<script" not in html


@pytest.mark.parametrize("view", [None, {}, "x", [None], [7], [[]]])
def test_what_is_no_view_draws_nothing(view: Any) -> None:
    assert blocks.drawn(view, {}) == []


@pytest.mark.parametrize("link", ["javascript:alert(1)", "data:text/html,x", " https://x", "//x", "file:///etc/passwd"])
def test_only_web_links_can_be_followed(link: str) -> None:
    (block,) = blocks.drawn([{"kind": "findings", "rows": [{"severity": "high", "title": "T", "link": link}]}], {})
    assert block["rows"][0]["link"] == ""


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "–"),
        (True, "Yes"),
        (2026, "2026"),
        (123456, "123,456"),
        (-5, "−5"),
        (0.25, "0.25"),
        (1234.56789, "1,234.5679"),
        (0.00012345, "0.000123"),
        (0.0, "0"),
        ([1, "a"], "1, a"),
    ],
)
def test_values_are_said_as_people_read_them(value: Any, said: str) -> None:
    assert blocks.say(value) == said
