"""Connections as `tidemill dev` gives them to pipelines, and its words where it can't. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from tidemill_api.v1alpha1 import DataPipeline
from tidemill_api.v1alpha1._types import SecretKeyRef, SecretValue
from tidemill_api.v1alpha1.workerpool import Connection, PostgresConnection
from tidemill_check.python import entrypoints
from tidemill_cli.manifests import Manifest

DSN_KEY: Final = "dsn"


def written_to(users: Sequence[Manifest[DataPipeline]]) -> dict[str, tuple[str, ...]]:
    """The connections of sinks, each with the schemas of its tables."""
    found: dict[str, dict[str, None]] = {}
    for sink in (sink for user in users for sink in user.object.spec.sinks):
        if sink.postgres is not None:
            found.setdefault(sink.connection, {})[sink.table.partition(".")[0]] = None
    return {name: tuple(schemas) for name, schemas in found.items()}


def called(users: Sequence[Manifest[DataPipeline]]) -> tuple[str, ...]:
    """The functions that pipelines name."""
    return tuple(dict.fromkeys(name for user in users for _, name in entrypoints(user.object.spec)))


def granted(made: Connection, access: Literal["Read", "Write"]) -> Connection:
    """A connection to files or a server, for reading or for writing."""
    if made.http is not None:
        return made.model_copy(update={"http": made.http.model_copy(update={"access": access})})
    if made.files is None:
        return made
    return made.model_copy(update={"files": made.files.model_copy(update={"access": access})})


def written(name: str, schemas: tuple[str, ...]) -> Connection:
    """A Postgres connection that sinks may use, of these schemas."""
    return Connection(name=name, postgres=PostgresConnection(dsn=secret(name), schemas=schemas, access="Write"))


def secret(connection: str) -> SecretValue:
    """Where a connection's DSN is."""
    return SecretValue(secret_key_ref=SecretKeyRef(name=secret_name(connection), key=DSN_KEY))


def secret_name(connection: str) -> str:
    """Name of the Secret of a postgres connection: a connection may have underscores, a Secret may not, only dots."""
    return connection.replace("_", ".")


def missing(url: str | None) -> str:
    """Why the pool's own place of files can't be used here; empty if it has none."""
    if url is None:
        return ""
    if url.startswith("s3:"):
        return f", and the pool's keys for {url} are in its cluster"
    return f" and {folder_of(url)} is not on this machine"


def or_s3(url: str | None) -> str:
    """What else may stand for a bucket."""
    return f' or `{{s3: {{url: "{url}"}}}}`' if url is not None and url.startswith("s3:") else ""


def folder_of(url: str) -> Path:
    """The folder of a `file:` URL."""
    return Path(unquote(urlsplit(url).path))
