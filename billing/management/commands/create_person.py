from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email
from django.db import transaction

from billing import plans, price_list
from billing.people import make_person, open_account, person_called


class Command(BaseCommand):
    help = "Makes a verified account holder, for scripts: no plan and no credits unless told."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--password", help="left out: none can sign in with until it is reset by mail")
        parser.add_argument("--staff", action="store_true", help="may do everything in the admin")
        parser.add_argument("--plan", help="the plan that they begin with: free")

    def handle(self, email: str, **options: Any) -> None:
        try:
            validate_email(email)
        except ValidationError as error:
            raise CommandError(f"{email!r} is not an e-mail address.") from error
        if options["plan"] not in (None, price_list.FREE):
            raise CommandError(f"Nobody can begin with the plan {options['plan']!r}: only with {price_list.FREE!r}.")
        if options["plan"] and plans.free_plan() is None:
            raise CommandError("There is no Free plan here yet. Run install_plans first.")
        if person_called(email) is not None:
            raise CommandError(f"There is a person with the address {email} already.")
        with transaction.atomic():
            person = make_person(email, password=options["password"], is_staff=options["staff"])
            if options["plan"]:
                plans.begin_free(open_account(person).id, person.pk)
        self.stdout.write(f"{person.email} made")
