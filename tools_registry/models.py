"""The price list, and the runs of studio tools. A price is a dated row that is never edited: a new price is a new row.

A run stands on its hold from its first moment, and one that succeeded on the line that charged it: the columns refuse
anything else (N4).
"""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from billing import clock
from billing.models import a_person, in_account, new_id, of_account, row_id


class ToolCostQuerySet(models.QuerySet["ToolCost"]):
    def in_force(self, tool: str, at: datetime | clock.Now) -> ToolCost | None:
        """The tool's price at a moment; None where it has none yet."""
        return self.filter(tool=tool, valid_from__lte=at).order_by("-valid_from").first()


class ToolCost(models.Model):
    """What one tool or operation costs from a date on, in credits."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tool = models.CharField(max_length=100, help_text="The slug of the tool or operation, for example ai/video")
    valid_from = models.DateTimeField()
    # How `rates` are read: a name of pricing.MODELS.
    model = models.CharField(max_length=30)
    # Decimal strings of credits, by the names that the model asks for.
    rates = models.JSONField()
    # Whether plan and promotional credits pay it before an account's first payment, also where it costs us money.
    takes_free_credits = models.BooleanField(default=False, db_default=False)
    note = models.CharField(max_length=300, blank=True)
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+", editable=False
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ToolCostQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="tool_cost_once_at_a_time", fields=["tool", "valid_from"]),
            models.CheckConstraint(name="tool_cost_names_its_tool", condition=~Q(tool="")),
        ]
        ordering = ["tool", "-valid_from"]

    def __str__(self) -> str:
        return f"{self.tool} from {self.valid_from:%Y-%m-%d %H:%M}"


class ToolRun(models.Model):
    """One run of a studio tool here. RUNNING → SUCCEEDED (charged) | REFUSED (its inputs) | STOPPED (a limit, a crash).

    Nothing but a success is charged.
    """

    class State(models.TextChoices):
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        REFUSED = "refused"
        STOPPED = "stopped"

    class Stop(models.TextChoices):
        CPU = "cpu", "processor time"
        TIME = "time", "time"
        MEMORY = "memory", "memory"
        OUTPUT = "output", "the size of its result"
        CRASH = "crash", "a fault of the tool"
        LOST = "lost", "the machine it ran on"

    id = row_id()
    account = of_account()
    user = a_person(null=True)
    actor = models.CharField(max_length=100)
    # The person or service it is for: each runs one at a time.
    owner = models.CharField(max_length=100)
    tool = models.CharField(max_length=100)
    inputs = models.JSONField(help_text="What was sent; of a document only its name and size")
    # How large that was: powers of four, by which uses are compared.
    bucket = models.PositiveSmallIntegerField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.RUNNING)

    # What it stands on, and what it was said to cost, in microcredits.
    hold = in_account("billing.Hold", db_index=False)
    entry = in_account("billing.Entry", null=True, db_index=False)
    tool_cost = models.ForeignKey(ToolCost, on_delete=models.PROTECT, related_name="+")
    estimate_min = models.BigIntegerField()
    estimate_typical = models.BigIntegerField()
    estimate_max = models.BigIntegerField()
    charged_amount = models.BigIntegerField(null=True)

    # What the kernel counted.
    cpu_seconds = models.DecimalField(max_digits=12, decimal_places=6, null=True)
    wall_seconds = models.DecimalField(max_digits=12, decimal_places=6, null=True)
    peak_memory_bytes = models.BigIntegerField(null=True)

    stopped_by = models.CharField(max_length=10, choices=Stop.choices, null=True)
    # The fields that were wrong, by name, where it was refused.
    wrong = models.JSONField(null=True)
    # The tool's answer, and the page's view of it; emptied when it is no longer kept.
    result = models.JSONField(null=True)
    view = models.JSONField(null=True)
    created_at = models.DateTimeField()
    # When whoever runs it has surely ended; a run that is still RUNNING then is given back.
    lost_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    # When its result was handed out: at its end, or where credits were owed then, as soon as nothing was.
    released_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="tool_run_account_id", fields=["account", "id"]),
            models.UniqueConstraint(name="tool_run_one_a_hold", fields=["account", "hold"]),
            models.UniqueConstraint(name="tool_run_one_a_line", fields=["account", "entry"]),
            models.UniqueConstraint(
                name="tool_run_one_at_a_time", fields=["account", "owner"], condition=Q(state="running")
            ),
            models.CheckConstraint(
                name="tool_run_charged_when_it_succeeded",
                condition=(
                    Q(state="running", entry=None, charged_amount=None, ended_at=None, stopped_by=None)
                    | Q(
                        state="succeeded",
                        entry__isnull=False,
                        charged_amount__isnull=False,
                        cpu_seconds__isnull=False,
                        wall_seconds__isnull=False,
                        peak_memory_bytes__isnull=False,
                        ended_at__isnull=False,
                        stopped_by=None,
                    )
                    | Q(
                        state="refused",
                        entry=None,
                        charged_amount=None,
                        ended_at__isnull=False,
                        stopped_by=None,
                        wrong__isnull=False,
                    )
                    | Q(
                        state="stopped",
                        entry=None,
                        charged_amount=None,
                        ended_at__isnull=False,
                        stopped_by__isnull=False,
                    )
                ),
            ),
            models.CheckConstraint(
                name="tool_run_kept_when_it_succeeded",
                condition=Q(state="succeeded") | Q(result=None, view=None),
            ),
            models.CheckConstraint(
                name="tool_run_released_when_it_succeeded",
                condition=Q(state="succeeded") | Q(released_at=None),
            ),
            models.CheckConstraint(
                name="tool_run_estimate_ordered",
                condition=Q(estimate_min__gte=0)
                & Q(estimate_typical__gte=F("estimate_min"))
                & Q(estimate_max__gte=F("estimate_typical")),
            ),
            models.CheckConstraint(
                name="tool_run_charge_within_estimate",
                condition=Q(charged_amount=None)
                | (Q(charged_amount__gte=F("estimate_min")) & Q(charged_amount__lte=F("estimate_max"))),
            ),
        ]
        indexes = [
            models.Index(name="tool_run_newest", fields=["account", "-id"]),
            # With all that a tool's figures are counted from, so that they are read without the rows, which are wide.
            models.Index(
                name="tool_run_of_tool",
                fields=["tool", "-ended_at"],
                include=["state", "charged_amount", "bucket", "tool_cost"],
            ),
            models.Index(
                name="tool_run_begun",
                fields=["created_at"],
                include=["tool", "owner", "state", "charged_amount", "wall_seconds"],
            ),
            models.Index(name="tool_run_of_owner", fields=["owner"]),
            # What staff look for among the many that went well.
            models.Index(
                name="tool_run_unpaid", fields=["state", "-id"], condition=Q(state__in=["refused", "stopped"])
            ),
            models.Index(name="tool_run_stopped", fields=["stopped_by", "-id"], condition=Q(stopped_by__isnull=False)),
            models.Index(name="tool_run_lost", fields=["lost_at"], condition=Q(state="running")),
            models.Index(
                name="tool_run_kept", fields=["released_at"], condition=Q(result__isnull=False, state="succeeded")
            ),
            models.Index(
                name="tool_run_kept_back", fields=["account"], condition=Q(released_at=None, state="succeeded")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tool} {self.id}"

    @property
    def is_kept_back(self) -> bool:
        """Whether its result waits until nothing is owed: it was made and charged while credits were."""
        return self.state == self.State.SUCCEEDED and self.released_at is None


class ToolFile(models.Model):
    """A file that a run made, for its account alone; deleted with the result when it is no longer kept."""

    id = row_id()
    account = of_account()
    run = in_account("tools_registry.ToolRun", db_index=False)
    name = models.CharField(max_length=100)
    content_type = models.CharField(max_length=100)
    bytes = models.PositiveIntegerField()
    content = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(name="tool_file_once_a_run", fields=["account", "run", "name"])]

    def __str__(self) -> str:
        return self.name


class ToolSwitch(models.Model):
    """What staff decided of a tool; without a row it is on, for everybody."""

    tool = models.CharField(primary_key=True, max_length=100)
    is_enabled = models.BooleanField(default=True)
    # Only for people with the permission to use what is in beta.
    is_beta = models.BooleanField(default=False)
    # The slug of the least plan that it comes with, which the database asks to be there; empty: every plan, and none.
    plan_least = models.CharField(max_length=50, blank=True)
    reason = models.CharField(max_length=300, blank=True)
    changed_by = a_person(null=True)
    changed_at = models.DateTimeField()

    class Meta:
        permissions = [("use_beta_tools", "Can use tools that are in beta")]

    def __str__(self) -> str:
        return self.tool


class Usual(models.Model):
    """What runs of a tool with inputs of this size really cost, learned from the charges and counted by the worker."""

    tool = models.CharField(max_length=100)
    bucket = models.PositiveSmallIntegerField()
    runs = models.PositiveIntegerField()
    p10 = models.BigIntegerField()
    p50 = models.BigIntegerField()
    p95 = models.BigIntegerField()
    counted_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "usual costs"
        constraints = [
            models.UniqueConstraint(name="usual_once", fields=["tool", "bucket"]),
            models.CheckConstraint(name="usual_ordered", condition=Q(p50__gte=F("p10")) & Q(p95__gte=F("p50"))),
        ]

    def __str__(self) -> str:
        return f"{self.tool} {self.bucket}"
