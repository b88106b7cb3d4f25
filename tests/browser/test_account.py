"""Joining, signing in, limits, tokens and the statement, as a person meets them."""

from __future__ import annotations

import base64
import hmac
import json
import re
import struct
import time
import urllib.error
import urllib.request
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.instance import Instance

from .conftest import CAREFUL, DEMO, FORGETFUL, GUARDED, PASSWORD, Visit, sign_in

pytestmark = pytest.mark.browser


def letter_to(page: Page, address: str) -> str:
    """The newest letter to the address, in the development mailbox."""
    page.goto("/dev/mail")
    return page.locator("article", has_text=address).first.inner_text()


def link_in(letter: str) -> str:
    found = re.search(r"https?://[^/\s]+(/accounts/\S+)", letter)
    assert found, letter
    return found[1]


def test_joining_needs_the_letter(visit: Visit) -> None:
    page = visit("/")
    page.get_by_role("link", name="Create account").first.click()
    page.get_by_label("Email").fill("newcomer@people.test")
    page.get_by_label("Password", exact=True).fill("a long enough phrase")
    page.get_by_label("Password (again)").fill("a long enough phrase")
    page.get_by_role("main").get_by_role("button", name="Create account").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Look in your mail")
    page.goto("/account/credits")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()

    page.goto(link_in(letter_to(page, "newcomer@people.test")))
    page.get_by_role("main").get_by_role("button").first.click()
    expect(page.locator("#purse")).to_contain_text("0.00")
    page.goto("/account/credits")
    expect(page.locator(".big").first).to_contain_text("300.00")  # the Free plan's first month
    expect(page.locator("main")).to_contain_text("costs nothing")
    page.goto("/generations")
    expect(page.get_by_text("Nothing made yet")).to_be_visible()


def test_a_forgotten_password_is_replaced_by_letter(visit: Visit) -> None:
    page = visit("/accounts/login/")
    page.get_by_role("link", name=re.compile("orgot")).click()
    page.get_by_label("Email").fill(FORGETFUL)
    page.get_by_role("main").get_by_role("button").first.click()
    expect(page.get_by_label("Email")).to_have_count(0)
    page.goto(link_in(letter_to(page, FORGETFUL)))
    page.get_by_label("New Password", exact=True).fill("another long phrase")
    page.get_by_label("New Password (again)").fill("another long phrase")
    page.get_by_role("main").get_by_role("button").first.click()
    expect(page.get_by_label("New Password (again)")).to_have_count(0)
    sign_in(page, FORGETFUL, "another long phrase")


def test_a_page_asks_to_sign_in_and_comes_back(visit: Visit) -> None:
    page = visit("/account/credits/statement")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_label("Email").fill(DEMO)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Statement")).to_be_visible()
    page.get_by_label("Your account").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("link", name="Sign in").first).to_be_visible()
    expect(page.locator("#purse")).to_have_count(0)


def test_a_limit_of_ones_own_refuses_and_says_which(visit: Visit, complaints: list[str]) -> None:
    page = visit("/account/settings/credits", CAREFUL)
    page.get_by_label("Credits for one run").fill("1.5")
    page.get_by_role("button", name="Keep these limits").click()
    expect(page.get_by_text("These limits hold from now on.")).to_be_visible()
    expect(page.get_by_label("Credits for one run")).to_have_value("1.5")

    page.goto("/generate")
    page.get_by_label("What should it show?").fill("A careful boat")
    page.get_by_role("button", name="Make it for at most 2.00").click()
    modal = page.get_by_role("dialog")
    expect(modal).to_contain_text("This goes over your own limit of 1.50 credits for one run.")
    expect(modal.get_by_role("button", name="Make it 3 s instead, for 1.50")).to_be_visible()
    assert "403" in complaints.pop()
    modal.get_by_role("link", name="See the limits").click()

    page.get_by_label("Credits for one run").fill("1e3")
    page.get_by_role("button", name="Keep these limits").click()
    expect(page.locator(".field .error")).to_contain_text("plain decimal")
    assert "422" in complaints.pop()
    page.get_by_label("Credits for one run").fill("")
    page.get_by_role("button", name="Keep these limits").click()
    expect(page.get_by_text("These limits hold from now on.")).to_be_visible()
    expect(page.get_by_label("Credits for one run")).to_have_value("")


def call(instance: Instance, token: str) -> tuple[int, Any]:
    request = urllib.request.Request(
        f"{instance.url}/api/credits/balance", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, None


def test_a_token_is_shown_once_works_and_is_revoked(visit: Visit, instance: Instance) -> None:
    page = visit("/account/settings/tokens", CAREFUL)
    page.get_by_label("What is it for?").fill("The build server")
    page.get_by_role("button", name="Make token").click()
    token = page.get_by_label("Your new token").input_value()
    assert token.startswith("hf_")
    status, balance = call(instance, token)
    assert status == 200
    assert balance["available"] == (page.locator("#purse").get_attribute("data-available") or "").rstrip("0").rstrip(
        "."
    )

    page.goto("/account/settings/tokens")
    assert token not in page.content()
    row = page.locator("li", has_text="The build server")
    expect(row).to_contain_text(token[-4:])
    row.get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("opens nothing any more")).to_be_visible()
    assert call(instance, token)[0] == 401


def test_the_statement_says_why_and_can_be_taken_home(visit: Visit) -> None:
    page = visit("/account/credits", CAREFUL)
    page.get_by_role("link", name="All of it").click()
    first = page.locator("tbody tr:not(.day)").last
    expect(first.locator(".credits")).to_have_text("+20.00")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download CSV").click()
    lines = download.value.path().read_text().splitlines()
    assert "balance_after" in lines[0]
    assert len(lines) - 1 == page.locator("tbody tr:not(.day)").count()
    first.get_by_role("link", name="Why?").click()
    expect(page.locator(".big")).to_contain_text("+20.00")
    expect(page.locator(".lead")).to_contain_text("For the browser's tests")


def test_the_purse_follows_what_happens_elsewhere(visit: Visit, instance: Instance) -> None:
    page = visit("/account/settings/tokens", CAREFUL)
    before = page.locator("#purse").get_attribute("data-available")
    instance.command("grant_credits", CAREFUL, "1", "--reason", "Meanwhile, elsewhere")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # as on coming back to the page
    expect(page.locator("#purse")).not_to_have_attribute("data-available", before or "")


def code_of(secret: str) -> str:
    """The six digits of this half minute (RFC 6238)."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.new(key, struct.pack(">Q", int(time.time()) // 30), "sha1").digest()
    at = digest[-1] & 15
    return f"{(int.from_bytes(digest[at : at + 4]) & 0x7FFFFFFF) % 1_000_000:06d}"


def test_a_second_step_is_asked_for_once_it_is_set_up(visit: Visit) -> None:
    page = visit("/", GUARDED)
    page.goto("/accounts/2fa/totp/activate/")
    page.get_by_label("Password", exact=True).fill(PASSWORD)  # what protects the account asks once more
    page.get_by_role("main").get_by_role("button").first.click()
    key = page.get_by_label("Or type this key into the app").input_value()
    page.locator("input[name=code]").fill(code_of(key))
    page.get_by_role("button", name="Switch on").click()
    expect(page.get_by_label("Or type this key into the app")).to_have_count(0)
    page.goto("/accounts/2fa/recovery-codes/")
    spare = page.locator(".secret li").first.inner_text().strip()

    page = visit("/accounts/login/")
    page.get_by_label("Email").fill(GUARDED)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    expect(page.locator("#purse")).to_have_count(0)
    page.locator("input[name=code]").fill(spare)
    page.get_by_role("main").get_by_role("button").first.click()
    expect(page.locator("#purse")).to_be_visible()
