"""In which Temporal the runs at a slot are."""

from alembic import op

revision = "0010"
down_revision = "0009"

STATEMENTS = """
ALTER TABLE tidemill.slots ADD COLUMN temporal text;
COMMENT ON COLUMN tidemill.slots.temporal IS
    'The Temporal that the run is in, as address/namespace: only there it can be told whether it is open still.';
"""


def upgrade() -> None:
    """Add the column."""
    op.execute(STATEMENTS)
