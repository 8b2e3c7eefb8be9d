"""`tidemill psql`: the kept databases of a data directory, whether a session runs on it or not."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from tidemill_cli.dev.components import postgres
from tidemill_cli.dev.components.component import DirectoryInUseError, running_blocking


class NoDataError(Exception):
    """The folder holds no kept state."""


@contextmanager
def kept_server(data_dir: Path) -> Iterator[postgres.PostgresServer]:
    """The server of a data directory, running: started for as long as this lasts, unless a session runs on the folder.

    Raises `NoDataError`, and `ComponentError` if the server can't start.
    """
    directory = data_dir.resolve() / "postgres"
    if not (directory / "data").exists():
        raise NoDataError(
            f"{data_dir} holds no data of `tidemill dev`: run `tidemill dev PATH --data-dir {data_dir}` first"
        )
    with ExitStack() as stack:
        server = postgres.describe(directory)
        try:
            stack.enter_context(running_blocking(server.component))
        except DirectoryInUseError:
            # A session has it running: at the port that it has written down.
            kept = json.loads((directory / "ports.json").read_text(encoding="utf-8"))
            server = replace(server, port=kept["postgres"])
        yield server


def psql(data_dir: Path, connection: str, arguments: Sequence[str]) -> int:
    """Run psql on the database of a connection; returns psql's exit code.

    The server is started for as long as psql runs, unless a session on the folder has it running.
    Raises `NoDataError`, and `ComponentError` if the server can't start.
    """
    with ExitStack() as stack:
        server = stack.enter_context(kept_server(data_dir))
        # Ctrl-C is psql's: it cancels a query there.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        stack.callback(signal.signal, signal.SIGINT, before)
        command = [str(server.psql), server.dsn_of(connection), *arguments]
        return subprocess.run(command, check=False).returncode
