"""Kubernetes: manifests in the order they are applied, under the restricted pod security standard where that goes."""

from __future__ import annotations

from typing import Any

from ..bundles import as_yaml
from .app import (
    DATABASE_CPU,
    DATABASE_IMAGES,
    DATABASE_MEMORY_MB,
    DATABASE_PORTS,
    App,
    Bundle,
    Service,
    Step,
    backup_script,
)

Manifest = dict[str, Any]
LEVELS = {"none": "restricted", "root": "baseline", "privileged": "privileged"}


def bundle(app: App) -> Bundle:
    """Manifests by what they are for, and an example of the secrets' file."""
    made = Bundle()
    parts: dict[str, list[Manifest]] = {
        "00-namespace.yaml": [_namespace(app)],
        "10-network.yaml": _network(app),
        "20-database.yaml": _database(app) if app.is_database_ours else [],
        "30-migrate.yaml": [_migrate(app)] if app.migration else [],
        **{f"40-{one.name}.yaml": _service(app, one) for one in app.services},
        "50-ingress.yaml": [_ingress(app)] if app.public else [],
        "60-backup.yaml": _backup(app) if app.has_backups else [],
    }
    for path, documents in parts.items():
        if documents:
            made.documents[f"k8s/{path}"] = list(documents)
            made.files[f"k8s/{path}"] = "---\n".join(as_yaml(one) for one in documents)
    if app.secrets:
        made.files["secrets.env.example"] = "".join(
            f"{name}={app.example_url if name == 'DATABASE_URL' else ''}\n" for name in app.secrets
        )
    made.steps = _steps(app)
    return made


def _named(app: App, kind: str, version: str, name: str, **rest: Any) -> Manifest:
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": app.name}
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "namespace": app.name, "labels": labels},
        **rest,
    }


def _picked(name: str) -> Manifest:
    return {"matchLabels": {"app.kubernetes.io/name": name}}


def _namespace(app: App) -> Manifest:
    ranks = list(LEVELS)
    level = LEVELS[max((one.rights for one in app.services), key=ranks.index)]
    labels = {"app.kubernetes.io/part-of": app.name}
    labels |= {f"pod-security.kubernetes.io/{mode}": level for mode in ("enforce", "warn")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": app.name, "labels": labels}}


def _kept(said: str) -> str:
    """The text as Kubernetes leaves it: $(NAME) would be replaced."""
    return said.replace("$(", "$$(")


def _environment(settings: dict[str, str], secrets: list[str], app: App) -> list[Manifest]:
    found: list[Manifest] = [{"name": name, "value": _kept(value)} for name, value in settings.items()]
    return found + [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": f"{app.name}-secrets", "key": name}}} for name in secrets
    ]


def _resources(cpu: float, memory_mb: int) -> Manifest:
    said = {"cpu": f"{round(cpu * 1000)}m"} if cpu else {}
    said |= {"memory": f"{memory_mb}Mi"} if memory_mb else {}
    return {"resources": {"requests": dict(said), "limits": said}} if said else {}


def _rights(rights: str, user: int = 10001, *, is_read_only: bool = True) -> tuple[Manifest, Manifest]:
    """The security context of the pod and of its container."""
    if rights == "privileged":
        return {}, {"privileged": True}
    contained: Manifest = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    pod: Manifest = {"seccompProfile": {"type": "RuntimeDefault"}}
    if rights == "root":
        return pod, contained
    pod = {"runAsNonRoot": True, "runAsUser": user, "runAsGroup": user, "fsGroup": user, **pod}
    return pod, contained | ({"readOnlyRootFilesystem": True} if is_read_only else {})


def _pod(
    app: App, name: str, container: Manifest, pod_rights: Manifest, volumes: list[Manifest], **rest: Any
) -> Manifest:
    return {
        "metadata": {"labels": {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": app.name}},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            **({"securityContext": pod_rights} if pod_rights else {}),
            **rest,
            "containers": [container],
            **({"volumes": volumes} if volumes else {}),
        },
    }


def _service(app: App, service: Service) -> list[Manifest]:
    name = service.name
    pod_rights, rights = _rights(service.rights)
    container: Manifest = {"name": name, "image": service.image, "imagePullPolicy": "IfNotPresent"}
    if service.command:
        container["args"] = [_kept(one) for one in service.command]
    if service.port:
        container["ports"] = [{"name": "http", "containerPort": service.port}]
    if environment := _environment(dict(service.settings), service.all_secrets, app):
        container["env"] = environment
    container |= _resources(service.cpu, service.memory_mb)
    if service.health:
        asked = {"httpGet": {"path": service.health, "port": "http"}, "timeoutSeconds": 5}
        container["startupProbe"] = {**asked, "periodSeconds": 5, "failureThreshold": 30}
        container["readinessProbe"] = {**asked, "periodSeconds": 5, "failureThreshold": 3}
        container["livenessProbe"] = {**asked, "periodSeconds": 15, "failureThreshold": 4}
    if rights:
        container["securityContext"] = rights
    mounts, volumes = [], []
    if service.rights == "none":
        mounts.append({"name": "tmp", "mountPath": "/tmp"})  # noqa: S108
        volumes.append({"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}})
    if service.volume:
        mounts.append({"name": "kept", "mountPath": service.volume})
        volumes.append({"name": "kept", "persistentVolumeClaim": {"claimName": f"{name}-kept"}})
    if mounts:
        container["volumeMounts"] = mounts
    spread = (
        {
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": "kubernetes.io/hostname",
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": _picked(name),
                }
            ]
        }
        if service.replicas > 1
        else {}
    )
    is_scaled = service.replicas_max > service.replicas
    one_after_other = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    spec: Manifest = {
        **({} if is_scaled else {"replicas": service.replicas}),
        "revisionHistoryLimit": 5,
        "progressDeadlineSeconds": 300,
        "strategy": {"type": "Recreate"} if service.volume else one_after_other,
        "selector": _picked(name),
        "template": _pod(app, name, container, pod_rights, volumes, **spread),
    }
    found = [_named(app, "Deployment", "apps/v1", name, spec=spec)]
    if service.volume:
        found.insert(0, _claim(app, f"{name}-kept", service.volume_gb))
    if service.port:
        ports = [{"name": "http", "port": service.port, "targetPort": "http"}]
        found.append(
            _named(app, "Service", "v1", name, spec={"selector": _picked(name)["matchLabels"], "ports": ports})
        )
    if service.replicas > 1:
        budget = {"maxUnavailable": 1, "selector": _picked(name)}
        found.append(_named(app, "PodDisruptionBudget", "policy/v1", name, spec=budget))
    if is_scaled:
        scaled = {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": service.replicas,
            "maxReplicas": service.replicas_max,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
                }
            ],
        }
        found.append(_named(app, "HorizontalPodAutoscaler", "autoscaling/v2", name, spec=scaled))
    return found


def _claim(app: App, name: str, gigabytes: int) -> Manifest:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": f"{gigabytes}Gi"}}}
    return _named(app, "PersistentVolumeClaim", "v1", name, spec=spec)


def _network(app: App) -> list[Manifest]:
    """Nothing is allowed but what is named."""
    both = ["Ingress", "Egress"]
    found = [
        _named(app, "NetworkPolicy", "networking.k8s.io/v1", "nothing", spec={"podSelector": {}, "policyTypes": both})
    ]
    dns = {
        "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
        "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
    }
    names = [(one.name, list(one.calls), one.port, bool(one.path), one.has_internet) for one in app.services]
    if app.migration:
        names.append(("migrate", ["database"] if app.database != "none" else [], 0, False, False))
    if app.has_backups:
        names.append(("backup", ["database"], 0, False, False))
    if app.is_database_ours:
        names.append(("database", [], DATABASE_PORTS[app.database], False, False))
    ports = {name: port for name, _, port, _, _ in names}
    for name, calls, port, is_public, has_internet in names:
        egress: list[Manifest] = [dns]
        for other in calls:
            if ports.get(other):
                egress.append(
                    {"to": [{"podSelector": _picked(other)}], "ports": [{"protocol": "TCP", "port": ports[other]}]}
                )
        calls_elsewhere = app.database == "elsewhere" and "database" in calls
        if has_internet or calls_elsewhere:
            private = [] if calls_elsewhere else ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
            block = {"cidr": "0.0.0.0/0", "except": [*private, "169.254.0.0/16"]}
            egress.append({"to": [{"ipBlock": block}]})
        callers: list[Manifest] = [{"podSelector": _picked(one)} for one, others, *_ in names if name in others]
        if is_public:
            callers.append(
                {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": app.ingress_namespace}}}
            )
        ingress = [{"from": callers, "ports": [{"protocol": "TCP", "port": port}]}] if callers and port else []
        spec = {"podSelector": _picked(name), "policyTypes": both, "ingress": ingress, "egress": egress}
        found.append(_named(app, "NetworkPolicy", "networking.k8s.io/v1", name, spec=spec))
    if app.domain and app.public:
        # The pods with which cert-manager answers for the domain (HTTP-01) listen on 8089; without them no certificate.
        solvers = {"matchLabels": {"acme.cert-manager.io/http01-solver": "true"}}
        door = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": app.ingress_namespace}}}
        rule = {"from": [door], "ports": [{"protocol": "TCP", "port": 8089}]}
        spec = {"podSelector": solvers, "policyTypes": ["Ingress"], "ingress": [rule]}
        found.append(_named(app, "NetworkPolicy", "networking.k8s.io/v1", "nothing-but-acme", spec=spec))
    return found


def _database(app: App) -> list[Manifest]:
    is_mysql = app.database == "mysql"
    port = DATABASE_PORTS[app.database]
    settings = (
        {"MYSQL_DATABASE": "app", "MYSQL_USER": "app", "MYSQL_RANDOM_ROOT_PASSWORD": "yes"}
        if is_mysql
        else {"POSTGRES_DB": "app", "POSTGRES_USER": "app", "PGDATA": "/var/lib/postgresql/data/inner"}
    )
    password = {
        "name": "MYSQL_PASSWORD" if is_mysql else "POSTGRES_PASSWORD",
        "valueFrom": {"secretKeyRef": {"name": f"{app.name}-secrets", "key": "DATABASE_PASSWORD"}},
    }
    pod_rights, rights = _rights("none", 999, is_read_only=False)
    ready = (
        ["sh", "-c", 'mysqladmin ping -h 127.0.0.1 -u app -p"$MYSQL_PASSWORD"']
        if is_mysql
        else ["pg_isready", "-U", "app"]
    )
    probe = {"exec": {"command": ready}, "periodSeconds": 10, "timeoutSeconds": 5}
    container = {
        "name": "database",
        "image": DATABASE_IMAGES[app.database],
        "ports": [{"name": "database", "containerPort": port}],
        "env": [*_environment(settings, [], app), password],
        **_resources(DATABASE_CPU, DATABASE_MEMORY_MB),
        "startupProbe": {**probe, "failureThreshold": 30},
        "readinessProbe": probe,
        "livenessProbe": {**probe, "failureThreshold": 6},
        "securityContext": rights,
        "volumeMounts": [{"name": "kept", "mountPath": "/var/lib/mysql" if is_mysql else "/var/lib/postgresql/data"}],
    }
    storage = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": f"{app.database_gb}Gi"}}}
    spec = {
        "serviceName": "database",
        "replicas": 1,
        "selector": _picked("database"),
        "template": _pod(app, "database", container, pod_rights, [], terminationGracePeriodSeconds=60),
        "volumeClaimTemplates": [{"metadata": {"name": "kept"}, "spec": storage}],
    }
    ports = [{"name": "database", "port": port, "targetPort": "database"}]
    headless = {"clusterIP": "None", "selector": _picked("database")["matchLabels"], "ports": ports}
    return [
        _named(app, "Service", "v1", "database", spec=headless),
        _named(app, "StatefulSet", "apps/v1", "database", spec=spec),
    ]


def _migrate(app: App) -> Manifest:
    first = app.services[0]
    pod_rights, rights = _rights("none" if first.rights == "privileged" else first.rights)
    names = dict.fromkeys([*first.all_secrets, *(["DATABASE_URL"] if app.database != "none" else [])])
    container: Manifest = {"name": "migrate", "image": first.image, "args": [_kept(one) for one in app.migration]}
    if environment := _environment(dict(first.settings), list(names), app):
        container["env"] = environment
    container |= _resources(first.cpu, first.memory_mb)
    container |= {"securityContext": rights, "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]}  # noqa: S108
    template = _pod(app, "migrate", container, pod_rights, [{"name": "tmp", "emptyDir": {}}], restartPolicy="Never")
    spec = {"backoffLimit": 0, "activeDeadlineSeconds": 900, "ttlSecondsAfterFinished": 86400, "template": template}
    return _named(app, "Job", "batch/v1", "migrate", spec=spec)


def _ingress(app: App) -> Manifest:
    paths = [
        {
            "path": one.path,
            "pathType": "Prefix",
            "backend": {"service": {"name": one.name, "port": {"name": "http"}}},
        }
        for one in app.public
    ]
    rule: Manifest = {"http": {"paths": paths}}
    spec: Manifest = {"ingressClassName": app.ingress_class}
    if app.domain:
        rule = {"host": app.domain, **rule}
        spec["tls"] = [{"hosts": [app.domain], "secretName": f"{app.name}-tls"}]
    made = _named(app, "Ingress", "networking.k8s.io/v1", app.name, spec={**spec, "rules": [rule]})
    if app.domain:
        made["metadata"]["annotations"] = {"cert-manager.io/cluster-issuer": "letsencrypt"}
    return made


def _backup(app: App) -> list[Manifest]:
    pod_rights, rights = _rights("none", 999)
    container = {
        "name": "backup",
        "image": DATABASE_IMAGES[app.database],
        "command": ["/bin/sh", "-c", backup_script(app, "database")],
        "env": _environment({}, ["DATABASE_PASSWORD"], app),
        **_resources(0.25, 256),
        "securityContext": rights,
        "volumeMounts": [{"name": "backups", "mountPath": "/backups"}],
    }
    volumes = [{"name": "backups", "persistentVolumeClaim": {"claimName": "backups"}}]
    template = _pod(app, "backup", container, pod_rights, volumes, restartPolicy="Never")
    job = {"backoffLimit": 2, "activeDeadlineSeconds": 3600, "template": template}
    spec = {"schedule": "17 2 * * *", "concurrencyPolicy": "Forbid", "jobTemplate": {"spec": job}}
    return [
        _claim(app, "backups", max(1, app.database_gb * 2)),
        _named(app, "CronJob", "batch/v1", "backup", spec=spec),
    ]


def _steps(app: App) -> list[Step]:
    to = f"kubectl --namespace {app.name}"
    steps = [
        Step(
            "Make the namespace and close its network",
            ["kubectl apply -f k8s/00-namespace.yaml -f k8s/10-network.yaml"],
            f"{to} get networkpolicy lists one for each part",
            f"kubectl delete namespace {app.name}",
        )
    ]
    if app.secrets:
        steps.append(
            Step(
                "Write the secrets",
                [
                    "cp secrets.env.example secrets.env && chmod 600 secrets.env && $EDITOR secrets.env",
                    f"{to} create secret generic {app.name}-secrets --from-env-file=secrets.env",
                    "rm secrets.env",
                ],
                f"{to} describe secret {app.name}-secrets names each of them",
                f"{to} delete secret {app.name}-secrets",
            )
        )
    if app.is_database_ours:
        steps.append(
            Step(
                "Start the database",
                ["kubectl apply -f k8s/20-database.yaml", f"{to} rollout status statefulset/database --timeout=5m"],
                f"{to} get pods shows database-0 ready",
                "kubectl delete -f k8s/20-database.yaml; its volume stays.",
            )
        )
    if app.migration:
        steps.append(
            Step(
                "Migrate",
                [
                    f"{to} delete job migrate --ignore-not-found",
                    "kubectl apply -f k8s/30-migrate.yaml",
                    f"{to} wait --for=condition=complete job/migrate --timeout=15m",
                ],
                f"{to} logs job/migrate shows no error",
                "Restore the last backup, if the migration cannot be undone by itself.",
            )
        )
    files = " ".join(f"-f k8s/40-{one.name}.yaml" for one in app.services)
    waits = [f"{to} rollout status deployment/{one.name} --timeout=5m" for one in app.services]
    undo = "; ".join(f"{to} rollout undo deployment/{one.name}" for one in app.services)
    steps.append(Step("Start the app", [f"kubectl apply {files}", *waits], f"{to} get pods shows each as ready", undo))
    if app.has_backups:
        steps.append(
            Step(
                "Turn on backups, and try one",
                ["kubectl apply -f k8s/60-backup.yaml", f"{to} create job --from=cronjob/backup backup-now"],
                f"{to} wait --for=condition=complete job/backup-now --timeout=10m",
                "kubectl delete -f k8s/60-backup.yaml",
            )
        )
    if app.public:
        first = app.public[-1]
        url = f"https://{app.domain}" if app.domain else "http://ADDRESS-OF-THE-INGRESS"
        commands = ["kubectl apply -f k8s/50-ingress.yaml", f"curl -fsS {url}{first.health or first.path}"]
        steps.append(Step("Let people in", commands, "It answers with 200", "kubectl delete -f k8s/50-ingress.yaml"))
    return steps
