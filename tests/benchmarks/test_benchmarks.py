"""The benchmarks run to their end and print what they promise. No figure is judged here: this machine is shared."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

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


def run(script: str, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(HERE / script), "--json", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.slow
def test_the_ledger_is_measured_on_both_sides_and_both_write_rows_that_agree() -> None:
    medians = run("ledger.py", "--rounds", "1", "--seconds", "1")
    assert {group: set(values) for group, values in medians.items()} == SHAPE
    assert all(value > 0 for values in medians.values() for value in values.values())


@pytest.mark.slow
def test_a_generation_is_measured_beside_an_empty_view() -> None:
    medians = run("api.py", "--rounds", "1", "--requests", "30")
    assert {name: set(values) for name, values in medians.items()} == {
        "empty": {"p50", "p99"},
        "generate": {"p50", "p99"},
    }


def test_a_run_of_a_tool_that_does_nothing_is_measured() -> None:
    found = run("runner.py", "--runs", "20")
    assert set(found) == {"first", "one", "four", "large", "cpu"}
    assert all(found[name]["p50"] > 0 for name in ("one", "four", "large", "cpu"))


@pytest.mark.slow
def test_polling_is_measured_beside_its_providers_latency_and_everything_is_settled() -> None:
    found = run("polling.py", "--jobs", "200", "--completed", "4", "--latency", "0.1")
    assert (found["jobs"], found["latency"]) == (200, 0.1)
    assert set(found["rounds"]) == {"50", "100", "200"}
    for size, one in found["rounds"].items():
        assert set(one) >= {"seconds", "ratio", "least_seconds", "memory_growth_mb", "processor_ms_a_job"}
        assert one["jobs"] == int(size), "each was asked about"
        assert one["at_once"] <= found["at_once"], "never more calls at once than the setting says"
    assert set(found["settled"]) == {"failed_per_second", "completed_per_second"}
    assert all(value > 0 for value in found["settled"].values())


@pytest.mark.slow
def test_the_webhook_is_measured_beside_an_empty_view_whatever_stripe_does_and_every_event_is_stored() -> None:
    found = run("webhooks.py", "--rounds", "1", "--requests", "32")
    assert set(found["stripe"]) == {"answers", "is down", "hangs 30 s"}
    for by_clients in found["stripe"].values():
        assert set(by_clients) == {"1", "16"}
        for medians in by_clients.values():
            assert {name: set(values) for name, values in medians.items()} == {
                "empty": {"p50", "p99"},
                "webhook": {"p50", "p99"},
            }
    assert found["stored"] == 3 * 2 * 32 + 4 + 64


@pytest.mark.slow
def test_a_run_of_a_tool_is_measured_beside_its_bare_function_and_leaves_no_child() -> None:
    found = run("tools.py", "--rounds", "1", "--runs", "5")
    assert found["children_left"] == 0
    assert found["reconcile_clean"] is True
    assert found["charged"] == found["runs"] > found["crowd_runs"] == 100
    assert found["overhead_ms"] > 0
