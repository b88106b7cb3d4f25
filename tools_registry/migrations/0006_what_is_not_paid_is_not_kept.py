"""A result and its files stand with a run that was paid for, and stay what they were until they are deleted."""

from django.db import migrations, models

PAID = """
CREATE FUNCTION tool_file_is_paid_for() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM tools_registry_toolrun
                  WHERE account_id = NEW.account_id AND id = NEW.run_id AND state = 'succeeded') THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'tool_file_is_paid_for',
      TABLE = 'tools_registry_toolfile', MESSAGE = 'tool_file_is_paid_for: run ' || NEW.run_id || ' did not succeed';
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER tool_file_is_paid_for BEFORE INSERT ON tools_registry_toolfile FOR EACH ROW
  EXECUTE FUNCTION tool_file_is_paid_for();
CREATE TRIGGER tool_file_never_changes BEFORE UPDATE ON tools_registry_toolfile FOR EACH ROW
  EXECUTE FUNCTION billing_refuse('tool_file_never_changes');
CREATE TRIGGER tool_run_never_truncated BEFORE TRUNCATE ON tools_registry_toolrun FOR EACH STATEMENT
  EXECUTE FUNCTION billing_refuse('tool_run_never_truncated');
"""

NOT_PAID = """
DROP TRIGGER tool_run_never_truncated ON tools_registry_toolrun;
DROP TRIGGER tool_file_never_changes ON tools_registry_toolfile;
DROP TRIGGER tool_file_is_paid_for ON tools_registry_toolfile;
DROP FUNCTION tool_file_is_paid_for();
"""


class Migration(migrations.Migration):
    dependencies = [("tools_registry", "0005_prices_say_which_credits_pay"), ("billing", "0002_laws")]

    operations = [
        migrations.AddConstraint(
            model_name="toolrun",
            constraint=models.CheckConstraint(
                name="tool_run_kept_when_it_succeeded",
                condition=models.Q(state="succeeded") | models.Q(result=None, view=None),
            ),
        ),
        migrations.RunSQL(PAID, NOT_PAID),
    ]
