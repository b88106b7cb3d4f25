from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from billing import credits, ledger, plans
from billing.models import Payment
from billing.people import make_person, open_account, person_called

PASSWORD = "holdfast-demo"  # noqa: S105 (published, and good only where IS_DEMO says so)
PEOPLE = (
    ("demo@holdfast.example", "300", False),
    ("empty@holdfast.example", "1", False),
    ("staff@holdfast.example", None, True),
    ("second@holdfast.example", None, True),
)


class Command(BaseCommand):
    help = "The people of the README are there, each with their credits; may be repeated, and gives nothing twice."

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.IS_DEMO:
            raise CommandError("Demo people exist only on the embedded database in development (HOLDFAST_DEMO).")
        for email, amount, is_staff in PEOPLE:
            with transaction.atomic():
                person = person_called(email) or make_person(email, password=PASSWORD, is_staff=is_staff)
                if amount is not None:
                    self.give(open_account(person).id, person.pk, email, credits.parse(amount))
        self.stdout.write(f"{len(PEOPLE)} demo people, password {PASSWORD}")

    def give(self, account: UUID, user: int, email: str, amount: int) -> None:
        """Credits once: by the Free plan where its month is just as much, as a gift where not."""
        reference = f"demo:{email}"
        free = plans.free_plan()
        if free is not None and free.monthly_credits == amount:
            if not Payment.objects.filter(reference=reference).exists():
                plans.begin_free(account, user)
        else:
            # Granted once in the world, as a payment is.
            ledger.grant(
                account,
                amount=amount,
                source="gift",
                actor="command",
                payment=reference,
                description="Credits to try Holdfast with",
            )
