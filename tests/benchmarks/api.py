"""How long `POST /api/generate` takes, beside an authenticated empty view on the same server.

    python tests/benchmarks/api.py [--json] [--requests 500] [--rounds 3]

gunicorn as `up` starts it, an embedded PostgreSQL with fsync on (or a database made on DATABASE_URL's server), one
client, one connection, the two requests in turn. Milliseconds: p50 and p99, medians of the rounds; only their ratios
say something about the code.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median, quantiles

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent)]

import psycopg  # noqa: E402
from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: E402

from tests.benchmarks.ledger import in_process, servers  # noqa: E402

DATABASE = "holdfast_benchmark_api"
JOBS_A_PERSON = 40  # below the open holds that one account may have
JOB = json.dumps(
    {"operation": "ai/video", "provider": "local", "inputs": {"prompt": "A tide comes in", "seconds": 4}}
).encode()
START_SECONDS_MAX = 60.0


def environment(server: str, folder: str, database: str = DATABASE) -> dict[str, str]:
    parts = conninfo_to_dict(server)
    host, password = parts.get("host", ""), parts.get("password", "")
    user = parts["user"] + (f":{password}" if password else "")
    place = f"/{database}?host={host}" if host.startswith("/") else f"{host}:{parts['port']}/{database}"
    return os.environ | {
        "HOLDFAST_ENV": "test",
        "HOLDFAST_ROLE": "web",
        "HOLDFAST_DATA_DIR": folder,
        "DATABASE_URL": f"postgres://{user}@{place}",
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "PYTHONPATH": str(HERE.parent.parent),
    }


def prepare(environment: dict[str, str], people: int, answer: Path) -> None:
    """The database is as `up` makes it, and so many people with credits have a token each; the tokens are in a file."""
    os.environ.update(environment)
    import django

    django.setup()
    from django.core.management import call_command

    from billing import ledger, tokens
    from billing.models import Membership
    from billing.people import make_person
    from config.preparation import prepare_database

    prepare_database()
    call_command("install_catalogue", stdout=sys.stderr)
    texts = []
    for number in range(people):
        person = make_person(f"bench{number}@example.com", password=None)
        account = Membership.objects.get(user=person, is_own=True).account
        ledger.grant(account.id, amount=10**12, source="pack")
        texts.append(tokens.make(person, account, name="bench", scope="spend")[1])
    answer.write_text(json.dumps(texts))


@contextmanager
def web(environment: dict[str, str]) -> Iterator[int]:
    """The port of gunicorn serving the product and the empty view."""
    port = _free_port()
    command = [
        *(sys.executable, "-m", "gunicorn", "-c", "python:config.gunicorn", "--workers", "2"),
        *("--bind", f"127.0.0.1:{port}", "tests.benchmarks.empty:application"),
    ]
    with subprocess.Popen(command, env=environment, cwd=HERE.parent.parent) as process:
        try:
            _wait_for(port, process)
            yield port
        finally:
            process.terminate()


def _free_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.1)
    raise SystemExit("the web server did not start")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def post(connection: http.client.HTTPConnection, path: str, headers: dict[str, str], sent: bytes, status: int) -> float:
    """Milliseconds until the whole answer is there."""
    start = time.perf_counter()
    connection.request("POST", path, sent, {"Content-Type": "application/json"} | headers)
    response = connection.getresponse()
    answer = response.read()
    taken = (time.perf_counter() - start) * 1000
    if response.status != status:
        raise SystemExit(f"{path} answered {response.status}: {answer[:500]!r}")
    return taken


def measure(port: int, tokens: list[str], requests: int) -> dict[str, dict[str, float]]:
    """One round: the empty view and generate in turn, each request with the next person's token."""
    seen: dict[str, list[float]] = {"empty": [], "generate": []}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for number in range(requests):
        headers = bearer(tokens[number % len(tokens)])
        seen["empty"].append(post(connection, "/api/empty", headers, JOB, 200))
        seen["generate"].append(post(connection, "/api/generate", headers, JOB, 202))
    return {name: points(values) for name, values in seen.items()}


def points(values: list[float]) -> dict[str, float]:
    return {"p50": median(values), "p99": quantiles(values, n=100, method="inclusive")[98]}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=500, help="of each kind in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one object of medians and nothing else")
    asked = parser.parse_args(arguments)

    people = -(-asked.requests // JOBS_A_PERSON)
    with servers() as server, tempfile.TemporaryDirectory(prefix="holdfast-benchmark-api-") as folder:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{DATABASE}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{DATABASE}"')
        of_server = environment(make_conninfo(server), folder)
        file = Path(folder) / "tokens.json"
        in_process(prepare, of_server, people * (asked.rounds + 1), file)
        tokens = json.loads(file.read_text())
        with web(of_server) as port:
            measure(port, tokens[:people], 20)  # both processes are warm
            rounds = [
                measure(port, tokens[people * at : people * (at + 1)], asked.requests)
                for at in range(1, asked.rounds + 1)
            ]
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{DATABASE}" WITH (FORCE)')
    medians = {
        name: {at: round(median(one[name][at] for one in rounds), 2) for at in ("p50", "p99")}
        for name in ("empty", "generate")
    }
    if asked.json:
        print(json.dumps(medians))
        return
    for name, values in medians.items():
        print(f"{name:10} p50 {values['p50']:7.2f} ms   p99 {values['p99']:7.2f} ms")
    for at in ("p50", "p99"):
        print(f"generate / empty view, {at}: {medians['generate'][at] / medians['empty'][at]:.2f}   wanted ≤ 3")


if __name__ == "__main__":
    main()
