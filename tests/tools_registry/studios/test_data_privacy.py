"""Personal data is found by form, checksum and name, never shown; the assessment names what is missing by article."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pace import within_cpu
from tools_registry import studio
from tools_registry.studio import BadInput, InvalidInputs
from tools_registry.studios.data.personal import find_in_text
from tools_registry.studios.data.privacy import EXAMPLE, TOOL

from .tabular import example, file, run


def kinds(text: str) -> list[str]:
    return [kind for kind, _, _ in find_in_text(text, "GB")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("write to ada.miller+news@mail.example.co.uk today", ["email"]),
        ("call +44 20 7946 0958", ["phone"]),
        ("call (415) 555-2671", []),  # no number of the United Kingdom
        ("GB82 WEST 1234 5698 7654 32", ["iban"]),
        ("GB82WEST12345698765432", ["iban"]),
        ("GB83 WEST 1234 5698 7654 32", []),  # its sum is wrong
        ("4111 1111 1111 1111", ["card"]),
        ("4111 1111 1111 1112", []),
        ("378282246310005", ["card"]),
        ("1234567812345670", []),  # Luhn holds, nobody issues it
        ("AB 12 34 56 C", ["uk_nino"]),
        ("BG123456A", []),
        ("536-90-4399", ["us_ssn"]),
        ("000-12-3456", []),
        ("666-12-3456", []),
        ("seen from 203.0.113.9 and 2001:db8::7", ["ip_address", "ip_address"]),
        ("version 1.2.3.4.5 and 300.1.1.1", []),
        ("born on 3 May 1980 at 12 High Street, SW1A 1AA", ["date_of_birth", "address", "uk_postcode"]),
        ("was given insulin for diabetes", ["health", "health"]),
        ("invoice 2026-01-05, 1,234.50, order 1234567890", []),
        ("NHS number: 943 476 5919, call 943 476 5919", ["nhs_number"]),
        ("NHS number: 943 476 5918", []),  # its check digit is wrong
        ("release 10.2.3.4 and v1.2.3.4 from 203.0.113.9", ["ip_address"]),
        ("password=hunter2 and Authorization: Bearer abcdefgh12345678.xyz", ["secret", "secret"]),
        ("The password: choose a long one", []),
    ],
)
def test_forms_and_their_checksums(text: str, found: list[str]) -> None:
    assert kinds(text) == found


def columns(result) -> dict[str, str]:
    return {one["column"]: one["type"] for one in reversed(result.result["findings"])}


def test_a_table_is_found_out_column_by_column() -> None:
    assert columns(example(TOOL)) == {
        "full_name": "name",
        "email": "email",
        "phone": "phone",
        "date_of_birth": "date_of_birth",
        "postcode": "uk_postcode",
        "iban": "iban",
        "diagnosis": "health",
        "last_ip": "ip_address",
    }


def test_names_of_columns_alone_are_less_sure_and_plain_columns_are_left_alone() -> None:
    table = b"sku,firstName,religion,salary,colour,quantity\n1,Xq,a,3000,red,4\n2,Yz,b,3100,blue,5\n"
    result = run(TOOL, document=table)
    assert columns(result) == {"firstName": "name", "religion": "religion", "salary": "income"}
    assert all(one["confidence"] == 0.6 for one in result.result["findings"])
    clean = run(TOOL, document=b"sku,colour,quantity\nA-1,red,4\nA-2,blue,5\n").result
    assert clean["findings"] == []
    assert clean["assessment"]["missing"] == []
    assert clean["assessment"]["score"]["residual"] == 0


THINGS = {
    "race": ["Monza", "Spa"],
    "condition": ["new", "used"],
    "treatment_group": ["A", "B"],
    "union_type": ["inner", "outer"],
    "orientation": ["landscape", "portrait"],
    "votes": ["12", "3"],
    "iris": ["setosa", "virginica"],
    "product_name": ["Oak table", "Ash chair"],
    "file name": ["a.txt", "b.txt"],
    "version": ["10.2.3.4", "10.2.3.5"],
    "lat_ms": ["12.5", "18.1"],
    "long_description": ["A table", "A chair"],
    "phone_model": ["Fair 5", "Nord 2"],
}


def test_columns_that_are_called_like_something_else_decide_nothing() -> None:
    """A race is also run and a condition also new: no duty follows from the name alone, and it is still said."""
    table = "\n".join([",".join(THINGS), *(",".join(row) for row in zip(*THINGS.values(), strict=True))])
    result = run(TOOL, document=table.encode()).result
    assert result["assessment"]["special_categories"] == []
    assert result["assessment"]["missing"] == []
    assert result["assessment"]["score"]["inherent"] == 0
    assert {one["confidence"] for one in result["findings"]} == {0.3}
    assert {one["column"] for one in result["findings"]} == {
        *("race", "condition", "treatment_group", "union_type", "orientation", "votes", "iris")
    }
    assert "may say so" in result["findings"][0]["why"]


@pytest.mark.parametrize(
    ("column", "values", "kind"),
    [
        ("race", ["White", "Black or African American", "Asian"], "ethnicity"),
        ("orientation", ["straight", "gay", "bi"], "sexuality"),
        ("condition", ["asthma", "diabetes", "epilepsy"], "health"),
        ("vote", ["Labour", "Conservative", "Green"], "politics"),
        ("medical_condition", ["none", "x", "y"], "health"),
        ("lat", ["51.5074", "53.4808", "55.9533"], "location"),
    ],
)
def test_the_values_say_what_the_name_leaves_open(column: str, values: list[str], kind: str) -> None:
    table = "\n".join([f"n,{column}", *(f"{at},{value}" for at, value in enumerate(values))])
    (one,) = run(TOOL, document=table.encode()).result["findings"]
    assert (one["type"], one["column"]) == (kind, column)
    assert one["confidence"] >= 0.5


def test_nothing_raw_is_in_the_answer_or_its_files() -> None:
    result = example(TOOL)
    written = studio.encode(result).decode("utf-8", "replace")
    for row in csv.reader(io.StringIO(EXAMPLE.decode().split("\n", 1)[1])):
        for value in row[1:]:
            if value not in ("", "none"):
                assert value not in written
    text = b"Ada Miller, ada@example.com, 4111 1111 1111 1111\n"
    assert b"ada" not in studio.encode(run(TOOL, {"kind": "text"}, document=text)).lower()


def test_a_file_whose_first_line_is_a_person_has_no_heading() -> None:
    result = run(TOOL, document=b"Ada Miller,ada@example.com\nBen Carter,ben@example.com\n")
    assert columns(result) == {"column_1": "name", "column_2": "email"}
    assert b"ada@example.com" not in studio.encode(result)


def test_names_of_columns_are_looked_at_too() -> None:
    found = run(TOOL, document=b"id,diabetes,is_pregnant\n1,yes,no\n2,no,no\n3,no,yes\n")
    assert columns(found) == {"diabetes": "health", "is_pregnant": "health"}
    told = run(TOOL, document=("x.json", b'[{"ada@example.com": 1, "Ada Miller": 2, "n": 3}]'))
    assert b"ada" not in studio.encode(told).lower()
    headless = run(TOOL, document=b"Ada Miller,London\nBen Carter,Leeds\n")
    assert b"ada" not in studio.encode(headless).lower()


def test_a_text_is_told_by_its_lines() -> None:
    text = b"Dear team,\n\nplease ring 020 7946 0958 or write to\nada@example.com, she has asthma.\n"
    found = {one["type"]: one["lines"] for one in run(TOOL, document=("mail.txt", text)).result["findings"]}
    assert found == {"phone": [3], "email": [4], "health": [4]}


def test_json_is_read_too() -> None:
    document = ("people.json", b'[{"contact": "ada@example.com"}, {"contact": "ben@example.com"}]')
    assert columns(run(TOOL, document=document)) == {"contact": "email"}


ALL = {
    "laws": ["gdpr", "ccpa"],
    "purpose": "Sending the newsletter that people asked for",
    "basis": "consent",
    "retention_months": 24,
    "recipients": ["Mailer"],
    "transfers": "adequate",
}


def articles(result, law: str = "gdpr") -> set[str]:
    return {one["article"] for one in result.result["assessment"]["missing"] if one["law"] == law}


def test_the_score_by_hand() -> None:
    """E-mail only: sensitivity 1; up to 1,000 people: 1; adequate: 1; one recipient: 1; no criterion.

    100 × (0.35 × 1/4 + 0.20 × 1/4 + 0.15 × 1/3 + 0.10 × 1/3) = 22.08. Five duties are kept: basis, purpose, retention,
    transfers, retention disclosed. residual = 22.08 × (1 − 0.6 × 5 ÷ duties).
    """
    score = run(TOOL, ALL, document=b"id,email\n1,ada@example.com\n").result["assessment"]["score"]
    assert score["inherent"] == 22.1
    kept, duties = score["duties_kept"], score["duties"]
    assert kept == 5
    assert score["residual"] == round(22.08333 * (1 - 0.6 * kept / duties), 1)


def test_missing_safeguards_by_article() -> None:
    missing = articles(run(TOOL, {"subjects": ["children"], "basis": "consent"}, document=EXAMPLE))
    assert {"Art. 9(2)", "Art. 8", "Art. 7(1), 7(3)", "Art. 5(1)(e)", "Art. 35", "Art. 33, 34", "Art. 30"} <= missing
    assert "Art. 28(3)" not in missing  # nobody receives it
    assert "Art. 44–49" not in missing  # it stays
    more = articles(run(TOOL, {"recipients": ["A"], "transfers": "unknown"}, document=EXAMPLE))
    assert {"Art. 28(3)", "Art. 44–49", "Art. 6(1)"} <= more
    sold = articles(run(TOOL, {"laws": ["ccpa"], "uses": ["sold"], "subjects": ["children"]}, document=EXAMPLE), "ccpa")
    assert {"Cal. Civ. Code §§ 1798.120, .135", "Cal. Civ. Code § 1798.120(c)", "Cal. Civ. Code § 1798.121"} <= sold


def test_everything_in_place_leaves_nothing_missing_and_less_risk() -> None:
    answers = ALL | {"safeguards": list(next(of for of in TOOL.fields if of.name == "safeguards").choices)}
    answers |= {"special_condition": "explicit_consent"}
    kept = run(TOOL, answers, document=EXAMPLE).result["assessment"]
    open_ = run(TOOL, ALL, document=EXAMPLE).result["assessment"]
    assert kept["missing"] == []
    assert kept["score"]["residual"] == pytest.approx(kept["score"]["inherent"] * 0.4, abs=0.1)
    assert open_["score"]["residual"] > kept["score"]["residual"]


def test_two_of_the_nine_criteria_ask_for_an_assessment() -> None:
    one = run(TOOL, {"uses": ["profiling"]}, document=b"email\nada@example.com\n").result["assessment"]
    two = run(TOOL, {"uses": ["profiling", "monitoring"]}, document=b"email\nada@example.com\n").result["assessment"]
    assert (one["is_assessment_needed"], two["is_assessment_needed"]) == (False, True)
    assert [each["id"] for each in two["criteria"]] == ["evaluation", "monitoring"]


def test_the_files() -> None:
    result = example(TOOL)
    said = file(result, "assessment.md")
    assert "Art. 9(2)" in said
    assert "Booking appointments" in said
    assert [row["type"] for row in csv.DictReader(io.StringIO(file(result, "findings.csv")))] == [
        one["type"] for one in result.result["findings"]
    ]


def test_two_runs_are_one() -> None:
    assert example(TOOL) == example(TOOL)


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(InvalidInputs):
        run(TOOL, {"basis": "because"}, document=EXAMPLE)
    with pytest.raises(BadInput) as error:
        run(TOOL, document=b"PK\x03\x04")
    assert list(error.value.fields) == ["document"]


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_any_text_has_an_answer(text: str) -> None:
    said = "?"
    try:
        said = run(TOOL, document=("x.txt", text.encode("utf-8", "replace"))).result["kind"]
    except (BadInput, InvalidInputs) as error:
        said = str(error) or "refused"
    assert said


def test_a_hundred_thousand_rows_stay_within_the_limits() -> None:
    rows = "".join(f"{n},Ada Miller,person{n}@example.com,+4420794{n:05},note {n}\n" for n in range(100_000))
    with within_cpu(TOOL.limits.cpu_seconds / 2):
        assert columns(run(TOOL, document=f"id,name,email,phone,note\n{rows}".encode()))["email"] == "email"


def test_a_long_text_stays_within_the_limits() -> None:
    with within_cpu(2 * TOOL.limits.cpu_seconds):
        run(TOOL, document=("x.txt", b"Dear Ada, call 020 7946 0958, 12 Long Road a a a 1 2 3 4 5 6\n" * 50_000))
        run(TOOL, document=("y.txt", b"1 A " * 500_000))
        run(TOOL, document=("z.txt", b"a@a.a" * 500_000))
