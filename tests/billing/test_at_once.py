"""How much a plan lets an account have under way at once: open holds of every kind, and jobs among them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from billing import errors, ledger, plans, steps
from billing.models import Enrollment, Plan, SpendLimit
from tests.conftest import Clock

from .purse import HOUR, Purse

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _plans(db: None, clock: Clock) -> None:
    plans.install()


def bound(purse: Purse, source: str = "plan", **most: Any) -> None:
    SpendLimit.objects.create(account_id=purse.id, source=source, **most)
    purse.grant(1000)


def of_plan(purse: Purse) -> tuple[int | None, int | None]:
    row = SpendLimit.objects.get(account=purse.id, source="plan")
    return row.open_holds_max, row.jobs_at_once_max


def test_a_plan_runs_so_many_jobs_at_once(purse: Purse) -> None:
    bound(purse, jobs_at_once_max=2)
    first = purse.place(1)
    purse.place(1)
    with purse.refuses(errors.TooManyJobsAtOnce, jobs_at_once=2, jobs_at_once_max=2, source="plan"):
        purse.place(1)
    purse.place(1, owner="user:1")  # a hold of the API is no job
    purse.capture(first)
    purse.place(1)
    with pytest.raises(errors.TooManyJobsAtOnce, match="Your plan runs up to 2 jobs at once, and 2 are under way"):
        purse.place(1)
    purse.charge(1)  # what is spent at once is never under way


@pytest.mark.parametrize("end", ["release", "capture"])
def test_jobs_are_counted_within_a_batch(purse: Purse, end: str) -> None:
    bound(purse, jobs_at_once_max=2)
    going = purse.place(1)
    job = steps.PlaceHold(amount=1, reference="r", owner="job", expires_in_seconds=HOUR)
    ends: steps.Step = steps.Release(hold=going) if end == "release" else steps.Capture(hold=going)
    groups = [ledger.Group(purse.id, group) for group in ([job], [job], [ends], [job], [job])]
    refusals = [type(outcome.refusal).__name__ for outcome in ledger.post(groups)]
    assert refusals == ["NoneType", "TooManyJobsAtOnce", "NoneType", "NoneType", "TooManyJobsAtOnce"]


def test_each_open_share_of_an_envelope_is_a_job(purse: Purse) -> None:
    bound(purse, jobs_at_once_max=4)
    shares = tuple((f"clip-{number}", 1) for number in range(3))
    with pytest.raises(errors.TooManyJobsAtOnce):
        purse.place(5, shares=tuple((f"clip-{number}", 1) for number in range(5)))
    envelope = purse.place(3, shares=shares)
    purse.place(1)
    with purse.refuses(errors.TooManyJobsAtOnce, jobs_at_once=4):
        purse.place(1)
    ledger.draw(purse.id, hold=envelope, reference="clip-0", amount=1)
    purse.place(1)
    with purse.refuses(errors.TooManyJobsAtOnce, jobs_at_once=4):
        purse.place(1)


def test_the_tightest_limit_on_open_holds_binds(purse: Purse, settings: Any) -> None:
    settings.OPEN_HOLDS_MAX = 3
    bound(purse, open_holds_max=2)
    purse.place(1, owner="user:1")
    purse.place(1)
    with purse.refuses(errors.TooManyOpenHolds, open_holds=2, open_holds_max=2, source="plan"):
        purse.place(1, owner="user:1")
    SpendLimit.objects.filter(account=purse.id).update(open_holds_max=10)
    purse.place(1)
    with purse.refuses(errors.TooManyOpenHolds, open_holds=3, open_holds_max=3):
        purse.place(1)


def test_staffs_limits_replace_the_plans(purse: Purse) -> None:
    bound(purse, jobs_at_once_max=1, open_holds_max=1)
    bound(purse, source="staff", jobs_at_once_max=2)
    purse.place(1)
    purse.place(1)
    with purse.refuses(errors.TooManyJobsAtOnce, jobs_at_once_max=2, source="staff"):
        purse.place(1)
    purse.place(1, owner="user:1")


def test_a_plan_without_a_limit_has_none(purse: Purse) -> None:
    bound(purse, per_day=500)
    for _ in range(12):
        purse.place(1)


def test_too_many_at_once_comes_before_limits_and_credits_and_after_open_holds(purse: Purse, settings: Any) -> None:
    bound(purse, jobs_at_once_max=1, per_run=5)
    purse.place(1)
    with purse.refuses(errors.TooManyJobsAtOnce):
        purse.place(2000)
    settings.OPEN_HOLDS_MAX = 1
    with purse.refuses(errors.TooManyOpenHolds):
        purse.place(2000)


# Whose limits an account has


def test_the_free_plans_limits_bind_from_its_begin(purse: Purse) -> None:
    free = Plan.objects.get(slug="free")
    assert free.jobs_at_once_max
    assert plans.begin_free(purse.id)
    assert of_plan(purse) == (free.open_holds_max, free.jobs_at_once_max)


def test_new_terms_count_from_the_next_month_on(purse: Purse, clock: Clock) -> None:
    plans.begin_free(purse.id)
    Plan.objects.filter(slug="free").update(jobs_at_once_max=1, open_holds_max=None, per_day=7)
    plans.allocate_free()
    assert of_plan(purse)[1] != 1
    clock.advance(days=31)
    plans.allocate_free()
    assert of_plan(purse) == (None, 1)
    assert SpendLimit.objects.get(account=purse.id).per_day == 7


def test_the_end_of_a_plan_brings_back_the_free_ones_or_none(purse: Purse) -> None:
    pro = Plan.objects.get(slug="pro")
    row = Enrollment.objects.create(
        account_id=purse.id, plan=pro, state="pending", started_at="2026-01-01T00:00Z", stripe_subscription="sub_1"
    )
    period = plans.Period(row_start := plans.now(), row_start + timedelta(days=365))
    plans.told(
        row.id, "active", subscription="sub_1", at=period.start, period=period, is_ending=False, next_plan=None,
        is_fresh=True, heard=None,
    )  # fmt: skip
    assert of_plan(purse) == (pro.open_holds_max, pro.jobs_at_once_max)
    plans.payment_failed(row.id, "in_1", "sub_1")
    assert of_plan(purse) == (pro.open_holds_max, pro.jobs_at_once_max), "in grace the plan's features stay"
    free = Plan.objects.get(slug="free")
    plans.end(row.id)
    assert of_plan(purse) == (free.open_holds_max, free.jobs_at_once_max)


def test_where_no_plan_is_left_nothing_of_the_last_one_binds(purse: Purse) -> None:
    plans.begin_free(purse.id)
    row = Enrollment.objects.get(account=purse.id)
    Plan.objects.filter(slug="free").update(slug="gone")
    plans.end(row.id)
    assert not SpendLimit.objects.filter(account=purse.id).exists()
