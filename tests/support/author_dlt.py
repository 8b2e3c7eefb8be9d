"""A dlt resource as a source in Python. A module of its own: dlt takes seconds to import."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dlt
from dlt.common.configuration.container import Container
from dlt.common.pipeline import StateInjectableContext

import tidemill

SINCE = dlt.sources.incremental("updated", initial_value=0)


@dlt.resource(name="orders")
def orders(updated: dlt.sources.incremental[int] = SINCE) -> object:
    """Three rows from where it was on, the first of them again."""
    last = updated.last_value or 0
    yield [{"id": number, "updated": number} for number in range(last, last + 3)]


def shop(source: tidemill.Source) -> Iterator[object]:
    state: Any = source.state
    with Container().injectable_context(StateInjectableContext(state=state)):
        yield from orders()
