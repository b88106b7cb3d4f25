"""A purchase names the price at Stripe that its session is opened with, before it is."""

from django.db import migrations, models

# These may have been asked for before, at a price of their own: asked for again they are the same.
AS_ASKED = "UPDATE billing_purchase SET stripe_price = '';"


class Migration(migrations.Migration):
    dependencies = [("billing", "0019_shipped_plans_say_how_many_jobs")]

    operations = [
        migrations.AddField(
            model_name="purchase",
            name="stripe_price",
            field=models.CharField(blank=True, max_length=255, null=True),
        ),
        migrations.RunSQL(AS_ASKED, ""),
    ]
