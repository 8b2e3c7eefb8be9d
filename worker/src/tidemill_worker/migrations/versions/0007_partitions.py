"""Which run each partition of a sink with `partitionBy` is from."""

from alembic import op

revision = "0007"
down_revision = "0006"

TABLES = """
CREATE TABLE tidemill.partitions (
    uid text NOT NULL,
    sink text NOT NULL,
    partition text NOT NULL,
    run_key text NOT NULL,
    execution integer NOT NULL,
    run_time timestamptz NOT NULL,
    PRIMARY KEY (uid, sink, partition)
);
"""

COMMENTS = """
COMMENT ON TABLE tidemill.published IS
    'Runs whose rows have been put into the sink''s table at once: Merge, Replace, and Append with commit AtEnd.';
COMMENT ON TABLE tidemill.partitions IS 'Of a Replace with partitionBy: the run that each partition''s rows are from.';
COMMENT ON COLUMN tidemill.partitions.partition IS 'Hash of the values of the partition''s columns.';
"""


def upgrade() -> None:
    """Make the table."""
    op.execute(TABLES)
    op.execute(COMMENTS)
