"""A small pipeline whose file comes from a ConfigMap, for tests that are about something else than the data."""

from __future__ import annotations

from typing import Any

from tests.support.cluster import Place
from tests.support.waiting import until

Object = dict[str, Any]
ROWS = "id,name\n1,one\n2,two\n3,three\nx,bad\n"
"""Three good rows, and one whose id is no number."""


def landing(text: str = ROWS) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "landing"}, "data": {"rows.csv": text}}


def pool(**spec: Any) -> Object:
    mounts = [{"name": "landing", "mountPath": "/data/landing", "readOnly": True}]
    pod = {
        "containers": [{"name": "worker", "volumeMounts": mounts}],
        "volumes": [{"name": "landing", "configMap": {"name": "landing"}}],
    }
    dsn = {"secretKeyRef": {"name": "warehouse", "key": "dsn"}}
    connections = [
        {"name": "landing", "files": {"url": "file:///data/landing/"}},
        {"name": "warehouse", "postgres": {"dsn": dsn, "schemas": ["public"], "access": "Write"}},
    ]
    common = {"replicas": 1, "connections": connections, "metastore": {"connection": "warehouse"}}
    return {
        "apiVersion": "tidemill.dev/v1alpha1",
        "kind": "WorkerPool",
        "metadata": {"name": "etl"},
        "spec": {**common, "template": {"spec": pod}, **spec},
    }


def pipeline(table: str = "rows", every: str | None = "5s", **spec: Any) -> Object:
    columns = [{"name": "id", "type": "int32", "required": True}, {"name": "name", "type": "string"}]
    source = {"name": "raw", "connection": "landing", "files": {"path": "rows.csv", "format": {"csv": {}}}}
    sink = {
        "name": "rows",
        "input": "raw",
        "connection": "warehouse",
        "postgres": {"table": f"public.{table}"},
        "writeDisposition": "Merge",
        "primaryKey": ["id"],
    }
    common: Object = {
        "workerPoolRef": {"name": "etl"},
        "sources": [{**source, "columns": columns}],
        "sinks": [sink],
        "execution": {"errorTolerance": {"maxPercent": 50}},
    }
    if every is not None:
        common["schedule"] = {"intervals": [{"every": every}]}
    return {
        "apiVersion": "tidemill.dev/v1alpha1",
        "kind": "DataPipeline",
        "metadata": {"name": "rows"},
        "spec": {**common, **spec},
    }


def run(name: str, of: str) -> Object:
    return {
        "apiVersion": "tidemill.dev/v1alpha1",
        "kind": "DataPipelineRun",
        "metadata": {"name": name},
        "spec": {"pipelineRef": {"name": of}},
    }


def applied(place: Place, *objects: Object) -> None:
    """Apply the pool and these, and wait until the pool has a worker."""
    place.apply(landing(), pool(), *objects)
    place.cluster.ready(place.namespace, "workerpool/etl")


def last_run(place: Place, name: str, after: str = "", timeout: float = 90) -> Object:
    """The newest run that ended, once there is one that began after that time."""

    def look() -> Object:
        seen: Object = place.status("datapipeline", name).get("lastRun") or {}
        return seen if seen.get("startedAt", "") > after else {}

    return until(look, f"a run of {name} that began after {after or 'the beginning'}", timeout)
