"""What the worker does for billing. Each finds by itself what is due, may run twice at once, and may be cut off."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import structlog
from allauth.account.models import EmailConfirmation
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.core.mail import EmailMessage, get_connection
from django.db import OperationalError, connection
from django.db.models import F, Model, QuerySet
from django.utils import timezone

from . import alerts, ledger, steps
from .clock import Now, now
from .models import Alert, Hold, Lot, Membership, Notice

log = structlog.get_logger("holdfast.billing")

BATCH = 100
SWEEP_SECONDS = 45
LATE_SECONDS = 3600
MAILS_AT_ONCE = 50


def sweep() -> None:
    """Due lots and due holds without a job have expired; staff know of job holds that are late; mail has gone out.

    A part that fails holds up no other; its error is raised at the end.
    """
    until = time.monotonic() + SWEEP_SECONDS
    failed: Exception | None = None
    for part in (lambda: expire_lots(until), lambda: expire_holds(until), watch_job_holds, mail_notices, mail_alerts):
        try:
            _once_more(part)
        except Exception as error:
            log.error("sweep_failed", exc_info=error)
            if not connection.in_atomic_block:
                connection.close_if_unusable_or_obsolete()
            failed = error
    if failed is not None:
        raise failed


def clean() -> None:
    """What nobody needs any more is gone: sessions and confirmations that have ended. Nothing of money ever is."""
    SessionStore.clear_expired()
    EmailConfirmation.objects.delete_expired_confirmations()


def _once_more(work: Callable[[], object]) -> object:
    """The work, tried once more when the database gave up a transaction it could run again, or a connection broke."""
    try:
        return work()
    except OperationalError as error:
        state = getattr(error.__cause__, "sqlstate", None) or "08000"
        if connection.in_atomic_block or not (state in ("40001", "40P01") or state.startswith("08")):
            raise
        log.warning("tried_again", sqlstate=state)
        connection.close_if_unusable_or_obsolete()
        return work()


# Expiry


def expire_lots(until: float | None = None) -> int:
    """Lots whose time is over have expired, but for what is held of them. Locks a hundred accounts at a time."""
    due = Lot.objects.filter(remaining__gt=0, is_frozen=False, spendable_until__lte=Now())
    free = due.exclude(remaining=F("held")).values_list("account").distinct()
    return _expire(free, lambda row: ledger.Group(row[0], [steps.ExpireLots(actor="clock")]), until)


def expire_holds(until: float | None = None) -> int:
    """Holds past their end that no job stands on have expired. A job's hold is its own module's to end."""
    due = Hold.objects.filter(state=Hold.State.OPEN, expires_at__lte=Now()).exclude(owner="job")
    rows = due.order_by("expires_at").values_list("account", "id")
    return _expire(rows, lambda row: ledger.Group(row[0], [steps.ExpireHold(hold=row[1], actor="clock")]), until)


def _expire(due: Any, group: Callable[[Any], ledger.Group], until: float | None) -> int:
    """How many groups were done, in batches, each row tried once: until none is due or the time is over."""
    done: set[Any] = set()
    refused: set[Any] = set()
    while until is None or time.monotonic() < until:
        rows = [row for row in due[: BATCH + len(refused)] if row not in done and row not in refused]
        if not rows:
            break
        for row, outcome in zip(rows, ledger.post([group(row) for row in rows]), strict=True):
            (done if outcome.refusal is None else refused).add(row)
    return len(done)


def watch_job_holds() -> None:
    """Staff see an alert for each open hold of a job an hour past its end; it clears when the hold has ended."""
    late = Hold.objects.filter(
        state=Hold.State.OPEN, owner="job", expires_at__lte=now() - timedelta(seconds=LATE_SECONDS)
    )
    for hold in late.order_by("expires_at")[:BATCH]:
        alerts.open_alert(
            "hold_late",
            key=str(hold.id),
            sentence=f"The hold for {hold.label or hold.reference} is more than an hour past its end.",
            facts={"hold": str(hold.id), "account": str(hold.account_id), "expires_at": hold.expires_at.isoformat()},
        )
    opened = Alert.objects.filter(name="hold_late", cleared_at=None).values_list("key", flat=True)
    still = {str(hold) for hold in late.filter(id__in=list(opened)).values_list("id", flat=True)}
    for key in set(opened) - still:
        alerts.clear_alert("hold_late", key=key)


# Mail: told once. The row is claimed first, and freed again when the mail server refuses.


def mail_notices() -> int:
    """The owners of an account have the mail of each of its notices."""
    sent = 0
    for notice in Notice.objects.filter(mailed_at=None).order_by("created_at")[:MAILS_AT_ONCE]:
        people = User.objects.filter(
            is_active=True,
            emailaddress__verified=True,
            emailaddress__email__iexact=F("email"),
            id__in=Membership.objects.filter(account=notice.account_id, role="owner").values("user"),
        )
        link = f"\n\n{settings.PUBLIC_URL}{notice.link}" if notice.link else ""
        sent += _mail_once(notice, people, notice.title, f"{notice.body or notice.title}{link}\n")
    return sent


def mail_alerts() -> int:
    """Staff have the mail of each open alert."""
    sent = 0
    for alert in Alert.objects.filter(mailed_at=None, cleared_at=None).order_by("opened_at")[:MAILS_AT_ONCE]:
        facts = "\n".join(f"{name}: {value}" for name, value in alert.facts.items())
        staff = User.objects.filter(is_active=True, is_staff=True)
        sent += _mail_once(alert, staff, f"Alert: {alert.name.replace('_', ' ')}", f"{alert.sentence}\n\n{facts}\n")
    return sent


def _mail_once(row: Model, people: QuerySet[User], subject: str, body: str) -> int:
    """One mail to each of the people. Outside any transaction: mail servers are slow."""
    mine = type(row)._default_manager.filter(pk=row.pk, mailed_at=None)
    if not mine.update(mailed_at=timezone.now()):
        return 0
    to = list(people.exclude(email="").distinct().values_list("email", flat=True))
    subject = " ".join(subject.split())
    mails = [EmailMessage(f"{settings.ACCOUNT_EMAIL_SUBJECT_PREFIX}{subject}", body, to=[address]) for address in to]
    try:
        return get_connection().send_messages(mails) or 0 if mails else 0
    except OSError as error:  # smtplib's errors are among these
        log.warning("mail_not_sent", row=str(row.pk), error=str(error))
        type(row)._default_manager.filter(pk=row.pk).update(mailed_at=None)
        return 0
