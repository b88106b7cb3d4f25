"""Security figures from records: how fast incidents are noticed and mended, weaknesses fixed, patches installed; how
people take phishing tests; whether access is reviewed in time. Each with its threshold, its trend by month and words.

Means, medians and percentiles are over the records that have both times. A percentile lies between its neighbours in
proportion (the inclusive method: NumPy's default, a spreadsheet's PERCENTILE.INC). What to measure and why it has to be
counted the same way each time: NIST SP 800-55 volume 1 (2024). Days to fix by severity: 15 and 30 are those that CISA's
Binding Operational Directive 19-02 sets for critical and high; the rest are of this house.
static/holdfast/studio/cyber/metrics.js computes the same in the browser.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tools_registry import studio
from tools_registry.fields import Choice, Document, Number, Rows, Text, Whole
from tools_registry.studio import BadInput, File, Limits, Result, Tool
from tools_registry.studios import drawing
from tools_registry.studios.data.reading import read
from tools_registry.studios.sheets import csv_file, markdown_cell, markdown_table

HOUR, DAY = 3_600.0, 86_400.0
ROWS_MAX = 20_000
MONTHS_MAX = 60
WRONG_MAX = 10
SEVERITIES = ("critical", "high", "medium", "low")
STATUSES = {"green": "On target", "amber": "Watch", "red": "Act", "none": "No records"}
# what a kind of record has: its columns with the names they go by; the first are needed
KINDS: dict[str, dict[str, tuple[str, ...]]] = {
    "incidents": {
        "detected": ("detected", "detected_at", "detection", "opened"),
        "occurred": ("occurred", "occurred_at", "started", "began"),
        "contained": ("contained", "contained_at", "mitigated"),
        "resolved": ("resolved", "resolved_at", "closed", "recovered"),
        "severity": ("severity", "priority"),
    },
    "vulnerabilities": {
        "found": ("found", "found_at", "discovered", "first_seen", "opened"),
        "fixed": ("fixed", "fixed_at", "remediated", "closed", "resolved"),
        "severity": ("severity", "risk", "rating"),
    },
    "phishing": {
        "date": ("date", "sent_on", "campaign_date"),
        "sent": ("sent", "recipients", "targets"),
        "clicked": ("clicked", "clicks", "failed"),
        "reported": ("reported", "reports"),
    },
    "patches": {
        "released": ("released", "released_at", "published"),
        "installed": ("installed", "installed_at", "applied"),
        "severity": ("severity", "rating"),
    },
    "reviews": {
        "due": ("due", "due_on", "deadline"),
        "done": ("done", "done_on", "completed"),
    },
}
NEEDED = {
    "incidents": ("detected",),
    "vulnerabilities": ("found", "severity"),
    "phishing": ("date", "sent", "clicked"),
    "patches": ("released",),
    "reviews": ("due",),
}
TIMES = frozenset(
    {"detected", "occurred", "contained", "resolved", "found", "fixed", "date", "released", "installed", "due", "done"}
)
COUNTS = frozenset({"sent", "clicked", "reported"})
ORDERS = (
    ("incidents", "occurred", "detected"),
    ("incidents", "detected", "contained"),
    ("incidents", "detected", "resolved"),
    ("vulnerabilities", "found", "fixed"),
    ("patches", "released", "installed"),
)
MOMENT = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.\d{1,9})?)?\s?(Z|[+-]\d{2}:?\d{2})?)?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure: what it is called, its unit, which way is better, the usual thresholds, and how it is worked out."""

    name: str
    unit: str
    is_less_better: bool
    green: float
    red: float
    kind: str
    formula: str


MEASURES = {
    "mttd_hours": Measure(
        "Mean time to detect", "h", True, 24, 72, "incidents", "mean of (detected − occurred), incidents with both"
    ),
    "mttc_hours": Measure(
        "Mean time to contain", "h", True, 24, 72, "incidents", "mean of (contained − detected), incidents with both"
    ),
    "mttr_hours": Measure(
        "Mean time to resolve", "h", True, 72, 168, "incidents", "mean of (resolved − detected), incidents with both"
    ),
    "incidents_open": Measure(
        "Incidents open", "", True, 0, 3, "incidents", "incidents without a resolved time on the day"
    ),
    "fixed_in_target_percent": Measure(
        "Weaknesses fixed in time",
        "%",
        False,
        90,
        75,
        "vulnerabilities",
        "fixed within the days of their severity ÷ (fixed + open beyond those days) × 100",
    ),
    "overdue_open": Measure(
        "Weaknesses overdue", "", True, 0, 5, "vulnerabilities", "open for longer than the days of their severity"
    ),
    "backlog_age_days": Measure(
        "Mean age of the backlog",
        "d",
        True,
        30,
        90,
        "vulnerabilities",
        "mean of (end of the day − found), open weaknesses",
    ),
    "phish_click_percent": Measure(
        "Phishing: clicked", "%", True, 5, 15, "phishing", "sum of clicked ÷ sum of sent × 100"
    ),
    "phish_report_percent": Measure(
        "Phishing: reported",
        "%",
        False,
        50,
        20,
        "phishing",
        "sum of reported ÷ sum of sent × 100, campaigns with a count of reports",
    ),
    "patched_in_target_percent": Measure(
        "Patches installed in time",
        "%",
        False,
        95,
        80,
        "patches",
        "installed within the days to install ÷ (installed + missing beyond those days) × 100",
    ),
    "reviews_on_time_percent": Measure(
        "Access reviews on time", "%", False, 95, 80, "reviews", "done by the day due ÷ all that were due × 100"
    ),
}
Row = Mapping[str, Any]


def run(inputs: dict[str, Any], files: dict[str, bytes]) -> Result:
    """{as_of, measures, incidents, vulnerabilities, months, remarks}.

    A measure has its value (None without records), count of records, status (green, amber, red, none) and formula.
    """
    if not files:
        raise BadInput({"incidents": "Send at least one kind of record."})
    thresholds = _thresholds(inputs["thresholds"])
    rows = {kind: _records(kind, files[kind]) for kind in KINDS if kind in files}
    at = _day(inputs["as_of"], rows)
    days = {one: float(inputs[f"{one}_days"]) for one in SEVERITIES}
    late = sum(1 for held in rows.values() for row in held if _first(row) > at)
    rows = {kind: [row for row in held if _first(row) <= at] for kind, held in rows.items()}
    values = _values(rows, at, days, float(inputs["patch_days"]))
    measures = []
    for key, of in MEASURES.items():
        value, count = values[key]
        green, red = thresholds.get(key, (of.green, of.red))
        measures.append(
            {
                "measure": key,
                "name": of.name,
                "value": value,
                "unit": of.unit,
                "records": count,
                "status": status_of(value, green, red, of.is_less_better),
                "green": green,
                "red": red,
                "better": "less" if of.is_less_better else "more",
                "formula": of.formula,
            }
        )
    result = {
        "as_of": _iso(at),
        "records": {kind: len(held) for kind, held in rows.items()},
        "measures": measures,
        "incidents": _spreads(rows.get("incidents", ())),
        "vulnerabilities": _by_severity(rows.get("vulnerabilities", ()), at, days),
        "months": _months(rows, at),
        "remarks": [f"{late:,} records begin after {_iso(at)} and are left out."] if late else [],
        "sources": ["NIST SP 800-55 volume 1 (2024)", "CISA Binding Operational Directive 19-02 (days to fix)"],
    }
    return _answer(inputs["organisation"], result)


def status_of(value: float | None, green: float, red: float, is_less_better: bool) -> str:
    if value is None:
        return "none"
    if is_less_better:
        return "green" if value <= green else "red" if value > red else "amber"
    return "green" if value >= green else "red" if value < red else "amber"


# Reading


def _thresholds(rows: Sequence[Row]) -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    wrong = {}
    for number, row in enumerate(rows):
        key, green, red = row["measure"], row["green"], row["red"]
        is_less = MEASURES[key].is_less_better
        if key in found:
            wrong[f"thresholds.{number}.measure"] = f"{MEASURES[key].name} stands there twice."
        elif (green > red) if is_less else (green < red):
            way = "less" if is_less else "more"
            wrong[f"thresholds.{number}.red"] = f"Here {way} is better, so green {green:g} and red {red:g} cross."
        found[key] = (green, red)
    if wrong:
        raise BadInput(wrong)
    return found


def _records(kind: str, content: bytes) -> list[Row]:
    """The records with times as seconds and counts as numbers. Raises BadInput naming each wrong line, up to ten."""
    sheet = read(content, kind, rows_max=ROWS_MAX)
    by_name = {re.sub(r"[\s\-.]+", "_", name.strip().lower()): name for name in sheet.names}
    columns = {
        field: next((by_name[name] for name in names if name in by_name), None) for field, names in KINDS[kind].items()
    }
    missing = [field for field in NEEDED[kind] if columns[field] is None]
    if missing:
        there = ", ".join(sheet.names[:12])
        raise BadInput({kind: f"A column {' and one '.join(missing)} is needed; there are: {there}."})
    rows: list[Row] = []
    wrong: list[str] = []
    cells = {field: sheet.columns[name] for field, name in columns.items() if name is not None}
    for number in range(sheet.row_count):
        line = sheet.line(number + 1)
        place = f"Line {line}" if line else f"Row {number + 1}"
        row: dict[str, Any] = dict.fromkeys(KINDS[kind])
        said = ""
        for field, column in cells.items():
            written = (column[number] or "").strip()
            try:
                row[field] = _cell(kind, field, written)
            except ValueError as error:
                said = said or f"{place}, {field}: {error}"
        said = said or _against(kind, row, place)
        if said:
            wrong.append(said)
        rows.append(row)
    if wrong:
        more = [f"{len(wrong) - WRONG_MAX:,} more lines are wrong."] if len(wrong) > WRONG_MAX else []
        raise BadInput({kind: wrong[:WRONG_MAX] + more})
    if not rows:
        raise BadInput({kind: "There is no record in it."})
    return rows


def _cell(kind: str, field: str, written: str) -> Any:
    if not written:
        if field in NEEDED[kind]:
            raise ValueError("This is needed.")
        return None
    if field in TIMES:
        return moment(written)
    if field in COUNTS:
        if not re.fullmatch(r"\d{1,9}", written, re.ASCII):
            raise ValueError(f"“{written[:40]}” is no whole number.")
        return int(written)
    word = written.lower()
    return {
        "moderate": "medium",
        "severe": "critical",
        "urgent": "critical",
        "informational": "low",
        "info": "low",
    }.get(word, word)


def moment(written: str) -> float:
    """Seconds since 1970 of a day or time as ISO 8601 has it; without a zone it is UTC. Raises ValueError."""
    found = MOMENT.fullmatch(written)
    if found is None:
        raise ValueError(f"“{written[:40]}” is no time. Write 2026-03-01 or 2026-03-01 14:30.")
    year, month, day, hour, minute, second = (int(one or 0) for one in found.groups()[:6])
    if not 1970 < year <= 2100:
        raise ValueError(f"“{written[:40]}” is of no year that records have.")
    try:
        at = datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
    except ValueError as error:
        raise ValueError(f"“{written[:40]}” does not exist.") from error
    zone = found[7]
    if zone and zone != "Z":
        digits = zone[1:].replace(":", "")
        at -= (1 if zone[0] == "+" else -1) * (int(digits[:2]) * 3_600 + int(digits[2:]) * 60)
    return at


def _against(kind: str, row: Row, place: str) -> str:
    """The sentence about what cannot be in a record; "" for nothing."""
    for of, before, after in ORDERS:
        if of == kind and row[before] is not None and row[after] is not None and row[after] < row[before]:
            return f"{place}: {after} is before {before}."
    if kind == "vulnerabilities" and row["severity"] not in SEVERITIES:
        return f"{place}, severity: “{str(row['severity'])[:40]}” is none of {', '.join(SEVERITIES)}."
    if kind == "phishing":
        for field in ("clicked", "reported"):
            if row[field] is not None and row[field] > row["sent"]:
                return f"{place}: {field} is more than sent."
    return ""


def _first(row: Row) -> float:
    """When a record begins. What is due later is none yet."""
    for field in ("detected", "found", "date", "released", "due"):
        if row.get(field) is not None:
            return float(row[field])
    return 0.0


def _day(written: str, rows: Mapping[str, Sequence[Row]]) -> float:
    """The end of the day that the figures are of: the one given, else the day of the latest time in the records."""
    if written:
        try:
            return math.floor(moment(written) / DAY) * DAY + DAY - 1
        except ValueError as error:
            raise BadInput({"as_of": str(error)}) from error
    times = [
        row[field]
        for held in rows.values()
        for row in held
        for field in row
        if field in TIMES and field != "due" and row[field] is not None
    ]
    times = times or [row["due"] for held in rows.values() for row in held]
    return math.floor(max(times) / DAY) * DAY + DAY - 1


# Working it out


def tenth(value: float) -> float:
    """Rounded to a tenth, halves up."""
    return math.floor(value * 10 + 0.5) / 10


def mean(values: Sequence[float]) -> float | None:
    return tenth(sum(values) / len(values)) if values else None


def percentile(values: Sequence[float], share: float) -> float | None:
    """Between its neighbours in proportion."""
    if not values:
        return None
    ordered = sorted(values)
    place = (len(ordered) - 1) * share
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return tenth(ordered[below] + (ordered[above] - ordered[below]) * (place - below))


def percent(part: float, whole: float) -> float | None:
    return tenth(100 * part / whole) if whole else None


def _gaps(rows: Iterable[Row], start: str, end: str, unit: float, at: float = math.inf) -> list[float]:
    return [
        (row[end] - row[start]) / unit
        for row in rows
        if row[start] is not None and row[end] is not None and row[end] <= at
    ]


def _open(rows: Iterable[Row], end: str, at: float) -> list[Row]:
    return [row for row in rows if row[end] is None or row[end] > at]


def _values(
    rows: Mapping[str, Sequence[Row]], at: float, days: Mapping[str, float], patch_days: float
) -> dict[str, tuple[float | None, int]]:
    """Each measure's value with the count of records it is of."""
    values: dict[str, tuple[float | None, int]] = {}
    incidents = rows.get("incidents", ())
    for key, start, end in (
        ("mttd_hours", "occurred", "detected"),
        ("mttc_hours", "detected", "contained"),
        ("mttr_hours", "detected", "resolved"),
    ):
        gaps = _gaps(incidents, start, end, HOUR, at)
        values[key] = (mean(gaps), len(gaps))
    values["incidents_open"] = (
        (float(len(_open(incidents, "resolved", at))), len(incidents)) if incidents else (None, 0)
    )
    weak = rows.get("vulnerabilities", ())
    open_ones = _open(weak, "fixed", at)
    ages = [(at - row["found"]) / DAY for row in open_ones]
    overdue = sum(1 for row, age in zip(open_ones, ages, strict=True) if age > days[row["severity"]])
    fixed = [row for row in weak if row["fixed"] is not None and row["fixed"] <= at]
    in_time = sum(1 for row in fixed if (row["fixed"] - row["found"]) / DAY <= days[row["severity"]])
    values["fixed_in_target_percent"] = (percent(in_time, len(fixed) + overdue), len(fixed) + overdue)
    values["overdue_open"] = (float(overdue), len(open_ones)) if weak else (None, 0)
    values["backlog_age_days"] = (mean(ages), len(ages))
    sent = rows.get("phishing", ())
    values["phish_click_percent"] = (
        percent(sum(row["clicked"] for row in sent), sum(row["sent"] for row in sent)),
        len(sent),
    )
    told = [row for row in sent if row["reported"] is not None]
    values["phish_report_percent"] = (
        percent(sum(row["reported"] for row in told), sum(row["sent"] for row in told)),
        len(told),
    )
    patches = rows.get("patches", ())
    installed = [row for row in patches if row["installed"] is not None and row["installed"] <= at]
    prompt = sum(1 for row in installed if (row["installed"] - row["released"]) / DAY <= patch_days)
    missing = sum(1 for row in _open(patches, "installed", at) if (at - row["released"]) / DAY > patch_days)
    values["patched_in_target_percent"] = (percent(prompt, len(installed) + missing), len(installed) + missing)
    reviews = rows.get("reviews", ())
    kept = sum(1 for row in reviews if row["done"] is not None and row["done"] < _next_day(row["due"]))
    values["reviews_on_time_percent"] = (percent(kept, len(reviews)), len(reviews))
    return values


def _next_day(at: float) -> float:
    return math.floor(at / DAY) * DAY + DAY


def _spreads(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """How the times of incidents are spread, in hours."""
    told = []
    for name, start, end in (
        ("detect", "occurred", "detected"),
        ("contain", "detected", "contained"),
        ("resolve", "detected", "resolved"),
    ):
        gaps = _gaps(rows, start, end, HOUR)
        told.append(
            {
                "time_to": name,
                "records": len(gaps),
                "mean_hours": mean(gaps),
                "median_hours": percentile(gaps, 0.5),
                "p90_hours": percentile(gaps, 0.9),
                "max_hours": tenth(max(gaps)) if gaps else None,
            }
        )
    return told


def _by_severity(rows: Sequence[Row], at: float, days: Mapping[str, float]) -> list[dict[str, Any]]:
    told = []
    for severity in SEVERITIES:
        of = [row for row in rows if row["severity"] == severity]
        gaps = _gaps(of, "found", "fixed", DAY, at)
        ages = [(at - row["found"]) / DAY for row in _open(of, "fixed", at)]
        told.append(
            {
                "severity": severity,
                "target_days": days[severity],
                "fixed": len(gaps),
                "mean_days": mean(gaps),
                "median_days": percentile(gaps, 0.5),
                "p90_days": percentile(gaps, 0.9),
                "in_target_percent": percent(sum(1 for gap in gaps if gap <= days[severity]), len(gaps)),
                "open": len(ages),
                "overdue": sum(1 for age in ages if age > days[severity]),
                "oldest_days": tenth(max(ages)) if ages else None,
            }
        )
    return told


def month_of(at: float) -> str:
    return _iso(at)[:7]


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def _months(rows: Mapping[str, Sequence[Row]], at: float) -> list[dict[str, Any]]:
    """By month, at most the last sixty: incidents by the month they were detected in, weaknesses by that they were
    fixed in, tests by that they were sent in; the backlog is what was open at the month's end."""
    firsts = [_first(row) for held in rows.values() for row in held]
    if not firsts:
        return []
    year, month = (int(one) for one in month_of(min(firsts)).split("-"))
    names = []
    while (name := f"{year:04}-{month:02}") <= month_of(at):
        names.append(name)
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    weak = rows.get("vulnerabilities", ())
    fixed = [row for row in weak if row["fixed"] is not None and row["fixed"] <= at]
    detected_in = _by_month(rows.get("incidents", ()), "detected")
    fixed_in = _by_month(fixed, "fixed")
    sent_in = _by_month(rows.get("phishing", ()), "date")
    founds, ends = sorted(row["found"] for row in weak), sorted(row["fixed"] for row in fixed)
    told = []
    for name in names[-MONTHS_MAX:]:
        year, month = (int(one) for one in name.split("-"))
        following = (year + 1, 1) if month == 12 else (year, month + 1)
        end = min(datetime(*following, 1, tzinfo=UTC).timestamp() - 1, at)
        incidents, sent = detected_in.get(name, ()), sent_in.get(name, ())
        told.append(
            {
                "month": name,
                "incidents": len(incidents),
                "mttd_hours": mean(_gaps(incidents, "occurred", "detected", HOUR, at)),
                "mttr_hours": mean(_gaps(incidents, "detected", "resolved", HOUR, at)),
                "fixed": len(fixed_in.get(name, ())),
                "fix_days": mean(_gaps(fixed_in.get(name, ()), "found", "fixed", DAY)),
                "backlog": bisect_right(founds, end) - bisect_right(ends, end),
                "phish_click_percent": percent(sum(row["clicked"] for row in sent), sum(row["sent"] for row in sent)),
            }
        )
    return told


def _by_month(rows: Iterable[Row], field: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(month_of(row[field]), []).append(row)
    return found


# Showing it


def _answer(organisation: str, result: dict[str, Any]) -> Result:
    made: list[File] = []
    view = [_glance(result), _table(result), *_findings(result)]
    for title, name, draw, described in _pictures(result):
        made.append(File(f"{name}.svg", "image/svg+xml", draw(described)))
        view.append(studio.picture(title, f"{name}.svg", described=described))
    if "incidents" in result["records"]:
        view.append(
            studio.table(
                "How long incidents took, in hours",
                ["Time to", "Incidents", "Mean", "Median", "90th percentile", "Longest"],
                [list(one.values()) for one in result["incidents"]],
                note="Mean time hides the worst ones; the 90th percentile is what nine in ten stayed within.",
            )
        )
    if "vulnerabilities" in result["records"]:
        heading = [
            "Severity",
            "Allowed",
            "Fixed",
            "Mean",
            "Median",
            "90 in 100",
            "In time, %",
            "Open",
            "Late",
            "Oldest",
        ]
        rows = [list(one.values()) for one in result["vulnerabilities"]]
        view.append(studio.table("Weaknesses by severity, in days", heading, rows))
    heading = ["Month", "Incidents", "Detect, h", "Resolve, h", "Fixed", "Fix, days", "Backlog", "Phishing clicks, %"]
    rows = [list(one.values()) for one in result["months"]]
    view.append(studio.table("By month", heading, rows))
    formulas = [[one["name"], one["formula"]] for one in result["measures"]]
    view.append(studio.table("How each is worked out", ["Measure", "Formula"], formulas, note=_sources(result)))
    if result["remarks"]:
        view.append(studio.text("Remarks", result["remarks"]))
    heading = ["measure", "name", "value", "unit", "status", "records", "green", "red", "better", "formula"]
    kpis = [[one[column] for column in heading] for one in result["measures"]]
    made.append(csv_file("measures.csv", heading, kpis))
    if result["months"]:
        made.append(csv_file("months.csv", list(result["months"][0]), [list(one.values()) for one in result["months"]]))
    made.append(File("report.md", "text/markdown", _report(organisation, result).encode("utf-8", "replace")))
    return Result(result, view, made)


def _sources(result: Mapping[str, Any]) -> str:
    return f"After {'; '.join(result['sources'])}. The thresholds are yours, or this house’s usual ones."


def said(value: float | None, unit: str) -> str:
    return "–" if value is None else drawing.number(value, unit)


def _target(one: Row) -> str:
    sign, other = ("≤", ">") if one["better"] == "less" else ("≥", "<")
    return f"{sign} {said(one['green'], one['unit'])}, act at {other} {said(one['red'], one['unit'])}"


def _glance(result: Mapping[str, Any]) -> studio.Block:
    counts = {status: sum(1 for one in result["measures"] if one["status"] == status) for status in STATUSES}
    pairs: list[tuple[str, Any]] = [(STATUSES[status], counts[status]) for status in ("green", "amber", "red")]
    known = [one for one in result["measures"] if one["status"] != "none"]
    worst = sorted(known, key=lambda one: ("red", "amber", "green").index(one["status"]))[:4]
    pairs += [(one["name"], said(one["value"], one["unit"])) for one in worst]
    return studio.facts("At a glance", [*pairs, ("As of", result["as_of"])])


def _table(result: Mapping[str, Any]) -> studio.Block:
    return studio.table(
        "Measures",
        ["Measure", "Value", "Status", "Target", "Records"],
        [
            [one["name"], said(one["value"], one["unit"]), STATUSES[one["status"]], _target(one), one["records"]]
            for one in result["measures"]
        ],
    )


def _findings(result: Mapping[str, Any]) -> list[studio.Block]:
    rows = [
        {
            "severity": "high" if one["status"] == "red" else "medium",
            "title": f"{one['name']}: {said(one['value'], one['unit'])}",
            "text": f"{STATUSES[one['status']]}. The target is {_target(one)}. Of {one['records']:,} records.",
        }
        for one in result["measures"]
        if one["status"] in ("red", "amber")
    ]
    rows.sort(key=lambda row: row["severity"] != "high")
    return [studio.findings("What needs attention", rows, none="Every measure with records is on target.")]


Picture = tuple[str, str, Callable[[str], bytes], str]


def _pictures(result: Mapping[str, Any]) -> list[Picture]:
    months, made = result["months"], []
    labels = [one["month"] for one in months]

    def series(column: str) -> list[float | None]:
        return [one[column] for one in months]

    def trend(title: str, unit: str, *lines: tuple[str, str]) -> Callable[[str], bytes]:
        drawn = [drawing.Series(name, series(column)) for name, column in lines]
        return lambda described: drawing.lines(title, labels, drawn, unit=unit, described=described)

    def ends(name: str, column: str, unit: str) -> str:
        known = [(one["month"], one[column]) for one in months if one[column] is not None]
        if not known:
            return f"{name}: no month has a figure."
        (first, low), (last, high) = known[0], known[-1]
        return f"{name}: {said(low, unit)} in {first}, {said(high, unit)} in {last}."

    if "incidents" in result["records"]:
        title = "Time to detect and to resolve, by month"
        words = f"{ends('Detect', 'mttd_hours', 'h')} {ends('Resolve', 'mttr_hours', 'h')}"
        lines = (("Detect", "mttd_hours"), ("Resolve", "mttr_hours"))
        made.append((title, "incidents", trend(title, "h", *lines), words))
    if "vulnerabilities" in result["records"]:
        title = "Days to fix, by severity"
        rows = [
            drawing.Bar(
                one["severity"],
                one["mean_days"],
                "quiet" if one["mean_days"] is None else "coral" if one["mean_days"] > one["target_days"] else "sea",
                f"of {one['target_days']:g}",
            )
            for one in result["vulnerabilities"]
        ]
        words = "; ".join(
            f"{one['severity']}: {said(one['mean_days'], 'd')} on average, {one['target_days']:g} allowed"
            for one in result["vulnerabilities"]
        )
        made.append(
            (title, "fixing", lambda described: drawing.bars(title_fix, rows, unit="d", described=described), words)
        )
        title_fix = title
        title = "Open weaknesses at each month’s end"
        columns = [drawing.Bar(one["month"], float(one["backlog"])) for one in months]
        words = ends("Backlog", "backlog", "")
        title_open = title
        made.append(
            (title, "backlog", lambda described: drawing.columns(title_open, columns, described=described), words)
        )
    if "phishing" in result["records"]:
        title = "Phishing tests: who clicked, by month"
        words = ends("Clicked", "phish_click_percent", "%")
        made.append((title, "phishing", trend(title, "%", ("Clicked", "phish_click_percent")), words))
    return made


def _report(organisation: str, result: Mapping[str, Any]) -> str:
    of = f" of {markdown_cell(organisation)}" if organisation else ""
    measures = markdown_table(
        ["Measure", "Value", "Status", "Target", "Records", "Formula"],
        [
            [
                one["name"],
                said(one["value"], one["unit"]),
                STATUSES[one["status"]],
                _target(one),
                one["records"],
                one["formula"],
            ]
            for one in result["measures"]
        ],
    )
    months = markdown_table(
        ["Month", "Incidents", "Detect, h", "Resolve, h", "Fixed", "Fix, days", "Backlog", "Phishing clicks, %"],
        [list(one.values()) for one in result["months"]],
    )
    heading = f"# Security figures{of}".replace("\n", " ")
    return f"{heading}\n\nAs of {result['as_of']}.\n\n{measures}\n\n## By month\n\n{months}\n\n{_sources(result)}\n"


def _document(name: str, title: str, help: str) -> Document:
    return Document(
        name=name, title=title, help=help, file_name=f"{name}.csv", accepts=(".csv", ".tsv", ".txt", ".json")
    )


INCIDENTS = """id,severity,occurred,detected,contained,resolved
I-1,high,2026-01-04 22:00,2026-01-05 08:00,2026-01-05 12:00,2026-01-06 08:00
I-2,medium,2026-01-20 09:00,2026-01-20 15:00,2026-01-20 18:00,2026-01-22 15:00
I-3,critical,2026-02-11 03:00,2026-02-13 09:00,2026-02-14 09:00,2026-02-20 09:00
I-4,low,2026-03-02 10:00,2026-03-02 11:00,2026-03-02 12:00,2026-03-02 17:00
I-5,high,2026-03-25 18:00,2026-03-26 06:00,2026-03-26 14:00,
"""
VULNERABILITIES = """id,severity,found,fixed
V-1,critical,2026-01-05,2026-01-15
V-2,critical,2026-02-01,2026-02-25
V-3,high,2026-01-10,2026-02-01
V-4,high,2026-01-12,
V-5,high,2026-03-20,
V-6,medium,2026-01-15,2026-03-10
V-7,medium,2026-02-20,
V-8,low,2026-01-02,2026-03-30
"""
PHISHING = """date,sent,clicked,reported
2026-01-15,200,36,40
2026-02-15,205,27,61
2026-03-15,210,17,94
"""

TOOL = Tool(
    slug="cyber-studio/metrics",
    title="Security metrics",
    noun="report",
    summary="Security figures from your records: how fast, how much is open, with thresholds, trends and charts.",
    mode="hybrid",
    risk="low",
    credits_max=5,
    limits=Limits(cpu_seconds=5, seconds=10),
    icon="gauge",
    fields=(
        Text(name="organisation", title="Organisation", length_max=80, is_short=True, default=""),
        Text(
            name="as_of",
            title="As of",
            help="YYYY-MM-DD. Left empty, it is the day of the latest record.",
            length_max=10,
            is_short=True,
            default="",
        ),
        _document(
            "incidents", "Incidents", "Columns: detected; and occurred, contained, resolved, as 2026-03-01 14:30."
        ),
        _document("vulnerabilities", "Weaknesses", "Columns: severity, found; and fixed, empty while it is open."),
        _document("phishing", "Phishing tests", "Columns: date, sent, clicked; and reported."),
        _document("patches", "Patches", "Columns: released; and installed, empty while it is missing."),
        _document("reviews", "Access reviews", "Columns: due; and done, empty while it is not."),
        Whole(name="critical_days", title="Days to fix: critical", unit="days", min=1, max=365, default=15),
        Whole(name="high_days", title="High", unit="days", min=1, max=365, default=30),
        Whole(name="medium_days", title="Medium", unit="days", min=1, max=730, default=90),
        Whole(name="low_days", title="Low", unit="days", min=1, max=1095, default=180),
        Whole(name="patch_days", title="Days to install a patch", unit="days", min=1, max=365, default=30),
        Rows(
            name="thresholds",
            title="Thresholds of your own",
            help="In place of the usual ones. Between green and red it is amber.",
            noun="threshold",
            count_max=len(MEASURES),
            fields=(
                Choice(
                    name="measure",
                    title="Measure",
                    choices={key: of.name for key, of in MEASURES.items()},
                    default="mttr_hours",
                    is_required=True,
                ),
                Number(name="green", title="Green up to, or from", min=0, max=1e6, is_required=True),
                Number(name="red", title="Red beyond, or below", min=0, max=1e6, is_required=True),
            ),
        ),
    ),
    function=run,
    example={
        "organisation": "Harbour Goods",
        "incidents": INCIDENTS,
        "vulnerabilities": VULNERABILITIES,
        "phishing": PHISHING,
        "as_of": "2026-03-31",
        "critical_days": 15,
        "high_days": 30,
        "medium_days": 90,
        "low_days": 180,
        "patch_days": 30,
        "thresholds": [{"measure": "mttd_hours", "green": 8, "red": 24}],
    },
)
