"""Authors' SQL over block after block: each answer is about the rows that were asked about."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tidemill_api.errors import Internal
from tidemill_worker.engine.sandbox import Sandbox, Sandboxes

RULE = "SELECT coalesce(bool_and((n <> 13) IS TRUE), true) FROM raw"
GOOD = pa.table({"n": [1, 2]})
BAD = pa.table({"n": [1, 13]})


def test_each_block_is_asked_about_its_own_rows() -> None:
    sandbox = Sandbox({})
    answers = [sandbox.holds("raw", rows, RULE) for rows in (GOOD, BAD, GOOD, BAD)]
    assert answers == [True, False, True, False]


def test_blocks_of_other_chunks_too() -> None:
    answers = []
    for rows in (GOOD, BAD, GOOD):
        chunk = Sandboxes({"limit": 13})
        with chunk.one() as sandbox:
            answers.append(sandbox.holds("raw", rows, "SELECT bool_and(n <> $limit) FROM raw"))
        chunk.close()
    assert answers == [True, False, True]


def test_a_sandbox_in_use_outlives_its_chunk() -> None:
    chunk = Sandboxes({})
    with chunk.one() as sandbox:
        chunk.close()
        assert sandbox.holds("raw", GOOD, RULE)


def test_a_fault_of_the_library_is_not_the_query_s() -> None:
    class Broken(Sandbox):
        @property
        def _connection(self) -> object:  # type: ignore[override]  # stands for a connection that a library broke
            raise RuntimeError("std::bad_cast")

    with pytest.raises(Internal, match="RuntimeError"):
        Broken({}).over("raw", GOOD, "SELECT 1")
