"""What a function that gives rows gets."""

from __future__ import annotations

from typing import Any

from tidemill._steps import Context


class Source:
    """A source in Python: a function gets it, and gives batches of rows, best as a generator.

    A batch is an Arrow table or record batch (or whatever Arrow can read as one), a list of dicts, or one dict.
    """

    def __init__(self, state: dict[str, Any] | None = None, context: Context | None = None) -> None:
        """`state` is what the last run has left."""
        self.state: dict[str, Any] = {} if state is None else state
        """JSON. What it holds when the last batch was given is kept with the rows (`keepState`)."""
        self.context = context or Context()
        """Parameters, times, log."""
