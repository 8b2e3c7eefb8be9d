"""Sources' files in a bucket: found by listing, read by ranges, and only as they were when the run was planned."""

from __future__ import annotations

import http.client
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tidemill_api.errors import SourceChanged, StoreUnavailable
from tidemill_worker.connections.s3.client import TRIES, Answer, Client, Missing, Other, wait
from tidemill_worker.connections.s3.xml import Listed, page_of
from tidemill_worker.files import OURS, FileRef, Files, segments

_MAGIC: Final = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Objects(Files):
    """See `Files`."""

    client: Client

    def matching(self, pattern: str) -> tuple[FileRef, ...]:
        """See `Files`. Raises what `Client.begin` raises of the store."""
        parts = segments(pattern)
        plain = next((place for place, part in enumerate(parts) if _MAGIC.search(part)), len(parts))
        below = "".join(f"{part}/" for part in parts[:plain])
        if plain == len(parts):
            below = below.removesuffix("/")
        else:
            below += _MAGIC.split(parts[plain], maxsplit=1)[0]
        wanted = re.compile(matcher(parts), re.DOTALL)
        flat = plain >= len(parts) - 1  # what lies deeper can't match, and needn't be listed
        found = [
            each
            for each in listed(self.client, below, flat=flat, most=1 if plain == len(parts) else None)
            if wanted.fullmatch(each.key) and OURS not in each.key.split("/")
        ]
        return tuple(FileRef(each.key, each.size, each.mtime_ns, etag=each.etag) for each in sorted(found, key=_path))

    @contextmanager
    def opened(self, ref: FileRef, start: int = 0, end: int | None = None) -> Iterator[io.RawIOBase]:
        """See `Files`: one request, whose answer is read as it comes."""
        with _InOrder(self.client, ref, start, ref.size if end is None else min(end, ref.size)) as stream:
            yield stream

    @contextmanager
    def held(self, ref: FileRef) -> Iterator[io.RawIOBase]:
        """See `Files`: each reading is a request for just that range."""
        with _Anywhere(self.client, ref) as stream:
            yield stream

    def unchanged(self, ref: FileRef) -> None:
        """See `Files`. Each request has demanded the object of the plan: all that was read is of that one."""

    def close(self) -> None:
        """See `Files`."""
        self.client.close()


def _path(each: Listed) -> str:
    return each.key


def listed(client: Client, below: str, *, flat: bool = False, most: int | None = None) -> Iterator[Listed]:
    """Objects whose keys begin so (without the prefix), page by page; `flat`: none behind a further slash."""
    prefix = client.bucket.prefix
    query = [("list-type", "2"), ("prefix", prefix + below), ("encoding-type", "url")]
    query += [("delimiter", "/")] if flat else []
    query += [("max-keys", str(most))] if most is not None else []
    more: str | None = None
    while True:
        text = client.ask("GET", query=[*query, ("continuation-token", more)] if more else query).body
        try:
            page = page_of(text)
        except ValueError:
            raise StoreUnavailable(f"{client.bucket.at('')}: the store's listing can't be read") from None
        for each in page.objects:
            key = each.key.removeprefix(prefix)
            if key and not key.endswith("/"):  # a key for a folder itself, as some tools make them
                yield Listed(key, each.size, each.mtime_ns, each.etag)
        if page.more is None or most is not None:
            return
        more = page.more


def matcher(parts: tuple[str, ...]) -> str:
    """The pattern as a regular expression over keys, with the meaning that `Path.glob` gives it in folders."""
    text = "".join("(?:[^/]+/)*" if part == "**" else f"{_segment(part)}/" for part in parts[:-1])
    return text + _segment(parts[-1])


def _segment(part: str) -> str:
    found, place = "", 0
    while place < len(part):
        sign = part[place]
        place += 1
        close = part.find("]", place + 1 + (part[place : place + 1] == "!")) if sign == "[" else -1
        if sign == "*":
            found += "[^/]*"
        elif sign == "?":
            found += "[^/]"
        elif close > 0:
            chosen = part[place:close]
            no, chosen = ("^/", chosen[1:]) if chosen.startswith("!") else ("", chosen)
            found += f"(?!/)[{no}{_choice(chosen)}]"
            place = close + 1
        else:
            found += re.escape(sign)
    return found


def _choice(chosen: str) -> str:
    return re.sub(r"([\\\]\[^&~|])", r"\\\1", chosen)


def _begun(client: Client, ref: FileRef, start: int, end: int) -> Answer:
    """An object's bytes from `start` up to `end`, of just the object that was planned. Raises SourceChanged."""
    headers = {"range": f"bytes={start}-{end - 1}"}
    if ref.etag:
        headers["if-match"] = ref.etag
    try:
        answer = client.begin(ref.path, headers)
    except Missing:
        raise SourceChanged(f"{ref.path} was there when the run was planned and is gone") from None
    except Other:
        raise SourceChanged(f"{ref.path} has changed since the run was planned") from None
    length = answer.headers.get("content-length", str(end - start))
    other = bool(ref.etag) and answer.headers.get("etag", ref.etag) != ref.etag
    asked = answer.status == 206 or (start, end) == (0, ref.size)
    if other or (asked and length != str(end - start)):
        answer.close()
        raise SourceChanged(f"{ref.path} has changed since the run was planned")
    if answer.status != 206 and (start, end) != (0, ref.size):  # a store that knows no ranges
        answer.close()
        raise StoreUnavailable(f"{client.bucket.at('')}: the store doesn't answer with a range of {ref.path}")
    return answer


class _InOrder(io.RawIOBase):
    """A range of an object, as it comes. An answer that breaks off is asked for again from there on."""

    def __init__(self, client: Client, ref: FileRef, start: int, end: int) -> None:
        self._client = client
        self._ref = ref
        self._place = start
        self._end = end
        self._answer: Answer | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any buffer that takes bytes
        wanted = memoryview(buffer).cast("B")[: max(0, self._end - self._place)]
        error: Exception = EOFError()
        for number in range(1, TRIES + 1):
            if not wanted:
                return 0
            try:
                if self._answer is None:
                    self._answer = _begun(self._client, self._ref, self._place, self._end)
                read = self._answer.body.readinto(wanted)
                error = EOFError()
            except (OSError, http.client.HTTPException) as raised:
                read, error = 0, raised
            if read:
                self._place += read
                return read
            self._leave()
            if number < TRIES:
                wait(number)
        raise self._client.outage(error)

    def _leave(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def close(self) -> None:
        self._leave()
        super().close()


class _Anywhere(io.RawIOBase):
    """An object, read by ranges."""

    def __init__(self, client: Client, ref: FileRef) -> None:
        self._client = client
        self._ref = ref
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._ref.size}[whence]
        return self._place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any buffer that takes bytes
        wanted = memoryview(buffer).cast("B")
        end = min(self._place + len(wanted), self._ref.size)
        filled = 0
        with _InOrder(self._client, self._ref, self._place, end) as stream:
            while more := stream.readinto(wanted[filled:]):
                filled += more
        self._place += filled
        return filled
