"""How long `POST /webhooks/stripe` takes, beside an authenticated empty view on the same server, whatever Stripe does.

    python tests/benchmarks/webhooks.py [--json] [--requests 480] [--rounds 3]

gunicorn as `up` starts it, an embedded PostgreSQL with fsync on (or a database made on DATABASE_URL's server), the
small Stripe of the tests as Stripe: answering, answering 503, and hanging for 30 seconds. One client, then sixteen;
each posts to the empty view and a new signed event in turn. Every event is stored when the round is over. Milliseconds:
p50 and p99, medians of the rounds; only their ratios say something about the code.
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent)]

import psycopg  # noqa: E402
import stripe  # noqa: E402
from psycopg.conninfo import make_conninfo  # noqa: E402

from tests.benchmarks.api import bearer, environment, points, post, prepare, web  # noqa: E402
from tests.benchmarks.ledger import in_process, servers  # noqa: E402

DATABASE = "holdfast_benchmark_webhooks"
KEY, SECRET, VERSION = "sk_test_benchmarkWhereNoMoneyMoves", "whsec_of_this_benchmark", "2026-05-27.dahlia"
CLIENTS = (1, 16)
PEOPLE = 60  # the empty view knows its callers, and lets each ask so often a minute only
STRIPE: dict[str, dict[str, Any]] = {
    "answers": {"down": False, "hang_seconds": 0},
    "is down": {"down": True, "hang_seconds": 0},
    "hangs 30 s": {"down": False, "hang_seconds": 30},
}


class SmallStripe:
    """The small Stripe, as a process of its own."""

    def __init__(self, folder: str) -> None:
        command = [
            *(sys.executable, "-m", "billing.stripe_stand_in", "--port", "0", "--state", f"{folder}/stripe.sqlite3"),
            *("--key", KEY, "--api-version", VERSION),
        ]
        self.process = subprocess.Popen(command, cwd=HERE.parent.parent, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.url = self.process.stdout.readline().split()[1]

    def become(self, controls: dict[str, Any]) -> None:
        request = urllib.request.Request(
            f"{self.url}/_control/settings",
            json.dumps(controls).encode(),
            {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60):
            pass


@contextmanager
def small_stripe(folder: str) -> Iterator[SmallStripe]:
    running = SmallStripe(folder)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def event(name: str) -> bytes:
    """A paid session of a pack, as large as Stripe's are: 3 KB."""
    session = {
        "id": f"cs_test_{name}", "object": "checkout.session", "mode": "payment", "payment_status": "paid",
        "amount_total": 2500, "currency": "gbp", "metadata": {"purchase": name}, "padding": "x" * 2500,
    }  # fmt: skip
    told = {
        "id": f"evt_{name}", "object": "event", "api_version": VERSION, "created": int(time.time()), "livemode": False,
        "type": "checkout.session.completed", "data": {"object": session},
    }  # fmt: skip
    return json.dumps(told).encode()


def one_client(port: int, tokens: Iterator[str], names: list[str]) -> dict[str, list[float]]:
    seen: dict[str, list[float]] = {"empty": [], "webhook": []}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for name in names:
        body = event(name)
        header = stripe.WebhookSignature.generate_signature_header(body.decode(), SECRET)
        seen["empty"].append(post(connection, "/api/empty", bearer(next(tokens)), body, 200))
        seen["webhook"].append(post(connection, "/webhooks/stripe", {"Stripe-Signature": header}, body, 200))
    return seen


def measure(port: int, tokens: Iterator[str], clients: int, requests: int, run: str) -> dict[str, list[float]]:
    """So many events by so many clients, beside one another."""
    shares = [[f"{run}_{number}" for number in range(at, requests, clients)] for at in range(clients)]
    with ThreadPoolExecutor(clients) as pool:
        each = list(pool.map(lambda names: one_client(port, tokens, names), shares))
    return {name: [value for one in each for value in one[name]] for name in ("empty", "webhook")}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=480, help="of each kind in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one object of medians and nothing else")
    asked = parser.parse_args(arguments)

    found: dict[str, Any] = {}
    with (
        servers() as server,
        tempfile.TemporaryDirectory(prefix="holdfast-benchmark-webhooks-") as folder,
        small_stripe(folder) as small,
    ):
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{DATABASE}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{DATABASE}"')
        of_server = environment(make_conninfo(server), folder, DATABASE) | {
            "STRIPE_SECRET_KEY": KEY,
            "STRIPE_WEBHOOK_SECRETS": SECRET,
            "STRIPE_API_BASE": small.url,
        }
        file = Path(folder) / "tokens.json"
        in_process(prepare, of_server, PEOPLE, file)
        tokens = cycle(json.loads(file.read_text()))
        posted = 0
        with web(of_server) as port:
            for clients in CLIENTS:
                measure(port, tokens, clients, 4 * clients, f"warm{clients}")
                posted += 4 * clients
            for how, controls in STRIPE.items():
                small.become(controls)
                for clients in CLIENTS:
                    rounds = []
                    for at in range(asked.rounds):
                        run = f"{how.split()[0]}{clients}at{at}"
                        seen = measure(port, tokens, clients, asked.requests, run)
                        rounds.append({name: points(values) for name, values in seen.items()})
                        posted += asked.requests
                    found.setdefault(how, {})[str(clients)] = {
                        name: {at: round(median(one[name][at] for one in rounds), 2) for at in ("p50", "p99")}
                        for name in ("empty", "webhook")
                    }
        with psycopg.connect(make_conninfo(server, dbname=DATABASE), autocommit=True) as connection:
            row = connection.execute("SELECT count(*) FROM billing_inboxevent").fetchone()
        if row is None or row[0] != posted:
            raise SystemExit(f"{posted} events were answered with 200, and {row} are stored")
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{DATABASE}" WITH (FORCE)')
    if asked.json:
        print(json.dumps({"stored": posted, "stripe": found}))
        return
    for how, by_clients in found.items():
        for number, medians in by_clients.items():
            empty, webhook = medians["empty"], medians["webhook"]
            ratios = ", ".join(f"{at} {webhook[at] / empty[at]:.2f}" for at in ("p50", "p99"))
            print(
                f"Stripe {how:10} {number:>2} clients   webhook p50 {webhook['p50']:7.2f} p99 {webhook['p99']:7.2f} ms"
                f"   empty p50 {empty['p50']:7.2f} p99 {empty['p99']:7.2f} ms   ratio {ratios}"
            )
    print(f"{posted} events answered with 200, all of them stored")


if __name__ == "__main__":
    main()
