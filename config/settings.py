"""Every setting of Holdfast. The only file that reads the environment; README.md has the table of the variables.

A value that cannot be read stops the start with the variable's name. Unsafe mixes are refused in config/checks.py.
"""

import os
import re
import secrets
import sys
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static
from django.urls import reverse_lazy

from config.embedded import socket_folder
from config.logs import logging_config

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()


def _choice(name: str, default: str, choices: tuple[str, ...]) -> str:
    value = env.str(name, default) or default
    if value not in choices:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be one of {', '.join(choices)}.")
    return value


def _whole(name: str, default: int, least: int, most: int) -> int:
    text = env.str(name, "") or str(default)
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise ImproperlyConfigured(f"{name} is {text!r}; it must be a whole number from {least} to {most}.")
    return int(text)


def _yes_or_no(name: str, default: bool) -> bool:
    text = (env.str(name, "") or ("true" if default else "false")).lower()
    if text in ("true", "yes", "on", "1"):
        return True
    if text in ("false", "no", "off", "0"):
        return False
    raise ImproperlyConfigured(f"{name} is {text!r}; it must be true or false.")


def _url(name: str, default: str = "") -> str:
    value = env.str(name, default).strip().rstrip("/")
    if value and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname):
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be an http:// or https:// address.")
    return value


def is_loopback(address: str) -> bool:
    """Says whether a host name, or the host of an address, can only be this machine."""
    host = (urlsplit(address).hostname or "") if "//" in address else address.strip("[]")
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def child_environment(**changes: str) -> dict[str, str]:
    """The environment for a child process of ours: this one's, with changes."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(BASE_DIR), env.str("PYTHONPATH", "")))),
        **changes,
    }


# Where and as what this process runs
HOLDFAST_ENV = _choice("HOLDFAST_ENV", "development", ("development", "test", "production"))
HOLDFAST_ROLE = _choice("HOLDFAST_ROLE", "command", ("web", "worker", "command"))
IS_PRODUCTION = HOLDFAST_ENV == "production"
DATA_DIR = Path(env.str("HOLDFAST_DATA_DIR", "") or BASE_DIR / "var").expanduser().absolute()
RUN_DIR = DATA_DIR / "run"
PUBLIC_URL = _url("HOLDFAST_PUBLIC_URL")
DEBUG = _yes_or_no("HOLDFAST_DEBUG", False)

# ---------------------------------------------------------------------------------------------------------------------
# Product knobs
# ---------------------------------------------------------------------------------------------------------------------
HOLD_SECONDS = _whole("HOLDFAST_HOLD_SECONDS", 3600, 1, 86_400)
HOLD_SECONDS_MAX = _whole("HOLDFAST_HOLD_SECONDS_MAX", 21_600, 1, 604_800)
OPEN_HOLDS_MAX = 50
LEDGER_ACCOUNTS_PER_STATEMENT = 250  # the next are decided while these are written; 1 where distributed by account
API_READS_PER_MINUTE = 1200
API_WRITES_PER_MINUTE = 600  # lets 200 posts that come at once be judged on their merits
API_ANONYMOUS_PER_MINUTE = 120  # for each address
APPROVAL_CREDITS = "1000"  # what a staff member may create or forgive alone, a day and account
WEB_THREADS = 20  # of each of the two web processes
LONG_REQUESTS_AT_ONCE = 16  # of them; the others stay free for what is answered at once: billing/seats.py
OUTPUT_BYTES_MAX = 200 * 1024 * 1024
OUTPUT_SECONDS_MAX = 60
OUTPUT_LINK_SECONDS = 900
OUTPUT_KEEP_DAYS = 30
SILENT_DAYS = 7
UNPAID_DAYS = 30
TOOL_STOPS_AN_HOUR_MAX = 20  # runs of studio tools stopped by a limit, before an account waits
TOOL_RESULT_DAYS = 30  # how long what a tool made is kept
# What one account may cost us at real providers without paying, before it is refused more there: bounds.py
BLOCKED_A_DAY_MAX = 20  # runs stopped by one provider's moderation within 24 hours
UNPAID_MAX = 10  # finished runs that wait to be paid for
# Auto top-up pauses after so many packs within so many minutes; what the cardholder does not confirm is given up
TOP_UP_BURST_MAX = 3
TOP_UP_BURST_MINUTES = 60
TOP_UP_PAUSE_HOURS = 24
TOP_UP_CONFIRM_HOURS = 24
# A payment has settled when it stood so many days, neither given back nor questioned by a bank (billing/trust.py).
# Until an account's first one has, its runs that cost us money at a provider come to no more than this: bounds.py
SETTLED_DAYS = 7
UNSETTLED_RUN_CREDITS = "100"  # one run
UNSETTLED_DAY_CREDITS = "250"  # all that were started on a UTC day
# New accounts, and Free plans that begin, on a UTC day; an address is one IPv4, or a /64 of IPv6: billing/networks.py
# Where nothing is in production everybody has one address, so there is room.
SIGN_UPS_OF_ADDRESS_MAX = 10 if IS_PRODUCTION else 200
SIGN_UPS_OF_NETWORK_MAX = 40 if IS_PRODUCTION else 200  # an IPv4 /24, or an IPv6 /48
FREE_PLANS_OF_NETWORK_MAX = 20 if IS_PRODUCTION else 200  # whoever comes later has their first credits on a later day
POLL_SECONDS = 1
POLL_SECONDS_MAX = 15
PROVIDER_TIMEOUT_SECONDS = 10
PROVIDER_CALLS_AT_ONCE = 32  # of each provider, in one process
FETCHES_AT_ONCE = 4  # outputs fetched at the same time, in one process
# What a new installation starts with; staff change it under Providers. One that is not set up is not offered.
DEFAULT_PROVIDERS = {
    "ai/video": ["local", "openai", "comfyui", "rehearsal"],
    "ai/image": ["local", "openai", "comfyui"],
    "ai/script": ["local", "openai"],
    "ai/threads": ["local", "openai"],
}
LOCAL_DIR = DATA_DIR / "local"
# When staff are told (docs/monitoring.md). A share of too few jobs says nothing, so each needs a number of them first.
HOLD_ALERT_SECONDS = 7200  # a job has kept credits in a hold for longer than this
ALERT_SETTLEMENT_PERCENT = 5  # of the jobs due for settlement in the last hour, more than so many broke …
ALERT_SETTLEMENT_JOBS_MIN = 5  # … and so many were due
ALERT_MODERATION_PERCENT = 20  # of the jobs that ended in the last 24 hours, more than so many were blocked …
ALERT_MODERATION_JOBS_MIN = 10  # … and so many ended
ALERT_EMERGENCY_SECONDS = 86_400  # how long an emergency release stays an alert that nobody closes
ALERT_EMAILS = [address.strip() for address in env.list("HOLDFAST_ALERT_EMAILS", default=[]) if address.strip()]
if any("@" not in address for address in ALERT_EMAILS):
    raise ImproperlyConfigured("HOLDFAST_ALERT_EMAILS must be e-mail addresses, separated by commas.")
# ---------------------------------------------------------------------------------------------------------------------

# Outside services. A base address on loopback is not a real one.
OPENAI_API_KEY = env.str("OPENAI_API_KEY", "")
OPENAI_BASE_URL = _url("OPENAI_BASE_URL")
OPENAI_WEBHOOK_SECRET = env.str("OPENAI_WEBHOOK_SECRET", "")
OPENAI_TEXT_MODEL = env.str("OPENAI_TEXT_MODEL", "") or "gpt-6.1-terra"
OPENAI_IMAGE_MODEL = env.str("OPENAI_IMAGE_MODEL", "") or "gpt-image-2.6-flare"
OPENAI_VIDEO_MODEL = env.str("OPENAI_VIDEO_MODEL", "")  # empty: no videos; only compatible servers still have them
COMFYUI_URLS = [url.strip() for url in env.list("COMFYUI_URLS", default=[]) if url.strip()]
for number, url in enumerate(COMFYUI_URLS, 1):  # not repeated: there may be a password in it
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise ImproperlyConfigured(f"Address {number} of COMFYUI_URLS is not one of a server (http://host:port).")
STRIPE_SECRET_KEY = env.str("STRIPE_SECRET_KEY", "")
STRIPE_WEBHOOK_SECRETS = [secret.strip() for secret in env.list("STRIPE_WEBHOOK_SECRETS", default=[]) if secret.strip()]
STRIPE_API_BASE = _url("STRIPE_API_BASE")
REAL_SERVICE_SETTINGS = [
    name
    for name, is_real in (
        ("OPENAI_API_KEY", bool(OPENAI_API_KEY) and not is_loopback(OPENAI_BASE_URL or "https://api.openai.com")),
        ("COMFYUI_URLS", any(not is_loopback(url) for url in COMFYUI_URLS)),
        ("STRIPE_SECRET_KEY", bool(STRIPE_SECRET_KEY) and not is_loopback(STRIPE_API_BASE or "https://api.stripe.com")),
    )
    if is_real
]

# The database. Without DATABASE_URL: the embedded PostgreSQL under DATA_DIR.
DATABASE_URL = env.str("DATABASE_URL", "")
DATABASE_IS_EMBEDDED = not DATABASE_URL
STATEMENT_TIMEOUT_SECONDS = {"web": 5, "worker": 15, "command": 0}[HOLDFAST_ROLE]
LOCK_TIMEOUT_SECONDS = {"web": 3, "worker": 5, "command": 0}[HOLDFAST_ROLE]
if DATABASE_IS_EMBEDDED:
    DATABASES: dict[str, dict[str, Any]] = {
        "default": {"NAME": "holdfast", "USER": "holdfast", "HOST": str(socket_folder(DATA_DIR)), "PORT": "5432"}
    }
else:
    try:
        DATABASES = {"default": dict(environ.Env.db_url_config(DATABASE_URL))}
    except (ValueError, KeyError) as error:
        raise ImproperlyConfigured(
            "DATABASE_URL cannot be read; it looks like postgres://user:password@host:5432/name."
        ) from error
    if "postgresql" not in str(DATABASES["default"].get("ENGINE")):
        raise ImproperlyConfigured(
            "DATABASE_URL must name a PostgreSQL server (postgres://…): row locks are the product."
        )
    DATABASES["default"]["HOST"] = unquote(str(DATABASES["default"].get("HOST") or ""))  # %2F…: a socket's folder
DATABASES["default"] |= {
    "ENGINE": "django.db.backends.postgresql",
    "CONN_MAX_AGE": 60,
    "CONN_HEALTH_CHECKS": True,
    "ATOMIC_REQUESTS": False,
    "OPTIONS": {
        **DATABASES["default"].get("OPTIONS", {}),
        "connect_timeout": 10,
        "application_name": f"holdfast-{HOLDFAST_ROLE}",
        "prepare_threshold": 5,
        "options": " ".join(
            f"-c {name}={value}"
            for name, value in (
                ("statement_timeout", STATEMENT_TIMEOUT_SECONDS * 1000),
                ("lock_timeout", LOCK_TIMEOUT_SECONDS * 1000),
                ("idle_in_transaction_session_timeout", 0 if HOLDFAST_ROLE == "command" else 30_000),
                # Only the ledger prepares statements: each is planned once, by its keys, and never for its sizes.
                ("plan_cache_mode", "force_generic_plan"),
            )
        ),
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Demo people and the rehearsal provider: only where nothing real is within reach (config/checks.py refuses the mix)
IS_DEMO = _yes_or_no("HOLDFAST_DEMO", HOLDFAST_ENV == "development" and DATABASE_IS_EMBEDDED)
if IS_DEMO and IS_PRODUCTION:
    raise ImproperlyConfigured(
        "HOLDFAST_DEMO must be off when HOLDFAST_ENV=production: its people's password is published."
    )
REHEARSAL_ENABLED = IS_DEMO or HOLDFAST_ENV == "test"
_rehearsal_file = RUN_DIR / "rehearsal.url"  # written by `up`
REHEARSAL_URL = ""
if REHEARSAL_ENABLED:
    REHEARSAL_URL = _url("HOLDFAST_REHEARSAL_URL")
    if not REHEARSAL_URL and _rehearsal_file.is_file():
        REHEARSAL_URL = _rehearsal_file.read_text().strip()
REHEARSAL_IS_OURS = REHEARSAL_ENABLED and not env.str("HOLDFAST_REHEARSAL_URL", "")


def _kept(name: str, made: str, instead: str) -> str:
    """A secret that is made once and kept in a file of the data folder, for its owner alone."""
    path = DATA_DIR / name
    try:
        DATA_DIR.mkdir(mode=0o711, parents=True, exist_ok=True)
        fresh = path.with_name(f"{name}.{os.getpid()}")
        if not path.exists():
            fresh.touch(mode=0o600)
            fresh.write_text(made)
            with suppress(FileExistsError):  # never replaces one that another process has just made
                os.link(fresh, path)
            fresh.unlink()
        return path.read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"HOLDFAST_DATA_DIR: {path} cannot be read or made ({error.strerror}); it belongs to another person, "
            f"or the folder is not writable. Choose another folder or set {instead}."
        ) from error


def _secret_key() -> str:
    """The key of this installation: from the environment, else made once and kept in the data folder."""
    given = env.str("SECRET_KEY", "")
    if given:
        if IS_PRODUCTION and len(given) < 50:
            raise ImproperlyConfigured("SECRET_KEY is too short for production; use at least 50 random characters.")
        return given
    if IS_PRODUCTION:
        raise ImproperlyConfigured("SECRET_KEY must be set when HOLDFAST_ENV=production.")
    if HOLDFAST_ENV == "test":
        return "test-only-" + "x" * 50
    return _kept("secret.key", secrets.token_urlsafe(60), "SECRET_KEY")


SECRET_KEY = _secret_key()

# Buying without a key of Stripe's: in the demo a small Stripe on this machine stands in, and no money moves
STRIPE_REHEARSAL = IS_DEMO and not STRIPE_SECRET_KEY
STRIPE_REHEARSAL_KEY = "sk_test_rehearsalWhereNoMoneyMoves"  # of the length that dj-stripe takes for a key
STRIPE_REHEARSAL_SECRET_FILE = DATA_DIR / "stripe-webhook.secret"
_stripe_file = RUN_DIR / "stripe.url"  # written by `up`
if STRIPE_REHEARSAL:
    STRIPE_SECRET_KEY = STRIPE_REHEARSAL_KEY
    # Never empty, which would mean Stripe itself: where `up` has not run, nobody answers.
    STRIPE_API_BASE = (_stripe_file.read_text().strip() if _stripe_file.is_file() else "") or "http://127.0.0.1:1"
    STRIPE_WEBHOOK_SECRETS = []
    with suppress(ImproperlyConfigured):  # in somebody else's folder nothing is sold; `up` says whose it is
        STRIPE_WEBHOOK_SECRETS = [
            _kept(STRIPE_REHEARSAL_SECRET_FILE.name, f"whsec_{secrets.token_hex(32)}", "HOLDFAST_DEMO=false")
        ]
# Whether buying is offered at all: what is paid for must also be heard of.
STRIPE_IS_SET_UP = bool(STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRETS)

ALLOWED_HOSTS = [host.strip() for host in env.list("ALLOWED_HOSTS", default=[]) if host.strip()]
if not ALLOWED_HOSTS:
    if IS_PRODUCTION:
        raise ImproperlyConfigured("ALLOWED_HOSTS must be set when HOLDFAST_ENV=production.")
    ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", ".localhost", "testserver"]
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL] if PUBLIC_URL else []

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "django_prometheus",
    "django_q",
    "djstripe",
    "billing",
    "tools_registry",
    "generations",
    "config",  # last: its admin takes back what others registered
]

MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "config.middleware.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.middleware.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
APPEND_SLASH = True

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "config.pages.context",
            ],
        },
    },
]

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
USE_THOUSAND_SEPARATOR = False


def _output_storage(text: str) -> dict[str, Any]:
    """Where outputs are kept: the data folder, or the bucket of s3://KEY:SECRET@host/bucket. Never repeats the text."""
    if not text:
        return {"BACKEND": "generations.storage.files.Files", "OPTIONS": {"location": DATA_DIR / "files"}}

    def wrong(what: str) -> ImproperlyConfigured:
        return ImproperlyConfigured(
            f"HOLDFAST_STORAGE_URL {what}; it looks like s3://KEY:SECRET@host:9000/bucket?region=eu-west-1&tls=true."
        )

    try:
        url = urlsplit(text)
        host, port = url.hostname or "", url.port
        asked = dict(parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query)))
    except ValueError:
        raise wrong("cannot be read") from None
    if url.scheme != "s3":
        raise wrong("does not begin with s3://")
    key, secret = unquote(url.username or ""), unquote(url.password or "")
    if not key or not secret:
        raise wrong("lacks its key or its secret (%2F stands for a slash in them)")
    if not re.fullmatch(r"[a-z0-9.-]+|[0-9a-f:.]+", host):
        raise wrong("lacks its host")
    bucket = url.path.strip("/")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket) or url.fragment:
        raise wrong("does not name a bucket")
    if set(asked) - {"region", "tls"} or asked.get("tls", "true") not in ("true", "false"):
        raise wrong("has an option other than region=… and tls=true or tls=false")
    scheme = "https" if asked.get("tls", "true") == "true" else "http"
    place = f"[{host}]" if ":" in host else host
    return {
        "BACKEND": "generations.storage.objects.Objects",
        "OPTIONS": {
            "endpoint_url": f"{scheme}://{place}" + (f":{port}" if port else ""),
            "bucket_name": bucket,
            "region_name": asked.get("region") or "us-east-1",
            "access_key": key,
            "secret_key": secret,
        },
    }


# Static files
STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"] if (BASE_DIR / "static").is_dir() else []
WHITENOISE_USE_FINDERS = not IS_PRODUCTION
WHITENOISE_AUTOREFRESH = HOLDFAST_ENV == "test" or DEBUG
STORAGES = {
    "default": _output_storage(env.str("HOLDFAST_STORAGE_URL", "").strip()),
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if IS_PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}

# Cache and queue. The counters of the rate limits live here, so both kinds add in one step that nothing comes between.
REDIS_URL = env.str("REDIS_URL", "")
if REDIS_URL and urlsplit(REDIS_URL).scheme not in ("redis", "rediss", "unix"):
    raise ImproperlyConfigured("REDIS_URL must start with redis://, rediss:// or unix://.")
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "holdfast",
    }
    if REDIS_URL
    else {"BACKEND": "config.cache.PostgresCache", "LOCATION": "config_cached"}
}
Q_CLUSTER = {
    "name": "holdfast",
    "workers": 4,
    "queue_limit": 4,
    "bulk": 1,
    "timeout": 180,
    "retry": 600,
    "max_attempts": 3,
    "ack_failures": True,
    "catch_up": False,
    "save_limit": 250,
    "poll": 0.2,
    "recycle": 500,
    "label": "Queue",
    "has_replica": False,
    **({"redis": REDIS_URL} if REDIS_URL else {"orm": "default"}),
}
HEARTBEAT_FILE = env.str("HOLDFAST_HEARTBEAT_FILE", "")  # the supervisor's, not a person's
TOOL_DOOR = env.int("HOLDFAST_TOOL_DOOR", -1)  # the supervisor's too: the number of an open file
HEARTBEAT_SECONDS = 30
HEARTBEAT_LATE_SECONDS = 90

# Sign-in
AUTHENTICATION_BACKENDS = ["config.sign_in.StaffBackend", "config.sign_in.EmailBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "config.sign_in.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_UNIQUE_EMAIL = True
ACCOUNT_CONFIRM_EMAIL_ON_GET = False
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = "Holdfast: "
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if IS_PRODUCTION else "http"
ACCOUNT_RATE_LIMITS = {"login": "60/m/ip", "signup": "20/m/ip", "login_failed": "10/m/ip,5/5m/key"}
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "Holdfast"

# Mail: to files under DATA_DIR (read at /dev/mail) until EMAIL_URL names a server
MAIL_DIR = DATA_DIR / "mail"
HAS_DEV_MAIL = False
EMAIL_URL = env.str("EMAIL_URL", "")
if EMAIL_URL:
    vars().update(env.email_url_config(EMAIL_URL))
elif HOLDFAST_ENV == "test":
    EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    EMAIL_FILE_PATH = str(MAIL_DIR)
else:
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    EMAIL_FILE_PATH = str(MAIL_DIR)
    HAS_DEV_MAIL = HOLDFAST_ENV == "development"
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", "Holdfast <desk@holdfast.example>")
SERVER_EMAIL = DEFAULT_FROM_EMAIL

# Security. Without a proxy in front nobody's X-Forwarded-For is believed.
IS_BEHIND_PROXY = _yes_or_no("HOLDFAST_BEHIND_PROXY", False)
ALLAUTH_TRUSTED_PROXY_COUNT = int(IS_BEHIND_PROXY)
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "config.pages.csrf_failed"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024
FILE_UPLOAD_HANDLERS = ["config.uploads.NoUploads"]
if IS_PRODUCTION:
    SECURE_SSL_REDIRECT = _yes_or_no("HOLDFAST_SSL_REDIRECT", True)
    SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    if IS_BEHIND_PROXY:
        SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
METRICS_TOKEN = env.str("HOLDFAST_METRICS_TOKEN", "")
PROMETHEUS_METRIC_NAMESPACE = "holdfast"
PROMETHEUS_EXPORT_MIGRATIONS = False

# API
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["billing.tokens.TokenAuthentication", "billing.tokens.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["billing.parsing.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_THROTTLE_CLASSES": ["billing.throttles.ReadThrottle", "billing.throttles.WriteThrottle"],
    "DEFAULT_SCHEMA_CLASS": "billing.schema.Schema",
    "NUM_PROXIES": int(IS_BEHIND_PROXY),
    "EXCEPTION_HANDLER": "billing.refusals.exception_handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "URL_FORMAT_OVERRIDE": None,
    "UNICODE_JSON": True,
    "COMPACT_JSON": True,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Holdfast",
    "DESCRIPTION": "Credits: estimate, hold, capture, release, statement. Amounts are decimal strings of credits.",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "ENUM_NAME_OVERRIDES": {"ToolRunState": ["running", "succeeded", "refused", "stopped"]},
}

# Stripe, through dj-stripe's mirror tables. Pinned together with the two packages.
STRIPE_API_VERSION = "2026-05-27.dahlia"
STRIPE_LIVE_MODE = STRIPE_SECRET_KEY.startswith("sk_live_")
STRIPE_LIVE_SECRET_KEY = STRIPE_SECRET_KEY if STRIPE_LIVE_MODE else ""
STRIPE_TEST_SECRET_KEY = "" if STRIPE_LIVE_MODE else STRIPE_SECRET_KEY
DJSTRIPE_FOREIGN_KEY_TO_FIELD = "id"


def _listed(title: str, icon: str, model: str, **more: str) -> dict[str, object]:
    """A line of the admin's sidebar, for who may see the list."""
    app, name = model.split(".")
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{app}_{name}_changelist"),
        "permission": lambda request: request.user.has_perm(f"{app}.view_{name}"),
        **more,
    }


# The admin's look: the colours of static/holdfast/money.css as Unfold's two ramps
UNFOLD = {
    "LOGIN": {"form": "config.sign_in.StaffSignIn"},
    "SITE_TITLE": "Holdfast",
    "SITE_HEADER": "Holdfast",
    "SITE_SUBHEADER": "The staff desk",
    "SITE_URL": "/",
    "SITE_ICON": {
        "light": lambda request: static("holdfast/mark.svg"),
        "dark": lambda request: static("holdfast/mark-dark.svg"),
    },
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("holdfast/favicon.svg")},
    ],
    "STYLES": [lambda request: static("holdfast/money.css"), lambda request: static("holdfast/admin.css")],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "generations.admin.desk.first_page",
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {
                "items": [
                    {"title": "Today", "icon": "anchor", "link": reverse_lazy("admin:index")},
                    {
                        "title": "Watch",
                        "icon": "monitor_heart",
                        "link": reverse_lazy("watch"),
                        "permission": lambda request: request.user.has_perm("billing.view_alert"),
                    },
                    _listed("Alerts", "notifications", "billing.alert", badge="generations.admin.desk.open_alerts"),
                    _listed(
                        "Approvals",
                        "verified_user",
                        "billing.approval",
                        badge="generations.admin.desk.waiting_approvals",
                    ),
                ]
            },
            {
                "title": "Credits",
                "separator": True,
                "items": [
                    _listed("Accounts", "account_balance_wallet", "billing.account"),
                    _listed("Lots", "layers", "billing.lot"),
                    _listed("Holds", "lock_clock", "billing.hold"),
                    _listed("Entries", "receipt_long", "billing.entry"),
                    _listed("Payments", "payments", "billing.payment"),
                    _listed("Spend limits", "speed", "billing.spendlimit"),
                ],
            },
            {
                "title": "Sales",
                "separator": True,
                "items": [
                    _listed("Purchases", "shopping_bag", "billing.purchase"),
                    _listed("Plan periods", "calendar_month", "billing.allocation"),
                    _listed("Auto top-ups", "autorenew", "billing.autotopup"),
                    _listed("Refunds", "undo", "billing.refunding"),
                    _listed("Disputes", "gavel", "billing.dispute"),
                    _listed("Packs", "inventory", "billing.pack"),
                    _listed("Plans", "event_repeat", "billing.plan"),
                    _listed("Gift codes", "redeem", "billing.giftcode"),
                    _listed("Stripe’s events", "inbox", "billing.inboxevent"),
                    {
                        "title": "Revenue",
                        "icon": "monitoring",
                        "link": reverse_lazy("revenue"),
                        "permission": lambda request: request.user.has_perm("billing.view_revenue"),
                    },
                ],
            },
            {
                "title": "Work",
                "separator": True,
                "items": [
                    _listed("Generations", "movie", "generations.generation"),
                    _listed("Attempts", "outbound", "generations.attempt"),
                    _listed("Outputs", "video_file", "generations.output"),
                    _listed("Providers", "hub", "generations.route"),
                    _listed("Settlement rules", "rule", "generations.settlementrule"),
                    _listed("Tools", "construction", "tools_registry.toolswitch"),
                    _listed("Tool runs", "play_circle", "tools_registry.toolrun"),
                    _listed("Prices", "sell", "tools_registry.toolcost"),
                ],
            },
            {
                "title": "People",
                "separator": True,
                "items": [
                    _listed("People", "person", "auth.user"),
                    _listed("Roles", "group", "auth.group"),
                    _listed("Memberships", "badge", "billing.membership"),
                    _listed("Tokens", "key", "billing.token"),
                    _listed("Notices", "mail", "billing.notice"),
                    _listed("Audit trail", "history_edu", "billing.audit"),
                ],
            },
            {
                "title": "Stripe’s mirror",
                "separator": True,
                "collapsible": True,
                "items": [
                    _listed("Customers", "contacts", "djstripe.customer"),
                    _listed("Products", "inventory_2", "djstripe.product"),
                    _listed("Prices", "price_change", "djstripe.price"),
                    _listed("Subscriptions", "autorenew", "djstripe.subscription"),
                    _listed("Invoices", "request_quote", "djstripe.invoice"),
                ],
            },
        ],
    },
    "BORDER_RADIUS": "10px",
    "COLORS": {
        "base": {
            "50": "#f6f4ee",
            "100": "#efece3",
            "200": "#e2ddd0",
            "300": "#cfc8b6",
            "400": "#93a2a7",
            "500": "#5c6a72",
            "600": "#40525b",
            "700": "#2e4955",
            "800": "#1b2e37",
            "900": "#111e25",
            "950": "#0c161b",
        },
        "primary": {
            "50": "#eff6f5",
            "100": "#dcebe8",
            "200": "#b7d8d4",
            "300": "#86c2bc",
            "400": "#4fbcb3",
            "500": "#23948d",
            "600": "#0c6a66",
            "700": "#0a5a57",
            "800": "#0b4947",
            "900": "#0b3b3a",
            "950": "#062524",
        },
    },
}

LOGGING_CONFIG = None
logging_config(is_json=IS_PRODUCTION, is_quiet="pytest" in sys.modules)
