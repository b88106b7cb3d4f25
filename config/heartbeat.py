"""Finds out whether a worker still works, by giving it something to do.

A cluster of django-q2 whose idle process was killed takes no task any more and looks healthy. So the supervisor puts a
small task into the queue every 30 s, which the worker answers by touching a file. When nothing has come for a while it
knocks faster: where many workers share the queue, another may have taken the task.
"""

import time
from pathlib import Path

from django.conf import settings
from django.db import connection
from django.db.utils import Error
from django_q.tasks import async_task

KNOCK_FAST_SECONDS = 2.0


class Watch:
    """Watches one worker through its heartbeat file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.started()

    def started(self) -> None:
        """The worker has just been started; it has time to show itself."""
        self._alive_at = time.monotonic()
        self._knocked_at = 0.0
        self._seen = self._touched_at()

    def _touched_at(self) -> float:
        try:
            return self.file.stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def stuck(self) -> str | None:
        """Knocks when it is time. Says why the worker must be started again, or None."""
        now = time.monotonic()
        touched_at = self._touched_at()
        if touched_at != self._seen:
            self._seen, self._alive_at = touched_at, now
        silent_seconds = now - self._alive_at
        is_worried = self._seen == 0.0 or silent_seconds > settings.HEARTBEAT_LATE_SECONDS * 2 / 3
        if now - self._knocked_at >= (KNOCK_FAST_SECONDS if is_worried else settings.HEARTBEAT_SECONDS):
            self._knocked_at = now
            if not self._knock():
                self._alive_at = now  # without a queue nobody can answer
                return None
        if silent_seconds > settings.HEARTBEAT_LATE_SECONDS:
            return f"has not answered for {silent_seconds:.0f} s"
        return None

    def _knock(self) -> bool:
        try:
            async_task("config.tasks.heartbeat", save=False)
            return True
        except (Error, OSError):
            return False
        finally:
            connection.close()
