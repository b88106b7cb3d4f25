"""What to do in which incident: steps by phase, decisions, evidence, and the scene of an exercise, by the facts given.

Phases: the life cycle of NIST SP 800-61 Revision 2 (2012), still the common words; Revision 3 (April 2025) replaced it
and orders the same work by the functions of the Cybersecurity Framework 2.0, which stand beside each phase. The
sentences and the times are this tool's own: start from them, and change what does not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

INCIDENTS = {
    "ransomware": "Ransomware",
    "phishing": "Phishing and stolen passwords",
    "data_breach": "Data breach",
    "lost_device": "Lost or stolen device",
    "denial_of_service": "Denial of service",
    "insider": "Insider",
    "supply_chain": "Supplier or software supply chain",
}
PHASES = {
    "preparation": ("Preparation", "Govern, Identify, Protect"),
    "detection": ("Detection and analysis", "Detect, Respond"),
    "containment": ("Containment, eradication and recovery", "Respond, Recover"),
    "afterwards": ("Post-incident activity", "Identify (Improvement)"),
}
ROLES = {
    "lead": "Incident lead",
    "technical": "Technical lead",
    "management": "Management",
    "communications": "Communications",
    "legal": "Law and data protection",
    "scribe": "Keeper of the log",
    "people": "Human resources",
}
SYSTEMS = {
    "endpoint": "Laptops and desktops",
    "identity": "Sign-in and directory",
    "email": "E-mail",
    "files": "File server or drive",
    "database": "Database",
    "web": "Website or application",
    "cloud": "Cloud platform",
    "network": "Network and firewall",
    "backup": "Backup",
    "payment": "Payments",
    "production": "Machines and production",
}
BACKUPS = {
    "offline": "Yes, out of reach of the network, restore tested",
    "online": "Yes, on the same network",
    "none": "No, or not known",
}
LOGS = {"central": "Collected in one place", "local": "On each system", "none": "None, or not known"}
COVER = {"hours": "Working hours only", "on_call": "Somebody is on call", "always": "Around the clock"}

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do. `minutes`: by when, counted from the detection; None in what comes before or has no clock."""

    phase: str
    minutes: int | None
    role: str
    text: str
    when: Callable[[Facts], bool] = lambda facts: True


@dataclass(frozen=True, slots=True)
class Decision:
    question: str
    role: str
    minutes: int
    yes: str
    no: str
    when: Callable[[Facts], bool] = lambda facts: True


@dataclass(frozen=True, slots=True)
class Inject:
    """Something that happens in the exercise, `minutes` into it."""

    minutes: int
    text: str
    question: str
    expected: str
    when: Callable[[Facts], bool] = lambda facts: True


def _has(*kinds: str) -> Callable[[Facts], bool]:
    return lambda facts: bool(set(kinds) & set(facts["kinds"]))


def _is(name: str, *values: str) -> Callable[[Facts], bool]:
    return lambda facts: facts[name] in values


def _law(*names: str) -> Callable[[Facts], bool]:
    return lambda facts: bool(set(names) & set(facts["regulations"])) if names else bool(facts["regulations"])


def _data(facts: Facts) -> bool:
    return bool({"personal", "health", "payment"} & set(facts["data"]))


HOUR, DAY = 60, 24 * 60
# Every incident

COMMON: tuple[Step, ...] = (
    Step(
        "preparation", None, "management", "Write down who may take {organisation} off the internet, alone, at night."
    ),
    Step(
        "preparation",
        None,
        "lead",
        "Print this playbook and the contact list: in an incident, mail and drives may be gone.",
    ),
    Step(
        "preparation",
        None,
        "technical",
        "Begin to collect logs in one place, 12 months back.",
        _is("logs", "none", "local"),
    ),
    Step(
        "preparation",
        None,
        "technical",
        "Take a backup out of reach of the network, and restore it once.",
        _is("backups", "online", "none"),
    ),
    Step(
        "preparation",
        None,
        "management",
        "Arrange a number that is answered at night: from outside if nobody is there.",
        _is("cover", "hours"),
    ),
    Step("preparation", None, "legal", "Keep the forms and sign-ins of the authorities at hand: {laws}.", _law()),
    Step(
        "detection",
        15,
        "lead",
        "Declare the incident, open the log, and set the time of detection: every deadline counts from it.",
    ),
    Step(
        "detection", 30, "lead", "Call the team together over a way that the attacker cannot read: telephone, not mail."
    ),
    Step(
        "detection",
        2 * HOUR,
        "legal",
        "Decide whether personal data can be concerned; from that awareness on the hours count.",
        _law("gdpr", "uk_gdpr", "california", "hipaa", "ftc"),
    ),
    Step(
        "detection",
        4 * HOUR,
        "lead",
        "Classify it as significant or major, or not, with the reasons, in the log.",
        _law("nis2", "dora"),
    ),
    Step(
        "containment",
        5 * DAY,
        "technical",
        "Compare what runs with what should run before it is back in use; watch it closely for 14 days.",
    ),
    Step(
        "afterwards", 14 * DAY, "lead", "Hold the review without blame: what was known when, what helped, what held up."
    ),
    Step("afterwards", 21 * DAY, "management", "Decide on the measures, each with an owner and a day."),
    Step("afterwards", 30 * DAY, "scribe", "Close the log; keep it with the evidence as long as claims can come."),
)
BY_INCIDENT: Mapping[str, tuple[Step, ...]] = {
    "ransomware": (
        Step("preparation", None, "technical", "Forbid macros from the internet, and admin rights for daily work."),
        Step(
            "detection",
            20,
            "technical",
            "Write down the note’s text, the new file ending, and the first machine; photograph, do not shut down.",
        ),
        Step("detection", HOUR, "technical", "Find what still encrypts, and which account it runs under."),
        Step(
            "detection",
            6 * HOUR,
            "technical",
            "Look for large uploads of the last weeks: data is mostly taken before it is encrypted.",
        ),
        Step(
            "containment",
            30,
            "technical",
            "Cut the machines concerned off the network, power on: the memory may hold the key.",
        ),
        Step("containment", 45, "technical", "Unhook the backups from the network at once.", _is("backups", "online")),
        Step(
            "containment",
            HOUR,
            "technical",
            "Look at the offline backup from a clean machine, read only.",
            _is("backups", "offline"),
        ),
        Step(
            "containment",
            4 * HOUR,
            "technical",
            "Close the account and the way in; change the passwords of every administrator.",
        ),
        Step("containment", DAY, "management", "Speak with police and insurer before a word to the attackers."),
        Step("containment", 2 * DAY, "technical", "Set machines up anew; cleaning is no way back from ransomware."),
        Step(
            "containment",
            3 * DAY,
            "technical",
            "Look for a decryptor at nomoreransom.org, and keep the encrypted files.",
            _is("backups", "none"),
        ),
    ),
    "phishing": (
        Step(
            "preparation",
            None,
            "technical",
            "Ask for a second factor that cannot be phished (passkeys), administrators first.",
        ),
        Step("detection", 20, "technical", "Get the message with its headers; find who else got it and who clicked."),
        Step(
            "detection",
            HOUR,
            "technical",
            "Look at sign-ins of those people: new places, new devices, new consent to apps.",
            _has("identity", "email", "cloud"),
        ),
        Step("detection", 2 * HOUR, "technical", "Look for rules that forward or hide mail.", _has("email")),
        Step(
            "containment",
            30,
            "technical",
            "End every session of the accounts concerned, then change passwords: in this order.",
        ),
        Step(
            "containment", HOUR, "technical", "Take the message out of every mailbox; block sender, domain and address."
        ),
        Step(
            "containment",
            2 * HOUR,
            "communications",
            "Warn colleagues with a picture of the message, and those who were written to in our name.",
        ),
        Step(
            "containment",
            3 * HOUR,
            "management",
            "Call the bank at once where money was moved or an account number was changed.",
        ),
        Step(
            "containment",
            DAY,
            "technical",
            "Take back what was added: second factors, devices, app consents, forwarding.",
        ),
    ),
    "data_breach": (
        Step(
            "preparation", None, "legal", "Keep a list of what personal data is where, and how many people it is about."
        ),
        Step("detection", HOUR, "technical", "Find what was reached, by whom, since when: read or also changed."),
        Step("detection", 6 * HOUR, "technical", "Count the people and the kinds of data, lowest and highest figure."),
        Step(
            "detection",
            DAY,
            "legal",
            "Judge the risk to the people: kind of data, who has it, what can be done with it.",
        ),
        Step("containment", HOUR, "technical", "Close the way by which data goes out: account, key, endpoint, share."),
        Step("containment", 3 * HOUR, "technical", "Change keys and passwords that were in the data or beside it."),
        Step(
            "containment",
            6 * HOUR,
            "technical",
            "Ask for the deletion of copies: search engines, paste sites, receivers by mistake.",
        ),
        Step("containment", 3 * DAY, "technical", "Repair what let it happen, and look for the same elsewhere."),
        Step(
            "containment",
            3 * DAY,
            "communications",
            "Open a number and a page for the people concerned before they are told.",
        ),
    ),
    "lost_device": (
        Step(
            "preparation",
            None,
            "technical",
            "Encrypt every device, with the keys kept centrally, and make sure that it can be wiped from afar.",
        ),
        Step(
            "detection",
            30,
            "lead",
            "Ask the person: which device, when last seen, locked or open, what on it and beside it.",
        ),
        Step(
            "detection",
            HOUR,
            "technical",
            "Look up whether it was encrypted, and keep the proof: it decides who must be told.",
        ),
        Step(
            "detection",
            3 * HOUR,
            "technical",
            "Look for sign-ins from the device after it was lost.",
            _has("identity", "cloud", "email"),
        ),
        Step("containment", 45, "technical", "Lock and wipe it from afar; note the time at which it answered."),
        Step(
            "containment",
            HOUR,
            "technical",
            "End its sessions, take its certificates back, change the person’s passwords.",
        ),
        Step("containment", 4 * HOUR, "lead", "Report it to police and transport, and note the file number."),
        Step(
            "containment",
            DAY,
            "technical",
            "Give a new device from a clean image, and restore from backup, not from sync.",
        ),
    ),
    "denial_of_service": (
        Step(
            "preparation",
            None,
            "technical",
            "Agree with provider and host who filters what, and keep their numbers outside the network.",
        ),
        Step(
            "detection",
            15,
            "technical",
            "Tell it from a fault of our own: deployments, certificates, expired names, a campaign.",
        ),
        Step("detection", 30, "technical", "Note kind, volume, targets and senders; take samples of the traffic."),
        Step(
            "detection",
            2 * HOUR,
            "technical",
            "Look whether it covers something else: sign-ins, changes, data going out.",
        ),
        Step(
            "containment",
            30,
            "technical",
            "Call the provider or the protection service; filter upstream, not at our own door.",
        ),
        Step(
            "containment",
            45,
            "technical",
            "Serve what can be served from a cache; switch off what is costly.",
            _has("web"),
        ),
        Step(
            "containment", HOUR, "communications", "Say on a status page elsewhere what works and when news comes next."
        ),
        Step("containment", 2 * HOUR, "management", "Do not pay for threats; keep them for the police."),
        Step("containment", DAY, "technical", "Take filters back step by step, and keep what should stay."),
    ),
    "insider": (
        Step("preparation", None, "people", "Have it written and agreed what may be looked at in a case of suspicion."),
        Step(
            "detection",
            HOUR,
            "lead",
            "Keep the circle small: lead, management, law, human resources; nobody of the same team.",
        ),
        Step(
            "detection",
            3 * HOUR,
            "legal",
            "Set down the suspicion and the aim before anything personal is looked at; ask the works council "
            "where there is one.",
        ),
        Step(
            "detection", 6 * HOUR, "technical", "Secure logs of the accounts concerned, without changing the account."
        ),
        Step(
            "containment",
            8 * HOUR,
            "people",
            "Plan the talk and the moment: rights are taken back while it begins, not before.",
        ),
        Step(
            "containment", 9 * HOUR, "technical", "Close accounts, tokens, keys, doors; take devices in with a receipt."
        ),
        Step("containment", DAY, "technical", "Change every shared password that the person knew."),
        Step(
            "containment",
            3 * DAY,
            "technical",
            "Look for what stays behind: jobs, forwarding, accounts, keys made in the last 90 days.",
        ),
        Step("containment", 5 * DAY, "legal", "Decide about claims and a report to the police."),
    ),
    "supply_chain": (
        Step(
            "preparation",
            None,
            "technical",
            "Keep a list of suppliers and software parts with versions: who has access, what runs where.",
        ),
        Step(
            "detection",
            30,
            "lead",
            "Get from the supplier in writing: since when, which versions, which customers, which indicators.",
        ),
        Step("detection", 2 * HOUR, "technical", "Find every place where the product, the part or the access is used."),
        Step(
            "detection",
            6 * HOUR,
            "technical",
            "Search for the indicators back to the first day that the supplier names.",
        ),
        Step("containment", HOUR, "technical", "Cut the supplier’s access and hold back its updates."),
        Step(
            "containment",
            4 * HOUR,
            "technical",
            "Change every key and password that the supplier or the part could see.",
        ),
        Step(
            "containment",
            DAY,
            "technical",
            "Go back to a version before, or forward to one that is known to be clean; build again from source "
            "you trust.",
        ),
        Step(
            "containment",
            2 * DAY,
            "legal",
            "Claim by contract: help, evidence, costs; ask whether they have told the authorities.",
        ),
        Step("containment", 3 * DAY, "management", "Decide whether the supplier stays, and on what terms."),
    ),
}
CONTAIN: Mapping[str, str] = {
    "endpoint": "Isolate the machines of {name} from the network, power on; take memory before disk.",
    "identity": "In {name}: end sessions, close the accounts concerned, look at administrators that are new.",
    "email": "In {name}: stop forwarding to outside, hold back messages of the sender.",
    "files": "Set {name} to read only, and note who writes to it.",
    "database": "Let only the application’s own account into {name}; take a copy for evidence before it is repaired.",
    "web": "Put {name} behind a page that says so, or behind a filter; keep its disk as it is.",
    "cloud": "In {name}: take keys back, snapshot before anything is deleted, look at every region.",
    "network": "At {name}: block the addresses known, allow outgoing by name only.",
    "backup": "Unhook {name} from the network, and check that its last good copy is there.",
    "payment": "Stop payments over {name}, tell the acquirer, and keep its logs untouched.",
    "production": "Part {name} from the office network; run it by hand as long as safety allows.",
}
# Where it is an account or a person, and not a program, that does the harm
CONTAIN_ACCOUNT: Mapping[str, str] = {
    "endpoint": "Take the machines of the person out of {name}, and hand out a clean one.",
    "identity": "In {name}: end the person’s sessions, change the password, then take back factors and keys.",
    "email": "In {name}: look for rules, forwarding and consents of the mailbox, and take them away.",
    "files": "In {name}: take the person’s rights away, and list what was opened or copied in 30 days.",
    "database": "In {name}: close the person’s own accounts, change shared ones, list large exports.",
    "web": "In {name}: end sessions, close administration for the account, look at what was changed with it.",
    "cloud": "In {name}: take back keys and roles of the account; list what was made with them, in every region.",
    "network": "At {name}: take back VPN access and certificates; look where the account came from.",
    "backup": "In {name}: make sure that the account can neither read nor delete copies.",
    "payment": "In {name}: take back the right to release payments; have two people release each until it is clear.",
    "production": "In {name}: change the codes that the person knows; check set-points against the last record.",
}
# Where it is only traffic
CONTAIN_FLOOD: Mapping[str, str] = {
    "endpoint": "{name}: let people work on what is stored on them, and keep them off the line that is full.",
    "identity": "{name}: allow sign-ins from known networks first, so that colleagues can still work.",
    "email": "{name}: move alarms to another way; mail comes late when the line is full.",
    "files": "{name}: check that it is reached over another line than the one under attack.",
    "database": "{name}: limit connections, so that what is left of the service does not drown it.",
    "web": "{name}: send traffic through the filter, cache pages, switch search and exports off.",
    "cloud": "{name}: set a limit on costs and on growth, so that the attack does not become a bill.",
    "network": "{name}: have the provider filter before the line; keep only what is needed open.",
    "backup": "{name}: put off jobs that use the same line.",
    "payment": "{name}: agree with the acquirer on a way round, or on paying later.",
    "production": "{name}: run it from inside, without the line to the outside.",
}
CONTAIN_BY_INCIDENT: Mapping[str, Mapping[str, str]] = {
    "phishing": CONTAIN_ACCOUNT,
    "lost_device": CONTAIN_ACCOUNT,
    "insider": CONTAIN_ACCOUNT,
    "denial_of_service": CONTAIN_FLOOD,
}
RECOVERY: Mapping[str, str] = {
    "phishing": "Open it again when sessions and passwords are new and nothing forwards to outside.",
    "lost_device": "Nothing to bring back: check that the device no longer reaches it.",
    "denial_of_service": "Let traffic in again step by step, and take filters back last.",
    "insider": "Check what the person changed against a copy from before, then go on.",
    "supply_chain": "Bring it back with a version that is known to be clean, built or fetched anew.",
    "data_breach": "Bring it back when the way out is closed and its keys are new.",
}
LESSONS: Mapping[str, tuple[Step, ...]] = {
    "ransomware": (
        Step("afterwards", 30 * DAY, "technical", "Restore everything from backup as a test, by the clock."),
        Step("afterwards", 60 * DAY, "technical", "Part the network, so that one machine reaches few others."),
    ),
    "phishing": (
        Step(
            "afterwards",
            14 * DAY,
            "communications",
            "Thank whoever reported first, by name if they like, so that more do.",
        ),
        Step("afterwards", 60 * DAY, "technical", "Bring passkeys to everybody who was written to."),
    ),
    "data_breach": (
        Step(
            "afterwards", 30 * DAY, "legal", "Delete what was kept for no purpose: what is not there cannot be taken."
        ),
        Step("afterwards", 60 * DAY, "technical", "Raise an alarm at unusual amounts that are read."),
    ),
    "lost_device": (
        Step("afterwards", 14 * DAY, "technical", "Check every device for encryption and for an answer to the wipe."),
        Step("afterwards", 30 * DAY, "lead", "Make the number for losses known: a sticker on each device."),
    ),
    "denial_of_service": (
        Step("afterwards", 30 * DAY, "technical", "Measure what the service bears, and agree on filters beforehand."),
        Step("afterwards", 60 * DAY, "management", "Decide about a second line and a second host, with their price."),
    ),
    "insider": (
        Step("afterwards", 30 * DAY, "people", "Take rights back at every change of job, not only at the end."),
        Step("afterwards", 60 * DAY, "technical", "Have two people for what one alone should not do."),
    ),
    "supply_chain": (
        Step(
            "afterwards", 30 * DAY, "legal", "Put notice of incidents within 24 hours into every contract with access."
        ),
        Step(
            "afterwards", 60 * DAY, "technical", "Pin versions, check signatures, and hold updates back for some days."
        ),
    ),
}
EVIDENCE: Mapping[str, tuple[str, ...]] = {
    "endpoint": ("memory image", "disk image with its hash", "list of processes and connections"),
    "identity": ("sign-in log, 90 days", "changes to accounts, groups and second factors"),
    "email": ("the messages with full headers", "message trace", "rules and forwarding of the mailboxes"),
    "files": ("access log", "list of changed files with times"),
    "database": ("audit log", "log of slow and large queries", "accounts and their rights on the day"),
    "web": ("access and error logs", "hashes of the files that were served", "deployments of 30 days"),
    "cloud": ("audit trail of the platform, every region", "snapshots", "keys with last use"),
    "network": ("firewall and proxy logs", "flow records", "DNS queries"),
    "backup": ("job log", "date and hash of the last good copy"),
    "payment": ("log of the payment software", "terminal numbers and their seals"),
    "production": ("alarms and set-points as printed", "engineering station’s log"),
}
EVIDENCE_BY_INCIDENT: Mapping[str, tuple[str, ...]] = {
    "ransomware": ("the note, and two encrypted files with their originals", "addresses of wallets and chats"),
    "phishing": (
        "the page behind the link, as saved from a safe machine",
        "list of receivers and of those who clicked",
    ),
    "data_breach": ("the data as found outside, where it was found", "the count of people, and how it was counted"),
    "lost_device": (
        "proof of encryption at the time of loss",
        "answer of the wipe with its time",
        "police file number",
    ),
    "denial_of_service": ("traffic samples", "graphs of volume and errors", "threats that were sent"),
    "insider": ("the written suspicion with its date", "receipts of devices handed in", "door log"),
    "supply_chain": (
        "the supplier’s statements with their dates",
        "the package with its hash and signature",
        "contract",
    ),
}
DECISIONS: tuple[Decision, ...] = (
    Decision(
        "Take {first} off the network?",
        "lead",
        30,
        "It spreads, or data is going out now.",
        "It is known what is concerned, and it can be watched.",
        lambda facts: bool(facts["systems"]) and facts["incident"] not in ("lost_device", "denial_of_service"),
    ),
    Decision(
        "Bring in outside help (forensics, insurer, counsel)?",
        "management",
        4 * HOUR,
        "More than one system is concerned, or personal data may be.",
        "One machine, known cause, no data.",
    ),
    Decision(
        "Tell the authorities now, with what is known?",
        "legal",
        20 * HOUR,
        "A deadline falls before the facts will be whole: a first notice may be completed later.",
        "It is certain that no notification is due; write down why.",
        _law(),
    ),
    Decision(
        "Tell the people whose data it is?",
        "management",
        48 * HOUR,
        "The risk to them is high, or they can protect themselves only if they know.",
        "The data cannot be read by anybody (encrypted, key safe), with proof.",
        _data,
    ),
    Decision(
        "Pay the ransom?",
        "management",
        2 * DAY,
        "Only if lives or the existence of {organisation} hang on it, police and counsel have been heard, "
        "and no sanction forbids it.",
        "There is any way back without it: a decryptor from criminals fails often, and taken data stays taken.",
        _is("incident", "ransomware"),
    ),
    Decision(
        "Suspend the person?",
        "people",
        8 * HOUR,
        "Evidence is secured and the damage goes on.",
        "It is a suspicion that other facts explain as well.",
        _is("incident", "insider"),
    ),
    Decision(
        "Part from the supplier’s service until it is clean?",
        "management",
        6 * HOUR,
        "It has access inside, or its updates run with high rights.",
        "The part concerned is not in use, with proof.",
        _is("incident", "supply_chain"),
    ),
    Decision(
        "Switch to the reserve, or bear it?",
        "technical",
        2 * HOUR,
        "The filter upstream does not hold within an hour.",
        "Customers get through, slowly.",
        _is("incident", "denial_of_service"),
    ),
)
SCENES: Mapping[str, str] = {
    "ransomware": "At {start} several people at {organisation} cannot open files; {first} shows a note that asks for "
    "money within 72 hours.",
    "phishing": "At {start} accounting at {organisation} finds that an invoice was paid to a new account, asked for "
    "by a mail from the managing director’s own mailbox.",
    "data_breach": "At {start} a stranger writes to {organisation} and sends ten records out of {first} as a proof.",
    "lost_device": "At {start} somebody of {organisation} rings from a station: the bag with the laptop is gone.",
    "denial_of_service": "At {start} {first} of {organisation} answers slowly, then not at all; a "
    "mail asks for money to make "
    "it stop.",
    "insider": "At {start} {organisation} notices that somebody who has given notice copied most of {first} at the "
    "weekend.",
    "supply_chain": "At {start} a supplier of {organisation} writes that its update of last week carried foreign code; "
    "{first} has it.",
}
INJECTS: tuple[Inject, ...] = (
    Inject(
        0,
        "The scene is read out. Who is told first, and how?",
        "Who declares the incident? Where is this playbook if {first} is gone?",
        "The lead declares it, the log is opened, the time of detection is set.",
    ),
    Inject(
        15,
        "It is outside working hours: the first two people do not pick up.",
        "Who is third? Who may decide alone?",
        "A deputy acts within ten minutes, with the right to take systems off the network.",
        _is("cover", "hours"),
    ),
    Inject(
        20,
        "The files on {second} get the new ending too.",
        "What is cut off first, and what keeps its power?",
        "Network off, power on; backups are unhooked before anything else.",
        _is("incident", "ransomware"),
    ),
    Inject(
        20,
        "Two more people say that they typed in their password.",
        "In which order are sessions, passwords and second factors dealt with?",
        "Sessions first, then passwords, then what was added; the bank is called.",
        _is("incident", "phishing"),
    ),
    Inject(
        20,
        "The stranger’s records are real, and three weeks old.",
        "How is it found out how many people are concerned, without touching evidence?",
        "Logs are secured first; a lowest and a highest figure are named.",
        _is("incident", "data_breach"),
    ),
    Inject(
        20,
        "The person says that the laptop was open when it went.",
        "Does the encryption still help? What is locked from here?",
        "An open device counts as readable: sessions end, wipe is sent, the data on it is listed.",
        _is("incident", "lost_device"),
    ),
    Inject(
        20,
        "The provider asks which of the traffic is real.",
        "Who knows, and how fast can they say it?",
        "Known paths and partners are named; filters are set upstream.",
        _is("incident", "denial_of_service"),
    ),
    Inject(
        20,
        "The person’s head of department wants to ask them at once.",
        "Who speaks with the person, when, and with whom beside them?",
        "Nobody before evidence is safe and human resources and law have agreed.",
        _is("incident", "insider"),
    ),
    Inject(
        20,
        "The supplier does not say since when.",
        "How is the first day found without them?",
        "Own logs and package dates; the earliest date that cannot be ruled out counts.",
        _is("incident", "supply_chain"),
    ),
    Inject(
        40,
        "The last backup that can be read is four months old.",
        "What does {organisation} lose, and who decides whether to go on?",
        "Management decides with figures of the loss; a backup out of reach is ordered.",
        _is("backups", "none", "online"),
    ),
    Inject(
        40,
        "A test restore of {first} takes three times as long as planned.",
        "What comes first, and who tells those who wait?",
        "The order of recovery is followed; waiting people get a time for the next news.",
        _is("backups", "offline"),
    ),
    Inject(
        50,
        "Nobody can say what happened on {second} before yesterday: its log was overwritten.",
        "What can still be proved? What is told the authority?",
        "What is not known is said as such; other sources are named.",
        _is("logs", "none", "local"),
    ),
    Inject(
        55,
        "A sample of taken files is published, with a clock that runs.",
        "Does that change the answer about paying? Who tells those whose names are in it?",
        "Paying takes nothing back; the data is counted as taken and duties are followed.",
        _is("incident", "ransomware"),
    ),
    Inject(
        55,
        "The bank can stop one of two transfers if it gets a written order within the hour.",
        "Who may sign it, and is there a police report to go with it?",
        "Management signs, the report is made by telephone, both are in the log.",
        _is("incident", "phishing"),
    ),
    Inject(
        55,
        "The stranger wants to be paid for silence.",
        "What is answered, by whom?",
        "Nothing before police and counsel have been heard; every message is kept.",
        _is("incident", "data_breach"),
    ),
    Inject(
        55,
        "The device answers: it was online for four minutes after the loss, before the wipe arrived.",
        "What can have been read in four minutes? Who decides whether that is a breach?",
        "Sign-ins of these minutes are looked at; law decides, with the reasons written down.",
        _is("incident", "lost_device"),
    ),
    Inject(
        55,
        "It stops. Ten minutes later it starts again, on another address.",
        "Who had thought that it was over, and what was taken back too early?",
        "Filters stay for a day after the last wave; the other addresses are behind them too.",
        _is("incident", "denial_of_service"),
    ),
    Inject(
        55,
        "A file of the copied ones turns up at a competitor.",
        "Who speaks with the competitor? What must be proved, and with what?",
        "Counsel does; logs and hashes show the way of the file; nobody calls on their own.",
        _is("incident", "insider"),
    ),
    Inject(
        55,
        "The supplier offers a corrected version and wants it installed today.",
        "How is it known that this one is clean?",
        "Signature and hash over a second way, a test apart from the rest, then step by step.",
        _is("incident", "supply_chain"),
    ),
    Inject(
        60,
        "A journalist asks for a comment within the hour and names a number of people concerned.",
        "Who answers, with which sentence?",
        "One voice, the prepared sentence, no figure that is not certain.",
    ),
    Inject(
        75,
        "Somebody asks whether {laws} ask for a notice, and since when the hours count.",
        "Which deadline is the first? Who sends what is known so far?",
        "{deadline}",
        _law(),
    ),
    Inject(
        90,
        "An employee posts a photograph of the note in a public channel.",
        "What is told to colleagues now?",
        "A short word to all: what is known, what to do, whom to send questions to.",
        _is("incident", "ransomware", "denial_of_service"),
    ),
    Inject(
        90,
        "A customer whose data it is calls and is in distress.",
        "What may be said, and what help is there?",
        "Plain words, what they can do themselves, a number that is answered.",
        _data,
    ),
    Inject(
        105,
        "{first} runs again.",
        "How is it known that it is clean? Who lets people back in?",
        "Named checks are passed, the lead decides, it is watched for 14 days.",
        lambda facts: bool(facts["systems"]),
    ),
)
