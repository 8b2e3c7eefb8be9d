"""A start is short: what is imported, in which order, and what is left out (`test_layers` has the libraries)."""

from __future__ import annotations

import subprocess
import sys


def told(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nothing_is_imported_before_the_start_is_hastened() -> None:
    found = told("import sys; from tidemill_worker import start; print(*sorted(sys.modules))").split()
    assert [name for name in found if name.partition(".")[0] in {"pydantic", "asyncio", "temporalio", "logging"}] == []


def test_garbage_is_seldom_looked_for_until_the_start_is_over_and_then_as_usual() -> None:
    code = (
        "import gc; from tidemill_worker import start; usual = gc.get_threshold(); start.hasten(); "
        "print(gc.get_threshold()[0] > 100 * usual[0], end=' '); start.settle(); start.settle(); "
        "print(gc.get_threshold() == usual, gc.get_freeze_count() > 0)"
    )
    assert told(code) == "True True True"


def test_models_are_built_when_they_are_used() -> None:
    code = (
        "from tidemill_worker import start; start.hasten(); "
        "from pydantic.plugin import _loader; from pydantic import BaseModel; import tidemill_worker.workflows.run; "
        "every = [BaseModel]; [every.extend(each.__subclasses__()) for each in every]; "
        "ours = [each for each in every if each.__module__.startswith('tidemill_')]; "
        "print(len(ours), sum(each.__pydantic_complete__ for each in ours), _loader._plugins)"
    )
    models, built, plugins = told(code).split()
    assert int(models) > 50
    assert int(built) < int(models) / 5, "only those that stand as another's default"
    assert plugins == "None", "nobody has looked for plugins"
