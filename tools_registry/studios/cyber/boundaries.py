"""What a security architecture needs where a zone ends, where data is kept, and where people come in: rules with ids.

Each rule names the controls of NIST SP 800-53 Revision 5 that ask for it. Which rule applies to what, and how much it
weighs, is this tool's judgement; the controls themselves leave it to the organisation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tools_registry.studio import Severity

from .systems import INTERNET, PLAIN_PROTOCOLS, PROTOCOLS, SENSITIVE

KINDS = {
    "client": "Device of a user",
    "gateway": "Firewall, proxy or gateway",
    "web": "Web front",
    "service": "Service",
    "identity": "Sign-in",
    "admin": "Administration",
    "database": "Database",
    "storage": "Files and objects",
    "queue": "Queue",
    "third_party": "System of somebody else",
}
STORES = ("database", "storage", "queue")
LINKS = PROTOCOLS | {"rdp": "Remote desktop", "vpn": "VPN"}
REMOTE = ("ssh", "rdp", "telnet")
COMPONENT_CONTROLS = {
    "firewall": "Filters what reaches it",
    "waf": "Looks into web requests (WAF)",
    "input_checks": "Checks what comes in",
    "rate_limits": "Limits how often and how much",
    "access_control": "Checks who may do what",
    "mfa": "Asks for a second factor",
    "encryption_at_rest": "Encrypts what it keeps",
    "backup": "Backed up, restore tested",
    "logging": "Logs who did what",
    "monitoring": "Watched, with alarms",
    "patched": "Updated within days",
}
LINK_CONTROLS = {
    "encryption": "Encrypted",
    "authentication": "The receiver checks who calls",
    "filter": "Only what is named passes (firewall rule)",
    "inspection": "Contents are looked into",
    "rate_limits": "Limited",
    "logging": "Logged",
}
ENTRIES = {
    "page": "Public pages",
    "api": "API",
    "upload": "Upload",
    "mail": "Incoming mail",
    "partner": "Link of a partner",
    "vpn": "VPN",
    "remote": "Remote shell or desktop",
    "admin": "Administration",
}
ENTRY_WEIGHTS = {"page": 2, "mail": 2, "partner": 2, "vpn": 3, "api": 4, "upload": 4, "admin": 5, "remote": 5}
OPEN_TO = {"internet": "The internet", "partner": "Partners", "internal": "The own network"}
REACH = {"internet": 1.0, "partner": 0.7, "internal": 0.4}
AUTHENTICATION = {
    "none": "None",
    "password": "Password or key",
    "second_factor": "Second factor",
    "certificate": "Certificate",
}
OPENNESS = {"none": 1.0, "password": 0.7, "second_factor": 0.4, "certificate": 0.3}


@dataclass(frozen=True, slots=True)
class Component:
    number: int
    name: str
    kind: str
    zone: str
    trust: int
    sensitivity: int
    data: str
    instances: int
    controls: frozenset[str]

    @property
    def is_store(self) -> bool:
        return self.kind in STORES

    @property
    def is_sensitive_store(self) -> bool:
        return self.is_store and self.sensitivity >= SENSITIVE


@dataclass(frozen=True, slots=True)
class Connection:
    number: int
    source: Component
    target: Component
    protocol: str
    controls: frozenset[str]

    @property
    def crosses(self) -> bool:
        return self.source.zone != self.target.zone

    @property
    def goes_up(self) -> bool:
        return self.crosses and self.target.trust > self.source.trust

    @property
    def comes_from_outside(self) -> bool:
        return self.crosses and self.source.trust <= 1 and self.target.trust >= 2

    @property
    def barriers(self) -> int:
        """What somebody who holds the source must get past to hold the target: 0 to 4."""
        checked = bool({"access_control", "mfa"} & self.target.controls)
        return len({"authentication", "filter", "inspection"} & self.controls) + checked


@dataclass(frozen=True, slots=True)
class Entry:
    number: int
    component: Component
    kind: str
    open_to: str
    authentication: str


Of = TypeVar("Of")


@dataclass(frozen=True, slots=True)
class Rule(Generic[Of]):
    id: str
    severity: Severity
    applies: Callable[[Of], bool]
    is_met: Callable[[Of], bool]
    title: str
    fix: str
    controls: tuple[str, ...]


def _on(*names: str) -> Callable[[Connection], bool]:
    """Whether the connection, or what it reaches, has one of these."""
    return lambda one: bool(set(names) & (one.controls | one.target.controls))


LINK_RULES: tuple[Rule[Connection], ...] = (
    Rule(
        "AR-01",
        "critical",
        lambda one: one.goes_up and one.source.trust == INTERNET and one.target.trust >= 3,
        lambda one: one.target.kind == "gateway",
        "The internet reaches the inside directly",
        "Put a gateway or a front in an edge zone between them.",
        ("SC-7", "AC-4"),
    ),
    Rule(
        "AR-02",
        "critical",
        lambda one: one.comes_from_outside and one.protocol in REMOTE,
        lambda one: one.target.kind == "gateway",
        "Remote access comes in without a gateway",
        "Let it end at a VPN or a jump host that asks for a second factor.",
        ("AC-17", "SC-7"),
    ),
    Rule(
        "AR-03",
        "high",
        lambda one: one.crosses,
        lambda one: "encryption" in one.controls,
        "It crosses a boundary in plain text",
        "Encrypt it with TLS 1.2 or later, or a VPN.",
        ("SC-8", "SC-13"),
    ),
    Rule(
        "AR-04",
        "high",
        lambda one: one.goes_up and one.target.kind not in ("web", "gateway"),
        lambda one: "authentication" in one.controls,
        "A less trusted zone calls it without saying who calls",
        "Let the receiver check a token, an account of its own, or a certificate.",
        ("IA-9", "AC-3"),
    ),
    Rule(
        "AR-05",
        "high",
        lambda one: one.comes_from_outside,
        lambda one: "filter" in one.controls or one.target.kind == "gateway" or "firewall" in one.target.controls,
        "Nothing filters what comes in",
        "Deny all, allow the ports and senders that are needed.",
        ("SC-7", "SC-7(5)"),
    ),
    Rule(
        "AR-06",
        "high",
        lambda one: one.source.trust >= 3 and one.target.trust <= 1,
        lambda one: "filter" in one.controls or one.source.kind == "gateway",
        "The inside may send anything out",
        "Allow outgoing connections by name only, through a gateway.",
        ("SC-7(10)", "AC-4"),
    ),
    Rule(
        "AR-07",
        "medium",
        lambda one: one.crosses and one.source.trust == INTERNET,
        _on("rate_limits"),
        "Nothing limits how much the internet may ask",
        "Limit requests and sizes at the door.",
        ("SC-5",),
    ),
    Rule(
        "AR-08",
        "medium",
        lambda one: (
            one.crosses and one.source.trust == INTERNET and one.target.kind in ("web", "service", "identity", "admin")
        ),
        _on("inspection", "waf", "input_checks"),
        "Nothing looks into what the internet sends",
        "Check input, or put a WAF in front.",
        ("SI-10",),
    ),
    Rule(
        "AR-09",
        "medium",
        lambda one: one.goes_up,
        _on("logging"),
        "Nobody sees who came across",
        "Log at the boundary, or at what it reaches.",
        ("AU-2", "AU-12"),
    ),
    Rule(
        "AR-10",
        "medium",
        lambda one: one.protocol in PLAIN_PROTOCOLS and not one.crosses,
        lambda one: "encryption" in one.controls,
        "A protocol in plain text is used inside a zone",
        "Choose the sealed one.",
        ("SC-8", "CM-7"),
    ),
)
COMPONENT_RULES: tuple[Rule[Component], ...] = (
    Rule(
        "AR-20",
        "high",
        lambda one: one.is_sensitive_store,
        lambda one: "encryption_at_rest" in one.controls,
        "It keeps sensitive data in plain text",
        "Encrypt it, with keys kept elsewhere.",
        ("SC-28", "SC-12"),
    ),
    Rule(
        "AR-21",
        "high",
        lambda one: one.is_sensitive_store,
        lambda one: one.trust >= 3,
        "It keeps sensitive data where outsiders come in",
        "Move it behind a service into a zone that is trusted more.",
        ("SC-7", "SC-32"),
    ),
    Rule(
        "AR-22",
        "high",
        lambda one: one.is_sensitive_store,
        lambda one: "access_control" in one.controls,
        "Who reaches it reads everything",
        "Give each caller an account with only what it needs.",
        ("AC-3", "AC-6"),
    ),
    Rule(
        "AR-23",
        "high",
        lambda one: one.kind in ("admin", "identity"),
        lambda one: "mfa" in one.controls,
        "A password is enough for administration or sign-in",
        "Ask administrators for a second factor.",
        ("IA-2(1)",),
    ),
    Rule(
        "AR-24",
        "medium",
        lambda one: one.is_store,
        lambda one: "backup" in one.controls,
        "Nothing says that it is backed up",
        "Back it up where who broke in cannot reach it, and restore it as a test.",
        ("CP-9", "CP-10"),
    ),
    Rule(
        "AR-25",
        "medium",
        lambda one: one.is_sensitive_store,
        lambda one: "logging" in one.controls,
        "Nobody sees who read it",
        "Log access to it, and look at it.",
        ("AU-2", "AU-6"),
    ),
)
ENTRY_RULES: tuple[Rule[Entry], ...] = (
    Rule(
        "AR-30",
        "critical",
        lambda one: one.kind in ("admin", "remote") and one.open_to == "internet",
        lambda one: one.authentication in ("second_factor", "certificate"),
        "Administration is open to the internet behind a password",
        "Close it to the internet, or ask for a second factor.",
        ("AC-17", "IA-2(1)"),
    ),
    Rule(
        "AR-31",
        "high",
        lambda one: one.kind not in ("page", "mail"),
        lambda one: one.authentication != "none",
        "Nobody is asked who they are",
        "Ask for a proof of identity, or make it a public page that changes nothing.",
        ("IA-2", "IA-8"),
    ),
)
ZONE_RULE: Rule[Mapping[str, Any]] = Rule(
    "AR-40",
    "medium",
    lambda zone: zone["trust"] >= 2 and bool(zone["components"]),
    lambda zone: any("monitoring" in one.controls for one in zone["components"]),
    "Nothing watches this zone",
    "Watch at least its gateway or its most important component, with alarms that somebody reads.",
    ("SI-4", "AU-6"),
)
