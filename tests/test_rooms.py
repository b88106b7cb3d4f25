"""The house keeps its shape: imports go down only, pure files stay pure, billing does not know what is being paid for.

Read from the source of every file, so it holds for code that no test runs.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
APPS = ("config", "generations", "tools_registry", "billing")  # from the roof to the cellar
MAY_IMPORT = {
    "config": {"config", "generations", "tools_registry", "billing"},
    "generations": {"generations", "tools_registry", "billing"},
    "tools_registry": {"tools_registry", "billing"},
    "billing": {"billing"},
}
# The lower layers of each room: what a file of a layer may not import from its own app.
EDGES = {
    "api",
    "pages",
    "shop_api",
    "shop_pages",
    "plan_api",
    "plan_pages",
    "gift_api",
    "gift_pages",
    "settings_pages",
    "admin",
    "tasks",
    "events",
    "management",
    "urls",
}
VERBS = {
    "billing": {
        "checkout",
        "gifts",
        "giving_back",
        "ledger",
        "payments",
        "plans",
        "refunds",
        "stripe_inbox",
        "subscriptions",
        "top_ups",
    },
    "generations": {"lifecycle"},
    "tools_registry": {"runs"},
}
PURE = {
    "billing/credits.py",
    "billing/limits.py",
    "billing/money.py",
    "billing/price_list.py",
    "billing/sale_laws.py",
    "billing/steps.py",
    "billing/periods.py",
    "billing/chain.py",
    "billing/errors.py",
    "tools_registry/blocks.py",
    "tools_registry/catalogue.py",
    "tools_registry/drafting.py",
    "tools_registry/fields.py",
    "tools_registry/pricing.py",
    "tools_registry/registry.py",
    "tools_registry/studio.py",
    "generations/pacing.py",
    "generations/rehearse_rules.py",
    "generations/settlement.py",
}
# What a pure file must not import: models, settings, clocks, the network, the file system, chance.
IMPURE = re.compile(
    r"^(django(?!\.core\.exceptions|\.utils\.translation)|rest_framework|psycopg|httpx|requests|urllib|socket|os|sys|time|"
    r"random|secrets|subprocess|pathlib|tempfile|(billing|generations|tools_registry|config)\.(models|ledger|settings))\b"
)
# What runs beside us in a process of its own, or is to be read alone, and all of ours that it may know. Nothing of the
# frameworks either: a tool that was taken over by what it read finds no settings, no tables and no network there.
ALONE = {
    "billing/stripe_stand_in": {"billing.stripe_stand_in"},
    "tools_registry/runner": {
        "tools_registry.lazily",
        "tools_registry.runner",
        "tools_registry.studio",
        "tools_registry.studios",
    },
    "tools_registry/studios": {
        "tools_registry.fields",
        "tools_registry.lazily",
        "tools_registry.studio",
        "tools_registry.studios",
    },
}
FRAMEWORKS = {"django", "rest_framework", "django_q", "allauth", "psycopg", "structlog", "stripe", "djstripe"}
# Who speaks a vendor's language; everybody else speaks ours.
VENDORS = {
    "stripe": {
        "billing/checkout.py",
        "billing/giving_back.py",
        "billing/management/commands/reconcile_stripe.py",
        "billing/stripe_inbox.py",
        "billing/stripe_reconcile.py",
        "billing/subscriptions.py",
        "billing/top_ups.py",
    },
    "djstripe": {"billing/mirror.py", "config/admin.py"},
    "openai": {"generations/providers/openai.py"},
    "boto3": {"generations/storage/objects.py"},
    "httpx": {
        "generations/providers/comfyui.py",
        "generations/providers/rehearsal.py",
        "tools_registry/management/commands/update_advisories.py",
    },
    "requests": set[str](),
}
# The tables that only ledger.py writes.
OF_THE_LEDGER = {"ClawBack", "Entry", "EntryText", "Hold", "Lot", "Payment", "Share"}
WRITES = {"create", "bulk_create", "get_or_create", "update_or_create", "update", "bulk_update", "delete"}
# Only these read the environment. The rest gets it from the settings.
READS_ENVIRONMENT = {
    "config/settings.py",
    "config/queue.py",  # says which settings to use
    "generations/providers/local.py",  # hands a few names on to its child
    "generations/providers/local_renderer.py",  # runs as a process of its own, without Django
    "generations/providers/stand_ins/rehearsal.py",
    "manage.py",
}
VAGUE = {
    "services",
    "service",
    "utils",
    "helpers",
    "selectors",
    "constants",
    "common",
    "misc",
    "managers",
    "handlers",
    "base",
}
VAGUE_EXCEPTIONS = {"generations/providers/base.py"}  # the contract that every provider keeps
NOT_FOR_BILLING = {"generation", "generations", "tool", "tools", "provider", "providers", "prompt", "prompts"}
# Names that billing may use although a word of theirs belongs to the rooms above: (file, name).
BILLING_EXCEPTIONS: set[tuple[str, str]] = set()
# Imports inside functions, each with its reason.
LATE_IMPORTS = {
    ("config/apps.py", "config"): "checks register when the apps are ready",
    ("config/command_line.py", "config"): "needs the apps loaded, which the commands without a database do without",
    ("config/queue.py", "django_q.cluster"): "needs the apps loaded",
    ("config/queue.py", "django_q.signals"): "needs the apps loaded",
    ("config/queue.py", "config.schedules"): "needs the apps loaded",
    ("billing/apps.py", "*"): "an AppConfig is read before the models",
    ("generations/apps.py", "*"): "an AppConfig is read before the models",
    ("tools_registry/apps.py", "*"): "an AppConfig is read before the models",
}


def files(*apps: str) -> Iterator[Path]:
    for app in apps:
        for path in sorted((ROOT / app).rglob("*.py")):
            if "migrations" not in path.parts:
                yield path


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imports(path: Path) -> tuple[tuple[str, bool], ...]:
    """Every imported module by its whole name, and whether the import stands inside a function."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[tuple[str, bool]]:
    tree = tree_of(path)
    late = {
        inner
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(outer)
    }
    package = list(path.relative_to(ROOT).with_suffix("").parts[:-1])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node in late
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module, node in late
            for alias in node.names:
                yield f"{module}.{alias.name}", node in late


ALL = list(files(*APPS))


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_imports_go_down_only(path: Path) -> None:
    app = path.relative_to(ROOT).parts[0]
    found = {module for module, _ in imports(path) if module.split(".")[0] in APPS}
    wrong = {module for module in found if module.split(".")[0] not in MAY_IMPORT[app]}
    if app != "config" and name_of(path) != "config/settings.py":
        wrong |= {module for module in found if module.startswith("config")}
    assert not wrong, f"{name_of(path)} imports {sorted(wrong)}"


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_verbs_and_what_is_below_them_do_not_import_the_edges(path: Path) -> None:
    app, *rest = path.relative_to(ROOT).with_suffix("").parts
    layer = rest[0] if rest else ""
    if app == "config" or layer in EDGES:
        return
    edges = {f"{app}.{edge}" for edge in EDGES - {"events"}}
    if layer in ("models", *(Path(name).stem for name in PURE if name.startswith(app))):
        edges |= {f"{app}.{verb}" for verb in VERBS[app]}
    wrong = {module for module, _ in imports(path) for edge in edges if module == edge or module.startswith(edge + ".")}
    assert not wrong, f"{name_of(path)} imports {sorted(wrong)}"


@pytest.mark.parametrize("name", sorted(PURE))
def test_pure_files_know_no_models_settings_clock_or_network(name: str) -> None:
    path = ROOT / name
    assert path.is_file(), f"{name} is on the list of pure files and is not there"
    wrong = sorted({module for module, _ in imports(path) if IMPURE.match(module)})
    assert not wrong, f"{name} imports {wrong}"
    calls = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    clocks = calls & {"datetime.now", "datetime.utcnow", "date.today", "timezone.now", "time.time"}
    assert not clocks, f"{name} looks at the clock: {sorted(clocks)}"


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_what_runs_alone_knows_only_itself(path: Path) -> None:
    room = next((room for room in ALONE if name_of(path).startswith(f"{room}/")), None)
    if room is None:
        return
    found = {module for module, _ in imports(path)}
    ours = {module for module in found if module.split(".")[0] in APPS and "." in module}
    wrong = {module for module in ours if ".".join(module.split(".")[:2]) not in ALONE[room]}
    wrong |= {module for module in found if module.split(".")[0] in FRAMEWORKS}
    if room == "tools_registry/studios":
        wrong |= {
            module for module in found if re.match(r"(socket|ssl|http|ftplib|subprocess|urllib\.request)\b", module)
        }
    assert not wrong, f"{name_of(path)} imports {sorted(wrong)}"


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_vendor_is_spoken_to_in_its_own_files(vendor: str) -> None:
    found = {name_of(path) for path in ALL for module, _ in imports(path) if module.split(".")[0] == vendor}
    assert found == VENDORS[vendor]


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_only_the_ledger_writes_what_credits_are_made_of(path: Path) -> None:
    """Their rows are made and changed by its verbs alone, which write them in statements of their own."""
    tree = tree_of(path)
    models = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in ("models", "billing.models")
        for alias in node.names
        if alias.name in OF_THE_LEDGER
    }
    written = [
        f"{node.lineno}: {said}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for said in [ast.unparse(node.func)]
        if said in models or (said.split(".")[0] in models and said.split(".")[-1] in WRITES)
    ]
    assert name_of(path) == "billing/ledger.py" or not written, f"{name_of(path)} writes {written}"


@pytest.mark.parametrize("path", list(files("billing")), ids=name_of)
def test_billing_never_says_what_is_paid_for(path: Path) -> None:
    """In the names that we define, whole words: classes, functions, parameters, variables, attributes, files."""
    names = {path.stem}
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
    wrong = {
        name
        for name in names
        if set(re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower())) & NOT_FOR_BILLING
        and (name_of(path), name) not in BILLING_EXCEPTIONS
    }
    assert not wrong, f"{name_of(path)} says {sorted(wrong)}"


@pytest.mark.parametrize("path", [*ALL, ROOT / "manage.py"], ids=name_of)
def test_only_the_settings_read_the_environment(path: Path) -> None:
    if name_of(path) in READS_ENVIRONMENT:
        return
    for node in ast.walk(tree_of(path)):
        is_environ = isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb")
        assert not is_environ, f"{name_of(path)}:{getattr(node, 'lineno', 0)} reads the environment"
    modules = {module for module, _ in imports(path)}
    assert not modules & {"environ", "os.environ", "os.getenv", "decouple", "dotenv"}


def test_no_file_has_a_name_that_says_nothing() -> None:
    vague = [
        name_of(path)
        for path in files(*APPS, "tests")
        if (path.stem in VAGUE or path.parent.name in VAGUE) and name_of(path) not in VAGUE_EXCEPTIONS
    ]
    assert vague == []


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_imports_stand_at_the_top(path: Path) -> None:
    wrong = {
        module
        for module, is_late in imports(path)
        if is_late
        and not any(
            name == name_of(path) and (module == start or module.startswith(start + ".") or start == "*")
            for name, start in LATE_IMPORTS
        )
    }
    assert not wrong, f"{name_of(path)} imports inside a function: {sorted(wrong)}"


def test_the_top_level_is_the_agreed_one() -> None:
    agreed = {"billing", "config", "docs", "generations", "static", "templates", "tests", "tools_registry"}
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert folders - {"var", "node_modules"} <= agreed


def test_every_exception_here_is_still_needed() -> None:
    late = {(name_of(path), module) for path in ALL for module, is_late in imports(path) if is_late}
    stale = [
        (name, start)
        for name, start in LATE_IMPORTS
        if start != "*" and not any(file == name and module.startswith(start) for file, module in late)
    ]
    assert stale == []
    missing = [name for name in READS_ENVIRONMENT | VAGUE_EXCEPTIONS if not (ROOT / name).is_file()]
    missing += [room for room in ALONE if not (ROOT / room).is_dir()]
    assert missing == []
