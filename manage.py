#!/usr/bin/env python
"""Holdfast's commands. `python manage.py up` starts everything."""

import os
import sys

from config.command_line import execute


def main() -> None:
    """The command that was asked for has run."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    execute(sys.argv)


if __name__ == "__main__":
    main()
