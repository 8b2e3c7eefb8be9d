"""How this process' allocators treat blocks of some megabytes.

Both glibc's and Arrow's own give them back to the system soon and ask for them anew, page by page: a sixth of a load's
time. One allocator that keeps some memory, with few arenas, takes less time and less memory.
"""

from __future__ import annotations

import os
from typing import Final

_TRIM_THRESHOLD: Final = -1  # the parameters' numbers in malloc.h
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
_REUSED: Final = 32 << 20
"""Bytes of an allocation that is taken from what was freed before; glibc's most."""
_KEPT: Final = 64 << 20
"""Free bytes at the end of an arena that are kept."""
_ARENAS: Final = 2


def keep_freed_blocks() -> bool:
    """Let freed blocks be used again without the system, wherever they were taken from the C library.

    Best done before there are threads: each may already have an arena of its own. Nothing happens (and the answer is
    False) where the C library isn't glibc. Imports nothing that is slow to import.
    """
    try:
        if not (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc"):
            return False
    except (AttributeError, OSError, ValueError):
        return False
    import ctypes

    library = ctypes.CDLL(None)
    library.mallopt(_ARENA_MAX, _ARENAS)
    library.mallopt(_MMAP_THRESHOLD, _REUSED)
    library.mallopt(_TRIM_THRESHOLD, _KEPT)
    return True


def share_the_allocator() -> None:
    """The same for Arrow, which takes its memory from the C library then. Imports pyarrow."""
    if keep_freed_blocks():
        import pyarrow as pa

        pa.set_memory_pool(pa.system_memory_pool())
