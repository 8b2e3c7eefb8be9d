"""What the end of a run has to clean up."""

from __future__ import annotations

from typing import Any

import pytest

from tidemill_worker.activities.finish import may_keep


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, False),
        ({"steps": None}, False),
        ({"steps": [{"name": "valid", "validate": {}}]}, False),
        ({"steps": [{"name": "valid", "validate": {}}, {"name": "sums", "sql": {"query": "SELECT 1"}}]}, True),
        ({"steps": [{"name": "ranked", "python": {"entrypoint": "a:b", "mode": "Whole"}}]}, True),
    ],
)
def test_rows_may_have_been_kept_by_steps_that_can_need_all(spec: dict[str, Any], expected: bool) -> None:
    assert may_keep(spec) is expected
