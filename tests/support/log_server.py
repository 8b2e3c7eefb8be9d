"""Where a node would be: answers the API server's request for a pod's log with a file's lines.

`kubectl logs` runs through the real API server, which asks the kubelet of the pod's node; there is no node here. The
e2e tests on a cluster read logs of real pods.
"""

from __future__ import annotations

import contextlib
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.kubernetes import ApiServer
from tests.support.operator_world import Manifest


@contextlib.contextmanager
def node_with_logs(api: ApiServer, name: str, logs: dict[str, Path]) -> Iterator[None]:
    """A node of that name whose pods' logs are these files, by the pod's name."""

    class Kubelet(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """`/containerLogs/NAMESPACE/POD/CONTAINER`."""
            log = logs.get(self.path.split("?")[0].split("/")[3])
            self.send_response(200 if log else 404)
            self.end_headers()
            self.wfile.write(log.read_bytes() if log else b"")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
            """Nothing is written."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Kubelet)
    pair = api.authority.server()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    status = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": server.server_port}},
    }
    try:
        _make(api, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}, status)
        yield
    finally:
        api.kubectl("delete", "node", name, "--ignore-not-found")
        server.shutdown()
        server.server_close()
        thread.join()


def pod_on(api: ApiServer, node: str, namespace: str, name: str, labels: dict[str, str]) -> None:
    """A pod that a scheduler has put there, with a container `worker`."""
    spec = {"nodeName": node, "containers": [{"name": "worker", "image": "none"}]}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    _make(api, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}, {"phase": "Running"})


def _make(api: ApiServer, manifest: Manifest, status: Manifest) -> None:
    import json

    namespace = manifest["metadata"].get("namespace")
    place = ("-n", namespace) if namespace else ()
    api.kubectl("create", *place, "-f", "-", stdin=json.dumps(manifest))
    kind, name = manifest["kind"].lower(), manifest["metadata"]["name"]
    patch = json.dumps({"status": status})
    api.kubectl("patch", kind, name, *place, "--subresource=status", "--type=merge", "-p", patch)
