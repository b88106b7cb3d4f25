"""What staff do: the same verbs as everybody's, with amount and reason, once for each form, and in the trail."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from billing import clock as ledger_clock
from billing import credits, ledger, steps, tokens
from billing.admin.acts import STAFF_ACTS, StaffAct
from billing.alerts import open_alert
from billing.models import Account, Alert, Audit, Entry, EntryText, Hold, Lot, SpendLimit, Token
from tests.billing.purse import Purse
from tests.conftest import Clock

from .colleague import Colleague, a_form, messages_of, said

MICRO = credits.MICRO
GRANT = {"amount": "12.5", "source": "goodwill", "kind": "promotional"}


def test_a_grant_is_a_lot_a_line_with_its_reason_and_a_deed(staff: Colleague, filled: Purse) -> None:
    answer = staff.does(filled, "grant", **GRANT, reason="The film was late.")
    assert answer.status_code == 302
    assert answer["Location"] == f"/admin/billing/account/{filled.id}/change/"
    assert messages_of(answer) == ["The credits are granted."]
    line = filled.lines[-1]
    assert (line.kind, line.amount, line.actor) == ("grant", 12_500_000, staff.actor)
    assert EntryText.objects.get(entry=line).reason == "The film was late."
    lot = Lot.objects.get(id=line.lots[0])
    assert (lot.source, lot.is_promotional, lot.expires_at) == ("goodwill", True, None)
    deed = Audit.objects.get(actor=staff.actor)
    assert (deed.act, deed.amount, deed.is_refusal, deed.subject) == ("grant", 12_500_000, False, f"entry:{line.id}")
    assert deed.facts["reason"] == "The film was late."


def test_a_grant_can_expire_but_not_in_the_past(staff: Colleague, purse: Purse) -> None:
    now = ledger_clock.now()
    past, future = now - timedelta(hours=1), now + timedelta(days=30)
    answer = staff.does(purse, "grant", **GRANT, expires_at=past.strftime("%Y-%m-%dT%H:%M"))
    assert answer.status_code == 200
    assert "Choose a time that is still to come." in said(answer)
    assert purse.lines == []
    staff.does(purse, "grant", **GRANT, expires_at=future.strftime("%Y-%m-%dT%H:%M"))
    expires_at = Lot.objects.get(account=purse.id).expires_at
    assert expires_at == future.replace(second=0, microsecond=0)


@pytest.mark.parametrize(
    ("act", "fields", "kinds"),
    [
        ("grant", GRANT, ["grant"]),
        ("adjust", {"amount": "3", "direction": "add"}, ["adjust"]),
        ("adjust", {"amount": "3", "direction": "take"}, ["adjust"]),
    ],
)
def test_the_same_form_sent_twice_is_one_act(
    staff: Colleague, filled: Purse, act: str, fields: dict[str, Any], kinds: list[str]
) -> None:
    once = a_form()
    before = filled.kinds
    first, again = (staff.does(filled, act, **fields, once=once) for _ in range(2))
    assert (first.status_code, again.status_code) == (302, 302)
    assert messages_of(again)[-1] == "This was done before; nothing was done twice."
    assert filled.kinds == [*before, *kinds]
    assert staff.deeds == [(act, False, "")]


def test_the_same_form_with_another_amount_is_refused(staff: Colleague, filled: Purse) -> None:
    once = a_form()
    staff.does(filled, "grant", **GRANT, once=once)
    answer = staff.does(filled, "grant", **GRANT | {"amount": "99"}, once=once)
    assert answer.status_code == 409
    assert filled.available == 112_500_000


@pytest.mark.parametrize("amount", ["", "0", "-1", "1e3", "NaN", "٧", "1_000", "0.0000001", "1000000001", " ", "abc"])
@pytest.mark.parametrize("act", ["grant", "adjust", "forgive"])
def test_an_amount_that_is_none_is_named_and_nothing_is_done(
    staff: Colleague, filled: Purse, act: str, amount: str
) -> None:
    before = filled.everything()
    answer = staff.does(filled, act, **GRANT | {"amount": amount, "direction": "add"})
    assert answer.status_code == 200
    assert answer.context["form"].errors["amount"]
    assert filled.everything() == before
    assert staff.deeds == []


@pytest.mark.parametrize("reason", ["", "   ", "nul\x00", "x" * 1001])
def test_a_reason_is_written_or_nothing_is_done(staff: Colleague, filled: Purse, reason: str) -> None:
    before = filled.everything()
    answer = staff.does(filled, "grant", **GRANT, reason=reason)
    assert answer.status_code == 200
    assert answer.context["form"].errors["reason"]
    assert filled.everything() == before


def test_the_page_shows_before_and_after_first(staff: Colleague, filled: Purse) -> None:
    answer = staff.checks(filled, "grant", **GRANT)
    assert "Available 100.00 112.50" in said(answer)
    assert "A second person" not in said(answer)
    assert filled.available == 100 * MICRO


def test_what_is_owed_is_repaid_from_a_grant(staff: Colleague, debtor: Purse) -> None:
    assert "Owed 40.00 0.00" in said(staff.checks(debtor, "grant", **GRANT | {"amount": "50"}))
    staff.does(debtor, "grant", **GRANT | {"amount": "50"})
    assert (debtor.available, debtor.account.debt) == (10 * MICRO, 0)


def test_a_correction_takes_only_what_is_available(staff: Colleague, filled: Purse) -> None:
    filled.place(90 * MICRO)
    answer = staff.does(filled, "adjust", amount="10.5", direction="take")
    assert answer.status_code == 409
    assert "That is more than the account has available." in said(answer)
    assert "available: 10" in said(answer)
    assert staff.deeds == [("adjust", True, "adjustment_exceeds_available")]
    staff.does(filled, "adjust", amount="10", direction="take")
    assert filled.available == 0


def test_debt_is_forgiven_up_to_what_is_owed(staff: Colleague, debtor: Purse) -> None:
    assert staff.does(debtor, "forgive", amount="41").status_code == 409
    assert staff.does(debtor, "forgive", amount="15").status_code == 302
    assert debtor.account.debt == 25 * MICRO
    assert debtor.kinds[-1] == "forgive"


def test_an_account_is_frozen_with_its_reason_and_opened_again(staff: Colleague, filled: Purse) -> None:
    once = a_form()
    for _ in range(2):
        assert staff.does(filled, "freeze", reason="Stolen card.", once=once).status_code == 302
    assert (filled.account.is_frozen, filled.account.frozen_reason) == (True, "Stolen card.")
    assert "Stolen card." in said(staff.get(f"/admin/billing/account/{filled.id}/change/"))
    assert staff.does(filled, "freeze").status_code == 409
    staff.does(filled, "lift_freeze")
    assert filled.account.is_frozen is False
    assert staff.deeds == [("freeze", False, ""), ("freeze", True, "nothing_to_change"), ("lift_freeze", False, "")]


def test_staff_limits_are_set_replaced_and_removed(staff: Colleague, filled: Purse) -> None:
    staff.does(filled, "limit", mode="set", per_run="5", per_day="20")
    limit = SpendLimit.objects.get(account=filled.id, source="staff")
    assert (limit.per_run, limit.per_day, limit.per_month) == (5 * MICRO, 20 * MICRO, None)
    staff.does(filled, "limit", mode="set", per_run="5", open_holds_max="9", jobs_at_once_max="3")
    limit.refresh_from_db()
    assert (limit.open_holds_max, limit.jobs_at_once_max) == (9, 3)
    assert limit.lifts_ceiling is False
    staff.does(filled, "limit", mode="set", per_run="0", lifts_ceiling="on")
    limit.refresh_from_db()
    assert limit.lifts_ceiling is True
    staff.does(filled, "limit", mode="set", per_run="0")
    limit.refresh_from_db()
    assert limit.lifts_ceiling is False
    assert (limit.open_holds_max, limit.jobs_at_once_max) == (None, None)
    assert (limit.per_run, limit.per_day) == (0, None)
    staff.does(filled, "limit", mode="remove")
    assert not SpendLimit.objects.filter(account=filled.id).exists()
    assert [deed[0] for deed in staff.deeds] == ["limit"] * 5


# A line


def test_a_refund_gives_back_part_then_the_rest_and_no_more(staff: Colleague, filled: Purse, spent: Entry) -> None:
    assert "Left to refund 8.00 5.50" in said(staff.checks(spent, "refund", amount="2.5"))
    assert staff.does(spent, "refund", amount="2.5").status_code == 302
    assert staff.does(spent, "refund", amount="5.500001").status_code == 409
    assert staff.does(spent, "refund", amount="5.5").status_code == 302
    assert staff.does(spent, "refund", amount="0.1").status_code == 409
    assert filled.available == 100 * MICRO
    assert filled.kinds == ["grant", "charge", "refund", "refund"]
    assert all(line.refunds_id == spent.id for line in filled.lines[2:])


def test_a_refund_sent_twice_gives_back_once(staff: Colleague, filled: Purse, spent: Entry) -> None:
    once = a_form()
    for _ in range(3):
        staff.does(spent, "refund", amount="2", once=once)
    assert filled.available == 94 * MICRO


def test_a_line_that_spent_nothing_is_not_refunded(staff: Colleague, filled: Purse) -> None:
    grant = filled.lines[0]
    assert staff.does(grant, "refund", amount="1").status_code == 409
    assert filled.kinds == ["grant"]


# A hold of the API


def api_hold(purse: Purse, **terms: Any) -> Hold:
    return purse.hold(purse.place(10 * MICRO, owner="service:renders", reference="job-1", **terms))


def test_a_hold_of_the_api_is_released(staff: Colleague, filled: Purse) -> None:
    hold, once = api_hold(filled), a_form()
    assert "Held 10.00 0.00" in said(staff.checks(hold, "release"))
    for _ in range(2):
        assert staff.does(hold, "release", once=once).status_code == 302
    hold.refresh_from_db()
    assert hold.state == "released"
    assert filled.kinds == ["grant", "hold", "release"]
    assert filled.lines[-1].actor == staff.actor


def test_a_hold_of_the_api_expires_only_when_it_is_due(staff: Colleague, filled: Purse, clock: Clock) -> None:
    hold = api_hold(filled, expires_in_seconds=600)
    answer = staff.does(hold, "expire")
    assert answer.status_code == 409
    assert "has not reached its end" in said(answer)
    clock.advance(minutes=11)
    assert staff.does(hold, "expire").status_code == 302
    hold.refresh_from_db()
    assert hold.state == "expired"


@pytest.mark.parametrize("act", ["release", "expire"])
def test_a_job_s_hold_is_not_moved_here(staff: Colleague, filled: Purse, clock: Clock, act: str) -> None:
    hold = filled.hold(filled.place(10 * MICRO, owner="job"))
    clock.advance(hours=2)
    answer = staff.does(hold, act)
    assert answer.status_code == 409
    assert "Open the job and settle or release it there." in said(answer)
    hold.refresh_from_db()
    assert hold.state == "open"


# Tokens, alerts


def test_a_token_is_revoked_and_its_hash_is_nowhere(staff: Colleague, filled: Purse) -> None:
    owner = Colleague("olga", is_staff=False)
    token, text = tokens.make(owner.user, Account(id=filled.id), name="script", scope="spend")
    page = staff.get(f"/admin/billing/token/{token.id}/change/").content.decode()
    assert token.hint in page
    assert text not in page
    assert bytes(Token.objects.get(id=token.id).hash).hex() not in page
    once = a_form()
    for _ in range(2):
        assert staff.does(token, "revoke", once=once).status_code == 302
    token.refresh_from_db()
    assert token.revoked_at is not None
    assert staff.deeds == [("revoke", False, "")]


def test_an_alert_is_cleared_once_and_may_open_again(staff: Colleague) -> None:
    open_alert("group_quarantined", key="a", sentence="A group was set aside.")
    alert = Alert.objects.get()
    for _ in range(2):
        assert staff.does(alert, "clear").status_code == 302
    open_alert("group_quarantined", key="a", sentence="A group was set aside.")
    assert Alert.objects.filter(cleared_at=None).count() == 1
    assert staff.deeds == [("clear", False, "")]


def test_the_books_are_those_of_the_verbs(staff: Colleague, filled: Purse) -> None:
    """What staff did and what the ledger did by itself stand in one chain, which reconciles (the fixture does)."""
    staff.does(filled, "grant", **GRANT)
    ledger.post_one(filled.id, steps.Charge(amount=MICRO))
    staff.does(filled.lines[-1], "refund", amount="0.5")
    staff.does(filled, "adjust", amount="1", direction="take")
    assert filled.kinds == ["grant", "grant", "charge", "refund", "adjust"]


def test_every_act_that_one_person_may_do_says_whose_account_it_is_done_to() -> None:
    """Else what it gives would count toward nobody's sum; an act that carries itself out gives nothing."""
    silent = [
        name
        for name, act in STAFF_ACTS.items()
        if not (act.is_for_everyone or act.is_at_large)
        and type(act).carry_out is StaffAct.carry_out
        and type(act).account is StaffAct.account
    ]
    assert STAFF_ACTS
    assert silent == []
