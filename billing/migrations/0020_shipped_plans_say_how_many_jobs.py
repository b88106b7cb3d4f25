"""The shipped plans that were made before plans said how many jobs run at once say it, and their accounts are bound.

Only where nothing is said: a number that staff gave stands, and so does their word that there is no limit.
"""

from django.db import migrations

DEFAULTS = """
UPDATE billing_plan plan SET jobs_at_once_max = shipped.most
  FROM (VALUES ('free', 5), ('supporter', 15), ('pro', 40)) AS shipped (slug, most)
 WHERE plan.slug = shipped.slug AND plan.jobs_at_once_max IS NULL
   AND NOT EXISTS (
     SELECT FROM billing_approval asked
      WHERE asked.act = 'change_plan' AND asked.state = 'approved' AND asked.instruction ->> 'row' = plan.id::text
        AND asked.instruction -> 'terms' ? 'jobs_at_once_max');

UPDATE billing_spendlimit bound SET jobs_at_once_max = plan.jobs_at_once_max
  FROM billing_enrollment enrollment JOIN billing_plan plan ON plan.id = enrollment.plan_id
 WHERE bound.source = 'plan' AND bound.account_id = enrollment.account_id AND bound.jobs_at_once_max IS NULL
   AND enrollment.state NOT IN ('pending', 'ended') AND plan.slug IN ('free', 'supporter', 'pro');
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0019_limits_say_whether_they_lift_the_ceiling")]

    operations = [migrations.RunSQL(DEFAULTS, "")]
