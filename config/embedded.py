"""The embedded PostgreSQL: start, stop, find."""

from hashlib import sha256
from pathlib import Path

SOCKET_NAME_BYTES = len("/.s.PGSQL.5432")
SOCKET_PATH_BYTES_MAX = 107


def socket_folder(data_dir: Path) -> Path:
    """Where the server of this data folder listens: in it, or where the path is too long for a socket, under /tmp."""
    folder = data_dir / "run" / "socket"
    if len(bytes(folder)) + SOCKET_NAME_BYTES <= SOCKET_PATH_BYTES_MAX:
        return folder
    return Path("/tmp") / f"holdfast-{sha256(bytes(data_dir)).hexdigest()[:24]}"  # noqa: S108 (0700, owner checked)
