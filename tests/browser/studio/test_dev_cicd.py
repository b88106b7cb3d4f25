"""The half of CI/CD in the browser: the same stages and refusals as the server's, and single lines' faults."""

from typing import Any

import pytest
from playwright.sync_api import Browser

from tools_registry.studio import BadInput
from tools_registry.studios.dev import cicd

from .bench import opened

SCRIPT = "dev/cicd"
WRONG: list[dict[str, Any]] = [
    {"manager": "npm"},
    {"versions": ["3.12", "3.12"]},
    {"versions": ["a b"]},
    {"branch": "a..b"},
    {"image": "Upper/Case"},
    {"jobs": ["deploy"]},
    {"jobs": ["deploy"], "deploy_command": "x", "triggers": ["schedule"]},
    {"jobs": ["deploy"], "deploy_command": "x", "secrets": ["A", "a"]},
    {"secrets": ["A"]},
]


def test_the_browser_says_what_the_server_says(browser: Browser) -> None:
    with opened(browser, SCRIPT) as half:
        shown = half.view(dict(cicd.TOOL.example))
        assert shown.problems == {}
        assert (shown.fact("Jobs"), shown.fact("Stages"), shown.fact("Machines for each change")) == (6, 4, 9)
        whole = cicd.run(cicd.TOOL.clean(dict(cicd.TOOL.example) | {}) | {"workflow": None}, {})
        stages = {name: number for number, stage in enumerate(whole.result["stages"], 1) for name in stage}
        assert {row[0]: row[1] for row in shown.block("Jobs")["rows"]} == stages
        for inputs in WRONG:
            cleaned, files = cicd.TOOL.clean_with_files(inputs, {})
            with pytest.raises(BadInput) as refused:
                cicd.run(cleaned, files)
            assert half.view(inputs).problems == {name: said[0] for name, said in refused.value.fields.items()}


def test_a_pasted_workflow_is_read_line_by_line(browser: Browser) -> None:
    with opened(browser, SCRIPT) as half:
        shown = half.view({"action": "check", "workflow": cicd.EXAMPLE})
        assert {(severity, where) for severity, _, where in shown.found("What its lines tell")} >= {
            ("critical", "line 9"),
            ("critical", "line 10"),
            ("high", "line 5"),
            ("high", "line 7"),
            ("high", "line 18"),
            ("high", "jobs.release.needs"),
        }
        assert shown.fact("Jobs") == 2


def test_no_draft_makes_it_fail(browser: Browser) -> None:
    with opened(browser, SCRIPT) as half:
        odd: tuple[Any, ...] = (None, 7, "x", [], {}, [None, 3, {}], "${{", True)
        for one in odd:
            assert half.view(one).blocks
            for of in cicd.TOOL.fields:
                assert half.view(dict(cicd.TOOL.example) | {of.name: one}).blocks
                assert half.view({"action": "check", of.name: one}).blocks
        for cut in range(0, len(cicd.EXAMPLE), 20):
            assert half.view({"action": "check", "workflow": cicd.EXAMPLE[:cut]}).blocks
