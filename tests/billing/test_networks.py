"""How many new accounts one address and one network may bring on a day; whose address it is that counts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.test import Client, RequestFactory

from billing import networks, people, plans
from billing.clock import now
from billing.credits import MICRO
from billing.models import Account, Alert, Enrollment, SpendLimit
from tests.conftest import Clock

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _bounds(transactional_db: None, clock: Clock, settings: Any) -> Iterator[None]:
    settings.SIGN_UPS_OF_ADDRESS_MAX, settings.SIGN_UPS_OF_NETWORK_MAX = 2, 3
    settings.FREE_PLANS_OF_NETWORK_MAX = 2
    settings.ACCOUNT_RATE_LIMITS = {"signup": False}
    plans.install()
    cache.clear()
    yield
    cache.clear()


def behind_proxy(settings: Any) -> None:
    settings.IS_BEHIND_PROXY, settings.ALLAUTH_TRUSTED_PROXY_COUNT = True, 1
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"NUM_PROXIES": 1}


def request_from(address: str, **headers: Any) -> Any:
    return RequestFactory().get("/", REMOTE_ADDR=address, **headers)


def sign_up(name: str, address: str = "192.0.2.7", **headers: Any) -> Any:
    words = {
        "email": f"{name}@people.test",
        "password1": "a long enough pass",
        "password2": "a long enough pass",
    }
    return Client(REMOTE_ADDR=address).post("/accounts/signup/", words, **headers)


@pytest.mark.parametrize(
    ("told", "address", "network"),
    [
        ("192.0.2.7", "192.0.2.7/32", "192.0.2.0/24"),
        ("192.0.2.255", "192.0.2.255/32", "192.0.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("::ffff:192.0.2.7", "192.0.2.7/32", "192.0.2.0/24"),
        ("[2001:db8::1]", "2001:db8::/64", "2001:db8::/48"),
        ("fe80::1%eth0", "fe80::/64", "fe80::/48"),
        ("nonsense", "nonsense", "nonsense"),
        ("", "", ""),
    ],
)
def test_addresses_belong_to_their_networks(told: str, address: str, network: str) -> None:
    assert networks.of(request_from(told)) == (address, network)


def test_an_address_brings_so_many_a_day(clock: Clock) -> None:
    assert [sign_up(f"a{n}").status_code for n in range(3)] == [302, 302, 429]
    assert User.objects.filter(email__endswith="@people.test").count() == 2
    assert Account.objects.count() == 2
    page = sign_up("a9").content.decode()
    assert "No more new accounts from here today" in page
    assert "Come back tomorrow" in page
    assert sign_up("b1", "192.0.2.8").status_code == 302
    alert = Alert.objects.get(name="sign_ups_bounded")
    assert (alert.key, alert.facts["address"]) == ("192.0.2.0/24", "192.0.2.7/32")
    clock.advance(days=1)
    assert sign_up("a9").status_code == 302


def test_a_network_brings_so_many_a_day_over_all_its_addresses() -> None:
    statuses = [sign_up(f"a{n}", f"192.0.2.{n}").status_code for n in range(1, 6)]
    assert statuses == [302, 302, 302, 429, 429]
    assert sign_up("elsewhere", "198.51.100.1").status_code == 302
    six = [sign_up(f"s{n}", f"2001:db8:5:{n}::1").status_code for n in range(1, 6)]
    assert six == [302, 302, 302, 429, 429], "whoever has a /48 has many /64"


def test_an_address_that_has_an_account_already_costs_nothing_and_says_nothing() -> None:
    assert sign_up("a1").status_code == 302
    for _ in range(5):
        assert sign_up("a1").status_code == 302  # as for a new one: who is here is nobody's business
    assert sign_up("a2").status_code == 302


def test_what_a_client_writes_into_its_request_is_not_believed(settings: Any) -> None:
    """Without a proxy the header is nobody's; with one only the address that the proxy itself added counts."""
    spoofed = [f"203.0.113.{n}" for n in range(9)]
    statuses = [sign_up(f"a{n}", HTTP_X_FORWARDED_FOR=spoofed[n]).status_code for n in range(3)]
    assert statuses == [302, 302, 429]
    behind_proxy(settings)
    statuses = [
        sign_up(f"b{n}", "10.0.0.1", HTTP_X_FORWARDED_FOR=f"{spoofed[n]}, 198.51.100.7").status_code for n in range(3)
    ]
    assert statuses == [302, 302, 429]
    assert sign_up("c", "10.0.0.1", HTTP_X_FORWARDED_FOR="198.51.101.7").status_code == 302
    assert Alert.objects.filter(key="198.51.100.0/24").exists()


def test_a_storm_of_sign_ups_gets_no_more_through() -> None:
    statuses: list[int] = []

    def one(number: int) -> None:
        try:
            statuses.append(sign_up(f"storm{number}", f"192.0.2.{number}").status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=[number]) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [302] * 3 + [429] * 9


# What slips through


def verify(name: str, address: str) -> Enrollment:
    """A person who was signed up elsewhere shows from that address that the mail's is theirs."""
    person = User.objects.create_user(name, f"{name}@people.test")
    mail = EmailAddress.objects.create(user=person, email=person.email, verified=True, primary=True)
    people.enroll_verified(mail, request=request_from(address))
    return Enrollment.objects.get(account__memberships__user=person)


def balance(row: Enrollment) -> int:
    return Account.objects.get(id=row.account_id).balance


def test_first_credits_of_many_new_accounts_come_day_by_day(clock: Clock) -> None:
    rows = [verify(f"p{n}", f"192.0.2.{n}") for n in range(1, 6)]
    assert [balance(row) // MICRO for row in rows] == [300, 300, 0, 0, 0]
    today = now().replace(hour=0, minute=0, second=0, microsecond=0)
    assert [row.period_end for row in rows[2:]] == [today + timedelta(days=days) for days in (1, 1, 2)]
    coming = plans.next_allocation(rows[4])
    assert coming == (today + timedelta(days=2), 300 * MICRO), "and the page says when"
    assert Alert.objects.get(name="free_plans_wait").key == "192.0.2.0/24"
    assert balance(verify("elsewhere", "198.51.100.1")) == 300 * MICRO
    assert plans.allocate_free() == 0
    clock.advance(days=1)
    plans.allocate_free()
    assert [balance(row) // MICRO for row in rows] == [300, 300, 300, 300, 0]
    assert balance(verify("later", "192.0.2.99")) == 0, "the places of that day are taken"
    clock.advance(days=1)
    plans.allocate_free()
    assert [balance(row) // MICRO for row in rows] == [300] * 5
    plans.allocate_free()
    assert [balance(row) // MICRO for row in rows] == [300] * 5


def test_who_is_on_a_plan_already_takes_no_place() -> None:
    row = verify("p1", "192.0.2.1")
    mail = EmailAddress.objects.get(email="p1@people.test")
    for _ in range(5):
        people.enroll_verified(mail, request=request_from("192.0.2.1"))
    assert balance(row) == 300 * MICRO
    assert balance(verify("p2", "192.0.2.2")) == 300 * MICRO


def test_a_waiting_plans_limits_bind_already() -> None:
    for number in (1, 2):
        verify(f"p{number}", "192.0.2.1")
    row = verify("p3", "192.0.2.1")
    assert SpendLimit.objects.get(account=row.account_id, source="plan").per_day == 30 * MICRO
