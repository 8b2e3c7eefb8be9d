"""Encryption in the operator's decisions: the ring of the pools, Schedules that follow the key, and no key shown."""

from __future__ import annotations

import asyncio
import base64
import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload

from tests.support.keys import MountedRing, new_key
from tests.unit.operator_world import NOW, PIPELINE, SETTINGS, pipeline, pool, schedule
from tidemill_api.errors import ConfigError, UnknownKey
from tidemill_api.names import ANNOTATION_INSTALLATION, FINALIZER, POD_VARIABLE
from tidemill_codec.folder import FixedKeys, KeyFolder
from tidemill_codec.ring import KeyRing, ring_of
from tidemill_operator.actions import Action, ApplyKeyRing, ApplyObject, UpdateSchedule
from tidemill_operator.adapters.sealing import Sealing
from tidemill_operator.apply import Appliance
from tidemill_operator.clients import Key, KeyRingOfPools, Object
from tidemill_operator.metrics import Metrics
from tidemill_operator.pipeline import desire as pipeline_desire
from tidemill_operator.pipeline import observe as pipeline_observe
from tidemill_operator.pipeline import plan as pipeline_plan
from tidemill_operator.pool import desire as pool_desire
from tidemill_operator.pool import observe as pool_observe
from tidemill_operator.pool import plan as pool_plan
from tidemill_operator.pool.key_ring import ANNOTATION_RING, key_ring_secret, mark_of
from tidemill_operator.rotation import RATE, Rotation
from tidemill_operator.settings import parse_settings
from tidemill_operator.store import MemoryStore

K1, K2 = new_key(), new_key()
ENCRYPTED = replace(SETTINGS, key_ring=KeyRingOfPools("keys", 120))
ONE, BOTH = ring_of({"k1": K1, "active": "k1"}, "t"), ring_of({"k1": K1, "k2": K2, "active": "k2"}, "t")
SECRETS = (K1, K2, base64.b64encode(K1.encode()).decode())


def seen_pool(
    ring: KeyRing | None = ONE, handed_on: str | None = None, *neighbours: tuple[str, str], **metadata: Any
) -> pool_observe.Observed:
    return pool_observe.Observed(
        pool(**metadata),
        None,
        None,
        False,
        None,
        {},
        (),
        key_ring=ring,
        handed_on=handed_on,
        neighbours=neighbours or (("etl", "uid-w"),),
    )


def planned(seen: pool_observe.Observed) -> tuple[Action, ...]:
    return pool_plan.plan(pool_desire.desire(seen, ENCRYPTED), seen, NOW)


def rings(actions: tuple[Action, ...]) -> list[Mapping[str, Any]]:
    return [action.object for action in actions if isinstance(action, ApplyKeyRing)]


def test_a_pool_gets_the_ring_before_the_pods_that_mount_it() -> None:
    actions = planned(seen_pool(ONE, None, ("etl", "uid-w"), ("other", "uid-o")))

    (secret,) = rings(actions)
    kinds = [type(action).__name__ for action in actions]
    assert kinds.index("ApplyKeyRing") < kinds.index("ApplyObject")
    assert {name: base64.b64decode(text).decode() for name, text in secret["data"].items()} == ONE.entries()
    assert secret["metadata"]["name"] == "keys"
    assert [(each["name"], each["uid"]) for each in secret["metadata"]["ownerReferences"]] == [
        ("etl", "uid-w"),
        ("other", "uid-o"),
    ]
    assert not any(each.get("controller") for each in secret["metadata"]["ownerReferences"])
    pod = next(
        action.object["spec"]["template"]["spec"]
        for action in actions
        if isinstance(action, ApplyObject) and action.object["kind"] == "Deployment"
    )
    assert {"name": "key-ring", "secret": {"secretName": "keys", "defaultMode": 0o440}} in pod["volumes"]
    assert {"name": "key-ring", "mountPath": "/etc/tidemill-keys", "readOnly": True} in pod["containers"][0][
        "volumeMounts"
    ]
    assert [each for each in pod["containers"][0]["env"] if each["name"] != POD_VARIABLE] == [
        {"name": "TIDEMILL_ENCRYPTION_KEYS", "value": "/etc/tidemill-keys"},
        {"name": "TIDEMILL_ENCRYPTION_SETTLE", "value": "120"},
    ]


def test_the_ring_is_handed_on_again_when_it_or_the_pools_change() -> None:
    (first,) = rings(planned(seen_pool()))
    mark = mark_of(first)

    assert rings(planned(seen_pool(ONE, mark))) == []
    assert len(rings(planned(seen_pool(BOTH, mark)))) == 1
    assert len(rings(planned(seen_pool(ONE, mark, ("etl", "uid-w"), ("other", "uid-o"))))) == 1


def test_a_new_ring_rolls_no_pods() -> None:
    def deployment(ring: KeyRing) -> Mapping[str, Any]:
        return next(
            action.object
            for action in planned(seen_pool(ring))
            if isinstance(action, ApplyObject) and action.object["kind"] == "Deployment"
        )

    assert deployment(ONE) == deployment(BOTH)


def test_a_pool_that_is_going_keeps_its_ring_to_the_end_and_is_not_held_up_by_it() -> None:
    going: dict[str, Any] = {"deletionTimestamp": "2026-05-01T11:59:00Z"}

    def kinds(seen: pool_observe.Observed) -> list[str]:
        return [type(action).__name__ for action in planned(seen)]

    busy = replace(seen_pool(finalizers=[FINALIZER], **going), pipelines=("flights",))
    assert kinds(busy) == ["LookAgain", "ApplyKeyRing"]
    assert kinds(seen_pool(finalizers=[FINALIZER], **going)) == ["RemoveFinalizer"]
    assert kinds(seen_pool(finalizers=[], **going)) == []


def test_without_keys_nothing_changes() -> None:
    seen = seen_pool(None)

    text = str(pool_plan.plan(pool_desire.desire(seen, SETTINGS), seen, NOW))
    assert "ENCRYPTION" not in text
    assert "key-ring" not in text


@pytest.mark.parametrize(
    ("sealed_with", "seals_with", "made", "expected"),
    [
        ("k1", "k1", "made-1", []),
        (None, None, "made-1", []),
        ("k1", "k2", "made-1", [False]),
        (None, "k1", "made-1", [False]),
        ("k1", None, "made-1", [False]),
        ("k1", "k1", "made-2", [True]),
        ("k1", "k2", "made-2", [True]),
    ],
    ids=["in step", "never encrypted", "rotated", "turned on", "turned off", "drifted", "drifted and rotated"],
)
def test_a_schedule_follows_the_key_that_writes(
    sealed_with: str | None, seals_with: str | None, made: str, expected: list[bool]
) -> None:
    found = schedule(sealed_with=sealed_with, made=made)
    plain = pipeline()
    seen = pipeline_observe.Observed(plain, pool(), pipeline_observe.There(None, found), seals_with=seals_with)
    wished = pipeline_desire.desire(seen, SETTINGS).reading.wish_hash
    told = plain | {"status": {"schedule": {"id": PIPELINE.schedule, "wished": wished, "made": "made-1"}}}
    seen = replace(seen, manifest=told)

    actions = pipeline_plan.plan(pipeline_desire.desire(seen, SETTINGS), seen, NOW)

    assert [action.repairs_drift for action in actions if isinstance(action, UpdateSchedule)] == expected


class Secrets:
    """An API server with at most one Secret."""

    def __init__(self, found: Object | None) -> None:
        self.found = found
        self.applied: list[Object] = []

    async def get(self, kind: str, namespace: str, name: str) -> Object | None:
        assert (kind, namespace, name) == ("Secret", "travel", "keys")
        return self.found

    async def apply(self, kind: str, manifest: Object) -> Object:
        assert kind == "Secret"
        self.applied.append(manifest)
        return manifest


def secret(ring: KeyRing, installation: str = "inst", **changes: Any) -> Object:
    made = key_ring_secret("travel", "keys", installation, ring, [("etl", "uid-w")])
    return {**made, "metadata": {**made["metadata"], "uid": "uid-s", **changes}}


@pytest.mark.parametrize(
    ("found", "result", "writes"),
    [
        (None, "Done", 1),
        (secret(BOTH), "Done", 0),
        (secret(ONE), "Done", 1),
        ({**secret(BOTH), "data": {}}, "Done", 1),
        (secret(BOTH, labels={}), "Done", 0),
        (secret(ONE, labels={}), "Refused", 0),
        (secret(BOTH, "another"), "Done", 0),
        (secret(ONE, "another"), "Refused", 0),
        (secret(ONE, annotations={ANNOTATION_RING: "of before"}), "Done", 1),
    ],
    ids=[
        "there is none",
        "it is there",
        "an older ring",
        "ours, but emptied by somebody",
        "another's with the same ring",
        "another's with another ring",
        "another installation's with the same ring",
        "another installation's with another ring",
        "of before it was said whose",
    ],
)
def test_the_ring_is_written_only_where_it_must_and_may(found: Object | None, result: str, writes: int) -> None:
    server, store = Secrets(copy.deepcopy(found)), MemoryStore()
    wished = key_ring_secret("travel", "keys", "inst", BOTH, [("etl", "uid-w")])
    nothing: Any = None
    appliance = Appliance(store, server, nothing, lambda _kind, _old, _new: None)  # type: ignore[arg-type]  # a part of it

    (outcome,) = asyncio.run(appliance.apply([ApplyKeyRing("travel", wished)]))

    assert (outcome.result, len(server.applied)) == (result, writes)
    if found is not None and server.applied:
        assert server.applied[0]["metadata"]["uid"] == "uid-s"
    assert store.key_ring("travel") == (mark_of(wished) if result == "Done" else None)
    assert not any(text in outcome.message + repr(outcome) for text in SECRETS)
    if server.applied:
        assert server.applied[0]["metadata"]["annotations"][ANNOTATION_INSTALLATION] == "inst"


def test_nothing_that_may_be_printed_holds_a_key() -> None:
    seen = seen_pool(BOTH)
    desired = pool_desire.desire(seen, ENCRYPTED)

    shown = repr(seen) + repr(desired) + repr(pool_plan.plan(desired, seen, NOW)) + repr(ENCRYPTED)

    assert [text for text in SECRETS if text in shown] == []
    assert repr(base64.b64decode(K1))[2:-1] not in shown


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_rotation_looks_at_all_pipelines_again_at_a_bounded_rate(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    mount, clock, metrics, store = MountedRing(tmp_path, k1=K1, active="k1"), Clock(), Metrics(), MemoryStore()
    keys = KeyFolder(tmp_path, settle=100, clock=clock)
    for number in range(50):
        manifest = pipeline()
        store.put(
            "DataPipeline",
            {**manifest, "metadata": {**manifest["metadata"], "name": f"p{number:02}", "uid": str(number)}},
        )
        store.keep_description(None, schedule(id=f"inst/travel/p{number:02}", sealed_with="k1"))
    store.put("WorkerPool", pool())
    queued: list[tuple[Key, float]] = []
    rotation = Rotation(keys, store, lambda key, delay: queued.append((key, delay)), metrics)
    rotation.look()
    assert queued == []

    mount.renew({"k1": K1, "k2": K2, "active": "k2"})
    clock.now += 1
    rotation.look()
    assert [key.kind for key, _ in queued] == ["WorkerPool"], "the pools have it first"
    clock.now += 100
    rotation.look()

    delays = [delay for key, delay in queued if key.kind == "DataPipeline"]
    assert len(delays) == 50
    assert max(delays) == 49 / RATE
    text = metrics.text().decode()
    assert 'tidemill_operator_schedules_sealed{key="k1"} 50.0' in text
    assert 'tidemill_operator_schedules_sealed{key="k2"} 0.0' in text
    queued.clear()
    rotation.look()
    assert queued == []
    assert "no Schedule is left" not in caplog.text
    for number in range(50):
        store.keep_description(None, schedule(id=f"inst/travel/p{number:02}", sealed_with="k2"))
    for _ in range(3):
        rotation.look()
    assert caplog.text.count("no Schedule is left on another key than k2") == 1


def test_settings_of_the_encryption(tmp_path: Path) -> None:
    MountedRing(tmp_path, k1=K1, active="k1")
    given = ["--installation", "i"]

    assert parse_settings(given, {}).encryption is None
    assert parse_settings(given, {}).decisions.key_ring is None
    settings = parse_settings(
        [*given, "--encryption-keys", str(tmp_path), "--encryption-secret", "ring", "--encryption-settle", "5"], {}
    )
    assert settings.encryption is not None
    assert settings.encryption.keys == tmp_path
    assert settings.decisions.key_ring == KeyRingOfPools("ring", 5)
    by_variable = parse_settings(given, {"TIDEMILL_ENCRYPTION_KEYS": str(tmp_path)})
    assert by_variable.decisions.key_ring == KeyRingOfPools("tidemill-encryption-keys", 120)
    for flag, value, says in (
        ("--encryption-keys", str(tmp_path / "gone"), "there is no folder"),
        ("--encryption-secret", "Not_a_name", "must be the name of a Secret"),
        ("--encryption-settle", "soon", "must be a number of seconds"),
    ):
        with pytest.raises(ConfigError, match=rf"{flag} \(or TIDEMILL_.*{says}"):
            parse_settings([*given, flag, value], {})


def test_what_is_encrypted_reads_as_unknown_to_an_operator_without_keys() -> None:
    with_keys, without = Sealing(FixedKeys(ONE), "default"), Sealing()
    sealed = with_keys.seal("the wish")

    assert with_keys.value(sealed) == "the wish"
    assert with_keys.proof(sealed) == "the wish"
    with pytest.raises(UnknownKey, match="encrypted with the key 'k1', and the operator was given no keys"):
        without.value(sealed)
    assert without.proof(sealed) == without.proof(sealed) != with_keys.proof(with_keys.seal("another"))
    assert without.value(without.seal({"a": 1})) == {"a": 1}
    assert without.value(Payload(metadata={"encoding": b"binary/plain"}, data=b"x")) is None
    assert without.value(Payload(metadata={"encoding": b"json/plain"}, data=b"{")) is None
