"""Artifacts in a bucket."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tidemill_api.errors import ArtifactGone, ArtifactsUnavailable, ConfigError, SourceChanged, StoreUnavailable
from tidemill_worker.connections.s3.client import Client, Missing, Other
from tidemill_worker.connections.s3.objects import Objects, listed
from tidemill_worker.connections.s3.uploads import LocalDiskError, delete, local, readable, upload
from tidemill_worker.connections.s3.xml import uploads_of
from tidemill_worker.files import FileRef

_ONCE: Final = {"if-none-match": "*"}


class ObjectArtifacts:
    """See `engine.artifacts.Artifacts`. What appears, appears whole: that is how a bucket's objects are."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def names(self, folder: str) -> list[str]:
        """See `Artifacts`."""
        with self._available():
            found = listed(self._client, f"{folder}/", flat=True)
            return sorted(each.key.removeprefix(f"{folder}/") for each in found)

    def has(self, name: str) -> bool:
        """See `Artifacts`."""
        with self._available():
            return self._looked_at(name) is not None

    @contextlib.contextmanager
    def writing(self) -> Iterator[Path]:
        """See `Artifacts`."""
        with _local() as path:
            yield path

    def put(self, written: Path, name: str) -> None:
        """See `Artifacts`."""
        with self._available():
            try:
                upload(self._client, written, name, _ONCE)
            except (Other, Missing):  # Missing: the parts were put together, and the answer to it was lost
                if not self._looked_at(name):
                    raise StoreUnavailable("another worker is writing the same object") from None
            except ConfigError:  # a store that doesn't know this condition: the other one would have written the same
                if not self._looked_at(name):
                    upload(self._client, written, name, {})

    @contextlib.contextmanager
    def held(self, name: str) -> Iterator[Path]:
        """See `Artifacts`: a copy."""
        with _local() as path:
            with self.opened(name) as stream, path.open("wb") as file:
                shutil.copyfileobj(stream, file, 1 << 20)
            yield path

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[io.RawIOBase]:
        """See `Artifacts`: each reading is a request for just that range."""
        with self._available():
            ref = self._looked_at(name)
        if ref is None:
            raise ArtifactGone(f"the artifact {name} is gone: run the pipeline again")
        with self._available(), Objects(self._client).held(ref) as stream:
            try:
                yield stream
            except SourceChanged:
                raise ArtifactGone(f"the artifact {name} is gone: run the pipeline again") from None

    def drop(self, folder: str) -> None:
        """See `Artifacts`."""
        with self._available():
            delete(self._client, (each.key for each in listed(self._client, f"{folder}/")))

    def folders(self) -> list[tuple[str, float]]:
        """See `Artifacts`."""
        found: dict[str, float] = {}
        with self._available():
            for each in listed(self._client, ""):
                parts = each.key.split("/")
                if len(parts) > 3:
                    folder = "/".join(parts[:3])
                    found[folder] = max(found.get(folder, 0.0), each.mtime_ns / 1e9)
        return sorted(found.items())

    def drop_unfinished(self, before: float) -> None:
        """See `Artifacts`: uploads in parts that nobody has completed."""
        prefix = self._client.bucket.prefix
        with self._available():
            said = self._client.ask("GET", query=[("uploads", ""), ("prefix", prefix)])
            for key, upload, began in readable(uploads_of, said.body):
                if began < before and key.startswith(prefix):
                    with contextlib.suppress(Missing):
                        self._client.ask("DELETE", key.removeprefix(prefix), query=[("uploadId", upload)])

    def _looked_at(self, name: str) -> FileRef | None:
        try:
            headers = self._client.ask("HEAD", name).headers
        except Missing:
            return None
        return FileRef(name, int(headers.get("content-length", "0")), 0, etag=headers.get("etag"))

    @contextlib.contextmanager
    def _available(self) -> Iterator[None]:
        try:
            yield
        except StoreUnavailable as error:
            raise ArtifactsUnavailable(f"artifacts: {error}") from error


@contextlib.contextmanager
def _local() -> Iterator[Path]:
    """A file of the worker's own, for a while. Raises ArtifactsUnavailable."""
    try:
        with local() as path:
            yield path
    except LocalDiskError as error:
        raise ArtifactsUnavailable(f"artifacts can't be written: {error}") from error
