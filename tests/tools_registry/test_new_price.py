"""The page where staff add a price: every way of pricing, what it checks, and what it says the example will cost."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from django.core.management import call_command

from billing import clock as ledger_clock
from billing.models import Approval
from tests.billing.admin.colleague import Colleague, a_form, said
from tools_registry import pricing, registry
from tools_registry.admin import prices as admin
from tools_registry.catalogue import SHIPPED_COSTS
from tools_registry.models import ToolCost

pytestmark = pytest.mark.django_db(transaction=True)
NEW_PRICE = "/admin/tools_registry/toolcost/act/price/"
SHIPPED = {cost["tool"]: cost for cost in SHIPPED_COSTS}


def terms(tool: str, **changes: Any) -> dict[str, Any]:
    shipped = SHIPPED[tool]
    model = changes.pop("model", shipped["model"])
    return {"tool": tool, "model": model, "rates": json.dumps({**shipped["rates"], **changes})}


def checked(staff: Colleague, **fields: Any) -> Any:
    filled = {"reason": "It costs more now.", "once": str(a_form()), "step": "check"}
    return staff.client.post(NEW_PRICE, filled | fields)


@pytest.mark.parametrize(
    ("fields", "lines"),
    [
        # each line: what is asked for, what it costs now, what it will cost
        (
            terms("ai/video", per_second={"draft": "0.25", "standard": "0.75", "high": "1"}),
            ["4 s, standard, 1280x720 2.00 3.00", "4 s, draft, 640x360 0.50 0.50", "4 s, high, 1920x1080 8.00 8.00"],
        ),
        (
            terms("ai/image", per_piece={"draft": "0.5", "standard": "2", "high": "2"}),
            ["draft, 1024x1024 0.50 0.50", "standard, 1024x1024 1.00 2.00", "standard, 1024x1536 1.50 3.00"],
        ),
        (
            terms("ai/script", per_1000_output="1"),
            ["800 tokens, usually 0.2752 0.5152", "800 tokens, at most 0.5056 0.9056"],
        ),
        (
            terms("ai/threads", minimum="2"),
            ["1,000 tokens, usually 0.3354 2.00", "1,000 tokens, at most 0.6061 2.00"],
        ),
    ],
    ids=["seconds", "pieces", "tokens", "a minimum"],
)
def test_the_page_says_what_the_example_costs_before_and_after(
    staff: Colleague, fields: dict[str, Any], lines: list[str]
) -> None:
    words = said(checked(staff, **fields))
    for line in lines:
        assert line in words
    assert not Approval.objects.exists()


def test_every_combination_that_makes_the_price_stands_there_once(staff: Colleague) -> None:
    effects = {slug: admin.NewPrice().effect({**SHIPPED[slug], "valid_from": None})[2:] for slug in registry.OPERATIONS}
    assert {slug: len(rows) for slug, rows in effects.items()} == {
        "ai/video": 15, "ai/image": 9, "ai/script": 2, "ai/threads": 2,
    }  # fmt: skip
    for rows in effects.values():
        assert all(before == after for _, before, after in rows)
        assert len({title for title, _, _ in rows}) == len(rows)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        (terms("ai/image", per_piece={"draft": "0.5"}), "There is no rate per_piece.standard."),
        (terms("ai/image", size_factor={"1024x1024": "1"}), "There is no rate size_factor.1536x1024."),
        (terms("ai/script", minimum=1), "The rate minimum must be a decimal string"),
        (terms("ai/script", per_1000_ouput="1"), "There is no rate called per_1000_ouput"),
        (terms("ai/script", model="per_second"), "needs the input quality"),
        (terms("ai/script", per_1000_output="1000000000"), "One run could cost more than 1,000,000,000 credits."),
    ],
)
def test_what_cannot_price_everything_is_refused_with_the_shipped_rates(
    staff: Colleague, fields: dict[str, Any], named: str
) -> None:
    answer = checked(staff, **fields)
    words = said(answer)
    assert answer.status_code == 200
    assert named in words
    assert "What Holdfast ships for it is" in words
    assert not Approval.objects.exists()


def test_a_price_asked_for_in_another_way_counts_after_a_second_person(staff: Colleague, second: Colleague) -> None:
    assert staff.does_at(NEW_PRICE, **terms("ai/threads", minimum="2")).status_code == 302
    assert second.does(Approval.objects.get(), "approve").status_code == 302
    in_force = ToolCost.objects.in_force("ai/threads", ledger_clock.now())
    assert in_force is not None
    assert (in_force.rates["minimum"], in_force.made_by) == ("2", staff.user)


@pytest.mark.parametrize("tool", sorted(registry.OPERATIONS))
def test_the_form_begins_with_the_rates_of_the_tool_and_says_what_they_mean(staff: Colleague, tool: str) -> None:
    page = staff.get(NEW_PRICE)
    assert f'href="?tool={tool}"' in page.content.decode()
    page = staff.get(NEW_PRICE, tool=tool)
    form = page.context_data["form"]
    assert form["tool"].value() == tool
    assert json.loads(form["rates"].value()) == SHIPPED[tool]["rates"]
    model = pricing.MODELS[form["model"].value()]
    assert re.sub(r"\s+", " ", model.help) in said(page)


def test_a_link_to_a_tool_that_is_not_there_begins_as_if_none_was_given(staff: Colleague) -> None:
    page = staff.get(NEW_PRICE, tool="ai/<script>")
    assert page.status_code == 200
    assert page.context_data["form"]["tool"].value() == "ai/video"


def test_an_installation_that_has_only_prices_for_videos_gets_the_others_once() -> None:
    kept = ToolCost.objects.create(**SHIPPED["ai/video"] | {"note": "Ours"}, valid_from=ledger_clock.now())
    for _ in range(2):
        call_command("install_catalogue", stdout=io.StringIO())
    assert sorted(ToolCost.objects.values_list("tool", flat=True)) == sorted(registry.priced())
    assert ToolCost.objects.get(tool="ai/video") == kept


def test_two_people_let_free_credits_pay_a_price(staff: Colleague, second: Colleague) -> None:
    call_command("install_catalogue", stdout=io.StringIO())
    words = said(checked(staff, **terms("ai/image"), takes_free_credits="on"))
    assert "Free credits pay it before a first payment no yes" in words
    staff.does_at(NEW_PRICE, **terms("ai/image"), takes_free_credits="on", reason="They may try it.")
    assert ToolCost.objects.in_force("ai/image", ledger_clock.now()).takes_free_credits is False  # type: ignore[union-attr]
    second.does(Approval.objects.get(), "approve")
    made = ToolCost.objects.in_force("ai/image", ledger_clock.now())
    assert made is not None
    assert made.takes_free_credits
    assert "Free credits pay it before a first payment yes" in said(
        staff.get(f"/admin/tools_registry/toolcost/{made.id}/change/")
    )
