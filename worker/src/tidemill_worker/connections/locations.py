"""Where connections lead, in the words by which lineage names places: no user, no password, nothing else of a Secret.

Source: https://openlineage.io/docs/spec/naming
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from tidemill_api.v1alpha1.workerpool import Connection


@dataclass(frozen=True, slots=True)
class Location:
    """Where a connection leads."""

    namespace: str
    """`postgres://host:5432`, `file`, `s3://bucket`, `https://host`."""
    prefix: str
    """Stands before the names of what is there: `database.`, `/data/landing/`."""


def location_of(connection: Connection, dsn: str | None) -> Location | None:
    """Where it leads; `dsn` is the connection string of a database. None: there is no word for it."""
    if connection.postgres is not None and dsn is not None:
        return _database(dsn)
    url = connection.files.url if connection.files is not None else connection.http.url if connection.http else None
    if url is None:
        return None
    parts = urlsplit(url)
    path = unquote(parts.path)
    folder = path if path.endswith("/") else f"{path}/"
    if parts.scheme == "file":
        return Location("file", folder)
    return Location(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", folder.removeprefix("/"))


def _database(dsn: str) -> Location | None:
    parts = urlsplit(dsn)
    if parts.scheme not in {"postgres", "postgresql"}:
        return None
    asked = parse_qs(parts.query)
    first = parts.netloc.rpartition("@")[2].partition(",")[0]
    host, _, port = first.rpartition(":") if first.rpartition(":")[2].isdigit() else (first, "", "")
    host = unquote(host) or asked.get("host", [""])[0].partition(",")[0]
    port = port or asked.get("port", [""])[0].partition(",")[0] or "5432"
    database = unquote(parts.path.removeprefix("/")) or asked.get("dbname", [""])[0]
    if not database or not port.isdigit():
        return None
    return Location(f"postgres://{'localhost' if not host or host.startswith('/') else host}:{port}", f"{database}.")


def without_password(dsn: str) -> str:
    """All of a connection string but its password."""
    parts = urlsplit(dsn)
    user, _, host = parts.netloc.rpartition("@")
    asked = [(name, value) for name, value in parse_qsl(parts.query) if name != "password"]
    return urlunsplit((parts.scheme, f"{user.partition(':')[0]}@{host}", parts.path, urlencode(asked), ""))
