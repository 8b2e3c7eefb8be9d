"""Watermarks of tables that are read by a cursor: the values that sinks have, and where a run begins by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tidemill_api.errors import WatermarksApart
from tidemill_api.v1alpha1.datapipeline import Sink, Source
from tidemill_check import cursors
from tidemill_check.cursors import FAMILY, Kind
from tidemill_worker.engine.incremental import Called, KnownRows, KnownState
from tidemill_worker.engine.model import CursorRange

if TYPE_CHECKING:
    import asyncpg

    from tidemill_worker.engine.postgres.fence import Connection


STATE: Final = "state"
"""The type of a watermark that is a function's state."""


@dataclass(frozen=True, slots=True)
class Range:
    """Values that one run has loaded, as numbers: those after the first (None: all) up to the second."""

    after: int | None
    until: int


@dataclass(frozen=True, slots=True)
class Mark:
    """What one sink has of a source with a cursor."""

    last_run: str = ""
    origin: str = ""
    """Table and column that it is of: `public.orders.placed_at`."""
    kind: Kind | None = None
    reached: int | None = None
    """It has all rows up to here, as a number; None: it has none."""
    again: Range | None = None
    """What an earlier execution of this run key has loaded."""
    state: str | None = None
    """Of a function that keeps its state: what it has left, as JSON."""
    before: str | None = None
    """What it had when an earlier execution of this run key began."""


def mark_of(row: asyncpg.Record) -> Mark:
    """A row of `watermarks`, joined to the run key's row of `loaded_ranges`."""
    kind, again = row["cursor_type"], None
    if kind == STATE:
        before = row["after"] if row["range_type"] == STATE else None
        return Mark(row["run_key"], row["cursor_of"], state=row["cursor"], before=before)
    if row["range_type"] == STATE:
        return Mark(row["run_key"])
    if row["until"] is not None and row["range_of"] == row["cursor_of"]:
        after, until = row["after"], cursors.parsed(row["until"], row["range_type"])
        again = Range(None if after is None else cursors.parsed(after, row["range_type"]), until)
    reached = None if row["cursor"] is None else cursors.parsed(row["cursor"], kind)
    return Mark(row["run_key"], row["cursor_of"] or "", kind, reached, again)


def origin_of(source: Source) -> str:
    """What a source's watermark is of: another table or column has none."""
    assert source.postgres is not None
    column = source.cursor_column
    assert column is not None
    return f"{source.postgres.table}.{column.from_ or column.name}"


def level(source: Source, sinks: Sequence[Sink], marks: Mapping[str, Mark]) -> KnownRows:
    """Where all sinks are level. What a sink has and another hasn't is read again: only a Merge can take that.

    Raises WatermarksApart.
    """
    incremental, column = source.incremental, source.cursor_column
    assert incremental is not None
    assert column is not None
    kind = cursors.kind_of(column.type)
    assert kind is not None
    first = incremental.initial_value
    begin = None if first is None else cursors.before(cursors.parsed(first, kind), 1, kind)
    back = 0 if incremental.lag is None else cursors.lag(incremental.lag, kind)
    own = {sink.name: _own(source, sink, marks[sink.name], kind) for sink in sinks}
    begins: dict[str, int | None] = {}
    for name, mark in own.items():
        if mark.again is not None:
            begins[name] = mark.again.after
        else:
            begins[name] = begin if mark.reached is None else _back(mark.reached, back, begin, kind)
    after = None if None in begins.values() else min(value for value in begins.values() if value is not None)
    for sink in sinks:
        if sink.write_disposition == "Append" and begins[sink.name] != after:
            behind = sorted(name for name, value in begins.items() if value == after)
            raise WatermarksApart(
                f"source {source.name}: the sink {sink.name} has rows that {', '.join(behind)} hasn't, and an Append "
                f"would get them twice. If run {marks[sink.name].last_run} failed between them, process its key again; "
                "else set or reset the watermark of one of them"
            )
    ends = [mark.again.until for mark in own.values() if mark.again is not None]
    reached = [mark.reached for mark in own.values() if mark.reached is not None]
    return KnownRows(after, max(reached, default=None), max(ends, default=None))


def _back(reached: int, back: int, begin: int | None, kind: Kind) -> int | None:
    """The lag before what is loaded, but not before what the first run has begun with."""
    found = cursors.before(reached, back, kind)
    if begin is None:
        return found
    # Whoever has set the watermark below `initialValue`, or raised that since, has what is new read all the same.
    floor = min(begin, reached)
    return floor if found is None else max(found, floor)


def level_state(source: Source, sinks: Sequence[Sink], marks: Mapping[str, Mark]) -> KnownState:
    """The state that all sinks of a function have; there is no order of states. Raises WatermarksApart."""
    states = {sink.name: marks[sink.name].before or marks[sink.name].state or "{}" for sink in sinks}
    if len(set(states.values())) > 1:
        first, *others = states
        other = next(name for name in others if states[name] != states[first])
        raise WatermarksApart(
            f"source {source.name}: the sinks {first} and {other} have rows up to different states. If run "
            f"{marks[other].last_run} or {marks[first].last_run} failed between them, process its key again; else "
            "reset the watermarks of both"
        )
    return KnownState(next(iter(states.values()), "{}"))


async def note_state(connection: Connection, place: tuple[str, str, str], run_key: str, called: Called) -> None:
    """Note what a function has left with a chunk's rows, as the sink's ledger has it.

    A key that runs again, however often, after others have run leaves the state as these have left it: it moves a state
    only if that is still what this key had left itself. The watermark's run key doesn't tell, a rerun has it too.
    """
    after = await connection.fetchval(
        "SELECT resume->>'state' FROM tidemill.ledger WHERE uid = $1 AND run_key = $2 AND sink = $3 AND chunk = $4 "
        "AND resume->>'state' IS NOT NULL ORDER BY execution DESC, part DESC LIMIT 1",
        *(place[0], run_key, place[2], called.chunk),
    )
    if after is None:
        return
    again = await connection.fetchval(
        "SELECT until FROM tidemill.loaded_ranges WHERE uid = $1 AND source = $2 AND sink = $3 AND run_key = $4 "
        "AND cursor_type = $5",
        *(*place, run_key, STATE),
    )
    now = await connection.fetchval(
        "SELECT cursor FROM tidemill.watermarks WHERE uid = $1 AND source = $2 AND sink = $3 AND cursor_type = $4",
        *(*place, STATE),
    )
    if again is None or now == again:
        await connection.execute(
            "UPDATE tidemill.watermarks SET cursor_of = $4, cursor_type = $5, cursor = $6 "
            "WHERE uid = $1 AND source = $2 AND sink = $3",
            *(*place, called.entrypoint, STATE, after),
        )
    await connection.execute(
        "INSERT INTO tidemill.loaded_ranges (uid, source, sink, run_key, cursor_of, cursor_type, after, until) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (uid, source, sink, run_key) DO UPDATE SET "
        "cursor_of = excluded.cursor_of, cursor_type = excluded.cursor_type, after = excluded.after, "
        "until = excluded.until, loaded_at = now()",
        *(*place, run_key, called.entrypoint, STATE, called.before, after),
    )
    await _forget(connection, place)


def _own(source: Source, sink: Sink, mark: Mark, kind: Kind) -> Mark:
    """The mark if it is of this table and column, else none. Raises WatermarksApart for an Append that has another."""
    if not mark.origin or (mark.origin == origin_of(source) and FAMILY[mark.kind or kind] == FAMILY[kind]):
        return mark
    if sink.write_disposition == "Append":
        raise WatermarksApart(
            f"source {source.name}: the sink {sink.name} has rows by the cursor {mark.origin} ({mark.kind}), and by "
            f"{origin_of(source)} ({kind}) it can't be told which of them are new: set the watermark, or "
            "reset it and remove the rows"
        )
    return Mark(mark.last_run)


KEPT = "90 days"
"""How long it is known which values, or state, a run has loaded; later its key reads what is new."""


async def note(
    connection: Connection, place: tuple[str, str, str], run_key: str, origin: str, keys: CursorRange
) -> None:
    """Note what a run has loaded. The watermark (uid, source, sink) is this transaction's; it never goes back."""
    row = await connection.fetchrow(
        "SELECT cursor_of, cursor_type, cursor FROM tidemill.watermarks WHERE uid = $1 AND source = $2 AND sink = $3",
        *place,
    )
    assert row is not None
    reached = cursors.parsed(keys.until, keys.kind)
    if row["cursor"] is not None and row["cursor_of"] == origin and FAMILY[row["cursor_type"]] == FAMILY[keys.kind]:
        reached = max(reached, cursors.parsed(row["cursor"], row["cursor_type"]))
    await connection.execute(
        "UPDATE tidemill.watermarks SET cursor_of = $4, cursor_type = $5, cursor = $6 "
        "WHERE uid = $1 AND source = $2 AND sink = $3",
        *(*place, origin, keys.kind, cursors.text(reached, keys.kind)),
    )
    await connection.execute(
        "INSERT INTO tidemill.loaded_ranges (uid, source, sink, run_key, cursor_of, cursor_type, after, until) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (uid, source, sink, run_key) DO UPDATE SET "
        "cursor_of = excluded.cursor_of, cursor_type = excluded.cursor_type, after = excluded.after, "
        "until = excluded.until, loaded_at = now()",
        *(*place, run_key, origin, keys.kind, keys.after, keys.until),
    )
    await _forget(connection, place)


async def _forget(connection: Connection, place: tuple[str, str, str]) -> None:
    """Forget what runs have loaded too long ago."""
    await connection.execute(
        "DELETE FROM tidemill.loaded_ranges WHERE uid = $1 AND source = $2 AND sink = $3 "
        f"AND loaded_at < now() - interval '{KEPT}'",
        *place,
    )
