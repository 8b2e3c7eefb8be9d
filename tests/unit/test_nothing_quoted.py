"""What is raised goes to logs, status and Events: it doesn't quote rows, also where a header is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from tests.support.engine import spec_of
from tidemill_api.errors import ColumnMissing, SourceUnreadable, StepFailed, TidemillError
from tidemill_worker.engine.planning import chunks_of
from tidemill_worker.engine.sandbox import Sandbox
from tidemill_worker.engine.steps import Query
from tidemill_worker.files.folder import Folder

CARD = "4929-1111-2222-3333"
ROW = f"{CARD},Ann Smith,ann@example.com\n"
NO_HEADER = "3 columns, and its first line doesn't look like a header"


def declared(*names: str) -> dict[str, Any]:
    return {"columns": [{"name": name, "type": "string"} for name in names]}


@pytest.mark.parametrize(
    ("files", "source", "error", "words"),
    [
        ({"a.csv": ROW}, declared("card"), ColumnMissing, f"has no column card; it has {NO_HEADER}"),
        ({"a.csv": ROW}, declared("card", "name"), ColumnMissing, f"no column card, name; it has {NO_HEADER}"),
        ({"a.csv": "id,mail\n" + ROW}, declared("id", "name"), ColumnMissing, "no column name; it has id, mail"),
        (
            {"a.csv": ROW, "b.csv": "1,2,3\n"},
            {},
            ColumnMissing,
            f"lacks 3 of the first file's columns; it has {NO_HEADER}",
        ),
        ({"a.csv": "id,n\n1,2\n", "b.csv": ROW}, {}, ColumnMissing, f"no column id, n; it has {NO_HEADER}"),
        ({"a.csv": f"{CARD},{CARD}\n1,2\n"}, {}, SourceUnreadable, "columns that can't be told apart"),
        ({"a.csv": "ann@x.org,Ann@x.org\n1,2\n"}, {}, SourceUnreadable, "columns that can't be told apart"),
        ({"a.csv": "id,ID\n1,2\n"}, {}, SourceUnreadable, "columns ID, id of a.csv differ only in case"),
        ({"a.csv.gz": CARD}, {"files": {"path": "*.gz", "format": {"csv": {}}}}, SourceUnreadable, "as its name says"),
    ],
)
def test_a_first_line_that_is_no_header(
    tmp_path: Path, files: dict[str, str], source: dict[str, Any], error: type[TidemillError], words: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)

    with pytest.raises(error) as caught:
        chunks_of(spec_of(source=source), {"raw": Folder(tmp_path)})

    assert words in str(caught.value)
    for value in (CARD, "Ann Smith", "ann@", "Ann@", CARD[:2]):
        assert value not in str(caught.value)


def test_a_query_that_fails_over_its_other_inputs() -> None:
    query = Query(
        "joined",
        ("raw", "cards"),
        "spec.steps[0]",
        "SELECT r.id FROM raw r JOIN (SELECT CAST(card AS INT) AS id FROM cards) c ON r.id = c.id",
    )
    raw = pa.schema([("id", pa.int32())])

    with pytest.raises(StepFailed, match=r"step joined: .*\(Conversion error\)") as caught:
        query.check(Sandbox({}), raw, {"cards": pa.table({"card": [CARD]})})

    assert CARD not in str(caught.value)
    assert isinstance(caught.value.__cause__, duckdb.Error)
