"""What a run costs: pure functions from rates and quantities to microcredits, with the sentence that explains them.

`estimate` says before a run what it may cost; the hold is its maximum. `price` says after it what was delivered and is
never above that maximum. Decimal inside, one rounding up to the microcredit at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from billing import credits


@dataclass(frozen=True, slots=True)
class Estimate:
    """Microcredits, and the words that explain them."""

    min: int
    typical: int
    max: int
    explanation: str


class InvalidRates(ValueError):
    """The rates of a price cannot be read; the message names the rate."""


def _rate(rates: Mapping[str, Any], *path: str) -> Decimal:
    value: Any = rates
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            raise InvalidRates(f"There is no rate {'.'.join(path)}.")
        value = value[name]
    try:
        rate = Decimal(value) if isinstance(value, str) else None
    except InvalidOperation:
        rate = None
    if rate is None or not rate.is_finite() or rate < 0:
        raise InvalidRates(f"The rate {'.'.join(path)} must be a decimal string of credits, zero or more.")
    return rate


class PerSecond:
    """Credits per second of the result: per_second[quality] × size_factor[size]; the shortest charge is one second."""

    name = "per_second"
    title = "Per second, by quality and size"
    rates_example: Mapping[str, Any] = {
        "per_second": {"draft": "0.25", "standard": "0.5", "high": "1"},
        "size_factor": {"1280x720": "1"},
    }

    @staticmethod
    def check(rates: Mapping[str, Any], qualities: list[str], sizes: list[str]) -> None:
        """Raises InvalidRates, naming the rate, unless every quality and size has its rate."""
        for quality in qualities:
            _rate(rates, "per_second", quality)
        for size in sizes:
            _rate(rates, "size_factor", size)

    @staticmethod
    def _a_second(rates: Mapping[str, Any], inputs: Mapping[str, Any]) -> Decimal:
        return _rate(rates, "per_second", inputs["quality"]) * _rate(rates, "size_factor", inputs["size"])

    @classmethod
    def estimate(cls, rates: Mapping[str, Any], inputs: Mapping[str, Any]) -> Estimate:
        a_second = cls._a_second(rates, inputs)
        most = credits.round_price_up(a_second * inputs["seconds"])
        shown = credits.display(credits.round_price_up(a_second))
        size = inputs["size"].replace("x", " × ")
        return Estimate(
            min=min(most, credits.round_price_up(a_second)),
            typical=most,
            max=most,
            explanation=f"{inputs['seconds']} s × {shown} a second, {inputs['quality']}, {size}",
        )

    @classmethod
    def price(cls, rates: Mapping[str, Any], inputs: Mapping[str, Any], delivered: Mapping[str, Any]) -> int:
        """The price of the seconds delivered, at most of those asked for; a frame too few does not count."""
        asked = Decimal(inputs["seconds"])
        seconds = Decimal(str(delivered.get("seconds") or asked))
        if seconds > asked - Decimal("0.1"):
            seconds = asked
        return credits.round_price_up(cls._a_second(rates, inputs) * max(seconds, Decimal(1)))


MODELS = {model.name: model for model in (PerSecond,)}


def estimate(model: str, rates: Mapping[str, Any], inputs: Mapping[str, Any]) -> Estimate:
    """What a run with these inputs may cost: min ≤ typical ≤ max, and max is the price at its hard limits."""
    return MODELS[model].estimate(rates, inputs)


def price(model: str, rates: Mapping[str, Any], inputs: Mapping[str, Any], delivered: Mapping[str, Any]) -> int:
    """What was delivered costs, in microcredits, at least the estimate's minimum.

    It may be above the maximum where the rates say so; who captures caps it at the hold and records the loss.
    """
    return max(MODELS[model].price(rates, inputs, delivered), estimate(model, rates, inputs).min)
