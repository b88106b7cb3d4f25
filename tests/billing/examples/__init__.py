"""Worked examples, in credits, that can be followed and checked by hand. The tables are the tests (`statement.py`)."""
