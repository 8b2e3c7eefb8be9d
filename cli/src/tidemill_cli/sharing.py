"""Options that many commands share, declared once: typer reads a command's signature, so that is put together here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

Run = Callable[[dict[str, Any], dict[str, Any]], None]
"""Takes all that typer has read by name, and what of it the function declares itself."""


def with_options(function: Callable[..., Any], given: str, shared: Mapping[str, Any], run: Run) -> Callable[..., None]:
    """A command of typer with the function's parameters but for `given`, and the shared options; it calls `run`.

    `shared` has an annotation of typer for each option's name; None is what holds if it isn't there.
    """
    own = [each for name, each in inspect.signature(function, eval_str=True).parameters.items() if name != given]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in shared.items()
    ]

    def command(**read: Any) -> None:
        run(read, {each.name: read[each.name] for each in own})

    command.__name__ = function.__name__
    command.__doc__ = function.__doc__
    command.__annotations__ = {each.name: each.annotation for each in (*own, *options)}
    keywords = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
    vars(command)["__signature__"] = inspect.Signature([*keywords, *options])
    return command
