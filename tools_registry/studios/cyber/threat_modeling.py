"""A threat model: STRIDE for every element and flow of a described system, scored, with what answers each threat.

likelihood = 1 + exposure (0–2) + weakness (0–2); impact = sensitivity of the data (1–5), one less (at least 2) where
only service is lost, one more (at most 5) where rights are gained; score = likelihood × impact. Not built on pytm: that
takes a program with dozens of attributes for each element, and its answers do not follow from an order of zones; the
table here is smaller, and says why. No threat is left out: those that are answered stand at the end.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tools_registry import studio
from tools_registry.fields import Choice, Choices, Flag, Rows, Text
from tools_registry.studio import File, Limits, Result, Tool
from tools_registry.studios import drawing
from tools_registry.studios.sheets import csv_file, markdown_cell, markdown_table

from . import catalogues
from .stride import APPLIES, CATEGORIES, ELEMENT_RULES, FLOW_RULES, SAFEGUARDS, Element, Flow, Rule
from .systems import (
    DATA,
    NAME_MAX,
    PLAIN_PROTOCOLS,
    PROTOCOLS,
    SEALED_PROTOCOLS,
    SENSITIVE,
    SENSITIVITY,
    TRUST,
    TRUST_LEVELS,
    ZONES,
    Names,
    references,
    severity_of,
    zone_frames,
)

KINDS = {
    "actor": "Person",
    "external": "System of somebody else",
    "process": "Program",
    "store": "Store: database, files, queue",
}
SHAPES: Mapping[str, Any] = {"actor": "pill", "external": "square", "process": "box", "store": "store"}
SHOWN_MAX = 60
METHOD = (
    "Which categories apply: STRIDE per element (Hernan, Lambert, Ostwald, Shostack, MSDN Magazine, November 2006). "
    "Likelihood = 1 + exposure (2 where the internet reaches it, 1 across a boundary, 0 inside a zone) + weakness (2 "
    "where nothing answers the threat, 1 where something does in part, 0 where the safeguard is there). Impact = "
    "sensitivity of the data, 1 to 5; one less, at least 2, for denial of service; one more, at most 5, for elevation "
    "of privilege. Score = likelihood × impact: from 20 critical, from 12 high, from 6 medium. Controls are those of "
    "NIST SP 800-53 Revision 5, weaknesses those of CWE."
)


def run(inputs: dict[str, Any], files: dict[str, bytes]) -> Result:
    """{title, elements, flows, threats, matrix, checks, controls, counts, catalogue, method}.

    A threat: {id, category, where, element or flow, title, text, fix, likelihood, impact, score, severity, is_open,
    controls, cwe}. `matrix`: for each element and flow the highest score by category.
    """
    zones = Names("zones", "zone", inputs["zones"])
    names = Names("elements", "element", inputs["elements"])
    zone_of = [found["zone"] for found in references(inputs["elements"], "elements", zone=zones)]
    ends = references(inputs["flows"], "flows", from_=names, to=names)
    flows = _flows(inputs, zone_of, ends)
    elements = _elements(inputs, zone_of, flows)
    threats = _threats(elements, flows)
    result = _result(inputs, elements, flows, threats)
    picture = _diagram(inputs, zone_of, ends, flows, threats)
    made = [
        File("threat-model.md", "text/markdown", _written(result, inputs).encode("utf-8", "replace")),
        _csv(threats),
        File("threat-model.json", "application/json", _json(result, inputs)),
        File("data-flow.svg", "image/svg+xml", picture),
        File("stride.svg", "image/svg+xml", _matrix_drawn(result)),
    ]
    return Result(result, _view(result, inputs), made)


# Reading


def _flows(inputs: Mapping[str, Any], zone_of: Sequence[int], ends: Sequence[Mapping[str, int]]) -> list[Flow]:
    found = []
    for number, (row, end) in enumerate(zip(inputs["flows"], ends, strict=True)):
        source, target = inputs["elements"][end["from"]], inputs["elements"][end["to"]]
        zone, zone_to = (inputs["zones"][zone_of[end[one]]] for one in ("from", "to"))
        found.append(
            Flow(
                number,
                source["name"],
                target["name"],
                row["carries"],
                DATA[row["data"]],
                PROTOCOLS[row["protocol"]],
                SENSITIVITY[row["data"]],
                row["is_authenticated"],
                row["is_encrypted"],
                zone["name"],
                zone_to["name"],
                TRUST_LEVELS[zone["trust"]],
                TRUST_LEVELS[zone_to["trust"]],
                target["kind"],
                frozenset(target["safeguards"]),
                row["data"] == "credentials",
            )
        )
    return found


def _elements(inputs: Mapping[str, Any], zone_of: Sequence[int], flows: Sequence[Flow]) -> list[Element]:
    found = []
    for number, row in enumerate(inputs["elements"]):
        zone = inputs["zones"][zone_of[number]]
        inbound = [flow for flow in flows if flow.target == row["name"]]
        outbound = [flow for flow in flows if flow.source == row["name"]]
        seen = [(SENSITIVITY[row["data"]], DATA[row["data"]])]
        seen += [(flow.sensitivity, flow.data) for flow in (*inbound, *outbound)]
        sensitivity, data = max(seen, key=lambda pair: pair[0])
        found.append(
            Element(
                number,
                row["name"],
                row["kind"],
                zone["name"],
                TRUST_LEVELS[zone["trust"]],
                frozenset(row["safeguards"]),
                row["keeps_logs"],
                sensitivity,
                data,
                inbound,
                outbound,
            )
        )
    return found


# Threats


def _threats(elements: Sequence[Element], flows: Sequence[Flow]) -> list[dict[str, Any]]:
    """All that apply, the highest score first."""
    found = []
    for element in elements:
        rules = ELEMENT_RULES["actor" if element.kind == "external" else element.kind]
        letters = APPLIES[element.kind] + ("R" if element.kind == "store" and element.keeps_logs else "")
        for category in [one for one in CATEGORIES if one in letters]:
            rule = next(rule for rule in rules[category] if rule.when(element))
            threat = _threat(rule, category, element.words, element.exposure, element.sensitivity)
            found.append({"where": element.name, "element": element.name, "flow": None} | threat)
    for flow in flows:
        for category in APPLIES["flow"]:
            of_flow = next(rule for rule in FLOW_RULES[category] if rule.when(flow))
            threat = _threat(of_flow, category, flow.words, flow.exposure, flow.sensitivity)
            found.append({"where": f"{flow.source} → {flow.target}", "element": None, "flow": flow.number} | threat)
    found.sort(key=lambda one: -one["score"])
    return [{"id": f"T{number:03}"} | one for number, one in enumerate(found, start=1)]


def _threat(
    rule: Rule[Any], category: str, words: Mapping[str, str], exposure: int, sensitivity: int
) -> dict[str, Any]:
    likelihood = 1 + exposure + rule.weakness
    impact = sensitivity
    if category == "D":
        impact = max(2, sensitivity - 1)
    elif category == "E":
        impact = min(5, sensitivity + 1)
    return {
        "category": category,
        "rule": rule.id,
        "title": _filled(rule.title, words),
        "text": _filled(rule.text, words),
        "fix": _filled(rule.fix, words),
        "exposure": exposure,
        "weakness": rule.weakness,
        "likelihood": likelihood,
        "impact": impact,
        "score": likelihood * impact,
        "severity": severity_of(likelihood * impact),
        "is_open": rule.weakness > 0,
        "controls": list(rule.controls),
        "cwe": rule.cwe or None,
    }


def _filled(sentence: str, words: Mapping[str, str]) -> str:
    said = sentence.format_map(words)
    return said[:1].upper() + said[1:]


def _checks(inputs: Mapping[str, Any], elements: Sequence[Element], flows: Sequence[Flow]) -> list[dict[str, str]]:
    """What is odd in the description itself: the model is worth what it says."""
    found = []

    def say(severity: str, where: str, title: str, text: str) -> None:
        found.append({"severity": severity, "where": where, "title": title, "text": text})

    for row, flow in zip(inputs["flows"], flows, strict=True):
        where = f"flows.{flow.number}"
        pair = f"{flow.source} → {flow.target}"
        if flow.is_encrypted and row["protocol"] in PLAIN_PROTOCOLS:
            said = f"{flow.protocol} does not encrypt. Choose the sealed protocol, or take the tick away."
            say("high", where, f"{pair} is said to be encrypted, over {flow.protocol}", said)
        if not flow.is_encrypted and row["protocol"] in SEALED_PROTOCOLS:
            said = f"{flow.protocol} encrypts. Set the tick, or choose what is really used."
            say("medium", where, f"{pair} is said to be plain text, over {flow.protocol}", said)
        if flow.source == flow.target:
            say("low", where, f"{flow.source} sends to itself", "Leave it out, or split the element into two.")
        kinds = {inputs["elements"][one]["kind"] for one in (_at(elements, flow.source), _at(elements, flow.target))}
        if "process" not in kinds and flow.source != flow.target:
            said = "Data moves by a program. Name the one that reads and writes, since it has threats of its own."
            say("medium", where, f"No program is between {flow.source} and {flow.target}", said)
    for element in elements:
        where = f"elements.{element.number}"
        if not element.inbound and not element.outbound:
            say("medium", where, f"{element.name} has no flows", "Draw what it gets and gives, or leave it out.")
        elif element.kind == "process" and not element.inbound:
            say("low", where, f"{element.name} gets nothing", "A program that only sends is rare: what starts it?")
        elif element.kind == "process" and not element.outbound:
            say("low", where, f"{element.name} gives nothing", "A program that only takes is rare: where does it go?")
        if (
            element.kind == "store"
            and element.trust <= 2
            and SENSITIVITY[inputs["elements"][element.number]["data"]] >= SENSITIVE
        ):
            said = "Move it behind a program into a zone that is trusted more."
            say("high", where, f"{element.name} keeps {element.data.lower()} in {element.zone}", said)
    used = {element.zone for element in elements}
    for number, zone in enumerate(inputs["zones"]):
        if zone["name"] not in used:
            say("low", f"zones.{number}", f"Nothing is in {zone['name']}", "Leave it out, or say what is there.")
    return found


def _at(elements: Sequence[Element], name: str) -> int:
    return next(element.number for element in elements if element.name == name)


# The result


def _result(
    inputs: Mapping[str, Any],
    elements: Sequence[Element],
    flows: Sequence[Flow],
    threats: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    open_ = [one for one in threats if one["is_open"]]
    answers: Counter[str] = Counter(one for threat in open_ for one in threat["controls"])
    ids = {one for threat in threats for one in (*threat["controls"], threat["cwe"]) if one}
    return {
        "title": inputs["title"],
        "counts": {
            "elements": len(elements),
            "flows": len(flows),
            "crossings": sum(flow.crosses for flow in flows),
            "plain_crossings": sum(flow.crosses and not flow.is_encrypted for flow in flows),
            "threats": len(threats),
            "open": len(open_),
            "by_category": {name: sum(one["category"] == name for one in threats) for name in CATEGORIES},
            "by_severity": {
                name: sum(one["severity"] == name for one in open_) for name in ("critical", "high", "medium", "low")
            },
        },
        "threats": list(threats),
        "matrix": _matrix(elements, flows, threats),
        "checks": _checks(inputs, elements, flows),
        "controls": [
            {"id": one, "title": catalogues.NIST_800_53[one], "open_threats": count}
            for one, count in sorted(answers.items(), key=lambda pair: (-pair[1], pair[0]))
        ],
        "catalogue": catalogues.titles(ids),
        "sources": list(catalogues.SOURCES),
        "method": METHOD,
    }


def _matrix(
    elements: Sequence[Element], flows: Sequence[Flow], threats: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    scores: dict[tuple[str, int], dict[str, int]] = {}
    places = {element.name: element.number for element in elements}
    for one in threats:
        place = ("element", places[one["element"]]) if one["flow"] is None else ("flow", one["flow"])
        scores.setdefault(place, {})[one["category"]] = one["score"]
    rows = [("element", element.number, element.name, KINDS[element.kind]) for element in elements]
    rows += [("flow", flow.number, f"{flow.source} → {flow.target}", "Flow") for flow in flows]
    return [
        {"where": name, "kind": kind} | {category: scores[of, number].get(category) for category in CATEGORIES}
        for of, number, name, kind in rows
    ]


# Pictures


def _diagram(
    inputs: Mapping[str, Any],
    zone_of: Sequence[int],
    ends: Sequence[Mapping[str, int]],
    flows: Sequence[Flow],
    threats: Sequence[Mapping[str, Any]],
) -> bytes:
    worst: dict[int | str, int] = {}
    for one in threats:
        if one["is_open"]:
            place = one["flow"] if one["flow"] is not None else one["element"]
            worst[place] = max(worst.get(place, 0), one["score"])
    frames = zone_frames(inputs["zones"])
    nodes = [
        drawing.Node(
            f"e{number}",
            row["name"],
            KINDS[row["kind"]].partition(":")[0],
            SHAPES[row["kind"]],
            "coral" if worst.get(row["name"], 0) >= 20 else "brass" if worst.get(row["name"], 0) >= 12 else "plain",
            [f"worst open: {worst[row['name']]}"] if row["name"] in worst else ["nothing open"],
            f"z{zone_of[number]}",
        )
        for number, row in enumerate(inputs["elements"])
    ]
    edges = [
        drawing.Edge(
            f"e{end['from']}",
            f"e{end['to']}",
            f"{'' if flow.is_encrypted else 'plain text: '}{flow.carries or flow.data}",
            "plain" if flow.is_encrypted else "coral" if flow.crosses else "brass",
            not flow.is_encrypted,
        )
        for end, flow in zip(ends, flows, strict=True)
    ]
    return drawing.diagram("Data flows", nodes, edges, frames, direction="down", described=_described(flows))


def _described(flows: Sequence[Flow]) -> str:
    return (
        "; ".join(
            f"{flow.source} to {flow.target}: {flow.carries or flow.data}, "
            f"{'encrypted' if flow.is_encrypted else 'plain text'}"
            for flow in flows[:40]
        )
        or "Elements without flows."
    )


def _matrix_drawn(result: Mapping[str, Any]) -> bytes:
    rows = result["matrix"]
    values = [[row[category] for category in CATEGORIES] for row in rows]
    return drawing.heat_map(
        "Threats by element and category",
        list(CATEGORIES.values()),
        [row["where"] for row in rows],
        values,
        scale="risk",
        least=1,
        most=25,
        described="The score of each threat, 1 to 25; a dash where the category does not apply.",
    )


# Files


def _csv(threats: Sequence[Mapping[str, Any]]) -> File:
    names = (
        "id",
        "category",
        "where",
        "title",
        "text",
        "likelihood",
        "impact",
        "score",
        "severity",
        "is_open",
        "fix",
        "controls",
        "cwe",
    )
    rows = [
        [
            CATEGORIES[one["category"]],
            *(
                " ".join(one[name]) if name == "controls" else one[name]
                for name in names
                if name not in ("category", "id")
            ),
        ]
        for one in threats
    ]
    return csv_file("threats.csv", names, [[one["id"], *row] for one, row in zip(threats, rows, strict=True)])


def _json(result: Mapping[str, Any], inputs: Mapping[str, Any]) -> bytes:
    whole = {"format": "threat model 1", "system": dict(inputs)} | dict(result)
    return json.dumps(whole, ensure_ascii=False, indent=1).encode("utf-8", "replace")


def _written(result: Mapping[str, Any], inputs: Mapping[str, Any]) -> str:
    counts = result["counts"]
    parts = [f"# Threat model: {markdown_cell(result['title'])}"]
    if inputs["description"]:
        parts.append(markdown_cell(inputs["description"]))
    parts.append(
        f"{counts['threats']} threats, {counts['open']} open; {counts['crossings']} of {counts['flows']} flows cross a "
        f"boundary, {counts['plain_crossings']} of them in plain text."
    )
    zones = [(zone["name"], TRUST[zone["trust"]]) for zone in inputs["zones"]]
    parts.append("## The system\n\n" + markdown_table(("Zone", "Trust"), zones))
    elements = [
        (
            row["name"],
            KINDS[row["kind"]],
            row["zone"],
            ", ".join(SAFEGUARDS[one] for one in row["safeguards"]) or "none",
        )
        for row in inputs["elements"]
    ]
    parts.append(markdown_table(("Element", "Kind", "Zone", "Safeguards"), elements))
    if inputs["flows"]:
        parts.append(markdown_table(FLOW_COLUMNS, _flow_rows(inputs)))
    parts.append("## STRIDE per element")
    matrix = [(row["where"], row["kind"], *(row[one] or "–" for one in CATEGORIES)) for row in result["matrix"]]
    parts.append(markdown_table(("Where", "Kind", *CATEGORIES.values()), matrix))
    parts.append("## Open threats")
    parts += [_threat_written(one, result["catalogue"]) for one in result["threats"] if one["is_open"]] or ["None."]
    answered = [
        (one["id"], CATEGORIES[one["category"]], one["where"], one["title"], one["score"])
        for one in result["threats"]
        if not one["is_open"]
    ]
    if answered:
        parts.append(
            "## Answered by what is there\n\n"
            + markdown_table(("Id", "Category", "Where", "Threat", "Score"), answered)
        )
    if result["checks"]:
        odd = [(one["severity"], one["title"], one["text"]) for one in result["checks"]]
        parts.append("## About the description\n\n" + markdown_table(("Weight", "What", "What to do"), odd))
    parts.append(f"## Method\n\n{METHOD}")
    return "\n\n".join(parts) + "\n"


def _threat_written(one: Mapping[str, Any], catalogue: Mapping[str, str]) -> str:
    named = [f"{each} {catalogue[each]}" for each in (*one["controls"], *([one["cwe"]] if one["cwe"] else []))]
    return (
        f"### {one['id']} · {one['severity']} · {markdown_cell(one['title'])}\n\n"
        f"{CATEGORIES[one['category']]} · {markdown_cell(one['where'])} · likelihood {one['likelihood']} × impact "
        f"{one['impact']} = **{one['score']}**\n\n{markdown_cell(one['text'])}\n\n"
        f"What to do: {markdown_cell(one['fix'])}\n\n{'; '.join(named)}"
    )


FLOW_COLUMNS = ("From", "To", "Carries", "Data", "Protocol", "Authenticated", "Encrypted")


def _flow_rows(inputs: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (
            row["from"],
            row["to"],
            row["carries"],
            DATA[row["data"]],
            PROTOCOLS[row["protocol"]],
            "yes" if row["is_authenticated"] else "no",
            "yes" if row["is_encrypted"] else "no",
        )
        for row in inputs["flows"]
    ]


def _view(result: Mapping[str, Any], inputs: Mapping[str, Any]) -> list[studio.Block]:
    counts, catalogue = result["counts"], result["catalogue"]
    open_ = [one for one in result["threats"] if one["is_open"]]
    worst = open_[0]["score"] if open_ else 0
    listed = [
        {
            "severity": one["severity"],
            "title": f"{one['id']} {one['title']}",
            "where": f"{CATEGORIES[one['category']]} · {one['where']} · "
            f"{one['likelihood']} × {one['impact']} = {one['score']}",
            "text": one["text"],
            "fix": f"{one['fix']} ({'; '.join(f'{each} {catalogue[each]}' for each in one['controls'])})",
            "link": catalogues.link(one["cwe"] or ""),
        }
        for one in open_[:SHOWN_MAX]
    ]
    view = [
        studio.facts(
            "At a glance",
            (
                ("Threats", counts["threats"]),
                ("Open", counts["open"]),
                ("Critical or high, open", counts["by_severity"]["critical"] + counts["by_severity"]["high"]),
                ("Highest open score", f"{worst} of 25"),
                ("Flows across a boundary", f"{counts['crossings']} of {counts['flows']}"),
                ("Of these in plain text", counts["plain_crossings"]),
            ),
        ),
        studio.picture(
            "Data flows",
            "data-flow.svg",
            described="Each zone with its trust, 0 to 4. The same flows are in the table below.",
        ),
        studio.findings("Open threats", listed, none="Every threat is answered by a safeguard that you named."),
    ]
    if len(open_) > SHOWN_MAX:
        view.append(studio.text("And more", f"{len(open_) - SHOWN_MAX} open threats of lower score are in the files."))
    view.append(
        studio.findings(
            "About the description",
            [one | {"fix": one["text"], "text": "", "where": ""} for one in result["checks"]],
            none="Nothing odd was found in the description.",
        )
    )
    view.append(
        studio.table(
            "Where to begin: controls by the open threats that they answer",
            ("Control", "Title (NIST SP 800-53 Rev. 5)", "Open threats"),
            [(one["id"], one["title"], one["open_threats"]) for one in result["controls"]],
        )
    )
    view.append(
        studio.picture("STRIDE per element", "stride.svg", described="Scores from 1 to 25; a dash: does not apply.")
    )
    matrix = [(row["where"], row["kind"], *(row[one] for one in CATEGORIES)) for row in result["matrix"]]
    view.append(studio.table("The same as a table", ("Where", "Kind", *CATEGORIES.values()), matrix))
    view.append(studio.table("Flows", FLOW_COLUMNS, _flow_rows(inputs)))
    view.append(studio.text("How it is counted", METHOD))
    return view


def _element(
    name: str, kind: str, zone: str, *safeguards: str, data: str = "public", logs: bool = False
) -> dict[str, Any]:
    return {
        "name": name,
        "kind": kind,
        "zone": zone,
        "data": data,
        "keeps_logs": logs,
        "safeguards": list(safeguards),
    }


def _flow(
    source: str, target: str, carries: str, data: str, protocol: str, *, known: bool, sealed: bool
) -> dict[str, Any]:
    return {
        "from": source,
        "to": target,
        "carries": carries,
        "data": data,
        "protocol": protocol,
        "is_authenticated": known,
        "is_encrypted": sealed,
    }


TOOL = Tool(
    slug="cyber-studio/threat-modeling",
    title="Threat model",
    noun="threat model",
    summary="What can go wrong at every part and flow of a system (STRIDE), scored, drawn, and what answers it.",
    mode="hybrid",
    risk="low",
    credits_max=5,
    # Up to 40 elements and 80 flows have some 480 threats, each in the answer, the page and three files.
    limits=Limits(cpu_seconds=5, seconds=10, output_bytes=4 * 1024 * 1024),
    icon="shield",
    fields=(
        Text(name="title", title="What is modelled", length_max=100, is_short=True, is_required=True),
        Text(name="description", title="In a few sentences", length_max=2000, default=""),
        ZONES,
        Rows(
            name="elements",
            title="Elements",
            noun="element",
            help="People, programs, stores, and systems of others.",
            count_min=1,
            count_max=40,
            is_required=True,
            fields=(
                Text(name="name", title="Name", length_max=NAME_MAX, is_short=True, is_required=True),
                Choice(name="kind", title="It is", choices=KINDS, default="process"),
                Text(name="zone", title="In the zone", length_max=NAME_MAX, is_short=True, is_required=True),
                Choice(name="data", title="Most sensitive data it keeps", choices=DATA, default="public"),
                Flag(name="keeps_logs", title="It keeps logs that prove who did what"),
                Choices(name="safeguards", title="What it has already", choices=SAFEGUARDS),
            ),
        ),
        Rows(
            name="flows",
            title="Data flows",
            noun="flow",
            help="One way each; an answer needs a row only where it carries something else.",
            count_max=80,
            fields=(
                Text(name="from", title="From", length_max=NAME_MAX, is_short=True, is_required=True),
                Text(name="to", title="To", length_max=NAME_MAX, is_short=True, is_required=True),
                Text(name="carries", title="What it carries", length_max=80, is_short=True, default=""),
                Choice(name="data", title="Class of data", choices=DATA, default="internal"),
                Choice(name="protocol", title="Over", choices=PROTOCOLS, default="https"),
                Flag(name="is_authenticated", title="The receiver checks who sends"),
                Flag(name="is_encrypted", title="Encrypted on the way"),
            ),
        ),
    ),
    function=run,
    example={
        "title": "Web shop of a bookseller",
        "description": "Customers order and pay; the warehouse gets a list over an old connection.",
        "zones": [
            {"name": "Internet", "trust": "internet"},
            {"name": "Partners", "trust": "partner"},
            {"name": "Edge", "trust": "edge"},
            {"name": "Inner network", "trust": "internal"},
            {"name": "Data", "trust": "restricted"},
        ],
        "elements": [
            _element("Customer", "actor", "Internet"),
            _element("Payment provider", "external", "Partners", "strong_authentication"),
            _element("Warehouse", "external", "Partners"),
            _element("Shop", "process", "Edge", "authorisation", "input_checks", "rate_limits"),
            _element("Orders", "process", "Inner network", "authorisation", "logging", "least_privilege"),
            _element("Customer database", "store", "Data", "authorisation", "backup", data="personal"),
            _element("Audit log", "store", "Data", "encrypted_at_rest", logs=True, data="internal"),
        ],
        "flows": [
            _flow("Customer", "Shop", "Order and address", "personal", "https", known=True, sealed=True),
            _flow("Shop", "Orders", "Order", "personal", "grpc", known=False, sealed=False),
            _flow("Orders", "Customer database", "Customer record", "personal", "sql", known=True, sealed=True),
            _flow("Orders", "Audit log", "What was done", "internal", "queue", known=True, sealed=True),
            _flow("Shop", "Payment provider", "Card payment", "payment", "https", known=True, sealed=True),
            _flow("Orders", "Warehouse", "Picking list", "personal", "ftp", known=True, sealed=False),
        ],
    },
)
