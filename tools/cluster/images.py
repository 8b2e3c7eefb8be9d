"""What containerd holds for the node: the image that keeps a pod's namespaces, archives that are loaded, sandboxes."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

from tools.cluster import node as nodes
from tools.cluster.layout import CONTAINERD, PAUSE_IMAGE, ROOT, Layout

ARCHIVES = ROOT / ".cache" / "images"


def load(layout: Layout, node: nodes.Node, archives: Iterable[Path]) -> tuple[Path, ...]:
    """Load those archives (docker-archive or OCI) that weren't loaded as they are now; returns which were."""
    record = json.loads(layout.images_record.read_text(encoding="utf-8")) if layout.images_record.exists() else {}
    loaded: list[Path] = []
    for archive in archives:
        known = [archive.stat().st_size, archive.stat().st_mtime_ns]
        if record.get(str(archive)) == known:
            continue
        with archive.open("rb") as content:
            _import(node, content, archive.name)
        record[str(archive)] = known
        layout.images_record.write_text(json.dumps(record), encoding="utf-8")
        loaded.append(archive)
    return tuple(loaded)


def load_pause(layout: Layout, node: nodes.Node, program: Path) -> None:
    """Make the pause image of the program and load it."""
    archive = layout.state / "pause.tar"
    archive.write_bytes(pause_archive(program.read_bytes()))
    load(layout, node, [archive])


def names(node: nodes.Node) -> tuple[str, ...]:
    """The images that the node has."""
    done = subprocess.run(_ctr(node, "images", "list", "-q"), capture_output=True, text=True, check=False)
    return tuple(name for name in done.stdout.split() if not name.startswith("sha256:"))


def kill_sandbox(node: nodes.Node, namespace: str, pod: str) -> None:
    """Kill the pause process of a pod."""
    labels = {
        "io.kubernetes.pod.namespace": namespace,
        "io.kubernetes.pod.name": pod,
        "io.cri-containerd.kind": "sandbox",
    }
    chosen = ",".join(f'labels."{name}"=={value}' for name, value in labels.items())
    listed = subprocess.run(_ctr(node, "containers", "list", "-q", chosen), capture_output=True, text=True, check=True)
    for sandbox in listed.stdout.split():
        subprocess.run(_ctr(node, "tasks", "kill", "--signal", "SIGKILL", sandbox), capture_output=True, check=True)


def pause_archive(program: bytes) -> bytes:
    """A docker-archive of an image that holds this program alone."""
    layer = _tar({"pause": program}, mode=0o755)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    config = json.dumps(
        {
            "architecture": machine,
            "os": "linux",
            "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [PAUSE_IMAGE], "Layers": ["layer.tar"]}]).encode()
    return _tar({"layer.tar": layer, "config.json": config, "manifest.json": manifest}, mode=0o644)


def _import(node: nodes.Node, content: io.BufferedReader, what: str) -> None:
    done = subprocess.run(
        _ctr(node, "images", "import", "-"), stdin=content, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise nodes.ClusterError(f"{what} can't be loaded: {done.stderr.strip()}")


def _ctr(node: nodes.Node, *arguments: str) -> list[str]:
    return nodes.command(node, "ctr", f"--address={CONTAINERD}", "--namespace=k8s.io", *arguments)


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
