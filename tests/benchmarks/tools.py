"""What a run of a tool costs beside its bare function: the hold, the limited child, the capture.

    python tests/benchmarks/tools.py [--json] [--runs 60] [--rounds 3] [--tool data-studio/quality]

An embedded PostgreSQL with fsync on (or a database made on DATABASE_URL's server), the real runner, warm. First one
person: the tool's example by its bare function in this process, and as a run from quote to capture, in turn; the
overhead is the difference of the medians. Then 100 runs by 20 people at once; afterwards no child is left, every
account reconciles, and every run was charged. Milliseconds, medians of the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent)]

import psycopg  # noqa: E402
from psycopg.conninfo import make_conninfo  # noqa: E402

from tests.benchmarks.api import environment  # noqa: E402
from tests.benchmarks.ledger import in_process, servers  # noqa: E402

DATABASE = "holdfast_benchmark_tools"
PEOPLE, EACH = 20, 5


def _timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def children() -> list[int]:
    """The processes that live below this one."""
    import psutil

    return [one.pid for one in psutil.Process().children(recursive=True) if one.status() != psutil.STATUS_ZOMBIE]


def measure(of_server: dict[str, str], slug: str, count: int, rounds: int, answer: Path) -> None:
    """In a process of its own: everything is measured and written into `answer`."""
    os.environ.update(of_server)
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connections

    from billing import ledger
    from billing.models import Account
    from billing.reconcile import reconcile
    from config.preparation import prepare_database
    from tools_registry import registry, runs
    from tools_registry.models import ToolRun

    prepare_database()
    call_command("install_catalogue", stdout=sys.stderr)
    accounts = [Account.objects.create().id for _ in range(PEOPLE)]
    for account in accounts:
        ledger.grant(account, amount=10**6 * 10**6, source="staff")
    tool = registry.tool(slug)
    assert tool.function is not None

    def quoted() -> runs.Quote:
        return runs.quote(tool, dict(tool.example), tool.example_files)

    def whole(account: Any) -> None:
        of = quoted()
        ended = runs.carry_out(runs.start(account, of, actor="benchmark", owner=str(account)).run, of)
        assert ended.state == ToolRun.State.SUCCEEDED, ended.stopped_by

    of = quoted()
    for _ in range(5):
        whole(accounts[0])
        tool.function(dict(of.inputs), dict(of.files))
    bare, run, inside = [], [], []
    for _ in range(rounds):
        # In turn, so that whatever else the machine does is on both sides.
        pairs = [
            (_timed(lambda: tool.function(dict(of.inputs), dict(of.files))), _timed(lambda: whole(accounts[0])))
            for _ in range(count)
        ]
        bare.append(median(pair[0] for pair in pairs))
        run.append(median(pair[1] for pair in pairs))
        newest = ToolRun.objects.filter(account_id=accounts[0]).order_by("-id").values_list("wall_seconds", flat=True)
        inside.append(median(float(seconds) * 1000 for seconds in newest[:count]))

    resting = set(children())

    def five(account: Any) -> None:
        for _ in range(EACH):
            whole(account)
        connections.close_all()

    def crowd() -> None:
        with ThreadPoolExecutor(PEOPLE) as pool:
            list(pool.map(five, accounts))

    seconds = _timed(crowd) / 1000
    patience = time.monotonic() + 10
    while set(children()) - resting and time.monotonic() < patience:
        time.sleep(0.1)
    report = reconcile()
    found = {
        "tool": slug,
        "bare_ms": round(median(bare), 2),
        "run_ms": round(median(run), 2),
        "child_ms": round(median(inside), 2),
        "overhead_ms": round(median(run) - median(bare), 2),
        "crowd_runs": PEOPLE * EACH,
        "crowd_seconds": round(seconds, 2),
        "crowd_runs_per_second": round(PEOPLE * EACH / seconds, 1),
        "children_left": len(set(children()) - resting),
        "charged": ToolRun.objects.filter(state=ToolRun.State.SUCCEEDED).count(),
        "runs": ToolRun.objects.count(),
        "reconcile_clean": report.is_clean,
    }
    connections.close_all()
    answer.write_text(json.dumps(found))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=60, help="of each kind in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tool", default="data-studio/quality")
    parser.add_argument("--json", action="store_true", help="print one object of medians and nothing else")
    asked = parser.parse_args(arguments)
    with servers() as server, tempfile.TemporaryDirectory(prefix="holdfast-benchmark-tools-") as folder:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{DATABASE}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{DATABASE}"')
        answer = Path(folder) / "answer.json"
        of_server = environment(make_conninfo(server), folder, DATABASE)
        in_process(measure, of_server, asked.tool, asked.runs, asked.rounds, answer)
        found = json.loads(answer.read_text())
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{DATABASE}" WITH (FORCE)')
    if asked.json:
        print(json.dumps(found))
        return
    print(
        f"{found['tool']}: bare {found['bare_ms']:.2f} ms, as a run {found['run_ms']:.2f} ms "
        f"({found['child_ms']:.2f} ms in its child): overhead {found['overhead_ms']:.2f} ms"
    )
    print(
        f"{found['crowd_runs']} runs by {PEOPLE} people at once: {found['crowd_seconds']:.2f} s, "
        f"{found['crowd_runs_per_second']} a second; {found['children_left']} children left, "
        f"{found['charged']} of {found['runs']} charged, reconcile {'clean' if found['reconcile_clean'] else 'BROKEN'}"
    )
    if found["children_left"] or not found["reconcile_clean"] or found["charged"] != found["runs"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
