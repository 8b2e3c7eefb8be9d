"""What a pool asks for: its children. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from tidemill_api.conditions import INVALID_SPEC
from tidemill_api.contract import TemporalAddress, WorkerConfig
from tidemill_api.names import S3_ACCESS_KEY, S3_SECRET_KEY, S3_SESSION_TOKEN, task_queue
from tidemill_api.v1alpha1 import TemporalConnectionSpec, WorkerPoolSpec
from tidemill_check.problem import Problem
from tidemill_check.verdict import check_pool
from tidemill_operator.clients import Object, Settings
from tidemill_operator.pool.children import SecretKey, children, whole_secrets, with_replicas
from tidemill_operator.pool.key_ring import key_ring_secret
from tidemill_operator.pool.observe import Observed
from tidemill_operator.reading import Memory, read_spec
from tidemill_operator.standing import Standing, verdict

LONGEST_NAME: Final = 63
"""A pool's name is a label's value on its pods."""


@dataclass(frozen=True, slots=True)
class Desired:
    """A pool's wishes."""

    task_queue: str
    children: tuple[dict[str, Any], ...]
    """Manifests, in the order in which they are applied; empty while `blocked`."""
    secrets: tuple[str, ...]
    """Names of the Secrets that its pods need."""
    replicas: int
    blocked: Standing | None
    """Why there can be no children."""
    key_ring: dict[str, Any] | None = field(default=None, repr=False)
    """The Secret with the key ring, for all pools of the namespace; None: nothing is encrypted."""


@dataclass(frozen=True, slots=True)
class _Reading:
    children: tuple[dict[str, Any], ...]
    secrets: tuple[str, ...]
    problems: tuple[Problem, ...]
    replicas: int


_READINGS: Final = Memory[_Reading]()


def desire(observed: Observed, settings: Settings) -> Desired:
    """What is wished of Kubernetes for a pool."""
    metadata = observed.manifest["metadata"]
    queue = task_queue(settings.installation, metadata["namespace"], metadata["name"])
    ring = _key_ring(observed, settings)
    if observed.trouble is not None and observed.trouble.reason.startswith("WaitingFor"):
        return Desired(queue, (), (), observed.manifest["spec"].get("replicas", 1), observed.trouble, ring)
    version = (
        settings,
        metadata.get("generation"),
        observed.has_ca,
        (observed.temporal_connection or {}).get("spec"),
    )
    reading = _READINGS.get(metadata["uid"], version, lambda: _read(observed, settings, queue))
    blocked = verdict(reading.problems) if reading.problems else None
    made, replicas = reading.children, reading.replicas
    if observed.scaled is not None and observed.scaled.acts:
        replicas = observed.scaled.decision.replicas
        made = tuple(with_replicas(child, replicas) if child["kind"] == "Deployment" else child for child in made)
    return Desired(queue, made, reading.secrets, replicas, blocked, ring)


def _key_ring(observed: Observed, settings: Settings) -> dict[str, Any] | None:
    if observed.key_ring is None or settings.key_ring is None:
        return None
    namespace = observed.manifest["metadata"]["namespace"]
    name, installation = settings.key_ring.secret, settings.installation
    return key_ring_secret(namespace, name, installation, observed.key_ring, observed.neighbours)


def _read(observed: Observed, settings: Settings, queue: str) -> _Reading:
    spec = read_spec(WorkerPoolSpec, observed.manifest)
    if isinstance(spec, tuple):
        return _Reading((), (), spec, 0)
    metadata = observed.manifest["metadata"]
    problems = (*_name_problems(metadata["name"]), *check_pool(spec))
    temporal = _temporal(observed, settings)
    if isinstance(temporal, tuple):
        problems = (*problems, *temporal)
    if problems or isinstance(temporal, tuple):
        return _Reading((), (), problems, spec.replicas)
    config = WorkerConfig(
        installation=settings.installation,
        namespace=metadata["namespace"],
        pool=metadata["name"],
        task_queue=queue,
        temporal=temporal,
        concurrency=spec.concurrency,
        connections=spec.connections,
        metastore=spec.metastore,
        artifacts=spec.artifacts,
        cache=spec.cache,
        python=spec.python,
        lineage=spec.lineage,
    )
    secrets = tuple(_secret_keys(spec, temporal))
    made = children(metadata, spec, config, secrets, settings.image, settings.key_ring)
    needed = {secret for secret, _ in secrets} | set(whole_secrets(spec))
    return _Reading(made, tuple(sorted(needed)), (), spec.replicas)


def _name_problems(name: str) -> Iterator[Problem]:
    if len(name) > LONGEST_NAME:
        yield Problem(
            "metadata.name",
            INVALID_SPEC,
            f"has {len(name)} characters, but it labels the pool's pods and so has at most {LONGEST_NAME}: rename it",
        )


def _temporal(observed: Observed, settings: Settings) -> TemporalAddress | tuple[Problem, ...]:
    """How the workers reach Temporal; what is secret of it are files of theirs."""
    if observed.temporal_connection is None:
        return settings.temporal or ()
    return temporal_address(observed.temporal_connection, has_ca=observed.has_ca)


def temporal_address(connection: Object, *, has_ca: bool) -> TemporalAddress | tuple[Problem, ...]:
    """A TemporalConnection as the workers' configuration."""
    spec = read_spec(TemporalConnectionSpec, connection)
    if isinstance(spec, tuple):
        return spec
    secret = spec.tls.secret_ref.name if spec.tls is not None and spec.tls.secret_ref is not None else None
    key = spec.api_key.secret_key_ref if spec.api_key is not None else None
    return TemporalAddress(
        address=spec.address,
        namespace=spec.namespace,
        tls=spec.tls is not None or key is not None,
        server_name=spec.tls.server_name if spec.tls is not None else None,
        ca_file=f"{secret}/ca.crt" if secret and has_ca else None,
        cert_file=f"{secret}/tls.crt" if secret else None,
        key_file=f"{secret}/tls.key" if secret else None,
        api_key_file=f"{key.name}/{key.key}" if key is not None else None,
    )


def _secret_keys(spec: WorkerPoolSpec, temporal: TemporalAddress) -> Iterator[SecretKey]:
    for connection in spec.connections:
        if connection.postgres is not None:
            ref = connection.postgres.dsn.secret_key_ref
            yield ref.name, ref.key
        if connection.files is not None and connection.files.secret_ref is not None:
            for key in (S3_ACCESS_KEY, S3_SECRET_KEY, S3_SESSION_TOKEN):
                yield connection.files.secret_ref.name, key
        webhook = connection.http.webhook if connection.http is not None else None
        for value in (webhook.path_from, webhook.signing_key) if webhook is not None else ():
            if value is not None:
                yield value.secret_key_ref.name, value.secret_key_ref.key
    if spec.cache is not None:
        yield spec.cache.redis.url.secret_key_ref.name, spec.cache.redis.url.secret_key_ref.key
    for file in (temporal.ca_file, temporal.cert_file, temporal.key_file, temporal.api_key_file):
        if file is not None:
            secret, _, key = file.partition("/")
            yield secret, key
