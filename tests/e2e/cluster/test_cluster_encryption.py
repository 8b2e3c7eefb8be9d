"""Encryption as the chart turns it on: what Temporal holds of runs in a cluster, and a rotation while they go on."""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.api.workflowservice.v1 import DescribeScheduleRequest
from temporalio.client import Client, WorkflowHistory
from temporalio.service import RPCError

from tests.support.cluster import Place, Release
from tests.support.small import applied, last_run, pipeline, run
from tests.support.waiting import until
from tidemill_codec.cipher import key_of
from tidemill_codec.ring import KeyRing, ring_of

SECRET = "hush-hush"
PARAMETERS = [{"name": "customer", "type": "string", "default": SECRET}]


@dataclass(frozen=True, slots=True)
class Seen:
    """What Temporal's server has of a pipeline."""

    schedule_key: str | None
    history: WorkflowHistory | None

    @property
    def run_key(self) -> str | None:
        """The key of the run's input."""
        assert self.history is not None
        return key_of(self.history.events[0].workflow_execution_started_event_attributes.input.payloads[0])


def ring(release: Release) -> KeyRing:
    data = release.cluster.get(release.namespace, "secret", f"{release.name}-encryption")["data"]
    return ring_of({name: base64.b64decode(text).decode() for name, text in data.items()}, "the release")


def seen(place: Place, workflow: str = "") -> Seen:
    """The Schedule of the pipeline `rows`, and the history of one of its runs."""
    (schedule,) = place.schedules()

    async def ask(port: int) -> Seen:
        client = await Client.connect(f"127.0.0.1:{port}")
        request = DescribeScheduleRequest(namespace="default", schedule_id=schedule)
        found = await client.workflow_service.describe_schedule(request)
        key = key_of(found.schedule.action.start_workflow.input.payloads[0])
        if not workflow:
            return Seen(key, None)
        return Seen(key, await client.get_workflow_handle(f"{schedule}/{workflow}").fetch_history())

    with place.cluster.forwarded(place.release.namespace, f"svc/{place.release.name}-temporal", 7233) as port:
        return asyncio.run(ask(port))


def on_key(place: Place, key: str) -> bool:
    """Whether the Schedule is on that key; no, while Temporal can't be asked."""
    try:
        return seen(place).schedule_key == key
    except (RPCError, RuntimeError):
        return False


def test_nothing_of_a_run_in_the_cluster_can_be_read_in_temporal(place: Place) -> None:
    keys = ring(place.release)
    applied(place, pipeline(every="24h", parameters=PARAMETERS))
    place.cluster.ready(place.namespace, "datapipeline/rows")
    place.apply(run("once", "rows"))
    place.cluster.ready(place.namespace, "datapipelinerun/once")

    found = seen(place, "once")

    assert found.history is not None
    raw = b"".join(event.SerializeToString() for event in found.history.events)
    assert [word for word in (SECRET, "public.rows", "rowsLoaded") if word.encode() in raw] == []
    assert (found.schedule_key, found.run_key) == (keys.active, keys.active)
    assert place.status("datapipelinerun", "once")["run"]["rowsLoaded"] == 3
    logs = [
        place.cluster.kubectl("logs", "-n", namespace, f"--selector={labels}", "--tail=-1").stdout
        for namespace, labels in (
            (place.release.namespace, "app.kubernetes.io/component=operator"),
            (place.namespace, "app.kubernetes.io/component=worker"),
        )
    ]
    secrets = [text for name, text in keys.entries().items() if name != "active"]
    assert [text for text in (SECRET, *secrets) if any(text in log for log in logs)] == []
    assert [text for text in secrets if text in place.cluster.kubectl("get", "events", "-A", "-o", "json").stdout] == []


def test_a_rotation_while_runs_go_on(place: Place) -> None:
    """As docs/how-to/encryption.md has it. The kubelet takes seconds, a new key 45 more until it writes."""
    release = place.release
    applied(place, pipeline(every="5s"))
    first = last_run(place, "rows", timeout=120)
    before = ring(release)
    secret = f"secret/{release.name}-encryption -n {release.namespace}"
    tidemill = Path(sys.executable).with_name("tidemill")
    kubectl = " ".join(release.cluster.chosen.kubectl())
    line = f"{kubectl} get {secret} -o yaml | {tidemill} keys rotate --from - | {kubectl} replace -f -"
    subprocess.run(["bash", "-euo", "pipefail", "-c", line], check=True, env=os.environ, capture_output=True)
    after = ring(release)
    assert (after.active != before.active, set(before.ids) < set(after.ids)) == (True, True)

    until(lambda: on_key(place, after.active), "the Schedule is on the new key", 420)

    def on_new_key() -> dict[str, Any]:
        """The last run, if it was written with the new key throughout: one may have begun just before."""
        run = last_run(place, "rows")
        return run if seen(place, run["workflowId"].rpartition("/")[2]).run_key == after.active else {}

    later = until(on_new_key, "a run is on the new key", 240)
    assert (first["result"], later["result"]) == ("Succeeded", "Succeeded")
    status = place.status("datapipeline", "rows")["schedule"]
    assert status["driftRepaired"] == 0
