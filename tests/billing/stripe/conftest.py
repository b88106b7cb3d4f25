"""A running small Stripe, and a webhook that catches what it sends. The official SDK talks to it, as Holdfast does."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe
from django.conf import settings as django_settings

from tests.instance import free_port

KEY = "sk_test_rehearsalWhereNoMoneyMoves"
SECRET = "whsec_rehearsal_for_tests"
PROJECT = Path(__file__).resolve().parents[3]


class Sink:
    """A webhook: keeps what it was sent, answers what the test says, or hands it to the test's own function."""

    def __init__(self) -> None:
        self.status = 200
        self.hand_to: Callable[[bytes, str], int] | None = None
        self.caught: list[tuple[bytes, str]] = []
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:
                    return  # whoever was sending it was killed meanwhile
                signature = self.headers.get("Stripe-Signature", "")
                sink.caught.append((body, signature))
                status = sink.hand_to(body, signature) if sink.hand_to else sink.status
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/webhooks/stripe"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def events(self, *types: str) -> list[dict[str, Any]]:
        """What came, in the order it came; of these types alone, where some are named."""
        found = [json.loads(body) for body, _ in self.caught]
        return [event for event in found if not types or event["type"] in types]

    def types(self) -> list[str]:
        return [event["type"] for event in self.events()]

    def clear(self) -> None:
        self.caught.clear()
        self.status, self.hand_to = 200, None


class StandIn:
    """The small Stripe as a process of its own, and its controls (`/_control/…`)."""

    def __init__(self, state: Path, webhook_url: str, port: int = 0) -> None:
        self.state, self.webhook_url, self.port = state, webhook_url, port or free_port()
        self.start()

    def start(self) -> None:
        command = [
            sys.executable, "-m", "billing.stripe_stand_in", "--port", str(self.port), "--state", str(self.state),
            "--webhook-url", self.webhook_url, "--secret", SECRET, "--key", KEY,
            "--api-version", django_settings.STRIPE_API_VERSION,
        ]  # fmt: skip
        self.process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        line = self.process.stdout.readline().split()
        assert line[:1] == ["ready"], line
        self.url = line[1]
        self.port = int(self.url.rpartition(":")[2])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()

    def post(self, path: str, **body: Any) -> Any:
        """One of its controls: `advance`, `settings`, `pay/{session}`, `refund`, `dispute/{intent}` …"""
        return self._said(httpx.post(f"{self.url}/_control/{path}", json=body, headers=self.headers, timeout=60))

    def get(self, path: str, **query: str) -> Any:
        return self._said(httpx.get(f"{self.url}/_control/{path}", params=query, headers=self.headers, timeout=60))

    headers = {"Authorization": f"Bearer {KEY}"}

    @staticmethod
    def _said(response: httpx.Response) -> Any:
        assert response.is_success, response.text
        return response.json()

    def forget(self) -> None:
        """Nothing has ever happened; nothing is on its way."""
        self.post("forget")
        self.settings(retry_seconds=0.05)

    def flush(self, seconds: float = 50) -> None:
        """Everything told so far has been taken by the webhook."""
        assert self.post("flush", seconds=seconds) == {"waiting": 0}

    def advance(self, **span: float) -> int:
        """The clock is that much later (days=, hours=, seconds=), and what was due has happened."""
        seconds = span.get("seconds", 0) + 3600 * span.get("hours", 0) + 86_400 * span.get("days", 0)
        return int(self.post("advance", seconds=seconds)["now"])

    def pay(self, session: str, card: str = "works") -> Any:
        """What pressing Pay on the hosted page does."""
        return self.post(f"pay/{session}", card=card)

    def press(self, url: str, act: str = "pay") -> httpx.Response:
        """A button of a hosted page, as a browser presses it; redirects are not followed."""
        return httpx.post(url, data={"act": act})

    def settings(self, **controls: Any) -> Any:
        return self.post("settings", **controls)

    def events(self, *types: str) -> list[dict[str, Any]]:
        """Every event ever made, oldest first, delivered or not."""
        return [event for event in self.get("events")["events"] if not types or event["type"] in types]


def new_client(url: str, key: str = KEY, version: str | None = None, seconds: float = 60) -> stripe.StripeClient:
    """The official SDK, speaking to the stand-in."""
    return stripe.StripeClient(
        key,
        stripe_version=version or django_settings.STRIPE_API_VERSION,
        base_addresses={"api": url},
        max_network_retries=0,
        http_client=stripe.RequestsClient(timeout=seconds),
    )


@pytest.fixture(scope="session")
def _sink() -> Iterator[Sink]:
    running = Sink()
    yield running
    running.server.shutdown()
    running.server.server_close()


@pytest.fixture(scope="session")
def _stand_in(tmp_path_factory: pytest.TempPathFactory, _sink: Sink) -> Iterator[StandIn]:
    running = StandIn(tmp_path_factory.mktemp("stripe") / "stripe.sqlite3", _sink.url)
    yield running
    running.kill()


@pytest.fixture
def sink(_sink: Sink) -> Sink:
    """The webhook, with nothing caught yet. `sink.hand_to = lambda body, signature: status` gives it to your code."""
    _sink.clear()
    return _sink


@pytest.fixture
def stand_in(_stand_in: StandIn, sink: Sink) -> Iterator[StandIn]:
    """The small Stripe, in which nothing has ever happened. What the sink refuses comes again soon."""
    _stand_in.forget()
    sink.clear()
    yield _stand_in
    sink.clear()
    _stand_in.forget()


@pytest.fixture
def stripe_client(stand_in: StandIn) -> stripe.StripeClient:
    """The official SDK, at the pinned API version, speaking to the stand-in."""
    return new_client(stand_in.url)


@pytest.fixture
def stripe_settings(stand_in: StandIn, settings: Any) -> Any:
    """Holdfast's settings name the stand-in as its Stripe."""
    settings.STRIPE_SECRET_KEY = KEY
    settings.STRIPE_API_BASE = stand_in.url
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET]
    settings.STRIPE_LIVE_MODE = False
    settings.STRIPE_IS_SET_UP = True
    return settings


def until(condition: Callable[[], Any], seconds: float = 90.0) -> Any:
    """What the condition answered when it first held; fails when it does not within the time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"It did not come true within {seconds} s.")
