"""The promise `spec.freshness.within`: whether it holds, and until when. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from tidemill_api import conditions
from tidemill_api.v1alpha1 import parse_duration, parse_timestamp
from tidemill_operator.clients import Object
from tidemill_operator.pipeline.totals import Totals
from tidemill_operator.standing import Claim

_MARGIN = timedelta(seconds=1)
"""A look that comes a moment early would find that all is well, and come again and again."""


def fresh(manifest: Object, totals: Totals | None, now: datetime) -> Iterator[Claim]:
    """Condition Fresh, if there is a promise. Its message doesn't change with time alone."""
    within, since = _promise(manifest), _since(manifest, totals)
    if within is None or since is None:
        return
    told = manifest["spec"]["freshness"]["within"]
    last = (totals or {}).get("lastSuccessAt")
    newest = f"The newest run that succeeded ended at {last}" if last else "No run has succeeded yet"
    if now - since <= within:
        yield Claim(conditions.FRESH, "True", conditions.WITHIN_PROMISE, f"{newest}; no older than {told} is promised.")
    else:
        yield Claim(conditions.FRESH, "False", conditions.OUTDATED, f"{newest}, longer ago than the promised {told}.")


def ends_in(manifest: Object, totals: Totals | None, now: datetime) -> timedelta | None:
    """How long the promise still holds, with a margin; None: there is none."""
    within, since = _promise(manifest), _since(manifest, totals)
    return since + within + _MARGIN - now if within is not None and since is not None else None


def _promise(manifest: Object) -> timedelta | None:
    told: Mapping[str, Any] = manifest["spec"].get("freshness") or {}
    within = told.get("within")
    return parse_duration(within) if isinstance(within, str) else None


def _since(manifest: Object, totals: Totals | None) -> datetime | None:
    """From when its age counts: the newest success, or the pipeline's own beginning."""
    moment = (totals or {}).get("lastSuccessAt") or manifest["metadata"].get("creationTimestamp")
    return parse_timestamp(moment) if isinstance(moment, str) else None
