"""`python -m tidemill_operator.leftovers`: is anything left that needs an operator to go? 0 if nothing is, else 1.

The chart runs it before an uninstall that takes the CRDs along (`crds.keep=false`): the operator's finalizers hold each
object until its Schedules and runs are gone, so with the operator gone first all of it would hang for ever.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tidemill_api.errors import TidemillError
from tidemill_api.names import GROUP
from tidemill_operator.adapters.kubernetes import RESOURCES, KubernetesClient
from tidemill_operator.clients import KubernetesError

_KINDS: Final = ("DataPipelineRun", "DataPipeline", "WorkerPool", "TemporalConnection")
"""In the order in which they let go of each other."""
_SHOWN: Final = 5
"""So many of each kind are called by name."""


async def leftovers(kubernetes: KubernetesClient) -> dict[str, list[str]]:
    """`namespace/name` of all objects of our kinds in the cluster, by kind; kinds without any aren't there."""
    found: dict[str, list[str]] = {}
    for kind in _KINDS:
        try:
            async for page, _ in kubernetes.list(kind, None):
                for each in page:
                    found.setdefault(kind, []).append(f"{each['metadata']['namespace']}/{each['metadata']['name']}")
        except KubernetesError as error:
            if error.code != 404:  # the kind itself is gone
                raise
    return found


def refusal(found: Mapping[str, Sequence[str]], release: str, namespace: str, revision: int) -> str:
    """What is left, and what to type."""
    listed = "\n".join(f"  {kind}: {_some(names)}" for kind, names in found.items())
    plurals = ",".join(f"{RESOURCES[kind][1]}.{GROUP}" for kind in _KINDS)
    place = f"--namespace {namespace}"
    return f"""REFUSED: this uninstall takes the CRDs along (crds.keep=false), and there are objects of theirs.
Without the operator nobody would remove their Schedules from Temporal, and they would hang on its finalizers:
{listed}
Delete them while the operator runs, then uninstall again:
  kubectl delete {plurals} --all --all-namespaces
  helm uninstall {release} {place}
Or keep them and their kinds:
  helm rollback {release} {revision} {place}
  helm upgrade {release} CHART {place} --reset-then-reuse-values --set crds.keep=true"""


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def main() -> int:
    """The whole command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tidemill_operator.leftovers", description="Is anything left?")
    parser.add_argument("--release", required=True, help="of Helm, for what to type")
    parser.add_argument("--namespace", required=True, help="the release's")
    parser.add_argument("--revision", required=True, type=int, help="the release's, for the way back")
    parser.add_argument("--kubeconfig", type=Path, help="the pod's service account if not given")
    given = parser.parse_args()
    try:
        found = asyncio.run(_look(given.kubeconfig))
    except TidemillError as error:
        sys.stdout.write(f"FAILED: {error}\n")
        return 1
    if found:
        sys.stdout.write(f"{refusal(found, given.release, given.namespace, given.revision)}\n")
        return 1
    sys.stdout.write("ok: no object needs the operator\n")
    return 0


async def _look(kubeconfig: Path | None) -> dict[str, list[str]]:
    kubernetes = await KubernetesClient.connect(kubeconfig, None, lambda *_: None)
    try:
        return await leftovers(kubernetes)
    finally:
        await kubernetes.close()


if __name__ == "__main__":
    sys.exit(main())
