"""The metastore: runs, slots, the plan of chunks, what became of them, and dead letters; schema `tidemill` in Postgres.

Each file is one subject and holds its SQL; nothing here knows Temporal. All functions raise PostgresUnavailable for
an outage, so that whoever called tries again.
"""

from tidemill_worker.metastore.store import Metastore, RunId

__all__ = ["Metastore", "RunId"]
