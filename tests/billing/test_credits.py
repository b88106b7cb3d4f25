"""The money type: what is read, what is written, and parts that add up to the whole."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import credits


@pytest.mark.parametrize(
    ("text", "micro"),
    [
        ("0", 0),
        ("0.000001", 1),
        ("0.571429", 571_429),
        ("12.5", 12_500_000),
        ("2.00", 2_000_000),
        ("1000000000", credits.AMOUNT_MAX),
        ("1000000000.000000", credits.AMOUNT_MAX),
    ],
)
def test_a_plain_decimal_is_an_amount(text: str, micro: int) -> None:
    assert credits.parse(text) == micro


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "-1",
            "-0",
            "+1",
            "1e-7",
            "1e3",
            "0.0000001",
            "1.2345678",
            "1.0000000",
            "1000000000.000001",
            "1000000001",
        ),
        *("9223372036854775808", "NaN", "Infinity", "inf", "٧", "1_000", "1,000", "1 000", " 1", "1 ", "1\n", "01"),
        *("00", ".5", "5.", "0x10", "1\0", "½", "²", "true", "None", "1.٧", "9" * 400),
    ],
)
def test_anything_else_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(credits.InvalidAmount, match=r"^[A-Z].*\.$"):
        credits.parse(text)


@given(st.text())
def test_no_text_at_all_is_read_as_something_python_would_not(text: str) -> None:
    try:
        micro = credits.parse(text)
    except credits.InvalidAmount:
        return
    assert 0 <= micro <= credits.AMOUNT_MAX
    assert Decimal(text) * credits.MICRO == micro


@given(st.integers(0, credits.AMOUNT_MAX))
def test_what_is_written_is_read_back(micro: int) -> None:
    text = credits.format(micro)
    assert credits.parse(text) == micro
    assert "e" not in text.lower()
    assert not ("." in text and text.endswith("0"))


@given(st.integers(-credits.BALANCE_MAX, credits.BALANCE_MAX))
def test_what_people_read_is_exact_and_has_two_decimals_at_least(micro: int) -> None:
    text = credits.display(micro)
    plain = text.replace("−", "-").replace(",", "")
    assert Decimal(plain) * credits.MICRO == micro
    assert len(plain.split(".")[1]) >= 2


@pytest.mark.parametrize(
    ("micro", "text"),
    [(2_000_000, "2.00"), (1_400_000_000, "1,400.00"), (571_429, "0.571429"), (-1_500_000, "−1.50"), (0, "0.00")],
)
def test_people_read_commas_and_a_real_minus(micro: int, text: str) -> None:
    assert credits.display(micro) == text


def test_a_sign_is_shown_where_asked() -> None:
    assert [credits.display(n, signed=True) for n in (1_000_000, 0, -1_000_000)] == ["+1.00", "0.00", "−1.00"]


def test_an_estimate_is_said_to_the_nearest_hundredth() -> None:
    assert [credits.about(n) for n in (3_580_531, 3_000_000, 4_999, 5_000, 1_999_999_999)] == [
        "3.58", "3.00", "0.00", "0.01", "2,000.00",
    ]  # fmt: skip


@given(st.integers(0, credits.BALANCE_MAX), st.lists(st.integers(0, 10**6), min_size=1).filter(any))
def test_parts_add_up_to_the_whole_and_none_is_off_by_a_microcredit(amount: int, weights: list[int]) -> None:
    parts = credits.split(amount, weights)
    assert sum(parts) == amount
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part * sum(weights) - amount * weight) < sum(weights)


def test_the_first_of_equals_gets_the_odd_microcredit() -> None:
    assert credits.split(10, [1, 1, 1]) == [4, 3, 3]
    assert credits.split(2, [1, 0, 1, 1]) == [1, 0, 1, 0]


@pytest.mark.parametrize("weights", [[], [0], [0, 0]])
def test_nothing_is_split_by_no_weight(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        credits.split(10, weights)


@given(st.decimals(0, 10**6, places=9))
def test_prices_round_up_and_allowances_down_by_less_than_a_microcredit(price: Decimal) -> None:
    exact = price * credits.MICRO
    assert 0 <= credits.round_price_up(price) - exact < 1
    assert 0 <= exact - credits.round_allowance_down(price) < 1
