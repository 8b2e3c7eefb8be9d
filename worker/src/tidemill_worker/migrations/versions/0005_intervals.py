"""Where the interval of each run begins."""

from alembic import op

revision = "0005"
down_revision = "0004"

STATEMENTS = """
ALTER TABLE tidemill.runs ADD COLUMN interval_start timestamptz;
COMMENT ON COLUMN tidemill.runs.run_time IS 'The key''s moment: nominal time, or when the run was asked for.';
COMMENT ON COLUMN tidemill.runs.interval_start IS
    'Where the run''s interval begins, which ends at run_time: the time before it that the schedule names. '
    'NULL in runs of older versions.';
"""


def upgrade() -> None:
    """Add the column."""
    op.execute(STATEMENTS)
