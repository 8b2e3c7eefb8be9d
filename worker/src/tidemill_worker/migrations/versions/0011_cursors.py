"""What has been loaded of tables that are read by a cursor."""

from alembic import op

revision = "0011"
down_revision = "0010"

TABLES = """
ALTER TABLE tidemill.watermarks
    ADD COLUMN cursor_of text,
    ADD COLUMN cursor_type text,
    ADD COLUMN cursor text;

CREATE TABLE tidemill.loaded_ranges (
    uid text NOT NULL,
    source text NOT NULL,
    sink text NOT NULL,
    run_key text NOT NULL,
    cursor_of text NOT NULL,
    cursor_type text NOT NULL,
    after text,
    until text NOT NULL,
    loaded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (uid, source, sink, run_key)
);
CREATE INDEX ON tidemill.loaded_ranges (uid, source, sink, loaded_at);
"""

COMMENTS = """
COMMENT ON COLUMN tidemill.watermarks.cursor_of IS 'Of a table: its name and the column that is the cursor.';
COMMENT ON COLUMN tidemill.watermarks.cursor_type IS 'Type of its values: bigint, date, timestamp, timestamptz.';
COMMENT ON COLUMN tidemill.watermarks.cursor IS
    'Of a table: the greatest value up to which the sink has all rows; NULL: it has none.';
COMMENT ON TABLE tidemill.loaded_ranges IS
    'Tables that are read by a cursor: which values each run has loaded, so that its key reads these if it runs again.';
COMMENT ON COLUMN tidemill.loaded_ranges.after IS 'The greatest value that was not read; NULL: no bound.';
COMMENT ON COLUMN tidemill.loaded_ranges.until IS 'The greatest value that was read.';
"""


def upgrade() -> None:
    """Make what a cursor needs."""
    op.execute(TABLES)
    op.execute(COMMENTS)
