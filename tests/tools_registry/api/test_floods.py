"""Bodies within the limits that would make far more of themselves: judged quickly, answered shortly."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.pace import within_cpu
from tests.people import Person
from tests.tools_registry.api.conftest import RUN, multipart, written
from tools_registry import registry
from tools_registry.fields import Choices, InvalidInputs, Lines, Rows

MIB = 1024 * 1024
ANSWER_BYTES_MAX = 64 * 1024


def probed(test: Any) -> Any:
    """With the database and the probe."""
    return pytest.mark.django_db(transaction=True)(pytest.mark.usefixtures("probe")(test))


def lists() -> list[Any]:
    found = []
    for tool in registry.TOOLS.values():
        if tool.function is not None:
            found += [
                pytest.param(tool, of, id=f"{tool.slug} {of.name}")
                for of in tool.fields
                if isinstance(of, Rows | Lines | Choices)
            ]
    return found


@pytest.mark.parametrize("of_one", [{}, 1, {"a": 1}, []])
@pytest.mark.parametrize(("tool", "of"), lists())
def test_a_list_of_too_many_is_refused_before_each_is_judged(tool: Any, of: Any, of_one: Any) -> None:
    inputs = {of.name: [of_one] * (MIB // (len(json.dumps(of_one)) + 1))}
    with within_cpu(0.5), pytest.raises(InvalidInputs) as refused:
        tool.clean_with_files(inputs, {})
    assert of.name in refused.value.facts["fields"]
    assert len(json.dumps(refused.value.facts["fields"])) < ANSWER_BYTES_MAX


@probed
def test_a_flood_over_http_is_answered_shortly(owner: Person) -> None:
    body = b'{"risks": [' + b",".join([b"{}"] * 340_000) + b"]}"
    before = written()
    answer = owner.calls().send("POST", "/api/cyber-studio/risk-register/run", body)
    assert (answer.status, answer.code) == (422, "invalid_fields")
    assert len(answer.response.content) < ANSWER_BYTES_MAX
    assert written() == before


@probed
def test_many_unknown_names_are_not_all_named(owner: Person) -> None:
    body = json.dumps({f"n{number}": 1 for number in range(80_000)}).encode()
    answer = owner.calls().send("POST", RUN, body)
    assert (answer.status, answer.code) == (422, "invalid_fields")
    assert len(answer.response.content) < ANSWER_BYTES_MAX


@probed
def test_a_long_unknown_name_is_not_said_whole(owner: Person) -> None:
    answer = owner.calls().post(RUN, {"n" * 900_000: 1})
    assert (answer.status, answer.code) == (422, "invalid_fields")
    assert len(answer.response.content) < ANSWER_BYTES_MAX


@probed
@pytest.mark.parametrize("charset", ["utf-16", "zlib", "rot13", "idna", "nonsense", "utf-7", "hex", "unicode_escape"])
def test_an_odd_charset_of_a_multipart_body_is_no_fault_of_ours(owner: Person, charset: str) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="inputs"\r\n\r\n{"how": "well"}\r\n--b--\r\n'
    answer = owner.calls().send("POST", RUN, body, f"multipart/form-data; boundary=b; charset={charset}")
    assert answer.status in (200, 400, 415, 422), answer


@probed
@pytest.mark.parametrize(
    "part",
    [
        b'Content-Disposition: form-data; name="inputs"\r\nContent-Transfer-Encoding: base64\r\n\r\nx!\r\n',
        b'Content-Disposition: form-data; name="paper"; filename="a.txt"\r\n'
        b"Content-Transfer-Encoding: base64\r\n\r\n!\r\n",
        b'Content-Disposition: form-data; name="paper"; filename="a\x00.txt"\r\n\r\nx\r\n',
        b'Content-Disposition: form-data; name="paper"; filename="../../etc/passwd.txt"\r\n\r\nx\r\n',
        b'Content-Disposition: form-data; name="paper"; filename="\xed\xa0\x80.txt"\r\n\r\nx\r\n',
        b"Content-Disposition: form-data; name=\"paper\"; filename*=utf-8''%ed%a0%80%00.txt\r\n\r\nx\r\n",
        b'Content-Disposition: form-data; name="paper"; filename=".txt"\r\n\r\nx\r\n',
        b'Content-Disposition: form-data; name="inputs"\r\n\r\n\xff\xfe\r\n',
        b'Content-Disposition: form-data; name="__proto__"\r\n\r\nx\r\n',
        b'Content-Disposition: form-data; name="\x00"\r\n\r\nx\r\n',
        b"Content-Disposition: form-data\r\n\r\nx\r\n",
        b'Content-Disposition: form-data; name="inputs"; filename="a.json"\r\n\r\n{"how": "refuse"}\r\n--b\r\n'
        b'Content-Disposition: form-data; name="inputs"\r\n\r\n{"how": "well"}\r\n',
    ],
)
def test_an_odd_part_is_no_fault_of_ours(owner: Person, part: bytes) -> None:
    answer = owner.calls().send("POST", RUN, b"--b\r\n" + part + b"--b--\r\n", "multipart/form-data; boundary=b")
    assert answer.status in (200, 400, 415, 422), answer


@probed
def test_much_text_beside_the_files_is_too_large(owner: Person) -> None:
    answer = multipart(owner.calls(), RUN, '{"paper": "' + "x" * 3 * MIB + '"}', {})
    assert (answer.status, answer.code) == (413, "body_too_large")


@probed
def test_many_texts_are_malformed(owner: Person) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="a%d"\r\n\r\nx\r\n'
    body = b"".join(part % number for number in range(2000)) + b"--b--\r\n"
    answer = owner.calls().send("POST", RUN, body, "multipart/form-data; boundary=b")
    assert (answer.status, answer.code) == (400, "malformed")
