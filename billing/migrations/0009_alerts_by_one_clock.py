"""Alerts open and clear by the ledger's clock, and are found by what they are about, and by not having been mailed."""

import django.utils.timezone
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("billing", "0008_laws_cost_less")]

    operations = [
        migrations.AlterField(
            "alert", "opened_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)
        ),
        migrations.AddIndex("alert", models.Index(name="alert_history", fields=["name", "key"])),
        migrations.AddIndex(
            "alert", models.Index(name="alert_unmailed", fields=["opened_at"], condition=Q(mailed_at=None))
        ),
    ]
