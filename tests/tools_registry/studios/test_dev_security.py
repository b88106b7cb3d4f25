"""Insecure source is found with its line, clean source has nothing, no secret is told whole, no archive does harm."""

# Tables of lines: one case stays one line.
# ruff: noqa: E501

import csv
import io
import json
import re
import stat
import zipfile
from contextlib import suppress
from typing import Any

import pytest
from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
from detect_secrets.plugins.base import RegexBasedDetector
from hypothesis import given, settings
from hypothesis import strategies as st

from tools_registry import runner, studio
from tools_registry.studio import BadInput, Result
from tools_registry.studios.dev import security, security_python
from tools_registry.studios.dev.security import TOOL, chance, language_of, masked, without_comments
from tools_registry.studios.dev.security_rules import CHECKLIST, PYTHON, RULES

from .tabular import example, file, run

INSECURE = """import hashlib
import os
import pickle
import random
import subprocess
import tempfile

import requests
import yaml
from flask import Flask

app = Flask(__name__)
DB_PASSWORD = "Sunny-Harbour-42"


def load(path):
    return yaml.load(open(path))


def archive(folder):
    subprocess.run("tar czf a.tgz " + folder, shell=True)
    os.system("rm " + folder)


def read(content):
    return pickle.loads(content)


def fingerprint(text):
    return hashlib.md5(text.encode()).hexdigest()


def scratch():
    return tempfile.mktemp()


def token():
    return str(random.random())


def fetch(url):
    return requests.get(url, verify=False, timeout=5)


def find(cursor, name):
    cursor.execute("SELECT * FROM users WHERE name = '%s'" % name)
    return eval(name)


def pay(amount):
    assert amount > 0


app.run(debug=True)
"""
CLEAN = '''"""Keeps the orders."""

import hashlib
import json
import random
import secrets
import subprocess
import tempfile
from pathlib import Path

import requests
import yaml

PASSWORD_LENGTH = 12
TOKEN_URL = "https://example.com/token"


def load(path: Path) -> object:
    return yaml.safe_load(path.read_text())


def archive(folder: str) -> None:
    subprocess.run(["tar", "czf", "a.tgz", folder], check=True)


def fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def dice() -> int:
    return random.randint(1, 6)


def token() -> str:
    return secrets.token_urlsafe()


def fetch(url: str) -> object:
    password = open_store("database/password")
    answer = requests.get(url, timeout=5, auth=("app", password))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.json").write_text(json.dumps(answer.json()))
    return answer


def find(cursor, name):
    cursor.execute("SELECT * FROM users WHERE name = %s", [name])
'''


def scan(**sources: str) -> Result:
    return of({name.replace("__", "/").replace("_", "."): text for name, text in sources.items()})


def of(sources: dict[str, str], **inputs: Any) -> Result:
    return run(TOOL, {"files": [{"name": name, "text": text} for name, text in sources.items()]} | inputs)


def found(result: Result) -> list[tuple[str, int]]:
    return sorted((one["rule"], one["line"]) for one in result.result["findings"])


def packed(*entries: tuple[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return out.getvalue()


def unpack(content: bytes, **inputs: Any) -> Result:
    return run(TOOL, inputs, archive=("source.zip", content))


def line_of(text: str, part: str) -> int:
    return next(number for number, line in enumerate(text.split("\n"), 1) if part in line)


def test_insecure_python_is_found_with_its_lines() -> None:
    expected = {
        "B506": "yaml.load(", "B602": "shell=True", "B605": "os.system", "B301": "pickle.loads", "B324": "hashlib.md5",
        "B306": "tempfile.mktemp", "B311": "random.random", "B501": "verify=False", "B608": "SELECT", "B307": "eval(",
        "B101": "assert amount", "B201": "app.run(", "SECRET-PASSWORD": "DB_PASSWORD",
    }  # fmt: skip
    result = of({"shop/main.py": INSECURE})
    assert found(result) == sorted((rule, line_of(INSECURE, part)) for rule, part in expected.items())
    assert all(
        one["cwe"].startswith("CWE-") and one["fix"] and one["asvs"] in CHECKLIST for one in result.result["findings"]
    )
    states = {one["asvs"]: one["state"] for one in result.result["checklist"]}
    assert states["5.5.3"] == states["6.2.5"] == states["2.10.4"] == "found"
    assert states["12.3.1"] == "nothing found"
    assert states["5.4.1"] == "not looked at"  # C only


def test_clean_code_has_nothing() -> None:
    result = of({"shop/main.py": CLEAN})
    assert result.result["findings"] == []
    assert result.result["counts"] == {"critical": 0, "high": 0, "medium": 0, "low": 0}
    assert [one["rows"] for one in result.view if one["kind"] == "findings"] == [[]]


def test_lines_are_those_that_were_pasted() -> None:
    assert found(of({"a.py": "\n\n\n" + "import yaml\nyaml.load(x)\n"})) == [("B506", 5)]
    assert found(of({"a.py": "import yaml\r\n\r\nyaml.load(x)\r\n"})) == [("B506", 3)]


def test_asserts_in_tests_and_silenced_lines_are_left_out() -> None:
    source = "import yaml\nassert yaml\nyaml.load(x)  # nosec\n"
    assert found(of({"tests/test_a.py": source})) == []
    result = of({"a.py": source})
    assert (found(result), result.result["silenced"]) == ([("B101", 2)], 1)
    assert found(of({"a.py": source}, honour_nosec=False)) == [("B101", 2), ("B506", 3)]
    assert found(of({"a.py": source}, honour_nosec=False, least="high")) == [("B506", 3)]


# file, weak, sound, rule
OTHERS = [
    ("a.js", "eval(input)", "JSON.parse(input) // eval(x)", "JS-EVAL"),
    ("a.js", "x.innerHTML = '<b>' + name", "x.innerHTML = '<b>done</b>';", "JS-HTML"),
    ("a.js", "x.innerHTML = name", "if (x.innerHTML === name) { }", "JS-HTML"),
    ("a.ts", "exec(`rm ${name}`)", "execFile('rm', [name])", "JS-COMMAND"),
    ("a.ts", "exec('rm ' + name)", "pattern.exec(name)", "JS-COMMAND"),
    ("a.js", "db.query(`SELECT * FROM t WHERE id = ${id}`)", "db.query('SELECT * FROM t WHERE id = ?', [id])", "JS-SQL"),
    ("a.js", "db.query('DELETE FROM t WHERE id = ' + id)", "say('Select a boat from ' + list)", "JS-SQL"),
    ("a.js", "({rejectUnauthorized: false})", "({rejectUnauthorized: true})", "JS-TLS"),
    ("a.js", "const token = Math.random()", "const x = Math.random()", "JS-RANDOM"),
    ("a.js", "createHash('md5')", "createHash('sha256')", "JS-HASH"),
    ("a.jsx", "<p dangerouslySetInnerHTML={x} />", "<p>{x}</p>", "JS-REACT"),
    ("A.java", 'run("SELECT * FROM t WHERE a=" + a);', 'run("SELECT * FROM t WHERE a=?", a);', "JAVA-SQL"),
    ("A.java", "new ObjectInputStream(in)", "new InputStreamReader(in)", "JAVA-OBJECT"),
    ("A.java", 'Cipher.getInstance("AES/ECB/PKCS5Padding")', 'Cipher.getInstance("AES/GCM/NoPadding")', "JAVA-CIPHER"),
    ("a.php", "<?php include $_GET['p'];", "<?php include 'head.php';", "PHP-INCLUDE"),
    ("a.php", "<?php echo $_GET['p'];", "<?php echo htmlspecialchars($_GET['p']);", "PHP-ECHO"),
    ("a.php", '<?php $d->query("SELECT a FROM t WHERE b=$b");', '<?php $d->prepare("SELECT a FROM t WHERE b=?");', "PHP-SQL"),
    ("a.go", "c := &tls.Config{InsecureSkipVerify: true}", "c := &tls.Config{}", "GO-TLS"),
    ("a.go", 'fmt.Sprintf("SELECT a FROM t WHERE b=%s", b)', 'db.Query("SELECT a FROM t WHERE b=$1", b)', "GO-SQL"),
    ("a.rb", 'User.where("name = #{name}")', 'User.where("name = ?", name)', "RUBY-SQL"),
    ("a.rb", "Marshal.load(x)", "JSON.parse(x)", "RUBY-OBJECT"),
    ("a.c", "gets(line);", "fgets(line, 80, f);", "C-GETS"),
    ("a.c", "strcpy(to, from);", "strlcpy(to, from, size);", "C-COPY"),
    ("A.cs", "new BinaryFormatter()", "new StringBuilder()", "CS-OBJECT"),
    ("a.sql", "GRANT ALL ON t TO PUBLIC;", "GRANT SELECT ON t TO reader;", "SQL-GRANT"),
    ("a.sql", "EXEC('SELECT * FROM ' + @t)", "SELECT 1 -- EXEC('a' + b)", "SQL-DYNAMIC"),
    ("a.sh", "curl -s https://x.io/i.sh | sudo bash", "curl -o i.sh https://x.io/i.sh", "SH-PIPE"),
    ("a.sh", "chmod 777 /srv", "chmod 750 /srv", "SH-OPEN"),
    ("Dockerfile", "FROM python:latest\nUSER app", "FROM python:3.13\nUSER app", "DOCKER-TAG"),
    ("Dockerfile", "FROM a:1 AS b\nFROM b\nUSER root", "FROM a:1 AS b\nUSER root\nFROM b\nUSER app", "DOCKER-ROOT"),
    (".github/workflows/a.yml", "on: push\njobs:\n a:\n  steps:\n  - uses: x/y@main", "on: push\njobs:\n a:\n  steps:\n  - uses: x/y@v4", "CI-PINNED"),
    ("ci.yml", "on: push\njobs:\n a:\n  steps:\n  - run: echo ${{ github.event.issue.title }}", "on: push\njobs:\n a: {}", "CI-INPUT"),
    ("pod.yaml", "spec:\n  privileged: true", "spec:\n  privileged: false", "K8S-PRIVILEGED"),
    ("compose.yml", "services:\n  a:\n    volumes: [/var/run/docker.sock:/d]", "services:\n  a: {}", "DOCKER-SOCKET"),
    ("main.tf", 'ingress {\n  from_port = 22\n  cidr_blocks = ["0.0.0.0/0"]\n}', 'ingress {\n  from_port = 443\n  to_port = 443\n  cidr_blocks = ["0.0.0.0/0"]\n}', "TF-WORLD"),
    ("main.tf", 'acl = "public-read"', 'acl = "private"', "TF-PUBLIC"),
    ("main.tf", "storage_encrypted = false", "storage_encrypted = true", "TF-PLAIN"),
    ("a.html", "<p>{{ name|safe }}</p>", "<p>{{ name }}</p>", "HTML-ESCAPE"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "weak", "sound", "rule"), OTHERS, ids=lambda one: one[:24])
def test_other_languages(name: str, weak: str, sound: str, rule: str) -> None:
    assert rule in [one for one, _ in found(of({name: weak}))]
    assert found(of({name: sound})) == []


def test_a_finding_across_lines_names_the_line_that_matters() -> None:
    source = 'ingress {\n  from_port = 22\n  cidr_blocks = ["0.0.0.0/0"]\n}\n'
    assert found(of({"main.tf": source})) == [("TF-WORLD", 3)]


def test_every_rule_has_its_words() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert {rule.section for rule in RULES} | {one[1] for one in PYTHON.values()} <= set(CHECKLIST)
    assert all(rule.severity in security.SEVERITIES and rule.fix.endswith(".") for rule in RULES)


# Secrets. Put together here so that nobody's scanner takes this file for a leak.
KEYS = {
    "SECRET-AWS-ID": "AKIA" + "Q3EGRVPT5YLMNZ7A",
    "SECRET-GITHUB": "ghp_" + "a8Kd02mZq7Tn4LxV9bWc3YrE6uHs1PfJ5gDi",
    "SECRET-SLACK": "xoxb-" + "17653672481-" + "19874698323-" + "pdFZKVeTuE8sk7oOcHrzqqgy",
    "SECRET-STRIPE": "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "SECRET-GOOGLE": "AIza" + "SyD3fK9xQ2mN8vB5tR7wY1zC4uH6jL0pEsA",
    "SECRET-SENDGRID": "SG." + "ngeVfQFYQlKU0ufo8x5d1A" + "." + "TwL2iGABf9DHoTf09kqeF8tAmbihYzrnopKc7f1s5cr",
    "SECRET-NPM": "npm_" + "xmZ8Q2kD7vR4tB9wL1cN6yH3jF5sG0pAaEuT",
    "SECRET-AZURE": "AccountKey=" + "lJzRc1YdHaAA2KCNJJ1tkYwF" * 3 + "lJzRc1YdHaAA2K" + "==",
    "SECRET-KEY": "-----BEGIN RSA PRIVATE " + "KEY-----",
    "SECRET-ADDRESS": "postgres://app:" + "s3cretHarbour" + "@db.local/app",
    "SECRET-JWT": "eyJhbGciOiJIUzI1NiJ9"
    + ".eyJzdWIiOiIxMjM0NTY3ODkwIn0"
    + ".dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
}


@pytest.mark.parametrize(("rule", "key"), KEYS.items(), ids=list(KEYS))
def test_a_secret_is_found_and_never_told(rule: str, key: str) -> None:
    result = of({"settings.py": f'# a\nVALUE = "{key}"\n', "notes.txt": f"use {key} there\n"})
    assert (rule, 2) in found(result)
    assert (rule, 1) in found(result)
    if rule != "SECRET-KEY":
        secret = (
            key.partition("=")[2] if rule == "SECRET-AZURE" else "s3cretHarbour" if rule == "SECRET-ADDRESS" else key
        )
        told = studio.encode(result).decode("utf-8", "replace")
        assert secret not in told
        assert secret[6:] not in told


def test_what_detect_secrets_names_is_named() -> None:
    """An outside program over the same lines: every one that it finds a secret of known form in, we find one in."""
    plugins = [one() for one in get_mapping_from_secret_type_to_class().values() if issubclass(one, RegexBasedDetector)]
    skip = {"PublicIPDetector"}
    lines = [f'value = "{key}"' for key in KEYS.values()]
    theirs = {
        number
        for number, line in enumerate(lines, 1)
        if any(list(one.analyze_string(line)) for one in plugins if type(one).__name__ not in skip)
    }
    assert len(theirs) >= 8
    assert theirs <= {line for _, line in found(of({"keys.txt": "\n".join(lines)}))}


@pytest.mark.parametrize(
    ("name", "line", "rule"),
    [
        ("a.py", 'password = "Sunny-Harbour-42"', "SECRET-PASSWORD"),
        ("a.py", 'config["api_key"] = "8f3b7Kd92mZq7Tn4LxV9"', "SECRET-NAMED"),
        ("a.js", "const clientSecret = 'q8Zt71LmXw02Rv5K'", "SECRET-NAMED"),
        ("a.json", '{"db_password": "hunter22"}', "SECRET-PASSWORD"),
        (".env", "SECRET_KEY=q8Zt71LmXw02Rv5K", "SECRET-NAMED"),
        ("a.yaml", "password: hunter2x", "SECRET-PASSWORD"),
        ("Dockerfile", "FROM a:1\nUSER app\nENV API_TOKEN=q8Zt71LmXw02Rv5K", "SECRET-NAMED"),
        ("a.py", 'thing = "Zq7Tn4LxV9bWc3YrE6uHs1PfJ5gDi8Kd02m"', "SECRET-RANDOM"),
        ("a.py", 'password = ""', None),
        ("a.py", 'password = "${DB_PASSWORD}"', None),
        ("a.py", 'password = os.environ["DB_PASSWORD"]', None),
        ("a.py", 'password_field = "user_password"', None),
        ("a.py", 'api_key = "your-api-key"', None),
        ("a.py", 'token = "changeme"', None),
        (".env", "DB_PASSWORD=", None),
        ("a.yaml", "password: ${{ secrets.DB }}", None),
        ("a.html", '<input type="password" name="password">', None),
        ("a.json", '{"integrity": "sha512-Zq7Tn4LxV9bWc3YrE6uHs1PfJ5gDi8Kd02m=="}', None),
        ("package-lock.json", '{"token": "Zq7Tn4LxV9bWc3YrE6uHs1PfJ5gDi8Kd02m"}', None),
    ],
)
def test_what_is_called_a_secret(name: str, line: str, rule: str | None) -> None:
    assert [one for one, _ in found(of({name: line}))] == ([rule] if rule else [])


def test_a_secret_is_hidden_in_the_line_of_another_finding() -> None:
    source = 'import requests\nrequests.get(url, verify=False, timeout=1, headers={"token": "q8Zt71LmXw02Rv5K"})\n'
    result = of({"a.py": source})
    assert ("B501", 2) in found(result)
    assert "q8Zt71LmXw02Rv5K" not in studio.encode(result).decode("utf-8", "replace")


def test_entropy_by_hand() -> None:
    assert chance("aabb") == 1.0
    assert chance("abcd") == 2.0
    assert chance("aaaa") == 0.0
    assert masked("hunter2") == "… (7 characters)"


# Archives


def test_an_archive_is_read_with_its_paths() -> None:
    result = unpack(
        packed(("shop/main.py", INSECURE.encode()), ("README.md", b"# Shop\n"), ("logo.png", b"\x89PNG\x00"))
    )
    assert {one["file"] for one in result.result["findings"]} == {"shop/main.py"}
    assert result.result["files"] == 2
    assert result.result["not_looked_at"] == [{"file": "logo.png", "why": "no text"}]


COUNTED = b"".join(b"# %d\n" % number for number in range(100_000))


def linked() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        entry = zipfile.ZipInfo("link.py")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
        archive.writestr("a.py", "x = 1\n")
    return out.getvalue()


def test_a_link_is_not_followed() -> None:
    assert unpack(linked()).result["not_looked_at"] == [{"file": "link.py", "why": "a link"}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK not really", "no zip archive"),
        (packed(("../../etc/cron.d/a", b"x")), "leads out"),
        (packed(("/etc/passwd", b"x")), "leads out"),
        (packed(("C:\\boot.py", b"x")), "leads out"),
        (packed(("a\\..\\..\\b.py", b"x")), "leads out"),
        (packed(("bomb.py", b"0" * 20_000_000)), "more than 200 times"),
        (packed(*((f"{number}.py", COUNTED) for number in range(34))), "more than 24 MiB"),
        (packed(*((f"{number}.py", b"x") for number in range(3_001))), "at most 3,000"),
        (packed(("a.py", b"x = 1\n" * 99), compression=zipfile.ZIP_LZMA), "plain deflate"),
        (packed(("a.bin", b"\x00\x01")), "no text in it"),
    ],
    ids=["no zip", "up", "root", "drive", "backslash", "bomb", "large", "many", "lzma", "binary"],
)
def test_an_archive_that_harms_or_says_nothing_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(BadInput) as refused:
        TOOL.function({"archive": "a.zip", "files": [], "least": "low", "honour_nosec": True}, {"archive": content})
    assert re.search(said, refused.value.fields["archive"][0])


def test_what_is_pasted_is_refused_by_name() -> None:
    rows = [{"name": "a.py", "text": "x"}, {"name": "a.py", "text": "y"}, {"name": "../b.py", "text": "z"}]
    with pytest.raises(BadInput) as refused:
        run(TOOL, {"files": rows})
    assert set(refused.value.fields) == {"files.1.name", "files.2.name"}
    with pytest.raises(BadInput) as refused:
        run(TOOL, {})
    assert list(refused.value.fields) == ["files"]


@pytest.mark.parametrize("source", ["def f(:\n", "x = " + "(" * 3000, "x = " + "-" * 60_000 + "1", "a" + "+a" * 40_000])
def test_what_is_no_python_is_said_and_searched_for_secrets(source: str) -> None:
    result = of({"a.py": f'{source}\n# key = "q8Zt71LmXw02Rv5K"; password = "hunter22"\n'})
    assert result.result["not_looked_at"][0]["file"] == "a.py"
    assert result.result["secrets"] == 1


# What can be taken away


def test_sarif_has_what_its_schema_needs() -> None:
    """SARIF 2.1.0 §3.13–3.28: version, runs, tool.driver.name, ruleIndex, level, message, locations, region."""
    log = json.loads(file(of({"shop/ma in.py": INSECURE}), "security.sarif.json"))
    assert log["version"] == "2.1.0"
    (made,) = log["runs"]
    rules = made["tool"]["driver"]["rules"]
    assert made["tool"]["driver"]["name"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    assert len(made["results"]) == 13
    for one in made["results"]:
        assert rules[one["ruleIndex"]]["id"] == one["ruleId"]
        assert one["level"] in ("none", "note", "warning", "error")
        assert one["message"]["text"]
        (place,) = one["locations"]
        assert place["physicalLocation"]["artifactLocation"]["uri"] == "shop/ma%20in.py"
        assert place["physicalLocation"]["region"]["startLine"] >= 1
        assert re.fullmatch(r"[0-9a-f]{32}", one["partialFingerprints"]["holdfast/v1"])
    assert {float(rule["properties"]["security-severity"]) > 0 for rule in rules} == {True}


def test_the_csv_is_defused_and_the_markdown_is_a_table() -> None:
    result = of({"a.js": "=eval(input)\n"})
    rows = list(csv.reader(io.StringIO(file(result, "findings.csv"))))
    assert rows[1][-1] == "'=eval(input)"
    assert "| Severity | Where |" in file(result, "security.md")


def test_the_example_works_twice_alike() -> None:
    first, second = example(TOOL), example(TOOL)
    assert studio.encode(first) == studio.encode(second)
    assert first.result["counts"] == {"critical": 0, "high": 6, "medium": 2, "low": 0}


def test_it_runs_under_its_limits() -> None:
    assert TOOL.limits is not None
    cleaned, files = TOOL.clean_with_files(
        {"files": [{"name": "main.py", "text": INSECURE}]}, {"archive": ("a.zip", packed(("b/a.js", b"eval(x)\n")))}
    )
    ran = runner.run(TOOL.path, cleaned, files, TOOL.limits)
    assert (ran.stopped, ran.error) == (None, "")
    assert len(studio.decode(ran.output).result["findings"]) == 14


def test_comments_are_blanked_in_place() -> None:
    assert without_comments('a("//x") // b\nc', "javascript") == 'a("//x")     \nc'
    assert without_comments("a /* b\nc */ d", "java") == "a     \n     d"
    assert without_comments("a: '#b' # c", "yaml") == "a: '#b'    "


@pytest.mark.parametrize(
    ("name", "text", "language"),
    [
        ("a/Dockerfile.dev", "", "docker"),
        (".env.local", "", "settings"),
        ("run", "#!/bin/sh\n", "shell"),
        ("x", "", "other"),
    ],
)
def test_languages(name: str, text: str, language: str) -> None:
    assert language_of(name, text) == language


NAMES = st.sampled_from(
    ["a.py", "a.js", "Dockerfile", "a.yml", "a.tf", "a.php", "a.sh", ".env", "a.sql", "a.html", "a"]
)
PARTS = st.sampled_from(
    ["eval(", "password = ", '"', "'", "`", "${", "/*", "*/", "//", "#", "\n", "SELECT a FROM b ", "FROM x\n", "USER ",
     "ingress {", "0.0.0.0/0", "(", ")", "def f():\n", " ", "x=1\n", "\\", "é", "😀", "-----BEGIN PRIVATE KEY-----"]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(NAMES, st.lists(PARTS, min_size=1, max_size=25).map("".join)), min_size=1, max_size=3))
def test_any_source_gives_an_answer(sources: list[tuple[str, str]]) -> None:
    given_sources = {name: text for name, text in sources if text.strip()}
    if given_sources:
        result = of(given_sources)
        assert result.result["files"] == len(given_sources)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 255))
def test_any_archive_is_read_or_refused(content: bytes, place: int, byte: int) -> None:
    archive = bytearray(packed(("a.py", content), ("b/c.js", content)))
    archive[place % len(archive)] = byte
    inputs = {"archive": "a.zip", "files": [], "least": "low", "honour_nosec": True}
    for given_archive in (bytes(archive), content or b"x"):
        with suppress(BadInput):
            assert TOOL.function(inputs, {"archive": given_archive}).result["files"]


# What came with a request, and settings


DOORS = {
    "PY-REDIRECT": "return redirect(request.GET['next'])",
    "PY-MARKUP": "name = request.POST.get('name', '').strip()\n    return HttpResponse(f'<h1>{name}</h1>')",
    "PY-QUERY": "q = \"SELECT * FROM people WHERE name = '\" + request.GET['name'] + \"'\"\n    return run_later(q)",
    "PY-TEMPLATE": "return render_template_string('Hello ' + request.args['name'])",
    "PY-PATH": "return send_file('/srv/files/' + request.args['file'])",
    "PY-FETCH": "url = self.request.query_params['url']\n    return requests.get(url, timeout=5)",
    "PY-IMPORT": "return importlib.import_module(request.form['module'])",
    "PY-TOKEN": "return jwt.decode(token, options={'verify_signature': False})",
    "PY-XML": "return etree.parse(given, etree.XMLParser(resolve_entities=True))",
}
CLOSED = {
    "PY-REDIRECT": "to = request.GET['next']\n    if url_has_allowed_host_and_scheme(to, hosts):\n        return redirect(to)",
    "PY-MARKUP": "return HttpResponse(escape(request.POST['name']) + str(len(request.body)))",
    "PY-QUERY": "return run('SELECT * FROM people WHERE name = %s', [request.GET['name']])",
    "PY-TEMPLATE": "return render_template_string('Hello {{ name }}', name=request.args['name'])",
    "PY-PATH": "return send_file(safe_join('/srv/files', request.args['file']))",
    "PY-FETCH": "return requests.get(f'https://api.example.org/towns/{request.args[\"town\"]}', timeout=5)",
    "PY-IMPORT": "return importlib.import_module(KNOWN[request.form['module']])",
    "PY-TOKEN": "return jwt.decode(token, key, algorithms=['EdDSA'])",
    "PY-XML": "return etree.parse(given, etree.XMLParser(resolve_entities=False))",
}


def listed(name: str, text: str) -> list[dict[str, Any]]:
    return of({name: text}).result["findings"]


def python_rules(text: str, name: str = "shop/views.py") -> dict[str, int]:
    found = security_python.weaknesses(text, name)
    return {one.rule: one.line for one in found}


@pytest.mark.parametrize("rule", DOORS)
def test_what_a_request_brings_is_followed_to_where_it_harms(rule: str) -> None:
    opened = python_rules(f"def view(request):\n    {DOORS[rule]}\n")
    assert set(opened) == {rule}
    assert opened[rule] in (2, 3)
    assert python_rules(f"def view(request):\n    {CLOSED[rule]}\n") == {}


def test_settings_that_leave_a_door_open_and_those_for_home() -> None:
    text = """INSTALLED_APPS = []
DEBUG = True
ALLOWED_HOSTS = ["*"]
SESSION_COOKIE_SECURE = False
SESSION_COOKIE_HTTPONLY = False
CORS_ALLOW_ALL_ORIGINS = True
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
"""
    assert python_rules(text, "shop/settings/base.py") == {
        "PY-DEBUG": 2,
        "PY-HOSTS": 3,
        "PY-COOKIE-TLS": 4,
        "PY-COOKIE": 5,
        "PY-CORS": 6,
        "PY-HASHER": 7,
    }
    assert python_rules(text, "shop/settings/test.py") == {}
    assert python_rules("DEBUG = True\n", "shop/prints.py") == {}
    good = text.replace("True", "env.flag('X')").replace("False", "True").replace('"*"', '"example.org"')
    assert python_rules(good.replace("MD5Pass", "Argon2Pass"), "shop/settings/base.py") == {}


def test_a_view_without_its_check_of_forms() -> None:
    assert python_rules("@csrf_exempt\ndef hook(request):\n    pass\n") == {"PY-CSRF": 1}


def test_each_is_in_the_scan_once_and_nosec_is_honoured() -> None:
    text = "def view(request):\n    cursor.execute('SELECT * FROM t WHERE a = ' + request.GET['a'])\n"
    assert [one["rule"] for one in listed("a.py", text)] == ["B608"]
    text = "def view(request):\n    return redirect(request.GET['next'])  # nosec\n"
    assert listed("a.py", text) == []
    text = "def view(request):\n    return mark_safe(request.GET['html'])\n"
    text = "from django.utils.safestring import mark_safe\n" + text
    assert [one["rule"] for one in listed("a.py", text)] == ["B703"]


SENTENCES = """message = f"Could not delete from cache where key = {key}"
choice = f"Select an item from the list where {reason} holds"
token_expiry_seconds = "3600"
API_KEY_LENGTH = "64"
SHA = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""


def test_sentences_and_measures_are_no_weakness() -> None:
    assert listed("a.py", SENTENCES) == []
    (one,) = listed("a.py", 'query = f"SELECT * FROM {table}"\n')
    assert (one["rule"], one["severity"]) == ("B608", "medium")


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ('res.send("<p>" + req.query.name);', "JS-ECHO"),
        ("res.send(`<p>${req.body.name}</p>`);", "JS-ECHO"),
        ("res.redirect(req.query.next);", "JS-REDIRECT"),
        ('jwt.verify(token, key, { algorithms: ["none"] });', "JS-TOKEN"),
        ("fs.createReadStream(path.join(base, req.params.name));", "JS-PATH"),
        ("const got = await fetch(req.query.url);", "JS-FETCH"),
        ('app.use(cors({ origin: "*" }));', "JS-CORS"),
        ("res.send(req.body);", ""),
        ('res.redirect("/orders");', ""),
        ('jwt.verify(token, key, { algorithms: ["EdDSA"] });', ""),
        ("fs.createReadStream(path.join(base, name));", ""),
        ("const got = await fetch(`https://api.example.org/${id}`);", ""),
        ('app.use(cors({ origin: "https://example.org" }));', ""),
        ("page.innerHTML = DOMPurify.sanitize(markup);", ""),
    ],
)
def test_what_a_request_brings_in_javascript(line: str, rule: str) -> None:
    assert [one["rule"] for one in listed("server.js", line + "\n")] == ([rule] if rule else [])
