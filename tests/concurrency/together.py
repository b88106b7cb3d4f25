"""Acts that begin at once, each in a thread with a connection of its own; and waiting until one of them waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection


def together(*acts: Callable[[], Any]) -> list[Any]:
    """What each act returned, or the exception it raised; all begin at once."""
    ready = threading.Barrier(len(acts))
    results: list[Any] = [None] * len(acts)

    def run(at: int) -> None:
        try:
            connection.ensure_connection()
            ready.wait(60)
            results[at] = acts[at]()
        except Exception as error:
            results[at] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(at,)) for at in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return results


def kinds(results: Sequence[Any]) -> list[str]:
    """Each result's type by name: a line, or the refusal or error."""
    return [type(result).__name__ for result in results]


@contextmanager
def waiting_for_a_lock(act: Callable[[], Any]) -> Iterator[list[Any]]:
    """Inside, `act` waits in a thread for a lock that the caller holds; afterwards the list has its result."""
    result: list[Any] = []
    thread = threading.Thread(target=lambda: result.extend(together(act)))
    thread.start()
    until = time.monotonic() + 60
    while not _somebody_waits():
        assert time.monotonic() < until, "nobody came to wait for the lock"
        time.sleep(0.01)
    yield result
    thread.join(120)


def _somebody_waits() -> bool:
    with psycopg.connect(**connection.get_connection_params() | {"cursor_factory": psycopg.Cursor}) as raw:  # type: ignore[arg-type]
        row = raw.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
    return bool(row and row[0])
