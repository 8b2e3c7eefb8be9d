"""`python -m tools.cluster up|down|status|load-images [ARCHIVE...]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools import debian, envtest
from tools.cluster import images, lifecycle, preflight
from tools.cluster.layout import Layout
from tools.cluster.node import ClusterError


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.cluster", description="A Kubernetes cluster without Docker.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="say whether this machine can run it; change nothing")
    commands.add_parser("up", help="start it, unless it runs")
    commands.add_parser("down", help="stop it and remove all of it")
    commands.add_parser("status", help="what runs; exit code 1 if it doesn't serve")
    loading = commands.add_parser("load-images", help="load image archives, by default all of .cache/images")
    loading.add_argument("archives", nargs="*", type=Path)
    chosen = parser.parse_args(arguments)
    try:
        return _carry_out(Layout(), chosen.command, chosen)
    except (preflight.PreflightError, debian.PackagesError, envtest.EnvtestError, ClusterError) as error:
        lifecycle.say(str(error))
        return 1


def _carry_out(layout: Layout, command: str, chosen: argparse.Namespace) -> int:
    match command:
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
        case _:
            archives = tuple(chosen.archives) or tuple(sorted(images.ARCHIVES.glob("*.tar")))
            if not archives:
                raise ClusterError(f"no archive in {images.ARCHIVES}: `make images` makes them")
            for archive in lifecycle.load(layout, archives):
                lifecycle.say(f"loaded {archive.name}")
    return 0


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
