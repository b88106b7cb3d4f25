from django.apps import AppConfig


class GenerationsConfig(AppConfig):
    name = "generations"
    label = "generations"
    verbose_name = "Generations"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from billing import alerts, statement
        from billing import reconcile as books  # needs the apps loaded
        from tools_registry import rehearse_price

        from . import explain, monitoring, past_charges, reconcile

        books.checks.append(reconcile.check)
        rehearse_price.PASTS.append(past_charges.jobs_since)
        statement.explainers.append(explain.told)
        alerts.KINDS.update({kind.name: kind for kind in monitoring.KINDS})
