"""Objects made and removed: uploads at once or in parts, copies within the bucket, many deletions at once."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar
from xml.sax.saxutils import escape

from tidemill_api.errors import StoreUnavailable
from tidemill_worker.connections.s3.client import Client, Missing
from tidemill_worker.connections.s3.signing import path_of
from tidemill_worker.connections.s3.xml import code_of, upload_id

PART: Final = 32 << 20
"""Bytes of a part of an upload; what is smaller goes up at once. A part is held in memory."""
_DELETED_AT_ONCE: Final = 1000
_Told = TypeVar("_Told")


class LocalDiskError(Exception):
    """The worker's own disk takes no file."""


def upload(client: Client, written: Path, name: str, condition: Mapping[str, str]) -> None:
    """A local file as an object. Raises what `Client.ask` raises."""
    if written.stat().st_size <= PART:
        client.ask("PUT", name, headers=condition, body=lambda: written.open("rb"))
        return
    began = readable(upload_id, client.ask("POST", name, query=[("uploads", "")]).body)
    try:
        tags = list(_parts(client, written, name, began))
        told = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{escape(tag)}</ETag></Part>" for n, tag in tags)
        text = f"<CompleteMultipartUpload>{told}</CompleteMultipartUpload>".encode()
        said = client.ask("POST", name, query=[("uploadId", began)], headers=condition, body=lambda: io.BytesIO(text))
        if code := code_of(said.body):  # a store may fail after it has said that it doesn't
            raise StoreUnavailable(f"an upload wasn't completed ({code})")
    except BaseException:
        with contextlib.suppress(Missing, StoreUnavailable):
            client.ask("DELETE", name, query=[("uploadId", began)])
        raise


def _parts(client: Client, written: Path, name: str, began: str) -> Iterator[tuple[int, str]]:
    with written.open("rb") as file:
        number = 0
        while data := file.read(PART):
            number += 1
            query = [("partNumber", str(number)), ("uploadId", began)]
            said = client.ask("PUT", name, query=query, body=lambda part=data: io.BytesIO(part))  # type: ignore[misc]  # a default binds it
            yield number, said.headers.get("etag", "")


def copy(client: Client, name: str, to: str) -> None:
    """An object once more, by another name, within the store. Raises Missing, and what `Client.ask` raises."""
    source = path_of(client.bucket.name, f"{client.bucket.prefix}{name}")
    said = client.ask("PUT", to, headers={"x-amz-copy-source": source})
    if code := code_of(said.body):  # a store may fail after it has said that it doesn't
        if code == "NoSuchKey":
            raise Missing(name)
        raise StoreUnavailable(f"an object wasn't copied ({code})")


def delete(client: Client, names: Iterable[str]) -> None:
    """Remove objects; those that aren't there are none to remove. Raises what `Client.ask` raises."""
    prefix = client.bucket.prefix
    waiting = iter(names)
    while some := list(islice(waiting, _DELETED_AT_ONCE)):
        told = "".join(f"<Object><Key>{escape(prefix + name)}</Key></Object>" for name in some)
        text = f"<Delete><Quiet>true</Quiet>{told}</Delete>".encode()
        digest = base64.b64encode(hashlib.md5(text, usedforsecurity=False).digest()).decode()
        said = client.ask(
            "POST",
            query=[("delete", "")],
            headers={"content-md5": digest},
            body=lambda sent=text: io.BytesIO(sent),  # type: ignore[misc]  # a default binds it
        )
        if code := code_of(said.body):
            raise StoreUnavailable(f"objects weren't deleted ({code})")


def readable(reader: Callable[[bytes], _Told], text: bytes) -> _Told:
    """What a store said, read. Raises StoreUnavailable if it can't be."""
    try:
        return reader(text)
    except ValueError:
        raise StoreUnavailable("the store's answer can't be read") from None


@contextlib.contextmanager
def local() -> Iterator[Path]:
    """A file of the worker's own, for a while. Raises LocalDiskError."""
    try:
        descriptor, name = tempfile.mkstemp(prefix="tidemill-")
    except OSError as error:
        raise LocalDiskError(str(error.strerror)) from error
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        with contextlib.suppress(OSError):
            Path(name).unlink(missing_ok=True)
