"""Telling one process from another that got its id later."""

from __future__ import annotations

from pathlib import Path


def started(pid: int) -> str | None:
    """When a process began, as the system counts it; None if it doesn't run (a zombie doesn't)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in {"Z", "X"} else fields[18]
