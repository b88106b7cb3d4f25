"""A price is never edited and, once a run stands on it, never deleted (the key from the run)."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("tools_registry", "0001_price_list"), ("billing", "0002_laws")]

    operations = [
        migrations.RunSQL(
            """
CREATE TRIGGER tool_cost_never_edited BEFORE UPDATE ON tools_registry_toolcost FOR EACH ROW
  EXECUTE FUNCTION billing_refuse('tool_cost_never_edited');
""",
            "DROP TRIGGER tool_cost_never_edited ON tools_registry_toolcost;",
        )
    ]
