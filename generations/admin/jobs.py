"""Jobs as staff see them: what was asked for, what the provider said, what it cost; and what staff do to one."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from unfold.decorators import display

from billing import approvals, credits, errors
from billing.admin.acts import StaffAct, WithActs
from billing.admin.parts import (
    NOTHING,
    ROWS_SHOWN,
    Figure,
    Section,
    address,
    code,
    document,
    lines,
    link,
    listing,
    money,
    tag,
    text,
    when,
)
from billing.admin.tables import AccountAdmin, EntryAdmin, HoldAdmin, OfAccount, entry_cells, person
from billing.models import Approval, Entry, Hold, new_id
from generations import explain, lifecycle, reviews, safety_net, settlement
from generations.models import ANY, Attempt, Circuit, Generation, Output, ProviderJob
from tools_registry import pricing
from tools_registry.models import ToolCost

OUTCOME_WORDS = {"capture": "charged", "release": "credits back", "keep": "nothing yet, the hold stays"}
STATE_KINDS = {"succeeded": "ok", "failed": "bad", "expired": "bad", "cancelled": "", "awaiting_settlement": "wait"}
OUTCOME_KINDS = {"charged": "ok", "waived": "ok", "withheld": "wait", "refunded": "", "expired": "bad"}


# Acts on a job. The job is locked before its account, as the lifecycle does.


class JobAct(StaffAct):
    permission = "generations.settle_generation"

    def account(self, row: Any) -> UUID:
        return row.account_id

    def now(self, row: Any) -> list[Figure]:
        verdict = " · ".join(filter(None, (row.verdict_status, row.verdict_code))) or "nothing final yet"
        return [
            Figure("State", row.state.replace("_", " ")),
            Figure("The provider said", verdict),
            Figure("Held at most", money(row.estimate_max)),
            Figure("Output", "stored" if row.delivered and "unavailable" not in row.delivered else "none"),
        ]

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        return {"account": str(row.account_id), "generation": str(row.id), "reason": cleaned["reason"]}


def _job_of(instruction: dict[str, Any]) -> Generation:
    return Generation.objects.select_related("tool_cost", "verdict_rule", "hold", "account").get(
        account=instruction["account"], id=instruction["generation"]
    )


def lock_job(instruction: dict[str, Any]) -> None:
    """The job's row is locked; its account's comes after it."""
    rows = Generation.objects.select_for_update(of=("self",), no_key=True)
    rows.filter(account=instruction["account"], id=instruction["generation"]).values_list("id").first()


def price_of(job: Generation) -> int:
    """What was delivered costs, at most what was held, in microcredits. Raises CannotSettle where that is not known."""
    cost = job.tool_cost
    try:
        price = pricing.price(cost.model, cost.rates, job.inputs, job.delivered or {})
    except (LookupError, ValueError) as error:
        raise lifecycle.CannotSettle(f"{error} So it has no price, and only its credits can be given back.") from error
    return min(price, job.estimate_max)


def _has_success(job: Generation) -> bool:
    """Whether the provider's word and the stored output allow a charge."""
    rule = job.verdict_rule
    is_success = rule is not None and rule.outcome == settlement.CAPTURE
    return is_success and job.delivered is not None and "unavailable" not in job.delivered


class Settle(JobAct):
    name, title, icon = "settle", "Settle as delivered", "task_alt"
    sentence = (
        "The provider’s success and its output are here: what was delivered is charged and the output is released. "
        "Never possible without the provider’s word."
    )
    done = "The job is settled and charged."

    def is_offered(self, row: Any) -> bool:
        return not row.is_ended and _has_success(row)

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        job = _job_of(instruction)
        if job.is_ended or not _has_success(job):
            raise lifecycle.CannotSettle(
                "Without the provider’s success and its output there is nothing to charge for."
            )
        price, account = price_of(job), job.account
        is_held = job.state != Generation.State.AWAITING_SETTLEMENT
        back = job.estimate_max - price if is_held else -price
        return [
            ("Charged", money(0), money(price)),
            ("Available", money(account.available), money(account.available + back)),
            ("Output", "private", "released"),
        ]


@approvals.act("settle", first=lock_job)
def settle(instruction: dict[str, Any], asked_by: Any, approved_by: Any) -> str:
    job = _job_of(instruction)
    if _has_success(job):
        price_of(job)
    job = lifecycle.settle_by_hand(job.id, outcome=settlement.CAPTURE, staff=asked_by.pk, reason=instruction["reason"])
    if not job.is_ended:
        raise lifecycle.CannotSettle("The account cannot pay it now, so its output stays withheld.")
    reviews.close(job.id)
    return f"generation:{job.id}"


class ReleaseJob(JobAct):
    name, title, icon = "release_job", "End it and give the credits back", "undo"
    sentence = "The job ends as failed, nothing is charged and nothing is delivered, whatever the provider says later."
    is_dangerous = True
    done = "The job is ended; the credits are back."

    def is_offered(self, row: Any) -> bool:
        return not row.is_ended

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        job = _job_of(instruction)
        if job.is_ended:
            raise lifecycle.CannotSettle
        account, left = job.account, job.hold.left if job.hold else 0
        return [
            ("Held", money(account.held), money(account.held - left)),
            ("Available", money(account.available), money(account.available + left)),
            ("Job", job.state.replace("_", " "), "failed, given back"),
        ]


@approvals.act("release_job", first=lock_job)
def release_job(instruction: dict[str, Any], asked_by: Any, approved_by: Any) -> str:
    job = _job_of(instruction)
    lifecycle.settle_by_hand(job.id, outcome=settlement.RELEASE, staff=asked_by.pk, reason=instruction["reason"])
    reviews.close(job.id)
    return f"generation:{job.id}"


class EmergencyRelease(JobAct):
    name, title, icon = "emergency_release", "Emergency release", "emergency_home"
    sentence = (
        "The provider said that the job failed, and settling that broke. The credits go back without the settlement, "
        "by the job’s own row alone; an alert says so. It happens by itself when it has broken a few times."
    )
    is_dangerous = True
    done = "The credits are back, in an emergency release."

    def is_offered(self, row: Any) -> bool:
        rule = row.verdict_rule
        is_failure = rule is not None and rule.outcome == settlement.RELEASE
        return is_failure and not row.is_ended and row.settlement_failures.exists()

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        job = _job_of(instruction)
        if not self.is_offered(job):
            raise lifecycle.CannotSettle(
                "Only a provider’s recorded failure, whose settlement broke, is released in an emergency."
            )
        account = job.account
        left = job.hold.left if job.hold is not None and job.hold.state == Hold.State.OPEN else 0
        return [
            ("Held", money(account.held), money(account.held - left)),
            ("Available", money(account.available), money(account.available + left)),
            ("Job", job.state.replace("_", " "), "failed, given back"),
        ]


@approvals.act("emergency_release", first=lock_job)
def emergency_release(instruction: dict[str, Any], asked_by: Any, approved_by: Any) -> str:
    job = _job_of(instruction)
    if not safety_net.emergency_release(job.id, by=f"user:{asked_by.pk}"):
        raise lifecycle.CannotSettle("The job has ended meanwhile.")
    return f"generation:{job.id}"


class Waive(JobAct):
    name, title, icon = "waive", "Deliver it unpaid", "redeem"
    sentence = "The withheld output is delivered free of charge. Its price counts as credits given."
    permission = "generations.waive_generation"
    done = "The output is delivered, free of charge."

    def is_offered(self, row: Any) -> bool:
        return row.state == Generation.State.AWAITING_SETTLEMENT and row.outcome == "withheld" and bool(row.delivered)

    def amount(self, row: Any, cleaned: dict[str, Any]) -> int:
        return price_of(row)

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        job = _job_of(instruction)
        if not self.is_offered(job):
            raise lifecycle.CannotSettle("Only an output that is withheld can be delivered unpaid.")
        return [("Output", "withheld", "delivered"), ("Price that is not charged", money(0), money(price_of(job)))]


@approvals.act("waive", first=lock_job)
def waive(instruction: dict[str, Any], asked_by: Any, approved_by: Any) -> str:
    job = lifecycle.waive(_job_of(instruction).id, staff=asked_by.pk, reason=instruction["reason"])
    reviews.close(job.id)
    return f"generation:{job.id}"


# Reviews: what no rule knows, and what somebody must look at


class KeepAsking(JobAct):
    name, title, icon = "keep_asking", "Keep asking", "hourglass_top"
    sentence = (
        "Nothing is decided: the provider is asked on. Nobody is asked about this answer of this job again; another "
        "answer that no rule knows opens a new review. The hold ends by itself, and the credits are back then."
    )
    done = "The review is closed; the provider is asked on."

    def is_offered(self, row: Any) -> bool:
        return bool(row.review) and row.unknown_answer is not None and not row.is_ended

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        job = _job_of(instruction)
        if not job.review:
            raise NothingToReview
        ends = job.hold.expires_at if job.hold and job.hold.state == Hold.State.OPEN else None
        return [
            ("Review", job.review, "closed"),
            ("Held", money(job.hold.left if job.hold else 0), money(job.hold.left if job.hold else 0)),
            ("The hold ends", when(ends), when(ends)),
        ]


class CloseReview(KeepAsking):
    name, title, icon = "close_review", "Close the review", "done"
    sentence = "It has been looked at, and nothing else is to be done. The job and its credits stay as they are."
    done = "The review is closed."

    def is_offered(self, row: Any) -> bool:
        return bool(row.review) and (row.unknown_answer is None or row.is_ended)

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        job = _job_of(instruction)
        if not job.review:
            raise NothingToReview
        return [("Review", job.review, "closed")]


class NothingToReview(errors.BillingError):
    code = "nothing_to_review"
    sentence = "Nobody is asked to look at this job any more."
    reason = "Its review was closed meanwhile."
    action = "Nothing is left to do."


@approvals.act("keep_asking", first=lock_job)
@approvals.act("close_review", first=lock_job)
def close_review(instruction: dict[str, Any], asked_by: Any, approved_by: Any) -> str:
    job = _job_of(instruction)
    if not job.review:
        raise NothingToReview
    reviews.close(job.id)
    return f"generation:{job.id}"


# Jobs


class NeedsALook(admin.SimpleListFilter):
    title = "staff"
    parameter_name = "staff"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("review", "Needs a look"),
            ("unsettled", "Not settled"),
            ("emergency", "Given back in an emergency"),
            ("loss", "Cost us more than the hold"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = {
            "review": ~Q(review=""),
            "unsettled": Q(credits_charged=None),
            "emergency": Q(is_emergency=True),
            "loss": Q(loss__gt=0),
        }
        return queryset.filter(wanted[self.value()]) if self.value() in wanted else queryset  # type: ignore[index]


@admin.register(Generation)
class GenerationAdmin(WithActs, OfAccount):
    """Jobs: what was asked for, what the provider said, what it cost, and by which rule."""

    acts = (Settle(), ReleaseJob(), EmergencyRelease(), Waive(), KeepAsking(), CloseReview())
    list_display = (
        "title_shown",
        "account_shown",
        "state_shown",
        "outcome_shown",
        "provider",
        "held_shown",
        "charged_shown",
        "made",
    )
    list_filter = (NeedsALook, "state", "outcome", "provider", "operation")
    id_fields = ("id", "account_id", "hold_id")
    word_fields = ("user__email__iexact",)
    search_help_text = (
        "An id: the job’s, its hold’s, its account’s or the provider’s; or a person’s whole e-mail address"
    )
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "id_shown",
                    "account_shown",
                    "person_shown",
                    "actor",
                    "operation",
                    "prompt_shown",
                    "inputs_shown",
                    "state_shown",
                    "outcome_shown",
                )
            },
        ),
        (
            "The trip",
            {
                "fields": (
                    "provider",
                    "job_id_shown",
                    "circuit_shown",
                    "progress_shown",
                    "made",
                    "submitted",
                    "accepted",
                    "answered",
                    "next_asked",
                    "cancel_asked",
                    "attempt_count",
                )
            },
        ),
        (
            "The provider’s word",
            {
                "fields": (
                    "unknown_shown",
                    "verdict_shown",
                    "message_shown",
                    "verdict_when",
                    "rule_shown",
                    "rule_means",
                    "evidence_shown",
                    "usage_shown",
                    "delivered_shown",
                )
            },
        ),
        (
            "The charge",
            {
                "fields": (
                    "estimate_shown",
                    "explanation",
                    "price_shown",
                    "hold_shown",
                    "charged_shown",
                    "loss_shown",
                    "settled_shown",
                    "error_shown",
                    "waiver_shown",
                )
            },
        ),
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """A provider's own id is looked up where it is unique; it may look like one of ours."""
        found, _ = super().get_search_results(request, queryset, search_term)
        theirs = list(
            ProviderJob.objects.filter(provider_job_id=search_term.strip()).values_list("generation_id", flat=True)
        )
        return (queryset.filter(id__in=theirs) if theirs else found), False

    @display(description="Job")
    def title_shown(self, row: Any) -> str:
        return row.title

    @display(description="Person")
    def person_shown(self, row: Any) -> Any:
        return person(row.user)

    @display(description="Prompt")
    def prompt_shown(self, row: Any) -> Any:
        return text(row.inputs.get("prompt"))

    @display(description="Other inputs")
    def inputs_shown(self, row: Any) -> Any:
        return document({name: value for name, value in row.inputs.items() if name != "prompt"})

    @display(description="State")
    def state_shown(self, row: Any) -> Any:
        return tag(row.state, STATE_KINDS.get(row.state, "wait"))

    @display(description="Outcome")
    def outcome_shown(self, row: Any) -> Any:
        return tag(row.outcome, OUTCOME_KINDS.get(row.outcome, "")) if row.outcome else NOTHING

    @display(description="Held")
    def held_shown(self, row: Any) -> Any:
        return money(row.estimate_max, "quiet" if row.is_ended else "held")

    @display(description="Charged")
    def charged_shown(self, row: Any) -> Any:
        return money(row.charged_amount)

    @display(description="Asked for")
    def made(self, row: Any) -> Any:
        return when(row.created_at)

    @display(description="Provider’s job")
    def job_id_shown(self, row: Any) -> Any:
        return code(row.provider_job_id)

    @display(description="Progress")
    def progress_shown(self, row: Any) -> str:
        return f"{row.progress} %"

    @display(description="Submitted")
    def submitted(self, row: Any) -> Any:
        return when(row.submitted_at)

    @display(description="Accepted")
    def accepted(self, row: Any) -> Any:
        return when(row.accepted_at)

    @display(description="Last said “still at work”")
    def answered(self, row: Any) -> Any:
        return when(row.answered_at)

    @display(description="Asked next")
    def next_asked(self, row: Any) -> Any:
        return NOTHING if row.is_ended else when(row.next_poll_at)

    @display(description="Asked to stop")
    def cancel_asked(self, row: Any) -> Any:
        return when(row.cancel_asked_at)

    @display(description="Verdict")
    def verdict_shown(self, row: Any) -> Any:
        if row.verdict_status is None:
            return NOTHING
        return code(" · ".join(filter(None, (row.verdict_status, row.verdict_code))))

    @display(description="Message")
    def message_shown(self, row: Any) -> Any:
        return text(row.verdict_message)

    @display(description="Said at")
    def verdict_when(self, row: Any) -> Any:
        return when(row.verdict_at)

    @display(description="Evidence")
    def evidence_shown(self, row: Any) -> Any:
        return document(row.verdict_evidence)

    @display(description="Rule that it was settled by")
    def rule_shown(self, row: Any) -> Any:
        rule = row.verdict_rule
        if rule is None:
            return NOTHING
        said = f"{rule.phase}: {rule.provider} · {rule.operation} · {rule.status} · {rule.code}, version {rule.version}"
        since = format_html(" (superseded {})", when(rule.superseded_at)) if rule.superseded_at else ""
        return format_html("{}{}", link(rule, words=said), since)

    @display(description="What the rule says")
    def rule_means(self, row: Any) -> Any:
        rule = row.verdict_rule
        if rule is None:
            return NOTHING
        return lines(
            (
                f"The customer: {OUTCOME_WORDS[rule.outcome]}.",
                f"The provider bills us: {rule.provider_bills}.",
                f"The customer reads: {rule.sentence or '–'}",
            )
        )

    @display(description="Answer that no rule knows")
    def unknown_shown(self, row: Any) -> Any:
        unknown = row.unknown_answer
        if unknown is None:
            return NOTHING
        said = " · ".join(filter(None, (unknown["status"], unknown["code"])))
        return lines((code(said), unknown["message"])) if unknown["message"] else code(said)

    @display(description="What the provider counted")
    def usage_shown(self, row: Any) -> Any:
        return document(row.usage)

    @display(description="Provider’s circuit")
    def circuit_shown(self, row: Any) -> Any:
        return circuit_cell(Circuit.objects.filter(provider=row.provider).first())

    @display(description="Delivered")
    def delivered_shown(self, row: Any) -> Any:
        return document(row.delivered)

    @display(description="Estimate")
    def estimate_shown(self, row: Any) -> Any:
        return format_html(
            "{} to {}, typically {}", money(row.estimate_min), money(row.estimate_max), money(row.estimate_typical)
        )

    @display(description="Price")
    def price_shown(self, row: Any) -> Any:
        return link(ToolCost, row.tool_cost_id, str(row.tool_cost))

    @display(description="Hold")
    def hold_shown(self, row: Any) -> Any:
        return link(Hold, row.hold_id)

    @display(description="Our loss")
    def loss_shown(self, row: Any) -> Any:
        return money(row.loss, "bad-text" if row.loss else "quiet")

    @display(description="Settled")
    def settled_shown(self, row: Any) -> Any:
        return format_html("{} by {}", when(row.ended_at), row.settled_by) if row.ended_at else NOTHING

    @display(description="Error")
    def error_shown(self, row: Any) -> Any:
        return format_html("{} {}", code(row.error_code), row.error_message or "") if row.error_code else NOTHING

    @display(description="Waiver")
    def waiver_shown(self, row: Any) -> Any:
        return format_html("{}: {}", person(row.waived_by), row.waiver_reason) if row.waived_by_id else NOTHING

    def figures(self, row: Any) -> list[Figure]:
        charged = NOTHING if row.charged_amount is None else credits.display(row.charged_amount)
        return [
            Figure("Held at most", credits.display(row.estimate_max), row.explanation),
            Figure("Charged", charged, row.get_outcome_display() or "not settled yet"),
        ]

    def warnings(self, row: Any) -> list[str]:
        broke = 0 if row.is_ended else row.settlement_failures.count()
        return [
            *([f"Needs a look: {row.review}"] if row.review else []),
            *(["Settling it broke, so its credits were given back in an emergency release."] * row.is_emergency),
            *([f"Settling it broke {broke} time{'s' * (broke != 1)} so far; see below."] if broke else []),
        ]

    def buttons(self, request: HttpRequest, row: Any) -> list[dict[str, Any]]:
        """The acts; what no rule knows comes first, with everything that can be made of it."""
        review = {"title": "Review", "icon": "rule", "is_dangerous": False, "url": review_url(row)} if row else {}
        is_asked = row is not None and (row.review or (row.unknown_answer is not None and not row.is_ended))
        return [*([review] if is_asked else []), *super().buttons(request, row)]

    def get_list_display(self, request: HttpRequest) -> Any:
        """Of jobs that need a look, why, with the page on which it is answered."""
        if request.GET.get("staff") == "review":
            return ("title_shown", "review_shown", "state_shown", "held_shown", "provider", "made")
        return super().get_list_display(request)

    @display(description="Needs a look")
    def review_shown(self, row: Any) -> Any:
        return format_html('<a class="row-link" href="{}">{}</a>', review_url(row), row.review) if row.review else ""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.review_view)
        name = "generations_generation_review"
        return [path("<path:object_id>/review/", view, name=name), *super().get_urls()]

    def review_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What the provider said that no rule knows, who waits on the same, and all that can be made of it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        job = self.get_object(request, object_id)
        if job is None:
            raise Http404
        asked = reviews.in_words(job.unknown_answer) if job.unknown_answer is not None else job.review
        waiting = reviews.waiting_on_the_same(job)
        can_be_done = [
            {"act": act, "url": reverse(f"admin:generations_generation_{act.name}", args=[job.pk]), "once": new_id()}
            for act in self.acts
            if request.user.has_perm(act.permission) and act.is_offered(job)
        ]
        context = {
            **self.admin_site.each_context(request),
            "opts": self.model._meta,
            "original": job,
            "title": "Review",
            "job": job,
            "back": address(job),
            "is_open": bool(job.review),
            "question": asked or "Nobody is asked to look at this job.",
            "message": (job.unknown_answer or {}).get("message") or "",
            "reason": asked[:1000],
            "figures": _review_figures(job, waiting),
            "choices": can_be_done,
            "rule": _new_rule(request, job, asked),
            "asked_for": _rules_asked_for(job),
            "sections": [_waiting_on_the_same(job, waiting)] if job.unknown_answer is not None else [],
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/review.html", context)

    def sections(self, request: HttpRequest, row: Any) -> list[Section]:
        entries = Entry.objects.filter(account=row.account_id, hold=row.hold_id).order_by("sequence")
        broken = row.settlement_failures.order_by("-occurred_at")
        return [
            Section("What happened", trail=explain.trail(row)),
            *(
                [
                    Section(
                        "Tries to settle it that broke",
                        ("When", "Error"),
                        [[when(one.occurred_at), one.error] for one in broken[:ROWS_SHOWN]],
                    )
                ]
                if broken
                else []
            ),
            Section(
                "Its lines on the statement",
                ("Line", "Kind", "Balance", "Held", "Balance after", "Written"),
                [entry_cells(one) for one in entries] if row.hold_id else [],
                numbers=frozenset({2, 3, 4}),
            ),
            Section(
                "Attempts to submit",
                ("Attempt", "Result", "Started", "Ended"),
                [
                    [link(one, words=one.number), attempt_tag(one), when(one.started_at), when(one.ended_at)]
                    for one in row.attempts.order_by("number")
                ],
                empty="It was not submitted.",
            ),
            Section(
                "Outputs",
                ("File", "Kind", "Size", "Stored", "Released", "Deleted"),
                [output_cells(one) for one in row.outputs.order_by("position")],
                empty="Nothing was delivered.",
                numbers=frozenset({2}),
            ),
        ]


def review_url(job: Any) -> str:
    return reverse("admin:generations_generation_review", args=[job.pk])


def _review_figures(job: Generation, waiting: QuerySet[Generation]) -> list[Figure]:
    hold = job.hold
    is_held = hold is not None and hold.state == Hold.State.OPEN
    same = waiting.aggregate(held=Sum("hold__amount", filter=Q(hold__state="open")))
    figures = [
        Figure("State", job.state.replace("_", " ")),
        Figure("Held for it", money(hold.left if hold is not None and is_held else 0)),
        Figure("The hold ends", when(hold.expires_at) if hold is not None and is_held else "it has ended"),
    ]
    if job.unknown_answer is None:
        return figures
    count = waiting.count()
    return [*figures, Figure("Wait on this answer", f"{count} job{'s' * (count != 1)}", money(same["held"] or 0))]


def _new_rule(request: HttpRequest, job: Generation, asked: str) -> str:
    """The page of a new rule with the answer filled in; nothing for who may not ask for one."""
    unknown = job.unknown_answer
    if unknown is None or not request.user.has_perm("generations.add_settlementrule"):
        return ""
    filled = {
        "phase": unknown["phase"],
        "provider": job.provider,
        "operation": job.operation,
        "status": unknown["status"],
        "code": unknown["code"] or ANY,
        "reason": asked,
    }
    return reverse("admin:generations_settlementrule_new_rule") + "?" + urlencode(filled)


def _rules_asked_for(job: Generation) -> list[Approval]:
    """New rules for this very answer that wait for a second person."""
    unknown = job.unknown_answer
    if unknown is None:
        return []
    for_it = {"phase": unknown["phase"], "status": unknown["status"], "code__in": [unknown["code"] or ANY, ANY]}
    return list(
        Approval.objects.filter(
            act="new_rule", state="waiting", **{f"instruction__{name}": word for name, word in for_it.items()}
        )[:ROWS_SHOWN]
    )


def _waiting_on_the_same(job: Generation, waiting: QuerySet[Generation]) -> Section:
    return Section(
        "Jobs that wait on this answer",
        ("Job", "State", "Held at most", "Asked for"),
        [
            [link(one, words=one.title), tag(one.state, "wait"), money(one.estimate_max), when(one.created_at)]
            for one in waiting[:20]
        ],
        empty="No job waits on it any more.",
        numbers=frozenset({2}),
        of=Generation,
    )


def circuit_cell(circuit: Circuit | None) -> Any:
    """Whether calls flow to a provider, and why not."""
    if circuit is None or circuit.opened_at is None:
        return tag("closed: calls flow", "ok")
    return lines(
        (
            tag("open: left alone", "bad"),
            format_html("tried again {}", when(circuit.retry_at)),
            circuit.last_error or "",
        )
    )


def attempt_tag(attempt: Any) -> Any:
    kinds = {"accepted": "ok", "refused": "bad", "later": "wait", "doubt": "wait"}
    return tag(attempt.result, kinds.get(attempt.result, "")) if attempt.result else tag("no answer", "wait")


def output_cells(output: Any) -> list[Any]:
    return [
        link(output, words=output.file.rsplit("/", 1)[-1]),
        output.content_type,
        format_html('<span class="n">{}</span>', f"{output.bytes / 1e6:,.2f} MB"),
        when(output.stored_at),
        when(output.released_at),
        when(output.deleted_at),
    ]


class OfJob(OfAccount):
    """Rows of a job, with the link to it."""

    list_select_related = ("account", "generation")
    id_fields = ("id", "account_id", "generation_id")
    search_help_text = "An id: its own, its account’s or its job’s"

    @display(description="Job")
    def job_shown(self, row: Any) -> Any:
        return link(Generation, row.generation_id, row.generation.title)


@admin.register(Attempt)
class AttemptAdmin(OfJob):
    """Tries to submit, each written down before the provider was called."""

    list_display = ("number", "job_shown", "account_shown", "result_shown", "started", "ended")
    list_filter = ("result",)
    fields = ("id_shown", "job_shown", "account_shown", "number", "result_shown", "started", "ended", "evidence_shown")

    @display(description="Result")
    def result_shown(self, row: Any) -> Any:
        return attempt_tag(row)

    @display(description="Started")
    def started(self, row: Any) -> Any:
        return when(row.started_at)

    @display(description="Ended")
    def ended(self, row: Any) -> Any:
        return when(row.ended_at)

    @display(description="Evidence")
    def evidence_shown(self, row: Any) -> Any:
        return document(row.evidence)


@admin.register(Output)
class OutputAdmin(OfJob):
    """Files that jobs delivered: private until they are paid for or waived."""

    list_display = ("file_shown", "job_shown", "account_shown", "content_type", "size_shown", "released", "deleted")
    list_filter = ("content_type",)
    fields = (
        "id_shown",
        "job_shown",
        "account_shown",
        "file",
        "content_type",
        "size_shown",
        "seconds",
        "width",
        "height",
        "stored",
        "released",
        "deleted",
    )

    @display(description="File")
    def file_shown(self, row: Any) -> str:
        return row.file.rsplit("/", 1)[-1]

    @display(description="Size")
    def size_shown(self, row: Any) -> Any:
        return output_cells(row)[2]

    @display(description="Stored")
    def stored(self, row: Any) -> Any:
        return when(row.stored_at)

    @display(description="Released")
    def released(self, row: Any) -> Any:
        return when(row.released_at) if row.released_at else tag("private", "wait")

    @display(description="Deleted")
    def deleted(self, row: Any) -> Any:
        return when(row.deleted_at)


# What the workshop adds to the vault's pages


def jobs_of_account(account: Any) -> list[Section]:
    jobs = Generation.objects.filter(account=account).order_by("-id")[:ROWS_SHOWN]
    return [
        Section(
            "Newest jobs",
            ("Job", "State", "Outcome", "Held", "Charged", "Asked for"),
            [
                [
                    link(one, words=one.title),
                    tag(one.state, STATE_KINDS.get(one.state, "wait")),
                    tag(one.outcome, OUTCOME_KINDS.get(one.outcome, "")) if one.outcome else NOTHING,
                    money(one.estimate_max),
                    money(one.charged_amount),
                    when(one.created_at),
                ]
                for one in jobs
            ],
            listing(Generation, account__id__exact=account.id),
            "No job yet.",
            frozenset({3, 4}),
            of=Generation,
        )
    ]


def job_of_hold(hold: Any) -> list[Section]:
    return _jobs_on(hold.account_id, hold.id)


def trail_of_entry(entry: Any) -> list[Section]:
    """Why the line is there, and the job that it belongs to; a refund's are those of what it refunds."""
    trail = explain.entry_trail(entry)
    spending = entry if entry.refunds_id is None else Entry.objects.get(account=entry.account_id, id=entry.refunds_id)
    return [Section("Why", trail=trail, of=Generation), *_jobs_on(entry.account_id, spending.hold_id)] if trail else []


def _jobs_on(account: UUID, hold: UUID | None) -> list[Section]:
    jobs = Generation.objects.filter(account=account, hold=hold)
    rows = [
        [link(one, words=one.title), tag(one.state, STATE_KINDS.get(one.state, "wait")), one.provider] for one in jobs
    ]
    return [Section("The job that stands on it", ("Job", "State", "Provider"), rows, of=Generation)] if rows else []


AccountAdmin.from_above.append(jobs_of_account)
HoldAdmin.from_above.append(job_of_hold)
EntryAdmin.from_above.append(trail_of_entry)
