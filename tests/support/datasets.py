"""Data sets that sinks have written, read as others read them; and places that break off where a test says."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pyarrow import dataset as ds
from pyarrow import parquet as pq

from tests.support.s3 import keys
from tidemill_api.errors import StoreUnavailable
from tidemill_worker.connections.s3.client import Client
from tidemill_worker.files.writable import Writable

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Lake:
    """What a place holds: names of files, and their bytes."""

    listed: Callable[[], list[str]]
    read: Callable[[str], bytes]

    def files(self, folder: str) -> list[str]:
        """Names of all that a reader of `**/*.parquet` sees."""
        return sorted(name for name in self.listed() if name.startswith(f"{folder}/") and name.endswith(".parquet"))

    def left(self, folder: str) -> list[str]:
        """Whatever else lies there, besides the manifest."""
        seen = {*self.files(folder), f"{folder}/_manifest.json"}
        return sorted(name for name in self.listed() if name.startswith(f"{folder}/") and name not in seen)

    def manifest(self, folder: str) -> dict[str, int]:
        """The files that the manifest names, with their rows; none if there is no manifest."""
        if f"{folder}/_manifest.json" not in self.listed():
            return {}
        told = json.loads(self.read(f"{folder}/_manifest.json"))
        return {each["path"]: each["rows"] for each in told["files"]}

    def rows(self, folder: str, names: Sequence[str] | None = None) -> Rows:
        """All rows, with the texts of their folders as columns, sorted. `names` are of some files only."""
        found: Rows = []
        for name in self.files(folder) if names is None else names:
            table = pq.ParquetFile(io.BytesIO(self.read(name))).read()
            parts = [part.partition("=") for part in name.removeprefix(f"{folder}/").split("/")[:-1]]
            found += [{**row, **{key: value for key, _, value in parts}} for row in table.to_pylist()]
        return sorted(found, key=repr)

    def told(self, folder: str) -> Rows:
        """The rows of those files that the manifest names: all of them must be there."""
        return self.rows(folder, [f"{folder}/{name}" for name in self.manifest(folder)])


def lake_of_folder(root: Path) -> Lake:
    """A folder."""
    return Lake(
        lambda: [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()],
        lambda name: (root / name).read_bytes(),
    )


def lake_of_bucket(client: Client) -> Lake:
    """A bucket."""
    return Lake(lambda: keys(client), lambda name: client.ask("GET", name).body)


def as_a_dataset(root: Path, folder: str) -> pa.Table:
    """As pyarrow reads it, with its folders."""
    return ds.dataset(root / folder, partitioning="hive").to_table()


@dataclass
class Breaking:
    """A place that breaks off at one of its calls: before it does anything, or when it has and the answer is lost."""

    real: Writable
    at: int | None = None
    """Number of the call, from 0."""
    when: Literal["before", "after"] = "before"
    calls: list[str] = field(default_factory=list)

    def _call(self, name: str, do: Callable[[], Any]) -> Any:
        self.calls.append(name)
        breaks = len(self.calls) - 1 == self.at
        if breaks and self.when == "before":
            raise StoreUnavailable(f"broke off before {name}")
        done = do()
        if breaks:
            raise StoreUnavailable(f"broke off after {name}")
        return done

    @contextlib.contextmanager
    def writing(self, folder: str) -> Iterator[Path]:
        """As the place."""
        with self.real.writing(folder) as path:
            yield path

    def put(self, written: Path, name: str) -> None:
        """As the place."""
        self._call("put", lambda: self.real.put(written, name))

    def place(self, staged: str, name: str) -> bool:
        """As the place."""
        return bool(self._call("place", lambda: self.real.place(staged, name)))

    def tell(self, content: bytes, name: str) -> None:
        """As the place."""
        self._call("tell", lambda: self.real.tell(content, name))

    def remove(self, names: Sequence[str]) -> None:
        """As the place."""
        self._call("remove", lambda: self.real.remove(names))

    def drop(self, folder: str) -> None:
        """As the place."""
        self._call("drop", lambda: self.real.drop(folder))

    def any_of(self, folder: str, ending: str) -> str | None:
        """As the place."""
        return self.real.any_of(folder, ending)

    def close(self) -> None:
        """As the place."""
        self.real.close()
