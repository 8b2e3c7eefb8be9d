"""The options that all commands with a cluster share: which cluster, who, where. They are kubectl's own."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from tidemill_cli.cluster.kubectl import ClusterError, Kubectl
from tidemill_cli.cluster.tell import FAILED

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


Command = Callable[..., int]


def with_cluster(command: Command) -> Callable[..., None]:
    """A command of typer from a function that takes a `Kubectl` first and returns an exit code.

    It gets the shared options; a request that comes to nothing ends it with one line and exit code 1.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [each for name, each in signature.parameters.items() if name != "cluster"]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in _SHARED.items()
    ]

    def run(**given: Any) -> None:
        flags = [f"{flag}={given[name]}" for name, flag in _FLAGS.items() if given[name] is not None]
        flags += [f"--as-group={group}" for group in given["as_group"] or ()]
        cluster = Kubectl(tuple(flags), all_namespaces=bool(given.get("all_namespaces")))
        try:
            code = command(cluster, **{each.name: given[each.name] for each in own})
        except ClusterError as error:
            print(f"tidemill: {error}", file=sys.stderr)
            code = FAILED
        raise typer.Exit(code)

    run.__name__ = command.__name__
    run.__doc__ = command.__doc__
    keywords = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
    run.__signature__ = inspect.Signature([*keywords, *shared])  # type: ignore[attr-defined]  # typer reads it
    run.__annotations__ = {each.name: each.annotation for each in (*own, *shared)}
    return run
