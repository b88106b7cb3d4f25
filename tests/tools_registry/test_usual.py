"""What runs usually cost: learned, shown, and never a bound (N8)."""

from __future__ import annotations

import math
import random
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction

from billing import clock as ledger_clock
from billing.reconcile import reconcile
from tests.billing.purse import Purse
from tests.conftest import Clock
from tools_registry import figures, registry, rehearse_price, runs, studio, usual
from tools_registry.models import ToolCost, ToolRun, Usual
from tools_registry.studio import Limits, Tool

CREDIT = 1_000_000
RATES = {"base": "2", "per_cpu_second": "0.5", "per_gb_second": "0.25", "minimum": "3", "maximum": "100"}
BURNER = Tool(
    slug="dev-studio/burner",
    title="Burner",
    noun="burn",
    summary="Uses what it is told to.",
    mode="server",
    credits_max=100,
    limits=Limits(cpu_seconds=30, seconds=60),
    fields=(),
    function=lambda inputs, files: studio.Result({}),
)


@pytest.fixture
def burner(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Tool:
    monkeypatch.setitem(registry.TOOLS, BURNER.slug, BURNER)
    ToolCost.objects.create(tool=BURNER.slug, valid_from=ledger_clock.now(), model="measured", rates=RATES)
    return BURNER


def ran(purse: Purse, cpu: float, seconds: float, memory: int) -> ToolRun:
    """A run that used so much, settled as any."""
    of = runs.quote(BURNER, {})
    made = runs.start(purse.id, of, actor="user:1", owner="user:1").run
    used: Any = _Used(Decimal(f"{cpu:.6f}"), Decimal(f"{seconds:.6f}"), memory)
    settled = runs.settle(made.id, studio.Result({}), used)
    assert settled is not None
    return settled


class _Used:
    """What the kernel says of a run."""

    def __init__(self, cpu_seconds: Decimal, wall_seconds: Decimal, peak_memory_bytes: int) -> None:
        self.cpu_seconds, self.wall_seconds, self.peak_memory_bytes = cpu_seconds, wall_seconds, peak_memory_bytes


def charge(cpu: float, seconds: float, memory: int, held: int) -> int:
    """What a run that used so much is charged: the formula by hand, in whole microcredits, at most what was held."""
    whole = 2 + Decimal(f"{cpu:.6f}") / 2 + Decimal(memory) / 10**9 * Decimal(f"{seconds:.6f}") / 4
    return min(max(math.ceil(whole * CREDIT), 3 * CREDIT), held)


def copied(of: ToolRun, uses: list[tuple[float, float, int]]) -> None:
    """So many more runs as `uses`, each with its charge by the formula. For figures alone: no money moved for them."""
    rows = [(f"{cpu:.6f}", f"{wall:.6f}", size, charge(cpu, wall, size, of.estimate_max)) for cpu, wall, size in uses]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("CREATE TEMPORARY TABLE used (cpu numeric, wall numeric, memory bigint, charged bigint)")
        cursor.executemany("INSERT INTO used VALUES (%s, %s, %s, %s)", rows)
        columns = [field.column for field in ToolRun._meta.concrete_fields]
        new = {
            "id": "gen_random_uuid()",
            "hold_id": "gen_random_uuid()",
            "entry_id": "gen_random_uuid()",
            "cpu_seconds": "cpu",
            "wall_seconds": "wall",
            "peak_memory_bytes": "memory",
            "charged_amount": "charged",
        }
        chosen = ", ".join(new.get(column, f"run.{column}") for column in columns)
        cursor.execute(
            f"INSERT INTO tools_registry_toolrun ({', '.join(columns)}) "
            f"SELECT {chosen} FROM tools_registry_toolrun run, used WHERE run.id = %s",
            [of.id],
        )
        cursor.execute("DROP TABLE used")


def uses(count: int, seed: int) -> list[tuple[float, float, int]]:
    chance = random.Random(seed)
    found = []
    for _ in range(count):
        cpu = min(chance.lognormvariate(1.2, 0.8), 30.0)
        found.append((cpu, min(cpu * chance.uniform(1.05, 2), 60.0), int(chance.uniform(5e6, 500e6))))
    return found


# What the kernel may count of a run that is stopped a moment late, and what it never should.
BEYOND_ITS_LIMITS = [(30.4, 60.9, 536_870_912), (30.0, 60.0, 536_870_912), (45.0, 90.0, 2_000_000_000)]


def test_what_is_charged_is_the_formula_and_never_above_the_hold(burner: Tool) -> None:
    """By the desk's own way, with money; so the runs that are only recorded below are charged as these are."""
    purse = Purse()
    purse.grant(1000 * CREDIT)
    for cpu, seconds, memory in [*uses(40, seed=9), *BEYOND_ITS_LIMITS]:
        run = ran(purse, cpu, seconds, memory)
        hold = purse.hold(run.hold_id)
        assert run.charged_amount == charge(cpu, seconds, memory, run.estimate_max) == hold.captured <= hold.amount
    assert run.charged_amount == run.estimate_max, "the last would have cost more"
    assert reconcile().is_clean


def test_of_ten_thousand_runs_the_shown_p95_covers_95_in_100_and_none_exceeds_its_hold(burner: Tool) -> None:
    purse = Purse()
    purse.grant(1000 * CREDIT)
    first = ran(purse, 3, 4, 100_000_000)
    copied(first, [*uses(9_996, seed=7), *BEYOND_ITS_LIMITS])
    assert usual.learn() == 1
    of = runs.quote(burner, {})
    assert of.usual is not None
    assert of.usual.runs == 10_000
    charged = list(ToolRun.objects.values_list("charged_amount", flat=True))
    covered = sum(amount <= of.usual.p95 for amount in charged) * 100 / len(charged)
    assert 94 <= covered <= 96
    assert max(charged) <= of.estimate.max
    assert not ToolRun.objects.filter(charged_amount__gt=first.estimate_max).exists()
    # What comes next from the same source is covered as well: learned, not memorised.
    later = [charge(*used, first.estimate_max) for used in uses(10_000, seed=8)]
    assert 94 <= sum(amount <= of.usual.p95 for amount in later) * 100 / len(later) <= 96


def test_typical_is_the_learned_median_once_there_are_enough_and_the_bounds_stay(burner: Tool) -> None:
    before = runs.quote(burner, {})
    assert before.usual is None
    purse = Purse()
    purse.grant(1000 * CREDIT)
    first = ran(purse, 4, 5, 200_000_000)
    copied(first, [(4, 5, 200_000_000)] * (runs.USUAL_RUNS_MIN - 2))
    usual.learn()
    assert runs.quote(burner, {}).usual is None
    copied(first, [(4, 5, 200_000_000)])
    usual.learn()
    after = runs.quote(burner, {})
    assert after.estimate.typical == first.charged_amount == 4_250_000
    assert (after.estimate.min, after.estimate.max) == (before.estimate.min, before.estimate.max)


def test_what_nobody_runs_any_more_is_not_said(burner: Tool, clock: Clock) -> None:
    purse = Purse()
    purse.grant(1000 * CREDIT)
    ran(purse, 4, 5, 200_000_000)
    usual.learn()
    assert Usual.objects.count() == 1
    clock.advance(days=usual.SPAN.days + 1)
    usual.learn()
    assert not Usual.objects.exists()


def test_drift_is_the_last_weeks_median_beside_before(burner: Tool, clock: Clock) -> None:
    purse = Purse()
    purse.grant(1000 * CREDIT)
    first = ran(purse, 4, 0, 0)
    copied(first, [(4, 0, 0)] * 30)
    clock.advance(days=20)
    last = ran(purse, 8, 0, 0)
    copied(last, [(8, 0, 0)] * 18)
    now = ledger_clock.now()
    assert usual.drifts(now)[burner.slug].percent is None
    copied(last, [(8, 0, 0)])
    drift = usual.drifts(now)[burner.slug]
    assert (drift.recent, drift.earlier) == (6 * CREDIT, 4 * CREDIT)
    assert drift.percent == 50


def test_a_draft_price_is_tried_on_the_last_month(burner: Tool, clock: Clock) -> None:
    purse = Purse()
    purse.grant(1000 * CREDIT)
    ran(purse, 20, 0, 0)
    clock.advance(days=25)
    ran(purse, 4, 0, 0)
    ran(purse, 1, 0, 0)
    now = ledger_clock.now()
    draft = RATES | {"per_cpu_second": "1", "minimum": "2.5"}
    found = rehearse_price.of_last_month(burner.slug, "measured", draft, now)
    # 12 + 4 + 3 before; 22 + 6 + 3 under the draft
    assert (found.charges, found.before, found.after) == (3, 19 * CREDIT, 31 * CREDIT)
    assert (found.dearer, found.cheaper, found.rise_max) == (2, 0, 10 * CREDIT)
    later = rehearse_price.of_last_month(burner.slug, "measured", draft, now + timedelta(days=20))
    assert (later.charges, later.before, later.after) == (2, 7 * CREDIT, 9 * CREDIT)
    other = rehearse_price.of_last_month(burner.slug, "per_second", {}, now)
    assert (other.charges, other.unpriceable) == (3, 3)


def test_each_tool_is_told_by_its_last_thirty_days(burner: Tool, clock: Clock) -> None:
    purse = Purse()
    purse.grant(1000 * CREDIT)
    ran(purse, 4, 2, 0)
    of = runs.quote(burner, {})
    made = runs.start(purse.id, of, actor="user:2", owner="user:2").run
    runs.give_back(made.id, stopped_by=ToolRun.Stop.CPU)
    made = runs.start(purse.id, of, actor="user:2", owner="user:2").run
    runs.give_back(made.id, wrong={"a": ["b"]})
    of_tool = figures.by_tool(ledger_clock.now())[burner.slug]
    assert (of_tool.runs, of_tool.people, of_tool.charged) == (3, 2, 4 * CREDIT)
    assert (of_tool.succeeded, of_tool.refused, of_tool.stopped, of_tool.failed_percent) == (1, 1, 1, 50)
    assert of_tool.median_seconds == 2


def test_charges_by_an_earlier_price_say_nothing_of_todays(burner: Tool, clock: Clock) -> None:
    purse = Purse()
    purse.grant(1000 * CREDIT)
    copied(ran(purse, 4, 5, 200_000_000), [(4, 5, 200_000_000)] * 30)
    usual.learn()
    assert runs.quote(burner, {}).usual is not None
    clock.advance(minutes=1)
    dear = RATES | {"base": "20", "minimum": "20"}
    ToolCost.objects.create(tool=BURNER.slug, valid_from=ledger_clock.now(), model="measured", rates=dear)
    assert runs.quote(burner, {}).usual is None, "until it is counted again"
    clock.advance(minutes=1)
    usual.learn()
    assert runs.quote(burner, {}).usual is None, "nobody has paid it yet"
    for _ in range(runs.USUAL_RUNS_MIN):
        ran(purse, 4, 5, 200_000_000)
    usual.learn()
    of = runs.quote(burner, {})
    assert of.usual is not None
    assert (of.usual.runs, of.estimate.min <= of.usual.p10) == (runs.USUAL_RUNS_MIN, True)
    # The same price again, for another reason, forgets nothing.
    clock.advance(minutes=1)
    ToolCost.objects.create(
        tool=BURNER.slug, valid_from=ledger_clock.now(), model="measured", rates=dear, takes_free_credits=True
    )
    usual.learn()
    again = runs.quote(burner, {}).usual
    assert again is not None
    assert again.runs == runs.USUAL_RUNS_MIN
