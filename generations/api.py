"""The counter for jobs: what one would cost, starting it, watching it, stopping it.

A view validates, calls one verb, answers. What it reads and answers stands above it; each refusal in its `describe`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db.models import Prefetch, QuerySet
from django.http import Http404
from django.urls import reverse
from drf_spectacular.extensions import OpenApiSerializerExtension, OpenApiSerializerFieldExtension
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.response import Response

from billing import audit, errors, idempotency, people, refusals, seats, statement, throttles
from billing.models import new_id
from billing.rest import AmountField, MomentField, PageQuery, Strict, TextField, View, page, read, read_query
from billing.schema import describe
from tools_registry import fields, pricing, registry, runs, shelf

from . import bounds, explain, lifecycle
from .links import output_url
from .models import Generation, Output

Answer = serializers.Serializer[Any]
State = Generation.State

WAIT_SECONDS_MAX = 20
WAIT_PAUSE_SECONDS = 0.2
# What ends a wait: nothing more will happen soon.
UNDER_WAY = (State.QUEUED, State.SUBMITTING, State.RUNNING)
# The words of older frontends.
STATUS = {
    State.QUEUED: "PENDING",
    State.SUBMITTING: "PENDING",
    State.RUNNING: "STARTED",
    State.AWAITING_SETTLEMENT: "STARTED",
    State.SUCCEEDED: "SUCCESS",
    State.FAILED: "FAILURE",
    State.CANCELLED: "FAILURE",
    State.EXPIRED: "FAILURE",
}

# What is asked for


class InputsField(serializers.Field[Any, Any, Any, Any]):
    """An operation's inputs: an object here; the operation itself reads what is in it."""

    default_error_messages = {"object": "Send an object with the inputs."}

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, Mapping):
            self.fail("object")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class InputsFieldSchema(OpenApiSerializerFieldExtension):
    target_class = InputsField

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        return {"anyOf": [one.schema() | {"title": one.slug} for one in registry.OPERATIONS.values()]}


class Wanted(Strict):
    operation = serializers.ChoiceField(choices=list(registry.OPERATIONS), help_text="What to run")
    inputs = InputsField()
    provider = TextField(required=False, max_length=50, help_text="Who runs it; left out: the first that is offered")


class WantedSchema(OpenApiSerializerExtension):
    """What may be sent: each operation with the inputs that are its own."""

    target_class = Wanted

    def get_name(self, auto_schema: Any, direction: Any) -> str:
        return "Wanted"

    def map_serializer(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        whole = auto_schema._map_basic_serializer(self.target, direction)
        return {"oneOf": [self._of(one, whole) for one in registry.OPERATIONS.values()]}

    @staticmethod
    def _of(operation: fields.Declared, whole: dict[str, Any]) -> dict[str, Any]:
        own = {"operation": {"type": "string", "const": operation.slug}, "inputs": operation.schema()}
        described = {"title": operation.title, "description": operation.summary}
        return whole | described | {"properties": whole["properties"] | own}


def _quote(request: Any) -> lifecycle.Quote:
    wanted = read(Wanted, request.data)
    return lifecycle.quote(wanted["operation"], wanted["inputs"], wanted.get("provider"))


_EXAMPLES = {one.title: {"operation": one.slug, "inputs": dict(one.example)} for one in registry.OPERATIONS.values()}
_UNREADABLE = (fields.InvalidInputs, registry.UnknownOperation, lifecycle.ProviderNotOffered)

# Estimate


class Priced(Strict):
    operation = TextField(max_length=100, help_text="What to run: an operation, or a tool’s slug")
    inputs = InputsField()
    provider = TextField(required=False, max_length=50, help_text="Who runs it; left out: the first that is offered")


class PricedSchema(WantedSchema):
    """What may be asked for the price of: each operation and each tool, with the inputs that are its own."""

    target_class = Priced

    def get_name(self, auto_schema: Any, direction: Any) -> str:
        return "Priced"

    def map_serializer(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        whole = auto_schema._map_basic_serializer(self.target, direction)
        own = {name: field for name, field in whole["properties"].items() if name != "provider"}
        tools = [self._of(one, whole | {"properties": own}) for one in registry.TOOLS.values()]
        return {"oneOf": [*(self._of(one, whole) for one in registry.OPERATIONS.values()), *tools]}


_PRICED_EXAMPLES = _EXAMPLES | {
    one.title: {"operation": one.slug, "inputs": shelf.example_of(one)} for one in registry.TOOLS.values()
}


class UsualAnswer(Answer):
    runs = serializers.IntegerField(help_text="So many runs with inputs of this size were counted")
    p10 = AmountField(help_text="A tenth of them cost less")
    p50 = AmountField(help_text="Half of them cost less")
    p95 = AmountField(help_text="A twentieth of them cost more")


class EstimateAnswer(Answer):
    operation = serializers.CharField()
    provider = serializers.CharField(allow_null=True, help_text="Who would run it; null for a tool, which runs here")
    min = AmountField()
    typical = AmountField()
    max = AmountField(help_text="What is held while it runs; it never costs more")
    total_credits = AmountField(source="max", help_text="The same as max")
    explanation = serializers.CharField()
    usual = UsualAnswer(allow_null=True, help_text="What runs of a tool really cost, once enough of them were counted")
    available = AmountField(allow_null=True, help_text="What you can spend on it; null where nobody is signed in")
    affordable = serializers.BooleanField(allow_null=True, help_text="Whether that is enough for max; null likewise")
    free = AmountField(
        allow_null=True,
        help_text="Free credits that you have besides: they cannot pay for it before your first payment",
    )


class Estimate(View):
    """What a job would cost; moves nothing. Open to all."""

    is_open = True
    is_act = False

    @describe(
        EstimateAnswer,
        body=Priced,
        refuses=(*_UNREADABLE, runs.ToolDisabled, refusals.CsrfFailed),
        takes_one_of=_PRICED_EXAMPLES,
        gives={
            "operation": "ai/video",
            "provider": "local",
            "min": "0.5",
            "typical": "2",
            "max": "2",
            "total_credits": "2",
            "explanation": "4 s × 0.50 a second, standard, 1280 × 720",
            "usual": None,
            "available": "300",
            "affordable": True,
            "free": "0",
        },
        summary="What a job or a run of a tool would cost: min, typical, max; nothing is started",
    )
    def post(self, request: Any) -> Response:
        wanted = read(Priced, request.data)
        shown = _priced_tool(wanted) if wanted["operation"] in registry.TOOLS else _priced_job(wanted)
        takes_free = shown.pop("takes_free_credits")
        available: int | None = None
        free: int | None = None
        if request.user.is_authenticated:
            values, available = statement.payable(self.account, takes_free_credits=takes_free)
            free = values.available - available
        shown |= {
            "available": available,
            "affordable": None if available is None else available >= shown["max"],
            "free": free,
        }
        return Response(EstimateAnswer(shown).data)


def _priced_job(wanted: dict[str, Any]) -> dict[str, Any]:
    of = lifecycle.quote(wanted["operation"], wanted["inputs"], wanted.get("provider"))
    shown = {"operation": of.operation.slug, "provider": of.provider.name, "usual": None}
    return _in_numbers(of.estimate) | shown | {"takes_free_credits": of.takes_free_credits}


def _priced_tool(wanted: dict[str, Any]) -> dict[str, Any]:
    """What a run of a tool would cost; in the browser nothing. It runs here: any credits pay it."""
    tool = registry.TOOLS[wanted["operation"]]
    if "provider" in wanted:
        raise fields.InvalidInputs(fields={"provider": ["Tools run here; leave this out."]})
    if tool.function is None:
        tool.clean_with_files(wanted["inputs"], {}, "inputs.")
        free = pricing.Estimate(0, 0, 0, "It runs in your browser and costs nothing")
        return _in_numbers(free) | {"operation": tool.slug, "provider": None, "usual": None, "takes_free_credits": True}
    of = runs.quote(tool, wanted["inputs"], under="inputs.")
    shown = {"operation": tool.slug, "provider": None, "usual": of.usual, "takes_free_credits": True}
    return _in_numbers(of.estimate) | shown


def _in_numbers(of: pricing.Estimate) -> dict[str, Any]:
    return {"min": of.min, "typical": of.typical, "max": of.max, "explanation": of.explanation}


# A job, as it is answered


class JobEstimateAnswer(Answer):
    min = AmountField(source="estimate_min")
    typical = AmountField(source="estimate_typical")
    max = AmountField(source="estimate_max")
    explanation = serializers.CharField()


class JobCreditsAnswer(Answer):
    held = AmountField(help_text="Set aside for it now")
    charged = AmountField(help_text="What it has cost")
    outcome = serializers.ChoiceField(
        allow_null=True,
        choices=[one.value for one in Generation.Outcome],
        help_text="What became of its credits; null while it runs",
    )
    message = serializers.CharField(help_text="The same for people, in a sentence")


class OutputAnswer(Answer):
    url = serializers.CharField(help_text="Signed; works for a quarter of an hour, for this account alone")
    content_type = serializers.CharField()
    bytes = serializers.IntegerField()
    seconds = serializers.FloatField(allow_null=True)
    width = serializers.IntegerField(allow_null=True)
    height = serializers.IntegerField(allow_null=True)


class CountedAnswer(Answer):
    input_tokens = serializers.IntegerField(allow_null=True, help_text="Tokens read: what was asked, and how")
    output_tokens = serializers.IntegerField(allow_null=True, help_text="Tokens written")


class JobErrorAnswer(Answer):
    code = serializers.CharField()
    message = serializers.CharField()


class JobAnswer(Answer):
    id = serializers.UUIDField()
    job_id = serializers.UUIDField(source="id", help_text="The same as id")
    operation = serializers.CharField()
    inputs = InputsField()
    provider = serializers.CharField()
    state = serializers.ChoiceField(choices=[one.value for one in State])
    status = serializers.ChoiceField(
        choices=sorted(set(STATUS.values())), help_text="The state in the words of older frontends"
    )
    progress = serializers.IntegerField(min_value=0, max_value=100, help_text="Percent")
    estimate = JobEstimateAnswer(source="*")
    credits = JobCreditsAnswer()
    usage = CountedAnswer(allow_null=True, help_text="What its provider counted; null where it counts nothing")
    output = OutputAnswer(many=True, help_text="What it made, once it is paid for")
    error = JobErrorAnswer(allow_null=True)
    is_cancellable = serializers.BooleanField(help_text="Whether asking to cancel it makes sense")
    created_at = MomentField()
    ended_at = MomentField(allow_null=True)
    status_url = serializers.CharField()


JOB_EXAMPLE = {
    "id": "0197a0f2-5c1e-7c6e-9a41-2f0e6d1b7c11",
    "job_id": "0197a0f2-5c1e-7c6e-9a41-2f0e6d1b7c11",
    "operation": "ai/video",
    "inputs": dict(registry.VIDEO.example),
    "provider": "local",
    "state": "queued",
    "status": "PENDING",
    "progress": 0,
    "estimate": {
        "min": "0.5",
        "typical": "2",
        "max": "2",
        "explanation": "4 s × 0.50 a second, standard, 1280 × 720",
    },
    "credits": {
        "held": "2",
        "charged": "0",
        "outcome": None,
        "message": "2.00 credits are held. If it fails they come back by themselves.",
    },
    "usage": None,
    "output": [],
    "error": None,
    "is_cancellable": True,
    "created_at": "2026-05-01T12:00:00Z",
    "ended_at": None,
    "status_url": "/api/status/0197a0f2-5c1e-7c6e-9a41-2f0e6d1b7c11",
}

WRITTEN_EXAMPLE = JOB_EXAMPLE | {
    "operation": "ai/script",
    "inputs": dict(registry.SCRIPT.example),
    "state": "succeeded",
    "status": "SUCCESS",
    "progress": 100,
    "estimate": {
        "min": "0.1",
        "typical": "0.2752",
        "max": "0.5056",
        "explanation": "Paid by the token, a word or a piece of one: up to 800 written at 0.50 a thousand, up to 1,056 "
        "read at 0.10 a thousand. Only what is used is charged, usually about 0.2752",
    },
    "credits": {
        "held": "0",
        "charged": "0.2154",
        "outcome": "charged",
        "message": "0.2154 of at most 0.5056 credits were charged.",
    },
    "usage": {"input_tokens": 94, "output_tokens": 412},
    "output": [
        {
            "url": "/outputs/0197a0f2",
            "content_type": "text/plain",
            "bytes": 1893,
            "seconds": None,
            "width": None,
            "height": None,
        }
    ],
    "is_cancellable": False,
    "ended_at": "2026-05-01T12:00:09Z",
}


def show(job: Generation, outputs: Iterable[Output]) -> dict[str, Any]:
    """The job as the API answers it; `outputs` are those that may be had."""
    shown = {name: getattr(job, name) for name in _PLAIN}
    shown |= {
        "status": STATUS[State(job.state)],
        "credits": {
            "held": job.estimate_max if job.state in UNDER_WAY else 0,
            "charged": job.charged_amount or 0,
            "outcome": job.outcome,
            "message": explain.spoken(job).credits,
        },
        "usage": _counted(job),
        "output": [
            {
                "url": output_url(one),
                "content_type": one.content_type,
                "bytes": one.bytes,
                "seconds": one.seconds,
                "width": one.width,
                "height": one.height,
            }
            for one in outputs
        ],
        "error": {"code": job.error_code, "message": job.error_message or ""} if job.error_code else None,
        "status_url": reverse("api_status", args=[job.id]),
    }
    return dict(JobAnswer(shown).data)


def _counted(job: Generation) -> dict[str, int | None] | None:
    counted = {name: (job.usage or {}).get(name) for name in ("input_tokens", "output_tokens")}
    return counted if any(count is not None for count in counted.values()) else None


_PLAIN = (
    "id",
    "operation",
    "inputs",
    "provider",
    "state",
    "progress",
    "estimate_min",
    "estimate_typical",
    "estimate_max",
    "explanation",
    "is_cancellable",
    "created_at",
    "ended_at",
)


def _jobs(account: UUID) -> QuerySet[Generation]:
    """The account's jobs, each with the outputs that may be had."""
    kept = Output.objects.filter(released_at__isnull=False, deleted_at=None).order_by("position")
    return Generation.objects.filter(account=account).prefetch_related(Prefetch("outputs", kept, to_attr="kept"))


def _show_kept(job: Generation) -> dict[str, Any]:
    return show(job, job.kept)  # type: ignore[attr-defined]


def _record(view: View, job_id: UUID) -> None:
    """The audit trail has the view's act on a job, in the caller's transaction where there is one."""
    audit.record(
        view.act,
        account=view.account,
        actor=people.actor_of(view.request),
        subject=f"generation:{job_id}",
        request_id=getattr(view.request, "request_id", ""),
    )


class OfJob(View):
    """A view of one job; another account's is not there."""

    def find(self, request: Any, **kwargs: Any) -> Generation:
        job = _jobs(self.account).filter(id=kwargs["id"]).first()
        if job is None:
            raise Http404
        return job


# Start

PREFER = OpenApiParameter(
    "Prefer",
    {"type": "string", "examples": ["wait=10"]},
    OpenApiParameter.HEADER,
    required=False,
    description=f"`wait=N`: the answer comes when the job has ended, or after N seconds, at most {WAIT_SECONDS_MAX}.",
)


class Generate(View):
    """Starts a job: its maximum is held, and it is submitted by the worker."""

    act = "generate"

    @describe(
        JobAnswer,
        status=202,
        body=Wanted,
        is_keyed=True,
        parameters=[PREFER],
        refuses=(
            *_UNREADABLE,
            errors.AccountFrozen,
            errors.AccountInDebt,
            errors.TooManyOpenHolds,
            errors.TooManyJobsAtOnce,
            errors.SpendLimitReached,
            errors.InsufficientCredits,
            errors.FreeCreditsNotAccepted,
            bounds.TooManyBlocked,
            bounds.TooManyUnpaid,
            bounds.NotSettled,
        ),
        takes_one_of=_EXAMPLES,
        gives=JOB_EXAMPLE,
        summary="Starts a job; its maximum is held until it ends",
    )
    def post(self, request: Any) -> Response:
        key = idempotency.key_of(request, status=202, made=new_id())
        started = lifecycle.start(
            self.account,
            _quote(request),
            actor=people.actor_of(request),
            user=request.user.pk,
            key=key,
            also=lambda job: _record(self, job.id),
        )
        job, is_repeat = started.generation, started.repeated_status is not None
        if is_repeat:
            throttles.give_back(request)
        seconds = _seconds_to_wait(request)
        if seconds:
            with seats.one() as has_seat:
                seconds = seconds if has_seat else 0  # a preference, and others are waiting
                _wait(job.id, seconds)
        shown = _show_kept(_jobs(self.account).get(id=job.id)) if is_repeat or seconds else show(job, [])
        headers = {"Idempotent-Replayed": "true"} if is_repeat else {}
        if seconds:
            headers["Preference-Applied"] = f"wait={seconds}"
        return Response(shown, status=started.repeated_status or 202, headers=headers)


def _seconds_to_wait(request: Any) -> int:
    """What `Prefer: wait=N` asks for, at most WAIT_SECONDS_MAX; a preference that cannot be read is none."""
    asked = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?([0-9]{1,6})\"?\s*(?:$|[,;])", request.headers.get("Prefer", ""))
    return min(int(asked[1]), WAIT_SECONDS_MAX) if asked else 0


def _wait(job_id: UUID, seconds: int) -> None:
    """Returns when the job is no longer under way, or after so many seconds. No transaction is open meanwhile."""
    until = time.monotonic() + seconds
    while Generation.objects.filter(id=job_id, state__in=UNDER_WAY).exists() and time.monotonic() < until:
        time.sleep(WAIT_PAUSE_SECONDS)


# Watch


class Status(OfJob):
    """How a job stands."""

    @describe(JobAnswer, gives=WRITTEN_EXAMPLE, summary="How a job stands; a failure seen here is already refunded")
    def get(self, request: Any, id: UUID) -> Response:
        return Response(_show_kept(self.found))


class JobsAnswer(Answer):
    results = JobAnswer(many=True)
    next = serializers.URLField(allow_null=True, help_text="The next page, older jobs; null at the end")


class JobsQuery(PageQuery):
    state = serializers.ChoiceField(required=False, choices=[one.value for one in State])


class Generations(View):
    """The account's jobs, newest first."""

    @describe(JobsAnswer, query=JobsQuery, operation_id="generations_list", summary="Your jobs, newest first")
    def get(self, request: Any) -> Response:
        asked = read_query(JobsQuery, request)
        rows = _jobs(self.account)
        if "state" in asked:
            rows = rows.filter(state=asked["state"])
        return Response(page(request, rows, asked, lambda found: [_show_kept(job) for job in found]))


# Cancel


class Nothing(Strict):
    pass


class Cancel(OfJob):
    """Stops a job that has not been submitted; else asks its provider to."""

    act = "cancel_generation"

    @describe(
        JobAnswer,
        refuses=(
            lifecycle.CannotCancel,
            refusals.Malformed,
            refusals.BodyTooLarge,
            refusals.UnsupportedMediaType,
            refusals.InvalidFields,
        ),
        gives=JOB_EXAMPLE
        | {
            "state": "cancelled",
            "status": "FAILURE",
            "credits": {
                "held": "0",
                "charged": "0",
                "outcome": "refunded",
                "message": "Your 2.00 credits are back.",
            },
            "error": {"code": "cancelled", "message": "It was cancelled before it was started."},
            "is_cancellable": False,
            "ended_at": "2026-05-01T12:00:02Z",
        },
        summary="Cancels a job: at once before its submission, afterwards if its provider can",
    )
    def post(self, request: Any, id: UUID) -> Response:
        read(Nothing, request.data)
        lifecycle.cancel(self.account, id)
        _record(self, id)
        return Response(_show_kept(_jobs(self.account).get(id=id)))
