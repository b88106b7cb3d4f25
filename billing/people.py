"""Who belongs to which account, and as whom a request speaks."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.urls import reverse

from . import networks, plans
from .models import Account, Membership, Token

SESSION_ACCOUNT = "account"


def person_called(email: str) -> Any:
    """The person with this address, in whatever case it is written; None where there is nobody."""
    return User.objects.filter(email__iexact=email).order_by("id").first()


def make_person(email: str, *, password: str | None, is_staff: bool = False) -> Any:
    """There is a person with a verified address and an own account; `is_staff` may do everything in the admin.

    Without a password none fits until it is reset by mail. For commands: people themselves sign up.
    """
    email = email.lower()
    with transaction.atomic():
        person = User.objects.create_user(username=email[:150], email=email, password=password)
        if is_staff:
            person.is_staff = person.is_superuser = True
            person.save(update_fields=["is_staff", "is_superuser"])
        EmailAddress.objects.create(user=person, email=email, verified=True, primary=True)
        open_account(person)
    return person


def open_account(user: Any) -> Account:
    """The person's own account, opened now if there was none. May be called again; holds no credits and no plan."""
    own = _own_account(user)
    if own is not None:
        return own
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=user.pk)  # an account is never deleted: only one is made
        own = _own_account(user)
        if own is None:
            own = Account.objects.create(name=str(user.email or user.get_username())[:200])
            Membership.objects.create(account=own, user=user, role="owner", is_own=True)
    return own


def enroll_verified(email_address: EmailAddress, request: Any = None, **_: Any) -> None:
    """Whoever has shown that an address is theirs is on the Free plan, if on none yet (allauth's `email_confirmed`).

    Where many come from one network on a day, their first credits come on a later one.
    """
    user = email_address.user
    account = open_account(user).id
    if plans.in_force(account) is None:
        waits_until = networks.free_plan_waits_until(request) if request is not None else None
        plans.begin_free(account, user.pk, waits_until=waits_until)


def _own_account(user: Any) -> Account | None:
    own = Membership.objects.select_related("account").filter(user=user, is_own=True).first()
    return own.account if own is not None else None


def may(user: Any, account: UUID) -> bool:
    """Says whether the person belongs to the account."""
    return Membership.objects.filter(user=user, account=account).exists()


def role_in(user: Any, account: UUID) -> str | None:
    """The person's role in the account: owner, member, or None for a stranger."""
    return Membership.objects.filter(user=user, account=account).values_list("role", flat=True).first()


def account_of(request: Any) -> UUID:
    """The account that a request speaks for: its token's; else the one chosen in the session; else the person's own.

    Costs one query for a session, none for a token, and none when asked again.
    """
    known: UUID | None = getattr(request, "_account", None)
    if known is None:
        token = token_of(request)
        known = token.account_id if token is not None else _chosen(request)
        request._account = known
    return known


def _chosen(request: Any) -> UUID:
    rows = {row.account_id: row for row in Membership.objects.filter(user=request.user)}
    wanted = request.session.get(SESSION_ACCOUNT) if hasattr(request, "session") else None
    for account in rows:
        if str(account) == wanted:
            return account
    return next((account for account, row in rows.items() if row.is_own), None) or open_account(request.user).id


def choose_account(request: Any, account: UUID) -> bool:
    """From now on the session speaks for the account; False, and nothing chosen, for one that is not the person's."""
    if not may(request.user, account):
        return False
    request.session[SESSION_ACCOUNT] = str(account)
    request._account = account
    return True


# As whom


def token_of(request: Any) -> Token | None:
    """The token that a request came with; None for a session."""
    token = getattr(request, "auth", None)
    return token if isinstance(token, Token) else None


def actor_of(request: Any) -> str:
    """Who acts, as statement and audit name it: "user:7", "token:…", or "service:<source>"."""
    token = token_of(request)
    if token is not None:
        return token.speaks_as
    return f"user:{request.user.pk}" if request.user.is_authenticated else "anonymous"


def owner_of(request: Any) -> str:
    """The person or service behind the credential: whose holds these are and whose idempotency keys.

    A person's token may be replaced by another without losing either.
    """
    token = token_of(request)
    if token is not None and token.scope == Token.Scope.SERVICE:
        return token.speaks_as
    return f"user:{request.user.pk}"


def has_verified_email(user: Any) -> bool:
    """Says whether the person has shown that an address is theirs. Costs a query, once for each user object."""
    known: bool | None = getattr(user, "_has_verified_email", None)
    if known is None:
        known = EmailAddress.objects.filter(user=user, verified=True).exists()
        user._has_verified_email = known
    return known


def sign_in_url() -> str:
    """Where people sign in."""
    return reverse(settings.LOGIN_URL)
