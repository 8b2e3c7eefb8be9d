"""kind's cluster: one of its name that wasn't made here is left alone. The programs here stand for Docker and kind."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from tools.cluster import kind
from tools.cluster.kind import Kind
from tools.cluster.node import ClusterError

DOCKER = "#!/bin/sh\necho 29.0\n"
KIND = """#!/bin/sh
echo "$*" >> {log}
case "$1 $2" in
  "get clusters") cat {clusters} ;;
  "get kubeconfig") cat {kubeconfig} ;;
  "create cluster"|"export kubeconfig") cat {kubeconfig} > {mine}; echo tidemill > {clusters} ;;
  "delete cluster") : > {clusters} ;;
esac
"""


@dataclass(frozen=True)
class Machine:
    """What kind says of its clusters, and what it was asked to do."""

    folder: Path
    kind: Kind

    def has(self, authority: str) -> None:
        """There is a cluster of our name with this authority."""
        (self.folder / "clusters").write_text("another\ntidemill\n")
        (self.folder / "kubeconfig").write_text(f"    certificate-authority-data: {authority}\n")

    def done(self) -> list[str]:
        """What changed something."""
        lines = (self.folder / "log").read_text().splitlines()
        return [" ".join(line.split()[:2]) for line in lines if not line.startswith("get ")]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    programs, mine = tmp_path / "bin", Kind(tmp_path / "state")
    programs.mkdir()
    files = {name: tmp_path / name for name in ("log", "clusters", "kubeconfig")}
    for file in files.values():
        file.touch()
    files["kubeconfig"].write_text("    certificate-authority-data: made-here\n")
    for name, text in (("docker", DOCKER), ("kind", KIND.format(**files, mine=mine.kubeconfig))):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join((str(programs), os.environ["PATH"])))
    return Machine(tmp_path, mine)


def test_one_that_is_made_here_is_found_again_and_goes(machine: Machine) -> None:
    assert not kind.down(machine.kind)
    assert kind.up(machine.kind)
    assert not kind.up(machine.kind)
    assert kind.load(machine.kind, [Path("a.tar")]) == (Path("a.tar"),)
    assert kind.down(machine.kind)
    assert not machine.kind.made
    assert machine.done() == ["create cluster", "export kubeconfig", "load image-archive", "delete cluster"]


@pytest.mark.parametrize("former", [False, True], ids=["no state here", "the state of a former one"])
def test_a_strangers_is_neither_taken_nor_removed(machine: Machine, former: bool) -> None:
    if former:
        kind.up(machine.kind)
    machine.has("a-stranger")
    before = machine.done()
    for command in (kind.up, kind.down, lambda mine: kind.load(mine, [Path("a.tar")])):
        with pytest.raises(ClusterError, match="wasn't made here") as refused:
            command(machine.kind)
        assert "`kind delete cluster --name tidemill`" in str(refused.value)
        assert f"--kubeconfig {machine.kind.kubeconfig}`" in str(refused.value)
    assert machine.done() == before
    assert machine.kind.made == former


def test_what_is_left_of_one_that_is_gone_is_cleared_away(machine: Machine) -> None:
    kind.up(machine.kind)
    (machine.folder / "clusters").write_text("")
    assert kind.down(machine.kind)
    assert not machine.kind.made
    assert machine.done() == ["create cluster"]
