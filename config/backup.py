"""The embedded database as one file, and back."""

import os
import subprocess
from pathlib import Path

import psycopg

from config.embedded import DATABASE, binaries, socket_folder

FRESH = f"{DATABASE}_restoring"
REPLACED = f"{DATABASE}_replaced"


class BackupError(Exception):
    """The backup could not be made or brought back; nothing was replaced."""


def back_up(data_dir: Path, file: Path) -> None:
    """The file holds the whole database as it was at one moment, readable by its owner alone. Changes nothing else."""
    part = file.with_name(file.name + ".part")
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        # What is cached is left out: the cache starts empty.
        _run(
            data_dir,
            "pg_dump",
            "--format=custom",
            "--no-unlogged-table-data",
            "--dbname",
            DATABASE,
            "--file",
            str(part),
        )
        part.rename(file)
    except OSError as error:
        raise BackupError(f"{file} cannot be written ({error.strerror}).") from error
    finally:
        part.unlink(missing_ok=True)


def bring_back(data_dir: Path, file: Path, known_migrations: set[tuple[str, str]]) -> None:
    """The database is what the file holds; the one before is kept as holdfast_replaced until the next time.

    Restored beside the present one and exchanged at the end, so what breaks on the way replaces nothing. Refuses a
    backup of a newer version. Nobody else may use the database meanwhile.
    """
    if not file.is_file():
        raise BackupError(f"{file} is not there.")
    with _connect(data_dir, "postgres") as server:
        server.execute(f"DROP DATABASE IF EXISTS {FRESH}")
        server.execute(f"CREATE DATABASE {FRESH} TEMPLATE template0")
        _run(
            data_dir,
            "pg_restore",
            "--exit-on-error",
            "--single-transaction",
            "--no-owner",
            "--dbname",
            FRESH,
            str(file),
        )
        with _connect(data_dir, FRESH) as fresh:
            applied = set(fresh.execute("SELECT app, name FROM django_migrations").fetchall())
        ours = {app for app, _ in known_migrations}
        unknown = sorted(f"{app}.{name}" for app, name in applied - known_migrations if app in ours)
        if unknown:
            server.execute(f"DROP DATABASE {FRESH}")
            raise BackupError(f"{file} was made by a newer Holdfast: it has {', '.join(unknown)}.")
        server.execute(f"DROP DATABASE IF EXISTS {REPLACED}")
        with server.transaction():
            server.execute(f"ALTER DATABASE {DATABASE} RENAME TO {REPLACED}")
            server.execute(f"ALTER DATABASE {FRESH} RENAME TO {DATABASE}")


def _connect(data_dir: Path, database: str) -> psycopg.Connection[tuple[str, ...]]:
    return psycopg.connect(host=str(socket_folder(data_dir)), user=DATABASE, dbname=database, autocommit=True)


def _run(data_dir: Path, program: str, *words: str) -> None:
    command = [str(binaries() / program), "--host", str(socket_folder(data_dir)), "--username", DATABASE, *words]
    done = subprocess.run(command, env={"LC_ALL": "C"}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BackupError(f"{program} failed: {done.stderr.strip()[-600:]}")
