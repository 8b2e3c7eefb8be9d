"""The verdict on a manifest beyond its schema: all problems at once, the same for operator, worker and lint."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tidemill_api import conditions
from tidemill_api.v1alpha1 import DataPipelineSpec, WorkerPoolSpec
from tidemill_api.v1alpha1.datapipeline import FileSource, PostgresSource, Sink, Step
from tidemill_api.v1alpha1.workerpool import Connection
from tidemill_check.apis import check_apis
from tidemill_check.contracts import check_contracts
from tidemill_check.datasets import check_data_sets, check_places, granted
from tidemill_check.graph import check_graph
from tidemill_check.incremental import check_incremental
from tidemill_check.lookups import check_lookups
from tidemill_check.outlets import check_outlets, may_send
from tidemill_check.parameters import check_defaults
from tidemill_check.paths import check_paths
from tidemill_check.problem import Problem, in_order, listed, suggestion
from tidemill_check.python import check_entrypoints, check_python
from tidemill_check.schedule import LONGEST, check_schedule, length
from tidemill_check.sql import check_expression, check_query
from tidemill_check.sql_postgres import to_postgres
from tidemill_check.stages import whole_field, whole_steps

_ORDER = tuple(field.alias or name for name, field in DataPipelineSpec.model_fields.items())
_RESERVED_SCHEMAS = ("pg_catalog", "information_schema", "pg_toast")


def check_pipeline(spec: DataPipelineSpec) -> tuple[Problem, ...]:
    """What is wrong with a pipeline by itself, in the order of its fields.

    Whatever the models refuse is not looked for again.
    """
    return in_order(
        (
            *(check_schedule(spec.schedule) if spec.schedule else ()),
            *check_defaults(spec),
            *check_paths(spec),
            *check_apis(spec),
            *(check_graph(spec) or (*check_incremental(spec), *check_contracts(spec), *check_lookups(spec))),
            *_sql(spec),
            *check_python(spec),
            *_tables(spec),
            *check_data_sets(spec),
            *check_outlets(spec),
            *_durations(spec),
            *_redacted(spec),
            *_conditions(spec),
        ),
        _ORDER,
    )


def check_against_pool(spec: DataPipelineSpec, pool: WorkerPoolSpec, labels: Mapping[str, str]) -> tuple[Problem, ...]:
    """What the pool doesn't give the pipeline, whose labels are `labels`: the right to use it, connections, schemas."""
    return in_order(
        (
            *_allowed(pool, labels),
            *_sources(spec, pool),
            *_sinks(spec, pool),
            *_shared_tables(spec, pool),
            *check_places(spec, pool),
            *_kept(spec, pool),
            *check_entrypoints(spec, pool),
            *_told(spec, pool),
        ),
        _ORDER,
    )


def check_pool(spec: WorkerPoolSpec) -> tuple[Problem, ...]:
    """What is wrong with a pool by itself, beyond its schema."""
    found = []
    for index, connection in enumerate(spec.connections):
        path = f"spec.connections[{index}]"
        if connection.postgres is not None:
            for place, schema in enumerate(connection.postgres.schemas):
                if schema in _RESERVED_SCHEMAS or schema.startswith("pg_"):
                    found.append(
                        _problem(
                            f"{path}.postgres.schemas[{place}]",
                            f"{schema} is Postgres' own: pipelines can't write there",
                        )
                    )
            if length(connection.postgres.pool.idle_timeout) is None:
                found.append(_too_long(f"{path}.postgres.pool.idleTimeout", connection.postgres.pool.idle_timeout))
        if connection.files is not None and ".." in connection.files.url.split("/"):
            found.append(
                _problem(f"{path}.files.url", f"{connection.files.url} goes up by '..': write the folder itself")
            )
    return (*found, *_cidrs(spec.egress.cidrs if spec.egress is not None else ()))


def _cidrs(cidrs: Sequence[str]) -> Iterator[Problem]:
    for index, cidr in enumerate(cidrs):
        path = f"spec.egress.cidrs[{index}]"
        try:
            ipaddress.ip_network(cidr)
        except ValueError:
            try:
                meant = str(ipaddress.ip_interface(cidr).network)
            except ValueError:
                yield _problem(path, f"{cidr} is no CIDR: write it like 10.20.0.0/16 or 2001:db8::/32")
            else:
                yield _problem(path, f"{cidr} has bits behind its prefix: write {meant}")


def _problem(field: str, message: str, reason: str = conditions.INVALID_SPEC) -> Problem:
    return Problem(field=field, reason=reason, message=message)


def _too_long(field: str, value: str) -> Problem:
    return _problem(field, f"{value} is too long: at most {LONGEST.days}d")


def _sql(spec: DataPipelineSpec) -> Iterator[Problem]:
    parameters = [parameter.name for parameter in spec.parameters]
    for index, step in enumerate(spec.steps):
        for problem in _step_sql(step, parameters):
            yield problem.below(f"spec.steps[{index}]")


def _step_sql(step: Step, parameters: list[str]) -> Iterator[Problem]:
    if step.sql is not None and step.sql.query_from is None:  # what stands elsewhere is put in its place before
        yield from check_query(step.sql.query, step.inputs, parameters)
    if step.validate_ is not None:
        for index, rule in enumerate(step.validate_.rules_):
            for problem in check_expression(rule.expression, parameters):
                yield problem.below(f"validate.rules[{index}].expression")


def _tables(spec: DataPipelineSpec) -> Iterator[Problem]:
    """Two sinks of one connection that write the same table: each would undo or repeat what the other does."""
    first: dict[tuple[str, str], str] = {}
    for index, sink in enumerate(spec.sinks):
        if sink.postgres is None:
            continue
        other = first.setdefault((sink.connection, sink.table), sink.name)
        if other != sink.name:
            yield _table_twice(index, sink, other)


def _table_twice(index: int, sink: Sink, other: str) -> Problem:
    field = f"spec.sinks[{index}].postgres.table"
    return _problem(field, f"{sink.table} is already written by the sink {other}; each sink needs a table of its own")


def _durations(spec: DataPipelineSpec) -> Iterator[Problem]:
    execution = spec.execution
    for field, value in (
        ("timeout", execution.timeout),
        ("retry.initialInterval", execution.retry.initial_interval),
        ("retry.maximumInterval", execution.retry.maximum_interval),
    ):
        if length(value) is None:
            yield _too_long(f"spec.execution.{field}", value)
    if length(spec.dead_letter.retention) is None:
        yield _too_long("spec.deadLetter.retention", spec.dead_letter.retention)


def _conditions(spec: DataPipelineSpec) -> Iterator[Problem]:
    """Conditions of checks that Postgres can't be asked."""
    for index, check in enumerate(spec.checks):
        if check.expression is not None:
            try:
                to_postgres(check.expression)
            except ValueError as error:
                yield _problem(f"spec.checks[{index}].expression", str(error), conditions.INVALID_SQL)


def _redacted(spec: DataPipelineSpec) -> Iterator[Problem]:
    """A column to redact that isn't there: its values would be kept. Known here only if no step makes columns."""
    if all(source.columns for source in spec.sources) and all(step.validate_ is not None for step in spec.steps):
        yield from unknown_redacted(spec, [column.name for source in spec.sources for column in source.columns])


def unknown_redacted(spec: DataPipelineSpec, columns: Iterable[str]) -> Iterator[Problem]:
    """Columns of `deadLetter.redactColumns` that aren't among all columns of the pipeline."""
    known = set(columns)
    for place, name in enumerate(spec.dead_letter.redact_columns):
        if name not in known:
            message = f"no source or step has a column {name}{suggestion(name, known)}"
            yield _problem(f"spec.deadLetter.redactColumns[{place}]", message)


def _allowed(pool: WorkerPoolSpec, labels: Mapping[str, str]) -> Iterator[Problem]:
    missing = [
        f"{key}={value}" for key, value in pool.allowed_pipelines.match_labels.items() if labels.get(key) != value
    ]
    if missing:
        message = f"the pool is only for pipelines with the label{'s' if len(missing) > 1 else ''} {listed(missing)}"
        yield _problem("spec.workerPoolRef.name", message, conditions.POOL_DENIED)


def _sources(spec: DataPipelineSpec, pool: WorkerPoolSpec) -> Iterator[Problem]:
    for index, source in enumerate(spec.sources):
        field = f"spec.sources[{index}].connection"
        found = _connection(source.connection, pool)
        if source.python is not None:
            continue  # what it reaches is its own affair
        if source.postgres is not None:
            yield from _table_read(index, source.connection, source.postgres, pool)
        elif source.http is not None:
            yield from _api_read(field, source.connection, pool)
        elif found is None:
            known = [one.name for one in pool.connections if one.files is not None or one.http is not None]
            yield _unknown(field, source.connection, known)
        elif found.http is not None and source.files is not None:
            yield from _file_of_the_web(index, source.files)
        elif found.files is None:
            yield _problem(
                field,
                f"{found.name} is {_kind(found)} connection: a source of files needs a files or http connection",
                conditions.UNKNOWN_CONNECTION,
            )


def _api_read(field: str, name: str, pool: WorkerPoolSpec) -> Iterator[Problem]:
    found = _connection(name, pool)
    if found is None:
        yield _unknown(field, name, [one.name for one in pool.connections if one.http is not None])
    elif found.http is None:
        message = f"{found.name} is {_kind(found)} connection: a source of an API needs a http connection"
        yield _problem(field, message, conditions.UNKNOWN_CONNECTION)


def _file_of_the_web(index: int, read: FileSource) -> Iterator[Problem]:
    """A web server doesn't say which files it has."""
    if any(sign in read.path for sign in "*?["):
        message = (
            f"{read.path} is a pattern, and a http connection can't be asked which files it has: name one file; it may "
            "hold values of the run, such as {interval_start:%Y-%m-%d}"
        )
        yield _problem(f"spec.sources[{index}].files.path", message)


def _kind(connection: Connection) -> str:
    """What it is, for a sentence."""
    if connection.files is not None:
        return "a files"
    return "a postgres" if connection.postgres is not None else "a http"


def _table_read(index: int, name: str, read: PostgresSource, pool: WorkerPoolSpec) -> Iterator[Problem]:
    field = f"spec.sources[{index}].connection"
    found = _connection(name, pool)
    if found is None:
        yield _unknown(field, name, [one.name for one in pool.connections if one.postgres is not None])
    elif found.postgres is None:
        message = f"{found.name} is {_kind(found)} connection: a source of a table needs a postgres connection"
        yield _problem(field, message, conditions.UNKNOWN_CONNECTION)
    elif (schema := read.table.partition(".")[0]) not in found.postgres.schemas:
        allowed = listed(found.postgres.schemas)
        message = f"the pool doesn't allow the schema {schema} in {found.name}; it allows {allowed}"
        yield _problem(f"spec.sources[{index}].postgres.table", message, conditions.CONNECTION_DENIED)


def _sinks(spec: DataPipelineSpec, pool: WorkerPoolSpec) -> Iterator[Problem]:
    for index, sink in enumerate(spec.sinks):
        field = f"spec.sinks[{index}].connection"
        found = _connection(sink.connection, pool)
        if found is None:
            kind = "files" if sink.files is not None else "http" if sink.http is not None else "postgres"
            fitting = [one.name for one in pool.connections if getattr(one, kind) is not None]
            yield _unknown(field, sink.connection, fitting)
        elif sink.http is not None:
            yield from may_send(index, found, spec.worker_pool_ref.name)
        elif sink.files is not None:
            refused = granted(index, found)
            yield from () if refused is None else (refused,)
        elif found.postgres is None:
            yield _problem(
                field,
                f"{found.name} is {_kind(found)} connection: a sink into a table needs a postgres connection",
                conditions.UNKNOWN_CONNECTION,
            )
        elif found.postgres.access != "Write":
            yield _problem(
                field,
                f"the pool gives {found.name} for reading only: a sink needs access: Write",
                conditions.CONNECTION_DENIED,
            )
        else:
            schema = sink.table.partition(".")[0]
            if schema not in found.postgres.schemas:
                allowed = listed(found.postgres.schemas)
                message = f"the pool doesn't allow the schema {schema} in {found.name}; it allows {allowed}"
                yield _problem(f"spec.sinks[{index}].postgres.table", message, conditions.CONNECTION_DENIED)


def _shared_tables(spec: DataPipelineSpec, pool: WorkerPoolSpec) -> Iterator[Problem]:
    """The same table by two connections that are one database, because they take their DSN from the same Secret."""
    first: dict[tuple[str, str, str], Sink] = {}
    for index, sink in enumerate(spec.sinks):
        found = _connection(sink.connection, pool)
        if sink.postgres is not None and found is not None and found.postgres is not None:
            secret = found.postgres.dsn.secret_key_ref
            other = first.setdefault((secret.name, secret.key, sink.table), sink)
            if other.connection != sink.connection:
                yield _table_twice(index, sink, other.name)


def _kept(spec: DataPipelineSpec, pool: WorkerPoolSpec) -> Iterator[Problem]:
    """Steps that need all rows, in a pool that has no place for these."""
    whole = whole_steps(spec) if pool.artifacts is None else {}
    for index, step in enumerate(spec.steps):
        if step.name in whole:
            yield _problem(
                f"spec.steps[{index}].{whole_field(step)}",
                f"the step needs all rows ({whole[step.name][0]}), and the pool has no place to keep them: the pool's "
                f"owner sets spec.artifacts of the WorkerPool {spec.worker_pool_ref.name}",
                conditions.CONNECTION_DENIED,
            )


def _told(spec: DataPipelineSpec, pool: WorkerPoolSpec) -> Iterator[Problem]:
    """Notifications to what isn't a connection over HTTP, or isn't meant for them: its headers would go with them."""
    for index, each in enumerate(spec.notifications):
        field = f"spec.notifications[{index}].http.connection"
        found = _connection(each.http.connection, pool)
        if found is None:
            yield _unknown(field, each.http.connection, [one.name for one in pool.connections if one.http is not None])
        elif found.http is None:
            message = f"{found.name} is {_kind(found)} connection: a notification needs a http connection"
            yield _problem(field, message, conditions.UNKNOWN_CONNECTION)
        elif found.http.webhook is None:
            message = (
                f"the pool doesn't let pipelines send notifications to {found.name}: its owner allows it by "
                f"http.webhook of that connection in the WorkerPool {spec.worker_pool_ref.name}; an empty one ({{}}) "
                "is enough"
            )
            yield _problem(field, message, conditions.CONNECTION_DENIED)


def _connection(name: str, pool: WorkerPoolSpec) -> Connection | None:
    return next((one for one in pool.connections if one.name == name), None)


def _unknown(field: str, name: str, known: list[str]) -> Problem:
    return _problem(field, f"the pool has no connection {name}{suggestion(name, known)}", conditions.UNKNOWN_CONNECTION)
