"""A bare page under the site's own policy that can import the studio's modules: no application behind it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from config.middleware import STRICT

STATIC = Path(__file__).parents[3] / "static"
IMPORTS = {f"studio/{name}": f"/holdfast/studio/{name}.js" for name in ("drawing", "blocks", "reading")}
PAGE = f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Bench</title>
<link rel="stylesheet" href="/holdfast/money.css"><link rel="stylesheet" href="/holdfast/holdfast.css">
<script type="importmap" nonce="bench">{json.dumps({"imports": IMPORTS})}</script></head><body></body></html>"""


class _Bench(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path != "/":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Security-Policy", STRICT.format(nonce="bench", sends="'self'"))
        self.end_headers()
        self.wfile.write(PAGE.encode())
        return None

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def bench() -> Iterator[str]:
    """The address of the bare page."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Bench, directory=str(STATIC)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


VIEW = """async ([tool, inputs]) => {
  const half = await import(`/holdfast/studio/${tool}.js`);
  const {draw} = await import("studio/blocks");
  const {svgText} = await import("studio/drawing");
  const blocks = half.view(inputs);
  document.body.replaceChildren(draw(blocks));
  const plain = blocks.map((one) => one.svg ? {...one, svg: svgText(one.svg)} : one);
  return {blocks: plain, problems: half.problems ? half.problems(inputs) : {}};
}"""


class Half:
    """A tool's half in the browser: asks its view, and finds the parts of the answer."""

    def __init__(self, page: Page, tool: str) -> None:
        self.page, self.tool = page, tool

    def view(self, inputs: Any) -> View:
        answer = self.page.evaluate(VIEW, [self.tool, inputs])
        return View(answer["blocks"], answer["problems"])


class View:
    def __init__(self, blocks: list[dict[str, Any]], problems: dict[str, Any]) -> None:
        self.blocks, self.problems = blocks, problems

    def block(self, title: str) -> dict[str, Any]:
        """The first block whose title begins so."""
        found = next((one for one in self.blocks if one["title"].startswith(title)), None)
        assert found is not None, f"no {title} in {[one['title'] for one in self.blocks]}"
        return found

    def has(self, title: str) -> bool:
        return any(one["title"].startswith(title) for one in self.blocks)

    def fact(self, name: str) -> Any:
        pairs = [pair for one in self.blocks if one["kind"] == "facts" for pair in one["pairs"]]
        return next(value for title, value in pairs if title == name)

    def found(self, title: str) -> list[tuple[str, str, str]]:
        """Severity, title and place of what was found."""
        return [(row["severity"], row["title"], row.get("where", "")) for row in self.block(title)["rows"]]

    @property
    def files(self) -> dict[str, str]:
        return {file["name"]: file["content"] for one in self.blocks for file in one.get("downloads", [])}


@contextmanager
def opened(browser: Browser, tool: str) -> Iterator[Half]:
    """The tool's half in a bare page, in which nothing was complained of."""
    complaints: list[str] = []
    with bench() as address:
        context = browser.new_context()
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        yield Half(page, tool)
        context.close()
    assert [one for one in complaints if "404" not in one] == []
