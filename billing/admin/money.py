"""What staff do to credits: the same verbs as everybody's, with a reason, and a second person where it is much."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django import forms
from django.core.exceptions import ObjectDoesNotExist
from django.db import transaction
from django.http import HttpRequest

from billing import alerts, approvals, audit, clock, credits, errors, ledger, tokens
from billing.models import Account, Approval, Entry, Hold, SpendLimit, Token

from .acts import STAFF_ACTS, ActForm, CreditsField, ReasonField, StaffAct, Whole, choice, moment, tick
from .parts import Figure, Section, money, when

SPENDING = ("capture", "draw", "late_capture", "charge")


def by(staff: Any) -> str:
    """A member of staff, as the statement and the trail name them."""
    return f"user:{staff.pk}"


def _account_of(instruction: dict[str, Any]) -> Account:
    return Account.objects.get(id=instruction["account"])


def _values(account: Account) -> list[Figure]:
    return [
        Figure("Available", money(account.available)),
        Figure("Held", money(account.held)),
        Figure("Frozen", money(account.frozen)),
        Figure("Owed", money(account.debt)),
    ]


def _change(account: Account, free: int, debt: int = 0) -> list[tuple[str, Any, Any]]:
    """Free credits come or go, and debt: what is owed is repaid first."""
    owed = account.debt + debt
    repaid = min(owed, max(account.available + free, 0))
    rows = [("Available", money(account.available), money(account.available + free - repaid))]
    if account.debt:
        rows.append(("Owed", money(account.debt), money(owed - repaid)))
    return rows


class OnAccount(StaffAct):
    """An act whose row is the account."""

    def account(self, row: Any) -> UUID:
        return row.id

    def now(self, row: Any) -> list[Figure]:
        return _values(row)

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        return {"account": str(row.id), "amount": cleaned["amount"], "reason": cleaned["reason"]}


# On an account


class GrantForm(ActForm):
    amount = CreditsField(label="Credits")
    source = choice(
        "Why they are given",
        [("goodwill", "Goodwill"), ("promotion", "Promotion"), ("gift", "Gift"), ("staff", "Other")],
    )
    kind = choice(
        "Kind",
        [("promotional", "Promotional: spent first, no payment behind them"), ("paid", "Paid: as if they were bought")],
    )
    expires_at = moment("Expires", required=False, help_text="UTC. Leave it empty for credits that do not expire.")

    def clean_expires_at(self) -> datetime | None:
        expires_at = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= clock.now():
            raise forms.ValidationError("Choose a time that is still to come.")
        return expires_at


class Grant(OnAccount):
    name, title, icon = "grant", "Grant credits", "add_circle"
    sentence = "A new lot of credits is the account’s. What is owed is repaid from it first."
    permission = "billing.grant_credits"
    form = GrantForm
    done = "The credits are granted."

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        expires_at = cleaned["expires_at"]
        return super().instruction(row, cleaned) | {
            "source": cleaned["source"],
            "is_promotional": cleaned["kind"] == "promotional",
            "expires_at": expires_at.isoformat() if expires_at else None,
        }

    def amount(self, row: Any, cleaned: dict[str, Any]) -> int:
        return int(cleaned["amount"])

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        account = _account_of(instruction)
        expires_at = instruction["expires_at"]
        kind = "promotional" if instruction["is_promotional"] else "paid"
        return [
            *_change(account, instruction["amount"]),
            ("New lot", "–", f"{kind}, {instruction['source']}"),
            ("It expires", "–", when(datetime.fromisoformat(expires_at)) if expires_at else "never"),
        ]


@approvals.act("grant")
def grant(instruction: dict[str, Any], asked_by: Any, approved_by: Any) -> Any:
    expires_at = instruction["expires_at"]
    return ledger.grant(
        UUID(instruction["account"]),
        amount=instruction["amount"],
        source=instruction["source"],
        is_promotional=instruction["is_promotional"],
        expires_at=datetime.fromisoformat(expires_at) if expires_at else None,
        actor=by(asked_by),
        reason=instruction["reason"],
    )


class AdjustForm(ActForm):
    direction = choice("What to do", [("add", "Add credits"), ("take", "Take credits away")])
    amount = CreditsField(label="Credits")


class Adjust(OnAccount):
    name, title, icon = "adjust", "Correct the balance", "tune"
    sentence = "A correction is a line of its own on the statement; only what is available can be taken away."
    permission = "billing.adjust_credits"
    form = AdjustForm
    done = "The balance is corrected."

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        sign = 1 if cleaned["direction"] == "add" else -1
        return super().instruction(row, cleaned) | {"amount": sign * cleaned["amount"]}

    def amount(self, row: Any, cleaned: dict[str, Any]) -> int:
        return cleaned["amount"] if cleaned["direction"] == "add" else 0

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        account = _account_of(instruction)
        if -instruction["amount"] > account.available:
            raise errors.AdjustmentExceedsAvailable(available=credits.format(account.available))
        return _change(account, instruction["amount"])


@approvals.act("adjust")
def adjust(instruction: dict[str, Any], asked_by: Any, approved_by: Any) -> Any:
    return ledger.adjust(
        UUID(instruction["account"]),
        amount=instruction["amount"],
        actor=by(asked_by),
        reason=instruction["reason"],
    )


class ForgiveForm(ActForm):
    amount = CreditsField(label="Credits to forgive")


class Forgive(OnAccount):
    name, title, icon = "forgive", "Forgive debt", "handshake"
    sentence = "So much less is owed. It cannot be taken back."
    permission = "billing.forgive_debt"
    form = ForgiveForm
    done = "The debt is forgiven."

    def is_offered(self, row: Any) -> bool:
        return bool(row.debt)

    def initial(self, row: Any) -> dict[str, Any]:
        return {"amount": credits.format(row.debt)} if row.debt else {}

    def amount(self, row: Any, cleaned: dict[str, Any]) -> int:
        return int(cleaned["amount"])

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        account = _account_of(instruction)
        if instruction["amount"] > account.debt:
            raise errors.ForgiveExceedsDebt(debt=credits.format(account.debt))
        return [("Owed", money(account.debt), money(account.debt - instruction["amount"]))]


@approvals.act("forgive")
def forgive(instruction: dict[str, Any], asked_by: Any, approved_by: Any) -> Any:
    return ledger.forgive(
        UUID(instruction["account"]), amount=instruction["amount"], actor=by(asked_by), reason=instruction["reason"]
    )


class AlreadySo(errors.BillingError):
    code = "nothing_to_change"
    sentence = "It is like that already."
    reason = "Nothing would change."
    action = "Nothing is left to do."


class FreezeAccount(OnAccount):
    name, title, icon = "freeze", "Freeze the account", "ac_unit"
    sentence = "A frozen account starts nothing and pays nothing late. What already runs is settled as it would be."
    permission = "billing.freeze_account"
    is_dangerous = True
    done = "The account is frozen."
    is_freezing = True

    def is_offered(self, row: Any) -> bool:
        return row.is_frozen is not self.is_freezing

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        return {"account": str(row.id), "reason": cleaned["reason"]}

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        words = {True: "frozen: starts nothing", False: "open"}
        return [("Account", words[_account_of(instruction).is_frozen], words[self.is_freezing])]


class LiftFreeze(FreezeAccount):
    name, title, icon = "lift_freeze", "Lift the freeze", "sunny"
    sentence = "The account may spend again."
    is_dangerous = False
    done = "The account is open again."
    is_freezing = False


def _set_frozen(instruction: dict[str, Any], is_frozen: bool) -> str:
    account = _account_of(instruction)
    if account.is_frozen is is_frozen:
        raise AlreadySo
    ledger.set_account_frozen(account.id, is_frozen, instruction["reason"][:500])
    return f"account:{account.id}"


@approvals.act("freeze")
def freeze(instruction: dict[str, Any], asked_by: Any, approved_by: Any) -> Any:
    return _set_frozen(instruction, True)


@approvals.act("lift_freeze")
def lift_freeze(instruction: dict[str, Any], asked_by: Any, approved_by: Any) -> Any:
    return _set_frozen(instruction, False)


SPANS = {"per_run": "A run", "per_day": "A day", "per_month": "A month"}
AT_ONCE = {"open_holds_max": "Open holds at once", "jobs_at_once_max": "Jobs at once"}
LIMITS = SPANS | AT_ONCE


class LimitForm(ActForm):
    mode = choice(
        "Which limits count",
        [("set", "Staff’s, below, instead of the plan’s"), ("remove", "The plan’s again")],
    )
    per_run = CreditsField(label="Most a run may cost", required=False, may_be_zero=True)
    per_day = CreditsField(label="Most a day", required=False, may_be_zero=True, help_text="The day is UTC’s.")
    per_month = CreditsField(
        label="Most a month", required=False, may_be_zero=True, help_text="Empty means no limit of that kind."
    )
    open_holds_max = Whole(label="Open holds at once", min_value=1, max_value=10_000, required=False)
    jobs_at_once_max = Whole(label="Jobs at once", min_value=1, max_value=10_000, required=False)
    lifts_ceiling = tick(
        "Lift the ceiling before a first settled payment",
        help_text="Runs at outside providers cost us money; from then on only the limits above bound them.",
    )


class LimitAccount(OnAccount):
    name, title, icon = "limit", "Set staff’s limits", "speed"
    sentence = (
        "Staff’s limits replace the plan’s and bind everything the account spends. People’s own only tighten them. The "
        "ceiling on runs at outside providers, until a first payment has settled, stays unless it is lifted here."
    )
    permission = "billing.limit_account"
    form = LimitForm
    done = "The limits are set."

    def initial(self, row: Any) -> dict[str, Any]:
        limit = SpendLimit.objects.filter(account=row, source="staff").first()
        if limit is None:
            return {"mode": "set"}
        known = {name: getattr(limit, name) for name in LIMITS if getattr(limit, name) is not None}
        ticked = {"mode": "set", "lifts_ceiling": limit.lifts_ceiling}
        return ticked | {name: credits.format(most) if name in SPANS else most for name, most in known.items()}

    def now(self, row: Any) -> list[Figure]:
        return []

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        is_set = cleaned["mode"] == "set"
        limits = {name: cleaned[name] for name in (*LIMITS, "lifts_ceiling")} if is_set else None
        return {"account": str(row.id), "reason": cleaned["reason"], "limits": limits}

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        def words(limits: dict[str, int | None] | None, name: str) -> str:
            if limits is None:
                return "the plan’s"
            most = limits.get(name)
            if most is None:
                return "no limit"
            return f"{credits.display(most)} credits" if name in SPANS else str(most)

        def on_ceiling(limits: dict[str, Any] | None) -> str:
            return "lifted" if limits is not None and limits.get("lifts_ceiling") else "binds until a payment settled"

        of_staff = SpendLimit.objects.filter(account=instruction["account"], source="staff")
        known, wanted = of_staff.values(*LIMITS, "lifts_ceiling").first(), instruction["limits"]
        return [
            *((title, words(known, name), words(wanted, name)) for name, title in LIMITS.items()),
            ("Ceiling at outside providers", on_ceiling(known), on_ceiling(wanted)),
        ]


@approvals.act("limit")
def limit(instruction: dict[str, Any], asked_by: Any, approved_by: Any) -> Any:
    """The account's lock is taken by who carries this out, so that no hold is placed in between."""
    account, limits = UUID(instruction["account"]), instruction["limits"]
    if limits is None:
        if not SpendLimit.objects.filter(account=account, source="staff").delete()[0]:
            raise AlreadySo
    else:
        SpendLimit.objects.update_or_create(account_id=account, source="staff", user=None, defaults=limits)
    return f"account:{account}"


# On a line


def left_to_refund(entry: Entry) -> int:
    """What a spending line took and was not given back, in microcredits."""
    if entry.kind not in SPENDING:
        return 0
    given = sum(Entry.objects.filter(account=entry.account_id, refunds=entry.id).values_list("amount", flat=True))
    return -sum(entry.remaining_deltas) - given


class RefundForm(ActForm):
    amount = CreditsField(label="Credits to give back")


class Refund(StaffAct):
    name, title, icon = "refund", "Refund", "undo"
    sentence = "The credits go back into the lots they came from, and may be spent for seven days at least."
    permission = "billing.refund_entry"
    form = RefundForm
    done = "The credits are back."

    def is_offered(self, row: Any) -> bool:
        return left_to_refund(row) > 0

    def account(self, row: Any) -> UUID:
        return row.account_id

    def initial(self, row: Any) -> dict[str, Any]:
        left = left_to_refund(row)
        return {"amount": credits.format(left)} if left else {}

    def now(self, row: Any) -> list[Figure]:
        taken = -sum(row.remaining_deltas) if row.kind in SPENDING else 0
        left = left_to_refund(row)
        return [
            Figure("Taken by this line", money(taken)),
            Figure("Given back before", money(taken - left)),
            Figure("Left to refund", money(left)),
        ]

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        return {
            "account": str(row.account_id),
            "entry": str(row.id),
            "amount": cleaned["amount"],
            "reason": cleaned["reason"],
        }

    def amount(self, row: Any, cleaned: dict[str, Any]) -> int:
        return int(cleaned["amount"])

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        entry = Entry.objects.get(account=instruction["account"], id=instruction["entry"])
        if entry.kind not in SPENDING:
            raise errors.NothingToRefund(kind=entry.kind)
        left = left_to_refund(entry)
        if instruction["amount"] > left:
            raise errors.RefundExceedsSpent(left=credits.format(left))
        return [
            *_change(_account_of(instruction), instruction["amount"]),
            ("Left to refund", money(left), money(left - instruction["amount"])),
        ]


@approvals.act("refund")
def refund(instruction: dict[str, Any], asked_by: Any, approved_by: Any) -> Any:
    return ledger.refund(
        UUID(instruction["account"]),
        entry=UUID(instruction["entry"]),
        amount=instruction["amount"],
        actor=by(asked_by),
        reason=instruction["reason"],
    )


# On a hold of the API


class NotAnApiHold(errors.BillingError):
    code = "not_an_api_hold"
    sentence = "This hold belongs to a job, so it is ended there."
    reason = "A job’s hold is moved by its job alone; otherwise the two would disagree."
    action = "Open the job and settle or release it there."


def is_of_api(hold: Hold) -> bool:
    """Whether the hold was placed over the API by a person or a service, and no job stands on it."""
    return hold.owner.startswith(("user:", "service:", "token:"))


class EndHold(StaffAct):
    permission = "billing.end_hold"

    def is_offered(self, row: Any) -> bool:
        return row.state == Hold.State.OPEN and is_of_api(row)

    def account(self, row: Any) -> UUID:
        return row.account_id

    def now(self, row: Any) -> list[Figure]:
        return [
            Figure("Held", money(row.left)),
            Figure("Captured", money(row.captured)),
            Figure("Placed by", row.owner),
            Figure("Ends", when(row.expires_at)),
        ]

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        return {"account": str(row.account_id), "hold": str(row.id), "reason": cleaned["reason"]}

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        hold, account = _open_api_hold(instruction), _account_of(instruction)
        return [
            ("Held", money(account.held), money(account.held - hold.left)),
            *_change(account, hold.left),
        ]


def _open_api_hold(instruction: dict[str, Any]) -> Hold:
    hold = Hold.objects.get(account=instruction["account"], id=instruction["hold"])
    if not is_of_api(hold):
        raise NotAnApiHold(owner=hold.owner)
    return hold


class ReleaseHold(EndHold):
    name, title, icon = "release", "Release the hold", "lock_open"
    sentence = "The credits are given back. The service that placed the hold is told so when it next asks."
    done = "The hold is released."


class ExpireHold(EndHold):
    name, title, icon = "expire", "Expire the hold", "timer_off"
    sentence = "A hold past its end expires and its credits are given back; it may still be captured late."
    done = "The hold has expired."

    def is_offered(self, row: Any) -> bool:
        return super().is_offered(row) and row.expires_at <= clock.now()


@approvals.act("release")
def release(instruction: dict[str, Any], asked_by: Any, approved_by: Any) -> Any:
    hold = _open_api_hold(instruction)
    return ledger.release(
        hold.account_id, hold=hold.id, owner=hold.owner, actor=by(asked_by), reason=instruction["reason"]
    )


@approvals.act("expire")
def expire(instruction: dict[str, Any], asked_by: Any, approved_by: Any) -> Any:
    hold = _open_api_hold(instruction)
    return ledger.expire_hold(
        hold.account_id, hold=hold.id, owner=hold.owner, actor=by(asked_by), reason=instruction["reason"]
    )


# On a token, an alert


class RevokeToken(StaffAct):
    name, title, icon = "revoke", "Revoke the token", "key_off"
    sentence = "The token opens nothing any more. This cannot be undone; its owner can make another."
    permission = "billing.revoke_token"
    is_dangerous = True
    done = "The token is revoked."

    def is_offered(self, row: Any) -> bool:
        return row.revoked_at is None

    def account(self, row: Any) -> UUID:
        return row.account_id

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        return {"account": str(row.account_id), "token": str(row.id), "reason": cleaned["reason"]}

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        token = Token.objects.get(id=instruction["token"])
        return [("Token", "revoked" if token.revoked_at else "opens the account", "revoked")]


@approvals.act("revoke")
def revoke(instruction: dict[str, Any], asked_by: Any, approved_by: Any) -> Any:
    token = Token.objects.get(account=instruction["account"], id=instruction["token"])
    if not tokens.revoke(token):
        raise AlreadySo
    return f"token:{token.id}"


class ClearAlert(StaffAct):
    name, title, icon = "clear", "Close the alert", "notifications_off"
    sentence = "It has been looked at. It opens again by itself when it happens again."
    permission = "billing.clear_alert"
    done = "The alert is closed."

    def is_offered(self, row: Any) -> bool:
        return row.cleared_at is None and alerts.kind_of(row.name).is_closed_by_staff

    def now(self, row: Any) -> list[Figure]:
        return [Figure("Alert", alerts.kind_of(row.name).title), Figure("Open since", when(row.opened_at))]

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        return {"alert": str(row.id)}

    def carry_out(self, request: HttpRequest, row: Any, cleaned: dict[str, Any]) -> str:
        with transaction.atomic():
            if not alerts.close(row.id):
                return "This was done before; nothing was done twice."
            audit.record(
                self.name, actor=by(request.user), subject=f"alert:{row.id}", facts={"reason": cleaned["reason"]}
            )
        return self.done


# On what waits for a second person


class DecisionForm(ActForm):
    reason = None
    note = ReasonField(label="Note", required=False, help_text="For your colleague and the audit trail.")


class Approve(StaffAct):
    name, title, icon = "approve", "Approve", "check_circle"
    sentence = "It is done at once, in the name of who asked for it, and yours stands beside it."
    permission = "billing.decide_approval"
    form = DecisionForm
    done = "It is approved and done."
    state = Approval.State.APPROVED

    def is_offered(self, row: Any) -> bool:
        return row.state == Approval.State.WAITING

    def account(self, row: Any) -> UUID | None:
        return row.account_id

    def now(self, row: Any) -> list[Figure]:
        asked = STAFF_ACTS.get(row.act)
        return [
            Figure("Asked for", asked.title if asked else row.act),
            Figure("By", row.asked_by),
            Figure("Credits", money(row.amount or None)),
            Figure("Why", row.reason),
        ]

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        return {"approval": str(row.id)}

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        return effect_of(Approval.objects.get(id=instruction["approval"]))

    def foresee(self, instruction: dict[str, Any]) -> list[Section]:
        return foreseen_of(Approval.objects.get(id=instruction["approval"]))

    def waits(self, request: HttpRequest, row: Any, cleaned: dict[str, Any]) -> bool:
        return False

    def carry_out(self, request: HttpRequest, row: Any, cleaned: dict[str, Any]) -> str:
        try:
            self.decide(row.id, request.user, cleaned["note"])
        except approvals.AlreadyDecided:
            row.refresh_from_db()
            if (row.state, row.decided_by_id) != (self.state, request.user.pk):
                raise
            return "This was done before; nothing was done twice."
        return self.done

    def decide(self, approval: UUID, staff: Any, note: str) -> None:
        approvals.approve(approval, staff, note)


class Decline(Approve):
    name, title, icon = "decline", "Decline", "cancel"
    sentence = "It will not be done."
    is_dangerous = True
    done = "It is declined."
    state = Approval.State.DECLINED

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        return []

    def foresee(self, instruction: dict[str, Any]) -> list[Section]:
        return []

    def decide(self, approval: UUID, staff: Any, note: str) -> None:
        approvals.decline(approval, staff, note)


def effect_of(approval: Approval) -> list[tuple[str, Any, Any]]:
    """What approving it would change now; nothing where it cannot be done any more."""
    asked = STAFF_ACTS.get(approval.act)
    try:
        return asked.effect(approval.instruction) if asked else []
    except (errors.BillingError, ObjectDoesNotExist):
        return []


def foreseen_of(approval: Approval) -> list[Section]:
    """What helps the second person to decide, as things stand now."""
    asked = STAFF_ACTS.get(approval.act)
    try:
        return asked.foresee(approval.instruction) if asked else []
    except (errors.BillingError, ObjectDoesNotExist):
        return []
