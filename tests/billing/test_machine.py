"""Every verb, in batches, against the pure model of `model.py`: 20,000 steps, all state compared after each batch.

Hypothesis draws the seeds of programs: steps on three accounts, in groups and batches, chosen by the model's state,
with jumps of the clock between them, refusals of every kind, and groups poisoned by what the caller writes beside them.
After each batch every result, line, lot, hold, share, claw-back and spend day is what the model says; at the end of a
program the books are reconciled. HOLDFAST_MACHINE_STEPS shortens it while developing.
"""

from __future__ import annotations

import os
import pickle
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID, uuid5

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from billing import ledger, steps
from billing import models as tables
from billing.reconcile import reconcile

from . import model

STEPS = int(os.environ.get("HOLDFAST_MACHINE_STEPS", "20000"))
PROGRAM_STEPS = 200
HOUR = 3600
START = datetime(2027, 1, 30, 12, tzinfo=UTC)

pytestmark = pytest.mark.django_db

OF_HOLD = ("Capture", "Release", "ExpireHold", "CaptureLate", "Draw", "OpenShare", "CloseShare", "Renew")
JUMPS = (
    timedelta(minutes=30),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(days=1),
    timedelta(days=3),
    timedelta(days=8),
    timedelta(days=31),
    timedelta(hours=-2),
)
VERBS = (
    ["PlaceHold"] * 16
    + ["Grant"] * 11
    + ["Capture"] * 9
    + ["Charge"] * 8
    + ["Refund"] * 8
    + ["Draw"] * 7
    + ["Release"] * 5
    + ["ExpireHold"] * 5
    + ["CaptureLate"] * 5
    + ["OpenShare"] * 4
    + ["CloseShare"] * 3
    + ["ClawBack"] * 4
    + ["Keep"] * 4
    + ["Restore"] * 3
    + ["Freeze"] * 3
    + ["Thaw"] * 3
    + ["Adjust"] * 3
    + ["Forgive"] * 2
    + ["Renew"] * 2
    + ["ExpireLots"] * 1
)


MET: Counter[str] = Counter()
"""How often each line was written, each verb done and each law refused, over all programs."""


class Machine:
    """Three accounts in the database, and the same three in the model."""

    def __init__(self, users: list[int], seed: int) -> None:
        self.chance = Random(seed)
        self.clock = START
        self.users = users
        self.ids = sorted(tables.Account.objects.create().id for _ in range(3))
        self.accounts = [model.Account(START, open_holds_max=6) for _ in self.ids]
        self.payments: dict[tuple[int, str], UUID] = {}
        self.placed: list[list[UUID]] = [[], [], []]
        self.clawed: list[list[UUID]] = [[], [], []]
        self.made = 0
        if self.chance.random() < 0.5:
            self.limit(0, model.Limit("plan", None, 8, 14, 25))
            self.limit(0, model.Limit("member", users[0], None, 12, None))
            self.limit(1, model.Limit("person", None, None, 20, 30))
            self.limit(2, model.Limit("plan", None, 5, None, None))
            self.limit(2, model.Limit("staff", None, 15, 40, None))

    def limit(self, at: int, limit: model.Limit) -> None:
        self.accounts[at].limits.append(limit)
        tables.SpendLimit.objects.create(
            account_id=self.ids[at],
            source=limit.source,
            user_id=limit.user,
            per_run=limit.per_run,
            per_day=limit.per_day,
            per_month=limit.per_month,
        )

    def new_id(self) -> UUID:
        self.made += 1
        return uuid5(self.ids[0], str(self.made))

    # Chance read as steps: mostly what can be done in the model's state, now and then what cannot

    def amount(self, at: int, sensible: int) -> int:
        chance = self.chance
        if chance.random() < 0.85:
            return chance.randint(0, max(1, sensible))
        return chance.choice((-1, 0, sensible, sensible + 1, self.accounts[at].available, 10**15 + 1))

    def step(self, at: int) -> tuple[steps.Step, steps.Step]:
        """A step for the ledger and the same for the model, which names payments by their references."""
        account, chance = self.accounts[at], self.chance
        verb = chance.choice(VERBS)
        if not self.has_object(at, verb) and chance.random() < 0.93:
            verb = "Grant" if account.available < 8 else "PlaceHold"
        if account.debt and chance.random() < 0.3:
            verb = "Forgive"
        user = chance.choice((None, *self.users))
        if verb in OF_HOLD:
            return self.step_of_hold(at, verb)
        if verb in ("Freeze", "Thaw", "ClawBack", "Keep"):
            return self.step_of_payment(at, verb)
        if verb == "Refund":
            lines = [line for line in account.lines if line.made and line.kind in model.SPENDING]
            lines = lines if chance.random() < 0.9 else [line for line in account.lines if line.made]
            line = chance.choice(lines) if lines else None
            amount = None if chance.random() < 0.3 else self.amount(at, line.amount - line.refunded if line else 0)
            is_known = line is not None and chance.random() < 0.97
            step: Any = steps.Refund(entry=line.made if is_known and line else self.new_id(), amount=amount, user=user)
        elif verb == "Grant":
            source = chance.choice(("pack", "pack", "plan", "promotion", "gift", "staff"))
            days = chance.choice((None, None, 1, 2, 5, 40))
            number = chance.randint(0, 5)
            step = steps.Grant(
                amount=self.amount(at, 25),
                source=source,
                is_promotional=source == "promotion",
                priority=chance.choice((10, 50, 50, 90)),
                expires_at=None if days is None else self.clock + timedelta(days=days),
                payment=chance.choice((None, f"{self.ids[at]} {number}", f"{self.ids[at]} {number}", f"any {number}")),
            )
        elif verb == "PlaceHold":
            amount = self.amount(at, min(12, account.available))
            shares = chance.choice(
                (
                    *((),) * 5,
                    (("a", max(1, amount // 2)),),
                    (("a", max(1, amount // 2)), ("b", max(1, amount // 3))),
                    (("a", 1), ("a", 1)),
                )
            )
            step = steps.PlaceHold(
                id=self.new_id(),
                amount=amount,
                reference="r",
                owner=chance.choice(("desk", "token:1")),
                user=user,
                expires_in_seconds=chance.choice((HOUR, 26 * HOUR, 200 * HOUR, 1000 * HOUR)),
                shares=shares,
                is_envelope=chance.random() < 0.3,
            )
            self.placed[at].append(step.id)
        elif verb == "Restore":
            known = self.clawed[at if chance.random() < 0.9 else (at + 1) % 3]
            step = steps.Restore(claw_back=chance.choice(known) if known else self.new_id())
        else:
            reason = "" if chance.random() < 0.06 else "because"
            amount = self.amount(at, min(9, account.available))
            step = {
                "Charge": lambda: steps.Charge(amount=amount, user=user, description=chance.choice(("", "a charge"))),
                "Adjust": lambda: steps.Adjust(amount=chance.choice((amount, -amount)), reason=reason),
                "Forgive": lambda: steps.Forgive(amount=self.amount(at, account.debt), reason=reason),
                "ExpireLots": lambda: steps.ExpireLots(),
            }[verb]()
        return step, step

    def has_object(self, at: int, verb: str) -> bool:
        """Whether there is something that the verb could be done to."""
        account = self.accounts[at]
        if verb in OF_HOLD:
            state = "expired" if verb == "CaptureLate" else "open"
            of_shares = verb in ("Draw", "OpenShare", "CloseShare")
            return any(hold.state == state and (hold.is_envelope or not of_shares) for hold in account.holds.values())
        return {
            "Refund": any(line.kind in model.SPENDING for line in account.lines),
            "Freeze": bool(account.payments),
            "Thaw": bool(account.payments),
            "ClawBack": bool(account.payments),
            "Keep": any(account.lost(payment) for payment in account.payments),
            "Restore": bool(account.claw_backs),
            "Forgive": account.debt > 0,
            "Charge": account.available > 0,
        }.get(verb, True)

    def step_of_payment(self, at: int, verb: str) -> tuple[steps.Step, steps.Step]:
        chance = self.chance
        own = sorted(reference for number, reference in self.payments if number == at)
        if verb == "Keep" and chance.random() < 0.9:
            own = [reference for reference in own if self.accounts[at].lost(reference)] or own
        reference = chance.choice(own) if own and chance.random() < 0.97 else "none"
        terms: dict[str, Any] = {}
        if verb == "Keep":
            days = chance.choice((1, 5, 40))
            amount = self.amount(at, self.accounts[at].lost(reference))
            terms = {"amount": amount, "expires_at": self.clock + timedelta(days=days)}
        if verb == "ClawBack":
            others = [id for clawed in self.clawed for id in clawed]
            id = chance.choice(others) if others and chance.random() < 0.08 else self.new_id()
            self.clawed[at].append(id)
            terms = {"id": id, "amount": self.amount(at, self.accounts[at].payments.get(reference, 5))}
        step = getattr(steps, verb)(payment=self.payments.get((at, reference), self.ids[at]), **terms)
        return step, replace(step, payment=reference)

    def step_of_hold(self, at: int, verb: str) -> tuple[steps.Step, steps.Step]:
        chance = self.chance
        of_shares = verb in ("Draw", "OpenShare", "CloseShare")
        state = "expired" if verb == "CaptureLate" else "open"
        holds = self.accounts[at].holds
        fit = [hold.id for hold in holds.values() if hold.state == state and (hold.is_envelope or not of_shares)]
        if not fit or chance.random() < (0.4 if verb == "CaptureLate" else 0.15):
            # Any; also one placed in this very batch, another account's, or none at all.
            fit = self.placed[at][-12:] or self.placed[(at + 1) % 3] or [self.ids[0]]
        hold = chance.choice(fit)
        known = holds.get(hold)
        terms: dict[str, Any] = {"hold": hold}
        if known:
            terms["owner"] = chance.choice((None, None, None, known.owner, known.owner, "stranger"))
        if of_shares:
            open_shares = [name for name, share in known.shares.items() if share.state == "open"] if known else []
            is_sensible = open_shares and verb != "OpenShare" and chance.random() < 0.85
            terms["reference"] = chance.choice(open_shares if is_sensible else "abcdefgh")
        if verb in ("Draw", "OpenShare"):
            terms["amount"] = self.amount(at, 4)
        if verb in ("Capture", "CaptureLate"):
            terms["amount"] = None if chance.random() < 0.3 else self.amount(at, known.left if known else 3)
        if verb == "Renew":
            terms["expires_in_seconds"] = chance.choice((1, HOUR, 100 * HOUR))
        step = getattr(steps, verb)(**terms)
        return step, step

    # Batches

    def run(self) -> None:
        chance = self.chance
        done = 0
        while done < PROGRAM_STEPS:
            batch = []
            for _ in range(chance.choice((1, 1, 2, 3, 5, 8))):
                at = chance.randrange(3)
                of_group = [self.step(at) for _ in range(chance.choice((1, 1, 1, 2, 3)))]
                batch.append((at, of_group, chance.random() < 0.05))
                done += len(of_group)
            self.post(batch)
            if chance.random() < 0.3:
                self.jump(chance.choice(JUMPS))
            if chance.random() < 0.05:
                self.set_frozen(chance.randrange(3), True)
            elif chance.random() < 0.3:
                self.set_frozen(chance.randrange(3), False)

    def jump(self, span: timedelta) -> None:
        self.clock += span
        with connection.cursor() as cursor:
            cursor.execute('UPDATE holdfast_clock SET "offset" = %s', [self.clock - START])

    def set_frozen(self, at: int, is_frozen: bool) -> None:
        ledger.set_account_frozen(self.ids[at], is_frozen, "the machine")
        self.accounts[at].is_frozen = is_frozen

    def post(self, batch: list[tuple[int, list[tuple[steps.Step, steps.Step]], bool]]) -> None:
        if len(batch) == 1:
            batch = [(at, of_group, False) for at, of_group, _ in batch]  # alone it would raise, not be set aside
        groups = [ledger.Group(self.ids[at], [ours for ours, _ in of_group]) for at, of_group, _ in batch]
        poisoned = {id(group) for group, (_, _, is_poisoned) in zip(groups, batch, strict=True) if is_poisoned}
        lines_before = [len(account.lines) for account in self.accounts]

        def also(done: list[ledger.Outcome]) -> None:
            with connection.cursor() as cursor:
                for outcome in done:
                    if id(outcome.group) in poisoned:
                        cursor.execute("INSERT INTO billing_notice (id) VALUES (NULL)")

        outcomes = ledger.post(groups, also)
        for number in sorted(range(len(batch)), key=lambda number: batch[number][0]):
            at, of_group, is_poisoned = batch[number]
            self.compare_outcome(outcomes[number], at, [theirs for _, theirs in of_group], is_poisoned)
        for at, before in enumerate(lines_before):
            self.compare_lines(at, before)
        self.compare_rows()

    def compare_outcome(self, outcome: ledger.Outcome, at: int, of_group: list[Any], is_poisoned: bool) -> None:
        account = self.accounts[at]
        saved = pickle.dumps(account.__dict__)
        refusal = type(outcome.refusal).__name__ if outcome.refusal else None
        MET.update([refusal] if refusal else [])
        try:
            self.refuse_what_stands_elsewhere(at, of_group)
            results = account.group(of_group, self.clock)
        except model.Refused as refused:
            # Taken by another account within this very batch: the database may say so after another law has.
            is_either = refused.law in ("PaymentAlreadyGranted", "ClawBackAlreadyMade") and refusal is not None
            assert refusal == refused.law or is_either, (of_group, refusal, refused.law)  # noqa: PT017
            return
        if is_poisoned:
            account.__dict__ = pickle.loads(saved)
            assert refusal == "Quarantined"
            return
        assert refusal is None, (of_group, outcome.refusal)
        MET.update(type(step).__name__ for step in of_group)
        for theirs, ours in zip(results, outcome.results, strict=True):
            if isinstance(theirs, model.Line):
                assert isinstance(ours, ledger.book.Line)
                theirs.made = ours.id
        for step in of_group:
            if isinstance(step, steps.Grant) and step.payment is not None and (at, step.payment) not in self.payments:
                row = tables.Payment.objects.get(account=self.ids[at], reference=step.payment)
                self.payments[at, step.payment] = row.id

    def refuse_what_stands_elsewhere(self, at: int, of_group: list[Any]) -> None:
        """What is once in the world, and stands on another account."""
        others = [account for number, account in enumerate(self.accounts) if number != at]
        for number, step in enumerate(of_group):
            is_granted = isinstance(step, steps.Grant) and any(step.payment in other.payments for other in others)
            is_taken = isinstance(step, steps.ClawBack) and any(step.id in other.claw_backs for other in others)
            if is_granted or is_taken:
                # What stands before it in the group may be refused first.
                copy = model.Account(START)
                copy.__dict__ = pickle.loads(pickle.dumps(self.accounts[at].__dict__))
                copy.group(of_group[:number], self.clock)
                if is_taken and step.payment not in self.accounts[at].payments:
                    raise model.Refused("PaymentNotFound")
                raise model.Refused("PaymentAlreadyGranted" if is_granted else "ClawBackAlreadyMade")

    # The whole state

    def compare_lines(self, at: int, before: int) -> None:
        rows = tables.Entry.objects.filter(account=self.ids[at], sequence__gt=before).order_by("sequence")
        MET.update(row.kind for row in rows)
        ours = [
            (r.kind, r.amount, (r.balance_delta, r.held_delta, r.frozen_delta, r.debt_delta), r.hold_id) for r in rows
        ]
        lines = self.accounts[at].lines[before:]
        assert ours == [(line.kind, line.amount, line.deltas, line.hold) for line in lines]

    def compare_rows(self) -> None:
        numbers: dict[UUID, tuple[int, int]] = {}
        ours: list[list[Any]] = [[], [], []]
        for row in tables.Account.objects.filter(id__in=self.ids).order_by("id"):
            ours[self.ids.index(row.id)].append((row.balance, row.held, row.frozen, row.debt, row.entry_count))
        for lot in tables.Lot.objects.filter(account__in=self.ids).order_by("id"):
            at = self.ids.index(lot.account_id)
            numbers[lot.id] = (at, sum(1 for owner, _ in numbers.values() if owner == at))
            parts = (lot.amount, lot.remaining, lot.held, lot.spent, lot.expired, lot.taken, lot.repaid)
            ours[at].append((lot.source, lot.priority, parts, lot.expires_at, lot.spendable_until, lot.is_frozen))
        for hold in tables.Hold.objects.filter(account__in=self.ids).order_by("id"):
            receipt = [(numbers[lot][1], n) for lot, n in zip(hold.receipt_lots, hold.receipt_amounts, strict=True)]
            ours[self.ids.index(hold.account_id)].append(
                (hold.id, hold.state, hold.amount, hold.captured, hold.captured_late, receipt, hold.expires_at)
            )
        for share in tables.Share.objects.filter(account__in=self.ids).order_by("hold_id", "reference"):
            ours[self.ids.index(share.account_id)].append(
                (share.hold_id, share.reference, share.amount, share.state, share.drawn)
            )
        for back in tables.ClawBack.objects.filter(account__in=self.ids).order_by("id"):
            ours[self.ids.index(back.account_id)].append(
                (back.id, back.amount, back.taken, back.expired, back.debt, back.restored_by is not None)
            )
        for day in tables.SpendDay.objects.filter(account__in=self.ids).order_by("day", "user"):
            if day.spent or day.spent_capped:
                ours[self.ids.index(day.account_id)].append((day.day, day.user_id, day.spent, day.spent_capped))
        for at, account in enumerate(self.accounts):
            assert ours[at] == rows_of(account)


def rows_of(account: model.Account) -> list[Any]:
    rows: list[Any] = [(*account.values, len(account.lines))]
    for lot in account.lots:
        parts = (lot.amount, lot.remaining, account.held_of(lot), lot.spent, lot.expired, lot.taken, lot.repaid)
        rows.append((lot.source, lot.priority, parts, lot.expires_at, lot.until, lot.is_frozen))
    holds = sorted(account.holds.values(), key=lambda hold: hold.id)
    for hold in holds:
        rows.append((hold.id, hold.state, hold.amount, hold.captured, hold.late, hold.receipt, hold.expires_at))
    for hold in holds:
        for reference, share in sorted(hold.shares.items()):
            rows.append((hold.id, reference, share.amount, share.state, share.drawn))
    for id, back in sorted(account.claw_backs.items()):
        rows.append((id, back.amount, back.taken, back.expired, back.debt, back.is_restored))
    spent = account.spent_by()
    for (user, day), (all_, capped) in sorted(spent.items(), key=lambda item: (item[0][1], item[0][0] or 10**9)):
        rows.append((day, user, all_, capped))
    return rows


STILL_CLOCK = f"""
CREATE OR REPLACE FUNCTION holdfast_now() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE
  AS $$ SELECT timestamptz '{START.isoformat()}' + (SELECT "offset" FROM holdfast_clock) $$;
UPDATE holdfast_clock SET "offset" = '0'
"""


@pytest.fixture
def users(settings: Any) -> list[int]:
    """Two members; the clock stands still but for jumps (undone with the test's transaction)."""
    settings.OPEN_HOLDS_MAX = 6
    with connection.cursor() as cursor:
        cursor.execute(STILL_CLOCK)
    return [User.objects.create(username=name).id for name in ("ada", "bob")]


EVERY_LINE = set(tables.Entry.Kind.values)
EVERY_REFUSAL = {
    "AccountFrozen",
    "AccountInDebt",
    "AdjustmentExceedsAvailable",
    "AlreadyRestored",
    "CaptureExceedsHold",
    "ClawBackAlreadyMade",
    "ClawBackExceedsGrant",
    "ClawBackNotFound",
    "EntryNotFound",
    "ForgiveExceedsDebt",
    "HoldAlreadyCaptured",
    "HoldAlreadyExpired",
    "HoldAlreadyReleased",
    "HoldCapturedLate",
    "HoldNotDue",
    "HoldNotExpired",
    "HoldNotFound",
    "InsufficientCredits",
    "InvalidInstruction",
    "KeepsMoreThanExpired",
    "NotYourHold",
    "NothingToFreeze",
    "NothingToRefund",
    "PaymentAlreadyGranted",
    "PaymentNotFound",
    "Quarantined",
    "ReasonMissing",
    "RefundExceedsSpent",
    "ShareNotFound",
    "ShareNotOpen",
    "SharesExceedHold",
    "SharesStillOpen",
    "SpendLimitReached",
    "TooManyOpenHolds",
}


def test_the_ledger_does_what_the_model_does(users: list[int]) -> None:
    @settings(
        max_examples=max(1, STEPS // PROGRAM_STEPS),
        deadline=None,
        database=None,
        print_blob=True,
        # A smaller seed is not a simpler program: nothing to shrink.
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(seed=st.integers(0, 2**64))
    def program(seed: int) -> None:
        with transaction.atomic():
            machine = Machine(users, seed)
            machine.run()
            assert reconcile(machine.ids).findings == []
            transaction.set_rollback(True)

    program()
    if STEPS >= 20_000:
        # It was not going round in a corner: every line was written, every verb done, every refusal met.
        assert sorted((EVERY_LINE | EVERY_REFUSAL | set(VERBS)) - MET.keys()) == [], MET
