"""Money as people write and read it, in the currency's smallest unit."""

from __future__ import annotations

import pytest

from billing import money


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("12.50", "gbp", 1250),
        (" 12.5 ", "GBP", 1250),
        ("12", "gbp", 1200),
        ("12.", "gbp", 1200),
        ("1000.50", "gbp", 100_050),
        ("123456789", "eur", 12_345_678_900),
        ("1200", "jpy", 1200),
    ],
)
def test_an_amount_is_read_as_it_was_meant(text: str, currency: str, minor: int) -> None:
    assert money.parse(text, currency) == minor


@pytest.mark.parametrize(
    "text",
    [
        "12,50",
        "1,000",
        "1,000.50",
        "1,0000",
        ",5",
        "1,2,3",
        "10,00.5",
        "12.505",
        "-5",
        "+5",
        "1e3",
        "٧",
        "",
        ".5",
        "1.5.0",
        "1 000",
    ],
)
def test_what_could_be_meant_otherwise_is_asked_for_again(text: str) -> None:
    with pytest.raises(ValueError, match="Write an amount like"):
        money.parse(text, "gbp")


def test_a_currency_without_a_smaller_unit_has_no_decimals() -> None:
    with pytest.raises(ValueError, match=r"like 100\.$"):
        money.parse("1200.5", "jpy")


@pytest.mark.parametrize(
    ("minor", "currency", "plain", "words"),
    [
        (123_450, "gbp", "1234.50", "£1,234.50"),
        (5, "eur", "0.05", "€0.05"),
        (1200, "jpy", "1200", "1,200 JPY"),
        (100, "chf", "1.00", "1.00 CHF"),
    ],
)
def test_an_amount_is_written_plainly_and_in_words(minor: int, currency: str, plain: str, words: str) -> None:
    assert money.plain(minor, currency) == plain
    assert money.words(minor, currency) == words
    assert money.parse(plain, currency) == minor


def test_what_was_undone_has_its_sign_before_the_number() -> None:
    assert money.plain(-1250, "gbp") == "-12.50"
    assert money.plain(-5, "gbp") == "-0.05"
