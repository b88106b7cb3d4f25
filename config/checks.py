"""What must not be: unsafe database settings, debugging or demo people in production, play and real things mixed."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections

from config.settings import is_loopback
from tools_registry import runner

OLDEST, NEWEST = 16, 18
UNSAFE_WHEN_OFF = ("fsync", "synchronous_commit", "full_page_writes")


@register(Tags.security)
def nothing_for_play_in_production(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Production has no debugging and no demo people; the demo has nothing real within reach."""
    found: list[CheckMessage] = []

    def refuse(number: int, sentence: str, hint: str) -> None:
        found.append(Error(sentence, hint=hint, id=f"holdfast.E{number:03}"))

    if settings.IS_PRODUCTION:
        if settings.DEBUG:
            refuse(1, "HOLDFAST_DEBUG is on in production.", "Unset HOLDFAST_DEBUG.")
        if settings.IS_DEMO:
            refuse(
                2, "HOLDFAST_DEMO is on in production.", "Unset HOLDFAST_DEMO: its people have a published password."
            )
        if settings.STRIPE_REHEARSAL or settings.STRIPE_SECRET_KEY == settings.STRIPE_REHEARSAL_KEY:
            refuse(
                6,
                "The rehearsal checkout, in which no money moves, is on in production.",
                "Set STRIPE_SECRET_KEY to a key of Stripe's own, or to nothing.",
            )
    elif settings.STRIPE_REHEARSAL and (not settings.IS_DEMO or not is_loopback(settings.STRIPE_API_BASE)):
        refuse(
            7,
            "The rehearsal checkout is on outside the demo, or asks another machine.",
            "It exists only in the demo, on this machine: set STRIPE_SECRET_KEY, or unset STRIPE_API_BASE.",
        )
    if settings.STRIPE_SECRET_KEY and not settings.STRIPE_REHEARSAL and not settings.STRIPE_WEBHOOK_SECRETS:
        found.append(
            Warning(
                "STRIPE_SECRET_KEY is set and STRIPE_WEBHOOK_SECRETS is not: nothing is sold.",
                hint="What was paid is only heard of in signed events: set the secret of Stripe's webhook endpoint.",
                id="holdfast.W001",
            )
        )
    if settings.IS_DEMO:
        for name in settings.REAL_SERVICE_SETTINGS:
            refuse(
                3,
                f"{name} reaches a real service while the demo people and the rehearsal provider are on.",
                f"Unset {name}, or set HOLDFAST_DEMO=false.",
            )
        if not settings.DATABASE_IS_EMBEDDED:
            refuse(
                4,
                "The demo people and the rehearsal provider exist only on the embedded database.",
                "Unset DATABASE_URL, or set HOLDFAST_DEMO=false.",
            )
    if settings.HOLD_SECONDS > settings.HOLD_SECONDS_MAX:
        refuse(
            5,
            "HOLDFAST_HOLD_SECONDS is more than HOLDFAST_HOLD_SECONDS_MAX.",
            "A hold begins with the first and is renewed up to the second.",
        )
    return found


@register(Tags.security)
def tools_are_held(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """This machine has all that holds a tool which was taken over by what it read."""
    return [
        Warning(
            sentence,
            hint="Tools run, held by the rest. Use Linux 5.13 or later with seccomp and Landlock: docs/security.md.",
            id="holdfast.W002",
        )
        for sentence in runner.protections().missing
    ]


@register(Tags.database)
def database_keeps_what_it_says(app_configs: Any, databases: Any = None, **_: Any) -> list[CheckMessage]:
    """The server is a PostgreSQL that we know and loses nothing acknowledged; no demo people in production."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        connection = connections[alias]
        with connection.cursor() as cursor:
            cursor.execute("SHOW server_version_num")
            version = int(cursor.fetchone()[0]) // 10_000
            if not OLDEST <= version <= NEWEST:
                found.append(
                    Error(
                        f"The database is PostgreSQL {version}.",
                        hint=f"Use PostgreSQL {OLDEST} to {NEWEST}: point DATABASE_URL at another server.",
                        id="holdfast.E010",
                    )
                )
            for name in UNSAFE_WHEN_OFF if settings.HOLDFAST_ENV != "test" else ():
                cursor.execute("SELECT current_setting(%s)", [name])
                if cursor.fetchone()[0] == "off":
                    found.append(
                        Error(
                            f"The database's setting {name} is off: acknowledged credits can be lost.",
                            hint=f"Set {name} = on on the server, for the role and for the database.",
                            id="holdfast.E011",
                        )
                    )
            if not settings.IS_DEMO and "auth_user" in connection.introspection.table_names(cursor):
                cursor.execute(
                    "SELECT count(*) FROM auth_user WHERE is_active AND lower(email) LIKE %s", ["%@holdfast.example"]
                )
                count = cursor.fetchone()[0]
                if count and settings.IS_PRODUCTION:
                    found.append(
                        Error(
                            f"{count} demo people are active in this production database.",
                            hint="Deactivate them, or use another database: their password is published.",
                            id="holdfast.E012",
                        )
                    )
    return found
