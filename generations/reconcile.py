"""Does every job agree with its money? The workshop's laws, added to the vault's `manage.py reconcile`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from billing.reconcile import Finding, find

# A job's state, its outcome and its hold (or share) say the same: the table of states of the design.
STATES = """
SELECT 'job_agrees_with_its_hold', job.account_id,
       ARRAY['generation:' || job.id, 'hold:' || coalesce(job.hold_id::text, '')],
       format('job %%s is %%s (%%s) while its hold is %%s', job.id, job.state, coalesce(job.outcome, 'undecided'),
              coalesce(hold.state, share.state))
  FROM generations_generation job
  LEFT JOIN billing_hold hold ON hold.account_id = job.account_id AND hold.id = job.hold_id
  LEFT JOIN billing_share share ON share.account_id = job.account_id AND share.id = job.share_id
 WHERE job.account_id = ANY(%(accounts)s) AND (CASE
   WHEN job.hold_id IS NOT NULL THEN CASE
     WHEN job.state IN ('queued', 'submitting', 'running') THEN hold.state = 'open'
     WHEN job.state = 'awaiting_settlement' THEN hold.state = 'expired' AND hold.captured_late IS NULL
     WHEN job.outcome = 'charged' THEN (hold.state = 'captured' AND hold.captured = job.charged_amount)
                                       OR (hold.state = 'expired' AND hold.captured_late = job.charged_amount)
     WHEN job.outcome = 'refunded' THEN hold.state IN ('released', 'expired') AND hold.captured_late IS NULL
     ELSE hold.state = 'expired' AND hold.captured_late IS NULL END
   ELSE CASE
     WHEN job.state IN ('queued', 'submitting', 'running') THEN share.state = 'open'
     WHEN job.outcome = 'charged' THEN share.drawn = job.charged_amount OR share.state = 'closed'
     ELSE share.state = 'closed' END
   END) IS NOT TRUE
"""

# A hold that belongs to a job has its job: money is never promised to nobody.
HOLDS = """
SELECT 'hold_of_a_job_has_its_job', hold.account_id, ARRAY['hold:' || hold.id],
       format('hold %%s belongs to a job that is not there', hold.id)
  FROM billing_hold hold
 WHERE hold.account_id = ANY(%(accounts)s) AND hold.owner = 'job'
   AND NOT EXISTS (SELECT FROM generations_generation job
                    WHERE job.account_id = hold.account_id AND job.hold_id = hold.id)
   AND NOT EXISTS (SELECT FROM generations_generation job
                     JOIN billing_share share ON share.account_id = job.account_id AND share.id = job.share_id
                    WHERE job.account_id = hold.account_id AND share.hold_id = hold.id)
"""

# Every output that was given away is paid for, or waived by a named person.
OUTPUTS = """
SELECT 'output_released_only_when_paid', output.account_id,
       ARRAY['output:' || output.id, 'generation:' || output.generation_id],
       format('output %%s was delivered, but its job is %%s', output.id, coalesce(job.outcome, 'undecided'))
  FROM generations_output output
  LEFT JOIN generations_generation job ON job.account_id = output.account_id AND job.id = output.generation_id
 WHERE output.account_id = ANY(%(accounts)s) AND output.released_at IS NOT NULL
   AND (job.state = 'succeeded'
        AND (job.outcome = 'charged' OR (job.outcome = 'waived' AND job.waived_by_id IS NOT NULL))) IS NOT TRUE
"""

# No job was accepted twice by its provider.
PROVIDER_JOBS = """
SELECT 'job_accepted_once', job.account_id, ARRAY['generation:' || job.id],
       format('job %%s has %%s jobs at its provider', job.id, count(*))
  FROM generations_generation job
  JOIN generations_providerjob there ON there.account_id = job.account_id AND there.generation_id = job.id
 WHERE job.account_id = ANY(%(accounts)s)
 GROUP BY job.account_id, job.id HAVING count(*) > 1
"""

# A price is never above what was estimated and held, and the rule that settled it is on the job.
CHARGES = """
SELECT 'job_charged_within_its_estimate', job.account_id, ARRAY['generation:' || job.id],
       format('job %%s was charged outside its estimate, or without a rule', job.id)
  FROM generations_generation job
 WHERE job.account_id = ANY(%(accounts)s) AND job.outcome = 'charged'
   AND (job.charged_amount BETWEEN 0 AND job.estimate_max AND job.verdict_rule_id IS NOT NULL) IS NOT TRUE
"""

LAWS = (STATES, HOLDS, OUTPUTS, PROVIDER_JOBS, CHARGES)


def check(accounts: Sequence[UUID]) -> Iterable[Finding]:
    """The broken laws of these accounts' jobs; reads only."""
    for law in LAWS:
        yield from find(law, accounts)
