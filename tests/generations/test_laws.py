"""What the workshop's tables refuse by themselves: each law broken by raw SQL, and the name of what refused it."""

from __future__ import annotations

from itertools import product
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from billing import ledger
from generations import lifecycle
from generations.models import Generation, SettlementRule
from tests.billing.purse import Purse
from tests.generations.trip import Job, Trip

pytestmark = pytest.mark.django_db(transaction=True)

Raw = psycopg.Connection[Any]


def refused_by(raw: Raw, sql: str, *values: Any) -> str | None:
    """The name of the constraint or trigger that refused the statement; None where it was done. Leaves nothing."""
    try:
        with raw.transaction(force_rollback=True):
            raw.execute(sql, values)
    except psycopg.Error as error:
        return error.diag.constraint_name
    return None


def changed(raw: Raw, job: Job, **columns: Any) -> str | None:
    """What refuses these columns on the job's row."""
    names = ", ".join(f"{name} = %s" for name in columns)
    return refused_by(raw, f"UPDATE generations_generation SET {names} WHERE id = %s", *columns.values(), job.id)


def copied(raw: Raw, job: Job, **columns: Any) -> str | None:
    """What refuses a second row like the job's, with these columns and an id of its own."""
    sql, values = insert_like(job, columns)
    return refused_by(raw, sql, *values)


def add_copy(raw: Raw, job: Job, **columns: Any) -> None:
    sql, values = insert_like(job, columns)
    raw.execute(sql, values)
    raw.commit()


def insert_like(job: Job, columns: dict[str, Any]) -> tuple[str, list[Any]]:
    columns = {"id": uuid4()} | columns
    fields = [field.column for field in Generation._meta.concrete_fields]
    given = ", ".join("%s" if name in columns else name for name in fields)
    values = [columns[name] for name in fields if name in columns]
    sql = f"INSERT INTO generations_generation ({', '.join(fields)}) SELECT {given} FROM generations_generation"
    return f"{sql} WHERE id = %s", [*values, job.id]


# The table of states: what a job's own columns may say together

UNDECIDED, CHARGED, GIVEN_BACK = (None, False, False, False), (True, True, True, True), (False, False, True, True)
# state, outcome → credits_charged, and whether there is an amount, a time, an end
LEGAL = {
    ("queued", None): UNDECIDED,
    ("submitting", None): UNDECIDED,
    ("running", None): UNDECIDED,
    ("awaiting_settlement", "expired"): UNDECIDED,
    ("awaiting_settlement", "withheld"): UNDECIDED,
    ("succeeded", "charged"): CHARGED,
    ("succeeded", "waived"): GIVEN_BACK,
    ("failed", "refunded"): GIVEN_BACK,
    ("cancelled", "refunded"): GIVEN_BACK,
    ("expired", "expired"): GIVEN_BACK,
}
STATES = (
    "queued",
    "submitting",
    "running",
    "awaiting_settlement",
    "succeeded",
    "failed",
    "cancelled",
    "expired",
    "lost",
)
OUTCOMES = (None, "charged", "refunded", "withheld", "waived", "expired", "lost")

TRY_ALL = """
DO $$ DECLARE row record; refused text; BEGIN
  CREATE TEMPORARY TABLE tried (state text, outcome text, charged boolean, amount boolean, time boolean, ended boolean,
                                waiver boolean, refused text) ON COMMIT DROP;
  FOR row IN
    SELECT * FROM unnest(ARRAY[%(states)s]::text[]) state, unnest(ARRAY[%(outcomes)s]::text[]) outcome,
                  unnest(ARRAY[NULL, false, true]) charged, unnest(ARRAY[false, true]) amount,
                  unnest(ARRAY[false, true]) time, unnest(ARRAY[false, true]) ended, unnest(ARRAY[false, true]) waiver
  LOOP
    refused := NULL;
    BEGIN
      UPDATE generations_generation SET state = row.state, outcome = row.outcome, credits_charged = row.charged,
        charged_amount = CASE WHEN row.amount THEN 1 END, charged_at = CASE WHEN row.time THEN now() END,
        ended_at = CASE WHEN row.ended THEN now() END, verdict_at = now(),
        waived_by_id = CASE WHEN row.waiver THEN user_id END
       WHERE id = %(id)s;
    EXCEPTION WHEN check_violation THEN GET STACKED DIAGNOSTICS refused = CONSTRAINT_NAME;
    END;
    INSERT INTO tried
    VALUES (row.state, row.outcome, row.charged, row.amount, row.time, row.ended, row.waiver, refused);
  END LOOP;
END $$
"""


def test_a_charge_follows_its_state_in_every_combination(trip: Trip, raw_connection: Raw) -> None:
    job = trip.start()
    with raw_connection.transaction(force_rollback=True):
        # A replica's session runs no triggers: here the CHECK stands alone.
        raw_connection.execute("SET LOCAL session_replication_role = replica")
        listed = {
            "states": ", ".join(f"'{state}'" for state in STATES),
            "outcomes": ", ".join("NULL" if outcome is None else f"'{outcome}'" for outcome in OUTCOMES),
            "id": f"'{job.id}'",
        }
        raw_connection.execute(TRY_ALL % listed)  # type: ignore[arg-type]
        tried = raw_connection.execute("SELECT * FROM tried").fetchall()
    assert len(tried) == len(STATES) * len(OUTCOMES) * 48
    wrong = []
    for state, outcome, charged, amount, time, ended, waiver, refused in tried:
        is_legal = LEGAL.get((state, outcome)) == (charged, amount, time, ended) and (waiver or outcome != "waived")
        if refused != (None if is_legal else "generation_charge_follows_its_state"):
            wrong.append((state, outcome, charged, amount, time, ended, waiver, refused))
    assert wrong == []


# The job and its money say the same


def ended_columns(state: str, outcome: str | None, amount: int | None = None) -> dict[str, Any]:
    is_ended = LEGAL[state, outcome][3]
    moment = "2026-05-01T12:00:00Z" if is_ended else None
    return {
        "state": state,
        "outcome": outcome,
        "credits_charged": LEGAL[state, outcome][0],
        "charged_amount": amount,
        "charged_at": moment,
        "ended_at": moment,
    }


@pytest.mark.parametrize("hold_state", ["open", "captured", "released", "expired", "captured late", "not a job's"])
def test_a_job_agrees_with_its_hold(trip: Trip, raw_connection: Raw, hold_state: str) -> None:
    purse = trip.purse
    hold = purse.place(500_000, owner="user:1" if hold_state == "not a job's" else "job")
    if hold_state == "captured":
        purse.capture(hold, 300_000)
    elif hold_state == "released":
        purse.release(hold)
    elif hold_state in ("expired", "captured late"):
        trip.clock.advance(hours=2)
        ledger.expire_hold(purse.id, hold=hold)
    if hold_state == "captured late":
        ledger.capture_late(purse.id, hold=hold, amount=300_000)
    job = trip.start()
    rule = SettlementRule.objects.get(status="completed")
    common = {"hold_id": hold, "verdict_at": "2026-05-01T12:00:00Z", "waived_by_id": trip.person.pk}
    common |= {"verdict_rule_id": rule.id}

    allowed = set()
    for state, outcome in LEGAL:
        for amount in (300_000, 200_000) if outcome == "charged" else (None,):
            refused = copied(raw_connection, job, **common | ended_columns(state, outcome, amount))
            assert refused in (None, "generation_agrees_with_money")
            if refused is None:
                allowed.add((state, outcome, amount))
    assert (
        allowed
        == {
            "open": {("queued", None, None), ("submitting", None, None), ("running", None, None)},
            "captured": {("succeeded", "charged", 300_000)},
            "released": {("failed", "refunded", None), ("cancelled", "refunded", None)},
            "expired": {
                ("awaiting_settlement", "expired", None),
                ("awaiting_settlement", "withheld", None),
                ("succeeded", "waived", None),
                ("failed", "refunded", None),
                ("cancelled", "refunded", None),
                ("expired", "expired", None),
            },
            "captured late": {("succeeded", "charged", 300_000)},
            "not a job's": set(),
        }[hold_state]
    )
    for state, outcome, amount in sorted(allowed, key=str)[:1]:  # so that the hold has its job when the books are read
        add_copy(raw_connection, job, **common | ended_columns(state, outcome, amount))


def test_a_job_moves_only_with_its_hold(trip: Trip, raw_connection: Raw) -> None:
    job = trip.start()
    for state, outcome in LEGAL:
        if outcome is not None:
            columns = ended_columns(state, outcome, 100 if outcome == "charged" else None)
            columns |= {"verdict_at": "2026-05-01T12:00:00Z", "waived_by_id": trip.person.pk}
            assert changed(raw_connection, job, **columns) == "generation_agrees_with_money", (state, outcome)


# What was settled, said or agreed stays


def test_a_settled_job_is_never_settled_again(trip: Trip, raw_connection: Raw) -> None:
    job = trip.start("[failed x]").ended()
    law = "generation_settled_once"
    assert changed(raw_connection, job, state="cancelled") == law
    assert changed(raw_connection, job, charged_at="2026-05-01T12:00:00Z") == law
    assert changed(raw_connection, job, ended_at="2026-05-01T12:00:00Z") == law
    for columns in (ended_columns("queued", None), ended_columns("succeeded", "charged", 0)):
        assert changed(raw_connection, job, **columns) == "generation_agrees_with_money"
    assert changed(raw_connection, job, review="Looked at") is None


def test_the_first_verdict_stands(trip: Trip, raw_connection: Raw) -> None:
    (job,) = [trip.running("[late 70m]")]
    trip.advance(hours=1.1)
    trip.sweep()
    trip.purse.charge(trip.purse.available)
    trip.advance(minutes=10)
    trip.sweep(2)
    assert job.row.outcome == "withheld"
    law = "generation_first_verdict_stands"
    assert changed(raw_connection, job, verdict_status="failed") == law
    assert changed(raw_connection, job, verdict_code="x") == law
    assert changed(raw_connection, job, verdict_at="2026-05-01T12:00:00Z") == law
    assert changed(raw_connection, job, verdict_at=None, verdict_status=None) == law


def test_a_job_keeps_its_terms(trip: Trip, raw_connection: Raw) -> None:
    job, other = trip.start(), trip.start()
    law = "generation_keeps_its_terms"
    assert changed(raw_connection, job, estimate_max=600_000) == law
    assert changed(raw_connection, job, operation="ai/image") == law
    assert changed(raw_connection, job, id=uuid4()) == law
    assert changed(raw_connection, job, tool_cost_id=uuid4()) == law
    assert changed(raw_connection, job, hold_id=other.row.hold_id) == law
    assert changed(raw_connection, job, account_id=Purse().id) == law
    assert changed(raw_connection, job, progress=50) is None


def test_a_job_is_never_deleted(trip: Trip, raw_connection: Raw) -> None:
    job = trip.start()
    sql = "DELETE FROM generations_generation WHERE id = %s"
    assert refused_by(raw_connection, sql, job.id) == "generation_never_deleted"


def test_an_output_is_released_only_when_it_is_paid_for(trip: Trip, raw_connection: Raw) -> None:
    running = trip.running("[late 70m]")
    trip.advance(hours=1.1)
    trip.sweep()
    trip.purse.charge(trip.purse.available)
    trip.advance(minutes=10)
    trip.sweep(2)
    assert running.row.outcome == "withheld"
    assert running.output is not None
    law = "output_released_when_paid"
    release = "UPDATE generations_output SET released_at = now() WHERE generation_id = %s"
    assert refused_by(raw_connection, release, running.id) == law
    lifecycle.waive(running.id, staff=trip.person.pk, reason="Our mistake")
    assert refused_by(raw_connection, release, running.id) is None
    trip.purse.grant(1_000_000)
    for job in (trip.start("[failed x]").ended(), trip.start()):
        insert = (
            "INSERT INTO generations_output (id, account_id, generation_id, position, file, content_type, bytes,"
            " stored_at, released_at) VALUES (gen_random_uuid(), %s, %s, 0, 'f', 'video/mp4', 1, now(), {})"
        )
        assert refused_by(raw_connection, insert.format("now()"), trip.purse.id, job.id) == law
        assert refused_by(raw_connection, insert.format("NULL"), trip.purse.id, job.id) is None


def test_a_job_of_a_provider_belongs_to_one_job_for_ever(trip: Trip, raw_connection: Raw) -> None:
    job, other = trip.running(), trip.running()
    sql = "UPDATE generations_providerjob SET generation_id = %s WHERE generation_id = %s"
    assert refused_by(raw_connection, sql, other.id, job.id) == "provider_job_written_once"
    sql = (
        "INSERT INTO generations_providerjob (id, provider, provider_job_id, account_id, generation_id, created_at)"
        " VALUES (gen_random_uuid(), 'rehearsal', %s, %s, %s, now())"
    )
    assert refused_by(raw_connection, sql, job.row.provider_job_id, trip.purse.id, other.id) == "provider_job_once"


# Rows that fit together


def test_a_job_stands_on_one_hold_of_its_own_account(trip: Trip, raw_connection: Raw) -> None:
    job = trip.start()
    stranger = Purse()
    law = "generation_stands_on_one_hold_or_share"
    with raw_connection.transaction(force_rollback=True):
        raw_connection.execute("SET LOCAL session_replication_role = replica")
        assert copied(raw_connection, job, hold_id=None) == law
        assert copied(raw_connection, job, share_id=uuid4()) == law
        assert copied(raw_connection, job) == "generation_one_a_hold"
    assert copied(raw_connection, job) == "generation_one_a_hold"
    # The trigger finds no such hold in that account; without it the key would.
    assert copied(raw_connection, job, account_id=stranger.id) == "generation_agrees_with_money"
    sql = "SELECT conname FROM pg_constraint WHERE contype = 'f' AND conname LIKE '%%_in_account'"
    names = {name for (name,) in raw_connection.execute(sql)}
    assert names >= {
        "generation_hold_in_account",
        "generation_share_in_account",
        "attempt_generation_in_account",
        "output_generation_in_account",
        "provider_job_generation_in_account",
    }


@pytest.mark.parametrize("table", ["attempt", "output", "providerjob"])
def test_what_belongs_to_a_job_belongs_to_its_account(trip: Trip, raw_connection: Raw, table: str) -> None:
    job, stranger = trip.start(), Purse()
    columns, values = {
        "attempt": ("number, started_at, evidence", "9, now(), '{}'"),
        "output": ("position, file, content_type, bytes, stored_at", "0, 'f', 'video/mp4', 1, now()"),
        "providerjob": ("provider, provider_job_id, created_at", "'p', 'x', now()"),
    }[table]
    name = {"providerjob": "provider_job"}.get(table, table)
    sql = (
        f"INSERT INTO generations_{table} (id, account_id, generation_id, {columns})"
        f" VALUES (gen_random_uuid(), %s, %s, {values})"
    )
    assert refused_by(raw_connection, sql, stranger.id, job.id) == f"{name}_generation_in_account"
    assert refused_by(raw_connection, sql, trip.purse.id, job.id) is None
    if table != "providerjob":
        once = {"attempt": "attempt_number_once", "output": "output_position_once"}[table]
        assert refused_by(raw_connection, f"{sql}; {sql}".replace("%s", "'%s'") % ((trip.purse.id, job.id) * 2)) == once


@pytest.mark.parametrize(
    ("columns", "law"),
    [
        ({"estimate_typical": 600_000}, "generation_estimate_ordered"),
        ({"estimate_min": -1}, "generation_estimate_ordered"),
        ({"estimate_min": 500_001, "estimate_typical": 500_000}, "generation_estimate_ordered"),
        ({"progress": 101}, "generation_progress_is_percent"),
        ({"progress": -1}, "generations_generation_progress_check"),
    ],
)
def test_figures_fit_together(trip: Trip, raw_connection: Raw, columns: dict[str, Any], law: str) -> None:
    assert changed(raw_connection, trip.start(), **columns) == law


def test_a_charge_lies_within_the_estimate(trip: Trip, raw_connection: Raw) -> None:
    job = trip.start().ended()
    with raw_connection.transaction(force_rollback=True):
        raw_connection.execute("SET LOCAL session_replication_role = replica")
        assert changed(raw_connection, job, charged_amount=500_001) == "generation_charge_within_estimate"
        assert changed(raw_connection, job, charged_amount=-1) == "generation_charge_within_estimate"


def test_only_a_success_is_withheld(trip: Trip, raw_connection: Raw) -> None:
    job = trip.running("[silent]")
    trip.advance(hours=1.1)
    trip.sweep()
    assert job.stands == ("awaiting_settlement", "expired", "expired")
    assert changed(raw_connection, job, outcome="withheld") == "generation_withheld_only_after_success"


# Rules


def test_a_rule_captures_only_on_a_terminal_success(trip: Trip, raw_connection: Raw) -> None:
    insert = (
        "INSERT INTO generations_settlementrule (id, phase, provider, operation, status, code, outcome, provider_bills,"
        " sentence, alerts_staff, version, created_at) VALUES (gen_random_uuid(), %s, 'p', 'any', %s, 'any', %s,"
        " 'unknown', '', false, 1, now())"
    )
    law = "settlement_rule_captures_only_terminal_success"
    statuses = (
        "completed",
        "incomplete",
        "failed",
        "cancelled",
        "queued",
        "in_progress",
        "any",
        "500",
        "transmogrified",
    )
    for phase, status in product(("submit", "poll"), statuses):
        is_success = phase == "poll" and status in ("completed", "incomplete")
        assert refused_by(raw_connection, insert, phase, status, "capture") == (None if is_success else law)
        assert refused_by(raw_connection, insert, phase, status, "release") is None
    twice = (
        "INSERT INTO generations_settlementrule SELECT gen_random_uuid(), {} FROM generations_settlementrule LIMIT 1"
    )
    fields = "phase, provider, operation, status, code, outcome, provider_bills, sentence, alerts_staff, version"
    names = f"(id, {fields}, created_at)"
    sql = twice.replace("rule SELECT", f"rule {names} SELECT").format(f"{fields}, now()")
    assert refused_by(raw_connection, sql) == "settlement_rule_once_in_force"


def test_a_rule_is_only_ever_superseded(trip: Trip, raw_connection: Raw) -> None:
    law = "settlement_rule_only_superseded"
    update = "UPDATE generations_settlementrule SET {} WHERE status = 'completed'"
    for change in (
        "outcome = 'release'",
        "sentence = 'x'",
        "provider_bills = 'no'",
        "status = 'failed'",
        "version = 2",
    ):
        assert refused_by(raw_connection, update.format(change)) == law
    assert refused_by(raw_connection, update.format("superseded_at = now()")) is None
    with raw_connection.transaction(force_rollback=True):
        raw_connection.execute(update.format("superseded_at = now()"))
        assert refused_by(raw_connection, update.format("superseded_at = NULL")) == law
