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

MEMORY: Final = "512MB"
_CONFIG: Final[dict[str, str | bool | int]] = {
    "threads": 1,  # blocks are worked on in parallel, not within; so a block's answer is the same each time
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


def quoted(name: str) -> str:
    """An identifier for DuckDB or Postgres."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text for DuckDB or Postgres."""
    return "'" + text.replace("'", "''") + "'"


def _sound(ask: Callable[P, T]) -> Callable[P, T]:
    """Raise Internal for what is DuckDB's own fault, so that nobody blames a query or a row for it."""

    @wraps(ask)
    def asking(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return ask(*args, **kwargs)
        except (duckdb.InternalException, duckdb.FatalException, RuntimeError) as error:
            raise _fault(error) from error
        except duckdb.Error as error:
            if (
                " Error: " not in str(error).partition("\n")[0]
            ):  # an exception of C++ that isn't DuckDB's, std::bad_cast say
                raise _fault(error) from error
            raise

    return asking


def _fault(error: Exception) -> Internal:
    kind = type(error).__name__
    return Internal(f"DuckDB failed with an internal error ({kind}); the same query may succeed when tried again")


class Sandbox:
    """One connection, for one thread at a time.

    What it costs to make one is about what ten blocks' rules cost, so it is used for one chunk after another.
    """

    def __init__(self, parameters: Values) -> None:
        self._parameters = parameters
        self._whole: dict[str, pa.Table] = {}

    @_sound
    def over(self, name: str, rows: pa.Table, query: str) -> pa.Table:
        """The answer of a query over `rows`, which it knows as `name`. Raises duckdb.Error, Internal."""
        self._forget(name)
        self._connection.register(name, rows)
        try:
            return self._ask(query)
        finally:
            self._connection.unregister(name)

    @_sound
    def holds(self, name: str, rows: pa.Table, query: str) -> bool:
        """Whether a query over `rows` whose answer is one boolean says so. Raises duckdb.Error, Internal.

        It is planned for every block: a prepared query keeps reading the rows that it was prepared on, even when they
        have been freed (wrong answers, std::bad_cast), whatever is registered by the name since.
        """
        self._forget(name)
        self._connection.register(name, rows)
        try:
            statement = self._connection.extract_statements(query)[0]
            values = {key: self._parameters[key] for key in statement.named_parameters}
            return bool(self._connection.execute(statement, values or None).fetchall()[0][0])
        finally:
            self._connection.unregister(name)

    @_sound
    def joining(self, name: str, rows: pa.Table, whole: Mapping[str, pa.Table], query: str) -> pa.Table:
        """The same with `rowid` for the rows of `name`, and with the tables `whole` beside them."""
        self._forget(name)
        for other, table in whole.items():
            if self._whole.get(other) is not table:
                self._forget(other)
                self._connection.register(other, table)
                self._whole[other] = table
        self._connection.register(_FIRST, rows)
        try:
            self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {quoted(name)} AS FROM {_FIRST}")
            return self._ask(query)
        finally:
            self._connection.execute(f"DROP TABLE IF EXISTS {quoted(name)}")
            self._connection.unregister(_FIRST)

    def handed_to(self, parameters: Values) -> None:
        """Work for another chunk: with its parameters, and with nothing of the last one's rows."""
        for name in tuple(self._whole):
            self._forget(name)
        self._parameters = parameters

    def close(self) -> None:
        """Free it."""
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

    def _forget(self, name: str) -> None:
        if self._whole.pop(name, None) is not None:
            self._connection.unregister(name)


class Sandboxes:
    """As many sandboxes as the threads of one chunk ask for at once, all with its parameters."""

    def __init__(self, parameters: Values) -> None:
        self._parameters = parameters
        self._free: list[Sandbox] = []
        self._closed = False
        self._lock = threading.Lock()

    @contextmanager
    def one(self) -> Iterator[Sandbox]:
        """A sandbox for the body alone."""
        with self._lock:
            sandbox = self._free.pop() if self._free else None
        sandbox = sandbox or _IDLE.one(self._parameters)
        sound = False
        try:
            yield sandbox
            sound = True
        finally:
            with self._lock:
                kept = sound and not self._closed
                if kept:
                    self._free.append(sandbox)
            if sound and not kept:
                _IDLE.keep(sandbox)
            elif not sound:
                sandbox.close()  # after an error its state isn't known

    def close(self) -> None:
        """Leave them to other chunks; one that is in use goes when its thread gives it back."""
        with self._lock:
            self._closed = True
            free, self._free = self._free, []
        for sandbox in free:
            _IDLE.keep(sandbox)


class _Idle:
    """Sandboxes of the process that nobody uses now. They hold no rows."""

    def __init__(self) -> None:
        self._sandboxes: list[Sandbox] = []
        self._lock = threading.Lock()

    def one(self, parameters: Values) -> Sandbox:
        with self._lock:
            sandbox = self._sandboxes.pop() if self._sandboxes else None
        if sandbox is None:
            return Sandbox(parameters)
        sandbox.handed_to(parameters)
        return sandbox

    def keep(self, sandbox: Sandbox) -> None:
        sandbox.handed_to({})
        with self._lock:
            if len(self._sandboxes) < _KEPT:
                self._sandboxes.append(sandbox)
                return
        sandbox.close()


_IDLE: Final = _Idle()
