"""What the worker does for billing. Each finds by itself what is due, may run twice at once, and may be cut off."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

import structlog
from allauth.account.models import EmailConfirmation
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.core.mail import EmailMessage, get_connection
from django.db import OperationalError, connection, transaction
from django.db.models import F, Model, Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from . import alerts, credits, giving_back, ledger, plans, steps, stripe_inbox, stripe_reconcile, subscriptions, top_ups
from .clock import now
from .models import Alert, Hold, Lot, Membership, Notice

log = structlog.get_logger("holdfast.billing")

BATCH = 100
SWEEP_SECONDS = 45
LATE_SECONDS = 3600
EVENTS_AT_ONCE = 1000
MAILS_AT_ONCE = 50
# Alerts of one kind share a mail, so that a provider's bad day is not a thousand mails.
ALERTS_AT_ONCE = 500
ALERTS_IN_A_MAIL = 20
# An alert that is over and that nobody could be told of for so long is no news any more.
OVER_MAILED_WITHIN = timedelta(days=1)


def sweep() -> None:
    """Stripe's events are applied; due lots and due holds without a job have expired; free months are allocated, and
    plans that were not paid in time are over; refunds that were not sent are; accounts with too few credits buy by
    themselves; staff know of job holds that are late; mail has gone out.

    A part that fails holds up no other; its error is raised at the end.
    """
    until = time.monotonic() + SWEEP_SECONDS
    failed: Exception | None = None
    for part in (
        lambda: stripe_inbox.apply_due(EVENTS_AT_ONCE, until),
        lambda: expire_lots(until),
        lambda: expire_holds(until),
        lambda: plans.allocate_free(until),
        lambda: subscriptions.end_graces(until),
        lambda: subscriptions.send_waiting(until),
        lambda: subscriptions.undo_seconds(until),
        lambda: giving_back.send_waiting(until),
        lambda: top_ups.sweep(until),
        watch_job_holds,
        mail_notices,
        mail_alerts,
    ):
        try:
            _once_more(part)
        except Exception as error:
            log.error("sweep_failed", exc_info=error)
            if not connection.in_atomic_block:
                connection.close_if_unusable_or_obsolete()
            failed = error
    if failed is not None:
        raise failed


def enroll_earlier() -> None:
    """People who had verified their address before there was a Free plan here are on it, and have this month's credits.

    Soon after an upgrade there is nobody left; it is done in batches, beside whatever else runs.
    """
    until = time.monotonic() + SWEEP_SECONDS
    if plans.enroll_earlier(until):
        plans.allocate_free(until)


def clean() -> None:
    """What nobody needs any more is gone: sessions and confirmations that have ended. Nothing of money ever is."""
    SessionStore.clear_expired()
    EmailConfirmation.objects.delete_expired_confirmations()


def reconcile_stripe() -> None:
    """What Stripe told in the last three days and we did not hear is applied, and staff know where the books differ."""
    if settings.STRIPE_IS_SET_UP:
        stripe_reconcile.reconcile_nightly()


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


def apply_events() -> None:
    """Stripe's events that are due have been applied: the hint that follows each delivery. The sweep does the same."""
    stripe_inbox.apply_due(EVENTS_AT_ONCE, time.monotonic() + SWEEP_SECONDS)


def top_up() -> None:
    """Accounts with too few credits have bought by themselves: the hint soon after. The sweep does the same."""
    top_ups.sweep(time.monotonic() + SWEEP_SECONDS)


# Expiry


def expire_lots(until: float | None = None) -> int:
    """Lots whose time is over have expired, but for what is held of them. Locks a hundred accounts at a time."""
    due = Lot.objects.filter(remaining__gt=0, is_frozen=False, spendable_until__lte=now())
    free = due.exclude(remaining=F("held")).values_list("account").distinct()
    return _expire(free, lambda row: ledger.Group(row[0], [steps.ExpireLots(actor="clock")]), until)


def expire_holds(until: float | None = None) -> int:
    """Holds past their end that no job stands on have expired. A job's hold is its own module's to end."""
    due = Hold.objects.filter(state=Hold.State.OPEN, expires_at__lte=now()).exclude(owner="job")
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
            facts={
                "account": str(hold.account_id),
                "held_credits": credits.format(hold.left),
                "was_to_end_at": hold.expires_at.isoformat(),
            },
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
    """Staff have one mail of each alert; those of one kind that come together stand in one mail.

    Also of an alert that cleared again before its mail went out: the mail says so. That an alert is over is not mailed
    by itself: the list in the admin says it, and nobody has to do anything.
    """
    with transaction.atomic():
        is_news = Q(cleared_at=None) | Q(opened_at__gt=now() - OVER_MAILED_WITHIN)
        unmailed = Alert.objects.filter(is_news, mailed_at=None)
        mine = list(unmailed.select_for_update(skip_locked=True).order_by("opened_at", "id")[:ALERTS_AT_ONCE])
        Alert.objects.filter(id__in=[alert.id for alert in mine]).update(mailed_at=timezone.now())
    to = alert_addresses() if mine else []
    if mine and not to:
        log.warning("alerts_mailed_to_nobody", alerts=len(mine))
    sent = 0
    for name, together in groupby(sorted(mine, key=lambda alert: alert.name), key=lambda alert: alert.name):
        those = list(together)
        subject, body = alert_mail(those)
        mailed = _send(to, subject, body, row=name)
        if mailed is None:
            Alert.objects.filter(id__in=[alert.id for alert in those]).update(mailed_at=None)
        sent += mailed or 0
    return sent


def alert_mail(of_one_name: Sequence[Alert]) -> tuple[str, str]:
    """Subject and body for staff: what, since when, how much, what to do, and where to look."""
    kind = alerts.kind_of(of_one_name[0].name)
    count = len(of_one_name)
    parts = [_alert_words(alert) for alert in of_one_name[:ALERTS_IN_A_MAIL]]
    if count > ALERTS_IN_A_MAIL:
        parts.append(f"… and {count - ALERTS_IN_A_MAIL} more.")
    every = f"{settings.PUBLIC_URL}{reverse('admin:billing_alert_changelist')}?{urlencode({'name': kind.name})}"
    end = (
        "Close it in the admin when it has been looked at."
        if kind.is_closed_by_staff
        else "It clears by itself when it is over."
    )
    parts.append(f"What to do: {kind.advice}")
    parts.append(f"{end} You are told once; if it happens again, you are told again.\nAll of this kind: {every}")
    return f"Alert: {kind.title}{f' ({count})' if count > 1 else ''}", "\n\n".join(parts) + "\n"


def _alert_words(alert: Alert) -> str:
    """One alert as a mail has it."""
    page = reverse("admin:billing_alert_change", args=[alert.id])
    lines = [alert.sentence, f"Since: {alerts.moment_words(alert.opened_at)}"]
    if alert.cleared_at is not None:
        lines.append(f"Over since: {alerts.moment_words(alert.cleared_at)}")
    lines += [f"{label}: {words}" for label, words in alerts.told_facts(alert)]
    about = alerts.page_of(alert)
    if about:
        lines.append(f"{alerts.kind_of(alert.name).about}: {settings.PUBLIC_URL}{about}")
    return "\n".join([*lines, f"The alert: {settings.PUBLIC_URL}{page}"])


def alert_addresses() -> list[str]:
    """ALERT_EMAILS where it is set, else the active staff who may look at alerts."""
    if settings.ALERT_EMAILS:
        return list(settings.ALERT_EMAILS)
    return list(staff_who_see_alerts().values_list("email", flat=True).distinct())


def staff_who_see_alerts() -> QuerySet[User]:
    """Active staff with an address and the permission to look at alerts."""
    may = User.objects.with_perm("billing.view_alert", backend="django.contrib.auth.backends.ModelBackend")
    return may.filter(is_staff=True, is_active=True).exclude(email="").order_by("email")


def _mail_once(row: Model, people: QuerySet[User], subject: str, body: str) -> int:
    """One mail to each of the people. Outside any transaction: mail servers are slow."""
    mine = type(row)._default_manager.filter(pk=row.pk, mailed_at=None)
    if not mine.update(mailed_at=timezone.now()):
        return 0
    to = list(people.exclude(email="").distinct().values_list("email", flat=True))
    sent = _send(to, subject, body, row=str(row.pk))
    if sent is None:
        type(row)._default_manager.filter(pk=row.pk).update(mailed_at=None)
    return sent or 0


def _send(to: Sequence[str], subject: str, body: str, *, row: str) -> int | None:
    """One mail to each address; None where the mail server refused."""
    subject = " ".join(subject.split())
    mails = [EmailMessage(f"{settings.ACCOUNT_EMAIL_SUBJECT_PREFIX}{subject}", body, to=[address]) for address in to]
    try:
        return get_connection().send_messages(mails) or 0 if mails else 0
    except OSError as error:  # smtplib's errors are among these
        log.warning("mail_not_sent", row=row, error=str(error))
        return None
