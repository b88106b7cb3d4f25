"""A gap analysis: what is stated to be in place, held against every control of a chosen framework.

A statement counts for the controls that it names by id; else for those that its words point to, with the words as the
reason (`frameworks.THEMES`, and words that it shares with the control's title), and marked as a suggestion to confirm.

Coverage: Σ weight × credit ÷ Σ weight over the controls that apply; credit 1 for in place, ½ for partly, 0 else, and
the best statement counts. Evidenced coverage multiplies each credit by how far its evidence goes (EVIDENCE). The
weights, efforts and maturity levels are this house's own scale, not the framework's.
"""

from __future__ import annotations

import json
import re
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

from tools_registry import studio
from tools_registry.fields import Choice, Document, Flag, Lines, Rows, Text
from tools_registry.studio import BadInput, File, Limits, Result, Tool
from tools_registry.studios import drawing
from tools_registry.studios.data.reading import read
from tools_registry.studios.sheets import csv_file, markdown_cell, markdown_table

from . import frameworks
from .frameworks import Control, Framework

STATUSES = {
    "implemented": "In place",
    "partial": "Partly in place",
    "planned": "Planned",
    "not_implemented": "Not in place",
    "not_applicable": "Does not apply",
}
CREDIT = {"implemented": 1.0, "partial": 0.5, "planned": 0.0, "not_implemented": 0.0}
ORDER = ("implemented", "partial", "planned", "not_implemented")
EVIDENCE = {"none": 0.0, "said": 0.25, "document": 0.5, "record": 0.8, "test": 1.0}
EVIDENCE_SAID = {
    "auto": "Find out from its words",
    "none": "None",
    "said": "Somebody says so",
    "document": "A document",
    "record": "A record, export or screenshot",
    "test": "A test or an audit",
}
EVIDENCE_WORDS = (
    ("test", r"tested|test report|audit(?:ed)?(?! trail)|penetration test|pentest|certificate|soc 2|iso 27001 cert"),
    (
        "record",
        r"screenshot|export|logs?|tickets?|records?|reports?|dashboard|config|sample|minutes|jira|[A-Z]{2,}-\d+",
    ),
    (
        "document",
        r"polic(?:y|ies)|procedure|document|wiki|handbook|plan|standard|contract|\.(?:pdf|docx?|md)|https?://",
    ),
)
STATUS_WORDS = {
    "yes": "implemented",
    "done": "implemented",
    "in place": "implemented",
    "full": "implemented",
    "fully implemented": "implemented",
    "partially": "partial",
    "partially implemented": "partial",
    "partly": "partial",
    "in progress": "partial",
    "to do": "planned",
    "todo": "planned",
    "no": "not_implemented",
    "missing": "not_implemented",
    "not implemented": "not_implemented",
    "n/a": "not_applicable",
    "na": "not_applicable",
    "not applicable": "not_applicable",
}
COLUMNS = {
    "statement": ("statement", "control_statement", "description", "what", "measure"),
    "control": ("control", "control_id", "id", "reference"),
    "status": ("status", "state", "implementation"),
    "evidence": ("evidence", "proof"),
    "owner": ("owner", "responsible"),
}
# groups whose failure opens everything else weigh 3; those that only steer weigh 1; the rest 2
WEIGHTS = {
    **dict.fromkeys(("PR.AA", "PR.DS", "PR.PS", "DE.CM", "RS.MA", "RC.RP", "ID.AM", "ID.RA"), 3),
    **dict.fromkeys(("GV.OC", "GV.OV", "ID.IM", "RC.CO", "GV.RM"), 1),
    **dict.fromkeys(("AC", "IA", "CM", "CP", "IR", "RA", "SI", "SC", "AU"), 3),
    **dict.fromkeys(("MA", "PL", "PE", "PS", "MP"), 1),
    "A.8": 3,
    "A.7": 1,
}
# weeks of work of about one person, by what a control mostly takes
EFFORTS = {
    **dict.fromkeys(("GV.OC", "GV.RR", "GV.PO", "GV.OV", "GV.RM", "PR.AT", "RS.CO", "RC.CO", "ID.IM"), 1),
    **dict.fromkeys(("GV.SC", "PR.IR", "DE.CM", "DE.AE", "PR.DS"), 4),
    **dict.fromkeys(("AT", "PL", "PS", "AU", "MP"), 1),
    **dict.fromkeys(("SC", "SR", "SA", "SI", "PE"), 4),
    "A.5": 1,
    "A.6": 1,
    "A.7": 4,
    "A.8": 3,
}
WAVES = ("First: within 30 days", "Next: within 90 days", "Then: within a year")
MATURITY = ("Nothing yet", "Begun", "Defined", "Done and shown", "Done and tested")
# words of four letters and more that say nothing about what a control is about
STOP = re.compile(
    r"about|after|against|also|and|another|any|are|based|been|before|being|between|both|cybersecurity|does|"
    r"each|ensure|established|for|from|have|identified|including|information|into|managed|management|"
    r"organization|organizational|other|our|policy|procedures|process|processes|risk|risks|security|shall|"
    r"should|such|system|systems|than|that|the|their|them|these|they|this|those|through|used|users|using|"
    r"were|what|when|where|which|while|with|within"
)
ROWS_MAX = 2_000
SUGGESTED_MAX = 5
SCORE_LEAST = 3
SPACE = uuid.UUID("b5c19c0e-53a7-5f8e-8d1f-51a0d3f0c0de")


@dataclass(frozen=True, slots=True)
class Statement:
    """What somebody says is in place."""

    place: str  # "Row 3", "Line 12"
    text: str
    status: str
    evidence: str
    evidence_kind: str
    owner: str
    named: tuple[Control, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """A statement that is about a control, and why."""

    statement: Statement
    is_named: bool
    score: int
    why: str


@dataclass(frozen=True, slots=True)
class Judged:
    """A control with what is known of it."""

    control: Control
    weight: int
    effort: int
    matches: tuple[Match, ...]
    status: str  # of STATUSES

    @property
    def best(self) -> Match | None:
        live = [one for one in self.matches if one.statement.status == self.status]
        return max(live, key=lambda one: (EVIDENCE[one.statement.evidence_kind], one.is_named)) if live else None

    @property
    def evidence(self) -> str:
        return self.best.statement.evidence_kind if self.best else "none"

    @property
    def credit(self) -> float:
        return CREDIT.get(self.status, 0.0)

    @property
    def evidenced(self) -> float:
        return self.credit * EVIDENCE[self.evidence]

    @property
    def is_confirmed(self) -> bool:
        return any(one.is_named for one in self.matches)


def run(inputs: dict[str, Any], files: dict[str, bytes]) -> Result:
    """{framework, summary, groups, controls, gaps, unmatched, findings}. `controls` has every control with its status,
    its evidence, the statements that count for it and why."""
    held = frameworks.framework(inputs["framework"])
    day = _day(inputs["day"])
    focus = _focus(held, inputs["focus"])
    statements = _rows(held, inputs["controls"])
    if "document" in files:
        statements += _document(held, files["document"])
    if not statements:
        raise BadInput({"controls": "State at least one control, as a row or in a CSV."})
    matched: dict[str, list[Match]] = {}
    unmatched = []
    for statement in statements:
        found = _matches(held, statement, with_suggestions=inputs["with_suggestions"])
        if not found:
            unmatched.append(statement)
        for number, match in found:
            matched.setdefault(number, []).append(match)
    judged = [_judge(held, one, matched.get(one.id, []), focus) for one in held.controls.values()]
    return _answer(inputs, held, day, statements, judged, unmatched)


# Reading


def _day(written: str) -> date:
    try:
        return date.fromisoformat(written)
    except ValueError as error:
        raise BadInput({"day": f"“{written[:40]}” is no day. Write YYYY-MM-DD."}) from error


def _focus(held: Framework, written: Sequence[str]) -> frozenset[str]:
    wrong = {}
    found = set()
    for number, one in enumerate(written):
        if (group := one.strip().upper()) not in held.groups:
            there = ", ".join(held.groups)
            wrong[f"focus.{number}"] = f"{held.name} has no group {one[:40]}; it has {there}."
        found.add(group)
    if wrong:
        raise BadInput(wrong)
    return frozenset(found)


def _rows(held: Framework, rows: Sequence[Mapping[str, Any]]) -> list[Statement]:
    wrong: dict[str, str] = {}
    found = []
    for number, row in enumerate(rows):
        try:
            found.append(_statement(held, f"Row {number + 1}", row, row["evidence_kind"]))
        except ValueError as error:
            wrong[f"controls.{number}.control"] = str(error)
    if wrong:
        raise BadInput(wrong)
    return found


def _statement(held: Framework, place: str, row: Mapping[str, Any], kind: str) -> Statement:
    """Raises ValueError with a sentence where an id is none of the framework's."""
    named = []
    for written in re.split(r"[,;\n]+", row["control"]):
        if not written.strip():
            continue
        control = held.find(written)
        if control is None:
            raise ValueError(f"{held.name} has no control {written.strip()[:40]}.")
        named.append(control)
    kind = _evidence_kind(row["evidence"]) if kind == "auto" else kind
    return Statement(place, row["statement"], row["status"], row["evidence"], kind, row["owner"], tuple(named))


def _evidence_kind(said: str) -> str:
    if not said.strip() or re.fullmatch(r"(?i)\s*(?:none|no|n/?a|-|tbd)\s*", said):
        return "none"
    return next((kind for kind, words in EVIDENCE_WORDS if re.search(rf"(?i:\b(?:{words}))", said)), "said")


def _document(held: Framework, content: bytes) -> list[Statement]:
    sheet = read(content, "document", rows_max=ROWS_MAX)
    by_name = {re.sub(r"[\s\-.]+", "_", name.strip().lower()): name for name in sheet.names}
    columns = {
        field: next((by_name[name] for name in names if name in by_name), None) for field, names in COLUMNS.items()
    }
    if columns["statement"] is None:
        there = ", ".join(sheet.names[:12])
        raise BadInput({"document": f"A column statement is needed; there are: {there}."})
    found, wrong = [], []
    for number in range(sheet.row_count):
        line = sheet.line(number + 1)
        place = f"Line {line}" if line else f"Row {number + 1}"
        row = {
            field: ((sheet.columns[name][number] or "").strip()[:2_000] if name is not None else "")
            for field, name in columns.items()
        }
        if not row["statement"]:
            wrong.append(f"{place}: write what is in place.")
            continue
        word = row["status"].lower().replace("_", " ") or "in place"
        status = STATUS_WORDS.get(word) or word.replace(" ", "_")
        if status not in STATUSES:
            wrong.append(f"{place}, status: “{row['status'][:40]}” is none of {', '.join(STATUSES)}.")
            continue
        try:
            found.append(_statement(held, place, row | {"status": status}, "auto"))
        except ValueError as error:
            wrong.append(f"{place}, control: {error}")
    if wrong:
        more = [f"{len(wrong) - 10:,} more lines are wrong."] if len(wrong) > 10 else []
        raise BadInput({"document": wrong[:10] + more})
    return found


# What is about what


@lru_cache(maxsize=1_000)
def _stems(text: str) -> frozenset[str]:
    words = re.findall(r"[a-z]{4,}", text.lower())
    return frozenset(re.sub(r"(?:ies|ing|ed|es|s)$", "", word) for word in words if not STOP.fullmatch(word))


def _matches(held: Framework, statement: Statement, *, with_suggestions: bool) -> list[tuple[str, Match]]:
    if statement.named:
        return [(one.id, Match(statement, True, 10, "named")) for one in statement.named]
    inside = [held.find(found) for found in re.findall(r"\b[A-Z][A-Z.]{1,4}[-.]\d[\d.]*(?:\(\d+\))?", statement.text)]
    written = list(dict.fromkeys(one.id for one in inside if one is not None))
    if written:
        return [(number, Match(statement, True, 10, "named in the statement")) for number in written]
    if not with_suggestions:
        return []
    scores: Counter[str] = Counter()
    reasons: dict[str, list[str]] = {}
    for theme in frameworks.THEMES:
        words = list(dict.fromkeys(one.lower() for one in theme.words.findall(statement.text)))
        if not words:
            continue
        for number in theme.ids[held.key]:
            scores[number] += SCORE_LEAST + len(words) - 1
            reasons.setdefault(number, []).append(f"{theme.name.lower()} (“{'”, “'.join(words[:3])}”)")
    stems = _stems(statement.text)
    for control in held.controls.values():
        shared = sorted(stems & _stems(control.title))
        if shared:
            scores[control.id] += len(shared)
            reasons.setdefault(control.id, []).append(f"shared words: {', '.join(shared[:4])}")
    ranked = sorted(scores, key=lambda number: (-scores[number], number))
    kept = [number for number in ranked if scores[number] >= SCORE_LEAST][:SUGGESTED_MAX]
    return [(number, Match(statement, False, scores[number], "; ".join(reasons[number]))) for number in kept]


def _judge(held: Framework, control: Control, matches: Sequence[Match], focus: frozenset[str]) -> Judged:
    weight = WEIGHTS.get(control.group, 2) * (2 if control.group in focus else 1)
    ordered = tuple(sorted(matches, key=lambda one: (not one.is_named, -one.score, one.statement.place)))
    # What names the control decides, where anything does.
    deciding = [one for one in ordered if one.is_named] or list(ordered)
    states = {one.statement.status for one in deciding}
    status = next((one for one in ORDER if one in states), "not_implemented")
    if states == {"not_applicable"}:
        status = "not_applicable" if any(one.is_named for one in deciding) else "not_implemented"
    return Judged(control, weight, EFFORTS.get(control.group, 2), ordered, status)


# The answer


def _percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 1) if whole else 0.0


def _covered(judged: Sequence[Judged]) -> dict[str, Any]:
    live = [one for one in judged if one.status != "not_applicable"]
    whole = sum(one.weight for one in live)
    counts = Counter(one.status for one in judged)
    covered = _percent(sum(one.weight * one.credit for one in live), whole)
    evidenced = _percent(sum(one.weight * one.evidenced for one in live), whole)
    return {
        "controls": len(judged),
        **{status: counts[status] for status in STATUSES},
        "coverage_percent": covered,
        "evidenced_percent": evidenced,
        "confirmed_percent": _percent(sum(one.weight * one.credit for one in live if one.is_confirmed), whole),
        "maturity": _maturity(covered, evidenced, len(live)),
    }


def _maturity(covered: float, evidenced: float, count: int) -> int:
    """0 nothing; 1 something; 2 half; 3 four fifths, and half shown; 4 nine tenths, and four fifths shown."""
    if not count or covered == 0:
        return 0
    if covered >= 90 and evidenced >= 80:
        return 4
    if covered >= 80 and evidenced >= 50:
        return 3
    return 2 if covered >= 50 else 1


def _gaps(held: Framework, judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """What is not in place, by weight × what is missing ÷ effort, the most for the least first."""
    open_ones = [one for one in judged if one.status not in ("implemented", "not_applicable")]
    open_ones.sort(key=lambda one: (-one.weight * (1 - one.credit) / one.effort, -one.weight, one.control.id))
    told = []
    for rank, one in enumerate(open_ones, 1):
        wave = 0 if one.weight >= 3 and one.effort <= 3 else 1 if one.weight >= 2 else 2
        told.append(
            {
                "rank": rank,
                "control": one.control.id,
                "title": one.control.title,
                "group": held.groups[one.control.group],
                "status": one.status,
                "weight": one.weight,
                "effort_weeks": one.effort,
                "wave": WAVES[wave],
                "owner": one.best.statement.owner if one.best else "",
                "related": {key: list(ids) for key, ids in frameworks.related(held.key, one.control.id).items() if ids},
            }
        )
    return told


def _answer(
    inputs: Mapping[str, Any],
    held: Framework,
    day: date,
    statements: Sequence[Statement],
    judged: Sequence[Judged],
    unmatched: Sequence[Statement],
) -> Result:
    groups = [
        {"group": key, "title": title, **_covered([one for one in judged if one.control.group == key])}
        for key, title in held.groups.items()
    ]
    gaps = _gaps(held, judged)
    result = {
        "framework": {"key": held.key, "name": held.name, "source": held.source},
        "organisation": inputs["organisation"],
        "day": day.isoformat(),
        "summary": {"statements": len(statements), "unmatched": len(unmatched), **_covered(judged)},
        "groups": groups,
        "controls": [_told(one) for one in judged],
        "gaps": gaps,
        "unmatched": [{"place": one.place, "statement": one.text} for one in unmatched],
        "findings": _findings(statements, judged, unmatched),
    }
    bars = [
        drawing.Bar(
            one["group"], one["coverage_percent"], _tone(one), f"{one['implemented']} of {one['controls']} in place"
        )
        for one in groups
    ]
    some = sorted((one for one in groups if one["coverage_percent"]), key=lambda one: -one["coverage_percent"])
    described = (
        "; ".join(f"{one['title']}: {one['coverage_percent']:g} %" for one in some[:5]) or "Nothing is covered yet"
    )
    rest = len(groups) - len(some)
    described += f". {rest} of {len(groups)} groups have nothing in place." if rest else "."
    title = "Coverage by group"
    made = [
        File(
            "coverage.svg",
            "image/svg+xml",
            drawing.bars(title, bars, unit="%", limit=100, limit_label="Whole", described=described),
        ),
        _controls_csv(judged),
        csv_file(
            "roadmap.csv",
            ["rank", "control", "title", "status", "weight", "effort_weeks", "wave", "owner"],
            [
                [one[key] for key in ("rank", "control", "title", "status", "weight", "effort_weeks", "wave", "owner")]
                for one in gaps
            ],
        ),
        File("gap-analysis.md", "text/markdown", _report(held, result).encode("utf-8", "replace")),
        File("assessment-results.json", "application/json", _oscal(held, result, judged)),
    ]
    return Result(result, _view(held, result, described), made)


def _tone(group: Mapping[str, Any]) -> drawing.Tone:
    covered = group["coverage_percent"]
    return "sea" if covered >= 80 else "brass" if covered else "quiet"


def _told(one: Judged) -> dict[str, Any]:
    return {
        "control": one.control.id,
        "group": one.control.group,
        "title": one.control.title,
        "status": one.status,
        "evidence": one.evidence,
        "weight": one.weight,
        "by": [
            {"place": match.statement.place, "named": match.is_named, "score": match.score, "why": match.why}
            for match in one.matches[:10]
        ],
    }


def _findings(
    statements: Sequence[Statement], judged: Sequence[Judged], unmatched: Sequence[Statement]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for one in statements:
        if one.status == "implemented" and one.evidence_kind == "none":
            said = {"severity": "medium", "title": "In place, but nothing shows it", "where": one.place}
            found.append(said | {"text": one.text[:200], "fix": "Name a record, a document or a test."})
        if one.status in ("implemented", "partial") and not one.owner:
            said = {"severity": "low", "title": "Nobody owns it", "where": one.place}
            found.append(said | {"text": one.text[:200], "fix": "Name one person who answers for it."})
        if one.status == "not_applicable" and not one.evidence:
            said = {"severity": "medium", "title": "Does not apply, without a reason", "where": one.place}
            found.append(said | {"text": one.text[:200], "fix": "Write the reason as its evidence."})
    for each in judged:
        states = {match.statement.status for match in each.matches if match.is_named}
        if "implemented" in states and states & {"not_implemented", "planned", "not_applicable"}:
            places = ", ".join(match.statement.place for match in each.matches if match.is_named)
            said = {"severity": "high", "title": f"Statements about {each.control.id} disagree", "where": places}
            found.append(said | {"text": "The best of them was counted.", "fix": "Keep the one that is true."})
    for one in unmatched:
        said = {"severity": "info", "title": "About no control that is known here", "where": one.place}
        found.append(said | {"text": one.text[:200], "fix": "Write the control’s id beside it."})
    order = ("high", "medium", "low", "info")
    return sorted(found, key=lambda one: order.index(one["severity"]))[:500]


def _view(held: Framework, result: Mapping[str, Any], described: str) -> list[studio.Block]:
    summary = result["summary"]
    gaps = result["gaps"]
    view = [
        studio.facts(
            "At a glance",
            [
                ("Framework", held.name),
                ("Coverage", f"{summary['coverage_percent']:g} %"),
                ("Of it, with evidence", f"{summary['evidenced_percent']:g} %"),
                ("Of it, by id", f"{summary['confirmed_percent']:g} %"),
                ("In place", summary["implemented"]),
                ("Partly", summary["partial"]),
                ("Gaps", len(gaps)),
                ("Maturity", f"{summary['maturity']} of 4: {MATURITY[summary['maturity']]}"),
            ],
        ),
        studio.picture("Coverage by group", "coverage.svg", described=described),
        studio.table(
            "By group",
            ["Group", "What it is about", "In place", "Partly", "Coverage, %", "Evidenced, %", "Maturity"],
            [
                [
                    one["group"],
                    one["title"],
                    f"{one['implemented']} of {one['controls'] - one['not_applicable']}",
                    one["partial"],
                    one["coverage_percent"],
                    one["evidenced_percent"],
                    MATURITY[one["maturity"]],
                ]
                for one in result["groups"]
            ],
            note="Evidenced: what is in place, weighed by how far its evidence goes.",
        ),
        studio.table(
            "Roadmap: the most for the least first",
            ["Rank", "Control", "What it asks", "Now", "Weight", "Weeks", "When", "Elsewhere"],
            [
                [
                    one["rank"],
                    one["control"],
                    one["title"],
                    STATUSES[one["status"]],
                    one["weight"],
                    one["effort_weeks"],
                    one["wave"],
                    "; ".join(", ".join(ids) for ids in one["related"].values()),
                ]
                for one in gaps[:60]
            ],
            note=(f"{len(gaps) - 60} more in roadmap.csv. " if len(gaps) > 60 else "")
            + "Weights, weeks and the cross-walk are this house’s own reading, to be corrected by yours.",
        ),
        studio.findings("About your statements", result["findings"][:100], none="Each statement is owned and shown."),
        studio.table(
            "What counts for what",
            ["Control", "Status", "Evidence", "Statement", "By", "Why"],
            [
                [one["control"], STATUSES[one["status"]], EVIDENCE_SAID[one["evidence"]], by["place"], said, by["why"]]
                for one in result["controls"]
                for by in one["by"][:3]
                for said in ["id" if by["named"] else "its words; confirm it"]
            ],
        ),
        studio.text("Sources", [f"{held.name}: {held.source}."]),
    ]
    return view


def _controls_csv(judged: Sequence[Judged]) -> File:
    heading = ["control", "title", "status", "evidence", "weight", "effort_weeks", "statements", "confirmed", "why"]
    return csv_file(
        "controls.csv",
        heading,
        [
            [
                one.control.id,
                one.control.title,
                one.status,
                one.evidence,
                one.weight,
                one.effort,
                "; ".join(match.statement.place for match in one.matches),
                "yes" if one.is_confirmed else "no",
                " | ".join(match.why for match in one.matches[:5]),
            ]
            for one in judged
        ],
    )


def _report(held: Framework, result: Mapping[str, Any]) -> str:
    summary = result["summary"]
    name = f" of {markdown_cell(result['organisation'])}" if result["organisation"] else ""
    lines = [
        f"# Gap analysis{name}",
        f"{held.name}, {result['day']}. {held.source}.",
        f"Coverage {summary['coverage_percent']:g} %, with evidence {summary['evidenced_percent']:g} %, "
        f"maturity {summary['maturity']} of 4 ({MATURITY[summary['maturity']]}).",
        "## By group",
        markdown_table(
            ["Group", "Controls", "In place", "Partly", "Planned", "Not in place", "Coverage, %", "Evidenced, %"],
            [
                [one[key] for key in ("title", "controls", *ORDER, "coverage_percent", "evidenced_percent")]
                for one in result["groups"]
            ],
        ),
    ]
    for wave in WAVES:
        rows = [one for one in result["gaps"] if one["wave"] == wave]
        lines.append(f"## {wave}")
        lines.append(
            markdown_table(
                ["Rank", "Control", "What it asks", "Now", "Weeks", "Owner"],
                [
                    [
                        one["rank"],
                        one["control"],
                        one["title"],
                        STATUSES[one["status"]],
                        one["effort_weeks"],
                        one["owner"],
                    ]
                    for one in rows
                ],
            )
            if rows
            else "Nothing."
        )
    return "\n\n".join(lines) + "\n"


def _oscal(held: Framework, result: Mapping[str, Any], judged: Sequence[Judged]) -> bytes:
    """After OSCAL's assessment results 1.1.3 (NIST), with the fields that it requires; the plan is a stand-in."""
    at = f"{result['day']}T00:00:00Z"
    known = json.dumps([result["controls"], result["organisation"], at], sort_keys=True)

    def number(of: str) -> str:
        return str(uuid.uuid5(SPACE, f"{held.key} {known} {of}"))

    findings = []
    for one in judged:
        if one.status == "not_applicable":
            continue
        state = "satisfied" if one.status == "implemented" else "not-satisfied"
        findings.append(
            {
                "uuid": number(one.control.id),
                "title": f"{one.control.id}: {STATUSES[one.status]}",
                "description": one.control.title,
                "target": {
                    "type": "statement-id",
                    "target-id": re.sub(r"\((\d+)\)", r".\1", one.control.id).lower() + "_smt",
                    "status": {"state": state, "remarks": f"Evidence: {EVIDENCE_SAID[one.evidence]}."},
                },
            }
        )
    document = {
        "assessment-results": {
            "uuid": number("document"),
            "metadata": {
                "title": f"Gap analysis: {held.name}",
                "last-modified": at,
                "version": "1",
                "oscal-version": "1.1.3",
            },
            "import-ap": {"href": "#"},
            "results": [
                {
                    "uuid": number("result"),
                    "title": f"Stated controls, {result['day']}",
                    "description": "Statements of the organisation held against the framework. Nothing was tested.",
                    "start": at,
                    "reviewed-controls": {"control-selections": [{"include-all": {}}]},
                    "findings": findings,
                }
            ],
        }
    }
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


TOOL = Tool(
    slug="cyber-studio/compliance",
    title="Compliance gap analysis",
    noun="analysis",
    summary="Holds what you have in place against a framework: coverage, evidence, gaps and a roadmap.",
    mode="server",
    risk="medium",
    credits_max=25,
    limits=Limits(cpu_seconds=10, seconds=15),
    icon="scales",
    fields=(
        Choice(name="framework", title="Framework", choices=frameworks.FRAMEWORKS, default="nist_csf_2_0"),
        Text(name="organisation", title="Organisation", length_max=80, is_short=True, default=""),
        Text(
            name="day",
            title="Day of the analysis",
            help="YYYY-MM-DD.",
            length_max=10,
            is_short=True,
            is_required=True,
        ),
        Rows(
            name="controls",
            title="What is in place",
            help="One thing a row, in your own words. With the id of a control it counts for that one alone.",
            noun="statement",
            count_max=300,
            fields=(
                Text(name="statement", title="What", length_max=500, is_required=True),
                Text(name="control", title="Control ids, if known", length_max=200, is_short=True, default=""),
                Choice(name="status", title="Status", choices=STATUSES, default="implemented"),
                Text(name="evidence", title="Evidence", length_max=500, is_short=True, default=""),
                Choice(name="evidence_kind", title="Kind of evidence", choices=EVIDENCE_SAID, default="auto"),
                Text(name="owner", title="Owner", length_max=80, is_short=True, default=""),
            ),
        ),
        Document(
            name="document",
            title="Or a CSV of them",
            help="Columns: statement; and control, status, evidence, owner. At most 2,000 lines.",
            file_name="controls.csv",
            accepts=(".csv", ".tsv", ".txt", ".json"),
        ),
        Flag(name="with_suggestions", title="Match statements without an id by their words", default=True),
        Lines(
            name="focus",
            title="Groups that matter most",
            help="Their weight counts twice: PR.AA, RC.RP; AC, CP; A.8.",
            count_max=10,
            length_max=10,
        ),
    ),
    function=run,
    example={
        "framework": "nist_csf_2_0",
        "organisation": "Harbour Goods",
        "day": "2026-11-21",
        "controls": [
            {
                "statement": "All staff sign in with multi-factor authentication",
                "status": "implemented",
                "evidence": "Export from the identity provider, 2026-10",
                "owner": "Ada",
            },
            {
                "statement": "Nightly backups of the database, restored as a test every quarter",
                "control": "PR.DS-11",
                "status": "implemented",
                "evidence": "Restore tested on 2026-09-14, ticket OPS-311",
                "owner": "Ben",
            },
            {
                "statement": "Laptops and servers get security updates within 30 days",
                "status": "partial",
                "evidence": "Patching policy",
                "owner": "Ben",
            },
            {"statement": "Incident response plan with an on-call rota", "status": "planned", "owner": "Cleo"},
            {
                "statement": "Access rights are reviewed every six months",
                "control": "PR.AA-05",
                "status": "implemented",
            },
            {
                "statement": "Suppliers with personal data have signed security terms",
                "status": "partial",
                "evidence": "Contracts folder",
                "owner": "Dan",
            },
        ],
        "focus": ["PR.AA"],
    },
)
