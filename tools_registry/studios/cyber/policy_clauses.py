"""The clauses that security policies are made of: when each belongs in, what it says, and the controls that it meets.

Control ids are those of NIST CSF 2.0 and of the low baseline of NIST SP 800-53 Revision 5. What a law or standard asks
stands with its article. Words in braces are answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Answers = Mapping[str, Any]
POLICIES = {
    "access_control": ("Access control", "who may reach what, and how that ends"),
    "acceptable_use": ("Acceptable use", "how people use devices, accounts and information"),
    "authentication": ("Passwords and authentication", "how people prove who they are"),
    "incident_response": ("Incident response", "what happens when something goes wrong"),
    "backup": ("Backup and recovery", "what is copied, how often, and how it comes back"),
    "data_classification": ("Data classification", "how sensitive information is, and how it is treated"),
    "vendor": ("Suppliers", "what is asked of those who work for us or hold our information"),
    "secure_development": ("Secure development", "how software is built so that it withstands attack"),
    "remote_work": ("Remote work", "how work away from the office is kept safe"),
    "change_management": ("Change management", "how systems are changed without surprise"),
}


@dataclass(frozen=True, slots=True)
class Clause:
    policy: str
    title: str
    text: str
    csf: tuple[str, ...]
    nist: tuple[str, ...]
    applies: Callable[[Answers], bool]


def _always(_: Answers) -> bool:
    return True


def _law(name: str) -> Callable[[Answers], bool]:
    return lambda answers: name in answers["regulations"]


def _any_law(*names: str) -> Callable[[Answers], bool]:
    return lambda answers: any(name in answers["regulations"] for name in names)


def _holds(*kinds: str) -> Callable[[Answers], bool]:
    return lambda answers: any(kind in answers["data"] for kind in kinds)


def _is(name: str, *values: Any) -> Callable[[Answers], bool]:
    return lambda answers: answers[name] in values


def _clauses(policy: str, *rows: tuple[str, str, str, str, Callable[[Answers], bool]]) -> tuple[Clause, ...]:
    return tuple(
        Clause(policy, title, text, tuple(csf.split()), tuple(nist.split()), applies)
        for title, text, csf, nist, applies in rows
    )


CLAUSES = (
    *_clauses(
        "access_control",
        (
            "Named accounts",
            "Each person has an account of their own. Shared accounts are allowed only where a system offers nothing "
            "else; "
            "{owner} keeps a list of them with the people who know their secret.",
            "PR.AA-01",
            "AC-2 IA-2 IA-4",
            _always,
        ),
        (
            "Least access",
            "People get the access that their work needs and no more. A manager asks for it, the owner of the system "
            "grants it, and both are recorded.",
            "PR.AA-05",
            "AC-2 AC-3",
            _always,
        ),
        (
            "Duties kept apart",
            "Nobody both asks for and grants the same access, and nobody approves a payment or a release of their own.",
            "PR.AA-05",
            "AC-3 CM-5",
            _is("size", "medium", "large"),
        ),
        (
            "Duties in a small team",
            "Where one person must both ask for and grant access, {approver} looks through the record of it each "
            "month.",
            "PR.AA-05",
            "AC-3 AU-6",
            _is("size", "micro", "small"),
        ),
        (
            "Joining, moving, leaving",
            "Access is given on the first day, changed on the day of a new duty, and ended within {leaver_hours} "
            "hours of "
            "the end of employment. Devices and keys come back on the last day.",
            "PR.AA-01 GV.RR-04",
            "AC-2 PS-4 PS-5",
            _always,
        ),
        (
            "Review of access",
            "Every {access_review_months} months the owner of each system confirms or ends each access to it; the "
            "result "
            "is kept for two years.",
            "PR.AA-05",
            "AC-2 AU-11",
            _always,
        ),
        (
            "Privileged access",
            "Administrators work with a second account that they use for nothing else, without mail or browsing. "
            "What they "
            "do is logged where they cannot change it.",
            "PR.AA-05 PR.PS-04",
            "AC-2 AU-9 AU-12",
            _always,
        ),
        (
            "Cloud consoles",
            "The root account of each cloud provider is locked away, has a hardware key, and is used only when nothing "
            "else helps. Roles with short-lived credentials do the daily work.",
            "PR.AA-01 PR.AA-05",
            "AC-2 IA-2(1) IA-5",
            _is("cloud", "some", "all"),
        ),
        (
            "Access to payment data",
            "Access to the cardholder data environment is by role, denied unless granted, and reviewed at least "
            "every six "
            "months (PCI DSS 4.0.1, 7.2).",
            "PR.AA-05",
            "AC-2 AC-3",
            _law("pci_dss"),
        ),
        (
            "Access to health records",
            "Access to health records is limited to the least that the purpose needs, save where a provider treats a "
            "patient (HIPAA, 45 CFR 164.502(b)), and each access leaves a record.",
            "PR.AA-05 PR.PS-04",
            "AC-3 AU-2 AU-12",
            _law("hipaa"),
        ),
        (
            "Doors",
            "Rooms with servers, network equipment or files are locked; visitors are registered and accompanied.",
            "PR.AA-06",
            "PE-2 PE-3 PE-8",
            _is("remote", "none", "some"),
        ),
    ),
    *_clauses(
        "acceptable_use",
        (
            "For work",
            "Devices and accounts of {organisation} are for work. Some private use is fine as long as it costs "
            "nothing, "
            "breaks no law and puts nothing at risk.",
            "GV.PO-01 PR.AT-01",
            "PL-4",
            _always,
        ),
        (
            "What is not allowed",
            "Nobody switches protection off, shares a password, connects unknown storage, copies information to "
            "private "
            "accounts, or uses what they reach for anything but their task.",
            "GV.PO-01",
            "PL-4 AC-20 MP-7",
            _always,
        ),
        (
            "Software",
            "Software comes from the list that {owner} keeps, or is asked for and looked at first. That holds for "
            "browser "
            "extensions and for services on the web too.",
            "PR.PS-05 ID.AM-02",
            "CM-10 CM-11",
            _always,
        ),
        (
            "Artificial intelligence",
            "Internal or more sensitive information goes into no chat bot or model that {owner} has not approved for "
            "it.",
            "GV.PO-01",
            "AC-20 PL-4(1)",
            _always,
        ),
        (
            "Own devices",
            "A device of one’s own is used for work only once it is registered, has a current system, a lock after "
            "five "
            "minutes and encryption, and lets {organisation} delete its own information from it.",
            "PR.PS-01 ID.AM-01",
            "AC-19 AC-20",
            _is("byod", True),
        ),
        (
            "No own devices",
            "Work is done on devices of {organisation} alone.",
            "PR.PS-01 ID.AM-01",
            "AC-19 AC-20",
            _is("byod", False),
        ),
        (
            "Personal data",
            "Personal data is looked at for a purpose of {organisation} only, and never out of curiosity.",
            "PR.DS-01 GV.OC-03",
            "PL-4",
            _holds("personal", "special", "children"),
        ),
        (
            "Training",
            "Everybody is trained within a month of joining and every year after, with phishing tests in between; who "
            "falls for one is helped, not punished.",
            "PR.AT-01",
            "AT-2 AT-4",
            _always,
        ),
        (
            "Reporting",
            "Whoever notices something odd, or did something by mistake, tells {contact} at once. Who reports in good "
            "faith has nothing to fear.",
            "DE.AE-06 RS.CO-02",
            "IR-6 AT-2(2)",
            _always,
        ),
        (
            "Consequences",
            "Breaking this policy knowingly can have consequences under the law of employment.",
            "GV.RR-04",
            "PS-8",
            _always,
        ),
    ),
    *_clauses(
        "authentication",
        (
            "Length before complexity",
            "A password has at least {password_length} characters. No kinds of characters are prescribed; passwords "
            "known "
            "from leaks are refused (NIST SP 800-63B).",
            "PR.AA-01 PR.AA-03",
            "IA-5 IA-5(1)",
            _always,
        ),
        (
            "No change without cause",
            "A password is changed when there is a sign that somebody else knows it, not by the calendar.",
            "PR.AA-01",
            "IA-5(1)",
            lambda answers: answers["rotation_days"] == 0,
        ),
        (
            "Change by the calendar",
            "A password is changed at the latest after {rotation_days} days, and at once when somebody else may know "
            "it.",
            "PR.AA-01",
            "IA-5(1)",
            lambda answers: answers["rotation_days"] > 0,
        ),
        (
            "Two factors for all",
            "Everybody signs in with a second factor, to everything that offers one. Passkeys and hardware keys come "
            "before apps, apps before text messages.",
            "PR.AA-03",
            "IA-2(1) IA-2(2) IA-2(8)",
            _is("mfa", "all"),
        ),
        (
            "Two factors for the powerful",
            "Administrators, finance and everybody from outside the office sign in with a second factor.",
            "PR.AA-03",
            "IA-2(1)",
            _is("mfa", "privileged"),
        ),
        (
            "Two factors for payment data",
            "Everybody who enters the cardholder data environment has a second factor (PCI DSS 4.0.1, 8.4.2).",
            "PR.AA-03",
            "IA-2(1) IA-2(2)",
            _law("pci_dss"),
        ),
        (
            "Password manager",
            "{organisation} provides a password manager. Passwords are made by it, and used once.",
            "PR.AA-01",
            "IA-5",
            _always,
        ),
        (
            "Failed attempts",
            "After ten failed attempts an account slows down or locks, and {contact} sees it.",
            "PR.AA-03 DE.CM-03",
            "AC-7 SI-4",
            _always,
        ),
        (
            "Secrets of machines",
            "Keys and tokens of programs live in a vault, never in source code or chat, and are replaced when "
            "somebody who "
            "knew them leaves.",
            "PR.AA-01",
            "IA-5 SC-12",
            _is("develops", True),
        ),
    ),
    *_clauses(
        "incident_response",
        (
            "What an incident is",
            "An incident is anything that harms, or may harm, the confidentiality, integrity or availability of "
            "information of {organisation}: a lost laptop as much as an intruder.",
            "RS.MA-03 DE.AE-08",
            "IR-4 IR-8",
            _always,
        ),
        (
            "Who leads",
            "{owner} leads the response, and may switch off any system to contain it. {approver} decides what is "
            "paid and "
            "what the public hears.",
            "RS.MA-01 GV.RR-02",
            "IR-4 IR-8",
            _always,
        ),
        (
            "Telling us",
            "Everybody tells {contact} at once, at the latest within {report_hours} hours of noticing.",
            "RS.CO-02 RS.MA-02",
            "IR-6",
            _always,
        ),
        (
            "Levels",
            "Each incident gets one of three levels within an hour of being reported: minor, serious, critical. A "
            "critical "
            "one wakes {owner} at any hour.",
            "RS.MA-03 RS.MA-04",
            "IR-4 IR-5",
            _always,
        ),
        (
            "Contain, remove, recover",
            "First the harm is stopped, then its cause removed, then service restored from what is known to be clean.",
            "RS.MI-01 RS.MI-02 RC.RP-01",
            "IR-4 CP-10",
            _always,
        ),
        (
            "Evidence",
            "Logs and images are copied before anything is wiped; who touched them is written down.",
            "RS.AN-06 RS.AN-07",
            "IR-4 AU-11",
            _always,
        ),
        (
            "The supervisory authority",
            "A breach of personal data that may harm people is told to the supervisory authority within 72 hours of "
            "our "
            "knowing (GDPR Article 33), and to the people themselves where the risk is high (Article 34). {privacy} "
            "decides "
            "and writes it down either way.",
            "RS.CO-02 RS.CO-03 GV.OC-03",
            "IR-6",
            _any_law("gdpr", "uk_gdpr"),
        ),
        (
            "Health information",
            "People whose unsecured health information was breached are told without unreasonable delay and within "
            "60 days, "
            "and the Department of Health and Human Services with them where it is 500 or more, else after the end "
            "of the "
            "year (HIPAA, 45 CFR 164.404 and 164.408).",
            "RS.CO-02 RS.CO-03 GV.OC-03",
            "IR-6",
            _law("hipaa"),
        ),
        (
            "Significant incidents",
            "A significant incident is announced to the CSIRT or authority within 24 hours, reported within 72 "
            "hours, and "
            "closed with a final report within a month (NIS 2, Article 23).",
            "RS.CO-02 RS.CO-03 GV.OC-03",
            "IR-6",
            _law("nis2"),
        ),
        (
            "Card brands",
            "A suspected loss of card data is told at once to the acquirer and the card brands; the plan is tested "
            "every "
            "year (PCI DSS 4.0.1, 12.10).",
            "RS.CO-02 RS.CO-03",
            "IR-6 IR-8",
            _law("pci_dss"),
        ),
        (
            "California",
            "Residents of California whose data was taken are told as California Civil Code 1798.82 asks.",
            "RS.CO-02 GV.OC-03",
            "IR-6",
            _law("ccpa"),
        ),
        (
            "Exercises",
            "The plan is exercised at a table every {exercise_months} months, with those who would really be called.",
            "ID.IM-02 PR.AT-02",
            "IR-2 IR-8",
            _always,
        ),
        (
            "Afterwards",
            "Within two weeks of each serious incident those involved write down what happened and what will change, "
            "without blame.",
            "ID.IM-03 RS.AN-03",
            "IR-4 IR-5",
            _always,
        ),
    ),
    *_clauses(
        "backup",
        (
            "What is copied",
            "Everything that {organisation} could not make again in a day is backed up: databases, files, "
            "configurations, "
            "keys, and what is kept at services on the web.",
            "PR.DS-11",
            "CP-9",
            _always,
        ),
        (
            "How often",
            "No more than {rpo_hours} hours of work may be lost; backups run at least that often.",
            "PR.DS-11 RC.RP-02",
            "CP-9 CP-2",
            _always,
        ),
        (
            "How soon",
            "What matters most runs again within {rto_hours} hours; the plan says in which order.",
            "RC.RP-01 RC.RP-02",
            "CP-2 CP-10",
            _always,
        ),
        (
            "Three, two, one",
            "There are three copies, on two kinds of storage, one of them elsewhere and out of reach of whoever "
            "takes over "
            "an administrator’s account.",
            "PR.DS-11 PR.IR-03",
            "CP-9",
            _always,
        ),
        (
            "Another account",
            "Backups of cloud services lie in another account or with another provider, and cannot be deleted before "
            "their time.",
            "PR.DS-11",
            "CP-9 AC-20",
            _is("cloud", "some", "all"),
        ),
        (
            "Sealed",
            "Backups are encrypted, with keys that are kept apart from them.",
            "PR.DS-01 PR.DS-11",
            "SC-12 SC-13",
            _holds("personal", "special", "payment", "children", "secrets"),
        ),
        (
            "Restoring is the test",
            "Every {restore_months} months something whole is restored and looked at; its time is held against the "
            "{rto_hours} hours.",
            "PR.DS-11 RC.RP-03 RC.RP-05",
            "CP-4 CP-9 CP-10",
            _always,
        ),
        (
            "Kept and deleted",
            "Backups are kept for {retention_months} months. What had to be deleted is deleted again after each "
            "restore.",
            "ID.AM-08 PR.DS-11",
            "CP-9 SI-12",
            _always,
        ),
        (
            "Contingency under HIPAA",
            "The plan for backups, recovery and emergency operation is written down and revised (45 CFR "
            "164.308(a)(7)).",
            "RC.RP-01 GV.OC-03",
            "CP-1 CP-2",
            _law("hipaa"),
        ),
    ),
    *_clauses(
        "data_classification",
        (
            "Three classes",
            "Information is public, internal, or confidential. What nobody has classed is internal.",
            "ID.AM-05 ID.AM-07",
            "RA-2",
            _always,
        ),
        (
            "A fourth class",
            "Health, biometric and the like, and data of children, is restricted: named people only, encrypted, each "
            "access logged.",
            "ID.AM-05 PR.DS-01",
            "RA-2 AC-3 AU-2",
            _holds("special", "children"),
        ),
        (
            "Owners",
            "Each collection of information has an owner who classes it, knows where it lies, and decides who sees it.",
            "ID.AM-07 GV.RR-02",
            "RA-2 CM-8",
            _always,
        ),
        (
            "Encryption",
            "Confidential information is encrypted wherever it lies, and on its way with TLS 1.2 or later.",
            "PR.DS-01 PR.DS-02",
            "SC-12 SC-13",
            _always,
        ),
        (
            "Card numbers",
            "Card numbers are stored only where a business need is written down, never with the security code, and "
            "shown "
            "masked (PCI DSS 4.0.1, requirement 3).",
            "PR.DS-01 GV.OC-03",
            "SC-13 SI-12",
            _law("pci_dss"),
        ),
        (
            "Why we hold it",
            "{privacy} keeps the record of what personal data is held, why, on what ground and for how long (GDPR "
            "Article 30).",
            "ID.AM-07 GV.OC-03",
            "SI-12",
            _any_law("gdpr", "uk_gdpr"),
        ),
        (
            "Requests of consumers",
            "{privacy} answers requests to know, delete and correct within 45 days (CCPA, Civil Code 1798.130).",
            "GV.OC-03",
            "SI-12",
            _law("ccpa"),
        ),
        (
            "Retention",
            "What is no longer needed is deleted after {retention_months} months at the latest, unless a law asks for "
            "longer; the owner writes down which.",
            "ID.AM-08",
            "SI-12 MP-6",
            _always,
        ),
        (
            "Media",
            "Disks and paper are wiped or shredded before they leave, and that is recorded.",
            "ID.AM-08",
            "MP-6 SR-12",
            _always,
        ),
        (
            "Business secrets",
            "Trade secrets are shared only under an agreement of confidentiality.",
            "PR.DS-01 GV.SC-05",
            "PS-6",
            _holds("secrets"),
        ),
    ),
    *_clauses(
        "vendor",
        (
            "A list of suppliers",
            "{owner} keeps a list of suppliers with what they reach, ranked by what their failure would cost.",
            "GV.SC-04 ID.AM-04",
            "SR-2 SA-9",
            _always,
        ),
        (
            "Before we sign",
            "A supplier who will hold confidential information or run something critical is looked at first: "
            "certificates, "
            "audit reports, past breaches, where it is done.",
            "GV.SC-06 ID.RA-10",
            "RA-3(1) SR-5",
            _always,
        ),
        (
            "In the contract",
            "Contracts say what is protected and how, who is told of a breach within {supplier_hours} hours, that we "
            "may "
            "ask for proof, and that our information comes back or is deleted at the end.",
            "GV.SC-05 GV.SC-10",
            "SA-4 SR-8",
            _always,
        ),
        (
            "Processors",
            "Who handles personal data for us signs the terms of GDPR Article 28; transfers out of the area rest on "
            "Chapter V.",
            "GV.SC-05 GV.OC-03",
            "SA-9",
            _any_law("gdpr", "uk_gdpr"),
        ),
        (
            "Business associates",
            "Who handles health information for us signs a business associate agreement (45 CFR 164.504(e)).",
            "GV.SC-05 GV.OC-03",
            "SA-9",
            _law("hipaa"),
        ),
        (
            "Cloud",
            "For each cloud service it is written down what the provider secures and what is left to us.",
            "GV.SC-02 GV.SC-07",
            "SA-9 AC-20",
            _is("cloud", "some", "all"),
        ),
        (
            "Each year",
            "Critical suppliers are looked at again every {supplier_months} months, and after each breach of theirs.",
            "GV.SC-07 GV.SC-09",
            "SR-2 CA-7",
            _always,
        ),
        (
            "The end",
            "When a supplier leaves, its accounts end the same day and the deletion of our information is confirmed in "
            "writing.",
            "GV.SC-10",
            "PS-7 SR-12",
            _always,
        ),
    ),
    *_clauses(
        "secure_development",
        (
            "Thought of first",
            "Each new system, and each large change, has a short threat model before it is built.",
            "ID.RA-04 PR.PS-06",
            "SA-3 SA-8",
            _always,
        ),
        (
            "Four eyes",
            "Nothing reaches production that a second person has not read.",
            "PR.PS-06",
            "CM-5 SA-3",
            _is("size", "small", "medium", "large"),
        ),
        (
            "Two eyes and a night",
            "Where nobody else can read a change, tests and a scan pass first, and it rests for a night.",
            "PR.PS-06",
            "CM-4 SA-3",
            _is("size", "micro"),
        ),
        (
            "Dependencies",
            "Dependencies are pinned, scanned at each build, and upgraded within {critical_days} days when a critical "
            "weakness is known.",
            "ID.RA-01 PR.PS-02 ID.RA-09",
            "RA-5 SI-2 SR-3",
            _always,
        ),
        (
            "Secrets and scans",
            "Each change is scanned for secrets and for insecure code; what is found stops it.",
            "PR.PS-06 ID.RA-01",
            "RA-5 SA-3",
            _always,
        ),
        (
            "Apart",
            "Development, test and production are apart; no real personal data is used for tests.",
            "PR.IR-01 PR.DS-01",
            "SA-3 CM-4",
            _always,
        ),
        (
            "Tests from outside",
            "What faces the internet is tested by somebody independent every year.",
            "ID.IM-02 ID.RA-01",
            "CA-2 RA-5",
            lambda answers: (
                answers["size"] in ("medium", "large") or bool({"pci_dss", "nis2"} & set(answers["regulations"]))
            ),
        ),
        (
            "Reports from outside",
            "{contact} takes reports of weaknesses from anybody, answers within three days, and threatens nobody.",
            "ID.RA-08",
            "RA-5(11)",
            _always,
        ),
    ),
    *_clauses(
        "remote_work",
        (
            "Where",
            "Work away from the office is allowed where nobody can look on or listen in. Calls about confidential "
            "matters "
            "are made behind a door.",
            "PR.AA-06",
            "AC-17 PL-4",
            _always,
        ),
        (
            "The way in",
            "Systems of {organisation} are reached through a VPN or a gateway that checks person and device, with a "
            "second "
            "factor.",
            "PR.AA-03 PR.IR-01",
            "AC-17 IA-2(1) IA-2(2)",
            _is("mfa", "all", "privileged"),
        ),
        (
            "Devices away",
            "Disks are encrypted, the screen locks after five minutes, updates install by themselves, and the device "
            "can "
            "be wiped from afar.",
            "PR.DS-01 PR.PS-02",
            "AC-19 SI-2",
            _always,
        ),
        (
            "The home network",
            "The router at home has a password of its own and current software; public wireless is used only through "
            "the "
            "VPN.",
            "PR.IR-01",
            "AC-17 AC-18",
            _always,
        ),
        (
            "Paper",
            "Nothing confidential is printed at home; what must be is shredded there or brought back.",
            "ID.AM-08",
            "MP-6",
            _holds("personal", "special", "payment", "children", "secrets"),
        ),
        (
            "Lost",
            "A lost device is reported to {contact} within {report_hours} hours; it is wiped, and its accounts are "
            "signed "
            "out.",
            "RS.MA-02 RS.MI-01",
            "IR-6 AC-19",
            _always,
        ),
        (
            "No office at all",
            "Since everybody works from elsewhere, new people get their device set up by {owner} and prove who they "
            "are in "
            "a video call before their first access.",
            "PR.AA-02",
            "IA-5 PS-3",
            _is("remote", "all"),
        ),
    ),
    *_clauses(
        "change_management",
        (
            "Every change has a record",
            "A change says what, why, the risk, how it is tested and how it is undone.",
            "ID.RA-07 PR.PS-01",
            "CM-4 CM-5",
            _always,
        ),
        (
            "Who says yes",
            "Ordinary changes are approved by the owner of the system; risky ones by {approver} as well.",
            "ID.RA-07",
            "CM-5",
            _is("size", "medium", "large"),
        ),
        (
            "Who says yes in a small team",
            "Ordinary changes need no approval but a record; risky ones are approved by {approver}.",
            "ID.RA-07",
            "CM-5",
            _is("size", "micro", "small"),
        ),
        (
            "Emergencies",
            "In an emergency the change comes first and its record within a day.",
            "ID.RA-07 RS.MI-01",
            "CM-5 IR-4",
            _always,
        ),
        (
            "Known good",
            "Each kind of system has a written configuration that new ones start from; what differs is found and "
            "explained.",
            "PR.PS-01",
            "CM-2 CM-6 CM-7",
            _always,
        ),
        (
            "Patches",
            "Critical weaknesses are mended within {critical_days} days, high ones within {high_days}.",
            "PR.PS-02 RS.MI-02",
            "SI-2 RA-5 RA-7",
            _always,
        ),
        (
            "Infrastructure as text",
            "Cloud resources are changed through files under version control, not by hand.",
            "PR.PS-01",
            "CM-2 CM-5",
            _is("cloud", "all"),
        ),
        (
            "Old things",
            "What its maker no longer supports is replaced, or cut off from the rest with a date by which it goes.",
            "PR.PS-02 PR.PS-03",
            "SA-22",
            _always,
        ),
    ),
)
