"""What is copied into a layer, and what is taken out of installed packages."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tools.images.inside.layer import Layer, LayerError, needed
from tools.images.inside.parts import wanted
from tools.images.inside.recipes import RECIPES
from tools.images.inside.taken import take_out


def test_a_link_brings_what_it_leads_to_and_folders_are_as_they_really_are(tmp_path: Path) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / "usr/lib/libx.so.1.2").write_text("x")
    (tmp_path / "usr/lib/libx.so.1").symlink_to("libx.so.1.2")
    layer = Layer(tmp_path / "layer")

    layer.add(tmp_path / "lib" / "libx.so.1")

    inside = tmp_path / "layer" / tmp_path.relative_to("/")
    assert (inside / "usr/lib/libx.so.1").readlink() == Path("libx.so.1.2")
    assert (inside / "usr/lib/libx.so.1.2").read_text() == "x"
    assert not (inside / "lib").exists()


def test_what_lies_below_is_not_brought_again_and_patterns_are_left_out(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "tests").mkdir(parents=True)
    for name in ("a", "b", "c.pyx", "tests/d"):
        (source / name).write_text(name)
    below = Layer(tmp_path / "below")
    below.add(source / "a")
    layer = Layer(tmp_path / "layer", tmp_path / "below")

    layer.add_tree(source, ("*.pyx", "tests"))
    layer.write("/etc/x", "x\n", mode=0o755)
    layer.finish(1_000_000_000)

    found = {path.relative_to(layer.root) for path in layer.root.rglob("*") if path.is_file()}
    assert found == {source.relative_to("/") / "b", Path("etc/x")}
    assert {path.stat().st_mtime for path in layer.root.rglob("*")} == {1_000_000_000}
    assert os.access(layer.root / "etc/x", os.X_OK)


def test_a_program_needs_its_libraries_and_the_loader() -> None:
    names = [path.name for path in needed(Path(sys.executable).resolve())]

    assert any(name.startswith("libc.so") for name in names)
    assert any(name.startswith("ld-linux") for name in names)


def test_a_library_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ldd = tmp_path / "ldd"
    ldd.write_text("#!/bin/sh\necho '\tlibnothing.so.1 => not found'\n")
    ldd.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    with pytest.raises(LayerError, match=r"program needs libnothing\.so\.1, which isn't there"):
        list(needed(tmp_path / "program"))


def test_records_tell_what_is_left(tmp_path: Path) -> None:
    (tmp_path / "p/tests").mkdir(parents=True)
    (tmp_path / "p-1.dist-info").mkdir()
    for name in ("p/__init__.py", "p/fast.pyx", "p/tests/test_p.py"):
        (tmp_path / name).write_text("")
    record = tmp_path / "p-1.dist-info/RECORD"
    record.write_text("p/__init__.py,,\np/fast.pyx,,\np/tests/test_p.py,,\np-1.dist-info/RECORD,,\n")

    take_out(tmp_path, ("**/tests", "**/*.pyx"))

    assert record.read_text() == "p/__init__.py,,\np-1.dist-info/RECORD,,\n"
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["__init__.py"]


@pytest.mark.parametrize(
    ("image", "name", "belongs"),
    [
        ("worker", "tidemill_worker/app.py", True),
        ("worker", "tidemill_operator/program.py", False),
        ("worker", "tidemill_workers/app.py", False),
        ("worker", "tidemill-0.1.0.dist-info/METADATA", True),
        ("worker", "tidemill-0.1.0.dist-info/entry_points.txt", False),
        ("operator", "tidemill_cli/main.py", False),
        ("dev-services", "tidemill_cli/dev/components/redis.py", True),
        ("dev-services", "tidemill_cli/dev/session.py", False),
    ],
)
def test_an_image_holds_the_parts_that_its_recipe_names(image: str, name: str, belongs: bool) -> None:
    assert wanted(name, RECIPES[image].packages) is belongs
