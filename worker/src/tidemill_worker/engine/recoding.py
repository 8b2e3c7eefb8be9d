"""Streams of bytes that aren't what rows are cut from: other encodings, and JSON arrays."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Final

from tidemill_api.v1alpha1.datapipeline import FileSource
from tidemill_worker.engine.blocks import Read
from tidemill_worker.engine.dialect import READ_AS_THEY_ARE
from tidemill_worker.engine.json_array import lines_of_array

_AT_ONCE: Final = 1 << 20
_NO_CHARACTER: Final = "tidemill-no-character"


def is_recoded(source: FileSource) -> bool:
    """Whether what rows are cut from isn't what the (uncompressed) files hold, so that places in them aren't known."""
    csv = source.format.csv
    return source.format.json_ is not None or (csv is not None and csv.encoding not in READ_AS_THEY_ARE)


def recoded(read: Read, source: FileSource, label: str) -> Read:
    """What rows are cut from. Raises SourceUnreadable as `lines_of_array` does."""
    if source.format.json_ is not None:
        return _read_from(lines_of_array(read, label))
    csv = source.format.csv
    if csv is not None and csv.encoding not in READ_AS_THEY_ARE:
        return _read_from(_as_utf8(read, csv.encoding))
    return read


def _as_utf8(read: Read, encoding: str) -> Iterator[bytes]:
    """Text of another encoding as UTF-8. What is no character there is none here: its row is bad, not the file."""
    first = read(2)
    if encoding == "utf-16" and first not in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        encoding = "utf-16-le"
    decoder = codecs.getincrementaldecoder(encoding)(_NO_CHARACTER)
    yield decoder.decode(first).encode(errors="surrogateescape")
    while more := read(_AT_ONCE):
        yield decoder.decode(more).encode(errors="surrogateescape")
    yield decoder.decode(b"", final=True).encode(errors="surrogateescape")


def _read_from(stream: Iterator[bytes]) -> Read:
    """As much as is asked for at a time, whatever the stream gives."""
    rest = b""

    def read(size: int) -> bytes:
        nonlocal rest
        parts, length = [rest], len(rest)
        while length < size:
            more = next(stream, None)
            if more is None:
                break
            parts.append(more)
            length += len(more)
        data = b"".join(parts)
        rest = data[size:]
        return data[:size]

    return read


def _no_character(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "\udcff", error.end  # becomes the byte 0xFF, which UTF-8 never has


codecs.register_error(_NO_CHARACTER, _no_character)
