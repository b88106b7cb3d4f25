"""The workshop's pages as a browser without scripts meets them: who may see what, one job for one form, refusals."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import Client

from billing import credits, ledger
from billing.models import Audit, Notice
from generations import lifecycle, links
from generations.models import Generation, Output
from tests.billing.purse import Purse
from tests.generations.trip import SHORT, Job, Trip, new_person

pytestmark = pytest.mark.django_db(transaction=True)


def browser(user: Any) -> Client:
    client = Client()
    client.force_login(user, backend="config.sign_in.EmailBackend")
    return client


@pytest.fixture
def owner(trip: Trip) -> Client:
    return browser(trip.person)


@pytest.fixture
def member(trip: Trip) -> Client:
    client = browser(new_person("milo", trip.purse, role="member"))
    client.post("/account/choose", {"account": str(trip.purse.id)})
    return client


@pytest.fixture
def stranger(trip: Trip) -> Client:
    return browser(new_person("sam", Purse()))


def form(**changes: Any) -> dict[str, Any]:
    """What the form sends."""
    return SHORT | {"prompt": "A lighthouse at dawn", "provider": "rehearsal", "key": str(uuid4())} | changes


def text_of(response: Any) -> str:
    """The page's words, without its tags."""
    page = re.sub(r"<(script|style|template)\b.*?</\1>", "", response.content.decode(), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


# Who may see


PAGES = ["/generate", "/generations", "/generations/jobs", "/account/credits", "/account/credits/statement"]


@pytest.mark.parametrize("path", PAGES)
def test_pages_ask_to_sign_in_and_come_back(trip: Trip, client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 302
    assert response.headers["Location"] == f"/accounts/login/?next={path}"


def test_a_fragment_after_signing_out_loads_the_whole_page_again(trip: Trip, client: Client) -> None:
    response = client.get("/account/credits/purse", headers={"HX-Request": "true"})
    assert (response.content, response.headers["HX-Refresh"]) == (b"", "true")


def test_an_address_that_is_not_verified_opens_no_page(trip: Trip, owner: Client) -> None:
    trip.person.emailaddress_set.update(verified=False)
    assert "First confirm your address" in text_of(owner.get("/generate"))
    assert "First confirm your address" in text_of(owner.post("/generate", form()))
    assert not Generation.objects.exists()


def test_owner_and_member_see_a_job_and_a_stranger_does_not(
    trip: Trip, owner: Client, member: Client, stranger: Client
) -> None:
    job = trip.start().ended()
    line = trip.purse.lines[-1]
    for path in (f"/generations/{job.id}", f"/generations/{job.id}/live", f"/account/credits/statement/{line.id}"):
        assert [browser.get(path).status_code for browser in (owner, member, stranger)] == [200, 200, 404]
    assert "lighthouse" in text_of(member.get("/generations"))
    assert "lighthouse" not in text_of(stranger.get("/generations"))
    assert "lighthouse" not in stranger.get(f"/generate?again={job.id}").content.decode()


# Outputs


@pytest.fixture
def output(trip: Trip) -> Output:
    """Ten known bytes as the output of a job that was charged."""
    found = trip.start("A “lighthouse”\r\nat dawn").ended().output
    assert found is not None
    found.file = default_storage.save("outputs/test/film.mp4", ContentFile(b"0123456789"))
    found.bytes = 10
    found.save()
    return found


def body(response: Any) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content


def test_an_output_is_served_to_its_account_alone(
    trip: Trip, output: Output, owner: Client, member: Client, stranger: Client, client: Client
) -> None:
    url = links.output_url(output)
    for browser in (owner, member):
        response = browser.get(url)
        assert (response.status_code, body(response)) == (200, b"0123456789")
    for browser in (stranger, client):
        assert browser.get(url).status_code == 404


def test_an_output_says_what_it_is_and_nothing_else_is_believed(trip: Trip, output: Output, owner: Client) -> None:
    url = links.output_url(output)
    response = owner.get(url)
    headers = response.headers
    response.close()
    assert headers["Content-Type"] == "video/mp4"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Disposition"] == 'inline; filename="a-lighthouse-at-dawn.mp4"'
    assert headers["Content-Length"] == "10"
    response = owner.get(f"{url}?download=1")
    assert response.headers["Content-Disposition"].startswith("attachment; ")
    response.close()


@pytest.mark.parametrize(
    ("asked", "status", "got", "range"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=4-", 206, b"456789", "bytes 4-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
        ("bytes=5-2", 416, b"", "bytes */10"),
        ("bytes=0-1,4-5", 416, b"", "bytes */10"),
        ("bytes=-", 200, b"0123456789", None),
        ("bytes=٣-", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
    ],
)
def test_a_part_of_an_output(
    trip: Trip, output: Output, owner: Client, asked: str, status: int, got: bytes, range: str | None
) -> None:
    response = owner.get(links.output_url(output), headers={"Range": asked.encode().decode("latin-1")})
    assert (response.status_code, body(response), response.headers.get("Content-Range")) == (status, got, range)


def test_a_part_of_what_has_changed_is_all_of_it(trip: Trip, output: Output, owner: Client) -> None:
    response = owner.get(links.output_url(output), headers={"Range": "bytes=0-3", "If-Range": '"another"'})
    assert (response.status_code, body(response)) == (200, b"0123456789")


def test_links_grow_old_and_cannot_be_forged(trip: Trip, output: Output, owner: Client, settings: Any) -> None:
    url = links.output_url(output)
    assert owner.get(url[:-1] + ("a" if url[-1] != "a" else "b")).status_code == 404
    assert owner.get(f"/outputs/{output.id.hex}").status_code == 404
    settings.OUTPUT_LINK_SECONDS = -1
    assert owner.get(url).status_code == 404


@pytest.mark.parametrize("change", [{"released_at": None}, {"deleted_at": "2026-01-01T00:00Z"}])
def test_what_is_withheld_or_deleted_is_never_served(
    trip: Trip, output: Output, owner: Client, change: dict[str, Any]
) -> None:
    url = links.output_url(output)
    Output.objects.filter(id=output.id).update(**change)
    assert owner.get(url).status_code == 404
    page = owner.get(f"/generations/{output.generation_id}")
    assert "/outputs/" not in page.content.decode()


def test_a_withheld_output_is_not_linked_and_the_page_says_what_it_waits_for(trip: Trip, owner: Client) -> None:
    job = trip.running("[slow 9h]")
    trip.advance(hours=7)
    trip.sweep()
    assert job.row.state == "awaiting_settlement"
    ledger.adjust(trip.purse.id, amount=-trip.purse.available, reason="spent elsewhere", actor="user:1")
    job.tell("completed")
    trip.sweep_until(lambda: job.row.outcome == "withheld")
    page = owner.get(f"/generations/{job.id}")
    assert "/outputs/" not in page.content.decode()
    assert "Ready, and waiting for credits" in text_of(page)
    assert job.output is not None
    assert owner.get(links.output_url(job.output)).status_code == 404


# Starting


def test_a_form_sent_twice_makes_one_job(trip: Trip, owner: Client) -> None:
    sent = form()
    first, second = owner.post("/generate", sent), owner.post("/generate", sent)
    assert first.status_code == second.status_code == 302
    assert first.headers["Location"] == second.headers["Location"]
    assert Generation.objects.count() == 1
    assert trip.lines == [("hold", "0.5")]


def test_a_form_that_was_changed_after_it_was_sent_needs_another_press(trip: Trip, owner: Client) -> None:
    sent = form()
    owner.post("/generate", sent)
    response = owner.post("/generate", sent | {"prompt": "Another lighthouse"})
    assert response.status_code == 409
    assert "Nothing new has been started now" in text_of(response)
    assert Generation.objects.count() == 1
    key = re.search(r'name="key" value="([^"]+)"', response.content.decode())
    assert key is not None
    assert owner.post("/generate", sent | {"prompt": "Another lighthouse", "key": key[1]}).status_code == 302
    assert Generation.objects.count() == 2


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"prompt": ""}, "Write something here."),
        ({"prompt": "x" * 2001}, "At most 2,000 characters"),
        ({"prompt": "a\x00b"}, "Null characters are not allowed."),
        ({"seconds": "0"}, "From 1 to 20."),
        ({"seconds": "21"}, "From 1 to 20."),
        ({"seconds": "٧"}, "Write a whole number"),
        ({"seconds": "1_0"}, "Write a whole number"),
        ({"seconds": "-4"}, "Write a whole number"),
        ({"seconds": "4.0"}, "Write a whole number"),
        ({"size": "1x1"}, "Choose one of"),
        ({"quality": "best"}, "Choose one of"),
        ({"provider": "openai"}, "not offered"),
    ],
)
def test_what_is_wrong_stands_beside_its_field_and_nothing_moves(
    trip: Trip, owner: Client, changes: dict[str, Any], sentence: str
) -> None:
    with trip.nothing_moves():
        response = owner.post("/generate", form(**changes))
    assert response.status_code == 422
    assert sentence in text_of(response)
    assert response.content.decode().count('class="error"') == 1


def test_too_few_credits_say_what_is_missing_and_offer_what_can_be_paid(trip: Trip, owner: Client) -> None:
    with trip.nothing_moves():
        response = owner.post("/generate", form(seconds=20, size="1280x720", quality="high"))
    assert response.status_code == 402
    said = text_of(response)
    assert "Not enough credits Nothing was started and nothing was charged." in said
    assert "This video, at most 20.00 You have available 10.00 Missing 10.00" in said
    assert "Make it 10 s instead, for 10.00" in said
    assert "Buy" not in said
    refused = Audit.objects.get(is_refusal=True)
    assert (refused.act, refused.code, refused.actor) == ("generate", "insufficient_credits", f"user:{trip.person.pk}")


def test_the_page_is_no_way_around_the_limit_of_requests(trip: Trip, owner: Client, settings: Any) -> None:
    settings.API_WRITES_PER_MINUTE = 0
    with trip.nothing_moves():
        response = owner.post("/generate", form())
    assert response.status_code == 429
    assert "Too many requests" in text_of(response)


def test_a_frozen_account_is_told_so(trip: Trip, owner: Client) -> None:
    ledger.set_account_frozen(trip.purse.id, True, "a question")
    with trip.nothing_moves():
        response = owner.post("/generate", form())
    assert response.status_code == 403
    assert "This account is frozen." in text_of(response)


def test_estimates_follow_the_form_and_move_nothing(trip: Trip, owner: Client) -> None:
    with trip.nothing_moves():
        said = text_of(owner.post("/generate/estimate", form(prompt="", seconds=8)))
    assert "1.00 credits 8 s × 0.13 a second, draft, 640 × 360" in said.replace("0.125", "0.13")
    assert "You have available 10.00 Left while it runs 9.00" in said
    assert "Length: From 1 to 20." in text_of(owner.post("/generate/estimate", form(seconds=99)))


# While it runs


def test_the_live_part_says_nothing_while_nothing_changes(trip: Trip, owner: Client) -> None:
    job = trip.running()
    page = owner.get(f"/generations/{job.id}").content.decode()
    live = re.search(r'hx-get="([^"]+)"[^>]*hx-trigger="every 1s"', page.split('id="generation"')[1])
    assert live is not None
    assert owner.get(live[1]).status_code == 204
    job.tell("completed")
    job.ended()
    response = owner.get(live[1])
    assert response.headers["HX-Trigger"] == "purse"
    assert "hx-get" not in response.content.decode()
    assert "Ready" in text_of(response)


def test_reading_about_a_job_is_having_read_its_news(trip: Trip, owner: Client) -> None:
    job = trip.start("[moderation_blocked]").ended()
    assert "Your 0.50 credits are back." in text_of(owner.get("/account/credits"))
    owner.get(f"/generations/{job.id}")
    assert not Notice.objects.filter(seen_at=None).exists()


def test_a_job_is_cancelled_by_its_account_and_by_nobody_else(trip: Trip, owner: Client, stranger: Client) -> None:
    job = trip.start()
    assert stranger.post(f"/generations/{job.id}/cancel").status_code == 404
    assert owner.get(f"/generations/{job.id}/cancel").status_code == 405
    assert owner.post(f"/generations/{job.id}/cancel").status_code == 302
    assert job.stands == ("cancelled", "released", "refunded")
    said = text_of(owner.post(f"/generations/{job.id}/cancel", follow=True))
    assert "This cannot be cancelled any more." in said


def test_the_list_turns_its_pages_and_filters(trip: Trip, owner: Client) -> None:
    ledger.grant(trip.purse.id, amount=20 * credits.MICRO, source="pack")
    jobs = [trip.start(f"Boat {number}") for number in range(23)]
    lifecycle.cancel(trip.purse.id, jobs[0].id)
    first = owner.get("/generations")
    assert "Boat 22" in text_of(first)
    assert "Boat 2 " not in text_of(first)
    older = re.search(r'href="([^"]+before=[^"]+)"', first.content.decode())
    assert older is not None
    second = owner.get(older[1])
    assert [f"Boat {number}" in text_of(second) for number in (0, 1, 2, 3)] == [True, True, True, False]
    newer = re.search(r'href="([^"]+after=[^"]+)"', second.content.decode())
    assert newer is not None
    assert "Boat 22" in text_of(owner.get(newer[1]))
    assert "Boat 0" in text_of(owner.get("/generations?which=failed"))
    assert "Boat 1" not in text_of(owner.get("/generations?which=failed"))
    for wrong in ("which=other", "before=x", f"before={uuid4().hex}"[:9]):
        assert owner.get(f"/generations?{wrong}").status_code == 404


# A line and why


def test_a_line_is_explained_by_the_job_behind_it(trip: Trip, owner: Client) -> None:
    job: Job = trip.start("[moderation_blocked]").ended()
    held, back = trip.purse.lines[-2:]
    for line in (held, back):
        said = text_of(owner.get(f"/account/credits/statement/{line.id}"))
        assert "moderation_blocked" in said
        assert f'href="/generations/{job.id}"' in owner.get(f"/account/credits/statement/{line.id}").content.decode()
    said = text_of(owner.get(f"/account/credits/statement/{back.id}"))
    assert "Available 9.50 10.00 Held 0.50 0.00 Balance 10.00 10.00" in said


def test_a_prompt_is_never_taken_for_html(trip: Trip, owner: Client) -> None:
    job = trip.start("<script>alert(1)</script>")
    for path in ("/generations", f"/generations/{job.id}", f"/generate?again={job.id}", "/account/credits"):
        assert "<script>alert" not in owner.get(path).content.decode()


def test_a_download_gets_a_fresh_link(trip: Trip, output: Output, owner: Client, stranger: Client) -> None:
    path = f"/generations/{output.generation_id}/download"
    response = owner.get(path, follow=True)
    assert body(response) == b"0123456789"
    assert response.headers["Content-Disposition"].startswith("attachment; ")
    assert stranger.get(path).status_code == 404
    Output.objects.filter(id=output.id).update(released_at=None)
    assert owner.get(path).status_code == 404
