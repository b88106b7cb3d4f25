"""What the security scan looks for in Python beside bandit: values of a request that go where they can do harm, tokens
that are not checked, and settings of Django and Flask that leave a door open. The source is parsed and never run.

A value is taken to come from outside where it is read from `request`, or was given such a value further up in the same
function. A call that is none of text's own methods is taken to clean it: what may be wrong here is missed rather than
made up.
"""

# A table of rules: one rule stays one line.
# ruff: noqa: E501

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from .security_rules import PARAMETERS, SQL


@dataclass(frozen=True, slots=True)
class Rule:
    severity: str
    confidence: str
    cwe: int
    section: str
    title: str
    fix: str


@dataclass(frozen=True, slots=True)
class Weakness:
    rule: str
    line: int
    end: int
    said: str


SIGNED = "Check the signature, and name the algorithms that you sign with."
RULES = {
    "PY-REDIRECT": Rule("medium", "medium", 601, "5.1.5", "A redirect leads where the request says", "Allow your own addresses only; Django has url_has_allowed_host_and_scheme."),
    "PY-MARKUP": Rule("high", "medium", 79, "5.3.3", "What came in goes out as markup", "Render a template that escapes, or escape the value."),
    "PY-QUERY": Rule("high", "medium", 89, "5.3.4", "A query is put together from values", PARAMETERS),
    "PY-TEMPLATE": Rule("high", "high", 1336, "5.2.5", "A template is made of values", "Keep the template fixed and give it the values as variables."),
    "PY-PATH": Rule("high", "medium", 22, "12.3.1", "The name of a file comes as it came in", "Look it up by an id, or join it with safe_join or secure_filename."),
    "PY-FETCH": Rule("high", "medium", 918, "12.6.1", "The server fetches what the request names", "Allow known hosts only, and follow no redirect out of them."),
    "PY-IMPORT": Rule("high", "medium", 470, "5.2.4", "The request chooses which code is loaded", "Use a table of what can be chosen."),
    "PY-TOKEN": Rule("high", "high", 347, "3.5.3", "A token’s signature is not checked", SIGNED),
    "PY-XML": Rule("medium", "high", 611, "5.5.2", "XML is read with outside entities", "Leave resolve_entities off, or use defusedxml."),
    "PY-CSRF": Rule("medium", "medium", 352, "4.2.2", "A form may be sent from another site", "Leave the check on; only what other machines call, with a signature, does without it."),
    "PY-DEBUG": Rule("high", "medium", 489, "14.3.2", "Debugging is on", "Take it from the environment, off by default."),
    "PY-HOSTS": Rule("medium", "high", 346, "14.1.3", "Every host name is answered", "Name the hosts of your own in ALLOWED_HOSTS."),
    "PY-COOKIE-TLS": Rule("medium", "high", 614, "3.4.1", "A cookie is sent without TLS", "Set it to True where people use it."),
    "PY-COOKIE": Rule("medium", "high", 1004, "3.4.2", "Scripts can read a cookie", "Set it to True."),
    "PY-CORS": Rule("medium", "high", 942, "14.5.3", "Every site may read the answers", "Name the origins that may."),
    "PY-HASHER": Rule("high", "high", 916, "2.4.1", "Passwords are kept under a fast hash", "Put Argon2, scrypt or PBKDF2 first in PASSWORD_HASHERS."),
}  # fmt: skip
# name: the value that is wrong, and its rule
SETTINGS: dict[str, tuple[bool, str]] = {
    "DEBUG": (True, "PY-DEBUG"),
    "SESSION_COOKIE_SECURE": (False, "PY-COOKIE-TLS"),
    "CSRF_COOKIE_SECURE": (False, "PY-COOKIE-TLS"),
    "SESSION_COOKIE_HTTPONLY": (False, "PY-COOKIE"),
    "CORS_ALLOW_ALL_ORIGINS": (True, "PY-CORS"),
    "CORS_ORIGIN_ALLOW_ALL": (True, "PY-CORS"),
}
IS_DJANGO = re.compile(r"(?m)^(?:INSTALLED_APPS|ROOT_URLCONF|MIDDLEWARE|ALLOWED_HOSTS|SECRET_KEY)\b")
AT_HOME = re.compile(r"(?i)(?:^|[/_.\-])(?:dev|develop|development|local|tests?|testing|conftest|ci)(?:[/_.\-]|$)")
FAST_HASHERS = re.compile(r"MD5|SHA1PasswordHasher|Unsalted|Crypt(?:Password)?Hasher")
SOURCES = frozenset(
    {"GET", "POST", "COOKIES", "FILES", "META", "body", "data", "query_params", "headers"}
    | {"args", "form", "values", "cookies", "json", "files", "query_string"}
)
# Methods and functions that give the text on as it was, or a part of it
THROUGH = frozenset(
    {"get", "getlist", "get_json", "pop", "strip", "lstrip", "rstrip", "lower", "upper", "title", "format", "replace"}
    | {"encode", "decode", "removeprefix", "join", "split", "str", "Path", "PurePath", "urljoin", "unquote"}
    | {"unquote_plus", "fspath", "abspath", "normpath", "expanduser"}
)
QUERY = re.compile(rf"\s*{SQL}")
REDIRECTS = frozenset({"redirect", "HttpResponseRedirect", "HttpResponsePermanentRedirect", "RedirectResponse"})
ANSWERS = frozenset({"HttpResponse", "make_response", "Markup", "HTMLResponse"})
FILES = frozenset({"open", "send_file", "FileResponse", "read_text", "read_bytes", "listdir", "unlink", "rmtree"})
FETCHERS = frozenset({"requests", "httpx", "urllib", "urllib3", "aiohttp"})
FETCHES = frozenset({"get", "post", "put", "patch", "delete", "head", "request", "urlopen", "urlretrieve", "stream"})
CHECKED = re.compile(r"url_has_allowed_host_and_scheme|is_safe_url|is_safe_redirect|allowed_hosts", re.I)


def weaknesses(text: str, path: str) -> list[Weakness]:
    """What is found, by its line. Raises SyntaxError, ValueError or RecursionError for what cannot be parsed."""
    tree = ast.parse(text)
    looking = _Looking(text)
    looking.visit(tree)
    found = looking.found
    has_settings = IS_DJANGO.search(text) or re.search(r"\bFlask\(", text) or "settings" in path.lower()
    if has_settings and not AT_HOME.search(path):
        found += _settings(tree)
    unique = {(one.rule, one.line): one for one in found}
    return sorted(unique.values(), key=lambda one: (one.line, one.rule))


def _settings(tree: ast.Module) -> Iterator[Weakness]:
    """Names in capitals that a module sets, and app.config["NAME"]."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign) or len(node.targets) != 1:
            continue
        target = node.targets[0]
        name = ""
        if isinstance(target, ast.Name) and node in tree.body:
            name = target.id
        elif isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
            is_config = isinstance(target.value, ast.Attribute) and target.value.attr == "config"
            name = str(target.slice.value) if is_config else ""
        wrong, rule = SETTINGS.get(name, (None, ""))
        value = node.value
        end = node.end_lineno or node.lineno
        if rule and isinstance(value, ast.Constant) and value.value is wrong:
            yield Weakness(rule, node.lineno, end, f"{name} = {wrong}.")
        elif name == "ALLOWED_HOSTS" and "*" in _texts(value):
            yield Weakness("PY-HOSTS", node.lineno, end, "ALLOWED_HOSTS has *.")
        elif name == "PASSWORD_HASHERS" and (hashers := _texts(value)) and FAST_HASHERS.search(hashers[0]):
            yield Weakness("PY-HASHER", node.lineno, end, "The first of PASSWORD_HASHERS is the one that is used.")


def _texts(node: ast.AST) -> list[str]:
    rows = node.elts if isinstance(node, ast.List | ast.Tuple) else ()
    return [one.value for one in rows if isinstance(one, ast.Constant) and isinstance(one.value, str)]


class _Looking(ast.NodeVisitor):
    """Walks the source in its order, and knows which names hold what came from outside."""

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        self.found: list[Weakness] = []
        self.outside: set[str] = set()
        self.is_checked = False

    def note(self, rule: str, node: ast.expr | ast.stmt, said: str) -> None:
        self.found.append(Weakness(rule, node.lineno, node.end_lineno or node.lineno, said))

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for decorator in node.decorator_list:
            names = {one.id for one in ast.walk(decorator) if isinstance(one, ast.Name)}
            names |= {one.attr for one in ast.walk(decorator) if isinstance(one, ast.Attribute)}
            if "csrf_exempt" in names:
                self.note("PY-CSRF", decorator, f"{node.name} is exempt from the check of forms.")
        before = self.outside, self.is_checked
        body = "\n".join(self.lines[node.lineno - 1 : node.end_lineno])
        self.outside, self.is_checked = set(), CHECKED.search(body) is not None
        self.generic_visit(node)
        self.outside, self.is_checked = before

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            self.give(target, self.comes_in(node.value))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        self.give(node.target, node.value is not None and self.comes_in(node.value))

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.generic_visit(node)
        self.give(node.target, self.comes_in(node.value))

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self.query(node)
        self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self.query(node)
        self.generic_visit(node)

    def query(self, node: ast.BinOp | ast.JoinedStr) -> None:
        """SQL with what came in put into it, wherever it goes from here."""
        if self.comes_in(node) and QUERY.match(_beginning(node)):
            self.note("PY-QUERY", node, "What came with the request is a part of the query.")

    def give(self, target: ast.expr, is_outside: bool) -> None:
        if isinstance(target, ast.Name):
            (self.outside.add if is_outside else self.outside.discard)(target.id)

    def comes_in(self, node: ast.expr | None) -> bool:
        """Whether what came with a request is in the value, as it came."""
        match node:
            case ast.Name():
                return node.id in self.outside
            case ast.Attribute():
                is_request = (isinstance(node.value, ast.Name) and node.value.id == "request") or (
                    isinstance(node.value, ast.Attribute) and node.value.attr == "request"
                )
                return node.attr in SOURCES if is_request else self.comes_in(node.value)
            case ast.Subscript() | ast.Await() | ast.FormattedValue() | ast.NamedExpr() | ast.Starred():
                return self.comes_in(node.value)
            case ast.JoinedStr():
                return any(self.comes_in(one) for one in node.values)
            case ast.BinOp():
                return self.comes_in(node.left) or self.comes_in(node.right)
            case ast.BoolOp():
                return any(self.comes_in(one) for one in node.values)
            case ast.IfExp():
                return self.comes_in(node.body) or self.comes_in(node.orelse)
            case ast.List() | ast.Tuple():
                return any(self.comes_in(one) for one in node.elts)
            case ast.Call():
                called = _called(node)
                if called == "get_json" and isinstance(node.func, ast.Attribute):
                    return isinstance(node.func.value, ast.Name) and node.func.value.id == "request"
                if called not in THROUGH:
                    return False
                is_own = isinstance(node.func, ast.Attribute) and self.comes_in(node.func.value)
                return is_own or (called != "get" and any(self.comes_in(one) for one in node.args))
        return False

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        called, first = _called(node), node.args[0] if node.args else None
        given = {one.arg: one.value for one in node.keywords if one.arg}
        comes_in = self.comes_in(first)
        if called in REDIRECTS and comes_in and not self.is_checked and not _has_own_host(first):
            self.note("PY-REDIRECT", node, f"{called} is given what came with the request.")
        elif called in ANSWERS and comes_in and _is_markup(given):
            self.note("PY-MARKUP", node, f"{called} is given what came with the request.")
        elif called == "render_template_string" and (comes_in or _is_put_together(first)):
            self.note("PY-TEMPLATE", node, "render_template_string is given a text that is put together.")
        elif called in ("from_string", "Template") and comes_in:
            self.note("PY-TEMPLATE", node, f"{called} is given what came with the request.")
        elif called in FILES and (comes_in or self.is_of_outside_path(node)):
            self.note("PY-PATH", node, f"{called} is given what came with the request.")
        elif called in FETCHES and comes_in and _is_fetcher(node.func) and not _has_own_host(first):
            self.note("PY-FETCH", node, f"{called} is given what came with the request.")
        elif called in ("__import__", "import_module") and comes_in:
            self.note("PY-IMPORT", node, f"{called} is given what came with the request.")
        elif called == "decode" and _root(node.func) in ("jwt", "jose") and _is_unsigned(given):
            self.note("PY-TOKEN", node, "jwt.decode takes any token.")
        elif called == "XMLParser" and _is(given.get("resolve_entities"), True):
            self.note("PY-XML", node, "resolve_entities is on.")

    def is_of_outside_path(self, node: ast.Call) -> bool:
        """Path(request.GET["name"]).read_text()."""
        return (
            isinstance(node.func, ast.Attribute)
            and node.func.attr in ("read_text", "read_bytes", "open", "unlink")
            and self.comes_in(node.func.value)
        )


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _is_fetcher(node: ast.expr) -> bool:
    return _root(node) in FETCHERS or (isinstance(node, ast.Name) and node.id in ("urlopen", "urlretrieve"))


def _is(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _is_markup(given: dict[str, ast.expr]) -> bool:
    """Whether the answer is HTML: Django's and Flask's is, where nothing else is said."""
    kind = given.get("content_type") or given.get("mimetype") or given.get("media_type")
    return not isinstance(kind, ast.Constant) or "html" in str(kind.value)


def _is_put_together(node: ast.expr | None) -> bool:
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(one, ast.FormattedValue) for one in node.values)
    if isinstance(node, ast.BinOp):
        return any(not isinstance(one, ast.Constant) for one in (node.left, node.right))
    return isinstance(node, ast.Call) and _called(node) == "format"


def _has_own_host(node: ast.expr | None) -> bool:
    """Whether the address begins with a host that is written there, or with a path of our own."""
    return re.match(r"https?://[^/\s]+/|/[^/\\\s]", _beginning(node)) is not None


def _beginning(node: ast.expr | None) -> str:
    """The written text that a text which is put together begins with."""
    while isinstance(node, ast.BinOp):
        node = node.left
    if isinstance(node, ast.JoinedStr):
        node = node.values[0] if node.values else None
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _is_unsigned(given: dict[str, ast.expr]) -> bool:
    options = given.get("options")
    if isinstance(options, ast.Dict):
        for key, value in zip(options.keys, options.values, strict=True):
            if isinstance(key, ast.Constant) and key.value in ("verify_signature", "verify") and _is(value, False):
                return True
    algorithms = given.get("algorithms")
    allows_none = algorithms is not None and "none" in [one.lower() for one in _texts(algorithms)]
    return _is(given.get("verify"), False) or allows_none
