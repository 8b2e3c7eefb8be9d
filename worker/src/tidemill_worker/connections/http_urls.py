"""URLs below a connection's own: what is asked for, and whether a link leads elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, quote, unquote, urlencode, urljoin, urlsplit

from tidemill_api.errors import ConfigError, HostRefused

Query = Sequence[tuple[str, str]]
_PORTS: Final = {"http": 80, "https": 443}
_AS_THEY_ARE: Final = "/!$&'()*+,;=:@"


@dataclass(frozen=True, slots=True)
class Base:
    """A connection's URL."""

    connection: str
    scheme: str
    host: str
    port: int
    prefix: str
    """Path, percent-encoded, with a slash at both ends."""

    @property
    def origin(self) -> str:
        """Scheme, host and port, as a message names them."""
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"

    def target(self, path: str, query: Query = ()) -> str:
        """Path and query to ask for, of a path that isn't percent-encoded. Raises HostRefused if it goes up by '..'."""
        if _goes_up(path):
            raise HostRefused(f"connection {self.connection}: the path goes up by '..': it must stay below its URL")
        asked = self.prefix + quote(path.removeprefix("/"), safe=_AS_THEY_ARE)
        return f"{asked}?{urlencode(query)}" if query else asked

    def linked(self, target: str, link: str) -> str:
        """What a link in the answer to `target` asks for: path and query. Raises HostRefused if it leads elsewhere."""
        try:
            parts = urlsplit(urljoin(f"{self.origin}{target}", link.strip()))
            port = parts.port or _PORTS.get(parts.scheme, 0)
        except ValueError:
            raise HostRefused(f"connection {self.connection}: the server gives a link that is no URL") from None
        there = (parts.scheme, (parts.hostname or "").lower(), port)
        if there != (self.scheme, self.host, self.port) or "@" in parts.netloc:
            elsewhere = f"the server leads to {_told(parts)}, and the pool gives {self.origin} only"
            raise HostRefused(f"connection {self.connection}: {elsewhere}")
        if not parts.path.startswith(self.prefix) or _goes_up(parts.path):
            raise HostRefused(
                f"connection {self.connection}: the server leads to a path that isn't below {self.prefix}"
            )
        path = quote(parts.path, safe=f"{_AS_THEY_ARE}%")
        return f"{path}?{quote(parts.query, safe=f'{_AS_THEY_ARE}%?')}" if parts.query else path


def base_of(connection: str, url: str) -> Base:
    """What a connection's URL says. Raises ConfigError for a port that doesn't exist."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ConfigError(f"connections.{connection}.http.url: the port must be between 1 and 65535")
    prefix = quote(parts.path, safe=f"{_AS_THEY_ARE}%")
    prefix = prefix if prefix.endswith("/") else f"{prefix}/"
    return Base(connection, parts.scheme, (parts.hostname or "").lower(), port or _PORTS[parts.scheme], prefix)


def _goes_up(path: str) -> bool:
    """Whether a segment is '..', as it stands or percent-encoded. Some servers leave out what follows a ';' in one."""
    segments = unquote(path).replace("\\", "/").split("/")
    return any(segment.partition(";")[0] == ".." for segment in segments)


def _told(parts: SplitResult) -> str:
    """Where a link leads, without what it may hold besides."""
    return f"{parts.scheme}://{parts.hostname or ''}"[:200]
