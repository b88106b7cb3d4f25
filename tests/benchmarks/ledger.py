"""How fast the ledger is, beside PostgreSQL's own benchmark doing the same work.

    python tests/benchmarks/ledger.py [--json] [--rounds 5] [--seconds 5] [--large] [--only single batch]

One pair is one hold and one capture of 60 % of it, both committed. Everything is measured in turn, several rounds, on a
database of its own that is removed afterwards: a server started here with its files under a temporary folder and
fsync on, or, with DATABASE_URL, a database made on that server (its user must be a superuser: the rows to begin with
are loaded with the triggers off). The figures are medians in pairs a second; only their ratios say something
about the code, because both sides share the machine, the tables, the triggers and the minute.

  pgbench_verb   pgbench, one stored function a verb (verbs.sql), by clients
  pgbench_steps  pgbench, the steps one by one (steps.pgbench), by clients
  single         ours, one hold or capture at a time, by processes
  batch          ours, so many groups a batch, one process
  hot            ours and pgbench's functions, 16 at once on one account
  large          single and batches of 1,000 on 10,000 and on 1,000,000 accounts of ten lines each (--large)
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

import psycopg  # noqa: E402
from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: E402

from config.embedded import Server, binaries  # noqa: E402

SMALL, LARGE = 10_000, 1_000_000
HOLD, PRICE = 1_000_000, 600_000
HOT_CLIENTS = 16
NEW_ID = "CREATE FUNCTION bench_new_id() RETURNS uuid LANGUAGE sql VOLATILE RETURN {}()"


class Place:
    """A database with the ledger in it and `accounts` accounts to work on."""

    def __init__(self, server: str, name: str, accounts: int) -> None:
        self.conninfo = make_conninfo(server, dbname=name)
        self.accounts = accounts
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{name}"')
        in_process(_migrate, self)
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            has_uuidv7 = connection.info.server_version >= 180000
            connection.execute(NEW_ID.format("uuidv7" if has_uuidv7 else "gen_random_uuid"))
            for file in ("verbs.sql", "load.sql"):
                connection.execute((HERE / file).read_text())
            connection.execute(f"CALL bench_load({accounts})")
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")

    def drop(self, server: str) -> None:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{conninfo_to_dict(self.conninfo)["dbname"]}" WITH (FORCE)')


@contextmanager
def servers() -> Iterator[str]:
    """How to reach the server that is measured: the one of DATABASE_URL, or one of our own that ends afterwards."""
    given = os.environ.get("DATABASE_URL")
    if given:
        yield given
        return
    folder = Path(tempfile.mkdtemp(prefix="holdfast-benchmark-"))
    folder.chmod(0o711)
    server = Server(folder)
    try:
        server.start()
        yield make_conninfo(host=server.host, user="holdfast", dbname="holdfast")
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


# Ours: each measurement in processes of its own, so that nothing of Django is shared


def _use(place: Place) -> None:
    """Django is up in this process and speaks to the place."""
    parts = conninfo_to_dict(place.conninfo)
    os.environ |= {
        "HOLDFAST_ENV": "test",
        "HOLDFAST_DATA_DIR": tempfile.gettempdir(),
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    os.environ.pop("DATABASE_URL", None)
    import django
    from django.conf import settings

    settings.DATABASES["default"] |= {
        "NAME": parts["dbname"],
        "USER": parts.get("user", ""),
        "PASSWORD": parts.get("password", ""),
        "HOST": parts.get("host", ""),
        "PORT": parts.get("port", ""),
    }
    django.setup()


def _migrate(place: Place) -> None:
    _use(place)
    from django.core.management import call_command

    for app in ("auth", "billing"):
        call_command("migrate", app, verbosity=0, interactive=False)


def account_id(number: int) -> UUID:
    return UUID(int=number)


def _pairs(place: Place, size: int, account: int | None) -> int:
    """One batch of holds and one of their captures are committed; returns how many pairs."""
    from billing import ledger, steps

    numbers = [account] if account is not None else random.sample(range(1, place.accounts + 1), size)
    terms = {"amount": HOLD, "reference": "bench", "owner": "bench", "expires_in_seconds": 3600}
    if size == 1:
        (number,) = numbers
        line = ledger.place_hold(account_id(number), actor="bench", user=number, **terms)
        ledger.capture(account_id(number), actor="bench", user=number, hold=line.hold, amount=PRICE)
        return 1
    holds = [
        ledger.Group(account_id(number), [steps.PlaceHold(actor="bench", user=number, **terms)]) for number in numbers
    ]
    captures = [
        ledger.Group(
            outcome.group.account,
            [steps.Capture(actor="bench", user=outcome.line.user, hold=outcome.unwrap().line.hold, amount=PRICE)],
        )
        for outcome in ledger.post(holds)
    ]
    return len([outcome.unwrap() for outcome in ledger.post(captures)])


def _work(place: Place, size: int, account: int | None, seconds: float, gate: Any, answers: Any) -> None:
    _use(place)
    for _ in range(10 if size <= 10 else 3):  # the connection is made and its statements are prepared
        _pairs(place, size, account)
    gate.wait()
    pairs, start = 0, time.perf_counter()
    while (now := time.perf_counter()) - start < seconds:
        pairs += _pairs(place, size, account)
    answers.put(pairs / (now - start))


def in_process(target: Callable[..., None], *arguments: Any) -> None:
    """The target has run in a fresh process."""
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{target.__name__} failed")


def ours(place: Place, seconds: float, *, processes: int = 1, size: int = 1, account: int | None = None) -> float:
    """Pairs a second of so many processes together."""
    fork = multiprocessing.get_context("fork")
    gate, answers = fork.Barrier(processes), fork.Queue()
    workers = [
        fork.Process(target=_work, args=(place, size, account, seconds, gate, answers)) for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise SystemExit("a measuring process failed")
    return sum(answers.get() for _ in workers)


# pgbench


def pgbench(place: Place, seconds: float, script: str, *, clients: int, account: int | None = None) -> float:
    """Pairs a second of pgbench with so many clients."""
    parts = conninfo_to_dict(place.conninfo)
    path = HERE / script
    with tempfile.NamedTemporaryFile("w", suffix=".pgbench") as fixed:
        if account is not None:
            fixed.write(path.read_text().replace("random(1, :accounts)", str(account)))
            fixed.flush()
            path = Path(fixed.name)
        done = subprocess.run(
            [
                *(str(binaries() / "pgbench"), "-n", "-M", "prepared", "-f", str(path)),
                *("-c", str(clients), "-j", "2" if clients > 1 else "1", "-T", str(max(1, round(seconds)))),
                *("-D", f"accounts={place.accounts}"),
                *("-h", parts["host"], "-p", parts.get("port", "5432"), "-U", parts["user"], parts["dbname"]),
            ],
            env=os.environ | {"PGPASSWORD": parts.get("password", "")},
            capture_output=True,
            text=True,
            check=False,
        )
    found = re.search(r"^tps = ([0-9.]+)", done.stdout, re.MULTILINE)
    failed = re.search(r"number of failed transactions: (\d+)", done.stdout)
    if done.returncode or not found or (failed and failed[1] != "0"):
        raise SystemExit(f"pgbench failed: {done.stderr.strip()[-2000:]}")
    return float(found[1])


# What is measured

VERBS, STEPS = "verbs.pgbench", "steps.pgbench"
Measure = Callable[[Place, float], float]
MEASURES: dict[tuple[str, str], Measure] = {
    **{
        ("pgbench_verb", str(n)): lambda place, seconds, n=n: pgbench(place, seconds, VERBS, clients=n)
        for n in (1, 8, 16)
    },
    **{
        ("pgbench_steps", str(n)): lambda place, seconds, n=n: pgbench(place, seconds, STEPS, clients=n)
        for n in (1, 16)
    },
    **{("single", str(n)): lambda place, seconds, n=n: ours(place, seconds, processes=n) for n in (1, 4)},
    **{("batch", str(n)): lambda place, seconds, n=n: ours(place, seconds, size=n) for n in (10, 100, 1000)},
    ("hot", "ours"): lambda place, seconds: ours(place, seconds, processes=HOT_CLIENTS, account=1),
    ("hot", "pgbench"): lambda place, seconds: pgbench(place, seconds, VERBS, clients=HOT_CLIENTS, account=1),
}
GROUPS = ("pgbench_verb", "pgbench_steps", "single", "batch", "hot", "large")


def measure(small: Place, large: Place | None, rounds: int, seconds: float, only: list[str]) -> dict[str, Any]:
    """Every measure, in turn, `rounds` times: the medians."""
    todo: dict[tuple[str, str], Callable[[], float]] = {}
    for name, one in MEASURES.items():
        if not only or name[0] in only:
            todo[name] = lambda one=one: one(small, seconds)
    for place, size in ((small, "10k"), (large, "1m")):
        if place is not None and large is not None:
            todo["large", f"single_{size}"] = lambda place=place: ours(place, seconds)
            todo["large", f"batch_{size}"] = lambda place=place: ours(place, seconds, size=1000)
    seen: dict[tuple[str, str], list[float]] = {name: [] for name in todo}
    for number in range(1, rounds + 1):
        for name, run in todo.items():
            seen[name].append(run())
            print(f"round {number}  {name[0]:14} {name[1]:10} {seen[name][-1]:8.0f} pairs/s", file=sys.stderr)
    medians: dict[str, Any] = {group: {} for group in GROUPS}
    for (group, name), values in seen.items():
        medians[group][name] = round(median(values), 1)
    return medians


def ratios(medians: dict[str, Any]) -> list[tuple[str, float, str]]:
    """What is promised: a sentence, its figure, its bound."""
    verb, steps, single, batch, hot, large = (medians[group] for group in GROUPS)
    found = []
    if single and steps:
        found.append(("single, 1 process / pgbench steps, 1 client", single["1"] / steps["1"], "≥ 0.8"))
    if batch and verb:
        found.append(("batches of 1,000 / best of pgbench verbs", batch["1000"] / max(verb.values()), "≥ 3"))
    if hot:
        found.append(("hot account, ours / pgbench verbs", hot["ours"] / hot["pgbench"], "≥ 0.8"))
    for name in ("single", "batch"):
        if large:
            found.append((f"{name}, 10 k / 1 M accounts", large[f"{name}_10k"] / large[f"{name}_1m"], "≤ 1.2"))
    return found


# Afterwards: what both sides wrote agrees with the law

_DISAGREEING = """
SELECT count(*) FROM billing_account account
  LEFT JOIN LATERAL (SELECT sum(balance_delta) AS balance, sum(held_delta) AS held, max(sequence) AS entry_count
                       FROM billing_entry WHERE account_id = account.id) line ON true
  LEFT JOIN LATERAL (SELECT sum(remaining) AS balance, sum(held) AS held
                       FROM billing_lot WHERE account_id = account.id) lot ON true
  LEFT JOIN LATERAL (SELECT coalesce(sum(captured), 0) AS spent, coalesce(bool_or(state = 'open'), false) AS is_open
                       FROM billing_hold WHERE account_id = account.id) hold ON true
  LEFT JOIN LATERAL (SELECT coalesce(sum(spent), 0) AS spent
                       FROM billing_spendday WHERE account_id = account.id) day ON true
 WHERE (account.balance, account.held, account.entry_count) IS DISTINCT FROM (line.balance, line.held, line.entry_count)
    OR (account.balance, account.held) IS DISTINCT FROM (lot.balance, lot.held)
    OR hold.spent <> day.spent OR hold.is_open
"""
_LINES = """
SELECT account_id AS account, id, sequence, kind, amount, balance_delta, held_delta, frozen_delta, debt_delta,
       balance_after, held_after, frozen_after, debt_after, lots, remaining_deltas, held_deltas, hold_id AS hold,
       refunds_id AS refunds, user_id AS "user", actor, occurred_at, created_at, text_hash, digest
  FROM billing_entry WHERE account_id = ANY(%s) ORDER BY account_id, sequence
"""


def check(place: Place, sample: int = 50) -> None:
    """Sums agree on every account, the triggers are on, and on a sample (the hot account too) every digest verifies."""
    from psycopg.rows import namedtuple_row

    from billing import chain

    accounts = [account_id(1), *map(account_id, random.sample(range(2, place.accounts + 1), sample))]
    with psycopg.connect(place.conninfo, row_factory=namedtuple_row) as connection:
        off = connection.execute("SELECT count(*) FROM pg_trigger WHERE tgenabled <> 'O'").fetchone()
        disagreeing = connection.execute(_DISAGREEING).fetchone()
        heads = {UUID(int=0): bytes(32)}
        for line in connection.execute(_LINES, [accounts]):
            before = heads.get(line.account, bytes(32))
            heads[line.account] = chain.digest(before, chain.encode(line))
            if heads[line.account] != line.digest:
                raise SystemExit(f"line {line.sequence} of account {line.account} has a wrong digest")
    if off[0] or disagreeing[0]:
        raise SystemExit(f"{disagreeing[0]} accounts disagree with their rows; {off[0]} triggers are off")


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement in each round")
    parser.add_argument("--json", action="store_true", help="print one object of medians and nothing else")
    parser.add_argument("--large", action="store_true", help="also on 1,000,000 accounts (takes minutes and 15 GB)")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=[], help="these measures alone")
    asked = parser.parse_args(arguments)

    with servers() as server:
        small = Place(server, "holdfast_benchmark", SMALL)
        large = Place(server, "holdfast_benchmark_large", LARGE) if asked.large else None
        medians = measure(small, large, asked.rounds, asked.seconds, asked.only)
        for place in filter(None, (small, large)):
            check(place)
            place.drop(server)
    if asked.json:
        print(json.dumps(medians))
        return medians
    for group, values in medians.items():
        for name, value in values.items():
            print(f"{group:14} {name:12} {value:10,.0f} pairs/s")
    for sentence, ratio, bound in ratios(medians):
        print(f"{sentence:46} {ratio:6.2f}   wanted {bound}")
    return medians


if __name__ == "__main__":
    main()
