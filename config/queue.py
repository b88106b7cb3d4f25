"""The queue's workers as one process group: `python -m config.queue`. The supervisor starts it and watches it."""

import os
import signal

import django

from config.parent_death import forks_end_with_us


def main() -> None:
    """Tasks are taken from the queue until the process is told to end; none of its workers outlives it."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from django_q.cluster import Cluster  # needs the apps loaded

    forks_end_with_us(signal.SIGKILL)
    Cluster().start()


if __name__ == "__main__":
    main()
