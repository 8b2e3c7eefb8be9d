"""`kubectl_complete-tidemill`: kubectl asks it what may come next, and prints that in any shell."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, Final

_NO_FILES: Final = ":4"
"""Last line of the answer, in the words of kubectl's completion: file names are no answer."""
_FILES: Final = ":0"
_OF_PIPELINES: Final = ("run", "runs", "pause", "resume")
_OF_BOTH: Final = ("cancel", "rerun", "logs")
_WITH_CLUSTER: Final = {
    **dict.fromkeys(_OF_PIPELINES, ("DataPipeline",)),
    **dict.fromkeys(_OF_BOTH, ("DataPipeline", "DataPipelineRun")),
    "status": ("DataPipeline", "WorkerPool", "TemporalConnection"),
    "describe": ("DataPipeline", "WorkerPool", "DataPipelineRun", "TemporalConnection"),
}
"""Command -> kinds whose names it takes."""


def main() -> None:
    """Print what may complete the last argument, one a line, then how the shell is to take it."""
    found = complete(sys.argv[1:])
    if found is not None:
        print("\n".join(found))
    print(_NO_FILES if found is not None else _FILES)


def complete(words: Sequence[str]) -> list[str] | None:
    """What may stand in place of the last word; None: a file name."""
    *before, last = words or ("",)
    commands = _commands()
    command = next((word for word in before if word in commands), None)
    if command is None:
        return _beginning(last, commands)
    options = commands[command]
    flag = before[-1] if before[-1].startswith("-") else None
    if flag is not None and flag in options and not options[flag].is_flag:
        return _beginning(last, _values(flag, options[flag], before))
    if last.startswith("-"):
        return _beginning(last, options)
    if command in _WITH_CLUSTER:
        return _beginning(last, _names(_WITH_CLUSTER[command], before))
    if command == "explain":
        from tidemill_cli.cluster.explain import paths

        return _beginning(last, paths())
    return None


def _commands() -> dict[str, dict[str, Any]]:
    """Each command's options by the words that name them."""
    import typer.main

    from tidemill_cli.app import app

    group: Any = typer.main.get_command(app)
    return {
        name: {word: each for each in command.params if each.param_type_name == "option" for word in each.opts}
        for name, command in group.commands.items()
    }


def _values(flag: str, option: Any, before: Sequence[str]) -> list[str]:
    match flag:
        case "-n" | "--namespace":
            return _kubectl(before, "get", "namespaces", "--output=name")
        case "--context":
            return _kubectl(before, "config", "get-contexts", "--output=name")
        case _:
            return [each.value for each in type(option.default)] if isinstance(option.default, Enum) else []


def _names(kinds: Iterable[str], before: Sequence[str]) -> list[str]:
    from tidemill_cli.cluster.kubectl import KINDS

    found = _kubectl(before, "get", ",".join(KINDS[kind] for kind in kinds), "--output=name")
    return sorted({name for name in found if name not in before})


def _kubectl(before: Sequence[str], *arguments: str) -> list[str]:
    """What kubectl lists with the flags given so far; nothing if it can't: completion is no place for errors."""
    from tidemill_cli.cluster.kubectl import ClusterError, Kubectl

    given = " ".join(before)
    wanted = r"(?:^| )(-n|--namespace|--context|--kubeconfig)[ =](\S+)"
    flags = [f"{'--namespace' if flag == '-n' else flag}={value}" for flag, value in re.findall(wanted, given)]
    try:
        text = Kubectl((*flags, "--request-timeout=3s")).text(*arguments)
    except (ClusterError, subprocess.SubprocessError, OSError):
        return []
    return [line.rpartition("/")[2] for line in text.splitlines()]


def _beginning(start: str, words: Iterable[str]) -> list[str]:
    return sorted(word for word in words if str(word).startswith(start))
