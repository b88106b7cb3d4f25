"""What the worker looks for each minute is found without reading every row."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0016_plans_stay_free_or_paid")]

    operations = [
        migrations.AddIndex(
            model_name="enrollment",
            index=models.Index(condition=models.Q(state="active"), fields=["period_end"], name="enrollment_month_ends"),
        ),
        migrations.AddIndex(
            model_name="enrollment",
            index=models.Index(condition=models.Q(state="grace"), fields=["grace_until"], name="enrollment_grace_ends"),
        ),
        migrations.AddIndex(
            model_name="refunding",
            index=models.Index(condition=models.Q(state="asked"), fields=["created_at"], name="refunding_to_send"),
        ),
    ]
