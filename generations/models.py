"""The workshop's tables: a job, its attempts, its outputs, and the rules by which it is settled.

The job's columns keep the table of states of the design as one CHECK, and a trigger (migration 0002) keeps them in step
with the hold that pays for it.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from billing.models import Account, Hold, Share, new_id
from tools_registry.models import ToolCost

ANY = "any"


class SettlementRule(models.Model):
    """What an answer of a provider means for the customer, and whether the provider bills us for it.

    Rules are versioned: an edit is a new row, and the old one keeps `superseded_at`. Each of provider, operation,
    status and code may be "any"; the most specific rule wins.
    """

    class Phase(models.TextChoices):
        SUBMIT = "submit"
        POLL = "poll"

    class Outcome(models.TextChoices):
        CAPTURE = "capture"
        RELEASE = "release"
        KEEP = "keep"

    class Bills(models.TextChoices):
        YES = "yes"
        NO = "no"
        UNKNOWN = "unknown"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    phase = models.CharField(max_length=10, choices=Phase.choices)
    provider = models.CharField(max_length=50, default=ANY)
    operation = models.CharField(max_length=100, default=ANY)
    status = models.CharField(max_length=50, default=ANY)
    code = models.CharField(max_length=100, default=ANY)
    outcome = models.CharField(max_length=10, choices=Outcome.choices)
    provider_bills = models.CharField(max_length=10, choices=Bills.choices, default=Bills.UNKNOWN)
    sentence = models.CharField(max_length=300, blank=True, help_text="What the customer reads")
    alerts_staff = models.BooleanField(default=False)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    superseded_at = models.DateTimeField(null=True, blank=True)
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+", editable=False
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="settlement_rule_once_in_force",
                fields=["phase", "provider", "operation", "status", "code"],
                condition=Q(superseded_at=None),
            ),
            models.CheckConstraint(
                name="settlement_rule_captures_only_terminal_success",
                condition=~Q(outcome="capture") | Q(phase="poll", status__in=["completed", "incomplete"]),
            ),
        ]
        ordering = ["phase", "provider", "operation", "status", "code"]

    def __str__(self) -> str:
        return f"{self.phase}: {self.provider} · {self.operation} · {self.status} · {self.code} v{self.version}"


class Generation(models.Model):
    """One job, from the request to its settlement. It stands on exactly one hold or one share of a hold."""

    class State(models.TextChoices):
        QUEUED = "queued"
        SUBMITTING = "submitting"
        RUNNING = "running"
        AWAITING_SETTLEMENT = "awaiting_settlement"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"
        EXPIRED = "expired"

    class Outcome(models.TextChoices):
        CHARGED = "charged"
        REFUNDED = "refunded"
        WITHHELD = "withheld"
        WAIVED = "waived"
        EXPIRED = "expired"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_index=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    actor = models.CharField(max_length=100)
    operation = models.CharField(max_length=100)
    inputs = models.JSONField()
    provider = models.CharField(max_length=50)
    state = models.CharField(max_length=20, choices=State.choices, default=State.QUEUED)

    # What it stands on, and what it was said to cost, in microcredits.
    hold = models.ForeignKey(
        Hold, on_delete=models.PROTECT, null=True, related_name="+", db_constraint=False, db_index=False
    )
    share = models.ForeignKey(
        Share, on_delete=models.PROTECT, null=True, related_name="+", db_constraint=False, db_index=False
    )
    tool_cost = models.ForeignKey(ToolCost, on_delete=models.PROTECT, related_name="+")
    estimate_min = models.BigIntegerField()
    estimate_typical = models.BigIntegerField()
    estimate_max = models.BigIntegerField()
    explanation = models.CharField(max_length=300)

    # The trip. `claim` is the fencing token: it grows with every claim, and only its holder may write an answer down.
    claim = models.BigIntegerField(default=0)
    next_poll_at = models.DateTimeField(null=True)
    attempt_count = models.PositiveSmallIntegerField(default=0)
    submitted_at = models.DateTimeField(null=True)
    accepted_at = models.DateTimeField(null=True)
    provider_job_id = models.CharField(max_length=200, null=True)
    progress = models.PositiveSmallIntegerField(default=0)
    asked_at = models.DateTimeField(null=True, help_text="When the provider was last asked")
    answered_at = models.DateTimeField(null=True, help_text="When it last said that it is still at work")
    cancel_asked_at = models.DateTimeField(null=True)

    # The provider's first terminal word, and what it delivered. Later words only alert.
    verdict_status = models.CharField(max_length=50, null=True)
    verdict_code = models.CharField(max_length=100, null=True)
    verdict_message = models.CharField(max_length=1000, null=True)
    verdict_evidence = models.JSONField(null=True)
    verdict_at = models.DateTimeField(null=True)
    verdict_rule = models.ForeignKey(SettlementRule, on_delete=models.PROTECT, null=True, related_name="+")
    delivered = models.JSONField(null=True)
    # What the provider counted for it, for example tokens: what a price by use is made of.
    usage = models.JSONField(null=True)

    # The charge (S2.3) and what became of the job.
    credits_charged = models.BooleanField(null=True)
    charged_amount = models.BigIntegerField(null=True)
    charged_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=10, choices=Outcome.choices, null=True)
    ended_at = models.DateTimeField(null=True)
    settled_by = models.CharField(max_length=100, blank=True)
    # What the price was above the hold: our loss, never the customer's.
    loss = models.BigIntegerField(default=0)
    error_code = models.CharField(max_length=100, null=True)
    error_message = models.CharField(max_length=1000, null=True)
    waived_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    waiver_reason = models.CharField(max_length=1000, blank=True)
    # Given back by the safety net, because settling the provider's failure broke again and again (S2.5).
    is_emergency = models.BooleanField(default=False)
    # Empty, or why staff should look at it.
    review = models.CharField(max_length=300, blank=True)
    # The provider's last answer while no rule knows it: phase, status, code, message, is_word, said_at. Staff are asked
    # once for each; a known answer clears it.
    unknown_answer = models.JSONField(null=True)
    # After its settlement the provider is asked once more, to see whether it takes its word back.
    is_looked_back = models.BooleanField(default=False)

    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="generation_account_id", fields=["account", "id"]),
            models.CheckConstraint(
                name="generation_stands_on_one_hold_or_share",
                condition=Q(hold__isnull=False, share=None) | Q(hold=None, share__isnull=False),
            ),
            models.CheckConstraint(
                name="generation_estimate_ordered",
                condition=Q(estimate_min__gte=0)
                & Q(estimate_typical__gte=F("estimate_min"))
                & Q(estimate_max__gte=F("estimate_typical")),
            ),
            models.CheckConstraint(
                name="generation_charge_follows_its_state",
                condition=(
                    Q(
                        state__in=["queued", "submitting", "running"],
                        outcome=None,
                        credits_charged=None,
                        charged_amount=None,
                        charged_at=None,
                        ended_at=None,
                    )
                    | Q(
                        state="awaiting_settlement",
                        outcome__in=["expired", "withheld"],
                        credits_charged=None,
                        charged_amount=None,
                        charged_at=None,
                        ended_at=None,
                    )
                    | Q(
                        state="succeeded",
                        outcome="charged",
                        credits_charged=True,
                        charged_amount__isnull=False,
                        charged_at__isnull=False,
                        ended_at__isnull=False,
                    )
                    | Q(
                        state="succeeded",
                        outcome="waived",
                        credits_charged=False,
                        charged_amount=None,
                        charged_at__isnull=False,
                        waived_by__isnull=False,
                        ended_at__isnull=False,
                    )
                    | Q(
                        state__in=["failed", "cancelled"],
                        outcome="refunded",
                        credits_charged=False,
                        charged_amount=None,
                        charged_at__isnull=False,
                        ended_at__isnull=False,
                    )
                    | Q(
                        state="expired",
                        outcome="expired",
                        credits_charged=False,
                        charged_amount=None,
                        charged_at__isnull=False,
                        ended_at__isnull=False,
                    )
                )
                # A CHECK lets pass what it cannot tell, and of NULL nothing can be told.
                & (Q(state__in=["queued", "submitting", "running"]) | Q(outcome__isnull=False))
                & (
                    Q(state__in=["queued", "submitting", "running", "awaiting_settlement"])
                    | Q(credits_charged__isnull=False)
                ),
            ),
            models.CheckConstraint(
                name="generation_charge_within_estimate",
                condition=Q(charged_amount=None)
                | (Q(charged_amount__gte=0) & Q(charged_amount__lte=F("estimate_max"))),
            ),
            models.CheckConstraint(
                name="generation_withheld_only_after_success",
                condition=~Q(outcome="withheld") | Q(verdict_at__isnull=False),
            ),
            models.CheckConstraint(name="generation_progress_is_percent", condition=Q(progress__lte=100)),
            models.CheckConstraint(
                name="generation_emergency_only_after_failure",
                # Whatever word it was that a rule releases: a refused submission is one, and what staff have taught.
                condition=Q(is_emergency=False)
                | (
                    ~Q(verdict_status="completed")
                    & Q(outcome="refunded", verdict_at__isnull=False)
                    & Q(outcome__isnull=False, verdict_status__isnull=False)
                ),
            ),
        ]
        indexes = [
            models.Index(name="generation_newest", fields=["account", "-id"]),
            models.Index(
                name="generation_due",
                fields=["next_poll_at"],
                condition=Q(state__in=["queued", "submitting", "running", "awaiting_settlement"]),
            ),
            models.Index(name="generation_hold", fields=["hold"]),
            models.Index(name="generation_share", fields=["share"], condition=Q(share__isnull=False)),
            models.Index(
                name="generation_unsettled",
                fields=["account"],
                condition=Q(credits_charged=None),
            ),
            models.Index(
                name="generation_look_back",
                fields=["ended_at"],
                condition=Q(is_looked_back=False, credits_charged__isnull=False),
            ),
            models.Index(name="generation_review", fields=["id"], condition=~Q(review="")),
            models.Index(name="generation_unknown", fields=["id"], condition=Q(unknown_answer__isnull=False)),
            models.Index(name="generation_verdicts", fields=["verdict_at"], condition=Q(verdict_at__isnull=False)),
            # What ended in the last day: monitoring.py.
            models.Index(name="generation_ended", fields=["ended_at"], condition=Q(ended_at__isnull=False)),
            models.Index(name="generation_emergency", fields=["ended_at"], condition=Q(is_emergency=True)),
            # What came to nothing for one account lately: bounds.py.
            models.Index(
                name="generation_refused",
                fields=["account", "-verdict_at"],
                condition=Q(outcome="refunded", verdict_at__isnull=False),
            ),
        ]
        permissions = [
            ("settle_generation", "Can settle a job by hand"),
            ("waive_generation", "Can deliver an unpaid output"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def title(self) -> str:
        """The first words of what was asked for."""
        words = str(self.inputs.get("prompt") or self.operation).split()
        text = " ".join(words)
        return text if len(text) <= 60 else text[:59].rsplit(" ", 1)[0] + "…"

    @property
    def is_ended(self) -> bool:
        return self.ended_at is not None

    @property
    def is_cancellable(self) -> bool:
        """Whether asking makes sense; whether it succeeds is the provider's word."""
        return self.state in ("queued", "running") and self.verdict_at is None


class ProviderJob(models.Model):
    """A provider's job belongs to one generation in the world, for ever."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    provider = models.CharField(max_length=50)
    provider_job_id = models.CharField(max_length=200)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_index=False)
    generation = models.ForeignKey(
        Generation, on_delete=models.PROTECT, related_name="provider_jobs", db_constraint=False
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="provider_job_once", fields=["provider", "provider_job_id"]),
        ]

    def __str__(self) -> str:
        return self.provider_job_id


class Attempt(models.Model):
    """One try to submit, committed before the provider is called, so that a crash leaves a trace of it."""

    class Result(models.TextChoices):
        ACCEPTED = "accepted"
        REFUSED = "refused"
        LATER = "later"
        DOUBT = "doubt"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_index=False)
    generation = models.ForeignKey(Generation, on_delete=models.PROTECT, related_name="attempts", db_constraint=False)
    number = models.PositiveSmallIntegerField()
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    # Null while the call is under way, or was when the plug was pulled: doubt.
    result = models.CharField(max_length=10, choices=Result.choices, null=True)
    evidence = models.JSONField(default=dict)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="attempt_number_once", fields=["account", "generation", "number"]),
        ]

    def __str__(self) -> str:
        return f"attempt {self.number}"


class Output(models.Model):
    """A file that a job delivered: private until its capture, late capture or waiver releases it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_index=False)
    generation = models.ForeignKey(Generation, on_delete=models.PROTECT, related_name="outputs", db_constraint=False)
    position = models.PositiveSmallIntegerField(default=0)
    file = models.CharField(max_length=200)
    content_type = models.CharField(max_length=100)
    bytes = models.BigIntegerField()
    seconds = models.DecimalField(max_digits=10, decimal_places=3, null=True)
    width = models.PositiveIntegerField(null=True)
    height = models.PositiveIntegerField(null=True)
    stored_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="output_position_once", fields=["account", "generation", "position"]),
        ]
        indexes = [
            models.Index(name="output_kept", fields=["stored_at"], condition=Q(deleted_at=None)),
            models.Index(
                name="output_unreleased", fields=["generation"], condition=Q(released_at=None, deleted_at=None)
            ),
        ]

    def __str__(self) -> str:
        return self.file


class SettlementFailure(models.Model):
    """A try to settle a job that broke. Added outside the transaction that broke, never changed."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_index=False)
    generation = models.ForeignKey(
        Generation, on_delete=models.PROTECT, related_name="settlement_failures", db_constraint=False
    )
    occurred_at = models.DateTimeField()
    error = models.CharField(max_length=500)

    class Meta:
        indexes = [models.Index(name="settlement_failure_when", fields=["occurred_at"])]

    def __str__(self) -> str:
        return self.error


class Route(models.Model):
    """A provider that may run an operation. Staff choose which ones do, and which comes first.

    A provider that is not set up here (no key, no address) is not offered, whatever its route says.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    operation = models.CharField(max_length=100)
    provider = models.CharField(max_length=50)
    # The smallest is the default of its operation.
    position = models.PositiveSmallIntegerField(default=100)
    is_offered = models.BooleanField(default=True)
    # A graph of ComfyUI that staff put in place of the shipped one; null: the shipped one.
    graph = models.JSONField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(name="route_once", fields=["operation", "provider"])]
        ordering = ["operation", "position", "provider"]

    def __str__(self) -> str:
        return f"{self.operation} by {self.provider}"


class Circuit(models.Model):
    """A provider that answers nobody is left alone for a while: a row for each one that had to be."""

    provider = models.CharField(max_length=50, primary_key=True)
    # Null while it is closed and calls flow. One call a time is let through after `retry_at`.
    opened_at = models.DateTimeField(null=True)
    retry_at = models.DateTimeField(null=True)
    # How often in a row it was still broken when it was tried.
    openings = models.PositiveIntegerField(default=0)
    last_error = models.CharField(max_length=500, blank=True)

    def __str__(self) -> str:
        return self.provider
