"""The operator's world, for the tests of the operator: one operator process a module, one namespace a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from temporalio.client import Client

from tests.support.fixtures import unique
from tests.support.kubernetes import ApiServer
from tests.support.operator_process import OperatorProcess, running_operator
from tests.support.operator_world import World
from tidemill_cli.dev.components.temporal import TemporalServer


@pytest.fixture(scope="module")
def operated(
    crds: ApiServer, temporal_server: TemporalServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, OperatorProcess]]:
    """An operator process of this module's own: its installation id, and itself."""
    installation = unique("i")
    folder = tmp_path_factory.mktemp("operator")
    arguments = ("--resync-interval=3", f"--lease-name={installation}")
    with running_operator(
        folder, crds.kubeconfig, installation, *arguments, temporal=temporal_server.address
    ) as operator:
        yield installation, operator


@pytest.fixture
def world(
    crds: ApiServer, temporal_server: TemporalServer, operated: tuple[str, OperatorProcess], namespace: str
) -> World:
    """The test's namespace in that operator's world."""
    installation, operator = operated
    return World(crds, temporal_server.address, installation, operator, namespace)


@pytest.fixture
async def temporal(temporal_server: TemporalServer) -> Client:
    """A client of the Temporal that the operator uses."""
    return await Client.connect(temporal_server.address)
