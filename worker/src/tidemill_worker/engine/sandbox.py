"""A DuckDB of its own in which authors' SQL sees its inputs and nothing else.

No file, network, setting or other table.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, wraps
from typing import Final, ParamSpec, TypeVar

import duckdb
import pyarrow as pa

from tidemill_api.errors import Internal
from tidemill_check.columns import lossy
from tidemill_worker.engine.quoting import quoted

MEMORY: Final = "512MB"
_CONFIG: Final[dict[str, str | bool | int]] = {
    "threads": 1,  # blocks are worked on in parallel, not within; so a block's answer is the same each time
    "async_threads": 0,  # nothing to wait for; and idle ones trim the whole process' heap, again and again
    "memory_limit": MEMORY,
    "enable_external_access": False,
    "autoload_known_extensions": False,
    "autoinstall_known_extensions": False,
    "allow_community_extensions": False,
    "python_enable_replacements": False,
}
_FIRST: Final = "__tidemill_first"
_KEPT: Final = 6
"""Idle sandboxes that are kept."""

Values = Mapping[str, object]

P = ParamSpec("P")
T = TypeVar("T")


def _sound(ask: Callable[P, T]) -> Callable[P, T]:
    """Raise Internal for what is DuckDB's own fault, so that nobody blames a query or a row for it."""

    @wraps(ask)
    def asking(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return ask(*args, **kwargs)
        except (duckdb.InternalException, duckdb.FatalException, RuntimeError) as error:
            raise _fault(error) from error
        except duckdb.Error as error:
            # Of an exception of C++ that isn't DuckDB's it has the words alone: `std::bad_cast`, say.
            if " Error: " not in str(error).partition("\n")[0]:
                raise _fault(error) from error
            raise

    return asking


def _fault(error: Exception) -> Internal:
    kind = type(error).__name__
    return Internal(f"DuckDB failed with an internal error ({kind}); the same query may succeed when tried again")


class _Rows:
    """What a name stands for: the rows of the moment, which DuckDB asks for at each reading.

    Registering a table anew for each block costs as much as a rule does, so this is registered once for all blocks of
    one schema. DuckDB keeps pointers to what is registered: it must never be a table that is freed before the name is.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.rows: pa.Table | None = None

    def __arrow_c_schema__(self) -> object:
        return self.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        if self.rows is None:
            raise RuntimeError("there are no rows now")
        return self.rows.__arrow_c_stream__(requested_schema)


class Sandbox:
    """One connection, for one thread at a time.

    What it costs to make one is about what ten blocks' rules cost, so it is used for one chunk after another.
    """

    def __init__(self, parameters: Values) -> None:
        self._parameters = parameters
        self._whole: dict[str, pa.Table] = {}
        self._shown: dict[str, _Rows] = {}

    @_sound
    def over(self, name: str, rows: pa.Table, query: str) -> pa.Table:
        """The answer of a query over `rows`, which it knows as `name`. Raises duckdb.Error, Internal."""
        with self._showing(name, rows):
            return self._ask(query)

    @_sound
    def holds(self, name: str, rows: pa.Table, query: str) -> bool:
        """Whether a query over `rows` whose answer is one boolean says so. Raises duckdb.Error, Internal.

        It is planned for every block: a prepared query may keep reading the rows that it was prepared on, even when
        they have been freed (wrong answers, std::bad_cast).
        """
        with self._showing(name, rows):
            statement = self._connection.extract_statements(query)[0]
            values = {key: self._parameters[key] for key in statement.named_parameters}
            return bool(self._connection.execute(statement, values or None).fetchall()[0][0])

    @_sound
    def joining(self, name: str, rows: pa.Table, whole: Mapping[str, pa.Table], query: str) -> pa.Table:
        """The same with `rowid` for the rows of `name`, and with the tables `whole` beside them."""
        self._forget(name)
        self._show_whole(whole)
        with self._showing(_FIRST, rows):
            try:
                self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {quoted(name)} AS FROM {_FIRST}")
                return self._ask(query)
            finally:
                self._connection.execute(f"DROP TABLE IF EXISTS {quoted(name)}")

    @_sound
    def beside(self, whole: Mapping[str, pa.Table], query: str) -> pa.Table:
        """The answer of a query over the tables `whole`, by their names. Raises duckdb.Error, Internal."""
        self._show_whole(whole)
        return self._ask(query)

    def _show_whole(self, whole: Mapping[str, pa.Table]) -> None:
        for other, table in whole.items():
            if self._whole.get(other) is not table:
                self._forget(other)
                self._connection.register(other, table)
                self._whole[other] = table

    def open(self) -> None:
        """Make the connection now, not when it is first needed."""
        _ = self._connection

    def handed_to(self, parameters: Values) -> None:
        """Work for another chunk: with its parameters, and with nothing of the last one's rows."""
        for name in (*self._whole, *self._shown):
            self._forget(name)
        self._parameters = parameters

    def close(self) -> None:
        """Free it. The next question makes another one, which knows of no rows yet."""
        self._whole.clear()
        self._shown.clear()
        opened = self.__dict__.pop("_connection", None)
        if opened is not None:
            opened.close()

    @cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        """Made when first asked: a pipeline without rules and queries needs none."""
        connection = duckdb.connect(":memory:", config=dict(_CONFIG))
        connection.execute("SET TimeZone = 'UTC'")
        # The plan of a join must not depend on how many rows a block has: a row's matches keep one order then.
        connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
        connection.execute("SET lock_configuration = true")
        return connection

    def _ask(self, query: str) -> pa.Table:
        statement = self._connection.extract_statements(query)[0]
        values = {key: self._parameters[key] for key in statement.named_parameters}
        answer = self._connection.sql(query, params=values or None)
        if why := lossy(zip(answer.columns, map(str, answer.types), strict=True)):
            raise duckdb.BinderException(f"Binder Error: {why}")
        return answer.to_arrow_table()

    @contextmanager
    def _showing(self, name: str, rows: pa.Table) -> Iterator[None]:
        shown = self._shown.get(name)
        if shown is None or not shown.schema.equals(rows.schema):
            self._forget(name)
            shown = _Rows(rows.schema)
            self._connection.register(name, shown)
            self._shown[name] = shown
        shown.rows = rows
        try:
            yield
        finally:
            shown.rows = None

    def _forget(self, name: str) -> None:
        if self._whole.pop(name, None) is not None or self._shown.pop(name, None) is not None:
            self._connection.unregister(name)


class Sandboxes:
    """Sandboxes for the threads of one chunk, all with its parameters.

    Between two blocks they are anybody's, so that there are no more of them than threads.
    """

    def __init__(self, parameters: Values) -> None:
        self.parameters = parameters
        self.closed = False

    @contextmanager
    def one(self) -> Iterator[Sandbox]:
        """A sandbox for the body alone."""
        sandbox = _IDLE.one(self)
        sound = False
        try:
            yield sandbox
            sound = True
        finally:
            if sound:
                _IDLE.keep(sandbox, self)
            else:
                sandbox.close()  # after an error its state isn't known

    def close(self) -> None:
        """Leave them to other chunks, without rows; one that is in use goes when its thread gives it back."""
        _IDLE.part(self)


class _Idle:
    """Sandboxes of the process that nobody uses now, and the chunk whose whole inputs they still hold."""

    def __init__(self) -> None:
        self._free: list[tuple[Sandbox, Sandboxes | None]] = []
        self._lock = threading.Lock()

    def one(self, chunk: Sandboxes) -> Sandbox:
        """The one that this chunk had last, else one of no chunk, else another chunk's, else a new one."""
        with self._lock:
            best = min(
                self._free, key=lambda each: 0 if each[1] is chunk else 1 if each[1] is None else 2, default=None
            )
            if best is not None:
                self._free.remove(best)
        sandbox, before = best or (Sandbox(chunk.parameters), chunk)
        if before is not chunk:
            sandbox.handed_to(chunk.parameters)
        return sandbox

    def keep(self, sandbox: Sandbox, chunk: Sandboxes | None) -> None:
        with self._lock:
            if len(self._free) < _KEPT and chunk is not None and not chunk.closed:
                self._free.append((sandbox, chunk))
                return
        sandbox.handed_to({})
        with self._lock:
            if len(self._free) < _KEPT:
                self._free.append((sandbox, None))
                return
        sandbox.close()

    def part(self, chunk: Sandboxes) -> None:
        with self._lock:
            chunk.closed = True
            its = [sandbox for sandbox, owner in self._free if owner is chunk]
            self._free = [each for each in self._free if each[1] is not chunk]
        for sandbox in its:
            self.keep(sandbox, None)


_IDLE: Final = _Idle()


def warm(count: int) -> None:
    """Make as many sandboxes ready. Blocks for some hundredths of a second each."""
    for _ in range(count):
        sandbox = Sandbox({})
        sandbox.open()
        _IDLE.keep(sandbox, None)
