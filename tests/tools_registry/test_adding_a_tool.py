"""docs/adding-a-tool.md is true: its one file, put in its place, is a tool with a page, a price and a charge."""

from __future__ import annotations

import json
import re
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.instance import ROOT, Instance

PAGE = ROOT / "docs" / "adding-a-tool.md"
LEFT_OUT = shutil.ignore_patterns("__pycache__", ".git", "var", ".venv*", "node_modules", ".*_cache", ".hypothesis")


def source() -> str:
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def asked(url: str, token: str = "", body: Any = None) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as answer:
            kind = answer.headers.get("Content-Type", "")
            return answer.status, json.load(answer) if "json" in kind else answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


@pytest.mark.slow
def test_one_file_is_a_tool_that_is_listed_priced_run_and_charged(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT, checkout, ignore=LEFT_OUT)
    (checkout / "tools_registry" / "studios" / "data" / "words.py").write_text(source())
    # The one beside it cannot be loaded, which keeps nothing else from its people.
    (checkout / "tools_registry" / "studios" / "data" / "half_done.py").write_text("import not_installed_yet\n")
    up = Instance(tmp_path / "data", root=checkout).start()
    try:
        up.ready()
        token = up.command("create_token", "demo@holdfast.example", "--scope", "spend").stdout.strip()
        status, tool = asked(f"{up.url}/api/tools/data-studio/words")
        assert status == 200
        assert (tool["mode"], tool["price"]) == ("server", {"min": "3", "max": "5"})
        assert tool["input_schema"]["required"] == ["text"]
        status, page = asked(f"{up.url}/studio/data-studio/words")
        assert status == 200
        assert "How many words to name" in page

        run = f"{up.url}/api/data-studio/words/run"
        assert asked(run, body=tool["example"])[0] == 401
        status, answer = asked(run, token, tool["example"])
        assert status == 200, answer
        # The, sea, the, sea, and, the, lighthouse
        assert answer["result"]["words"] == 7
        assert answer["result"]["different"] == 4
        assert answer["result"]["top"][0] == {"word": "the", "count": 3}
        assert answer["credits"]["charged"] == "3"
        status, refusal = asked(run, token, {"text": "…"})
        assert (status, list(refusal["fields"])) == (422, ["text"])
        assert asked(f"{up.url}/api/credits/balance", token)[1]["available"] == "297"
        covered = json.loads(up.command("coverage", "--json").stdout)
        assert covered["is_whole"]
        assert "data-studio/words" not in covered["never_charged"]
        assert "clean" in up.command("reconcile").stdout

        assert "1 could not be loaded." in up.get("/readyz")[1]["checks"]["tools"]
        assert asked(f"{up.url}/webhooks/stripe", body={})[0] == 400, "money comes in all the same"
        assert "half_done cannot be loaded. ModuleNotFoundError" in up.command("check").stderr
    finally:
        up.stop()
