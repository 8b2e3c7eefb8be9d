"""Rejected rows run again: what a replay has chosen, and in sinks' databases which rows it has loaded."""

from alembic import op

revision = "0004"
down_revision = "0003"

TABLES = """
ALTER TABLE tidemill.runs ADD COLUMN replay jsonb;
ALTER TABLE tidemill.chunks ADD COLUMN replay jsonb;
ALTER TABLE tidemill.dead_letters
    ADD COLUMN replayed_by text,
    ADD COLUMN replayed_execution integer,
    ADD COLUMN replayed_at timestamptz;
ALTER TABLE tidemill.dead_letter_layouts ADD COLUMN types text[];
ALTER TABLE tidemill.dead_letter_audit
    DROP CONSTRAINT dead_letter_audit_action_check,
    ADD CONSTRAINT dead_letter_audit_action_check
        CHECK (action IN ('Show', 'Export', 'Edit', 'Discard', 'Erase', 'Replay'));

CREATE TABLE tidemill.replay_rows (
    uid text NOT NULL,
    run_key text NOT NULL,
    execution integer NOT NULL,
    chunk integer NOT NULL,
    place integer NOT NULL,
    letter bigint NOT NULL,
    letter_key text NOT NULL,
    row_text text NOT NULL,
    PRIMARY KEY (uid, run_key, execution, chunk, place)
);

CREATE TABLE tidemill.replayed (
    uid text NOT NULL,
    sink text NOT NULL,
    letter_key text NOT NULL,
    run_key text NOT NULL,
    execution integer NOT NULL,
    replayed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (uid, sink, letter_key)
);
"""

COMMENTS = """
COMMENT ON COLUMN tidemill.runs.replay IS 'Of a replay: which dead letters were asked for (spec.replay).';
COMMENT ON COLUMN tidemill.chunks.replay IS 'Of a replay: the sinks that the chunk''s rows go to.';
COMMENT ON COLUMN tidemill.dead_letters.replayed_by IS
    'Key of the run that replayed the row last. If the status is still New, the row was rejected again.';
COMMENT ON COLUMN tidemill.dead_letters.replayed_execution IS 'Which processing of that key.';
COMMENT ON COLUMN tidemill.dead_letters.replayed_at IS 'When.';
COMMENT ON COLUMN tidemill.dead_letters.attempts IS
    'How often the row was rejected, attempts of a chunk and replays included.';
COMMENT ON COLUMN tidemill.dead_letters.status IS
    'New; Replayed: loaded by a later run; Discarded by a person; Erased: its data was removed for good.';
COMMENT ON COLUMN tidemill.dead_letter_layouts.types IS 'Type of each column that is read, when it was read.';
COMMENT ON COLUMN tidemill.dead_letter_audit.action IS 'Show, Export, Edit, Discard, Erase or Replay.';
COMMENT ON TABLE tidemill.replay_rows IS
    'The rows that an open replay works on, as they were when it was planned; removed when it ends.';
COMMENT ON TABLE tidemill.replayed IS
    'Rejected rows that replays have loaded: one row for each letter and sink, written in the transaction of its rows.';
COMMENT ON COLUMN tidemill.replayed.letter_key IS 'Hash of the letter''s primary key in the metastore.';
"""


def upgrade() -> None:
    """Make the tables."""
    op.execute(TABLES)
    op.execute(COMMENTS)
