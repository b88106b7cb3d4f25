"""Two hundred jobs at once with credit for one: exactly one is started. With the lock off the same storm fails."""

import io
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
from django.core.management import call_command
from django_q.models import OrmQ

from billing import ledger
from billing.models import Audit, Entry, Hold
from billing.reconcile import reconcile
from generations.models import Generation
from tests.live import counted, post_at_once, served, write_together
from tests.people import Person

pytestmark = pytest.mark.django_db(transaction=True)

TIMES = 200
Meeting = Callable[[Any], AbstractContextManager[Any]]
EXPECTED = {202: 1, 402: TIMES - 1}
VIDEO = {"operation": "ai/video", "inputs": {"prompt": "A lighthouse at dawn", "seconds": 4}}


def storm(meeting: Meeting = nullcontext) -> tuple[Person, dict[int, int]]:
    """The person whose credits were wanted two hundred times, and how often each status was answered."""
    call_command("install_catalogue", stdout=io.StringIO())
    person = Person("olga@people.test")
    person.grant("2")
    token = person.token()
    with served() as port, meeting(person.account):
        answers = post_at_once(port, "/api/generate", token, VIDEO, TIMES)
    return person, dict(counted(answers))


def test_of_two_hundred_parallel_jobs_one_is_started() -> None:
    began = time.monotonic()
    person, statuses = storm()
    seconds = time.monotonic() - began
    assert statuses == EXPECTED
    assert person.values == ("2", "2", "0")
    assert list(Entry.objects.order_by("sequence").values_list("kind", flat=True)) == ["grant", "hold"]
    job = Generation.objects.get()
    assert (job.state, job.hold_id) == ("queued", Hold.objects.get(state="open").id)
    assert OrmQ.objects.count() == 1
    assert Audit.objects.filter(is_refusal=True, code="insufficient_credits").count() == TIMES - 1
    assert reconcile().findings == []
    assert seconds < 150, "as long as they took when one deadlock followed another"


def test_without_the_lock_the_same_storm_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    unlocked = ledger._LOCK.replace(b"FOR NO KEY UPDATE", b"")
    assert unlocked != ledger._LOCK
    monkeypatch.setattr(ledger, "_LOCK", unlocked)
    _, statuses = storm(write_together)
    # The laws of the database still refuse the second hold, but as a broken promise instead of an answer.
    assert statuses != EXPECTED
    assert reconcile().findings == []


def test_one_key_sent_eight_times_at_once_starts_one_job() -> None:
    call_command("install_catalogue", stdout=io.StringIO())
    person = Person("olga@people.test")
    person.grant("100")
    token = person.token()
    with served() as port:
        answers = post_at_once(port, "/api/generate", token, VIDEO, 8, {"Idempotency-Key": "k"})
    assert {(status, body.get("code")) for status, body in answers} <= {(202, None), (409, "request_in_progress")}
    assert len({body["id"] for status, body in answers if status == 202}) == 1
    assert person.values == ("100", "2", "0")
    assert Generation.objects.count() == 1
