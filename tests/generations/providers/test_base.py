"""The contract's own parts: evidence that may be stored, answers in bounds, Retry-After, the registry."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from generations import providers, routes
from generations.providers.base import (
    EVIDENCE_BYTES_MAX,
    Answer,
    NotOffered,
    Unknown,
    clean_evidence,
    clean_text,
    parse_retry_after,
)
from generations.providers.local import Local
from generations.providers.rehearsal import Rehearsal


@pytest.mark.parametrize(
    "found",
    [
        {"Authorization": "Bearer abcdefgh12345678"},
        {"headers": {"Set-Cookie": "session=topsecretvalue"}},
        {"deep": [{"api_key": "topsecretvalue"}]},
        {"x-api-key": "topsecretvalue"},
        {"accessToken": "topsecretvalue", "access_token": "topsecretvalue"},
        {"message": "Incorrect key sk-topsecretvalue-1234 given"},
        {"note": "sent Authorization: Bearer topsecretvalue.1"},
        {"url": "https://files.example/a.mp4?sig=topsecretvalue&X-Amz-Signature=topsecretvalue"},
        {"url": "postgres://me:topsecretvalue@db/1"},
        {"jwt": "eyJhbGciOiJI.eyJzdWIiOiIxIn0.topsecretvalue"},
    ],
)
def test_evidence_keeps_no_secret(found: dict[str, Any]) -> None:
    cleaned = json.dumps(clean_evidence(found))
    assert "topsecretvalue" not in cleaned
    assert "abcdefgh12345678" not in cleaned


def test_evidence_keeps_what_is_no_secret() -> None:
    found = {"status": "completed", "usage": {"input_tokens": 12, "output_tokens": 7}, "progress": 3, "error": None}
    assert clean_evidence(found) == found


@pytest.mark.parametrize(
    "found",
    [
        {"text": "x" * 100_000},
        {f"name{n}": "é" * 500 for n in range(40)},
        {"list": ["y" * 400] * 1000},
        {"huge": 10**400, "nan": float("nan"), "inf": float("inf")},
        {"nul": "a\x00b", "surrogate": "\ud800", "bytes": b"\xff\xfe\x00", 7: {1, 2}},
        {"deep": [[[[[[[[[["end"]]]]]]]]]]},
    ],
)
def test_evidence_is_small_strict_json_that_the_database_takes(found: dict[Any, Any]) -> None:
    cleaned = clean_evidence(found)
    text = json.dumps(cleaned, allow_nan=False)
    assert len(text) <= EVIDENCE_BYTES_MAX
    assert "\\u0000" not in text
    json.dumps(cleaned, ensure_ascii=False).encode("utf-8")


def test_what_is_too_much_is_left_out_by_name() -> None:
    cleaned = clean_evidence({"small": 1, "large": ["z" * 480] * 20})
    assert cleaned == {"small": 1, "left_out": ["large"]}


def test_an_answer_is_in_bounds_whatever_the_provider_said() -> None:
    answer = Answer(status="s" * 1000, code="c\x00" * 500, message="m" * 5000, progress=900)
    assert (len(answer.status), len(answer.code or ""), len(answer.message or ""), answer.progress) == (
        50,
        100,
        500,
        100,
    )
    assert "\x00" not in (answer.code or "")
    assert not answer.is_known
    assert Answer("completed").is_terminal
    assert not Answer("in_progress").is_terminal


def test_an_error_carries_clean_facts() -> None:
    error = Unknown("503", "busy", "token Bearer topsecretvalue", {"cookie": "topsecretvalue"}, 2.0)
    assert "topsecretvalue" not in f"{error} {error.evidence} {error.message}"
    assert (error.status, error.code, error.retry_after_seconds) == ("503", "busy", 2.0)


def test_clean_text_does_not_take_for_ever() -> None:
    assert len(clean_text("Bearer " * 1_000_000, 100)) <= 100


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None), ("", None), ("soon", None), ("-5", None), ("٧", None), ("1", 1.0), ("999999999999", 3600.0),
        ("Sat, 21 Nov 2026 12:00:30 GMT", 30.0), ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),
    ],
)  # fmt: skip
def test_retry_after_is_read_or_ignored(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after(header, datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)) == seconds


@pytest.mark.django_db
def test_the_registry_offers_what_the_settings_name(settings: Any) -> None:
    settings.REHEARSAL_ENABLED, settings.REHEARSAL_URL = True, "http://127.0.0.1:9"
    settings.DEFAULT_PROVIDERS = {"ai/video": ["local", "rehearsal"]}
    assert [type(provider) for provider in routes.offered("ai/video")] == [Local, Rehearsal]
    assert routes.offered("ai/other") == []
    settings.DEFAULT_PROVIDERS = {"ai/video": ["nobody"]}
    with pytest.raises(NotOffered):
        routes.offered("ai/video")


@pytest.mark.django_db
@pytest.mark.parametrize("url", ["", "http://provider.example", "http://10.0.0.7:80", "http://127.0.0.1.example:80"])
def test_the_rehearsal_talks_to_this_machine_only(settings: Any, url: str) -> None:
    settings.REHEARSAL_ENABLED, settings.REHEARSAL_URL = True, url
    with pytest.raises(NotOffered):
        providers.get("rehearsal")
    assert [provider.name for provider in routes.offered("ai/video")] == ["local"]


@pytest.mark.django_db
def test_the_rehearsal_cannot_be_made_where_it_is_switched_off(settings: Any) -> None:
    settings.REHEARSAL_ENABLED, settings.REHEARSAL_URL = False, "http://127.0.0.1:9"
    with pytest.raises(NotOffered):
        providers.get("rehearsal")
    with pytest.raises(NotOffered):
        Rehearsal("http://127.0.0.1:9")
    assert [provider.name for provider in routes.offered("ai/video")] == ["local"]
    with pytest.raises(NotOffered):
        providers.get("nobody")
