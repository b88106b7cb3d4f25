"""The runs of studio tools, their files, what staff decided of a tool, and what runs usually cost."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import billing.models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0011_gift_codes"),
        ("tools_registry", "0002_costs_are_kept"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ToolRun",
            fields=[
                (
                    "id",
                    models.UUIDField(default=billing.models.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("actor", models.CharField(max_length=100)),
                ("owner", models.CharField(max_length=100)),
                ("tool", models.CharField(max_length=100)),
                ("inputs", models.JSONField(help_text="What was sent; of a document only its name and size")),
                ("bucket", models.PositiveSmallIntegerField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("running", "Running"),
                            ("succeeded", "Succeeded"),
                            ("refused", "Refused"),
                            ("stopped", "Stopped"),
                        ],
                        default="running",
                        max_length=10,
                    ),
                ),
                ("estimate_min", models.BigIntegerField()),
                ("estimate_typical", models.BigIntegerField()),
                ("estimate_max", models.BigIntegerField()),
                ("charged_amount", models.BigIntegerField(null=True)),
                ("cpu_seconds", models.DecimalField(decimal_places=6, max_digits=12, null=True)),
                ("wall_seconds", models.DecimalField(decimal_places=6, max_digits=12, null=True)),
                ("peak_memory_bytes", models.BigIntegerField(null=True)),
                (
                    "stopped_by",
                    models.CharField(
                        choices=[
                            ("cpu", "processor time"),
                            ("time", "time"),
                            ("memory", "memory"),
                            ("output", "the size of its result"),
                            ("crash", "a fault of the tool"),
                            ("lost", "the machine it ran on"),
                        ],
                        max_length=10,
                        null=True,
                    ),
                ),
                ("wrong", models.JSONField(null=True)),
                ("result", models.JSONField(null=True)),
                ("view", models.JSONField(null=True)),
                ("created_at", models.DateTimeField()),
                ("lost_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
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
                    "entry",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.entry",
                    ),
                ),
                (
                    "hold",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.hold",
                    ),
                ),
                (
                    "tool_cost",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tools_registry.toolcost"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ToolFile",
            fields=[
                (
                    "id",
                    models.UUIDField(default=billing.models.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("name", models.CharField(max_length=100)),
                ("content_type", models.CharField(max_length=100)),
                ("bytes", models.PositiveIntegerField()),
                ("content", models.BinaryField()),
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
                    "run",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tools_registry.toolrun",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ToolSwitch",
            fields=[
                ("tool", models.CharField(max_length=100, primary_key=True, serialize=False)),
                ("is_enabled", models.BooleanField(default=True)),
                ("is_beta", models.BooleanField(default=False)),
                ("plan_least", models.CharField(blank=True, max_length=50)),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("changed_at", models.DateTimeField()),
                (
                    "changed_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "permissions": [("use_beta_tools", "Can use tools that are in beta")],
            },
        ),
        migrations.CreateModel(
            name="Usual",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("tool", models.CharField(max_length=100)),
                ("bucket", models.PositiveSmallIntegerField()),
                ("runs", models.PositiveIntegerField()),
                ("p10", models.BigIntegerField()),
                ("p50", models.BigIntegerField()),
                ("p95", models.BigIntegerField()),
                ("counted_at", models.DateTimeField()),
            ],
            options={
                "verbose_name_plural": "usual costs",
                "constraints": [
                    models.UniqueConstraint(fields=("tool", "bucket"), name="usual_once"),
                    models.CheckConstraint(
                        condition=models.Q(("p50__gte", models.F("p10")), ("p95__gte", models.F("p50"))),
                        name="usual_ordered",
                    ),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="toolrun",
            index=models.Index(fields=["account", "-id"], name="tool_run_newest"),
        ),
        migrations.AddIndex(
            model_name="toolrun",
            index=models.Index(fields=["tool", "-ended_at"], name="tool_run_of_tool"),
        ),
        migrations.AddIndex(
            model_name="toolrun",
            index=models.Index(condition=models.Q(("state", "running")), fields=["lost_at"], name="tool_run_lost"),
        ),
        migrations.AddIndex(
            model_name="toolrun",
            index=models.Index(
                condition=models.Q(("result__isnull", False), ("state", "succeeded")),
                fields=["ended_at"],
                name="tool_run_kept",
            ),
        ),
        migrations.AddConstraint(
            model_name="toolrun",
            constraint=models.UniqueConstraint(fields=("account", "id"), name="tool_run_account_id"),
        ),
        migrations.AddConstraint(
            model_name="toolrun",
            constraint=models.UniqueConstraint(fields=("account", "hold"), name="tool_run_one_a_hold"),
        ),
        migrations.AddConstraint(
            model_name="toolrun",
            constraint=models.UniqueConstraint(fields=("account", "entry"), name="tool_run_one_a_line"),
        ),
        migrations.AddConstraint(
            model_name="toolrun",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "running")), fields=("account", "owner"), name="tool_run_one_at_a_time"
            ),
        ),
        migrations.AddConstraint(
            model_name="toolrun",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("charged_amount", None),
                        ("ended_at", None),
                        ("entry", None),
                        ("state", "running"),
                        ("stopped_by", None),
                    ),
                    models.Q(
                        ("charged_amount__isnull", False),
                        ("cpu_seconds__isnull", False),
                        ("ended_at__isnull", False),
                        ("entry__isnull", False),
                        ("peak_memory_bytes__isnull", False),
                        ("state", "succeeded"),
                        ("stopped_by", None),
                        ("wall_seconds__isnull", False),
                    ),
                    models.Q(
                        ("charged_amount", None),
                        ("ended_at__isnull", False),
                        ("entry", None),
                        ("state", "refused"),
                        ("stopped_by", None),
                        ("wrong__isnull", False),
                    ),
                    models.Q(
                        ("charged_amount", None),
                        ("ended_at__isnull", False),
                        ("entry", None),
                        ("state", "stopped"),
                        ("stopped_by__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="tool_run_charged_when_it_succeeded",
            ),
        ),
        migrations.AddConstraint(
            model_name="toolrun",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("estimate_min__gte", 0),
                    ("estimate_typical__gte", models.F("estimate_min")),
                    ("estimate_max__gte", models.F("estimate_typical")),
                ),
                name="tool_run_estimate_ordered",
            ),
        ),
        migrations.AddConstraint(
            model_name="toolrun",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("charged_amount", None),
                    models.Q(
                        ("charged_amount__gte", models.F("estimate_min")),
                        ("charged_amount__lte", models.F("estimate_max")),
                    ),
                    _connector="OR",
                ),
                name="tool_run_charge_within_estimate",
            ),
        ),
        migrations.AddConstraint(
            model_name="toolfile",
            constraint=models.UniqueConstraint(fields=("account", "run", "name"), name="tool_file_once_a_run"),
        ),
    ]
