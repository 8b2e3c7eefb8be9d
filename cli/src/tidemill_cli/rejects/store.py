"""The metastore as `tidemill rejects` sees it: a connection with the caller's rights, and an audit of what is done."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Literal

from tidemill_cli import database
from tidemill_cli.database import Connection
from tidemill_cli.rejects.errors import RejectsError
from tidemill_cli.rejects.filters import Filter

Action = Literal["Show", "Export", "Edit", "Discard", "Erase", "Replay"]

IDS_KEPT: Final = 1000
"""Ids that an entry of the audit holds at most."""


def connected(dsn: str) -> AbstractAsyncContextManager[Connection]:
    """A connection in a transaction that commits when the body ends well. Raises RejectsError for what can be told.

    Its reads all see one moment, so what is counted is what is shown.
    """
    lacks = (
        "this database has no dead letters of this version: it is no metastore, or no worker of this version has "
        "started on it yet"
    )
    return database.connected(dsn, RejectsError, name="the metastore", lacks=lacks, isolation="repeatable_read")


def person(said: str | None) -> str:
    """Who sits here: what was said with --as, and the system's user and machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    here = f"{user}@{socket.gethostname()}"
    return f"{said} ({here})" if said else here


async def audit(
    connection: Connection,
    action: Action,
    who: str,
    asked: Filter,
    ids: Sequence[int],
    *,
    letters: int | None = None,
    note: str | None = None,
) -> None:
    """Note what is about to be done, in the same transaction; `letters` is how many there are if not all ids are."""
    await connection.execute(
        "INSERT INTO tidemill.dead_letter_audit (action, person, letters, ids, filter, note) "
        "VALUES ($1, $2, $3, $4, $5, $6)",
        *(action, who, len(ids) if letters is None else letters, list(ids[:IDS_KEPT]), asked.to_text(), note),
    )
