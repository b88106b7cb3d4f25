"""A job's columns and its hold say the same, in the database: keys within an account, and a trigger between the two."""

from django.db import migrations

KEYS = """
ALTER TABLE generations_generation ADD CONSTRAINT generation_hold_in_account
  FOREIGN KEY (account_id, hold_id) REFERENCES billing_hold (account_id, id);
ALTER TABLE generations_generation ADD CONSTRAINT generation_share_in_account
  FOREIGN KEY (account_id, share_id) REFERENCES billing_share (account_id, id);
ALTER TABLE generations_attempt ADD CONSTRAINT attempt_generation_in_account
  FOREIGN KEY (account_id, generation_id) REFERENCES generations_generation (account_id, id);
ALTER TABLE generations_output ADD CONSTRAINT output_generation_in_account
  FOREIGN KEY (account_id, generation_id) REFERENCES generations_generation (account_id, id);
ALTER TABLE generations_providerjob ADD CONSTRAINT provider_job_generation_in_account
  FOREIGN KEY (account_id, generation_id) REFERENCES generations_generation (account_id, id);
CREATE UNIQUE INDEX generation_one_a_hold ON generations_generation (account_id, hold_id) WHERE hold_id IS NOT NULL;
CREATE UNIQUE INDEX generation_one_a_share ON generations_generation (account_id, share_id) WHERE share_id IS NOT NULL;
"""

NO_KEYS = """
DROP INDEX generation_one_a_share;
DROP INDEX generation_one_a_hold;
ALTER TABLE generations_providerjob DROP CONSTRAINT provider_job_generation_in_account;
ALTER TABLE generations_output DROP CONSTRAINT output_generation_in_account;
ALTER TABLE generations_attempt DROP CONSTRAINT attempt_generation_in_account;
ALTER TABLE generations_generation DROP CONSTRAINT generation_share_in_account;
ALTER TABLE generations_generation DROP CONSTRAINT generation_hold_in_account;
"""

AGREEMENT = """
CREATE FUNCTION generation_agrees_with_money() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE hold billing_hold; share billing_share; agrees boolean;
BEGIN
  IF NEW.hold_id IS NOT NULL THEN
    SELECT * INTO hold FROM billing_hold WHERE account_id = NEW.account_id AND id = NEW.hold_id;
    agrees := CASE
      WHEN hold.owner <> 'job' THEN false
      WHEN NEW.state IN ('queued', 'submitting', 'running') THEN hold.state = 'open'
      WHEN NEW.state = 'awaiting_settlement' THEN hold.state = 'expired' AND hold.captured_late IS NULL
      WHEN NEW.outcome = 'charged' THEN
        (hold.state = 'captured' AND hold.captured = NEW.charged_amount)
        OR (hold.state = 'expired' AND hold.captured_late = NEW.charged_amount)
      WHEN NEW.outcome = 'waived' THEN hold.state = 'expired' AND hold.captured_late IS NULL
      WHEN NEW.outcome = 'refunded' THEN hold.state IN ('released', 'expired') AND hold.captured_late IS NULL
      WHEN NEW.outcome = 'expired' THEN hold.state = 'expired' AND hold.captured_late IS NULL
      ELSE false END;
  ELSE
    SELECT * INTO share FROM billing_share WHERE account_id = NEW.account_id AND id = NEW.share_id;
    agrees := CASE
      WHEN NEW.state IN ('queued', 'submitting', 'running') THEN share.state = 'open'
      WHEN NEW.state = 'awaiting_settlement' THEN share.state = 'closed'
      WHEN NEW.outcome = 'charged' THEN share.state = 'closed' OR share.drawn = NEW.charged_amount
      ELSE share.state = 'closed' END;
  END IF;
  IF agrees IS NOT TRUE THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'generation_agrees_with_money',
      TABLE = 'generations_generation',
      MESSAGE = format('job %s is %s (%s), which its hold or share does not say', NEW.id, NEW.state, NEW.outcome);
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER generation_agrees_when_made BEFORE INSERT ON generations_generation FOR EACH ROW
  EXECUTE FUNCTION generation_agrees_with_money();
CREATE TRIGGER generation_agrees_when_moved BEFORE UPDATE ON generations_generation FOR EACH ROW
  WHEN ((OLD.state, OLD.outcome, OLD.charged_amount, OLD.hold_id, OLD.share_id)
        IS DISTINCT FROM (NEW.state, NEW.outcome, NEW.charged_amount, NEW.hold_id, NEW.share_id))
  EXECUTE FUNCTION generation_agrees_with_money();

CREATE TRIGGER generation_settled_once BEFORE UPDATE ON generations_generation FOR EACH ROW
  WHEN (OLD.credits_charged IS NOT NULL AND
        (OLD.state, OLD.outcome, OLD.credits_charged, OLD.charged_amount, OLD.charged_at, OLD.ended_at,
         OLD.verdict_status)
        IS DISTINCT FROM
        (NEW.state, NEW.outcome, NEW.credits_charged, NEW.charged_amount, NEW.charged_at, NEW.ended_at,
         NEW.verdict_status))
  EXECUTE FUNCTION billing_refuse('generation_settled_once');
CREATE TRIGGER generation_first_verdict_stands BEFORE UPDATE ON generations_generation FOR EACH ROW
  WHEN (OLD.verdict_at IS NOT NULL AND (OLD.verdict_at, OLD.verdict_status, OLD.verdict_code)
        IS DISTINCT FROM (NEW.verdict_at, NEW.verdict_status, NEW.verdict_code))
  EXECUTE FUNCTION billing_refuse('generation_first_verdict_stands');
CREATE TRIGGER generation_keeps_its_terms BEFORE UPDATE ON generations_generation FOR EACH ROW
  WHEN ((OLD.id, OLD.account_id, OLD.operation, OLD.hold_id, OLD.share_id, OLD.tool_cost_id, OLD.estimate_max)
        IS DISTINCT FROM (NEW.id, NEW.account_id, NEW.operation, NEW.hold_id, NEW.share_id, NEW.tool_cost_id,
        NEW.estimate_max))
  EXECUTE FUNCTION billing_refuse('generation_keeps_its_terms');
CREATE TRIGGER generation_never_deleted BEFORE DELETE ON generations_generation FOR EACH ROW
  EXECUTE FUNCTION billing_refuse('generation_never_deleted');

CREATE FUNCTION output_released_when_paid() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM generations_generation job
                  WHERE job.account_id = NEW.account_id AND job.id = NEW.generation_id AND job.state = 'succeeded'
                    AND job.outcome IN ('charged', 'waived')) THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'output_released_when_paid',
      TABLE = 'generations_output', MESSAGE = format('output %s is not paid for', NEW.id);
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER output_released_when_paid BEFORE INSERT OR UPDATE ON generations_output FOR EACH ROW
  WHEN (NEW.released_at IS NOT NULL) EXECUTE FUNCTION output_released_when_paid();

CREATE TRIGGER provider_job_written_once BEFORE UPDATE ON generations_providerjob FOR EACH ROW
  EXECUTE FUNCTION billing_refuse('provider_job_written_once');
CREATE TRIGGER settlement_rule_only_superseded BEFORE UPDATE ON generations_settlementrule FOR EACH ROW
  WHEN (OLD.superseded_at IS NOT NULL OR
        (OLD.phase, OLD.provider, OLD.operation, OLD.status, OLD.code, OLD.outcome, OLD.provider_bills, OLD.sentence,
         OLD.alerts_staff, OLD.version)
        IS DISTINCT FROM (NEW.phase, NEW.provider, NEW.operation, NEW.status, NEW.code, NEW.outcome,
         NEW.provider_bills, NEW.sentence, NEW.alerts_staff, NEW.version))
  EXECUTE FUNCTION billing_refuse('settlement_rule_only_superseded');
"""

NO_AGREEMENT = """
DROP TRIGGER settlement_rule_only_superseded ON generations_settlementrule;
DROP TRIGGER provider_job_written_once ON generations_providerjob;
DROP TRIGGER output_released_when_paid ON generations_output;
DROP FUNCTION output_released_when_paid();
DROP TRIGGER generation_never_deleted ON generations_generation;
DROP TRIGGER generation_keeps_its_terms ON generations_generation;
DROP TRIGGER generation_first_verdict_stands ON generations_generation;
DROP TRIGGER generation_settled_once ON generations_generation;
DROP TRIGGER generation_agrees_when_moved ON generations_generation;
DROP TRIGGER generation_agrees_when_made ON generations_generation;
DROP FUNCTION generation_agrees_with_money();
"""


class Migration(migrations.Migration):
    dependencies = [("generations", "0001_workshop"), ("billing", "0002_laws")]

    operations = [
        migrations.RunSQL(KEYS, NO_KEYS),
        migrations.RunSQL(AGREEMENT, NO_AGREEMENT),
    ]
