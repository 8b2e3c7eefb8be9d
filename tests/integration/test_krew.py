"""What `make krew` packs: an archive whose program kubectl finds and runs, and krew's manifest of it."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.support.kubernetes import ROOT, ApiServer
from tests.support.operator_world import pipeline
from tests.support.plugin import Terminal
from tools import krew

MACHINE = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}[platform.machine()]
HERE = f"{platform.system().lower()}/{MACHINE}"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `make krew` fills, with the archive of this platform."""
    folder = tmp_path_factory.mktemp("krew")
    command = [sys.executable, str(ROOT / "tools" / "krew.py"), "--out", str(folder), "--platform", HERE]
    subprocess.run([*command, "--url", "https://releases.test/v1"], check=True)
    return folder


@pytest.fixture(scope="module")
def installed(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As krew installs it: unpacked, with a link to the program in the one folder that is on the PATH."""
    store = tmp_path_factory.mktemp("store")
    [file] = packed.glob("*.tar.gz")
    with tarfile.open(file) as tar:
        tar.extractall(store, filter="data")
    scripts = tmp_path_factory.mktemp("krew-bin")
    for program in ("kubectl-tidemill", "kubectl_complete-tidemill"):
        (scripts / program).symlink_to(store / program)
    (scripts / "python3").symlink_to(Path(sys.base_prefix) / "bin" / "python3")
    return scripts


def test_kubectl_runs_it(installed: Path, crds: ApiServer, namespace: str, tmp_path: Path) -> None:
    crds.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(pipeline("flights")))
    mine = Terminal.of(crds, namespace, tmp_path)
    terminal = Terminal(crds, mine.kubeconfig, installed)
    assert "pipeline/flights   Unseen" in terminal.tidemill("status")
    assert terminal.sees("status")["items"][0]["name"] == "flights"
    terminal.tidemill("pause", "flights", "--reason", "trying it")
    assert (
        "tidemill.dev/paused: trying it" in crds.kubectl("-n", namespace, "get", "dpl", "flights", "-o", "yaml").stdout
    )
    assert 'default `"UTC"`' in terminal.tidemill("explain", "dpl.spec.schedule.timeZone")
    assert terminal.tidemill("--version") == f"tidemill {krew.version()}\n"
    assert terminal.types("__complete", "tidemill", "run", "").stdout.splitlines() == ["flights", ":4"]
    assert "pip install 'tidemill[dev]'" in terminal.fails("lint", "examples")


def test_another_python_is_told_what_is_needed(installed: Path, tmp_path: Path) -> None:
    store = (installed / "kubectl-tidemill").resolve().parent
    other = tmp_path / "other"
    shutil.copytree(store, other, ignore=shutil.ignore_patterns("cp3*"))
    (other / "lib" / "cp39").mkdir()
    done = subprocess.run(
        [sys.executable, other / "kubectl-tidemill", "status"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert re.fullmatch(r"kubectl tidemill needs a python3 of one of the versions 3\.9 .*this is 3\.\d+\n", done.stderr)


def test_the_manifest_names_the_archive(packed: Path) -> None:
    told = YAML(typ="safe", pure=True).load((packed / "tidemill.yaml").read_text())
    [file] = packed.glob("*.tar.gz")
    [one] = told["spec"]["platforms"]
    assert (told["metadata"]["name"], told["spec"]["version"]) == ("tidemill", f"v{krew.version()}")
    assert one["uri"] == f"https://releases.test/v1/{file.name}"
    assert one["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert "/".join(one["selector"]["matchLabels"].values()) == HERE
    with tarfile.open(file) as tar:
        assert one["bin"] in tar.getnames()


def test_the_same_files_give_the_same_archive(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, order in ((first, ("a", "b")), (second, ("b", "a"))):
        folder.mkdir()
        for name in order:
            (folder / name).write_text(name)
    (second / "a").chmod(0o600)
    assert krew.archive(first, tmp_path / "1.tgz") == krew.archive(second, tmp_path / "2.tgz")


def test_the_lock_has_all_that_is_packed() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    text = krew.pinned((*krew.PLAIN, *krew.COMPILED), lock)
    assert len(re.findall(r"^\S+==", text, re.MULTILINE)) == len(krew.PLAIN) + len(krew.COMPILED)
    assert "--hash=sha256:" in text
    with pytest.raises(SystemExit, match="has no nothing-such"):
        krew.pinned(("nothing-such",), lock)
