"""Known attacks that no other test plays. docs/security.md names all of them, each with its tests."""

from __future__ import annotations

import copy
import http.client
import io
import re
import socket
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, URLResolver, get_resolver

from billing.models import Account
from config.logs import hide_secrets
from generations import bounds, routes
from generations.models import Generation
from generations.providers.rehearsal import Rehearsal
from tests.billing.purse import Purse
from tests.generations.trip import MICRO, SHORT, Trip, new_person
from tests.security.conftest import Attacker
from tools_registry import fields, registry

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parent.parent.parent


# Moderation bait, and slow jobs left to expire: what the provider bills and nobody pays


@pytest.fixture
def real_provider(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """The rehearsal's bill is real money, and the bounds are low."""
    monkeypatch.setattr(Rehearsal, "is_real", True)
    settings.BLOCKED_A_DAY_MAX, settings.UNPAID_MAX = 3, 2
    routes.forget()


def bait(attacker: Attacker, count: int) -> None:
    for _ in range(count):
        job = attacker.start("[moderation_blocked]").ended()
        assert job.row.error_code == "moderation_blocked"


@pytest.mark.usefixtures("real_provider")
def test_moderation_bait_is_refused_after_so_many_a_day_until_it_is_a_day_old(attacker: Attacker) -> None:
    status, first = attacker.order("[moderation_blocked]", Idempotency_Key="first")
    assert status == 202
    attacker.trip.sweep(2)
    attacker.trip.advance(hours=1)
    bait(attacker, 2)
    assert attacker.balance == ("10", "0"), "the customer pays nothing for it"
    status, answer = attacker.order("A lighthouse")
    assert (status, answer["code"], answer["provider"], answer["blocked_max"]) == (
        403,
        "too_many_blocked",
        "rehearsal",
        3,
    )
    assert answer["error"].endswith("Nothing was started and nothing was charged.")
    ends = datetime.fromisoformat(answer["resets_at"])
    oldest = Generation.objects.get(id=first["id"]).verdict_at
    assert oldest is not None
    assert ends == oldest + timedelta(hours=24)
    assert attacker.balance == ("10", "0")
    assert Generation.objects.count() == 3
    # What was answered before is answered again.
    status, again = attacker.order("[moderation_blocked]", Idempotency_Key="first")
    assert (status, again["id"]) == (202, first["id"])
    # Work that costs nobody anything goes on.
    assert attacker.post("/api/generate", {"operation": "ai/video", "inputs": {"prompt": "x"}})[0] == 202
    attacker.trip.advance(hours=23.5)
    assert attacker.order("A lighthouse")[0] == 202


@pytest.mark.usefixtures("real_provider")
def test_a_page_says_why_it_is_refused_and_when_it_ends(attacker: Attacker) -> None:
    bait(attacker, 3)
    browser = Client()
    browser.force_login(attacker.trip.person, backend="config.sign_in.EmailBackend")
    answer = browser.post("/generate", SHORT | {"prompt": "A lighthouse", "provider": "rehearsal", "key": "k"})
    assert answer.status_code == 403
    page = answer.content.decode()
    assert bounds.TooManyBlocked.sentence in page
    assert bounds.TooManyBlocked.action in page


@pytest.mark.usefixtures("real_provider")
def test_moderation_bait_of_one_account_stops_no_other(attacker: Attacker, port: int) -> None:
    bait(attacker, 3)
    assert attacker.order("A lighthouse")[0] == 403
    other = copy.copy(attacker.trip)
    other.purse = Purse()
    other.person = new_person("sam", other.purse)
    other.purse.grant(MICRO)
    assert Attacker(other, port).order("A lighthouse")[0] == 202


def test_where_nobody_bills_us_nothing_is_counted(attacker: Attacker, settings: Any) -> None:
    settings.BLOCKED_A_DAY_MAX = 1
    bait(attacker, 2)
    assert attacker.order("A lighthouse")[0] == 202


@pytest.mark.usefixtures("real_provider")
def test_slow_jobs_left_to_expire_are_refused_while_so_many_are_unpaid(attacker: Attacker) -> None:
    jobs = [attacker.start("[late 70m]") for _ in range(2)]
    attacker.trip.sweep()
    attacker.trip.advance(minutes=61)
    attacker.trip.sweep()
    attacker.trip.purse.charge(attacker.trip.purse.available)
    attacker.trip.advance(minutes=10)
    attacker.trip.sweep(3)
    assert {job.row.outcome for job in jobs} == {"withheld"}
    status, answer = attacker.order("A lighthouse")
    assert (status, answer["code"]) == (402, "insufficient_credits")
    attacker.trip.purse.grant(MICRO // 2)
    status, answer = attacker.order("A lighthouse")
    assert (status, answer["code"], answer["unpaid"], answer["unpaid_max"]) == (402, "too_many_unpaid", 2, 2)
    assert attacker.balance == ("0.5", "0")
    attacker.trip.sweep(2)
    assert sorted(str(job.row.outcome) for job in jobs) == ["charged", "withheld"]
    attacker.trip.purse.grant(MICRO // 2)
    assert attacker.order("A lighthouse")[0] == 202, "one of them is paid for"


@pytest.mark.parametrize(("blocked", "is_refused"), [(0, False), (2, False), (3, True), (9, True)])
def test_the_bound_counts_the_newest(blocked: int, is_refused: bool) -> None:
    now = datetime.fromisoformat("2026-01-02T12:00:00+00:00")
    times = [now - timedelta(hours=hour) for hour in range(blocked)]
    if not is_refused:
        bounds.refuse_blocked("p", times, 3)
        return
    with pytest.raises(bounds.TooManyBlocked) as refusal:
        bounds.refuse_blocked("p", times, 3)
    assert refusal.value.facts["resets_at"] == now - timedelta(hours=2) + timedelta(hours=24)


def test_the_bounds_cost_two_questions_of_an_index(attacker: Attacker) -> None:
    bait(attacker, 1)
    with CaptureQueriesContext(connection) as asked:
        bounds.refuse_costly(attacker.trip.purse.id, "rehearsal")
    questions = [query["sql"] for query in asked if "generations_generation" in query["sql"]]
    assert len(questions) == 2
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")  # so few rows are read at once otherwise
        plans = []
        for question in questions:
            cursor.execute(f"EXPLAIN {question}")
            plans.append(" ".join(row[0] for row in cursor.fetchall()))
        cursor.execute("RESET enable_seqscan")
    assert "generation_refused" in plans[0]
    assert all(re.search(r"Index Cond: \(+account_id", plan) for plan in plans)


def test_the_cap_on_open_holds_counts_jobs_and_holds_together(attacker: Attacker, settings: Any) -> None:
    settings.OPEN_HOLDS_MAX = 3
    attacker.start("[slow 1h]")
    attacker.start("[slow 1h]")
    assert attacker.post("/api/holds", {"amount": "1", "reference": "a", "expires_in_seconds": 60})[0] == 201
    status, answer = attacker.order("A lighthouse")
    assert (status, answer["code"]) == (429, "too_many_open_holds")
    assert attacker.post("/api/holds", {"amount": "1", "reference": "b", "expires_in_seconds": 60})[0] == 429


# Server-side requests


def test_only_providers_storage_and_start_up_speak_to_the_network() -> None:
    """So no address that a person wrote can be asked for anything."""
    client = re.compile(
        r"^\s*(?:import|from)\s+(?:httpx|requests|urllib3|urllib\.request|http\.client|socket|aiohttp|openai|boto3|ftplib)\b",
        re.MULTILINE,
    )
    found = {
        path.relative_to(ROOT).as_posix()
        for app in ("billing", "config", "generations", "tools_registry")
        for path in (ROOT / app).rglob("*.py")
        if client.search(path.read_text())
    }
    may = ("generations/providers/", "generations/storage/", "billing/stripe_stand_in/")
    elsewhere = {name for name in found if not name.startswith(may)}
    # The runner's sockets are pairs between its own processes: neither side connects to an address.
    pairs = {"tools_registry/runner/client.py", "tools_registry/runner/server.py"}
    assert not [
        name for name in pairs & elsewhere if re.search(r"\.connect\(|create_connection", (ROOT / name).read_text())
    ]
    # An operator names the archive of advisories on the command line.
    commands = {"config/management/commands/up.py", "tools_registry/management/commands/update_advisories.py"}
    assert elsewhere <= commands | {"config/children.py"} | pairs


def test_no_provider_follows_where_an_answer_points() -> None:
    for path in (ROOT / "generations" / "providers").glob("*.py"):
        text = path.read_text()
        assert not re.search(r"follow_redirects\s*=\s*True", text), path.name
        made = len(re.findall(r"httpx\.(?:Async)?Client\(", text))
        assert made == len(re.findall(r"httpx\.(?:Async)?Client\([^)]*follow_redirects=False", text)), path.name


def test_an_address_in_a_prompt_is_words(attacker: Attacker) -> None:
    assert {type(field) for of in registry.OPERATIONS.values() for field in of.fields} <= {
        fields.Text,
        fields.Whole,
        fields.Choice,
    }
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        prompt = f"http://127.0.0.1:{port}/x.mp4 file:///etc/passwd \\\\127.0.0.1@{port}\\x"
        assert attacker.start(prompt).ended().row.outcome == "charged"
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


# Uploads


@pytest.mark.parametrize(
    "path", ["/accounts/login/", "/accounts/signup/", "/generate", "/admin/login/", "/api/generate"]
)
def test_nothing_takes_a_file_and_none_is_kept(path: str, attacker: Attacker, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[str] = []
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", lambda *a, **k: kept.append("a file"))
    film = io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"x" * 3_000_000)
    film.name = "film.png"
    browser = Client(raise_request_exception=False, enforce_csrf_checks=True)
    for size in (2_000, 3_000_000):
        film.seek(0)
        film.truncate(size)
        answer = browser.post(path, {"prompt": "x", "file": film})
        assert answer.status_code in (400, 401, 403, 415), (path, size, answer.status_code)
    assert kept == []


def test_a_form_without_a_file_may_come_in_parts() -> None:
    answer = Client().post("/accounts/login/", {"login": "nobody@people.test", "password": "x"})
    assert answer.status_code == 200


# Sign-up farming


def sign_up(number: int) -> int:
    words = {"email": f"farm{number}@people.test", "password1": "a long enough pass", "password2": "a long enough pass"}
    return Client().post("/accounts/signup/", words).status_code


def test_a_farmed_account_has_nothing_and_can_start_nothing(trip: Trip) -> None:
    cache.clear()
    assert sign_up(1) == 302
    person = User.objects.get(email="farm1@people.test")
    account = Account.objects.get(memberships__user=person)
    assert (account.balance, account.held) == (0, 0)
    browser = Client()
    browser.force_login(person, backend="config.sign_in.EmailBackend")
    browser.post("/generate", {"prompt": "x", "key": "k"})
    assert not Generation.objects.filter(account=account).exists()


def test_sign_ups_of_one_address_are_counted(trip: Trip, settings: Any) -> None:
    cache.clear()
    """By the minute, whatever is in the form; by the day, as accounts (tests/billing/test_networks.py)."""
    settings.ACCOUNT_RATE_LIMITS = settings.ACCOUNT_RATE_LIMITS | {"signup": "2/m/ip"}
    assert [sign_up(number) for number in range(3)] == [302, 302, 429]
    assert User.objects.filter(email__startswith="farm").count() == 2
    settings.ACCOUNT_RATE_LIMITS, settings.SIGN_UPS_OF_ADDRESS_MAX = {"signup": "20/m/ip"}, 3
    assert [sign_up(number) for number in range(3, 6)] == [302, 429, 429]
    cache.clear()


# Secrets


def test_a_secret_never_reaches_the_log() -> None:
    event = {
        "event": "asked",
        "Authorization": "Bearer hf_abc",
        "stripe_signature": "t=1",
        "api_key": "sk-1",
        "password": "p",
        "set_cookie": "c",
        "storage_secret": "s",
        "job": "1",
    }
    shown = hide_secrets(None, "info", dict(event))
    assert shown == dict.fromkeys(event, "…") | {"event": "asked", "job": "1"}
    assert hide_secrets in structlog.get_config()["processors"]


# What is not there yet


def addresses(resolver: Any = None, before: str = "") -> set[str]:
    found = set()
    for one in (resolver or get_resolver()).url_patterns:
        path = before + str(one.pattern)
        if isinstance(one, URLResolver):
            found |= addresses(one, path)
        elif isinstance(one, URLPattern):
            found.add(path)
    return found


def test_files_are_taken_for_tools_alone_and_never_kept(attacker: Attacker, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {path for path in addresses() if not path.startswith("admin/")}
    assert {path for path in ours if re.search(r"upload|avatar", path)} == set()
    kept: list[str] = []
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", lambda *a, **k: kept.append("a file"))
    browser = Client(raise_request_exception=False, enforce_csrf_checks=True)
    for path, status in (("/studio/data-studio/quality", 302), ("/api/data-studio/quality/run", 401)):
        table = io.BytesIO(b"x" * 3_000_000)
        table.name = "table.csv"
        assert browser.post(path, {"table": table}).status_code == status
    assert kept == []


def test_a_file_that_never_ends_is_refused_by_its_length(attacker: Attacker) -> None:
    client = http.client.HTTPConnection("127.0.0.1", attacker.port, timeout=60)
    client.putrequest("POST", "/api/data-studio/quality/run")
    client.putheader("Authorization", f"Bearer {attacker.token}")
    client.putheader("Content-Type", "multipart/form-data; boundary=b")
    client.putheader("Content-Length", str(10**12))
    client.endheaders()
    assert client.getresponse().status == 413
    client.close()


def test_a_body_that_never_ends_is_not_waited_for_in_memory(attacker: Attacker) -> None:
    """JSON over a mebibyte is refused by its length, before it is read."""
    client = http.client.HTTPConnection("127.0.0.1", attacker.port, timeout=60)
    client.putrequest("POST", "/api/generate")
    client.putheader("Authorization", f"Bearer {attacker.token}")
    client.putheader("Content-Type", "application/json")
    client.putheader("Content-Length", str(10**12))
    client.endheaders()
    assert client.getresponse().status == 413
    client.close()
