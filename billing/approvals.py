"""What a member of staff may do alone to an account in a day, and the second person above that.

Acts are a registry, act → what carries it out; whoever defines a staff act adds it with `@act("grant")`. An act on an
account waits when it goes over the day's sum; a change of a price or rule in force touches every account, has no sum
to be measured by, and always waits.

Locks: what stands above the account (`@act(…, first=…)`), then the account, in every way an act is carried out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from . import audit, credits, ledger, people
from .errors import AccountNotFound, ApprovalNeeded, BillingError, IdempotencyConflict, ReasonMissing
from .idempotency import fingerprint
from .models import Approval, Audit, IdempotencyKey, new_id

CarryOut = Callable[[dict[str, Any], Any, Any], Any]
"""Carries an act out: (its instruction, who asked for it, who approved it or None) → the line it wrote, a line's id,
or, as "kind:id", what else it was done to."""


def _nothing(instruction: dict[str, Any]) -> None:
    """Nothing stands above the account."""


@dataclass(frozen=True, slots=True)
class Act:
    carry_out: CarryOut
    first: Callable[[dict[str, Any]], None] = _nothing


ACTS: dict[str, Act] = {}


class OwnAccount(BillingError):
    code = "own_account"
    status = 403
    sentence = "You belong to this account, so you cannot do this to it."
    reason = "Staff never give credits to an account of their own, nor approve it."
    action = "Ask a colleague who does not belong to it."


class ApprovalNotFound(BillingError):
    code = "not_found"
    status = 404
    sentence = "There is no such approval."
    reason = "Nothing was asked for under that id."
    action = "Check the id."


class AlreadyDecided(BillingError):
    code = "already_decided"
    sentence = "This was approved or declined before."
    reason = "An approval is decided once."
    action = "Nothing is left to do."


class AskerGone(BillingError):
    code = "asker_gone"
    sentence = "Who asked for this does not work here any more."
    reason = "An act is done in the name of who asked for it."
    action = "Decline it; whoever still wants it asks anew."


class SecondPersonNeeded(BillingError):
    code = "second_person_needed"
    status = 403
    sentence = "You asked for this yourself, so someone else decides it."
    reason = "A second person approves or declines."
    action = "Ask a colleague."


def act(name: str, *, first: Callable[[dict[str, Any]], None] = _nothing) -> Callable[[CarryOut], CarryOut]:
    """The function carries out the staff act of that name, at once or when it is approved; `first` locks before it."""

    def add(function: CarryOut) -> CarryOut:
        ACTS[name] = Act(function, first)
        return function

    return add


def ask_or_do(
    act: str,
    account: UUID,
    staff: Any,
    amount: int,
    instruction: dict[str, Any],
    reason: str,
    *,
    once: UUID | None = None,
) -> Any:
    """The act is done, and returns what it made; or it waits for a second person, and ApprovalNeeded is raised.

    It waits when this act and what the person did to this account since midnight UTC come to more than
    `APPROVAL_CREDITS`. Locks the account before the sum is read, so that two acts at once cannot both be under it.
    `once` names this one request: sent again it moves nothing, and returns ledger.Repeat or raises ApprovalNeeded as
    it did. Opens its own transaction; call it outside any.
    """
    if not reason.strip():
        raise ReasonMissing
    approval = None
    with transaction.atomic(durable=True):
        ACTS[act].first(instruction)
        if not ledger.lock([account]):
            raise AccountNotFound
        key = _key(act, account, staff, instruction, reason, once)
        repeat = _repeat(key)
        if repeat is not None:
            return repeat
        if people.may(staff, account):
            raise OwnAccount
        if amount and done_today(account, staff) + amount > alone_max():
            approval = Approval.objects.create(
                account_id=account, act=act, amount=amount, instruction=instruction, reason=reason, asked_by=staff
            )
            _keep(key, 202, approval.id)
        # refusing ends

        if approval is None:
            made = ACTS[act].carry_out(instruction, staff, None)
            _note(act, account, staff, amount, reason, made)
            _keep(key, 200, made)
            return made
    _note_waiting(approval)
    raise ApprovalNeeded(approval=str(approval.id), amount=credits.format(amount))


def ask_or_do_at_large(
    act: str, staff: Any, amount: int, instruction: dict[str, Any], reason: str, *, once: UUID
) -> Any:
    """The same for credits that are no account's yet: they have a day's sum of their own.

    Locks the member of staff's own row before the sum is read. What carries the act out refuses a repeat by `once`,
    which the instruction names; an approval is asked for once under that id. Call it outside any transaction.
    """
    if not reason.strip():
        raise ReasonMissing
    approval = None
    is_new = False
    with transaction.atomic(durable=True):
        User.objects.select_for_update(no_key=True).get(pk=staff.pk)
        approval = Approval.objects.filter(id=once, asked_by=staff, act=act).first()
        is_new = approval is None and amount > 0 and done_today(None, staff) + amount > alone_max()
        if is_new:
            approval = Approval.objects.create(
                id=once, act=act, amount=amount, instruction=instruction, reason=reason, asked_by=staff
            )
        # refusing ends

        if approval is None:
            made = ACTS[act].carry_out(instruction, staff, None)
            _note(act, None, staff, amount, reason, made)
            return made
    if is_new:
        _note_waiting(approval)
    raise ApprovalNeeded(
        reason="It goes over what one member of staff may give away alone in a day.",
        approval=str(approval.id),
        amount=credits.format(amount),
        is_new=is_new,
    )


def ask(act: str, staff: Any, instruction: dict[str, Any], reason: str, *, once: UUID) -> None:
    """The act, which touches every account, waits for a second person: ApprovalNeeded is raised, always.

    Sent again with the same `once` nothing more waits.
    """
    if not reason.strip():
        raise ReasonMissing
    terms = {"act": act, "amount": 0, "instruction": instruction, "reason": reason, "asked_by": staff}
    approval, is_new = Approval.objects.get_or_create(id=once, defaults=terms)
    if not is_new and (approval.asked_by_id, approval.act, approval.instruction) != (staff.pk, act, instruction):
        raise IdempotencyConflict
    if is_new:
        _note_waiting(approval)
    raise ApprovalNeeded(
        reason="A change of a price or rule in force touches every account.", approval=str(approval.id)
    )


def approve(approval: UUID, approver: Any, note: str = "") -> Any:
    """The act is done on the second person's word; returns what it made. Locks the approval, then as the act does."""
    with transaction.atomic(durable=True):
        waiting = _waiting(approval, approver)
        if not (waiting.asked_by.is_active and waiting.asked_by.is_staff):
            raise AskerGone
        ACTS[waiting.act].first(waiting.instruction)
        _refuse_own_account(waiting, approver)
        # refusing ends

        made = ACTS[waiting.act].carry_out(waiting.instruction, waiting.asked_by, approver)
        _decide(waiting, Approval.State.APPROVED, approver, note)
        _note(waiting.act, waiting.account_id, waiting.asked_by, waiting.amount, waiting.reason, made, approver)
    return made


def decline(approval: UUID, approver: Any, note: str = "") -> None:
    """The act will not be done; the second person has said so."""
    with transaction.atomic(durable=True):
        waiting = _waiting(approval, approver)
        _refuse_own_account(waiting, approver)
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


def done_today(account: UUID | None, staff: Any) -> int:
    """What the member of staff did to the account since midnight UTC, in microcredits, approved acts included.

    Without an account: what they gave away that is no account's yet.
    """
    midnight = datetime.combine(timezone.now().astimezone(UTC).date(), datetime.min.time(), UTC)
    acts = Audit.objects.filter(account=account, actor=f"user:{staff.pk}", created_at__gte=midnight, is_refusal=False)
    return int(acts.aggregate(sum=Sum("amount"))["sum"] or 0)


def _waiting(approval: UUID, approver: Any) -> Approval:
    """The approval, locked; refused for who may not decide it."""
    waiting = Approval.objects.select_for_update(of=("self",)).select_related("asked_by").filter(id=approval).first()
    if waiting is None:
        raise ApprovalNotFound
    if waiting.state != Approval.State.WAITING:
        raise AlreadyDecided(state=waiting.state)
    if waiting.asked_by_id == approver.pk:
        raise SecondPersonNeeded
    return waiting


def _refuse_own_account(waiting: Approval, approver: Any) -> None:
    """Locks the account; neither person belongs to it."""
    if waiting.account_id is None:
        return
    ledger.lock([waiting.account_id])
    if people.may(approver, waiting.account_id) or people.may(waiting.asked_by, waiting.account_id):
        raise OwnAccount


def _decide(waiting: Approval, state: str, approver: Any, note: str) -> None:
    moved = Approval.objects.filter(id=waiting.id, state=Approval.State.WAITING).update(
        state=state, decided_by=approver, decided_at=timezone.now(), decision_note=note
    )
    assert moved == 1


def _note(
    act: str, account: UUID | None, staff: Any, amount: int, reason: str, made: Any, approver: Any = None
) -> None:
    facts = {"reason": reason} | ({"approved_by": f"user:{approver.pk}"} if approver is not None else {})
    entry = getattr(made, "id", made)
    subject = f"entry:{entry}" if isinstance(entry, UUID) else str(made or "")
    audit.record(act, account=account, actor=f"user:{staff.pk}", amount=amount, subject=subject, facts=facts)


def _note_waiting(approval: Approval) -> None:
    audit.record(
        approval.act,
        account=approval.account_id,
        actor=f"user:{approval.asked_by_id}",
        is_refusal=True,
        code=ApprovalNeeded.code,
        subject=f"approval:{approval.id}",
        facts={"amount": credits.format(approval.amount), "reason": approval.reason},
    )


# One request, once


def _key(
    act: str, account: UUID, staff: Any, instruction: dict[str, Any], reason: str, once: UUID | None
) -> IdempotencyKey | None:
    if once is None:
        return None
    return IdempotencyKey(
        account_id=account,
        actor=f"user:{staff.pk}",
        scope=f"staff {act}",
        key=str(once),
        fingerprint=fingerprint([instruction, reason]),
    )


def _repeat(key: IdempotencyKey | None) -> ledger.Repeat | None:
    """What the request was answered before; the account is locked, so nobody is between this and `_keep`."""
    if key is None:
        return None
    known = IdempotencyKey.objects.filter(account=key.account_id, actor=key.actor, scope=key.scope, key=key.key).first()
    if known is None:
        return None
    if bytes(known.fingerprint) != key.fingerprint:
        raise IdempotencyConflict
    if known.status == 202:
        raise ApprovalNeeded(approval=str(known.made))
    return ledger.Repeat(known.status, known.made)


def _keep(key: IdempotencyKey | None, status: int, made: Any) -> None:
    if key is not None:
        entry = getattr(made, "id", made)
        key.status, key.made = status, entry if isinstance(entry, UUID) else new_id()
        key.save(force_insert=True)
