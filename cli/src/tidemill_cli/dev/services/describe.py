"""The component that the options ask for, as it runs in a pod."""

from __future__ import annotations

from tidemill_cli.dev.components import postgres, redis, temporal
from tidemill_cli.dev.components.component import Component
from tidemill_cli.dev.components.ports import Listen
from tidemill_cli.dev.services.options import Options

EVERYWHERE = "0.0.0.0"  # noqa: S104 - a pod's clients are other pods
PORTS = {
    "temporal": {"grpc": 7233, "http": 7243, "metrics": 9233, "ui": 8233},
    "postgres": {"postgres": 5432},
    "redis": {"redis": 6379},
}
"""The ports that everybody knows them by."""


def component(options: Options) -> Component:
    """What to start. Raises ComponentError if its program isn't there."""
    listen = Listen(EVERYWHERE, PORTS[options.component])
    directory = options.directory
    match options.component:
        case "temporal":
            return temporal.describe(
                directory, ui=options.ui, listen=listen, namespaces=[n for n in options.namespaces if n != "default"]
            ).component
        case "postgres":
            return postgres.describe(
                directory, listen=listen, password=options.password, databases=options.databases
            ).component
        case "redis":
            return redis.describe(directory, listen=listen, password=options.password).component
        case other:
            raise AssertionError(f"no component {other}")
