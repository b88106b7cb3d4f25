"""POST /api/credits/redeem, and the field on the page: what a code gives, and how few wrong ones are looked at."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache

from billing import credits, gifts, ledger
from billing.models import Audit, GiftCode, GiftUse
from billing.reconcile import reconcile
from tests.billing.pages.test_pages import text_of
from tests.billing.test_gifts import a_code
from tests.people import Person

PATH = "/api/credits/redeem"
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nobody_has_guessed() -> Any:
    cache.clear()
    yield
    cache.clear()
    assert reconcile().findings == []


@pytest.fixture
def maker(db: None) -> User:
    return User.objects.create(username="stella", is_staff=True)


def test_a_code_gives_its_credits(owner: Person, maker: User) -> None:
    text = a_code(maker)
    answer = owner.calls().post(PATH, {"code": f" {text.lower().replace('-', '')} "})
    assert answer.status == 201
    use = GiftUse.objects.get()
    assert (answer["id"], answer["credits"], answer["entry_id"]) == (str(use.id), "50", str(use.entry_id))
    assert answer["expires_at"] > answer["redeemed_at"]
    assert owner.values == ("150", "0", "0")
    line = owner.calls("read").get(f"/api/credits/entries/{use.entry_id}")
    assert (line.status, line["id"]) == (200, str(use.entry_id))
    deed = Audit.objects.get(act="redeem")
    assert (deed.account_id, deed.subject, deed.is_refusal) == (owner.account, f"giftcode:{use.code_id}", False)
    assert text not in str(deed.facts)


def test_each_refusal_has_the_one_shape(owner: Person, stranger: Person, maker: User) -> None:
    mine, gone = a_code(maker, uses_max=2), a_code(maker)
    assert owner.calls().post(PATH, {"code": mine}).status == 201
    assert stranger.calls().post(PATH, {"code": gone}).status == 201
    told = {
        "gift_code_already_yours": mine,
        "gift_code_used_up": gone,
        "gift_code_invalid": gifts.new_code(),
        "invalid_fields": 7,
    }
    for code, text in told.items():
        answer = owner.calls().post(PATH, {"code": text})
        assert (answer.status, answer.code) == (422, code)
        assert all(answer[word] for word in ("error", "reason", "action"))
    assert owner.values == ("150", "0", "0")


def test_the_same_key_answers_as_the_first_time(owner: Person, maker: User) -> None:
    text, other = a_code(maker), a_code(maker)
    calls = owner.calls()
    first = calls.post(PATH, {"code": text}, idempotency_key="a")
    again = calls.post(PATH, {"code": text}, idempotency_key="a")
    assert (again.status, again.json) == (201, first.json)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert calls.post(PATH, {"code": other}, idempotency_key="a").code == "idempotency_conflict"
    assert calls.post(PATH, {"code": text}, idempotency_key="b").code == "gift_code_already_yours"
    assert owner.values == ("150", "0", "0")
    assert (GiftUse.objects.count(), Audit.objects.filter(act="redeem", is_refusal=False).count()) == (1, 1)


def test_who_may_not_act_uses_none(owner: Person, nobody: Any, maker: User) -> None:
    text = a_code(maker)
    assert nobody.post(PATH, {"code": text}).status == 401
    assert owner.calls("read").post(PATH, {"code": text}).code == "scope_too_small"
    assert GiftCode.objects.get().uses == 0


@pytest.mark.usefixtures("one_minute")
def test_ten_wrong_ones_a_minute_and_then_not_even_a_right_one(owner: Person, stranger: Person, maker: User) -> None:
    text = a_code(maker, uses_max=5)
    calls = owner.calls()
    for _ in range(10):
        assert calls.post(PATH, {"code": gifts.new_code()}).status == 422
    answer = calls.post(PATH, {"code": text})
    assert (answer.status, answer.code) == (429, "too_many_requests")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    # Another account at the same address is not let on guessing.
    assert stranger.calls().post(PATH, {"code": gifts.new_code()}).status == 429
    assert GiftCode.objects.get().uses == 0


def test_from_many_addresses_an_account_has_no_more(owner: Person) -> None:
    calls, statuses = owner.calls(), []
    for at in range(12):
        calls.client.defaults["REMOTE_ADDR"] = f"198.51.100.{at}"
        statuses.append(calls.post(PATH, {"code": gifts.new_code()}).status)
    assert statuses == [422] * 10 + [429] * 2


def test_right_ones_and_used_ones_are_no_guesses(owner: Person, maker: User) -> None:
    calls, text = owner.calls(), a_code(maker)
    assert calls.post(PATH, {"code": text}).status == 201
    for _ in range(15):
        assert calls.post(PATH, {"code": text}).code == "gift_code_already_yours"


# On the page


def test_the_credits_page_has_a_field_for_it(owner: Person, maker: User) -> None:
    browser, text = owner.browser(), a_code(maker, credits=12 * credits.MICRO)
    assert 'action="/account/credits/redeem"' in browser.get("/account/credits").content.decode()
    answer = browser.post("/account/credits/redeem", {"code": text}, follow=True)
    assert "12 credits are here. They can be spent until" in text_of(answer)
    assert "from a gift" in text_of(answer)
    again = browser.post("/account/credits/redeem", {"code": text}, follow=True)
    assert "This account has used this code already." in text_of(again)
    assert owner.values == ("112", "0", "0")


def test_wrong_ones_are_counted_on_the_page_as_well(owner: Person) -> None:
    browser = owner.browser()
    for _ in range(10):
        browser.post("/account/credits/redeem", {"code": "wrong"})
    answer = browser.post("/account/credits/redeem", {"code": "wrong"}, follow=True)
    assert "Too many wrong codes." in text_of(answer)
    assert browser.get("/account/credits/redeem").status_code == 405


def test_a_frozen_account_is_offered_none(owner: Person, maker: User) -> None:
    ledger.set_account_frozen(owner.account, True, "A question is open.")
    assert "credits/redeem" not in owner.browser().get("/account/credits").content.decode()
    answer = owner.calls().post(PATH, {"code": a_code(maker)})
    assert (answer.status, answer.code) == (403, "account_frozen")
    assert GiftCode.objects.get().uses == 0
