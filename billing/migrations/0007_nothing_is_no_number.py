"""A CHECK that comes out NULL passes: three laws said nothing about what is missing. Now they refuse it."""

from django.db import migrations, models
from django.db.models import F, Q

SUMS = """
ALTER TABLE billing_entry DROP CONSTRAINT entry_lot_moves_add_up;
ALTER TABLE billing_entry ADD CONSTRAINT entry_lot_moves_add_up CHECK (coalesce(
  cardinality(lots) = cardinality(remaining_deltas) AND cardinality(lots) = cardinality(held_deltas)
  AND billing_sum(remaining_deltas) = balance_delta AND billing_sum(held_deltas) = held_delta
  AND array_position(lots, NULL) IS NULL, false));
ALTER TABLE billing_hold DROP CONSTRAINT hold_receipt_adds_up;
ALTER TABLE billing_hold ADD CONSTRAINT hold_receipt_adds_up CHECK (coalesce(
  cardinality(receipt_lots) = cardinality(receipt_amounts) AND billing_sum(receipt_amounts) = amount
  AND array_position(receipt_lots, NULL) IS NULL, false));
"""

OLD_SUMS = """
ALTER TABLE billing_hold DROP CONSTRAINT hold_receipt_adds_up;
ALTER TABLE billing_hold ADD CONSTRAINT hold_receipt_adds_up CHECK (
  cardinality(receipt_lots) = cardinality(receipt_amounts) AND billing_sum(receipt_amounts) = amount);
ALTER TABLE billing_entry DROP CONSTRAINT entry_lot_moves_add_up;
ALTER TABLE billing_entry ADD CONSTRAINT entry_lot_moves_add_up CHECK (
  cardinality(lots) = cardinality(remaining_deltas) AND cardinality(lots) = cardinality(held_deltas)
  AND billing_sum(remaining_deltas) = balance_delta AND billing_sum(held_deltas) = held_delta);
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0006_lines_name_what_they_move")]

    operations = [
        migrations.RemoveConstraint("lot", "lot_spendable_at_least_until_expiry"),
        migrations.AddConstraint(
            "lot",
            models.CheckConstraint(
                name="lot_spendable_at_least_until_expiry",
                condition=(Q(expires_at=None) & Q(spendable_until=None))
                | (
                    Q(expires_at__isnull=False)
                    & Q(spendable_until__isnull=False)
                    & Q(spendable_until__gte=F("expires_at"))
                ),
            ),
        ),
        migrations.RemoveConstraint("share", "share_drawn_when_drawn"),
        migrations.AddConstraint(
            "share",
            models.CheckConstraint(
                name="share_drawn_when_drawn",
                condition=(Q(state="drawn") & Q(drawn__isnull=False) & Q(drawn__gte=0) & Q(drawn__lte=F("amount")))
                | (Q(state__in=["open", "closed"]) & Q(drawn=None)),
            ),
        ),
        migrations.RunSQL(SUMS, OLD_SUMS),
    ]
