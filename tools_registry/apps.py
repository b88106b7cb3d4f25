from django.apps import AppConfig
from django.conf import settings

from tools_registry import runner


class ToolsRegistryConfig(AppConfig):
    name = "tools_registry"
    label = "tools_registry"
    verbose_name = "Tools and prices"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from billing import reconcile as books  # needs the apps loaded
        from billing import statement

        from . import checks, explain, reconcile  # noqa: F401

        books.checks.append(reconcile.check)
        statement.explainers.append(explain.told)
        if settings.TOOL_DOOR >= 0:
            runner.join(settings.TOOL_DOOR)
