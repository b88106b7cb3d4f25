"""Who must be told of an incident, by when, and where it says so. Facts only; no legal advice.

Texts as they stood at the start of 2026: Regulation (EU) 2016/679 (GDPR; the UK GDPR keeps the numbers), Directive (EU)
2022/2555 (NIS2; national law may ask for more), Regulation (EU) 2022/2554 (DORA) with Delegated Regulation (EU)
2025/301, 45 CFR Part 164 Subpart D (HIPAA), California Civil Code § 1798.82 as amended by SB 446 (from 1 January 2026),
16 CFR 314.4(j) (FTC Safeguards Rule), Form 8-K Item 1.05 (SEC), PCI DSS v4.0.1. static/holdfast/studio/cyber/
ir_playbook.js has the same hours; a test holds both together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

AS_OF = "the start of 2026"
REGULATIONS = {
    "gdpr": "GDPR (EU)",
    "uk_gdpr": "UK GDPR",
    "nis2": "NIS2 (EU)",
    "dora": "DORA (EU, finance)",
    "hipaa": "HIPAA (US, health)",
    "california": "California Civil Code § 1798.82",
    "ftc": "FTC Safeguards Rule (US, finance)",
    "sec": "SEC Form 8-K (US, listed)",
    "pci": "PCI DSS (payment cards)",
}
LARGE = 500  # people: where US rules ask for more
DAY = 24

Facts = Mapping[str, Any]
"""The answers: `data`, `people` (None where not known), `is_processor`."""


@dataclass(frozen=True, slots=True)
class Duty:
    """Somebody to be told. `hours` from becoming aware, the discovery; None where the text has no such number."""

    id: str
    law: str
    article: str
    to: str
    what: str
    hours: int | None
    by: str  # the deadline in words
    unless: str  # when it applies
    applies: Callable[[Facts], bool]
    needs: str = ""  # the kind of data without which it does not apply


def _always(facts: Facts) -> bool:
    return True


def _own(facts: Facts) -> bool:
    return not facts["is_processor"]


def _for_others(facts: Facts) -> bool:
    return bool(facts["is_processor"])


def _may_be_large(facts: Facts) -> bool:
    return facts["people"] is None or facts["people"] >= LARGE


def _may_be_above(facts: Facts) -> bool:
    return facts["people"] is None or facts["people"] > LARGE


def _may_be_small(facts: Facts) -> bool:
    return facts["people"] is None or facts["people"] < LARGE


def _gdpr(law: str, authority: str) -> tuple[Duty, ...]:
    return (
        Duty(
            f"{law}-authority",
            law,
            "Art. 33(1)",
            authority,
            "Notify the personal data breach",
            72,
            "72 hours after becoming aware; later with the reasons",
            "Unless a risk to people is unlikely.",
            _own,
            "personal",
        ),
        Duty(
            f"{law}-people",
            law,
            "Art. 34(1)",
            "The people whose data it is",
            "Tell them what happened and what they can do",
            None,
            "without undue delay",
            "Where the risk to them is likely to be high.",
            _own,
            "personal",
        ),
        Duty(
            f"{law}-controller",
            law,
            "Art. 33(2)",
            "The controllers you work for",
            "Tell them of the breach",
            None,
            "without undue delay after becoming aware",
            "You process the data for somebody else.",
            _for_others,
            "personal",
        ),
        Duty(
            f"{law}-record",
            law,
            "Art. 33(5)",
            "Your own record",
            "Document the breach, its effects and what was done",
            None,
            "always, notified or not",
            "Every personal data breach.",
            _own,
            "personal",
        ),
    )


DUTIES: tuple[Duty, ...] = (
    *_gdpr("gdpr", "The supervisory authority of your main establishment"),
    *_gdpr("uk_gdpr", "The Information Commissioner (ICO)"),
    Duty(
        "nis2-warning",
        "nis2",
        "Art. 23(4)(a)",
        "The CSIRT or the competent authority",
        "Early warning: is it malicious, can it cross borders",
        24,
        "24 hours after becoming aware",
        "The incident is significant (Art. 23(3)).",
        _always,
    ),
    Duty(
        "nis2-notification",
        "nis2",
        "Art. 23(4)(b)",
        "The CSIRT or the competent authority",
        "Incident notification: first assessment, severity, impact, indicators",
        72,
        "72 hours after becoming aware",
        "The incident is significant; trust service providers: 24 hours.",
        _always,
    ),
    Duty(
        "nis2-recipients",
        "nis2",
        "Art. 23(1)",
        "The recipients of your services",
        "Tell them where it is likely to affect the service",
        None,
        "without undue delay",
        "Where appropriate.",
        _always,
    ),
    Duty(
        "nis2-final",
        "nis2",
        "Art. 23(4)(d)",
        "The CSIRT or the competent authority",
        "Final report: description, cause, measures, impact across borders",
        None,
        "one month after the incident notification",
        "A progress report where it still goes on (Art. 23(4)(e)).",
        _always,
    ),
    Duty(
        "dora-initial",
        "dora",
        "Art. 19(4)(a); (EU) 2025/301 Art. 5",
        "The competent authority",
        "Initial notification",
        24,
        "4 hours after classifying it as major, at most 24 hours after becoming aware",
        "The incident is major.",
        _always,
    ),
    Duty(
        "dora-intermediate",
        "dora",
        "Art. 19(4)(b); (EU) 2025/301 Art. 5",
        "The competent authority",
        "Intermediate report",
        None,
        "72 hours after the initial notification",
        "The incident is major.",
        _always,
    ),
    Duty(
        "dora-final",
        "dora",
        "Art. 19(4)(c); (EU) 2025/301 Art. 5",
        "The competent authority",
        "Final report with the root cause",
        None,
        "one month after the intermediate report or its latest update",
        "The incident is major.",
        _always,
    ),
    Duty(
        "dora-clients",
        "dora",
        "Art. 19(3)",
        "Your clients",
        "Tell them of the incident and of what was done",
        None,
        "without undue delay",
        "It affects their financial interests.",
        _always,
    ),
    Duty(
        "hipaa-people",
        "hipaa",
        "45 CFR § 164.404(b)",
        "Each person whose health information it is",
        "Breach notice in writing",
        60 * DAY,
        "without unreasonable delay, at most 60 calendar days after discovery",
        "The information was not secured.",
        _own,
        "health",
    ),
    Duty(
        "hipaa-secretary-large",
        "hipaa",
        "45 CFR § 164.408(b)",
        "The Secretary of Health and Human Services",
        "Notice on the HHS website",
        60 * DAY,
        "together with the notice to the people, at most 60 calendar days after discovery",
        "500 people or more.",
        lambda facts: _own(facts) and _may_be_large(facts),
        "health",
    ),
    Duty(
        "hipaa-media",
        "hipaa",
        "45 CFR § 164.406",
        "Prominent media of the State",
        "Notice to the media",
        60 * DAY,
        "without unreasonable delay, at most 60 calendar days after discovery",
        "More than 500 residents of one State.",
        lambda facts: _own(facts) and _may_be_above(facts),
        "health",
    ),
    Duty(
        "hipaa-secretary-small",
        "hipaa",
        "45 CFR § 164.408(c)",
        "The Secretary of Health and Human Services",
        "Notice on the HHS website, from the log of the year",
        None,
        "60 days after the end of the calendar year of discovery",
        "Fewer than 500 people.",
        lambda facts: _own(facts) and _may_be_small(facts),
        "health",
    ),
    Duty(
        "hipaa-covered-entity",
        "hipaa",
        "45 CFR § 164.410(b)",
        "The covered entities you work for",
        "Tell them of the breach and whose information it is",
        60 * DAY,
        "without unreasonable delay, at most 60 calendar days after discovery",
        "You are a business associate.",
        _for_others,
        "health",
    ),
    Duty(
        "california-people",
        "california",
        "Cal. Civ. Code § 1798.82(a)",
        "Each resident of California concerned",
        "“Notice of Data Breach” in the form of § 1798.82(d)",
        30 * DAY,
        "30 calendar days after discovery; law enforcement or finding the scope may delay it",
        "Personal information was acquired that was not encrypted.",
        _own,
        "personal",
    ),
    Duty(
        "california-attorney-general",
        "california",
        "Cal. Civ. Code § 1798.82(f)",
        "The Attorney General of California",
        "A sample of the notice",
        None,
        "15 calendar days after the notice to the residents",
        "More than 500 residents.",
        lambda facts: _own(facts) and _may_be_above(facts),
        "personal",
    ),
    Duty(
        "california-owner",
        "california",
        "Cal. Civ. Code § 1798.82(b)",
        "The owner or licensee of the data",
        "Tell them of the breach",
        None,
        "immediately after discovery",
        "You keep the data for somebody else.",
        _for_others,
        "personal",
    ),
    Duty(
        "ftc-commission",
        "ftc",
        "16 CFR § 314.4(j)",
        "The Federal Trade Commission",
        "Notice of the notification event",
        30 * DAY,
        "as soon as possible, at most 30 days after discovery",
        "Customer information of 500 consumers or more that was not encrypted.",
        _may_be_large,
        "personal",
    ),
    Duty(
        "sec-8k",
        "sec",
        "Form 8-K, Item 1.05",
        "The Securities and Exchange Commission, in public",
        "Nature, scope, timing and impact of the incident",
        None,
        "four business days after deciding that it is material; decide without unreasonable delay",
        "The incident is material to investors.",
        _always,
    ),
    Duty(
        "pci-brands",
        "pci",
        "PCI DSS v4.0.1, 12.10.1",
        "Your acquirer and the payment brands",
        "Report a suspected or confirmed compromise of card data",
        None,
        "as your acquirer’s contract and the brands’ procedures say, which is mostly at once",
        "Card data may be concerned.",
        _always,
        "payment",
    ),
)


def deadlines(regulations: list[str], facts: Facts) -> list[Duty]:
    """The duties that can follow, the shortest first."""
    found = [one for one in DUTIES if one.law in regulations and one.applies(facts)]
    return sorted(found, key=lambda one: (one.hours is None, one.hours or 0))


def is_sure(duty: Duty, data: list[str]) -> bool:
    """Whether the kind of data that the duty is about is named; otherwise it applies only if that turns out."""
    kinds = {"personal": {"personal", "health", "payment"}, "health": {"health"}, "payment": {"payment"}, "": set(data)}
    return not duty.needs or bool(kinds[duty.needs] & set(data))
