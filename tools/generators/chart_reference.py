"""`docs/reference/chart/`: the chart's values, for readers of the docs."""

from __future__ import annotations

from tools.generators import chart_values

FOLDER = "docs/reference/chart"
_HEAD = """# Values of the chart

Made by `make generate` from the comments in [values.yaml](../../../helm/tidemill/values.yaml); edit those.
[How to install](../../how-to/install.md) tells which of them matter first.
"""


def files() -> dict[str, str]:
    """One page."""
    return {"README.md": f"{_HEAD}\n{chart_values.table(tuple(chart_values.read(chart_values.CHART)))}"}
