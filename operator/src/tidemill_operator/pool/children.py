"""The objects that a pool owns: ConfigMap, ServiceAccount and Deployment, as manifests. Pure.

The pod meets the restricted Pod Security profile, unless a template says otherwise, gets no API token, and sees of each
Secret only the keys that its connections name, as files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from tidemill_api import names
from tidemill_api.contract import WorkerConfig
from tidemill_api.v1alpha1 import WorkerPoolSpec
from tidemill_operator.clients import KeyRingOfPools
from tidemill_operator.pool.confinement import RESTRICTED, with_room_for_others
from tidemill_operator.pool.key_ring import with_key_ring
from tidemill_operator.pool.network import network_policy
from tidemill_operator.pool.overlay import overlay

ANNOTATION_WISHED: Final = "tidemill.dev/wished"
"""On each child: hash of the manifest that was applied."""
ANNOTATION_REPLICAS: Final = "tidemill.dev/replicas"
"""On the Deployment of a pool that is scaled: how many workers were decided on, whatever others make of it."""
ANNOTATION_CONFIG: Final = "tidemill.dev/config"
"""On the pods: hash of their configuration, so that a change of it rolls them."""
HEALTH_PORT: Final = 9464
CONTAINER: Final = "worker"
_USER: Final = 65532
_GRACE: Final = 60
"""Seconds that a pod has for its end, unless `template` says otherwise."""
_LAST_STEPS: Final = 10
"""So many of these the worker needs after its chunks have ended."""
_LOST: Final = 30
"""Seconds after which pods of a node that doesn't answer are replaced; Kubernetes' own default is 300."""

SecretKey = tuple[str, str]
"""Name of a Secret, and a key in it."""


def selector(pool: str) -> dict[str, str]:
    """Labels by which the pool's pods are found; they never change."""
    return {names.LABEL_COMPONENT: "worker", names.LABEL_POOL: pool}


def labels(pool: str) -> dict[str, str]:
    """Labels of all children. None is one that GitOps tools claim for themselves."""
    return {names.LABEL_NAME: "tidemill-worker", names.LABEL_MANAGED_BY: "tidemill", **selector(pool)}


def owner(pool: str, uid: str) -> dict[str, Any]:
    """The ownerReference that makes children go with their pool."""
    return {
        "apiVersion": "tidemill.dev/v1alpha1",
        "kind": "WorkerPool",
        "name": pool,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def children(
    metadata: Mapping[str, Any],
    spec: WorkerPoolSpec,
    config: WorkerConfig,
    secrets: Iterable[SecretKey],
    image: str,
    key_ring: KeyRingOfPools | None = None,
) -> tuple[dict[str, Any], ...]:
    """All children of the pool with this metadata, in the order in which they are applied."""
    namespace, pool, uid = metadata["namespace"], metadata["name"], metadata["uid"]
    told = config.model_dump(mode="json", by_alias=True, exclude_none=True)
    text = orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode()
    name = names.pool_child(pool)
    pod = _pod(pool, spec, secrets, image)
    if key_ring is not None:
        pod = with_key_ring(pod, key_ring)
    made = (
        {"apiVersion": "v1", "kind": "ConfigMap", "data": {names.CONFIG_FILE: text}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "automountServiceAccountToken": False},
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "spec": network_policy(selector(pool), spec.egress, config.temporal.address, HEALTH_PORT),
        },
        {"apiVersion": "apps/v1", "kind": "Deployment", "spec": _deployment(pool, spec, text, pod)},
    )
    annotations = {"ServiceAccount": spec.service_account.annotations}
    return tuple(
        _marked(child, namespace, name, pool, uid, annotations.get(str(child["kind"])) or {}) for child in made
    )


def _marked(
    child: dict[str, Any], namespace: str, name: str, pool: str, uid: str, annotations: dict[str, str]
) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": namespace,
        "labels": labels(pool),
        "annotations": dict(annotations),
        "ownerReferences": [owner(pool, uid)],
    }
    marked = {**child, "metadata": metadata}
    metadata["annotations"][ANNOTATION_WISHED] = names.content_hash(marked)
    return marked


def with_replicas(deployment: Mapping[str, Any], replicas: int) -> dict[str, Any]:
    """The Deployment with a number of workers that scaling came to."""
    metadata = deployment["metadata"]
    annotations = {**metadata["annotations"], ANNOTATION_REPLICAS: str(replicas)}
    annotations.pop(ANNOTATION_WISHED)
    made = {
        **deployment,
        "metadata": {**metadata, "annotations": annotations},
        "spec": {**deployment["spec"], "replicas": replicas},
    }
    annotations[ANNOTATION_WISHED] = names.content_hash(made)
    return made


def _deployment(pool: str, spec: WorkerPoolSpec, config: str, pod: dict[str, Any]) -> dict[str, Any]:
    laid = overlay(with_room_for_others(pod, spec.template), spec.template)
    template = {**laid, "spec": _tolerant(laid.get("spec"))}
    metadata = template.get("metadata") or {}
    return {
        "replicas": spec.replicas,
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": selector(pool)},
        "template": {
            **template,
            # Whatever is laid over: the Deployment must find its pods, and a new configuration must roll them.
            "metadata": {
                **metadata,
                "labels": {**(metadata.get("labels") or {}), **selector(pool)},
                "annotations": {**(metadata.get("annotations") or {}), ANNOTATION_CONFIG: names.content_hash(config)},
            },
        },
    }


def _pod(pool: str, spec: WorkerPoolSpec, secrets: Iterable[SecretKey], image: str) -> dict[str, Any]:
    return {
        "metadata": {"labels": labels(pool)},
        "spec": {
            "serviceAccountName": names.pool_child(pool),
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": _grace(spec),
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": _USER,
                "runAsGroup": _USER,
                "fsGroup": _USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_container(spec, image)],
            "volumes": _volumes(pool, secrets, whole_secrets(spec)),
        },
    }


def _container(spec: WorkerPoolSpec, image: str) -> dict[str, Any]:
    return {
        "name": CONTAINER,
        "image": spec.image or image,
        "command": ["python", "-m", "tidemill_worker"],
        "args": [
            *("--config", f"{names.CONFIG_DIR}/{names.CONFIG_FILE}"),
            *("--secrets", names.SECRETS_DIR),
            *("--health-address", f"0.0.0.0:{HEALTH_PORT}"),
            *("--grace", str(max(0, _grace(spec) - _LAST_STEPS))),
        ],
        # It leaves its last words itself; the end of its log may say what isn't for status and Events.
        "terminationMessagePolicy": "File",
        "env": [{"name": names.POD_VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "ports": [{"name": "health", "containerPort": HEALTH_PORT, "protocol": "TCP"}],
        "resources": spec.resources,
        "securityContext": dict(RESTRICTED),
        "startupProbe": {"httpGet": {"path": "/healthz", "port": "health"}, "periodSeconds": 1, "failureThreshold": 60},
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": "health"}, "periodSeconds": 10, "timeoutSeconds": 5},
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "health"}, "periodSeconds": 5, "timeoutSeconds": 5},
        "volumeMounts": [
            {"name": "tidemill", "mountPath": names.CONFIG_DIR, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod's own
            *(
                {"name": f"secret-{place}", "mountPath": f"{names.WHOLE_SECRETS_DIR}/{secret}", "readOnly": True}
                for place, secret in enumerate(whole_secrets(spec))
            ),
        ],
    }


def _grace(spec: WorkerPoolSpec) -> int:
    """Seconds that a pod has for its end: the worker must know them. What is no number the API server refuses."""
    pod = spec.template.get("spec")
    asked = pod.get("terminationGracePeriodSeconds") if isinstance(pod, Mapping) else None
    return asked if isinstance(asked, int) else _GRACE


def _tolerant(pod: Any) -> Any:
    """The pod, and for how long it bears a lost node: workers hold nothing that another one can't take up."""
    if not isinstance(pod, Mapping):
        return pod  # the API server says what is wrong with it
    given = pod.get("tolerations") or []
    added = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _LOST}
        for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
        if isinstance(given, list) and not any(_tolerates(each, key) for each in given)
    ]
    return {**pod, "tolerations": [*given, *added]} if added else pod


def whole_secrets(spec: WorkerPoolSpec) -> tuple[str, ...]:
    """Names of the Secrets of which workers get all keys, sorted."""
    found = {c.http.headers_from.secret_ref.name for c in spec.connections if c.http and c.http.headers_from}
    return tuple(sorted(found))


def _tolerates(toleration: Any, taint: str) -> bool:
    return isinstance(toleration, Mapping) and toleration.get("key") in (None, "", taint)


def _volumes(pool: str, secrets: Iterable[SecretKey], whole: Iterable[str]) -> list[dict[str, Any]]:
    keys: dict[str, list[str]] = {}
    for secret, key in sorted(set(secrets)):
        keys.setdefault(secret, []).append(key)
    # One volume for all: the layout below CONFIG_DIR is the worker's, whatever the Secrets are.
    below = names.SECRETS_DIR.removeprefix(f"{names.CONFIG_DIR}/")
    config = {"name": names.pool_child(pool), "items": [{"key": names.CONFIG_FILE, "path": names.CONFIG_FILE}]}
    sources: list[dict[str, Any]] = [{"configMap": config}]
    for secret, found in keys.items():
        items = [{"key": key, "path": f"{below}/{secret}/{key}"} for key in found if key != names.S3_SESSION_TOKEN]
        sources.append({"secret": {"name": secret, "items": items}})
        if names.S3_SESSION_TOKEN in found:  # only keys for a while have one
            token = {"key": names.S3_SESSION_TOKEN, "path": f"{below}/{secret}/{names.S3_SESSION_TOKEN}"}
            sources.append({"secret": {"name": secret, "items": [token], "optional": True}})
    return [
        {"name": "tidemill", "projected": {"defaultMode": 0o440, "sources": sources}},
        {"name": "tmp", "emptyDir": {}},
        *(
            {"name": f"secret-{place}", "secret": {"secretName": secret, "defaultMode": 0o440}}
            for place, secret in enumerate(whole)
        ),
    ]
