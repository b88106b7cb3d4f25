"""Buying credits in a browser: the rehearsal checkout, a signed event, the worker, and credits that arrive once."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.instance import Instance

from .conftest import DEMO, EMPTY, PASSWORD, PHONE, WORKER_MS, Visit
from .test_every_page import is_dark, look_over

pytestmark = pytest.mark.browser
BUYER, WAVERER = "buyer@people.test", "waverer@people.test"
CHECKOUT = re.compile(r"http://127\.0\.0\.1:\d+/checkout/cs_test_")
OURS = re.compile(r"/account/credits/purchases/[0-9a-f-]{36}")


@pytest.fixture(scope="module", autouse=True)
def people(instance: Instance) -> None:
    for email in (BUYER, WAVERER):
        instance.command("create_person", email, "--password", PASSWORD)


def available(page: Page) -> float:
    text = page.locator("#purse[data-available]").get_attribute("data-available")
    assert text is not None
    return float(text.replace(",", ""))


def go_to_checkout(page: Page, button: str | re.Pattern[str]) -> None:
    page.get_by_role("button", name=button).first.click()
    page.wait_for_url(CHECKOUT)
    expect(page.get_by_role("note")).to_have_text("Rehearsal checkout: no money moves")


def test_the_25_pound_pack_is_bought_and_arrives_once(visit: Visit, instance: Instance) -> None:
    page = visit("/account/credits", BUYER)
    before = available(page)
    expect(page.locator("#buy")).to_contain_text("Rehearsal: no money moves.")
    go_to_checkout(page, "Buy 1,400 credits for £25")
    expect(page.get_by_role("heading", level=1)).to_have_text("1,400 credits")
    page.get_by_role("button", name="Pay £25.00").click()
    page.wait_for_url(OURS)
    expect(page.get_by_role("heading", name="1,400 credits are here")).to_be_visible(timeout=WORKER_MS)
    expect(page.locator(".head .tag")).to_have_text("Paid")
    expect(page.locator("#purse")).to_have_attribute("data-available", f"{before + 1400:,.2f}")
    look_over(page)

    # The events of one payment go on arriving, and the page may be loaded as often as one likes.
    for _ in range(3):
        page.reload()
    page.goto("/account/credits/statement")
    expect(page.locator("tbody tr", has_text="1,400 credits bought")).to_have_count(1)
    assert available(page) == before + 1400

    page.goto("/account/credits/purchases")
    row = page.locator(".list li")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("1,400 credits Paid")
    expect(row).to_contain_text("£25.00")
    row.get_by_role("link", name=re.compile("^Receipt")).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Receipt")
    expect(page.locator("main")).to_contain_text("£25.00")

    page.goto("/account/credits/purchases")
    page.locator(".list li a").first.click()
    page.goto(f"{page.url}/receipt")
    expect(page.locator("table")).to_contain_text("1,400 credits, Standard")
    expect(page.locator("table")).to_contain_text("£25.00")
    found = instance.command("reconcile", check=False)
    assert found.returncode == 0, found.stdout


def test_who_declines_or_goes_back_has_bought_nothing(visit: Visit, complaints: list[str]) -> None:
    page = visit("/pricing", WAVERER)
    before = available(page)
    go_to_checkout(page, re.compile("^Buy for £10"))
    page.get_by_role("button", name="Decline: try a card that fails").click()
    expect(page.get_by_role("alert")).to_contain_text("The card was declined. Nothing was paid")
    complaints.clear()  # the answer to a declined card is a 402
    page.get_by_role("button", name="Cancel and go back").click()
    page.wait_for_url(OURS)
    expect(page.get_by_role("heading", name="Nothing was paid")).to_be_visible()
    look_over(page)
    page.get_by_role("link", name="Pay £10.00 after all").click()
    page.wait_for_url(CHECKOUT)
    page.get_by_role("button", name="Pay £10.00").click()
    page.wait_for_url(OURS)
    expect(page.get_by_role("heading", name="500 credits are here")).to_be_visible(timeout=WORKER_MS)
    assert available(page) == before + 500


def test_too_few_credits_lead_to_the_smallest_pack_that_is_enough(visit: Visit, complaints: list[str]) -> None:
    page = visit("/generate", EMPTY)
    page.get_by_label("What should it show?").fill("A lighthouse at dusk")
    page.get_by_label("Length").fill("20")
    page.get_by_role("button", name=re.compile("^Make it for at most")).click()
    modal = page.get_by_role("dialog", name="Not enough credits")
    expect(modal.get_by_role("link", name="See all packs")).to_have_attribute(
        "href", "/account/credits?pack=starter#buy"
    )
    assert "402" in complaints.pop()
    go_to_checkout(page, "Buy 500 credits · £10")


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_buying_fits_a_phone_in_light_and_dark(visit: Visit, colours: str) -> None:
    page = visit("/account/credits?pack=standard#buy", DEMO, viewport=PHONE, color_scheme=colours)
    look_over(page)
    assert is_dark(page) == (colours == "dark")
    for path in ("/pricing", "/account/credits/purchases"):
        page.goto(path)
        look_over(page)
