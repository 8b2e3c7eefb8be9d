"""Which metastore is meant: a DSN, or the data directory of a `tidemill dev`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tidemill_cli.rejects.errors import RejectsError, UsageError

VARIABLE: Final = "TIDEMILL_METASTORE_DSN"
"""Environment variable that stands in for --dsn, so that a password is on no command line."""


@contextmanager
def metastore(dsn: str | None, data_dir: Path | None, pool: str | None) -> Iterator[str]:
    """A DSN for as long as this lasts. Raises UsageError, RejectsError."""
    if (dsn is None) == (data_dir is None):
        raise UsageError(f"give --dsn (or {VARIABLE}) or --data-dir: where the metastore is")
    if dsn is not None:
        yield dsn
        return
    assert data_dir is not None
    from tidemill_cli.dev.components.component import ComponentError
    from tidemill_cli.dev.query import NoDataError, kept_server

    try:
        with kept_server(data_dir) as server:
            connection, kept = _of_pool(data_dir, pool)
            yield server.dsn_of(connection) if server.password in kept else kept
    except (NoDataError, ComponentError) as error:
        raise RejectsError(str(error)) from None


def _of_pool(data_dir: Path, pool: str | None) -> tuple[str, str]:
    """Name and DSN of the connection that a pool of the session keeps its letters in."""
    from tidemill_cli.dev.given import DSN_KEY, secret_name

    found: dict[str, tuple[str, str]] = {}
    for file in sorted((data_dir / "workers").glob("*/worker.json")):
        name = str(json.loads(file.read_text(encoding="utf-8"))["metastore"]["connection"])
        secret = file.parent / "secrets" / secret_name(name) / DSN_KEY
        found[file.parent.name] = (name, secret.read_text(encoding="utf-8").strip())
    if pool is not None:
        if pool not in found:
            raise UsageError(f"--pool {pool}: {data_dir} has {', '.join(found) or 'none'}")
        return found[pool]
    if not found:
        raise RejectsError(f"{data_dir} has no worker's configuration: no `tidemill dev` has run pipelines there")
    if len(set(found.values())) > 1:
        raise UsageError(
            f"{data_dir} has several pools, each with its own metastore: give --pool, of {', '.join(found)}"
        )
    return next(iter(found.values()))
