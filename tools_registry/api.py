"""The counter for the studio: its tools and their prices, running one, what the runs came to, and their files.

A view validates, calls one verb, answers. What it reads and answers stands above it; each refusal in its `describe`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse
from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from rest_framework import serializers
from rest_framework.exceptions import ParseError
from rest_framework.exceptions import UnsupportedMediaType as NotReadHere
from rest_framework.parsers import BaseParser, MultiPartParser
from rest_framework.response import Response

from billing import audit, errors, idempotency, parsing, people, refusals, throttles
from billing.models import new_id
from billing.rest import AmountField, MomentField, PageQuery, View, page, read_query
from billing.schema import describe

from . import explain, fields, registry, runs, shelf, uploads
from .models import ToolFile, ToolRun
from .studio import Tool

Answer = serializers.Serializer[Any]
State = ToolRun.State

# What can be run


class PriceAnswer(Answer):
    min = AmountField(help_text="What a run costs at least")
    max = AmountField(help_text="What a run costs at most")


class LimitsAnswer(Answer):
    cpu_seconds = serializers.IntegerField()
    seconds = serializers.IntegerField()
    memory_mb = serializers.IntegerField(help_text="MiB")
    output_bytes = serializers.IntegerField()


class ObjectField(serializers.Field[Any, Any, Any, Any]):
    """An object as it is."""

    def to_representation(self, value: Any) -> Any:
        return value


class ObjectFieldSchema(OpenApiSerializerFieldExtension):
    target_class = ObjectField

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": True}


class ToolAnswer(Answer):
    slug = serializers.CharField(help_text="studio/tool")
    title = serializers.CharField()
    summary = serializers.CharField()
    studio = serializers.CharField()
    mode = serializers.ChoiceField(
        choices=list(Tool.MODES),
        help_text="client: in the browser alone · hybrid: drafted in the browser, run here · server: run here",
    )
    risk = serializers.ChoiceField(choices=["low", "medium", "high"])
    price = PriceAnswer(allow_null=True, help_text="null while staff have set none")
    limits = LimitsAnswer(allow_null=True, help_text="What one run may use; null in the browser")
    sign_in = serializers.BooleanField(help_text="Whether running it needs an account")
    availability = serializers.ChoiceField(choices=list(shelf.AVAILABILITY))
    plan_least = serializers.CharField(allow_null=True, help_text="The smallest plan that it comes with; null: any")
    input_schema = ObjectField(help_text="JSON Schema of the inputs")
    example = ObjectField(help_text="Inputs that work as they are")
    page_url = serializers.CharField()
    run_url = serializers.CharField()


def _show_tool(tool: Tool, on: shelf.Shelf) -> dict[str, Any]:
    price = on.price_of(tool)
    switch = on.switches.get(tool.slug)
    shown = {name: getattr(tool, name) for name in ("slug", "title", "summary", "studio", "mode", "risk", "limits")}
    shown |= {
        "price": {"min": price[0], "max": price[1]} if price is not None else None,
        "sign_in": tool.function is not None,
        "availability": on.availability_of(tool),
        "plan_least": (switch.plan_least or None) if switch is not None else None,
        "input_schema": tool.schema(),
        "example": shelf.example_of(tool),
        "page_url": runs.page_of(tool),
        "run_url": f"/api/{tool.slug}/run",
    }
    return dict(ToolAnswer(shown).data)


TOOL_EXAMPLE = {
    "slug": "data-studio/quality",
    "title": "Data quality",
    "summary": "Finds what is wrong in a table, row by row, and scores it.",
    "studio": "data-studio",
    "mode": "server",
    "risk": "medium",
    "price": {"min": "3", "max": "25"},
    "limits": {"cpu_seconds": 10, "seconds": 15, "memory_mb": 512, "output_bytes": 1048576},
    "sign_in": True,
    "availability": "available",
    "plan_least": None,
    "input_schema": {
        "type": "object",
        "properties": {"table": {"type": "string", "minLength": 1, "maxLength": 8388608, "title": "Table"}},
        "required": ["table"],
        "additionalProperties": False,
    },
    "example": {"table": "id,amount\n1,20\n"},
    "page_url": "/studio/data-studio/quality",
    "run_url": "/api/data-studio/quality/run",
}


class Tools(View):
    """Every tool, in the studio's order. Open to all."""

    is_open = True

    @describe(
        ToolAnswer(many=True),
        gives=[TOOL_EXAMPLE],
        operation_id="tools_list",
        summary="The studio’s tools, with prices, limits and inputs",
    )
    def get(self, request: Any) -> Response:
        on = shelf.Shelf.now()
        return Response([_show_tool(tool, on) for tool in registry.TOOLS.values()])


class OneTool(View):
    """One tool. Open to all."""

    is_open = True

    def find(self, request: Any, **kwargs: Any) -> Tool:
        return registry.tool(f"{kwargs['studio']}/{kwargs['name']}")

    @describe(ToolAnswer, gives=TOOL_EXAMPLE, operation_id="tools_one", summary="One tool")
    def get(self, request: Any, studio: str, name: str) -> Response:
        return Response(_show_tool(self.found, shelf.Shelf.now()))


# A run, as it is answered


class RunUsageAnswer(Answer):
    cpu_seconds = serializers.FloatField(help_text="Processor time, as the kernel counted it")
    peak_memory_mb = serializers.FloatField(help_text="The most memory at one time above an idle run’s, in 10⁶ bytes")
    seconds = serializers.FloatField(help_text="From its beginning to its end")


class RunCreditsAnswer(Answer):
    held = AmountField(help_text="What was held while it ran: the price at its limits")
    charged = AmountField(help_text="What it cost")
    entry = serializers.UUIDField(allow_null=True, help_text="The line that charged it; it explains itself")
    message = serializers.CharField(help_text="The same for people, in a sentence")


class RunEstimateAnswer(Answer):
    min = AmountField(source="estimate_min")
    typical = AmountField(source="estimate_typical")
    max = AmountField(source="estimate_max")


class RunFileAnswer(Answer):
    name = serializers.CharField()
    content_type = serializers.CharField()
    bytes = serializers.IntegerField()
    url = serializers.CharField(help_text="For this account alone")


class RunErrorAnswer(Answer):
    code = serializers.CharField()
    message = serializers.CharField()


class RunInListAnswer(Answer):
    id = serializers.UUIDField()
    run = serializers.UUIDField(source="id", help_text="The same as id")
    tool = serializers.CharField()
    state = serializers.ChoiceField(choices=[one.value for one in State])
    estimate = RunEstimateAnswer(source="*")
    usage = RunUsageAnswer(allow_null=True, help_text="null while it runs, and where it never began")
    credits = RunCreditsAnswer()
    files = RunFileAnswer(many=True, help_text="What it made")
    error = RunErrorAnswer(allow_null=True, help_text="Why there is no result")
    purchase_url = serializers.CharField(
        allow_null=True, help_text="Where to settle what is owed, while a result that was made is kept back for it"
    )
    created_at = MomentField()
    ended_at = MomentField(allow_null=True)
    page_url = serializers.CharField()


class RunAnswer(RunInListAnswer):
    result = ObjectField(
        allow_null=True, help_text="What it came to; null without a success, while it is kept back, or when it is gone"
    )


RUN_ID = "0197a0f2-5c1e-7c6e-9a41-2f0e6d1b7c11"
LISTED_EXAMPLE = {
    "id": RUN_ID,
    "run": RUN_ID,
    "tool": "data-studio/quality",
    "state": "succeeded",
    "estimate": {"min": "3", "typical": "3", "max": "9.013266"},
    "usage": {"cpu_seconds": 0.412, "peak_memory_mb": 38.4, "seconds": 0.53},
    "credits": {
        "held": "9.013266",
        "charged": "3",
        "entry": "0197a0f2-6d00-7c6e-9a41-2f0e6d1b7c12",
        "message": "3.00 of at most 9.013266 credits were charged.",
    },
    "files": [
        {
            "name": "findings.csv",
            "content_type": "text/csv",
            "bytes": 612,
            "url": f"/api/tool-runs/{RUN_ID}/files/findings.csv",
        }
    ],
    "error": None,
    "purchase_url": None,
    "created_at": "2026-05-01T12:00:00Z",
    "ended_at": "2026-05-01T12:00:01Z",
    "page_url": f"/studio/runs/{RUN_ID}",
}
RUN_EXAMPLE = LISTED_EXAMPLE | {"result": {"score": 87.5, "rows": 4}}


def _show(run: ToolRun, files: list[ToolFile]) -> dict[str, Any]:
    """The run without its result."""
    plain = ("id", "tool", "state", "estimate_min", "estimate_typical", "estimate_max", "created_at", "ended_at")
    shown = {name: getattr(run, name) for name in plain}
    refusal = _refusal_of(run)
    error = {"code": refusal.code, "message": refusal.message} if refusal is not None else None
    if run.is_kept_back:
        error = {"code": errors.AccountInDebt.code, "message": explain.KEPT_BACK}
    return shown | {
        "usage": _usage(run),
        "credits": {
            "held": run.estimate_max,
            "charged": run.charged_amount or 0,
            "entry": run.entry_id,
            "message": explain.spoken(run).credits,
        },
        "files": [
            {
                "name": one.name,
                "content_type": one.content_type,
                "bytes": one.bytes,
                "url": shelf.file_url(run.id, one.name),
            }
            for one in files
        ],
        "error": error,
        "purchase_url": refusals.PURCHASE_URL if run.is_kept_back else None,
        "page_url": f"/studio/runs/{run.id}",
    }


def _usage(run: ToolRun) -> dict[str, float] | None:
    if run.cpu_seconds is None or run.wall_seconds is None or run.peak_memory_bytes is None:
        return None
    return {
        "cpu_seconds": float(run.cpu_seconds),
        "peak_memory_mb": run.peak_memory_bytes / 1_000_000,
        "seconds": float(run.wall_seconds),
    }


def _show_whole(run: ToolRun) -> dict[str, Any]:
    files = runs.files_of([run]).get(run.id, [])
    return dict(RunAnswer(_show(run, files) | {"result": None if run.is_kept_back else run.result}).data)


# How a run ends that is no success


class ToolStopped(errors.BillingError):
    code = "tool_stopped"
    status = 422
    sentence = "The tool was stopped at one of its limits. Nothing was charged."
    reason = "A run may use only so much; `limit` names what it used up, `value` how much that is."
    action = "Send less at once, for example a part of the file, and run it again."


class ToolFailed(errors.BillingError):
    code = "tool_failed"
    status = 500
    sentence = "The tool could not finish. Nothing was charged."
    reason = "It failed at something in these inputs, or its machine was lost. It has been recorded."
    action = "Try again; if it fails again, change the inputs."
    can_retry = True


def _refusal_of(run: ToolRun) -> errors.BillingError | None:
    """The refusal that the run ended with; None for a success, and while it runs."""
    if run.state == State.REFUSED:
        return fields.InvalidInputs(WRONG, fields=run.wrong or {}, run=str(run.id))
    if run.state != State.STOPPED:
        return None
    limit = explain.limit_of(run)
    if limit is None:
        return ToolFailed(run=str(run.id))
    sentence = f"It was stopped at its limit of {limit.words}. Nothing was charged."
    return ToolStopped(sentence, limit=limit.name, value=limit.value, run=str(run.id), action=limit.action)


WRONG = "Some fields need another value. Nothing was charged."


# Run


class NamedFiles(MultiPartParser):
    """`inputs` as JSON, and files by the names of their fields."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        try:
            return super().parse(stream, media_type, parser_context)
        except ParseError as error:
            raise refusals.Malformed(reason="Its multipart body cannot be read.") from error


class BodyTooLarge(refusals.BodyTooLarge):
    reason = "A JSON body may have at most 1 MiB, a file 8 MiB."
    action = "Send larger texts as files, and larger files in parts."


class UnsupportedMediaType(refusals.UnsupportedMediaType):
    reason = "Inputs are JSON; files come beside them as multipart/form-data."
    action = "Send application/json, or multipart/form-data with `inputs` and the files."


class Run(View):
    """Runs one tool. Its subclasses, one for each tool, say which."""

    act = "run_tool"
    tool: Tool
    parser_classes: tuple[type[BaseParser], ...] = (parsing.StrictJSONParser, NamedFiles)

    def initialize_request(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        # Before anything asks for the body: the CSRF check does. Its texts are UTF-8, whatever it calls them.
        request.encoding = "utf-8"
        request.upload_handlers = [uploads.Documents(len(self.tool.documents) + 1, BodyTooLarge)]
        return super().initialize_request(request, *args, **kwargs)

    def allow(self, request: Any) -> None:
        super().allow(request)
        if not throttles.is_repeat(request):  # what was run before is answered as before
            runs.allow(self.tool, self.account, request.user)

    def start(self, request: Any) -> Response:
        inputs, sent = _read(request)
        key = idempotency.key_of(request, status=200, made=new_id(), body=[inputs, uploads.digests(sent)])
        quote = runs.quote(self.tool, inputs, sent)
        started = runs.complete(
            self.account,
            quote,
            actor=people.actor_of(request),
            owner=people.owner_of(request),
            user=request.user.pk,
            key=key,
        )
        run, is_repeat = started.run, started.repeated_status is not None
        if is_repeat:
            throttles.give_back(request)
            if run.state == State.RUNNING:
                raise errors.RequestInProgress
        else:
            record(request, run)
        return _answer(run, request, is_repeat)


def _answer(run: ToolRun, request: Any, is_repeat: bool) -> Response:
    refusal = _refusal_of(run)
    answer = refusals.answer(refusal, request) if refusal is not None else Response(_show_whole(run))
    if is_repeat:
        answer.headers["Idempotent-Replayed"] = "true"
    return answer


def record(request: Any, run: ToolRun) -> None:
    """The audit trail has the run, and what it came to."""
    audit.record(
        Run.act,
        account=run.account_id,
        actor=people.actor_of(request),
        subject=f"tool_run:{run.id}",
        code="" if run.state == State.SUCCEEDED else run.stopped_by or run.state,
        facts={"tool": run.tool},
        request_id=getattr(request, "request_id", ""),
    )


def _read(request: Any) -> tuple[Any, dict[str, tuple[str, bytes]]]:
    """The inputs and the files. Raises Malformed, InvalidInputs."""
    try:
        data = request.data
    except NotReadHere as error:
        raise UnsupportedMediaType from error
    if not request.content_type.startswith("multipart/"):
        return data, {}
    texts, sent = request.POST, uploads.sent(request.FILES)
    wrong = {name: ["Give this once."] for of in (texts, request.FILES) for name, all_of in of.lists() if all_of[1:]}
    wrong |= {name: ["Give this once."] for name in texts if name in request.FILES}
    known = {"inputs", "csrfmiddlewaretoken"}
    wrong |= {name: ["Send the inputs as JSON, under `inputs`."] for name in texts if name not in known}
    _, written = sent.pop("inputs", ("", b""))
    written = written or texts.get("inputs", "{}").encode("utf-8", "surrogatepass")
    if len(written) > parsing.BYTES_MAX:
        raise BodyTooLarge
    inputs = parsing.read(written)
    if wrong:
        raise fields.InvalidInputs(fields=wrong)
    return inputs, sent


_REFUSES = (
    fields.InvalidInputs,
    ToolStopped,
    ToolFailed,
    runs.ToolDisabled,
    runs.ToolInBeta,
    runs.PlanTooLow,
    runs.ToolAlreadyRunning,
    runs.TooManyStops,
    errors.AccountFrozen,
    errors.AccountInDebt,
    errors.TooManyOpenHolds,
    errors.SpendLimitReached,
    errors.InsufficientCredits,
    runs.StudioBusy,
)


class RunInBrowser(View):
    """A tool that has no part here."""

    is_open = True
    is_act = False
    tool: Tool

    def start(self, request: Any) -> Response:
        raise runs.RunsInBrowser(page_url=runs.page_of(self.tool))


def _multipart(tool: Tool) -> dict[str, Any]:
    """The body with files: `inputs` is JSON, and what is sent as a file need not be in it."""
    names = {of.name for of in tool.documents}
    inputs = tool.schema()
    inputs["required"] = [name for name in inputs["required"] if name not in names]
    files = {of.name: {"type": "string", "format": "binary", "title": of.title} for of in tool.documents}
    return {"type": "object", "properties": {"inputs": inputs} | files, "additionalProperties": False}


def run_view(tool: Tool) -> Any:
    """The view that runs the tool, with its own inputs in the schema."""
    name = tool.slug.replace("/", "_").replace("-", "_")
    words: dict[str, Any] = {"operation_id": f"{name}_run", "summary": f"Run {tool.title}", "description": tool.summary}
    if tool.function is None:
        words["description"] = f"{tool.summary} It runs in the browser alone: this refuses, with its page’s address."

        @describe({}, refuses=(runs.RunsInBrowser, refusals.CsrfFailed), **words)
        def refuse(self: RunInBrowser, request: Any) -> Response:
            return self.start(request)

        return type(f"Run_{name}", (RunInBrowser,), {"tool": tool, "post": refuse})

    bodies: dict[str, Any] = {"application/json": tool.schema() | {"title": tool.title}}
    if tool.documents:
        bodies["multipart/form-data"] = _multipart(tool)

    @describe(RunAnswer, body=bodies, refuses=_REFUSES, is_keyed=True, takes=shelf.example_of(tool), **words)
    def post(self: Run, request: Any) -> Response:
        return self.start(request)

    return type(f"Run_{name}", (Run,), {"tool": tool, "post": post})


# Watch


class OfRun(View):
    """A view of one run; another account's is not there."""

    def find(self, request: Any, **kwargs: Any) -> ToolRun:
        run = ToolRun.objects.filter(account_id=self.account, id=kwargs["id"]).first()
        if run is None:
            raise Http404
        return run


class OneRun(OfRun):
    """What a run came to."""

    @describe(RunAnswer, gives=RUN_EXAMPLE, operation_id="tool_run", summary="What a run came to, and what it cost")
    def get(self, request: Any, id: UUID) -> Response:
        return Response(_show_whole(self.found))


class RunsAnswer(Answer):
    results = RunInListAnswer(many=True)
    next = serializers.URLField(allow_null=True, help_text="The next page, older runs; null at the end")


class RunsQuery(PageQuery):
    state = serializers.ChoiceField(required=False, choices=[one.value for one in State])


class Runs(View):
    """The account's runs, newest first, without their results."""

    @describe(
        RunsAnswer,
        query=RunsQuery,
        gives={"results": [LISTED_EXAMPLE], "next": None},
        operation_id="tool_runs_list",
        summary="Your runs of tools, newest first",
    )
    def get(self, request: Any) -> Response:
        asked = read_query(RunsQuery, request)
        rows = runs.of_account(self.account)
        if "state" in asked:
            rows = rows.filter(state=asked["state"])

        def show(found: list[ToolRun]) -> list[Any]:
            files = runs.files_of(found)
            return [RunInListAnswer(_show(run, files.get(run.id, []))).data for run in found]

        return Response(page(request, rows, asked, show))


# What a file that is opened by itself may do: nothing. It was made from a stranger's words.
FILE_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'"
SHOWN = ("image/png", "image/svg+xml")


class RunFile(OfRun):
    """A file that a run made; pictures can be shown, everything else is saved."""

    def perform_content_negotiation(self, request: Any, force: bool = False) -> Any:
        # A file is of its own kind, whatever was asked for; only a refusal is written here.
        return super().perform_content_negotiation(request, force=True)

    @describe(
        {(200, "application/octet-stream"): {"type": "string", "format": "binary"}},
        operation_id="tool_run_file",
        summary="A file that a run made",
    )
    def get(self, request: Any, id: UUID, name: str) -> HttpResponse:
        file = ToolFile.objects.filter(account_id=self.account, run=self.found, name=name).first()
        if file is None or self.found.is_kept_back:
            raise Http404
        way = "inline" if file.content_type in SHOWN and "download" not in request.query_params else "attachment"
        is_text = file.content_type.startswith("text/")
        return HttpResponse(
            bytes(file.content),
            content_type=f"{file.content_type}; charset=utf-8" if is_text else file.content_type,
            headers={
                "Content-Disposition": f'{way}; filename="{file.name}"',
                "X-Content-Type-Options": "nosniff",
                "Content-Security-Policy": FILE_POLICY,
                "Cross-Origin-Resource-Policy": "same-origin",
                "Cache-Control": "private, no-store",
            },
        )
