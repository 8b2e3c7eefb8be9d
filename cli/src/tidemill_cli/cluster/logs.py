"""What the workers said of a run: the lines of the pool's pods that name its workflow."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from tidemill_cli.cluster.kubectl import GROUP, ClusterError, Kubectl, Object
from tidemill_cli.cluster.runs import Run
from tidemill_cli.cluster.tell import utcnow

_CONTAINER = "worker"


def pods_of(cluster: Kubectl, pool: str) -> list[Object]:
    """The pods of a pool. Raises ClusterError if there are none."""
    found = cluster.all_of("pods", f"--selector={GROUP}/pool={pool}")
    if not found:
        raise ClusterError(f"the pool {pool} has no pods, so there are no logs: `kubectl tidemill describe {pool}`")
    return found


def lines_of(cluster: Kubectl, pods: Iterable[Object], run: Run, *, follow: bool) -> Iterator[dict[str, Any]]:
    """The run's lines, each with its `pod`: sorted by time, or as they come (`follow`)."""
    workflow = run.told.get("workflowId")
    if not workflow:
        raise ClusterError(f"run {run.key} hasn't begun: {run.message or 'nobody has worked on it'}")
    since = f"--since-time={run.told['startedAt']}" if run.told.get("startedAt") else "--tail=-1"
    arguments = ("logs", f"--container={_CONTAINER}", since)
    names = [pod["metadata"]["name"] for pod in pods]
    if follow:
        yield from _mine(_as_they_come(cluster, names, arguments), workflow)
        return
    every = ((pod, line) for pod in names for line in cluster.lines(*arguments, pod))
    yield from sorted(_mine(every, workflow), key=lambda line: str(line.get("time", "")))


def _mine(lines: Iterable[tuple[str, str]], workflow: str) -> Iterator[dict[str, Any]]:
    for pod, line in lines:
        if workflow not in line:
            continue
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if isinstance(told, dict) and told.get("workflow") == workflow:
            yield {"pod": pod, **told}


def _as_they_come(cluster: Kubectl, pods: list[str], arguments: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Lines of all pods at once; ends when the last pod's log has ended."""
    said: queue.Queue[tuple[str, str] | ClusterError | None] = queue.Queue(maxsize=1000)

    def listen(pod: str) -> None:
        try:
            for line in cluster.lines(*arguments, "--follow", pod):
                said.put((pod, line))
        except ClusterError as error:
            said.put(error)
        said.put(None)

    for pod in pods:
        threading.Thread(target=listen, args=(pod,), daemon=True).start()
    left = len(pods)
    while left:
        match said.get():
            case None:
                left -= 1
            case ClusterError() as error:
                raise error
            case pair:
                yield pair


def plain(line: dict[str, Any]) -> str:
    """A line for people."""
    time = str(line.get("time", utcnow().isoformat()))[11:23]
    text = f"{time} {line['pod']} {str(line.get('level', '')).upper()} {line.get('message', '')}"
    return f"{text}\n{line['exception']}" if line.get("exception") else text
