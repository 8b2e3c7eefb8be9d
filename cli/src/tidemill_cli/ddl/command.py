"""From manifests to SQL on stdout, and an exit code.

Types are those that a run would find: of the declared columns, else inferred from the files, which are looked at.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tidemill_api.errors import SpecError, TidemillError
from tidemill_api.v1alpha1 import DataPipeline
from tidemill_check.contracts import allowed
from tidemill_cli.dev.reading import ManifestsError, UsageError, chosen, runnable
from tidemill_cli.dev.settings import SettingsError, load
from tidemill_cli.manifests import Manifest, Manifests, load_manifests

if TYPE_CHECKING:
    import pyarrow as pa

FAILED: Final = 1
USAGE: Final = 2
READ_BYTES: Final = 1 << 20
"""Most bytes that are read of a source whose rows aren't needed to know their columns."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    paths: tuple[Path, ...]
    role: str
    pipeline: str | None = None
    folders: tuple[str, ...] = ()


def ddl(options: Options) -> int:
    """Print the SQL; returns the exit code."""
    try:
        manifests = load_manifests(options.paths)
        print("\n".join(_script(runnable(manifests, options.pipeline), manifests, options)))
    except (UsageError, FileNotFoundError) as error:
        print(f"tidemill ddl: {error}", file=sys.stderr)
        return USAGE
    except (ManifestsError, SettingsError) as error:
        print(error, file=sys.stderr)
        return FAILED
    return 0


def _script(pipelines: list[Manifest[DataPipeline]], manifests: Manifests, options: Options) -> Iterator[str]:
    """Lines of SQL, one connection after the other."""
    from tidemill_worker.engine.postgres.ddl import database_rights

    tables: dict[str, list[str]] = {}
    for pipeline in pipelines:
        schemas = _schemas(pipeline, manifests, options)
        for place, sink in enumerate(pipeline.object.spec.sinks):
            if sink.postgres is None:  # their books are the metastore's, and need no rights on tables
                continue
            lines = tables.setdefault(sink.connection, [])
            lines.append(f"\n-- pipeline {pipeline.object.metadata.name}, sink {sink.name}")
            lines += _table(pipeline, place, schemas[sink.name], options.role)
    for connection, lines in tables.items():
        yield f"-- The database of the connection {connection}."
        yield from (f"{statement};" for statement in database_rights(options.role))
        yield from lines


def _table(pipeline: Manifest[DataPipeline], place: int, schema: pa.Schema, role: str) -> list[str]:
    from tidemill_worker.engine.postgres.ddl import create_table, table_rights
    from tidemill_worker.engine.postgres.tables import created

    spec = pipeline.object.spec
    sink = spec.sinks[place]
    columns = {field.name: field.type for field in created(sink, schema).fields}
    checked = any(check.sink == sink.name for check in spec.checks)
    rights = table_rights(sink, role, checked=checked, alters=bool(allowed(spec, sink)))
    return [f"{each};" for each in (*create_table(sink, columns), *rights)]


def _schemas(pipeline: Manifest[DataPipeline], manifests: Manifests, options: Options) -> Mapping[str, pa.Schema]:
    """Columns of each sink's rows. Raises ManifestsError with what keeps them from being known."""
    # The columnar libraries take a while to import: an answer about the manifests doesn't wait for them.
    from tidemill_cli.rehearse.faults import finding
    from tidemill_cli.rehearse.folders import Located, check_names, locate, pairs
    from tidemill_cli.rehearse.modules import reachable
    from tidemill_cli.rehearse.times import run_time
    from tidemill_worker.engine.rehearsal import Bounds, NodeFailed, Rehearsal

    spec = pipeline.object.spec
    folders = pairs("--folder", options.folders)
    check_names(chosen(manifests, options.pipeline), folders, {})
    located = locate(pipeline, manifests.pools, load, folders, {})
    if not isinstance(located, Located):
        raise ManifestsError(located)
    try:
        rehearsal = Rehearsal(located.spec, _examples(pipeline), run_time(None), located.folders, Bounds(1, READ_BYTES))
    except SpecError as error:
        raise ManifestsError([finding(pipeline, error)]) from None
    try:
        with reachable(pipeline):
            rehearsal.run()
    except NodeFailed as error:
        # Rows that a run would stumble over say nothing against the columns, if those were known before.
        if any(sink.name not in rehearsal.sinks for sink in spec.sinks):
            raise ManifestsError([finding(pipeline, error)]) from None
    except TidemillError as error:
        raise ManifestsError([f"{pipeline.object.metadata.name}: {error}"]) from None
    return {name: seen.schema for name, seen in rehearsal.sinks.items()}


def _examples(pipeline: Manifest[DataPipeline]) -> dict[str, str | int]:
    """Values of parameters that have no default: their types matter, not the rows that they choose."""
    examples: dict[str, str | int] = {
        "string": "",
        "integer": 1,
        "number": "0.5",
        "boolean": "true",
        "date": "2026-01-31",
        "timestamp": "2026-01-31T00:00:00Z",
    }
    return {one.name: examples[one.type] for one in pipeline.object.spec.parameters if one.default is None}
