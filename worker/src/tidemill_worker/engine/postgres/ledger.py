"""The ledger: one row for each part of a chunk that a sink has, written in the transaction of the part's rows."""

from __future__ import annotations

import json
from dataclasses import dataclass

import asyncpg

from tidemill_api.contract import StepCount
from tidemill_worker.engine.model import RunRef
from tidemill_worker.engine.postgres.fence import Connection


@dataclass(frozen=True, slots=True)
class Resume:
    """Where a part ended, and what it counted."""

    end: int
    """Offset in the file at which the next part begins."""
    line: int
    rows_read: int
    bytes_read: int
    counts: tuple[StepCount, ...]
    state: str | None = None
    """What the function of a source has left, as JSON."""

    def to_json(self) -> str:
        """As text for jsonb."""
        return json.dumps(
            {
                "end": self.end,
                "line": self.line,
                "rowsRead": self.rows_read,
                "bytesRead": self.bytes_read,
                "counts": [count.model_dump(by_alias=True) for count in self.counts],
                **({} if self.state is None else {"state": self.state}),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Resume:
        """The inverse of `to_json`."""
        value = json.loads(text)
        counts = tuple(StepCount.model_validate(count) for count in value["counts"])
        return cls(value["end"], value["line"], value["rowsRead"], value["bytesRead"], counts, value.get("state"))


@dataclass(frozen=True, slots=True)
class Entry:
    """A part of a chunk, as committed to one sink."""

    part: int
    execution: int
    content: str
    """Hash of what was read and how."""
    rows: int
    last: bool
    resume: Resume
    inserted: int | None = None
    updated: int | None = None


async def entries(connection: Connection | asyncpg.Pool, run: RunRef, sink: str, chunk: int) -> dict[int, Entry]:
    """What the sink has of a chunk, by part; of several executions, the newest."""
    rows = await connection.fetch(
        """
        SELECT part, execution, content, rows, last, resume::text, inserted, updated FROM tidemill.ledger
        WHERE uid = $1 AND run_key = $2 AND sink = $3 AND chunk = $4 AND execution <= $5 ORDER BY part, execution
        """,
        run.uid,
        run.run_key,
        sink,
        chunk,
        run.execution,
    )
    return {
        row["part"]: Entry(
            row["part"],
            row["execution"],
            row["content"],
            row["rows"],
            row["last"],
            Resume.from_json(row["resume"]),
            row["inserted"],
            row["updated"],
        )
        for row in rows
    }


async def loaded(connection: Connection, run: RunRef, sink: str) -> int:
    """Rows of this run key that the sink has, by whichever execution."""
    rows: int = await connection.fetchval(
        "SELECT coalesce(sum(rows), 0)::bigint FROM (SELECT DISTINCT ON (chunk, part) rows FROM tidemill.ledger "
        "WHERE uid = $1 AND run_key = $2 AND sink = $3 AND execution <= $4 ORDER BY chunk, part, execution DESC) l",
        *(run.uid, run.run_key, sink, run.execution),
    )
    return rows


async def add(connection: Connection, run: RunRef, sink: str, chunk: int, entry: Entry) -> bool:
    """Note a part; False if another attempt has committed it meanwhile (then this transaction must not commit)."""
    done: str = await connection.execute(
        """
        INSERT INTO tidemill.ledger
            (uid, run_key, execution, sink, chunk, part, content, rows, inserted, updated, last, resume)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::jsonb) ON CONFLICT DO NOTHING
        """,
        run.uid,
        run.run_key,
        entry.execution,
        sink,
        chunk,
        entry.part,
        entry.content,
        entry.rows,
        entry.inserted,
        entry.updated,
        entry.last,
        entry.resume.to_json(),
    )
    return done.endswith(" 1")
