"""How long it takes to ask a slow provider about many running jobs, beside the least that its latency allows.

    python tests/benchmarks/polling.py [--json] [--jobs 10000] [--latency 0.2] [--completed 100]

A stand-in of its own answers every question after the latency; the sweep's own code asks, one process, as the worker
runs it, PROVIDER_CALLS_AT_ONCE at a time. Jobs are made by the ledger in batches, on a server started for this (or a
database made on DATABASE_URL's server), with fsync on.

  rounds    a quarter, half and all of the jobs are due at once: seconds until each has been asked about and its answer
            written down, their ratio to jobs × latency ÷ concurrency, how often the provider was asked a job, how many
            calls it saw at once at most, how far the memory rose above a small round's, milliseconds of processor a job
  settled   then all of them say at once how they ended: settlements a second, of failures (nothing to fetch) with a
            provider that answers at once, and of completed ones, each with a film to fetch and look at
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent)]

import psycopg  # noqa: E402
from imageio_ffmpeg import get_ffmpeg_exe  # noqa: E402
from psycopg.conninfo import make_conninfo  # noqa: E402

from tests.benchmarks.api import environment  # noqa: E402
from tests.benchmarks.ledger import account_id, in_process, servers  # noqa: E402

DATABASE = "holdfast_benchmark_polling"
JOBS_AN_ACCOUNT = 10
INPUTS = {"prompt": "A tide comes in", "seconds": 1, "size": "640x360", "quality": "draft"}
WARM = 64
WARM_SECONDS_MAX = 60.0
ROUND_SECONDS_MAX = 1200.0
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
fork = multiprocessing.get_context("fork")


def provider_job_id(number: int) -> str:
    return f"bench-{number:06}"


# The stand-in: one process, no database, no disk


class StandIn:
    """What it says of a job and after how long, told from outside; what it has been asked."""

    def __init__(self, latency: float, film: bytes) -> None:
        self.latency, self.film = latency, film
        self.completed_from: int | None = None  # jobs from this number on are completed, the others failed
        self.forget()

    def forget(self) -> None:
        self.asked: Counter[str] = Counter()
        self.under_way = self.at_once = 0

    def said(self, path: str) -> tuple[bytes, str]:
        name = path.split("/")[3]
        if path.endswith("/content"):
            return self.film, "video/mp4"
        status, error = "in_progress", None
        if self.completed_from is not None:
            status = "completed" if int(name.rpartition("-")[2]) >= self.completed_from else "failed"
        if status == "failed":
            error = {"code": "moderation_blocked", "message": "The content was blocked by moderation."}
        job = {"id": name, "object": "video", "reference": name, "status": status, "progress": 40, "created_at": 0.0}
        return json.dumps(job | {"error": error}).encode(), "application/json"

    def control(self, path: str) -> bytes:
        """/_control/say/{latency}/{completed_from or "-"} changes its mind; /_control/state forgets what it tells."""
        _, _, verb, *words = path.split("/")
        told = json.dumps({"jobs": len(self.asked), "questions": self.asked.total(), "at_once": self.at_once}).encode()
        self.forget()
        if verb == "say":
            self.latency = float(words[0])
            self.completed_from = None if words[1] == "-" else int(words[1])
        return told


class Connection(asyncio.Protocol):
    """HTTP/1.1 in small: requests without a body, one after the other, kept alive as long as the client likes."""

    def __init__(self, stand_in: StandIn) -> None:
        self.stand_in, self.read = stand_in, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.read += data
        while b"\r\n\r\n" in self.read:
            head, _, self.read = self.read.partition(b"\r\n\r\n")
            method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            if path.startswith("/_control/"):
                self.answer(self.stand_in.control(path), "application/json")
                continue
            assert method == "GET", head
            assert b"\r\nauthorization: bearer rehearsal" in head.lower(), head
            self.stand_in.asked[path] += 1
            self.stand_in.under_way += 1
            self.stand_in.at_once = max(self.stand_in.at_once, self.stand_in.under_way)
            asyncio.get_running_loop().call_later(self.stand_in.latency, self.end, path)

    def end(self, path: str) -> None:
        self.stand_in.under_way = max(self.stand_in.under_way - 1, 0)
        self.answer(*self.stand_in.said(path))

    def answer(self, body: bytes, content_type: str) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)


def _serve(latency: float, film: Path, answer: Any) -> None:
    async def serve() -> None:
        stand_in = StandIn(latency, film.read_bytes())
        server = await asyncio.get_running_loop().create_server(
            lambda: Connection(stand_in), "127.0.0.1", 0, backlog=1024
        )
        answer.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


@contextmanager
def stand_in(latency: float, folder: Path) -> Iterator[str]:
    """The address of a stand-in that answers after the latency."""
    film = folder / "film.mp4"
    subprocess.run(
        [
            *(get_ffmpeg_exe(), "-loglevel", "error", "-nostdin", "-f", "lavfi", "-i", "color=teal:s=640x360:r=6:d=1"),
            *("-c:v", "libx264", "-pix_fmt", "yuv420p", str(film)),
        ],
        check=True,
    )
    here, there = fork.Pipe()
    process = fork.Process(target=_serve, args=(latency, film, there), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        process.terminate()


def tell(url: str, path: str) -> dict[str, int]:
    import urllib.request

    with urllib.request.urlopen(f"{url}/_control/{path}", timeout=10) as answered:
        told: dict[str, int] = json.load(answered)
        return told


# Ours: everything with Django in a process of its own


def _use(of_server: dict[str, str]) -> None:
    os.environ.update(of_server)
    import logging

    import django

    django.setup()
    logging.disable(logging.INFO)  # a line for each settlement is not what is measured


def _prepare(of_server: dict[str, str], jobs: int) -> None:
    """The database is as `up` makes it, with so many running jobs that nobody is due to ask about."""
    _use(of_server)
    from datetime import timedelta

    from django.core.management import call_command
    from django.db import transaction

    from billing import clock, ledger, steps
    from billing.models import Account, new_id
    from config.preparation import prepare_database
    from generations import lifecycle
    from generations.models import Attempt, Generation, ProviderJob

    prepare_database()
    call_command("install_catalogue", stdout=sys.stderr)
    quote = lifecycle.quote("ai/video", INPUTS, "rehearsal")
    amount = quote.estimate.max
    accounts = [account_id(number) for number in range(1, -(-jobs // JOBS_AN_ACCOUNT) + 1)]
    Account.objects.bulk_create(Account(id=one) for one in accounts)
    grant = steps.Grant(actor="bench", amount=amount * JOBS_AN_ACCOUNT, source="pack")
    for outcome in ledger.post([ledger.Group(one, [grant]) for one in accounts]):
        outcome.unwrap()

    def place(number: int, account: UUID) -> Generation:
        return Generation(
            id=new_id(),
            account_id=account,
            actor="bench",
            operation="ai/video",
            inputs=quote.inputs,
            provider="rehearsal",
            hold_id=new_id(),
            tool_cost=quote.cost,
            estimate_min=quote.estimate.min,
            estimate_typical=quote.estimate.typical,
            estimate_max=amount,
            explanation=quote.estimate.explanation,
            state=Generation.State.RUNNING,
            claim=1,
            attempt_count=1,
            provider_job_id=provider_job_id(number),
        )

    def hold(job: Generation) -> ledger.Group:
        terms = {"id": job.hold_id, "owner": lifecycle.OWNER, "reference": str(job.id), "expires_in_seconds": 3600}
        return ledger.Group(job.account_id, [steps.PlaceHold(actor="bench", amount=amount, **terms)])  # type: ignore[arg-type]

    for start in range(0, jobs, 1000):
        numbers = range(start, min(start + 1000, jobs))
        made = [place(number, accounts[number // JOBS_AN_ACCOUNT]) for number in numbers]
        with transaction.atomic():
            for outcome in ledger.post([hold(job) for job in made]):
                outcome.unwrap()
            now = clock.now()
            for job in made:
                job.created_at = job.submitted_at = job.accepted_at = now
                job.next_poll_at = now + timedelta(days=1)
            Generation.objects.bulk_create(made)
            ProviderJob.objects.bulk_create(
                ProviderJob(
                    provider="rehearsal",
                    provider_job_id=job.provider_job_id or "",
                    account_id=job.account_id,
                    generation=job,
                )
                for job in made
            )
            Attempt.objects.bulk_create(
                Attempt(account_id=job.account_id, generation=job, number=1, started_at=now, ended_at=now,
                        result=Attempt.Result.ACCEPTED)
                for job in made
            )  # fmt: skip


def _sweep(of_server: dict[str, str], ready: Any, gate: Any, profile: str) -> None:
    """The worker's passes, for ever: over what is due already, to be warm, and after the gate over what is due then."""
    _use(of_server)
    import gc

    from generations import tasks
    from generations.models import Generation

    while Generation.objects.filter(progress=1, answered_at=None).exists():
        tasks.sweep_once()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the highest is counted from here
    ready.send(True)
    gate.recv()
    if profile:
        import cProfile
        import signal

        profiler = cProfile.Profile(timer=time.thread_time)
        signal.signal(signal.SIGTERM, lambda *_: (profiler.dump_stats(profile), os._exit(0)))
        profiler.enable()
    while True:
        tasks.sweep_once()


def _prove(of_server: dict[str, str]) -> None:
    _use(of_server)
    from billing.reconcile import reconcile

    if findings := reconcile().findings:
        raise SystemExit(f"reconcile: {findings[:5]}")


def _of_process(pid: int, word: str) -> float:
    """Megabytes."""
    found = re.search(rf"^{word}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) / 1024


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


# What is measured


class Bench:
    def __init__(self, conninfo: str, of_server: dict[str, str], url: str, latency: float, profile: str) -> None:
        self.conninfo, self.of_server, self.url = conninfo, of_server, url
        self.latency, self.profile = latency, profile

    def ask(self, sql: str, **facts: Any) -> Any:
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            cursor = connection.execute(sql, facts or None)
            return cursor.fetchone() if cursor.description else None

    def make_due(self, first: int, last: int, progress: int = 0) -> None:
        self.ask(
            "UPDATE generations_generation SET next_poll_at = clock_timestamp(), answered_at = NULL, asked_at = NULL,"
            " progress = %(progress)s WHERE provider_job_id >= %(first)s AND provider_job_id < %(last)s"
            " AND credits_charged IS NULL",
            first=provider_job_id(first),
            last=provider_job_id(last),
            progress=progress,
        )

    def rest(self) -> None:
        """Nobody is due."""
        self.ask(
            "UPDATE generations_generation SET next_poll_at = clock_timestamp() + interval '1 day'"
            " WHERE credits_charged IS NULL"
        )

    def run(self, first: int, last: int, say: str, left: str, *, warm: bool = True) -> dict[str, Any]:
        """Seconds until nothing is `left` of these jobs, asked about by one process, and what that took."""
        self.rest()
        tell(self.url, f"say/{self.latency}/-")
        if warm:
            self.make_due(first, first + WARM, progress=1)
        ready, is_ready = fork.Pipe(duplex=False)
        gate, opens = fork.Pipe(duplex=False)
        process = fork.Process(target=_sweep, args=(self.of_server, is_ready, gate, self.profile), daemon=True)
        process.start()
        pid = process.pid or 0
        try:
            if not ready.poll(WARM_SECONDS_MAX) or not process.is_alive():
                raise SystemExit("the measuring process did not come to its start")
            self.rest()
            self.make_due(first, last)
            tell(self.url, f"say/{say}")
            memory, processor = _of_process(pid, "VmRSS"), _processor_seconds(pid)
            opens.send(True)
            began = time.perf_counter()
            with psycopg.connect(self.conninfo, autocommit=True) as connection:
                left = (
                    f"SELECT count(*) FROM generations_generation WHERE {left}"
                    " AND provider_job_id >= %(first)s AND provider_job_id < %(last)s"
                )
                facts = {"first": provider_job_id(first), "last": provider_job_id(last)}
                while count := (connection.execute(left, facts).fetchone() or (0,))[0]:
                    taken = time.perf_counter() - began
                    if not process.is_alive() or taken > ROUND_SECONDS_MAX:
                        raise SystemExit(f"{count} jobs are left after {taken:.0f} s")
                    time.sleep(0.1)
            taken = time.perf_counter() - began
            processor = _processor_seconds(pid) - processor
            growth = _of_process(pid, "VmHWM") - memory
            return {
                "seconds": round(taken, 2),
                "memory_growth_mb": round(growth, 1),
                "processor_ms_a_job": round(processor * 1000 / (last - first), 2),
                **tell(self.url, "state"),
            }
        finally:
            process.terminate()
            process.join()

    def round(self, jobs: int, at_once: int) -> dict[str, Any]:
        """All of them are running, due at once, and still running afterwards."""
        found = self.run(0, jobs, f"{self.latency}/-", "answered_at IS NULL")
        least = jobs * self.latency / at_once
        return {"least_seconds": round(least, 2), "ratio": round(found["seconds"] / least, 3)} | found

    def settle(self, first: int, last: int, completed_from: int, latency: float) -> float:
        """Settlements a second."""
        found = self.run(first, last, f"{latency}/{completed_from}", "credits_charged IS NULL", warm=False)
        return round((last - first) / found["seconds"], 1)


def _concurrency(of_server: dict[str, str], answer: Any) -> None:
    _use(of_server)
    from django.conf import settings

    answer.send(settings.PROVIDER_CALLS_AT_ONCE)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds that each answer takes")
    parser.add_argument("--completed", type=int, default=100, help="so many more, which will be completed")
    parser.add_argument("--whole", action="store_true", help="only the round of all jobs")
    parser.add_argument("--profile", default="", help="a file for cProfile's figures of the sweeping thread")
    parser.add_argument("--json", action="store_true", help="print one object and nothing else")
    asked = parser.parse_args(arguments)

    jobs, everything = asked.jobs, asked.jobs + asked.completed
    with (
        servers() as server,
        tempfile.TemporaryDirectory(prefix="holdfast-benchmark-polling-") as name,
        stand_in(asked.latency, Path(name)) as url,
    ):
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{DATABASE}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{DATABASE}"')
        of_server = environment(make_conninfo(server), name, DATABASE)
        of_server |= {"HOLDFAST_ROLE": "worker", "HOLDFAST_REHEARSAL_URL": url}
        here, there = fork.Pipe(duplex=False)
        in_process(_concurrency, of_server, there)
        in_process(_prepare, of_server, everything)
        at_once: int = here.recv()
        bench = Bench(make_conninfo(server, dbname=DATABASE), of_server, url, asked.latency, asked.profile)
        bench.ask("VACUUM ANALYZE")
        sizes = [jobs] if asked.whole else [jobs // 4, jobs // 2, jobs]
        rounds = {}
        for size in sizes:
            rounds[str(size)] = bench.round(size, at_once)
            print(f"{size} jobs: {rounds[str(size)]}", file=sys.stderr, flush=True)
        settled = {
            "failed_per_second": bench.settle(0, jobs, jobs, 0.0),
            "completed_per_second": bench.settle(jobs, everything, jobs, 0.0) if asked.completed else None,
        }
        in_process(_prove, of_server)
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{DATABASE}" WITH (FORCE)')
    found = {"jobs": jobs, "latency": asked.latency, "at_once": at_once, "rounds": rounds, "settled": settled}
    if asked.json:
        print(json.dumps(found))
        return
    for size, one in rounds.items():
        print(
            f"{size:>6} jobs × {asked.latency} s ÷ {at_once} = {one['least_seconds']:.1f} s;"
            f" taken {one['seconds']:.1f} s; ratio {one['ratio']:.2f}, wanted ≤ 1.3"
        )
        print(
            f"       {one['questions']} questions, {one['at_once']} at once; memory +{one['memory_growth_mb']:.1f} MB;"
            f" {one['processor_ms_a_job']:.2f} ms of processor a job"
        )
    for name, value in settled.items():
        print(f"settled: {name.replace('_', ' ')} {value}")


if __name__ == "__main__":
    main()
