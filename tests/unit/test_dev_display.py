"""What a person and a program see of runs."""

from __future__ import annotations

import io
import json
import os
import pty
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from tidemill_api.contract import CheckResult, RunError, RunProgress, RunResult, SinkCount, StepCount
from tidemill_api.v1alpha1.workerpool import Concurrency, Metastore
from tidemill_cli.dev.display import Lines, LiveTable, display, said, share
from tidemill_cli.dev.layout import Embedded, External, Layout, Pool
from tidemill_cli.dev.summary import Addresses, as_json, print_runs, where_to_look, where_to_look_later
from tidemill_cli.dev.view import RunView

START = datetime(2026, 1, 1, tzinfo=UTC)
LOADING = RunProgress(
    phase="Loading", chunks_done=1, chunks_total=4, rows_read=20_000, rows_loaded=19_000, rows_rejected=7
)
DONE = RunResult(
    pipeline="travel/flights",
    run_key="dev-1",
    result="Succeeded",
    rows_read=336_776,
    rows_loaded=335_596,
    rows_rejected=1_180,
    sinks=(SinkCount(sink="flights", rows=335_596),),
    duration_seconds=2.25,
)
BROKEN = RunResult(
    pipeline="travel/flights",
    run_key="dev-1",
    result="Failed",
    error=RunError(type="SourceMissing", message="no file matches [a-z].csv\nin landing", step="raw"),
    duration_seconds=0.5,
)


def view(progress: RunProgress | None = None, result: RunResult | None = None) -> RunView:
    return RunView("travel/flights", "dev-1", START, progress or RunProgress(phase="Waiting"), result)


@pytest.mark.parametrize(
    ("seen", "text"),
    [
        (view(), "waiting"),
        (view(LOADING), "loading, chunk 1 of 4, 20,000 read, 19,000 loaded, 7 rejected"),
        (
            replace(view(LOADING), trouble="attempt 3: PostgresUnavailable: refused"),
            "loading, chunk 1 of 4, 20,000 read, 19,000 loaded, 7 rejected, attempt 3: PostgresUnavailable: refused",
        ),
        (view(result=DONE), "succeeded after 2.2 s, 336,776 read, 335,596 loaded, 1,180 rejected"),
        (
            view(result=BROKEN),
            "failed after 0.5 s, 0 read, 0 loaded, 0 rejected: SourceMissing: no file matches [a-z].csv\nin landing",
        ),
    ],
    ids=["waiting", "loading", "trouble", "succeeded", "failed"],
)
def test_a_run_in_a_line(seen: RunView, text: str) -> None:
    assert said(seen) == text


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        (RunProgress(), 0.0),
        (RunProgress(chunks_done=1, chunks_total=4), 0.25),
        (RunProgress(chunks_done=1, chunks_total=4, bytes_read=30, bytes_total=40), 0.75),
        (RunProgress(bytes_read=50, bytes_total=40), 1.0),
    ],
    ids=["unknown", "chunks", "bytes", "never more than all"],
)
def test_how_much_is_done(progress: RunProgress, expected: float) -> None:
    assert share(view(progress)) == expected


def test_lines_say_each_phase_once() -> None:
    written = io.StringIO()
    lines = Lines(Console(file=written, width=40))

    for _ in range(3):
        lines.run(view(LOADING))
    for attempt in (2, 3):
        lines.run(replace(view(LOADING), trouble=f"attempt {attempt}: refused"))
    lines.run(view(result=BROKEN))

    assert written.getvalue().count("refused") == 1
    assert "attempt 2: refused" in written.getvalue()
    assert written.getvalue().count("loading, chunk 1 of 4, 20,000 read, 19,000 loaded, 7 rejected\n") == 1
    assert "no file matches [a-z].csv" in written.getvalue(), "what looks like markup is text"


def test_the_live_table_keeps_the_newest_runs() -> None:
    written = io.StringIO()
    table = LiveTable(Console(file=written, width=120))
    for number in range(20):
        table.run(RunView(f"travel/p{number}", "dev-1", START, RunProgress(phase="Done"), BROKEN))
    table.run(view(LOADING))
    table.run(RunView("travel/late", "dev-1", START, LOADING, trouble="attempt 2: refused [x]"))

    Console(file=written, width=120).print(table)

    shown = written.getvalue()
    assert "20,000" in shown
    assert "attempt 2: refused [x]" in shown
    assert "travel/p19" in shown
    assert "travel/p0 " not in shown


def test_json_holds_what_is_promised_and_the_whole_result() -> None:
    line = json.loads(as_json(BROKEN))

    assert list(line)[:7] == [
        "pipeline",
        "result",
        "rowsRead",
        "rowsLoaded",
        "rowsRejected",
        "durationSeconds",
        "error",
    ]
    assert (line["namespace"], line["pipeline"]) == ("travel", "flights")
    assert line["error"]["type"] == "SourceMissing"
    assert json.loads(as_json(DONE))["error"] is None
    assert json.loads(as_json(DONE))["sinks"][0]["rows"] == 335_596


def test_the_summary_has_a_line_for_each_run_and_errors_in_full() -> None:
    written = io.StringIO()

    print_runs(Console(file=written, width=60), [DONE, BROKEN])

    lines = written.getvalue().splitlines()
    assert lines[0].split() == ["PIPELINE", "RESULT", "READ", "LOADED", "REJECTED", "TIME"]
    assert lines[1].split() == ["travel/flights", "Succeeded", "336,776", "335,596", "1,180", "2.2", "s"]
    assert "travel/flights: SourceMissing in raw: no file matches [a-z].csv" in lines


def test_what_contracts_came_to_is_in_the_summary() -> None:
    written = io.StringIO()
    steps = (StepCount(step="raw", rows_in=3, rows_out=3, nulled={"fare": 2, "tip": 1}),)
    altered = "sink out: public.out has the column x (bigint) now"

    print_runs(
        Console(file=written, width=60), [DONE.model_copy(update={"steps": steps, "schema_changes": (altered,)})]
    )

    assert written.getvalue().splitlines()[2:] == [
        f"travel/flights: {altered}",
        "travel/flights: source raw: 2 bad values are NULL in fare",
        "travel/flights: source raw: 1 bad value is NULL in tip",
    ]


def test_checks_that_warn_are_in_the_summary() -> None:
    written = io.StringIO()
    warned = CheckResult(check="volume", sink="out", metric="rowCount", severity="Warn", passed=False, message="few")
    failed = warned.model_copy(update={"check": "told by the error", "severity": "Error"})

    print_runs(Console(file=written, width=60), [DONE.model_copy(update={"failed_checks": (warned, failed)})])

    assert written.getvalue().splitlines()[2:] == ["travel/flights: check volume: few"]


def layout(keeps: Embedded | External) -> Layout:
    pool = Pool("travel", "etl", Concurrency(), (), Metastore(connection=keeps.connection), (keeps,))
    return Layout((pool,), ())


def test_where_to_look_while_it_runs() -> None:
    dsn = "postgresql://u:p@127.0.0.1:1/warehouse"
    addresses = Addresses("127.0.0.1:7233", "http://127.0.0.1:8233", "redis://r", {"warehouse": dsn}, Path("/bin/psql"))

    lines = where_to_look(layout(Embedded("warehouse", ("public",))), addresses)

    assert lines[0] == f"warehouse: /bin/psql {dsn}"
    assert lines[1].startswith(f'dead letters of travel.etl: /bin/psql {dsn} -c "SELECT ')
    assert lines[2:] == ["Temporal: http://127.0.0.1:8233", "Redis: redis://r"]


def test_where_to_look_shows_no_secret_of_a_database_elsewhere() -> None:
    addresses = Addresses("127.0.0.1:7233", None, "redis://r", {}, Path("/bin/psql"))

    lines = where_to_look(layout(External("warehouse", "postgresql://u:s3cret@elsewhere/w")), addresses)

    assert not any("s3cret" in line for line in lines)
    assert any("the connection warehouse" in line for line in lines)


@pytest.mark.parametrize(("kept", "said_"), [(True, "tidemill psql --data-dir"), (False, "--data-dir DIR keeps it")])
def test_where_to_look_afterwards(kept: bool, said_: str) -> None:
    lines = where_to_look_later(layout(Embedded("warehouse", ("public",))), Path("/state"), kept)

    assert any(said_ in line for line in lines)


def test_a_terminal_gets_the_live_table(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, terminals = pty.openpty()
    monkeypatch.setenv("TERM", "xterm-256color")
    with os.fdopen(terminals, "w", encoding="utf-8") as terminal, os.fdopen(ours, "rb", buffering=0) as screen:
        monkeypatch.setattr(sys, "stderr", terminal)
        with display() as shown:
            assert isinstance(shown, LiveTable)
            shown.run(view(LOADING))
            shown.note("starting [something]")
        terminal.flush()
        seen = screen.read(65536).decode()

    assert "20,000" in seen
    assert "starting [something]" in seen


def test_what_is_no_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)

    with display() as shown:
        shown.note("starting [something]")

    assert written.getvalue() == "starting [something]\n"
