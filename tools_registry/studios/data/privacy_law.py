"""What GDPR, UK GDPR and CCPA ask of who uses personal data, as rules over answers. Facts only; no legal advice.

Sources: Regulation (EU) 2016/679 (articles as numbered there; the UK GDPR keeps the numbers); Article 29 Working Party,
WP 248 rev.01 (nine criteria; two of them as a rule ask for an impact assessment); California Civil Code §§ 1798.100–199
as amended by the CPRA.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tools_registry.studio import Severity

BASES = {
    "undecided": "Not decided",
    "consent": "Consent (Art. 6(1)(a))",
    "contract": "A contract with the person (Art. 6(1)(b))",
    "legal_obligation": "A legal obligation (Art. 6(1)(c))",
    "vital_interests": "Vital interests (Art. 6(1)(d))",
    "public_task": "A public task (Art. 6(1)(e))",
    "legitimate_interests": "Legitimate interests (Art. 6(1)(f))",
}
CONDITIONS = {
    "none": "None, or not decided",
    "explicit_consent": "Explicit consent (Art. 9(2)(a))",
    "employment": "Employment and social security law (Art. 9(2)(b))",
    "vital_interests": "Vital interests (Art. 9(2)(c))",
    "made_public": "Made public by the person (Art. 9(2)(e))",
    "legal_claims": "Legal claims (Art. 9(2)(f))",
    "public_interest": "Substantial public interest (Art. 9(2)(g))",
    "health_care": "Health or social care (Art. 9(2)(h))",
    "public_health": "Public health (Art. 9(2)(i))",
    "research": "Research or statistics (Art. 9(2)(j))",
}
SUBJECTS = {
    "customers": "Customers",
    "employees": "Employees",
    "children": "Children",
    "patients": "Patients",
    "public": "People in public places",
}
PEOPLE = {"up_to_1000": "Up to 1,000", "up_to_10000": "Up to 10,000", "up_to_100000": "Up to 100,000", "more": "More"}
TRANSFERS = {
    "none": "None outside the EU, EEA and UK",
    "adequate": "Only to countries with an adequacy decision (Art. 45)",
    "safeguarded": "With standard clauses or binding rules (Art. 46)",
    "unknown": "Without any of these, or not known",
}
USES = {
    "profiling": "Scores or evaluates people",
    "automatic_decisions": "Decides about people automatically, with legal or like effect",
    "monitoring": "Monitors people systematically",
    "matching": "Joins data that was collected for different purposes",
    "new_technology": "Uses new technology, or old technology in a new way",
    "denies_a_service": "Can keep people from a service, a contract or a right",
    "sold": "Is sold, or shared for advertising across sites",
}
SAFEGUARDS = {
    "notice": "A privacy notice is given when it is collected",
    "rights": "Requests for access, correction, deletion are answered in time",
    "consent_record": "Consent is recorded and can be taken back",
    "encrypted_stored": "Encrypted where it is stored",
    "encrypted_sent": "Encrypted when it is sent",
    "pseudonymised": "Pseudonymised, keys kept apart",
    "access_control": "Only those who need it have access, reviewed regularly",
    "access_log": "Access is logged",
    "backup": "Backups are made and restored as a test",
    "tested": "Security is tested regularly",
    "processor_contracts": "Contracts with all who process it for us",
    "records": "A record of processing activities",
    "breach_plan": "A plan for breaches: 72 hours",
    "deletion": "It is deleted when the time is over",
    "dpo": "A data protection officer is named",
    "assessed": "An impact assessment has been made",
    "minimised": "Only what the purpose needs is collected",
    "opt_out": "A link to opt out of sale and sharing",
    "age_checked": "Age is checked, parents consent for children",
    "human_review": "A person reviews automatic decisions on request",
}

Case = Mapping[str, Any]
"""The answers, and what was found: `has_special`, `criteria`, `laws`."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A duty: when it applies, what meets it, what it says and where."""

    id: str
    law: str  # gdpr or ccpa
    article: str
    severity: Severity
    applies: Callable[[Case], bool]
    is_met: Callable[[Case], bool]
    gap: str
    fix: str


def _always(case: Case) -> bool:
    return True


def _by(safeguard: str) -> Callable[[Case], bool]:
    return lambda case: safeguard in case["safeguards"]


def _uses(use: str) -> Callable[[Case], bool]:
    return lambda case: use in case["uses"]


RULES = (
    Rule(
        "lawful-basis",
        "gdpr",
        "Art. 6(1)",
        "critical",
        _always,
        lambda case: case["basis"] != "undecided",
        "No lawful basis has been chosen.",
        "Choose one of the six before anything is collected, and write down why it fits.",
    ),
    Rule(
        "purpose",
        "gdpr",
        "Art. 5(1)(b)",
        "high",
        _always,
        lambda case: len(case["purpose"].split()) >= 3,
        "The purpose is missing or too short to limit anything.",
        "Write down what the data is for, so exactly that another use would not fit.",
    ),
    Rule(
        "special-category",
        "gdpr",
        "Art. 9(2)",
        "critical",
        lambda case: case["has_special"],
        lambda case: case["special_condition"] != "none",
        "There is special category data, and no condition that allows it.",
        "Choose a condition of Art. 9(2), or leave this data out.",
    ),
    Rule(
        "retention",
        "gdpr",
        "Art. 5(1)(e)",
        "high",
        _always,
        lambda case: case["retention_months"] > 0,
        "It has not been decided how long the data is kept.",
        "Set a time for each kind of data, from what the purpose and the law need.",
    ),
    Rule(
        "deletion",
        "gdpr",
        "Art. 5(1)(e), 17",
        "medium",
        _always,
        _by("deletion"),
        "Nothing deletes the data when its time is over.",
        "Delete by a schedule, in backups too, and keep a record that it ran.",
    ),
    Rule(
        "minimisation",
        "gdpr",
        "Art. 5(1)(c), 25",
        "medium",
        _always,
        _by("minimised"),
        "It was not checked whether the purpose needs every column.",
        "Go through the columns that were found here and drop what the purpose does not need.",
    ),
    Rule(
        "consent-record",
        "gdpr",
        "Art. 7(1), 7(3)",
        "high",
        lambda case: case["basis"] == "consent" or case["special_condition"] == "explicit_consent",
        _by("consent_record"),
        "Consent cannot be shown, or not taken back as easily as it was given.",
        "Keep who agreed to what and when, and a way back beside it.",
    ),
    Rule(
        "children",
        "gdpr",
        "Art. 8",
        "high",
        lambda case: "children" in case["subjects"],
        _by("age_checked"),
        "There are children, and neither their age nor their parents’ consent is checked.",
        "Check the age, and ask the parents below 16 (13 in the UK; Art. 8(1) lets members set 13 to 16).",
    ),
    Rule(
        "notice",
        "gdpr",
        "Art. 13, 14",
        "high",
        _always,
        _by("notice"),
        "People are not told what happens with their data.",
        "Say who, what for, on which basis, how long, to whom, and which rights there are.",
    ),
    Rule(
        "rights",
        "gdpr",
        "Art. 12, 15–21",
        "high",
        _always,
        _by("rights"),
        "There is no way to answer requests within a month.",
        "Name who answers, how people are recognised, and find all their data by one key.",
    ),
    Rule(
        "automatic-decisions",
        "gdpr",
        "Art. 22",
        "high",
        _uses("automatic_decisions"),
        _by("human_review"),
        "Decisions are made automatically, and nobody can be asked to look again.",
        "Let a person review a decision on request, and explain how it is made.",
    ),
    Rule(
        "processors",
        "gdpr",
        "Art. 28(3)",
        "high",
        lambda case: bool(case["recipients"]),
        _by("processor_contracts"),
        "Others receive the data, without a contract that binds them.",
        "Sign a processing agreement with each, or note why they are controllers themselves.",
    ),
    Rule(
        "records",
        "gdpr",
        "Art. 30",
        "medium",
        _always,
        _by("records"),
        "It is missing from the record of processing activities.",
        "Enter it: purpose, people, data, recipients, transfers, times, security.",
    ),
    Rule(
        "encrypted-stored",
        "gdpr",
        "Art. 32(1)(a)",
        "high",
        _always,
        _by("encrypted_stored"),
        "The data is not encrypted where it is stored.",
        "Encrypt disks and backups, keys kept apart.",
    ),
    Rule(
        "encrypted-sent",
        "gdpr",
        "Art. 32(1)(a)",
        "high",
        _always,
        _by("encrypted_sent"),
        "The data is not encrypted when it is sent.",
        "Use TLS everywhere, also inside.",
    ),
    Rule(
        "pseudonyms",
        "gdpr",
        "Art. 25(1), 32(1)(a)",
        "medium",
        lambda case: case["has_special"] or case["people"] in ("up_to_100000", "more"),
        _by("pseudonymised"),
        "Much or sensitive data is used under people’s names.",
        "Replace what names people by keys, and keep the list apart.",
    ),
    Rule(
        "access",
        "gdpr",
        "Art. 32(1)(b), 32(4)",
        "high",
        _always,
        _by("access_control"),
        "More people have access than need it, or nobody checks.",
        "Give access by role, and review it every quarter.",
    ),
    Rule(
        "access-log",
        "gdpr",
        "Art. 5(2), 32(1)(b)",
        "medium",
        _always,
        _by("access_log"),
        "Nobody could say who saw the data.",
        "Log who read or changed what, and look at it.",
    ),
    Rule(
        "backup",
        "gdpr",
        "Art. 32(1)(c)",
        "medium",
        _always,
        _by("backup"),
        "It could not be restored after an accident.",
        "Back up, and restore as a test.",
    ),
    Rule(
        "tested",
        "gdpr",
        "Art. 32(1)(d)",
        "medium",
        _always,
        _by("tested"),
        "Nobody tests whether the protection works.",
        "Test it yearly and after each large change.",
    ),
    Rule(
        "breach",
        "gdpr",
        "Art. 33, 34",
        "high",
        _always,
        _by("breach_plan"),
        "Nobody knows what to do in the first 72 hours after a breach.",
        "Write down who decides, who tells the authority, who tells the people.",
    ),
    Rule(
        "impact-assessment",
        "gdpr",
        "Art. 35",
        "critical",
        lambda case: case["is_assessment_needed"],
        _by("assessed"),
        "An impact assessment is needed and has not been made.",
        "Finish this one: necessity, risks, measures, the view of the data protection officer.",
    ),
    Rule(
        "officer",
        "gdpr",
        "Art. 37(1)",
        "medium",
        lambda case: (
            case["people"] in ("up_to_100000", "more") and (case["has_special"] or "monitoring" in case["uses"])
        ),
        _by("dpo"),
        "Large-scale monitoring or special categories, and no data protection officer.",
        "Name one, and tell the authority.",
    ),
    Rule(
        "transfers",
        "gdpr",
        "Art. 44–49",
        "critical",
        lambda case: case["transfers"] != "none",
        lambda case: case["transfers"] in ("adequate", "safeguarded"),
        "Data leaves for countries without protection that the law knows.",
        "Use standard clauses and a transfer assessment, or keep it here.",
    ),
    Rule(
        "notice-at-collection",
        "ccpa",
        "Cal. Civ. Code § 1798.100(a)",
        "high",
        _always,
        _by("notice"),
        "There is no notice at or before collection.",
        "Say the categories, the purposes, whether they are sold, and how long each is kept.",
    ),
    Rule(
        "retention-disclosed",
        "ccpa",
        "Cal. Civ. Code § 1798.100(a)(3)",
        "medium",
        _always,
        lambda case: case["retention_months"] > 0,
        "How long each category is kept cannot be disclosed: it is not decided.",
        "Set the times and put them into the notice.",
    ),
    Rule(
        "consumer-rights",
        "ccpa",
        "Cal. Civ. Code §§ 1798.105, .106, .110, .130",
        "high",
        _always,
        _by("rights"),
        "Requests to know, correct and delete cannot be answered in 45 days.",
        "Offer two ways to ask, and verify who asks.",
    ),
    Rule(
        "opt-out",
        "ccpa",
        "Cal. Civ. Code §§ 1798.120, .135",
        "critical",
        _uses("sold"),
        _by("opt_out"),
        "Data is sold or shared, without a link to opt out.",
        "Add “Do Not Sell or Share My Personal Information”, and honour browsers’ signals.",
    ),
    Rule(
        "minors",
        "ccpa",
        "Cal. Civ. Code § 1798.120(c)",
        "critical",
        lambda case: "sold" in case["uses"] and "children" in case["subjects"],
        _by("age_checked"),
        "Children’s data is sold without their opt-in, or their parents’.",
        "Ask below 16 first, the parents below 13; or do not sell it.",
    ),
    Rule(
        "sensitive",
        "ccpa",
        "Cal. Civ. Code § 1798.121",
        "high",
        lambda case: case["has_sensitive_ccpa"],
        lambda case: bool({"opt_out", "minimised"} & set(case["safeguards"])),
        "Sensitive personal information is used, and its use cannot be limited.",
        "Use it only for what was asked for, or offer “Limit the Use of My Sensitive Personal Information”.",
    ),
    Rule(
        "service-providers",
        "ccpa",
        "Cal. Civ. Code §§ 1798.100(d), .140(ag)",
        "high",
        lambda case: bool(case["recipients"]),
        _by("processor_contracts"),
        "Others receive the data, without the contract that the law describes.",
        "Forbid selling, other uses and joining; ask for the same protection.",
    ),
    Rule(
        "reasonable-security",
        "ccpa",
        "Cal. Civ. Code §§ 1798.100(e), .150",
        "high",
        _always,
        lambda case: {"encrypted_stored", "access_control"} <= set(case["safeguards"]),
        "Unencrypted data that is stolen can be sued over, $100 and more for each person.",
        "Encrypt it and limit access.",
    ),
)


CRITERIA = {
    "evaluation": "evaluates or scores people",
    "automatic": "decides automatically, with legal or like effect",
    "monitoring": "monitors systematically",
    "sensitive": "sensitive data",
    "large": "large scale",
    "matching": "joins data sets",
    "vulnerable": "vulnerable people",
    "new": "new technology",
    "denies": "can deny a right, a service or a contract",
}


def criteria(case: Case) -> list[str]:
    """Which of the nine criteria of WP 248 rev.01 are met; two as a rule ask for an assessment (Art. 35)."""
    uses, subjects = set(case["uses"]), set(case["subjects"])
    met = {
        "evaluation": "profiling" in uses,
        "automatic": "automatic_decisions" in uses,
        "monitoring": "monitoring" in uses or "public" in subjects,
        "sensitive": case["has_special"] or case["sensitivity"] >= 4,
        "large": case["people"] in ("up_to_100000", "more"),
        "matching": "matching" in uses,
        "vulnerable": bool(subjects & {"children", "employees", "patients"}),
        "new": "new_technology" in uses,
        "denies": "denies_a_service" in uses,
    }
    return [name for name, is_met in met.items() if is_met]


FORMULA = (
    "inherent = 100 × (0.35 × sensitivity ÷ 4 + 0.20 × people ÷ 4 + 0.15 × transfers ÷ 3 + 0.10 × recipients ÷ 3 "
    "+ 0.20 × criteria ÷ 9); residual = inherent × (1 − 0.6 × kept ÷ applicable duties); "
    "both 0 where no personal data is found"
)


def score(case: Case, kept: int, applicable: int) -> dict[str, Any]:
    """The risk, 0 to 100, before and after what is done about it, by FORMULA; the weights are ours and are shown."""
    parts = {
        "sensitivity": (case["sensitivity"], 4, 0.35),
        "people": (list(PEOPLE).index(case["people"]) + 1, 4, 0.20),
        "transfers": (list(TRANSFERS).index(case["transfers"]), 3, 0.15),
        "recipients": (min(3, len(case["recipients"])), 3, 0.10),
        "criteria": (len(case["criteria"]), 9, 0.20),
    }
    whole = 100 * sum(weight * value / most for value, most, weight in parts.values())
    inherent = whole if case["sensitivity"] else 0.0
    share = kept / applicable if applicable else 1.0
    residual = inherent * (1 - 0.6 * share)
    return {
        "parts": {
            name: {"value": value, "of": most, "weight": weight} for name, (value, most, weight) in parts.items()
        },
        "duties_kept": kept,
        "duties": applicable,
        "inherent": round(inherent, 1),
        "residual": round(residual, 1),
        "level": level(residual),
        "formula": FORMULA,
    }


def level(score: float) -> str:
    return "critical" if score >= 60 else "high" if score >= 40 else "medium" if score >= 20 else "low"
