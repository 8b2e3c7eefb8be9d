"""Pure functions on a real Redis: called once for the same rows, and no worse than without it when Redis misbehaves."""

from __future__ import annotations

import importlib
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import redis

from tests.support.fixtures import unique
from tidemill_api.errors import PythonFailed, PythonUnavailable
from tidemill_api.v1alpha1.step import PythonStep
from tidemill_cli.dev.components.redis import RedisServer
from tidemill_codec.ring import KeyRing
from tidemill_worker.cache import Cache
from tidemill_worker.cache.redis_store import RedisStore
from tidemill_worker.engine.model import Stopped
from tidemill_worker.engine.python import builds
from tidemill_worker.engine.python.calls import Calls
from tidemill_worker.engine.python.steps import Made, Python
from tidemill_worker.engine.python.whole import WholePython

NOW = datetime(2026, 1, 1, tzinfo=UTC)
VALUES: dict[str, object] = {"factor": 3, "run_time": NOW, "interval_end": NOW, "interval_start": NOW}
ROWS = pa.table({"id": pa.array([70, 71, 72, 73, None], pa.int32()), "name": ["a", "b", "private", None, ""]})
OTHERS = {"names": pa.table({"id": [71], "name": ["one"]})}
MANY = {"mayMultiply": True}
FUNCTIONS = """
import threading

import pyarrow as pa
import pyarrow.compute as pc

from tidemill import Batch, Rows, Unavailable

CALLS = []
GO = threading.Event()
BEGUN = threading.Event()


def same(batch):
    CALLS.append(batch.rows.num_rows)
    return batch.rows


other = lambda batch: same(batch)


def rejecting(batch):
    batch.reject([1, 3], rule="odd", message="isn't even")
    batch.reject([3], rule="third")
    batch.skip([4])
    return same(batch)


def copies(batch):
    places = [4, 2, 2, 0]
    return Rows(same(batch).take(pa.array(places)), places)


def too_large(batch):
    rows = same(batch)
    return rows.set_column(0, "id", pc.multiply(rows["id"].cast("int64"), 1_000_000_000))


def counted(whole):
    CALLS.append(whole.rows.num_rows)
    return pa.table({"rows": pa.array([whole.rows.num_rows + whole.tables["names"].num_rows])})


def slow(batch):
    BEGUN.set()
    GO.wait(20)
    return same(batch)


def fails(batch):
    same(batch)
    raise Unavailable("not now") if len(CALLS) == 1 else LookupError("no")


def timely(batch):
    same(batch)
    return batch.rows if batch.context.interval_end else None
"""


@dataclass
class Counts:
    """What was told."""

    outcomes: list[str] = field(default_factory=list)

    def cache(self, outcome: str, saved: float = 0.0) -> None:
        del saved
        self.outcomes.append(outcome)


class Looking(RedisStore):
    """Says when it looks whether another one is still at it."""

    def __init__(self, url: str, prefix: str, looks: threading.Event) -> None:
        super().__init__(lambda: url, prefix, wait=0.2)
        self._looks = looks

    def taken(self, key: str) -> bool:
        self._looks.set()
        return super().taken(key)


@dataclass
class Bench:
    """A module with functions, and workers with a cache that is theirs alone."""

    module: Any
    url: str
    prefix: str = field(default_factory=unique)
    ring: KeyRing | None = None
    counts: Counts = field(default_factory=Counts)
    waits: threading.Event = field(default_factory=threading.Event)
    """A worker waits for another one."""

    def calls(self, **values: object) -> Calls:
        """A worker's piece of work, in some run."""
        cache = Cache(Looking(self.url, self.prefix, self.waits), self.counts, lambda: self.ring)
        return Calls(VALUES | values, cache)

    def step(self, function: str, calls: Calls | None = None, **settings: Any) -> Python:
        """A step of mode Batch."""
        model = self.model(function, settings)
        return Python("made", ("raw", "names"), "spec.steps[0]", model, calls or self.calls())

    def model(self, function: str, settings: Mapping[str, Any]) -> PythonStep:
        """A step's settings."""
        entrypoint = f"{self.module.__name__}:{function}"
        return PythonStep.model_validate({"entrypoint": entrypoint, "cache": {}, **settings})

    def made(self, function: str = "same", rows: pa.Table = ROWS, **settings: Any) -> Made:
        """By another worker each time."""
        return self.step(function, **settings).answer(rows, OTHERS)

    @property
    def called(self) -> int:
        """How often, in all workers."""
        return len(self.module.CALLS)


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    name, folder = f"pure{unique()}", tmp_path_factory.mktemp("modules")
    (folder / f"{name}.py").write_text(FUNCTIONS)
    sys.path.append(str(folder))
    importlib.invalidate_caches()
    builds.build_of(f"{name}:same")  # as a worker does, before it imports
    yield importlib.import_module(name)
    sys.path.remove(str(folder))
    del sys.modules[name]


@pytest.fixture
def bench(redis_server: RedisServer, module: Any) -> Iterator[Bench]:
    module.CALLS.clear()
    module.GO.clear()
    module.BEGUN.clear()
    yield Bench(module, redis_server.url)
    module.GO.set()


@pytest.mark.parametrize(
    ("function", "settings"), [("same", {}), ("rejecting", {}), ("copies", MANY), ("too_large", {})]
)
def test_what_one_worker_was_given_another_one_finds_whole(
    bench: Bench, function: str, settings: dict[str, Any]
) -> None:
    bare = Python("made", ("raw", "names"), "spec.steps[0]", bench.model(function, settings), Calls(VALUES))
    wanted = bare.answer(ROWS, OTHERS)
    first, again = (bench.made(function, **settings) for _ in range(2))
    assert bench.called == 2  # without the cache, and once with it
    assert bench.counts.outcomes == ["miss", "hit"]
    for found in (first, again):
        assert found.table.equals(wanted.table, check_metadata=True)
        assert found.places.equals(wanted.places)
        assert (found.rejected, found.rows_out) == (wanted.rejected, wanted.rows_out)
    again.table.validate(full=True)


def test_of_mode_whole(bench: Bench) -> None:
    model = bench.model("counted", {"mode": "Whole", "columns": [{"name": "rows", "type": "int64"}]})
    step = WholePython("made", ("raw", "names"), "spec.steps[0]", model)
    tables = {"raw": ROWS, **OTHERS}
    found = [step.answer(tables, bench.calls()).to_pylist() for _ in range(2)]
    assert (found, bench.called) == (2 * [[{"rows": 6}]], 1)
    assert step.answer({**tables, "raw": ROWS.slice(1)}, bench.calls()).to_pylist() == [{"rows": 5}]


def _move(tag: str) -> Callable[[Bench], Made]:
    def moved(bench: Bench) -> Made:
        calls = bench.calls()
        assert isinstance(calls.cache, Cache)
        assert calls.cache.move([tag])
        return bench.made(cache={"tables": ["warehouse/public.rates"]})

    return moved


def _named_otherwise(bench: Bench) -> Made:
    step = bench.step("same", cache={"tables": ["warehouse/public.rates"]})
    return Python("other", step.inputs, step.field, step.step, step.calls).answer(ROWS, OTHERS)


def _built_otherwise(bench: Bench) -> Made:
    name = bench.module.__name__
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(builds._known, name, "another one")
        return bench.made(cache={"tables": ["warehouse/public.rates"]})


SETTINGS: dict[str, Any] = {"cache": {"tables": ["warehouse/public.rates"]}}
CALLED_ANEW: dict[str, Callable[[Bench], Made]] = {
    "another row": lambda bench: bench.made(rows=ROWS.slice(1), **SETTINGS),
    "a row twice": lambda bench: bench.made(rows=pa.concat_tables([ROWS, ROWS.slice(4)]), **SETTINGS),
    "another order": lambda bench: bench.made(rows=ROWS.take([1, 0, 2, 3, 4]), **SETTINGS),
    "another type": lambda bench: bench.made(rows=ROWS.cast(pa.schema({"id": "int64", "name": "string"})), **SETTINGS),
    "another name": lambda bench: bench.made(rows=ROWS.rename_columns(["ident", "name"]), **SETTINGS),
    "a value instead of none": lambda bench: bench.made(
        rows=ROWS.set_column(1, "name", pa.array(["a", "b", "private", "", ""])), **SETTINGS
    ),
    "another other input": lambda bench: bench.step("same", **SETTINGS).answer(
        ROWS, {"names": OTHERS["names"].slice(1)}
    ),
    "another parameter": lambda bench: bench.step("same", bench.calls(factor=4), **SETTINGS).answer(ROWS, OTHERS),
    "a parameter of another type": lambda bench: bench.step("same", bench.calls(factor="3"), **SETTINGS).answer(
        ROWS, OTHERS
    ),
    "another function": lambda bench: bench.made("other", **SETTINGS),
    "another setting": lambda bench: bench.made(mayMultiply=True, **SETTINGS),
    "another step": _named_otherwise,
    "another build": _built_otherwise,
    "its table was written": _move("table/warehouse/public.rates"),
    "its step was purged": _move("step/made"),
    "all was purged": _move("everything"),
}


@pytest.mark.parametrize("case", CALLED_ANEW)
def test_it_is_called_anew_for(bench: Bench, case: str) -> None:
    bench.made(**SETTINGS)
    later = bench.calls(run_time=datetime(2026, 2, 1, tzinfo=UTC), interval_end=datetime(2026, 2, 1, tzinfo=UTC))
    bench.step("same", later, **SETTINGS).answer(ROWS.slice(0), OTHERS)  # the same rows in a later run
    assert bench.called == 1
    CALLED_ANEW[case](bench)
    assert bench.called == 2


def test_code_that_nobody_knows_is_called_each_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.made()
    monkeypatch.setitem(builds._known, bench.module.__name__, None)
    for _ in range(2):
        bench.made()
    assert (bench.called, bench.counts.outcomes) == (3, ["miss"])


def test_no_cache_for_what_isn_t_declared_pure(bench: Bench) -> None:
    for _ in range(2):
        bench.made(cache=None)
    assert (bench.called, bench.counts.outcomes) == (2, [])


def test_two_workers_call_it_once(bench: Bench) -> None:
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(bench.made, "slow")
        bench.module.BEGUN.wait(20)
        second = threads.submit(bench.made, "slow")
        assert bench.waits.wait(20)
        bench.module.GO.set()
        assert first.result().table.equals(second.result().table)
    assert (bench.called, sorted(bench.counts.outcomes)) == (1, ["hit", "miss"])


def test_one_that_waits_for_another_ends_with_its_run(bench: Bench) -> None:
    calls = bench.calls()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(bench.made, "slow")
        bench.module.BEGUN.wait(20)
        waiting = threads.submit(bench.step("slow", calls).answer, ROWS, OTHERS)
        assert bench.waits.wait(20)
        calls.stop()
        with pytest.raises(Stopped):
            waiting.result(10)
        assert not first.done()
        bench.module.GO.set()
        first.result()


def test_what_fails_is_not_kept(bench: Bench) -> None:
    with pytest.raises(PythonUnavailable, match="not now"):
        bench.made("fails")
    for _ in range(2):
        with pytest.raises(PythonFailed, match="LookupError: no"):
            bench.made("fails")
    assert bench.called == 3


@pytest.mark.parametrize("cached", [True, False])
def test_a_pure_function_can_t_ask_for_times(bench: Bench, cached: bool) -> None:
    calls = bench.calls() if cached else Calls(VALUES)
    says = r"step made: its function asks for context\.interval_end, and with python\.cache"
    with pytest.raises(PythonFailed, match=says):
        bench.step("timely", calls).answer(ROWS, OTHERS)
    assert bench.made("timely", cache=None).table.equals(ROWS)


def test_what_is_kept_is_encrypted_where_payloads_are(bench: Bench) -> None:
    bench.ring = KeyRing({"k1": b"1" * 32}, "k1")
    rows = pa.table({"id": [1], "name": ["a private value"]})
    bench.made(rows=rows)
    with redis.Redis.from_url(bench.url) as client:
        (entry,) = client.scan_iter(f"{bench.prefix}:entry:*")
        kept = client.get(entry)
    assert isinstance(kept, bytes)
    assert b"private" not in kept
    assert (bench.made(rows=rows).table.to_pylist(), bench.called) == (rows.to_pylist(), 1)


def _garbage(bench: Bench, client: redis.Redis) -> None:
    for key in client.scan_iter(f"{bench.prefix}:entry:*"):
        client.set(key, b"tidemill1\n\n" + 32 * b"\0" + b"9999999999\n1\n[]\nARROW1")


def _evicted(bench: Bench, client: redis.Redis) -> None:
    client.delete(*client.scan_iter(f"{bench.prefix}:*"))


def _list(bench: Bench, client: redis.Redis) -> None:
    for key in client.scan_iter(f"{bench.prefix}:entry:*"):
        client.delete(key)
        client.lpush(key, "x")


TROUBLE: dict[str, Callable[[Bench, redis.Redis], None]] = {
    "evicting": _evicted,
    "holding garbage": _garbage,
    "holding what isn't a text": _list,
}


@pytest.mark.parametrize("case", TROUBLE)
def test_a_redis(bench: Bench, case: str) -> None:
    wanted = bench.made("rejecting")
    with redis.Redis.from_url(bench.url) as client:
        TROUBLE[case](bench, client)
    found = bench.made("rejecting")
    assert (found.table.to_pylist(), found.rejected) == (wanted.table.to_pylist(), wanted.rejected)
    assert bench.called == 2


@pytest.mark.parametrize("how", ["away", "silent"])
def test_without_redis_it_is_called_each_time(bench: Bench, how: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        bench.url = f"redis://127.0.0.1:{silent.getsockname()[1] if how == 'silent' else 1}/0"
        step = bench.step("rejecting")
        for _ in range(5):
            assert len(step.answer(ROWS, OTHERS).rejected) == 2
    assert (bench.called, bench.counts.outcomes) == (5, 5 * ["error"])


PACKAGE = {"pack/__init__.py": "", "pack/steps.py": "f = 1", "pack/model.bin": "1", "beside.py": "", "data.csv": "1"}
OTHER_CODE = {
    "the same": ({}, True),
    "compiled": ({"pack/__pycache__/steps.cpython-311.pyc": "x"}, True),
    "rows beside it": ({"data.csv": "2"}, True),
    "hidden": ({".git/x.py": "2"}, True),
    "an environment beside it": ({"env/pyvenv.cfg": "", "env/lib/x.py": "2"}, True),
    "its module": ({"pack/steps.py": "f = 2"}, False),
    "a model of its own": ({"pack/model.bin": "2"}, False),
    "a module beside it": ({"beside.py": "g = 1"}, False),
    "one more module": ({"pack/more.py": ""}, False),
}


@pytest.mark.parametrize("case", OTHER_CODE)
def test_code_is_known_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    changes, same = OTHER_CODE[case]
    found = []
    for place, files in enumerate((PACKAGE, PACKAGE | changes)):
        root = tmp_path / str(place)
        for path, text in files.items():
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        monkeypatch.syspath_prepend(root)
        importlib.invalidate_caches()
        found.append(builds._build("pack"))
        sys.path.remove(str(root))
        sys.path_importer_cache.pop(str(root), None)
    assert None not in found
    assert (found[0] == found[1]) is same


def test_code_that_changed_since_it_was_imported_is_none(bench: Bench) -> None:
    name = bench.module.__name__
    assert builds._build(name) is None  # written after this process began, and imported
    assert builds._build("nowhere_at_all") is None
    assert builds._build("pyarrow") is not None
