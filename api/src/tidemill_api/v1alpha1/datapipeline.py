"""`DataPipeline`: what is read, how it is checked and transformed, where it is loaded, and when."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from tidemill_api.v1alpha1._base import (
    ByteSize,
    Condition,
    Duration,
    Identifier,
    LocalRef,
    Model,
    ObjectMeta,
    PartName,
    Rule,
)
from tidemill_api.v1alpha1.datapipelinerun import RunSummary
from tidemill_api.v1alpha1.schedule import Schedule

COLUMN_TYPE_PATTERN = (
    r"^(boolean|int16|int32|int64|float32|float64|string|date|timestamp|timestamptz"
    r"|decimal\(([1-9]|[12][0-9]|3[0-8]),([0-9]|[12][0-9]|3[0-8])\))$"
)


class Parameter(Model):
    """A value that a run can be given; SQL and rules use it as `$name`, bound, never pasted."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", min_length=1, max_length=63)]
    """Name; `run_time` is taken by Tidemill."""
    type: Literal["string", "integer", "number", "boolean", "date", "timestamp"] = "string"
    """Type of the value; string if not given. Dates and timestamps are written as in ISO 8601."""
    default: Annotated[Any, Field(json_schema_extra={"x-tidemill-schema": "scalar"})] = None
    """Value of runs that don't give one. Without a default, a scheduled run can't start: then every scheduled pipeline needs one."""

    rules = (
        Rule(
            cel="self.name != 'run_time'",
            message="run_time is taken: it is the nominal time of the run",
            holds=lambda s: s.name != "run_time",
            field=".name",
        ),
    )


class CSV(Model):
    """Comma-separated values (RFC 4180, with the freedoms that real files take)."""

    header: bool = True
    """The first line holds the columns' names; true if not given. If false, `columns` gives them in order."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1, pattern=r"^[^\"\r\n\x00]$")] = ","
    """One character between values; a comma if not given."""
    quote: Annotated[str, Field(min_length=1, max_length=1, pattern=r"^[^\r\n\x00]$")] = '"'
    """The character around values that hold delimiters; doubled inside. A double quote if not given."""
    null_values: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=32)] = ("",)
    """Texts that mean a missing value; the empty text if not given."""
    quoted_newlines: bool = True
    """Quoted values may hold line breaks; true if not given."""
    encoding: Literal["utf-8", "latin-1"] = "utf-8"
    """Encoding of the text; utf-8 if not given."""


class Format(Model):
    """How the files are written; exactly one."""

    csv: CSV
    """Comma-separated values."""


class FileSource(Model):
    """Files below a connection's folder."""

    path: Annotated[str, Field(min_length=1, max_length=1024, examples=["flights/*.csv.gz"])]
    """Path relative to the connection's folder; `*`, `?`, `[...]` and `**` match several files, which are read in the order of their names."""
    format: Format
    """How the files are written."""
    compression: Literal["Auto", "None", "Gzip", "Zip"] = "Auto"
    """Auto (if not given) goes by the name's ending: .gz, .zip, else none. A zip's members are read one after another."""

    rules = (
        Rule(
            cel="!self.path.startsWith('/') && !self.path.split('/').exists(p, p == '..')",
            message="path must be relative and stay below the connection's folder: no leading slash, no '..'",
            holds=lambda s: not s.path.startswith("/") and ".." not in s.path.split("/"),
            field=".path",
        ),
    )


class Column(Model):
    """What must hold for a column of a source."""

    name: Identifier
    """Name of the column, as steps and sinks see it."""
    from_: Annotated[Identifier | None, Field(alias="from")] = None
    """Name in the file, where it differs."""
    type: Annotated[str, Field(pattern=COLUMN_TYPE_PATTERN, max_length=16, examples=["int32", "decimal(18,2)"])]
    """boolean, int16, int32, int64, float32, float64, decimal(P,S), string, date, timestamp or timestamptz."""
    required: bool = False
    """A row without a value here is bad; false if not given."""


class Contract(Model):
    """What happens when files differ from the declared columns."""

    new_columns: Literal["Ignore", "Fail"] = "Ignore"
    """Columns that a file has beyond the declared ones: left out (Ignore, if not given), or the run fails. Where no columns are declared, all are read, with inferred types."""
    bad_values: Literal["DeadLetter", "Fail"] = "DeadLetter"
    """Rows with a value of the wrong type, a missing required value or a wrong number of fields: kept as dead letters (if not given), or the run fails."""


class Source(Model):
    """Something to read."""

    name: PartName
    """Name; steps and SQL call it so."""
    connection: PartName
    """A connection of the pool."""
    files: FileSource
    """Files to read."""
    columns: Annotated[tuple[Column, ...], Field(max_length=512)] = ()
    """Declared columns; only these are read then. Without any, all columns of the files are read and their types inferred."""
    contract: Contract = Contract()
    """What happens when files differ from the declared columns."""

    rules = (
        Rule(
            cel="!has(self.columns) || self.columns.all(c, self.columns.exists_one(d, d.name == c.name))",
            message="two columns have the same name",
            holds=lambda s: len({c.name for c in s.columns}) == len(s.columns),
            field=".columns",
        ),
        Rule(
            cel="!(has(self.files.format.csv.header) && !self.files.format.csv.header) "
            "|| (has(self.columns) && size(self.columns) > 0)",
            message="files without a header need columns, in the files' order",
            holds=lambda s: s.files.format.csv.header or len(s.columns) > 0,
            field=".columns",
        ),
    )


class RowRule(Model):
    """A condition that each row must meet."""

    name: PartName
    """Name, kept with each dead letter."""
    expression: Annotated[str, Field(min_length=1, max_length=4096, examples=["month BETWEEN 1 AND 12"])]
    """SQL condition over the row's columns (DuckDB's dialect) and `$parameters`. A row breaks it when it is false or NULL."""


class ValidateStep(Model):
    """Rules over rows."""

    rules_: Annotated[tuple[RowRule, ...], Field(alias="rules", min_length=1, max_length=128)]
    """The rules; all are checked, a dead letter names each one that it broke."""
    on_error: Literal["DeadLetter", "Skip", "Fail"] = "DeadLetter"
    """What happens to a row that breaks a rule: kept as a dead letter (if not given), left out and counted, or the run fails."""


class SQLStep(Model):
    """A query over the step's inputs."""

    query: Annotated[str, Field(min_length=1, max_length=32768)]
    """One SELECT (DuckDB's dialect) over the inputs, by their names, and `$parameters`. It must be row-wise in the first input: no aggregate, window, DISTINCT, LIMIT, ORDER BY, set operation, RIGHT or FULL join, or volatile function."""


class Step(Model):
    """Something done to rows: exactly one of validate and sql."""

    name: PartName
    """Name; later steps, sinks and SQL call it so."""
    inputs: Annotated[tuple[PartName, ...], Field(min_length=1, max_length=16)]
    """Sources or steps. The first one drives: its rows are worked on chunk by chunk; the others are joined whole."""
    validate_: Annotated[ValidateStep | None, Field(alias="validate")] = None
    """Rules over rows."""
    sql: SQLStep | None = None
    """A query over the inputs."""

    rules = (
        Rule(
            cel="has(self.validate) != has(self.sql)",
            message="a step is exactly one of: validate, sql",
            holds=lambda s: (s.validate_ is None) != (s.sql is None),
        ),
        Rule(
            cel="!has(self.validate) || size(self.inputs) == 1",
            message="a validate step has exactly one input",
            holds=lambda s: s.validate_ is None or len(s.inputs) == 1,
            field=".inputs",
        ),
        Rule(
            cel="self.inputs.all(i, self.inputs.exists_one(j, j == i))",
            message="inputs must differ from each other",
            holds=lambda s: len(set(s.inputs)) == len(s.inputs),
            field=".inputs",
        ),
    )


class PostgresTable(Model):
    """A table in a Postgres database."""

    table: Annotated[
        str,
        Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_$]*\.[a-zA-Z_][a-zA-Z0-9_$]*$", max_length=127, examples=["public.flights"]),
    ]
    """Schema and table, `public.flights`; the schema must be one that the connection lists. Case is kept."""
    create_table: Literal["IfMissing", "Never"] = "IfMissing"
    """Make the table from the rows' columns if it isn't there (if not given), or expect it."""


class Sink(Model):
    """Where rows are loaded."""

    name: PartName
    """Name of the sink."""
    input: PartName
    """Source or step whose rows are loaded."""
    connection: PartName
    """A postgres connection of the pool with `access: Write`."""
    postgres: PostgresTable
    """The table."""
    write_disposition: Literal["Append", "Merge", "Replace"]
    """Append adds the rows; Merge updates by primaryKey and adds what is new; Replace makes the table hold exactly this run's rows."""
    primary_key: Annotated[tuple[Identifier, ...], Field(max_length=32)] = ()
    """Columns that identify a row, for Merge. Of rows with the same key in one run the last one in reading order wins."""

    rules = (
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
    )


class Chunking(Model):
    """How much is worked on in one piece."""

    max_rows: Annotated[int, Field(ge=1, le=10_000_000)] = 1_000_000
    """Most rows in a chunk."""
    max_bytes: ByteSize = "64Mi"
    """Most bytes of a file in a chunk, about."""


class Retry(Model):
    """How a chunk is tried again after an error that a retry can mend. The names are Temporal's."""

    initial_interval: Duration = "1s"
    """Wait before the first retry."""
    backoff_coefficient: Annotated[float, Field(ge=1, le=10)] = 2.0
    """Each wait is this many times the one before."""
    maximum_interval: Duration = "1m"
    """Longest wait."""
    maximum_attempts: Annotated[int, Field(ge=0, le=1000)] = 0
    """Most attempts; 0: as long as `timeout` allows."""


class ErrorTolerance(Model):
    """How many bad rows a run may have. More of them fail it; a run whose rows are all bad always fails."""

    max_percent: Annotated[float, Field(ge=0, le=100)] | None = None
    """Most bad rows, in percent of the rows read."""
    max_rows: Annotated[int, Field(ge=0)] | None = None
    """Most bad rows."""

    rules = (
        Rule(
            cel="has(self.maxPercent) || has(self.maxRows)",
            message="errorTolerance needs maxPercent, maxRows or both",
            holds=lambda s: s.max_percent is not None or s.max_rows is not None,
        ),
    )


class Execution(Model):
    """How a run is carried out."""

    chunk: Chunking = Chunking()
    """How much is worked on in one piece."""
    parallelism: Annotated[int, Field(ge=1, le=1000)] = 8
    """Most chunks of a run that are worked on at once, over all workers."""
    timeout: Duration = "2h"
    """A run that takes longer is ended as failed."""
    retry: Retry = Retry()
    """How a chunk is tried again."""
    error_tolerance: ErrorTolerance | None = None
    """How many bad rows a run may have; without it any number, but never all."""


class DataPipelineSpec(Model):
    """What is read, how it is checked and transformed, where it is loaded, and when."""

    worker_pool_ref: LocalRef
    """The pool whose workers run it."""
    suspend: bool = False
    """No scheduled run starts while this is true; open runs go on, runs by hand still work."""
    schedule: Schedule | None = None
    """When it runs; without a schedule it runs by hand only."""
    parameters: Annotated[tuple[Parameter, ...], Field(max_length=32, json_schema_extra={"x-tidemill-list-key": "name"})] = ()
    """Values that a run can be given."""
    sources: Annotated[tuple[Source, ...], Field(min_length=1, max_length=16, json_schema_extra={"x-tidemill-list-key": "name"})]
    """What is read."""
    steps: Annotated[tuple[Step, ...], Field(max_length=32, json_schema_extra={"x-tidemill-list-key": "name"})] = ()
    """What is done to the rows."""
    sinks: Annotated[tuple[Sink, ...], Field(min_length=1, max_length=16, json_schema_extra={"x-tidemill-list-key": "name"})]
    """Where rows are loaded."""
    execution: Execution = Execution()
    """How a run is carried out."""
    deletion_policy: Literal["Wait", "Cancel"] = "Wait"
    """When the pipeline is deleted: Wait for open runs, or Cancel them."""

    rules = (
        Rule(
            cel="!has(self.steps) || !self.steps.exists(t, self.sources.exists(s, s.name == t.name))",
            message="a step can't have the name of a source",
            holds=lambda s: not {t.name for t in s.steps} & {o.name for o in s.sources},
            field=".steps",
        ),
        Rule(
            cel="!has(self.schedule) || !has(self.parameters) || self.parameters.all(p, has(p.default))",
            message="a scheduled pipeline's parameters all need a default",
            holds=lambda s: s.schedule is None or all(p.default is not None for p in s.parameters),
            field=".parameters",
        ),
    )


class PauseStatus(Model):
    """A person's (or pauseOnFailure's) pause of the Schedule."""

    by: Literal["Annotation", "Temporal"]
    """Annotation: `tidemill.dev/paused` on the pipeline; Temporal: paused in Temporal itself."""
    note: Annotated[str, Field(max_length=4096)] = ""
    """What was said with it."""


class ScheduleStatus(Model):
    """The pipeline's Schedule in Temporal."""

    id: Annotated[str, Field(max_length=1000)]
    """Id of the Schedule."""
    wished: Annotated[str, Field(max_length=64)] | None = None
    """Hash of what was last asked of the server."""
    made: Annotated[str, Field(max_length=64)] | None = None
    """Hash of what the server made of it, for finding drift."""
    drift_repaired: Annotated[int, Field(ge=0)] = 0
    """How often a change made elsewhere was put right."""


class DataPipelineStatus(Model):
    """What the operator saw of the pipeline."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The generation that this status speaks of."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16)] = ()
    """Ready; Reconciling or Stalled while they are true; Succeeding (the last run) and Paused."""
    schedule: ScheduleStatus | None = None
    """The Schedule in Temporal."""
    schedule_summary: Annotated[str, Field(max_length=256)] | None = None
    """The schedule in a few words, for `kubectl get`."""
    next_runs: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=10)] = ()
    """Next nominal times (RFC 3339)."""
    last_run: RunSummary | None = None
    """The newest run that ended."""
    active_runs: Annotated[tuple[RunSummary, ...], Field(max_length=32)] = ()
    """Open runs."""
    missed_runs: Annotated[int, Field(ge=0)] | None = None
    """Runs that Temporal did not start within catchupWindow, since the Schedule was made."""
    paused: PauseStatus | None = None
    """A pause that Git doesn't know of."""


class DataPipeline(Model):
    """Reads sources, checks and transforms their rows and loads them into sinks, on a schedule."""

    api_version: Literal["tidemill.dev/v1alpha1"] = "tidemill.dev/v1alpha1"
    kind: Literal["DataPipeline"] = "DataPipeline"
    metadata: ObjectMeta
    spec: DataPipelineSpec
    """What is read, how it is checked and transformed, where it is loaded, and when."""
    status: DataPipelineStatus | None = None
    """What the operator saw."""
