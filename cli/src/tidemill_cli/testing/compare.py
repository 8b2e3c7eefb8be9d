"""Expected rows against those that came: which are the same, which differ and in what, which are missing."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import pyarrow as pa

from tidemill_cli.rehearse.values import as_json, rows_as_json

_PAIRED: Final = 200
"""Most rows on either side that are compared with each other to find those that differ in little."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that isn't as it should be: it differs (both places), is missing, or wasn't expected.

    `expected` and `actual` are the values of the compared columns as JSON has them, `columns` those that differ.
    """

    expected_at: int | None
    expected: Mapping[str, Any] | None
    actual: Mapping[str, Any] | None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison came to."""

    expected: int
    actual: int
    differences: tuple[Difference, ...] = ()
    unknown: tuple[str, ...] = ()
    """Columns that are expected and that the rows don't have."""
    has: tuple[str, ...] = ()
    """The columns that they have."""
    order: str = ""
    """What is wrong with the order, where the rows are the same."""

    @property
    def same(self) -> bool:
        """Nothing differs."""
        return not self.differences and not self.unknown and not self.order


def compare(expected: Sequence[Mapping[str, Any]], actual: pa.Table, *, ordered: bool, texts: bool) -> Compared:
    """Compare rows by the columns that any expected row names. `texts`: expected values are those of a CSV file."""
    names = tuple(dict.fromkeys(name for row in expected for name in row))
    unknown = tuple(name for name in names if name not in actual.schema.names)
    if unknown:
        return Compared(len(expected), actual.num_rows, unknown=unknown, has=tuple(actual.schema.names))
    rows = actual.select(list(names)) if names else actual
    kinds = [rows.schema.field(name).type for name in names]
    if not names:  # nothing but their number can be compared
        beyond = [Difference(None, None, row) for row in rows_as_json(rows.slice(len(expected)))]
        missing = [Difference(place, {}, None) for place in range(rows.num_rows, len(expected))]
        return Compared(len(expected), rows.num_rows, (*missing, *beyond))
    wanted = [
        tuple(_wanted(row.get(name), kind, texts) for name, kind in zip(names, kinds, strict=True)) for row in expected
    ]
    found = [
        tuple(_found(value, kind) for value, kind in zip(row.values(), kinds, strict=True)) for row in rows.to_pylist()
    ]
    told = ([{name: row.get(name) for name in names} for row in expected], rows_as_json(rows))
    if ordered:
        return Compared(len(wanted), len(found), _in_order(names, wanted, found, told), order=_order(wanted, found))
    return Compared(len(wanted), len(found), _in_any_order(names, wanted, found, told))


Row = tuple[Hashable, ...]
Told = tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]


def _in_any_order(
    names: Sequence[str], wanted: Sequence[Row], found: Sequence[Row], told: Told
) -> tuple[Difference, ...]:
    left: defaultdict[Row, list[int]] = defaultdict(list)
    for place, row in enumerate(found):
        left[row].append(place)
    missing = [place for place, row in enumerate(wanted) if not (left[row] and left[row].pop(0) is not None)]
    unexpected = sorted(place for places in left.values() for place in places)
    pairs = _pairs(wanted, found, missing, unexpected)
    differences = []
    for place in missing:
        if place in pairs:
            differences.append(_differing(names, wanted, found, told, place, pairs[place]))
        else:
            differences.append(Difference(place, told[0][place], None))
    taken = set(pairs.values())
    differences += [Difference(None, None, told[1][place]) for place in unexpected if place not in taken]
    return tuple(differences)


def _pairs(
    wanted: Sequence[Row], found: Sequence[Row], missing: Sequence[int], unexpected: Sequence[int]
) -> dict[int, int]:
    """Missing rows and unexpected ones that are probably the same row: half of their values are equal."""
    if len(missing) > _PAIRED or len(unexpected) > _PAIRED:
        return {}
    scored = sorted(
        (-sum(a == b for a, b in zip(wanted[one], found[other], strict=True)), one, other)
        for one in missing
        for other in unexpected
    )
    pairs: dict[int, int] = {}
    for score, one, other in scored:
        if one not in pairs and other not in pairs.values() and -score * 2 >= len(wanted[one]) and score:
            pairs[one] = other
    if len(missing) == len(unexpected) == 1 and not pairs:
        pairs[missing[0]] = unexpected[0]
    return pairs


def _in_order(names: Sequence[str], wanted: Sequence[Row], found: Sequence[Row], told: Told) -> tuple[Difference, ...]:
    if Counter(wanted) == Counter(found):
        return ()
    both = min(len(wanted), len(found))
    differences = [
        _differing(names, wanted, found, told, place, place) for place in range(both) if wanted[place] != found[place]
    ]
    differences += [Difference(place, told[0][place], None) for place in range(both, len(wanted))]
    differences += [Difference(None, None, told[1][place]) for place in range(both, len(found))]
    return tuple(differences)


def _order(wanted: Sequence[Row], found: Sequence[Row]) -> str:
    if wanted == found or Counter(wanted) != Counter(found):
        return ""
    place = next(place for place, row in enumerate(wanted) if row != found[place])
    return f"the rows are as expected but for their order: row {place + 1} came as row {found.index(wanted[place]) + 1}"


def _differing(
    names: Sequence[str], wanted: Sequence[Row], found: Sequence[Row], told: Told, one: int, other: int
) -> Difference:
    differing = [name for name, a, b in zip(names, wanted[one], found[other], strict=True) if a != b]
    return Difference(one, told[0][one], told[1][other], tuple(differing))


@dataclass(frozen=True, slots=True)
class _Wrong:
    """A value that can't be in such a column: it equals no other."""

    text: str


def _wanted(value: Any, kind: pa.DataType, text: bool) -> Hashable:
    """An expected value in the form in which values of that column are compared."""
    if value is None or (text and value == ""):
        return None
    try:
        return _typed(value, kind, text)
    except (ValueError, InvalidOperation, TypeError):
        return _Wrong(repr(value))


def _typed(value: Any, kind: pa.DataType, text: bool) -> Hashable:
    types = pa.types
    if types.is_boolean(kind):
        return _one(value, bool, {"true": True, "false": False} if text else {})
    if types.is_integer(kind):
        return int(value) if text else _one(value, int)
    if types.is_floating(kind):
        return _rounded(
            float(value) if text or value in ("NaN", "inf", "-inf") else float(str(_one(value, int, float))), kind
        )
    if types.is_decimal(kind):
        return Decimal(str(value)).normalize()
    if types.is_date(kind):
        return date.fromisoformat(value)
    if types.is_timestamp(kind):
        moment = datetime.fromisoformat(value)
        if (moment.tzinfo is None) == (kind.tz is not None):
            raise ValueError("with an offset if and only if the column has one")
        return moment
    if types.is_time(kind):
        return time.fromisoformat(value)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return _one(value, str)
    return str(value) if text else json.dumps(as_json(value), sort_keys=True)


def _one(value: Any, *kinds: Any) -> Hashable:
    """The value if it is of one of these types (a dict: of its keys), and no boolean but where one is asked for."""
    for kind in kinds:
        if isinstance(kind, dict) and value in kind:
            found: Hashable = kind[value]
            return found
    plain = tuple(kind for kind in kinds if isinstance(kind, type))
    if not isinstance(value, plain) or (isinstance(value, bool) and bool not in plain):
        raise ValueError("of another type")
    known: Hashable = value
    return known


def _rounded(value: float, kind: pa.DataType) -> str:
    """Floating-point numbers are equal if their first 12 digits are (6 of a float32)."""
    return str(value) if not math.isfinite(value) else f"{value + 0.0:.{12 if kind.bit_width == 64 else 6}g}"


def _found(value: Any, kind: pa.DataType) -> Hashable:
    """A value that came, in the same form."""
    if value is None:
        return None
    if pa.types.is_floating(kind):
        return _rounded(value, kind)
    if isinstance(value, Decimal):
        return value.normalize()
    if isinstance(value, list | dict | bytes):
        return json.dumps(as_json(value), sort_keys=True)
    found: Hashable = value
    return found
