"""Whether a child is still what was asked for. Pure.

The server adds defaults and others may add fields of their own; so what counts is that each field that we wished for
has its value. Fields that we no longer wish for are found by the hash of the wish, which each child carries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

_QUANTITIES: Final = frozenset({"requests", "limits", "sizeLimit", "divisor", "overhead"})
"""Fields below which strings are quantities, which the server rewrites (1000m is 1)."""
_KEYS: Final = ("name", "mountPath", "containerPort", "uid")
_OMITTED: Final = frozenset(
    {
        *("hostNetwork", "hostPID", "hostIPC", "stdin", "stdinOnce", "tty", "readOnly", "paused"),
        *("initialDelaySeconds", "minReadySeconds", "hostPort"),
    }
)
"""Fields whose zero the server leaves out. Of all others a zero is kept, and one that is missing was taken away."""
_UNITS: Final[Mapping[str, Decimal]] = {
    **{unit: Decimal(1000) ** power for power, unit in enumerate(("n", "u", "m"), start=-3)},
    **{unit: Decimal(1000) ** power for power, unit in enumerate(("", "k", "M", "G", "T", "P", "E"))},
    **{unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)},
}


def holds(found: Any, wished: Any, *, quantity: bool = False) -> bool:
    """Whether `found` has all that `wished` has."""
    if isinstance(wished, Mapping):
        if found is None and not wished:
            return True
        return isinstance(found, Mapping) and all(
            _field_holds(found, name, value, quantity=quantity or name in _QUANTITIES) for name, value in wished.items()
        )
    if isinstance(wished, Sequence) and not isinstance(wished, str):
        return (isinstance(found, list) or (found is None and not wished)) and _all_there(found or [], wished)
    if quantity and found != wished:
        return amount(found) is not None and amount(found) == amount(wished)
    return bool(found == wished)


def _field_holds(found: Mapping[str, Any], name: str, wished: Any, *, quantity: bool) -> bool:
    if name not in found and (wished == "" or (not wished and name in _OMITTED)):
        return True
    return holds(found.get(name), wished, quantity=quantity)


def amount(text: object) -> Decimal | None:
    """A Kubernetes quantity as a number; None if it is none."""
    digits = str(text)
    unit = digits.lstrip("+-.0123456789")
    try:
        if unit in _UNITS:
            return Decimal(digits.removesuffix(unit)) * _UNITS[unit]
        return Decimal(digits)  # 1e3
    except InvalidOperation:
        return None


def _all_there(found: Sequence[Any], wished: Sequence[Any]) -> bool:
    """Keyed items may have company (others' sidecars); lists without keys must be the same."""
    key = next(
        (key for key in _KEYS if wished and all(isinstance(item, Mapping) and key in item for item in wished)), None
    )
    if key is None:
        return len(found) == len(wished) and all(map(holds, found, wished))
    there = {item.get(key): item for item in found if isinstance(item, Mapping)}
    return all(item[key] in there and holds(there[item[key]], item) for item in wished)
