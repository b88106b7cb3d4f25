"""What a plan, or staff, let an account have under way at once, beside what may be spent."""

from django.db import migrations, models
from django.db.models import Q

# Whoever is on a plan that says so already is bound by it from now on.
BOUND = """
UPDATE billing_spendlimit bound SET open_holds_max = plan.open_holds_max
  FROM billing_enrollment enrollment JOIN billing_plan plan ON plan.id = enrollment.plan_id
 WHERE bound.source = 'plan' AND bound.account_id = enrollment.account_id
   AND enrollment.state NOT IN ('pending', 'ended');
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0013_plans_changed_once")]

    operations = [
        migrations.AddField(
            model_name="plan",
            name="jobs_at_once_max",
            field=models.PositiveSmallIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="spendlimit",
            name="jobs_at_once_max",
            field=models.PositiveSmallIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="spendlimit",
            name="open_holds_max",
            field=models.PositiveSmallIntegerField(blank=True, null=True),
        ),
        migrations.AddConstraint(
            model_name="plan",
            constraint=models.CheckConstraint(
                condition=Q(jobs_at_once_max=None) | Q(jobs_at_once_max__gt=0), name="plan_jobs_at_once_positive"
            ),
        ),
        migrations.AddConstraint(
            model_name="spendlimit",
            constraint=models.CheckConstraint(
                condition=Q(source__in=["plan", "staff"]) | Q(open_holds_max=None, jobs_at_once_max=None),
                name="spend_limit_at_once_of_plan_or_staff",
            ),
        ),
        migrations.RunSQL(BOUND, ""),
    ]
