"""Files as they leave a tool: YAML that keeps every text what it is, and zips whose bytes depend on what is in them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Collection, Mapping
from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """Writes lists below their key, and texts of several lines as they are read."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, said: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", said, style="|" if "\n" in said else None)


_Dumper.add_representer(str, _text)


def as_yaml(part: Any) -> str:
    """The part as YAML, in the order it has."""
    return yaml.dump(part, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)


def zipped(folder: str, made: Mapping[str, str], programs: Collection[str] = ()) -> bytes:
    """The texts by their paths in one folder, with one fixed date; those named as programs can be run."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in sorted(made.items()):
            entry = zipfile.ZipInfo(f"{folder}/{path}", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if path in programs else 0o100644) << 16
            archive.writestr(entry, text)
    return out.getvalue()
