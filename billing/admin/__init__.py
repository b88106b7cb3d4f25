"""The staff's side of the books: everything to look at, nothing to edit, and each act on a page of its own."""

from . import gifts, inbox, on_sale, sales, tables, top_ups

__all__ = ["gifts", "inbox", "on_sale", "sales", "tables", "top_ups"]
