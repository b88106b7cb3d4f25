"""Each law between the ledger and what was sold or given, broken behind its back: reconcile names law and row."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from billing import gifts, payments, refunds
from billing.models import Allocation, Dispute, Enrollment, Payment, Plan, Refunding, new_id
from billing.reconcile import reconcile

from .purse import Purse
from .stripe.told import MICRO, Sold

pytestmark = pytest.mark.django_db


class Books:
    """A pack in every state: plain, refunded in parts of which one failed, disputed, lost; a plan's period; a gift
    code that two accounts used."""

    def __init__(self) -> None:
        self.purse = Purse()
        self.plain, self.refunded, self.disputed, self.lost = (Sold(self.purse) for _ in range(4))
        for sold in (self.plain, self.refunded, self.disputed, self.lost):
            payments.paid(sold.id, intent=sold.intent_name)
        refunds.told_of_refund(self.refunded.refund("re_1", 833))
        refunds.told_of_refund(self.refunded.refund("re_2", 500))
        refunds.told_of_refund(self.refunded.refund("re_2", 500, "failed"))
        refunds.told_of_dispute(self.disputed.dispute("dp_1", 2500))
        refunds.told_of_dispute(self.lost.dispute("dp_2", 2500, "lost"))
        now, self.period = timezone.now(), new_id()
        plan = Plan.objects.create(slug="p", title="P", price_minor=4500, monthly_credits=3000 * MICRO)
        self.purse.grant(3000 * MICRO, source="plan", payment=f"allocation:{self.period}")
        Allocation.objects.create(
            id=self.period,
            account_id=self.purse.id,
            enrollment=Enrollment.objects.create(account_id=self.purse.id, plan=plan, state="active", started_at=now),
            plan=plan,
            period="month sub_1 2026-11-21",
            starts_at=now,
            ends_at=now + timedelta(days=30),
            credits=3000 * MICRO,
            stripe_invoice="in_1",
            amount_minor=4500,
            currency="gbp",
            payment=Payment.objects.get(reference=f"allocation:{self.period}"),
            created_at=now,
        )
        text, maker = gifts.new_code(), User.objects.create(username="stella", is_staff=True)
        terms, kept = gifts.Terms(50 * MICRO, 3, 12, None, "For a test."), [(gifts.hash_of(text), gifts.hint_of(text))]
        gifts.make(terms, kept, batch=new_id(), made_by=maker, approved_by=None, at=now)
        self.gift, _ = gifts.redeem(self.purse.id, text, None, actor="test")
        gifts.redeem(Purse().id, text, None, actor="test")

    @property
    def ids(self) -> dict[str, UUID]:
        return {
            "account": self.purse.id,
            "plain": self.plain.id,
            "refunded": self.refunded.id,
            "period": self.period,
            "paid": self.plain.payment,
            "given": Refunding.objects.get(stripe_refund="re_1").id,
            "failed": Refunding.objects.get(stripe_refund="re_2").id,
            "open": Dispute.objects.get(stripe_dispute="dp_1").id,
            "lost": Dispute.objects.get(stripe_dispute="dp_2").id,
            "fresh": new_id(),
            "gift": self.gift.id,
            "code": self.gift.code_id,
        }


@pytest.fixture
def books(db: None) -> Books:
    return Books()


BREAKS = {
    "sale_has_its_grant, of other credits": (
        "UPDATE billing_purchase SET credits = credits + 1 WHERE id = %(plain)s",
        "purchase:{plain}",
    ),
    "sale_has_its_grant, another's": (
        "UPDATE billing_purchase SET payment_id = (SELECT payment_id FROM billing_purchase WHERE id = %(refunded)s)"
        " WHERE id = %(plain)s",
        "purchase:{plain}",
    ),
    "sale_has_its_grant, a period": (
        "UPDATE billing_allocation SET payment_id = NULL WHERE id = %(period)s",
        "allocation:{period}",
    ),
    "grant_has_its_sale": ("DELETE FROM billing_purchase WHERE id = %(plain)s", "payment:{paid}"),
    "grant_has_its_sale, a period": ("UPDATE billing_allocation SET payment_id = NULL WHERE id = %(period)s", None),
    "paid_period_has_its_invoice": (
        "UPDATE billing_allocation SET stripe_invoice = '' WHERE id = %(period)s",
        "allocation:{period}",
    ),
    "paid_period_has_its_invoice, for nothing": (
        "UPDATE billing_allocation SET amount_minor = 0 WHERE id = %(period)s",
        "allocation:{period}",
    ),
    "paid_period_has_its_invoice, a free month": (
        "UPDATE billing_allocation SET period = 'free 2026-11' WHERE id = %(period)s",
        "allocation:{period}",
    ),
    "gift_use_has_its_grant, of other credits": (
        "UPDATE billing_giftcode SET credits = credits + 1 WHERE id = %(code)s",
        "gift_use:{gift}",
    ),
    "gift_use_has_its_grant, another line": (
        "UPDATE billing_giftuse SET entry_id = (SELECT id FROM billing_entry WHERE account_id = %(account)s"
        " AND kind = 'grant' ORDER BY sequence LIMIT 1) WHERE id = %(gift)s",
        "gift_use:{gift}",
    ),
    "gift_use_has_its_grant, no line": (
        "UPDATE billing_giftuse SET entry_id = %(fresh)s WHERE id = %(gift)s",
        "gift_use:{gift}",
    ),
    "gift_use_has_its_grant, of paid credits": (
        "UPDATE billing_lot SET is_promotional = false WHERE id = (SELECT lots[1] FROM billing_entry WHERE id ="
        " (SELECT entry_id FROM billing_giftuse WHERE id = %(gift)s))",
        "gift_use:{gift}",
    ),
    "top_up_within_its_month": (
        "UPDATE billing_purchase SET is_top_up = true, payment_method = 'pm_1', month_max_minor = amount_minor - 1"
        " WHERE id = %(plain)s",
        "purchase:{plain}",
    ),
    "refund_agrees_with_its_claw_back": (
        "UPDATE billing_refunding SET is_clawed_back = false WHERE id = %(given)s",
        "refunding:{given}",
    ),
    "refund_agrees_with_its_claw_back, restored": (
        "UPDATE billing_refunding SET is_restored = false WHERE id = %(failed)s",
        "refunding:{failed}",
    ),
    "claw_back_only_for_money_that_is_gone": (
        "UPDATE billing_refunding SET state = 'failed' WHERE id = %(given)s",
        "refunding:{given}",
    ),
    "claw_back_only_for_money_that_is_gone, won": (
        "UPDATE billing_dispute SET state = 'won' WHERE id = %(lost)s",
        "dispute:{lost}",
    ),
    "claw_backs_are_their_share": (
        "UPDATE billing_refunding SET amount_minor = amount_minor + 1 WHERE id = %(given)s",
        "purchase:{refunded}",
    ),
    "claw_backs_are_their_share, less": (
        "UPDATE billing_refunding SET amount_minor = amount_minor - 1 WHERE id = %(given)s",
        "purchase:{refunded}",
    ),
    "claw_back_has_its_refund_or_dispute": (
        "DELETE FROM billing_refunding WHERE id = %(given)s",
        "claw_back:{given}",
    ),
    "lots_are_frozen_while_disputed": (
        "UPDATE billing_dispute SET state = 'won', ended_at = created_at WHERE id = %(open)s",
        None,
    ),
}


def test_sound_books_break_no_law(books: Books) -> None:
    assert reconcile([books.purse.id]).findings == []


@pytest.mark.parametrize("what", BREAKS)
def test_each_law_finds_what_breaks_it(books: Books, what: str) -> None:
    law, (sql, named) = what.partition(",")[0], BREAKS[what]
    ids = books.ids
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(sql, ids)
        assert cursor.rowcount == 1
        cursor.execute("SET LOCAL session_replication_role = origin")
    found = [finding for finding in reconcile([books.purse.id]).findings if finding.law == law]
    assert found, what
    assert all(finding.account == books.purse.id and finding.sentence for finding in found)
    if named:
        assert found[0].rows == (named.format(**ids),)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE billing_giftcode SET uses = uses - 1 WHERE id = %(code)s",
        "UPDATE billing_giftcode SET uses = uses + 1 WHERE id = %(code)s",
        "DELETE FROM billing_giftuse WHERE id = %(gift)s",
    ],
)
def test_a_code_counts_its_uses_or_is_named(books: Books, sql: str) -> None:
    ids = books.ids
    assert reconcile().findings == []
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(sql, ids)
        assert cursor.rowcount == 1
        cursor.execute("SET LOCAL session_replication_role = origin")
    (found,) = [finding for finding in reconcile().findings if finding.law == "gift_code_counts_its_uses"]
    assert (found.account, found.rows) == (None, (f"gift_code:{ids['code']}",))


def test_a_dispute_that_is_open_freezes_or_is_named(books: Books) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE billing_lot SET is_frozen = false WHERE payment_id = %s", [books.disputed.payment])
        cursor.execute("SET LOCAL session_replication_role = origin")
    laws = {finding.law for finding in reconcile([books.purse.id]).findings}
    assert "lots_are_frozen_while_disputed" in laws
