"""Files of a connection's folder, as streams of uncompressed bytes.

A file that isn't what planning saw is `SourceChanged`.
"""

from __future__ import annotations

import gzip
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final

from tidemill_api.errors import SourceChanged, SourceMissing, SourceUnreadable
from tidemill_api.v1alpha1.datapipeline import FileSource
from tidemill_worker.engine.blocks import Read
from tidemill_worker.engine.model import FileRef
from tidemill_worker.engine.recoding import is_recoded, recoded

OURS: Final = ".tidemill"
"""A folder of this name is the default place for what passes between stages; no source's files are in it."""


def find(root: Path, source: FileSource) -> tuple[FileRef, ...]:
    """The files of a source, in the order of their names; of a zip, each of its members.

    Symbolic links are followed only if they stay below `root`. Raises SourceMissing, SourceUnreadable.
    """
    found: list[FileRef] = []
    for name in _matching(root, source.path):
        found.extend(_refs(root, name, source))
    if not found:
        raise SourceMissing(f"no file matches {source.path}")
    return tuple(found)


def _matching(root: Path, pattern: str) -> list[str]:
    """Files below `root` that the pattern matches, by their paths relative to it, sorted.

    What `glob` makes of some patterns differs from one version of Python to the next: it is given only such as don't.
    """
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if any("**" in part and part != "**" for part in parts):
        raise SourceMissing(f"no file matches {pattern}: ** stands for whole folders only, as in **/*.csv")
    if not parts:
        raise SourceMissing(f"no file matches {pattern}: it names the connection's folder itself; write */ or *.csv")
    if parts[-1] == "**":
        parts.append("*")
    with _readable(pattern):
        found = [
            path.relative_to(root).as_posix()
            for path in root.glob("/".join(parts))
            if path.is_file()
            and path.resolve().is_relative_to(root.resolve())
            and OURS not in path.relative_to(root).parts
        ]
    for name in found:
        if any("\ud800" <= character <= "\udfff" for character in name):  # how bytes that aren't UTF-8 come
            raise SourceUnreadable(f"the name of the file {name!a} isn't UTF-8: give it another one")
    return sorted(found)


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


def _refs(root: Path, name: str, source: FileSource) -> Iterator[FileRef]:
    path = root / name
    stat = path.stat()
    if compression(name, source) != "Zip":
        yield FileRef(name, stat.st_size, stat.st_mtime_ns)
        return
    with _readable(name), zipfile.ZipFile(path) as archive:
        members = [member.filename for member in archive.infolist() if not member.is_dir()]
    twice = sorted({member for member in members if members.count(member) > 1})
    if twice:
        raise SourceUnreadable(f"{name} has more than one member called {', '.join(twice)}: zip it anew")
    for member in members:
        yield FileRef(name, stat.st_size, stat.st_mtime_ns, member)


@contextmanager
def held(root: Path, ref: FileRef) -> Iterator[Path]:
    """A file to be read from any place. Looked at before and after, as `opened` does.

    Raises SourceChanged.
    """
    unchanged(root, ref)
    yield root / ref.path
    unchanged(root, ref)


@contextmanager
def opened(root: Path, ref: FileRef, source: FileSource, start: int = 0, end: int | None = None) -> Iterator[Read]:
    """Read what rows are cut from: a file's uncompressed bytes, recoded where need be, from `start` to `end`.

    None is the end of all. Raises SourceChanged, SourceUnreadable.

    Looked at when it is opened and again when it is closed, so that a file that changes meanwhile isn't taken for
    whole.
    """
    if not is_recoded(source):
        with _stream(root, ref, source, start) as stream:
            yield _reader(stream, ref, None if end is None else end - start)
        return
    with _stream(root, ref, source, 0) as stream:
        read = recoded(_reader(stream, ref, None), source, ref.label)
        _pass_over(read, start)
        yield read


@contextmanager
def opened_to_fill(
    root: Path, ref: FileRef, source: FileSource, start: int, end: int | None
) -> Iterator[Callable[[bytearray], int]]:
    """As `opened`, for a file that isn't compressed: fills a buffer, tells how far: all of it but at the end."""
    with _stream(root, ref, source, start) as stream:
        left = (ref.size if end is None else end) - start

        def fill(buffer: bytearray) -> int:
            nonlocal left
            wanted = memoryview(buffer)[: min(len(buffer), left)]
            filled = 0
            while filled < len(wanted):
                with _readable(ref.label):
                    more = stream.readinto(wanted[filled:])  # type: ignore[attr-defined]  # a FileIO
                if not more:
                    raise SourceChanged(f"{ref.path} has become shorter while it was read")
                filled += more
            left -= filled
            return filled

        yield fill


@contextmanager
def _stream(root: Path, ref: FileRef, source: FileSource, start: int) -> Iterator[IO[bytes]]:
    with ExitStack() as stack:
        with _readable(ref.label):
            try:
                raw = stack.enter_context((root / ref.path).open("rb", buffering=0))
            except FileNotFoundError:
                raise SourceChanged(f"{ref.path} was there when the run was planned and is gone") from None
            _same(os.fstat(raw.fileno()), ref)
            stream = stack.enter_context(_uncompressed(raw, ref, source))
            _skip(stream, start, compression(ref.path, source) == "None")
        yield stream
        _same(os.fstat(raw.fileno()), ref)


def unchanged(root: Path, ref: FileRef) -> None:
    """Raises SourceChanged if the file isn't what planning saw, or is gone."""
    try:
        _same((root / ref.path).stat(), ref)
    except FileNotFoundError:
        raise SourceChanged(f"{ref.path} was there when the run was planned and is gone") from None


def _same(stat: os.stat_result, ref: FileRef) -> None:
    if (stat.st_size, stat.st_mtime_ns) != (ref.size, ref.mtime_ns):
        raise SourceChanged(
            f"{ref.path} has changed since the run was planned: {ref.size} bytes then, {stat.st_size} now, "
            "or written to in between"
        )


@contextmanager
def _uncompressed(raw: IO[bytes], ref: FileRef, source: FileSource) -> Iterator[IO[bytes]]:
    match compression(ref.path, source):
        case "Gzip":
            with gzip.GzipFile(fileobj=raw, mode="rb") as unzipped:
                yield unzipped  # type: ignore[misc]  # a GzipFile reads like any binary file
        case "Zip":
            with zipfile.ZipFile(raw) as archive, archive.open(ref.member or "") as member:
                yield member
        case "Zstd":
            import pyarrow as pa

            with pa.input_stream(raw, compression="zstd") as stream:
                yield stream
        case _:
            yield raw


def _skip(stream: IO[bytes], start: int, seekable: bool) -> None:
    if seekable:
        stream.seek(start)
    else:
        _pass_over(stream.read, start)


def _pass_over(read: Read, start: int) -> None:
    while start:
        skipped = len(read(min(start, 1 << 20)))
        if not skipped:
            return
        start -= skipped


def _reader(stream: IO[bytes], ref: FileRef, length: int | None) -> Read:
    left = length

    def read(size: int) -> bytes:
        nonlocal left
        wanted = size if left is None else min(size, left)
        parts = []
        while wanted:
            with _readable(ref.label):
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


@contextmanager
def _readable(label: str) -> Iterator[None]:
    """What the system and the decompressors raise, as one typed error."""
    try:
        yield
    except gzip.BadGzipFile as error:  # its words quote how the file begins
        raise SourceUnreadable(f"{label} is truncated, corrupt or not compressed as its name says") from error
    except (zlib.error, zipfile.BadZipFile, EOFError) as error:
        raise SourceUnreadable(f"{label} is truncated, corrupt or not compressed as its name says: {error}") from error
    except (NotImplementedError, RuntimeError) as error:  # a zip with a password, or an unknown method
        raise SourceUnreadable(f"{label} can't be uncompressed: {error}") from error
    except OSError as error:
        if error.errno is None and not error.strerror and error.args:  # of Arrow, which uncompresses zstd
            raise SourceUnreadable(
                f"{label} is truncated, corrupt or not compressed as its name says: {error.args[0]}"
            ) from error
        raise SourceUnreadable(f"{label} can't be read: {error.strerror or type(error).__name__}") from error
