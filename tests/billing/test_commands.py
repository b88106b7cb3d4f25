"""The operator's commands: what they print is a contract, and what may be repeated changes nothing twice."""

import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone

from billing import credits
from billing.models import Account, Audit, Entry, ImportedAccount, Lot, Token
from billing.people import open_account, person_called
from tests.people import Caller

pytestmark = pytest.mark.django_db


def run(*words: str) -> str:
    out = io.StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def purse(email: str) -> Account:
    return open_account(person_called(email))


def test_a_person_is_made_verified_with_an_account_and_nothing_in_it() -> None:
    run("create_person", "Pat@people.test", "--password", "a long password")
    pat = person_called("pat@people.test")
    assert pat.check_password("a long password")
    assert not pat.is_staff
    assert EmailAddress.objects.get(user=pat).verified
    assert (purse("pat@people.test").balance, Entry.objects.count()) == (0, 0)


def test_a_person_is_made_once() -> None:
    run("create_person", "pat@people.test")
    with pytest.raises(CommandError, match="already"):
        run("create_person", "PAT@people.test")
    with pytest.raises(CommandError, match="not an e-mail"):
        run("create_person", "pat")
    with pytest.raises(CommandError, match="no Free plan"):
        run("create_person", "other@people.test", "--plan", "free")
    assert person_called("other@people.test") is None


def test_staff_may_use_the_admin() -> None:
    run("create_person", "pat@people.test", "--staff", "--password", "a long password")
    assert person_called("pat@people.test").has_perm("billing.make_service_token")


def test_a_token_is_printed_and_nothing_else() -> None:
    run("create_person", "pat@people.test")
    printed = run("create_token", "pat@people.test", "--scope", "read")
    assert printed == printed.strip() + "\n"
    assert "\n" not in printed.strip()
    caller = Caller(printed.strip())
    assert caller.get("/api/credits/balance").status == 200
    assert caller.post("/api/holds", {"amount": "1"}).code == "scope_too_small"
    assert Token.objects.get().hint == printed.strip()[-4:]


def test_a_services_token_is_bounded() -> None:
    run("create_person", "pat@people.test")
    run("create_token", "pat@people.test", "--scope", "service", "--amount-max", "5", "--day-max", "10.5")
    token = Token.objects.get()
    assert (token.source, token.operations) == ("pat@people.test", ["hold"])
    assert (token.amount_max, token.day_max) == (5 * credits.MICRO, 10_500_000)


def test_a_token_of_nobody_is_refused() -> None:
    with pytest.raises(CommandError, match="nobody"):
        run("create_token", "who@people.test")


def test_granted_credits_carry_their_reason() -> None:
    run("create_person", "pat@people.test")
    run("grant_credits", "pat@people.test", "12.5", "--reason", "a promise")
    run("grant_credits", "pat@people.test", "1", "--reason", "spring", "--promotional", "--expires-in-days", "30")
    assert purse("pat@people.test").balance == 13_500_000
    plain, promotional = Lot.objects.order_by("granted_at")
    assert (plain.is_promotional, plain.expires_at) == (False, None)
    assert promotional.is_promotional
    assert timedelta(days=29) < promotional.expires_at - timezone.now() <= timedelta(days=30)
    assert [entry.text.reason for entry in Entry.objects.order_by("sequence")] == ["a promise", "spring"]
    assert Audit.objects.filter(act="grant", actor="command").count() == 2


@pytest.mark.parametrize("amount", ["0", "-1", "1e3", "NaN", "1_000", "0.0000001", "10000000000"])
def test_what_is_no_amount_is_not_granted(amount: str) -> None:
    run("create_person", "pat@people.test")
    with pytest.raises(CommandError):
        call_command("grant_credits", "pat@people.test", "--reason=x", "--", amount)
    assert purse("pat@people.test").balance == 0


# Demo people


def test_demo_people_have_their_credits_once(settings: Any) -> None:
    settings.IS_DEMO = True
    run("create_demo_people")
    run("create_demo_people")
    assert purse("demo@holdfast.example").balance == 300 * credits.MICRO
    assert purse("empty@holdfast.example").balance == credits.MICRO
    assert set(User.objects.filter(is_staff=True).values_list("email", flat=True)) == {
        "staff@holdfast.example",
        "second@holdfast.example",
    }
    assert all(
        user.check_password("holdfast-demo") for user in User.objects.filter(email__endswith="@holdfast.example")
    )


def test_there_are_no_demo_people_where_anything_is_real() -> None:
    with pytest.raises(CommandError, match="Demo people"):
        run("create_demo_people")
    assert not User.objects.filter(email__endswith="@holdfast.example").exists()


# Balances taken over

HEADER = "email,credits,kind,expires_at,external_id\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "accounts.csv"
    path.write_text(HEADER + "ann@people.test,12.5,paid,,A1\nBob@people.test,3,promotional,2999-01-31,B1\n")
    return path


def test_balances_are_taken_over_once(file: Path) -> None:
    assert run("import_accounts", str(file)).startswith("2 accounts imported with 15.50 credits, 0 already there")
    assert run("import_accounts", str(file)).startswith("0 accounts imported with 0.00 credits, 2 already there")
    assert (purse("ann@people.test").balance, purse("bob@people.test").balance) == (12_500_000, 3_000_000)
    lot = Lot.objects.get(is_promotional=True)
    assert lot.expires_at.isoformat() == "2999-02-01T00:00:00+00:00"
    assert not person_called("ann@people.test").has_usable_password()


def test_a_dry_run_changes_nothing(file: Path) -> None:
    assert "would be imported" in run("import_accounts", str(file), "--dry-run")
    assert not ImportedAccount.objects.exists()
    assert person_called("ann@people.test") is None


def test_a_file_with_a_wrong_row_imports_nothing(file: Path) -> None:
    file.write_text(file.read_text() + "cat@people.test,-1,paid,,C1\nnobody,1,paid,,D1\nd@people.test,1,free,,E1\n")
    with pytest.raises(CommandError) as refused:
        run("import_accounts", str(file))
    assert [line.split(":")[0] for line in str(refused.value).splitlines()[1:]] == ["line 4", "line 5", "line 6"]
    assert not ImportedAccount.objects.exists()


def test_an_external_id_stands_for_one_row(file: Path) -> None:
    run("import_accounts", str(file))
    file.write_text(HEADER + "ann@people.test,13,paid,,A1\n")
    with pytest.raises(CommandError, match="imported before with other values"):
        run("import_accounts", str(file))
    file.write_text(HEADER + "x@people.test,1,paid,,X1\nx@people.test,2,paid,,X1\n")
    with pytest.raises(CommandError, match="twice with different values"):
        run("import_accounts", str(file))
    assert purse("ann@people.test").balance == 12_500_000


def test_what_had_expired_is_taken_over_as_nothing(file: Path) -> None:
    file.write_text(HEADER + "ann@people.test,5,paid,2001-01-01,A1\n")
    assert "1 without credits" in run("import_accounts", str(file))
    assert purse("ann@people.test").balance == 0
    assert ImportedAccount.objects.get().entry is None


def test_somebody_who_signed_up_unverified_is_not_verified_by_an_import(file: Path) -> None:
    ann = User.objects.create_user("ann", "ann@people.test", "chosen by whoever")
    EmailAddress.objects.create(user=ann, email=ann.email, verified=False, primary=True)
    run("import_accounts", str(file))
    assert not EmailAddress.objects.get(user=ann).verified
    assert purse("ann@people.test").balance == 12_500_000
