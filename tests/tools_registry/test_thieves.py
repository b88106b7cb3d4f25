"""What a thief would try on the tool runner's till, and what must not stay stuck behind it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from billing import tasks as billing_tasks
from billing.models import Hold
from billing.reconcile import reconcile
from tests.billing.purse import Purse
from tests.conftest import Clock
from tests.tools_registry.test_runs import CREDIT, probe, probe_runner, purse, run, start
from tools_registry import runner, runs, tasks
from tools_registry.models import ToolRun
from tools_registry.studio import Tool

__all__ = ["probe", "probe_runner", "purse"]


def says(monkeypatch: pytest.MonkeyPatch, **said: Any) -> None:
    """Every run's child has been taken over and says this."""
    ran = runner.Ran(b"", Decimal("0.2"), 1000, Decimal("0.3"))
    monkeypatch.setattr(runner, "run", lambda *_: replace(ran, **said))


def answer(head: bytes) -> bytes:
    return len(head).to_bytes(4) + head


# Nobody waits behind a run that has ended


def test_a_run_whose_hold_has_expired_ends_too(probe: Tool, purse: Purse, clock: Clock) -> None:
    made, of = start(purse)
    clock.advance(days=2)  # no worker ran meanwhile, and the vault's sweep comes first
    assert billing_tasks.expire_holds() <= 1
    assert Hold.objects.get(id=made.hold_id).state in ("open", "expired")
    tasks.sweep()
    made.refresh_from_db()
    assert (made.state, made.stopped_by) == ("stopped", "lost")
    assert purse.values == (20 * CREDIT, 0, 0, 0)
    assert runs.carry_out(made, of).result is None
    assert run(purse).state == "succeeded"
    assert reconcile().is_clean


def test_the_sweep_of_one_broken_run_does_not_stop_the_others(probe: Tool, purse: Purse, clock: Clock) -> None:
    start(purse)
    start(purse, owner="user:2")
    clock.advance(days=2)
    billing_tasks.expire_holds()
    tasks.sweep()
    assert not ToolRun.objects.filter(state="running").exists()


@pytest.mark.parametrize(
    "head",
    [
        b'{"result": {"a": "\\ud800"}, "view": [], "files": []}',
        b'{"result": {"\\udfff": 1}, "view": [], "files": []}',
        b'{"result": {"a": 1e999}, "view": [], "files": []}',
        b'{"result": {}, "view": [{"kind": "facts", "pairs": [["a", -1e999]]}], "files": []}',
        b'{"result": {"a": ' + b"[" * 300 + b"]" * 300 + b'}, "view": [], "files": []}',
        b'{"result": {"a": ' + b"[" * 480 + b"]" * 480 + b'}, "view": [], "files": []}',
        b'{"result": {"a": ' + b"[" * 900 + b"]" * 900 + b'}, "view": [], "files": []}',
        b'{"result": {"a": ' + b'{"a":' * 480 + b"1" + b"}" * 480 + b'}, "view": [], "files": []}',
        b'{"result": {"a": ' + b"9" * 4000 + b'}, "view": [], "files": []}',
        b'{"result": {"a": ' + b"9" * 5000 + b'}, "view": [], "files": []}',
        b'{"result": {}, "view": [], "files": 5}',
        b'{"result": {}, "view": [], "files": [["a.svg", ["image/svg+xml"], 0]]}',
        b'{"result": {}, "view": [], "files": [["a.svg", {"a": 1}, 0]]}',
        b'{"result": {}, "view": [], "files": [["a.svg\\n", "image/svg+xml", 0]]}',
    ],
)
def test_an_answer_that_cannot_be_kept_ends_the_run_and_costs_nothing_or_is_kept(
    probe: Tool, purse: Purse, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    with monkeypatch.context() as patch:
        says(patch, output=answer(head))
        ended = run(purse)
    assert ended.state in ("stopped", "succeeded")
    if ended.state == "stopped":
        assert (ended.stopped_by, ended.result, purse.values) == ("crash", None, (20 * CREDIT, 0, 0, 0))
    assert run(purse).state == "succeeded", "the next run works"
    assert reconcile().is_clean


# Work that nobody pays for


def test_inputs_that_are_refused_after_much_work_are_counted_as_stops(
    probe: Tool, purse: Purse, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.TOOL_STOPS_AN_HOUR_MAX = 2
    says(monkeypatch, error={"how": ["Not like that."]}, cpu_seconds=Decimal("0.9"))
    run(purse)
    run(purse)
    run(purse)
    says(monkeypatch, error={"how": ["Not like that."]}, cpu_seconds=Decimal("1.5"))
    run(purse)
    assert run(purse).state == "refused"
    with pytest.raises(runs.TooManyStops):
        start(purse)
