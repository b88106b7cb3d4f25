"""Envelopes: a hold with shares, from which children draw. Σ open shares + drawn ≤ amount."""

from uuid import UUID

import pytest

from billing import errors, ledger, steps
from billing.models import Share
from tests.conftest import Clock

from .purse import Purse

pytestmark = pytest.mark.django_db


@pytest.fixture
def envelope(purse: Purse) -> UUID:
    """20 granted; an envelope of 10 with open shares a (4) and b (3)."""
    purse.grant(20)
    return purse.place(10, shares=(("a", 4), ("b", 3)))


def draw(purse: Purse, hold: UUID, reference: str, amount: int) -> object:
    return ledger.draw(purse.id, hold=hold, reference=reference, amount=amount)


def open_share(purse: Purse, hold: UUID, reference: str, amount: int) -> object:
    return purse.post(steps.OpenShare(hold=hold, reference=reference, amount=amount))


def close(purse: Purse, hold: UUID, reference: str) -> object:
    return purse.post(steps.CloseShare(hold=hold, reference=reference))


def shares(hold: UUID) -> dict[str, tuple[str, int | None]]:
    return {share.reference: (share.state, share.drawn) for share in Share.objects.filter(hold=hold)}


def test_an_envelope_holds_its_amount_once_and_its_shares_none(purse: Purse) -> None:
    purse.grant(20)
    with purse.moves(held=10, lines=["hold"]):
        hold = purse.place(10, shares=(("a", 4), ("b", 6)))
    assert purse.hold(hold).is_envelope
    assert shares(hold) == {"a": ("open", None), "b": ("open", None)}


def test_a_draw_spends_of_the_envelope_and_leaves_the_rest_of_the_share_in_it(purse: Purse, envelope: UUID) -> None:
    with purse.moves(balance=-3, held=-3, lines=["draw"]):
        draw(purse, envelope, "a", 3)
    assert shares(envelope)["a"] == ("drawn", 3)
    with purse.moves(lines=[]):
        open_share(purse, envelope, "c", 4)  # 10 − 3 drawn − 3 promised to b
    with purse.refuses(errors.SharesExceedHold, left="0"):
        open_share(purse, envelope, "d", 1)


def test_a_draw_of_0_writes_its_line(purse: Purse, envelope: UUID) -> None:
    with purse.moves(lines=["draw"]):
        draw(purse, envelope, "a", 0)
    assert shares(envelope)["a"] == ("drawn", 0)


@pytest.mark.parametrize("amount", [5, -1])
def test_a_draw_beyond_its_share_is_refused(purse: Purse, envelope: UUID, amount: int) -> None:
    with purse.refuses(errors.CaptureExceedsHold, left="0.000004"):
        draw(purse, envelope, "a", amount)


def test_a_share_is_drawn_or_closed_once(purse: Purse, envelope: UUID) -> None:
    draw(purse, envelope, "a", 1)
    close(purse, envelope, "b")
    for reference in ("a", "b"):
        with purse.refuses(errors.ShareNotOpen):
            draw(purse, envelope, reference, 1)
        with purse.refuses(errors.ShareNotOpen):
            close(purse, envelope, reference)
        with purse.refuses(errors.ShareNotOpen):
            open_share(purse, envelope, reference, 1)


def test_an_unknown_share_is_not_found(purse: Purse, envelope: UUID) -> None:
    with purse.refuses(errors.ShareNotFound):
        draw(purse, envelope, "z", 1)


@pytest.mark.parametrize("of", [(("a", 6), ("b", 5)), (("a", 0),), (("a", -1), ("b", 2))])
def test_shares_beyond_the_hold_are_refused(purse: Purse, of: tuple[tuple[str, int], ...]) -> None:
    purse.grant(20)
    with purse.refuses(errors.SharesExceedHold):
        purse.place(10, shares=of)


def test_a_share_named_twice_is_refused(purse: Purse) -> None:
    purse.grant(20)
    with purse.refuses(errors.ShareNotOpen):
        purse.place(10, shares=(("a", 1), ("a", 2)))


def test_a_plain_hold_has_no_shares(purse: Purse) -> None:
    purse.grant(20)
    hold = purse.place(10)
    with purse.refuses(errors.SharesExceedHold):
        open_share(purse, hold, "a", 1)


def test_an_envelope_ends_only_after_its_shares(purse: Purse, envelope: UUID) -> None:
    with purse.refuses(errors.SharesStillOpen):
        purse.capture(envelope, 1)
    with purse.refuses(errors.SharesStillOpen):
        purse.release(envelope)
    draw(purse, envelope, "a", 4)
    close(purse, envelope, "b")
    with purse.refuses(errors.CaptureExceedsHold, left="0.000006"):
        purse.capture(envelope, 7)
    with purse.moves(balance=-1, held=-6, lines=["capture"]):
        purse.capture(envelope, 1)
    assert purse.hold(envelope).captured == 5


def test_a_released_envelope_keeps_what_was_drawn(purse: Purse, envelope: UUID) -> None:
    draw(purse, envelope, "a", 4)
    close(purse, envelope, "b")
    with purse.moves(held=-6, lines=["release"]):
        purse.release(envelope)
    assert (purse.hold(envelope).state, purse.hold(envelope).captured) == ("released", 4)
    assert purse.spent() == (4, 0)


def test_an_expired_envelope_closes_its_open_shares(purse: Purse, envelope: UUID, clock: Clock) -> None:
    draw(purse, envelope, "a", 4)
    clock.advance(hours=1)
    with purse.moves(held=-6, lines=["hold_expired"]):
        ledger.expire_hold(purse.id, hold=envelope)
    assert shares(envelope) == {"a": ("drawn", 4), "b": ("closed", None)}
    with purse.moves(balance=-3, lines=["late_capture"]):
        ledger.capture_late(purse.id, hold=envelope, amount=3)


def test_draws_read_the_receipt_on_where_the_last_stopped(purse: Purse) -> None:
    first, second = purse.grant(5, priority=1), purse.grant(5, priority=2)
    hold = purse.place(10, shares=(("a", 3), ("b", 4), ("c", 3)))
    draw(purse, hold, "a", 3)
    draw(purse, hold, "b", 4)
    assert (purse.lot(first).spent, purse.lot(second).spent) == (5, 2)
    close(purse, hold, "c")
    purse.capture(hold, 1)
    assert (purse.lot(first).spent, purse.lot(second).spent, purse.lot(second).held) == (5, 3, 0)
