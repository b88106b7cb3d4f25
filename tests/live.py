"""The application behind real HTTP in this process, on the test database: a pool of threads, as the web server's."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from django.core.wsgi import get_wsgi_application
from django.db import connection, connections, transaction

from tests.instance import until

THREADS = 24


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


class _Pooled(WSGIServer):
    """A WSGI server whose threads live on, each with its own database connection."""

    request_queue_size = 512

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Quiet)
        self.pool = ThreadPoolExecutor(THREADS)
        self.set_app(get_wsgi_application())

    def process_request(self, request: Any, client_address: Any) -> None:
        self.pool.submit(self._answer, request, client_address)

    def _answer(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        finally:
            self.shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        everyone = threading.Barrier(THREADS)

        def leave() -> None:
            everyone.wait(60)
            connections.close_all()

        for _ in range(THREADS):
            self.pool.submit(leave)
        self.pool.shutdown()


@contextmanager
def served() -> Iterator[int]:
    """The port that the application answers on."""
    server = _Pooled()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def post_at_once(
    port: int, path: str, token: str, body: Any, times: int, more: dict[str, str] | None = None
) -> list[tuple[int, dict[str, Any]]]:
    """Every answer to `times` posts that set out together."""
    start = threading.Barrier(times)

    def one(_: int) -> tuple[int, dict[str, Any]]:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=180)
        client.connect()
        start.wait(60)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"} | (more or {})
        client.request("POST", path, json.dumps(body), headers)
        response = client.getresponse()
        return response.status, json.loads(response.read())

    with ThreadPoolExecutor(times) as clients:
        return list(clients.map(one, range(times)))


@contextmanager
def write_together(account: UUID | str) -> Iterator[None]:
    """Whoever writes the account's row waits until a second wants to: both have read what neither has written yet."""
    is_kept = threading.Event()

    def keep() -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM billing_account WHERE id = %s FOR NO KEY UPDATE", [account])
                is_kept.set()
                until(lambda: _waiting(cursor) >= 2, 50, "two are about to write")
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        kept = pool.submit(keep)
        assert is_kept.wait(50)
        yield
        kept.result()


def _waiting(cursor: Any) -> int:
    cursor.execute("SELECT pg_stat_clear_snapshot()")
    cursor.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return int(cursor.fetchone()[0])


def counted(answers: list[tuple[int, dict[str, Any]]]) -> Counter[int]:
    """How many answers have which status."""
    return Counter(status for status, _ in answers)
