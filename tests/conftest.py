"""Makes the fixtures of real components known to all tests, and sets how properties are tested."""

import os

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.support.fixtures", "tests.support.worker", "tests.support.cluster"]

# Other tests' servers share the machine, so how long an example takes says nothing about the code.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
# The same examples each time: a change fails for what it changed. `make test-slow` explores new ones.
settings.register_profile("same", settings.get_profile("explore"), derandomize=True, database=None)
settings.load_profile(os.environ.get("TIDEMILL_PROPERTIES", "same"))
