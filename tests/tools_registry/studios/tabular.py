"""How the tests of the data tools run them: as the API would, without a server."""

from typing import Any

import duckdb

from tools_registry import studio
from tools_registry.studio import Result, Tool


def run(tool: Tool, inputs: dict[str, Any] | None = None, **documents: bytes | tuple[str, bytes]) -> Result:
    """The result as it comes out of the child. A document is its bytes, or its file name and bytes."""
    assert tool.function is not None
    assert tool.limits is not None
    sent = {name: given if isinstance(given, tuple) else (f"{name}.csv", given) for name, given in documents.items()}
    cleaned, files = tool.clean_with_files(inputs or {}, sent)
    encoded = studio.encode(tool.function(cleaned, files))
    assert len(encoded) <= tool.limits.output_bytes
    return studio.decode(encoded)


def example(tool: Tool) -> Result:
    return run(tool, dict(tool.example), **dict(tool.example_files))


def parquet(select: str, tmp_path: Any) -> bytes:
    """What the query gives, as a Parquet file."""
    path = tmp_path / "made.parquet"
    with duckdb.connect() as database:
        database.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")
    return path.read_bytes()


def file(result: Result, name: str) -> str:
    """The text of a file that the run made."""
    return next(one for one in result.files if one.name == name).content.decode()
