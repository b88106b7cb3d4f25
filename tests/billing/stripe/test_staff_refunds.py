"""Staff give a purchase's money back: our row, Stripe's refund and the credits are one act, wherever it was cut off."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, transaction

from billing import clock, giving_back
from billing.models import Alert, Approval, Audit, ClawBack, Membership, Refunding, new_id

from ...conftest import Clock
from ..admin.colleague import Colleague, a_form, messages_of, said
from ..purse import Purse
from .conftest import StandIn
from .desk import Bought
from .told import MICRO

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def staff() -> Colleague:
    return Colleague("stella", "*")


@pytest.fixture
def second() -> Colleague:
    return Colleague("sebastian", "*")


@pytest.fixture
def bought(stripe_settings: Any, stand_in: StandIn, purse: Purse) -> Bought:
    """£25 for 1,400 credits, paid and granted."""
    bought = Bought(stand_in, purse).pay()
    bought.hear("checkout.session.completed")
    assert purse.available == 1400 * MICRO
    return bought


def at_stripe(bought: Bought) -> list[tuple[int, str]]:
    """Every refund that Stripe has of it: the money, and our row's id that it carries."""
    made = bought.stripe.v1.refunds.list({"payment_intent": bought.row.stripe_intent}).data
    return [(one.amount, (one.metadata or {}).get("refunding", "")) for one in made]


def test_one_act_refunds_at_stripe_and_takes_the_credits_back(bought: Bought, purse: Purse, staff: Colleague) -> None:
    page = said(staff.checks(bought.row, "refund_purchase", amount_minor="10"))
    assert "Left to refund £25.00 £15.00" in page
    assert "Credits taken back – 560.00" in page
    assert "A second person" not in page
    assert at_stripe(bought) == []
    answer = staff.does(bought.row, "refund_purchase", amount_minor="10", reason="Not what they wanted.")
    assert messages_of(answer) == ["Stripe has the refund, and its credits are taken back."]
    row = Refunding.objects.get()
    assert (row.state, row.amount_minor, row.is_clawed_back) == ("succeeded", 1000, True)
    assert (row.made_by, row.reason) == (staff.user, "Not what they wanted.")
    assert at_stripe(bought) == [(1000, str(row.id))]
    assert purse.available == 840 * MICRO
    deed = Audit.objects.get(act="refund_purchase")
    assert (deed.actor, deed.amount, deed.subject) == (staff.actor, 560 * MICRO, f"refunding:{row.id}")
    bought.hear("refund.created", "charge.refunded", "refund.updated")
    assert purse.kinds == ["grant", "claw_back"]
    page = said(staff.get(f"/admin/billing/purchase/{bought.purchase.id}/change/"))
    assert "Refund £10.00 succeeded" in page
    assert "560.00 credits taken back, 0.00 owed" in page


def test_the_same_form_twice_is_one_refund(bought: Bought, purse: Purse, staff: Colleague) -> None:
    once = a_form()
    for _ in range(2):
        assert staff.does(bought.row, "refund_purchase", amount_minor="5", once=once).status_code == 302
    assert at_stripe(bought) == [(500, str(once))]
    assert purse.available == 1120 * MICRO
    assert staff.does(bought.row, "refund_purchase", amount_minor="6", once=once).status_code == 409


def test_parts_take_their_share_and_no_more_than_is_left(bought: Bought, purse: Purse, staff: Colleague) -> None:
    for amount in ("8.33", "8.33"):
        assert staff.does(bought.row, "refund_purchase", amount_minor=amount).status_code == 302
    assert purse.available == 467_040_000
    answer = staff.does(bought.row, "refund_purchase", amount_minor="8.35")
    assert answer.status_code == 409
    assert "That is more than is left to refund." in said(answer)
    assert "left: £8.34" in said(answer)
    assert Refunding.objects.count() == 2
    other = Colleague("theo", "*")
    assert other.does(bought.row, "refund_purchase", amount_minor="8.34").status_code == 302
    assert purse.available == 0
    assert sum(amount for amount, _ in at_stripe(bought)) == 2500
    assert "refund_purchase/" not in other.get(f"/admin/billing/purchase/{bought.purchase.id}/change/").content.decode()


@pytest.mark.parametrize("amount", ["", "0", "-1", "1.001", "1e3", "NaN", "1,000", " ", "٧", "99999999999"])
def test_an_amount_that_is_none_is_refused(bought: Bought, purse: Purse, staff: Colleague, amount: str) -> None:
    answer = staff.does(bought.row, "refund_purchase", amount_minor=amount)
    assert answer.context["form"].errors["amount_minor"]
    assert (at_stripe(bought), purse.available) == ([], 1400 * MICRO)


def test_above_the_sum_nothing_leaves_until_a_second_person_approves(
    bought: Bought, purse: Purse, staff: Colleague, second: Colleague
) -> None:
    assert "A second person must approve this" in said(staff.checks(bought.row, "refund_purchase", amount_minor="25"))
    staff.does(bought.row, "refund_purchase", amount_minor="25")
    assert (Refunding.objects.count(), at_stripe(bought), purse.available) == (0, [], 1400 * MICRO)
    waiting = Approval.objects.get()
    assert waiting.amount == 1400 * MICRO
    assert "Credits taken back – 1,400.00" in said(second.checks(waiting, "approve"))
    assert second.does(waiting, "approve").status_code == 302
    row = Refunding.objects.get()
    assert (row.state, row.made_by, at_stripe(bought)) == ("succeeded", staff.user, [(2500, str(row.id))])
    assert purse.available == 0


def test_stripe_that_is_away_leaves_a_row_to_be_sent_again(
    bought: Bought, stand_in: StandIn, purse: Purse, staff: Colleague
) -> None:
    stand_in.settings(down=True)
    answer = staff.does(bought.row, "refund_purchase", amount_minor="10")
    assert "Stripe could not be reached" in messages_of(answer)[-1]
    row = Refunding.objects.get()
    assert (row.state, purse.available) == ("asked", 1400 * MICRO)
    assert "Stripe may not know of it" in said(staff.get(f"/admin/billing/purchase/{bought.purchase.id}/change/"))
    assert "could not be reached" in messages_of(staff.does(row, "send_again"))[-1]
    # What is on its way counts as given: it cannot be given a second time.
    assert staff.does(bought.row, "refund_purchase", amount_minor="15.01").status_code == 409
    stand_in.settings(down=False)
    once = a_form()
    for _ in range(2):
        assert staff.does(row, "send_again", once=once).status_code == 302
    row.refresh_from_db()
    assert (row.state, purse.available) == ("succeeded", 840 * MICRO)
    assert at_stripe(bought) == [(1000, str(row.id))]
    assert "send_again/" not in staff.get(f"/admin/billing/refunding/{row.id}/change/").content.decode()


def test_a_crash_before_stripe_was_asked_is_sent_once(bought: Bought, purse: Purse, staff: Colleague) -> None:
    row = stored(bought)
    assert staff.does(row, "send_again").status_code == 302
    row.refresh_from_db()
    assert (row.state, at_stripe(bought), purse.available) == ("succeeded", [(1000, str(row.id))], 840 * MICRO)


def test_the_sweep_sends_what_a_crash_left_behind_once(bought: Bought, purse: Purse, clock: Clock) -> None:
    row = stored(bought)
    assert giving_back.send_waiting() == 0, "it was not left to the request that stored it"
    assert (at_stripe(bought), purse.available) == ([], 1400 * MICRO)
    clock.advance(seconds=61)
    with ThreadPoolExecutor(2) as two:
        tried = [two.submit(closing(giving_back.send_waiting)) for _ in range(2)]
        assert sum(one.result() for one in tried) >= 1
    row.refresh_from_db()
    assert (row.state, at_stripe(bought), purse.available) == ("succeeded", [(1000, str(row.id))], 840 * MICRO)
    assert giving_back.send_waiting() == 0


def closing(work: Callable[[], int]) -> Callable[[], int]:
    """The work, after which its thread's connection is closed."""

    def done() -> int:
        try:
            return work()
        finally:
            connection.close()

    return done


def test_a_crash_after_stripe_was_asked_makes_no_second_refund(bought: Bought, purse: Purse, staff: Colleague) -> None:
    """Two days later, when Stripe has forgotten the idempotency key: its list still has the refund."""
    row = stored(bought)
    bought.stripe.v1.refunds.create(
        {"payment_intent": str(bought.row.stripe_intent), "amount": 1000, "metadata": {"refunding": str(row.id)}},
        {"idempotency_key": "forgotten"},
    )
    staff.does(row, "send_again")
    row.refresh_from_db()
    assert (row.state, at_stripe(bought), purse.available) == ("succeeded", [(1000, str(row.id))], 840 * MICRO)


def test_what_stripe_refuses_has_failed_and_takes_nothing(bought: Bought, purse: Purse, staff: Colleague) -> None:
    """All was given back in Stripe's dashboard, and we have not heard of it yet."""
    bought.refund(2500)
    answer = staff.does(bought.row, "refund_purchase", amount_minor="10")
    assert "Stripe refuses the refund" in messages_of(answer)[-1]
    row = Refunding.objects.get()
    assert (row.state, purse.available) == ("failed", 1400 * MICRO)
    assert Alert.objects.filter(name="refund_failed", key=str(row.id)).exists()
    bought.hear("refund.created", "charge.refunded")
    assert purse.available == 0


def test_a_disputed_payment_has_nothing_left_to_refund(bought: Bought, purse: Purse, staff: Colleague) -> None:
    bought.stand_in.post(f"dispute/{bought.row.stripe_intent}")
    bought.hear("charge.dispute.created")
    answer = staff.does(bought.row, "refund_purchase", amount_minor="1")
    assert "more than is left to refund" in said(answer)
    page = said(staff.get(f"/admin/billing/purchase/{bought.purchase.id}/change/"))
    assert "This payment is disputed" in page
    dispute = bought.row.id
    listed = said(staff.get("/admin/billing/dispute/", q=str(dispute)))
    assert "open" in listed
    assert "£25.00" in listed


def test_it_needs_its_permission_and_is_not_for_one_s_own_account(
    bought: Bought, purse: Purse, staff: Colleague
) -> None:
    nora = Colleague("nora", "view_purchase", "view_refunding", "refund_entry", "change_pack")
    assert nora.does(bought.row, "refund_purchase", amount_minor="1").status_code == 403
    assert nora.does(stored(bought), "send_again").status_code == 403
    Membership.objects.create(account_id=purse.id, user=staff.user, role="owner")
    assert staff.does(bought.row, "refund_purchase", amount_minor="1").status_code == 409
    assert at_stripe(bought) == []
    assert not ClawBack.objects.exists()


def test_a_purchase_is_found_by_person_and_by_every_id(bought: Bought, staff: Colleague) -> None:
    row = bought.row
    assert row.user
    for term in (row.user.email.upper(), str(row.id), str(row.account_id), row.stripe_session, row.stripe_intent):
        page = staff.get("/admin/billing/purchase/", q=str(term)).content.decode()
        assert f"/admin/billing/purchase/{row.id}/change/" in page, term
    assert str(row.id) not in staff.get("/admin/billing/purchase/", q="somebody@else.test").content.decode()


def test_the_links_into_stripe_are_made_of_id_and_mode(bought: Bought, staff: Colleague, settings: Any) -> None:
    page = f"/admin/billing/purchase/{bought.purchase.id}/change/"
    settings.STRIPE_REHEARSAL = False
    text = staff.get(page).content.decode()
    assert f'href="https://dashboard.stripe.com/test/payments/{bought.row.stripe_intent}"' in text
    settings.STRIPE_LIVE_MODE = True
    text = staff.get(page).content.decode()
    assert f'href="https://dashboard.stripe.com/payments/{bought.row.stripe_intent}"' in text
    settings.STRIPE_REHEARSAL = True
    assert "dashboard.stripe.com" not in staff.get(page).content.decode()


def test_nothing_is_asked_of_stripe_inside_a_transaction(bought: Bought) -> None:
    row = stored(bought)
    with transaction.atomic(), pytest.raises(RuntimeError, match="transaction"):
        giving_back.send(row.id)


def stored(bought: Bought) -> Refunding:
    """The row that a crash left behind."""
    return Refunding.objects.create(
        id=new_id(),
        account_id=bought.purse.id,
        purchase_id=bought.purchase.id,
        amount_minor=1000,
        created_at=clock.now(),
    )
