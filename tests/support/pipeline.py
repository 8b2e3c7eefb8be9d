"""One pipeline that checks months: its files, its table and its runs on a worker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import asyncpg
from temporalio.client import WorkflowHandle

from tests.support.fixtures import unique
from tests.support.worker import Runs, eventually
from tidemill_api.contract import PROGRESS_QUERY, RESULT_MEMO_KEY, RunProgress, RunResult

HEADER = "id,month,name\n"
GOOD = "".join(f"{n},{n % 12 + 1},c{n}\n" for n in range(100))
"""Rows that its rule lets pass."""


class Bench:
    """One pipeline: its files, table and runs."""

    def __init__(self, runs: Runs) -> None:
        """A pipeline nobody else has, with an empty folder."""
        self.pool, self.runs, self.name = runs.pool, runs, unique("p")
        (self.pool.landing / self.name).mkdir()

    def write(self, text: str, file: str = "a.csv") -> None:
        (self.pool.landing / self.name / file).write_text(text)

    def query(self, sql: str) -> list[list[str]]:
        return self.pool.database.query(sql.replace("{table}", f"public.{self.name}").replace("{name}", self.name))

    def spec(self, *, disposition: str = "Append", **changes: Any) -> dict[str, Any]:
        sink = {
            "name": "out",
            "input": "valid",
            "connection": "warehouse",
            "writeDisposition": disposition,
            "postgres": {"table": f"public.{self.name}", "createTable": "IfMissing"},
        }
        if disposition == "Merge":
            sink["primaryKey"] = ["id"]
        return {
            "workerPoolRef": {"name": "etl"},
            "sources": [
                {
                    "name": "raw",
                    "connection": "landing",
                    "files": {"path": f"{self.name}/*.csv", "format": {"csv": {}}},
                    "columns": [
                        {"name": "id", "type": "int64", "required": True},
                        {"name": "month", "type": "int32"},
                        {"name": "name", "type": "string"},
                    ],
                }
            ],
            "steps": [
                {
                    "name": "valid",
                    "inputs": ["raw"],
                    "validate": {"rules": [{"name": "month-in-range", "expression": "month BETWEEN 1 AND 12"}]},
                }
            ],
            "sinks": [sink],
            **changes,
        }

    async def start(self, spec: Mapping[str, Any] | None = None, **options: Any) -> WorkflowHandle[Any, RunResult]:
        return await self.runs.start(spec or self.spec(), pipeline=self.name, **options)

    async def run(self, spec: Mapping[str, Any] | None = None, **options: Any) -> RunResult:
        return await self.runs.result(await self.start(spec, **options))

    @contextlib.asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """While somebody holds the table, so that a load waits at its COPY."""
        connection = await asyncpg.connect(self.pool.database.dsn)
        try:
            async with connection.transaction():
                await connection.execute(f"LOCK TABLE public.{self.name} IN ACCESS EXCLUSIVE MODE")
                yield
        finally:
            await connection.close()

    async def until_loading(self, handle: WorkflowHandle[Any, RunResult]) -> None:
        """Until a chunk of the run waits for the lock."""

        async def loading() -> bool:
            progress = await handle.query(PROGRESS_QUERY, result_type=RunProgress)
            waiting = await asyncio.to_thread(
                self.query, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{table}'::regclass"
            )
            return progress.phase == "Loading" and waiting != [["0"]]

        await eventually(loading)


async def memo(handle: WorkflowHandle[Any, RunResult]) -> RunResult:
    described = await handle.describe()
    return RunResult.model_validate(await described.memo_value(RESULT_MEMO_KEY))
