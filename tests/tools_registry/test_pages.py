"""Pages of the studio, read as whoever opens them: people, strangers, those who may not; and their static files."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client

from billing import clock, credits
from billing.models import Audit
from tests.people import Person, owner, stranger
from tests.tools_registry.api.conftest import prices, probe, probe_runner
from tests.tools_registry.test_runs import PROBE
from tools_registry import registry, studio
from tools_registry.models import ToolRun, ToolSwitch, Usual

__all__ = ["owner", "prices", "probe", "probe_runner", "stranger"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("probe")]
PAGE = f"/studio/{PROBE.slug}"


@pytest.fixture
def nobody() -> Client:
    return Client(raise_request_exception=False)


def text_of(response: Any) -> str:
    """The words of a page, without its markup."""
    whole = re.sub(r"<(script|template)\b.*?</\1>", " ", response.content.decode(), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", whole).split())


# Open to all


@pytest.mark.parametrize("tool", registry.TOOLS.values(), ids=lambda tool: tool.slug)
def test_every_tool_has_a_page_that_is_open_to_all(nobody: Client, tool: Any) -> None:
    response = nobody.get(f"/studio/{tool.slug}")
    assert response.status_code == 200
    assert tool.summary in text_of(response).replace("&#x27;", "'").replace("&quot;", '"').replace("&amp;", "&")
    assert ("Sign in to run it" in text_of(response)) == (tool.function is not None)
    body = response.content.decode()
    assert "style=" not in body
    assert re.search(r'<script type="importmap" nonce="[\w-]{20,}">', body)


@pytest.mark.parametrize("tool", registry.TOOLS.values(), ids=lambda tool: tool.slug)
def test_every_tool_drafted_in_the_browser_has_its_script(tool: Any) -> None:
    is_there = (Path(__file__).parents[2] / "static" / tool.script).is_file()
    assert is_there or tool.mode == "server"


@pytest.mark.parametrize(
    "path", ["/studio/dev-studio/nothing", "/studio/nothing/probe", f"{PAGE}/other", "/studio/dev-studio"]
)
def test_what_is_no_tool_is_not_there(nobody: Client, path: str) -> None:
    assert nobody.get(path).status_code == 404


@pytest.mark.parametrize(
    ("query", "is_shown"),
    [
        ("", True),
        ("q=every+WAY", True),
        ("q=zebra", False),
        ("studio=dev-studio", True),
        ("studio=data-studio", False),
        ("price=5", True),
        ("price=free", False),
        ("mode=server", True),
        ("mode=client", False),
        ("is=available", True),
        ("is=beta", False),
        ("price=odd&other=1", True),
    ],
)
def test_the_list_is_searched_by_its_address(nobody: Client, query: str, is_shown: bool) -> None:
    body = nobody.get(f"/studio?{query}").content.decode()
    card = re.search(r'<article class="card" data-words="probe [^>]*>', body)
    assert card is not None
    assert (" hidden" not in card[0]) == is_shown


# The price


def test_the_price_stands_there_before_a_run_with_what_it_usually_cost(owner: Person, nobody: Client) -> None:
    said = text_of(nobody.get(PAGE))
    assert "At least 3.00 At most, held while it runs 3.573742" in said
    assert "You have available" not in said
    said = text_of(owner.browser().get(PAGE))
    assert "You have available 100.00" in said
    assert "Run for at most 3.573742" in said
    Usual.objects.create(
        tool=PROBE.slug,
        bucket=studio.bucket_of(1000),
        runs=1234,
        p10=3 * credits.MICRO,
        p50=3_200_000,
        p95=3_500_000,
        counted_at=clock.now(),
    )
    part = text_of(nobody.get(f"{PAGE}/estimate?bytes=1000"))
    assert "as a rule 3.20" in part
    assert "Of 1,234 runs of this size, most cost 3.00 to 3.50" in part
    for odd in ("", "?bytes=x", "?bytes=-1", "?bytes=9999999999999999"):
        assert nobody.get(f"{PAGE}/estimate{odd}").status_code == 200


def test_too_few_credits_are_said_on_the_page(owner: Person) -> None:
    owner.calls().post("/api/holds", {"amount": "98"})
    assert "Missing 1.573742" in text_of(owner.browser().get(PAGE))


@pytest.mark.parametrize(
    ("switch", "words", "link"),
    [
        ({"is_enabled": False, "reason": "It is being repaired."}, "It is being repaired. Try again later", ""),
        ({"is_beta": True}, "Ask support to be let in", ""),
        (
            {"plan_least": "pro"},
            "comes with Pro and larger plans. Your plan does not include it. Choose a plan",
            "/account/plan",
        ),
    ],
)
def test_a_tool_that_cannot_be_used_says_why_and_what_to_do(owner: Person, switch: Any, words: str, link: str) -> None:
    ToolSwitch.objects.create(tool=PROBE.slug, changed_at=clock.now(), **switch)
    response = owner.browser().get(PAGE)
    assert words in text_of(response)
    assert "Run for at most" not in text_of(response)
    assert (link in response.content.decode()) or not link
    refused = owner.browser().post(PAGE, {"inputs": "{}", "key": "k"})
    assert refused.status_code == 403
    assert "Nothing was started and nothing was charged." in text_of(refused)
    assert Audit.objects.filter(act="run_tool", is_refusal=True).exists()


def test_whoever_may_use_what_is_in_beta_sees_the_button(owner: Person) -> None:
    ToolSwitch.objects.create(tool=PROBE.slug, is_beta=True, changed_at=clock.now())
    owner.user.user_permissions.add(Permission.objects.get(codename="use_beta_tools"))
    assert "Run for at most" in text_of(owner.browser().get(PAGE))


# Running it


def test_without_scripts_a_run_leads_to_its_page(owner: Person) -> None:
    response = owner.browser().post(PAGE, {"how": "well", "key": "k"})
    run = ToolRun.objects.get()
    assert (response.status_code, response.headers["Location"]) == (302, f"/studio/runs/{run.id}")
    act = Audit.objects.get(act="run_tool")
    assert (act.subject, act.is_refusal, act.account_id) == (f"tool_run:{run.id}", False, owner.account)
    page = owner.browser().get(f"/studio/runs/{run.id}")
    said = text_of(page)
    assert "Done" in said
    assert "said.csv" in said
    assert "Charged 3.00" in said
    assert f"/account/credits/statement/{run.entry_id}" in page.content.decode()


def test_the_example_runs_with_one_click_whatever_the_form_has(owner: Person, nobody: Client) -> None:
    page = owner.browser().get(PAGE).content.decode()
    assert 'name="example" value="1" formnovalidate' in page
    assert 'name="example"' not in nobody.get(PAGE).content.decode()
    paper = SimpleUploadedFile("a.txt", b"four")
    response = owner.browser().post(PAGE, {"how": "badly", "paper": paper, "key": "k", "example": "1"})
    run = ToolRun.objects.get()
    assert response.headers["Location"] == f"/studio/runs/{run.id}"
    assert (run.state, run.result) == ("succeeded", {"how": "well", "bytes": 0})


def test_a_form_sent_twice_runs_once(owner: Person) -> None:
    browser = owner.browser()
    first = browser.post(PAGE, {"how": "well", "key": "k"})
    again = browser.post(PAGE, {"how": "well", "key": "k"})
    assert first.headers["Location"] == again.headers["Location"]
    other = browser.post(PAGE, {"how": "refuse", "key": "k"})
    assert (other.status_code, "sent before with other inputs" in text_of(other)) == (409, True)
    assert (ToolRun.objects.count(), owner.values[0]) == (1, "97")


def test_a_file_is_taken_in_a_form(owner: Person) -> None:
    owner.browser().post(PAGE, {"how": "well", "paper": SimpleUploadedFile("a.txt", b"four"), "key": "k"})
    assert ToolRun.objects.get().result == {"how": "well", "bytes": 4}


@pytest.mark.parametrize("size", [8 * 1024 * 1024 + 1, 30 * 1024 * 1024])
def test_a_file_that_is_too_large_is_refused_before_anything_starts(owner: Person, size: int) -> None:
    response = owner.browser().post(PAGE, {"paper": SimpleUploadedFile("a.txt", b"x" * size), "key": "k"})
    assert response.status_code == 400
    assert not ToolRun.objects.exists()


def test_whoever_is_not_signed_in_is_led_to_it_before_a_byte_is_read(nobody: Client) -> None:
    response = nobody.post(PAGE, {"paper": SimpleUploadedFile("a.txt", b"x" * 9_000_000)})
    assert (response.status_code, response.headers["Location"]) == (302, f"/accounts/login/?next={PAGE}")
    part = nobody.post(PAGE, {"inputs": "{}"}, headers={"X-Part": "outcome"})
    assert part.status_code == 401
    assert "Your draft stays in this browser." in text_of(part)


def test_a_form_from_elsewhere_is_refused(owner: Person) -> None:
    browser = owner.browser(enforce_csrf_checks=True)
    assert browser.post(PAGE, {"how": "well"}).status_code == 403
    assert not ToolRun.objects.exists()


def test_what_is_wrong_stands_under_its_field(owner: Person) -> None:
    response = owner.browser().post(PAGE, {"how": "badly", "key": "k"})
    assert response.status_code == 422
    assert "Choose one of: well" in text_of(response)
    response = owner.browser().post(PAGE, {"how": "refuse", "key": "l"})
    assert (response.status_code, owner.values) == (422, ("100", "0", "0"))
    assert "Not like that." in text_of(response)
    part = owner.browser().post(PAGE, {"inputs": '{"how": "refuse"}', "key": "m"}, headers={"X-Part": "outcome"})
    found = re.search(r'data-wrong="([^"]*)"', part.content.decode())
    assert found is not None
    assert json.loads(found[1].replace("&quot;", '"')) == {"how": ["Not like that."]}


@pytest.mark.parametrize("inputs", ["", "{", "[]", "null", '{"how": NaN}', "7", '"x"', '{"other": 1}'])
def test_odd_inputs_of_the_script_are_refused_kindly(owner: Person, inputs: str) -> None:
    response = owner.browser().post(PAGE, {"inputs": inputs, "key": "k"}, headers={"X-Part": "outcome"})
    assert response.status_code in (400, 422)
    assert not ToolRun.objects.exists()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("burn", "It was stopped at its limit of 1 second of processor time"),
        ("pour", "Its result was larger than can be kept."),
        ("break", "That is our fault; it has been recorded."),
    ],
)
def test_a_run_that_was_stopped_is_told_kindly(owner: Person, how: str, words: str) -> None:
    browser = owner.browser()
    part = browser.post(PAGE, {"inputs": json.dumps({"how": how}), "key": "k"}, headers={"X-Part": "outcome"})
    said = text_of(part)
    assert words in said
    assert "Nothing was charged. Your 3.573742 credits are back." in said
    page = text_of(browser.get(f"/studio/runs/{ToolRun.objects.get().id}"))
    assert words in page
    assert "Back 3.573742" in page


def test_too_few_credits_open_the_modal(owner: Person) -> None:
    owner.calls().post("/api/holds", {"amount": "98"})
    response = owner.browser().post(PAGE, {"inputs": "{}", "key": "k"}, headers={"X-Part": "outcome"})
    assert response.status_code == 402
    assert 'dialog class="modal" data-modal open' in response.content.decode()
    assert "Not enough credits" in text_of(response)
    assert "1.573742" in text_of(response)


# What came of it


def test_the_runs_of_others_are_not_there(owner: Person, stranger: Person, nobody: Client) -> None:
    owner.browser().post(PAGE, {"how": "well", "key": "k"})
    path = f"/studio/runs/{ToolRun.objects.get().id}"
    assert stranger.browser().get(path).status_code == 404
    assert nobody.get(path).status_code == 302
    assert "Nothing run yet" in text_of(stranger.browser().get("/studio/runs"))
    assert "Probe" in text_of(owner.browser().get("/studio/runs"))
    again = stranger.browser().get(f"{PAGE}?again={ToolRun.objects.get().id}")
    assert again.status_code == 200


@pytest.mark.parametrize(("which", "count"), [("all", 2), ("done", 1), ("failed", 1), ("running", 0), ("odd", None)])
def test_the_list_of_runs_can_be_narrowed(owner: Person, which: str, count: int | None) -> None:
    for number, how in enumerate(("well", "refuse")):
        owner.browser().post(PAGE, {"how": how, "key": str(number)})
    response = owner.browser().get(f"/studio/runs?which={which}")
    if count is None:
        assert response.status_code == 404
        return
    assert response.content.decode().count('<li class="job">') == count


def test_a_result_that_is_no_longer_kept_says_so(owner: Person, clock: Any) -> None:
    from tools_registry import runs

    owner.browser().post(PAGE, {"how": "well", "key": "k"})
    clock.advance(days=31)
    runs.forget_old()
    said = text_of(owner.browser().get(f"/studio/runs/{ToolRun.objects.get().id}"))
    assert "Its result is no longer kept" in said
    assert "Charged 3.00" in said


def test_an_earlier_run_fills_the_form(owner: Person) -> None:
    owner.browser().post(PAGE, {"how": "refuse", "paper": "words", "key": "k"})
    body = owner.browser().get(f"{PAGE}?again={ToolRun.objects.get().id}").content.decode()
    assert re.search(r'value="refuse" selected', body)
    for odd in ("x", "0197a0f2-5c1e-7c6e-9a41-2f0e6d1b7c11"):
        assert owner.browser().get(f"{PAGE}?again={odd}").status_code == 200


def test_a_line_of_the_statement_tells_the_whole_story(owner: Person) -> None:
    owner.browser().post(PAGE, {"how": "well", "key": "k"})
    run = ToolRun.objects.get()
    said = text_of(owner.browser().get(f"/account/credits/statement/{run.entry_id}"))
    for words in ("Estimated 3.00", "Held 3.573742", "Used", "Charged 3.00", "(the run itself)", "See the run"):
        assert words in said


# Static files


def test_hashed_static_files_can_be_made_and_the_map_names_them(settings: Any, tmp_path: Path, nobody: Client) -> None:
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}
    }
    call_command("collectstatic", interactive=False, verbosity=0, stdout=io.StringIO())
    tool = next(tool for tool in registry.TOOLS.values() if tool.mode == "client")
    body = nobody.get(f"/studio/{tool.slug}").content.decode()
    found = re.search(r'<script type="importmap" nonce="[^"]+">(.*?)</script>', body)
    assert found is not None
    for name, url in json.loads(found[1])["imports"].items():
        assert re.search(r"\.[0-9a-f]{12}\.js$", url), name
        assert (tmp_path / url.removeprefix("/static/")).is_file()


ICONS = (Path(__file__).parents[2] / "static" / "holdfast" / "icons.svg").read_text()


@pytest.mark.parametrize("tool", registry.TOOLS.values(), ids=lambda tool: tool.slug)
def test_every_tools_icon_is_there(tool: Any) -> None:
    assert f'<symbol id="{tool.icon}"' in ICONS
