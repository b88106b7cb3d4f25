"""The frameworks that controls are held against, and the themes that they share.

The files beside this one have NIST's catalogues as published (public domain), and for ISO/IEC 27001 the numbers of
Annex A with lines of this house's own. The cross-walk through the themes is this house's own reading: NIST publishes
informative references that are finer, and ISO's text decides what its controls ask.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "frameworks"
FRAMEWORKS = {
    "nist_csf_2_0": "NIST Cybersecurity Framework 2.0",
    "nist_800_53_low": "NIST SP 800-53 Rev. 5, low baseline",
    "iso_27001_annex_a": "ISO/IEC 27001:2022, Annex A",
}


@dataclass(frozen=True, slots=True)
class Control:
    id: str
    group: str
    title: str


@dataclass(frozen=True, slots=True)
class Framework:
    key: str
    name: str
    source: str
    groups: Mapping[str, str]
    controls: Mapping[str, Control]

    def find(self, written: str) -> Control | None:
        """The control that is meant by an id, however it is spelled."""
        return self.controls.get(_by_spelling(self.key).get(spelling(written), ""))


@cache
def framework(key: str) -> Framework:
    held = json.loads((FOLDER / f"{key}.json").read_text(encoding="utf-8"))
    controls = {number: Control(number, group, title) for number, group, title in held["controls"]}
    return Framework(key, held["name"], held["source"], dict(held["groups"]), controls)


def spelling(written: str) -> str:
    """What spellings of an id have in common: PR.AA-1 and pr.aa-01, AC-02 (1) and ac-2.1, A 5.1 and 5.1."""
    plain = re.sub(r"[\s_]+", "", written).upper()
    plain = re.sub(r"\((\d+)\)", r".\1", plain)
    plain = re.sub(r"^(?:ISO27001:?|ANNEX)?A?\.?(?=[5-8]\.\d)", "A.", plain)
    return re.sub(r"(?<!\d)0+(?=\d)", "", plain)


@cache
def _by_spelling(key: str) -> Mapping[str, str]:
    return {spelling(number): number for number in framework(key).controls}


@dataclass(frozen=True, slots=True)
class Theme:
    """What several controls are about, and the words by which a statement shows that it is about it."""

    name: str
    words: re.Pattern[str]
    ids: Mapping[str, Sequence[str]]


def _theme(name: str, words: str, csf: str, nist: str, iso: str) -> Theme:
    found = re.compile(rf"\b(?:{words})\b", re.I)
    numbers = {"nist_csf_2_0": csf, "nist_800_53_low": nist, "iso_27001_annex_a": iso}
    return Theme(name, found, {key: tuple(said.split()) for key, said in numbers.items()})


THEMES = (
    _theme(
        "Policy",
        r"polic(?:y|ies)|security handbook",
        "GV.PO-01 GV.PO-02",
        "PL-1 AC-1",
        "A.5.1",
    ),
    _theme(
        "Roles",
        r"roles?|responsibilit(?:y|ies)|ciso|security officer|accountable",
        "GV.RR-02 GV.RR-01",
        "PS-9 PS-2",
        "A.5.2 A.5.4",
    ),
    _theme(
        "Risk assessment",
        r"risk (?:assessment|register|analysis)s?|risks? (?:is|are)",
        "ID.RA-05 ID.RA-04 ID.RA-06",
        "RA-3 RA-7",
        "A.5.8",
    ),
    _theme(
        "Law and contracts", r"gdpr|legal|regulat(?:ion|ory)|compliance|contractual", "GV.OC-03", "", "A.5.31 A.5.34"
    ),
    _theme(
        "Suppliers",
        r"suppliers?|vendors?|third part(?:y|ies)|subcontractors?|due diligence",
        "GV.SC-05 GV.SC-06 GV.SC-07",
        "SA-9 SR-2 SR-3 SR-5",
        "A.5.19 A.5.20 A.5.22",
    ),
    _theme("Cloud", r"cloud|saas|aws|azure|gcp", "GV.SC-07 ID.AM-04", "SA-9 AC-20", "A.5.23"),
    _theme(
        "Asset inventory",
        r"inventor(?:y|ies)|asset (?:list|register)s?|cmdb|assets",
        "ID.AM-01 ID.AM-02",
        "CM-8",
        "A.5.9",
    ),
    _theme(
        "Classification",
        r"classif(?:y|ied|ication)|labell?(?:ed|ing)|confidential",
        "ID.AM-05 ID.AM-07",
        "RA-2",
        "A.5.12 A.5.13",
    ),
    _theme(
        "Accounts",
        r"accounts?|joiners?|leavers?|onboarding|offboarding|provisioning|deprovision(?:ed|ing)?",
        "PR.AA-01 PR.AA-05",
        "AC-2 IA-4 PS-4",
        "A.5.16 A.5.18",
    ),
    _theme(
        "Multi-factor authentication",
        r"mfa|2fa|multi-?factor|two-?factor|passkeys?|fido2?|webauthn|security keys?",
        "PR.AA-03",
        "IA-2(1) IA-2(2)",
        "A.8.5",
    ),
    _theme(
        "Passwords",
        r"passwords?|credentials?|passphrases?|password manager",
        "PR.AA-01 PR.AA-03",
        "IA-5 IA-5(1)",
        "A.5.17",
    ),
    _theme(
        "Least privilege",
        r"least privilege|rbac|role-?based|access reviews?|permissions?|privileged|entitlements?",
        "PR.AA-05",
        "AC-2 AC-3",
        "A.5.15 A.5.18 A.8.2 A.8.3",
    ),
    _theme(
        "Physical access",
        r"badges?|locked|doors?|cctv|visitors?|premises|physical",
        "PR.AA-06 DE.CM-02",
        "PE-2 PE-3 PE-6",
        "A.7.1 A.7.2 A.7.4",
    ),
    _theme(
        "Awareness",
        r"awareness|train(?:ed|ing)|phishing (?:tests?|simulations?)|e-?learning",
        "PR.AT-01 PR.AT-02",
        "AT-2 AT-3",
        "A.6.3",
    ),
    _theme("Screening", r"screen(?:ed|ing)|background checks?|vetting", "GV.RR-04", "PS-3", "A.6.1"),
    _theme(
        "Encryption at rest",
        r"encrypt(?:ed|ion) at rest|disk encryption|encrypted (?:disks?|databases?|laptops?)|bitlocker|filevault",
        "PR.DS-01",
        "SC-13 SC-12",
        "A.8.24",
    ),
    _theme(
        "Encryption in transit",
        r"tls|https|encrypt(?:ed|ion) in transit|vpn",
        "PR.DS-02",
        "SC-13 AC-17",
        "A.8.24 A.5.14",
    ),
    _theme("Keys", r"key management|kms|hsm|cryptographic keys?|certificates?", "PR.DS-01", "SC-12", "A.8.24"),
    _theme(
        "Backup",
        r"back(?:ed)? ?ups?|restores?|restored|snapshots?",
        "PR.DS-11 RC.RP-03",
        "CP-9 CP-10",
        "A.8.13",
    ),
    _theme(
        "Patching",
        r"patch(?:es|ed|ing)?|software updates?|security updates?",
        "PR.PS-02 ID.RA-01",
        "SI-2 SA-22",
        "A.8.8",
    ),
    _theme(
        "Vulnerabilities",
        r"vulnerabilit(?:y|ies)|penetration tests?|pentests?|bug bounty|scanner",
        "ID.RA-01 ID.RA-08 RS.MI-02",
        "RA-5 RA-5(11) CA-2",
        "A.8.8",
    ),
    _theme(
        "Configuration",
        r"harden(?:ed|ing)|baselines?|configuration|cis benchmarks?|golden images?",
        "PR.PS-01",
        "CM-2 CM-6 CM-7",
        "A.8.9",
    ),
    _theme(
        "Change",
        r"change (?:management|control|advisory|requests?)|changes are",
        "ID.RA-07 PR.PS-01",
        "CM-4 CM-5",
        "A.8.32",
    ),
    _theme(
        "Malware",
        r"antivirus|anti-?malware|edr|xdr|malware|endpoint protection",
        "DE.CM-09 PR.PS-05",
        "SI-3",
        "A.8.7",
    ),
    _theme("Logging", r"logs?|logging|audit trails?", "PR.PS-04", "AU-2 AU-3 AU-12 AU-11", "A.8.15"),
    _theme(
        "Monitoring",
        r"monitor(?:ed|ing)?|siem|soc|alerts?|detection|intrusion",
        "DE.CM-01 DE.CM-09 DE.AE-02",
        "SI-4 AU-6 CA-7",
        "A.8.16",
    ),
    _theme(
        "Network protection",
        r"firewalls?|network segment(?:s|ed|ation)?|segmentation|waf|dmz|vlans?|zero trust",
        "PR.IR-01",
        "SC-7",
        "A.8.20 A.8.22",
    ),
    _theme(
        "Secure development",
        r"code reviews?|secure (?:development|coding)|sdlc|static analysis|sast|dast|ci pipeline|dependency scanning",
        "PR.PS-06",
        "SA-3 SA-8",
        "A.8.25 A.8.28 A.8.29",
    ),
    _theme(
        "Incident response",
        r"incidents?|playbooks?|tabletop|on-?call",
        "RS.MA-01 RS.MA-02 ID.IM-04",
        "IR-4 IR-8 IR-6",
        "A.5.24 A.5.26",
    ),
    _theme(
        "Forensics",
        r"forensics?|root cause|post-?mortems?|lessons learned",
        "RS.AN-03 ID.IM-03",
        "IR-4 IR-5",
        "A.5.27 A.5.28",
    ),
    _theme(
        "Telling others",
        r"notif(?:y|ied|ication)s?|breach report(?:s|ing)?|72 hours",
        "RS.CO-02 RS.CO-03",
        "IR-6",
        "A.5.5 A.5.26",
    ),
    _theme(
        "Recovery and continuity",
        r"disaster recovery|business continuity|bcp|rto|rpo|failover|recovery plans?",
        "RC.RP-01 RC.RP-02 PR.IR-03",
        "CP-2 CP-4 CP-10",
        "A.5.29 A.5.30",
    ),
    _theme(
        "Disposal",
        r"dispos(?:al|ed)|wip(?:ed|ing)|sanitiz(?:ed|ation)|shredd(?:ed|ing)|retention",
        "ID.AM-08",
        "MP-6 SR-12 SI-12",
        "A.7.14 A.8.10",
    ),
    _theme("Devices", r"laptops?|mobile devices?|mdm|byod|smartphones?", "ID.AM-01 PR.PS-01", "AC-19 CM-8", "A.8.1"),
    _theme(
        "Remote work",
        r"remote (?:work(?:ing|ers?)?|access)|home office|telework",
        "PR.AA-05 PR.IR-01",
        "AC-17",
        "A.6.7",
    ),
    _theme("Threat intelligence", r"threat (?:intelligence|intel|feeds?)|isac", "ID.RA-02 ID.RA-03", "SI-5", "A.5.7"),
    _theme(
        "Capacity", r"capacity|availability|redundan(?:t|cy)|load balanc(?:er|ing)", "PR.IR-04", "SC-5", "A.8.6 A.8.14"
    ),
    _theme(
        "Review and audit",
        r"audits?|management reviews?|internal audit|kpis?",
        "GV.OV-03 ID.IM-01",
        "CA-2 CA-5",
        "A.5.35 A.5.36",
    ),
)


@cache
def related(key: str, number: str) -> Mapping[str, tuple[str, ...]]:
    """The controls of the other frameworks that share a theme with this one."""
    found: dict[str, list[str]] = {other: [] for other in FRAMEWORKS if other != key}
    for theme in THEMES:
        if number in theme.ids[key]:
            for other, ids in found.items():
                ids += [one for one in theme.ids[other] if one not in ids]
    return {other: tuple(ids) for other, ids in found.items()}
