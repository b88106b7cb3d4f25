"""Pictures, scripts and threads by this machine, as people make them; and a failure told on a phone."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from .conftest import AUTHOR, CAREFUL, DEMO, EMPTY, PHONE, WORKER_MS, Visit
from .test_every_page import look_over
from .test_making_a_video import ask_for, available, start, state, trail

pytestmark = pytest.mark.browser


def number(text: str) -> Decimal:
    """The first number in the words."""
    found = re.search(r"[0-9][0-9,]*(\.[0-9]+)?", text)
    assert found is not None, text
    return Decimal(found[0].replace(",", ""))


def steps(page: Page) -> dict[str, str]:
    """What happened to the credits: each bold word with the rest of its line."""
    return {line.split()[0]: line for line in trail(page)}


def test_the_switch_leads_from_one_form_to_the_next(visit: Visit) -> None:
    page = visit("/generate", DEMO, java_script_enabled=False)
    switch = page.get_by_role("navigation", name="What to make")
    for title, heading in (
        ("Picture", "Make a picture"),
        ("Script", "Write a script"),
        ("Thread", "Write a thread"),
        ("Video", "Make a video"),
    ):
        switch.get_by_role("link", name=title).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(heading)
        expect(switch.locator("[aria-current]")).to_have_text(title)
        expect(page.locator("#estimate .big")).to_be_visible()


def test_a_picture_is_made_shown_and_costs_exactly_its_price(visit: Visit) -> None:
    page = visit("/generate/image", AUTHOR)
    before = available(page)
    price = page.locator("#estimate .big")
    expect(price).to_contain_text("1.00")
    page.get_by_label("What should it show?").fill("A harbour office at dusk")
    page.get_by_label("1536 × 1024, landscape").check()
    expect(price).to_contain_text("1.50")
    page.get_by_label("Draft").check()
    expect(price).to_contain_text("0.75")
    start(page)
    picture = page.locator("img.film")
    picture.wait_for(timeout=WORKER_MS)  # the page is never loaded again: it follows the job by itself
    state(page).to_have_text("Ready")
    assert picture.evaluate(
        "picture => picture.decode().then(() => [picture.naturalWidth, picture.naturalHeight])"
    ) == [
        1536,
        1024,
    ]
    expect(picture).to_have_attribute("alt", "What was made: A harbour office at dusk")
    assert steps(page)["Charged"] == "Charged 0.75"
    expect(page.locator("#purse .held")).to_have_count(0)
    assert available(page) == before - Decimal("0.75")
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile("^Download ")).click()
    assert re.fullmatch(r"a-harbour-office-at-dusk\.(png|jpg|webp)", download.value.suggested_filename)
    page.get_by_role("link", name="Make another").click()
    expect(page).to_have_url(re.compile(r"/generate/image\?again="))
    expect(page.get_by_label("What should it show?")).to_have_value("A harbour office at dusk")
    expect(page.get_by_label("Draft")).to_be_checked()


@pytest.mark.parametrize(
    ("path", "field", "words"),
    [
        ("/generate/script", "What is it about?", "A lighthouse that anyone can rent for a night"),
        ("/generate/threads", "What is the thread about?", "Why we keep an old lighthouse lit"),
    ],
)
def test_a_text_is_written_read_copied_and_paid_by_what_was_counted(
    visit: Visit, path: str, field: str, words: str
) -> None:
    page = visit(path, AUTHOR, permissions=["clipboard-read", "clipboard-write"])
    before = available(page)
    price = page.locator("#estimate .big")
    empty = number(price.inner_text())
    page.get_by_label(field).fill(words * 20)
    expect(price).not_to_contain_text(str(empty))  # the price follows the words
    page.get_by_label(field).fill(words)
    page.get_by_label("Longest text").fill("900")
    page.get_by_label("Warm, like a friend").check()
    button = page.get_by_role("button", name=re.compile("Make it for at most"))
    expect(page.locator("#estimate .how")).to_contain_text("900")
    most = number(button.inner_text())
    start(page)
    prose = page.locator(".prose")
    prose.wait_for(timeout=WORKER_MS)
    state(page).to_have_text("Ready")
    assert words.split()[-1] in prose.inner_text()
    assert prose.locator("h2, h3").count() >= 1

    told = steps(page)
    assert number(told["Held"]) == most
    counted = re.fullmatch(r"Counted ([0-9,]+) tokens written out of at most 900", told["Counted"])
    assert counted is not None, told
    charged = number(told["Charged"])
    assert 0 < charged < most
    expect(page.locator(".trail")).to_contain_text("that were held are back.")
    expect(page.locator("#purse .held")).to_have_count(0)
    assert available(page) == before - charged

    page.get_by_role("button", name="Copy the text").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download TXT").click()
    assert download.value.suggested_filename.endswith(".txt")
    assert Path(download.value.path()).read_text().strip() == copied.strip()

    page.goto("/account/credits/statement")
    line = page.locator("tbody tr", has_text=words).first
    expect(line.locator(".credits")).to_have_text(f"−{charged:,}")
    line.get_by_role("link", name="Why?").click()
    page.wait_for_url("**/statement/*")
    assert steps(page)["Counted"] == counted[0]


def test_the_copied_text_stays_hidden_and_the_page_fits_a_phone(visit: Visit) -> None:
    page = visit("/generate/threads", CAREFUL, viewport=PHONE, color_scheme="dark")
    look_over(page)
    page.get_by_label("What is the thread about?").fill("Tea" + "eeeee" * 40)
    page.get_by_label("How many posts").fill("3")
    start(page)
    page.locator(".prose").wait_for(timeout=WORKER_MS)
    expect(page.locator("#whole")).to_be_hidden()
    look_over(page)


def test_too_few_credits_for_a_text_offer_a_shorter_one(visit: Visit, complaints: list[str]) -> None:
    page = visit("/generate/script", EMPTY)
    had = available(page)
    page.get_by_label("What is it about?").fill("The sea")
    page.get_by_label("Longest text").fill("4000")
    expect(page.locator("#estimate")).to_contain_text("Missing")
    page.get_by_role("button", name=re.compile("Make it for at most")).click()
    modal = page.get_by_role("dialog", name="Not enough credits")
    expect(modal).to_contain_text("This script, at most")
    offered = modal.get_by_role("button", name=re.compile("tokens instead"))
    if had > Decimal("0.2"):
        expect(offered).to_be_visible()
    modal.get_by_role("button", name="Go back and change it").click()
    expect(modal).to_be_hidden()
    expect(page.get_by_label("What is it about?")).to_have_value("The sea")
    assert available(page) == had
    assert "402" in complaints.pop()


def test_a_failure_is_told_in_full_on_a_phone(visit: Visit) -> None:
    page = visit("/generate", CAREFUL, viewport=PHONE)
    before = available(page)
    ask_for(page, "An ad for iqus e cigerrates [moderation_blocked]", "Rehearsal")
    start(page)
    state(page).to_have_text("Not made", timeout=WORKER_MS)
    told = page.locator(".film")
    for words in ("Blocked by the provider’s moderation.", "moderation_blocked", "Your 2.00 credits are back."):
        expect(told).to_contain_text(words)
        expect(told.get_by_text(words).first).to_be_in_viewport()
    look_over(page)
    page.goto("/generations")
    job = page.locator(".job", has_text="cigerrates")
    for words in ("Blocked by the provider’s moderation.", "moderation_blocked", "Your 2.00 credits are back."):
        expect(job.get_by_text(words).first).to_be_visible()
    look_over(page)
    assert available(page) == before


@pytest.mark.parametrize("path", ["/generate/image", "/generate/script", "/generate/threads"])
def test_without_scripts_each_is_made_as_well(visit: Visit, path: str) -> None:
    page = visit(path, CAREFUL, java_script_enabled=False)
    page.locator("textarea[name=prompt]").fill("A quiet boat")
    page.get_by_role("button", name=re.compile("Make it for at most")).click()
    page.wait_for_url("**/generations/*")
    for _ in range(360):
        if page.locator(".head .tag").inner_text() == "Ready":
            break
        page.wait_for_timeout(500)
        page.reload()
    state(page).to_have_text("Ready")
    expect(page.locator(".prose, img.film")).to_be_visible()
    expect(page.get_by_role("button", name="Copy the text")).to_have_count(0)
