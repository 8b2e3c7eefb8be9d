"""Which columns each run has read, and what of that has changed since the run before."""

from alembic import op

revision = "0013"
down_revision = "0012"

COLUMNS = """
ALTER TABLE tidemill.runs
    ADD COLUMN columns jsonb,
    ADD COLUMN schema_changes text[];
"""

COMMENTS = """
COMMENT ON COLUMN tidemill.runs.columns IS
    'What the run reads: by source the type of each column, declared or inferred. NULL: nothing, or an older version.';
COMMENT ON COLUMN tidemill.runs.schema_changes IS
    'What differs from the columns of the pipeline''s run that was planned before: one sentence each.';
"""


def upgrade() -> None:
    """Add the columns."""
    op.execute(COLUMNS)
    op.execute(COMMENTS)
