"""Reads a workflow of GitHub Actions with the line of each part, and finds what is wrong or unsafe in it.

Whether it is a workflow at all says the schema of SchemaStore (`schemas/SOURCES.md`); the rules about safety follow
GitHub's own "Secure use reference" (docs.github.com/actions/reference/security/secure-use).
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tools_registry.lazily import lazy
from tools_registry.studio import BadInput

if TYPE_CHECKING:
    import jsonschema
else:
    jsonschema = lazy("jsonschema")

SCHEMA = json.loads((Path(__file__).parent / "schemas/github_workflow.json").read_text())
SCHEMA_AS_OF = "2026-10-26"
PARTS_MAX = 20_000
ERRORS_MAX = 40
RANKS = ("critical", "high", "medium", "low", "info", "good")

# What strangers can write into: titles, texts, names of branches, addresses.
UNTRUSTED = re.compile(
    r"\$\{\{[^}]*?("
    r"github\.head_ref|github\.event\.(?:issue|pull_request|discussion|comment|review|review_comment)\.(?:title|body)"
    r"|github\.event\.pull_request\.head\.(?:ref|label|repo\.default_branch)"
    r"|github\.event\.pages(?:\.\*|\[\d+\])\.page_name"
    r"|github\.event\.(?:commits(?:\.\*|\[\d+\])|head_commit)\.(?:message|author\.(?:email|name)|committer\.(?:email|name))"
    r"|github\.event\.workflow_run\.(?:head_branch|head_commit\.[a-z.]+|display_title|pull_requests[^}]*?\.head\.ref)"
    r")[^}]*\}\}"
)
ASKED = re.compile(r"\$\{\{[^}]*?((?:github\.event\.)?inputs\.[A-Za-z_][\w-]*)[^}]*\}\}")
SECRET = re.compile(r"secrets\.([A-Za-z_]\w*)|secrets\[['\"](\w+)['\"]\]")
WRITTEN_SECRET = re.compile(
    r"\b(AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{40,}|xox[abpr]-[\w-]{20,}|sk_live_[A-Za-z0-9]{16,})\b"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
OLD_ACTION = {
    "actions/upload-artifact": 3,
    "actions/download-artifact": 3,
    "actions/cache": 2,
}  # the last version that GitHub no longer runs
GONE = {"ubuntu-16.04", "ubuntu-18.04", "ubuntu-20.04", "windows-2016", "windows-2019", "macos-11", "macos-12"} | {
    "macos-10.15",
    "macos-13",
}


@dataclass(frozen=True, slots=True)
class Found:
    """Something about the workflow; `line` counts from 1."""

    severity: str
    rule: str
    title: str
    line: int
    where: str
    text: str = ""
    fix: str = ""

    def row(self) -> dict[str, Any]:
        """As the page shows it."""
        row = {"severity": self.severity, "title": self.title, "where": f"line {self.line}, {self.where}"}
        row |= {"text": self.text} if self.text else {}
        row |= {"fix": self.fix} if self.fix else {}
        return row

    def told(self) -> dict[str, Any]:
        """As the API answers it."""
        names = ("severity", "rule", "title", "line", "where", "text", "fix")
        return {name: getattr(self, name) for name in names}


class _Loader(yaml.SafeLoader):
    """Reads as YAML 1.2 does, where `on` and `yes` are words."""


_Loader.yaml_implicit_resolvers = {
    letter: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp")
    ]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"true|false|True|False|TRUE|FALSE"), list("tTfF"))

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow as it was read."""

    content: dict[str, Any]
    lines: Mapping[Place, int]
    twice: Sequence[tuple[Place, int]]

    def line(self, place: Place) -> int:
        """The line of the part, or of what holds it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    @property
    def jobs(self) -> dict[str, dict[str, Any]]:
        jobs = self.content.get("jobs")
        found = jobs.items() if isinstance(jobs, dict) else ()
        return {str(name): job for name, job in found if isinstance(job, dict)}

    @property
    def triggers(self) -> dict[str, Any]:
        on = self.content.get("on")
        if isinstance(on, str):
            return {on: None}
        if isinstance(on, list):
            return {str(one): None for one in on}
        return {str(name): one for name, one in on.items()} if isinstance(on, dict) else {}

    def steps(self, job: str) -> Iterator[tuple[Place, dict[str, Any]]]:
        steps = self.jobs[job].get("steps")
        for number, step in enumerate(steps if isinstance(steps, list) else []):
            if isinstance(step, dict):
                yield ("jobs", job, "steps", number), step


def read(text: str, field: str) -> Workflow:
    """The workflow of a YAML text; raises BadInput naming the field."""
    lines: dict[Place, int] = {}
    twice: list[tuple[Place, int]] = []
    loader = _Loader("")
    count = 0

    def plain(node: yaml.Node, place: Place) -> Any:
        nonlocal count
        count += 1
        if count > PARTS_MAX:
            raise BadInput({field: f"It has more than {PARTS_MAX:,} parts, aliases counted each time."})
        lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            found: dict[str, Any] = {}
            for key_node, value_node in node.value:
                key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
                if key in found:
                    twice.append(((*place, key), key_node.start_mark.line + 1))
                lines[(*place, key)] = key_node.start_mark.line + 1
                found[key] = plain(value_node, (*place, key))
            return found
        if isinstance(node, yaml.SequenceNode):
            return [plain(one, (*place, number)) for number, one in enumerate(node.value)]
        value = loader.construct_object(node)
        return value if isinstance(value, str | int | float | bool | None) else str(node.value)

    try:
        root = yaml.compose(text, Loader=_Loader)
        content = plain(root, ()) if root is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise BadInput(
            {field: f"Line {mark.line + 1 if mark else 1}: {error.problem or 'this is no YAML'}."}
        ) from error
    except yaml.YAMLError as error:
        raise BadInput({field: f"This is no YAML: {' '.join(str(error).split())[:200]}"}) from error
    except (ValueError, OverflowError) as error:
        raise BadInput({field: "A value in it cannot be read, such as a number that is too large."}) from error
    except RecursionError as error:
        raise BadInput({field: "It is nested too deeply."}) from error
    if not isinstance(content, dict):
        raise BadInput({field: "Line 1: a workflow is a mapping with “on” and “jobs”."})
    return Workflow(content, lines, twice)


def breaches(workflow: Workflow) -> list[Found]:
    """Where the workflow does not fit GitHub's schema."""
    validator = jsonschema.Draft7Validator(SCHEMA)
    found = []
    for error in validator.iter_errors(workflow.content):
        deepest = _deepest(error)
        if deepest.validator == "required" and tuple(deepest.absolute_path)[-1:] == ("strategy",):
            continue  # the schema wants a matrix there; GitHub takes max-parallel and fail-fast without one
        for place, said in _parts(deepest):
            found.append(
                Found("high", "schema", "GitHub will not accept this", workflow.line(place), _words(place), said)
            )
        if len(found) >= ERRORS_MAX:
            break
    return sorted(found, key=lambda one: (one.line, one.where, one.text))


def _deepest(error: jsonschema.ValidationError) -> jsonschema.ValidationError:
    """What is really wrong where one of several shapes was asked for: the shape that fits best decides."""
    while error.context:
        shapes: dict[Any, list[jsonschema.ValidationError]] = {}
        for one in error.context:
            shapes.setdefault(one.schema_path[0], []).append(one)

        def misfit(shape: Iterable[jsonschema.ValidationError]) -> tuple[bool, int]:
            shape = list(shape)
            return any(one.validator == "type" and not one.relative_path for one in shape), len(shape)

        error = max(min(shapes.values(), key=misfit), key=lambda one: len(one.absolute_path))
    return error


def _parts(error: jsonschema.ValidationError) -> Iterator[tuple[Place, str]]:
    """Each part that is wrong, and how."""
    place = tuple(error.absolute_path)
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = list(error.schema.get("properties", {}))
        patterns = list(error.schema.get("patternProperties", {}))
        for name in error.instance:
            if name in known or any(re.search(one, name) for one in patterns):
                continue
            close = difflib.get_close_matches(name, known, n=1)
            meant = (
                f"Did you mean {close[0]}?"
                if close
                else f"What may stand here: {', '.join(known) or ', '.join(patterns)}."
            )
            yield (*place, name), f"There is no “{name[:60]}” here. {meant}"[:400]
        return
    if error.validator == "required":
        missing = [one for one in error.validator_value if one not in error.instance]
        yield place, f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing."
        return
    said = re.sub(r"\s+", " ", error.message)
    yield place, said if len(said) <= 200 else f"{said[:120]} … {said[-70:]}"


def _words(place: Place) -> str:
    """The place as people write it: jobs.test.steps[2].run"""
    said = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in place)
    return said.lstrip(".")[:120] or "the workflow"


def stages(jobs: Mapping[str, Mapping[str, Any]]) -> tuple[list[list[str]], list[str]]:
    """Jobs that can run side by side, one stage after the other; and those that wait for each other for ever."""
    waiting = {name: [one for one in needs(job) if one in jobs] for name, job in jobs.items()}
    ordered: list[list[str]] = []
    done: set[str] = set()
    while waiting:
        ready = [name for name, others in waiting.items() if done.issuperset(others)]
        if not ready:
            return ordered, list(waiting)
        ordered.append(ready)
        done.update(ready)
        waiting = {name: others for name, others in waiting.items() if name not in done}
    return ordered, []


def needs(job: Mapping[str, Any]) -> list[str]:
    """The jobs that a job waits for."""
    found = job.get("needs")
    return [found] if isinstance(found, str) else [str(one) for one in found] if isinstance(found, list) else []


def lint(workflow: Workflow) -> list[Found]:
    """What is wrong or unsafe, by our rules, the worst first."""
    found = [
        *_whole(workflow),
        *(one for job in workflow.jobs for one in _job(workflow, job)),
        *(
            one
            for job in workflow.jobs
            for place, step in workflow.steps(job)
            for one in _step(workflow, job, place, step)
        ),
        *_texts(workflow),
    ]
    return sorted(set(found), key=lambda one: (RANKS.index(one.severity), one.line, one.rule, one.title))


def _whole(workflow: Workflow) -> Iterator[Found]:
    for place, line in workflow.twice:
        yield Found(
            "high",
            "twice",
            f"“{place[-1]}” is written twice",
            line,
            _words(place),
            "Only one of them counts.",
            "Join them.",
        )
    jobs = workflow.jobs
    for name, job in jobs.items():
        for other in needs(job):
            if other not in jobs:
                yield Found(
                    "high",
                    "unknown-need",
                    f"There is no job {other}",
                    workflow.line(("jobs", name, "needs")),
                    f"jobs.{name}.needs",
                    f"{name} waits for it, so the workflow does not start.",
                    f"Name one of: {', '.join(one for one in jobs if one != name) or 'no other job is there'}.",
                )
    _, circle = stages(jobs)
    if circle:
        yield Found(
            "high",
            "circle",
            "Jobs wait for each other",
            workflow.line(("jobs", circle[0], "needs")),
            "jobs",
            f"None of {', '.join(circle)} can ever start.",
            "Take one of their needs away.",
        )
    triggers = workflow.triggers
    top = workflow.content.get("permissions")
    without = [name for name, job in jobs.items() if "permissions" not in job]
    if top is None and without:
        yield Found(
            "medium",
            "permissions",
            "The token’s permissions are not said",
            workflow.line(("jobs", without[0])),
            ", ".join(f"jobs.{one}" for one in without)[:120],
            "The job then has whatever the repository gives by default, which may be to write everything.",
            "Add “permissions: contents: read” at the top, and more only where a job needs it.",
        )
    if "pull_request_target" in triggers:
        yield Found(
            "medium",
            "pull-request-target",
            "It runs for pull requests from forks with secrets and a token that may write",
            workflow.line(("on", "pull_request_target")),
            "on.pull_request_target",
            "Nothing that a stranger wrote may be run or read as code in it.",
            "Use pull_request, unless the job only labels or comments.",
        )
    if "concurrency" not in workflow.content and "pull_request" in triggers:
        yield Found(
            "info",
            "concurrency",
            "Old runs of a pull request go on beside new ones",
            workflow.line(("on",)),
            "on",
            "",
            "Add concurrency with cancel-in-progress.",
        )


def _job(workflow: Workflow, name: str) -> Iterator[Found]:
    job = workflow.jobs[name]
    at: Place = ("jobs", name)
    where = f"jobs.{name}"
    given: list[tuple[Place, Any]] = (
        [(("permissions",), workflow.content.get("permissions"))] if name == next(iter(workflow.jobs)) else []
    )
    given.append(((*at, "permissions"), job.get("permissions")))
    for place, permissions in given:
        if permissions == "write-all":
            yield Found(
                "high",
                "write-all",
                "The token may write everything",
                workflow.line(place),
                _words(place),
                "Any step, and any action it uses, can push code and publish releases.",
                "Name what is needed, for example contents: read.",
            )
    runner = job.get("runs-on")
    labels = [one for one in (runner if isinstance(runner, list) else [runner]) if isinstance(one, str)]
    labels += [one for one in _matrix(job) if one in GONE]
    for label in labels:
        if label in GONE:
            yield Found(
                "high",
                "runner-gone",
                f"There is no runner {label} any more",
                workflow.line((*at, "runs-on")),
                where,
                "GitHub has taken the image away; the job waits and fails.",
                "Choose a newer one, for example ubuntu-24.04.",
            )
    from_forks = {"pull_request", "pull_request_target"} & set(workflow.triggers)
    if "self-hosted" in labels and from_forks:
        yield Found(
            "high",
            "self-hosted",
            "A pull request runs on your own machine",
            workflow.line((*at, "runs-on")),
            where,
            "In a public repository anybody can run anything on it, and leave something behind.",
            "Run pull requests on GitHub’s runners.",
        )
    if "timeout-minutes" not in job and "uses" not in job:
        yield Found(
            "low",
            "timeout",
            "It may run for six hours",
            workflow.line(at),
            where,
            "A job that hangs is paid until it is stopped.",
            "Add timeout-minutes.",
        )
    seen: dict[str, int] = {}
    for place, step in workflow.steps(name):
        identity = step.get("id")
        if isinstance(identity, str):
            if identity in seen:
                yield Found(
                    "high",
                    "step-id",
                    f"Two steps are called {identity}",
                    workflow.line((*place, "id")),
                    _words(place),
                    f"The other is on line {seen[identity]}.",
                    "Give each an id of its own.",
                )
            seen.setdefault(identity, workflow.line((*place, "id")))
    is_guarded = any(word in str(job.get("if", "")) for word in ("event_name", "head.repo", "github.ref", "actor"))
    used = sorted(secrets_of(job) - {"GITHUB_TOKEN"})
    if used and from_forks and not is_guarded and "environment" not in job:
        is_target = "pull_request_target" in from_forks
        yield Found(
            "high" if is_target else "medium",
            "secrets-in-pull-request",
            f"Secrets are used in pull requests: {', '.join(used)[:80]}",
            workflow.line(at),
            where,
            "Code from a fork runs beside them and can send them away."
            if is_target
            else "Pull requests from forks get none and fail; those of colleagues run changed code beside them.",
            "Move what needs them to a job with if: github.event_name != 'pull_request', or into an environment.",
        )
    if "uses" in job:
        yield from _used(workflow, (*at, "uses"), job["uses"])


def _matrix(job: Mapping[str, Any]) -> list[str]:
    strategy = job.get("strategy")
    matrix = strategy.get("matrix") if isinstance(strategy, dict) else None
    values = matrix.values() if isinstance(matrix, dict) else ()
    return [one for value in values if isinstance(value, list) for one in value if isinstance(one, str)]


def secrets_of(part: Any) -> set[str]:
    if isinstance(part, str):
        inside = re.findall(r"\$\{\{(.*?)\}\}", part, re.DOTALL)
        return {first or second for one in inside for first, second in SECRET.findall(one)}
    if isinstance(part, dict):
        return {one for value in part.values() for one in secrets_of(value)}
    return {one for value in part for one in secrets_of(value)} if isinstance(part, list) else set()


def _step(workflow: Workflow, job: str, place: Place, step: Mapping[str, Any]) -> Iterator[Found]:
    where = f"jobs.{job}, step {int(place[-1]) + 1}"
    uses = step.get("uses")
    if isinstance(uses, str):
        yield from _used(workflow, (*place, "uses"), uses)
    inputs = step.get("with")
    inputs = inputs if isinstance(inputs, dict) else {}
    scripts = [((*place, "run"), step.get("run"))]
    if isinstance(uses, str) and uses.startswith("actions/github-script@"):
        scripts.append(((*place, "with", "script"), inputs.get("script")))
    for at, script in scripts:
        if not isinstance(script, str):
            continue
        for said, line in _within(UNTRUSTED, script, workflow.line(at)):
            yield Found(
                "critical",
                "injection",
                f"What a stranger writes is run: {said}",
                line,
                where,
                'GitHub puts the text into the script before the shell reads it; a title such as a"; curl … | sh runs.',
                'Put it into env: of the step, and use "$NAME" in the script.',
            )
        for said, line in _within(ASKED, script, workflow.line(at)):
            yield Found(
                "low",
                "input-in-script",
                f"An input is put into the script: {said}",
                line,
                where,
                "Who may start the workflow may run what they like in it.",
                'Put it into env: of the step, and use "$NAME" in the script.',
            )
        for name in sorted(secrets_of(script)):
            yield Found(
                "low",
                "secret-in-script",
                f"The secret {name} is put into the script",
                workflow.line(at),
                where,
                "Quotes in it break the script, and it stands in the list of processes.",
                "Put it into env: of the step.",
            )
        if found := re.search(r"::(set-output|save-state|set-env|add-path)\b", script):
            yield Found(
                "medium",
                "old-command",
                f"The command ::{found[1]}:: is no longer supported",
                workflow.line(at) + script[: found.start()].count("\n"),
                where,
                "",
                "Write to $GITHUB_OUTPUT, $GITHUB_STATE, $GITHUB_ENV or $GITHUB_PATH.",
            )
    head = json.dumps(inputs, default=str)
    is_checkout = isinstance(uses, str) and uses.startswith("actions/checkout@")
    if (
        is_checkout
        and "pull_request_target" in workflow.triggers
        and re.search(r"head\.(sha|ref)|head_ref|/merge", head)
    ):
        yield Found(
            "critical",
            "checkout-of-a-fork",
            "The code of a fork is checked out beside secrets",
            workflow.line((*place, "uses")),
            where,
            "A stranger’s build scripts run with a token that may write.",
            "Use pull_request for what builds or tests.",
        )


def _within(pattern: re.Pattern[str], script: str, line: int) -> Iterator[tuple[str, int]]:
    """What is found in a script, with its line; a block of text begins on the line after its key."""
    below = 1 if "\n" in script else 0
    for found in pattern.finditer(script):
        yield found[1], line + below + script[: found.start()].count("\n")


def _used(workflow: Workflow, place: Place, uses: Any) -> Iterator[Found]:
    if not isinstance(uses, str) or uses.startswith("./"):
        return
    line, where = workflow.line(place), _words(place)
    if uses.startswith("docker://"):
        if "@sha256:" not in uses:
            is_moving = ":" not in uses.removeprefix("docker://").rpartition("/")[2] or uses.endswith(":latest")
            yield Found(
                "medium" if is_moving else "low",
                "unpinned-image",
                f"The image may change: {uses}",
                line,
                where,
                "",
                "Name its digest: image@sha256:…",
            )
        return
    name, has_ref, ref = uses.partition("@")
    if not has_ref or not ref:
        yield Found("high", "unpinned-action", f"No version is named: {uses}", line, where, "", "Add @ and a version.")
    elif re.fullmatch(r"[0-9a-f]{40}", ref):
        return
    elif not re.fullmatch(r"v?\d+(\.\d+){0,2}([-+.][\w.]+)?", ref):
        yield Found(
            "high",
            "unpinned-action",
            f"{name} is used as its branch {ref} is today",
            line,
            where,
            "Whoever may push to that branch runs code in your pipeline, with its secrets.",
            "Name a version, or best the whole commit hash.",
        )
    elif name.partition("/")[0] not in ("actions", "github"):
        yield Found(
            "low",
            "tag-can-move",
            f"{name} is pinned by the tag {ref}",
            line,
            where,
            "Its owner, or who takes over their account, can move a tag.",
            "Name the whole commit hash where the job has secrets or may write.",
        )
    major = re.match(r"v?(\d+)", ref)
    if name in OLD_ACTION and major and int(major[1]) <= OLD_ACTION[name]:
        yield Found(
            "high",
            "action-gone",
            f"GitHub no longer runs {name}@{ref}",
            line,
            where,
            "",
            f"Use v{OLD_ACTION[name] + 1} or later.",
        )


def _texts(workflow: Workflow) -> Iterator[Found]:
    """What can stand anywhere."""
    waiting: list[tuple[Place, Any]] = [((), workflow.content)]
    while waiting:
        place, part = waiting.pop()
        if isinstance(part, dict):
            waiting += [((*place, name), one) for name, one in part.items()]
        elif isinstance(part, list):
            waiting += [((*place, number), one) for number, one in enumerate(part)]
        elif isinstance(part, str):
            line, where = workflow.line(place), _words(place)
            if WRITTEN_SECRET.search(part):
                yield Found(
                    "critical",
                    "written-secret",
                    "A secret is written into the workflow",
                    line,
                    where,
                    "Everybody who can read the repository has it, and so has its history.",
                    "Make a new one, take this one back, and keep it under Settings → Secrets.",
                )
            if part.count("${{") != len(re.findall(r"\$\{\{.*?\}\}", part, re.DOTALL)):
                yield Found("high", "expression", "An expression is not closed", line, where, "", "Close it with }}.")
            elif place and place[-1] == "if" and re.search(r"\$\{\{.*?\}\}", part, re.DOTALL):
                around = re.sub(r"\$\{\{.*?\}\}", "", part, flags=re.DOTALL).strip()
                if around:
                    yield Found(
                        "medium",
                        "always-true",
                        "This condition is always true",
                        line,
                        where,
                        "Text around an expression makes the whole a text, and a text that is not empty is true.",
                        "Put the whole condition inside ${{ }}, or leave the braces out.",
                    )
