"""The studio as people meet it: finding a tool, its price, a run and its result, what it cost and why."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import CAREFUL, EMPTY, PASSWORD, PHONE, Visit, shown, sign_in
from tests.browser.test_every_page import is_dark, look_over
from tests.instance import Instance
from tools_registry import registry

pytestmark = pytest.mark.browser
QUALITY = "/studio/data-studio/quality"
RUNNER = "runner@people.test"
IN_BROWSER = [tool for tool in registry.TOOLS.values() if tool.mode == "client"]


@pytest.fixture(scope="module", autouse=True)
def people(instance: Instance) -> None:
    """Somebody with 100 credits, of whom nobody else spends any."""
    instance.command("create_person", RUNNER, "--password", PASSWORD)
    instance.command("grant_credits", RUNNER, "100", "--reason", "For trying the studio")


def available(page: Page) -> Decimal:
    return Decimal((page.locator("#purse").get_attribute("data-available") or "").replace(",", ""))


def ready(page: Page) -> Page:
    page.locator("html[data-studio=ready]").wait_for()
    return page


def load_example(page: Page) -> None:
    ready(page).get_by_role("link", name="Load the example").click()
    expect(page.locator("#kept")).to_contain_text("This is the example")


def trail(page: Page) -> list[str]:
    return [" ".join(text.split()) for text in page.locator(".trail .what").all_inner_texts()]


def test_a_run_shows_its_result_its_price_and_why(visit: Visit) -> None:
    page = visit(QUALITY, RUNNER)
    before = available(page)
    expect(page.locator("#estimate .big")).to_contain_text(re.compile(r"\d\.\d\d"))
    ready(page).get_by_role("button", name="Run the example").click()
    expect(page.locator("#outcome #result")).to_have_text("Result")
    expect(page.locator("#outcome .block").first).to_be_visible()
    charged = Decimal(page.locator("#outcome .tag .n").inner_text())
    assert charged >= 3
    expect(page.locator("#purse")).to_have_attribute("data-available", shown(before - charged))

    page.get_by_role("link", name="Open on its own page").click()
    expect(page.locator(".head .tag")).to_have_text("Done")
    steps = [step.split()[0] for step in trail(page)]
    assert steps == ["Estimated", "Held", "Used", "Charged"]
    page.get_by_role("link", name="Why?").click()
    page.wait_for_url("**/statement/*")
    assert [step.split()[0] for step in trail(page)] == steps
    expect(page.locator("main")).to_contain_text("(the run itself)")
    page.get_by_role("link", name="See the run").click()
    expect(page.locator(".block").first).to_be_visible()

    page.goto("/studio/runs")
    row = page.locator(".job").first
    expect(row).to_contain_text("Data quality")
    expect(row).to_contain_text(f"{charged:.2f} charged")


def test_a_file_is_chosen_sent_and_taken_away(visit: Visit) -> None:
    page = ready(visit(QUALITY, RUNNER))
    file = {"name": "people.csv", "mimeType": "text/csv", "buffer": b"id,name\n1,Ann\n2,\n2,Bo\n"}
    page.locator('[data-document="table"] input[type=file]').set_input_files(file)
    expect(page.locator('[data-document="table"] [data-chosen-name]')).to_have_text("people.csv")
    expect(page.locator('[data-document="table"] textarea')).to_have_value("id,name\n1,Ann\n2,\n2,Bo\n")
    page.get_by_role("button", name=re.compile("Run for at most")).click()
    expect(page.locator("#outcome #result")).to_have_text("Result")
    page.get_by_role("button", name="Take it away").click()
    expect(page.locator('[data-document="table"] [data-chosen-name]')).to_be_hidden()
    page.locator('[data-document="table"] input[type=file]').set_input_files(file | {"name": "people.exe"})
    expect(page.locator('[data-document="table"] .error')).to_contain_text("Send a file that ends in")


def test_what_is_missing_is_said_beside_its_field_before_anything_is_sent(visit: Visit) -> None:
    page = ready(visit(QUALITY, RUNNER))
    before = available(page)
    page.get_by_role("button", name="Start afresh").click()
    page.get_by_role("button", name=re.compile("Run for at most")).click()
    expect(page.locator('[data-document="table"] .error')).to_have_text("This is needed.")
    expect(page.locator('[data-document="table"] textarea')).to_have_attribute("aria-invalid", "true")
    assert available(page) == before


def test_with_too_few_credits_the_modal_says_what_is_missing(visit: Visit, complaints: list[str]) -> None:
    page = visit("/studio/data-studio/lineage", EMPTY)
    load_example(page)
    page.get_by_role("button", name=re.compile("Run for at most")).click()
    modal = page.get_by_role("dialog", name="Not enough credits")
    expect(modal).to_contain_text("Nothing was started and nothing was charged.")
    expect(modal.locator(".sum .total").first).to_have_text("Missing")
    assert "402" in complaints.pop()
    modal.get_by_role("button", name="Go back and change it").click()
    expect(modal).to_be_hidden()
    page.goto("/studio/runs")
    expect(page.get_by_text("Nothing run yet")).to_be_visible()


def test_without_scripts_a_tool_runs_as_well(visit: Visit) -> None:
    page = visit(QUALITY, RUNNER, java_script_enabled=False)
    page.get_by_role("button", name="Run the example").click()
    page.wait_for_url("**/studio/runs/*")
    expect(page.locator(".head .tag")).to_have_text("Done")
    expect(page.locator(".block").first).to_be_visible()


def test_without_scripts_rows_come_and_go(visit: Visit) -> None:
    page = visit(QUALITY, RUNNER, java_script_enabled=False)
    rows = page.locator('[data-rows="expectations"] > .row-list > [data-row]')
    count = rows.count()
    page.locator('[data-rows="expectations"] > div > [data-add]').click()
    expect(rows).to_have_count(count + 1)
    rows.last.locator(":scope > [data-remove]").click()
    expect(rows).to_have_count(count)


def test_the_list_follows_what_is_typed(visit: Visit) -> None:
    page = visit("/studio")
    whole = page.locator("article:visible").count()
    page.get_by_label("Search").fill("lineage")
    expect(page.locator("article:visible")).to_have_count(1)
    expect(page.locator("#found")).to_have_text(f"1 of {whole} tools")
    assert page.url.endswith("?q=lineage")
    page.get_by_label("Search").fill("zebra")
    expect(page.get_by_text("No tool like that")).to_be_visible()
    page.get_by_label("Search").fill("")
    page.get_by_label("Price").select_option("Free")
    expect(page.locator("article:visible")).to_have_count(len(IN_BROWSER))


def test_the_list_is_searched_without_scripts(visit: Visit) -> None:
    page = visit("/studio", java_script_enabled=False)
    page.get_by_label("Search").fill("quality")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("link", name="Data quality")).to_be_visible()
    expect(page.get_by_role("link", name="Column lineage")).to_be_hidden()


@pytest.mark.parametrize("tool", IN_BROWSER, ids=lambda tool: tool.slug)
def test_a_tool_of_the_browser_works_signed_out(visit: Visit, tool: object) -> None:
    page = visit(f"/studio/{tool.slug}")  # type: ignore[attr-defined]
    load_example(page)
    expect(page.locator("#live .block").first).to_be_visible()
    expect(page.locator("#run")).to_have_count(0)
    with page.expect_download():
        page.locator("#live").get_by_role("button", name=re.compile("Download")).first.click()


def test_whoever_is_not_signed_in_is_led_to_it_and_back_to_the_draft(visit: Visit) -> None:
    page = visit(QUALITY)
    load_example(page)
    page.get_by_role("link", name="Sign in to run it").click()
    page.get_by_label("Email").fill(CAREFUL)
    page.get_by_label("Password", exact=True).fill("holdfast-demo")
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"**{QUALITY}")
    ready(page)
    expect(page.locator('[data-document="table"] textarea')).not_to_have_value("")
    expect(page.get_by_role("button", name=re.compile("Run for at most"))).to_be_enabled()


DRAFTS = "Object.keys(localStorage).filter(key => key.startsWith('studio draft')).map(key => localStorage[key])"


def test_a_draft_is_of_its_person_and_gone_when_they_sign_out(visit: Visit) -> None:
    page = visit(QUALITY)
    paper = page.locator('[data-document="table"] textarea')
    ready(page)
    paper.fill("id,name\n1,nobody")
    page.get_by_role("link", name="Sign in to run it").click()
    page.wait_for_url("**/accounts/login/**")
    sign_in(page, CAREFUL)
    page.goto(QUALITY)
    ready(page)
    expect(paper).to_have_value("id,name\n1,nobody")
    paper.fill("id,name\n1,secret")
    page.evaluate("localStorage.setItem('studio draft of 999999: data-studio/quality', '{\"table\": \"of another\"}')")
    page.evaluate("localStorage.setItem('studio draft data-studio/quality', '{\"table\": \"by an older version\"}')")
    page.goto("/studio")
    (kept,) = page.evaluate(DRAFTS)
    assert "1,secret" in kept, "what is of others went"

    page.goto(QUALITY)
    ready(page)
    page.locator("details.menu summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("banner").get_by_role("link", name="Sign in").wait_for()
    assert page.evaluate(DRAFTS) == []
    page.goto(QUALITY)
    ready(page)
    expect(paper).to_have_value("")


@pytest.mark.parametrize("tool", registry.TOOLS.values(), ids=lambda tool: tool.slug)
def test_every_tool_fits_a_phone_and_the_dark(visit: Visit, tool: object) -> None:
    page = visit(f"/studio/{tool.slug}", viewport=PHONE, color_scheme="dark")  # type: ignore[attr-defined]
    load_example(page)
    look_over(page)
    assert is_dark(page)
    page = visit(f"/studio/{tool.slug}")  # type: ignore[attr-defined]
    load_example(page)
    look_over(page)
