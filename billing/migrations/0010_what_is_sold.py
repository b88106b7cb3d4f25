"""Packs and plans, what was bought of them, and what Stripe tells; keys within an account, and laws of their rows."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import billing.models

KEYS = """
ALTER TABLE billing_purchase ADD CONSTRAINT purchase_payment_in_account
  FOREIGN KEY (account_id, payment_id) REFERENCES billing_payment (account_id, id);
ALTER TABLE billing_refunding ADD CONSTRAINT refunding_purchase_in_account
  FOREIGN KEY (account_id, purchase_id) REFERENCES billing_purchase (account_id, id);
ALTER TABLE billing_refunding ADD CONSTRAINT refunding_allocation_in_account
  FOREIGN KEY (account_id, allocation_id) REFERENCES billing_allocation (account_id, id);
ALTER TABLE billing_dispute ADD CONSTRAINT dispute_purchase_in_account
  FOREIGN KEY (account_id, purchase_id) REFERENCES billing_purchase (account_id, id);
ALTER TABLE billing_dispute ADD CONSTRAINT dispute_allocation_in_account
  FOREIGN KEY (account_id, allocation_id) REFERENCES billing_allocation (account_id, id);
ALTER TABLE billing_allocation ADD CONSTRAINT allocation_enrollment_in_account
  FOREIGN KEY (account_id, enrollment_id) REFERENCES billing_enrollment (account_id, id);
ALTER TABLE billing_allocation ADD CONSTRAINT allocation_payment_in_account
  FOREIGN KEY (account_id, payment_id) REFERENCES billing_payment (account_id, id);
"""

NO_KEYS = """
ALTER TABLE billing_purchase DROP CONSTRAINT purchase_payment_in_account;
ALTER TABLE billing_refunding DROP CONSTRAINT refunding_purchase_in_account;
ALTER TABLE billing_refunding DROP CONSTRAINT refunding_allocation_in_account;
ALTER TABLE billing_dispute DROP CONSTRAINT dispute_purchase_in_account;
ALTER TABLE billing_dispute DROP CONSTRAINT dispute_allocation_in_account;
ALTER TABLE billing_allocation DROP CONSTRAINT allocation_enrollment_in_account;
ALTER TABLE billing_allocation DROP CONSTRAINT allocation_payment_in_account;
"""

LAWS = """
CREATE TRIGGER purchase_keeps_its_terms BEFORE UPDATE ON billing_purchase FOR EACH ROW
  WHEN ((OLD.id, OLD.account_id, OLD.pack_id, OLD.amount_minor, OLD.currency, OLD.credits, OLD.keep_months)
        IS DISTINCT FROM (NEW.id, NEW.account_id, NEW.pack_id, NEW.amount_minor, NEW.currency, NEW.credits,
         NEW.keep_months)
        OR (OLD.state = 'paid' AND (NEW.state, NEW.payment_id, NEW.paid_at)
            IS DISTINCT FROM (OLD.state, OLD.payment_id, OLD.paid_at))
        OR (OLD.stripe_session IS NOT NULL AND NEW.stripe_session IS DISTINCT FROM OLD.stripe_session)
        OR (OLD.stripe_intent IS NOT NULL AND NEW.stripe_intent IS DISTINCT FROM OLD.stripe_intent))
  EXECUTE FUNCTION billing_refuse('purchase_keeps_its_terms');
CREATE TRIGGER customer_stays_whose_it_is BEFORE UPDATE ON billing_customer FOR EACH ROW
  WHEN (OLD.account_id <> NEW.account_id
        OR (OLD.stripe_customer IS NOT NULL AND NEW.stripe_customer IS DISTINCT FROM OLD.stripe_customer))
  EXECUTE FUNCTION billing_refuse('customer_stays_whose_it_is');
CREATE TRIGGER inbox_event_stays_as_it_came BEFORE UPDATE ON billing_inboxevent FOR EACH ROW
  WHEN ((OLD.id, OLD.type, OLD.payload, OLD.is_live, OLD.received_at)
        IS DISTINCT FROM (NEW.id, NEW.type, NEW.payload, NEW.is_live, NEW.received_at))
  EXECUTE FUNCTION billing_refuse('inbox_event_stays_as_it_came');
CREATE TRIGGER allocation_stands BEFORE UPDATE ON billing_allocation FOR EACH ROW
  WHEN ((OLD.account_id, OLD.enrollment_id, OLD.period, OLD.credits)
        IS DISTINCT FROM (NEW.account_id, NEW.enrollment_id, NEW.period, NEW.credits)
        OR (OLD.payment_id IS NOT NULL AND NEW.payment_id IS DISTINCT FROM OLD.payment_id))
  EXECUTE FUNCTION billing_refuse('allocation_stands');
"""

NO_LAWS = """
DROP TRIGGER allocation_stands ON billing_allocation;
DROP TRIGGER inbox_event_stays_as_it_came ON billing_inboxevent;
DROP TRIGGER customer_stays_whose_it_is ON billing_customer;
DROP TRIGGER purchase_keeps_its_terms ON billing_purchase;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0009_alerts_by_one_clock"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Customer",
            fields=[
                (
                    "account",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="customer",
                        serialize=False,
                        to="billing.account",
                    ),
                ),
                ("stripe_customer", models.CharField(max_length=255, null=True, unique=True)),
                ("payment_method", models.CharField(blank=True, max_length=255)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
        ),
        migrations.CreateModel(
            name="InboxEvent",
            fields=[
                ("id", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("type", models.CharField(max_length=100)),
                ("is_live", models.BooleanField()),
                ("happened_at", models.DateTimeField()),
                ("payload", models.JSONField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("received", "Received"),
                            ("applied", "Applied"),
                            ("ignored", "Ignored"),
                            ("failed", "Failed"),
                        ],
                        default="received",
                        max_length=10,
                    ),
                ),
                (
                    "source",
                    models.CharField(
                        default="webhook", help_text="webhook, or list: found by reconciliation", max_length=10
                    ),
                ),
                ("received_at", models.DateTimeField()),
                ("tries", models.PositiveIntegerField(default=0)),
                ("next_try_at", models.DateTimeField(blank=True, null=True)),
                ("applied_at", models.DateTimeField(blank=True, null=True)),
                ("outcome", models.CharField(blank=True, max_length=500)),
                ("mirrored_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "permissions": [("replay_event", "Can have an event of Stripe applied again")],
                "indexes": [
                    models.Index(
                        condition=models.Q(("state__in", ["received", "failed"])),
                        fields=["next_try_at"],
                        name="inbox_due",
                    ),
                    models.Index(fields=["-received_at"], name="inbox_newest"),
                    models.Index(
                        condition=models.Q(("mirrored_at", None), ("state__in", ["applied", "ignored"])),
                        fields=["received_at"],
                        name="inbox_unmirrored",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Pack",
            fields=[
                (
                    "id",
                    models.UUIDField(default=billing.models.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("slug", models.SlugField(unique=True)),
                ("title", models.CharField(max_length=100)),
                ("price_minor", models.PositiveIntegerField()),
                ("currency", models.CharField(default="gbp", max_length=3)),
                ("credits", models.BigIntegerField()),
                (
                    "keep_months",
                    models.PositiveSmallIntegerField(default=12, help_text="How long its credits can be spent"),
                ),
                ("stripe_price", models.CharField(blank=True, max_length=255)),
                ("position", models.PositiveSmallIntegerField(default=100)),
                ("is_offered", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["position", "price_minor"],
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("price_minor__gt", 0)), name="pack_price_positive"),
                    models.CheckConstraint(condition=models.Q(("credits__gt", 0)), name="pack_credits_positive"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Plan",
            fields=[
                (
                    "id",
                    models.UUIDField(default=billing.models.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("slug", models.SlugField(unique=True)),
                ("title", models.CharField(max_length=100)),
                ("price_minor", models.PositiveIntegerField(help_text="A month, in the currency's smallest unit")),
                ("currency", models.CharField(default="gbp", max_length=3)),
                ("monthly_credits", models.BigIntegerField()),
                ("per_day", models.BigIntegerField(blank=True, null=True)),
                ("rollover_max", models.BigIntegerField(blank=True, null=True)),
                ("trial_days", models.PositiveSmallIntegerField(default=0)),
                (
                    "trial_credits",
                    models.BigIntegerField(default=0, help_text="Granted as promotional for a trial's period"),
                ),
                ("open_holds_max", models.PositiveSmallIntegerField(blank=True, null=True)),
                (
                    "features",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=200), blank=True, default=list, size=None
                    ),
                ),
                ("stripe_price", models.CharField(blank=True, max_length=255)),
                ("position", models.PositiveSmallIntegerField(default=100)),
                ("is_offered", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["position", "price_minor"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("monthly_credits__gte", 0), ("trial_credits__gte", 0)),
                        name="plan_credits_not_negative",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("per_day", None), ("per_day__gte", 0), _connector="OR"),
                        name="plan_per_day_not_negative",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Enrollment",
            fields=[
                (
                    "id",
                    models.UUIDField(default=billing.models.new_id, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("trial", "Trial"),
                            ("active", "Active"),
                            ("grace", "Grace"),
                            ("paused", "Paused"),
                            ("ended", "Ended"),
                        ],
                        max_length=10,
                    ),
                ),
                ("stripe_subscription", models.CharField(blank=True, max_length=255, null=True, unique=True)),
                ("stripe_session", models.CharField(blank=True, max_length=255, null=True, unique=True)),
                ("checkout_url", models.TextField(blank=True)),
                ("told_at", models.DateTimeField(blank=True, null=True)),
                ("period_start", models.DateTimeField(blank=True, null=True)),
                ("period_end", models.DateTimeField(blank=True, null=True)),
                ("ends_with_period", models.BooleanField(default=False)),
                ("grace_until", models.DateTimeField(blank=True, null=True)),
                ("started_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "account",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.account",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "next_plan",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.plan",
                    ),
                ),
                (
                    "plan",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="billing.plan"),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Allocation",
            fields=[
                (
                    "id",
                    models.UUIDField(default=billing.models.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("period", models.CharField(max_length=255)),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                ("credits", models.BigIntegerField()),
                ("stripe_invoice", models.CharField(blank=True, max_length=255)),
                ("stripe_intent", models.CharField(blank=True, max_length=255)),
                ("invoice_url", models.TextField(blank=True)),
                ("amount_minor", models.PositiveIntegerField(default=0)),
                ("currency", models.CharField(blank=True, max_length=3)),
                ("created_at", models.DateTimeField()),
                (
                    "account",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.account",
                    ),
                ),
                (
                    "payment",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.payment",
                    ),
                ),
                (
                    "enrollment",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.enrollment",
                    ),
                ),
                (
                    "plan",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="billing.plan"),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Purchase",
            fields=[
                (
                    "id",
                    models.UUIDField(default=billing.models.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("amount_minor", models.PositiveIntegerField()),
                ("currency", models.CharField(max_length=3)),
                ("credits", models.BigIntegerField()),
                ("keep_months", models.PositiveSmallIntegerField()),
                ("is_top_up", models.BooleanField(default=False, help_text="Bought by the account's auto top-up")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("created", "Created"),
                            ("open", "Open"),
                            ("paid", "Paid"),
                            ("failed", "Failed"),
                            ("expired", "Expired"),
                        ],
                        default="created",
                        max_length=10,
                    ),
                ),
                ("stripe_session", models.CharField(blank=True, max_length=255, null=True, unique=True)),
                ("stripe_intent", models.CharField(blank=True, max_length=255, null=True, unique=True)),
                ("checkout_url", models.TextField(blank=True)),
                ("receipt_url", models.TextField(blank=True)),
                ("success_url", models.TextField(blank=True)),
                ("cancel_url", models.TextField(blank=True)),
                ("created_at", models.DateTimeField()),
                ("paid_at", models.DateTimeField(blank=True, null=True)),
                ("error", models.CharField(blank=True, max_length=300)),
                (
                    "account",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.account",
                    ),
                ),
                (
                    "pack",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="billing.pack"),
                ),
                (
                    "payment",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.payment",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "permissions": [
                    ("refund_purchase", "Can refund a purchase at Stripe"),
                    ("view_revenue", "Can see revenue and liability"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Dispute",
            fields=[
                (
                    "id",
                    models.UUIDField(default=billing.models.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("stripe_dispute", models.CharField(max_length=255, unique=True)),
                ("amount_minor", models.PositiveIntegerField()),
                ("reason", models.CharField(blank=True, max_length=100)),
                (
                    "state",
                    models.CharField(
                        choices=[("open", "Open"), ("won", "Won"), ("lost", "Lost")], default="open", max_length=10
                    ),
                ),
                ("evidence_due_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "account",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.account",
                    ),
                ),
                (
                    "purchase",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.purchase",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Refunding",
            fields=[
                (
                    "id",
                    models.UUIDField(default=billing.models.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("stripe_refund", models.CharField(blank=True, max_length=255, null=True, unique=True)),
                ("amount_minor", models.PositiveIntegerField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("asked", "Asked"),
                            ("pending", "Pending"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                        ],
                        default="asked",
                        max_length=10,
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("is_clawed_back", models.BooleanField(default=False)),
                ("is_restored", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField()),
                (
                    "account",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.account",
                    ),
                ),
                (
                    "made_by",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "purchase",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.purchase",
                    ),
                ),
            ],
            options={
                "verbose_name": "refund",
            },
        ),
        migrations.AddIndex(
            model_name="enrollment",
            index=models.Index(fields=["account"], name="enrollment_of_account"),
        ),
        migrations.AddConstraint(
            model_name="enrollment",
            constraint=models.UniqueConstraint(fields=("account", "id"), name="enrollment_account_id"),
        ),
        migrations.AddConstraint(
            model_name="enrollment",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ["pending", "ended"]), _negated=True),
                fields=("account",),
                name="enrollment_one_in_force",
            ),
        ),
        migrations.AddConstraint(
            model_name="enrollment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "ended"), ("ended_at__isnull", False)),
                    models.Q(models.Q(("state", "ended"), _negated=True), ("ended_at", None)),
                    _connector="OR",
                ),
                name="enrollment_ended_at_its_end",
            ),
        ),
        migrations.AddIndex(
            model_name="allocation",
            index=models.Index(
                condition=models.Q(("stripe_invoice", ""), _negated=True),
                fields=["stripe_invoice"],
                name="allocation_invoice",
            ),
        ),
        migrations.AddIndex(
            model_name="allocation",
            index=models.Index(
                condition=models.Q(("stripe_intent", ""), _negated=True),
                fields=["stripe_intent"],
                name="allocation_intent",
            ),
        ),
        migrations.AddConstraint(
            model_name="allocation",
            constraint=models.UniqueConstraint(fields=("account", "period"), name="allocation_once_a_period"),
        ),
        migrations.AddConstraint(
            model_name="allocation",
            constraint=models.CheckConstraint(
                condition=models.Q(("credits__gte", 0)), name="allocation_credits_not_negative"
            ),
        ),
        migrations.AddIndex(
            model_name="purchase",
            index=models.Index(fields=["account", "-id"], name="purchase_newest"),
        ),
        migrations.AddIndex(
            model_name="purchase",
            index=models.Index(
                condition=models.Q(("state__in", ["created", "open"])), fields=["created_at"], name="purchase_waiting"
            ),
        ),
        migrations.AddConstraint(
            model_name="purchase",
            constraint=models.UniqueConstraint(fields=("account", "id"), name="purchase_account_id"),
        ),
        migrations.AddConstraint(
            model_name="purchase",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount_minor__gt", 0), ("credits__gt", 0)), name="purchase_amounts_positive"
            ),
        ),
        migrations.AddConstraint(
            model_name="purchase",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "paid"), ("payment__isnull", False), ("paid_at__isnull", False)),
                    models.Q(models.Q(("state", "paid"), _negated=True), ("payment", None)),
                    _connector="OR",
                ),
                name="purchase_granted_when_paid",
            ),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.UniqueConstraint(fields=("account", "id"), name="dispute_account_id"),
        ),
        migrations.AddConstraint(
            model_name="refunding",
            constraint=models.UniqueConstraint(fields=("account", "id"), name="refunding_account_id"),
        ),
        migrations.AddConstraint(
            model_name="refunding",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount_minor__gt", 0)), name="refunding_amount_positive"
            ),
        ),
        migrations.AddConstraint(
            model_name="refunding",
            constraint=models.CheckConstraint(
                condition=models.Q(("is_restored", False), ("is_clawed_back", True), _connector="OR"),
                name="refunding_restored_after_claw_back",
            ),
        ),
        migrations.AddField(
            model_name="dispute",
            name="allocation",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.allocation",
            ),
        ),
        migrations.AddField(
            model_name="refunding",
            name="allocation",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.allocation",
            ),
        ),
        migrations.AddConstraint(
            model_name="allocation",
            constraint=models.UniqueConstraint(fields=("account", "id"), name="allocation_account_id"),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount_minor__gt", 0)), name="dispute_amount_positive"
            ),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "open"), ("ended_at", None)),
                    models.Q(models.Q(("state", "open"), _negated=True), ("ended_at__isnull", False)),
                    _connector="OR",
                ),
                name="dispute_ended_at_its_end",
            ),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("allocation__isnull", False), ("purchase", None)),
                    models.Q(("allocation", None), ("purchase__isnull", False)),
                    _connector="OR",
                ),
                name="dispute_of_one_sale",
            ),
        ),
        migrations.AddConstraint(
            model_name="refunding",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("allocation__isnull", False), ("purchase", None)),
                    models.Q(("allocation", None), ("purchase__isnull", False)),
                    _connector="OR",
                ),
                name="refunding_of_one_sale",
            ),
        ),
        migrations.RunSQL(KEYS, NO_KEYS),
        migrations.RunSQL(LAWS, NO_LAWS),
    ]
