"""Runs a command of manage.py, with the embedded database there for as long as the command lasts."""

import sys

import django
from django.conf import settings
from django.core.management import call_command, execute_from_command_line

from config.embedded import EmbeddedError, server_for_a_command

# Commands that need no database, or see to it themselves
ON_THEIR_OWN = {"", "up", "restore", "help", "version", "collectstatic", "startapp", "startproject", "compilemessages"}
# Commands that bring an empty database to where they want it themselves
FROM_EMPTY = {"migrate", "sqlmigrate", "showmigrations", "makemigrations", "check", "dbshell", "flush", "sqlflush"}


def say(sentence: str) -> None:
    """Tells a person; stdout belongs to the command's own answer."""
    print(sentence, file=sys.stderr, flush=True)  # noqa: T201


def execute(argv: list[str]) -> None:
    """The command has run. Beside a running `up` it uses that database, else the embedded one runs for its duration."""
    name = argv[1] if len(argv) > 1 else ""
    asks_for_words = name.startswith("-") or "--help" in argv or "-h" in argv
    if name in ON_THEIR_OWN or asks_for_words or not settings.DATABASE_IS_EMBEDDED:
        execute_from_command_line(argv)
        return
    try:
        with server_for_a_command(settings.DATA_DIR, say) as is_ours:
            if is_ours and name not in FROM_EMPTY:
                _prepare_if_empty()
            execute_from_command_line(argv)
    except EmbeddedError as error:
        say(str(error))
        sys.exit(1)


def _prepare_if_empty() -> None:
    django.setup()
    from config import preparation  # its imports need the apps loaded

    if not preparation.is_prepared():
        preparation.prepare_database(say)
        call_command("install_catalogue", stdout=sys.stderr)
        call_command("install_plans", stdout=sys.stderr)
