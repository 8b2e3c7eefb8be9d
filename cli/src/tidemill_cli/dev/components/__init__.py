"""Temporal, PostgreSQL and Redis as child processes: for `tidemill dev` and for tests.

Each file describes one component: `temporal.describe(...)`, `postgres.describe(...)` and `redis.describe(...)`
give a frozen description with the addresses it will answer at, and `component.start` runs it.  A component
dies with whoever started it, keeps its state in its data directory and continues it when started there again.

    server = postgres.describe(data_dir / "postgres")
    async with component.running(server.component):
        ...  # server.dsn answers
"""
