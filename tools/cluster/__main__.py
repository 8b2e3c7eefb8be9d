"""`python -m tools.cluster [--with auto|kind|node] COMMAND`; `--help` lists the commands.

`auto` is the one that is up, else kind where a Docker engine answers, else the bare node.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools import debian, envtest
from tools.cluster import choice, images, kind, lifecycle, preflight
from tools.cluster.kind import Kind
from tools.cluster.layout import Layout
from tools.cluster.node import ClusterError


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.cluster", description="A Kubernetes cluster to try things on."
    )
    parser.add_argument("--with", dest="kind_of", choices=["auto", "kind", "node"], default="auto")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="say whether this machine can run it; change nothing")
    commands.add_parser("prepare", help="build its programs and our images ahead, and start nothing")
    commands.add_parser("up", help="start it, unless it runs")
    commands.add_parser("down", help="stop it and remove all of it")
    commands.add_parser("status", help="what runs; exit code 1 if it doesn't serve")
    commands.add_parser("kubeconfig", help="print the path of its kubeconfig")
    commands.add_parser("deploy", help="up, load the built images, install or upgrade the release")
    commands.add_parser("undeploy", help="uninstall the release")
    loading = commands.add_parser("load-images", help="load image archives, by default all of .cache/images")
    loading.add_argument("archives", nargs="*", type=Path)
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "prepare":
            choice.prepare()
            return 0
        if chosen.command in {"deploy", "undeploy"}:
            return _release(chosen.command)
        if chosen.kind_of == "kind" or (chosen.kind_of == "auto" and _kind_serves()):
            return _with_kind(Kind(), chosen)
        return _with_node(Layout(), chosen)
    except (preflight.PreflightError, debian.PackagesError, envtest.EnvtestError, ClusterError) as error:
        lifecycle.say(str(error))
        return 1


def _release(command: str) -> int:
    cluster = choice.choose()
    if command == "undeploy":
        choice.uninstall(cluster)
        return 0
    cluster.up()
    cluster.load(tuple(sorted(images.ARCHIVES.glob("*.tar"))))
    choice.install(cluster)
    lifecycle.say(f"{choice.RELEASE} is ready in {choice.NAMESPACE}; export KUBECONFIG={cluster.kubeconfig}")
    return 0


def _kind_serves() -> bool:
    if Layout().record.exists():
        return False
    return Kind().made or kind.engine_answers()


def _with_node(layout: Layout, chosen: argparse.Namespace) -> int:
    match chosen.command:
        case "check":
            preflight.run(layout)
            lifecycle.say("this machine can run it")
        case "up":
            if not lifecycle.up(layout):
                lifecycle.say(f"runs already; export KUBECONFIG={layout.kubeconfig}")
        case "down":
            lifecycle.say("stopped and removed" if lifecycle.down(layout) else "there is none")
        case "status":
            return _status(layout)
        case "kubeconfig":
            print(layout.kubeconfig)
        case _:
            _say_loaded(lifecycle.load(layout, _archives(chosen)))
    return 0


def _with_kind(cluster: Kind, chosen: argparse.Namespace) -> int:
    match chosen.command:
        case "check":
            lifecycle.say("a Docker engine answers" if kind.engine_answers() else "no Docker engine answers")
            return 0 if kind.engine_answers() else 1
        case "up":
            lifecycle.say("kind makes it" if kind.up(cluster) else "runs already, in kind")
            lifecycle.say(f"export KUBECONFIG={cluster.kubeconfig}")
        case "down":
            lifecycle.say("removed" if kind.down(cluster) else "there is none")
        case "status":
            print(f"cluster:  {'made by kind' if cluster.made else 'there is none'}")
            print(f"kubectl:  export KUBECONFIG={cluster.kubeconfig}")
            return 0 if cluster.made else 1
        case "kubeconfig":
            print(cluster.kubeconfig)
        case _:
            _say_loaded(kind.load(cluster, _archives(chosen)))
    return 0


def _archives(chosen: argparse.Namespace) -> tuple[Path, ...]:
    archives = tuple(chosen.archives) or tuple(sorted(images.ARCHIVES.glob("*.tar")))
    if not archives:
        raise ClusterError(f"no archive in {images.ARCHIVES}: `make images` makes them")
    return archives


def _say_loaded(archives: tuple[Path, ...]) -> None:
    for archive in archives:
        lifecycle.say(f"loaded {archive.name}")


def _status(layout: Layout) -> int:
    state = lifecycle.status(layout)
    print(f"cluster:  {state.problem or 'serves'}")
    if state.running:
        print(f"server:   {state.server}\nkubectl:  export KUBECONFIG={layout.kubeconfig}")
        print(
            "programs: " + ", ".join(f"{name}{f' (restarted {n})' if n else ''}" for name, n in state.programs.items())
        )
        print("images:   " + ", ".join(state.images))
    return 1 if state.problem else 0


if __name__ == "__main__":
    sys.exit(main())
