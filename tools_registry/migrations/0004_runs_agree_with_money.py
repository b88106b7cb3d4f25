"""A run and its money say the same, in the database: keys within an account, and a trigger between the three."""

from django.db import migrations

KEYS = """
ALTER TABLE tools_registry_toolrun ADD CONSTRAINT tool_run_hold_in_account
  FOREIGN KEY (account_id, hold_id) REFERENCES billing_hold (account_id, id);
ALTER TABLE tools_registry_toolrun ADD CONSTRAINT tool_run_entry_in_account
  FOREIGN KEY (account_id, entry_id) REFERENCES billing_entry (account_id, id);
ALTER TABLE tools_registry_toolfile ADD CONSTRAINT tool_file_run_in_account
  FOREIGN KEY (account_id, run_id) REFERENCES tools_registry_toolrun (account_id, id);
"""

NO_KEYS = """
ALTER TABLE tools_registry_toolfile DROP CONSTRAINT tool_file_run_in_account;
ALTER TABLE tools_registry_toolrun DROP CONSTRAINT tool_run_entry_in_account;
ALTER TABLE tools_registry_toolrun DROP CONSTRAINT tool_run_hold_in_account;
"""

AGREEMENT = """
CREATE FUNCTION tool_run_agrees_with_money() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE hold billing_hold; line billing_entry; agrees boolean;
BEGIN
  SELECT * INTO hold FROM billing_hold WHERE account_id = NEW.account_id AND id = NEW.hold_id;
  IF NEW.entry_id IS NOT NULL THEN
    SELECT * INTO line FROM billing_entry WHERE account_id = NEW.account_id AND id = NEW.entry_id;
  END IF;
  agrees := hold.owner = 'tool' AND CASE NEW.state
    WHEN 'running' THEN hold.state = 'open'
    WHEN 'succeeded' THEN hold.state = 'captured' AND hold.captured = NEW.charged_amount
                          AND line.kind = 'capture' AND line.hold_id = NEW.hold_id
    ELSE hold.state IN ('released', 'expired') AND hold.captured_late IS NULL END;
  IF agrees IS NOT TRUE THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'tool_run_agrees_with_money',
      TABLE = 'tools_registry_toolrun',
      MESSAGE = format('run %s is %s, which its hold or its line does not say', NEW.id, NEW.state);
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER tool_run_agrees_when_made BEFORE INSERT ON tools_registry_toolrun FOR EACH ROW
  EXECUTE FUNCTION tool_run_agrees_with_money();
CREATE TRIGGER tool_run_agrees_when_ended BEFORE UPDATE ON tools_registry_toolrun FOR EACH ROW
  WHEN (OLD.state IS DISTINCT FROM NEW.state)
  EXECUTE FUNCTION tool_run_agrees_with_money();

CREATE TRIGGER tool_run_terms_never_change BEFORE UPDATE ON tools_registry_toolrun FOR EACH ROW
  WHEN ((OLD.account_id, OLD.user_id, OLD.owner, OLD.tool, OLD.bucket, OLD.hold_id, OLD.tool_cost_id, OLD.estimate_min,
         OLD.estimate_typical, OLD.estimate_max, OLD.created_at)
        IS DISTINCT FROM
        (NEW.account_id, NEW.user_id, NEW.owner, NEW.tool, NEW.bucket, NEW.hold_id, NEW.tool_cost_id, NEW.estimate_min,
         NEW.estimate_typical, NEW.estimate_max, NEW.created_at))
  EXECUTE FUNCTION billing_refuse('tool_run_terms_never_change');
CREATE TRIGGER tool_run_ends_once BEFORE UPDATE ON tools_registry_toolrun FOR EACH ROW
  WHEN (OLD.state <> 'running' AND
        (OLD.state, OLD.entry_id, OLD.charged_amount, OLD.cpu_seconds, OLD.wall_seconds, OLD.peak_memory_bytes,
         OLD.stopped_by, OLD.ended_at)
        IS DISTINCT FROM
        (NEW.state, NEW.entry_id, NEW.charged_amount, NEW.cpu_seconds, NEW.wall_seconds, NEW.peak_memory_bytes,
         NEW.stopped_by, NEW.ended_at))
  EXECUTE FUNCTION billing_refuse('tool_run_ends_once');
CREATE TRIGGER tool_run_never_deleted BEFORE DELETE ON tools_registry_toolrun FOR EACH ROW
  EXECUTE FUNCTION billing_refuse('tool_run_never_deleted');
"""

NO_AGREEMENT = """
DROP TRIGGER tool_run_never_deleted ON tools_registry_toolrun;
DROP TRIGGER tool_run_ends_once ON tools_registry_toolrun;
DROP TRIGGER tool_run_terms_never_change ON tools_registry_toolrun;
DROP TRIGGER tool_run_agrees_when_ended ON tools_registry_toolrun;
DROP TRIGGER tool_run_agrees_when_made ON tools_registry_toolrun;
DROP FUNCTION tool_run_agrees_with_money();
"""


class Migration(migrations.Migration):
    dependencies = [("tools_registry", "0003_studio_runs"), ("billing", "0002_laws")]

    operations = [migrations.RunSQL(KEYS, NO_KEYS), migrations.RunSQL(AGREEMENT, NO_AGREEMENT)]
