"""Auto top-up and what its purchases carry; the month's maximum as a law of each purchase."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

LAWS = """
CREATE FUNCTION billing_top_up_within_month() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  spent bigint;
BEGIN
  SELECT coalesce(sum(amount_minor), 0) INTO spent FROM billing_purchase
   WHERE account_id = NEW.account_id AND is_top_up AND state IN ('created', 'open', 'paid')
     AND date_trunc('month', created_at AT TIME ZONE 'UTC') = date_trunc('month', NEW.created_at AT TIME ZONE 'UTC');
  IF spent + NEW.amount_minor > NEW.month_max_minor THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'top_up_within_month', TABLE = TG_TABLE_NAME,
      MESSAGE = format('a top-up of %s goes over the month''s %s, of which %s are spent', NEW.amount_minor,
                       NEW.month_max_minor, spent);
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER top_up_within_month BEFORE INSERT ON billing_purchase FOR EACH ROW WHEN (NEW.is_top_up)
  EXECUTE FUNCTION billing_top_up_within_month();
CREATE TRIGGER top_up_keeps_its_terms BEFORE UPDATE ON billing_purchase FOR EACH ROW
  WHEN ((OLD.is_top_up, OLD.keeps_card, OLD.payment_method, OLD.month_max_minor)
        IS DISTINCT FROM (NEW.is_top_up, NEW.keeps_card, NEW.payment_method, NEW.month_max_minor)
        OR (OLD.is_top_up AND OLD.state NOT IN ('created', 'open') AND NEW.state IN ('created', 'open'))
        OR (OLD.is_top_up AND OLD.created_at <> NEW.created_at))
  EXECUTE FUNCTION billing_refuse('top_up_keeps_its_terms');
"""

NO_LAWS = """
DROP TRIGGER top_up_keeps_its_terms ON billing_purchase;
DROP TRIGGER top_up_within_month ON billing_purchase;
DROP FUNCTION billing_top_up_within_month();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0011_gift_codes"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="AutoTopUp",
            fields=[
                (
                    "account",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="auto_top_up",
                        serialize=False,
                        to="billing.account",
                    ),
                ),
                ("is_on", models.BooleanField(default=False)),
                ("below", models.BigIntegerField()),
                ("price_minor", models.PositiveIntegerField()),
                ("currency", models.CharField(max_length=3)),
                ("credits", models.BigIntegerField()),
                ("month_max_minor", models.PositiveIntegerField()),
                ("agreed_at", models.DateTimeField()),
                ("site", models.CharField(max_length=200)),
                ("waits_until", models.DateTimeField(blank=True, null=True)),
                (
                    "waits_because",
                    models.CharField(
                        blank=True,
                        choices=[("declined", "Declined"), ("month", "Month"), ("burst", "Burst")],
                        max_length=10,
                    ),
                ),
                (
                    "off_because",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("person", "Person"),
                            ("staff", "Staff"),
                            ("declined", "Declined"),
                            ("pack", "Pack"),
                            ("returned", "Returned"),
                            ("gone", "Gone"),
                        ],
                        max_length=10,
                    ),
                ),
            ],
            options={
                "verbose_name": "auto top-up",
                "permissions": [("stop_top_up", "Can switch an account's auto top-up off")],
            },
        ),
        migrations.AddField(
            model_name="purchase",
            name="ask_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="purchase",
            name="declined_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="purchase",
            name="keeps_card",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="purchase",
            name="month_max_minor",
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="purchase",
            name="payment_method",
            field=models.CharField(blank=True, max_length=255),
        ),
        migrations.AddIndex(
            model_name="purchase",
            index=models.Index(
                condition=models.Q(("is_top_up", True)), fields=["account", "created_at"], name="purchase_top_ups"
            ),
        ),
        migrations.AddConstraint(
            model_name="purchase",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_top_up", True), ("state__in", ["created", "open"])),
                fields=("account",),
                name="purchase_one_top_up_waits",
            ),
        ),
        migrations.AddConstraint(
            model_name="purchase",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("is_top_up", True),
                        ("month_max_minor__isnull", False),
                        models.Q(("payment_method", ""), _negated=True),
                    ),
                    models.Q(
                        ("is_top_up", False), ("month_max_minor", None), ("payment_method", ""), ("declined_at", None)
                    ),
                    _connector="OR",
                ),
                name="purchase_top_up_has_its_terms",
            ),
        ),
        migrations.AddConstraint(
            model_name="purchase",
            constraint=models.CheckConstraint(
                condition=models.Q(("is_top_up", False), ("keeps_card", False), _connector="OR"),
                name="purchase_top_up_keeps_no_card",
            ),
        ),
        migrations.AddField(
            model_name="autotopup",
            name="agreed_by",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="autotopup",
            name="pack",
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="billing.pack"),
        ),
        migrations.AddIndex(
            model_name="autotopup",
            index=models.Index(condition=models.Q(("is_on", True)), fields=["account"], name="auto_top_up_on"),
        ),
        migrations.AddConstraint(
            model_name="autotopup",
            constraint=models.CheckConstraint(condition=models.Q(("below__gt", 0)), name="auto_top_up_below_positive"),
        ),
        migrations.AddConstraint(
            model_name="autotopup",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("price_minor__gt", 0), ("credits__gt", 0), ("month_max_minor__gte", models.F("price_minor"))
                ),
                name="auto_top_up_pays_for_one",
            ),
        ),
        migrations.AddConstraint(
            model_name="autotopup",
            constraint=models.CheckConstraint(
                condition=models.Q(("credits__gte", models.F("below"))), name="auto_top_up_brings_enough"
            ),
        ),
        migrations.AddConstraint(
            model_name="autotopup",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("waits_until", None), ("waits_because", "")),
                    models.Q(("waits_until__isnull", False), models.Q(("waits_because", ""), _negated=True)),
                    _connector="OR",
                ),
                name="auto_top_up_says_why_it_waits",
            ),
        ),
        migrations.AddConstraint(
            model_name="autotopup",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("is_on", True), ("off_because", "")),
                    models.Q(("is_on", False), models.Q(("off_because", ""), _negated=True)),
                    _connector="OR",
                ),
                name="auto_top_up_says_why_it_is_off",
            ),
        ),
        migrations.RunSQL(LAWS, NO_LAWS),
    ]
