"""Pieces of PromQL that rules and panels share."""

from __future__ import annotations

from typing import Final

PIPELINE: Final = "pipeline_namespace, pipeline"
POOL: Final = "pool_namespace, pool"
CONNECTION: Final = "connection_namespace, connection"


def of_pipelines(series: str) -> str:
    """One value a pipeline, whoever leads: while leaders change both of them may be scraped."""
    return f"max by ({PIPELINE}) ({series})"


def of_pools(series: str) -> str:
    """One value a pool, whoever leads."""
    return f"max by ({POOL}) ({series})"


def not_suspended(expression: str) -> str:
    """Without the pipelines that are suspended: nothing is promised of them."""
    return f"{expression}\nunless on ({PIPELINE}) {of_pipelines('tidemill_pipeline_suspended')} == 1"


_SECONDS: Final = {"m": 60, "h": 3600, "d": 86400}


def since(series: str, window: str) -> str:
    """By how much something that pipelines keep over restarts has grown.

    Only for series that no restart of the operator resets: it compares now with then, so it costs the same however long
    the window is. What a pipeline had before it was made is 0; where nothing is known of then there is no value.
    """
    seconds = int(window[:-1]) * _SECONDS[window[-1]]
    young = of_pipelines(f"tidemill_pipeline_created_timestamp_seconds > time() - {seconds}")
    then = f"{of_pipelines(f'{series} offset {window}')} or on ({PIPELINE}) 0 * {young}"
    return f"({of_pipelines(series)} - ({then}))"
