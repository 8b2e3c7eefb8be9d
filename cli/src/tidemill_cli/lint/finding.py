"""What lint has to say about one place in one file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """`severity`: an error makes lint fail; a warning is a trap; a note says what couldn't be checked.

    `line` and `column` count from 1. `field` is the path in the manifest, empty for the file or the whole document.
    `reason` is one of `tidemill_api.conditions` where the operator would say so too, else empty.
    """

    file: Path
    line: int
    column: int
    field: str
    message: str
    severity: Severity = "error"
    reason: str = ""

    def __str__(self) -> str:
        kind = "" if self.severity == "error" else f"{self.severity}: "
        field = f"{self.field}: " if self.field else ""
        return f"{self.file}:{self.line}:{self.column}: {kind}{field}{self.message}"

    def to_json(self) -> dict[str, Any]:
        """The finding as JSON."""
        return {
            "file": str(self.file),
            "line": self.line,
            "column": self.column,
            "field": self.field,
            "severity": self.severity,
            "reason": self.reason,
            "message": self.message,
        }
