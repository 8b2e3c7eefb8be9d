"""Sinks that are files: which there are, and what was decided about them."""

from alembic import op

revision = "0015"
down_revision = "0014"

TABLES = """
CREATE TABLE tidemill.file_runs (
    uid text NOT NULL,
    sink text NOT NULL,
    run_key text NOT NULL,
    execution integer NOT NULL,
    connection text NOT NULL,
    folder text NOT NULL,
    run_time timestamptz NOT NULL,
    columns jsonb NOT NULL,
    decided_at timestamptz,
    done_at timestamptz,
    PRIMARY KEY (uid, sink, run_key, execution)
);
CREATE INDEX file_runs_left ON tidemill.file_runs (uid, sink) WHERE done_at IS NULL;

CREATE TABLE tidemill.files (
    uid text NOT NULL,
    sink text NOT NULL,
    run_key text NOT NULL,
    execution integer NOT NULL,
    connection text NOT NULL,
    folder text NOT NULL,
    chunk integer NOT NULL,
    part integer NOT NULL,
    staged text NOT NULL,
    name text NOT NULL,
    partition jsonb NOT NULL,
    rows bigint NOT NULL,
    bytes bigint NOT NULL,
    state text NOT NULL DEFAULT 'Staged' CHECK (state IN ('Staged', 'Placing', 'Placed', 'Removing')),
    PRIMARY KEY (uid, sink, run_key, execution, name)
);
CREATE INDEX files_of_data_sets ON tidemill.files (uid, sink, state);
"""

COMMENTS = """
COMMENT ON TABLE tidemill.file_runs IS
    'Executions that write files. In the metastore: a folder or bucket has no transactions of its own.';
COMMENT ON COLUMN tidemill.file_runs.columns IS
    'Columns of its files and of their folders, to be compared with later runs.';
COMMENT ON COLUMN tidemill.file_runs.decided_at IS 'Since then its files are to be seen, whoever carries it out.';
COMMENT ON COLUMN tidemill.file_runs.done_at IS 'Since then they are, and what they supersede is gone.';
COMMENT ON TABLE tidemill.files IS 'Files of sinks: staged, about to be seen, to be seen, or about to be removed.';
COMMENT ON COLUMN tidemill.files.partition IS 'Values of the columns that name its folder, as texts, in their order.';
"""


def upgrade() -> None:
    """Make the tables."""
    op.execute(TABLES)
    op.execute(COMMENTS)
