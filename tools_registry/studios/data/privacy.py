"""Personal data in a table or a text, and what GDPR and CCPA ask of who uses it. No value found is ever shown.

A column's confidence: strength of the form × (½ + ½ × share of its values that have it), joined with 0.6 where the
column's name says so too, 0.3 where the name may mean something else: 1 − (1 − form) × (1 − name). The assessment
counts what is at least as likely as not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tools_registry import studio
from tools_registry.fields import Choice, Choices, Document, Flag, Lines, Text, Whole
from tools_registry.studio import File, Limits, Result, Tool
from tools_registry.studios import drawing
from tools_registry.studios.sheets import csv_file, markdown_cell, markdown_table

from . import kinds, personal
from . import privacy_law as law
from .reading import ENDINGS, Sheet, decode, read, sniff

VALUES_MAX = 3_000  # different values of a column that are looked at
LINES_MAX = 50_000
LISTED_MAX = 2_000
SAMPLE_ROWS = 5
NAME_CONFIDENCE, PERHAPS_CONFIDENCE = 0.6, 0.3
SURE = 0.5
LAWS = {"gdpr": "GDPR and UK GDPR", "ccpa": "CCPA as amended by the CPRA"}
REGIONS = {
    "GB": "United Kingdom",
    "IE": "Ireland",
    "US": "United States",
    "CA": "Canada",
    "DE": "Germany",
    "FR": "France",
    "ES": "Spain",
    "IT": "Italy",
    "NL": "Netherlands",
    "AU": "Australia",
    "IN": "India",
}


def run(inputs: dict[str, Any], files: dict[str, bytes]) -> Result:
    """{kind, looked_at, findings, masked_sample, assessment}. A finding is a column, or the lines of a text."""
    content = files["document"]
    sheet = _table(inputs, content)
    if sheet is not None:
        found, sample, looked = _in_columns(sheet, inputs["region"])
    else:
        found, sample, looked = _in_text(content, inputs["region"])
    assessment = _assess(inputs, found)
    result = {
        "kind": "text" if sheet is None else "table",
        "looked_at": looked,
        "findings": found,
        "masked_sample": sample,
        "assessment": assessment,
    }
    made = [_listed(found), File("assessment.md", "text/markdown", _written(inputs, result).encode())]
    made.append(File("risk.svg", "image/svg+xml", _drawn(assessment)))
    return Result(result, _view(result), made)


def _table(inputs: Mapping[str, Any], content: bytes) -> Sheet | None:
    """The table, or None where it is a text."""
    kind = inputs["kind"]
    if kind == "text":
        return None
    is_known = content[:4] == b"PAR1" or inputs["document"].lower().endswith((".json", ".jsonl", ".ndjson", ".parquet"))
    if kind == "guess" and not is_known:
        text, _, _ = decode(content, "document")
        if text.lstrip()[:1] not in ("[", "{") and not _is_tabular(text):
            return None
    sheet = read(content, "document", has_heading=inputs["has_heading"])
    telling = [name for name in sheet.names if _is_a_person(name, inputs["region"])]
    if telling and sheet.format == "CSV":
        # The first line is a person, not a heading
        return read(content, "document", has_heading=False)
    for number, name in enumerate(sheet.names, start=1):
        cells = sheet.columns.pop(name)
        sheet.columns[f"column_{number} (its name is personal)" if name in telling else name] = cells
    return sheet


def _is_a_person(name: str, region: str) -> bool:
    """Whether the name of a column is somebody's: an address, a number, a given name and another one."""
    found = personal.find_in_text(name, region)
    return personal.looks_like_a_name(name) or any(personal.BY_NAME[kind].category != "special" for kind, *_ in found)


def _is_tabular(text: str) -> bool:
    delimiter = sniff(text)
    lines = [line for line in text.splitlines()[:200] if line.strip()]
    first = lines[0].count(delimiter)
    return first > 0 and sum(line.count(delimiter) >= first for line in lines) >= 0.8 * len(lines)


# Columns


def _in_columns(sheet: Sheet, region: str) -> tuple[list[dict[str, Any]], dict[str, Any], str]:
    found = []
    kind_of_column: dict[str, str] = {}
    for name, cells in sheet.columns.items():
        seen = kinds.profile(cells)
        of_column = _column(name, seen, region)
        found += of_column
        if of_column:
            kind_of_column[name] = of_column[0]["type"]
    found.sort(key=lambda one: (-personal.WEIGHTS[one["category"]], -one["confidence"], one["column"]))
    sample = _sample(sheet, kind_of_column)
    return found, sample, f"{sheet.row_count:,} rows, {len(sheet.columns)} columns ({sheet.told})"


def _column(name: str, seen: kinds.Profile, region: str) -> list[dict[str, Any]]:
    """What the column holds; the surest first."""
    values = dict(list(seen.values.items())[:VALUES_MAX])
    total = sum(values.values())
    hits: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for value, count in values.items():
        kinds_here = set()
        for kind, start, end in personal.find_in_text(value[:4000], region):
            kinds_here.add(kind)
            if end - start >= len(value) - 2:
                whole[kind] += count
        if (
            kinds_here
            and len(kinds_here) == 1
            and value.isdigit()
            and not personal.BY_NAME[next(iter(kinds_here))].is_true
        ):
            continue
        for kind in kinds_here:
            hits[kind] += count
        if not kinds_here and personal.looks_like_a_name(value):
            hits["name"] += count
    answer: list[dict[str, Any]] = []
    for of in personal.KINDS:
        is_named = bool(of.named) and bool(personal.NAMED[of.name].search(_plain(name)))
        is_named = is_named and not (of.name == "name" and personal.OF_A_THING.search(_plain(name)))
        is_perhaps = (
            not is_named and of.name in personal.PERHAPS and bool(personal.PERHAPS[of.name].search(_plain(name)))
        )
        if is_perhaps and of.words and total:
            meant = sum(times for value, times in values.items() if personal.WORDS[of.name].fullmatch(value))
            is_named, is_perhaps = meant >= 0.5 * total, meant < 0.5 * total
        if of.name == "ip_address" and not is_named and re.search(r"(?i)version|release|build|firmware", name):
            continue
        if of.category == "special" and of.form and not of.is_true:
            is_named = is_named or bool(personal.FORMS[of.name].search(_plain(name).replace("_", " ")))
        count = hits[of.name]
        if of.needs_name and is_named and of.form:
            form = personal.FORMS[of.name]
            count = sum(
                times
                for value, times in values.items()
                if form.fullmatch(value) and (of.is_true is None or of.is_true(value, region))
            )
        if of.name == "date_of_birth" and is_named and seen.kind in ("date", "datetime"):
            count = total
        if not count and not ((is_named or is_perhaps) and total and _fits(of, seen, name)):
            continue
        share = count / total if total else 0.0
        strength = of.strength or (0.8 if of.name == "name" else 0.0)
        form_confidence = strength * (0.5 + 0.5 * share) if count else 0.0
        if of.name == "card" and share < 0.5 and not is_named and whole["card"] and seen.kind == "integer":
            continue  # long numbers: one in ten fits Luhn by chance
        if of.name == "name" and share < 0.2 and not is_named:
            continue
        by_name = NAME_CONFIDENCE if is_named else PERHAPS_CONFIDENCE if is_perhaps else 0.0
        confidence = 1 - (1 - form_confidence) * (1 - by_name)
        answer.append(
            {
                "type": of.name,
                "title": of.title,
                "category": of.category,
                "column": name,
                "count": count if count else total,
                "values": total,
                "share": round(share, 4),
                "lines": [],
                "confidence": round(confidence, 2),
                "why": _why(
                    of,
                    count,
                    total,
                    "says so" if is_named else "may say so, or mean something else" if is_perhaps else "",
                    is_inside=0 < whole[of.name] < count,
                    is_sampled=len(seen.values) > VALUES_MAX,
                ),
            }
        )
    if any(one["type"] != "name" and one["confidence"] >= 0.8 for one in answer):
        answer = [one for one in answer if one["type"] != "name" or one["confidence"] >= 0.85]
    return sorted(answer, key=lambda one: -one["confidence"])


def _plain(name: str) -> str:
    """firstName → first Name, so that its words can be told apart."""
    return "".join(
        f" {one}" if one.isupper() and before.islower() else one for before, one in zip(" " + name, name, strict=False)
    )


def _fits(kind: personal.Kind, seen: kinds.Profile, name: str) -> bool:
    """Whether the column's values can be what its name says."""
    if kind.name == "location":
        # Places have degrees with their parts; lat_ms and long_description are none.
        of = [value for value in list(seen.values)[:200] if re.search(r"-?\b\d{1,3}[.,]\d+", value)]
        is_time = re.search(r"(?i)(?:^|[_\s.-])(?:ms|sec|seconds?|ns|us|avg|mean|p\d{1,2})$", name)
        return 2 * len(of) >= min(200, len(seen.values)) and not is_time
    if kind.name == "phone":
        of = [value for value in list(seen.values)[:200] if sum(one.isdigit() for one in value) >= 6]
        return 2 * len(of) >= min(200, len(seen.values))
    if kind.name == "date_of_birth":
        return seen.kind in ("date", "datetime")
    if kind.name in ("name", "address", "username", "religion", "ethnicity", "nationality"):
        return seen.kind == "text"
    if kind.name in ("age", "income"):
        return seen.kind in ("integer", "decimal", "text")
    return not kind.form or kind.category == "special" or kind.name in ("uk_postcode", "secret")


def _why(kind: personal.Kind, count: int, total: int, named: str, *, is_inside: bool, is_sampled: bool) -> str:
    said = []
    looked = f"the first {VALUES_MAX:,} different" if is_sampled else f"{total:,}"
    if count:
        how = f" and pass {kind.checked_by}" if kind.checked_by else ""
        where = "hold one" if is_inside else "have its form"
        said.append(f"{count:,} of {looked} values {where}{how}")
    if named:
        said.append(f"the column’s name {named}")
    return "; ".join(said)


def _sample(sheet: Sheet, found: Mapping[str, str]) -> dict[str, Any]:
    """The first rows without a raw value: what was found by its kind, all else by its shape."""
    rows = [
        [
            None if cell is None else f"[{found[name]}]" if name in found else _shape(cell)
            for name, cell in zip(sheet.names[:30], row, strict=False)
        ]
        for row in list(sheet.rows())[:SAMPLE_ROWS]
    ]
    return {"columns": sheet.names[:30], "rows": rows}


def _shape(cell: str) -> str:
    return "".join("9" if one.isdigit() else "x" if one.isalpha() else one for one in cell[:40])


# Text


def _in_text(content: bytes, region: str) -> tuple[list[dict[str, Any]], dict[str, Any], str]:
    text, encoding, _ = decode(content, "document")
    lines = text.splitlines()
    where: dict[str, list[int]] = {}
    rows: list[list[Any]] = []
    for number, line in enumerate(lines[:LINES_MAX], start=1):
        for kind, start, end in personal.find_in_text(line[:20_000], region):
            where.setdefault(kind, []).append(number)
            if len(rows) < 20:
                rows.append([number, f"[{kind}]", personal.masked(line[start:end])])
    found: list[dict[str, Any]] = []
    for name, numbers in where.items():
        of = personal.BY_NAME[name]
        why = f"{len(numbers):,} times in its form" + (f", and passes {of.checked_by}" if of.checked_by else "")
        found.append(
            {
                "type": name,
                "title": of.title,
                "category": of.category,
                "column": None,
                "count": len(numbers),
                "values": len(numbers),
                "share": 1.0,
                "lines": list(dict.fromkeys(numbers))[:50],
                "confidence": round(of.strength, 2),
                "why": why,
            }
        )
    found.sort(key=lambda one: (-personal.WEIGHTS[one["category"]], -one["confidence"], one["type"]))
    sample = {"columns": ["line", "kind", "masked"], "rows": rows}
    return found, sample, f"{len(lines):,} lines of text ({encoding})"


# Assessment


def _assess(inputs: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    sure = [one for one in found if one["confidence"] >= SURE]
    case: dict[str, Any] = {name: inputs[name] for name in ANSWERS}
    special = sorted({one["type"] for one in sure if one["category"] == "special"})
    case["has_special"] = bool(special)
    ccpa_sensitive = {"us_ssn", "passport", "card", "bank_account", "iban", "location", "secret"}
    case["has_sensitive_ccpa"] = bool(special) or any(one["type"] in ccpa_sensitive for one in sure)
    case["sensitivity"] = max((personal.WEIGHTS[one["category"]] for one in sure), default=0)
    case["criteria"] = law.criteria(case)
    case["is_assessment_needed"] = len(case["criteria"]) >= 2 and bool(sure)
    applicable = [rule for rule in law.RULES if sure and rule.law in inputs["laws"] and rule.applies(case)]
    missing = [rule for rule in applicable if not rule.is_met(case)]
    order = ["critical", "high", "medium", "low"]
    missing.sort(key=lambda rule: order.index(rule.severity))
    return {
        "laws": inputs["laws"],
        "special_categories": special,
        "criteria": [{"id": one, "title": law.CRITERIA[one]} for one in case["criteria"]],
        "is_assessment_needed": case["is_assessment_needed"],
        "score": law.score(case, len(applicable) - len(missing), len(applicable)),
        "missing": [
            {
                "id": rule.id,
                "law": rule.law,
                "article": rule.article,
                "severity": rule.severity,
                "gap": rule.gap,
                "fix": rule.fix,
            }
            for rule in missing
        ],
        "kept": [
            {"id": rule.id, "law": rule.law, "article": rule.article} for rule in applicable if rule not in missing
        ],
    }


def _drawn(assessment: Mapping[str, Any]) -> bytes:
    score = assessment["score"]
    rows = [
        drawing.Bar(
            name.capitalize(),
            100 * part["weight"] * part["value"] / part["of"],
            note=f"{part['value']} of {part['of']}",
        )
        for name, part in score["parts"].items()
    ]
    rows.append(drawing.Bar("Inherent risk", score["inherent"], "brass"))
    rows.append(drawing.Bar("Residual risk", score["residual"], "coral"))
    return drawing.bars("What the risk is made of", rows, described=f"Residual risk {score['residual']} of 100.")


# Files and page


def _listed(found: Sequence[Mapping[str, Any]]) -> File:
    names = ("type", "title", "category", "column", "lines", "count", "share", "confidence", "why")
    rows = [
        [" ".join(map(str, one[name])) if name == "lines" else one[name] for name in names]
        for one in found[:LISTED_MAX]
    ]
    return csv_file("findings.csv", names, rows)


def _written(inputs: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    assessment = result["assessment"]
    score = assessment["score"]
    answers = [
        ("Purpose", inputs["purpose"] or "not stated"),
        ("Lawful basis", law.BASES[inputs["basis"]]),
        ("Condition for special categories", law.CONDITIONS[inputs["special_condition"]]),
        ("People", ", ".join(law.SUBJECTS[one] for one in inputs["subjects"]) or "not stated"),
        ("How many", law.PEOPLE[inputs["people"]]),
        ("Kept for", f"{inputs['retention_months']} months" if inputs["retention_months"] else "not decided"),
        ("Recipients", ", ".join(inputs["recipients"]) or "none"),
        ("Transfers", law.TRANSFERS[inputs["transfers"]]),
        ("Uses", ", ".join(law.USES[one] for one in inputs["uses"]) or "none of those that add risk"),
        ("Safeguards", ", ".join(law.SAFEGUARDS[one] for one in inputs["safeguards"]) or "none"),
    ]
    found = [
        (
            one["title"],
            one["column"] or f"lines {', '.join(map(str, one['lines'][:10]))}",
            one["count"],
            one["confidence"],
            one["why"],
        )
        for one in result["findings"]
    ]
    gaps = [(one["severity"], one["article"], one["gap"], one["fix"]) for one in assessment["missing"]]
    kept = "\n".join(f"- {one['article']}: {one['id'].replace('-', ' ')}" for one in assessment["kept"]) or "- none"
    criteria = "\n".join(f"- {one['title']}" for one in assessment["criteria"]) or "- none"
    parts = [(name, part["value"], part["of"], part["weight"]) for name, part in score["parts"].items()]
    needed = "needed" if assessment["is_assessment_needed"] else "not needed by these criteria"
    return "\n\n".join(
        (
            "# Data protection impact assessment",
            f"Looked at: {result['looked_at']}. Laws: {', '.join(LAWS[one] for one in assessment['laws']) or 'none'}. "
            "This is a start for people who know the law and the system; it is no legal advice.",
            "## 1. The processing\n\n" + markdown_table(("Question", "Answer"), answers),
            "## 2. Personal data found\n\n"
            + (markdown_table(("Kind", "Where", "Count", "Confidence", "Why"), found) if found else "None."),
            "## 3. Is an assessment needed?\n\nAs a rule with two of the nine criteria of WP 248 rev.01: "
            f"{needed}.\n\n{criteria}",
            f"## 4. Risk\n\nInherent **{score['inherent']}** of 100, "
            f"residual **{score['residual']}** ({score['level']}).\n\n"
            + markdown_table(("Part", "Value", "Of", "Weight"), parts)
            + f"\n\n{markdown_cell(score['formula'])}",
            "## 5. What is missing\n\n"
            + (markdown_table(("Severity", "Where it says so", "Gap", "What to do"), gaps) if gaps else "Nothing."),
            f"## 6. What is kept\n\n{kept}",
            "## 7. Decision\n\n"
            + markdown_table(
                ("Role", "Name", "Date", "Decision"), [("Owner", "", "", ""), ("Data protection officer", "", "", "")]
            )
            + "\n",
        )
    )


def _view(result: Mapping[str, Any]) -> list[studio.Block]:
    assessment, found = result["assessment"], result["findings"]
    score = assessment["score"]
    severities: dict[str, studio.Severity] = {
        "special": "critical",
        "secret": "critical",
        "financial": "high",
        "identity": "medium",
    }
    shown = [
        {
            "severity": severities.get(one["category"], "low") if one["confidence"] >= SURE else "info",
            "title": f"{one['title']}: {one['column']}" if one["column"] else one["title"],
            "where": f"Lines {', '.join(map(str, one['lines'][:8]))}" if one["lines"] else f"{one['count']:,} values",
            "text": f"{one['why']}. Confidence {100 * one['confidence']:.0f} %.",
        }
        for one in found[:100]
    ]
    gaps = [
        {"severity": one["severity"], "title": one["gap"], "where": one["article"], "text": "", "fix": one["fix"]}
        for one in assessment["missing"]
    ]
    sample = result["masked_sample"]
    view = [
        studio.facts(
            "At a glance",
            (
                ("Kinds of personal data", len({one["type"] for one in found})),
                ("Special categories", ", ".join(assessment["special_categories"]) or "none"),
                ("Risk that stays", f"{score['residual']:.1f} of 100, {score['level']}"),
                ("Risk before safeguards", f"{score['inherent']:.1f} of 100"),
                ("Duties kept", f"{score['duties_kept']} of {score['duties']}"),
                (
                    "Impact assessment",
                    "needed (Art. 35)" if assessment["is_assessment_needed"] else "not needed by the nine criteria",
                ),
                ("Looked at", result["looked_at"]),
            ),
        ),
        studio.findings(
            "Personal data found", shown, none="No personal data was found. Names in free text are not looked for."
        ),
        studio.findings("Missing safeguards", gaps, none="Every duty that applies is kept, by your answers."),
        studio.picture("What the risk is made of", "risk.svg", described=f"Residual risk {score['residual']} of 100."),
        studio.text("How the risk is counted", score["formula"]),
    ]
    if sample["rows"]:
        view.append(
            studio.table(
                "A sample without values",
                sample["columns"],
                sample["rows"],
                note="What was found stands as its kind, all else as its shape: x for a letter, 9 for a digit.",
            )
        )
    return view


ANSWERS = (
    "purpose",
    "basis",
    "special_condition",
    "subjects",
    "people",
    "retention_months",
    "recipients",
    "transfers",
    "uses",
    "safeguards",
)
EXAMPLE = b"""customer_id,full_name,email,phone,date_of_birth,postcode,iban,diagnosis,last_ip
1,Ada Miller,ada.miller@example.com,+44 20 7946 0958,1984-03-09,SW1A 1AA,GB82 WEST 1234 5698 7654 32,asthma,203.0.113.9
2,Ben Carter,ben@example.org,+44 161 496 0123,1991-11-23,M1 1AE,DE89370400440532013000,none,198.51.100.23
3,Clara Jones,clara.jones@example.net,+44 29 2018 0456,1979-07-01,CF10 1EP,,diabetes,2001:db8::7
"""

TOOL = Tool(
    slug="data-studio/privacy",
    title="Privacy",
    noun="assessment",
    summary="Finds personal data, and what GDPR and CCPA still ask of you, by article.",
    mode="server",
    risk="medium",
    credits_max=25,
    limits=Limits(cpu_seconds=10, seconds=15),
    icon="shield",
    fields=(
        Document(
            name="document",
            title="Table or text",
            help="CSV, JSON, Parquet or text, up to 8 MB. The result shows no value of it.",
            file_name="document.csv",
            accepts=(*ENDINGS, ".md", ".log"),
            is_required=True,
        ),
        Choice(
            name="kind",
            title="What it is",
            choices={"guess": "Find out", "table": "A table", "text": "A text"},
            default="guess",
        ),
        Flag(name="has_heading", title="The first line names the columns", default=True),
        Choice(name="region", title="Phone numbers without a country are from", choices=REGIONS, default="GB"),
        Choices(name="laws", title="Laws", choices=LAWS, default=("gdpr",)),
        Text(name="purpose", title="What is the data used for?", length_max=1000, default=""),
        Choice(name="basis", title="Lawful basis", choices=law.BASES, default="undecided"),
        Choice(
            name="special_condition", title="Condition for special categories", choices=law.CONDITIONS, default="none"
        ),
        Choices(name="subjects", title="Whose data is it?", choices=law.SUBJECTS),
        Choice(name="people", title="How many people?", choices=law.PEOPLE, default="up_to_1000"),
        Whole(
            name="retention_months",
            title="How long is it kept?",
            help="In months; 0 if it has not been decided.",
            unit="months",
            min=0,
            max=1200,
            default=0,
        ),
        Lines(
            name="recipients", title="Who else receives it?", help="One a line: hosts, mailers, partners.", count_max=50
        ),
        Choice(name="transfers", title="Where does it go?", choices=law.TRANSFERS, default="none"),
        Choices(name="uses", title="What is done with it?", choices=law.USES),
        Choices(name="safeguards", title="What protects it already?", choices=law.SAFEGUARDS),
    ),
    function=run,
    example={
        "laws": ["gdpr", "ccpa"],
        "purpose": "Booking appointments and paying for them",
        "basis": "contract",
        "subjects": ["patients"],
        "people": "up_to_10000",
        "retention_months": 36,
        "recipients": ["Mail provider", "Payment provider"],
        "transfers": "safeguarded",
        "safeguards": ["notice", "encrypted_sent", "access_control", "backup"],
    },
    example_files={"document": ("customers.csv", EXAMPLE)},
)
