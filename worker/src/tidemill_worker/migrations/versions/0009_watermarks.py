"""What has been loaded of incremental sources."""

from alembic import op

revision = "0009"
down_revision = "0008"

TABLES = """
ALTER TABLE tidemill.runs ADD COLUMN watermarks jsonb;

CREATE TABLE tidemill.watermarks (
    uid text NOT NULL,
    source text NOT NULL,
    sink text NOT NULL,
    namespace text NOT NULL,
    pipeline text NOT NULL,
    version bigint NOT NULL,
    run_key text NOT NULL,
    moved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (uid, source, sink)
);

CREATE TABLE tidemill.loaded_files (
    uid text NOT NULL,
    source text NOT NULL,
    sink text NOT NULL,
    path text NOT NULL,
    size bigint NOT NULL,
    mtime_ns bigint NOT NULL,
    run_key text NOT NULL,
    loaded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (uid, source, sink, path)
);
"""

COMMENTS = """
COMMENT ON COLUMN tidemill.runs.watermarks IS
    'Of incremental sources, as the plan found them: by sink, then by source, how often the watermark had moved.';
COMMENT ON TABLE tidemill.watermarks IS
    'Incremental sources: where each sink is. A run moves it in the transaction that makes its rows visible.';
COMMENT ON COLUMN tidemill.watermarks.version IS 'How often it has moved: a run moves it only from where it found it.';
COMMENT ON COLUMN tidemill.watermarks.run_key IS 'The run that moved it last.';
COMMENT ON TABLE tidemill.loaded_files IS
    'Incremental sources: the files whose rows each sink has. To have one read again, delete its row.';
COMMENT ON COLUMN tidemill.loaded_files.path IS 'Relative to the connection''s folder.';
COMMENT ON COLUMN tidemill.loaded_files.mtime_ns IS 'When the file had changed last, in nanoseconds of Unix time.';
COMMENT ON COLUMN tidemill.loaded_files.run_key IS 'The run that loaded it.';
"""


def upgrade() -> None:
    """Make the tables."""
    op.execute(TABLES)
    op.execute(COMMENTS)
