"""Bring a database's schema `tidemill` to this worker's version; safe when many workers do so at once.

Alembic keeps the chain of revisions and writes the SQL; asyncpg runs it, in one transaction. Alembic and
SQLAlchemy are imported only when a database is behind: a worker's usual start costs one query.
"""

from __future__ import annotations

import asyncio
import io
import logging
from pathlib import Path
from typing import Final, TypeAlias

import asyncpg
import asyncpg.pool

from tidemill_api.errors import ConfigError
from tidemill_worker.connections.outage import outages

_log = logging.getLogger(__name__)

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

FOLDER: Final = Path(__file__).parent
KNOWN: Final = tuple(sorted(path.stem.split("_")[0] for path in (FOLDER / "versions").glob("[0-9]*_*.py")))
"""Revisions, oldest first: a file is called `<revision>_<what>.py`."""
HEAD: Final = KNOWN[-1]
NAME: Final = "tidemill migration"
"""`application_name` of a migration's session."""
_LOCK: Final = 0x7464_6D69_6C6C  # one advisory lock of the database, by a number that nobody else uses


async def ensure(name: str, pool: asyncpg.Pool) -> None:
    """Migrate the database of the connection `name` if it is behind.

    Raises ConfigError when the database is of a newer Tidemill, or when rights are missing (the message names the
    grant); PostgresUnavailable.
    """
    with outages(name):
        async with pool.acquire() as connection:
            try:
                if await _version(connection) == HEAD:
                    return
                await _upgrade(name, connection)
            except asyncpg.InsufficientPrivilegeError as error:
                raise await _missing_right(name, connection) from error


async def _version(connection: Connection) -> str | None:
    """The database's revision, or None if there is none yet."""
    try:
        found = await connection.fetchval("SELECT version_num FROM tidemill.alembic_version")
    except asyncpg.UndefinedTableError:
        return None
    if found is None:
        return None
    version = str(found)
    if version not in KNOWN:
        raise ConfigError(
            f"the schema tidemill is of a newer version ({version}) than this worker knows ({HEAD}): "
            "use a newer worker image"
        )
    return version


async def _upgrade(name: str, connection: Connection) -> None:
    async with connection.transaction():
        # By a name of its own it is told from work on runs, and is never ended for being in the way of that.
        await connection.execute(f"SET LOCAL application_name = '{NAME}'")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        await connection.execute(
            "DO $$ BEGIN IF to_regnamespace('tidemill') IS NULL THEN CREATE SCHEMA tidemill; END IF; END $$"
        )
        async with connection.transaction():
            # Another worker may have been first.
            version = await _version_within(connection)
        if version == HEAD:
            return
        await connection.execute(await asyncio.to_thread(_script, version))
    _log.info("connection %s: schema tidemill is at version %s now, was at %s", name, HEAD, version or "none")


async def _version_within(connection: Connection) -> str | None:
    """As `_version`, without an error that would end the transaction."""
    if await connection.fetchval("SELECT to_regclass('tidemill.alembic_version')") is None:
        return None
    return await _version(connection)


def _script(version: str | None) -> str:
    """SQL from `version` to the newest, as alembic writes it."""
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it has much to say while it is imported
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    sql = io.StringIO()

    def steps(revision: object, _context: object) -> object:
        return scripts._upgrade_revs("head", revision)  # type: ignore[arg-type]  # noqa: SLF001 - the way alembic's own commands go

    with EnvironmentContext(
        config, scripts, fn=steps, as_sql=True, starting_rev=version, destination_rev="head"
    ) as environment:
        environment.configure(
            dialect_name="postgresql",
            output_buffer=sql,
            transactional_ddl=False,  # the transaction is ours
            version_table_schema="tidemill",
        )
        environment.run_migrations()
    return sql.getvalue()


async def _missing_right(name: str, connection: Connection) -> ConfigError:
    """What to grant: nothing of ours can be made, or the schema exists and isn't open to us."""
    user, database, there = await connection.fetchrow(  # type: ignore[misc]  # always one row
        "SELECT quote_ident(current_user), quote_ident(current_database()), to_regnamespace('tidemill') IS NOT NULL"
    )
    if there:
        return ConfigError(
            f"connection {name}: role {user} can't use the schema tidemill of database {database}; let its owner run: "
            f"GRANT USAGE, CREATE ON SCHEMA tidemill TO {user}; GRANT ALL ON ALL TABLES IN SCHEMA tidemill TO {user}"
        )
    return ConfigError(
        f"connection {name}: role {user} can't create the schema tidemill in database {database}; "
        f"run: GRANT CREATE ON DATABASE {database} TO {user}"
    )
