"""STRIDE per element: which kinds of threat apply to what, and what each one is by the properties of the system.

Source of the table: Hernan, Lambert, Ostwald, Shostack, “Uncover Security Design Flaws Using The STRIDE Approach”, MSDN
Magazine, November 2006, and the Microsoft SDL blog, “The STRIDE per Element Chart”, 29 October 2007. A store can be
repudiated only where it keeps a log. For each category the first rule whose condition holds is the threat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from .systems import INTERNET, SENSITIVE

CATEGORIES = {
    "S": "Spoofing",
    "T": "Tampering",
    "R": "Repudiation",
    "I": "Information disclosure",
    "D": "Denial of service",
    "E": "Elevation of privilege",
}
APPLIES: Mapping[str, str] = {
    "actor": "SR",
    "external": "SR",
    "process": "STRIDE",
    "store": "TID",  # and R where it keeps a log
    "flow": "TID",
}
SAFEGUARDS = {
    "strong_authentication": "Second factor or certificate",
    "authorisation": "Checks who may do what",
    "input_checks": "Checks what comes in",
    "logging": "Logs who did what",
    "rate_limits": "Limits how often and how much",
    "least_privilege": "Runs with the least rights",
    "encrypted_at_rest": "Encrypted where it is kept",
    "integrity": "Changes are noticed (signatures, append-only)",
    "backup": "Backed up, restore tested",
}


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow with what the rules ask of it. Trust from 0, the internet, to 4."""

    number: int
    source: str
    target: str
    carries: str
    data: str  # its class in words
    protocol: str
    sensitivity: int
    is_authenticated: bool
    is_encrypted: bool
    zone: str
    zone_to: str
    trust: int
    trust_to: int
    target_kind: str
    target_safeguards: frozenset[str]
    is_credentials: bool

    @property
    def crosses(self) -> bool:
        return self.zone != self.zone_to

    @property
    def exposure(self) -> int:
        """2 where an end is the internet, 1 where it crosses a boundary, 0 inside a zone."""
        return 2 if INTERNET in (self.trust, self.trust_to) else int(self.crosses)

    @property
    def words(self) -> dict[str, str]:
        return {
            "from": self.source,
            "to": self.target,
            "carries": self.carries or self.data.lower(),
            "data": self.data,
            "protocol": self.protocol,
            "zone": self.zone,
            "zone_to": self.zone_to,
        }


@dataclass(frozen=True, slots=True)
class Element:
    """An element with what the rules ask of it."""

    number: int
    name: str
    kind: str
    zone: str
    trust: int
    safeguards: frozenset[str]
    keeps_logs: bool
    sensitivity: int
    data: str  # the most sensitive class that it sees, in words
    inbound: Sequence[Flow] = ()
    outbound: Sequence[Flow] = ()

    @property
    def exposure(self) -> int:
        """2 where the internet reaches it, 1 where a less trusted zone does, 0 otherwise."""
        if self.kind in ("actor", "external"):
            return max(0, 2 - self.trust)
        lowest = min([self.trust, *(flow.trust for flow in self.inbound)])
        return 2 if lowest == INTERNET else int(lowest < self.trust)

    @property
    def words(self) -> dict[str, str]:
        others = list(dict.fromkeys(flow.target for flow in self.outbound))
        callers = list(dict.fromkeys(flow.source for flow in self.inbound))
        return {
            "name": self.name,
            "zone": self.zone,
            "data": self.data.lower(),
            "targets": _listed(others) or "what it talks to",
            "callers": _listed(callers) or "what calls it",
        }


def _listed(names: Sequence[str]) -> str:
    said = list(names[:3])
    if len(names) > 3:
        said.append(f"{len(names) - 3} more")
    return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)


Of = TypeVar("Of")


@dataclass(frozen=True, slots=True)
class Rule(Generic[Of]):
    """A threat: when it is this one, in words, what it hangs on, and what answers it.

    `weakness`: 2 where nothing stands against it, 1 where something does in part, 0 where the safeguard is there.
    """

    id: str
    when: Callable[[Of], bool]
    weakness: int
    title: str
    text: str
    fix: str
    controls: tuple[str, ...]
    cwe: str = ""


def _always(_: object) -> bool:
    return True


def _without(safeguard: str) -> Callable[[Element], bool]:
    return lambda one: safeguard not in one.safeguards


FLOW_RULES: Mapping[str, tuple[Rule[Flow], ...]] = {
    "T": (
        Rule(
            "TF1",
            lambda one: not one.is_encrypted and one.crosses,
            2,
            "“{carries}” can be changed between {from} and {to}",
            "The flow leaves {zone} for {zone_to} over {protocol} without encryption: whoever is on the way can change "
            "it, and {to} cannot tell.",
            "Encrypt the flow with TLS, which also shows changes; sign what must be proved later.",
            ("SC-8", "SC-13"),
            "CWE-353",
        ),
        Rule(
            "TF2",
            lambda one: not one.is_encrypted,
            1,
            "Somebody inside {zone} can change “{carries}” on its way to {to}",
            "The flow stays in {zone} and is not encrypted: one machine taken over there is enough.",
            "Encrypt inside the zone too, or keep both ends on one machine.",
            ("SC-8", "SC-13"),
            "CWE-353",
        ),
        Rule(
            "TF3",
            lambda one: not one.is_authenticated,
            1,
            "{to} takes a forged “{carries}” for one of {from}",
            "The flow is encrypted, so nobody changes it on the way, but {to} does not check who sends it.",
            "Let {to} check a token, a signature or a client certificate of {from}.",
            ("IA-9", "SC-23"),
            "CWE-345",
        ),
        Rule(
            "TF4",
            _always,
            0,
            "A recorded “{carries}” is sent to {to} again",
            "The flow is encrypted and authenticated. What is left: a true message that is repeated or comes late.",
            "Give messages a number or a time, and let {to} refuse one that it has had.",
            ("SC-23", "SC-8"),
            "CWE-294",
        ),
    ),
    "I": (
        Rule(
            "IF1",
            lambda one: one.is_credentials and not one.is_encrypted,
            2,
            "Passwords or keys can be read between {from} and {to}",
            "“{carries}” goes over {protocol} in plain text. Who reads it once can act as its owner from then on.",
            "Encrypt the flow now, and change every password and key that went over it.",
            ("SC-8", "IA-5"),
            "CWE-522",
        ),
        Rule(
            "IF2",
            lambda one: not one.is_encrypted and one.crosses and one.sensitivity >= SENSITIVE,
            2,
            "{data} can be read in plain text between {zone} and {zone_to}",
            "“{carries}” leaves {from} for {to} over {protocol} without encryption. Reading along the way is enough "
            "for a breach that must be reported.",
            "Encrypt the flow with TLS 1.2 or later and refuse plain text.",
            ("SC-8", "SC-13"),
            "CWE-319",
        ),
        Rule(
            "IF3",
            lambda one: not one.is_encrypted and one.crosses,
            2,
            "“{carries}” can be read between {zone} and {zone_to}",
            "The flow from {from} to {to} crosses a boundary over {protocol} without encryption.",
            "Encrypt the flow with TLS 1.2 or later.",
            ("SC-8", "SC-13"),
            "CWE-319",
        ),
        Rule(
            "IF4",
            lambda one: not one.is_encrypted,
            1,
            "Who is inside {zone} can read “{carries}”",
            "The flow from {from} to {to} stays in {zone}, without encryption.",
            "Encrypt it, or narrow who can be on that network.",
            ("SC-8",),
            "CWE-319",
        ),
        Rule(
            "IF5",
            lambda one: not one.is_authenticated and one.crosses,
            1,
            "“{carries}” is encrypted, but perhaps for the wrong reader",
            "{from} and {to} encrypt, but do not prove to each other who they are: somebody between {zone} and "
            "{zone_to} can be the other end of both.",
            "Check the certificate of {to}, and let {from} prove itself.",
            ("IA-9", "SC-23"),
            "CWE-300",
        ),
        Rule(
            "IF6",
            _always,
            0,
            "A stolen key or an unchecked certificate opens “{carries}”",
            "The flow from {from} to {to} is encrypted: as safe as its keys and the checking of its certificates.",
            "Keep keys in a vault, renew certificates by machine, and never switch the checking off.",
            ("SC-12", "SC-17"),
            "CWE-295",
        ),
    ),
    "D": (
        Rule(
            "DF1",
            lambda one: (
                one.trust == INTERNET and one.target_kind == "process" and "rate_limits" not in one.target_safeguards
            ),
            2,
            "Anybody can flood {to} from {zone}",
            "{to} takes “{carries}” from the internet and does not limit how often or how much.",
            "Limit requests by sender and in all, limit sizes, and put a service against floods in front.",
            ("SC-5", "SC-7"),
            "CWE-770",
        ),
        Rule(
            "DF2",
            lambda one: one.crosses and one.trust != INTERNET,
            1,
            "The way from {from} to {to} breaks at the boundary",
            "“{carries}” crosses from {zone} to {zone_to}; a fault or a flood there cuts {from} off.",
            "Give it a time-out, a queue that keeps what is waiting, and an alarm.",
            ("SC-5",),
            "CWE-400",
        ),
        Rule(
            "DF3",
            _always,
            0,
            "{from} sends {to} more than it can take",
            "Limits stand against a flood, or the flow stays inside {zone}; a fault in {from} can still send too much.",
            "Keep a limit and a time-out on each side, and try them.",
            ("SC-5",),
            "CWE-400",
        ),
    ),
}

ELEMENT_RULES: Mapping[str, Mapping[str, tuple[Rule[Element], ...]]] = {
    "actor": {
        "S": (
            Rule(
                "SA1",
                lambda one: any(not flow.is_authenticated for flow in one.outbound),
                2,
                "Anybody can pose as {name}",
                "At least one flow from {name} to {targets} is not authenticated.",
                "Ask for a proof of identity on every flow that does more than read what is public.",
                ("IA-2", "IA-8"),
                "CWE-306",
            ),
            Rule(
                "SA2",
                _without("strong_authentication"),
                1,
                "A stolen password is enough to be {name}",
                "{name} proves itself to {targets} by something that can be stolen, guessed or asked for.",
                "Ask for a second factor, or a certificate where it is a program.",
                ("IA-2(2)", "AC-7"),
                "CWE-287",
            ),
            Rule(
                "SA3",
                _always,
                0,
                "A stolen session lets somebody be {name}",
                "{name} signs in with a second factor or a certificate. What is left is the session after it.",
                "Let sessions end, tie them to the device, and ask again before what cannot be undone.",
                ("SC-23", "IA-2"),
                "CWE-294",
            ),
        ),
        "R": (
            Rule(
                "RA1",
                lambda one: any(
                    flow.target_kind == "process" and "logging" not in flow.target_safeguards for flow in one.outbound
                ),
                2,
                "{name} can deny what was done",
                "Of what {name} does at {targets}, at least one keeps no log.",
                "Log who did what and when, where {name} cannot change it.",
                ("AU-2", "AU-10"),
                "CWE-778",
            ),
            Rule(
                "RA2",
                _always,
                0,
                "{name} says that somebody else did it",
                "What {name} does is logged. The log is worth what its clock and its protection are worth.",
                "Keep logs apart from those they tell about, with one clock.",
                ("AU-8", "AU-9"),
                "CWE-778",
            ),
        ),
    },
    "process": {
        "S": (
            Rule(
                "SP1",
                lambda one: any(flow.crosses and not flow.is_encrypted for flow in one.inbound),
                2,
                "A false {name} takes what is meant for the true one",
                "It is called across a boundary without TLS, by {callers}: nothing proves that it is {name}.",
                "Give {name} a certificate, and let everybody who calls it check it.",
                ("IA-9", "SC-17"),
                "CWE-290",
            ),
            Rule(
                "SP2",
                lambda one: any(not flow.is_encrypted for flow in one.inbound),
                1,
                "Another program inside {zone} answers as {name}",
                "It is called inside its zone, by {callers}, without a check that it is {name}.",
                "Give {name} a certificate, or a socket that only it can open.",
                ("IA-9",),
                "CWE-290",
            ),
            Rule(
                "SP3",
                _always,
                0,
                "A stolen key lets something else be {name}",
                "Who calls {name} can check that it is {name}, as long as its key stays its own.",
                "Keep its key where only it can read it, and change it regularly.",
                ("SC-12", "IA-9"),
                "CWE-522",
            ),
        ),
        "T": (
            Rule(
                "TP1",
                lambda one: "input_checks" not in one.safeguards and one.exposure > 0,
                2,
                "Input from {callers} makes {name} do something else",
                "{name} takes input from a less trusted zone and does not check it: injection, broken parsers, "
                "overlong values.",
                "Check kind, length and range of everything at the door; use parameters, never text put together.",
                ("SI-10", "SI-7"),
                "CWE-20",
            ),
            Rule(
                "TP2",
                _without("input_checks"),
                1,
                "{name} believes what its own zone sends",
                "No less trusted zone reaches {name}, but it does not check its input either.",
                "Check input inside the network too.",
                ("SI-10",),
                "CWE-20",
            ),
            Rule(
                "TP3",
                _always,
                0,
                "A changed program or setting makes {name} another one",
                "{name} checks what comes in. What is left are its own code and settings.",
                "Sign what is rolled out, and compare what runs with it.",
                ("SI-7",),
                "CWE-353",
            ),
        ),
        "R": (
            Rule(
                "RP1",
                _without("logging"),
                2,
                "Nobody can say what {name} did, and for whom",
                "{name} sees {data} and keeps no log.",
                "Log who, what, when and with what result; no secrets in the log.",
                ("AU-2", "AU-12"),
                "CWE-778",
            ),
            Rule(
                "RP2",
                _always,
                0,
                "The log of {name} is filled with false lines",
                "{name} logs. Whoever can write into the log, or into what is logged, can hide in it.",
                "Escape what is logged, send it elsewhere at once, and look at it.",
                ("AU-9", "AU-6"),
                "CWE-117",
            ),
        ),
        "I": (
            Rule(
                "IP1",
                _without("authorisation"),
                2,
                "{name} shows {data} to whoever asks",
                "{name} does not check who may see what: another person’s number in the address may be enough.",
                "Check at every access that this person may see this record.",
                ("AC-3", "AC-6"),
                "CWE-862",
            ),
            Rule(
                "IP2",
                _always,
                0,
                "Messages and logs of {name} tell more than they should",
                "{name} checks who may see what. Errors, logs and copies for tests are the ways round it.",
                "Keep details out of answers and personal data out of logs.",
                ("SI-11", "AC-3"),
                "CWE-200",
            ),
        ),
        "D": (
            Rule(
                "DP1",
                lambda one: "rate_limits" not in one.safeguards and one.exposure > 0,
                2,
                "A few costly requests stop {name}",
                "{name} is reached from a less trusted zone and limits neither number nor size nor time.",
                "Limit them, per sender and in all, and shed what is too much before it costs.",
                ("SC-5",),
                "CWE-770",
            ),
            Rule(
                "DP2",
                _without("rate_limits"),
                1,
                "A fault nearby uses up {name}",
                "Only its own zone reaches {name}; nothing limits what that asks of it.",
                "Set limits on memory, time and connections.",
                ("SC-5",),
                "CWE-400",
            ),
            Rule(
                "DP3",
                _always,
                0,
                "A flood from many senders passes the limits of {name}",
                "{name} limits how much it takes. Very many senders can each stay below a limit.",
                "Know who helps against a flood, and try it once a year.",
                ("SC-5",),
                "CWE-400",
            ),
        ),
        "E": (
            Rule(
                "EP1",
                lambda one: "least_privilege" not in one.safeguards and one.exposure > 0,
                2,
                "Who breaks into {name} has all its rights",
                "{name} is reached from a less trusted zone and runs with more rights than it needs.",
                "Give it its own account with only what it needs; keep it apart from the system it runs on.",
                ("AC-6", "SC-39"),
                "CWE-250",
            ),
            Rule(
                "EP2",
                _without("least_privilege"),
                1,
                "{name} has rights that it does not need",
                "No less trusted zone reaches {name} directly; one step inside is enough.",
                "Take away what it does not use.",
                ("AC-6",),
                "CWE-250",
            ),
            Rule(
                "EP3",
                _always,
                0,
                "A wrong right turns into a greater one at {name}",
                "{name} runs with the least rights. Roles grow with time, though.",
                "Look through roles and rights twice a year.",
                ("AC-6", "AC-2"),
                "CWE-269",
            ),
        ),
    },
    "store": {
        "T": (
            Rule(
                "TS1",
                lambda one: any(not flow.is_authenticated for flow in one.inbound),
                2,
                "{callers} can write to {name} without saying who they are",
                "At least one flow into {name} is not authenticated.",
                "Give every program an account of its own at {name}, with the tables that it needs.",
                ("AC-3", "IA-9"),
                "CWE-306",
            ),
            Rule(
                "TS2",
                lambda one: not {"authorisation", "integrity"} & one.safeguards,
                1,
                "Who may write to {name} may change everything in it",
                "{name} knows who writes, but neither limits it nor notices changes.",
                "Limit rights by table or folder, and keep a trail of changes.",
                ("AC-3", "SI-7"),
                "CWE-732",
            ),
            Rule(
                "TS3",
                _always,
                0,
                "An administrator changes {name} unseen",
                "Rights are limited or changes are noticed. Those who administer {name} stand above both.",
                "Two people for changes by hand, and a trail that administrators cannot change.",
                ("AC-5", "SI-7"),
                "CWE-732",
            ),
        ),
        "R": (
            Rule(
                "RS1",
                _without("integrity"),
                2,
                "Who broke in clears the log in {name}",
                "{name} keeps logs, and nothing shows a line that is missing or changed.",
                "Append only, signed or sent elsewhere at once; nobody who is logged may write there.",
                ("AU-9", "AU-10"),
                "CWE-117",
            ),
            Rule(
                "RS2",
                _always,
                0,
                "Gaps in {name} are not noticed",
                "Changes to the log would be noticed, if somebody looks.",
                "Raise an alarm where lines stop coming.",
                ("AU-6", "AU-9"),
                "CWE-778",
            ),
        ),
        "I": (
            Rule(
                "IS1",
                lambda one: "encrypted_at_rest" not in one.safeguards and one.sensitivity >= SENSITIVE,
                2,
                "A copied disk or backup of {name} gives away {data}",
                "{name} keeps it in plain text: a lost disk, a backup, an administrator’s copy.",
                "Encrypt it where it is kept, keys elsewhere; the most sensitive columns once more.",
                ("SC-28", "SC-12"),
                "CWE-312",
            ),
            Rule(
                "IS2",
                _without("encrypted_at_rest"),
                1,
                "A copied disk of {name} can be read",
                "{name} keeps {data} in plain text.",
                "Encrypt disks and backups.",
                ("SC-28",),
                "CWE-311",
            ),
            Rule(
                "IS3",
                _always,
                0,
                "Who may read {name} takes more than is needed",
                "{name} is encrypted; who has an account reads it as it is.",
                "Limit who reads how much, and raise an alarm at unusual amounts.",
                ("AC-6", "AC-4"),
                "CWE-732",
            ),
        ),
        "D": (
            Rule(
                "DS1",
                _without("backup"),
                2,
                "{name} is lost, or encrypted by somebody else",
                "Nothing says that {name} is backed up and that a restore has been tried.",
                "Back it up where who broke in cannot reach it, and restore it as a test.",
                ("CP-9", "CP-10"),
            ),
            Rule(
                "DS2",
                _always,
                0,
                "{name} is full or slow when it is needed",
                "{name} is backed up. A full disk or a costly query still stops it.",
                "Watch room and time, and limit what one query may cost.",
                ("SC-5", "CP-10"),
                "CWE-400",
            ),
        ),
    },
}
