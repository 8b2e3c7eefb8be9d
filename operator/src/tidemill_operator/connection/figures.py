"""What is measured of a TemporalConnection, and of the way to its Temporal. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from tidemill_api.metrics import operator as metrics
from tidemill_operator.clients import Object
from tidemill_operator.connection.certificates import ends_at
from tidemill_operator.reading import status_of
from tidemill_operator.series import Sample
from tidemill_operator.views import ConnectionKey


def figures(manifest: Object) -> Iterator[Sample]:
    """The series of a TemporalConnection."""
    metadata = manifest["metadata"]
    for said in status_of(manifest).get("conditions") or ():
        labels = (metadata["namespace"], metadata["name"], said["type"], said["status"], said["reason"])
        yield metrics.CONNECTION_CONDITION, labels, 1.0


def way(connection: ConnectionKey, cert: bytes | None, *, reachable: bool, age: float | None) -> Iterator[Sample]:
    """The series of the way to a Temporal: its client certificate, and the seconds since it last answered."""
    which = connection or ("", "")
    yield metrics.TEMPORAL_REACHABLE, which, float(reachable)
    if age is not None:
        yield metrics.TEMPORAL_SWEEP_AGE, which, age
    expiry = ends_at(cert) if cert is not None else None
    if expiry is not None:
        yield metrics.CERTIFICATE_EXPIRY, which, expiry
