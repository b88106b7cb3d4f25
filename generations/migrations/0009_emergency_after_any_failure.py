"""An emergency release may follow whatever word a rule releases: a refusal of the submission, too."""

from django.db import migrations, models
from django.db.models import Q

NAME = "generation_emergency_only_after_failure"


class Migration(migrations.Migration):
    dependencies = [("generations", "0008_find_what_was_refused")]

    operations = [
        migrations.RemoveConstraint("generation", NAME),
        migrations.AddConstraint(
            "generation",
            models.CheckConstraint(
                name=NAME,
                condition=Q(is_emergency=False)
                | (
                    ~Q(verdict_status="completed")
                    & Q(outcome="refunded", verdict_at__isnull=False)
                    & Q(outcome__isnull=False, verdict_status__isnull=False)
                ),
            ),
        ),
    ]
