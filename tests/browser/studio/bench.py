"""A bare page under the site's own policy that can import the studio's modules: no application behind it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from config.middleware import STRICT

STATIC = Path(__file__).parents[3] / "static"
IMPORTS = {f"studio/{name}": f"/holdfast/studio/{name}.js" for name in ("drawing", "blocks")}
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
