"""An environment with the build backend, from the lock.

python3 -m tools.images.inside.backend FOLDER
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tools.images.inside import locked
from tools.images.inside.dependencies import install


def main() -> int:
    """Make it."""
    folder = Path(sys.argv[1])
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    install(folder, locked.closure(Path("requirements.lock").read_text("utf-8"), ["hatchling"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
