"""A database with the caller's rights: one transaction, and what it refuses told in one line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal, TypeAlias

import asyncpg

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@asynccontextmanager
async def connected(
    dsn: str, refused: type[Exception], *, name: str, lacks: str, isolation: Literal["repeatable_read"] | None = None
) -> AsyncIterator[Connection]:
    """A connection in a transaction that commits when the body ends well.

    Raises `refused` with what can be told: `name` is what the database is called, `lacks` says what it hasn't.
    """
    try:
        connection = await asyncpg.connect(dsn, timeout=15, server_settings={"timezone": "UTC"})
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError, TimeoutError) as error:
        raise refused(f"{name} can't be reached: {_plain(error, dsn)}") from None
    try:
        async with connection.transaction(isolation=isolation):
            yield connection
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.InvalidSchemaNameError):
        raise refused(lacks) from None
    except asyncpg.InsufficientPrivilegeError as error:
        raise refused(f"the database doesn't let you: {error}") from None
    except asyncpg.SerializationError:
        raise refused("somebody changed the same at the same moment: try again") from None
    except asyncpg.PostgresError as error:
        raise refused(f"the database refuses: {_plain(error, dsn)}") from None
    finally:
        await connection.close(timeout=5)


def _plain(error: Exception, dsn: str) -> str:
    """One line without the connection string, which may hold a password."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.replace(dsn, "…")
