"""Our own tables (schema `tidemill`), as alembic revisions of plain SQL.

The same chain for the metastore and for each sink's database.
"""

from tidemill_worker.migrations.upgrade import HEAD, KNOWN, ensure

__all__ = ["HEAD", "KNOWN", "ensure"]
