"""grant n: balance +n. Refused: n ≤ 0, too large; a payment already granted returns that grant."""

from collections.abc import Callable

import pytest

from billing import credits, errors, ledger, steps
from billing.models import Payment

from .purse import Purse

pytestmark = pytest.mark.django_db


def test_a_grant_adds_its_amount_and_makes_a_lot(purse: Purse) -> None:
    with purse.moves(balance=10, lines=["grant"]):
        lot = purse.lot(purse.grant(10, source="gift", is_promotional=True, priority=7))
    assert (lot.source, lot.is_promotional, lot.priority) == ("gift", True, 7)
    assert (lot.amount, lot.remaining, lot.held, lot.moved_by) == (10, 10, 0, 1)
    assert lot.expires_at is None
    assert lot.spendable_until is None


def test_a_payment_is_granted_once_and_a_repeat_names_the_first_line(purse: Purse) -> None:
    first = ledger.grant(purse.id, amount=10, source="pack", payment="cs_1")
    with purse.moves():
        assert ledger.grant(purse.id, amount=10, source="pack", payment="cs_1") == first
    assert Payment.objects.get().granted == 10


def test_a_payment_is_granted_once_within_a_batch_too(purse: Purse) -> None:
    grant = steps.Grant(amount=10, source="pack", payment="cs_1")
    with purse.moves(balance=10, lines=["grant"]):
        one, two = ledger.post([ledger.Group(purse.id, [grant]), ledger.Group(purse.id, [grant])])
    assert two.results == [one.line.id]


def test_a_payment_granted_to_one_account_is_refused_on_another(new_purse: Callable[..., Purse]) -> None:
    one, other = new_purse(), new_purse()
    one.grant(10, payment="cs_1")
    with other.refuses(errors.PaymentAlreadyGranted):
        other.grant(10, payment="cs_1")


def test_of_two_accounts_in_one_batch_one_gets_the_payment(new_purse: Callable[..., Purse]) -> None:
    one, other = new_purse(), new_purse()
    grant = steps.Grant(amount=10, source="pack", payment="cs_1")
    outcomes = ledger.post([ledger.Group(one.id, [grant]), ledger.Group(other.id, [grant])])
    assert [type(outcome.refusal) for outcome in outcomes] == [type(None), errors.PaymentAlreadyGranted]
    assert (one.available, other.available) == (10, 0)


@pytest.mark.parametrize("amount", [0, -1, credits.AMOUNT_MAX + 1])
def test_what_is_no_amount_is_refused(purse: Purse, amount: int) -> None:
    with purse.refuses(errors.InvalidInstruction):
        purse.grant(amount)


def test_a_balance_beyond_its_range_is_refused(purse: Purse) -> None:
    grant = steps.Grant(amount=credits.AMOUNT_MAX, source="staff")
    purse.post(*[grant] * 100)
    assert purse.available == credits.BALANCE_MAX
    with purse.refuses(errors.BalanceTooLarge):
        purse.grant(1)


def test_an_unknown_account_is_not_found(purse: Purse) -> None:
    with pytest.raises(errors.AccountNotFound):
        ledger.grant(Payment().id, amount=1, source="gift")
