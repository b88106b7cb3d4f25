"""The rules that settle jobs. A rule is never edited: a new version supersedes it, by two people."""

from __future__ import annotations

import re
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from unfold.decorators import display

from billing import approvals, errors
from billing.admin.acts import ActForm, StaffAct, WithActs, choice, tick, words
from billing.admin.parts import (
    ReadOnly,
    Section,
    code,
    link,
    tag,
    when,
    yes_or_no,
)
from billing.models import Approval
from generations import settlement
from generations.models import ANY, SettlementRule


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
        if cleaned.get("outcome") == "capture" and not self.errors:
            phase, status = self.answer(cleaned)
            if phase != "poll" or status not in ("completed", "incomplete"):
                self.add_error(
                    "outcome", "Only the provider’s own success, “completed” or “incomplete”, is charged for."
                )
        return cleaned


WORD = re.compile(r"[a-z0-9][a-z0-9_./-]{0,99}")


class NewRuleForm(RuleForm):
    phase = choice("When it is said", [("poll", "Asked about the job"), ("submit", "Submitting it")])
    provider = words("Provider", initial=ANY, max_length=50, help_text="Its name, or “any”.")
    operation = words("Operation", initial=ANY, max_length=100, help_text="For example ai/video, or “any”.")
    status = words("Status", max_length=50, help_text="The provider’s word, an HTTP status, 5xx, timeout, or “any”.")
    code = words("Error code", initial=ANY, max_length=100, help_text="The provider’s code, or “any”.")

    field_order = ("phase", "provider", "operation", "status", "code")

    def answer(self, cleaned: dict[str, Any]) -> tuple[str, str]:
        return cleaned["phase"], cleaned["status"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        for name in ("provider", "operation", "status", "code"):
            if name in cleaned and not WORD.fullmatch(cleaned[name]):
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
        return [f"{waiting} new version of this rule waits for a second person, under Approvals."] if waiting else []

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
