"""A threat model against one worked out by hand: what applies to what, each score, what the properties decide."""

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools_registry.studio import BadInput, InvalidInputs, Result
from tools_registry.studios.cyber import catalogues
from tools_registry.studios.cyber.stride import ELEMENT_RULES, FLOW_RULES, SAFEGUARDS, Rule
from tools_registry.studios.cyber.systems import DATA, PROTOCOLS
from tools_registry.studios.cyber.threat_modeling import TOOL

from .tabular import example, file, run

ZONES = [
    {"name": "Net", "trust": "internet"},
    {"name": "Inside", "trust": "internal"},
    {"name": "Vault", "trust": "restricted"},
]


def system(flow: dict[str, Any] | None = None, **elements: Any) -> dict[str, Any]:
    """A person outside, a program inside, a store behind it."""
    return {
        "title": "Small",
        "zones": ZONES,
        "elements": [
            {"name": "Ada", "kind": "actor", "zone": "Net"} | elements.get("ada", {}),
            {"name": "App", "kind": "process", "zone": "Inside"} | elements.get("app", {}),
            {"name": "Store", "kind": "store", "zone": "Vault"} | elements.get("store", {}),
        ],
        "flows": [
            {"from": "Ada", "to": "App", "carries": "Form", "data": "personal"} | (flow or {}),
            {"from": "App", "to": "Store", "carries": "Row", "is_authenticated": True, "is_encrypted": True},
        ],
    }


def threat(result: Result, where: str, category: str) -> dict[str, Any]:
    (found,) = [one for one in result.result["threats"] if one["where"] == where and one["category"] == category]
    return found


def test_what_applies_to_what() -> None:
    """Person 2, program 6, store 3, each flow 3: 17. A log adds repudiation."""
    result = run(TOOL, system()).result
    assert result["counts"]["threats"] == 2 + 6 + 3 + 3 + 3
    assert result["counts"]["by_category"] == {"S": 2, "T": 4, "R": 2, "I": 4, "D": 4, "E": 1}
    assert run(TOOL, system(store={"keeps_logs": True})).result["counts"]["by_category"]["R"] == 3
    rows = {row["where"]: "".join(one for one in "STRIDE" if row[one] is not None) for row in result["matrix"]}
    assert rows == {"Ada": "SR", "App": "STRIDE", "Store": "TID", "Ada → App": "TID", "App → Store": "TID"}


def test_a_plain_flow_with_personal_data_across_a_boundary_is_another_threat_than_a_sealed_one() -> None:
    """Plain: 1 + 2 (internet) + 2 (nothing) = 5, × 4 (personal) = 20. Sealed, authenticated: (1 + 2 + 0) × 4 = 12."""
    plain = threat(run(TOOL, system()), "Ada → App", "I")
    assert plain["title"] == "Personal data can be read in plain text between Net and Inside"
    assert (plain["likelihood"], plain["impact"], plain["score"], plain["severity"]) == (5, 4, 20, "critical")
    assert (plain["cwe"], plain["controls"], plain["is_open"]) == ("CWE-319", ["SC-8", "SC-13"], True)
    sealed = threat(run(TOOL, system({"is_encrypted": True, "is_authenticated": True})), "Ada → App", "I")
    assert (sealed["score"], sealed["is_open"], sealed["cwe"]) == (12, False, "CWE-295")
    half = threat(run(TOOL, system({"is_encrypted": True})), "Ada → App", "I")
    assert (half["score"], half["cwe"]) == (16, "CWE-300")
    inside = run(TOOL, system(ada={"zone": "Inside"}))
    assert threat(inside, "Ada → App", "I")["title"] == "Who is inside Inside can read “Form”"
    assert threat(inside, "Ada → App", "I")["score"] == (1 + 0 + 1) * 4
    secret = threat(run(TOOL, system({"data": "credentials"})), "Ada → App", "I")
    assert (secret["score"], secret["cwe"]) == (25, "CWE-522")


def test_every_score_of_the_program_by_hand() -> None:
    """The internet reaches App: exposure 2; personal data: impact 4; nothing named: weakness 2."""
    bare = run(TOOL, system())
    scores = {one: threat(bare, "App", one)["score"] for one in "STRIDE"}
    assert scores == {"S": 20, "T": 20, "R": 20, "I": 20, "D": 5 * 3, "E": 5 * 5}
    whole = run(TOOL, system({"is_encrypted": True}, app={"safeguards": list(SAFEGUARDS)}))
    scores = {one: threat(whole, "App", one)["score"] for one in "STRIDE"}
    assert scores == {"S": 12, "T": 12, "R": 12, "I": 12, "D": 3 * 3, "E": 3 * 5}
    assert not any(threat(whole, "App", one)["is_open"] for one in "STRIDE")


def test_the_store_follows_what_it_keeps() -> None:
    """One boundary: exposure 1. Special categories: 5, in plain text: (1 + 1 + 2) × 5 = 20; sealed: 2 × 5 = 10."""
    plain = run(TOOL, system(store={"data": "special"}))
    assert threat(plain, "Store", "I")["score"] == 20
    assert threat(plain, "Store", "D")["title"] == "Store is lost, or encrypted by somebody else"
    kept = run(TOOL, system(store={"data": "special", "safeguards": ["encrypted_at_rest", "backup"]}))
    assert threat(kept, "Store", "I")["score"] == 10
    assert threat(kept, "Store", "D")["is_open"] is False


def test_what_is_odd_in_the_description_is_said() -> None:
    given = system({"is_encrypted": True, "protocol": "ftp"})
    given["flows"].append({"from": "Ada", "to": "Store", "is_encrypted": True})
    given["elements"].append({"name": "Lonely", "zone": "Vault"})
    given["zones"] = [*ZONES, {"name": "Empty"}]
    titles = [one["title"] for one in run(TOOL, given).result["checks"]]
    assert titles == [
        "Ada → App is said to be encrypted, over FTP",
        "No program is between Ada and Store",
        "Lonely has no flows",
        "Nothing is in Empty",
    ]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"flows": [{"from": "Nobody", "to": "App"}]}, "flows.0.from"),
        ({"flows": [{"from": "Ada", "to": "App"}, {"from": "Ada", "to": "Nobody"}]}, "flows.1.to"),
        ({"elements": [{"name": "App", "zone": "Nowhere"}], "flows": []}, "elements.0.zone"),
        ({"elements": [{"name": "App", "zone": "Net"}, {"name": " app", "zone": "Net"}]}, "elements.1.name"),
        ({"zones": [{"name": "Net"}, {"name": "net"}]}, "zones.1.name"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput) as error:
        run(TOOL, system() | change)
    assert list(error.value.fields) == [field]


def test_names_are_found_however_they_are_spelled() -> None:
    given = system()
    given["flows"][0]["from"] = " ADA"
    assert threat(run(TOOL, given), "Ada → App", "I")["score"] == 20


def test_every_rule_names_entries_that_are_listed_and_each_list_ends_with_one_that_always_holds() -> None:
    listed: list[tuple[Rule[Any], ...]] = [
        *FLOW_RULES.values(),
        *(rules for of in ELEMENT_RULES.values() for rules in of.values()),
    ]
    every = [rule for rules in listed for rule in rules]
    assert len({rule.id for rule in every}) == len(every)
    for rules in listed:
        assert [rule.weakness for rule in rules] == sorted((rule.weakness for rule in rules), reverse=True)
        assert rules[-1].weakness == 0
    for rule in every:
        assert set(rule.controls) <= set(catalogues.NIST_800_53), rule.id
        assert not rule.cwe or rule.cwe in catalogues.CWE, rule.id


def test_the_files_say_the_same() -> None:
    result = example(TOOL)
    rows = list(csv.DictReader(io.StringIO(file(result, "threats.csv"))))
    assert [row["id"] for row in rows] == [one["id"] for one in result.result["threats"]]
    assert [row["title"] for row in rows] == [one["title"] for one in result.result["threats"]]
    model = json.loads(file(result, "threat-model.json"))
    assert model["threats"] == result.result["threats"]
    assert model["system"]["elements"][0]["name"] == "Customer"
    said = file(result, "threat-model.md")
    assert all(one["id"] in said for one in result.result["threats"])
    assert "Warehouse" in file(result, "data-flow.svg")


def test_cells_that_a_spreadsheet_would_work_out_are_defused() -> None:
    result = run(TOOL, system(ada={"name": "=1+1"}) | {"flows": []})
    assert "'=1+1" in file(result, "threats.csv")


def test_two_runs_are_one_and_two_systems_are_two() -> None:
    assert example(TOOL) == example(TOOL)
    one, other = (file(result, "threat-model.md").splitlines() for result in (example(TOOL), run(TOOL, system())))
    assert len(set(one) & set(other)) < 0.5 * len(set(other))


def test_the_largest_system_fits_the_limits() -> None:
    names = [f"{number:02} " + "w" * 57 for number in range(40)]
    given = {
        "title": "Large",
        "zones": [{"name": f"z{number} " + "w" * 50} for number in range(12)],
        "elements": [{"name": name, "zone": f"z{at % 12} " + "w" * 50} for at, name in enumerate(names)],
        "flows": [
            {"from": names[at % 40], "to": names[(at * 7 + 1) % 40], "carries": "c" * 80, "data": "special"}
            for at in range(80)
        ],
    }
    assert run(TOOL, given).result["counts"]["threats"] == 40 * 6 + 80 * 3


ELEMENTS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "b", "{c}", "<d>", "e" * 60]),
        "kind": st.sampled_from(["actor", "process", "store", "external"]),
        "zone": st.sampled_from(["Net", "Inside", "Vault", "?"]),
        "data": st.sampled_from(list(DATA)),
        "keeps_logs": st.booleans(),
        "safeguards": st.lists(st.sampled_from(list(SAFEGUARDS)), unique=True),
    }
)
FLOWS = st.fixed_dictionaries(
    {
        "from": st.sampled_from(["a", "b", "{c}"]),
        "to": st.sampled_from(["a", "b", "<d>"]),
        "carries": st.text(max_size=20),
        "data": st.sampled_from(list(DATA)),
        "protocol": st.sampled_from(list(PROTOCOLS)),
        "is_authenticated": st.booleans(),
        "is_encrypted": st.booleans(),
    }
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ELEMENTS, max_size=6), st.lists(FLOWS, max_size=6))
def test_any_system_has_an_answer_or_is_told_what_is_wrong(elements: list[Any], flows: list[Any]) -> None:
    try:
        found = run(TOOL, {"title": "t", "zones": ZONES, "elements": elements, "flows": flows}).result["threats"]
    except (BadInput, InvalidInputs) as error:
        found = [str(error)]
    assert found
