"""What must not be: a price that nothing is sold for, or a tool that could be run for nothing."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, register

from .coverage import unmatched


# Only `check --deploy --database default` asks: `migrate` goes before the catalogue of a new version is installed.
@register("prices", deploy=True)
def every_price_has_its_tool(app_configs: Any, databases: Any = None, **_: Any) -> list[CheckMessage]:
    """Prices and tools belong together."""
    if "default" not in (databases or ()):
        return []
    without_tool, without_price = unmatched()
    found: list[CheckMessage] = []
    if without_tool:
        found.append(
            Error(
                f"There are prices without a tool: {', '.join(without_tool)}.",
                hint="A tool was renamed or taken away. Declare it again under its old slug.",
                id="holdfast.E020",
            )
        )
    if without_price:
        found.append(
            Error(
                f"There are tools without a price: {', '.join(without_price)}.",
                hint="Run manage.py install_catalogue, or add their prices in the admin.",
                id="holdfast.E021",
            )
        )
    return found
