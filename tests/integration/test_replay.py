"""Rejected rows run again on a real worker: after a fix of the row or of the spec, once only, whatever happens."""

from __future__ import annotations

import json
import random
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from tests.support.fixtures import unique
from tests.support.letters import COLUMNS, Rejecting
from tests.support.worker import Runs
from tidemill_api.contract import RunResult

GOOD = ("1,1,Ann,a@x", "2,2,Bob,b@x")
BAD_RULE = ('3,13,"Cid, Jr",c@x', "4,14,Dot,d@x")
BAD_VALUE = "five,5,Eve,e@x"
BAD_ROW = '6,6,"Fay,f@x'


@pytest.fixture
def here(worker_runs: Runs) -> Replaying:
    """A pipeline of this test's own."""
    return Replaying(worker_runs.pool, worker_runs, unique("p"))


class Replaying(Rejecting):
    """A pipeline whose letters are replayed."""

    async def replay(self, spec: dict[str, Any] | None = None, key: str | None = None, **asked: Any) -> RunResult:
        """A replay of the letters that are asked for."""
        return await self.run(spec or self.spec(), key=key, replay={"deadLetters": asked})

    def wider(self, most: int = 20) -> dict[str, Any]:
        """The spec after its rule was mended."""
        spec = self.spec()
        spec["steps"][0]["validate"]["rules"][0]["expression"] = f"month BETWEEN 1 AND {most}"
        return spec

    def rows(self, table: str = "{table}") -> list[list[str]]:
        """What the sink has."""
        return self.query(f"SELECT id, month, name FROM {table} ORDER BY id, month")

    def letters_now(self) -> list[list[str]]:
        """Text, status and attempts of each letter."""
        return self.query(
            "SELECT row_text, status, attempts, coalesce(replayed_by, '-') FROM tidemill.dead_letters "
            "WHERE pipeline = '{name}' AND reason <> 'RunFailed' ORDER BY line"
        )

    def id_of(self, text: str) -> int:
        """The number of the letter with this row."""
        found = self.query(
            f"SELECT id FROM tidemill.dead_letters WHERE pipeline = '{{name}}' AND row_text LIKE '{text}%'"
        )
        return int(found[0][0])

    def mend(self, text: str, mended: str) -> None:
        """As `tidemill rejects edit` does."""
        self.query(f"UPDATE tidemill.dead_letters SET edited_text = '{mended}' WHERE id = {self.id_of(text)}")


FOUR = [["1", "1", "Ann"], ["2", "2", "Bob"], ["3", "13", "Cid, Jr"], ["4", "14", "Dot"]]


@pytest.mark.parametrize("disposition", ["Append", "Merge"])
async def test_after_the_rule_is_mended_rows_are_loaded_once(here: Replaying, disposition: str) -> None:
    here.write(*GOOD, *BAD_RULE)
    sink = {"writeDisposition": disposition, **({"primaryKey": ["id"]} if disposition == "Merge" else {})}
    first, then = here.spec(), here.wider()
    first["sinks"][0] |= sink
    then["sinks"][0] |= sink
    assert (await here.run(first)).rows_rejected == 2

    result = await here.replay(then, key="again", step="valid", rule="month-in-range", since="1h")

    assert (result.result, result.error) == ("Succeeded", None)
    assert (result.rows_read, result.rows_loaded, result.rows_rejected) == (2, 2, 0)
    assert here.rows() == FOUR
    assert here.letters_now() == [[text, "Replayed", "1", "again"] for text in BAD_RULE]
    again = await here.replay(then)
    assert (again.result, again.rows_read) == ("Succeeded", 0)
    assert here.rows() == FOUR
    assert here.query("SELECT count(*) FROM tidemill.replay_rows") == [["0"]]
    assert here.query(
        "SELECT action, letters, filter ->> 'step' FROM tidemill.dead_letter_audit "
        "WHERE person = 'run travel/{name}/again'"
    ) == [["Replay", "2", "valid"]]


async def test_after_the_row_is_mended(here: Replaying) -> None:
    here.write(*GOOD, BAD_RULE[0], BAD_VALUE, BAD_ROW)
    await here.run()
    for text, mended in ((BAD_RULE[0][:4], "3,3,Cid,c"), (BAD_VALUE[:4], "5,5,Eve,e@x"), (BAD_ROW[:4], "6,6,Fay,f@x")):
        here.mend(text, mended)

    result = await here.replay()

    assert (result.result, result.rows_loaded) == ("Succeeded", 3)
    assert here.rows() == [*FOUR[:2], ["3", "3", "Cid"], ["5", "5", "Eve"], ["6", "6", "Fay"]]
    assert {letter[1] for letter in here.letters_now()} == {"Replayed"}


async def test_a_row_that_is_rejected_again_stays_the_same_letter(here: Replaying) -> None:
    here.write(*GOOD, *BAD_RULE, BAD_VALUE)
    await here.run()

    result = await here.replay(here.wider(13), key="some", step="valid")

    assert (result.result, result.rows_loaded, result.rows_rejected) == ("Succeeded", 1, 1)
    assert here.letters_now() == [
        [BAD_RULE[0], "Replayed", "1", "some"],
        [BAD_RULE[1], "New", "2", "some"],
        [BAD_VALUE, "New", "1", "-"],
    ]
    none = await here.replay(here.wider(13), key="none", step="valid")
    assert none.error is not None
    assert (none.result, none.error.type) == ("Failed", "ToleranceExceeded")
    assert here.letters_now()[1] == [BAD_RULE[1], "New", "3", "none"]
    all_of_it = await here.replay(here.wider(14), step="valid")
    assert all_of_it.result == "Succeeded"
    assert here.rows() == FOUR


async def test_only_sinks_behind_the_step_get_the_row(here: Replaying) -> None:
    """The others have had it: a sink before the rule, and one of another branch."""

    def both(spec: dict[str, Any]) -> dict[str, Any]:
        table = {"table": f"public.{here.name}_all"}
        spec["sinks"].append({**spec["sinks"][0], "name": "all", "input": "raw", "postgres": table})
        return spec

    here.write(*GOOD, *BAD_RULE, BAD_VALUE)
    await here.run(both(here.spec()))
    here.mend("five", "5,5,Eve,e")

    result = await here.replay(both(here.wider()))

    assert (result.result, result.chunks) == ("Succeeded", 2)
    assert here.rows() == [*FOUR, ["5", "5", "Eve"]]
    assert here.rows("{table}_all") == [*FOUR, ["5", "5", "Eve"]]


async def test_inputs_that_are_joined_and_inferred_columns(here: Replaying) -> None:
    here.write(*GOOD, *BAD_RULE)
    (here.pool.landing / f"{here.name}.names").write_text("id,full\n3,Cidney\n")

    def joined(spec: dict[str, Any]) -> dict[str, Any]:
        del spec["sources"][0]["columns"]
        files = {"path": f"{here.name}.names", "format": {"csv": {}}}
        spec["sources"].append({"name": "names", "connection": "landing", "files": files})
        columns = "v.id, v.month, coalesce(n.full, v.name) AS name, $run_time AS at"
        query = f"SELECT {columns} FROM valid v LEFT JOIN names n USING (id)"
        spec["steps"].append({"name": "named", "inputs": ["valid", "names"], "sql": {"query": query}})
        spec["sinks"][0]["input"] = "named"
        return spec

    await here.run(joined(here.spec()))
    (here.pool.landing / here.name / "a.csv").unlink()  # a replay doesn't read it

    result = await here.replay(joined(here.wider()))

    assert (result.result, result.error, result.rows_loaded) == ("Succeeded", None, 2)
    assert here.rows() == [*FOUR[:2], ["3", "13", "Cidney"], FOUR[3]]


OBJECTS: list[dict[str, Any]] = [
    {"Nr": 1, "month": 1, "name": "Ann", "unread": [1]},
    {"Nr": 3, "month": 13, "name": "", "unread": {"a": "b"}},
    {"Nr": 2**40 + 1, "month": 14, "name": None, "unread": None},
    {"Nr": 5, "month": 70_000_000_000, "name": "Eve", "unread": None},
]


@pytest.mark.parametrize("form", ["jsonLines", "json", "parquet"])
async def test_rows_of_objects_and_of_columns(here: Replaying, form: str) -> None:
    folder = here.pool.landing / here.name
    folder.mkdir()
    lines = [json.dumps(row) for row in OBJECTS]
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist([{**row, "unread": str(row["unread"])} for row in OBJECTS]), folder / "a")
    else:
        (folder / "a").write_text("\n".join(lines) if form == "jsonLines" else json.dumps(OBJECTS))

    def reading(spec: dict[str, Any]) -> dict[str, Any]:
        spec["sources"][0]["files"] = {"path": f"{here.name}/a", "format": {form: {}}}
        columns = {"name": "id", "from": "Nr", "type": "int64", "required": True}, *COLUMNS[1:]
        spec["sources"][0]["columns"] = list(columns)
        return spec

    first = await here.run(reading(here.spec()))
    assert (first.rows_loaded, first.rows_rejected) == (1, 3)
    kept = [json.loads(row[0]) for row in here.letters_now()]
    names = ("id", "month", "name") if form == "parquet" else ("Nr", "month", "name", "unread")
    read = {"id": "Nr"}
    assert kept == [{name: row[read.get(name, name)] for name in names} for row in OBJECTS[1:]]
    here.query(
        "UPDATE tidemill.dead_letters SET edited_text = replace(row_text, '70000000000', '15') "
        "WHERE pipeline = '{name}' AND reason = 'BadValue'"
    )

    result = await here.replay(reading(here.wider()))

    assert (result.result, result.error, result.rows_loaded) == ("Succeeded", None, 3)
    assert here.query("SELECT id, month, coalesce(name, '-') FROM {table} ORDER BY month") == [
        ["1", "1", "Ann"], ["3", "13", ""], [str(2**40 + 1), "14", "-"], ["5", "15", "Eve"],
    ]  # fmt: skip


async def test_rows_of_a_table(here: Replaying) -> None:
    here.query("CREATE TABLE {table}_in (id integer, month integer, name text)")
    here.query("INSERT INTO {table}_in VALUES (1, 1, 'Ann'), (3, 13, ''), (4, 14, NULL), (5, 15, 'a,\"b\"')")

    def reading(spec: dict[str, Any]) -> dict[str, Any]:
        postgres = {"table": f"public.{here.name}_in", "splitBy": "id"}
        spec["sources"] = [{"name": "raw", "connection": "warehouse", "postgres": postgres}]
        return spec

    first = await here.run(reading(here.spec()))
    assert (first.error, first.rows_loaded, first.rows_rejected) == (None, 1, 3)
    assert [row[0] for row in here.letters_now()] == ["3,13,", r"4,14,\N", '5,15,"a,""b"""']
    here.query("DROP TABLE {table}_in")

    result = await here.replay(reading(here.wider()))

    assert (result.result, result.error, result.rows_loaded) == ("Succeeded", None, 3)
    assert here.query("SELECT id, coalesce(name, 'none') FROM {table} ORDER BY id") == [
        ["1", "Ann"], ["3", ""], ["4", "none"], ["5", 'a,"b"'],
    ]  # fmt: skip


async def test_a_replay_that_failed_is_run_again_by_its_key(here: Replaying) -> None:
    here.write(*GOOD, *BAD_RULE)
    await here.run()
    here.query("ALTER TABLE {table} ADD CONSTRAINT few CHECK (month < 14)")
    failed = await here.replay(here.wider(), key="mine", step="valid")
    assert failed.error is not None
    assert (failed.result, failed.error.type) == ("Failed", "SinkRefused")
    assert here.rows() == FOUR[:2]
    assert {letter[1] for letter in here.letters_now()} == {"New"}
    here.query("ALTER TABLE {table} DROP CONSTRAINT few")

    result = await here.run(here.wider(), key="mine")  # as spec.runKey does, without a filter

    assert (result.result, result.error, result.execution, result.rows_read) == ("Succeeded", None, 2, 2)
    assert here.rows() == FOUR


async def test_a_row_that_one_sink_has_already_goes_to_the_others_only(here: Replaying) -> None:
    """As after a replay whose second sink failed for good: the first has its rows, the letters are new."""

    def two(spec: dict[str, Any]) -> dict[str, Any]:
        spec["sinks"].append({**spec["sinks"][0], "name": "more", "postgres": {"table": f"public.{here.name}_more"}})
        return spec

    here.write(*GOOD, *BAD_RULE)
    await here.run(two(here.spec()))
    here.query("ALTER TABLE {table}_more ADD CONSTRAINT few CHECK (month < 14)")
    failed = await here.replay(two(here.wider()), ids=[here.id_of("3,13"), here.id_of("4,14")])
    assert failed.result == "Failed"
    assert here.rows("{table}_more") == FOUR[:2]
    here.query("ALTER TABLE {table}_more DROP CONSTRAINT few")

    result = await here.replay(two(here.wider()))

    assert (result.result, result.error) == ("Succeeded", None)
    assert here.rows() == FOUR
    assert here.rows("{table}_more") == FOUR
    assert {letter[1] for letter in here.letters_now()} == {"Replayed"}


async def test_letters_that_could_not_be_marked_are_marked_later(here: Replaying) -> None:
    """The metastore was away after the sink had committed."""
    here.write(*GOOD, *BAD_RULE)
    await here.run()
    await here.replay(here.wider(), key="lost")
    here.query("UPDATE tidemill.dead_letters SET status = 'New', replayed_by = NULL WHERE pipeline = '{name}'")

    result = await here.replay(here.wider())

    assert (result.result, result.rows_read) == ("Succeeded", 0)
    assert here.rows() == FOUR
    assert here.letters_now() == [[text, "Replayed", "1", "lost"] for text in BAD_RULE]


def _replace(spec: dict[str, Any]) -> None:
    spec["sinks"][0]["writeDisposition"] = "Replace"


def _renamed(spec: dict[str, Any]) -> None:
    spec["steps"][0]["name"] = spec["sinks"][0]["input"] = "checked"


def _more_columns(spec: dict[str, Any]) -> None:
    spec["sources"][0]["columns"] = [*spec["sources"][0]["columns"], {"name": "mail", "type": "string"}]


def _queried(spec: dict[str, Any], query: str) -> dict[str, Any]:
    """With a query before the rule."""
    spec["steps"].insert(0, {"name": "first", "inputs": ["raw"], "sql": {"query": query}})
    spec["steps"][1]["inputs"] = ["first"]
    return spec


REFUSED: tuple[tuple[dict[str, Any], Any, str, dict[str, Any], str], ...] = (
    ({}, _replace, "3,13", {}, "the sink out is Replace"),
    ({}, _renamed, "3,13", {}, "the pipeline has no step valid any more"),
    ({}, _more_columns, "3,13", {}, "the source raw reads the column mail now"),
    ({}, None, "6,6", {}, "it isn't a row of 4 fields: mend it first"),
    ({"store": "None"}, None, "", {}, "its row wasn't kept"),
    ({"redactColumns": ["name"]}, None, "3,13", {}, "its column name is redacted: mend the row first"),
)


@pytest.mark.parametrize(("kept", "change", "text", "asked", "says"), REFUSED)
async def test_what_is_refused(
    here: Replaying, kept: dict[str, Any], change: Any, text: str, asked: dict[str, Any], says: str
) -> None:
    here.letters = kept
    here.write(*GOOD, BAD_RULE[0], BAD_ROW)
    await here.run()
    spec = here.wider()
    if change is not None:
        change(spec)
    if text:
        asked = {"ids": [here.id_of(text)]}

    result = await here.replay(spec, **asked)

    assert result.error is not None
    assert (result.result, result.error.type) == ("Failed", "ReplayRefused")
    assert says in result.error.message
    assert {letter[1] for letter in here.letters_now()} == {"New"}
    assert here.rows() == FOUR[:2]


async def test_letters_of_a_run_that_failed_wait_for_its_key(here: Replaying) -> None:
    here.write(*GOOD, *BAD_RULE)
    failed = await here.run(here.spec(execution={"errorTolerance": {"maxRows": 1}}), key="strict")
    assert failed.result == "Failed"

    assert (await here.replay(here.wider())).rows_read == 0
    refused = await here.replay(here.wider(), ids=[here.id_of("3,13")])

    assert refused.error is not None
    assert "its run strict has not succeeded: process that key again" in refused.error.message
    gone = await here.replay(here.wider(), ids=[2**40])
    assert gone.error is not None
    assert f"the pipeline has no new letter {2**40}" in gone.error.message


async def test_a_query_before_the_rule(here: Replaying) -> None:
    """One row of each row: fine. Perhaps several: refused, for the others are loaded."""
    here.write(*GOOD, *BAD_RULE)
    plain = "SELECT id, month, upper(name) AS name FROM raw"
    assert (await here.run(_queried(here.spec(), plain))).rows_rejected == 2
    several = await here.replay(_queried(here.wider(), "SELECT unnest([1, 2]) AS n, * FROM raw"))
    assert several.error is not None
    assert "a query or function before valid may have made several rows of it" in several.error.message
    fine = await here.replay(_queried(here.wider(), plain))
    assert (fine.result, fine.error) == ("Succeeded", None)
    assert here.rows() == [[number, month, name.upper()] for number, month, name in FOUR]


@pytest.mark.parametrize("disposition", ["Append", "Merge"])
@pytest.mark.parametrize("seed", range(3))
async def test_a_clean_load_leaves_the_same(here: Replaying, disposition: str, seed: int) -> None:
    """Any rows: a load by a wrong spec, then replays by better ones, come to what the last one alone comes to."""
    chance = random.Random(seed)
    names = ("plain", '"a, b"', '"say ""hi"""', '"two\nlines"', "", "ünï", "[redacted]")
    rows = []
    for n in range(chance.randint(1, 200)):
        number, more = n if chance.random() < 0.9 else "x", "" if chance.random() < 0.9 else ",more"
        rows.append(f"{number},{chance.randint(1, 30)},{chance.choice(names)},m{more}")
    here.write("0,1,always,m", *rows)

    def of(spec: dict[str, Any], table: str) -> dict[str, Any]:
        keys = {"primaryKey": ["id"]} if disposition == "Merge" else {}
        spec["sinks"][0] |= {"writeDisposition": disposition, "postgres": {"table": table}, **keys}
        return spec

    table = f"public.{here.name}"
    await here.run(of(here.spec(), table))
    for most in (15, 15, 25):
        await here.replay(of(here.wider(most), table), step="valid")
    clean = await here.run(of(here.wider(25), f"{table}_clean"))

    assert clean.result == "Succeeded"
    assert here.rows() == here.rows("{table}_clean")
    assert here.query(
        "SELECT count(*) FROM tidemill.dead_letters WHERE pipeline = '{name}' AND status = 'New' "
        "AND reason <> 'RunFailed'"
    ) == [[str(clean.rows_rejected * 2)]]
