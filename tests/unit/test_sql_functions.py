"""Which functions a query may call, pinned: a newer DuckDB that brings others shows here, to be looked at.

`TIDEMILL_GOLDEN=write` writes the list anew.
"""

from __future__ import annotations

import os
from pathlib import Path

from tidemill_check.duckdb_parser import parser
from tidemill_check.sql_functions import ORDERLESS_AGGREGATES, is_aggregate, refusal

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "sql_functions.txt"


def verdicts() -> str:
    """A line for each function that can be called in a query, with how."""
    lines = []
    for name in sorted(parser().functions):
        if is_aggregate(name):
            lines += [f"{name} (aggregate, over broadcast inputs)"] if name in ORDERLESS_AGGREGATES else []
        elif refusal(name, 2) is None:
            lines.append(name if refusal(name, 1) is None else f"{name} (of two arguments)")
    return "\n".join(lines) + "\n"


def test_the_functions_that_can_be_called_are_these() -> None:
    found = verdicts()
    if os.environ.get("TIDEMILL_GOLDEN") == "write":
        GOLDEN.write_text(found, encoding="utf-8")
    assert found == GOLDEN.read_text(encoding="utf-8")


def test_what_reads_a_clock_lots_or_the_engine_is_not_among_them() -> None:
    names = {line.split()[0] for line in verdicts().splitlines()}
    for word in (
        "random",
        "uuidv",
        "gen_random",
        "now",
        "today",
        "current_",
        "sleep",
        "getenv",
        "getvariable",
        "nextval",
        "setseed",
    ):
        assert not [name for name in names if name.startswith(word) and name not in ("current_role", "current_user")]
    assert {"lower", "strptime", "list_transform", "md5", "age", "max"} <= names


def test_every_order_of_rows_gives_an_orderless_aggregate_the_same_answer() -> None:
    assert all(is_aggregate(name) for name in ORDERLESS_AGGREGATES)
    assert not ORDERLESS_AGGREGATES & {"first", "last", "any_value", "list", "string_agg", "arg_max", "mode"}
