"""Events of OpenLineage (spec 2-0-2): what a run reads and writes, and what it came to. Pure.

Source: https://openlineage.io/docs/spec/, and the JSON Schemas that the tests keep.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_api.v1alpha1.datapipeline import FileSource, PostgresSource, PostgresTable, Sink, Source, WrittenFiles
from tidemill_api.v1alpha1.http_sink import SentRows
from tidemill_api.v1alpha1.http_source import HTTPSource
from tidemill_check.origins import Origins
from tidemill_worker.connections.locations import Location
from tidemill_worker.workflows.report_messages import Traced

_PRODUCER: Final = "https://github.com/tidemill/tidemill"
_SPEC: Final = "https://openlineage.io/spec/2-0-2/OpenLineage.json"
_FACETS: Final = "https://openlineage.io/spec/facets"
_RUNS: Final = uuid.UUID("5a3bb0b1-9d3c-5d1c-8f0e-7d5b6f1c2a44")
"""Namespace of the ids of runs."""

Facet = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """The run and its pipeline, as an event tells them."""

    namespace: str
    """Of the job."""
    job: str
    spec: DataPipelineSpec
    nominal: tuple[str, str]
    """Begin and end of the run's interval (RFC 3339)."""
    version: str
    """Tidemill's."""
    locations: Mapping[str, Location]
    """By the names of connections."""
    columns: Mapping[str, Mapping[str, str]]
    """Of sources and steps whose columns are known: types by name."""
    origins: Mapping[str, Origins]
    """Of sources and steps, as far as it can be told: of each column those that it is made of."""
    replay: bool = False
    """Its rows are dead letters, so it reads no source."""


def run_id(uid: str, run_key: str, execution: int) -> str:
    """The run's id, a UUID that is the same each time it is asked for."""
    return str(uuid.uuid5(_RUNS, f"{uid}/{run_key}/{execution}"))


def event(traced: Traced, told: Told) -> dict[str, Any]:
    """The event as JSON."""
    sources = [] if told.replay else [_input(source, traced, told) for source in told.spec.sources]
    return {
        "eventType": traced.transition,
        "eventTime": traced.moment,
        "producer": _PRODUCER,
        "schemaURL": f"{_SPEC}#/$defs/RunEvent",
        "run": {"runId": run_id(traced.uid, traced.run_key, traced.execution), "facets": _run_facets(traced, told)},
        "job": {
            "namespace": told.namespace,
            "name": told.job,
            "facets": {
                "jobType": _facet(
                    "2-0-4/JobTypeJobFacet", processingType="BATCH", integration="TIDEMILL", jobType="PIPELINE"
                )
            },
        },
        "inputs": sources,
        "outputs": [_output(sink, traced, told) for sink in told.spec.sinks],
    }


def _run_facets(traced: Traced, told: Told) -> dict[str, Facet]:
    start, end = told.nominal
    facets = {
        "nominalTime": _facet("1-0-1/NominalTimeRunFacet", nominalStartTime=start, nominalEndTime=end),
        "processing_engine": _facet("1-1-1/ProcessingEngineRunFacet", name="Tidemill", version=told.version),
        "tidemill_run": {
            "_producer": _PRODUCER,
            "_schemaURL": f"{_SPEC}#/$defs/RunFacet",
            "runKey": traced.run_key,
            "execution": traced.execution,
        },
    }
    result = traced.result
    if result is not None:
        facets["tidemill_run"] |= {
            "result": result.result,
            "rowsRead": result.rows_read,
            "rowsLoaded": result.rows_loaded,
            "rowsRejected": result.rows_rejected,
            "rowsSkipped": result.rows_skipped,
        }
    if result is not None and result.error is not None:
        message = f"{result.error.type}: {result.error.message}"
        facets["errorMessage"] = _facet("1-0-1/ErrorMessageRunFacet", message=message, programmingLanguage="PYTHON")
    return facets


def _input(source: Source, traced: Traced, told: Told) -> dict[str, Any]:
    found = next((each for each in traced.result.steps if each.step == source.name), None) if traced.result else None
    facets = {}
    if found is not None:
        facets["inputStatistics"] = _facet("1-0-0/InputStatisticsInputDatasetFacet", rowCount=found.rows_in)
    return {**_dataset(source, told), "facets": _schema(source.name, told), "inputFacets": facets}


def _output(sink: Sink, traced: Traced, told: Told) -> dict[str, Any]:
    found = next((each for each in traced.result.sinks if each.sink == sink.name), None) if traced.result else None
    facets = {}
    if found is not None:
        facets["outputStatistics"] = _facet("1-0-2/OutputStatisticsOutputDatasetFacet", rowCount=found.rows)
    about = {**_schema(sink.input, told), **_column_lineage(sink, told)}
    return {**_dataset(sink, told), "facets": about, "outputFacets": facets}


def _schema(name: str, told: Told) -> dict[str, Facet]:
    columns = told.columns.get(name)
    if not columns:
        return {}
    fields = [{"name": column, "type": kind} for column, kind in columns.items()]
    return {"schema": _facet("1-2-0/SchemaDatasetFacet", fields=fields)}


def _column_lineage(sink: Sink, told: Told) -> dict[str, Facet]:
    if told.replay or sink.input not in told.origins:
        return {}
    sources = {source.name: _dataset(source, told) for source in told.spec.sources}
    fields = {
        column: {
            "inputFields": [
                {
                    **sources[each.source],
                    "field": each.column,
                    "transformations": [
                        {"type": "DIRECT", "subtype": "IDENTITY" if each.as_it_is else "TRANSFORMATION"}
                    ],
                }
                for each in origins
            ]
        }
        for column, origins in told.origins[sink.input].items()
        if origins
    }
    return {"columnLineage": _facet("1-2-0/ColumnLineageDatasetFacet", fields=fields)} if fields else {}


def _dataset(of: Source | Sink, told: Told) -> dict[str, str]:
    """Namespace and name. What isn't a table, files or a web server's goes by its name in the manifest."""
    match of:
        case Source(files=FileSource(path=found)) | Source(http=HTTPSource(path=found)):
            path = found
        case Source(postgres=PostgresSource(table=found)) | Sink(postgres=PostgresTable(table=found)):
            path = found
        case Sink(files=WrittenFiles()) | Sink(http=SentRows()):
            path = of.target
        case _:
            path = of.name
    name = of.connection
    location = told.locations.get(name, Location(f"tidemill://{told.namespace}", f"{name}/"))
    return {"namespace": location.namespace, "name": f"{location.prefix}{path}"}


def _facet(schema: str, **fields: Any) -> Facet:
    kind = schema.partition("/")[2]
    return {"_producer": _PRODUCER, "_schemaURL": f"{_FACETS}/{schema}.json#/$defs/{kind}", **fields}
