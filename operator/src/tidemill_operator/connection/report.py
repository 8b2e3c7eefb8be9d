"""What is told of a connection. Pure; telling it again changes nothing. Never anything of a Secret's content."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tidemill_api import conditions as said
from tidemill_api.names import ANNOTATION_RELEASE
from tidemill_operator.actions import Outcome
from tidemill_operator.clients import Object
from tidemill_operator.connection.desire import Desired
from tidemill_operator.connection.observe import Observed
from tidemill_operator.reading import status_of
from tidemill_operator.standing import claims, conditions, waits
from tidemill_operator.trouble import standing_of


def report(desired: Desired, observed: Observed, outcomes: Sequence[Outcome], now: datetime) -> Object | None:
    """The whole status; None: leave it as it is (somebody wrote in between, the next pass follows at once)."""
    if any(outcome.result == "Conflict" for outcome in outcomes):
        return None
    before = status_of(observed.manifest)
    generation = observed.manifest["metadata"].get("generation", 0)
    standing = desired.standing
    if observed.going:
        standing = waits(
            said.WAITING_FOR_POOL,
            f"deletion waits for the pools that use the connection: {', '.join(observed.pools)}; to let it go before "
            f'them, annotate it {ANNOTATION_RELEASE}: "true"',
        )
    elif standing.state == "ready":
        standing = standing_of(outcomes) or standing
    status: dict[str, Any] = {
        "observedGeneration": generation,
        "conditions": conditions(claims(standing), before.get("conditions") or (), generation, now),
        "serverVersion": observed.server_version or before.get("serverVersion"),
    }
    return {name: value for name, value in status.items() if value is not None}
