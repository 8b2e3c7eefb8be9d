"""Our own tables (schema `tidemill`), as alembic revisions of plain SQL: the same chain in the metastore and in each sink's database."""

from tidemill_worker.migrations.upgrade import HEAD, KNOWN, ensure

__all__ = ["HEAD", "KNOWN", "ensure"]
