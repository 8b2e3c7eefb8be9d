"""What makes loads happen once: the fence, the ledger, and what each sink has published.

It lives where the rows live.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = """
CREATE TABLE tidemill.fence (
    uid text NOT NULL,
    run_key text NOT NULL,
    execution integer NOT NULL,
    PRIMARY KEY (uid, run_key)
);

CREATE TABLE tidemill.ledger (
    uid text NOT NULL,
    run_key text NOT NULL,
    execution integer NOT NULL,
    sink text NOT NULL,
    chunk integer NOT NULL,
    part integer NOT NULL,
    content text NOT NULL,
    rows bigint NOT NULL,
    inserted bigint,
    updated bigint,
    last boolean NOT NULL,
    resume jsonb NOT NULL,
    committed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (uid, run_key, sink, chunk, part, execution)
);

CREATE TABLE tidemill.published (
    uid text NOT NULL,
    sink text NOT NULL,
    run_key text NOT NULL,
    execution integer NOT NULL,
    run_time timestamptz NOT NULL,
    rows bigint NOT NULL,
    inserted bigint,
    updated bigint,
    published_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (uid, sink, run_key)
);
CREATE INDEX published_by_time ON tidemill.published (uid, sink, run_time DESC);
"""

COMMENTS = """
COMMENT ON TABLE tidemill.fence IS 'The newest execution of each run key; an older one commits nothing any more.';
COMMENT ON TABLE tidemill.ledger IS
    'What has been committed: one row for each part of a chunk and each sink, written in the transaction of its rows.';
COMMENT ON COLUMN tidemill.ledger.content IS 'Hash of what was read and how: the same content gives the same rows.';
COMMENT ON COLUMN tidemill.ledger.last IS 'This part was the chunk''s last one.';
COMMENT ON COLUMN tidemill.ledger.resume IS 'Where the next part begins, and the counts of this one.';
COMMENT ON TABLE tidemill.published IS 'Runs whose staged rows (Merge, Replace) are in the sink''s table.';
"""


def upgrade() -> None:
    """Make the tables."""
    op.execute(TABLES)
    op.execute(COMMENTS)
