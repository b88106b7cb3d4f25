"""A plan in a browser: paid for on the rehearsal checkout, changed, unpaid, settled; its page follows by itself."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.instance import Instance

from .conftest import DEMO, PASSWORD, PHONE, WORKER_MS, Visit
from .test_buying import available
from .test_every_page import is_dark, look_over

pytestmark = pytest.mark.browser
PLANNER, LOOKER = "planner@people.test", "looker@people.test"
SOON = WORKER_MS


@pytest.fixture(scope="module", autouse=True)
def people(instance: Instance) -> None:
    for email in (PLANNER, LOOKER):
        instance.command("create_person", email, "--password", PASSWORD, "--plan", "free")


def press(page: Page, name: str | re.Pattern[str]) -> None:
    page.get_by_role("button", name=name).first.click()


def test_a_plan_is_paid_for_changed_and_settled(visit: Visit, instance: Instance) -> None:
    page = visit("/account/plan", PLANNER)
    expect(page.locator("#plan-now")).to_contain_text("Free costs nothing")
    press(page, "Subscribe to Supporter")
    page.wait_for_url(re.compile("/checkout/"))
    press(page, re.compile("^Pay"))
    page.wait_for_url(re.compile("/account/plan"))
    # The page is not loaded again: it finds by itself that the payment was confirmed.
    page.evaluate("window.sameDocument = true")
    expect(page.locator("#plan-now")).to_contain_text("Supporter £45 a month", timeout=SOON)
    expect(page.locator("#purse[data-available]")).to_have_attribute("data-available", "3,300.00", timeout=SOON)
    expect(page.locator("#plan-now")).not_to_have_attribute("hx-get", re.compile("."), timeout=SOON)
    look_over(page)

    expect(page.locator("#plan-now")).to_contain_text(
        re.compile(r"You pay about £115 now, the difference for (\d+) of")
    )
    press(page, "Change to Pro now")
    page.wait_for_load_state()
    expect(page.locator("#plan-now")).to_contain_text("Pro £160 a month", timeout=SOON)
    assert available(page) == 12_300
    press(page, re.compile(r"^Change on \d"))
    expect(page.locator("#plan-now")).to_contain_text(re.compile(r"From \d+ \w+ \d{4} on it is Supporter"))
    look_over(page)
    press(page, "Keep Pro")
    expect(page.locator("#plan-now")).to_contain_text("The next 12,000 credits come on")

    press(page, "Card and invoices")
    page.wait_for_url(re.compile("/portal/"))
    press(page, "Use a card that fails")
    press(page, re.compile("let time pass"))
    page.goto("/account/plan")
    expect(when_heard(page, "Pay £160 now")).to_be_visible()
    expect(page.locator("#plan-now")).to_contain_text("until then it cannot be changed")
    look_over(page)
    press(page, "Pay £160 now")
    expect(page.get_by_text("The card was declined. Your plan stays as it is, and nothing was paid.")).to_be_visible()
    press(page, "Card and invoices")
    page.wait_for_url(re.compile("/portal/"))
    press(page, "Use a card that works")
    page.goto("/account/plan")
    press(page, "Pay £160 now")
    expect(page.locator("#plan-now")).not_to_contain_text("Not paid", timeout=SOON)
    assert available(page) == 24_300
    found = instance.command("reconcile", check=False)
    assert found.returncode == 0, found.stdout


def when_heard(page: Page, button: str) -> Locator:
    """The button, once the worker has heard of what makes it appear."""
    found = page.get_by_role("button", name=button)
    for _ in range(180):
        if found.count():
            break
        page.wait_for_timeout(1000)
        page.reload()
    return found


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_page_of_the_plan_fits_a_phone_in_light_and_dark(visit: Visit, colours: str) -> None:
    page = visit("/account/plan", DEMO, viewport=PHONE, color_scheme=colours)
    look_over(page)
    assert is_dark(page) == (colours == "dark")
    for back in ("paid", "cancelled"):
        page.goto(f"/account/plan?back={back}")
        look_over(page)
    page.goto("/account/plan?back=paid&since=1")
    expect(page.locator("#plan-now")).to_contain_text("This takes longer than usual.")
    look_over(page)


def test_an_address_grants_nothing(visit: Visit) -> None:
    page = visit("/account/plan?back=paid", LOOKER)
    expect(page.locator("#plan-now")).to_contain_text("Waiting for the payment to be confirmed.")
    with page.expect_response(re.compile("/account/plan/live")) as told:
        pass
    assert told.value.status == 204
    assert available(page) == 300
