"""The shipped plans of an installation that is older than one of their terms."""

from __future__ import annotations

from importlib import import_module
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection

from billing import plans, price_list
from billing.clock import now
from billing.models import Approval, Enrollment, Plan, SpendLimit

from .purse import Purse

pytestmark = pytest.mark.django_db
DEFAULTS = import_module("billing.migrations.0020_shipped_plans_say_how_many_jobs").DEFAULTS


def upgrade() -> None:
    with connection.cursor() as cursor:
        cursor.execute(DEFAULTS)


def say_nothing() -> None:
    """The plans as they were before they said how many jobs run at once."""
    plans.install()
    Plan.objects.update(jobs_at_once_max=None)


def most(slug: str) -> int | None:
    return Plan.objects.get(slug=slug).jobs_at_once_max


def choose(plan: Plan, jobs: int | None, state: str = "approved") -> None:
    """Staff's change of its terms, on a second person's word."""
    asker, decider = (User.objects.create(username=str(uuid4())) for _ in range(2))
    Approval.objects.create(
        act="change_plan", amount=0, instruction={"row": str(plan.id), "terms": {"jobs_at_once_max": jobs}},
        reason="r", state=state, asked_by=asker, decided_by=None if state == "waiting" else decider,
    )  # fmt: skip


def test_each_has_the_number_that_a_new_installation_gives_it() -> None:
    say_nothing()
    Plan.objects.create(slug="team", title="Team", price_minor=50_000, monthly_credits=1)
    upgrade()
    shipped = {str(plan["slug"]): plan["jobs_at_once_max"] for plan in price_list.PLANS}
    assert {slug: most(slug) for slug in shipped} == shipped
    assert most("team") is None, "one of staff's own says what they wrote"
    upgrade()
    assert {slug: most(slug) for slug in shipped} == shipped


def test_what_staff_chose_stands() -> None:
    say_nothing()
    Plan.objects.filter(slug="free").update(jobs_at_once_max=2)
    choose(Plan.objects.get(slug="supporter"), None)
    choose(Plan.objects.get(slug="pro"), None, "declined")
    upgrade()
    assert [most(slug) for slug in ("free", "supporter", "pro")] == [2, None, 40]


def test_its_accounts_are_bound_by_it() -> None:
    say_nothing()
    on, on_other, over = Purse(), Purse(), Purse()
    Plan.objects.create(slug="team", title="Team", price_minor=50_000, monthly_credits=1)
    for purse, slug, state in ((on, "pro", "grace"), (on_other, "team", "active"), (over, "pro", "ended")):
        plan = Plan.objects.get(slug=slug)
        ended_at = now() if state == "ended" else None
        Enrollment.objects.create(account_id=purse.id, plan=plan, state=state, started_at=now(), ended_at=ended_at)
        SpendLimit.objects.create(account_id=purse.id, source="plan")
    upgrade()
    bound = dict(SpendLimit.objects.values_list("account", "jobs_at_once_max"))
    assert (bound[on.id], bound[on_other.id], bound[over.id]) == (40, None, None)
