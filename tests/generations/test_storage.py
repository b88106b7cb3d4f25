"""Outputs are kept in files or at an S3-compatible service, privately, and handed out by the same view. Each law is
tried with both; the service is a small one of our own, over real HTTP.
"""

from __future__ import annotations

import os
import re
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import Client

from config import settings as written
from generations import keeping, lifecycle, links
from generations.models import Output
from generations.storage import Unreachable, output_storage
from tests.generations.providers.conftest import until
from tests.generations.trip import Trip
from tests.object_store import KEY, SECRET, ObjectStore, object_store

pytestmark = pytest.mark.django_db(transaction=True)


def use(settings: Any, url: str, folder: Path) -> None:
    """Outputs are kept where HOLDFAST_STORAGE_URL would put them."""
    chosen = written._output_storage(url)
    if not url:
        chosen["OPTIONS"] = {"location": folder}
    settings.STORAGES = settings.STORAGES | {"default": chosen}


@pytest.fixture
def store(settings: Any, tmp_path: Path) -> Iterator[ObjectStore]:
    """The outputs' storage is a bucket."""
    with object_store() as store:
        use(settings, store.url, tmp_path)
        yield store


Leave = Callable[[str, float], None]


@pytest.fixture(params=["files", "bucket"])
def leave(request: pytest.FixtureRequest, settings: Any, tmp_path: Path) -> Leave:
    """Either storage is in use. Leaves a file there that is so many days old, whatever our rows say of it."""
    if request.param == "bucket":
        store: ObjectStore = request.getfixturevalue("store")
        return lambda name, days: store.put(name, days=days)
    use(settings, "", tmp_path)

    def leave(name: str, days: float) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"left")
        at = path.stat().st_mtime - timedelta(days=days).total_seconds()
        os.utime(path, (at, at))

    return leave


@pytest.fixture
def browser(trip: Trip) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(trip.person, backend="config.sign_in.EmailBackend")
    return client


def body(response: Any) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content


# A job's whole life, in either storage


@pytest.mark.parametrize("kind", ["files", "bucket"])
def test_a_job_is_made_downloaded_in_parts_and_deleted_in_its_time(
    kind: str, trip: Trip, browser: Client, settings: Any, tmp_path: Path
) -> None:
    with object_store() as store:
        use(settings, store.url if kind == "bucket" else "", tmp_path)
        job = trip.start().ended()
        assert job.stands == ("succeeded", "captured", "charged")
        output = job.output
        assert output is not None
        assert output.file.startswith(f"outputs/{job.id}/")
        assert job.has_file
        if kind == "bucket":
            assert list(store.objects) == [output.file]
            assert store.objects[output.file].content_type == "video/mp4"
            assert not list(tmp_path.rglob("*.mp4"))
        url = links.output_url(output)
        film = body(browser.get(url))
        assert film[4:8] == b"ftyp"
        assert len(film) == output.bytes
        middle = browser.get(url, headers={"Range": f"bytes=100-{output.bytes - 101}"})
        assert middle.status_code == 206
        assert body(middle) == film[100:-100]
        assert body(browser.get(url, headers={"Range": "bytes=-7"})) == film[-7:]

        trip.advance(days=settings.OUTPUT_KEEP_DAYS + 0.1)
        trip.sweep()
        assert not job.has_file
        assert job.output is not None
        assert job.output.deleted_at is not None
        assert store.objects == {}
        assert not list(tmp_path.rglob("*.*"))
        assert browser.get(links.output_url(output)).status_code == 404


def test_a_bucket_is_asked_privately_and_for_no_more_than_was_asked_of_us(
    trip: Trip, store: ObjectStore, browser: Client
) -> None:
    job = trip.start().ended()
    assert job.output is not None
    assert store.methods() == ["PUT"], "one request stores an output, or nothing does"
    url = links.output_url(job.output)
    store.sent_bytes = 0
    assert len(body(browser.get(url, headers={"Range": "bytes=10-29"}))) == 20
    until(lambda: store.sent_bytes == 20)  # counted once the last of them has left
    browser.head(url)
    assert store.methods() == ["PUT", "GET", "HEAD"]
    for asked in store.asked:
        assert not any(name.lower().startswith("x-amz-") for name in asked.query), "an address was signed"
        assert not any("acl" in name.lower() or "grant" in name.lower() for name in asked.headers)
    page = browser.get(f"/generations/{job.id}").content.decode()
    assert str(store.port) not in page
    assert KEY not in page
    with pytest.raises(NotImplementedError):
        default_storage.url(job.output.file)


@pytest.mark.usefixtures("leave")
def test_a_large_output_is_never_in_memory_as_a_whole(trip: Trip, browser: Client) -> None:
    output = trip.start().ended().output
    assert output is not None
    output.bytes = 40_000_000
    output.file = output_storage().save(f"outputs/{output.generation_id}/large.mp4", ContentFile(b"x" * output.bytes))
    output.save()
    tracemalloc.start()
    response = browser.get(links.output_url(output))
    count = sum(len(chunk) for chunk in response.streaming_content)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == output.bytes
    assert most < 4_000_000  # the stand-in's own copy was made before


def test_the_folder_of_files_is_readable_by_its_owner_alone(trip: Trip, settings: Any, tmp_path: Path) -> None:
    use(settings, "", tmp_path / "files")
    job = trip.start().ended()
    assert job.output is not None
    path = tmp_path / "files" / job.output.file
    assert path.stat().st_mode & 0o777 == 0o600
    assert {folder.stat().st_mode & 0o777 for folder in list(path.parents)[:2]} == {0o700}


# What a crash leaves


def names_in_storage() -> set[str]:
    return {one.name for one in output_storage().listed("outputs")}


def test_a_file_without_a_row_is_deleted_after_a_day_and_nothing_else(trip: Trip, leave: Leave) -> None:
    job, other = trip.start().ended(), trip.start("[moderation_blocked]").ended()
    assert job.output is not None
    elsewhere = uuid4()  # a job of another installation with the same bucket, or of after our backup
    kept = {
        f"outputs/{job.id}/{uuid4()}.mp4": 0.5,
        f"outputs/{elsewhere}/{uuid4()}.mp4": 9,
        "outputs/readme/notes.txt": 9,
    }
    lost = {f"outputs/{job.id}/{uuid4()}.mp4": 1.1, f"outputs/{other.id}/{uuid4()}.mp4": 400}
    for name, days in (kept | lost).items():
        leave(name, days)
    assert keeping.sweep_orphans() == 2
    assert names_in_storage() == {job.output.file, *kept}
    assert keeping.sweep_orphans() == 0
    assert job.has_file


def test_a_file_whose_row_says_that_it_is_deleted_is_deleted(trip: Trip, leave: Leave) -> None:
    job = trip.start().ended()
    assert job.output is not None
    leave(job.output.file, 2)
    assert keeping.sweep_orphans() == 0
    Output.objects.filter(id=job.output.id).update(deleted_at=job.output.stored_at)
    assert keeping.sweep_orphans() == 1
    assert names_in_storage() == set()


def test_a_kill_between_the_file_and_its_row_leaves_one_file_in_the_end(
    trip: Trip, monkeypatch: pytest.MonkeyPatch, store: ObjectStore
) -> None:
    job = trip.start()
    with monkeypatch.context() as broken:

        def pull_the_plug(*_: Any) -> None:
            raise KeyboardInterrupt

        broken.setattr(lifecycle, "_record_output", pull_the_plug)
        with pytest.raises(KeyboardInterrupt):
            job.ended()
    assert len(store.objects) == 1
    job.ended()
    assert job.stands == ("succeeded", "captured", "charged")
    assert len(store.objects) == 2
    for kept in store.objects.values():
        kept.changed_at -= timedelta(days=2)
    assert keeping.sweep_orphans() == 1
    assert job.output is not None
    assert list(store.objects) == [job.output.file]


def test_a_pass_that_runs_out_of_time_is_gone_on_with(
    trip: Trip, leave: Leave, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "BATCH", 3)
    job = trip.start("[moderation_blocked]").ended()
    for number in range(8):
        leave(f"outputs/{job.id}/{number}.mp4", 2)
    assert [keeping.sweep_orphans(seconds=-1) for _ in range(4)] == [3, 3, 2, 0]
    assert names_in_storage() == set()
    leave(f"outputs/{job.id}/0.mp4", 2)
    assert keeping.sweep_orphans() == 1, "it begins again at the beginning"


def test_a_long_list_is_read_page_by_page(trip: Trip, store: ObjectStore) -> None:
    store.page = 2
    job = trip.start("[moderation_blocked]").ended()
    for number in range(5):
        store.put(f"outputs/{job.id}/{number}.mp4", days=2)
    assert keeping.sweep_orphans() == 5
    assert sum("list-type" in asked.query for asked in store.asked) == 3


# A storage that does not answer


@pytest.mark.parametrize("breaks", ["503", "wrong key", "no bucket", "gone"])
def test_an_output_waits_for_a_storage_that_does_not_answer_and_is_charged_when_it_does(
    breaks: str, trip: Trip, settings: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with object_store() as store:
        wrong = {
            "503": store.url,
            "wrong key": store.url.replace(KEY, "AKIDOFSOMEONE"),
            "no bucket": store.url.replace("/films", "/other"),
            "gone": store.url.replace(f":{store.port}", ":9"),
        }
        use(settings, wrong[breaks], tmp_path)
        store.breaks = breaks if breaks == "503" else ""
        job = trip.start()
        trip.sweep(3)
        assert job.row.verdict_status == "completed"
        assert job.stands == ("running", "open", None)
        assert SECRET not in caplog.text
        assert KEY not in caplog.text
        store.breaks = ""
        use(settings, store.url, tmp_path)
        trip.advance(minutes=2)
        job.ended()
        assert job.stands == ("succeeded", "captured", "charged")
        assert job.submits == {"received": 1, "accepted": 1}


def test_what_is_to_be_deleted_waits_for_the_storage_and_holds_up_nothing_else(
    trip: Trip, store: ObjectStore, settings: Any
) -> None:
    job = trip.start().ended()
    trip.advance(days=settings.OUTPUT_KEEP_DAYS + 0.1)
    store.breaks = "503"
    asked = len(store.asked)
    trip.sweep(3)
    assert len(store.asked) == asked + 1, "it is left alone for a minute"
    assert job.output is not None
    assert job.output.deleted_at is None
    other = trip.start("[moderation_blocked]").ended()
    assert other.row.outcome == "refunded"
    store.breaks = ""
    cache.clear()
    trip.sweep()
    assert job.output.deleted_at is not None
    assert store.objects == {}


def test_an_unreachable_storage_is_said_to_be_so_and_not_to_have_lost_the_output(
    trip: Trip, store: ObjectStore, browser: Client
) -> None:
    job = trip.start().ended()
    assert job.output is not None
    url = links.output_url(job.output)
    store.breaks = "503"
    answer = browser.get(url)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert SECRET not in answer.content.decode()
    assert KEY not in answer.content.decode()
    store.breaks = ""
    assert browser.get(url).status_code == 200
    store.objects.clear()
    assert browser.get(url).status_code == 404
    assert browser.head(url).status_code == 404


def test_a_part_that_breaks_off_is_not_passed_off_as_whole(trip: Trip, store: ObjectStore, browser: Client) -> None:
    job = trip.start().ended()
    assert job.output is not None
    store.breaks = "cut"
    response = browser.get(links.output_url(job.output))
    assert response.headers["Content-Length"] == str(job.output.bytes)
    with pytest.raises(Unreachable):
        body(response)


def test_readyz_says_whether_the_storage_answers_and_asks_it_seldom(store: ObjectStore, client: Client) -> None:
    def said() -> Any:
        return client.get("/readyz").json()

    assert said()["checks"]["storage"] == "ok"
    assert said()["checks"]["storage"] == "ok"
    assert store.methods() == ["HEAD"]
    store.breaks = "503"
    assert said()["checks"]["storage"] == "ok", "it is asked again after half a minute"
    cache.clear()
    first = said()
    assert first["checks"]["storage"] == "the storage answered 503"
    others = {name: word for name, word in first["checks"].items() if name != "storage"}
    assert (first["status"] == "ready") == all(word == "ok" for word in others.values())
    assert SECRET not in str(first)
    assert KEY not in str(first)
    cache.clear()


def test_a_folder_that_cannot_be_written_is_not_reachable(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(settings, "", tmp_path / "not" / "made" / "yet")
    output_storage().ping()
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(Unreachable):
        output_storage().ping()


def test_a_name_in_the_storage_has_nothing_of_what_was_asked_for(trip: Trip) -> None:
    job = trip.start("../../../etc/passwd").ended()
    assert job.output is not None
    assert re.fullmatch(rf"outputs/{job.id}/[0-9a-f-]{{36}}\.mp4", job.output.file)
