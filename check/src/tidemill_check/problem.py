"""One thing that is wrong with a manifest."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, where, and what would be right.

    `field` is the path in the manifest (`spec.steps[1].sql.query`); `reason` one of `tidemill_api.conditions`;
    `message` a sentence that doesn't repeat the field. `terminal`: only an edit of this manifest can mend it.
    """

    field: str
    reason: str
    message: str
    terminal: bool = True

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"

    def below(self, prefix: str) -> Problem:
        """The same problem with its path below `prefix`; an empty path becomes the prefix."""
        joint = "." if self.field and not self.field.startswith("[") else ""
        return replace(self, field=f"{prefix}{joint}{self.field}")


_PATH_PART: Final = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def in_order(problems: Iterable[Problem], order: Sequence[str]) -> tuple[Problem, ...]:
    """Problems in the order in which the manifest's fields are documented, list items by their index.

    `order` names the fields below `spec`; a field that isn't in it comes last. The sort is stable.
    """
    rank = {name: place for place, name in enumerate(order)}

    def key(problem: Problem) -> tuple[tuple[int, int], ...]:
        parts = _PATH_PART.findall(problem.field.removeprefix("spec."))
        return tuple((1, int(index)) if index else (0, rank.get(name, len(rank))) for name, index in parts[:2])

    return tuple(sorted(problems, key=key))


def listed(names: Iterable[str]) -> str:
    """`a, b and c`, or `none` when there are none."""
    all_names = list(names)
    if len(all_names) < 2:
        return "".join(all_names) or "none"
    return f"{', '.join(all_names[:-1])} and {all_names[-1]}"


def suggestion(name: str, known: Iterable[str]) -> str:
    """What a mistyped name may have meant, as the end of a sentence: `; did you mean flights?`, or what there is."""
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; there is {listed(names)}" if names else ""
