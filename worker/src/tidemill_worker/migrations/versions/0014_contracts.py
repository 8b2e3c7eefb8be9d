"""What contracts of sources come to: values that were loaded as NULL, and tables of sinks that were altered."""

from alembic import op

revision = "0014"
down_revision = "0013"

TABLES = """
ALTER TABLE tidemill.chunk_steps ADD COLUMN nulled jsonb;
CREATE TABLE tidemill.alterations (
    uid text NOT NULL,
    sink text NOT NULL,
    run_key text NOT NULL,
    what text NOT NULL,
    execution integer NOT NULL,
    altered_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (uid, sink, run_key, what)
);
"""

VIEW = """
CREATE OR REPLACE VIEW tidemill.run_steps AS
    SELECT r.namespace, r.pipeline, r.run_key, r.execution, s.ordinality AS place, s.value ->> 'step' AS step,
        (s.value ->> 'rowsIn')::bigint AS rows_in, (s.value ->> 'rowsOut')::bigint AS rows_out,
        (s.value ->> 'rejected')::bigint AS rejected, (s.value ->> 'skipped')::bigint AS skipped, r.uid,
        nullif(s.value -> 'nulled', '{}'::jsonb) AS nulled
    FROM tidemill.runs r CROSS JOIN LATERAL jsonb_array_elements(r.summary -> 'steps') WITH ORDINALITY AS s;
"""

COMMENTS = """
COMMENT ON COLUMN tidemill.chunk_steps.nulled IS
    'Of a source with badValues SetNull, by column: values that were not of its type and are NULL now.';
COMMENT ON COLUMN tidemill.run_steps.nulled IS
    'Of a source with badValues SetNull, by column: values that were not of its type and are NULL now.';
COMMENT ON TABLE tidemill.alterations IS
    'What runs have altered of the sinks'' tables, since a contract says so: noted in the transaction that did it.';
COMMENT ON COLUMN tidemill.alterations.uid IS 'The DataPipeline''s uid.';
COMMENT ON COLUMN tidemill.alterations.what IS 'What was altered, as status and Events tell it.';
"""


def upgrade() -> None:
    """Add the column and the table."""
    op.execute(TABLES)
    op.execute(VIEW)
    op.execute(COMMENTS)
