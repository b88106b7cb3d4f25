"""One machine with systemd and nginx: a hardened unit for each service, environments in files, backups by a timer."""

from __future__ import annotations

import re
import shlex

from .app import App, Bundle, Service, Step, dump_command


def bundle(app: App) -> Bundle:
    """Units, nginx' file, environments, and the script that puts them into place."""
    made = Bundle()
    for one in app.services:
        made.files[f"systemd/{unit(app, one)}"] = _unit(app, one)
        settings = "".join(f"{name}={_quoted(value)}\n" for name, value in one.settings.items())
        made.files[f"environment/{one.name}.env"] = settings or "# Nothing is set.\n"
    if app.migration:
        made.files[f"systemd/{app.name}-migrate.service"] = _migrate(app)
    if app.secrets:
        made.files["environment/secrets.env.example"] = "".join(
            f"{name}={app.example_url.replace('@database', '@127.0.0.1') if name == 'DATABASE_URL' else ''}\n"
            for name in app.secrets
        )
    if app.public:
        made.files[f"nginx/{app.name}.conf"] = _nginx(app)
    if app.has_backups:
        made.files["backup.sh"] = _backup(app)
        made.files[f"systemd/{app.name}-backup.service"] = _backup_unit(app)
        made.files[f"systemd/{app.name}-backup.timer"] = _timer(app)
        made.programs.add("backup.sh")
    made.files["install.sh"] = _install(app)
    made.programs.add("install.sh")
    made.steps = _steps(app)
    return made


def unit(app: App, service: Service) -> str:
    """The unit's name; one with several instances is named by their port."""
    return f"{app.name}-{service.name}{'@' if service.replicas > 1 else ''}.service"


def instances(app: App, service: Service) -> list[str]:
    """The units that run."""
    if service.replicas == 1:
        return [f"{app.name}-{service.name}.service"]
    return [f"{app.name}-{service.name}@{service.port + number}.service" for number in range(service.replicas)]


def _quoted(value: str) -> str:
    """The value as systemd reads it from a file of environments."""
    return '"' + re.sub(r'(["\\$`])', r"\\\1", value) + '"'


def _command(words: list[str]) -> str:
    """The words of a command as systemd reads them in a unit: no specifiers, no variables, nothing split."""
    return " ".join(
        '"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$") + '"'
        for word in words
    )


def _limits(cpu: float, memory_mb: int) -> list[str]:
    said = [f"CPUQuota={round(cpu * 100)}%"] if cpu else []
    return said + ([f"MemoryMax={memory_mb}M"] if memory_mb else [])


def _hardened(rights: str) -> list[str]:
    if rights == "privileged":
        return []
    said = [
        "NoNewPrivileges=yes",
        "PrivateTmp=yes",
        "PrivateDevices=yes",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "ProtectKernelTunables=yes",
        "ProtectKernelModules=yes",
        "ProtectControlGroups=yes",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
        "RestrictSUIDSGID=yes",
        "LockPersonality=yes",
        "SystemCallArchitectures=native",
        "UMask=0077",
    ]
    return said if rights == "root" else ["CapabilityBoundingSet=", *said]


def _unit(app: App, service: Service) -> str:
    after = "network-online.target" + (
        f" {'mysql' if app.database == 'mysql' else 'postgresql'}.service"
        if app.is_database_ours and service.calls_database
        else ""
    )
    lines = [
        "[Unit]",
        f"Description={app.name}: {service.name}",
        f"After={after}",
        "Wants=network-online.target",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=exec",
        f"ExecStart={_command(list(service.command))}",
        f"EnvironmentFile=/etc/{app.name}/{service.name}.env",
    ]
    if service.all_secrets:
        lines.append(f"EnvironmentFile=/etc/{app.name}/{service.name}.secrets.env")
    if service.port:
        lines.append(f"Environment=PORT={'%i' if service.replicas > 1 else service.port}")
    if service.rights == "none":
        lines += [f"User={app.name}", f"Group={app.name}"]
    lines += ["Restart=always", "RestartSec=2", "TimeoutStopSec=30", *_limits(service.cpu, service.memory_mb)]
    lines += _hardened(service.rights)
    if service.volume:
        lines.append(f"ReadWritePaths={service.volume}")
    if not app.reaches_out(service):
        lines += ["IPAddressDeny=any", "IPAddressAllow=localhost"]
    return "\n".join([*lines, "", "[Install]", "WantedBy=multi-user.target"]) + "\n"


def _migrate(app: App) -> str:
    first = app.services[0]
    lines = [
        "[Unit]",
        f"Description={app.name}: migrate",
        "",
        "[Service]",
        "Type=oneshot",
        f"ExecStart={_command(list(app.migration))}",
        f"EnvironmentFile=/etc/{app.name}/{first.name}.env",
        *([f"EnvironmentFile=/etc/{app.name}/migrate.secrets.env"] if app.secrets else []),
        f"User={app.name}",
        f"Group={app.name}",
        "TimeoutStartSec=15min",
        *_hardened("none"),
    ]
    return "\n".join(lines) + "\n"


def _nginx(app: App) -> str:
    lines = []
    for one in app.public:
        lines.append(f"upstream {_upstream(app, one)} {{")
        lines += [
            f"    server 127.0.0.1:{one.port + number} max_fails=3 fail_timeout=5s;" for number in range(one.replicas)
        ]
        lines += ["    keepalive 16;", "}", ""]
    lines += ["server {", "    listen 80;", "    listen [::]:80;", f"    server_name {app.domain or '_'};"]
    lines += ["    server_tokens off;", "    client_max_body_size 10m;"]
    for one in app.public:
        lines += [
            "",
            f"    location {one.path} {{",
            f"        proxy_pass http://{_upstream(app, one)};",
            "        proxy_http_version 1.1;",
            '        proxy_set_header Connection "";',
            "        proxy_set_header Host $host;",
            "        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
            "        proxy_set_header X-Forwarded-Proto $scheme;",
            "        proxy_next_upstream error timeout;",
            "        proxy_read_timeout 60s;",
            "    }",
        ]
    return "\n".join([*lines, "}"]) + "\n"


def _upstream(app: App, service: Service) -> str:
    return f"{app.name}-{service.name}"


def _backup(app: App) -> str:
    return "\n".join(
        (
            "#!/bin/sh",
            "# One backup, whole or not there; old ones are removed only after it.",
            "set -eu",
            f'folder="/var/backups/{app.name}"',
            'to="$folder/$(date -u +%Y-%m-%dT%H%M%SZ).sql"',
            f'{dump_command(app, "127.0.0.1")} > "$to.part"',
            'mv "$to.part" "$to"',
            f"find \"$folder\" -name '*.sql' -mtime +{app.backup_days} -delete",
            "",
        )
    )


def _backup_unit(app: App) -> str:
    lines = [
        "[Unit]",
        f"Description={app.name}: backup",
        "",
        "[Service]",
        "Type=oneshot",
        f"ExecStart=/usr/local/lib/{app.name}/backup.sh",
        f"EnvironmentFile=/etc/{app.name}/backup.secrets.env",
        f"User={app.name}",
        f"Group={app.name}",
        *_hardened("none"),
        f"ReadWritePaths=/var/backups/{app.name}",
    ]
    return "\n".join(lines) + "\n"


def _timer(app: App) -> str:
    return (
        f"[Unit]\nDescription={app.name}: backup every night\n\n"
        "[Timer]\nOnCalendar=*-*-* 02:17:00\nRandomizedDelaySec=10min\nPersistent=true\n\n"
        "[Install]\nWantedBy=timers.target\n"
    )


def _install(app: App) -> str:
    name = app.name
    lines = [
        "#!/bin/sh",
        "# Puts everything into place; safe to run again. As root, on Debian or Ubuntu.",
        "set -eu",
        'cd "$(dirname "$0")"',
        "",
        "apt-get update",
    ]
    packages = ["nginx"] if app.public else []
    packages += ["certbot", "python3-certbot-nginx"] if app.public and app.domain else []
    packages += {"postgresql": ["postgresql"], "mysql": ["mysql-server"]}.get(app.database, [])
    if packages:
        lines.append(f"apt-get install --yes {' '.join(packages)}")
    lines += [
        "",
        f"id -u {name} >/dev/null 2>&1 || useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin {name}",
        f"install -d -m 0750 -o root -g {name} /etc/{name}",
    ]
    for one in app.services:
        lines.append(f"install -m 0640 -o root -g {name} environment/{one.name}.env /etc/{name}/{one.name}.env")
        if one.volume:
            lines.append(f"install -d -m 0750 -o {name} -g {name} {shlex.quote(one.volume)}")
    if app.secrets:
        lines += [
            "",
            "[ -f environment/secrets.env ] || { echo 'Write environment/secrets.env first.' >&2; exit 1; }",
            "# Each service gets its own secrets and no others.",
            "share() {",
            '  to="$1"; shift; umask 077; : > "$to"',
            '  for one; do grep "^$one=" environment/secrets.env >> "$to"; done',
            "}",
        ]
        for one in app.services:
            if one.all_secrets:
                lines.append(f"share /etc/{name}/{one.name}.secrets.env {' '.join(one.all_secrets)}")
        if app.migration:
            first = dict.fromkeys([*app.services[0].all_secrets, *(["DATABASE_URL"] if app.database != "none" else [])])
            lines.append(f"share /etc/{name}/migrate.secrets.env {' '.join(first)}")
        if app.has_backups:
            lines.append(f"share /etc/{name}/backup.secrets.env DATABASE_PASSWORD")
    if app.has_backups:
        lines += [
            "",
            f"install -d -m 0700 -o {name} -g {name} /var/backups/{name}",
            f"install -D -m 0755 backup.sh /usr/local/lib/{name}/backup.sh",
        ]
    lines += ["", "install -m 0644 systemd/* /etc/systemd/system/"]
    if app.public:
        lines += [
            f"install -m 0644 nginx/{name}.conf /etc/nginx/sites-available/{name}.conf",
            f"ln -sf ../sites-available/{name}.conf /etc/nginx/sites-enabled/{name}.conf",
            "nginx -t",
        ]
    return "\n".join([*lines, "systemctl daemon-reload", ""])


def _database_commands(app: App) -> list[str]:
    if app.database == "mysql":
        return [
            "sudo mysql -e \"CREATE DATABASE IF NOT EXISTS app; CREATE USER IF NOT EXISTS 'app'@'localhost'"
            " IDENTIFIED BY 'PASSWORD'; GRANT ALL ON app.* TO 'app'@'localhost'\""
        ]
    return ["sudo -u postgres createuser --pwprompt app", "sudo -u postgres createdb --owner app app"]


def _steps(app: App) -> list[Step]:
    steps = []
    if app.secrets:
        commands = [
            "cp environment/secrets.env.example environment/secrets.env",
            "chmod 600 environment/secrets.env",
            "$EDITOR environment/secrets.env",
        ]
        steps.append(
            Step("Write the secrets", commands, "Each name has a value", "Take the file away; nothing runs yet.")
        )
    steps.append(
        Step(
            "Put everything into place",
            ["sudo ./install.sh"],
            "It ends with exit code 0",
            "Run the earlier bundle’s install.sh.",
        )
    )
    if app.is_database_ours:
        steps.append(
            Step(
                "Make the database",
                _database_commands(app),
                "It can be reached with DATABASE_URL",
                "Leave it; it is empty.",
            )
        )
    if app.migration:
        steps.append(
            Step(
                "Migrate",
                [f"sudo systemctl start {app.name}-migrate.service"],
                f"journalctl --unit {app.name}-migrate.service shows no error",
                "Restore the last backup, if the migration cannot be undone by itself.",
            )
        )
    every = " ".join(name for one in app.services for name in instances(app, one))
    steps.append(
        Step(
            "Start the app",
            [f"sudo systemctl enable {every}", f"sudo systemctl restart {every}"],
            f"systemctl is-active {every}",
            "Put the earlier program back and restart; with several instances one after the other.",
        )
    )
    if app.has_backups:
        steps.append(
            Step(
                "Turn on backups, and try one",
                [
                    f"sudo systemctl enable --now {app.name}-backup.timer",
                    f"sudo systemctl start {app.name}-backup.service",
                ],
                f"sudo ls /var/backups/{app.name} shows a file that ends in .sql",
                f"sudo systemctl disable --now {app.name}-backup.timer",
            )
        )
    if app.public:
        first = app.public[-1]
        url = f"https://{app.domain}" if app.domain else "http://127.0.0.1"
        commands = ["sudo systemctl reload nginx"]
        if app.domain:
            email = f"--email {app.email}" if app.email else "--register-unsafely-without-email"
            commands.append(f"sudo certbot --nginx --redirect --agree-tos {email} --domain {app.domain}")
        commands.append(f"curl -fsS {url}{first.health or first.path}")
        back = f"sudo rm /etc/nginx/sites-enabled/{app.name}.conf && sudo systemctl reload nginx"
        steps.append(Step("Let people in", commands, "It answers with 200", back))
    return steps
