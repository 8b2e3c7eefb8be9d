"""The API server: raw JSON in and out, every answer typed as a result or one of our errors.

Credentials, TLS and proxy are those of `kubernetes.aio`, requests go to aiohttp below it: its models and its own client
are not used, an object stays the JSON that the server sent, parsed by orjson.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import aiohttp
import orjson
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config
from yarl import URL

from tidemill_api.errors import ConfigError
from tidemill_api.names import FIELD_MANAGER
from tidemill_operator.clients import (
    ConflictError,
    KubernetesError,
    KubernetesUnavailable,
    NamespaceEndsError,
    Object,
    RefusedError,
)

_OURS: Final = "apis/tidemill.dev/v1alpha1"
RESOURCES: Final[Mapping[str, tuple[str, str]]] = {
    "DataPipeline": (_OURS, "datapipelines"),
    "WorkerPool": (_OURS, "workerpools"),
    "DataPipelineRun": (_OURS, "datapipelineruns"),
    "TemporalConnection": (_OURS, "temporalconnections"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "NetworkPolicy": ("apis/networking.k8s.io/v1", "networkpolicies"),
    "ServiceAccount": ("api/v1", "serviceaccounts"),
    "ConfigMap": ("api/v1", "configmaps"),
    "Secret": ("api/v1", "secrets"),
    "Pod": ("api/v1", "pods"),
    "Namespace": ("api/v1", "namespaces"),
    "Lease": ("apis/coordination.k8s.io/v1", "leases"),
    "Event": ("apis/events.k8s.io/v1", "events"),
}
"""Kind -> API path and plural: all that the operator ever touches."""

_PAGE: Final = 500
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, connect=10)
_JSON: Final = "application/json"
_MERGE: Final = "application/merge-patch+json"
_APPLY: Final = "application/apply-patch+yaml"
_TERMINATING: Final = b'"NamespaceTerminating"'
"""Cause of a refusal, in the API server's answer."""
_MISFIT: Final = "failed to create typed patch object"
"""How a 500 begins that is no outage: what was applied doesn't fit the kind's schema, and never will."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to reach the API server, for the watcher, which has a client of its own. Never printed."""

    server: str
    ca_path: str | None
    verify: bool
    certificate_path: str | None
    private_key_path: str | None
    authorization: str | None


class KubernetesClient:
    """A client with one pool of connections; `clients.Kubernetes` says what its methods promise."""

    def __init__(self, configuration: Any, count: Callable[[str, str, int], None]) -> None:
        self._configuration = configuration
        rest: Any = kubernetes_client.ApiClient(configuration=configuration).rest_client
        self._route = _route(configuration, rest)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=rest.maxsize, ssl=rest.ssl_context),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=_TIMEOUT,
            trust_env=False,  # a proxy stands in the configuration itself
        )
        self._count = count

    @classmethod
    async def connect(
        cls, kubeconfig: Path | None, context: str | None, count: Callable[[str, str, int], None]
    ) -> KubernetesClient:
        """A client by a kubeconfig file, or by the pod's own service account.

        Args:
            kubeconfig: File; None means the pod's service account. No other file is ever looked for.
            context: Context in the file; None means its current one.
            count: Called after each request with verb, kind and HTTP status (0: no answer).

        Raises:
            ConfigError: The file or the service account can't be used.
        """
        configuration: Any = kubernetes_client.Configuration()
        config: Any = kubernetes_config  # untyped functions
        try:
            if kubeconfig is not None:
                await config.load_kube_config(
                    config_file=str(kubeconfig), context=context, client_configuration=configuration
                )
            else:
                config.load_incluster_config(client_configuration=configuration)
        except (kubernetes_config.ConfigException, OSError) as error:
            raise ConfigError(
                f"can't load credentials for the API server: {error} (outside a cluster give --kubeconfig FILE)"
            ) from error
        return cls(configuration, count)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def credentials(self) -> Credentials:
        """What the watcher needs; read anew at each call, since tokens are renewed."""
        configuration = self._configuration
        return Credentials(
            server=str(configuration.host),
            ca_path=configuration.ssl_ca_cert,
            verify=bool(configuration.verify_ssl),
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
            authorization=await self._authorization(),
        )

    async def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object as it is now, or None if the server says 404."""
        try:
            return await self._request("GET", kind, _path(kind, namespace, name))
        except KubernetesError as error:
            if error.code == 404:
                return None
            raise

    async def list(
        self, kind: str, namespace: str | None, selector: str = ""
    ) -> AsyncIterator[tuple[tuple[Object, ...], str]]:
        """Pages of objects and the list's resourceVersion. `namespace` None: the whole cluster."""
        query = {"limit": str(_PAGE)} | ({"labelSelector": selector} if selector else {})
        while True:
            page = await self._request("GET", kind, _path(kind, namespace, None), query)
            metadata = page["metadata"]
            yield tuple(page["items"]), str(metadata["resourceVersion"])
            if not metadata.get("continue"):
                return
            query["continue"] = metadata["continue"]

    async def select(
        self, kind: str, namespace: str, *, labels: str = "", fields: str = "", most: int = 100
    ) -> tuple[Object, ...]:
        """One page of a namespace's objects by label and field selectors."""
        given = {"limit": str(most), "labelSelector": labels, "fieldSelector": fields}
        query = {name: value for name, value in given.items() if value}
        page = await self._request("GET", kind, _path(kind, namespace, None), query)
        return tuple(page["items"])

    async def create(self, kind: str, namespace: str, manifest: Object) -> Object:
        """Create; ConflictError if there is one of that name."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._request("POST", kind, _path(kind, namespace, None), query, manifest, _JSON)

    async def apply(self, kind: str, manifest: Object) -> Object:
        """Server-side apply with our field manager, forced. `metadata.uid` in it is a precondition."""
        metadata = manifest["metadata"]
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        path = _path(kind, metadata["namespace"], metadata["name"])
        return await self._request("PATCH", kind, path, query, manifest, _APPLY)

    async def merge(self, kind: str, namespace: str, name: str, patch: Object, *, status: bool = False) -> Object:
        """JSON merge patch; `metadata.resourceVersion` in it is a precondition."""
        path = _path(kind, namespace, name) + ("/status" if status else "")
        return await self._request("PATCH", kind, path, {"fieldManager": FIELD_MANAGER}, patch, _MERGE)

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str) -> bool:
        """Delete exactly this object; False if it was gone already."""
        body = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        try:
            await self._request("DELETE", kind, _path(kind, namespace, name), None, body, _JSON)
        except KubernetesError as error:
            if error.code == 404:
                return False
            raise
        return True

    async def serves_our_kinds(self) -> bool:
        """Whether the CRDs are installed."""
        try:
            answer = await self._request("GET", "CustomResourceDefinition", f"/{_OURS}")
        except KubernetesError as error:
            if error.code == 404:
                return False
            raise
        names = {resource["name"] for resource in answer.get("resources", ())}
        return all(plural in names for path, plural in RESOURCES.values() if path == _OURS)

    async def _authorization(self) -> str | None:
        settings = await self._configuration.auth_settings()
        token = settings.get("BearerToken")
        return None if token is None else str(token["value"])

    async def _request(
        self,
        method: str,
        kind: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content: str | None = None,
    ) -> Object:
        headers = {"Accept": _JSON, "User-Agent": "tidemill-operator"}
        if content is not None:
            headers["Content-Type"] = content
        authorization = await self._authorization()
        if authorization is not None:
            headers["Authorization"] = authorization
        url = f"{self._configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
        status = 0
        try:
            data = orjson.dumps(body) if body is not None else None
            async with self._session.request(
                method, URL(url, encoded=True), headers=headers, data=data, **self._route
            ) as response:
                status = response.status
                answer = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise KubernetesUnavailable(f"{method} {path}: {str(error) or type(error).__name__}") from error
        finally:
            self._count(method, kind, status)
        if status >= 300:
            raise _error(method, path, status, answer)
        try:
            parsed: Object = orjson.loads(answer)
        except orjson.JSONDecodeError as error:  # something in between answers in the API server's place
            raise KubernetesUnavailable(f"{method} {path}: the answer is no JSON") from error
        return parsed


def _route(configuration: Any, rest: Any) -> dict[str, Any]:
    """What the configuration says of the way to the server, as arguments of a request."""
    route = {"proxy": rest.proxy, "proxy_headers": rest.proxy_headers, "server_hostname": configuration.tls_server_name}
    return {name: value for name, value in route.items() if value}


def _path(kind: str, namespace: str | None, name: str | None) -> str:
    api, plural = RESOURCES[kind]
    scope = f"/namespaces/{quote(namespace)}" if namespace else ""
    return f"/{api}{scope}/{plural}" + (f"/{quote(name)}" if name else "")


def _error(method: str, path: str, code: int, data: bytes) -> KubernetesError | KubernetesUnavailable:
    """The answer of the API server as one of our errors, with its own sentence."""
    try:
        status = orjson.loads(data)
        reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
    except (orjson.JSONDecodeError, AttributeError):
        reason, message = "", data[:200].decode(errors="replace")
    message = message or f"{method} {path}: HTTP status {code}"
    if code in (401, 408, 429) or (code >= 500 and not message.startswith(_MISFIT)):
        return KubernetesUnavailable(message)
    if code == 409:
        return ConflictError(code, reason, message)
    if code == 404:
        return KubernetesError(code, reason, message)
    if code == 403 and _TERMINATING in data:
        return NamespaceEndsError(code, reason, message)
    return RefusedError(code, reason, message)
