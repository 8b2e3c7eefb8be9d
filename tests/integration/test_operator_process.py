"""The operator as a process: killed around each write, two at once, stuck, without Temporal, after a restore."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from tests.support.api_proxy import Moment, api_proxy
from tests.support.kubernetes import ApiServer
from tests.support.operator_process import OperatorProcess, start_operator
from tests.support.operator_world import World, pipeline, pool
from tests.support.waiting import until, until_async
from tidemill_api.names import ANNOTATION_ADOPT, ANNOTATION_RELEASE
from tidemill_cli.dev.components.temporal import TemporalServer

Start = Callable[..., OperatorProcess]


@pytest.fixture
async def start(
    crds: ApiServer, temporal_server: TemporalServer, installation_id: str, namespace: str, tmp_path: Path
) -> AsyncIterator[Start]:
    """Starts operators of this test's installation for its namespace; they end with the test."""
    started: list[OperatorProcess] = []

    def begin(
        *arguments: str, kubeconfig: Path | None = None, temporal: str = "", ready: bool = True
    ) -> OperatorProcess:
        operator = start_operator(
            tmp_path / "operator",
            kubeconfig or crds.kubeconfig,
            installation_id,
            *arguments,
            f"--namespaces={namespace}",
            "--resync-interval=3",
            temporal=temporal or temporal_server.address,
            ready=ready,
        )
        started.append(operator)
        return operator

    yield begin
    for operator in started:
        if operator.process.poll() is None:
            operator.process.send_signal(signal.SIGCONT)
            operator.stop()


def of(operator: OperatorProcess, api: ApiServer, temporal: str, installation: str, namespace: str) -> World:
    return World(api, temporal, installation, operator, namespace)


async def exists(temporal: Client, schedule: str) -> bool:
    try:
        await temporal.get_schedule_handle(schedule).describe()
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return False
        raise
    return True


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("write", [1, 2])
async def test_killed_around_a_write_it_ends_where_it_would_have(
    write: int,
    moment: Moment,
    *,
    crds: ApiServer,
    temporal_server: TemporalServer,
    temporal: Client,
    installation_id: str,
    start: Start,
    namespace: str,
    tmp_path: Path,
) -> None:
    """A pipeline takes the finalizer, the Schedule (between the two) and the status; its pool is there."""
    victim: list[OperatorProcess] = []
    seen: list[str] = []
    armed = False

    def kill(when: Moment, what: str) -> None:
        if armed and "flights" in what:
            seen.append(f"{when} {what}")
            if len([each for each in seen if each.startswith(moment)]) == write and victim:
                victim.pop().kill()

    async with api_proxy(crds, tmp_path, kill) as proxy:
        first = await asyncio.to_thread(start, kubeconfig=proxy.kubeconfig)
        world = of(first, crds, temporal_server.address, installation_id, namespace)
        await asyncio.to_thread(world.apply, pool(name="etl"))
        await asyncio.to_thread(world.wait, "WorkerPool", "etl", "False", "Progressing")
        victim.append(first)
        armed = True
        await asyncio.to_thread(world.apply, pipeline("flights"))
        await asyncio.to_thread(first.process.wait, 30)
    second = start()
    world = of(second, crds, temporal_server.address, installation_id, namespace)
    world.until(
        lambda: (
            found
            if world.condition("DataPipeline", "flights").get("reason") == "Scheduled"
            and (found := world.get("DataPipeline", "flights"))["status"]["schedule"].get("made")
            else {}
        ),
        "the pipeline is settled",
    )
    status = world.get("DataPipeline", "flights")["status"]
    assert status["schedule"]["driftRepaired"] == 0
    described = await temporal.get_schedule_handle(world.schedule_id("flights")).describe()
    assert [each.minute[0].start for each in described.schedule.spec.calendars] == [15]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("write", ["networkpolicies", "workerpools/etl/status"])
async def test_killed_around_a_write_of_a_pool_all_children_are_there_in_the_end(
    write: str,
    moment: Moment,
    *,
    crds: ApiServer,
    temporal_server: TemporalServer,
    installation_id: str,
    start: Start,
    namespace: str,
    tmp_path: Path,
) -> None:
    victim: list[OperatorProcess] = []

    def kill(when: Moment, what: str) -> None:
        if when == moment and write in what and victim:
            victim.pop().kill()

    async with api_proxy(crds, tmp_path, kill) as proxy:
        first = await asyncio.to_thread(start, kubeconfig=proxy.kubeconfig)
        victim.append(first)
        world = of(first, crds, temporal_server.address, installation_id, namespace)
        await asyncio.to_thread(world.apply, pool(name="etl"))
        await asyncio.to_thread(first.process.wait, 60)
    second = await asyncio.to_thread(start)
    world = of(second, crds, temporal_server.address, installation_id, namespace)
    world.wait("WorkerPool", "etl", "False", "Progressing")
    for kind in ("configmap", "serviceaccount", "networkpolicy", "deployment"):
        child = world.get(kind, "etl-worker")
        assert child["metadata"].get("generation", 1) == 1, "made once, and not changed"


async def test_another_takes_over(
    crds: ApiServer, temporal_server: TemporalServer, installation_id: str, start: Start, namespace: str
) -> None:
    first = start("--identity=first")
    until(first.leads, "the first leads")
    second = start("--identity=second")
    assert second.get("/readyz")[0] == 200, "who doesn't lead is ready"
    assert not second.leads()
    began = time.monotonic()
    first.kill()
    until(second.leads, "the second leads", timeout=20)
    assert time.monotonic() - began < 20
    world = of(second, crds, temporal_server.address, installation_id, namespace)
    world.apply(pool(), pipeline("flights"))
    world.wait("DataPipeline", "flights", "True", "Scheduled")
    third = start("--identity=third", "--lease-duration=600")
    assert second.stop() == 0
    until(third.leads, "one that ends in order gives the Lease back", timeout=20)


async def test_a_leader_cut_off_stops_before_its_lease_ends(
    crds: ApiServer, start: Start, tmp_path: Path, installation_id: str
) -> None:
    """Through the proxy it leads; without it, it stops leading by itself within its Lease's duration."""
    async with api_proxy(crds, tmp_path, lambda *_: None) as proxy:
        operator = await asyncio.to_thread(start, "--lease-duration=6", kubeconfig=proxy.kubeconfig)
        await asyncio.to_thread(until, operator.leads, "it leads")
    began = time.monotonic()
    await asyncio.to_thread(until, lambda: not operator.leads(), "it no longer leads")
    assert time.monotonic() - began < 6
    holder = crds.kubectl("get", "lease", f"tidemill-{installation_id}", "-o", "jsonpath={.spec.holderIdentity}").stdout
    assert holder, "it couldn't give the Lease back"


async def test_deletion_without_temporal_waits_and_can_be_released(
    crds: ApiServer,
    temporal_server: TemporalServer,
    temporal: Client,
    installation_id: str,
    start: Start,
    namespace: str,
) -> None:
    first = start()
    world = of(first, crds, temporal_server.address, installation_id, namespace)
    world.apply(pool(), pipeline("flights"), pipeline("weather"))
    for name in ("flights", "weather"):
        world.wait("DataPipeline", name, "True", "Scheduled")
    assert first.stop() == 0
    second = start(temporal="127.0.0.1:1")
    world = of(second, crds, "", installation_id, namespace)
    world.wait("DataPipeline", "flights", "True", "TemporalUnreachable", of="Reconciling")
    world.kubectl("delete", "datapipeline", "flights", "weather", "--wait=false")
    waiting = world.until(
        lambda: (
            seen
            if ANNOTATION_RELEASE in (seen := world.condition("DataPipeline", "flights")).get("message", "")
            else {}
        ),
        "the message names the annotation",
    )
    assert waiting["reason"] == "TemporalUnreachable"
    assert second.get("/healthz")[0] == 200, "an outage of Temporal is no reason to restart"
    world.kubectl("annotate", "datapipeline", "flights", f"{ANNOTATION_RELEASE}=true")
    world.gone("DataPipeline", "flights")
    assert second.stop() == 0
    third = start()
    world = of(third, crds, temporal_server.address, installation_id, namespace)
    world.gone("DataPipeline", "weather")

    async def both_gone() -> bool:
        left = [await exists(temporal, world.schedule_id(name)) for name in ("flights", "weather")]
        return not any(left)

    await until_async(both_gone, "the released one's Schedule is cleaned up too, as an orphan")


async def test_after_a_restore_the_schedule_is_kept_until_it_is_adopted(
    crds: ApiServer,
    temporal_server: TemporalServer,
    temporal: Client,
    installation_id: str,
    start: Start,
    namespace: str,
) -> None:
    first = start()
    world = of(first, crds, temporal_server.address, installation_id, namespace)
    world.apply(pool(), pipeline("flights"))
    world.wait("DataPipeline", "flights", "True", "Scheduled")
    old = world.get("DataPipeline", "flights")["metadata"]["uid"]
    assert first.stop() == 0
    world.kubectl("delete", "datapipeline", "flights", "--wait=false")
    world.kubectl("patch", "datapipeline", "flights", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    world.apply(pipeline("flights", "45 6 1 1 *"))
    second = start()
    world = of(second, crds, temporal_server.address, installation_id, namespace)
    stalled = world.wait("DataPipeline", "flights", "True", "ScheduleConflict", of="Stalled")
    assert f"{ANNOTATION_ADOPT}: {old}" in stalled["message"]
    described = await temporal.get_schedule_handle(world.schedule_id("flights")).describe()
    assert [each.minute[0].start for each in described.schedule.spec.calendars] == [15]
    world.kubectl("annotate", "datapipeline", "flights", f"{ANNOTATION_ADOPT}={old}")
    world.wait("DataPipeline", "flights", "True", "Scheduled")
    described = await temporal.get_schedule_handle(world.schedule_id("flights")).describe()
    assert [each.minute[0].start for each in described.schedule.spec.calendars] == [45]


async def test_a_stuck_loop_is_told(
    crds: ApiServer, temporal_server: TemporalServer, installation_id: str, tmp_path: Path
) -> None:
    from tidemill_cli.dev.components import ports
    from tidemill_operator.adapters.kubernetes import KubernetesClient
    from tidemill_operator.handlers import Watch
    from tidemill_operator.kinds import KINDS, temporals
    from tidemill_operator.metrics import Metrics
    from tidemill_operator.program import Program
    from tidemill_operator.settings import parse_settings

    port = ports.free()
    given = parse_settings(
        [
            f"--installation={installation_id}",
            f"--kubeconfig={crds.kubeconfig}",
            f"--temporal-address={temporal_server.address}",
            f"--health-address=127.0.0.1:{port}",
        ]
    )
    settings = dataclasses.replace(given, intervals=dataclasses.replace(given.intervals, stuck=2.0))
    stuck, ended = threading.Event(), threading.Event()
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = []

    async def life() -> None:
        metrics = Metrics()
        kubernetes = await KubernetesClient.connect(settings.kubeconfig, None, metrics.count_api)
        program = Program(
            settings,
            kubernetes,
            lambda store: temporals(settings, store, kubernetes, metrics.count_temporal),
            KINDS,
            metrics,
            lambda receive, beat: Watch(kubernetes.credentials, (), receive, beat).run(),
        )
        task = asyncio.create_task(program.run())
        loops.append((asyncio.get_running_loop(), task))
        await asyncio.gather(task, return_exceptions=True)

    def live() -> None:
        asyncio.run(life())
        ended.set()

    threading.Thread(target=live, daemon=True).start()
    operator = OperatorProcess(None, port, tmp_path)  # type: ignore[arg-type]  # only asked for its figures
    until(lambda: operator.get("/readyz")[0] == 200, "it is ready", timeout=60)
    assert operator.get("/healthz") == (200, "ok\n")
    loop, task = loops[0]
    loop.call_soon_threadsafe(lambda: stuck.wait(60) and None)
    told = until(lambda: operator.get("/healthz")[0] == 503 and operator.get("/healthz")[1], "it is unhealthy")
    assert "event loop: not heard of" in str(told)
    stuck.set()
    until(lambda: operator.get("/healthz")[0] == 200, "it is healthy again")
    loop.call_soon_threadsafe(task.cancel)
    assert ended.wait(20)


async def test_without_crds_it_waits_and_says_so(start: Start, crds: ApiServer, tmp_path: Path) -> None:
    nothing = tmp_path / "nowhere.kubeconfig"
    nothing.write_text(crds.kubeconfig.read_text().replace(crds.url, "https://127.0.0.1:1"))
    operator = start(kubeconfig=nothing, ready=False)
    until(lambda: operator.get("/readyz")[0] == 503, "it isn't ready", timeout=60)
    until(lambda: "waiting: GET" in operator.log.read_text(), "it says what for")
    assert operator.get("/healthz")[0] == 200
    assert operator.stop() == 0
