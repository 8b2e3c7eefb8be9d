"""Sinks that send rows to servers: what the pool's owner grants, and checks that nobody can measure."""

from __future__ import annotations

from collections.abc import Iterator

from tidemill_api import conditions
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_api.v1alpha1.workerpool import Connection
from tidemill_check.problem import Problem


def check_outlets(spec: DataPipelineSpec) -> Iterator[Problem]:
    """Checks of what was sent: nobody can be asked for it, and nothing of it can be held back."""
    sent = {sink.name for sink in spec.sinks if sink.http is not None}
    for index, check in enumerate(spec.checks):
        if check.sink in sent:
            message = (
                f"{check.sink} sends its rows to a server, where nothing can be measured or held back: reject rows by "
                "a rule of a validate step, and bound them by execution.errorTolerance"
            )
            yield Problem(f"spec.checks[{index}].sink", conditions.INVALID_SPEC, message)


def may_send(index: int, found: Connection, pool: str) -> Iterator[Problem]:
    """Why the pool's connection can't be used by a sink over HTTP."""
    field = f"spec.sinks[{index}].connection"
    if found.http is None:
        kind = "files" if found.files is not None else "postgres"
        message = f"{found.name} is a {kind} connection: a sink over http needs a http connection"
        yield Problem(field, conditions.UNKNOWN_CONNECTION, message)
    elif found.http.access != "Write":
        message = (
            f"the pool gives {found.name} for reading only: a sink needs http.access: Write of that connection in the "
            f"WorkerPool {pool}"
        )
        yield Problem(field, conditions.CONNECTION_DENIED, message)
