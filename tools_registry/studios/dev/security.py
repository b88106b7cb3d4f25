"""Security scan: weak code and secrets in submitted source, each with its line, CWE id and what to do.

Python is read by bandit (its tests over the syntax tree; nothing is run) and `security_python`; the other languages and
the secrets by the patterns of `security_rules`. bandit's tests for a mere import or a program without a shell are left
out, since they name no weakness; so are asserts in tests. A secret is never told whole. An archive is read in memory
and bounded: entries, bytes, ratio, paths; links and archives inside it are not followed.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tools_registry import studio
from tools_registry.fields import Choice, Document, Flag, Rows, Text
from tools_registry.lazily import lazy
from tools_registry.studio import BadInput, File, Limits, Result, Tool
from tools_registry.studios.drawing import Bar, Tone, bars
from tools_registry.studios.sheets import csv_file, markdown_table

from . import security_python
from .security_rules import (
    CHECKLIST,
    LEFT_OUT,
    MEASURE,
    NO_CHANCE,
    NO_SECRET,
    PINNED,
    PYTHON,
    QUERY,
    QUOTED,
    QUOTED_LONG,
    RULES,
    SECRETS,
    UNQUOTED,
    UNTOLD,
)

if TYPE_CHECKING:
    import bandit
else:
    bandit = lazy("bandit")

SEVERITIES = ("critical", "high", "medium", "low")
# Of an archive
ENTRIES_MAX = 3_000
BYTES_MAX = 24 * 1024 * 1024
RATIO_MAX = 200
# Of one file, and of all that is read: beyond it files are named as not looked at
FILE_BYTES_MAX = 1024 * 1024
PYTHON_BYTES_MAX = 4 * 1024 * 1024  # bandit reads about 500 kB in a second of CPU
TEXT_BYTES_MAX = 12 * 1024 * 1024
LINE_LETTERS = 2_000
PER_FILE_MAX = 100  # findings
LISTED_MAX = 500
SHOWN_MAX = 100
EXCERPT_LETTERS = 160

ENDINGS = {
    **dict.fromkeys(("py", "pyw", "pyi"), "python"),
    **dict.fromkeys(("js", "mjs", "cjs", "jsx", "ts", "tsx", "mts", "vue", "svelte"), "javascript"),
    **dict.fromkeys(("java", "kt", "kts"), "java"),
    **dict.fromkeys(("php", "phtml"), "php"),
    **dict.fromkeys(("rb", "erb"), "ruby"),
    **dict.fromkeys(("c", "h", "cc", "cpp", "cxx", "hpp"), "c"),
    **dict.fromkeys(("sh", "bash", "zsh", "ksh"), "shell"),
    **dict.fromkeys(("tf", "tfvars", "hcl"), "terraform"),
    **dict.fromkeys(("html", "htm", "j2", "jinja", "jinja2", "ejs", "hbs", "mustache"), "html"),
    **dict.fromkeys(("yml", "yaml"), "yaml"),
    **dict.fromkeys(("ini", "cfg", "conf", "properties", "toml", "env"), "settings"),
    "go": "go",
    "cs": "csharp",
    "sql": "sql",
    "json": "json",
}
LANGUAGES = {
    "python": "Python",
    "javascript": "JavaScript and TypeScript",
    "java": "Java and Kotlin",
    "php": "PHP",
    "go": "Go",
    "ruby": "Ruby",
    "c": "C and C++",
    "csharp": "C#",
    "sql": "SQL",
    "shell": "Shell",
    "docker": "Dockerfile",
    "workflow": "GitHub Actions",
    "gitlab": "GitLab CI",
    "compose": "Compose",
    "yaml": "YAML",
    "terraform": "Terraform",
    "html": "Pages and templates",
    "json": "JSON",
    "settings": "Settings",
    "other": "Other text",
}
# How a comment begins, and the pair around one
COMMENTS: dict[str, tuple[tuple[str, ...], tuple[str, str] | None]] = {
    **dict.fromkeys(("javascript", "java", "go", "c", "csharp"), (("//",), ("/*", "*/"))),
    "php": (("//", "#"), ("/*", "*/")),
    "terraform": (("#", "//"), ("/*", "*/")),
    "sql": (("--",), ("/*", "*/")),
    "html": ((), ("<!--", "-->")),
    **dict.fromkeys(("shell", "docker", "workflow", "gitlab", "compose", "yaml", "ruby", "settings"), (("#",), None)),
}
LOCK_FILES = re.compile(r"(?i)(^|/)(package-lock\.json|yarn\.lock|pnpm-lock\.yaml|poetry\.lock|uv\.lock|cargo\.lock|go\.sum|composer\.lock|gemfile\.lock|.*\.min\.js|.*\.map|.*\.svg)$")  # fmt: skip # noqa: E501
# Beginnings that every secret of a kind has, so that they tell nothing
SHOWN_START = re.compile(r"A[KS]IA|gh[pousr]_|gith|glp|xox[abposr]|[sr]k_|AIza|sk-|SG\.|npm_|pypi|eyJ|----")
TESTS = re.compile(r"(?i)(^|/)(tests?|spec)/|(^|/)(test_[^/]*|[^/]*_test|conftest)\.py$")


@dataclass(frozen=True, slots=True)
class Source:
    """A file as it was read."""

    name: str
    text: str
    language: str

    @property
    def lines(self) -> list[str]:
        return self.text.split("\n")


@dataclass(slots=True)
class Finding:
    """A weakness or a secret in a line."""

    rule: str
    kind: Literal["code", "secret", "setting"]
    severity: str
    confidence: str
    cwe: int
    section: str
    title: str
    text: str
    fix: str
    file: str
    line: int
    excerpt: str = ""

    @property
    def order(self) -> tuple[int, str, int, str]:
        return SEVERITIES.index(self.severity), self.file, self.line, self.rule

    @property
    def fingerprint(self) -> str:
        """The same while the line's own text stays the same, wherever it moves in its file."""
        return hashlib.sha256(f"{self.rule}|{self.file}|{self.excerpt}".encode("utf-8", "replace")).hexdigest()[:32]


@dataclass(slots=True)
class Scan:
    """What was found so far, which secrets there are to hide, and what was not looked at."""

    found: list[Finding] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    silenced: int = 0
    cut: int = 0


def run(inputs: dict[str, Any], files: dict[str, bytes]) -> Result:
    """{files, lines, languages, counts, secrets, silenced, findings, checklist, by_file, not_looked_at}.

    A finding: {rule, kind, severity, confidence, cwe, asvs, title, text, fix, file, line, excerpt, fingerprint}. The
    worst 500 are listed, the counts are of all.
    """
    scan = Scan()
    sources = _sources(inputs["files"], files.get("archive"), scan)
    for source in sources:
        before = len(scan.found)
        _secrets(source, scan)
        _patterns(source, scan)
        if source.language == "docker":
            _docker(source, scan)
        if source.language == "python":
            _python(source, scan, honour=inputs["honour_nosec"])
        mine = scan.found[before:]
        mine.sort(key=lambda one: one.order)
        scan.cut += max(0, len(mine) - PER_FILE_MAX)
        scan.found[before:] = mine[:PER_FILE_MAX]
    least = SEVERITIES.index(inputs["least"])
    scan.found = sorted(
        (one for one in scan.found if SEVERITIES.index(one.severity) <= least), key=lambda one: one.order
    )
    _excerpts(sources, scan)
    return _answer(sources, scan)


# What is read


def _sources(rows: Sequence[Mapping[str, Any]], archive: bytes | None, scan: Scan) -> list[Source]:
    if not rows and archive is None:
        raise BadInput({"files": "Paste a file, or send an archive of them."})
    given: list[tuple[str, bytes]] = []
    wrong: dict[str, str] = {}
    seen: set[str] = set()
    for number, row in enumerate(rows):
        name = row["name"].replace("\\", "/")
        if name in seen:
            wrong[f"files.{number}.name"] = "Another file has this name."
        elif said := _bad_path(name):
            wrong[f"files.{number}.name"] = said
        seen.add(name)
        given.append((name, row["text"].encode("utf-8", "replace")))
    if wrong:
        raise BadInput(wrong)
    if archive is not None:
        given += [(name, content) for name, content in _unpacked(archive, scan) if name not in seen]
    sources = []
    left = {"python": PYTHON_BYTES_MAX, "": TEXT_BYTES_MAX}
    for name, content in sorted(given):
        if len(content) > FILE_BYTES_MAX:
            scan.skipped.append((name, f"larger than {FILE_BYTES_MAX // 1024:,} KiB"))
            continue
        if b"\x00" in content[:8192]:
            scan.skipped.append((name, "no text"))
            continue
        text = _text(content)
        language = language_of(name, text)
        room = "python" if language == "python" else ""
        if len(content) > left[room]:
            scan.skipped.append((name, "more than one scan reads; send it by itself"))
            continue
        left[room] -= len(content)
        sources.append(Source(name, text, language))
    if not sources:
        field_name = "archive" if archive is not None else "files"
        raise BadInput({field_name: "There is no text in it that could be looked at."})
    return sources


def _text(content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\x0c", " ")


def _bad_path(name: str) -> str:
    """A sentence where a path leads elsewhere than below its own folder."""
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in name.split("/"):
        return f"The path {name[:80]} leads out of its folder."
    if any(ord(letter) < 32 for letter in name):
        return "A path has letters that cannot be printed."
    return ""


def _unpacked(archive: bytes, scan: Scan) -> Iterator[tuple[str, bytes]]:
    """The files of the archive; raises BadInput for what is no archive, or one made to harm."""

    def refuse(said: str) -> BadInput:
        return BadInput({"archive": said})

    try:
        opened = zipfile.ZipFile(io.BytesIO(archive))
        entries = opened.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, UnicodeDecodeError) as error:
        raise refuse("This is no zip archive, or it is damaged.") from error
    if len(entries) > ENTRIES_MAX:
        raise refuse(f"It has {len(entries):,} entries; at most {ENTRIES_MAX:,}. Leave out dependencies and builds.")
    left = BYTES_MAX
    seen: set[str] = set()
    for number, entry in enumerate(entries, 1):
        name = entry.filename.replace("\\", "/")
        if said := _bad_path(name):
            raise refuse(f"Entry {number}: {said}")
        if entry.flag_bits & 1:
            raise refuse(f"Entry {number} ({name[:80]}) is encrypted. Send it without a password.")
        if entry.is_dir():
            continue
        if (entry.external_attr >> 16) & 0o170000 == 0o120000:
            scan.skipped.append((name, "a link"))
            continue
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise refuse(f"Entry {number} ({name[:80]}) is packed in a way that is not read here; use plain deflate.")
        if entry.file_size > 65_536 and entry.file_size > RATIO_MAX * max(entry.compress_size, 1):
            raise refuse(
                f"Entry {number} ({name[:80]}) unpacks to {entry.file_size:,} bytes: more than {RATIO_MAX} times."
            )
        if name in seen:
            scan.skipped.append((name, "a second entry of this name"))
            continue
        seen.add(name)
        try:
            with opened.open(entry) as file:
                content = file.read(min(FILE_BYTES_MAX, left) + 1)
        except (zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError, NotImplementedError) as error:
            raise refuse(f"Entry {number} ({name[:80]}) is damaged.") from error
        left -= len(content)
        if left < 0:
            raise refuse(f"It unpacks to more than {BYTES_MAX // 1024 // 1024} MiB. Send a part of it.")
        yield name, content


def language_of(name: str, text: str) -> str:
    """One of LANGUAGES, by the file's name, then by its first line."""
    path = name.lower()
    plain = path.rpartition("/")[2]
    if plain in ("dockerfile", "containerfile") or plain.startswith("dockerfile.") or plain.endswith(".dockerfile"):
        return "docker"
    if plain == ".env" or plain.startswith(".env."):
        return "settings"
    ending = plain.rpartition(".")[2] if "." in plain else ""
    found = ENDINGS.get(ending, "other")
    if found == "yaml":
        if ".github/workflows/" in path or (
            re.search(r"(?m)^(?:on|'on'|\"on\"|true):", text) and "\njobs:" in f"\n{text}"
        ):
            return "workflow"
        if plain.startswith(".gitlab-ci"):
            return "gitlab"
        if "compose" in plain or re.search(r"(?m)^services:\s*$", text):
            return "compose"
    if found == "other" and text.startswith("#!"):
        first = text.partition("\n")[0]
        return "python" if "python" in first else "shell" if re.search(r"\b(ba|z|da|k)?sh\b", first) else "other"
    return found


def without_comments(text: str, language: str) -> str:
    """The text with its comments blanked, each letter in its old place. Strings are kept."""
    if language not in COMMENTS:
        return text
    starts, pair = COMMENTS[language]
    parts = [re.escape(one) if one != "#" else r"(?:(?<=\s)|^)\#" for one in starts]
    marks = "|".join(rf"(?:{one})[^\n]*" for one in parts)
    around = rf"|{re.escape(pair[0])}[\s\S]*?(?:{re.escape(pair[1])}|\Z)" if pair else ""
    strings = r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'" + (
        r"|`(?:\\.|[^`\\])*`" if language in ("javascript", "go") else ""
    )
    pattern = re.compile(rf"(?P<kept>{strings})|(?P<comment>{marks}{around if marks else around[1:]})", re.M)
    return pattern.sub(
        lambda found: re.sub(r"[^\n]", " ", found[0]) if found["comment"] is not None else found[0],
        text,
    )


def _short(text: str) -> str:
    return "\n".join(line[:LINE_LETTERS] for line in text.split("\n"))


# What is found


def _patterns(source: Source, scan: Scan) -> None:
    rules = [rule for rule in RULES if source.language in rule.languages]
    if not rules:
        return
    text = without_comments(_short(source.text), source.language)
    lines = _Lines(text)
    for rule in rules:
        seen: set[int] = set()
        for found in rule.pattern.finditer(text):
            start = found.start() + len(found[0]) - len(found[0].lstrip())
            line = lines.of(start)
            if rule.id == "TF-WORLD":
                line = lines.of(found.end() - 1)
                block = found[0]
                if re.search(r"from_port\s*=\s*(80|443)\b", block) and re.search(r"to_port\s*=\s*(80|443)\b", block):
                    continue
            if line in seen:
                continue
            seen.add(line)
            kind: Literal["code", "setting"] = (
                "setting"
                if source.language in ("docker", "workflow", "gitlab", "compose", "yaml", "terraform", "json")
                else "code"
            )
            scan.found.append(
                Finding(
                    rule.id, kind, rule.severity, rule.confidence, rule.cwe, rule.section, rule.title,
                    f"In {LANGUAGES[source.language]}.", rule.fix, source.name, line,
                )
            )  # fmt: skip
            if len(seen) > PER_FILE_MAX:
                break


class _Lines:
    """Which line a letter stands in."""

    def __init__(self, text: str) -> None:
        self.ends = [found.start() for found in re.finditer("\n", text)]

    def of(self, place: int) -> int:
        low, high = 0, len(self.ends)
        while low < high:
            middle = (low + high) // 2
            if self.ends[middle] < place:
                low = middle + 1
            else:
                high = middle
        return low + 1


def _docker(source: Source, scan: Scan) -> None:
    """Base images that can change, and the user that the last stage runs as."""
    stages: set[str] = set()
    user, last, where = "", 0, 0
    for number, line in enumerate(source.lines, 1):
        words = line.split()
        if len(words) < 2:
            continue
        if words[0].upper() == "FROM":
            rest = [word for word in words[1:] if not word.startswith("--")]
            image = rest[0] if rest else ""
            user, last, where = "", number, 0
            name = image.rpartition("/")[2]
            is_fixed = "@sha256:" in image or (":" in name and not name.endswith(":latest"))
            if image and image.lower() not in stages | {"scratch"} and "$" not in image and not is_fixed:
                said = f"{image[:80]} names no version, so the next build may take another one."
                scan.found.append(
                    Finding("DOCKER-TAG", "setting", "medium", "high", 1357, "14.1.1", "The base image can change", said, PINNED, source.name, number)  # noqa: E501
                )  # fmt: skip
            if len(rest) >= 3 and rest[1].upper() == "AS":
                stages.add(rest[2].lower())
        elif words[0].upper() == "USER":
            user, where = words[1].partition(":")[0], number
    if last and user in ("", "root", "0"):
        said = "The last stage ends as root." if user else "The last stage names no user, so it runs as root."
        fix = "End with USER and a user without rights."
        scan.found.append(
            Finding("DOCKER-ROOT", "setting", "high" if user else "medium", "medium", 250, "14.1.3", "The container runs as root", said, fix, source.name, where or last)  # noqa: E501
        )  # fmt: skip


def _python(source: Source, scan: Scan, *, honour: bool) -> None:
    content = source.text.encode("utf-8", "replace")
    metrics = bandit.core.metrics.Metrics()
    metrics.begin(source.name)
    try:
        visitor = bandit.core.node_visitor.BanditNodeVisitor(
            f"./{source.name}", io.BytesIO(content), bandit.core.meta_ast.BanditMetaAst(), _tests(), False, {}, metrics
        )
        visitor.process(content)
        ours = security_python.weaknesses(source.text, source.name)
    except SyntaxError as error:
        scan.skipped.append(
            (source.name, f"line {error.lineno or 1} is no Python: {error.msg}; secrets were looked for")
        )
        return
    except (RecursionError, MemoryError, ValueError):
        scan.skipped.append((source.name, "nested too deeply to be read as Python; secrets were looked for"))
        return
    lines = source.lines
    issues = visitor.tester.results
    sure = {issue.lineno for issue in issues if issue.test_id == "B608" and issue.confidence != "LOW"}
    ours = [weak for weak in ours if weak.rule != "PY-QUERY" or weak.line not in sure]
    queries = {number for weak in ours if weak.rule == "PY-QUERY" for number in range(weak.line, weak.end + 1)}
    for issue in issues:
        rule = issue.test_id
        if rule in LEFT_OUT or (rule == "B101" and TESTS.search(source.name)):
            continue
        if rule == "B311" and not _is_secret_chance(lines, issue.lineno):
            continue
        is_unsure = rule == "B608" and issue.confidence == "LOW"
        if is_unsure and (issue.lineno in queries or not _is_query(lines, {issue.lineno, *issue.linerange})):
            continue
        if rule == "B308" and any(other.test_id == "B703" and other.lineno == issue.lineno for other in issues):
            continue  # the same said twice
        if honour and _is_silenced(lines, {issue.lineno, *issue.linerange}):
            scan.silenced += 1
            continue
        cwe, section, title, fix = PYTHON.get(rule, UNTOLD)
        severity = issue.severity.lower()
        severity = {"B506": "high", "B301": "high", "B307": "high", "B102": "high", "B608": "high"}.get(rule, severity)
        if (issue.test == "blacklist" and rule == "B303") or is_unsure:
            severity = "medium"
        if severity not in SEVERITIES:
            severity = "low"
        test = "" if issue.test == "blacklist" else f" ({issue.test})"
        said = f"bandit calls it {rule}{test}."
        scan.found.append(
            Finding(rule, "code", severity, issue.confidence.lower(), cwe, section, title, said, fix, source.name, max(issue.lineno, 1))  # noqa: E501
        )  # fmt: skip

    for weak in ours:
        if honour and _is_silenced(lines, range(weak.line, weak.end + 1)):
            scan.silenced += 1
            continue
        of = security_python.RULES[weak.rule]
        scan.found.append(
            Finding(weak.rule, "code", of.severity, of.confidence, of.cwe, of.section, of.title, weak.said, of.fix, source.name, weak.line)  # noqa: E501
        )  # fmt: skip


def _is_silenced(lines: Sequence[str], numbers: Iterable[int]) -> bool:
    return any(re.search(r"#\s*nosec\b", lines[number - 1]) for number in numbers if 0 < number <= len(lines))


def _is_query(lines: Sequence[str], numbers: Iterable[int]) -> bool:
    """Whether a text there begins as SQL does: "Could not delete from cache" is a sentence."""
    near = "\n".join(lines[number - 1] for number in sorted(numbers) if 0 < number <= len(lines))
    return QUERY.search(near) is not None


def _tests() -> Any:
    return bandit.core.test_set.BanditTestSet(bandit.core.config.BanditConfig(), profile={"exclude": sorted(LEFT_OUT)})


def _is_secret_chance(lines: Sequence[str], line: int) -> bool:
    """Whether something is made of it that must not be guessed: dice and samples are no weakness."""
    near = " ".join(lines[max(0, line - 3) : line])
    return re.search(r"(?i)token|secret|passw|session|nonce|otp|csrf|salt|\bkey|code", near) is not None


def _secrets(source: Source, scan: Scan) -> None:
    """Every secret of the file is noted, the surest of a line."""
    text = _short(source.text)
    lines = _Lines(text)
    found: dict[int, tuple[int, Finding]] = {}

    def note(
        rule: str, title: str, value: str, place: int, severity: str, confidence: str, said: str, rank: int
    ) -> None:
        line = lines.of(place)
        scan.secrets.add(value)
        if line in found and found[line][0] <= rank:
            return
        cwe = 321 if rule == "SECRET-KEY" else 259 if "PASSWORD" in rule or rule == "SECRET-ADDRESS" else 798
        fix = "Take it back where it was given out; then read a new one from a secret store or the environment."
        found[line] = (
            rank,
            Finding(rule, "secret", severity, confidence, cwe, "2.10.4", title, said, fix, source.name, line),
        )

    is_lock = LOCK_FILES.search(source.name) is not None
    for rule, title, pattern, severity in SECRETS:
        for match in pattern.finditer(text):
            value = match[1]
            if rule == "SECRET-ADDRESS" and NO_SECRET.search(value):
                continue
            if rule not in ("SECRET-KEY", "SECRET-ADDRESS") and re.search(r"(.)\1{7}|EXAMPLE|example", value):
                continue
            note(rule, title, value, match.start(1), severity, "high", f"{title}: {masked(value)}.", 0)
    if not is_lock:
        loose = source.language in ("settings", "docker", "yaml", "compose", "gitlab", "workflow", "shell", "terraform")
        for pattern in (QUOTED, UNQUOTED) if loose else (QUOTED,):
            for match in pattern.finditer(text):
                name, value = match[1], match[match.re.groups]
                if NO_SECRET.search(value) or value.lower() in name.lower() or _is_name(value, name):
                    continue
                if value.isdigit() and len(value) < 8 and MEASURE.search(name):
                    continue
                is_strong = chance(value) >= 3.2 and len(value) >= 12
                is_password = re.search(r"(?i)pass|pwd", name) is not None
                if not is_password and not is_strong and not re.search(r"\d", value):
                    continue
                note(
                    "SECRET-PASSWORD" if is_password else "SECRET-NAMED",
                    "Password in the source" if is_password else "Secret in the source",
                    value,
                    match.start(match.re.groups),
                    "high" if is_strong or is_password else "medium",
                    "high" if is_strong else "medium",
                    f"{name} is written down: {masked(value)}.",
                    1,
                )
        for match in QUOTED_LONG.finditer(text):
            value = match[2]
            start = text.rfind("\n", 0, match.start()) + 1
            if NO_CHANCE.search(text[start : match.start()]) or not _is_random(value):
                continue
            note(
                "SECRET-RANDOM",
                "Text that looks like a secret",
                value,
                match.start(2),
                "low",
                "low",
                f"A long text without pattern: {masked(value)}.",
                2,
            )
    scan.found += [one for _, one in found.values()]


def masked(secret: str) -> str:
    """What can be told of a secret: the letters that its kind begins with, and how long it is."""
    shown = secret[:4] if SHOWN_START.match(secret) and len(secret) >= 20 else ""
    return f"{shown}… ({len(secret)} characters)"


def chance(text: str) -> float:
    """Shannon's entropy in bits a letter (C. E. Shannon, 1948)."""
    return -sum(count / len(text) * math.log2(count / len(text)) for count in Counter(text).values()) + 0.0


def _is_random(value: str) -> bool:
    if re.fullmatch(r"[0-9a-f]+|[0-9A-F]+", value):
        return len(value) in (32, 40, 48, 64, 96, 128) and chance(value) >= 3.0
    has_all = all(re.search(one, value) for one in ("[a-z]", "[A-Z]", "[0-9]"))
    return has_all and chance(value) >= 4.3 and not re.search(r"[a-z]{9}", value)


def _is_name(value: str, name: str) -> bool:
    """Whether the value is only another name: a label, a path in a store, a message."""
    is_word = re.fullmatch(r"[A-Za-z]+(?:[_\-.:/][A-Za-z]+)+", value) is not None
    is_said = re.search(
        r"(?i)(label|text|title|placeholder|message|help|hint|name|field|header|url|path|file|type|regex|pattern)$",
        name,
    )
    return is_word or is_said is not None


def _excerpts(sources: Iterable[Source], scan: Scan) -> None:
    """Each finding gets its line, in which every secret that was found anywhere is hidden."""
    by_name = {source.name: source.lines for source in sources}
    longest = sorted(scan.secrets, key=lambda one: (-len(one), one))
    for one in scan.found:
        lines = by_name[one.file]
        line = lines[one.line - 1].strip() if one.line <= len(lines) else ""
        for secret in longest:
            if secret in line:
                line = line.replace(secret, masked(secret))
        if one.kind == "secret" and "PRIVATE KEY" in line:
            line = "private key"
        one.excerpt = line if len(line) <= EXCERPT_LETTERS else line[: EXCERPT_LETTERS - 1] + "…"


# What is told


def _answer(sources: Sequence[Source], scan: Scan) -> Result:
    found = scan.found
    counts = {severity: sum(one.severity == severity for one in found) for severity in SEVERITIES}
    languages = Counter(source.language for source in sources)
    line_count = sum(len(source.lines) - source.text.endswith("\n") for source in sources)
    checklist = _checklist(found, set(languages))
    by_file = Counter(one.file for one in found)
    result = {
        "files": len(sources),
        "lines": line_count,
        "languages": {LANGUAGES[one]: languages[one] for one in LANGUAGES if one in languages},
        "counts": counts,
        "secrets": sum(one.kind == "secret" for one in found),
        "silenced": scan.silenced,
        "findings": [_told(one) for one in found[:LISTED_MAX]],
        "findings_not_listed": max(0, len(found) - LISTED_MAX) + scan.cut,
        "checklist": checklist,
        "by_file": [{"file": name, "findings": count} for name, count in by_file.most_common(100)],
        "not_looked_at": [{"file": name, "why": why} for name, why in scan.skipped[:200]],
        "sources": ["MITRE CWE", "OWASP ASVS 4.0.3", f"bandit {bandit.__version__}"],
    }
    chart = _chart(found)
    made = [
        File(
            "security.sarif.json",
            "application/json",
            json.dumps(sarif(found[:LISTED_MAX]), ensure_ascii=False, indent=1).encode("utf-8", "replace"),
        ),
        csv_file("findings.csv", COLUMNS, (_row(one) for one in found[:LISTED_MAX])),
        File("security.md", "text/markdown", _markdown(result).encode("utf-8", "replace")),
    ]
    if chart:
        made.append(File("severities.svg", "image/svg+xml", chart))
    return Result(result, _view(result, has_chart=chart is not None), made)


COLUMNS = ("Severity", "Confidence", "File", "Line", "Rule", "CWE", "ASVS", "What", "Told", "What to do", "The line")


def _row(one: Finding) -> tuple[Any, ...]:
    return (one.severity, one.confidence, one.file, one.line, one.rule, f"CWE-{one.cwe}", one.section, one.title, one.text, one.fix, one.excerpt)  # fmt: skip # noqa: E501


def _told(one: Finding) -> dict[str, Any]:
    return {
        "rule": one.rule,
        "kind": one.kind,
        "severity": one.severity,
        "confidence": one.confidence,
        "cwe": f"CWE-{one.cwe}",
        "asvs": one.section,
        "title": one.title,
        "text": one.text,
        "fix": one.fix,
        "file": one.file,
        "line": one.line,
        "excerpt": one.excerpt,
        "fingerprint": one.fingerprint,
    }


def _checklist(found: Sequence[Finding], languages: set[str]) -> list[dict[str, Any]]:
    """Each section: found in these lines, nothing found, or that nothing here could show it."""
    asked = {rule.section: set(rule.languages) for rule in RULES}
    for rule in RULES:
        asked[rule.section] |= set(rule.languages)
    for _, section, _, _ in PYTHON.values():
        asked.setdefault(section, set()).add("python")
    for section in ("14.1.1", "14.1.3"):
        asked[section].add("docker")
    asked["2.10.4"] = languages
    rows = []
    for section, requirement in CHECKLIST.items():
        places = [f"{one.file}:{one.line}" for one in found if one.section == section]
        can_show = bool(asked.get(section, set()) & languages)
        state = "found" if places else "nothing found" if can_show else "not looked at"
        rows.append(
            {"asvs": section, "requirement": requirement, "state": state, "count": len(places), "places": places[:10]}
        )
    return rows


def _chart(found: Sequence[Finding]) -> bytes | None:
    if not found:
        return None
    sections = Counter(one.section for one in found)
    worst = {one.section: one.severity for one in reversed(found)}
    tones: dict[str, Tone] = {"critical": "coral", "high": "coral", "medium": "brass", "low": "quiet"}
    return bars(
        "Findings by what they break",
        [
            Bar(f"{section} {CHECKLIST[section]}", count, tones[worst[section]], f"worst: {worst[section]}")
            for section, count in sorted(
                sections.items(), key=lambda pair: (SEVERITIES.index(worst[pair[0]]), -pair[1])
            )
        ],
    )


def sarif(found: Sequence[Finding]) -> dict[str, Any]:
    """The findings as SARIF 2.1.0 (OASIS), as code hosts and editors read it."""
    rules = {one.rule: one for one in reversed(found)}
    names = sorted(rules)
    levels = {"critical": "error", "high": "error", "medium": "warning", "low": "note"}
    scores = {"critical": "9.5", "high": "8.0", "medium": "5.0", "low": "2.0"}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "Holdfast security scan",
                        "rules": [
                            {
                                "id": name,
                                "shortDescription": {"text": rules[name].title},
                                "help": {"text": rules[name].fix},
                                "helpUri": _link(rules[name].cwe),
                                "properties": {
                                    "tags": ["security", f"external/cwe/cwe-{rules[name].cwe:03}"],
                                    "security-severity": scores[rules[name].severity],
                                },
                            }
                            for name in names
                        ],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [
                    {
                        "ruleId": one.rule,
                        "ruleIndex": names.index(one.rule),
                        "level": levels[one.severity],
                        "message": {"text": f"{one.title}. {one.text} {one.fix}"},
                        "locations": [
                            {
                                "physicalLocation": {
                                    "artifactLocation": {"uri": _uri(one.file)},
                                    "region": {"startLine": one.line, "snippet": {"text": one.excerpt}},
                                }
                            }
                        ],
                        "partialFingerprints": {"holdfast/v1": one.fingerprint},
                    }
                    for one in found
                ],
            }
        ],
    }


def _uri(name: str) -> str:
    """The path as a relative URI (RFC 3986)."""
    return "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "-._~/") else "".join(f"%{byte:02X}" for byte in letter.encode("utf-8", "replace"))  # noqa: E501
        for letter in name
    )  # fmt: skip


def _link(cwe: int) -> str:
    return f"https://cwe.mitre.org/data/definitions/{cwe}.html"


def _markdown(result: Mapping[str, Any]) -> str:
    counts = result["counts"]
    parts = [
        "# Security scan",
        f"{result['files']} files, {result['lines']:,} lines: "
        f"{', '.join(f'{counts[one]} {one}' for one in SEVERITIES)}.",
        "## Findings",
        markdown_table(
            ("Severity", "Where", "What", "CWE", "ASVS", "What to do"),
            [
                (one["severity"], f"{one['file']}:{one['line']}", one["title"], one["cwe"], one["asvs"], one["fix"])
                for one in result["findings"]
            ],
        )
        if result["findings"]
        else "Nothing was found.",
        "## Checklist (OWASP ASVS 4.0.3)",
        markdown_table(
            ("Section", "Requirement", "State", "Where"),
            [(one["asvs"], one["requirement"], one["state"], ", ".join(one["places"])) for one in result["checklist"]],
        ),
    ]
    if result["not_looked_at"]:
        rows = [(one["file"], one["why"]) for one in result["not_looked_at"]]
        parts += ["## Not looked at", markdown_table(("File", "Why"), rows)]
    return "\n\n".join(parts) + "\n"


def _view(result: Mapping[str, Any], *, has_chart: bool) -> list[studio.Block]:
    counts = result["counts"]
    found = result["findings"]
    view: list[studio.Block] = [
        studio.facts(
            "At a glance",
            (
                ("Critical", counts["critical"]),
                ("High", counts["high"]),
                ("Medium", counts["medium"]),
                ("Low", counts["low"]),
                ("Secrets among them", result["secrets"]),
                ("Files", result["files"]),
                ("Lines", result["lines"]),
                ("Silenced by # nosec", result["silenced"]),
            ),
        ),
        studio.findings(
            "What was found",
            [
                {
                    "severity": one["severity"],
                    "title": one["title"],
                    "where": f"{one['file']}:{one['line']}",
                    "text": f"{one['excerpt']} · {one['text']} {one['cwe']}, {one['confidence']} confidence.",
                    "fix": one["fix"],
                    "link": _link(int(one["cwe"][4:])),
                }
                for one in found[:SHOWN_MAX]
            ],
            none="Nothing was found by these rules. That is a good sign and no proof.",
        ),
    ]
    more = max(0, len(found) - SHOWN_MAX) + result["findings_not_listed"]
    if more:
        view.append(studio.text("", f"{more:,} more findings are counted; the files have up to {LISTED_MAX}."))
    if has_chart:
        described = "; ".join(f"{one['requirement']}: {one['count']}" for one in result["checklist"] if one["count"])
        view.append(studio.picture("Findings by what they break", "severities.svg", described=described))
    view.append(
        studio.table(
            "Checklist",
            ("ASVS", "Requirement", "State", "Where"),
            [
                (one["asvs"], one["requirement"], one["state"], ", ".join(one["places"][:3]) or None)
                for one in result["checklist"]
            ],
            note="Sections of OWASP ASVS 4.0.3 that source can show. “Nothing found” is no proof.",
        )
    )
    view.append(studio.table("Languages", ("Language", "Files"), list(result["languages"].items())))
    if result["not_looked_at"]:
        rows = [(one["file"], one["why"]) for one in result["not_looked_at"]]
        view.append(studio.table("Not looked at", ("File", "Why"), rows))
    return view


EXAMPLE_PYTHON = """import hashlib
import subprocess

import yaml

DATABASE = "postgresql://app:Sunny-Harbour-42@db.internal/app"


def load(path):
    with open(path) as file:
        return yaml.load(file)


def archive(folder):
    subprocess.run("tar czf backup.tgz " + folder, shell=True)


def fingerprint(text):
    return hashlib.md5(text.encode()).hexdigest()
"""
EXAMPLE_JAVASCRIPT = """export function greet(name) {
  document.querySelector("#hello").innerHTML = "Hello " + name;
}

export const find = (db, id) => db.query(`SELECT * FROM users WHERE id = ${id}`);
"""
EXAMPLE_DOCKER = """FROM python
COPY . /app
CMD ["python", "/app/main.py"]
"""

TOOL = Tool(
    slug="dev-studio/security",
    title="Security scan",
    noun="scan",
    summary="Finds insecure code and secrets in source, with line numbers, CWE ids and what to do.",
    mode="server",
    risk="high",
    credits_max=50,
    # Up to 500 findings are told in the answer, on the page and in three files.
    limits=Limits(cpu_seconds=20, seconds=30, output_bytes=4 * 1024 * 1024),
    icon="bug",
    fields=(
        Document(
            name="archive",
            title="Archive",
            help="A zip of your source, up to 8 MiB. Leave out dependencies and builds.",
            file_name="source.zip",
            accepts=(".zip",),
            is_text=False,
        ),
        Rows(
            name="files",
            title="Files",
            help="Instead of an archive, or beside it.",
            noun="file",
            count_max=20,
            fields=(
                Text(
                    name="name",
                    title="Path",
                    help="Its ending tells the language: app/main.py, Dockerfile, main.tf.",
                    length_max=200,
                    is_short=True,
                    is_required=True,
                ),
                Text(name="text", title="Text", length_max=200_000, is_code=True, is_required=True),
            ),
        ),
        Choice(
            name="least",
            title="Report from",
            choices={"low": "Low", "medium": "Medium", "high": "High", "critical": "Critical"},
            default="low",
        ),
        Flag(name="honour_nosec", title="Leave out Python lines marked # nosec", default=True),
    ),
    function=run,
    example={
        "files": [
            {"name": "app/main.py", "text": EXAMPLE_PYTHON},
            {"name": "web/greet.js", "text": EXAMPLE_JAVASCRIPT},
            {"name": "Dockerfile", "text": EXAMPLE_DOCKER},
        ]
    },
)
