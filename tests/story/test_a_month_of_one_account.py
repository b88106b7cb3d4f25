"""Ada's month: what she asked for, what became of it, and what every microcredit of her ten credits did."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from billing import credits, ledger, tokens
from billing.models import Account
from billing.reconcile import reconcile
from tests.generations.trip import MICRO, SHORT, Job, Trip
from tests.people import Answer, Caller

pytestmark = pytest.mark.django_db(transaction=True)

VIDEO: dict[str, Any] = {"operation": "ai/video", "provider": "rehearsal", "inputs": SHORT | {"prompt": "A lighthouse"}}


class Ada:
    """Ada, by her program's token."""

    def __init__(self, trip: Trip) -> None:
        self.trip = trip
        _, token = tokens.make(trip.person, Account(id=trip.purse.id), name="her script", scope="spend")
        self.program = Caller(token)

    def generate(self, prompt: str, key: str) -> Answer:
        body = VIDEO | {"inputs": SHORT | {"prompt": prompt}}
        return self.program.post("/api/generate", body, idempotency_key=key)

    def started(self, prompt: str, key: str) -> Job:
        answer = self.generate(prompt, key)
        assert answer.status == 202, answer
        return Job(self.trip, UUID(answer["id"]))

    def sees(self, job: Job) -> tuple[str, str | None]:
        answer = self.program.get(f"/api/status/{job.id}")
        return answer["state"], answer["credits"]["outcome"]

    @property
    def purse(self) -> tuple[str, str, str]:
        """available, held, debt."""
        answer = self.program.get("/api/credits/balance")
        return answer["available"], answer["held"], answer["debt"]

    @property
    def statement(self) -> list[dict[str, Any]]:
        return self.program.get("/api/credits/entries?limit=100")["results"]


def test_a_month_of_one_account(trip: Trip) -> None:
    ada = Ada(trip)
    assert ada.purse == ("10", "0", "0")

    # She asks what it would cost, and starts it. The connection breaks; she sends it again, and it is the same job.
    estimate = ada.program.post("/api/billing/estimate", VIDEO)
    assert (estimate["max"], estimate["affordable"]) == ("0.5", True)
    first = ada.started("A lighthouse", "monday")
    again = ada.generate("A lighthouse", "monday")
    assert (again["id"], again.headers["Idempotent-Replayed"]) == (str(first.id), "true")
    assert ada.generate("Another lighthouse", "monday").code == "idempotency_conflict"
    assert ada.sees(first) == ("queued", None)
    assert ada.purse == ("9.5", "0.5", "0")

    # The provider makes it: she pays for what was delivered, and can read why.
    first.ended()
    assert ada.sees(first) == ("succeeded", "charged")
    paid = first.row.charged_amount
    assert paid
    assert 0 < paid <= MICRO // 2
    left = 10 * MICRO - paid
    assert ada.purse == (credits.format(left), "0", "0")
    line = ada.statement[0]
    assert line["kind"] == "capture"
    explained = ada.program.get(f"/api/credits/entries/{line['id']}")
    assert explained.status == 200
    assert explained["id"] == line["id"]

    # The next one fails at the provider: nothing is charged.
    failing = ada.started("[slow 9h]", "tuesday")
    trip.sweep()
    failing.tell("failed", code="server_error", message="The model fell over.")
    failing.ended()
    assert ada.sees(failing) == ("failed", "refunded")
    assert ada.purse == (credits.format(left), "0", "0")

    # One she takes back before it is submitted.
    regretted = ada.started("Something else", "wednesday")
    assert ada.program.post(f"/api/generations/{regretted.id}/cancel").status in (200, 202)
    assert ada.sees(regretted) == ("cancelled", "refunded")

    # One takes longer than its hold lives: the credits are back, and it is paid when it succeeds after all.
    late = ada.started("[late 70m]", "thursday")
    trip.sweep()
    trip.advance(minutes=61)
    trip.sweep()
    assert ada.sees(late) == ("awaiting_settlement", "expired")
    assert ada.purse == (credits.format(left), "0", "0")
    trip.advance(minutes=10)
    late.ended()
    assert ada.sees(late) == ("succeeded", "charged")
    assert late.row.charged_amount
    left -= late.row.charged_amount
    assert ada.purse == (credits.format(left), "0", "0")

    # The first was not what she had asked for: support gives it back.
    ledger.refund(trip.purse.id, entry=UUID(line["id"]), actor="staff:1", reason="Not a lighthouse")
    left += paid
    assert ada.purse == (credits.format(left), "0", "0")

    # She buys twenty, spends, and her bank takes the payment back: what is left is taken, the rest is owed.
    trip.purse.grant(20 * MICRO, payment="pi_ada", priority=1)
    trip.purse.charge(15 * MICRO)
    ledger.claw_back(trip.purse.id, payment=trip.purse.payment("pi_ada"), id=uuid4(), amount=20 * MICRO)
    owed = 15 * MICRO - left
    assert ada.purse == ("0", "0", credits.format(owed))
    assert ada.generate("A debtor's film", "friday").code == "account_in_debt"

    # She settles it with the next pack, and makes one more.
    trip.purse.grant(owed + MICRO)
    assert ada.purse == ("1", "0", "0")
    last = ada.started("A lighthouse, at last", "saturday")
    last.ended()
    assert ada.sees(last) == ("succeeded", "charged")

    # Her statement adds up, line by line, and so does everything behind it.
    lines = ada.statement[::-1]
    assert [one["kind"] for one in lines] == [
        *("grant", "hold", "capture", "hold", "release", "hold", "release", "hold", "hold_expired", "late_capture"),
        *("refund", "grant", "charge", "claw_back", "repay", "grant", "repay", "hold", "capture"),
    ]
    assert trip.purse.account.balance == sum(line.balance_delta for line in trip.purse.lines)
    assert reconcile().findings == []
