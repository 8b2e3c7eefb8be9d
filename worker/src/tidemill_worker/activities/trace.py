"""`trace`: tell, as lineage, what a run reads and writes."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime
from importlib.metadata import version

from temporalio import activity

from tidemill_api.errors import TidemillError
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_worker.activities.posting import insist, posted
from tidemill_worker.activities.resources import Resources, Snapshot
from tidemill_worker.activities.translation import translated
from tidemill_worker.connections.locations import Location
from tidemill_worker.metastore import RunId
from tidemill_worker.telling.answers import Later, Refused, Taken
from tidemill_worker.workflows.report_messages import TRACE, Traced

_log = logging.getLogger(__name__)


class Trace:
    """The activity and what it needs."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @activity.defn(name=TRACE)
    async def trace(self, traced: Traced) -> None:
        """Send one event. Fails if it wasn't taken; then it says whether another attempt can help, and when."""
        with translated():
            to = self._resources.config.lineage
            if to is None:  # the pool tells nobody any more
                return
            content = await self._content(traced, to.namespace or self._resources.config.namespace)
            message = f"{traced.uid}/{traced.run_key}/{traced.execution}/{traced.transition}"
            connections, http = self._resources.connections, to.http
            verdict = await posted(connections, http.connection, http.path, message, content, for_pipelines=False)
            match verdict:
                case Taken():
                    self._resources.measures.lineage("Sent")
                case Later():
                    self._resources.measures.lineage("Waiting")
                case Refused(why):
                    self._resources.measures.lineage("Unsent")
                    _log.error("run %s: its lineage couldn't be sent: %s", traced.run_key, why)
            insist(to.http.connection, verdict)

    async def _content(self, traced: Traced, namespace: str) -> bytes:
        snapshot = await self._resources.snapshot(RunId(traced.uid, traced.run_key, traced.execution))
        return await asyncio.to_thread(_event, traced, namespace, snapshot, self._locations(snapshot.spec))

    def _locations(self, spec: DataPipelineSpec) -> dict[str, Location]:
        """Where the pipeline's connections lead. One that can't be told goes by its name."""
        found = {}
        for name in {*(source.connection for source in spec.sources), *(sink.connection for sink in spec.sinks)}:
            try:
                location = self._resources.connections.location(name)
            except TidemillError as error:
                _log.info("lineage names the connection %s by its name: %s", name, error)
                continue
            if location is not None:
                found[name] = location
        return found


def _event(traced: Traced, namespace: str, snapshot: Snapshot, locations: dict[str, Location]) -> bytes:
    from tidemill_check.columns import known_columns
    from tidemill_check.origins import origins
    from tidemill_worker.telling.openlineage import Told, event

    columns = known_columns(snapshot.spec)
    told = Told(
        namespace=namespace,
        job=f"{snapshot.ref.namespace}.{snapshot.ref.pipeline}",
        spec=snapshot.spec,
        nominal=(_rfc3339(snapshot.ref.interval_start or snapshot.ref.run_time), _rfc3339(snapshot.ref.run_time)),
        version=version("tidemill"),
        locations=locations,
        columns=columns,
        origins=origins(snapshot.spec, columns),
        replay=snapshot.replay is not None,
    )
    return json.dumps(event(traced, told), ensure_ascii=False, separators=(",", ":")).encode()


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
