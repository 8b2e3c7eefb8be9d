"""Folders of `files` connections."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from tidemill_api.errors import ConfigError


def folder_of(url: str, connection: str) -> Path:
    """The folder that `file:///...` names, resolved. Raises ConfigError if it isn't a local folder's URL."""
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc or not parts.path.startswith("/"):
        raise ConfigError(
            f"connections.{connection}.files.url: {url!r} is no folder; write it like file:///data/landing/"
        )
    return Path(unquote(parts.path)).resolve()
