"""Calls on the process's loop: bounded, never inside a transaction, never without an end."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from django.db import transaction

from generations.providers import calls
from generations.providers.base import Answer, ProviderError, TryLater, Unknown


async def said(answer: Any = "answer", after: float = 0.0) -> Any:
    await asyncio.sleep(after)
    if isinstance(answer, BaseException):
        raise answer
    return answer


def test_a_call_gives_its_answer_or_its_own_error() -> None:
    assert calls.run(said("done")) == "done"
    with pytest.raises(TryLater):
        calls.run(said(TryLater("429")))


@pytest.mark.parametrize("broken", [ValueError("a bug"), KeyError("x"), SystemExit(1), KeyboardInterrupt()])
def test_whatever_breaks_in_a_provider_is_doubt_and_ends_no_loop(broken: BaseException) -> None:
    with pytest.raises(Unknown) as raised:
        calls.run(said(broken))
    assert (raised.value.status, raised.value.code) == ("broken", type(broken).__name__)
    assert calls.run(said("still here")) == "still here"


def test_a_call_that_never_ends_is_ended() -> None:
    with pytest.raises(Unknown) as raised:
        calls.run(said(after=60), seconds=0.05)
    assert raised.value.status == "timeout"


@pytest.mark.django_db(transaction=True)
def test_nothing_is_called_while_a_transaction_is_open() -> None:
    many: calls.Calls[str] = calls.Calls()
    asked: list[str] = []

    async def ask() -> None:
        asked.append("asked")

    with transaction.atomic():
        for act in (
            lambda: calls.run(ask()),
            lambda: many.add("lane", "tag", ask),
            lambda: many.take(0),
            calls.Calls,
        ):
            with pytest.raises(calls.InTransaction):
                act()
    assert asked == []
    assert len(many) == 0


@pytest.mark.django_db(transaction=True)
def test_so_many_at_once_and_no_more_and_one_lane_waits_for_no_other() -> None:
    going, most = 0, 0

    async def ask() -> None:
        nonlocal going, most
        going += 1
        most = max(most, going)
        await asyncio.sleep(0.02)
        going -= 1

    many: calls.Calls[int] = calls.Calls(at_once=3)
    for number in range(6):
        many.add("busy", number, ask)
    assert (many.room("busy"), many.idle("busy"), many.room("other")) == (0, 0, 6)
    many.add("other", 99, said)
    found: list[int] = []
    while len(many):
        found += [tag for tag, _ in many.take(1.0)]
    assert found[0] == 99 or 99 in found[:4]
    assert sorted(found) == [0, 1, 2, 3, 4, 5, 99]
    assert most == 3
    assert many.room("busy") == 6


@pytest.mark.django_db(transaction=True)
def test_an_error_comes_as_an_answer_and_taking_waits_no_longer_than_told() -> None:
    many: calls.Calls[str] = calls.Calls()
    assert many.take(0.01) == []
    many.add("lane", "bad", lambda: said(ProviderError("503")))
    many.add("lane", "slow", lambda: said(Answer("queued"), after=0.3))
    ((tag, error),) = many.take(1.0)
    assert (tag, error.status) == ("bad", "503")
    assert many.take(0.01) == []
    assert [tag for tag, _ in many.take(2.0)] == ["slow"]


def test_a_forked_child_has_a_loop_of_its_own() -> None:
    kept = calls.keep("test-kept", object)
    assert calls.keep("test-kept", object) is kept
    read, write = os.pipe()
    if not (child := os.fork()):
        try:
            answer = calls.run(said("child"))
            is_own = calls.keep("test-kept", object) is not kept
            os.write(write, f"{answer} {is_own}".encode())
        finally:
            os._exit(0)
    os.close(write)
    assert os.read(read, 100) == b"child True"
    os.waitpid(child, 0)
