"""What the engine and its callers say to each other. Light: imports no columnar library.

The engine reads, checks, transforms and loads one chunk at a time. It knows nothing of Temporal or of the metastore;
what it needs of them comes in as `Connections` and `DeadLetters`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from tidemill_api.contract import CheckResult, RunProgress, SinkCount, StepCount
from tidemill_api.errors import TidemillError
from tidemill_worker.files import FileRef, Files
from tidemill_worker.files.writable import Writable

if TYPE_CHECKING:
    import asyncpg
    import pyarrow as pa

    from tidemill_check.cursors import Kind
    from tidemill_worker.cache import Computed
    from tidemill_worker.connections.http import HTTPPlace
    from tidemill_worker.engine.artifacts import Artifacts

Scalar = str | int | float | bool
Parameters = Mapping[str, Scalar]
"""A run's parameters as they were given; the spec's defaults fill the rest."""
Report = Callable[[RunProgress], None]
"""Called from the event loop's thread, a few times a second at most, with the progress of one chunk."""
AskedToStop = Callable[[], bool]
"""Looked at between blocks: true ends the chunk with `Stopped`."""


class Stopped(Exception):
    """The chunk ended early because it was asked to. What it had committed stays, and is in the ledger."""


@dataclass(frozen=True, slots=True)
class RunRef:
    """One execution of one run key of one pipeline."""

    uid: str
    """The pipeline's uid."""
    run_key: str
    execution: int
    """1 for the first; each time the key is processed again, one more."""
    namespace: str
    pipeline: str
    run_time: datetime
    """Nominal time of the run, with a time zone; its interval ends here."""
    interval_start: datetime | None = None
    """Where its interval begins; None: at the beginning of all times."""


NOT_THERE: Final = -1


@dataclass(frozen=True, slots=True)
class PlannedColumn:
    """A column to read: its type was declared, or inferred once for the whole run."""

    name: str
    type: str
    """One of the types of `Column.type`."""
    required: bool
    field: int
    """Index of the field in the file's rows; `NOT_THERE` in a file that has none."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file's rows become columns."""

    fields: int
    """Number of fields that a row must have; of columns that the file has, where rows come as columns."""
    columns: tuple[PlannedColumn, ...]
    names: tuple[str, ...] = ()
    """Of a table: its columns, in the order in which they are asked for."""


@dataclass(frozen=True, slots=True)
class KeyRange:
    """Rows of a table by a column's values, which are written as literals of SQL; all rows if there are no bounds."""

    column: str = ""
    low: str | None = None
    """The least one that belongs to it; None: no bound, and rows without a value belong to it."""
    high: str | None = None
    """The least one beyond it; None: no bound."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of an API, with the values of the run in it."""

    path: str
    """Below the connection's URL; not percent-encoded."""
    query: tuple[tuple[str, str], ...] = ()
    """Parameters of the first page, in the manifest's order."""


@dataclass(frozen=True, slots=True)
class CursorRange(KeyRange):
    """Of these rows those whose cursor is in a range; rows without a value don't belong to it.

    A type of its own, so that plans without a cursor are kept, and hashed, as they always were.
    """

    cursor: str = ""
    kind: Kind = "bigint"
    """Type of its values."""
    after: str | None = None
    """The greatest value that doesn't belong to it; None: no bound. Not quoted, unlike `low` and `high`."""
    until: str = ""
    """The greatest one that belongs to it: as it was when the run was planned."""
    without: int = 0
    """Of a plan's first range: rows of the table without a value, which are left out."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file, or a range of it, with its layout; or a table, or a range of it."""

    file: FileRef
    layout: Layout
    start: int
    """Offset of the first row, in the uncompressed bytes; where rows come as columns, its number from 0."""
    end: int | None
    """Offset (or number) after the last row; None: to the end."""
    first_line: int
    """Line (from 1) at `start`."""
    bytes: int | None = None
    """Bytes to read, where the borders don't tell."""
    keys: KeyRange | None = None
    """Of a table, whose name is the file's path: which rows."""
    asked: Asked | None = None
    """Of an API."""

    @property
    def at_once(self) -> bool:
        """It is committed as a whole: it is small, or nothing can be read again as it was."""
        return self.end is not None or self.keys is not None or self.asked is not None

    @property
    def live(self) -> bool:
        """Whether it is asked for anew each time, and may be answered otherwise."""
        return self.keys is not None or self.asked is not None


@dataclass(frozen=True, slots=True)
class Given:
    """Rows of a source or step that earlier pieces of work have kept."""

    name: str
    first: int
    """Index of the first chunk (or computation) that gave some."""
    count: int
    """How many there are, one after the other."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of work: rows of one file, or rows that were kept, that go through one stage into its sinks.

    JSON by `to_json`/`from_json`; kept in the metastore, never sent through Temporal.
    """

    index: int
    """Unique and ordered within the run, over all stages."""
    stage: int
    source: str
    part: Part
    broadcast: tuple[tuple[str, tuple[Part, ...]], ...] = ()
    """Sources that joins need whole, and their files: the same for all chunks of the run."""
    reports: tuple[str, ...] = ()
    """Broadcast sources and steps whose counts and dead letters this chunk reports, so that each is counted
    once a run."""
    ahead: tuple[tuple[str, tuple[Part, ...]], ...] = ()
    """Of a run's first chunk: files that only joins of later waves need, as they were when the run began."""
    answers: tuple[Given, ...] = ()
    """Answers of computations that joins need whole."""
    lineage: str = ""
    """Of a chunk of a later wave: what its rows were made from, as a hash."""

    @property
    def file(self) -> str:
        """The file's path, with the zip member if there is one."""
        return self.part.file.label

    @property
    def bytes(self) -> int:
        """Bytes to read, about: of a compressed file, its compressed size."""
        part = self.part
        if part.bytes is not None:
            return part.bytes
        return part.file.size if part.end is None else part.end - part.start

    def by_its_rows(self) -> Chunk:
        """Without what the plan noted of rows that the chunk doesn't have."""
        keys = self.part.keys
        if not isinstance(keys, CursorRange):
            return self
        return replace(self, part=replace(self.part, keys=replace(keys, without=0)))

    def to_json(self) -> dict[str, Any]:
        """As JSON: only objects, lists, strings, numbers, booleans and null."""
        return dict(asdict(self, dict_factory=_bare))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Chunk:
        """The inverse of `to_json`."""
        return cls(
            index=value["index"],
            stage=value["stage"],
            source=value["source"],
            part=_part(value["part"]),
            broadcast=tuple((name, tuple(_part(p) for p in parts)) for name, parts in value["broadcast"]),
            reports=tuple(value["reports"]),
            ahead=tuple((name, tuple(_part(p) for p in parts)) for name, parts in value.get("ahead", ())),
            answers=tuple(Given(**each) for each in value.get("answers", ())),
            lineage=value.get("lineage", ""),
        )


def _bare(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """A dataclass' fields, without an `etag` or `asked` that isn't there: plans of folders stay what they were."""
    return {name: value for name, value in items if name not in {"etag", "asked"} or value is not None}


def _part(value: Mapping[str, Any]) -> Part:
    layout = value["layout"]
    return Part(
        file=FileRef(**value["file"]),
        layout=Layout(
            layout["fields"],
            tuple(PlannedColumn(**column) for column in layout["columns"]),
            tuple(layout.get("names", ())),
        ),
        start=value["start"],
        end=value["end"],
        first_line=value["first_line"],
        bytes=value.get("bytes"),
        keys=_keys(value["keys"]) if value.get("keys") else None,
        asked=_asked(value["asked"]) if value.get("asked") else None,
    )


def _asked(value: Mapping[str, Any]) -> Asked:
    return Asked(value["path"], tuple((name, each) for name, each in value["query"]))


def _keys(value: Mapping[str, Any]) -> KeyRange:
    return CursorRange(**value) if value.get("cursor") else KeyRange(**value)


@dataclass(frozen=True, slots=True)
class ChunkOutcome:
    """What a chunk came to; the same however often it was tried."""

    steps: tuple[StepCount, ...]
    """Of every reading and validating step: rows_in == rows_out + rejected + skipped. A sink is one too, under its
    name, if it checks rows: for a value in the primary key, or for values that fit the table's types."""
    sinks: tuple[SinkCount, ...]
    rows_read: int = 0
    """Rows of the driving source, bad ones included."""
    bytes_read: int = 0
    rows_kept: int = 0
    """Rows that were kept for later waves."""
    refused: TidemillError | None = None
    """Why a chunk that would have published itself did not: nothing was loaded, but its rows were read and counted."""


Former = Mapping[str, Sequence[float]]
"""Of each check, by its name, the values of the last runs, newest first."""


@dataclass(frozen=True, slots=True)
class Published:
    """What the end of a sink came to; the same however often it was tried."""

    count: SinkCount
    checks: tuple[CheckResult, ...] = ()
    refused: TidemillError | None = None
    """Why the run must fail: what it holds back for this sink has not been made visible."""


class Database(Protocol):
    """A database to read from, for threads: they wait until the event loop has the answer."""

    def fetch(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Rows of a query. Raises PostgresUnavailable, ConfigError, SourceUnreadable."""
        ...

    def copied(self, query: str) -> AbstractContextManager[Callable[[int], bytes]]:
        """A query's rows as CSV, read on like a file. What reading raises is what `fetch` raises."""
        ...


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of one page of an API."""

    label: str
    """Path and place of the page, without secrets: how dead letters call it."""
    lines: bytes
    """Each row as a line of JSON."""
    rows: int


class Pages(ABC):
    """A place of rows that come page by page. Blocks; for threads."""

    @abstractmethod
    def pages(self, asked: Asked) -> Iterator[Page]:
        """All pages, in order. Raises what reading an API raises."""


Place = Files | Database | Pages
"""Where a source's rows are: its files, or its database."""


class Connections(Protocol):
    """The pool's connections, by name. Raises UnknownConnection, SecretMissing, PostgresUnavailable."""

    def files(self, name: str) -> Files:
        """The place of a `files` connection."""
        ...

    @property
    def cache(self) -> Computed | None:
        """What is kept so that it needn't be computed again; None if the pool has no place for that."""
        ...

    def http(self, name: str) -> HTTPPlace:
        """The web server of a `http` connection."""
        ...

    async def postgres(self, name: str) -> asyncpg.Pool:
        """A pool of connections to a database that may be written."""
        ...

    async def reading(self, name: str) -> asyncpg.Pool:
        """A pool of connections to a database that is read, apart from those that hold what is loaded."""
        ...

    def identity(self, name: str) -> str:
        """The same for the same database and user of a postgres connection, whatever the password."""
        ...

    def writable(self, name: str) -> Writable:
        """The place of a `files` connection, for sinks. Raises ConfigError."""
        ...

    @property
    def books_in(self) -> str:
        """Name of the connection whose database keeps the books of sinks that are files."""
        ...

    async def books(self) -> asyncpg.Pool:
        """A pool of connections to that database."""
        ...

    def artifacts(self) -> Artifacts:
        """The place for what passes between stages. Raises ConfigError if the pool has none."""
        ...


class AlsoCommitted(Protocol):
    """What a sink shall hold as soon as it holds the rows: written in the transaction that commits them."""

    async def write(self, connection: asyncpg.Connection | asyncpg.pool.PoolConnectionProxy, sink: str) -> None:
        """Write it. What this raises rolls the rows back."""
        ...


class DeadLetters(Protocol):
    """Keeps rejected rows. `write` returns when they are committed, and does nothing for a key that it already has.

    Where the rows are `live`, a key may mean another row than in the attempt before: then what is written last holds,
    and `settle` forgets what only other attempts have rejected.
    The table has the schema `letters.SCHEMA`; its key is (run's uid, run key, execution, step, source, chunk,
    position, part).
    It is called several times a chunk, always before the load of those rows commits.
    """

    async def write(self, run: RunRef, letters: pa.Table) -> None:
        """Keep them. Raises PostgresUnavailable."""
        ...

    async def settle(self, run: RunRef, chunk: int) -> None:
        """The attempt that has written all this has committed a chunk of live rows. Raises PostgresUnavailable."""
        ...
