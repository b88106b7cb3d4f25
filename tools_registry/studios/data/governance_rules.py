"""What a governance framework is made of: areas, roles, classes, policies, checks, retention. Facts and their sources.

Areas: the eleven knowledge areas of DAMA-DMBOK, second edition (chapters 3 to 13; ids here are "DMBOK2-3" …). Processes
and roles of data quality: ISO 8000-61 and ISO 8000-150. Governance of data: ISO/IEC 38505-1. Controls: ISO/IEC
27001:2022 Annex A. Levels 0 to 5 are named after the levels of ISO/IEC 33020's capability scale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tools_registry.studio import Severity

FRAMEWORKS = (
    ("DAMA-DMBOK2", "DAMA International, Data Management Body of Knowledge, second edition: eleven knowledge areas"),
    ("ISO 8000-61", "Data quality management: process reference model"),
    ("ISO 8000-150", "Data quality management: roles and responsibilities"),
    ("ISO/IEC 38505-1", "Governance of data"),
    ("ISO/IEC 27001:2022", "Annex A controls for information security"),
    ("GDPR", "Regulation (EU) 2016/679"),
)


@dataclass(frozen=True, slots=True)
class Area:
    """A knowledge area; `checks` are those of the inventory that show how far it really is."""

    id: str
    title: str
    target: int = 3
    raised_by: tuple[str, ...] = ()  # goals and kinds of data that ask for one level more
    checks: tuple[str, ...] = ()
    step: str = ""


AREAS: dict[str, Area] = {
    "governance": Area(
        "DMBOK2-3",
        "Data governance",
        raised_by=("compliance", "ai", "special"),
        checks=("OWN-1", "OWN-2", "OWN-3"),
        step="Seat the council, name an owner for every set of data, publish the policies.",
    ),
    "architecture": Area(
        "DMBOK2-4",
        "Data architecture",
        raised_by=("sharing", "cost"),
        step="Draw which system holds and passes on what.",
    ),
    "modelling": Area("DMBOK2-5", "Data modelling and design", 2, ("ai",), step="Review models before they are built."),
    "storage": Area(
        "DMBOK2-6",
        "Data storage and operations",
        checks=("BCK-1",),
        step="Back everything up and restore it as a test, with times agreed.",
    ),
    "security": Area(
        "DMBOK2-7",
        "Data security",
        raised_by=("special", "payment", "personal"),
        checks=("SEC-1", "SEC-2", "CLS-2"),
        step="Encrypt what is confidential and review who has access each quarter.",
    ),
    "integration": Area(
        "DMBOK2-8",
        "Data integration and interoperability",
        2,
        ("sharing", "analytics"),
        step="Agree contracts for what is passed between systems, and watch them.",
    ),
    "documents": Area(
        "DMBOK2-9",
        "Document and content management",
        2,
        ("compliance",),
        checks=("RET-1", "RET-2"),
        step="Set times for keeping, and delete by schedule.",
    ),
    "master": Area(
        "DMBOK2-10",
        "Reference and master data",
        2,
        ("quality", "sharing"),
        step="Choose the one source for customers, products and codes.",
    ),
    "warehousing": Area(
        "DMBOK2-11", "Data warehousing and business intelligence", 2, ("analytics",), step="Define each figure once."
    ),
    "metadata": Area(
        "DMBOK2-12",
        "Metadata",
        raised_by=("analytics", "ai"),
        checks=("MD-1", "CLS-1"),
        step="Describe and classify every set of data in a catalogue.",
    ),
    "quality": Area(
        "DMBOK2-13",
        "Data quality",
        raised_by=("quality", "ai", "financial"),
        checks=("DQ-1",),
        step="Set rules for critical data, check them daily, and fix causes (ISO 8000-61).",
    ),
}
LEVELS = {0: "Incomplete", 1: "Performed", 2: "Managed", 3: "Established", 4: "Predictable", 5: "Innovating"}

ROLES = {
    "sponsor": "Executive sponsor",
    "council": "Chair of the data council",
    "owner": "Data owner",
    "steward": "Data steward",
    "custodian": "Data custodian (technology)",
    "security": "Security officer",
    "privacy": "Data protection officer",
    "user": "Data user",
}
"""After ISO 8000-150: manager, steward and technician level, and who governs them."""

# Activity: who is Responsible, Accountable, Consulted, Informed.
RACI: dict[str, dict[str, str]] = {
    "Approve policies": {"sponsor": "A", "council": "R", "owner": "C", "privacy": "C", "security": "C", "user": "I"},
    "Name owners and stewards": {"sponsor": "A", "council": "R", "owner": "I", "steward": "I"},
    "Classify a set of data": {"owner": "A", "steward": "R", "security": "C", "privacy": "C", "custodian": "I"},
    "Set how long it is kept": {"owner": "A", "steward": "R", "privacy": "C", "custodian": "I"},
    "Delete when the time is over": {"owner": "A", "custodian": "R", "steward": "C", "privacy": "I"},
    "Define quality rules": {"owner": "A", "steward": "R", "user": "C", "custodian": "C"},
    "Fix quality problems": {"owner": "A", "steward": "R", "custodian": "R", "user": "I"},
    "Grant and review access": {"owner": "A", "custodian": "R", "security": "C", "user": "I"},
    "Describe data in the catalogue": {"owner": "A", "steward": "R", "user": "C"},
    "Back up and restore": {"custodian": "R", "owner": "A", "security": "C"},
    "Handle a breach": {"sponsor": "I", "security": "R", "privacy": "R", "owner": "C", "council": "A"},
}

CLASSES = {
    "public": "Public",
    "internal": "Internal",
    "confidential": "Confidential",
    "restricted": "Restricted",
}
RANK = {"": -1, "public": 0, "internal": 1, "confidential": 2, "restricted": 3}
HANDLING = {
    "public": ("Anyone may see it.", "No loss if it is read; still kept correct."),
    "internal": ("Everyone who works here.", "Company accounts; not on public links."),
    "confidential": ("Those who need it, by role.", "Encrypted stored and sent; access reviewed each quarter."),
    "restricted": ("Named people only.", "Encrypted with own keys; every access logged; no copies in tests."),
}

DATA = {
    "personal": "Personal data",
    "special": "Special category data (health, belief …)",
    "payment": "Payment cards",
    "financial": "Accounts and financial reports",
    "employees": "Employees’ records",
    "secrets": "Trade secrets",
}
GOALS = {
    "compliance": "Keep the law",
    "quality": "Trust the figures",
    "analytics": "Analyse more",
    "ai": "Train and use AI",
    "sharing": "Share between teams and partners",
    "cost": "Spend less",
}
REGIONS = {"eu": "European Union", "uk": "United Kingdom", "us": "United States", "other": "Elsewhere"}
SECTORS = {
    "general": "General",
    "health": "Health care",
    "finance": "Banking and insurance",
    "public": "Public sector",
    "education": "Education",
    "retail": "Retail",
}

Answers = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Policy:
    id: str
    title: str
    area: str
    references: tuple[str, ...]
    applies: Callable[[Answers], bool]
    statements: Callable[[Answers], list[str]]


def _always(answers: Answers) -> bool:
    return True


def _has(*kinds: str) -> Callable[[Answers], bool]:
    return lambda answers: bool(set(kinds) & {*answers["data"], *answers["goals"]})


def _months(answers: Answers) -> str:
    return f"{answers['personal_months_max']} months"


def is_personal_data(answers: Answers) -> bool:
    return bool({"personal", "special", "payment", "employees"} & set(answers["data"]))


POLICIES = (
    Policy(
        "POL-01",
        "Ownership",
        "governance",
        ("DMBOK2-3", "ISO/IEC 38505-1", "ISO 8000-150", "ISO/IEC 27001:2022 A.5.9"),
        _always,
        lambda answers: [
            f"{answers['organisation']} keeps an inventory of its data. Each set has one owner, who answers for it.",
            "An owner names a steward. Who leaves a post hands its data over before the last day.",
            f"The council meets {'every month' if answers['size'] in ('up_to_1000', 'more') else 'every quarter'} "
            "and settles what owners cannot.",
        ],
    ),
    Policy(
        "POL-02",
        "Classification and handling",
        "security",
        ("DMBOK2-7", "ISO/IEC 27001:2022 A.5.12", "ISO/IEC 27001:2022 A.5.13"),
        _always,
        lambda answers: [
            "Every set of data is public, internal, confidential or restricted; without a class it is confidential.",
            "Personal data is at least confidential."
            + (
                " Special categories and cards are restricted." if {"special", "payment"} & set(answers["data"]) else ""
            ),
        ],
    ),
    Policy(
        "POL-03",
        "Quality",
        "quality",
        ("DMBOK2-13", "ISO 8000-61", "ISO 8000-8"),
        _always,
        lambda answers: [
            "Owners set rules for critical data: complete, valid, unique, consistent, on time.",
            f"Rules are checked {'daily' if {'ai', 'analytics', 'quality'} & set(answers['goals']) else 'monthly'}; "
            "a broken rule is a task with a date.",
            *(
                ["Data that trains a model passes its rules first, and its source is kept."]
                if "ai" in answers["goals"]
                else []
            ),
        ],
    ),
    Policy(
        "POL-04",
        "Retention and deletion",
        "documents",
        ("DMBOK2-9", "ISO/IEC 27001:2022 A.8.10", "GDPR Art. 5(1)(e)"),
        _always,
        lambda answers: [
            "Data is kept as the schedule says and then deleted, in backups too.",
            *(
                [f"Personal data is kept for at most {_months(answers)} unless a law says longer."]
                if is_personal_data(answers)
                else []
            ),
        ],
    ),
    Policy(
        "POL-05",
        "Access and protection",
        "security",
        ("DMBOK2-7", "ISO/IEC 27001:2022 A.5.15", "ISO/IEC 27001:2022 A.5.18", "ISO/IEC 27001:2022 A.8.24"),
        _always,
        lambda answers: [
            "Access is given by role, by the owner, for a reason, and reviewed every quarter.",
            "Confidential and restricted data is encrypted where it is stored and when it is sent.",
        ],
    ),
    Policy(
        "POL-06",
        "Metadata and catalogue",
        "metadata",
        ("DMBOK2-12", "ISO/IEC 27001:2022 A.5.9"),
        _always,
        lambda answers: [
            "A set of data is described in the catalogue before others use it: meaning, owner, class, source."
        ],
    ),
    Policy(
        "POL-07",
        "Privacy",
        "security",
        ("GDPR Art. 5", "GDPR Art. 25", "GDPR Art. 30", "ISO/IEC 27001:2022 A.5.34"),
        is_personal_data,
        lambda answers: [
            "Personal data has a purpose, a lawful basis and a line in the record before it is collected.",
            *(["Special categories need a condition of GDPR Art. 9(2)."] if "special" in answers["data"] else []),
            *(["Californians’ requests are answered in 45 days (CCPA)."] if "us" in answers["regions"] else []),
            *(["Requests of people are answered in one month."] if {"eu", "uk"} & set(answers["regions"]) else []),
        ],
    ),
    Policy(
        "POL-08",
        "Backup and recovery",
        "storage",
        ("DMBOK2-6", "ISO/IEC 27001:2022 A.8.13"),
        _always,
        lambda answers: ["Everything but public data is backed up daily, and restored as a test every six months."],
    ),
    Policy(
        "POL-09",
        "Sharing and interfaces",
        "integration",
        ("DMBOK2-8", "ISO/IEC 27001:2022 A.5.14"),
        _has("sharing", "analytics"),
        lambda answers: [
            "Data is passed on under a contract: fields, quality, times, owner of each side.",
            "Partners sign before they receive confidential data.",
        ],
    ),
    Policy(
        "POL-10",
        "Use in artificial intelligence",
        "governance",
        ("DMBOK2-3", "ISO/IEC 38505-1", "Regulation (EU) 2024/1689 Art. 10"),
        _has("ai"),
        lambda answers: [
            "Data for a model is chosen, documented and checked for gaps and bias before it is used.",
            "Restricted data does not train models without the council.",
        ],
    ),
    Policy(
        "POL-11",
        "Payment cards",
        "security",
        ("PCI DSS v4.0.1 Req. 3", "DMBOK2-7"),
        _has("payment"),
        lambda answers: [
            "Card numbers are stored only where a contract needs it, and unreadable.",
            "Codes and PINs are never kept after a payment is authorised (Req. 3.3).",
        ],
    ),
    Policy(
        "POL-12",
        "Master data",
        "master",
        ("DMBOK2-10", "ISO 8000-110"),
        _has("quality", "sharing"),
        lambda answers: [
            "Each kind of master data has one source; copies follow it and are not changed by themselves."
        ],
    ),
)


# Sector, region, reference, what it asks for: one more policy where any of them applies.
SECTOR_RULES = (
    (
        "health",
        "us",
        "45 CFR §§ 164.308, 164.312 (HIPAA)",
        "Health records have safeguards, access controls and audit logs.",
    ),
    ("health", "", "ISO 27799", "Health information is protected as the standard for health care says."),
    ("finance", "", "BCBS 239", "Risk figures can be traced to their sources, are complete, right and on time."),
    (
        "finance",
        "eu",
        "Regulation (EU) 2022/2554 (DORA)",
        "Systems and suppliers that hold data are listed, tested, replaceable.",
    ),
    (
        "public",
        "uk",
        "Freedom of Information Act 2000 s. 46 code",
        "Records are kept so that requests can be answered.",
    ),
    ("public", "eu", "Directive (EU) 2019/1024", "Documents that may be used again are published in open formats."),
    (
        "education",
        "us",
        "34 CFR Part 99 (FERPA)",
        "Education records are shown to others only with consent or an exception.",
    ),
    ("education", "uk", "ICO Age appropriate design code", "Services that children use collect the least by default."),
)


# kind of data, region, how long, source
RETENTION = (
    (
        "financial",
        "uk",
        "6 years from the end of the financial year",
        "Finance Act 1998 Sch. 18 para. 21 (corporation tax)",
    ),
    ("financial", "eu", "As the member state says; 5 to 10 years", "National commercial and tax law"),
    (
        "financial",
        "us",
        "3 years as a rule; 7 with a claim for bad debts",
        "IRS, period of limitations (26 U.S.C. § 6501)",
    ),
    ("employees", "uk", "3 years after the tax year, for pay", "Income Tax (PAYE) Regulations 2003 reg. 97"),
    ("employees", "us", "4 years for employment taxes; 3 for pay", "26 CFR § 31.6001-1; 29 CFR § 516.5"),
    ("employees", "eu", "As the member state says; then as short as the purpose allows", "GDPR Art. 5(1)(e), 88"),
    ("payment", "", "No longer than the contract needs; codes and PINs never", "PCI DSS v4.0.1 Req. 3.2, 3.3"),
    ("personal", "eu", "No longer than the purpose needs; at most {months}", "GDPR Art. 5(1)(e)"),
    ("personal", "uk", "No longer than the purpose needs; at most {months}", "UK GDPR Art. 5(1)(e)"),
    ("personal", "us", "As disclosed at collection; at most {months}", "Cal. Civ. Code § 1798.100(a)(3)"),
    ("special", "", "As short as the condition allows; at most {months}", "GDPR Art. 5(1)(e), 9(2)"),
    ("secrets", "", "As long as they are secret; reviewed each year", "Your own decision"),
)


# Checks of an inventory


@dataclass(frozen=True, slots=True)
class Check:
    """A rule about one set of data: when it applies, when it holds."""

    id: str
    title: str
    policy: str
    severity: Severity
    applies: Callable[[Answers], bool]
    holds: Callable[[Answers, Answers], bool]
    fix: str


def _rank(asset: Answers) -> int:
    return RANK[asset["classification"]]


CHECKS = (
    Check("OWN-1", "It has an owner", "POL-01", "high", _always, lambda a, s: bool(a["owner"]), "Name an owner."),
    Check("OWN-2", "It has a steward", "POL-01", "medium", _always, lambda a, s: bool(a["steward"]), "Name a steward."),
    Check(
        "OWN-3",
        "Owner and steward are two people",
        "POL-01",
        "low",
        lambda a: bool(a["owner"] and a["steward"]),
        lambda a, s: a["owner"].casefold() != a["steward"].casefold(),
        "Who decides should not be the one who carries it out.",
    ),
    Check("CLS-1", "It is classified", "POL-02", "high", _always, lambda a, s: _rank(a) >= 0, "Choose a class."),
    Check(
        "CLS-2",
        "Personal data is confidential or restricted",
        "POL-02",
        "critical",
        lambda a: bool(a["is_personal"]) and _rank(a) >= 0,
        lambda a, s: _rank(a) >= 2,
        "Raise the class, or take the personal data out.",
    ),
    Check(
        "SEC-1",
        "Confidential and personal data is encrypted",
        "POL-05",
        "critical",
        lambda a: _rank(a) >= 2 or bool(a["is_personal"]),
        lambda a, s: bool(a["is_encrypted"]),
        "Encrypt it where it is stored.",
    ),
    Check(
        "SEC-2",
        "Access to confidential and personal data was reviewed",
        "POL-05",
        "high",
        lambda a: _rank(a) >= 2 or bool(a["is_personal"]),
        lambda a, s: bool(a["is_access_reviewed"]),
        "Go through who has access, and take back what nobody needs.",
    ),
    Check(
        "RET-1",
        "A time for keeping is set",
        "POL-04",
        "high",
        lambda a: a["classification"] != "public",
        lambda a, s: a["retention_months"] > 0,
        "Set it from the schedule.",
    ),
    Check(
        "RET-2",
        "Personal data is not kept longer than the policy allows",
        "POL-04",
        "high",
        lambda a: bool(a["is_personal"]) and a["retention_months"] > 0,
        lambda a, s: a["retention_months"] <= s["personal_months_max"],
        "Shorten it, or write down the law that asks for longer.",
    ),
    Check(
        "DQ-1",
        "Its quality is checked",
        "POL-03",
        "medium",
        _always,
        lambda a, s: bool(a["is_quality_checked"]),
        "Set rules and check them.",
    ),
    Check(
        "MD-1",
        "It is described",
        "POL-06",
        "low",
        _always,
        lambda a, s: bool(a["is_described"]),
        "Describe it in the catalogue.",
    ),
    Check(
        "BCK-1",
        "It is backed up",
        "POL-08",
        "medium",
        lambda a: a["classification"] != "public",
        lambda a, s: bool(a["is_backed_up"]),
        "Back it up and restore it as a test.",
    ),
)
