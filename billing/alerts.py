"""Telling people: alerts for staff, notices for an account. Both are rows first; mail goes out from the worker."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.utils import timezone

from .models import Alert, Notice


def open_alert(name: str, *, key: str = "", sentence: str, facts: dict[str, Any] | None = None) -> None:
    """The alert is open; one that is open already stays as it is, so that a crossing is told once."""
    Alert.objects.bulk_create(
        [Alert(name=name, key=key, sentence=sentence[:500], facts=facts or {})], ignore_conflicts=True
    )


def open_keys(name: str) -> list[str]:
    """The keys for which the alert is open."""
    return list(Alert.objects.filter(name=name, cleared_at=None).values_list("key", flat=True))


def clear_alert(name: str, *, key: str = "") -> None:
    """The alert is cleared, and may open again."""
    Alert.objects.filter(name=name, key=key, cleared_at=None).update(cleared_at=timezone.now())


def notify(account: UUID, key: str, title: str, *, body: str = "", link: str = "", level: str = "info") -> None:
    """The account's people will read it in the page and by mail; the same `key` is told once."""
    notice = Notice(account_id=account, key=key[:200], title=title[:200], body=body, link=link[:300], level=level)
    Notice.objects.bulk_create([notice], ignore_conflicts=True)
