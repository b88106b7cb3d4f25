"""The pages of every operation: its form, its price, what is too dear, what was made, and what was not and why."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.storage import default_storage
from django.test import Client

from billing import credits, ledger
from billing.models import Notice
from generations import lifecycle, offers, pages
from generations.models import Generation, Output
from generations.providers.base import Answer
from tests.generations.quick import Desk, desk, offer, picture, read
from tests.generations.test_pages import browser, text_of
from tests.generations.trip import Trip
from tools_registry import fields, pricing, registry
from tools_registry.models import ToolCost

__all__ = ["desk"]

pytestmark = pytest.mark.django_db(transaction=True)

URLS = {"ai/video": "/generate", "ai/image": "/generate/image", "ai/script": "/generate/script"} | {
    "ai/threads": "/generate/threads"
}
SCRIPT_TEXT = "# A night in the light\n\n**HOST:** Come & stay.\n\n- bring <b>rope</b>\n- bring tea\n\nThe end."


@pytest.fixture
def owner(trip: Trip, desk: Desk) -> Client:
    return browser(trip.person)


def form(slug: str, **changes: Any) -> dict[str, Any]:
    """What the operation's form sends."""
    of = registry.OPERATIONS[slug]
    more = {"provider": "quick"} if slug == "ai/video" else {}
    return {**of.example, **more, "key": str(uuid4())} | changes


def html_of(response: Any) -> str:
    return response.content.decode()


# Forms


def test_every_operation_has_its_address() -> None:
    assert {slug: offers.form_url(of) for slug, of in registry.OPERATIONS.items()} == URLS


@pytest.mark.parametrize("slug", list(URLS))
def test_a_form_is_drawn_from_its_fields_and_says_its_price(owner: Client, slug: str) -> None:
    page = owner.get(URLS[slug])
    html = html_of(page)
    operation = registry.OPERATIONS[slug]
    for of in operation.fields:
        assert f'name="{of.name}"' in html
        assert of.title in html
    assert f'<form class="grid" method="post" action="{URLS[slug]}"' in html
    drawn = {"prompt": operation.example["prompt"]}  # which stands for what is not written yet
    most = lifecycle.quote(slug, drawn).estimate.max
    assert f"Make it for at most {credits.display(most)}" in text_of(page)
    assert ("Who makes it" in html) == (slug == "ai/video"), "only where there is a choice"
    current = re.findall(r'<a href="([^"]+)" aria-current="page">', html.split('aria-label="What to make"')[1])
    assert current == [URLS[slug]]


def test_only_what_has_a_price_and_a_provider_is_shown(owner: Client) -> None:
    ToolCost.objects.filter(tool="ai/image").delete()
    offer("ai/threads")
    for path in ("/generate", "/"):
        html = html_of(owner.get(path))
        assert [f'href="{URLS[slug]}"' in html for slug in URLS] == [True, False, True, False], path
    for slug, words in (("ai/image", "No pictures just now"), ("ai/threads", "No threads just now")):
        page = owner.get(URLS[slug])
        assert page.status_code == 200
        assert words in text_of(page)
        with_form = owner.post(URLS[slug], form(slug))
        assert (with_form.status_code, words in text_of(with_form)) == (422, True)
    assert not Generation.objects.exists()


def test_without_videos_the_first_thing_on_offer_is_offered(owner: Client) -> None:
    offer("ai/video")
    assert owner.get("/generate").headers["Location"] == "/generate/image"
    assert "No videos just now" in text_of(owner.get("/generate/video"))
    for slug in registry.OPERATIONS:
        offer(slug)
    assert "No videos just now" in text_of(owner.get("/generate"))
    assert "Nothing is on offer yet" in text_of(owner.get("/"))


@pytest.mark.parametrize("path", ["/generate/poem", "/generate/poem/estimate", "/generate/ai/image", "/generate/"])
def test_what_is_no_operation_is_not_there(owner: Client, path: str) -> None:
    assert (owner.get(path).status_code, owner.post(path).status_code)[path.endswith("estimate")] == 404


@pytest.mark.parametrize("slug", list(URLS))
def test_a_form_starts_one_job_and_holds_its_maximum(trip: Trip, owner: Client, slug: str) -> None:
    sent = form(slug)
    quote = lifecycle.quote(slug, dict(registry.OPERATIONS[slug].example))
    first, second = owner.post(URLS[slug], sent), owner.post(URLS[slug], sent)
    assert (first.status_code, first.headers["Location"]) == (302, second.headers["Location"])
    job = Generation.objects.get()
    assert (job.operation, job.inputs) == (slug, dict(registry.OPERATIONS[slug].example))
    assert trip.lines == [("hold", credits.format(quote.estimate.max))]
    again = owner.get(f"{URLS[slug]}?again={job.id}")
    assert job.inputs["prompt"] in text_of(again)


def test_the_key_of_one_form_makes_nothing_by_another(owner: Client) -> None:
    sent = form("ai/script")
    owner.post(URLS["ai/script"], sent)
    assert owner.post(URLS["ai/threads"], form("ai/threads", key=sent["key"])).status_code == 409
    assert Generation.objects.count() == 1


def test_who_it_is_for_may_be_left_open(owner: Client) -> None:
    owner.post(URLS["ai/threads"], form("ai/threads", audience=""))
    assert Generation.objects.get().inputs["audience"] == "everyone"


@pytest.mark.parametrize(
    ("slug", "changes", "sentence"),
    [
        ("ai/image", {"prompt": ""}, "Write something here."),
        ("ai/image", {"prompt": "x" * 2001}, "At most 2,000 characters"),
        ("ai/image", {"size": "1280x720"}, "Choose one of"),
        ("ai/image", {"quality": "best"}, "Choose one of"),
        ("ai/script", {"prompt": "x" * 4001}, "At most 4,000 characters"),
        ("ai/script", {"kind": "opera"}, "Choose one of"),
        ("ai/script", {"tone": "loud"}, "Choose one of"),
        ("ai/script", {"seconds": "9"}, "From 10 to 180."),
        ("ai/script", {"seconds": "181"}, "From 10 to 180."),
        ("ai/script", {"length_max": "99"}, "From 100 to 4000."),
        ("ai/script", {"length_max": "4001"}, "From 100 to 4000."),
        ("ai/script", {"length_max": "8e2"}, "Write a whole number"),
        ("ai/threads", {"posts": "2"}, "From 3 to 20."),
        ("ai/threads", {"posts": "21"}, "From 3 to 20."),
        ("ai/threads", {"audience": "x" * 201}, "At most 200 characters"),
        ("ai/threads", {"length_max": ""}, "Write something here."),
    ],
)
def test_what_is_wrong_stands_beside_its_field_and_nothing_moves(
    trip: Trip, owner: Client, slug: str, changes: dict[str, Any], sentence: str
) -> None:
    with trip.nothing_moves():
        response = owner.post(URLS[slug], form(slug, **changes))
    assert response.status_code == 422
    assert sentence in text_of(response)
    assert html_of(response).count('class="error"') == 1


# Price


def price_in(response: Any) -> str:
    found = re.search(r'<div class="big">([0-9.,]+)<', html_of(response))
    assert found is not None
    return found[1]


def test_the_price_of_a_text_follows_its_words_and_its_length(trip: Trip, owner: Client) -> None:
    path = "/generate/script/estimate"
    with trip.nothing_moves():
        short = owner.post(path, form("ai/script", prompt="A"))
        long = owner.post(path, form("ai/script", prompt="A" * 2001))
        longest = owner.post(path, form("ai/script", prompt="A", length_max=4000))
    # 1,000 for our instructions, the words (advert and plain as well): 0.1 a thousand; the length: 0.5 a thousand
    assert [price_in(one) for one in (short, long, longest)] == ["0.5012", "0.7012", "2.1012"]
    for empty in ("", " ", "x" * 9999):
        assert price_in(owner.post(path, form("ai/script", prompt=empty))) == "0.5056", "as the example's"


def test_the_price_of_a_picture_follows_its_size_and_quality(owner: Client) -> None:
    path = "/generate/image/estimate"
    found = [
        price_in(owner.post(path, form("ai/image", size=size, quality=quality)))
        for size, quality in (("1024x1024", "draft"), ("1024x1024", "high"), ("1536x1024", "standard"))
    ]
    assert found == ["0.50", "2.00", "1.50"]


def test_inputs_ask_for_the_price_where_the_price_follows_them(owner: Client) -> None:
    asked = {}
    for slug, url in URLS.items():
        parts = re.findall(r'<div hx-post="([^"]+)"[^>]*>(.*?)\n', html_of(owner.get(url)).replace(">\n", ">"))
        assert {path for path, _ in parts} == {f"/generate/{slug.removeprefix('ai/')}/estimate"}
        asked[slug] = [name for _, part in parts for name in dict.fromkeys(re.findall(r' name="([^"]+)"', part))]
    assert asked == {
        "ai/video": ["seconds", "size", "quality", "provider"],  # on who makes it depends which credits can pay
        "ai/image": ["size", "quality"],
        "ai/script": ["prompt", "length_max"],
        "ai/threads": ["prompt", "audience", "length_max"],
    }


@pytest.mark.parametrize(
    ("slug", "left", "changes", "missing", "words"),
    [
        ("ai/image", "1.2", {"quality": "high"}, "0.80", "Make it Standard instead, for 1.00"),
        ("ai/image", "0.8", {"quality": "high", "size": "1536x1024"}, "2.20", "Make it Draft instead, for 0.75"),
        ("ai/image", "0.5", {"quality": "high", "size": "1536x1024"}, "2.50", "Make it 1024 × 1024, square, Draft"),
        ("ai/script", "0.3", {"prompt": "A"}, "0.2012", "Make it 390 tokens instead, for 0.2962"),
        ("ai/threads", "0.2", {"prompt": "A", "length_max": 4000}, "1.9029", "Make it 190 tokens instead, for 0.1979"),
    ],
)
def test_too_few_credits_offer_the_nearest_that_can_be_paid(
    trip: Trip, owner: Client, slug: str, left: str, changes: dict[str, Any], missing: str, words: str
) -> None:
    ledger.adjust(trip.purse.id, amount=credits.parse(left) - trip.purse.available, reason="spent", actor="user:1")
    response = owner.post(URLS[slug], form(slug, **changes))
    said = text_of(response)
    assert response.status_code == 402
    assert f"Missing {missing}" in said
    assert f"This {registry.OPERATIONS[slug].noun}, at most" in said
    assert words in said
    modal = html_of(response).split("<dialog")[1].split("</form>")[0]
    assert f'action="{URLS[slug]}"' in modal
    sent = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', modal))
    assert owner.post(URLS[slug], sent).status_code == 302


def test_nothing_cheaper_is_offered_where_nothing_is_cheap_enough(trip: Trip, owner: Client) -> None:
    ledger.adjust(trip.purse.id, amount=credits.parse("0.1") - trip.purse.available, reason="spent", actor="user:1")
    said = text_of(owner.post(URLS["ai/script"], form("ai/script")))
    assert "Not enough credits" in said
    assert "instead" not in said


@pytest.mark.parametrize("slug", list(URLS))
def test_the_search_for_something_cheaper_stays_small(desk: Desk, monkeypatch: pytest.MonkeyPatch, slug: str) -> None:
    operation = registry.OPERATIONS[slug]
    largest = {of.name: of.max for of in operation.fields if isinstance(of, fields.Whole)}
    texts = {of.name: "é" * of.length_max for of in operation.fields if isinstance(of, fields.Text)}
    quote = lifecycle.quote(slug, {**operation.example, **largest, **texts})
    priced = 0
    estimate = pricing.estimate

    def counted(*asked: Any) -> pricing.Estimate:
        nonlocal priced
        priced += 1
        return estimate(*asked)

    monkeypatch.setattr(pricing, "estimate", counted)
    pages._smaller(quote, quote.estimate.max // 3)
    assert 0 < priced <= 200


# What was made


def test_a_picture_is_shown_with_its_size(desk: Desk, owner: Client) -> None:
    job = desk.end("ai/image", picture(64, 48))
    assert job.stands == ("succeeded", "captured", "charged")
    page = owner.get(f"/generations/{job.id}")
    shown = re.search(
        r'<img class="film"[^>]* src="(/outputs/[^"]+)" width="64" height="48" alt="([^"]+)"', html_of(page)
    )
    assert shown is not None
    assert shown[2] == "What was made: A lighthouse at dawn"
    answer = owner.get(shown[1])
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")
    assert read(answer) == picture(64, 48)
    said = text_of(page)
    assert "Download PNG" in said
    assert "64 × 48" in said
    assert "1.00 credits were charged" not in said
    assert "Charged 1.00" in said


def test_a_text_is_read_on_its_page_as_letters(desk: Desk, owner: Client) -> None:
    job = desk.end("ai/script", SCRIPT_TEXT)
    html = html_of(owner.get(f"/generations/{job.id}"))
    prose = html.split('<article class="prose"')[1].split("</article>")[0]
    assert "<h2>A night in the light</h2>" in prose
    assert "<p><b>HOST:</b> Come &amp; stay.</p>" in prose
    assert "<ul><li>bring &lt;b&gt;rope&lt;/b&gt;</li><li>bring tea</li></ul>" in prose
    copied = html.split('<textarea id="whole"')[1].split(">\n", 1)[1].split("</textarea>")[0]
    assert copied == SCRIPT_TEXT.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert "Download TXT" in html
    file = owner.get(f"/generations/{job.id}/download", follow=True)
    assert read(file).decode() == SCRIPT_TEXT
    assert file.headers["Content-Disposition"].startswith("attachment; ")
    assert ".txt" in file.headers["Content-Disposition"]


@pytest.mark.parametrize(
    "hostile",
    [
        "</textarea><script>alert(1)</script>",
        "# <img src=x onerror=alert(1)>",
        "- **<svg onload=alert(1)>**",
        "{{ 7*7 }}{% now %}",
    ],
)
def test_no_text_becomes_markup(desk: Desk, owner: Client, hostile: str) -> None:
    job = desk.end("ai/threads", f"Before\n\n{hostile}\n")
    html = html_of(owner.get(f"/generations/{job.id}"))
    for tag in ("<script>alert", "<img src=x", "<svg onload"):
        assert tag not in html
    assert hostile.strip("#- *").split(">")[0].replace("<", "&lt;") in html.replace("&#x27;", "'")


def test_a_long_text_is_cut_on_the_page_and_whole_in_its_file(
    desk: Desk, owner: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "TEXT_BYTES_SHOWN", 101)
    job = desk.end("ai/script", "é" * 80 + " the end")
    said = text_of(owner.get(f"/generations/{job.id}"))
    assert "é" * 50 + " " in said, "no letter is cut in two"
    assert "é" * 51 not in said
    assert "the file has all of it" in said
    assert "the end" in read(owner.get(f"/generations/{job.id}/download", follow=True)).decode()


def test_a_text_whose_file_cannot_be_read_can_still_be_asked_for(desk: Desk, owner: Client) -> None:
    job = desk.end("ai/script", SCRIPT_TEXT)
    assert job.output is not None
    default_storage.delete(job.output.file)
    page = owner.get(f"/generations/{job.id}")
    assert page.status_code == 200
    assert "Ready to be downloaded" in text_of(page)


@pytest.mark.parametrize("change", [{"released_at": None}, {"deleted_at": "2026-01-01T00:00Z"}])
@pytest.mark.parametrize(("slug", "made"), [("ai/image", picture()), ("ai/script", SCRIPT_TEXT)])
def test_what_is_withheld_or_deleted_is_never_shown(
    desk: Desk, owner: Client, slug: str, made: Any, change: dict[str, Any]
) -> None:
    job = desk.end(slug, made)
    Output.objects.filter(generation=job.id).update(**change)
    for path in ("", "/live"):
        html = html_of(owner.get(f"/generations/{job.id}{path}"))
        assert "/outputs/" not in html
        assert "A night in the light" not in html
    assert owner.get(f"/generations/{job.id}/download").status_code == 404


def test_what_was_counted_is_told_beside_what_was_charged(trip: Trip, desk: Desk, owner: Client) -> None:
    job = desk.end("ai/script", SCRIPT_TEXT)
    # 94 × 0.1 + 412 × 0.5, a thousand; held were 1,056 × 0.1 + 800 × 0.5
    assert trip.lines == [("hold", "0.5056"), ("capture", "0.2154")]
    said = text_of(owner.get(f"/generations/{job.id}"))
    assert "Held 0.5056" in said
    assert "Counted 412 tokens written out of at most 800" in said
    assert "94 were read: what was asked, and how." in said
    assert "Charged 0.2154" in said
    assert "The other 0.2902 that were held are back." in said
    assert "412 tokens" in said.split("Download TXT")[1]
    assert job.spoken.credits == "0.2154 of at most 0.5056 credits were charged."
    line = text_of(owner.get(f"/account/credits/statement/{trip.purse.lines[-1].id}"))
    assert "Counted 412 tokens written out of at most 800" in line


def test_the_list_shows_each_kind_as_what_it_is(desk: Desk, owner: Client) -> None:
    desk.end("ai/image", picture())
    desk.end("ai/script", SCRIPT_TEXT)
    desk.end("ai/threads", "One")
    html = html_of(owner.get("/generations"))
    assert re.findall(r"icons.svg#(\w+)", html.split('id="jobs"')[1].split("<nav")[0])[:3] == [
        "thread",
        "text",
        "image",
    ]
    said = text_of(owner.get("/generations"))
    assert "Picture · 1024 × 1024, square · Standard" in said
    assert "Script · Advert · Plain and clear · 30 s · 800 tokens" in said
    assert "Thread · Plain and clear · 6 posts · 1,000 tokens" in said


# What was not made

BLOCKED = Answer("failed", "moderation_blocked", "The content was blocked by moderation.")


@pytest.mark.parametrize("slug", list(URLS))
def test_a_failure_says_code_sentence_and_credits_wherever_the_job_appears(
    trip: Trip, desk: Desk, owner: Client, slug: str
) -> None:
    job = desk.end(slug, said=BLOCKED, prompt="An ad for iqus e cigerrates")
    assert job.stands == ("failed", "released", "refunded")
    back = f"Your {credits.display(job.row.estimate_max)} credits are back."
    sentence = "Blocked by the provider’s moderation. The content was blocked by moderation."
    for path in (f"/generations/{job.id}", "/generations", "/generations?which=failed", "/generations/jobs"):
        html = html_of(owner.get(path)).split("<main")[-1]
        notice = html.split('class="notices"')[-1].split("</form>")[0] if 'class="notices"' in html else ""
        html = html.replace(notice, "")
        assert "<code>moderation_blocked</code>" in html, path
        said = text_of(type("Page", (), {"content": html.encode()})())
        assert sentence in said, path
        assert back in said, path
    news = Notice.objects.get(title=f"“An ad for iqus e cigerrates” was not made. {back}")
    assert news.body == f"{sentence} (moderation_blocked)"
    amount = credits.display(job.row.estimate_max)
    assert f"{sentence} {amount} back, nothing charged" in text_of(owner.get("/account/credits/statement"))
    line = text_of(owner.get(f"/account/credits/statement/{trip.purse.lines[-1].id}"))
    assert "moderation_blocked" in line
    assert "Blocked by the provider’s moderation" in line


def test_pages_of_jobs_keep_within_the_strict_policy(trip: Trip, desk: Desk, owner: Client) -> None:
    jobs = [desk.end("ai/image", picture()), desk.end("ai/script", SCRIPT_TEXT), desk.end("ai/threads", said=BLOCKED)]
    paths = [f"/generations/{job.id}{end}" for job in jobs for end in ("", "/live")]
    for path in (*URLS.values(), *paths, "/generations", "/"):
        answer = owner.get(path)
        html = html_of(answer)
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert not re.search(r"<[^>]*\s(style|on\w+)=", html), path
        assert not re.search(r"<script(?![^>]*\b(src|nonce)=)", html), path
