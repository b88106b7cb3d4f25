"""The verbs of the ledger as instructions: what a caller asks for, before anything is decided.

Amounts are microcredits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One verb. `actor` is who did it ("user:7", "token:…", "job", "clock"); `user` the member it counts for."""

    actor: str = "ledger"
    user: int | None = None
    description: str = ""
    reason: str = ""
    occurred_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant(Step):
    """A new lot. With `payment`, at most once in the world."""

    amount: int
    source: str
    is_promotional: bool = False
    priority: int = 50
    expires_at: datetime | None = None
    payment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend(Step):
    """Takes what is available. Unless it `takes_free_credits`, what cost nothing (plan and promotional credits) pays it
    only once the account has paid for something.

    A hold keeps that term: its capture takes what the hold was given, whatever became of the payment since; a late
    capture takes anew, and is asked anew."""

    amount: int
    takes_free_credits: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceHold(Spend):
    reference: str
    owner: str
    expires_in_seconds: int
    id: UUID | None = None
    label: str = ""
    link: str = ""
    price_version: UUID | None = None
    is_envelope: bool = False
    shares: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OfHold(Step):
    """A verb on one hold; `owner`, where given, must be the hold's own."""

    hold: UUID
    owner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenShare(OfHold):
    reference: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseShare(OfHold):
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw(OfHold):
    reference: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture(OfHold):
    """`amount` None captures all that is left."""

    amount: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(OfHold):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpireHold(OfHold):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Renew(OfHold):
    """Moves the hold's end to `expires_in_seconds` from now, never earlier than it was; no line is written."""

    expires_in_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureLate(OfHold):
    amount: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge(Spend):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund(Step):
    """Gives back `amount` (None: what is left) of the spending line `entry`."""

    entry: UUID
    amount: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpireLots(Step):
    """Expires what is due; every verb does so first, this one does nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfPayment(Step):
    payment: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep(OfPayment):
    """So much of the payment's credits that expired is there again: a new lot, tied to that payment."""

    amount: int
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze(OfPayment):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Thaw(OfPayment):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class ClawBack(OfPayment):
    """`id` is the refund row's: once in the world."""

    id: UUID
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore(Step):
    claw_back: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjust(Step):
    """Staff's correction, with a reason: a positive amount makes a lot, a negative one takes free credits."""

    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgive(Step):
    amount: int
