"""`docs/reference/dashboards/`: what each panel shows, and which of them may be empty although all is well."""

from __future__ import annotations

from collections.abc import Iterator

from tools.monitoring.dashboards import DASHBOARDS
from tools.monitoring.panels import Dashboard

FOLDER = "docs/reference/dashboards"
_HEAD = """# Dashboards

Made by `make generate` from tools/monitoring; edit that. [How to get dashboards](../../how-to/dashboards.md) says how
to switch them on. Their JSON is in [helm/tidemill/dashboards](../../../helm/tidemill/dashboards).
"""


def files() -> dict[str, str]:
    """One page."""
    return {"README.md": "\n".join([_HEAD, *(line for board in DASHBOARDS for line in _board(board))])}


def _board(board: Dashboard) -> Iterator[str]:
    yield f"## {board.title.removeprefix('Tidemill / ')}\n"
    chosen = ", ".join(variable.label.lower() for variable in board.variables)
    yield f"{board.description} Chosen by {chosen}.\n"
    yield "| panel | unit | what it shows | may be empty |"
    yield "|---|---|---|---|"
    for row in board.rows:
        for panel in row.panels:
            empty = " ".join(dict.fromkeys(query.empty for query in panel.queries if query.empty))
            yield f"| {panel.title} | {panel.unit} | {panel.description} | {empty} |"
    yield ""
