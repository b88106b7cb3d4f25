"""Gift codes and their uses; laws of their rows."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import billing.models

LAWS = """
ALTER TABLE billing_giftuse ADD CONSTRAINT gift_use_entry_in_account
  FOREIGN KEY (account_id, entry_id) REFERENCES billing_entry (account_id, id);
CREATE TRIGGER gift_code_keeps_its_terms BEFORE UPDATE ON billing_giftcode FOR EACH ROW
  WHEN ((OLD.id, OLD.batch, OLD.hash, OLD.hint, OLD.credits, OLD.uses_max, OLD.keep_months, OLD.expires_at, OLD.note,
         OLD.made_by_id, OLD.approved_by_id, OLD.made_at)
        IS DISTINCT FROM (NEW.id, NEW.batch, NEW.hash, NEW.hint, NEW.credits, NEW.uses_max, NEW.keep_months,
         NEW.expires_at, NEW.note, NEW.made_by_id, NEW.approved_by_id, NEW.made_at)
        OR NEW.uses < OLD.uses
        OR (OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at))
  EXECUTE FUNCTION billing_refuse('gift_code_keeps_its_terms');
CREATE TRIGGER gift_code_never_deleted BEFORE DELETE ON billing_giftcode FOR EACH ROW
  EXECUTE FUNCTION billing_refuse('gift_code_never_deleted');
CREATE TRIGGER gift_use_stands BEFORE UPDATE OR DELETE ON billing_giftuse FOR EACH ROW
  EXECUTE FUNCTION billing_refuse('gift_use_stands');
"""

NO_LAWS = """
DROP TRIGGER gift_use_stands ON billing_giftuse;
DROP TRIGGER gift_code_never_deleted ON billing_giftcode;
DROP TRIGGER gift_code_keeps_its_terms ON billing_giftcode;
ALTER TABLE billing_giftuse DROP CONSTRAINT gift_use_entry_in_account;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0010_what_is_sold"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="GiftCode",
            fields=[
                (
                    "id",
                    models.UUIDField(default=billing.models.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("batch", models.UUIDField()),
                ("hash", models.BinaryField(max_length=32, unique=True)),
                ("hint", models.CharField(help_text="Its last characters, to tell it from others", max_length=8)),
                ("credits", models.BigIntegerField()),
                (
                    "uses_max",
                    models.PositiveIntegerField(default=1, help_text="How many accounts may use it, each once"),
                ),
                ("uses", models.PositiveIntegerField(default=0)),
                (
                    "keep_months",
                    models.PositiveSmallIntegerField(default=12, help_text="How long its credits can be spent"),
                ),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("note", models.CharField(max_length=1000)),
                ("made_at", models.DateTimeField()),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "approved_by",
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
                    "made_by",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "permissions": [
                    ("make_gift_code", "Can make gift codes"),
                    ("revoke_gift_code", "Can revoke gift codes"),
                ],
            },
        ),
        migrations.CreateModel(
            name="GiftUse",
            fields=[
                (
                    "id",
                    models.UUIDField(default=billing.models.new_id, editable=False, primary_key=True, serialize=False),
                ),
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
                    "code",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.giftcode",
                    ),
                ),
                (
                    "entry",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.entry",
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
        ),
        migrations.AddIndex(
            model_name="giftcode",
            index=models.Index(fields=["batch"], name="gift_code_batch"),
        ),
        migrations.AddConstraint(
            model_name="giftcode",
            constraint=models.CheckConstraint(
                condition=models.Q(("credits__gt", 0)), name="gift_code_credits_positive"
            ),
        ),
        migrations.AddConstraint(
            model_name="giftcode",
            constraint=models.CheckConstraint(
                condition=models.Q(("uses_max__gt", 0), ("uses__lte", models.F("uses_max"))),
                name="gift_code_uses_within_most",
            ),
        ),
        migrations.AddConstraint(
            model_name="giftcode",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("approved_by", None),
                    models.Q(("approved_by", models.F("made_by")), _negated=True),
                    _connector="OR",
                ),
                name="gift_code_by_a_second_person",
            ),
        ),
        migrations.AddConstraint(
            model_name="giftuse",
            constraint=models.UniqueConstraint(fields=("code", "account"), name="gift_use_once_an_account"),
        ),
        migrations.AddConstraint(
            model_name="giftuse",
            constraint=models.UniqueConstraint(fields=("account", "entry"), name="gift_use_of_its_own_line"),
        ),
        migrations.RunSQL(LAWS, NO_LAWS),
    ]
