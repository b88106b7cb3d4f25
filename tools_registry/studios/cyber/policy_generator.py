"""Security policies from answers: each clause is there because of an answer, and names the controls that it meets.

A draft for somebody who knows the organisation and its law; no legal advice. Sources stand in `policy_clauses`;
lengths of passwords: NIST SP 800-63B revision 4 (15 characters where a password is the only factor, 8 with a second)
and PCI DSS 4.0.1, 8.3.6 (12).
static/holdfast/studio/cyber/policy_generator.js has the same checks, decisions and calendar.
"""

from __future__ import annotations

import calendar
import io
import zipfile
from collections.abc import Mapping, Sequence
from datetime import date
from html import escape
from typing import Any

from tools_registry import studio
from tools_registry.fields import Choice, Choices, Flag, Text, Whole
from tools_registry.studio import BadInput, File, Limits, Result, Tool
from tools_registry.studios.sheets import csv_file, markdown_cell, markdown_table

from . import frameworks
from .policy_clauses import CLAUSES, POLICIES, Answers, Clause

SIZES = {
    "micro": "Up to 9 people",
    "small": "10 to 49 people",
    "medium": "50 to 249 people",
    "large": "250 people and more",
}
SECTORS = {
    "general": "Something else",
    "software": "Software",
    "retail": "Retail",
    "finance": "Finance",
    "health": "Health",
    "public": "Public service",
    "education": "Education",
}
DATA = {
    "personal": "Personal data",
    "special": "Health and other special categories",
    "children": "Data of children",
    "payment": "Payment cards",
    "secrets": "Trade secrets",
}
REGULATIONS = {
    "gdpr": "GDPR",
    "uk_gdpr": "UK GDPR",
    "nis2": "NIS 2",
    "pci_dss": "PCI DSS",
    "hipaa": "HIPAA",
    "ccpa": "CCPA",
}
MFA = {"all": "Everybody", "privileged": "Administrators and those outside", "none": "Nobody yet"}
EXTENT = {"none": "No", "some": "Some", "all": "Everything, everybody"}
ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def run(inputs: dict[str, Any], files: dict[str, bytes]) -> Result:
    """{organisation, effective, next_review, decisions, policies, matrix, calendar, findings, omitted}."""
    effective = _day(inputs["effective"])
    wrong = contradictions(inputs)
    if wrong:
        raise BadInput(wrong)
    answers = inputs | derived(inputs)
    chosen = [key for key in POLICIES if key in inputs["policies"]]
    clauses = {key: [one for one in CLAUSES if one.policy == key and one.applies(answers)] for key in chosen}
    matrix = _matrix(clauses)
    days = dates(inputs, effective)
    result = {
        "organisation": inputs["organisation"],
        "effective": effective.isoformat(),
        "next_review": add_months(effective, inputs["review_months"]).isoformat(),
        "decisions": [{"what": what, "value": value, "because": why} for what, value, why in decisions(inputs)],
        "policies": [
            {
                "policy": key,
                "title": POLICIES[key][0],
                "clauses": [
                    {
                        "number": f"{place}.{number}",
                        "title": one.title,
                        "text": one.text.format_map(answers),
                        "csf": list(one.csf),
                        "nist_800_53": list(one.nist),
                    }
                    for number, one in enumerate(clauses[key], 1)
                ],
            }
            for place, key in enumerate(chosen, 1)
        ],
        "matrix": matrix,
        "calendar": [{"day": day, "what": what, "who": who} for day, what, who in days],
        "findings": advice(inputs),
        "omitted": [POLICIES[key][0] for key in POLICIES if key not in chosen],
    }
    return Result(result, _view(result), _files(answers, result, clauses))


def _day(written: str) -> date:
    try:
        day = date.fromisoformat(written)
    except ValueError as error:
        raise BadInput({"effective": f"“{written[:40]}” is no day. Write YYYY-MM-DD."}) from error
    if not 1990 <= day.year <= 2100:
        raise BadInput({"effective": "Write a day from 1990 to 2100."})
    return day


def add_months(day: date, months: int) -> date:
    """The same day so many months later; the month's last where it has no such day."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


# What follows from the answers; the browser has the same


def contradictions(inputs: Answers) -> dict[str, str]:
    """Answers that cannot be true together: a sentence for each, by the field to change."""
    data, laws, policies = inputs["data"], inputs["regulations"], inputs["policies"]
    wrong: dict[str, str] = {}
    if {"gdpr", "uk_gdpr", "ccpa"} & set(laws) and not {"personal", "special", "children"} & set(data):
        wrong["data"] = "GDPR, UK GDPR and CCPA are about personal data; choose it, or take them out."
    if "pci_dss" in laws and "payment" not in data:
        wrong["data"] = "PCI DSS is about payment cards; choose them, or take it out."
    if "hipaa" in laws and "special" not in data:
        wrong["data"] = "HIPAA is about health information; choose it, or take it out."
    if "pci_dss" in laws and inputs["password_length"] < 12:
        wrong |= {"password_length": "PCI DSS 4.0.1 (8.3.6) asks for at least 12 characters."}
    if "pci_dss" in laws and inputs["mfa"] == "none":
        wrong["mfa"] = "PCI DSS 4.0.1 (8.4) asks for a second factor."
    if "remote_work" in policies and inputs["remote"] == "none":
        wrong["policies"] = "Nobody works remotely, so there is no policy to write for it."
    if "secure_development" in policies and not inputs["develops"]:
        wrong["policies"] = "You develop no software, so there is no policy to write for it."
    if inputs["rto_hours"] * 10 < inputs["restore_hours"]:
        wrong["rto_hours"] = "A restore that takes ten times as long cannot keep this promise."
    return wrong


def derived(inputs: Answers) -> dict[str, Any]:
    """Numbers that the answers lead to."""
    laws, data = set(inputs["regulations"]), set(inputs["data"])
    is_strict = bool(data & {"special", "payment", "children"}) or inputs["sector"] in ("finance", "health", "public")
    return {
        "privacy": inputs["privacy"] or inputs["owner"],
        "access_review_months": 3 if is_strict else 6,
        "leaver_hours": 4 if is_strict else 24,
        "exercise_months": 6 if "nis2" in laws or inputs["sector"] == "finance" else 12,
        "restore_months": 3 if inputs["rpo_hours"] <= 4 or is_strict else 6,
        "supplier_months": 12,
        "supplier_hours": 24 if laws & {"gdpr", "uk_gdpr", "nis2"} else 72,
        "critical_days": 7 if is_strict else 14,
        "high_days": 30,
    }


def decisions(inputs: Answers) -> list[tuple[str, str, str]]:
    """What was decided, and by which answer."""
    found = derived(inputs)
    is_strict = found["access_review_months"] == 3
    why = "sensitive data or sector" if is_strict else "no especially sensitive data"
    laws = set(inputs["regulations"])
    told = [
        ("Access is reviewed every", f"{found['access_review_months']} months", why),
        ("Access ends after leaving within", f"{found['leaver_hours']} hours", why),
        ("Critical weaknesses are mended within", f"{found['critical_days']} days", why),
        ("Passwords have at least", f"{inputs['password_length']} characters", "your answer"),
        ("A second factor has", MFA[inputs["mfa"]].lower(), "your answer"),
        ("Restores are tested every", f"{found['restore_months']} months", f"at most {inputs['rpo_hours']} hours lost"),
        ("Incidents are exercised every", f"{found['exercise_months']} months", "sector and law"),
        ("Suppliers tell us of a breach within", f"{found['supplier_hours']} hours", "so that our own time is kept"),
    ]
    for law, what, time, article in (
        ("gdpr", "The authority is told within", "72 hours", "GDPR Article 33"),
        ("uk_gdpr", "The ICO is told within", "72 hours", "UK GDPR Article 33"),
        ("nis2", "The CSIRT is warned within", "24 hours", "NIS 2 Article 23"),
        ("hipaa", "People are told within", "60 days", "45 CFR 164.404"),
    ):
        if law in laws:
            told.append((what, time, article))
    return told


def dates(inputs: Answers, effective: date) -> list[tuple[str, str, str]]:
    """What is due in the year after: (day, what, who)."""
    found = derived(inputs)
    rounds: list[tuple[int, str, str]] = [(inputs["review_months"], "Review the policies", inputs["approver"])]
    chosen = inputs["policies"]
    for policy, months, what, who in (
        ("access_control", found["access_review_months"], "Review access", inputs["owner"]),
        ("incident_response", found["exercise_months"], "Exercise an incident", inputs["owner"]),
        ("backup", found["restore_months"], "Restore something whole", inputs["owner"]),
        ("vendor", found["supplier_months"], "Look at critical suppliers", inputs["owner"]),
        ("acceptable_use", 12, "Train everybody", inputs["owner"]),
    ):
        if policy in chosen:
            rounds.append((months, what, who))
    told = []
    for months, what, who in rounds:
        for times in range(1, max(1, 12 // months) + 1):
            told.append((add_months(effective, months * times).isoformat(), what, who))
    return sorted(told)


def advice(inputs: Answers) -> list[dict[str, str]]:
    """What is possible, and better otherwise."""
    found: list[dict[str, str]] = []

    def say(severity: str, title: str, fix: str) -> None:
        found.append({"severity": severity, "title": title, "fix": fix})

    chosen, laws, data = inputs["policies"], inputs["regulations"], inputs["data"]
    if inputs["mfa"] == "none":
        say("high", "Nobody has a second factor", "Begin with administrators, mail and remote access.")
        if inputs["password_length"] < 15:
            say("high", "Passwords alone, and short", "NIST SP 800-63B asks for 15 where they are the only factor.")
    if inputs["rotation_days"] and "pci_dss" not in laws:
        say(
            "low",
            "Passwords change by the calendar",
            "NIST SP 800-63B advises against it; people then choose weaker ones.",
        )
    if inputs["owner"].casefold() == inputs["approver"].casefold():
        say("medium", "Who leads security also approves", "Let somebody else approve, at best from the management.")
    if not inputs["privacy"] and {"gdpr", "uk_gdpr", "ccpa"} & set(laws):
        say(
            "medium",
            "Nobody is named for privacy",
            "Name who decides about personal data; it is now who leads security.",
        )
    if "gdpr" in laws and inputs["report_hours"] > 24:
        say("medium", "Reporting takes long", "Of the 72 hours that the law gives, too few are left.")
    if "special" in data and "gdpr" not in laws and "uk_gdpr" not in laws and "hipaa" not in laws:
        say("medium", "Special categories without a law", "Somewhere a law covers them; find out which.")
    if inputs["remote"] != "none" and "remote_work" not in chosen:
        say("medium", "People work remotely, without a policy for it", "Choose the policy.")
    if inputs["develops"] and "secure_development" not in chosen:
        say("medium", "Software is developed, without a policy for it", "Choose the policy.")
    if inputs["cloud"] != "none" and "vendor" not in chosen:
        say("medium", "Cloud services, without a policy for suppliers", "Choose the policy.")
    for key in ("incident_response", "backup", "access_control"):
        if key not in chosen:
            say("medium", f"No policy: {POLICIES[key][0].lower()}", "Every organisation needs it; choose the policy.")
    if inputs["restore_hours"] > inputs["rto_hours"]:
        say("high", "A restore takes longer than promised", "Make restores faster, or promise less.")
    if inputs["review_months"] > 24:
        say("low", "Policies are reviewed rarely", "Once a year is usual.")
    order = ("high", "medium", "low")
    return sorted(found, key=lambda one: order.index(one["severity"]))


def _matrix(clauses: Mapping[str, Sequence[Clause]]) -> list[dict[str, Any]]:
    """Each control that a clause meets, with the clauses by their numbers."""
    found: dict[tuple[str, str], list[str]] = {}
    for place, (_, rows) in enumerate(clauses.items(), 1):
        for number, one in enumerate(rows, 1):
            for key, ids in (("nist_csf_2_0", one.csf), ("nist_800_53_low", one.nist)):
                for control in ids:
                    found.setdefault((key, control), []).append(f"{place}.{number}")
    return [
        {"framework": key, "control": one.id, "title": one.title, "clauses": found[key, one.id]}
        for key in ("nist_csf_2_0", "nist_800_53_low")
        for one in frameworks.framework(key).controls.values()
        if (key, one.id) in found
    ]


# Showing it


def _view(result: Mapping[str, Any]) -> list[studio.Block]:
    clauses = sum(len(one["clauses"]) for one in result["policies"])
    csf = [one for one in result["matrix"] if one["framework"] == "nist_csf_2_0"]
    return [
        studio.facts(
            "At a glance",
            [
                ("Policies", len(result["policies"])),
                ("Clauses", clauses),
                ("Outcomes of NIST CSF 2.0", f"{len(csf)} of 106"),
                ("Controls of SP 800-53", len(result["matrix"]) - len(csf)),
                ("In force from", result["effective"]),
                ("Next review", result["next_review"]),
            ],
        ),
        studio.findings("Before you sign", result["findings"], none="Nothing in your answers stands against it."),
        studio.table(
            "What your answers decide",
            ["What", "Value", "Because of"],
            [[one["what"], one["value"], one["because"]] for one in result["decisions"]],
        ),
        *(
            studio.text(
                f"{place}. {one['title']}",
                [f"{clause['number']} {clause['title']}. {clause['text']}" for clause in one["clauses"]],
            )
            for place, one in enumerate(result["policies"], 1)
        ),
        studio.table(
            "Due in the first year",
            ["Day", "What", "Who"],
            [[one["day"], one["what"], one["who"]] for one in result["calendar"]],
        ),
        studio.table(
            "Which clause meets which control",
            ["Framework", "Control", "Title", "Clauses"],
            [
                [
                    "CSF 2.0" if one["framework"] == "nist_csf_2_0" else "SP 800-53",
                    one["control"],
                    one["title"],
                    ", ".join(one["clauses"]),
                ]
                for one in result["matrix"]
            ],
            note="The assignment is this house’s own reading. A draft for who answers for it; no legal advice.",
        ),
    ]


def _files(answers: Answers, result: Mapping[str, Any], clauses: Mapping[str, Sequence[Clause]]) -> list[File]:
    held = io.BytesIO()
    texts = {key: _markdown(answers, result, key, place, rows) for place, (key, rows) in enumerate(clauses.items(), 1)}
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as packed:
        for place, (key, text) in enumerate(texts.items(), 1):
            entry = zipfile.ZipInfo(f"{place:02}-{key.replace('_', '-')}.md", ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, text.encode("utf-8", "replace"))
    matrix = [[one["framework"], one["control"], one["title"], ", ".join(one["clauses"])] for one in result["matrix"]]
    days = [[one["day"], one["what"], one["who"]] for one in result["calendar"]]
    return [
        File("policies.html", "text/html", _html(answers, result, clauses).encode("utf-8", "replace")),
        File("policies.md", "text/markdown", "\n".join(texts.values()).encode("utf-8", "replace")),
        File("policies.zip", "application/zip", held.getvalue()),
        csv_file("matrix.csv", ["framework", "control", "title", "clauses"], matrix),
        csv_file("calendar.csv", ["day", "what", "who"], days),
    ]


def _roles(answers: Answers) -> list[tuple[str, str]]:
    return [
        ("Approves policies and exceptions", answers["approver"]),
        ("Leads security, keeps this policy", answers["owner"]),
        ("Decides about personal data", answers["privacy"]),
        ("Takes reports", answers["contact"]),
        ("Keeps it", "everybody who works for the organisation, and suppliers as agreed"),
    ]


EXCEPTIONS = (
    "An exception is asked for in writing with its reason, its risk and what is done instead. {approver} grants it for "
    "at most {exception_days} days; {owner} keeps the list and looks through it each quarter."
)
EXCEPTION_CONTROLS = ("ID.RA-07", "GV.PO-02", "CA-5", "RA-7")


def _markdown(answers: Answers, result: Mapping[str, Any], key: str, place: int, clauses: Sequence[Clause]) -> str:
    said = {name: markdown_cell(value) if isinstance(value, str) else value for name, value in answers.items()}
    title, purpose = POLICIES[key]
    lines = [
        f"# {place}. {title} policy",
        f"{said['organisation']} · in force from {result['effective']} · to be reviewed by {result['next_review']}",
        f"**Purpose.** This policy sets out {purpose}.",
        "**Scope.** It holds for everybody who works for {organisation}, and for every system that holds its "
        "information.".format_map(said),
        "## Roles",
        markdown_table(["What", "Who"], _roles(answers)),
        "## Rules",
    ]
    for number, one in enumerate(clauses, 1):
        controls = ", ".join((*one.csf, *one.nist))
        lines.append(f"**{place}.{number} {one.title}.** {one.text.format_map(said)} *[{controls}]*")
    lines += [
        "## Exceptions",
        f"{EXCEPTIONS.format_map(said)} *[{', '.join(EXCEPTION_CONTROLS)}]*",
        "## Review",
        f"{said['approver']} reviews this policy every {answers['review_months']} months, next by "
        f"{result['next_review']}, and after each serious incident. *[GV.PO-02]*",
    ]
    return "\n\n".join(lines) + "\n"


STYLE = (
    "body{font:16px/1.55 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#14232b;"
    "background:#fffdf8}h1,h2{line-height:1.2}h2{margin-top:3rem;border-top:1px solid #cfc8b6;padding-top:1.5rem}"
    "small{color:#4a5a62}table{border-collapse:collapse;width:100%}td,th{border:1px solid #cfc8b6;padding:.35rem .6rem;"
    "text-align:left;vertical-align:top}@media print{h2{break-before:page}}"
    "@media(prefers-color-scheme:dark){body{color:#edf2f0;background:#132128}small{color:#b2c0c4}}"
)


def _html(answers: Answers, result: Mapping[str, Any], clauses: Mapping[str, Sequence[Clause]]) -> str:
    said = {name: escape(value) if isinstance(value, str) else value for name, value in answers.items()}
    name = said["organisation"]
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>Security policies of {name}</title><style>{STYLE}</style></head><body>",
        f"<h1>Security policies of {name}</h1>",
        f"<p>In force from {result['effective']}, to be reviewed by {result['next_review']}.</p>",
        "<table><tr><th>What</th><th>Who</th></tr>",
        *(f"<tr><td>{escape(what)}</td><td>{escape(who)}</td></tr>" for what, who in _roles(answers)),
        "</table>",
    ]
    for place, (key, rows) in enumerate(clauses.items(), 1):
        title, purpose = POLICIES[key]
        parts.append(f"<h2>{place}. {title}</h2><p>This policy sets out {purpose}.</p>")
        for number, one in enumerate(rows, 1):
            controls = ", ".join((*one.csf, *one.nist))
            text = escape(one.text).format_map(said)
            parts.append(f"<p><b>{place}.{number} {escape(one.title)}.</b> {text} <small>{controls}</small></p>")
    parts.append(f"<h2>Exceptions</h2><p>{escape(EXCEPTIONS).format_map(said)}</p>")
    parts.append("</body></html>\n")
    return "\n".join(parts)


def _person(name: str, title: str, *, help: str = "", is_required: bool = True) -> Text:
    return Text(
        name=name,
        title=title,
        help=help,
        length_max=80,
        is_short=True,
        is_required=is_required,
        default=None if is_required else "",
    )


TOOL = Tool(
    slug="cyber-studio/policy-generator",
    title="Policy generator",
    noun="set",
    summary="Security policies that follow from your answers, each clause with the controls it meets.",
    mode="hybrid",
    risk="low",
    credits_max=5,
    limits=Limits(cpu_seconds=5, seconds=10),
    icon="book",
    fields=(
        _person("organisation", "Organisation"),
        Choice(name="size", title="Size", choices=SIZES, default="small"),
        Choice(name="sector", title="Sector", choices=SECTORS, default="general"),
        Choices(
            name="policies",
            title="Policies",
            choices={key: title for key, (title, _) in POLICIES.items()},
            default=("access_control", "acceptable_use", "authentication", "incident_response", "backup"),
            count_min=1,
        ),
        Choices(name="data", title="What you hold", choices=DATA, default=("personal",)),
        Choices(name="regulations", title="Laws and standards", choices=REGULATIONS),
        Choice(name="cloud", title="In the cloud", choices=EXTENT, default="some"),
        Choice(name="remote", title="Working remotely", choices=EXTENT, default="some"),
        Flag(name="byod", title="People use their own devices"),
        Flag(name="develops", title="You develop software"),
        _person("owner", "Who leads security", help="A role rather than a name: Head of IT."),
        _person("approver", "Who approves policies"),
        _person("contact", "Where to report", help="A mailbox or a number that is always read."),
        _person("privacy", "Who decides about personal data", is_required=False),
        Choice(name="mfa", title="Second factor for", choices=MFA, default="all"),
        Whole(name="password_length", title="Least length of passwords", unit="characters", min=8, max=64, default=12),
        Whole(
            name="rotation_days",
            title="Passwords change after",
            help="0 for only when there is cause.",
            unit="days",
            min=0,
            max=365,
            default=0,
        ),
        Whole(name="rpo_hours", title="Work that may be lost", unit="hours", min=1, max=168, default=24),
        Whole(name="rto_hours", title="Back in service within", unit="hours", min=1, max=720, default=24),
        Whole(name="restore_hours", title="A restore takes now", unit="hours", min=0, max=720, default=0),
        Whole(name="retention_months", title="Kept for", unit="months", min=1, max=120, default=12),
        Whole(name="report_hours", title="Incidents reported within", unit="hours", min=1, max=168, default=4),
        Whole(name="exception_days", title="Exceptions last at most", unit="days", min=1, max=730, default=180),
        Whole(name="review_months", title="Reviewed every", unit="months", min=1, max=36, default=12),
        Text(
            name="effective",
            title="In force from",
            help="YYYY-MM-DD. All other days follow from it.",
            length_max=10,
            is_short=True,
            is_required=True,
        ),
    ),
    function=run,
    example={
        "organisation": "Harbour Goods Ltd",
        "size": "small",
        "sector": "retail",
        "policies": ["access_control", "authentication", "incident_response", "backup", "vendor", "remote_work"],
        "data": ["personal", "payment"],
        "regulations": ["uk_gdpr", "pci_dss"],
        "cloud": "all",
        "remote": "some",
        "byod": False,
        "develops": False,
        "owner": "Head of IT",
        "approver": "Managing director",
        "contact": "security@harbourgoods.example",
        "privacy": "Data protection lead",
        "mfa": "all",
        "password_length": 14,
        "rpo_hours": 4,
        "rto_hours": 8,
        "restore_hours": 3,
        "effective": "2026-12-01",
    },
)
