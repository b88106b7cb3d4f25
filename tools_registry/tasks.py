"""The queue's side of the studio. A task is a hint: each finds in the rows what is due, and may run twice or never."""

from __future__ import annotations

from . import runs, usual


def sweep() -> None:
    """Runs whose machine is gone were given back, what was kept back for a debt that is repaid is handed out, and
    results that are no longer kept are deleted.
    """
    runs.sweep()
    runs.release_after_debt()
    while runs.forget_old():
        pass


def learn() -> None:
    """What runs usually cost was counted anew."""
    usual.learn()
