"""What an account's payments say of it: whether it has paid for anything, and since when a payment of its stands.

A payment stands with what of its money was neither given back, nor is on its way back, nor is questioned by a bank. An
account has paid when what stands of its payments comes, in one currency, to what the smallest thing on offer costs, or
the smallest pack or month that it ever bought, whichever is less: a penny that a refund left is no payment, and no
change of the shelf unmakes one. A pack or a month has settled when all of it stood for SETTLED_DAYS: by then most
stolen cards are known to be. What an upgrade costs for a few days counts beside its month, and settles nothing alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection

_OF_A_SALE = """
 coalesce((SELECT sum(back.amount_minor) FROM billing_refunding back
            WHERE back.{sale}_id = sale.id AND back.state <> 'failed'), 0)
 + coalesce((SELECT sum(dispute.amount_minor) FROM billing_dispute dispute
              WHERE dispute.{sale}_id = sale.id AND dispute.state <> 'won'), 0)
"""

# The accounts among $1 that have paid for something. Read by the ledger, under their locks.
HAVE_PAID = f"""
SELECT asked.id FROM unnest($1) AS asked (id)
 WHERE EXISTS (
   SELECT FROM (
     SELECT sale.currency, sale.amount_minor, {_OF_A_SALE.format(sale="purchase")} AS gone, true AS is_whole
       FROM billing_purchase sale WHERE sale.account_id = asked.id AND sale.state = 'paid'
     UNION ALL
     SELECT sale.currency, sale.amount_minor, {_OF_A_SALE.format(sale="allocation")}, sale.period LIKE 'month %'
       FROM billing_allocation sale WHERE sale.account_id = asked.id AND sale.amount_minor > 0) paid
    GROUP BY currency
   HAVING sum(greatest(amount_minor - gone, 0)) >= least(
     min(amount_minor) FILTER (WHERE is_whole),
     (SELECT min(price_minor)
        FROM (SELECT price_minor, currency FROM billing_pack WHERE is_offered
              UNION ALL
              SELECT price_minor, currency FROM billing_plan WHERE is_offered AND price_minor > 0) sold
       WHERE sold.currency = paid.currency)))
""".encode()  # noqa: S608 (names of columns, from above)

_STANDS_SINCE = f"""
SELECT min(paid_at)
  FROM (SELECT sale.paid_at FROM billing_purchase sale
         WHERE sale.account_id = %(account)s AND sale.state = 'paid' AND {_OF_A_SALE.format(sale="purchase")} = 0
        UNION ALL
        SELECT sale.created_at FROM billing_allocation sale
         WHERE sale.account_id = %(account)s AND sale.amount_minor > 0 AND sale.period LIKE 'month %%'
           AND {_OF_A_SALE.format(sale="allocation")} = 0) stands (paid_at)
"""  # noqa: S608 (names of columns, from above)


@dataclass(frozen=True, slots=True)
class Trust:
    """`settles_at`: when the account's first payment that stands untouched has settled; None where there is none."""

    settles_at: datetime | None

    def has_settled(self, now: datetime) -> bool:
        return self.settles_at is not None and self.settles_at <= now


def of(account: UUID) -> Trust:
    """How far the account's payments go. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_STANDS_SINCE, {"account": account})
        row = cursor.fetchone()
    since = row[0] if row else None
    return Trust(since + timedelta(days=settings.SETTLED_DAYS) if since is not None else None)
