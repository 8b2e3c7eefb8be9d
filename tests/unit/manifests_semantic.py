"""Wrong manifests that the API server can't see, and the verdict on them, the same from operator and lint.

Each is the good pipeline of `tests/golden/manifests/pipeline.yaml` with changes, run on the good pool of `pool.yaml`
with changes. `pipeline_of` and `pool_of` make them; the operator's integration tests apply the same table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

from tests.support.manifests import DELETE, Manifest, changed, load
from tidemill_api import conditions

LABELS: Final = {"team": "travel", "example.com/tier": "gold"}
"""What the good pool asks of its pipelines."""


@dataclasses.dataclass(frozen=True, slots=True)
class Wrong:
    """The pipeline with `changes` on the pool with `pool` gets `Ready=False` with `reason`, a message naming `field`.

    `says` is a part of the sentence. All are terminal: only an edit mends them.
    """

    name: str
    changes: Mapping[str, object]
    reason: str
    field: str
    says: str
    pool: Mapping[str, object] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def pipeline_of(case: Wrong) -> Manifest:
    """The wrong pipeline, named like the case."""
    base = changed(load("pipeline")[0], {"metadata.labels": LABELS})
    return changed(base, {**case.changes, "metadata.name": case.name})


def pool_of(case: Wrong) -> Manifest:
    """The pool that the case needs; it is called `etl` unless the case says otherwise."""
    return changed(load("pool")[0], case.pool)


def good_pipeline() -> Manifest:
    """What all cases are made from."""
    return changed(load("pipeline")[0], {"metadata.labels": LABELS})


def _query(name: str, query: str, says: str) -> Wrong:
    return Wrong(name, {"spec.steps[1].sql.query": query}, conditions.INVALID_SQL, "spec.steps[1].sql.query", says)


def _rule(name: str, expression: str, says: str) -> Wrong:
    path = "spec.steps[0].validate.rules[0].expression"
    return Wrong(name, {path: expression}, conditions.INVALID_SQL, path, says)


def _cron(name: str, cron: str, says: str) -> Wrong:
    return Wrong(name, {"spec.schedule.crons[0]": cron}, conditions.INVALID_SCHEDULE, "spec.schedule.crons[0]", says)


def _schedule(name: str, path: str, value: object, says: str, at: str | None = None) -> Wrong:
    changes = {f"spec.schedule.{path}": value}
    return Wrong(name, changes, conditions.INVALID_SCHEDULE, f"spec.schedule.{at or path}", says)


GRAPH: Final = (
    Wrong(
        "cycle",
        {"spec.steps[0].inputs": ["named"]},
        conditions.INVALID_GRAPH,
        "spec.steps[0].inputs",
        "the steps read each other in a cycle: named → valid → named",
    ),
    Wrong(
        "step-reads-itself",
        {"spec.steps[1].inputs": ["named", "airlines"], "spec.steps[0].name": "valid"},
        conditions.INVALID_GRAPH,
        "spec.steps[1].inputs",
        "in a cycle: named → named",
    ),
    Wrong(
        "unknown-step",
        {"spec.steps[1].inputs[0]": "valdi"},
        conditions.INVALID_GRAPH,
        "spec.steps[1].inputs[0]",
        "there is no source or step valdi; did you mean valid?",
    ),
    Wrong(
        "sink-of-unknown-step",
        {"spec.sinks[0].input": "nmaed"},
        conditions.INVALID_GRAPH,
        "spec.sinks[0].input",
        "there is no source or step nmaed; did you mean named?",
    ),
    Wrong(
        "sink-reads-a-sink",
        {"spec.sinks[0].input": "flights"},
        conditions.INVALID_GRAPH,
        "spec.sinks[0].input",
        "there is no source or step flights",
    ),
    Wrong(
        "step-that-nothing-reads",
        {"spec.sinks[0].input": "valid"},
        conditions.INVALID_GRAPH,
        "spec.steps[1]",
        "nothing reads named",
    ),
    Wrong(
        "source-that-nothing-reads",
        {
            "spec.sources[2]": {
                "name": "extra",
                "connection": "landing",
                "files": {"path": "a.csv", "format": {"csv": {}}},
            }
        },
        conditions.INVALID_GRAPH,
        "spec.sources[2]",
        "nothing reads extra",
    ),
)

SENT: Final[dict[str, object]] = {
    "name": "all",
    "input": "raw",
    "connection": "tracker",
    "http": {"path": "rows"},
    "writeDisposition": "Append",
}
"""In the place of the second sink."""

OUTLETS: Final = (
    Wrong(
        "check-of-what-was-sent",
        {"spec.sinks[1]": SENT, "spec.checks": [{"name": "some", "sink": "all", "metric": "rowCount", "atLeast": 1}]},
        conditions.INVALID_SPEC,
        "spec.checks[0].sink",
        "all sends its rows to a server, where nothing can be measured or held back",
    ),
)

LOOKUPS: Final = (
    Wrong(
        "kept-table-that-is-loaded",
        {"spec.sinks[1].input": "bookings"},
        conditions.INVALID_SPEC,
        "spec.sources[4].postgres.cache",
        "the rows of bookings aren't only joined to others, but worked on by themselves",
    ),
)

SCHEDULE: Final = (
    _cron("cron-of-four-fields", "15 * * *", "has 4 fields: a cron has five"),
    _cron("cron-with-seconds", "0 15 * * * *", "has 6 fields: a cron has five"),
    _cron("cron-minute-out-of-range", "60 * * * *", "'60' is not a number of 0 to 59"),
    _cron("cron-names-a-zone", "CRON_TZ=UTC 0 * * * *", "set spec.schedule.timeZone"),
    _cron("cron-every", "@every 5m", "write it in spec.schedule.intervals"),
    _cron("cron-never", "0 0 31 2 *", "never comes"),
    _cron("cron-words", "hourly", "a cron has five"),
    _schedule("calendar-month", "calendars[0].month", "13", "'13' is not a number of 1 to 12"),
    _schedule("calendar-range-backwards", "calendars[0].dayOfWeek", "FRI-MON", "ends before it starts"),
    _schedule("exclude-hour", "exclude[0].hour", "24", "'24' is not a number of 0 to 23"),
    _schedule("interval-offset", "intervals[0].offset", "6h", "is not shorter than every (6h)"),
    _schedule("interval-too-long", "intervals[0].every", "999999d", "is too long"),
    _schedule("unknown-time-zone", "timeZone", "America/NewYork", "did you mean America/New_York?"),
    _schedule("time-zone-abbreviation", "timeZone", "PDT", "there is no IANA time zone PDT"),
    _schedule("catchup-too-short", "catchupWindow", "5s", "at least 10s"),
    Wrong(
        "excluded-altogether",
        {"spec.schedule.intervals": DELETE, "spec.schedule.exclude": [{"minute": "*", "hour": "*"}]},
        conditions.INVALID_SCHEDULE,
        "spec.schedule.exclude",
        "leaves no time",
    ),
)

SQL: Final = (
    _query("query-does-not-parse", "SELEC * FROM valid", 'syntax error at or near "SELEC" (line 1, column 1)'),
    _query("query-is-no-select", "DROP TABLE valid", "is of the kind DROP: write exactly one SELECT"),
    _query("query-of-two-statements", "SELECT 1; SELECT 2", "holds 2 statements"),
    _query("query-reads-a-file", "SELECT * FROM valid, 'x.csv'", "x.csv is not an input of this step"),
    _query("query-calls-read-csv", "SELECT * FROM valid, read_csv('x.csv')", "read_csv is a table function"),
    _query("query-reads-another-table", "SELECT * FROM valid JOIN raw USING (month)", "raw is not an input"),
    _query("query-reads-settings", "SELECT current_setting('threads') FROM valid", "current_setting"),
    _query("query-reads-the-catalogue", "SELECT * FROM valid, duckdb_tables()", "duckdb_tables is a table function"),
    _query("query-first-of-any-order", "SELECT first(month) FROM valid", "depends on the order of rows: give it one"),
    _query("query-window-without-order", "SELECT row_number() OVER () FROM valid", "without ORDER BY"),
    _query("query-distinct-on", "SELECT DISTINCT ON (carrier) * FROM valid", "DISTINCT ON without ORDER BY"),
    _query("query-limit", "SELECT * FROM valid LIMIT 10", "LIMIT without ORDER BY takes any rows"),
    _query("query-sample", "SELECT month FROM valid USING SAMPLE 3", "SAMPLE can't be used"),
    _query(
        "query-pairs-by-order", "SELECT * FROM valid POSITIONAL JOIN airlines", "POSITIONAL pairs rows by their order"
    ),
    _query("query-clock", "SELECT now() FROM valid", "use $run_time"),
    _query("query-lots", "SELECT random() FROM valid", "gives another answer each time"),
    _query(
        "query-unknown-parameter", "SELECT $carier FROM valid", "there is no parameter $carier; did you mean carrier?"
    ),
    Wrong(
        "query-leaves-an-input-unread",
        {"spec.steps[1].sql.query": "SELECT * FROM valid"},
        conditions.INVALID_SQL,
        "spec.steps[1].inputs[1]",
        "the query doesn't read airlines",
    ),
    _rule("rule-does-not-parse", "month >", 'syntax error at or near ")" (at its end)'),
    _rule("rule-aggregates", "count(*) > 1", "is an aggregate"),
    _rule("rule-subquery", "month IN (SELECT 1)", "a rule sees one row only"),
    _rule("rule-unknown-parameter", "month = $mnth", "there is no parameter $mnth"),
    _rule("rule-escapes", "1) FROM raw; DROP TABLE raw; SELECT (1", "is not one condition"),
)

API_SOURCE: Final[dict[str, object]] = {
    "name": "bookings",
    "connection": "tracker",
    "http": {"path": "bookings"},
    "columns": [{"name": "id", "type": "int64"}],
}


def _api(name: str, http: dict[str, object], field: str, says: str) -> Wrong:
    source = API_SOURCE | {"http": {"path": "bookings"} | http}
    return Wrong(name, {"spec.sources[4]": source}, conditions.INVALID_SPEC, f"spec.sources[4].http.{field}", says)


COUNTED: Final = "pages are counted by these rows: filter in a step, or page by cursor"
APIS: Final = (
    Wrong(
        "new-columns-of-an-api-that-is-joined-whole",
        {
            "spec.sources[1].files": DELETE,
            "spec.sources[1].connection": "tracker",
            "spec.sources[1].http": {"path": "airlines"},
            "spec.sources[1].columns": [{"name": "carrier", "type": "string"}, {"name": "name", "type": "string"}],
            "spec.sources[1].contract": {"newColumns": "Add"},
        },
        conditions.INVALID_SPEC,
        "spec.sources[1].contract.newColumns",
        "airlines is joined whole to other rows, and which columns an API gives is known only when it is read",
    ),
    _api("api-rows-that-do-not-parse", {"rows": "data[?x"}, "rows", "'data[?x' is no JMESPath"),
    _api(
        "api-cursor-that-does-not-parse",
        {"paging": {"cursor": {"next": "a..b"}}},
        "paging.cursor.next",
        "'a..b' is no JMESPath",
    ),
    *(
        _api(f"api-{paging}-counted-by-other-rows-{number}", {"rows": rows, "paging": {paging: {}}}, "rows", COUNTED)
        for paging in ("offset", "page")
        for number, rows in enumerate(
            ("data[?a]", "data[:5]", "data[].lines[]", "data[*].lines[]", "data[*].[a][]", "join(a, b)")
        )
    ),
    _api(
        "api-offset-with-total-counted-by-other-rows",
        {"rows": "data[?a].b", "paging": {"offset": {"total": "n"}}},
        "rows",
        COUNTED,
    ),
    _api(
        "api-path-of-an-unknown-parameter",
        {"path": "bookings/{parameters.carier}"},
        "path",
        "the pipeline has no parameter carier; did you mean carrier?",
    ),
    _api(
        "api-query-of-an-unknown-value",
        {"query": {"since": "{interval_strt}"}},
        "query.since",
        "did you mean {interval_start}?",
    ),
    _api(
        "api-asked-once-an-age",
        {"rateLimit": {"requests": 1, "per": "4000d"}},
        "rateLimit.per",
        "4000d is too long",
    ),
)

PARAMETERS: Final = (
    Wrong(
        "path-of-an-unknown-parameter",
        {"spec.sources[0].files.path": "in/{parameters.carier}.csv"},
        conditions.INVALID_SPEC,
        "spec.sources[0].files.path",
        "the pipeline has no parameter carier; did you mean carrier?",
    ),
    Wrong(
        "path-with-a-default-of-nothing",
        {"spec.sources[0].files.path": "in/{parameters.carrier}.csv", "spec.parameters[0].default": ""},
        conditions.INVALID_SPEC,
        "spec.sources[0].files.path",
        "the default of the parameter carrier can't stand in a path: it is empty",
    ),
    Wrong(
        "path-with-an-open-brace",
        {"spec.sources[0].files.path": "in/{run_time.csv"},
        conditions.INVALID_SPEC,
        "spec.sources[0].files.path",
        "the { at 3 has no other one: write {{ for a brace",
    ),
    Wrong(
        "default-of-the-wrong-type",
        {"spec.parameters[1].default": "many"},
        conditions.INVALID_SPEC,
        "spec.parameters[1].default",
        '"many" is not an integer',
    ),
)

SINKS: Final = (
    Wrong(
        "duplicate-sink-table",
        {"spec.sinks[1].postgres.table": "public.flights"},
        conditions.INVALID_SPEC,
        "spec.sinks[1].postgres.table",
        "public.flights is already written by the sink flights",
    ),
)

CHECKS: Final = (
    Wrong(
        "check-that-asks-the-database",
        {"spec.checks[3].expression": "pg_sleep(10) IS NULL"},
        conditions.INVALID_SQL,
        "spec.checks[3].expression",
        "a check can't compute pg_sleep(10)",
    ),
    Wrong(
        "check-that-doesn-t-parse",
        {"spec.checks[3].expression": "dep_delay <"},
        conditions.INVALID_SQL,
        "spec.checks[3].expression",
        "the expression doesn't parse",
    ),
)

PYTHON: Final = (
    Wrong(
        "python-columns-that-differ-in-case",
        {"spec.steps[2].python.addColumns[1]": {"name": "Score", "type": "int32"}},
        conditions.INVALID_SPEC,
        "spec.steps[2].python.addColumns[1].name",
        "Score is there already (whatever the case)",
    ),
)

LETTERS: Final = (
    Wrong(
        "letters-kept-too-long",
        {"spec.deadLetter.retention": "4000d"},
        conditions.INVALID_SPEC,
        "spec.deadLetter.retention",
        "4000d is too long",
    ),
)

POOL: Final = (
    Wrong(
        "sent-to-a-server-that-is-read",
        {"spec.sinks[1]": SENT, "spec.checks": []},
        conditions.CONNECTION_DENIED,
        "spec.sinks[1].connection",
        "the pool gives tracker for reading only: a sink needs http.access: Write of that connection in the WorkerPool",
        {"spec.connections[3].http.access": "Read"},
    ),
    Wrong(
        "sent-to-a-folder",
        {"spec.sinks[1]": {**SENT, "connection": "landing"}, "spec.checks": []},
        conditions.UNKNOWN_CONNECTION,
        "spec.sinks[1].connection",
        "landing is a files connection: a sink over http needs a http connection",
    ),
    Wrong(
        "sent-to-an-unknown-server",
        {"spec.sinks[1]": {**SENT, "connection": "traker"}, "spec.checks": []},
        conditions.UNKNOWN_CONNECTION,
        "spec.sinks[1].connection",
        "the pool has no connection traker; did you mean tracker?",
    ),
    Wrong(
        "unknown-connection-of-a-source",
        {"spec.sources[0].connection": "laning"},
        conditions.UNKNOWN_CONNECTION,
        "spec.sources[0].connection",
        "the pool has no connection laning; did you mean landing?",
    ),
    Wrong(
        "unknown-connection-of-a-sink",
        {"spec.sinks[0].connection": "wherehouse"},
        conditions.UNKNOWN_CONNECTION,
        "spec.sinks[0].connection",
        "did you mean warehouse?",
    ),
    Wrong(
        "source-from-a-database",
        {"spec.sources[0].connection": "warehouse"},
        conditions.UNKNOWN_CONNECTION,
        "spec.sources[0].connection",
        "a source of files needs a files or http connection",
    ),
    Wrong(
        "pattern-of-a-web-server",
        {"spec.sources[0].connection": "tracker"},
        conditions.INVALID_SPEC,
        "spec.sources[0].files.path",
        "flights/*.csv.gz is a pattern, and a http connection can't be asked which files it has",
    ),
    Wrong(
        "api-of-a-folder",
        {"spec.sources[4]": API_SOURCE | {"connection": "landing"}},
        conditions.UNKNOWN_CONNECTION,
        "spec.sources[4].connection",
        "landing is a files connection: a source of an API needs a http connection",
    ),
    Wrong(
        "api-of-nowhere",
        {"spec.sources[4]": API_SOURCE | {"connection": "traker"}},
        conditions.UNKNOWN_CONNECTION,
        "spec.sources[4].connection",
        "did you mean tracker?",
    ),
    Wrong(
        "sink-into-a-web-server",
        {"spec.sinks[0].connection": "tracker"},
        conditions.UNKNOWN_CONNECTION,
        "spec.sinks[0].connection",
        "tracker is a http connection: a sink into a table needs a postgres connection",
    ),
    Wrong(
        "files-into-a-database",
        {"spec.sinks[4].connection": "warehouse"},
        conditions.UNKNOWN_CONNECTION,
        "spec.sinks[4].connection",
        "warehouse is a postgres connection: a sink of files needs a files connection",
    ),
    Wrong(
        "files-where-none-may-be-written",
        {"spec.sinks[4].connection": "landing"},
        conditions.CONNECTION_DENIED,
        "spec.sinks[4].connection",
        "the pool gives landing for reading only: a sink needs access: Write",
    ),
    Wrong(
        "files-of-nowhere",
        {"spec.sinks[4].connection": "archives"},
        conditions.UNKNOWN_CONNECTION,
        "spec.sinks[4].connection",
        "did you mean archive?",
    ),
    Wrong(
        "files-within-files",
        {
            "spec.sinks[1]": {
                "name": "all",
                "input": "raw",
                "connection": "archive",
                "files": {"path": "lake"},
                "writeDisposition": "Append",
            },
            "spec.checks": [],
        },
        conditions.INVALID_SPEC,
        "spec.sinks[4].files.path",
        "are one within the other: readers would take them for one data set",
    ),
    Wrong(
        "files-in-one-place-by-two-connections",
        {
            "spec.sinks[1]": {
                "name": "all",
                "input": "raw",
                "connection": "landing",
                "files": {"path": "daily/lake/flights/more"},
                "writeDisposition": "Append",
            },
            "spec.checks": [],
        },
        conditions.INVALID_SPEC,
        "spec.sinks[4].files.path",
        "s3://archive/daily/lake/flights and s3://archive/daily/lake/flights/more, where the sink all writes",
        pool={"spec.connections[0].files": {"url": "s3://archive", "access": "Write"}},
    ),
    Wrong(
        "freshness-of-files",
        {"spec.checks[4].sink": "lake"},
        conditions.INVALID_SPEC,
        "spec.checks[4].metric",
        "freshness can't be measured of lake, which is files",
    ),
    Wrong(
        "table-of-a-folder",
        {"spec.sources[4].connection": "landing"},
        conditions.UNKNOWN_CONNECTION,
        "spec.sources[4].connection",
        "a source of a table needs a postgres connection",
    ),
    Wrong(
        "table-of-nowhere",
        {"spec.sources[4].connection": "wherehouse"},
        conditions.UNKNOWN_CONNECTION,
        "spec.sources[4].connection",
        "did you mean warehouse?",
    ),
    Wrong(
        "table-in-a-schema-not-given",
        {"spec.sources[4].postgres.table": "secret.bookings"},
        conditions.CONNECTION_DENIED,
        "spec.sources[4].postgres.table",
        "the pool doesn't allow the schema secret in warehouse",
    ),
    Wrong(
        "sink-into-files",
        {"spec.sinks[0].connection": "landing"},
        conditions.UNKNOWN_CONNECTION,
        "spec.sinks[0].connection",
        "a sink into a table needs a postgres connection",
    ),
    Wrong(
        "told-to-nobody",
        {"spec.notifications[0].http.connection": "chatt"},
        conditions.UNKNOWN_CONNECTION,
        "spec.notifications[0].http.connection",
        "did you mean chat?",
    ),
    Wrong(
        "told-to-a-folder",
        {"spec.notifications[1].http.connection": "landing"},
        conditions.UNKNOWN_CONNECTION,
        "spec.notifications[1].http.connection",
        "landing is a files connection: a notification needs a http connection",
    ),
    Wrong(
        "told-to-an-api",
        {"spec.notifications[1].http.connection": "tracker"},
        conditions.CONNECTION_DENIED,
        "spec.notifications[1].http.connection",
        "the pool doesn't let pipelines send notifications to tracker: its owner allows it by http.webhook",
    ),
    Wrong(
        "schema-not-allowed",
        {"spec.sinks[0].postgres.table": "finance.flights"},
        conditions.CONNECTION_DENIED,
        "spec.sinks[0].postgres.table",
        "the pool doesn't allow the schema finance in warehouse; it allows public and Sales",
    ),
    Wrong(
        "sink-into-a-read-only-connection",
        {"spec.sinks[0].connection": "archive"},
        conditions.CONNECTION_DENIED,
        "spec.sinks[0].connection",
        "the pool gives archive for reading only",
        pool={
            "spec.connections[2]": {
                "name": "archive",
                "postgres": {"dsn": {"secretKeyRef": {"name": "archive", "key": "dsn"}}, "access": "Read"},
            }
        },
    ),
    Wrong(
        "pool-for-others",
        {"metadata.labels": {"team": "travel"}},
        conditions.POOL_DENIED,
        "spec.workerPoolRef.name",
        "the pool is only for pipelines with the label example.com/tier=gold",
    ),
    Wrong(
        "function-not-allowed",
        {"spec.steps[2].python.entrypoint": "travel.scores:score"},
        conditions.ENTRYPOINT_DENIED,
        "spec.steps[2].python.entrypoint",
        "the pool doesn't allow travel.scores:score; it allows travel.steps:* and travel.*:summary",
    ),
    Wrong(
        "function-where-none-is-allowed",
        {},
        conditions.ENTRYPOINT_DENIED,
        "spec.steps[2].python.entrypoint",
        "the pool doesn't allow travel.steps:score; it allows none",
        pool={"spec.python": DELETE},
    ),
    Wrong(
        "one-table-by-two-connections",
        {"spec.sinks[1].postgres.table": "public.flights", "spec.sinks[1].connection": "same"},
        conditions.INVALID_SPEC,
        "spec.sinks[1].postgres.table",
        "public.flights is already written by the sink flights",
        pool={
            "spec.connections[2]": {
                "name": "same",
                "postgres": {"dsn": {"secretKeyRef": {"name": "warehouse", "key": "dsn"}}},
            }
        },
    ),
)

BY_ITSELF: Final = (*GRAPH, *LOOKUPS, *OUTLETS, *SCHEDULE, *SQL, *APIS, *PARAMETERS, *SINKS, *CHECKS, *PYTHON, *LETTERS)
"""Wrong whatever the pool is."""
TABLE: Final = (*BY_ITSELF, *POOL)
