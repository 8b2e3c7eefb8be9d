"""Why a pool's workers don't come up, by the pods' own words. Pure.

Only what stays the same while the trouble stays the same is told: no names of pods, no back-off times. Else a status
would change with each attempt of a kubelet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tidemill_api import conditions as said
from tidemill_operator.clients import Object
from tidemill_operator.standing import Standing, condition, stalled, waits

TROUBLES: Final = (
    said.PODS_REFUSED,
    said.IMAGE_UNAVAILABLE,
    said.WAITING_FOR_SECRET,
    said.WORKERS_FAILING,
    said.UNSCHEDULABLE,
)
"""Reasons that this module gives; of several troubles the first here is told."""

_IMAGE: Final = frozenset(
    {
        *("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"),
        *("ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed"),
    }
)
_STARTING: Final = frozenset({"ContainerCreating", "PodInitializing"})
_SECRET: Final = re.compile(r"\b[Ss]ecret\b.* not found|non-existent secret key|couldn't find key .* in Secret")
_BACK_OFF: Final = re.compile(r'^Back-off pulling image "[^"]*": (?:ErrImagePull: )?')
_RANDOM_NAME: Final = re.compile(r'(pods "[^"]+-)[a-z0-9]{5}"')
_LONGEST: Final = 1500
_AGAIN_AND_AGAIN: Final = 2


def trouble_of(pods: Sequence[Object], events: Sequence[Object]) -> Standing | None:
    """The first trouble among the pods; None: they are well, or just starting. `events`: warnings about them."""
    living = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    starting = [pod for pod in living if (pod.get("status") or {}).get("phase") not in ("Failed", "Succeeded")]
    newest = sorted(starting or living, key=lambda pod: str(pod["metadata"].get("creationTimestamp")), reverse=True)
    found = [trouble for pod in newest for trouble in _of_pod(pod, events)]
    return min(found, key=lambda trouble: TROUBLES.index(trouble.reason), default=None)


def unexplained(pods: Sequence[Object]) -> str | None:
    """The uid of a pod that is being made, whose own status never says what keeps it: only its Events do."""
    for pod in pods:
        for status in _containers(pod):
            if _waiting(status).get("reason") in _STARTING and not pod["metadata"].get("deletionTimestamp"):
                return str(pod["metadata"]["uid"])
    return None


def refusal(deployment: Object) -> Standing | None:
    """The API server's sentence, if it refuses pods of the Deployment."""
    failure = condition(deployment.get("status") or {}, "ReplicaFailure")
    if failure is None or failure.get("status") != "True":
        return None
    sentence = _RANDOM_NAME.sub(r'\1"', str(failure.get("message", "")))
    return waits(said.PODS_REFUSED, f"the API server refuses the workers' pods: {sentence}")


def _of_pod(pod: Object, events: Sequence[Object]) -> Iterator[Standing]:
    status = pod.get("status") or {}
    scheduled = condition(status, "PodScheduled")
    if scheduled is not None and scheduled.get("status") == "False":
        words = f"{scheduled.get('reason', 'Unschedulable')}: {scheduled.get('message', '')}"
        yield waits(said.UNSCHEDULABLE, f"no node takes the workers' pods: {words}")
    if status.get("phase") == "Failed" and status.get("reason"):
        words = f"{status['reason']}: {status.get('message', '')}"
        yield waits(said.WORKERS_FAILING, f"a worker's pod has failed: {words}"[:_LONGEST])
    for container in _containers(pod):
        if not container.get("ready") and (trouble := _of_container(container, _logs(pod))) is not None:
            yield trouble
        elif _waiting(container).get("reason") in _STARTING:
            yield from _of_events(pod, events)


def _logs(pod: Object) -> frozenset[str]:
    """Names of containers whose message, when they end, may be the end of their log."""
    spec = pod.get("spec") or {}
    containers = (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))
    return frozenset(
        str(each.get("name")) for each in containers if each.get("terminationMessagePolicy") == "FallbackToLogsOnError"
    )


def _of_container(container: Mapping[str, Any], logs: frozenset[str]) -> Standing | None:
    waiting = _waiting(container)
    reason, message = str(waiting.get("reason", "")), str(waiting.get("message", ""))
    if reason in _IMAGE:
        called = "ImagePullBackOff" if reason == "ErrImagePull" else reason  # the two take turns
        text = f"the image {container.get('image', '')} can't be had: {called}: {_BACK_OFF.sub('', message)}"
        return (stalled if reason == "InvalidImageName" else waits)(said.IMAGE_UNAVAILABLE, text[:_LONGEST])
    ended = _ended(container)
    if ended is not None and reason not in _STARTING:
        return waits(said.WORKERS_FAILING, _last_words(container, ended, logs)[:_LONGEST])
    if reason and reason not in _STARTING:
        missing = _SECRET.search(message) is not None
        text = f"a worker's container {container.get('name', '')} can't start: {reason}: {message}"
        return waits(said.WAITING_FOR_SECRET if missing else said.WORKERS_FAILING, text[:_LONGEST])
    return None


def _last_words(container: Mapping[str, Any], ended: Mapping[str, Any], logs: frozenset[str]) -> str:
    """How a container ended the last time. Its own last words, where it left some, say it best; its log isn't quoted.

    A log is read by fewer people than status and Events, and may hold what isn't for all of them.
    """
    how = f"exit code {ended.get('exitCode', '?')}"
    if ended.get("reason") not in (None, "Error", "Completed"):
        how = f"{ended['reason']}, {how}"
    words = " ".join(str(ended.get("message", "")).split()) if container.get("name") not in logs else ""
    called = "CrashLoopBackOff: " if container.get("restartCount", 0) > 0 else ""
    said_last = f": {words}" if words else "; its log says more"
    return f"{called}a worker's container {container.get('name', '')} ended ({how}){said_last}"


def _of_events(pod: Object, events: Sequence[Object]) -> Iterator[Standing]:
    """The newest warning about a pod that is being made."""
    uid = pod["metadata"]["uid"]
    mine = [event for event in events if (event.get("regarding") or {}).get("uid") == uid]
    for event in sorted(mine, key=_when, reverse=True)[:1]:
        note = " ".join(str(event.get("note", "")).split())
        missing = _SECRET.search(note) is not None
        text = f"a worker's pod can't start: {event.get('reason', '')}: {note}"[:_LONGEST]
        yield waits(said.WAITING_FOR_SECRET if missing else said.WORKERS_FAILING, text)


def _when(event: Object) -> str:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("deprecatedLastTimestamp"), event.get("eventTime"))
    return str(next((each for each in times if each), event["metadata"].get("creationTimestamp")))


def _containers(pod: Object) -> Iterator[Mapping[str, Any]]:
    status = pod.get("status") or {}
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


def _waiting(container: Mapping[str, Any]) -> Mapping[str, Any]:
    waiting = (container.get("state") or {}).get("waiting")
    return waiting if isinstance(waiting, Mapping) else {}


def _ended(container: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Its last end, if it failed. One that runs again counts only when it failed before, too: it may just be slow."""
    state = container.get("state") or {}
    if "running" in state and container.get("restartCount", 0) < _AGAIN_AND_AGAIN:
        return None
    for each in (state, container.get("lastState") or {}):
        ended = each.get("terminated")
        if isinstance(ended, Mapping) and ended.get("exitCode") != 0:
            return ended
    return None
