"""`python -m tidemill_worker`: see `tidemill_worker.command`. Nothing is imported before `start` has had its say."""

from __future__ import annotations

import logging
import os
import sys

if __name__ == "__main__":
    from tidemill_worker import start

    start.hasten()
    from tidemill_worker.command import main

    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    logging.shutdown()
    # All is closed. The interpreter's own end can crash in native libraries: that must not turn success into failure.
    os._exit(code)
