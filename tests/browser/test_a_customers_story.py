"""A customer's whole story in a browser: signed up, given the Free month, a pack bought, a plan begun, renewed twice,
made larger, made smaller and ended; the page of the plan and the statement tell it, and the books agree with Stripe's.
"""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.instance import Instance

from .conftest import Visit
from .test_account import letter_to, link_in
from .test_buying import available
from .test_every_page import look_over
from .test_plans import SOON, press

pytestmark = pytest.mark.browser
CUSTOMER, PHRASE = "customer@people.test", "a long enough phrase"


def arrive(page: Page, credits: int) -> None:
    """So many credits are available, once the worker has heard of them."""
    for _ in range(180):
        page.goto("/account/plan")
        if available(page) == credits:
            return
        page.wait_for_timeout(1000)
    assert available(page) == credits


def let_time_pass(page: Page) -> None:
    """Stripe's clock stands behind the end of the plan's period: it is renewed there."""
    page.goto("/account/plan")
    press(page, "Card and invoices")
    page.wait_for_url(re.compile("/portal/"))
    press(page, re.compile("let time pass"))


def test_a_customers_story(visit: Visit, instance: Instance) -> None:
    page = visit("/accounts/signup/")
    page.get_by_label("Email").fill(CUSTOMER)
    page.get_by_label("Password", exact=True).fill(PHRASE)
    page.get_by_label("Password (again)").fill(PHRASE)
    page.get_by_role("main").get_by_role("button", name="Create account").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Look in your mail")
    page.goto(link_in(letter_to(page, CUSTOMER)))
    page.get_by_role("main").get_by_role("button").first.click()
    arrive(page, 300)

    page.goto("/account/credits")
    press(page, "Buy 1,400 credits for £25")
    press(page, "Pay £25.00")
    expect(page.get_by_role("heading", name="1,400 credits are here")).to_be_visible(timeout=SOON)
    arrive(page, 1_700)

    press(page, "Subscribe to Supporter")
    page.wait_for_url(re.compile("/checkout/"))
    press(page, re.compile("^Pay"))
    page.wait_for_url(re.compile("/account/plan"))
    expect(page.locator("#plan-now")).to_contain_text("Supporter £45 a month", timeout=SOON)
    arrive(page, 4_700)
    for credits in (7_700, 10_700):
        let_time_pass(page)
        arrive(page, credits)

    expect(page.locator("#plan-now")).to_contain_text("You pay about £115 now")
    press(page, "Change to Pro now")
    expect(page.locator("#plan-now")).to_contain_text("Pro £160 a month", timeout=SOON)
    arrive(page, 19_700)
    press(page, re.compile(r"^Change on \d"))
    expect(page.locator("#plan-now")).to_contain_text("on it is Supporter")
    let_time_pass(page)
    arrive(page, 22_700)
    expect(page.locator("#plan-now")).to_contain_text("Supporter £45 a month")
    press(page, re.compile("^End Supporter on"))
    expect(page.locator("#plan-now")).to_contain_text("Ends soon")
    look_over(page)
    let_time_pass(page)
    for _ in range(180):
        page.goto("/account/plan")
        if "Free costs nothing" in page.locator("#plan-now").inner_text():
            break
        page.wait_for_timeout(1000)
    expect(page.locator("#plan-now")).to_contain_text("Free costs nothing")

    page.goto("/account/credits/statement")
    look_over(page)
    told = page.locator("tbody").inner_text()
    for line in ("1,400 credits bought", "Supporter", "Pro", "Free"):
        assert line in told
    assert page.locator("tbody tr", has_text="1,400 credits bought").count() == 1
    found = instance.command("reconcile", check=False)
    assert found.returncode == 0, found.stdout
    beside = instance.command("reconcile_stripe", check=False)
    assert beside.returncode == 0, beside.stdout + beside.stderr
    assert " 0 differ" in beside.stdout
