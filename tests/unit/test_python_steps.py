"""Python steps over batches: what becomes of rows, and what is said of functions that do what they must not."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as thorough
from hypothesis import strategies as st

import tidemill
from tests.support import author_steps
from tidemill_api.errors import PythonFailed, PythonUnavailable, StepFailed, TidemillError
from tidemill_api.v1alpha1.step import PythonStep
from tidemill_worker.engine.model import Stopped
from tidemill_worker.engine.python import calls as calling
from tidemill_worker.engine.python.calls import Calls
from tidemill_worker.engine.python.steps import Made, Python
from tidemill_worker.engine.python.whole import WholePython, held

NOW = datetime(2026, 1, 1, tzinfo=UTC)
VALUES = {"factor": 3, "run_time": NOW, "interval_end": NOW, "interval_start": NOW}
ROWS = pa.table({"id": pa.array([70, 71, 72, 73, 74], pa.int32())})
NAMES = pa.table({"id": [71], "name": ["one"]})
MANY = {"mayMultiply": True}
WIDE = {"columns": [{"name": "id", "type": "int64"}]}
TWICE: dict[str, Any] = {"addColumns": [{"name": "twice", "type": "int32"}]}


def step_of(function: str, calls: Calls, inputs: tuple[str, ...] = ("raw",), **settings: Any) -> Python:
    entrypoint = function if ":" in function else f"tests.support.author_steps:{function}"
    model = PythonStep.model_validate({"entrypoint": entrypoint, **settings})
    return Python("made", inputs, "spec.steps[0]", model, calls)


def made(function: str, settings: Mapping[str, Any], inputs: tuple[str, ...] = ("raw",)) -> Made:
    return step_of(function, Calls(VALUES), inputs, **settings).answer(ROWS, {"names": NAMES})


@pytest.mark.parametrize(
    ("function", "settings", "rows", "places"),
    [
        ("same", {}, [(70,), (71,), (72,), (73,), (74,)], [0, 1, 2, 3, 4]),
        ("doubled", TWICE, [(70, 140), (71, 142), (72, 144), (73, 146), (74, 148)], [0, 1, 2, 3, 4]),
        ("by_parameter", TWICE, [(70, 210), (71, 213), (72, 216), (73, 219), (74, 222)], [0, 1, 2, 3, 4]),
        ("rejecting", {}, [(70,)], [0]),
        ("fewer", {}, [(71,), (73,)], [1, 3]),
        ("copies", MANY, [(71,), (72,), (72,), *3 * [(73,)], *4 * [(74,)]], [1, 2, 2, *3 * [3], *4 * [4]]),
        ("too_large", WIDE, [(40_000 * n,) for n in range(70, 75)], [0, 1, 2, 3, 4]),
    ],
)  # fmt: skip
def test_rows_are_traced(
    function: str, settings: dict[str, Any], rows: list[tuple[int, ...]], places: list[int]
) -> None:
    found = made(function, settings)
    assert [tuple(row.values()) for row in found.table.to_pylist()] == rows
    assert found.places.to_pylist() == places
    assert found.rows_out == len(set(places))
    assert found.rows_out + len(found.rejected) <= ROWS.num_rows


def test_rejected_rows_have_their_rules() -> None:
    found = made("rejecting", {})
    assert {row: (why.rules, why.error) for row, why in found.rejected.items()} == {
        1: (("odd",), "breaks odd: isn't even"),
        2: (("third",), "breaks third"),
        3: (("odd",), "breaks odd: isn't even"),
    }
    assert found.rows_out == 1, "the last one is skipped"


def test_a_value_beyond_its_type_is_its_rows_fault() -> None:
    found = made("too_large", {"columns": [{"name": "id", "type": "int16"}]})
    assert found.table.num_rows == 0
    assert [(why.rules, "id: " in why.error, "2800000" in why.error) for why in found.rejected.values()] == 5 * [
        ((), True, False)
    ]


def test_other_inputs_are_whole() -> None:
    found = made("looked_up", {"addColumns": [{"name": "name", "type": "string"}]}, ("raw", "names"))
    assert found.table.column("name").to_pylist() == [None, "one", None, None, None]


def test_a_function_isn_t_called_for_no_rows() -> None:
    found = step_of("raising", Calls(VALUES), **TWICE).answer(ROWS.slice(0, 0), {})
    assert (found.table.num_rows, found.table.schema.names, found.rows_out) == (0, ["id", "twice"], 0)


AT = r" \(at tests\.support\.author_steps:\d+ in {}\)$"


@pytest.mark.parametrize(
    ("function", "settings", "says"),
    [
        ("nothing", {}, r"author_steps:nothing must return an Arrow table, and returned nothing \(None\)$"),
        ("each", {}, "must return an Arrow table, and returned a generator$"),
        ("shorter", {}, "returned 4 rows for 5: return one for each"),
        ("other_columns", {}, "must return the columns id; its table lacks id and has ident beside them"),
        ("same", TWICE, "must return the columns id and twice; its table lacks twice"),
        ("texts", {}, "the column id must be of type int32, not string"),
        ("from_beyond", {}, "origin of the tidemill.Rows that it returned must be numbers from 0 to 4"),
        ("from_fewer", {}, "must name a row of the batch for each of the 5 rows, and has 1"),
        ("from_words", {}, "origin of the tidemill.Rows that it returned must be whole numbers"),
        ("copies", {}, "names a row more than once: say mayMultiply: true"),
        ("mask_too_short", {}, "raised ValueError: reject: a mask has a value for each of the 5 rows, this one has 1"),
        ("no_rule", {}, "raised ValueError: reject: 'Too fast!' is no name of a rule: small letters"),
        ("quoting", {}, "raised ValueError" + AT.format("quoting")),
        ("raising", {}, "raised LookupError: the table of names is empty !{472}…" + AT.format("raising")),
        ("deep", {}, r"raised ArrowInvalid \(at tests\.support\.author_steps:\d+ in deep, .*:\d+ in below\)$"),
        ("leaving", {}, "raised SystemExit: 3"),
        ("missing", {}, "the module tests.support.author_steps has no function missing"),
        ("NOT_A_FUNCTION", {}, "has a int, not a function, called NOT_A_FUNCTION"),
        ("run", {}, "author_steps:run isn't a function of tests.support.author_steps: it is imported from subprocess"),
        ("until", {}, "isn't a function of tests.support.author_steps: it is imported from tests.support.waiting"),
        ("nowhere.steps:enrich", {}, "there is no module nowhere for nowhere.steps:enrich: it must be in the image"),
        ("tests.nowhere:enrich", {}, "there is no module tests.nowhere"),
    ],
)
def test_a_wrong_function_is_named_and_no_row_quoted(function: str, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(PythonFailed, match=r"^step made: ") as caught:
        made(function, settings)
    assert caught.match(says)
    assert caught.value.step == "made"
    assert not caught.value.retryable
    assert "70" not in str(caught.value).replace("tests.support.author_steps:", "").partition("(at")[0]
    assert caught.value.__cause__ is None
    if function == "quoting":
        assert "private 70" in caught.value.detail, "for who runs it on a machine of his own"


def test_a_function_may_say_that_it_must_wait() -> None:
    with pytest.raises(PythonUnavailable, match=r"step made: .*:down: the service of rates doesn't answer$") as caught:
        made("down", {})
    assert caught.value.retryable


@pytest.mark.parametrize("function", ["endless", "deaf"])
def test_what_is_told_to_end_isn_t_waited_for(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "LEAVE_AFTER", 1.0)
    author_steps.STARTED.clear()
    author_steps.RELEASED.clear()
    calls = Calls(VALUES)
    step = step_of(function, calls)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(step.answer, ROWS, {})
        assert author_steps.STARTED.wait(10)
        began = time.monotonic()
        calls.stop()
        with pytest.raises(Stopped):
            running.result(10)
    assert time.monotonic() - began < 5
    with pytest.raises(Stopped):
        step.answer(ROWS, {})
    left = [thread for thread in threading.enumerate() if thread.name == "tidemill step made"]
    assert len(left) == (function == "deaf")
    author_steps.RELEASED.set()
    for thread in left:
        thread.join(10)
        assert not thread.is_alive()


def test_whole_gets_all_inputs() -> None:
    model = PythonStep.model_validate(
        {
            "entrypoint": "tests.support.author_steps:counted",
            "mode": "Whole",
            "columns": [{"name": "raw", "type": "int16"}, {"name": "names", "type": "int64"}],
        }
    )
    step = WholePython("made", ("raw", "names"), "spec.steps[0]", model)
    table = step.answer({"raw": ROWS, "names": NAMES, "other": NAMES}, Calls(VALUES))
    assert table.to_pylist() == [{"raw": 5, "names": 1}]
    assert table.schema.types == [pa.int16(), pa.int64()]


def test_inputs_larger_than_the_memory_are_refused(tmp_path: Any) -> None:
    from pyarrow import parquet as pq

    pq.write_table(pa.table({"x": list(range(100_000))}), tmp_path / "a.parquet")
    step = WholePython("made", ("raw",), "spec.steps[0]", PythonStep(entrypoint="a:b", mode="Whole"))
    files = {"raw": [tmp_path / "a.parquet", tmp_path / "a.parquet"]}
    assert held(step, files, 2 << 20)["raw"].num_rows == 200_000
    with pytest.raises(StepFailed, match=r"step made: its inputs need more memory than a step may have \(1 MiB\)"):
        held(step, files, 1 << 20)


ACTS = ("keep", "reject", "skip", "both", "drop", "twice", "large")


@thorough(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(ACTS), max_size=12), st.integers(0, 12))
def test_each_row_is_out_rejected_or_skipped_wherever_rows_are_cut(acts: list[str], cut: int) -> None:
    step = step_of("acted", Calls(VALUES), addColumns=[{"name": "value", "type": "int16"}], mayMultiply=True)
    rows = pa.table({"place": pa.array(range(len(acts)), pa.int32()), "act": pa.array(acts, pa.string())})

    found = step.answer(rows, {})

    out = [place for place, act in enumerate(acts) for _ in range({"keep": 1, "twice": 2}.get(act, 0))]
    assert found.table.column("place").to_pylist() == found.places.to_pylist() == out
    assert list(found.rejected) == [place for place, act in enumerate(acts) if act in {"reject", "both", "large"}]
    assert found.rows_out == len(set(out))
    parts = [step.answer(rows.slice(0, cut), {}), step.answer(rows.slice(cut), {})]
    assert pa.concat_tables([each.table for each in parts]).equals(found.table)
    assert sum(len(each.rejected) for each in parts) == len(found.rejected)


def test_the_public_names() -> None:
    assert tidemill.__all__ == [
        "Batch",
        "Context",
        "Rejection",
        "Rows",
        "RowsLike",
        "Source",
        "Unavailable",
        "Whole",
    ]


def test_a_batch_for_a_test_needs_rows_only() -> None:
    batch = tidemill.Batch(ROWS)
    assert author_steps.rejecting(batch) is batch.rows
    assert [(each.rule, each.rows.to_pylist()) for each in batch.rejections] == [("odd", [1, 3]), ("third", [2])]
    assert batch.skipped.to_pylist() == [4]
    for wrong in ([True], [5], [-1], ["a"], [0.5]):
        with pytest.raises(ValueError, match="reject: "):
            batch.reject(wrong, rule="odd")


def test_errors_are_of_the_tree() -> None:
    assert issubclass(PythonFailed, TidemillError)
