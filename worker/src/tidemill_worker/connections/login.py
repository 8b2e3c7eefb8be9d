"""The connection string of one connection, which changes with its Secret while it is used."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import asyncpg

from tidemill_api.errors import PostgresUnavailable, TidemillError
from tidemill_worker.connections.outage import outages, typed
from tidemill_worker.connections.strings import check_dsn

_log = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 15.0
ROTATION_SECONDS: Final = 600.0
"""So long a password that was taken before may be refused before that counts as wrong: it was changed in the database,
and the new one is on its way to the mounted Secret (a kubelet takes up to two minutes)."""

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Tell = Callable[[bool], None]
"""Told whether the Secret holds something that can't be used while a former content is in use."""


class Login:
    """Opens connections, with the newest connection string that the server has taken."""

    def __init__(self, name: str, read: Callable[[], str], tell: Tell) -> None:
        """`read` gives what the Secret holds now, or raises SecretMissing."""
        self._name = name
        self._read = read
        self._tell = tell
        self._dsn = ""
        self._worked = False
        self._refused_since: float | None = None
        self._said = ""
        self.changes = 0
        """How often a new connection string was taken up. It may lead elsewhere, too."""

    def look(self) -> None:
        """Read the Secret, until it is known to be good. Raises SecretMissing, and ConfigError for no such string."""
        if not self._worked:
            self._dsn = self._checked(self._read())

    async def renew(self) -> None:
        """Look at the Secret; take up what is new if the server takes it, else say so once and keep the former."""
        if not self._worked:
            return
        try:
            found = self._read()
            if found == self._dsn:
                self._settle()
                return
            with outages(self._name):
                connection = await self._open(self._checked(found))
                await connection.close()
        except Exception as error:  # noqa: BLE001 - whatever it is, the former connection string is good
            self._keep(error)
        else:
            self._adopt(found)

    async def connect(self, *_: object, **options: Any) -> Connection:
        """What a pool calls for a new connection. Raises PostgresUnavailable, and what asyncpg does."""
        try:
            made = await self._open(self._dsn, **options)
        except asyncpg.InvalidAuthorizationSpecificationError as refusal:
            made = await self._renewed(refusal, options)
        self._worked, self._refused_since = True, None
        return made

    async def _renewed(self, refusal: asyncpg.InvalidAuthorizationSpecificationError, options: Any) -> Connection:
        """A connection by what the Secret holds now, since the server refuses what it held."""
        with contextlib.suppress(TidemillError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            found = self._read()
            if found != self._dsn:
                made = await self._open(self._checked(found), **options)
                self._adopt(found)
                return made
        now = time.monotonic()
        if self._refused_since is None:
            self._refused_since = now
        if not self._worked or now - self._refused_since > ROTATION_SECONDS:
            raise refusal
        raise PostgresUnavailable(
            f"connection {self._name}: the server refuses the user or password that it took before; the Secret is "
            f"expected to follow ({refusal.sqlstate})"
        ) from None

    async def _open(self, dsn: str, **options: Any) -> Connection:
        settings = {"application_name": "tidemill", "timezone": "UTC"}
        return await asyncpg.connect(dsn, timeout=CONNECT_SECONDS, server_settings=settings, **options)

    def _adopt(self, dsn: str) -> None:
        if dsn != self._dsn:  # another one may have been first
            self._dsn = dsn
            self.changes += 1
            _log.info("connection %s: its Secret has changed, new connections use it", self._name)
        self._settle()

    def _keep(self, error: Exception) -> None:
        ours = error if isinstance(error, TidemillError) else typed(error, self._name)
        why = str(ours) if ours is not None else f"connection {self._name}: {type(error).__name__}"
        if self._said != why:
            self._said = why
            _log.warning("what the Secret holds now can't be used, its former content stays in use: %s", why)
            self._tell(True)

    def _settle(self) -> None:
        if self._said:
            self._said = ""
            self._tell(False)

    def _checked(self, dsn: str) -> str:
        check_dsn(self._name, dsn)
        return dsn
