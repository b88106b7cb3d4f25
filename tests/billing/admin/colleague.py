"""A member of staff with the permissions that a test gives them, and a browser that goes through the admin's pages."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from billing.models import Audit, new_id
from tests.billing.purse import Purse


def url_of(row: Any, act: str) -> str:
    """Where the act on the row has its page."""
    name = "billing_account" if isinstance(row, Purse) else f"{row._meta.app_label}_{row._meta.model_name}"
    return reverse(f"admin:{name}_{act}", args=[quote(row.id)])


class Colleague:
    """`permissions` by codename; "*" makes a superuser."""

    def __init__(self, name: str, *permissions: str, is_staff: bool = True, **options: Any) -> None:
        self.user = User.objects.create_user(
            name, f"{name}@desk.test", is_staff=is_staff, is_superuser="*" in permissions
        )
        ours = ("billing", "tools_registry", "generations")
        found = Permission.objects.filter(codename__in=permissions, content_type__app_label__in=ours)
        assert found.count() == len(set(permissions) - {"*"}), permissions
        self.user.user_permissions.set(found)
        self.client = self.browser(**options)

    def browser(self, **options: Any) -> Client:
        client = Client(raise_request_exception=False, **options)
        client.force_login(self.user, backend="config.sign_in.StaffBackend")
        return client

    @property
    def actor(self) -> str:
        return f"user:{self.user.pk}"

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(path, query)

    def opens(self, row: Any, act: str) -> Any:
        return self.client.get(url_of(row, act))

    def checks(self, row: Any, act: str, **fields: Any) -> Any:
        """The filled-in form sent once: the page says what it would change."""
        return self._send(url_of(row, act), "check", fields)

    def does(self, row: Any, act: str, **fields: Any) -> Any:
        """The form sent with its confirmation. `once` names the form; left out, it is a new one."""
        return self._send(url_of(row, act), "do", fields)

    def does_at(self, path: str, **fields: Any) -> Any:
        return self._send(path, "do", fields)

    def _send(self, path: str, step: str, fields: dict[str, Any]) -> Any:
        filled = {"once": str(new_id()), "step": step} | {"reason": "Because the customer asked."} | fields
        return self.client.post(path, {name: value for name, value in filled.items() if value is not None})

    @property
    def deeds(self) -> list[tuple[str, bool, str]]:
        """What the audit trail says of them: act, whether it was refused, the code."""
        return list(Audit.objects.filter(actor=self.actor).order_by("id").values_list("act", "is_refusal", "code"))


def said(answer: Any) -> str:
    """The words of a page, without its tags."""
    text = re.sub(r"<(script|style).*?</\1>", " ", answer.content.decode(), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def messages_of(answer: Any) -> list[str]:
    """What the page after a redirect will say."""
    return [str(message) for message in answer.wsgi_request._messages]


def a_form() -> UUID:
    """The one-time id that a form carries."""
    return new_id()
