"""The studio and its price list as staff see them. Money is looked at here and moved only by the acts."""

from . import prices, runs, tools

__all__ = ["prices", "runs", "tools"]
