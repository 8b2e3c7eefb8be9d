"""JSON Lines and JSON arrays: their columns and the types of these, and where files are cut into chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from tidemill_api.errors import NewColumn, SourceUnreadable
from tidemill_api.v1alpha1.datapipeline import Source
from tidemill_worker.engine import files
from tidemill_worker.engine.borders import last_border
from tidemill_worker.engine.columns import infer
from tidemill_worker.engine.json_lines import LINES
from tidemill_worker.engine.json_text import Number, loads, text_of
from tidemill_worker.engine.model import Part
from tidemill_worker.engine.planning_csv import SAMPLE_BYTES, SAMPLE_FILES, cut_text
from tidemill_worker.engine.wanted import Wanted, added, adds, by_order, declared, unknown
from tidemill_worker.files import FileRef, Files

_TIMES: Final = ("date", "timestamp", "timestamptz")
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class JSONPlanner:
    """Plans the files of one source."""

    source: Source
    place: Files

    def parts(self, refs: Sequence[FileRef]) -> tuple[Part, ...]:
        """Each of the files that has rows, or the first one if none has."""
        looked_at = [self._sample(ref) for ref in (refs if adds(self.source) else refs[:SAMPLE_FILES])]
        objects = [row for sample in looked_at for row in _objects(sample)]
        wanted = self._wanted(objects)
        if not wanted:
            raise SourceUnreadable(
                f"{refs[0].label} holds no JSON object to tell columns from, and no columns are declared"
            )
        self._refuse_new(refs[0], wanted, objects)
        layout = by_order(self.source, refs[0].label, wanted, len(wanted))
        bare = {ref for ref, sample in zip(refs, looked_at, strict=False) if not sample.strip()}
        filled = [ref for ref in refs if ref not in bare and (ref.size or not self.place.ranged(ref))] or refs[:1]
        return tuple(Part(ref, layout, self._start(ref, looked_at[refs.index(ref) :][:1]), None, 1) for ref in filled)

    def _wanted(self, objects: list[dict[str, Any]]) -> tuple[Wanted, ...]:
        if not adds(self.source):
            return declared(self.source) or _inferred(objects)
        types = {column.name: column.type for column in _inferred(objects)}
        return added(self.source, {name: types[name] for name in unknown(self.source, types)})

    def cut(self, part: Part, most_bytes: int, most_rows: int) -> Iterator[Part]:
        """See `cut_text`."""
        return cut_text(self.source, self.place, LINES, part, most_bytes, most_rows)

    def _sample(self, ref: FileRef, size: int = SAMPLE_BYTES) -> bytes:
        with files.opened(self.place, ref, self.source.in_files) as read:
            return read(size)

    def _start(self, ref: FileRef, sample: list[bytes]) -> int:
        """Where the first row begins: after a byte order mark."""
        first = sample[0] if sample else self._sample(ref, len(_BOM))
        return len(_BOM) if first.startswith(_BOM) else 0

    def _refuse_new(self, ref: FileRef, wanted: tuple[Wanted, ...], objects: Iterable[dict[str, Any]]) -> None:
        """What comes later than the sample is seen when it is read."""
        if self.source.contract.new_columns != "Fail":
            return
        known = {column.header for column in wanted}
        new = list(dict.fromkeys(key for row in objects for key in row if key not in known))
        if new:
            raise NewColumn(
                f"source {self.source.name}: {ref.label} or those after it have keys that aren't declared: "
                f"{', '.join(new[:50])}; newColumns is Fail"
            )


def _objects(sample: bytes) -> Iterator[dict[str, Any]]:
    """The whole lines of a sample that are objects; others are bad rows and seen later."""
    whole = sample[: last_border(sample, LINES)] if len(sample) >= SAMPLE_BYTES else sample
    for line in whole.removeprefix(_BOM).splitlines():
        try:
            row = loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            yield row


def _inferred(objects: list[dict[str, Any]]) -> tuple[Wanted, ...]:
    """All keys, in the order in which they first come, with types that their values in the sample have."""
    values: dict[str, list[Any]] = {}
    for row in objects:
        for key, value in row.items():
            values.setdefault(key, [])
            if value is not None:
                values[key].append(value)
    return tuple(Wanted(key, key, type_of(found), False) for key, found in values.items())


def type_of(values: Sequence[Any]) -> str:
    """The type that these values have; string if there are none."""
    if all(isinstance(value, bool) for value in values):
        return "boolean" if values else "string"
    if any(isinstance(value, (bool, dict, list)) for value in values):
        return "string"
    numbers = sum(isinstance(value, Number) for value in values)
    if 0 < numbers < len(values):
        return "string"
    try:
        found = infer([pa.array([text_of(value) for value in values], pa.string())])
    except UnicodeEncodeError:  # half of a surrogate pair: a text that no row can keep
        return "string"
    if numbers:
        return found if found in {"int64", "float64"} else "float64"
    return found if found in _TIMES else "string"
