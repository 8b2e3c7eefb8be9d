"""What is kept of rejected rows under each policy; and that nothing is, where it can't be told what it is."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tidemill_api.v1alpha1.datapipeline import CSV, Format, JSONLines, Parquet
from tidemill_api.v1alpha1.dead_letter import DeadLetter
from tidemill_worker.engine import letters as dead
from tidemill_worker.engine.keeping import REDACTED, Keeping, layout_of
from tidemill_worker.engine.model import Layout, PlannedColumn
from tidemill_worker.engine.text_layout import TextLayout

LAYOUT = TextLayout(("id", "mail", None, "note"), ",", '"')


def kept(policy: dict[str, Any], *rows: tuple[str | None, dict[str, Any] | None]) -> list[dict[str, Any]]:
    """Rows as (text, columns) under a policy; `id` and `mail` are key columns."""
    keeping = Keeping(DeadLetter.model_validate(policy), frozenset({"id", "mail"}), {("raw", "a.csv"): LAYOUT})
    letter = dict.fromkeys(("chunk", "position", "part", "byte_offset", "line"), 0)
    names = {"step": "valid", "source": "raw", "file": "a.csv", "reason": "BadValue", "rules": []}
    letters = [
        {
            **letter,
            **names,
            "error": "id: 'secret' is not of type int64",
            "cause": "id is not of type int64",
            "row_text": text,
            "row_columns": None if columns is None else json.dumps(columns),
        }
        for text, columns in rows
    ]
    return list(keeping.kept(pa.Table.from_pylist(letters, schema=dead.SCHEMA)).to_pylist())


def test_full_keeps_the_row_as_it_is() -> None:
    (letter,) = kept({}, ('1,"a,b@x",y,z', {"id": 1}))
    assert letter["row_text"] == '1,"a,b@x",y,z'
    assert json.loads(letter["row_columns"]) == {"id": 1}
    assert letter["error"] == "id: 'secret' is not of type int64"
    assert (letter["stored"], letter["redacted"], letter["row_keys"]) == ("Full", [], None)
    assert letter["layout"] == LAYOUT.id


TEXTS = (
    ('1,"a,b@x",y,z', f"1,{REDACTED},{REDACTED},z"),
    ('1,m,y,"say ""hi"""', f'1,{REDACTED},{REDACTED},"say ""hi"""'),
    ('1,m,y,"two\nlines"', f'1,{REDACTED},{REDACTED},"two\nlines"'),
    ("1,m,y", None),
    ("1,m,y,z,more", None),
    ('1,"m,y,z', None),
    ("1,m,y,z\n2,m,y,z", None),
    ("", None),
    (None, None),
)


@pytest.mark.parametrize(("text", "shown"), TEXTS)
def test_redacted_columns_and_unread_fields_are_never_kept(text: str | None, shown: str | None) -> None:
    (letter,) = kept({"redactColumns": ["mail"]}, (text, {"id": 1, "mail": "m"}))
    assert letter["row_text"] == shown
    assert json.loads(letter["row_columns"]) == {"id": 1, "mail": REDACTED}
    assert letter["error"] == letter["cause"] == "id is not of type int64"
    assert letter["redacted"] == ["mail"]


KEYS: tuple[tuple[str, list[str], str, dict[str, Any] | None, dict[str, Any] | None], ...] = (
    ("KeysOnly", [], "1,m,y,z", None, {"id": "1", "mail": "m"}),
    ("KeysOnly", [], "1,m,y,z", {"id": 1, "other": 2}, {"id": 1}),
    ("KeysOnly", ["mail"], "1,m,y,z", None, {"id": "1", "mail": REDACTED}),
    ("KeysOnly", [], "1,m", None, None),
    ("None", [], "1,m,y,z", {"id": 1}, None),
)


@pytest.mark.parametrize(("store", "redact", "text", "columns", "keys"), KEYS)
def test_keys_only_and_nothing(
    store: str, redact: list[str], text: str, columns: dict[str, Any] | None, keys: dict[str, Any] | None
) -> None:
    (letter,) = kept({"store": store, "redactColumns": redact}, (text, columns))
    assert (letter["row_text"], letter["row_columns"]) == (None, None)
    assert (None if letter["row_keys"] is None else json.loads(letter["row_keys"])) == keys
    assert "secret" not in letter["error"]
    assert letter["stored"] == store


def test_a_file_that_nobody_knows_is_redacted_whole() -> None:
    keeping = Keeping(DeadLetter(redact_columns=("mail",)), frozenset(), {})
    row = dict.fromkeys(("chunk", "position", "part", "byte_offset", "line"), 0)
    names = {"step": "s", "source": "s", "file": "f", "reason": "BadRow", "rules": [], "error": "e", "cause": "e"}
    table = pa.Table.from_pylist([{**row, **names, "row_text": "1,2", "row_columns": None}], schema=dead.SCHEMA)
    (letter,) = keeping.kept(table).to_pylist()
    assert (letter["row_text"], letter["layout"]) == (None, None)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=4, max_size=4))
@example(["", "", "", ""])
@example(["a\r\nb", '"', ",", "\r"])
def test_what_is_joined_is_cut_into_the_same_again(fields: list[str]) -> None:
    assert LAYOUT.cut(LAYOUT.joined(fields)) == fields


def test_fields_are_named_by_the_columns_that_read_them() -> None:
    columns = (PlannedColumn("b", "string", False, 2), PlannedColumn("a", "string", False, 0))
    again = (PlannedColumn("also_b", "int64", False, 2),)
    found = layout_of(Layout(4, columns + again), Format(csv=CSV(delimiter=";")), {})
    assert (found.columns, found.delimiter) == (("a", None, "b", None), ";")
    assert found.types == ("string", None, "string", None)


JSON_LAYOUT = TextLayout(("id", "mail"), "", '["Id Number", "mail"]', ("int64", "string"))


@given(
    st.lists(
        st.none() | st.booleans() | st.text(st.characters(exclude_categories=["Cs"])) | st.lists(st.text(max_size=3)),
        min_size=2,
        max_size=2,
    )
)
def test_objects_are_cut_and_joined_alike(fields: list[Any]) -> None:
    assert JSON_LAYOUT.cut(JSON_LAYOUT.joined(fields)) == fields


def test_objects_go_by_their_keys_and_lose_no_digit() -> None:
    text = '{"mail": [1.50], "Id Number": 12345678901234567890.10, "other": 1}'
    fields = JSON_LAYOUT.cut(text)
    assert fields is not None
    assert JSON_LAYOUT.joined(fields) == '{"Id Number": 12345678901234567890.10, "mail": [1.50]}'
    assert [JSON_LAYOUT.cut(bad) for bad in ("", "{", "[1]", "1", "[" * 100_000)] == [None] * 5


@pytest.mark.parametrize(
    ("form", "keys"),
    [(Format(json_lines=JSONLines()), '["Id Number", "mail"]'), (Format(parquet=Parquet()), "")],
)
def test_redacted_columns_of_objects_are_found_by_their_keys(form: Format, keys: str) -> None:
    columns = (PlannedColumn("id", "int64", False, 0), PlannedColumn("mail", "string", False, 1))
    found = layout_of(Layout(2, columns), form, {"id": "Id Number"})
    assert (found.columns, found.quote, found.types) == (("id", "mail"), keys, ("int64", "string"))
    keeping = Keeping(DeadLetter(redact_columns=("id",)), frozenset({"mail"}), {("raw", "a"): found})
    row = dict.fromkeys(("chunk", "position", "part", "byte_offset", "line"), 0)
    names = {"step": "raw", "source": "raw", "file": "a", "reason": "BadValue", "rules": [], "error": "e", "cause": "c"}
    texts = [json.dumps({found.keys[0]: 7, "mail": "m", "other": "secret"}), "{7"]
    table = pa.Table.from_pylist(
        [{**row, **names, "row_text": text, "row_columns": None} for text in texts], schema=dead.SCHEMA
    )
    letters = keeping.kept(table).to_pylist()
    assert [letter["row_text"] for letter in letters] == [json.dumps({found.keys[0]: REDACTED, "mail": "m"}), None]
