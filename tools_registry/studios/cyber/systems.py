"""A system as people describe it to the security tools: zones of trust, what is in them, and what data goes where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tools_registry.fields import Choice, Rows, Text
from tools_registry.studio import BadInput, Severity
from tools_registry.studios import drawing

NAME_MAX = 60
INTERNET = 0  # the trust of what anybody can reach
RESTRICTED = 4
TRUST = {
    "internet": "Internet: anybody",
    "partner": "Partners and suppliers",
    "edge": "Edge: reachable from outside",
    "internal": "Internal",
    "restricted": "Restricted: few people and programs",
}
TRUST_LEVELS = {name: level for level, name in enumerate(TRUST)}
TONES: tuple[drawing.Tone, ...] = ("coral", "brass", "brass", "quiet", "sea")
DATA = {
    "public": "Public",
    "internal": "Internal",
    "confidential": "Confidential",
    "personal": "Personal data",
    "payment": "Payment data",
    "credentials": "Passwords, keys, tokens",
    "special": "Health and other special categories",
}
SENSITIVITY = {
    "public": 1,
    "internal": 2,
    "confidential": 3,
    "personal": 4,
    "payment": 5,
    "credentials": 5,
    "special": 5,
}
SENSITIVE = 4  # from here on its loss hurts people, or opens everything else
PLAIN_PROTOCOLS = ("http", "ftp", "telnet", "smtp", "mqtt")
SEALED_PROTOCOLS = ("https", "ssh")
PROTOCOLS = {
    "https": "HTTPS",
    "http": "HTTP",
    "grpc": "gRPC",
    "websocket": "WebSocket",
    "sql": "Database protocol",
    "queue": "Message queue",
    "mqtt": "MQTT without TLS",
    "ssh": "SSH or SFTP",
    "ftp": "FTP",
    "telnet": "Telnet",
    "smtp": "SMTP without TLS",
    "file": "Files or storage",
    "local": "Within one machine",
    "other": "Something else",
}
ZONES = Rows(
    name="zones",
    title="Trust zones",
    noun="zone",
    help="Places that trust each other inside: the internet, the shop’s network, the payment network.",
    count_min=1,
    count_max=12,
    is_required=True,
    fields=(
        Text(name="name", title="Zone", length_max=NAME_MAX, is_short=True, is_required=True),
        Choice(name="trust", title="How far it is trusted", choices=TRUST, default="internal"),
    ),
)


def key(name: str) -> str:
    """What two spellings of a name have in common."""
    return " ".join(name.split()).casefold()


class Names:
    """Rows by their names. Raises BadInput where a name is used twice, or another row names one that is not there."""

    def __init__(self, field: str, noun: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self.noun = noun
        self.places: dict[str, int] = {}
        self.rows = rows
        wrong = {}
        for number, row in enumerate(rows):
            if (first := self.places.setdefault(key(row["name"]), number)) != number:
                wrong[f"{field}.{number}.name"] = f"{noun.capitalize()} {first + 1} is called {row['name']} already."
        if wrong:
            raise BadInput(wrong)

    def place(self, name: str) -> int | None:
        return self.places.get(key(name))

    def unknown(self, name: str) -> str:
        """The sentence about a name that is not there."""
        there = ", ".join(row["name"] for row in self.rows[:12])
        return (
            f"There is no {self.noun} called {name}. There {'is' if len(self.rows) == 1 else 'are'}: {there or 'none'}."
        )


def references(rows: Sequence[Mapping[str, Any]], field: str, **names: Names) -> list[dict[str, int]]:
    """For each row the places of what it names; raises BadInput naming every name that is not there."""
    wrong: dict[str, str] = {}
    found: list[dict[str, int]] = []
    for number, row in enumerate(rows):
        places: dict[str, int] = {}
        for of, known in names.items():
            column = of.removesuffix("_")
            place = known.place(row[column])
            if place is None:
                wrong[f"{field}.{number}.{column}"] = known.unknown(row[column])
            else:
                places[column] = place
        found.append(places)
    if wrong:
        raise BadInput(wrong)
    return found


def severity_of(score: float) -> Severity:
    """Of a likelihood × impact of 1 to 25."""
    return "critical" if score >= 20 else "high" if score >= 12 else "medium" if score >= 6 else "low"


def zone_frames(zones: Sequence[Mapping[str, Any]]) -> list[drawing.Zone]:
    """The zones as frames of a diagram, each with its trust from 0, the internet, to 4."""
    return [
        drawing.Zone(
            f"z{number}",
            f"{zone['name']} · {TRUST_LEVELS[zone['trust']]}/4",
            tone=TONES[TRUST_LEVELS[zone["trust"]]],
        )
        for number, zone in enumerate(zones)
    ]
