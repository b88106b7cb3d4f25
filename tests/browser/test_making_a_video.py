"""From a few words to a film that plays: the price first, progress, and what happened to the credits."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from playwright.sync_api import Page, expect

from tests.instance import Instance

from .conftest import CAREFUL, EMPTY, FILMMAKER, WORKER_MS, Visit, shown

pytestmark = pytest.mark.browser


def available(page: Page) -> Decimal:
    """What the header says can be spent."""
    text = page.locator("#purse").get_attribute("data-available") or ""
    return Decimal(text.replace(",", ""))


def ask_for(page: Page, words: str, provider: str = "This machine", seconds: int = 4) -> None:
    """The form is filled in; nothing is sent."""
    page.get_by_label("What should it show?").fill(words)
    page.get_by_label("Length").fill(str(seconds))
    page.get_by_label(provider).check()


def start(page: Page) -> None:
    """The form is sent, and the job's own page is there."""
    page.get_by_role("button", name=re.compile("Make it for at most")).click()
    page.wait_for_url("**/generations/*")


def state(page: Page) -> object:
    return expect(page.locator(".head .tag"))


def trail(page: Page) -> list[str]:
    """The steps of what happened to the credits: the bold word and the amount."""
    return [" ".join(text.split()) for text in page.locator(".trail .what").all_inner_texts()]


def test_the_price_follows_the_form(visit: Visit) -> None:
    page = visit("/generate", FILMMAKER)
    price = page.locator("#estimate .big")
    expect(price).to_contain_text("2.00")
    page.get_by_label("Length").fill("10")
    expect(price).to_contain_text("5.00")
    page.get_by_label("High").check()
    expect(price).to_contain_text("10.00")
    page.get_by_label("Size").select_option("640x360")
    expect(price).to_contain_text("5.00")
    expect(page.locator("#estimate")).to_contain_text("10 s × 0.50 a second, high, 640 × 360")
    before = available(page)
    expect(page.locator("#estimate .sum")).to_contain_text(shown(before - 5))


def test_a_video_is_made_plays_and_costs_exactly_its_price(visit: Visit) -> None:
    page = visit("/generate", FILMMAKER)  # nobody else's charges are among hers
    before = available(page)
    ask_for(page, "A lighthouse at dawn, gulls over the rocks")
    start(page)
    expect(page.locator("progress")).to_be_visible()
    expect(page.locator("#purse .held")).to_have_text("2.00 held")
    assert available(page) == before - 2

    film = page.locator("video")
    film.wait_for(timeout=WORKER_MS)  # the page is never loaded again: it follows the job by itself
    state(page).to_have_text("Ready")
    film.evaluate("film => { film.muted = true; return film.play() }")
    page.wait_for_function("() => document.querySelector('video').currentTime > 0")
    assert film.evaluate("film => film.readyState") >= 2
    assert film.evaluate("film => Math.round(film.duration)") == 4
    film.evaluate("film => new Promise(done => { film.onseeked = done; film.currentTime = 3.2 })")
    assert film.evaluate("film => film.currentTime") >= 3.2

    expect(page.locator("#purse .held")).to_have_count(0)
    assert available(page) == before - 2
    assert [step.split(" by ")[0] for step in trail(page)] == [
        "Estimated 2.00",
        "Held 2.00",
        "Accepted",
        "Provider said completed",
        "Charged 2.00",
    ]
    with page.expect_download() as download:
        page.get_by_role("link", name="Download MP4").click()
    assert download.value.suggested_filename == "a-lighthouse-at-dawn-gulls-over-the-rocks.mp4"

    page.goto("/account/credits/statement")
    line = page.locator("tbody tr", has_text="A lighthouse at dawn").first
    expect(line).to_contain_text("Charged")
    expect(line.locator(".credits")).to_have_text("−2.00")
    expect(line.locator(".balance")).to_have_text(shown(before - 2))
    line.get_by_role("link", name="Why?").click()
    page.wait_for_url("**/statement/*")
    assert trail(page)[-1] == "Charged 2.00"
    expect(page.get_by_text("2.00 credits were charged")).to_be_visible()
    rows = {
        row.locator("th").inner_text(): row.locator("td").all_inner_texts()
        for row in page.locator(".plain tbody tr").all()
    }
    assert rows["Balance"] == [shown(before), shown(before - 2)]
    page.get_by_role("link", name="See the run").click()
    expect(page.locator("video")).to_be_visible()


def test_what_moderation_blocks_is_explained_and_its_credits_are_back(visit: Visit) -> None:
    page = visit("/generate", FILMMAKER)
    before = available(page)
    page.get_by_text("Rehearse a failure").click()
    expect(page.get_by_text("[moderation_blocked]", exact=True)).to_be_visible()
    ask_for(page, "An advert [moderation_blocked]", "Rehearsal")
    start(page)
    state(page).to_have_text("Not made", timeout=WORKER_MS)
    expect(page.locator(".film")).to_contain_text("Blocked by the provider’s moderation.")
    expect(page.locator(".film")).to_contain_text("Your 2.00 credits are back.")
    assert trail(page)[-2:] == ["Provider said moderation_blocked", "Back 2.00"]
    expect(page.locator("#purse .held")).to_have_count(0)
    assert available(page) == before
    page.get_by_role("link", name="Change it and try again").click()
    expect(page.get_by_label("What should it show?")).to_have_value("An advert [moderation_blocked]")
    expect(page.get_by_label("Rehearsal")).to_be_checked()


def test_a_running_video_can_be_stopped(visit: Visit) -> None:
    page = visit("/generate", CAREFUL)
    before = available(page)
    ask_for(page, "A slow boat [slow 10m]", "Rehearsal", seconds=8)
    start(page)
    state(page).to_have_text("Running", timeout=WORKER_MS)
    page.get_by_role("button", name="Stop it").click()
    state(page).to_have_text("Cancelled", timeout=WORKER_MS)
    expect(page.locator(".film")).to_contain_text("Your 4.00 credits are back.")
    expect(page.locator("#purse .held")).to_have_count(0)
    assert available(page) == before


def test_with_too_few_credits_nothing_starts_and_something_smaller_is_offered(
    visit: Visit, complaints: list[str]
) -> None:
    page = visit("/generate", EMPTY)
    assert available(page) == 1
    ask_for(page, "A lighthouse at dusk")
    page.get_by_role("button", name="Make it for at most 2.00").click()
    modal = page.get_by_role("dialog", name="Not enough credits")
    expect(modal).to_contain_text("Nothing was started and nothing was charged.")
    assert [text.strip() for text in modal.locator(".sum dd").all_inner_texts()] == ["2.00", "1.00", "1.00"]
    assert len(complaints) == 1, "the answer said 402"
    assert "402" in complaints.pop()

    modal.get_by_role("button", name="Go back and change it").click()
    expect(modal).to_be_hidden()
    expect(page.get_by_label("What should it show?")).to_have_value("A lighthouse at dusk")
    page.goto("/generations")
    expect(page.get_by_text("Nothing made yet")).to_be_visible()
    page.goto("/account/credits/statement")
    expect(page.locator("tbody tr:not(.day)")).to_have_count(1)
    assert available(page) == 1

    page.goto("/generate")
    ask_for(page, "A lighthouse at dusk")
    page.get_by_role("button", name="Make it for at most 2.00").click()
    page.get_by_role("button", name="Make it 2 s instead, for 1.00").click()
    page.wait_for_url("**/generations/*")
    page.locator("video").wait_for(timeout=WORKER_MS)
    expect(page.locator("#purse")).to_have_attribute("data-available", "0.00")
    complaints.clear()


def test_the_list_follows_what_is_running(visit: Visit, instance: Instance) -> None:
    page = visit("/generate", CAREFUL)
    ask_for(page, "A short boat [slow 4s]", "Rehearsal", seconds=1)
    start(page)
    page.goto("/generations")
    job = page.locator(".job", has_text="A short boat")
    expect(job.locator(".state")).to_have_text("Ready", timeout=WORKER_MS)  # without loading the page again
    expect(job.locator(".credits")).to_have_text("0.50 charged")
    page.get_by_role("link", name="Failed").click()
    expect(page.locator(".job", has_text="A short boat")).to_have_count(0)


def test_without_scripts_a_video_is_made_as_well(visit: Visit) -> None:
    page = visit("/generate", CAREFUL, java_script_enabled=False)
    page.get_by_label("What should it show?").fill("A quiet boat")
    page.get_by_label("Draft").check()
    page.get_by_label("Rehearsal").check()
    page.get_by_role("button", name=re.compile("Make it for at most")).click()
    page.wait_for_url("**/generations/*")
    for _ in range(360):
        if page.locator(".head .tag").inner_text() == "Ready":
            break
        page.wait_for_timeout(500)
        page.reload()
    state(page).to_have_text("Ready")
    assert trail(page)[-1] == "Charged 1.00"


def test_a_field_that_is_wrong_says_so_beside_it(visit: Visit, complaints: list[str]) -> None:
    page = visit("/generate", CAREFUL)
    page.get_by_label("What should it show?").evaluate("text => { text.required = false; text.value = '   ' }")
    page.get_by_role("button", name=re.compile("Make it for at most")).click()
    field = page.get_by_label("What should it show?")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.locator(".field .error")).to_have_text("Write something here.")
    assert "422" in complaints.pop()
