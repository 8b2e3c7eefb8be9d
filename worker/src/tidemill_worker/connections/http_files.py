"""Files of a web server: each path below a connection's URL is one.

A server that gives ranges is read from any place, and a connection that breaks is taken up where it broke; any other is
read from the beginning each time. ETag (or the time of change, and the length) tells whether it is still the same file.
"""

from __future__ import annotations

import io
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from tidemill_api.errors import HTTPUnavailable, SourceChanged, SourceMissing, SourceUnreadable
from tidemill_worker.connections.http import HTTPPlace, passes, retry_after
from tidemill_worker.connections.http_patience import patiently
from tidemill_worker.files import FileRef, Files
from tidemill_worker.files.readable import readable

if TYPE_CHECKING:
    import urllib3

_RANGE: Final = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+)")
_WHOLE: Final = "whole:"
"""Begins the `etag` of a file whose server gives no ranges."""
_IN_MEMORY: Final = 8 << 20
_AT_ONCE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class HTTPFiles(Files):
    """See `Files`."""

    place: HTTPPlace

    def matching(self, pattern: str) -> tuple[FileRef, ...]:
        """See `Files`. A web server can't be asked which files it has: the pattern is a path."""
        if any(sign in pattern for sign in "*?["):
            raise SourceMissing(
                f"no file matches {pattern}: connection {self.place.name} is a web server, which doesn't say which "
                "files it has; name one"
            )
        with closing(self._ask(pattern, {"Range": "bytes=0-0"})) as answer:
            if answer.status in {404, 410}:
                raise SourceMissing(f"connection {self.place.name} has no file {pattern} ({answer.status})")
            return (_ref(pattern, answer.status, answer.headers),)

    def ranged(self, ref: FileRef) -> bool:
        """Whether it can be read from the middle."""
        return not (ref.etag or "").startswith(_WHOLE)

    @contextmanager
    def opened(self, ref: FileRef, start: int = 0, end: int | None = None) -> Iterator[io.RawIOBase]:
        """See `Files`."""
        with closing(_Body(self, ref, start, end)) as body:
            if not self.ranged(ref):
                body.pass_over(start)
            yield body

    @contextmanager
    def held(self, ref: FileRef) -> Iterator[io.RawIOBase]:
        """See `Files`. Without ranges it is fetched whole, into the worker's temporary folder."""
        if self.ranged(ref):
            with closing(_Ranges(self, ref)) as ranges:
                yield ranges
            return
        with self.opened(ref) as body, tempfile.SpooledTemporaryFile(_IN_MEMORY) as kept:
            with readable(ref.label):
                shutil.copyfileobj(body, kept, _AT_ONCE)
            kept.seek(0)
            yield kept  # type: ignore[misc]  # it reads and seeks as any raw file does

    def unchanged(self, ref: FileRef) -> None:
        """See `Files`. Each answer that was read has said so."""

    def begin(self, ref: FileRef, start: int, end: int | None) -> urllib3.BaseHTTPResponse:
        """An answer with a file's bytes from `start` on, where its server gives ranges; else from the beginning.

        Raises SourceChanged, SourceUnreadable.
        """
        headers = {}
        if self.ranged(ref) and (start or end is not None):
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
            if condition := _condition(ref):
                headers["If-Range"] = condition
        answer = self._ask(ref.path, headers)
        if answer.status in {404, 410}:
            answer.close()
            raise SourceChanged(f"{ref.path} was there when the run was planned and is gone")
        now = _ref(ref.path, answer.status, answer.headers)
        partial = "Range" in headers
        if answer.status != (206 if partial else 200) or (now.size, now.mtime_ns, _tag(now)) != (
            ref.size,
            ref.mtime_ns,
            _tag(ref),
        ):
            answer.close()
            raise SourceChanged(
                f"{ref.path} has changed since the run was planned: {ref.size} bytes then, {now.size} now, "
                "or written to in between"
            )
        if partial and _begins(answer.headers) != start:
            answer.close()
            raise SourceUnreadable(
                f"connection {self.place.name}: {ref.path} was asked for from byte {start} on, and the answer begins "
                "elsewhere"
            )
        return answer

    def _ask(self, path: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """An answer that isn't trouble: 200, 206, 404, 410 or 416."""

        def ask() -> urllib3.BaseHTTPResponse:
            answer = self.place.begin(self.place.base.target(path), headers)
            if answer.status in {200, 206, 404, 410, 416}:
                return answer
            answer.close()
            if answer.status in {401, 403}:
                raise self.place.denied(answer.status, path)
            said = f"connection {self.place.name}: {path} answers {answer.status}"
            if passes(answer.status):
                given = {name.lower(): value for name, value in answer.headers.items()}
                raise HTTPUnavailable(said, retry_after(given, datetime.now(UTC)))
            raise SourceUnreadable(said)

        return patiently(ask)


class _Body(io.RawIOBase):
    """A file's bytes in order. Where ranges are given, a connection that breaks is taken up again."""

    def __init__(self, files: HTTPFiles, ref: FileRef, start: int, end: int | None) -> None:
        super().__init__()
        self._files = files
        self._ref = ref
        self._place = start if files.ranged(ref) else 0
        self._end = end
        self._answer: urllib3.BaseHTTPResponse | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        left = None if self._end is None else self._end - self._place
        wanted = len(view) if left is None else min(len(view), left)
        if wanted <= 0 or (self._files.ranged(self._ref) and self._place >= self._ref.size):
            return 0
        data = patiently(lambda: self._read(wanted))
        view[: len(data)] = data
        self._place += len(data)
        return len(data)

    def pass_over(self, count: int) -> None:
        """Read so many bytes for nothing."""
        buffer = bytearray(min(count, _AT_ONCE))
        while count:
            read = self.readinto(memoryview(buffer)[: min(count, len(buffer))])
            if not read:
                return
            count -= read

    def close(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None
        super().close()

    def _read(self, wanted: int) -> bytes:
        if self._answer is None:
            if self._place and not self._files.ranged(self._ref):
                raise _broken_off(self._ref)
            self._answer = self._files.begin(self._ref, self._place, self._end)
        try:
            with self._files.place.talking():
                data = self._answer.read(wanted, decode_content=False)
            if not data and self._files.ranged(self._ref):  # more is there: the server has given less than was asked
                raise HTTPUnavailable(f"connection {self._files.place.name}: an answer ends before its range does")
        except HTTPUnavailable:
            self._answer.close()
            self._answer = None
            raise
        return data


class _Ranges(io.RawIOBase):
    """A file's bytes from any place: what is asked for at once is one request."""

    def __init__(self, files: HTTPFiles, ref: FileRef) -> None:
        super().__init__()
        self._files = files
        self._ref = ref
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._ref.size}[whence]
        self._place = max(0, begin + offset)
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        end = min(self._place + len(view), self._ref.size)
        filled = 0
        with closing(_Body(self._files, self._ref, self._place, end)) as body:
            while self._place < end and (read := body.readinto(view[filled:])):
                filled += read
                self._place += read
        return filled


def _broken_off(ref: FileRef) -> HTTPUnavailable:
    """Raised with a wait that nobody waits: only another attempt at the chunk can read it from the beginning."""
    return HTTPUnavailable(f"{ref.path}: the connection broke, and its server gives no ranges to go on with", 1e9)


def _ref(path: str, status: int, headers: Mapping[str, str]) -> FileRef:
    """A file by the headers of an answer: its length, its time of change, its ETag."""
    part = _RANGE.fullmatch(headers.get("content-range", "").strip())
    ranged = part is not None and status in {206, 416}
    length = part[2] if part is not None else headers.get("content-length", "")
    size = int(length) if length.isdigit() else 0
    etag = headers.get("etag", "").strip()
    return FileRef(path, size, _time(headers.get("last-modified", "")), etag=etag if ranged else _WHOLE + etag)


def _begins(headers: Mapping[str, str]) -> int | None:
    """Byte of the file with which an answer's range begins."""
    part = _RANGE.fullmatch(headers.get("content-range", "").strip())
    return int(part[1]) if part is not None and part[1] is not None else None


def _tag(ref: FileRef) -> str:
    return (ref.etag or "").removeprefix(_WHOLE)


def _condition(ref: FileRef) -> str:
    """What makes a range conditional: a strong ETag. Weak ones may not be used so; answers are compared anyway."""
    tag = _tag(ref)
    return tag if tag and not tag.startswith("W/") else ""


def _time(text: str) -> int:
    try:
        return int(parsedate_to_datetime(text).timestamp()) * 10**9
    except (ValueError, OverflowError):
        return 0
