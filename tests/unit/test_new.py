"""`tidemill new`: each template is a pipeline that lints, tests and previews as it is made."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.commands import tidemill
from tidemill_cli.editor.schemas import FOLDER, schemas
from tidemill_cli.new.making import templates


@pytest.mark.parametrize("template", sorted(templates()))
def test_what_is_made_works_at_once(template: str, tmp_path: Path) -> None:
    made = tmp_path / "Daily Orders"
    said = tidemill("new", template, made, "--namespace", "shop")
    assert said.code == 0, said
    assert f"tidemill test {made}" in said.out
    assert not re.search("template[-_]", "".join(path.read_text() for path in made.glob("*.yaml")))
    lint = tidemill("lint", made)
    assert lint.code == 0
    assert ": warning: " not in lint.out
    assert "metadata: {name: daily-orders, namespace: shop}" in (made / "pipeline.yaml").read_text(encoding="utf-8")
    tested = tidemill("test", made)
    assert (tested.code, "2 passed, 0 failed" in tested.out) == (0, True), tested
    assert tidemill("preview", made).code == 0
    assert "public.daily_orders" in tidemill("preview", made).out


@pytest.mark.parametrize("template", sorted(templates()))
def test_the_tests_of_a_template_can_fail(template: str, tmp_path: Path) -> None:
    assert tidemill("new", template, tmp_path / "it").code == 0
    manifest = tmp_path / "it/pipeline.yaml"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(
        text.replace("amount > 0", "amount > 6")
        .replace("lower(", "upper(")
        .replace("(10,2)", "(10,1)")
        .replace("count(*)", "1")
    )
    assert tidemill("test", tmp_path / "it").code == 1


def test_without_words_it_lists_them_with_their_purpose() -> None:
    said = tidemill("new")
    assert said.code == 0
    assert [line.split()[0] for line in said.out.splitlines()[:-2]] == sorted(templates())
    assert "merge" in said.out
    assert all(purpose and not purpose.startswith("#") for purpose in templates().values())


def test_the_folder_names_the_pipeline_unless_told(tmp_path: Path) -> None:
    assert tidemill("new", tmp_path / "a").code == 0
    assert tidemill("new", "csv-to-postgres", tmp_path / "b", "--name", "orders").code == 0
    assert "name: a," in (tmp_path / "a/pipeline.yaml").read_text(encoding="utf-8")
    assert (tmp_path / "b/orders.test.yaml").is_file()
    assert {path.name for path in (tmp_path / "a" / FOLDER).iterdir()} == set(schemas())


WRONG = [
    (("mrge", "{tmp}/x"), "there is no template mrge; did you mean merge?"),
    (("merge",), "merge is a template: name the folder too"),
    (("merge", "{tmp}/x", "y"), "at most a template and a folder"),
    (("{tmp}/x", "--name", "A b"), "--name: 'A b' can't be a name"),
    (("{tmp}/x", "--namespace", "Shop"), "--namespace: 'Shop' can't be a name"),
    (("{tmp}/no",), "--name: no without quotes is no text in YAML, but False"),
    (("{tmp}/x", "-n", "on"), "--namespace: on without quotes is no text in YAML, but True"),
    (("{tmp}/1",), "--name: '1' can't be a name"),
    (("{tmp}/full",), "full/data/orders.csv is there already: choose another folder"),
]


@pytest.mark.parametrize(("words", "expected"), WRONG, ids=lambda value: str(value)[:30])
def test_wrong_usage_makes_nothing(words: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    (tmp_path / "full/data").mkdir(parents=True)
    (tmp_path / "full/data/orders.csv").write_text("mine", encoding="utf-8")
    said = tidemill("new", *(word.replace("{tmp}", str(tmp_path)) for word in words))
    assert said.code == 2
    assert expected in said.err
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["orders.csv"]
    assert (tmp_path / "full/data/orders.csv").read_text(encoding="utf-8") == "mine"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    said = tidemill("new", tmp_path / "file/x", "--name", "x")
    assert (said.code, "file" in said.err) == (1, True)
