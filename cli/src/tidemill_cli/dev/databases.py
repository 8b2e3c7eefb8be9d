"""The embedded server's databases: one for each postgres connection that doesn't run elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import asyncpg

from tidemill_cli.dev.layout import Embedded


async def make(databases: Iterable[Embedded], dsn_of: Callable[[str], str]) -> None:
    """Make the databases and their schemas, where they aren't there yet; `dsn_of` gives a database's address."""
    wanted = tuple(databases)
    server = await asyncpg.connect(dsn_of("postgres"))
    try:
        there = {row["datname"] for row in await server.fetch("SELECT datname FROM pg_database")}
        for each in wanted:
            if each.database not in there:
                await server.execute(f"CREATE DATABASE {_quoted(each.database)}")
    finally:
        await server.close()
    for each in wanted:
        await _make_schemas(each, dsn_of(each.database))


async def _make_schemas(database: Embedded, dsn: str) -> None:
    schemas = [name for name in database.schemas if name != "public"]
    if not schemas:
        return
    connection = await asyncpg.connect(dsn)
    try:
        for name in schemas:
            await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_quoted(name)}")
    finally:
        await connection.close()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
