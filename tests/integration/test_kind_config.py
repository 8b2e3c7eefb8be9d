"""`kind-config.yaml`, as kind itself reads it; a cluster of it needs Docker (`make kind-up`)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.kubernetes import ROOT
from tools import envtest


def said_of(config: Path, tmp_path: Path) -> str:
    """What kind says of a configuration where no engine answers: it reads the file first."""
    command = [str(envtest.ensure(("kind",)) / "kind"), "create", "cluster", "--config", str(config)]
    nowhere = {**os.environ, "DOCKER_HOST": "unix:///nowhere.sock", "KIND_EXPERIMENTAL_PROVIDER": "docker"}
    done = subprocess.run(
        [*command, "--kubeconfig", str(tmp_path / "kubeconfig")],
        env=nowhere,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    return done.stderr


@pytest.mark.timeout(900)
def test_kind_takes_the_configuration(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text((ROOT / "kind-config.yaml").read_text().replace("role: worker", "roll: worker"))
    assert "field roll not found" in said_of(wrong, tmp_path)
    said = said_of(ROOT / "kind-config.yaml", tmp_path)
    assert "not found in type" not in said
    assert "docker" in said.lower()


def test_one_control_plane_two_workers_and_no_image_pinned() -> None:
    text = (ROOT / "kind-config.yaml").read_text()
    assert (text.count("role: control-plane"), text.count("role: worker")) == (1, 2)
    assert "image:" not in text
    assert "sha256" not in text
