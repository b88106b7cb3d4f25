"""Everything, in the foreground."""

import fcntl
import http.client
import os
import signal
import socket
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection

from config import children
from config.embedded import EmbeddedError, Server, prepare_folders
from config.preparation import prepare_database
from config.settings import is_loopback
from config.supervisor import Child, GaveUp, Supervisor, Told, end_when_told

LAST_ONE_SECONDS = 3.0  # how long the one before, killed a moment ago, may still be going down
ANSWER_SECONDS = 60.0


class Command(BaseCommand):
    help = "Starts everything: database, migrations, catalogue, demo people, web server, worker. Ctrl-C ends all of it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)

    def handle(self, *args: Any, **options: Any) -> None:
        host, port = options["host"], options["port"]
        if settings.IS_DEMO and not is_loopback(host):
            raise CommandError(
                f"--host {host} is reachable from outside while the demo people and the rehearsal provider are on. "
                "Leave --host out, or set HOLDFAST_DEMO=false."
            )
        end_when_told()
        server = Server(settings.DATA_DIR) if settings.DATABASE_IS_EMBEDDED else None
        supervisor: Supervisor | None = None
        try:
            if server is not None:
                prepare_folders(settings.DATA_DIR, self.say)
            with only_one_here(settings.DATA_DIR):
                wait_for_free_port(host, port)
                self.start_database(server)
                supervisor = Supervisor(self.make_children(host, port), server, self.say)
                supervisor.start()
                self.wait_for_answer(supervisor, host, port)
                supervisor.run()
        except Told as told:
            self.say(f"{told}: ending everything.")
        except (EmbeddedError, GaveUp) as error:
            self.say(str(error))
            sys.exit(1)
        except OperationalError as error:
            self.say(f"The database does not answer ({' '.join(str(error).split())}). Check DATABASE_URL.")
            sys.exit(1)
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            if supervisor is not None:
                supervisor.stop()
            elif server is not None:
                server.stop()

    def say(self, sentence: str) -> None:
        """Tells the person at the terminal."""
        with suppress(OSError):
            self.stderr.write(sentence)

    def start_database(self, server: Server | None) -> None:
        """The database answers, is safe, and has everything that this version needs."""
        if server is not None and not server.start(say=self.say):
            self.say("Another command runs the database of this folder; waiting for it to end.")
            if not server.start(wait_seconds=30, say=self.say):
                raise EmbeddedError(f"The database of {settings.DATA_DIR} is still in use; end that command first.")
        self.check(databases=["default"])
        prepare_database(self.say)
        call_command("install_catalogue", stdout=self.stderr)
        call_command("install_plans", stdout=self.stderr)
        if settings.IS_DEMO:
            call_command("create_demo_people", stdout=self.stderr)
        if settings.IS_PRODUCTION:
            call_command("collectstatic", interactive=False, verbosity=0)
        connection.close()

    def make_children(self, host: str, port: int) -> list[Child]:
        """What the supervisor keeps alive besides the database."""
        door = children.ToolDoor.made()
        found = [
            children.tool_runner(door),
            children.web_server(host, port, door),
            children.queue_worker(door),
            children.local_renderer(),
        ]
        url_file = settings.RUN_DIR / "rehearsal.url"
        url_file.unlink(missing_ok=True)
        if settings.REHEARSAL_IS_OURS:
            rehearsal_port = children.free_port()
            url_file.write_text(f"http://127.0.0.1:{rehearsal_port}\n")
            found.insert(0, children.rehearsal_provider(rehearsal_port))
        if settings.STRIPE_REHEARSAL:
            found.insert(0, children.rehearsal_stripe(stripe_port(), address(host, port)))
        return found

    def wait_for_answer(self, supervisor: Supervisor, host: str, port: int) -> None:
        """The web server answers, and the person has been told where."""
        until = time.monotonic() + ANSWER_SECONDS
        supervisor.run(is_over=lambda: answers(host, port) or time.monotonic() > until)
        if not answers(host, port):
            raise GaveUp(f"The web server did not answer within {ANSWER_SECONDS:.0f} s.")
        if settings.IS_DEMO:
            self.stdout.write(
                "demo sign-in: demo@holdfast.example, password holdfast-demo (staff@holdfast.example at /admin/)"
            )
        elif not settings.IS_PRODUCTION:
            self.stdout.write("no demo people here: HOLDFAST_DEMO is off, or DATABASE_URL is set")
        if settings.HAS_DEV_MAIL:
            self.stdout.write("mails that would be sent: /dev/mail")
        self.stdout.write(f"ready {address(host, port)}")
        self.stdout.flush()


def stripe_port() -> int:
    """Where the small Stripe will listen, said in a file; the port of the last time if it is free, for old receipts."""
    file = settings.RUN_DIR / "stripe.url"
    before = file.read_text().strip().rpartition(":")[2] if file.is_file() else ""
    port = children.free_port(int(before) if before.isascii() and before.isdigit() else 0)
    file.write_text(f"http://127.0.0.1:{port}\n")
    return port


def address(host: str, port: int) -> str:
    """Where a browser on this machine finds it."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{name}:{port}"


def answers(host: str, port: int) -> bool:
    """Says whether the web server is alive."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    allowed = next((name for name in settings.ALLOWED_HOSTS if not name.startswith((".", "*"))), "localhost")
    client = http.client.HTTPConnection(name, port, timeout=5)
    try:
        client.request("GET", "/healthz", headers={"Host": allowed})
        return client.getresponse().status == 200
    except OSError:
        return False
    finally:
        client.close()


@contextmanager
def only_one_here(data_dir: Path) -> Iterator[None]:
    """No other `up` uses this data folder inside."""
    settings.RUN_DIR.mkdir(parents=True, exist_ok=True)
    file = os.open(data_dir / "run" / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        until = time.monotonic() + LAST_ONE_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > until:
                    raise CommandError(
                        f"`up` already runs on {data_dir}. End it, or choose another HOLDFAST_DATA_DIR."
                    ) from error
                time.sleep(0.05)
        yield
    finally:
        os.close(file)


def wait_for_free_port(host: str, port: int) -> None:
    """The port is free; the one before, killed a moment ago, has time to let go of it."""
    until = time.monotonic() + LAST_ONE_SECONDS
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        with socket.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, port))
                return
            except OSError as error:
                if time.monotonic() > until:
                    raise CommandError(
                        f"{host}:{port} cannot be used ({error.strerror}). Choose another --port."
                    ) from error
        time.sleep(0.05)
