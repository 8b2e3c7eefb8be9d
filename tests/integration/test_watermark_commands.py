"""`tidemill watermarks` on a sink's database: what it shows, what it resets, and what it says when it can't."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fixtures import Database
from tidemill_worker.migrations import ensure

TIDEMILL = Path(sys.executable).parent / "tidemill"
FILLED = """
INSERT INTO tidemill.watermarks (uid, source, sink, namespace, pipeline, version, run_key)
VALUES ('u1', 'raw', 'arrivals', 'travel', 'arrivals', 2, '2026-01-01T04:15:00Z'),
    ('u2', 'raw', 'arrivals', 'other', 'arrivals', 1, 'by-hand');
INSERT INTO tidemill.loaded_files (uid, source, sink, path, size, mtime_ns, run_key)
SELECT uid, 'raw', 'arrivals', path, 1, 1, 'k' FROM unnest(ARRAY['u1', 'u2']) AS uid,
    unnest(ARRAY['arrivals/2025/a.csv', 'arrivals/2026/a.csv', 'arrivals/2026/100%_b.csv']) AS path;
"""


def watermarks(dsn: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TIDEMILL_SINK_DSN": dsn, "NO_COLOR": "1", "COLUMNS": "200"}
    command = [str(TIDEMILL), "watermarks", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture
async def sink(database: Database) -> Database:
    """A sink's database with two pipelines' watermarks."""
    import asyncpg

    pool = await asyncpg.create_pool(database.dsn, min_size=0)
    await ensure("warehouse", pool)
    await pool.execute(FILLED)
    await pool.close()
    return database


def left(database: Database) -> list[str]:
    rows = database.query("SELECT path FROM tidemill.loaded_files WHERE uid = 'u1' ORDER BY path COLLATE \"C\"")
    return [row[0] for row in rows]


def test_list(sink: Database) -> None:
    told = watermarks(sink.dsn, "list", "-o", "json")
    assert told.returncode == 0, told.stderr
    [other, mine] = json.loads(told.stdout)["items"]
    assert (other["namespace"], mine["namespace"], mine["files"], mine["version"]) == ("other", "travel", 3, 2)
    shown = watermarks(sink.dsn, "list", "--namespace", "travel").stdout
    assert shown.split("\n")[0].split() == ["PIPELINE", "SOURCE", "SINK", "FILES", "LAST", "RUN", "MOVED"]
    assert shown.split("\n")[1].split()[:5] == ["travel/arrivals", "raw", "arrivals", "3", "2026-01-01T04:15:00Z"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--path", "arrivals/2026/*"), ["arrivals/2025/a.csv"]),
        (("--path", "*100%_b.csv"), ["arrivals/2025/a.csv", "arrivals/2026/a.csv"]),
        (("--path", "arrivals/202?/a.csv"), ["arrivals/2026/100%_b.csv"]),
        (("--source", "raw", "--sink", "arrivals"), []),
    ],
)
def test_reset(sink: Database, words: tuple[str, ...], expected: list[str]) -> None:
    asked = ("reset", "--pipeline", "arrivals", "--namespace", "travel", *words)
    before, count = left(sink), 3 - len(expected)

    assert watermarks(sink.dsn, *asked).stdout == f"{count} files would be read again: --yes does it\n"
    assert left(sink) == before
    assert watermarks(sink.dsn, *asked, "--yes").stdout == f"{count} files will be read again\n"

    assert left(sink) == expected
    assert sink.query("SELECT count(*) FROM tidemill.loaded_files WHERE uid = 'u2'") == [["3"]]


BY_CURSOR = """
UPDATE tidemill.watermarks SET cursor_of = 'public.orders.at', cursor_type = 'timestamptz',
    cursor = '2026-01-31 10:00:00+00' WHERE uid = 'u1';
DELETE FROM tidemill.loaded_files WHERE uid = 'u1'
"""


def test_cursors(sink: Database) -> None:
    sink.query(BY_CURSOR)
    mine = ("--pipeline", "arrivals", "--namespace", "travel")

    def mark() -> list[list[str]]:
        return sink.query("SELECT cursor, version FROM tidemill.watermarks WHERE uid = 'u1'")

    shown = watermarks(sink.dsn, "list", "--namespace", "travel").stdout
    assert shown.split("\n")[1].split()[3:6] == ["0", "2026-01-31", "10:00:00+00"]

    value = ("--value", "2026-02-01T00:00:00+02:00")
    told = watermarks(sink.dsn, "set", *mine, *value)
    assert told.stdout.split("\n")[0].startswith("raw into arrivals: 2026-01-31 10:00:00+00 would be 2026-02-01T")
    assert mark() == [["2026-01-31 10:00:00+00", "2"]]
    assert watermarks(sink.dsn, "set", *mine, *value, "--yes").returncode == 0
    assert mark() == [["2026-01-31 22:00:00+00", "3"]]

    wrong = watermarks(sink.dsn, "set", *mine, "--value", "5", "--yes")
    assert (wrong.returncode, wrong.stderr) == (
        1, "tidemill watermarks: source raw: 5 is not a moment such as 2026-01-31T00:00:00Z\n",
    )  # fmt: skip
    none = watermarks(sink.dsn, "set", "--pipeline", "arrivals", "--namespace", "other", "--value", "5", "--yes")
    assert (none.returncode, "no such watermark of a cursor" in none.stderr) == (1, True)

    assert watermarks(sink.dsn, "reset", *mine).stdout == "1 tables would be read again: --yes does it\n"
    assert watermarks(sink.dsn, "reset", *mine, "--path", "*", "--yes").stdout == "0 files will be read again\n"
    assert watermarks(sink.dsn, "reset", *mine, "--yes").stdout == "1 tables will be read again\n"
    assert mark() == [["", "4"]]


def test_what_is_no_sinks_database(database: Database) -> None:
    database.query("DROP SCHEMA IF EXISTS tidemill CASCADE")
    told = watermarks(database.dsn, "list")
    assert (told.returncode, "this database has no watermarks" in told.stderr) == (1, True)


def test_what_cant_be_reached() -> None:
    told = watermarks("postgresql://me:secret@127.0.0.1:1/none", "reset", "--pipeline", "x", "--yes")
    assert (told.returncode, "the database can't be reached" in told.stderr) == (1, True)
    assert "secret" not in told.stderr
