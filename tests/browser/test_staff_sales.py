"""Staff at their desk in a browser: a plan's money goes back, an event is applied again, a dispute is looked at."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.instance import Instance

from .conftest import DESK, PASSWORD, PHONE, Visit
from .test_every_page import TOO_WIDE, is_dark

pytestmark = pytest.mark.browser
STAFF = "staff@holdfast.example"
# A plan that is paid for and a pack that is disputed, at the rehearsal's small Stripe, as its hosted pages would do it.
SOLD = f"""
import httpx
from django.conf import settings
from billing import checkout, people, subscriptions
from billing.models import Customer

def control(path, **body):
    headers = {{"Authorization": f"Bearer {{settings.STRIPE_REHEARSAL_KEY}}"}}
    answer = httpx.post(f"{{settings.STRIPE_API_BASE}}/_control/{{path}}", json=body, headers=headers, timeout=60)
    assert answer.is_success, answer.text
    return answer.json()

made = people.make_person("paying@people.test", password={PASSWORD!r})
account = people.open_account(made).id
row, _ = subscriptions.subscribe(account, "supporter", user=made, site="http://127.0.0.1")
control(f"pay/{{row.stripe_session}}", card="works")
bought, _ = checkout.buy(account, "standard", user=made, site="http://127.0.0.1")
control(f"pay/{{bought.stripe_session}}", card="works")
intent = checkout.client().v1.checkout.sessions.retrieve(bought.stripe_session).payment_intent
control(f"dispute/{{intent}}")
"""


@pytest.fixture(scope="module", autouse=True)
def sold(instance: Instance) -> None:
    instance.command("shell", "-c", SOLD)


def until_there(page: Page, path: str, row: Any) -> None:
    """The worker has applied what it was told: the row is in the list. Then it is opened."""
    for _ in range(180):
        page.goto(path)
        if page.locator("#result_list tbody tr", has_text=row).count():
            break
        page.wait_for_timeout(1000)
    page.locator("#result_list tbody tr", has_text=row).first.locator("a").first.click()


def does(page: Page, title: str, button: str, reason: str) -> None:
    """The act's page: the form, what it changes, then it is done."""
    page.locator(".acts a", has_text=title).click()
    page.locator("[name=reason]").fill(reason)
    page.get_by_role("button", name="See what it changes").click()
    page.get_by_role("button", name=button, exact=True).click()


def fits(visit: Visit, path: str) -> None:
    """On a phone and at a desk, in light and dark, nothing sticks out."""
    for viewport in (PHONE, DESK):
        for scheme in ("light", "dark"):
            page = visit(path, STAFF, viewport=viewport, color_scheme=scheme)
            wide = page.evaluate("document.documentElement.scrollWidth") > page.evaluate("innerWidth")
            assert not wide, page.evaluate(TOO_WIDE)
            assert is_dark(page) == (scheme == "dark")


def test_a_month_s_money_goes_back_in_one_act(visit: Visit) -> None:
    page = visit("/admin/", STAFF)
    until_there(page, "/admin/billing/allocation/", "£45.00")
    here = page.url
    expect(page.get_by_role("heading", level=1).first).to_contain_text("Supporter, ")
    page.locator(".acts a", has_text="Refund").click()
    page.locator("[name=amount_minor]").fill("9")
    page.locator("[name=reason]").fill("Not what they wanted.")
    page.get_by_role("button", name="See what it changes").click()
    expect(page.locator("table")).to_contain_text("600.00")
    page.get_by_role("button", name="Refund", exact=True).click()
    expect(page.get_by_text("Stripe has the refund, and its credits are taken back.")).to_be_visible()
    expect(page.locator(".trail")).to_contain_text("600.00 credits taken back, 0.00 owed")
    fits(visit, here)


def test_an_event_is_applied_again_and_does_nothing_twice(visit: Visit, instance: Instance) -> None:
    page = visit("/admin/", STAFF)
    granted = "granted 3,000.00 for a month of Supporter"
    until_there(page, "/admin/billing/inboxevent/?state__exact=applied", granted)
    expect(page.get_by_text(granted).first).to_be_visible()
    here = page.url.split("?")[0]
    does(page, "Apply again", "Apply again", "To see that it is safe.")
    expect(page.get_by_text("The event is due again.")).to_be_visible()
    for _ in range(180):
        page.goto(here)
        if page.get_by_text("was granted before").count():
            break
        page.wait_for_timeout(1000)
    expect(page.get_by_text("was granted before").first).to_be_visible()
    found = instance.command("reconcile", check=False)
    assert found.returncode == 0, found.stdout


def test_a_dispute_says_what_is_frozen_and_when_evidence_is_due(visit: Visit) -> None:
    page = visit("/admin/", STAFF)
    until_there(page, "/admin/billing/dispute/", "£25.00")
    expect(page.locator(".figures")).to_contain_text("1,400.00")
    expect(page.locator(".figures")).to_contain_text(re.compile(r"in \d+ days, given at Stripe"))
    expect(page.locator(".notes")).to_contain_text("Answer it at Stripe, with the evidence")
    fits(visit, page.url)
