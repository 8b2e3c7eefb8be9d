"""What connections are made of: folders, secrets, connection strings, and what their errors mean."""

from __future__ import annotations

import errno
from pathlib import Path

import asyncpg
import pytest

from tidemill_api.errors import (
    ConfigError,
    PostgresUnavailable,
    SecretMissing,
    SourceMissing,
    TidemillError,
    UnknownConnection,
)
from tidemill_api.v1alpha1.workerpool import Connection
from tidemill_worker.connections import PoolConnections, outages, typed
from tidemill_worker.connections.folders import folder_of
from tidemill_worker.connections.secrets import read_secret
from tidemill_worker.files.folder import Folder


def refused(state: str) -> asyncpg.PostgresError:
    return asyncpg.PostgresError.new({"C": state, "M": "row 7 holds secret-word", "S": "ERROR", "V": "ERROR"})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (refused("08006"), PostgresUnavailable),
        (refused("53300"), PostgresUnavailable),
        (refused("53100"), PostgresUnavailable),
        (refused("57P01"), PostgresUnavailable),
        (refused("57P03"), PostgresUnavailable),
        (refused("40P01"), PostgresUnavailable),
        (refused("40001"), PostgresUnavailable),
        (refused("25006"), PostgresUnavailable),
        (refused("28P01"), ConfigError),
        (refused("3D000"), ConfigError),
        (refused("23505"), None),
        (refused("42P01"), None),
        (refused("57014"), None),
        (asyncpg.InterfaceError("connection is closed"), PostgresUnavailable),
        (asyncpg.InterfaceError("pool is closing"), PostgresUnavailable),
        (asyncpg.InterfaceError("the server expects 1 argument"), None),
        (
            asyncpg.InternalClientError("cannot switch to state 11; another operation (2) is in progress"),
            PostgresUnavailable,
        ),
        (asyncpg.InternalClientError("cannot switch to state 11; another operation (12) is in progress"), None),
        (asyncpg.ClientConfigurationError("invalid DSN: secret-word"), ConfigError),
        (OSError(errno.ECONNREFUSED, "Connection refused"), PostgresUnavailable),
        (TimeoutError(), PostgresUnavailable),
        (RuntimeError("unable to perform operation on <TCPTransport>; the handler is closed"), PostgresUnavailable),
        (RuntimeError("secret-word"), None),
        (SourceMissing("x"), None),
        (ValueError("x"), None),
    ],
)
def test_what_an_error_means(error: Exception, kind: type[TidemillError] | None) -> None:
    found = typed(error, "warehouse")

    assert type(found) is (kind or type(None))
    assert found is None or ("connection warehouse" in str(found) and "secret-word" not in str(found))


def test_outages_pass_what_is_not_theirs() -> None:
    with pytest.raises(asyncpg.UniqueViolationError), outages("warehouse"):
        raise asyncpg.UniqueViolationError("x")
    with pytest.raises(SourceMissing), outages("warehouse"):
        raise SourceMissing("x")
    with pytest.raises(PostgresUnavailable), outages("warehouse"):
        raise ConnectionResetError(errno.ECONNRESET, "reset")


@pytest.mark.parametrize(
    ("url", "folder"), [("file:///data/landing/", "/data/landing"), ("file:///a%20b/../c", "/c"), ("file:///", "/")]
)
def test_folders(url: str, folder: str) -> None:
    assert folder_of(url, "landing") == Path(folder)


@pytest.mark.parametrize("url", ["http://x/y", "file://host/data", "file:data", "", "/data"])
def test_what_is_no_folder(url: str) -> None:
    with pytest.raises(ConfigError, match=r"connections\.landing\.files\.url"):
        folder_of(url, "landing")


def test_secrets(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "empty").write_text(" \n")
    (tmp_path / "s" / "key").write_text(" value\n")

    assert read_secret(tmp_path, "s", "key") == "value"
    for secret, key, words in (("s", "other", "key other"), ("t", "key", "Secret t"), ("s", "empty", "is empty")):
        with pytest.raises(SecretMissing, match=words) as caught:
            read_secret(tmp_path, secret, key)
        assert caught.value.retryable


async def prepared(_name: str, _pool: asyncpg.Pool) -> None:
    raise AssertionError("nothing here gets so far as to be prepared")


def connections(tmp_path: Path, dsn: str) -> PoolConnections:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "dsn").write_text(dsn)
    ref = {"secretKeyRef": {"name": "s", "key": "dsn"}}
    return PoolConnections(
        (
            Connection.model_validate({"name": "landing", "files": {"url": "file:///data/"}}),
            Connection.model_validate({"name": "warehouse", "postgres": {"dsn": ref}}),
            Connection.model_validate({"name": "mirror", "postgres": {"dsn": ref, "access": "Read"}}),
        ),
        tmp_path,
        prepared,
    )


async def test_names_and_kinds(tmp_path: Path) -> None:
    held = connections(tmp_path, "postgresql://u:p@h/d")

    assert held.files("landing") == Folder(Path("/data"))
    with pytest.raises(UnknownConnection, match="has no connection landin; it has landing, mirror, warehouse"):
        held.files("landin")
    with pytest.raises(UnknownConnection, match="warehouse is not of kind files"):
        held.files("warehouse")
    with pytest.raises(UnknownConnection, match="landing is not of kind postgres"):
        await held.postgres("landing")


@pytest.mark.parametrize(
    ("dsn", "good"),
    [
        ("postgresql://u:p@h:5432/d", True),
        ("postgres://h/d", True),
        ("postgresql://u:p@[::1]:5432/d", True),
        ("postgresql://u:p@[::1]/d", True),
        ("postgresql://u:p@a:1,b:2/d", True),
        ("postgresql:///d?host=/run", True),
        ("host=h user=u", False),
        ("mysql://u:p@h/d", False),
        ("postgresql://u:p@h:port/d", False),
        ("postgresql://u:p@h:65536/d", False),
        ("postgresql://u:p@[::1/d", False),
    ],
)
async def test_connection_strings(tmp_path: Path, dsn: str, *, good: bool) -> None:
    held = connections(tmp_path, dsn)
    try:
        if good:
            assert await held.postgres("mirror") is await held.postgres("mirror")
        else:
            with pytest.raises(ConfigError, match="write it like postgresql://"):
                await held.postgres("mirror")
    finally:
        await held.close()


async def test_a_secret_is_read_at_each_use_until_it_is_known_to_be_good(tmp_path: Path) -> None:
    held = connections(tmp_path, "postgresql://u:old@h/d")
    try:
        before = await held.postgres("mirror")
        (tmp_path / "s" / "dsn").write_text("nothing")
        with pytest.raises(ConfigError, match="write it like postgresql://"):
            await held.postgres("mirror")
        (tmp_path / "s" / "dsn").unlink()
        with pytest.raises(SecretMissing):
            await held.postgres("mirror")
        (tmp_path / "s" / "dsn").write_text("postgresql://u:new@h/d")

        assert await held.postgres("mirror") is before
    finally:
        await held.close()


def test_what_pipelines_send_goes_only_where_the_pool_s_owner_lets_it(tmp_path: Path) -> None:
    servers = {"api": {"url": "https://api.example.com/"}, "chat": {"url": "https://chat.example.com/", "webhook": {}}}
    named = tuple(Connection.model_validate({"name": name, "http": http}) for name, http in servers.items())
    pool = PoolConnections(named, tmp_path, prepared)
    assert [pool.webhook(name).path for name in ("api", "chat")] == ["", ""], "the pool's own lineage"
    assert pool.webhook("chat", for_pipelines=True).key is None
    with pytest.raises(ConfigError, match=r"connection api has no http\.webhook in the pool"):
        pool.webhook("api", for_pipelines=True)
