"""`tidemill rejects` on a metastore that a real worker has filled: what people see, change, and leave in the audit."""

from __future__ import annotations

import csv
import io
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.commands import Said, tidemill
from tests.support.fixtures import Database, unique
from tests.support.letters import Rejecting
from tests.support.worker import Runs

BAD = ("x,1,Ann,ann@x", '1,13,"Bob, Jr",bob@x', "2,14,Cid,cid@x", "3,0,Dot")
GOOD = "4,3,Eve,eve@x"


@dataclass(frozen=True)
class Done(Said):
    """What a command came to."""

    @property
    def items(self) -> list[dict[str, object]]:
        """Of `-o json`."""
        found: list[dict[str, object]] = json.loads(self.out)["items"]
        return found


@dataclass
class People:
    """Somebody with a shell, the metastore's address, and a pipeline whose rows were rejected."""

    here: Rejecting
    dsn: str

    def rejects(self, *words: str, **environment: str) -> Done:
        """One command."""
        told = {"TIDEMILL_METASTORE_DSN": self.dsn, **environment}
        with ThreadPoolExecutor(1) as aside:  # commands run a loop of their own; a test may have one
            done = aside.submit(tidemill, "rejects", *words, environment=told).result()
        return Done(done.code, done.out, done.err)

    def mine(self, *words: str, **environment: str) -> Done:
        """A command on this test's pipeline."""
        return self.rejects(*words, "--pipeline", self.here.name, **environment)

    def audit(self) -> list[list[str]]:
        """Action, who and how many, of all entries; the tests have each a metastore of their own."""
        return self.here.query("SELECT action, person, letters FROM tidemill.dead_letter_audit ORDER BY id")

    def id_of(self, text: str) -> str:
        """The number of the letter with this row."""
        ((number,),) = self.here.query(
            f"SELECT id FROM tidemill.dead_letters WHERE pipeline = '{{name}}' AND row_text LIKE '{text}%'"
        )
        return number


@pytest.fixture
async def people(worker_runs: Runs) -> People:
    """After one run that rejected four rows of five."""
    here = Rejecting(worker_runs.pool, worker_runs, unique("p"))
    here.write(*BAD, GOOD)
    assert (await here.run(key="first")).rows_rejected == 4
    here.query("TRUNCATE tidemill.dead_letter_audit")
    return People(here, here.pool.database.dsn)


def test_list_shows_no_data_of_rows(people: People) -> None:
    listed = people.mine("list")

    assert listed.code == 0
    heading, *lines = listed.out.splitlines()
    assert heading.split() == ["ID", "PIPELINE", "RUN", "STEP", "TYPE", "CAUSE", "WHERE", "STATUS", "SINCE"]
    assert len(lines) == 4
    assert "id is not of type int64" in listed.out
    for data in ("Ann", "Bob", "cid@x", "'x'"):
        assert data not in listed.out + people.mine("list", "-o", "json").out + people.mine("list", "-o", "yaml").out
    assert people.audit() == []


FILTERS = (
    (("--step", "raw"), 2),
    (("--step", "valid", "--rule", "month-in-range"), 2),
    (("--rule", "nothing"), 0),
    (("--type", "badrow"), 1),
    (("--run", "first"), 4),
    (("--run", "second"), 0),
    (("--namespace", "travel"), 4),
    (("--namespace", "elsewhere"), 0),
    (("--since", "1h"), 4),
    (("--until", "1h"), 0),
    (("--since", "2020-01-01", "--until", "2100-01-01T00:00:00Z"), 4),
    (("--status", "discarded"), 0),
    (("--limit", "3"), 3),
)


def test_filters(people: People) -> None:
    for words, count in FILTERS:
        found = people.mine("list", "-o", "json", *words)
        assert (found.code, len(found.items)) == (0, count), words


def test_show(people: People) -> None:
    number = people.id_of("1,13")

    shown = people.rejects("show", number, "--as", "ann@example.com")

    assert shown.code == 0
    assert 'Row:         1,13,"Bob, Jr",bob@x' in shown.out
    assert "  name     Bob, Jr\n" in shown.out
    assert "  field 4  bob@x\n" in shown.out
    ((action, person, letters),) = people.audit()
    assert (action, letters) == ("Show", "1")
    assert person.startswith("ann@example.com (")
    (item,) = people.rejects("show", number, "-o", "json").items
    assert item["columns"] == {"id": "1", "month": "13", "name": "Bob, Jr", "field 4": "bob@x"}


def test_export(people: People, tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(people.mine("export").out)))
    assert sorted((int(row["line"]), row["row_text"]) for row in rows) == list(enumerate(BAD, 2))
    assert {row["rules"] for row in rows} == {"", "month-in-range"}
    file = tmp_path / "letters.jsonl"
    done = people.mine("export", "--format", "jsonl", "--file", str(file), "--step", "raw")
    assert (done.code, done.out, done.err) == (0, "", "2 letters exported.\n")
    assert [json.loads(line)["row_text"] for line in file.read_text().splitlines()] == [BAD[0], BAD[3]]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert people.mine("export", "--file", str(file)).code == 2
    assert [(action, letters) for action, _, letters in people.audit()] == [("Export", "4"), ("Export", "2")]
    assert people.here.query("SELECT coalesce(filter ->> 'step', '-') FROM tidemill.dead_letter_audit ORDER BY id") == [
        ["-"],
        ["raw"],
    ]


def test_discard(people: People) -> None:
    counted = people.mine("discard", "--step", "valid")
    assert (counted.code, counted.err) == (
        1,
        "tidemill rejects: that would discard 2 letters: add --yes if it shall be\n",
    )
    number = people.id_of("x,1")
    assert people.rejects("discard", number, "--note", "a test").err == "1 letters discarded.\n"
    assert people.mine("discard", "--step", "valid", "--yes").err == "2 letters discarded.\n"
    assert len(people.mine("list", "-o", "json").items) == 1
    assert len(people.mine("list", "-o", "json", "--status", "Discarded").items) == 3
    assert "Discarded (a test)" in people.rejects("show", number).out
    assert people.rejects("discard", number).err == "0 letters discarded.\n"


def test_summary(people: People) -> None:
    assert [
        (item["step"], item["type"], item["rule"], item["cause"], item["letters"], item["runs"])
        for item in people.mine("summary", "-o", "json").items
    ] == [
        ("valid", "RuleBroken", "month-in-range", "breaks month-in-range", 2, 1),
        ("raw", "BadRow", None, "the row has 3 fields, not 4", 1, 1),
        ("raw", "BadValue", None, "id is not of type int64", 1, 1),
    ]
    ((count, open_),) = [
        (item["letters"], item["open"]) for item in people.mine("summary", "-o", "json", "--by", "day").items
    ]
    assert (count, open_) == (4, 4)
    assert people.here.query(
        "SELECT step, reason, rule, cause, letters, open, runs FROM tidemill.dead_letter_summary "
        "WHERE pipeline = '{name}' AND step = 'valid'"
    ) == [["valid", "RuleBroken", "month-in-range", "breaks month-in-range", "2", "2", "1"]]


def test_edit_by_columns(people: People) -> None:
    number = people.id_of("1,13")
    original = '1,13,"Bob, Jr",bob@x'

    assert people.rejects("edit", number, "--set", "month=12", "--set", 'name=Bob "Jr"').code == 0

    (item,) = people.rejects("show", number, "-o", "json").items
    assert (item["row_text"], item["edited_text"]) == (original, '1,12,"Bob ""Jr""",bob@x')
    assert item["columns"] == {"id": "1", "month": "12", "name": 'Bob "Jr"', "field 4": "bob@x"}
    assert "@" in str(item["edited_by"])
    again = people.rejects("edit", number, "--set", "name=Bob")
    assert again.err == f"Letter {number} is mended.\n"
    assert people.rejects("edit", number, "--reset").code == 0
    (item,) = people.rejects("show", number, "-o", "json").items
    assert (item["row_text"], item["edited_text"], item["edited_by"]) == (original, None, None)
    assert [action for action, _, _ in people.audit()] == ["Edit", "Show", "Edit", "Edit", "Show"]


EDITORS = (
    ("sed -i s/13/12/", 0, '1,12,"Bob, Jr",bob@x', "is mended"),
    ("true", 0, None, "stays as it is"),
    ("false", 1, None, "the editor ended with 1: nothing is changed"),
    ("no-such-editor", 1, None, "can't be started"),
    ("sed -i s/13/12,13/", 1, None, "that isn't one row of 4 fields set apart by ','"),
    ("sed -i d", 1, None, "an empty line is no row"),
    ("", 1, None, "there is no editor: set EDITOR, or use --set"),
)


def test_edit_in_an_editor(people: People) -> None:
    number = people.id_of("1,13")
    for editor, code, text, says in EDITORS:
        done = people.rejects("edit", number, EDITOR=editor, VISUAL="")
        assert (done.code, says in done.err) == (code, True), (editor, done.err)
        ((kept,),) = people.here.query(
            f"SELECT coalesce(edited_text, '-') FROM tidemill.dead_letters WHERE id = {number}"
        )
        assert kept == (text or "-"), editor
        people.here.query(f"UPDATE tidemill.dead_letters SET edited_text = NULL WHERE id = {number}")


async def test_what_has_no_row_can_not_be_edited(people: People) -> None:
    people.here.letters = {"store": "None"}
    await people.here.run(key="second")
    number = people.rejects("list", "--run", "second", "-p", people.here.name, "-o", "json").items[0]["id"]
    assert "has no row to mend" in people.rejects("edit", str(number), "--set", "id=1").err
    broken = people.id_of("3,0,Dot")
    assert "can't be cut into columns" in people.rejects("edit", broken, "--set", "id=1").err
    assert (
        "has no column mnth; it has id, month, name"
        in people.rejects("edit", people.id_of("1,13"), "--set", "mnth=1").err
    )
    people.rejects("discard", broken)
    assert "is Discarded: only new ones can be mended" in people.rejects("edit", broken, "--set", "id=1").err


ERASED: tuple[tuple[str, list[str]], ...] = (
    ("name=Bob, Jr", ["1,13"]),
    ("mail=cid@x", ["2,14"]),
    ("id=3", ["3,0,Dot"]),
    ("name=Dot", ["3,0,Dot"]),
    ("id=13", []),
    ("name=Eve", []),
)


def test_erase_by_key(people: People) -> None:
    for key, rows in ERASED:
        counted = people.mine("erase", "--key", key)
        assert (counted.code, f"would erase {len(rows)} letters" in counted.err) == (1, True), (key, counted.err)
    numbers = [people.id_of(text) for text in ("1,13", "x,1")]
    people.rejects("edit", numbers[1], "--set", "name=Bob, Jr")

    done = people.mine("erase", "--key", "name=Bob, Jr", "--yes")

    assert (done.code, done.err) == (0, "2 letters erased.\n")
    assert (
        people.here.query(
            "SELECT row_text, row_columns, row_keys, edited_text, error = cause, status, status_note, file IS NOT NULL "
            f"FROM tidemill.dead_letters WHERE id IN ({', '.join(numbers)})"
        )
        == [["", "", "", "", "t", "Erased", "by its name", "t"]] * 2
    )
    audit = people.here.query(
        "SELECT action, letters, filter::text, note FROM tidemill.dead_letter_audit ORDER BY id DESC"
    )
    assert (audit[0][0], audit[0][1], audit[0][3]) == ("Erase", "2", "by name")
    assert "Bob" not in str(audit)


async def test_a_row_that_a_query_changed_is_erased_too(people: People) -> None:
    spec = people.here.spec()
    spec["steps"].insert(
        0, {"name": "named", "inputs": ["raw"], "sql": {"query": "SELECT id, month, upper(name) AS who FROM raw"}}
    )
    spec["steps"][1]["inputs"] = ["named"]
    spec["sinks"][0]["postgres"]["table"] += "_named"
    await people.here.run(spec, key="third")

    found = people.mine("erase", "--key", "who=CID", "--run", "third")

    assert "would erase 1 letters" in found.err


WRONG = (
    (("list", "--type", "Bad"), 2, "--type Bad: it is one of BadValue, BadRow"),
    (("list", "--status", "Old"), 2, "--status Old: it is one of New"),
    (("list", "--since", "yesterday"), 2, "--since yesterday: write a time"),
    (("summary", "--by", "colour"), 2, "--by colour: it takes any of namespace"),
    (("discard",), 2, "say which letters"),
    (("discard", "--status", "New"), 2, "say which letters"),
    (("show", "999999999"), 1, "there is no letter 999999999"),
    (("edit", "1", "--set", "x"), 2, "--set x: write it as COLUMN=VALUE"),
    (("edit", "1", "--set", "x=1", "--reset"), 2, "exclude each other"),
    (("erase", "--key", "x"), 2, "--key x: write it as COLUMN=VALUE"),
    (("list", "--data-dir", "nowhere"), 2, "give --dsn"),
    (("list", "--dsn", "postgresql://nobody:pw123@127.0.0.1:1/x"), 1, "the metastore can't be reached"),
    (("list", "--dsn", "nonsense"), 1, "the metastore can't be reached"),
)


def test_wrong_words(people: People) -> None:
    for words, code, says in WRONG:
        done = people.rejects(*words)
        assert (done.code, says in done.err) == (code, True), (words, done.err)
        assert "pw123" not in done.err
        assert "Traceback" not in done.err


def test_a_database_that_is_no_metastore(people: People, database: Database) -> None:
    done = people.rejects("list", "--dsn", database.dsn)
    assert (done.code, "it is no metastore" in done.err) == (1, True)


def test_rights_are_the_databases(people: People) -> None:
    """A reader sees; without the right to be audited nobody sees rows; a reader changes nothing."""
    database, role = people.here.pool.database, unique("reader_")
    database.query(f"CREATE ROLE {role} LOGIN PASSWORD 'p'")
    database.query(f"GRANT USAGE ON SCHEMA tidemill TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA tidemill TO {role}")
    dsn = f"postgresql://{role}:p@127.0.0.1:{database.server.port}/{database.name}"
    number = people.id_of("1,13")
    try:
        assert people.mine("list", "--dsn", dsn).code == 0
        assert people.mine("summary", "--dsn", dsn).code == 0
        refused = people.rejects("show", number, "--dsn", dsn)
        assert (refused.code, refused.out) == (1, "")
        assert "permission denied for table dead_letter_audit" in refused.err

        database.query(f"GRANT INSERT ON tidemill.dead_letter_audit TO {role}")
        assert "bob@x" in people.rejects("show", number, "--dsn", dsn).out
        assert "permission denied for table dead_letters" in people.rejects("discard", number, "--dsn", dsn).err

        database.query(f"GRANT UPDATE ON tidemill.dead_letters TO {role}")
        assert people.rejects("discard", number, "--dsn", dsn).code == 0
        assert people.here.query("SELECT DISTINCT database_user FROM tidemill.dead_letter_audit") == [[role]]
    finally:
        database.query(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")
