"""`tidemill.dev.yaml`: what it may say, and what is said about one that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidemill_cli.dev.settings import FILE_NAME, DevSettings, SettingsError, load


def test_a_folder_without_settings_has_empty_ones(tmp_path: Path) -> None:
    found = load(tmp_path)

    assert found.settings == DevSettings()
    assert found.folder == tmp_path


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n"])
def test_an_empty_file_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text, encoding="utf-8")

    assert load(tmp_path).settings == DevSettings()


def test_all_that_can_be_said(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(
        """
connections:
  landing: {files: ./data}
  warehouse: {postgres: {dsnEnv: WAREHOUSE_DSN}}
  reporting: {postgres: {dsn: "postgresql://localhost/reporting"}}
pool:
  concurrency: {activities: 2}
""",
        encoding="utf-8",
    )

    settings = load(tmp_path).settings

    assert settings.connections["landing"].files == "./data"
    assert settings.connections["warehouse"].postgres is not None
    assert settings.connections["warehouse"].postgres.dsn_env == "WAREHOUSE_DSN"
    assert settings.connections["reporting"].postgres is not None
    assert settings.connections["reporting"].postgres.dsn == "postgresql://localhost/reporting"
    assert settings.pool.concurrency.activities == 2


WRONG = {
    "unknown field": ("conections: {}", "1:1", "conections", "did you mean connections"),
    "unknown field below": ("connections:\n  landing: {file: ./data}", "2:13", "connections.landing.file", "files"),
    "both": (
        "connections:\n  a: {files: ./data, postgres: {dsn: x}}",
        "2:6",
        "connections.a",
        "exactly one of: files, s3, postgres",
    ),
    "neither": ("connections:\n  a: {}", "2:6", "connections.a", "exactly one of: files, s3, postgres"),
    "two DSNs": (
        "connections:\n  a:\n    postgres: {dsn: x, dsnEnv: X}",
        "3:15",
        "connections.a.postgres",
        "dsn, dsnEnv",
    ),
    "wrong type": ("pool: {concurrency: {activities: many}}", "1:34", "pool.concurrency.activities", "whole number"),
    "a list": ("- a", "1:1", "", "must be a mapping"),
    "no YAML": ("connections: {", "1:15", "", ""),
    "twice": ("connections: {}\nconnections: {}", "2:1", "", "connections"),
    "two documents": ("connections: {}\n---\npool: {}", "3:1", "", "a second document"),
}


@pytest.mark.parametrize(("text", "place", "field", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, place: str, field: str, said: str) -> None:
    file = tmp_path / FILE_NAME
    file.write_text(text, encoding="utf-8")

    with pytest.raises(SettingsError) as raised:
        load(tmp_path)

    (problem,) = raised.value.problems
    assert problem.startswith(f"{file}:{place}: {f'{field}: ' if field else ''}")
    assert said in problem


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("connections: {a: {}, b: {files: 1}}\nx: 1\n", encoding="utf-8")

    with pytest.raises(SettingsError) as raised:
        load(tmp_path)

    assert len(raised.value.problems) == 3


def test_a_password_in_the_wrong_place_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text('connections:\n  warehouse: "postgresql://me:top@secret@host/d"\n')

    with pytest.raises(SettingsError) as caught:
        load(tmp_path)

    assert 'not "postgresql://me:...@host/d"' in str(caught.value)
