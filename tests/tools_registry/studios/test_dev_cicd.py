"""Pipelines fit GitHub's schema and our own rules whatever is chosen; planted faults are found, each with its line."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tools_registry.studio import BadInput
from tools_registry.studios.dev import cicd, workflows
from tools_registry.studios.dev.cicd import JOBS, LANGUAGES, TOOL, TRIGGERS

from .tabular import file, run

SCHEMA = json.loads((Path(workflows.__file__).parent / "schemas/github_workflow.json").read_text())
ODD = 'it\'s "odd": - #x & *y | > % @ `id` $(id) {{ 7 }} ☃'


def built(**inputs: Any) -> tuple[dict[str, Any], Any]:
    """The workflow as PyYAML reads it, and the result."""
    result = run(TOOL, inputs)
    workflow = yaml.safe_load(file(result, "pipeline.yml"))
    workflow["on"] = workflow.pop(True)  # "on" is true to YAML 1.1
    jsonschema.validate(workflow, SCHEMA)
    yaml.safe_load(file(result, "dependabot.yml"))
    return workflow, result


def check(text: str) -> Any:
    return run(TOOL, {"action": "check"}, workflow=("w.yml", text.encode())).result


def found(text: str) -> set[tuple[str, int]]:
    return {(one["rule"], one["line"]) for one in check(text)["findings"]}


def test_the_example_is_what_was_asked_for() -> None:
    workflow, result = built(**TOOL.example)
    assert result.result["stages"] == [["lint", "test", "scan"], ["build"], ["container"], ["deploy"]]
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["jobs"]["test"]["strategy"]["matrix"] == {
        "os": ["ubuntu-24.04", "macos-15"],
        "version": ["3.12", "3.13"],
    }
    deploy = workflow["jobs"]["deploy"]
    assert deploy["if"] == "github.event_name == 'push' && github.ref == 'refs/heads/main'"
    assert deploy["environment"] == {"name": "production"}
    assert deploy["steps"][-1]["env"] == {"DEPLOY_KEY": "${{ secrets.DEPLOY_KEY }}"}
    assert workflow["jobs"]["container"]["permissions"] == {"contents": "read", "packages": "write"}
    assert {one["severity"] for one in result.result["findings"]} <= {"low", "info"}


# The first major version of each that runs on Node 24, by the actions' own release notes
ON_NODE_24 = {
    "actions/checkout": 5,
    "actions/setup-python": 6,
    "actions/setup-node": 5,
    "actions/setup-go": 6,
    "actions/setup-java": 5,
    "actions/cache": 5,
    "actions/upload-artifact": 6,
    "actions/download-artifact": 7,
    "astral-sh/setup-uv": 7,
    "pnpm/action-setup": 5,
    "docker/setup-buildx-action": 4,
    "docker/login-action": 4,
    "docker/metadata-action": 6,
    "docker/build-push-action": 7,
}


def test_no_action_needs_a_node_that_runners_no_longer_have() -> None:
    for action in cicd.ACTIONS.values():
        name, _, version = action.partition("@v")
        assert int(version) >= ON_NODE_24[name], action
    for scaffold in (Path(cicd.__file__).parent / "scaffolds").rglob("*.yml.jinja"):
        for name, version in re.findall(r"uses: ([\w./-]+)@v(\d+)", scaffold.read_text()):
            assert int(version) >= ON_NODE_24[name], scaffold


def test_a_strategy_without_a_matrix_is_what_github_takes() -> None:
    """GitHub's own template for conda has one, whatever the public schema says."""
    job = "runs-on: ubuntu-24.04, strategy: {max-parallel: 5}, steps: [{run: make}]"
    assert check(f"on: push\njobs:\n  test: {{{job}}}\n")["is_valid"] is True
    assert check(f"on: push\njobs:\n  test: {{{job.replace('parallel', 'paralel')}}}\n")["is_valid"] is False


def test_the_checks_to_require_are_called_as_github_calls_them() -> None:
    """A required check that nothing reports blocks every merge."""
    asked = {"jobs": ["lint", "test", "build", "scan", "container"], "triggers": ["pull_request"]}
    workflow, result = built(**asked, versions=["3.12", "3.13"], systems=["ubuntu", "macos"])
    (said,) = [one for one in result.result["next"] if "checks" in one]
    names = said.partition(": ")[2].removesuffix(".").split("; ")
    matrix = workflow["jobs"]["test"]["strategy"]["matrix"]
    real = {job["name"] for name, job in workflow["jobs"].items() if name not in ("test", "container")}
    for version, system in itertools.product(matrix["version"], matrix["os"]):
        called = workflow["jobs"]["test"]["name"].replace("${{ matrix.version }}", version)
        real.add(called.replace("${{ matrix.os }}", system))
    assert set(names) == real
    assert "Test (3.13, macos-15)" in names
    _, result = built(**asked, versions=["3.13"])
    assert "require these checks before a merge: Lint; Test; Build; Scan dependencies." in result.result["next"][-1]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_pipeline_fits_the_schema_and_our_rules(language: str) -> None:
    for manager in ("auto", *LANGUAGES[language].managers):
        for count in (1, 3, 4, 6):
            for jobs in (list(JOBS)[:count], list(JOBS)[-count:]):
                for triggers in (["push", "pull_request"], list(TRIGGERS), ["tag", "manual"]):
                    chosen: dict[str, Any] = {
                        "language": language,
                        "manager": manager,
                        "jobs": jobs,
                        "triggers": triggers,
                    }
                    chosen |= {"deploy_command": "make deploy", "cache": count % 2 == 0}
                    chosen |= {"image": "registry.example.org/x/y"} if count % 3 == 0 else {}
                    workflow, result = built(**chosen)
                    assert list(workflow["jobs"]) == [one for one in JOBS if one in jobs]
                    assert result.result["is_valid"]
                    assert {one["severity"] for one in result.result["findings"]} <= {"low", "info"}, chosen


def test_different_inputs_give_different_pipelines_and_the_same_the_same_bytes() -> None:
    one, two = (run(TOOL, dict(TOOL.example)) for _ in range(2))
    assert one.files == two.files
    other, _ = built(language="go", jobs=["test", "build"])
    assert any("go test ./..." in str(step.get("run")) for step in other["jobs"]["test"]["steps"])
    assert "npm ci" in file(run(TOOL, {"language": "node"}), "pipeline.yml")


def test_names_and_commands_stay_what_they_are() -> None:
    commands = f"echo {ODD}\nif true; then\n  jobs:\n  deploy:\nfi  "
    workflow, _ = built(
        name=ODD, environment=ODD, jobs=["test", "deploy"], test_command=commands, deploy_command=f"echo '{ODD}'"
    )
    assert workflow["name"] == ODD
    assert workflow["jobs"]["deploy"]["environment"] == {"name": ODD}
    assert workflow["jobs"]["test"]["steps"][-1]["run"] == commands.strip()
    assert workflow["jobs"]["deploy"]["steps"][-1]["run"] == f"echo '{ODD}'"
    assert list(workflow["jobs"]) == ["test", "deploy"]


def test_a_release_takes_nothing_from_a_cache() -> None:
    for triggers, is_cached in ((["push"], True), (["push", "tag"], False)):
        jobs = built(jobs=["test", "build", "container"], triggers=triggers)[0]["jobs"]
        assert jobs["test"]["steps"][1]["with"].get("cache") == "pip"
        assert ("cache" in jobs["build"]["steps"][1]["with"]) == is_cached
        assert ("cache-from" in jobs["container"]["steps"][-1]["with"]) == is_cached


def test_versions_stay_texts() -> None:
    workflow, _ = built(versions=["3.10", "3.11"])
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["version"] == ["3.10", "3.11"]


def test_an_injection_in_ones_own_command_is_found() -> None:
    result = run(TOOL, {"test_command": "echo ${{ github.event.pull_request.title }}\nmake test"}).result
    (worst,) = [one for one in result["findings"] if one["severity"] == "critical"]
    assert worst["rule"] == "injection"
    assert "github.event.pull_request.title" in result["workflow"].split("\n")[worst["line"] - 1]


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ({"manager": "npm"}, "manager"),
        ({"versions": ["3.12", "3.12"]}, "versions"),
        ({"versions": ["${{ x }}"]}, "versions.0"),
        ({"branch": "a b"}, "branch"),
        ({"branch": "../x"}, "branch"),
        ({"branch": "x' || true"}, "branch"),
        ({"image": "Upper/Case"}, "image"),
        ({"image": "nginx"}, "image"),
        ({"name": "${{ secrets.X }}"}, "name"),
        ({"environment": "a\nb"}, "environment"),
        ({"jobs": ["deploy"]}, "deploy_command"),
        ({"jobs": ["deploy"], "deploy_command": "x", "triggers": ["schedule"]}, "triggers"),
        ({"jobs": ["deploy"], "deploy_command": "x", "secrets": ["A", "a"]}, "secrets"),
        ({"jobs": ["deploy"], "deploy_command": "x", "secrets": ["A-B"]}, "secrets.0"),
        ({"secrets": ["A"]}, "secrets"),
        ({"action": "check"}, "workflow"),
    ],
)
def test_what_is_refused_is_named(inputs: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput) as refused:
        run(TOOL, inputs)
    assert list(refused.value.fields) == [field]


def test_the_planted_faults_are_found_with_their_lines() -> None:
    assert found(cicd.EXAMPLE) == {
        ("checkout-of-a-fork", 7),
        ("injection", 10),
        ("secrets-in-pull-request", 4),
        ("runner-gone", 5),
        ("unpinned-action", 7),
        ("unknown-need", 15),
        ("write-all", 18),
        ("pull-request-target", 2),
        ("permissions", 4),
        ("timeout", 4),
        ("tag-can-move", 20),
    }


def judged(text: str) -> tuple[Any, Any]:
    """The refusal, or the result."""
    try:
        return None, check(text)
    except BadInput as refused:
        return refused.fields, None


JOB = "on: push\npermissions: {}\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    timeout-minutes: 5\n    steps:\n"


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("      - run: make\n", set()),
        ("      - uses: actions/checkout@v5\n", set()),
        ("      - uses: x/y@0123456789012345678901234567890123456789\n", set()),
        ("      - uses: x/y@v1\n", {("tag-can-move", 8)}),
        ("      - uses: x/y@main\n", {("unpinned-action", 8)}),
        ("      - uses: ./.github/actions/x\n", set()),
        ("      - uses: docker://alpine:latest\n", {("unpinned-image", 8)}),
        ("      - uses: actions/upload-artifact@v3\n", {("action-gone", 8)}),
        ("      - run: |\n          one\n          echo ${{ github.head_ref }}\n", {("injection", 10)}),
        ("      - run: echo ${{ github.sha }}\n", set()),
        ("      - run: echo $T\n        env:\n          T: ${{ github.event.issue.title }}\n", set()),
        ("      - run: echo ${{ inputs.name }}\n", {("input-in-script", 8)}),
        ("      - run: echo ${{ secrets.KEY }}\n", {("secret-in-script", 8)}),
        ('      - run: echo "::set-output name=a::b"\n', {("old-command", 8)}),
        ("      - run: make\n        if: ${{ github.ref }} == 'x'\n", {("always-true", 9)}),
        ("      - run: make\n        if: ${{ github.ref == 'x' }}\n", set()),
        ("      - run: echo ${{ github.sha\n", {("expression", 8)}),
        (f"      - run: echo AKIA{'A' * 16}\n", {("written-secret", 8)}),
        ("      - id: x\n        run: a\n      - id: x\n        run: b\n", {("step-id", 10)}),
        ("      - run: a\n        run: b\n", {("twice", 9)}),
        (
            "      - uses: actions/github-script@v8\n        with:\n"
            "          script: x(`${{ github.event.comment.body }}`)\n",
            {("injection", 10)},
        ),
    ],
)
def test_each_rule(step: str, expected: set[tuple[str, int]]) -> None:
    assert found(JOB + step) == expected


def test_jobs_that_wait_for_each_other() -> None:
    job = "  {}:\n    needs: {}\n    runs-on: ubuntu-24.04\n    timeout-minutes: 1\n    steps: [{{run: x}}]\n"
    result = check("on: push\npermissions: {}\njobs:\n" + job.format("a", "b") + job.format("b", "[a]"))
    assert [one["rule"] for one in result["findings"]] == ["circle"]
    assert result["stages"] == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("on: push\njobs:\n  a:\n    runs-on: x\n    step: []\n", 5),
        ("on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - run: a\n        user: b\n", 7),
        ("on: pushh\njobs:\n  a:\n    runs-on: x\n    steps: [{run: a}]\n", 1),
        ("on: push\njobs:\n  'a b':\n    runs-on: x\n    steps: [{run: a}]\n", 3),
        ("jobs:\n  a:\n    runs-on: x\n    steps: [{run: a}]\n", 1),
    ],
)
def test_what_github_does_not_accept_has_its_line(text: str, line: int) -> None:
    result = check(text)
    assert not result["is_valid"]
    assert line in {one["line"] for one in result["breaches"]}


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(8)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "Line"),
        ("a: b: c", "Line 1"),
        ("- x", "Line 1"),
        ("just words", "Line 1"),
        ("on: push\n\tjobs: x", "Line 2"),
        ("[" * 3000, "nested"),
        (BOMB, "more than"),
        ("a: &a [*a]", ""),
        ("--- a\n--- b", "Line 2"),
        ("a: 2026-99-99\n1: 2\n", None),
        ("? [x]\n: y\n", None),
        ("a: !!python/object:os.system x", "Line 1"),
        ("a: 1e999\nb: .nan\nc: !!float x", ""),
        ("a: 0x" + "f" * 6000, None),
    ],
)
def test_what_is_no_workflow_is_refused_in_words(text: str, says: str | None) -> None:
    refused, result = judged(text)
    if refused is None:
        assert says is None
        assert not result["is_valid"]
    else:
        assert says is not None
        assert list(refused) == ["workflow"]
        assert says in refused["workflow"][0]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "on",
                "jobs",
                "a",
                ":",
                " ",
                "\n",
                "  ",
                "-",
                "[",
                "]",
                "{",
                "}",
                "&x",
                "*x",
                "${{",
                "}}",
                "uses",
                "run",
                "|",
                "'",
                '"',
                "!!",
                "needs",
                "steps",
                "@",
                "0",
                "é",
            ]
        ),
        max_size=60,
    ).map("".join)
)
def test_no_text_makes_it_fail(text: str) -> None:
    if not text.strip():
        return
    refused, _ = judged(text)
    assert refused is None or list(refused) == ["workflow"]


def test_every_odd_combination_of_parts_is_judged_without_failing() -> None:
    for name, value in itertools.product(
        ("on", "jobs", "permissions", "name", "concurrency", "env"),
        ("x", "[]", "{}", "[[x]]", "{a: {b: [c]}}", "1", "null"),
    ):
        assert "findings" in check(f"{name}: {value}\nz: 1\n")
    for name, value in itertools.product(
        ("steps", "needs", "if", "strategy", "runs-on", "environment", "uses", "permissions"),
        ("x", "[]", "{}", "[[x], 1]", "{a: {b: [c]}}", "1", "null", "[{uses: 1, run: [x], with: 3, id: 4}]"),
    ):
        assert "findings" in check(f"on: push\njobs:\n  a:\n    {name}: {value}\n")
