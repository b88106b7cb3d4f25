"""A hold says whether free credits pay it before a first payment, so that a late capture asks it too.

Those placed before take them late, as they did.
"""

from django.db import migrations, models

TERMS = """
DROP TRIGGER hold_keeps_its_terms ON billing_hold;
CREATE TRIGGER hold_keeps_its_terms BEFORE UPDATE ON billing_hold FOR EACH ROW
  WHEN ((OLD.id, OLD.account_id, OLD.user_id, OLD.owner, OLD.reference, OLD.amount, OLD.is_envelope, OLD.price_version,
         OLD.takes_free_credits, OLD.receipt_lots, OLD.receipt_amounts, OLD.placed_at, OLD.placed_on)
        IS DISTINCT FROM (NEW.id, NEW.account_id, NEW.user_id, NEW.owner, NEW.reference, NEW.amount, NEW.is_envelope,
         NEW.price_version, NEW.takes_free_credits, NEW.receipt_lots, NEW.receipt_amounts, NEW.placed_at,
         NEW.placed_on))
  EXECUTE FUNCTION billing_refuse('hold_keeps_its_terms');
"""

OLD_TERMS = """
DROP TRIGGER hold_keeps_its_terms ON billing_hold;
CREATE TRIGGER hold_keeps_its_terms BEFORE UPDATE ON billing_hold FOR EACH ROW
  WHEN ((OLD.id, OLD.account_id, OLD.user_id, OLD.owner, OLD.reference, OLD.amount, OLD.is_envelope, OLD.price_version,
         OLD.receipt_lots, OLD.receipt_amounts, OLD.placed_at, OLD.placed_on)
        IS DISTINCT FROM (NEW.id, NEW.account_id, NEW.user_id, NEW.owner, NEW.reference, NEW.amount, NEW.is_envelope,
         NEW.price_version, NEW.receipt_lots, NEW.receipt_amounts, NEW.placed_at, NEW.placed_on))
  EXECUTE FUNCTION billing_refuse('hold_keeps_its_terms');
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0017_what_the_worker_looks_for")]

    operations = [
        migrations.AddField(
            model_name="hold",
            name="takes_free_credits",
            field=models.BooleanField(db_default=True, default=True),
        ),
        migrations.RunSQL(TERMS, OLD_TERMS),
    ]
