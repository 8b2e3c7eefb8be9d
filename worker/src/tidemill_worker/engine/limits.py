"""How much memory and disk a step over all rows may have, from what this process may have. Reads the system's files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

_CGROUPS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_SHARE: Final = 0.4
"""Of the memory: the rest is for chunks that are worked on meanwhile, and for what DuckDB doesn't count."""
_LEAST: Final = 128 << 20
_DISK_SHARE: Final = 0.8


def memory_for_a_step(cgroups: tuple[Path, ...] = _CGROUPS) -> int:
    """Bytes that DuckDB may hold for a step over all rows; what is beyond goes to disk."""
    limits = [_limit(path) for path in cgroups]
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    least = min([machine, *(limit for limit in limits if limit is not None)])
    return max(_LEAST, int(_SHARE * least))


def disk_for_a_step(folder: Path) -> int:
    """Bytes that may be written to `folder` meanwhile."""
    return max(1 << 20, int(_DISK_SHARE * shutil.disk_usage(folder).free))


def _limit(path: Path) -> int | None:
    """What a control group allows; None if it has no limit or isn't there."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
