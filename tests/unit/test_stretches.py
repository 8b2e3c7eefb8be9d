"""Planning looks through a plain file: whole rows without gaps, with their lines, wherever quotes begin."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill_api.errors import SourceChanged
from tidemill_api.v1alpha1.datapipeline import FileSource
from tidemill_worker.engine.borders import scan
from tidemill_worker.engine.dialect import Dialect
from tidemill_worker.engine.model import Layout, Part
from tidemill_worker.engine.planning_csv import cuts_of
from tidemill_worker.engine.stretches import stretches
from tidemill_worker.files import FileRef
from tidemill_worker.files.folder import Folder

SOURCE = FileSource.model_validate({"path": "*.csv", "format": {"csv": {}}})
QUOTED = Dialect(b",", b'"', True, "utf-8", ("",))
LINEWISE = Dialect(b",", b'"', False, "utf-8", ("",))


def part_of(folder: Path, data: bytes, start: int = 0) -> Part:
    path = folder / "a.csv"
    path.write_bytes(data)
    stat = path.stat()
    return Part(FileRef("a.csv", stat.st_size, stat.st_mtime_ns), Layout(1, ()), start, stat.st_size, 1)


ROWS = st.lists(st.sampled_from([b"a,b", b"", b"x" * 30, b'"q,\n",2', b'"one ""two""",3', b"\xff,\0"]), max_size=60)


@given(rows=ROWS, end=st.sampled_from([b"\n", b"\r\n"]), size=st.integers(8, 90), bare=st.booleans())
@pytest.mark.parametrize("dialect", [QUOTED, LINEWISE], ids=["quoted", "linewise"])
def test_stretches_are_whole_rows_without_gaps(
    rows: list[bytes], end: bytes, size: int, bare: bool, dialect: Dialect
) -> None:
    head = b"head\n"
    data = head + b"".join(row + end for row in rows) + (b"last" if bare else b"")
    with tempfile.TemporaryDirectory() as folder:
        part = part_of(Path(folder), data, len(head))
        found = list(stretches(Folder(Path(folder)), part, SOURCE, dialect, size))
        place = len(head)
        ends = {len(head) + each for each in scan(data[len(head) :], dialect).ends}
        for stretch in found:
            assert stretch.offset == place
            assert stretch.lines == data.count(b"\n", stretch.offset, stretch.end)
            assert stretch.end in ends
            assert stretch.whole is not None
            assert stretch.whole() == data[stretch.offset : stretch.end]
            place = stretch.end
        assert place == len(data)
        for start, line in cuts_of(found, dialect, part, 40, 3):
            assert start in ends | {len(head)}
            assert line == 1 + data.count(b"\n", len(head), start)


def test_a_file_that_shrinks_or_changes_meanwhile_is_found_out(tmp_path: Path) -> None:
    part = part_of(tmp_path, b"a,b\n" * 100)
    found = stretches(Folder(tmp_path), part, SOURCE, QUOTED, 40)
    next(found)
    (tmp_path / "a.csv").write_bytes(b"a,b\n" * 13)
    with pytest.raises(SourceChanged, match=r"a\.csv has (become shorter|changed)"):
        list(found)
