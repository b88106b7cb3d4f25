"""A function for each way in which a run can end."""

from __future__ import annotations

import os
import time
from typing import Any

from tools_registry.studio import BadInput, File, Result, facts


def work(inputs: dict[str, Any], files: dict[str, bytes]) -> Result:
    """Ends well, or as `how` says."""
    how = inputs["how"]
    if how == "refuse":
        raise BadInput({"how": "Not like that."})
    if how == "break":
        raise RuntimeError("broken on purpose")
    if how == "burn":
        while True:
            pass
    if how == "sleep":
        time.sleep(60)
    if how == "swell":
        held = [bytes(1024 * 1024) for _ in range(4096)]
        return Result({"held": len(held)})
    if how == "pour":
        return Result({"poured": "x" * 4 * 1024 * 1024})
    if how == "vanish":
        os._exit(3)
    if how == "lie":
        return Result({"text": float("nan")})
    said = {"how": how, "bytes": sum(map(len, files.values()))}
    return Result(said, [facts("Said", list(said.items()))], [File("said.csv", "text/csv", b"how\nwell\n")])
