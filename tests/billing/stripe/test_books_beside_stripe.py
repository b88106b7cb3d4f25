"""All that Stripe can do to us, on accounts beside one another; then our books, Stripe's sums and the revenue agree.

The table is the test: an accountant can follow each row with 56 credits a pound for the packs (£25, 1,400 credits) and
66⅔ for the plan (£45, 3,000). `owed` is what had been spent of credits whose money went back.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from billing import credits, stripe_reconcile
from billing.clock import Now
from billing.models import Dispute, InboxEvent, Refunding
from billing.reconcile import reconcile

from ..purse import Purse
from ..test_revenue import agree
from .conftest import StandIn
from .desk import Bought, Subscribed

pytestmark = pytest.mark.django_db(transaction=True)

ROWS = """
| what became of it                                        | paid  | back  | granted | taken | owed | held | available |
| -------------------------------------------------------- | ----- | ----- | ------- | ----- | ---- | ---- | --------- |
| nothing, 400 spent                                       | 25.00 |  0.00 |    1400 |     0 |    0 |    0 |      1000 |
| £8.33, £8.33 and £8.34 refunded                          | 25.00 | 25.00 |    1400 |  1400 |    0 |    0 |         0 |
| 1,000 spent, £12.50 refunded: above what is left         | 25.00 | 12.50 |    1400 |   700 |  300 |    0 |         0 |
| 1,200 spent, £12.50 refunded, which failed               | 25.00 |  0.00 |    1400 |     0 |    0 |    0 |       200 |
| 400 spent, disputed and won                              | 25.00 |  0.00 |    1400 |     0 |    0 |    0 |      1000 |
| 900 spent, disputed and lost                             | 25.00 | 25.00 |    1400 |  1400 |  900 |    0 |         0 |
| 100 spent, £10 refunded, the other £15 disputed and lost | 25.00 | 25.00 |    1400 |  1400 |  100 |    0 |         0 |
| Supporter, half refunded                                 | 45.00 | 22.50 |    3000 |  1500 |    0 |    0 |      1500 |
| Supporter, deleted at Stripe with 100 held               | 45.00 |  0.00 |    3000 |     0 |    0 |  100 |      3200 |
"""  # the last one is on the Free plan again, with 300 credits


def table() -> dict[str, list[str]]:
    lines = [line.strip("|").split("|") for line in ROWS.strip().splitlines()[2:]]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


def hear_all(stand_in: StandIn) -> None:
    """What Stripe has in its list was applied, whatever had to wait."""
    for _ in range(4):
        stripe_reconcile.reconcile_stripe()
        InboxEvent.objects.filter(next_try_at__gt=Now()).update(next_try_at=Now())


def test_everything_that_can_happen_and_every_sum_agrees(
    stand_in: StandIn, stripe_settings: Any, new_purse: Callable[..., Purse]
) -> None:
    stand_in.settings(deliver=False)
    rows = table()
    names = list(rows)
    packs = {name: Bought(stand_in, new_purse()).pay() for name in names[:7]}
    plans = {name: Subscribed(stand_in, new_purse()) for name in names[7:]}
    hear_all(stand_in)
    sales: dict[str, Bought | Subscribed] = {**packs, **plans}
    intents = {
        name: one.intent if isinstance(one, Bought) else one.periods[0].stripe_intent for name, one in sales.items()
    }

    def spend(name: str, amount: int) -> None:
        sales[name].purse.charge(amount * credits.MICRO)

    def give_back(name: str, pence: int) -> None:
        stand_in.post("refund", payment_intent=intents[name], amount=pence)

    def dispute(name: str, status: str) -> None:
        made = stand_in.post(f"dispute/{intents[name]}")
        hear_all(stand_in)
        assert Dispute.objects.get(stripe_dispute=made["id"]).state == "open"
        stand_in.post(f"disputes/{made['id']}", status=status)

    for name, amount in zip(names, (400, 0, 1000, 1200, 400, 900, 100), strict=False):
        if amount:
            spend(name, amount)
    for pence in (833, 833, 834):
        give_back(names[1], pence)
    give_back(names[2], 1250)
    stand_in.settings(refunds_become="pending")
    give_back(names[3], 1250)
    hear_all(stand_in)
    assert sales[names[3]].purse.account.debt == 500 * credits.MICRO
    pending = Refunding.objects.get(account=sales[names[3]].purse.id)
    stand_in.post(f"refunds/{pending.stripe_refund}", status="failed")
    stand_in.settings(refunds_become="succeeded")
    dispute(names[4], "won")
    dispute(names[5], "lost")
    give_back(names[6], 1000)
    hear_all(stand_in)
    dispute(names[6], "lost")
    give_back(names[7], 2250)
    sales[names[8]].purse.place(100 * credits.MICRO)
    stripe_reconcile.checkout.client().v1.subscriptions.cancel(str(plans[names[8]].row.stripe_subscription))
    hear_all(stand_in)

    # 1. Each row of the table, by Stripe's list and by our ledger.
    lines = {line.sale: line for line in stripe_reconcile.reconcile_stripe().lines}
    for name, one in sales.items():
        line = lines[str(one.purchase.id if isinstance(one, Bought) else one.periods[0].id)]
        account = one.purse.account
        pounds = [f"{line.paid / 100:.2f}", f"{line.back / 100:.2f}"]
        amounts = [line.granted, line.taken, account.debt, account.held, account.available]
        assert [*pounds, *(credits.format(amount) for amount in amounts)] == rows[name], name
        assert line.is_equal, name

    # 2. Stripe's own sums, by its balance: what came in less what went back.
    listed = stripe_reconcile.checkout.client().v1.balance_transactions.list({"limit": 100}).auto_paging_iter()
    kept = sum(line.paid - line.back for line in lines.values())
    assert sum(one.amount for one in listed) == kept

    # 3. Payments are grants less claw-backs: what is kept, at each sale's own rate.
    rate = {name: Fraction(1400, 25) if name in packs else Fraction(3000, 45) for name in names}
    worth = sum((Fraction(row[0]) - Fraction(row[1])) * rate[name] for name, row in rows.items())
    granted, taken = (sum(getattr(line, which) for line in lines.values()) for which in ("granted", "taken"))
    assert granted - taken == worth * credits.MICRO

    # 4. Our books are sound, and liability, breakage and revenue agree with the lines to the microcredit.
    assert reconcile().findings == []
    figures = agree()
    month = figures.months[0]
    assert month.sold - month.given_back == kept
    assert figures.liability["gbp"] == kept - month.recognised

    # 5. As the command prints it.
    out = StringIO()
    call_command("reconcile_stripe", stdout=out)
    assert "£265.00 paid − £110.00 given back = £155.00; 15,800.00 granted − 6,400.00 taken back" in out.getvalue()
    assert "9 payments, 0 differ" in out.getvalue()
