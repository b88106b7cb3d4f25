"""Two hundred holds at once with credit for one: exactly one is placed. With the lock off the same storm fails."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from billing import ledger
from billing.models import Entry, Hold
from billing.reconcile import reconcile
from tests.live import counted, post_at_once, served, write_together
from tests.people import Person

pytestmark = pytest.mark.django_db(transaction=True)

TIMES = 200
Meeting = Callable[[Any], AbstractContextManager[Any]]
EXPECTED = {201: 1, 402: TIMES - 1}


def storm(meeting: Meeting = nullcontext) -> tuple[Person, dict[int, int]]:
    """The person whose credits were wanted two hundred times, and how often each status was answered."""
    person = Person("olga@people.test")
    person.grant("10")
    token = person.token()
    with served() as port, meeting(person.account):
        answers = post_at_once(port, "/api/holds", token, {"amount": "10", "reference": "r"}, TIMES)
    return person, dict(counted(answers))


def test_of_two_hundred_parallel_holds_one_is_placed() -> None:
    began = time.monotonic()
    person, statuses = storm()
    seconds = time.monotonic() - began
    assert statuses == EXPECTED
    assert person.values == ("10", "10", "0")
    assert list(Entry.objects.order_by("sequence").values_list("kind", flat=True)) == ["grant", "hold"]
    assert Hold.objects.get().state == "open"
    assert reconcile([person.account]).findings == []
    assert seconds < 150, "as long as they took when one deadlock followed another"


def test_without_the_lock_the_same_storm_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    unlocked = ledger._LOCK.replace(b"FOR NO KEY UPDATE", b"")
    assert unlocked != ledger._LOCK
    monkeypatch.setattr(ledger, "_LOCK", unlocked)
    person, statuses = storm(write_together)
    # The laws of the database still refuse the second hold, but as a broken promise instead of an answer.
    assert statuses != EXPECTED
    assert reconcile([person.account]).findings == []


def test_one_key_sent_eight_times_at_once_places_one_hold() -> None:
    person = Person("olga@people.test")
    person.grant("100")
    token = person.token()
    with served() as port:
        answers = post_at_once(port, "/api/holds", token, {"amount": "10"}, 8, {"Idempotency-Key": "k"})
    assert {(status, body.get("code")) for status, body in answers} <= {(201, None), (409, "request_in_progress")}
    assert len({body["id"] for status, body in answers if status == 201}) == 1
    assert person.values == ("100", "10", "0")
