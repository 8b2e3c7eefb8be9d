"""Carries out plans: one action after the other, up to the first that doesn't go through.

Every answer of a server goes into the store at once, so the echo of a write on the watch is no news.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, assert_never

from tidemill_api.errors import Unavailable
from tidemill_api.names import FINALIZER
from tidemill_operator.actions import (
    Action,
    AddFinalizer,
    ApplyKeyRing,
    ApplyObject,
    CancelRun,
    CreateSchedule,
    DeleteSchedule,
    LookAgain,
    ObjectRef,
    Outcome,
    RemoveFinalizer,
    SetDeletionCost,
    SetPause,
    StartRun,
    TerminateRun,
    UpdateSchedule,
)
from tidemill_operator.clients import (
    ConflictError,
    Kubernetes,
    KubernetesError,
    NamespaceEndsError,
    Object,
    RefusedError,
    Temporals,
)
from tidemill_operator.pool import key_ring
from tidemill_operator.pool.removal import DELETION_COST
from tidemill_operator.store import MemoryStore
from tidemill_operator.views import (
    ConnectionKey,
    ConnectionPendingError,
    ScheduleSeen,
    TemporalConflictError,
    TemporalRefusedError,
)

Learn = Callable[[str, Object | None, Object | None], None]
"""Told of each object that a write changed: kind, the object before and after (None: not there)."""


class Appliance:
    """What writes. One for all kinds."""

    def __init__(self, store: MemoryStore, kubernetes: Kubernetes, temporals: Temporals, learn: Learn) -> None:
        self._store = store
        self._kubernetes = kubernetes
        self._temporals = temporals
        self._learn = learn

    async def apply(self, actions: Sequence[Action]) -> tuple[Outcome, ...]:
        """What became of each action, in order; those behind the first failure aren't tried."""
        outcomes: list[Outcome] = []
        for action in actions:
            outcome = await self._outcome(action)
            outcomes.append(outcome)
            # In a namespace that is being deleted nothing is made any more, but what is there must still be let go.
            if outcome.result != "Done" and not outcome.ending:
                break
        return tuple(outcomes)

    async def write_status(self, kind: str, manifest: Object, status: Object) -> Object:
        """Make the object's status exactly this, if nobody wrote since `manifest` was read (else ConflictError)."""
        metadata = manifest["metadata"]
        patch = {
            "metadata": {"resourceVersion": metadata["resourceVersion"]},
            "status": difference(manifest.get("status") or {}, status),
        }
        written = await self._kubernetes.merge(kind, metadata["namespace"], metadata["name"], patch, status=True)
        self._put(kind, written)
        return written

    async def _outcome(self, action: Action) -> Outcome:
        try:
            return await self._carry_out(action)
        except (ConflictError, TemporalConflictError) as error:
            self._distrust(action)
            return Outcome(action, "Conflict", str(error))
        except (RefusedError, TemporalRefusedError) as error:
            return Outcome(action, "Refused", str(error), ending=isinstance(error, NamespaceEndsError))
        except (Unavailable, ConnectionPendingError) as error:
            return Outcome(action, "Unreachable", str(error))
        except KubernetesError as error:  # 404: gone in between
            return Outcome(action, "Conflict", str(error))

    async def _carry_out(self, action: Action) -> Outcome:
        match action:
            case AddFinalizer() | RemoveFinalizer():
                await self._finalizer(action)
            case ApplyObject():
                return await self._apply_object(action)
            case ApplyKeyRing():
                return await self._apply_key_ring(action)
            case SetDeletionCost():
                await self._set_deletion_cost(action)
            case CreateSchedule() | UpdateSchedule() | SetPause():
                return await self._write_schedule(action)
            case DeleteSchedule(connection=connection, schedule=schedule):
                await (await self._temporals.get(connection)).delete_schedule(schedule)
                self._store.drop_description(connection, schedule)
            case StartRun():
                return await self._start_run(action)
            case CancelRun(connection=connection, workflow_id=workflow_id, run_id=run_id):
                await (await self._temporals.get(connection)).cancel_run(workflow_id, run_id)
            case TerminateRun(connection=connection, workflow_id=workflow_id, run_id=run_id, why=why):
                await (await self._temporals.get(connection)).terminate_run(workflow_id, run_id, why)
            case LookAgain():
                pass
            case _:
                assert_never(action)
        return Outcome(action, "Done")

    # Kubernetes

    async def _finalizer(self, action: AddFinalizer | RemoveFinalizer) -> None:
        ref = action.object
        known = self._store.get(ref.kind, ref.namespace, ref.name)
        if known is None or known["metadata"]["uid"] != ref.uid:
            raise ConflictError(409, "Conflict", f"{ref.kind} {ref.namespace}/{ref.name} is gone or another one")
        metadata = known["metadata"]
        others = [name for name in metadata.get("finalizers") or () if name != FINALIZER]
        change: Object = {"resourceVersion": ref.resource_version or metadata["resourceVersion"]}
        match action:
            case AddFinalizer(owner=owner):
                change["finalizers"] = [*others, FINALIZER]
                if owner is not None:
                    change["ownerReferences"] = _with_owner(metadata.get("ownerReferences") or (), owner)
            case RemoveFinalizer():
                change["finalizers"] = others or None
        written = await self._kubernetes.merge(ref.kind, ref.namespace, ref.name, {"metadata": change})
        if metadata.get("deletionTimestamp") and not change["finalizers"]:
            self._forget(ref)
        else:
            self._put(ref.kind, written)

    async def _apply_object(self, action: ApplyObject) -> Outcome:
        manifest = dict(action.object)
        kind, metadata = manifest["kind"], manifest["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        found = self._store.get(kind, namespace, name)
        if found is None:
            found = await self._kubernetes.get(kind, namespace, name)
        if found is not None and not _belongs_to(found, action.owner_uid):
            return Outcome(
                action, "Refused", f"there is a {kind} {name} that isn't this pool's: rename or remove it, or the pool"
            )
        if found is not None:
            manifest["metadata"] = {**metadata, "uid": found["metadata"]["uid"]}
        written = await self._kubernetes.apply(kind, manifest)
        self._put(kind, written)
        return Outcome(action, "Done", object=written)

    async def _set_deletion_cost(self, action: SetDeletionCost) -> None:
        cost = str(action.cost) if action.cost is not None else None
        patch: Object = {"metadata": {"uid": action.uid, "annotations": {DELETION_COST: cost}}}
        try:
            await self._kubernetes.merge("Pod", action.namespace, action.pod, patch)
        except KubernetesError as error:
            if error.code not in (404, 409):  # it is gone, or another one by now
                raise

    async def _apply_key_ring(self, action: ApplyKeyRing) -> Outcome:
        """Secrets are neither watched nor kept: this one is asked for when it may have to be written."""
        wished = action.object
        found = await self._kubernetes.get("Secret", action.namespace, wished["metadata"]["name"])
        same = found is not None and key_ring.same_ring(found, wished)
        ours = found is None or key_ring.is_ours(found, wished)
        if found is not None and not ours and not same:
            return Outcome(action, "Refused", key_ring.refusal(found))
        mark = key_ring.mark_of(wished)
        if ours and not (found and same and key_ring.mark_of(found) == mark):
            uid = {"uid": found["metadata"]["uid"]} if found is not None else {}
            await self._kubernetes.apply("Secret", {**wished, "metadata": {**wished["metadata"], **uid}})
        self._store.keep_key_ring(action.namespace, mark)
        return Outcome(action, "Done")

    def _put(self, kind: str, written: Object) -> None:
        metadata = written["metadata"]
        before = self._store.get(kind, metadata["namespace"], metadata["name"])
        if self._store.put(kind, written):
            self._learn(kind, before, written)

    def _forget(self, ref: ObjectRef) -> None:
        before = self._store.remove(ref.kind, ref.namespace, ref.name, ref.uid)
        if before is not None:
            self._learn(ref.kind, before, None)

    # Temporal

    async def _write_schedule(self, action: CreateSchedule | UpdateSchedule | SetPause) -> Outcome:
        temporal = await self._temporals.get(action.connection)
        seen: ScheduleSeen
        match action:
            case CreateSchedule(wish=wish):
                seen = await temporal.create_schedule(wish, paused=action.paused, note=action.note)
            case UpdateSchedule(wish=wish):
                seen = await temporal.update_schedule(wish, paused=action.paused, note=action.note, token=action.token)
            case SetPause(schedule=schedule):
                seen = await temporal.set_pause(schedule, paused=action.paused, note=action.note, token=action.token)
        self._store.keep_description(action.connection, seen)
        return Outcome(action, "Done", schedule=seen)

    async def _start_run(self, action: StartRun) -> Outcome:
        temporal = await self._temporals.get(action.connection)
        run = await temporal.start_run(
            action.workflow_id, action.task_queue, action.input, action.pipeline, action.asked_by, action.workflow
        )
        view = self._store.temporal(action.connection)
        if action.asked_by is not None:
            view.runs[action.workflow_id] = run
        elif run.closed is not None:
            view.found.append(run)
        # To be told at once: a sweep that sees the same run finds no news in it.
        return Outcome(action, "Done", run=run)

    def _distrust(self, action: Action) -> None:
        """After a conflict what is remembered of the thing is worth nothing: it is read anew."""
        connection: ConnectionKey
        match action:
            case CreateSchedule(connection=connection, wish=wish) | UpdateSchedule(connection=connection, wish=wish):
                self._store.drop_description(connection, wish.id)
            case SetPause(connection=connection, schedule=schedule):
                self._store.drop_description(connection, schedule)
            case ApplyObject(object=manifest):
                metadata = manifest["metadata"]
                self._store.remove(manifest["kind"], metadata["namespace"], metadata["name"])
            case _:
                pass


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> Object:
    """The JSON merge patch (RFC 7396) that makes `old` into `new`; empty if they are equal."""
    patch: Object = {name: None for name in old if name not in new}
    for name, value in new.items():
        before = old.get(name)
        if name in old and before == value:
            continue
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            patch[name] = difference(before, value)
        else:
            patch[name] = value
    return patch


def _belongs_to(child: Object, uid: str) -> bool:
    return any(owner.get("uid") == uid for owner in child["metadata"].get("ownerReferences") or ())


def _with_owner(owners: Sequence[Mapping[str, Any]], owner: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [other for other in owners if other.get("uid") != owner["uid"]] + [owner]
