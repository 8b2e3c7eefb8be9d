"""`TemporalConnection`: a Temporal namespace that pools of this Kubernetes namespace may use."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tidemill_api.v1alpha1._base import Model, Rule
from tidemill_api.v1alpha1._object import AGE, Conditions, Generation, PrinterColumn, Resource, Served, condition
from tidemill_api.v1alpha1._types import LocalRef, SecretValue

_PORT = r"(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
ADDRESS_PATTERN = rf"^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):{_PORT}$"


class TLS(Model):
    """TLS to the Temporal frontend."""

    secret_ref: LocalRef | None = None
    """Secret with `tls.crt` and `tls.key` (client certificate) and, if the authority isn't public, `ca.crt`."""
    server_name: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """Name to expect in the server's certificate, where it differs from the address."""


class TemporalConnectionSpec(Model):
    """Where a Temporal is and how to authenticate."""

    address: Annotated[str, Field(pattern=ADDRESS_PATTERN, max_length=260)]
    """Host and port of the frontend, such as `temporal-frontend.temporal.svc:7233`."""
    namespace: Annotated[str, Field(pattern=r"^[A-Za-z0-9][-._A-Za-z0-9]*$", max_length=255)] = "default"
    """Temporal namespace."""
    tls: TLS | None = None
    """Present (even empty, `{}`): connect by TLS. An API key implies TLS."""
    api_key: SecretValue | None = None
    """API key, for Temporal Cloud."""

    rules = (
        Rule(
            cel="!(has(self.apiKey) && has(self.tls) && has(self.tls.secretRef))",
            message="apiKey and a client certificate (tls.secretRef) exclude each other: Temporal takes one of them",
            holds=lambda s: not (s.api_key and s.tls and s.tls.secret_ref),
            field=".apiKey",
        ),
    )


class TemporalConnectionStatus(Model):
    """What the operator saw of a connection."""

    observed_generation: Generation | None = None
    """The generation that this status speaks of."""
    conditions: Conditions = ()
    """Ready, and Reconciling or Stalled while they are true."""
    server_version: Annotated[str, Field(max_length=64)] | None = None
    """Version of the Temporal server."""


class TemporalConnection(Resource):
    """A Temporal namespace that pools of this Kubernetes namespace may use."""

    served = Served(
        plural="temporalconnections",
        short_name="tconn",
        columns=(
            PrinterColumn("Ready", condition("Ready", "status")),
            PrinterColumn("Address", ".spec.address"),
            PrinterColumn("Namespace", ".spec.namespace"),
            PrinterColumn("Server", ".status.serverVersion"),
            AGE,
            PrinterColumn("Message", condition("Ready", "message"), wide=True),
        ),
    )

    api_version: Literal["tidemill.dev/v1alpha1"] = "tidemill.dev/v1alpha1"
    kind: Literal["TemporalConnection"] = "TemporalConnection"
    spec: TemporalConnectionSpec
    """Where a Temporal is and how to authenticate."""
    status: TemporalConnectionStatus | None = None
    """What the operator saw."""
