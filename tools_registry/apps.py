from django.apps import AppConfig


class ToolsRegistryConfig(AppConfig):
    name = "tools_registry"
    label = "tools_registry"
    verbose_name = "Tools and prices"
    default_auto_field = "django.db.models.BigAutoField"
