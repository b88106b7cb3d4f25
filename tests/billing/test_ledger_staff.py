"""adjust ±n and forgive n: staff's own verbs, each with a reason."""

import pytest

from billing import credits, errors, ledger
from billing.models import Lot, new_id

from .purse import Purse

pytestmark = pytest.mark.django_db


def test_a_positive_adjustment_makes_a_lot_from_staff(purse: Purse) -> None:
    with purse.moves(balance=5, lines=["adjust"]):
        ledger.adjust(purse.id, amount=5, reason="goodwill")
    assert Lot.objects.get(account=purse.id).source == "staff"
    assert purse.lines[0].text.reason == "goodwill"


def test_a_negative_adjustment_takes_in_burn_order_from_what_is_available(purse: Purse) -> None:
    first, second = purse.grant(5, priority=1), purse.grant(5, priority=2)
    purse.place(2)
    with purse.refuses(errors.AdjustmentExceedsAvailable, available="0.000008"):
        ledger.adjust(purse.id, amount=-9, reason="a slip")
    with purse.moves(balance=-7, lines=["adjust"]):
        ledger.adjust(purse.id, amount=-7, reason="a slip")
    assert (purse.lot(first).taken, purse.lot(second).taken) == (3, 4)


@pytest.mark.parametrize("amount", [0, credits.AMOUNT_MAX + 1, -credits.AMOUNT_MAX - 1])
def test_an_adjustment_of_no_amount_is_refused(purse: Purse, amount: int) -> None:
    with purse.refuses(errors.InvalidInstruction):
        ledger.adjust(purse.id, amount=amount, reason="why not")


@pytest.mark.parametrize("reason", ["", "  "])
def test_staff_gives_a_reason(purse: Purse, reason: str) -> None:
    with purse.refuses(errors.ReasonMissing):
        ledger.adjust(purse.id, amount=5, reason=reason)
    with purse.refuses(errors.ReasonMissing):
        ledger.forgive(purse.id, amount=5, reason=reason)


def test_what_is_forgiven_is_owed_no_more(purse: Purse) -> None:
    purse.grant(10, payment="cs_1")
    purse.charge(10)
    ledger.claw_back(purse.id, payment=purse.payment("cs_1"), id=new_id(), amount=10)
    for amount in (11, 0, -1):
        with purse.refuses(errors.ForgiveExceedsDebt, debt="0.00001"):
            ledger.forgive(purse.id, amount=amount, reason="kind")
    with purse.moves(debt=-4, lines=["forgive"]):
        ledger.forgive(purse.id, amount=4, reason="kind")
    with purse.moves(debt=-6):
        ledger.forgive(purse.id, amount=6, reason="kind")
