"""Functions of users: whether a pool allows them, and the columns that a Python step says it gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from tidemill_api import conditions
from tidemill_api.v1alpha1 import DataPipelineSpec, WorkerPoolSpec
from tidemill_api.v1alpha1.step import PythonStep
from tidemill_check.problem import Problem, listed

T = TypeVar("T")


def check_python(spec: DataPipelineSpec) -> Iterator[Problem]:
    """Columns of Python steps that later steps couldn't tell apart, and functions' rows that would be joined whole."""
    yield from _joined_whole(spec)
    for index, step in enumerate(spec.steps):
        if step.python is None:
            continue
        for field, columns in (("columns", step.python.columns), ("addColumns", step.python.add_columns)):
            folded = [column.name.lower() for column in columns]
            for place, name in enumerate(folded):
                if name in folded[:place]:
                    message = f"{columns[place].name} is there already (whatever the case): call it otherwise"
                    yield Problem(f"spec.steps[{index}].python.{field}[{place}].name", conditions.INVALID_SPEC, message)


def _joined_whole(spec: DataPipelineSpec) -> Iterator[Problem]:
    functions = {source.name for source in spec.sources if source.python is not None}
    for index, step in enumerate(spec.steps):
        for place, name in enumerate(step.inputs):
            if place and name in functions:
                message = (
                    f"{name} is a function, whose rows can't be joined whole, since it may give others each time: let "
                    "it be the first input, or load its rows by a pipeline of its own"
                )
                yield Problem(f"spec.steps[{index}].inputs[{place}]", conditions.INVALID_SPEC, message)


def check_entrypoints(spec: DataPipelineSpec, pool: WorkerPoolSpec) -> Iterator[Problem]:
    """Functions that the pool doesn't allow."""
    patterns = pool.python.allowed_entrypoints if pool.python is not None else ()
    for field, entrypoint in entrypoints(spec):
        if not allowed(entrypoint, patterns):
            what = f"it allows {listed(patterns)}" if patterns else "it allows none"
            yield Problem(
                field,
                conditions.ENTRYPOINT_DENIED,
                f"the pool doesn't allow {entrypoint}; {what}: the pool's owner adds it to spec.python."
                f"allowedEntrypoints of the WorkerPool {spec.worker_pool_ref.name}",
            )


def entrypoints(spec: DataPipelineSpec) -> Iterator[tuple[str, str]]:
    """The functions that a pipeline names, each with its field."""
    for index, source in enumerate(spec.sources):
        if source.python is not None:
            yield f"spec.sources[{index}].python.entrypoint", source.python.entrypoint
    for index, step in enumerate(spec.steps):
        if step.python is not None:
            yield f"spec.steps[{index}].python.entrypoint", step.python.entrypoint


def allowed(entrypoint: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns means it: `a.b:f`, `a.b:*`, or `a.*:*` for all modules below `a`."""
    module, _, function = entrypoint.partition(":")
    for pattern in patterns:
        within, _, name = pattern.partition(":")
        below = within.endswith(".*") and module.startswith(within.removesuffix("*"))
        if name in {"*", function} and (below or within == module):
            return True
    return False


def given_columns(step: PythonStep, before: Mapping[str, T], added: Sequence[tuple[str, T]]) -> dict[str, T] | str:
    """The columns that a step gives, with their types, or what is wrong with them.

    `before` are those of its first input; `added` those that the step names (`columns`, or `addColumns`), with types.
    """
    if step.columns:
        return dict(added)
    known = {name.lower() for name in before}
    for name, _ in added:
        if name.lower() in known:
            return f"the first input has a column {name} already: list all columns that the step gives (columns)"
    return {**before, **dict(added)}
