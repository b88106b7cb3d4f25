"""Health, errors, headers and the development mailbox, as a browser and a monitor meet them."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path

from config import tasks
from config.middleware import policy

pytestmark = pytest.mark.django_db


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a secret that nobody may read")


urlpatterns = [path("broken", broken), path("api/broken", broken), path("", include("config.urls"))]
handler400 = "config.pages.bad_request"
handler403 = "config.pages.forbidden"
handler404 = "config.pages.not_found"
handler500 = "config.pages.server_error"


# Health


def test_a_process_that_answers_says_so(client: Client) -> None:
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


def test_ready_needs_a_worker_that_was_seen_lately(client: Client, settings: Any) -> None:
    cache.delete(tasks.HEARTBEAT_KEY)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"] == {
        "database": "ok",
        "migrations": "ok",
        "worker": "never seen",
        "storage": "ok",
        "tools": "ok",
    }
    cache.set(tasks.HEARTBEAT_KEY, time.time() - 91)
    assert client.get("/readyz").json()["checks"]["worker"] == "last seen 91 s ago"
    tasks.heartbeat()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")


def test_ready_needs_every_migration(client: Client) -> None:
    tasks.heartbeat()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'config'")
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "not applied" in answer.json()["checks"]["migrations"]


@pytest.mark.django_db(transaction=True)
def test_ready_says_when_the_database_is_away(client: Client) -> None:
    host = connection.settings_dict["HOST"]
    connection.close()
    connection.settings_dict["HOST"] = "/nowhere"
    try:
        answer = client.get("/readyz")
        assert client.get("/healthz").status_code == 200
    finally:
        connection.close()
        connection.settings_dict["HOST"] = host
    assert (answer.status_code, answer.json()["checks"]) == (503, {"database": "OperationalError", "tools": "ok"})


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("10.0.0.7", {}, 404),
        ("127.0.0.1", {"X-Forwarded-For": "10.0.0.7"}, 404),
        ("10.0.0.7", {"Authorization": "Bearer wrong"}, 404),
        ("10.0.0.7", {"Authorization": "Bearer right"}, 200),
    ],
)
def test_figures_are_for_this_machine_or_the_tokens_holder(
    client: Client, settings: Any, address: str, headers: dict[str, str], status: int
) -> None:
    settings.METRICS_TOKEN = "right"
    assert client.get("/metrics", REMOTE_ADDR=address, headers=headers).status_code == status


def test_without_a_metrics_token_none_is_right(client: Client, settings: Any) -> None:
    settings.METRICS_TOKEN = ""
    for given in ("Bearer ", "Bearer", ""):
        assert client.get("/metrics", REMOTE_ADDR="10.0.0.7", headers={"Authorization": given}).status_code == 404


# Errors


@pytest.mark.parametrize("method", ["get", "post", "put", "delete"])
def test_what_is_not_there_is_json_for_programs(client: Client, method: str) -> None:
    answer = getattr(client, method)("/api/nothing/here")
    assert answer.status_code == 404
    body = answer.json()
    assert set(body) >= {"error", "code", "reason", "action", "request_id"}
    assert body["code"] == "not_found"
    assert body["request_id"] == answer["X-Request-ID"]


def test_what_is_not_there_is_a_page_for_people(client: Client) -> None:
    answer = client.get("/nothing/here")
    assert answer.status_code == 404
    assert answer["Content-Type"].startswith("text/html")
    assert b"<h1" in answer.content


@pytest.mark.urls("tests.config.test_pages")
def test_what_breaks_says_nothing_of_what_it_was(client: Client) -> None:
    client.raise_request_exception = False
    page = client.get("/broken")
    assert page.status_code == 500
    assert b"<h1" in page.content
    assert page["X-Request-ID"].encode() in page.content
    answer = client.get("/api/broken")
    assert (answer.status_code, answer.json()["code"]) == (500, "server_error")
    for text in (page.content, answer.content):
        assert b"secret" not in text
        assert b"Traceback" not in text


def test_a_strange_host_is_refused(client: Client) -> None:
    answer = client.get("/api/nothing", headers={"Host": "evil.example.org"})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def test_a_form_without_its_token_is_refused() -> None:
    client = Client(enforce_csrf_checks=True)
    answer = client.post("/accounts/login/", {"login": "a@example.org", "password": "x"})
    assert answer.status_code == 403
    assert b"<h1" in answer.content


# Headers


def test_each_part_has_its_policy() -> None:
    for people in ("/", "/account/credits", "/accounts/login/", "/generate", "/api/status/1", "/administer"):
        assert "unsafe" not in policy(people)
        assert "default-src 'none'" in policy(people)
    assert "'unsafe-eval'" in policy("/admin/")
    assert "script-src 'self';" in policy("/api/docs")


def test_every_answer_has_a_policy_with_a_nonce_of_its_own(client: Client) -> None:
    nonces = set()
    for _ in range(2):
        found = re.search(r"script-src 'self' 'nonce-([\w-]{20,})'", client.get("/healthz")["Content-Security-Policy"])
        assert found
        nonces.add(found[1])
    assert len(nonces) == 2


def test_pages_for_people_keep_within_their_policy(client: Client) -> None:
    for address in ("/", "/accounts/login/", "/accounts/signup/", "/nothing"):
        answer = client.get(address)
        html = answer.content.decode()
        nonce = re.search(r"'nonce-([\w-]+)'", answer["Content-Security-Policy"])
        assert nonce
        assert " style=" not in html, address
        assert not re.search(r"<[^>]+\son\w+=", html), address
        for tag in re.findall(r"<(?:script|style)\b[^>]*>", html):
            assert "src=" in tag or f'nonce="{nonce[1]}"' in tag or "application/json" in tag, f"{address}: {tag}"


def test_the_docs_of_the_api_show_themselves(client: Client) -> None:
    page = client.get("/api/docs")
    assert page.status_code == 200
    assert not re.search(r"(src|href)=\"https?://", page.content.decode())
    assert client.get("/api/schema").status_code == 200


def test_a_request_keeps_its_id_when_it_has_a_plain_one(client: Client) -> None:
    assert client.get("/healthz", headers={"X-Request-ID": "job-12345678"})["X-Request-ID"] == "job-12345678"
    for strange in ("short", "x" * 65, "with space", "<script>alert(1)</script>"):
        given = client.get("/healthz", headers={"X-Request-ID": strange})["X-Request-ID"]
        assert given != strange
        assert re.fullmatch(r"[0-9a-f-]{36}", given)


# The development mailbox


def test_the_mailbox_is_there_in_development_only(client: Client, settings: Any) -> None:
    settings.HAS_DEV_MAIL = False
    assert client.get("/dev/mail").status_code == 404


def test_signing_up_can_be_finished_without_a_mail_server(client: Client, settings: Any, tmp_path: Path) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.EMAIL_FILE_PATH = settings.MAIL_DIR = str(tmp_path)
    settings.HAS_DEV_MAIL = True
    words = {"email": "ann@example.org", "password1": "a long enough pass", "password2": "a long enough pass"}
    assert client.post("/accounts/signup/", words).status_code == 302
    assert not client.post(
        "/accounts/login/", {"login": words["email"], "password": words["password1"]}
    ).wsgi_request.user.is_authenticated
    box = client.get("/dev/mail").content.decode()
    assert "ann@example.org" in box
    link = re.search(r"https?://testserver(/accounts/confirm-email/[^\s\"<]+)", box)
    assert link
    assert client.get(link[1]).status_code == 200
    assert not User.objects.get().emailaddress_set.get().verified
    client.post(link[1])
    assert User.objects.get().emailaddress_set.get().verified
    client.post("/accounts/login/", {"login": words["email"], "password": words["password1"]})
    assert client.get("/").wsgi_request.user.is_authenticated
    client.post("/accounts/logout/")
    assert not client.get("/").wsgi_request.user.is_authenticated


def test_nobody_signs_up_with_an_address_of_the_demo(client: Client) -> None:
    words = {"email": "demo@holdfast.example", "password1": "a long enough pass", "password2": "a long enough pass"}
    answer = client.post("/accounts/signup/", words)
    assert answer.status_code == 200
    assert not User.objects.exists()


# The admin


def test_what_shows_secrets_or_runs_code_is_not_in_the_admin(client: Client) -> None:
    client.force_login(User.objects.create_superuser("root", "root@example.org", "x"))
    page = client.get("/admin/").content.decode()
    assert "/admin/djstripe/customer/" in page
    for path_ in (
        "django_q/schedule",
        "djstripe/apikey",
        "djstripe/webhookendpoint",
        "mfa/authenticator",
        "account/emailaddress",
    ):
        assert f"/admin/{path_}/" not in page
        assert client.get(f"/admin/{path_}/").status_code == 404
    assert client.get("/admin/djstripe/customer/").status_code == 200
    assert client.get("/admin/djstripe/customer/add/").status_code == 403
    assert client.get("/admin/auth/user/").status_code == 200


def test_staff_sign_in_to_the_admin_with_their_address(client: Client) -> None:
    User.objects.create_superuser("root", "root@example.org", "a long enough pass")
    answer = client.post(
        "/admin/login/?next=/admin/", {"username": "root@example.org", "password": "a long enough pass"}
    )
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")


def test_the_admin_is_no_way_around_a_second_factor_or_the_limit_of_attempts(client: Client) -> None:
    user = User.objects.create_superuser("root", "root@example.org", "a long enough pass")
    words = {"username": "root@example.org", "password": "a long enough pass"}
    Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={"secret": "x"})
    answer = client.post("/admin/login/", words)
    assert "second factor" in answer.content.decode()
    assert not answer.wsgi_request.user.is_authenticated
    Authenticator.objects.all().delete()
    for _ in range(6):
        answer = client.post("/admin/login/", words | {"password": "wrong"})
    answer = client.post("/admin/login/", words)
    assert "Too many failed login attempts" in answer.content.decode()
    assert not answer.wsgi_request.user.is_authenticated
