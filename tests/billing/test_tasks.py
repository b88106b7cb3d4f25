"""The worker's part: what is due expires by itself, late job holds are told to staff, and mail goes out once."""

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail

from billing import alerts, credits, ledger, tasks
from billing.clock import now
from billing.models import Alert, Hold, Notice
from tests.conftest import Clock
from tests.people import Person, member, owner, stranger

__all__ = ["member", "owner", "stranger"]
MICRO = credits.MICRO


def place(person: Person, owner: str, seconds: int = 60) -> Any:
    return ledger.place_hold(person.account, amount=MICRO, reference="r", owner=owner, expires_in_seconds=seconds).hold


def state(hold: Any) -> str:
    return Hold.objects.get(id=hold).state


def test_due_lots_expire_by_themselves(owner: Person, stranger: Person, clock: Clock) -> None:
    for person in (owner, stranger):
        person.grant("5", expires_at=now() + timedelta(hours=1))
    tasks.sweep()
    assert (owner.values, stranger.values) == (("105", "0", "0"), ("105", "0", "0"))
    clock.advance(hours=2)
    tasks.sweep()
    tasks.sweep()
    assert (owner.values, stranger.values) == (("100", "0", "0"), ("100", "0", "0"))


def test_due_holds_without_a_job_expire_and_a_jobs_does_not(owner: Person, clock: Clock) -> None:
    mine, jobs, later = place(owner, "user:1"), place(owner, "job"), place(owner, "service:x", 7200)
    clock.advance(minutes=2)
    tasks.sweep()
    assert (state(mine), state(jobs), state(later)) == ("expired", "open", "open")
    assert owner.values == ("100", "2", "0")


def test_a_jobs_hold_an_hour_late_is_an_alert_until_it_ends(owner: Person, clock: Clock) -> None:
    hold = place(owner, "job")
    clock.advance(minutes=30)
    tasks.watch_job_holds()
    assert not Alert.objects.exists()
    clock.advance(minutes=40)
    tasks.watch_job_holds()
    tasks.watch_job_holds()
    alert = Alert.objects.get()
    assert (alert.name, alert.key, alert.cleared_at) == ("hold_late", str(hold), None)
    ledger.expire_hold(owner.account, hold=hold)
    tasks.watch_job_holds()
    alert.refresh_from_db()
    assert alert.cleared_at is not None


def test_a_part_that_fails_holds_up_no_other(owner: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: float) -> int:
        raise RuntimeError("no lots today")

    monkeypatch.setattr(tasks, "expire_lots", broken)
    alerts.notify(owner.account, "k", "News")
    with pytest.raises(RuntimeError, match="no lots today"):
        tasks.sweep()
    assert len(mail.outbox) == 1


def test_a_notice_is_mailed_once_to_the_owners(owner: Person, member: Person, stranger: Person) -> None:
    alerts.notify(owner.account, "k", "Your credits\nend soon", body="5 credits end tomorrow.", link="/account/credits")
    tasks.mail_notices()
    tasks.mail_notices()
    (sent,) = mail.outbox
    assert sent.to == [owner.user.email]
    assert sent.subject == "Holdfast: Your credits end soon"
    assert "5 credits end tomorrow." in sent.body
    assert Notice.objects.get().mailed_at is not None


def test_an_alert_is_mailed_to_staff(owner: Person, stranger: Person) -> None:
    stranger.user.is_staff = True
    stranger.user.save()
    alerts.open_alert("odd_thing", sentence="Something is odd.", facts={"hold": "h"})
    tasks.mail_alerts()
    tasks.mail_alerts()
    (sent,) = mail.outbox
    assert (sent.to, sent.subject) == ([stranger.user.email], "Holdfast: Alert: odd thing")
    assert "Something is odd." in sent.body


def test_what_the_mail_server_refuses_is_tried_again(owner: Person, settings: Any) -> None:
    alerts.notify(owner.account, "k", "News")
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    tasks.mail_notices()
    assert Notice.objects.get().mailed_at is None
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    tasks.mail_notices()
    assert Notice.objects.get().mailed_at is not None


@pytest.mark.django_db
def test_cleaning_can_be_repeated() -> None:
    tasks.clean()
    tasks.clean()
