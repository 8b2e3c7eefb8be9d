"""The metastore as `tidemill rejects` sees it: a connection with the caller's rights, and an audit of what is done."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Literal, TypeAlias

import asyncpg

from tidemill_cli.rejects.errors import RejectsError
from tidemill_cli.rejects.filters import Filter

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Action = Literal["Show", "Export", "Edit", "Discard", "Erase", "Replay"]

IDS_KEPT: Final = 1000
"""Ids that an entry of the audit holds at most."""


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Connection]:
    """A connection in a transaction that commits when the body ends well. Raises RejectsError for what can be told.

    Its reads all see one moment, so what is counted is what is shown.
    """
    try:
        connection = await asyncpg.connect(dsn, timeout=15, server_settings={"timezone": "UTC"})
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError, TimeoutError) as error:
        raise RejectsError(f"the metastore can't be reached: {_plain(error, dsn)}") from None
    try:
        async with connection.transaction(isolation="repeatable_read"):
            yield connection
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.InvalidSchemaNameError):
        raise RejectsError(
            "this database has no dead letters of this version: it is no metastore, or no worker of this version has "
            "started on it yet"
        ) from None
    except asyncpg.InsufficientPrivilegeError as error:
        raise RejectsError(f"the database doesn't let you: {error}") from None
    except asyncpg.SerializationError:
        raise RejectsError("somebody changed these letters at the same moment: try again") from None
    except asyncpg.PostgresError as error:
        raise RejectsError(f"the database refuses: {_plain(error, dsn)}") from None
    finally:
        await connection.close(timeout=5)


def _plain(error: Exception, dsn: str) -> str:
    """One line without the connection string, which may hold a password."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.replace(dsn, "…")


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
