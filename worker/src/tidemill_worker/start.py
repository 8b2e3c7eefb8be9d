"""What keeps the start of a process short. Imports nothing but the standard library's smallest parts.

A start is all imports: hundreds of modules, and models by the dozen. What they make stays for good.
"""

from __future__ import annotations

import gc
import os
from typing import Final

_SELDOM: Final = 200_000
"""Objects that are made between two looks for garbage, of which imports leave next to none."""
_usual: list[tuple[int, int, int]] = []


def hasten() -> None:
    """Call it before anything else is imported."""
    _usual.append(gc.get_threshold())
    gc.set_threshold(_SELDOM)
    # pydantic would look through the metadata of all that is installed for plugins, of which an image has none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def settle() -> None:
    """Call it when all is imported: garbage is looked for as usual, but never again among what is there by now."""
    if _usual:
        gc.freeze()
        gc.set_threshold(*_usual.pop())
