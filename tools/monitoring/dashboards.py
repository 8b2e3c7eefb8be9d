"""All dashboards."""

from __future__ import annotations

from typing import Final

from tools.monitoring import boards_data, boards_fleet, boards_operator, boards_pipeline, boards_pool, boards_sdk

DASHBOARDS: Final = (
    boards_fleet.BOARD,
    boards_pipeline.BOARD,
    boards_data.BOARD,
    boards_pool.BOARD,
    boards_operator.BOARD,
    boards_sdk.BOARD,
)
