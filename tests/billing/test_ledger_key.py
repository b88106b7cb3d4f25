"""A client's idempotency key: by account, actor, method and path; written with the money, kept for ever."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from billing import errors, ledger, steps
from billing.models import IdempotencyKey, new_id

from .purse import HOUR, Purse

pytestmark = pytest.mark.django_db


def key(made: UUID, **terms: Any) -> ledger.Key:
    defaults = {
        "actor": "user:1",
        "scope": "POST /api/holds",
        "key": "k",
        "fingerprint": b"f" * 32,
        "status": 201,
        "made": made,
    }
    return ledger.Key(**defaults | terms)


def place(purse: Purse, amount: int = 4, **terms: Any) -> ledger.Outcome:
    hold = new_id()
    step = steps.PlaceHold(id=hold, amount=amount, reference="r", owner="user:1", expires_in_seconds=HOUR)
    return ledger.post_one(purse.id, step, key=key(hold, **terms))


def test_a_repeat_answers_what_the_first_made_and_moves_nothing(purse: Purse) -> None:
    purse.grant(10)
    with purse.moves(held=4, lines=["hold"]):
        first = place(purse)
        again = place(purse)
    assert first.repeat is None
    assert again.repeat == ledger.Repeat(201, first.line.of_hold.id)  # type: ignore[union-attr]
    assert again.results == []


def test_a_repeat_with_another_body_is_refused(purse: Purse) -> None:
    purse.grant(10)
    place(purse)
    with purse.refuses(errors.IdempotencyConflict):
        place(purse, fingerprint=b"g" * 32)


@pytest.mark.parametrize("other", [{"actor": "user:2"}, {"scope": "POST /api/generate"}, {"key": "l"}])
def test_a_key_is_its_actors_own_for_one_method_and_path(purse: Purse, other: dict[str, str]) -> None:
    purse.grant(10)
    place(purse)
    with purse.moves(held=4):
        assert place(purse, **other).repeat is None


def test_a_key_is_its_accounts_own(purse: Purse, new_purse: Callable[..., Purse]) -> None:
    purse.grant(10)
    place(purse)
    other = new_purse()
    other.grant(10)
    with other.moves(held=4):
        assert place(other).repeat is None


def test_a_refusal_writes_no_key_so_that_it_can_be_tried_again_after_a_top_up(purse: Purse) -> None:
    with purse.refuses(errors.InsufficientCredits):
        place(purse)
    purse.grant(10)
    with purse.moves(held=4):
        assert place(purse).repeat is None


def test_one_key_twice_in_a_batch_is_one_request(purse: Purse) -> None:
    purse.grant(10)
    made = new_id()
    group = ledger.Group(purse.id, [steps.Charge(amount=3)], key(made))
    with purse.moves(balance=-3, lines=["charge"]):
        one, two = ledger.post([group, group])
    assert (one.repeat, two.repeat) == (None, ledger.Repeat(201, made))


def test_a_key_is_kept_with_what_it_made(purse: Purse) -> None:
    purse.grant(10)
    hold = place(purse).line.of_hold
    row = IdempotencyKey.objects.get(account=purse.id)
    assert (row.made, row.status, bytes(row.fingerprint)) == (hold and hold.id, 201, b"f" * 32)
