"""What checks of sinks came to."""

from alembic import op

revision = "0008"
down_revision = "0007"

TABLES = """
CREATE TABLE tidemill.check_results (
    uid text NOT NULL,
    run_key text NOT NULL,
    execution integer NOT NULL,
    name text NOT NULL,
    sink text NOT NULL,
    metric text NOT NULL,
    severity text NOT NULL CHECK (severity IN ('Error', 'Warn')),
    passed boolean NOT NULL,
    value double precision,
    message text NOT NULL,
    meaning text NOT NULL,
    checked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (uid, run_key, execution, name)
);
CREATE INDEX check_results_by_meaning ON tidemill.check_results (uid, name, meaning);
ALTER TABLE tidemill.published ADD COLUMN checks jsonb;
"""

COMMENTS = """
COMMENT ON TABLE tidemill.check_results IS 'What each check of spec.checks came to in each run.';
COMMENT ON COLUMN tidemill.check_results.uid IS 'The DataPipeline''s uid.';
COMMENT ON COLUMN tidemill.check_results.name IS 'The check''s name.';
COMMENT ON COLUMN tidemill.check_results.value IS 'What was measured; of freshness seconds. NULL: there was nothing.';
COMMENT ON COLUMN tidemill.check_results.message IS
    'Of one that did not pass: how far it is from what it should be.';
COMMENT ON COLUMN tidemill.check_results.meaning IS
    'Hash of what is measured: values are compared with those of the same meaning only.';
COMMENT ON COLUMN tidemill.published.checks IS 'What the checks came to that held when the rows were put there.';
"""


def upgrade() -> None:
    """Make the table."""
    op.execute(TABLES)
    op.execute(COMMENTS)
