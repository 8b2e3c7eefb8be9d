"""Artifacts in a bucket."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar
from xml.sax.saxutils import escape

from tidemill_api.errors import ArtifactGone, ArtifactsUnavailable, ConfigError, SourceChanged, StoreUnavailable
from tidemill_worker.connections.s3.client import Client, Missing, Other
from tidemill_worker.connections.s3.objects import Objects, listed
from tidemill_worker.connections.s3.xml import code_of, upload_id, uploads_of
from tidemill_worker.files import FileRef

PART: Final = 32 << 20
"""Bytes of a part of an upload; what is smaller goes up at once. A part is held in memory."""
_DELETED_AT_ONCE: Final = 1000
_ONCE: Final = {"if-none-match": "*"}
_Told = TypeVar("_Told")


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
                self._put(written, name, _ONCE)
            except (Other, Missing):  # Missing: the parts were put together, and the answer to it was lost
                if not self._looked_at(name):
                    raise StoreUnavailable("another worker is writing the same object") from None
            except ConfigError:  # a store that doesn't know this condition: the other one would have written the same
                if not self._looked_at(name):
                    self._put(written, name, {})

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
            self._delete(each.key for each in listed(self._client, f"{folder}/"))

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
            for key, upload, began in _read(uploads_of, said.body):
                if began < before and key.startswith(prefix):
                    with contextlib.suppress(Missing):
                        self._client.ask("DELETE", key.removeprefix(prefix), query=[("uploadId", upload)])

    def _looked_at(self, name: str) -> FileRef | None:
        try:
            headers = self._client.ask("HEAD", name).headers
        except Missing:
            return None
        return FileRef(name, int(headers.get("content-length", "0")), 0, etag=headers.get("etag"))

    def _put(self, written: Path, name: str, condition: dict[str, str]) -> None:
        if written.stat().st_size <= PART:
            self._client.ask("PUT", name, headers=condition, body=lambda: written.open("rb"))
            return
        upload = _read(upload_id, self._client.ask("POST", name, query=[("uploads", "")]).body)
        try:
            tags = list(self._parts(written, name, upload))
            told = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{escape(tag)}</ETag></Part>" for n, tag in tags)
            text = f"<CompleteMultipartUpload>{told}</CompleteMultipartUpload>".encode()
            said = self._client.ask(
                "POST", name, query=[("uploadId", upload)], headers=condition, body=lambda: io.BytesIO(text)
            )
            if code := code_of(said.body):  # a store may fail after it has said that it doesn't
                raise StoreUnavailable(f"an upload wasn't completed ({code})")
        except BaseException:
            with contextlib.suppress(Missing, StoreUnavailable):
                self._client.ask("DELETE", name, query=[("uploadId", upload)])
            raise

    def _parts(self, written: Path, name: str, upload: str) -> Iterator[tuple[int, str]]:
        with written.open("rb") as file:
            number = 0
            while data := file.read(PART):
                number += 1
                query = [("partNumber", str(number)), ("uploadId", upload)]
                said = self._client.ask("PUT", name, query=query, body=lambda part=data: io.BytesIO(part))  # type: ignore[misc]  # a default binds it
                yield number, said.headers.get("etag", "")

    def _delete(self, names: Iterable[str]) -> None:
        prefix = self._client.bucket.prefix
        waiting = iter(names)
        while some := list(islice(waiting, _DELETED_AT_ONCE)):
            told = "".join(f"<Object><Key>{escape(prefix + name)}</Key></Object>" for name in some)
            text = f"<Delete><Quiet>true</Quiet>{told}</Delete>".encode()
            digest = base64.b64encode(hashlib.md5(text, usedforsecurity=False).digest()).decode()
            said = self._client.ask(
                "POST",
                query=[("delete", "")],
                headers={"content-md5": digest},
                body=lambda sent=text: io.BytesIO(sent),  # type: ignore[misc]  # a default binds it
            )
            if code := code_of(said.body):
                raise StoreUnavailable(f"objects weren't deleted ({code})")

    @contextlib.contextmanager
    def _available(self) -> Iterator[None]:
        try:
            yield
        except StoreUnavailable as error:
            raise ArtifactsUnavailable(f"artifacts: {error}") from error


def _read(reader: Callable[[bytes], _Told], text: bytes) -> _Told:
    try:
        return reader(text)
    except ValueError:
        raise StoreUnavailable("the store's answer can't be read") from None


@contextlib.contextmanager
def _local() -> Iterator[Path]:
    """A file of the worker's own, for a while. Raises ArtifactsUnavailable."""
    try:
        descriptor, name = tempfile.mkstemp(prefix="tidemill-artifact-")
    except OSError as error:
        raise ArtifactsUnavailable(f"artifacts can't be written: {error.strerror}") from error
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        with contextlib.suppress(OSError):
            Path(name).unlink(missing_ok=True)
