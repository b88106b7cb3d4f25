"""A framework from answers: its references are real ones, its checks are those worked out by hand, its gaps follow."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools_registry.studio import BadInput, InvalidInputs
from tools_registry.studios.data import governance_rules as rules
from tools_registry.studios.data.governance import TOOL

from .tabular import example, file, run

GOOD = {
    "name": "Orders",
    "owner": "Ada",
    "steward": "Ben",
    "classification": "confidential",
    "retention_months": 24,
    "is_personal": True,
    "is_encrypted": True,
    "is_access_reviewed": True,
    "is_quality_checked": True,
    "is_described": True,
    "is_backed_up": True,
}


def failures(*assets: dict, **answers) -> set[tuple[str, str]]:
    result = run(TOOL, {"inventory": list(assets), **answers}).result
    return {(one["asset"], one["check"]) for one in result["failures"]}


def test_a_good_set_of_data_breaks_nothing() -> None:
    assert failures(GOOD) == set()


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"owner": ""}, {"OWN-1"}),
        ({"steward": ""}, {"OWN-2"}),
        ({"steward": "ADA"}, {"OWN-3"}),
        ({"classification": ""}, {"CLS-1"}),
        ({"classification": "internal"}, {"CLS-2"}),
        ({"is_encrypted": False}, {"SEC-1"}),
        ({"is_access_reviewed": False}, {"SEC-2"}),
        ({"retention_months": 0}, {"RET-1"}),
        ({"retention_months": 73}, {"RET-2"}),
        ({"is_quality_checked": False}, {"DQ-1"}),
        ({"is_described": False}, {"MD-1"}),
        ({"is_backed_up": False}, {"BCK-1"}),
        ({"classification": "public", "is_personal": False, "is_backed_up": False, "retention_months": 0}, set()),
    ],
)
def test_each_check_fails_for_its_own_reason(change: dict, check: set[str]) -> None:
    assert failures(GOOD | change) == {("Orders", one) for one in check}


def test_a_level_counts_no_more_than_the_inventory_shows() -> None:
    """Quality is answered with 4; of two sets one is checked: 1 + 4 × 1/2 = 3 counts. Target 3, one more for "ai"."""
    levels = [{"area": "quality", "level": 4}]
    assets = [GOOD, GOOD | {"name": "Stock", "is_quality_checked": False}]
    found = run(TOOL, {"levels": levels, "inventory": assets, "goals": ["ai"]}).result["maturity"]
    quality = next(one for one in found if one["area"] == "quality")
    assert (quality["answered"], quality["evidence"], quality["current"], quality["target"]) == (4, 3.0, 3.0, 4)
    assert quality["gap"] == 1.0
    assert quality["id"] == "DMBOK2-13"


def test_the_inventory_may_be_a_file() -> None:
    table = (
        b"Name;Owner;Steward;Classification;Retention months;Personal;Encrypted;Access reviewed;Quality checked;"
        b"Described;Backed up\nOrders;Ada;Ben;confidential;24;yes;yes;no;yes;yes;yes\n"
    )
    result = run(TOOL, inventory_file=table).result
    assert [(one["asset"], one["check"]) for one in result["failures"]] == [("Orders", "SEC-2")]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (b"owner\nAda\n", "name"),
        (b"name,classification\nx,secret\n", "Line 2"),
        (b"name,retention_months\na,1\nx,soon\n", "Line 3"),
        (b"name,encrypted\nx,perhaps\n", "Line 2"),
        (b"name\n" + b"x\n" * 1001, "At most 1,000"),
    ],
)
def test_what_is_wrong_with_the_file_is_said(table: bytes, says: str) -> None:
    with pytest.raises(BadInput) as error:
        run(TOOL, inventory_file=table)
    assert says in error.value.fields["inventory_file"][0]


def test_an_area_stands_there_once() -> None:
    with pytest.raises(BadInput) as error:
        run(TOOL, {"levels": [{"area": "quality", "level": 1}, {"area": "quality", "level": 2}]})
    assert list(error.value.fields) == ["levels.1.area"]
    with pytest.raises(InvalidInputs):
        run(TOOL, {"levels": [{"area": "quality", "level": 6}]})


def test_two_different_organisations_get_different_frameworks() -> None:
    bank = {
        "sector": "finance",
        "regions": ["eu"],
        "data": ["payment", "special"],
        "goals": ["compliance"],
        "size": "more",
    }
    shop = {"sector": "retail", "regions": ["us"], "data": ["financial"], "goals": ["analytics"], "size": "up_to_50"}
    one, two = run(TOOL, bank).result, run(TOOL, shop).result
    policies = [{policy["id"] for policy in each["policies"]} for each in (one, two)]
    assert policies[0] - policies[1] == {"POL-07", "POL-11", "POL-13"}
    assert policies[1] - policies[0] == {"POL-09"}
    assert one["retention"] != two["retention"]
    assert [each["target"] for each in one["maturity"]] != [each["target"] for each in two["maturity"]]
    assert max(each["quarter"] for each in two["roadmap"]) > max(each["quarter"] for each in one["roadmap"])


def test_missing_roles_are_gaps_and_named_ones_are_not() -> None:
    def roles(people: list[dict], **answers) -> set[str]:
        found = run(TOOL, {"people": people, **answers}).result["gaps"]
        return {one["id"] for one in found if one["id"].startswith("ROLE-")}

    everyone = [{"role": role, "name": "X"} for role in rules.ROLES]
    assert roles(everyone, data=["personal"]) == set()
    assert "ROLE-privacy" in roles([], data=["personal"])
    assert "ROLE-privacy" not in roles([])


def test_every_activity_has_one_who_answers_for_it() -> None:
    for activity, roles in rules.RACI.items():
        assert list(roles.values()).count("A") == 1, activity
        assert "R" in roles.values(), activity
        assert set(roles) <= set(rules.ROLES)


def test_references_are_of_the_named_frameworks() -> None:
    assert [area.id for area in rules.AREAS.values()] == [f"DMBOK2-{chapter}" for chapter in range(3, 14)]
    policies = {one.id for one in rules.POLICIES}
    assert {one.policy for one in rules.CHECKS} <= policies
    ids = {one.id for one in rules.CHECKS}
    assert {check for area in rules.AREAS.values() for check in area.checks} == ids
    asked = {one for area in rules.AREAS.values() for one in area.raised_by}
    assert asked <= {*rules.GOALS, *rules.DATA}


def test_the_roadmap_takes_the_gravest_first() -> None:
    found = example(TOOL).result["roadmap"]
    assert [one["quarter"] for one in found] == sorted(one["quarter"] for one in found)
    assert found[0]["severity"] == "critical"
    assert [sum(one["quarter"] == quarter for one in found) for quarter in (1, 2)] == [4, 4]


def test_the_files() -> None:
    result = example(TOOL)
    said = file(result, "framework.md")
    assert "POL-11 Payment cards" in said
    assert "DMBOK2-13" in said
    assert "Newsletter list" in [row["asset"] for row in csv.DictReader(io.StringIO(file(result, "failures.csv")))]
    assert example(TOOL) == result


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(list(rules.DATA)), unique=True),
    st.lists(st.sampled_from(list(rules.GOALS)), unique=True),
    st.lists(st.sampled_from(list(rules.REGIONS)), unique=True),
    st.sampled_from(list(rules.SECTORS)),
    st.text(max_size=30),
)
def test_any_answers_make_a_framework(data, goals, regions, sector, name) -> None:
    inputs = {"data": data, "goals": goals, "regions": regions, "sector": sector}
    asset = {"name": f"x{name}".replace("\x00", "").encode("utf-8", "replace").decode()}
    result = run(TOOL, inputs | {"inventory": [asset]}).result
    assert len(result["policies"]) >= 7
    assert result["assets"] == 1


def test_a_thousand_sets_of_data_fit() -> None:
    table = b"name,classification\n" + b"".join(
        b"a set of data with a longer name %d,restricted\n" % n for n in range(1000)
    )
    assert len(run(TOOL, inventory_file=table).result["failures"]) == 8000
