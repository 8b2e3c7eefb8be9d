"""What has been told of runs, and what couldn't be."""

from alembic import op

revision = "0012"
down_revision = "0011"

TABLES = """
CREATE TABLE tidemill.notifications (
    uid text NOT NULL,
    run_key text NOT NULL,
    execution integer NOT NULL,
    number integer NOT NULL,
    events text[] NOT NULL,
    connection text NOT NULL,
    path text NOT NULL,
    state text NOT NULL CHECK (state IN ('Waiting', 'Sent', 'Unsent')),
    attempts integer NOT NULL,
    error text,
    last_attempt timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (uid, run_key, execution, number)
);
CREATE INDEX notifications_not_sent ON tidemill.notifications (last_attempt) WHERE state <> 'Sent';
"""

COMMENTS = """
COMMENT ON TABLE tidemill.notifications IS 'What spec.notifications have told of runs, and what could not be told.';
COMMENT ON COLUMN tidemill.notifications.uid IS 'The DataPipeline''s uid.';
COMMENT ON COLUMN tidemill.notifications.number IS 'Which of spec.notifications, from 0.';
COMMENT ON COLUMN tidemill.notifications.events IS 'What the message is about, the most telling first.';
COMMENT ON COLUMN tidemill.notifications.connection IS 'The http connection that it goes to.';
COMMENT ON COLUMN tidemill.notifications.path IS 'The path below the connection''s URL.';
COMMENT ON COLUMN tidemill.notifications.state IS
    'Sent; Waiting: it is tried again; Unsent: it was refused, or tried too often.';
COMMENT ON COLUMN tidemill.notifications.error IS 'Why the last attempt did not succeed.';
"""


def upgrade() -> None:
    """Make the table."""
    op.execute(TABLES)
    op.execute(COMMENTS)
