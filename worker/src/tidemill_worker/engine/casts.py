"""Turning a column of text into its type value by value: what can't be is told, not raised.

The verdict on a value is always Arrow's own cast, the one that its CSV reader uses for a whole block; so it doesn't
depend on which other values a block happens to hold. Patterns only sort out quickly what will surely be refused
together.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from tidemill_worker.engine.columns import FALSE, TRUE

_BOOLEANS: Final = {**dict.fromkeys(TRUE, True), **dict.fromkeys(FALSE, False)}
_DAY = r"[0-9]{4}-[01][0-9]-[0-3][0-9]"
_USUAL: Final = (
    (pa.types.is_integer, r"^-?[0-9]+$"),
    (pa.types.is_date, rf"^{_DAY}$"),
    (pa.types.is_timestamp, rf"^{_DAY}([ T][0-2][0-9]:[0-5][0-9].*)?$"),
    (pa.types.is_decimal, r"^-?[0-9]+(\.[0-9]*)?$"),
    (pa.types.is_floating, r"^-?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?$"),
)
"""How most good values look, by type."""


def try_cast(texts: pa.StringArray, target: pa.DataType) -> tuple[pa.Array, pa.Array | None]:
    """The values as `target`, null where that can't be; and which those are (a mask), or None if there are none.

    Nulls stay null and are not at fault. As for Arrow's CSV reader, space around a number or date is no fault.
    """
    if pa.types.is_string(target):
        return texts, None
    if pa.types.is_boolean(target):
        return _booleans(texts)
    trimmed = texts if pa.types.is_timestamp(target) else pc.utf8_trim(texts, " \t")
    if pa.types.is_floating(target):
        return _floats(trimmed, target)
    return _numbers_and_times(trimmed, target)


def _numbers_and_times(trimmed: pa.StringArray, target: pa.DataType) -> tuple[pa.Array, pa.Array | None]:
    values = _cast(trimmed, target)
    if values is not None:
        return values, None
    pattern = next(pattern for fits, pattern in _USUAL if fits(target))
    usual = pc.fill_null(pc.match_substring_regex(trimmed, pattern), True)
    good = _cast(pc.if_else(usual, trimmed, None), target)
    doubtful = pc.invert(usual) if good is not None else pa.scalar(True)
    return _one_by_one(trimmed, target, doubtful)


def _one_by_one(
    texts: pa.StringArray, target: pa.DataType, doubtful: pa.Array | pa.Scalar
) -> tuple[pa.Array, pa.Array | None]:
    """Cast the doubtful values, each different one once, by halving until what fails is alone."""
    unsure = pc.if_else(doubtful, texts, None).dictionary_encode()
    castable = _castable(unsure.dictionary, target)
    passed = pa.array(castable, pa.bool_()).take(unsure.indices)
    bad = pc.fill_null(pc.invert(passed), False)
    fine = pc.if_else(bad, None, texts)
    values = _cast(fine, target)
    if values is None:
        raise AssertionError("values that can be cast alone can't together")
    return values, bad if pc.any(bad).as_py() else None


def _floats(texts: pa.StringArray, target: pa.DataType) -> tuple[pa.Array, pa.Array | None]:
    """Arrow reads a number beyond the type's range as infinity; here only what is written so is that."""
    values, bad = _numbers_and_times(texts, target)
    beyond = pc.and_(pc.is_inf(values), pc.invert(pc.match_substring(texts, "inf", ignore_case=True)))
    beyond = pc.fill_null(beyond, False)
    if not pc.any(beyond).as_py():
        return values, bad
    return pc.if_else(beyond, None, values), beyond if bad is None else pc.or_(bad, beyond)


def _castable(distinct: pa.StringArray, target: pa.DataType) -> list[bool]:
    if _cast(distinct, target) is not None:
        return [True] * len(distinct)
    if len(distinct) == 1:
        return [False]
    half = len(distinct) // 2
    return _castable(distinct.slice(0, half), target) + _castable(distinct.slice(half), target)


def _cast(texts: pa.StringArray, target: pa.DataType) -> pa.Array | None:
    try:
        return pc.cast(texts, target)
    except pa.ArrowInvalid:
        return None


def _booleans(texts: pa.StringArray) -> tuple[pa.Array, pa.Array | None]:
    known = pa.array(list(_BOOLEANS), pa.string())
    values = pa.array(list(_BOOLEANS.values()), pa.bool_()).take(pc.index_in(texts, known))
    bad = pc.and_(pc.is_null(values), pc.is_valid(texts))
    return values, bad if pc.any(bad).as_py() else None
