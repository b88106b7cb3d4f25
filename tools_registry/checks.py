"""What must not be: a price that nothing is sold for, a tool that could be run for nothing, one that cannot be loaded,
one for a plan that is not there.
"""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, Warning, register
from django.db.models import Exists, OuterRef

from billing.models import Plan

from . import registry
from .coverage import unmatched
from .models import ToolSwitch


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


# Every command warns, and goes on: payments and everything else must run. Only `check --deploy` stops for it.
@register("tools")
def every_tool_is_loaded(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Each module of the studio could be loaded."""
    return [Warning(said, hint=LEFT_OUT, id="holdfast.W022") for said in _left_out()]


@register("tools", deploy=True)
def no_tool_is_left_out(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """As `every_tool_is_loaded`, for whoever asks before they let people in."""
    return [Error(said, hint=LEFT_OUT, id="holdfast.E022") for said in _left_out()]


LEFT_OUT = (
    "Its tool is left out of the studio until the module can be loaded; everything else runs. Mend it and restart."
)


def _left_out() -> list[str]:
    return [f"{module} cannot be loaded. {why}" for module, why in registry.BROKEN.items()]


@register("prices", deploy=True)
def every_least_plan_is_there(app_configs: Any, databases: Any = None, **_: Any) -> list[CheckMessage]:
    """A tool for the people of a plan names a plan that there is. The database asks for it too."""
    if "default" not in (databases or ()):
        return []
    lost = ToolSwitch.objects.exclude(plan_least="").exclude(Exists(Plan.objects.filter(slug=OuterRef("plan_least"))))
    return [
        Error(
            f"{row.tool} comes with the plan “{row.plan_least}”, which is not there. Nobody can run it.",
            hint="Choose its least plan under Tools in the admin.",
            id="holdfast.E023",
        )
        for row in lost.order_by("tool")
    ]
