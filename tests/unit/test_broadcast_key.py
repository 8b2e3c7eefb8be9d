"""What a worker keeps of whole inputs between chunks: files by what they hold, tables and APIs for one execution."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.engine import spec_of
from tidemill_api.errors import ArtifactGone
from tidemill_worker.engine.artifacts import Artifacts
from tidemill_worker.engine.broadcast import Answers, _key
from tidemill_worker.engine.model import Asked, Chunk, KeyRange, Layout, Part, RunRef
from tidemill_worker.files import FileRef

RUN = RunRef("uid", "2026-01-01", 1, "travel", "flights", datetime(2026, 1, 1, tzinfo=UTC))
PARTS: dict[str, tuple[dict[str, Any], bool]] = {
    "a file": ({}, False),
    "an API": ({"asked": Asked("items")}, True),
    "a table": ({"keys": KeyRange()}, True),
}


def store() -> Artifacts:
    raise ArtifactGone("nobody looks at it")


def key(run: RunRef, part: Part) -> str:
    chunk = Chunk(0, 0, "other", replace(part, asked=None, keys=None), (("raw", (part,)),))
    return _key(spec_of(), ("raw",), chunk, {}, Answers(store, run, ()))


@pytest.mark.parametrize("name", PARTS)
def test_what_is_asked_for_is_kept_for_one_execution(name: str) -> None:
    settings, live = PARTS[name]
    part = Part(FileRef("a.csv", 1, 1), Layout(0, ()), 0, None, 1, **settings)
    first = key(RUN, part)
    assert key(RUN, part) == first, "chunks of one execution share it"
    others = [replace(RUN, execution=2), replace(RUN, run_key="2026-01-02"), replace(RUN, uid="another")]
    assert [key(run, part) != first for run in others] == [live] * 3
