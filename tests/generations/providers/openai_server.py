"""The running OpenAI stand-in of the tests."""

import sys
from pathlib import Path
from typing import Any

import httpx

from generations.providers.stand_ins.openai import KEY
from tests.generations.providers.conftest import StandIn


def command(port: int, state: Path) -> list[str]:
    module = "generations.providers.stand_ins.openai"
    return [sys.executable, "-m", module, "--port", str(port), "--state", str(state)]


class OpenAIServer(StandIn):
    """A running stand-in, its control endpoints, and the API's address."""

    command = staticmethod(command)
    headers = {"Authorization": f"Bearer {KEY}"}

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def raw(self, method: str, path: str, **named: Any) -> httpx.Response:
        """A request as no SDK would make it."""
        headers = self.headers | named.pop("headers", {})
        return httpx.request(method, f"{self.url}{path}", headers=headers, timeout=30, **named)
