"""Gift codes: not guessable, typed as people type, once an account, and never more uses than they were made for."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError

from billing import credits, errors, gifts, ledger
from billing.clock import now
from billing.models import Account, GiftCode, GiftUse, Lot, Membership
from billing.periods import months_after
from billing.reconcile import reconcile
from tests.concurrency.together import kinds, together
from tests.conftest import Clock

from .purse import Purse

MICRO = credits.MICRO


@pytest.fixture
def maker(db: None) -> User:
    return User.objects.create(username="stella", is_staff=True)


def a_code(maker: Any, *, credits: int = 50 * MICRO, uses_max: int = 1, expires_at: datetime | None = None) -> str:
    """A new code, as it was shown once."""
    text = gifts.new_code()
    terms = gifts.Terms(credits, uses_max, 12, expires_at, "For a test.")
    kept = [(gifts.hash_of(text), gifts.hint_of(text))]
    gifts.make(terms, kept, batch=uuid4(), made_by=maker, approved_by=None, at=now())
    return text


def redeem(account: UUID, text: str) -> GiftUse:
    return gifts.redeem(account, text, None, actor="test")[0]


# The code


def test_a_code_cannot_be_guessed_nor_be_read_two_ways() -> None:
    codes = {gifts.new_code() for _ in range(200)}
    assert len(codes) == 200
    assert len(gifts.ALPHABET) ** (gifts.LENGTH - gifts.HINT) >= 2**100  # beside what staff see of it
    assert not set("OILU") & set(gifts.ALPHABET)
    for text in codes:
        assert re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{6}-){3}[0-9A-HJKMNP-TV-Z]{6}", text)


@pytest.mark.parametrize(
    "typed",
    [
        str.lower,
        lambda text: text.replace("-", ""),
        lambda text: text.replace("-", " "),
        lambda text: f"  {text}\n",
        lambda text: text.replace("-", "–"),
        lambda text: text.replace("0", "O").replace("1", "l"),
        lambda text: text.replace("0", "o").replace("1", "I"),
    ],
)
def test_case_dashes_and_letters_that_look_like_digits_are_forgiven(typed: Callable[[str], str]) -> None:
    text = "01ABCD-10EFGH-JK2345-6789ZY"
    assert gifts.hash_of(typed(text)) == gifts.hash_of(text)


@pytest.mark.parametrize("typed", ["", "x", "0" * 23, "0" * 25, "U" * 24, "٠" * 24, "é" * 24, "\x00" * 24, "0" * 10**6])
def test_what_cannot_be_a_code_is_none(purse: Purse, typed: str) -> None:
    assert gifts.normal(typed) == ""
    with pytest.raises(gifts.GiftCodeInvalid):
        redeem(purse.id, typed)


def test_the_code_itself_is_kept_nowhere(purse: Purse, maker: User) -> None:
    text = a_code(maker)
    redeem(purse.id, text)
    kept = str(list(GiftCode.objects.values())) + str(list(GiftUse.objects.values())) + str(purse.everything())
    assert text not in kept
    assert gifts.normal(text) not in kept


# Using it


def test_a_code_gives_promotional_credits_that_end(purse: Purse, maker: User) -> None:
    use = redeem(purse.id, a_code(maker))
    lot = Lot.objects.get(account=purse.id)
    assert (lot.source, lot.is_promotional, lot.amount) == ("gift", True, 50 * MICRO)
    assert lot.expires_at == months_after(use.created_at, 12)
    assert purse.available == 50 * MICRO
    assert purse.lines[0].id == use.entry_id


def test_a_code_is_used_once_an_account(purse: Purse, maker: User) -> None:
    text = a_code(maker, uses_max=5)
    redeem(purse.id, text)
    with pytest.raises(gifts.GiftCodeAlreadyYours):
        redeem(purse.id, text.lower())
    assert purse.available == 50 * MICRO
    assert GiftCode.objects.get().uses == 1


def test_a_code_is_used_up(purse: Purse, new_purse: Callable[..., Purse], maker: User) -> None:
    text, other = a_code(maker), new_purse()
    redeem(purse.id, text)
    with pytest.raises(gifts.GiftCodeUsedUp):
        redeem(other.id, text)
    with pytest.raises(gifts.GiftCodeAlreadyYours):
        redeem(purse.id, text)
    assert other.values == (0, 0, 0, 0)


def test_unknown_expired_and_revoked_look_alike(purse: Purse, maker: User, clock: Clock) -> None:
    expired, revoked = a_code(maker, expires_at=now() + timedelta(days=1)), a_code(maker)
    gifts.revoke(GiftCode.objects.get(hash=gifts.hash_of(revoked)).id, now())
    clock.advance(days=1, seconds=1)
    told = set()
    for text in (gifts.new_code(), expired, revoked):
        with pytest.raises(gifts.GiftCodeInvalid) as refused:
            redeem(purse.id, text)
        told.add((refused.value.message, str(refused.value.facts)))
    assert len(told) == 1
    assert purse.values == (0, 0, 0, 0)


def test_whoever_made_it_does_not_use_it(purse: Purse, maker: User) -> None:
    Membership.objects.create(account_id=purse.id, user=maker, role="member")
    with pytest.raises(gifts.GiftCodeOwn):
        redeem(purse.id, a_code(maker))
    assert purse.values == (0, 0, 0, 0)


def test_a_frozen_account_uses_none(purse: Purse, maker: User) -> None:
    Account.objects.filter(id=purse.id).update(is_frozen=True)
    text = a_code(maker)
    with pytest.raises(errors.AccountFrozen):
        redeem(purse.id, text)
    assert GiftCode.objects.get().uses == 0


def test_what_is_owed_is_settled_first(purse: Purse, maker: User) -> None:
    purse.grant(20 * MICRO, payment="cs_1")
    purse.charge(20 * MICRO)
    ledger.claw_back(purse.id, payment=purse.payment("cs_1"), id=uuid4(), amount=20 * MICRO)
    redeem(purse.id, a_code(maker))
    assert purse.values == (30 * MICRO, 0, 0, 0)


def test_a_batch_is_made_once(maker: User) -> None:
    terms, batch = gifts.Terms(MICRO, 1, 12, None, "x"), uuid4()
    for text in (gifts.new_code(), gifts.new_code()):
        kept = [(gifts.hash_of(text), gifts.hint_of(text))]
        with suppress(gifts.CodesMadeBefore):
            gifts.make(terms, kept, batch=batch, made_by=maker, approved_by=None, at=now())
    assert GiftCode.objects.count() == 1


# At once


def race(text: str, accounts: list[UUID]) -> list[Any]:
    return together(*(lambda account=account: redeem(account, text) for account in accounts))


@pytest.mark.django_db(transaction=True)
def test_many_accounts_race_for_the_last_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    maker = User.objects.create(username="stella")
    text, purses = a_code(maker, uses_max=3), [Purse() for _ in range(10)]
    results = race(text, [purse.id for purse in purses])
    assert sorted(kinds(results)) == ["GiftCodeUsedUp"] * 7 + ["GiftUse"] * 3
    assert sum(purse.available for purse in purses) == 3 * 50 * MICRO
    assert (GiftCode.objects.get().uses, GiftUse.objects.count(), Lot.objects.count()) == (3, 3, 3)
    assert reconcile([purse.id for purse in purses]).findings == []


@pytest.mark.django_db(transaction=True)
def test_one_account_races_itself() -> None:
    maker = User.objects.create(username="stella")
    text, purse = a_code(maker, uses_max=10), Purse()
    results = race(text, [purse.id] * 6)
    assert sorted(kinds(results)) == ["GiftCodeAlreadyYours"] * 5 + ["GiftUse"]
    assert (purse.available, GiftCode.objects.get().uses) == (50 * MICRO, 1)


@pytest.mark.django_db(transaction=True)
def test_without_the_lock_the_database_refuses_the_use_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last line: whoever read a use that another was taking is stopped by the law, and has no credits."""
    maker = User.objects.create(username="stella")
    text, purses = a_code(maker), [Purse(), Purse()]
    both_have_read = threading.Barrier(2)
    granted = gifts._grant

    def slowly(*of_use: Any) -> Any:
        both_have_read.wait(60)
        return granted(*of_use)

    monkeypatch.setattr(gifts, "_locked", GiftCode.objects.all)
    monkeypatch.setattr(gifts, "_grant", slowly)
    results = race(text, [purse.id for purse in purses])
    assert sorted(kinds(results)) == ["GiftUse", "IntegrityError"]
    assert "gift_code_uses_within_most" in str(next(one for one in results if isinstance(one, IntegrityError)))
    assert (sum(purse.available for purse in purses), GiftCode.objects.get().uses) == (50 * MICRO, 1)
