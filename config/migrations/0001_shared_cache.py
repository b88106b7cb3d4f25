from django.db import migrations


class Migration(migrations.Migration):
    """The table of config.cache.PostgresCache. Unlogged: what is cached need not survive a crash."""

    dependencies = []

    operations = [
        migrations.RunSQL(
            sql="""
            CREATE UNLOGGED TABLE config_cached (
                key text PRIMARY KEY,
                number bigint,
                value bytea,
                expires_at timestamptz
            );
            CREATE INDEX config_cached_expires_at ON config_cached (expires_at);
            """,
            reverse_sql="DROP TABLE config_cached;",
        ),
    ]
