"""The operator's own Temporal: where it is and the credentials in its files, read again when they change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from tidemill_api.errors import ConfigError
from tidemill_operator.settings import OperatorSettings
from tidemill_operator.views import TemporalTarget

_LOOK: float = 30.0


def own_target(settings: OperatorSettings) -> TemporalTarget | None:
    """Where it is, or None if the operator has none. Raises ConfigError for a file that can't be read."""
    address, files = settings.decisions.temporal, settings.temporal_files
    if address is None:
        return None
    api_key = _read(files.api_key)
    return TemporalTarget(
        address=address.address,
        namespace=address.namespace,
        tls=address.tls,
        server_name=address.server_name,
        ca=_read(files.ca),
        cert=_read(files.cert),
        key=_read(files.key),
        api_key=api_key.decode().strip() if api_key is not None else None,
    )


async def follow_files(settings: OperatorSettings, change: Callable[[TemporalTarget], None]) -> None:
    """Tell `change` where it is, now and then, until cancelled; a mounted Secret may have been renewed."""
    while True:
        await asyncio.sleep(_LOOK)
        try:
            target = own_target(settings)
        except ConfigError:
            continue  # just being replaced
        if target is not None:
            change(target)


def _read(file: Path | None) -> bytes | None:
    try:
        return file.read_bytes() if file is not None else None
    except OSError as error:
        raise ConfigError(f"can't read {file}: {error.strerror}") from error
