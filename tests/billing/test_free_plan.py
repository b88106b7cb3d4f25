"""The Free plan: from verification on, a month at a time, once, whatever else happens."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.account.signals import email_confirmed
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection

from billing import errors, people, plans, tasks
from billing.credits import MICRO
from billing.models import Account, Allocation, Enrollment, Lot, Plan, SpendLimit
from billing.reconcile import reconcile
from tests.conftest import Clock

from .purse import Purse


@pytest.fixture(autouse=True)
def _plans(request: pytest.FixtureRequest, clock: Clock) -> None:
    plans.install()


def set_clock(moment: str) -> datetime:
    """The ledger's clock shows that moment, of the next years."""
    at = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    with connection.cursor() as cursor:
        cursor.execute('UPDATE holdfast_clock SET "offset" = %s - clock_timestamp()', [at])
    return at


def free(purse: Purse) -> Enrollment:
    return Enrollment.objects.get(account=purse.id, state="active")


def test_it_begins_with_its_credits_and_its_cap(purse: Purse) -> None:
    set_clock("2027-01-31 08:00")
    with purse.moves(balance=300 * MICRO, lines=["grant"]):
        assert plans.begin_free(purse.id)
    row = free(purse)
    assert (f"{row.period_start:%d %b}", f"{row.period_end:%d %b}") == ("31 Jan", "28 Feb")
    lot = Lot.objects.get(account=purse.id)
    assert (lot.source, lot.is_promotional, lot.expires_at) == ("plan", False, row.period_end)
    allocation = Allocation.objects.get(account=purse.id)
    assert (allocation.period, allocation.credits, allocation.payment_id) == (
        "free 2027-01",
        lot.amount,
        lot.payment_id,
    )
    limit = SpendLimit.objects.get(account=purse.id, source="plan")
    assert (limit.per_day, limit.per_month) == (30 * MICRO, None)


def test_its_cap_binds_its_credits_and_not_bought_ones(purse: Purse) -> None:
    plans.begin_free(purse.id)
    purse.charge(30 * MICRO)
    with purse.refuses(errors.SpendLimitReached, source="plan", limit="30"):
        purse.charge(MICRO)
    purse.grant(100 * MICRO, source="pack")
    with purse.moves(balance=-50 * MICRO, lines=["charge"]):
        purse.charge(50 * MICRO)


def test_it_begins_once(purse: Purse) -> None:
    assert plans.begin_free(purse.id)
    with purse.moves():
        assert not plans.begin_free(purse.id)
        assert plans.allocate_free() == 0
    assert Enrollment.objects.filter(account=purse.id).count() == 1


MONTHS = [
    # now,                 balance, the month's end
    ("2027-01-31 08:00:00", 300, "2027-02-28 08:00"),
    ("2027-02-28 07:59:59", 300, "2027-02-28 08:00"),
    ("2027-02-28 08:00:01", 300, "2027-03-31 08:00"),
    ("2027-03-31 08:00:01", 300, "2027-04-30 08:00"),
    ("2027-08-01 00:00:00", 300, "2027-08-31 08:00"),  # no worker ran for months: they are not made up for
    ("2028-02-29 08:00:01", 300, "2028-03-31 08:00"),
]


def test_months_follow_each_other_and_their_credits_end_with_them(purse: Purse) -> None:
    for index, (moment, balance, end) in enumerate(MONTHS):
        set_clock(moment)
        if index == 0:
            plans.begin_free(purse.id)
        plans.allocate_free()
        plans.allocate_free()
        assert purse.available == balance * MICRO, moment
        assert free(purse).period_end == datetime.fromisoformat(end).replace(tzinfo=UTC)
    names = Allocation.objects.filter(account=purse.id).order_by("period").values_list("period", flat=True)
    assert list(names) == ["free 2027-01", "free 2027-02", "free 2027-03", "free 2027-07", "free 2028-02"]


def test_many_accounts_have_theirs_in_batches(new_purse: Callable[..., Purse], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "BATCH", 3)
    set_clock("2027-01-10 00:00")
    purses = [new_purse() for _ in range(8)]
    for purse in purses:
        plans.begin_free(purse.id)
    set_clock("2027-02-10 00:00:01")
    assert plans.allocate_free() == 8
    assert {purse.available for purse in purses} == {300 * MICRO}
    assert Allocation.objects.filter(period="free 2027-02").count() == 8


@pytest.mark.django_db(transaction=True)
def test_two_workers_and_two_sign_ups_give_it_once(clock: Clock) -> None:
    purse = Purse()
    for act in (lambda: plans.begin_free(purse.id), plans.allocate_free):
        gate = threading.Barrier(4)
        failed: list[BaseException] = []

        def run(
            act: Callable[[], Any] = act, gate: threading.Barrier = gate, failed: list[BaseException] = failed
        ) -> None:
            try:
                gate.wait()
                act()
            except BaseException as error:
                failed.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        clock.advance(days=32)
    assert purse.kinds.count("grant") == 2
    assert Enrollment.objects.filter(account=purse.id).count() == 1


def test_a_plan_that_keeps_what_is_left_keeps_so_much(purse: Purse) -> None:
    Plan.objects.filter(slug="free").update(rollover_max=100 * MICRO)
    set_clock("2027-01-10 00:00")
    plans.begin_free(purse.id)
    purse.charge(10 * MICRO)
    set_clock("2027-02-10 00:00:01")
    plans.allocate_free()
    assert purse.available == 400 * MICRO  # 290 were left, 100 of them are kept
    assert purse.kinds[-3:] == ["lot_expired", "grant", "grant"]
    purse.charge(30 * MICRO)
    set_clock("2027-03-10 00:00:01")
    plans.allocate_free()
    assert purse.available == 400 * MICRO  # 370 were left


# Who is on it


@pytest.mark.django_db
def test_whoever_shows_that_an_address_is_theirs_is_on_it() -> None:
    user = User.objects.create_user("ada", "ada@people.test")
    address = EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    for _ in range(2):
        email_confirmed.send(EmailAddress, request=None, email_address=address)
    account = people.open_account(user)
    account.refresh_from_db()
    assert account.available == 300 * MICRO
    row = plans.in_force(account.id)
    assert row is not None
    assert (row.plan.slug, row.user_id) == ("free", user.pk)


def account_of(email: str) -> Any:
    person = people.person_called(email)
    assert person is not None
    return people.open_account(person)


def test_a_command_makes_a_person_on_it_when_told() -> None:
    call_command("create_person", "bea@people.test", "--plan", "free", stdout=io.StringIO())
    call_command("create_person", "cyd@people.test", stdout=io.StringIO())
    assert account_of("bea@people.test").available == 300 * MICRO
    assert account_of("cyd@people.test").available == 0
    with pytest.raises(CommandError, match="Nobody can begin with"):
        call_command("create_person", "dan@people.test", "--plan", "pro", stdout=io.StringIO())


def test_the_demo_person_has_300_by_the_plan_and_keeps_to_it(settings: Any, clock: Clock) -> None:
    settings.IS_DEMO = True
    for _ in range(2):
        call_command("create_demo_people", stdout=io.StringIO())
    account = account_of("demo@holdfast.example")
    assert account.balance == 300 * MICRO
    assert Lot.objects.get(account=account.id).source == "plan"
    assert account_of("empty@holdfast.example").balance == MICRO
    assert plans.in_force(account_of("empty@holdfast.example").id) is None


def test_what_staff_made_of_a_plan_stays() -> None:
    Plan.objects.filter(slug="pro").update(price_minor=17_000)
    assert plans.install() == 0
    assert Plan.objects.get(slug="pro").price_minor == 17_000
    shown = Plan.objects.values_list("slug", "price_minor", "monthly_credits", "per_day")
    assert list(shown)[:2] == [
        ("free", 0, 300 * MICRO, 30 * MICRO),
        ("supporter", 4500, 3000 * MICRO, 300 * MICRO),
    ]


# People who were here before there were plans


def verified(name: str, *, is_verified: bool = True, is_active: bool = True) -> Any:
    """Somebody who verified their address when there was no plan; returns their account."""
    person = User.objects.create_user(name, f"{name}@people.test", is_active=is_active)
    EmailAddress.objects.create(user=person, email=person.email, verified=is_verified, primary=True)
    account = people.open_account(person)
    before = Plan.objects.get(slug="free").created_at - timedelta(days=3)
    Account.objects.filter(id=account.id).update(created_at=before)
    return account


def test_people_from_before_there_were_plans_are_enrolled_once() -> None:
    old = [verified(f"old-{n}") for n in range(7)]
    others = [verified("unverified", is_verified=False), verified("gone", is_active=False)]
    enrolled = verified("enrolled")
    plans.begin_free(enrolled.id)
    had_one = verified("had-one")
    Enrollment.objects.create(
        account=had_one, plan=Plan.objects.get(slug="free"), state="ended", started_at=had_one.created_at,
        ended_at=had_one.created_at,
    )  # fmt: skip
    later = people.make_person("later@people.test", password=None)  # made by the command, without a plan
    for _ in range(2):
        tasks.enroll_earlier()
    for account in old:
        row = Enrollment.objects.get(account=account)
        assert (row.state, row.user.email.partition("-")[0]) == ("active", "old")
        assert Account.objects.get(id=account.id).available == 300 * MICRO
        assert SpendLimit.objects.get(account=account, source="plan").per_day == 30 * MICRO
        assert Allocation.objects.filter(account=account).count() == 1
    assert Account.objects.get(id=enrolled.id).available == 300 * MICRO
    nobody = [*others, had_one, people.open_account(later)]
    assert not Allocation.objects.filter(account__in=nobody).exists()
    assert reconcile().findings == []


def test_enrolling_goes_on_where_it_was_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    old = [verified(f"old-{n}") for n in range(5)]
    monkeypatch.setattr(plans, "BATCH", 2)
    assert plans.enroll_earlier(until=0) == 0
    give = plans._give_free_months
    monkeypatch.setattr(plans, "_give_free_months", lambda rows, moment: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # enrolled, and the plug is pulled before their credits
        tasks.enroll_earlier()
    monkeypatch.setattr(plans, "_give_free_months", give)
    assert plans.enroll_earlier() == 0
    assert plans.allocate_free() == 5  # as the sweep of every minute does
    assert {Account.objects.get(id=one.id).available for one in old} == {300 * MICRO}


@pytest.mark.django_db(transaction=True)
def test_two_workers_and_a_person_who_verifies_enroll_each_account_once(clock: Clock) -> None:
    plans.install()
    old = [verified(f"old-{n}") for n in range(12)]
    barrier = threading.Barrier(3)

    def work(what: Callable[[], Any]) -> None:
        try:
            barrier.wait()
            what()
        finally:
            connection.close()

    def verify() -> None:
        for account in reversed(old):
            plans.begin_free(account.id)

    both = [threading.Thread(target=work, args=[what]) for what in (tasks.enroll_earlier, tasks.enroll_earlier, verify)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    plans.allocate_free()
    assert {Account.objects.get(id=one.id).available for one in old} == {300 * MICRO}
    assert (
        Enrollment.objects.filter(account__in=old).count() == Allocation.objects.filter(account__in=old).count() == 12
    )
    assert reconcile().findings == []


def test_without_a_free_plan_nobody_is_enrolled() -> None:
    verified("old")
    Plan.objects.filter(slug="free").update(slug="was-free")
    tasks.enroll_earlier()
    assert not Enrollment.objects.exists()
