"""The price list. A price is a dated row that is never edited: a new price is a new row with its date."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import Q

from billing import clock
from billing.models import new_id


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
