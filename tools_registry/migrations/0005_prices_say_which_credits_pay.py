"""A price says whether free credits pay it before an account's first payment."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tools_registry", "0004_runs_agree_with_money")]

    operations = [
        migrations.AddField(
            model_name="toolcost",
            name="takes_free_credits",
            field=models.BooleanField(default=False, db_default=False),
        ),
    ]
