"""A pack of £25 for 1,400 credits, and what becomes of them when its money goes back: 56 credits a pound.

Every line is one event of Stripe's, signed, received and applied; the tables are the tests (`statement.py`).
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from billing import alerts, plans, tasks
from billing.models import Alert, Allocation, ClawBack, Dispute, Enrollment, EntryText, Notice, Plan, Refunding, new_id
from billing.periods import Period
from billing.reconcile import reconcile
from tests.conftest import Clock

from ..purse import Purse
from ..stripe.told import SECRET, Sold, event, receive, tell
from ..test_free_plan import set_clock
from .statement import Statement, c

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _secrets(settings: Any) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET]
    settings.STRIPE_LIVE_MODE = False


@pytest.fixture
def statement(purse: Purse, request: pytest.FixtureRequest) -> Iterator[Statement]:
    statement = Statement(purse, request.function.__doc__)
    yield statement
    statement.end()
    assert reconcile([purse.id]).findings == []


@pytest.fixture
def sold(purse: Purse) -> Sold:
    return Sold(purse)


def pay(sold: Sold) -> None:
    tell("checkout.session.completed", sold.session())


def give_back(sold: Sold, name: str, pence: int, status: str = "succeeded", **changes: Any) -> Refunding:
    """Stripe tells that money was given back, twice over: as made, and as changed."""
    thing = sold.refund(name, pence, status, **changes)
    for type in ("refund.created", "refund.updated"):
        assert tell(type, thing).state == "applied"
    return Refunding.objects.get(stripe_refund=name)


def dispute(sold: Sold, name: str, pence: int, status: str = "needs_response") -> Dispute:
    ended = status in ("won", "lost", "warning_closed")
    thing = sold.dispute(name, pence, status)
    for type in ("charge.dispute.closed",) if ended else ("charge.dispute.created", "charge.dispute.updated"):
        assert tell(type, thing).state == "applied"
    return Dispute.objects.get(stripe_dispute=name)


def test_three_partial_refunds(purse: Purse, sold: Sold, statement: Statement) -> None:
    """£8.33, £8.33 and £8.34 of £25: each takes what is missing to its share of the whole, so the parts add up.

    After the first 1,400 × 833 ÷ 2,500 = 466.48 are to be gone, after the second 1,400 × 1,666 ÷ 2,500 = 932.96.

    | what                                | balance | debt | available |
    | ----------------------------------- | ------- | ---- | --------- |
    | £25 paid                            | 1400    | 0    | 1400      |
    | £8.33 refunded: 466.48 taken        | 933.52  | 0    | 933.52    |
    | £8.33 refunded: 466.48 taken        | 467.04  | 0    | 467.04    |
    | £8.34 refunded: the rest, 467.04    | 0       | 0    | 0         |
    """
    pay(sold)
    statement.row("£25 paid")
    give_back(sold, "re_1", 833)
    statement.row("£8.33 refunded: 466.48 taken")
    give_back(sold, "re_2", 833)
    statement.row("£8.33 refunded: 466.48 taken")
    give_back(sold, "re_3", 834)
    statement.row("£8.34 refunded: the rest, 467.04")
    assert purse.kinds == ["grant", "claw_back", "claw_back", "claw_back"]
    words = EntryText.objects.get(entry=purse.lines[1].id)
    assert words.description == "Refund of £8.33 for Studio"


def test_parts_that_do_not_divide(purse: Purse, statement: Statement) -> None:
    """10 credits for £0.07, given back in sevenths: each share is rounded down to the microcredit, the last is the
    rest.

    | what                       | balance  | available |
    | -------------------------- | -------- | --------- |
    | £0.07 paid                 | 10       | 10        |
    | £0.01 of £0.07: 1.428571   | 8.571429 | 8.571429  |
    | £0.02 of £0.07: 4.285714   | 5.714286 | 5.714286  |
    | £0.04 of £0.07: the rest   | 0        | 0         |
    """
    sold = Sold(purse, price_minor=7, credits=c("10"))
    pay(sold)
    statement.row("£0.07 paid")
    give_back(sold, "re_1", 1)
    statement.row("£0.01 of £0.07: 1.428571")
    give_back(sold, "re_2", 2)
    statement.row("£0.02 of £0.07: 4.285714")
    give_back(sold, "re_3", 4)
    statement.row("£0.04 of £0.07: the rest")


def test_a_refund_above_what_is_left(purse: Purse, sold: Sold, statement: Statement) -> None:
    """1,000 of 1,400 are spent, then £12.50 goes back, worth 700: 400 are there, 300 are owed; the next pack pays them.

    | what                                   | balance | debt | available |
    | -------------------------------------- | ------- | ---- | --------- |
    | £25 paid                               | 1400    | 0    | 1400      |
    | 1,000 spent                            | 400     | 0    | 400       |
    | £12.50 refunded: 400 taken, 300 owed   | 0       | 300  | 0         |
    | another pack of 1,400: 300 repaid      | 1100    | 0    | 1100      |
    """
    pay(sold)
    statement.row("£25 paid")
    purse.charge(c("1000"))
    statement.row("1,000 spent")
    row = give_back(sold, "re_1", 1250)
    statement.row("£12.50 refunded: 400 taken, 300 owed")
    taken = ClawBack.objects.get(id=row.id)
    assert (taken.amount, taken.taken, taken.debt) == (c("700"), c("400"), c("300"))
    notice = Notice.objects.get(account=purse.id, key=f"taken:{row.id}")
    assert notice.title == "Refund of £12.50 for Studio: 700.00 credits taken back"
    assert "300.00 of them had been spent already and are owed" in notice.body
    pay(Sold(purse))
    statement.row("another pack of 1,400: 300 repaid")


def test_a_refund_of_more_than_was_paid_takes_nothing(purse: Purse, sold: Sold, statement: Statement) -> None:
    """Stripe would refuse it; if it ever said so, staff look at it.

    | what                        | balance | debt |
    | --------------------------- | ------- | ---- |
    | £25 paid                    | 1400    | 0    |
    | £25.01 refunded: a mismatch | 1400    | 0    |
    """
    pay(sold)
    statement.row("£25 paid")
    row = tell("refund.created", sold.refund("re_1", 2501))
    statement.row("£25.01 refunded: a mismatch")
    assert row.state == "failed"
    assert Alert.objects.filter(name="payment_mismatch", key=str(sold.id)).exists()


def test_refunds_that_add_up_to_more_than_was_paid_take_the_whole_and_no_more(
    purse: Purse, sold: Sold, statement: Statement
) -> None:
    """
    | what                             | balance | debt |
    | -------------------------------- | ------- | ---- |
    | £25 paid                         | 1400    | 0    |
    | £20 refunded: 1,120 taken        | 280     | 0    |
    | £20 refunded: the 280 that stay  | 0       | 0    |
    """
    pay(sold)
    statement.row("£25 paid")
    give_back(sold, "re_1", 2000)
    statement.row("£20 refunded: 1,120 taken")
    give_back(sold, "re_2", 2000)
    statement.row("£20 refunded: the 280 that stay")


def test_a_refund_that_fails(purse: Purse, sold: Sold, statement: Statement) -> None:
    """The bank sends the money back to us a week later: what the refund took is given again, once.

    | what                                        | balance | debt | available |
    | ------------------------------------------- | ------- | ---- | --------- |
    | £25 paid                                    | 1400    | 0    | 1400      |
    | 1,200 spent                                 | 200     | 0    | 200       |
    | £12.50 refunded: 200 taken, 500 owed        | 0       | 500  | 0         |
    | it fails: 700 restored, 500 of them repaid  | 200     | 0    | 200       |
    | told again, and an old word after it        | 200     | 0    | 200       |
    | £5 refunded: 280, of which 80 owed          | 0       | 80   | 0         |
    """
    pay(sold)
    statement.row("£25 paid")
    purse.charge(c("1200"))
    statement.row("1,200 spent")
    row = give_back(sold, "re_1", 1250, "pending")
    statement.row("£12.50 refunded: 200 taken, 500 owed")
    failed = sold.refund("re_1", 1250, "failed", failure_reason="expired_or_canceled_card")
    tell("refund.failed", failed)
    statement.row("it fails: 700 restored, 500 of them repaid")
    tell("refund.updated", failed)
    tell("refund.updated", sold.refund("re_1", 1250, "succeeded"))
    statement.row("told again, and an old word after it")
    row.refresh_from_db()
    assert (row.state, row.is_clawed_back, row.is_restored) == ("failed", True, True)
    assert purse.kinds == ["grant", "charge", "claw_back", "restore", "repay"]
    assert Alert.objects.filter(name="refund_failed", key=str(row.id)).count() == 1
    give_back(sold, "re_2", 500)
    statement.row("£5 refunded: 280, of which 80 owed")


def test_a_refund_of_ours_keeps_its_row(purse: Purse, sold: Sold, statement: Statement) -> None:
    """Ours is stored first, and its id comes back in Stripe's metadata: no second row, and one claw-back.

    | what                                 | balance |
    | ------------------------------------ | ------- |
    | £25 paid                             | 1400    |
    | stored, and Stripe not asked yet     | 1400    |
    | Stripe knows it: 560 taken           | 840     |
    """
    pay(sold)
    statement.row("£25 paid")
    ours = Refunding.objects.create(
        account_id=purse.id, purchase_id=sold.id, amount_minor=1000, created_at=purse.account.created_at
    )
    statement.row("stored, and Stripe not asked yet")
    row = give_back(sold, "re_1", 1000, metadata={"refunding": str(ours.id)})
    statement.row("Stripe knows it: 560 taken")
    assert row.id == ours.id
    assert ClawBack.objects.get(payment=sold.payment).id == ours.id
    assert Refunding.objects.count() == 1


def test_a_dispute_that_is_won(purse: Purse, sold: Sold, statement: Statement) -> None:
    """1,000 are left when the cardholder's bank asks: they are frozen, other credits are not; then they are free again.

    | what                                | balance | held | frozen | debt | available |
    | ----------------------------------- | ------- | ---- | ------ | ---- | --------- |
    | £25 paid, 400 spent                 | 1000    | 0    | 0      | 0    | 1000      |
    | another 50 were a gift              | 1050    | 0    | 0      | 0    | 1050      |
    | disputed: 1,000 frozen              | 1050    | 0    | 1000   | 0    | 50        |
    | won                                 | 1050    | 0    | 0      | 0    | 1050      |
    | told again that it was opened       | 1050    | 0    | 0      | 0    | 1050      |
    """
    pay(sold)
    purse.charge(c("400"))
    statement.row("£25 paid, 400 spent")
    purse.grant(c("50"), source="gift")
    statement.row("another 50 were a gift")
    row = dispute(sold, "du_1", 2500)
    statement.row("disputed: 1,000 frozen")
    alert = Alert.objects.get(name="dispute_open", key=str(row.id), cleared_at=None)
    assert row.evidence_due_at is not None
    assert alert.sentence.endswith(f"is disputed. Evidence is due by {alerts.moment_words(row.evidence_due_at)}.")
    opened = Notice.objects.get(account=purse.id, key=f"dispute-open:{row.id}")
    assert (opened.title, opened.level) == ("Your payment of £25.00 for Studio is disputed", "warning")
    assert "is frozen: 1,000.00 credits, which cannot be spent and do not expire" in opened.body
    assert "tell your bank that you withdraw the dispute" in opened.body
    dispute(sold, "du_1", 2500, "won")
    statement.row("won")
    won = Notice.objects.get(account=purse.id, key=f"dispute-won:{row.id}")
    assert (won.title, won.level) == ("The dispute over £25.00 for Studio is over: the payment stands", "good")
    assert won.body == "1,000.00 credits that it bought can be spent again. There is nothing to do."
    dispute(sold, "du_1", 2500)
    statement.row("told again that it was opened")
    row.refresh_from_db()
    assert (row.state, row.ended_at is None) == ("won", False)
    assert not Alert.objects.filter(name="dispute_open", cleared_at=None).exists()
    assert Notice.objects.filter(account=purse.id, key__startswith="dispute-").count() == 2


def test_a_dispute_that_is_lost_after_spending(purse: Purse, sold: Sold, statement: Statement) -> None:
    """900 of 1,400 are spent; the bank takes the £25 back: 500 are taken, 900 are owed, and nothing can be started.

    | what                                | balance | frozen | debt | available |
    | ----------------------------------- | ------- | ------ | ---- | --------- |
    | £25 paid, 900 spent                 | 500     | 0      | 0    | 500       |
    | disputed: 500 frozen                | 500     | 500    | 0    | 0         |
    | lost: 500 taken, 900 owed           | 0       | 0      | 900  | 0         |
    | told again                          | 0       | 0      | 900  | 0         |
    | a pack of 1,400 settles it          | 500     | 0      | 0    | 500       |
    """
    pay(sold)
    purse.charge(c("900"))
    statement.row("£25 paid, 900 spent")
    dispute(sold, "du_1", 2500)
    statement.row("disputed: 500 frozen")
    row = dispute(sold, "du_1", 2500, "lost")
    statement.row("lost: 500 taken, 900 owed")
    tell("charge.dispute.funds_withdrawn", sold.dispute("du_1", 2500, "needs_response"))
    dispute(sold, "du_1", 2500, "lost")
    statement.row("told again")
    assert ClawBack.objects.get(payment=sold.payment).id == row.id
    assert purse.kinds == ["grant", "charge", "freeze", "claw_back", "thaw"]
    lost = Notice.objects.get(account=purse.id, key=f"taken:{row.id}")
    assert lost.title == "Lost dispute over £25.00: 1,400.00 credits taken back"
    assert lost.body.startswith("Your bank decided the dispute against the payment and took the money back, so 1,400")
    assert "900.00 of them had been spent already and are owed" in lost.body
    assert not Notice.objects.filter(key=f"dispute-lost:{row.id}").exists()
    pay(Sold(purse))
    statement.row("a pack of 1,400 settles it")


def test_a_dispute_while_a_job_runs(purse: Purse, sold: Sold, statement: Statement) -> None:
    """What a running job holds stays held; what it gives back falls back frozen, and what it spent is owed if lost.

    | what                                  | balance | held | frozen | debt | available |
    | ------------------------------------- | ------- | ---- | ------ | ---- | --------- |
    | £25 paid, a job holds 600             | 1400    | 600  | 0      | 0    | 800       |
    | disputed: the free 800 frozen         | 1400    | 600  | 800    | 0    | 0         |
    | the job captures 250 and gives 350    | 1150    | 0    | 1150   | 0    | 0         |
    | lost: 1,150 taken, 250 owed           | 0       | 0    | 0      | 250  | 0         |
    """
    pay(sold)
    hold = purse.place(c("600"))
    statement.row("£25 paid, a job holds 600")
    dispute(sold, "du_1", 2500)
    statement.row("disputed: the free 800 frozen")
    purse.capture(hold, c("250"))
    statement.row("the job captures 250 and gives 350")
    dispute(sold, "du_1", 2500, "lost")
    statement.row("lost: 1,150 taken, 250 owed")


def test_a_lost_dispute_that_is_won_after_all(purse: Purse, sold: Sold, statement: Statement) -> None:
    """
    | what                                  | balance | frozen | debt | available |
    | ------------------------------------- | ------- | ------ | ---- | --------- |
    | £25 paid, 400 spent                   | 1000    | 0      | 0    | 1000      |
    | disputed and lost: 1,000 taken        | 0       | 0      | 400  | 0         |
    | won after all: 1,400 back, 400 repaid | 1000    | 0      | 0    | 1000      |
    | an old word of its loss               | 1000    | 0      | 0    | 1000      |
    """
    pay(sold)
    purse.charge(c("400"))
    statement.row("£25 paid, 400 spent")
    dispute(sold, "du_1", 2500, "lost")
    statement.row("disputed and lost: 1,000 taken")
    tell("charge.dispute.funds_reinstated", sold.dispute("du_1", 2500, "won"))
    statement.row("won after all: 1,400 back, 400 repaid")
    told = list(Notice.objects.filter(account=purse.id).order_by("id").values_list("title", flat=True))
    assert told[-1] == "Dispute over £25.00 was won after all: its credits are yours again"
    dispute(sold, "du_1", 2500, "lost")
    statement.row("an old word of its loss")


def test_a_dispute_and_a_refund_together(purse: Purse, sold: Sold, statement: Statement) -> None:
    """£10 is refunded while the whole £25 is disputed: together they take the 1,400 that were bought, and no more.

    | what                                 | balance | frozen | debt | available |
    | ------------------------------------ | ------- | ------ | ---- | --------- |
    | £25 paid, 100 spent                  | 1300    | 0      | 0    | 1300      |
    | £25 disputed: 1,300 frozen           | 1300    | 1300   | 0    | 0         |
    | £10 refunded: 560 of the frozen      | 740     | 740    | 0    | 0         |
    | lost: the other 840, 100 owed        | 0       | 0      | 100  | 0         |
    | £15 refunded as well: nothing more   | 0       | 0      | 100  | 0         |
    """
    pay(sold)
    purse.charge(c("100"))
    statement.row("£25 paid, 100 spent")
    dispute(sold, "du_1", 2500)
    statement.row("£25 disputed: 1,300 frozen")
    give_back(sold, "re_1", 1000)
    statement.row("£10 refunded: 560 of the frozen")
    dispute(sold, "du_1", 2500, "lost")
    statement.row("lost: the other 840, 100 owed")
    give_back(sold, "re_2", 1500)
    statement.row("£15 refunded as well: nothing more")
    taken = ClawBack.objects.filter(payment=sold.payment)
    assert sum(row.amount for row in taken) == c("1400")


def test_the_part_of_a_dispute_that_a_failed_refund_leaves_open_is_taken_then(
    purse: Purse, sold: Sold, statement: Statement
) -> None:
    """The refund took all, the dispute nothing; the refund fails, and the dispute takes it.

    | what                               | balance | frozen | debt |
    | ---------------------------------- | ------- | ------ | ---- |
    | £25 paid                           | 1400    | 0      | 0    |
    | £25 refunded: 1,400 taken          | 0       | 0      | 0    |
    | a dispute over £25 is lost         | 0       | 0      | 0    |
    | the refund fails: the dispute's    | 0       | 0      | 0    |
    """
    pay(sold)
    statement.row("£25 paid")
    give_back(sold, "re_1", 2500)
    statement.row("£25 refunded: 1,400 taken")
    row = dispute(sold, "du_1", 2500, "lost")
    statement.row("a dispute over £25 is lost")
    assert not ClawBack.objects.filter(id=row.id).exists()
    assert "No more credits were taken" in Notice.objects.get(key=f"dispute-lost:{row.id}").body
    tell("refund.failed", sold.refund("re_1", 2500, "failed"))
    statement.row("the refund fails: the dispute's")
    assert ClawBack.objects.get(payment=sold.payment, restored_by=None).id == row.id
    assert purse.kinds == ["grant", "claw_back", "restore", "claw_back"]


def test_two_disputes_freeze_until_both_have_ended(purse: Purse, sold: Sold, statement: Statement) -> None:
    """
    | what                             | balance | frozen | available |
    | -------------------------------- | ------- | ------ | --------- |
    | £25 paid                         | 1400    | 0      | 1400      |
    | £10 and £15 disputed             | 1400    | 1400   | 0         |
    | the £10 won                      | 1400    | 1400   | 0         |
    | the £15 lost: 840 taken          | 560     | 0      | 560       |
    """
    pay(sold)
    statement.row("£25 paid")
    dispute(sold, "du_1", 1000)
    dispute(sold, "du_2", 1500)
    statement.row("£10 and £15 disputed")
    won = dispute(sold, "du_1", 1000, "won")
    statement.row("the £10 won")
    assert "stay frozen until that ends" in Notice.objects.get(key=f"dispute-won:{won.id}").body
    dispute(sold, "du_2", 1500, "lost")
    statement.row("the £15 lost: 840 taken")


def test_what_was_told_before_the_payment_has_its_effect_with_the_grant(
    purse: Purse, sold: Sold, statement: Statement
) -> None:
    """Stripe's words come in any order: a refund of £5 and a dispute over the rest are known before the payment is.

    | what                                        | balance | frozen | debt | available |
    | ------------------------------------------- | ------- | ------ | ---- | --------- |
    | a refund and a dispute of an unknown pack   | 0       | 0      | 0    | 0         |
    | £25 paid: 280 taken, 1,120 frozen           | 1120    | 1120   | 0    | 0         |
    | lost                                        | 0       | 0      | 0    | 0         |
    """
    named = {"metadata": sold.metadata}
    receive(event("refund.created", sold.refund("re_1", 500, **named)))
    tell("refund.updated", sold.refund("re_1", 500, **named))
    tell("checkout.session.completed", sold.session(payment_status="unpaid"))
    dispute(sold, "du_1", 2000)
    statement.row("a refund and a dispute of an unknown pack")
    pay(sold)
    statement.row("£25 paid: 280 taken, 1,120 frozen")
    assert purse.kinds == ["grant", "freeze", "claw_back"]
    dispute(sold, "du_1", 2000, "lost")
    statement.row("lost")


def test_a_refund_after_the_pack_expired(purse: Purse, sold: Sold, statement: Statement, clock: Clock) -> None:
    """400 were spent, 1,000 expired a year later. £25 goes back: the expired ones count, only the spent ones are owed.

    | what                             | balance | debt |
    | -------------------------------- | ------- | ---- |
    | £25 paid, 400 spent              | 1000    | 0    |
    | 13 months later, all refunded    | 0       | 400  |
    """
    pay(sold)
    purse.charge(c("400"))
    statement.row("£25 paid, 400 spent")
    clock.advance(days=400)
    give_back(sold, "re_1", 2500)
    statement.row("13 months later, all refunded")
    row = ClawBack.objects.get(payment=sold.payment)
    assert (row.taken, row.expired, row.debt) == (0, c("1000"), c("400"))


def test_a_plans_month_that_is_refunded(purse: Purse, statement: Statement) -> None:
    """A month for £45 granted 2,000; £22.50 goes back, worth 1,000, of which 500 are left; then the rest is disputed.

    | what                                  | balance | frozen | debt | available |
    | ------------------------------------- | ------- | ------ | ---- | --------- |
    | a month of 2,000, 1,500 of them spent | 500     | 0      | 0    | 500       |
    | £22.50 refunded: 500 taken, 500 owed  | 0       | 0      | 500  | 0         |
    | the other £22.50 disputed and lost    | 0       | 0      | 1500 | 0         |
    | won after all: it pays what is owed   | 0       | 0      | 500  | 0         |
    """
    id = new_id()
    purse.grant(c("2000"), source="plan", payment=f"allocation:{id}")
    moment = purse.account.created_at
    plan = Plan.objects.create(slug="supporter-then", title="Supporter", price_minor=4500, monthly_credits=c("2000"))
    row = Enrollment.objects.create(account_id=purse.id, plan=plan, state="active", started_at=moment)
    Allocation.objects.create(
        id=id, account_id=purse.id, enrollment=row, plan=plan, period="month sub_1", starts_at=moment, ends_at=moment,
        credits=c("2000"), stripe_invoice="in_1", stripe_intent="pi_month", amount_minor=4500, currency="gbp",
        payment_id=purse.payment(f"allocation:{id}"), created_at=moment,
    )  # fmt: skip
    about = {"object": "refund", "amount": 2250, "currency": "gbp", "payment_intent": "pi_month", "metadata": {}}
    purse.charge(c("1500"))
    statement.row("a month of 2,000, 1,500 of them spent")
    tell("refund.created", about | {"id": "re_1", "status": "succeeded"})
    statement.row("£22.50 refunded: 500 taken, 500 owed")
    tell("charge.dispute.created", about | {"id": "du_1", "status": "needs_response"})
    tell("charge.dispute.closed", about | {"id": "du_1", "status": "lost"})
    statement.row("the other £22.50 disputed and lost")
    tell("charge.dispute.funds_reinstated", about | {"id": "du_1", "status": "won"})
    statement.row("won after all: it pays what is owed")
    assert Refunding.objects.get(stripe_refund="re_1").allocation_id is not None


def test_a_subscription_that_ends_while_work_is_held(purse: Purse, statement: Statement, clock: Clock) -> None:
    """A month of Atelier, £45 for 3,000, from 10 January to 10 February. It is deleted at Stripe while two jobs hold
    credits of it: what was paid for stays until the month's end, the jobs are settled as ever, the account is on Free.

    | what                                             | balance | held | debt | available |
    | ------------------------------------------------ | ------- | ---- | ---- | --------- |
    | 10 Jan, £45 paid: the month's 3,000              | 3000    | 0    | 0    | 3000      |
    | 400 spent, two jobs hold 600 and 1,000           | 2600    | 1600 | 0    | 1000      |
    | 20 Jan, the subscription is deleted: Free, 300   | 2900    | 1600 | 0    | 1300      |
    | told again                                       | 2900    | 1600 | 0    | 1300      |
    | the first job captures 250, and 350 come back    | 2650    | 1000 | 0    | 1650      |
    | £22.50 refunded, 1,500: the free 1,350 and 150   | 1150    | 1000 | 0    | 150       |
    | 10 Feb, the month is over: all of it is held     | 1150    | 1000 | 0    | 150       |
    | the second job fails: its 1,000 come back        | 1150    | 0    | 0    | 1150      |
    | 17 Feb, seven days later: they expire            | 150     | 0    | 0    | 150       |
    """
    plans.install()
    plan = Plan.objects.create(slug="atelier", title="Atelier", price_minor=4500, monthly_credits=c("3000"))
    set_clock("2027-01-10 08:00")
    begun, over = (datetime(2027, month, 10, 8, tzinfo=UTC) for month in (1, 2))
    row = Enrollment.objects.create(account_id=purse.id, plan=plan, state="pending", started_at=begun)
    paid = plans.Sold("in_1", 4500, "gbp", intent="pi_month")
    plans.allocate_month(row.id, plan, Period(begun, over), paid, "sub_1")
    statement.row("10 Jan, £45 paid: the month's 3,000")
    purse.charge(c("400"))
    first, second = purse.place(c("600")), purse.place(c("1000"), expires_in_seconds=3_000_000)
    statement.row("400 spent, two jobs hold 600 and 1,000")
    set_clock("2027-01-20 08:00")
    deleted = {"id": "sub_1", "object": "subscription", "status": "canceled", "metadata": {"enrollment": str(row.id)}}
    assert tell("customer.subscription.deleted", deleted).outcome == "ended"
    statement.row("20 Jan, the subscription is deleted: Free, 300")
    assert tell("customer.subscription.deleted", deleted).outcome == "had ended"
    statement.row("told again")
    purse.capture(first, c("250"))
    statement.row("the first job captures 250, and 350 come back")
    about = {"object": "refund", "amount": 2250, "currency": "gbp", "payment_intent": "pi_month", "metadata": {}}
    tell("refund.created", about | {"id": "re_1", "status": "succeeded"})
    statement.row("£22.50 refunded, 1,500: the free 1,350 and 150")
    assert purse.kinds[-2:] == ["claw_back", "repay"]  # the 150 are owed, and settled at once by Free's
    set_clock("2027-02-10 08:00:01")
    tasks.expire_lots()
    statement.row("10 Feb, the month is over: all of it is held")
    purse.release(second)
    statement.row("the second job fails: its 1,000 come back")
    set_clock("2027-02-17 08:00:01")
    tasks.expire_lots()
    statement.row("17 Feb, seven days later: they expire")
