"""Rows of a function: called to its end before anything is loaded of them, and kept as lines of JSON until then.

So it holds no transaction of a sink open, one that breaks off has loaded nothing, all sinks of the chunk see the same
rows, and the state that it leaves is known before the first row is loaded.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from functools import cache
from typing import Any, Final

import pyarrow as pa

import tidemill
from tidemill_api.errors import PythonFailed, SourceUnreadable
from tidemill_api.v1alpha1.python import PythonSource
from tidemill_worker.engine.api_fetch import IN_MEMORY, Fetched
from tidemill_worker.engine.blocks import Typed
from tidemill_worker.engine.fit import TypedRows
from tidemill_worker.engine.model import Asked, Page, Pages
from tidemill_worker.engine.python.calls import Calls

LONGEST_STATE: Final = 64 << 10
"""Characters of a state, as JSON."""
BATCH_ROWS: Final = 10_000
"""Rows of a batch that become lines at once."""
_THREADS: Final = 32
"""Functions of sources that one worker calls at once: these threads wait for them."""


@dataclass(slots=True)
class Given(Fetched):
    """What a function gave, to be read as often as need be."""

    state: str = "{}"
    """What it left, as JSON."""


@dataclass(frozen=True, slots=True)
class Function(Pages):
    """One source's function."""

    source: str
    """The source's name."""
    settings: PythonSource
    values: Mapping[str, object]
    """The parameters of the run, its own times among them."""

    def pages(self, asked: Asked) -> Iterator[Page]:
        """All batches as pages, when the function has ended. Raises PythonFailed, PythonUnavailable."""
        given = self.given(asked, Calls(self.values))
        try:
            yield from given.pages(asked)
        finally:
            given.close()

    async def collected(self, asked: Asked) -> Given:
        """All that it gives. Raises PythonFailed, PythonUnavailable."""
        calls = Calls(self.values)
        working = asyncio.get_running_loop().run_in_executor(_threads(), self.given, asked, calls)
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            calls.stop()
            working.add_done_callback(_drop)
            raise

    def given(self, asked: Asked, calls: Calls) -> Given:
        """All that it gives. Blocks; raises PythonFailed, PythonUnavailable, Stopped."""
        who = f"source {self.source}"
        state: dict[str, Any] = json.loads(dict(asked.query)["state"])
        source = tidemill.Source(state, calls.context(self.source))
        found = Given(tempfile.SpooledTemporaryFile(IN_MEMORY))  # noqa: SIM115 - closed by whoever has it
        try:
            calls.call(who, asked.path, source, lambda batches: self._keep(who, asked.path, batches, found))
            found.state = _state(who, asked.path, source.state)
        except BaseException:
            found.close()
            raise
        return found

    def _keep(self, who: str, entrypoint: str, batches: object, found: Given) -> None:
        if not isinstance(batches, Iterable) or isinstance(batches, str | bytes | Mapping):
            kind = "nothing (None)" if batches is None else f"a {type(batches).__name__}"
            raise PythonFailed(who, f"{entrypoint} must give batches of rows one after the other, and gave {kind}")
        for number, batch in enumerate(batches):
            for lines in _lines(who, entrypoint, batch):
                # Half of a surrogate pair is the fault of its row alone, which the reader of lines finds.
                data = "".join(f"{line}\n" for line in lines).encode(errors="surrogatepass")
                try:
                    found.file.write(data)
                except OSError as error:
                    raise SourceUnreadable(
                        f"{who}: its rows can't be kept until they are loaded: {error.strerror}"
                    ) from error
                found.places.append((f"{entrypoint}#{number}", len(data), len(lines)))


def _drop(working: asyncio.Future[Given]) -> None:
    if not working.cancelled() and working.exception() is None:
        working.result().close()


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="tidemill-source")


def _lines(who: str, entrypoint: str, batch: object) -> Iterator[list[str]]:
    """A batch's rows as JSON objects, some at once."""
    if isinstance(batch, Mapping):
        batch = [batch]
    if isinstance(batch, list | tuple) and all(isinstance(row, Mapping) for row in batch):
        for place in range(0, len(batch), BATCH_ROWS):
            yield [_object(row) for row in batch[place : place + BATCH_ROWS]]
        return
    if isinstance(batch, pa.RecordBatch):
        batch = pa.Table.from_batches([batch])
    elif not isinstance(batch, pa.Table):
        if not hasattr(batch, "__arrow_c_stream__"):
            kind = type(batch).__name__
            raise PythonFailed(
                who, f"{entrypoint} gave a {kind} as a batch: give Arrow tables, record batches, or lists of dicts"
            )
        batch = pa.table(batch)
    table: pa.Table = batch
    for place in range(0, table.num_rows, BATCH_ROWS):
        rows = table.slice(place, BATCH_ROWS)
        yield TypedRows(Typed(0, rows, rows.nbytes)).texts(range(rows.num_rows))


def _object(row: Mapping[Any, Any]) -> str:
    return json.dumps({str(name): value for name, value in row.items()}, ensure_ascii=False, default=_text)


def _text(value: object) -> object:
    """What JSON has no word for, as a file would have it."""
    match value:
        case datetime() | date() | time():
            return value.isoformat()
        case Decimal():
            return str(value)
        case bytes():
            return value.decode(errors="replace")
        case set() | frozenset():
            return sorted(map(str, value))
        case _:
            return str(value)


def _state(who: str, entrypoint: str, state: object) -> str:
    try:
        text = json.dumps(state, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError):
        text = ""
    if not isinstance(state, dict) or not text:
        raise PythonFailed(who, f"{entrypoint} left a state that isn't JSON: a dict of texts, numbers, lists and dicts")
    if len(text) > LONGEST_STATE:
        raise PythonFailed(who, f"{entrypoint} left a state of {len(text)} characters: at most {LONGEST_STATE}")
    return text
