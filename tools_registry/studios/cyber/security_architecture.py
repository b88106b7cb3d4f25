"""A security architecture: trust zones drawn, attack surface scored, what is missing by rule, ways to sensitive data.

surface score = 20 × weight of the entry (2–5) × reach × openness × (1 − 0.1 for each of five controls at its component)
× (0.4 + 0.12 × highest sensitivity that can be reached from it), 0 to 100. A way's barriers are what stands along it:
authentication, filter and inspection of each connection, and a check of access at its end. The easiest way to a store
has the fewest barriers, then the fewest steps (Dijkstra's algorithm). A single point is a component with one instance
without which a store that the internet's users need can no longer be reached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tools_registry import studio
from tools_registry.fields import Choice, Choices, Rows, Text, Whole
from tools_registry.studio import File, Limits, Result, Tool
from tools_registry.studios import drawing
from tools_registry.studios.sheets import csv_file, markdown_cell, markdown_table

from . import catalogues
from .boundaries import (
    AUTHENTICATION,
    COMPONENT_CONTROLS,
    COMPONENT_RULES,
    ENTRIES,
    ENTRY_RULES,
    ENTRY_WEIGHTS,
    KINDS,
    LINK_CONTROLS,
    LINK_RULES,
    LINKS,
    OPEN_TO,
    OPENNESS,
    REACH,
    ZONE_RULE,
    Component,
    Connection,
    Entry,
    Rule,
)
from .systems import (
    DATA,
    INTERNET,
    NAME_MAX,
    SENSITIVITY,
    TRUST,
    TRUST_LEVELS,
    ZONES,
    Names,
    key,
    references,
    zone_frames,
)

OUTSIDE = -1  # in ways: everybody on the internet
SURFACE_CONTROLS = (("firewall", "waf"), ("input_checks",), ("rate_limits",), ("logging", "monitoring"), ("patched",))
ORDER = ("critical", "high", "medium", "low")
SHAPES: Mapping[str, Any] = {"client": "pill", "third_party": "square", "gateway": "square"}
METHOD = (
    "Attack surface: 20 × weight of the entry (public pages, mail and partner links 2, VPN 3, API and upload 4, "
    "administration and remote access 5) × reach (internet 1, partners 0.7, own network 0.4) × openness (no "
    "authentication 1, password 0.7, second factor 0.4, certificate 0.3) × (1 − 0.1 for each of: filter, checks of "
    "input, limits, logs or alarms, updates) × (0.4 + 0.12 × the highest sensitivity, 1 to 5, that can be reached). "
    "Barriers of a way: authentication, filter and inspection of every connection on it, and a check of access at "
    "each component that it reaches. Controls are those of NIST SP 800-53 Revision 5; which rule applies where is this "
    "tool’s judgement."
)


def run(inputs: dict[str, Any], files: dict[str, bytes]) -> Result:
    """{title, counts, attack_surface, missing, ways, unreachable, single_points, catalogue, method}.

    `missing`: {rule, severity, where, title, fix, controls}; `ways`: the easiest one from the internet to each
    sensitive store, as names, with its barriers.
    """
    components, connections, entries = _read(inputs)
    ways = _ways(components, connections, entries)
    missing = _missing(inputs, components, connections, entries)
    surface = _surface(components, connections, entries)
    points = _single_points(components, connections, entries)
    crossing = [one for one in connections if one.crosses]
    sensitive = [one for one in components if one.is_sensitive_store]
    result = {
        "title": inputs["title"],
        "counts": {
            "zones": len(inputs["zones"]),
            "components": len(components),
            "connections": len(connections),
            "crossings": len(crossing),
            "plain_crossings": sum("encryption" not in one.controls for one in crossing),
            "entry_points": len(entries),
            "sensitive_stores": len(sensitive),
            "missing": len(missing),
            "by_severity": {name: sum(one["severity"] == name for one in missing) for name in ORDER},
        },
        "attack_surface": surface,
        "missing": missing,
        "ways": ways,
        "unreachable": [one.name for one in sensitive if one.name not in {way["to"] for way in ways}],
        "single_points": points,
        "catalogue": catalogues.titles({each for one in missing for each in one["controls"]}),
        "method": METHOD,
    }
    made = [
        File("architecture.md", "text/markdown", _written(result, inputs).encode("utf-8", "replace")),
        csv_file("missing-controls.csv", MISSING_COLUMNS, _missing_rows(missing)),
        File("architecture.svg", "image/svg+xml", _diagram(inputs, components, connections, entries, missing)),
        File("attack-surface.svg", "image/svg+xml", _surface_drawn(surface)),
    ]
    return Result(result, _view(result), made)


def _read(inputs: Mapping[str, Any]) -> tuple[list[Component], list[Connection], list[Entry]]:
    zones = Names("zones", "zone", inputs["zones"])
    names = Names("components", "component", inputs["components"])
    components = []
    places = references(inputs["components"], "components", zone=zones)
    for number, (row, place) in enumerate(zip(inputs["components"], places, strict=True)):
        zone = inputs["zones"][place["zone"]]
        components.append(
            Component(
                number,
                row["name"],
                row["kind"],
                zone["name"],
                TRUST_LEVELS[zone["trust"]],
                SENSITIVITY[row["data"]],
                DATA[row["data"]],
                row["instances"],
                frozenset(row["controls"]),
            )
        )
    ends = references(inputs["connections"], "connections", from_=names, to=names)
    connections = [
        Connection(number, components[end["from"]], components[end["to"]], row["protocol"], frozenset(row["controls"]))
        for number, (row, end) in enumerate(zip(inputs["connections"], ends, strict=True))
    ]
    doors = references(inputs["entry_points"], "entry_points", component=names)
    entries = [
        Entry(number, components[door["component"]], row["kind"], row["open_to"], row["authentication"])
        for number, (row, door) in enumerate(zip(inputs["entry_points"], doors, strict=True))
    ]
    return components, connections, entries


# Ways


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the graph: from a component, or from outside, to a component."""

    source: int
    target: int
    barriers: int


def _steps(components: Sequence[Component], connections: Sequence[Connection], entries: Sequence[Entry]) -> list[Step]:
    """From outside to what stands in the open, through the entries to theirs, and along every connection."""
    steps = [Step(OUTSIDE, one.number, 0) for one in components if one.trust == INTERNET]
    for entry in entries:
        if entry.open_to == "internet":
            guarded = bool({"firewall", "waf"} & entry.component.controls)
            steps.append(Step(OUTSIDE, entry.component.number, (entry.authentication != "none") + guarded))
    steps += [Step(one.source.number, one.target.number, one.barriers) for one in connections]
    return steps


def _easiest(steps: Sequence[Step], start: int, without: int | None = None) -> dict[int, tuple[int, list[int]]]:
    """For everything that can be reached: the fewest barriers, and the way there."""
    best: dict[int, tuple[int, int]] = {start: (0, 0)}
    ways: dict[int, list[int]] = {start: [start]}
    done: set[int] = set()
    while waiting := [one for one in best if one not in done]:
        here = min(waiting, key=lambda one: (best[one], one))
        done.add(here)
        for step in steps:
            if step.source != here or step.target == without:
                continue
            cost = (best[here][0] + step.barriers, best[here][1] + 1)
            if step.target not in best or cost < best[step.target]:
                best[step.target], ways[step.target] = cost, [*ways[here], step.target]
    return {one: (best[one][0], ways[one]) for one in best}


def _ways(
    components: Sequence[Component], connections: Sequence[Connection], entries: Sequence[Entry]
) -> list[dict[str, Any]]:
    reached = _easiest(_steps(components, connections, entries), OUTSIDE)
    found = [
        {
            "to": one.name,
            "data": one.data,
            "barriers": reached[one.number][0],
            "steps": len(reached[one.number][1]) - 1,
            "way": ["Internet", *(components[each].name for each in reached[one.number][1][1:])],
        }
        for one in components
        if one.is_sensitive_store and one.number in reached
    ]
    return sorted(found, key=lambda one: (one["barriers"], one["steps"], one["to"]))


def _single_points(
    components: Sequence[Component], connections: Sequence[Connection], entries: Sequence[Entry]
) -> list[dict[str, Any]]:
    steps = _steps(components, connections, entries)
    stores = [one for one in components if one.is_store]
    before = _easiest(steps, OUTSIDE)
    found = []
    for one in components:
        if one.instances > 1 or one.trust <= 1:
            continue
        after = _easiest(steps, OUTSIDE, without=one.number)
        cut = [store.name for store in stores if store.number in before and store.number not in after]
        if cut:
            found.append({"component": one.name, "zone": one.zone, "cuts_off": cut})
    return sorted(found, key=lambda point: (-len(point["cuts_off"]), point["component"]))


# Surface and rules


def _surface(
    components: Sequence[Component], connections: Sequence[Connection], entries: Sequence[Entry]
) -> list[dict[str, Any]]:
    steps = [Step(one.source.number, one.target.number, 0) for one in connections]
    found = []
    for entry in entries:
        one = entry.component
        within = [components[each] for each in _easiest(steps, one.number)]
        worst = max(within, key=lambda each: each.sensitivity)
        has = sum(bool(set(names) & one.controls) for names in SURFACE_CONTROLS)
        score = 20 * ENTRY_WEIGHTS[entry.kind] * REACH[entry.open_to] * OPENNESS[entry.authentication]
        score *= (1 - 0.1 * has) * (0.4 + 0.12 * worst.sensitivity)
        found.append(
            {
                "component": one.name,
                "entry": entry.kind,
                "open_to": entry.open_to,
                "authentication": entry.authentication,
                "controls": has,
                "reaches": worst.name,
                "reaches_data": worst.data,
                "score": round(score + 1e-9, 1),
                "severity": "critical"
                if score >= 60
                else "high"
                if score >= 40
                else "medium"
                if score >= 20
                else "low",
            }
        )
    return sorted(found, key=lambda each: (-each["score"], each["component"], each["entry"]))


def _missing(
    inputs: Mapping[str, Any],
    components: Sequence[Component],
    connections: Sequence[Connection],
    entries: Sequence[Entry],
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def judge(rules: Sequence[Rule[Any]], one: Any, where: str, kind: str, field: str) -> None:
        found.extend(
            {
                "rule": rule.id,
                "severity": rule.severity,
                "where": where,
                "kind": kind,
                "field": field,
                "title": rule.title,
                "fix": rule.fix,
                "controls": list(rule.controls),
            }
            for rule in rules
            if rule.applies(one) and not rule.is_met(one)
        )

    for link in connections:
        where = f"{link.source.name} → {link.target.name}"
        kind = f"{link.source.zone} → {link.target.zone}" if link.crosses else link.source.zone
        judge(LINK_RULES, link, where, kind, f"connections.{link.number}")
    for one in components:
        judge(COMPONENT_RULES, one, one.name, one.zone, f"components.{one.number}")
    for entry in entries:
        where = f"{ENTRIES[entry.kind]} at {entry.component.name}"
        judge(ENTRY_RULES, entry, where, entry.component.zone, f"entry_points.{entry.number}")
    for number, row in enumerate(inputs["zones"]):
        zone = {
            "trust": TRUST_LEVELS[row["trust"]],
            "components": [one for one in components if one.zone == row["name"]],
        }
        judge((ZONE_RULE,), zone, row["name"], row["name"], f"zones.{number}")
    return sorted(found, key=lambda one: (ORDER.index(one["severity"]), one["rule"]))


# Pictures


def _diagram(
    inputs: Mapping[str, Any],
    components: Sequence[Component],
    connections: Sequence[Connection],
    entries: Sequence[Entry],
    missing: Sequence[Mapping[str, Any]],
) -> bytes:
    count: dict[str, list[str]] = {}
    for gap in missing:
        count.setdefault(gap["field"], []).append(gap["severity"])
    zone_of = {row["name"]: f"z{number}" for number, row in enumerate(inputs["zones"])}
    nodes = []
    for one in components:
        doors = [
            f"▸ {ENTRIES[door.kind]}, {OPEN_TO[door.open_to].lower()}" for door in entries if door.component is one
        ]
        gaps = count.get(f"components.{one.number}", [])
        nodes.append(
            drawing.Node(
                f"c{one.number}",
                one.name,
                KINDS[one.kind],
                "store" if one.is_store else SHAPES.get(one.kind, "box"),
                "coral" if "critical" in gaps or "high" in gaps else "brass" if gaps else "plain",
                [*doors, *([f"{len(gaps)} missing"] if gaps else [])],
                zone_of[one.zone],
            )
        )
    edges = []
    for link in connections:
        gaps = count.get(f"connections.{link.number}", [])
        said = f"{LINKS[link.protocol]}{f' · {len(gaps)} missing' if gaps else ''}"
        tone: drawing.Tone = "coral" if "critical" in gaps or "high" in gaps else "brass" if gaps else "plain"
        is_plain = "encryption" not in link.controls
        edges.append(drawing.Edge(f"c{link.source.number}", f"c{link.target.number}", said, tone, is_plain))
    described = "; ".join(
        f"{link.source.name} ({link.source.zone}) to {link.target.name} ({link.target.zone})"
        for link in connections[:40]
    )
    frames = zone_frames(inputs["zones"])
    described = described or "No connections."
    return drawing.diagram("Security architecture", nodes, edges, frames, direction="down", described=described)


def _surface_drawn(surface: Sequence[Mapping[str, Any]]) -> bytes:
    tones: Mapping[str, drawing.Tone] = {"critical": "coral", "high": "coral", "medium": "brass", "low": "sea"}
    rows = [
        drawing.Bar(
            f"{ENTRIES[one['entry']]} at {one['component']}", one["score"], tones[one["severity"]], one["severity"]
        )
        for one in surface
    ]
    return drawing.bars("Attack surface, 0 to 100", rows)


# Files and page


MISSING_COLUMNS = ("Rule", "Weight", "Where", "Zones", "What is missing", "What to do", "Controls")


def _missing_rows(missing: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (
            one["rule"],
            one["severity"],
            one["where"],
            one["kind"],
            one["title"],
            one["fix"],
            " ".join(one["controls"]),
        )
        for one in missing
    ]


SURFACE_COLUMNS = ("Entry", "At", "Open to", "Authentication", "Controls of 5", "Reaches", "Score", "Weight")


def _surface_rows(surface: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (
            ENTRIES[one["entry"]],
            one["component"],
            OPEN_TO[one["open_to"]],
            AUTHENTICATION[one["authentication"]],
            one["controls"],
            f"{one['reaches']} ({one['reaches_data'].lower()})",
            one["score"],
            one["severity"],
        )
        for one in surface
    ]


def _way_rows(ways: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return [(one["to"], one["data"], " → ".join(one["way"]), one["steps"], one["barriers"]) for one in ways]


WAY_COLUMNS = ("Store", "Keeps", "Easiest way", "Steps", "Barriers")


def _written(result: Mapping[str, Any], inputs: Mapping[str, Any]) -> str:
    counts = result["counts"]
    zones = [
        (
            row["name"],
            TRUST[row["trust"]],
            ", ".join(one["name"] for one in inputs["components"] if key(one["zone"]) == key(row["name"])),
        )
        for row in inputs["zones"]
    ]
    components = [
        (
            row["name"],
            KINDS[row["kind"]],
            row["zone"],
            DATA[row["data"]],
            row["instances"],
            ", ".join(COMPONENT_CONTROLS[one] for one in row["controls"]) or "none",
        )
        for row in inputs["components"]
    ]
    links = [
        (
            row["from"],
            row["to"],
            LINKS[row["protocol"]],
            ", ".join(LINK_CONTROLS[one] for one in row["controls"]) or "none",
        )
        for row in inputs["connections"]
    ]
    surface = _surface_rows(result["attack_surface"])
    ways = _way_rows(result["ways"])
    points = [(one["component"], one["zone"], ", ".join(one["cuts_off"])) for one in result["single_points"]]
    named = [(one, title) for one, title in result["catalogue"].items()]
    gaps = _missing_rows(result["missing"])
    unreachable = ", ".join(markdown_cell(one) for one in result["unreachable"])
    return "\n\n".join(
        (
            f"# Security architecture: {markdown_cell(result['title'])}",
            f"{counts['components']} components in {counts['zones']} zones; {counts['crossings']} of "
            f"{counts['connections']} connections cross a boundary, {counts['plain_crossings']} of them in plain text; "
            f"{counts['entry_points']} entry points; {counts['missing']} controls missing.",
            "## Zones\n\n" + markdown_table(("Zone", "Trust", "In it"), zones),
            "## Components\n\n"
            + markdown_table(("Component", "Kind", "Zone", "Data", "Instances", "Controls"), components),
            "## Connections\n\n"
            + (markdown_table(("From", "To", "Over", "Controls"), links) if links else "None are named."),
            "## Attack surface\n\n"
            + (markdown_table(SURFACE_COLUMNS, surface) if surface else "No entry points are named."),
            "## Missing controls\n\n" + (markdown_table(MISSING_COLUMNS, gaps) if gaps else "None, by these rules."),
            "## Ways from the internet to sensitive data\n\n"
            + (markdown_table(WAY_COLUMNS, ways) if ways else "None.")
            + (f"\n\nWithout a way there: {unreachable}." if unreachable else ""),
            "## Single points\n\n"
            + (markdown_table(("Component", "Zone", "Without it, out of reach"), points) if points else "None."),
            "## Controls named (NIST SP 800-53 Revision 5)\n\n"
            + (markdown_table(("Control", "Title"), named) if named else "None."),
            f"## Method\n\n{METHOD}\n",
        )
    )


def _view(result: Mapping[str, Any]) -> list[studio.Block]:
    counts, surface, ways = result["counts"], result["attack_surface"], result["ways"]
    gaps = [
        {
            "severity": one["severity"],
            "title": f"{one['where']}: {one['title'][:1].lower()}{one['title'][1:]}",
            "where": f"{one['rule']} · {one['kind']}",
            "fix": _fix(one, result["catalogue"]),
        }
        for one in result["missing"]
    ]
    points = [(one["component"], one["zone"], ", ".join(one["cuts_off"])) for one in result["single_points"]]
    fewest = ways[0]["barriers"] if ways else None
    return [
        studio.facts(
            "At a glance",
            (
                ("Components", counts["components"]),
                ("Connections across a boundary", f"{counts['crossings']} of {counts['connections']}"),
                ("Of these in plain text", counts["plain_crossings"]),
                ("Controls missing", counts["missing"]),
                ("Critical or high", counts["by_severity"]["critical"] + counts["by_severity"]["high"]),
                ("Highest attack surface", f"{surface[0]['score']:g} of 100" if surface else "no entry points named"),
                ("Fewest barriers to sensitive data", fewest if fewest is not None else "no way there"),
                ("Single points", len(points)),
            ),
        ),
        studio.picture(
            "Security architecture",
            "architecture.svg",
            described="Each zone with its trust, 0 to 4. What is missing is listed below.",
        ),
        studio.findings("Missing controls", gaps, none="No rule found a control missing."),
        studio.picture("Attack surface", "attack-surface.svg", described="The same scores are in the table below."),
        studio.table("Attack surface", SURFACE_COLUMNS, _surface_rows(surface)),
        studio.table(
            "Ways from the internet to sensitive data",
            WAY_COLUMNS,
            _way_rows(ways),
            note=f"Out of reach: {', '.join(result['unreachable'])}." if result["unreachable"] else "",
        ),
        studio.table("Single points", ("Component", "Zone", "Without it, out of reach"), points),
        studio.text("How it is judged", METHOD),
    ]


def _fix(gap: Mapping[str, Any], catalogue: Mapping[str, str]) -> str:
    return f"{gap['fix']} ({'; '.join(f'{one} {catalogue[one]}' for one in gap['controls'])})"


def _component(
    name: str, kind: str, zone: str, *controls: str, data: str = "public", instances: int = 1
) -> dict[str, Any]:
    return {
        "name": name,
        "kind": kind,
        "zone": zone,
        "data": data,
        "instances": instances,
        "controls": list(controls),
    }


def _link(source: str, target: str, protocol: str, *controls: str) -> dict[str, Any]:
    return {"from": source, "to": target, "protocol": protocol, "controls": list(controls)}


def _entry(component: str, kind: str, open_to: str, authentication: str) -> dict[str, Any]:
    return {"component": component, "kind": kind, "open_to": open_to, "authentication": authentication}


TOOL = Tool(
    slug="cyber-studio/security-architecture",
    title="Security architecture",
    noun="review",
    summary="Trust zones drawn, the attack surface scored, what is missing, and the ways to your data.",
    mode="hybrid",
    risk="low",
    credits_max=5,
    limits=Limits(cpu_seconds=5, seconds=10),
    icon="layers",
    fields=(
        Text(name="title", title="What is drawn", length_max=100, is_short=True, is_required=True),
        ZONES,
        Rows(
            name="components",
            title="Components",
            noun="component",
            count_min=1,
            count_max=50,
            is_required=True,
            fields=(
                Text(name="name", title="Name", length_max=NAME_MAX, is_short=True, is_required=True),
                Choice(name="kind", title="It is", choices=KINDS, default="service"),
                Text(name="zone", title="In the zone", length_max=NAME_MAX, is_short=True, is_required=True),
                Choice(name="data", title="Most sensitive data in it", choices=DATA, default="internal"),
                Whole(name="instances", title="How many run at once", min=1, max=1000, default=1),
                Choices(name="controls", title="Controls", choices=COMPONENT_CONTROLS),
            ),
        ),
        Rows(
            name="connections",
            title="Connections",
            noun="connection",
            help="From who calls to who is called.",
            count_max=100,
            fields=(
                Text(name="from", title="From", length_max=NAME_MAX, is_short=True, is_required=True),
                Text(name="to", title="To", length_max=NAME_MAX, is_short=True, is_required=True),
                Choice(name="protocol", title="Over", choices=LINKS, default="https"),
                Choices(name="controls", title="Controls on the way", choices=LINK_CONTROLS),
            ),
        ),
        Rows(
            name="entry_points",
            title="Entry points",
            noun="entry point",
            help="Where somebody or something comes in.",
            count_max=40,
            fields=(
                Text(name="component", title="At the component", length_max=NAME_MAX, is_short=True, is_required=True),
                Choice(name="kind", title="It is", choices=ENTRIES, default="page"),
                Choice(name="open_to", title="Open to", choices=OPEN_TO, default="internet"),
                Choice(name="authentication", title="Authentication", choices=AUTHENTICATION, default="none"),
            ),
        ),
    ),
    function=run,
    example={
        "title": "Bookseller, online shop",
        "zones": [
            {"name": "Internet", "trust": "internet"},
            {"name": "Partners", "trust": "partner"},
            {"name": "Edge", "trust": "edge"},
            {"name": "Inner network", "trust": "internal"},
            {"name": "Data", "trust": "restricted"},
        ],
        "components": [
            _component("Browser", "client", "Internet"),
            _component("Payment provider", "third_party", "Partners", data="payment"),
            _component("Load balancer", "gateway", "Edge", "firewall", "rate_limits", "monitoring", instances=2),
            _component("Shop", "web", "Edge", "input_checks", "patched", data="personal", instances=3),
            _component("Orders", "service", "Inner network", "access_control", "logging", data="personal"),
            _component("Admin panel", "admin", "Inner network", "access_control", data="personal"),
            _component("Customer database", "database", "Data", "access_control", "backup", "logging", data="personal"),
            _component("Picture store", "storage", "Edge", instances=2, data="public"),
        ],
        "connections": [
            _link("Browser", "Load balancer", "https", "encryption", "logging"),
            _link("Load balancer", "Shop", "http"),
            _link("Shop", "Orders", "grpc", "encryption", "authentication", "filter"),
            _link("Shop", "Picture store", "https", "encryption"),
            _link("Orders", "Customer database", "sql", "encryption", "authentication", "filter"),
            _link("Admin panel", "Customer database", "sql", "authentication"),
            _link("Orders", "Payment provider", "https", "encryption", "authentication"),
        ],
        "entry_points": [
            _entry("Load balancer", "page", "internet", "none"),
            _entry("Orders", "partner", "partner", "certificate"),
            _entry("Admin panel", "admin", "internet", "password"),
        ],
    },
)
