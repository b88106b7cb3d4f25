"""Links to outputs: signed, short-lived, and of use to nobody but the account that the output belongs to."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.core import signing
from django.urls import reverse

from .models import Output

_signer = signing.TimestampSigner(salt="holdfast.output")


def output_url(output: Output) -> str:
    """The path under which the output can be had for OUTPUT_LINK_SECONDS, by its account's people and tokens.

    `?download=1` asks for it as a file. Only a released output that is still kept should be linked.
    """
    return reverse("output", kwargs={"signed": _signer.sign(output.id.hex)})


def linked_output(signed: str, account: UUID) -> Output | None:
    """The output that a link names; None where the link is forged or old, or the output not the account's to have."""
    try:
        name = UUID(_signer.unsign(signed, max_age=settings.OUTPUT_LINK_SECONDS))
    except (signing.BadSignature, ValueError):
        return None
    kept = Output.objects.filter(account_id=account, released_at__isnull=False, deleted_at=None)
    return kept.filter(id=name).select_related("generation").first()
