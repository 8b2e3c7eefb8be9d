"""Functions as authors of pipelines write them, right and wrong ones: tests of Python steps name them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from subprocess import run

import pyarrow as pa
import pyarrow.compute as pc

import tidemill
from tests.support.waiting import until

__all__ = ["run", "until"]
STARTED = threading.Event()
"""Set by functions that don't end by themselves."""
RELEASED = threading.Event()
"""What the one that hears nothing waits for."""


def same(batch: tidemill.Batch) -> pa.Table:
    return batch.rows


def doubled(batch: tidemill.Batch) -> pa.RecordBatch:
    table = batch.rows.append_column("twice", pc.multiply(batch.rows["id"], 2))
    return table.combine_chunks().to_batches()[0]


def by_parameter(batch: tidemill.Batch) -> pa.Table:
    factor = batch.context.parameters["factor"]
    assert batch.context.step == "made", batch.context
    assert batch.context.interval_end == batch.context.run_time
    return batch.rows.append_column("twice", pc.multiply(batch.rows["id"], factor))


def looked_up(batch: tidemill.Batch) -> pa.Table:
    names = dict(zip(*(batch.others["names"][name].to_pylist() for name in ("id", "name")), strict=True))
    return batch.rows.append_column("name", pa.array([names.get(key) for key in batch.rows["id"].to_pylist()]))


def rejecting(batch: tidemill.Batch) -> pa.Table:
    odd = pc.equal(pc.bit_wise_and(batch.rows["id"], 1), 1)
    batch.reject(odd, rule="odd", message="isn't even")
    batch.reject([2], rule="third")
    batch.reject([], rule="none")
    batch.skip([4])
    return batch.rows


def fewer(batch: tidemill.Batch) -> tidemill.Rows:
    """In another order, too."""
    batch.reject([0], rule="first")
    return tidemill.Rows(batch.rows.take(pa.array([3, 1, 0])), [3, 1, 0])


def copies(batch: tidemill.Batch) -> tidemill.Rows:
    places = [row for row in range(batch.rows.num_rows) for _ in range(row)]
    return tidemill.Rows(batch.rows.take(pa.array(places, pa.int64())), pa.array(places, pa.int32()))


def too_large(batch: tidemill.Batch) -> pa.Table:
    return batch.rows.set_column(0, "id", pc.multiply(batch.rows["id"], 40_000))


def nothing(batch: tidemill.Batch) -> None:
    del batch


def each(batch: tidemill.Batch) -> Iterator[dict[str, int]]:
    yield from batch.rows.to_pylist()


def shorter(batch: tidemill.Batch) -> pa.Table:
    return batch.rows.slice(1)


def other_columns(batch: tidemill.Batch) -> pa.Table:
    return batch.rows.rename_columns(["ident"])


def texts(batch: tidemill.Batch) -> pa.Table:
    return pa.table({"id": batch.rows["id"].cast(pa.string())})


def from_beyond(batch: tidemill.Batch) -> tidemill.Rows:
    return tidemill.Rows(batch.rows.slice(0, 1), [77])


def from_fewer(batch: tidemill.Batch) -> tidemill.Rows:
    return tidemill.Rows(batch.rows, [0])


def from_words(batch: tidemill.Batch) -> tidemill.Rows:
    return tidemill.Rows(batch.rows, ["a"])


def mask_too_short(batch: tidemill.Batch) -> pa.Table:
    batch.reject([True], rule="odd")
    return batch.rows


def no_rule(batch: tidemill.Batch) -> pa.Table:
    batch.reject([0], rule="Too fast!")
    return batch.rows


def quoting(batch: tidemill.Batch) -> pa.Table:
    int(f"private {batch.rows['id'][0]}")
    return batch.rows


def raising(batch: tidemill.Batch) -> pa.Table:
    del batch
    raise LookupError(" the table of names is empty\n" + 600 * "!")


def deep(batch: tidemill.Batch) -> pa.Table:
    def below() -> pa.Table:
        return pa.table({"id": [object()]})

    del batch
    return below()


def leaving(batch: tidemill.Batch) -> pa.Table:
    del batch
    raise SystemExit(3)


def down(batch: tidemill.Batch) -> pa.Table:
    del batch
    raise tidemill.Unavailable("the service of rates doesn't answer")


def endless(batch: tidemill.Batch) -> pa.Table:
    STARTED.set()
    while True:
        try:
            batch.rows.column("id")
        except Exception:  # noqa: BLE001, S112 - what an author may write, and must not keep a run from ending
            continue


def deaf(batch: tidemill.Batch) -> pa.Table:
    batch.context.log.warning("deaf has begun")
    STARTED.set()
    RELEASED.wait()
    return batch.rows


def counted(whole: tidemill.Whole) -> pa.Table:
    return pa.table({name: [table.num_rows] for name, table in whole.tables.items()})


NOT_A_FUNCTION = 3


def graded(batch: tidemill.Batch) -> tidemill.Rows:
    """Row by row: some are rejected, skipped, left out, or twice in the answer."""
    ids = pc.cast(batch.rows["id"], pa.int64())
    longs = dict(zip(*(batch.others["names"][name].to_pylist() for name in ("name", "long")), strict=True))
    batch.reject(pc.equal(_rest(ids, 89), 0), rule="unlucky", message="nobody wants them")
    batch.reject(pc.equal(_rest(ids, 178), 0), rule="more-unlucky")
    batch.skip(pc.equal(_rest(ids, 83), 0))
    places = [row for row, key in enumerate(ids.to_pylist()) for _ in range(0 if key % 79 == 0 else 1 + (key % 7 == 0))]
    rows = batch.rows.append_column("long", pa.array([longs.get(name) for name in batch.rows["name"].to_pylist()]))
    rows = rows.append_column("grade", pc.multiply(_rest(ids, 10), 5000))
    return tidemill.Rows(rows.take(pa.array(places, pa.int64())), places)


def _rest(values: pa.ChunkedArray, by: int) -> pa.ChunkedArray:
    return pc.subtract(values, pc.multiply(pc.divide(values, by), by))


def by_grade(whole: tidemill.Whole) -> pa.Table:
    found = whole.rows.group_by("grade").aggregate([("id", "sum"), ("id", "count")])
    table = found.rename_columns(["grade", "total", "rows"])
    return table.append_column("names", pa.repeat(whole.tables["names"].num_rows, table.num_rows))


def acted(batch: tidemill.Batch) -> tidemill.Rows:
    """What each row says of itself: keep, reject, skip, both, drop, twice, or a value beyond its type."""
    acts = batch.rows["act"].to_pylist()
    batch.reject([act in {"reject", "both"} for act in acts], rule="asked")
    batch.skip([row for row, act in enumerate(acts) if act in {"skip", "both"}])
    places = [row for row, act in enumerate(acts) for _ in range({"drop": 0, "twice": 2}.get(act, 1))]
    places.reverse()
    rows = batch.rows.append_column("value", pa.array([40_000 if act == "large" else 1 for act in acts]))
    return tidemill.Rows(rows.take(pa.array(places, pa.int64())), places)


def deaf_over_all(whole: tidemill.Whole) -> pa.Table:
    return deaf(tidemill.Batch(whole.rows, context=whole.context))


def orders(source: tidemill.Source) -> Iterator[object]:
    """Five rows a run, of every sort of batch, and one that is bad; the state is the number that comes next."""
    first = source.state.get("next", 0)
    yield [{"id": first, "name": "listed", "beside": 1}, {"id": "x", "name": "bad"}]
    yield {"id": first + 1, "name": source.context.run_time}
    yield pa.table({"id": [first + 2, first + 3], "name": ["table", None]})
    source.state["next"] = first + 5
    yield pa.record_batch({"id": pa.array([first + 4], pa.int16()), "name": ["record"]})


def half_a_pair(_source: tidemill.Source) -> Iterator[object]:
    """A row that can't be written as UTF-8, between two that can."""
    yield [{"id": 1, "name": "one"}, {"id": 2, "name": "\ud800"}, {"id": 3, "name": "three"}]


def unsteady(source: tidemill.Source) -> Iterator[object]:
    """Gives rows, and breaks off."""
    source.state["next"] = 99
    yield {"id": 1}
    raise tidemill.Unavailable("the shop has closed")


def no_batches(source: tidemill.Source) -> int:
    return len(source.state)


def odd_batches(source: tidemill.Source) -> Iterator[object]:
    del source
    yield 7


def odd_state(source: tidemill.Source) -> Iterator[object]:
    source.state["now"] = source
    yield {"id": 1}


def large_state(source: tidemill.Source) -> Iterator[object]:
    source.state["all"] = 70_000 * "x"
    yield {"id": 1}


def deaf_source(source: tidemill.Source) -> Iterator[pa.Table]:
    yield deaf(tidemill.Batch(pa.table({"id": [1]}), context=source.context))
