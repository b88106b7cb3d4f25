"""People and their accounts: whoever signs up has one, once; a session speaks only for accounts of its person."""

import re
from typing import Any

import pytest
from django.core import mail
from django.test import Client, RequestFactory

from billing.models import Account, Membership
from billing.people import choose_account, may, open_account, person_called, role_in
from tests.people import Person

pytestmark = pytest.mark.django_db


def test_an_own_account_is_opened_once() -> None:
    person = Person("olga@people.test")
    assert open_account(person.user).id == open_account(person.user).id == person.own
    assert Account.objects.count() == 1
    assert role_in(person.user, person.own) == "owner"


def test_a_member_of_others_still_has_an_account_of_their_own() -> None:
    olga = Person("olga@people.test")
    milo = Person("milo@people.test", account=olga.account, role="member")
    assert milo.own != olga.account
    assert (role_in(milo.user, olga.account), may(olga.user, milo.own)) == ("member", False)


def test_only_an_account_of_ones_own_is_chosen(rf: RequestFactory) -> None:
    olga, sam = Person("olga@people.test"), Person("sam@people.test")
    request: Any = rf.get("/")
    request.user, request.session = sam.user, {}
    assert not choose_account(request, olga.account)
    assert request.session == {}
    assert choose_account(request, sam.account)


def test_who_signs_up_has_an_account_and_may_spend_after_the_mail_was_answered(settings: Any) -> None:
    settings.ACCOUNT_RATE_LIMITS = {}
    client = Client()
    words = {"email": "new@people.test", "password1": "harbour-lamp-42", "password2": "harbour-lamp-42"}
    assert client.post("/accounts/signup/", words).status_code == 302
    person = person_called("NEW@people.test")
    own = Membership.objects.get(user=person)
    assert (own.is_own, own.role, own.account.balance) == (True, "owner", 0)
    found = re.search(r"/accounts/confirm-email/[^\s]+", mail.outbox[0].body)
    assert found is not None
    assert client.post(found[0]).status_code == 302
    assert person.emailaddress_set.get().verified
    assert client.get("/api/credits/balance").json()["available"] == "0"
