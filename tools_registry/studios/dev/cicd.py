"""Builds a pipeline for GitHub Actions from what is to be done, or explains a workflow that is there, line by line.

What it builds is judged as a workflow of somebody else would be: by GitHub's schema and the rules of `workflows`.
Actions are named by the version tags of their makers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tools_registry.fields import Choice, Choices, Document, Flag, Lines, Text, Whole
from tools_registry.studio import (
    BadInput,
    Block,
    File,
    Limits,
    Result,
    Tool,
    code,
    facts,
    findings,
    picture,
    table,
    text,
)
from tools_registry.studios import drawing

from . import workflows
from .bundles import as_yaml
from .workflows import Found, Workflow


@dataclass(frozen=True, slots=True)
class Language:
    """How a language is set up and what its tools are called."""

    title: str
    versions: tuple[str, ...]
    managers: tuple[str, ...]
    ecosystem: str  # what Dependabot calls it
    built: str  # where a build leaves what it made


LANGUAGES = {
    "python": Language("Python", ("3.11", "3.12", "3.13"), ("pip", "uv", "poetry"), "pip", "dist/"),
    "node": Language("Node", ("20", "22", "24"), ("npm", "pnpm", "yarn"), "npm", "dist/"),
    "go": Language("Go", ("1.24", "1.25"), ("go",), "gomod", "dist/"),
    "rust": Language("Rust", ("stable",), ("cargo",), "cargo", "target/release/"),
    "java": Language("Java", ("21", "25"), ("maven", "gradle"), "maven", "target/*.jar"),
}
MANAGERS = {"auto": "The usual one"} | {one: one for language in LANGUAGES.values() for one in language.managers}
JOBS = {
    "lint": "Lint",
    "test": "Test, on every version and system",
    "build": "Build, and keep what was made",
    "scan": "Look for known weaknesses in dependencies",
    "container": "Build a container image and publish it",
    "deploy": "Deploy to an environment",
}
TRIGGERS = {
    "push": "Push to the branch",
    "pull_request": "Pull request",
    "tag": "Tag that begins with v",
    "schedule": "Every Monday",
    "manual": "By hand",
}
SYSTEMS = {"ubuntu": "ubuntu-24.04", "windows": "windows-2025", "macos": "macos-15"}
# Each runs on Node 24: GitHub took Node 20 off its runners on 2026-09-16
ACTIONS = {
    "checkout": "actions/checkout@v6",
    "python": "actions/setup-python@v6",
    "node": "actions/setup-node@v5",
    "go": "actions/setup-go@v6",
    "java": "actions/setup-java@v5",
    "cache": "actions/cache@v5",
    "upload": "actions/upload-artifact@v7",
    "download": "actions/download-artifact@v8",
    "uv": "astral-sh/setup-uv@v7",
    "pnpm": "pnpm/action-setup@v5",
    "buildx": "docker/setup-buildx-action@v4",
    "login": "docker/login-action@v4",
    "metadata": "docker/metadata-action@v6",
    "image": "docker/build-push-action@v7",
}
# manager: install, lint, test, build, scan
COMMANDS = {
    "pip": (
        "python -m pip install -r requirements.txt",
        "python -m pip install ruff\nruff check .",
        "python -m pip install pytest\npython -m pytest",
        "python -m pip install build\npython -m build",
        "python -m pip install pip-audit\npip-audit -r requirements.txt",
    ),
    "uv": (
        "uv sync --locked",
        "uv run ruff check .",
        "uv run pytest",
        "uv build",
        "uv export --locked --no-emit-project --format requirements-txt --output-file audit.txt\n"
        "uvx pip-audit --require-hashes -r audit.txt",
    ),
    "poetry": (
        "pipx install poetry\npoetry install --no-interaction",
        "poetry run ruff check .",
        "poetry run pytest",
        "poetry build",
        "poetry run python -m pip install pip-audit\npoetry run pip-audit",
    ),
    "npm": ("npm ci", "npm run lint", "npm test", "npm run build", "npm audit --omit=dev --audit-level=high"),
    "pnpm": (
        "pnpm install --frozen-lockfile",
        "pnpm run lint",
        "pnpm test",
        "pnpm run build",
        "pnpm audit --prod --audit-level=high",
    ),
    "yarn": (
        "yarn install --frozen-lockfile",
        "yarn lint",
        "yarn test",
        "yarn build",
        "yarn audit --groups dependencies --level high",
    ),
    "go": (
        "go mod download",
        "go vet ./...",
        "go test ./...",
        "mkdir -p dist\ngo build -o dist/ ./...",
        "go run golang.org/x/vuln/cmd/govulncheck@v1.1.4 ./...",
    ),
    "cargo": (
        "cargo fetch --locked",
        "cargo fmt --check\ncargo clippy --all-targets --locked -- -D warnings",
        "cargo test --locked",
        "cargo build --release --locked",
        "cargo install cargo-audit --locked\ncargo audit",
    ),
    "maven": (
        "mvn -B dependency:go-offline",
        "mvn -B checkstyle:check",
        "mvn -B test",
        "mvn -B package -DskipTests",
        "mvn -B org.owasp:dependency-check-maven:check",
    ),
    "gradle": (
        "./gradlew dependencies",
        "./gradlew checkstyleMain",
        "./gradlew test",
        "./gradlew assemble",
        "./gradlew dependencyCheckAnalyze",
    ),
}
BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]*")
VERSION = re.compile(r"[0-9a-z][0-9A-Za-z.x-]*")
SECRET = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
IMAGE = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*(:\d+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+")
EXAMPLE = """name: Checks
on: [push, pull_request_target]
jobs:
  test:
    runs-on: ubuntu-20.04
    steps:
      - uses: actions/checkout@main
        with:
          ref: ${{ github.event.pull_request.head.sha }}
      - run: echo "Testing ${{ github.event.pull_request.title }}"
      - run: make test
        env:
          TOKEN: ${{ secrets.DEPLOY_TOKEN }}
  release:
    needs: [test, sign]
    runs-on: ubuntu-24.04
    timeout-minutes: 10
    permissions: write-all
    steps:
      - uses: someone/release-action@v2
"""
"""A workflow with faults, for tests and for whoever wants to see what is found."""


def run(inputs: dict[str, Any], files: dict[str, bytes]) -> Result:
    """{"action", "is_valid", "breaches", "findings", "triggers", "stages", "jobs", "workflow", "schema_as_of"}."""
    if inputs["action"] == "check":
        if "workflow" not in files:
            raise BadInput({"workflow": "Paste the workflow that is to be checked, or send its file."})
        try:
            written = files["workflow"].decode()
        except UnicodeDecodeError as error:
            raise BadInput({"workflow": f"Byte {error.start} is not UTF-8. Save the file as UTF-8."}) from error
        return _result(inputs, written, workflows.read(written, "workflow"), [])
    _judge(inputs)
    written = _written(_built(inputs))
    return _result(inputs, written, workflows.read(written, "name"), _next(inputs))


# Building


def _judge(inputs: Mapping[str, Any]) -> None:
    """Raises BadInput naming every wrong field."""
    wrong: dict[str, str] = {}
    language = LANGUAGES[inputs["language"]]
    if inputs["manager"] not in ("auto", *language.managers):
        wrong["manager"] = f"{language.title} has {', '.join(language.managers)}; or choose auto."
    for number, version in enumerate(inputs["versions"]):
        if not VERSION.fullmatch(version):
            wrong[f"versions.{number}"] = "Write a version such as 3.12."
    if len(set(inputs["versions"])) != len(inputs["versions"]):
        wrong["versions"] = "Write each version once."
    for number, name in enumerate(inputs["secrets"]):
        if not SECRET.fullmatch(name) or name.upper().startswith("GITHUB_"):
            wrong[f"secrets.{number}"] = "Use letters, digits and underscores; not GITHUB_ at the beginning."
    if len({name.upper() for name in inputs["secrets"]}) != len(inputs["secrets"]):
        wrong["secrets"] = "Name each secret once; capital and small letters are the same."
    branch = inputs["branch"]
    if not BRANCH.fullmatch(branch) or ".." in branch or "//" in branch or branch.endswith(("/", ".", ".lock")):
        wrong["branch"] = "Write the name of one branch, for example main."
    if inputs["image"] and not IMAGE.fullmatch(inputs["image"]):
        wrong["image"] = (
            "Write a registry and a name in small letters, for example ghcr.io/harbour/office, without a tag."
        )
    for field in ("name", "environment"):
        if "${{" in inputs[field] or not inputs[field].isprintable():
            wrong[field] = "Write plain words, on one line, without an expression."
    if "deploy" in inputs["jobs"]:
        if not inputs["deploy_command"].strip():
            wrong["deploy_command"] = "Write the command that deploys."
        if not {"push", "tag", "manual"} & set(inputs["triggers"]):
            wrong["triggers"] = "It deploys on a push, a tag or by hand; choose one of them."
    elif inputs["secrets"]:
        wrong["secrets"] = "Only the deployment has secrets; add it to the jobs, or leave them out."
    if wrong:
        raise BadInput(wrong)


def _built(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The workflow."""
    jobs = inputs["jobs"]
    made = {name: build(inputs) for name, build in MAKERS.items() if name in jobs}
    for name, job in made.items():
        before = [one for one in _needs(name) if one in jobs]
        if before:
            job["needs"] = before
    ordered = (
        "name",
        "if",
        "needs",
        "runs-on",
        "timeout-minutes",
        "permissions",
        "environment",
        "concurrency",
        "strategy",
    )
    on: dict[str, Any] = {}
    pushes: dict[str, Any] = {}
    if "push" in inputs["triggers"]:
        pushes["branches"] = [inputs["branch"]]
    if "tag" in inputs["triggers"]:
        pushes["tags"] = ["v*"]
    if pushes:
        on["push"] = pushes
    if "pull_request" in inputs["triggers"]:
        on["pull_request"] = {"branches": [inputs["branch"]]}
    if "schedule" in inputs["triggers"]:
        on["schedule"] = [{"cron": "17 5 * * 1"}]
    if "manual" in inputs["triggers"]:
        on["workflow_dispatch"] = {}
    workflow: dict[str, Any] = {"name": inputs["name"], "on": on, "permissions": {"contents": "read"}}
    if inputs["concurrency"]:
        workflow["concurrency"] = {
            "group": "${{ github.workflow }}-${{ github.ref }}",
            "cancel-in-progress": "${{ github.event_name == 'pull_request' }}",
        }
    workflow["jobs"] = {
        name: {key: job[key] for key in (*ordered, "env", "steps") if key in job} for name, job in made.items()
    }
    return workflow


def _needs(name: str) -> tuple[str, ...]:
    return {
        "build": ("lint", "test"),
        "container": ("lint", "test", "build", "scan"),
        "deploy": ("lint", "test", "build", "scan", "container"),
    }.get(name, ())


def _manager(inputs: Mapping[str, Any]) -> str:
    return LANGUAGES[inputs["language"]].managers[0] if inputs["manager"] == "auto" else str(inputs["manager"])


def _versions(inputs: Mapping[str, Any]) -> list[str]:
    return list(inputs["versions"] or LANGUAGES[inputs["language"]].versions)


def _command(inputs: Mapping[str, Any], which: str) -> str:
    own = _tidy(str(inputs.get(f"{which}_command") or ""))
    return own or COMMANDS[_manager(inputs)][("install", "lint", "test", "build", "scan").index(which)]


def _tidy(script: str) -> str:
    """The script without blanks at the ends of its lines, so that YAML keeps it as it is read."""
    return "\n".join(line.rstrip() for line in script.strip().splitlines())


def _checkout() -> dict[str, Any]:
    return {"uses": ACTIONS["checkout"], "with": {"persist-credentials": False}}


def _set_up(inputs: Mapping[str, Any], version: str) -> list[dict[str, Any]]:
    """The steps until the language is there and the dependencies are in."""
    language, manager, cached = inputs["language"], _manager(inputs), inputs["cache"]
    steps: list[dict[str, Any]] = [_checkout()]
    if manager == "uv":
        steps.append({"uses": ACTIONS["uv"], "with": {"python-version": version, "enable-cache": cached}})
    elif language == "python":
        if manager == "poetry":
            steps.append({"name": "Install Poetry", "run": "pipx install poetry"})
        steps.append(
            {"uses": ACTIONS["python"], "with": {"python-version": version} | ({"cache": manager} if cached else {})}
        )
    elif language == "node":
        if manager == "pnpm":
            steps.append({"uses": ACTIONS["pnpm"], "with": {"version": 10}})
        keep = {"cache": manager} if cached else {"package-manager-cache": False}
        steps.append({"uses": ACTIONS["node"], "with": {"node-version": version} | keep})
    elif language == "go":
        steps.append({"uses": ACTIONS["go"], "with": {"go-version": version, "cache": cached}})
    elif language == "java":
        keep = {"cache": manager} if cached else {}
        steps.append({"uses": ACTIONS["java"], "with": {"distribution": "temurin", "java-version": version} | keep})
    else:
        steps.append(
            {
                "name": "Install Rust",
                "run": 'rustup toolchain install "$RUST" --profile minimal --component clippy,rustfmt\n'
                'rustup default "$RUST"',
                "shell": "bash",
                "env": {"RUST": version},
            }
        )
        if cached:
            key = "${{ runner.os }}-cargo-${{ hashFiles('**/Cargo.lock') }}"
            steps.append(
                {"uses": ACTIONS["cache"], "with": {"path": "~/.cargo/registry\n~/.cargo/git\ntarget", "key": key}}
            )
    install = _command(inputs, "install")
    if manager == "poetry" and not inputs["install_command"]:
        install = "poetry install --no-interaction"
    steps.append({"name": "Install dependencies", "run": install})
    return steps


def _plain_job(inputs: Mapping[str, Any], title: str, *steps: Mapping[str, Any]) -> dict[str, Any]:
    newest = _versions(inputs)[-1]
    return {
        "name": title,
        "runs-on": SYSTEMS["ubuntu"],
        "timeout-minutes": inputs["minutes"],
        "steps": [*_set_up(inputs, newest), *steps],
    }


def _lint(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return _plain_job(inputs, "Lint", {"name": "Lint", "run": _command(inputs, "lint")})


def _test(inputs: Mapping[str, Any]) -> dict[str, Any]:
    versions, systems = _versions(inputs), [SYSTEMS[one] for one in inputs["systems"]]
    is_many = len(versions) * len(systems) > 1
    job: dict[str, Any] = {
        "name": "Test (${{ matrix.version }}, ${{ matrix.os }})" if is_many else "Test",
        "runs-on": "${{ matrix.os }}" if is_many else systems[0],
        "timeout-minutes": inputs["minutes"],
        "steps": [
            *_set_up(inputs, "${{ matrix.version }}" if is_many else versions[0]),
            {"name": "Test", "run": _command(inputs, "test")},
        ],
    }
    if is_many:
        job["strategy"] = {"fail-fast": False, "matrix": {"os": systems, "version": versions}}
    return job


def _fresh(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The inputs for what is published: a release takes nothing from a cache that other runs could have filled."""
    return {**inputs, "cache": inputs["cache"] and "tag" not in inputs["triggers"]}


def _build(inputs: Mapping[str, Any]) -> dict[str, Any]:
    inputs = _fresh(inputs)
    path = "build/libs/*.jar" if _manager(inputs) == "gradle" else LANGUAGES[inputs["language"]].built
    keep = {"name": "built", "path": path, "if-no-files-found": "error", "retention-days": 7}
    return _plain_job(
        inputs, "Build", {"name": "Build", "run": _command(inputs, "build")}, {"uses": ACTIONS["upload"], "with": keep}
    )


def _scan(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return _plain_job(inputs, "Scan dependencies", {"name": "Scan", "run": _command(inputs, "scan")})


def _container(inputs: Mapping[str, Any]) -> dict[str, Any]:
    inputs = _fresh(inputs)
    image = inputs["image"] or "ghcr.io/${{ github.repository }}"
    registry = image.partition("/")[0]
    is_ours = registry == "ghcr.io"
    who = "${{ github.actor }}" if is_ours else "${{ secrets.REGISTRY_USER }}"
    password = "${{ secrets.GITHUB_TOKEN }}" if is_ours else "${{ secrets.REGISTRY_PASSWORD }}"
    not_from_forks = "github.event_name != 'pull_request'"
    build: dict[str, Any] = {
        "context": ".",
        "push": f"${{{{ {not_from_forks} }}}}",
        "tags": "${{ steps.image.outputs.tags }}",
        "labels": "${{ steps.image.outputs.labels }}",
    }
    if inputs["cache"]:
        build |= {"cache-from": "type=gha", "cache-to": "type=gha,mode=max"}
    return {
        "name": "Container image",
        **({} if is_ours else {"if": not_from_forks}),
        "runs-on": SYSTEMS["ubuntu"],
        "timeout-minutes": inputs["minutes"],
        "permissions": {"contents": "read", **({"packages": "write"} if is_ours else {})},
        "steps": [
            _checkout(),
            {"uses": ACTIONS["buildx"]},
            {
                "if": not_from_forks,
                "uses": ACTIONS["login"],
                "with": {"registry": registry, "username": who, "password": password},
            },
            {
                "id": "image",
                "uses": ACTIONS["metadata"],
                "with": {"images": image, "tags": "type=sha\ntype=ref,event=branch\ntype=semver,pattern={{version}}"},
            },
            {"uses": ACTIONS["image"], "with": build},
        ],
    }


def _deploy(inputs: Mapping[str, Any]) -> dict[str, Any]:
    refs = [f"github.ref == 'refs/heads/{inputs['branch']}'"]
    if "tag" in inputs["triggers"]:
        refs = ["startsWith(github.ref, 'refs/tags/v')"]
    events = ["push"] if {"push", "tag"} & set(inputs["triggers"]) else []
    events += ["workflow_dispatch"] if "manual" in inputs["triggers"] else []
    when = " || ".join(f"github.event_name == '{one}'" for one in events)
    step: dict[str, Any] = {"name": "Deploy", "run": _tidy(inputs["deploy_command"])}
    if inputs["secrets"]:
        step["env"] = {name: f"${{{{ secrets.{name} }}}}" for name in inputs["secrets"]}
    steps = [_checkout()]
    if "build" in inputs["jobs"]:
        steps.append({"uses": ACTIONS["download"], "with": {"name": "built", "path": "built"}})
    return {
        "name": f"Deploy to {inputs['environment']}",
        "if": f"({when}) && {refs[0]}" if len(events) > 1 else f"{when} && {refs[0]}",
        "runs-on": SYSTEMS["ubuntu"],
        "timeout-minutes": inputs["minutes"],
        "environment": {"name": inputs["environment"]},
        "concurrency": {"group": f"deploy-{inputs['environment']}", "cancel-in-progress": False},
        "steps": [*steps, step],
    }


MAKERS = {"lint": _lint, "test": _test, "build": _build, "scan": _scan, "container": _container, "deploy": _deploy}


def _written(workflow: Mapping[str, Any]) -> str:
    """The workflow as YAML, a line between its parts."""
    parts = [as_yaml({name: part}) for name, part in workflow.items()]
    written = "\n".join(re.sub(r"^'on':", "on:", part) for part in parts)
    # Jobs are told apart by a line between them.
    head, between, jobs = written.partition("\njobs:\n")
    return head + between + re.sub(r"\n(  [a-z]+:\n)", r"\n\n\1", jobs)


def _next(inputs: Mapping[str, Any]) -> list[str]:
    """What is left to do by hand."""
    said = ["Save it as .github/workflows/pipeline.yml and dependabot.yml as .github/dependabot.yml, and push."]
    if "deploy" in inputs["jobs"]:
        who = (
            "add required reviewers, so that somebody approves each deployment"
            if inputs["approval"]
            else "name its branches"
        )
        said.append(f"Under Settings → Environments make {inputs['environment']} and {who}.")
    if inputs["secrets"]:
        said.append(f"Add these secrets to that environment: {', '.join(inputs['secrets'])}.")
    if "container" in inputs["jobs"] and inputs["image"] and not inputs["image"].startswith("ghcr.io/"):
        said.append("Add the repository’s secrets REGISTRY_USER and REGISTRY_PASSWORD for the registry.")
    if _manager(inputs) in ("maven", "gradle") and {"lint", "scan"} & set(inputs["jobs"]):
        said.append("Add the Checkstyle and OWASP dependency-check plugins to the build, which lint and scan use.")
    if "pull_request" in inputs["triggers"]:
        required = [name for one in MAKERS if one in inputs["jobs"] for name in _checks(one, inputs)]
        if required:
            said.append(f"Under Settings → Rules require these checks before a merge: {'; '.join(required)}.")
    return said


def _checks(job: str, inputs: Mapping[str, Any]) -> list[str]:
    """What GitHub calls the job’s checks, each of a matrix by itself. One that nothing reports blocks every merge."""
    if job not in ("lint", "test", "build", "scan"):
        return []
    made = MAKERS[job](inputs)
    matrix = made.get("strategy", {}).get("matrix")
    if matrix is None:
        return [made["name"]]
    return [f"Test ({version}, {system})" for system in matrix["os"] for version in matrix["version"]]


def _dependabot(inputs: Mapping[str, Any]) -> str:
    names = ["github-actions", LANGUAGES[inputs["language"]].ecosystem]
    names[1] = "gradle" if _manager(inputs) == "gradle" else "uv" if _manager(inputs) == "uv" else names[1]
    names += ["docker"] if "container" in inputs["jobs"] else []
    updates = [{"package-ecosystem": one, "directory": "/", "schedule": {"interval": "weekly"}} for one in names]
    return as_yaml({"version": 2, "updates": updates})


# Telling


def _result(inputs: Mapping[str, Any], written: str, workflow: Workflow, steps: Sequence[str]) -> Result:
    breaches, linted = workflows.breaches(workflow), workflows.lint(workflow)
    ordered, circle = workflows.stages(workflow.jobs)
    described = _described(ordered, circle)
    svg = _drawn(workflow, linted, described)
    jobs = [_job(workflow, name, number) for number, stage in enumerate([*ordered, circle], 1) for name in stage]
    result = {
        "action": inputs["action"],
        "is_valid": not breaches,
        "schema_as_of": workflows.SCHEMA_AS_OF,
        "breaches": [one.told() for one in breaches],
        "findings": [one.told() for one in linted],
        "triggers": list(workflow.triggers),
        "stages": ordered,
        "jobs": jobs,
        "workflow": written,
        "next": list(steps),
    }
    worst = linted[0].severity if linted else "none"
    is_built = inputs["action"] == "build"
    view: list[Block] = [
        facts(
            "At a glance",
            [
                ("Workflow", str(workflow.content.get("name") or "without a name")[:80]),
                ("Fits GitHub’s schema", "Yes" if not breaches else f"No: {len(breaches)} places"),
                ("Jobs", len(workflow.jobs)),
                ("Stages", len(ordered)),
                ("Found", len(linted)),
                ("Worst", worst),
            ],
        ),
    ]
    if breaches or not is_built:
        view.append(findings("Against the schema", [one.row() for one in breaches], none="GitHub accepts it."))
    view.append(findings("What was found", _together(linted), none="No rule found anything."))
    view.append(picture("Stages", "pipeline.svg", described=described))
    view.append(
        table(
            "Jobs",
            ["Job", "Stage", "Runs on", "After", "Steps", "May", "Secrets"],
            [
                [
                    one["name"],
                    one["stage"],
                    one["runs_on"],
                    ", ".join(one["needs"]) or "–",
                    one["steps"],
                    one["permissions"],
                    ", ".join(one["secrets"]) or "–",
                ]
                for one in jobs
            ],
        )
    )
    if not is_built:
        view.append(text("In words", [_when(workflow), *(_told(workflow, name) for name in workflow.jobs)]))
    view.append(code("pipeline.yml", written, language="yaml", file="pipeline.yml" if is_built else ""))
    if steps:
        view.append(text("What is left to do", list(steps)))
    made = [File("pipeline.svg", "image/svg+xml", svg)]
    if is_built:
        made.insert(0, File("pipeline.yml", "application/yaml", written.encode()))
        made.insert(1, File("dependabot.yml", "application/yaml", _dependabot(inputs).encode()))
    return Result(result, view, made)


def _together(linted: Sequence[Found]) -> list[dict[str, Any]]:
    """As the page shows it: what was found in several places is said once, with each line."""
    rows: dict[tuple[str, str], list[Found]] = {}
    for one in linted:
        rows.setdefault((one.rule, one.title), []).append(one)
    return [
        found[0].row()
        | ({"where": f"lines {', '.join(str(one.line) for one in found[:20])}"} if len(found) > 1 else {})
        for found in rows.values()
    ]


def _runs_on(job: Mapping[str, Any]) -> str:
    """Where it runs; of a matrix, everywhere it runs."""
    said = _plain(job.get("runs-on", job.get("uses", "–")))
    named = re.fullmatch(r"\$\{\{\s*matrix\.([\w-]+)\s*\}\}", said)
    strategy = job.get("strategy")
    matrix = strategy.get("matrix") if isinstance(strategy, dict) else None
    values = matrix.get(named[1]) if named and isinstance(matrix, dict) else None
    return _plain(values) if isinstance(values, list) and values else said


def _job(workflow: Workflow, name: str, stage: int) -> dict[str, Any]:
    job = workflow.jobs[name]
    permissions = job.get("permissions", workflow.content.get("permissions"))
    return {
        "name": name,
        "stage": stage,
        "line": workflow.line(("jobs", name)),
        "runs_on": _runs_on(job),
        "needs": workflows.needs(job),
        "steps": len(list(workflow.steps(name))),
        "permissions": "not said" if permissions is None else _plain(permissions) or "nothing",
        "environment": _plain(job.get("environment", "")),
        "secrets": sorted(workflows.secrets_of(job)),
    }


def _plain(part: Any) -> str:
    if isinstance(part, dict):
        return ", ".join(f"{name}: {_plain(one)}" for name, one in part.items())[:120]
    return (", ".join(map(_plain, part)) if isinstance(part, list) else str(part))[:120]


def _described(ordered: Sequence[Sequence[str]], circle: Sequence[str]) -> str:
    said = "; then ".join(" and ".join(stage) for stage in ordered) or "No job can start"
    return f"{said}{'; never ' + ' and '.join(circle) if circle else ''}."


def _drawn(workflow: Workflow, linted: Sequence[Found], described: str) -> bytes:
    """The jobs with their order; those with something serious are marked."""
    marked = {
        one.where.removeprefix("jobs.").partition(",")[0].partition(".")[0]
        for one in linted
        if one.severity in ("critical", "high")
    }
    nodes = []
    for name, job in workflow.jobs.items():
        gate = _plain(job["environment"]).removeprefix("name: ").partition(",")[0] if "environment" in job else ""
        lines = [_runs_on(job)]
        lines += [f"to {gate}"] if gate else []
        count = len(list(workflow.steps(name)))
        lines += [f"{count} step{'' if count == 1 else 's'}"] if count else []
        kind = "to correct" if name in marked else "with approval" if gate else ""
        nodes.append(
            drawing.Node(
                id=name,
                label=name,
                kind=kind,
                tone="coral" if name in marked else "brass" if gate else "sea",
                lines=[one for one in lines if one],
            )
        )
    edges = [drawing.Edge(source=before, target=name) for name, before in _nearest(workflow.jobs)]
    return drawing.diagram("Jobs in their order", nodes, edges, direction="down", described=described)


def _nearest(jobs: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Each job with those it waits for, but for those that the others wait for already."""
    direct = {name: [one for one in workflows.needs(job) if one in jobs] for name, job in jobs.items()}
    before: dict[str, set[str]] = {}
    for stage in workflows.stages(jobs)[0]:
        for name in stage:
            before[name] = {one for near in direct[name] for one in (near, *before[near])}
    return [
        (name, one)
        for name, near in direct.items()
        for one in near
        if not any(one in before.get(other, ()) for other in near)
    ]


def _when(workflow: Workflow) -> str:
    words = {
        "push": "a push",
        "pull_request": "a pull request",
        "schedule": "a timetable",
        "workflow_dispatch": "a click",
    }
    said = []
    for name, given in workflow.triggers.items():
        only = _plain(given) if given else ""
        said.append(f"{words.get(name, name.replace('_', ' '))}{f' ({only})' if only else ''}")
    return f"It starts by {', or '.join(said)}." if said else "Nothing starts it."


def _told(workflow: Workflow, name: str) -> str:
    job = workflow.jobs[name]
    before = workflows.needs(job)
    parts = [f"{name} (line {workflow.line(('jobs', name))})"]
    parts.append(f"waits for {' and '.join(before)}" if before else "starts at once")
    if "if" in job:
        parts.append(f"only if {_plain(job['if'])}")
    steps = []
    for _, step in workflow.steps(name):
        ran = str(step.get("run", "")).strip().split("\n")[0]
        steps.append(str(step.get("name") or step.get("uses") or ran or "an empty step")[:60])
    shown = steps[:12]
    more = f" and {len(steps) - 12} more" if len(steps) > 12 else ""
    return f"{', '.join(parts)}: {' → '.join(shown) or _plain(job.get('uses', 'no steps'))}{more}."


def _script(name: str, title: str, help: str = "Empty: the usual one.") -> Text:
    return Text(name=name, title=title, help=help, length_max=2000, is_code=True, default="")


TOOL = Tool(
    slug="dev-studio/cicd",
    title="CI/CD pipeline",
    noun="pipeline",
    summary="A pipeline for GitHub Actions, validated; or what is wrong with the one you have, line by line.",
    mode="hybrid",
    risk="low",
    credits_max=5,
    limits=Limits(cpu_seconds=5, seconds=10),
    icon="flow",
    fields=(
        Choice(
            name="action",
            title="What to do",
            choices={"build": "Build a pipeline", "check": "Check a workflow that is there"},
            default="build",
        ),
        Document(
            name="workflow",
            title="Workflow to check",
            help="Only for checking: a file of .github/workflows.",
            file_name="workflow.yml",
            accepts=(".yml", ".yaml"),
            bytes_max=64 * 1024,
        ),
        Text(name="name", title="Name", length_max=80, is_short=True, default="Pipeline"),
        Choice(
            name="language",
            title="Language",
            choices={one: language.title for one, language in LANGUAGES.items()},
            default="python",
        ),
        Lines(
            name="versions",
            title="Versions",
            help="One a line. Empty: those in use today.",
            count_max=8,
            length_max=20,
        ),
        Choice(name="manager", title="Package manager", choices=MANAGERS, default="auto"),
        Choices(name="jobs", title="Jobs", choices=JOBS, default=("lint", "test"), count_min=1),
        Choices(
            name="systems",
            title="Test on",
            choices={"ubuntu": "Ubuntu", "windows": "Windows", "macos": "macOS"},
            default=("ubuntu",),
            count_min=1,
        ),
        Choices(name="triggers", title="Starts on", choices=TRIGGERS, default=("push", "pull_request"), count_min=1),
        Text(name="branch", title="Main branch", length_max=100, is_short=True, default="main"),
        Flag(name="cache", title="Keep downloads between runs", default=True),
        Flag(name="concurrency", title="Stop older runs of a pull request", default=True),
        Whole(name="minutes", title="Most minutes a job may take", min=1, max=360, default=15, unit="min"),
        _script("install_command", "Command that installs"),
        _script("lint_command", "Command that lints"),
        _script("test_command", "Command that tests"),
        _script("build_command", "Command that builds"),
        Text(
            name="image",
            title="Container image",
            help="Registry and name, without a tag. Empty: the repository’s own on ghcr.io.",
            length_max=200,
            is_short=True,
            default="",
        ),
        Text(name="environment", title="Environment to deploy to", length_max=60, is_short=True, default="production"),
        _script("deploy_command", "Command that deploys", "Needed for a deployment. Secrets are in its environment."),
        Lines(
            name="secrets",
            title="Secrets of the deployment, by name",
            help="One a line; never the secret itself.",
            count_max=30,
            length_max=100,
        ),
        Flag(name="approval", title="Somebody approves each deployment", default=True),
    ),
    function=run,
    example={
        "action": "build",
        "name": "Harbour office",
        "language": "python",
        "versions": ["3.12", "3.13"],
        "manager": "uv",
        "jobs": ["lint", "test", "build", "scan", "container", "deploy"],
        "systems": ["ubuntu", "macos"],
        "triggers": ["push", "pull_request", "schedule"],
        "branch": "main",
        "environment": "production",
        "deploy_command": './deploy.sh --image "ghcr.io/harbour/office:sha-${GITHUB_SHA::7}"',
        "secrets": ["DEPLOY_KEY"],
        "approval": True,
    },
)
