"""`tidemill lint`: all that is wrong with manifests, with file, line and field, and what would be right."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def lint(paths: list[Path], output: Literal["text", "json"] = "text") -> int:
    """Checks all manifests below `paths` and prints what was found. Gives the exit code: 0, 1 (errors) or 2 (usage)."""
    import sys

    from tidemill_cli.lint.meaning import check_manifests
    from tidemill_cli.lint.report import as_json, as_text
    from tidemill_cli.manifests import load_manifests

    try:
        manifests = load_manifests(paths)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    findings = check_manifests(manifests)
    print((as_json if output == "json" else as_text)(manifests, findings))
    return 1 if any(finding.severity == "error" for finding in findings) else 0
