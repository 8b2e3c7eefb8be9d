"""The cluster on a bare node: what is said where it can't run, whose processes it ends, what its images hold."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tools import debian
from tools.cluster import images, lifecycle, node, preflight
from tools.cluster.__main__ import main
from tools.cluster.layout import Layout, Link
from tools.cluster.liveness import started
from tools.cluster.programs import USERS, node_programs


def set_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Layout:
    """A machine on which all checks that need no real machine pass."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for check in ("_cgroups", "_kernel_log", "_namespaces", "_interfaces", "_packages", "_go", "packet_rules"):
        monkeypatch.setattr(preflight, check, lambda: None)
    return Layout(tmp_path / "state" / "cluster")


def no_root(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(os, "geteuid", lambda: 1000)


def no_linux(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("platform.system", lambda: "Darwin")


def no_cgroups(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(preflight, "_CGROUPS", Path("/nowhere"))
    patch.setattr(preflight, "_cgroups", _CGROUPS_CHECK)


def no_room(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(preflight, "DISK_NEEDED", 1 << 60)


def no_packages(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(preflight, "_packages", _PACKAGES_CHECK)
    patch.setattr(debian, "located", lambda _: None)
    patch.setattr("shutil.which", lambda *_, **__: None)


_CGROUPS_CHECK, _PACKAGES_CHECK = preflight._cgroups, preflight._packages


@pytest.mark.parametrize(
    ("broken", "check", "advice"),
    [
        (no_root, "root: the user is 1000", "use sudo"),
        (no_linux, "system: it is Darwin", "make kind-up"),
        (no_cgroups, "cgroups: no controller cpu, memory, pids", "cgroup_enable=memory"),
        (no_room, "disk: ", "GiB are needed"),
        (no_packages, "packages: ", "to run pods without Docker: install containerd, runc, "),
    ],
)
def test_a_check_that_fails_says_what_to_do_and_nothing_is_changed(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    broken: Callable[[pytest.MonkeyPatch], None],
    check: str,
    advice: str,
) -> None:
    layout = set_up(monkeypatch, tmp_path)
    broken(monkeypatch)
    with pytest.raises(preflight.PreflightError) as refused:
        lifecycle.up(layout)
    assert check in str(refused.value)
    assert advice in str(refused.value)
    assert "nothing was changed" in str(refused.value)
    assert not layout.state.exists()


def test_the_check_alone_is_a_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m tools.cluster check`, as docs/how-to/cluster.md shows it."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["--with", "node", "check"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("cluster: this machine can't run pods, nothing was changed:\n  - root: the user is 1000. ")


def test_a_process_that_got_the_id_of_the_node_later_is_not_ended(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        layout.record.write_text(json.dumps({"pid": stranger.pid, "started": "1", "link": 77}))
        known = node.recorded(layout)
        assert known is not None
        assert not known.alive
        mine = node.Node(stranger.pid, started(stranger.pid) or "", Link(77))
        assert mine.alive
        stranger.communicate(b"\n")
    assert not mine.alive


@pytest.mark.parametrize("record", ["", "{}", "[]", '{"pid": "x", "started": "1", "link": 0}'])
def test_a_record_that_cannot_be_read_is_no_node(tmp_path: Path, record: str) -> None:
    layout = Layout(tmp_path)
    layout.record.write_text(record)
    assert node.recorded(layout) is None
    assert lifecycle.status(layout).problem == "it isn't running"


def test_clusters_of_one_machine_do_not_meet() -> None:
    one, two = Link(0), Link(1)
    assert not one.network.overlaps(two.network)
    assert one.machine.ip in one.network
    assert one.node.ip in one.network
    assert len({one.interface, two.interface, one.cgroup, two.cgroup}) == 4
    # Linux takes no longer name.
    assert all(len(Link(number).interface) <= 15 for number in range(100))


def test_every_program_has_the_kubeconfig_it_names() -> None:
    named = {
        argument.partition("/etc/")[2].removesuffix(".kubeconfig")
        for program in node_programs("any")
        for argument in program.command
        if argument.endswith(".kubeconfig")
    }
    assert named | {"coredns", "admin"} == set(USERS)


def test_the_pause_image_holds_one_program_and_no_shell() -> None:
    with tarfile.open(fileobj=io.BytesIO(images.pause_archive(b"program"))) as archive:
        manifest = json.loads(content(archive, "manifest.json"))
        config = json.loads(content(archive, manifest[0]["Config"]))
        with tarfile.open(fileobj=io.BytesIO(content(archive, manifest[0]["Layers"][0]))) as layer:
            assert [(entry.name, entry.mode) for entry in layer.getmembers()] == [("pause", 0o755)]
    assert manifest[0]["RepoTags"] == ["localhost/tidemill/pause:1"]
    assert config["config"]["Entrypoint"] == ["/pause"]
    assert config["config"]["User"] != "0"


def content(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()
