"""A charge in words: its parts add up to it, to the microcredit, and each way to end is told."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tools_registry.test_runs import PROBE, RATES
from tools_registry import explain, pricing, registry
from tools_registry.models import ToolCost, ToolRun


def run(cpu: str, seconds: str, peak: int) -> ToolRun:
    """A success that used this much, charged as the price says."""
    made = ToolRun(
        tool=PROBE.slug,
        state="succeeded",
        released_at=datetime(2026, 5, 1, tzinfo=UTC),
        tool_cost=ToolCost(model="measured", rates=RATES),
        cpu_seconds=Decimal(cpu),
        wall_seconds=Decimal(seconds),
        peak_memory_bytes=peak,
        estimate_min=3_000_000,
        estimate_typical=3_000_000,
        estimate_max=5_000_000,
    )
    used = {"cpu_seconds": made.cpu_seconds, "seconds": made.wall_seconds, "peak_memory_bytes": peak}
    made.charged_amount = pricing.price("measured", RATES, PROBE.bounds, used)
    return made


@pytest.mark.parametrize(
    ("cpu", "seconds", "peak", "said"),
    [
        ("0", "0.1", 0, "2 (the run itself) + 0 (0 s × 0.5) + 0 (0 GB × 0.1 s × 0.25) = 2; a run costs at least 3."),
        ("2", "4", 0, "2 (the run itself) + 1 (2 s × 0.5) + 0 (0 GB × 4 s × 0.25) = 3."),
        ("2", "4", 10**9, "2 (the run itself) + 1 (2 s × 0.5) + 1 (1 GB × 4 s × 0.25) = 4."),
        (
            "2.1",
            "3.3",
            10**9,
            "2 (the run itself) + 1.05 (2.1 s × 0.5) + 0.825 (1 GB × 3.3 s × 0.25) = 3.875.",
        ),
        (
            "2.000001",
            "1",
            4,
            "2 (the run itself) + 1.0000005 (2.000001 s × 0.5) + 0.000000001 (0.000000004 GB × 1 s × 0.25) = "
            "3.000000501; rounded up to the sixth decimal.",
        ),
        (
            "10",
            "10",
            10**9,
            "2 (the run itself) + 5 (10 s × 0.5) + 2.5 (1 GB × 10 s × 0.25) = 9.5; a run costs at most 5.",
        ),
    ],
)
def test_the_parts_are_said_and_add_up(cpu: str, seconds: str, peak: int, said: str) -> None:
    assert explain.sum_of(run(cpu, seconds, peak)) == said


@settings(max_examples=300, deadline=None, database=None)
@given(
    cpu=st.decimals(0, 60, places=6),
    seconds=st.decimals(0, 60, places=6),
    peak=st.integers(0, 4 * 10**9),
)
def test_every_charge_follows_from_its_parts(cpu: Decimal, seconds: Decimal, peak: int) -> None:
    made = run(str(cpu), str(seconds), peak)
    whole = sum((part.amount for part in explain.parts_of(made)), Decimal(0))
    bounded = min(max(whole, Decimal(3)), Decimal(5))
    assert 0 <= Decimal(made.charged_amount or 0) / 10**6 - bounded < Decimal("0.000001")


@pytest.mark.parametrize(
    ("state", "stopped_by", "word", "part"),
    [
        ("running", None, "Running", "are held until it ends"),
        ("succeeded", None, "Done", "were charged"),
        ("refused", None, "Not run", "Nothing was charged."),
        ("stopped", "cpu", "Stopped", "Nothing was charged."),
        ("stopped", "time", "Stopped", "Nothing was charged."),
        ("stopped", "memory", "Stopped", "Nothing was charged."),
        ("stopped", "output", "Stopped", "Nothing was charged."),
        ("stopped", "crash", "Failed", "Nothing was charged."),
        ("stopped", "lost", "Lost", "Nothing was charged."),
    ],
)
@pytest.mark.parametrize("is_known", [True, False])
def test_each_way_to_end_is_told(
    state: str, stopped_by: str | None, word: str, part: str, is_known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_known:
        monkeypatch.setitem(registry.TOOLS, PROBE.slug, PROBE)
    made = run("1", "1", 0)
    made.state, made.stopped_by = state, stopped_by
    said = explain.spoken(made)
    assert part in said.credits
    assert said.title
    assert said.word == (word if is_known or word != "Stopped" else "Failed")


def test_what_is_kept_back_says_why_and_what_it_cost() -> None:
    made = run("1", "1", 0)
    made.released_at = None
    said = explain.spoken(made)
    assert (said.word, said.words, "were charged" in said.credits) == ("Waiting", explain.KEPT_BACK, True)


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 KB"),
        (840_123, "840 KB"),
        (1_000_000, "1 MB"),
        (1_250_000, "1.2 MB"),
    ],
)
def test_sizes_are_said_as_people_read_them(count: int, said: str) -> None:
    assert explain.size(count) == said
