"""A risk register: inherent and residual scores, heat maps, ranking, what is overdue, and what does not fit together.

inherent = likelihood × impact, 1 to 25. With an effectiveness of e % the controls leave f = 1 − e ÷ 100 of what they
lower: of the likelihood, of the impact, or √f of each; neither falls below 1. residual = what is left of both,
multiplied. Terms: ISO 31000:2018 (risk criteria, analysis, evaluation, treatment, residual risk, risk owner) and
ISO/IEC 27005:2022, whose four options are modification, retention, sharing and avoidance.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from tools_registry import studio
from tools_registry.fields import Choice, Rows, Text, Whole
from tools_registry.studio import BadInput, File, Limits, Result, Severity, Tool
from tools_registry.studios import drawing
from tools_registry.studios.sheets import csv_file, markdown_cell, markdown_table

LIKELIHOODS = ("Rare", "Unlikely", "Possible", "Likely", "Almost certain")
IMPACTS = ("Negligible", "Minor", "Moderate", "Major", "Severe")
TREATMENTS = {
    "mitigate": "Mitigate (modification)",
    "accept": "Accept (retention)",
    "transfer": "Transfer (sharing)",
    "avoid": "Avoid (avoidance)",
}
LOWERS = {"both": "Both", "likelihood": "The likelihood", "impact": "The impact"}
STATUSES = {"open": "Not begun", "doing": "In work", "done": "Done"}
CATEGORIES = {
    "technical": "Technical",
    "people": "People",
    "supplier": "Suppliers",
    "physical": "Physical",
    "legal": "Law and contracts",
    "financial": "Financial",
    "other": "Other",
}
LEVELS: tuple[tuple[float, Severity], ...] = ((17, "critical"), (10, "high"), (5, "medium"), (0, "low"))
NOBODY = "nobody"
METHOD = (
    "Inherent score = likelihood × impact, each 1 to 5. With an effectiveness of e % the controls leave 1 − e ÷ 100 of "
    "what they lower, or the square root of that of each where they lower both; neither falls below 1. Residual score "
    "= what is left of the likelihood × what is left of the impact. From 17 critical, from 10 high, from 5 medium. "
    "The terms are those of ISO 31000:2018 (risk criteria 6.3.4, analysis 6.4.3, evaluation 6.4.4, treatment 6.5, "
    "monitoring and review 6.6) and of ISO/IEC 27005:2022 (modification, retention, sharing, avoidance); the scales "
    "and the formula are this tool’s."
)


def run(inputs: dict[str, Any], files: dict[str, bytes]) -> Result:
    """{title, day, appetite, risks, counts, heat_maps, by_treatment, by_owner, by_category, checks, method}.

    `risks` are ranked by their residual score; `heat_maps` count risks, rows from likelihood 5 down to 1.
    """
    day = _day("day", inputs["day"])
    risks = _risks(inputs["risks"], day)
    ranked = sorted(risks, key=lambda one: (-one["residual"], -one["inherent"], one["number"]))
    ranked = [one | {"rank": rank} for rank, one in enumerate(ranked, start=1)]
    result = {
        "title": inputs["title"],
        "day": inputs["day"] or None,
        "appetite": inputs["appetite"],
        "risks": ranked,
        "counts": _counts(risks, inputs["appetite"]),
        "heat_maps": {
            "inherent": _cells(risks, "likelihood", "impact"),
            "residual": _cells(risks, "residual_likelihood", "residual_impact"),
        },
        "by_treatment": _by(risks, "treatment", TREATMENTS),
        "by_owner": _by(risks, "owner", None),
        "by_category": _by(risks, "category", CATEGORIES),
        "checks": _checks(risks, inputs["appetite"]),
        "method": METHOD,
    }
    made = [
        csv_file("register.csv", [title for title, _ in COLUMNS], [_line(one) for one in ranked]),
        File("register.md", "text/markdown", _written(result).encode("utf-8", "replace")),
        File("register.json", "application/json", _json(result)),
        File("inherent.svg", "image/svg+xml", _drawn("Before controls", risks, "likelihood", "impact")),
        File(
            "residual.svg",
            "image/svg+xml",
            _drawn("With controls", risks, "residual_likelihood", "residual_impact"),
        ),
    ]
    return Result(result, _view(result), made)


def _day(field: str, written: str) -> date | None:
    if not written:
        return None
    try:
        if len(written) != 10:
            raise ValueError
        return date.fromisoformat(written)
    except ValueError:
        raise BadInput({field: f"Write a day as 2026-11-30; {written} is none."}) from None


# Scores: static/holdfast/studio/cyber/risk_register.js counts the same


def rounded(value: float) -> float:
    """To one decimal, halves up."""
    return math.floor(value * 10 + 0.5) / 10


def left(likelihood: int, impact: int, effectiveness: int, lowers: str) -> tuple[float, float]:
    """Likelihood and impact with the controls."""
    rest = 1 - effectiveness / 100
    if lowers == "likelihood":
        return max(1.0, likelihood * rest), float(impact)
    if lowers == "impact":
        return float(likelihood), max(1.0, impact * rest)
    return max(1.0, likelihood * math.sqrt(rest)), max(1.0, impact * math.sqrt(rest))


def level(score: float) -> Severity:
    return next(name for least, name in LEVELS if score >= least)


def _risks(rows: Sequence[Mapping[str, Any]], day: date | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    wrong: dict[str, list[str]] = {}
    for number, row in enumerate(rows):
        try:
            due = _day(f"risks.{number}.due", row["due"])
        except BadInput as error:
            wrong |= error.fields
            continue
        likelihood, impact = left(row["likelihood"], row["impact"], row["effectiveness"], row["lowers"])
        inherent, residual = row["likelihood"] * row["impact"], rounded(likelihood * impact)
        late = (day - due).days if day and due and row["status"] != "done" else 0
        found.append(
            {
                "id": f"R{number + 1:02}",
                "number": number,
                **row,
                "owner": " ".join(row["owner"].split()),
                "inherent": inherent,
                "inherent_level": level(inherent),
                "residual_likelihood": rounded(likelihood),
                "residual_impact": rounded(impact),
                "residual": residual,
                "residual_level": level(residual),
                "days_overdue": max(0, late),
            }
        )
    if wrong:
        raise BadInput(wrong)
    return found


def _counts(risks: Sequence[Mapping[str, Any]], appetite: int) -> dict[str, Any]:
    inherent = sum(one["inherent"] for one in risks)
    residual = rounded(sum(one["residual"] for one in risks))
    return {
        "risks": len(risks),
        "inherent": inherent,
        "residual": residual,
        "lowered_percent": rounded(100 * (1 - residual / inherent)),
        "above_appetite": sum(one["residual"] > appetite for one in risks),
        "overdue": sum(one["days_overdue"] > 0 for one in risks),
        "without_owner": sum(not one["owner"] for one in risks),
        "by_level": {name: sum(one["residual_level"] == name for one in risks) for _, name in LEVELS},
    }


def _place(one: Mapping[str, Any], of: str) -> int:
    return math.floor(one[of] + 0.5)


def _cells(risks: Sequence[Mapping[str, Any]], likelihood: str, impact: str) -> list[list[int]]:
    places = [(_place(one, likelihood), _place(one, impact)) for one in risks]
    return [[places.count((row, column)) for column in range(1, 6)] for row in range(5, 0, -1)]


def _by(risks: Sequence[Mapping[str, Any]], of: str, titles: Mapping[str, str] | None) -> list[dict[str, Any]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for one in risks:
        groups.setdefault(one[of] or NOBODY, []).append(one)
    rows = [
        {
            "name": name,
            "title": titles[name] if titles else name,
            "risks": len(group),
            "inherent": sum(one["inherent"] for one in group),
            "residual": rounded(sum(one["residual"] for one in group)),
            "overdue": sum(one["days_overdue"] > 0 for one in group),
        }
        for name, group in groups.items()
    ]
    return sorted(rows, key=lambda row: (-row["residual"], row["name"]))


# Checks: what does not fit together


Judge = Callable[[Mapping[str, Any], int], bool]
CHECKS: tuple[tuple[str, Severity, Judge, str, str, str, str], ...] = (
    (
        "accepted-above-appetite",
        "high",
        lambda one, appetite: one["treatment"] == "accept" and one["residual"] > appetite,
        "treatment",
        "Accepted, above what may be accepted",
        "Treat it, or let whoever set the appetite accept it by name.",
        "ISO 31000:2018 6.4.4; ISO/IEC 27001:2022 6.1.2 a) 1)",
    ),
    (
        "no-owner",
        "high",
        lambda one, _: not one["owner"],
        "owner",
        "Nobody owns it",
        "Name one person who may decide about it and answers for it.",
        "ISO/IEC 27001:2022 6.1.2 c) 2)",
    ),
    (
        "no-plan",
        "high",
        lambda one, _: one["treatment"] != "accept" and not one["plan"],
        "plan",
        "It is to be treated, but nothing says how",
        "Write down what is done, by whom, with what.",
        "ISO 31000:2018 6.5.3; ISO/IEC 27001:2022 6.1.3 e)",
    ),
    (
        "overdue",
        "high",
        lambda one, _: one["days_overdue"] > 0,
        "due",
        "The plan is overdue",
        "Finish it, or set a new day with a reason.",
        "ISO 31000:2018 6.6",
    ),
    (
        "above-appetite",
        "medium",
        lambda one, appetite: one["treatment"] != "accept" and one["residual"] > appetite,
        "effectiveness",
        "Above the appetite, even with the controls that there are",
        "The plan has to lower it further; until then it is known and watched.",
        "ISO 31000:2018 6.5.2",
    ),
    (
        "no-due",
        "medium",
        lambda one, _: one["treatment"] != "accept" and one["status"] != "done" and not one["due"],
        "due",
        "The plan has no day by which it is done",
        "Set one.",
        "ISO 31000:2018 6.5.3",
    ),
    (
        "done-without-effect",
        "medium",
        lambda one, _: one["status"] == "done" and one["treatment"] != "accept" and one["effectiveness"] == 0,
        "effectiveness",
        "Said to be done, but it lowers nothing",
        "Say how far the controls lower it, or that they do not.",
        "ISO 31000:2018 6.6",
    ),
    (
        "perfect-control",
        "low",
        lambda one, _: one["effectiveness"] == 100,
        "effectiveness",
        "Controls of 100 % are rare",
        "Say what a test of them showed.",
        "ISO 31000:2018 6.4.3",
    ),
    (
        "no-reason",
        "low",
        lambda one, _: one["treatment"] == "accept" and not one["plan"],
        "plan",
        "Accepted without a reason",
        "Write down why, and until when.",
        "ISO/IEC 27001:2022 6.1.3 f)",
    ),
)


def _checks(risks: Sequence[Mapping[str, Any]], appetite: int) -> list[dict[str, Any]]:
    found = [
        {
            "check": name,
            "severity": severity,
            "risk": one["id"],
            "risk_title": one["title"],
            "field": f"risks.{one['number']}.{field}",
            "title": title,
            "fix": fix,
            "source": source,
        }
        for name, severity, judge, field, title, fix, source in CHECKS
        for one in risks
        if judge(one, appetite)
    ]
    first: dict[str, Mapping[str, Any]] = {}
    for one in risks:
        before = first.setdefault(one["title"].casefold(), one)
        if before is not one:
            found.append(
                {
                    "check": "twice",
                    "severity": "low",
                    "risk": one["id"],
                    "risk_title": one["title"],
                    "field": f"risks.{one['number']}.title",
                    "title": f"{before['id']} has the same title",
                    "fix": "Join them, or say what differs.",
                    "source": "ISO 31000:2018 6.4.2",
                }
            )
    return found


# Files and page


COLUMNS: tuple[tuple[str, Callable[[Mapping[str, Any]], Any]], ...] = (
    ("Rank", lambda one: one["rank"]),
    ("Id", lambda one: one["id"]),
    ("Risk", lambda one: one["title"]),
    ("Category", lambda one: CATEGORIES[one["category"]]),
    ("Likelihood", lambda one: one["likelihood"]),
    ("Impact", lambda one: one["impact"]),
    ("Inherent", lambda one: one["inherent"]),
    ("Effectiveness %", lambda one: one["effectiveness"]),
    ("Residual", lambda one: one["residual"]),
    ("Level", lambda one: one["residual_level"]),
    ("Treatment", lambda one: TREATMENTS[one["treatment"]]),
    ("Plan", lambda one: one["plan"]),
    ("Owner", lambda one: one["owner"]),
    ("Due", lambda one: one["due"]),
    ("Status", lambda one: STATUSES[one["status"]]),
    ("Days overdue", lambda one: one["days_overdue"]),
    ("Description", lambda one: one["description"]),
)
SHOWN = ("Rank", "Id", "Risk", "Inherent", "Residual", "Level", "Treatment", "Owner", "Due", "Status")


def _line(one: Mapping[str, Any], shown: Sequence[str] | None = None) -> list[Any]:
    return [of(one) for title, of in COLUMNS if shown is None or title in shown]


def _drawn(title: str, risks: Sequence[Mapping[str, Any]], likelihood: str, impact: str) -> bytes:
    ids: dict[tuple[int, int], list[str]] = {}
    for one in risks:
        ids.setdefault((_place(one, likelihood), _place(one, impact)), []).append(one["id"])
    down = range(5, 0, -1)
    words = [[_said(ids.get((row, column), [])) for column in range(1, 6)] for row in down]
    return drawing.heat_map(
        title,
        [f"{number} {name}" for number, name in enumerate(IMPACTS, start=1)],
        [f"{row} {LIKELIHOODS[row - 1]}" for row in down],
        [[float(row * column) for column in range(1, 6)] for row in down],
        words=words,
        scale="risk",
        least=1,
        most=25,
        x_title="Impact",
        y_title="Likelihood",
        described=_described(ids),
    )


def _said(ids: Sequence[str]) -> str:
    return " ".join(ids) if len(ids) < 4 else f"{' '.join(ids[:2])} +{len(ids) - 2}"


def _described(ids: Mapping[tuple[int, int], Sequence[str]]) -> str:
    places = sorted(ids, key=lambda place: (-place[0] * place[1], -place[0]))
    return "; ".join(f"likelihood {row}, impact {column}: {', '.join(ids[row, column])}" for row, column in places)


def _json(result: Mapping[str, Any]) -> bytes:
    return json.dumps({"format": "risk register 1"} | dict(result), ensure_ascii=False, indent=1).encode(
        "utf-8", "replace"
    )


def _group_rows(rows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return [(row["title"], row["risks"], row["inherent"], row["residual"], row["overdue"]) for row in rows]


GROUP_COLUMNS = ("Risks", "Inherent", "Residual", "Overdue")


def _written(result: Mapping[str, Any]) -> str:
    counts = result["counts"]
    parts = [
        f"# Risk register: {markdown_cell(result['title'])}",
        f"{counts['risks']} risks; inherent {counts['inherent']}, residual {counts['residual']:g} in all. Risk "
        f"appetite (the highest residual score that may be accepted): {result['appetite']}; "
        f"{counts['above_appetite']} above it. "
        + (f"As of {result['day']}: {counts['overdue']} overdue." if result["day"] else "No day given, none overdue."),
        "## Ranking\n\n" + markdown_table(SHOWN, [_line(one, SHOWN) for one in result["risks"]]),
        "## Treatment plans",
    ]
    for one in result["risks"]:
        lines = [
            f"### {one['id']} {markdown_cell(one['title'])}",
            markdown_cell(one["description"]),
            f"{TREATMENTS[one['treatment']]}. {markdown_cell(one['plan']) or 'No plan is written.'}",
            f"Owner: {markdown_cell(one['owner']) or 'none'}. Due: {one['due'] or 'no day'}. "
            f"{STATUSES[one['status']]}. Inherent {one['likelihood']} × {one['impact']} = {one['inherent']}; controls "
            f"of {one['effectiveness']} %; residual {one['residual_likelihood']:g} × {one['residual_impact']:g} = "
            f"{one['residual']:g}.",
        ]
        parts += [line for line in lines if line]
    for title, name in (("treatment", "by_treatment"), ("owner", "by_owner"), ("category", "by_category")):
        columns = (title.capitalize(), *GROUP_COLUMNS)
        parts.append(f"## By {title}\n\n" + markdown_table(columns, _group_rows(result[name])))
    odd = [
        (one["severity"], f"{one['risk']} {one['risk_title']}", one["title"], one["fix"], one["source"])
        for one in result["checks"]
    ]
    columns = ("Weight", "Risk", "What", "What to do", "Why")
    parts.append("## Checks\n\n" + (markdown_table(columns, odd) if odd else "Everything fits together."))
    parts.append(f"## Method\n\n{METHOD}")
    return "\n\n".join(parts) + "\n"


def _view(result: Mapping[str, Any]) -> list[studio.Block]:
    counts = result["counts"]
    checks = [
        {
            "severity": one["severity"],
            "title": f"{one['risk']} {one['risk_title']}: {one['title'][:1].lower()}{one['title'][1:]}",
            "where": one["source"],
            "fix": one["fix"],
        }
        for one in result["checks"]
    ]
    note = "Residual: with the controls that there are. " + (
        f"Overdue as of {result['day']}." if result["day"] else "Without a day nothing is counted overdue."
    )
    view = [
        studio.facts(
            "At a glance",
            (
                ("Risks", counts["risks"]),
                ("Inherent score, in all", counts["inherent"]),
                ("Residual score, in all", counts["residual"]),
                ("Lowered by controls", f"{counts['lowered_percent']:g} %"),
                (f"Above the appetite of {result['appetite']}", counts["above_appetite"]),
                ("Overdue", counts["overdue"] if result["day"] else "no day given"),
                ("Without an owner", counts["without_owner"]),
            ),
        ),
        studio.picture("Before controls", "inherent.svg", described="Inherent scores; the ranking below has them all."),
        studio.picture("With controls", "residual.svg", described="Residual scores, to the nearest cell."),
        studio.table("Ranking", SHOWN, [_line(one, SHOWN) for one in result["risks"]], note=note),
        studio.findings("Checks", checks, none="Everything fits together."),
    ]
    for title, name in (("treatment", "by_treatment"), ("owner", "by_owner"), ("category", "by_category")):
        view.append(studio.table(f"By {title}", (title.capitalize(), *GROUP_COLUMNS), _group_rows(result[name])))
    view.append(studio.text("How it is counted", METHOD))
    return view


def _example(title: str, **more: Any) -> dict[str, Any]:
    plain = {
        "description": "",
        "plan": "",
        "owner": "",
        "due": "",
        "effectiveness": 0,
        "lowers": "both",
        "status": "open",
    }
    return {"title": title} | plain | more


TOOL = Tool(
    slug="cyber-studio/risk-register",
    title="Risk register",
    noun="register",
    summary="Risks with scores before and after controls, heat maps, a ranking, and what does not fit together.",
    mode="hybrid",
    risk="low",
    credits_max=5,
    limits=Limits(cpu_seconds=5, seconds=10),
    icon="scales",
    fields=(
        Text(name="title", title="What the register is for", length_max=100, is_short=True, is_required=True),
        Text(
            name="day",
            title="As of",
            help="The day that due days are held against, as 2026-11-30. Without it nothing is overdue.",
            length_max=10,
            is_short=True,
            default="",
        ),
        Whole(
            name="appetite",
            title="Risk appetite",
            help="The highest residual score, 1 to 25, that may be accepted.",
            min=1,
            max=25,
            default=6,
        ),
        Rows(
            name="risks",
            title="Risks",
            noun="risk",
            count_min=1,
            count_max=100,
            is_required=True,
            fields=(
                Text(name="title", title="Risk", length_max=100, is_short=True, is_required=True),
                Text(name="description", title="What would happen, and why", length_max=600, default=""),
                Choice(name="category", title="Category", choices=CATEGORIES, default="technical"),
                Whole(
                    name="likelihood", title="Likelihood", help="1 rare to 5 almost certain", min=1, max=5, default=3
                ),
                Whole(name="impact", title="Impact", help="1 negligible to 5 severe", min=1, max=5, default=3),
                Choice(name="treatment", title="Treatment", choices=TREATMENTS, default="mitigate"),
                Text(name="plan", title="Plan, or the reason to accept it", length_max=600, default=""),
                Text(name="owner", title="Owner", length_max=60, is_short=True, default=""),
                Text(name="due", title="Due", help="As 2026-11-30", length_max=10, is_short=True, default=""),
                Choice(name="status", title="Status", choices=STATUSES, default="open"),
                Whole(
                    name="effectiveness",
                    title="How far controls lower it already",
                    unit="%",
                    min=0,
                    max=100,
                    default=0,
                ),
                Choice(name="lowers", title="They lower", choices=LOWERS, default="both"),
            ),
        ),
    ),
    function=run,
    example={
        "title": "Bookseller, online shop",
        "day": "2026-11-21",
        "appetite": 6,
        "risks": [
            _example(
                "Ransomware encrypts the file server",
                description="A mail attachment is opened; backups hang on the same network.",
                category="technical",
                likelihood=4,
                impact=5,
                treatment="mitigate",
                plan="Backups that cannot be changed, restored as a test every quarter; macros off.",
                owner="Dana Okafor",
                due="2026-10-31",
                status="doing",
                effectiveness=40,
                lowers="impact",
            ),
            _example(
                "The payment provider is down for a day",
                category="supplier",
                likelihood=3,
                impact=4,
                treatment="transfer",
                plan="Second provider by contract; insurance pays lost sales.",
                owner="Ravi Shah",
                due="2027-01-31",
                effectiveness=50,
                lowers="both",
            ),
            _example(
                "A leaver keeps access",
                category="people",
                likelihood=3,
                impact=3,
                treatment="mitigate",
                plan="",
                owner="",
                due="",
            ),
            _example(
                "Customer data in the old newsletter tool",
                category="legal",
                likelihood=2,
                impact=4,
                treatment="avoid",
                plan="Move addresses, delete the account.",
                owner="Dana Okafor",
                due="2026-12-15",
                status="doing",
            ),
            _example(
                "The office floods",
                category="physical",
                likelihood=1,
                impact=3,
                treatment="accept",
                plan="Everything needed is in the cloud; reviewed yearly.",
                owner="Ravi Shah",
            ),
            _example(
                "The shop runs on a framework out of support",
                category="technical",
                likelihood=4,
                impact=4,
                treatment="accept",
                plan="",
                owner="Mei Lin",
                effectiveness=20,
                lowers="likelihood",
            ),
        ],
    },
)
