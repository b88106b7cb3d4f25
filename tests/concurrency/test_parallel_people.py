"""A person who opens their account eight times at once has one."""

import threading
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection

from billing.models import Account, Membership
from billing.people import open_account


@pytest.mark.django_db(transaction=True)
def test_an_own_account_is_opened_once() -> None:
    person = User.objects.create_user("olga@people.test", "olga@people.test")
    start = threading.Barrier(8)
    opened: list[UUID] = []

    def one() -> None:
        start.wait(60)
        try:
            opened.append(open_account(person).id)
        finally:
            connection.close()

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 8
    assert len(set(opened)) == Account.objects.count() == Membership.objects.count() == 1
