"""`docs/reference/metrics/`: every metric of operator and worker, from the catalogue in `tidemill_api.metrics`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tidemill_api.metrics import BOUNDS, Metric, operator, worker

FOLDER = "docs/reference/metrics"
_HEAD = """# Metrics

Made by `make generate` from `api/src/tidemill_api/metrics`; edit that. [How to scrape them](../../how-to/metrics.md).

A histogram `x` has the series `x_bucket` (with the label `le`), `x_sum` and `x_count`. Metrics marked *exemplars* carry
in OpenMetrics what finds a run again in Temporal. Besides these both have the client library's own (`process_...`; the
operator also `python_...`), and a worker has those of
[Temporal's SDK](https://docs.temporal.io/references/sdk-metrics), `temporal_...`, each
with the labels `pool_namespace` and `pool`.
"""


def files() -> dict[str, str]:
    """The one page."""
    lines = [
        _HEAD,
        *_part("Operator", operator.__doc__, operator.ALL),
        *_part("Worker", worker.__doc__, worker.ALL),
        "## Labels",
        "",
        "| label | what it says, and what bounds it |",
        "|---|---|",
        *(f"| `{label}` | {_cell(told)} |" for label, told in sorted(BOUNDS.items())),
    ]
    return {"README.md": "\n".join(lines) + "\n"}


def _part(title: str, told: str | None, metrics: Sequence[Metric]) -> Iterator[str]:
    yield from (f"## {title}", "", " ".join((told or "").split()), "")
    yield from ("| metric | type | labels | what it tells |", "|---|---|---|---|")
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        marked = " *Exemplars.*" if metric.exemplar else ""
        yield f"| `{metric.name}` | {metric.type} | {labels} | {_cell(metric.help)}{marked} |"
    yield ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
