"""The API server by its own HTTP interface: fast enough for thousands of manifests, and to look at an object often."""

from __future__ import annotations

import functools
import http.client
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.kubernetes import ApiServer
from tests.support.manifests import MODELS, Manifest
from tidemill_api.v1alpha1 import GROUP, VERSION

_PATHS: Final = {
    **{kind.lower(): f"apis/{GROUP}/{VERSION}/namespaces/{{}}/{model.served.plural}" for kind, model in MODELS.items()},
    **{kind: f"api/v1/namespaces/{{}}/{kind}s" for kind in ("configmap", "pod", "secret", "serviceaccount")},
    "deployment": "apis/apps/v1/namespaces/{}/deployments",
    "networkpolicy": "apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
}
READ: Final = frozenset(_PATHS)
"""The kinds that `Rest.get` knows, in lower case."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the server answered. `fields` are the places that it names, `object` the object as it would be kept."""

    accepted: bool
    fields: tuple[str, ...]
    message: str
    object: Manifest

    def names(self, field: str) -> bool:
        """Whether it names this field; a strict decoding error names it in its sentence only."""
        return field in self.fields or f'"{field}"' in self.message


class Rest:
    """A connection to the API server as administrator."""

    def __init__(self, server: ApiServer) -> None:
        context = _administrator(server.kubeconfig)
        self._connection = http.client.HTTPSConnection(server.url.removeprefix("https://"), context=context, timeout=60)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """An object as `kubectl get -o json` shows it; empty if there is none. `kind` is one of `READ`."""
        self._connection.request("GET", f"/{_PATHS[kind.lower()].format(namespace)}/{name}")
        answer = self._connection.getresponse()
        body: Manifest = json.loads(answer.read())
        if answer.status == 404:
            return {}
        assert answer.status == 200, body
        body["metadata"].pop("managedFields", None)
        return body

    def try_out(self, manifest: Manifest, namespace: str = "default") -> Verdict:
        """Ask what creating an object would give, by a dry run with strict field validation."""
        plural = MODELS[manifest["kind"]].served.plural
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{plural}?dryRun=All&fieldValidation=Strict"
        self._connection.request("POST", path, json.dumps(manifest), {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        body: dict[str, Any] = json.loads(answer.read())
        if answer.status < 300:
            return Verdict(True, (), "", body)
        causes = body.get("details", {}).get("causes", [])
        return Verdict(False, tuple(cause.get("field", "") for cause in causes), body.get("message", ""), {})


@functools.cache
def _administrator(kubeconfig: Path) -> ssl.SSLContext:
    """What a connection as administrator needs."""
    config = json.loads(kubeconfig.read_text(encoding="utf-8"))
    user = config["users"][0]["user"]
    context = ssl.create_default_context(cafile=config["clusters"][0]["cluster"]["certificate-authority"])
    context.load_cert_chain(user["client-certificate"], user["client-key"])
    return context
