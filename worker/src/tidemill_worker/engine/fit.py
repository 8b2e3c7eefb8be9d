"""Columns that come with types of their own, fitted into those that are wanted, value by value.

What a value of another sort becomes is what its text would become in a CSV file: so a column means the same whatever
file it comes from. Only between numbers, and between points in time of the same sort, values go over directly, and
only if nothing is lost (but the last digits of what becomes a floating-point number).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from tidemill_worker.engine.blocks import Typed
from tidemill_worker.engine.casts import try_cast
from tidemill_worker.engine.columns import arrow_type
from tidemill_worker.engine.faults import Faults, shortened
from tidemill_worker.engine.model import Layout
from tidemill_worker.engine.parse import Parsed

Mask: TypeAlias = "pa.BooleanArray | None"
"""True for values at fault, never null; None if there are none."""
_FIRST_DAY: Final = -719_162
"""0001-01-01, in days from 1970; what no text of a date can mean is no date."""
_LAST_DAY: Final = 2_932_896
"""9999-12-31."""
_UNITS: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def fitted(piece: Typed, layout: Layout, *, null_values: bool = False) -> Parsed:
    """The rows whose values fit, as the layout's columns; `null_values`: see `Faults`.

    Never raises for what rows hold.
    """
    found = Faults(null_values)
    arrays = []
    for place, column in enumerate(layout.columns):
        raw = plain(piece.table.column(place))
        values, bad = fit(raw, arrow_type(column.type))
        arrays.append(values)
        if bad is not None:
            rows = pc.indices_nonzero(bad).to_pylist()
            found.values(column, ((row, _short(raw, row)) for row in rows))
        if column.required and raw.null_count:
            found.missing(column, pc.indices_nonzero(pc.is_null(raw)).to_pylist())
    table = pa.table(arrays, names=[column.name for column in layout.columns])
    total, faults = piece.table.num_rows, found.rows
    if not faults:
        return Parsed(table, total, lines=total, nulled=found.nulled)
    good = pa.array([row for row in range(total) if row not in faults], pa.int32())
    return Parsed(table.take(good), total, good, faults, total, found.nulled)


def fit(array: pa.Array, target: pa.DataType) -> tuple[pa.Array, Mask]:
    """The values as `target`, null where that can't be, and which those are. Nulls stay null and are not at fault.

    `array` is what `plain` makes.
    """
    kind = array.type
    if pa.types.is_null(kind):
        return pa.nulls(len(array), target), None
    if goes_over(kind, target):
        array, lost = _within_the_calendar(array)
        values, bad = _each(array, lambda some: _numbers(some, target))
        return values, _either(lost, bad)
    texts, unreadable = _texts(array)
    if pa.types.is_string(target):
        return _without_nul(texts, unreadable)
    if pa.types.is_nested(kind):
        bad = pc.is_valid(array)
        return pa.nulls(len(array), target), bad if bad.true_count else None
    values, bad = try_cast(texts, target)
    return values, _either(unreadable, bad)


def plain(column: pa.ChunkedArray) -> pa.Array:
    """One array, of a type that `fit` knows."""
    return _opened(
        column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])
    )


def _opened(array: pa.Array) -> pa.Array:
    """Dictionaries and extensions laid open."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if isinstance(array, pa.ExtensionArray):
        if array.type == pa.uuid():
            return pa.array([None if value is None else str(value) for value in array.to_pylist()], pa.string())
        array = array.storage
    if pa.types.is_float16(array.type):
        return array.cast(pa.float32())
    return array


def goes_over(kind: pa.DataType, target: pa.DataType) -> bool:
    """Whether values go over directly."""
    types = pa.types
    if types.is_boolean(kind) or types.is_boolean(target):
        return bool(kind == target)
    if types.is_decimal(target):
        return bool(types.is_decimal128(kind))
    if types.is_integer(target) or types.is_floating(target):
        return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal128(kind))
    if types.is_date(target):
        return bool(types.is_date(kind))
    if types.is_timestamp(target):
        same_sort = types.is_timestamp(kind) and (kind.tz is None) == (target.tz is None)
        return same_sort or (types.is_date(kind) and target.tz is None)
    return False


def _numbers(array: pa.Array, target: pa.DataType) -> pa.Array:
    """Raises ArrowInvalid if one of the values doesn't fit."""
    if not pa.types.is_floating(target):
        return array.cast(target)
    values = array.cast(target, safe=False)
    if pa.types.is_floating(array.type) and target.bit_width < array.type.bit_width:
        beyond = pc.and_not(pc.is_inf(values), pc.is_inf(array))
        if pc.any(beyond).as_py():
            raise pa.ArrowInvalid("beyond the range of the type")
    return values


def _each(array: pa.Array, cast: Callable[[pa.Array], pa.Array]) -> tuple[pa.Array, Mask]:
    """Cast all at once; if that fails by halving, until what fails is alone."""
    try:
        return cast(array), None
    except pa.ArrowInvalid:
        bad = _failing(array, cast, 0)
    mask = pa.array([row in bad for row in range(len(array))], pa.bool_())
    return cast(pc.if_else(mask, pa.scalar(None, array.type), array)), mask


def _failing(array: pa.Array, cast: Callable[[pa.Array], pa.Array], first: int) -> set[int]:
    try:
        cast(array)
    except pa.ArrowInvalid:
        if len(array) == 1:
            return {first}
        half = len(array) // 2
        return _failing(array.slice(0, half), cast, first) | _failing(array.slice(half), cast, first + half)
    return set()


def _within_the_calendar(array: pa.Array) -> tuple[pa.Array, Mask]:
    """Null where a date or timestamp is of no year from 1 to 9999, and which those are."""
    kind = array.type
    if pa.types.is_date32(kind):
        numbers, day = array.cast(pa.int32()), 1
    elif pa.types.is_date64(kind):
        numbers, day = array.cast(pa.int64()), 86_400_000
    elif pa.types.is_timestamp(kind) and kind.unit != "ns":  # all of those are of our time
        numbers, day = array.cast(pa.int64()), 86_400 * _UNITS[kind.unit]
    else:
        return array, None
    extremes = pc.min_max(numbers).as_py()
    first, last = _FIRST_DAY * day, (_LAST_DAY + 1) * day - 1
    if extremes["min"] is None or (first <= extremes["min"] and extremes["max"] <= last):
        return array, None
    bad = pc.fill_null(pc.or_(pc.less(numbers, first), pc.greater(numbers, last)), False)
    return pc.if_else(bad, pa.scalar(None, kind), array), bad


def _texts(array: pa.Array) -> tuple[pa.StringArray, Mask]:
    """The values as a CSV file would have them; null where a value has no text, and which those are."""
    kind, types = array.type, pa.types
    if is_text(kind):
        whole = array.cast(pa.large_binary()).cast(pa.binary())  # files don't vouch for their texts' bytes
        return _each(whole, lambda some: some.cast(pa.string()))
    if types.is_nested(kind):
        shown = [None if value is None else _json(value) for value in _shown(array)]
        return pa.array(shown, pa.string()), None
    if types.is_duration(kind) or types.is_interval(kind):
        return pa.array([None if value is None else str(value) for value in array.to_pylist()], pa.string()), None
    array, lost = _within_the_calendar(array)
    return array.cast(pa.string()), lost


def is_text(kind: pa.DataType) -> bool:
    """Whether its values are texts, or bytes that may be some."""
    types = pa.types
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
        or types.is_fixed_size_binary(kind)
    )


def _without_nul(texts: pa.StringArray, bad: Mask) -> tuple[pa.StringArray, Mask]:
    """No text of Postgres can hold a NUL character; a CSV file can't either."""
    if not pc.any(pc.match_substring(texts, "\0")).as_py():
        return texts, bad
    holds = pc.fill_null(pc.match_substring(texts, "\0"), False)
    return pc.if_else(holds, None, texts), _either(bad, holds)


def _either(one: Mask, other: Mask) -> Mask:
    both = [mask for mask in (one, other) if mask is not None]
    return pc.or_(*both) if len(both) > 1 else next(iter(both), None)


@dataclass(frozen=True, slots=True)
class TypedRows:
    """Where the rows of a typed piece stand: the letters' `RowsOf`."""

    piece: Typed

    def offset(self, row: int) -> int:
        """Number of the row in its file, from 0."""
        return self.piece.offset + row

    def where(self, row: int) -> str:
        """The same, from 1, for a sentence."""
        return f"row {self.offset(row) + 1}"

    def texts(self, rows: Sequence[int]) -> list[str]:
        """Each row as a JSON object under the pipeline's names."""
        chosen = self.piece.table.take(pa.array(rows, pa.int64()))
        columns = {name: _shown(plain(chosen.column(place))) for place, name in enumerate(chosen.schema.names)}
        return [
            json.dumps({name: values[row] for name, values in columns.items()}, ensure_ascii=False)
            for row in range(len(rows))
        ]

    def lines(self, rows: Sequence[int]) -> list[int]:
        """Each row counts as a line."""
        return list(rows)


def _shown(array: pa.Array) -> list[Any]:
    """Values as JSON can hold them and Postgres can keep them: what has no word in JSON as its text."""
    kind = array.type
    if pa.types.is_null(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return list(array.to_pylist())
    if pa.types.is_floating(kind):
        return [value if value is None or math.isfinite(value) else str(value) for value in array.to_pylist()]
    if is_text(kind):
        raw = array.cast(pa.large_binary()).to_pylist()
        return [None if value is None else value.decode(errors="replace").replace("\0", "\ufffd") for value in raw]
    if pa.types.is_nested(kind):
        return _nested(array)
    texts, _ = _texts(array)
    outside = (
        array.view(pa.int32() if pa.types.is_date32(kind) else pa.int64()).to_pylist()
        if texts.null_count > array.null_count
        else []
    )
    return [text if text is not None or not outside else outside[row] for row, text in enumerate(texts.to_pylist())]


def _nested(array: pa.Array) -> list[Any]:
    """Lists, and structs and maps as objects. By columns: Python has no value for each that they may hold."""
    present = array.is_valid().to_pylist()
    if pa.types.is_struct(array.type):
        names = [array.type.field(place).name for place in range(array.type.num_fields)]
        columns = [_shown(_opened(child)) for child in array.flatten()]
        rows = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
        rows = rows or [{} for _ in present]
        return [row if there else None for row, there in zip(rows, present, strict=True)]
    if pa.types.is_map(array.type):
        key, item = array.type.key_field, array.type.item_field
        pairs = _shown(array.cast(pa.list_(pa.struct([key, item]))))
        return [None if each is None else {_key(pair[key.name]): pair[item.name] for pair in each} for each in pairs]
    lengths = pc.list_value_length(array).fill_null(0).to_pylist()
    values = iter(_shown(_opened(pc.list_flatten(array))))
    lists = [[next(values) for _ in range(length)] for length in lengths]
    return [each if there else None for each, there in zip(lists, present, strict=True)]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _key(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _short(array: pa.Array, row: int) -> str:
    shown = _shown(array.slice(row, 1))[0]
    text = shown if isinstance(shown, str) else _json(shown)
    return shortened(text)
