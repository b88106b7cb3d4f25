"""The processes that `up` and `worker` keep alive, as the supervisor takes them."""

import os
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from django.conf import settings

from config.heartbeat import Watch
from config.settings import child_environment
from config.supervisor import Child
from tools_registry import runner

LOCAL_RENDERER = "generations.providers.local_renderer"
REHEARSAL = "generations.providers.stand_ins.rehearsal"
STRIPE = "billing.stripe_stand_in"


@dataclass(frozen=True)
class ToolDoor:
    """The two sides of the door at which tools' runs are asked for. It stays open here, so a runner can be replaced."""

    clients: int
    server: int

    @classmethod
    def made(cls) -> Self:
        return cls(*(side.detach() for side in runner.door()))

    def environment(self) -> dict[str, str]:
        """What tells a child that keeps the clients' side which number it has."""
        return {"HOLDFAST_TOOL_DOOR": str(self.clients)}


def tool_runner(door: ToolDoor) -> Child:
    """The process that runs tools. It is given nothing of our environment."""
    command = runner.command(door.server, whose=str(settings.DATA_DIR))
    return Child("tool runner", command, runner.environment(), keeps=(door.server,))


def web_server(host: str, port: int, door: ToolDoor) -> Child:
    """gunicorn with threads: two processes, so that a slow request never stops the others."""
    figures = settings.RUN_DIR / "metrics"
    figures.mkdir(parents=True, exist_ok=True)
    for left_over in figures.glob("*.db"):
        left_over.unlink()
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    if not settings.EMAIL_URL:
        settings.MAIL_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)  # links that change passwords lie there
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    command = (sys.executable, "-m", "gunicorn", "-c", "python:config.gunicorn", "--workers", "2", "--bind", address)
    environment = child_environment(HOLDFAST_ROLE="web", PROMETHEUS_MULTIPROC_DIR=str(figures), **door.environment())
    return Child("web server", command, environment, keeps=(door.clients,))


def queue_worker(door: ToolDoor) -> Child:
    """The queue's worker processes, watched by their heartbeat."""
    settings.RUN_DIR.mkdir(parents=True, exist_ok=True)
    file = settings.RUN_DIR / f"worker-{os.getpid()}.beat"
    file.unlink(missing_ok=True)
    watch = Watch(file)
    environment = child_environment(HOLDFAST_ROLE="worker", HOLDFAST_HEARTBEAT_FILE=str(file), **door.environment())
    command = (sys.executable, "-m", "config.queue")
    return Child(
        "worker",
        command,
        environment,
        stuck=watch.stuck,
        started=watch.started,
        follows_database=True,
        keeps=(door.clients,),
    )


def local_renderer() -> Child:
    """The process that renders videos on this machine."""
    # Nobody else on this machine reads what has not been paid for yet.
    settings.LOCAL_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = (sys.executable, "-m", LOCAL_RENDERER, str(settings.LOCAL_DIR))
    return Child("local renderer", command, child_environment(HOLDFAST_ROLE="command"))


def rehearsal_provider(port: int) -> Child:
    """The stand-in behind the rehearsal provider."""
    state = settings.DATA_DIR / "rehearsal.sqlite3"
    command = (sys.executable, "-m", REHEARSAL, "--port", str(port), "--state", str(state))
    return Child("rehearsal provider", command, child_environment(HOLDFAST_ROLE="command"))


def rehearsal_stripe(port: int, web: str) -> Child:
    """The small Stripe behind the rehearsal checkout; it tells the web server, at that address, what happened."""
    allowed = next((name for name in settings.ALLOWED_HOSTS if not name.startswith((".", "*"))), "localhost")
    command = (
        sys.executable, "-m", STRIPE, "--port", str(port), "--state", str(settings.DATA_DIR / "stripe.sqlite3"),
        "--webhook-url", f"{web}/webhooks/stripe", "--webhook-host", allowed,
        "--secret-file", str(settings.STRIPE_REHEARSAL_SECRET_FILE), "--key", settings.STRIPE_REHEARSAL_KEY,
        "--api-version", settings.STRIPE_API_VERSION,
    )  # fmt: skip
    return Child("rehearsal Stripe", command, child_environment(HOLDFAST_ROLE="command"))


def free_port(preferred: int = 0) -> int:
    """A port of this machine that nobody listens on: the preferred one, where that is so."""
    for port in (preferred, 0):
        with socket.socket() as listener, suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            return int(listener.getsockname()[1])
    raise OSError("This machine has no free port.")
