"""What is known, in memory: the latest objects of Kubernetes and the last sweep of each Temporal.

The store makes no request. Watch events, lists and the answers to our own writes all come in by `put`; of two
versions of an object the newer one stays, whichever arrives last.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from tidemill_operator.clients import Key, Object, PipelineInTemporal
from tidemill_operator.queues import Queues
from tidemill_operator.reading import name_at, predecessors
from tidemill_operator.views import ConnectionKey, RunSeen, ScheduleSeen

_NOTHING: Final = PipelineInTemporal()
_GRAVES: Final = 10_000


@dataclass(slots=True)
class TemporalView:
    """The last sweep of one Temporal."""

    pipelines: dict[str, PipelineInTemporal] = field(default_factory=dict)
    """By Schedule id, which is the pipeline's id."""
    runs: dict[str, RunSeen] = field(default_factory=dict)
    """Runs by hand, the newest execution by workflow id."""
    descriptions: dict[str, ScheduleSeen] = field(default_factory=dict)
    doubted: set[str] = field(default_factory=set)
    """Schedules that must be asked for, whatever the sweep shows."""
    found: list[RunSeen] = field(default_factory=list)
    """Ended runs that a start has found under its id: the next sweep notes their times, no listing may show them."""
    swept: bool = False
    queues: Queues | None = None
    """Of pools that are scaled; None: there is none, or it wasn't looked for yet, or Temporal is silent."""
    silent: bool = False
    """The last look got no answer."""
    peaks: dict[str, dict[str, int]] = field(default_factory=dict)
    """Chunks of the last runs, by pipeline and run id."""


class MemoryStore:
    """The latest known objects, indexed by reference, and Temporal's side. `clients.Store` says what is promised."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[tuple[str, str], Object]] = defaultdict(dict)
        self._users: dict[Key, set[Key]] = defaultdict(set)  # what is referred to -> who refers to it
        self._followers: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._gone: dict[str, None] = {}  # uids of removed objects, oldest first
        self._temporal: dict[ConnectionKey, TemporalView] = {}
        self._key_rings: dict[str, str] = {}
        self._memories: dict[str, object] = {}

    # Kubernetes

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The latest known object; None: unknown."""
        return self._objects[kind].get((namespace, name))

    def objects(self, kind: str) -> Iterator[Object]:
        """All known objects of a kind; the store may change meanwhile."""
        return iter(tuple(self._objects[kind].values()))

    def keys(self, kind: str) -> tuple[Key, ...]:
        """Keys of all known objects of a kind."""
        return tuple(Key(kind, namespace, name) for namespace, name in self._objects[kind])

    def put(self, kind: str, manifest: Object) -> bool:
        """Keep an object, unless a newer version of it is known. True if it was news."""
        metadata = manifest["metadata"]
        place = metadata.get("namespace", ""), metadata["name"]
        known = self._objects[kind].get(place)
        if (known is not None and version(manifest) <= version(known)) or metadata.get("uid") in self._gone:
            return False
        metadata.pop("managedFields", None)
        self._reindex(kind, known, manifest)
        self._objects[kind][place] = manifest
        return True

    def remove(self, kind: str, namespace: str, name: str, uid: str | None = None) -> Object | None:
        """Forget an object that is gone (only if it has that uid, where one is given); what was known of it."""
        known = self._objects[kind].get((namespace, name))
        if uid is not None:
            self._bury(uid)
        if known is None or (uid is not None and known["metadata"].get("uid") != uid):
            return None
        self._memories.pop(known["metadata"].get("uid", ""), None)
        del self._objects[kind][(namespace, name)]
        self._reindex(kind, known, None)
        return known

    def pipelines_of_pool(self, namespace: str, pool: str) -> tuple[str, ...]:
        """Names of the pipelines that use a pool, sorted."""
        return self._names_of(Key("WorkerPool", namespace, pool))

    def runs_of_pipeline(self, namespace: str, pipeline: str) -> tuple[str, ...]:
        """Names of the DataPipelineRuns of a pipeline, sorted."""
        return self._names_of(Key("DataPipeline", namespace, pipeline))

    def followers(self, namespace: str, pipeline: str) -> tuple[str, ...]:
        """Names of the pipelines that follow one, sorted."""
        return tuple(sorted(self._followers.get((namespace, pipeline), ())))

    def anybody_follows(self) -> bool:
        """Whether any pipeline follows others."""
        return bool(self._followers)

    def keeps_times(self, pipeline: str) -> bool:
        """Whether a pipeline, by its Schedule's id, follows others or is followed."""
        _, namespace, name = pipeline.split("/") if pipeline.count("/") == 2 else ("", "", "")
        known = self.get("DataPipeline", namespace, name)
        return bool(self._followers.get((namespace, name)) or (known is not None and predecessors(known)))

    def pools_of_connection(self, namespace: str, connection: str) -> tuple[str, ...]:
        """Names of the pools that use a TemporalConnection, sorted."""
        return self._names_of(Key("TemporalConnection", namespace, connection))

    def pools_of_namespace(self, namespace: str) -> tuple[tuple[str, str], ...]:
        """Name and uid of each WorkerPool in a namespace."""
        pools = [pool["metadata"] for pool in self.objects("WorkerPool") if pool["metadata"]["namespace"] == namespace]
        return tuple(sorted((metadata["name"], metadata["uid"]) for metadata in pools))

    def key_ring(self, namespace: str) -> str | None:
        """Mark of the key ring that was handed to a namespace's pools; None: unknown, so look."""
        return self._key_rings.get(namespace)

    def keep_key_ring(self, namespace: str, mark: str) -> None:
        """Remember that it was handed over."""
        self._key_rings[namespace] = mark

    def forget_key_rings(self) -> None:
        """Somebody may have changed them: the next pass of each pool looks."""
        self._key_rings.clear()

    def _bury(self, uid: str) -> None:
        """Remember that it is gone: the late answer to a write must not bring it back."""
        self._gone[uid] = None
        if len(self._gone) > _GRAVES:
            del self._gone[next(iter(self._gone))]

    def _names_of(self, used: Key) -> tuple[str, ...]:
        return tuple(sorted(user.name for user in self._users.get(used, ())))

    def _reindex(self, kind: str, old: Object | None, new: Object | None) -> None:
        if kind == "DataPipeline":
            self._reindex_followers(old, new)
        before = reference(kind, old) if old is not None else None
        after = reference(kind, new) if new is not None else None
        if before == after:
            return
        if before is not None and old is not None:
            self._users[before].discard(key_of(kind, old))
            if not self._users[before]:
                del self._users[before]
        if after is not None and new is not None:
            self._users[after].add(key_of(kind, new))

    def _reindex_followers(self, old: Object | None, new: Object | None) -> None:
        if old is not None:
            for name in predecessors(old):
                place = old["metadata"].get("namespace", ""), name
                self._followers[place].discard(old["metadata"]["name"])
                if not self._followers[place]:
                    del self._followers[place]
        if new is not None:
            for name in predecessors(new):
                self._followers[new["metadata"].get("namespace", ""), name].add(new["metadata"]["name"])

    # Temporal

    def temporal(self, connection: ConnectionKey) -> TemporalView:
        """What is known of one Temporal; the sweep writes it."""
        return self._temporal.setdefault(connection, TemporalView())

    def temporals(self) -> tuple[ConnectionKey, ...]:
        """Every Temporal of which something is known."""
        return tuple(self._temporal)

    def forget_temporal(self, in_use: Iterable[ConnectionKey]) -> None:
        """Drop what is known of Temporals that are no longer in use."""
        for gone in set(self._temporal) - set(in_use):
            del self._temporal[gone]

    def in_temporal(self, connection: ConnectionKey, schedule: str) -> PipelineInTemporal:
        """What the last sweep saw of the pipeline with that Schedule id."""
        return self.temporal(connection).pipelines.get(schedule, _NOTHING)

    def swept(self, connection: ConnectionKey) -> bool:
        """Whether a sweep of that Temporal has succeeded."""
        return self.temporal(connection).swept

    def run_in_temporal(self, connection: ConnectionKey, workflow_id: str) -> RunSeen | None:
        """The newest execution of a run by hand that a sweep saw."""
        return self.temporal(connection).runs.get(workflow_id)

    def description(self, connection: ConnectionKey, schedule: str) -> ScheduleSeen | None:
        """The last description of a Schedule; None: describe it."""
        return self.temporal(connection).descriptions.get(schedule)

    def keep_description(self, connection: ConnectionKey, description: ScheduleSeen) -> None:
        """Keep what a describe call said."""
        view = self.temporal(connection)
        view.descriptions[description.id] = description
        view.doubted.discard(description.id)

    def drop_description(self, connection: ConnectionKey, schedule: str) -> None:
        """Forget a description: the next look asks the server."""
        view = self.temporal(connection)
        view.descriptions.pop(schedule, None)
        view.doubted.add(schedule)

    def surely_absent(self, connection: ConnectionKey, schedule: str) -> bool:
        """Whether the sweep is reason enough to take a Schedule for absent: none is listed, and nothing speaks for one.

        If there is one all the same (made a moment ago), making it is a conflict, and then it is asked for.
        """
        view = self.temporal(connection)
        seen = view.pipelines.get(schedule, _NOTHING)
        return view.swept and seen.entry is None and schedule not in view.doubted

    def queues(self, connection: ConnectionKey) -> Queues | None:
        """What the last sweep saw of the task queues of pools that are scaled."""
        return self.temporal(connection).queues

    def silent(self, connection: ConnectionKey) -> bool:
        """Whether the last sweep got no answer."""
        return self.temporal(connection).silent

    def peak(self, connection: ConnectionKey, schedule: str) -> int | None:
        """The most chunks of a pipeline's last runs; None: none has ended yet."""
        return max(self.temporal(connection).peaks.get(schedule, {}).values(), default=None)

    def remembered(self, uid: str) -> object | None:
        """What the last look at an object left for the next one."""
        return self._memories.get(uid)

    def remember(self, uid: str, memory: object) -> None:
        """Keep it until the object is gone."""
        self._memories[uid] = memory

    def connections_with(self, schedule: str) -> tuple[ConnectionKey, ...]:
        """Every Temporal in which the last sweep saw a Schedule of this id."""
        return tuple(
            connection
            for connection, view in self._temporal.items()
            if (seen := view.pipelines.get(schedule)) is not None and seen.entry is not None
        )


def version(manifest: Mapping[str, object]) -> int:
    """An object's resourceVersion as a number (the API server promises that these compare, since 1.35)."""
    metadata = manifest["metadata"]
    text = metadata.get("resourceVersion", "") if isinstance(metadata, Mapping) else ""
    return int(text) if text.isdigit() else 0


def key_of(kind: str, manifest: Object) -> Key:
    """An object's key."""
    metadata = manifest["metadata"]
    return Key(kind, metadata.get("namespace", ""), metadata["name"])


def reference(kind: str, manifest: Object) -> Key | None:
    """The one object of ours that an object refers to, if any; robust against any JSON."""
    spec = manifest.get("spec")
    match kind:
        case "DataPipeline":
            target, name = "WorkerPool", name_at(spec, "workerPoolRef")
        case "DataPipelineRun":
            target, name = "DataPipeline", name_at(spec, "pipelineRef")
        case "WorkerPool":
            target, name = "TemporalConnection", name_at(spec, "temporal", "connectionRef")
        case _:
            return None
    return Key(target, manifest["metadata"].get("namespace", ""), name) if name else None
