"""The worker's part: what is due expires by itself, late job holds are told to staff, and mail goes out once."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core import mail
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing import alerts, credits, ledger, plans, tasks
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


@pytest.mark.parametrize(
    ("look", "table"),
    [
        (tasks.expire_lots, "billing_lot"),
        (tasks.expire_holds, "billing_hold"),
        (plans.allocate_free, "billing_enrollment"),
    ],
    ids=["lots", "holds", "free months"],
)
def test_what_is_due_among_many_is_looked_for_by_a_moment_that_an_index_can_be_read_by(
    db: None, look: Callable[[], int], table: str
) -> None:
    """The clock itself moves while a statement runs, so every row that waits would be read, each minute."""
    with CaptureQueriesContext(connection) as seen:
        assert look() == 0
    looked = [query["sql"] for query in seen.captured_queries if f'FROM "{table}"' in query["sql"]]
    assert len(looked) == 1
    assert "holdfast_now" not in looked[0]


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


def sees_alerts(person: Person) -> str:
    """They are staff now, with the permission to look at alerts; their address."""
    person.user.is_staff = True
    person.user.save()
    person.user.user_permissions.add(Permission.objects.get(codename="view_alert"))
    return person.user.email


def test_an_alert_is_mailed_to_staff_who_may_see_it(owner: Person, member: Person, stranger: Person) -> None:
    address = sees_alerts(stranger)
    member.user.is_staff = True
    member.user.save()
    alerts.open_alert("odd_thing", sentence="Something is odd.", facts={"hold": "h"})
    tasks.mail_alerts()
    tasks.mail_alerts()
    (sent,) = mail.outbox
    assert (sent.to, sent.subject) == ([address], "Holdfast: Alert: odd thing")
    assert "Something is odd." in sent.body
    assert "Hold: h" in sent.body


def test_who_left_has_no_mail_of_alerts(owner: Person, stranger: Person) -> None:
    sees_alerts(stranger)
    stranger.user.is_active = False
    stranger.user.save()
    alerts.open_alert("odd_thing", sentence="Something is odd.")
    assert tasks.mail_alerts() == 0
    assert mail.outbox == []


def test_addresses_in_the_settings_have_the_mail_instead(owner: Person, stranger: Person, settings: Any) -> None:
    sees_alerts(stranger)
    settings.ALERT_EMAILS = ["desk@example.org", "night@example.org"]
    alerts.open_alert("odd_thing", sentence="Something is odd.")
    tasks.mail_alerts()
    assert [one.to for one in mail.outbox] == [["desk@example.org"], ["night@example.org"]]


def test_alerts_of_one_kind_that_come_together_share_a_mail(owner: Person, settings: Any) -> None:
    settings.ALERT_EMAILS, settings.PUBLIC_URL = ["desk@example.org"], "https://credits.example.com"
    for number in range(23):
        alerts.open_alert("group_quarantined", key=f"{number:02}", sentence=f"Set aside, number {number:02}.")
    alerts.open_alert("odd_thing", sentence="Something is odd.")
    tasks.mail_alerts()
    tasks.mail_alerts()
    aside, odd = mail.outbox
    assert (aside.subject, odd.subject) == (
        "Holdfast: Alert: A movement of credits was set aside (23)",
        "Holdfast: Alert: odd thing",
    )
    assert ["number 19" in aside.body, "number 20" in aside.body, "… and 3 more." in aside.body] == [True, False, True]
    assert "https://credits.example.com/admin/billing/alert/?name=group_quarantined" in aside.body


def test_facts_are_told_in_words(owner: Person) -> None:
    facts = {
        "held_credits": "1234.5",
        "held_since_at": "2026-11-21T16:40:09+00:00",
        "blocked_percent": "25.0",
        "is_late": True,
        "nothing": None,
        "by_code": {"timeout": 3, "moderation_blocked": 1},
        "ids": ["a", "b"],
        "said": "two\nlines",
    }
    assert alerts.told_facts(Alert(name="x", facts=facts)) == [
        ("Held since", "21 Nov 2026, 16:40 UTC"),
        ("Blocked", "25.0 %"),
        ("Held credits", "1,234.50 credits"),
        ("By code", "Moderation blocked 1, Timeout 3"),
        ("Ids", "a, b"),
        ("Is late", "yes"),
        ("Said", "two lines"),
    ]


def test_an_alert_over_before_its_mail_is_told_all_the_same(owner: Person, settings: Any, clock: Clock) -> None:
    settings.ALERT_EMAILS = ["desk@example.org"]
    alerts.open_alert("odd_thing", sentence="Something was odd.")
    alerts.clear_alert("odd_thing")
    tasks.mail_alerts()
    (sent,) = mail.outbox
    assert "Over since: " in sent.body
    alerts.open_alert("odd_thing", sentence="Something was odd.")
    alerts.clear_alert("odd_thing")
    clock.advance(days=2)
    assert tasks.mail_alerts() == 0


def test_an_alert_that_the_mail_server_refuses_is_tried_again(owner: Person, settings: Any) -> None:
    settings.ALERT_EMAILS = ["desk@example.org"]
    alerts.open_alert("odd_thing", sentence="Something is odd.")
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    assert tasks.mail_alerts() == 0
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    assert tasks.mail_alerts() == 1
    assert len(mail.outbox) == 1


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
