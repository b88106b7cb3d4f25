"""Gift codes at the staff's desk: shown once, never kept, bounded by what one person may give away, and revoked."""

from __future__ import annotations

import csv
import re
from io import StringIO
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.urls import reverse

from billing import credits, gifts
from billing.models import Approval, Audit, GiftCode
from tests.billing.purse import Purse

from .colleague import Colleague, a_form, messages_of, said

MICRO = credits.MICRO
MAKE = reverse("admin:billing_giftcode_make_gift_codes")
TERMS = {"count": "3", "credits": "20", "uses_max": "2", "keep_months": "6", "expires_at": "", "shown_as": "page"}
CODE = r"(?:[0-9A-Z]{6}-){3}[0-9A-Z]{6}"


def codes_in(answer: Any) -> list[str]:
    return re.findall(CODE, answer.content.decode())


def redeem(purse: Purse, text: str) -> None:
    gifts.redeem(purse.id, text, None, actor="test")


def test_a_batch_is_shown_once_and_works(staff: Colleague, purse: Purse) -> None:
    answer = staff.does_at(MAKE, reason="A conference.", **TERMS)
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    codes = codes_in(answer)
    assert len(set(codes)) == 3
    made = GiftCode.objects.all()
    assert {(one.credits, one.uses_max, one.keep_months, one.note) for one in made} == {
        (20 * MICRO, 2, 6, "A conference.")
    }
    for text in codes:
        redeem(purse, text)
    assert purse.available == 60 * MICRO
    deed = Audit.objects.get(act="make_gift_codes")
    assert (deed.actor, deed.amount, deed.is_refusal) == (staff.actor, 120 * MICRO, False)
    everywhere = str([*Audit.objects.values(), *made.values(), *(one.get_decoded() for one in Session.objects.all())])
    everywhere += staff.get("/admin/billing/giftcode/").content.decode()
    everywhere += staff.get(f"/admin/billing/giftcode/{made[0].id}/change/").content.decode()
    assert not any(text in everywhere or gifts.normal(text) in everywhere for text in codes)
    assert "1 of 2" in everywhere


def test_checking_makes_none(staff: Colleague) -> None:
    page = staff.client.post(MAKE, {"once": str(a_form()), "step": "check", "reason": "x", **TERMS})
    assert "Credits all together, at most" in said(page)
    assert "120.00" in said(page)
    assert codes_in(page) == []
    assert not GiftCode.objects.exists()


def test_the_same_form_twice_makes_them_once(staff: Colleague) -> None:
    once = str(a_form())
    assert staff.does_at(MAKE, once=once, **TERMS).status_code == 200
    again = staff.does_at(MAKE, once=once, **TERMS)
    assert again.status_code == 409
    assert "shown only once" in said(again)
    assert codes_in(again) == []
    assert GiftCode.objects.count() == 3


def test_they_come_as_a_csv_file(staff: Colleague) -> None:
    answer = staff.does_at(MAKE, **TERMS | {"shown_as": "csv", "expires_at": "2099-01-01T00:00"})
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(StringIO(answer.content.decode())))
    assert [(row["credits"], row["uses"], row["until"][:10]) for row in rows] == [("20", "2", "2099-01-01")] * 3
    assert {gifts.hash_of(row["code"]) for row in rows} == {bytes(one.hash) for one in GiftCode.objects.all()}


def test_above_the_sum_they_work_once_a_second_person_has_approved(
    staff: Colleague, second: Colleague, purse: Purse
) -> None:
    """What the codes could give counts together, over the day, whatever the accounts that will use them."""
    assert codes_in(staff.does_at(MAKE, **TERMS | {"count": "1", "credits": "900", "uses_max": "1"}))
    once = str(a_form())
    answer = staff.does_at(MAKE, once=once, **TERMS)
    [text, *_] = codes_in(answer)
    assert "once a second person has approved" in said(answer)
    assert GiftCode.objects.count() == 1
    with pytest.raises(gifts.GiftCodeInvalid):
        redeem(purse, text)
    waiting = Approval.objects.get()
    assert (waiting.account, waiting.amount) == (None, 120 * MICRO)
    assert text not in str(waiting.instruction)
    assert staff.does_at(MAKE, once=once, **TERMS).status_code == 409
    assert staff.does(waiting, "approve").status_code == 409
    assert second.does(waiting, "approve").status_code == 302
    redeem(purse, text)
    made = GiftCode.objects.get(hash=gifts.hash_of(text))
    assert (made.made_by, made.approved_by) == (staff.user, second.user)
    assert Approval.objects.count() == 1


def test_what_could_never_be_counted_is_refused(staff: Colleague) -> None:
    most = {"count": "1000", "credits": "1000000", "uses_max": "100000"}
    assert "All together they could give more than" in said(staff.does_at(MAKE, **TERMS | most))
    past = TERMS | {"expires_at": "2020-01-01T00:00"}
    assert "Write a time to come." in said(staff.does_at(MAKE, **past))
    assert not GiftCode.objects.exists()


def test_a_code_is_revoked(staff: Colleague, purse: Purse) -> None:
    [text] = codes_in(staff.does_at(MAKE, **TERMS | {"count": "1"}))
    row = GiftCode.objects.get()
    assert messages_of(staff.does(row, "revoke_gift_code"))[-1] == "It is revoked."
    with pytest.raises(gifts.GiftCodeInvalid):
        redeem(purse, text)
    assert "revoked" in said(staff.get("/admin/billing/giftcode/"))
    page = staff.get(f"/admin/billing/giftcode/{row.id}/change/").content.decode()
    assert "revoke_gift_code/" not in page
    assert Audit.objects.get(act="revoke_gift_code").subject == f"giftcode:{row.id}"


def test_each_act_has_a_permission_of_its_own(staff: Colleague) -> None:
    staff.does_at(MAKE, **TERMS)
    row = GiftCode.objects.order_by("id")[0]
    nora = Colleague("nora", "view_giftcode", "revoke_gift_code")
    theo = Colleague("theo", "view_giftcode", "make_gift_code")
    assert nora.does_at(MAKE, **TERMS).status_code == 403
    assert theo.does(row, "revoke_gift_code").status_code == 403
    assert MAKE not in nora.get("/admin/billing/giftcode/").content.decode()
    assert codes_in(theo.does_at(MAKE, **TERMS))
    assert nora.does(row, "revoke_gift_code").status_code == 302


def test_who_used_it_is_listed(staff: Colleague, purse: Purse) -> None:
    [text] = codes_in(staff.does_at(MAKE, **TERMS | {"count": "1"}))
    redeem(purse, text)
    row = GiftCode.objects.get()
    page = staff.get(f"/admin/billing/giftcode/{row.id}/change/").content.decode()
    assert f"/admin/billing/account/{purse.id}/change/" in page
    uses = staff.get("/admin/billing/giftuse/", code__id__exact=row.id)
    assert uses.status_code == 200
    assert row.hint in said(uses)
