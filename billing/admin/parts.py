"""How staff see a row: read only, with amounts, states and links as cells, and what belongs to it underneath.

Whatever came from a customer or from outside is data: every cell is escaped here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlencode
from uuid import UUID

import structlog
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.core.paginator import Paginator
from django.db import OperationalError, transaction
from django.db.models import CharField, Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from psycopg.errors import QueryCanceled
from unfold.admin import ModelAdmin

from billing import credits

log = structlog.get_logger("holdfast.desk")

NOTHING = format_html('<span class="quiet">{}</span>', "–")
ROWS_SHOWN = 10
PAGED_MAX = 5000


# Cells


def money(micro: int | None, kind: str = "") -> SafeString:
    """An amount of credits as people read it."""
    if micro is None:
        return NOTHING
    return format_html('<span class="n {}">{}</span>', kind, credits.display(micro))


def moved(micro: int) -> SafeString:
    """A change of an amount, with its sign."""
    if not micro:
        return format_html('<span class="n quiet">{}</span>', "0.00")
    kind = "plus" if micro > 0 else ""
    return format_html('<span class="n {}">{}</span>', kind, credits.display(micro, signed=True))


def when(moment: datetime | None) -> SafeString:
    """A moment, in UTC, to the second; the year where it is not this one."""
    if moment is None:
        return NOTHING
    shape = "j M H:i:s" if moment.year == timezone.now().year else "j M Y H:i:s"
    return format_html('<time class="n" datetime="{}">{}</time>', moment.isoformat(), date_format(moment, shape))


def tag(word: str, kind: str = "") -> SafeString:
    """A word for a state; `kind` is ok, wait, bad or nothing."""
    return format_html('<span class="tag {}">{}</span>', kind, word.replace("_", " "))


def code(value: Any) -> SafeString:
    """An id, a digest or a provider's word."""
    return format_html("<code>{}</code>", value) if value not in (None, "") else NOTHING


def text(value: Any) -> str:
    """Somebody's words, or a dash."""
    return str(value) if value not in (None, "") else NOTHING


def document(value: Any) -> SafeString:
    """JSON as it stands in the row, readable."""
    if value in (None, {}, []):
        return NOTHING
    return format_html('<pre class="document">{}</pre>', json.dumps(value, indent=2, ensure_ascii=False, default=str))


def yes_or_no(value: bool | None) -> str:
    return "yes" if value else NOTHING if value is None else "no"


def address(of: type[Model] | Model, pk: Any = None) -> str:
    """Where staff see that row."""
    name = f"admin:{of._meta.app_label}_{of._meta.model_name}_change"
    return reverse(name, args=[quote(of.pk if pk is None else pk)])


def link(of: type[Model] | Model, pk: Any = None, words: Any = None) -> SafeString:
    """A link to a row; a dash where there is none."""
    if pk is None and isinstance(of, type):
        return NOTHING
    pk = of.pk if pk is None else pk
    return format_html('<a class="row-link" href="{}">{}</a>', address(of, pk), words or short(pk))


def short(pk: Any) -> str:
    """An id's end, which tells rows of one day apart; the whole id stands on the row's own page."""
    return f"…{str(pk)[-8:]}" if isinstance(pk, UUID) else str(pk)


def listing(of: type[Model], **filters: Any) -> str:
    """The address of the list, filtered."""
    return reverse(f"admin:{of._meta.app_label}_{of._meta.model_name}_changelist") + "?" + urlencode(filters)


def lines(parts: Iterable[Any]) -> SafeString:
    """Several cells in one, under each other."""
    return format_html_join("", "<div>{}</div>", ((part,) for part in parts)) or NOTHING


def waiting_words(count: int, one: str, several: str) -> list[str]:
    """The warning that so many of these wait for a second person; none where there are none."""
    what = f"1 {one} waits" if count == 1 else f"{count} {several} wait"
    return [f"{what} for a second person, under Approvals."] if count else []


# What stands around the fields of a row's page


@dataclass(frozen=True, slots=True)
class Figure:
    title: str
    value: Any
    note: Any = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A table under the fields: the newest rows that belong to this one, and where all of them are."""

    title: str
    headers: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    all_url: str = ""
    empty: str = "Nothing yet."
    # Headers whose cells are numbers, by position.
    numbers: frozenset[int] = frozenset()
    # Whose rows they are: who may not look at those does not see them here.
    of: type[Model] | None = None
    # Instead of rows: a story, as _trail.html tells it.
    trail: Sequence[Any] = field(default=())
    # Instead of rows: counts and sums, each with its title.
    facts: Sequence[tuple[str, Any]] = field(default=())

    @property
    def columns(self) -> list[tuple[str, bool]]:
        return [(header, at in self.numbers) for at, header in enumerate(self.headers)]

    @property
    def cells(self) -> list[list[tuple[str, bool, Any]]]:
        return [[(*column, cell) for column, cell in zip(self.columns, row, strict=True)] for row in self.rows]


def may_look_at(request: HttpRequest, of: type[Model]) -> bool:
    """Whether this person may look at the rows of that table."""
    return request.user.has_perm(f"{of._meta.app_label}.view_{of._meta.model_name}")


def may_see(request: HttpRequest, sections: Iterable[Section]) -> list[Section]:
    """The sections whose rows this person may look at."""
    return [section for section in sections if section.of is None or may_look_at(request, section.of)]


Said = TypeVar("Said")


def in_time(ask: Callable[[], Said], what: str) -> Said | None:
    """What was asked for; None where the database stopped the question: a page's statements have a few seconds."""
    try:
        with transaction.atomic():
            return ask()
    except OperationalError as error:
        if not isinstance(error.__cause__, QueryCanceled):
            raise
        log.warning("not_in_time", what=what)
        return None


FromAbove = Callable[[Any], list[Section]]
"""Sections that a room above adds to a row of this one."""


class Newest(Paginator):
    """The first PAGED_MAX rows in pages; counting stops there, so that a list of millions opens as fast as any."""

    @cached_property
    def count(self) -> int:
        return int(self.object_list[:PAGED_MAX].count())  # type: ignore[attr-defined]


class AmongNewest(admin.AllValuesFieldListFilter):
    """The words that the newest PAGED_MAX rows have in that column: the others are not read."""

    def __init__(
        self, field: Any, request: HttpRequest, params: Any, model: Any, model_admin: Any, field_path: str
    ) -> None:
        super().__init__(field, request, params, model, model_admin, field_path)
        newest = model_admin.get_queryset(request).order_by(*model_admin.get_ordering(request))
        self.lookup_choices = sorted(set(newest.values_list(field_path, flat=True)[:PAGED_MAX]))


class ReadOnly(ModelAdmin):
    """A list and a page to look at. Nothing is added, changed or deleted here; what staff do has its own page."""

    actions = None
    paginator = Newest
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    ordering = ("-id",)
    # In the one order that an index gives.
    sortable_by: Any = ()
    list_fullwidth = True
    # Columns that a pasted id is compared with.
    id_fields: ClassVar[tuple[str, ...]] = ("id",)
    # Columns that other words are compared with, whole.
    word_fields: ClassVar[tuple[str, ...]] = ()
    change_form_template = "admin/row.html"
    from_above: ClassVar[list[FromAbove]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.from_above = []

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_list_filter(self, request: HttpRequest) -> Sequence[Any]:
        return [(one, AmongNewest) if self._is_open_word(one) else one for one in super().get_list_filter(request)]

    def _is_open_word(self, name: Any) -> bool:
        """Whether it is a column of words that are listed nowhere."""
        field = self.model._meta.get_field(name) if isinstance(name, str) else None
        return isinstance(field, CharField) and not field.choices

    def get_search_fields(self, request: HttpRequest) -> Sequence[str]:
        return (*self.id_fields, *self.word_fields)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Rows with this id, or with these words. Exact, and a question for each column, so that its index answers."""
        term = search_term.strip()
        if not term:
            return queryset, False
        wanted: dict[str, Any] = {
            name: term for name in self.word_fields if "@" in term or not name.endswith("email__iexact")
        }
        with suppress(ValueError):
            wanted |= dict.fromkeys(self.id_fields, UUID(term))
        found = [self.model._default_manager.filter(**{name: value}).order_by() for name, value in wanted.items()]
        ids = [rows.values("pk") for rows in found]
        return queryset.filter(pk__in=ids[0].union(*ids[1:]) if ids else []), False

    # What stands on the page, for each kind of row

    def figures(self, row: Any) -> list[Figure]:
        return []

    def heading(self, row: Any) -> str:
        return str(row)

    def warnings(self, row: Any) -> list[str]:
        return []

    def sections(self, request: HttpRequest, row: Any) -> list[Section]:
        return []

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        answer = super().change_view(request, object_id, form_url, extra_context)
        if isinstance(answer, TemplateResponse) and answer.context_data and "original" in answer.context_data:
            row = answer.context_data["original"]
            sections = may_see(
                request,
                [*self.sections(request, row), *(section for more in self.from_above for section in more(row))],
            )
            answer.context_data |= {
                "title": self.heading(row),
                "subtitle": None,
                "figures": self.figures(row),
                "warnings": self.warnings(row),
                # The story stands before the row's fields, the tables after them.
                "stories": [section for section in sections if section.trail],
                "sections": [section for section in sections if not section.trail],
                "show_close": False,
            }
        return answer
