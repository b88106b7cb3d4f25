"""Files for libraries that read nothing else."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def scratch_file(suffix: str) -> Iterator[Path]:
    """An empty file, to be written and read. A run deletes nothing, so there it is emptied, and goes with the run."""
    opened, name = tempfile.mkstemp(suffix=suffix)
    os.close(opened)
    path = Path(name)
    try:
        yield path
    finally:
        path.write_bytes(b"")
        with suppress(PermissionError):
            path.unlink()
