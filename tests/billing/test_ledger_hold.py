"""place_hold, capture, release, expire hold, renew: the life of a hold."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from django.contrib.auth.models import User

from billing import credits, errors, ledger, steps
from billing.models import new_id
from tests.conftest import Clock

from .purse import HOUR, Purse

pytestmark = pytest.mark.django_db


@pytest.fixture
def hold(purse: Purse) -> UUID:
    purse.grant(10)
    return purse.place(6)


# place_hold n: held +n


def test_a_hold_promises_credits_and_leaves_the_balance(purse: Purse) -> None:
    lot = purse.grant(10)
    with purse.moves(held=6, lines=["hold"]):
        hold = purse.hold(purse.place(6, reference="job 1", label="a video", link="/generations/1"))
    assert purse.available == 4
    assert (hold.state, hold.amount, hold.left, hold.reference, hold.owner) == ("open", 6, 6, "job 1", "job")
    assert (hold.receipt_lots, hold.receipt_amounts) == ([lot], [6])
    assert hold.expires_at - hold.placed_at == timedelta(seconds=HOUR)


def test_a_hold_takes_all_that_is_available_and_not_one_microcredit_more(purse: Purse) -> None:
    purse.grant(10)
    with purse.refuses(errors.InsufficientCredits, required="0.000011", available="0.00001", shortfall="0.000001"):
        purse.place(11)
    with purse.moves(held=10):
        purse.place(10)


@pytest.mark.parametrize("amount", [0, -1, credits.AMOUNT_MAX + 1])
def test_a_hold_of_no_amount_is_refused(purse: Purse, amount: int) -> None:
    purse.grant(10)
    with purse.refuses(errors.InvalidInstruction):
        purse.place(amount)


def test_a_frozen_account_places_no_hold_and_pays_no_charge(purse: Purse) -> None:
    purse.grant(10)
    ledger.set_account_frozen(purse.id, True, "looked at")
    with purse.refuses(errors.AccountFrozen):
        purse.place(1)
    with purse.refuses(errors.AccountFrozen):
        purse.charge(1)
    ledger.set_account_frozen(purse.id, False, "")
    with purse.moves(held=1):
        purse.place(1)


def test_what_already_runs_on_a_frozen_account_is_settled(purse: Purse, hold: UUID) -> None:
    other = purse.place(2)
    ledger.set_account_frozen(purse.id, True, "looked at")
    with purse.moves(balance=-5, held=-6):
        purse.capture(hold, 5)
    with purse.moves(held=-2):
        purse.release(other)


def test_a_debtor_places_no_hold(purse: Purse) -> None:
    purse.grant(10, payment="cs_1")
    purse.charge(10)
    ledger.claw_back(purse.id, payment=purse.payment("cs_1"), id=new_id(), amount=3)
    with purse.refuses(errors.AccountInDebt, debt="0.000003"):
        purse.place(1)


def test_an_account_has_only_so_many_open_holds(purse: Purse, settings: object) -> None:
    settings.OPEN_HOLDS_MAX = 2  # type: ignore[attr-defined]
    purse.grant(10)
    first = purse.place(1)
    purse.place(1)
    with purse.refuses(errors.TooManyOpenHolds, open_holds=2, open_holds_max=2):
        purse.place(1)
    purse.release(first)
    purse.place(1)


def test_open_holds_are_counted_within_a_batch(purse: Purse, settings: object) -> None:
    settings.OPEN_HOLDS_MAX = 2  # type: ignore[attr-defined]
    purse.grant(10)
    place = steps.PlaceHold(amount=1, reference="r", owner="job", expires_in_seconds=HOUR)
    outcomes = ledger.post([ledger.Group(purse.id, [place])] * 3)
    assert [type(outcome.refusal) for outcome in outcomes] == [type(None), type(None), errors.TooManyOpenHolds]


def test_refusals_come_in_the_order_of_the_contract(purse: Purse, settings: object) -> None:
    """frozen, debt, open holds, spend limit, credits (5-api.md): each is met only when those before are not."""
    from billing.models import SpendLimit

    settings.OPEN_HOLDS_MAX = 1  # type: ignore[attr-defined]
    purse.grant(10, payment="cs_1")
    purse.grant(3)
    SpendLimit.objects.create(account_id=purse.id, source="person", per_run=5)
    open_hold = purse.place(3)
    settings.OPEN_HOLDS_MAX = 2  # type: ignore[attr-defined]
    purse.charge(5)
    purse.charge(5)
    settings.OPEN_HOLDS_MAX = 1  # type: ignore[attr-defined]
    ledger.claw_back(purse.id, payment=purse.payment("cs_1"), id=new_id(), amount=10)
    ledger.set_account_frozen(purse.id, True, "x")
    with purse.refuses(errors.AccountFrozen):
        purse.place(100)
    ledger.set_account_frozen(purse.id, False, "")
    with purse.refuses(errors.AccountInDebt):
        purse.place(100)
    ledger.forgive(purse.id, amount=purse.account.debt, reason="kind")
    with purse.refuses(errors.TooManyOpenHolds):
        purse.place(100)
    purse.release(open_hold)
    with purse.refuses(errors.SpendLimitReached):
        purse.place(100)
    with purse.refuses(errors.InsufficientCredits):
        purse.place(5)


# capture c: balance −c, held −left


def test_a_capture_takes_its_amount_and_gives_the_rest_back(purse: Purse, hold: UUID) -> None:
    with purse.moves(balance=-4, held=-6, lines=["capture"]):
        line = purse.capture(hold, 4)
    assert (line.amount, line.balance_delta, line.held_delta) == (4, -4, -6)
    after = purse.hold(hold)
    assert (after.state, after.captured, after.ended_at) == ("captured", 4, line.created_at)


def test_a_capture_without_an_amount_takes_all(purse: Purse, hold: UUID) -> None:
    with purse.moves(balance=-6, held=-6):
        purse.capture(hold)


def test_a_capture_of_0_writes_its_line_and_ends_the_hold(purse: Purse, hold: UUID) -> None:
    with purse.moves(held=-6, lines=["capture"]):
        purse.capture(hold, 0)
    assert purse.hold(hold).state == "captured"


@pytest.mark.parametrize("amount", [7, -1])
def test_a_capture_beyond_what_is_left_is_refused(purse: Purse, hold: UUID, amount: int) -> None:
    with purse.refuses(errors.CaptureExceedsHold, left="0.000006"):
        purse.capture(hold, amount)


# release: held −left


def test_a_release_gives_everything_back(purse: Purse, hold: UUID) -> None:
    with purse.moves(held=-6, lines=["release"]):
        purse.release(hold)
    assert purse.hold(hold).state == "released"
    assert purse.available == 10


# expire hold: held −left, once it is due


def test_a_hold_expires_only_when_it_is_due(purse: Purse, hold: UUID, clock: Clock) -> None:
    with purse.refuses(errors.HoldNotDue):
        ledger.expire_hold(purse.id, hold=hold)
    clock.advance(hours=1)
    with purse.moves(held=-6, lines=["hold_expired"]):
        ledger.expire_hold(purse.id, hold=hold)
    assert purse.hold(hold).state == "expired"


def test_a_hold_past_its_end_that_nobody_expired_can_still_be_captured(purse: Purse, hold: UUID, clock: Clock) -> None:
    clock.advance(hours=2)
    with purse.moves(balance=-6, held=-6):
        purse.capture(hold)


# renew


def test_a_renewed_hold_is_not_due(purse: Purse, hold: UUID, clock: Clock) -> None:
    clock.advance(minutes=50)
    with purse.moves(lines=[]):
        ledger.renew(purse.id, hold=hold, expires_in_seconds=HOUR)
    clock.advance(minutes=50)
    with purse.refuses(errors.HoldNotDue):
        ledger.expire_hold(purse.id, hold=hold)


def test_a_renewal_never_moves_the_end_forward(purse: Purse, hold: UUID) -> None:
    before = purse.hold(hold).expires_at
    ledger.renew(purse.id, hold=hold, expires_in_seconds=1)
    assert purse.hold(hold).expires_at == before


# Who comes late is told which end won

ENDS: dict[str, tuple[Callable[[Purse, UUID], object], type[errors.BillingError]]] = {
    "captured": (lambda purse, hold: purse.capture(hold, 1), errors.HoldAlreadyCaptured),
    "released": (lambda purse, hold: purse.release(hold), errors.HoldAlreadyReleased),
    "expired": (lambda purse, hold: ledger.expire_hold(purse.id, hold=hold), errors.HoldAlreadyExpired),
}
VERBS: dict[str, Callable[[Purse, UUID], object]] = {
    "capture": lambda purse, hold: purse.capture(hold, 1),
    "release": lambda purse, hold: purse.release(hold),
    "expire": lambda purse, hold: ledger.expire_hold(purse.id, hold=hold),
    "renew": lambda purse, hold: ledger.renew(purse.id, hold=hold, expires_in_seconds=HOUR),
    "draw": lambda purse, hold: ledger.draw(purse.id, hold=hold, reference="a", amount=1),
    "open share": lambda purse, hold: purse.post(steps.OpenShare(hold=hold, reference="a", amount=1)),
    "close share": lambda purse, hold: purse.post(steps.CloseShare(hold=hold, reference="a")),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("state", ENDS)
def test_an_ended_hold_refuses_every_verb_and_names_its_end(
    purse: Purse, hold: UUID, clock: Clock, state: str, verb: str
) -> None:
    end, refusal = ENDS[state]
    clock.advance(hours=2)
    end(purse, hold)
    with purse.refuses(refusal, state=state):
        VERBS[verb](purse, hold)


@pytest.mark.parametrize("verb", VERBS)
def test_a_hold_is_found_only_on_its_own_account(
    purse: Purse, hold: UUID, new_purse: Callable[..., Purse], verb: str
) -> None:
    stranger = new_purse()
    with purse.moves(lines=[]), stranger.refuses(errors.HoldNotFound):
        VERBS[verb](stranger, hold)


def test_a_hold_is_moved_only_by_its_owner(purse: Purse, hold: UUID) -> None:
    with purse.refuses(errors.NotYourHold):
        purse.release(hold, owner="token:1")
    with purse.moves(held=-6):
        purse.release(hold, owner="job")


# What a line says


def test_a_line_says_who_did_what_when_and_why(purse: Purse) -> None:
    user = User.objects.create(username="ada")
    purse.grant(10, actor="user:1", user=user.id, description="A pack of 10", reason="bought")
    line = purse.lines[0]
    assert (line.actor, line.user_id, line.text.description, line.text.reason) == (
        "user:1",
        user.id,
        "A pack of 10",
        "bought",
    )
    assert line.occurred_at == line.created_at


def test_a_line_is_never_before_the_line_above_it_even_when_the_clock_goes_back(purse: Purse, clock: Clock) -> None:
    purse.grant(10)
    clock.advance(hours=-3)
    hold = purse.place(5)
    first, second = purse.lines
    assert second.created_at == first.created_at == purse.hold(hold).placed_at
