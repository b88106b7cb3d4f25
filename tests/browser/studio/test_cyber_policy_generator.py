"""The policy generator in the browser: the server's decisions, calendar, advice and contradictions."""

import pytest
from playwright.sync_api import Browser

from tools_registry.studio import BadInput
from tools_registry.studios.cyber.policy_generator import TOOL

from .bench import opened

STRICT = {
    "sector": "finance",
    "mfa": "none",
    "password_length": 10,
    "rotation_days": 90,
    "data": ["special", "children"],
    "regulations": ["gdpr", "nis2", "hipaa"],
    "approver": "head of it",
    "policies": ["vendor", "acceptable_use", "backup"],
    "privacy": "",
    "report_hours": 48,
    "restore_hours": 30,
    "review_months": 30,
    "effective": "2027-11-30",
}


def test_it_says_what_the_server_says(browser: Browser) -> None:
    assert TOOL.function is not None
    with opened(browser, "cyber/policy_generator") as half:
        for more in ({}, STRICT, {"data": [], "regulations": [], "rpo_hours": 24, "develops": True}):
            inputs = dict(TOOL.example) | more
            shown = half.view(inputs)
            assert shown.problems == {}
            there = TOOL.function(*TOOL.clean_with_files(inputs, {})).result
            assert shown.block("What your answers decide")["rows"] == [list(one.values()) for one in there["decisions"]]
            assert shown.block("Due in the first year")["rows"] == [list(one.values()) for one in there["calendar"]]
            assert shown.block("Before you sign")["rows"] == there["findings"]
            assert shown.fact("Next review") == there["next_review"]


def test_contradictions_are_told_where_they_stand(browser: Browser) -> None:
    assert TOOL.function is not None
    with opened(browser, "cyber/policy_generator") as half:
        for more in (
            {"data": ["personal"]},
            {"password_length": 8},
            {"mfa": "none"},
            {"remote": "none"},
            {"restore_hours": 100},
        ):
            inputs = dict(TOOL.example) | more
            with pytest.raises(BadInput) as error:
                TOOL.function(*TOOL.clean_with_files(inputs, {}))
            assert half.view(inputs).problems == {name: said[0] for name, said in error.value.fields.items()}
        assert half.view({"effective": "2026-02-30"}).problems["effective"].startswith("This day does not exist")
        for odd in (None, {}, [], {"policies": 7, "data": "x", "mfa": ["all"], "sector": "constructor"}):
            assert half.view(odd).fact("Still open") == 5
