"""A change of a price or rule in force belongs to no one account, and waits for a second person all the same."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0004_staff_permissions")]

    operations = [
        # Back: the older version has no place for them; the audit trail keeps what was asked and decided.
        migrations.RunSQL(migrations.RunSQL.noop, "DELETE FROM billing_approval WHERE account_id IS NULL"),
        migrations.AlterField(
            model_name="approval",
            name="account",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.account",
            ),
        ),
    ]
