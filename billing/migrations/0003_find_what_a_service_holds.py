"""What a service committed today, over all accounts, is found without reading every hold."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0002_laws")]

    operations = [
        migrations.AddIndex(
            model_name="hold",
            index=models.Index(
                name="hold_of_service",
                fields=["owner", "placed_on"],
                condition=models.Q(("owner__startswith", "service:")),
            ),
        ),
    ]
