"""Credits as money: whole microcredits inside, decimal strings at the edges, no float anywhere.

One credit is 1,000,000 microcredits. Every amount in the database and in the ledger is a whole number of
microcredits; `Decimal` appears only while a price is worked out, and leaves through one named rounding.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

MICRO = 1_000_000
AMOUNT_MAX = 10**9 * MICRO
"""The largest single amount, a thousand million credits."""
BALANCE_MAX = 10**11 * MICRO
"""The largest balance of one account."""

# ASCII digits only: "٧" and "1_000" are numbers to Python's Decimal and must not be to us.
_AMOUNT = re.compile(r"(-?)(0|[1-9][0-9]{0,11})(?:\.([0-9]{1,18}))?", re.ASCII)


class InvalidAmount(ValueError):
    """The text is not an amount of credits; the message is a sentence for the person who wrote it."""


def parse(text: str) -> int:
    """The microcredits that `text`, a plain decimal such as "12.5", stands for.

    Raises InvalidAmount for a sign, an exponent, more than six decimals, or more than 10^9 credits.
    Zero is an amount; whether it is allowed is the verb's question.
    """
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise InvalidAmount('Write credits as a plain decimal number, for example "12.5".')
    sign, whole, fraction = match.groups()
    if sign:
        raise InvalidAmount("Credits cannot be negative here.")
    fraction = fraction or ""
    if len(fraction) > 6:
        raise InvalidAmount("Credits have at most six decimals.")
    micro = int(whole) * MICRO + int(fraction[:6].ljust(6, "0") or 0)
    if micro > AMOUNT_MAX:
        raise InvalidAmount("That is more than 1,000,000,000 credits, the most that one amount may be.")
    return micro


def format(micro: int) -> str:
    """The exact decimal string of `micro`, without trailing zeros: "0.571429", "2", "-1.5"."""
    sign = "-" if micro < 0 else ""
    whole, fraction = divmod(abs(micro), MICRO)
    if not fraction:
        return f"{sign}{whole}"
    return f"{sign}{whole}.{fraction:06d}".rstrip("0")


def display(micro: int, *, signed: bool = False) -> str:
    """`micro` as people read it: two decimals, more only where they are not zero, "−" as minus, "+" if `signed`."""
    whole, fraction = divmod(abs(micro), MICRO)
    digits = f"{fraction:06d}"
    digits = digits[:2] + digits[2:].rstrip("0")
    sign = "−" if micro < 0 else "+" if signed and micro > 0 else ""
    return f"{sign}{whole:,}.{digits}"


def about(micro: int) -> str:
    """As `display`, to the nearest hundredth: for what is only an estimate."""
    hundredth = MICRO // 100
    return display((micro + hundredth // 2) // hundredth * hundredth)


def short(micro: int) -> str:
    """As `display`, without the decimals where there are none: "1,400" for what is sold by the hundred."""
    return display(micro).removesuffix(".00")


def round_price_up(price: Decimal) -> int:
    """A price in credits as microcredits, up to the next microcredit: the one rounding of prices."""
    return int((price * MICRO).to_integral_value(rounding=ROUND_CEILING))


def round_allowance_down(credits: Decimal) -> int:
    """Credits that we give for a part of a period as microcredits, down to the microcredit."""
    return int((credits * MICRO).to_integral_value(rounding=ROUND_FLOOR))


def split(amount: int, weights: Sequence[int]) -> list[int]:
    """`amount` in parts proportional to `weights` that add up to it exactly (largest remainder, first wins ties)."""
    total = sum(weights)
    if total <= 0:
        raise ValueError("weights must add up to more than zero")
    parts = [amount * weight // total for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(amount * weights[i] % total), i))
    for i in by_remainder[: amount - sum(parts)]:
        parts[i] += 1
    return parts
