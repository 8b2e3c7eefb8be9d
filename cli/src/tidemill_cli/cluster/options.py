"""The options that all commands with a cluster share: which cluster, who, where. They are kubectl's own."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from tidemill_cli.cluster.kubectl import ClusterError, Kubectl
from tidemill_cli.cluster.tell import FAILED
from tidemill_cli.sharing import with_options

_SHARED: Final[dict[str, Any]] = {
    "namespace": Annotated[
        str | None, typer.Option("--namespace", "-n", help="Namespace; the context's own if not given.")
    ],
    "context": Annotated[str | None, typer.Option(help="Context of the kubeconfig; its current one if not given.")],
    "kubeconfig": Annotated[
        str | None, typer.Option(help="Kubeconfig file; KUBECONFIG or kubectl's own if not given.")
    ],
    "as_user": Annotated[str | None, typer.Option("--as", help="Act as this user, if you may.")],
    "as_group": Annotated[list[str] | None, typer.Option("--as-group", help="Act as in this group.")],
}
_FLAGS: Final = {"namespace": "--namespace", "context": "--context", "kubeconfig": "--kubeconfig", "as_user": "--as"}


class Reprocess(StrEnum):
    """Which times a backfill runs that have been run."""

    none = "None"
    failed = "Failed"
    completed = "Completed"


_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str | float) -> float:
    """A time to wait, as kubectl takes it (`150s`, `2m`, `1h30m`), or seconds without a unit. At least one second.

    Raises typer.BadParameter for anything else.
    """
    written = str(text).strip()
    parts = _PART.findall(written)
    if parts and "".join(number + unit for number, unit in parts) == written:
        found = sum(float(number) * _UNITS[unit] for number, unit in parts)
    else:
        try:
            found = float(written)
        except ValueError:
            found = math.nan
    if not 1 <= found < math.inf:
        raise typer.BadParameter(f"{written!r} is no time of at least a second: write it like 150s, 2m or 1h30m")
    return found


Command = Callable[..., int]


def with_cluster(command: Command) -> Callable[..., None]:
    """A command of typer from a function that takes a `Kubectl` first and returns an exit code.

    It gets the shared options; a request that comes to nothing ends it with one line and exit code 1.
    """

    def run(given: dict[str, Any], own: dict[str, Any]) -> None:
        flags = [f"{flag}={given[name]}" for name, flag in _FLAGS.items() if given[name] is not None]
        flags += [f"--as-group={group}" for group in given["as_group"] or ()]
        cluster = Kubectl(tuple(flags), all_namespaces=bool(given.get("all_namespaces")))
        try:
            code = command(cluster, **own)
        except ClusterError as error:
            print(f"tidemill: {error}", file=sys.stderr)
            code = FAILED
        raise typer.Exit(code)

    return with_options(command, "cluster", _SHARED, run)
