"""Pages of an API, fetched whole before anything is loaded of them.

So a slow API holds no transaction of a sink open, one that breaks off has loaded nothing, and all sinks of the chunk
see the same rows. What is fetched lies in a file of the worker's temporary folder, or in memory while it is small.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from typing import IO, Final

from tidemill_api.errors import PagingBroken, SourceMissing, SourceUnreadable
from tidemill_worker.engine.api import API
from tidemill_worker.engine.model import Asked, AskedToStop, Page, Pages, Stopped

IN_MEMORY: Final = 8 << 20
"""Bytes that are held before they go to a file."""
_LOOK: Final = 0.25
"""Seconds between two looks whether to stop, while waiting for a server's pace."""
_THREADS: Final = 64
"""APIs that are read at once by one worker: these threads wait rather than work."""


@dataclass(slots=True)
class Fetched(Pages):
    """What an API gave, to be read as often as need be."""

    file: IO[bytes]
    places: list[tuple[str, int, int]] = field(default_factory=list)
    """Of each page: its label, its bytes, its rows."""

    def pages(self, asked: Asked) -> Iterator[Page]:
        """See `Pages`: those that were fetched."""
        del asked
        self.file.seek(0)
        for label, size, rows in self.places:
            yield Page(label, self.file.read(size), rows)

    def forget(self) -> None:
        """Begin anew."""
        self.file.seek(0)
        self.file.truncate()
        self.places.clear()

    def close(self) -> None:
        """Drop it all."""
        self.file.close()


async def fetched(api: API, asked: Asked, asked_to_stop: AskedToStop) -> Fetched:
    """All pages. Raises Stopped, and what `API.pages` raises."""
    ended = threading.Event()
    held = replace(api, wait=_waiting(ended, asked_to_stop))
    working = asyncio.get_running_loop().run_in_executor(_threads(), _fetch, held, asked, ended, asked_to_stop)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        ended.set()  # the thread ends by itself, at the latest when its server has answered
        working.add_done_callback(_drop)
        raise


def _fetch(api: API, asked: Asked, ended: threading.Event, asked_to_stop: AskedToStop) -> Fetched:
    if ended.is_set() or asked_to_stop():  # it may have waited for a thread meanwhile
        raise Stopped
    kept = threading.Event()
    found = Fetched(tempfile.SpooledTemporaryFile(IN_MEMORY))  # noqa: SIM115 - closed by whoever has it
    try:
        try:
            _walk(replace(api, kept=kept.set), asked, found, ended, asked_to_stop)
        except (PagingBroken, SourceMissing, SourceUnreadable):
            if not kept.is_set():
                raise
            found.forget()  # a page that was kept may lead to one that isn't there any more
            _walk(replace(api, cache=None), asked, found, ended, asked_to_stop)
    except OSError as error:
        found.close()
        raise SourceUnreadable(
            f"source {api.source}: its pages can't be kept until they are loaded: {error.strerror}"
        ) from error
    except BaseException:
        found.close()
        raise
    return found


def _walk(api: API, asked: Asked, found: Fetched, ended: threading.Event, asked_to_stop: AskedToStop) -> None:
    for page in api.pages(asked):
        found.file.write(page.lines)
        found.places.append((page.label, len(page.lines), page.rows))
        if ended.is_set() or asked_to_stop():
            raise Stopped


def _waiting(ended: threading.Event, asked_to_stop: AskedToStop) -> Callable[[float], None]:
    """A wait that ends early with Stopped."""

    def wait(seconds: float) -> None:
        left = seconds
        while left > 0:
            if ended.wait(min(left, _LOOK)) or asked_to_stop():
                raise Stopped
            left -= _LOOK

    return wait


def _drop(working: asyncio.Future[Fetched]) -> None:
    if not working.cancelled() and working.exception() is None:
        working.result().close()


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="tidemill-api")
