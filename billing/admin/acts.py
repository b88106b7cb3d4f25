"""What staff do, each on a page of its own: a form, then what it will change, then it is done, once.

The page asks for a permission of its own. The act itself stands in the registry of `approvals.py`, so that it is
carried out in the same way at once and on a second person's word. Every form carries an id of its own: the same form
sent twice is one act.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.views.decorators.csrf import csrf_protect
from unfold.widgets import (
    INPUT_CLASSES,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from billing import approvals, audit, credits, errors, ledger
from billing import money as prices
from billing.models import Approval, new_id

from .parts import Figure, Section, address, may_see

# Form fields


class CreditsField(forms.Field):
    """Credits as a plain decimal; the cleaned value is microcredits."""

    widget = UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal", "autocomplete": "off"})

    def __init__(self, *, may_be_zero: bool = False, **options: Any) -> None:
        self.may_be_zero = may_be_zero
        super().__init__(**options)

    def to_python(self, value: Any) -> int | None:
        written = str(value or "").strip()
        if not written:
            return None
        try:
            micro = credits.parse(written)
        except credits.InvalidAmount as error:
            raise forms.ValidationError(str(error), code="invalid_amount") from error
        if micro == 0 and not self.may_be_zero:
            raise forms.ValidationError("Write more than zero.", code="invalid_amount")
        return micro


class PriceField(forms.Field):
    """Money as a plain decimal; the cleaned value is whole smallest units. What would need rounding is refused."""

    widget = UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal", "autocomplete": "off"})

    def __init__(self, *, may_be_zero: bool = False, currency: str = "gbp", **options: Any) -> None:
        self.may_be_zero, self.currency = may_be_zero, currency
        super().__init__(**options)

    def to_python(self, value: Any) -> int | None:
        written = str(value or "").strip()
        if not written:
            return None
        try:
            minor = prices.parse(written, self.currency)
        except ValueError as error:
            raise forms.ValidationError(str(error), code="invalid_price") from error
        if minor > prices.MINOR_MAX or (minor == 0 and not self.may_be_zero):
            raise forms.ValidationError("Write more than zero, and less than a million.", code="invalid_price")
        return minor


class ReasonField(forms.CharField):
    """Why, in writing. Goes on the statement's line where there is one, and into the audit trail."""

    def __init__(self, **options: Any) -> None:
        defaults = {
            "label": "Reason",
            "help_text": "Why, in a sentence. It stands in the audit trail for ever.",
            "max_length": 1000,
            "widget": UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        }
        super().__init__(**defaults | options)

    def clean(self, value: Any) -> Any:
        if "\x00" in str(value):
            raise forms.ValidationError("The text has a character that cannot be stored.")
        return super().clean(value)


class ActForm(forms.Form):
    """Every act has a reason, asked for last, and an id that makes it happen once."""

    reason = ReasonField()
    once = forms.UUIDField(widget=forms.HiddenInput)

    def __init__(self, *arguments: Any, row: Any, **options: Any) -> None:
        self.row = row
        super().__init__(*arguments, **options)
        self.order_fields([name for name in self.fields if name != "reason"])


def choice(label: str, choices: Sequence[tuple[str, str]], **options: Any) -> forms.ChoiceField:
    return forms.ChoiceField(label=label, choices=choices, widget=UnfoldAdminSelectWidget, **options)


class Moment(forms.DateTimeInput):
    input_type = "datetime-local"

    def __init__(self) -> None:
        super().__init__(attrs={"class": " ".join(INPUT_CLASSES)}, format="%Y-%m-%dT%H:%M")


def moment(label: str, **options: Any) -> forms.DateTimeField:
    return forms.DateTimeField(label=label, widget=Moment, **options)


def words(label: str, **options: Any) -> forms.CharField:
    return forms.CharField(label=label, widget=UnfoldAdminTextInputWidget, **options)


class Whole(forms.IntegerField):
    widget = UnfoldAdminTextInputWidget(attrs={"inputmode": "numeric", "autocomplete": "off"})


def tick(label: str, **options: Any) -> forms.BooleanField:
    return forms.BooleanField(label=label, required=False, widget=UnfoldBooleanWidget, **options)


# Acts

STAFF_ACTS: dict[str, StaffAct] = {}
"""Every act by its name: an approval shows what it would change."""


class StaffAct(ABC):
    """One thing that staff do to a row. The name is its address under the row and its name in the registry."""

    name: ClassVar[str]
    title: ClassVar[str]
    # What happens, in a sentence or two, above the form.
    sentence: ClassVar[str]
    permission: ClassVar[str]
    icon: ClassVar[str] = ""
    is_dangerous: ClassVar[bool] = False
    form: ClassVar[type[ActForm]] = ActForm
    done: ClassVar[str] = "Done."
    # It changes a price or rule in force, and so always waits for a second person.
    is_for_everyone: ClassVar[bool] = False
    # What it gives away is no account's yet.
    is_at_large: ClassVar[bool] = False

    def __init__(self) -> None:
        STAFF_ACTS[self.name] = self

    def is_offered(self, row: Any) -> bool:
        """Whether the act makes sense for the row as it is now. Its page can be opened all the same."""
        return True

    def account(self, row: Any) -> UUID | None:
        """Whose account it is done to; None for what is done to a tool, a price, an event: to no one's."""
        return None

    def initial(self, row: Any) -> dict[str, Any]:
        return {}

    def prefilled(self, query: QueryDict) -> dict[str, Any]:
        """What a link to the page fills in; a person reads it before anything is done."""
        return {}

    @abstractmethod
    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        """All that carrying it out needs, as text and numbers."""

    def amount(self, row: Any, cleaned: dict[str, Any]) -> int:
        """Microcredits that it creates or forgives: what counts toward the sum for which one person is enough."""
        return 0

    def now(self, row: Any) -> list[Figure]:
        """What stands, above the form."""
        return []

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        """What carrying it out changes, as things stand now: title, before, after."""
        return []

    def foresee(self, instruction: dict[str, Any]) -> list[Section]:
        """What else helps to decide, for who asks and for the second person: what it would have changed before."""
        return []

    def carry_out(self, request: HttpRequest, row: Any, cleaned: dict[str, Any]) -> str | HttpResponse:
        """The act is done, or waits: ApprovalNeeded; or it is refused. Returns the sentence for who did it.

        What is shown only once is a page of its own, returned instead.
        """
        instruction, reason, once = self.instruction(row, cleaned), cleaned["reason"], cleaned["once"]
        if self.is_for_everyone:
            approvals.ask(self.name, request.user, instruction, reason, once=once)
        account, amount = self.account(row), self.amount(row, cleaned)
        if self.is_at_large:
            approvals.ask_or_do_at_large(self.name, request.user, amount, instruction, reason, once=once)
            return self.done
        assert account is not None, f"{self.name} does not say whose account it is done to"
        made = approvals.ask_or_do(self.name, account, request.user, amount, instruction, reason, once=once)
        return "This was done before; nothing was done twice." if isinstance(made, ledger.Repeat) else self.done

    def waits(self, request: HttpRequest, row: Any, cleaned: dict[str, Any]) -> bool:
        """Whether it will have to wait for a second person, as things stand now."""
        if self.is_for_everyone:
            return True
        amount = self.amount(row, cleaned)
        return amount > 0 and approvals.done_today(self.account(row), request.user) + amount > approvals.alone_max()

    def back(self, row: Any) -> str:
        """Where its person goes from here."""
        return address(row)


class WithActs:
    """An admin whose rows have acts. Mixed in before the admin's own class."""

    acts: ClassVar[tuple[StaffAct, ...]] = ()
    # Acts on the whole list: their row is None.
    list_acts: ClassVar[tuple[StaffAct, ...]] = ()

    def get_urls(self) -> list[URLPattern]:
        opts = self.model._meta  # type: ignore[attr-defined]
        view = self.admin_site.admin_view(csrf_protect(self.act_view))  # type: ignore[attr-defined]
        ours = [
            path(
                f"act/{act.name}/",
                view,
                {"act": act, "object_id": None},
                name=f"{opts.app_label}_{opts.model_name}_{act.name}",
            )
            for act in self.list_acts
        ]
        ours += [
            path(
                f"<path:object_id>/{act.name}/",
                view,
                {"act": act},
                name=f"{opts.app_label}_{opts.model_name}_{act.name}",
            )
            for act in self.acts
        ]
        return [*ours, *super().get_urls()]  # type: ignore[misc]

    def buttons(self, request: HttpRequest, row: Any) -> list[dict[str, Any]]:
        """The acts that this person may do to this row now."""
        opts = self.model._meta  # type: ignore[attr-defined]
        return [
            {
                "title": act.title,
                "icon": act.icon,
                "is_dangerous": act.is_dangerous,
                "url": reverse(
                    f"admin:{opts.app_label}_{opts.model_name}_{act.name}", args=[] if row is None else [quote(row.pk)]
                ),
            }
            for act in (self.list_acts if row is None else self.acts)
            if request.user.has_perm(act.permission) and act.is_offered(row)
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        answer = super().change_view(request, object_id, form_url, extra_context)  # type: ignore[misc]
        if isinstance(answer, TemplateResponse) and answer.context_data and "original" in answer.context_data:
            answer.context_data["acts"] = self.buttons(request, answer.context_data["original"])
        return answer

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        acts = {"acts": self.buttons(request, None)} if self.list_acts else {}
        return super().changelist_view(request, (extra_context or {}) | acts)  # type: ignore[misc]

    def act_view(self, request: HttpRequest, act: StaffAct, object_id: str | None) -> HttpResponse:
        """GET and a first POST change nothing: form, then what it would do. `step=do` does it."""
        if not request.user.has_perm(act.permission):
            raise PermissionDenied
        row = None
        if object_id is not None:
            row = self.get_object(request, unquote(object_id))  # type: ignore[attr-defined]
            if row is None:
                raise Http404
        form = act.form(row=row, initial={"once": new_id(), **act.initial(row), **act.prefilled(request.GET)})
        refusal: errors.BillingError | None = None
        is_checked = False
        if request.method == "POST":
            form = act.form(request.POST, row=row)
            step = request.POST.get("step")
            if form.is_valid() and step == "do":
                try:
                    said = act.carry_out(request, row, form.cleaned_data)
                    if isinstance(said, HttpResponse):
                        return said
                    messages.success(request, said)
                    return HttpResponseRedirect(act.back(row))
                except errors.ApprovalNeeded as waiting:
                    messages.warning(request, _waits_now(waiting))
                    return HttpResponseRedirect(act.back(row))
                except errors.BillingError as refused:
                    refusal = refused
                    self._note_refusal(request, act, row, refused)
            elif step != "change":
                is_checked = form.is_valid()
        return self._act_page(request, act, row, form, is_checked, refusal)

    def _note_refusal(self, request: HttpRequest, act: StaffAct, row: Any, refused: errors.BillingError) -> None:
        audit.record(
            act.name,
            account=act.account(row),
            actor=f"user:{request.user.pk}",
            is_refusal=True,
            code=refused.code,
            subject=f"{row._meta.model_name}:{row.pk}" if row is not None else "",
            facts=refused.facts,
            request_id=getattr(request, "request_id", ""),
        )

    def _act_page(
        self,
        request: HttpRequest,
        act: StaffAct,
        row: Any,
        form: ActForm,
        is_checked: bool,
        refusal: errors.BillingError | None,
    ) -> HttpResponse:
        effect: list[tuple[str, Any, Any]] = []
        foreseen: list[Section] = []
        waits = False
        if is_checked:
            try:
                instruction = act.instruction(row, form.cleaned_data)
                effect = act.effect(instruction)
                foreseen = may_see(request, act.foresee(instruction))
                waits = act.waits(request, row, form.cleaned_data)
            except errors.BillingError as refused:
                refusal, is_checked = refused, False
        context = {
            **self.admin_site.each_context(request),  # type: ignore[attr-defined]
            "opts": self.model._meta,  # type: ignore[attr-defined]
            "title": act.title,
            "act": act,
            "row": row,
            "original": row,
            "back": act.back(row),
            "form": form,
            "written": _written(form) if is_checked else [],
            "is_checked": is_checked,
            "now": act.now(row),
            "effect": effect,
            "sections": foreseen,
            "waits": waits,
            "alone_max": credits.display(approvals.alone_max()),
            "refusal": refusal,
            "refusal_facts": _facts(refusal),
        }
        request.current_app = self.admin_site.name  # type: ignore[attr-defined]
        return TemplateResponse(request, "admin/act.html", context, status=409 if refusal else 200)


def _waits_now(waiting: errors.ApprovalNeeded) -> str:
    page = address(Approval, waiting.facts["approval"])
    return format_html(
        'Nothing was done yet: a second person must approve this. <a class="row-link" href="{}">See what waits</a>.',
        page,
    )


def _facts(refusal: errors.BillingError | None) -> list[tuple[str, Any]]:
    """What the refusal knows, for the page: "available: 3"."""
    if refusal is None:
        return []
    return [
        (name.replace("_", " "), value.isoformat() if isinstance(value, datetime) else value)
        for name, value in refusal.facts.items()
        if value not in (None, "") and not isinstance(value, dict | list)
    ]


def _written(form: ActForm) -> list[tuple[str, str]]:
    """What was filled in, in words, for the page that asks for confirmation."""
    said = []
    for bound in form.visible_fields():
        value = form.cleaned_data.get(bound.name)
        if isinstance(bound.field, CreditsField):
            value = None if value is None else f"{credits.display(value)} credits"
        elif isinstance(bound.field, PriceField):
            currency = form.cleaned_data.get("currency") or bound.field.currency
            value = None if value is None else prices.words(value, currency)
        elif isinstance(value, list):
            value = " · ".join(value)
        elif isinstance(bound.field, forms.ChoiceField):
            value = dict(bound.field.choices).get(value, value)  # type: ignore[arg-type]
        elif isinstance(value, dict):
            value = json.dumps(value, indent=2, ensure_ascii=False)
        elif isinstance(value, bool):
            value = "yes" if value else "no"
        elif isinstance(value, datetime):
            value = f"{value:%-d %b %Y, %H:%M} UTC"
        said.append((str(bound.label), "–" if value in (None, "") else str(value)))
    return said
