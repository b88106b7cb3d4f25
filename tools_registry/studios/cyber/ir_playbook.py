"""An incident response playbook and its tabletop exercise, made from the facts of one organisation.

Steps, decisions and injects come from `playbooks`, the notification duties from `notification_law`; which of them are
in, in what order and with which names follows from the incident, the systems, the data, the laws, backups, logs and
cover that were given. Sources: NIST SP 800-61 Revision 2 (phases) and Revision 3 (functions of CSF 2.0), NIST SP 800-84
(tabletop exercises), and the laws by their articles.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tools_registry import studio
from tools_registry.fields import Choice, Choices, Flag, Rows, Text, Whole
from tools_registry.studio import BadInput, File, Limits, Result, Tool
from tools_registry.studios import drawing
from tools_registry.studios.sheets import csv_file, markdown_cell, markdown_table

from . import notification_law, playbooks
from .playbooks import BACKUPS, COVER, INCIDENTS, LOGS, PHASES, ROLES, SYSTEMS
from .systems import Names

DATA = {
    "personal": "Names, addresses, contacts",
    "health": "Health data",
    "payment": "Card data",
    "credentials": "Passwords and keys",
    "secrets": "Business secrets",
}
SMALL, LARGE = 20, 250  # people: fewer share roles, more have a role each
NOBODY = "nobody yet"
SOURCES = (
    "NIST SP 800-61 Revision 2 (phases), replaced in April 2025 by Revision 3 (functions of CSF 2.0)",
    "NIST SP 800-84 (tabletop exercises)",
    f"The laws by their articles, as they stood at {notification_law.AS_OF}",
)
CAUTION = (
    "A start for people who know the organisation. The times are this tool’s proposals; the deadlines are those of the "
    f"texts named, as they stood at {notification_law.AS_OF}. It is no legal advice."
)
START = {"hours": "18:10 on a Friday", "on_call": "02:40 at night", "always": "10:15"}
CRITERIA = (
    "Declared in time, the time of detection written down",
    "The right people reached, deputies where needed",
    "Contained before it was cleaned up, evidence kept",
    "Decisions made by who may make them, with reasons in the log",
)


def run(inputs: dict[str, Any], files: dict[str, bytes]) -> Result:
    """{incident, title, roles, phases, decisions, deadlines, evidence, recovery, drafts, exercise, gaps, sources}.

    A step: {id, phase, minutes, by, role, who, text}; minutes count from the detection. A deadline: {id, law, article,
    to, what, hours, by, at, is_sure, unless}; hours is None where the text names none from the awareness on.
    """
    Names("systems", "system", inputs["systems"])
    detected = _time(inputs["detected_at"])
    facts = _facts(inputs)
    deadlines = _deadlines(facts, detected)
    words = _words(inputs, facts, deadlines)
    roles = _roles(inputs)
    steps = _steps(facts, roles, words, deadlines)
    result = {
        "incident": inputs["incident"],
        "title": f"{INCIDENTS[inputs['incident']]}: playbook of {inputs['organisation']}",
        "organisation": inputs["organisation"],
        "detected_at": inputs["detected_at"] or None,
        "roles": roles,
        "phases": [
            {
                "id": name,
                "name": title,
                "csf": functions,
                "steps": [step for step in steps if step["phase"] == name],
            }
            for name, (title, functions) in PHASES.items()
        ],
        "decisions": _decisions(facts, roles, words),
        "deadlines": deadlines,
        "evidence": _evidence(inputs),
        "recovery": _recovery(inputs),
        "drafts": _drafts(inputs, deadlines, words),
        "exercise": _exercise(facts, words, deadlines),
        "gaps": _gaps(inputs, roles),
        "caution": CAUTION,
        "sources": list(SOURCES),
    }
    made = [
        File("playbook.md", "text/markdown", _written(result, inputs).encode("utf-8", "replace")),
        File("exercise.md", "text/markdown", _exercise_written(result).encode("utf-8", "replace")),
        csv_file("deadlines.csv", DEADLINE_COLUMNS, _deadline_rows(deadlines)),
        File("playbook.json", "application/json", _json(result)),
        File("first-days.svg", "image/svg+xml", _drawn(result)),
    ]
    return Result(result, _view(result), made)


# Facts


def _time(written: str) -> datetime | None:
    if not written:
        return None
    try:
        if re.fullmatch(r"2\d{3}-\d\d-\d\d[T ]\d\d:\d\d", written):
            return datetime.fromisoformat(written)
    except ValueError:
        pass  # no such day or hour
    raise BadInput({"detected_at": f"Write day and time as 2026-11-21T08:30; {written} is none."})


def _facts(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **inputs,
        "people": inputs["people"] or None,
        "kinds": [one["kind"] for one in inputs["systems"]],
    }


def _words(
    inputs: Mapping[str, Any], facts: Mapping[str, Any], deadlines: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    systems = sorted(inputs["systems"], key=lambda one: one["restore_hours"])
    named = [one["name"] for one in systems] or ["the most important system", "the next one"]
    due = next((one for one in deadlines if one["hours"] is not None), None)
    said = "None counts in hours; what must be told without delay is told on the day."
    if due:
        said = f"{due['law']}, {due['article']}: {due['by']}. A first notice may be completed later."
    return {
        "organisation": inputs["organisation"],
        "first": named[0],
        "second": named[1] if len(named) > 1 else f"another part of {named[0]}",
        "laws": _listed([notification_law.REGULATIONS[one] for one in inputs["regulations"]]) or "no law named",
        "start": START[facts["cover"]],
        "deadline": said,
    }


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else list(names))


def _roles(inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Who does what. Where fewer than 20 work, the lead keeps the log, and management speaks."""
    needed = ["lead", "technical", "management"]
    if inputs["size"] >= SMALL:
        needed += ["communications", "legal"]
    if inputs["size"] >= LARGE:
        needed.append("scribe")
    if inputs["incident"] == "insider":
        needed.append("people")
    stands_in = {"communications": "management", "legal": "management", "scribe": "lead"}
    named: dict[str, Mapping[str, Any]] = {}
    for contact in inputs["contacts"]:
        named.setdefault(contact["role"], contact)
    found = []
    for role, title in ROLES.items():
        own = named.get(role)
        by = own or (named.get(stands_in.get(role, "")) if role not in needed else None)
        found.append(
            {
                "role": role,
                "title": title,
                "is_needed": role in needed,
                "name": by["name"] if by else NOBODY,
                "reach": by["reach"] if by else "",
                "deputy": by["deputy"] if by else "",
                "stands_in": own is None and by is not None,
            }
        )
    return found


# Steps and decisions


def _said(minutes: int | None) -> str:
    if minutes is None:
        return "before"
    if minutes < 120:
        return f"{minutes} min"
    if minutes <= 4 * 1440:
        return f"{minutes / 60:g} h"
    return f"{minutes / 1440:g} days"


def _steps(
    facts: Mapping[str, Any],
    roles: Sequence[Mapping[str, Any]],
    words: Mapping[str, str],
    deadlines: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    who = {one["role"]: one["name"] for one in roles}
    found: list[tuple[str, int | None, str, str]] = [
        (step.phase, step.minutes, step.role, step.text.format_map(words))
        for step in (
            *playbooks.COMMON,
            *playbooks.BY_INCIDENT[facts["incident"]],
            *playbooks.LESSONS[facts["incident"]],
        )
        if step.when(facts)
    ]
    contain = playbooks.CONTAIN_BY_INCIDENT.get(facts["incident"], playbooks.CONTAIN)
    for number, system in enumerate(facts["systems"]):
        text = contain[system["kind"]].format_map({"name": system["name"]})
        if facts["incident"] == "supply_chain":
            text = f"Find out whether {system['name']} has the part, or lets the supplier in. If so: {text}"
        found.append(("containment", 60 + 10 * number, "technical", text))
        if system["supplier"]:
            text = f"Open a case with {system['supplier']} for {system['name']}, and ask for its logs."
            found.append(("containment", 90 + 10 * number, "technical", text))
    for due in deadlines:
        if due["hours"] is not None:
            text = f"{due['what']} — to: {_low(due['to'])} ({due['law']}, {due['article']})."
            text += "" if due["is_sure"] else " Only if such data turns out to be concerned."
            found.append(("containment", due["hours"] * 60, "legal", text))
    for system in _recovery(facts):
        text = f"{system['name']}: {_low(system['how'])}"
        found.append(("containment", system["restore_hours"] * 60, "technical", text))
    order = list(PHASES)
    found.sort(key=lambda step: (order.index(step[0]), step[1] is not None, step[1] or 0))
    return [
        {
            "id": f"S{number:02}",
            "phase": phase,
            "minutes": minutes,
            "by": _said(minutes),
            "role": ROLES[role],
            "who": who[role],
            "text": text,
        }
        for number, (phase, minutes, role, text) in enumerate(found, start=1)
    ]


def _low(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _decisions(
    facts: Mapping[str, Any], roles: Sequence[Mapping[str, Any]], words: Mapping[str, str]
) -> list[dict[str, Any]]:
    who = {one["role"]: one["name"] for one in roles}
    return [
        {
            "question": one.question.format_map(words),
            "role": ROLES[one.role],
            "who": who[one.role],
            "minutes": one.minutes,
            "by": _said(one.minutes),
            "yes": one.yes.format_map(words),
            "no": one.no.format_map(words),
        }
        for one in sorted(playbooks.DECISIONS, key=lambda one: one.minutes)
        if one.when(facts)
    ]


def _after(detected: datetime | None, hours: int | None) -> str | None:
    return (detected + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M") if detected and hours else None


def _deadlines(facts: Mapping[str, Any], detected: datetime | None) -> list[dict[str, Any]]:
    return [
        {
            "id": duty.id,
            "law": notification_law.REGULATIONS[duty.law],
            "article": duty.article,
            "to": duty.to,
            "what": duty.what,
            "hours": duty.hours,
            "by": duty.by,
            "at": (detected + timedelta(hours=duty.hours)).strftime("%Y-%m-%dT%H:%M")
            if detected and duty.hours
            else None,
            "is_sure": notification_law.is_sure(duty, facts["data"]),
            "unless": duty.unless,
        }
        for duty in notification_law.deadlines(facts["regulations"], facts)
    ]


def _evidence(inputs: Mapping[str, Any]) -> list[dict[str, str]]:
    found = [{"from": "The incident", "what": one} for one in playbooks.EVIDENCE_BY_INCIDENT[inputs["incident"]]]
    for system in inputs["systems"]:
        found += [{"from": system["name"], "what": one} for one in playbooks.EVIDENCE[system["kind"]]]
    return found


def _recovery(inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The systems in the order in which they must be back, and how."""
    how = {
        "offline": "From the offline backup, onto a machine set up anew.",
        "online": "From the backup, once it is certain that nobody touched it.",
        "none": "Set up anew: there is no backup to go back to.",
    }
    rows = sorted(inputs["systems"], key=lambda one: (one["restore_hours"], one["name"]))
    return [
        {
            "place": place,
            "name": one["name"],
            "kind": SYSTEMS[one["kind"]],
            "restore_hours": one["restore_hours"],
            "how": "Check its last good copy, then hook it up again apart from the rest."
            if one["kind"] == "backup" and inputs["incident"] == "ransomware"
            else playbooks.RECOVERY.get(inputs["incident"], how[inputs["backups"]]),
        }
        for place, one in enumerate(rows, start=1)
    ]


# Drafts


def _drafts(
    inputs: Mapping[str, Any],
    deadlines: Sequence[Mapping[str, Any]],
    words: Mapping[str, str],
) -> list[dict[str, str]]:
    name = inputs["organisation"]
    incident = _low(INCIDENTS[inputs["incident"]])
    said = f"on {inputs['detected_at'][:10]}" if inputs["detected_at"] else "on [day]"
    systems = _listed([one["name"] for one in inputs["systems"]]) or "[systems]"
    people = f"about {inputs['people']:,}" if inputs["people"] else "[number]"
    kinds = _listed([DATA[one].lower() for one in inputs["data"]]) or "[kinds of data]"
    told = {
        "name": name,
        "incident": incident,
        "title": INCIDENTS[inputs["incident"]],
        "said": said,
        "systems": systems,
        "people": people,
        "kinds": kinds,
        "ask": ASKED[inputs["incident"]],
        "noticed": NOTICED[inputs["incident"]],
        "first": words["first"],
    }
    drafts = [{"to": "Colleagues", "text": _draft(TO_COLLEAGUES, told)}]
    for to in dict.fromkeys(one["to"] for one in deadlines if one["to"] in AUTHORITIES):
        articles = _listed([f"{one['law']} {one['article']}" for one in deadlines if one["to"] == to])
        drafts.append({"to": to, "text": _draft(TO_AUTHORITIES, told | {"articles": articles})})
    if {"personal", "health", "payment"} & set(inputs["data"]):
        drafts.append({"to": "The people whose data it is", "text": _draft(TO_PEOPLE, told)})
    drafts.append({"to": "Press and customers who ask", "text": _draft(TO_PRESS, told)})
    return drafts


def _draft(lines: Sequence[str], told: Mapping[str, str]) -> str:
    return "\n".join(line.format_map(told) for line in lines)


TO_COLLEAGUES = (
    "Subject: {title}: what to do now",
    "",
    "Since today {name} has a security incident ({incident}). Concerned: {systems}.",
    "",
    "{ask}",
    "",
    "Please answer no questions from outside; pass them to [name, telephone].",
    "The next news comes at [time], also if there is nothing new.",
    "",
    "[Incident lead]",
)
TO_AUTHORITIES = (
    "Notice under {articles}",
    "",
    "1. Who: {name}, [address]; contact: [name, telephone, mail].",
    "2. What: {incident}, noticed {said} at [time]; began [time, or not known yet].",
    "3. Concerned: {systems}; {people} people; {kinds}.",
    "4. Likely consequences: [for people, services, other countries].",
    "5. Done so far: [contained, evidence kept, passwords changed].",
    "6. Planned: [measures, with times].",
    "7. Still open: [what]. This is a first notice and will be completed.",
    "8. If it is later than the deadline: [reasons].",
)
TO_PEOPLE = (
    "Subject: Your data at {name}",
    "",
    "What happened: {said} we noticed {noticed}.",
    "What data: {kinds}.",
    "What it can mean for you: [in plain words].",
    "What we have done: [measures].",
    "What you can do: [change passwords, watch statements, be careful with calls and mails].",
    "Questions: [data protection contact, telephone, page].",
    "",
    "We are sorry.",
    "{name}",
)
TO_PRESS = (
    "{name} noticed a security incident {said}. We have limited it, called in specialists, and bring {first} back.",
    "Whoever is concerned will hear from us directly. The next news comes on [day, time] at [page].",
)
ASKED = {
    "ransomware": "Leave your computer on, pull its network cable, and do not open files on shared drives.",
    "phishing": "Do not open the message that is pictured below. If you typed in a password, ring us now.",
    "data_breach": "Do not forward or search for what is said to be published; send what you see to us.",
    "lost_device": "If you miss a device yourself, ring us at once, at any hour.",
    "denial_of_service": "Some services answer slowly. Use the telephone with customers until we write again.",
    "insider": "Please do not speculate. Whoever knows something that helps speaks with the incident lead alone.",
    "supply_chain": "Do not install updates of the product named below, and do not sign in to it.",
}
AUTHORITIES = (
    "The supervisory authority of your main establishment",
    "The Information Commissioner (ICO)",
    "The CSIRT or the competent authority",
    "The competent authority",
    "The Secretary of Health and Human Services",
    "The Federal Trade Commission",
    "Your acquirer and the payment brands",
)
NOTICED = {
    "ransomware": "that programs of criminals had encrypted files of ours",
    "phishing": "that somebody had got into mailboxes of ours with a stolen password",
    "data_breach": "that data had been taken from us",
    "lost_device": "that a device of ours is missing",
    "denial_of_service": "an attack that made our services unavailable",
    "insider": "that data had been copied without permission",
    "supply_chain": "that software of a supplier of ours had been tampered with",
}

# The exercise


def _exercise(
    facts: Mapping[str, Any], words: Mapping[str, str], deadlines: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    injects = [one for one in playbooks.INJECTS if one.when(facts)]
    rows: list[dict[str, Any]] = [
        {
            "id": f"I{number:02}",
            "minutes": one.minutes,
            "text": one.text.format_map(words),
            "question": one.question.format_map(words),
            "expected": one.expected.format_map(words),
        }
        for number, one in enumerate(injects, start=1)
    ]
    criteria = list(CRITERIA)
    criteria += [f"{row['id']}: {row['expected']}" for row in rows[1:]]
    first = [one for one in deadlines if one["hours"] is not None][:3]
    criteria += [f"{one['law']} {one['article']} named, with {one['hours']} hours" for one in first]
    return {
        "scene": playbooks.SCENES[facts["incident"]].format_map(words),
        "length_minutes": rows[-1]["minutes"] + 30,
        "injects": rows,
        "scoring": [{"criterion": one, "points_max": 2} for one in criteria],
        "points_max": 2 * len(criteria),
    }


def _gaps(inputs: Mapping[str, Any], roles: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []

    def say(severity: str, title: str, fix: str) -> None:
        found.append({"severity": severity, "title": title, "fix": fix})

    for role in roles:
        if role["is_needed"] and role["name"] == NOBODY:
            say("high", f"Nobody is named as {_low(role['title'])}", "Name one, with a number that works at night.")
    for role in roles:
        if role["is_needed"] and role["name"] != NOBODY and not role["stands_in"]:
            if not role["reach"]:
                say("medium", f"{role['name']} ({_low(role['title'])}) has no number", "Write down how to reach them.")
            if not role["deputy"]:
                say("low", f"{role['name']} ({_low(role['title'])}) has no deputy", "Name one for holidays and nights.")
    if not inputs["systems"]:
        say(
            "high",
            "No system is named",
            "Name those without which work stops: containment and recovery follow from them.",
        )
    if inputs["backups"] != "offline":
        weight = "critical" if inputs["incident"] == "ransomware" else "high"
        say(weight, "No backup is out of reach of who breaks in", "Keep one offline or unchangeable, and restore it.")
    if inputs["logs"] == "none":
        say("high", "There are no logs to find out from", "Collect sign-ins and changes at least, 12 months back.")
    if inputs["cover"] == "hours":
        say(
            "medium",
            "Nobody is there outside working hours",
            "Arrange a number that is answered at night.",
        )
    if not inputs["regulations"]:
        say("medium", "No law is named", "Ask counsel which ones hold for you; deadlines can be 24 hours short.")
    order = ("critical", "high", "medium", "low")
    return sorted(found, key=lambda one: order.index(one["severity"]))


# Files and page


DEADLINE_COLUMNS = ("Law", "Article", "To", "What", "By", "At", "Applies")


def _deadline_rows(deadlines: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (
            one["law"],
            one["article"],
            one["to"],
            one["what"],
            one["by"],
            (one["at"] or "–").replace("T", " "),
            one["unless"] if one["is_sure"] else f"Only if such data is concerned. {one['unless']}",
        )
        for one in deadlines
    ]


def _json(result: Mapping[str, Any]) -> bytes:
    return json.dumps({"format": "incident playbook 1"} | dict(result), ensure_ascii=False, indent=1).encode(
        "utf-8", "replace"
    )


def _drawn(result: Mapping[str, Any]) -> bytes:
    """Deadlines, decisions and recovery in hours after the detection, those within the first week."""
    week = 7 * 24
    rows = [
        drawing.Span(f"{one['article']} {one['law']}", 0, one["hours"], "coral", f"{one['hours']} h")
        for one in result["deadlines"]
        if one["hours"] is not None and one["hours"] <= week
    ]
    rows += [
        drawing.Span(one["question"], one["minutes"] / 60, None, "brass", f"decide by {one['by']}")
        for one in result["decisions"]
    ]
    rows += [
        drawing.Span(f"{one['name']} is back", 0, one["restore_hours"], "sea", f"{one['restore_hours']} h")
        for one in result["recovery"]
        if one["restore_hours"] <= week
    ]
    return drawing.timeline("The first days, in hours after the detection", rows, unit="h")


def _step_rows(steps: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return [(one["id"], one["by"], one["role"], one["who"], one["text"]) for one in steps]


STEP_COLUMNS = ("Step", "By", "Role", "Who", "What")
ROLE_COLUMNS = ("Role", "Who", "How to reach", "Deputy")
DECISION_COLUMNS = ("Decision", "By", "Who", "Yes, if", "No, if")


def _role_rows(roles: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (one["title"], f"{one['name']} (stands in)" if one["stands_in"] else one["name"], one["reach"], one["deputy"])
        for one in roles
        if one["is_needed"] or one["name"] != NOBODY
    ]


def _decision_rows(decisions: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return [(one["question"], one["by"], f"{one['role']}, {one['who']}", one["yes"], one["no"]) for one in decisions]


def _written(result: Mapping[str, Any], inputs: Mapping[str, Any]) -> str:
    about = [
        ("People who work there", inputs["size"]),
        ("Data that may be concerned", ", ".join(DATA[one] for one in inputs["data"]) or "none named"),
        ("Backups", BACKUPS[inputs["backups"]]),
        ("Logs", LOGS[inputs["logs"]]),
        ("Cover", COVER[inputs["cover"]]),
        ("Detected", inputs["detected_at"] or "not given: times count from the detection"),
    ]
    parts = [
        f"# {markdown_cell(result['title'])}",
        CAUTION,
        markdown_table(("Fact", "Answer"), about),
        "## Roles\n\n" + markdown_table(ROLE_COLUMNS, _role_rows(result["roles"])),
        "## Deadlines\n\n"
        + (
            markdown_table(DEADLINE_COLUMNS, _deadline_rows(result["deadlines"]))
            if result["deadlines"]
            else "No law was named."
        ),
    ]
    for phase in result["phases"]:
        steps = markdown_table(STEP_COLUMNS, _step_rows(phase["steps"]))
        parts.append(f"## {phase['name']} (CSF 2.0: {phase['csf']})\n\n{steps}")
    parts.append("## Decisions\n\n" + markdown_table(DECISION_COLUMNS, _decision_rows(result["decisions"])))
    evidence = [(one["from"], one["what"], "", "", "") for one in result["evidence"]]
    columns = ("From", "What", "Taken by", "When", "Hash, place")
    parts.append("## Evidence\n\n" + markdown_table(columns, evidence))
    if result["recovery"]:
        rows = [
            (one["place"], one["name"], one["kind"], one["restore_hours"], one["how"]) for one in result["recovery"]
        ]
        columns = ("Place", "System", "Kind", "Hours", "How")
        parts.append("## Order of recovery\n\n" + markdown_table(columns, rows))
    parts.append("## Drafts")
    for draft in result["drafts"]:
        quoted = "\n".join(f"> {markdown_cell(line)}" if line else ">" for line in draft["text"].splitlines())
        parts.append(f"### {draft['to']}\n\n{quoted}")
    gaps = [(one["severity"], one["title"], one["fix"]) for one in result["gaps"]]
    parts.append("## Gaps\n\n" + (markdown_table(("Weight", "Gap", "What to do"), gaps) if gaps else "None."))
    parts.append("## Sources\n\n" + "\n".join(f"- {one}" for one in result["sources"]))
    return "\n\n".join(parts) + "\n"


def _exercise_written(result: Mapping[str, Any]) -> str:
    exercise = result["exercise"]
    parts = [
        f"# Tabletop exercise: {markdown_cell(result['title'])}",
        f"{exercise['length_minutes']} minutes. Read the scene, then each inject at its minute; give the questions, "
        "keep the expected decisions to yourself, and score 0, 1 or 2 points each.",
        f"## Scene\n\n{markdown_cell(exercise['scene'])}",
        "## Injects",
    ]
    for one in exercise["injects"]:
        parts.append(
            f"### Minute {one['minutes']} · {one['id']}\n\n{markdown_cell(one['text'])}\n\n"
            f"**Questions.** {markdown_cell(one['question'])}\n\n**Expected.** {markdown_cell(one['expected'])}"
        )
    rows = [(one["criterion"], f"of {one['points_max']}", "") for one in exercise["scoring"]]
    parts.append("## Scoring sheet\n\n" + markdown_table(("Criterion", "Points", "Remarks"), rows))
    parts.append(
        f"In all: of {exercise['points_max']}. From 80 % the playbook carries; below 50 % repeat it in three months."
    )
    return "\n\n".join(parts) + "\n"


def _view(result: Mapping[str, Any]) -> list[studio.Block]:
    timed = [one for one in result["deadlines"] if one["hours"] is not None]
    exercise = result["exercise"]
    first = f"{timed[0]['hours']} hours ({timed[0]['article']})" if timed else "none in hours"
    view = [
        studio.facts(
            "At a glance",
            (
                ("Steps", sum(len(phase["steps"]) for phase in result["phases"])),
                ("Decisions", len(result["decisions"])),
                ("Notices that can be due", len(result["deadlines"])),
                ("First deadline", first),
                ("Roles without a name", sum(one["is_needed"] and one["name"] == NOBODY for one in result["roles"])),
                ("Exercise", f"{len(exercise['injects'])} injects, {exercise['points_max']} points"),
            ),
        ),
        studio.findings("Gaps in the preparation", result["gaps"], none="Roles, backups, logs and cover are there."),
        studio.table(
            "Who must be told",
            DEADLINE_COLUMNS,
            _deadline_rows(result["deadlines"]),
            note="Hours count from becoming aware; a day in the text is a calendar day unless it says otherwise.",
        ),
        studio.picture("The first days", "first-days.svg", described="The same times are in the tables."),
        studio.table("Roles", ROLE_COLUMNS, _role_rows(result["roles"])),
    ]
    for phase in result["phases"]:
        title = f"{phase['name']} (CSF 2.0: {phase['csf']})"
        view.append(studio.table(title, STEP_COLUMNS, _step_rows(phase["steps"])))
    view.append(studio.table("Decisions", DECISION_COLUMNS, _decision_rows(result["decisions"])))
    evidence = [(one["from"], one["what"]) for one in result["evidence"]]
    view.append(studio.table("Evidence to keep", ("From", "What"), evidence))
    view += [studio.code(f"Draft: {one['to']}", one["text"]) for one in result["drafts"]]
    injects = [(one["minutes"], one["text"], one["question"], one["expected"]) for one in exercise["injects"]]
    view.append(studio.text("Exercise: the scene", exercise["scene"]))
    view.append(studio.table("Exercise: injects", ("Minute", "What happens", "Questions", "Expected"), injects))
    scoring = [(one["criterion"], one["points_max"]) for one in exercise["scoring"]]
    view.append(studio.table("Exercise: scoring sheet", ("Criterion", "Points at most"), scoring))
    view.append(studio.text("Sources", [CAUTION, *result["sources"]]))
    return view


TOOL = Tool(
    slug="cyber-studio/ir-playbook",
    title="Incident playbook",
    noun="playbook",
    summary="What to do, who decides, whom to tell by when, and an exercise to try it, for your organisation.",
    mode="hybrid",
    risk="low",
    credits_max=5,
    limits=Limits(cpu_seconds=5, seconds=10),
    icon="alarm",
    fields=(
        Choice(name="incident", title="Incident", choices=INCIDENTS, default="ransomware"),
        Text(name="organisation", title="Organisation", length_max=80, is_short=True, is_required=True),
        Whole(name="size", title="How many people work there", min=1, max=1_000_000, default=50),
        Choices(name="regulations", title="Laws and rules that hold for you", choices=notification_law.REGULATIONS),
        Flag(name="is_processor", title="The data is processed for somebody else (processor, business associate)"),
        Choices(name="data", title="Data that may be concerned", choices=DATA),
        Whole(
            name="people",
            title="People whose data it may be",
            help="0 where it is not known.",
            min=0,
            max=2_000_000_000,
            default=0,
        ),
        Text(
            name="detected_at",
            title="Detected at",
            help="As 2026-11-21T08:30, in your own time; deadlines are then written as times.",
            length_max=16,
            is_short=True,
            default="",
        ),
        Choice(name="backups", title="Backups", choices=BACKUPS, default="none"),
        Choice(name="logs", title="Logs", choices=LOGS, default="local"),
        Choice(name="cover", title="Who is there", choices=COVER, default="hours"),
        Rows(
            name="contacts",
            title="Contacts",
            noun="contact",
            count_max=30,
            fields=(
                Choice(name="role", title="Role", choices=ROLES, default="lead"),
                Text(name="name", title="Name", length_max=60, is_short=True, is_required=True),
                Text(name="reach", title="Telephone, also at night", length_max=60, is_short=True, default=""),
                Text(name="deputy", title="Deputy", length_max=60, is_short=True, default=""),
            ),
        ),
        Rows(
            name="systems",
            title="Systems without which work stops",
            noun="system",
            count_max=20,
            fields=(
                Text(name="name", title="Name", length_max=60, is_short=True, is_required=True),
                Choice(name="kind", title="It is", choices=SYSTEMS, default="files"),
                Whole(name="restore_hours", title="Back within", unit="hours", min=1, max=2160, default=48),
                Text(name="supplier", title="Supplier or host", length_max=60, is_short=True, default=""),
            ),
        ),
    ),
    function=run,
    example={
        "incident": "ransomware",
        "organisation": "Quay Books Ltd",
        "size": 60,
        "regulations": ["gdpr", "nis2", "pci"],
        "is_processor": False,
        "data": ["personal", "payment"],
        "people": 12000,
        "detected_at": "2026-11-20T18:10",
        "backups": "online",
        "logs": "local",
        "cover": "hours",
        "contacts": [
            {"role": "lead", "name": "Dana Okafor", "reach": "+44 20 7946 0001", "deputy": "Mei Lin"},
            {"role": "technical", "name": "Mei Lin", "reach": "+44 20 7946 0002", "deputy": ""},
            {"role": "management", "name": "Ravi Shah", "reach": "+44 20 7946 0003", "deputy": "Ana Costa"},
            {"role": "communications", "name": "Ana Costa", "reach": "", "deputy": "Ravi Shah"},
        ],
        "systems": [
            {"name": "Web shop", "kind": "web", "restore_hours": 8, "supplier": "Harbour Hosting"},
            {"name": "Customer database", "kind": "database", "restore_hours": 8, "supplier": ""},
            {"name": "Office drive", "kind": "files", "restore_hours": 48, "supplier": ""},
            {"name": "Nightly backup", "kind": "backup", "restore_hours": 72, "supplier": ""},
        ],
    },
)
