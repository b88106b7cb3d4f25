"""Changes of plans as rows, one at a time; second plans that are to be undone; keys and laws of these rows."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import billing.models

LAWS = """
ALTER TABLE billing_planchange ADD CONSTRAINT plan_change_enrollment_in_account
  FOREIGN KEY (account_id, enrollment_id) REFERENCES billing_enrollment (account_id, id);
CREATE TRIGGER plan_change_stands BEFORE UPDATE ON billing_planchange FOR EACH ROW
  WHEN ((OLD.id, OLD.account_id, OLD.enrollment_id) IS DISTINCT FROM (NEW.id, NEW.account_id, NEW.enrollment_id)
        OR (OLD.state = 'done')
        OR (OLD.state = 'asked' AND (OLD.act, OLD.plan_id, OLD.stripe_name, OLD.asks, OLD.tries)
            IS DISTINCT FROM (NEW.act, NEW.plan_id, NEW.stripe_name, NEW.asks, NEW.tries))
        OR (OLD.state = 'refused' AND NEW.tries <= OLD.tries))
  EXECUTE FUNCTION billing_refuse('plan_change_stands');
CREATE TRIGGER plan_change_never_deleted BEFORE DELETE ON billing_planchange FOR EACH ROW
  EXECUTE FUNCTION billing_refuse('plan_change_never_deleted');
"""

NO_LAWS = """
DROP TRIGGER plan_change_never_deleted ON billing_planchange;
DROP TRIGGER plan_change_stands ON billing_planchange;
ALTER TABLE billing_planchange DROP CONSTRAINT plan_change_enrollment_in_account;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0012_auto_top_up"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="PlanChange",
            fields=[
                (
                    "id",
                    models.UUIDField(default=billing.models.new_id, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "act",
                    models.CharField(
                        choices=[
                            ("upgrade", "Upgrade"),
                            ("downgrade", "Downgrade"),
                            ("switch_trial", "Switch Trial"),
                            ("cancel", "Cancel"),
                            ("end", "End"),
                            ("keep", "Keep"),
                            ("resume", "Resume"),
                            ("settle", "Settle"),
                        ],
                        max_length=20,
                    ),
                ),
                ("stripe_name", models.CharField(max_length=255)),
                ("asks", models.JSONField(blank=True, default=dict)),
                (
                    "state",
                    models.CharField(
                        choices=[("asked", "Asked"), ("done", "Done"), ("refused", "Refused")],
                        default="asked",
                        max_length=10,
                    ),
                ),
                ("tries", models.PositiveSmallIntegerField(default=1)),
                ("said", models.CharField(help_text="What it means, in words", max_length=500)),
                ("created_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.AddField(
            model_name="enrollment",
            name="is_second",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="enrollment",
            name="undone_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddIndex(
            model_name="enrollment",
            index=models.Index(
                condition=models.Q(("is_second", True), ("undone_at", None)),
                fields=["ended_at"],
                name="enrollment_to_undo",
            ),
        ),
        migrations.AddConstraint(
            model_name="enrollment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("is_second", False), ("undone_at", None)),
                    models.Q(("is_second", True), ("state", "ended")),
                    _connector="OR",
                ),
                name="enrollment_second_is_over",
            ),
        ),
        migrations.AddField(
            model_name="planchange",
            name="account",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="billing.account"
            ),
        ),
        migrations.AddField(
            model_name="planchange",
            name="enrollment",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.enrollment",
            ),
        ),
        migrations.AddField(
            model_name="planchange",
            name="plan",
            field=models.ForeignKey(
                blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="billing.plan"
            ),
        ),
        migrations.AddField(
            model_name="planchange",
            name="user",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddIndex(
            model_name="planchange",
            index=models.Index(fields=["enrollment", "-created_at"], name="plan_change_newest"),
        ),
        migrations.AddConstraint(
            model_name="planchange",
            constraint=models.UniqueConstraint(fields=("account", "id"), name="plan_change_account_id"),
        ),
        migrations.AddConstraint(
            model_name="planchange",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "asked")), fields=("enrollment",), name="plan_change_one_at_a_time"
            ),
        ),
        migrations.AddConstraint(
            model_name="planchange",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "asked"), ("ended_at", None)),
                    models.Q(models.Q(("state", "asked"), _negated=True), ("ended_at__isnull", False)),
                    _connector="OR",
                ),
                name="plan_change_ended_at_its_end",
            ),
        ),
        migrations.RunSQL(LAWS, NO_LAWS),
    ]
