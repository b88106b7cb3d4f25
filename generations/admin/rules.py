"""The rules that settle jobs. A rule is never edited: a new version supersedes it, by two people."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Case, OuterRef, QuerySet, Subquery, When
from django.db.models.fields.json import KT
from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget

from billing import approvals, clock, errors
from billing.admin.acts import ActForm, StaffAct, WithActs, choice, tick, words
from billing.admin.parts import (
    NOTHING,
    ReadOnly,
    Section,
    code,
    lines,
    link,
    money,
    tag,
    waiting_words,
    when,
    yes_or_no,
)
from billing.models import Approval
from generations import rehearse_rules, reviews, settlement
from generations.models import ANY, Attempt, Generation, SettlementRule
from generations.providers import PROVIDERS
from generations.providers.base import REFUSING_STATUSES, STATUSES
from generations.rehearse_rules import Difference, Rehearsal, Said
from tools_registry import registry


class RuleSuperseded(errors.BillingError):
    code = "rule_superseded"
    sentence = "This is not the version in force any more."
    reason = "Another version came first."
    action = "Open the version in force and change that one."


class RuleKnown(errors.BillingError):
    code = "rule_known"
    sentence = "There is a rule in force for exactly this."
    reason = "One rule speaks for one answer."
    action = "Open it and make a new version of it."


class RuleForm(ActForm):
    """What the answer means."""

    outcome = choice(
        "What the customer pays",
        [
            ("keep", "Keep: nothing is decided yet, the hold stays"),
            ("release", "Release: nothing is charged, the credits go back"),
            ("capture", "Capture: what was delivered is charged"),
        ],
    )
    provider_bills = choice(
        "Whether the provider bills us", [("unknown", "Nobody knows"), ("yes", "Yes"), ("no", "No")]
    )
    sentence = words("What the customer reads", max_length=300, required=False)
    alerts_staff = tick("Alert staff when it is used")

    def answer(self, cleaned: dict[str, Any]) -> tuple[str, str]:
        """The phase and status that the rule is for."""
        return self.row.phase, self.row.status

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not self.errors and cleaned.get("outcome") != "keep":
            phase, status = self.answer(cleaned)
            if cleaned["outcome"] == "capture" and (phase != "poll" or status not in ("completed", "incomplete")):
                self.add_error(
                    "outcome", "Only the provider’s own success, “completed” or “incomplete”, is charged for."
                )
            elif _is_doubt(phase, status):
                self.add_error(
                    "outcome",
                    "This is not the provider’s word on the job, and nothing is settled without that: the job may be "
                    "under way. Keep it; it is asked again, and its hold ends by itself.",
                )
        return cleaned


NO_ANSWER = re.compile(r"[1-5][0-9x]{2}|timeout|network|garbage|storage|unsupported|broken|not_offered")


def _is_doubt(phase: str, status: str) -> bool:
    """Whether this says nothing of the job: a question that failed, or a submission whose end nobody knows."""
    return NO_ANSWER.fullmatch(status) is not None and not (phase == "submit" and status in REFUSING_STATUSES)


# The words that a rule is for


class Suggesting(UnfoldAdminTextInputWidget):
    """A line to write in, with words to choose from; others may be written too."""

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__({"autocomplete": "off", "spellcheck": "false"})
        self.words = words

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> Any:
        field = super().render(name, value, (attrs or {}) | {"list": f"{name}-words"}, renderer)
        options = format_html_join("", '<option value="{}"></option>', ((word,) for word in self.words))
        return format_html('{}<datalist id="{}-words">{}</datalist>', field, name, options)


WORD = re.compile(r"[a-z0-9][a-z0-9_./-]{0,99}")
SEEN_MAX = 5_000


def seen_lately() -> dict[str, list[str]]:
    """The words that a rule's columns may take: what is known here, and what providers said lately."""
    said = Generation.objects.filter(verdict_at__isnull=False).order_by("-verdict_at")
    verdicts: set[Any] = set(said.values_list("verdict_status", "verdict_code")[:SEEN_MAX])
    unknown: set[Any] = set(
        reviews.waiting().values_list(KT("unknown_answer__status"), KT("unknown_answer__code"))[:SEEN_MAX]
    )
    statuses = {status for status, _ in verdicts | unknown} | STATUSES | REFUSING_STATUSES
    codes = {code for _, code in verdicts | unknown}
    routes = set(Generation.objects.order_by("-id").values_list("provider", "operation")[:SEEN_MAX])
    providers = {provider for provider, _ in routes} | set(PROVIDERS)
    operations = {operation for _, operation in routes} | set(registry.OPERATIONS)
    found: dict[str, set[Any]] = {
        "provider": providers,
        "operation": operations,
        "status": statuses | {"429", "5xx", "timeout", "network", "garbage"},
        "code": codes,
    }
    return {name: [ANY, *sorted(word for word in words if word)] for name, words in found.items()}


class NewRuleForm(RuleForm):
    phase = choice("When it is said", [("poll", "Asked about the job"), ("submit", "Submitting it")])
    provider = words("Provider", initial=ANY, max_length=50, help_text="Its name, or “any”.")
    operation = words("Operation", initial=ANY, max_length=100, help_text="For example ai/video, or “any”.")
    status = words("Status", max_length=50, help_text="The provider’s word, an HTTP status, 5xx, timeout, or “any”.")
    code = words("Error code", initial=ANY, max_length=100, help_text="The provider’s code, or “any”.")

    field_order = ("phase", "provider", "operation", "status", "code")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.seen = seen_lately()
        for name, words_seen in self.seen.items():
            self.fields[name].widget = Suggesting(words_seen)

    def answer(self, cleaned: dict[str, Any]) -> tuple[str, str]:
        return cleaned["phase"], cleaned["status"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        for name, words_seen in self.seen.items():
            # What a provider really said is taken as it is.
            if name in cleaned and not WORD.fullmatch(cleaned[name]) and cleaned[name] not in words_seen:
                self.add_error(name, "Write one word: small letters, digits, and _ . / - between them.")
        if not self.errors and _in_force(cleaned).exists():
            self.add_error(None, f"{RuleKnown.sentence} {RuleKnown.action}")
        return cleaned


KEY = ("phase", "provider", "operation", "status", "code")
TERMS = ("outcome", "provider_bills", "sentence", "alerts_staff")
TERM_TITLES = {
    "outcome": "What the customer pays",
    "provider_bills": "The provider bills us",
    "sentence": "What the customer reads",
    "alerts_staff": "Alerts staff",
}


def _in_force(key: dict[str, Any]) -> QuerySet[SettlementRule]:
    return SettlementRule.objects.filter(superseded_at=None, **{name: key[name] for name in KEY})


def _terms(of: Any) -> dict[str, Any]:
    return {name: getattr(of, name) for name in TERMS}


def _said(value: Any) -> Any:
    return ("yes" if value else "no") if isinstance(value, bool) else value or "–"


# What it would have changed

REHEARSED_DAYS = 30
REHEARSED_MAX = 20_000


def rehearse(draft: SettlementRule, instead_of: SettlementRule | None = None) -> list[Section]:
    """What the last 30 days' answers would have come to with the draft in force. Reads REHEARSED_MAX jobs at most."""
    now = list(SettlementRule.objects.filter(superseded_at=None))
    then = [*(rule for rule in now if instead_of is None or rule.id != instead_of.id), draft]
    since = clock.now() - timedelta(days=REHEARSED_DAYS)
    found = rehearse_rules.rehearse(_cases(since), now, then)
    return _foreseen(found, is_cut=_verdicts(since)[REHEARSED_MAX : REHEARSED_MAX + 1].exists())


def _verdicts(since: datetime) -> QuerySet[Generation]:
    return Generation.objects.filter(verdict_at__gte=since).order_by("-verdict_at")


def _cases(since: datetime) -> Iterator[rehearse_rules.Case]:
    """Jobs with a final word since then, newest first, and those that wait on an answer which no rule knew."""
    # The job keeps "http_400" where a refusal had no code; the attempt keeps what was said.
    refused = Attempt.objects.filter(generation=OuterRef("pk"), result=Attempt.Result.REFUSED).order_by("-number")
    code_refused = Subquery(refused.annotate(said=KT("evidence__code")).values("said")[:1])
    settled = _verdicts(since).annotate(code_refused=Case(When(verdict_rule__phase="submit", then=code_refused)))
    columns = ("id", "provider", "operation", "verdict_status", "verdict_code", "charged_amount", "estimate_max")
    rows = settled.values(*columns, "verdict_rule__phase", "code_refused")[:REHEARSED_MAX]
    for row in rows.iterator(chunk_size=2_000):
        phase = row["verdict_rule__phase"] or "poll"
        said_code = row["code_refused"] if phase == "submit" else row["verdict_code"]
        said = Said(phase, row["provider"], row["operation"], row["verdict_status"], said_code)
        yield rehearse_rules.Case(row["id"], said, row["charged_amount"], row["estimate_max"])
    undecided = reviews.waiting().values("id", "provider", "operation", "unknown_answer", "estimate_max")
    for row in undecided[:REHEARSED_MAX].iterator(chunk_size=2_000):
        answer: Any = row["unknown_answer"]
        said = Said(answer["phase"], row["provider"], row["operation"], answer["status"], answer["code"])
        yield rehearse_rules.Case(
            row["id"], said, None, row["estimate_max"], is_undecided=True, is_word=answer["is_word"]
        )


def _foreseen(found: Rehearsal, is_cut: bool) -> list[Section]:
    looked_at = f"Jobs with a final word in the last {REHEARSED_DAYS} days" + (
        f"; only the newest {REHEARSED_MAX:,} were looked at" if is_cut else ""
    )
    facts: list[tuple[str, Any]] = [
        (looked_at, f"{found.settled_jobs:,}"),
        ("Of these, another outcome for the customer", f"{found.other_outcome:,}"),
        ("Another “provider bills us”", f"{found.other_bills:,}"),
        ("Another sentence", f"{found.other_sentence:,}"),
        ("Credits that would not have been charged", money(found.back)),
        ("Credits that would have been charged, at most", money(found.charged_at_most)),
        ("Jobs that wait now on an answer no rule knew", f"{found.undecided:,}"),
    ]
    if found.settles_now:
        facts.append(("Of these, settled once their provider says it again", f"{found.settles_now:,}"))
    if found.known_now:
        facts.append(("Of these, known then and kept", f"{found.known_now:,}"))
    title = f"What it would have changed in the last {REHEARSED_DAYS} days"
    if found.changes_nothing:
        title += ": nothing"
    counts = Section(title, facts=facts)
    if not found.differences:
        return [counts]
    titles = Generation.objects.in_bulk([one.case.job for one in found.differences])
    jobs = [
        [
            link(Generation, one.case.job, titles[one.case.job].title),
            code(" · ".join(filter(None, (one.case.said.status, one.case.said.code)))),
            lines(_changes(one)),
            _credits(one),
        ]
        for one in found.differences
        if one.case.job in titles
    ]
    newest = Section(
        f"The newest {len(jobs)} of these jobs" if len(jobs) > 1 else "The job",
        ("Job", "The provider said", "Changes", "Credits"),
        jobs,
        numbers=frozenset({3}),
        of=Generation,
    )
    return [counts, newest]


def _changes(one: Difference) -> Iterator[str]:
    before, after = one.before, one.after
    if one.case.is_undecided:
        yield f"waits → {after.outcome}" if one.case.is_word else "waits → known, and kept"
        return
    if before.outcome != after.outcome:
        yield f"customer: {before.outcome} → {after.outcome}"
    if before.provider_bills != after.provider_bills:
        yield f"bills us: {before.provider_bills} → {after.provider_bills}"
    if before.sentence != after.sentence:
        yield "another sentence"


def _credits(one: Difference) -> Any:
    if one.back:
        return format_html("−{}", money(one.back))
    return format_html("+{} at most", money(one.charged_at_most)) if one.charged_at_most else NOTHING


class ChangeRule(StaffAct):
    name, title, icon = "rule", "New version", "edit_document"
    sentence = (
        "The rule is superseded by this version, which counts for every answer from then on. Settled jobs keep theirs."
    )
    permission = "generations.change_settlementrule"
    form = RuleForm
    is_for_everyone = True

    def is_offered(self, row: Any) -> bool:
        return row.superseded_at is None

    def initial(self, row: Any) -> dict[str, Any]:
        return _terms(row)

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        return {"rule": str(row.id)} | {name: cleaned[name] for name in TERMS}

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        rule = SettlementRule.objects.get(id=instruction["rule"])
        if rule.superseded_at is not None:
            raise RuleSuperseded
        before = _terms(rule)
        return [
            ("Version", rule.version, rule.version + 1),
            *((TERM_TITLES[name], _said(before[name]), _said(instruction[name])) for name in TERMS),
        ]

    def foresee(self, instruction: dict[str, Any]) -> list[Section]:
        rule = SettlementRule.objects.get(id=instruction["rule"])
        if rule.superseded_at is not None:
            raise RuleSuperseded
        terms = {name: getattr(rule, name) for name in KEY} | {name: instruction[name] for name in TERMS}
        return rehearse(SettlementRule(**terms, version=rule.version + 1), instead_of=rule)


@approvals.act("rule")
def change_rule(instruction: dict[str, Any], asked_by: Any, approved_by: Any) -> str:
    """The old version is superseded and the new one in force, at the same moment."""
    old = SettlementRule.objects.select_for_update().get(id=instruction["rule"])
    if not SettlementRule.objects.filter(id=old.id, superseded_at=None).update(superseded_at=timezone.now()):
        raise RuleSuperseded
    new = SettlementRule.objects.create(
        **{name: getattr(old, name) for name in KEY},
        **{name: instruction[name] for name in TERMS},
        version=old.version + 1,
        made_by=asked_by,
    )
    return f"settlementrule:{new.id}"


class NewRule(StaffAct):
    name, title, icon = "new_rule", "New rule", "add_circle"
    sentence = "A rule for an answer that has none of its own yet. The most exact rule wins."
    permission = "generations.add_settlementrule"
    form = NewRuleForm
    is_for_everyone = True

    def back(self, row: Any) -> str:
        return reverse("admin:generations_settlementrule_changelist")

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        return {name: cleaned[name] for name in (*KEY, *TERMS)}

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        """Which rule speaks for this answer now."""
        asked = {name: None if instruction[name] == ANY else instruction[name] for name in KEY}
        now = settlement.decide(
            SettlementRule.objects.filter(superseded_at=None),
            phase=instruction["phase"],
            provider=asked["provider"] or "",
            operation=asked["operation"] or "",
            status=asked["status"] or "",
            code=asked["code"],
        )
        before = _terms(now.rule) if now.rule else dict.fromkeys(TERMS)
        return [
            ("The rule that speaks for it", str(now.rule or "none: the hold is kept and staff are asked"), "this one"),
            *((TERM_TITLES[name], _said(before[name]), _said(instruction[name])) for name in TERMS),
        ]

    def foresee(self, instruction: dict[str, Any]) -> list[Section]:
        if _in_force(instruction).exists():
            raise RuleKnown
        return rehearse(SettlementRule(**{name: instruction[name] for name in (*KEY, *TERMS)}))

    def prefilled(self, query: QueryDict) -> dict[str, Any]:
        """The answer that a job's page asks about."""
        return {name: query[name][:300] for name in (*KEY, *TERMS, "reason") if name in query}


@approvals.act("new_rule")
def new_rule(instruction: dict[str, Any], asked_by: Any, approved_by: Any) -> str:
    if _in_force(instruction).exists():
        raise RuleKnown
    versions = SettlementRule.objects.filter(**{name: instruction[name] for name in KEY})
    rule = SettlementRule.objects.create(
        **{name: instruction[name] for name in (*KEY, *TERMS)}, version=versions.count() + 1, made_by=asked_by
    )
    return f"settlementrule:{rule.id}"


class InForce(admin.SimpleListFilter):
    title = "version"
    parameter_name = "version"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("all", "All versions"), ("superseded", "Superseded ones")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """In force, unless asked otherwise; a row's own page shows every version."""
        if self.value() == "all":
            return queryset
        return queryset.filter(superseded_at__isnull=self.value() != "superseded")


@admin.register(SettlementRule)
class SettlementRuleAdmin(WithActs, ReadOnly):
    """What an answer of a provider means for the customer, and whether the provider bills us for it."""

    acts = (ChangeRule(),)
    list_acts = (NewRule(),)
    list_before_template = "admin/_acts.html"
    list_display = (
        "answer",
        "provider",
        "operation",
        "outcome_shown",
        "bills_shown",
        "sentence",
        "alerts_shown",
        "version",
    )
    list_filter = (InForce, "phase", "outcome", "provider")
    list_select_related = ("made_by",)
    ordering = ("phase", "status", "code", "provider", "operation", "-version")
    list_per_page = 100
    word_fields = ("status", "code", "provider")
    search_help_text = "A whole status, code or provider"
    fields = (
        "id_shown",
        "phase",
        "provider",
        "operation",
        "status",
        "code",
        "outcome_shown",
        "bills_shown",
        "sentence",
        "alerts_shown",
        "version",
        "made_by",
        "made",
        "superseded",
    )

    @display(description="Id")
    def id_shown(self, row: Any) -> Any:
        return code(row.id)

    @display(description="Answer")
    def answer(self, row: Any) -> str:
        said = row.status if row.code == ANY else f"{row.status} · {row.code}"
        return f"{row.phase}: {said}"

    @display(description="Customer")
    def outcome_shown(self, row: Any) -> Any:
        return tag(row.outcome, {"capture": "ok", "keep": "wait"}.get(row.outcome, ""))

    @display(description="Bills us")
    def bills_shown(self, row: Any) -> str:
        return row.get_provider_bills_display()

    @display(description="Alerts")
    def alerts_shown(self, row: Any) -> str:
        return yes_or_no(row.alerts_staff)

    @display(description="Made")
    def made(self, row: Any) -> Any:
        return when(row.created_at)

    @display(description="Superseded")
    def superseded(self, row: Any) -> Any:
        return when(row.superseded_at)

    def warnings(self, row: Any) -> list[str]:
        if row.superseded_at is not None:
            return ["This version is superseded; jobs that were settled by it keep it."]
        waiting = Approval.objects.filter(act="rule", state="waiting", instruction__rule=str(row.id)).count()
        return waiting_words(waiting, "new version of this rule", "new versions of this rule")

    def sections(self, request: HttpRequest, row: Any) -> list[Section]:
        versions = SettlementRule.objects.filter(**{name: getattr(row, name) for name in KEY}).order_by("-version")
        return [
            Section(
                "Versions",
                ("Version", "Customer", "Bills us", "Sentence", "Made", "Superseded"),
                [
                    [
                        link(one, words=f"Version {one.version}"),
                        self.outcome_shown(one),
                        one.get_provider_bills_display(),
                        one.sentence,
                        when(one.created_at),
                        when(one.superseded_at),
                    ]
                    for one in versions[:50]
                ],
            )
        ]
