"""What a thief would try on the tool runner's till, and what must not stay stuck behind it."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from billing import ledger, steps
from billing import tasks as billing_tasks
from billing.models import Hold, new_id
from billing.reconcile import reconcile
from tests.billing.purse import Purse
from tests.conftest import Clock
from tests.tools_registry.test_runs import CREDIT, probe, probe_runner, purse, run, start
from tools_registry import blocks, registry, runner, runs, studio, tasks
from tools_registry.models import ToolRun
from tools_registry.studio import BadInput, Tool
from tools_registry.studios import sheets
from tools_registry.studios.cyber import manifests

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


def test_an_answer_of_ten_thousand_files_or_blocks_is_none(probe: Tool) -> None:
    """Each would be a row that is written while the account is locked, or a part of a page."""
    many = [[f"{number}", "text/csv", 0] for number in range(10_000)]
    for head in ({"view": [], "files": many}, {"view": [{"kind": "text"}] * 10_000, "files": []}):
        with pytest.raises(ValueError, match="too many parts"):
            studio.decode(answer(json.dumps({"result": {}} | head).encode()))


@pytest.mark.parametrize(
    "block",
    [
        {"kind": "table", "columns": [0] * 20_000, "rows": [[]] * 20_000},
        {"kind": "table", "columns": [0] * 1000, "rows": [[0] * 1000] * 300},
        {"kind": "facts", "pairs": [[0, 0]] * 20_000},
        {"kind": "text", "paragraphs": [0] * 20_000},
        {"kind": "findings", "rows": [{}] * 20_000},
    ],
)
def test_a_page_is_drawn_of_any_answer(block: dict[str, Any]) -> None:
    """In a moment, and no longer than anybody reads: the first took hours of a web server's thread."""
    first, *others = blocks.drawn([block] * 500, {})
    parts = [first.get(name, ()) for name in ("rows", "pairs", "paragraphs", "columns")]
    assert max(map(len, parts)) <= 1000
    assert len(others) < 499
    assert sum(len(row) for one in [first, *others] for row in one.get("rows", ())) <= 200_000


# Work that nobody pays for


@pytest.mark.parametrize("much", ["cpu_seconds", "wall_seconds"])
def test_inputs_that_are_refused_after_much_work_or_time_are_counted_as_stops(
    probe: Tool, purse: Purse, monkeypatch: pytest.MonkeyPatch, settings: Any, much: str
) -> None:
    settings.TOOL_STOPS_AN_HOUR_MAX = 2
    says(monkeypatch, error={"how": ["Not like that."]}, cpu_seconds=Decimal("0.9"))
    run(purse)
    run(purse)
    run(purse)
    says(monkeypatch, error={"how": ["Not like that."]}, **{much: Decimal(5)})
    run(purse)
    assert run(purse).state == "refused"
    with pytest.raises(runs.TooManyStops):
        start(purse)


# The database is the last line


def _sql(statement: str, *values: Any) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, values)


FILE = (
    "INSERT INTO tools_registry_toolfile (id, account_id, run_id, name, content_type, bytes, content) "
    "VALUES (%s, %s, %s, 'a.csv', 'text/csv', 1, 'x')"
)


@pytest.mark.parametrize("how", ["running", "refuse", "break"])
def test_what_is_not_paid_for_has_no_result_and_no_file(probe: Tool, purse: Purse, how: str) -> None:
    made = start(purse)[0] if how == "running" else run(purse, how)
    for column in ("result", "view"):
        with pytest.raises(DatabaseError, match="tool_run_kept_when_it_succeeded"):
            _sql(f"UPDATE tools_registry_toolrun SET {column} = '{{}}' WHERE id = %s", made.id)
    with pytest.raises(DatabaseError, match="tool_file_is_paid_for"):
        _sql(FILE, new_id(), purse.id, made.id)


def test_a_file_stays_with_its_run_and_its_account(probe: Tool, purse: Purse) -> None:
    ended, other = run(purse), Purse()
    other.grant(20 * CREDIT)
    theirs = run(other, owner="user:9")
    with pytest.raises(DatabaseError):
        _sql(FILE, new_id(), other.id, ended.id)
    for change, value in (("account_id", other.id), ("run_id", theirs.id), ("content", b"x"), ("name", "b.csv")):
        with pytest.raises(DatabaseError):
            _sql(f"UPDATE tools_registry_toolfile SET {change} = %s WHERE run_id = %s", value, ended.id)
    with pytest.raises(DatabaseError, match="tool_file_"):
        _sql(
            "UPDATE tools_registry_toolfile SET account_id = %s, run_id = %s, name = 'c.csv' WHERE run_id = %s",
            other.id,
            theirs.id,
            ended.id,
        )


def test_a_run_goes_to_no_other_account_hold_or_line(probe: Tool, purse: Purse) -> None:
    ended, other = run(purse), Purse()
    other.grant(20 * CREDIT)
    theirs = run(other, owner="user:9")
    second = run(purse)
    for change, value in (
        ("account_id", other.id),
        ("hold_id", theirs.hold_id),
        ("hold_id", second.hold_id),
        ("entry_id", theirs.entry_id),
        ("entry_id", second.entry_id),
        ("entry_id", None),
    ):
        with pytest.raises(DatabaseError):
            _sql(f"UPDATE tools_registry_toolrun SET {change} = %s WHERE id = %s", value, ended.id)
    with pytest.raises(DatabaseError):
        _sql("TRUNCATE tools_registry_toolrun CASCADE")


def test_the_line_of_a_charge_says_the_whole_amount(probe: Tool, purse: Purse) -> None:
    made, _ = start(purse)
    ledger.post_one(purse.id, steps.Capture(actor="tool", hold=made.hold_id, owner="tool", amount=3 * CREDIT))
    with pytest.raises(DatabaseError, match=r"is succeeded|within"):
        _sql(
            "UPDATE tools_registry_toolrun SET state = 'succeeded', entry_id = %s, charged_amount = 0, "
            "cpu_seconds = 0, wall_seconds = 0, peak_memory_bytes = 0, ended_at = now() WHERE id = %s",
            purse.lines[-1].id,
            made.id,
        )


# What a tool says is no markup, and what it reads does not break it


@pytest.mark.parametrize(
    ("link", "kept"),
    [
        ("https://a.test/b", "https://a.test/b"),
        ("http://a.test", ""),
        ("javascript:alert(1)", ""),
        ("//a.test", ""),
        (" https://a.test", ""),
        ("HTTPS://a.test", ""),
        ("data:text/html,x", ""),
        (["https://a.test"], ""),
        (None, ""),
    ],
)
def test_a_link_leads_to_https_or_nowhere(link: Any, kept: str) -> None:
    (block,) = blocks.drawn([{"kind": "findings", "rows": [{"severity": "constructor", "link": link}]}], {})
    assert (block["rows"][0]["link"], block["rows"][0]["word"]) == (kept, "Note")


@pytest.mark.parametrize("cell", ["=1", "+a", "-a", "@a", "\t=1", "\r=1", "\n=1"])
def test_a_cell_is_never_worked_out(cell: str) -> None:
    assert sheets.defused(cell) == f"'{cell}"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("package-lock.json", b'{"lockfileVersion":' + b"9" * 5000 + b"}"),
        ("Pipfile.lock", b'{"default": ' + b"9" * 5000 + b"}"),
        ("poetry.lock", b"a = " + b"9" * 5000),
        ("uv.lock", b"a = 2026-02-30"),
    ],
)
def test_a_number_of_thousands_of_digits_is_a_wrong_file(name: str, content: bytes) -> None:
    with pytest.raises(BadInput):
        manifests.read("manifest", name, content, "auto")


@pytest.mark.parametrize("slug", ["catalog", "dashboards", "quality", "pipelines"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"id,n\n" + b"".join(b"%d,%s\n" % (n, b"9" * 400) for n in range(20))),
        ("a.csv", b"id,n\n" + b"".join(b"%d,1%de308\n" % (n, n % 7) for n in range(20))),
        ("a.csv", b"id,n\n" + b"".join(b"%d,-1.5e308\n" % n for n in range(20))),
        ("a.csv", b"id,n\n" + b"7,1.7e308\n" * 20),
        ("a.csv", b"id,n\n" + b"7,1e119\n" * 20),
        ("a.json", b'[{"id": 1, "\\udfff": "\\ud800"}, {"id": 2, "\\udfff": "a"}]'),
    ],
)
def test_odd_numbers_and_halves_of_letters_break_no_tool(slug: str, name: str, content: bytes) -> None:
    tool = registry.TOOLS[f"data-studio/{slug}"]
    inputs = {"steps": [{"name": "t", "kind": "source"}, {"name": "o", "kind": "sink", "inputs": "t"}]}
    charts = {"charts": [{"kind": "bars", "x": "id", "y": "n", "aggregate": how} for how in ("sum", "mean", "median")]}
    given = {"pipelines": inputs, "dashboards": charts}.get(slug, {})
    cleaned, files = tool.clean_with_files(given, {"table": (name, content)})
    assert tool.function is not None
    with suppress(BadInput):
        studio.decode(studio.encode(tool.function(cleaned, files)))
