"""What a pipeline reads: files, how they are written, which columns they have, and what is done when they differ."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from tidemill_api.v1alpha1._base import ListKey, Model, Rule
from tidemill_api.v1alpha1._types import Identifier, PartName, Scalar, int_or_string
from tidemill_api.v1alpha1.cache import LookupCache
from tidemill_api.v1alpha1.http_source import HTTPSource
from tidemill_api.v1alpha1.python import PythonSource

TABLE_PATTERN = r"^[a-zA-Z_][a-zA-Z0-9_$]{0,62}\.[a-zA-Z_][a-zA-Z0-9_$]{0,62}$"
COLUMN_TYPE_PATTERN = (
    r"^(boolean|int16|int32|int64|float32|float64|string|date|timestamp|timestamptz"
    r"|decimal\(([1-9]|[12][0-9]|3[0-8]),([0-9]|[12][0-9]|3[0-8])\))$"
)
HeaderName = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=256, examples=["Cost Total $"])]
"""The name of a column in a file."""


class CSV(Model):
    """Comma-separated values (RFC 4180, with the freedoms that real files take)."""

    header: bool = True
    """The first line holds the columns' names. If false, `columns` gives them in order."""
    delimiter: Annotated[str, Field(pattern=r"^[\x01-\x09\x0b\x0c\x0e-!#-\x7f]$", max_length=1)] = ","
    """One ASCII character between values."""
    quote: Annotated[str, Field(pattern=r"^[\x01-\x09\x0b\x0c\x0e-\x7f]$", max_length=1)] = '"'
    """The ASCII character around values that hold delimiters; doubled inside."""
    null_values: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=32)] = ("",)
    """Texts that mean a missing value; only the empty text if not given."""
    quoted_newlines: bool = True
    """Quoted values may hold line breaks."""
    encoding: Literal["utf-8", "latin-1", "windows-1252", "utf-16"] = "utf-8"
    """Encoding of the text. UTF-16 goes by its byte order mark; without one it is little-endian."""

    rules = (
        Rule(
            cel="(has(self.delimiter) ? self.delimiter : ',') != (has(self.quote) ? self.quote : '\"')",
            message="delimiter and quote must differ",
            holds=lambda s: s.delimiter != s.quote,
            field=".quote",
        ),
    )


class JSONLines(Model):
    """One JSON object a line, in UTF-8; lists and objects within are read as JSON texts."""


class JSON(Model):
    """One array of JSON objects a file, in UTF-8; lists and objects within are read as JSON texts."""


class Parquet(Model):
    """Apache Parquet: lists, maps and structs are read as JSON texts."""


class Format(Model):
    """How the files are written: exactly one of csv, jsonLines, json and parquet."""

    csv: CSV | None = None
    """Comma-separated values."""
    json_lines: JSONLines | None = None
    """One JSON object a line; it has no settings (`jsonLines: {}`)."""
    json_: Annotated[JSON | None, Field(alias="json")] = None
    """One array of JSON objects; it has no settings (`json: {}`). Such files can't be read in ranges."""
    parquet: Parquet | None = None
    """Apache Parquet; it has no settings (`parquet: {}`)."""

    rules = (
        Rule(
            cel="[has(self.csv), has(self.jsonLines), has(self.json), has(self.parquet)].filter(x, x).size() == 1",
            message="a format is exactly one of: csv, jsonLines, json, parquet",
            holds=lambda s: [s.csv, s.json_lines, s.json_, s.parquet].count(None) == 3,
        ),
    )

    @property
    def chosen(self) -> CSV | JSONLines | JSON | Parquet:
        """The one that is given."""
        chosen = self.csv or self.json_lines or self.json_ or self.parquet
        assert chosen is not None  # the rule
        return chosen


class FileSource(Model):
    """Files below a connection's folder."""

    path: Annotated[str, Field(min_length=1, max_length=1024, examples=["flights/*.csv.gz"])]
    """Path relative to the connection's folder; `*`, `?`, `[...]` and `**` match several files, which are read in the
    order of their names. It may hold values of the run: `{run_time:%Y/%m/%d}`, `{interval_start:%Y%m%d}`,
    `{interval_end}` (in UTC, letters as strftime's) and `{parameters.NAME}`; `{{` and `}}` are braces."""
    format: Format
    """How the files are written."""
    compression: Literal["Auto", "None", "Gzip", "Zip", "Zstd"] = "Auto"
    """Auto goes by the name's ending: .gz, .zip, .zst, else none. A zip's members are read one after another."""

    rules = (
        Rule(
            cel="!self.path.startsWith('/') && !self.path.split('/').exists(p, p == '..')",
            message="path must be relative and stay below the connection's folder: no leading slash, no '..'",
            holds=lambda s: not s.path.startswith("/") and ".." not in s.path.split("/"),
            field=".path",
        ),
        Rule(
            cel="!has(self.format.parquet) || !has(self.compression) || self.compression in ['Auto', 'None']",
            message="Parquet is compressed inside: leave compression out",
            holds=lambda s: s.format.parquet is None or s.compression in {"Auto", "None"},
            field=".compression",
        ),
    )


class PostgresSource(Model):
    """Rows of a table or view in a Postgres database, read in one read-only transaction a chunk."""

    table: Annotated[str, Field(pattern=TABLE_PATTERN, max_length=127, examples=["public.orders"])]
    """Schema and table or view, `public.orders`; the schema must be one that the connection lists. Case is kept."""
    split_by: Identifier | None = None
    """Column of whole numbers, dates or timestamps by whose ranges the rows are read in chunks; best one with an index.
    Without it the table is one chunk. Chunks see the table as it is when each is read."""
    cache: LookupCache | None = None
    """Of a table that is joined whole, and by no other way: keep its rows, for all workers and for later runs
    (`cache: {}` as long as the pool says); each run reads them anew if not given."""


class Column(Model):
    """What must hold for a column of a source."""

    name: Identifier
    """Name of the column, as steps and sinks see it."""
    from_: Annotated[HeaderName | None, Field(alias="from")] = None
    """Name in the file, where it differs."""
    type: Annotated[str, Field(pattern=COLUMN_TYPE_PATTERN, max_length=16, examples=["int32", "decimal(18,2)"])]
    """boolean, int16, int32, int64, float32, float64, decimal(P,S), string, date, timestamp or timestamptz."""
    required: bool = False
    """A row without a value here is bad."""

    rules = (
        Rule(
            cel="size(bytes(self.name)) <= 63",
            message="name is longer than the 63 bytes that Postgres keeps",
            holds=lambda s: len(s.name.encode()) <= 63,
            field=".name",
        ),
        Rule(
            cel="!self.type.startsWith('decimal(') || int(self.type.substring(8, self.type.indexOf(','))) "
            ">= int(self.type.substring(self.type.indexOf(',') + 1, size(self.type) - 1))",
            message="decimal(precision,scale): the scale can't be greater than the precision",
            holds=lambda s: _scale_fits(s.type),
            field=".type",
        ),
    )


class Contract(Model):
    """What happens when files differ from the declared columns."""

    new_columns: Literal["Ignore", "Add", "Fail"] = "Ignore"
    """Columns that a source has beyond the declared ones: left out (Ignore), or the run fails (Fail). Where no
    columns are declared, all are read, with inferred types. Add: they are read too, and columns that the rows of a sink
    behind the source have and its table hasn't are added to that table (which its owner alone may); declared columns
    that aren't required may be missing."""
    wider_types: Literal["Keep", "Widen"] = "Keep"
    """Columns of the sinks' tables whose type is narrower than that of the rows. Keep: they stay, and what doesn't fit
    is a dead letter. Widen: the column gets the rows' type where each value in it stays what it is (int32 to int64 or
    decimal, float32 to float64, date to timestamp, more digits); where Postgres writes the table anew for that, only
    tables of up to 1 GiB are altered."""
    bad_values: Literal["DeadLetter", "SetNull", "Fail"] = "DeadLetter"
    """Rows with a value of the wrong type, a missing required value or a wrong number of fields: kept as dead letters
    (DeadLetter), or the run fails (Fail). SetNull: a value of the wrong type is loaded as NULL and counted, unless its
    column is required; rows that are bad otherwise are dead letters."""


LAG_PATTERN: Final = r"^([0-9]{1,18}|([0-9]{1,6}(ms|s|m|h|d))+)$"
Lag = Annotated[str | int, *int_or_string("a length of time such as 1h or 2d, or a whole number", 32, LAG_PATTERN)]
"""How far back of a cursor's greatest value: a length of time, or of a whole-number cursor a number."""
CURSOR_TYPES: Final = ("int16", "int32", "int64", "date", "timestamp", "timestamptz")


class Incremental(Model):
    """Only what hasn't been loaded yet is read: new files, or the rows of a table beyond a cursor's last value.

    Runs of backfills and replays neither heed nor note that.
    """

    by: Literal["Name", "ModifiedTime"] | None = None
    """Of files. Name: a file is read once. ModifiedTime: it is read again when its time or size has changed since."""
    cursor: Identifier | None = None
    """Of a table: a declared column of whole numbers, dates or timestamps that grows with each new or changed row. A
    run reads the rows beyond the greatest value that its sinks have, up to the greatest one when it is planned. Rows
    without a value are left out and counted as skipped."""
    initial_value: Scalar | None = None
    """The cursor's first value to read, as long as nothing is loaded: a whole number, a date or a moment (ISO 8601)."""
    lag: Lag | None = None
    """So far back of what is loaded rows are read again, for those that were committed late: `1h`, or for a cursor of
    dates whole days, for one of whole numbers a number. It needs sinks that merge."""

    rules = (
        Rule(
            cel="has(self.by) != has(self.cursor)",
            message="incremental is exactly one of: by (files), cursor (a table)",
            holds=lambda s: (s.by is None) != (s.cursor is None),
        ),
        Rule(
            cel="has(self.cursor) || (!has(self.initialValue) && !has(self.lag))",
            message="initialValue and lag belong to a cursor",
            holds=lambda s: s.cursor is not None or (s.initial_value is None and s.lag is None),
            field=".cursor",
        ),
    )


class Source(Model):
    """Something to read: files, a table, an API, or what a function gives."""

    name: PartName
    """Name; steps and SQL call it so."""
    connection: PartName = ""
    """A connection of the pool; a source in Python has none."""
    files: FileSource | None = None
    """Files to read."""
    postgres: PostgresSource | None = None
    """A table to read."""
    http: HTTPSource | None = None
    """An HTTP API to read."""
    python: PythonSource | None = None
    """A function that gives rows."""
    columns: Annotated[tuple[Column, ...], Field(max_length=512), ListKey("name")] = ()
    """Declared columns; only these are read then. Without any, all columns of the files are read and their types
    inferred."""
    contract: Contract = Contract()
    """What happens when files differ from the declared columns."""
    incremental: Incremental | None = None
    """Read only what hasn't been loaded yet; everything, in each run, if not given."""

    rules = (
        Rule(
            cel="[has(self.files), has(self.postgres), has(self.http), has(self.python)].filter(x, x).size() == 1",
            message="a source is exactly one of: files, postgres, http, python",
            holds=lambda s: [s.files, s.postgres, s.http, s.python].count(None) == 3,
        ),
        Rule(
            cel="has(self.connection) != has(self.python)",
            message="a source has a connection, unless it is one in Python",
            holds=lambda s: (s.connection == "") == (s.python is not None),
            field=".connection",
        ),
        Rule(
            cel="!has(self.python) || (has(self.columns) && size(self.columns) > 0)",
            message="rows of a function need columns: say what is read of them",
            holds=lambda s: s.python is None or len(s.columns) > 0,
            field=".columns",
        ),
        Rule(
            cel="!has(self.incremental) || (has(self.incremental.by) ? has(self.files) : has(self.postgres))",
            message="incremental goes by the names or times of files, and by a cursor of a table",
            holds=lambda s: (
                s.incremental is None or (s.files if s.incremental.by is not None else s.postgres) is not None
            ),
            field=".incremental",
        ),
        Rule(
            cel="!has(self.http) || (has(self.columns) && size(self.columns) > 0)",
            message="rows of an API need columns: say what is read of them",
            holds=lambda s: s.http is None or len(s.columns) > 0,
            field=".columns",
        ),
        Rule(
            cel="!has(self.incremental) || !has(self.incremental.cursor) || (has(self.columns) && self.columns.exists("
            "c, c.name == self.incremental.cursor && (c.type.startsWith('int') || c.type in ['date', 'timestamp', "
            "'timestamptz'])))",
            message="the cursor must be a declared column of whole numbers, dates or timestamps",
            holds=lambda s: s.incremental is None or s.incremental.cursor is None or s.cursor_column is not None,
            field=".incremental.cursor",
        ),
        Rule(
            cel="!has(self.files) || !has(self.files.format.csv) || !has(self.files.format.csv.header) "
            "|| self.files.format.csv.header || (has(self.columns) && size(self.columns) > 0)",
            message="files without a header need columns, in the files' order",
            holds=lambda s: (
                s.files is None or s.files.format.csv is None or s.files.format.csv.header or len(s.columns) > 0
            ),
            field=".columns",
        ),
        Rule(
            cel="!has(self.contract) || !has(self.contract.newColumns) || self.contract.newColumns != 'Add' || "
            "!has(self.files) || !has(self.files.format.csv) || !has(self.files.format.csv.header) || "
            "self.files.format.csv.header",
            message="files without a header have no names for new columns: newColumns is Ignore or Fail",
            holds=lambda s: (
                s.contract.new_columns != "Add"
                or s.files is None
                or s.files.format.csv is None
                or s.files.format.csv.header
            ),
            field=".contract.newColumns",
        ),
    )

    @property
    def in_files(self) -> FileSource:
        """The files of a source that is one of files."""
        assert self.files is not None
        return self.files

    @property
    def only_new(self) -> bool:
        """Whether its runs read only what hasn't been loaded yet, and note what they have."""
        return self.incremental is not None or (self.python is not None and self.python.keep_state)

    @property
    def cursor_column(self) -> Column | None:
        """The declared column that the source's cursor is; None: it has no cursor, or one that isn't declared."""
        name = self.incremental.cursor if self.incremental is not None else None
        return next((each for each in self.columns if each.name == name and each.type in CURSOR_TYPES), None)


def _scale_fits(column_type: str) -> bool:
    """Whether a decimal's scale is at most its precision; true for every other type."""
    if not column_type.startswith("decimal("):
        return True
    precision, scale = column_type.removeprefix("decimal(").removesuffix(")").split(",")
    return int(scale) <= int(precision)
