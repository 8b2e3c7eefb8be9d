"""`tidemill watermarks` on a sink's database: what it shows, what it resets, and what it says when it can't."""

from __future__ import annotations

import json

import pytest

from tests.support.commands import Said, tidemill
from tests.support.fixtures import Database

FILLED = """
INSERT INTO tidemill.watermarks (uid, source, sink, namespace, pipeline, version, run_key)
VALUES ('u1', 'raw', 'arrivals', 'travel', 'arrivals', 2, '2026-01-01T04:15:00Z'),
    ('u2', 'raw', 'arrivals', 'other', 'arrivals', 1, 'by-hand');
INSERT INTO tidemill.loaded_files (uid, source, sink, path, size, mtime_ns, run_key)
SELECT uid, 'raw', 'arrivals', path, 1, 1, 'k' FROM unnest(ARRAY['u1', 'u2']) AS uid,
    unnest(ARRAY['arrivals/2025/a.csv', 'arrivals/2026/a.csv', 'arrivals/2026/100%_b.csv']) AS path;
"""


def watermarks(dsn: str, *words: str) -> Said:
    return tidemill("watermarks", *words, environment={"TIDEMILL_SINK_DSN": dsn})


@pytest.fixture
def sink(migrated: Database) -> Database:
    """A sink's database with two pipelines' watermarks."""
    migrated.query(FILLED)
    return migrated


def left(database: Database) -> list[str]:
    rows = database.query("SELECT path FROM tidemill.loaded_files WHERE uid = 'u1' ORDER BY path COLLATE \"C\"")
    return [row[0] for row in rows]


def test_list(sink: Database) -> None:
    told = watermarks(sink.dsn, "list", "-o", "json")
    assert told.code == 0, told.err
    [other, mine] = json.loads(told.out)["items"]
    assert (other["namespace"], mine["namespace"], mine["files"], mine["version"]) == ("other", "travel", 3, 2)
    shown = watermarks(sink.dsn, "list", "--namespace", "travel").out
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

    assert watermarks(sink.dsn, *asked).out == f"{count} files would be read again: --yes does it\n"
    assert left(sink) == before
    assert watermarks(sink.dsn, *asked, "--yes").out == f"{count} files will be read again\n"

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

    shown = watermarks(sink.dsn, "list", "--namespace", "travel").out
    assert shown.split("\n")[1].split()[3:6] == ["0", "2026-01-31", "10:00:00+00"]

    value = ("--value", "2026-02-01T00:00:00+02:00")
    told = watermarks(sink.dsn, "set", *mine, *value)
    assert told.out.split("\n")[0].startswith("raw into arrivals: 2026-01-31 10:00:00+00 would be 2026-02-01T")
    assert mark() == [["2026-01-31 10:00:00+00", "2"]]
    assert watermarks(sink.dsn, "set", *mine, *value, "--yes").code == 0
    assert mark() == [["2026-01-31 22:00:00+00", "3"]]

    wrong = watermarks(sink.dsn, "set", *mine, "--value", "5", "--yes")
    assert (wrong.code, wrong.err) == (
        1, "tidemill watermarks: source raw: 5 is not a moment such as 2026-01-31T00:00:00Z\n",
    )  # fmt: skip
    none = watermarks(sink.dsn, "set", "--pipeline", "arrivals", "--namespace", "other", "--value", "5", "--yes")
    assert (none.code, "no such watermark of a cursor" in none.err) == (1, True)

    assert watermarks(sink.dsn, "reset", *mine).out == "1 tables would be read again: --yes does it\n"
    assert watermarks(sink.dsn, "reset", *mine, "--path", "*", "--yes").out == "0 files will be read again\n"
    assert watermarks(sink.dsn, "reset", *mine, "--yes").out == "1 tables will be read again\n"
    assert mark() == [["", "4"]]


def test_what_is_no_sinks_database(database: Database) -> None:
    database.query("DROP SCHEMA IF EXISTS tidemill CASCADE")
    told = watermarks(database.dsn, "list")
    assert (told.code, "this database has no watermarks" in told.err) == (1, True)


def test_what_cant_be_reached() -> None:
    told = watermarks("postgresql://me:secret@127.0.0.1:1/none", "reset", "--pipeline", "x", "--yes")
    assert (told.code, "the database can't be reached" in told.err) == (1, True)
    assert "secret" not in told.err
