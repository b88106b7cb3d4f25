"""Starts it: prints `ready http://…` when it answers, and ends with the process that started it."""

import argparse
import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path

from . import renewals
from .book import Book
from .deliveries import Deliveries
from .server import Handler, Server

TICK_SECONDS = 15


def end_with_parent() -> None:
    """This process is killed when the one that started it ends (Linux)."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)  # 1 is PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)


def keep_time(book: Book) -> None:
    """What becomes due while it runs happens."""
    while True:
        time.sleep(TICK_SECONDS)
        with book.change():
            renewals.advance(book, book.now())


def main() -> None:
    parser = argparse.ArgumentParser(prog="stripe_stand_in", description="A small Stripe, for rehearsals and tests.")
    parser.add_argument("--port", type=int, required=True, help="0 chooses a free one")
    parser.add_argument("--state", type=Path, required=True, help="the SQLite file")
    parser.add_argument("--webhook-url", default="", help="where events are sent")
    parser.add_argument("--webhook-host", default="", help="the Host header of what is sent, where it is another")
    parser.add_argument("--secret", action="append", default=[], help="signs events; may be given twice")
    parser.add_argument(
        "--secret-file", type=Path, help="a file with the secret, which the list of processes shows not"
    )
    parser.add_argument("--key", default="sk_test_rehearsalWhereNoMoneyMoves", help="the one API key that is taken")
    parser.add_argument("--api-version", required=True, help="the one API version that is spoken")
    options = parser.parse_args()
    end_with_parent()
    secrets = [*options.secret, *([options.secret_file.read_text().strip()] if options.secret_file else [])]
    book = Book(options.state, api_version=options.api_version)
    server = Server(("127.0.0.1", options.port), Handler)
    Handler.book, Handler.key = book, options.key
    Handler.base_url = f"http://127.0.0.1:{server.server_address[1]}"
    Handler.deliveries = Deliveries(book, Handler.base_url, options.webhook_url, secrets, host=options.webhook_host)
    Handler.deliveries.start()
    threading.Thread(target=keep_time, args=(book,), daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"ready {Handler.base_url}", flush=True)  # noqa: T201
    server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main()
