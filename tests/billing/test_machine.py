"""Every verb, in batches, against the pure model of `model.py`: 20,000 steps, all state compared after each batch.

Hypothesis draws programs: lists of small numbers that are read as steps on three accounts, cut into groups and batches,
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
PROGRAM_STEPS = 80
HOUR = 3600
START = datetime(2027, 1, 30, 12, tzinfo=UTC)

pytestmark = pytest.mark.django_db

NUMBER = st.integers(0, 9999)
PROGRAM = st.lists(st.tuples(NUMBER, NUMBER, NUMBER), min_size=PROGRAM_STEPS, max_size=PROGRAM_STEPS)
SOURCES = ("pack", "plan", "promotion", "gift", "staff")
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
    + ["Restore"] * 3
    + ["Freeze"] * 3
    + ["Thaw"] * 3
    + ["Adjust"] * 3
    + ["Forgive"] * 2
    + ["Renew"] * 2
    + ["ExpireLots"] * 1
)


MET: Counter[str] = Counter()
"""How often each line was written and each law refused, over all programs."""


class Machine:
    """Three accounts in the database, and the same three in the model."""

    def __init__(self, users: list[int], with_limits: bool) -> None:
        self.clock = START
        self.users = users
        self.ids = sorted(tables.Account.objects.create().id for _ in range(3))
        self.accounts = [model.Account(START, open_holds_max=6) for _ in self.ids]
        self.payments: dict[tuple[int, str], UUID] = {}
        self.holds: list[list[UUID]] = [[], [], []]
        self.claw_backs: list[list[UUID]] = [[], [], []]
        self.made = 0
        if with_limits:
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

    # Numbers read as steps

    def read(self, at: int, verb: str, x: int, y: int) -> tuple[steps.Step, steps.Step]:
        """The step for the ledger and the same for the model, which names payments by their references."""
        account = self.accounts[at]
        user = (None, *self.users)[x // 7 % (1 + len(self.users))]
        amount = y % 13 if y % 19 else (-1, account.available, account.available + 1, 10**15 + 1)[y // 19 % 4]
        if verb == "Grant":
            expires_at = (None, *(self.clock + timedelta(days=days) for days in (1, 2, 5, 40)))[x % 5]
            payment = (None, f"{self.ids[at]} {x // 5 % 4}", f"{self.ids[0]} shared {x // 5 % 3}")[x // 20 % 3]
            step: Any = steps.Grant(
                amount=y % 21 if y % 19 else amount,
                source=SOURCES[x // 60 % 5],
                is_promotional=SOURCES[x // 60 % 5] == "promotion",
                priority=(10, 50, 50, 90)[y // 21 % 4],
                expires_at=expires_at,
                payment=payment,
            )
            return step, step
        if verb == "PlaceHold":
            shares = ((), (), (("a", y % 5),), (("a", 2), ("b", y % 4)), (("a", 1), ("a", 1)))[x % 5 if x % 3 else 0]
            step = steps.PlaceHold(
                id=self.new_id(),
                amount=amount,
                reference="r",
                owner=("job", "token:1")[x % 2],
                user=user,
                expires_in_seconds=(HOUR, 26 * HOUR, 200 * HOUR, 1000 * HOUR)[x // 5 % 4],
                shares=shares,
            )
            self.holds[at].append(step.id)
            return step, step
        if verb in ("Capture", "Release", "ExpireHold", "CaptureLate", "Draw", "OpenShare", "CloseShare", "Renew"):
            return self.read_of_hold(at, verb, x, y)
        if verb == "Refund":
            lines = [line for line in account.lines if line.made and (line.kind in model.SPENDING or x % 11 == 0)]
            entry = lines[x % len(lines)].made if lines and x % 29 else self.new_id()
            step = steps.Refund(entry=entry, amount=None if y % 5 == 0 else amount, user=user)
            return step, step
        if verb in ("Freeze", "Thaw", "ClawBack"):
            known = sorted(reference for (_, reference) in self.payments)
            reference = known[x % len(known)] if known else "none"
            payment = self.payments.get((at, reference), self.ids[at])
            reference = reference if (at, reference) in self.payments else "none"
            terms: dict[str, Any] = {}
            if verb == "ClawBack":
                is_repeat = self.claw_backs[(at + x) % 3] and y % 7 == 0
                id = self.claw_backs[(at + x) % 3][-1] if is_repeat else self.new_id()
                self.claw_backs[at].append(id)
                terms = {"id": id, "amount": y % 21}
            step = getattr(steps, verb)(payment=payment, **terms)
            return step, replace(step, payment=reference)
        if verb == "Restore":
            known_backs = self.claw_backs[at if x % 9 else (at + 1) % 3]
            step = steps.Restore(claw_back=known_backs[x % len(known_backs)] if known_backs else self.new_id())
            return step, step
        reason = "" if x % 17 == 0 else "because"
        step = {
            "Charge": lambda: steps.Charge(amount=amount, user=user, description="a charge" if x % 2 else ""),
            "Adjust": lambda: steps.Adjust(amount=amount if x % 2 else -amount, reason=reason),
            "Forgive": lambda: steps.Forgive(amount=account.debt if x % 3 else amount, reason=reason),
            "ExpireLots": lambda: steps.ExpireLots(),
        }[verb]()
        return step, step

    def read_of_hold(self, at: int, verb: str, x: int, y: int) -> tuple[steps.Step, steps.Step]:
        account = self.accounts[at]
        wanted = "expired" if verb == "CaptureLate" else "open"
        needs_shares = verb in ("Draw", "OpenShare", "CloseShare")
        fit = [h.id for h in account.holds.values() if h.state == wanted and (h.is_envelope or not needs_shares)]
        # Mostly one that fits; else any, also one placed in this very batch, another account's, or none at all.
        some = fit if fit and x % 4 else (self.holds[at] or self.holds[(at + 1) % 3])
        hold = some[x // 4 % len(some)] if some else self.ids[0]
        terms: dict[str, Any] = {"hold": hold, "owner": None if x % 13 else "job"}
        if verb in ("Draw", "OpenShare", "CloseShare"):
            terms["reference"] = "abcd"[y % 4]
        if verb in ("Draw", "OpenShare"):
            terms["amount"] = y // 4 % 6 - (y % 31 == 0)
        if verb in ("Capture", "CaptureLate"):
            terms["amount"] = None if y % 3 == 0 else y // 3 % 12 - (y % 31 == 0)
        if verb == "Renew":
            terms["expires_in_seconds"] = (1, HOUR, 100 * HOUR)[y % 3]
        step = getattr(steps, verb)(**terms)
        return step, step

    # Batches

    def run(self, program: list[tuple[int, int, int]]) -> None:
        batch: list[tuple[int, list[tuple[steps.Step, steps.Step]], bool]] = []
        for cut, x, y in program:
            at = cut % 3
            verb = VERBS[cut // 3 % len(VERBS)]
            of_group = self.read(at, verb, x, y)
            if batch and batch[-1][0] == at and (x + y) % 3 == 0:
                batch[-1][1].append(of_group)
            else:
                batch.append((at, [of_group], (x * 7 + y) % 23 == 0))
            if (x + 3 * y) % 7 < 2:
                self.post(batch)
                batch = []
                if y % 5 == 0:
                    self.jump(JUMPS[x % len(JUMPS)])
                if y % 41 == 0:
                    self.set_frozen(at, x % 2 == 0)
        if batch:
            self.post(batch)

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


@settings(
    max_examples=max(1, STEPS // PROGRAM_STEPS),
    deadline=None,
    database=None,
    print_blob=True,
    # Small programs are not simpler here, and shrinking one takes many minutes: the blob repeats it.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(program=PROGRAM, with_limits=st.booleans())
def test_the_ledger_does_what_the_model_does(
    users: list[int], program: list[tuple[int, int, int]], with_limits: bool
) -> None:
    with transaction.atomic():
        machine = Machine(users, with_limits)
        machine.run(program)
        assert reconcile(machine.ids).findings == []
        transaction.set_rollback(True)


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


@pytest.mark.skipif(STEPS < 20_000, reason="a shortened machine does not meet everything")
def test_the_machine_met_every_line_and_every_refusal() -> None:
    """Runs after the machine, and says that it was not going round in a corner."""
    if not MET:
        pytest.skip("the machine ran elsewhere")
    assert (EVERY_LINE | EVERY_REFUSAL) - MET.keys() == set()
    assert min(MET[kind] for kind in EVERY_LINE) >= 20, MET
