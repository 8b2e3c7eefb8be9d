"""Waiting for the thing itself, never for time to pass."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


def until(look: Callable[[], T], what: str, timeout: float = 20.0) -> T:
    """Look again and again until it gives something true, and return that.

    Raises `AssertionError` that names `what` after `timeout` seconds.
    """
    limit = time.monotonic() + timeout
    while not (seen := look()):
        if time.monotonic() > limit:
            raise AssertionError(f"waited {timeout:g} s for {what}; last seen: {seen!r}")
        time.sleep(0.02)
    return seen


async def until_async(look: Callable[[], Awaitable[T]], what: str, timeout: float = 20.0) -> T:  # noqa: ASYNC109 - a limit with words
    """As `until`, where looking is asynchronous."""
    limit = time.monotonic() + timeout
    while not (seen := await look()):
        if time.monotonic() > limit:
            raise AssertionError(f"waited {timeout:g} s for {what}; last seen: {seen!r}")
        await asyncio.sleep(0.02)
    return seen
