"""The vault's tables. Every law that one row can show is a named constraint here; what needs more than one row is a
trigger in migration 0002. `ledger.py` alone writes Account, Lot, Hold, Share, Entry, SpendDay, Payment and ClawBack.

Amounts are whole microcredits. Ids are UUIDv7, made here. Every account-scoped table carries `account`, and a row that
points at another row of an account does so by (account, id), so that no reference can cross accounts.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from uuid_utils.compat import uuid7

ZERO_DIGEST = bytes(32)


def new_id() -> uuid.UUID:
    """A new UUIDv7: ids sort by the time they were made."""
    return uuid7()


def zero_digest() -> bytes:
    """The digest before an account's first line."""
    return ZERO_DIGEST


def row_id() -> models.UUIDField[Any, Any]:
    return models.UUIDField(primary_key=True, default=new_id, editable=False)


def in_account(to: str, **options: Any) -> models.ForeignKey[Any, Any]:
    """A key to another row of the same account; the database's own key, (account, x) → (account, id), is SQL."""
    options.setdefault("related_name", "+")
    return models.ForeignKey(to, on_delete=models.PROTECT, db_constraint=False, **options)


def of_account() -> models.ForeignKey[Any, Any]:
    return models.ForeignKey("billing.Account", on_delete=models.PROTECT, related_name="+", db_index=False)


def a_person(**options: Any) -> models.ForeignKey[Any, Any]:
    options.setdefault("related_name", "+")
    return models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, db_index=False, **options)


class Account(models.Model):
    """One purse. This row is the lock: whoever moves anything of the account holds it."""

    id = row_id()
    name = models.CharField(max_length=200, blank=True)

    # available = balance − held − frozen. Written only together with a line of the statement.
    balance = models.BigIntegerField(default=0)
    held = models.BigIntegerField(default=0)
    frozen = models.BigIntegerField(default=0)
    debt = models.BigIntegerField(default=0)
    entry_count = models.BigIntegerField(default=0)
    digest = models.BinaryField(max_length=32, default=zero_digest)
    # The last line's created_at: no line is written before the one above, even when the machine's clock goes back.
    moved_at = models.DateTimeField(null=True, blank=True)

    # Set by staff. A frozen account starts nothing and pays nothing late; what already runs is settled.
    is_frozen = models.BooleanField(default=False)
    frozen_reason = models.CharField(max_length=500, blank=True)

    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="account_balance_not_negative", condition=Q(balance__gte=0)),
            models.CheckConstraint(name="account_held_not_negative", condition=Q(held__gte=0)),
            models.CheckConstraint(name="account_frozen_not_negative", condition=Q(frozen__gte=0)),
            models.CheckConstraint(name="account_debt_not_negative", condition=Q(debt__gte=0)),
            models.CheckConstraint(
                name="account_held_and_frozen_within_balance",
                condition=Q(balance__gte=F("held") + F("frozen")),
            ),
            models.CheckConstraint(
                name="account_debt_repaid_by_what_is_free",
                condition=Q(debt=0) | Q(balance=F("held") + F("frozen")),
            ),
            models.CheckConstraint(name="account_balance_within_range", condition=Q(balance__lte=10**17)),
            models.CheckConstraint(name="account_entry_count_not_negative", condition=Q(entry_count__gte=0)),
        ]
        permissions = [
            ("grant_credits", "Can grant credits"),
            ("adjust_credits", "Can correct a balance"),
            ("forgive_debt", "Can forgive what is owed"),
            ("freeze_account", "Can freeze an account and lift it"),
            ("limit_account", "Can set staff's spend limits"),
        ]

    def __str__(self) -> str:
        return self.name or str(self.id)

    @property
    def available(self) -> int:
        """What can be spent now, in microcredits, lots due to expire included until the next verb expires them."""
        return self.balance - self.held - self.frozen


class Membership(models.Model):
    """A person's place in an account. People belong to an account only by this row."""

    id = row_id()
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=20, default="owner", help_text="owner, or member")
    # The account that a person's own sign-up opened; each person has one.
    is_own = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="membership_once", fields=["account", "user"]),
            models.UniqueConstraint(name="membership_one_own_account", fields=["user"], condition=Q(is_own=True)),
            models.CheckConstraint(name="membership_role_known", condition=Q(role__in=["owner", "member"])),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.account}"


class Payment(models.Model):
    """A payment whose credits were granted: unique in the world, tied to one account for ever."""

    id = row_id()
    account = of_account()
    # The payment's name outside: a Checkout Session, an invoice, an import's external id.
    reference = models.CharField(max_length=255, unique=True)
    granted = models.BigIntegerField()
    sequence = models.BigIntegerField(help_text="The line that granted it")
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="payment_account_id", fields=["account", "id"]),
            models.CheckConstraint(name="payment_granted_positive", condition=Q(granted__gt=0)),
        ]

    def __str__(self) -> str:
        return self.reference


class Lot(models.Model):
    """Credits granted together. They change only with a line of the statement (trigger lot_moves_by_a_line)."""

    id = row_id()
    account = of_account()
    # plan, pack, promotion, gift, staff, goodwill: who gave them; decides nothing but a plan's caps.
    source = models.CharField(max_length=20)
    is_promotional = models.BooleanField(default=False)
    amount = models.BigIntegerField()
    remaining = models.BigIntegerField()
    held = models.BigIntegerField(default=0)
    spent = models.BigIntegerField(default=0)
    expired = models.BigIntegerField(default=0)
    taken = models.BigIntegerField(default=0)
    repaid = models.BigIntegerField(default=0)
    # Lower burns first. Set by what grants; never changes.
    priority = models.SmallIntegerField(default=50)
    granted_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    # expires_at, until credits that were held or spent come back after it (grace of seven days).
    spendable_until = models.DateTimeField(null=True, blank=True)
    # Frozen by a dispute over its payment: not spendable, not expiring.
    is_frozen = models.BooleanField(default=False)
    payment = in_account("billing.Payment", null=True, blank=True, db_index=False)
    moved_by = models.BigIntegerField(help_text="The last line that moved it")

    class Meta:
        constraints = [
            models.UniqueConstraint(name="lot_account_id", fields=["account", "id"]),
            models.CheckConstraint(name="lot_amount_positive", condition=Q(amount__gt=0)),
            models.CheckConstraint(
                name="lot_parts_add_up",
                condition=Q(
                    amount=F("remaining") + F("spent") + F("expired") + F("taken") + F("repaid"),
                ),
            ),
            models.CheckConstraint(
                name="lot_held_within_remaining", condition=Q(held__gte=0) & Q(remaining__gte=F("held"))
            ),
            models.CheckConstraint(
                name="lot_parts_not_negative",
                condition=Q(spent__gte=0) & Q(expired__gte=0) & Q(taken__gte=0) & Q(repaid__gte=0),
            ),
            models.CheckConstraint(
                name="lot_spendable_at_least_until_expiry",
                condition=(Q(expires_at=None) & Q(spendable_until=None))
                | (
                    Q(expires_at__isnull=False)
                    & Q(spendable_until__isnull=False)
                    & Q(spendable_until__gte=F("expires_at"))
                ),
            ),
            models.CheckConstraint(name="lot_source_named", condition=~Q(source="")),
        ]
        indexes = [
            models.Index(name="lot_with_credits", fields=["account"], condition=Q(remaining__gt=0)),
            models.Index(name="lot_payment", fields=["payment"], condition=Q(payment__isnull=False)),
            models.Index(name="lot_due", fields=["spendable_until"], condition=Q(remaining__gt=0) & Q(is_frozen=False)),
        ]

    def __str__(self) -> str:
        return f"{self.source} lot {self.id}"


class Hold(models.Model):
    """Credits promised to one piece of work, with the receipt of the lots that gave them.

    OPEN → CAPTURED | RELEASED | EXPIRED; an ended hold never changes again, but that an expired one may be captured
    late, once. `captured` is the first so many microcredits of the receipt, read in its order.
    """

    class State(models.TextChoices):
        OPEN = "open"
        CAPTURED = "captured"
        RELEASED = "released"
        EXPIRED = "expired"

    id = row_id()
    account = of_account()
    user = a_person(null=True, blank=True)
    # "job" for work that runs here, else the person or service that placed it; nobody else moves it.
    owner = models.CharField(max_length=100)
    reference = models.CharField(max_length=200)
    # What people read about it, and where they can look; opaque, from above.
    label = models.CharField(max_length=300, blank=True)
    link = models.CharField(max_length=300, blank=True)
    amount = models.BigIntegerField()
    captured = models.BigIntegerField(default=0)
    # Null until an expired hold is captured late; then what that took.
    captured_late = models.BigIntegerField(null=True, blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    is_envelope = models.BooleanField(default=False)
    # The price's word. Where not, free credits pay it, also late, only once the account has paid for something.
    takes_free_credits = models.BooleanField(default=True, db_default=True)
    price_version = models.UUIDField(null=True, blank=True)
    receipt_lots = ArrayField(models.UUIDField())
    receipt_amounts = ArrayField(models.BigIntegerField())
    placed_at = models.DateTimeField()
    # The UTC day whose spend it counts toward, whenever it ends.
    placed_on = models.DateField()
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    moved_by = models.BigIntegerField(help_text="The last line that moved it")

    class Meta:
        constraints = [
            models.UniqueConstraint(name="hold_account_id", fields=["account", "id"]),
            models.CheckConstraint(name="hold_amount_positive", condition=Q(amount__gt=0)),
            models.CheckConstraint(
                name="hold_captured_within_amount", condition=Q(captured__gte=0) & Q(captured__lte=F("amount"))
            ),
            models.CheckConstraint(
                name="hold_state_known", condition=Q(state__in=["open", "captured", "released", "expired"])
            ),
            models.CheckConstraint(
                name="hold_ended_at_its_end",
                condition=(Q(state="open") & Q(ended_at=None)) | (~Q(state="open") & Q(ended_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="hold_captured_late_after_expiry",
                condition=Q(captured_late=None)
                | (Q(state="expired") & Q(captured_late__gte=0) & Q(captured_late__lte=F("amount") - F("captured"))),
            ),
        ]
        indexes = [
            # Says open in other words than hold_due, which no question about one account must take for its own.
            models.Index(name="hold_open", fields=["account"], condition=Q(ended_at=None)),
            models.Index(name="hold_due", fields=["expires_at"], condition=Q(state="open")),
            models.Index(name="hold_reference", fields=["account", "reference"]),
            # What a service committed today, over all accounts.
            models.Index(
                name="hold_of_service", fields=["owner", "placed_on"], condition=Q(owner__startswith="service:")
            ),
        ]
        permissions = [("end_hold", "Can release a hold of the API, or expire one that is due")]

    def __str__(self) -> str:
        return f"hold {self.id}"

    @property
    def left(self) -> int:
        """What is still held, in microcredits."""
        return self.amount - self.captured if self.state == Hold.State.OPEN else 0


class Share(models.Model):
    """One child's part of an envelope: OPEN → DRAWN | CLOSED."""

    class State(models.TextChoices):
        OPEN = "open"
        DRAWN = "drawn"
        CLOSED = "closed"

    id = row_id()
    account = of_account()
    hold = in_account("billing.Hold", db_index=False)
    reference = models.CharField(max_length=200)
    amount = models.BigIntegerField()
    drawn = models.BigIntegerField(null=True, blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="share_account_id", fields=["account", "id"]),
            models.UniqueConstraint(name="share_reference_once", fields=["account", "hold", "reference"]),
            models.CheckConstraint(name="share_amount_positive", condition=Q(amount__gt=0)),
            models.CheckConstraint(
                name="share_drawn_when_drawn",
                condition=(Q(state="drawn") & Q(drawn__isnull=False) & Q(drawn__gte=0) & Q(drawn__lte=F("amount")))
                | (Q(state__in=["open", "closed"]) & Q(drawn=None)),
            ),
        ]
        indexes = [models.Index(name="share_open", fields=["account", "hold"], condition=Q(state="open"))]

    def __str__(self) -> str:
        return f"share {self.reference}"


class Entry(models.Model):
    """One line of an account's statement: one verb on one account. Added, never edited, deleted or truncated."""

    class Kind(models.TextChoices):
        GRANT = "grant"
        HOLD = "hold"
        DRAW = "draw"
        CAPTURE = "capture"
        RELEASE = "release"
        HOLD_EXPIRED = "hold_expired"
        LATE_CAPTURE = "late_capture"
        CHARGE = "charge"
        REFUND = "refund"
        LOT_EXPIRED = "lot_expired"
        FREEZE = "freeze"
        THAW = "thaw"
        CLAW_BACK = "claw_back"
        RESTORE = "restore"
        ADJUST = "adjust"
        FORGIVE = "forgive"
        REPAY = "repay"

    id = row_id()
    # The trigger entry_agrees_with_account proves the account with every line; a key of its own would cost twice.
    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    sequence = models.BigIntegerField()
    kind = models.CharField(max_length=12, choices=Kind.choices)
    # The line's size, never negative.
    amount = models.BigIntegerField()
    balance_delta = models.BigIntegerField()
    held_delta = models.BigIntegerField()
    frozen_delta = models.BigIntegerField()
    debt_delta = models.BigIntegerField()
    balance_after = models.BigIntegerField()
    held_after = models.BigIntegerField()
    frozen_after = models.BigIntegerField()
    debt_after = models.BigIntegerField()
    # The lots it moved, one element a lot in each of the three.
    lots = ArrayField(models.UUIDField())
    remaining_deltas = ArrayField(models.BigIntegerField())
    held_deltas = ArrayField(models.BigIntegerField())
    hold = in_account("billing.Hold", null=True, blank=True, db_index=False)
    refunds = in_account("billing.Entry", null=True, blank=True, db_index=False)
    user = a_person(null=True, blank=True)
    actor = models.CharField(max_length=100)
    occurred_at = models.DateTimeField()
    created_at = models.DateTimeField()
    # Salted hash of the texts that stand in EntryText, so that a person can be erased and the chain still verified.
    text_hash = models.BinaryField(max_length=32, null=True, blank=True)
    digest = models.BinaryField(max_length=32)

    class Meta:
        verbose_name_plural = "entries"
        constraints = [
            models.UniqueConstraint(name="entry_sequence_once", fields=["account", "sequence"]),
            models.UniqueConstraint(name="entry_account_id", fields=["account", "id"]),
            models.CheckConstraint(name="entry_sequence_positive", condition=Q(sequence__gt=0)),
            models.CheckConstraint(name="entry_amount_not_negative", condition=Q(amount__gte=0)),
        ]
        indexes = [
            models.Index(name="entry_hold", fields=["hold"], condition=Q(hold__isnull=False)),
            models.Index(name="entry_refunds", fields=["refunds"], condition=Q(refunds__isnull=False)),
        ]
        permissions = [("refund_entry", "Can refund a charge")]

    def __str__(self) -> str:
        return f"{self.kind} {self.sequence}"


class EntryText(models.Model):
    """The words of a line: erasable, while the line keeps their salted hash."""

    entry = models.OneToOneField(Entry, on_delete=models.PROTECT, primary_key=True, related_name="text")
    account = of_account()
    salt = models.BinaryField(max_length=16)
    description = models.CharField(max_length=300, blank=True)
    reason = models.CharField(max_length=1000, blank=True)

    def __str__(self) -> str:
        return self.description or self.reason


class SpendLimit(models.Model):
    """The most that may be committed in a run, a UTC day, a UTC month, and at once. Null means no limit of that kind.

    A plan's row binds what comes from plan and promotional credits; staff's row replaces the plan's and binds
    everything; person's (the account's own) and member's only tighten.
    """

    class Source(models.TextChoices):
        PLAN = "plan"
        STAFF = "staff"
        PERSON = "person"
        MEMBER = "member"

    id = row_id()
    account = of_account()
    source = models.CharField(max_length=10, choices=Source.choices)
    user = a_person(null=True, blank=True)
    per_run = models.BigIntegerField(null=True, blank=True)
    per_day = models.BigIntegerField(null=True, blank=True)
    per_month = models.BigIntegerField(null=True, blank=True)
    # How many open holds, and how many jobs under way, the account may have together: a plan's or staff's.
    open_holds_max = models.PositiveSmallIntegerField(null=True, blank=True)
    jobs_at_once_max = models.PositiveSmallIntegerField(null=True, blank=True)
    # Staff's word that the ceiling on runs at outside providers, before a first settled payment, does not bind.
    lifts_ceiling = models.BooleanField(default=False, db_default=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="spend_limit_once", fields=["account", "source", "user"], nulls_distinct=False
            ),
            models.CheckConstraint(
                name="spend_limit_member_named",
                condition=(Q(source="member") & Q(user__isnull=False)) | (~Q(source="member") & Q(user=None)),
            ),
            models.CheckConstraint(
                name="spend_limit_not_negative",
                condition=(Q(per_run=None) | Q(per_run__gte=0))
                & (Q(per_day=None) | Q(per_day__gte=0))
                & (Q(per_month=None) | Q(per_month__gte=0)),
            ),
            models.CheckConstraint(
                name="spend_limit_at_once_of_plan_or_staff",
                condition=Q(source__in=["plan", "staff"]) | Q(open_holds_max=None, jobs_at_once_max=None),
            ),
            models.CheckConstraint(
                name="spend_limit_ceiling_lifted_by_staff", condition=Q(lifts_ceiling=False) | Q(source="staff")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.source} limit"


class SpendDay(models.Model):
    """What an account's member committed on a UTC day: all of it, and the part from plan and promotional lots."""

    id = row_id()
    account = of_account()
    user = a_person(null=True, blank=True)
    day = models.DateField()
    spent = models.BigIntegerField()
    spent_capped = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="spend_day_once", fields=["account", "day", "user"], nulls_distinct=False),
            models.CheckConstraint(
                name="spend_day_capped_within_spent",
                condition=Q(spent_capped__gte=0) & Q(spent__gte=F("spent_capped")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.day}"


class ClawBack(models.Model):
    """Credits of a payment taken back for one refund or lost dispute, and whether that was undone."""

    # The id of the refund row that it is for: once in the world.
    id = models.UUIDField(primary_key=True)
    account = of_account()
    payment = in_account("billing.Payment", db_index=False)
    amount = models.BigIntegerField()
    taken = models.BigIntegerField()
    expired = models.BigIntegerField()
    debt = models.BigIntegerField()
    sequence = models.BigIntegerField()
    restored_by = models.BigIntegerField(null=True, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="claw_back_account_id", fields=["account", "id"]),
            models.CheckConstraint(
                name="claw_back_parts_add_up",
                condition=Q(amount__gt=0)
                & Q(taken__gte=0)
                & Q(expired__gte=0)
                & Q(debt__gte=0)
                & Q(amount=F("taken") + F("expired") + F("debt")),
            ),
        ]
        indexes = [models.Index(name="claw_back_payment", fields=["payment"])]

    def __str__(self) -> str:
        return f"claw-back {self.id}"


class IdempotencyKey(models.Model):
    """A client's key and what it made, kept for ever: a repeat finds the thing, another body is refused."""

    id = row_id()
    account = of_account()
    actor = models.CharField(max_length=100)
    scope = models.CharField(max_length=200, help_text="Method and path")
    key = models.CharField(max_length=255)
    fingerprint = models.BinaryField(max_length=32)
    status = models.SmallIntegerField()
    made = models.UUIDField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="idempotency_key_once", fields=["account", "actor", "scope", "key"]),
        ]

    def __str__(self) -> str:
        return self.key


class Token(models.Model):
    """A program's credential: shown once, kept as a hash. It names one account; a service token may name others."""

    class Scope(models.TextChoices):
        READ = "read"
        SPEND = "spend"
        SERVICE = "service"

    id = row_id()
    account = of_account()
    user = a_person()
    name = models.CharField(max_length=100)
    scope = models.CharField(max_length=10, choices=Scope.choices, default=Scope.READ)
    hash = models.BinaryField(max_length=32, unique=True)
    hint = models.CharField(max_length=8, help_text="Its last characters, to tell it from others")
    # Service tokens: the source's name, the operations it may use, its largest amount, its ceiling a day.
    source = models.CharField(max_length=100, blank=True)
    operations = ArrayField(models.CharField(max_length=100), default=list, blank=True)
    amount_max = models.BigIntegerField(null=True, blank=True)
    day_max = models.BigIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="token_scope_known", condition=Q(scope__in=["read", "spend", "service"])),
            models.CheckConstraint(
                name="token_service_bounded",
                condition=~Q(scope="service")
                | (~Q(source="") & Q(amount_max__isnull=False) & Q(day_max__isnull=False)),
            ),
        ]
        indexes = [models.Index(name="token_user", fields=["user"])]
        permissions = [("make_service_token", "Can make service tokens"), ("revoke_token", "Can revoke tokens")]

    def __str__(self) -> str:
        return self.name

    @property
    def speaks_as(self) -> str:
        """Who acts when this token does: the service by its name, else the token itself."""
        return f"service:{self.source}" if self.scope == Token.Scope.SERVICE else f"token:{self.id}"


class Audit(models.Model):
    """Who did, or was refused, what. Append-only."""

    id = row_id()
    account = models.ForeignKey(Account, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    actor = models.CharField(max_length=100)
    act = models.CharField(max_length=60)
    is_refusal = models.BooleanField(default=False)
    code = models.CharField(max_length=60, blank=True)
    # Microcredits that count toward what one member of staff may do alone in a day on one account.
    amount = models.BigIntegerField(default=0)
    subject = models.CharField(max_length=200, blank=True, help_text="What it was done to, as kind:id")
    facts = models.JSONField(default=dict, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "audit trail"
        indexes = [
            models.Index(name="audit_account_time", fields=["account", "-created_at"]),
            models.Index(name="audit_actor_time", fields=["actor", "-created_at"]),
        ]

    def __str__(self) -> str:
        return self.act


class Approval(models.Model):
    """A staff act that waits for, or got, its second person: WAITING → APPROVED | DECLINED."""

    class State(models.TextChoices):
        WAITING = "waiting"
        APPROVED = "approved"
        DECLINED = "declined"

    id = row_id()
    # Null for a change of a price or rule in force, which touches every account.
    account = models.ForeignKey(Account, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    act = models.CharField(max_length=60)
    amount = models.BigIntegerField()
    # What the act needs to be carried out: its own form's cleaned values, as text.
    instruction = models.JSONField()
    reason = models.CharField(max_length=1000)
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    asked_by = a_person()
    asked_at = models.DateTimeField(auto_now_add=True)
    decided_by = a_person(null=True, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    decision_note = models.CharField(max_length=1000, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="approval_by_a_second_person", condition=Q(decided_by=None) | ~Q(decided_by=F("asked_by"))
            ),
            models.CheckConstraint(
                name="approval_decided_by_someone",
                condition=(Q(state="waiting") & Q(decided_by=None))
                | (~Q(state="waiting") & Q(decided_by__isnull=False)),
            ),
        ]
        indexes = [models.Index(name="approval_waiting", fields=["state"], condition=Q(state="waiting"))]
        permissions = [("decide_approval", "Can approve or decline what a colleague asked for")]

    def __str__(self) -> str:
        return f"{self.act.replace('_', ' ').capitalize()} ({self.state})"


class Notice(models.Model):
    """Something that people of an account must know: shown in the page until seen, and sent by mail once."""

    id = row_id()
    account = of_account()
    # The same news is told once: a threshold crossed today, a lot about to expire, a job's end.
    key = models.CharField(max_length=200)
    level = models.CharField(max_length=10, default="info", help_text="info, good, warning or bad")
    title = models.CharField(max_length=200)
    body = models.TextField(blank=True)
    link = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField(null=True, blank=True)
    mailed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(name="notice_once", fields=["account", "key"])]
        indexes = [
            models.Index(name="notice_unseen", fields=["account"], condition=Q(seen_at=None)),
            models.Index(name="notice_unmailed", fields=["created_at"], condition=Q(mailed_at=None)),
        ]

    def __str__(self) -> str:
        return self.title


class Alert(models.Model):
    """Something that staff must look at: open from its first sight until it is cleared, once at a time per key."""

    id = row_id()
    name = models.CharField(max_length=60)
    key = models.CharField(max_length=200, blank=True)
    sentence = models.CharField(max_length=500)
    facts = models.JSONField(default=dict, blank=True)
    # Opened and cleared by the ledger's clock, which is the clock of what it is about.
    opened_at = models.DateTimeField(default=timezone.now, editable=False)
    mailed_at = models.DateTimeField(null=True, blank=True)
    cleared_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="alert_open_once", fields=["name", "key"], condition=Q(cleared_at=None)),
        ]
        indexes = [
            models.Index(name="alert_history", fields=["name", "key"]),
            models.Index(name="alert_unmailed", fields=["opened_at"], condition=Q(mailed_at=None)),
        ]
        permissions = [("clear_alert", "Can clear alerts")]

    def __str__(self) -> str:
        return self.sentence


class ImportedAccount(models.Model):
    """A balance taken over from a replaced system, once per external id."""

    external_id = models.CharField(max_length=200, primary_key=True)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    entry = models.ForeignKey(Entry, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    fingerprint = models.BinaryField(max_length=32)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.external_id


# What is sold, and what Stripe tells of it. No row here moves a credit: ledger.py's Payment, Lot and ClawBack do.


class Pack(models.Model):
    """Credits that are bought at once. Staff change it by two people; a purchase keeps what it was sold for."""

    id = row_id()
    slug = models.SlugField(max_length=50, unique=True)
    title = models.CharField(max_length=100)
    # In the currency's smallest unit: 2500 is £25.00.
    price_minor = models.PositiveIntegerField()
    currency = models.CharField(max_length=3, default="gbp")
    credits = models.BigIntegerField()
    keep_months = models.PositiveSmallIntegerField(default=12, help_text="How long its credits can be spent")
    stripe_price = models.CharField(max_length=255, blank=True)
    position = models.PositiveSmallIntegerField(default=100)
    is_offered = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="pack_price_positive", condition=Q(price_minor__gt=0)),
            models.CheckConstraint(name="pack_credits_positive", condition=Q(credits__gt=0)),
        ]
        ordering = ["position", "price_minor"]

    def __str__(self) -> str:
        return self.title


class Plan(models.Model):
    """Credits a month, and the limits that come with them. A price of 0 is allocated here, without Stripe."""

    id = row_id()
    slug = models.SlugField(max_length=50, unique=True)
    title = models.CharField(max_length=100)
    price_minor = models.PositiveIntegerField(help_text="A month, in the currency's smallest unit")
    currency = models.CharField(max_length=3, default="gbp")
    monthly_credits = models.BigIntegerField()
    # What of plan and promotional credits may be spent on a day; null: no cap.
    per_day = models.BigIntegerField(null=True, blank=True)
    # What is left at a period's end is kept up to this; null: nothing is.
    rollover_max = models.BigIntegerField(null=True, blank=True)
    trial_days = models.PositiveSmallIntegerField(default=0)
    trial_credits = models.BigIntegerField(default=0, help_text="Granted as promotional for a trial's period")
    # Of these no more at once than OPEN_HOLDS_MAX, whatever stands here; null: no other limit.
    open_holds_max = models.PositiveSmallIntegerField(null=True, blank=True)
    # How many of them may be jobs that run here; null: no limit of their own.
    jobs_at_once_max = models.PositiveSmallIntegerField(null=True, blank=True)
    features = ArrayField(models.CharField(max_length=200), default=list, blank=True)
    stripe_price = models.CharField(max_length=255, blank=True)
    position = models.PositiveSmallIntegerField(default=100)
    is_offered = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="plan_credits_not_negative", condition=Q(monthly_credits__gte=0) & Q(trial_credits__gte=0)
            ),
            models.CheckConstraint(name="plan_per_day_not_negative", condition=Q(per_day=None) | Q(per_day__gte=0)),
            models.CheckConstraint(
                name="plan_jobs_at_once_positive", condition=Q(jobs_at_once_max=None) | Q(jobs_at_once_max__gt=0)
            ),
        ]
        ordering = ["position", "price_minor"]

    def __str__(self) -> str:
        return self.title


class Customer(models.Model):
    """An account at Stripe: each has one there, and each there belongs to one here, for ever."""

    account = models.OneToOneField(Account, on_delete=models.PROTECT, primary_key=True, related_name="customer")
    # Null between our commit and Stripe's answer; the account's id is the idempotency key of making it.
    stripe_customer = models.CharField(max_length=255, unique=True, null=True)
    # What an off-session payment may be made with.
    payment_method = models.CharField(max_length=255, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.stripe_customer or str(self.account_id)


class Purchase(models.Model):
    """One buying of a pack: stored before Stripe is asked, and paid once, whatever is told of it and how often.

    CREATED → OPEN (Stripe has its session or intent) → PAID | FAILED | EXPIRED. Its id is Stripe's idempotency key and
    its client_reference_id. `payment` is the grant.
    """

    class State(models.TextChoices):
        CREATED = "created"
        OPEN = "open"
        PAID = "paid"
        FAILED = "failed"
        EXPIRED = "expired"

    id = row_id()
    account = of_account()
    user = a_person(null=True, blank=True)
    pack = models.ForeignKey(Pack, on_delete=models.PROTECT, related_name="+")
    # What it was sold for, whatever the pack costs today.
    amount_minor = models.PositiveIntegerField()
    currency = models.CharField(max_length=3)
    credits = models.BigIntegerField()
    keep_months = models.PositiveSmallIntegerField()
    is_top_up = models.BooleanField(default=False, help_text="Bought by the account's auto top-up")
    # The person agreed, before they paid, that Stripe keeps the card for auto top-up.
    keeps_card = models.BooleanField(default=False)
    # Of a top-up: what it is charged to, the month's maximum that it was held against, when it was declined, and when
    # Stripe is next asked about it where nothing is heard.
    payment_method = models.CharField(max_length=255, blank=True)
    month_max_minor = models.PositiveIntegerField(null=True, blank=True)
    declined_at = models.DateTimeField(null=True, blank=True)
    ask_at = models.DateTimeField(null=True, blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.CREATED)
    # The pack's price at Stripe, which the session is opened with; empty where it is sold at a price of its own, null
    # until that is decided: what Stripe is asked for once more is the same.
    stripe_price = models.CharField(max_length=255, null=True, blank=True)
    stripe_session = models.CharField(max_length=255, unique=True, null=True, blank=True)
    stripe_intent = models.CharField(max_length=255, unique=True, null=True, blank=True)
    checkout_url = models.TextField(blank=True)
    receipt_url = models.TextField(blank=True)
    success_url = models.TextField(blank=True)
    cancel_url = models.TextField(blank=True)
    payment = in_account("billing.Payment", null=True, blank=True, db_index=False)
    created_at = models.DateTimeField()
    paid_at = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="purchase_account_id", fields=["account", "id"]),
            models.CheckConstraint(
                name="purchase_amounts_positive", condition=Q(amount_minor__gt=0) & Q(credits__gt=0)
            ),
            models.UniqueConstraint(
                name="purchase_one_top_up_waits",
                fields=["account"],
                condition=Q(is_top_up=True) & Q(state__in=["created", "open"]),
            ),
            models.CheckConstraint(
                name="purchase_top_up_has_its_terms",
                condition=(Q(is_top_up=True) & Q(month_max_minor__isnull=False) & ~Q(payment_method=""))
                | (Q(is_top_up=False) & Q(month_max_minor=None) & Q(payment_method="") & Q(declined_at=None)),
            ),
            models.CheckConstraint(
                name="purchase_top_up_keeps_no_card", condition=Q(is_top_up=False) | Q(keeps_card=False)
            ),
            models.CheckConstraint(
                name="purchase_granted_when_paid",
                condition=(Q(state="paid") & Q(payment__isnull=False) & Q(paid_at__isnull=False))
                | (~Q(state="paid") & Q(payment=None)),
            ),
        ]
        indexes = [
            models.Index(name="purchase_newest", fields=["account", "-id"]),
            models.Index(name="purchase_waiting", fields=["created_at"], condition=Q(state__in=["created", "open"])),
            models.Index(name="purchase_top_ups", fields=["account", "created_at"], condition=Q(is_top_up=True)),
        ]
        permissions = [
            ("refund_purchase", "Can refund a purchase at Stripe"),
            ("view_revenue", "Can see revenue and liability"),
        ]

    def __str__(self) -> str:
        return f"{self.credits // 1_000_000:,} credits"


class AutoTopUp(models.Model):
    """What an account buys by itself, with the card that its person let Stripe keep, once it has too few credits.

    Its owner agreed to these terms: the pack at this price, for these credits. Where the pack is another by now it buys
    nothing. A waiting one is on, and buys nothing before `waits_until`.
    """

    class Wait(models.TextChoices):
        DECLINED = "declined"
        MONTH = "month"  # the month's maximum is used up
        BURST = "burst"  # too many in a short time

    class Off(models.TextChoices):
        PERSON = "person"
        STAFF = "staff"
        DECLINED = "declined"  # three times in a row
        PACK = "pack"  # sold no more, or at another price
        RETURNED = "returned"  # a payment was given back, or is disputed
        GONE = "gone"  # who agreed to it is no owner any more

    account = models.OneToOneField(Account, on_delete=models.PROTECT, primary_key=True, related_name="auto_top_up")
    is_on = models.BooleanField(default=False)
    # Microcredits: it buys when fewer are available.
    below = models.BigIntegerField()
    pack = models.ForeignKey(Pack, on_delete=models.PROTECT, related_name="+")
    price_minor = models.PositiveIntegerField()
    currency = models.CharField(max_length=3)
    credits = models.BigIntegerField()
    # Money, in the currency's smallest unit: the most that it may spend in a UTC month, what waits to be paid included.
    month_max_minor = models.PositiveIntegerField()
    agreed_by = a_person()
    agreed_at = models.DateTimeField()
    # Our own address as the person saw it, for the page that a bank sends them back to.
    site = models.CharField(max_length=200)
    waits_until = models.DateTimeField(null=True, blank=True)
    waits_because = models.CharField(max_length=10, choices=Wait.choices, blank=True)
    off_because = models.CharField(max_length=10, choices=Off.choices, blank=True)

    class Meta:
        verbose_name = "auto top-up"
        constraints = [
            models.CheckConstraint(name="auto_top_up_below_positive", condition=Q(below__gt=0)),
            models.CheckConstraint(
                name="auto_top_up_pays_for_one",
                condition=Q(price_minor__gt=0) & Q(credits__gt=0) & Q(month_max_minor__gte=F("price_minor")),
            ),
            models.CheckConstraint(
                name="auto_top_up_brings_enough",
                condition=Q(credits__gte=F("below")),
            ),
            models.CheckConstraint(
                name="auto_top_up_says_why_it_waits",
                condition=(Q(waits_until=None) & Q(waits_because=""))
                | (Q(waits_until__isnull=False) & ~Q(waits_because="")),
            ),
            models.CheckConstraint(
                name="auto_top_up_says_why_it_is_off",
                condition=(Q(is_on=True) & Q(off_because="")) | (Q(is_on=False) & ~Q(off_because="")),
            ),
        ]
        indexes = [models.Index(name="auto_top_up_on", fields=["account"], condition=Q(is_on=True))]
        permissions = [("stop_top_up", "Can switch an account's auto top-up off")]

    def __str__(self) -> str:
        return f"Auto top-up of {self.account}"


# What a refund or a dispute is about: a pack that was bought, or a paid period of a plan.
OF_ONE_SALE = Q(purchase=None, allocation__isnull=False) | Q(purchase__isnull=False, allocation=None)


class Refunding(models.Model):
    """Money of a purchase, or of a plan's period, given back at Stripe, by us or there.

    Its id is the claw-back's, and travels in metadata.

    ASKED (stored, Stripe not asked yet) → PENDING → SUCCEEDED | FAILED. The credits are taken back when it is known to
    Stripe, once, and restored where it failed.
    """

    class State(models.TextChoices):
        ASKED = "asked"
        PENDING = "pending"
        SUCCEEDED = "succeeded"
        FAILED = "failed"

    id = row_id()
    account = of_account()
    purchase = in_account("billing.Purchase", null=True, blank=True)
    allocation = in_account("billing.Allocation", null=True, blank=True)
    stripe_refund = models.CharField(max_length=255, unique=True, null=True, blank=True)
    amount_minor = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.ASKED)
    reason = models.CharField(max_length=300, blank=True)
    made_by = a_person(null=True, blank=True)
    is_clawed_back = models.BooleanField(default=False)
    is_restored = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    class Meta:
        verbose_name = "refund"
        constraints = [
            models.UniqueConstraint(name="refunding_account_id", fields=["account", "id"]),
            models.CheckConstraint(name="refunding_amount_positive", condition=Q(amount_minor__gt=0)),
            models.CheckConstraint(name="refunding_of_one_sale", condition=OF_ONE_SALE),
            models.CheckConstraint(
                name="refunding_restored_after_claw_back", condition=Q(is_restored=False) | Q(is_clawed_back=True)
            ),
        ]
        indexes = [models.Index(name="refunding_to_send", fields=["created_at"], condition=Q(state="asked"))]

    def __str__(self) -> str:
        return self.stripe_refund or str(self.id)


class Dispute(models.Model):
    """A payment that the cardholder's bank has questioned: its lots are frozen until it is won or lost."""

    class State(models.TextChoices):
        OPEN = "open"
        WON = "won"
        LOST = "lost"

    # Also the claw-back's id where it is lost.
    id = row_id()
    account = of_account()
    purchase = in_account("billing.Purchase", null=True, blank=True)
    allocation = in_account("billing.Allocation", null=True, blank=True)
    stripe_dispute = models.CharField(max_length=255, unique=True)
    amount_minor = models.PositiveIntegerField()
    reason = models.CharField(max_length=100, blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    evidence_due_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="dispute_account_id", fields=["account", "id"]),
            models.CheckConstraint(name="dispute_amount_positive", condition=Q(amount_minor__gt=0)),
            models.CheckConstraint(name="dispute_of_one_sale", condition=OF_ONE_SALE),
            models.CheckConstraint(
                name="dispute_ended_at_its_end",
                condition=(Q(state="open") & Q(ended_at=None)) | (~Q(state="open") & Q(ended_at__isnull=False)),
            ),
        ]

    def __str__(self) -> str:
        return self.stripe_dispute


class InboxEvent(models.Model):
    """An event of Stripe as it came, signed: stored first, applied by the worker, in any order, once in effect.

    RECEIVED → APPLIED | IGNORED (we do nothing for its type) | FAILED (tried again until staff look at it).
    """

    class State(models.TextChoices):
        RECEIVED = "received"
        APPLIED = "applied"
        IGNORED = "ignored"
        FAILED = "failed"

    id = models.CharField(primary_key=True, max_length=255)  # Stripe's own: once in the world
    type = models.CharField(max_length=100)
    is_live = models.BooleanField()
    happened_at = models.DateTimeField()
    payload = models.JSONField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.RECEIVED)
    source = models.CharField(max_length=10, default="webhook", help_text="webhook, or list: found by reconciliation")
    received_at = models.DateTimeField()
    tries = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True, blank=True)
    applied_at = models.DateTimeField(null=True, blank=True)
    # What it came to, or why it failed.
    outcome = models.CharField(max_length=500, blank=True)
    mirrored_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(name="inbox_due", fields=["next_try_at"], condition=Q(state__in=["received", "failed"])),
            models.Index(name="inbox_newest", fields=["-received_at"]),
            models.Index(
                name="inbox_unmirrored",
                fields=["received_at"],
                condition=Q(mirrored_at=None) & Q(state__in=["applied", "ignored"]),
            ),
        ]
        permissions = [("replay_event", "Can have an event of Stripe applied again")]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


class Enrollment(models.Model):
    """An account's plan, from its start to its end. One is in force at a time."""

    class State(models.TextChoices):
        PENDING = "pending"  # asked for, not paid yet
        TRIAL = "trial"
        ACTIVE = "active"
        GRACE = "grace"  # a payment failed; the plan's features stay until grace_until
        PAUSED = "paused"
        ENDED = "ended"

    id = row_id()
    account = of_account()
    user = a_person(null=True, blank=True)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="+")
    # The plan from the next period on, where that was asked for.
    next_plan = models.ForeignKey(Plan, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    state = models.CharField(max_length=10, choices=State.choices)
    stripe_subscription = models.CharField(max_length=255, unique=True, null=True, blank=True)
    stripe_session = models.CharField(max_length=255, unique=True, null=True, blank=True)
    checkout_url = models.TextField(blank=True)
    # When Stripe last said how the subscription stands; what it said before that is old news.
    told_at = models.DateTimeField(null=True, blank=True)
    period_start = models.DateTimeField(null=True, blank=True)
    period_end = models.DateTimeField(null=True, blank=True)
    ends_with_period = models.BooleanField(default=False)
    grace_until = models.DateTimeField(null=True, blank=True)
    # Paid for beside another plan: over at once; undone when Stripe has ended it and has been asked for the refunds.
    is_second = models.BooleanField(default=False)
    undone_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="enrollment_account_id", fields=["account", "id"]),
            models.UniqueConstraint(
                name="enrollment_one_in_force",
                fields=["account"],
                condition=~Q(state__in=["pending", "ended"]),
            ),
            models.CheckConstraint(
                name="enrollment_ended_at_its_end",
                condition=(Q(state="ended") & Q(ended_at__isnull=False)) | (~Q(state="ended") & Q(ended_at=None)),
            ),
            models.CheckConstraint(
                name="enrollment_second_is_over",
                condition=Q(is_second=False, undone_at=None) | Q(is_second=True, state="ended"),
            ),
        ]
        indexes = [
            models.Index(name="enrollment_of_account", fields=["account"]),
            # What the worker looks for each minute.
            models.Index(name="enrollment_month_ends", fields=["period_end"], condition=Q(state="active")),
            models.Index(name="enrollment_grace_ends", fields=["grace_until"], condition=Q(state="grace")),
            models.Index(
                name="enrollment_to_undo", fields=["ended_at"], condition=Q(is_second=True) & Q(undone_at=None)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan} ({self.state})"


class PlanChange(models.Model):
    """One thing asked of Stripe about a plan that goes on: stored before it is sent, and taken there once.

    ASKED → DONE | REFUSED. One at a time for each enrollment. Credits never come by it, but by the invoice that it
    makes. What was refused may be asked for again by the same client's key: then it is ASKED once more.
    """

    class State(models.TextChoices):
        ASKED = "asked"
        DONE = "done"
        REFUSED = "refused"

    class Act(models.TextChoices):
        UPGRADE = "upgrade"
        DOWNGRADE = "downgrade"
        SWITCH_TRIAL = "switch_trial"
        CANCEL = "cancel"  # with the period
        END = "end"  # at once: nothing is paid for
        KEEP = "keep"
        RESUME = "resume"
        SETTLE = "settle"

    # With `tries` Stripe's idempotency key.
    id = row_id()
    account = of_account()
    enrollment = in_account("billing.Enrollment")
    user = a_person(null=True, blank=True)
    act = models.CharField(max_length=20, choices=Act.choices)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    # The object at Stripe and the parameters, as they are sent, also when they are sent again.
    stripe_name = models.CharField(max_length=255)
    asks = models.JSONField(default=dict, blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.ASKED)
    tries = models.PositiveSmallIntegerField(default=1)
    said = models.CharField(max_length=500, help_text="What it means, in words")
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="plan_change_account_id", fields=["account", "id"]),
            models.UniqueConstraint(
                name="plan_change_one_at_a_time", fields=["enrollment"], condition=Q(state="asked")
            ),
            models.CheckConstraint(
                name="plan_change_ended_at_its_end",
                condition=(Q(state="asked") & Q(ended_at=None)) | (~Q(state="asked") & Q(ended_at__isnull=False)),
            ),
        ]
        indexes = [models.Index(name="plan_change_newest", fields=["enrollment", "-created_at"])]

    def __str__(self) -> str:
        return f"{self.act} ({self.state})"


class Allocation(models.Model):
    """What a period of an enrollment was granted, once: a period that is told of again finds this row."""

    id = row_id()
    account = of_account()
    enrollment = in_account("billing.Enrollment")
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="+")
    # What it is for: "free 2026-11" (the month in which it begins), "month sub_… 2026-11-21 08:00:00", "upgrade in_…",
    # "trial".
    period = models.CharField(max_length=255)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    credits = models.BigIntegerField()
    # Stripe's names of the invoice and of what paid it: Stripe itself does not lead from a payment to its invoice.
    stripe_invoice = models.CharField(max_length=255, blank=True)
    stripe_intent = models.CharField(max_length=255, blank=True)
    invoice_url = models.TextField(blank=True)
    amount_minor = models.PositiveIntegerField(default=0)
    currency = models.CharField(max_length=3, blank=True)
    payment = in_account("billing.Payment", null=True, blank=True, db_index=False)
    created_at = models.DateTimeField()

    class Meta:
        verbose_name = "plan period"
        constraints = [
            models.UniqueConstraint(name="allocation_account_id", fields=["account", "id"]),
            models.UniqueConstraint(name="allocation_once_a_period", fields=["account", "period"]),
            models.UniqueConstraint(
                name="allocation_one_an_invoice", fields=["stripe_invoice"], condition=~Q(stripe_invoice="")
            ),
            models.CheckConstraint(name="allocation_credits_not_negative", condition=Q(credits__gte=0)),
        ]
        indexes = [
            models.Index(name="allocation_intent", fields=["stripe_intent"], condition=~Q(stripe_intent="")),
        ]

    def __str__(self) -> str:
        """Whose period it is, and which: "Pro, 21 Nov 2026 to 21 Dec 2026"."""
        what = "upgrade to " if self.period.startswith("upgrade ") else "trial of " if self.period == "trial" else ""
        return f"{what}{self.plan}, {self.starts_at:%-d %b %Y} to {self.ends_at:%-d %b %Y}"


# Gifts


class GiftCode(models.Model):
    """Credits for whoever has the code, which was shown once to who made it and is kept as a hash.

    Its terms never change; it is used up, expires, or is revoked by staff.
    """

    id = row_id()
    # The form that made it: all the codes of one making.
    batch = models.UUIDField()
    hash = models.BinaryField(max_length=32, unique=True)
    hint = models.CharField(max_length=8, help_text="Its last characters, to tell it from others")
    credits = models.BigIntegerField()
    uses_max = models.PositiveIntegerField(default=1, help_text="How many accounts may use it, each once")
    uses = models.PositiveIntegerField(default=0)
    keep_months = models.PositiveSmallIntegerField(default=12, help_text="How long its credits can be spent")
    expires_at = models.DateTimeField(null=True, blank=True)
    note = models.CharField(max_length=1000)
    made_by = a_person()
    approved_by = a_person(null=True, blank=True)
    made_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="gift_code_credits_positive", condition=Q(credits__gt=0)),
            models.CheckConstraint(
                name="gift_code_uses_within_most", condition=Q(uses_max__gt=0) & Q(uses__lte=F("uses_max"))
            ),
            models.CheckConstraint(
                name="gift_code_by_a_second_person", condition=Q(approved_by=None) | ~Q(approved_by=F("made_by"))
            ),
        ]
        indexes = [models.Index(name="gift_code_batch", fields=["batch"])]
        permissions = [("make_gift_code", "Can make gift codes"), ("revoke_gift_code", "Can revoke gift codes")]

    def __str__(self) -> str:
        return f"code ending in {self.hint}"


class GiftUse(models.Model):
    """An account used a gift code, once, and this line granted its credits."""

    id = row_id()
    account = of_account()
    user = a_person(null=True, blank=True)
    code = models.ForeignKey(GiftCode, on_delete=models.PROTECT, related_name="+", db_index=False)
    entry = in_account("billing.Entry", db_index=False)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="gift_use_once_an_account", fields=["code", "account"]),
            models.UniqueConstraint(name="gift_use_of_its_own_line", fields=["account", "entry"]),
        ]

    def __str__(self) -> str:
        return f"gift {self.id}"
