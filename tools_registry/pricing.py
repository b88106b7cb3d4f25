"""What a run costs: pure functions from rates and quantities to microcredits, with the sentence that explains them.

`estimate` says before a run what it may cost; the hold is its maximum. `price` says after it what was delivered; within
the bounds that were asked for it is never above that maximum. Decimal inside, one rounding up to the microcredit at the
end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation, localcontext
from typing import Any, ClassVar

from billing import credits

RATE_MAX = Decimal(10**9)
RATE_DECIMALS_MAX = 12
DIGITS = 120  # more than any product of rates and quantities has, so that nothing is rounded on the way


@dataclass(frozen=True, slots=True)
class Estimate:
    """Microcredits, and the words that explain them."""

    min: int
    typical: int
    max: int
    explanation: str


class InvalidRates(ValueError):
    """The rates of a price cannot be read; the message names the rate."""


class Model(ABC):
    """One way to price. Rates are decimal strings of credits, by names; `takes` is every input of an operation by its
    name, each with the values it can be chosen from, none where it is not chosen.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    unit: ClassVar[str]  # follows the least that a run costs: “0.50 a second”
    help: ClassVar[str]  # for staff who write rates
    reads: ClassVar[frozenset[str]]  # the inputs that the price is made of
    rates_example: ClassVar[Mapping[str, Any]]

    @abstractmethod
    def check(self, rates: Mapping[str, Any], takes: Mapping[str, Sequence[str]]) -> None:
        """Raises InvalidRates, naming the rate, unless whatever is taken has its rate and every rate is read."""

    @abstractmethod
    def estimate(self, rates: Mapping[str, Any], inputs: Mapping[str, Any]) -> Estimate:
        """What a run with these inputs may cost."""

    @abstractmethod
    def price(self, rates: Mapping[str, Any], inputs: Mapping[str, Any], delivered: Mapping[str, Any]) -> int:
        """What was delivered costs. Raises LookupError where it does not say what the price is made of."""


def _rate(rates: Mapping[str, Any], *path: str) -> Decimal:
    value: Any = rates
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            raise InvalidRates(f"There is no rate {'.'.join(path)}.")
        value = value[name]
    try:
        rate = Decimal(value) if isinstance(value, str) and len(value) <= 40 else None
    except InvalidOperation:
        rate = None
    if rate is None or not rate.is_finite() or not 0 <= rate <= RATE_MAX or _decimals(rate) > RATE_DECIMALS_MAX:
        raise InvalidRates(
            f"The rate {'.'.join(path)} must be a decimal string of credits, zero or more, "
            f"with at most {RATE_DECIMALS_MAX} decimals."
        )
    return rate


def _decimals(rate: Decimal) -> int:
    exponent = rate.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def _known(rates: Mapping[str, Any], names: set[str]) -> None:
    """Raises InvalidRates for a name that nobody reads: a misspelt rate would count for nothing."""
    if odd := sorted(set(map(str, rates)) - names):
        raise InvalidRates(f"There is no rate called {odd[0][:60]} here; there are {', '.join(sorted(names))}.")


def _taken(takes: Mapping[str, Sequence[str]], reads: frozenset[str], title: str) -> None:
    if missing := sorted(reads - takes.keys()):
        raise InvalidRates(f"“{title}” needs the input {missing[0]}, which this does not have. Choose another way.")


def _shown(price: Decimal) -> str:
    return credits.display(credits.round_price_up(price))


def _size(size: str) -> str:
    return size.replace("x", " × ")


class PerSecond(Model):
    """Credits per second of the result: per_second[quality] × size_factor[size]; the shortest charge is one second."""

    name = "per_second"
    title = "Per second, by quality and size"
    unit = "a second"
    help = "per_second: credits for one second, by quality. size_factor: what that is multiplied by, by size."
    reads = frozenset({"seconds", "quality", "size"})
    rates_example: ClassVar = {
        "per_second": {"draft": "0.25", "standard": "0.5", "high": "1"},
        "size_factor": {"1280x720": "1"},
    }

    def check(self, rates: Mapping[str, Any], takes: Mapping[str, Sequence[str]]) -> None:
        _check_by_quality_and_size(self, "per_second", rates, takes)

    def estimate(self, rates: Mapping[str, Any], inputs: Mapping[str, Any]) -> Estimate:
        a_second = _by_quality_and_size("per_second", rates, inputs)
        most = credits.round_price_up(a_second * inputs["seconds"])
        return Estimate(
            min=min(most, credits.round_price_up(a_second)),
            typical=most,
            max=most,
            explanation=(
                f"{inputs['seconds']} s × {_shown(a_second)} a second, {inputs['quality']}, {_size(inputs['size'])}"
            ),
        )

    def price(self, rates: Mapping[str, Any], inputs: Mapping[str, Any], delivered: Mapping[str, Any]) -> int:
        """The price of the seconds delivered, at most of those asked for; a frame too few does not count."""
        asked = Decimal(inputs["seconds"])
        seconds = Decimal(str(delivered.get("seconds") or asked))
        if seconds > asked - Decimal("0.1"):
            seconds = asked
        return credits.round_price_up(_by_quality_and_size("per_second", rates, inputs) * max(seconds, Decimal(1)))


class PerPiece(Model):
    """Credits for each result, whatever is in it: per_piece[quality] × size_factor[size]."""

    name = "per_piece"
    title = "Per piece, by quality and size"
    unit = "each"
    help = "per_piece: credits for one result, by quality. size_factor: what that is multiplied by, by size."
    reads = frozenset({"quality", "size"})
    rates_example: ClassVar = {
        "per_piece": {"draft": "0.5", "standard": "1", "high": "2"},
        "size_factor": {"1024x1024": "1", "1536x1024": "1.5", "1024x1536": "1.5"},
    }

    def check(self, rates: Mapping[str, Any], takes: Mapping[str, Sequence[str]]) -> None:
        _check_by_quality_and_size(self, "per_piece", rates, takes)

    def estimate(self, rates: Mapping[str, Any], inputs: Mapping[str, Any]) -> Estimate:
        piece = credits.round_price_up(_by_quality_and_size("per_piece", rates, inputs))
        words = f"One at {credits.display(piece)}, {inputs['quality']}, {_size(inputs['size'])}"
        return Estimate(min=piece, typical=piece, max=piece, explanation=words)

    def price(self, rates: Mapping[str, Any], inputs: Mapping[str, Any], delivered: Mapping[str, Any]) -> int:
        return credits.round_price_up(_by_quality_and_size("per_piece", rates, inputs))


def _check_by_quality_and_size(
    model: Model, name: str, rates: Mapping[str, Any], takes: Mapping[str, Sequence[str]]
) -> None:
    _taken(takes, model.reads, model.title)
    _known(rates, {name, "size_factor"})
    for quality in takes["quality"]:
        _rate(rates, name, quality)
    for size in takes["size"]:
        _rate(rates, "size_factor", size)


def _by_quality_and_size(name: str, rates: Mapping[str, Any], inputs: Mapping[str, Any]) -> Decimal:
    return _rate(rates, name, inputs["quality"]) * _rate(rates, "size_factor", inputs["size"])


# A token is at least one byte of UTF-8, so the bytes of a text bound its tokens, whoever counts them.
INSTRUCTION_TOKENS_MAX = 1000
"""The room, in tokens, for what is read beside the person's own words: our instructions and how they are wrapped up."""


def input_tokens_max(inputs: Mapping[str, Any]) -> int:
    """The most tokens that may be read for these inputs: every byte of their texts, and our own instructions."""
    texts = (value for value in inputs.values() if isinstance(value, str))
    return INSTRUCTION_TOKENS_MAX + sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)


class PerToken(Model):
    """Credits for the tokens read and written, as they were counted: per_1000_input and per_1000_output for a thousand
    each; a run costs at least `minimum`.
    """

    name = "per_token"
    title = "By the tokens read and written"
    unit = "and up"
    help = (
        "per_1000_input: credits for 1,000 tokens read (the instructions and what was asked). per_1000_output: credits "
        "for 1,000 tokens written. minimum: what a run costs at least. A token is a word or a piece of one."
    )
    reads = frozenset({"length_max"})
    rates_example: ClassVar = {"per_1000_input": "0.1", "per_1000_output": "0.5", "minimum": "0.1"}

    def check(self, rates: Mapping[str, Any], takes: Mapping[str, Sequence[str]]) -> None:
        _taken(takes, self.reads, self.title)
        _known(rates, {"per_1000_input", "per_1000_output", "minimum"})
        for name in ("per_1000_input", "per_1000_output", "minimum"):
            _rate(rates, name)

    def estimate(self, rates: Mapping[str, Any], inputs: Mapping[str, Any]) -> Estimate:
        """At most every byte a token and the whole length; typically a third of one and three fifths of the other."""
        read, written = input_tokens_max(inputs), int(inputs["length_max"])
        least = credits.round_price_up(_rate(rates, "minimum"))
        most = self._of(rates, read, written)
        typical = self._of(rates, -(-read // 3), -(-written * 3 // 5))
        return Estimate(
            min=least,
            typical=typical,
            max=most,
            explanation=(
                f"Paid by the token, a word or a piece of one: up to {written:,} written at "
                f"{_shown(_rate(rates, 'per_1000_output'))} a thousand, up to {read:,} read at "
                f"{_shown(_rate(rates, 'per_1000_input'))} a thousand. Only what is used is charged, usually about "
                f"{credits.display(typical)}"
            ),
        )

    def price(self, rates: Mapping[str, Any], inputs: Mapping[str, Any], delivered: Mapping[str, Any]) -> int:
        """The price of the tokens that the provider counted. Raises LookupError where it did not count them."""
        return self._of(rates, _counted(delivered, "input_tokens"), _counted(delivered, "output_tokens"))

    @staticmethod
    def _of(rates: Mapping[str, Any], read: int, written: int) -> int:
        thousands = _rate(rates, "per_1000_input") * read + _rate(rates, "per_1000_output") * written
        return credits.round_price_up(max(thousands * Decimal("0.001"), _rate(rates, "minimum")))


def _counted(delivered: Mapping[str, Any], name: str) -> int:
    if name not in delivered:
        raise LookupError(f"It is not known how many {name.replace('_', ' ')} were used.")
    count = delivered[name]
    if type(count) is not int or not 0 <= count < 2**53:
        raise ValueError(f"{count!r} is no number of {name.replace('_', ' ')}.")
    return count


class Measured(Model):
    """Credits for what the kernel counted: base + CPU seconds × per_cpu_second + GB × seconds × per_gb_second, at least
    `minimum`, at most `maximum` (S3.3: 2 + 1 for 2 s of CPU + 1 for 4 s of a GB). A GB is 10⁹ bytes.

    Its inputs are the hard limits of the run, so that the most it can use is known before it starts.
    """

    name = "measured"
    title = "By measured processor time and memory"
    unit = "and up"
    help = (
        "base: credits for a run. per_cpu_second: for a second of processor time. per_gb_second: for a GB of memory "
        "held for a second. minimum, maximum: what a run costs at least and at most. What is held is the price at the "
        "tool’s hard limits."
    )
    reads = frozenset({"cpu_seconds", "seconds", "memory_mb"})
    rates_example: ClassVar = {
        "base": "2",
        "per_cpu_second": "0.5",
        "per_gb_second": "0.25",
        "minimum": "3",
        "maximum": "5",
    }
    # Of the limits, what a run uses as a rule, while too few runs have been counted to say better.
    USUAL_SHARE = Decimal("0.1")

    def check(self, rates: Mapping[str, Any], takes: Mapping[str, Sequence[str]]) -> None:
        _taken(takes, self.reads, self.title)
        _known(rates, set(self.rates_example))
        for name in self.rates_example:
            _rate(rates, name)
        if _rate(rates, "minimum") > _rate(rates, "maximum"):
            raise InvalidRates("The rate minimum is above the rate maximum.")

    def estimate(self, rates: Mapping[str, Any], inputs: Mapping[str, Any]) -> Estimate:
        cpu, seconds = Decimal(inputs["cpu_seconds"]), Decimal(inputs["seconds"])
        gb_seconds = Decimal(inputs["memory_mb"]) * 1024 * 1024 / 10**9 * seconds
        share = self.USUAL_SHARE
        return Estimate(
            min=self._of(rates, Decimal(0), Decimal(0)),
            typical=self._of(rates, cpu * share, gb_seconds * share * share),
            max=self._of(rates, cpu, gb_seconds),
            explanation=(
                f"{_shown(_rate(rates, 'base'))} for the run, {_shown(_rate(rates, 'per_cpu_second'))} a second of "
                f"processor time, {_shown(_rate(rates, 'per_gb_second'))} a second for each GB of memory; at least "
                f"{_shown(_rate(rates, 'minimum'))}, at most {_shown(_rate(rates, 'maximum'))}"
            ),
        )

    def price(self, rates: Mapping[str, Any], inputs: Mapping[str, Any], delivered: Mapping[str, Any]) -> int:
        """The price of what was counted: cpu_seconds, seconds, peak_memory_bytes. Raises LookupError without them."""
        gb_seconds = _amount(delivered, "peak_memory_bytes") / 10**9 * _amount(delivered, "seconds")
        return self._of(rates, _amount(delivered, "cpu_seconds"), gb_seconds)

    @staticmethod
    def _of(rates: Mapping[str, Any], cpu_seconds: Decimal, gb_seconds: Decimal) -> int:
        used = cpu_seconds * _rate(rates, "per_cpu_second") + gb_seconds * _rate(rates, "per_gb_second")
        whole = max(_rate(rates, "base") + used, _rate(rates, "minimum"))
        return credits.round_price_up(min(whole, _rate(rates, "maximum")))


def _amount(delivered: Mapping[str, Any], name: str) -> Decimal:
    if name not in delivered:
        raise LookupError(f"It is not known how much was used: {name}.")
    amount = Decimal(delivered[name])
    if not amount.is_finite() or not 0 <= amount < 2**53:
        raise ValueError(f"{amount} is no use of {name}.")
    return amount


class Fixed(Model):
    """One price for a run, whatever it uses."""

    name = "fixed"
    title = "One price for a run"
    unit = "each"
    help = "price: credits for one run."
    reads: ClassVar[frozenset[str]] = frozenset()
    rates_example: ClassVar = {"price": "10"}

    def check(self, rates: Mapping[str, Any], takes: Mapping[str, Sequence[str]]) -> None:
        _known(rates, {"price"})
        _rate(rates, "price")

    def estimate(self, rates: Mapping[str, Any], inputs: Mapping[str, Any]) -> Estimate:
        price = credits.round_price_up(_rate(rates, "price"))
        return Estimate(min=price, typical=price, max=price, explanation=f"{credits.display(price)} for each run")

    def price(self, rates: Mapping[str, Any], inputs: Mapping[str, Any], delivered: Mapping[str, Any]) -> int:
        return credits.round_price_up(_rate(rates, "price"))


MODELS: dict[str, Model] = {model.name: model for model in (PerSecond(), PerPiece(), PerToken(), Measured(), Fixed())}


def check(model: str, rates: Mapping[str, Any], takes: Mapping[str, Sequence[str]]) -> None:
    """Raises InvalidRates, naming the rate, unless the model can price by these rates whatever an operation takes."""
    MODELS[model].check(rates, takes)


def estimate(model: str, rates: Mapping[str, Any], inputs: Mapping[str, Any]) -> Estimate:
    """What a run with these inputs may cost: min ≤ typical ≤ max, and max is the price at its hard limits."""
    with localcontext(prec=DIGITS):
        return MODELS[model].estimate(rates, inputs)


def price(model: str, rates: Mapping[str, Any], inputs: Mapping[str, Any], delivered: Mapping[str, Any]) -> int:
    """What was delivered costs, in microcredits, at least the estimate's minimum.

    Above the estimate's maximum only where more was delivered than was asked for; who captures caps it at the hold and
    records the loss. Raises LookupError where `delivered` does not say what the price is made of: nobody guesses it.
    """
    with localcontext(prec=DIGITS):
        return max(MODELS[model].price(rates, inputs, delivered), MODELS[model].estimate(rates, inputs).min)
