from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import audit, credits, people, tokens
from billing.models import Token
from billing.people import person_called


class Command(BaseCommand):
    help = "Prints a new API token of a person, and nothing else."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--scope", choices=[scope.value for scope in Token.Scope], default="spend")
        parser.add_argument("--name", default="made by the operator")
        service = parser.add_argument_group("a service's token")
        service.add_argument("--source", help="the name that it acts under (default: the address)")
        service.add_argument("--operation", action="append", help="what it may do (default: hold)")
        service.add_argument("--amount-max", default="10000", help="its largest hold, in credits (default: 10000)")
        service.add_argument("--day-max", default="100000", help="what it may commit in a day (default: 100000)")

    def handle(self, email: str, scope: str, **options: Any) -> None:
        person = person_called(email)
        if person is None:
            raise CommandError(f"There is nobody with the address {email}.")
        bounds: dict[str, Any] = {}
        if scope == Token.Scope.SERVICE:
            bounds = {
                "source": options["source"] or person.email[:80],
                "operations": options["operation"] or ["hold"],
                "amount_max": _amount(options["amount_max"]),
                "day_max": _amount(options["day_max"]),
            }
        account = people.open_account(person)
        token, text = tokens.make(person, account, name=options["name"][:100], scope=scope, **bounds)
        audit.record("make_token", account=account.id, actor="command", subject=f"token:{token.id}")
        self.stdout.write(text)


def _amount(text: str) -> int:
    try:
        return credits.parse(text)
    except credits.InvalidAmount as error:
        raise CommandError(f"{text!r}: {error}") from error
