"""Does every run of a tool agree with its money? The studio's laws, added to the vault's `manage.py reconcile`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from billing.reconcile import Finding, find

# A run, its hold and its line say the same.
RUNS = """
SELECT 'run_agrees_with_its_hold', run.account_id, ARRAY['run:' || run.id, 'hold:' || run.hold_id],
       format('run %%s is %%s while its hold is %%s', run.id, run.state, hold.state)
  FROM tools_registry_toolrun run
  LEFT JOIN billing_hold hold ON hold.account_id = run.account_id AND hold.id = run.hold_id
  LEFT JOIN billing_entry line ON line.account_id = run.account_id AND line.id = run.entry_id
 WHERE run.account_id = ANY(%(accounts)s)
   AND (hold.owner = 'tool' AND hold.amount = run.estimate_max AND CASE run.state
          WHEN 'running' THEN hold.state = 'open'
          WHEN 'succeeded' THEN hold.state = 'captured' AND hold.captured = run.charged_amount
                                AND line.kind = 'capture' AND line.hold_id = run.hold_id
                                AND -line.balance_delta = run.charged_amount
          ELSE hold.state IN ('released', 'expired') AND hold.captured_late IS NULL END) IS NOT TRUE
"""

# A hold that belongs to a tool has its run: money is never promised to nobody.
HOLDS = """
SELECT 'hold_of_a_tool_has_its_run', hold.account_id, ARRAY['hold:' || hold.id],
       format('hold %%s belongs to a tool, and no run stands on it', hold.id)
  FROM billing_hold hold
 WHERE hold.account_id = ANY(%(accounts)s) AND hold.owner = 'tool'
   AND NOT EXISTS (SELECT FROM tools_registry_toolrun run
                    WHERE run.account_id = hold.account_id AND run.hold_id = hold.id)
"""

# What a run made belongs to a run that was paid for.
FILES = """
SELECT 'file_of_a_run_is_paid_for', file.account_id, ARRAY['file:' || file.id, 'run:' || file.run_id],
       format('file %%s belongs to a run that is %%s', file.id, run.state)
  FROM tools_registry_toolfile file
  LEFT JOIN tools_registry_toolrun run ON run.account_id = file.account_id AND run.id = file.run_id
 WHERE file.account_id = ANY(%(accounts)s) AND run.state IS DISTINCT FROM 'succeeded'
"""

LAWS = (RUNS, HOLDS, FILES)


def check(accounts: Sequence[UUID]) -> Iterable[Finding]:
    """The broken laws of these accounts' runs; reads only."""
    for law in LAWS:
        yield from find(law, accounts)
