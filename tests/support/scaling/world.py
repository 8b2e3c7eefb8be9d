"""The pool's queue, pods and runs: what happens between decisions."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Final, Protocol

from tests.support.scaling.loads import PLAN, Load, Run

SLOTS: Final = 8
GRACE: Final = 60.0
"""Seconds that a pod which is told to go has for what it works on; what isn't done by then is done again elsewhere."""
HEARTBEAT: Final = 3.0
STATISTICS: Final = 5.0
"""Temporal makes a queue's figures anew only so often (matching.taskQueueInfoByBuildIdTTL)."""
_STOP: Final = 1.0
_MOMENTS: Final = 3.0
"""Seconds between points for a plot."""


@dataclass(slots=True)
class Task:
    """One activity that waits or is worked on."""

    run: RunGoing | None
    seconds: float
    released: float


@dataclass(slots=True)
class RunGoing:
    """A run under way."""

    run: Run
    left: deque[float]
    flying: int = 0
    planned: bool = False


@dataclass(slots=True)
class Pod:
    """A worker's pod."""

    name: str
    asked: float
    polls: float
    """When it begins to poll."""
    tasks: list[Task] = field(default_factory=list["Task"])
    processed: int = 0
    leaving: bool = False
    gone: float | None = None
    seen: deque[tuple[float, int, int]] = field(default_factory=deque[tuple[float, int, int]])
    """(time, slots used, tasks processed) since the last heartbeat that was asked for."""

    def note(self, now: float) -> None:
        """Remember what a heartbeat would tell."""
        self.seen.append((now, len(self.tasks), self.processed))

    def heartbeat(self, now: float) -> tuple[float, int, int]:
        """When the last heartbeat was, and what it told."""
        at = self.polls + (now - self.polls) // HEARTBEAT * HEARTBEAT
        while len(self.seen) > 1 and self.seen[1][0] <= at:
            self.seen.popleft()
        _, used, processed = self.seen[0]
        return at, used, processed


@dataclass(frozen=True, slots=True)
class Moment:
    """For a plot."""

    at: float
    replicas: int
    polling: int
    busy: int
    waiting: int


@dataclass(slots=True)
class Outcome:
    """What came of it."""

    load: str
    scaler: str
    waits: list[float] = field(default_factory=list[float])
    """Of every task: seconds in the queue."""
    on_time: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    """Of the first tasks of scheduled runs, the plan and the first chunks: (time of the start, seconds)."""
    pod_seconds: float = 0.0
    busy_removed: int = 0
    """Pods that were told to go while they had a task."""
    spared_idle: int = 0
    """Of them: while there was one without a task."""
    interrupted: int = 0
    """Tasks that didn't end within the grace period and were done again."""
    moves: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    """When how many replicas were asked for."""
    reactions: list[float] = field(default_factory=list[float])
    """Seconds from the first task that waits, and not for pods that are starting, to more replicas."""
    moments: list[Moment] = field(default_factory=list[Moment])
    unfinished: int = 0

    def wait(self, share: float) -> float:
        """A quantile of the seconds that tasks waited."""
        return quantile(self.waits, share)

    def turns(self) -> int:
        """How often the direction changed."""
        steps = [after - before for (_, before), (_, after) in pairwise(self.moves)]
        signs = [step > 0 for step in steps if step]
        return sum(before != after for before, after in pairwise(signs))


def quantile(values: Iterable[float], share: float) -> float:
    """The value that so large a share doesn't exceed; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


class Scaler(Protocol):
    """Whoever decides."""

    name: str

    def begin(self, world: World) -> None:
        """Make its first appointment with `World.at`."""


class World:
    """A pool under a load."""

    def __init__(self, load: Load, seed: int = 0) -> None:
        """Nothing has happened yet."""
        self.load = load
        self.now = 0.0
        self.replicas = 0
        self.pods: list[Pod] = []
        self.queue: deque[Task] = deque()
        self.open: dict[int, RunGoing] = {}
        self.chance = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._made = 0
        self._statistics = (-1e9, 0, 0.0)
        self._starved: float | None = None
        self.outcome = Outcome(load.name, "")

    def at(self, when: float, do: Callable[[], None]) -> None:
        """Have something happen."""
        self._count += 1
        heapq.heappush(self._events, (when, self._count, do))

    def live(self, scaler: Scaler) -> Outcome:
        """Let the load pass."""
        self.outcome.scaler = scaler.name
        for number, run in enumerate(self.load.runs):
            self.at(run.at, partial(self._start, number, run))
        scaler.begin(self)
        self._look_on()
        while self._events and self._events[0][0] <= self.load.until:
            self.now, _, do = heapq.heappop(self._events)
            do()
        self.now = self.load.until
        for pod in self.pods:
            self._gone(pod)
        self.outcome.unfinished = len(self.open)
        return self.outcome

    # What scalers see and do

    def waiting(self) -> tuple[int, float]:
        """Tasks that wait and the age of the oldest, as Temporal last made its figures."""
        if self.now - self._statistics[0] >= STATISTICS:
            stuck = [(begin, count) for begin, end, count in self.load.stuck if begin <= self.now < end]
            oldest = min((*(begin for begin, _ in stuck), *(task.released for task in list(self.queue)[:1])), default=0)
            count = len(self.queue) + sum(count for _, count in stuck)
            self._statistics = (self.now, count, self.now - oldest if count else 0.0)
        return self._statistics[1:]

    def silent(self) -> bool:
        """Whether Temporal doesn't answer."""
        return any(begin <= self.now < end for begin, end in self.load.silent)

    def polling(self) -> list[Pod]:
        """Pods that take tasks."""
        return [pod for pod in self.pods if not pod.leaving and pod.polls <= self.now]

    def busy(self) -> int:
        """Slots in use, those of pods that are leaving included."""
        return sum(len(pod.tasks) for pod in self.pods)

    def scale(self, replicas: int, first: Iterable[str] = ()) -> None:
        """Write replicas. Of too many pods go: those that don't poll, those named first, then the youngest."""
        if replicas > self.replicas and self._starved is not None:
            self.outcome.reactions.append(self.now - self._starved)
            self._starved = None
        if replicas != self.replicas:
            self.outcome.moves.append((self.now, replicas))
        self.replicas = replicas
        order = {name: place for place, name in enumerate(first)}
        staying = [pod for pod in self.pods if not pod.leaving]
        for _ in range(replicas - len(staying)):
            self._made += 1
            polls = self.now + self.chance.uniform(*self.load.warm_up)
            pod = Pod(f"pod-{self._made}", self.now, polls)
            pod.seen.append((polls, 0, 0))
            self.pods.append(pod)
            self.at(polls, self._dispatch)
        staying.sort(key=lambda pod: (pod.polls <= self.now, order.get(pod.name, len(order)), -pod.asked))
        for pod in staying[: max(0, len(staying) - replicas)]:
            self._tell_to_go(pod)
        self.mark()

    def mark(self) -> None:
        """A point for the plot."""
        polling = self.polling()
        self.outcome.moments.append(Moment(self.now, self.replicas, len(polling), self.busy(), len(self.queue)))

    def _look_on(self) -> None:
        self.mark()
        self.at(self.now + _MOMENTS, self._look_on)

    # What happens by itself

    def _start(self, number: int, run: Run) -> None:
        going = RunGoing(run, deque(run.chunks), flying=1)
        self.open[number] = going
        self._wait(Task(going, PLAN, self.now))

    def _wait(self, task: Task) -> None:
        self.queue.append(task)
        self._dispatch()
        if self._starved is None and len(self.queue) > self._to_come():
            self._starved = self.now

    def _to_come(self) -> int:
        """Slots of pods that are starting."""
        return SLOTS * sum(pod.polls > self.now and not pod.leaving for pod in self.pods)

    def _dispatch(self) -> None:
        while self.queue:
            able = [pod for pod in self.pods if not pod.leaving and pod.polls <= self.now and len(pod.tasks) < SLOTS]
            if not able:
                return
            self._take(self.chance.choice(able), self.queue.popleft())
        self._starved = None

    def _take(self, pod: Pod, task: Task) -> None:
        waited = self.now - task.released
        self.outcome.waits.append(waited)
        run = task.run
        if run is not None and run.run.scheduled and task.released <= run.run.at + PLAN + 1:
            self.outcome.on_time.append((run.run.at, waited))
        pod.tasks.append(task)
        pod.note(self.now)
        self.at(self.now + task.seconds, lambda: self._end(pod, task))

    def _end(self, pod: Pod, task: Task) -> None:
        if task not in pod.tasks:
            return  # it was interrupted
        pod.tasks.remove(task)
        pod.processed += 1
        pod.note(self.now)
        if task.run is not None:
            self._go_on(task.run)
        if pod.leaving and not pod.tasks:
            self.at(self.now + _STOP, lambda: self._gone(pod))
        self._dispatch()

    def _go_on(self, going: RunGoing) -> None:
        going.flying -= 1
        going.planned = True
        while going.left and going.flying < going.run.parallel:
            going.flying += 1
            self._wait(Task(going, going.left.popleft(), self.now))
        if not going.flying:
            self.open = {number: each for number, each in self.open.items() if each is not going}

    def _tell_to_go(self, pod: Pod) -> None:
        if pod.tasks:
            self.outcome.busy_removed += 1
            self.outcome.spared_idle += any(not other.tasks for other in self.polling() if other is not pod)
        pod.leaving = True
        if pod.tasks:
            self.at(self.now + GRACE, lambda: self._interrupt(pod))
        else:
            self.at(self.now + (_STOP if pod.polls <= self.now else 0), lambda: self._gone(pod))

    def _interrupt(self, pod: Pod) -> None:
        tasks, pod.tasks = pod.tasks, []
        self.outcome.interrupted += len(tasks)
        for task in tasks:
            self._wait(Task(task.run, task.seconds, self.now))
        self._gone(pod)

    def _gone(self, pod: Pod) -> None:
        if pod.gone is None:
            pod.gone = self.now
            self.outcome.pod_seconds += self.now - pod.asked
            self.pods = [each for each in self.pods if each is not pod]
