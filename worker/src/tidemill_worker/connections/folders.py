"""Folders of `files` connections: what is below one, and nothing else."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from tidemill_api.errors import ConfigError, SourceMissing


def folder_of(url: str, connection: str) -> Path:
    """The folder that `file:///...` names, resolved. Raises ConfigError if it isn't a local folder's URL."""
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc or not parts.path.startswith("/"):
        raise ConfigError(
            f"connections.{connection}.files.url: {url!r} is no folder; write it like file:///data/landing/"
        )
    return Path(unquote(parts.path)).resolve()


def inside(folder: Path, path: Path) -> Path:
    """`path` with symlinks followed, if it is below `folder`; raises SourceMissing if it leads out of it.

    A link that leads out is treated as if nothing were there: what is behind it isn't the pipeline's business.
    """
    resolved = path.resolve()
    if not resolved.is_relative_to(folder):
        raise SourceMissing(f"{path.relative_to(folder)} leads out of the connection's folder")
    return resolved
