"""Pages of the studio: its tools, one of them with its form and its price, and what the account's runs came to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.contrib.staticfiles import finders
from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods, require_safe

from billing import credits, errors, idempotency, ledger, people, refusal_words, statement, throttles
from billing.models import new_id
from billing.pages import for_people, record_refusal, window
from billing.parsing import read as read_json
from billing.refusals import InvalidFields, Malformed

from . import blocks, drafting, explain, fields, registry, runs, shelf, uploads
from .api import record
from .models import ToolRun, ToolSwitch
from .studio import STUDIOS, Tool, bucket_of

State = ToolRun.State
MODES = {
    "client": ("Free in your browser", "ok"),
    "hybrid": ("Draft free, run on the server", ""),
    "server": ("On the server", ""),
}
# The filters of the list: at most so many credits for a run.
PRICES = {"free": ("Free", 0), "5": ("Up to 5 credits", 5), "25": ("Up to 25", 25), "100": ("Up to 100", 100)}


def has_script(tool: Tool) -> bool:
    """Whether the tool has a half that runs in the browser."""
    return _is_static(tool.script)


@cache
def _is_static(path: str) -> bool:
    return finders.find(path) is not None


SCRIPTS = "holdfast/studio"
# Those that a page loads by itself; every other script of the folder can be imported by a tool's.
OWN_SCRIPTS = {"page", "shelf"}


@cache
def _shared_scripts() -> list[str]:
    folder = finders.find(SCRIPTS)
    names = {path.stem for path in Path(str(folder)).glob("*.js")} if folder else set()
    return sorted(names - OWN_SCRIPTS)


def import_map(tool: Tool) -> str:
    """Where the scripts are that a tool's script may import by their plain names; their files are named by content."""
    found = {f"studio/{name}": static(f"{SCRIPTS}/{name}.js") for name in _shared_scripts()}
    if has_script(tool):
        found["studio/tool"] = static(tool.script)
    return json.dumps({"imports": found})


# The list


@require_safe
def studio(request: Any) -> HttpResponse:
    """Every tool with its price; those that were not looked for are hidden."""
    asked = {name: request.GET.get(name, "") for name in ("q", "studio", "price", "mode", "is")}
    on = shelf.Shelf.now()
    tools = [_on_shelf(one, on, asked) for one in registry.TOOLS.values()]
    context = {
        "asked": asked,
        "studios": [
            {"title": title, "slug": slug, "tools": found, "is_hidden": all(one["is_hidden"] for one in found)}
            for slug, title in STUDIOS.items()
            if (found := [one for one in tools if one["studio"] == slug])
        ],
        "filters": [
            {"name": "studio", "title": "Studio", "options": list(STUDIOS.items())},
            {"name": "price", "title": "Price", "options": [(name, title) for name, (title, _) in PRICES.items()]},
            {"name": "mode", "title": "Where", "options": [(name, words) for name, (words, _) in MODES.items()]},
            {"name": "is", "title": "State", "options": list(shelf.AVAILABILITY.items())},
        ],
        "count": len(tools),
        "found": sum(not one["is_hidden"] for one in tools),
    }
    return render(request, "tools_registry/studio.html", context)


def _on_shelf(tool: Tool, on: shelf.Shelf, asked: Mapping[str, str]) -> dict[str, Any]:
    words, kind = MODES[tool.mode]
    price, state, switch = on.price_of(tool), on.availability_of(tool), on.switches.get(tool.slug)
    shown = {
        "slug": tool.slug,
        "title": tool.title,
        "summary": tool.summary,
        "icon": tool.icon,
        "url": runs.page_of(tool),
        "studio": tool.studio,
        "mode": tool.mode,
        "mode_words": words,
        "mode_kind": kind,
        "state": state,
        "state_words": "" if state == "available" else shelf.AVAILABILITY[state],
        "plan_least": switch.plan_least if switch is not None else "",
        "min": credits.short(price[0]) if price is not None and price[1] else "",
        "max": credits.short(price[1]) if price is not None and price[1] else "",
        "credits_max": tool.credits_max,
        "words": f"{tool.title} {tool.summary} {tool.name} {STUDIOS[tool.studio]}".lower(),
    }
    return shown | {"is_hidden": not _is_asked_for(shown, asked)}


def _is_asked_for(tool: Mapping[str, Any], asked: Mapping[str, str]) -> bool:
    return (
        all(word in tool["words"] for word in asked["q"].lower().split())
        and asked["studio"] in ("", tool["studio"])
        and asked["mode"] in ("", tool["mode"])
        and asked["is"] in ("", tool["state"])
        and (asked["price"] not in PRICES or tool["credits_max"] <= PRICES[asked["price"]][1])
    )


# A tool


@csrf_exempt  # checked below, once it is known that files may be read
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def tool(request: Any, studio: str, name: str) -> HttpResponse:
    """The tool's form, its half in the browser, and its price; sent, it runs once, however often it is sent."""
    of = _found_tool(studio, name)
    if request.method == "POST" and of.function is not None:
        if not request.user.is_authenticated:
            return _sign_in_first(request, of)
        request.encoding = "utf-8"
        request.upload_handlers = [uploads.Documents(len(of.documents), lambda: RequestDataTooBig("Files too large."))]
    return _tool(request, of)


def _found_tool(studio: str, name: str) -> Tool:
    try:
        return registry.tool(f"{studio}/{name}")
    except registry.UnknownTool as error:
        raise Http404 from error


def _sign_in_first(request: Any, of: Tool) -> HttpResponse:
    if is_script(request):
        return _outcome(request, of, {"sign_in": True}, status=401)
    return redirect_to_login(runs.page_of(of))


def is_script(request: Any) -> bool:
    """Whether the page's own script asks, which wants the part that is new."""
    return bool(request.headers.get("X-Part") == "outcome")


@csrf_protect
def _tool(request: Any, of: Tool) -> HttpResponse:
    if request.method != "POST":
        return _tool_page(request, of, _first_draft(request, of))
    if of.function is None:
        return _tool_page(request, of, {}, status=409)
    return _posted(request, of)


@for_people
def _posted(request: Any, of: Tool) -> HttpResponse:
    try:
        inputs = _drafted(request, of)
    except (Malformed, InvalidFields):
        return _outcome(request, of, {"alert": "The draft could not be read. Load the page again."}, status=400)
    if not is_script(request) and "example" not in request.POST:
        changed = drafting.changed_rows(of.fields, inputs, request.POST)
        if changed is not None:
            return _tool_page(request, of, changed)
    return _run(request, of, inputs)


def _drafted(request: Any, of: Tool) -> Any:
    """What was sent: the script's JSON, or the form's own fields; the example, where its button was pressed."""
    if "example" in request.POST:
        return shelf.example_of(of)
    if "inputs" in request.POST:
        return read_json(request.POST["inputs"].encode())
    return drafting.inputs_of(of.fields, request.POST)


def _run(request: Any, of: Tool, inputs: Any) -> HttpResponse:
    account = people.account_of(request)
    sent = {} if "example" in request.POST else uploads.sent(request.FILES)
    try:
        throttles.count_write(request)
        runs.allow(of, account, request.user)
        quote = runs.quote(of, inputs, sent)
        started = runs.complete(
            account,
            quote,
            actor=people.actor_of(request),
            owner=people.owner_of(request),
            user=request.user.pk,
            key=key_of(request, of, inputs, sent),
        )
    except fields.InvalidInputs as refusal:
        return _wrong(request, of, inputs, refusal.facts["fields"])
    except errors.IdempotencyConflict:
        return _answer(request, of, inputs, {"alert": SENT_BEFORE}, status=409)
    except errors.RequestInProgress:
        return _answer(request, of, inputs, {"alert": "It is being started."}, status=409)
    except errors.BillingError as refusal:
        record_refusal(request, "run_tool", refusal)
        return _answer(request, of, inputs, {"refusal": _refusal(refusal, account, of)}, status=refusal.status)
    run = started.run
    if started.repeated_status is None:
        record(request, run)
    if run.state == State.REFUSED:
        return _wrong(request, of, inputs, run.wrong or {}, run)
    if is_script(request):
        return _outcome(request, of, {"run": run_in_words(run)})
    return redirect("tool_run", id=run.id)


SENT_BEFORE = (
    "This was sent before with other inputs, and what it asked for then was run. Nothing new has been started now; "
    "send it once more if you want this one as well."
)


def key_of(request: Any, of: Tool, inputs: Any, sent: Mapping[str, tuple[str, bytes]]) -> ledger.Key:
    """One form makes one run: the key that it was drawn with stands for what is in it."""
    key = request.POST.get("key", "")[:100] or str(new_id())
    return idempotency.key_of_form(request, runs.page_of(of), key, meant(inputs, sent))


def meant(inputs: Any, sent: Mapping[str, tuple[str, bytes]]) -> list[Any]:
    """What a key stands for: the inputs, and each file with its name."""
    return [inputs, uploads.digests(sent)]


def _wrong(
    request: Any, of: Tool, inputs: Any, wrong: Mapping[str, list[str]], run: ToolRun | None = None
) -> HttpResponse:
    """The sentences under their fields; nothing was charged."""
    shown = {"wrong": wrong, "run": run_in_words(run) if run is not None else None, "alert": WRONG}
    return _answer(request, of, inputs, shown, status=422)


WRONG = "Some fields need another value. Nothing was charged."


def _answer(request: Any, of: Tool, inputs: Any, shown: dict[str, Any], status: int) -> HttpResponse:
    """The outcome alone for the page's script, the whole page with it for everybody else."""
    if is_script(request):
        return _outcome(request, of, shown, status)
    draft = inputs if isinstance(inputs, Mapping) else {}
    return _tool_page(request, of, draft, shown, status)


def _outcome(request: Any, of: Tool, shown: dict[str, Any], status: int = 200) -> HttpResponse:
    context = {"outcome": _said(of, shown), "tool": {"url": runs.page_of(of)}, "new_key": str(new_id())}
    return render(request, "tools_registry/_outcome.html", context, status=status)


def _said(of: Tool, shown: dict[str, Any]) -> dict[str, Any]:
    """What is wrong, also as the script reads it, and beside no field where its field is not on the form."""
    wrong = shown.get("wrong") or {}
    known = {one.name for one in of.fields}
    elsewhere = [one for name, said in wrong.items() if name.partition(".")[0] not in known for one in said]
    return shown | {"wrong_json": json.dumps(wrong), "elsewhere": elsewhere}


def _refusal(refusal: errors.BillingError, account: UUID, of: Tool) -> dict[str, Any]:
    shown = refusal_words.in_words(refusal, account, noun=of.noun, url=runs.page_of(of))
    match refusal:
        case runs.PlanTooLow():
            return shown | {"link": runs.PLAN_PAGE, "link_words": "See the plans"}
        case runs.ToolAlreadyRunning():
            return shown | {"link": "/studio/runs", "link_words": "See your runs"}
        case runs.ToolDisabled() | runs.ToolInBeta():
            return shown | {"link": "/studio", "link_words": "See the other tools"}
    return shown


def _first_draft(request: Any, of: Tool) -> dict[str, Any]:
    """What the form begins with: the example, an earlier run's inputs, or the defaults."""
    if "example" in request.GET:
        return shelf.example_of(of)
    try:
        again = UUID(request.GET.get("again", ""))
    except ValueError:
        return {}
    if not request.user.is_authenticated:
        return {}
    run = runs.of_account(people.account_of(request)).filter(id=again, tool=of.slug).first()
    documents = {one.name for one in of.documents}
    return {name: value for name, value in run.inputs.items() if name not in documents} if run is not None else {}


def _tool_page(
    request: Any, of: Tool, draft: Mapping[str, Any], shown: dict[str, Any] | None = None, status: int = 200
) -> HttpResponse:
    switch = ToolSwitch.objects.filter(tool=of.slug).first()
    is_given = bool(draft) or request.method == "POST"
    words, kind = MODES[of.mode]
    context = {
        "tool": {
            "slug": of.slug,
            "title": of.title,
            "noun": of.noun,
            "summary": of.summary,
            "icon": of.icon,
            "studio": STUDIOS[of.studio],
            "studio_url": f"/studio?studio={of.studio}",
            "url": runs.page_of(of),
            "mode": of.mode,
            "mode_words": words,
            "mode_kind": kind,
            "limits": _limits(of),
            "closed": _closed(of, switch, request),
            "has_script": has_script(of),
            "import_map": import_map(of),
            "needs_files": any(not one.is_text for one in of.documents),
            "has_documents": bool(of.documents),
        },
        "controls": drafting.draw(of.fields, draft, (shown or {}).get("wrong") or {}),
        "for_script": _for_script(request, of, is_given),
        "estimate": _estimate(request, of, _bytes_of(draft or shelf.example_of(of))),
        "outcome": _said(of, shown or {}),
        "new_key": str(new_id()),
        "latest": _latest(request, of),
    }
    return render(request, "tools_registry/tool.html", context, status=status)


def _bytes_of(draft: Mapping[str, Any]) -> int:
    return len(json.dumps(draft, default=str))


def _for_script(request: Any, of: Tool, is_given: bool) -> dict[str, Any]:
    """What the page's script is told. `is_given`: the form has something in it that a kept draft must not replace."""
    files = {}
    for field, (name, content) in of.example_files.items():
        document = next(one for one in of.documents if one.name == field)
        if document.is_text:
            files[field] = {"name": name, "text": content.decode("utf-8", "replace")}
    return {
        "slug": of.slug,
        "person": str(request.user.pk or ""),  # whose draft it keeps
        "mode": of.mode,
        "url": runs.page_of(of),
        "noun": of.noun,
        "fields": drafting.spec(of.fields),
        "schema": of.schema(),
        "example": dict(of.example),
        "example_files": files,
        "seconds": of.limits.seconds if of.limits is not None else 0,
        "is_given": is_given,
    }


def _limits(of: Tool) -> list[dict[str, str]]:
    if of.limits is None:
        return []
    return [
        {"title": "Processor time", "words": f"{of.limits.cpu_seconds} s"},
        {"title": "Time in all", "words": f"{of.limits.seconds} s"},
        {"title": "Memory", "words": f"{of.limits.memory_mb} MB"},
        {"title": "Result", "words": explain.size(of.limits.output_bytes)},
    ]


def _closed(of: Tool, switch: ToolSwitch | None, request: Any) -> dict[str, str]:
    """Why the tool cannot be run by whoever looks at it, and what to do; empty where it can."""
    if switch is None or of.function is None:
        return {}
    try:
        account = people.account_of(request) if request.user.is_authenticated else None
        runs.allow(of, account, request.user if request.user.is_authenticated else None)
    except errors.BillingError as refusal:
        link = {"link": runs.PLAN_PAGE, "link_words": "See the plans"} if isinstance(refusal, runs.PlanTooLow) else {}
        reason = switch.reason if isinstance(refusal, runs.ToolDisabled) and switch.reason else refusal.reason
        return {"title": refusal.message.partition(". ")[0] + ".", "reason": reason, "action": refusal.action} | link
    return {}


# The price


def _estimate(request: Any, of: Tool, size: int) -> dict[str, Any]:
    """The price in words, or why there is none."""
    if of.function is None:
        return {"is_free": True}
    try:
        _, estimate, usual = runs.expect(of, bucket_of(size))
    except runs.ToolDisabled as refusal:
        return {"problem": refusal.message}
    shown: dict[str, Any] = {
        "min": credits.display(estimate.min),
        "typical": credits.about(estimate.typical),
        "max": credits.display(estimate.max),
        "explanation": f"{estimate.explanation}.",
        "bucket": bucket_of(size),
    }
    if usual is not None:
        shown |= {
            "runs": f"{usual.runs:,}",
            "low": credits.about(usual.p10),
            "high": credits.about(usual.p95),
        }
    if request.user.is_authenticated:
        values, _, _ = statement.values_now(people.account_of(request))
        left = values.available - estimate.max
        shown["available"] = credits.display(values.available)
        shown["after"] = credits.display(left)
        shown["shortfall"] = credits.display(-left) if left < 0 else ""
    return shown


@never_cache
@require_safe
def estimate(request: Any, studio: str, name: str) -> HttpResponse:
    """What a run with so many bytes of inputs would cost, beside what there is."""
    of = _found_tool(studio, name)
    text = request.GET.get("bytes", "")
    size = int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0
    context = {"estimate": _estimate(request, of, size), "tool": {"noun": of.noun}}
    return render(request, "tools_registry/_estimate.html", context)


# Runs

RUNS_A_PAGE = 20
STATES = {"done": (State.SUCCEEDED,), "failed": (State.REFUSED, State.STOPPED), "running": (State.RUNNING,)}


@for_people
@require_safe
def history(request: Any) -> HttpResponse:
    """The account's runs, newest first, with what each cost."""
    which = request.GET.get("which", "all")
    rows = runs.of_account(people.account_of(request))
    if which in STATES:
        rows = rows.filter(state__in=STATES[which])
    elif which != "all":
        raise Http404
    found = window(request, rows, "id", UUID, RUNS_A_PAGE)
    context = {
        "which": which,
        "runs": [_in_list(run) for run in found.rows],
        "newer_url": f"/studio/runs{found.newer_url}" if found.newer_url else "",
        "older_url": f"/studio/runs{found.older_url}" if found.older_url else "",
    }
    return render(request, "tools_registry/runs.html", context)


def _in_list(run: ToolRun) -> dict[str, Any]:
    said = explain.spoken(run)
    tool = explain.tool_of(run)
    held = credits.display(run.estimate_max)
    charged = "free of charge" if run.charged_amount is None else f"{credits.display(run.charged_amount)} charged"
    return {
        "url": f"/studio/runs/{run.id}",
        "title": explain.title_of(run),
        "icon": tool.icon if tool is not None else "studio",
        "at": run.created_at,
        "word": said.word,
        "kind": said.kind,
        "note": explain.used(run) if said.kind == "ok" else f"{said.title}.",
        "credits": f"{held} held" if run.state == State.RUNNING else charged,
        "why_url": f"/account/credits/statement/{run.entry_id}" if run.entry_id else "",
    }


def _latest(request: Any, of: Tool) -> list[dict[str, Any]]:
    """The account's last runs of this tool."""
    if not request.user.is_authenticated or of.function is None:
        return []
    rows = runs.of_account(people.account_of(request)).filter(tool=of.slug)
    return [_in_list(run) for run in rows[:3]]


@for_people
@require_safe
def run(request: Any, id: UUID) -> HttpResponse:
    """One run: what it came to, what it used, and what happened to the credits."""
    rows = ToolRun.objects.filter(account_id=people.account_of(request), id=id).select_related("tool_cost")
    found = rows.first()
    if found is None:
        raise Http404
    return render(request, "tools_registry/run.html", {"run": run_in_words(found), "trail": explain.trail(found)})


def run_in_words(run: ToolRun) -> dict[str, Any]:
    """Everything that a page shows of a run beside its trail."""
    said, tool = explain.spoken(run), explain.tool_of(run)
    files = runs.files_of([run]).get(run.id, [])
    urls = {one.name: shelf.file_url(run.id, one.name) for one in files}
    page = runs.page_of(tool) if tool is not None else ""
    return {
        "id": run.id,
        "url": f"/studio/runs/{run.id}",
        "title": explain.title_of(run),
        "noun": tool.noun if tool is not None else "run",
        "page_url": page,
        "again_url": f"{page}?again={run.id}" if page and run.inputs else page,
        "at": run.created_at,
        "word": said.word,
        "kind": said.kind,
        "state_title": said.title,
        "state_words": said.words,
        "credits_words": said.credits,
        "is_running": run.state == State.RUNNING,
        "is_done": run.state == State.SUCCEEDED and not run.is_kept_back,
        "is_kept_back": run.is_kept_back,
        "keep_days": settings.TOOL_RESULT_DAYS,
        "kept_until": run.released_at + timedelta(days=settings.TOOL_RESULT_DAYS) if run.released_at else None,
        "is_gone": run.state == State.SUCCEEDED and run.result is None,
        "charged": credits.display(run.charged_amount or 0),
        "used": explain.used(run),
        "why_url": f"/account/credits/statement/{run.entry_id}" if run.entry_id else "",
        "wrong": _wrong_in_words(run, tool),
        "blocks": [] if run.is_kept_back else blocks.drawn(run.view, urls),
        "files": [
            {"name": one.name, "url": urls[one.name], "size": explain.size(one.bytes)}
            for one in files
        ],
    }  # fmt: skip


def _wrong_in_words(run: ToolRun, tool: Tool | None) -> list[dict[str, Any]]:
    """What was wrong, by the titles of the fields as the form shows them."""
    titles = {of.name: of for of in tool.fields} if tool is not None else {}
    found = []
    for path, said in (run.wrong or {}).items():
        name, _, rest = path.partition(".")
        of = titles.get(name)
        number, _, column = rest.partition(".")
        words = [of.title if of is not None else name]
        if isinstance(of, fields.Rows) and number.isdecimal():
            inner = next((one.title for one in of.fields if one.name == column), column)
            words = [f"{of.noun} {int(number) + 1}".capitalize(), inner]
        found.append({"title": ", ".join(filter(None, words)), "words": " ".join(said)})
    return found
