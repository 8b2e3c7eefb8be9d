"""What the operator's CPU is compared with: kopf as it comes, one handler that patches a status."""

from __future__ import annotations

from typing import Any

import kopf


@kopf.on.create("bench.tidemill.dev", "v1", "things")
async def created(spec: kopf.Spec, patch: kopf.Patch, **_: Any) -> None:
    """Say that it is ready, as shortly as a real operator would."""
    patch.status["conditions"] = [{"type": "Ready", "status": "True", "reason": "Made", "message": spec["name"]}]
    patch.status["observedGeneration"] = 1
