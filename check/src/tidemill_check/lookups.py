"""Tables whose rows are kept in the pool's cache: only those that are joined whole, and by no other way."""

from __future__ import annotations

from collections.abc import Iterator

from tidemill_api import conditions
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_check.problem import Problem
from tidemill_check.stages import cut


def check_lookups(spec: DataPipelineSpec) -> Iterator[Problem]:
    """Kept tables that drive a pass over rows. For pipelines whose graph is right.

    Such rows pass by in chunks and are loaded: each run is asked for what is there now, and nobody asks again.
    """
    driving = {stage.source for stage in cut(spec).stages}
    for index, source in enumerate(spec.sources):
        if source.postgres is not None and source.postgres.cache is not None and source.name in driving:
            message = (
                f"the rows of {source.name} aren't only joined to others, but worked on by themselves: that is done "
                "anew in each run; leave cache out, or declare a second source of the table for the join"
            )
            yield Problem(f"spec.sources[{index}].postgres.cache", conditions.INVALID_SPEC, message)
