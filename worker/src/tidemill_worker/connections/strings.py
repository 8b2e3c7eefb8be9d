"""Connection strings, checked before asyncpg sees them."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from tidemill_api.errors import ConfigError

_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:[0-9]*)?")


def check_dsn(name: str, dsn: str) -> None:
    """What asyncpg would find only when it connects, and say with words that quote the password: a ConfigError."""
    try:
        parts = urlsplit(dsn)
    except ValueError:  # brackets without their other half
        hosts, scheme = [], ""
    else:
        hosts, scheme = parts.netloc.rpartition("@")[2].split(","), parts.scheme
    if scheme not in {"postgresql", "postgres"} or not all(map(_is_host, hosts)):
        raise ConfigError(
            f"connection {name}: its Secret holds no connection string; "
            "write it like postgresql://user:password@host:5432/database"
        )


def _is_host(text: str) -> bool:
    found = _HOST.fullmatch(text)
    return found is not None and int((found[2] or ":")[1:] or 0) <= 65535
