"""A job keeps the answer that no rule knew, so that staff can say what it means, for it and for all that wait on it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("generations", "0005_providers_at_scale"),
    ]

    operations = [
        migrations.AddField(
            model_name="generation",
            name="unknown_answer",
            field=models.JSONField(null=True),
        ),
        migrations.AddIndex(
            model_name="generation",
            index=models.Index(
                condition=models.Q(("unknown_answer__isnull", False)), fields=["id"], name="generation_unknown"
            ),
        ),
    ]
