from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from billing import audit, clock, credits, ledger, people
from billing.errors import BillingError
from billing.models import Account
from billing.people import person_called


class Command(BaseCommand):
    help = "Gives a person's own account credits; the reason stands on the statement."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("amount", help="credits, as a plain decimal")
        parser.add_argument("--reason", required=True)
        parser.add_argument("--expires-in-days", type=int)
        parser.add_argument("--promotional", action="store_true")

    def handle(self, email: str, amount: str, reason: str, **options: Any) -> None:
        person = person_called(email)
        if person is None:
            raise CommandError(f"There is nobody with the address {email}.")
        days = options["expires_in_days"]
        if days is not None and not 1 <= days <= 36_500:
            raise CommandError("--expires-in-days: from 1 to 36500.")
        if not reason.strip():
            raise CommandError("--reason: write why, in a sentence.")
        try:
            micro = credits.parse(amount)
            with transaction.atomic():
                account = people.open_account(person)
                line = ledger.grant(
                    account.id,
                    amount=micro,
                    source="promotion" if options["promotional"] else "staff",
                    is_promotional=options["promotional"],
                    expires_at=clock.now() + timedelta(days=days) if days else None,
                    actor="command",
                    description="Credits added",
                    reason=reason,
                )
                audit.record(
                    "grant",
                    account=account.id,
                    actor="command",
                    amount=micro,
                    subject=f"entry:{line}",
                    facts={"reason": reason},
                )
        except (credits.InvalidAmount, BillingError) as error:
            raise CommandError(f"{amount!r}: {error}") from error
        available = Account.objects.get(id=account.id).available
        self.stdout.write(
            f"{person.email}: {credits.display(micro)} credits added, {credits.display(available)} available"
        )
