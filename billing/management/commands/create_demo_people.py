from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from billing import credits, ledger
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
                    # Granted once in the world, as a payment is.
                    ledger.grant(
                        open_account(person).id,
                        amount=credits.parse(amount),
                        source="gift",
                        actor="command",
                        payment=f"demo:{email}",
                        description="Credits to try Holdfast with",
                    )
        self.stdout.write(f"{len(PEOPLE)} demo people, password {PASSWORD}")
