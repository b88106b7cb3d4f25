"""What a run costs: worked examples, every rate that is refused, and the laws that hold for any input."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import credits
from tools_registry import pricing, registry
from tools_registry.catalogue import SHIPPED_COSTS
from tools_registry.studio import Tool

RATES = {cost["tool"]: (str(cost["model"]), cost["rates"]) for cost in SHIPPED_COSTS}
SECONDS = RATES["ai/video"][1]
PIECES = RATES["ai/image"][1]
TOKENS = RATES["ai/script"][1]
SCRIPT = dict(registry.SCRIPT.example)
ONE_BYTE = {"prompt": "x", "kind": "", "tone": "", "seconds": 30, "length_max": 100}


def estimate(tool: str, **inputs: Any) -> pricing.Estimate:
    model, rates = RATES[tool]
    return pricing.estimate(model, rates, {**registry.OPERATIONS[tool].example, **inputs})


def price(tool: str, delivered: dict[str, Any], **inputs: Any) -> int:
    model, rates = RATES[tool]
    return pricing.price(model, rates, {**registry.OPERATIONS[tool].example, **inputs}, delivered)


def used(read: Any, written: Any) -> dict[str, Any]:
    return {"input_tokens": read, "output_tokens": written}


def test_everything_ships_with_a_price_for_whatever_it_takes() -> None:
    assert set(RATES) == set(registry.priced())
    for slug, (model, rates) in RATES.items():
        priced = registry.priced()[slug]
        takes = {name: [] for name in priced.bounds} if isinstance(priced, Tool) else priced.takes
        pricing.check(model, rates, takes)


# Worked examples, checked by hand


@pytest.mark.parametrize(
    ("inputs", "least", "typical", "most"),
    [
        # seconds × per_second × size_factor
        ({"seconds": 4}, "0.5", "2", "2"),
        ({"seconds": 1}, "0.5", "0.5", "0.5"),
        ({"seconds": 20, "quality": "high", "size": "1920x1080"}, "2", "40", "40"),
        ({"seconds": 3, "quality": "draft", "size": "854x480"}, "0.1875", "0.5625", "0.5625"),
    ],
)
def test_a_video_costs_its_seconds(inputs: dict[str, Any], least: str, typical: str, most: str) -> None:
    found = estimate("ai/video", **inputs)
    assert [credits.format(part) for part in (found.min, found.typical, found.max)] == [least, typical, most]


@pytest.mark.parametrize(
    ("quality", "size", "cost"),
    [
        ("draft", "1024x1024", "0.5"),
        ("standard", "1024x1024", "1"),
        ("high", "1024x1024", "2"),
        ("standard", "1536x1024", "1.5"),
        ("draft", "1024x1536", "0.75"),
        ("high", "1024x1536", "3"),
    ],
)
def test_a_picture_costs_the_same_whatever_is_in_it(quality: str, size: str, cost: str) -> None:
    found = estimate("ai/image", quality=quality, size=size)
    assert {credits.format(part) for part in (found.min, found.typical, found.max)} == {cost}
    for delivered in ({}, {"seconds": None, "width": 1, "height": 9_999}, used(5, 5)):
        assert price("ai/image", delivered, quality=quality, size=size) == found.max


@pytest.mark.parametrize(
    ("inputs", "read", "typical", "most"),
    [
        # most: (1,000 + bytes) × 0.0001 + length × 0.0005; typical: a third of the one, three fifths of the other
        ({"prompt": "x"}, 1_001, "0.0634", "0.1501"),
        ({"prompt": "x", "length_max": 4_000}, 1_001, "1.2334", "2.1001"),
        ({"prompt": "x" * 4_000, "length_max": 4_000}, 5_000, "1.3667", "2.5"),
        ({"prompt": "é" * 4_000, "length_max": 100}, 9_000, "0.33", "0.95"),
        ({"prompt": "\U0001f600" * 4_000, "length_max": 4_000}, 17_000, "1.7667", "3.7"),  # four bytes each
        ({"prompt": "\ud800"}, 1_003, "0.0635", "0.1503"),  # refused long before, and still counted
        ({"prompt": "x", "tone": "warm", "kind": "advert"}, 1_011, "0.0637", "0.1511"),
    ],
)
def test_a_text_may_cost_every_byte_and_the_whole_length(
    inputs: dict[str, Any], read: int, typical: str, most: str
) -> None:
    free = TOKENS | {"minimum": "0"}
    given = ONE_BYTE | inputs
    found = pricing.estimate("per_token", free, given)
    assert pricing.input_tokens_max(given) == read
    assert [credits.format(part) for part in (found.min, found.typical, found.max)] == ["0", typical, most]


@pytest.mark.parametrize(
    ("read", "written", "cost"),
    [
        (200, 400, "0.22"),
        (1, 1, "0.1"),  # the minimum
        (0, 0, "0.1"),
        (0, 200, "0.1"),
        (0, 201, "0.1005"),
        (1, 200, "0.1001"),
        (1_000, 800, "0.5"),
    ],
)
def test_a_text_costs_the_tokens_that_were_counted(read: int, written: int, cost: str) -> None:
    assert credits.format(price("ai/script", used(read, written))) == cost


def test_a_price_is_rounded_up_once() -> None:
    rates = {"per_1000_input": "0.000001", "per_1000_output": "0.000001", "minimum": "0"}
    # 1.0 thousandths of a microcredit each; rounded one by one they would be two microcredits
    assert pricing.price("per_token", rates, ONE_BYTE, used(1, 1)) == 1
    assert pricing.price("per_token", rates, ONE_BYTE, used(500, 500)) == 1
    assert pricing.price("per_token", rates, ONE_BYTE, used(500, 501)) == 2
    assert pricing.price("per_token", rates, ONE_BYTE, used(0, 0)) == 0


def test_nothing_is_rounded_on_the_way() -> None:
    """Products of more digits than Decimal keeps by itself still end in the next microcredit."""
    rates = {"per_second": {"q": "999999999.000000000001"}, "size_factor": {"s": "999999999.000000000001"}}
    exact = int(Decimal("999999999000000000001") ** 2 * 20)  # in 10^-24 credits: 43 digits
    found = pricing.estimate("per_second", rates, {"seconds": 20, "quality": "q", "size": "s"})
    assert found.max == -(-exact // 10**18)


# Refused


@pytest.mark.parametrize(
    "delivered",
    [{}, {"input_tokens": 1}, {"output_tokens": 1}, {"seconds": None, "width": None}],
    ids=["nothing", "only what was read", "only what was written", "another kind of output"],
)
def test_tokens_that_nobody_counted_have_no_price(delivered: dict[str, Any]) -> None:
    with pytest.raises(LookupError, match="not known how many"):
        price("ai/script", delivered)


@pytest.mark.parametrize("count", [-1, 1.5, "12", True, None, 2**53])
@pytest.mark.parametrize("name", ["input_tokens", "output_tokens"])
def test_what_is_no_count_has_no_price(name: str, count: Any) -> None:
    with pytest.raises(ValueError, match="is no number of"):
        price("ai/script", used(1, 1) | {name: count})


CHECKED = [
    # tool, model, change of the rates, what the refusal names
    ("ai/video", "per_second", {"per_second": {"draft": "1", "standard": "1"}}, "per_second.high"),
    ("ai/video", "per_second", {"size_factor": {}}, "size_factor.1280x720"),
    ("ai/video", "per_second", {"per_secnd": {}}, "no rate called per_secnd"),
    ("ai/image", "per_piece", {"per_piece": {"draft": "0.5", "standard": "1"}}, "per_piece.high"),
    ("ai/image", "per_piece", {"size_factor": {"1024x1024": "1", "1536x1024": "1"}}, "size_factor.1024x1536"),
    ("ai/image", "per_piece", {"per_piece": "1"}, "per_piece.draft"),
    ("ai/image", "per_piece", {"minimum": "1"}, "no rate called minimum"),
    ("ai/script", "per_token", {"per_1000_input": None}, "per_1000_input"),
    ("ai/script", "per_token", {"per_1000_output": 0.5}, "per_1000_output"),
    ("ai/script", "per_token", {"minimum": "-0.1"}, "minimum"),
    ("ai/script", "per_token", {"minimum": "NaN"}, "minimum"),
    ("ai/script", "per_token", {"minimum": "Infinity"}, "minimum"),
    ("ai/script", "per_token", {"minimum": "a little"}, "minimum"),
    ("ai/script", "per_token", {"minimum": "1E+999999"}, "minimum"),
    ("ai/script", "per_token", {"minimum": "1000000000.1"}, "minimum"),
    ("ai/script", "per_token", {"minimum": "0.0000000000001"}, "minimum"),
    ("ai/script", "per_token", {"maximum": "5"}, "no rate called maximum"),
    # a way of pricing that the operation has no inputs for
    ("ai/script", "per_second", None, "needs the input quality"),
    ("ai/image", "per_second", None, "needs the input seconds"),
    ("ai/image", "per_token", None, "needs the input length_max"),
    ("ai/threads", "per_piece", None, "needs the input quality"),
    ("ai/video", "per_piece", None, "size_factor.1280x720"),
]


@pytest.mark.parametrize(("tool", "model", "change", "named"), CHECKED)
def test_rates_that_leave_something_without_a_price_are_refused(
    tool: str, model: str, change: dict[str, Any] | None, named: str
) -> None:
    rates = dict(pricing.MODELS[model].rates_example) if change is None else RATES[tool][1] | change
    with pytest.raises(pricing.InvalidRates, match=named):
        pricing.check(model, rates, registry.OPERATIONS[tool].takes)


@pytest.mark.parametrize("model", sorted(pricing.MODELS))
def test_the_example_of_every_model_can_be_read(model: str) -> None:
    example = pricing.MODELS[model].rates_example
    chosen = {"quality": ["draft", "standard", "high"], "size": list(example.get("size_factor", {}))}
    limits = {"cpu_seconds": [], "memory_mb": []}
    pricing.check(model, example, {"prompt": [], "seconds": [], "length_max": [], **limits, **chosen})


# In words


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ("ai/video", "4 s × 0.50 a second, standard, 1280 × 720"),
        ("ai/image", "One at 1.00, standard, 1024 × 1024"),
        (
            "ai/script",
            "Paid by the token, a word or a piece of one: up to 800 written at 0.50 a thousand, up to 1,056 read at "
            "0.10 a thousand. Only what is used is charged, usually about 0.2752",
        ),
    ],
)
def test_an_estimate_explains_itself(tool: str, words: str) -> None:
    assert estimate(tool).explanation == words


def test_every_explanation_fits_its_column() -> None:
    dear = {"per_1000_input": "999999999.123456", "per_1000_output": "999999999.123456", "minimum": "999999999"}
    inputs = SCRIPT | {"prompt": "\U0001f600" * 4_000, "length_max": 4_000}
    assert len(pricing.estimate("per_token", dear, inputs).explanation) <= 300


# Laws

rate = st.decimals(0, 1_000, places=6).map(lambda value: f"{value:f}")
tokens = st.fixed_dictionaries({"per_1000_input": rate, "per_1000_output": rate, "minimum": rate})
texts = st.fixed_dictionaries(
    {
        "prompt": st.text(min_size=1, max_size=200),
        "tone": st.sampled_from(["warm", "plain"]),
        "seconds": st.integers(10, 180),
        "length_max": st.integers(100, 4_000),
    }
)


@given(tokens, texts, st.data())
def test_tokens_within_the_bounds_never_cost_more_than_the_maximum(
    rates: dict[str, str], inputs: dict[str, Any], data: st.DataObject
) -> None:
    found = pricing.estimate("per_token", rates, inputs)
    assert found.min <= found.typical <= found.max
    read = data.draw(st.integers(0, pricing.input_tokens_max(inputs)))
    written = data.draw(st.integers(0, inputs["length_max"]))
    cost = pricing.price("per_token", rates, inputs, used(read, written))
    assert found.min <= cost <= found.max
    bounds = used(pricing.input_tokens_max(inputs), inputs["length_max"])
    assert pricing.price("per_token", rates, inputs, bounds) == found.max


@given(tokens, texts, st.integers(0, 20_000), st.integers(0, 4_000), st.integers(0, 500), st.integers(0, 500))
def test_more_tokens_and_longer_texts_never_cost_less(
    rates: dict[str, str], inputs: dict[str, Any], read: int, written: int, more_read: int, more_written: int
) -> None:
    before = pricing.price("per_token", rates, inputs, used(read, written))
    assert before <= pricing.price("per_token", rates, inputs, used(read + more_read, written + more_written))
    longer = inputs | {"prompt": inputs["prompt"] + "x" * more_read, "length_max": inputs["length_max"] + more_written}
    small, large = (pricing.estimate("per_token", rates, one) for one in (inputs, longer))
    assert (small.typical <= large.typical) & (small.max <= large.max)


@given(rate, rate, st.integers(1, 20), st.decimals(0, 40, places=3))
def test_seconds_and_pieces_keep_to_their_estimates(a: str, b: str, seconds: int, delivered: Decimal) -> None:
    inputs = {"seconds": seconds, "quality": "q", "size": "s"}
    for model, name in (("per_second", "per_second"), ("per_piece", "per_piece")):
        rates = {name: {"q": a}, "size_factor": {"s": b}}
        found = pricing.estimate(model, rates, inputs)
        assert found.min <= found.typical <= found.max
        assert found.min <= pricing.price(model, rates, inputs, {"seconds": str(delivered)}) <= found.max


# Studio tools: what the kernel counted


@pytest.mark.parametrize(
    ("cpu_seconds", "seconds", "peak_mb", "charged"),
    [
        # 2 + CPU ÷ 2 + 10⁶ × MB ÷ 10⁹ × seconds ÷ 4, at least 3, at most 25
        ("0", "0", 0, "3"),
        ("1.999998", "0", 0, "3"),
        ("2", "0", 0, "3"),
        ("2.000002", "0", 0, "3.000001"),
        ("4.5", "0", 0, "4.25"),
        ("4.5", "5", 200, "4.5"),
        ("0.8", "1.25", 1600, "3"),
        ("0.9", "2.5", 1600, "3.45"),
        ("1.000001", "3.333333", 777, "3.147501"),
        ("60", "60", 512, "25"),
    ],
)
def test_a_tool_costs_what_the_kernel_counted(cpu_seconds: str, seconds: str, peak_mb: int, charged: str) -> None:
    rates = {"base": "2", "per_cpu_second": "0.5", "per_gb_second": "0.25", "minimum": "3", "maximum": "25"}
    bounds = {"cpu_seconds": 60, "seconds": 60, "memory_mb": 4096}
    used = {"cpu_seconds": cpu_seconds, "seconds": seconds, "peak_memory_bytes": peak_mb * 10**6}
    assert credits.format(pricing.price("measured", rates, bounds, used)) == charged
    found = pricing.estimate("measured", rates, bounds)
    assert credits.format(found.min) == "3"
    assert credits.format(found.max) == "25"


@given(
    cpu=st.decimals(0, 30, places=6),
    seconds=st.decimals(0, 60, places=6),
    memory=st.integers(0, 512 * 1024 * 1024),
)
def test_a_run_within_its_limits_never_costs_more_than_its_hold(cpu: Decimal, seconds: Decimal, memory: int) -> None:
    rates = {"base": "2", "per_cpu_second": "0.5", "per_gb_second": "0.25", "minimum": "3", "maximum": "100"}
    bounds = {"cpu_seconds": 30, "seconds": 60, "memory_mb": 512}
    used = {"cpu_seconds": cpu, "seconds": seconds, "peak_memory_bytes": memory}
    found = pricing.estimate("measured", rates, bounds)
    assert found.min <= pricing.price("measured", rates, bounds, used) <= found.max
    assert found.min <= found.typical <= found.max


@pytest.mark.parametrize("missing", ["cpu_seconds", "seconds", "peak_memory_bytes"])
def test_what_was_not_counted_has_no_price(missing: str) -> None:
    rates = dict(pricing.MODELS["measured"].rates_example)
    used = {"cpu_seconds": 1, "seconds": 1, "peak_memory_bytes": 1}
    del used[missing]
    with pytest.raises(LookupError, match=missing):
        pricing.price("measured", rates, {"cpu_seconds": 5, "seconds": 10, "memory_mb": 512}, used)


def test_one_price_for_a_run_is_its_price() -> None:
    found = pricing.estimate("fixed", {"price": "10"}, {})
    assert found.min == found.typical == found.max == 10 * 1_000_000
    assert pricing.price("fixed", {"price": "10"}, {}, {}) == 10 * 1_000_000


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"minimum": "6"}, "minimum is above"),
        ({"per_gb": "1"}, "no rate called per_gb"),
        ({"base": "-1"}, "base"),
        ({"maximum": None}, "maximum"),
    ],
)
def test_rates_that_cannot_price_a_tool_are_refused(change: dict[str, Any], named: str) -> None:
    rates = dict(pricing.MODELS["measured"].rates_example) | change
    with pytest.raises(pricing.InvalidRates, match=named):
        pricing.check("measured", rates, {"cpu_seconds": [], "seconds": [], "memory_mb": []})
