"""Every page, on a phone and in the dark: nothing sticks out, every field has a name, nothing is complained of."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from .conftest import CAREFUL, DEMO, PHONE, WORKER_MS, Visit

pytestmark = pytest.mark.browser

FOR_ALL = [
    "/",
    "/pricing",
    "/studio",
    "/accounts/login/",
    "/accounts/signup/",
    "/accounts/password/reset/",
    "/dev/mail",
    "/api/docs",
]
FOR_PEOPLE = [
    "/",
    "/generate",
    "/generate/image",
    "/generate/script",
    "/generate/threads",
    "/generations",
    "/generations?which=failed",
    "/studio",
    "/studio/runs",
    "/account/credits",
    "/account/credits/statement",
    "/account/credits/purchases",
    "/account/settings/credits",
    "/account/settings/tokens",
    "/accounts/email/",
    "/accounts/password/change/",
    "/accounts/2fa/",
]
UNNAMED = """() => [...document.querySelectorAll('input:not([type=hidden]), select, textarea, button, a, summary')]
  .filter(one => one.checkVisibility() && !one.labels?.length)
  .filter(one => !one.getAttribute('aria-label') && !one.textContent.trim())
  .map(one => one.outerHTML.slice(0, 120))"""
TOO_WIDE = """() => [...document.querySelectorAll('body *')]
  .filter(one => one.getBoundingClientRect().right > innerWidth + 1 && getComputedStyle(one).position !== 'absolute')
  .map(one => one.outerHTML.slice(0, 120)).slice(0, 5)"""


def is_dark(page: Page) -> bool:
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in colour[4:-1].split(",")[:3]) < 120


def look_over(page: Page) -> None:
    """The page fits its window, has one first heading, and each of its controls a name."""
    if page.evaluate("document.documentElement.scrollWidth") > page.evaluate("innerWidth"):
        raise AssertionError(f"{page.url} is too wide: {page.evaluate(TOO_WIDE)}")
    assert page.evaluate(UNNAMED) == [], page.url
    assert page.locator("h1").count() == 1, page.url


@pytest.mark.parametrize("path", FOR_ALL[:-1])
def test_open_pages_fit_a_phone_in_light_and_dark(visit: Visit, path: str) -> None:
    page = visit(path, viewport=PHONE)
    look_over(page)
    assert not is_dark(page)
    assert is_dark(visit(path, viewport=PHONE, color_scheme="dark"))


@pytest.mark.parametrize("path", FOR_PEOPLE)
def test_pages_of_people_fit_a_phone_and_a_desk_in_light_and_dark(visit: Visit, path: str) -> None:
    look_over(visit(path, CAREFUL, viewport=PHONE))
    page = visit(path, CAREFUL, color_scheme="dark")
    look_over(page)
    assert is_dark(page)


def test_a_job_and_a_line_fit_a_phone(visit: Visit) -> None:
    page = visit("/account/credits/statement", DEMO, viewport=PHONE, color_scheme="dark")
    page.locator("a.ask").first.click()
    page.wait_for_url("**/statement/*")
    look_over(page)
    page.goto("/generate")
    page.get_by_label("What should it show?").fill(
        "Donaudampfschifffahrtselektrizitätenhauptbetriebswerk" * 3 + " [failed e]"
    )
    page.get_by_label("Rehearsal").check()
    page.get_by_role("button", name="Make it for at most 2.00").click()
    page.wait_for_url("**/generations/*")
    look_over(page)
    page.locator(".head .tag", has_text="Not made").wait_for(timeout=WORKER_MS)
    look_over(page)
    page.goto("/generations")
    look_over(page)


def test_what_is_not_there_says_so(visit: Visit, complaints: list[str]) -> None:
    page = visit("/generations/0197a0f2-5c1e-7c6e-9a41-2f0e6d1b7c11", DEMO, viewport=PHONE)
    look_over(page)
    assert "There is nothing here" in page.title()
    assert "404" in complaints.pop()


def test_the_theme_that_a_person_chooses_stays(visit: Visit) -> None:
    page = visit("/account/credits", CAREFUL)
    page.get_by_role("button", name="Dark").click()
    assert is_dark(page)
    page.goto("/generations")
    assert is_dark(page)
    page.get_by_role("button", name="As the system").click()
    assert not is_dark(page)


def test_the_keyboard_shows_where_it_is(visit: Visit) -> None:
    page = visit("/generate", CAREFUL)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the page"
    for _ in range(12):
        page.keyboard.press("Tab")
        seen = page.evaluate(
            """() => { const style = getComputedStyle(document.activeElement);
                       const around = document.activeElement.closest('.choice');
                       const outer = around ? getComputedStyle(around) : style;
                       return style.outlineStyle !== 'none' || outer.outlineStyle !== 'none' }"""
        )
        assert seen, page.evaluate("document.activeElement.outerHTML.slice(0, 120)")


def test_the_api_is_documented_without_complaints(visit: Visit) -> None:
    page = visit("/api/docs")
    page.locator(".opblock").first.wait_for()
