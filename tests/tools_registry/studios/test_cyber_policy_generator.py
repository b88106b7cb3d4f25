"""Clauses follow from answers, meet controls that there are, and hold nothing that was not escaped."""

import io
import string
import zipfile
from datetime import date
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools_registry.studio import BadInput
from tools_registry.studios.cyber import frameworks
from tools_registry.studios.cyber.policy_clauses import CLAUSES, POLICIES
from tools_registry.studios.cyber.policy_generator import DATA, EXCEPTION_CONTROLS, REGULATIONS, TOOL, add_months

from .tabular import example, file, run

PEOPLE = {"organisation": "Acme", "owner": "CISO", "approver": "Board", "contact": "soc@acme.example"}
ALL = {
    "policies": list(POLICIES),
    "data": list(DATA),
    "regulations": list(REGULATIONS),
    "remote": "all",
    "cloud": "all",
    "develops": True,
    "effective": "2026-01-31",
}


def write(**answers):
    return run(TOOL, PEOPLE | {"effective": "2026-01-31"} | answers)


def titles(result, policy: str) -> list[str]:
    return [
        clause["title"] for one in result.result["policies"] if one["policy"] == policy for clause in one["clauses"]
    ]


def test_every_control_that_a_clause_names_is_in_its_framework() -> None:
    csf, nist = (frameworks.framework(key).controls for key in ("nist_csf_2_0", "nist_800_53_low"))
    for one in CLAUSES:
        assert one.csf, one.title
        assert set(one.csf) <= set(csf), one.title
        assert set(one.nist) <= set(nist), one.title
    assert set(EXCEPTION_CONTROLS) <= set(csf) | set(nist)


def test_every_word_in_braces_is_an_answer() -> None:
    result = write(**ALL)
    asked = {name for one in CLAUSES for _, name, _, _ in string.Formatter().parse(one.text) if name}
    assert {"owner", "password_length", "access_review_months"} <= asked
    said = [clause["text"] for one in result.result["policies"] for clause in one["clauses"]]
    assert not any("{" in text or "None" in text for text in said)


def test_clauses_follow_from_the_answers() -> None:
    plain = write(policies=["authentication", "incident_response", "access_control"], data=[], mfa="privileged")
    assert "Two factors for the powerful" in titles(plain, "authentication")
    assert "Two factors for all" not in titles(plain, "authentication")
    assert "The supervisory authority" not in titles(plain, "incident_response")
    strict = write(
        policies=["authentication", "incident_response", "access_control"],
        data=["personal", "payment"],
        regulations=["gdpr", "nis2", "pci_dss"],
        size="large",
    )
    assert {"Two factors for all", "Two factors for payment data"} <= set(titles(strict, "authentication"))
    assert {"The supervisory authority", "Significant incidents", "Card brands"} <= set(
        titles(strict, "incident_response")
    )
    assert "Duties kept apart" in titles(strict, "access_control")
    assert "Duties in a small team" in titles(plain, "access_control")
    reviews = [
        next(one for one in made.result["policies"][0]["clauses"] if one["title"] == "Review of access")["text"]
        for made in (plain, strict)
    ]
    assert reviews[0].startswith("Every 6 months")
    assert reviews[1].startswith("Every 3 months")


@pytest.mark.parametrize("rotation_days", [0, 90])
def test_passwords_change_with_cause_or_by_the_calendar(rotation_days: int) -> None:
    told = titles(write(policies=["authentication"], rotation_days=rotation_days), "authentication")
    assert ("Change by the calendar" in told) is (rotation_days > 0)
    assert ("No change without cause" in told) is (rotation_days == 0)


def test_the_example_by_hand() -> None:
    result = example(TOOL).result
    assert result["next_review"] == "2027-12-01"
    decided = {one["what"]: one["value"] for one in result["decisions"]}
    assert decided["Access is reviewed every"] == "3 months"  # payment cards
    assert decided["The ICO is told within"] == "72 hours"
    due = [one["day"] for one in result["calendar"] if one["what"] == "Review access"]
    assert due == ["2027-03-01", "2027-06-01", "2027-09-01", "2027-12-01"]
    backup = next(one for one in result["matrix"] if one["control"] == "PR.DS-11")
    assert len(backup["clauses"]) >= 4
    assert result["findings"] == []


def test_months_end_where_the_month_does() -> None:
    assert add_months(date(2026, 1, 31), 1) == date(2026, 2, 28)
    assert add_months(date(2027, 12, 31), 2) == date(2028, 2, 29)
    assert add_months(date(2026, 11, 30), 12) == date(2027, 11, 30)


@pytest.mark.parametrize(
    ("answers", "field"),
    [
        ({"effective": "soon"}, "effective"),
        ({"effective": "0001-01-01"}, "effective"),
        ({"regulations": ["gdpr"], "data": ["payment"]}, "data"),
        ({"regulations": ["pci_dss"], "data": ["personal"]}, "data"),
        ({"regulations": ["hipaa"], "data": ["personal"]}, "data"),
        ({"regulations": ["pci_dss"], "data": ["payment"], "password_length": 8}, "password_length"),
        ({"regulations": ["pci_dss"], "data": ["payment"], "mfa": "none"}, "mfa"),
        ({"policies": ["remote_work"], "remote": "none"}, "policies"),
        ({"policies": ["secure_development"]}, "policies"),
        ({"rto_hours": 2, "restore_hours": 21}, "rto_hours"),
    ],
)
def test_answers_that_cannot_be_true_together_are_refused(answers, field: str) -> None:
    with pytest.raises(BadInput) as error:
        write(**answers)
    assert list(error.value.fields) == [field]


@pytest.mark.parametrize(
    ("answers", "title"),
    [
        ({"mfa": "none"}, "Passwords alone, and short"),
        ({"rotation_days": 90}, "Passwords change by the calendar"),
        ({"approver": "ciso"}, "Who leads security also approves"),
        ({"regulations": ["gdpr"]}, "Nobody is named for privacy"),
        ({"regulations": ["gdpr"], "report_hours": 48}, "Reporting takes long"),
        ({"data": ["special"]}, "Special categories without a law"),
        ({"develops": True}, "Software is developed, without a policy for it"),
        ({"policies": ["vendor"]}, "No policy: backup and recovery"),
        ({"restore_hours": 30}, "A restore takes longer than promised"),
        ({"review_months": 36}, "Policies are reviewed rarely"),
    ],
)
def test_what_is_better_otherwise_is_said(answers, title: str) -> None:
    assert title in [one["title"] for one in write(**answers).result["findings"]]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)


def test_what_people_write_is_never_markup() -> None:
    made = write(
        organisation="<script>alert(1)</script> & {owner}", owner="[x](javascript:1) | `y`", policies=["backup"]
    )
    tags = Tags()
    tags.feed(file(made, "policies.html"))
    assert "script" not in tags.seen
    assert "&lt;script&gt;" in file(made, "policies.html")
    assert "{owner}" in file(made, "policies.html")  # an answer with braces stays as it is
    text = file(made, "policies.md")
    assert "<script>" not in text
    assert r"\[x\](javascript:1) \| \`y\`" in text  # shown as it was written


def test_the_page_needs_nothing_from_elsewhere() -> None:
    page = file(write(**ALL), "policies.html")
    assert "src=" not in page
    assert "http" not in page
    assert page.count("<h2>") == len(POLICIES) + 1


def test_the_zip_has_each_policy_and_two_runs_are_one() -> None:
    made = write(**ALL)
    assert made == write(**ALL)
    packed = zipfile.ZipFile(io.BytesIO(next(one.content for one in made.files if one.name == "policies.zip")))
    assert len(packed.namelist()) == len(POLICIES)
    assert packed.read("01-access-control.md").decode().startswith("# 1. Access control policy")
    assert made.result != write(**ALL | {"size": "large"}).result


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(sorted(POLICIES)), min_size=1, unique=True),
    st.lists(st.sampled_from(sorted(DATA)), unique=True),
    st.lists(st.sampled_from(sorted(REGULATIONS)), unique=True),
    st.sampled_from(["none", "some", "all"]),
    st.booleans(),
    st.integers(1, 36),
    st.dates(date(1990, 1, 1), date(2100, 12, 31)),
)
def test_any_answers_give_policies_or_a_named_contradiction(
    policies, data, laws, remote: str, develops: bool, months: int, day: date
) -> None:
    answers = {"policies": policies, "data": data, "regulations": laws, "remote": remote, "develops": develops}
    try:
        made = write(**answers, review_months=months, effective=day.isoformat())
    except BadInput as error:
        named = set(error.fields)
    else:
        named = set()
        assert all(one["clauses"] for one in made.result["policies"])
    assert named <= {"data", "policies"}
