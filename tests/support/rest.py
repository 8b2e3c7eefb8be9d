"""The API server's verdict on a manifest, by its own HTTP interface: fast enough for thousands of manifests."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from typing import Any

from tests.support.kubernetes import ApiServer
from tests.support.manifests import MODELS, Manifest
from tidemill_api.v1alpha1 import GROUP, VERSION


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
        config = json.loads(server.kubeconfig.read_text(encoding="utf-8"))
        user = config["users"][0]["user"]
        context = ssl.create_default_context(cafile=config["clusters"][0]["cluster"]["certificate-authority"])
        context.load_cert_chain(user["client-certificate"], user["client-key"])
        self._connection = http.client.HTTPSConnection(server.url.removeprefix("https://"), context=context)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

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
