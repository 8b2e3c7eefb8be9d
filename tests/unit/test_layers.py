"""What import-linter's contracts in pyproject.toml can't say: lists of what is allowed, start-up, names, sizes."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from temporalio.workflow import _Definition

from tidemill_worker.app import FOR_CLIENT, FOR_STORES, FOR_WORK
from tidemill_worker.workflows.backfill import DataPipelineBackfill
from tidemill_worker.workflows.report import DataPipelineReport
from tidemill_worker.workflows.run import DataPipelineRun
from tools.images.inside.locked import blocks, closure, normal, roots_of
from tools.images.inside.recipes import RECIPES

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [ROOT / part / "src" for part in ("api", "check", "codec", "operator", "worker", "cli")]


@dataclass(frozen=True)
class Rule:
    """Files (a glob below a part's `src`) that may import nothing but some modules."""

    why: str
    files: tuple[str, ...]
    they_import_only: tuple[str, ...]


STDLIB = tuple(sys.stdlib_module_names)
RULES = [
    Rule(
        "workflows are deterministic: of Temporal they know what is made for them",
        files=("tidemill_worker/workflows/*.py",),
        they_import_only=(
            "tidemill_api",
            "tidemill_worker.workflows",
            "tidemill_worker.overlap",
            "tidemill_worker.tolerance",
            "pydantic.ValidationError",
            "temporalio.workflow",
            "temporalio.common",
            "temporalio.exceptions",
            *STDLIB,
        ),
    ),
    Rule(
        "what workflows use of the worker is as pure as they are",
        files=("tidemill_worker/overlap.py", "tidemill_worker/tolerance.py"),
        they_import_only=("tidemill_api", *STDLIB),
    ),
]


def modules(*patterns: str) -> Iterator[Path]:
    """All files of ours that the globs mean."""
    for source in SOURCES:
        for pattern in patterns:
            yield from source.glob(pattern)


def imported(file: Path) -> Iterator[str]:
    """Full names of what a file imports, inside functions too, as far as they are absolute."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.ImportFrom():
                raise AssertionError(f"{file}: relative import")
            case _:
                pass


def within(name: str, packages: tuple[str, ...]) -> bool:
    """Whether a module is one of the packages or inside of one."""
    return any(name == package or name.startswith(package + ".") for package in packages)


def broken(rule: Rule) -> Iterator[str]:
    """Each import that the rule forbids."""
    for file in modules(*rule.files):
        yield from (
            f"{file.relative_to(ROOT)} imports {name}"
            for name in imported(file)
            if not within(name, rule.they_import_only)
        )


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.why)
def test_layers(rule: Rule) -> None:
    assert list(modules(*rule.files)), "the rule is about files that exist"
    assert list(broken(rule)) == [], rule.why


@pytest.mark.parametrize("workflow", [DataPipelineRun, DataPipelineBackfill, DataPipelineReport])
def test_no_task_of_a_workflow_runs_in_the_sdk_s_sandbox(workflow: type) -> None:
    """While one does, `sys.modules` isn't a dict, and DuckDB fails in the threads that load rows."""
    definition = _Definition.must_from_class(workflow)
    assert not definition.sandboxed


# What must not be paid for before it is needed: importing the left must not import any of the right.
LAZY = {
    "tidemill_cli.main": ("temporalio", "kopf", "kubernetes", "pyarrow", "asyncpg", "redis", "sqlalchemy", "duckdb"),
    "tidemill_worker.engine": ("temporalio", "sqlalchemy", "alembic"),
    "tidemill_check.verdict": ("duckdb",),
    "tidemill_operator.__main__": ("kopf", "kubernetes", "temporalio", "duckdb"),
    "tidemill_worker.app": ("temporalio", "duckdb", "pyarrow", "asyncpg", "alembic", "prometheus_client"),
    # All that a worker imports until it polls, and until it has found that there is nothing to do.
    ", ".join(("tidemill_worker.command", *FOR_STORES, *FOR_CLIENT, *FOR_WORK)): (
        *("duckdb", "pyarrow", "pgpq", "numpy", "redis", "sqlalchemy", "alembic", "prometheus_client"),
        *("cryptography", "tidemill_worker.engine.load", "tidemill_worker.engine.planning"),
    ),
    "tidemill_api.v1alpha1": ("duckdb", "temporalio", "kubernetes"),
}


@pytest.mark.parametrize(("module", "later"), LAZY.items(), ids=[name.partition(",")[0] for name in LAZY])
def test_start_is_not_slowed_by_what_is_needed_later(module: str, later: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*sorted({set(later)!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def test_root_has_no_package_named_like_a_standard_module() -> None:
    """A root `operator/__init__.py` would hide Python's own `operator`."""
    assert [str(file) for file in ROOT.glob("*/__init__.py") if file.parent.name in STDLIB] == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    empty = {"utils", "util", "helper", "helpers", "manager", "process", "misc", "common"}
    assert [str(file) for file in modules("**/*.py") if file.stem in empty or file.parent.name in empty] == []


def test_files_have_one_reason_to_change() -> None:
    """More than 400 lines are a sign of two."""
    assert [
        f"{file} {count}" for file in modules("**/*.py") if (count := len(file.read_text().splitlines())) > 420
    ] == []


@pytest.mark.parametrize("image", ["operator", "worker"])
def test_an_image_has_what_its_part_imports(image: str) -> None:
    """Here everything is installed, so an import that the image can't follow would show in a cluster only."""
    lock, pyproject = (ROOT / "requirements.lock").read_text(), (ROOT / "pyproject.toml").read_text()
    installed = set(blocks(closure(lock, roots_of(pyproject, RECIPES[image].extras))))
    given = packages_distributions()
    wanting = {
        f"{file.name}: {name}"
        for package in RECIPES[image].packages
        for file in modules(f"{package}/**/*.py")
        for name in {module.partition(".")[0] for module in imported(file)} - {*STDLIB, "tidemill"}
        if not name.startswith("tidemill_") and not {normal(each) for each in given.get(name, ())} & installed
    }
    assert wanting == set()
