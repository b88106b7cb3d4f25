"""Every invariant broken behind the ledger's back, one at a time: reconcile names the law, the account and the row.

The triggers and keys are asleep while the row is broken (session_replication_role = replica), as they would be for an
owner with bad intent; CHECK constraints do not sleep, so what they refuse cannot be broken at all.
"""

import json
from collections.abc import Callable
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from billing import reconcile as reconciling
from billing.models import Entry, Hold, Lot
from billing.reconcile import Finding, reconcile

from .purse import Purse

pytestmark = pytest.mark.django_db


def break_it(sql: str, **parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(sql, parameters)
        assert cursor.rowcount == 1, "the row to break was not found"
        cursor.execute("SET LOCAL session_replication_role = origin")


def row(of: type[Any], **which: Any) -> UUID:
    return of.objects.filter(**which).order_by("pk")[0].pk


# law → (what breaks it, the row that is named); `account` is the account's id, entry/lot/hold are found by their marks.
LINE = "(SELECT id FROM billing_entry WHERE account_id = %(account)s AND kind = '{}' ORDER BY sequence LIMIT 1)"
LOT = "(SELECT id FROM billing_lot WHERE account_id = %(account)s AND source = '{}' ORDER BY id LIMIT 1)"
HOLD = "(SELECT id FROM billing_hold WHERE account_id = %(account)s AND state = '{}' ORDER BY id LIMIT 1)"
BREAKS: dict[str, tuple[str, str]] = {
    "entries_add_up_to_the_account": (
        "UPDATE billing_account SET balance = balance + 1 WHERE id = %(account)s",
        "account",
    ),
    "account_stands_at_its_last_line": (
        "UPDATE billing_account SET digest = sha256('') WHERE id = %(account)s",
        "account",
    ),
    "account_stands_at_its_last_line, time": (
        "UPDATE billing_account SET moved_at = moved_at + interval '1 second' WHERE id = %(account)s",
        "account",
    ),
    "entry_sequence_without_gaps": (
        f"DELETE FROM billing_entry WHERE id = {LINE.format('late_capture')}",
        "entry",
    ),
    "entry_continues_the_line_before": (
        f"UPDATE billing_entry SET balance_after = balance_after + 1 WHERE id = {LINE.format('draw')}",
        "entry",
    ),
    "entry_created_in_order": (
        f"UPDATE billing_entry SET created_at = created_at - interval '1 day' WHERE id = {LINE.format('draw')}",
        "entry",
    ),
    "entry_digest_verifies": (
        f"UPDATE billing_entry SET actor = 'somebody else' WHERE id = {LINE.format('charge')}",
        "entry",
    ),
    "entry_digest_verifies, the digest itself": (
        f"UPDATE billing_entry SET digest = sha256('') WHERE id = {LINE.format('charge')}",
        "entry",
    ),
    "entry_text_verifies": (
        f"UPDATE billing_entrytext SET description = 'A gift' WHERE entry_id = {LINE.format('grant')}",
        "entry",
    ),
    "entry_text_verifies, gone": (
        f"DELETE FROM billing_entrytext WHERE entry_id = {LINE.format('grant')}",
        "entry",
    ),
    "lot_moves_add_up_to_the_lot": (
        f"UPDATE billing_lot SET spent = spent - 1, taken = taken + 1 WHERE id = {LOT.format('plan')}",
        "lot",
    ),
    "lot_moves_add_up_to_the_lot, frozen": (
        f"UPDATE billing_lot SET is_frozen = true WHERE id = {LOT.format('pack')}",
        "lot",
    ),
    "lot_moves_add_up_to_the_lot, another lot": (
        f"UPDATE billing_entry SET lots[1] = gen_random_uuid() WHERE id = {LINE.format('charge')}",
        "lot",
    ),
    "lots_add_up_to_the_account": (
        f"UPDATE billing_lot SET remaining = remaining + 1, spent = spent - 1 WHERE id = {LOT.format('plan')}",
        "account",
    ),
    "open_holds_add_up_to_held": (
        f"UPDATE billing_hold SET captured = captured + 1 WHERE id = {HOLD.format('open')}",
        "account",
    ),
    "lot_held_by_open_receipts": (
        f"UPDATE billing_hold SET receipt_lots[1] = {LOT.format('plan')} WHERE id = "
        "(SELECT id FROM billing_hold WHERE account_id = %(account)s AND amount = 40)",
        "lot",
    ),
    "receipt_agrees_with_its_line": (
        f"UPDATE billing_hold SET receipt_lots[1] = {LOT.format('plan')} WHERE id = "
        "(SELECT id FROM billing_hold WHERE account_id = %(account)s AND amount = 40)",
        "hold",
    ),
    "hold_has_the_line_that_placed_it": (
        f"UPDATE billing_entry SET hold_id = gen_random_uuid() WHERE id = {LINE.format('hold')}",
        "hold",
    ),
    "hold_agrees_with_its_lines": (
        f"UPDATE billing_hold SET state = 'released' WHERE id = {HOLD.format('expired')} AND captured_late IS NULL OR"
        f" id = {HOLD.format('captured')}",
        "hold",
    ),
    "hold_agrees_with_its_lines, captured late": (
        f"UPDATE billing_hold SET captured_late = NULL WHERE id = {HOLD.format('expired')}",
        "hold",
    ),
    "hold_agrees_with_its_lines, when": (
        f"UPDATE billing_hold SET ended_at = ended_at + interval '1 day' WHERE id = {HOLD.format('released')}",
        "hold",
    ),
    "draws_agree_with_shares": (
        "UPDATE billing_share SET drawn = drawn - 1 WHERE account_id = %(account)s AND state = 'drawn'",
        "hold",
    ),
    "shares_fit_their_hold": (
        "UPDATE billing_share SET amount = 27 WHERE account_id = %(account)s AND state = 'open'",
        "hold",
    ),
    "share_stands_on_an_envelope": (
        f"UPDATE billing_share SET hold_id = {HOLD.format('captured')} WHERE account_id = %(account)s"
        " AND state = 'open'",
        "hold",
    ),
    "refund_names_a_spending_line": (
        f"UPDATE billing_entry SET refunds_id = {LINE.format('adjust')} WHERE id = {LINE.format('refund')}",
        "entry",
    ),
    "refunds_within_what_was_spent": (
        f"UPDATE billing_entry SET refunds_id = {LINE.format('draw')} WHERE id = {LINE.format('refund')}",
        "entry",
    ),
    "spend_day_recomputed": (
        "UPDATE billing_spendday SET spent = spent + 1 WHERE account_id = %(account)s AND user_id IS NULL",
        "spend_day",
    ),
    "spend_day_recomputed, capped": (
        "UPDATE billing_spendday SET spent_capped = spent_capped - 1 WHERE account_id = %(account)s"
        " AND user_id IS NULL",
        "spend_day",
    ),
    "spend_day_recomputed, gone": (
        "DELETE FROM billing_spendday WHERE account_id = %(account)s AND user_id IS NOT NULL",
        "spend_day",
    ),
    "payment_granted_once": (
        "UPDATE billing_payment SET granted = granted + 1 WHERE account_id = %(account)s",
        "payment",
    ),
    "payment_granted_once, a second lot": (
        f"UPDATE billing_lot SET payment_id = (SELECT id FROM billing_payment WHERE account_id = %(account)s)"
        f" WHERE id = {LOT.format('plan')}",
        "payment",
    ),
    "claw_backs_within_their_grant": (
        "UPDATE billing_clawback SET amount = 1001, taken = 1001 WHERE account_id = %(account)s AND amount = 50",
        "payment",
    ),
    "claw_back_agrees_with_its_lines": (
        "UPDATE billing_clawback SET taken = 0, debt = taken WHERE account_id = %(account)s AND amount = 50",
        "claw_back",
    ),
    "claw_back_line_has_its_row": (
        "DELETE FROM billing_clawback WHERE account_id = %(account)s AND amount = 50",
        "entry",
    ),
    "idempotency_key_once": (
        "INSERT INTO billing_idempotencykey (id, account_id, actor, scope, key, fingerprint, status, made, created_at)"
        " VALUES (gen_random_uuid(), %(account)s, 'a', 's', 'k', sha256(''), 500, gen_random_uuid(), now())",
        "idempotency_key",
    ),
    "import_stands_on_its_own_line": (
        "INSERT INTO billing_importedaccount (external_id, account_id, entry_id, fingerprint, created_at)"
        f" VALUES ('old 1', %(account)s, {LINE.format('charge')}, sha256(''), now())",
        "imported_account",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_is_broken_is_named(books: Purse, name: str) -> None:
    law = name.split(",")[0]
    sql, kind = BREAKS[name]
    break_it(sql, account=books.id)
    found = [finding for finding in reconcile([books.id]).findings if finding.law == law]
    assert found
    assert all(finding.account == books.id for finding in found)
    assert any(named.startswith(f"{kind}:") for finding in found for named in finding.rows), found
    assert all(finding.sentence.endswith(".") for finding in found)


def test_an_open_share_on_an_ended_envelope_is_named(books: Purse) -> None:
    envelope = row(Hold, account=books.id, is_envelope=True)
    break_it("UPDATE billing_hold SET state = 'released', ended_at = now() WHERE id = %(id)s", id=envelope)
    laws = {finding.law for finding in reconcile([books.id]).findings}
    assert "share_open_only_while_its_hold_is" in laws


def test_the_very_row_is_named(books: Purse) -> None:
    entry, lot = row(Entry, account=books.id, kind="charge"), row(Lot, account=books.id, source="plan")
    break_it("UPDATE billing_entry SET actor = 'x' WHERE id = %(id)s", id=entry)
    break_it("UPDATE billing_lot SET spent = spent - 1, taken = taken + 1 WHERE id = %(id)s", id=lot)
    findings = {finding.law: finding.rows for finding in reconcile([books.id]).findings}
    assert findings["entry_digest_verifies"] == (f"entry:{entry}",)
    assert findings["lot_moves_add_up_to_the_lot"] == (f"lot:{lot}",)


def test_erased_words_do_not_break_the_chain(books: Purse) -> None:
    break_it(
        "UPDATE billing_entrytext SET description = '', reason = '' WHERE entry_id = %(id)s",
        id=row(Entry, account=books.id, kind="grant"),
    )
    assert reconcile([books.id]).findings == []


def test_a_broken_account_does_not_hide_behind_sound_ones(books: Purse, new_purse: Callable[..., Purse]) -> None:
    for _ in range(3):
        new_purse().grant(10)
    break_it("UPDATE billing_account SET balance = balance + 1 WHERE id = %(id)s", id=books.id)
    assert {finding.account for finding in reconcile().findings} == {books.id}


@pytest.mark.parametrize(("accounts", "entries"), [(1, 1), (2, 100_000), (1000, 3)])
def test_the_accounts_are_read_in_chunks(
    new_purse: Callable[..., Purse], monkeypatch: pytest.MonkeyPatch, accounts: int, entries: int
) -> None:
    monkeypatch.setattr(reconciling, "ACCOUNTS_PER_SNAPSHOT", accounts)
    monkeypatch.setattr(reconciling, "ENTRIES_PER_SNAPSHOT", entries)
    for count in (0, 1, 5, 2):
        purse = new_purse()
        for _ in range(count):
            purse.grant(1)
    report = reconcile()
    assert (report.accounts, report.entries, report.findings) == (4, 8, [])


def test_checks_from_above_are_asked_with_the_accounts_of_each_snapshot(
    books: Purse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(accounts: Any) -> list[Finding]:
        return [Finding("job_has_its_hold", account, ("job:1",), "It has none.") for account in accounts]

    monkeypatch.setattr(reconciling, "checks", [check])
    assert [finding.law for finding in reconcile().findings] == ["job_has_its_hold"]


# The command


def test_the_command_says_clean_with_counts(books: Purse) -> None:
    out = StringIO()
    call_command("reconcile", stdout=out)
    assert out.getvalue() == f"clean: 1 accounts, {books.account.entry_count} entries\n"


def test_the_command_prints_one_object(books: Purse) -> None:
    out = StringIO()
    call_command("reconcile", "--json", stdout=out)
    assert json.loads(out.getvalue()) == {
        "clean": True,
        "accounts": 1,
        "entries": books.account.entry_count,
        "findings": [],
    }


def test_the_command_ends_with_1_and_names_the_rows(books: Purse) -> None:
    break_it("UPDATE billing_account SET balance = balance + 1 WHERE id = %(id)s", id=books.id)
    out = StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("reconcile", stdout=out)
    assert caught.value.returncode == 1
    assert f"entries_add_up_to_the_account: account {books.id}: account:{books.id}: " in out.getvalue()
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("reconcile", "--json", "--account", str(books.id), stdout=out)
    answer = json.loads(out.getvalue())
    assert answer["clean"] is False
    assert answer["findings"][0]["rows"] == [f"account:{books.id}"]


@pytest.mark.django_db(transaction=True)
def test_it_reads_one_snapshot_and_changes_nothing() -> None:
    """Outside any transaction its own is REPEATABLE READ, READ ONLY; what commits meanwhile is not seen."""
    purse = Purse()
    purse.grant(10)
    seen: list[tuple[str, str, int]] = []

    def check(accounts: Any) -> list[Finding]:
        with connection.cursor() as cursor:
            cursor.execute("SHOW transaction_isolation")
            (isolation,) = cursor.fetchone()
            cursor.execute("SHOW transaction_read_only")
            (read_only,) = cursor.fetchone()
        seen.append((isolation, read_only, len(accounts)))
        return []

    reconciling.checks.append(check)
    assert reconcile().findings == []
    assert seen == [("repeatable read", "on", 1)]
