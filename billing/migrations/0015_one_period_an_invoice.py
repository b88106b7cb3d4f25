"""An invoice pays for one period of a plan."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0014_limits_at_once")]

    operations = [
        migrations.AlterModelOptions(name="allocation", options={"verbose_name": "plan period"}),
        migrations.AddConstraint(
            model_name="allocation",
            constraint=models.UniqueConstraint(
                condition=~models.Q(stripe_invoice=""),
                fields=("stripe_invoice",),
                name="allocation_one_an_invoice",
            ),
        ),
        # The constraint's own index answers what this one did.
        migrations.RemoveIndex(model_name="allocation", name="allocation_invoice"),
    ]
