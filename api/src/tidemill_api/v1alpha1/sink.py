"""Where a pipeline loads rows, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tidemill_api.v1alpha1._base import ListKey, Model, Rule
from tidemill_api.v1alpha1._types import Identifier, PartName
from tidemill_api.v1alpha1.http_sink import SentRows

_FOLDER = r"[^\x00-\x1f\x7f/\\*?\[\]{}._][^\x00-\x1f\x7f/\\*?\[\]{}]*"
FOLDER_PATTERN = rf"^{_FOLDER}(/{_FOLDER})*/?$"

TABLE_PATTERN = r"^[a-zA-Z_][a-zA-Z0-9_$]{0,62}\.[a-zA-Z_][a-zA-Z0-9_$]{0,62}$"


class PostgresTable(Model):
    """A table in a Postgres database."""

    table: Annotated[
        str,
        Field(pattern=TABLE_PATTERN, max_length=127, examples=["public.flights"]),
    ]
    """Schema and table, `public.flights`; the schema must be one that the connection lists. Case is kept."""
    create_table: Literal["IfMissing", "Never"] = "IfMissing"
    """Make the table from the rows' columns if it isn't there, or expect it to be there."""

    rules = (
        Rule(
            cel="!self.table.startsWith('tidemill.')",
            message="table can't be in the schema tidemill: that schema is Tidemill's own",
            holds=lambda s: not s.table.startswith("tidemill."),
            field=".table",
        ),
    )


class DedupColumn(Model):
    """A column that says which of several rows with one key wins."""

    column: Identifier
    """The column; a row without a value in it loses."""
    order: Literal["Desc", "Asc"] = "Desc"
    """Desc: the row with the greatest value wins; Asc: the one with the least. Text is compared by its bytes."""


class SCD2(Model):
    """How a table keeps former versions of its rows (a slowly changing dimension of type 2)."""

    valid_from: Identifier = "valid_from"
    """Column for the nominal time of the run that brought the version; the rows can't have it."""
    valid_to: Identifier = "valid_to"
    """Column for the nominal time of the run that ended the version; empty while it is the row's newest."""
    absent_keys: Literal["Keep", "Retire"] = "Keep"
    """What becomes of keys that a run doesn't bring: Keep them as they are, or Retire them, that is to end their newest
    version. Retire is for sources that give every row in each run."""

    rules = (
        Rule(
            cel="(has(self.validFrom) ? self.validFrom : 'valid_from') != "
            "(has(self.validTo) ? self.validTo : 'valid_to')",
            message="validFrom and validTo must be two columns",
            holds=lambda s: s.valid_from != s.valid_to,
            field=".validTo",
        ),
    )


class WrittenParquet(Model):
    """How Parquet files are written."""

    compression: Literal["Zstd", "Snappy", "Gzip", "None"] = "Zstd"
    """How pages are compressed. Snappy is what the oldest readers know."""
    row_group_rows: Annotated[int, Field(ge=1000, le=1_048_576)] = 122_880
    """Most rows of a row group: what a reader skips or reads at once, and what is held in memory while it is written.
    Fewer where rows are large: a row group is written once it has 16 MiB."""


class WrittenFormat(Model):
    """Format of written files."""

    parquet: WrittenParquet = WrittenParquet()
    """Parquet."""


class WrittenFiles(Model):
    """Files in a folder of a files connection: a data set of its own, which nobody else writes to."""

    path: Annotated[str, Field(pattern=FOLDER_PATTERN, max_length=256, examples=["lake/flights"])]
    """The folder, relative to the connection's URL. No part of it begins with a dot or an underscore, since readers of
    data sets pass over such folders."""
    format: WrittenFormat = WrittenFormat()
    """Parquet, if not given."""
    partition_by: Annotated[tuple[Identifier, ...], Field(max_length=8)] = ()
    """Columns by whose values files go into folders, `year=2013/month=1/`, as Hive, Spark, DuckDB and others read them;
    they are of texts, whole numbers, dates or booleans, and aren't in the files themselves."""

    rules = (
        Rule(
            cel="!has(self.partitionBy) || self.partitionBy.all(k, self.partitionBy.exists_one(l, l == k))",
            message="the columns of partitionBy must differ from each other",
            holds=lambda s: len(set(s.partition_by)) == len(s.partition_by),
            field=".partitionBy",
        ),
    )

    @property
    def folder(self) -> str:
        """The path without a slash at its end."""
        return self.path.rstrip("/")


class Sink(Model):
    """Where rows are loaded."""

    name: PartName
    """Name of the sink."""
    input: PartName
    """Source or step whose rows are loaded."""
    connection: PartName
    """A postgres, files or http connection of the pool with `access: Write`."""
    postgres: PostgresTable | None = None
    """A table of a database."""
    files: WrittenFiles | None = None
    """Files in a folder or bucket."""
    http: SentRows | None = None
    """Requests to an HTTP API."""
    write_disposition: Literal["Append", "Merge", "Replace"]
    """Append adds the rows; Merge updates by primaryKey and adds what is new (tables only); Replace makes the table, or
    the folder, hold exactly this run's rows."""
    commit: Literal["PerChunk", "AtEnd"] | None = None
    """For Append, when the rows can be seen: PerChunk (the default of tables), as they are loaded; or AtEnd, all at
    once when the run is whole. Merge, Replace and files are always seen at the end."""
    primary_key: Annotated[tuple[Identifier, ...], Field(max_length=32)] = ()
    """Columns that identify a row, for Merge. Of rows with the same key in one run the last in reading order wins,
    unless dedupOrder says otherwise."""
    merge_strategy: Literal["Upsert", "InsertOnly", "DeleteInsert", "SCD2"] | None = None
    """For Merge, what is done with a row whose key is in the table: Upsert (the default) updates the columns that the
    rows have; InsertOnly leaves it; DeleteInsert puts the new row in its place, so that columns which the rows don't
    have get their defaults; SCD2 ends the version that is there, if it differs, and adds the new one."""
    scd2: SCD2 | None = None
    """For mergeStrategy SCD2: its columns, and what becomes of keys that a run doesn't bring."""
    dedup_order: Annotated[tuple[DedupColumn, ...], Field(max_length=8), ListKey("column")] = ()
    """For Merge, which of several rows with the same key in one run wins: by the first column, then by the next. Rows
    that are equal in all of them, and rows of sinks without it, go by reading order: the last wins."""
    replace_strategy: Literal["Truncate", "Swap"] | None = None
    """For Replace: Truncate (the default) empties the table and fills it again, which keeps whatever belongs to it;
    readers wait meanwhile. Swap fills a new table and puts it in the old one's place, so that readers hardly wait; it
    keeps columns, indexes, comments and grants, and is refused where anything else depends on the table."""
    partition_by: Annotated[tuple[Identifier, ...], Field(max_length=8)] = ()
    """For Replace: only the rows with those values in these columns are replaced that the run has rows for; all others
    stay. So a run can replace its own day. Of files these are columns that `files.partitionBy` has."""

    rules = (
        Rule(
            cel="[has(self.postgres), has(self.files), has(self.http)].filter(x, x).size() == 1",
            message="a sink is exactly one of: postgres, files, http",
            holds=lambda s: [s.postgres, s.files, s.http].count(None) == 2,
        ),
        Rule(
            cel="!has(self.http) || self.writeDisposition == 'Append'",
            message="what was sent can be neither merged nor replaced: a sink over http is Append",
            holds=lambda s: s.http is None or s.write_disposition == "Append",
            field=".writeDisposition",
        ),
        Rule(
            cel="!has(self.http) || !has(self.commit) || self.commit == 'PerChunk'",
            message="rows that are sent can be seen at once: commit can't be AtEnd",
            holds=lambda s: s.http is None or s.commit != "AtEnd",
            field=".commit",
        ),
        Rule(
            cel="!has(self.files) || self.writeDisposition != 'Merge'",
            message="files can't be merged into row by row: use Append, Replace with partitionBy, or a table",
            holds=lambda s: s.files is None or s.write_disposition != "Merge",
            field=".writeDisposition",
        ),
        Rule(
            cel="!has(self.files) || !has(self.commit) || self.commit == 'AtEnd'",
            message="files are always seen at the end of a run: commit can't be PerChunk",
            holds=lambda s: s.files is None or s.commit != "PerChunk",
            field=".commit",
        ),
        Rule(
            cel="!has(self.files) || !has(self.replaceStrategy)",
            message="replaceStrategy is of tables",
            holds=lambda s: s.files is None or s.replace_strategy is None,
            field=".replaceStrategy",
        ),
        Rule(
            cel="!has(self.files) || !has(self.partitionBy) || self.partitionBy.all(k, "
            "has(self.files.partitionBy) && k in self.files.partitionBy)",
            message="what a run replaces of files is whole folders: partitionBy can only name columns of "
            "files.partitionBy",
            holds=lambda s: s.files is None or set(s.partition_by) <= set(s.files.partition_by),
            field=".partitionBy",
        ),
        Rule(
            cel="self.writeDisposition != 'Merge' || (has(self.primaryKey) && size(self.primaryKey) > 0)",
            message="Merge needs primaryKey: the columns that identify a row",
            holds=lambda s: s.write_disposition != "Merge" or len(s.primary_key) > 0,
            field=".primaryKey",
        ),
        Rule(
            cel="self.writeDisposition == 'Merge' || !has(self.primaryKey) || size(self.primaryKey) == 0",
            message="primaryKey has an effect for Merge only",
            holds=lambda s: s.write_disposition == "Merge" or len(s.primary_key) == 0,
            field=".primaryKey",
        ),
        Rule(
            cel="!has(self.primaryKey) || self.primaryKey.all(k, self.primaryKey.exists_one(l, l == k))",
            message="the columns of primaryKey must differ from each other",
            holds=lambda s: len(set(s.primary_key)) == len(s.primary_key),
            field=".primaryKey",
        ),
        Rule(
            cel="self.writeDisposition == 'Append' || !has(self.commit)",
            message="commit has an effect for Append only: Merge and Replace are always seen at the end",
            holds=lambda s: s.write_disposition == "Append" or s.commit is None,
            field=".commit",
        ),
        Rule(
            cel="self.writeDisposition == 'Merge' || !has(self.mergeStrategy)",
            message="mergeStrategy has an effect for Merge only",
            holds=lambda s: s.write_disposition == "Merge" or s.merge_strategy is None,
            field=".mergeStrategy",
        ),
        Rule(
            cel="!has(self.scd2) || (has(self.mergeStrategy) && self.mergeStrategy == 'SCD2')",
            message="scd2 has an effect for mergeStrategy SCD2 only",
            holds=lambda s: s.scd2 is None or s.merge_strategy == "SCD2",
            field=".scd2",
        ),
        Rule(
            cel="self.writeDisposition == 'Merge' || !has(self.dedupOrder) || size(self.dedupOrder) == 0",
            message="dedupOrder has an effect for Merge only",
            holds=lambda s: s.write_disposition == "Merge" or len(s.dedup_order) == 0,
            field=".dedupOrder",
        ),
        Rule(
            cel="self.writeDisposition == 'Replace' || !has(self.replaceStrategy)",
            message="replaceStrategy has an effect for Replace only",
            holds=lambda s: s.write_disposition == "Replace" or s.replace_strategy is None,
            field=".replaceStrategy",
        ),
        Rule(
            cel="self.writeDisposition == 'Replace' || !has(self.partitionBy) || size(self.partitionBy) == 0",
            message="partitionBy has an effect for Replace only",
            holds=lambda s: s.write_disposition == "Replace" or len(s.partition_by) == 0,
            field=".partitionBy",
        ),
        Rule(
            cel="!has(self.partitionBy) || self.partitionBy.all(k, self.partitionBy.exists_one(l, l == k))",
            message="the columns of partitionBy must differ from each other",
            holds=lambda s: len(set(s.partition_by)) == len(s.partition_by),
            field=".partitionBy",
        ),
        Rule(
            cel="!has(self.partitionBy) || size(self.partitionBy) == 0 || !has(self.replaceStrategy) || "
            "self.replaceStrategy != 'Swap'",
            message="Swap replaces the whole table: it can't go with partitionBy",
            holds=lambda s: len(s.partition_by) == 0 or s.replace_strategy != "Swap",
            field=".replaceStrategy",
        ),
    )

    @property
    def at_end(self) -> bool:
        """Whether the rows of a run are held back until it is whole."""
        return self.files is not None or self.write_disposition != "Append" or self.commit == "AtEnd"

    @property
    def table(self) -> str:
        """The table of a sink that has one."""
        assert self.postgres is not None
        return self.postgres.table

    @property
    def target(self) -> str:
        """Where rows go, for messages: the table, the folder, or the path."""
        if self.http is not None:
            return self.http.path or "/"
        return self.files.folder if self.files is not None else self.table

    @property
    def history(self) -> SCD2 | None:
        """How former versions are kept, if they are."""
        return (self.scd2 or SCD2()) if self.merge_strategy == "SCD2" else None
