"""Auto top-up in a browser: set, a card kept, credits that come by themselves, and a bank that asks first."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.instance import Instance

from .conftest import PASSWORD, PHONE, WORKER_MS, Visit
from .test_buying import CHECKOUT, OURS, available
from .test_every_page import look_over

pytestmark = pytest.mark.browser
SAVER, ASKED = "saver@people.test", "asked@people.test"
SETTINGS = "/account/settings/credits"


@pytest.fixture(scope="module", autouse=True)
def people(instance: Instance) -> None:
    for email in (SAVER, ASKED):
        instance.command("create_person", email, "--password", PASSWORD)


def spend_to(instance: Instance, email: str, left: int) -> None:
    """The person has so many credits left."""
    instance.command(
        "shell",
        "-c",
        "from billing import credits, ledger, people\n"
        f"own = people.open_account(people.person_called({email!r}))\n"
        f"ledger.charge(own.id, amount=own.available - {left} * credits.MICRO)",
    )


def set_it_up(page: Page) -> None:
    page.get_by_label("When fewer credits than this are available").fill("50")
    page.get_by_label("Buy this pack").select_option("starter")
    page.get_by_label("At most so much money a month (£)").fill("40")
    page.get_by_label("On: the card that is kept").check()
    page.get_by_role("button", name="Keep these settings").click()
    expect(page.get_by_text("Auto top-up is on.")).to_be_visible()


def keep_a_card(page: Page, ending: str | re.Pattern[str]) -> None:
    expect(page.locator("#auto-top-up")).to_contain_text("charges it for the auto top-ups that you set")
    page.get_by_role("button", name="Buy 500 credits for £10 and keep the card").click()
    page.wait_for_url(CHECKOUT)
    button = page.get_by_role("button", name=ending)
    if not button.is_visible():
        page.get_by_text("Other endings to rehearse").click()
    button.click()
    page.wait_for_url(OURS)
    expect(page.get_by_role("heading", name="500 credits are here")).to_be_visible(timeout=WORKER_MS)


def test_credits_come_by_themselves_once_a_card_is_kept(visit: Visit, instance: Instance) -> None:
    page = visit(SETTINGS, SAVER)
    look_over(page)
    set_it_up(page)
    expect(page.locator("#auto-top-up")).to_contain_text("Buy a pack once and keep the card: then it begins.")
    look_over(page)
    keep_a_card(page, "Pay £10.00")
    page.goto(SETTINGS)
    expect(page.locator("#auto-top-up")).to_contain_text("When fewer than 50 credits are available it buys 500 credits")
    assert page.get_by_role("button", name="and keep the card").count() == 0
    look_over(page)

    spend_to(instance, SAVER, 20)
    page.goto("/account/credits")
    expect(page.locator("#purse")).to_have_attribute("data-available", "520.00", timeout=WORKER_MS)
    page.goto("/account/credits/purchases")
    expect(page.locator(".list li", has_text="by auto top-up")).to_have_count(1)
    page.goto(SETTINGS)
    expect(page.locator("#auto-top-up")).to_contain_text("£10.00 of at most £40.00 is spent by auto top-up this month")
    assert available(page) == 520


def test_a_bank_that_asks_is_answered_by_a_link(visit: Visit, instance: Instance) -> None:
    page = visit(SETTINGS, ASKED, viewport=PHONE)
    set_it_up(page)
    keep_a_card(page, "Pay, with a card whose bank asks the next time")
    spend_to(instance, ASKED, 20)
    page.goto("/account/credits")
    link = page.get_by_role("main").get_by_role("link", name="Confirm it")
    for _ in range(180):
        if link.count():
            break
        page.wait_for_timeout(1000)
        page.reload()
    look_over(page)
    link.first.click()
    page.wait_for_url(OURS)
    expect(page.get_by_role("heading", name="Your bank asks you to confirm this")).to_be_visible()
    look_over(page)
    page.get_by_role("link", name="Confirm £10.00 with my bank").click()
    page.wait_for_url(re.compile(r"http://127\.0\.0\.1:\d+/authenticate/pi_"))
    page.get_by_role("button", name="Confirm £10.00").click()
    page.wait_for_url(OURS)
    expect(page.get_by_role("heading", name="500 credits are here")).to_be_visible(timeout=WORKER_MS)
    assert available(page) == 520
    found = instance.command("reconcile", check=False)
    assert found.returncode == 0, found.stdout
