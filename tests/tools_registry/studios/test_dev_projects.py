"""Scaffolds are judged by what they are for: they install, their own tests pass, other programs accept their files."""

import ast
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import tomllib
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
from tools_registry.studios.dev import projects
from tools_registry.studios.dev.projects import STACKS, TOOL

from .tabular import run

PYTHON = [slug for slug, stack in STACKS.items() if stack.is_python]
ODD = "A \"quoted\" 'thing' \\ with #{{ 7*7 }} ${HOME} $(id) `id` <b>&amp; ]]> : - | % \"\"\" ünïcödé ☃ '''"
WORKFLOW = json.loads((Path(projects.__file__).parent / "schemas/github_workflow.json").read_text())
COMPOSE = json.loads((Path(projects.__file__).parent / "schemas/compose.json").read_text())
# What npm's documentation asks of a package.json.
PACKAGE_JSON = {
    "type": "object",
    "required": ["name", "version"],
    "properties": {
        "name": {
            "type": "string",
            "maxLength": 214,
            "pattern": r"^(@[a-z0-9-~][a-z0-9-._~]*/)?[a-z0-9-~][a-z0-9-._~]*$",
        },
        "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
        "description": {"type": "string"},
        "private": {"type": "boolean"},
        "type": {"enum": ["module", "commonjs"]},
        "scripts": {"type": "object", "additionalProperties": {"type": "string"}},
        "devDependencies": {"type": "object", "additionalProperties": {"type": "string"}},
        "engines": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}


def scaffold(stack: str, **given: Any) -> dict[str, str]:
    """The files of a project by their paths in its folder."""
    result = run(TOOL, {"stack": stack, "name": "tide-tables", **given})
    (archive,) = result.files
    with zipfile.ZipFile(io.BytesIO(archive.content)) as opened:
        folder = f"{result.result['folder']}/"
        return {name.removeprefix(folder): opened.read(name).decode() for name in opened.namelist()}


def unpack(files: dict[str, str], folder: Path) -> Path:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def carry_out(folder: Path, *command: str, **more: str) -> str:
    """What the command says; it has to end well."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **more}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"{command}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def own_tests(stack: str, folder: Path) -> str:
    if stack == "django-app":
        return carry_out(folder, sys.executable, "manage.py", "test", DJANGO_DEBUG="1")
    return carry_out(folder, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stack", "database", "passed"),
    [
        ("python-library", "none", "23 passed"),
        ("command-line", "none", "5 passed"),
        ("fastapi-service", "none", "6 passed"),
        ("fastapi-service", "sqlite", "12 passed"),
        ("fastapi-service", "postgresql", "6 passed, 6 skipped"),
        ("django-app", "none", "Ran 5 tests"),
        ("django-app", "postgresql", "Ran 5 tests"),
    ],
)
def test_the_unpacked_project_passes_its_own_tests(stack: str, database: str, passed: str, tmp_path: Path) -> None:
    folder = unpack(scaffold(stack, database=database, description=ODD, author=ODD[:90]), tmp_path)
    assert passed in own_tests(stack, folder)


@pytest.mark.slow
@pytest.mark.parametrize("stack", PYTHON)
def test_it_installs_into_a_new_environment(stack: str, tmp_path: Path) -> None:
    """Without a network: what it depends on is that of this environment, seen through a path file."""
    folder = unpack(scaffold(stack, name="Tide.Tables", description=ODD), tmp_path / "project")
    carry_out(tmp_path, sys.executable, "-m", "venv", "--without-pip", "new")
    new = tmp_path / "new/bin/python"
    ours = next(path for path in sys.path if path.endswith("site-packages"))
    theirs = next((tmp_path / "new").glob("lib/*/site-packages"))
    (theirs / "ours.pth").write_text(f"{ours}\n")
    install = ("-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps", "--no-index", str(folder))
    carry_out(tmp_path, str(new), *install)
    assert list(theirs.glob("tide_tables-0.1.0.dist-info/licenses/LICENSE")), "it is installed"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    said = carry_out(elsewhere, str(new), "-c", "import tide_tables; print(tide_tables.__file__)")
    assert str(theirs) in said
    if stack == "command-line":
        (elsewhere / "abc.txt").write_text("abc")
        assert "ba7816bf" in carry_out(elsewhere, str(tmp_path / "new/bin/tide-tables"), "sum", "abc.txt")
    if stack == "django-app":
        assert (theirs / "tide_tables/templates/notes.html").is_file()


@pytest.mark.skipif(shutil.which("node") is None, reason="There is no node here")
def test_the_static_site_passes_its_own_tests(tmp_path: Path) -> None:
    folder = unpack(scaffold("static-site", name="@harbour/site", description=ODD), tmp_path)
    assert "# fail 0" in carry_out(folder, "node", "--test", "--test-reporter=tap", "tests/")
    carry_out(folder, "node", "--check", "theme.js")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="There is no npm here")
def test_the_typescript_library_compiles_and_passes_its_own_tests(tmp_path: Path) -> None:
    folder = unpack(scaffold("node-typescript", name="@harbour/tides", description=ODD), tmp_path)
    npm = {name: value for name, value in os.environ.items() if name.lower().startswith("npm_config_")}
    installing = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"]
    home = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", ""), **npm}
    try:
        done = subprocess.run(installing, cwd=folder, env=home, capture_output=True, text=True, timeout=900)
    except subprocess.TimeoutExpired:
        pytest.skip("No package registry answers here")
    if done.returncode:
        pytest.skip(f"No package registry here: {done.stderr[-200:]}")
    assert "fail 0" in carry_out(folder, "npm", "test")
    carry_out(folder, "npm", "run", "lint")


@pytest.mark.parametrize("stack", PYTHON)
def test_what_it_says_of_itself_holds_for_ruff(stack: str, tmp_path: Path) -> None:
    for database in ("none", "sqlite", "postgresql") if STACKS[stack].has_database else ("none",):
        # The longest names bring the longest lines; a text of the person's own may be longer than they are.
        folder = unpack(scaffold(stack, database=database, description="Tides."), tmp_path / database)
        carry_out(folder, sys.executable, "-m", "ruff", "check", "--no-cache", ".")
        carry_out(folder, sys.executable, "-m", "ruff", "format", "--no-cache", "--check", ".")


@pytest.mark.parametrize("stack", STACKS)
def test_every_combination_is_well_formed(stack: str) -> None:
    flags = ("tests", "linting", "docker", "ci")
    databases = projects.DATABASES if STACKS[stack].has_database else ["none"]
    for chosen, database in itertools.product(itertools.product((True, False), repeat=4), databases):
        options: dict[str, Any] = dict(zip(flags, chosen, strict=True))
        if options["docker"] and not STACKS[stack].can_be_contained:
            continue
        licence = list(projects.LICENCES)[sum(chosen) % 4]
        made = scaffold(stack, database=database, description=ODD, author=ODD[:100], licence=licence, **options)
        judge(made)
        assert (".github/workflows/ci.yml" in made) == options["ci"]
        assert ("Dockerfile" in made) == options["docker"]
        assert any("test" in path for path in made) == options["tests"]
        assert ("LICENSE" in made) == (licence != "none")


def judge(made: dict[str, str]) -> None:
    """Each file is read by what reads it."""
    for path, text in made.items():
        assert ".." not in path
        assert not path.startswith("/")
        assert "{%" not in text or path.endswith("notes.html"), path
        if path.endswith(".py"):
            ast.parse(text)
        elif path.endswith(".toml"):
            assert tomllib.loads(text)["project"]["description"] == ODD
        elif path.endswith(".json"):
            found = json.loads(text)
            if path == "package.json":
                jsonschema.validate(found, PACKAGE_JSON)
                assert found.get("description", ODD) == ODD
        elif path.endswith("ci.yml"):
            workflow = yaml.safe_load(text)
            workflow["on"] = workflow.pop(True)  # "on" is true to YAML 1.1
            jsonschema.validate(workflow, WORKFLOW)
            assert workflow["permissions"] == {"contents": "read"}
        elif path == "compose.yaml":
            jsonschema.validate(yaml.safe_load(text), COMPOSE)


def test_the_same_inputs_give_the_same_bytes_and_others_other_files() -> None:
    one, two = (run(TOOL, dict(TOOL.example)) for _ in range(2))
    assert one.files == two.files
    assert one.files[0].content != run(TOOL, {**TOOL.example, "database": "none"}).files[0].content
    library, site = scaffold("python-library"), scaffold("static-site")
    assert {"src/tide_tables/durations.py", "pyproject.toml"} <= set(library) - set(site)
    assert {"index.html", "styles.css"} <= set(site) - set(library)
    kept = {database: scaffold("fastapi-service", database=database) for database in projects.DATABASES}
    assert "sqlite3" in kept["sqlite"]["src/tide_tables/store.py"]
    assert "psycopg" in kept["postgresql"]["pyproject.toml"]
    assert "psycopg" not in kept["none"]["pyproject.toml"]


def test_the_licence_is_the_one_that_was_chosen() -> None:
    made = {one: scaffold("python-library", licence=one, author="A. Pilot", year=2026) for one in projects.LICENCES}
    assert "Copyright (c) 2026 A. Pilot\n" in made["MIT"]["LICENSE"]
    assert "Version 2.0, January 2004" in made["Apache-2.0"]["LICENSE"]
    assert "BSD 3-Clause" in made["BSD-3-Clause"]["LICENSE"]
    assert "Do Not Upload" in made["none"]["pyproject.toml"]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": "../evil"}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": "a..b"}, "name"),
        ({"name": "/etc"}, "name"),
        ({"name": "-x"}, "name"),
        ({"name": 'x"y'}, "name"),
        ({"name": "x\ny"}, "name"),
        ({"name": "$(id)"}, "name"),
        ({"name": "con"}, "name"),
        ({"name": "json"}, "name"),
        ({"name": "7seas"}, "name"),
        ({"name": "class"}, "name"),
        ({"name": "fastapi"}, "name"),
        ({"name": "Big", "stack": "static-site"}, "name"),
        ({"name": "@x/../y", "stack": "static-site"}, "name"),
        ({"name": "node_modules", "stack": "node-typescript"}, "name"),
        ({"package": "Tide"}, "package"),
        ({"package": "a.b"}, "package"),
        ({"package": "import"}, "package"),
        ({"package": "os"}, "package"),
        ({"package": "x", "stack": "static-site"}, "package"),
        ({"description": "one\ntwo"}, "description"),
        ({"author": "a\u2028b"}, "author"),
        ({"database": "sqlite"}, "database"),
        ({"docker": True}, "docker"),
    ],
)
def test_what_is_refused_is_named(given: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput) as refused:
        run(TOOL, {"stack": "python-library", "name": "tide-tables", **given})
    assert list(refused.value.fields) == [field]


@settings(max_examples=60, deadline=None)
@given(
    stack=st.sampled_from(list(STACKS)),
    name=st.text(min_size=1, max_size=20) | st.from_regex(r"[a-z][a-z0-9._-]{0,12}", fullmatch=True),
    said=st.text(max_size=60),
)
def test_any_text_is_refused_by_name_or_makes_a_project(stack: str, name: str, said: str) -> None:
    try:
        made = scaffold(stack, name=name, description=said, author=said[:50])
    except (BadInput, BillingError):
        return
    for path, text in made.items():
        if path.endswith(".py"):
            ast.parse(text)
        elif path.endswith(".toml"):
            tomllib.loads(text)
        elif path.endswith(".json"):
            json.loads(text)
        elif path.endswith(".yml"):
            yaml.safe_load(text)
