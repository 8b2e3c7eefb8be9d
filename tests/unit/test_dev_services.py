"""What `tidemill-dev-services` is told, what it makes of it, and what it answers probes."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tidemill_cli.dev.services import health
from tidemill_cli.dev.services.__main__ import main
from tidemill_cli.dev.services.describe import component
from tidemill_cli.dev.services.options import Options, UsageError, options, parser


def parsed(*arguments: str, **environment: str) -> Options:
    return options(parser().parse_args(arguments), environment)


def test_temporal_needs_no_password() -> None:
    found = parsed("temporal", "--namespace", "travel", "--namespace", "travel", "--ui", "--data", "/d")

    assert found == Options(
        component="temporal", data=Path("/d"), health_port=8080, namespaces=("travel",), ui=True, password=None
    )
    assert found.directory == Path("/d/temporal")


@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_the_password_comes_from_the_variable_or_from_a_file(name: str, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("of the file\n")

    assert parsed(name, TIDEMILL_DEV_PASSWORD="of the variable").password == "of the variable"
    found = parsed(name, "--password-file", str(file), TIDEMILL_DEV_PASSWORD="of the variable")
    assert found.password == "of the file"


@pytest.mark.parametrize(
    ("arguments", "password", "words"),
    [
        (("redis",), "", "no password: give one by --password-file FILE or by TIDEMILL_DEV_PASSWORD"),
        (("redis",), " \n", "no password"),
        (("redis",), "two\nlines", "one line of printable characters"),
        (("redis", "--password-file", "/nowhere"), "x", "--password-file: /nowhere can't be read"),
        (("postgres", "--database", "Upper"), "x", "--database: 'Upper' is no name here; it must be of small letters"),
        (("postgres", "--database", 'x" TEMPLATE y'), "x", "--database: "),
        (("temporal", "--namespace", "a b"), "", "--namespace: 'a b' is no name here"),
        (("temporal", "--health-port", "65536"), "", "--health-port: 65536 must be a port"),
    ],
)
def test_what_is_wrong_is_named(arguments: tuple[str, ...], password: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(*arguments, TIDEMILL_DEV_PASSWORD=password)
    assert words in str(caught.value)


def test_the_program_says_it_and_ends_with_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TIDEMILL_DEV_PASSWORD", raising=False)

    assert main(["postgres"]) == 2
    assert "tidemill-dev-services: no password" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["redis", "--database", "x"])
    assert ended.value.code == 2


def test_psql_is_for_where_postgres_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["psql", "--data", str(tmp_path), "warehouse", "-c", "SELECT 1"]) == 1
    assert "run this in the container where postgres runs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "port"),
    [(("temporal", "--namespace", "travel"), "7233"), (("postgres",), "5432"), (("redis",), "6379")],
)
def test_others_reach_it_at_the_port_that_everybody_knows(
    arguments: tuple[str, ...], port: str, tmp_path: Path
) -> None:
    described = component(parsed(*arguments, "--data", str(tmp_path), TIDEMILL_DEV_PASSWORD="pass word"))

    assert port in described.command
    assert any("0.0.0.0" in word for word in described.command)  # noqa: S104 - looked for, not bound
    assert not any("127.0.0.1" in word or "pass word" in word for word in described.command)
    assert described.directory == tmp_path / arguments[0]


def test_probes_are_answered_by_what_is_true_now() -> None:
    now = {"/healthz": True, "/readyz": False}

    def status(port: int, path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    with health.serving(0, lambda: now["/healthz"], lambda: now["/readyz"]) as port:
        assert [status(port, path) for path in ("/healthz", "/readyz", "/other")] == [200, 503, 404]
        now.update({"/healthz": False, "/readyz": True})
        assert [status(port, path) for path in ("/healthz", "/readyz")] == [503, 200]
