"""The statement: balance now and then, lines with their story, lots, a table that no spreadsheet runs."""

import csv
import io
from datetime import timedelta
from typing import Any

import pytest

from billing import alerts, ledger, statement
from billing.clock import now
from billing.models import Entry, SpendLimit
from tests.conftest import Clock
from tests.people import Person


def test_the_balance_adds_up(owner: Person) -> None:
    caller = owner.calls()
    caller.post("/api/holds", {"amount": "12.5"})
    SpendLimit.objects.create(account_id=owner.account, source="staff", per_day=30_000_000)
    alerts.notify(owner.account, "k", "News", level="warning")
    owner.grant("5", expires_at=now() + timedelta(days=3))
    answer = caller.get("/api/credits/balance")
    assert answer.status == 200
    shown = {name: answer[name] for name in ("available", "balance", "held", "frozen", "debt", "credits_balance")}
    assert shown == {
        "available": "92.5",
        "balance": "105",
        "held": "12.5",
        "frozen": "0",
        "debt": "0",
        "credits_balance": "92.5",
    }
    day = answer["usage"]["day"]
    assert (day["used"], day["limit"], day["source"]) == ("12.5", "30", "staff")
    assert day["resets_at"].endswith("T00:00:00Z")
    assert answer["usage"]["month"]["limit"] is None
    assert [alert["title"] for alert in answer["alerts"]] == ["News"]
    assert answer["next_expiry"]["amount"] == "5"
    assert (answer["plan"], answer["tier_credits"]) == ({"tier": None, "monthly_credits": "0"}, "0")


def test_the_balance_never_counts_what_has_expired(owner: Person, clock: Clock) -> None:
    owner.grant("5", expires_at=now() + timedelta(hours=1))
    clock.advance(hours=2)
    assert owner.calls("read").get("/api/credits/balance")["available"] == "100"


def test_the_balance_of_any_moment_is_that_of_the_last_line_by_then(owner: Person, clock: Clock) -> None:
    caller = owner.calls()
    moments = []
    for at in range(1, 12):
        clock.advance(minutes=1)
        owner.grant(str(at))
        moments.append((Entry.objects.filter(account=owner.account).latest("sequence").created_at, 100))
    lines = list(Entry.objects.filter(account=owner.account).order_by("sequence"))
    for before, line in zip([None, *lines], lines, strict=False):
        for moment, of in ((line.created_at, line), (line.created_at - timedelta(microseconds=1), before)):
            answer = caller.get(f"/api/credits/balance?at={moment.isoformat().replace('+00:00', 'Z')}")
            assert answer["balance"] == (statement.credits.format(of.balance_after) if of else "0")
            assert answer["usage"] is None


def test_the_statement_is_newest_first_in_pages_without_a_gap(owner: Person) -> None:
    for _ in range(4):
        owner.grant("1")
    caller = owner.calls("read")
    path, seen = "/api/credits/entries?limit=2", []
    while path:
        page = caller.get(path)
        seen += [line["sequence"] for line in page["results"]]
        path = (page["next"] or "").removeprefix("http://testserver")
    assert seen == [5, 4, 3, 2, 1]


@pytest.mark.parametrize("path", ["/api/credits/entries", "/api/credits/lots", "/api/audit", "/api/tokens"])
def test_every_list_comes_in_pages_without_a_gap(owner: Person, path: str) -> None:
    caller = owner.calls()
    for _ in range(3):
        owner.grant("1")
        caller.post("/api/holds", {"amount": "1"})
        owner.token()
    whole = [row["id"] for row in caller.get(path)["results"]]
    onward, seen = f"{path}?limit=1", []
    while onward:
        page = caller.get(onward)
        seen += [row["id"] for row in page["results"]]
        onward = (page["next"] or "").removeprefix("http://testserver")
    assert seen == whole
    assert len(whole) >= 3
    assert caller.get(f"{path}?cursor=MjAyNg").status == 422 or "entries" in path


def test_a_line_has_the_contracts_fields(owner: Person) -> None:
    caller = owner.calls()
    hold = caller.post("/api/holds", {"amount": "10", "reference": "job-1"})["id"]
    caller.post(f"/api/holds/{hold}/capture", {"amount": "8"})
    captured, held, granted = caller.get("/api/credits/entries")["results"]
    assert [line["kind"] for line in (captured, held, granted)] == ["capture", "hold", "grant"]
    assert {name: captured[name] for name in captured if name.endswith(("_delta", "_after")) or name == "amount"} == {
        "amount": "8",
        "balance_delta": "-8",
        "held_delta": "-10",
        "frozen_delta": "0",
        "debt_delta": "0",
        "balance_after": "92",
        "held_after": "0",
        "frozen_after": "0",
        "debt_after": "0",
    }
    assert (captured["hold"], captured["description"]) == (hold, "Charged for job-1")
    assert [line["kind"] for line in caller.get(f"/api/credits/entries?hold={hold}")["results"]] == ["capture", "hold"]
    assert [line["kind"] for line in caller.get("/api/credits/entries?kind=grant")["results"]] == ["grant"]


def test_a_line_tells_its_story_in_plain_words(owner: Person) -> None:
    caller = owner.calls()
    hold = caller.post("/api/holds", {"amount": "10", "reference": "job-1", "description": "Clip of a lighthouse"})[
        "id"
    ]
    caller.post(f"/api/holds/{hold}/capture", {"amount": "8"})
    line = caller.get("/api/credits/entries?kind=capture")["results"][0]
    answer = caller.get(f"/api/credits/entries/{line['id']}")
    titles = [step["title"] for step in answer["trail"]]
    assert titles == ["Held for Clip of a lighthouse", "Charged for Clip of a lighthouse", "What it changed"]
    details = [step["detail"] for step in answer["trail"]]
    assert details[0].startswith("10.00 credits were set aside.")
    assert "They came from 10.00 bought credits of" in details[0]
    assert "8.00 credits were charged, and the other 2.00 that were held are yours again." in details[1]
    assert details[2] == "Before this line 90.00 credits were available, after it 92.00."
    assert len(answer["digest"]) == 64
    assert [move["remaining_delta"] for move in answer["lots"]] == ["-8"]


def test_an_app_above_adds_its_part_of_the_story(owner: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    from billing import api

    def told(line: Entry) -> list[statement.Step]:
        return [{"at": line.created_at - timedelta(hours=1), "title": "Estimated", "detail": "About 8.00 credits."}]

    monkeypatch.setattr(api, "explainers", statement.explainers)
    statement.explainers.append(told)
    try:
        line = owner.calls("read").get("/api/credits/entries")["results"][0]
        trail = owner.calls("read").get(f"/api/credits/entries/{line['id']}")["trail"]
    finally:
        statement.explainers.remove(told)
    assert trail[0]["title"] == "Estimated"


def test_every_kind_of_line_is_told(owner: Person) -> None:
    kinds = {kind.value for kind in Entry.Kind}
    assert set(statement._SENTENCES) == kinds
    for kind in kinds:
        assert statement.describe(Entry(kind=kind)) not in ("", kind)


def test_the_table_is_complete_and_runs_nowhere(owner: Person) -> None:
    caller = owner.calls()
    caller.post("/api/holds", {"amount": "1", "description": '=HYPERLINK("http://x")'})
    ledger.adjust(owner.account, amount=-1_000_000, reason="@SUM(1)", description="-2+3", actor="user:1")
    response = caller.client.get("/api/credits/entries.csv", headers=caller.headers | {"Accept": "text/csv"})
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert "attachment" in response.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))
    assert [row["sequence"] for row in rows] == ["1", "2", "3"]
    assert rows[1]["description"] == 'Held for =HYPERLINK("http://x")'
    assert (rows[2]["description"], rows[2]["reason"], rows[2]["balance_delta"]) == ("'-2+3", "'@SUM(1)", "-1")


def test_refusals_of_the_table_are_json(nobody: Any) -> None:
    answer = nobody.get("/api/credits/entries.csv", accept="text/csv")
    assert (answer.status, answer.code) == (401, "sign_in_required")
    assert answer.headers["Content-Type"].startswith("application/json")


def test_lots_say_where_credits_are_from_and_how_long_they_last(owner: Person) -> None:
    owner.grant("5", source="promotion", is_promotional=True, expires_at=now() + timedelta(days=1))
    newest, oldest = owner.calls("read").get("/api/credits/lots")["results"]
    assert (newest["source"], newest["is_promotional"], newest["remaining"]) == ("promotion", True, "5")
    assert newest["expires_at"] == newest["spendable_until"] != None  # noqa: E711
    assert (oldest["source"], oldest["expires_at"], oldest["is_frozen"]) == ("pack", None, False)


@pytest.mark.parametrize(
    "path", ["/api/credits/entries", "/api/credits/lots", "/api/audit", "/api/members", "/api/tokens"]
)
def test_nobody_sees_a_strangers_rows(owner: Person, stranger: Person, path: str) -> None:
    owner.calls().post("/api/holds", {"amount": "1"})
    mine = {row["id"] for row in owner.calls("read").get(path)["results"]}
    theirs = {row["id"] for row in stranger.calls("read").get(path)["results"]}
    assert mine
    assert not mine & theirs


def test_a_strangers_line_is_not_there(owner: Person, stranger: Person) -> None:
    line = owner.calls("read").get("/api/credits/entries")["results"][0]["id"]
    assert stranger.calls("read").get(f"/api/credits/entries/{line}").status == 404
    assert owner.calls("read").get(f"/api/credits/entries/{line}").status == 200


def test_members_read_the_same_books(owner: Person, member: Person) -> None:
    assert member.calls("read").get("/api/credits/balance")["available"] == "100"
    people = member.calls("read").get("/api/members")["results"]
    assert {(one["email"], one["role"], one["is_you"]) for one in people} == {
        ("olga@people.test", "owner", False),
        ("milo@people.test", "member", True),
    }
