"""Settings are loud when wrong, by the name of the variable; production and play are kept apart."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.checks import Error
from django.test import override_settings
from django.views.debug import SafeExceptionReporterFilter

from config.checks import database_keeps_what_it_says, nothing_for_play_in_production
from config.settings import _output_storage
from tests.instance import NOT_INHERITED, ROOT

PRODUCTION = {"HOLDFAST_ENV": "production", "SECRET_KEY": "k" * 60, "ALLOWED_HOSTS": "x.example.org"}
DEVELOPMENT = {"SECRET_KEY": "k"}


def read(environment: dict[str, str], expression: str = "None") -> subprocess.CompletedProcess[str]:
    """The settings are read in a fresh process with this environment alone; the expression's value is printed."""
    inherited = {name: value for name, value in os.environ.items() if not NOT_INHERITED.match(name)}
    return subprocess.run(
        [sys.executable, "-c", f"from config import settings; print({expression})"],
        cwd=ROOT,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        (DEVELOPMENT | {"HOLDFAST_ENV": "staging"}, "HOLDFAST_ENV"),
        (DEVELOPMENT | {"HOLDFAST_ROLE": "boss"}, "HOLDFAST_ROLE"),
        (DEVELOPMENT | {"HOLDFAST_HOLD_SECONDS": "an hour"}, "HOLDFAST_HOLD_SECONDS"),
        (DEVELOPMENT | {"HOLDFAST_HOLD_SECONDS": "٧"}, "HOLDFAST_HOLD_SECONDS"),
        (DEVELOPMENT | {"HOLDFAST_HOLD_SECONDS_MAX": "0"}, "HOLDFAST_HOLD_SECONDS_MAX"),
        (DEVELOPMENT | {"HOLDFAST_DEMO": "perhaps"}, "HOLDFAST_DEMO"),
        (DEVELOPMENT | {"DATABASE_URL": "sqlite:///x"}, "DATABASE_URL"),
        (DEVELOPMENT | {"REDIS_URL": "localhost:6379"}, "REDIS_URL"),
        (DEVELOPMENT | {"OPENAI_BASE_URL": "openai"}, "OPENAI_BASE_URL"),
        (DEVELOPMENT | {"COMFYUI_URLS": "http://127.0.0.1:8188,gpu:8188"}, "COMFYUI_URLS"),
        (DEVELOPMENT | {"HOLDFAST_ALERT_EMAILS": "desk@example.org,night"}, "HOLDFAST_ALERT_EMAILS"),
        (PRODUCTION | {"SECRET_KEY": ""}, "SECRET_KEY"),
        (PRODUCTION | {"SECRET_KEY": "short"}, "SECRET_KEY"),
        (PRODUCTION | {"ALLOWED_HOSTS": ""}, "ALLOWED_HOSTS"),
        (PRODUCTION | {"HOLDFAST_DEMO": "true"}, "HOLDFAST_DEMO"),
    ],
)
def test_what_cannot_be_read_stops_the_start_by_its_name(environment: dict[str, str], name: str) -> None:
    done = read(environment)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("django.core.exceptions.ImproperlyConfigured")
    assert name in last


@pytest.mark.parametrize(
    "url",
    [
        "films",
        "http://KEYOFOURS:hush@store.test/films",
        "s3://store.test/films",
        "s3://KEYOFOURS@store.test/films",
        "s3://KEYOFOURS:hush@/films",
        "s3://KEYOFOURS:hush@store.test",
        "s3://KEYOFOURS:hush@store.test/films/inner",
        "s3://KEYOFOURS:hush@store.test/Films",
        "s3://KEYOFOURS:hush/slash@store.test/films",
        "s3://KEYOFOURS:hush@store.test:99999/films",
        "s3://KEYOFOURS:hush@store.test/films?regoin=x",
        "s3://KEYOFOURS:hush@store.test/films?tls=perhaps",
        "s3://KEYOFOURS:hush@store.test/films?tls",
        "s3://KEYOFOURS:hush@store.test/films#x",
    ],
)
def test_a_storage_that_cannot_be_read_stops_the_start_and_its_secrets_are_not_repeated(url: str) -> None:
    done = read(DEVELOPMENT | {"HOLDFAST_STORAGE_URL": url})
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("django.core.exceptions.ImproperlyConfigured: HOLDFAST_STORAGE_URL ")
    assert "hush" not in done.stderr
    assert "KEYOFOURS" not in done.stderr


@pytest.mark.parametrize(
    ("url", "endpoint", "region"),
    [
        ("s3://K:a%2Fb%2B@store.test/films", "https://store.test", "us-east-1"),
        ("s3://K:a%2Fb%2B@127.0.0.1:9000/films?tls=false", "http://127.0.0.1:9000", "us-east-1"),
        ("s3://K:a%2Fb%2B@[::1]:9000/films/?region=eu-west-1&tls=true", "https://[::1]:9000", "eu-west-1"),
    ],
)
def test_the_storage_of_outputs_is_one_url(url: str, endpoint: str, region: str) -> None:
    done = read(DEVELOPMENT | {"HOLDFAST_STORAGE_URL": url}, "settings.STORAGES['default']")
    assert ast.literal_eval(done.stdout) == {
        "BACKEND": "generations.storage.objects.Objects",
        "OPTIONS": {
            "endpoint_url": endpoint,
            "bucket_name": "films",
            "region_name": region,
            "access_key": "K",
            "secret_key": "a/b+",
        },
    }


def test_the_storages_secrets_are_hidden_where_settings_are_shown() -> None:
    shown = SafeExceptionReporterFilter().cleanse_setting(
        "STORAGES", _output_storage("s3://KEYOFOURS:hush@store.test/films")
    )
    assert "hush" not in str(shown)
    assert "KEYOFOURS" not in str(shown)


def test_the_key_of_an_installation_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    keys = {read({"HOLDFAST_DATA_DIR": str(tmp_path / "data")}, "settings.SECRET_KEY").stdout for _ in range(2)}
    assert len(keys) == 1
    assert len(keys.pop().strip()) >= 60
    assert (tmp_path / "data" / "secret.key").stat().st_mode & 0o777 == 0o600


def test_each_role_has_its_own_time_outs() -> None:
    wanted = {
        "web": "statement_timeout=5000 -c lock_timeout=3000 -c idle_in_transaction_session_timeout=30000",
        "worker": "statement_timeout=15000 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=30000",
        "command": "statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0",
    }
    for role, options in wanted.items():
        done = read(DEVELOPMENT | {"HOLDFAST_ROLE": role}, "settings.DATABASES['default']['OPTIONS']['options']")
        assert done.stdout.strip().startswith(f"-c {options}")


def test_a_service_on_this_machine_is_not_a_real_one() -> None:
    environment = DEVELOPMENT | {
        "OPENAI_API_KEY": "sk-x",
        "OPENAI_BASE_URL": "http://127.0.0.1:9",
        "COMFYUI_URLS": "http://localhost:8188,http://[::1]:8189",
        "STRIPE_SECRET_KEY": "sk_test_x",
        "STRIPE_API_BASE": "http://127.0.0.1:12111",
    }
    assert read(environment, "settings.REAL_SERVICE_SETTINGS").stdout.strip() == "[]"
    real = environment | {"OPENAI_BASE_URL": "", "STRIPE_API_BASE": "https://127.0.0.1.example.org"}
    assert read(real, "settings.REAL_SERVICE_SETTINGS").stdout.strip() == "['OPENAI_API_KEY', 'STRIPE_SECRET_KEY']"


def test_without_a_key_buying_is_rehearsed_on_this_machine_and_only_in_the_demo(tmp_path: Path) -> None:
    demo = DEVELOPMENT | {"HOLDFAST_DATA_DIR": str(tmp_path)}
    asked = (
        "(settings.STRIPE_REHEARSAL, settings.STRIPE_API_BASE, settings.STRIPE_IS_SET_UP, settings.STRIPE_LIVE_MODE)"
    )
    assert read(demo, asked).stdout.strip() == "(True, 'http://127.0.0.1:1', True, False)"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "stripe.url").write_text("http://127.0.0.1:4242\n")
    assert read(demo, asked).stdout.strip() == "(True, 'http://127.0.0.1:4242', True, False)"
    made = {read(demo, "settings.STRIPE_WEBHOOK_SECRETS").stdout.strip() for _ in range(2)}
    assert len(made) == 1
    assert made.pop().startswith("['whsec_")
    assert (tmp_path / "stripe-webhook.secret").stat().st_mode & 0o777 == 0o600
    for other in ({"STRIPE_SECRET_KEY": "sk_test_1"}, {"HOLDFAST_DEMO": "false"}, PRODUCTION):
        assert read(demo | other, asked).stdout.strip() == "(False, '', False, False)"
    keys = {"STRIPE_SECRET_KEY": "sk_live_1", "STRIPE_WEBHOOK_SECRETS": "whsec_new, whsec_old"}
    assert read(PRODUCTION | keys, asked).stdout.strip() == "(False, '', True, True)"


def test_a_real_server_has_no_demo_people_unless_asked() -> None:
    assert read(DEVELOPMENT | {"DATABASE_URL": "postgres://u@h/x"}, "settings.IS_DEMO").stdout.strip() == "False"
    assert read(DEVELOPMENT, "settings.IS_DEMO").stdout.strip() == "True"
    assert read(PRODUCTION, "settings.IS_DEMO or settings.REHEARSAL_ENABLED").stdout.strip() == "False"


@pytest.mark.parametrize(
    ("settings", "number"),
    [
        ({"IS_PRODUCTION": True, "DEBUG": True}, "E001"),
        ({"IS_PRODUCTION": True, "IS_DEMO": True}, "E002"),
        ({"IS_DEMO": True, "REAL_SERVICE_SETTINGS": ["OPENAI_API_KEY"]}, "E003"),
        ({"IS_DEMO": True, "DATABASE_IS_EMBEDDED": False}, "E004"),
        ({"HOLD_SECONDS": 10, "HOLD_SECONDS_MAX": 9}, "E005"),
        ({"IS_PRODUCTION": True, "STRIPE_REHEARSAL": True}, "E006"),
        (
            {
                "IS_PRODUCTION": True,
                "STRIPE_SECRET_KEY": "sk_test_rehearsalWhereNoMoneyMoves",
                "STRIPE_WEBHOOK_SECRETS": ["x"],
            },
            "E006",
        ),
        ({"STRIPE_REHEARSAL": True}, "E007"),
        ({"IS_DEMO": True, "STRIPE_REHEARSAL": True, "STRIPE_API_BASE": "https://api.stripe.com"}, "E007"),
        ({"STRIPE_SECRET_KEY": "sk_live_1", "STRIPE_WEBHOOK_SECRETS": []}, "W001"),
    ],
)
def test_what_must_not_be_mixed_is_refused(settings: dict[str, object], number: str) -> None:
    with override_settings(**settings):
        assert [error.id for error in nothing_for_play_in_production(None)] == [f"holdfast.{number}"]


@pytest.mark.django_db
def test_demo_people_in_a_production_database_are_refused() -> None:
    from django.contrib.auth.models import User

    user = User.objects.create_user("demo", "Demo@Holdfast.example", "holdfast-demo")
    with override_settings(IS_PRODUCTION=True):
        errors = database_keeps_what_it_says(None, databases=["default"])
        assert [error.id for error in errors if isinstance(error, Error)] == ["holdfast.E012"]
        user.is_active = False
        user.save(update_fields=["is_active"])
        assert database_keeps_what_it_says(None, databases=["default"]) == []


@pytest.mark.django_db
@pytest.mark.parametrize(("is_demo", "may_enter"), [(True, True), (False, False)])
def test_demo_people_enter_only_where_the_demo_is_on(is_demo: bool, may_enter: bool) -> None:
    from django.contrib.auth import authenticate, get_user
    from django.contrib.auth.models import User
    from django.test import Client

    user = User.objects.create_user("demo", "demo@holdfast.example", "holdfast-demo")
    client = Client()
    client.force_login(user, backend="config.sign_in.EmailBackend")
    with override_settings(IS_DEMO=is_demo):
        found = authenticate(None, username="demo", password="holdfast-demo")
        assert (found is not None) is may_enter
        found = authenticate(None, email="demo@holdfast.example", password="holdfast-demo")
        assert (found is not None) is may_enter
        request = client.get("/healthz").wsgi_request
        assert get_user(request).is_authenticated is may_enter
