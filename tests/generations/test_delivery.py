"""Who may have an output, through which link, and what the browser is told about it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core import signing
from django.core.files.base import ContentFile
from django.test import Client

from billing import tokens
from billing.models import Account, Membership
from generations import links
from generations.models import Generation, Output
from generations.storage import output_storage
from tests.billing.purse import Purse
from tests.generations.trip import Trip, new_person

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def output(trip: Trip) -> Output:
    """Ten known bytes as the output of a job that was charged."""
    found = trip.start().ended().output
    assert found is not None
    return filled(found, b"0123456789", "video/mp4")


def filled(output: Output, content: bytes, content_type: str) -> Output:
    output.file = output_storage().save(f"outputs/{output.generation_id}/another.bin", ContentFile(content))
    output.bytes = len(content)
    output.content_type = content_type
    output.save()
    return output


def signed_in(user: User) -> Client:
    browser = Client(raise_request_exception=False)
    browser.force_login(user, backend="config.sign_in.EmailBackend")
    return browser


def program(user: User, account: Any, scope: str = "read") -> Client:
    _, text = tokens.make(user, Account(id=account), name="test", scope=scope)
    return Client(raise_request_exception=False, headers={"Authorization": f"Bearer {text}"})


def body(response: Any) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content


# Who


MAY = {"owner", "owner's program", "member", "member's program"}
MAY_NOT = {
    "stranger",
    "stranger's program",
    "somebody who is no member any more",
    "their program",
    "somebody whose sign-in was closed",
    "a revoked program",
    "staff of no account",
    "nobody",
    "an invented token",
}


@pytest.fixture
def everyone(trip: Trip) -> dict[str, Client]:
    """Each kind of person and program, by name."""
    member, left, closed = (new_person(name, trip.purse, "member") for name in ("milo", "lea", "carl"))
    strangers = Purse()
    stranger = new_person("sam", strangers)
    found = {
        "owner": signed_in(trip.person),
        "owner's program": program(trip.person, trip.purse.id),
        "member": signed_in(member),
        "member's program": program(member, trip.purse.id, "spend"),
        "stranger": signed_in(stranger),
        "stranger's program": program(stranger, strangers.id, "spend"),
        "somebody who is no member any more": signed_in(left),
        "their program": program(left, trip.purse.id),
        "somebody whose sign-in was closed": signed_in(closed),
        "staff of no account": signed_in(User.objects.create_superuser("root", "root@people.test", "x")),
        "nobody": Client(raise_request_exception=False),
        "an invented token": Client(raise_request_exception=False, headers={"Authorization": "Bearer hf_x"}),
    }
    for name in ("member", "somebody who is no member any more", "somebody whose sign-in was closed"):
        found[name].post("/account/choose", {"account": str(trip.purse.id)})
    revoked, text = tokens.make(trip.person, Account(id=trip.purse.id), name="test", scope="spend")
    tokens.revoke(revoked)
    found["a revoked program"] = Client(raise_request_exception=False, headers={"Authorization": f"Bearer {text}"})
    Membership.objects.filter(user=left).delete()
    User.objects.filter(pk=closed.pk).update(is_active=False)
    assert set(found) == MAY | MAY_NOT
    return found


def test_an_output_is_its_accounts_and_a_link_alone_opens_nothing(output: Output, everyone: dict[str, Client]) -> None:
    url = links.output_url(output)
    got = {name: one.get(url) for name, one in everyone.items()}
    assert {name for name, answer in got.items() if answer.status_code == 200} == MAY
    assert {got[name].status_code for name in MAY_NOT} == {404}
    assert {body(got[name]) for name in MAY} == {b"0123456789"}
    for name in MAY_NOT:
        assert b"0123456789" not in got[name].content
        assert everyone[name].head(url).status_code == 404
        assert everyone[name].get(url, headers={"Range": "bytes=0-3"}).status_code == 404


def test_a_person_of_two_accounts_has_each_ones_outputs_where_they_are(
    trip: Trip, output: Output, everyone: dict[str, Client]
) -> None:
    other = Purse()
    Membership.objects.create(account_id=other.id, user=trip.person, role="member")
    url = links.output_url(output)
    assert everyone["owner"].head(url).status_code == 200
    everyone["owner"].post("/account/choose", {"account": str(other.id)})
    assert everyone["owner"].get(url).status_code == 404


# Which link


@pytest.mark.parametrize(
    "forged",
    [
        lambda output: output.id.hex,
        lambda output: str(output.id),
        lambda output: signing.TimestampSigner().sign(output.id.hex),
        lambda output: signing.TimestampSigner(salt="holdfast.output", key="x" * 50).sign(output.id.hex),
        lambda output: signing.Signer(salt="holdfast.output").sign(output.id.hex),
        lambda output: links.output_url(output).removeprefix("/outputs/")[:-1] + "~",
        lambda output: links.output_url(output).removeprefix("/outputs/").replace(":", ":0", 1),
        lambda output: links.output_url(output).removeprefix("/outputs/").replace(output.id.hex, uuid4().hex),
        lambda output: signing.TimestampSigner(salt="holdfast.output").sign("%00"),
        lambda output: signing.TimestampSigner(salt="holdfast.output").sign(uuid4().hex),
        lambda output: "%00",
        lambda output: "a" * 5000,
    ],
)
def test_a_forged_link_opens_nothing(
    trip: Trip, output: Output, everyone: dict[str, Client], forged: Callable[[Output], str]
) -> None:
    assert everyone["owner"].get(f"/outputs/{forged(output)}").status_code == 404


def test_a_link_grows_old(output: Output, everyone: dict[str, Client], settings: Any) -> None:
    at = time.time() - settings.OUTPUT_LINK_SECONDS

    class Earlier(signing.TimestampSigner):
        def timestamp(self) -> str:
            return signing.b62_encode(int(at))

    def link() -> str:
        return f"/outputs/{Earlier(salt='holdfast.output').sign(output.id.hex)}"

    assert everyone["owner"].get(link()).status_code == 404
    at += 30
    assert everyone["owner"].head(link()).status_code == 200


@pytest.mark.parametrize("change", [{"released_at": None}, {"deleted_at": "2026-01-01T00:00Z"}])
def test_the_link_of_an_output_that_is_withheld_or_deleted_opens_nothing(
    output: Output, everyone: dict[str, Client], change: dict[str, Any]
) -> None:
    url = links.output_url(output)
    Output.objects.filter(id=output.id).update(**change)
    assert {one.get(url).status_code for one in everyone.values()} == {404}
    assert {one.head(url).status_code for one in everyone.values()} == {404}


def test_only_reading_is_answered(output: Output, everyone: dict[str, Client]) -> None:
    url = links.output_url(output)
    for method in ("post", "put", "patch", "delete"):
        assert getattr(everyone["owner's program"], method)(url).status_code == 405


# What the browser is told

KINDS = [
    (b"\x00\x00\x00\x18ftypmp42", "video/mp4", "video/mp4", "inline", "mp4"),
    (b"\x1a\x45\xdf\xa3", "video/webm", "video/webm", "inline", "webm"),
    (b"\x89PNG\r\n\x1a\n", "image/png", "image/png", "inline", "png"),
    (b"\xff\xd8\xff", "image/jpeg", "image/jpeg", "inline", "jpg"),
    (b"RIFF....WEBP", "image/webp", "image/webp", "inline", "webp"),
    ("Straße <script>alert(1)</script>".encode(), "text/plain", "text/plain; charset=utf-8", "attachment", "txt"),
    (b'{"a": "<script>"}', "application/json", "application/json", "attachment", "json"),
    # Not one that we deliver; should a row ever say so, it runs nowhere.
    (b"<script>alert(1)</script>", "text/html", "application/octet-stream", "attachment", "bin"),
    (b"<svg onload='alert(1)'/>", "image/svg+xml", "application/octet-stream", "attachment", "bin"),
]


@pytest.mark.parametrize(("content", "stored", "said", "shown", "ending"), KINDS)
def test_nothing_that_is_delivered_can_run(
    output: Output, everyone: dict[str, Client], content: bytes, stored: str, said: str, shown: str, ending: str
) -> None:
    prompt = '"><script>alert(1)</script>\r\nSet-Cookie: a=b; filename="x.html'
    Generation.objects.filter(id=output.generation_id).update(inputs={"prompt": prompt})
    url = links.output_url(filled(output, content, stored))
    for answer in (everyone["owner"].get(url), everyone["owner"].head(url)):
        headers = answer.headers
        assert answer.status_code == 200
        assert headers["Content-Type"] == said
        assert headers["Content-Disposition"] == f'{shown}; filename="script-alert-1-script-set-cookie-a-b.{ending}"'
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Length"] == str(len(content))
        assert headers["Cache-Control"] == "private, no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["X-Frame-Options"] == "DENY"
        policy = headers["Content-Security-Policy"].split("; ")
        assert policy[0] == "default-src 'none'"
        assert policy[-1] == ("sandbox" if shown == "attachment" else "sandbox allow-same-origin")
        assert not any(part.startswith("script-src") for part in policy)
        assert "Set-Cookie" not in headers
        assert body(answer) == (b"" if answer.request["REQUEST_METHOD"] == "HEAD" else content)
    download = everyone["owner"].get(f"{url}?download=1")
    assert download.headers["Content-Disposition"].startswith("attachment; ")
    assert body(download) == content


def test_refusals_say_nothing_of_what_is_there(output: Output, everyone: dict[str, Client]) -> None:
    url = links.output_url(output)
    there, nowhere = everyone["stranger"].get(url), everyone["stranger"].get("/outputs/nothing")
    nonces = re.compile(r'nonce="[^"]+"|[A-Za-z0-9]{64}|[0-9a-f-]{36}')
    assert nonces.sub("", there.content.decode()) == nonces.sub("", nowhere.content.decode())


# Parts


@pytest.mark.parametrize(
    ("asked", "status", "got", "range"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=0-0", 206, b"0", "bytes 0-0/10"),
        ("bytes=9-9", 206, b"9", "bytes 9-9/10"),
        ("bytes=4-", 206, b"456789", "bytes 4-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=8-999999999999999999", 206, b"89", "bytes 8-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=10-20", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
        ("bytes=5-2", 416, b"", "bytes */10"),
        ("bytes=0-1,4-5", 416, b"", "bytes */10"),
        ("bytes=0-1, -5", 416, b"", "bytes */10"),
        ("bytes=" + ",".join(["0-"] * 2000), 416, b"", "bytes */10"),
        ("bytes=-", 200, b"0123456789", None),
        ("bytes=a-b", 200, b"0123456789", None),
        ("bytes=1-9999999999999999999", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
        ("", 200, b"0123456789", None),
    ],
)
def test_a_part_is_what_was_asked_for_and_only_one(
    output: Output, everyone: dict[str, Client], asked: str, status: int, got: bytes, range: str | None
) -> None:
    url = links.output_url(output)
    answer = everyone["owner"].get(url, headers={"Range": asked})
    assert (answer.status_code, body(answer), answer.headers.get("Content-Range")) == (status, got, range)
    assert answer.headers["Content-Length"] == str(len(got)) if status != 416 else True
    head = everyone["owner"].head(url, headers={"Range": asked})
    assert (head.status_code, body(head), head.headers.get("Content-Range")) == (status, b"", range)
    assert head.headers.get("Content-Length") == answer.headers.get("Content-Length")


def test_a_part_is_given_only_of_what_the_browser_has(output: Output, everyone: dict[str, Client]) -> None:
    url = links.output_url(output)
    tag = everyone["owner"].head(url).headers["ETag"]
    same = everyone["owner"].get(url, headers={"Range": "bytes=0-3", "If-Range": tag})
    other = everyone["owner"].get(url, headers={"Range": "bytes=0-3", "If-Range": '"another"'})
    assert (same.status_code, body(same)) == (206, b"0123")
    assert (other.status_code, body(other)) == (200, b"0123456789")
