"""Columns of many rows in one statement: the same rows as Django's own way, whatever stands in them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import DataError, IntegrityError, transaction

from billing import clock as ledger_clock
from generations import columns
from generations.models import Generation, SettlementRule
from tests.generations.trip import Trip

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = (
    "verdict_status",
    "verdict_message",
    "verdict_evidence",
    "usage",
    "verdict_at",
    "verdict_rule",
    "progress",
    "loss",
    "is_looked_back",
    "error_message",
)


def changed(trip: Trip) -> list[Generation]:
    """Jobs that differ from their rows in every kind of column."""
    first, second, third = (trip.running().row for _ in range(3))
    first.verdict_rule = SettlementRule.objects.filter(outcome="release").first()
    first.verdict_at = ledger_clock.now() - timedelta(microseconds=1)
    first.verdict_status, first.verdict_message = "failed", "quotes \" ' {braces} \\ and “ü” NULL"
    first.verdict_evidence, first.usage = {"a": [1, None, {"b": '}{,"'}], "c": 2**53}, {"input_tokens": 7}
    first.loss, first.progress, first.is_looked_back = 2**60, 100, True
    second.error_message, second.verdict_evidence = "", {}
    third.progress = 7
    return [first, second, third]


def rows(jobs: list[Generation]) -> list[dict[str, Any]]:
    return list(Generation.objects.filter(id__in=[job.id for job in jobs]).order_by("id").values())


def test_what_is_written_is_what_django_would_write(trip: Trip) -> None:
    jobs = changed(trip)
    before = rows(jobs)
    with transaction.atomic():
        Generation.objects.bulk_update(jobs, NAMES)
        by_django = rows(jobs)
        transaction.set_rollback(True)
    assert rows(jobs) == before

    with transaction.atomic():
        assert columns.write(jobs, NAMES) == 3
        assert rows(jobs) == by_django != before
        transaction.set_rollback(True)


def test_it_is_one_statement_and_none_for_nothing(trip: Trip, django_assert_num_queries: Any) -> None:
    jobs = [trip.running().row, trip.running().row]
    with django_assert_num_queries(1):
        columns.write(jobs, ["progress"])
    with django_assert_num_queries(0):
        assert columns.write([], ["progress"]) == 0


def test_only_the_named_columns_are_written(trip: Trip) -> None:
    job = trip.running().row
    job.progress, job.review = 9, "not to be written"
    columns.write([job], ["progress"])
    assert (trip_row := Generation.objects.get(id=job.id)).progress == 9
    assert trip_row.review == ""


def test_what_a_column_refuses_is_refused_and_never_cut(trip: Trip) -> None:
    job = trip.running().row
    job.settled_by = "x" * 101
    with pytest.raises(DataError), transaction.atomic():
        columns.write([job], ["settled_by"])
    job.progress = 101
    with pytest.raises(IntegrityError), transaction.atomic():
        columns.write([job], ["progress"])
