"""Makes the fixtures of real components known to all tests."""

pytest_plugins = ["tests.support.fixtures", "tests.support.worker"]
