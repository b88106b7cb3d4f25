from django.apps import AppConfig

from . import columns


class BillingConfig(AppConfig):
    name = "billing"
    label = "billing"
    verbose_name = "Credits"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        columns.register()
        from allauth.account.signals import email_confirmed

        from . import people, stripe_inbox, subscriptions

        stripe_inbox.EFFECTS.update(subscriptions.EFFECTS)
        email_confirmed.connect(people.enroll_verified, dispatch_uid="free plan")
