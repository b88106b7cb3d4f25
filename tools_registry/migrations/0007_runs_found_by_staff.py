"""How each tool does, and the runs that staff look for, are read by an index."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tools_registry", "0006_what_is_not_paid_is_not_kept")]

    operations = [
        migrations.RemoveIndex(model_name="toolrun", name="tool_run_of_tool"),
        migrations.AddIndex(
            model_name="toolrun",
            index=models.Index(
                fields=["tool", "-ended_at"],
                include=("state", "charged_amount", "bucket", "tool_cost"),
                name="tool_run_of_tool",
            ),
        ),
        migrations.AddIndex(
            model_name="toolrun",
            index=models.Index(
                fields=["created_at"],
                include=("tool", "owner", "state", "charged_amount", "wall_seconds"),
                name="tool_run_begun",
            ),
        ),
        migrations.AddIndex(model_name="toolrun", index=models.Index(fields=["owner"], name="tool_run_of_owner")),
        migrations.AddIndex(
            model_name="toolrun",
            index=models.Index(
                condition=models.Q(state__in=["refused", "stopped"]), fields=["state", "-id"], name="tool_run_unpaid"
            ),
        ),
        migrations.AddIndex(
            model_name="toolrun",
            index=models.Index(
                condition=models.Q(stopped_by__isnull=False), fields=["stopped_by", "-id"], name="tool_run_stopped"
            ),
        ),
    ]
