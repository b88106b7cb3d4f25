"""The laws between what was sold or given and the ledger: payments are grants less claw-backs, sale by sale; each use
of a gift code is one grant.

Each is a query that finds what breaks it, as in reconcile.py, which runs them with its own.
"""

from __future__ import annotations

# A pack that was bought or a period that was granted, with its payment and what Stripe's refunds and disputes took.
_SALES = """
  SELECT account_id, id, 'purchase' AS kind, payment_id, amount_minor::numeric AS amount_minor, credits,
         state = 'paid' AS is_granted
    FROM billing_purchase WHERE account_id = ANY(%(accounts)s)
  UNION ALL
  SELECT account_id, id, 'allocation', payment_id, amount_minor, credits, credits > 0
    FROM billing_allocation WHERE account_id = ANY(%(accounts)s)
"""

_GRANTS = f"""
SELECT 'sale_has_its_grant', sale.account_id, ARRAY[sale.kind || ':' || sale.id],
       format('What was sold is %%s credits; its payment granted %%s under %%s.', sale.credits,
              coalesce(payment.granted, 0), coalesce(payment.reference, 'no name'))
  FROM ({_SALES}) sale
  LEFT JOIN billing_payment payment ON payment.account_id = sale.account_id AND payment.id = sale.payment_id
 WHERE sale.is_granted <> (payment.id IS NOT NULL)
    OR (payment.id IS NOT NULL
        AND (payment.granted <> sale.credits OR payment.reference <> sale.kind || ':' || sale.id))
"""  # noqa: S608

_PAYMENTS = f"""
SELECT 'grant_has_its_sale', payment.account_id, ARRAY['payment:' || payment.id],
       format('The payment %%s granted %%s, and no sale of this account says so.', payment.reference, payment.granted)
  FROM billing_payment payment
  LEFT JOIN ({_SALES}) sale ON sale.account_id = payment.account_id AND sale.payment_id = payment.id
 WHERE payment.account_id = ANY(%(accounts)s) AND sale.id IS NULL
   AND (payment.reference LIKE 'purchase:%%' OR payment.reference LIKE 'allocation:%%')
"""  # noqa: S608

# A period is paid for by an invoice, or costs nothing and has none. That it is the invoice's only one is a constraint.
_PERIODS = """
SELECT 'paid_period_has_its_invoice', period.account_id, ARRAY['allocation:' || period.id],
       format('It is %%L, cost %%s %%s, and its invoice is %%L.', period.period, period.amount_minor,
              period.currency, period.stripe_invoice)
  FROM billing_allocation period
 WHERE period.account_id = ANY(%(accounts)s)
   AND ((period.amount_minor > 0) <> (period.stripe_invoice <> '')
        OR (period.amount_minor > 0 AND period.currency = '')
        OR (period.period LIKE 'month %%' OR period.period LIKE 'upgrade %%') <> (period.amount_minor > 0))
"""

# What went back, as Stripe told it; `is_gone` where its money is not ours any more.
_BACKS = """
  SELECT account_id, id, 'refunding' AS kind, coalesce(purchase_id, allocation_id) AS sale_id, amount_minor,
         state IN ('pending', 'succeeded') AS is_gone, state, is_clawed_back, is_restored
    FROM billing_refunding WHERE account_id = ANY(%(accounts)s)
  UNION ALL
  SELECT account_id, id, 'dispute', coalesce(purchase_id, allocation_id), amount_minor, state = 'lost', state,
         NULL, NULL
    FROM billing_dispute WHERE account_id = ANY(%(accounts)s)
"""

_FLAGS = f"""
SELECT CASE WHEN taken.id IS NOT NULL AND taken.restored_by IS NULL AND NOT back.is_gone
              THEN 'claw_back_only_for_money_that_is_gone'
            ELSE 'refund_agrees_with_its_claw_back' END,
       back.account_id, ARRAY[back.kind || ':' || back.id],
       format('It is %%s (clawed back: %%s, restored: %%s); its claw-back is %%s.', back.state, back.is_clawed_back,
              back.is_restored, CASE WHEN taken.id IS NULL THEN 'not there'
                                     WHEN taken.restored_by IS NULL THEN 'in force' ELSE 'restored' END)
  FROM ({_BACKS}) back
  JOIN ({_SALES}) sale ON sale.account_id = back.account_id AND sale.id = back.sale_id
  LEFT JOIN billing_clawback taken ON taken.account_id = back.account_id AND taken.id = back.id
 WHERE (taken.id IS NOT NULL AND taken.restored_by IS NULL AND NOT back.is_gone)
    OR (taken.id IS NOT NULL AND back.is_clawed_back IS FALSE)
    OR (back.is_restored IS NOT NULL AND back.is_restored <> (taken.restored_by IS NOT NULL))
    OR (back.kind = 'refunding' AND back.is_gone AND sale.payment_id IS NOT NULL AND NOT back.is_clawed_back)
"""  # noqa: S608

# Each share is rounded down to the microcredit, so together they are off by less than one for each. Where Stripe told
# of more money than was paid, what a later failure leaves is not compared.
_SHARES = f"""
SELECT 'claw_backs_are_their_share', account_id, ARRAY[kind || ':' || sale_id],
       format('%%s of %%s went back, so %%s of %%s credits are to be gone; %%s are.', gone, amount_minor,
              floor(granted * least(gone, amount_minor) / amount_minor), granted, taken)
  FROM (
    SELECT sale.account_id, sale.kind, sale.id AS sale_id, sale.amount_minor, payment.granted::numeric AS granted,
           count(*) AS rows, sum(back.amount_minor) AS told,
           coalesce(sum(back.amount_minor) FILTER (WHERE back.is_gone), 0) AS gone,
           coalesce(sum(taken.amount) FILTER (WHERE taken.restored_by IS NULL), 0) AS taken
      FROM ({_SALES}) sale
      JOIN billing_payment payment ON payment.account_id = sale.account_id AND payment.id = sale.payment_id
      JOIN ({_BACKS}) back ON back.account_id = sale.account_id AND back.sale_id = sale.id
      LEFT JOIN billing_clawback taken ON taken.account_id = back.account_id AND taken.id = back.id
     WHERE sale.amount_minor > 0
     GROUP BY 1, 2, 3, 4, 5) sums
 WHERE taken > floor(granted * least(gone, amount_minor) / amount_minor) + rows
    OR (told <= amount_minor AND taken < floor(granted * gone / amount_minor) - rows)
"""  # noqa: S608

_CLAW_BACKS = f"""
SELECT 'claw_back_has_its_refund_or_dispute', taken.account_id, ARRAY['claw_back:' || taken.id],
       format('%%s were taken back of what was sold, and no refund or dispute of that sale says why.', taken.amount)
  FROM billing_clawback taken
  JOIN ({_SALES}) sale ON sale.account_id = taken.account_id AND sale.payment_id = taken.payment_id
  LEFT JOIN ({_BACKS}) back ON back.account_id = taken.account_id AND back.id = taken.id AND back.sale_id = sale.id
 WHERE taken.account_id = ANY(%(accounts)s) AND back.id IS NULL
"""  # noqa: S608

_FROZEN = f"""
SELECT 'lots_are_frozen_while_disputed', lot.account_id, ARRAY['lot:' || lot.id],
       CASE WHEN lot.is_frozen THEN 'It is frozen, and no dispute over its payment is open.'
            ELSE 'It can be spent while its payment is disputed.' END
  FROM billing_lot lot
  JOIN ({_SALES}) sale ON sale.account_id = lot.account_id AND sale.payment_id = lot.payment_id
  LEFT JOIN LATERAL (
    SELECT true AS is_open FROM billing_dispute dispute
     WHERE dispute.account_id = sale.account_id AND coalesce(dispute.purchase_id, dispute.allocation_id) = sale.id
       AND dispute.state = 'open' LIMIT 1) dispute ON true
 WHERE lot.account_id = ANY(%(accounts)s) AND lot.payment_id IS NOT NULL
   AND lot.is_frozen <> coalesce(dispute.is_open, false)
"""  # noqa: S608

_GIFTS = """
SELECT 'gift_use_has_its_grant', gift.account_id, ARRAY['gift_use:' || gift.id],
       format('The code gives %%s credits; the line of this use is a %%s of %%s.', code.credits,
              coalesce(line.kind, 'line that is not there'), coalesce(line.amount, 0))
  FROM billing_giftuse gift
  JOIN billing_giftcode code ON code.id = gift.code_id
  LEFT JOIN billing_entry line ON line.account_id = gift.account_id AND line.id = gift.entry_id
  LEFT JOIN billing_lot lot ON lot.account_id = line.account_id AND lot.id = line.lots[1]
 WHERE gift.account_id = ANY(%(accounts)s)
   AND ((line.kind = 'grant' AND line.amount = code.credits AND cardinality(line.lots) = 1 AND lot.source = 'gift'
         AND lot.is_promotional AND lot.amount = code.credits) IS NOT TRUE)
"""

# Of every account: a code that counts uses of which none is there belongs to nobody.
_GIFT_CODES = """
SELECT 'gift_code_counts_its_uses', NULL::uuid, ARRAY['gift_code:' || code.id],
       format('It counts %%s uses, and %%s are there.', code.uses, coalesce(used.count, 0))
  FROM billing_giftcode code
  LEFT JOIN (SELECT code_id, count(*) AS count FROM billing_giftuse GROUP BY code_id) used ON used.code_id = code.id
 WHERE code.uses <> coalesce(used.count, 0)
"""

# When a top-up is begun nothing else of its account's waits, so the month's others had been paid by then or had failed.
_TOP_UPS = """
SELECT 'top_up_within_its_month', one.account_id, ARRAY['purchase:' || one.id],
       format('With it %%s were spent by auto top-up in that month, of at most %%s.', one.amount_minor + before.spent,
              one.month_max_minor)
  FROM billing_purchase one
 CROSS JOIN LATERAL (
    SELECT coalesce(sum(other.amount_minor), 0) AS spent FROM billing_purchase other
     WHERE other.account_id = one.account_id AND other.is_top_up AND other.id <> one.id
       AND other.paid_at <= one.created_at
       AND date_trunc('month', other.created_at AT TIME ZONE 'UTC')
           = date_trunc('month', one.created_at AT TIME ZONE 'UTC')) before
 WHERE one.account_id = ANY(%(accounts)s) AND one.is_top_up
   AND one.amount_minor + before.spent > one.month_max_minor
"""

LAWS = (_GRANTS, _PAYMENTS, _PERIODS, _FLAGS, _SHARES, _CLAW_BACKS, _FROZEN, _GIFTS, _TOP_UPS)
OF_ALL = (_GIFT_CODES,)
