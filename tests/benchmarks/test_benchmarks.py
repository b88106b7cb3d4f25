"""The benchmarks run to their end and print what they promise. No figure is judged here: this machine is shared."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SHAPE = {
    "pgbench_verb": {"1", "8", "16"},
    "pgbench_steps": {"1", "16"},
    "single": {"1", "4"},
    "batch": {"10", "100", "1000"},
    "hot": {"ours", "pgbench"},
    "large": set(),
}


def run(script: str, *arguments: str) -> dict[str, dict[str, float]]:
    done = subprocess.run(
        [sys.executable, str(HERE / script), "--json", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.slow
def test_the_ledger_is_measured_on_both_sides_and_both_write_rows_that_agree() -> None:
    medians = run("ledger.py", "--rounds", "1", "--seconds", "2")
    assert {group: set(values) for group, values in medians.items()} == SHAPE
    assert all(value > 0 for values in medians.values() for value in values.values())


@pytest.mark.slow
def test_a_generation_is_measured_beside_an_empty_view() -> None:
    medians = run("api.py", "--rounds", "1", "--requests", "30")
    assert {name: set(values) for name, values in medians.items()} == {
        "empty": {"p50", "p99"},
        "generate": {"p50", "p99"},
    }
