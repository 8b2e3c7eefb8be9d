"""The docs' pictures and figures of scaling are what the simulator says."""

from __future__ import annotations

from tests.support.scaling import plots


def test_what_the_docs_show_is_what_comes_out() -> None:
    stale = [file.name for file, text in plots.files().items() if not file.exists() or file.read_text("utf-8") != text]
    assert not stale, "make scaling-plots"
    drawn = {file.name for file in plots.DOCS.joinpath("scaling").iterdir()}
    assert drawn == {file.name for file in plots.files() if file.suffix == ".svg"}
