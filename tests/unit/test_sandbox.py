"""Authors' SQL over block after block: each answer is about the rows that were asked about."""

from __future__ import annotations

import duckdb
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


def test_a_name_may_stand_for_other_columns_and_for_a_join_s_table() -> None:
    sandbox = Sandbox({})
    texts = pa.table({"n": ["a", "b"]})
    counts = "SELECT count(*) AS c, min(n)::VARCHAR AS least FROM raw"
    found = [sandbox.over("raw", rows, counts).to_pylist() for rows in (GOOD, texts, BAD.slice(1))]
    found.append(
        sandbox.joining("raw", texts, {"other": GOOD}, "SELECT count(*) AS c, 'x' AS least FROM raw, other").to_pylist()
    )
    found.append(sandbox.over("other", texts, "SELECT count(*) AS c, min(n) AS least FROM other").to_pylist())
    assert found == [[{"c": c, "least": least}] for c, least in ((2, "1"), (2, "a"), (1, "13"), (4, "x"), (2, "a"))]


def test_a_chunk_gets_nothing_of_another_one() -> None:
    first, second = Sandboxes({}), Sandboxes({})
    with first.one() as sandbox:
        sandbox.joining("raw", GOOD, {"whole": BAD}, "SELECT * FROM raw, whole")
        sandbox.holds("mine", GOOD, "SELECT count(*) > 0 FROM mine")
    with second.one() as other:
        assert other is sandbox
        for name in ("raw", "whole", "mine"):
            with pytest.raises(duckdb.CatalogException):
                other.over("n", GOOD, f"SELECT * FROM {name}")
    first.close()
    second.close()


def test_chunks_that_take_turns_share_a_sandbox() -> None:
    first, second = Sandboxes({"limit": 1}), Sandboxes({"limit": 2})
    seen = set()
    for chunk, limit in ((first, 1), (second, 2), (first, 1)):
        with chunk.one() as sandbox:
            seen.add(sandbox)
            assert sandbox.over("raw", GOOD, "SELECT $limit AS l FROM raw LIMIT 1").to_pylist() == [{"l": limit}]
    assert len(seen) == 1
    first.close()
    second.close()


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
