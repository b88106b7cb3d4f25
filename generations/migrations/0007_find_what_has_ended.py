"""What the figures of the last day count is found by an index: jobs by their end, and the few emergency releases."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("generations", "0006_the_answer_nobody_knew")]

    operations = [
        migrations.AddIndex(
            "generation",
            models.Index(name="generation_ended", fields=["ended_at"], condition=Q(ended_at__isnull=False)),
        ),
        migrations.AddIndex(
            "generation",
            models.Index(name="generation_emergency", fields=["ended_at"], condition=Q(is_emergency=True)),
        ),
    ]
