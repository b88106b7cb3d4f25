"""Every staff act has a permission of its own."""

from django.db import migrations


def options(name: str, permissions: list[tuple[str, str]], **more: str) -> migrations.AlterModelOptions:
    return migrations.AlterModelOptions(name=name, options={"permissions": permissions, **more})


class Migration(migrations.Migration):
    dependencies = [("billing", "0003_find_what_a_service_holds")]

    operations = [
        options(
            "account",
            [
                ("grant_credits", "Can grant credits"),
                ("adjust_credits", "Can correct a balance"),
                ("forgive_debt", "Can forgive what is owed"),
                ("freeze_account", "Can freeze an account and lift it"),
                ("limit_account", "Can set staff's spend limits"),
            ],
        ),
        options("alert", [("clear_alert", "Can clear alerts")]),
        options("approval", [("decide_approval", "Can approve or decline what a colleague asked for")]),
        options("entry", [("refund_entry", "Can refund a charge")], verbose_name_plural="entries"),
        options("hold", [("end_hold", "Can release a hold of the API, or expire one that is due")]),
        options("token", [("make_service_token", "Can make service tokens"), ("revoke_token", "Can revoke tokens")]),
    ]
