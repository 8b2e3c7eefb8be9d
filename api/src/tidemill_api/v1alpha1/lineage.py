"""Where a pool tells what its runs read and write."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tidemill_api.v1alpha1._base import Model, Rule
from tidemill_api.v1alpha1._types import PartName


class HTTPLineage(Model):
    """A POST for each event to an http connection of the pool."""

    connection: PartName
    """An http connection of this pool: the URL of a server that takes OpenLineage events."""
    path: Annotated[str, Field(pattern=r"^[!-~]*$", max_length=1024)] = "api/v1/lineage"
    """Path below the connection's URL."""

    rules = (
        Rule(
            cel="!has(self.path) || !self.path.startsWith('/') && !self.path.contains('//') && "
            "!self.path.split('/').exists(p, p == '..')",
            message="lineage's path must be relative and stay below the connection's URL: no leading slash, no '//', "
            "no '..'",
            holds=lambda s: not s.path.startswith("/") and "//" not in s.path and ".." not in s.path.split("/"),
            field=".path",
        ),
    )


class Lineage(Model):
    """OpenLineage events: what a run reads and writes, with the columns' names. Never a reason for a run to fail."""

    namespace: Annotated[str, Field(pattern=r"^[!-~]+$", max_length=253, examples=["production"])] | None = None
    """Namespace of the jobs; the pool's Kubernetes namespace if not given."""
    http: HTTPLineage
    """Where events go."""
