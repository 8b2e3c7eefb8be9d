"""Wrong manifests that `kubectl apply` must refuse, and what it must say: the field at fault and why.

Each is a good manifest of `tests/golden/manifests` with a change. A test holds the table against the models: each rule
that the schema has stands here. Types, bounds, patterns, enums and required fields are tried one by one, made from the
schema (`tests/support/mutants.py`); those below stand for what people get wrong most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tests.support.manifests import DELETE


@dataclass(frozen=True, slots=True)
class Refused:
    """`base` (a file of good manifests, its first document) with `changes` is refused, naming `field`.

    `says` is a part of both answers, or of the server's alone where `lint_says` is given.
    """

    name: str
    base: str
    changes: Mapping[str, object]
    field: str
    says: str
    lint_says: str = ""


RULES: Final = (
    Refused(
        "step-of-two-sorts", "pipeline", {"spec.steps[0].sql": {"query": "SELECT 1"}},
        "spec.steps[0]", "a step is exactly one of: validate, sql, python",
    ),
    Refused(
        "step-of-two-other-sorts", "pipeline", {"spec.steps[1].python": {"entrypoint": "a:b"}},
        "spec.steps[1]", "a step is exactly one of: validate, sql, python",
    ),
    Refused(
        "step-of-no-sort", "pipeline", {"spec.steps[0].validate": DELETE},
        "spec.steps[0]", "a step is exactly one of: validate, sql, python",
    ),
    Refused(
        "python-step-of-two-sorts-of-columns", "pipeline",
        {"spec.steps[2].python.columns": [{"name": "id", "type": "int32"}]},
        "spec.steps[2].python", "a python step has columns (all that it gives) or addColumns",
    ),
    Refused(
        "python-step-over-all-rows-that-multiplies", "pipeline-python", {"spec.steps[0].python.mayMultiply": True},
        "spec.steps[0].python.mayMultiply", "mayMultiply has an effect for mode Batch only",
    ),
    Refused(
        "function-with-a-connection", "pipeline-python", {"spec.sources[1].connection": "landing"},
        "spec.sources[1].connection", "a source has a connection, unless it is one in Python",
    ),
    Refused(
        "files-without-a-connection", "pipeline-python", {"spec.sources[0].connection": DELETE},
        "spec.sources[0].connection", "a source has a connection, unless it is one in Python",
    ),
    Refused(
        "function-without-columns", "pipeline-python", {"spec.sources[1].columns": DELETE},
        "spec.sources[1].columns", "rows of a function need columns: say what is read of them",
    ),
    Refused(
        "python-column-of-a-scale-too-great", "pipeline-python",
        {"spec.steps[0].python.columns[1].type": "decimal(3,4)"},
        "spec.steps[0].python.columns[1].type", "the scale can't be greater than the precision",
    ),
    Refused(
        "python-column-of-a-long-name", "pipeline", {"spec.steps[2].python.addColumns[0].name": "é" * 32},
        "spec.steps[2].python.addColumns[0].name", "name is longer than the 63 bytes that Postgres keeps",
    ),
    Refused(
        "validate-of-two-inputs", "pipeline", {"spec.steps[0].inputs": ["raw", "airlines"]},
        "spec.steps[0].inputs", "a validate step has exactly one input",
    ),
    Refused(
        "sql-of-two-queries", "pipeline",
        {"spec.steps[1].sql.queryFrom": {"configMapKeyRef": {"name": "queries", "key": "named.sql"}}},
        "spec.steps[1].sql", "a sql step has exactly one of: query, queryFrom",
    ),
    Refused(
        "sql-of-no-query", "pipeline", {"spec.steps[1].sql.query": DELETE},
        "spec.steps[1].sql", "a sql step has exactly one of: query, queryFrom",
    ),
    Refused(
        "same-input-twice", "pipeline", {"spec.steps[1].inputs": ["valid", "valid"]},
        "spec.steps[1].inputs", "inputs must differ from each other",
    ),
    Refused(
        "step-named-like-a-source", "pipeline", {"spec.steps[0].name": "airlines"},
        "spec.steps", "a step can't have the name of a source",
    ),
    Refused(
        "merge-without-key", "pipeline", {"spec.sinks[0].primaryKey": DELETE},
        "spec.sinks[0].primaryKey", "Merge needs primaryKey: the columns that identify a row",
    ),
    Refused(
        "merge-with-empty-key", "pipeline", {"spec.sinks[0].primaryKey": []},
        "spec.sinks[0].primaryKey", "Merge needs primaryKey: the columns that identify a row",
    ),
    Refused(
        "append-with-key", "pipeline", {"spec.sinks[1].primaryKey": ["month"]},
        "spec.sinks[1].primaryKey", "primaryKey has an effect for Merge only",
    ),
    Refused(
        "key-column-twice", "pipeline", {"spec.sinks[0].primaryKey": ["month", "month"]},
        "spec.sinks[0].primaryKey", "the columns of primaryKey must differ from each other",
    ),
    Refused(
        "merge-that-says-commit", "pipeline", {"spec.sinks[0].commit": "AtEnd"},
        "spec.sinks[0].commit", "commit has an effect for Append only: Merge and Replace are always seen at the end",
    ),
    Refused(
        "append-with-a-merge-strategy", "pipeline", {"spec.sinks[1].mergeStrategy": "Upsert"},
        "spec.sinks[1].mergeStrategy", "mergeStrategy has an effect for Merge only",
    ),
    Refused(
        "scd2-of-another-strategy", "pipeline", {"spec.sinks[0].mergeStrategy": "Upsert"},
        "spec.sinks[0].scd2", "scd2 has an effect for mergeStrategy SCD2 only",
    ),
    Refused(
        "scd2-of-no-strategy", "pipeline", {"spec.sinks[0].mergeStrategy": DELETE},
        "spec.sinks[0].scd2", "scd2 has an effect for mergeStrategy SCD2 only",
    ),
    Refused(
        "scd2-of-one-column", "pipeline", {"spec.sinks[0].scd2.validTo": "valid_from"},
        "spec.sinks[0].scd2.validTo", "validFrom and validTo must be two columns",
    ),
    Refused(
        "scd2-of-a-default-column", "pipeline",
        {"spec.sinks[0].scd2.validTo": "valid_from", "spec.sinks[0].scd2.validFrom": DELETE},
        "spec.sinks[0].scd2.validTo", "validFrom and validTo must be two columns",
    ),
    Refused(
        "append-with-dedup-order", "pipeline", {"spec.sinks[1].dedupOrder": [{"column": "month"}]},
        "spec.sinks[1].dedupOrder", "dedupOrder has an effect for Merge only",
    ),
    Refused(
        "append-with-replace-strategy", "pipeline", {"spec.sinks[1].replaceStrategy": "Swap"},
        "spec.sinks[1].replaceStrategy", "replaceStrategy has an effect for Replace only",
    ),
    Refused(
        "merge-with-partitions", "pipeline", {"spec.sinks[0].partitionBy": ["month"]},
        "spec.sinks[0].partitionBy", "partitionBy has an effect for Replace only",
    ),
    Refused(
        "partition-column-twice", "pipeline", {"spec.sinks[2].partitionBy": ["month", "month"]},
        "spec.sinks[2].partitionBy", "the columns of partitionBy must differ from each other",
    ),
    Refused(
        "swap-of-partitions", "pipeline", {"spec.sinks[2].replaceStrategy": "Swap"},
        "spec.sinks[2].replaceStrategy", "Swap replaces the whole table: it can't go with partitionBy",
    ),
    Refused(
        "sink-of-two-sorts", "pipeline", {"spec.sinks[4].postgres": {"table": "public.lake"}},
        "spec.sinks[4]", "a sink is exactly one of: postgres, files",
    ),
    Refused(
        "sink-of-no-sort", "pipeline", {"spec.sinks[1].postgres": DELETE},
        "spec.sinks[1]", "a sink is exactly one of: postgres, files",
    ),
    Refused(
        "merge-into-files", "pipeline",
        {"spec.sinks[4].writeDisposition": "Merge", "spec.sinks[4].primaryKey": ["month"],
         "spec.sinks[4].partitionBy": DELETE},
        "spec.sinks[4].writeDisposition",
        "files can't be merged into row by row: use Append, Replace with partitionBy, or a table",
    ),
    Refused(
        "files-by-chunk", "pipeline",
        {"spec.sinks[4].writeDisposition": "Append", "spec.sinks[4].partitionBy": DELETE,
         "spec.sinks[4].commit": "PerChunk"},
        "spec.sinks[4].commit", "files are always seen at the end of a run: commit can't be PerChunk",
    ),
    Refused(
        "swap-of-files", "pipeline", {"spec.sinks[4].partitionBy": DELETE, "spec.sinks[4].replaceStrategy": "Swap"},
        "spec.sinks[4].replaceStrategy", "replaceStrategy is of tables",
    ),
    Refused(
        "replaced-by-what-names-no-folder", "pipeline", {"spec.sinks[4].partitionBy": ["month", "dep_delay"]},
        "spec.sinks[4].partitionBy", "what a run replaces of files is whole folders",
    ),
    Refused(
        "folder-column-twice", "pipeline", {"spec.sinks[4].files.partitionBy": ["month", "month"]},
        "spec.sinks[4].files.partitionBy", "the columns of partitionBy must differ from each other",
    ),
    Refused(
        "times-and-after", "pipeline",
        {"spec.schedule.after": [{"pipelineRef": {"name": "landing"}}], "spec.onFailure": DELETE},
        "spec.schedule.after", "a pipeline that follows others (after) has their times",
    ),
    Refused(
        "after-with-a-time-zone", "pipeline",
        {
            "spec.schedule": {"after": [{"pipelineRef": {"name": "landing"}}], "timeZone": "Europe/Paris"},
            "spec.onFailure": DELETE,
        },
        "spec.schedule.after", "a pipeline that follows others (after) has their times",
    ),
    Refused(
        "after-one-twice", "pipeline",
        {
            "spec.schedule": {"after": [{"pipelineRef": {"name": "landing"}}, {"pipelineRef": {"name": "landing"}}]},
            "spec.onFailure": DELETE,
        },
        "spec.schedule.after", "after names each pipeline once",
    ),
    Refused(
        "check-of-no-sink", "pipeline", {"spec.checks[0].sink": "flight"},
        "spec.checks", "each check needs the name of a sink",
    ),
    Refused(
        "check-without-bound", "pipeline", {"spec.checks[1].withinPercentOfLast": DELETE},
        "spec.checks[1]", "rowCount and rowsLoaded need a bound: atLeast, atMost or withinPercentOfLast",
    ),
    Refused(
        "check-of-crossed-bounds", "pipeline", {"spec.checks[0].atMost": 10},
        "spec.checks[0].atLeast", "atLeast can't be more than atMost",
    ),
    Refused(
        "duplicates-of-no-columns", "pipeline", {"spec.checks[0].metric": "duplicateRows"},
        "spec.checks[0].columns", "columns belong to duplicateRows, nullRows, unacceptedRows and freshness",
    ),
    Refused(
        "count-of-a-column", "pipeline", {"spec.checks[0].columns": ["month"]},
        "spec.checks[0].columns", "columns belong to duplicateRows, nullRows, unacceptedRows and freshness",
    ),
    Refused(
        "freshness-of-two-columns", "pipeline", {"spec.checks[4].columns": ["month", "carrier"]},
        "spec.checks[4].columns", "unacceptedRows and freshness are of one column",
    ),
    Refused(
        "nothing-is-accepted", "pipeline", {"spec.checks[2].acceptedValues": []},
        "spec.checks[2].acceptedValues", "acceptedValues belong to unacceptedRows, which needs them",
    ),
    Refused(
        "check-of-no-condition", "pipeline", {"spec.checks[3].expression": DELETE},
        "spec.checks[3].expression", "expression belongs to failedRows, which needs it",
    ),
    Refused(
        "count-within-a-time", "pipeline", {"spec.checks[0].within": "1h"},
        "spec.checks[0].within", "within belongs to freshness, which needs it",
    ),
    Refused(
        "freshness-of-a-number", "pipeline", {"spec.checks[4].atMost": 1},
        "spec.checks[4].within", "freshness has one bound: within",
    ),
    Refused(
        "freshness-of-no-time", "pipeline", {"spec.checks[4].within": "0s"},
        "spec.checks[4].within", "within must be longer than 0, such as 2h",
    ),
    Refused(
        "table-in-our-schema", "pipeline", {"spec.sinks[0].postgres.table": "tidemill.runs"},
        "spec.sinks[0].postgres.table", "table can't be in the schema tidemill",
    ),
    Refused(
        "parameter-of-a-taken-name", "pipeline", {"spec.parameters[0].name": "run_time"},
        "spec.parameters[0].name", "run_time, interval_start and interval_end are taken",
    ),
    Refused(
        "scheduled-without-default", "pipeline", {"spec.parameters[0].default": DELETE},
        "spec.parameters", "a scheduled pipeline's parameters all need a default",
    ),
    Refused(
        "absolute-path", "pipeline", {"spec.sources[0].files.path": "/etc/passwd"},
        "spec.sources[0].files.path", "path must be relative and stay below the connection's folder",
    ),
    Refused(
        "path-that-climbs", "pipeline", {"spec.sources[0].files.path": "a/../../b.csv"},
        "spec.sources[0].files.path", "path must be relative and stay below the connection's folder",
    ),
    Refused(
        "source-of-two-sorts", "pipeline", {"spec.sources[0].postgres": {"table": "public.raw"}},
        "spec.sources[0]", "a source is exactly one of: files, postgres, http, python",
    ),
    Refused(
        "table-by-new-files", "pipeline", {"spec.sources[4].incremental": {"by": "ModifiedTime"}},
        "spec.sources[4].incremental", "incremental goes by the names or times of files, and by a cursor of a table",
    ),
    Refused(
        "files-by-a-cursor", "pipeline", {"spec.sources[0].incremental": {"cursor": "month"}},
        "spec.sources[0].incremental", "incremental goes by the names or times of files, and by a cursor of a table",
    ),
    Refused(
        "incremental-by-nothing", "pipeline", {"spec.sources[4].incremental": {}},
        "spec.sources[4].incremental", "incremental is exactly one of: by (files), cursor (a table)",
    ),
    Refused(
        "incremental-by-both", "pipeline", {"spec.sources[0].incremental": {"by": "Name", "cursor": "month"}},
        "spec.sources[0].incremental", "incremental is exactly one of: by (files), cursor (a table)",
    ),
    Refused(
        "lag-of-files", "pipeline", {"spec.sources[0].incremental": {"by": "Name", "lag": "1h"}},
        "spec.sources[0].incremental.cursor", "initialValue and lag belong to a cursor",
    ),
    Refused(
        "cursor-that-isnt-declared", "pipeline", {"spec.sources[4].incremental": {"cursor": "booked_at"}},
        "spec.sources[4].incremental.cursor", "the cursor must be a declared column of whole numbers, dates or",
    ),
    Refused(
        "cursor-of-text", "pipeline",
        {
            "spec.sources[4].incremental": {"cursor": "name"},
            "spec.sources[4].columns": [{"name": "name", "type": "string"}],
        },
        "spec.sources[4].incremental.cursor", "the cursor must be a declared column of whole numbers, dates or",
    ),
    Refused(
        "source-of-no-sort", "pipeline", {"spec.sources[4].postgres": DELETE},
        "spec.sources[4]", "a source is exactly one of: files, postgres, http, python",
    ),
    Refused(
        "api-without-columns", "pipeline-http", {"spec.sources[1].columns": DELETE},
        "spec.sources[1].columns", "rows of an API need columns: say what is read of them",
    ),
    Refused(
        "new-columns-without-names", "pipeline",
        {
            "spec.sources[0].files.format.csv.header": False,
            "spec.sources[0].contract.newColumns": "Add",
        },
        "spec.sources[0].contract.newColumns", "files without a header have no names for new columns",
    ),
    Refused(
        "api-paged-two-ways", "pipeline-http", {"spec.sources[1].http.paging.link": {}},
        "spec.sources[1].http.paging", "paging is exactly one of: page, offset, cursor, link, next",
    ),
    Refused(
        "api-paged-no-way", "pipeline-http", {"spec.sources[3].http.paging": {}},
        "spec.sources[3].http.paging", "paging is exactly one of: page, offset, cursor, link, next",
    ),
    Refused(
        "api-asked-in-no-time", "pipeline-http", {"spec.sources[0].http.rateLimit.per": "0s"},
        "spec.sources[0].http.rateLimit.per", "per must be longer than 0, such as 1s",
    ),
    Refused(
        "api-kept-for-no-time", "pipeline-http", {"spec.sources[0].http.cache.ttl": "0m"},
        "spec.sources[0].http.cache.ttl", "ttl must be longer than 0, such as 10m",
    ),
    Refused(
        "lookup-kept-for-no-time", "pipeline", {"spec.sources[4].postgres.cache.ttl": "0h"},
        "spec.sources[4].postgres.cache.ttl", "ttl must be longer than 0, such as 10m",
    ),
    Refused(
        "function-kept-for-no-time", "pipeline", {"spec.steps[2].python.cache.ttl": "0s"},
        "spec.steps[2].python.cache.ttl", "ttl must be longer than 0, such as 10m",
    ),
    Refused(
        "answers-kept-for-no-time", "pool", {"spec.cache.defaultTTL": "0h"},
        "spec.cache.defaultTTL", "defaultTTL must be longer than 0, such as 1h",
    ),
    Refused(
        "sink-of-no-sort", "pipeline-http", {"spec.sinks[1].http": DELETE},
        "spec.sinks[1]", "a sink is exactly one of: postgres, files, http",
    ),
    Refused(
        "sink-of-table-and-server", "pipeline-http", {"spec.sinks[1].postgres": {"table": "public.t"}},
        "spec.sinks[1]", "a sink is exactly one of: postgres, files, http",
    ),
    Refused(
        "sent-and-replaced", "pipeline-http",
        {"spec.sinks[1].writeDisposition": "Replace", "spec.sinks[1].commit": DELETE},
        "spec.sinks[1].writeDisposition", "a sink over http is Append",
    ),
    Refused(
        "sent-at-the-end", "pipeline-http", {"spec.sinks[1].commit": "AtEnd"},
        "spec.sinks[1].commit", "rows that are sent can be seen at once: commit can't be AtEnd",
    ),
    Refused(
        "sent-elsewhere", "pipeline-http", {"spec.sinks[1].http.path": "a/../../b"},
        "spec.sinks[1].http.path", "path must stay below the connection's URL: no '..'",
    ),
    Refused(
        "lines-that-are-wrapped", "pipeline-http", {"spec.sinks[1].http.body": "JSONLines"},
        "spec.sinks[1].http.wrap", "wrap has an effect for a JSONArray only",
    ),
    Refused(
        "objects-in-batches", "pipeline-http",
        {"spec.sinks[1].http.body": "JSONObject", "spec.sinks[1].http.wrap": DELETE},
        "spec.sinks[1].http.batch", "a JSONObject is one row: batch has no effect",
    ),
    Refused(
        "batches-of-nothing", "pipeline-http", {"spec.sinks[1].http.batch.maxBytes": "0Ki"},
        "spec.sinks[1].http.batch.maxBytes", "maxBytes must be more than 0, such as 1Mi",
    ),
    Refused(
        "key-in-another-header", "pipeline-http", {"spec.sinks[1].http.idempotencyHeader": "Content-Type"},
        "spec.sinks[1].http.idempotencyHeader", "idempotencyHeader is a header that requests have anyway",
    ),
    Refused(
        "api-path-that-climbs", "pipeline-http", {"spec.sources[1].http.path": "a/../../b"},
        "spec.sources[1].http.path", "path must stay below the connection's URL: no '..'",
    ),
    Refused(
        "api-path-that-climbs-with-a-parameter", "pipeline-http", {"spec.sources[1].http.path": "a/..;x/b"},
        "spec.sources[1].http.path", "path must stay below the connection's URL: no '..'",
    ),
    Refused(
        "format-of-two-sorts", "pipeline", {"spec.sources[0].files.format.parquet": {}},
        "spec.sources[0].files.format", "a format is exactly one of: csv, jsonLines, json, parquet",
    ),
    Refused(
        "format-of-no-sort", "pipeline", {"spec.sources[2].files.format": {}},
        "spec.sources[2].files.format", "a format is exactly one of: csv, jsonLines, json, parquet",
    ),
    Refused(
        "parquet-compressed", "pipeline", {"spec.sources[2].files.compression": "Gzip"},
        "spec.sources[2].files.compression", "Parquet is compressed inside: leave compression out",
    ),
    Refused(
        "quote-is-delimiter", "pipeline", {"spec.sources[0].files.format.csv.quote": ","},
        "spec.sources[0].files.format.csv.quote", "delimiter and quote must differ",
    ),
    Refused(
        "quote-is-default-delimiter", "pipeline", {"spec.sources[1].files.format.csv.quote": ","},
        "spec.sources[1].files.format.csv.quote", "delimiter and quote must differ",
    ),
    Refused(
        "no-header-and-no-columns", "pipeline", {"spec.sources[1].files.format.csv.header": False},
        "spec.sources[1].columns", "files without a header need columns, in the files' order",
    ),
    Refused(
        "decimal-of-more-scale", "pipeline", {"spec.sources[0].columns[3].type": "decimal(5,10)"},
        "spec.sources[0].columns[3].type", "the scale can't be greater than the precision",
    ),
    Refused(
        "column-of-64-bytes", "pipeline", {"spec.sources[0].columns[3].name": "ä" * 32},
        "spec.sources[0].columns[3].name", "name is longer than the 63 bytes that Postgres keeps",
    ),
    Refused(
        "schedule-without-times", "pipeline",
        {"spec.schedule.crons": DELETE, "spec.schedule.intervals": [], "spec.schedule.calendars": DELETE},
        "spec.schedule", "a schedule needs at least one of: crons, intervals, calendars, after",
    ),
    Refused(
        "schedule-that-ends-first", "pipeline", {"spec.schedule.endAt": "2026-01-01T01:00:00+02:00"},
        "spec.schedule.endAt", "endAt must be later than startAt",
    ),
    Refused(
        "interval-of-nothing", "pipeline", {"spec.schedule.intervals[0].every": "0h0m"},
        "spec.schedule.intervals[0].every", "every must be at least 1s, in whole seconds",
    ),
    Refused(
        "interval-of-half-a-second", "pipeline", {"spec.schedule.intervals[0].every": "1s500ms"},
        "spec.schedule.intervals[0].every", "every must be at least 1s, in whole seconds",
    ),
    Refused(
        "chunk-of-nothing", "pipeline", {"spec.execution.chunk.maxBytes": "0Mi"},
        "spec.execution.chunk.maxBytes", "maxBytes must be more than 0, such as 64Mi",
    ),
    Refused(
        "retry-at-once", "pipeline", {"spec.execution.retry.initialInterval": "0s"},
        "spec.execution.retry.initialInterval", "initialInterval must be longer than 0, such as 1s",
    ),
    Refused(
        "timeout-of-nothing", "pipeline", {"spec.execution.timeout": "0s"},
        "spec.execution.timeout", "timeout must be longer than 0, such as 2h",
    ),
    Refused(
        "tolerance-of-nothing-said", "pipeline", {"spec.execution.errorTolerance": {}},
        "spec.execution.errorTolerance", "errorTolerance needs maxPercent, maxRows or both",
    ),
    Refused(
        "replay-of-a-key", "run", {"spec.replay": {"deadLetters": {}}, "spec.runKey": "2026-01-01T04:15:00Z"},
        "spec.runKey", "a replay is a run of its own: it can't have a runKey",
    ),
    Refused(
        "backfill-of-a-key", "run", {"spec.backfill": {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}},
        "spec.runKey", "a backfill's runs have keys of their own: it can't have a runKey",
    ),
    Refused(
        "backfill-and-replay", "run-backfill", {"spec.replay": {"deadLetters": {}}},
        "spec.replay", "a run is a backfill or a replay, not both",
    ),
    Refused(
        "backfill-that-ends-first", "run-backfill", {"spec.backfill.end": "2026-01-01T02:00:00+02:00"},
        "spec.backfill.end", "end must be later than start",
    ),
    Refused(
        "backfill-of-nothing", "run-backfill", {"spec.backfill.every": "0d"},
        "spec.backfill.every", "every must be at least 1s, in whole seconds",
    ),
    Refused(
        "replay-since-no-moment", "run-replay", {"spec.replay.deadLetters.since": "2026-02-30T00:00:00Z"},
        "spec.replay.deadLetters.since", "since is no moment that exists",
    ),
    Refused(
        "replay-until-no-moment", "run-replay", {"spec.replay.deadLetters.until": "2026-02-03T24:00:00Z"},
        "spec.replay.deadLetters.until", "until is no moment that exists",
    ),
    Refused(
        "scaled-upside-down", "pool", {"spec.scaling.minReplicas": 5, "spec.scaling.maxReplicas": 2},
        "spec.scaling.minReplicas", "minReplicas can't be more than maxReplicas (10 if not given)",
    ),
    Refused(
        "scaled-above-the-default", "pool", {"spec.scaling": {"minReplicas": 11}},
        "spec.scaling.minReplicas", "minReplicas can't be more than maxReplicas (10 if not given)",
    ),
    Refused(
        "scaled-without-patience", "pool", {"spec.scaling.idleTimeout": "0s"},
        "spec.scaling.idleTimeout", "idleTimeout must be longer than 0, such as 60s",
    ),
    Refused(
        "told-elsewhere", "pipeline", {"spec.notifications[0].http.path": "../admin"},
        "spec.notifications[0].http.path",
        "path must be relative and stay below the connection's URL: no leading slash, no '//', no '..'",
    ),
    Refused(
        "template-for-slack", "pipeline", {"spec.notifications[0].http.template": "{}"},
        "spec.notifications[0].http.template", "template is a body of its own: it can't go with format: Slack",
    ),
    Refused(
        "lineage-elsewhere", "pool", {"spec.lineage.http.path": "a//b"},
        "spec.lineage.http.path",
        "lineage's path must be relative and stay below the connection's URL: no leading slash, no '//', no '..'",
    ),
    Refused(
        "lineage-to-a-folder", "pool", {"spec.lineage.http.connection": "landing"},
        "spec.lineage", "lineage.http.connection must name an http connection of this pool",
    ),
    Refused(
        "told-twice", "pipeline", {"spec.notifications[0].events": ["RunFailed", "RunFailed"]},
        "spec.notifications[0].events", "events names one twice",
    ),
    Refused(
        "pause-of-no-schedule", "pipeline", {"spec.schedule": DELETE},
        "spec.onFailure", "onFailure.pauseAfter pauses a schedule with times of its own, and the pipeline has none",
    ),
    Refused(
        "pause-of-who-follows", "pipeline", {"spec.schedule": {"after": [{"pipelineRef": {"name": "landing"}}]}},
        "spec.onFailure", "onFailure.pauseAfter pauses a schedule with times of its own, and the pipeline has none",
    ),
    Refused(
        "pause-by-two", "pipeline", {"spec.schedule.pauseOnFailure": True},
        "spec.onFailure", "onFailure.pauseAfter and schedule.pauseOnFailure both say when to pause: keep one of them",
    ),
    Refused(
        "letters-kept-for-no-time", "pipeline", {"spec.deadLetter.retention": "0d"},
        "spec.deadLetter.retention", "retention must be longer than 0, such as 30d",
    ),
    Refused(
        "a-promise-of-no-time", "pipeline", {"spec.freshness": {"within": "0s"}},
        "spec.freshness.within", "within must be longer than 0, such as 2h",
    ),
    Refused(
        "column-redacted-twice", "pipeline", {"spec.deadLetter.redactColumns": ["carrier", "carrier"]},
        "spec.deadLetter.redactColumns", "redactColumns names a column twice",
    ),
    Refused(
        "connection-of-two-sorts", "pool", {"spec.connections[1].files": {"url": "file:///data/"}},
        "spec.connections[1]", "a connection is exactly one of: files, postgres, http",
    ),
    Refused(
        "keys-of-a-folder", "pool", {"spec.connections[0].files": {"url": "file:///data/", "secretRef": {"name": "s"}}},
        "spec.connections[0].files.url", "secretRef, region and endpoint have an effect for s3:// only",
    ),
    Refused(
        "connection-of-no-sort", "pool", {"spec.connections[0].files": DELETE, "spec.artifacts": DELETE},
        "spec.connections[0]", "a connection is exactly one of: files, postgres, http",
    ),
    Refused(
        "p" * 64, "pool", {},
        "metadata.name", "a pool's name labels its pods and so has at most 63 characters",
    ),
    Refused(
        "our-schema-listed", "pool", {"spec.connections[1].postgres.schemas[1]": "tidemill"},
        "spec.connections[1].postgres.schemas", "schemas can't list tidemill",
    ),
    Refused(
        "metastore-unknown", "pool", {"spec.metastore.connection": "other"},
        "spec.metastore", "metastore.connection must name a postgres connection of this pool with access: Write",
    ),
    Refused(
        "metastore-of-files", "pool", {"spec.metastore.connection": "landing"},
        "spec.metastore", "metastore.connection must name a postgres connection of this pool with access: Write",
    ),
    Refused(
        "metastore-read-only", "pool", {"spec.connections[1].postgres.access": "Read"},
        "spec.metastore", "metastore.connection must name a postgres connection of this pool with access: Write",
    ),
    Refused(
        "artifacts-unknown", "pool", {"spec.artifacts": {"connection": "other"}},
        "spec.artifacts", "artifacts.connection must name a files connection of this pool",
    ),
    Refused(
        "artifacts-in-postgres", "pool", {"spec.artifacts": {"connection": "warehouse"}},
        "spec.artifacts", "artifacts.connection must name a files connection of this pool",
    ),
    Refused(
        "artifacts-above", "pool", {"spec.artifacts": {"connection": "landing", "path": "../x"}},
        "spec.artifacts.path", "path must be relative and stay below the connection's folder",
    ),
    Refused(
        "artifacts-absolute", "pool", {"spec.artifacts": {"connection": "landing", "path": "/x"}},
        "spec.artifacts.path", "path must be relative and stay below the connection's folder",
    ),
    Refused(
        "key-and-certificate", "connection", {"spec.apiKey": {"secretKeyRef": {"name": "a", "key": "b"}}},
        "spec.apiKey", "apiKey and a client certificate (tls.secretRef) exclude each other",
    ),
)  # fmt: skip
"""One for each rule of the models, and more where a rule has several sides."""

CLASSICS: Final = (
    Refused(
        "typo", "pipeline", {"spec.shedule": {"crons": ["0 0 * * *"]}},
        "spec.shedule", 'unknown field "spec.shedule"', "there is no field shedule",
    ),
    Refused(
        "field-of-a-later-part", "pipeline", {"spec.workers": {"minReplicas": 0}},
        "spec.workers", 'unknown field "spec.workers"', "there is no field workers",
    ),
    Refused(
        "quoted-boolean", "pipeline", {"spec.suspend": "true"},
        "spec.suspend", "must be of type boolean", "must be a boolean",
    ),
    Refused(
        "quoted-number", "pipeline", {"spec.execution.parallelism": "8"},
        "spec.execution.parallelism", "must be of type integer", "must be a whole number",
    ),
    Refused(
        "enum-in-lower-case", "pipeline", {"spec.sinks[0].writeDisposition": "merge"},
        "spec.sinks[0].writeDisposition", 'supported values: "Append", "Merge", "Replace"', "Append, Merge, Replace",
    ),
    Refused(
        "merge-strategy-of-dlt", "pipeline", {"spec.sinks[0].mergeStrategy": "scd2"},
        "spec.sinks[0].mergeStrategy", 'supported values: "Upsert", "InsertOnly", "DeleteInsert", "SCD2"',
        "Upsert, InsertOnly, DeleteInsert, SCD2",
    ),
    Refused(
        "dedup-column-twice", "pipeline",
        {"spec.sinks[0].dedupOrder": [{"column": "month"}, {"column": "month", "order": "Asc"}]},
        "spec.sinks[0].dedupOrder[1]", "Duplicate value", "month",
    ),
    Refused(
        "letters-kept-in-another-way", "pipeline", {"spec.deadLetter.store": "full"},
        "spec.deadLetter.store", 'supported values: "Full", "KeysOnly", "None"', "Full, KeysOnly, None",
    ),
    Refused(
        "no-letters-at-all", "pipeline", {"spec.deadLetter.maxRows": 0},
        "spec.deadLetter.maxRows", "should be greater than or equal to 1", "must be at least 1, not 0",
    ),
    Refused(
        "delimiter-beyond-ascii", "pipeline", {"spec.sources[0].files.format.csv.delimiter": "¦"},
        "spec.sources[0].files.format.csv.delimiter", "should match", "form",
    ),
    Refused(
        "duration-without-unit", "pipeline", {"spec.execution.timeout": "90"},
        "spec.execution.timeout", "should match '^([0-9]{1,6}(ms|s|m|h|d))+$'", "write it like 30s",
    ),
    Refused(
        "two-sources-of-a-name", "pipeline", {"spec.sources[1].name": "raw"},
        "spec.sources[1]", "Duplicate value", "raw",
    ),
    Refused(
        "two-columns-of-a-name", "pipeline", {"spec.sources[0].columns[1].name": "month"},
        "spec.sources[0].columns[1]", "Duplicate value", "month",
    ),
    Refused(
        "no-sinks", "pipeline", {"spec.sinks": DELETE},
        "spec.sinks", "Required value", "missing",
    ),
    Refused(
        "table-read-without-schema", "pipeline", {"spec.sources[4].postgres.table": "bookings"},
        "spec.sources[4].postgres.table", "should match", "public.orders",
    ),
    Refused(
        "table-without-schema", "pipeline", {"spec.sinks[0].postgres.table": "flights"},
        "spec.sinks[0].postgres.table", "should match", "public.flights",
    ),
    Refused(
        "boolean-default", "pipeline", {"spec.parameters[0].default": True},
        "spec.parameters[0].default", "must be of type integer,string", "text or a whole number",
    ),
    Refused(
        "column-of-an-unknown-type", "pipeline", {"spec.sources[0].columns[0].type": "bigint"},
        "spec.sources[0].columns[0].type", "should match", "int32",
    ),
    Refused(
        "secret-in-the-manifest", "pool", {"spec.connections[1].postgres.dsn": "postgresql://a:b@c/d"},
        "spec.connections[1].postgres.dsn", "must be of type object", "must be a mapping",
    ),
    Refused(
        "reference-to-another-namespace", "pipeline", {"spec.workerPoolRef.namespace": "other"},
        "spec.workerPoolRef.namespace", 'unknown field "spec.workerPoolRef.namespace"', "there is no field namespace",
    ),
    Refused(
        "after-in-another-namespace", "pipeline",
        {"spec.schedule": {"after": [{"pipelineRef": {"name": "landing", "namespace": "other"}}]}},
        "spec.schedule.after[0].pipelineRef.namespace",
        'unknown field "spec.schedule.after[0].pipelineRef.namespace"', "there is no field namespace",
    ),
    Refused(
        "request-misspelt", "pool", {"spec.resources.request": {"cpu": "1"}},
        "spec.resources.request", 'unknown field "spec.resources.request"', "is not one of",
    ),
    Refused(
        "quantity-with-a-blank", "pool", {"spec.resources.limits.memory": "2 Gi"},
        "spec.resources.limits.memory", "should match", "a quantity such as",
    ),
    Refused(
        "port-out-of-range", "connection", {"spec.address": "temporal:70000"},
        "spec.address", "should match", "temporal:70000",
    ),
    Refused(
        "run-of-nothing", "run", {"spec.pipelineRef": DELETE},
        "spec.pipelineRef", "Required value", "missing",
    ),
    Refused(
        "parameter-of-a-bad-name", "run", {"spec.parameters.Carrier": "UA"},
        "spec.parameters", "keys must have at most 63 characters and match ^[a-z][a-z0-9_]*$", "Carrier",
    ),
)  # fmt: skip

LINT_ONLY: Final = (
    Refused(
        "scaled-up-for-hours", "pool", {"spec.scaling.scaleUp.period": "2h"},
        "spec.scaling.scaleUp.period", "", "period must be longer than 0 and at most 1h",
    ),
    Refused(
        "idle-for-hours", "pool", {"spec.scaling.idleTimeout": "61m"},
        "spec.scaling.idleTimeout", "", "idleTimeout must be at most 1h",
    ),
    Refused(
        "warm-for-hours", "pool", {"spec.scaling.prewarm": "1d"},
        "spec.scaling.prewarm", "", "prewarm must be at most 1h",
    ),
    Refused(
        "steady-for-hours", "pool", {"spec.scaling.stabilization": "2h"},
        "spec.scaling.stabilization", "", "stabilization must be at most 1h",
    ),
    Refused(
        "retry-that-shrinks", "pipeline", {"spec.execution.retry.initialInterval": "5m"},
        "spec.execution.retry.maximumInterval", "", "maximumInterval can't be shorter than initialInterval",
    ),
    Refused(
        "template-of-no-json", "pipeline", {"spec.notifications[1].http.template": "{text}"},
        "spec.notifications[1].http.template", "", 'template must be JSON, such as {"summary": "{text}"}',
    ),
    Refused(
        "template-of-unknown-names", "pipeline", {"spec.notifications[1].http.template": '["{pipeline} {eror}"]'},
        "spec.notifications[1].http.template", "", "template can name only: chunks, duration_seconds, error,",
    ),
)  # fmt: skip
"""Rules that CEL can't say: `kubectl apply` takes these; lint and the operator's status refuse them."""
