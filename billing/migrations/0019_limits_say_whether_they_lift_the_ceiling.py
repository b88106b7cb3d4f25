"""Only a limit of staff's that says so lifts the ceiling before a first settled payment."""

from django.db import migrations, models
from django.db.models import Q

# What a run or a day may cost was set under the words that it takes the ceiling's place.
MEANT = """
UPDATE billing_spendlimit SET lifts_ceiling = true
 WHERE source = 'staff' AND (per_run IS NOT NULL OR per_day IS NOT NULL);
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0018_holds_say_which_credits_pay")]

    operations = [
        migrations.AddField(
            model_name="spendlimit",
            name="lifts_ceiling",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.RunSQL(MEANT, ""),
        migrations.AddConstraint(
            model_name="spendlimit",
            constraint=models.CheckConstraint(
                condition=Q(lifts_ceiling=False) | Q(source="staff"), name="spend_limit_ceiling_lifted_by_staff"
            ),
        ),
    ]
