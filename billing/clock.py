"""The ledger's clock: the database's, so that every process agrees, and a test can move it."""

from __future__ import annotations

from datetime import datetime

from django.db import connection
from django.db.models import DateTimeField, Func


class Now(Func):
    """The ledger's clock as an expression: real time, also after waiting for a lock.

    It moves while a statement runs, so no index is read by it: what looks for a few due rows among many takes `now()`.
    """

    function = "holdfast_now"
    output_field = DateTimeField()


def now() -> datetime:
    """What the ledger's clock shows; one round trip."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT holdfast_now()")
        (moment,) = cursor.fetchone()
    return moment
