"""The files that the node's programs read: certificates, kubeconfigs and settings."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

from tools.certificates import Authority, KeyPair, authority, signing_key
from tools.cluster.layout import (
    API_PORT,
    FILES,
    INSIDE_STATE,
    KUBERNETES_SERVICE,
    NODE_ADDRESS,
    Layout,
    Link,
)
from tools.cluster.programs import USERS

CONTEXT = "tidemill"
_INSIDE_SERVER = f"https://127.0.0.1:{API_PORT}"
_SERVICE_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")


def write(layout: Layout, link: Link, snapshotter: str) -> None:
    """Make the state folder with all that is in it before the first start."""
    for folder in (layout.state, layout.logs, layout.variable, layout.configuration):
        folder.mkdir(parents=True, exist_ok=True)
    # Keys and volumes of pods are nobody else's; the kubelet's own users come in by other ways.
    layout.state.chmod(0o711)
    layout.pki.mkdir(mode=0o700, exist_ok=True)
    signer = authority(layout.pki)
    signer.server(addresses=(str(link.node.ip), NODE_ADDRESS, KUBERNETES_SERVICE), names=_SERVICE_NAMES)
    signing_key(layout.pki / "service-accounts.key")
    for name, (user, groups) in USERS.items():
        pair = signer.client(user, groups)
        _secret(layout.configuration / f"{name}.kubeconfig", kubeconfig(_INSIDE_SERVER, signer, user, pair))
        if name == "admin":
            _secret(layout.kubeconfig, kubeconfig(link.server, signer, user, pair))
    shutil.copytree(FILES, layout.configuration, dirs_exist_ok=True)
    containerd = layout.configuration / "containerd.toml"
    containerd.write_text(containerd.read_text(encoding="utf-8").replace("overlayfs", snapshotter), encoding="utf-8")
    # Pods that want the node's own names get none: there is nothing beyond the node.
    (layout.configuration / "resolv.conf").write_text(f"nameserver {NODE_ADDRESS}\n", encoding="ascii")


def kubeconfig(server: str, signer: Authority, user: str, pair: KeyPair) -> str:
    """A kubeconfig that holds its keys itself, so that it works from anywhere."""
    cluster = {"server": server, "certificate-authority-data": _data(signer.file)}
    keys = {"client-certificate-data": _data(pair.certificate), "client-key-data": _data(pair.key)}
    document: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "clusters": [{"name": CONTEXT, "cluster": cluster}],
        "users": [{"name": user, "user": keys}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": user}}],
    }
    return json.dumps(document, indent=1)


def manifests(layout: Layout) -> Path:
    """What is applied to the new cluster."""
    return layout.configuration / "cluster.yaml"


def _data(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode("ascii")


def _secret(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text, encoding="utf-8")


__all__ = ["CONTEXT", "INSIDE_STATE", "kubeconfig", "manifests", "write"]
