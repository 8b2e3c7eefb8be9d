"""One pipeline with rows to reject: its files, its table, its runs on a worker, and its letters in the metastore."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.worker import Pool, Runs
from tidemill_api.contract import RunResult

HEADER = "id,month,name,mail\n"
COLUMNS = [
    {"name": "id", "type": "int64", "required": True},
    {"name": "month", "type": "int32"},
    {"name": "name", "type": "string"},
]
"""Without `mail`: a field that the pipeline doesn't read."""


@dataclass
class Rejecting:
    """A pipeline that reads `<name>/*.csv`, wants months from 1 to 12 and appends to a table of its name."""

    pool: Pool
    runs: Runs
    name: str
    letters: dict[str, Any] = field(default_factory=dict[str, Any])
    """`spec.deadLetter`."""

    def write(self, *rows: str, file: str = "a.csv") -> None:
        """A file with these rows."""
        folder = self.pool.landing / self.name
        folder.mkdir(exist_ok=True)
        (folder / file).write_text(HEADER + "".join(f"{row}\n" for row in rows))

    def query(self, sql: str) -> list[list[str]]:
        """Rows of a query in which {name} is the pipeline, and {table} its table."""
        return self.pool.database.query(sql.replace("{table}", f"public.{self.name}").replace("{name}", self.name))

    def spec(self, **changes: Any) -> dict[str, Any]:
        """The manifest's spec."""
        source = {
            "name": "raw",
            "connection": "landing",
            "files": {"path": f"{self.name}/*.csv", "format": {"csv": {}}},
            "columns": COLUMNS,
        }
        rules = [{"name": "month-in-range", "expression": "month BETWEEN 1 AND 12"}]
        sink = {
            "name": "out",
            "input": "valid",
            "connection": "warehouse",
            "writeDisposition": "Append",
            "postgres": {"table": f"public.{self.name}"},
        }
        return {
            "workerPoolRef": {"name": "etl"},
            "sources": [source],
            "steps": [{"name": "valid", "inputs": ["raw"], "validate": {"rules": rules}}],
            "sinks": [sink],
            "deadLetter": self.letters,
            **changes,
        }

    async def run(self, spec: Mapping[str, Any] | None = None, **options: Any) -> RunResult:
        """One run to its end."""
        return await self.runs.run(spec or self.spec(), pipeline=self.name, **options)
