"""Three people for tests: the owner of an account, a member of it, and a stranger with an account of their own."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth.models import User
from django.test import Client

from billing import credits, ledger, tokens
from billing.models import Account, Membership
from billing.people import open_account


class Answer:
    """What came back, read as JSON."""

    def __init__(self, response: Any) -> None:
        self.response = response
        self.status: int = response.status_code
        self.headers = response.headers
        is_json = response.headers.get("Content-Type", "").startswith("application/json")
        self.json: Any = json.loads(response.content) if is_json and response.content else None

    def __getitem__(self, name: str) -> Any:
        return self.json[name]

    @property
    def code(self) -> str | None:
        return self.json.get("code") if isinstance(self.json, dict) else None

    def __repr__(self) -> str:
        return f"{self.status} {self.json}"


class Caller:
    """A program with one token, or (without) whoever is not signed in."""

    def __init__(self, token: str | None = None) -> None:
        self.client = Client(raise_request_exception=False)
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get(self, path: str, **headers: str) -> Answer:
        return Answer(self.client.get(path, headers=self.headers | _named(headers)))

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.send("POST", path, body, **headers)

    def put(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.send("PUT", path, body, **headers)

    def delete(self, path: str, **headers: str) -> Answer:
        return self.send("DELETE", path, None, **headers)

    def send(self, method: str, path: str, body: Any, content_type: str = "application/json", **headers: str) -> Answer:
        """`body`: bytes as they are, anything else as JSON, None for no body."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        headers = self.headers | _named(headers)
        return Answer(self.client.generic(method, path, data, content_type, headers=headers))


def _named(headers: dict[str, str]) -> dict[str, str]:
    """idempotency_key="a" as Idempotency-Key: a."""
    return {name.replace("_", "-").title(): value for name, value in headers.items()}


class Person:
    """A user with a verified address, their account, and programs that speak for them."""

    def __init__(
        self, email: str, *, account: UUID | None = None, role: str = "owner", is_verified: bool = True
    ) -> None:
        self.user = User.objects.create_user(username=email, email=email)
        EmailAddress.objects.create(user=self.user, email=email, verified=is_verified, primary=True)
        self.own = open_account(self.user).id
        self.account = account or self.own
        if account is not None:
            Membership.objects.create(user=self.user, account_id=account, role=role)

    def token(self, scope: str = "spend", **bounds: Any) -> str:
        if scope == "service":
            bounds = {
                "source": "renders",
                "operations": ["hold"],
                "amount_max": 1000 * credits.MICRO,
                "day_max": 5000 * credits.MICRO,
            } | bounds
        _, text = tokens.make(self.user, Account(id=self.account), name="test", scope=scope, **bounds)
        return text

    def calls(self, scope: str = "spend", **bounds: Any) -> Caller:
        """A program with a new token of this person for this account."""
        return Caller(self.token(scope, **bounds))

    def browser(self, **options: Any) -> Client:
        """A signed-in browser."""
        client = Client(raise_request_exception=False, **options)
        client.force_login(self.user, backend="config.sign_in.EmailBackend")
        return client

    def grant(self, amount: str, **terms: Any) -> UUID:
        """Credits for the account: a new lot; returns its line."""
        return ledger.grant(self.account, **{"amount": credits.parse(amount), "source": "pack"} | terms)

    @property
    def purse(self) -> Account:
        return Account.objects.get(id=self.account)

    @property
    def values(self) -> tuple[str, str, str]:
        """balance, held, debt as the API writes them."""
        purse = self.purse
        return credits.format(purse.balance), credits.format(purse.held), credits.format(purse.debt)


@pytest.fixture
def owner(db: None) -> Person:
    """Olga, with 100 credits."""
    olga = Person("olga@people.test")
    olga.grant("100")
    return olga


@pytest.fixture
def member(owner: Person) -> Person:
    """Milo, a member of Olga's account."""
    return Person("milo@people.test", account=owner.account, role="member")


@pytest.fixture
def stranger(db: None) -> Person:
    """Sam, with an account of his own and 100 credits in it."""
    sam = Person("sam@people.test")
    sam.grant("100")
    return sam


@pytest.fixture
def nobody(db: None) -> Caller:
    """Whoever is not signed in."""
    return Caller()
