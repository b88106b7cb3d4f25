"""What a provider refused one account lately is found by an index, before the account may start another there."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("generations", "0007_find_what_has_ended")]

    operations = [
        migrations.AddIndex(
            "generation",
            models.Index(
                name="generation_refused",
                fields=["account", "-verdict_at"],
                condition=Q(outcome="refunded", verdict_at__isnull=False),
            ),
        ),
    ]
