"""A governance framework from answers, checked against an inventory: policies, RACI, classes, retention, gaps, roadmap.

Maturity of an area: the level that was answered, but never more than the inventory shows: 1 + 4 × the share of its
checks that hold. The target is the area’s own; one higher if one or two of its goals or kinds of data are named, two
higher if there are three.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tools_registry import studio
from tools_registry.fields import Choice, Choices, Document, Flag, Rows, Text, Whole
from tools_registry.studio import BadInput, File, Limits, Result, Tool
from tools_registry.studios import drawing
from tools_registry.studios.sheets import csv_file, markdown_cell, markdown_table

from . import governance_rules as rules
from .reading import ENDINGS, read

ASSETS_MAX = 1_000
SIZES = {"up_to_50": "Up to 50 people", "up_to_250": "Up to 250", "up_to_1000": "Up to 1,000", "more": "More"}
ACTIONS_A_QUARTER = {"up_to_50": 3, "up_to_250": 4, "up_to_1000": 6, "more": 8}
SEVERITIES = ("critical", "high", "medium", "low")
FLAGS = {
    "is_personal": "Personal data",
    "is_encrypted": "Encrypted",
    "is_access_reviewed": "Access reviewed",
    "is_quality_checked": "Quality checked",
    "is_described": "Described",
    "is_backed_up": "Backed up",
}
YES, NO = {"yes", "true", "1", "y", "x"}, {"", "no", "false", "0", "n"}


def run(inputs: dict[str, Any], files: dict[str, bytes]) -> Result:
    """{frameworks, policies, classifications, retention, raci, checks, gaps, maturity, roadmap}."""
    answers = inputs | {"organisation": inputs["organisation"] or "The organisation"}
    assets = _assets(inputs, files)
    failed, checks = _checks(assets, answers)
    maturity = _maturity(answers, checks)
    policies = [*_sector_policy(answers)]
    policies[:0] = [
        {
            "id": one.id,
            "title": one.title,
            "area": rules.AREAS[one.area].id,
            "references": list(one.references),
            "statements": one.statements(answers),
        }
        for one in rules.POLICIES
        if one.applies(answers)
    ]
    raci, missing_roles = _raci(answers)
    gaps = _gaps(answers, checks, maturity, missing_roles, assets)
    result = {
        "organisation": answers["organisation"],
        "frameworks": [{"id": name, "title": title} for name, title in rules.FRAMEWORKS],
        "policies": policies,
        "classifications": [
            {
                "id": name,
                "title": title,
                "who": rules.HANDLING[name][0],
                "how": rules.HANDLING[name][1],
                "assets": sum(one["classification"] == name for one in assets),
            }
            for name, title in rules.CLASSES.items()
        ],
        "retention": _retention(answers),
        "raci": raci,
        "checks": checks,
        "failures": failed,
        "assets": len(assets),
        "gaps": gaps,
        "maturity": maturity,
        "roadmap": _roadmap(answers, gaps),
    }
    made = [
        File("framework.md", "text/markdown", _written(result, answers).encode("utf-8", "replace")),
        csv_file(
            "failures.csv",
            ("asset", "check", "severity", "title", "policy", "fix"),
            [[one[name] for name in ("asset", "check", "severity", "title", "policy", "fix")] for one in failed],
        ),
        csv_file(
            "raci.csv",
            ("activity", *rules.ROLES.values()),
            [(one["activity"], *(one["roles"].get(role, "") for role in rules.ROLES)) for one in raci],
        ),
        File("maturity.svg", "image/svg+xml", _maturity_drawn(maturity)),
        File("roadmap.svg", "image/svg+xml", _roadmap_drawn(result["roadmap"])),
    ]
    return Result(result, _view(result), made)


def _sector_policy(answers: Mapping[str, Any]) -> list[dict[str, Any]]:
    asked = [
        (reference, said)
        for sector, region, reference, said in rules.SECTOR_RULES
        if sector == answers["sector"] and (not region or region in answers["regions"])
    ]
    if not asked:
        return []
    return [
        {
            "id": "POL-13",
            "title": f"What the sector asks for: {rules.SECTORS[answers['sector']].lower()}",
            "area": rules.AREAS["governance"].id,
            "references": [reference for reference, _ in asked],
            "statements": [said for _, said in asked],
        }
    ]


# The inventory


def _assets(inputs: Mapping[str, Any], files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """The rows that were written, and those of the file, whose columns are called the same."""
    assets = [dict(row) for row in inputs["inventory"]]
    if "inventory_file" not in files:
        return assets
    sheet = read(files["inventory_file"], "inventory_file", rows_max=ASSETS_MAX)
    found = {_plain(name): name for name in sheet.names}
    if "name" not in found:
        raise BadInput({"inventory_file": f"A column “name” is needed; there are {', '.join(sheet.names[:12])}."})
    for number, row in enumerate(sheet.rows(), start=1):
        cells = dict(zip(sheet.names, row, strict=True))
        given = {plain: (cells[name] or "").strip() for plain, name in found.items()}
        assets.append(_asset(given, sheet.line(number) or number))
    return assets


def _plain(name: str) -> str:
    return name.strip().casefold().replace(" ", "_").replace("-", "_")


def _asset(given: Mapping[str, str], line: int) -> dict[str, Any]:
    classification = given.get("classification", "").casefold()
    if classification not in rules.RANK:
        known = ", ".join(rules.CLASSES)
        raise BadInput({"inventory_file": f"Line {line}: the classification is one of {known}, or empty."})
    months = given.get("retention_months", "") or "0"
    if not months.isascii() or not months.isdigit() or int(months[:6]) > 1200:
        raise BadInput({"inventory_file": f"Line {line}: retention_months is a whole number from 0 to 1200."})
    asset: dict[str, Any] = {
        "name": given["name"][:200] or f"(line {line})",
        "owner": given.get("owner", "")[:200],
        "steward": given.get("steward", "")[:200],
        "classification": classification,
        "retention_months": int(months),
    }
    for flag in FLAGS:
        said = (given.get(flag) or given.get(flag.removeprefix("is_")) or "").casefold()
        if said not in YES | NO:
            raise BadInput({"inventory_file": f"Line {line}: {flag} is yes or no, not {said[:40]}."})
        asset[flag] = said in YES
    return asset


def _checks(
    assets: Sequence[Mapping[str, Any]], answers: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Every check that failed, and each check with how many it was made of and held."""
    failed: list[dict[str, Any]] = []
    counted = []
    for check in rules.CHECKS:
        applicable = [one for one in assets if check.applies(one)]
        broken = [one for one in applicable if not check.holds(one, answers)]
        counted.append(
            {
                "id": check.id,
                "title": check.title,
                "policy": check.policy,
                "severity": check.severity,
                "checked": len(applicable),
                "failed": len(broken),
                "share": round(1 - len(broken) / len(applicable), 4) if applicable else None,
                "fix": check.fix,
            }
        )
        failed += [
            {
                "asset": one["name"],
                "check": check.id,
                "severity": check.severity,
                "title": check.title,
                "policy": check.policy,
                "fix": check.fix,
            }
            for one in broken
        ]
    failed.sort(key=lambda one: (SEVERITIES.index(one["severity"]), one["check"], one["asset"]))
    return failed, counted


# Maturity


def _maturity(answers: Mapping[str, Any], checks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    answered: dict[str, int] = {}
    for at, row in enumerate(answers["levels"]):
        if row["area"] in answered:
            raise BadInput({f"levels.{at}.area": f"{rules.AREAS[row['area']].title} stands there already."})
        answered[row["area"]] = row["level"]
    asked = {*answers["goals"], *answers["data"]}
    by_id = {one["id"]: one for one in checks}
    found = []
    for name, area in rules.AREAS.items():
        reasons = [one for one in area.raised_by if one in asked]
        target = min(5, area.target + math.ceil(len(reasons) / 2))
        looked = [by_id[one] for one in area.checks if by_id[one]["checked"]]
        total = sum(one["checked"] for one in looked)
        shown = round(1 + 4 * (1 - sum(one["failed"] for one in looked) / total), 1) if total else None
        level = answered.get(name, 0)
        current = min(float(level), shown) if shown is not None else float(level)
        found.append(
            {
                "id": area.id,
                "area": name,
                "title": area.title,
                "answered": level,
                "evidence": shown,
                "current": current,
                "level": rules.LEVELS[int(current)],
                "target": target,
                "target_because": reasons,
                "gap": round(max(0.0, target - current), 1),
            }
        )
    return found


# Roles


def _raci(answers: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    people: dict[str, list[str]] = {}
    for row in answers["people"]:
        people.setdefault(row["role"], []).append(row["name"])
    needed = {role for roles in rules.RACI.values() for role in roles}
    if not rules.is_personal_data(answers):
        needed.discard("privacy")
    table = [
        {
            "activity": activity,
            "roles": {role: letter for role, letter in roles.items() if role in needed},
            "people": {role: people[role] for role in roles if role in people and role in needed},
        }
        for activity, roles in rules.RACI.items()
    ]
    missing = [role for role in rules.ROLES if role in needed and role not in people and role != "user"]
    return table, missing


def _retention(answers: Mapping[str, Any]) -> list[dict[str, str]]:
    months = f"{answers['personal_months_max']} months"
    return [
        {
            "data": rules.DATA[kind],
            "region": rules.REGIONS.get(region, "Everywhere"),
            "keep": keep.format(months=months),
            "source": source,
        }
        for kind, region, keep, source in rules.RETENTION
        if kind in answers["data"] and (not region or region in answers["regions"])
    ]


# Gaps and what to do about them


def _gaps(
    answers: Mapping[str, Any],
    checks: Sequence[Mapping[str, Any]],
    maturity: Sequence[Mapping[str, Any]],
    missing_roles: Sequence[str],
    assets: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for one in checks:
        if one["failed"]:
            found.append(
                {
                    "id": one["id"],
                    "severity": one["severity"],
                    "title": f"{one['failed']:,} of {one['checked']:,} sets of data fail “{one['title']}”",
                    "reference": one["policy"],
                    "fix": one["fix"],
                }
            )
    for role in missing_roles:
        is_grave = role in ("sponsor", "owner") or (role == "privacy" and "special" in answers["data"])
        found.append(
            {
                "id": f"ROLE-{role}",
                "severity": "high" if is_grave else "medium",
                "title": f"Nobody is {_low(rules.ROLES[role])}",
                "reference": "ISO 8000-150",
                "fix": "Name a person, with the time and the right to do it.",
            }
        )
    for one in maturity:
        if one["gap"] >= 1:
            found.append(
                {
                    "id": one["id"],
                    "severity": "high" if one["gap"] >= 3 else "medium" if one["gap"] >= 2 else "low",
                    "title": f"{one['title']}: level {one['current']:g}, {one['target']} is needed",
                    "reference": one["id"],
                    "fix": rules.AREAS[one["area"]].step,
                }
            )
    names = [one["name"].casefold() for one in assets]
    if twice := sorted({one["name"] for one in assets if names.count(one["name"].casefold()) > 1}):
        found.append(
            {
                "id": "INV-1",
                "severity": "medium",
                "title": f"In the inventory twice: {', '.join(twice[:5])}",
                "reference": "POL-01",
                "fix": "Merge the entries, or tell them apart by name.",
            }
        )
    if not assets:
        found.append(
            {
                "id": "INV-0",
                "severity": "high",
                "title": "There is no inventory, so nothing could be checked",
                "reference": "ISO/IEC 27001:2022 A.5.9",
                "fix": "List the ten sets of data that matter most, and run this again.",
            }
        )
    found.sort(key=lambda one: SEVERITIES.index(one["severity"]))
    return found


def _low(words: str) -> str:
    return words[:1].lower() + words[1:]


def _roadmap(answers: Mapping[str, Any], gaps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The gaps in the order of their severity, as many a quarter as an organisation of that size can carry."""
    each = ACTIONS_A_QUARTER[answers["size"]]
    return [
        {
            "quarter": at // each + 1,
            "gap": one["id"],
            "severity": one["severity"],
            "action": one["fix"],
            "because": one["title"],
        }
        for at, one in enumerate(gaps[: 8 * each])
    ]


# Files and page


def _maturity_drawn(maturity: Sequence[Mapping[str, Any]]) -> bytes:
    rows = [
        drawing.Bar(
            one["title"],
            one["current"],
            "coral" if one["gap"] >= 2 else "brass" if one["gap"] >= 1 else "sea",
            note=f"target {one['target']}",
        )
        for one in maturity
    ]
    return drawing.bars("Maturity by area, 0 to 5", rows, described="Each area with its level and its target.")


def _roadmap_drawn(roadmap: Sequence[Mapping[str, Any]]) -> bytes:
    tones: dict[str, drawing.Tone] = {"critical": "coral", "high": "brass", "medium": "sea", "low": "quiet"}
    rows = [
        drawing.Span(
            f"{one['gap']} {one['action']}",
            3 * (one["quarter"] - 1),
            3 * one["quarter"],
            tones[one["severity"]],
            note=one["severity"],
        )
        for one in roadmap[:40]
    ]
    last = max((one["quarter"] for one in roadmap), default=1)
    ticks = [(3.0 * at, f"month {3 * at}") for at in range(last + 1)]
    return drawing.timeline("Roadmap", rows, ticks=ticks, described="What to do in which quarter, the gravest first.")


def _written(result: Mapping[str, Any], answers: Mapping[str, Any]) -> str:
    parts = [
        f"# Data governance of {markdown_cell(result['organisation'])}",
        f"Sector: {rules.SECTORS[answers['sector']]}. Size: {SIZES[answers['size']].lower()}. "
        f"Regions: {', '.join(rules.REGIONS[one] for one in answers['regions']) or 'not stated'}. "
        f"Goals: {', '.join(rules.GOALS[one].lower() for one in answers['goals']) or 'not stated'}.",
        "Made after: " + "; ".join(f"{one['id']} ({one['title']})" for one in result["frameworks"]) + ".",
        "## Policies",
    ]
    for one in result["policies"]:
        statements = "\n".join(f"{at}. {markdown_cell(said)}" for at, said in enumerate(one["statements"], 1))
        parts.append(f"### {one['id']} {one['title']}\n\n{statements}\n\nReferences: {', '.join(one['references'])}.")
    parts += [
        "## Classes",
        markdown_table(
            ("Class", "Who", "How", "In the inventory"),
            [(one["title"], one["who"], one["how"], one["assets"]) for one in result["classifications"]],
        ),
        "## How long data is kept",
        markdown_table(
            ("Data", "Where", "Keep", "Source"),
            [(one["data"], one["region"], one["keep"], one["source"]) for one in result["retention"]],
        )
        if result["retention"]
        else "No kind of data was named that has a time of its own.",
        "## Who does what (R responsible, A accountable, C consulted, I informed)",
        markdown_table(("Activity", *rules.ROLES.values()), [_raci_row(one) for one in result["raci"]]),
        "## Checks of the inventory",
        markdown_table(
            ("Check", "Meaning", "Policy", "Checked", "Failed"),
            [(one["id"], one["title"], one["policy"], one["checked"], one["failed"]) for one in result["checks"]],
        ),
        "## Maturity",
        markdown_table(
            ("Area", "", "Answered", "Inventory shows", "Counts", "Target"),
            [
                (one["id"], one["title"], one["answered"], one["evidence"], one["current"], one["target"])
                for one in result["maturity"]
            ],
        ),
        "## Gaps",
        markdown_table(
            ("Severity", "Gap", "Reference", "What to do"),
            [(one["severity"], one["title"], one["reference"], one["fix"]) for one in result["gaps"]],
        )
        if result["gaps"]
        else "None.",
        "## Roadmap",
        markdown_table(
            ("Quarter", "What to do", "Because"),
            [(one["quarter"], one["action"], one["because"]) for one in result["roadmap"]],
        )
        if result["roadmap"]
        else "Nothing to do.",
    ]
    return "\n\n".join(parts) + "\n"


def _raci_row(one: Mapping[str, Any]) -> list[str]:
    cells = [one["activity"]]
    for role in rules.ROLES:
        letter, names = one["roles"].get(role, ""), one["people"].get(role, [])
        cells.append(f"{letter}: {', '.join(names)}" if letter and names else letter)
    return cells


def _view(result: Mapping[str, Any]) -> list[studio.Block]:
    maturity, gaps = result["maturity"], result["gaps"]
    checked, failed = sum(one["checked"] for one in result["checks"]), len(result["failures"])
    mean = sum(one["current"] for one in maturity) / len(maturity)
    target = sum(one["target"] for one in maturity) / len(maturity)
    shown = [
        {"severity": one["severity"], "title": one["title"], "where": one["reference"], "fix": one["fix"]}
        for one in gaps
    ]
    view: list[studio.Block] = [
        studio.facts(
            "At a glance",
            (
                ("Maturity", f"{mean:.1f} of 5; {target:.1f} is needed"),
                ("Gaps", len(gaps)),
                ("Of these critical or high", sum(one["severity"] in ("critical", "high") for one in gaps)),
                ("Checks that hold", f"{checked - failed:,} of {checked:,}" if checked else "no inventory yet"),
                ("Policies", len(result["policies"])),
                ("Quarters to work through it", max((one["quarter"] for one in result["roadmap"]), default=0)),
            ),
        ),
        studio.findings("Gaps", shown, none="No gap: everything that is needed is there."),
        studio.picture(
            "Maturity by area",
            "maturity.svg",
            described="; ".join(f"{one['title']} {one['current']:g} of {one['target']}" for one in maturity),
        ),
        studio.table(
            "Maturity",
            ("Area", "Id", "Answered", "Inventory shows", "Counts", "Target", "Gap"),
            [
                (
                    one["title"],
                    one["id"],
                    one["answered"],
                    one["evidence"],
                    one["current"],
                    one["target"],
                    one["gap"],
                )
                for one in maturity
            ],
            note="Counts: what was answered, at most 1 + 4 × the share of the area’s checks that hold.",
        ),
        studio.table(
            "Checks of the inventory",
            ("Check", "Meaning", "Severity", "Policy", "Checked", "Failed"),
            [
                (one["id"], one["title"], one["severity"], one["policy"], one["checked"], one["failed"])
                for one in result["checks"]
            ],
        ),
        studio.picture(
            "Roadmap",
            "roadmap.svg",
            described="; ".join(f"quarter {one['quarter']}: {one['action']}" for one in result["roadmap"][:20])
            or "Empty.",
        ),
        studio.table(
            "What to do, quarter by quarter",
            ("Quarter", "What to do", "Because", "Severity"),
            [(one["quarter"], one["action"], one["because"], one["severity"]) for one in result["roadmap"]],
        ),
        studio.table(
            "Policies",
            ("Policy", "Title", "Says", "References"),
            [
                (one["id"], one["title"], " ".join(one["statements"]), ", ".join(one["references"]))
                for one in result["policies"]
            ],
        ),
        studio.table(
            "Who does what",
            ("Activity", *rules.ROLES.values()),
            [_raci_row(one) for one in result["raci"]],
            note="R responsible, A accountable, C consulted, I informed.",
        ),
        studio.table(
            "Classes",
            ("Class", "Who may see it", "How it is kept", "In the inventory"),
            [(one["title"], one["who"], one["how"], one["assets"]) for one in result["classifications"]],
        ),
    ]
    if result["retention"]:
        view.append(
            studio.table(
                "How long data is kept",
                ("Data", "Where", "Keep", "Source"),
                [(one["data"], one["region"], one["keep"], one["source"]) for one in result["retention"]],
                note="A start for those who know the law; no legal advice.",
            )
        )
    view.append(
        studio.table("Frameworks", ("Id", "Title"), [(one["id"], one["title"]) for one in result["frameworks"]])
    )
    return view


TOOL = Tool(
    slug="data-studio/governance",
    title="Data governance",
    noun="framework",
    summary="Writes your governance framework and checks your inventory against it.",
    mode="hybrid",
    risk="low",
    credits_max=5,
    # Every failed check of up to 1,000 sets of data is told.
    limits=Limits(cpu_seconds=5, seconds=10, output_bytes=8 * 1024 * 1024),
    icon="scales",
    fields=(
        Text(name="organisation", title="Organisation", length_max=120, is_short=True, default=""),
        Choice(name="sector", title="Sector", choices=rules.SECTORS, default="general"),
        Choice(name="size", title="Size", choices=SIZES, default="up_to_250"),
        Choices(name="regions", title="Where", choices=rules.REGIONS),
        Choices(name="data", title="What data there is", choices=rules.DATA),
        Choices(name="goals", title="What governance is for", choices=rules.GOALS),
        Whole(
            name="personal_months_max",
            title="Longest time for personal data",
            unit="months",
            min=1,
            max=1200,
            default=72,
        ),
        Rows(
            name="people",
            title="Who does what today",
            noun="person",
            fields=(
                Choice(name="role", title="Role", choices=rules.ROLES, default="owner", is_required=True),
                Text(name="name", title="Name or post", length_max=120, is_short=True, is_required=True),
            ),
        ),
        Rows(
            name="levels",
            title="Where each area stands",
            help="0 incomplete, 1 performed, 2 managed, 3 established, 4 predictable, 5 innovating; 0 if left out.",
            noun="area",
            count_max=len(rules.AREAS),
            fields=(
                Choice(
                    name="area",
                    title="Area",
                    choices={name: area.title for name, area in rules.AREAS.items()},
                    default="governance",
                    is_required=True,
                ),
                Whole(name="level", title="Level", min=0, max=5, default=1),
            ),
        ),
        Rows(
            name="inventory",
            title="Inventory",
            help="The sets of data there are.",
            noun="set of data",
            count_max=200,
            fields=(
                Text(name="name", title="Name", length_max=200, is_short=True, is_required=True),
                Text(name="owner", title="Owner", length_max=200, is_short=True, default=""),
                Text(name="steward", title="Steward", length_max=200, is_short=True, default=""),
                Choice(
                    name="classification",
                    title="Class",
                    choices={"": "Not classified"} | rules.CLASSES,
                    default="",
                ),
                Whole(name="retention_months", title="Kept for", unit="months", min=0, max=1200, default=0),
                *(Flag(name=name, title=title) for name, title in FLAGS.items()),
            ),
        ),
        Document(
            name="inventory_file",
            title="Inventory as a file",
            help="Columns: name, owner, steward, classification, retention_months, personal, encrypted, "
            "access_reviewed, quality_checked, described, backed_up (yes or no). Up to 1,000 rows.",
            file_name="inventory.csv",
            accepts=ENDINGS,
        ),
    ),
    function=run,
    example={
        "organisation": "Harbour Goods",
        "sector": "retail",
        "size": "up_to_250",
        "regions": ["uk", "eu"],
        "data": ["personal", "payment", "financial", "employees"],
        "goals": ["compliance", "quality", "analytics"],
        "people": [
            {"role": "sponsor", "name": "Chief operating officer"},
            {"role": "owner", "name": "Head of sales"},
            {"role": "steward", "name": "Sales operations"},
            {"role": "custodian", "name": "Platform team"},
        ],
        "levels": [
            {"area": "governance", "level": 2},
            {"area": "security", "level": 3},
            {"area": "quality", "level": 3},
            {"area": "metadata", "level": 1},
            {"area": "storage", "level": 3},
        ],
        "inventory": [
            {
                "name": "Customers",
                "owner": "Head of sales",
                "steward": "Sales operations",
                "classification": "confidential",
                "retention_months": 84,
                "is_personal": True,
                "is_encrypted": True,
                "is_access_reviewed": False,
                "is_quality_checked": True,
                "is_described": True,
                "is_backed_up": True,
            },
            {
                "name": "Newsletter list",
                "owner": "Marketing",
                "classification": "internal",
                "is_personal": True,
                "is_backed_up": True,
            },
            {"name": "Product prices", "classification": "", "retention_months": 24, "is_backed_up": True},
        ],
    },
)
