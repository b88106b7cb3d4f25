"""A purchase names the price at Stripe that its session is opened with, before it is."""

from django.db import migrations, models

# These may have been asked for before, at a price of their own: asked for again they are the same.
AS_ASKED = "UPDATE billing_purchase SET stripe_price = '';"

OLD_TERMS = """
DROP TRIGGER purchase_keeps_its_terms ON billing_purchase;
CREATE TRIGGER purchase_keeps_its_terms BEFORE UPDATE ON billing_purchase FOR EACH ROW
  WHEN ((OLD.id, OLD.account_id, OLD.pack_id, OLD.amount_minor, OLD.currency, OLD.credits, OLD.keep_months)
        IS DISTINCT FROM (NEW.id, NEW.account_id, NEW.pack_id, NEW.amount_minor, NEW.currency, NEW.credits,
         NEW.keep_months)
        OR (OLD.state = 'paid' AND (NEW.state, NEW.payment_id, NEW.paid_at)
            IS DISTINCT FROM (OLD.state, OLD.payment_id, OLD.paid_at))
        OR (OLD.stripe_session IS NOT NULL AND NEW.stripe_session IS DISTINCT FROM OLD.stripe_session)
        OR (OLD.stripe_intent IS NOT NULL AND NEW.stripe_intent IS DISTINCT FROM OLD.stripe_intent))
  EXECUTE FUNCTION billing_refuse('purchase_keeps_its_terms');
"""
# As it was, and the price that Stripe was asked with.
TERMS = OLD_TERMS.replace(
    "OR (OLD.stripe_intent",
    "OR (OLD.stripe_price IS NOT NULL AND NEW.stripe_price IS DISTINCT FROM OLD.stripe_price) OR (OLD.stripe_intent",
)


class Migration(migrations.Migration):
    dependencies = [("billing", "0020_shipped_plans_say_how_many_jobs")]

    operations = [
        migrations.AddField(
            model_name="purchase",
            name="stripe_price",
            field=models.CharField(blank=True, max_length=255, null=True),
        ),
        migrations.RunSQL(AS_ASKED, ""),
        migrations.RunSQL(TERMS, OLD_TERMS),
    ]
