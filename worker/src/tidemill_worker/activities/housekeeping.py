"""What a worker sees to now and then, when a run has ended: that dead letters don't outlive their time."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from tidemill_api.errors import TidemillError
from tidemill_api.v1alpha1 import parse_duration
from tidemill_api.v1alpha1.dead_letter import DeadLetter
from tidemill_worker.metastore import Metastore, retention

_log = logging.getLogger(__name__)

EVERY = 600.0
"""Seconds between two passes of one worker."""


class Housekeeping:
    """Remembers what it has seen to, so that most runs cost nothing."""

    def __init__(self, store: Metastore) -> None:
        self._store = store
        self._noted: dict[str, timedelta] = {}
        self._passed = -EVERY

    async def after_run(self, uid: str, spec: dict[str, Any]) -> None:
        """Note the pipeline's retention if it is a new one, and remove what is too old. Never raises: it can wait."""
        try:
            kept = parse_duration(DeadLetter.model_validate(spec.get("deadLetter") or {}).retention)
            if self._noted.get(uid) != kept:
                await retention.keep_for(self._store, uid, kept)
                if uid in self._noted:
                    self._passed = -EVERY
                self._noted[uid] = kept
            if time.monotonic() - self._passed >= EVERY:
                self._passed = time.monotonic()
                gone = await retention.expire(self._store)
                if gone:
                    _log.info("removed %d dead letters whose retention is over", gone)
        except (TidemillError, ValidationError) as error:
            _log.warning("old dead letters stay for now: %s", type(error).__name__)
