"""`spec.deadLetter` on a real worker: what is kept, how much of it, and for how long."""

from __future__ import annotations

import pytest

from tests.support.fixtures import unique
from tests.support.letters import Rejecting
from tests.support.worker import Runs

BAD = ("x,1,Ann,ann@x", "1,13,Bob,bob@x", "2,0,Cid")
GOOD = "3,3,Dot,dot@x"


@pytest.fixture
def here(worker_runs: Runs) -> Rejecting:
    """A pipeline of this test's own."""
    return Rejecting(worker_runs.pool, worker_runs, unique("p"))


LETTERS = "FROM tidemill.dead_letters WHERE pipeline = '{name}'"

STORED: tuple[tuple[dict[str, object], list[list[str]]], ...] = (
    (
        {},
        [
            ["raw", "BadValue", "id is not of type int64", "id: 'x' is not of type int64", "x,1,Ann,ann@x", "", "Full"],
            ["valid", "RuleBroken", "breaks month-in-range", "breaks month-in-range", "1,13,Bob,bob@x", "", "Full"],
            ["raw", "BadRow", "the row has 3 fields, not 4", "the row has 3 fields, not 4", "2,0,Cid", "", "Full"],
        ],
    ),
    (
        {"redactColumns": ["name"]},
        [
            ["raw", "BadValue", *["id is not of type int64"] * 2, "x,1,[redacted],[redacted]", "", "Full"],
            ["valid", "RuleBroken", *["breaks month-in-range"] * 2, "1,13,[redacted],[redacted]", "", "Full"],
            ["raw", "BadRow", *["the row has 3 fields, not 4"] * 2, "", "", "Full"],
        ],
    ),
    (
        {"store": "KeysOnly"},
        [
            ["raw", "BadValue", *["id is not of type int64"] * 2, "", '{"id": "x"}', "KeysOnly"],
            ["valid", "RuleBroken", *["breaks month-in-range"] * 2, "", '{"id": "1"}', "KeysOnly"],
            ["raw", "BadRow", *["the row has 3 fields, not 4"] * 2, "", "", "KeysOnly"],
        ],
    ),
    (
        {"store": "None"},
        [
            ["raw", "BadValue", *["id is not of type int64"] * 2, "", "", "None"],
            ["valid", "RuleBroken", *["breaks month-in-range"] * 2, "", "", "None"],
            ["raw", "BadRow", *["the row has 3 fields, not 4"] * 2, "", "", "None"],
        ],
    ),
)


@pytest.mark.parametrize(("policy", "kept"), STORED)
async def test_what_is_kept_of_a_row(here: Rejecting, policy: dict[str, object], kept: list[list[str]]) -> None:
    here.write(*BAD, GOOD)
    here.letters = dict(policy)
    spec = here.spec()
    spec["sinks"][0] |= {"writeDisposition": "Merge", "primaryKey": ["id"]}

    result = await here.run(spec)

    assert (result.result, result.rows_rejected) == ("Succeeded", 3)
    assert here.query(f"SELECT step, reason, cause, error, row_text, row_keys, stored {LETTERS} ORDER BY line") == kept
    assert here.query(
        "SELECT DISTINCT l.columns, l.delimiter FROM tidemill.dead_letters "
        "JOIN tidemill.dead_letter_layouts l USING (layout) WHERE pipeline = '{name}'"
    ) == [["{id,month,name,NULL}", ","]]


async def test_rows_that_broadcast_sources_reject_have_their_own_layout(here: Rejecting) -> None:
    here.write(GOOD, GOOD)
    (here.pool.landing / f"{here.name}.other").write_text("code|id\na|1\nb|x\n")
    spec = here.spec()
    spec["sources"].append(
        {
            "name": "codes",
            "connection": "landing",
            "files": {"path": f"{here.name}.other", "format": {"csv": {"delimiter": "|"}}},
            "columns": [{"name": "code", "type": "string"}, {"name": "id", "type": "int64"}],
        }
    )
    query = "SELECT v.*, c.code FROM valid v LEFT JOIN codes c USING (id)"
    spec["steps"].append({"name": "coded", "inputs": ["valid", "codes"], "sql": {"query": query}})
    spec["sinks"][0]["input"] = "coded"

    result = await here.run(spec)

    assert (result.result, result.rows_rejected) == ("Succeeded", 1)
    assert here.query(
        "SELECT d.source, d.row_text, l.columns, l.delimiter FROM tidemill.dead_letters d "
        "JOIN tidemill.dead_letter_layouts l USING (layout) WHERE pipeline = '{name}'"
    ) == [["codes", "b|x", "{code,id}", "|"]]


async def test_a_run_that_rejects_more_than_there_is_room_for_fails_and_drops_nothing(here: Rejecting) -> None:
    here.write(*(f"{n},13,x,y" for n in range(4)), GOOD)
    here.letters = {"maxRows": 6}
    assert (await here.run()).result == "Succeeded"

    full = await here.run()

    assert full.error is not None
    assert (full.result, full.error.type, full.rows_loaded) == ("Failed", "DeadLetterFull", 0)
    assert "would have 8 dead letters, spec.deadLetter.maxRows allows 6" in full.error.message
    assert here.query(f"SELECT reason, count(*) {LETTERS} GROUP BY 1 ORDER BY 1") == [
        ["RuleBroken", "4"],
        ["RunFailed", "1"],
    ]
    assert here.query("SELECT count(*) FROM {table}") == [["1"]]

    here.query("UPDATE tidemill.dead_letters SET status = 'Discarded' WHERE pipeline = '{name}'")
    again = await here.run()

    assert (again.result, again.rows_rejected) == ("Succeeded", 4)
    assert here.query(f"SELECT status, count(*) {LETTERS} GROUP BY 1 ORDER BY 1") == [["Discarded", "2"], ["New", "4"]]
    assert here.query(
        "SELECT DISTINCT k.letters FROM tidemill.dead_letter_keeping k JOIN tidemill.runs r USING (uid) "
        "WHERE pipeline = '{name}'"
    ) == [["6"]]


async def test_letters_go_when_their_time_is_over(here: Rejecting) -> None:
    here.write("1,13,x,y", "2,13,x,y", GOOD)
    here.letters = {"retention": "40d"}
    await here.run(key="old")
    here.query("UPDATE tidemill.dead_letters SET last_seen = now() - interval '35 days' WHERE pipeline = '{name}'")

    await here.run(key="kept")
    assert here.query(f"SELECT run_key, count(*) {LETTERS} GROUP BY 1 ORDER BY 1") == [["kept", "2"], ["old", "2"]]

    here.letters = {"retention": "30d"}
    await here.run(key="newest")
    assert here.query(f"SELECT run_key, count(*) {LETTERS} GROUP BY 1 ORDER BY 1") == [["kept", "2"], ["newest", "2"]]
    assert here.query(
        "SELECT DISTINCT k.letters, k.retention FROM tidemill.dead_letter_keeping k JOIN tidemill.runs r USING (uid) "
        "WHERE pipeline = '{name}'"
    ) == [["4", "30 days"]]
