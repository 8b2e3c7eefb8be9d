"""The Secret that hands the operator's key ring on to the pools of a namespace, and how their pods see it. Pure.

One Secret for all of them. It belongs to all of them, so that it goes with the last one. It says whose it is: two
installations that look after one namespace would else write over each other's keys.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tidemill_api import names
from tidemill_codec.ring import KeyRing
from tidemill_operator.clients import KeyRingOfPools

ANNOTATION_RING: Final = "tidemill.dev/key-ring"
"""Hash of the Secret as it was applied."""
_VOLUME: Final = "key-ring"

PoolRef = tuple[str, str]
"""A pool's name and uid."""


def key_ring_secret(
    namespace: str, name: str, installation: str, ring: KeyRing, pools: Iterable[PoolRef]
) -> dict[str, Any]:
    """The Secret as it is applied."""
    owners = [
        {"apiVersion": f"{names.GROUP}/v1alpha1", "kind": "WorkerPool", "name": pool, "uid": uid}
        for pool, uid in sorted(pools)
    ]
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": namespace,
        "labels": {names.LABEL_NAME: "tidemill-key-ring", names.LABEL_MANAGED_BY: "tidemill"},
        "annotations": {names.ANNOTATION_INSTALLATION: installation},
        "ownerReferences": owners,
    }
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": _encoded(ring), "metadata": metadata}
    metadata["annotations"] = {**metadata["annotations"], ANNOTATION_RING: names.content_hash(secret)}
    return secret


def with_key_ring(pod: dict[str, Any], ring: KeyRingOfPools) -> dict[str, Any]:
    """Our pod template, with the ring as files. It isn't part of the template's hash: a new ring rolls no pods."""
    worker, *others = pod["spec"]["containers"]
    mount = {"name": _VOLUME, "mountPath": names.KEYS_DIR, "readOnly": True}
    told = [
        {"name": names.KEYS_VARIABLE, "value": names.KEYS_DIR},
        {"name": names.SETTLE_VARIABLE, "value": f"{ring.settle:g}"},
    ]
    changed = {**worker, "env": [*worker.get("env", ()), *told], "volumeMounts": [*worker["volumeMounts"], mount]}
    volume = {"name": _VOLUME, "secret": {"secretName": ring.secret, "defaultMode": 0o440}}
    spec = {**pod["spec"], "containers": [changed, *others], "volumes": [*pod["spec"]["volumes"], volume]}
    return {**pod, "spec": spec}


def mark_of(secret: Mapping[str, Any]) -> str:
    """By what a Secret is known again: the hash that it was applied with; empty if it isn't ours."""
    metadata = secret.get("metadata") or {}
    if (metadata.get("labels") or {}).get(names.LABEL_MANAGED_BY) != "tidemill":
        return ""
    return str((metadata.get("annotations") or {}).get(ANNOTATION_RING, ""))


def is_tidemills(secret: Mapping[str, Any]) -> bool:
    """Whether a Secret was made by `key_ring_secret`, of whichever installation."""
    return bool(mark_of(secret))


def installation_of(secret: Mapping[str, Any]) -> str:
    """Whose it is; empty if it was made before that was said: then it is of who comes first."""
    return str(((secret.get("metadata") or {}).get("annotations") or {}).get(names.ANNOTATION_INSTALLATION, ""))


def is_ours(secret: Mapping[str, Any], wished: Mapping[str, Any]) -> bool:
    """Whether a Secret that is there is the wished one's former self, and not somebody else's."""
    return is_tidemills(secret) and installation_of(secret) in ("", installation_of(wished))


def refusal(secret: Mapping[str, Any]) -> str:
    """Why a Secret that is somebody else's is left as it is, and what to do; nothing of its content."""
    name = secret["metadata"]["name"]
    if not is_tidemills(secret):
        return (
            f"there is a Secret {name} that isn't Tidemill's and holds another key ring: remove or rename it, "
            "or start the operator with another --encryption-secret"
        )
    return (
        f"the Secret {name} holds the key ring of another installation, {installation_of(secret)}, that looks after "
        "this namespace too: start one of the two operators with another --encryption-secret (the chart's has the "
        "release's name in it, or fullnameOverride's); if that installation is no more, delete the Secret"
    )


def same_ring(secret: Mapping[str, Any], wished: Mapping[str, Any]) -> bool:
    """Whether two Secrets hold the same ring."""
    return bool((secret.get("data") or {}) == wished["data"])


def _encoded(ring: KeyRing) -> dict[str, str]:
    return {name: base64.b64encode(text.encode()).decode() for name, text in ring.entries().items()}
