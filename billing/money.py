"""Money as people read it: "£12.50" for 1250 of the currency's smallest unit. Pure; nothing here is a credit."""

from __future__ import annotations

import re

SIGNS = {"gbp": "£", "eur": "€", "usd": "$"}
# Stripe's currencies that have no smaller unit: https://docs.stripe.com/currencies#zero-decimal
WHOLE = {"bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf"}
# The most that Stripe takes at once: https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
MINOR_MAX = 99_999_999


def words(minor: int, currency: str) -> str:
    """The amount with its sign, or with its currency's code after it where it has none here."""
    name = currency.lower()
    figures = f"{minor:,}" if name in WHOLE else f"{minor // 100:,}.{minor % 100:02d}"
    return f"{SIGNS[name]}{figures}" if name in SIGNS else f"{figures} {name.upper()}"


def short(minor: int, currency: str) -> str:
    """The same without the decimals where there are none: "£25"."""
    return words(minor, currency).replace(".00", "", 1)


SMALLEST = {"gbp": "p", "eur": " ct", "usd": "¢"}


def each(minor: int, credits: int, currency: str) -> str:
    """What one of so many credits comes to, "1.8p", to the nearest tenth; empty for a currency without such a word.

    `credits` are microcredits.
    """
    name = currency.lower()
    if name not in SMALLEST or credits <= 0:
        return ""
    tenths = (minor * 20_000_000 + credits) // (2 * credits)
    return f"{tenths // 10}.{tenths % 10}{SMALLEST[name]}"


def plain(minor: int, currency: str) -> str:
    """The number alone, as fields take it and spreadsheets add it up: "1234.50", "-12.50"."""
    if currency.lower() in WHOLE:
        return str(minor)
    return f"{'-' if minor < 0 else ''}{abs(minor) // 100}.{abs(minor) % 100:02d}"


# No commas: "12,50" is twelve and a half to many people, and "1,000" is one. They are asked for again.
_PLAIN = re.compile(r"([0-9]{1,9})(?:\.([0-9]*))?", re.ASCII)


def parse(text: str, currency: str) -> int:
    """The smallest units that `text`, a plain decimal such as "12.50", stands for. ValueError for anything else."""
    digits = 0 if currency.lower() in WHOLE else 2
    match = _PLAIN.fullmatch(text.strip())
    part = (match[2] or "") if match is not None else ""
    if match is None or len(part) > digits:
        raise ValueError(f"Write an amount like 100{'.50' if digits else ''}.")
    return int(match[1]) * 10**digits + int(part.ljust(digits, "0") or 0)
