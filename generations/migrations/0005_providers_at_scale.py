"""Providers at scale: what they counted, their routes and circuits, and the settlements that broke."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import billing.models

ADDED_ONLY = """
ALTER TABLE generations_settlementfailure ADD CONSTRAINT settlement_failure_in_account
  FOREIGN KEY (account_id, generation_id) REFERENCES generations_generation (account_id, id);
CREATE TRIGGER settlement_failure_stands BEFORE UPDATE OR DELETE ON generations_settlementfailure FOR EACH ROW
  EXECUTE FUNCTION billing_refuse('settlement_failure_stands');
CREATE OR REPLACE TRIGGER generation_settled_once BEFORE UPDATE ON generations_generation FOR EACH ROW
  WHEN (OLD.credits_charged IS NOT NULL AND
        (OLD.state, OLD.outcome, OLD.credits_charged, OLD.charged_amount, OLD.charged_at, OLD.ended_at,
         OLD.verdict_status, OLD.is_emergency)
        IS DISTINCT FROM
        (NEW.state, NEW.outcome, NEW.credits_charged, NEW.charged_amount, NEW.charged_at, NEW.ended_at,
         NEW.verdict_status, NEW.is_emergency))
  EXECUTE FUNCTION billing_refuse('generation_settled_once');
"""

NOT_ADDED_ONLY = """
CREATE OR REPLACE TRIGGER generation_settled_once BEFORE UPDATE ON generations_generation FOR EACH ROW
  WHEN (OLD.credits_charged IS NOT NULL AND
        (OLD.state, OLD.outcome, OLD.credits_charged, OLD.charged_amount, OLD.charged_at, OLD.ended_at,
         OLD.verdict_status)
        IS DISTINCT FROM
        (NEW.state, NEW.outcome, NEW.credits_charged, NEW.charged_amount, NEW.charged_at, NEW.ended_at,
         NEW.verdict_status))
  EXECUTE FUNCTION billing_refuse('generation_settled_once');
DROP TRIGGER settlement_failure_stands ON generations_settlementfailure;
ALTER TABLE generations_settlementfailure DROP CONSTRAINT settlement_failure_in_account;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0008_laws_cost_less"),
        ("generations", "0004_find_unreleased_outputs"),
        ("tools_registry", "0002_costs_are_kept"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Circuit",
            fields=[
                ("provider", models.CharField(max_length=50, primary_key=True, serialize=False)),
                ("opened_at", models.DateTimeField(null=True)),
                ("retry_at", models.DateTimeField(null=True)),
                ("openings", models.PositiveIntegerField(default=0)),
                ("last_error", models.CharField(blank=True, max_length=500)),
            ],
        ),
        migrations.CreateModel(
            name="Route",
            fields=[
                (
                    "id",
                    models.UUIDField(default=billing.models.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("operation", models.CharField(max_length=100)),
                ("provider", models.CharField(max_length=50)),
                ("position", models.PositiveSmallIntegerField(default=100)),
                ("is_offered", models.BooleanField(default=True)),
                ("graph", models.JSONField(blank=True, null=True)),
            ],
            options={
                "ordering": ["operation", "position", "provider"],
            },
        ),
        migrations.CreateModel(
            name="SettlementFailure",
            fields=[
                (
                    "id",
                    models.UUIDField(default=billing.models.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("occurred_at", models.DateTimeField()),
                ("error", models.CharField(max_length=500)),
            ],
        ),
        migrations.AddField(
            model_name="generation",
            name="is_emergency",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="generation",
            name="usage",
            field=models.JSONField(null=True),
        ),
        migrations.AddIndex(
            model_name="generation",
            index=models.Index(
                condition=models.Q(("verdict_at__isnull", False)), fields=["verdict_at"], name="generation_verdicts"
            ),
        ),
        migrations.AddConstraint(
            model_name="generation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("is_emergency", False),
                    models.Q(
                        ("outcome", "refunded"),
                        ("verdict_status__in", ["failed", "cancelled", "incomplete"]),
                        ("outcome__isnull", False),
                        ("verdict_status__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="generation_emergency_only_after_failure",
            ),
        ),
        migrations.AddConstraint(
            model_name="route",
            constraint=models.UniqueConstraint(fields=("operation", "provider"), name="route_once"),
        ),
        migrations.AddField(
            model_name="settlementfailure",
            name="account",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="billing.account"
            ),
        ),
        migrations.AddField(
            model_name="settlementfailure",
            name="generation",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="settlement_failures",
                to="generations.generation",
            ),
        ),
        migrations.AddIndex(
            model_name="settlementfailure",
            index=models.Index(fields=["occurred_at"], name="settlement_failure_when"),
        ),
        migrations.RunSQL(ADDED_ONLY, NOT_ADDED_ONLY),
    ]
