"""What a connection asks for: nothing but to be tried. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tidemill_api.conditions import CONNECTED
from tidemill_operator.clients import Settings
from tidemill_operator.connection.observe import Observed
from tidemill_operator.standing import Standing, ready


@dataclass(frozen=True, slots=True)
class Desired:
    """A connection's wishes."""

    standing: Standing
    """How it stands, as long as it isn't being deleted."""


def desire(observed: Observed, settings: Settings) -> Desired:  # noqa: ARG001 - as all kinds
    """How a connection stands."""
    if observed.trouble is not None:
        return Desired(observed.trouble)
    spec = observed.manifest["spec"]
    where = f"{spec['address']}, namespace {spec.get('namespace', 'default')}"
    return Desired(ready(CONNECTED, f"Temporal {observed.server_version} at {where} answers."))
