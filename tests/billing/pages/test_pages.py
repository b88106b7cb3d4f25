"""The pages of credits: numbers that add up, lines in words, limits, tokens, notices, and whose account it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client

from billing import clock, credits, ledger, pages, statement
from billing.models import Audit, Entry, Notice, SpendLimit, Token
from billing.reconcile import reconcile
from tests.people import Person

MICRO = credits.MICRO
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _reconciled(db: None) -> Iterator[None]:
    yield
    assert reconcile().findings == []


def text_of(response: Any) -> str:
    """The page's words, without its tags."""
    page = re.sub(r"<(script|style|template)\b.*?</\1>", "", response.content.decode(), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def member_browser(member: Person) -> Client:
    client = member.browser()
    assert client.post("/account/choose", {"account": str(member.account)}).status_code == 302
    return client


def hold(person: Person, amount: str, **terms: Any) -> UUID:
    terms = {"reference": "a job", "owner": "someone", "expires_in_seconds": 3600} | terms
    placed = ledger.place_hold(person.account, amount=credits.parse(amount), **terms).of_hold
    assert placed is not None
    return placed.id


# What there is


def test_the_parts_of_the_bar_add_up_to_the_balance(owner: Person) -> None:
    owner.grant("30.5", source="gift", is_promotional=True)
    owner.grant("0.000001", source="plan")
    hold(owner, "33.333333")
    values, lots, _ = statement.values_now(owner.account)
    parts = pages._parts(values, lots)
    assert sum(part.amount for part in parts) == values.balance
    shown = pages._split(values, parts)["parts"]
    ends = [float(part["start"]) + float(part["width"]) for part in shown]
    assert [float(part["start"]) for part in shown[1:]] == pytest.approx(ends[:-1])
    assert ends[-1] == 100
    said = text_of(owner.browser().get("/account/credits"))
    assert "Available now 97.166668 credits" in said
    assert "33.333333 held for what is running" in said
    assert "Balance 130.500001" in said


def test_an_account_without_credits_says_so(stranger: Person) -> None:
    ledger.adjust(stranger.account, amount=-100 * MICRO, reason="none left", actor="user:1")
    said = text_of(stranger.browser().get("/account/credits"))
    assert "Available now 0.00 credits There are no credits on this account." in said


def test_a_frozen_account_and_a_debt_are_said_first(owner: Person) -> None:
    ledger.set_account_frozen(owner.account, True, "A question about a card")
    said = text_of(owner.browser().get("/account/credits"))
    assert "This account is frozen." in said
    assert "A question about a card" in said


@pytest.mark.parametrize(
    ("amount", "state"), [("0", "none"), ("0.01", "low"), ("4.999999", "low"), ("5", ""), ("100", "")]
)
def test_the_purse_says_when_credits_run_low(db: None, amount: str, state: str) -> None:
    person = Person("pia@people.test")
    if amount != "0":
        person.grant(amount)
    assert pages.purse_of(person.account)["state"] == state


# The statement


def test_each_line_of_the_statement_follows_the_one_before(owner: Person) -> None:
    ledger.capture(owner.account, hold=hold(owner, "2", label="Video · “A boat”"), amount=1_500_000)
    ledger.release(owner.account, hold=hold(owner, "3"))
    ledger.release(owner.account, hold=hold(owner, "1"), reason="It was called off.")
    hold(owner, "4")
    lines = [pages.line_in_words(line) for line in reversed(pages._lines(owner.account))]
    shown = [(line["word"], line["kind"], line["credits"], line["balance"], line["note"]) for line in lines]
    assert shown == [
        ("Added", "ok", "+100.00", "100.00", ""),
        ("Held", "", "0.00", "100.00", "2.00 were held"),
        ("Charged", "ok", "−1.50", "98.50", "0.50 of what was held is back"),
        ("Held", "", "0.00", "98.50", "3.00 were held"),
        ("Back", "", "0.00", "98.50", "3.00 back, nothing charged"),
        ("Held", "", "0.00", "98.50", "1.00 were held"),
        ("Back", "", "0.00", "98.50", "It was called off. 1.00 back, nothing charged"),
        ("Held", "wait", "0.00", "98.50", "4.00 held until it ends"),
    ]
    assert lines[2]["title"] == "Video · “A boat”"


def test_the_points_of_the_amounts_stand_under_each_other(owner: Person) -> None:
    ledger.capture(owner.account, hold=hold(owner, "2"), amount=1_571_429)
    (day,) = pages.by_day(pages._lines(owner.account), clock.now())
    shown = [(line["credits"], line["credits_room"], line["balance"], line["balance_room"]) for line in day["lines"]]
    assert shown == [("−1.571429", 0, "98.428571", 0), ("0.00", 4, "100.00", 4), ("+100.00", 4, "100.00", 4)]


def test_every_kind_of_line_has_its_words() -> None:
    assert set(pages.WORDS) == {kind.value for kind in Entry.Kind}


def test_the_statement_turns_its_pages(owner: Person) -> None:
    for number in range(60):
        owner.grant("1", description=f"Grant {number}.")
    client = owner.browser()
    first = client.get("/account/credits/statement")
    assert "Grant 59." in text_of(first)
    assert "Grant 9." not in text_of(first)
    older = re.search(r'href="(\?before=[^"]+)"', first.content.decode())
    assert older is not None
    second = client.get(f"/account/credits/statement{older[1]}")
    assert "Grant 9." in text_of(second)
    assert "That is all of it" in text_of(second)
    newer = re.search(r'href="(\?after=[^"]+)"', second.content.decode())
    assert newer is not None
    assert client.get(f"/account/credits/statement{newer[1]}").content.count(b"Grant ") == first.content.count(
        b"Grant "
    )
    for wrong in ("before=٣", "before=-1", "before=x", "after=99999", f"before={'9' * 30}", "before=1"):
        assert client.get(f"/account/credits/statement?{wrong}").status_code == 404


# Limits


def test_an_owner_sets_limits_and_a_member_reads_them(owner: Person, member: Person) -> None:
    client = owner.browser()
    response = client.post(
        "/account/settings/credits", {"per_run": "1,000", "per_day": "0", "per_month": ""}, follow=True
    )
    assert "These limits hold from now on." in text_of(response)
    row = SpendLimit.objects.get(account=owner.account)
    assert (row.source, row.user, row.per_run, row.per_day, row.per_month) == ("person", None, 1000 * MICRO, 0, None)
    assert Audit.objects.get(act="set_limits").facts == {"per_run": "1000", "per_day": "0", "per_month": None}
    assert "100 % of your own daily limit." in text_of(client.get("/account/credits"))

    other = member_browser(member)
    assert "Only an owner" in text_of(other.get("/account/settings/credits"))
    assert other.post("/account/settings/credits", {"per_run": "5"}).status_code == 422
    row.refresh_from_db()
    assert row.per_run == 1000 * MICRO


@pytest.mark.parametrize("text", ["-1", "1e3", "NaN", "٧", "1_000", "0.0000001", "9" * 20, "1\x00"])
def test_what_is_no_amount_sets_no_limit(owner: Person, text: str) -> None:
    response = owner.browser().post("/account/settings/credits", {"per_run": text})
    assert response.status_code == 422
    assert 'class="error"' in response.content.decode()
    assert not SpendLimit.objects.exists()


def test_limits_that_others_set_are_told(owner: Person) -> None:
    SpendLimit.objects.create(account_id=owner.account, source="staff", per_day=10 * MICRO)
    said = text_of(owner.browser().get("/account/settings/credits"))
    assert "The account’s limit is 10.00 credits for a day." in said


# Tokens


def test_a_token_is_shown_once_and_is_its_persons_alone(owner: Person, member: Person) -> None:
    client = owner.browser()
    made = client.post("/account/settings/tokens", {"name": "A build", "scope": "spend"})
    text = re.search(r"hf_[\w-]{40,}", made.content.decode())
    assert text is not None
    assert "no-store" in made.headers["Cache-Control"]
    assert text[0] not in client.get("/account/settings/tokens").content.decode()
    token = Token.objects.get(user=owner.user)
    assert (token.account_id, token.scope) == (owner.account, "spend")

    other = member_browser(member)
    assert "A build" not in text_of(other.get("/account/settings/tokens"))
    assert other.post(f"/account/settings/tokens/{token.id}/revoke").status_code == 404
    assert client.post(f"/account/settings/tokens/{token.id}/revoke").status_code == 302
    token.refresh_from_db()
    assert token.revoked_at is not None
    assert sorted(Audit.objects.values_list("act", flat=True)) == ["make_token", "revoke_token"]


@pytest.mark.parametrize("form", [{"name": "", "scope": "read"}, {"name": "x", "scope": "service"}, {"name": "x"}])
def test_a_token_needs_a_name_and_is_never_a_services(owner: Person, form: dict[str, str]) -> None:
    assert owner.browser().post("/account/settings/tokens", form).status_code == 422
    assert not Token.objects.exists()


# Notices


def test_a_notice_is_shown_until_it_was_seen(owner: Person, stranger: Person) -> None:
    notice = Notice.objects.create(account_id=owner.account, key="news", title="Some <b>news</b>", level="warning")
    client = owner.browser()
    assert "Some &lt;b&gt;news" in client.get("/").content.decode()
    assert stranger.browser().post(f"/account/notices/{notice.id}/seen").status_code == 404
    assert "news" in text_of(client.get("/"))
    seen = client.post(f"/account/notices/{notice.id}/seen", {"next": "/generations"})
    assert seen.headers["Location"] == "/generations"
    assert "news" not in text_of(client.get("/"))
    assert client.post(f"/account/notices/{notice.id}/seen", headers={"HX-Request": "true"}).content == b""
    for elsewhere in ("https://elsewhere.test/", "//elsewhere.test/", "/\\elsewhere.test", "purchase", ""):
        away = client.post(f"/account/notices/{notice.id}/seen", {"next": elsewhere})
        assert away.headers["Location"] == "/account/credits"


# Whose account


def test_a_member_chooses_whose_credits_the_pages_show(owner: Person, member: Person, stranger: Person) -> None:
    client = member.browser()
    assert "0.00 credits" in text_of(client.get("/account/credits"))
    assert client.post("/account/choose", {"account": str(owner.account)}).status_code == 302
    said = text_of(client.get("/account/credits"))
    assert "100.00 credits" in said
    assert "My own account" in said
    for wrong in (str(stranger.account), str(uuid4()), "x", ""):
        assert client.post("/account/choose", {"account": wrong}).status_code == 404
    assert "My own account" not in text_of(stranger.browser().get("/account/credits"))


def test_forms_without_their_csrf_token_do_nothing(owner: Person) -> None:
    client = owner.browser(enforce_csrf_checks=True)
    for path in ("/account/settings/credits", "/account/settings/tokens", "/account/choose", "/generate"):
        assert client.post(path, {"name": "x", "scope": "read"}).status_code == 403
    assert not Token.objects.exists()


def test_a_page_costs_few_queries(owner: Person, django_assert_max_num_queries: Any) -> None:
    for _ in range(30):
        ledger.capture(owner.account, hold=hold(owner, "1"))
    client = owner.browser()
    client.get("/account/credits")
    with django_assert_max_num_queries(20):
        client.get("/account/credits/statement")
