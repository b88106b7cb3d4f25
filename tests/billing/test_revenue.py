"""Revenue, liability and breakage, recomputed line by line from the beginning by a query that shares nothing with them.

`billing/revenue.py` reads today's lots and walks back; the query here knows no lot's state: it adds up every line of
every payment from its grant on, month by month.
"""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from billing import clock as ledger_clock
from billing import ledger, payments, refunds, revenue
from billing.models import Allocation, Enrollment, Payment, Plan, Refunding, new_id
from tests.conftest import Clock

from .purse import Purse
from .stripe.told import MICRO, Sold

pytestmark = pytest.mark.django_db

# What each payment had earned by the end of each month, from its lines alone, and the differences.
INDEPENDENT = """
WITH RECURSIVE sold AS (
    SELECT payment_id, amount_minor, currency FROM billing_purchase WHERE state = 'paid'
    UNION ALL
    SELECT payment_id, amount_minor, currency FROM billing_allocation WHERE amount_minor > 0 AND payment_id IS NOT NULL
), ends AS (
    SELECT (date_trunc('month', holdfast_now() AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC' AS ends_at,
           0 AS back
    UNION ALL
    SELECT (((ends_at AT TIME ZONE 'UTC') - interval '1 month')) AT TIME ZONE 'UTC', back + 1 FROM ends WHERE back < 12
), lines AS (
    SELECT lot.payment_id, line.created_at, line.kind, line.amount, (line.remaining_deltas)[at] AS delta
      FROM billing_lot lot
      JOIN billing_entry line ON line.account_id = lot.account_id AND lot.id = ANY(line.lots)
     CROSS JOIN generate_subscripts(line.lots, 1) AS at
     WHERE (line.lots)[at] = lot.id AND lot.payment_id IS NOT NULL
), standing AS (
    SELECT sold.payment_id, sold.currency, ends.back, ends.ends_at,
           (SELECT coalesce(sum(delta), 0) FROM lines
             WHERE lines.payment_id = sold.payment_id AND created_at < ends_at) AS outstanding,
           payment.granted - (
             SELECT coalesce(sum(taken.amount), 0) FROM billing_clawback taken
               JOIN billing_entry made ON made.account_id = taken.account_id AND made.sequence = taken.sequence
               LEFT JOIN billing_entry undone
                 ON undone.account_id = taken.account_id AND undone.sequence = taken.restored_by
              WHERE taken.payment_id = sold.payment_id AND made.created_at < ends_at
                AND (undone.id IS NULL OR undone.created_at >= ends_at)) AS granted,
           greatest(0, sold.amount_minor - (
             SELECT coalesce(sum(coalesce(refund.amount_minor, dispute.amount_minor)), 0) FROM billing_clawback taken
               JOIN billing_entry made ON made.account_id = taken.account_id AND made.sequence = taken.sequence
               LEFT JOIN billing_entry undone
                 ON undone.account_id = taken.account_id AND undone.sequence = taken.restored_by
               LEFT JOIN billing_refunding refund ON refund.id = taken.id
               LEFT JOIN billing_dispute dispute ON dispute.id = taken.id
              WHERE taken.payment_id = sold.payment_id AND made.created_at < ends_at
                AND (undone.id IS NULL OR undone.created_at >= ends_at))) AS money
      FROM sold JOIN billing_payment payment ON payment.id = sold.payment_id
      JOIN ends ON payment.created_at < ends.ends_at
), earned AS (
    SELECT *, CASE WHEN granted <= 0 THEN money
                   ELSE floor(money::numeric * greatest(0, granted - outstanding) / granted) END AS earned
      FROM standing
)
SELECT earned.currency, earned.back, sum(earned.earned)::bigint, sum(earned.money - earned.earned)::bigint
  FROM earned GROUP BY 1, 2
"""

OUTSTANDING = """
SELECT lot.is_promotional OR coalesce(lot.payment_id IN (
         SELECT payment_id FROM billing_allocation WHERE amount_minor = 0 AND payment_id IS NOT NULL), false),
       sum(delta)::bigint
  FROM (SELECT line.account_id, unnest(line.lots) AS lot, unnest(line.remaining_deltas) AS delta
          FROM billing_entry line) moved
  JOIN billing_lot lot ON lot.id = moved.lot GROUP BY 1
"""

BREAKAGE = """
SELECT to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM'),
       sum(CASE kind WHEN 'grant' THEN -amount ELSE amount END)::bigint
  FROM billing_entry line
 WHERE (kind = 'lot_expired' OR (kind = 'grant' AND EXISTS (
          SELECT FROM billing_lot kept JOIN billing_lot bought USING (account_id, payment_id)
           WHERE kept.id = line.lots[1] AND bought.granted_at < kept.granted_at AND bought.id <> kept.id)))
   AND NOT (SELECT is_promotional OR coalesce(payment_id IN (
                     SELECT payment_id FROM billing_allocation
                      WHERE amount_minor = 0 AND payment_id IS NOT NULL), false)
              FROM billing_lot WHERE id = line.lots[1])
 GROUP BY 1
"""


def ask(sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def agree() -> revenue.Figures:
    """The figures, after every one of them was recomputed from the lines."""
    found = revenue.figures(12)
    by_end = {(currency, back): (earned, owed) for currency, back, earned, owed in ask(INDEPENDENT)}
    starts = sorted({month.starts_on for month in found.months}, reverse=True)
    for month in found.months:
        back = starts.index(month.starts_on)
        earned, closing = by_end.get((month.currency, back), (0, 0))
        earned_before, opening = by_end.get((month.currency, back + 1), (0, 0))
        assert (month.recognised, month.opening, month.closing) == (earned - earned_before, opening, closing), month
    now = {currency: owed for (currency, back), (_, owed) in by_end.items() if back == 0}
    assert {currency: owed for currency, owed in found.liability.items() if owed} == {
        currency: owed for currency, owed in now.items() if owed
    }
    outstanding = dict(ask(OUTSTANDING))
    assert (found.paid, found.promotional) == (outstanding.get(False, 0), outstanding.get(True, 0))
    of_window = {month: lost for month, lost in ask(BREAKAGE) if lost and month >= f"{min(found.breakage):%Y-%m}"}
    assert {f"{month:%Y-%m}": lost for month, lost in found.breakage.items() if lost} == of_window
    return found


def pay(sold: Sold) -> None:
    payments.paid(sold.id, intent=sold.intent_name)


def a_period(purse: Purse, amount_minor: int, **terms: Any) -> None:
    """A month of a plan: 3,000 credits."""
    plan = Plan.objects.create(slug="p", title="P", price_minor=amount_minor, monthly_credits=3000 * MICRO)
    now, id = ledger_clock.now(), new_id()
    enrollment = Enrollment.objects.create(account_id=purse.id, plan=plan, state="active", started_at=now)
    purse.grant(3000 * MICRO, source="plan", payment=f"allocation:{id}", **terms)
    Allocation.objects.create(
        id=id,
        account_id=purse.id,
        enrollment=enrollment,
        plan=plan,
        period="month sub_1 2026-11-21" if amount_minor else "free 2026-11",
        stripe_invoice="in_1" if amount_minor else "",
        starts_at=now,
        ends_at=now + timedelta(days=30),
        credits=3000 * MICRO,
        amount_minor=amount_minor,
        currency="gbp",
        payment=Payment.objects.get(reference=f"allocation:{id}"),
        created_at=now,
    )


def months_of(found: revenue.Figures) -> list[tuple[int, int, int, int, int]]:
    """opening, sold, given back, recognised, closing; oldest first, without months in which nothing was."""
    rows = [(one.opening, one.sold, one.given_back, one.recognised, one.closing) for one in reversed(found.months)]
    return [row for row in rows if any(row)]


# By hand


def test_nothing_sold_is_nothing(db: None) -> None:
    found = agree()
    assert (found.paid, found.liability, found.months) == (0, {}, [])
    assert len(found.breakage) == 12


def test_a_pack_is_recognised_as_its_credits_are_spent(purse: Purse, clock: Clock) -> None:
    """£25 for 1,400: 400 in the month before last, 300 in the last, 700 now; 714, 535 and 1,251 pence."""
    clock.to_mid_month()
    clock.advance(days=-62)
    sold = Sold(purse)
    pay(sold)
    purse.charge(400 * MICRO)
    clock.advance(days=31)
    purse.charge(300 * MICRO)
    clock.advance(days=31)
    assert months_of(agree())[-2:] == [(1786, 0, 0, 536, 1250), (1250, 0, 0, 0, 1250)]
    purse.charge(700 * MICRO)
    found = agree()
    assert months_of(found) == [(0, 2500, 0, 714, 1786), (1786, 0, 0, 536, 1250), (1250, 0, 0, 1250, 0)]
    assert found.liability == {"gbp": 0}


def test_parts_that_do_not_divide_add_up_to_the_whole(purse: Purse) -> None:
    """£0.07 for 3 credits, a millionth at a time and then the rest: never a penny too many or too few."""
    sold = Sold(purse, price_minor=7, credits=3 * MICRO)
    pay(sold)
    for _ in range(3):
        purse.charge(1)
        assert agree().liability == {"gbp": 7}
    purse.charge(MICRO - 3)
    assert agree().liability == {"gbp": 5}
    purse.charge(2 * MICRO)
    assert agree().liability == {"gbp": 0}
    assert agree().months[0].recognised == 7


def test_a_refund_takes_its_money_and_its_credits_out_of_both(purse: Purse, clock: Clock) -> None:
    """1,000 of 1,400 spent (£17.85), then £12.50 goes back: of the £12.50 kept all is earned, so £5.35 is undone."""
    clock.to_mid_month()
    clock.advance(days=-31)
    sold = Sold(purse)
    pay(sold)
    purse.charge(1000 * MICRO)
    clock.advance(days=31)
    refunds.told_of_refund(sold.refund("re_1", 1250))
    assert months_of(agree()) == [(0, 2500, 0, 1785, 715), (715, 0, 1250, -535, 0)]
    refunds.told_of_refund(sold.refund("re_1", 1250, "failed"))
    found = agree()
    assert months_of(found) == [(0, 2500, 0, 1785, 715), (715, 0, 0, 0, 715)]
    assert found.paid == 400 * MICRO


def test_a_lost_dispute_after_all_was_spent_leaves_nothing_earned(purse: Purse) -> None:
    sold = Sold(purse)
    pay(sold)
    purse.charge(1400 * MICRO)
    assert agree().months[0].recognised == 2500
    refunds.told_of_dispute(sold.dispute("dp_1", 2500))
    assert agree().months[0].recognised == 2500
    refunds.told_of_dispute(sold.dispute("dp_1", 2500, "lost"))
    month = agree().months[0]
    assert (month.sold, month.given_back, month.recognised, month.closing) == (2500, 2500, 0, 0)


def test_what_pays_a_debt_is_earned(purse: Purse) -> None:
    """£25 charged back after all was spent: the next pack pays the debt, and so its own money is earned."""
    sold = Sold(purse)
    pay(sold)
    purse.charge(1400 * MICRO)
    refunds.told_of_refund(sold.refund("re_1", 2500))
    pay(Sold(purse, price_minor=5000, credits=2800 * MICRO))
    month = agree().months[0]
    assert (month.sold, month.given_back, month.recognised, month.closing) == (7500, 2500, 2500, 2500)


def test_paid_credits_that_expire_are_breakage_and_earned(purse: Purse, clock: Clock) -> None:
    clock.to_mid_month()
    clock.advance(days=-75)
    sold = Sold(purse, keep_months=1)
    pay(sold)
    purse.charge(400 * MICRO)
    clock.advance(days=40)
    ledger.expire_lots(purse.id)
    clock.advance(days=35)
    found = agree()
    assert sum(found.breakage.values()) == 1000 * MICRO
    assert sum(month.recognised for month in found.months) == 2500
    assert found.breakage[found.at.date().replace(day=1)] == 0


def test_what_expires_soon_is_free_and_not_frozen(purse: Purse) -> None:
    purse.grant(5 * MICRO, expires_at=ledger_clock.now() + timedelta(days=29))
    purse.grant(7 * MICRO, expires_at=ledger_clock.now() + timedelta(days=31))
    purse.grant(3 * MICRO, is_promotional=True, source="gift", expires_at=ledger_clock.now() + timedelta(days=1))
    purse.place(2 * MICRO)
    found = agree()
    assert (found.paid, found.promotional) == (12 * MICRO, 3 * MICRO)
    assert found.expiring_paid + found.expiring_promotional == 6 * MICRO


def test_a_month_of_a_free_plan_is_nobody_s_money(purse: Purse, clock: Clock) -> None:
    clock.advance(days=-40)
    a_period(purse, 0, expires_at=ledger_clock.now() + timedelta(days=30))
    assert (agree().paid, agree().promotional) == (0, 3000 * MICRO)
    clock.advance(days=40)
    ledger.expire_lots(purse.id)
    assert sum(agree().breakage.values()) == 0


def test_currencies_stay_apart_and_a_plan_s_period_counts(purse: Purse) -> None:
    pay(Sold(purse))
    pay(Sold(purse, currency="eur", price_minor=3000))
    a_period(purse, 4500)
    assert agree().liability == {"eur": 3000, "gbp": 7000}
    assert purse.available == 5800 * MICRO


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_every_figure_agrees_with_the_lines(new_purse: Any, clock: Clock, seed: int) -> None:
    """A year and a half of buying, spending, holding, failing refunds, disputes, gifts and expiry on three accounts."""
    chance = random.Random(seed)
    purses = [new_purse() for _ in range(3)]
    clock.advance(days=-540)
    sales: list[Sold] = []
    told: list[tuple[Sold, str, int]] = []
    for number in range(90):
        clock.advance(days=6)
        for one in purses:
            ledger.expire_lots(one.id)
        purse = chance.choice(purses)
        match chance.choice(
            ["buy", "buy", "spend", "spend", "spend", "refund", "fail", "dispute", "end", "gift", "hold"]
        ):
            case "buy":
                price, amount = chance.randrange(1, 9000), chance.randrange(1, 4000 * MICRO)
                sold = Sold(purse, price_minor=price, credits=amount, keep_months=chance.randrange(1, 5))
                sales.append(sold)
                pay(sold)
            case "spend" if purse.available > 1:
                purse.charge(chance.randrange(1, purse.available))
            case "hold" if purse.available > 1:
                hold = purse.place(chance.randrange(1, purse.available))
                ledger.capture(purse.id, hold=hold, amount=None) if chance.random() < 0.5 else purse.release(hold)
            case "gift":
                purse.grant(chance.randrange(1, 50 * MICRO), source="gift", is_promotional=True)
            case "refund" if sales:
                sold = chance.choice(sales)
                amount = chance.randrange(1, sold.amount + 1)
                told.append((sold, f"re_{seed}_{number}", amount))
                refunds.told_of_refund(sold.refund(*told[-1][1:]))
            case "fail" if told:
                sold, name, amount = chance.choice(told)
                refunds.told_of_refund(sold.refund(name, amount, "failed"))
            case "dispute" if sales:
                sold = chance.choice(sales)
                refunds.told_of_dispute(sold.dispute(f"dp_{sold.id}", sold.amount))
            case "end" if sales:
                sold = chance.choice(sales)
                ended = chance.choice(["won", "lost"])
                refunds.told_of_dispute(sold.dispute(f"dp_{sold.id}", sold.amount, ended))
    found = agree()
    assert len(found.months) == 12
    assert Refunding.objects.exists()
