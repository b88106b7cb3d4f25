"""Libraries and data that only the runner's children need: named at the top of a tool's module, loaded at first use.

The web process reads every tool's module for its declaration and never loads them; the runner's server loads all of
them once, before it forks.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

_ours: list[str] = []
_reads: list[Callable[[], Any]] = []

Read = TypeVar("Read", bound=Callable[[], Any])


def lazy(name: str) -> ModuleType:
    """The module, which is loaded when something of it is first asked for. Raises ImportError where there is none."""
    if name not in _ours:
        _ours.append(name)
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ImportError(f"There is no module {name}.", name=name)
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def beforehand(read: Read) -> Read:
    """A cached function without arguments that the server calls once before it forks, so that every run finds its data
    read. Decorates the function above its cache.
    """
    _reads.append(read)
    return read


def load_all() -> None:
    """Every module that was named is loaded now, and what is to be read beforehand was read."""
    for name in _ours:
        dir(sys.modules[name])
    for read in _reads:
        read()
