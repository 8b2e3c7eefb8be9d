"""A pytest plugin that measures this process and every child Python process, and fails the run below a limit.

`--tidemill-coverage=85` turns it on.  The report comes before pytest's own closing line, which stays the last thing
printed; coverage's own plugin for this would start later than the first imports of ours, and miss them.
"""

from __future__ import annotations

import importlib
import io
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from coverage import Coverage

_OPTION = "--tidemill-coverage"


class CoverageGate:
    """Measures from now on; reports and judges when the session ends."""

    def __init__(self, coverage: type[Coverage], settings: str, minimum: float) -> None:
        """Start measuring; the session fails if less than `minimum` percent of lines and branches ran."""
        self._make = coverage
        self._coverage = coverage(config_file=settings)
        self._settings = settings
        self._minimum = minimum
        self._report = ""
        self._total = 0.0
        self._coverage.start()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Join what all processes measured; fail the session if it is too little."""
        packages = self._coverage.get_option("run:source_pkgs")
        for package in packages if isinstance(packages, list) else []:
            # A package that nothing imported would be left out instead of counting as not run.
            importlib.import_module(package)
        self._coverage.stop()
        self._coverage.save()
        joined = self._make(config_file=self._settings, data_suffix=False)
        joined.combine()
        joined.save()
        report = io.StringIO()
        self._total = joined.report(file=report)
        self._report = report.getvalue()
        if self._total < self._minimum and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show what didn't run, and the verdict."""
        terminalreporter.section("coverage of lines and branches, child processes included")
        terminalreporter.write(self._report)
        passed = self._total >= self._minimum
        verdict = "reached" if passed else "NOT reached, so this run fails"
        line = f"coverage {self._total:.1f} %: the {self._minimum:g} % asked for are {verdict}"
        terminalreporter.write_line(line, green=passed, red=not passed)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Know the option."""
    parser.addoption(_OPTION, type=float, metavar="PERCENT", help="measure coverage and fail below this")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Begin before any conftest, and so any code of ours, is imported."""
    minimum = early_config.known_args_namespace.tidemill_coverage
    if minimum is None:
        return
    from coverage import Coverage

    gate = CoverageGate(Coverage, str(early_config.rootpath / "pyproject.toml"), minimum)
    early_config.pluginmanager.register(gate, "tidemill-coverage-gate")
