"""Which runs are a backfill's."""

from alembic import op

revision = "0006"
down_revision = "0005"

STATEMENTS = """
ALTER TABLE tidemill.runs ADD COLUMN backfill text;
ALTER TABLE tidemill.slots ADD COLUMN backfill boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN tidemill.runs.trigger IS 'Schedule, Manual or Backfill.';
COMMENT ON COLUMN tidemill.runs.backfill IS 'Of a backfill''s run: name of the DataPipelineRun that asked for it.';
COMMENT ON COLUMN tidemill.slots.backfill IS
    'A backfill''s run: it takes no part in the overlap policy, but for runs of the same key.';
"""


def upgrade() -> None:
    """Add the columns."""
    op.execute(STATEMENTS)
