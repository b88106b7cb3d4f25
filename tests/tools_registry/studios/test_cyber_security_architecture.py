"""A security architecture against a graph, scores and rules worked out by hand."""

import csv
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools_registry.studio import BadInput, InvalidInputs, Result
from tools_registry.studios.cyber import boundaries, catalogues
from tools_registry.studios.cyber.security_architecture import TOOL

from .tabular import example, file, run

ZONES = [
    {"name": "Net", "trust": "internet"},
    {"name": "Edge", "trust": "edge"},
    {"name": "In", "trust": "internal"},
    {"name": "Vault", "trust": "restricted"},
]


def part(name: str, zone: str, kind: str = "service", *controls: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "zone": zone, "kind": kind, "controls": list(controls)} | more


def link(source: str, target: str, *controls: str, protocol: str = "https") -> dict[str, Any]:
    return {"from": source, "to": target, "protocol": protocol, "controls": list(controls)}


def system(*connections: dict[str, Any], **more: Any) -> dict[str, Any]:
    components = [
        part("User", "Net", "client"),
        part("Front", "Edge", "web"),
        part("Api", "In"),
        part("Jobs", "In"),
        part("Data", "Vault", "database", data="personal"),
    ]
    return {"title": "S", "zones": ZONES, "components": components, "connections": list(connections)} | more


def rules(result: Result, where: str | None = None) -> set[str]:
    return {one["rule"] for one in result.result["missing"] if where in (None, one["where"])}


TWO_WAYS = (
    link("User", "Front"),
    link("Front", "Api", "authentication", "filter"),
    link("Api", "Data", "authentication"),
    link("Front", "Jobs", "authentication"),
    link("Jobs", "Data"),
)


def test_the_easiest_way_has_the_fewest_barriers() -> None:
    """Over Api: 0 + 2 + 1 = 3. Over Jobs: 0 + 1 + 0 = 1. Both have three steps."""
    (way,) = run(TOOL, system(*TWO_WAYS)).result["ways"]
    assert way["way"] == ["Internet", "User", "Front", "Jobs", "Data"]
    assert (way["barriers"], way["steps"]) == (1, 4)


def test_an_entry_point_is_a_way_in_too() -> None:
    """Straight to Api with a password: 1, then 1 to Data: 2 — no better. Without one: 0 + 1 = 1, and shorter."""
    for authentication, way, barriers in (("password", "Jobs", 1), ("none", "Api", 1)):
        door = {"component": "Api", "kind": "api", "authentication": authentication}
        (found,) = run(TOOL, system(*TWO_WAYS, entry_points=[door])).result["ways"]
        assert (found["way"][-2], found["barriers"]) == (way, barriers)


def test_what_cannot_be_reached_is_said() -> None:
    result = run(TOOL, system(link("User", "Front"), link("Data", "Front"))).result
    assert (result["ways"], result["unreachable"]) == ([], ["Data"])


def test_single_points() -> None:
    """Both ways go over Front; Api and Jobs stand in for each other; Data itself has one instance."""
    points = run(TOOL, system(*TWO_WAYS)).result["single_points"]
    assert [(one["component"], one["cuts_off"]) for one in points] == [("Data", ["Data"]), ("Front", ["Data"])]
    twice = system(*TWO_WAYS)
    twice["components"][1]["instances"] = 2
    assert [one["component"] for one in run(TOOL, twice).result["single_points"]] == ["Data"]
    one_way = run(TOOL, system(*TWO_WAYS[:3])).result["single_points"]
    assert [one["component"] for one in one_way] == ["Api", "Data", "Front"]


@pytest.mark.parametrize(
    ("door", "controls", "score", "severity"),
    [
        # 20 × 5 × 1 × 1 × 1 × (0.4 + 0.12 × 4): Data keeps personal data
        ({"kind": "admin"}, (), 88.0, "critical"),
        ({"kind": "admin", "authentication": "second_factor"}, (), 35.2, "medium"),
        ({"kind": "api", "authentication": "password"}, (), 49.3, "high"),  # 20 × 4 × 0.7 × 0.88 = 49.28
        ({"kind": "api", "authentication": "password", "open_to": "partner"}, (), 34.5, "medium"),  # × 0.7 = 34.496
        ({"kind": "api", "authentication": "password"}, ("waf", "firewall", "logging"), 39.4, "medium"),  # × 0.8
        ({"kind": "page", "open_to": "internal", "authentication": "certificate"}, (), 4.2, "low"),
    ],
)
def test_the_attack_surface_by_hand(
    door: dict[str, Any], controls: tuple[str, ...], score: float, severity: str
) -> None:
    given = system(*TWO_WAYS, entry_points=[{"component": "Front"} | door])
    given["components"][1]["controls"] = list(controls)
    (found,) = run(TOOL, given).result["attack_surface"]
    assert (found["score"], found["severity"], found["reaches"]) == (score, severity, "Data")


@pytest.mark.parametrize(
    ("connection", "missing"),
    [
        (link("User", "Front", protocol="http"), {"AR-03", "AR-05", "AR-07", "AR-08", "AR-09"}),
        (link("User", "Front", "encryption", "filter", "rate_limits", "inspection", "logging"), set()),
        (
            link("User", "Api", "encryption", "authentication", "filter", "rate_limits", "inspection", "logging"),
            {"AR-01"},
        ),
        (
            link("User", "Front", "encryption", "filter", "rate_limits", "inspection", "logging", protocol="ssh"),
            {"AR-02"},
        ),
        (link("Front", "Api", "encryption", "logging"), {"AR-04"}),
        (link("Front", "Api"), {"AR-03", "AR-04", "AR-09"}),
        (link("Api", "User", "encryption"), {"AR-06"}),
        (link("Api", "User", "encryption", "filter"), set()),
        (link("Api", "Jobs"), set()),
        (link("Api", "Jobs", protocol="telnet"), {"AR-10"}),
    ],
)
def test_what_a_crossing_needs(connection: dict[str, Any], missing: set[str]) -> None:
    assert rules(run(TOOL, system(connection)), f"{connection['from']} → {connection['to']}") == missing


def test_what_a_store_a_sign_in_and_a_zone_need() -> None:
    assert rules(run(TOOL, system()), "Data") == {"AR-20", "AR-22", "AR-24", "AR-25"}
    kept = ("encryption_at_rest", "access_control", "backup", "logging")
    whole = system(components=[part("Data", "Vault", "database", *kept, data="special")])
    assert rules(run(TOOL, whole)) == {"AR-40"}
    outside = system(components=[part("Data", "Edge", "storage", *kept, "monitoring", data="payment")])
    assert rules(run(TOOL, outside)) == {"AR-21"}
    assert rules(run(TOOL, system(components=[part("Login", "In", "identity", "monitoring")]))) == {"AR-23"}
    door = {"component": "Api", "kind": "remote", "authentication": "password"}
    assert rules(run(TOOL, system(entry_points=[door])), "Remote shell or desktop at Api") == {"AR-30"}
    door["authentication"] = "none"
    assert rules(run(TOOL, system(entry_points=[door])), "Remote shell or desktop at Api") == {"AR-30", "AR-31"}


def test_every_rule_has_an_id_of_its_own_and_controls_that_are_listed() -> None:
    every: list[boundaries.Rule[Any]] = [*boundaries.LINK_RULES, *boundaries.COMPONENT_RULES, *boundaries.ENTRY_RULES]
    every.append(boundaries.ZONE_RULE)
    assert len({rule.id for rule in every}) == len(every)
    assert all(set(rule.controls) <= set(catalogues.NIST_800_53) for rule in every)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"connections": [link("User", "Nobody")]}, "connections.0.to"),
        ({"connections": [link("Nobody", "User")]}, "connections.0.from"),
        ({"entry_points": [{"component": "Nobody"}]}, "entry_points.0.component"),
        ({"components": [part("A", "Nowhere")]}, "components.0.zone"),
        ({"components": [part("A", "In"), part("a", "In")]}, "components.1.name"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput) as error:
        run(TOOL, system() | change)
    assert list(error.value.fields) == [field]


def test_the_files_say_the_same() -> None:
    result = example(TOOL)
    rows = list(csv.DictReader(io.StringIO(file(result, "missing-controls.csv"))))
    assert [(row["Rule"], row["Where"]) for row in rows] == [
        (one["rule"], one["where"]) for one in result.result["missing"]
    ]
    said = file(result, "architecture.md")
    assert "Internet → Admin panel → Customer database" in said
    assert all(one in said for one in result.result["catalogue"])
    assert "Load balancer" in file(result, "architecture.svg")


def test_two_runs_are_one_and_two_systems_are_two() -> None:
    assert example(TOOL) == example(TOOL)
    one, other = (
        file(result, "architecture.md").splitlines() for result in (example(TOOL), run(TOOL, system(*TWO_WAYS)))
    )
    assert len(set(one) & set(other)) < 0.5 * len(set(other))


def test_the_largest_system_fits_the_limits() -> None:
    names = [f"{number:02} " + "w" * 57 for number in range(50)]
    given = {
        "title": "Large",
        "zones": ZONES,
        "components": [part(name, ZONES[at % 4]["name"], "database", data="special") for at, name in enumerate(names)],
        "connections": [link(names[at % 50], names[(at * 7 + 1) % 50], protocol="ftp") for at in range(100)],
        "entry_points": [{"component": names[at], "kind": "admin"} for at in range(40)],
    }
    assert len(run(TOOL, given).result["attack_surface"]) == 40


NAMES = st.sampled_from(["a", "b", "c", "{d}", "?"])
COMPONENTS = st.builds(
    part,
    NAMES,
    st.sampled_from(["Net", "Edge", "In", "Vault"]),
    st.sampled_from(list(boundaries.KINDS)),
    data=st.sampled_from(["public", "special"]),
)
CONNECTIONS = st.builds(
    link,
    NAMES,
    NAMES,
    st.sampled_from(list(boundaries.LINK_CONTROLS)),
    protocol=st.sampled_from(list(boundaries.LINKS)),
)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(COMPONENTS, min_size=1, max_size=5, unique_by=lambda one: one["name"]),
    st.lists(CONNECTIONS, max_size=6),
)
def test_any_system_has_an_answer_or_is_told_what_is_wrong(components: list[Any], connections: list[Any]) -> None:
    try:
        found = run(TOOL, system(*connections, components=components)).result["counts"]["components"]
    except (BadInput, InvalidInputs):
        found = len(components)
    assert found == len(components)
