"""Batches: groups done whole or not at all, each with its own result; the poisoned one set aside, the others done."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError, connection, transaction

from billing import errors, ledger, steps
from billing.models import Alert, Entry, Notice, new_id

from .purse import HOUR, Purse

pytestmark = pytest.mark.django_db


def charge(purse: Purse, *amounts: int) -> ledger.Group:
    return ledger.Group(purse.id, [steps.Charge(amount=amount) for amount in amounts])


def refusals(outcomes: list[ledger.Outcome]) -> list[type[Exception] | None]:
    return [type(outcome.refusal) if outcome.refusal else None for outcome in outcomes]


def note(key: str) -> Callable[[list[ledger.Outcome]], None]:
    def also(done: list[ledger.Outcome]) -> None:
        for outcome in done:
            Notice.objects.create(account_id=outcome.group.account, key=key, title="done")

    return also


def test_a_group_is_done_whole_or_not_at_all(purse: Purse) -> None:
    purse.grant(10)
    with purse.moves(balance=-7, lines=["charge", "charge"]):
        outcomes = ledger.post([charge(purse, 4), charge(purse, 5, 5), charge(purse, 3)])
    assert refusals(outcomes) == [None, errors.InsufficientCredits, None]


def test_a_refused_group_undoes_nothing_of_what_stood_before_it_in_the_batch(purse: Purse) -> None:
    """Every kind of row is touched by a group that is refused at its last step."""
    purse.grant(20, payment="cs_1")
    payment = purse.payment("cs_1")
    hold = purse.place(4, shares=(("a", 2),))
    charged = purse.charge(2).id
    refused = [
        steps.Draw(hold=hold, reference="a", amount=1),
        steps.OpenShare(hold=hold, reference="b", amount=1),
        steps.PlaceHold(amount=1, reference="r", owner="job", expires_in_seconds=HOUR),
        steps.Refund(entry=charged),
        steps.Grant(amount=5, source="gift", payment="cs_2"),
        steps.ClawBack(payment=payment, id=new_id(), amount=3),
        steps.Freeze(payment=payment),
        steps.Renew(hold=hold, expires_in_seconds=2 * HOUR),
        steps.Forgive(amount=1, reason="there is no debt"),
    ]
    with purse.refuses(errors.ForgiveExceedsDebt):
        purse.post(*refused)
    before = purse.everything()
    with purse.moves(balance=-1, lines=["charge"]):
        outcomes = ledger.post([ledger.Group(purse.id, refused), charge(purse, 1), ledger.Group(purse.id, refused)])
    assert refusals(outcomes) == [errors.ForgiveExceedsDebt, None, errors.ForgiveExceedsDebt]
    after = purse.everything()
    assert after["Hold"] == before["Hold"]
    assert after["Share"] == before["Share"]
    assert after["Payment"] == before["Payment"]
    assert after["ClawBack"] == []


def test_results_come_in_the_order_asked_whatever_the_order_of_the_locks(new_purse: Callable[..., Purse]) -> None:
    purses = [new_purse() for _ in range(5)]
    for purse in purses:
        purse.grant(10)
    groups = [charge(purse, amount) for amount in (1, 2) for purse in reversed(purses)]
    outcomes = ledger.post(groups)
    assert [outcome.group for outcome in outcomes] == groups
    assert [outcome.line.amount for outcome in outcomes] == [1] * 5 + [2] * 5
    assert {purse.available for purse in purses} == {7}


def test_an_unknown_account_is_refused_alone(purse: Purse) -> None:
    purse.grant(10)
    outcomes = ledger.post([ledger.Group(new_id(), [steps.Charge(amount=1)]), charge(purse, 1)])
    assert refusals(outcomes) == [errors.AccountNotFound, None]


@pytest.mark.parametrize("per_statement", [1, 2, 1000])
def test_how_many_accounts_a_statement_locks_is_a_setting(
    new_purse: Callable[..., Purse], settings: Any, per_statement: int
) -> None:
    settings.LEDGER_ACCOUNTS_PER_STATEMENT = per_statement
    purses = [new_purse() for _ in range(5)]
    outcomes = ledger.post([ledger.Group(purse.id, [steps.Grant(amount=3, source="gift")]) for purse in purses])
    assert refusals(outcomes) == [None] * 5
    assert [purse.available for purse in purses] == [3] * 5


def test_what_the_caller_writes_shares_the_fate_of_its_group(purse: Purse) -> None:
    purse.grant(10)
    outcomes = ledger.post([charge(purse, 20)], note("a"))
    assert refusals(outcomes) == [errors.InsufficientCredits]
    assert not Notice.objects.exists()
    ledger.post([charge(purse, 2)], note("a"))
    assert Notice.objects.get().account_id == purse.id


@pytest.mark.parametrize("per_statement", [1, 3, 1000])
@pytest.mark.parametrize("poisoned", [0, 3, 6])
def test_a_poisoned_group_is_set_aside_alone_with_an_alert(
    new_purse: Callable[..., Purse], settings: Any, poisoned: int, per_statement: int
) -> None:
    """The caller's own write fails for one group of seven: a notice told before."""
    settings.LEDGER_ACCOUNTS_PER_STATEMENT = per_statement
    purses = [new_purse() for _ in range(7)]
    for purse in purses:
        purse.grant(10)
    Notice.objects.create(account_id=purses[poisoned].id, key="once", title="told before")
    outcomes = ledger.post([charge(purse, 1) for purse in purses], note("once"))
    assert refusals(outcomes) == [errors.Quarantined if at == poisoned else None for at in range(7)]
    assert [purse.available for purse in purses] == [10 if at == poisoned else 9 for at in range(7)]
    assert Notice.objects.count() == 7
    alert = Alert.objects.get(name="group_quarantined")
    assert alert.key == str(purses[poisoned].id)


def test_a_group_poisoned_in_its_own_rows_is_set_aside(new_purse: Callable[..., Purse]) -> None:
    """NUL cannot be stored, and a lone surrogate cannot even be sent."""
    one, two, three = (new_purse() for _ in range(3))
    groups = [
        ledger.Group(one.id, [steps.Grant(amount=1, source="a\0b")]),
        ledger.Group(two.id, [steps.Grant(amount=1, source="gift")]),
        ledger.Group(three.id, [steps.Grant(amount=1, source="gift", description="\ud800")]),
    ]
    assert refusals(ledger.post(groups)) == [errors.Quarantined, None, errors.Quarantined]
    assert [purse.available for purse in (one, two, three)] == [0, 1, 0]


def test_one_account_with_a_poisoned_group_between_two_good_ones(purse: Purse) -> None:
    purse.grant(10)

    def also(done: list[ledger.Outcome]) -> None:
        for outcome in done:
            Notice.objects.create(account_id=purse.id, key=str(outcome.line.amount), title="done")

    Notice.objects.create(account_id=purse.id, key="2", title="told before")
    outcomes = ledger.post([charge(purse, 1), charge(purse, 2), charge(purse, 3)], also)
    assert refusals(outcomes) == [None, errors.Quarantined, None]
    assert purse.available == 6
    assert [line.sequence for line in purse.lines] == [1, 2, 3]


def test_a_refusal_of_the_callers_own_is_its_groups_alone(new_purse: Callable[..., Purse]) -> None:
    one, two = new_purse(), new_purse()

    def also(done: list[ledger.Outcome]) -> None:
        if any(outcome.group.account == two.id for outcome in done):
            raise errors.HoldNotDue

    grant = steps.Grant(amount=1, source="gift")
    outcomes = ledger.post([ledger.Group(one.id, [grant]), ledger.Group(two.id, [grant])], also)
    assert refusals(outcomes) == [None, errors.HoldNotDue]
    assert (one.available, two.available) == (1, 0)


def test_a_single_group_raises_what_it_met_and_nothing_is_written(purse: Purse) -> None:
    purse.grant(10)
    Notice.objects.create(account_id=purse.id, key="once", title="told before")
    with purse.moves(lines=[]), pytest.raises(Exception, match="notice_once"), transaction.atomic():
        ledger.post([charge(purse, 1)], note("once"))


def test_a_database_that_does_not_answer_in_time_is_no_poison(new_purse: Callable[..., Purse]) -> None:
    """A time-out is raised as it is: nothing is halved, nobody is quarantined."""
    one, two = new_purse(), new_purse()

    def also(done: list[ledger.Outcome]) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = '20ms'; SELECT pg_sleep(5)")

    grant = steps.Grant(amount=1, source="gift")
    with pytest.raises(OperationalError), transaction.atomic():
        ledger.post([ledger.Group(one.id, [grant]), ledger.Group(two.id, [grant])], also)
    assert not Alert.objects.exists()
    assert not Entry.objects.filter(account__in=[one.id, two.id]).exists()


def test_a_batch_costs_as_many_statements_as_a_single_verb(
    new_purse: Callable[..., Purse], django_assert_max_num_queries: Any
) -> None:
    purses = [new_purse() for _ in range(20)]
    for purse in purses:
        purse.grant(10)
    groups = [
        ledger.Group(purse.id, [steps.PlaceHold(amount=1, reference="r", owner="job", expires_in_seconds=HOUR)])
        for purse in purses
        for _ in range(3)
    ]
    with django_assert_max_num_queries(6):
        outcomes = ledger.post(groups)
    holds: list[tuple[UUID, UUID]] = [(o.group.account, o.line.of_hold.id) for o in outcomes if o.line.of_hold]
    with django_assert_max_num_queries(7):
        ledger.post([ledger.Group(account, [steps.Capture(hold=hold, amount=1)]) for account, hold in holds])
    assert {purse.values for purse in purses} == {(7, 0, 0, 0)}
