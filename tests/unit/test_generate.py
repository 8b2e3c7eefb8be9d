"""`make generate` writes exactly what is generated, and `make verify` names whatever is out of step."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.generate import ROOT, Generated, differences, generators, write

MADE = Generated("out", {"a.yaml": "a: 1\n", "deep/b.yaml": "b: 2\n"})


def test_writing_puts_the_folder_in_step_and_again_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.yaml").write_text("old: 1\n")
    assert write(tmp_path, MADE) == ["out/a.yaml", "out/deep/b.yaml", "out/old.yaml (removed)"]
    assert (tmp_path / "out" / "deep" / "b.yaml").read_text() == "b: 2\n"
    assert differences(tmp_path, MADE) == []
    assert write(tmp_path, MADE) == []


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        pytest.param("a.yaml", "a: 3\n", "out/a.yaml differs:", id="edited by hand"),
        pytest.param("deep/b.yaml", None, "out/deep/b.yaml is missing", id="removed"),
        pytest.param("deep/c.yaml", "c: 1\n", "out/deep/c.yaml is not generated", id="added, though untracked"),
    ],
)
def test_what_is_out_of_step_is_named(tmp_path: Path, path: str, text: str | None, said: str) -> None:
    write(tmp_path, MADE)
    file = tmp_path / "out" / path
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    (found,) = differences(tmp_path, MADE)
    assert found.startswith(said)


def test_generators_own_different_folders_and_give_the_same_each_time() -> None:
    first, second = list(generators()), list(generators())
    assert first == second
    folders = [generated.folder for generated in first]
    assert sorted(set(folders)) == sorted(folders)


def test_the_repository_is_in_step() -> None:
    assert [line for generated in generators() for line in differences(ROOT, generated)] == []
