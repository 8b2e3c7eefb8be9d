"""Columns that nobody declared, of what an API or a function gives: they are known when all of it has been read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tidemill_api.v1alpha1.datapipeline import Source
from tidemill_worker.engine.columns import common_type
from tidemill_worker.engine.json_text import loads
from tidemill_worker.engine.model import Page, Pages, Part
from tidemill_worker.engine.planning_json import type_of
from tidemill_worker.engine.wanted import added, adds, by_order, unknown


def extended(source: Source, part: Part, pages: Pages) -> Part:
    """The part with all keys of its objects as columns, if the source's contract adds columns. Blocks.

    Types are those that all values have in common. Raises SourceUnreadable for names that can't be told apart.
    """
    if not adds(source) or part.asked is None:
        return part
    kinds: dict[str, set[str]] = {}
    for page in pages.pages(part.asked):
        for name, values in _values(source, page).items():
            kinds.setdefault(name, set()).update([type_of(values)] if values else ())
    types = {name: common_type(sorted(found)) if found else "string" for name, found in kinds.items()}
    wanted = added(source, types)
    return replace(part, layout=by_order(source, part.file.label, wanted, len(wanted)))


def _values(source: Source, page: Page) -> dict[str, list[Any]]:
    """The values of each key that isn't declared, nulls aside."""
    found: dict[str, list[Any]] = {}
    for row in _objects(page):
        for name in unknown(source, row):
            values = found.setdefault(name, [])
            if row[name] is not None:
                values.append(row[name])
    return found


def _objects(page: Page) -> Iterator[dict[str, Any]]:
    """Rows that are objects; others are bad ones, which reading finds."""
    for line in page.lines.splitlines():
        try:
            row = loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            yield row
