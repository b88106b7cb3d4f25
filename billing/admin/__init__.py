"""The staff's side of the books: everything to look at, nothing to edit, and each act on a page of its own."""

from . import tables

__all__ = ["tables"]
