"""What the first chunk would wait for, done before it comes."""

from __future__ import annotations


def warm() -> None:
    """Import the columnar libraries and make a sandbox for each thread. Blocks for some tenths of a second."""
    import tidemill_worker.engine.load
    import tidemill_worker.engine.planning  # noqa: F401 - for what it imports
    from tidemill_worker.engine import feed, sandbox

    feed.threads()
    sandbox.warm(feed.THREADS)
