"""From a TemporalConnection and its Secret to where it leads. The only place that reads Secrets."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

from tidemill_api.conditions import (
    INVALID_SECRET,
    INVALID_SPEC,
    WAITING_FOR_CONNECTION,
    WAITING_FOR_RIGHTS,
    WAITING_FOR_SECRET,
)
from tidemill_api.v1alpha1 import TemporalConnectionSpec
from tidemill_operator.clients import Object, RefusedError, Store
from tidemill_operator.connection.certificates import api_key_problem, problems
from tidemill_operator.reading import read_spec
from tidemill_operator.views import ConnectionPendingError, TemporalTarget

_ALSO_OF_POOLS: Final = (WAITING_FOR_SECRET, WAITING_FOR_RIGHTS)
"""Reasons that say as much of whatever needs the connection."""


class Reader(Protocol):
    """All of the API server that is needed here."""

    async def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object as it is now, or None."""
        ...


def resolver(kubernetes: Reader, store: Store) -> Callable[[tuple[str, str]], Awaitable[TemporalTarget]]:
    """Where a TemporalConnection (namespace, name) leads; raises ConnectionPendingError while it leads nowhere."""

    async def resolve(connection: tuple[str, str]) -> TemporalTarget:
        namespace, name = connection
        manifest = store.get("TemporalConnection", namespace, name)
        if manifest is None:
            raise ConnectionPendingError(
                WAITING_FOR_CONNECTION,
                f"spec.temporal.connectionRef.name of the WorkerPool: the TemporalConnection {name} isn't in this "
                "namespace (yet)",
            )
        try:
            return await resolve_manifest(manifest, kubernetes)
        except ConnectionPendingError as error:  # read at a pool or a pipeline, whose fields these are not
            reason = error.reason if error.reason in _ALSO_OF_POOLS else WAITING_FOR_CONNECTION
            raise ConnectionPendingError(reason, f"the TemporalConnection {name}: {error}") from error

    return resolve


async def resolve_manifest(manifest: Object, kubernetes: Reader) -> TemporalTarget:
    """As `resolver`, of a TemporalConnection at hand. Its Secrets are read anew."""
    spec = read_spec(TemporalConnectionSpec, manifest)
    if isinstance(spec, tuple):
        raise ConnectionPendingError(INVALID_SPEC, "; ".join(str(problem) for problem in spec))
    namespace = manifest["metadata"]["namespace"]
    tls, api_key = spec.tls, spec.api_key
    files: Mapping[str, bytes] = {}
    if tls is not None and tls.secret_ref is not None:
        field = "spec.tls.secretRef"
        files = await _secret(kubernetes, namespace, tls.secret_ref.name, field)
        for key in ("tls.crt", "tls.key"):
            _value(files, tls.secret_ref.name, key, field)
        if found := list(problems(files)):
            raise ConnectionPendingError(
                INVALID_SECRET, f"{field}: the Secret {tls.secret_ref.name}: {'; '.join(found)}"
            )
    key_text = None
    if api_key is not None:
        ref, field = api_key.secret_key_ref, "spec.apiKey.secretKeyRef"
        kept = await _secret(kubernetes, namespace, ref.name, field)
        key_text = _value(kept, ref.name, ref.key, field).decode(errors="replace").strip()
        if (fault := api_key_problem(key_text)) is not None:
            raise ConnectionPendingError(INVALID_SECRET, f"{field}: the key {ref.key} of the Secret {ref.name} {fault}")
    return TemporalTarget(
        address=spec.address,
        namespace=spec.namespace,
        tls=tls is not None or api_key is not None,
        server_name=tls.server_name if tls is not None else None,
        ca=files.get("ca.crt"),
        cert=files.get("tls.crt"),
        key=files.get("tls.key"),
        api_key=key_text,
    )


async def _secret(kubernetes: Reader, namespace: str, name: str, field: str) -> dict[str, bytes]:
    try:
        secret = await kubernetes.get("Secret", namespace, name)
    except RefusedError as error:
        if error.code != 403:
            raise
        raise ConnectionPendingError(
            WAITING_FOR_RIGHTS,
            f"{field}: the operator may not read the Secret {name}: whoever installs Tidemill adds its name to the "
            f"chart's value rbac.temporalConnectionSecrets ({error})",
        ) from None
    if secret is None:
        raise ConnectionPendingError(WAITING_FOR_SECRET, f"{field}: the Secret {name} isn't in this namespace (yet)")
    try:
        return {key: base64.b64decode(value, validate=True) for key, value in (secret.get("data") or {}).items()}
    except (binascii.Error, TypeError, ValueError):
        raise ConnectionPendingError(WAITING_FOR_SECRET, f"{field}: the Secret {name} can't be read") from None


def _value(secret: Mapping[str, bytes], name: str, key: str, field: str) -> bytes:
    if key not in secret:
        raise ConnectionPendingError(WAITING_FOR_SECRET, f"{field}: the Secret {name} has no key {key} (yet)")
    return secret[key]
