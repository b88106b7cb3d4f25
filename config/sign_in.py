"""Who may sign in. Demo people have a published password, so they exist only where IS_DEMO says so."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter, get_adapter
from allauth.account.auth_backends import AuthenticationBackend
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import ValidationError
from django.db import transaction
from django.shortcuts import render
from unfold.forms import AuthenticationForm

from billing import networks
from billing.people import open_account

DEMO_DOMAIN = "@holdfast.example"


def is_demo_person(user: Any) -> bool:
    """Says whether this is one of the people whose password stands in the README."""
    return str(getattr(user, "email", "")).lower().endswith(DEMO_DOMAIN)


class StaffBackend(ModelBackend):
    """Sign-in to the admin by user name, and the people behind existing sessions."""

    def user_can_authenticate(self, user: Any) -> bool:
        return super().user_can_authenticate(user) and (settings.IS_DEMO or not is_demo_person(user))


class EmailBackend(AuthenticationBackend):
    """Sign-in of people by e-mail address."""

    def user_can_authenticate(self, user: Any) -> bool:
        return super().user_can_authenticate(user) and (settings.IS_DEMO or not is_demo_person(user))


class AccountAdapter(DefaultAccountAdapter):
    """allauth, with Holdfast's rules about addresses."""

    def save_user(self, request: Any, user: Any, form: Any, commit: bool = True) -> Any:
        """Whoever signs up has an account of their own from the first moment; so many of a network on a day."""
        if not networks.may_sign_up(request):
            raise ImmediateHttpResponse(render(request, "account/signup_bounded.html", status=429))
        with transaction.atomic():
            user = super().save_user(request, user, form, commit)
            if commit:
                open_account(user)
        return user

    def clean_email(self, email: str) -> str:
        email = super().clean_email(email)
        if email.lower().endswith(DEMO_DOMAIN):
            raise self.validation_error("invalid_login")
        return email


class StaffSignIn(AuthenticationForm):
    """The admin's own sign-in: as limited in attempts as everybody's, and no way around a second factor."""

    def clean(self) -> dict[str, Any]:
        name, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if name and password:
            self.user_cache = get_adapter(self.request).authenticate(self.request, username=name, password=password)
            if self.user_cache is None:
                raise self.get_invalid_login_error()
            self.confirm_login_allowed(self.user_cache)
        return self.cleaned_data

    def confirm_login_allowed(self, user: Any) -> None:
        super().confirm_login_allowed(user)
        if is_mfa_enabled(user):
            raise ValidationError("You have a second factor: sign in at /accounts/login/ and come back.")
