"""A playbook follows its facts: deadlines by article, roles by size, steps and injects by incident and systems."""

import csv
import io
import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools_registry.studio import BadInput, InvalidInputs, Result
from tools_registry.studios.cyber import notification_law, playbooks
from tools_registry.studios.cyber.ir_playbook import DATA, TOOL

from .tabular import example, file, run

PLAIN = {"organisation": "Acme"}


def due(**facts: Any) -> dict[str, tuple[int | None, str | None]]:
    result = run(TOOL, PLAIN | {"data": ["personal", "health", "payment"]} | facts).result
    return {one["article"]: (one["hours"], one["at"]) for one in result["deadlines"]}


def test_gdpr_72_hours_to_the_minute() -> None:
    """Art. 33(1): Friday 18:10 plus 72 hours is Monday 18:10."""
    found = due(regulations=["gdpr"], detected_at="2026-11-20T18:10")
    assert found == {
        "Art. 33(1)": (72, "2026-11-23T18:10"),
        "Art. 34(1)": (None, None),
        "Art. 33(5)": (None, None),
    }
    assert list(due(regulations=["uk_gdpr"], is_processor=True)) == ["Art. 33(2)"]


def test_nis2_24_and_72_hours() -> None:
    found = due(regulations=["nis2"], detected_at="2026-02-28 23:30")
    assert found["Art. 23(4)(a)"] == (24, "2026-03-01T23:30")
    assert found["Art. 23(4)(b)"] == (72, "2026-03-03T23:30")
    assert found["Art. 23(4)(d)"] == (None, None)  # a month after the notification, whenever that was


@pytest.mark.parametrize(
    ("people", "articles"),
    [
        (499, {"45 CFR § 164.404(b)", "45 CFR § 164.408(c)"}),
        (500, {"45 CFR § 164.404(b)", "45 CFR § 164.408(b)"}),
        (501, {"45 CFR § 164.404(b)", "45 CFR § 164.408(b)", "45 CFR § 164.406"}),
        (0, {"45 CFR § 164.404(b)", "45 CFR § 164.408(b)", "45 CFR § 164.406", "45 CFR § 164.408(c)"}),
    ],
)
def test_hipaa_by_the_number_of_people(people: int, articles: set[str]) -> None:
    found = due(regulations=["hipaa"], people=people)
    assert set(found) == articles
    assert found["45 CFR § 164.404(b)"] == (60 * 24, None)


def test_other_laws() -> None:
    assert due(regulations=["california"], people=500) == {"Cal. Civ. Code § 1798.82(a)": (720, None)}
    assert "Cal. Civ. Code § 1798.82(f)" in due(regulations=["california"], people=501)
    assert due(regulations=["ftc"], people=499) == {}
    assert due(regulations=["ftc"], people=500) == {"16 CFR § 314.4(j)": (720, None)}
    assert due(regulations=["dora"])["Art. 19(4)(a); (EU) 2025/301 Art. 5"] == (24, None)
    assert due(regulations=["sec"]) == {"Form 8-K, Item 1.05": (None, None)}
    assert due(regulations=["pci"]) == {"PCI DSS v4.0.1, 12.10.1": (None, None)}
    assert due(regulations=["hipaa"], is_processor=True) == {"45 CFR § 164.410(b)": (1440, None)}


def test_a_duty_about_data_that_was_not_named_is_only_possible() -> None:
    sure = {
        data: run(TOOL, PLAIN | {"regulations": ["gdpr", "pci", "nis2"], "data": [data]}).result["deadlines"]
        for data in ("personal", "payment", "secrets")
    }
    certain = {data: {one["id"].partition("-")[0] for one in found if one["is_sure"]} for data, found in sure.items()}
    assert certain == {"personal": {"gdpr", "nis2"}, "payment": {"gdpr", "pci", "nis2"}, "secrets": {"nis2"}}


def needed(**facts: Any) -> set[str]:
    return {one["role"] for one in run(TOOL, PLAIN | facts).result["roles"] if one["is_needed"]}


def test_roles_follow_the_size() -> None:
    few = {"lead", "technical", "management"}
    assert needed(size=19) == few
    assert needed(size=20) == few | {"communications", "legal"}
    assert needed(size=250, incident="insider") == few | {"communications", "legal", "scribe", "people"}


def test_who_stands_in_is_said() -> None:
    contacts = [{"role": "lead", "name": "Ada"}, {"role": "management", "name": "Bo"}]
    roles = {one["role"]: one for one in run(TOOL, PLAIN | {"size": 5, "contacts": contacts}).result["roles"]}
    assert (roles["scribe"]["name"], roles["scribe"]["stands_in"]) == ("Ada", True)
    assert roles["legal"]["name"] == "Bo"
    assert roles["technical"]["name"] == "nobody yet"


def text(result: Result) -> str:
    return file(result, "playbook.md") + file(result, "exercise.md")


def test_systems_are_in_the_steps_the_evidence_the_recovery_and_the_exercise() -> None:
    systems = [
        {"name": "Ledger", "kind": "database", "restore_hours": 12, "supplier": "Delta"},
        {"name": "Post", "kind": "email", "restore_hours": 4},
    ]
    result = run(TOOL, PLAIN | {"systems": systems, "incident": "data_breach"})
    steps = [step["text"] for phase in result.result["phases"] for step in phase["steps"]]
    assert any("Ledger" in one for one in steps)
    assert any(one.startswith("Open a case with Delta") for one in steps)
    assert {"from": "Ledger", "what": "audit log"} in result.result["evidence"]
    assert [one["name"] for one in result.result["recovery"]] == ["Post", "Ledger"]
    assert "out of Post" in result.result["exercise"]["scene"]


def test_steps_are_in_the_order_of_phases_and_times() -> None:
    for phase in example(TOOL).result["phases"]:
        minutes = [-1 if step["minutes"] is None else step["minutes"] for step in phase["steps"]]
        assert minutes == sorted(minutes)
        assert phase["steps"]


def test_the_exercise_follows_the_facts() -> None:
    assert "outside working hours" in text(run(TOOL, PLAIN | {"cover": "hours"}))
    assert "outside working hours" not in text(run(TOOL, PLAIN | {"cover": "always", "backups": "offline"}))
    exercise = example(TOOL).result["exercise"]
    assert exercise["points_max"] == sum(one["points_max"] for one in exercise["scoring"])
    assert [one["minutes"] for one in exercise["injects"]] == sorted(one["minutes"] for one in exercise["injects"])
    assert any("NIS2 (EU), Art. 23(4)(a): 24 hours" in one["expected"] for one in exercise["injects"])


def test_gaps_are_named_and_go_away() -> None:
    titles = {one["title"] for one in example(TOOL).result["gaps"]}
    assert "Nobody is named as law and data protection" in titles
    assert "Ana Costa (communications) has no number" in titles
    whole = {
        "size": 5,
        "backups": "offline",
        "logs": "central",
        "cover": "always",
        "regulations": ["gdpr"],
        "systems": [{"name": "Drive"}],
        "contacts": [
            {"role": role, "name": role, "reach": "1", "deputy": "D"} for role in ("lead", "technical", "management")
        ],
    }
    assert run(TOOL, PLAIN | whole).result["gaps"] == []


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(playbooks.INCIDENTS, 2)))
def test_two_incidents_are_two_playbooks(one: str, other: str) -> None:
    """Of the steps that belong to the incident none is the same; of all lines at least a third differs."""
    own = {
        each: {step.text for step in (*playbooks.BY_INCIDENT[each], *playbooks.LESSONS[each])} for each in (one, other)
    }
    assert not own[one] & own[other]
    facts = dict(TOOL.example)
    lines = [set(text(run(TOOL, facts | {"incident": each})).splitlines()) for each in (one, other)]
    assert len(lines[0] ^ lines[1]) > len(lines[0] | lines[1]) / 3


def test_two_organisations_are_two_playbooks() -> None:
    other = {
        "organisation": "Clinic",
        "incident": "ransomware",
        "size": 900,
        "regulations": ["hipaa"],
        "data": ["health"],
        "backups": "offline",
        "logs": "central",
        "cover": "always",
        "systems": [{"name": "Records", "kind": "database", "restore_hours": 2}],
    }
    lines = [set(text(result).splitlines()) for result in (example(TOOL), run(TOOL, other))]
    assert len(lines[0] ^ lines[1]) > 0.6 * len(lines[0] | lines[1])


@pytest.mark.parametrize("incident", playbooks.INCIDENTS)
def test_every_incident_has_all_that_it_needs(incident: str) -> None:
    own = playbooks.BY_INCIDENT[incident]
    assert len(own) >= 8
    assert {step.phase for step in own} >= {"preparation", "detection", "containment"}
    assert len(playbooks.EVIDENCE_BY_INCIDENT[incident]) >= 2
    said = text(run(TOOL, dict(TOOL.example) | {"incident": incident}))
    assert "{" not in said
    assert playbooks.SCENES[incident].split("{")[-1].partition("}")[2][:30].rstrip() in said


def test_every_duty_names_its_text_and_every_system_its_containment_and_evidence() -> None:
    assert len({one.id for one in notification_law.DUTIES}) == len(notification_law.DUTIES)
    assert {one.law for one in notification_law.DUTIES} == set(notification_law.REGULATIONS)
    for one in notification_law.DUTIES:
        assert one.hours is None or str(one.hours) in one.by or f"{one.hours // 24} " in one.by, one.id
    for contain in (playbooks.CONTAIN, *playbooks.CONTAIN_BY_INCIDENT.values(), playbooks.EVIDENCE):
        assert set(contain) == set(playbooks.SYSTEMS)
    assert set(playbooks.LESSONS) == set(playbooks.SCENES) == set(playbooks.INCIDENTS)


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ({"detected_at": "yesterday"}, "detected_at"),
        ({"detected_at": "2026-02-30T10:00"}, "detected_at"),
        ({"detected_at": "2026-02-20T24:30"}, "detected_at"),
        ({"systems": [{"name": "A"}, {"name": "a"}]}, "systems.1.name"),
    ],
)
def test_what_is_wrong_is_named(inputs: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput) as error:
        run(TOOL, PLAIN | inputs)
    assert list(error.value.fields) == [field]


def test_the_files_say_the_same() -> None:
    result = example(TOOL)
    rows = list(csv.DictReader(io.StringIO(file(result, "deadlines.csv"))))
    assert [row["Article"] for row in rows] == [one["article"] for one in result.result["deadlines"]]
    assert json.loads(file(result, "playbook.json"))["phases"] == result.result["phases"]
    assert "Notice under GDPR (EU) Art. 33(1)" in text(result)


def test_two_runs_are_one() -> None:
    assert example(TOOL) == example(TOOL)


def test_the_largest_playbook_fits_the_limits() -> None:
    kinds = list(playbooks.SYSTEMS)
    systems = [{"name": f"{at:02}{'s' * 58}", "kind": kinds[at % len(kinds)], "supplier": "p" * 60} for at in range(20)]
    contacts = [{"role": role, "name": "n" * 60, "reach": "r" * 60} for role in playbooks.ROLES]
    everything = {"regulations": list(notification_law.REGULATIONS), "data": list(DATA), "size": 1000}
    found = run(TOOL, {"organisation": "o" * 80, "systems": systems, "contacts": contacts} | everything).result
    assert len(found["recovery"]) == 20


FACTS = st.fixed_dictionaries(
    {
        "organisation": st.sampled_from(["Acme", "{name}", "<b>", "A|B"]),
        "incident": st.sampled_from(list(playbooks.INCIDENTS)),
        "size": st.integers(1, 1000),
        "regulations": st.lists(st.sampled_from(list(notification_law.REGULATIONS)), unique=True),
        "data": st.lists(st.sampled_from(list(DATA)), unique=True),
        "people": st.integers(0, 1000),
        "is_processor": st.booleans(),
        "backups": st.sampled_from(list(playbooks.BACKUPS)),
        "logs": st.sampled_from(list(playbooks.LOGS)),
        "cover": st.sampled_from(list(playbooks.COVER)),
        "detected_at": st.sampled_from(["", "2026-11-20T18:10", "2999-12-31T23:59", "x"]),
        "systems": st.lists(
            st.fixed_dictionaries(
                {"name": st.text(min_size=1, max_size=10), "kind": st.sampled_from(list(playbooks.SYSTEMS))}
            ),
            max_size=4,
        ),
    }
)


@settings(max_examples=60, deadline=None)
@given(FACTS)
def test_any_facts_have_a_playbook_or_are_told_what_is_wrong(facts: dict[str, Any]) -> None:
    try:
        phases = run(TOOL, facts).result["phases"]
    except (BadInput, InvalidInputs):
        phases = list(playbooks.PHASES)
    assert len(phases) == 4
