"""One job that cannot go on stops no other, and goes on by itself once it can."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
from django.core.files.storage import default_storage

from generations import lifecycle, rounds, tasks
from generations.models import Generation
from tests.generations.trip import Job, Trip
from tests.instance import until


def swept(trip: Trip, times: int = 4) -> None:
    for _ in range(times):
        trip.advance(lifecycle.LEASE_SECONDS)
        tasks.sweep_once()


def put_in_the_way_of(job: Job) -> Path:
    """A file where the folder of the job's output must be: nothing can be stored there."""
    path = Path(default_storage.path(f"outputs/{job.id}"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("in the way")
    return path


def test_an_output_that_cannot_be_stored_stops_no_other_job(trip: Trip) -> None:
    jobs = [trip.running("A lighthouse") for _ in range(4)]
    in_the_way = put_in_the_way_of(jobs[1])

    swept(trip)

    assert [job.row.state for job in jobs] == ["succeeded", "running", "succeeded", "succeeded"]
    assert jobs[1].hold_state == "open"
    in_the_way.unlink()
    swept(trip)
    assert [job.stands for job in jobs] == [("succeeded", "captured", "charged")] * 4


def test_while_an_output_cannot_be_stored_its_hold_still_ends_and_it_is_paid_late(trip: Trip) -> None:
    job = trip.running("A lighthouse")
    in_the_way = put_in_the_way_of(job)

    swept(trip)
    trip.sweep(2, seconds=3600)

    assert job.stands == ("awaiting_settlement", "expired", "withheld")
    in_the_way.unlink()
    swept(trip)
    assert job.stands == ("succeeded", "expired", "charged")
    assert trip.lines == [("hold", "0.5"), ("hold_expired", "0.5"), ("late_capture", "0.5")]


def test_a_job_that_cannot_be_priced_stops_no_other_settlement(trip: Trip) -> None:
    jobs = [trip.running("A lighthouse") for _ in range(3)]
    Generation.objects.filter(id=jobs[0].id).update(inputs={"prompt": "A lighthouse"})

    swept(trip)

    assert [job.row.state for job in jobs] == ["running", "succeeded", "succeeded"]
    assert jobs[0].row.review == "It cannot be priced: KeyError 'seconds'"
    assert trip.alerts == ["job_needs_review"]


def test_a_provider_that_keeps_one_job_waiting_holds_up_no_other(
    trip: Trip, raw_connection: psycopg.Connection[Any], settings: Any
) -> None:
    settings.PROVIDER_TIMEOUT_SECONDS = 120
    jobs = [trip.running("A lighthouse") for _ in range(3)]
    kept = jobs[0]
    trip.stand_in.post("gates", point="before_poll_answer", reference=str(kept.id))
    others = [job.id for job in jobs[1:]]

    def settled() -> bool:
        asked = "SELECT count(*) FROM generations_generation WHERE id = ANY(%s) AND state = 'succeeded'"
        return raw_connection.execute(asked, [others]).fetchone() == (2,)

    def open_when_the_others_are_settled() -> None:
        raw_connection.autocommit = True
        until(settled, 100, "the others are settled")
        trip.stand_in.post("release", reference=str(kept.id))

    with ThreadPoolExecutor(1) as beside:
        opened = beside.submit(open_when_the_others_are_settled)
        trip.advance(5)
        rounds.poll(lifecycle.claim_due())
        opened.result()

    # Its provider was waited for no longer than ever; had the others been kept waiting, it would have timed out.
    assert [job.stands for job in jobs] == [("succeeded", "captured", "charged")] * 3
