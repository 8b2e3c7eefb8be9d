"""Files of a connection, as streams of uncompressed bytes."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import IO, Final

from tidemill_api.errors import SourceChanged, SourceMissing, SourceUnreadable
from tidemill_api.v1alpha1.datapipeline import FileSource
from tidemill_worker.engine.blocks import Read
from tidemill_worker.engine.recoding import is_recoded, recoded
from tidemill_worker.files import FileRef, Files
from tidemill_worker.files.readable import readable

_AHEAD: Final = 1 << 20
"""Bytes that are read at once of a zip, which is read in small steps."""


def find(place: Files, source: FileSource) -> tuple[FileRef, ...]:
    """The files of a source, in the order of their names; of a zip, each of its members.

    Raises SourceMissing, SourceUnreadable.
    """
    found = [each for ref in place.matching(source.path) for each in _refs(place, ref, source)]
    if not found:
        raise SourceMissing(f"no file matches {source.path}")
    return tuple(found)


def compression(path: str, source: FileSource) -> str:
    """None, Gzip, Zip or Zstd."""
    if source.format.parquet is not None:  # it is compressed inside
        return "None"
    if source.compression != "Auto":
        return source.compression
    name = path.lower()
    endings = {".gz": "Gzip", ".zip": "Zip", ".zst": "Zstd", ".zstd": "Zstd"}
    return next((kind for ending, kind in endings.items() if name.endswith(ending)), "None")


def can_be_cut(path: str, source: FileSource) -> bool:
    """Whether a file can be read from the middle."""
    return compression(path, source) == "None" and not is_recoded(source)


def _refs(place: Files, ref: FileRef, source: FileSource) -> Iterator[FileRef]:
    if compression(ref.path, source) != "Zip":
        yield ref
        return
    with place.held(ref) as raw, readable(ref.path), zipfile.ZipFile(_buffered(raw)) as archive:
        members = [member.filename for member in archive.infolist() if not member.is_dir()]
    twice = sorted({member for member in members if members.count(member) > 1})
    if twice:
        raise SourceUnreadable(f"{ref.path} has more than one member called {', '.join(twice)}: zip it anew")
    for member in members:
        yield replace(ref, member=member)


@contextmanager
def opened(place: Files, ref: FileRef, source: FileSource, start: int = 0, end: int | None = None) -> Iterator[Read]:
    """Read what rows are cut from: a file's uncompressed bytes, recoded where need be, from `start` to `end`.

    None is the end of all. Raises SourceChanged, SourceUnreadable.
    """
    if not is_recoded(source):
        with _stream(place, ref, source, start, end) as stream:
            yield _reader(stream, ref, None if end is None else end - start)
        return
    with _stream(place, ref, source) as stream:
        read = recoded(_reader(stream, ref, None), source, ref.label)
        _pass_over(read, start)
        yield read


@contextmanager
def opened_to_fill(
    place: Files, ref: FileRef, source: FileSource, start: int, end: int | None
) -> Iterator[Callable[[bytearray], int]]:
    """As `opened`, for a file that isn't compressed: fills a buffer, tells how far: all of it but at the end."""
    del source
    with place.opened(ref, start, end) as stream:
        left = (ref.size if end is None else end) - start

        def fill(buffer: bytearray) -> int:
            nonlocal left
            wanted = memoryview(buffer)[: min(len(buffer), left)]
            filled = 0
            while filled < len(wanted):
                with readable(ref.label):
                    more = stream.readinto(wanted[filled:])
                if not more:
                    raise SourceChanged(f"{ref.path} has become shorter while it was read")
                filled += more
            left -= filled
            return filled

        yield fill


@contextmanager
def _stream(
    place: Files, ref: FileRef, source: FileSource, start: int = 0, end: int | None = None
) -> Iterator[IO[bytes] | io.RawIOBase]:
    kind = compression(ref.path, source)
    with ExitStack() as stack:
        if kind == "None":
            yield stack.enter_context(place.opened(ref, start, end))
            return
        raw = stack.enter_context(place.held(ref) if kind == "Zip" else place.opened(ref))
        with readable(ref.label):
            stream = stack.enter_context(_uncompressed(raw, ref, kind))
            _pass_over(stream.read, start)
        yield stream


@contextmanager
def _uncompressed(raw: io.RawIOBase, ref: FileRef, kind: str) -> Iterator[IO[bytes]]:
    match kind:
        case "Gzip":
            with gzip.GzipFile(fileobj=raw, mode="rb") as unzipped:
                yield unzipped  # type: ignore[misc]  # a GzipFile reads like any binary file
        case "Zip":
            with zipfile.ZipFile(_buffered(raw)) as archive, archive.open(ref.member or "") as member:
                yield member
        case _:
            import pyarrow as pa

            with pa.input_stream(_buffered(raw), compression="zstd") as stream:
                yield stream


def _buffered(raw: io.RawIOBase) -> IO[bytes]:
    """Closing it leaves `raw` open, whose owner looks at it once more."""
    return _Buffered(raw, _AHEAD)


class _Buffered(io.BufferedReader):
    def close(self) -> None:
        if not self.raw.closed:
            self.detach()


def _pass_over(read: Read, start: int) -> None:
    while start:
        skipped = len(read(min(start, 1 << 20)))
        if not skipped:
            return
        start -= skipped


def _reader(stream: IO[bytes] | io.RawIOBase, ref: FileRef, length: int | None) -> Read:
    left = length

    def read(size: int) -> bytes:
        nonlocal left
        wanted = size if left is None else min(size, left)
        parts = []
        while wanted:
            with readable(ref.label):
                part = stream.read(wanted)
            if not part:
                break
            parts.append(part)
            wanted -= len(part)
            if left is not None:
                left -= len(part)
        if wanted and left:
            raise SourceChanged(f"{ref.path} has become shorter while it was read")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    return read
