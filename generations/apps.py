from django.apps import AppConfig


class GenerationsConfig(AppConfig):
    name = "generations"
    label = "generations"
    verbose_name = "Generations"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from billing import reconcile as books  # needs the apps loaded

        from . import reconcile

        books.checks.append(reconcile.check)
