"""A deployment bundle for a described app: files for the chosen target, judged by its schemas, with a plan.

Compose files are judged by the Compose Specification's schema, manifests by Kubernetes' own (`schemas/SOURCES.md`);
systemd and nginx have none. No secret is ever in a bundle: they are named, and written by hand where they are used.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_registry.fields import Choice, Flag, Number, Rows, Text, Whole
from tools_registry.lazily import lazy
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
from tools_registry.studios.sheets import markdown_table

from .bundles import zipped
from .targets import compose, kubernetes, machine
from .targets.app import DATABASE_CPU, DATABASE_MEMORY_MB, App, Bundle, Service

if TYPE_CHECKING:
    import jsonschema
else:
    jsonschema = lazy("jsonschema")

SCHEMAS = Path(__file__).parent / "schemas"
COMPOSE = json.loads((SCHEMAS / "compose.json").read_text())
KUBERNETES = json.loads((SCHEMAS / "kubernetes.json").read_text())
SCHEMA_OF = {
    "compose": "Compose Specification, as of 2026-10-26",
    "kubernetes": f"Kubernetes {KUBERNETES['version']}, strict, as of 2026-10-11",
    "vm": "none: systemd and nginx have no schema",
}
TARGETS = {
    "compose": "One machine with Docker Compose",
    "kubernetes": "Kubernetes",
    "vm": "One machine with systemd and nginx",
}
MAKERS = {"compose": compose.bundle, "kubernetes": kubernetes.bundle, "vm": machine.bundle}
NAME = re.compile(r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?")
RESERVED = {"database", "proxy", "migrate", "backup", "nothing", "nothing-but-acme", "backups", "secrets"}
SYSTEM = {
    "root",
    "daemon",
    "bin",
    "sys",
    "nginx",
    "postgres",
    "mysql",
    "nobody",
    "systemd",
    "docker",
    "default",
    "ssl",
    "ssh",
}
SYSTEM |= {"apt", "cron", "mail", "www-data", "kube-system", "kube-public", "kube-node-lease"}
DOMAIN = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])")
EMAIL = re.compile(r"[A-Za-z0-9._+-]+@([A-Za-z0-9-]+\.)+[A-Za-z]{2,}")
PATH = re.compile(r"/([A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*)?")
FOLDER = re.compile(r"(/[A-Za-z0-9._-]+)+")
KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
IMAGE = re.compile(
    r"[a-z0-9]+([._-]+[a-z0-9]+)*(:\d+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:\w[\w.-]{0,127})?(@sha256:[0-9a-f]{64})?",
    re.ASCII,
)
SECRET_NAME = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY|CREDENTIAL", re.IGNORECASE)
SECRET_VALUE = re.compile(r"://[^/\s:@]*:[^/\s@]+@|\bAKIA[0-9A-Z]{16}\b|-----BEGIN|\bgh[pousr]_\w{36}|\bsk_live_\w+")
RANKS = ("critical", "high", "medium", "low", "info")


def run(inputs: dict[str, Any], files: dict[str, bytes]) -> Result:
    """{"target", "valid", "files", "steps", "risks", "resources", "secrets", "archive", "judged_by"}."""
    app, moved = _app(inputs)
    target = inputs["target"]
    bundle = MAKERS[target](app)
    judged = _judged(target, bundle)
    risks = _risks(app, target, moved)
    resources = _resources(app, target)
    drawn = _drawn(app, target)
    described = _described(app)
    plan = _plan(app, target, bundle, risks, resources, judged)
    archive = File(
        f"{app.name}-{target}.zip",
        "application/zip",
        zipped(f"{app.name}-{target}", {**bundle.files, "PLAN.md": plan}, bundle.programs),
    )
    wrong = sum(len(one["errors"]) for one in judged)
    result = {
        "target": target,
        "is_valid": not wrong,
        "judged_by": SCHEMA_OF[target],
        "judged": judged,
        "files": [{"path": path, "bytes": len(said.encode())} for path, said in sorted(bundle.files.items())],
        "steps": [
            {"title": one.title, "commands": list(one.commands), "check": one.check, "back": one.back}
            for one in bundle.steps
        ],
        "risks": risks,
        "resources": resources,
        "secrets": app.secrets,
        "archive": archive.name,
    }
    return Result(
        result,
        _view(app, target, bundle, result, described),
        [archive, File("plan.md", "text/markdown", plan.encode()), File("app.svg", "image/svg+xml", drawn)],
    )


# Reading


def _app(inputs: Mapping[str, Any]) -> tuple[App, list[tuple[int, str, str]]]:
    """The app, and the secrets that stood in settings, as (service, name); raises BadInput naming each wrong field."""
    wrong: dict[str, str] = {}
    target = inputs["target"]
    if not NAME.fullmatch(inputs["name"]) or inputs["name"] in SYSTEM:
        wrong["name"] = (
            "Use small letters, digits and dashes, at most 30, begin with a letter; not a name that systems use."
        )
    if inputs["domain"] and not DOMAIN.fullmatch(inputs["domain"]):
        wrong["domain"] = "Write a domain such as office.example.org, in small letters, without https:// or a path."
    if inputs["email"] and not EMAIL.fullmatch(inputs["email"]):
        wrong["email"] = "Write an e-mail address."
    for field in ("ingress_class", "ingress_namespace"):
        if not NAME.fullmatch(inputs[field]):
            wrong[field] = "Use small letters, digits and dashes."
    names = [row["name"] for row in inputs["services"]]
    services: list[Service] = []
    moved: list[tuple[int, str, str]] = []
    for at, row in enumerate(inputs["services"]):
        said = _wrong_service(row, at, names, inputs)
        wrong |= {f"services.{at}.{part}": sentence for part, sentence in said.items()}
        settings, secrets = _environment(row, at, wrong, moved)
        if said:
            continue
        calls = [one.strip() for one in row["calls"].split(",") if one.strip()]
        services.append(
            Service(
                **{
                    key: row[key] for key in ("name", "image", "port", "path", "replicas", "cpu", "memory_mb", "volume")
                },
                **{key: row[key] for key in ("volume_gb", "rights")},
                command=_words(row["command"]) or [],
                line=row["command"],
                health=row["health"],
                replicas_max=max(row["replicas"], row["replicas_max"]),
                settings=settings,
                secrets=secrets,
                calls=list(dict.fromkeys(calls)),
                has_internet=row["internet"],
            )
        )
    _judge_together(inputs, wrong)
    migration = _words(inputs["migration"])
    if migration is None or (target == "vm" and migration and not _is_program(migration)):
        wrong["migration"] = _COMMAND if migration is None else _PROGRAM
    if wrong:
        raise BadInput(wrong)
    app = App(
        **{key: inputs[key] for key in ("name", "domain", "email", "database", "database_gb", "backup_days")},
        **{key: inputs[key] for key in ("ingress_class", "ingress_namespace")},
        services=services,
        migration=migration or [],
        migration_line=inputs["migration"],
    )
    return app, moved


_COMMAND = "Write a command on one line, with each quote closed."
_PROGRAM = "On a machine a command begins with the whole path of a program, for example /opt/office/bin/serve."


def _words(line: str) -> list[str] | None:
    """The words of a command as a shell splits them; None where it cannot."""
    if any(not letter.isprintable() for letter in line):
        return None
    try:
        return shlex.split(line)
    except ValueError:
        return None


def _is_program(words: Sequence[str]) -> bool:
    return bool(words) and bool(re.fullmatch(r"(/[A-Za-z0-9._+@-]+)+", words[0])) and "/.." not in words[0]


def _wrong_service(row: Mapping[str, Any], at: int, names: Sequence[str], inputs: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with a service, by its parts."""
    wrong: dict[str, str] = {}
    name, on_machine = row["name"], inputs["target"] == "vm"
    if not NAME.fullmatch(name) or name in RESERVED:
        wrong["name"] = f"Use small letters, digits and dashes, begin with a letter; not {', '.join(sorted(RESERVED))}."
    elif names.index(name) != at:
        wrong["name"] = f"Service {names.index(name) + 1} is called {name} already."
    if not on_machine and not IMAGE.fullmatch(row["image"]):
        wrong["image"] = "Write an image such as ghcr.io/harbour/office:1.4.2."
    words = _words(row["command"])
    if words is None:
        wrong["command"] = _COMMAND
    elif on_machine and not _is_program(words):
        wrong["command"] = _PROGRAM
    if row["path"] and not PATH.fullmatch(row["path"]):
        wrong["path"] = "Write a path such as / or /api, without a slash at the end."
    elif row["path"] and not row["port"]:
        wrong["port"] = "People reach it, so it listens on a port: write it."
    if row["health"] and not PATH.fullmatch(row["health"]):
        wrong["health"] = "Write a path such as /healthz."
    elif row["health"] and not row["port"]:
        wrong["port"] = "Its health is asked over HTTP, so it listens on a port: write it."
    if row["volume"] and (not FOLDER.fullmatch(row["volume"]) or "/.." in row["volume"] or "/./" in row["volume"]):
        wrong["volume"] = "Write the whole path of a folder, for example /data."
    elif row["volume"] and max(row["replicas"], row["replicas_max"]) > 1:
        wrong["replicas"] = "A service that keeps files runs once: its volume cannot be shared."
    if row["port"] and inputs["target"] == "kubernetes" and row["port"] < 1024 and row["rights"] == "none":
        wrong["port"] = (
            "Without rights it can listen only on ports from 1024; choose one, or give it the rights of root."
        )
    if on_machine and re.search(r"^\s*PORT\s*=", row["settings"], re.MULTILINE):
        wrong["settings"] = "PORT is given to it; leave it out."
    for one in (one.strip() for one in row["calls"].split(",")):
        if one == "database" and inputs["database"] == "none":
            wrong["calls"] = "There is no database; choose one."
        elif one and one != "database" and (one not in names or one == name):
            wrong["calls"] = f"There is no other service {one[:40]}; name services, or database, parted by commas."
        elif one and one != "database" and not inputs["services"][names.index(one)]["port"]:
            wrong["calls"] = f"{one} listens on no port: nobody can call it."
    return wrong


def _environment(
    row: Mapping[str, Any], at: int, wrong: dict[str, str], moved: list[tuple[int, str, str]]
) -> tuple[dict[str, str], list[str]]:
    """The settings and the names of secrets; a setting that looks like a secret becomes one."""
    settings: dict[str, str] = {}
    secrets: list[str] = []
    for number, line in enumerate(row["settings"].splitlines(), 1):
        if not line.strip():
            continue
        name, has_value, value = (part.strip() for part in line.partition("="))
        if not KEY.fullmatch(name) or not has_value or any(not letter.isprintable() for letter in value):
            wrong[f"services.{at}.settings"] = f"Line {number}: write NAME=value."
        elif name in settings:
            wrong[f"services.{at}.settings"] = f"Line {number}: {name} is set twice."
        elif (SECRET_NAME.search(name) and value and not value.startswith("/")) or SECRET_VALUE.search(value):
            moved.append((at, row["name"], name))
            secrets.append(name)
        else:
            settings[name] = value
    for name in (one.strip() for one in re.split(r"[,\n]", row["secrets"])):
        if name and not KEY.fullmatch(name):
            wrong[f"services.{at}.secrets"] = (
                "Write names of letters, digits and underscores, parted by commas; never the secret."
            )
        elif name in settings:
            wrong[f"services.{at}.secrets"] = f"{name} is a setting already."
        elif name and name not in secrets:
            secrets.append(name)
    for name in ("DATABASE_URL", "DATABASE_PASSWORD"):
        if name in secrets and "database" in row["calls"]:
            secrets.remove(name)
    return settings, secrets


def _judge_together(inputs: Mapping[str, Any], wrong: dict[str, str]) -> None:
    """Adds what is wrong between services."""
    paths: dict[str, int] = {}
    ports: dict[int, str] = {}
    for at, row in enumerate(inputs["services"]):
        if row["path"]:
            if row["path"] in paths:
                wrong[f"services.{at}.path"] = f"Service {paths[row['path']] + 1} has this path already."
            paths.setdefault(row["path"], at)
        if inputs["target"] != "vm" or not row["port"]:
            if inputs["target"] == "vm" and row["replicas"] > 1:
                wrong[f"services.{at}.replicas"] = "Without a port only one can run on a machine."
            continue
        if row["port"] + row["replicas"] > 65536 or row["port"] < 1024:
            wrong[f"services.{at}.port"] = "On a machine choose a port from 1024, with room for each copy."
        for port in range(row["port"], row["port"] + row["replicas"]):
            if port in ports and ports[port] != row["name"]:
                wrong[f"services.{at}.port"] = f"Port {port} is taken by {ports[port]}; each copy takes the next one."
                break
            ports[port] = row["name"]


# Judging


def _judged(target: str, bundle: Bundle) -> list[dict[str, Any]]:
    """Each document with what its schema says against it."""
    found = []
    for path, documents in bundle.documents.items():
        for document in documents:
            schema = COMPOSE
            kind = "Compose file"
            if target == "kubernetes":
                kind = str(document["kind"])
                schema = {"$ref": f"#/$defs/{KUBERNETES['kinds'][kind]}", "$defs": KUBERNETES["$defs"]}
            errors = [
                f"{'.'.join(map(str, one.absolute_path))}: {' '.join(one.message.split())[:300]}"
                for one in jsonschema.Draft202012Validator(schema).iter_errors(document)
            ]
            found.append({"file": path, "kind": kind, "errors": sorted(errors)})
    return found


def _risks(app: App, target: str, moved: Sequence[tuple[int, str, str]]) -> list[dict[str, str]]:
    """What may go wrong, the worst first."""
    found: list[dict[str, str]] = []

    def say(severity: str, rule: str, title: str, where: str, said: str = "", fix: str = "") -> None:
        found.append({"severity": severity, "rule": rule, "title": title, "where": where, "text": said, "fix": fix})

    for _, service, name in moved:
        say(
            "critical",
            "secret-in-settings",
            f"{name} looks like a secret",
            service,
            "Its value is not in the bundle: the service is given it by name, as a secret.",
            "Make a new one, since this one was written down, and keep it only where secrets are kept.",
        )
    for one in app.services:
        tag = one.image.partition("@")[0].rpartition("/")[2].partition(":")[2]
        if target != "vm" and "@sha256:" not in one.image:
            if tag in ("", "latest"):
                said = "What runs tomorrow may be another program, and there is no way back to today’s."
                say(
                    "high",
                    "latest-tag",
                    f"{one.image} is whatever is newest",
                    one.name,
                    said,
                    "Name a version, or best a digest.",
                )
            else:
                say("info", "no-digest", f"The tag {tag} can be moved", one.name, "", "Name the digest: image@sha256:…")
        if one.rights == "privileged":
            said = "Whoever takes over the service has the machine."
            say(
                "critical",
                "privileged",
                "It has every right on its machine",
                one.name,
                said,
                "Name the one right it needs, or none.",
            )
        elif one.rights == "root":
            say("medium", "root", "It runs as root", one.name, "", "Run it as a user without rights.")
        if not one.memory_mb:
            said = "One leak takes everything else on the machine with it."
            say(
                "high",
                "no-memory-limit",
                "Its memory has no limit",
                one.name,
                said,
                "Measure it, and set a limit above.",
            )
        if not one.cpu:
            say("medium", "no-cpu-limit", "Its CPU has no limit", one.name, "", "Set a limit; it can be generous.")
        if one.port and not one.health:
            said = "A service that hangs still gets requests, and is not started again."
            say(
                "medium",
                "no-health-check",
                "Nobody asks whether it is well",
                one.name,
                said,
                "Give it a path such as /healthz.",
            )
        if one.path and one.replicas == 1:
            said = "Each restart, and each broken machine, is an outage."
            say("medium", "one-copy", "There is one of it", one.name, said, "Run two.")
        if one.replicas > 1 and target != "kubernetes":
            say(
                "low",
                "one-machine",
                "All copies are on one machine",
                one.name,
                "They help against a crash, not a broken machine.",
            )
        if one.volume:
            said = "Only the database is backed up by this bundle."
            say(
                "medium",
                "volume-without-backup",
                f"{one.volume} has no backup",
                one.name,
                said,
                "Back it up where it is kept.",
            )
    if app.public and not app.domain:
        said = "Anybody on the way reads and changes what is sent."
        say(
            "high" if target == "kubernetes" else "medium",
            "no-tls",
            "Without a domain there is no TLS",
            "the app",
            said,
            "Give it a domain.",
        )
    if target == "kubernetes" and app.public and app.ingress_class == "nginx":
        said = (
            "Kubernetes’ own ingress-nginx is retired: since March 2026 nobody mends what is found in it. "
            "Other controllers of this class, such as F5’s, are kept."
        )
        say(
            "high" if app.ingress_namespace == "ingress-nginx" else "low",
            "retired-ingress",
            "The ingress controller may be one that nobody mends",
            "the app",
            said,
            "Move to one that is kept, such as Traefik, HAProxy, or a gateway of the Gateway API.",
        )
    if app.is_database_ours:
        if not app.backup_days:
            say("high", "no-backup", "The database has no backup", "database", "", "Keep at least seven days.")
        else:
            said = "What takes the volumes takes the backups too."
            say(
                "medium",
                "backup-beside",
                "Backups are kept beside the database",
                "database",
                said,
                "Copy them elsewhere, and restore one each month.",
            )
        say("low", "one-database", "There is one database", "database", "When its machine is away, so is the app.")
    if app.database != "none" and not app.migration:
        say(
            "info",
            "no-migration",
            "No migration is part of the plan",
            "database",
            "",
            "Name the command, so that it is never forgotten.",
        )
    return sorted(found, key=lambda one: (RANKS.index(one["severity"]), one["where"], one["rule"]))


def _resources(app: App, target: str) -> dict[str, Any]:
    """What the app takes: each service, usually and at most, and the sum."""
    rows: list[dict[str, Any]] = [
        {
            "service": one.name,
            "copies": one.replicas,
            "copies_most": one.replicas_max if target == "kubernetes" else one.replicas,
            "cpu_each": one.cpu,
            "memory_mb_each": one.memory_mb,
            "storage_gb": one.volume_gb if one.volume else 0,
        }
        for one in app.services
    ]
    if app.is_database_ours:
        rows.append(
            {
                "service": "database",
                "copies": 1,
                "copies_most": 1,
                "cpu_each": DATABASE_CPU,
                "memory_mb_each": DATABASE_MEMORY_MB,
                "storage_gb": app.database_gb * (3 if app.has_backups else 1),
            }
        )

    def total(copies: str, each: str) -> float:
        return round(sum(row[copies] * row[each] for row in rows), 3)

    return {
        "services": rows,
        "cpu": total("copies", "cpu_each"),
        "cpu_most": total("copies_most", "cpu_each"),
        "memory_mb": total("copies", "memory_mb_each"),
        "memory_mb_most": total("copies_most", "memory_mb_each"),
        "storage_gb": sum(row["storage_gb"] for row in rows),
    }


# Telling


def _described(app: App) -> str:
    said = (
        [f"People reach {', '.join(one.name for one in app.public)}"]
        if app.public
        else ["Nobody reaches it from outside"]
    )
    said += [f"{one.name} calls {' and '.join(one.calls)}" for one in app.services if one.calls]
    return "; ".join(said) + "."


def _drawn(app: App, target: str) -> bytes:
    door = {"compose": "Caddy", "kubernetes": "Ingress", "vm": "nginx"}[target]
    nodes = [drawing.Node("people", "People", shape="pill")] if app.public else []
    nodes += (
        [
            drawing.Node(
                "door", door, kind="TLS" if app.domain else "no TLS", tone="sea" if app.domain else "coral", zone="app"
            )
        ]
        if app.public
        else []
    )
    edges = [drawing.Edge("people", "door", app.domain)] if app.public else []
    for one in app.services:
        copies = (
            f"{one.replicas} to {one.replicas_max} copies"
            if one.replicas_max > one.replicas and target == "kubernetes"
            else f"{one.replicas} cop{'y' if one.replicas == 1 else 'ies'}"
        )
        limits = " · ".join(
            [*([f"{one.cpu:g} CPU"] if one.cpu else []), *([f"{one.memory_mb} MB"] if one.memory_mb else [])]
        )
        nodes.append(
            drawing.Node(
                f"s-{one.name}",
                one.name,
                kind=f"port {one.port}" if one.port else "no port",
                tone="coral" if one.rights == "privileged" else "plain",
                lines=[copies, limits or "no limits", *([f"keeps {one.volume}"] if one.volume else [])],
                zone="app",
            )
        )
        edges += [drawing.Edge("door", f"s-{one.name}", one.path)] if one.path else []
        edges += [
            drawing.Edge(f"s-{one.name}", "database" if other == "database" else f"s-{other}") for other in one.calls
        ]
    if app.database != "none":
        is_ours = app.is_database_ours
        size = [f"{app.database_gb} GB"] if is_ours else ["run by others"]
        zone = "app" if is_ours else ""
        label = {"postgresql": "PostgreSQL", "mysql": "MySQL"}.get(app.database, "Database")
        nodes.append(drawing.Node("database", label, shape="store", tone="brass", lines=size, zone=zone))
    if app.has_backups:
        nodes.append(
            drawing.Node(
                "backups", "Backups", shape="store", tone="quiet", lines=[f"{app.backup_days} days"], zone="app"
            )
        )
        edges.append(drawing.Edge("database", "backups", "every night", is_dashed=True))
    return drawing.diagram(
        app.name, nodes, edges, [drawing.Zone("app", TARGETS[target])], direction="down", described=_described(app)
    )


def _plan(
    app: App,
    target: str,
    bundle: Bundle,
    risks: Sequence[Mapping[str, str]],
    resources: Mapping[str, Any],
    judged: Sequence[Mapping[str, Any]],
) -> str:
    """The plan as Markdown."""
    parts = [f"# Deploying {app.name}", "", f"Target: {TARGETS[target]}. {_described(app)}", "", "## Steps", ""]
    for number, one in enumerate(bundle.steps, 1):
        parts += [f"### {number}. {one.title}", "", "```sh", *one.commands, "```", ""]
        parts += [f"Done when: {one.check}", "", f"Way back: {one.back}", ""]
    parts += ["## Risks", ""]
    rows = [[one["severity"], one["title"], one["where"], one["fix"] or one["text"]] for one in risks]
    parts += [markdown_table(["Severity", "Risk", "Where", "What to do"], rows) if rows else "None was found.", ""]
    parts += ["## What it takes", "", markdown_table(_RESOURCES, _resource_rows(resources)), ""]
    parts += ["## Judged by", ""]
    wrong = [f"- {one['file']}: {error}" for one in judged for error in one["errors"]]
    parts += [f"{SCHEMA_OF[target]}: {len(judged)} documents, {len(wrong)} faults.", *wrong, ""]
    if assumed := _assumed(app, target):
        parts += ["## What is taken for granted", "", *(f"- {one}" for one in assumed), ""]
    return "\n".join(parts)


def _assumed(app: App, target: str) -> list[str]:
    """What the plan builds on and the bundle cannot bring."""
    if target == "compose":
        said = ["Docker Engine with Compose 2.20 or later."]
        if app.domain:
            said.append(f"{app.domain} points at the machine, and its ports 80 and 443 are open.")
        kept = [one for one in app.services if one.volume and one.rights == "none"]
        return said + [f"The image of {one.name} gives {one.volume} to the user 10001." for one in kept]
    if target == "vm":
        return [
            "Debian 12 or Ubuntu 24.04, with the programs of the services in place.",
            "Each service listens on 127.0.0.1, on the port in PORT.",
        ]
    said = ["The cluster’s network enforces network policies.", "A default storage class makes volumes."]
    if app.public:
        said.append(
            f"An ingress controller of class {app.ingress_class} runs in the namespace {app.ingress_namespace}."
        )
    if app.domain:
        said.append("cert-manager has a cluster issuer called letsencrypt.")
    return said


_RESOURCES = ("Service", "Copies", "Most", "CPU each", "Memory each, MB", "Storage, GB")


def _resource_rows(resources: Mapping[str, Any]) -> list[list[Any]]:
    keys = ("service", "copies", "copies_most", "cpu_each", "memory_mb_each", "storage_gb")
    return [[row[key] for key in keys] for row in resources["services"]]


def _view(app: App, target: str, bundle: Bundle, result: Mapping[str, Any], described: str) -> list[Block]:
    resources, risks, judged = result["resources"], result["risks"], result["judged"]
    faults = sum(len(one["errors"]) for one in judged)
    fits = "has no schema" if not judged else "Yes" if not faults else f"No: {faults} faults"
    view: list[Block] = [
        facts(
            "At a glance",
            [
                ("Target", TARGETS[target]),
                ("Files", len(bundle.files) + 1),
                ("Fits its schema", fits),
                ("Steps", len(bundle.steps)),
                ("Risks", len(risks)),
                ("CPU, all copies", resources["cpu"]),
                ("Memory, all copies", f"{resources['memory_mb']:g} MB"),
                ("Storage", f"{resources['storage_gb']} GB"),
            ],
        ),
        findings("Risks", risks, none="No rule found any."),
        picture("What runs where", "app.svg", described=described),
        table(
            "Plan",
            ["Step", "What", "Done when", "Way back"],
            [[at, one.title, one.check, one.back] for at, one in enumerate(bundle.steps, 1)],
        ),
        code(
            "Its commands",
            "\n\n".join("\n".join([f"# {at}. {one.title}", *one.commands]) for at, one in enumerate(bundle.steps, 1)),
            language="sh",
        ),
        table(
            "What it takes",
            _RESOURCES,
            _resource_rows(resources),
            note="At most: when it is scaled up. Storage with backups.",
        ),
    ]
    if judged:
        kinds: dict[str, list[str]] = {}
        for one in judged:
            kinds.setdefault(one["file"], []).append(one["kind"])
        said = {path: [error for one in judged if one["file"] == path for error in one["errors"]] for path in kinds}
        rows = [
            [
                path,
                ", ".join(f"{found.count(one)} {one}" for one in dict.fromkeys(found)),
                "; ".join(said[path])[:300] or "fits",
            ]
            for path, found in kinds.items()
        ]
        view.append(
            table("Judged", ["File", "What is in it", "Against the schema"], rows, note=f"{SCHEMA_OF[target]}.")
        )
    if assumed := _assumed(app, target):
        view.append(text("What is taken for granted", assumed))
    first = app.services[0]
    shown = {
        "compose": ["compose.yaml"],
        "kubernetes": [f"k8s/40-{first.name}.yaml", "k8s/10-network.yaml"],
        "vm": [f"systemd/{machine.unit(app, first)}", "install.sh"],
    }[target]
    languages = {"yaml": "yaml", "service": "ini", "conf": "nginx", "sh": "sh"}
    view += [code(path, bundle.files[path], language=languages.get(path.rpartition(".")[2], "")) for path in shown]
    return view


def _short(name: str, title: str, help: str = "", length: int = 200, **more: Any) -> Text:
    return Text(name=name, title=title, help=help, length_max=length, is_short=True, **({"default": ""} | more))


TOOL = Tool(
    slug="dev-studio/deployment",
    title="Deployment bundle",
    noun="bundle",
    summary="Everything an app needs on its target, validated, with a plan, its way back, and the risks.",
    mode="server",
    risk="high",
    credits_max=100,
    limits=Limits(cpu_seconds=30, seconds=60),
    icon="rocket",
    fields=(
        Choice(name="target", title="Target", choices=TARGETS, default="compose", is_required=True),
        Text(
            name="name",
            title="Name of the app",
            help="Small letters, digits, dashes.",
            length_max=30,
            is_short=True,
            is_required=True,
        ),
        _short("domain", "Domain", "With one there is TLS. Empty: none.", 253),
        _short("email", "E-mail for the certificate", "May be left out.", 254),
        Rows(
            name="services",
            title="Services",
            noun="service",
            count_min=1,
            count_max=20,
            is_required=True,
            fields=(
                Text(name="name", title="Name", length_max=30, is_short=True, is_required=True),
                _short("image", "Image", "With its version. Not for a machine.", 300),
                _short("command", "Command", "Empty: the image’s own. A machine needs one.", 500),
                Whole(name="port", title="Port", help="0: it listens on none.", min=0, max=65535, default=8000),
                _short("path", "Path that people reach", "/ or /api. Empty: nobody from outside."),
                _short("health", "Path that tells its health", "For example /healthz."),
                Whole(name="replicas", title="Copies", min=1, max=50, default=1),
                Whole(
                    name="replicas_max",
                    title="Copies when busy",
                    help="Kubernetes only. 0: no more.",
                    min=0,
                    max=200,
                    default=0,
                ),
                Number(name="cpu", title="CPU limit", help="0: none.", min=0, max=64, default=0.5),
                Whole(
                    name="memory_mb", title="Memory limit", help="0: none.", min=0, max=262144, default=256, unit="MB"
                ),
                _short("calls", "Calls", "Other services, or database, parted by commas."),
                Text(
                    name="settings",
                    title="Settings",
                    help="NAME=value, one a line. No secrets.",
                    length_max=5000,
                    is_code=True,
                    default="",
                ),
                _short("secrets", "Secrets, by name", "Parted by commas; never the secret itself.", 1000),
                _short("volume", "Folder that it keeps", "For example /data. Empty: none."),
                Whole(name="volume_gb", title="Size of the folder", min=1, max=10000, default=5, unit="GB"),
                Choice(
                    name="rights",
                    title="Rights on its machine",
                    choices={
                        "none": "None",
                        "root": "Root, inside its container",
                        "privileged": "Every right (privileged)",
                    },
                    default="none",
                ),
                Flag(name="internet", title="May call the Internet", default=False),
            ),
        ),
        Choice(
            name="database",
            title="Database",
            choices={"none": "None", "postgresql": "PostgreSQL", "mysql": "MySQL", "elsewhere": "One that others run"},
            default="none",
        ),
        Whole(name="database_gb", title="Size of the database", min=1, max=10000, default=10, unit="GB"),
        Whole(
            name="backup_days", title="Keep backups for", help="0: no backups.", min=0, max=365, default=7, unit="days"
        ),
        _short(
            "migration",
            "Command that migrates the database",
            "Run in the first service’s image before the app starts.",
            500,
        ),
        _short("ingress_class", "Ingress class", "Kubernetes only.", 30, default="traefik"),
        _short("ingress_namespace", "Namespace of the ingress controller", "Kubernetes only.", 30, default="traefik"),
    ),
    function=run,
    example={
        "target": "kubernetes",
        "name": "harbour-office",
        "domain": "office.example.org",
        "services": [
            {
                "name": "web",
                "image": "ghcr.io/harbour/office:1.4.2",
                "port": 8000,
                "path": "/",
                "health": "/healthz",
                "replicas": 2,
                "replicas_max": 6,
                "cpu": 0.5,
                "memory_mb": 512,
                "calls": "database, tides",
                "settings": "LOG_LEVEL=info\nTIME_ZONE=Europe/London",
                "secrets": "SECRET_KEY",
            },
            {
                "name": "tides",
                "image": "ghcr.io/harbour/tides:latest",
                "port": 9000,
                "path": "/tides",
                "replicas": 1,
                "cpu": 0.25,
                "memory_mb": 128,
                "internet": True,
            },
            {
                "name": "worker",
                "image": "ghcr.io/harbour/office:1.4.2",
                "command": "office work --queue mail",
                "port": 0,
                "cpu": 1,
                "memory_mb": 512,
                "calls": "database",
                "secrets": "SECRET_KEY, SMTP_PASSWORD",
                "internet": True,
            },
        ],
        "database": "postgresql",
        "database_gb": 20,
        "backup_days": 14,
        "migration": "office migrate",
    },
)
