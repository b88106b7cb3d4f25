"""An account for tests: its verbs, its values at a glance, and what a verb may and may not have moved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest

from billing import book, errors, ledger, steps
from billing.models import Account, ClawBack, Entry, Hold, IdempotencyKey, Lot, Payment, Share, SpendDay

HOUR = 3600


class Purse:
    """One account; amounts are microcredits."""

    def __init__(self, **fields: Any) -> None:
        self.id: UUID = Account.objects.create(**fields).id

    # What stands in the database

    @property
    def account(self) -> Account:
        return Account.objects.get(id=self.id)

    @property
    def values(self) -> tuple[int, int, int, int]:
        """balance, held, frozen, debt."""
        account = self.account
        return account.balance, account.held, account.frozen, account.debt

    @property
    def available(self) -> int:
        return self.account.available

    @property
    def lines(self) -> list[Entry]:
        return list(Entry.objects.filter(account=self.id).order_by("sequence"))

    @property
    def kinds(self) -> list[str]:
        return [line.kind for line in self.lines]

    def lot(self, lot: UUID) -> Lot:
        return Lot.objects.get(account=self.id, id=lot)

    def hold(self, hold: UUID) -> Hold:
        return Hold.objects.get(account=self.id, id=hold)

    def payment(self, reference: str) -> UUID:
        return Payment.objects.get(account=self.id, reference=reference).id

    def spent(self, user: int | None = None) -> tuple[int, int]:
        """Committed on all days together, by one member or by nobody: all of it, and what a plan's limit binds."""
        days = list(SpendDay.objects.filter(account=self.id, user=user))
        return sum(day.spent for day in days), sum(day.spent_capped for day in days)

    def everything(self) -> dict[str, list[dict[str, Any]]]:
        """Every row of the account, for comparing before and after."""
        return {
            model.__name__: list(model.objects.filter(**{key: self.id}).order_by("pk").values())
            for model, key in (
                (Account, "id"),
                (Lot, "account"),
                (Hold, "account"),
                (Share, "account"),
                (Entry, "account"),
                (SpendDay, "account"),
                (Payment, "account"),
                (ClawBack, "account"),
                (IdempotencyKey, "account"),
            )
        }

    # Verbs, with the terms that a test does not care about filled in

    def grant(self, amount: int, **terms: Any) -> UUID:
        """A new lot's id."""
        line = ledger.grant(self.id, **{"amount": amount, "source": "pack"} | terms)
        return Entry.objects.get(id=line).lots[0]

    def place(self, amount: int, **terms: Any) -> UUID:
        """A new hold's id."""
        defaults = {"amount": amount, "reference": "a job", "owner": "job", "expires_in_seconds": HOUR}
        hold = ledger.place_hold(self.id, **defaults | terms).of_hold
        assert hold is not None
        return hold.id

    def capture(self, hold: UUID, amount: int | None = None, **terms: Any) -> book.Line:
        return ledger.capture(self.id, hold=hold, amount=amount, **terms)

    def release(self, hold: UUID, **terms: Any) -> book.Line:
        return ledger.release(self.id, hold=hold, **terms)

    def charge(self, amount: int, **terms: Any) -> book.Line:
        return ledger.charge(self.id, amount=amount, **terms)

    def refund(self, entry: UUID, amount: int | None = None, **terms: Any) -> book.Line:
        return ledger.refund(self.id, entry=entry, amount=amount, **terms)

    def post(self, *of_group: steps.Step) -> ledger.Outcome:
        return ledger.post_one(self.id, *of_group)

    # Assertions

    @contextmanager
    def moves(
        self, *, balance: int = 0, held: int = 0, frozen: int = 0, debt: int = 0, lines: list[str] | None = None
    ) -> Iterator[None]:
        """Inside, the values move by just so much, by just these lines."""
        before, count = self.values, self.account.entry_count
        yield
        after = self.values
        assert tuple(b - a for a, b in zip(before, after, strict=True)) == (balance, held, frozen, debt)
        if lines is not None:
            assert self.kinds[count:] == lines

    @contextmanager
    def refuses(self, refusal: type[errors.BillingError], **facts: Any) -> Iterator[None]:
        """Inside, the verb is refused by this law, and no row of the account is other than before."""
        before = self.everything()
        with pytest.raises(refusal) as caught:
            yield
        assert type(caught.value) is refusal
        for name, value in facts.items():
            assert caught.value.facts[name] == value
        assert self.everything() == before
