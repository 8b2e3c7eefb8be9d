"""The place for what passes between stages: names, and that what is there first stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill_api.errors import ArtifactGone, ArtifactsUnavailable
from tidemill_api.v1alpha1.datapipeline import FileSource
from tidemill_worker.connections.kept_folder import FolderArtifacts
from tidemill_worker.engine import files
from tidemill_worker.engine.artifacts import Kept, RunFolder
from tidemill_worker.engine.limits import memory_for_a_step
from tidemill_worker.files.folder import Folder


@given(st.integers(0, 10**8 - 1), st.integers(0, 10**6 - 1), st.booleans())
def test_a_file_s_name_and_back(chunk: int, part: int, last: bool) -> None:
    kept = Kept(chunk, part, last)
    assert Kept.named(kept.name) == kept


@given(st.text(min_size=1).filter(lambda text: text not in {".", ".."}), st.text(min_size=1), st.integers(1, 9))
def test_a_run_s_folder_and_back(uid: str, key: str, execution: int) -> None:
    folder = RunFolder(uid, key, execution)
    assert folder.path.count("/") == 2
    assert RunFolder.named(folder.path) == folder


@pytest.mark.parametrize("name", ["", "a.parquet", "1-2.parquet", "00-00-last.csv", "x-1-last.parquet", ".writing"])
def test_other_files_are_none_of_ours(name: str) -> None:
    assert Kept.named(name) is None


@pytest.mark.parametrize("path", ["", "a/b", "a/b/c", "a/b/1/c", ".writing"])
def test_other_folders_are_none_of_ours(path: str) -> None:
    assert RunFolder.named(path) is None


def put(place: FolderArtifacts, name: str, content: bytes) -> None:
    with place.writing() as path:
        path.write_bytes(content)
        place.put(path, name)


def test_what_is_there_first_stays(tmp_path: Path) -> None:
    place = FolderArtifacts(tmp_path / "kept")
    put(place, "u/k/1/valid/a", b"first")
    put(place, "u/k/1/valid/a", b"second")
    put(place, "u/k/1/valid/b", b"other")
    assert place.names("u/k/1/valid") == ["a", "b"]
    with place.held("u/k/1/valid/a") as path:
        assert path.read_bytes() == b"first"
    assert list((tmp_path / "kept/.writing").iterdir()) == []


def test_on_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    test_what_is_there_first_stays(tmp_path)


def test_what_is_not_finished_is_not_there(tmp_path: Path) -> None:
    place = FolderArtifacts(tmp_path)
    with place.writing() as path:
        path.write_bytes(b"half")
        assert place.names("") == []
        assert place.folders() == []
        os.utime(path, (1, 1))
        place.drop_unfinished(0)
        assert path.exists()
        place.drop_unfinished(2)
        assert not path.exists()


def test_a_run_s_folder_goes_with_what_is_empty_above_it(tmp_path: Path) -> None:
    place = FolderArtifacts(tmp_path)
    put(place, "u/k/1/valid/a", b"")
    put(place, "u/k/2/valid/a", b"")
    assert sorted(path for path, _ in place.folders()) == ["u/k/1", "u/k/2"]
    place.drop("u/k/1")
    place.drop("u/k/1")
    assert [path for path, _ in place.folders()] == ["u/k/2"]
    place.drop("u/k/2")
    assert [path.name for path in tmp_path.iterdir()] == [".writing"]


def test_what_is_gone_is_an_error_that_no_retry_helps(tmp_path: Path) -> None:
    with pytest.raises(ArtifactGone, match="run the pipeline again"), FolderArtifacts(tmp_path).held("u/k/1/valid/a"):
        pass
    assert not ArtifactGone("").retryable


def test_a_place_that_cannot_be_written_is_an_outage(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file")
    with pytest.raises(ArtifactsUnavailable, match="can't be written: "), FolderArtifacts(tmp_path / "kept").writing():
        pass
    assert ArtifactsUnavailable("").retryable


def test_no_source_reads_what_passes_between_stages(tmp_path: Path) -> None:
    place = FolderArtifacts(tmp_path / ".tidemill")
    put(place, "u/k/1/valid/a.csv", b"x\n1\n")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/b.csv").write_text("x\n1\n")
    source = FileSource.model_validate({"path": "**/*.csv", "format": {"csv": {}}})
    assert [found.path for found in files.find(Folder(tmp_path), source)] == ["deep/b.csv"]


@pytest.mark.parametrize(
    ("limits", "megabytes"),
    [(["2147483648"], 819), (["max"], None), (["max", "1073741824"], 409), (["134217728"], 128), ([], None)],
)
def test_a_step_s_memory_is_a_part_of_the_pod_s(tmp_path: Path, limits: list[str], megabytes: int | None) -> None:
    files = []
    for place, text in enumerate(limits):
        files.append(tmp_path / str(place))
        files[-1].write_text(f"{text}\n")
    found = memory_for_a_step((*files, tmp_path / "none"))
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert found >> 20 == (megabytes if megabytes is not None else int(0.4 * machine) >> 20)
