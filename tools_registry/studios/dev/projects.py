"""Scaffolds a project for a stack: code that runs, with tests that pass, as a zip; the same inputs, the same bytes.

The templates are the files below `scaffolds`: `every` for all stacks, `python` for those in Python, then the stack's
own; `__package__` in a path is the import name. One that comes to nothing is left out of the project. Names follow
PEP 508 and PEP 503 (Python) and the rules of npm's package.json. Licence texts are those of the SPDX list.
"""

from __future__ import annotations

import html
import json
import keyword
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, Template
from jinja2.sandbox import SandboxedEnvironment

from tools_registry.fields import Choice, Flag, Text, Whole
from tools_registry.studio import BadInput, File, Limits, Result, Tool, code, facts, table
from tools_registry.studios.sheets import markdown_cell

from .bundles import zipped

SCAFFOLDS = Path(__file__).parent / "scaffolds"
PYTHONS = ("3.11", "3.12", "3.13")


@dataclass(frozen=True, slots=True)
class Stack:
    """What is special about a stack."""

    title: str
    is_python: bool = True
    has_database: bool = False
    can_be_contained: bool = True
    requires: tuple[str, ...] = ()


STACKS = {
    "python-library": Stack("Python library", can_be_contained=False),
    "fastapi-service": Stack("FastAPI service", has_database=True, requires=("fastapi>=0.115", "uvicorn>=0.30")),
    "django-app": Stack("Django app", has_database=True, requires=("Django>=5.2,<6",)),
    "command-line": Stack("Command-line tool (Python)"),
    "node-typescript": Stack("Node library in TypeScript", is_python=False, can_be_contained=False),
    "static-site": Stack("Static website", is_python=False),
}
DATABASES = {"none": "None", "sqlite": "SQLite", "postgresql": "PostgreSQL"}
LICENCES = {
    "MIT": "MIT",
    "Apache-2.0": "Apache 2.0",
    "BSD-3-Clause": "BSD, three clauses",
    "none": "None: all rights reserved",
}
# PEP 508, and no longer than a folder's name should be.
PYTHON_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?", re.IGNORECASE)
NPM_NAME = re.compile(r"(@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*")
NAME_MAX = 60
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}
TAKEN = {"config", "manage", "tests", "test", "src", "setup", "site", "django", "fastapi", "starlette", "pydantic"} | {
    "uvicorn",
    "psycopg",
    "pytest",
    "httpx",
    "pip",
    "setuptools",
    "gunicorn",
}


def quoted(said: str) -> str:
    """The text between double quotes, as JSON, TOML, YAML, Python and JavaScript all read it."""
    written = json.dumps(said, ensure_ascii=False)
    return re.sub(r"[\x7f-\x9f\u2028\u2029\ufeff]", lambda found: f"\\u{ord(found[0]):04x}", written)


def docstring(said: str) -> str:
    """The text as a docstring of one line."""
    plain = quoted(said)[1:-1].replace('\\"', "'")
    return f'"""{plain}"""'


def _scaffolds() -> dict[str, dict[str, Template]]:
    """The templates of each folder by the paths they are for."""
    # Most of what is made is no HTML; what is, escapes by `html`.
    environment = SandboxedEnvironment(
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"q": quoted, "html": html.escape, "md": markdown_cell, "pydoc": docstring}
    found: dict[str, dict[str, Template]] = {}
    for path in sorted(SCAFFOLDS.rglob("*")):
        if path.is_file():
            folder, _, inner = path.relative_to(SCAFFOLDS).as_posix().partition("/")
            found.setdefault(folder, {})[inner.removesuffix(".jinja")] = environment.from_string(path.read_text())
    return found


TEMPLATES = _scaffolds()
# They are there to be empty.
EMPTY = {"__init__.py", "py.typed"}


def run(inputs: dict[str, Any], files: dict[str, bytes]) -> Result:
    """{"stack", "name", "package", "folder", "files": [{"path", "bytes", "lines"}], "start", "checks", "archive"}."""
    stack = STACKS[inputs["stack"]]
    told = _told(inputs, stack)
    made = _made(inputs["stack"], stack, told)
    folder = told["folder"]
    archive = File(f"{folder}.zip", "application/zip", zipped(folder, made, {"manage.py"}))
    listed = [
        {"path": path, "bytes": len(text.encode()), "lines": text.count("\n")} for path, text in sorted(made.items())
    ]
    result = {
        "stack": inputs["stack"],
        "name": told["name"],
        "package": told["package"],
        "folder": folder,
        "files": listed,
        "start": told["start"],
        "checks": told["checks"],
        "archive": archive.name,
    }
    main = "pyproject.toml" if stack.is_python else "package.json" if "package.json" in made else "index.html"
    view = [
        facts(
            "At a glance",
            [
                ("Project", told["name"]),
                ("Stack", stack.title),
                ("Files", len(made)),
                ("Lines", sum(one["lines"] for one in listed)),
                ("Download", archive.name),
            ],
        ),
        code("Start it", "\n".join([f"unzip {archive.name}", f"cd {folder}", *told["start"]]), language="sh"),
        *([code("Check it", "\n".join(told["checks"]), language="sh")] if told["checks"] else []),
        code("What is in it", _tree(folder, made)),
        table("What is where", ["Path", "What it holds"], told["places"]),
        code(main, made[main], language=main.rpartition(".")[2], file=""),
    ]
    return Result(result, view, [archive])


def _told(inputs: Mapping[str, Any], stack: Stack) -> dict[str, Any]:
    """Everything that the templates may speak of; raises BadInput naming each wrong field."""
    wrong: dict[str, str] = {}
    name = inputs["name"]
    if said := _wrong_name(name, stack):
        wrong["name"] = said
    package = inputs["package"] or re.sub(r"[-.]+", "_", name).lower()
    if not stack.is_python and inputs["package"]:
        wrong["package"] = "Only Python has import names; leave it empty."
    elif stack.is_python and "name" not in wrong and (said := _wrong_package(package)):
        wrong["package" if inputs["package"] else "name"] = said
    for field in ("description", "author"):
        if any(not letter.isprintable() for letter in inputs[field]):
            wrong[field] = "Write one line of letters that can be seen."
    if inputs["database"] != "none" and not stack.has_database:
        wrong["database"] = f"A {stack.title} has no database; choose none."
    if inputs["docker"] and not stack.can_be_contained:
        wrong["docker"] = "A library is used by other programs: there is nothing to run in a container."
    if wrong:
        raise BadInput(wrong)
    folder = name.rpartition("/")[2]
    command = re.sub(r"[._]+", "-", name).lower()
    database = "sqlite" if inputs["stack"] == "django-app" and inputs["database"] == "none" else inputs["database"]
    author = inputs["author"]
    summary = inputs["description"] or f"{stack.title}: {name}"
    told = {
        **{key: inputs[key] for key in ("stack", "licence", "author", "tests", "linting", "docker", "ci", "python")},
        "database": database,
        "name": name,
        "package": package if stack.is_python else "",
        "folder": folder,
        "command": command,
        "summary": summary,
        "docstring": summary if summary.endswith((".", "!", "?")) else f"{summary}.",
        "holder": " ".join(str(one) for one in (inputs["year"], author or f"the authors of {name}") if one),
        "is_python": stack.is_python,
        "pythons": PYTHONS[PYTHONS.index(inputs["python"]) :],
        "requires": [*stack.requires, *(["psycopg[binary]>=3.2"] if database == "postgresql" else [])],
        "settings": _settings(inputs["stack"], database),
    }
    return told | {
        "requires_dev": _requires_dev(inputs),
        "checks": _checks(inputs, stack),
        "start": _start(inputs, stack, told),
        "container": _container(inputs, told),
        "places": _places(inputs, stack, told),
    }


def _wrong_name(name: str, stack: Stack) -> str:
    """What is wrong with the name, if anything."""
    if stack.is_python and not PYTHON_NAME.fullmatch(name):
        return "Use letters, digits, dots, dashes and underscores; begin and end with a letter or digit (PEP 508)."
    if not stack.is_python and not NPM_NAME.fullmatch(name):
        return "Use small letters, digits, dots, dashes and underscores; @scope/ may stand before the name (npm)."
    last = name.rpartition("/")[2].lower()
    if ".." in name or last.endswith(".") or last.split(".")[0] in RESERVED or last in ("node_modules", "favicon.ico"):
        return f"{name} cannot be the name of a folder everywhere; choose another."
    return ""


def _wrong_package(package: str) -> str:
    """What is wrong with the import name, if anything."""
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", package) or keyword.iskeyword(package) or keyword.issoftkeyword(package):
        return f"Python cannot import “{package}”: give an import name of small letters, digits and underscores."
    if package.startswith("__") or package in TAKEN or package in sys.stdlib_module_names:
        return f"“{package}” is the name of a module that exists already; choose another."
    return ""


def _requires_dev(inputs: Mapping[str, Any]) -> list[str]:
    found = []
    if inputs["tests"] and inputs["stack"] != "django-app":
        found.append("pytest>=8")
        found += ["httpx>=0.27"] if inputs["stack"] == "fastapi-service" else []
    if inputs["linting"]:
        found.append("ruff>=0.6")
        found += ["mypy>=1.11"] if inputs["stack"] != "django-app" else []
    return found


def _checks(inputs: Mapping[str, Any], stack: Stack) -> list[str]:
    """The commands that judge the project."""
    if not stack.is_python:
        lint, test = inputs["linting"], inputs["tests"]
        built = ["npm run build"] if inputs["stack"] == "node-typescript" and not test else []
        return [*(["npm run lint"] if lint else []), *built, *(["npm test"] if test else [])]
    found = []
    if inputs["linting"]:
        found += ["ruff check .", "ruff format --check ."]
        found += ["mypy"] if inputs["stack"] != "django-app" else []
    if inputs["stack"] == "django-app":
        found.append("DJANGO_DEBUG=1 python manage.py check")
        found += ["DJANGO_DEBUG=1 python manage.py test"] if inputs["tests"] else []
    elif inputs["tests"]:
        found.append("python -m pytest")
    # CI always has something to do.
    return found or ["python -m compileall -q src"]


def _start(inputs: Mapping[str, Any], stack: Stack, told: Mapping[str, Any]) -> list[str]:
    """The commands from the unpacked folder to something that runs."""
    if inputs["stack"] == "static-site":
        return [*(["npm install"] if inputs["linting"] else []), "python3 -m http.server 8000"]
    if not stack.is_python:
        return ["npm install", "npm run build"]
    lines = ["python3 -m venv .venv", ". .venv/bin/activate", 'python -m pip install -e ".[dev]"']
    if inputs["stack"] == "fastapi-service":
        if told["database"] == "postgresql":
            lines.append("export DATABASE_URL=postgresql://user:password@localhost:5432/name")
        lines.append(f"uvicorn {told['package']}.main:app --reload")
    elif inputs["stack"] == "django-app":
        lines += ["export DJANGO_DEBUG=1", "python manage.py migrate", "python manage.py runserver"]
    elif inputs["stack"] == "command-line":
        lines.append(f"{told['command']} sum README.md")
    return lines


def _container(inputs: Mapping[str, Any], told: Mapping[str, Any]) -> list[str]:
    image = re.sub(r"[^a-z0-9]+", "-", told["folder"].lower()).strip("-")
    if told["database"] == "postgresql":
        lines = ['echo "POSTGRES_PASSWORD=$(openssl rand -hex 24)" >> .env']
        if inputs["stack"] == "django-app":
            lines.append('echo "DJANGO_SECRET_KEY=$(openssl rand -hex 48)" >> .env')
        up = ["docker compose up --build --detach"]
        if inputs["stack"] == "django-app":
            up.append("docker compose exec app python manage.py migrate")
        return lines + up
    port = "8080" if inputs["stack"] == "static-site" else "8000"
    run_it = f"docker run --rm --publish 127.0.0.1:{port}:{port}"
    if inputs["stack"] == "django-app":
        run_it += " --env DJANGO_DEBUG=1"
    if inputs["stack"] == "command-line":
        return [
            f"docker build --tag {image} .",
            f'docker run --rm --volume "$PWD:/work:ro" {image} sum README.md',
        ]
    return [f"docker build --tag {image} .", f"{run_it} {image}"]


def _settings(stack: str, database: str) -> list[tuple[str, str]]:
    found = []
    if stack == "django-app":
        found += [
            ("DJANGO_SECRET_KEY", "Signs sessions; needed everywhere but on your own machine."),
            ("DJANGO_DEBUG", "1 on your own machine, nowhere else."),
            ("DJANGO_ALLOWED_HOSTS", "The names it answers to, parted by commas."),
        ]
    if database == "postgresql":
        found.append(("DATABASE_URL", "Where PostgreSQL is: postgresql://user:password@host:5432/name."))
    elif database == "sqlite":
        found.append(("DATABASE_PATH", "The file that holds the data."))
    return found


def _places(inputs: Mapping[str, Any], stack: Stack, told: Mapping[str, Any]) -> list[tuple[str, str]]:
    package = told["package"]
    own = {
        "python-library": [
            (f"src/{package}/durations.py", "Reads and writes durations: something to replace with your own"),
            (f"src/{package}/__init__.py", "What others may import"),
        ],
        "fastapi-service": [
            (f"src/{package}/main.py", "The routes, and which store they use"),
            (f"src/{package}/models.py", "What goes in and out"),
            (f"src/{package}/store.py", "Where notes are kept"),
        ],
        "django-app": [
            ("config/", "Settings, addresses, WSGI"),
            (f"{package}/", "The app: model, form, views, templates, migrations"),
        ],
        "command-line": [
            (f"src/{package}/command_line.py", "The commands and their exit codes"),
            (f"src/{package}/checksums.py", "The work, without a command line"),
        ],
        "node-typescript": [
            ("src/durations.ts", "Reads and writes durations: something to replace with your own"),
            ("src/index.ts", "What others may import"),
            ("tsconfig.json", "TypeScript, strict"),
        ],
        "static-site": [
            ("index.html", "The first page"),
            ("styles.css", "Colours, light and dark"),
            ("theme.js", "The button for light and dark"),
        ],
    }[inputs["stack"]]
    rest = []
    if stack.is_python:
        rest.append(("pyproject.toml", "Name, dependencies, settings of the tools"))
    if inputs["tests"]:
        where = f"{package}/tests.py" if inputs["stack"] == "django-app" else "tests/"
        rest.append(("test/" if inputs["stack"] == "node-typescript" else where, "Tests"))
    if inputs["docker"]:
        rest.append(("Dockerfile", "An image that runs as a user without rights"))
        if told["database"] == "postgresql":
            rest.append(("compose.yaml", "The app and its database on one machine"))
    if inputs["ci"]:
        rest.append((".github/workflows/ci.yml", "Checks every push and pull request on GitHub"))
    return [*own, *rest]


def _made(slug: str, stack: Stack, told: Mapping[str, Any]) -> dict[str, str]:
    """The text of every file by its path."""
    made: dict[str, str] = {}
    for folder in ("every", *(["python"] if stack.is_python else []), slug):
        for path, template in TEMPLATES[folder].items():
            rendered = template.render(told).lstrip("\n")
            if rendered.strip() or path.rpartition("/")[2] in EMPTY:
                made[path.replace("__package__", told["package"])] = rendered
    if told["licence"] != "none":
        made["LICENSE"] = TEMPLATES["licences"][f"{told['licence']}.txt"].render(told)
    return made


def _tree(folder: str, paths: Mapping[str, str]) -> str:
    """The paths as people draw a tree."""
    below: dict[str, Any] = {}
    for path in sorted(paths):
        at = below
        for part in path.split("/"):
            at = at.setdefault(part, {})
    lines = [f"{folder}/"]
    _branches(below, "", lines.append)
    return "\n".join(lines)


def _branches(below: Mapping[str, Any], before: str, say: Callable[[str], None]) -> None:
    names: Sequence[str] = sorted(below, key=lambda one: (not below[one], one))
    for name in names:
        is_last = name == names[-1]
        say(f"{before}{'└── ' if is_last else '├── '}{name}{'/' if below[name] else ''}")
        _branches(below[name], f"{before}{'    ' if is_last else '│   '}", say)


TOOL = Tool(
    slug="dev-studio/projects",
    title="Project scaffold",
    noun="project",
    summary="A project that runs, with tests that pass, for the stack you choose, as a zip.",
    mode="server",
    risk="low",
    credits_max=5,
    limits=Limits(cpu_seconds=5, seconds=10),
    icon="layers",
    fields=(
        Choice(
            name="stack",
            title="Stack",
            choices={slug: stack.title for slug, stack in STACKS.items()},
            default="python-library",
            is_required=True,
        ),
        Text(
            name="name",
            title="Project name",
            help="As it is published: tide-tables, or @harbour/tide-tables for npm.",
            length_max=NAME_MAX,
            is_short=True,
            is_required=True,
        ),
        Text(
            name="package",
            title="Import name",
            help="Python only. Empty: made from the project name.",
            length_max=NAME_MAX,
            is_short=True,
            default="",
        ),
        Text(name="description", title="What it is, in a sentence", length_max=200, is_short=True, default=""),
        Text(name="author", title="Who owns it", length_max=100, is_short=True, default=""),
        Choice(name="licence", title="Licence", choices=LICENCES, default="MIT"),
        Whole(name="year", title="Year in the licence", help="May be left out.", min=1990, max=2100),
        Choice(name="python", title="Oldest Python", choices={one: one for one in PYTHONS}, default="3.11"),
        Choice(
            name="database",
            title="Database",
            help="For services. Django without one uses SQLite.",
            choices=DATABASES,
            default="none",
        ),
        Flag(name="tests", title="Tests", default=True),
        Flag(name="linting", title="Linting and types", default=True),
        Flag(name="docker", title="A container image", default=False),
        Flag(name="ci", title="Continuous integration on GitHub", default=True),
    ),
    function=run,
    example={
        "stack": "fastapi-service",
        "name": "harbour-notes",
        "description": "Keeps the notes of a harbour office.",
        "author": "The harbour office",
        "licence": "MIT",
        "year": 2026,
        "python": "3.11",
        "database": "sqlite",
        "tests": True,
        "linting": True,
        "docker": True,
        "ci": True,
    },
)
