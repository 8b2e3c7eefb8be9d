"""The connections of a pool as a worker holds them: folders, and one pool of Postgres connections for each name."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import asyncpg

from tidemill_api.errors import ConfigError, UnknownConnection
from tidemill_api.v1alpha1._types import SecretValue
from tidemill_api.v1alpha1.workerpool import Artifacts, Connection, FilesConnection, PostgresConnection
from tidemill_worker.connections.database import Database, Prepare
from tidemill_worker.connections.file_places import artifacts_of, place_of, writable_of
from tidemill_worker.connections.kept_folder import FolderArtifacts
from tidemill_worker.connections.locations import Location, location_of, without_password
from tidemill_worker.connections.login import Login
from tidemill_worker.connections.secrets import read_secret, whole_secrets
from tidemill_worker.files import Files
from tidemill_worker.files.writable import Writable

if TYPE_CHECKING:
    from tidemill_worker.cache import Cache
    from tidemill_worker.connections.http import HTTPPlace
    from tidemill_worker.connections.s3.artifacts import ObjectArtifacts

SECRETS_READ_EVERY: Final = 5.0
"""Seconds. Files of a mounted Secret are read anew: a look at them costs less than any way to be told."""

Tell = Callable[[str, bool], None]
"""Told of a connection whose Secret holds something that can't be used (True), or does no longer (False)."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """The secret parts of what is sent over HTTP."""

    path: str
    """Comes before any other path."""
    key: str | None
    """By which messages are signed; None: they aren't."""


class Measured(Protocol):
    """Who counts what connections are used for."""

    def postgres(self, connection: str, seconds: float, *, had: bool) -> None:
        """A connection to a database was waited for; `had`: it came."""
        ...

    def http(self, connection: str, code: int, seconds: float) -> None:
        """A request to a web server; code 0: no answer came."""
        ...


class PoolConnections:
    """Answers names with folders and pools. Pools are made when first asked for; `follow` renews their Secrets."""

    def __init__(
        self,
        connections: tuple[Connection, ...],
        secrets: Path,
        prepare: Prepare,
        tell: Tell = lambda _name, _bad: None,
        artifacts: Artifacts | None = None,
        books_in: str = "",
    ) -> None:
        """`books_in` is the metastore's connection, which keeps the books of sinks that are files."""
        self._connections = {connection.name: connection for connection in connections}
        self._secrets = secrets
        self._prepare = prepare
        self._tell = tell
        self._artifacts = artifacts
        self.books_in = books_in
        self._held: dict[str, Database] = {}
        self._places: dict[str, Files] = {}
        self._writables: dict[str, Writable] = {}
        self._kept: FolderArtifacts | ObjectArtifacts | None = None
        self._logins: dict[str, Login] = {}
        self._servers: dict[str, HTTPPlace] = {}
        self.measured: Measured | None = None
        """Who counts."""
        self.cache: Cache | None = None
        """The pool's, if it has one."""
        self._lock = threading.Lock()

    def files(self, name: str) -> Files:
        """The place of a `files` connection, or of files of a `http` one. Raises UnknownConnection, ConfigError."""
        held = self._places.get(name)
        if held is None and self._named(name).http is not None:
            from tidemill_worker.connections.http_files import HTTPFiles

            held = self._places[name] = HTTPFiles(self.http(name))
        if held is None:
            held = self._places[name] = place_of(self._files(name), name, self._secrets)
        return held

    def writable(self, name: str) -> Writable:
        """The place of a `files` connection, for sinks.

        Raises UnknownConnection, ConfigError if the pool's owner hasn't granted writing.
        """
        settings = self._files(name)
        if settings.access != "Write":
            raise ConfigError(f"connections.{name}.files.access: the pool gives {name} for reading only")
        held = self._writables.get(name)
        if held is None:
            held = self._writables[name] = writable_of(settings, name, self._secrets)
        return held

    async def books(self) -> asyncpg.Pool:
        """The metastore's pool. Raises as `postgres`."""
        return await self.metastore(self.books_in)

    def http(self, name: str) -> HTTPPlace:
        """The web server of a `http` connection. Raises UnknownConnection."""
        settings = self._named(name).http
        if settings is None:
            raise UnknownConnection(f"connection {name} is not of kind http")
        with self._lock:
            held = self._servers.get(name)
            if held is None:
                from tidemill_worker.connections.http import HTTPPlace

                held = self._servers[name] = HTTPPlace(name, settings, whole_secrets(self._secrets), self._told_http)
        return held

    @property
    def keeps_artifacts(self) -> bool:
        """Whether there is a place for what passes between stages."""
        return self._artifacts is not None

    def artifacts(self) -> FolderArtifacts | ObjectArtifacts:
        """The place for what passes between stages. Raises UnknownConnection, ConfigError."""
        if self._artifacts is None:
            raise ConfigError("the pool has no place for what passes between stages: set spec.artifacts of the pool")
        if self._kept is None:
            self._kept = artifacts_of(self._files(self._artifacts.connection), self._artifacts, self._secrets)
        return self._kept

    def webhook(self, name: str, *, for_pipelines: bool = False) -> Webhook:
        """What the Secrets of an `http` connection hold for what is sent to it, as they are now.

        `for_pipelines`: what is sent is what a pipeline asks for, so the pool's owner must have allowed it by a
        `webhook`. Raises UnknownConnection, SecretMissing, ConfigError.
        """
        settings = self._named(name).http
        if settings is None:
            raise UnknownConnection(f"connection {name} is not of kind http")
        declared = settings.webhook
        if declared is None and for_pipelines:
            raise ConfigError(f"connection {name} has no http.webhook in the pool, so it takes no notifications")
        return Webhook(
            path=self._value(declared.path_from) or "" if declared is not None else "",
            key=self._value(declared.signing_key) if declared is not None else None,
        )

    def location(self, name: str) -> Location | None:
        """Where a connection leads; None: there is no word for it. Raises UnknownConnection, SecretMissing."""
        connection = self._named(name)
        dsn = self._value(connection.postgres.dsn) if connection.postgres is not None else None
        return location_of(connection, dsn)

    def _value(self, value: SecretValue | None) -> str | None:
        if value is None:
            return None
        return read_secret(self._secrets, value.secret_key_ref.name, value.secret_key_ref.key)

    async def postgres(self, name: str) -> asyncpg.Pool:
        """The pool of a `postgres` connection; a database that may be written to is migrated when you get it.

        Raises UnknownConnection, SecretMissing, ConfigError, PostgresUnavailable.
        """
        return await self._pool_of(name, name)

    async def reading(self, name: str) -> asyncpg.Pool:
        """As `postgres`, but a pool apart.

        So a chunk that holds connections of its sink can't wait in vain for its rows.
        """
        return await self._pool_of(name, f"source {name}")

    def identity(self, name: str) -> str:
        """The same for the same server, database, user and settings of a `postgres` connection, whatever the password.

        Raises UnknownConnection, SecretMissing.
        """
        settings = self._named(name).postgres
        if settings is None:
            raise UnknownConnection(f"connection {name} is not of kind postgres")
        return without_password(self._value(settings.dsn) or "")

    async def in_use(self) -> dict[str, asyncpg.Pool]:
        """The databases that may be written to and that somebody has asked for. Raises as `postgres`."""
        names = [name for name, each in self._connections.items() if each.postgres and each.postgres.access == "Write"]
        return {name: await self.postgres(name) for name in names if name in self._held}

    async def metastore(self, name: str) -> asyncpg.Pool:
        """As `postgres`, but a pool apart.

        So a chunk that holds a connection of its sink can't wait in vain for another one to keep its dead letters.
        """
        return await self._pool_of(name, f"metastore {name}")

    async def follow(self) -> None:
        """Take up what changes in mounted Secrets; for ever. What can't be used changes nothing."""
        while True:
            await asyncio.sleep(SECRETS_READ_EVERY)
            for login in tuple(self._logins.values()):
                await login.renew()

    async def close(self) -> None:
        """Close all pools, at once: what still runs in them is rolled back."""
        for held in self._held.values():
            held.terminate()
        self._held.clear()
        for written in self._writables.values():
            written.close()
        for server in self._servers.values():
            server.close()
        if self.cache is not None:
            self.cache.close()
        for place in self._places.values():
            place.close()

    def open_pools(self) -> list[tuple[str, asyncpg.Pool]]:
        """The pools of Postgres connections that are in use, each with its connection's name. For any thread."""
        held = tuple(self._held.values())
        return [(each.name, pool) for each in held if (pool := each.opened) is not None]

    def _told_postgres(self, name: str, seconds: float, had: bool) -> None:
        if self.measured is not None:
            self.measured.postgres(name, seconds, had=had)

    def _told_http(self, name: str, code: int, seconds: float) -> None:
        if self.measured is not None:
            self.measured.http(name, code, seconds)

    async def _pool_of(self, name: str, key: str) -> asyncpg.Pool:
        settings = self._named(name).postgres
        if settings is None:
            raise UnknownConnection(f"connection {name} is not of kind postgres")
        held = self._held.get(key)
        if held is None:
            held = self._held[key] = Database(
                name, settings, self._login(name, settings), self._prepare, self._told_postgres
            )
        return await held.pool()

    def _login(self, name: str, settings: PostgresConnection) -> Login:
        """One for all pools of a connection: what one of them has learned of the Secret, all know."""
        ref = settings.dsn.secret_key_ref
        login = Login(name, lambda: read_secret(self._secrets, ref.name, ref.key), lambda bad: self._tell(name, bad))
        return self._logins.setdefault(name, login)

    def _files(self, name: str) -> FilesConnection:
        found = self._named(name).files
        if found is None:
            raise UnknownConnection(f"connection {name} is not of kind files")
        return found

    def _named(self, name: str) -> Connection:
        connection = self._connections.get(name)
        if connection is None:
            known = ", ".join(sorted(self._connections))
            raise UnknownConnection(f"the pool has no connection {name}; it has {known}")
        return connection
