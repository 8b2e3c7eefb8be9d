"""From `module:function` to the function."""

from __future__ import annotations

import sys
import types

import pytest

from tidemill_api.errors import PythonFailed
from tidemill_worker.engine.python.entrypoints import function_of


@pytest.mark.parametrize(
    ("home", "is_its_own"),
    [
        ("travel.steps", True),
        ("travel.steps.flights", True),  # a package offers what is below it
        ("travel.admin", False),
        ("travel", False),
        ("travel.stepsister", False),
        ("subprocess", False),
    ],
)
def test_a_module_gives_its_own_functions_only(monkeypatch: pytest.MonkeyPatch, home: str, is_its_own: bool) -> None:
    def function() -> None: ...

    function.__module__ = home
    module = types.ModuleType("travel.steps")
    monkeypatch.setattr(module, "enrich", function, raising=False)
    monkeypatch.setitem(sys.modules, "travel.steps", module)
    if is_its_own:
        assert function_of("step made", "travel.steps:enrich") is function
    else:
        with pytest.raises(PythonFailed, match=f"travel.steps:enrich isn't a function of travel.steps: .* from {home}"):
            function_of("step made", "travel.steps:enrich")
