"""What of an object would change, field by field. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from tidemill_api.v1alpha1 import Model
from tidemill_cli.lint.shape import field_text, fit

Path = tuple[str | int, ...]


class _Absent(Enum):
    ABSENT = auto()


class Item(str):
    """The name of a list's item, as part of a path."""

    __slots__ = ()


ABSENT: Final = _Absent.ABSENT
"""Stands where there is no value."""
_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Change:
    """One field: what it is and what it would be. `path` has the names of list items that have names."""

    path: Path
    before: Any
    after: Any

    @property
    def field(self) -> str:
        """`spec.sinks[out].primaryKey`."""
        text = ""
        for part in self.path:
            text += f"[{part}]" if isinstance(part, Item) else field_text(("x", part)).removeprefix("x")
        return text.removeprefix(".")

    def __str__(self) -> str:
        if self.before is ABSENT:
            return f"+ {self.field}: {_shown(self.after)}"
        if self.after is ABSENT:
            return f"- {self.field}: {_shown(self.before)}"
        return f"~ {self.field}: {_shown(self.before)} -> {_shown(self.after)}"

    def to_json(self) -> dict[str, Any]:
        """As JSON; a side without a value is left out."""
        sides = {"before": self.before, "after": self.after}
        return {"field": self.field, **{name: value for name, value in sides.items() if value is not ABSENT}}


def whole(model: type[Model], raw: Any) -> Any:
    """A spec with all its defaults; what this version of Tidemill doesn't know stays as it is."""
    found, misfits = fit(model, raw)
    if found is None:
        return raw
    known = found.model_dump(mode="json", by_alias=True, exclude_none=True)
    for misfit in misfits:
        at: Any = known
        for part in misfit.path[:-1]:
            at = at[part]
        at[misfit.path[-1]] = _at(raw, misfit.path)
    return known


def changes(before: Any, after: Any, path: Path = ()) -> Iterator[Change]:
    """Every field that differs, in the order of the fields. Items of lists are told apart by their names."""
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys([*before, *after]):
            yield from changes(before.get(name, ABSENT), after.get(name, ABSENT), (*path, name))
        return
    if isinstance(before, list) and isinstance(after, list) and _named(before) and _named(after):
        yield from _items(before, after, path)
        return
    yield Change(path, before, after)


def _items(before: Sequence[Any], after: Sequence[Any], path: Path) -> Iterator[Change]:
    old = {item["name"]: item for item in before}
    new = {item["name"]: item for item in after}
    for name in dict.fromkeys([*old, *new]):
        yield from changes(old.get(name, ABSENT), new.get(name, ABSENT), (*path, Item(name)))
    kept = [name for name in old if name in new]
    if kept != [name for name in new if name in old]:
        yield Change((*path, Item("order")), list(old), list(new))


def _named(items: Sequence[Any]) -> bool:
    """Whether all items of a list have names of their own, by which they can be told apart."""
    names = [item.get("name") if isinstance(item, Mapping) else None for item in items]
    return all(isinstance(name, str) for name in names) and len(set(names)) == len(names)


def _at(value: Any, path: Path) -> Any:
    for part in path:
        value = value[part]
    return value


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
