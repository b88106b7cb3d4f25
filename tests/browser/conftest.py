"""A real `up`, its people, and a browser that complains about nothing."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.instance import Instance

DEMO, EMPTY, CAREFUL = "demo@holdfast.example", "empty@holdfast.example", "careful@people.test"
PASSWORD = "holdfast-demo"
FORGETFUL, GUARDED = "forgetful@people.test", "guarded@people.test"
FILMMAKER, AUTHOR = "filmmaker@people.test", "author@people.test"
# In one process: each takes seconds to start.
PEOPLE = f"""
from billing import credits, ledger, people
for email in {[CAREFUL, FORGETFUL, GUARDED, FILMMAKER, AUTHOR]!r}:
    made = people.make_person(email, password={PASSWORD!r})
    amount = credits.parse("20")
    ledger.grant(people.open_account(made).id, amount=amount, source="gift", reason="For the browser's tests")
"""
# For what comes at once where the machine is not busy, and for what a worker does first.
PATIENCE_MS, WORKER_MS = 60_000, 180_000
expect.set_options(timeout=PATIENCE_MS)
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}
# htmx says so when a page is left while it still asks something.
LEAVING = re.compile(r"htmx:(sendAbort|afterRequest)")


@pytest.fixture(scope="session")
def instance() -> Iterator[Instance]:
    """Everything running, with the demo people and five more, who have 20 credits each."""
    with tempfile.TemporaryDirectory(prefix="holdfast-browser-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        running = Instance(Path(name) / "data")
        try:
            running.start().ready()
            running.command("shell", "-c", PEOPLE)
            yield running
        finally:
            running.stop()


def shown(credits: Decimal) -> str:
    """An amount as pages write it: two decimals, and more where there are."""
    short = credits.quantize(Decimal("0.01"))
    return f"{short if short == credits else credits.normalize():,f}"


def chromium_path() -> str | None:
    """The machine's own Chromium; None where only Playwright's can be tried."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium. Where there is none, the tests fail and name it; they are never skipped.

    Playwright keeps an event loop in this thread, which Django would take for its own.
    """
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox"])
            yield browser
            browser.close()
    finally:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


Visit = Callable[..., Page]
_signed_in: dict[str, Any] = {}


@pytest.fixture
def complaints() -> list[str]:
    """What the browser complained of: script errors, refused content, answers that were errors."""
    return []


@pytest.fixture
def visit(browser: Browser, instance: Instance, complaints: list[str]) -> Iterator[Visit]:
    """Opens a page as somebody, or as nobody: `visit("/generate", DEMO)`. Afterwards nothing was complained of.

    A test that means to see an error takes it out of `complaints`.
    """
    opened: list[BrowserContext] = []

    def visit(path: str, person: str | None = None, **options: Any) -> Page:
        options = {"viewport": DESK, "locale": "en-GB", "color_scheme": "light"} | options
        context = browser.new_context(
            base_url=instance.url, storage_state=_state(browser, instance, person) if person else None, **options
        )
        opened.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("console", lambda said: _hear(complaints, said))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path)
        return page

    yield visit
    for context in opened:
        context.close()
    assert complaints == []


def _hear(complaints: list[str], said: Any) -> None:
    if said.type in ("error", "warning") and not LEAVING.search(said.text):
        complaints.append(f"{said.text} ({said.location.get('url')})")


def _state(browser: Browser, instance: Instance, person: str) -> Any:
    """The cookies of a signed-in person, who signs in once for all tests."""
    key = f"{instance.url} {person}"
    if key not in _signed_in:
        context = browser.new_context(base_url=instance.url)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        sign_in(page, person)
        _signed_in[key] = context.storage_state()
        context.close()
    return _signed_in[key]


def sign_in(page: Page, person: str, password: str = PASSWORD) -> None:
    """The person has signed in by the form."""
    page.goto("/accounts/login/")
    page.get_by_label("Email").fill(person)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    page.locator("#purse").wait_for()
