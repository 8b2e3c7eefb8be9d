"""Waiting for the thing itself, never for time to pass."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE = 0.02


def until(look: Callable[[], T], what: str, timeout: float = 20.0) -> T:
    """Look again and again until it gives something true, and return that.

    Raises `AssertionError` that names `what` after `timeout` seconds.
    """
    limit = time.monotonic() + timeout
    while True:
        began = time.monotonic()
        if seen := look():
            return seen
        time.sleep(_until_next_look(began, limit, f"waited {timeout:g} s for {what}; last seen: {seen!r}"))


async def until_async(look: Callable[[], Awaitable[T]], what: str, timeout: float = 20.0) -> T:  # noqa: ASYNC109 - a limit with words
    """As `until`, where looking is asynchronous."""
    limit = time.monotonic() + timeout
    while True:
        began = time.monotonic()
        if seen := await look():
            return seen
        await asyncio.sleep(_until_next_look(began, limit, f"waited {timeout:g} s for {what}; last seen: {seen!r}"))


def _until_next_look(began: float, limit: float, failure: str) -> float:
    """A pause as long as the look was: who is waited for has the same processors, and a look may start a program."""
    now = time.monotonic()
    if now > limit:
        raise AssertionError(failure)
    return max(_PAUSE, now - began)
