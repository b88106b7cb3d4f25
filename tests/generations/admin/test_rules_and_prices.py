"""A rule or a price in force is never edited: a new version is added, and always by two people."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse

from billing import clock as ledger_clock
from billing.models import Approval, Audit
from generations import lifecycle, settlement
from generations.models import SettlementRule
from tests.billing.admin.colleague import Colleague, a_form, messages_of, said, url_of
from tests.conftest import Clock
from tools_registry.catalogue import SHIPPED_COSTS
from tools_registry.models import ToolCost

pytestmark = pytest.mark.django_db(transaction=True)
NEW_PRICE = "/admin/tools_registry/toolcost/act/price/"
NEW_RULE = "/admin/generations/settlementrule/act/new_rule/"
TERMS = {"outcome": "keep", "provider_bills": "no", "sentence": "We keep asking.", "alerts_staff": "on"}


def rule(**key: str) -> SettlementRule:
    return SettlementRule.objects.get(superseded_at=None, **{"phase": "poll", "code": "any"} | key)


def decided(status: str, code: str | None = None) -> settlement.Decision:
    rules = SettlementRule.objects.filter(superseded_at=None)
    return settlement.decide(rules, phase="poll", provider="local", operation="ai/video", status=status, code=code)


# Rules


def test_a_new_version_waits_for_a_second_person_and_then_supersedes(staff: Colleague, second: Colleague) -> None:
    old = rule(status="failed")
    answer = staff.does(old, "rule", **TERMS)
    assert "a second person must approve" in messages_of(answer)[-1]
    assert decided("failed").rule == old
    approval = Approval.objects.get()
    assert (approval.account, approval.act) == (None, "rule")
    assert staff.does(approval, "approve").status_code == 409
    assert second.does(approval, "approve").status_code == 302
    old.refresh_from_db()
    new = rule(status="failed")
    assert old.superseded_at is not None
    assert (new.version, new.outcome, new.provider_bills, new.sentence, new.alerts_staff, new.made_by) == (
        2, "keep", "no", "We keep asking.", True, staff.user,
    )  # fmt: skip
    assert decided("failed").rule == new
    deed = Audit.objects.get(act="rule", is_refusal=False)
    assert (deed.actor, deed.facts["approved_by"], deed.subject) == (
        staff.actor, second.actor, f"settlementrule:{new.id}",
    )  # fmt: skip


def test_a_version_asked_for_twice_waits_once(staff: Colleague) -> None:
    once = a_form()
    for _ in range(2):
        assert staff.does(rule(status="failed"), "rule", **TERMS, once=once).status_code == 302
    assert Approval.objects.count() == 1


def test_of_two_versions_of_one_rule_the_second_is_refused(staff: Colleague, second: Colleague) -> None:
    old = rule(status="failed")
    for _ in range(2):
        staff.does(old, "rule", **TERMS)
    first, other = Approval.objects.order_by("id")
    second.does(first, "approve")
    answer = second.does(other, "approve")
    assert answer.status_code == 409
    assert "not the version in force" in said(answer)
    assert SettlementRule.objects.filter(phase="poll", status="failed", code="any").count() == 2


@pytest.mark.parametrize("status", ["failed", "queued", "5xx", "cancelled"])
def test_only_the_provider_s_success_can_capture(staff: Colleague, status: str) -> None:
    answer = staff.does(rule(status=status), "rule", **TERMS | {"outcome": "capture"})
    assert answer.status_code == 200
    assert "Only the provider’s own success" in said(answer)
    assert not Approval.objects.exists()


def test_a_rule_for_a_new_answer(staff: Colleague, second: Colleague) -> None:
    assert decided("failed", "out_of_memory").outcome == "release"
    key = {"phase": "poll", "provider": "any", "operation": "any", "status": "failed", "code": "out_of_memory"}
    words = said(staff.client.post(NEW_RULE, {**key, **TERMS, "reason": "Seen.", "once": a_form(), "step": "check"}))
    assert "The rule that speaks for it poll: any · any · failed · any v1 this one" in words
    assert staff.does_at(NEW_RULE, **key, **TERMS).status_code == 302
    second.does(Approval.objects.get(), "approve")
    assert decided("failed", "out_of_memory").outcome == "keep"
    again = staff.does_at(NEW_RULE, **key, **TERMS)
    assert again.status_code == 200
    assert "There is a rule in force for exactly this." in said(again)


@pytest.mark.parametrize("word", ["", "Not a word", "<script>", "ü"])
def test_a_rule_s_words_are_words(staff: Colleague, word: str) -> None:
    key = {"phase": "poll", "provider": "any", "operation": "any", "status": word, "code": "any"}
    assert staff.does_at(NEW_RULE, **key, **TERMS).status_code == 200
    assert not Approval.objects.exists()


def test_a_rule_s_permission_is_its_own(staff: Colleague) -> None:
    nora = Colleague("nora", "view_settlementrule", "add_toolcost", "add_settlementrule", "view_toolcost")
    assert nora.does(rule(status="failed"), "rule", **TERMS).status_code == 403
    theo = Colleague("theo", "view_settlementrule", "change_settlementrule", "view_toolcost")
    assert theo.get(NEW_RULE).status_code == 403
    assert theo.get(NEW_PRICE).status_code == 403
    assert theo.get("/admin/generations/settlementrule/").status_code == 200


def test_the_list_shows_what_is_in_force(staff: Colleague, second: Colleague) -> None:
    staff.does(rule(status="failed"), "rule", **TERMS)
    second.does(Approval.objects.get(), "approve")
    listed = said(staff.get("/admin/generations/settlementrule/"))
    assert "We keep asking." in listed
    assert "The provider could not finish it." not in listed
    assert "The provider could not finish it." in said(staff.get("/admin/generations/settlementrule/", version="all"))


# Prices


def rates(**changes: Any) -> dict[str, Any]:
    shipped = json.loads(json.dumps(SHIPPED_COSTS[0]["rates"]))
    shipped["per_second"] |= changes
    return shipped


def price(**changes: Any) -> dict[str, Any]:
    terms: dict[str, Any] = {"tool": "ai/video", "model": "per_second", "rates": json.dumps(rates(standard="0.75"))}
    return terms | changes


def of_four_seconds() -> int:
    inputs = {"prompt": "A boat", "seconds": 4, "size": "1280x720", "quality": "standard"}
    return lifecycle.quote("ai/video", inputs, "local").estimate.max


def test_a_price_is_asked_for_approved_and_counts_from_then(staff: Colleague, second: Colleague) -> None:
    assert of_four_seconds() == 2_000_000
    words = said(
        staff.client.post(NEW_PRICE, {**price(), "reason": "Power costs more.", "once": a_form(), "step": "check"})
    )
    assert "4 s, standard, 1280x720 2.00 3.00" in words
    assert "it touches every account" in words
    assert staff.does_at(NEW_PRICE, **price(note="Winter")).status_code == 302
    assert of_four_seconds() == 2_000_000
    assert second.does(Approval.objects.get(), "approve").status_code == 302
    assert of_four_seconds() == 3_000_000
    assert ToolCost.objects.filter(tool="ai/video").count() == 2
    new = ToolCost.objects.order_by("-valid_from")[0]
    assert (new.note, new.made_by) == ("Winter", staff.user)


def test_a_price_counts_from_its_date(staff: Colleague, second: Colleague, clock: Clock) -> None:
    valid_from = (ledger_clock.now() + timedelta(days=2)).replace(second=0, microsecond=0)
    staff.does_at(NEW_PRICE, **price(valid_from=valid_from.strftime("%Y-%m-%dT%H:%M")))
    second.does(Approval.objects.get(), "approve")
    assert ToolCost.objects.order_by("-valid_from")[0].valid_from == valid_from
    assert of_four_seconds() == 2_000_000
    assert "to come" in said(staff.get("/admin/tools_registry/toolcost/"))
    clock.advance(days=2, minutes=1)
    assert of_four_seconds() == 3_000_000


def test_a_price_approved_after_its_date_counts_from_the_approval(
    staff: Colleague, second: Colleague, clock: Clock
) -> None:
    valid_from = ledger_clock.now() + timedelta(hours=2)
    staff.does_at(NEW_PRICE, **price(valid_from=valid_from.strftime("%Y-%m-%dT%H:%M")))
    clock.advance(hours=5)
    second.does(Approval.objects.get(), "approve")
    assert ToolCost.objects.order_by("-valid_from")[0].valid_from > valid_from + timedelta(hours=2)


def test_a_price_never_counts_from_the_past(staff: Colleague) -> None:
    past = ledger_clock.now() - timedelta(minutes=5)
    answer = staff.does_at(NEW_PRICE, **price(valid_from=past.strftime("%Y-%m-%dT%H:%M")))
    assert answer.status_code == 200
    assert "cannot count from the past" in said(answer)
    assert not Approval.objects.exists()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"rates": "{}"}, "per_second.draft"),
        ({"rates": "[]"}, "JSON object"),
        ({"rates": "{"}, "not readable as JSON"),
        ({"rates": '{"a": 1, "a": 2}'}, "not readable as JSON"),
        ({"rates": json.dumps(rates(high="-1"))}, "per_second.high"),
        ({"rates": json.dumps(rates(high="NaN"))}, "per_second.high"),
        ({"rates": json.dumps(rates(high=0.5))}, "per_second.high"),
        ({"rates": json.dumps(rates() | {"size_factor": {"1280x720": "1"}})}, "size_factor.720x1280"),
        ({"tool": "ai/unknown"}, ""),
        ({"model": "per_wish"}, ""),
    ],
)
def test_rates_that_leave_something_without_a_price_are_refused(
    staff: Colleague, changes: dict[str, Any], named: str
) -> None:
    answer = staff.does_at(NEW_PRICE, **price(**changes))
    assert answer.status_code == 200
    assert named in said(answer)
    assert not Approval.objects.exists()


def test_used_prices_are_neither_edited_nor_deleted(staff: Colleague) -> None:
    cost = ToolCost.objects.get(tool="ai/video")
    before = list(ToolCost.objects.values())
    for name in ("change", "delete"):
        path = reverse(f"admin:tools_registry_toolcost_{name}", args=[cost.pk])
        assert staff.client.post(path, {"rates": "{}", "post": "yes"}).status_code == 403
    assert list(ToolCost.objects.values()) == before
    assert url_of(cost, "price") in staff.get(f"/admin/tools_registry/toolcost/{cost.pk}/change/").content.decode()
