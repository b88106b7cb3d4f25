"""An app as it was described: its services, what they may do, what they need. Names are judged before they are here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# What is run for a database inside the bundle.
DATABASE_IMAGES = {"postgresql": "postgres:17", "mysql": "mysql:8.4"}
DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306}
DATABASE_CPU = 0.5
DATABASE_MEMORY_MB = 1024


@dataclass(frozen=True, slots=True)
class Service:
    """A part of the app. No `port`: nobody calls it; no `path`: nobody from outside; 0 is no limit."""

    name: str
    image: str
    command: Sequence[str]
    line: str  # the command as it was written
    port: int
    path: str
    health: str
    replicas: int
    replicas_max: int
    cpu: float
    memory_mb: int
    settings: Mapping[str, str]
    secrets: Sequence[str]
    calls: Sequence[str]  # services, and "database"
    volume: str
    volume_gb: int
    rights: str  # "none", "root" or "privileged"
    has_internet: bool

    @property
    def calls_database(self) -> bool:
        return "database" in self.calls

    @property
    def all_secrets(self) -> list[str]:
        return [*(["DATABASE_URL"] if self.calls_database else []), *self.secrets]


@dataclass(frozen=True, slots=True)
class App:
    """The whole."""

    name: str
    domain: str
    email: str
    services: Sequence[Service]
    database: str  # "none", "postgresql", "mysql" or "elsewhere"
    database_gb: int
    backup_days: int
    migration: Sequence[str]
    migration_line: str
    ingress_class: str
    ingress_namespace: str

    @property
    def is_database_ours(self) -> bool:
        return self.database in DATABASE_IMAGES

    @property
    def public(self) -> list[Service]:
        """The services that people reach, the longest path first."""
        return sorted((one for one in self.services if one.path), key=lambda one: (-len(one.path), one.path))

    @property
    def has_backups(self) -> bool:
        return self.is_database_ours and self.backup_days > 0

    @property
    def secrets(self) -> list[str]:
        """Every secret by its name, each once."""
        found = dict.fromkeys(one for service in self.services for one in service.all_secrets)
        if self.migration and self.database != "none":
            found["DATABASE_URL"] = None
        if self.is_database_ours:
            found["DATABASE_PASSWORD"] = None
        return list(found)

    def callers(self, name: str) -> list[str]:
        return [one.name for one in self.services if name in one.calls]

    def reaches_out(self, service: Service) -> bool:
        """Whether it calls what is outside: the Internet, or a database that others run."""
        return service.has_internet or (self.database == "elsewhere" and service.calls_database)

    @property
    def example_url(self) -> str:
        host = "127.0.0.1" if self.database == "elsewhere" else "database"
        scheme = "mysql" if self.database == "mysql" else "postgresql"
        return f"{scheme}://app:PASSWORD@{host}:{DATABASE_PORTS.get(self.database, 5432)}/app"


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the plan: what to do, how to know that it is done, how to go back."""

    title: str
    commands: Sequence[str]
    check: str
    back: str


@dataclass(slots=True)
class Bundle:
    """What a target makes of an app. `documents` are those that a schema judges, by their path."""

    files: dict[str, str] = field(default_factory=dict)
    documents: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    programs: set[str] = field(default_factory=set)
    steps: list[Step] = field(default_factory=list)


def dump_command(app: App, host: str, user: str = "app") -> str:
    """The shell's words that write the whole database to standard output; the password is in the environment."""
    if app.database == "mysql":
        return f'MYSQL_PWD="$DATABASE_PASSWORD" mysqldump --single-transaction -h {host} -u {user} app'
    return f'PGPASSWORD="$DATABASE_PASSWORD" pg_dump --no-owner -h {host} -U {user} app'


def backup_script(app: App, host: str) -> str:
    """One backup, whole or not there; old ones are removed only after it."""
    return "\n".join(
        (
            "set -eu",
            'to="/backups/$(date -u +%Y-%m-%dT%H%M%SZ).sql"',
            f'{dump_command(app, host)} > "$to.part"',
            'mv "$to.part" "$to"',
            f"find /backups -name '*.sql' -mtime +{app.backup_days} -delete",
        )
    )
