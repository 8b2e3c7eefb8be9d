"""Names in PromQL, compared with the catalogue of metrics; as much of the language as rules and panels use."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tidemill_api.metrics import Metric, operator, worker

SCRAPERS = frozenset({"namespace", "job", "instance", "pod", "le"})
"""Labels that no metric has: the scraper's, and that of buckets."""
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_SERIES = re.compile(r"\b((?:tidemill|temporal|process|python)_\w+)(?:{([^}]*)})?")
_GROUPING = re.compile(r"\b(?:by|on|ignoring|without|group_left|group_right) \(([^)]*)\)")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
CATALOGUE: dict[str, Metric] = {series: metric for metric in (*operator.ALL, *worker.ALL) for series in metric.series}


def series_of(expression: str) -> set[str]:
    """The names of the series that an expression asks for."""
    return {found[1] for found in _SERIES.finditer(_STRING.sub('""', expression))}


def unknown(expression: str) -> Iterator[str]:
    """What of our own names in an expression the catalogue doesn't have."""
    bare = _STRING.sub('""', expression)
    known = set(SCRAPERS)
    for found in _SERIES.finditer(bare):
        if not found[1].startswith("tidemill_"):
            continue
        metric = CATALOGUE.get(found[1])
        if metric is None:
            yield f"there is no series {found[1]}"
            continue
        known |= set(metric.labels)
        for label in _LABEL.findall(found[2] or ""):
            if label not in {*metric.labels, *SCRAPERS}:
                yield f"{found[1]} has no label {label}"
    for names in _GROUPING.findall(bare):
        for label in filter(None, (name.strip() for name in names.split(","))):
            if label not in known and "tidemill_" in bare:
                yield f"no series has the label {label}"
