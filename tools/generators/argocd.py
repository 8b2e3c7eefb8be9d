"""`deploy/argocd/config/argocd-cm.yaml`: our health checks and actions, as Argo CD's ConfigMap takes them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

FOLDER = "deploy/argocd/config"
_ROOT = Path(__file__).resolve().parents[2]
_SCRIPTS = "deploy/argocd/tidemill.dev"
_HEAD = f"""# Made by `make generate` from the scripts in {_SCRIPTS}; edit those.
# Adds to Argo CD's own ConfigMap: kubectl patch cm argocd-cm -n argocd --patch-file argocd-cm.yaml
data:
"""


def files() -> dict[str, str]:
    """One file."""
    kinds = sorted(folder for folder in (_ROOT / _SCRIPTS).iterdir() if folder.is_dir())
    return {"argocd-cm.yaml": _HEAD + "".join(line for kind in kinds for line in _entries(kind))}


def _entries(kind: Path) -> Iterator[str]:
    name = f"tidemill.dev_{kind.name}"
    yield f"  resource.customizations.health.{name}: |\n{_indented(kind / 'health.lua', 4)}"
    actions = kind / "actions"
    if actions.is_dir():
        yield f"  resource.customizations.actions.{name}: |\n"
        yield f"    discovery.lua: |\n{_indented(actions / 'discovery.lua', 6)}"
        yield "    definitions:\n"
        for action in sorted(actions.glob("*/action.lua")):
            yield f"    - name: {action.parent.name}\n      action.lua: |\n{_indented(action, 8)}"


def _indented(script: Path, width: int) -> str:
    return textwrap.indent(script.read_text(encoding="utf-8"), " " * width)
