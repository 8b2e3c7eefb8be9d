"""What dashboards choose by, and the selectors of their queries that go with it."""

from __future__ import annotations

from typing import Final

from tools.monitoring.panels import Variable
from tools.monitoring.promql import PIPELINE, POOL

NAMESPACE: Final = Variable("namespace", "Namespace", "label_values(tidemill_pipeline_info, pipeline_namespace)")
THE_PIPELINE: Final = Variable(
    "pipeline", "Pipeline", 'label_values(tidemill_pipeline_info{pipeline_namespace=~"$namespace"}, pipeline)'
)
POOL_NAMESPACE: Final = Variable("namespace", "Namespace", "label_values(tidemill_pool_pipelines, pool_namespace)")
THE_POOL: Final = Variable("pool", "Pool", 'label_values(tidemill_pool_pipelines{pool_namespace=~"$namespace"}, pool)')
RELEASE: Final = Variable("release", "Operator", "label_values(tidemill_operator_leader, job)")

QUIET: Final = "Nothing of the kind has happened."
UNUSED: Final = "Nothing of the kind is configured."


def pipelines(metric: str, more: str = "", by: str = "", *, one: bool = False) -> str:
    """A figure of the chosen pipelines, one value each (or one each of the labels `by`), whoever leads.

    `one` is for dashboards that choose pipelines; else all of the chosen namespaces are meant.
    """
    chosen = 'pipeline_namespace=~"$namespace"' + (', pipeline=~"$pipeline"' if one else "")
    labels = ", ".join(filter(None, (PIPELINE, by)))
    return f"max by ({labels}) (tidemill_pipeline_{metric}{{{', '.join(filter(None, (chosen, more)))}}})"


def pipeline(metric: str, more: str = "", by: str = "") -> str:
    """As `pipelines`, where one is chosen."""
    return pipelines(metric, more, by, one=True)


def pool(metric: str, more: str = "", by: str = "") -> str:
    """A figure of the chosen pools, one value each, whoever leads."""
    labels = ", ".join(filter(None, (POOL, by)))
    return f"max by ({labels}) (tidemill_pool_{metric}{{{', '.join(filter(None, (IN_POOL, more)))}}})"


IN_POOL: Final = 'pool_namespace=~"$namespace", pool=~"$pool"'
OF_PIPELINE: Final = 'pipeline_namespace=~"$namespace", pipeline=~"$pipeline"'


def grown(metric: str, by: str, more: str = "", *, one: bool = False) -> str:
    """By how much a counter of pipelines has grown in a point's interval, without what falls between two leaders."""
    chosen = 'pipeline_namespace=~"$namespace"' + (', pipeline=~"$pipeline"' if one else "")
    selector = ", ".join(filter(None, (chosen, more)))
    return f"sum by ({by}) (increase(tidemill_pipeline_{metric}{{{selector}}}[$__rate_interval]))"


def rate(series: str, by: str) -> str:
    """The rate of a counter."""
    return f"sum by ({by}) (rate({series}[$__rate_interval]))"


def quantile(part: float, histogram: str, selector: str, by: str = "") -> str:
    """A quantile of a histogram."""
    labels = ", ".join(filter(None, (by, "le")))
    buckets = f"{histogram}_bucket{{{selector}}}" if selector else f"{histogram}_bucket"
    return f"histogram_quantile({part:g}, sum by ({labels}) (rate({buckets}[$__rate_interval])))"
