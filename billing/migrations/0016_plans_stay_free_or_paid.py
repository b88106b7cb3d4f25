"""A plan that costs nothing is allocated here, one with a price by its paid invoices: which of both it is stands."""

from django.db import migrations

LAW = """
CREATE TRIGGER plan_stays_free_or_paid BEFORE UPDATE ON billing_plan FOR EACH ROW
  WHEN ((OLD.price_minor = 0) <> (NEW.price_minor = 0))
  EXECUTE FUNCTION billing_refuse('plan_stays_free_or_paid');
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0015_one_period_an_invoice")]

    operations = [migrations.RunSQL(LAW, "DROP TRIGGER plan_stays_free_or_paid ON billing_plan;")]
