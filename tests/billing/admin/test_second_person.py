"""Above the day's sum a second person decides: not the first, and neither belongs to the account."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection

from billing import credits
from billing.models import Account, Approval, Audit, Entry, Membership
from tests.billing.purse import Purse

from .colleague import Colleague, a_form, messages_of, said, url_of

MICRO = credits.MICRO


def grant(amount: str) -> dict[str, str]:
    return {"amount": amount, "source": "goodwill", "kind": "paid"}


@pytest.fixture
def waiting(staff: Colleague, purse: Purse) -> Approval:
    """Stella has asked for 1,500 credits, and nothing has moved."""
    staff.does(purse, "grant", **grant("1500"), reason="A big customer.")
    assert purse.lines == []
    return Approval.objects.get()


def test_the_sum_of_a_day_and_account_can_be_reached_but_not_passed(
    staff: Colleague, purse: Purse, new_purse: Any
) -> None:
    assert staff.does(purse, "grant", **grant("600")).status_code == 302
    assert staff.does(purse, "grant", **grant("400")).status_code == 302
    assert purse.available == 1000 * MICRO
    answer = staff.does(purse, "grant", **grant("0.000001"))
    assert answer.status_code == 302
    assert "a second person must approve" in messages_of(answer)[-1]
    assert purse.available == 1000 * MICRO
    assert Approval.objects.get().amount == 1
    other = new_purse()
    staff.does(other, "grant", **grant("1000"))
    assert other.available == 1000 * MICRO


def test_what_takes_away_does_not_count(staff: Colleague, purse: Purse) -> None:
    staff.does(purse, "grant", **grant("1000"))
    assert staff.does(purse, "adjust", amount="500", direction="take").status_code == 302
    assert staff.does(purse, "freeze").status_code == 302
    assert not Approval.objects.exists()
    assert (purse.available, purse.account.is_frozen) == (500 * MICRO, True)


def test_refunds_corrections_and_forgiving_count_together(staff: Colleague, purse: Purse) -> None:
    purse.grant(2000 * MICRO)
    spent = Entry.objects.get(id=purse.charge(900 * MICRO).id)
    staff.does(spent, "refund", amount="700")
    staff.does(purse, "adjust", amount="200", direction="add")
    assert not Approval.objects.exists()
    staff.does(spent, "refund", amount="101")
    assert Approval.objects.get().act == "refund"
    assert purse.kinds == ["grant", "charge", "refund", "adjust"]


def test_the_check_says_that_it_will_wait(staff: Colleague, purse: Purse) -> None:
    assert "A second person must approve this" in said(staff.checks(purse, "grant", **grant("1000.5")))
    assert "A second person must approve this" not in said(staff.checks(purse, "grant", **grant("1000")))


def test_a_second_person_approves_and_it_is_done_in_the_first_s_name(
    waiting: Approval, staff: Colleague, second: Colleague, purse: Purse
) -> None:
    assert "Available 0.00 1,500.00" in said(second.checks(waiting, "approve", note="I know them."))
    answer = second.does(waiting, "approve", note="I know them.")
    assert answer.status_code == 302
    waiting.refresh_from_db()
    assert (waiting.state, waiting.decided_by, waiting.decision_note) == ("approved", second.user, "I know them.")
    assert (purse.available, purse.lines[-1].actor) == (1500 * MICRO, staff.actor)
    deed = Audit.objects.get(act="grant", is_refusal=False)
    assert (deed.actor, deed.facts["approved_by"], deed.amount) == (staff.actor, second.actor, 1500 * MICRO)


def test_approving_twice_does_it_once(waiting: Approval, second: Colleague, purse: Purse) -> None:
    for _ in range(2):
        assert second.does(waiting, "approve").status_code == 302
    assert purse.kinds == ["grant"]


def test_asking_twice_with_one_form_waits_once(staff: Colleague, purse: Purse) -> None:
    once = a_form()
    for _ in range(2):
        assert staff.does(purse, "grant", **grant("1500"), once=once).status_code == 302
    assert Approval.objects.count() == 1


def test_who_asked_does_not_decide(waiting: Approval, staff: Colleague, purse: Purse) -> None:
    for act in ("approve", "decline"):
        answer = staff.does(waiting, act)
        assert answer.status_code == 409
        assert "You asked for this yourself" in said(answer)
    waiting.refresh_from_db()
    assert (waiting.state, purse.lines) == ("waiting", [])
    assert url_of(waiting, "approve") not in staff.get(f"/admin/billing/approval/{waiting.id}/change/").content.decode()


def test_who_belongs_to_the_account_does_not_decide(waiting: Approval, second: Colleague, purse: Purse) -> None:
    Membership.objects.create(account_id=purse.id, user=second.user, role="member")
    answer = second.does(waiting, "approve")
    assert answer.status_code == 409
    assert "You belong to this account" in said(answer)
    assert purse.lines == []


def test_nothing_is_approved_for_an_account_that_its_asker_has_joined(
    waiting: Approval, staff: Colleague, second: Colleague, purse: Purse
) -> None:
    Membership.objects.create(account_id=purse.id, user=staff.user, role="member")
    assert second.does(waiting, "approve").status_code == 409
    assert purse.lines == []


def test_staff_do_nothing_to_an_account_of_their_own(staff: Colleague, purse: Purse) -> None:
    Membership.objects.create(account_id=purse.id, user=staff.user, role="owner")
    for amount in ("1", "1500"):
        assert staff.does(purse, "grant", **grant(amount)).status_code == 409
    assert (purse.lines, Approval.objects.count()) == ([], 0)
    assert staff.deeds == [("grant", True, "own_account")] * 2


def test_who_may_not_decide_is_refused(waiting: Approval, purse: Purse) -> None:
    nora = Colleague("nora", "view_approval", "grant_credits")
    assert nora.does(waiting, "approve").status_code == 403
    assert nora.does(waiting, "decline").status_code == 403
    assert purse.lines == []


def test_nothing_is_done_in_the_name_of_who_has_left(
    waiting: Approval, staff: Colleague, second: Colleague, purse: Purse
) -> None:
    staff.user.is_active = False
    staff.user.save()
    answer = second.does(waiting, "approve")
    assert answer.status_code == 409
    assert "does not work here any more" in said(answer)
    assert purse.lines == []
    assert second.does(waiting, "decline").status_code == 302


def test_what_was_declined_is_never_done(waiting: Approval, second: Colleague, purse: Purse) -> None:
    assert second.does(waiting, "decline", note="No.").status_code == 302
    third = Colleague("theo", "*")
    answer = third.does(waiting, "approve")
    assert answer.status_code == 409
    assert "approved or declined before" in said(answer)
    assert purse.lines == []


def test_an_act_that_is_no_longer_possible_waits_on(
    staff: Colleague, second: Colleague, purse: Purse, new_purse: Any
) -> None:
    purse.grant(2000 * MICRO)
    spent = Entry.objects.get(id=purse.charge(1500 * MICRO).id)
    staff.does(spent, "refund", amount="1200")
    approval = Approval.objects.get()
    Colleague("theo", "*").does(spent, "refund", amount="1000")
    answer = second.does(approval, "approve")
    assert answer.status_code == 409
    assert "more than is left to refund" in said(answer)
    approval.refresh_from_db()
    assert approval.state == "waiting"


@pytest.mark.django_db(transaction=True)
def test_parallel_acts_of_one_person_cannot_slip_under_the_sum(transactional_db: None) -> None:
    """Eight times 300 at once: three are done, five wait."""
    staff = Colleague("stella", "*")
    account = Account.objects.create(name="raced")
    start = threading.Barrier(8)
    answers: list[int] = []

    def press() -> None:
        browser = Colleague.browser(staff)
        start.wait(60)
        path = f"/admin/billing/account/{account.id}/grant/"
        fields = {**grant("300"), "reason": "Again.", "once": str(a_form()), "step": "do"}
        answers.append(browser.post(path, fields).status_code)
        connection.close()

    threads = [threading.Thread(target=press) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    account.refresh_from_db()
    assert answers == [302] * 8
    assert account.balance == 900 * MICRO
    assert Approval.objects.filter(account=account, state="waiting").count() == 5


@pytest.mark.django_db(transaction=True)
def test_one_form_pressed_in_parallel_is_one_act(transactional_db: None) -> None:
    staff = Colleague("stella", "*")
    account = Account.objects.create(name="raced")
    once, start = str(a_form()), threading.Barrier(6)

    def press() -> None:
        browser = Colleague.browser(staff)
        start.wait(60)
        path = f"/admin/billing/account/{account.id}/grant/"
        browser.post(path, {**grant("10"), "reason": "Once.", "once": once, "step": "do"})
        connection.close()

    threads = [threading.Thread(target=press) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    account.refresh_from_db()
    assert account.balance == 10 * MICRO


@pytest.mark.django_db(transaction=True)
def test_two_people_approving_at_once_do_it_once(transactional_db: None) -> None:
    staff, people = Colleague("stella", "*"), [Colleague("sebastian", "*"), Colleague("theo", "*")]
    account = Account.objects.create(name="raced")
    staff.does(account, "grant", **grant("1500"))
    approval, start = Approval.objects.get(), threading.Barrier(2)
    answers: list[int] = []

    def press(person: Colleague) -> None:
        browser = person.browser()
        start.wait(60)
        answers.append(browser.post(url_of(approval, "approve"), {"once": str(a_form()), "step": "do"}).status_code)
        connection.close()

    threads = [threading.Thread(target=press, args=[person]) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    account.refresh_from_db()
    assert sorted(answers) == [302, 409]
    assert account.balance == 1500 * MICRO
