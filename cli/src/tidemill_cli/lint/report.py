"""How findings are shown."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tidemill_cli.lint.finding import Finding
from tidemill_cli.manifests import Manifests


def as_text(manifests: Manifests, findings: Sequence[Finding]) -> str:
    """A line a finding, `file:line:column: field: message`, and a last line that sums up."""
    counts = {severity: sum(one.severity == severity for one in findings) for severity in ("error", "warning", "note")}
    said = ", ".join(_many(count, word) for word, count in counts.items() if count) or "no errors"
    return "\n".join(
        [
            *map(str, findings),
            f"{_many(_objects(manifests), 'object')} in {_many(len(manifests.files), 'file')}: {said}",
        ]
    )


def as_json(manifests: Manifests, findings: Sequence[Finding]) -> str:
    """One JSON object: `files` and `objects` are counts, `findings` a list in the order of the text."""
    answer = {
        "files": len(manifests.files),
        "objects": _objects(manifests),
        "errors": sum(one.severity == "error" for one in findings),
        "findings": [finding.to_json() for finding in findings],
    }
    return json.dumps(answer, ensure_ascii=False, indent=2)


def _objects(manifests: Manifests) -> int:
    kinds = (manifests.pipelines, manifests.pools, manifests.runs, manifests.connections, manifests.broken)
    return sum(len(kind) for kind in kinds)


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
