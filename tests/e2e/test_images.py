"""The images are built, hold what they must and nothing more, and run as a kubelet runs them."""

from __future__ import annotations

import contextlib
import json
import marshal
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import containers
from tests.support.containers import Container, Unpacked
from tests.support.fixtures import unique
from tests.support.kubernetes import ROOT, ApiServer
from tests.support.waiting import until
from tests.support.worker import Pool, Runs, WorkerProcess
from tidemill_cli.dev.components import ports
from tidemill_cli.dev.components.temporal import TemporalServer
from tools.certificates import authority
from tools.images import archive as archives
from tools.images import base, sizes
from tools.images.archive import Archive
from tools.images.catalog import EPOCH, NAMES, Image
from tools.images.engine import engine

PARTS = ("operator", "worker", "dev-services")
pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True, slots=True)
class Built:
    """An image, read and unpacked."""

    image: Image
    archive: Archive
    unpacked: Unpacked
    folder: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The image's own program with these arguments, to its end."""
        return containers.run(self.unpacked, self.folder, arguments)

    def python(self, program: str) -> subprocess.CompletedProcess[str]:
        """A Python program in the image, to its end."""
        return containers.run(self.unpacked, self.folder, ("-c", program), entrypoint=("python",))


def make_images(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`make images`, as people call it."""
    return subprocess.run(
        ["make", "--no-print-directory", "images", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Built]:
    """An image by name, built if that is needed, read and unpacked once."""
    done = make_images()
    assert done.returncode == 0, done.stderr
    folder = tmp_path_factory.mktemp("images")
    # The containers' user comes through folders of root's.
    for above in (folder, *folder.parents[:2]):
        above.chmod(0o755)
    known: dict[str, Built] = {}

    def get(name: str) -> Built:
        if name not in known:
            image = Image(name)
            unpacked = containers.unpack(image, folder / name)
            known[name] = Built(image, archives.read(image.archive), unpacked, folder / f"{name}-runs")
        return known[name]

    return get


def test_nothing_is_built_twice(built: Callable[[str], Built]) -> None:
    built("worker")
    archive = Image("worker").archive
    before = archive.stat().st_mtime_ns

    again = make_images("IMAGES=worker")

    assert "worker: nothing has changed" in again.stderr
    assert archive.stat().st_mtime_ns == before


def test_a_changed_source_file_makes_another_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.images.catalog.ROOT", tmp_path)
    source = tmp_path / "worker/src/tidemill_worker/app.py"
    other = tmp_path / "operator/src/tidemill_operator/program.py"
    for file in (source, other):
        file.parent.mkdir(parents=True)
        file.write_text("1")
    before = Image("worker").key("buildah")

    other.write_text("2")
    assert Image("worker").key("buildah") == before, "the operator's code is no part of the worker's image"
    source.write_text("2")
    assert Image("worker").key("buildah") != before


@pytest.mark.parametrize("name", NAMES)
def test_its_configuration_says_who_runs_and_what_it_is(name: str, built: Callable[[str], Built]) -> None:
    config = built(name).archive.config["config"]

    assert config["User"] == "65532:65532"
    labels = {key.rpartition(".")[2]: value for key, value in config["Labels"].items() if "opencontainers" in key}
    assert labels["title"] == f"tidemill-{name}"
    assert labels["licenses"] == "Apache-2.0"
    assert labels["version"] == "0.1.0"
    assert len(labels["revision"].partition("-")[0]) == 40
    assert labels["source"].startswith("https://")
    assert not any(word in value for value in config["Env"] for word in ("PIP_", "PROXY", "CERT_REQ"))


@pytest.mark.parametrize("name", NAMES)
def test_it_holds_no_tools(name: str, built: Callable[[str], Built]) -> None:
    programs = {path.rpartition("/")[2] for path in built(name).archive.files}
    shells = set() if name == "dev-services" else {"sh", "dash"}

    assert not programs & {"apt", "apt-get", "dpkg", "bash", "busybox", "gcc", "cc", "ld", "strip", "perl", *shells}
    assert not programs & {"pip", "pip3", "uv", "ensurepip", "curl", "wget", "su", "mount", "sudo"}
    assert not any(f"/{part}/" in path for path in built(name).archive.files for part in ("pip", "setuptools", "tests"))


@pytest.mark.parametrize("name", NAMES)
def test_all_modules_are_compiled_and_nothing_depends_on_times(name: str, built: Callable[[str], Built]) -> None:
    root = built(name).unpacked.root
    uncompiled = []
    for source in (path for path in root.rglob("*.py") if "/lib/python3" in str(path)):
        caches = list((source.parent / "__pycache__").glob(f"{source.stem}.cpython-*.pyc"))
        head = caches[0].read_bytes() if caches else b""
        # A flag of 1: bound to its source by a hash, which nobody checks.
        if int.from_bytes(head[4:8], "little") != 1:
            uncompiled.append(str(source.relative_to(root)))
    assert uncompiled == []
    own = [path for path in root.rglob("*") if not path.is_symlink() and path.is_file()]
    assert {int(path.stat().st_mtime) for path in own} == {EPOCH}


def test_compiled_modules_name_their_place_in_the_image(built: Callable[[str], Built]) -> None:
    root = built("worker").unpacked.root
    cache = next(root.glob("opt/tidemill/lib/python3*/site-packages/tidemill_worker/__pycache__/app.*.pyc"))
    if cache.name.split("-")[1].startswith(f"{sys.version_info.major}{sys.version_info.minor}"):
        code = marshal.loads(cache.read_bytes()[16:])  # noqa: S302 - we made it
        assert code.co_filename == f"/{cache.parent.parent.relative_to(root)}/app.py"


@pytest.mark.parametrize("name", PARTS)
def test_its_list_of_contents_names_every_distribution(name: str, built: Callable[[str], Built]) -> None:
    there = built(name).python(
        "import importlib.metadata as m, json; print(json.dumps([[d.name, d.version] for d in m.distributions()]))"
    )
    listed = json.loads(Image(name).contents.read_text(encoding="utf-8"))
    purls = {package["externalRefs"][0]["referenceLocator"] for package in listed["packages"]}

    distributions = json.loads(there.stdout)
    assert len(distributions) > 3
    for distribution, version in distributions:
        assert f"pkg:pypi/{distribution.lower().replace('_', '-')}@{version}" in purls
    assert any(purl.startswith("pkg:deb/debian/libc6@") for purl in purls) or "PYTHON_IMAGE" in os.environ
    assert listed["spdxVersion"] == "SPDX-2.3"
    identifiers = [package["SPDXID"] for package in listed["packages"]]
    assert len(identifiers) == len(set(identifiers))
    related = {entry["relatedSpdxElement"] for entry in listed["relationships"]}
    assert related == set(identifiers), "all are in relation to the image"


@pytest.mark.parametrize("name", NAMES)
def test_it_keeps_its_budget_and_the_page_tells_the_truth(name: str, built: Callable[[str], Built]) -> None:
    weight = sizes.weigh(built(name).archive)
    compressed, uncompressed = sizes.figures(sizes.PAGE.read_text(encoding="utf-8"))[name]

    assert sizes.too_heavy(Image(name), weight) == []
    assert compressed == pytest.approx(weight.compressed / sizes.MB, rel=0.05), "python -m tools.images --docs"
    assert uncompressed == pytest.approx(weight.size / sizes.MB, rel=0.05), "python -m tools.images --docs"


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("operator", 2, "--installation (or TIDEMILL_INSTALLATION) is missing"),
        ("worker", 1, "/etc/tidemill/worker.json: can't be read (No such file or directory)"),
        ("dev-services", 2, "temporal|postgres|redis"),
    ],
)
def test_without_configuration_it_says_what_is_missing(
    name: str, code: int, words: str, built: Callable[[str], Built]
) -> None:
    done = built(name).run()

    assert words in done.stderr
    assert done.returncode == code


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_as_nobody_in_particular_and_can_write_to_tmp_only(name: str, built: Callable[[str], Built]) -> None:
    done = built(name).python(
        "import os, pathlib\n"
        "print(os.getuid(), os.getgid(), os.environ['HOME'])\n"
        "pathlib.Path('/tmp/x').write_text('x')\n"
        "for place in ('/x', '/opt/tidemill/x', '/etc/x'):\n"
        "    try:\n"
        "        pathlib.Path(place).write_text('x')\n"
        "    except OSError as error:\n"
        "        print(type(error).__name__, error.errno)\n"
    )

    assert done.stdout.splitlines()[0] == "65532 65532 /tmp"
    assert len(done.stdout.splitlines()) == 4, done


@pytest.mark.parametrize("name", ["operator", "worker"])
def test_every_module_of_ours_finds_what_it_imports(name: str, built: Callable[[str], Built]) -> None:
    done = built(name).python(
        "import importlib, pkgutil\n"
        f"for part in ('tidemill_api', 'tidemill_check', 'tidemill_codec', 'tidemill_{name}'):\n"
        "    package = importlib.import_module(part)\n"
        "    for module in pkgutil.walk_packages(package.__path__, f'{part}.'):\n"
        "        if not module.name.endswith('__main__') and '.versions' not in module.name:\n"
        "            importlib.import_module(module.name)\n"
        "print('all')\n"
    )

    assert done.stdout == "all\n", done.stderr


def test_the_worker_starts_without_heavy_libraries(built: Callable[[str], Built]) -> None:
    done = built("worker").python(
        "import sys, tidemill_worker.command, tidemill_worker.app\n"
        "print(sorted({'pyarrow', 'duckdb', 'pgpq', 'sqlalchemy', 'alembic'} & set(sys.modules)))"
    )

    assert done.stdout == "[]\n", done.stderr


SPEC = {
    "workerPoolRef": {"name": "etl"},
    "sources": [
        {
            "name": "raw",
            "connection": "landing",
            "files": {"path": "flights.csv", "format": {"csv": {}}},
            "columns": [{"name": "carrier", "type": "string"}, {"name": "delay", "type": "int32"}],
        }
    ],
    "steps": [
        {
            "name": "late",
            "inputs": ["raw"],
            "sql": {"query": "SELECT carrier, delay * 60 AS seconds FROM raw WHERE delay > 0"},
        },
    ],
    "sinks": [
        {
            "name": "late",
            "input": "late",
            "connection": "warehouse",
            "postgres": {"table": "public.late"},
            "writeDisposition": "Append",
        }
    ],
}


async def test_a_load_runs_in_the_worker_image(built: Callable[[str], Built], pool: Pool, runs: Runs) -> None:
    (pool.landing / "flights.csv").write_text("carrier,delay\nUA,2\nAA,-3\nB6,5\n")
    config = pool.write()
    for path in (pool.folder, *pool.folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    port = ports.free()
    image = built("worker")
    arguments = ("--config", str(config), "--secrets", str(pool.secrets), "--health-address", f"127.0.0.1:{port}")
    with containers.started(
        image.unpacked, image.folder, arguments, files={str(pool.folder): pool.folder}, network_of_host=True
    ) as worker:
        answers = WorkerProcess(worker.process, port, pool.folder / "none")  # type: ignore[arg-type]  # its text output
        until(lambda: answers.get("/readyz")[0] == 200, f"ready {worker.process.poll()}", timeout=60)

        result = await runs.run(SPEC)

        assert result.result == "Succeeded", result.error
        assert pool.database.query("SELECT carrier, seconds FROM late ORDER BY 1") == [["B6", "300"], ["UA", "120"]]
        worker.kill("TERM")
        _, log = worker.process.communicate(timeout=60)
    assert worker.process.returncode == 0, log
    assert "stopping: open chunks have" in log


def test_the_operator_image_works_on_a_real_api_server(
    built: Callable[[str], Built], crds: ApiServer, temporal_server: TemporalServer, tmp_path: Path
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(crds.kubectl("config", "view", "--flatten", "--raw").stdout)  # certificates in it, not beside
    kubeconfig.chmod(0o644)
    port = ports.free()
    installation = unique("i")
    image = built("operator")
    arguments = (
        *("--installation", installation, "--temporal-address", temporal_server.address),
        *("--kubeconfig", "/files/kubeconfig", "--health-address", f"127.0.0.1:{port}"),
    )
    with containers.started(
        image.unpacked, image.folder, arguments, files={"/files": tmp_path}, network_of_host=True
    ) as operator:
        answers = WorkerProcess(operator.process, port, tmp_path / "none")  # type: ignore[arg-type]  # its text output
        until(lambda: answers.get("/readyz")[0] == 200, f"ready {operator.process.poll()}", timeout=60)
        operator.kill("TERM")
        _, log = operator.process.communicate(timeout=60)
    assert operator.process.returncode == 0, log


def answered(container: Container) -> bool:
    """Whether `/readyz` in the container says that it serves; fails if the container has ended."""
    if container.process.poll() is not None:
        raise AssertionError(container.process.communicate()[1])
    asked = container.execute(
        "python", "-c", "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/readyz').status)"
    )
    return asked.stdout.strip() == "200"


PASSWORD = "it's a 'pass\\word"


def ask(program: str) -> tuple[str, ...]:
    """A command for `execute`: a Python program of one line that prints an answer."""
    return ("python", "-c", program)


def redis(*words: str, lines: int) -> tuple[str, ...]:
    """A command for `execute`: the first `lines` that Redis answers to these words, with the password before."""
    asked = b"".join(
        f"*{len(command)}\r\n".encode() + b"".join(f"${len(word.encode())}\r\n{word}\r\n".encode() for word in command)
        for command in (("AUTH", PASSWORD), words)
    )
    return ask(
        "import socket; s = socket.create_connection(('127.0.0.1', 6379), 10); "
        f"s.sendall(bytes.fromhex({asked.hex()!r})); f = s.makefile(); "
        f"print(*(f.readline().strip() for _ in range({1 + lines})))"
    )


@dataclass(frozen=True, slots=True)
class Service:
    """How a component of dev-services is tried: what writes, what reads, and the port that others come by."""

    name: str
    port: int
    write: tuple[str, ...]
    read: tuple[str, ...]
    answer: str
    arguments: tuple[str, ...] = ()


SERVICES = (
    Service(
        "postgres",
        5432,
        ("tidemill-dev-services", "psql", "warehouse", "-c", "CREATE TABLE kept AS SELECT 42 AS answer"),
        ("tidemill-dev-services", "psql", "warehouse", "-Atc", "SELECT answer FROM kept"),
        "42",
        ("--database", "warehouse"),
    ),
    Service("redis", 6379, redis("SET", "kept", "42", lines=1), redis("GET", "kept", lines=2), "+OK $2 42"),
    Service(
        "temporal",
        7233,
        ask("print()"),
        ask(
            "import json, urllib.request as u; "
            "print(json.load(u.urlopen('http://127.0.0.1:7243/api/v1/namespaces/travel'))['namespaceInfo']['name'])"
        ),
        "travel",
        ("--namespace", "travel"),
    ),
)


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_service_keeps_its_state_over_restarts_and_kills(service: Service, built: Callable[[str], Built]) -> None:
    image = built("dev-services")
    volume = image.folder.parent / unique("data")

    def starting(*arguments: str) -> contextlib.AbstractContextManager[Container]:
        return containers.started(
            image.unpacked,
            image.folder,
            (service.name, *arguments),
            environment={"TIDEMILL_DEV_PASSWORD": PASSWORD},
            volumes={"/data": volume},
        )

    with starting(*service.arguments) as container:
        until(lambda: answered(container), f"{service.name} serves", timeout=60)
        tables = container.execute(
            *ask("import pathlib; print(*(pathlib.Path('/proc/net', f).read_text() for f in ('tcp', 'tcp6')))")
        )
        assert f"00000000:{service.port:04X} " in tables.stdout, "other pods can reach it"
        done = container.execute(*service.write)
        assert done.returncode == 0, done
        container.kill("TERM")
        _, log = container.process.communicate(timeout=30)
    assert container.process.returncode == 0, log
    assert f"{service.name} for demos and tests only" in log
    assert PASSWORD not in log

    # Killed whatever it does, twice: what is left behind must not keep it from starting.
    for _ in range(2):
        with starting() as container:
            until(lambda: answered(container), f"{service.name} serves again", timeout=60)
            done = container.execute(*service.read)
            assert done.stdout.strip() == service.answer, done
            container.kill("KILL")
            assert container.process.wait(30) == 137


def test_a_changed_password_holds_from_the_next_start(built: Callable[[str], Built]) -> None:
    image = built("dev-services")
    volume = image.folder.parent / unique("data")
    for password in ("first", "sec'ond"):
        with containers.started(
            image.unpacked,
            image.folder,
            ("postgres",),
            environment={"TIDEMILL_DEV_PASSWORD": password},
            volumes={"/data": volume},
        ) as container:
            until(lambda: answered(container), "postgres serves", timeout=60)
            done = container.execute("tidemill-dev-services", "psql", "-Atc", "SELECT 1")
            assert done.stdout.strip() == "1", done
            assert "sec'ond" not in (volume / "postgres" / "initdb.log").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("postgres",), "no password: give one by --password-file FILE or by TIDEMILL_DEV_PASSWORD"),
        (("redis", "--password-file", "/nowhere"), "--password-file: /nowhere can't be read (No such file"),
        (("postgres", "--database", 'x"; DROP'), "--database: 'x\"; DROP' is no name here"),
        (("temporal", "--namespace", "-"), "--namespace"),
        (("temporal", "--health-port", "70000"), "--health-port: 70000 must be a port"),
        (("psql",), "psql: /data/postgres/password isn't there"),
    ],
)
def test_a_service_says_what_is_wrong(arguments: tuple[str, ...], words: str, built: Callable[[str], Built]) -> None:
    done = built("dev-services").run(*arguments)

    assert words in done.stderr
    assert done.returncode == (1 if arguments == ("psql",) else 2)


def test_the_examples_data_is_copied(built: Callable[[str], Built]) -> None:
    image = built("examples")
    volume = image.folder.parent / unique("shared")
    with containers.started(image.unpacked, image.folder, ("/shared",), volumes={"/shared": volume}) as container:
        out, log = container.process.communicate(timeout=30)
    assert out == "copied flights to /shared\n", log
    assert "flights/flights.csv.zip" in image.run().stdout
    for file in (ROOT / "examples/flights/data").iterdir():
        assert (volume / "flights" / file.name).read_bytes() == file.read_bytes()

    assert "give one folder that exists" in image.run("/nowhere").stderr


def test_a_steps_image_is_the_worker_with_a_layer(built: Callable[[str], Built], tmp_path: Path) -> None:
    built("worker")
    tool = engine(os.environ.get("CONTAINER_TOOL"))
    steps = tmp_path / "steps"
    shutil.copytree(ROOT / "examples/images/steps", steps)
    company = authority(tmp_path / "company")
    shutil.copy(company.file, steps / "company-ca.crt")
    image = Image(unique("steps-"))
    python = os.environ.get("PYTHON_IMAGE") or ("" if tool.name == "docker" else base.ensure(tool))

    tool.build_folder(steps, image.reference, {"PYTHON_IMAGE": python} if python else {})
    try:
        tool.save(image, tmp_path / "steps.tar")
    finally:
        tool.remove(image.reference)

    unpacked = containers.unpack_archive(tmp_path / "steps.tar", built("worker").folder.parent / image.name)
    done = containers.run(
        unpacked,
        tmp_path / "runs",
        (
            "-c",
            (
                "import humanize, tidemill_worker, ssl; print(humanize.__file__, humanize.__cached__); "
                "from travel import steps; print(steps.__file__, steps.measure.__name__); "
                "print(ssl.create_default_context().cert_store_stats()['x509_ca'])"
            ),
        ),
        entrypoint=("python",),
    )
    place, module, trusted = done.stdout.splitlines()
    assert place.startswith("/opt/steps/humanize/"), done
    assert module == "/opt/steps/travel/steps.py measure"
    public = containers.run(
        built("worker").unpacked,
        tmp_path / "runs",
        ("-c", "import ssl; print(ssl.create_default_context().cert_store_stats()['x509_ca'])"),
        entrypoint=("python",),
    )
    assert int(trusted) == int(public.stdout) + 1
    assert unpacked.config["Entrypoint"] == ["python", "-m", "tidemill_worker"]
    assert unpacked.config["User"] == "65532:65532"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_what_is_built_twice_is_the_same(name: str, built: Callable[[str], Built], tmp_path: Path) -> None:
    first = built(name).archive
    tool = engine(os.environ.get("CONTAINER_TOOL"))
    again = Image(name, "again")
    python = os.environ.get("PYTHON_IMAGE") or ("" if tool.name == "docker" else base.ensure(tool))

    tool.build(again, {"PYTHON_IMAGE": python} if python else {}, anew=True)
    try:
        tool.save(again, tmp_path / "again.tar")
    finally:
        tool.remove(again.reference)

    second = archives.read(tmp_path / "again.tar")
    assert second.layers == first.layers
    assert second.config == first.config
