"""From the watching thread into the operator's loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tidemill_operator.handlers import Event, Watch
from tidemill_operator.metrics import Metrics


async def test_an_event_that_nobody_can_take_in_is_the_only_one_lost(caplog: pytest.LogCaptureFixture) -> None:
    got: list[Any] = []
    all_there = asyncio.Event()

    def receive(event: Event) -> None:
        kind, _, manifest = event
        if kind == "DataPipeline" and manifest["metadata"]["name"] == "odd":
            raise KeyError("spec")
        got.append(manifest["metadata"]["name"])
        if len(got) == 3:
            all_there.set()

    async def nobody() -> Any:
        raise AssertionError

    metrics = Metrics()
    loop = asyncio.get_running_loop()
    watch = Watch(nobody, (), receive, lambda: None, failed=metrics.count_watch_error)
    take = watch._taker("DataPipeline", loop)

    def event(name: str) -> None:
        assert take(event={"type": "ADDED", "object": {"metadata": {"name": name}}}) is False

    def three() -> None:
        for name in ("first", "odd", "second"):
            event(name)

    await asyncio.to_thread(three)
    await asyncio.to_thread(event, "odd")
    await asyncio.to_thread(event, "third")

    async with asyncio.timeout(20):
        await all_there.wait()
    assert got == ["first", "second", "third"]
    assert b'tidemill_operator_watch_errors_total{kind="DataPipeline"} 2.0' in metrics.text()
    assert "an event of a DataPipeline" in caplog.text
