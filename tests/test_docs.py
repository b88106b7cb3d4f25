"""What README, CHANGELOG and docs say is there is there: links, files, addresses, commands, variables."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from django.core.management import get_commands
from django.urls import Resolver404, resolve
from django.utils.module_loading import import_string

from config import schedules

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
OURS = ("billing", "config", "generations", "tools_registry")
# The first words of our addresses; elsewhere a path is a part of one, or another server's.
ROOMS = (
    "account",
    "admin",
    "api",
    "dev",
    "generate",
    "generations",
    "healthz",
    "metrics",
    "pricing",
    "readyz",
    "webhooks",
)
# What the supervisor tells its children, and nobody sets.
OF_CHILDREN = {"HOLDFAST_HEARTBEAT_FILE", "HOLDFAST_TOOL_DOOR", "PYTHONPATH"}
# Stands for whatever is in braces in an address.
SOME = {
    "id": "0197a0f2-5c1e-7c6e-9a41-2f0e6d1b7c11",
    "studio": "data-studio",
    "tool": "quality",
    "provider": "openai",
    "name": "report.csv",
}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_and_every_file_that_is_named_is_there(page: Path) -> None:
    text = page.read_text()
    links = {link for link in re.findall(r"\]\(([^)#]+)", text) if not link.startswith("http")}
    files = set(re.findall(rf"`((?:{'|'.join(OURS)}|docs|static|templates|tests)/[\w./-]+)`", text))
    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [name for name in files if not (ROOT / name).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_address_that_is_named_leads_somewhere(page: Path) -> None:
    wrong = []
    for path in set(re.findall(rf"`(?:[A-Z]+ )?(/(?:{'|'.join(ROOMS)})\\b[\w/{{}}.-]*[\w}}])", page.read_text())):
        address = re.sub(r"\{(\w+)\}", lambda named: SOME.get(named[1], "x"), path)
        try:
            resolve(address)
        except Resolver404:
            wrong.append(path)
    assert wrong == []


def test_every_command_of_ours_is_in_the_readme_and_each_there_exists() -> None:
    ours = {name for name, app in get_commands().items() if app in OURS}
    table = README.partition("## Commands")[2].partition("\n## ")[0]
    told = {
        row.split()[0] for cell in re.findall(r"^\| (.+?) \|", table, re.MULTILINE) for row in cell.split("`")[1::2]
    }
    assert told == ours


def test_every_variable_that_the_settings_read_is_in_the_readme() -> None:
    tree = ast.parse((ROOT / "config/settings.py").read_text())
    readers = {
        one.name
        for one in tree.body
        if isinstance(one, ast.FunctionDef)
        and any(isinstance(name, ast.Name) and name.id == "env" for name in ast.walk(one))
    }
    read = set()
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args):
        of, first = ast.unparse(call.func), call.args[0]
        if (
            (of in readers or of.startswith("env."))
            and isinstance(first, ast.Constant)
            and re.fullmatch("[A-Z_]+", first.value)
        ):
            read.add(first.value)
    table = README.partition("## The environment")[2].partition("\n## ")[0]
    told = {name for cell in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE) for name in cell.split("`")[1::2]}
    assert told == read - OF_CHILDREN


@pytest.mark.parametrize("periodic", schedules.SCHEDULES, ids=lambda one: one.name)
def test_every_periodic_job_is_a_function_that_is_there(periodic: schedules.Periodic) -> None:
    assert callable(import_string(periodic.path))
