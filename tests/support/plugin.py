"""`kubectl tidemill` as a person types it: kubectl finds the plugin on the PATH, in a namespace of their kubeconfig."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.kubernetes import ApiServer
from tools.documents import Block, blocks, matches

SCRIPTS = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Terminal:
    """A shell with kubectl, the plugin of `scripts`, and a kubeconfig whose context is in the namespace."""

    api: ApiServer
    kubeconfig: Path
    scripts: Path = SCRIPTS

    @classmethod
    def of(cls, api: ApiServer, namespace: str, folder: Path, *, user: Path | None = None) -> Terminal:
        """`user`: another person's kubeconfig (`ApiServer.as_user`)."""
        config = json.loads((user or api.kubeconfig).read_text())
        config["contexts"][0]["context"]["namespace"] = namespace
        mine = folder / f"{namespace}-{(user or api.kubeconfig).stem}"
        mine.touch(mode=0o600)
        mine.write_text(json.dumps(config))
        return cls(api, mine)

    @property
    def environment(self) -> dict[str, str]:
        """The shell's environment."""
        path = os.pathsep.join((str(self.scripts), str(self.api.assets), os.environ["PATH"]))
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": path}

    def types(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`kubectl WORDS...`, however it ends."""
        return subprocess.run(
            ["kubectl", *words], env=self.environment, capture_output=True, text=True, check=False, timeout=120
        )

    def follows(self, document: Path, test: str) -> list[Block]:
        """Run the commands of a document that name this test, and compare what they print; the blocks."""
        found = [each for each in blocks(document) if each.tested_by == test and each.language == "console"]
        for command in (each for block in found for each in block.commands):
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", command.line],
                env=self.environment, capture_output=True, text=True, check=False, timeout=120,
            )  # fmt: skip
            assert done.returncode == 0, f"$ {command.line}\n{done.stdout}{done.stderr}"
            shown = "\n".join(command.prints)
            assert matches(done.stdout, command.prints), f"$ {command.line}\nshown:\n{shown}\nprinted:\n{done.stdout}"
        return found

    def tidemill(self, *words: str, ends: int = 0) -> str:
        """What `kubectl tidemill WORDS...` prints; it must end with that exit code."""
        done = self.types("tidemill", *words)
        assert done.returncode == ends, (
            f"kubectl tidemill {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done.stdout

    def sees(self, *words: str, ends: int = 0) -> Any:
        """The same with `-o json`, parsed."""
        return json.loads(self.tidemill(*words, "-o", "json", ends=ends))

    def fails(self, *words: str, ends: int = 1) -> str:
        """The one line on stderr of a command that fails."""
        done = self.types("tidemill", *words)
        assert (done.returncode, done.stdout) == (ends, ""), f"{done.returncode} {done.stdout} {done.stderr}"
        line, *more = done.stderr.splitlines()
        assert more == [], done.stderr
        return line
