"""The CHECK on a job's charge also refuses what is unknown: of a NULL outcome or charge it could tell nothing."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("generations", "0002_job_and_money")]

    operations = [
        migrations.RemoveConstraint(
            model_name="generation",
            name="generation_charge_follows_its_state",
        ),
        migrations.AddConstraint(
            model_name="generation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        models.Q(
                            ("charged_amount", None),
                            ("charged_at", None),
                            ("credits_charged", None),
                            ("ended_at", None),
                            ("outcome", None),
                            ("state__in", ["queued", "submitting", "running"]),
                        ),
                        models.Q(
                            ("charged_amount", None),
                            ("charged_at", None),
                            ("credits_charged", None),
                            ("ended_at", None),
                            ("outcome__in", ["expired", "withheld"]),
                            ("state", "awaiting_settlement"),
                        ),
                        models.Q(
                            ("charged_amount__isnull", False),
                            ("charged_at__isnull", False),
                            ("credits_charged", True),
                            ("ended_at__isnull", False),
                            ("outcome", "charged"),
                            ("state", "succeeded"),
                        ),
                        models.Q(
                            ("charged_amount", None),
                            ("charged_at__isnull", False),
                            ("credits_charged", False),
                            ("ended_at__isnull", False),
                            ("outcome", "waived"),
                            ("state", "succeeded"),
                            ("waived_by__isnull", False),
                        ),
                        models.Q(
                            ("charged_amount", None),
                            ("charged_at__isnull", False),
                            ("credits_charged", False),
                            ("ended_at__isnull", False),
                            ("outcome", "refunded"),
                            ("state__in", ["failed", "cancelled"]),
                        ),
                        models.Q(
                            ("charged_amount", None),
                            ("charged_at__isnull", False),
                            ("credits_charged", False),
                            ("ended_at__isnull", False),
                            ("outcome", "expired"),
                            ("state", "expired"),
                        ),
                        _connector="OR",
                    ),
                    models.Q(
                        ("state__in", ["queued", "submitting", "running"]), ("outcome__isnull", False), _connector="OR"
                    ),
                    models.Q(
                        ("state__in", ["queued", "submitting", "running", "awaiting_settlement"]),
                        ("credits_charged__isnull", False),
                        _connector="OR",
                    ),
                ),
                name="generation_charge_follows_its_state",
            ),
        ),
    ]
