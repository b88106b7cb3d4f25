"""The studio as staff see it: how each tool does, who may run it, its runs, and what a draft price would have cost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing import clock as ledger_clock
from billing import plans
from billing.models import Audit
from tests.billing.admin.colleague import Colleague, a_form, messages_of, said
from tests.billing.purse import Purse
from tests.tools_registry.test_usual import BURNER, RATES, ran
from tools_registry import coverage, registry, runs, usual
from tools_registry.models import ToolCost, ToolRun, ToolSwitch

CREDIT = 1_000_000
TOOLS = "/admin/tools_registry/toolswitch/"
RUNS = "/admin/tools_registry/toolrun/"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def switch(catalogue: None, monkeypatch: pytest.MonkeyPatch) -> ToolSwitch:
    """A tool with a price and a switch."""
    monkeypatch.setitem(registry.TOOLS, BURNER.slug, BURNER)
    ToolCost.objects.create(tool=BURNER.slug, valid_from=ledger_clock.now(), model="measured", rates=RATES)
    return ToolSwitch.objects.create(tool=BURNER.slug, changed_at=ledger_clock.now())


def act(row: ToolSwitch, name: str) -> str:
    return f"{TOOLS}{row.pk.replace('/', '_2F')}/{name}/"


def test_the_page_lists_every_tool_with_how_it_fared_and_the_coverage(staff: Colleague, switch: ToolSwitch) -> None:
    purse = Purse()
    purse.grant(1000 * CREDIT)
    ran(purse, 20, 0, 0)
    of = runs.quote(BURNER, {})
    runs.give_back(runs.start(purse.id, of, actor="a", owner="b").run.id, stopped_by=ToolRun.Stop.CPU)
    words = said(staff.get(TOOLS))
    for tool in registry.TOOLS.values():
        assert tool.title in words
    assert "Burner On the server at most 100 credits everybody 2 12.00 50.0 %" in words
    assert "Runs without their charge 0" in words
    assert "Prices without a tool 0" in words


def test_the_page_begins_with_what_could_not_be_loaded(
    staff: Colleague, catalogue: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "could not be loaded" not in said(staff.get(TOOLS))
    monkeypatch.setitem(registry.BROKEN, "tools_registry.studios.dev.security", "ImportError: no bandit")
    words = said(staff.get(TOOLS))
    assert "Tools that could not be loaded" in words
    assert "tools_registry.studios.dev.security ImportError: no bandit" in words


def test_its_page_costs_as_many_queries_with_many_runs_as_with_few(staff: Colleague, switch: ToolSwitch) -> None:
    purse = Purse()
    purse.grant(1000 * CREDIT)
    counts = []
    for more in (1, 6):
        for _ in range(more):
            ran(purse, 4, 0, 0)
        with CaptureQueriesContext(connection) as seen:
            assert staff.get(TOOLS).status_code == 200
        counts.append(len(seen))
    assert counts[0] == counts[1]


def test_what_cannot_be_counted_in_time_is_said_and_the_rest_is_there(
    staff: Colleague, switch: ToolSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coverage, "_RUNS", "SELECT pg_sleep(20)")
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '1s'")
        try:
            words = said(staff.get(TOOLS))
        finally:
            cursor.execute("RESET statement_timeout")
    assert "too many runs to count" in words
    assert "Runs in 30 days" in words
    assert "Runs without their charge" not in words


@pytest.mark.parametrize(
    ("name", "fields", "before", "after"),
    [
        ("switch_off", {}, {}, {"is_enabled": False}),
        ("switch_on", {}, {"is_enabled": False}, {"is_enabled": True}),
        ("begin_beta", {}, {}, {"is_beta": True}),
        ("end_beta", {}, {"is_beta": True}, {"is_beta": False}),
        ("choose_plan", {"plan": "pro"}, {}, {"plan_least": "pro"}),
        ("choose_plan", {"plan": ""}, {"plan_least": "pro"}, {"plan_least": ""}),
    ],
)
def test_a_switch_is_turned_once_and_the_trail_says_who_and_why(
    staff: Colleague,
    switch: ToolSwitch,
    name: str,
    fields: dict[str, str],
    before: dict[str, Any],
    after: dict[str, Any],
) -> None:
    plans.install()
    ToolSwitch.objects.filter(pk=switch.pk).update(**before)
    foreseen = staff.client.post(act(switch, name), {"reason": "r", "once": str(a_form()), "step": "check"} | fields)
    assert "Who may run it" in said(foreseen)
    for answered in (302, 409):
        done = staff.does_at(act(switch, name), **fields)
        assert done.status_code == answered, said(done)
    switch.refresh_from_db()
    assert {one: getattr(switch, one) for one in after} == after
    assert switch.changed_by == staff.user
    trail = Audit.objects.get(act=name, is_refusal=False)
    assert trail.subject == f"tool:{BURNER.slug}"
    assert trail.facts["reason"] == "Because the customer asked."


def test_a_plan_that_is_not_there_is_not_chosen(staff: Colleague, switch: ToolSwitch) -> None:
    plans.install()
    refused = staff.does_at(act(switch, "choose_plan"), plan="platinum")
    assert "platinum is not one of the available choices" in said(refused)
    switch.refresh_from_db()
    assert switch.plan_least == ""


def test_who_may_not_turns_nothing(switch: ToolSwitch) -> None:
    looker = Colleague("looker", "view_toolswitch")
    assert looker.get(TOOLS).status_code == 200
    assert "Switch off" not in said(looker.get(f"{TOOLS}{switch.pk.replace('/', '_2F')}/change/"))
    assert looker.does_at(act(switch, "switch_off")).status_code == 403
    assert Colleague("stranger").get(TOOLS).status_code == 403
    switch.refresh_from_db()
    assert switch.is_enabled


def test_a_tool_that_is_switched_off_is_refused_at_once_and_comes_back(staff: Colleague, switch: ToolSwitch) -> None:
    user = User.objects.create_user("somebody")
    assert messages_of(staff.does_at(act(switch, "switch_off"))) == ["It is switched off."]
    with pytest.raises(runs.ToolDisabled):
        runs.allow(BURNER, Purse().id, user)
    staff.does_at(act(switch, "switch_on"))
    runs.allow(BURNER, Purse().id, user)


def test_the_tools_own_page_tells_what_was_learned_and_its_runs(staff: Colleague, switch: ToolSwitch) -> None:
    purse = Purse()
    purse.grant(1000 * CREDIT)
    ran(purse, 20, 0, 0)
    usual.learn()
    words = said(staff.get(f"{TOOLS}{switch.pk.replace('/', '_2F')}/change/"))
    assert "What it usually costs, by the size of its inputs" in words
    assert "12.00 12.00 12.00" in words
    assert "30 s of processor time, 60 s in all" in words


def test_a_run_is_shown_without_what_it_made_and_is_never_edited(staff: Colleague, switch: ToolSwitch) -> None:
    purse = Purse()
    purse.grant(1000 * CREDIT)
    made = ran(purse, 4, 2, 300_000_000)
    ToolRun.objects.filter(id=made.id).update(result={"secret": "their own"}, inputs={"text": "their own"})
    listed = said(staff.get(RUNS, tool=BURNER.slug))
    assert "succeeded" in listed
    page = said(staff.get(f"{RUNS}{made.id}/change/"))
    assert "4.00 s CPU, 300 MB, 2.00 s in all" in page
    assert "their own" not in page
    assert staff.client.post(f"{RUNS}{made.id}/change/", {"state": "running"}).status_code == 403


def test_a_draft_price_says_what_the_last_month_would_have_cost(staff: Colleague, switch: ToolSwitch) -> None:
    purse = Purse()
    purse.grant(1000 * CREDIT)
    for cpu in (20, 4, 1):
        ran(purse, cpu, 0, 0)
    draft = RATES | {"per_cpu_second": "1", "minimum": "2.5"}
    fields = {"tool": BURNER.slug, "model": "measured", "rates": json.dumps(draft)}
    filled = {"reason": "Dearer.", "once": str(a_form()), "step": "check"} | fields
    words = said(staff.client.post("/admin/tools_registry/toolcost/act/price/", filled))
    assert "The last 30 days under this price" in words
    assert "They came to 19.00" in words
    assert "Under this price 31.00 2 dearer, 0 cheaper" in words
    assert "+12.00 the largest rise is 10.00" in words
