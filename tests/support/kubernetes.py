"""A real Kubernetes API server (etcd and kube-apiserver, no controllers, no nodes) and a kubectl that talks to it.

Nothing collects garbage here: an object whose owner is deleted stays, and a deleted namespace stays `Terminating`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tidemill_cli.dev.components import ports
from tidemill_cli.dev.components.component import Component, ComponentError, running_blocking
from tools.certificates import Authority, authority, signing_key

ROOT = Path(__file__).resolve().parents[2]
ADMIN = ("tidemill-test-admin", ("system:masters",))
_ADVICE = "Run `make envtest`, which builds it, or set KUBEBUILDER_ASSETS to a folder that has it."


@dataclass(frozen=True, slots=True)
class ApiServer:
    """A running API server; `kubeconfig` is an administrator's."""

    url: str
    kubeconfig: Path
    assets: Path
    authority: Authority

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment with `KUBECONFIG` set and kubectl on the PATH, for child processes."""
        path = f"{self.assets}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": path}

    @property
    def audit(self) -> Path:
        """The log of what ServiceAccounts asked for, one audit event a line."""
        return self.authority.folder.parent / "apiserver" / "audit.log"

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True, kubeconfig: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl; with `check` a failure raises `AssertionError` with what it said.

        `kubeconfig` is another user's (`as_user`).
        """
        command = [str(self.assets / "kubectl"), f"--kubeconfig={kubeconfig or self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=60)
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()}")
        return done

    def as_user(self, user: str, *groups: str) -> Path:
        """The kubeconfig of a user in these groups, who may do what RBAC grants."""
        pair = self.authority.client(user, groups)
        file = self.authority.folder / f"{user.replace(':', '-')}.kubeconfig"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [
                {"name": "test", "cluster": {"server": self.url, "certificate-authority": str(self.authority.file)}}
            ],
            "users": [
                {"name": user, "user": {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}}
            ],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user, "namespace": "default"}}],
        }
        file.touch(mode=0o600)
        file.write_text(json.dumps(config), encoding="utf-8")
        return file


@contextlib.contextmanager
def api_server(folder: Path) -> Iterator[ApiServer]:
    """Start etcd and kube-apiserver with their state in `folder`; about four seconds."""
    assets = find_assets()
    etcd_port = ports.free()
    secure_port = ports.free(taken=frozenset({etcd_port}))
    peer_port = ports.free(taken=frozenset({etcd_port, secure_port}))
    signer = authority(folder / "pki")
    server = ApiServer(f"https://127.0.0.1:{secure_port}", folder / "pki" / f"{ADMIN[0]}.kubeconfig", assets, signer)
    server.as_user(ADMIN[0], *ADMIN[1])
    etcd = _etcd(assets, folder / "etcd", etcd_port, peer_port)
    with (
        running_blocking(etcd),
        running_blocking(_kube_apiserver(server, folder / "apiserver", etcd_port, secure_port)),
    ):
        yield server


def find_assets() -> Path:
    """The folder with kube-apiserver, etcd and kubectl; raises `ComponentError` if they aren't built."""
    asked = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "envtest.py"), "--find"], capture_output=True, text=True, check=False
    )
    if asked.returncode != 0:
        raise ComponentError(f"a real Kubernetes API server is needed. {_ADVICE} {asked.stderr.strip()}")
    return Path(asked.stdout.strip())


def _etcd(assets: Path, folder: Path, port: int, peer_port: int) -> Component:
    url, peer = f"http://{ports.LOOPBACK}:{port}", f"http://{ports.LOOPBACK}:{peer_port}"
    command = (
        *(str(assets / "etcd"), "--data-dir", str(folder / "data"), "--unsafe-no-fsync", "--log-level", "warn"),
        *("--listen-client-urls", url, "--advertise-client-urls", url),
        *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"),
    )
    return Component(
        name="etcd",
        command=command,
        directory=folder,
        ready=lambda: _healthy(http.client.HTTPConnection(ports.LOOPBACK, port, timeout=1), "/health"),
        advice=_ADVICE,
        stop_signal=signal.SIGKILL,
    )


def _kube_apiserver(server: ApiServer, folder: Path, etcd_port: int, port: int) -> Component:
    pair = server.authority.server()
    signing = signing_key(server.authority.folder / "service-accounts.key")
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "audit-policy.yaml").write_text(json.dumps(policy), encoding="utf-8")
    options = {
        "audit-policy-file": str(folder / "audit-policy.yaml"),
        "audit-log-path": str(folder / "audit.log"),
        "etcd-servers": f"http://{ports.LOOPBACK}:{etcd_port}",
        "bind-address": ports.LOOPBACK,
        "secure-port": str(port),
        "tls-cert-file": str(pair.certificate),
        "tls-private-key-file": str(pair.key),
        "client-ca-file": str(server.authority.file),
        "authorization-mode": "RBAC",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": str(signing),
        "service-account-signing-key-file": str(signing),
        "service-cluster-ip-range": "10.0.0.0/24",
        # Nobody makes a namespace's default ServiceAccount here, and pods would be refused for the lack of it.
        "disable-admission-plugins": "ServiceAccount",
        # As on OpenShift: who makes an owner wait for its child must have the right to.
        "enable-admission-plugins": "OwnerReferencesPermissionEnforcement",
        "endpoint-reconciler-type": "none",
        "profiling": "false",
        "v": "0",
    }
    trusting = ssl.create_default_context(cafile=str(server.authority.file))
    return Component(
        name="kube-apiserver",
        command=(
            str(server.assets / "kube-apiserver"),
            *(f"--{name}={value}" for name, value in options.items()),
        ),
        directory=folder,
        ready=lambda: _healthy(
            http.client.HTTPSConnection(ports.LOOPBACK, port, timeout=1, context=trusting), "/readyz"
        ),
        advice=_ADVICE,
        # Its orderly end waits for open watches; its state is thrown away anyhow.
        stop_signal=signal.SIGKILL,
    )


def _healthy(connection: http.client.HTTPConnection, path: str) -> bool:
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
