"""From `module:function` to the function."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from tidemill_api.errors import PythonFailed


def function_of(who: str, entrypoint: str) -> Callable[..., Any]:
    """The function that `who` (`step enriched`) names; its module is imported if it hasn't been.

    Raises PythonFailed, and whatever the import raises.
    A function that the module has only taken from elsewhere isn't one of its own: who allows `travel.steps:*` doesn't
    mean what `travel.steps` imports, be it from `travel.admin`. What is below a package (`travel`) is its own.
    """
    name, _, function = entrypoint.partition(":")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise PythonFailed(
            who, f"there is no module {error.name} for {entrypoint}: it must be in the image of the workers"
        ) from None
    found = getattr(module, function, None)
    if not callable(found):
        what = "no function" if found is None else f"a {type(found).__name__}, not a function, called"
        raise PythonFailed(who, f"the module {name} has {what} {function}")
    home = str(getattr(found, "__module__", ""))
    if home != name and not home.startswith(f"{name}."):
        raise PythonFailed(who, f"{entrypoint} isn't a function of {name}: it is imported from {home}")
    return found  # type: ignore[no-any-return]  # nothing is known of it but that it can be called
