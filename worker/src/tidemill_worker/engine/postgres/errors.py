"""What Postgres says, as errors of ours: an outage that a retry can mend, or a refusal. Never with values of rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from tidemill_api.errors import SinkRefused
from tidemill_worker.connections.outage import outages


@contextmanager
def typed(sink: str, connection: str) -> Iterator[None]:
    """Raise PostgresUnavailable or ConfigError for what `outages` knows, SinkRefused for what else Postgres refuses."""
    try:
        with outages(connection):
            yield
    except asyncpg.PostgresError as error:
        raise SinkRefused(f"sink {sink}: {refusal(error)}") from error


def refusal(error: asyncpg.PostgresError) -> str:
    """What was refused, by names and codes alone: Postgres' own words may quote a row."""
    kind = type(error).__name__.removesuffix("Error")
    about = [
        f"{label} {value}"
        for label, attribute in (("constraint", "constraint_name"), ("column", "column_name"), ("table", "table_name"))
        if (value := getattr(error, attribute, None))
    ]
    where = f" ({', '.join(about)})" if about else ""
    return f"Postgres refuses the rows or the statement: {kind}, SQLSTATE {error.sqlstate}{where}"
