"""Every law that the database holds, broken by raw SQL, and the name of the constraint that refused it.

The last test lists what the database has, so that a constraint or trigger without its violation here is found.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction

from billing.models import (
    Account,
    Allocation,
    AutoTopUp,
    Customer,
    Dispute,
    Enrollment,
    Entry,
    GiftCode,
    GiftUse,
    Hold,
    InboxEvent,
    Lot,
    Pack,
    Plan,
    PlanChange,
    Purchase,
    Refunding,
    new_id,
)

from .purse import Purse

pytestmark = pytest.mark.django_db


def refused_by(*statements: str, **parameters: Any) -> str:
    """The law that refused one of the statements, or else their commit."""
    with pytest.raises(DatabaseError) as caught:
        run(*statements, **parameters)
    cause = caught.value.__cause__
    assert isinstance(cause, psycopg.Error)
    name = cause.diag.constraint_name
    assert name, cause
    return name


def run(*statements: str, **parameters: Any) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement, parameters or None)
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def literal(value: Any) -> str:
    """`value` as SQL, for statements that are put together here."""
    return "'" + json.dumps(value, default=str).replace("'", "''").replace("%", "%%") + "'"


def copied(table: str, id: Any, **changes: Any) -> str:
    """SQL that writes the row again, as another, with these changes."""
    key = "entry_id" if table == "entrytext" else "id"
    return (
        f"INSERT INTO billing_{table} SELECT (jsonb_populate_record(it, {literal({'id': uuid4()} | changes)})).*"
        f" FROM billing_{table} it WHERE {key} = '{id}'"
    )


def changed(table: str, id: Any, changes: str) -> str:
    return f"UPDATE billing_{table} SET {changes} WHERE {'entry_id' if table == 'entrytext' else 'id'} = '{id}'"


def line(purse: Purse, kind: str) -> Entry:
    return Entry.objects.filter(account=purse.id, kind=kind).order_by("sequence")[0]


def head(purse: Purse) -> Entry:
    return Entry.objects.filter(account=purse.id).latest("sequence")


def lot(purse: Purse, source: str = "plan") -> Lot:
    return Lot.objects.filter(account=purse.id, source=source).order_by("id")[0]


def hold(purse: Purse, state: str = "open", **which: Any) -> Hold:
    return Hold.objects.filter(account=purse.id, state=state, **which).order_by("id")[0]


def one(purse: Purse, table: str) -> UUID:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id FROM billing_{table} WHERE account_id = %s ORDER BY id LIMIT 1", [purse.id])
        return cursor.fetchone()[0]


# The account

ACCOUNT = (
    "INSERT INTO billing_account (id, name, balance, held, frozen, debt, entry_count, digest, is_frozen, frozen_reason,"
    " created_at) VALUES (gen_random_uuid(), '', {balance}, {held}, {frozen}, {debt}, {entry_count}, sha256(''), false,"
    " '', now())"
)


@pytest.mark.parametrize(
    ("law", "values"),
    [
        ("account_balance_not_negative", {"balance": -1}),
        ("account_held_not_negative", {"held": -1}),
        ("account_frozen_not_negative", {"frozen": -1}),
        ("account_debt_not_negative", {"debt": -1}),
        ("account_held_and_frozen_within_balance", {"balance": 5, "held": 3, "frozen": 3}),
        ("account_debt_repaid_by_what_is_free", {"balance": 5, "held": 3, "debt": 1}),
        ("account_balance_within_range", {"balance": 10**17 + 1}),
        ("account_entry_count_not_negative", {"entry_count": -1}),
        ("account_without_lines_is_empty", {"balance": 5, "entry_count": 0}),
        ("account_moved_by_a_line", {"balance": 5}),
    ],
)
def test_an_account_that_no_lines_could_make_is_refused(law: str, values: dict[str, int]) -> None:
    fields = {"balance": 0, "held": 0, "frozen": 0, "debt": 0, "entry_count": 1} | values
    assert refused_by(ACCOUNT.format(**fields)) == law


@pytest.mark.parametrize(
    "changes",
    [
        *("balance = balance + 1", "held = held + 1", "frozen = frozen + 1", "entry_count = entry_count - 1"),
        *("digest = sha256('')", "balance = balance + 1, entry_count = 0"),
    ],
)
def test_an_account_moves_only_with_a_line(books: Purse, changes: str) -> None:
    assert refused_by(changed("account", books.id, changes)) == "account_moves_by_a_line"


def test_an_account_that_moved_has_the_line(books: Purse) -> None:
    sql = changed("account", books.id, "balance = balance + 1, entry_count = entry_count + 1")
    assert refused_by(sql) == "account_moved_by_a_line"


# Lots


@pytest.mark.parametrize(
    ("law", "values"),
    [
        ("lot_amount_positive", {"amount": 0, "remaining": 0, "spent": 0, "held": 0, "expired": 0}),
        ("lot_amount_within_range", {"amount": 10**15 + 1, "remaining": 10**15 + 1, "spent": 0, "held": 0}),
        ("lot_parts_add_up", {"amount": 99, "remaining": 100}),
        ("lot_held_within_remaining", {"amount": 100, "remaining": 10, "spent": 90, "held": 11}),
        ("lot_held_within_remaining", {"amount": 100, "remaining": 10, "spent": 90, "held": -1}),
        ("lot_parts_not_negative", {"amount": 100, "remaining": 101, "spent": -1, "held": 0}),
        ("lot_spendable_at_least_until_expiry", {"expires_at": "2027-01-02", "spendable_until": "2027-01-01"}),
        ("lot_spendable_at_least_until_expiry", {"expires_at": None, "spendable_until": "2027-01-01"}),
        ("lot_spendable_at_least_until_expiry", {"expires_at": "2027-01-02", "spendable_until": None}),
        ("lot_source_named", {"source": ""}),
        ("lot_made_by_a_line", {}),
    ],
)
def test_a_lot_that_no_lines_could_make_is_refused(books: Purse, law: str, values: dict[str, Any]) -> None:
    fields = {"amount": 100, "remaining": 100, "held": 0, "spent": 0, "expired": 0, "taken": 0, "repaid": 0} | values
    name = refused_by(copied("lot", lot(books).id, **fields))
    if law == "lot_made_by_a_line":
        # The trigger of that name speaks for the law that it shares with updates.
        law = "lot_moved_by_a_line"
    assert name == law


@pytest.mark.parametrize(
    "changes",
    [
        *("remaining = remaining - 1, spent = spent + 1", "held = held + 1", "is_frozen = NOT is_frozen"),
        *("spent = spent - 1, taken = taken + 1", "spendable_until = now()", "moved_by = moved_by - 1"),
    ],
)
def test_a_lot_moves_only_with_a_later_line(books: Purse, changes: str) -> None:
    assert refused_by(changed("lot", lot(books).id, changes)) == "lot_moves_by_a_line"


def test_a_lot_moves_only_by_a_line_that_names_it(books: Purse) -> None:
    of = Lot.objects.filter(account=books.id).order_by("moved_by")[0]
    assert of.moved_by < books.account.entry_count
    changes = f"spent = spent - 1, taken = taken + 1, moved_by = {books.account.entry_count}"
    assert refused_by(changed("lot", of.id, changes)) == "lot_moved_by_a_line"
    later = f"moved_by = {books.account.entry_count + 1}"
    assert refused_by(changed("lot", of.id, later)) == "lot_moved_by_a_line"


@pytest.mark.parametrize(
    "changes",
    [
        *("amount = amount + 1, remaining = remaining + 1, moved_by = moved_by + 1", "source = 'gift'", "priority = 1"),
        *("is_promotional = NOT is_promotional", "granted_at = now()", "id = gen_random_uuid()"),
        *("expires_at = now(), spendable_until = now(), moved_by = 1000", "payment_id = gen_random_uuid()"),
    ],
)
def test_a_lot_keeps_its_terms(books: Purse, changes: str) -> None:
    if "priority" in changes:
        changes = "priority = priority + 1"
    assert refused_by(changed("lot", lot(books).id, changes)) == "lot_keeps_its_terms"


# Holds and shares


@pytest.mark.parametrize(
    ("law", "values"),
    [
        ("hold_amount_positive", {"amount": 0, "receipt_lots": [], "receipt_amounts": []}),
        ("hold_amount_within_range", {"amount": 10**15 + 1, "receipt_amounts": [10**15 + 1]}),
        ("hold_captured_within_amount", {"captured": 41}),
        ("hold_captured_within_amount", {"captured": -1}),
        ("hold_state_known", {"state": "lost", "ended_at": "2027-01-01"}),
        ("hold_ended_at_its_end", {"ended_at": "2027-01-01"}),
        ("hold_ended_at_its_end", {"state": "released"}),
        ("hold_captured_late_after_expiry", {"captured_late": 1}),
        ("hold_captured_late_after_expiry", {"captured_late": 41, "state": "expired", "ended_at": "2027-01-01"}),
        ("hold_receipt_adds_up", {"receipt_amounts": [39]}),
        ("hold_receipt_adds_up", {"receipt_amounts": [39, 1]}),
        ("hold_receipt_adds_up", {"receipt_amounts": [None]}),
        ("hold_made_by_a_line", {}),
    ],
)
def test_a_hold_that_no_lines_could_make_is_refused(books: Purse, law: str, values: dict[str, Any]) -> None:
    fields = {"receipt_lots": [uuid4()], "receipt_amounts": [40]} | values
    name = refused_by(copied("hold", hold(books, amount=40).id, **fields))
    if law == "hold_made_by_a_line":
        law = "hold_moved_by_a_line"
    assert name == law


@pytest.mark.parametrize("changes", ["captured = captured + 1", "state = 'released', ended_at = now()"])
def test_a_hold_moves_only_with_a_later_line_that_names_it(books: Purse, changes: str) -> None:
    of = hold(books, amount=40)
    books.charge(1)
    assert refused_by(changed("hold", of.id, changes)) == "hold_moves_by_a_line"
    pointed = f"{changes}, moved_by = {books.account.entry_count}"
    assert refused_by(changed("hold", of.id, pointed)) == "hold_moved_by_a_line"


@pytest.mark.parametrize(
    "changes",
    [
        *(
            "amount = amount + 1",
            "owner = 'me'",
            "reference = 'another'",
            "user_id = 1",
            "is_envelope = NOT is_envelope",
        ),
        *("receipt_amounts[1] = 1", "receipt_lots[1] = gen_random_uuid()", "placed_on = placed_on + 1"),
        *(
            "placed_at = now()",
            "takes_free_credits = NOT takes_free_credits",
            "price_version = gen_random_uuid()",
            "id = gen_random_uuid()",
        ),
    ],
)
def test_a_hold_keeps_its_terms(books: Purse, changes: str) -> None:
    assert refused_by(changed("hold", hold(books, amount=40).id, changes)) == "hold_keeps_its_terms"


@pytest.mark.parametrize(
    ("state", "changes"),
    [
        ("captured", "state = 'open', ended_at = NULL, moved_by = moved_by + 1000"),
        ("released", "state = 'captured', moved_by = moved_by + 1000"),
        ("captured", "captured = captured + 1, moved_by = moved_by + 1000"),
        ("released", "expires_at = expires_at + interval '1 hour'"),
        ("expired", "captured_late = captured_late + 1, moved_by = moved_by + 1000"),
        ("expired", "captured_late = NULL, moved_by = moved_by + 1000"),
    ],
)
def test_a_hold_ends_once(books: Purse, state: str, changes: str) -> None:
    assert refused_by(changed("hold", hold(books, state).id, changes)) == "hold_ends_once"


def test_shares_fit_their_hold_and_end_once(books: Purse) -> None:
    envelope = hold(books, is_envelope=True)
    share = one(books, "share")
    assert refused_by(copied("share", share, reference="z", amount=21, state="open", drawn=None)) == (
        "shares_fit_their_hold"
    )
    assert refused_by(copied("share", share, reference="z", amount=0, state="open", drawn=None)) == (
        "share_amount_positive"
    )
    for state, drawn in (("drawn", None), ("drawn", 99), ("drawn", -1), ("open", 0), ("closed", 1), ("lost", None)):
        values = {"reference": "z", "amount": 1, "state": state, "drawn": drawn}
        assert refused_by(copied("share", share, **values)) == "share_drawn_when_drawn"
    assert refused_by(copied("share", share)) == "share_reference_once"
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, state FROM billing_share WHERE hold_id = %s ORDER BY state", [envelope.id])
        (drawn_share, _), (open_share, _) = cursor.fetchall()
    assert refused_by(changed("share", drawn_share, "state = 'open', drawn = NULL")) == "share_ends_once"
    assert refused_by(changed("share", drawn_share, "drawn = 0")) == "share_ends_once"
    assert refused_by(changed("share", open_share, "amount = 1")) == "share_ends_once"
    assert refused_by(changed("share", open_share, "reference = 'z'")) == "share_ends_once"


# Lines


@pytest.mark.parametrize("kind", [*Entry.Kind.values, "gift"])
def test_a_lines_deltas_follow_its_kind(books: Purse, kind: str) -> None:
    """A line of 7 that moves nothing (a claw-back may: of nothing it may not)."""
    nothing: dict[str, Any] = {"lots": [], "remaining_deltas": [], "held_deltas": []}
    nothing |= dict.fromkeys(("balance_delta", "held_delta", "frozen_delta", "debt_delta"), 0)
    nothing |= {"kind": kind, "amount": 0 if kind == "claw_back" else 7}
    assert refused_by(copied("entry", head(books).id, **nothing)) == "entry_deltas_follow_its_kind"


def test_a_lines_own_numbers_are_refused_where_they_disagree(books: Purse) -> None:
    grant, charge = line(books, "grant"), line(books, "charge")
    other = uuid4()
    for law, of, values in (
        ("entry_amount_not_negative", grant, {"amount": -1}),
        ("entry_sequence_positive", grant, {"sequence": 0}),
        ("entry_digest_is_sha256", grant, {"digest": "\\x00"}),
        ("entry_lot_moves_add_up", grant, {"remaining_deltas": [grant.amount - 1]}),
        ("entry_lot_moves_add_up", grant, {"held_deltas": [1]}),
        ("entry_lot_moves_add_up", grant, {"held_deltas": [None]}),
        ("entry_lot_moves_add_up", grant, {"lots": [None]}),
        ("entry_lot_moves_add_up", grant, {"lots": [other, other]}),
        ("entry_refund_names_its_line", charge, {"refunds_id": charge.id}),
        ("entry_refund_names_its_line", line(books, "refund"), {"refunds_id": None}),
        ("entry_spending_names_its_hold", charge, {"hold_id": hold(books).id}),
        ("entry_spending_names_its_hold", line(books, "capture"), {"hold_id": None}),
        ("entry_sequence_once", grant, {}),
    ):
        assert refused_by(copied("entry", of.id, **values)) == law  # type: ignore[arg-type]


def next_line(purse: Purse, **values: Any) -> str:
    """The charge that would be next: of 1, from a lot that is there, continuing the last line."""
    last, of = head(purse), lot(purse, "pack")
    fields: dict[str, Any] = {
        "sequence": last.sequence + 1,
        "kind": "charge",
        "amount": 1,
        "hold_id": None,
        "refunds_id": None,
        "text_hash": None,
        "lots": [of.id],
        "remaining_deltas": [-1],
        "held_deltas": [0],
        "balance_delta": -1,
        "held_delta": 0,
        "frozen_delta": 0,
        "debt_delta": 0,
        "balance_after": last.balance_after - 1,
        "held_after": last.held_after,
        "frozen_after": last.frozen_after,
        "debt_after": last.debt_after,
    }
    return copied("entry", last.id, **fields | values)


@pytest.mark.parametrize(
    "values",
    [
        {"sequence": 10_000},
        {"balance_after": 12345},
        {"held_after": 12345},
        {"frozen_after": 12345},
        {"debt_after": 12345},
        {"created_at": "2020-01-01"},
    ],
)
def test_a_line_continues_the_one_before(books: Purse, values: dict[str, Any]) -> None:
    assert refused_by(next_line(books, **values)) == "entry_continues_the_line_before"


ACCOUNT_FOLLOWS = (
    "UPDATE billing_account SET balance = balance + {balance}, held = held + {held}, entry_count = entry_count + 1"
    " WHERE id = '{id}'"
)


def test_a_line_agrees_with_its_account_lots_and_holds(books: Purse) -> None:
    """Each time one more of what a line moves is moved beside it, and the next is not."""
    assert refused_by(next_line(books)) == "entry_agrees_with_account"
    follows = ACCOUNT_FOLLOWS.format(balance=-1, held=0, id=books.id)
    assert refused_by(follows, next_line(books)) == "entry_agrees_with_lots"
    of, last = hold(books, amount=40), head(books)
    values = {
        "kind": "release",
        "hold_id": of.id,
        "lots": of.receipt_lots,
        "remaining_deltas": [0] * len(of.receipt_lots),
        "held_deltas": [-1, *[0] * (len(of.receipt_lots) - 1)],
        "balance_delta": 0,
        "held_delta": -1,
        "balance_after": last.balance_after,
        "held_after": last.held_after - 1,
    }
    follows = ACCOUNT_FOLLOWS.format(balance=0, held=-1, id=books.id)
    lot_follows = changed("lot", of.receipt_lots[0], f"held = held - 1, moved_by = {last.sequence + 1}")
    assert refused_by(follows, lot_follows, next_line(books, **values)) == "entry_agrees_with_holds"


@pytest.mark.parametrize("spent", ["adjust", "hold", "grant", "draw"])
def test_a_refund_gives_back_at_most_what_a_spending_line_took(books: Purse, spent: str) -> None:
    of = lot(books)
    amount = 5 if spent != "draw" else line(books, "draw").amount + 1
    last = head(books)
    values = {
        "kind": "refund",
        "amount": amount,
        "refunds_id": line(books, spent).id,
        "lots": [of.id],
        "remaining_deltas": [amount],
        "balance_delta": amount,
        "balance_after": last.balance_after + amount,
    }
    follows = ACCOUNT_FOLLOWS.format(balance=amount, held=0, id=books.id)
    gives = f"remaining = remaining + {amount}, spent = spent - {amount}, moved_by = {last.sequence + 1}"
    sql = (follows, changed("lot", of.id, gives), next_line(books, **values))
    assert refused_by(*sql) == "refunds_within_what_was_spent"


# Added, never edited, deleted or truncated

KEPT = {
    "account": "account_never_deleted",
    "lot": "lot_never_deleted",
    "hold": "hold_never_deleted",
    "share": "share_never_deleted",
    "entry": "entry_never_deleted",
    "entrytext": "entry_text_never_deleted",
    "payment": "payment_never_deleted",
    "clawback": "claw_back_never_deleted",
    "idempotencykey": "idempotency_key_never_deleted",
    "audit": "audit_never_deleted",
}
NOTHING_PENDING = "SET CONSTRAINTS ALL IMMEDIATE"
KEY = (
    "INSERT INTO billing_idempotencykey (id, account_id, actor, scope, key, fingerprint, status, made, created_at)"
    " VALUES (gen_random_uuid(), '{}', 'a', 's', 'k', sha256(''), 201, gen_random_uuid(), now())"
)
AUDIT = (
    "INSERT INTO billing_audit (id, actor, act, is_refusal, code, amount, subject, facts, request_id, created_at)"
    " VALUES (gen_random_uuid(), 'a', 'b', false, '', 0, '', '{}', '', now())"
)


@pytest.fixture
def kept(books: Purse) -> Purse:
    with connection.cursor() as cursor:
        cursor.execute(KEY.format(books.id))
        cursor.execute(AUDIT)
    return books


@pytest.mark.parametrize("table", KEPT)
def test_what_is_kept_is_never_deleted_nor_truncated(kept: Purse, table: str) -> None:
    assert refused_by(f"DELETE FROM billing_{table}") == KEPT[table]
    assert refused_by(NOTHING_PENDING, f"TRUNCATE billing_{table} CASCADE") in {
        f"{name}_never_truncated" for name in KEPT
    }


@pytest.mark.parametrize(
    "changes",
    [
        "amount = amount",
        "actor = 'x'",
        "balance_after = 0",
        "digest = sha256('')",
        "created_at = now()",
        "sequence = 0",
    ],
)
def test_entries_are_never_edited(books: Purse, changes: str) -> None:
    assert refused_by(f"UPDATE billing_entry SET {changes}") == "entry_never_edited"


def test_entries_refuse_update_delete_and_truncate_each_by_name(books: Purse) -> None:
    assert refused_by("UPDATE billing_entry SET kind = 'grant'") == "entry_never_edited"
    assert refused_by("DELETE FROM billing_entry") == "entry_never_deleted"
    assert refused_by(NOTHING_PENDING, "TRUNCATE billing_entry CASCADE").endswith("_never_truncated")


def test_words_are_only_erased(books: Purse) -> None:
    text = line(books, "grant").id
    for changes in ("description = 'A gift'", "reason = ''", "salt = ''", "description = '', salt = '\\x00'"):
        assert refused_by(changed("entrytext", text, changes)) == "entry_text_only_erased"
    with connection.cursor() as cursor:
        cursor.execute(changed("entrytext", text, "description = '', reason = ''"))
        assert cursor.rowcount == 1


def test_payments_keys_and_the_audit_trail_are_written_once(kept: Purse) -> None:
    assert refused_by("UPDATE billing_payment SET granted = granted + 1") == "payment_written_once"
    assert refused_by("UPDATE billing_idempotencykey SET status = 200") == "idempotency_key_written_once"
    assert refused_by("UPDATE billing_audit SET actor = 'x'") == "audit_never_edited"
    assert refused_by(KEY.format(kept.id)) == "idempotency_key_once"


# Payments and claw-backs


def test_a_payment_is_one_grants_own(books: Purse) -> None:
    of = one(books, "payment")
    grant = books.grant(5)
    sequence = books.lot(grant).moved_by
    for law, values in (
        ("billing_payment_reference_key", {}),
        ("payment_line_once", {"reference": "cs_2"}),
        ("payment_granted_positive", {"reference": "cs_2", "granted": 0}),
        ("payment_granted_by_its_line", {"reference": "cs_2", "sequence": sequence}),
        ("payment_granted_by_its_line", {"reference": "cs_2", "sequence": line(books, "charge").sequence}),
        ("payment_granted_by_a_line", {"reference": "cs_2", "sequence": 10_000}),
    ):
        assert refused_by(copied("payment", of, **values)) == law  # type: ignore[arg-type]


def test_claw_backs_are_made_and_restored_once_within_their_grant(books: Purse) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM billing_clawback ORDER BY restored_by NULLS FIRST")
        (standing,), (restored,) = cursor.fetchall()
    sequence = line(books, "grant").sequence
    for law, values in (
        ("claw_back_parts_add_up", {"taken": 49}),
        ("claw_back_parts_add_up", {"amount": 0, "taken": 0}),
        ("claw_back_parts_add_up", {"taken": 51, "debt": -1}),
        ("claw_back_line_once", {}),
        ("claw_back_made_by_a_line", {"sequence": 10_000}),
        ("claw_backs_within_their_grant", {"sequence": sequence, "amount": 951, "taken": 951}),
    ):
        assert refused_by(copied("clawback", standing, **values)) == law  # type: ignore[arg-type]
    for changes in ("restored_by = NULL", "restored_by = restored_by + 1"):
        assert refused_by(changed("clawback", restored, changes)) == "claw_back_restored_once"
    for changes in ("amount = 1, taken = 1", "debt = 1, amount = amount + 1", "sequence = 1"):
        assert refused_by(changed("clawback", standing, changes)) == "claw_back_restored_once"
    assert refused_by(changed("clawback", standing, "restored_by = 10000")) == "claw_back_restored_by_a_line"


# No row points into another account


def test_no_row_points_into_another_account(books: Purse, new_purse: Callable[..., Purse]) -> None:
    other = new_purse()
    other.grant(10, payment="cs_9", description="words")
    theirs = other.place(1, shares=(("a", 1),))
    charge = other.charge(1)
    payment = other.payment("cs_9")
    refunded: dict[str, Any] = {"kind": "refund", "amount": 1, "balance_delta": 1, "remaining_deltas": [1]}
    placed: dict[str, Any] = {"kind": "hold", "hold_id": theirs, "amount": 1, "held_delta": 1, "held_deltas": [1]}
    placed |= {"balance_delta": 0, "remaining_deltas": [0]}
    for law, sql in (
        ("lot_payment_in_account", copied("lot", lot(books).id, payment_id=payment)),
        ("share_hold_in_account", copied("share", one(books, "share"), hold_id=theirs)),
        ("entry_hold_in_account", next_line(books, **placed)),
        ("entry_refunds_in_account", next_line(books, refunds_id=charge.id, **refunded)),
        ("entry_text_in_account", copied("entrytext", line(books, "grant").id, entry_id=charge.id)),
        ("claw_back_payment_in_account", copied("clawback", one(books, "clawback"), payment_id=payment, sequence=1)),
    ):
        assert refused_by(sql) == law


# What surrounds the money


def test_a_spend_day_stands_once_and_its_parts_fit(books: Purse) -> None:
    day = one(books, "spendday")
    assert refused_by(copied("spendday", day)) == "spend_day_once"
    nobody = "SELECT id FROM billing_spendday WHERE user_id IS NULL"
    with connection.cursor() as cursor:
        cursor.execute(nobody)
        assert refused_by(copied("spendday", cursor.fetchone()[0])) == "spend_day_once"
    for values in ({"spent": 1, "spent_capped": 2}, {"spent": 1, "spent_capped": -1}):
        assert refused_by(copied("spendday", day, day="2020-01-01", **values)) == "spend_day_capped_within_spent"


LIMIT = (
    "INSERT INTO billing_spendlimit (id, account_id, source, user_id, {what}, updated_at)"
    " VALUES (gen_random_uuid(), '{account}', '{source}', {user}, {most}, now())"
)


def test_spend_limits_stand_once_and_name_their_member(purse: Purse) -> None:
    user = User.objects.create(username="ada").id

    def sql(source: str, user: object = "NULL", most: int = 1, what: str = "per_run") -> str:
        return LIMIT.format(account=purse.id, source=source, user=user, most=most, what=what)

    assert refused_by(sql("plan"), sql("plan")) == "spend_limit_once"
    assert refused_by(sql("member")) == "spend_limit_member_named"
    assert refused_by(sql("plan", user)) == "spend_limit_member_named"
    assert refused_by(sql("plan", most=-1)) == "spend_limit_not_negative"
    for what, law in (
        ("open_holds_max", "billing_spendlimit_open_holds_max_check"),
        ("jobs_at_once_max", "billing_spendlimit_jobs_at_once_max_check"),
    ):
        assert refused_by(sql("person", what=what)) == "spend_limit_at_once_of_plan_or_staff"
        assert refused_by(sql("member", user, what=what)) == "spend_limit_at_once_of_plan_or_staff"
        assert refused_by(sql("staff", most=-1, what=what)) == law
    for source, who in (("plan", "NULL"), ("person", "NULL"), ("member", user)):
        lifts = sql(source, who, most=True, what="lifts_ceiling")
        assert refused_by(lifts) == "spend_limit_ceiling_lifted_by_staff"


def test_people_belong_to_an_account_once(purse: Purse) -> None:
    user = User.objects.create(username="ada").id
    other = Account.objects.create().id

    def sql(account: UUID, role: str = "owner", is_own: bool = False) -> str:
        return (
            "INSERT INTO billing_membership (id, account_id, user_id, role, is_own, created_at)"
            f" VALUES (gen_random_uuid(), '{account}', {user}, '{role}', {is_own}, now())"
        )

    assert refused_by(sql(purse.id), sql(purse.id)) == "membership_once"
    assert refused_by(sql(purse.id, is_own=True), sql(other, is_own=True)) == "membership_one_own_account"
    assert refused_by(sql(purse.id, role="king")) == "membership_role_known"


def test_tokens_are_known_and_bounded(purse: Purse) -> None:
    user = User.objects.create(username="ada").id

    def sql(scope: str, hash: str = "a") -> str:
        return (
            "INSERT INTO billing_token (id, account_id, user_id, name, scope, hash, hint, source, operations,"
            " created_at)"
            f" VALUES (gen_random_uuid(), '{purse.id}', {user}, 't', '{scope}', sha256('{hash}'), 'x', '', '{{}}',"
            " now())"
        )

    assert refused_by(sql("god")) == "token_scope_known"
    assert refused_by(sql("service")) == "token_service_bounded"
    assert refused_by(sql("read"), sql("read")) == "billing_token_hash_key"


def test_an_approval_needs_a_second_person(purse: Purse) -> None:
    ada, bob = (User.objects.create(username=name).id for name in ("ada", "bob"))

    def sql(state: str, decided_by: object) -> str:
        return (
            "INSERT INTO billing_approval (id, account_id, act, amount, instruction, reason, state, asked_by_id,"
            " asked_at,"
            f" decided_by_id, decision_note) VALUES ('{new_id()}', '{purse.id}', 'grant', 1, '{{}}', 'r',"
            f" '{state}',"
            f" {ada}, now(), {decided_by}, '')"
        )

    assert refused_by(sql("approved", ada)) == "approval_by_a_second_person"
    assert refused_by(sql("approved", "NULL")) == "approval_decided_by_someone"
    assert refused_by(sql("waiting", bob)) == "approval_decided_by_someone"


def test_news_is_told_once(purse: Purse) -> None:
    notice = (
        "INSERT INTO billing_notice (id, account_id, key, level, title, body, link, created_at)"
        f" VALUES (gen_random_uuid(), '{purse.id}', 'k', 'info', 't', '', '', now())"
    )
    alert = (
        "INSERT INTO billing_alert (id, name, key, sentence, facts, opened_at)"
        " VALUES (gen_random_uuid(), 'n', 'k', 's', '{}', now())"
    )
    assert refused_by(notice, notice) == "notice_once"
    assert refused_by(alert, alert) == "alert_open_once"


# What is sold, and what Stripe tells of it


@dataclass
class Shop:
    """A paid purchase of a pack and a paid month of a plan, each with a refund and a dispute, and the event of one."""

    purse: Purse
    stranger: Purse
    purchase: UUID
    allocation: UUID
    rows: dict[str, Any]

    def copied(self, table: str, **changes: Any) -> str:
        """Another row as this one, without Stripe's names, with these changes."""
        names = dict.fromkeys(NAMED_BY_STRIPE.get(table, ()))
        return copied(table, self.rows[table], **names | changes)

    def changed(self, table: str, changes: str) -> str:
        return changed(table, self.rows[table], changes)


NAMED_BY_STRIPE = {
    "purchase": ("stripe_session", "stripe_intent"),
    "enrollment": ("stripe_session", "stripe_subscription"),
    "refunding": ("stripe_refund",),
}


@pytest.fixture
def shop(db: None) -> Shop:
    purse, stranger = Purse(), Purse()  # not reconciled: these rows stand for the laws of one row only
    moment = purse.account.created_at
    later = moment + timedelta(days=30)
    purse.grant(100, payment="purchase:1")
    purse.grant(50, source="plan", payment="allocation:1")
    stranger.grant(1, payment="purchase:2")
    pack = Pack.objects.create(slug="one", title="One", price_minor=10, credits=100)
    plan = Plan.objects.create(slug="one", title="One", price_minor=10, monthly_credits=50)
    purchase = Purchase.objects.create(
        account_id=purse.id, pack=pack, amount_minor=10, currency="gbp", credits=100, keep_months=12, state="paid",
        stripe_session="cs_1", stripe_intent="pi_1", payment_id=purse.payment("purchase:1"), paid_at=moment,
        created_at=moment,
    )  # fmt: skip
    enrollment = Enrollment.objects.create(
        account_id=purse.id, plan=plan, state="active", stripe_session="cs_2", stripe_subscription="sub_1",
        started_at=moment,
    )  # fmt: skip
    allocation = Allocation.objects.create(
        account_id=purse.id, enrollment=enrollment, plan=plan, period="invoice in_1", starts_at=moment, ends_at=later,
        credits=50, amount_minor=10, currency="gbp", payment_id=purse.payment("allocation:1"), created_at=moment,
    )  # fmt: skip
    about: dict[str, Any] = {"account_id": purse.id, "purchase": purchase, "amount_minor": 5, "created_at": moment}
    refunding = Refunding.objects.create(stripe_refund="re_1", **about)
    dispute = Dispute.objects.create(stripe_dispute="du_1", **about)
    Customer.objects.create(account_id=purse.id, stripe_customer="cus_1")
    event = InboxEvent.objects.create(
        id="evt_1", type="payment_intent.succeeded", is_live=False, happened_at=moment, payload={}, received_at=moment
    )
    rows = {
        "pack": pack.id, "plan": plan.id, "purchase": purchase.id, "enrollment": enrollment.id,
        "allocation": allocation.id, "refunding": refunding.id, "dispute": dispute.id, "inboxevent": event.id,
    }  # fmt: skip
    return Shop(purse, stranger, purchase.id, allocation.id, rows)


@pytest.mark.parametrize(
    ("law", "table", "changes"),
    [
        ("pack_price_positive", "pack", {"slug": "b", "price_minor": 0}),
        ("pack_credits_positive", "pack", {"slug": "b", "credits": 0}),
        ("billing_pack_slug_key", "pack", {}),
        ("billing_pack_price_minor_check", "pack", {"slug": "b", "price_minor": -1}),
        ("billing_pack_keep_months_check", "pack", {"slug": "b", "keep_months": -1}),
        ("billing_pack_position_check", "pack", {"slug": "b", "position": -1}),
        ("plan_credits_not_negative", "plan", {"slug": "b", "monthly_credits": -1}),
        ("plan_credits_not_negative", "plan", {"slug": "b", "trial_credits": -1}),
        ("plan_per_day_not_negative", "plan", {"slug": "b", "per_day": -1}),
        ("billing_plan_slug_key", "plan", {}),
        ("billing_plan_price_minor_check", "plan", {"slug": "b", "price_minor": -1}),
        ("billing_plan_trial_days_check", "plan", {"slug": "b", "trial_days": -1}),
        ("billing_plan_position_check", "plan", {"slug": "b", "position": -1}),
        ("billing_plan_open_holds_max_check", "plan", {"slug": "b", "open_holds_max": -1}),
        ("billing_plan_jobs_at_once_max_check", "plan", {"slug": "b", "jobs_at_once_max": -1}),
        ("plan_jobs_at_once_positive", "plan", {"slug": "b", "jobs_at_once_max": 0}),
        ("purchase_amounts_positive", "purchase", {"amount_minor": 0}),
        ("purchase_amounts_positive", "purchase", {"credits": 0}),
        ("billing_purchase_amount_minor_check", "purchase", {"amount_minor": -1}),
        ("billing_purchase_keep_months_check", "purchase", {"keep_months": -1}),
        ("billing_purchase_stripe_session_key", "purchase", {"stripe_session": "cs_1"}),
        ("billing_purchase_stripe_intent_key", "purchase", {"stripe_intent": "pi_1"}),
        ("purchase_granted_when_paid", "purchase", {"payment_id": None}),
        ("purchase_granted_when_paid", "purchase", {"paid_at": None}),
        ("purchase_granted_when_paid", "purchase", {"state": "open"}),
        ("purchase_payment_in_account", "purchase", {"account_id": "stranger"}),
        ("billing_refunding_stripe_refund_key", "refunding", {"stripe_refund": "re_1"}),
        ("refunding_amount_positive", "refunding", {"amount_minor": 0}),
        ("billing_refunding_amount_minor_check", "refunding", {"amount_minor": -1}),
        ("refunding_restored_after_claw_back", "refunding", {"is_restored": True}),
        ("refunding_of_one_sale", "refunding", {"purchase_id": None}),
        ("refunding_of_one_sale", "refunding", {"allocation_id": "allocation"}),
        ("refunding_purchase_in_account", "refunding", {"account_id": "stranger"}),
        (
            "refunding_allocation_in_account",
            "refunding",
            {"account_id": "stranger", "purchase_id": None, "allocation_id": "allocation"},
        ),
        ("billing_dispute_stripe_dispute_key", "dispute", {}),
        ("dispute_amount_positive", "dispute", {"stripe_dispute": "b", "amount_minor": 0}),
        ("billing_dispute_amount_minor_check", "dispute", {"stripe_dispute": "b", "amount_minor": -1}),
        ("dispute_ended_at_its_end", "dispute", {"stripe_dispute": "b", "state": "lost"}),
        ("dispute_ended_at_its_end", "dispute", {"stripe_dispute": "b", "ended_at": "2026-01-01"}),
        ("dispute_of_one_sale", "dispute", {"stripe_dispute": "b", "purchase_id": None}),
        ("dispute_of_one_sale", "dispute", {"stripe_dispute": "b", "allocation_id": "allocation"}),
        ("dispute_purchase_in_account", "dispute", {"stripe_dispute": "b", "account_id": "stranger"}),
        (
            "dispute_allocation_in_account",
            "dispute",
            {"stripe_dispute": "b", "account_id": "stranger", "purchase_id": None, "allocation_id": "allocation"},
        ),
        ("enrollment_one_in_force", "enrollment", {}),
        ("enrollment_one_in_force", "enrollment", {"state": "grace"}),
        ("enrollment_ended_at_its_end", "enrollment", {"state": "ended"}),
        ("enrollment_ended_at_its_end", "enrollment", {"state": "pending", "ended_at": "2026-01-01"}),
        ("enrollment_second_is_over", "enrollment", {"state": "pending", "is_second": True}),
        ("enrollment_second_is_over", "enrollment", {"state": "pending", "undone_at": "2026-01-01"}),
        ("billing_enrollment_stripe_session_key", "enrollment", {"state": "pending", "stripe_session": "cs_2"}),
        (
            "billing_enrollment_stripe_subscription_key",
            "enrollment",
            {"state": "pending", "stripe_subscription": "sub_1"},
        ),
        ("allocation_once_a_period", "allocation", {}),
        ("allocation_credits_not_negative", "allocation", {"period": "b", "credits": -1}),
        ("billing_allocation_amount_minor_check", "allocation", {"period": "b", "amount_minor": -1}),
        ("allocation_enrollment_in_account", "allocation", {"account_id": "stranger", "payment_id": None}),
        ("allocation_payment_in_account", "allocation", {"period": "b", "payment_id": "stranger's"}),
        ("billing_inboxevent_tries_check", "inboxevent", {"tries": -1}),
    ],
)
def test_what_is_sold_keeps_its_laws(shop: Shop, law: str, table: str, changes: dict[str, Any]) -> None:
    meant = {
        "stranger": shop.stranger.id,
        "stranger's": shop.stranger.payment("purchase:2"),
        "allocation": shop.allocation,
    }
    assert refused_by(shop.copied(table, **{name: meant.get(value, value) for name, value in changes.items()})) == law


@pytest.mark.parametrize(
    ("law", "table", "changes"),
    [
        ("purchase_keeps_its_terms", "purchase", "amount_minor = 11"),
        ("purchase_keeps_its_terms", "purchase", "currency = 'eur'"),
        ("purchase_keeps_its_terms", "purchase", "credits = 101"),
        ("purchase_keeps_its_terms", "purchase", "keep_months = 13"),
        ("purchase_keeps_its_terms", "purchase", "state = 'failed', payment_id = NULL"),
        ("purchase_keeps_its_terms", "purchase", "paid_at = now()"),
        ("purchase_keeps_its_terms", "purchase", "stripe_session = NULL"),
        ("purchase_keeps_its_terms", "purchase", "stripe_session = 'cs_9'"),
        ("purchase_keeps_its_terms", "purchase", "stripe_intent = 'pi_9'"),
        ("allocation_stands", "allocation", "credits = 51"),
        ("allocation_stands", "allocation", "period = 'another'"),
        ("allocation_stands", "allocation", "payment_id = NULL"),
        ("inbox_event_stays_as_it_came", "inboxevent", "payload = '{\"a\": 1}'"),
        ("inbox_event_stays_as_it_came", "inboxevent", "type = 'refund.created'"),
        ("inbox_event_stays_as_it_came", "inboxevent", "is_live = true"),
        ("inbox_event_stays_as_it_came", "inboxevent", "received_at = now()"),
    ],
)
def test_what_was_sold_and_told_stands(shop: Shop, law: str, table: str, changes: str) -> None:
    assert refused_by(shop.changed(table, changes)) == law


def test_a_customer_stays_whose_it_is(shop: Shop) -> None:
    mine = f"UPDATE billing_customer SET {{}} WHERE account_id = '{shop.purse.id}'"
    insert = (
        "INSERT INTO billing_customer (account_id, stripe_customer, payment_method, created_at)"
        f" VALUES ('{shop.stranger.id}', 'cus_1', '', now())"
    )
    assert refused_by(mine.format("stripe_customer = 'cus_2'")) == "customer_stays_whose_it_is"
    assert refused_by(mine.format("stripe_customer = NULL")) == "customer_stays_whose_it_is"
    assert refused_by(mine.format(f"account_id = '{shop.stranger.id}'")) == "customer_stays_whose_it_is"
    assert refused_by(insert) == "billing_customer_stripe_customer_key"


# Auto top-up


@pytest.mark.parametrize(
    ("law", "changes"),
    [
        ("auto_top_up_below_positive", "below = 0"),
        ("auto_top_up_brings_enough", "below = 101"),
        ("auto_top_up_pays_for_one", "month_max_minor = 9"),
        ("auto_top_up_pays_for_one", "price_minor = 0"),
        ("auto_top_up_pays_for_one", "credits = 0, below = -1"),
        ("billing_autotopup_price_minor_check", "price_minor = -1"),
        ("billing_autotopup_month_max_minor_check", "month_max_minor = -1"),
        ("auto_top_up_says_why_it_is_off", "is_on = false"),
        ("auto_top_up_says_why_it_is_off", "off_because = 'staff'"),
        ("auto_top_up_says_why_it_waits", "waits_until = now()"),
        ("auto_top_up_says_why_it_waits", "waits_because = 'burst'"),
    ],
)
def test_an_auto_top_up_keeps_its_laws(shop: Shop, law: str, changes: str) -> None:
    AutoTopUp.objects.create(
        account_id=shop.purse.id, is_on=True, below=100, pack=Pack.objects.get(slug="one"), price_minor=10,
        currency="gbp", credits=100, month_max_minor=10, agreed_by=User.objects.create(username="olga"),
        agreed_at=shop.purse.account.created_at, site="https://desk.test",
    )  # fmt: skip
    broken = refused_by(f"UPDATE billing_autotopup SET {changes} WHERE account_id = '{shop.purse.id}'")
    assert broken in (law, "auto_top_up_pays_for_one" if law.endswith("_check") else law, "auto_top_up_below_positive")


TOP_UP = {
    "is_top_up": True, "payment_method": "pm_1", "month_max_minor": 10, "state": "created", "payment_id": None,
    "paid_at": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("law", "changes"),
    [
        ("purchase_top_up_has_its_terms", {"payment_method": ""}),
        ("purchase_top_up_has_its_terms", {"is_top_up": False}),
        ("purchase_top_up_keeps_no_card", {"keeps_card": True}),
        ("top_up_within_month", {"amount_minor": 11}),
        ("top_up_within_month", {"month_max_minor": 9}),
        ("billing_purchase_month_max_minor_check", {"is_top_up": False, "payment_method": "", "month_max_minor": -1}),
    ],
)
def test_a_top_up_keeps_its_laws(shop: Shop, law: str, changes: dict[str, Any]) -> None:
    broken = refused_by(shop.copied("purchase", **TOP_UP | changes))
    assert broken in (law, "purchase_top_up_has_its_terms" if law.endswith("_check") else law)


def test_one_top_up_waits_at_a_time_and_its_terms_stand(shop: Shop) -> None:
    begun, another = (shop.copied("purchase", **TOP_UP | {"month_max_minor": 20}) for _ in range(2))
    assert refused_by(begun, another) == "purchase_one_top_up_waits"
    run(begun)
    mine = "UPDATE billing_purchase SET {} WHERE is_top_up"
    for changes in ("month_max_minor = 30", "payment_method = 'pm_2'", "created_at = now() - interval '1 month'"):
        assert refused_by(mine.format(changes)) == "top_up_keeps_its_terms"
    assert refused_by(mine.format("state = 'failed'"), mine.format("state = 'open'")) == "top_up_keeps_its_terms"


# Changes of plans


@pytest.fixture
def change(shop: Shop) -> PlanChange:
    enrollment = Enrollment.objects.get(account=shop.purse.id)
    return PlanChange.objects.create(
        account_id=shop.purse.id, enrollment=enrollment, act="cancel", stripe_name="sub_1", said="It ends.",
        created_at=shop.purse.account.created_at,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("law", "changes"),
    [
        ("plan_change_one_at_a_time", {}),
        ("plan_change_ended_at_its_end", {"state": "done"}),
        ("plan_change_ended_at_its_end", {"ended_at": "2026-01-01"}),
        ("billing_planchange_tries_check", {"state": "done", "ended_at": "2026-01-01", "tries": -1}),
        ("plan_change_enrollment_in_account", {"state": "done", "ended_at": "2026-01-01", "account_id": "stranger"}),
    ],
)
def test_a_change_of_a_plan_keeps_its_laws(shop: Shop, change: PlanChange, law: str, changes: dict[str, Any]) -> None:
    told = {name: shop.stranger.id if value == "stranger" else value for name, value in changes.items()}
    assert refused_by(copied("planchange", change.id, **told)) == law


def test_a_change_of_a_plan_stands(change: PlanChange) -> None:
    for changes in ("act = 'keep'", "stripe_name = 'sub_2'", "asks = '{\"a\": 1}'", "tries = 2"):
        assert refused_by(changed("planchange", change.id, changes)) == "plan_change_stands"
    run(changed("planchange", change.id, "state = 'refused', ended_at = now()"))
    again = "state = 'asked', ended_at = NULL"
    assert refused_by(changed("planchange", change.id, again)) == "plan_change_stands"
    run(changed("planchange", change.id, f"{again}, tries = 2"))
    run(changed("planchange", change.id, "state = 'done', ended_at = now()"))
    assert refused_by(changed("planchange", change.id, f"{again}, tries = 3")) == "plan_change_stands"
    assert refused_by(f"DELETE FROM billing_planchange WHERE id = '{change.id}'") == "plan_change_never_deleted"


def test_a_plan_stays_free_or_paid(shop: Shop) -> None:
    run("UPDATE billing_plan SET price_minor = price_minor + 1 WHERE price_minor > 0")
    assert refused_by("UPDATE billing_plan SET price_minor = 0 WHERE price_minor > 0") == "plan_stays_free_or_paid"


def test_an_invoice_pays_for_one_period(shop: Shop) -> None:
    run(shop.changed("allocation", "stripe_invoice = 'in_1'"))
    again = shop.copied("allocation", period="upgrade in_1", stripe_invoice="in_1", payment_id=None)
    assert refused_by(again) == "allocation_one_an_invoice"


# Gifts


@dataclass
class Gift:
    """A gift code that may be used twice and was used once."""

    purse: Purse
    code: UUID
    use: UUID


@pytest.fixture
def gift(purse: Purse) -> Gift:
    purse.grant(5, source="gift", is_promotional=True)
    maker, moment = User.objects.create(username="stella"), purse.account.created_at
    code = GiftCode.objects.create(
        batch=uuid4(), hash=b"h" * 32, hint="ABCD", credits=5, uses_max=2, uses=1, note="n", made_by=maker,
        made_at=moment,
    )  # fmt: skip
    use = GiftUse.objects.create(account_id=purse.id, code=code, entry_id=head(purse).id, created_at=moment)
    return Gift(purse, code.id, use.id)


@pytest.mark.parametrize(
    ("law", "table", "changes"),
    [
        ("billing_giftcode_hash_key", "giftcode", {}),
        ("gift_code_credits_positive", "giftcode", {"credits": 0}),
        ("gift_code_uses_within_most", "giftcode", {"uses_max": 0, "uses": 0}),
        ("gift_code_uses_within_most", "giftcode", {"uses": 3}),
        ("billing_giftcode_uses_check", "giftcode", {"uses": -1}),
        ("billing_giftcode_uses_max_check", "giftcode", {"uses_max": -1}),
        ("billing_giftcode_keep_months_check", "giftcode", {"keep_months": -1}),
        ("gift_code_by_a_second_person", "giftcode", {"approved_by_id": "maker"}),
        ("gift_use_once_an_account", "giftuse", {}),
        ("gift_use_of_its_own_line", "giftuse", {"code_id": "another"}),
        ("gift_use_entry_in_account", "giftuse", {"account_id": "stranger"}),
    ],
)
def test_gifts_keep_their_laws(
    gift: Gift, new_purse: Callable[..., Purse], law: str, table: str, changes: dict[str, Any]
) -> None:
    row = GiftCode.objects.get()
    another = GiftCode(**GiftCode.objects.values().get() | {"id": new_id(), "hash": b"i" * 32})
    another.save(force_insert=True)
    meant = {"maker": row.made_by_id, "another": another.id, "stranger": new_purse().id}
    told = {name: meant.get(value, value) if isinstance(value, str) else value for name, value in changes.items()}
    assert refused_by(copied(table, {"giftcode": gift.code, "giftuse": gift.use}[table], **told)) == law


@pytest.mark.parametrize(
    "changes",
    [
        "credits = 6",
        "uses_max = 3",
        "uses = 0",
        "keep_months = 13",
        "expires_at = now()",
        "hash = sha256('')",
        "note = 'x'",
        "made_at = now()",
    ],
)
def test_a_gift_code_keeps_its_terms(gift: Gift, changes: str) -> None:
    assert refused_by(changed("giftcode", gift.code, changes)) == "gift_code_keeps_its_terms"


def test_gifts_are_revoked_once_and_stay(gift: Gift) -> None:
    run(changed("giftcode", gift.code, "revoked_at = now()"))
    again = changed("giftcode", gift.code, "revoked_at = NULL")
    assert refused_by(again) == "gift_code_keeps_its_terms"
    assert refused_by(f"DELETE FROM billing_giftuse WHERE id = '{gift.use}'") == "gift_use_stands"
    assert refused_by(changed("giftuse", gift.use, "created_at = now()")) == "gift_use_stands"
    assert refused_by(f"DELETE FROM billing_giftcode WHERE id = '{gift.code}'") == "gift_code_never_deleted"


# Nothing was forgotten

# (account, id) is unique because id is: the key exists so that other keys can point at it.
IMPLIED = {f"{table}_account_id" for table in ("hold", "entry", "payment", "lot", "claw_back", "share")}
IMPLIED |= {f"{table}_account_id" for table in ("purchase", "refunding", "dispute", "enrollment", "allocation")}
IMPLIED |= {"plan_change_account_id"}
# One trigger that speaks for four laws: entry_continues_…, entry_agrees_with_account, …_lots and …_holds.
IMPLIED |= {"entry_agrees"}

EVERY_LAW = """
SELECT conname FROM pg_constraint
 WHERE conrelid::regclass::text LIKE 'billing\\_%%' AND contype IN ('c', 'u', 'f', 't')
   AND conname NOT LIKE '%%\\_fk\\_%%'
UNION
SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgrelid::regclass::text LIKE 'billing\\_%%'
UNION
SELECT indexrelid::regclass::text FROM pg_index
 WHERE indisunique AND NOT indisprimary AND indrelid::regclass::text LIKE 'billing\\_%%'
"""


def test_every_constraint_and_trigger_of_billing_is_named_above_by_what_broke_it() -> None:
    """By this file's own words, so that it holds in any order and however the tests are shared out."""
    named = set(re.findall(r"\w+", Path(__file__).read_text())) | {f"{table}_never_truncated" for table in KEPT}
    with connection.cursor() as cursor:
        cursor.execute(EVERY_LAW.replace("%%", "%"))
        every = {name for (name,) in cursor.fetchall()}
    assert len(every) > 90
    assert sorted(every - IMPLIED - named) == []
