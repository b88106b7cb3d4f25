"""The queue's workers as one process group: `python -m config.queue`. The supervisor starts it and watches it."""

import os
import signal
from contextlib import suppress
from typing import Any

import django
from django.db import connections

from config.parent_death import forks_end_with_us
from config.tasks import heartbeat
from generations import providers


def main() -> None:
    """Tasks are taken from the queue until the process is told to end; none of its workers outlives it."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    # These need the apps loaded.
    from django_q.cluster import Cluster
    from django_q.signals import pre_execute

    from config.schedules import begin_sweeps

    providers.load()
    pre_execute.connect(show_life)
    with suppress(Exception):  # else the scheduler begins them, half a minute later
        begin_sweeps()
    connections.close_all()  # none is shared with what is forked from here on
    forks_end_with_us(signal.SIGKILL)
    Cluster().start()


def show_life(**_of_task: Any) -> None:
    """Taking a task is a sign of life: however long the queue, a worker that works through it is not taken for dead."""
    with suppress(Exception):  # a sign that cannot be given stops no task
        heartbeat()


if __name__ == "__main__":
    main()
