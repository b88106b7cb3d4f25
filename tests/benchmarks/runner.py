"""What a run costs over the bare function: a warm runner, an empty tool, one at a time and four at a time.

  python tests/benchmarks/runner.py [--json] [--runs 300]

first   milliseconds until the first answer: the server starts and loads every studio's libraries
one     milliseconds a run, p50 and p95, asked for one after the other
four    the same, with four asked for at once
large   the same, one after the other, with 8 MiB of files in
cpu     milliseconds of CPU that the kernel counts for a run that does nothing
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT)]

from tools_registry.runner import Runner  # noqa: E402
from tools_registry.studio import Limits  # noqa: E402

PACKAGE = "tests.tools_registry.runner.culprits"
LIMITS = Limits(cpu_seconds=5, seconds=10)


def percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {f"p{share}": round(ordered[len(ordered) * share // 100], 2) for share in (50, 95)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=300)
    options = parser.parse_args()
    runner = Runner([PACKAGE], at_once=4)
    cpu: list[float] = []

    def run(files: dict[str, bytes]) -> float:
        began = time.perf_counter()
        ran = runner.run(f"{PACKAGE}.acts:double", {"number": 1}, files, LIMITS)
        took = (time.perf_counter() - began) * 1000
        assert ran.stopped is None, ran
        cpu.append(float(ran.cpu_seconds) * 1000)
        return took

    found: dict[str, object] = {"first": round(run({}), 2)}
    found["one"] = percentiles([run({}) for _ in range(options.runs)])
    found["cpu"] = percentiles(cpu)
    with ThreadPoolExecutor(4) as pool:
        found["four"] = percentiles(list(pool.map(run, [{}] * options.runs)))
    files = {"file": bytes(8 * 1024 * 1024)}
    found["large"] = percentiles([run(files) for _ in range(max(10, options.runs // 10))])
    runner.close()
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:6} {value} ms")


if __name__ == "__main__":
    main()
