"""The runs of a pipeline, as the cluster knows them: open ones, the last scheduled one, and those by hand. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tidemill_cli.cluster.kubectl import Object

OPEN = ("Pending", "Running")


@dataclass(frozen=True, slots=True)
class Run:
    """One run."""

    key: str
    result: str
    """Pending, Running, Succeeded, Failed, Skipped or Cancelled."""
    told: dict[str, Any]
    """The `RunSummary` of its status; empty if it never began."""
    manifest: Object | None = None
    """Its DataPipelineRun, if it was asked for by hand and that is still there."""
    message: str = ""

    @property
    def name(self) -> str:
        """Name of its DataPipelineRun; empty for scheduled ones."""
        return str(self.manifest["metadata"]["name"]) if self.manifest else ""

    @property
    def began(self) -> str:
        """When it began, or was asked for."""
        asked = self.manifest["metadata"]["creationTimestamp"] if self.manifest else ""
        return str(self.told.get("startedAt") or asked)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        by_hand = {"dataPipelineRun": self.name, "parameters": parameters_of(self.manifest)} if self.manifest else {}
        return {**self.told, "key": self.key, "result": self.result, **by_hand}


def run_of(manifest: Object) -> Run:
    """The run that a DataPipelineRun asks for."""
    status = manifest.get("status") or {}
    told = status.get("run") or {}
    ready: Object = next((each for each in status.get("conditions") or () if each["type"] == "Ready"), {})
    key = told.get("key") or manifest["spec"].get("runKey") or manifest["metadata"]["name"]
    message = told.get("error") or ready.get("message", "")
    return Run(key, status.get("phase") or "Pending", told, manifest, message)


def runs_of(pipeline: Object, by_hand: Iterable[Object]) -> list[Run]:
    """All runs that are known, the newest first. A run by hand stands once, as its own object tells it."""
    name = pipeline["metadata"]["name"]
    mine = [run_of(each) for each in by_hand if each["spec"]["pipelineRef"]["name"] == name]
    known = {run.told.get("workflowId") for run in mine}
    status = pipeline.get("status") or {}
    others = [*(status.get("activeRuns") or ()), *([status["lastRun"]] if status.get("lastRun") else ())]
    seen = [
        Run(told["key"], told["result"], told, None, told.get("error") or "")
        for told in others
        if told["workflowId"] not in known
    ]
    return sorted([*mine, *seen], key=lambda run: run.began, reverse=True)


def failed(runs: Iterable[Run]) -> list[Run]:
    """The failed ones whose key hasn't succeeded since and isn't being processed, one for each key, oldest first."""
    settled: set[str] = set()
    found: list[Run] = []
    for run in runs:  # the newest first
        if run.key not in settled and run.result == "Failed":
            found.append(run)
        settled.add(run.key)
    return found[::-1]


def parameters_of(manifest: Object | None) -> dict[str, Any]:
    """The parameters that a DataPipelineRun gives."""
    return dict((manifest or {}).get("spec", {}).get("parameters") or {})
