"""What Stripe told us, each event as it came: what became of it, and having it applied again."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from unfold.decorators import display

from billing import audit, sales, stripe_inbox
from billing.models import Audit, InboxEvent, Purchase

from .acts import StaffAct, WithActs
from .money import by
from .parts import NOTHING, Figure, ReadOnly, code, document, link, tag, text, when
from .stripe_pages import at_stripe

STATE_TAGS = {"received": "wait", "applied": "ok", "failed": "bad"}


class Replay(StaffAct):
    name, title, icon = "replay", "Apply again", "replay"
    sentence = "The worker applies the event once more, within a minute. What it did already it does not do again."
    permission = "billing.replay_event"
    done = "The event is due again."

    def now(self, row: Any) -> list[Figure]:
        return [
            Figure("Event", row.type),
            Figure("State", row.state),
            Figure("Tried", row.tries),
            Figure("Outcome", text(row.outcome)),
        ]

    def instruction(self, row: Any, cleaned: dict[str, Any]) -> dict[str, Any]:
        return {"event": row.pk}

    def effect(self, instruction: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        event = InboxEvent.objects.defer("payload").get(pk=instruction["event"])
        return [("State", event.state, "received"), ("Tried", event.tries, 0), ("Due", when(event.next_try_at), "now")]

    def carry_out(self, request: HttpRequest, row: Any, cleaned: dict[str, Any]) -> str:
        """Locks the event, so that one form is one act."""
        subject, form = f"inboxevent:{row.pk}"[:200], str(cleaned["once"])
        with transaction.atomic():
            InboxEvent.objects.select_for_update().defer("payload").get(pk=row.pk)
            trail = Audit.objects.filter(act=self.name, actor=by(request.user), subject=subject)
            if trail.filter(facts__form=form).exists():
                return "This was done before; nothing was done twice."
            stripe_inbox.replay(row.pk)
            facts = {"reason": cleaned["reason"], "event": row.pk, "was": row.state, "form": form}
            audit.record(self.name, actor=by(request.user), subject=subject, facts=facts)
        return self.done


@admin.register(InboxEvent)
class InboxEventAdmin(WithActs, ReadOnly):
    """Stripe's events, newest first."""

    acts = (Replay(),)
    list_display = ("type", "event_shown", "state_shown", "outcome_short", "tries", "source", "received")
    list_filter = ("state", "source")
    ordering = ("-received_at",)
    id_fields = ()
    word_fields = ("id", "type")
    search_help_text = "A whole id (evt_…) or type (charge.refunded)"
    fields = (
        "event_shown",
        "type",
        "state_shown",
        "outcome_shown",
        "about_shown",
        "tries",
        "due_shown",
        "source",
        "live_shown",
        "happened",
        "received",
        "applied",
        "payload_shown",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Without the payloads, which only the row's own page reads."""
        return super().get_queryset(request).defer("payload")

    def heading(self, row: Any) -> str:
        return str(row.type)

    def warnings(self, row: Any) -> list[str]:
        if row.state != InboxEvent.State.FAILED:
            return []
        again = " It is tried again by itself." if row.next_try_at else " It is not tried again by itself."
        return [f"It could not be applied: {row.outcome or 'no reason was kept'}.{again}"]

    @display(description="Event")
    def event_shown(self, row: InboxEvent) -> Any:
        return code(row.pk)

    @display(description="State")
    def state_shown(self, row: InboxEvent) -> Any:
        return tag(row.state, STATE_TAGS.get(row.state, ""))

    @display(description="Outcome")
    def outcome_short(self, row: InboxEvent) -> str:
        return text(row.outcome if len(row.outcome) <= 70 else row.outcome[:69] + "…")

    @display(description="Outcome")
    def outcome_shown(self, row: InboxEvent) -> str:
        return text(row.outcome)

    @display(description="About")
    def about_shown(self, row: InboxEvent) -> Any:
        """What of ours the event names, where it does."""
        thing = row.payload.get("data", {}).get("object", {}) if isinstance(row.payload, dict) else {}
        metadata = thing.get("metadata")
        named = sales.named_in(metadata) or sales.named_in({"purchase": thing.get("client_reference_id")})
        intent = sales.name_of(thing.get("payment_intent")) or sales.name_of(thing)
        found = named or sales.paid_by(intent)
        if found is None:
            return NOTHING
        if found.purchase is not None:
            return link(Purchase, found.purchase, f"{found.title}, bought")
        return format_html("{} {}", found.title, code(found.allocation)) if found.allocation else NOTHING

    @display(description="Due")
    def due_shown(self, row: InboxEvent) -> Any:
        return when(row.next_try_at)

    @display(description="Mode")
    def live_shown(self, row: InboxEvent) -> Any:
        return format_html("{} {}", tag("live", "ok") if row.is_live else tag("test"), at_stripe("events", row.pk))

    @display(description="Happened")
    def happened(self, row: InboxEvent) -> Any:
        return when(row.happened_at)

    @display(description="Received")
    def received(self, row: InboxEvent) -> Any:
        return when(row.received_at)

    @display(description="Done with")
    def applied(self, row: InboxEvent) -> Any:
        return when(row.applied_at)

    @display(description="As it came")
    def payload_shown(self, row: InboxEvent) -> Any:
        return document(row.payload)
