"""What an account's payments say of it: whether it has paid for anything, and since when a payment of its stands.

A payment counts with what of its money was neither given back, nor is on its way back, nor is questioned by a bank. It
has settled when it stood for SETTLED_DAYS: by then most stolen cards are known to be.
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
 WHERE EXISTS (SELECT FROM billing_purchase sale WHERE sale.account_id = asked.id AND sale.state = 'paid'
                  AND sale.amount_minor > {_OF_A_SALE.format(sale="purchase")})
    OR EXISTS (SELECT FROM billing_allocation sale WHERE sale.account_id = asked.id
                  AND sale.amount_minor > {_OF_A_SALE.format(sale="allocation")})
""".encode()  # noqa: S608 (names of columns, from above)

_STANDS_SINCE = f"""
SELECT min(paid_at)
  FROM (SELECT sale.paid_at FROM billing_purchase sale
         WHERE sale.account_id = %(account)s AND sale.state = 'paid' AND {_OF_A_SALE.format(sale="purchase")} = 0
        UNION ALL
        SELECT sale.created_at FROM billing_allocation sale
         WHERE sale.account_id = %(account)s AND sale.amount_minor > 0
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
