"""Bundles fit the schemas of their targets whatever is described, and hold what was asked for and nothing secret."""

import io
import json
import re
import shlex
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.errors import BillingError
from tools_registry.studio import BadInput
from tools_registry.studios.dev import deployment
from tools_registry.studios.dev.deployment import TARGETS, TOOL

from .tabular import run

SCHEMAS = Path(deployment.__file__).parent / "schemas"
COMPOSE = json.loads((SCHEMAS / "compose.json").read_text())
KUBERNETES = json.loads((SCHEMAS / "kubernetes.json").read_text())
ODD = 'it\'s "odd" \\ #x: - {y} [z] &a *b | > % @ `id` $(id) ${HOME} $HOME !c, ☃'


def given_app(target: str, *services: dict[str, Any], **more: Any) -> dict[str, Any]:
    usual = {"name": "web", "image": "ghcr.io/harbour/office:1.4.2", "path": "/", "health": "/healthz", "replicas": 2}
    usual |= {"command": "/opt/office/bin/serve"} if target == "vm" else {}
    rows = [usual | one for one in services or ({},)]
    return {"target": target, "name": "harbour", "domain": "office.example.org", "services": rows, **more}


def bundle(inputs: dict[str, Any]) -> tuple[dict[str, str], Any]:
    """The files by their paths, and the result."""
    result = run(TOOL, inputs)
    with zipfile.ZipFile(io.BytesIO(result.files[0].content)) as opened:
        files = {name.partition("/")[2]: opened.read(name).decode() for name in opened.namelist()}
    return files, result


def manifests(files: dict[str, str]) -> dict[tuple[str, str], Any]:
    """Every manifest by its kind and name, each judged by Kubernetes' schema."""
    found = {}
    for path, text in files.items():
        if not path.startswith("k8s/"):
            continue
        for one in yaml.safe_load_all(text):
            ref = {"$ref": f"#/$defs/{KUBERNETES['kinds'][one['kind']]}", "$defs": KUBERNETES["$defs"]}
            jsonschema.Draft202012Validator(ref).validate(one)
            assert (one["kind"], one["metadata"]["name"]) not in found
            found[one["kind"], one["metadata"]["name"]] = one
    return found


def judge(target: str, files: dict[str, str]) -> Any:
    if target == "compose":
        document = yaml.safe_load(files["compose.yaml"])
        jsonschema.Draft202012Validator(COMPOSE).validate(document)
        return document
    if target == "kubernetes":
        return manifests(files)
    for path, text in files.items():
        if path.endswith(".sh"):
            subprocess.run(["sh", "-n"], input=text, text=True, check=True)
        if path.endswith((".service", ".timer")):
            assert all(re.match(r"(\[\w+\]|[A-Z]\w+=.*|)$", line) for line in text.split("\n")), text
        if path.startswith("nginx/"):
            assert text.count("{") == text.count("}")
            assert all(re.search(r"([;{}]|^)$", line) for line in text.split("\n"))
    return files


def risks(inputs: dict[str, Any]) -> set[tuple[str, str]]:
    return {(one["rule"], one["where"]) for one in bundle(inputs)[1].result["risks"]}


def test_the_example_on_kubernetes() -> None:
    files, result = bundle(dict(TOOL.example))
    found = judge("kubernetes", files)
    assert {kind for kind, _ in found} == {
        *("Namespace", "NetworkPolicy", "StatefulSet", "Service", "Job", "Deployment", "PodDisruptionBudget"),
        *("HorizontalPodAutoscaler", "Ingress", "CronJob", "PersistentVolumeClaim"),
    }
    web = found["Deployment", "web"]["spec"]
    (container,) = web["template"]["spec"]["containers"]
    assert "replicas" not in web, "the autoscaler decides"
    assert found["HorizontalPodAutoscaler", "web"]["spec"]["maxReplicas"] == 6
    assert container["resources"]["limits"] == {"cpu": "500m", "memory": "512Mi"}
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert web["template"]["spec"]["securityContext"]["runAsNonRoot"] is True
    assert container["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    secrets = {one["name"] for one in container["env"] if "valueFrom" in one}
    assert secrets == {"DATABASE_URL", "SECRET_KEY"}
    assert found["Ingress", "harbour-office"]["spec"]["tls"][0]["hosts"] == ["office.example.org"]
    labels = found["Namespace", "harbour-office"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    # By hand: 2 × 0.5 + 0.25 + 1 + 0.5 CPU; 2 × 512 + 128 + 512 + 1024 MB; 20 GB, and twice that for backups.
    resources = result.result["resources"]
    assert (resources["cpu"], resources["memory_mb"], resources["storage_gb"]) == (2.75, 2688, 60)
    assert (resources["cpu_most"], resources["memory_mb_most"]) == (4.75, 4736)


def test_only_those_may_call_who_said_so() -> None:
    found = judge("kubernetes", bundle(dict(TOOL.example))[0])
    everything = found["NetworkPolicy", "nothing"]["spec"]
    assert everything == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    (rule,) = found["NetworkPolicy", "database"]["spec"]["ingress"]
    callers = {one["podSelector"]["matchLabels"]["app.kubernetes.io/name"] for one in rule["from"]}
    assert callers == {"web", "worker", "migrate", "backup"}
    assert rule["ports"] == [{"protocol": "TCP", "port": 5432}]
    assert found["NetworkPolicy", "worker"]["spec"]["ingress"] == []
    assert not any("ipBlock" in str(one) for one in found["NetworkPolicy", "web"]["spec"]["egress"])
    compose = judge("compose", bundle({**TOOL.example, "target": "compose"})[0])
    assert compose["networks"]["inside"] == {"internal": True}
    assert compose["services"]["database"]["networks"] == ["inside"]
    assert compose["services"]["web"]["networks"] == ["inside"]
    assert "ports" not in compose["services"]["web"]


def test_the_closed_network_lets_the_certificate_be_made() -> None:
    """cert-manager proves the domain by a pod in this namespace, which the controller has to reach."""
    found = judge("kubernetes", bundle({**TOOL.example, "ingress_namespace": "edge"})[0])
    policy = found["NetworkPolicy", "nothing-but-acme"]["spec"]
    assert policy["podSelector"] == {"matchLabels": {"acme.cert-manager.io/http01-solver": "true"}}
    (rule,) = policy["ingress"]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "edge"}}}]
    assert rule["ports"] == [{"protocol": "TCP", "port": 8089}]
    without = judge("kubernetes", bundle({**TOOL.example, "domain": ""})[0])
    assert ("NetworkPolicy", "nothing-but-acme") not in without


def test_a_retired_ingress_controller_is_a_risk_and_no_default() -> None:
    def rules(**more: str) -> dict[str, str]:
        return {one["rule"]: one["severity"] for one in bundle({**TOOL.example, **more})[1].result["risks"]}

    assert "retired-ingress" not in rules()
    assert rules(ingress_class="nginx", ingress_namespace="ingress-nginx")["retired-ingress"] == "high"
    assert rules(ingress_class="nginx", ingress_namespace="edge")["retired-ingress"] == "low"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("database", ["none", "postgresql", "mysql", "elsewhere"])
@pytest.mark.parametrize("rights", ["none", "root", "privileged"])
def test_every_kind_of_app_fits_its_schema(target: str, database: str, rights: str) -> None:
    calls = {} if database == "none" else {"calls": "database"}
    bare = {
        "name": "bare",
        "path": "",
        "port": 0,
        "health": "",
        "replicas": 1,
        "cpu": 0,
        "memory_mb": 0,
        "rights": rights,
    }
    keeps = {"name": "keeps", "path": "/files", "port": 8100, "health": "", "replicas": 1, "volume": "/data"}
    for domain in ("", "office.example.org"):
        more = {"database": database, "domain": domain, "backup_days": 7 if domain else 0}
        more |= {"migration": "/bin/migrate --all"} if database != "none" else {}
        files, result = bundle(given_app(target, calls, keeps, bare, **more))
        judge(target, files)
        assert result.result["is_valid"], result.result["judged"]
        assert ("privileged", "bare") in {
            (one["rule"], one["where"]) for one in result.result["risks"]
        } or rights != "privileged"
        assert files["PLAN.md"] == result.files[1].content.decode()


@pytest.mark.parametrize("target", TARGETS)
def test_odd_texts_stay_what_they_are(target: str) -> None:
    command = f"/opt/x/serve --title {shlex.quote(ODD)} -- {shlex.quote('; rm -rf /')}"
    files, _ = bundle(
        given_app(target, {"command": command, "settings": f"TITLE={ODD}\nEMPTY=\nPLAIN=a=b", "replicas": 1})
    )
    found = judge(target, files)
    words = ["/opt/x/serve", "--title", ODD, "--", "; rm -rf /"]
    if target == "compose":
        web = found["services"]["web"]
        assert [one.replace("$$", "$") for one in web["command"]] == words
        assert "$" not in "".join(web["command"]).replace("$$", "")
        assert {name: value.replace("$$", "$") for name, value in web["environment"].items()} == {
            "TITLE": ODD,
            "EMPTY": "",
            "PLAIN": "a=b",
        }
    elif target == "kubernetes":
        (container,) = found["Deployment", "web"]["spec"]["template"]["spec"]["containers"]
        assert [one.replace("$$(", "$(") for one in container["args"]] == words
        assert {one["name"]: one["value"].replace("$$(", "$(") for one in container["env"]}["TITLE"] == ODD
    else:
        unit = files["systemd/harbour-web.service"]
        (line,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
        read = [one.replace("%%", "%").replace("$$", "$") for one in shlex.split(line)]
        assert read == words
        # A shell reads what stands between double quotes as systemd does.
        asked = f'{files["environment/web.env"]}printf %s "$TITLE"'
        assert subprocess.run(["sh", "-c", asked], capture_output=True, text=True, check=True).stdout == ODD


def test_a_secret_in_the_settings_never_leaves_with_the_bundle() -> None:
    said = (
        "API_TOKEN=correct-horse\nUPSTREAM=https://me:battery-staple@example.org\nKEY_FILE=/run/key\nSECRET_FILE=/run/s"
    )
    for target in TARGETS:
        files, result = bundle(given_app(target, {"settings": said}))
        whole = json.dumps(files) + json.dumps(result.result) + json.dumps(result.view)
        assert "correct-horse" not in whole
        assert "battery-staple" not in whole
        assert result.result["secrets"] == ["API_TOKEN", "UPSTREAM"]
        assert [one["rule"] for one in result.result["risks"][:2]] == ["secret-in-settings"] * 2


@pytest.mark.parametrize(
    ("service", "more", "risk"),
    [
        ({"image": "nginx"}, {}, ("latest-tag", "web")),
        ({"image": "registry.example.org:5000/nginx"}, {}, ("latest-tag", "web")),
        ({"image": "nginx:latest"}, {}, ("latest-tag", "web")),
        ({"rights": "privileged"}, {}, ("privileged", "web")),
        ({"rights": "root"}, {}, ("root", "web")),
        ({"memory_mb": 0}, {}, ("no-memory-limit", "web")),
        ({"cpu": 0}, {}, ("no-cpu-limit", "web")),
        ({"health": ""}, {}, ("no-health-check", "web")),
        ({"replicas": 1}, {}, ("one-copy", "web")),
        ({}, {"domain": ""}, ("no-tls", "the app")),
        ({}, {"database": "mysql", "backup_days": 0}, ("no-backup", "database")),
    ],
)
def test_each_risk(service: dict[str, Any], more: dict[str, Any], risk: tuple[str, str]) -> None:
    assert risk in risks(given_app("compose", service, **more))
    digest = "ghcr.io/harbour/office:1.4.2@sha256:" + "0" * 64
    assert risks(given_app("kubernetes", {"image": digest})) == set()


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ({"name": "../x"}, "name"),
        ({"name": "Harbour"}, "name"),
        ({"name": "root"}, "name"),
        ({"name": "a-"}, "name"),
        ({"domain": "https://x.org"}, "domain"),
        ({"domain": "x; rm -rf /"}, "domain"),
        ({"email": "me"}, "email"),
        ({"ingress_class": "a b"}, "ingress_class"),
        ({"migration": "x 'y"}, "migration"),
        ({"services": [{"name": "database"}]}, "services.0.name"),
        ({"services": [{"name": "a\nb"}]}, "services.0.name"),
        ({"services": [{"image": "UPPER"}]}, "services.0.image"),
        ({"services": [{"image": "x y"}]}, "services.0.image"),
        ({"services": [{"command": 'x "y'}]}, "services.0.command"),
        ({"services": [{"command": "x\ny"}]}, "services.0.command"),
        ({"services": [{"path": "/a;b"}]}, "services.0.path"),
        ({"services": [{"path": "a"}]}, "services.0.path"),
        ({"services": [{"port": 0}]}, "services.0.port"),
        ({"services": [{"health": "/a b"}]}, "services.0.health"),
        ({"services": [{"volume": "/a/../b", "replicas": 1}]}, "services.0.volume"),
        ({"services": [{"volume": "/data"}]}, "services.0.replicas"),
        ({"services": [{"calls": "nobody"}]}, "services.0.calls"),
        ({"services": [{"calls": "database"}]}, "services.0.calls"),
        ({"services": [{"settings": "A"}]}, "services.0.settings"),
        ({"services": [{"settings": "A=1\nA=2"}]}, "services.0.settings"),
        ({"services": [{"settings": "A-B=1"}]}, "services.0.settings"),
        ({"services": [{"secrets": "A=1"}]}, "services.0.secrets"),
        ({"services": [{}, {"path": "/x"}]}, "services.1.name"),
        ({"services": [{}, {"name": "b"}]}, "services.1.path"),
        ({"target": "vm", "services": [{"command": "serve"}]}, "services.0.command"),
        ({"target": "vm", "services": [{}, {"name": "b", "path": "", "port": 8001}]}, "services.1.port"),
        ({"target": "vm", "services": [{"port": 80}]}, "services.0.port"),
        ({"target": "vm", "services": [{"settings": "PORT=1"}]}, "services.0.settings"),
        ({"target": "kubernetes", "services": [{"port": 80}]}, "services.0.port"),
    ],
)
def test_what_is_refused_is_named(inputs: dict[str, Any], field: str) -> None:
    whole = given_app(inputs.get("target", "compose"), *inputs.pop("services", [{}]))
    with pytest.raises(BadInput) as refused:
        run(TOOL, whole | inputs)
    assert list(refused.value.fields) == [field]


def test_the_same_inputs_give_the_same_bytes_and_others_other_files() -> None:
    one, two = (run(TOOL, dict(TOOL.example)) for _ in range(2))
    assert one.files == two.files
    paths = {target: set(bundle(given_app(target))[0]) for target in TARGETS}
    assert paths["compose"] == {"compose.yaml", "Caddyfile", "PLAN.md"}
    assert {"k8s/40-web.yaml", "k8s/50-ingress.yaml"} <= paths["kubernetes"]
    assert {"install.sh", "nginx/harbour.conf", "systemd/harbour-web@.service"} <= paths["vm"]


def test_the_plan_goes_forth_and_back() -> None:
    files, result = bundle({**TOOL.example, "target": "compose"})
    titles = [one["title"] for one in result.result["steps"]]
    assert titles.index("Start the database") < titles.index("Migrate") < titles.index("Start the app")
    assert all(one["check"] and one["back"] for one in result.result["steps"])
    for title in titles:
        assert title in files["PLAN.md"]


@settings(max_examples=80, deadline=None)
@given(
    target=st.sampled_from(list(TARGETS)),
    part=st.sampled_from(["image", "command", "path", "health", "calls", "settings", "secrets", "volume", "name"]),
    said=st.text(max_size=30) | st.text(alphabet="/a.$%\"'\\ {}=;\n:", max_size=12),
)
def test_any_text_is_refused_by_name_or_fits(target: str, part: str, said: str) -> None:
    try:
        files, _ = bundle(given_app(target, {part: said}))
    except BadInput as refused:
        assert all(name.startswith("services.0.") for name in refused.fields)  # noqa: PT017
    except BillingError:
        pass
    else:
        judge(target, files)
