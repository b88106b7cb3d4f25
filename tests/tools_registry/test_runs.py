"""The story of a run: what it holds, what it charges, and that nothing but a success is charged."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission, User
from django.db import DatabaseError, connection, transaction

from billing import clock as ledger_clock
from billing import errors, ledger, plans
from billing.models import Plan, new_id
from billing.reconcile import reconcile
from tests.billing.purse import Purse
from tests.conftest import Clock
from tests.tools_registry.probes import functions
from tools_registry import pricing, registry, runner, runs, tasks
from tools_registry.checks import every_least_plan_is_there
from tools_registry.fields import Choice, Document, InvalidInputs
from tools_registry.models import ToolCost, ToolFile, ToolRun, ToolSwitch
from tools_registry.runner.client import QUEUE_SECONDS_MAX
from tools_registry.studio import Limits, Tool

CREDIT = 1_000_000
WAYS = ("well", "refuse", "break", "burn", "sleep", "swell", "pour", "vanish", "lie")
PROBE = Tool(
    slug="dev-studio/probe",
    title="Probe",
    noun="probe",
    summary="Ends in every way.",
    mode="server",
    credits_max=5,
    limits=Limits(cpu_seconds=1, seconds=8),
    fields=(
        Choice(name="how", title="How it ends", choices={way: way for way in WAYS}, default="well"),
        Document(name="paper", title="Paper", file_name="paper.txt", accepts=(".txt",), bytes_max=1000),
    ),
    function=functions.work,
    example={"how": "well"},
)
RATES = {"base": "2", "per_cpu_second": "0.5", "per_gb_second": "0.25", "minimum": "3", "maximum": "5"}


@pytest.fixture(scope="module")
def probe_runner() -> Iterator[runner.Runner]:
    """The real runner, which knows the probe's package too."""
    made = runner.Runner(also=("tests.tools_registry.probes",))
    yield made
    made.close()


@pytest.fixture
def probe(transactional_db: None, monkeypatch: pytest.MonkeyPatch, probe_runner: runner.Runner) -> Tool:
    monkeypatch.setitem(registry.TOOLS, PROBE.slug, PROBE)
    monkeypatch.setattr(runner, "run", probe_runner.run)
    ToolCost.objects.create(tool=PROBE.slug, valid_from=ledger_clock.now(), model="measured", rates=RATES)
    return PROBE


@pytest.fixture
def purse(transactional_db: None) -> Purse:
    purse = Purse()
    purse.grant(20 * CREDIT)
    return purse


def start(purse: Purse, how: str = "well", **terms: Any) -> tuple[ToolRun, runs.Quote]:
    of = runs.quote(PROBE, {"how": how})
    started = runs.start(purse.id, of, **{"actor": "user:1", "owner": "user:1"} | terms)
    return started.run, of


def run(purse: Purse, how: str = "well", **terms: Any) -> ToolRun:
    made, of = start(purse, how, **terms)
    return runs.carry_out(made, of)


# A success


def test_a_run_holds_the_price_at_its_limits_and_is_charged_what_it_used(probe: Tool, purse: Purse) -> None:
    made, of = start(purse)
    # 2 + 1 s ÷ 2 + 512 MiB × 8 s ÷ 4
    held = of.estimate.max
    assert purse.values == (20 * CREDIT, held, 0, 0)
    assert held == 2_000_000 + 500_000 + 1_073_742
    ended = runs.carry_out(made, of)
    assert ended.state == "succeeded"
    assert ended.charged_amount == 3 * CREDIT == pricing.price("measured", RATES, PROBE.bounds, runs.delivered(ended))
    assert purse.values == (17 * CREDIT, 0, 0, 0)
    assert purse.kinds == ["grant", "hold", "capture"]
    assert ended.entry_id == purse.lines[-1].id
    assert ended.result == {"how": "well", "bytes": 0}
    assert [bytes(one.content) for one in ToolFile.objects.filter(run=ended)] == [b"how\nwell\n"]
    assert reconcile().is_clean


def test_an_estimate_names_a_run_that_is_held_at_most_at_the_tools_maximum(probe: Tool) -> None:
    of = runs.quote(PROBE, {})
    assert of.estimate.min <= of.estimate.typical <= of.estimate.max <= PROBE.credits_max * CREDIT


# What is not charged


@pytest.mark.parametrize(
    ("how", "state", "stopped_by"),
    [
        ("refuse", "refused", None),
        ("break", "stopped", "crash"),
        ("vanish", "stopped", "crash"),
        ("lie", "stopped", "crash"),
        ("burn", "stopped", "cpu"),
        ("sleep", "stopped", "time"),
        ("swell", "stopped", "memory"),
        ("pour", "stopped", "output"),
    ],
)
def test_what_does_not_end_well_costs_nothing_and_the_next_run_works(
    probe: Tool, purse: Purse, how: str, state: str, stopped_by: str | None
) -> None:
    ended = run(purse, how)
    assert (ended.state, ended.stopped_by) == (state, stopped_by)
    assert ended.entry_id is None
    assert ended.charged_amount is None
    assert ended.result is None
    assert ended.wrong == ({"how": ["Not like that."]} if how == "refuse" else None)
    assert purse.values == (20 * CREDIT, 0, 0, 0)
    assert purse.kinds == ["grant", "hold", "release"]
    assert run(purse).state == "succeeded"
    assert reconcile().is_clean


def test_a_pulled_plug_is_given_back_by_the_sweep_once(probe: Tool, purse: Purse, clock: Clock) -> None:
    made, of = start(purse)
    tasks.sweep()
    assert purse.account.held == of.estimate.max
    clock.advance(seconds=PROBE.bounds["seconds"] * 2 + runs.GRACE_SECONDS + 1)
    tasks.sweep()
    tasks.sweep()
    made.refresh_from_db()
    assert (made.state, made.stopped_by) == ("stopped", "lost")
    assert purse.values == (20 * CREDIT, 0, 0, 0)
    assert purse.kinds == ["grant", "hold", "release"]


def test_who_ends_after_the_sweep_gets_no_result_and_pays_nothing(probe: Tool, purse: Purse, clock: Clock) -> None:
    made, of = start(purse)
    clock.advance(seconds=1000)
    runs.sweep()
    ended = runs.carry_out(made, of)
    assert (ended.state, ended.stopped_by, ended.result) == ("stopped", "lost", None)
    assert not ToolFile.objects.exists()
    assert purse.values == (20 * CREDIT, 0, 0, 0)
    assert reconcile().is_clean


# Refusals


def test_each_person_runs_one_at_a_time(probe: Tool, purse: Purse) -> None:
    first, of = start(purse)
    with pytest.raises(runs.ToolAlreadyRunning):
        start(purse)
    start(purse, owner="user:2")
    assert purse.account.held == 2 * of.estimate.max
    runs.carry_out(first, of)
    start(purse)


def test_of_many_that_set_out_together_one_runs(probe: Tool, purse: Purse) -> None:
    barrier, outcomes = threading.Barrier(8), []

    def one() -> None:
        try:
            of = runs.quote(PROBE, {})
            barrier.wait()
            runs.start(purse.id, of, actor="user:1", owner="user:1")
            outcomes.append("started")
        except errors.BillingError as refusal:
            outcomes.append(refusal.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["started"] + ["tool_already_running"] * 7
    assert ToolRun.objects.count() == 1
    assert reconcile().is_clean


@pytest.mark.parametrize(
    ("prepare", "code"),
    [
        (lambda purse: ledger.set_account_frozen(purse.id, True, "looked at"), "account_frozen"),
        (lambda purse: purse.charge(19 * CREDIT), "insufficient_credits"),
    ],
)
def test_a_run_that_cannot_be_paid_does_not_start(
    probe: Tool, purse: Purse, prepare: Callable[[Purse], Any], code: str
) -> None:
    prepare(purse)
    before = purse.values
    with pytest.raises(errors.BillingError) as refused:
        start(purse)
    assert refused.value.code == code
    assert purse.values == before
    assert not ToolRun.objects.exists()


def test_stops_are_counted_and_throttled(probe: Tool, purse: Purse, settings: Any, clock: Clock) -> None:
    settings.TOOL_STOPS_AN_HOUR_MAX = 2
    run(purse, "break")
    clock.advance(minutes=10)
    run(purse, "break")
    with pytest.raises(runs.TooManyStops) as refused:
        start(purse)
    assert 2990 < refused.value.facts["retry_after_seconds"] <= 3000
    clock.advance(minutes=51)
    assert run(purse).state == "succeeded"


@pytest.mark.parametrize(
    ("switch", "code"),
    [
        ({"is_enabled": False}, "tool_disabled"),
        ({"is_beta": True}, "tool_in_beta"),
        ({"plan_least": "pro"}, "plan_too_low"),
        ({}, None),
    ],
)
def test_switches_bind(probe: Tool, purse: Purse, switch: dict[str, Any], code: str | None) -> None:
    plans.install()
    ToolSwitch.objects.create(tool=PROBE.slug, changed_at=ledger_clock.now(), **switch)
    user = User.objects.create_user("nobody")
    if code is None:
        runs.allow(PROBE, purse.id, user)
        return
    with pytest.raises(errors.BillingError) as refused:
        runs.allow(PROBE, purse.id, user)
    assert refused.value.code == code


def test_a_plan_that_is_not_there_cannot_be_named_or_taken_away(probe: Tool) -> None:
    plans.install()
    with pytest.raises(DatabaseError, match="tool_switch_plan_exists"), transaction.atomic():
        ToolSwitch.objects.create(tool=PROBE.slug, changed_at=ledger_clock.now(), plan_least="platinum")
    row = ToolSwitch.objects.create(tool=PROBE.slug, changed_at=ledger_clock.now(), plan_least="pro")
    with pytest.raises(DatabaseError, match="tool_switch_plan_exists"), transaction.atomic():
        Plan.objects.filter(slug="pro").delete()
    with pytest.raises(DatabaseError, match="tool_switch_plan_exists"), transaction.atomic():
        Plan.objects.filter(slug="pro").update(slug="professional")
    ToolSwitch.objects.filter(pk=row.pk).update(plan_least="")
    Plan.objects.filter(slug="pro").delete()


def test_a_plan_that_is_gone_all_the_same_lets_nobody_in(probe: Tool, purse: Purse) -> None:
    plans.install()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        ToolSwitch.objects.create(tool=PROBE.slug, changed_at=ledger_clock.now(), plan_least="platinum")
    with pytest.raises(runs.ToolDisabled, match="The plan that this tool comes with is not there any more"):
        runs.allow(PROBE, purse.id, User.objects.create_user("nobody"))
    (error,) = every_least_plan_is_there(None, databases=["default"])
    assert (error.id, PROBE.slug in error.msg, "platinum" in error.msg) == ("holdfast.E023", True, True)
    ToolSwitch.objects.update(plan_least="pro")
    assert every_least_plan_is_there(None, databases=["default"]) == []


def test_testers_may_run_what_is_in_beta(probe: Tool, purse: Purse) -> None:
    ToolSwitch.objects.create(tool=PROBE.slug, changed_at=ledger_clock.now(), is_beta=True)
    user = User.objects.create_user("tester")
    user.user_permissions.add(Permission.objects.get(codename="use_beta_tools"))
    runs.allow(PROBE, purse.id, user)


def test_without_a_price_nothing_runs(probe: Tool, purse: Purse, monkeypatch: pytest.MonkeyPatch) -> None:
    other = replace(PROBE, slug="dev-studio/unpriced")
    with pytest.raises(runs.ToolDisabled, match="no price"):
        runs.quote(other, {})


# Files


@pytest.mark.parametrize(
    ("inputs", "sent", "wrong"),
    [
        ({"paper": ""}, {}, "paper"),
        ({"paper": 7}, {}, "paper"),
        ({"paper": "x" * 1001}, {}, "paper"),
        ({}, {"paper": ("a.pdf", b"x")}, "paper"),
        ({}, {"paper": ("a.txt", b"")}, "paper"),
        ({}, {"other": ("a.txt", b"x")}, "other"),
        ({"how": "nicely"}, {}, "how"),
        ({"why": "x"}, {}, "why"),
    ],
)
def test_wrong_inputs_are_named(
    probe: Tool, inputs: dict[str, Any], sent: dict[str, tuple[str, bytes]], wrong: str
) -> None:
    with pytest.raises(InvalidInputs) as refused:
        runs.quote(PROBE, inputs, sent)
    assert list(refused.value.facts["fields"]) == [wrong]


@pytest.mark.parametrize(
    ("inputs", "sent", "name"),
    [({"paper": "four"}, {}, "paper.txt"), ({}, {"paper": ("../up/my paper.txt", b"four")}, "my paper.txt")],
)
def test_a_document_is_pasted_or_sent(
    probe: Tool, purse: Purse, inputs: dict[str, Any], sent: dict[str, tuple[str, bytes]], name: str
) -> None:
    of = runs.quote(PROBE, inputs, sent)
    ended = runs.carry_out(runs.start(purse.id, of, actor="user:1", owner="user:1").run, of)
    assert ended.result == {"how": "well", "bytes": 4}
    assert ended.inputs["paper"] == {"file": name, "bytes": 4}


# Idempotency


def test_a_key_makes_one_run(probe: Tool, purse: Purse) -> None:
    def keyed() -> ledger.Key:
        return ledger.Key(actor="user:1", scope="POST /run", key="a", fingerprint=b"x" * 32, status=200, made=new_id())

    of = runs.quote(PROBE, {})
    first = runs.start(purse.id, of, actor="user:1", owner="user:1", key=keyed())
    again = runs.start(purse.id, of, actor="user:1", owner="user:1", key=keyed())
    assert (again.run.id, again.repeated_status) == (first.run.id, 200)
    assert purse.account.held == of.estimate.max
    runs.carry_out(first.run, of)
    assert purse.values == (17 * CREDIT, 0, 0, 0)


# What is kept


def test_old_results_are_forgotten_and_charges_stay(probe: Tool, purse: Purse, clock: Clock, settings: Any) -> None:
    ended = run(purse)
    clock.advance(days=settings.TOOL_RESULT_DAYS, seconds=1)
    tasks.sweep()
    ended.refresh_from_db()
    assert (ended.state, ended.result, ended.view, ended.inputs) == ("succeeded", None, None, {})
    assert not ToolFile.objects.exists()
    assert ended.entry_id == purse.lines[-1].id
    assert reconcile().is_clean


# The database is the last line


def _sql(statement: str, *values: Any) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, values)


def _succeed(made: ToolRun, entry: UUID | None, amount: int | None) -> None:
    _sql(
        "UPDATE tools_registry_toolrun SET state = 'succeeded', entry_id = %s, charged_amount = %s, cpu_seconds = 0, "
        "wall_seconds = 0, peak_memory_bytes = 0, ended_at = now() WHERE id = %s",
        entry,
        amount,
        made.id,
    )


def test_no_success_without_its_line(probe: Tool, purse: Purse) -> None:
    made, _ = start(purse)
    with pytest.raises(DatabaseError, match=r"tool_run_charged_when_it_succeeded|run .* is succeeded"):
        _succeed(made, None, None)
    with pytest.raises(DatabaseError, match="is succeeded"):
        _succeed(made, purse.lines[-1].id, 3 * CREDIT)
    paid = run(purse, owner="user:2")
    with pytest.raises(DatabaseError, match="is succeeded"):
        _succeed(made, paid.entry_id, 3 * CREDIT)


def test_no_end_without_its_money_given_back(probe: Tool, purse: Purse) -> None:
    made, _ = start(purse)
    with pytest.raises(DatabaseError, match="is stopped"):
        _sql(
            "UPDATE tools_registry_toolrun SET state = 'stopped', stopped_by = 'crash', ended_at = now() WHERE id = %s",
            made.id,
        )


def test_no_run_on_a_hold_of_others(probe: Tool, purse: Purse) -> None:
    made, _ = start(purse)
    other = Purse()
    other.grant(9 * CREDIT)
    hold = other.place(5 * CREDIT)
    made.id, made.hold_id, made.owner = new_id(), hold, "user:9"
    with pytest.raises(DatabaseError):
        made.save(force_insert=True)
    made.account_id = other.id
    with pytest.raises(DatabaseError, match="is running"):
        made.save(force_insert=True)


@pytest.mark.parametrize(
    ("change", "law"),
    [
        ("charged_amount = charged_amount - 1", "tool_run_ends_once"),
        ("state = 'running', entry_id = NULL, charged_amount = NULL, ended_at = NULL", "tool_run_"),
        ("estimate_max = estimate_max + 1", "tool_run_terms_never_change"),
        ("owner = 'user:7'", "tool_run_terms_never_change"),
    ],
)
def test_what_was_settled_stays(probe: Tool, purse: Purse, change: str, law: str) -> None:
    ended = run(purse)
    with pytest.raises(DatabaseError, match=law):
        _sql(f"UPDATE tools_registry_toolrun SET {change} WHERE id = %s", ended.id)
    with pytest.raises(DatabaseError, match="tool_run_never_deleted"):
        _sql("DELETE FROM tools_registry_toolrun WHERE id = %s", ended.id)


def test_reconcile_finds_a_run_that_its_hold_does_not_know(probe: Tool, purse: Purse) -> None:
    ended = run(purse)
    start(purse, owner="user:2")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(
            "UPDATE tools_registry_toolrun SET charged_amount = charged_amount + 1 WHERE id = %s", [ended.id]
        )
        cursor.execute("DELETE FROM tools_registry_toolrun WHERE owner = 'user:2'")
    laws = {finding.law for finding in reconcile().findings}
    assert {"run_agrees_with_its_hold", "hold_of_a_tool_has_its_run"} <= laws


def test_a_run_is_lost_only_after_it_could_have_ended(probe: Tool, purse: Purse) -> None:
    made, _ = start(purse)
    longest = 2 * (QUEUE_SECONDS_MAX + PROBE.bounds["seconds"])
    assert made.lost_at - made.created_at > timedelta(seconds=longest)
    assert made.lost_at < purse.hold(made.hold_id).expires_at


# Debt that arises while it runs


def in_debt(purse: Purse) -> tuple[ToolRun, runs.Quote]:
    """A run that is on while the bank takes back what its account was paid with and had spent."""
    purse.grant(10 * CREDIT, payment="pi_1")
    made, of = start(purse)
    purse.charge(purse.available)
    payment = purse.payment("pi_1")
    ledger.claw_back(purse.id, payment=payment, id=payment, amount=10 * CREDIT)
    assert purse.account.debt == 10 * CREDIT
    return made, of


def test_what_is_made_while_credits_are_owed_is_kept_back_until_nothing_is(probe: Tool, purse: Purse) -> None:
    made, of = in_debt(purse)
    ended = runs.carry_out(made, of)
    assert (ended.state, ended.charged_amount, ended.is_kept_back) == ("succeeded", 3 * CREDIT, True)
    owed = purse.account.debt
    assert owed > 0, "what was left of the hold repaid a part"
    tasks.sweep()
    assert ToolRun.objects.get(id=made.id).is_kept_back
    purse.grant(owed - 1)
    tasks.sweep()
    assert ToolRun.objects.get(id=made.id).is_kept_back
    purse.grant(1)
    tasks.sweep()
    ended.refresh_from_db()
    assert not ended.is_kept_back
    assert ended.result == {"how": "well", "bytes": 0}
    assert reconcile().is_clean


def test_what_was_delivered_stays_so_whatever_is_owed_later(probe: Tool, purse: Purse) -> None:
    purse.grant(10 * CREDIT, payment="pi_1")
    ended = run(purse)
    purse.charge(purse.available)
    payment = purse.payment("pi_1")
    ledger.claw_back(purse.id, payment=payment, id=payment, amount=10 * CREDIT)
    tasks.sweep()
    ended.refresh_from_db()
    assert (purse.account.debt, ended.is_kept_back) == (10 * CREDIT, False)


def test_the_database_hands_out_nothing_while_credits_are_owed(probe: Tool, purse: Purse) -> None:
    running, _ = start(purse, owner="user:2")
    with pytest.raises(DatabaseError, match="tool_run_released_when_it_succeeded"), transaction.atomic():
        ToolRun.objects.filter(id=running.id).update(released_at=ledger_clock.Now())
    made, of = in_debt(purse)
    runs.carry_out(made, of)
    with pytest.raises(DatabaseError, match="tool_run_released_when_nothing_is_owed"), transaction.atomic():
        ToolRun.objects.filter(id=made.id).update(released_at=ledger_clock.Now())
    purse.grant(purse.account.debt)
    tasks.sweep()
    with pytest.raises(DatabaseError, match="tool_run_is_released_once"), transaction.atomic():
        ToolRun.objects.filter(id=made.id).update(released_at=None)


def test_what_is_kept_back_is_kept_until_its_days_after_it_was_delivered(
    probe: Tool, purse: Purse, clock: Clock, settings: Any
) -> None:
    made, of = in_debt(purse)
    runs.carry_out(made, of)
    clock.advance(days=settings.TOOL_RESULT_DAYS + 1)
    tasks.sweep()
    purse.grant(purse.account.debt)
    tasks.sweep()
    made.refresh_from_db()
    assert (made.is_kept_back, made.result is None) == (False, False)
    clock.advance(days=settings.TOOL_RESULT_DAYS + 1)
    tasks.sweep()
    made.refresh_from_db()
    assert made.result is None
