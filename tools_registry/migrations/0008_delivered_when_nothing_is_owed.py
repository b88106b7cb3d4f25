"""A result is handed out when nothing is owed, and once; a tool comes with a plan that there is."""

from typing import Any

from django.db import migrations, models

RELEASED = """
CREATE FUNCTION tool_run_released_when_nothing_is_owed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM billing_account WHERE id = NEW.account_id AND debt > 0) THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'tool_run_released_when_nothing_is_owed',
      TABLE = 'tools_registry_toolrun',
      MESSAGE = format('tool_run_released_when_nothing_is_owed: credits are owed by the account of run %s', NEW.id);
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER tool_run_released_when_nothing_is_owed BEFORE UPDATE ON tools_registry_toolrun FOR EACH ROW
  WHEN (OLD.released_at IS NULL AND NEW.released_at IS NOT NULL)
  EXECUTE FUNCTION tool_run_released_when_nothing_is_owed();
CREATE TRIGGER tool_run_is_released_once BEFORE UPDATE ON tools_registry_toolrun FOR EACH ROW
  WHEN (OLD.released_at IS NOT NULL AND NEW.released_at IS DISTINCT FROM OLD.released_at)
  EXECUTE FUNCTION billing_refuse('tool_run_is_released_once');
"""

NOT_RELEASED = """
DROP TRIGGER tool_run_is_released_once ON tools_registry_toolrun;
DROP TRIGGER tool_run_released_when_nothing_is_owed ON tools_registry_toolrun;
DROP FUNCTION tool_run_released_when_nothing_is_owed();
"""

# What was handed out before there was this law stays so.
HANDED_OUT = "UPDATE tools_registry_toolrun SET released_at = ended_at WHERE state = 'succeeded'"

# A switch that names a plan which is not there let everybody in. Now it lets nobody in, and says why.
CLOSED = """
UPDATE tools_registry_toolswitch SET is_enabled = false, plan_least = '',
       reason = format('It came with the plan “%s”, which does not exist. Choose its least plan, then switch it on.',
                       plan_least)
 WHERE plan_least <> '' AND plan_least NOT IN (SELECT slug FROM billing_plan)
"""
PLAN = """
ALTER TABLE tools_registry_toolswitch
  ADD COLUMN plan_there varchar(50) GENERATED ALWAYS AS (NULLIF(plan_least, '')) STORED,
  ADD CONSTRAINT tool_switch_plan_exists FOREIGN KEY (plan_there) REFERENCES billing_plan (slug)
"""
NO_PLAN = "ALTER TABLE tools_registry_toolswitch DROP COLUMN plan_there"
NOTHING: Any = migrations.RunSQL.noop


class Migration(migrations.Migration):
    dependencies = [
        ("tools_registry", "0007_runs_found_by_staff"),
        ("billing", "0016_plans_stay_free_or_paid"),
    ]

    operations = [
        migrations.AddField("toolrun", "released_at", models.DateTimeField(null=True)),
        migrations.RunSQL(HANDED_OUT, NOTHING),
        migrations.AddConstraint(
            "toolrun",
            models.CheckConstraint(
                name="tool_run_released_when_it_succeeded",
                condition=models.Q(state="succeeded") | models.Q(released_at=None),
            ),
        ),
        migrations.RunSQL(RELEASED, NOT_RELEASED),
        migrations.RemoveIndex("toolrun", "tool_run_kept"),
        migrations.AddIndex(
            "toolrun",
            models.Index(
                name="tool_run_kept",
                fields=["released_at"],
                condition=models.Q(("result__isnull", False), ("state", "succeeded")),
            ),
        ),
        migrations.AddIndex(
            "toolrun",
            models.Index(
                name="tool_run_kept_back",
                fields=["account"],
                condition=models.Q(("released_at", None), ("state", "succeeded")),
            ),
        ),
        migrations.RunSQL(CLOSED, NOTHING),
        migrations.RunSQL(PLAN, NO_PLAN),
    ]
