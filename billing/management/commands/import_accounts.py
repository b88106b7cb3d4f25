"""Takes over the balances of a replaced system."""

import csv
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email
from django.db import transaction

from billing import audit, clock, credits, ledger
from billing.errors import BillingError
from billing.models import ImportedAccount
from billing.people import make_person, open_account, person_called

COLUMNS = ("email", "credits", "kind", "expires_at", "external_id")
# What exports call them too.
ALIASES = {
    "type": "kind",
    "paid_or_promotional": "kind",
    "amount": "credits",
    "expires": "expires_at",
    "id": "external_id",
}


class WrongRow(Exception):
    """What is wrong with a row, in a sentence."""


@dataclass(frozen=True, slots=True)
class Row:
    email: str
    micro: int
    is_promotional: bool
    expires_at: datetime | None
    external_id: str

    @property
    def fingerprint(self) -> bytes:
        told = [self.email, self.micro, self.is_promotional, self.expires_at and self.expires_at.isoformat()]
        return hashlib.sha256(json.dumps(told).encode()).digest()


class Command(BaseCommand):
    help = (
        "Takes over balances: a CSV with the columns email, credits, kind (paid or promotional), expires_at (may be "
        "empty) and external_id. A row is taken over once, by its external id; the file may be given again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--dry-run", action="store_true", help="says what would happen and changes nothing")

    def handle(self, file: Path, dry_run: bool, **options: Any) -> None:
        rows, wrong = _read(file)
        known = {
            one.external_id: bytes(one.fingerprint)
            for one in ImportedAccount.objects.filter(external_id__in=[row.external_id for _, row in rows])
        }
        for line, row in rows:
            if known.get(row.external_id, row.fingerprint) != row.fingerprint:
                wrong.append(f"line {line}: {row.external_id} was imported before with other values")
        if wrong:
            raise CommandError("Nothing was imported.\n" + "\n".join(wrong))
        new = [row for _, row in rows if row.external_id not in known]
        now = clock.now()
        if not dry_run:
            new = [row for row in new if _take_over(row, now)]
        self._report(rows, new, now, dry_run=dry_run)

    def _report(self, rows: list[tuple[int, Row]], new: list[Row], now: datetime, *, dry_run: bool) -> None:
        ended = sum(1 for row in new if _has_ended(row, now))
        total = sum(row.micro for row in new if not _has_ended(row, now))
        verb = "would be imported" if dry_run else "imported"
        said = f"{len(new)} accounts {verb} with {credits.display(total)} credits, {len(rows) - len(new)} already there"
        self.stdout.write(said + (f", {ended} without credits because they had expired" if ended else ""))


def _has_ended(row: Row, now: datetime) -> bool:
    return row.expires_at is not None and row.expires_at <= now


def _read(file: Path) -> tuple[list[tuple[int, Row]], list[str]]:
    """The rows with their line numbers, and what is wrong with the others."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            return _rows(csv.DictReader(opened, strict=True))
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CommandError(f"{file} cannot be read as CSV in UTF-8: {error}") from error


def _rows(reader: "csv.DictReader[str]") -> tuple[list[tuple[int, Row]], list[str]]:
    names = [name.strip().lower().replace(" ", "_").replace("-", "_") for name in reader.fieldnames or []]
    reader.fieldnames = [ALIASES.get(name, name) for name in names]
    missing = [column for column in COLUMNS if column not in reader.fieldnames]
    if missing:
        raise CommandError(f"The first line must name the columns {', '.join(COLUMNS)}; missing: {', '.join(missing)}.")
    rows: list[tuple[int, Row]] = []
    wrong: list[str] = []
    seen: dict[str, Row] = {}
    for cells in reader:
        try:
            row = _row({name: (value or "").strip() for name, value in cells.items() if isinstance(name, str)})
            if seen.setdefault(row.external_id, row) != row:
                raise WrongRow(f"{row.external_id} stands in the file twice with different values")
        except WrongRow as error:
            wrong.append(f"line {reader.line_num}: {error}")
        else:
            rows.append((reader.line_num, row))
    return rows, wrong


def _row(cells: dict[str, str]) -> Row:
    try:
        validate_email(cells["email"])
        micro = credits.parse(cells["credits"])
    except ValidationError as error:
        raise WrongRow(f"{cells['email']!r} is not an e-mail address") from error
    except credits.InvalidAmount as error:
        raise WrongRow(f"credits {cells['credits']!r}: {error}") from error
    kind = cells["kind"].lower()
    if kind not in ("paid", "promotional"):
        raise WrongRow(f"kind {cells['kind']!r} is neither paid nor promotional")
    if not 1 <= len(cells["external_id"]) <= 200:
        raise WrongRow("external_id must have 1 to 200 characters")
    return Row(cells["email"].lower(), micro, kind == "promotional", _moment(cells["expires_at"]), cells["external_id"])


def _moment(text: str) -> datetime | None:
    """A time, or a day that is still good to its end; UTC where no offset is given."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if len(text) == 10:
            moment += timedelta(days=1)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise WrongRow(f"expires_at {text!r} is no time; write 2027-01-31 or 2027-01-31T12:00:00Z") from error


def _take_over(row: Row, now: datetime) -> bool:
    """The row's person has an account with its credits; False where another run was first.

    The person is new without a password: the way in is a reset by mail, which shows that the address is theirs.
    """
    with transaction.atomic():
        account = open_account(person_called(row.email) or make_person(row.email, password=None))
        terms = {"account": account, "fingerprint": row.fingerprint}
        taken, is_new = ImportedAccount.objects.get_or_create(external_id=row.external_id, defaults=terms)
        if not is_new:
            return False
        if row.micro and not _has_ended(row, now):
            try:
                taken.entry_id = ledger.grant(
                    account.id,
                    amount=row.micro,
                    source="import",
                    is_promotional=row.is_promotional,
                    expires_at=row.expires_at,
                    payment=f"import:{row.external_id}",
                    actor="command",
                    description="Balance taken over",
                )
            except BillingError as error:
                raise CommandError(f"{row.external_id}: {error}") from error
            taken.save(update_fields=["entry"])
        facts = {"external_id": row.external_id, "credits": credits.format(row.micro)}
        audit.record("import", account=account.id, actor="command", amount=row.micro, facts=facts)
    return True
