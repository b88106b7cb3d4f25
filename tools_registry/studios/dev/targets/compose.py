"""One machine with Docker Compose: a proxy with TLS in front, networks by who may call whom, secrets from .env."""

from __future__ import annotations

from typing import Any

from ..bundles import as_yaml
from .app import DATABASE_CPU, DATABASE_IMAGES, DATABASE_MEMORY_MB, App, Bundle, Service, Step, backup_script

PROXY = "caddy:2.8-alpine"


def bundle(app: App) -> Bundle:
    """compose.yaml, the proxy's file and an example of .env."""
    made = Bundle()
    services: dict[str, Any] = {}
    volumes: dict[str, Any] = {}
    if app.public:
        services["proxy"] = _proxy(app)
        volumes |= {"proxy-state": {}, "proxy-config": {}}
        made.files["Caddyfile"] = _caddyfile(app)
    if app.is_database_ours:
        services["database"] = _database(app)
        volumes["database"] = {}
    if app.migration:
        services["migrate"] = _migrate(app)
    for one in app.services:
        services[one.name] = _service(app, one)
        if one.volume:
            volumes[f"{one.name}-kept"] = {}
    if app.has_backups:
        services["backup"] = _backup(app)
        volumes["backups"] = {}
    document: dict[str, Any] = {"name": app.name, "services": services, "networks": {"outside": {}}}
    if any(network == "inside" for one in services.values() for network in one["networks"]):
        document["networks"]["inside"] = {"internal": True}
    if volumes:
        document["volumes"] = volumes
    made.documents["compose.yaml"] = [document]
    made.files["compose.yaml"] = as_yaml(document)
    if app.secrets:
        made.files[".env.example"] = "".join(
            f"{name}={app.example_url if name == 'DATABASE_URL' else ''}\n" for name in app.secrets
        )
    made.steps = _steps(app)
    return made


def _kept(said: str) -> str:
    """The text as Compose leaves it: a dollar would begin a variable."""
    return said.replace("$", "$$")


def _asked(name: str) -> str:
    return f"${{{name}:?write it into .env}}"


def _hardened(rights: str) -> dict[str, Any]:
    if rights == "privileged":
        return {"privileged": True}
    said: dict[str, Any] = {"cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}
    if rights == "root":
        return said
    return {"user": "10001:10001", "read_only": True, "tmpfs": ["/tmp"], **said}  # noqa: S108


def _limited(cpu: float, memory_mb: int, replicas: int = 1) -> dict[str, Any]:
    limits = {"cpus": f"{cpu:g}"} if cpu else {}
    limits |= {"memory": f"{memory_mb}M"} if memory_mb else {}
    said: dict[str, Any] = {"replicas": replicas} if replicas > 1 else {}
    return said | ({"resources": {"limits": limits}} if limits else {})


def _usual() -> dict[str, Any]:
    return {
        "restart": "unless-stopped",
        "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}},
    }


def _networks(app: App, service: Service) -> list[str]:
    is_joined = bool(service.calls or app.callers(service.name) or service.path)
    return [*(["inside"] if is_joined else []), *(["outside"] if app.reaches_out(service) or not is_joined else [])]


def _service(app: App, service: Service) -> dict[str, Any]:
    said: dict[str, Any] = {"image": service.image}
    if service.command:
        said["command"] = [_kept(one) for one in service.command]
    environment = {name: _kept(value) for name, value in service.settings.items()}
    environment |= {name: _asked(name) for name in service.all_secrets}
    if environment:
        said["environment"] = environment
    if service.port:
        said["expose"] = [str(service.port)]
    if service.health:
        url = f"http://127.0.0.1:{service.port}{service.health}"
        said["healthcheck"] = {
            "test": ["CMD-SHELL", f"wget -q -O /dev/null {url} || curl -fsS -o /dev/null {url}"],
            "interval": "10s",
            "timeout": "5s",
            "retries": 5,
            "start_period": "30s",
        }
    waits: dict[str, Any] = {}
    if app.is_database_ours and service.calls_database:
        waits["database"] = {"condition": "service_healthy"}
    if app.migration and service.calls_database:
        waits["migrate"] = {"condition": "service_completed_successfully"}
    if waits:
        said["depends_on"] = waits
    if service.volume:
        said["volumes"] = [f"{service.name}-kept:{service.volume}"]
    if limits := _limited(service.cpu, service.memory_mb, service.replicas):
        said["deploy"] = limits
    return said | {"networks": _networks(app, service)} | _hardened(service.rights) | _usual()


def _proxy(app: App) -> dict[str, Any]:
    return {
        "image": PROXY,
        "ports": ["80:80", "443:443", "443:443/udp"] if app.domain else ["127.0.0.1:8080:80"],
        "volumes": ["./Caddyfile:/etc/caddy/Caddyfile:ro", "proxy-state:/data", "proxy-config:/config"],
        "depends_on": [one.name for one in app.public],
        "deploy": _limited(0.5, 256),
        "networks": ["outside", "inside"],
        "cap_drop": ["ALL"],
        "cap_add": ["NET_BIND_SERVICE"],
        "security_opt": ["no-new-privileges:true"],
        "read_only": True,
        **_usual(),
    }


def _caddyfile(app: App) -> str:
    lines = [f"{{\n\temail {app.email}\n}}\n"] if app.email and app.domain else []
    lines.append(f"{app.domain or ':80'} {{")
    lines.append("\tencode gzip")
    if app.domain:
        lines.append('\theader Strict-Transport-Security "max-age=31536000"')
    for one in app.public:
        if one.path != "/":
            lines.append(f"\t@{one.name} path {one.path} {one.path}/*")
        matcher = "" if one.path == "/" else f" @{one.name}"
        lines.append(f"\thandle{matcher} {{\n\t\treverse_proxy {one.name}:{one.port}\n\t}}")
    return "\n".join([*lines, "}"]) + "\n"


def _database(app: App) -> dict[str, Any]:
    is_mysql = app.database == "mysql"
    environment = (
        {"MYSQL_DATABASE": "app", "MYSQL_USER": "app", "MYSQL_RANDOM_ROOT_PASSWORD": "yes"}
        if is_mysql
        else {"POSTGRES_DB": "app", "POSTGRES_USER": "app"}
    )
    environment["MYSQL_PASSWORD" if is_mysql else "POSTGRES_PASSWORD"] = _asked("DATABASE_PASSWORD")
    ready = 'mysqladmin ping -h 127.0.0.1 -u app -p"$$MYSQL_PASSWORD"' if is_mysql else "pg_isready -U app -d app"
    return {
        "image": DATABASE_IMAGES[app.database],
        "environment": environment,
        "volumes": ["database:/var/lib/mysql" if is_mysql else "database:/var/lib/postgresql/data"],
        "healthcheck": {"test": ["CMD-SHELL", ready], "interval": "5s", "timeout": "5s", "retries": 20},
        "stop_grace_period": "60s",
        "deploy": _limited(DATABASE_CPU, DATABASE_MEMORY_MB),
        "networks": ["inside"],
        "security_opt": ["no-new-privileges:true"],
        **_usual(),
    }


def _migrate(app: App) -> dict[str, Any]:
    first = app.services[0]
    said: dict[str, Any] = {"image": first.image, "command": [_kept(one) for one in app.migration]}
    environment = {name: _kept(value) for name, value in first.settings.items()}
    names = dict.fromkeys([*first.all_secrets, *(["DATABASE_URL"] if app.database != "none" else [])])
    environment |= {name: _asked(name) for name in names}
    if environment:
        said["environment"] = environment
    if app.is_database_ours:
        said["depends_on"] = {"database": {"condition": "service_healthy"}}
    networks = ["inside"] if app.is_database_ours else ["outside"]
    said |= {"networks": networks, **_hardened("none" if first.rights == "privileged" else first.rights)}
    return said | {"restart": "no"} | ({"deploy": limits} if (limits := _limited(first.cpu, first.memory_mb)) else {})


def _backup(app: App) -> dict[str, Any]:
    once = backup_script(app, "database")
    return {
        "image": DATABASE_IMAGES[app.database],
        "entrypoint": ["/bin/sh", "-c"],
        "command": [_kept(f"while true; do\n(\n{once}\n) || echo 'The backup failed' >&2\nsleep 86400\ndone")],
        "environment": {"DATABASE_PASSWORD": _asked("DATABASE_PASSWORD")},
        "volumes": ["backups:/backups"],
        "depends_on": {"database": {"condition": "service_healthy"}},
        "deploy": _limited(0.5, 256),
        "networks": ["inside"],
        "security_opt": ["no-new-privileges:true"],
        **_usual(),
    }


def _steps(app: App) -> list[Step]:
    steps = []
    if app.secrets:
        steps.append(
            Step(
                "Write the secrets",
                ["cp .env.example .env", "chmod 600 .env", "$EDITOR .env"],
                "docker compose config --quiet says nothing",
                "Take .env away; nothing runs yet.",
            )
        )
    steps.append(
        Step("Fetch the images", ["docker compose pull"], "docker compose images lists each", "Nothing to do.")
    )
    if app.is_database_ours:
        steps.append(
            Step(
                "Start the database",
                ["docker compose up --detach --wait database"],
                "docker compose ps database says healthy",
                "docker compose stop database; its volume stays.",
            )
        )
    if app.migration:
        steps.append(
            Step(
                "Migrate",
                ["docker compose run --rm migrate"],
                "It ends with exit code 0",
                "Restore the last backup, if the migration cannot be undone by itself.",
            )
        )
    steps.append(
        Step(
            "Start the app",
            ["docker compose up --detach"],
            "docker compose ps shows each as running or healthy",
            "Write the earlier image into compose.yaml and run docker compose up --detach again.",
        )
    )
    if app.public:
        url = f"https://{app.domain}" if app.domain else "http://127.0.0.1:8080"
        first = app.public[-1]
        steps.append(
            Step("Ask it", [f"curl -fsS {url}{first.health or first.path}"], "It answers with 200", "As above.")
        )
    return steps
