"""A whole instance that keeps its outputs in a bucket: made by its worker, handed out by its web server."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.instance import PATIENCE_SECONDS, Instance, until
from tests.object_store import KEY, SECRET, object_store

WANTED: dict[str, dict[str, Any]] = {
    "ai/video": {"prompt": "A lighthouse", "seconds": 1, "size": "640x360", "quality": "draft"},
    "ai/image": {"prompt": "A lighthouse", "quality": "draft"},
    "ai/threads": {"prompt": "A lighthouse"},
}
SAID = {
    "ai/video": ("video/mp4", "inline"),
    "ai/image": ("image/png", "inline"),
    "ai/threads": ("text/plain; charset=utf-8", "attachment"),
}


@pytest.mark.slow
def test_every_kind_of_output_goes_through_the_bucket(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with object_store() as store:
        instance = Instance(folder, HOLDFAST_STORAGE_URL=store.url).start()
        try:
            instance.ready()
            assert instance.get("/readyz")[1]["checks"]["storage"] == "ok"
            token = instance.command("create_token", "demo@holdfast.example", "--scope", "spend").stdout.strip()

            def call(method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, bytes]:
                sent = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"} | headers
                data = None if body is None else json.dumps(body).encode()
                request = urllib.request.Request(instance.url + path, data, sent, method=method)
                try:
                    with urllib.request.urlopen(request, timeout=60) as answer:
                        return answer.status, answer.headers, answer.read()
                except urllib.error.HTTPError as error:
                    return error.code, error.headers, error.read()

            def delivered(job: str) -> Any:
                said = json.loads(call("GET", f"/api/status/{job}")[2])
                assert said["state"] not in ("failed", "expired"), said
                return said["output"]

            for operation, inputs in WANTED.items():
                status, _, said = call("POST", "/api/generate", {"operation": operation, "inputs": inputs})
                assert status == 202, said
                (output,) = until(partial(delivered, json.loads(said)["id"]), PATIENCE_SECONDS, operation)
                status, headers, content = call("GET", output["url"])
                assert (status, len(content)) == (200, output["bytes"])
                assert (headers["Content-Type"], headers["Content-Disposition"].split(";")[0]) == SAID[operation]
                status, headers, part = call("GET", output["url"], Range="bytes=4-11")
                assert (status, part) == (206, content[4:12])
                assert call("GET", output["url"], Authorization="")[0] == 404
            assert len(store.objects) == len(WANTED)
            assert not (folder / "files").exists()
            said_by_it = "\n".join(instance.lines + instance.errors)
            assert KEY not in said_by_it
            assert SECRET not in said_by_it
        finally:
            instance.stop()
        instance.nothing_left()
