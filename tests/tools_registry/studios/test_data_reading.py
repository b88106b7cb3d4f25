"""Tables as people have them are read: quotes, marks, delimiters, encodings; what cannot be is said with its line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools_registry.studio import BadInput
from tools_registry.studios.data import kinds
from tools_registry.studios.data.reading import read
from tools_registry.studios.sheets import csv_file

from .tabular import parquet

PLAIN = 'name,town\nZoë,Köln\n"Smith, J","a ""b"""\n'


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (PLAIN.encode(), "CSV, UTF-8, cells parted by comma"),
        (PLAIN.encode("utf-8-sig"), "CSV, UTF-8 with a byte order mark, cells parted by comma"),
        (PLAIN.encode("utf-16"), "CSV, UTF-16, cells parted by comma"),
        (PLAIN.encode("utf-16-le"), "CSV, UTF-16LE, cells parted by comma"),
        (PLAIN.encode("utf-16-be"), "CSV, UTF-16BE, cells parted by comma"),
        (PLAIN.encode("utf-32"), "CSV, UTF-32, cells parted by comma"),
        (PLAIN.encode("cp1252"), "CSV, Windows-1252, cells parted by comma"),
        (PLAIN.replace("\n", "\r\n").encode(), "CSV, UTF-8, cells parted by comma"),
        (
            'name;town\nZoë;Köln\n"Smith, J";"a ""b"""\n'.encode(),
            "CSV, UTF-8, cells parted by semicolon",
        ),
        ('name\ttown\nZoë\tKöln\nSmith, J\t"a ""b"""\n'.encode(), "CSV, UTF-8, cells parted by tab"),
        ('name|town\nZoë|Köln\nSmith, J|"a ""b"""\n'.encode(), "CSV, UTF-8, cells parted by vertical bar"),
        ('sep=;\nname;town\nZoë;Köln\nSmith, J;"a ""b"""\n'.encode(), "CSV, UTF-8, cells parted by semicolon"),
        ('[{"name":"Zoë","town":"Köln"},{"name":"Smith, J","town":"a \\"b\\""}]'.encode(), "JSON, UTF-8"),
        ('{"name":"Zoë","town":"Köln"}\n{"name":"Smith, J","town":"a \\"b\\""}\n'.encode(), "JSON, UTF-8"),
        ('{"data":[{"name":"Zoë","town":"Köln"},{"name":"Smith, J","town":"a \\"b\\""}]}'.encode(), "JSON, UTF-8"),
    ],
)
def test_the_same_table_in_every_dress(content: bytes, told: str) -> None:
    sheet = read(content, "table")
    assert sheet.columns == {"name": ["Zoë", "Smith, J"], "town": ["Köln", 'a "b"']}
    assert sheet.told == told


def test_parquet(tmp_path) -> None:
    content = parquet("SELECT 7::BIGINT AS id, 'Zoë' AS name, DATE '2026-01-05' AS day, NULL::INT AS none", tmp_path)
    sheet = read(content, "table")
    assert sheet.columns == {"id": ["7"], "name": ["Zoë"], "day": ["2026-01-05"], "none": [None]}
    assert sheet.declared == {"id": "BIGINT", "name": "VARCHAR", "day": "DATE", "none": "INTEGER"}


def test_decimal_commas_do_not_part_cells() -> None:
    assert read(b"a;b\n1,5;2,5\n3,5;4,5\n", "t").columns == {"a": ["1,5", "3,5"], "b": ["2,5", "4,5"]}


def test_a_cell_may_have_lines_and_rows_know_theirs() -> None:
    sheet = read(b'a,b\n"one\ntwo",2\n\n3,4\n', "t")
    assert sheet.columns == {"a": ["one\ntwo", "3"], "b": ["2", "4"]}
    assert [sheet.line(1), sheet.line(2)] == [2, 5]


def test_ragged_rows_and_odd_headings_are_kept_beside_the_table() -> None:
    sheet = read(b"a,a,,d\n1,2,3\n1,2,3,4,5\n1,2,3,4\n", "t")
    assert sheet.names == ["a", "a_2", "column_3", "d"]
    assert sheet.ragged == {1: 3, 2: 5}
    assert len(sheet.heading) == 2


def test_without_a_heading_and_with_one_column() -> None:
    assert read(b"1\n2\n", "t", has_heading=False).columns == {"column_1": ["1", "2"]}
    assert read(b"only\nx\ny\n", "t").columns == {"only": ["x", "y"]}
    assert read(b"a,b\n", "t").columns == {"a": [], "b": []}


def test_bytes_of_two_encodings_are_both_read() -> None:
    sheet = read("town\nKöln\n".encode() + "Zürich\n".encode("cp1252"), "t")
    assert sheet.columns == {"town": ["Köln", "Zürich"]}
    assert sheet.undecodable == [3]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"PK\x03\x04rest", "Excel"),
        (b"\x1f\x8brest", "gzip"),
        (b"%PDF-1.7", "PDF"),
        (b"a,b\n1,\x002\n", "Line 2"),
        (b"\xff\xfea", "UTF-16"),
        (b"\xef\xbb\xbf\n \n", "nothing"),
        (b'[{"a": 1},\n {"a": ]', "Line 2"),
        (b'{"a": 1}\nnot json\n', "Line 2"),
        (b"[1, 2]", "Item 1"),
        (b"[" * 100_000, "deep"),
        (b"PAR1 and then nothing of it", "Parquet"),
        (b"a,b\n" + b"1,2\n" * 11, "At most 10 rows"),
        (b",".join(b"c%d" % n for n in range(501)) + b"\n", "At most 500 columns"),
    ],
)
def test_what_cannot_be_read_is_said(content: bytes, says: str) -> None:
    with pytest.raises(BadInput) as told:
        read(content, "table", rows_max=10)
    assert says in told.value.fields["table"][0]


@given(st.binary(min_size=1, max_size=300))
def test_any_bytes_are_a_table_or_a_sentence(content: bytes) -> None:
    said = []
    try:
        said = [read(content, "table").row_count]
    except BadInput as error:
        said = error.fields["table"]
    assert len(said) == 1


def test_a_csv_that_is_opened_works_nothing_out() -> None:
    cells = ["=1+1", "+SUM(A1)", "-2+3", "@x", "\tx", "-5", "+44", "ok"]
    made = csv_file("a.csv", ["c"], [[cell] for cell in cells]).content.decode()
    assert made.split("\r\n")[1:-1] == ["'=1+1", "'+SUM(A1)", "'-2+3", "'@x", "'\tx", "-5", "+44", "ok"]


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["1.234,50", "1.000", "5", "1.234.567"], [1234.5, 1000, 5, 1234567]),
        (["0,250", "1,500", "12,125"], [0.25, 1.5, 12.125]),
        (["12,5", "1,234"], [12.5, 1.234]),
        (["1 234,50", "1\u00a0000,00", "2,5"], [1234.5, 1000, 2.5]),
        (["1,234", "12,500"], [1234, 12500]),
        (["1,234.50", "12,5", "1,000"], [1234.5, 12.5, 1000]),  # both are there: each for itself
        (["1.234", "2.5"], [1.234, 2.5]),
        (["1.234,50 EUR", "12.50 EUR", "€ 5"], [1234.5, 12.5, 5]),
    ],
)
def test_what_a_comma_means_is_told_by_its_column(cells: list[str], numbers: list[float]) -> None:
    seen = kinds.profile([*cells])
    assert [kinds.number_of(cell, seen.ways[cell]) for cell in cells] == numbers
    assert seen.kind == "decimal"
