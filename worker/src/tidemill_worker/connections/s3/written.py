"""Files that sinks write into a bucket."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tidemill_api.errors import StoreUnavailable
from tidemill_worker.connections.s3.client import Client, Missing
from tidemill_worker.connections.s3.objects import listed
from tidemill_worker.connections.s3.uploads import LocalDiskError, copy, delete, local, upload


@dataclass(frozen=True, slots=True)
class WrittenObjects:
    """See `files.writable.Writable`. Objects appear whole; none can be renamed, so one is copied within the store."""

    client: Client

    @contextlib.contextmanager
    def writing(self, folder: str) -> Iterator[Path]:
        """See `Writable`."""
        del folder
        try:
            with local() as path:
                yield path
        except LocalDiskError as error:
            raise StoreUnavailable(f"files can't be written on the worker's own disk: {error}") from error

    def put(self, written: Path, name: str) -> None:
        """See `Writable`."""
        upload(self.client, written, name, {})

    def place(self, staged: str, name: str) -> bool:
        """See `Writable`."""
        try:
            copy(self.client, staged, name)
        except Missing:
            try:
                self.client.ask("HEAD", name)
            except Missing:
                return False
            return True
        delete(self.client, [staged])
        return True

    def tell(self, content: bytes, name: str) -> None:
        """See `Writable`."""
        self.client.ask("PUT", name, body=lambda: io.BytesIO(content))

    def remove(self, names: Sequence[str]) -> None:
        """See `Writable`."""
        delete(self.client, names)

    def drop(self, folder: str) -> None:
        """See `Writable`."""
        delete(self.client, (each.key for each in listed(self.client, f"{folder}/")))

    def any_of(self, folder: str, ending: str) -> str | None:
        """See `Writable`."""
        return next((each.key for each in listed(self.client, f"{folder}/") if each.key.endswith(ending)), None)

    def close(self) -> None:
        """See `Writable`."""
        self.client.close()
