"""What a member of staff may do alone to an account in a day, and the second person above that.

Acts are a registry, act → what carries it out; whoever defines a staff act adds it with `@act("grant")`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from . import audit, credits, ledger, people
from .errors import AccountNotFound, ApprovalNeeded, BillingError, ReasonMissing
from .models import Approval, Audit

Act = Callable[[dict[str, Any], Any, Any], Any]
"""Carries an act out: (its instruction, who asked for it, who approved it or None) → what it made."""

ACTS: dict[str, Act] = {}


class OwnAccount(BillingError):
    code = "own_account"
    status = 403
    sentence = "You belong to this account, so you cannot do this to it."
    reason = "Staff never give credits to an account of their own, nor approve it."
    action = "Ask a colleague who does not belong to it."


class AlreadyDecided(BillingError):
    code = "already_decided"
    sentence = "This was approved or declined before."
    reason = "An approval is decided once."
    action = "Nothing is left to do."


class SecondPersonNeeded(BillingError):
    code = "second_person_needed"
    status = 403
    sentence = "You asked for this yourself, so someone else decides it."
    reason = "A second person approves or declines."
    action = "Ask a colleague."


def act(name: str) -> Callable[[Act], Act]:
    """The function carries out the staff act of that name, at once or when it is approved."""

    def add(function: Act) -> Act:
        ACTS[name] = function
        return function

    return add


def ask_or_do(
    act: str,
    account: UUID,
    staff: Any,
    amount: int,
    instruction: dict[str, Any],
    reason: str,
    do: Callable[[], Any] | None = None,
) -> Any:
    """The act is done, and returns what it made; or it waits for a second person, and ApprovalNeeded is raised.

    It waits when this act and what the person did alone to this account since midnight UTC come to more than
    `APPROVAL_CREDITS`. Locks the account before the sum is read, so that two acts at once cannot both be under it.
    `do` left out: the registered act. Opens its own transaction; call it outside any.
    """
    if not reason.strip():
        raise ReasonMissing
    approval = None
    with transaction.atomic(durable=True):
        if not ledger.lock([account]):
            raise AccountNotFound
        if people.may(staff, account):
            raise OwnAccount
        if done_today(account, staff) + amount > alone_max():
            approval = Approval.objects.create(
                account_id=account, act=act, amount=amount, instruction=instruction, reason=reason, asked_by=staff
            )
        # refusing ends

        if approval is None:
            made = do() if do is not None else ACTS[act](instruction, staff, None)
            _note(act, account, staff, amount, reason, made)
            return made
    audit.record(
        act,
        account=account,
        actor=f"user:{staff.pk}",
        is_refusal=True,
        code=ApprovalNeeded.code,
        subject=f"approval:{approval.id}",
        facts={"amount": credits.format(amount), "reason": reason},
    )
    raise ApprovalNeeded(approval=str(approval.id), amount=credits.format(amount))


def approve(approval: UUID, approver: Any, note: str = "") -> Any:
    """The act is done on the second person's word; returns what it made. Locks the approval, then the account."""
    with transaction.atomic(durable=True):
        waiting = _waiting(approval, approver)
        # refusing ends

        made = ACTS[waiting.act](waiting.instruction, waiting.asked_by, approver)
        _decide(waiting, Approval.State.APPROVED, approver, note)
        _note(waiting.act, waiting.account_id, waiting.asked_by, waiting.amount, waiting.reason, made, approver)
    return made


def decline(approval: UUID, approver: Any, note: str = "") -> None:
    """The act will not be done; the second person has said so."""
    with transaction.atomic(durable=True):
        waiting = _waiting(approval, approver)
        _decide(waiting, Approval.State.DECLINED, approver, note)
        audit.record(
            "decline",
            account=waiting.account_id,
            actor=f"user:{approver.pk}",
            subject=f"approval:{waiting.id}",
            facts={"act": waiting.act, "amount": credits.format(waiting.amount), "note": note},
        )


def alone_max() -> int:
    """What one member of staff may do alone, a day and account, in microcredits."""
    return credits.parse(settings.APPROVAL_CREDITS)


def done_today(account: UUID, staff: Any) -> int:
    """What the member of staff did to the account since midnight UTC, in microcredits, approved acts included."""
    midnight = datetime.combine(timezone.now().astimezone(UTC).date(), datetime.min.time(), UTC)
    acts = Audit.objects.filter(account=account, actor=f"user:{staff.pk}", created_at__gte=midnight, is_refusal=False)
    return int(acts.aggregate(sum=Sum("amount"))["sum"] or 0)


def _waiting(approval: UUID, approver: Any) -> Approval:
    """The approval, locked and with its account's lock taken; refused for who may not decide it."""
    waiting = Approval.objects.select_for_update(of=("self",)).select_related("asked_by").filter(id=approval).first()
    if waiting is None:
        raise AccountNotFound("There is no such approval.")
    if waiting.state != Approval.State.WAITING:
        raise AlreadyDecided(state=waiting.state)
    if waiting.asked_by_id == approver.pk:
        raise SecondPersonNeeded
    ledger.lock([waiting.account_id])
    if people.may(approver, waiting.account_id) or people.may(waiting.asked_by, waiting.account_id):
        raise OwnAccount
    return waiting


def _decide(waiting: Approval, state: str, approver: Any, note: str) -> None:
    moved = Approval.objects.filter(id=waiting.id, state=Approval.State.WAITING).update(
        state=state, decided_by=approver, decided_at=timezone.now(), decision_note=note
    )
    assert moved == 1


def _note(act: str, account: UUID, staff: Any, amount: int, reason: str, made: Any, approver: Any = None) -> None:
    facts = {"reason": reason} | ({"approved_by": f"user:{approver.pk}"} if approver is not None else {})
    entry = getattr(made, "id", made)
    subject = f"entry:{entry}" if isinstance(entry, UUID) else ""
    audit.record(act, account=account, actor=f"user:{staff.pk}", amount=amount, subject=subject, facts=facts)
