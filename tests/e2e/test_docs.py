"""Every command in README, CONTRIBUTING and docs works, and every manifest there is accepted."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.kubernetes import ROOT, ApiServer
from tools.check_docs import documents
from tools.documents import Block, blocks, matches

_GENERATED = ROOT / "docs" / "reference" / "kinds"
DOCUMENTS = [file for file in documents(ROOT) if _GENERATED not in file.parents]
BLOCKS = [block for document in DOCUMENTS for block in blocks(document)]
_NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv*", ".data", ".cache", "__pycache__", ".*_cache", ".coverage*", "build"
)


def identify(value: Block | Path) -> str:
    """A test's id: the document, and the line of a block."""
    match value:
        case Block():
            return f"{value.document.relative_to(ROOT)}:{value.number}"
        case Path():
            return str(value.relative_to(ROOT))


def runs(document: Path) -> list[Block]:
    """The blocks of a document whose commands are run here."""
    return [block for block in blocks(document) if block.language != "yaml" and block.tested_by is None]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository as a reader has it, with the environment that `make sync` made."""
    target = tmp_path_factory.mktemp("docs") / "tidemill"
    shutil.copytree(ROOT, target, ignore=_NOT_COPIED, symlinks=True)
    (target / ".venv").symlink_to(ROOT / ".venv")
    return target


@pytest.mark.timeout(900)
@pytest.mark.parametrize("document", [each for each in DOCUMENTS if runs(each)], ids=identify)
def test_commands_work_in_their_order(document: Path, copy: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        # A reader's terminal, but never a reader's cluster.
        "KUBECONFIG": str(tmp_path / "no-cluster"),
        "COLUMNS": "120",
        "NO_COLOR": "1",
    }
    for block in runs(document):
        for command in block.commands:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", command.line],
                cwd=copy,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            where = f"{identify(block)}: $ {command.line}"
            assert done.returncode == 0, f"{where}\nended with {done.returncode}\n{done.stdout}{done.stderr}"
            shown = "\n".join(command.prints)
            assert matches(done.stdout, command.prints), f"{where}\nshown:\n{shown}\nprinted:\n{done.stdout}"


def test_manifests_are_accepted(crds: ApiServer) -> None:
    crds.kubectl("create", "namespace", "travel", check=False)
    for block in BLOCKS:
        if block.language == "yaml" and "apiVersion: tidemill.dev/" in block.text:
            crds.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=block.text)


def test_documents_have_commands() -> None:
    assert any(block.document.name == "README.md" for block in BLOCKS), "README shows how to start"
