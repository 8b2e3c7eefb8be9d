"""What an error of asyncpg means: an outage that a retry can mend, or the worker's own configuration.

Anything else (a constraint, a missing table, a query's fault) is the caller's to judge.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import asyncpg

from tidemill_api.errors import ConfigError, PostgresUnavailable, TidemillError

# By SQLSTATE, or its class of two letters. Each passes by itself, or when somebody mends the server.
_PASSING = {
    "08": "the connection broke",
    "53": "the server has no more connections, memory or disk",
    "57P01": "the server is shutting down",
    "57P02": "the server crashed",
    "57P03": "the server is starting up or shutting down",
    "57P05": "the server ended an idle connection",
    "40001": "another transaction was first (serialization failure)",
    "40P01": "a deadlock with another transaction",
    "55P03": "a lock couldn't be had",
    "25006": "the server is read-only now (a standby?)",
}
_CONFIGURATION = {
    "28": "the server refuses the user or password of its Secret",
    "3D000": "there is no such database",
}

# Words of asyncpg's own errors. The last: the server has ended the connection (a FATAL between two queries), but its
# end hasn't been read yet; the protocol is in the state PROTOCOL_ERROR_CONSUME, 2, and takes no query.
_LOST = ("closed", "closing", "released", "another operation (2) is in progress")


def typed(error: BaseException, connection: str) -> TidemillError | None:
    """The error as one of ours, or None if it is neither an outage nor the connection's configuration.

    The message names the connection and the kind of trouble, and holds nothing that the server said: that may
    quote a row.
    """
    if isinstance(error, TidemillError):
        return None
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        if meaning := _PASSING.get(state) or _PASSING.get(state[:2]):
            return PostgresUnavailable(f"connection {connection}: {meaning} ({state})")
        if meaning := _CONFIGURATION.get(state) or _CONFIGURATION.get(state[:2]):
            return ConfigError(f"connection {connection}: {meaning} ({state})")
        return None
    if isinstance(error, asyncpg.ClientConfigurationError):
        # asyncpg's own words may quote the connection string, and with it the password.
        return ConfigError(
            f"connection {connection}: its Secret holds no connection string; "
            "write it like postgresql://user:password@host:5432/database"
        )
    if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError):
        # Only what a lost connection looks like from within: other interface errors are ours to mend.
        lost = any(word in str(error) for word in _LOST)
        return PostgresUnavailable(f"connection {connection}: the connection was lost") if lost else None
    if isinstance(error, RuntimeError) and "handler is closed" in str(error):
        # uvloop's way to say that the transport is gone.
        return PostgresUnavailable(f"connection {connection}: the connection was lost")
    if isinstance(error, OSError | TimeoutError):
        reason = getattr(error, "strerror", None) or type(error).__name__
        return PostgresUnavailable(f"connection {connection}: Postgres can't be reached ({reason})")
    return None


@contextlib.contextmanager
def outages(connection: str) -> Iterator[None]:
    """Raise what `typed` makes of an error of the body; other errors pass as they are."""
    try:
        yield
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, RuntimeError) as error:
        ours = typed(error, connection)
        if ours is None:
            raise
        raise ours from error
