"""The worker's configuration file, read with errors that name the field."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from tidemill_api.contract import WorkerConfig
from tidemill_api.errors import ConfigError


def read_config(path: Path) -> WorkerConfig:
    """`worker.json` as a model. Raises ConfigError, which names the file and each field at fault."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from error
    try:
        config = WorkerConfig.model_validate_json(text)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise ConfigError(f"{path}: {faults}") from None
    metastore = next((c for c in config.connections if c.name == config.metastore.connection), None)
    if metastore is None or metastore.postgres is None or metastore.postgres.access != "Write":
        raise ConfigError(
            f"{path}: metastore.connection: {config.metastore.connection!r} must name one of the connections, "
            "of kind postgres, with access: Write"
        )
    return config
