"""Runs the container of a Deployment as a process here, where there is no node: its command, volumes and files.

ConfigMaps and Secrets are read from the API server and laid out as a kubelet would, and the mount paths in the
container's command are rewritten to where they lie here. What a node adds besides (isolation, probes) isn't had here;
the e2e tests on a real cluster show that.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.kubernetes import ApiServer


@contextlib.contextmanager
def running_pod(server: ApiServer, namespace: str, deployment: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start the first container of a Deployment as a child process, and end it with SIGTERM, then SIGKILL."""
    pod = json.loads(server.kubectl("get", "deployment", deployment, "-n", namespace, "-o", "json").stdout)["spec"][
        "template"
    ]["spec"]
    container = pod["containers"][0]
    mounts = {
        mount["mountPath"]: _lay_out(server, namespace, volume, folder / volume["name"])
        for mount in container["volumeMounts"]
        for volume in pod["volumes"]
        if volume["name"] == mount["name"]
    }
    _move_files(mounts)
    words = [*container.get("command", []), *container.get("args", [])]
    command = [_rewritten(word, mounts) for word in words]
    if command[0] in ("python", "python3"):
        command[0] = sys.executable
    told = {e["name"]: _rewritten(e["value"], mounts) for e in container.get("env", []) if "value" in e}
    environment = {**os.environ, **told}
    with (folder / "pod.log").open("wb") as log:
        child = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _lay_out(server: ApiServer, namespace: str, volume: dict[str, Any], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part in volume.get("projected", {}).get("sources", [volume]):
        if "configMap" in part:
            data = _data(server, namespace, "configmap", part["configMap"]["name"])
            _write(folder, part["configMap"].get("items"), {name: text.encode() for name, text in data.items()})
        elif "secret" in part:
            secret = part["secret"]
            data = _data(server, namespace, "secret", secret.get("secretName") or secret["name"])
            _write(folder, secret.get("items"), {name: base64.b64decode(text) for name, text in data.items()})
    return folder


def _move_files(mounts: dict[str, Path]) -> None:
    """The worker's configuration names folders of its pod, which lie elsewhere here."""
    for config in [file for folder in mounts.values() for file in folder.glob("*.json")]:
        text = config.read_text(encoding="utf-8")
        for path, folder in mounts.items():
            if path == "/tmp":  # noqa: S108 - tests put their own folders there, which are meant as they are
                continue
            text = text.replace(f'"file://{path}/', f'"file://{folder}/')
        config.write_text(text, encoding="utf-8")


def _data(server: ApiServer, namespace: str, kind: str, name: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(server.kubectl("get", kind, name, "-n", namespace, "-o", "json").stdout)["data"]
    return found


def _write(folder: Path, items: list[dict[str, str]] | None, data: dict[str, bytes]) -> None:
    for key, path in [(i["key"], i["path"]) for i in items] if items else [(key, key) for key in data]:
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data[key])
        file.chmod(0o600)


def _rewritten(word: str, mounts: dict[str, Path]) -> str:
    for path in sorted(mounts, key=len, reverse=True):
        if word == path or word.startswith(path + "/"):
            return str(mounts[path]) + word[len(path) :]
    return word
