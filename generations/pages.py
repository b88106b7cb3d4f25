"""Pages of the workshop: making a video, the list of generations, one of them as it goes, and any line of the
statement with the work behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from billing import credits, errors, idempotency, ledger, packs, people, purchases, refusal_words, statement, throttles
from billing.models import Entry, Lot, new_id
from billing.pages import for_people, line_in_words, record_refusal, say_day, see, window
from tools_registry import explain as of_tools
from tools_registry import fields, pricing, registry

from . import explain, lifecycle, offers, prose, providers, routes
from .links import output_url
from .models import Generation, Output
from .offers import Offer
from .outputs import ALLOWED
from .providers import rehearsal_words
from .providers.base import NotOffered
from .storage import output_storage

State, Outcome = Generation.State, Generation.Outcome

# Asking for something


class Range(forms.NumberInput):
    """A whole number on a slider."""

    input_type = "range"


# Among more numbers than these nobody finds one by sliding.
SLIDER_STEPS_MAX = 200


def field_of(of: fields.Field) -> forms.Field:
    """The input as a field of a form; what may stand in it is judged by the operation itself."""
    options: dict[str, Any] = {"label": of.title, "help_text": of.help, "initial": of.default}
    match of:
        case fields.Text(is_short=True):
            widget: forms.Widget = forms.TextInput(attrs={"maxlength": of.length_max, "autocomplete": "off"})
            options["required"] = of.is_required
        case fields.Text():
            widget = forms.Textarea(attrs={"rows": 4, "maxlength": of.length_max})
            options["required"] = of.is_required
        case fields.Whole():
            number = Range if of.max - of.min <= SLIDER_STEPS_MAX else forms.NumberInput
            widget = number(attrs={"min": of.min, "max": of.max, "step": 1})
        case fields.Choice() if len(of.choices) <= 4:
            widget = forms.RadioSelect(choices=list(of.choices.items()))
        case fields.Choice():
            widget = forms.Select(choices=list(of.choices.items()))
        case _:
            raise TypeError(f"There is no field for {type(of).__name__}.")
    return forms.CharField(widget=widget, error_messages={"required": "Write something here."}, **options)


def inputs_of(operation: registry.Operation, given: Mapping[str, Any]) -> dict[str, Any]:
    """What was written, as the operation reads it: whole numbers as numbers, the rest as text."""
    found = {}
    for of in operation.fields:
        value = given.get(of.name, of.default)
        is_number = isinstance(of, fields.Whole) and re.fullmatch(r"[0-9]{1,9}", str(value), re.ASCII)
        found[of.name] = int(value) if is_number else value
    return found


class OperationForm(forms.Form):
    """An operation's inputs, which provider is to run it, and the key that makes a second press harmless."""

    key = forms.CharField(max_length=100, widget=forms.HiddenInput(attrs={"autocomplete": "off"}))

    def __init__(self, offer: Offer, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.offer = offer
        self.initial.setdefault("key", str(new_id()))
        self.fields |= {of.name: field_of(of) for of in offer.operation.fields}
        if len(offer.providers) > 1:
            choices = [(one.name, one.title) for one in offer.providers]
            if self.initial.get("provider") not in dict(choices):
                self.initial.pop("provider", None)
            widget = forms.RadioSelect(choices=choices)
            self.fields["provider"] = forms.CharField(
                label="Who makes it", widget=widget, initial=offer.providers[0].name
            )

    def drawn(self) -> Iterator[dict[str, Any]]:
        """Each input as the page draws it; `is_priced`: the price follows it."""
        cost = self.offer.cost
        for of in self.offer.operation.fields:
            is_read = isinstance(of, fields.Text) and cost.model == pricing.PerToken.name
            yield {
                "field": self[of.name],
                "unit": of.unit if isinstance(of, fields.Whole) else "",
                "is_priced": is_read or of.name in pricing.MODELS[cost.model].reads,
            }

    def say(self, refusal: errors.BillingError) -> None:
        """The refusal's sentences stand under their fields."""
        for name, sentences in refusal.facts.get("fields", {}).items():
            field = name.removeprefix("inputs.")
            for sentence in sentences:
                self.add_error(field if field in self.fields else None, sentence)


@for_people
@require_http_methods(["GET", "HEAD", "POST"])
def generate(request: Any, kind: str | None = None) -> HttpResponse:
    """The form of one operation with its price; sent, it starts one job, however often it is sent."""
    offered = offers.on_offer()
    operation = _operation_of(kind or "video")
    offer = next((one for one in offered if one.operation == operation), None)
    if offer is None and offered and kind is None and request.method != "POST":
        return redirect(offers.form_url(offered[0].operation))
    if offer is None:
        context = {"words": _words(operation), "switch": _switch(offered, operation)}
        return render(request, "generations/generate.html", context, status=422 if request.method == "POST" else 200)
    if request.method == "POST":
        return _start(request, offer, offered)
    form = OperationForm(offer, initial=_once_asked(request, operation))
    return _form_page(request, form, inputs_of(operation, form.initial), offered)


def _operation_of(kind: str) -> registry.Operation:
    found = next((one for one in registry.OPERATIONS.values() if offers.kind_of(one) == kind), None)
    if found is None:
        raise Http404
    return found


def _once_asked(request: Any, operation: registry.Operation) -> dict[str, Any]:
    """The inputs of an earlier job of the account, to be made again or changed."""
    try:
        again = UUID(request.GET.get("again", ""))
    except ValueError:
        return {}
    jobs = Generation.objects.filter(account_id=people.account_of(request), operation=operation.slug)
    job = jobs.filter(id=again).first()
    return {**job.inputs, "provider": job.provider} if job is not None else {}


def _start(request: Any, offer: Offer, offered: list[Offer]) -> HttpResponse:
    account = people.account_of(request)
    operation = offer.operation
    form = OperationForm(offer, request.POST)
    given = inputs_of(operation, request.POST)
    if not form.is_valid():
        return _form_page(request, form, given, offered, status=422)
    try:
        quote = lifecycle.quote(
            operation.slug, inputs_of(operation, form.cleaned_data), form.cleaned_data.get("provider")
        )
    except errors.BillingError as refusal:
        form.say(refusal)
        return _form_page(request, form, given, offered, status=refusal.status)
    try:
        throttles.count_write(request)
        started = lifecycle.start(
            account, quote, actor=people.actor_of(request), user=request.user.pk, key=_key(request, form)
        )
    except errors.IdempotencyConflict:
        form = OperationForm(offer, _with_new_key(request))
        form.add_error(None, SENT_BEFORE)
        return _form_page(request, form, given, offered, status=409)
    except errors.RequestInProgress:
        messages.info(request, "It is being started.")
        return redirect("generations")
    except errors.BillingError as refusal:
        record_refusal(request, "generate", refusal)
        form = OperationForm(offer, _with_new_key(request))
        shown = _refusal(refusal, quote, account) | {"form": form}
        return _form_page(request, form, given, offered, refusal=shown, status=refusal.status)
    return redirect("generation", id=started.generation.id)


SENT_BEFORE = (
    "This form was sent before, and what it asked for then was started. Nothing new has been started now; "
    "send it once more if you want this one as well."
)


def _key(request: Any, form: OperationForm) -> ledger.Key:
    """One form makes one job: the key that it was drawn with stands for what is in it."""
    asked = {name: value for name, value in form.cleaned_data.items() if name != "key"}
    wanted = asked | {"operation": form.offer.operation.slug}
    return idempotency.key_of_form(request, "/generate", form.cleaned_data["key"], wanted, status=202)


def _with_new_key(request: Any) -> Any:
    data = request.POST.copy()
    data["key"] = str(new_id())
    return data


def _form_page(
    request: Any,
    form: OperationForm,
    given: dict[str, Any],
    offered: list[Offer],
    refusal: dict[str, Any] | None = None,
    status: int = 200,
) -> HttpResponse:
    operation = form.offer.operation
    context = {
        "words": _words(operation),
        "switch": _switch(offered, operation),
        "form": form,
        "estimate": _estimate(people.account_of(request), operation, given, _provider_of(form)),
        "refusal": refusal,
        "rehearsal": _rehearsal_words() if any(one.name == "rehearsal" for one in form.offer.providers) else [],
    }
    return render(request, "generations/generate.html", context, status=status)


def _provider_of(form: OperationForm) -> str | None:
    """Who is to make it, as the form stands; None where there is nothing to choose."""
    return form["provider"].value() if "provider" in form.fields else None


def _words(operation: registry.Operation) -> dict[str, str]:
    """What the page of an operation is called, and where its form is sent."""
    return {
        "title": f"{'Write' if operation.is_text else 'Make'} a {operation.noun}",
        "noun": operation.noun,
        "plural": f"{operation.noun}s",
        "summary": operation.summary,
        "icon": operation.icon,
        "url": offers.form_url(operation),
        "estimate_url": f"/generate/{offers.kind_of(operation)}/estimate",
    }


def _switch(offered: list[Offer], current: registry.Operation) -> list[dict[str, Any]]:
    """The forms that there are, one beside the other."""
    return [
        {
            "title": one.operation.title,
            "icon": one.operation.icon,
            "url": offers.form_url(one.operation),
            "is_current": one.operation == current,
        }
        for one in offered
    ]


def _rehearsal_words() -> list[dict[str, str]]:
    """What can be written to rehearse a failure, where that is offered at all."""
    if not settings.REHEARSAL_ENABLED:
        return []
    return [{"word": word.example, "what": word.sentence} for word in rehearsal_words.WORDS]


@for_people
@require_POST
def estimate(request: Any, kind: str = "video") -> HttpResponse:
    """What the form as it stands would cost, beside what there is."""
    operation = _operation_of(kind)
    given, provider = inputs_of(operation, request.POST), request.POST.get("provider")
    shown = _estimate(people.account_of(request), operation, given, provider)
    return render(request, "generations/_estimate.html", {"estimate": shown})


def _estimate(
    account: UUID, operation: registry.Operation, given: dict[str, Any], provider: str | None
) -> dict[str, Any]:
    """The price in words, or why there is none. A text that is missing or wrong is priced as the example's."""
    texts = {of.name: _or_example(of, given, operation) for of in operation.fields if isinstance(of, fields.Text)}
    try:
        quote = lifecycle.quote(operation.slug, given | texts, provider or None)
    except errors.BillingError as refusal:
        titles = {f"inputs.{of.name}": f"{of.title}: " for of in operation.fields}
        named = refusal.facts.get("fields", {}).items()
        wrong = [titles.get(name, "") + sentence for name, sentences in named for sentence in sentences]
        return {"problem": " ".join(wrong) or refusal.message}
    values, available = statement.payable(account, takes_free_credits=quote.takes_free_credits)
    free = values.available - available
    left = available - quote.estimate.max
    return (_instead_of_free(quote, free) if free and left < 0 else {}) | {
        "max": credits.display(quote.estimate.max),
        "explanation": f"{quote.estimate.explanation}.",
        "available": credits.display(available),
        "after": credits.display(left),
        "shortfall": credits.display(-left) if left < 0 else "",
    }


def _instead_of_free(of: lifecycle.Quote, free: int) -> dict[str, Any]:
    """The free credits that cannot pay yet, and what can be done about it."""
    here = (one.title for one in routes.offered(of.operation.slug) if not one.is_real)
    return {
        "free": credits.display(free),
        "can_buy": bool(packs.offered()),
        "no_credits": refusal_words.NO_CREDITS,
        "instead": next(here, ""),
    }


def _or_example(of: fields.Text, given: Mapping[str, Any], operation: registry.Operation) -> str:
    try:
        return of.clean(given[of.name])
    except ValueError:
        return str(operation.example[of.name])


# Refused


def _refusal(refusal: errors.BillingError, of: lifecycle.Quote, account: UUID) -> dict[str, Any]:
    """The refusal for people, with the nearest thing to what was asked for that would not be refused."""
    noun, url = of.operation.noun, offers.form_url(of.operation)
    shown = refusal_words.in_words(refusal, account, noun=noun, url=url)
    if isinstance(refusal, errors.InsufficientCredits):
        shown["smaller"] = _smaller(of, statement.values_now(account)[0].available)
    if isinstance(refusal, errors.SpendLimitReached):
        shown["smaller"] = _smaller(of, credits.parse(refusal.facts["limit"]) - credits.parse(refusal.facts["used"]))
    return shown


def _smaller(of: lifecycle.Quote, most: int) -> dict[str, Any] | None:
    """The nearest thing to what was asked for that costs no more than `most`; None where nothing does."""
    best: tuple[tuple[bool, bool, int], dict[str, Any]] | None = None
    numbers = {one.name for one in _priced(of) if isinstance(one, fields.Whole)}
    for inputs in _variants(of, most):
        price = _price(of, inputs)
        kept = {name for name, value in inputs.items() if of.inputs[name] == value}
        likeness = (kept >= set(inputs) - numbers, kept >= numbers, price)
        if price <= most and (best is None or likeness > best[0]):
            best = (likeness, inputs)
    if best is None:
        return None
    (_, _, price), inputs = best
    asked = {row["title"]: row["words"] for row in explain.asked(_as_job(of, of.inputs))}
    changed = [row["words"] for row in explain.asked(_as_job(of, inputs)) if asked[row["title"]] != row["words"]]
    return {"inputs": inputs, "words": f"Make it {', '.join(changed)} instead, for {credits.display(price)}"}


def _as_job(of: lifecycle.Quote, inputs: dict[str, Any]) -> Generation:
    return Generation(operation=of.operation.slug, inputs=inputs)


def _price(of: lifecycle.Quote, inputs: dict[str, Any]) -> int:
    return pricing.estimate(of.cost.model, of.cost.rates, inputs).max


def _priced(of: lifecycle.Quote) -> list[fields.Field]:
    """The inputs that the price is made of, beside the texts."""
    return [one for one in of.operation.fields if one.name in pricing.MODELS[of.cost.model].reads]


VARIANTS_MAX = 300


def _variants(of: lifecycle.Quote, most: int) -> Iterator[dict[str, Any]]:
    """The same with every other choice, each with its numbers as large as `most` allows, up to what was asked.

    Only what the price is made of is changed, and numbers are found by halving: a few hundred prices at most.
    """
    found = [of.inputs]
    for one in _priced(of):
        if isinstance(one, fields.Choice):
            found = [inputs | {one.name: choice} for inputs in found for choice in one.choices]
    for inputs in found[:VARIANTS_MAX]:
        for one in _priced(of):
            if isinstance(one, fields.Whole):
                inputs = inputs | {one.name: _largest(of, inputs, one, most)}
        yield inputs


def _largest(of: lifecycle.Quote, inputs: dict[str, Any], one: fields.Whole, most: int) -> int:
    """The largest number, up to what was asked, that costs no more than `most`, round where it is long; else the least.

    More of something never costs less.
    """
    low, high = one.min, inputs[one.name]
    while low < high:
        middle = (low + high + 1) // 2
        if _price(of, inputs | {one.name: middle}) <= most:
            low = middle
        else:
            high = middle - 1
    return low if low == inputs[one.name] or low < 100 else max(one.min, low // 10 * 10)


# Generations

ENDS = {
    "running": (State.QUEUED, State.SUBMITTING, State.RUNNING, State.AWAITING_SETTLEMENT),
    "ready": (State.SUCCEEDED,),
    "failed": (State.FAILED, State.CANCELLED, State.EXPIRED),
}
JOBS_A_PAGE = 20


@for_people
@require_safe
def generations(request: Any) -> HttpResponse:
    """The account's jobs, newest first."""
    return render(request, "generations/generations.html", _jobs(request))


@for_people
@require_safe
def jobs(request: Any) -> HttpResponse:
    """The list alone, for as long as something in it is under way."""
    context = _jobs(request)
    response = render(request, "generations/_jobs.html", context)
    if not context["is_live"]:
        response.headers["HX-Trigger"] = "purse"
    return response


def _jobs(request: Any) -> dict[str, Any]:
    which = request.GET.get("which", "all")
    rows = Generation.objects.filter(account_id=people.account_of(request))
    if which in ENDS:
        rows = rows.filter(state__in=ENDS[which])
    elif which != "all":
        raise Http404
    found = window(request, rows, "id", UUID, JOBS_A_PAGE)
    return {
        "which": which,
        "jobs": [_in_list(job) for job in found.rows],
        "is_live": any(_is_live(job) for job in found.rows),
        "live_url": f"/generations/jobs?{request.GET.urlencode()}",
        "newer_url": f"/generations{found.newer_url}" if found.newer_url else "",
        "older_url": f"/generations{found.older_url}" if found.older_url else "",
    }


def _in_list(job: Generation) -> dict[str, Any]:
    said = explain.spoken(job)
    operation = registry.OPERATIONS.get(job.operation)
    return {
        "id": job.id,
        "url": f"/generations/{job.id}",
        "title": job.title,
        "note": explain.in_short(job),
        "code": explain.code_of(job),
        "back": said.credits if job.state == State.AWAITING_SETTLEMENT or job.outcome in NOT_MADE else "",
        "at": job.created_at,
        "word": said.word,
        "kind": said.kind,
        "what": operation.title if operation else job.operation,
        "icon": _icon(job),
        "credits": _credits_in_short(job),
    }


NOT_MADE = (Outcome.REFUNDED, Outcome.EXPIRED)
ICONS: dict[str, str] = {
    State.FAILED: "alert",
    State.EXPIRED: "alert",
    State.CANCELLED: "close",
    State.AWAITING_SETTLEMENT: "wait",
}


def _icon(job: Generation) -> str:
    """How it ended where it ended badly, else what it is."""
    operation = registry.OPERATIONS.get(job.operation)
    return ICONS.get(job.state) or (operation.icon if operation else "film")


def _credits_in_short(job: Generation) -> str:
    held = credits.display(job.estimate_max)
    if job.charged_amount is not None:
        return f"{credits.display(job.charged_amount)} charged"
    if job.outcome == Outcome.WAIVED:
        return "free of charge"
    return f"{held} held" if job.outcome is None else f"{held} back"


def _is_live(job: Generation) -> bool:
    return job.state in lifecycle.UNDER_WAY


@for_people
@require_safe
def generation(request: Any, id: UUID) -> HttpResponse:
    """One job: its progress or its output or what went wrong, and what happened to the credits."""
    return render(request, "generations/generation.html", _one(_found(request, id)))


@for_people
@require_safe
def generation_live(request: Any, id: UUID) -> HttpResponse:
    """The same while it goes on; nothing where nothing has changed since the page last looked."""
    job = _found(request, id)
    if request.GET.get("seen") == _seen(job):
        return HttpResponse(status=204)
    response = render(request, "generations/_generation.html", _one(job))
    response.headers["HX-Trigger"] = "purse"
    return response


def _found(request: Any, id: UUID) -> Generation:
    job = Generation.objects.filter(account_id=people.account_of(request), id=id).select_related("verdict_rule").first()
    if job is None:
        raise Http404
    return job


def _seen(job: Generation) -> str:
    """Changes with whatever the page shows of a job."""
    marks = (job.state, job.progress, job.outcome, job.verdict_at, job.cancel_asked_at, job.review, job.ended_at)
    return idempotency.fingerprint([str(mark) for mark in marks]).hex()[:16]


def _one(job: Generation) -> dict[str, Any]:
    """Everything that the page shows of a job; its news has then been read."""
    see(job.account_id, link=f"/generations/{job.id}")
    said = explain.spoken(job)
    if job.outcome == Outcome.CHARGED or job.outcome == Outcome.WAIVED:
        said = _without_output(job, said)
    operation = registry.OPERATIONS.get(job.operation)
    shown = {
        "id": job.id,
        "title": job.title,
        "what": operation.title if operation else job.operation,
        "word": said.word,
        "kind": said.kind,
        "code": explain.code_of(job),
        "icon": _icon(job),
        "is_live": _is_live(job),
        "live_url": f"/generations/{job.id}/live?seen={_seen(job)}",
        "fresh_url": f"/generations/{job.id}/live",
        "live_seconds": 1 if _is_live(job) else 15 if not job.is_ended else 0,
        "state_title": said.title,
        "state_words": said.words,
        "credits_words": said.credits,
        "progress": job.progress or None,
        "can_cancel": _can_cancel(job),
        "cancel_url": f"/generations/{job.id}/cancel",
        "again_url": f"{offers.form_url(operation)}?again={job.id}" if job.is_ended and operation else "",
        "asked": [*explain.asked(job), {"title": "Made by", "words": explain.provider_title(job)}],
        "prompt": job.inputs.get("prompt", ""),
        "at": job.created_at,
    }
    return {"job": shown | _output_of(job), "trail": explain.trail(job)}


def _can_cancel(job: Generation) -> bool:
    """Whether the button makes sense: it has not been asked to stop, and whoever has it can stop."""
    if not job.is_cancellable or job.cancel_asked_at is not None:
        return False
    try:
        return job.state == State.QUEUED or (job.state == State.RUNNING and providers.get(job.provider).has_cancel)
    except NotOffered:
        return False


def _output_of(job: Generation) -> dict[str, Any]:
    """The links to what was delivered, and what it is; nothing while it is kept back or when it is gone."""
    output = job.outputs.order_by("position").first()
    if output is None or output.released_at is None or output.deleted_at is not None:
        return {}
    url = output_url(output)
    size = [f"{output.seconds.normalize():f} s"] if output.seconds is not None else []
    size += [f"{output.width} × {output.height}"] if output.width else []
    size += [tokens] if (tokens := explain.tokens_written(job)) else []
    return {
        "video_url": url if output.content_type.startswith("video/") else "",
        "image_url": url if output.content_type.startswith("image/") else "",
        "width": output.width,
        "height": output.height,
        "text": _read_text(output) if output.content_type == "text/plain" else None,
        "download_url": f"/generations/{job.id}/download",
        "file_kind": ALLOWED[output.content_type].upper(),
        "size_words": " · ".join([*size, _say_bytes(output.bytes)]),
        "kept_until": output.released_at + timedelta(days=settings.OUTPUT_KEEP_DAYS),
    }


# So much of a text is shown on its page; the file has all of it.
TEXT_BYTES_SHOWN = 100_000


def _read_text(output: Output) -> dict[str, Any] | None:
    """The text that was delivered, for reading; None where it cannot be read just now."""
    try:
        with closing(output_storage().part(output.file, 0, min(output.bytes, TEXT_BYTES_SHOWN))) as part:
            found = b"".join(part)
    except OSError:
        return None
    whole = found.decode("utf-8", "ignore")
    return {"whole": whole, "blocks": prose.blocks(whole), "is_cut": output.bytes > TEXT_BYTES_SHOWN}


@for_people
@require_safe
def download(request: Any, id: UUID) -> HttpResponse:
    """A fresh link to the output, as a file: the page may have been open for longer than a link lasts."""
    output = _found(request, id).outputs.filter(released_at__isnull=False, deleted_at=None).order_by("position").first()
    if output is None:
        raise Http404
    return redirect(f"{output_url(output)}?download=1")


def _say_bytes(count: int) -> str:
    """Bytes for people: 840 KB, 1.2 MB."""
    if count < 1_000_000:
        return f"{max(1, count // 1000)} KB"
    return f"{count // 1_000_000}.{count // 100_000 % 10} MB"


def _without_output(job: Generation, said: explain.Spoken) -> explain.Spoken:
    """What is said of a job that was delivered, where its output cannot be shown."""
    output = job.outputs.order_by("position").first()
    if output is not None and output.deleted_at is not None:
        return replace(said, title="No longer kept", words=f"It was deleted on {say_day(output.deleted_at)}.")
    if output is not None and output.released_at is None:
        words = "Credits are owed on this account. It is delivered by itself once nothing is owed."
        return replace(said, word="Waiting", kind="wait", title="Made, and kept back", words=words)
    return said


@for_people
@require_POST
def cancel(request: Any, id: UUID) -> HttpResponse:
    """The job is cancelled, or its provider asked to stop; or the page says why that is not possible."""
    try:
        lifecycle.cancel(people.account_of(request), id)
    except lifecycle.JobNotFound as error:
        raise Http404 from error
    except lifecycle.CannotCancel as refusal:
        is_between = Generation.objects.filter(id=id, state=State.SUBMITTING).exists()
        messages.warning(request, HANDED_OVER if is_between else f"{refusal.message} {refusal.action}")
    return redirect("generation", id=id)


HANDED_OVER = "It is being handed to its provider just now. Try again in a moment."


# A line of the statement, with the work behind it


@for_people
@require_safe
def entry(request: Any, id: UUID) -> HttpResponse:
    """One line: what it means, the whole story it belongs to, which credits it moved, and what was there before."""
    lines = statement.lines_of(people.account_of(request)).select_related("text", "hold", "refunds__hold")
    line = lines.filter(id=id).first()
    if line is None:
        raise Http404
    hold = line.refunds.hold if line.refunds is not None else line.hold
    bought = purchases.moved_by(line)
    shown = line_in_words(line) | {
        "sentence": statement.tell(line),
        "sequence": line.sequence,
        "link": hold.link if hold is not None else "",
        "purchase_url": purchases.page_about(bought) if bought is not None else "",
        "purchase_words": "See the purchase" if isinstance(bought, purchases.Purchase) else "See the receipt",
        "size": credits.display(line.amount) if line.amount and not line.balance_delta else "",
    }
    context = {
        "line": shown,
        "trail": explain.entry_trail(line) or of_tools.entry_trail(line) or _told(line),
        "effect": _effect(line),
        "lots": _lots(line),
        "digest": bytes(line.digest).hex(),
    }
    return render(request, "generations/entry.html", context)


def _told(line: Entry) -> list[dict[str, Any]]:
    """The story of a line without a job, where there is more to it than the line."""
    steps = statement.explain(line)[:-1]
    if len(steps) < 2:
        return []
    return [{"what": step["title"], "more": step["detail"], "at": step["at"]} for step in steps]


def _effect(line: Entry) -> list[dict[str, str]]:
    """Each of the account's numbers before and after the line; what has nothing to do with it is left out."""
    rows = [
        (
            "Available",
            line.balance_after - line.held_after - line.frozen_after,
            line.balance_delta - line.held_delta - line.frozen_delta,
        ),
        ("Held", line.held_after, line.held_delta),
        ("Set aside", line.frozen_after, line.frozen_delta),
        ("Balance", line.balance_after, line.balance_delta),
        ("Owed", line.debt_after, line.debt_delta),
    ]
    return [
        {"title": title, "before": credits.display(after - delta), "after": credits.display(after)}
        for title, after, delta in rows
        if after or delta or title in ("Available", "Held", "Balance")
    ]


def _lots(line: Entry) -> list[dict[str, str]]:
    """Which credits the line moved: into or out of what was there, or else into or out of what is held."""
    lots = {lot.id: lot for lot in Lot.objects.filter(account=line.account_id, id__in=line.lots)}
    moved = line.remaining_deltas if any(line.remaining_deltas) else line.held_deltas
    return [
        {"words": _lot_words(lots[lot_id]), "amount": credits.display(abs(delta))}
        for lot_id, delta in zip(line.lots, moved, strict=True)
        if delta and lot_id in lots
    ]


def _lot_words(lot: Lot) -> str:
    source = statement.SOURCES.get(lot.source, lot.source)
    until = f", until {say_day(lot.expires_at)}" if lot.expires_at is not None else ""
    return f"{source[0].upper()}{source[1:]} credits of {say_day(lot.granted_at)}{until}"
