"""kill -9 of the worker, the web server or the embedded database while jobs stand at named points of their trip.

Afterwards each was accepted once, its hold is there, it was settled once, and delivered only because it was paid.
The short form of campaign.py: one kill a victim, each with jobs at several points.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.faults.points import FAILURE, OF_NAME, PATIENCE_SECONDS, SHORT, SUCCESS, Wharf, wharf
from tests.instance import until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def port() -> Iterator[Wharf]:
    with wharf(people=4) as made:
        yield made
        made.reconcile()


@pytest.mark.parametrize(
    ("victim", "points"),
    [
        ("worker", {"before submit": SUCCESS, "after accept": SUCCESS, "inside capture": SUCCESS}),
        ("web", {"starting": SUCCESS, "after the verdict": SUCCESS, "before the answer to a poll": FAILURE}),
        (
            "database",
            {
                "starting": SUCCESS,
                "accepted, before its commit": SUCCESS,
                "answered, before the verdict's commit": FAILURE,
                "after the fetch": SUCCESS,
            },
        ),
    ],
)
def test_nothing_is_lost_or_done_twice(port: Wharf, victim: str, points: dict[str, str]) -> None:
    wanted = [(OF_NAME[name], who, prompt) for (name, prompt), who in zip(points.items(), port.people, strict=False)]
    waiting = port.bring(*wanted)

    port.kill(victim, waiting)
    for one in waiting:
        port.let_go(one)

    for one in waiting:
        port.check(one)


def test_emptying_the_queue_delays_and_loses_nothing(port: Wharf) -> None:
    """While the worker stands still every task is deleted: the sweep finds the jobs by their rows."""
    (worker,) = port.instance.children("config.queue")
    os.killpg(worker, signal.SIGSTOP)
    try:
        body = {"operation": "ai/video", "provider": "rehearsal", "inputs": SHORT | {"prompt": SUCCESS}}
        answers = [port.http(person, "POST", "/api/generate", body) for person in port.people]
        assert [status for status, _ in answers] == [202] * 4
        jobs = [said["id"] for _, said in answers]
        assert port.ask("DELETE FROM django_q_ormq RETURNING id")
    finally:
        os.killpg(worker, signal.SIGCONT)

    def states() -> list[str]:
        asked = "SELECT state FROM generations_generation WHERE id = ANY(%(jobs)s::uuid[])"
        return [row["state"] for row in port.ask(asked, jobs=jobs)]

    until(lambda: states() == ["succeeded"] * 4, PATIENCE_SECONDS, f"all have ended: {states()}")
    kinds = port.ask(
        "SELECT kind, count(*) FROM billing_entry JOIN generations_generation job USING (hold_id)"
        " WHERE job.id = ANY(%(jobs)s::uuid[]) GROUP BY kind ORDER BY kind DESC",
        jobs=jobs,
    )
    assert [(row["kind"], row["count"]) for row in kinds] == [("hold", 4), ("capture", 4)]
    assert {port.stand_in.submits(job)["accepted"] for job in jobs} == {1}
